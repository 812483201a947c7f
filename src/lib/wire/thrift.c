/* SPDX-License-Identifier: Apache-2.0 */
/* Reader for both encodings of Thrift: compact (apache/thrift doc/specs/thrift-compact-protocol.md)
 * and binary (thrift-binary-protocol.md).
 *
 * Pull reader over a slice: nothing is allocated, containers are entered by the caller, what he
 * does not know is skipped.  Every count is checked against the bytes that are left.
 *
 * Compact comes first everywhere: Parquet's footers are read by the megabyte.  The encodings differ
 * in one thing that shows: a compact integer says its own length, a binary one is as long as its
 * type says, so the reader keeps the type that the last head of a field or list announced.
 */
#include "fermata/thrift.h"

#include "fermata/bytes.h"

#define THRIFT_COMPACT_ID       0x82
#define THRIFT_COMPACT_VERSION  1
#define THRIFT_BINARY_VERSION_1 0x8001

/* Types as numbered by the binary protocol. */
enum thrift_binary_type {
    THRIFT_BINARY_STOP = 0,
    THRIFT_BINARY_BOOL = 2,
    THRIFT_BINARY_BYTE = 3,
    THRIFT_BINARY_DOUBLE = 4,
    THRIFT_BINARY_I16 = 6,
    THRIFT_BINARY_I32 = 8,
    THRIFT_BINARY_I64 = 10,
    THRIFT_BINARY_STRING = 11,
    THRIFT_BINARY_STRUCT = 12,
    THRIFT_BINARY_MAP = 13,
    THRIFT_BINARY_SET = 14,
    THRIFT_BINARY_LIST = 15,
    THRIFT_BINARY_TYPE_COUNT
};

#define THRIFT_NO_TYPE 0xff

static const uint8_t thrift_type_of[THRIFT_BINARY_TYPE_COUNT] = {
    [THRIFT_BINARY_STOP] = THRIFT_STOP,     [1] = THRIFT_NO_TYPE,
    [THRIFT_BINARY_BOOL] = THRIFT_TRUE,     [THRIFT_BINARY_BYTE] = THRIFT_BYTE,
    [THRIFT_BINARY_DOUBLE] = THRIFT_DOUBLE, [5] = THRIFT_NO_TYPE,
    [THRIFT_BINARY_I16] = THRIFT_I16,       [7] = THRIFT_NO_TYPE,
    [THRIFT_BINARY_I32] = THRIFT_I32,       [9] = THRIFT_NO_TYPE,
    [THRIFT_BINARY_I64] = THRIFT_I64,       [THRIFT_BINARY_STRING] = THRIFT_BINARY,
    [THRIFT_BINARY_STRUCT] = THRIFT_STRUCT, [THRIFT_BINARY_MAP] = THRIFT_MAP,
    [THRIFT_BINARY_SET] = THRIFT_SET,       [THRIFT_BINARY_LIST] = THRIFT_LIST,
};

/* The fewest bytes that an element of this type takes inside a container: compact, binary. */
static const uint8_t thrift_size_min[THRIFT_STRUCT + 1][2] = {
    [THRIFT_STOP] = {1, 1},   [THRIFT_TRUE] = {1, 1},   [THRIFT_FALSE] = {1, 1},
    [THRIFT_BYTE] = {1, 1},   [THRIFT_I16] = {1, 2},    [THRIFT_I32] = {1, 4},
    [THRIFT_I64] = {1, 8},    [THRIFT_DOUBLE] = {8, 8}, [THRIFT_BINARY] = {1, 4},
    [THRIFT_LIST] = {1, 5},   [THRIFT_SET] = {1, 5},    [THRIFT_MAP] = {1, 6},
    [THRIFT_STRUCT] = {1, 1},
};

void thrift_reader_init(struct thrift_reader *reader, struct fm_slice input)
{
    thrift_reader_init_as(reader, THRIFT_COMPACT, input);
}

void thrift_reader_init_as(struct thrift_reader *reader, enum thrift_encoding encoding,
                           struct fm_slice input)
{
    *reader = (struct thrift_reader){.rest = input, .encoding = (uint8_t)encoding};
}

