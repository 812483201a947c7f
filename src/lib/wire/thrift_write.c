/* SPDX-License-Identifier: Apache-2.0 */
/* Writer for both encodings of Thrift: the mirror image of thrift.c, over a fm_buf with its sticky
 * error.  Lists, fields and structs are opened by the caller, who also keeps the order of ids
 * ascending where he wants compact heads of one byte. */
#include "fermata/thrift.h"

#include "fermata/bytes.h"

#define THRIFT_VARINT_MAX 10

/* Types as numbered by the binary protocol. */
static const uint8_t thrift_binary_code[THRIFT_STRUCT + 1] = {
    [THRIFT_TRUE] = 2,    [THRIFT_FALSE] = 2, [THRIFT_BYTE] = 3, [THRIFT_DOUBLE] = 4,
    [THRIFT_I16] = 6,     [THRIFT_I32] = 8,   [THRIFT_I64] = 10, [THRIFT_BINARY] = 11,
    [THRIFT_STRUCT] = 12, [THRIFT_MAP] = 13,  [THRIFT_SET] = 14, [THRIFT_LIST] = 15,
};

void thrift_writer_init(struct thrift_writer *writer, struct fm_buf *buf)
{
    thrift_writer_init_as(writer, THRIFT_COMPACT, buf);
}

void thrift_writer_init_as(struct thrift_writer *writer, enum thrift_encoding encoding,
                           struct fm_buf *buf)
{
    *writer = (struct thrift_writer){.buf = buf, .encoding = (uint8_t)encoding};
}

static bool thrift_writes_compact(const struct thrift_writer *writer)
{
    return FM_LIKELY(writer->encoding == THRIFT_COMPACT);
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

/* The low len bytes of value, big endian. */
static void thrift_put_be(struct fm_buf *buf, uint64_t value, size_t len)
{
    uint8_t bytes[8];
    fm_store_be64(bytes, value);
    fm_buf_put(buf, bytes + sizeof bytes - len, len);
}

static void thrift_put_int(struct thrift_writer *writer, int64_t value, size_t len)
{
    if (thrift_writes_compact(writer))
        thrift_put_varint(writer->buf, thrift_zigzag(value));
    else
        thrift_put_be(writer->buf, (uint64_t)value, len);
}

void thrift_put_message(struct thrift_writer *writer, enum thrift_message_type type,
                        const char *name)
{
    struct fm_buf *buf = writer->buf;
    if (thrift_writes_compact(writer)) {
        fm_buf_put_u8(buf, 0x82);
        fm_buf_put_u8(buf, (uint8_t)(type << 5 | 1)); /* version 1 */
        fm_buf_put_u8(buf, 0);                        /* sequence */
        thrift_put_element_binary(writer, fm_slice_text(name));
        return;
    }
    thrift_put_be(buf, UINT32_C(0x80010000) | type, 4);
    thrift_put_element_binary(writer, fm_slice_text(name));
    thrift_put_be(buf, 0, 4); /* sequence */
}

static void thrift_put_field(struct thrift_writer *writer, int16_t id, uint8_t type)
{
    FM_ASSERT(writer->depth > 0);
    if (!thrift_writes_compact(writer)) {
        fm_buf_put_u8(writer->buf, thrift_binary_code[type]);
        thrift_put_be(writer->buf, (uint16_t)id, 2);
        return;
    }
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
    if (!thrift_writes_compact(writer))
        fm_buf_put_u8(writer->buf, value);
}

void thrift_put_i16(struct thrift_writer *writer, int16_t id, int16_t value)
{
    thrift_put_field(writer, id, THRIFT_I16);
    thrift_put_int(writer, value, 2);
}

void thrift_put_i32(struct thrift_writer *writer, int16_t id, int32_t value)
{
    thrift_put_field(writer, id, THRIFT_I32);
    thrift_put_int(writer, value, 4);
}

void thrift_put_i64(struct thrift_writer *writer, int16_t id, int64_t value)
{
    thrift_put_field(writer, id, THRIFT_I64);
    thrift_put_int(writer, value, 8);
}

void thrift_put_double(struct thrift_writer *writer, int16_t id, double value)
{
    uint8_t bytes[8];
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    thrift_put_field(writer, id, THRIFT_DOUBLE);
    if (thrift_writes_compact(writer))
        fm_store_le64(bytes, bits);
    else
        fm_store_be64(bytes, bits);
    fm_buf_put(writer->buf, bytes, sizeof bytes);
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
    if (!thrift_writes_compact(writer)) {
        fm_buf_put_u8(writer->buf, thrift_binary_code[type]);
        thrift_put_be(writer->buf, count, 4);
        return;
    }
    if (count < 15) {
        fm_buf_put_u8(writer->buf, (uint8_t)(count << 4 | type));
        return;
    }
    fm_buf_put_u8(writer->buf, (uint8_t)(0xf0 | type));
    thrift_put_varint(writer->buf, count);
}

void thrift_put_element_i32(struct thrift_writer *writer, int32_t value)
{
    thrift_put_int(writer, value, 4);
}

void thrift_put_element_binary(struct thrift_writer *writer, struct fm_slice bytes)
{
    if (thrift_writes_compact(writer))
        thrift_put_varint(writer->buf, bytes.len);
    else
        thrift_put_be(writer->buf, bytes.len, 4);
    fm_buf_put_slice(writer->buf, bytes);
}
