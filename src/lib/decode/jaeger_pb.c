/* SPDX-License-Identifier: Apache-2.0 */
/* Jaeger's protobuf: jaeger.api_v2.PostSpansRequest.
 *
 * A field of another wire type is an unknown field; messages given twice are merged, as protobuf
 * wants it.  The process of a batch stands behind its spans, so the first pass looks for it; it
 * only hops from field to field.
 */
#include "fermata/jaeger.h"

#include "jaeger_batch.h"

#include "fermata/pb.h"

#define JAEGER_NS_PER_S 1000000000

enum { POST_BATCH = 1 };
enum { BATCH_SPANS = 1, BATCH_PROCESS = 2 };

struct jaeger_pb {
    struct jaeger_batch batch;
    struct fm_slice process; /* of the batch, encoded; spans may bring their own */
};

/* Is it this field, with the type that the schema gives it? */
static bool jaeger_pb_is(const struct pb_field *field, uint32_t number, enum pb_type type)
{
    return field->number == number && field->type == type;
}

/* Joins two contents of one message, which is what merging them means. */
static int jaeger_pb_merge(struct jaeger_batch *batch, struct fm_slice *content,
                           struct fm_slice more)
{
    if (!content->len || !more.len) {
        *content = content->len ? *content : more;
        return FM_OK;
    }
    uint8_t *joined = jaeger_alloc(batch, content->len + more.len);
    if (!joined)
        return batch->rc;
    memcpy(joined, content->ptr, content->len);
    memcpy(joined + content->len, more.ptr, more.len);
    *content = fm_slice(joined, content->len + more.len);
    return FM_OK;
}

/* How many fields of a number there are, so that arrays get the size that they need. */
static uint32_t jaeger_pb_count(struct fm_slice rest, uint32_t number)
{
    struct pb_field field;
    uint32_t count = 0;
    while (pb_next(&rest, &field) == FM_OK)
        count += field.number == number;
    return count;
}

/* ---- values ---- */

/* Seconds and nanoseconds of a Timestamp or Duration. */
struct jaeger_pb_time {
    int64_t seconds;
    int32_t nanos;
};

static int jaeger_pb_time(struct fm_slice content, struct jaeger_pb_time *time)
{
    struct pb_field field;
    int rc;
    while ((rc = pb_next(&content, &field)) == FM_OK) {
        if (jaeger_pb_is(&field, 1, PB_VARINT))
            time->seconds = (int64_t)field.value;
        else if (jaeger_pb_is(&field, 2, PB_VARINT))
            time->nanos = (int32_t)field.value;
    }
    return rc < 0 ? rc : FM_OK;
}

/* Negative is 0, what does not fit is the greatest. */
static uint64_t jaeger_pb_time_ns(const struct jaeger_pb_time *time)
{
    uint64_t ns;
    int64_t seconds = time->seconds, nanos = time->nanos;
    if (nanos < 0 && seconds > 0) { /* at most three seconds are borrowed */
        int64_t borrowed = FM_MIN(seconds, 3);
        seconds -= borrowed;
        nanos += borrowed * JAEGER_NS_PER_S;
    } else if (seconds < 0 && nanos > 0) {
        int64_t lent = FM_MIN(-(seconds + 1), 2) + 1;
        seconds += lent;
        nanos -= lent * JAEGER_NS_PER_S;
    }
    if (seconds < 0 || nanos < 0)
        return 0;
    if (__builtin_mul_overflow((uint64_t)seconds, (uint64_t)JAEGER_NS_PER_S, &ns) ||
        __builtin_add_overflow(ns, (uint64_t)nanos, &ns))
        return UINT64_MAX;
    return ns;
}

/* A KeyValue's fields by number: 1 key, 3 text, 7 binary; 2 type, 4 bool, 5 int64, 6 double. */
struct jaeger_pb_tag {
    struct fm_slice bytes[8];
    uint64_t values[8];
};

static const uint8_t jaeger_pb_tag_wire[8] = {PB_FIXED32, PB_BYTES,  PB_VARINT,  PB_BYTES,
                                              PB_VARINT,  PB_VARINT, PB_FIXED64, PB_BYTES};

