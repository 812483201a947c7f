/* SPDX-License-Identifier: Apache-2.0 */
/* options - one small table-driven parser for every verb: values, help, guesses at misspellings. */
#ifndef TOOLS_OPTIONS_H
#define TOOLS_OPTIONS_H

#include "fermata/base.h"
#include "fermata/tools.h"

enum option_type {
    OPTION_FLAG,     /* bool */
    OPTION_TEXT,     /* const char * */
    OPTION_MANY,     /* struct option_list: may be given again and again */
    OPTION_UINT,     /* uint64_t */
    OPTION_DURATION, /* uint64_t, ns */
    OPTION_CHOICE,   /* unsigned: index into words */
};
#define OPTION_LIST_MAX 32
struct option_list {
    const char *items[OPTION_LIST_MAX];
    size_t count;
};
struct option {
    const char *name; /* without the dashes */
    enum option_type type;
    void *target;
    const char *value; /* its name in the help: FILE */
    const char *help;
    const char *const *words; /* OPTION_CHOICE, NULL at the end */
};
struct options {
    const char *verb;     /* "emit" */
    const char *synopsis; /* "[OPTIONS]" */
    const char *summary;  /* one sentence */
    const char *examples; /* whole lines */
    const struct option *rows;
    size_t row_count;
    size_t word_min, word_max; /* arguments that are no options */
};

/* Fills the targets and words (room for word_max).  True: go on.  False: return *ret_exit (help was
 * printed: 0; a mistake was explained: 2). */
bool options_parse(const struct options *options, int argc, char **argv, const char **words,
                   int *ret_exit);
/* "fermata VERB: text" on stderr; returns exit. */
int options_fail(const struct options *options, int exit, const char *format, ...) FM_PRINTF(3, 4);

/* Unix seconds, perhaps with a fraction, or RFC 3339. */
bool option_time(const char *text, uint64_t *ret_ns);

#endif
