/* SPDX-License-Identifier: Apache-2.0 */
/* The usual shape of spans and tags, read without a reader's state between any two bytes. */
#include "jaeger_compact.h"

/* Bytes of a tag: heads of its fields, each with the distance from the field before it. */
enum {
    COMPACT_TEXT_HEAD = 0x18,   /* key, or text behind the type: binary */
    COMPACT_TYPE_HEAD = 0x15,   /* 2 behind 1: i32 */
    COMPACT_NUMBER_HEAD = 0x27, /* 4 behind 2: double */
    COMPACT_TRUE_HEAD = 0x31,   /* 5 behind 2 */
    COMPACT_FALSE_HEAD = 0x32,
    COMPACT_LONG_HEAD = 0x46, /* 6 behind 2 */
    COMPACT_STOP = 0,
};
#define COMPACT_SHORT 127 /* the longest text with a length of one byte */

/* The three bytes between key and value: head of the type, the type, in zigzag, head of the value.
 */
#define COMPACT_VALUE(type, head)                                                                  \
    (COMPACT_TYPE_HEAD | (uint32_t)(type) << 9 | (uint32_t)(head) << 16)

void jaeger_compact_fields(struct thrift_reader *reader, struct jaeger_thrift_span *span,
                           struct fm_slice *name)
{
    const uint8_t *ptr = reader->rest.ptr, *end = ptr + reader->rest.len;
    uint32_t id = (uint32_t)reader->field_id[reader->depth - 1];
    while (end - ptr > 1 + THRIFT_VARINT_MAX) {
        uint32_t next = id + (*ptr >> 4), type = *ptr & 15;
        const uint8_t *value = ptr + 1;
        if (*ptr < 16 || next > JAEGER_SPAN_DURATION)
            break;
        if (type >= THRIFT_I16 && type <= THRIFT_I64) {
            uint64_t bits;
            if (next == JAEGER_SPAN_NAME || next == JAEGER_SPAN_REFERENCES ||
                !(value = thrift_varint_at(value, &bits)))
                break;
            span->values[next] = thrift_from_zigzag(bits);
            ptr = value;
        } else if (type == THRIFT_BINARY && next == JAEGER_SPAN_NAME) {
            if (*value > COMPACT_SHORT || *value >= end - value)
                break;
            *name = fm_slice(value + 1, *value);
            ptr = value + 1 + *value;
        } else {
            break;
        }
        id = next;
    }
    reader->field_id[reader->depth - 1] = (int16_t)id;
    reader->rest = fm_slice(ptr, (size_t)(end - ptr));
}

/* The size of a tag whose key has less than 128 bytes and is not empty. */
static inline uint32_t jaeger_compact_size(uint32_t key_len, size_t value_size)
{
    return (uint32_t)(2 + key_len + jaeger_field_size(value_size));
}

/* A tag with a key, a type and the one value, text below 128 bytes; the byte behind it, or NULL. */
static inline __attribute__((always_inline)) const uint8_t *
jaeger_compact_tag(const uint8_t *ptr, const uint8_t *end, struct jaeger_tag *tag)
{
    if (FM_UNLIKELY(end - ptr < 8 || ptr[0] != COMPACT_TEXT_HEAD))
        return NULL;
    uint32_t key_len = ptr[1];
    if (FM_UNLIKELY(key_len - 1 >= COMPACT_SHORT || key_len > end - ptr - 8))
        return NULL;
    tag->key = ptr + 2;
    tag->key_len = key_len;
    tag->hidden = false;
    ptr += 2 + key_len; /* 6 bytes are left at least */
    uint32_t kind = fm_load_le32(ptr) & 0xffffff;
    ptr += 3;
    if (FM_LIKELY(kind == COMPACT_VALUE(JAEGER_STRING, COMPACT_TEXT_HEAD))) {
        uint32_t len = *ptr;
        if (FM_UNLIKELY(len > COMPACT_SHORT || len > end - ptr - 2))
            return NULL;
        tag->type = JAEGER_STRING;
        tag->text = ptr + 1;
        tag->text_len = len;
        tag->size = jaeger_compact_size(key_len, 2 + len);
        ptr += 1 + len;
    } else if (kind == COMPACT_VALUE(JAEGER_LONG, COMPACT_LONG_HEAD)) {
        uint64_t value;
        if (end - ptr <= THRIFT_VARINT_MAX || !(ptr = thrift_varint_at(ptr, &value)))
            return NULL;
        tag->type = JAEGER_LONG;
        tag->integer = thrift_from_zigzag(value);
        tag->size = jaeger_compact_size(key_len, 1 + jaeger_varint_size((uint64_t)tag->integer));
    } else if (kind == COMPACT_VALUE(JAEGER_BOOL, COMPACT_TRUE_HEAD) ||
               kind == COMPACT_VALUE(JAEGER_BOOL, COMPACT_FALSE_HEAD)) {
        tag->type = JAEGER_BOOL;
        tag->integer = kind == COMPACT_VALUE(JAEGER_BOOL, COMPACT_TRUE_HEAD);
        tag->size = jaeger_compact_size(key_len, 2);
    } else if (kind == COMPACT_VALUE(JAEGER_DOUBLE, COMPACT_NUMBER_HEAD) && end - ptr > 8) {
        tag->type = JAEGER_DOUBLE;
        tag->bits = fm_load_le64(ptr);
        tag->size = jaeger_compact_size(key_len, 9);
        ptr += 8;
    } else {
        return NULL;
    }
    return *ptr == COMPACT_STOP ? ptr + 1 : NULL;
}

uint32_t jaeger_compact_tags(struct thrift_reader *reader, struct jaeger_tag *tags, uint32_t count)
{
    const uint8_t *ptr = reader->rest.ptr, *end = ptr + reader->rest.len;
    uint32_t i = 0;
    for (; i < count; i++) {
        const uint8_t *next = jaeger_compact_tag(ptr, end, &tags[i]);
        if (FM_UNLIKELY(!next))
            break;
        ptr = next;
    }
    reader->rest = fm_slice(ptr, (size_t)(end - ptr));
    return i;
}
