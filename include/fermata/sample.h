/* SPDX-License-Identifier: Apache-2.0 */
/* sample - tail sampling: which traces leave the node.  Policies as OpenTelemetry's tail_sampling
 * processor names them; docs/OPERATIONS.md, "Sampling".
 *
 * What a policy asks of attributes and the like is compiled to TraceQL, a leaf, which the caller
 * answers as it can: over rows or over the columns of a block.  What it asks of ids, counts and
 * times is judged here.  Order: a drop that holds is the end of a trace; else the first policy in
 * the order of the rules that wants it; else the default probability.
 *
 * Probabilities are consistent: they compare 56 bits of the trace id, so every node decides alike,
 * and what is kept at a small probability is kept at every larger one.
 */
#ifndef FERMATA_SAMPLE_H
#define FERMATA_SAMPLE_H

#include "fermata/base.h"
#include "fermata/model.h"

#define SAMPLE_RULES_MAX  256u
#define SAMPLE_LEAVES_MAX 64u

enum sample_kind { /* the order of the words of type in [sampling.policy.NAME] */
                   SAMPLE_ALWAYS,
                   SAMPLE_STATUS_CODE,
                   SAMPLE_LATENCY,
                   SAMPLE_STRING_ATTRIBUTE,
                   SAMPLE_NUMERIC_ATTRIBUTE,
                   SAMPLE_BOOLEAN_ATTRIBUTE,
                   SAMPLE_SPAN_COUNT,
                   SAMPLE_TRACEQL,
                   SAMPLE_PROBABILISTIC,
                   SAMPLE_RATE_LIMITING,
                   SAMPLE_AND,
                   SAMPLE_NOT,
                   SAMPLE_DROP,
                   SAMPLE_COMPOSITE,
                   SAMPLE_KIND_COUNT
};

/* One policy as it is written down; NULL and "": not set.  Texts of several: words with blanks
 * between them, values: a line each. */
struct sample_rule {
    enum sample_kind kind;
    const char *name;
    bool express;                              /* what it wants is urgent */
    bool invert;                               /* attributes: no span has it */
    bool regex;                                /* values are patterns found anywhere in the text */
    const char *status_codes;                  /* ok, error, unset */
    uint64_t threshold_ns, upper_threshold_ns; /* latency; upper 0: none */
    const char *key, *values;                  /* attributes; of a boolean: true or false */
    const char *min_value, *max_value;         /* numeric_attribute; both ends included */
    uint64_t min_spans, max_spans;             /* span_count; max 0: none */
    const char *query;                         /* traceql */
    const char *probability;                   /* "0.05", "5%" */
    uint64_t spans_per_second;                 /* rate_limiting, composite */
    const char *sub_policies;                  /* and, not, drop, composite: names of others, which
                                                  then count as parts only */
    const char *rate_allocation;               /* composite: "NAME=PERCENT" */
};

/* What is wrong with which setting of which rule. */
struct sample_fault {
    size_t rule;          /* SAMPLE_NO_RULE: the default probability */
    const char *key;      /* "sub_policies" */
    struct fm_why why;    /* what is wrong */
    const char *accepted; /* what would be right; may be NULL */
};
#define SAMPLE_NO_RULE SIZE_MAX

/* Compiled rules: immutable, shared by any number of threads. */
struct sample_rules;
/* Copies what it needs.  FM_ECONFIG fills fault; FM_ENOMEM. */
FM_MUST int sample_rules_new(struct sample_rules **ret_rules, const struct sample_rule *rules,
                             size_t rule_count, const char *default_probability,
                             struct sample_fault *fault);
struct sample_rules *sample_rules_free(struct sample_rules *rules);
FM_DEFINE_AUTO(sample_rules)
size_t sample_rule_count(const struct sample_rules *rules);
const char *sample_rule_name(const struct sample_rules *rules, size_t rule);

/* A leaf is a TraceQL query that passes traceql_check: it holds of a trace if some set of its spans
 * comes through.  Local (eval_is_local): parts of a trace are asked by themselves and their answers
 * joined by OR; else only the whole trace answers it. */
size_t sample_leaf_count(const struct sample_rules *rules);
struct fm_slice sample_leaf_text(const struct sample_rules *rules, size_t leaf);
bool sample_leaf_is_local(const struct sample_rules *rules, size_t leaf);

/* What is known of a trace, all its parts together. */
struct sample_facts {
    struct trace_id id;
    uint64_t span_count;
    uint64_t start_ns, end_ns; /* first start, last end */
    uint64_t leaves;           /* bit i: leaf i holds */
    uint64_t now_ns;           /* rates are held by the minute of this; when it was received, or
                                  start_ns if that is not known */
};
struct sample_outcome {
    bool keep, express;
    size_t rule; /* the one that decided; SAMPLE_NO_RULE: the default probability */
};

/* What rates remember, of one thread; knows one set of rules. */
struct sample_state;
FM_MUST int sample_state_new(struct sample_state **ret_state, const struct sample_rules *rules);
struct sample_state *sample_state_free(struct sample_state *state);
FM_DEFINE_AUTO(sample_state)
struct sample_outcome sample_judge(struct sample_state *state, const struct sample_facts *facts);

/* ---- verdicts, for spans that come later ---- */

enum sample_verdict { SAMPLE_UNKNOWN, SAMPLE_DROPPED, SAMPLE_KEPT, SAMPLE_EXPRESS };

/* Verdicts of the latest traces, 8 bytes each, in generations: when the youngest is full, the
 * oldest is forgotten as a whole. */
struct sample_memory;
struct sample_memory_stats {
    uint64_t traces;    /* that it knows */
    uint64_t room;      /* that it can know */
    uint64_t forgotten; /* so far */
    uint64_t bytes;
};
/* seed: against chosen ids.  bytes_max: 4 KiB at least. */
FM_MUST int sample_memory_new(struct sample_memory **ret_memory, size_t bytes_max, uint64_t seed);
struct sample_memory *sample_memory_free(struct sample_memory *memory);
FM_DEFINE_AUTO(sample_memory)
/* By trace_id_key().  The latest verdict of a trace holds; verdict is not SAMPLE_UNKNOWN. */
void sample_memory_put(struct sample_memory *memory, uint64_t trace_key,
                       enum sample_verdict verdict);
enum sample_verdict sample_memory_find(const struct sample_memory *memory, uint64_t trace_key);
/* Begins a new generation before the youngest is full: four of these forget what was put before. */
void sample_memory_age(struct sample_memory *memory);
struct sample_memory_stats sample_memory_stats(const struct sample_memory *memory);

#endif
