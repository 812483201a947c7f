/* SPDX-License-Identifier: Apache-2.0 */
/* Fields of OTLP whose size is known before they are written: one look at the room for all of it,
 * and no length that has to be moved in afterwards. */
#include "zipkin_batch.h"
#include "otlp_walk.h"

#include "fermata/bytes.h"

static size_t varint_size(uint64_t value)
{
    return FM_LIKELY(value < 128) ? 1 : pb_varint_size(value);
}

/* Numbers of fields are below 16. */
static size_t field_size(size_t len)
{
    return 1 + varint_size(len) + len;
}

static uint8_t *write_varint(uint8_t *target, uint64_t value)
{
    for (; FM_UNLIKELY(value >= 128); value >>= 7)
        *target++ = (uint8_t)(value | 128);
    *target++ = (uint8_t)value;
    return target;
}

static uint8_t *write_head(uint8_t *target, uint32_t number, size_t len)
{
    *target++ = (uint8_t)(number << 3 | PB_BYTES);
    return write_varint(target, len);
}

static uint8_t *write_slice(uint8_t *target, struct fm_slice bytes)
{
    if (bytes.len >= 8 && bytes.len <= 16) { /* most keys and values: cheaper than a call */
        uint64_t first, last;
        memcpy(&first, bytes.ptr, 8);
        memcpy(&last, bytes.ptr + bytes.len - 8, 8);
        memcpy(target, &first, 8);
        memcpy(target + bytes.len - 8, &last, 8);
    } else if (bytes.len) {
        memcpy(target, bytes.ptr, bytes.len);
    }
    return target + bytes.len;
}

static uint8_t *write_bytes(uint8_t *target, uint32_t number, struct fm_slice bytes)
{
    return write_slice(write_head(target, number, bytes.len), bytes);
}

/* A KeyValue whose value is head and the text behind it. */
static void put_pair(struct fm_buf *out, uint32_t number, struct fm_slice key, struct fm_slice head,
                     struct fm_slice text)
{
    size_t value = head.len + text.len;
    size_t size = field_size(key.len) + field_size(value);
    uint8_t *target = fm_buf_room(out, field_size(size)), *start = target;
    if (!target)
        return;
    target = write_head(target, number, size);
    target = write_bytes(target, OTLP_KV_KEY, key);
    target = write_head(target, OTLP_KV_VALUE, value);
    memcpy(target, head.ptr, head.len);
    target = write_slice(target + head.len, text);
    out->len += (size_t)(target - start);
}

void zipkin_put_text(struct fm_buf *out, uint32_t number, struct fm_slice key,
                     struct fm_slice value)
{
    uint8_t head[12];
    uint8_t *end = write_head(head, OTLP_VALUE_STRING, value.len);
    put_pair(out, number, key, fm_slice(head, (size_t)(end - head)), value);
}

void zipkin_put_int(struct fm_buf *out, uint32_t number, struct fm_slice key, int64_t value)
{
    uint8_t head[12] = {OTLP_VALUE_INT << 3 | PB_VARINT};
    uint8_t *end = write_varint(head + 1, (uint64_t)value);
    put_pair(out, number, key, fm_slice(head, (size_t)(end - head)), fm_slice(NULL, 0));
}

void zipkin_put_bool(struct fm_buf *out, uint32_t number, struct fm_slice key, bool value)
{
    uint8_t head[2] = {OTLP_VALUE_BOOL << 3 | PB_VARINT, value};
    put_pair(out, number, key, fm_slice(head, sizeof head), fm_slice(NULL, 0));
}

void zipkin_put_double(struct fm_buf *out, uint32_t number, struct fm_slice key, double value)
{
    uint8_t head[9] = {OTLP_VALUE_DOUBLE << 3 | PB_FIXED64};
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    fm_store_le64(head + 1, bits);
    put_pair(out, number, key, fm_slice(head, sizeof head), fm_slice(NULL, 0));
}

/* Microseconds to nanoseconds; too many are the most there can be. */
static uint64_t time_ns(uint64_t us)
{
    uint64_t ns;
    return __builtin_mul_overflow(us, 1000u, &ns) ? UINT64_MAX : ns;
}

static uint8_t *write_time(uint8_t *target, uint32_t number, uint64_t ns)
{
    *target++ = (uint8_t)(number << 3 | PB_FIXED64);
    fm_store_le64(target, ns);
    return target + 8;
}

void zipkin_put_span_head(struct fm_buf *out, const struct zipkin_span *span,
                          struct fm_slice trace_state)
{
    uint64_t start = time_ns(span->timestamp_us), end;
    if (__builtin_add_overflow(start, time_ns(span->duration_us), &end))
        end = UINT64_MAX;
    size_t room = field_size(16) + 2 * field_size(8) + 2 + 2 * 9 + field_size(trace_state.len) +
                  field_size(span->name.len);
    uint8_t *target = fm_buf_room(out, room), *begin = target;
    if (!target)
        return;
    target = write_bytes(target, OTLP_SPAN_TRACE_ID, fm_slice(span->trace_id, 16));
    target = write_bytes(target, OTLP_SPAN_SPAN_ID, fm_slice(span->id, 8));
    if (trace_state.len)
        target = write_bytes(target, 3, trace_state);
    if (span->has_parent)
        target = write_bytes(target, OTLP_SPAN_PARENT_ID, fm_slice(span->parent_id, 8));
    if (span->name.len)
        target = write_bytes(target, 5, span->name);
    if (span->kind) {
        *target++ = 6 << 3 | PB_VARINT;
        *target++ = span->kind;
    }
    target = write_time(target, OTLP_SPAN_START, start);
    target = write_time(target, OTLP_SPAN_END, end);
    out->len += (size_t)(target - begin);
}