/* A field with an unusual head, or one that is not known. */
static __attribute__((noinline)) const uint8_t *
jaeger_pb_tag_other(const uint8_t *ptr, const uint8_t *end, struct jaeger_pb_tag *from)
{
    struct fm_slice rest = fm_slice(ptr, (size_t)(end - ptr));
    struct pb_field field;
    if (pb_next(&rest, &field) < 0)
        return NULL;
    if (field.number < 8 && field.type == jaeger_pb_tag_wire[field.number]) {
        from->bytes[field.number] = field.bytes;
        from->values[field.number] = field.value;
    }
    return rest.ptr;
}

/* Reads one field; NULL: malformed.  Does for the many small fields of tags what pb_next does. */
static const uint8_t *jaeger_pb_tag_field(const uint8_t *ptr, const uint8_t *end,
                                          struct jaeger_pb_tag *from)
{
    uint8_t head = *ptr, number = head >> 3;
    uint64_t len;
    if (head >= 64 || (head & 7) != jaeger_pb_tag_wire[number] || number == 0)
        return jaeger_pb_tag_other(ptr, end, from);
    ptr++;
    switch (head & 7) {
    case PB_BYTES:
        ptr = pb_varint(ptr, end, &len);
        if (!ptr || len > (size_t)(end - ptr))
            return NULL;
        from->bytes[number] = fm_slice(ptr, (size_t)len);
        return ptr + len;
    case PB_VARINT:
        return pb_varint(ptr, end, &from->values[number]);
    default: /* PB_FIXED64 */
        if (end - ptr < 8)
            return NULL;
        from->values[number] = fm_load_le64(ptr);
        return ptr + 8;
    }
}

static void jaeger_pb_tag_text(struct jaeger_tag *tag, struct fm_slice text)
{
    tag->text = text.ptr;
    tag->text_len = (uint32_t)text.len;
}

/* KeyValue: the value is the one that v_type names. */
static int jaeger_pb_tag(struct fm_slice content, struct jaeger_tag *tag)
{
    static const uint8_t types[] = {JAEGER_STRING, JAEGER_BOOL, JAEGER_LONG, JAEGER_DOUBLE,
                                    JAEGER_BINARY};
    struct jaeger_pb_tag from = {0};
    const uint8_t *end = content.ptr + content.len;
    for (const uint8_t *ptr = content.ptr; ptr < end;)
        if (!(ptr = jaeger_pb_tag_field(ptr, end, &from)))
            return FM_EMALFORMED;
    int32_t type = (int32_t)from.values[2];
    *tag = (struct jaeger_tag){.key = from.bytes[1].ptr, .key_len = (uint32_t)from.bytes[1].len};
    tag->type = type >= 0 && type < (int32_t)FM_COUNT(types) ? types[type] : JAEGER_UNKNOWN;
    if (tag->type == JAEGER_STRING || tag->type == JAEGER_BINARY)
        jaeger_pb_tag_text(tag, from.bytes[tag->type == JAEGER_STRING ? 3 : 7]);
    else if (tag->type == JAEGER_BOOL)
        tag->integer = from.values[4] != 0;
    else if (tag->type == JAEGER_LONG)
        tag->integer = (int64_t)from.values[5];
    else if (tag->type == JAEGER_DOUBLE)
        tag->bits = from.values[6];
    else
        tag->integer = type;
    return FM_OK;
}

/* Appends the tag in field; rest is what follows it in the message. */
static int jaeger_pb_add_tag(struct jaeger_batch *batch, const struct pb_field *field,
                             struct fm_slice rest, struct jaeger_tags *tags)
{
    if (tags->count == tags->capacity &&
        !jaeger_tags_reserve(batch, tags, 1 + jaeger_pb_count(rest, field->number)))
        return batch->rc;
    struct jaeger_tag *tag = &tags->items[tags->count];
    int rc = jaeger_pb_tag(field->bytes, tag);
    if (rc < 0)
        return rc;
    jaeger_tag_ready(batch, tag);
    tags->count++;
    return FM_OK;
}

/* ---- processes ---- */

