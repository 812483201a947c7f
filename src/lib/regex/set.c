/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of code points and where their members come from: ranges, names, folding. */
#include "set.h"

#include <stdlib.h>

#define SET_FOLD_ROUNDS 3 /* the longest orbits have four members */

uint32_t unicode_next_fold(uint32_t code)
{
    unsigned low = 0, high = unicode_fold_count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (unicode_folds[middle].low <= code)
            low = middle + 1;
        else
            high = middle;
    }
    /* Runs of stride two interleave, so that the one looked for may be the one before. */
    for (unsigned back = 1; back <= 2 && back <= low; back++) {
        const struct unicode_fold *fold = &unicode_folds[low - back];
        if (code <= fold->high && (code - fold->low) % fold->stride == 0)
            return (uint32_t)((int32_t)code + fold->delta);
    }
    return code;
}

void set_add(struct set *set, struct fm_arena *arena, uint32_t low, uint32_t high)
{
    if (set->count && set->ranges[set->count - 1].low <= low &&
        low <= set->ranges[set->count - 1].high + 1) { /* the usual case: in order */
        set->ranges[set->count - 1].high = FM_MAX(set->ranges[set->count - 1].high, high);
        return;
    }
    if (set->count == set->cap) {
        uint32_t cap = FM_MAX(4u, set->cap * 2);
        struct unicode_range *grown = fm_arena_alloc(arena, cap * sizeof *grown);
        if (!grown)
            return;
        if (set->count)
            memcpy(grown, set->ranges, set->count * sizeof *grown);
        set->ranges = grown;
        set->cap = cap;
    }
    set->is_tidy = set->count == 0 || (set->is_tidy && set->ranges[set->count - 1].high < low);
    set->ranges[set->count++] = (struct unicode_range){low, high};
}

void set_add_table(struct set *set, struct fm_arena *arena, const struct unicode_range *ranges,
                   uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        set_add(set, arena, ranges[i].low, ranges[i].high);
}

void set_add_set(struct set *set, struct fm_arena *arena, const struct set *other)
{
    set_add_table(set, arena, other->ranges, other->count);
}

static int range_compare(const void *a, const void *b)
{
    const struct unicode_range *left = a, *right = b;
    return left->low < right->low ? -1 : left->low > right->low;
}

void set_tidy(struct set *set)
{
    uint32_t kept = 0;
    if (set->is_tidy || set->count == 0)
        return;
    qsort(set->ranges, set->count, sizeof set->ranges[0], range_compare);
    for (uint32_t i = 1; i < set->count; i++) {
        struct unicode_range *last = &set->ranges[kept];
        if (set->ranges[i].low <= last->high + 1)
            last->high = FM_MAX(last->high, set->ranges[i].high);
        else
            set->ranges[++kept] = set->ranges[i];
    }
    set->count = kept + 1;
    set->is_tidy = true;
}

void set_negate(struct set *set, struct fm_arena *arena)
{
    struct set other = {0};
    uint32_t next = 0;
    set_tidy(set);
    for (uint32_t i = 0; i < set->count; i++) {
        if (set->ranges[i].low > next)
            set_add(&other, arena, next, set->ranges[i].low - 1);
        next = set->ranges[i].high + 1;
    }
    if (next <= UNICODE_MAX)
        set_add(&other, arena, next, UNICODE_MAX);
    *set = other;
}

/* Adds to target what one step along the orbits makes of the range. */
static void fold_range(struct set *target, struct fm_arena *arena, struct unicode_range range)
{
    for (unsigned i = 0; i < unicode_fold_count; i++) {
        const struct unicode_fold *fold = &unicode_folds[i];
        if (fold->low > range.high)
            return;
        if (fold->high < range.low)
            continue;
        uint32_t low = FM_MAX(fold->low, range.low), high = FM_MIN(fold->high, range.high);
        low += (fold->stride - (low - fold->low) % fold->stride) % fold->stride;
        if (fold->stride == 1) {
            set_add(target, arena, (uint32_t)((int32_t)low + fold->delta),
                    (uint32_t)((int32_t)high + fold->delta));
            continue;
        }
        for (uint32_t code = low; code <= high; code += fold->stride) {
            uint32_t other = (uint32_t)((int32_t)code + fold->delta);
            set_add(target, arena, other, other);
        }
    }
}

