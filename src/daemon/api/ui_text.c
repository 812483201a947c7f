/* SPDX-License-Identifier: Apache-2.0 */
/* What the interfaces ask, as TraceQL.
 *
 * They know tags as text only, and tags that the translation made of other members.  So a tag is
 * looked for under each type that prints as its text, and known ones also where they came from. */
#include "ui.h"

#include <inttypes.h>

struct ui_filter ui_filter_begin(struct ui *ui)
{
    fm_buf_reset(&ui->text);
    fm_buf_puts(&ui->text, "{ ");
    return (struct ui_filter){.out = &ui->text};
}

void ui_filter_end(struct ui_filter *filter)
{
    fm_buf_puts(filter->out, " }");
}

static struct fm_buf *filter_term(struct ui_filter *filter)
{
    if (filter->has_term)
        fm_buf_puts(filter->out, " && ");
    filter->has_term = true;
    return filter->out;
}

/* ---- literals ---- */

/* The text of a string without its quotes: what a user sent cannot end it. */
static void put_escaped(struct fm_buf *out, struct fm_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.ptr[i];
        if (byte == '"' || byte == '\\')
            fm_buf_printf(out, "\\%c", byte);
        else if (byte < 0x20 || byte == 0x7f)
            fm_buf_printf(out, "\\x%02x", byte);
        else
            fm_buf_put_u8(out, byte);
    }
}

static void put_string(struct fm_buf *out, struct fm_slice text)
{
    fm_buf_puts(out, "\"");
    put_escaped(out, text);
    fm_buf_puts(out, "\"");
}

/* A pattern that matches exactly text in any case of letters. */
static void put_pattern_any_case(struct fm_buf *out, struct fm_slice text)
{
    static const char special[] = "\\.+*?()|[]{}^$";

    fm_buf_puts(out, "\"(?i)");
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] && memchr(special, text.ptr[i], sizeof special - 1))
            fm_buf_puts(out, "\\\\");
        put_escaped(out, fm_slice(text.ptr + i, 1));
    }
    fm_buf_puts(out, "\"");
}

static bool has_letters(struct fm_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if ((text.ptr[i] | 0x20) >= 'a' && (text.ptr[i] | 0x20) <= 'z')
            return true;
        if (text.ptr[i] >= 0x80)
            return true;
    }
    return false;
}

static void put_equal_any_case(struct fm_buf *out, struct fm_slice text)
{
    if (has_letters(text)) {
        fm_buf_puts(out, " =~ ");
        put_pattern_any_case(out, text);
    } else {
        fm_buf_puts(out, " = ");
        put_string(out, text);
    }
}

/* scope."key"; in names only the quote and the backslash are escaped. */
static void put_attribute(struct fm_buf *out, const char *scope, struct fm_slice key)
{
    fm_buf_printf(out, "%s.\"", scope);
    for (size_t i = 0; i < key.len; i++) {
        if (key.ptr[i] == '"' || key.ptr[i] == '\\')
            fm_buf_puts(out, "\\");
        fm_buf_put_u8(out, key.ptr[i]);
    }
    fm_buf_puts(out, "\"");
}

/* 200, -1, 0.5: a literal that is also a number. */
static bool is_number(struct fm_slice text)
{
    size_t i = text.len && text.ptr[0] == '-', digits = 0, dots = 0;

    for (; i < text.len; i++) {
        if (text.ptr[i] == '.' && digits && !dots)
            dots++;
        else if (text.ptr[i] >= '0' && text.ptr[i] <= '9')
            digits++;
        else
            return false;
    }
    return digits && digits <= 18 && text.ptr[text.len - 1] != '.';
}

/* ---- terms ---- */

void ui_filter_service(struct ui_filter *filter, struct fm_slice service)
{
    struct fm_buf *out = filter_term(filter);
    fm_buf_puts(out, "resource.service.name = ");
    put_string(out, service);
}

void ui_filter_name(struct ui_filter *filter, struct fm_slice name)
{
    struct fm_buf *out = filter_term(filter);
    fm_buf_puts(out, "name = ");
    put_string(out, name);
}

void ui_filter_service_any_case(struct ui_filter *filter, struct fm_slice service)
{
    struct fm_buf *out = filter_term(filter);
    fm_buf_puts(out, "resource.service.name");
    put_equal_any_case(out, service);
}

