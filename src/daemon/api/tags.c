/* SPDX-License-Identifier: Apache-2.0 */
/* logfmt to TraceQL.
 *
 * A tag may be met by another span than the next tag is: each is a spanset filter of its own, and
 * the filters are joined by &&, which asks for a span of each in the trace. */
#include "tags.h"

#include <inttypes.h>

#include "go_text.h"

static int tags_refuse(const struct tag_reader *reader, const char *problem, struct fm_why *why)
{
    return fm_fail(why, FM_EMALFORMED, "invalid tags: %s at pos %zu", problem, reader->at + 1);
}

static int tags_refuse_byte(const struct tag_reader *reader, uint8_t byte, struct fm_why *why)
{
    return fm_fail(why, FM_EMALFORMED, "invalid tags: unexpected '%c' at pos %zu", byte,
                   reader->at + 1);
}

static bool tags_at_word(const struct tag_reader *reader)
{
    return reader->at < reader->text.len && reader->text.ptr[reader->at] > ' ';
}

static bool has_replacement_character(struct fm_slice text)
{
    return fm_utf8_valid_len(text) != text.len;
}

static int tag_key(struct tag_reader *reader, struct fm_slice *ret_key, struct fm_why *why)
{
    size_t start = reader->at;

    for (; tags_at_word(reader) && reader->text.ptr[reader->at] != '='; reader->at++) {
        if (reader->text.ptr[reader->at] == '"')
            return tags_refuse_byte(reader, '"', why);
    }
    *ret_key = fm_slice(reader->text.ptr + start, reader->at - start);
    if (!ret_key->len)
        return tags_refuse_byte(reader, '=', why);
    if (has_replacement_character(*ret_key))
        return tags_refuse(reader, "invalid key", why);
    return FM_OK;
}

static int tag_bare_value(struct tag_reader *reader, struct fm_slice *ret_value, struct fm_why *why)
{
    size_t start = reader->at;

    for (; tags_at_word(reader); reader->at++) {
        uint8_t byte = reader->text.ptr[reader->at];
        if (byte == '=' || byte == '"')
            return tags_refuse_byte(reader, byte, why);
    }
    *ret_value = fm_slice(reader->text.ptr + start, reader->at - start);
    return FM_OK;
}

/* What stands behind a backslash; false: nothing that may. */
static bool tag_unescape(struct fm_slice text, size_t *at, uint8_t *target, size_t *len)
{
    static const char names[] = "\"\\/'bfnrt", bytes[] = "\"\\/'\b\f\n\r\t";
    const char *name = memchr(names, text.ptr[*at], sizeof names - 1);
    uint8_t pair[2];
    uint32_t code;

    if (name) {
        target[(*len)++] = (uint8_t)bytes[name - names];
        return true;
    }
    if (text.ptr[*at] != 'u' || text.len - *at <= 4 ||
        fm_hex_decode(pair, sizeof pair, fm_slice(text.ptr + *at + 1, 4)) < 0)
        return false;
    *at += 4;
    code = (uint32_t)pair[0] << 8 | pair[1];
    if (code >= 0xd800 && code < 0xe000)
        code = 0xfffd; /* half a pair */
    if (code < 0x80) {
        target[(*len)++] = (uint8_t)code;
    } else if (code < 0x800) {
        target[(*len)++] = (uint8_t)(0xc0 | code >> 6);
        target[(*len)++] = (uint8_t)(0x80 | (code & 0x3f));
    } else {
        target[(*len)++] = (uint8_t)(0xe0 | code >> 12);
        target[(*len)++] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        target[(*len)++] = (uint8_t)(0x80 | (code & 0x3f));
    }
    return true;
}

static int tag_quoted_value(struct tag_reader *reader, struct fm_slice *ret_value,
                            struct fm_why *why)
{
    struct fm_slice text = reader->text;
    size_t end = reader->at + 1, len = 0;

    while (end < text.len && text.ptr[end] != '"')
        end += text.ptr[end] == '\\' ? 2 : 1;
    if (end >= text.len) {
        reader->at = text.len;
        return tags_refuse(reader, "unterminated quoted value", why);
    }
    struct fm_slice inner = fm_slice(text.ptr + reader->at + 1, end - reader->at - 1);
    reader->at = end + 1;
    uint8_t *target = fm_arena_alloc(reader->arena, inner.len + 1);
    if (!target)
        return fm_fail(why, FM_ENOMEM, "out of memory");
    for (size_t i = 0; i < inner.len; i++) {
        if (inner.ptr[i] != '\\')
            target[len++] = inner.ptr[i];
        else if (++i == inner.len || !tag_unescape(inner, &i, target, &len))
            return tags_refuse(reader, "invalid quoted value", why);
    }
    *ret_value = fm_slice(target, len);
    return FM_OK;
}

