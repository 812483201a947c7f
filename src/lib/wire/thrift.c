/* SPDX-License-Identifier: Apache-2.0 */
/* Thrift's compact protocol (apache/thrift doc/specs/thrift-compact-protocol.md).
 *
 * Pull reader over a slice: nothing is allocated, containers are entered by the caller, what he
 * does not know is skipped.  Depth is counted in the reader, so skip() needs no recursion limit of
 * its own.  The writer mirrors it over a fm_buf with its sticky error.
 */
#include "fermata/thrift.h"

#include "fermata/bytes.h"

#define THRIFT_VARINT_MAX 10

void thrift_reader_init(struct thrift_reader *reader, struct fm_slice input)
{
    *reader = (struct thrift_reader){.rest = input};
}

static int thrift_u8(struct thrift_reader *reader, uint8_t *ret_value)
{
    if (reader->rest.len == 0)
        return FM_EMALFORMED;
    *ret_value = *reader->rest.ptr++;
    reader->rest.len--;
    return FM_OK;
}

static int thrift_varint(struct thrift_reader *reader, uint64_t *ret_value)
{
    uint64_t value = 0;
    size_t len = FM_MIN(reader->rest.len, (size_t)THRIFT_VARINT_MAX);
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = reader->rest.ptr[i];
        value |= (uint64_t)(byte & 127) << 7 * i;
        if (byte & 128)
            continue;
        if (i == THRIFT_VARINT_MAX - 1 && byte > 1)
            return FM_EMALFORMED; /* more than 64 bits */
        reader->rest.ptr += i + 1;
        reader->rest.len -= i + 1;
        *ret_value = value;
        return FM_OK;
    }
    return FM_EMALFORMED;
}

int thrift_int(struct thrift_reader *reader, int64_t *ret_value)
{
    uint64_t value;
    int rc = thrift_varint(reader, &value);
    if (rc < 0)
        return rc;
    *ret_value = (int64_t)(value >> 1 ^ (~(value & 1) + 1));
    return FM_OK;
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
    if (reader->rest.len < 8)
        return FM_EMALFORMED;
    uint64_t bits = fm_load_le64(reader->rest.ptr); /* compact protocol: little endian */
    reader->rest.ptr += 8;
    reader->rest.len -= 8;
    memcpy(ret_value, &bits, sizeof bits);
    return FM_OK;
}

int thrift_binary(struct thrift_reader *reader, struct fm_slice *ret_bytes)
{
    struct thrift_reader at = *reader;
    uint64_t len;
    int rc = thrift_varint(&at, &len);
    if (rc < 0)
        return rc;
    if (len > at.rest.len)
        return FM_EMALFORMED;
    *ret_bytes = fm_slice(at.rest.ptr, (size_t)len);
    reader->rest = fm_slice(at.rest.ptr + len, at.rest.len - (size_t)len);
    return FM_OK;
}

int thrift_struct_begin(struct thrift_reader *reader)
{
    if (reader->depth == THRIFT_DEPTH_MAX)
        return FM_ELIMIT;
    reader->field_id[reader->depth++] = 0;
    return FM_OK;
}

int thrift_field_next(struct thrift_reader *reader, struct thrift_field *ret_field)
{
    uint8_t head;
    FM_ASSERT(reader->depth > 0);
    int rc = thrift_u8(reader, &head);
    if (rc < 0)
        return rc;
    if (head == THRIFT_STOP) {
        reader->depth--;
        return FM_END;
    }
    int64_t id = head >> 4;
    uint8_t type = head & 15;
    if (id)
        id += reader->field_id[reader->depth - 1];
    else if ((rc = thrift_int(reader, &id)) < 0)
        return rc;
    if (id < INT16_MIN || id > INT16_MAX || type == THRIFT_STOP || type > THRIFT_STRUCT)
        return FM_EMALFORMED;
    reader->field_id[reader->depth - 1] = (int16_t)id;
    *ret_field = (struct thrift_field){.id = (int16_t)id, .type = type};
    return FM_OK;
}

/* The fewest bytes that an element of this type takes inside a container. */
static size_t thrift_size_min(uint8_t type)
{
    return type == THRIFT_DOUBLE ? 8 : 1;
}

