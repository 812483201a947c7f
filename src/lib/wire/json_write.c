/* SPDX-License-Identifier: Apache-2.0 */
/* JSON writer: remembers per level whether a comma is due. */
#include "fermata/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "fermata/bytes.h"

#define JSON_DOUBLE_SIZE 48

void json_writer_init(struct json_writer *writer, struct fm_buf *buf)
{
    *writer = (struct json_writer){.buf = buf};
}

/* Before every value and key: the comma, unless a key was just written. */
static void json_separate(struct json_writer *writer)
{
    uint64_t *word = &writer->has_member[writer->depth / 64];
    uint64_t bit = UINT64_C(1) << writer->depth % 64;

    if (writer->after_key) {
        writer->after_key = false;
        return;
    }
    if (writer->depth && (*word & bit))
        fm_buf_put_u8(writer->buf, ',');
    *word |= bit;
}

static void json_begin(struct json_writer *writer, uint8_t byte)
{
    json_separate(writer);
    fm_buf_put_u8(writer->buf, byte);
    if (writer->depth == JSON_WRITER_DEPTH_MAX) {
        writer->buf->failed = true;
        return;
    }
    writer->depth++;
    writer->has_member[writer->depth / 64] &= ~(UINT64_C(1) << writer->depth % 64);
}

static void json_end(struct json_writer *writer, uint8_t byte)
{
    if (writer->depth)
        writer->depth--;
    fm_buf_put_u8(writer->buf, byte);
}

void json_object_begin(struct json_writer *writer)
{
    json_begin(writer, '{');
}

void json_object_end(struct json_writer *writer)
{
    json_end(writer, '}');
}

void json_array_begin(struct json_writer *writer)
{
    json_begin(writer, '[');
}

void json_array_end(struct json_writer *writer)
{
    json_end(writer, ']');
}

/* What stands for a byte of a string: 0 itself, 'u' a \u escape, else a letter behind a \. */
static char json_escape_of(uint8_t byte)
{
    switch (byte) {
    case '"':
    case '\\':
        return (char)byte;
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return byte < 0x20 ? 'u' : 0;
    }
}

static void json_put_escaped(struct fm_buf *buf, struct fm_slice text)
{
    size_t start = 0;

    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.ptr[i];
        if (FM_LIKELY(byte >= 0x20 && byte != '"' && byte != '\\'))
            continue;
        fm_buf_put(buf, text.ptr + start, i - start);
        start = i + 1;
        char escape = json_escape_of(byte);
        if (escape == 'u')
            fm_buf_printf(buf, "\\u%04x", byte);
        else
            fm_buf_put(buf, (char[2]){'\\', escape}, 2);
    }
    fm_buf_put(buf, text.ptr + start, text.len - start);
}

/* A string literal. */
static void json_put_string(struct fm_buf *buf, struct fm_slice text)
{
    fm_buf_put_u8(buf, '"');
    if (FM_LIKELY(fm_utf8_valid_len(text) == text.len)) {
        json_put_escaped(buf, text);
    } else {
        struct fm_buf repaired;
        fm_buf_init(&repaired, 3 * text.len);
        fm_utf8_repair(&repaired, text);
        buf->failed |= repaired.failed;
        json_put_escaped(buf, fm_buf_slice(&repaired));
        fm_buf_fini(&repaired);
    }
    fm_buf_put_u8(buf, '"');
}

void json_key(struct json_writer *writer, const char *key)
{
    json_separate(writer);
    json_put_string(writer->buf, fm_slice_text(key));
    fm_buf_put_u8(writer->buf, ':');
    writer->after_key = true;
}

void json_string(struct json_writer *writer, struct fm_slice text)
{
    json_separate(writer);
    json_put_string(writer->buf, text);
}

void json_text(struct json_writer *writer, const char *text)
{
    json_string(writer, fm_slice_text(text));
}

void json_base64(struct json_writer *writer, struct fm_slice bytes)
{
    json_separate(writer);
    fm_buf_put_u8(writer->buf, '"');
    fm_base64_encode(writer->buf, bytes);
    fm_buf_put_u8(writer->buf, '"');
}

