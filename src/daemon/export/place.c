/* SPDX-License-Identifier: Apache-2.0 */
/* place - the file that remembers how far an exporter is.  docs/formats/export.md.
 *
 *   fermata-export 1
 *   begin LSN
 *   tenant NAME LSN BLOCK ROW       one line each; BLOCK: a UUID in hex without dashes, or -
 *   crc32c XXXXXXXX                 of all bytes before this line
 */
#include "internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "fermata/hash.h"

#define PLACES_HEAD "fermata-export 1\n"
#define PLACES_MAX  65536u

void places_fini(struct places *places)
{
    free(fm_take(places->lines));
    places->count = 0;
}

void places_render(const struct places *places, struct fm_buf *buf)
{
    size_t begin = buf->len;
    fm_buf_puts(buf, PLACES_HEAD);
    fm_buf_printf(buf, "begin %" PRIu64 "\n", places->begin_lsn);
    for (size_t i = 0; i < places->count; i++) {
        const struct place_line *line = &places->lines[i];
        static const uint8_t none[sizeof line->place.block];
        char block[33] = "-";
        if (memcmp(line->place.block, none, sizeof none) != 0) {
            fm_hex_encode(block, fm_slice(line->place.block, sizeof line->place.block));
            block[32] = '\0';
        }
        fm_buf_printf(buf, "tenant %s %" PRIu64 " %s %" PRIu64 "\n", line->tenant, line->place.lsn,
                      block, line->place.row);
    }
    fm_buf_printf(buf, "crc32c %08x\n",
                  fm_crc32c(0, fm_slice(buf->ptr + begin, buf->failed ? 0 : buf->len - begin)));
}

/* The next word of a line; false: there is none. */
static bool line_word(struct fm_slice *line, struct fm_slice *ret_word)
{
    const uint8_t *blank = line->len ? memchr(line->ptr, ' ', line->len) : NULL;
    size_t len = blank ? (size_t)(blank - line->ptr) : line->len;
    if (!len)
        return false;
    *ret_word = fm_slice(line->ptr, len);
    size_t used = len + (blank != NULL);
    *line = fm_slice(line->ptr + used, line->len - used);
    return true;
}

static bool line_number(struct fm_slice *line, uint64_t *ret_value)
{
    struct fm_slice word;
    return line_word(line, &word) && fm_u64_parse(word, ret_value) == FM_OK;
}

static bool line_tenant(struct fm_slice line, struct place_line *ret_line)
{
    struct fm_slice name, block;
    struct place_line parsed = {{0}, {0}};
    if (!line_word(&line, &name) || !tenant_is_valid(name) ||
        !line_number(&line, &parsed.place.lsn) || !line_word(&line, &block) ||
        !line_number(&line, &parsed.place.row) || line.len)
        return false;
    if (!fm_slice_equal_text(block, "-") &&
        fm_hex_decode(parsed.place.block, sizeof parsed.place.block, block) < 0)
        return false;
    memcpy(parsed.tenant, name.ptr, name.len);
    *ret_line = parsed;
    return true;
}

static bool text_line(struct fm_slice *text, struct fm_slice *ret_line)
{
    const uint8_t *end = text->len ? memchr(text->ptr, '\n', text->len) : NULL;
    if (!end)
        return false;
    *ret_line = fm_slice(text->ptr, (size_t)(end - text->ptr));
    *text = fm_slice(end + 1, text->len - ret_line->len - 1);
    return true;
}

/* One line behind the head.  FM_OK; FM_END: the checksum, which is right. */
static int places_line(struct places *places, struct fm_slice line, uint32_t crc)
{
    struct fm_slice word;
    char sum[9];
    if (!line_word(&line, &word))
        return FM_EMALFORMED;
    if (fm_slice_equal_text(word, "begin"))
        return line_number(&line, &places->begin_lsn) && !line.len ? FM_OK : FM_EMALFORMED;
    if (fm_slice_equal_text(word, "crc32c")) {
        (void)snprintf(sum, sizeof sum, "%08x", crc);
        return fm_slice_equal_text(line, sum) ? FM_END : FM_ECORRUPT;
    }
    if (!fm_slice_equal_text(word, "tenant") || places->count >= PLACES_MAX)
        return FM_EMALFORMED;
    struct place_line *grown = realloc(places->lines, (places->count + 1) * sizeof *places->lines);
    if (!grown)
        return FM_ENOMEM;
    places->lines = grown;
    return line_tenant(line, &places->lines[places->count++]) ? FM_OK : FM_EMALFORMED;
}

int places_parse(struct fm_slice text, struct places *ret_places, struct fm_why *why)
{
    struct places places = {0};
    struct fm_slice rest = text, line;
    int rc = FM_EMALFORMED;
    if (text_line(&rest, &line) &&
        fm_slice_equal(fm_slice(text.ptr, line.len + 1), FM_SLICE(PLACES_HEAD)))
        rc = FM_OK;
    while (rc == FM_OK) {
        uint32_t crc = fm_crc32c(0, fm_slice(text.ptr, text.len - rest.len));
        rc = text_line(&rest, &line) ? places_line(&places, line, crc) : FM_EMALFORMED;
    }
    if (rc == FM_END && !rest.len) {
        *ret_places = places;
        return FM_OK;
    }
    places_fini(&places);
    return fm_fail(why, rc < 0 ? rc : FM_EMALFORMED, "the place of an exporter: %s",
                   fm_rc_text(rc < 0 ? rc : FM_EMALFORMED));
}