static int jaeger_pb_process(struct jaeger_batch *batch, struct fm_slice content)
{
    struct jaeger_process *process = &batch->process;
    struct fm_slice rest = content;
    struct pb_field field;
    int rc;
    if (jaeger_batch_find_process(batch, content))
        return FM_OK;
    process->service = fm_slice(NULL, 0);
    process->tags.count = 0;
    while ((rc = pb_next(&rest, &field)) == FM_OK) {
        if (jaeger_pb_is(&field, 1, PB_BYTES))
            process->service = field.bytes;
        else if (jaeger_pb_is(&field, 2, PB_BYTES))
            rc = jaeger_pb_add_tag(batch, &field, rest, &process->tags);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : jaeger_batch_set_process(batch, content);
}

/* ---- logs and references ---- */

static int jaeger_pb_log(struct jaeger_batch *batch, struct fm_slice content,
                         struct jaeger_log *log)
{
    struct jaeger_tags tags = {0};
    struct jaeger_pb_time time = {0};
    struct pb_field field;
    int rc;
    while ((rc = pb_next(&content, &field)) == FM_OK) {
        if (jaeger_pb_is(&field, 1, PB_BYTES))
            rc = jaeger_pb_time(field.bytes, &time);
        else if (jaeger_pb_is(&field, 2, PB_BYTES))
            rc = jaeger_pb_add_tag(batch, &field, content, &tags);
        if (rc < 0)
            return rc;
    }
    if (rc < 0)
        return rc;
    *log = (struct jaeger_log){
        .time_ns = jaeger_pb_time_ns(&time), .tags = tags.items, .count = tags.count};
    return FM_OK;
}

static int jaeger_pb_add_log(struct jaeger_batch *batch, const struct pb_field *field,
                             struct fm_slice rest)
{
    struct jaeger_span *span = &batch->span;
    if (span->log_count == span->log_capacity &&
        !jaeger_grow(batch, &span->logs, span->log_count, &span->log_capacity,
                     1 + jaeger_pb_count(rest, field->number), sizeof *span->logs))
        return batch->rc;
    int rc = jaeger_pb_log(batch, field->bytes, &span->logs[span->log_count]);
    span->log_count += rc == FM_OK;
    return rc;
}

/* 16 bytes, or the 8 of an old one; false: neither. */
static bool jaeger_pb_trace_id(struct fm_slice id, uint64_t *high, uint64_t *low)
{
    if (id.len != 16 && id.len != 8)
        return false;
    *high = id.len == 16 ? fm_load_be64(id.ptr) : 0;
    *low = fm_load_be64(id.ptr + id.len - 8);
    return true;
}

static int jaeger_pb_reference(struct jaeger_batch *batch, struct fm_slice content)
{
    struct jaeger_reference reference = {.type = JAEGER_CHILD_OF};
    struct fm_slice trace_id = {0}, span_id = {0};
    struct pb_field field;
    int rc;
    while ((rc = pb_next(&content, &field)) == FM_OK) {
        if (jaeger_pb_is(&field, 1, PB_BYTES))
            trace_id = field.bytes;
        else if (jaeger_pb_is(&field, 2, PB_BYTES))
            span_id = field.bytes;
        else if (jaeger_pb_is(&field, 3, PB_VARINT))
            reference.type = (int32_t)field.value ? JAEGER_FOLLOWS_FROM : JAEGER_CHILD_OF;
    }
    if (rc < 0)
        return rc;
    (void)jaeger_pb_trace_id(trace_id, &reference.trace_high, &reference.trace_low); /* else 0 */
    if (span_id.len == 8)
        reference.span_id = fm_load_be64(span_id.ptr);
    return jaeger_span_add_reference(batch, &reference) ? FM_OK : batch->rc;
}

/* ---- spans ---- */

struct jaeger_pb_span {
    struct fm_slice trace_id, span_id;
    struct jaeger_pb_time start, duration;
};

static int jaeger_pb_span_field(struct jaeger_batch *batch, const struct pb_field *field,
                                struct fm_slice rest, struct jaeger_pb_span *from)
{
    struct jaeger_span *span = &batch->span;
    if (jaeger_pb_is(field, 5, PB_VARINT))
        span->flags = (uint32_t)field->value;
    if (field->type != PB_BYTES)
        return FM_OK;
    switch (field->number) {
    case 1:
        from->trace_id = field->bytes;
        return FM_OK;
    case 2:
        from->span_id = field->bytes;
        return FM_OK;
    case 3:
        span->name = field->bytes;
        return FM_OK;
    case 4:
        return jaeger_pb_reference(batch, field->bytes);
    case 6:
        return jaeger_pb_time(field->bytes, &from->start);
    case 7:
        return jaeger_pb_time(field->bytes, &from->duration);
    case 8:
        return jaeger_pb_add_tag(batch, field, rest, &span->tags);
    case 9:
        return jaeger_pb_add_log(batch, field, rest);
    case 10:
        span->has_process = true;
        return jaeger_pb_merge(batch, &span->process, field->bytes);
    default:
        return FM_OK;
    }
}

static int jaeger_pb_span(struct jaeger_pb *pb, struct fm_slice content)
{
    struct jaeger_batch *batch = &pb->batch;
    struct jaeger_span *span = &batch->span;
    struct jaeger_pb_span from = {0};
    struct pb_field field;
    uint64_t high = 0, low = 0;
    int rc;
    jaeger_span_reset(span);
    while ((rc = pb_next(&content, &field)) == FM_OK) {
        rc = jaeger_pb_span_field(batch, &field, content, &from);
        if (rc < 0)
            return rc;
    }
    if (rc < 0)
        return rc;
    bool is_known = jaeger_pb_trace_id(from.trace_id, &high, &low);
    jaeger_span_set_ids(span, high, low, 0);
    if (!is_known)
        span->trace_id = from.trace_id; /* to be refused and counted */
    span->span_id = from.span_id;
    span->start_ns = jaeger_pb_time_ns(&from.start);
    span->duration_ns = jaeger_pb_time_ns(&from.duration);
    rc = jaeger_pb_process(batch, span->has_process ? span->process : pb->process);
    return rc < 0 ? rc : jaeger_span_put(batch);
}

/* ---- the request ---- */

/* What the process of the batch is; several batches would be merged. */
static int jaeger_pb_find_process(struct jaeger_pb *pb, struct fm_slice batch)
{
    struct pb_field field;
    int rc;
    while ((rc = pb_next(&batch, &field)) == FM_OK) {
        if (jaeger_pb_is(&field, BATCH_PROCESS, PB_BYTES))
            rc = jaeger_pb_merge(&pb->batch, &pb->process, field.bytes);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : FM_OK;
}

static int jaeger_pb_spans(struct jaeger_pb *pb, struct fm_slice batch)
{
    struct pb_field field;
    int rc;
    while ((rc = pb_next(&batch, &field)) == FM_OK) {
        if (jaeger_pb_is(&field, BATCH_SPANS, PB_BYTES))
            rc = jaeger_pb_span(pb, field.bytes);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : FM_OK;
}

static int jaeger_pb_each_batch(struct jaeger_pb *pb, struct fm_slice request,
                                int (*body)(struct jaeger_pb *pb, struct fm_slice batch))
{
    struct pb_field field;
    int rc;
    while ((rc = pb_next(&request, &field)) == FM_OK) {
        if (jaeger_pb_is(&field, POST_BATCH, PB_BYTES))
            rc = body(pb, field.bytes);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : FM_OK;
}

int jaeger_pb_decode(struct fm_slice request, struct fm_arena *scratch, struct fm_buf *target,
                     struct fm_why *why)
{
    struct jaeger_pb pb = {0};
    if (request.len > JAEGER_INPUT_MAX)
        return fm_fail(why, FM_ELIMIT, "a request of %zu bytes", request.len);
    jaeger_batch_init(&pb.batch, request, NULL, scratch, target);
    int rc = jaeger_pb_each_batch(&pb, request, jaeger_pb_find_process);
    if (rc == FM_OK)
        rc = jaeger_pb_each_batch(&pb, request, jaeger_pb_spans);
    if (rc == FM_OK)
        rc = jaeger_batch_finish(&pb.batch);
    if (rc == FM_OK)
        return FM_OK;
    jaeger_batch_undo(&pb.batch);
    return fm_fail(why, rc, "PostSpansRequest: %s", fm_rc_text(rc));
}
