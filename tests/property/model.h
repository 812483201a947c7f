/* SPDX-License-Identifier: Apache-2.0 */
/* model - a few traces as plain structs: what the oracle looks at, and what is written as OTLP for
 * the program under test.  Small on purpose: names and values collide. */
#ifndef TESTS_PROPERTY_MODEL_H
#define TESTS_PROPERTY_MODEL_H

#include "fermata/base.h"
#include "fermata/traceql.h"

#define MODEL_SPANS  64u /* a set of spans is a word */
#define MODEL_TRACES 6u
#define MODEL_BASE   UINT64_C(1795219972000000000)
#define MODEL_SECOND UINT64_C(1000000000)

struct model_attribute {
    const char *key;
    struct traceql_value value; /* NIL: written as a map, which no query sees */
};
struct model_list {
    struct model_attribute items[4];
    uint32_t count;
};
struct model_event {
    const char *name;
    uint64_t since_start_ns;
    struct model_list list;
};
struct model_link {
    uint8_t trace, span; /* last byte of the id */
    struct model_list list;
};
struct model_scope {
    const char *name, *version;
    struct model_list list;
};
struct model_span {
    uint32_t trace;
    uint8_t id, parent; /* last byte of the id; parent 0: root */
    int kind, status;
    const char *name, *message;
    uint64_t start_ns, duration_ns;
    uint32_t resource, scope;
    struct model_list list;
    struct model_event events[2];
    struct model_link links[2];
    uint32_t event_count, link_count;
};
struct model {
    struct model_span spans[MODEL_SPANS];
    uint32_t span_count, trace_count;
    struct model_list resources[3];
    struct model_scope scopes[2];
};

/* ---- trace_gen.c ---- */

static inline uint32_t model_below(uint64_t *state, uint32_t limit)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = (*state ^ *state >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ z >> 31) >> 32) % limit;
}
void model_random(struct model *model, uint64_t seed);
void model_trace_id(uint32_t trace, uint8_t id[16]);
/* Canonical OTLP of the spans with their bit in mask, in the model's order. */
void model_put_otlp(const struct model *model, uint64_t mask, struct fm_buf *buf);
/* For a human. */
void model_print(const struct model *model, struct fm_buf *out);

/* ---- query_gen.c ---- */

/* How it is asked. */
struct model_question {
    uint64_t start_ns, end_ns; /* 0, 0: no window */
    uint64_t step_ns;
    bool instant;
    uint32_t limit, spss, exemplars;
};
void question_random(uint64_t *state, bool is_metrics, struct model_question *ret_question);

void query_random(uint64_t *state, struct fm_buf *text);

/* ---- oracle.c ---- */

/* What a search finds, as text: a line per surviving set, sorted.  FM_EMALFORMED: division by zero
 * and the like. */
FM_MUST int oracle_search(const struct model *model, const struct traceql_query *query,
                          struct fm_buf *out);
/* What an answer tells: the newest traces in their order, a line each; found.c. */
FM_MUST int oracle_found(const struct model *model, const struct traceql_query *query,
                         const struct model_question *question, struct fm_buf *out);
/* The series of a metrics query, as text: a line each, sorted; metrics.c. */
FM_MUST int oracle_metrics(const struct model *model, const struct traceql_query *query,
                           const struct model_question *question, struct fm_buf *out);
FM_MUST int oracle_comparison(const struct model *model, const struct traceql_query *query,
                              const struct model_question *question, struct fm_buf *out);
/* Spans that come through the pipeline. */
FM_MUST int oracle_survivors(const struct model *model, const struct traceql_query *query,
                             uint64_t *ret_mask);
/* Of compare(): those that come through, and those of them that are selected. */
FM_MUST int oracle_selected(const struct model *model, const struct traceql_query *query,
                            uint64_t *ret_mask, uint64_t *ret_selected);
/* The sets of one trace that come through, at most MODEL_SPANS. */
struct oracle_set {
    uint64_t mask;
    char labels[400];
};
FM_MUST int oracle_sets_of(const struct model *model, const struct traceql_query *query,
                           uint32_t trace, struct oracle_set *sets, uint32_t *ret_count);
/* Its stretch of time, and its root or NULL. */
void oracle_facts(const struct model *model, uint32_t trace, uint64_t *ret_start, uint64_t *ret_end,
                  const struct model_span **ret_root);
struct traceql_value oracle_root(const struct model *model, uint32_t trace, bool service);
/* Of a span; of events and links the first. */
struct traceql_value oracle_value(const struct model *model, uint32_t span,
                                  const struct traceql_field *field);
/* Appends a value as text, types included. */
void oracle_put_value(struct fm_buf *out, const struct traceql_value *value);
/* Sorts the lines of text. */
void oracle_sort_lines(struct fm_buf *text);

#endif