void json_hex(struct json_writer *writer, struct fm_slice bytes)
{
    json_separate(writer);
    fm_buf_put_u8(writer->buf, '"');
    uint8_t *target = fm_buf_room(writer->buf, 2 * bytes.len);
    if (target) {
        fm_hex_encode((char *)target, bytes);
        writer->buf->len += 2 * bytes.len;
    }
    fm_buf_put_u8(writer->buf, '"');
}

/* quote: '"' or 0.  A sign is put for negative. */
static void json_put_decimal(struct json_writer *writer, uint64_t magnitude, bool negative,
                             bool quoted)
{
    char text[24];
    size_t i = sizeof text;

    if (quoted)
        text[--i] = '"';
    do {
        text[--i] = (char)('0' + magnitude % 10);
        magnitude /= 10;
    } while (magnitude);
    if (negative)
        text[--i] = '-';
    if (quoted)
        text[--i] = '"';
    json_separate(writer);
    fm_buf_put(writer->buf, text + i, sizeof text - i);
}

void json_int(struct json_writer *writer, int64_t value)
{
    json_put_decimal(writer, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, value < 0, false);
}

void json_uint(struct json_writer *writer, uint64_t value)
{
    json_put_decimal(writer, value, false, false);
}

void json_int_text(struct json_writer *writer, int64_t value)
{
    json_put_decimal(writer, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, value < 0, true);
}

void json_uint_text(struct json_writer *writer, uint64_t value)
{
    json_put_decimal(writer, value, false, true);
}

/* Fewest significant digits that read back as value, as "d.ddde-xx". */
static void json_shortest(double value, char *text, size_t size)
{
    /* 15 digits always survive a normal double, so fewer need not be tried: zeros at the end are
     * cut later.  Subnormals have less precision. */
    for (int digits = value < 2.3e-308 ? 1 : 15; digits <= 17; digits++) {
        (void)snprintf(text, size, "%.*e", digits - 1, value);
        if (strtod(text, NULL) == value)
            return;
    }
}

/* Plain notation: digits with the point behind digit number `exponent`. */
static size_t json_format_plain(char *text, const char *digits, int count, int exponent)
{
    size_t len = 0;

    if (exponent < 0) {
        text[len++] = '0';
        text[len++] = '.';
        for (int i = exponent + 1; i < 0; i++)
            text[len++] = '0';
    }
    for (int i = 0; i < count || i <= exponent; i++) {
        if (i && i == exponent + 1)
            text[len++] = '.';
        text[len++] = i < count ? digits[i] : '0';
    }
    return len;
}

/* The switch to exponents is that of ECMAScript and of Go's encoding/json. */
static size_t json_format_double(double value, char text[JSON_DOUBLE_SIZE])
{
    char shortest[40], digits[40];
    int count = 0;
    size_t len = 0;

    if (signbit(value))
        text[len++] = '-';
    if (value == 0) {
        text[len++] = '0';
        return len;
    }
    json_shortest(fabs(value), shortest, sizeof shortest);
    const char *exponent_text = strchr(shortest, 'e');
    int exponent = (int)strtol(exponent_text + 1, NULL, 10);
    for (const char *from = shortest; from < exponent_text; from++) {
        if (*from != '.')
            digits[count++] = *from;
    }
    while (count > 1 && digits[count - 1] == '0')
        count--;
    if (exponent >= -6 && exponent < 21)
        return len + json_format_plain(text + len, digits, count, exponent);
    len += json_format_plain(text + len, digits, count, 0);
    return len + (size_t)snprintf(text + len, JSON_DOUBLE_SIZE - len, "e%+d", exponent);
}

void json_number(struct json_writer *writer, double value)
{
    char text[JSON_DOUBLE_SIZE];

    if (isnan(value)) {
        json_text(writer, "NaN");
    } else if (isinf(value)) {
        json_text(writer, value < 0 ? "-Infinity" : "Infinity");
    } else {
        size_t len = json_format_double(value, text);
        json_separate(writer);
        fm_buf_put(writer->buf, text, len);
    }
}

void json_bool(struct json_writer *writer, bool value)
{
    json_raw(writer, value ? FM_SLICE("true") : FM_SLICE("false"));
}

void json_null(struct json_writer *writer)
{
    json_raw(writer, FM_SLICE("null"));
}

void json_raw(struct json_writer *writer, struct fm_slice json)
{
    json_separate(writer);
    fm_buf_put_slice(writer->buf, json);
}
