/* SPDX-License-Identifier: Apache-2.0 */
/* Error messages in the form that editors and grep understand, and guesses at misspelt names.
 *
 *   FILE:3:1: error: unknown key "acess_key_file" in [upload.s3]
 *       3 | acess_key_file = /etc/fermata/s3.key
 *         | ^^^^^^^^^^^^^^
 *         | did you mean "access_key_file"?
 */
#include "internal.h"

#include <stdio.h>

#define INI_GUESS_MAX 64u /* longer names are compared by prefix only */

/* What stands on a terminal for one byte of the source line; 0: part of the character before. */
static char message_glyph(uint8_t byte)
{
    if (byte == '\t')
        return ' ';
    if (byte < 0x20 || byte == 0x7f)
        return '?';
    return (char)byte;
}

static void message_put_source(struct fm_buf *out, const struct ini_place *place)
{
    size_t len = FM_MIN(place->source.len, (size_t)INI_LINE_MAX);

    fm_buf_printf(out, "%5u | ", place->line);
    for (size_t i = 0; i < len; i++)
        fm_buf_put_u8(out, (uint8_t)message_glyph(place->source.ptr[i]));
    fm_buf_puts(out, "\n");
    if (!place->column || place->column > len)
        return;
    fm_buf_puts(out, "      | ");
    for (size_t i = 0; i < len && i + 1 < (size_t)place->column + FM_MAX(place->width, 1u); i++) {
        if ((place->source.ptr[i] & 0xc0) != 0x80)
            fm_buf_put_u8(out, i + 1 < place->column ? ' ' : '^');
    }
    fm_buf_puts(out, "\n");
}

void ini_complain_list(struct ini_complaints *complaints, const struct ini_place *place,
                       const char *cure, const char *format, va_list arguments)
{
    char text[512];

    if (++complaints->count > INI_ERRORS_MAX)
        return;
    (void)vsnprintf(text, sizeof text, format, arguments);
    for (char *glyph = text; *glyph; glyph++)
        *glyph = message_glyph((uint8_t)*glyph);

    fm_buf_puts(complaints->out, place->name ? place->name : "configuration");
    if (place->line)
        fm_buf_printf(complaints->out, ":%u:%u", place->line, FM_MAX(place->column, 1u));
    fm_buf_printf(complaints->out, ": error: %s\n", text);
    if (place->line && place->source.len)
        message_put_source(complaints->out, place);
    if (cure && *cure)
        fm_buf_printf(complaints->out, "      | %s\n", cure);
}

void ini_complain(struct ini_complaints *complaints, const struct ini_place *place,
                  const char *cure, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    ini_complain_list(complaints, place, cure, format, arguments);
    va_end(arguments);
}

void ini_put_rest(const struct ini_complaints *complaints)
{
    if (complaints->count > INI_ERRORS_MAX)
        fm_buf_printf(complaints->out, "and %u more errors\n", complaints->count - INI_ERRORS_MAX);
}

void config_complain(struct config_loader *loader, const struct ini_place *place, const char *cure,
                     const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    ini_complain_list(&loader->complaints, place, cure, format, arguments);
    va_end(arguments);
}

/* Damerau-Levenshtein distance (adjacent transpositions count one) by three rows. */
static unsigned guess_distance(struct fm_slice a, const char *b)
{
    unsigned rows[3][INI_GUESS_MAX + 1];
    size_t b_len = strlen(b);

    if (a.len > INI_GUESS_MAX || b_len > INI_GUESS_MAX)
        return INI_GUESS_MAX;
    for (unsigned j = 0; j <= b_len; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_len; j++) {
            unsigned substitute = above[j - 1] + (a.ptr[i - 1] != (uint8_t)b[j - 1]);
            row[j] = FM_MIN(substitute, FM_MIN(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a.ptr[i - 1] == (uint8_t)b[j - 2] &&
                a.ptr[i - 2] == (uint8_t)b[j - 1])
                row[j] = FM_MIN(row[j], above2[j - 2] + 1);
        }
    }
    return rows[a.len % 3][b_len];
}