void ui_filter_name_any_case(struct ui_filter *filter, struct fm_slice name)
{
    struct fm_buf *out = filter_term(filter);
    fm_buf_puts(out, "name");
    put_equal_any_case(out, name);
}

void ui_filter_callers(struct ui_filter *filter)
{
    fm_buf_puts(filter_term(filter), "(kind = client || kind = producer)");
}

void ui_filter_kind(struct ui_filter *filter, uint32_t kind)
{
    const char *text = view_kind_text(kind);
    fm_buf_printf(filter_term(filter), "kind = %s", text ? text : "unspecified");
}

void ui_filter_duration(struct ui_filter *filter, const char *op, uint64_t ns)
{
    fm_buf_printf(filter_term(filter), "duration %s %" PRIu64 "ns", op, ns);
}

void ui_filter_remote(struct ui_filter *filter, struct fm_slice service)
{
    struct fm_buf *out = filter_term(filter);
    uint32_t count;
    const struct fm_slice *keys = view_remote_keys(&count);

    fm_buf_puts(out, "(");
    for (uint32_t i = 0; i < count; i++) {
        fm_buf_puts(out, i ? " || " : "");
        put_attribute(out, "span", keys[i]);
        put_equal_any_case(out, service);
    }
    fm_buf_puts(out, ")");
}

/* ---- tags ---- */

/* Tags that come from a member of which any text may be asked for. */
static const struct {
    const char *key, *field;
} text_members[] = {
    {"otel.status_description", "statusMessage"},
    {"otel.scope.name", "instrumentation:name"},
    {"otel.scope.version", "instrumentation:version"},
    {"event", "event:name"},
};

static void put_text_member(struct fm_buf *out, struct fm_slice key, struct fm_slice value)
{
    for (size_t i = 0; i < FM_COUNT(text_members); i++) {
        if (!fm_slice_equal_text(key, text_members[i].key))
            continue;
        fm_buf_printf(out, " || %s = ", text_members[i].field);
        put_string(out, value);
    }
}

static void put_kind_member(struct fm_buf *out, struct fm_slice value)
{
    uint32_t kind;
    if (view_kind_parse(value, &kind) == FM_OK)
        fm_buf_printf(out, " || kind = %s", view_kind_text(kind));
}

static void put_status_member(struct fm_buf *out, struct fm_slice key, struct fm_slice value)
{
    if (fm_slice_equal_text(key, "error")) {
        if (fm_slice_equal_text(value, "true"))
            fm_buf_puts(out, " || status = error");
        fm_buf_puts(out, " || (status = error && statusMessage = ");
        put_string(out, value);
        fm_buf_puts(out, ")");
    } else if (fm_slice_equal_text(key, "otel.status_code")) {
        if (fm_slice_equal_nocase(value, "error"))
            fm_buf_puts(out, " || status = error");
        else if (fm_slice_equal_nocase(value, "ok"))
            fm_buf_puts(out, " || status = ok");
    }
}

static void put_equal_any_type(struct fm_buf *out, const char *scope, struct fm_slice key,
                               struct fm_slice value)
{
    put_attribute(out, scope, key);
    fm_buf_puts(out, " = ");
    put_string(out, value);
    if (is_number(value) || fm_slice_equal_text(value, "true") ||
        fm_slice_equal_text(value, "false")) {
        fm_buf_puts(out, " || ");
        put_attribute(out, scope, key);
        fm_buf_puts(out, " = ");
        fm_buf_put_slice(out, value);
    }
}

void ui_filter_tag(struct ui_filter *filter, struct fm_slice key, struct fm_slice value)
{
    struct fm_buf *out = filter_term(filter);

    fm_buf_puts(out, "(");
    put_equal_any_type(out, "", key, value);
    fm_buf_puts(out, " || ");
    put_equal_any_type(out, "event", key, value);
    put_text_member(out, key, value);
    put_status_member(out, key, value);
    if (fm_slice_equal_text(key, "span.kind"))
        put_kind_member(out, value);
    fm_buf_puts(out, ")");
}

void ui_filter_word(struct ui_filter *filter, struct fm_slice word)
{
    struct fm_buf *out = filter_term(filter);

    fm_buf_puts(out, "(event:name = ");
    put_string(out, word);
    fm_buf_puts(out, " || ");
    put_attribute(out, "", word);
    fm_buf_puts(out, " != nil");
    if (fm_slice_equal_text(word, "error"))
        fm_buf_puts(out, " || status = error");
    fm_buf_puts(out, ")");
}
