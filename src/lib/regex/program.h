/* SPDX-License-Identifier: Apache-2.0 */
/* program - a compiled pattern: instructions over classes of code points.  Private to regex.
 *
 * Code points that no set of the pattern tells apart share a class, so that a step of the machine
 * looks at a small number and not at ranges.
 */
#ifndef REGEX_PROGRAM_H
#define REGEX_PROGRAM_H

#include "tree.h"

enum step_op {
    STEP_SET,    /* one code point of set arg; then the next instruction */
    STEP_SPLIT,  /* the next instruction, and arg */
    STEP_JUMP,   /* arg */
    STEP_ASSERT, /* enum node_assertion in arg */
    STEP_MATCH,
};
struct step {
    uint8_t op;
    uint32_t arg;
};

enum class_flag { CLASS_IS_WORD = 1, CLASS_IS_NEWLINE = 2 };

struct regex {
    struct fm_arena arena; /* owns everything below */
    struct regex_limits limits;
    struct step *steps;
    uint32_t step_count;
    const struct set **sets; /* distinct */
    uint32_t set_count;
    uint32_t class_count;  /* the end of the text is class class_count */
    uint8_t *class_flags;  /* of each class */
    uint8_t *members;      /* bit class + set * class_stride * 8: the set has the class */
    uint32_t class_stride; /* bytes of one set's bits */
    uint16_t ascii[128];   /* class of each */
    uint32_t *bounds;      /* first code point of each interval */
    uint16_t *bound_class; /* and its class */
    uint32_t bound_count;
    bool has_asserts;
    struct fm_slice *literals;
    uint32_t literal_count;
    struct fm_slice prefix;
};

FM_MUST int program_compile(struct regex *regex, const struct node *root, struct fm_why *why);
/* Fills literals and prefix. */
void program_find_literals(struct regex *regex, const struct node *root);

static inline bool program_has(const struct regex *regex, uint32_t set, uint32_t class)
{
    return regex->members[set * regex->class_stride + class / 8] >> (class % 8) & 1;
}

static inline uint32_t program_class(const struct regex *regex, uint32_t code)
{
    uint32_t low = 0, high = regex->bound_count;
    if (code < 128)
        return regex->ascii[code];
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if (regex->bounds[middle] <= code)
            low = middle;
        else
            high = middle;
    }
    return regex->bound_class[low];
}

#endif
