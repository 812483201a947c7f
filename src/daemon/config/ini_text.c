/* SPDX-License-Identifier: Apache-2.0 */
/* Reading ini text with inih, whose weak spots are kept away from it.
 *
 * inih cuts lines at 200 bytes, takes every indented line for a continuation, reports one error and
 * does not say where.  So this reader hands it lines one by one, whole and checked: a line that is
 * too long or makes no sense is complained about here, with its source, and inih sees an empty one.
 * Indentation continues a list and nothing else; in front of "key = value" it means nothing.
 */
#include "fermata/ini_text.h"

#include <ini.h>
#include <stdio.h>

#include "fermata/bytes.h"

struct ini_reader {
    const struct ini_visitor *visitor;
    void *self; /* the visitor's */
    struct ini_complaints *complaints;
    const char *name;
    struct fm_slice rest;   /* not read yet */
    struct fm_slice source; /* the current line, trimmed at its end */
    unsigned line;
    struct fm_slice section;         /* of the current line */
    bool has_section, shows_section; /* shows: the visitor wants what is in it */
    bool is_continuation;            /* the current line */
    bool follows_list;               /* the line before belongs to a list: its key is in last */
    struct fm_slice last;
};

static bool reader_is_blank(uint8_t byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static struct fm_slice reader_trim(struct fm_slice text)
{
    while (text.len && reader_is_blank(text.ptr[text.len - 1]))
        text.len--;
    while (text.len && reader_is_blank(text.ptr[0]))
        text = fm_slice(text.ptr + 1, text.len - 1);
    return text;
}

/* The text without a comment: ';' behind a blank. */
static struct fm_slice reader_without_comment(struct fm_slice text)
{
    for (size_t i = 1; i < text.len; i++) {
        if (text.ptr[i] == ';' && reader_is_blank(text.ptr[i - 1]))
            text.len = i;
    }
    return text;
}

/* part: lies inside the current line. */
static struct ini_place reader_place(const struct ini_reader *reader, struct fm_slice part)
{
    return (struct ini_place){
        .name = reader->name,
        .line = reader->line,
        .column = (unsigned)(part.ptr - reader->source.ptr) + 1,
        .width = (unsigned)part.len,
        .source = reader->source,
    };
}

/* Splits "key = value" (or with a colon); false if it is not one. */
static bool reader_split(struct fm_slice text, struct fm_slice *ret_key, struct fm_slice *ret_value)
{
    text = reader_without_comment(text);
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] != '=' && text.ptr[i] != ':')
            continue;
        *ret_key = reader_trim(fm_slice(text.ptr, i));
        *ret_value = reader_trim(fm_slice(text.ptr + i + 1, text.len - i - 1));
        return ret_key->len > 0;
    }
    return false;
}

static enum ini_kind reader_kind(const struct ini_reader *reader, struct fm_slice key)
{
    return reader->visitor->kind(reader->self, reader->section, key);
}

static bool reader_take_section(struct ini_reader *reader, struct fm_slice text)
{
    const uint8_t *end = memchr(text.ptr, ']', text.len);
    struct ini_place place = reader_place(reader, text);

    reader->follows_list = false;
    reader->has_section = true;
    reader->shows_section = false;
    if (!end) {
        ini_complain(reader->complaints, &place, NULL, "a section needs its closing bracket");
        return false;
    }
    struct fm_slice behind =
        reader_trim(fm_slice(end + 1, text.len - (size_t)(end + 1 - text.ptr)));
    if (behind.len && behind.ptr[0] != ';' && behind.ptr[0] != '#') {
        place = reader_place(reader, behind);
        ini_complain(reader->complaints, &place, NULL, "nothing may follow a section's name");
        return false;
    }
    reader->section = fm_slice(text.ptr + 1, (size_t)(end - text.ptr) - 1);
    reader->shows_section = reader->visitor->on_section(reader->self, reader->section, &place);
    return reader->shows_section;
}

/* Whether inih may see the line; *text is what it shall see. */
static bool reader_take_line(struct ini_reader *reader, struct fm_slice *text)
{
    struct fm_slice inner = reader_trim(*text), key, value;
    bool is_indented = text->len && reader_is_blank(text->ptr[0]);
    struct ini_place place = reader_place(reader, inner);

    reader->is_continuation = false;
    if (!inner.len || inner.ptr[0] == ';' || inner.ptr[0] == '#')
        return false;
    bool is_pair = reader_split(inner, &key, &value);
    bool is_known = is_pair && reader_kind(reader, key) != INI_UNKNOWN;
    if (is_indented && reader->follows_list && !is_known) {
        reader->is_continuation = true;
        return true;
    }
    *text = inner;
    if (inner.ptr[0] == '[')
        return reader_take_section(reader, inner);
    if (!is_pair) {
        ini_complain(reader->complaints, &place,
                     is_indented ? "an indented line continues a list; this key takes one value"
                                 : "write: key = value, or [section], or ; comment",
                     "not a setting");
        return false;
    }
    if (!reader->has_section) {
        char cure[80];
        (void)snprintf(cure, sizeof cure, "write %s or another section above it",
                       reader->visitor->section_example);
        ini_complain(reader->complaints, &place, cure, "a setting outside of a section");
        return false;
    }
    return reader->shows_section;
}