int thrift_list_begin(struct thrift_reader *reader, uint8_t *ret_type, uint32_t *ret_count)
{
    uint8_t head;
    int rc = thrift_u8(reader, &head);
    if (rc < 0)
        return rc;
    uint64_t count = head >> 4;
    uint8_t type = head & 15;
    if (count == 15 && (rc = thrift_varint(reader, &count)) < 0)
        return rc;
    if ((type == THRIFT_STOP && count) || type > THRIFT_STRUCT)
        return FM_EMALFORMED;
    if (count > UINT32_MAX || count > reader->rest.len / thrift_size_min(type))
        return FM_EMALFORMED;
    *ret_type = type;
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
    uint64_t count;
    uint8_t types;
    int rc = thrift_varint(reader, &count);
    if (rc < 0 || count == 0)
        return rc;
    rc = thrift_u8(reader, &types);
    if (rc < 0)
        return rc;
    if (count > reader->rest.len / 2)
        return FM_EMALFORMED;
    for (uint64_t i = 0; rc == FM_OK && i < count; i++) {
        rc = thrift_skip_value(reader, types >> 4, depth, true);
        if (rc == FM_OK)
            rc = thrift_skip_value(reader, types & 15, depth, true);
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
        return thrift_int(reader, &integer);
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

void thrift_writer_init(struct thrift_writer *writer, struct fm_buf *buf)
{
    *writer = (struct thrift_writer){.buf = buf};
}

static void thrift_put_varint(struct fm_buf *buf, uint64_t value)
{
    uint8_t *target = fm_buf_room(buf, THRIFT_VARINT_MAX);
    if (!target)
        return;
    while (value >= 128) {
        *target++ = (uint8_t)(value | 128);
        value >>= 7;
        buf->len++;
    }
    *target = (uint8_t)value;
    buf->len++;
}

static uint64_t thrift_zigzag(int64_t value)
{
    return (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
}

static void thrift_put_field(struct thrift_writer *writer, int16_t id, uint8_t type)
{
    FM_ASSERT(writer->depth > 0);
    int16_t *last = &writer->field_id[writer->depth - 1];
    int delta = id - *last;
    *last = id;
    if (delta > 0 && delta <= 15) {
        fm_buf_put_u8(writer->buf, (uint8_t)(delta << 4 | type));
        return;
    }
    fm_buf_put_u8(writer->buf, type);
    thrift_put_varint(writer->buf, thrift_zigzag(id));
}

void thrift_put_struct_begin(struct thrift_writer *writer)
{
    FM_ASSERT(writer->depth < THRIFT_DEPTH_MAX);
    writer->field_id[writer->depth++] = 0;
}

void thrift_put_struct_field(struct thrift_writer *writer, int16_t id)
{
    thrift_put_field(writer, id, THRIFT_STRUCT);
    thrift_put_struct_begin(writer);
}

void thrift_put_struct_end(struct thrift_writer *writer)
{
    FM_ASSERT(writer->depth > 0);
    writer->depth--;
    fm_buf_put_u8(writer->buf, THRIFT_STOP);
}

void thrift_put_bool(struct thrift_writer *writer, int16_t id, bool value)
{
    thrift_put_field(writer, id, value ? THRIFT_TRUE : THRIFT_FALSE);
}

void thrift_put_i16(struct thrift_writer *writer, int16_t id, int16_t value)
{
    thrift_put_field(writer, id, THRIFT_I16);
    thrift_put_varint(writer->buf, thrift_zigzag(value));
}

void thrift_put_i32(struct thrift_writer *writer, int16_t id, int32_t value)
{
    thrift_put_field(writer, id, THRIFT_I32);
    thrift_put_varint(writer->buf, thrift_zigzag(value));
}

void thrift_put_i64(struct thrift_writer *writer, int16_t id, int64_t value)
{
    thrift_put_field(writer, id, THRIFT_I64);
    thrift_put_varint(writer->buf, thrift_zigzag(value));
}

void thrift_put_binary(struct thrift_writer *writer, int16_t id, struct fm_slice bytes)
{
    thrift_put_field(writer, id, THRIFT_BINARY);
    thrift_put_element_binary(writer, bytes);
}

void thrift_put_list(struct thrift_writer *writer, int16_t id, enum thrift_type type,
                     uint32_t count)
{
    thrift_put_field(writer, id, THRIFT_LIST);
    if (count < 15) {
        fm_buf_put_u8(writer->buf, (uint8_t)(count << 4 | type));
        return;
    }
    fm_buf_put_u8(writer->buf, (uint8_t)(0xf0 | type));
    thrift_put_varint(writer->buf, count);
}

void thrift_put_element_i32(struct thrift_writer *writer, int32_t value)
{
    thrift_put_varint(writer->buf, thrift_zigzag(value));
}

void thrift_put_element_binary(struct thrift_writer *writer, struct fm_slice bytes)
{
    thrift_put_varint(writer->buf, bytes.len);
    fm_buf_put_slice(writer->buf, bytes);
}