static inline bool thrift_is_compact(const struct thrift_reader *reader)
{
    return FM_LIKELY(reader->encoding == THRIFT_COMPACT);
}

/* The next len bytes, or NULL. */
static inline const uint8_t *thrift_take(struct thrift_reader *reader, size_t len)
{
    if (FM_UNLIKELY(reader->rest.len < len))
        return NULL;
    const uint8_t *ptr = reader->rest.ptr;
    reader->rest.ptr += len;
    reader->rest.len -= len;
    return ptr;
}

static inline int thrift_u8(struct thrift_reader *reader, uint8_t *ret_value)
{
    const uint8_t *ptr = thrift_take(reader, 1);
    if (FM_UNLIKELY(!ptr))
        return FM_EMALFORMED;
    *ret_value = *ptr;
    return FM_OK;
}

static int thrift_varint_long(struct thrift_reader *reader, uint64_t *ret_value)
{
    uint64_t value = 0;
    if (FM_LIKELY(reader->rest.len >= THRIFT_VARINT_MAX)) {
        const uint8_t *ptr = reader->rest.ptr, *stop = thrift_varint_at(ptr, ret_value);
        if (FM_UNLIKELY(!stop))
            return FM_EMALFORMED;
        reader->rest.ptr = stop;
        reader->rest.len -= (size_t)(stop - ptr);
        return FM_OK;
    }
    for (size_t i = 0; i < reader->rest.len; i++) {
        uint8_t byte = reader->rest.ptr[i];
        value |= (uint64_t)(byte & 127) << 7 * i;
        if (byte & 128)
            continue;
        reader->rest.ptr += i + 1;
        reader->rest.len -= i + 1;
        *ret_value = value;
        return FM_OK;
    }
    return FM_EMALFORMED;
}

static inline int thrift_varint(struct thrift_reader *reader, uint64_t *ret_value)
{
    if (FM_LIKELY(reader->rest.len && *reader->rest.ptr < 128)) {
        *ret_value = *reader->rest.ptr++;
        reader->rest.len--;
        return FM_OK;
    }
    return thrift_varint_long(reader, ret_value);
}

/* A count or length in the binary encoding. */
static int thrift_size(struct thrift_reader *reader, uint64_t *ret_size)
{
    const uint8_t *ptr = thrift_take(reader, 4);
    if (!ptr)
        return FM_EMALFORMED;
    uint32_t size = fm_load_be32(ptr);
    if (size > INT32_MAX) /* negative */
        return FM_EMALFORMED;
    *ret_size = size;
    return FM_OK;
}

/* Type byte of the binary encoding. */
static int thrift_type(struct thrift_reader *reader, uint8_t *ret_type)
{
    uint8_t code;
    int rc = thrift_u8(reader, &code);
    if (rc < 0)
        return rc;
    if (code >= THRIFT_BINARY_TYPE_COUNT || thrift_type_of[code] == THRIFT_NO_TYPE)
        return FM_EMALFORMED;
    *ret_type = thrift_type_of[code];
    return FM_OK;
}

static int thrift_message_compact(struct thrift_reader *reader, struct fm_slice *ret_name,
                                  uint8_t *ret_type)
{
    const uint8_t *head = thrift_take(reader, 2);
    uint64_t sequence;
    if (!head || head[0] != THRIFT_COMPACT_ID || (head[1] & 31) != THRIFT_COMPACT_VERSION)
        return FM_EMALFORMED;
    int rc = thrift_varint(reader, &sequence);
    if (rc == FM_OK)
        rc = thrift_binary(reader, ret_name);
    if (rc < 0)
        return rc;
    *ret_type = head[1] >> 5;
    return FM_OK;
}

/* Strict: version and type, name, sequence.  Old: name, type, sequence; the sign bit tells. */
static int thrift_message_binary(struct thrift_reader *reader, struct fm_slice *ret_name,
                                 uint8_t *ret_type)
{
    bool is_strict = reader->rest.len && *reader->rest.ptr & 128;
    const uint8_t *head = NULL;
    if (is_strict) {
        head = thrift_take(reader, 4);
        if (!head || fm_load_be16(head) != THRIFT_BINARY_VERSION_1)
            return FM_EMALFORMED;
    }
    int rc = thrift_binary(reader, ret_name);
    if (rc < 0)
        return rc;
    const uint8_t *type = is_strict ? head + 3 : thrift_take(reader, 1);
    if (!type || !thrift_take(reader, 4)) /* sequence id */
        return FM_EMALFORMED;
    *ret_type = *type;
    return FM_OK;
}