int tag_next(struct tag_reader *reader, struct tag *ret_tag, struct fm_why *why)
{
    struct tag tag = {.value = FM_SLICE("")};

    while (reader->at < reader->text.len && reader->text.ptr[reader->at] <= ' ')
        reader->at++;
    if (reader->at == reader->text.len)
        return FM_END;
    int rc = tag_key(reader, &tag.key, why);
    if (rc == FM_OK && tags_at_word(reader)) {
        reader->at++; /* the equals sign */
        if (tags_at_word(reader) && reader->text.ptr[reader->at] == '"')
            rc = tag_quoted_value(reader, &tag.value, why);
        else
            rc = tag_bare_value(reader, &tag.value, why);
    }
    if (rc == FM_OK)
        *ret_tag = tag;
    return rc;
}

/* ---- as TraceQL ---- */

static void put_quoted(struct fm_slice text, struct fm_buf *out)
{
    fm_buf_puts(out, "\"");
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '"' || text.ptr[i] == '\\')
            fm_buf_puts(out, "\\");
        if (text.ptr[i] == '\n')
            fm_buf_puts(out, "\\n");
        else
            fm_buf_put_u8(out, text.ptr[i]);
    }
    fm_buf_puts(out, "\"");
}

/* =~ ".*text.*"; what means something in a pattern is escaped, twice as it stands in a string. */
static void put_substring(struct fm_slice text, struct fm_buf *out)
{
    static const char special[] = "\\.+*?()|[]{}^$";
    fm_buf_puts(out, " =~ \".*");
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.ptr[i];
        if (byte == '"')
            fm_buf_puts(out, "\\\"");
        else if (byte == '\\')
            fm_buf_puts(out, "\\\\\\\\");
        else if (byte == '\n')
            fm_buf_puts(out, "\\n");
        else if (byte && memchr(special, byte, sizeof special - 1))
            fm_buf_printf(out, "\\\\%c", byte);
        else
            fm_buf_put_u8(out, byte);
    }
    fm_buf_puts(out, ".*\"");
}

/* Tags that stand for what is no attribute. */
static const char *tag_intrinsic(struct fm_slice key)
{
    static const char *const names[][2] = {
        {"name", "name"},
        {"root.name", "rootName"},
        {"root.service.name", "rootServiceName"},
        {"status.code", "status"},
    };
    for (size_t i = 0; i < FM_COUNT(names); i++) {
        if (fm_slice_equal_text(key, names[i][0]))
            return names[i][1];
    }
    return NULL;
}

void tag_put_field(struct fm_slice key, struct fm_buf *out)
{
    const char *intrinsic = tag_intrinsic(key);

    if (intrinsic) {
        fm_buf_puts(out, intrinsic);
        return;
    }
    fm_buf_puts(out, ".");
    put_quoted(key, out);
}

static void put_status(struct fm_slice value, struct fm_buf *out)
{
    static const char *const names[] = {"error", "ok", "unset"};
    for (size_t i = 0; i < FM_COUNT(names); i++) {
        if (!fm_slice_equal_text(value, names[i]))
            continue;
        fm_buf_printf(out, "status = %s", names[i]);
        return;
    }
    fm_buf_puts(out, "false"); /* no span has such a status */
}

static void put_alternative(struct fm_slice key, struct fm_slice value, struct fm_buf *out)
{
    fm_buf_puts(out, " || ");
    tag_put_field(key, out);
    fm_buf_puts(out, " = ");
    fm_buf_put_slice(out, value);
}

static void put_begin(struct fm_buf *out)
{
    fm_buf_puts(out, out->len ? " && { " : "{ ");
}

void tag_put_query(const struct tag *tag, struct fm_buf *out)
{
    const char *intrinsic = tag_intrinsic(tag->key);
    int64_t number;

    put_begin(out);
    if (intrinsic && strcmp(intrinsic, "status") == 0) {
        put_status(tag->value, out);
    } else {
        tag_put_field(tag->key, out);
        put_substring(tag->value, out);
        bool is_word =
            fm_slice_equal_text(tag->value, "true") || fm_slice_equal_text(tag->value, "false");
        if (!intrinsic &&
            (is_word || (tag->value.len && tag->value.ptr[0] != '+' &&
                         go_int_parse(tag->value, INT64_MAX, &number, NULL) == FM_OK)))
            put_alternative(tag->key, tag->value, out);
        if (fm_slice_equal_text(tag->key, "error") && fm_slice_equal_text(tag->value, "true"))
            fm_buf_puts(out, " || status = error");
    }
    fm_buf_puts(out, " }");
}

void tag_put_duration(const char *op, uint64_t ms, struct fm_buf *out)
{
    put_begin(out);
    fm_buf_printf(out, "traceDuration %s %" PRIu64 "ms }", op, ms);
}
