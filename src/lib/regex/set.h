/* SPDX-License-Identifier: Apache-2.0 */
/* set - sets of code points: sorted ranges that neither overlap nor touch.  Private to regex. */
#ifndef REGEX_SET_H
#define REGEX_SET_H

#include "unicode.h"

struct set {
    struct unicode_range *ranges; /* in the arena of the parse */
    uint32_t count, cap;
    bool is_tidy;
};
/* Adds in any order; running out of memory is the arena's to remember. */
void set_add(struct set *set, struct fm_arena *arena, uint32_t low, uint32_t high);
void set_add_set(struct set *set, struct fm_arena *arena, const struct set *other);
void set_add_table(struct set *set, struct fm_arena *arena, const struct unicode_range *ranges,
                   uint32_t count);
void set_tidy(struct set *set);
void set_negate(struct set *set, struct fm_arena *arena);
/* Adds whatever folds like one of its members. */
void set_fold(struct set *set, struct fm_arena *arena);
bool set_has(const struct set *set, uint32_t code); /* tidy */
bool set_equal(const struct set *a, const struct set *b);
/* "Lu", "L", "Greek", "Any".  FM_NONE: there is no such name. */
FM_MUST int set_add_property(struct set *set, struct fm_arena *arena, struct fm_slice name);
/* "alpha", "xdigit", ...: FM_NONE as well. */
FM_MUST int set_add_posix(struct set *set, struct fm_arena *arena, struct fm_slice name);
/* 'd', 's', 'w' */
void set_add_perl(struct set *set, struct fm_arena *arena, char letter);

#endif
