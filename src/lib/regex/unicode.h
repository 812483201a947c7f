/* SPDX-License-Identifier: Apache-2.0 */
/* unicode - what the classes and the case folding of patterns need of Unicode.  Private to regex.
 * Source: the Unicode Character Database; made by tests/support/unicode.pl. */
#ifndef REGEX_UNICODE_H
#define REGEX_UNICODE_H

#include "fermata/base.h"

#define UNICODE_MAX 0x10ffffu

struct unicode_range {
    uint32_t low, high; /* inclusive */
};
struct unicode_set {
    const char *name; /* "Lu", "Greek" */
    uint16_t first, count;
};
/* Code points low, low + stride, ... high: the next of those that fold alike is delta further. */
struct unicode_fold {
    uint32_t low, high;
    uint16_t stride;
    int32_t delta;
};
extern const struct unicode_range unicode_category_ranges[], unicode_script_ranges[];
extern const struct unicode_set unicode_category_sets[], unicode_script_sets[];
extern const struct unicode_fold unicode_folds[];
extern const unsigned unicode_category_set_count, unicode_script_set_count, unicode_fold_count;

/* The next code point of the orbit of code, or code itself. */
uint32_t unicode_next_fold(uint32_t code);

#endif
