/* SPDX-License-Identifier: Apache-2.0 */
/* Terminal manners.  What a peer sent is never written to a terminal as it is: escape sequences in
 * a span's name must not move anybody's cursor. */
#include "terminal.h"

#include <stdio.h>
#include <stdlib.h>

#include "fermata/bytes.h"
#include "fermata/linux.h"

static bool terminal_is_set(const char *name)
{
    const char *value = getenv(name);
    return value && *value;
}

struct terminal terminal_of(int fd)
{
    const char *kind = getenv("TERM");
    struct terminal terminal = {.is_terminal = linux_is_terminal(fd)};

    terminal.width = terminal.is_terminal ? linux_terminal_width(fd) : 120;
    if (terminal.width < 40)
        terminal.width = 40;
    if (terminal_is_set("CLICOLOR_FORCE"))
        terminal.has_colour = true;
    else
        terminal.has_colour = terminal.is_terminal && !terminal_is_set("NO_COLOR") && kind &&
                              strcmp(kind, "dumb") != 0;
    return terminal;
}

void terminal_put(const struct terminal *terminal, struct fm_buf *out, enum terminal_style style,
                  const char *text)
{
    static const char *const codes[] = {
        [STYLE_PLAIN] = "",        [STYLE_BOLD] = "\033[1m",   [STYLE_DIM] = "\033[2m",
        [STYLE_RED] = "\033[31m",  [STYLE_GREEN] = "\033[32m", [STYLE_YELLOW] = "\033[33m",
        [STYLE_CYAN] = "\033[36m",
    };

    if (!terminal->has_colour || style == STYLE_PLAIN) {
        fm_buf_puts(out, text);
        return;
    }
    fm_buf_puts(out, codes[style]);
    fm_buf_puts(out, text);
    fm_buf_puts(out, "\033[0m");
}

static bool terminal_is_start(uint8_t byte)
{
    return (byte & 0xc0) != 0x80;
}

unsigned terminal_columns(struct fm_slice text)
{
    unsigned columns = 0;

    for (size_t i = 0; i < text.len; i++)
        columns += terminal_is_start(text.ptr[i]);
    return columns;
}

/* Control characters of ASCII, and U+0080 to U+009F, which some terminals obey as well. */
static bool terminal_is_control(const uint8_t *glyph, size_t len)
{
    return glyph[0] < 0x20 || glyph[0] == 0x7f || (len == 2 && glyph[0] == 0xc2 && glyph[1] < 0xa0);
}

void terminal_put_text(struct fm_buf *out, struct fm_slice text, unsigned columns)
{
    struct fm_buf clean;
    unsigned used = 0;

    fm_buf_init(&clean, FM_MIB(4));
    fm_utf8_repair(&clean, fm_slice(text.ptr, FM_MIN(text.len, FM_MIB(1))));
    unsigned total = terminal_columns(fm_buf_slice(&clean));
    bool is_cut = columns && total > columns;
    for (size_t i = 0; i < clean.len && (!is_cut || used + 1 < columns); used++) {
        size_t len = 1;
        while (i + len < clean.len && !terminal_is_start(clean.ptr[i + len]))
            len++;
        if (terminal_is_control(clean.ptr + i, len))
            fm_buf_put_u8(out, ' ');
        else
            fm_buf_put(out, clean.ptr + i, len);
        i += len;
    }
    if (is_cut) {
        fm_buf_puts(out, "\xe2\x80\xa6"); /* an ellipsis */
        used++;
    }
    for (; used < columns; used++)
        fm_buf_put_u8(out, ' ');
    fm_buf_fini(&clean);
}

void terminal_flush(struct fm_buf *out)
{
    if (out->len)
        (void)fwrite(out->ptr, 1, out->len, stdout); /* a closed pipe ends us by its signal */
    fflush(stdout);
    fm_buf_reset(out);
}