static bool reader_is_printable(struct ini_reader *reader)
{
    for (size_t i = 0; i < reader->source.len; i++) {
        uint8_t byte = reader->source.ptr[i];
        if ((byte >= 0x20 && byte != 0x7f) || reader_is_blank(byte))
            continue;
        struct ini_place place = reader_place(reader, fm_slice(reader->source.ptr + i, 1));
        ini_complain(reader->complaints, &place, NULL, "control character 0x%02x", byte);
        return false;
    }
    if (fm_utf8_valid_len(reader->source) == reader->source.len)
        return true;
    struct ini_place place =
        reader_place(reader, fm_slice(reader->source.ptr + fm_utf8_valid_len(reader->source), 1));
    place.source.len = 0;
    ini_complain(reader->complaints, &place, NULL, "not UTF-8");
    return false;
}

static bool reader_fits(struct ini_reader *reader)
{
    if (reader->source.len <= INI_LINE_MAX)
        return true;
    struct ini_place place = {reader->name, reader->line, INI_LINE_MAX + 1, 0, {0}};
    ini_complain(reader->complaints, &place,
                 "write a list as indented lines; put long values into a file of their own",
                 "the line has %zu bytes, at most %u are allowed", reader->source.len,
                 INI_LINE_MAX);
    return false;
}

/* fgets for inih: the next line, or an empty one in its place. */
static char *reader_next(char *target, int size, void *self)
{
    struct ini_reader *reader = self;

    if (!reader->rest.len)
        return NULL;
    const uint8_t *end = memchr(reader->rest.ptr, '\n', reader->rest.len);
    size_t len = end ? (size_t)(end - reader->rest.ptr) : reader->rest.len;
    struct fm_slice text = fm_slice(reader->rest.ptr, len);
    reader->rest =
        fm_slice(reader->rest.ptr + len + (end != NULL), reader->rest.len - len - (end != NULL));
    while (text.len && reader_is_blank(text.ptr[text.len - 1]))
        text.len--;
    reader->line++;
    reader->source = text;
    bool show = reader_fits(reader) && reader_is_printable(reader) &&
                reader_take_line(reader, &text) && text.len + 2 <= (size_t)size;
    if (!show)
        text.len = 0;
    if (text.len)
        memcpy(target, text.ptr, text.len);
    target[text.len] = '\n';
    target[text.len + 1] = '\0';
    return target;
}

/* One setting, or one more line of a list, from inih; what it cut is taken from the line itself. */
static int reader_on_value(void *self, const char *section, const char *name, const char *value)
{
    struct ini_reader *reader = self;
    struct fm_slice source = reader_trim(reader->source);
    struct ini_setting setting = {.section = reader->section};

    (void)section;
    (void)name;
    (void)value;
    if (reader->is_continuation) {
        setting.continues = true;
        setting.key = reader->last;
        setting.value = reader_trim(reader_without_comment(source));
        setting.key_place = setting.value_place = reader_place(reader, source);
        reader->visitor->on_setting(reader->self, &setting);
        return 1;
    }
    if (!reader_split(source, &setting.key, &setting.value))
        return 1; /* complained about */
    setting.key_place = reader_place(reader, setting.key);
    setting.value_place = reader_place(reader, setting.value.len ? setting.value : setting.key);
    reader->last = setting.key;
    reader->follows_list = reader_kind(reader, setting.key) == INI_LIST;
    reader->visitor->on_setting(reader->self, &setting);
    return 1;
}

void ini_text_read(const char *name, struct fm_slice text, const struct ini_visitor *visitor,
                   void *self, struct ini_complaints *complaints)
{
    struct ini_reader reader = {
        .visitor = visitor, .self = self, .complaints = complaints, .name = name, .rest = text};
    unsigned count = complaints->count;

    if (text.len >= 3 && memcmp(text.ptr, "\xef\xbb\xbf", 3) == 0)
        reader.rest = fm_slice(text.ptr + 3, text.len - 3);
    int rc = ini_parse_stream(reader_next, &reader, reader_on_value, &reader);
    if (rc != 0 && complaints->count == count) {
        struct ini_place place = {name, rc > 0 ? (unsigned)rc : 0, 1, 0, {0}};
        ini_complain(complaints, &place, NULL, "the parser refuses this line");
    }
}