struct ini_guess ini_guess_begin(struct fm_slice wanted)
{
    return (struct ini_guess){.wanted = wanted, .distance = 3};
}

void ini_guess_show(struct ini_guess *guess, const char *candidate)
{
    unsigned distance = guess_distance(guess->wanted, candidate);

    if (distance <= 2 && distance < guess->distance && distance < strlen(candidate)) {
        guess->near = candidate;
        guess->distance = distance;
    }
    if (guess->wanted.len >= 2 && strlen(candidate) > guess->wanted.len &&
        memcmp(guess->wanted.ptr, candidate, guess->wanted.len) == 0 &&
        (!guess->begins || strcmp(guess->begins, candidate) != 0)) {
        guess->begins = candidate;
        guess->begin_count++;
    }
}

const char *ini_guess_answer(const struct ini_guess *guess)
{
    if (guess->near)
        return guess->near;
    return guess->begin_count == 1 ? guess->begins : NULL;
}

/* "processor.filter.x" begins with "processor.filter". */
static bool message_begins(struct fm_slice section, const char *prefix)
{
    size_t len = strlen(prefix);
    return section.len > len && section.ptr[len] == '.' && memcmp(section.ptr, prefix, len) == 0;
}

void config_unknown_key(struct config_loader *loader, const struct ini_place *place,
                        struct fm_slice section, struct fm_slice key)
{
    struct ini_guess guess = ini_guess_begin(key);
    const char *elsewhere = NULL;
    char cure[160] = "";

    for (size_t i = 0; i < CONFIG_KIND_COUNT; i++) {
        const struct config_kind_row *kind = &config_kind_rows[i];
        bool is_own = message_begins(section, kind->prefix);
        for (size_t k = 0; k < kind->key_count && is_own; k++)
            ini_guess_show(&guess, kind->keys[k].key);
    }
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
        if (fm_slice_equal_text(section, config_keys[i].section))
            ini_guess_show(&guess, config_keys[i].key);
        else if (fm_slice_equal_text(key, config_keys[i].key))
            elsewhere = config_keys[i].section;
    }
    const char *answer = ini_guess_answer(&guess);
    if (answer)
        (void)snprintf(cure, sizeof cure, "did you mean \"%s\"?", answer);
    else if (elsewhere)
        (void)snprintf(cure, sizeof cure, "there is such a key in [%s]", elsewhere);
    config_complain(loader, place, cure, "unknown key \"%.*s\" in [%.*s]", (int)key.len,
                    (const char *)key.ptr, (int)section.len, (const char *)section.ptr);
}

/* "processor.filtr.x": the part in front of the last dot is compared. */
static void message_guess_kind(struct fm_slice section, char *cure, size_t size)
{
    struct fm_slice front = section;

    while (front.len && front.ptr[front.len - 1] != '.')
        front.len--;
    struct fm_slice name = fm_slice(front.ptr + front.len, section.len - front.len);
    if (front.len)
        front.len--;
    struct ini_guess guess = ini_guess_begin(front.len ? front : section);
    for (size_t i = 0; i < CONFIG_KIND_COUNT; i++)
        ini_guess_show(&guess, config_kind_rows[i].prefix);
    const char *answer = ini_guess_answer(&guess);
    if (answer)
        (void)snprintf(cure, size, "did you mean [%s.%.*s]?", answer,
                       front.len ? (int)FM_MIN(name.len, (size_t)63) : 4,
                       front.len ? (const char *)name.ptr : "NAME");
}

void config_unknown_section(struct config_loader *loader, const struct ini_place *place,
                            struct fm_slice section)
{
    struct ini_guess guess = ini_guess_begin(section);
    char cure[160] = "";

    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++)
        ini_guess_show(&guess, config_keys[i].section);
    const char *answer = ini_guess_answer(&guess);
    if (answer)
        (void)snprintf(cure, sizeof cure, "did you mean [%s]?", answer);
    else
        message_guess_kind(section, cure, sizeof cure);
    config_complain(loader, place, cure, "unknown section [%.*s]", (int)section.len,
                    (const char *)section.ptr);
}
