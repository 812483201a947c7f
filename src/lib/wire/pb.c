/* SPDX-License-Identifier: Apache-2.0 */
/* Protobuf wire format.  The reader keeps no state but the slice that is left, so that nesting is
 * the caller's; only groups, which nobody sends any more, nest in here (with a counter). */
#include "fermata/pb.h"

#define PB_GROUP_DEPTH_MAX 32
#define PB_VARINT_LEN_MAX  10

const uint8_t *pb_varint_long(const uint8_t *ptr, const uint8_t *end, uint64_t *ret_value)
{
    uint64_t value = 0;
    size_t len = FM_MIN((size_t)(end - ptr), PB_VARINT_LEN_MAX);

    for (size_t i = 0; i < len; i++) {
        uint64_t byte = ptr[i];
        value |= (byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            if (i == PB_VARINT_LEN_MAX - 1 && byte > 1)
                return NULL;
            *ret_value = value;
            return ptr + i + 1;
        }
    }
    return NULL;
}

/* Reads a tag; NULL: malformed. */
static const uint8_t *pb_tag(const uint8_t *ptr, const uint8_t *end, uint32_t *ret_number,
                             uint32_t *ret_type)
{
    uint64_t tag;

    ptr = pb_varint(ptr, end, &tag);
    if (!ptr || tag > UINT32_MAX || tag >> 3 == 0)
        return NULL;
    *ret_number = (uint32_t)(tag >> 3);
    *ret_type = (uint32_t)(tag & 7);
    return ptr;
}

/* Reads the content of a field that is not a group; NULL: malformed. */
static const uint8_t *pb_content(const uint8_t *ptr, const uint8_t *end, uint32_t type,
                                 uint64_t *ret_value, struct fm_slice *ret_bytes)
{
    uint64_t len;

    switch (type) {
    case PB_VARINT:
        return pb_varint(ptr, end, ret_value);
    case PB_BYTES:
        ptr = pb_varint(ptr, end, &len);
        if (!ptr || len > (size_t)(end - ptr))
            return NULL;
        *ret_bytes = fm_slice(ptr, (size_t)len);
        return ptr + len;
    case PB_FIXED64:
        if (end - ptr < 8)
            return NULL;
        *ret_value = fm_load_le64(ptr);
        return ptr + 8;
    case PB_FIXED32:
        if (end - ptr < 4)
            return NULL;
        *ret_value = fm_load_le32(ptr);
        return ptr + 4;
    default:
        return NULL;
    }
}

#define PB_GROUP_END 4

/* Skips behind the end of group `number`, whose start was read; NULL: malformed. */
static const uint8_t *pb_skip_group(const uint8_t *ptr, const uint8_t *end, uint32_t number)
{
    uint32_t open[PB_GROUP_DEPTH_MAX] = {number};
    size_t depth = 1;

    while (depth) {
        uint32_t inner, type;
        ptr = pb_tag(ptr, end, &inner, &type);
        if (!ptr)
            return NULL;
        if (type == PB_GROUP) {
            if (depth == PB_GROUP_DEPTH_MAX)
                return NULL;
            open[depth++] = inner;
        } else if (type == PB_GROUP_END) {
            if (open[--depth] != inner)
                return NULL;
        } else {
            uint64_t value;
            struct fm_slice bytes;
            ptr = pb_content(ptr, end, type, &value, &bytes);
            if (!ptr)
                return NULL;
        }
    }
    return ptr;
}

/* The usual field, a tag and a length or value of one byte each; false: another one. */
static inline bool pb_next_short(struct fm_slice *rest, struct pb_field *ret_field)
{
    const uint8_t *ptr = rest->ptr;
    if (rest->len < 2 || ptr[0] < 8 || (ptr[0] | ptr[1]) >= 0x80)
        return false;
    uint32_t type = ptr[0] & 7u;
    size_t size = type == PB_BYTES ? 2u + ptr[1] : 2u;
    if ((type != PB_BYTES && type != PB_VARINT) || size > rest->len)
        return false;
    *ret_field = (struct pb_field){.number = ptr[0] >> 3,
                                   .type = type,
                                   .value = type == PB_VARINT ? ptr[1] : 0,
                                   .bytes = fm_slice(type == PB_BYTES ? ptr + 2 : NULL, size - 2),
                                   .raw = fm_slice(ptr, size)};
    *rest = fm_slice(ptr + size, rest->len - size);
    return true;
}

