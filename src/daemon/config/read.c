/* SPDX-License-Identifier: Apache-2.0 */
/* Reading ini text with inih, whose weak spots are kept away from it.
 *
 * inih cuts lines at 200 bytes, takes every indented line for a continuation, reports one error and
 * does not say where.  So this reader hands it lines one by one, whole and checked: a line that is
 * too long or makes no sense is complained about here, with its source, and inih sees an empty one.
 * Indentation continues a list and nothing else; in front of "key = value" it means nothing.
 */
#include "internal.h"

#include <ini.h>
#include <stdio.h>

#include "fermata/bytes.h"

struct config_reader {
    struct config_loader *loader;
    const char *name;
    struct fm_slice rest;   /* not read yet */
    struct fm_slice source; /* the current line, trimmed at its end */
    unsigned line;
    struct fm_slice section;         /* of the current line */
    bool has_section, knows_section; /* knows: it is in the table */
    bool is_continuation;            /* the current line */
    const struct config_key *last;   /* set by the line before; what an indented line continues */
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
static struct config_place reader_place(const struct config_reader *reader, struct fm_slice part)
{
    return (struct config_place){
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

static bool reader_take_section(struct config_reader *reader, struct fm_slice text)
{
    const uint8_t *end = memchr(text.ptr, ']', text.len);
    struct config_place place = reader_place(reader, text);

    reader->last = NULL;
    reader->has_section = true;
    reader->knows_section = false;
    if (!end) {
        config_complain(reader->loader, &place, NULL, "a section needs its closing bracket");
        return false;
    }
    struct fm_slice behind =
        reader_trim(fm_slice(end + 1, text.len - (size_t)(end + 1 - text.ptr)));
    if (behind.len && behind.ptr[0] != ';' && behind.ptr[0] != '#') {
        place = reader_place(reader, behind);
        config_complain(reader->loader, &place, NULL, "nothing may follow a section's name");
        return false;
    }
    reader->section = fm_slice(text.ptr + 1, (size_t)(end - text.ptr) - 1);
    reader->knows_section = config_section_exists(reader->section);
    if (!reader->knows_section)
        config_unknown_section(reader->loader, &place, reader->section);
    return reader->knows_section;
}

/* Whether inih may see the line; *text is what it shall see. */
static bool reader_take_line(struct config_reader *reader, struct fm_slice *text)
{
    struct fm_slice inner = reader_trim(*text), key, value;
    bool is_indented = text->len && reader_is_blank(text->ptr[0]);
    struct config_place place = reader_place(reader, inner);

    reader->is_continuation = false;
    if (!inner.len || inner.ptr[0] == ';' || inner.ptr[0] == '#')
        return false;
    bool is_pair = reader_split(inner, &key, &value);
    bool is_known = is_pair && config_key_find(reader->section, key);
    if (is_indented && reader->last && reader->last->type == CONFIG_LIST && !is_known) {
        reader->is_continuation = true;
        return true;
    }
    *text = inner;
    if (inner.ptr[0] == '[')
        return reader_take_section(reader, inner);
    if (!is_pair) {
        config_complain(reader->loader, &place,
                        is_indented ? "an indented line continues a list; this key takes one value"
                                    : "write: key = value, or [section], or ; comment",
                        "not a setting");
        return false;
    }
    if (!reader->has_section) {
        config_complain(reader->loader, &place, "write [fermata] or another section above it",
                        "a setting outside of a section");
        return false;
    }
    return reader->knows_section;
}

static bool reader_is_printable(struct config_reader *reader)
{
    for (size_t i = 0; i < reader->source.len; i++) {
        uint8_t byte = reader->source.ptr[i];
        if ((byte >= 0x20 && byte != 0x7f) || reader_is_blank(byte))
            continue;
        struct config_place place = reader_place(reader, fm_slice(reader->source.ptr + i, 1));
        config_complain(reader->loader, &place, NULL, "control character 0x%02x", byte);
        return false;
    }
    if (fm_utf8_valid_len(reader->source) == reader->source.len)
        return true;
    struct config_place place =
        reader_place(reader, fm_slice(reader->source.ptr + fm_utf8_valid_len(reader->source), 1));
    place.source.len = 0;
    config_complain(reader->loader, &place, NULL, "not UTF-8");
    return false;
}

static bool reader_fits(struct config_reader *reader)
{
    if (reader->source.len <= CONFIG_LINE_MAX)
        return true;
    struct config_place place = {reader->name, reader->line, CONFIG_LINE_MAX + 1, 0, {0}};
    config_complain(reader->loader, &place,
                    "write a list as indented lines; put long values into a file of their own",
                    "the line has %zu bytes, at most %u are allowed", reader->source.len,
                    CONFIG_LINE_MAX);
    return false;
}

/* fgets for inih: the next line, or an empty one in its place. */
static char *reader_next(char *target, int size, void *self)
{
    struct config_reader *reader = self;

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

/* One setting, or one more line of a list, from inih. */
static int reader_on_value(void *self, const char *section, const char *name, const char *value)
{
    struct config_reader *reader = self;
    struct config_loader *loader = reader->loader;
    struct fm_slice text = reader_trim(reader_without_comment(fm_slice_text(value)));
    struct fm_slice key_text, value_text;

    (void)section; /* cut at 49 bytes; the reader has it whole */
    (void)name;
    if (reader->is_continuation) {
        struct config_place place = reader_place(reader, reader_trim(reader->source));
        config_append(loader, reader->last, text, &place);
        return 1;
    }
    if (!reader_split(reader_trim(reader->source), &key_text, &value_text))
        return 1; /* complained about */
    struct config_place place = reader_place(reader, key_text);
    const struct config_key *key = config_key_find(reader->section, key_text);
    reader->last = key;
    if (!key) {
        config_unknown_key(loader, &place, reader->section, key_text);
        return 1;
    }
    size_t index = (size_t)(key - config_keys);
    if (loader->set_in[index] == loader->pass) {
        config_complain(loader, &place, NULL, "\"%s\" was given on line %u already", key->key,
                        loader->places[index].line);
        return 1;
    }
    place = reader_place(reader, value_text.len ? value_text : key_text);
    config_set(loader, key, value_text, &place);
    return 1;
}

void config_read_text(struct config_loader *loader, const char *name, struct fm_slice text)
{
    struct config_reader reader = {.loader = loader, .name = name, .rest = text};

    loader->pass++;
    if (text.len >= 3 && memcmp(text.ptr, "\xef\xbb\xbf", 3) == 0)
        reader.rest = fm_slice(text.ptr + 3, text.len - 3);
    int rc = ini_parse_stream(reader_next, &reader, reader_on_value, &reader);
    if (rc != 0 && loader->error_count == 0) {
        struct config_place place = {name, rc > 0 ? (unsigned)rc : 0, 1, 0, {0}};
        config_complain(loader, &place, NULL, "the parser refuses this line");
    }
}
