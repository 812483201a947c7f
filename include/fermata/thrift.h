/* SPDX-License-Identifier: Apache-2.0 */
/* thrift - a pull reader and a writer for both encodings of Thrift.  Part of wire.
 * Sources of the formats: apache/thrift doc/specs/thrift-compact-protocol.md and
 * thrift-binary-protocol.md.  Parquet's footers and page headers are compact; Jaeger's and Zipkin's
 * clients send either.  Types are those of the compact protocol, whatever is on the wire.
 */
#ifndef FERMATA_THRIFT_H
#define FERMATA_THRIFT_H

#include "fermata/base.h"
#include "fermata/bytes.h"

#define THRIFT_DEPTH_MAX  32
#define THRIFT_VARINT_MAX 10 /* bytes */

enum thrift_encoding { THRIFT_COMPACT, THRIFT_BINARY_PROTOCOL };

enum thrift_type {
    THRIFT_STOP = 0,
    THRIFT_TRUE = 1, /* as a field: the value is in the type */
    THRIFT_FALSE = 2,
    THRIFT_BYTE = 3,
    THRIFT_I16 = 4,
    THRIFT_I32 = 5,
    THRIFT_I64 = 6,
    THRIFT_DOUBLE = 7,
    THRIFT_BINARY = 8,
    THRIFT_LIST = 9,
    THRIFT_SET = 10,
    THRIFT_MAP = 11,
    THRIFT_STRUCT = 12,
};

struct thrift_reader {
    struct fm_slice rest; /* borrowed */
    uint32_t depth;
    uint8_t encoding;                   /* enum thrift_encoding */
    uint8_t type;                       /* binary: as the last head of a field or list said */
    int16_t field_id[THRIFT_DEPTH_MAX]; /* last field id per open struct */
};
void thrift_reader_init(struct thrift_reader *reader, struct fm_slice input); /* compact */
void thrift_reader_init_as(struct thrift_reader *reader, enum thrift_encoding encoding,
                           struct fm_slice input);

/* Head of a call: compact, binary strict or binary without version.  ret_name is borrowed. */
enum thrift_message_type { THRIFT_CALL = 1, THRIFT_REPLY, THRIFT_EXCEPTION, THRIFT_ONEWAY };
FM_MUST int thrift_message_begin(struct thrift_reader *reader, struct fm_slice *ret_name,
                                 enum thrift_message_type *ret_type);

struct thrift_field {
    int16_t id;
    uint8_t type; /* enum thrift_type */
};
/* Struct: begin, then fields until FM_END (the stop byte), which closes the struct. */
FM_MUST int thrift_struct_begin(struct thrift_reader *reader);
FM_MUST int thrift_field_next(struct thrift_reader *reader, struct thrift_field *ret_field);
/* List or set header.  FM_EMALFORMED if count cannot fit in the bytes that are left. */
FM_MUST int thrift_list_begin(struct thrift_reader *reader, uint8_t *ret_type, uint32_t *ret_count);
/* Map header.  An empty map has types THRIFT_STOP. */
FM_MUST int thrift_map_begin(struct thrift_reader *reader, uint8_t *ret_key_type,
                             uint8_t *ret_value_type, uint32_t *ret_count);
/* Value of a boolean field, whose type says TRUE or FALSE in the compact encoding; in the binary
 * one thrift_field_next has read the value already and says TRUE or FALSE as well. */
static inline bool thrift_field_is_bool(const struct thrift_field *field)
{
    return field->type == THRIFT_TRUE || field->type == THRIFT_FALSE;
}
/* I16, I32 or I64: which one, the head of the field or list read last has said. */
FM_MUST int thrift_int(struct thrift_reader *reader, int64_t *ret_value);
/* The same where no such head stands right in front: in maps, and behind nested containers. */
FM_MUST int thrift_int_as(struct thrift_reader *reader, uint8_t type, int64_t *ret_value);
FM_MUST int thrift_byte(struct thrift_reader *reader, int8_t *ret_value);
FM_MUST int thrift_double(struct thrift_reader *reader, double *ret_value);
FM_MUST int thrift_binary(struct thrift_reader *reader, struct fm_slice *ret_bytes);
FM_MUST int thrift_skip(struct thrift_reader *reader, uint8_t type);