int thrift_message_begin(struct thrift_reader *reader, struct fm_slice *ret_name,
                         enum thrift_message_type *ret_type)
{
    struct fm_slice name;
    uint8_t type;
    int rc = thrift_is_compact(reader) ? thrift_message_compact(reader, &name, &type)
                                       : thrift_message_binary(reader, &name, &type);
    if (rc < 0)
        return rc;
    if (type < THRIFT_CALL || type > THRIFT_ONEWAY)
        return FM_EMALFORMED;
    *ret_name = name;
    *ret_type = (enum thrift_message_type)type;
    return FM_OK;
}

int thrift_int_as(struct thrift_reader *reader, uint8_t type, int64_t *ret_value)
{
    uint64_t value;
    const uint8_t *ptr;
    if (thrift_is_compact(reader)) {
        int rc = thrift_varint(reader, &value);
        if (FM_UNLIKELY(rc < 0))
            return rc;
        *ret_value = thrift_from_zigzag(value);
        return FM_OK;
    }
    switch (type) {
    case THRIFT_I16:
        if (!(ptr = thrift_take(reader, 2)))
            return FM_EMALFORMED;
        *ret_value = (int16_t)fm_load_be16(ptr);
        return FM_OK;
    case THRIFT_I32:
        if (!(ptr = thrift_take(reader, 4)))
            return FM_EMALFORMED;
        *ret_value = (int32_t)fm_load_be32(ptr);
        return FM_OK;
    case THRIFT_I64:
        if (!(ptr = thrift_take(reader, 8)))
            return FM_EMALFORMED;
        *ret_value = (int64_t)fm_load_be64(ptr);
        return FM_OK;
    default:
        return FM_EMALFORMED; /* the head did not announce an integer */
    }
}

int thrift_int(struct thrift_reader *reader, int64_t *ret_value)
{
    return thrift_int_as(reader, reader->type, ret_value);
}

int thrift_byte(struct thrift_reader *reader, int8_t *ret_value)
{
    uint8_t value;
    int rc = thrift_u8(reader, &value);
    if (rc < 0)
        return rc;
    *ret_value = (int8_t)value;
    return FM_OK;
}

int thrift_double(struct thrift_reader *reader, double *ret_value)
{
    const uint8_t *ptr = thrift_take(reader, 8);
    if (!ptr)
        return FM_EMALFORMED;
    uint64_t bits = thrift_is_compact(reader) ? fm_load_le64(ptr) : fm_load_be64(ptr);
    memcpy(ret_value, &bits, sizeof bits);
    return FM_OK;
}

int thrift_binary(struct thrift_reader *reader, struct fm_slice *ret_bytes)
{
    struct fm_slice start = reader->rest;
    uint64_t len;
    int rc = thrift_is_compact(reader) ? thrift_varint(reader, &len) : thrift_size(reader, &len);
    if (FM_UNLIKELY(rc < 0))
        return rc;
    if (FM_UNLIKELY(len > reader->rest.len)) {
        reader->rest = start;
        return FM_EMALFORMED;
    }
    *ret_bytes = fm_slice(reader->rest.ptr, (size_t)len);
    reader->rest.ptr += len;
    reader->rest.len -= (size_t)len;
    return FM_OK;
}

int thrift_struct_begin(struct thrift_reader *reader)
{
    if (reader->depth == THRIFT_DEPTH_MAX)
        return FM_ELIMIT;
    reader->field_id[reader->depth++] = 0;
    return FM_OK;
}