void set_fold(struct set *set, struct fm_arena *arena)
{
    for (unsigned round = 0; round < SET_FOLD_ROUNDS && !fm_arena_failed(arena); round++) {
        struct set wider = {0};
        set_tidy(set);
        set_add_set(&wider, arena, set);
        for (uint32_t i = 0; i < set->count; i++)
            fold_range(&wider, arena, set->ranges[i]);
        set_tidy(&wider);
        bool is_same = set_equal(&wider, set);
        *set = wider;
        if (is_same)
            return;
    }
}

bool set_has(const struct set *set, uint32_t code)
{
    uint32_t low = 0, high = set->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (set->ranges[middle].high < code)
            low = middle + 1;
        else
            high = middle;
    }
    return low < set->count && set->ranges[low].low <= code;
}

bool set_equal(const struct set *a, const struct set *b)
{
    return a->count == b->count &&
           (a->count == 0 || memcmp(a->ranges, b->ranges, a->count * sizeof a->ranges[0]) == 0);
}

/* ---- names ---- */

int set_add_property(struct set *set, struct fm_arena *arena, struct fm_slice name)
{
    bool found = false;
    if (fm_slice_equal_text(name, "Any")) {
        set_add(set, arena, 0, UNICODE_MAX);
        return FM_OK;
    }
    for (unsigned i = 0; i < unicode_category_set_count; i++) {
        const struct unicode_set *category = &unicode_category_sets[i];
        bool is_major = name.len == 1 && category->name[0] == (char)name.ptr[0];
        if (!is_major && !fm_slice_equal_text(name, category->name))
            continue;
        set_add_table(set, arena, unicode_category_ranges + category->first, category->count);
        found = true;
    }
    for (unsigned i = 0; i < unicode_script_set_count && !found; i++) {
        const struct unicode_set *script = &unicode_script_sets[i];
        if (!fm_slice_equal_text(name, script->name))
            continue;
        set_add_table(set, arena, unicode_script_ranges + script->first, script->count);
        found = true;
    }
    return found ? FM_OK : FM_NONE;
}

int set_add_posix(struct set *set, struct fm_arena *arena, struct fm_slice name)
{
    static const struct {
        const char *name, *ranges; /* pairs of characters */
    } classes[] = {
        {"alnum", "09AZaz"},
        {"alpha", "AZaz"},
        {"ascii", "\x01\x7f"},
        {"blank", "\t\t  "},
        {"cntrl", "\x01\x1f\x7f\x7f"},
        {"digit", "09"},
        {"graph", "!~"},
        {"lower", "az"},
        {"print", " ~"},
        {"punct", "!/:@[`{~"},
        {"space", "\t\r  "},
        {"upper", "AZ"},
        {"word", "09AZ__az"},
        {"xdigit", "09AFaf"},
    };
    for (size_t i = 0; i < FM_COUNT(classes); i++) {
        if (!fm_slice_equal_text(name, classes[i].name))
            continue;
        for (const char *pair = classes[i].ranges; *pair; pair += 2)
            set_add(set, arena, (uint32_t)pair[0], (uint32_t)pair[1]);
        if (classes[i].name[0] == 'c' || classes[i].name[1] == 's') /* cntrl, ascii: NUL too */
            set_add(set, arena, 0, 0);
        return FM_OK;
    }
    return FM_NONE;
}

void set_add_perl(struct set *set, struct fm_arena *arena, char letter)
{
    const char *pairs = letter == 'd' ? "09" : letter == 'w' ? "09AZ__az" : "\t\n\f\r  ";
    for (; *pairs; pairs += 2)
        set_add(set, arena, (uint32_t)pairs[0], (uint32_t)pairs[1]);
}
