/* SPDX-License-Identifier: Apache-2.0 */
/* Private face of sample: rules as they are judged. */
#ifndef FERMATA_SAMPLE_PRIVATE_H
#define FERMATA_SAMPLE_PRIVATE_H

#include "fermata/sample.h"
#include "fermata/sample_head.h"

#define SAMPLE_DEPTH_MAX      8u   /* of policies within policies */
#define SAMPLE_WINDOWS        128u /* minutes whose rates are remembered */
#define SAMPLE_WINDOW_SECONDS 60u

struct sample_part {
    uint32_t rule;
    uint64_t spans_max; /* composite: in a minute */
};
struct sample_compiled {
    enum sample_kind kind;
    const char *name;
    bool express, invert;
    bool is_part;          /* of another, and not asked by itself */
    uint32_t leaf;         /* of those that have one */
    uint64_t low, high;    /* latency, span_count; high 0: none */
    uint64_t threshold;    /* probabilistic */
    uint64_t spans_max;    /* rate_limiting: in a minute */
    uint32_t first_window; /* rate_limiting: one; composite: one per part */
    struct sample_part *parts;
    uint32_t part_count;
};
struct sample_leaf {
    struct fm_slice text;
    bool is_local;
};
struct sample_rules {
    struct fm_arena arena; /* owns texts and parts */
    struct sample_compiled *rules;
    size_t rule_count;
    struct sample_leaf leaves[SAMPLE_LEAVES_MAX];
    size_t leaf_count;
    uint32_t window_count;
    uint64_t default_threshold;
};

/* text: what was written there, or NULL. */
int sample_fail(struct sample_fault *fault, const char *key, const char *accepted, const char *what,
                const char *text);
/* The next piece of text between separators, without blanks around it; empty ones are passed over.
 */
bool sample_next_piece(struct fm_slice *rest, uint8_t separator, struct fm_slice *ret_piece);
/* The leaf of a rule that has one. */
FM_MUST int sample_compile_leaf(struct sample_rules *rules, const struct sample_rule *from,
                                uint32_t *ret_leaf, struct sample_fault *fault);

#endif