static int thrift_field_next_binary(struct thrift_reader *reader, struct thrift_field *ret_field)
{
    const uint8_t *ptr = reader->rest.ptr;
    size_t left = reader->rest.len;
    if (FM_UNLIKELY(left == 0 || *ptr >= THRIFT_BINARY_TYPE_COUNT))
        return FM_EMALFORMED;
    uint8_t type = thrift_type_of[*ptr];
    if (type == THRIFT_STOP) {
        reader->rest = fm_slice(ptr + 1, left - 1);
        reader->depth--;
        return FM_END;
    }
    size_t len = type == THRIFT_TRUE ? 4 : 3; /* type, id; the value of a boolean */
    if (FM_UNLIKELY(type == THRIFT_NO_TYPE || left < len))
        return FM_EMALFORMED;
    if (type == THRIFT_TRUE && !ptr[3])
        type = THRIFT_FALSE;
    reader->rest = fm_slice(ptr + len, left - len);
    reader->type = type;
    *ret_field = (struct thrift_field){.id = (int16_t)fm_load_be16(ptr + 1), .type = type};
    return FM_OK;
}

/* A compact field with its id in full; kept apart so that the usual one needs no local in memory.
 */
static __attribute__((noinline)) int
thrift_field_next_long(struct thrift_reader *reader, uint8_t type, struct thrift_field *ret_field)
{
    int64_t id;
    int rc = thrift_int(reader, &id);
    if (rc < 0)
        return rc;
    if (id < INT16_MIN || id > INT16_MAX || type > THRIFT_STRUCT)
        return FM_EMALFORMED;
    reader->field_id[reader->depth - 1] = (int16_t)id;
    *ret_field = (struct thrift_field){.id = (int16_t)id, .type = type};
    return FM_OK;
}

int thrift_field_next(struct thrift_reader *reader, struct thrift_field *ret_field)
{
    FM_ASSERT(reader->depth > 0);
    if (!thrift_is_compact(reader))
        return thrift_field_next_binary(reader, ret_field);
    if (FM_UNLIKELY(reader->rest.len == 0))
        return FM_EMALFORMED;
    uint8_t head = *reader->rest.ptr++;
    reader->rest.len--;
    if (head == THRIFT_STOP) {
        reader->depth--;
        return FM_END;
    }
    uint8_t type = head & 15;
    if (FM_UNLIKELY(head < 16))
        return thrift_field_next_long(reader, type, ret_field);
    int32_t id = reader->field_id[reader->depth - 1] + (head >> 4);
    if (FM_UNLIKELY(id > INT16_MAX || type == THRIFT_STOP || type > THRIFT_STRUCT))
        return FM_EMALFORMED;
    reader->field_id[reader->depth - 1] = (int16_t)id;
    *ret_field = (struct thrift_field){.id = (int16_t)id, .type = type};
    return FM_OK;
}

int thrift_list_begin(struct thrift_reader *reader, uint8_t *ret_type, uint32_t *ret_count)
{
    uint8_t type;
    uint64_t count;
    int rc;
    if (thrift_is_compact(reader)) {
        uint8_t head;
        if ((rc = thrift_u8(reader, &head)) < 0)
            return rc;
        count = head >> 4;
        type = head & 15;
        if (count == 15)
            rc = thrift_varint(reader, &count);
    } else {
        rc = thrift_type(reader, &type);
        if (rc == FM_OK)
            rc = thrift_size(reader, &count);
        reader->type = rc == FM_OK ? type : THRIFT_STOP;
    }
    if (rc < 0)
        return rc;
    if ((type == THRIFT_STOP && count) || type > THRIFT_STRUCT)
        return FM_EMALFORMED;
    if (count > UINT32_MAX ||
        count > reader->rest.len / thrift_size_min[type][reader->encoding != THRIFT_COMPACT])
        return FM_EMALFORMED;
    *ret_type = type;
    *ret_count = (uint32_t)count;
    return FM_OK;
}

static int thrift_map_head(struct thrift_reader *reader, uint8_t ret_types[2], uint64_t *ret_count)
{
    uint8_t types = 0;
    int rc;
    if (thrift_is_compact(reader)) {
        rc = thrift_varint(reader, ret_count);
        if (rc == FM_OK && *ret_count)
            rc = thrift_u8(reader, &types);
        ret_types[0] = types >> 4;
        ret_types[1] = types & 15;
        return rc;
    }
    rc = thrift_type(reader, &ret_types[0]);
    if (rc == FM_OK)
        rc = thrift_type(reader, &ret_types[1]);
    return rc < 0 ? rc : thrift_size(reader, ret_count);
}