int pb_next(struct fm_slice *rest, struct pb_field *ret_field)
{
    if (FM_LIKELY(pb_next_short(rest, ret_field)))
        return FM_OK;
    if (!rest->len)
        return FM_END;
    const uint8_t *ptr = rest->ptr, *end = ptr + rest->len;
    struct pb_field field = {0};

    ptr = pb_tag(ptr, end, &field.number, &field.type);
    if (!ptr)
        return FM_EMALFORMED;
    if (FM_UNLIKELY(field.type == PB_GROUP))
        ptr = pb_skip_group(ptr, end, field.number);
    else
        ptr = pb_content(ptr, end, field.type, &field.value, &field.bytes);
    if (!ptr)
        return FM_EMALFORMED;
    field.raw = fm_slice(rest->ptr, (size_t)(ptr - rest->ptr));
    *rest = fm_slice(ptr, (size_t)(end - ptr));
    *ret_field = field;
    return FM_OK;
}

size_t pb_varint_size(uint64_t value)
{
    /* 64 - clz is the number of significant bits; 7 of them fit into a byte. */
    return (size_t)(70 - __builtin_clzll(value | 1)) / 7;
}

static uint8_t *pb_store_varint(uint8_t *target, uint64_t value)
{
    while (value >= 0x80) {
        *target++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *target++ = (uint8_t)value;
    return target;
}

void pb_put_varint(struct fm_buf *buf, uint64_t value)
{
    uint8_t *target = fm_buf_room(buf, pb_varint_size(value));
    if (target)
        buf->len += (size_t)(pb_store_varint(target, value) - target);
}

void pb_put_tag(struct fm_buf *buf, uint32_t number, enum pb_type type)
{
    pb_put_varint(buf, (uint64_t)number << 3 | type);
}

void pb_put_u64(struct fm_buf *buf, uint32_t number, uint64_t value)
{
    uint64_t tag = (uint64_t)number << 3 | PB_VARINT;
    uint8_t *target = fm_buf_room(buf, pb_varint_size(tag) + pb_varint_size(value));
    if (target)
        buf->len += (size_t)(pb_store_varint(pb_store_varint(target, tag), value) - target);
}

void pb_put_fixed64(struct fm_buf *buf, uint32_t number, uint64_t value)
{
    uint8_t bytes[8];

    pb_put_tag(buf, number, PB_FIXED64);
    fm_store_le64(bytes, value);
    fm_buf_put(buf, bytes, sizeof bytes);
}

void pb_put_fixed32(struct fm_buf *buf, uint32_t number, uint32_t value)
{
    uint8_t bytes[4];

    pb_put_tag(buf, number, PB_FIXED32);
    fm_store_le32(bytes, value);
    fm_buf_put(buf, bytes, sizeof bytes);
}

void pb_put_bytes(struct fm_buf *buf, uint32_t number, struct fm_slice bytes)
{
    uint64_t tag = (uint64_t)number << 3 | PB_BYTES;
    size_t needed = pb_varint_size(tag) + pb_varint_size(bytes.len) + bytes.len;
    uint8_t *target = fm_buf_room(buf, needed);
    if (!target)
        return;
    target = pb_store_varint(pb_store_varint(target, tag), bytes.len);
    if (bytes.len)
        memcpy(target, bytes.ptr, bytes.len);
    buf->len += needed;
}

void pb_put_text(struct fm_buf *buf, uint32_t number, const char *text)
{
    pb_put_bytes(buf, number, fm_slice_text(text));
}

size_t pb_begin(struct fm_buf *buf, uint32_t number)
{
    uint64_t tag = (uint64_t)number << 3 | PB_BYTES;
    uint8_t *target = fm_buf_room(buf, pb_varint_size(tag) + 1);
    if (target) {
        uint8_t *len = pb_store_varint(target, tag);
        *len = 0; /* most messages need one byte of length; pb_end makes room for more */
        buf->len += (size_t)(len + 1 - target);
    }
    return buf->len;
}

void pb_end(struct fm_buf *buf, size_t mark)
{
    if (buf->failed)
        return;
    size_t len = buf->len - mark, more = pb_varint_size(len) - 1;
    if (more) {
        if (!fm_buf_room(buf, more))
            return;
        memmove(buf->ptr + mark + more, buf->ptr + mark, len);
        buf->len += more;
    }
    (void)pb_store_varint(buf->ptr + mark - 1, len);
}
