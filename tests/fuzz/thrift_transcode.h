/* SPDX-License-Identifier: Apache-2.0 */
/* From one encoding of Thrift to the other, knowing nothing of what it says.  Integers become i64,
 * because a compact one may be longer than its type. */
#ifndef TESTS_FUZZ_THRIFT_TRANSCODE_H
#define TESTS_FUZZ_THRIFT_TRANSCODE_H

#include "fermata/bytes.h"
#include "fermata/thrift.h"

#define TRANSCODE_DEPTH_MAX 100

struct transcode {
    struct thrift_reader reader;
    struct fm_buf *target;
    bool to_compact;
};

static inline void transcode_put_varint(struct fm_buf *target, uint64_t value)
{
    for (; value >= 128; value >>= 7)
        fm_buf_put_u8(target, (uint8_t)(value | 128));
    fm_buf_put_u8(target, (uint8_t)value);
}

static inline void transcode_put_be(struct fm_buf *target, uint64_t value, unsigned len)
{
    while (len--)
        fm_buf_put_u8(target, (uint8_t)(value >> 8 * len));
}

static inline void transcode_put_long(struct transcode *transcode, int64_t value)
{
    if (transcode->to_compact)
        transcode_put_varint(transcode->target, (uint64_t)value << 1 ^ (uint64_t)(value >> 63));
    else
        transcode_put_be(transcode->target, (uint64_t)value, 8);
}

static inline void transcode_put_size(struct transcode *transcode, uint64_t size)
{
    if (transcode->to_compact)
        transcode_put_varint(transcode->target, size);
    else
        transcode_put_be(transcode->target, size, 4);
}

static inline uint8_t transcode_type(uint8_t type)
{
    return type >= THRIFT_I16 && type <= THRIFT_I64 ? THRIFT_I64 : type;
}

static inline uint8_t transcode_binary_type(uint8_t type)
{
    static const uint8_t codes[] = {0, 2, 2, 3, 10, 10, 10, 4, 11, 15, 14, 13, 12};
    return codes[type];
}

static inline int transcode_value(struct transcode *transcode, uint8_t type, bool in_container,
                                  unsigned depth);

static inline int transcode_list(struct transcode *transcode, unsigned depth)
{
    uint8_t type;
    uint32_t count;
    int rc = thrift_list_begin(&transcode->reader, &type, &count);
    if (rc < 0)
        return rc;
    uint8_t written = transcode_type(type);
    if (!transcode->to_compact)
        fm_buf_put_u8(transcode->target, transcode_binary_type(written));
    else
        fm_buf_put_u8(transcode->target, (uint8_t)(FM_MIN(count, 15u) << 4 | written));
    if (!transcode->to_compact || count >= 15)
        transcode_put_size(transcode, count);
    for (uint32_t i = 0; rc == FM_OK && i < count; i++)
        rc = transcode_value(transcode, type, true, depth + 1);
    return rc;
}

static inline int transcode_map(struct transcode *transcode, unsigned depth)
{
    uint8_t types[2];
    uint32_t count;
    int rc = thrift_map_begin(&transcode->reader, &types[0], &types[1], &count);
    if (rc < 0)
        return rc;
    uint8_t key = transcode_type(types[0]), value = transcode_type(types[1]);
    if (transcode->to_compact) {
        transcode_put_size(transcode, count);
        if (count)
            fm_buf_put_u8(transcode->target, (uint8_t)(key << 4 | value));
    } else {
        fm_buf_put_u8(transcode->target, transcode_binary_type(key));
        fm_buf_put_u8(transcode->target, transcode_binary_type(value));
        transcode_put_size(transcode, count);
    }
    for (uint64_t i = 0; rc == FM_OK && i < 2 * (uint64_t)count; i++)
        rc = transcode_value(transcode, types[i & 1], true, depth + 1);
    return rc;
}

static inline void transcode_put_field(struct transcode *transcode,
                                       const struct thrift_field *field, int16_t *last_id)
{
    uint8_t type = transcode_type(field->type);
    int delta = field->id - *last_id;
    if (!transcode->to_compact) {
        fm_buf_put_u8(transcode->target, transcode_binary_type(type));
        transcode_put_be(transcode->target, (uint16_t)field->id, 2);
        if (thrift_field_is_bool(field))
            fm_buf_put_u8(transcode->target, type == THRIFT_TRUE);
    } else if (delta > 0 && delta <= 15) {
        fm_buf_put_u8(transcode->target, (uint8_t)(delta << 4 | type));
    } else {
        fm_buf_put_u8(transcode->target, type);
        transcode_put_long(transcode, field->id);
    }
    *last_id = field->id;
}

static inline int transcode_struct(struct transcode *transcode, unsigned depth)
{
    int16_t last_id = 0;
    struct thrift_field field;
    int rc = thrift_struct_begin(&transcode->reader);
    while (rc == FM_OK) {
        rc = thrift_field_next(&transcode->reader, &field);
        if (rc != FM_OK)
            break;
        transcode_put_field(transcode, &field, &last_id);
        rc = transcode_value(transcode, field.type, false, depth + 1);
    }
    fm_buf_put_u8(transcode->target, 0);
    return rc < 0 ? rc : FM_OK;
}

static inline int transcode_scalar(struct transcode *transcode, uint8_t type, bool in_container)
{
    struct fm_slice bytes;
    int64_t integer;
    double number;
    int8_t byte;
    int rc = FM_OK;
    if (type == THRIFT_BINARY) {
        rc = thrift_binary(&transcode->reader, &bytes);
        if (rc == FM_OK) {
            transcode_put_size(transcode, bytes.len);
            fm_buf_put_slice(transcode->target, bytes);
        }
    } else if (type == THRIFT_DOUBLE) {
        rc = thrift_double(&transcode->reader, &number);
        if (rc == FM_OK) {
            uint8_t bits[8];
            memcpy(bits, &number, sizeof bits);
            for (int i = 0; i < 8; i++)
                fm_buf_put_u8(transcode->target, bits[transcode->to_compact ? i : 7 - i]);
        }
    } else if (type >= THRIFT_I16 && type <= THRIFT_I64) {
        rc = thrift_int_as(&transcode->reader, type, &integer);
        if (rc == FM_OK)
            transcode_put_long(transcode, integer);
    } else if (type == THRIFT_BYTE || in_container) {
        rc = thrift_byte(&transcode->reader, &byte);
        if (rc == FM_OK)
            fm_buf_put_u8(transcode->target, (uint8_t)byte);
    }
    return rc;
}

static inline int transcode_value(struct transcode *transcode, uint8_t type, bool in_container,
                                  unsigned depth)
{
    if (depth > TRANSCODE_DEPTH_MAX)
        return FM_ELIMIT;
    switch (type) {
    case THRIFT_LIST:
    case THRIFT_SET:
        return transcode_list(transcode, depth);
    case THRIFT_MAP:
        return transcode_map(transcode, depth);
    case THRIFT_STRUCT:
        return transcode_struct(transcode, depth);
    default:
        return transcode_scalar(transcode, type, in_container);
    }
}

/* A struct or a list to the other encoding. */
static inline int transcode_run(struct fm_slice input, enum thrift_encoding from, uint8_t type,
                                struct fm_buf *target)
{
    struct transcode transcode = {.target = target, .to_compact = from != THRIFT_COMPACT};
    thrift_reader_init_as(&transcode.reader, from, input);
    return transcode_value(&transcode, type, false, 0);
}

#endif