int thrift_map_begin(struct thrift_reader *reader, uint8_t *ret_key_type, uint8_t *ret_value_type,
                     uint32_t *ret_count)
{
    uint8_t types[2];
    uint64_t count;
    int rc = thrift_map_head(reader, types, &count);
    if (rc < 0)
        return rc;
    if (count == 0) {
        *ret_key_type = *ret_value_type = THRIFT_STOP;
        *ret_count = 0;
        return FM_OK;
    }
    if (types[0] == THRIFT_STOP || types[0] > THRIFT_STRUCT || types[1] == THRIFT_STOP ||
        types[1] > THRIFT_STRUCT)
        return FM_EMALFORMED;
    bool is_binary = !thrift_is_compact(reader);
    size_t pair_size_min =
        (size_t)thrift_size_min[types[0]][is_binary] + thrift_size_min[types[1]][is_binary];
    if (count > UINT32_MAX || count > reader->rest.len / pair_size_min)
        return FM_EMALFORMED;
    *ret_key_type = types[0];
    *ret_value_type = types[1];
    *ret_count = (uint32_t)count;
    return FM_OK;
}

/* Containers may be nested without structs between them, so skipping counts its own depth on top
 * of the reader's. */
static int thrift_skip_value(struct thrift_reader *reader, uint8_t type, unsigned depth,
                             bool in_container);

static int thrift_skip_list(struct thrift_reader *reader, unsigned depth)
{
    uint8_t type;
    uint32_t count;
    int rc = thrift_list_begin(reader, &type, &count);
    for (uint32_t i = 0; rc == FM_OK && i < count; i++)
        rc = thrift_skip_value(reader, type, depth, true);
    return rc;
}

static int thrift_skip_map(struct thrift_reader *reader, unsigned depth)
{
    uint8_t key_type, value_type;
    uint32_t count;
    int rc = thrift_map_begin(reader, &key_type, &value_type, &count);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; rc == FM_OK && i < count; i++) {
        rc = thrift_skip_value(reader, key_type, depth, true);
        if (rc == FM_OK)
            rc = thrift_skip_value(reader, value_type, depth, true);
    }
    return rc;
}

static int thrift_skip_struct(struct thrift_reader *reader, unsigned depth)
{
    int rc = thrift_struct_begin(reader);
    if (rc < 0)
        return rc;
    for (;;) {
        struct thrift_field field;
        rc = thrift_field_next(reader, &field);
        if (rc < 0)
            return rc;
        if (rc == FM_END)
            return FM_OK;
        rc = thrift_skip_value(reader, field.type, depth, false);
        if (rc < 0)
            return rc;
    }
}

static int thrift_skip_value(struct thrift_reader *reader, uint8_t type, unsigned depth,
                             bool in_container)
{
    int8_t byte;
    int64_t integer;
    double number;
    struct fm_slice bytes;
    if (depth >= THRIFT_DEPTH_MAX)
        return FM_ELIMIT;
    switch (type) {
    case THRIFT_TRUE:
    case THRIFT_FALSE:
        return in_container ? thrift_byte(reader, &byte) : FM_OK;
    case THRIFT_BYTE:
        return thrift_byte(reader, &byte);
    case THRIFT_I16:
    case THRIFT_I32:
    case THRIFT_I64:
        return thrift_int_as(reader, type, &integer);
    case THRIFT_DOUBLE:
        return thrift_double(reader, &number);
    case THRIFT_BINARY:
        return thrift_binary(reader, &bytes);
    case THRIFT_LIST:
    case THRIFT_SET:
        return thrift_skip_list(reader, depth + 1);
    case THRIFT_MAP:
        return thrift_skip_map(reader, depth + 1);
    case THRIFT_STRUCT:
        return thrift_skip_struct(reader, depth + 1);
    default:
        return FM_EMALFORMED;
    }
}

int thrift_skip(struct thrift_reader *reader, uint8_t type)
{
    return thrift_skip_value(reader, type, 0, false);
}
