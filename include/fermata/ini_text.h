/* SPDX-License-Identifier: Apache-2.0 */
/* ini_text - ini files, read line by line and complained about with file, line and a guess.  Part
 * of config; fermata.ini itself is read by it, and every other ini file of the daemon.
 *
 *   FILE:3:1: error: unknown key "rate_byte" in [tenant a]
 *       3 | rate_byte = 1MiB
 *         | ^^^^^^^^^
 *         | did you mean "rate_bytes"?
 *
 * A line has at most 198 bytes; lists go on in indented lines.  ';' behind a blank begins a
 * comment.
 */
#ifndef FERMATA_INI_TEXT_H
#define FERMATA_INI_TEXT_H

#include "fermata/base.h"

#define INI_LINE_MAX   198u /* inih's buffer of 200 less line end and terminator */
#define INI_ERRORS_MAX 20u  /* printed; the rest is counted */

/* Where a value or an error stands.  line 0: not in a file; column 0: no caret. */
struct ini_place {
    const char *name; /* of the file, or of what else the text came from */
    unsigned line, column, width;
    struct fm_slice source; /* the line as written */
};

struct ini_complaints {
    struct fm_buf *out; /* borrowed */
    unsigned count;
};
/* cure: what to do about it, or NULL. */
void ini_complain(struct ini_complaints *complaints, const struct ini_place *place,
                  const char *cure, const char *format, ...) FM_PRINTF(4, 5);
void ini_complain_list(struct ini_complaints *complaints, const struct ini_place *place,
                       const char *cure, const char *format, va_list arguments) FM_PRINTF(4, 0);
void ini_put_rest(const struct ini_complaints *complaints); /* "and N more errors", if so */

/* Which of the names shown was meant: the nearest one, else the only one that it begins. */
struct ini_guess {
    struct fm_slice wanted;
    const char *near, *begins;
    unsigned distance, begin_count;
};
struct ini_guess ini_guess_begin(struct fm_slice wanted);
void ini_guess_show(struct ini_guess *guess, const char *candidate);
const char *ini_guess_answer(const struct ini_guess *guess); /* NULL: none */

enum ini_kind { INI_UNKNOWN, INI_VALUE, INI_LIST };
struct ini_setting { /* slices live as long as the text */
    struct fm_slice section, key, value;
    bool continues; /* one more line of the list that key began */
    struct ini_place key_place, value_place;
};
/* Whoever reads a file.  It complains for itself; what is no ini at all is complained about. */
struct ini_visitor {
    const char *section_example; /* "[fermata]" */
    /* A section begins; false: nothing of it is to be shown. */
    bool (*on_section)(void *self, struct fm_slice name, const struct ini_place *place);
    enum ini_kind (*kind)(void *self, struct fm_slice section, struct fm_slice key);
    /* Every "key = value", also of unknown keys. */
    void (*on_setting)(void *self, const struct ini_setting *setting);
};
void ini_text_read(const char *name, struct fm_slice text, const struct ini_visitor *visitor,
                   void *self, struct ini_complaints *complaints);

#endif