/* For loops over many integers of the compact encoding: the varint at ptr, where THRIFT_VARINT_MAX
 * bytes can be read.  The byte behind it; NULL: more than 64 bits. */
static inline const uint8_t *thrift_varint_at(const uint8_t *ptr, uint64_t *ret_value)
{
    if (*ptr < 128) {
        *ret_value = *ptr;
        return ptr + 1;
    }
    uint64_t word = fm_load_le64(ptr), stop = ~word & UINT64_C(0x8080808080808080), high = 0;
    size_t len = 9;
    if (FM_LIKELY(stop)) {                               /* times take seven or eight bytes */
        unsigned bits = (unsigned)__builtin_ctzll(stop); /* of the last byte's top bit */
        word &= UINT64_MAX >> (63 - bits);
        len = bits / 8 + 1;
    } else { /* ids take nine or ten, one as often as the other: no branch */
        uint64_t ninth = ptr[8], tenth = ptr[9] & (0 - (ninth >> 7));
        if (FM_UNLIKELY(tenth > 1))
            return NULL;
        high = (ninth & 127) << 56 | tenth << 63;
        len += (size_t)(ninth >> 7);
    }
    /* The low seven bits of each byte, together. */
    word &= UINT64_C(0x7f7f7f7f7f7f7f7f);
    word = (word & UINT64_C(0x007f007f007f007f)) | (word & UINT64_C(0x7f007f007f007f00)) >> 1;
    word = (word & UINT64_C(0x00003fff00003fff)) | (word & UINT64_C(0x3fff00003fff0000)) >> 2;
    word = (word & UINT64_C(0x0fffffff)) | (word & UINT64_C(0x0fffffff00000000)) >> 4;
    *ret_value = word | high;
    return ptr + len;
}
static inline int64_t thrift_from_zigzag(uint64_t value)
{
    return (int64_t)(value >> 1 ^ (~(value & 1) + 1));
}

struct thrift_writer {
    struct fm_buf *buf; /* borrowed; sticky errors */
    uint32_t depth;
    uint8_t encoding; /* enum thrift_encoding */
    int16_t field_id[THRIFT_DEPTH_MAX];
};
void thrift_writer_init(struct thrift_writer *writer, struct fm_buf *buf); /* compact */
void thrift_writer_init_as(struct thrift_writer *writer, enum thrift_encoding encoding,
                           struct fm_buf *buf);
void thrift_put_message(struct thrift_writer *writer, enum thrift_message_type type,
                        const char *name);
void thrift_put_struct_begin(struct thrift_writer *writer); /* element of a list, or the root */
void thrift_put_struct_field(struct thrift_writer *writer, int16_t id); /* opens a struct field */
void thrift_put_struct_end(struct thrift_writer *writer);
void thrift_put_bool(struct thrift_writer *writer, int16_t id, bool value);
void thrift_put_i32(struct thrift_writer *writer, int16_t id, int32_t value);
void thrift_put_i64(struct thrift_writer *writer, int16_t id, int64_t value);
void thrift_put_double(struct thrift_writer *writer, int16_t id, double value);
void thrift_put_i16(struct thrift_writer *writer, int16_t id, int16_t value);
void thrift_put_binary(struct thrift_writer *writer, int16_t id, struct fm_slice bytes);
void thrift_put_list(struct thrift_writer *writer, int16_t id, enum thrift_type type,
                     uint32_t count); /* then the elements */
void thrift_put_element_i32(struct thrift_writer *writer, int32_t value);
void thrift_put_element_binary(struct thrift_writer *writer, struct fm_slice bytes);

#endif
