/* SPDX-License-Identifier: Apache-2.0 */
/* terminal - manners: colour only where it is welcome, width, widths of text, a progress line. */
#ifndef TOOLS_TERMINAL_H
#define TOOLS_TERMINAL_H

#include "fermata/base.h"

struct terminal {
    bool is_terminal, has_colour;
    unsigned width; /* columns */
};
struct terminal terminal_of(int fd);

enum terminal_style {
    STYLE_PLAIN,
    STYLE_BOLD,
    STYLE_DIM,
    STYLE_RED,
    STYLE_GREEN,
    STYLE_YELLOW,
    STYLE_CYAN
};
/* Text in a style, or as it is where colour is not welcome. */
void terminal_put(const struct terminal *terminal, struct fm_buf *out, enum terminal_style style,
                  const char *text);
/* Foreign text made harmless (no control characters, valid UTF-8), cut or padded to columns;
 * columns 0: as long as it is. */
void terminal_put_text(struct fm_buf *out, struct fm_slice text, unsigned columns);
/* Columns that text takes, one for a character. */
unsigned terminal_columns(struct fm_slice text);

void terminal_flush(struct fm_buf *out); /* to stdout; empties it */

#endif
