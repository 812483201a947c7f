/* SPDX-License-Identifier: Apache-2.0 */
/* json - RFC 8259: a pull reader over a whole document, without a tree, and a writer.  Part of
 * wire.
 *
 * The reader refuses what the grammar refuses (trailing commas, bare words, control characters in
 * strings, junk behind the value); invalid UTF-8 and lone surrogates become U+FFFD; a leading
 * UTF-8 BOM is skipped.  Numbers stay text until the schema asks.
 */
#ifndef FERMATA_JSON_H
#define FERMATA_JSON_H

#include "fermata/base.h"

#define JSON_DEPTH_MAX 64

enum json_kind {
    JSON_OBJECT_BEGIN,
    JSON_OBJECT_END,
    JSON_ARRAY_BEGIN,
    JSON_ARRAY_END,
    JSON_KEY,    /* text: unescaped */
    JSON_STRING, /* text: unescaped */
    JSON_NUMBER, /* text: as written */
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL,
};

struct json_token {
    enum json_kind kind;
    struct fm_slice text; /* points into the document, or into the scratch arena when unescaped */
};

struct json_reader {
    struct fm_slice document; /* borrowed */
    size_t position;
    struct fm_arena *scratch; /* borrowed; unescaped strings live there */
    uint32_t depth;
    uint32_t depth_max; /* <= JSON_DEPTH_MAX */
    uint8_t state;
    uint64_t in_object; /* bit per level: 1 = object */
    const char *error;  /* static text, after FM_EMALFORMED */
};

void json_reader_init(struct json_reader *reader, struct fm_slice document,
                      struct fm_arena *scratch);
/* FM_OK; FM_END: the document is complete; FM_EMALFORMED (error, position say what and where);
 * FM_ELIMIT: deeper than depth_max; FM_ENOMEM: scratch is full. */
FM_MUST int json_next(struct json_reader *reader, struct json_token *ret_token);
/* Skips the value whose first token was just read (a scalar: nothing to do). */
FM_MUST int json_skip(struct json_reader *reader, const struct json_token *first);

/* Text of a JSON_NUMBER or JSON_STRING token as a value.  FM_EMALFORMED: not one, or out of range.
 * Integers accept an exponent or fraction if the value is integral ("1.5e3"). */
FM_MUST int json_u64(const struct json_token *token, uint64_t *ret_value);
FM_MUST int json_i64(const struct json_token *token, int64_t *ret_value);
FM_MUST int json_double(const struct json_token *token, double *ret_value); /* also NaN, Infinity */

/* Writer: commas are placed by the writer; sticky errors on buf, also for nesting deeper than
 * JSON_WRITER_DEPTH_MAX.  Strings are repaired to UTF-8. */
#define JSON_WRITER_DEPTH_MAX 255
struct json_writer {
    struct fm_buf *buf;     /* borrowed */
    uint64_t has_member[4]; /* bit per level */
    uint32_t depth;
    bool after_key;
};
void json_writer_init(struct json_writer *writer, struct fm_buf *buf);
void json_object_begin(struct json_writer *writer);
void json_object_end(struct json_writer *writer);
void json_array_begin(struct json_writer *writer);
void json_array_end(struct json_writer *writer);
void json_key(struct json_writer *writer, const char *key);
void json_string(struct json_writer *writer, struct fm_slice text);
void json_text(struct json_writer *writer, const char *text);
void json_base64(struct json_writer *writer, struct fm_slice bytes);
void json_hex(struct json_writer *writer, struct fm_slice bytes);
void json_int(struct json_writer *writer, int64_t value);
void json_uint(struct json_writer *writer, uint64_t value);
void json_int_text(struct json_writer *writer, int64_t value);   /* "-3", quoted (proto3 int64) */
void json_uint_text(struct json_writer *writer, uint64_t value); /* "3", quoted (proto3 uint64) */
void json_number(struct json_writer *writer, double value); /* shortest; "NaN", "Infinity" quoted */
void json_bool(struct json_writer *writer, bool value);
void json_null(struct json_writer *writer);
void json_raw(struct json_writer *writer, struct fm_slice json); /* one complete value, trusted */

#endif
