/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of eval share.
 *
 *   plan:   the query, compiled: fields numbered, filters in negation normal form, patterns
 *   run:    one frame at a time; a filter narrows a mask of one byte (0, 1) per span
 *   state:  mask and the set of each span; a span is never in two sets
 *
 * Comparisons have three outcomes: true, false, and nil where a side is missing or the types do not
 * go together.  Negation turns true and false round and leaves nil, so that != and !(=) say the
 * same of spans that lack the field: nothing.
 */
#ifndef EVAL_INTERNAL_H
#define EVAL_INTERNAL_H

#include "fermata/eval.h"
#include "fermata/regex.h"

#define EVAL_NONE UINT32_MAX

enum eval_tri { EVAL_FALSE, EVAL_TRUE, EVAL_NIL };

/* ---- plan ---- */

struct eval_ref {    /* a field of the query */
    uint32_t index;  /* in the plan's list */
    uint32_t second; /* of resource.x, if the field is .x and index is span.x; or EVAL_NONE */
    enum frame_domain domain;
    enum traceql_intrinsic intrinsic;
};
struct eval_shown { /* a field that results show */
    struct traceql_field field;
    struct eval_ref ref;
};
struct eval_test { /* field op literal, or EXISTS, NOT_EXISTS */
    enum traceql_op op;
    bool negated;
    struct traceql_value value;
    uint32_t regex; /* EVAL_NONE: no pattern */
};
struct eval_walk { /* an expression that is evaluated span by span */
    enum traceql_expression_kind kind;
    enum traceql_op op;
    struct traceql_value value;
    struct eval_ref ref;
    uint32_t regex;
    struct eval_walk *left, *right;
};
enum eval_node_kind {
    EVAL_CONSTANT,
    EVAL_AND,
    EVAL_OR,
    EVAL_TEST,
    EVAL_SOME, /* all children, which are tests, hold for one event (or link) of the span */
    EVAL_WALK,
};
struct eval_node {
    enum eval_node_kind kind;
    uint32_t cost, order; /* children of AND run in this order */
    bool flag;            /* CONSTANT: its value; WALK: negated */
    bool has_events, has_links;
    struct eval_ref ref; /* TEST; SOME: of the first child */
    struct eval_test test;
    uint32_t truth; /* TEST: its two tables of truth in a run */
    bool by_id;     /* TEST of trace:id against a literal: no vector is needed */
    bool id_valid;
    struct trace_id id;
    struct eval_node *also; /* TEST: of the same field; one of them has to hold */
    struct eval_walk *walk;
    struct eval_node **children;
    uint32_t child_count;
};
struct eval_stage {
    enum traceql_stage_kind kind;
    struct eval_node *node; /* FILTER; GROUP by a condition */
    enum traceql_op op;     /* OPERATION, SCALAR */
    enum traceql_relation relation;
    struct eval_stage *left, *right;
    struct eval_stage *first; /* PIPELINE */
    struct eval_walk *walk;   /* GROUP, unless it has a node; SCALAR unless count() */
    enum traceql_aggregate aggregate;
    struct traceql_value value; /* SCALAR: the literal */
    struct fm_slice label;
    uint32_t cost;
    struct eval_stage *next;
};
struct eval_plan {
    struct fm_arena arena;
    struct traceql_field *fields; /* EVAL_FIELDS_MAX */
    uint8_t *types;               /* by field: that its tests ask for; NIL: none */
    uint32_t field_count;
    struct eval_stage *first;
    struct regex **regexes; /* owned, in the arena */
    uint32_t regex_count, regex_max;
    uint32_t truth_count;
    struct eval_shown *shown; /* of the query and select(), once each */
    uint32_t shown_count, shown_max;
    struct eval_node **some_tests; /* tests of events and links */
    uint32_t some_count, some_max;
    bool only_filters; /* the mask of a span does not depend on other spans */
    bool takes_all;    /* {} */
    int rc;            /* of compilation */
};
int plan_ref(struct eval_plan *plan, const struct traceql_field *field, struct eval_ref *ret_ref);
/* compile.c */
struct eval_node *compile_filter(struct eval_plan *plan, const struct traceql_expression *from,
                                 struct fm_why *why);
struct eval_walk *compile_walk(struct eval_plan *plan, const struct traceql_expression *from,
                               unsigned depth, struct fm_why *why);
void *plan_alloc(struct eval_plan *plan, size_t size);

/* ---- values ---- */

bool value_is_numeric(const struct traceql_value *value);
double value_number(const struct traceql_value *value);
enum eval_tri value_compare(enum traceql_op op, const struct traceql_value *left,
                            const struct traceql_value *right, struct regex_matcher *matcher);
FM_MUST int value_arithmetic(enum traceql_op op, const struct traceql_value *left,
                             const struct traceql_value *right, struct traceql_value *ret_value,
                             struct fm_why *why);
struct traceql_value value_negate(const struct traceql_value *value);
/* As a filter sees a stored value: ids without leading zeros, texts of intrinsics never nil. */
struct traceql_value value_of_intrinsic(enum traceql_intrinsic intrinsic,
                                        struct traceql_value value);
uint64_t value_hash(const struct traceql_value *value);
bool value_same(const struct traceql_value *a, const struct traceql_value *b);

/* ---- run ---- */

struct eval_truth { /* of a test, by code */
    uint8_t *bytes; /* owned */
    uint32_t count, cap;
    uint64_t serial;
    bool has_unknown; /* values that nobody has asked about yet */
};
struct eval_slot { /* a vector of the present frame */
    bool loaded;
    bool serves_all; /* that came through */
    uint8_t *wanted; /* NULL: all traces */
    struct frame_vector vector;
};
struct eval_column { /* a label of every set */
    struct fm_slice name;
    struct traceql_value *values;
    const struct eval_column *older;
};
struct eval_state {
    uint8_t *mask;
    uint32_t *set_of;    /* per span; NULL: sets are traces */
    uint32_t *set_trace; /* per set, ascending; NULL likewise */
    uint32_t set_count;
    const struct eval_column *newest;
    uint32_t column_count;
};
struct eval_mask_link { /* in the room of a mask that is not in use */
    struct eval_mask_link *next;
};
struct eval_run {
    const struct eval_plan *plan;
    struct frame_source *source; /* borrowed */
    struct frame_gate gate;      /* the source's, while it is read */
    struct eval_limits limits;
    struct fm_arena arena; /* of the present frame */
    struct frame frame;
    struct eval_slot *slots;
    uint32_t *span_traces;          /* per span; NULL: not yet */
    uint8_t *partial;               /* per trace; NULL: none is */
    size_t excluded_at, partial_at; /* where the last frame ended in these lists */

    struct eval_mask_link *spare_masks;
    struct eval_state state;
    struct eval_set *sets;
    uint32_t set_count;
    struct eval_truth *truths;       /* owned */
    struct regex_matcher **matchers; /* owned; each made when it is needed */
    size_t held_bytes;
    uint32_t start_field, trace_start_field, trace_duration_field; /* of the window */
    /* Traces that start before it are not looked at, unless keeps says so: a full search. */
    uint64_t floor_ns;
    bool (*keeps)(void *self, const struct trace_id *id);
    void *keeps_self;
    int rc; /* of the last allocation that failed */
};
/* Of the frame; NULL: run->rc says why. */
void *run_alloc(struct eval_run *run, size_t count, size_t size);
uint8_t *run_mask_take(struct eval_run *run);
void run_mask_give(struct eval_run *run, uint8_t *mask);
uint32_t *run_span_traces(struct eval_run *run);
bool run_any(const struct eval_run *run, const uint8_t *mask);
/* Which traces have a span in mask; *ret_wanted NULL: all.  FM_NONE: no trace. */
FM_MUST int run_wanted(struct eval_run *run, const uint8_t *mask, const uint8_t **ret_wanted);
FM_MUST int run_load(struct eval_run *run, uint32_t field, const uint8_t *wanted,
                     const struct frame_vector **ret_vector, struct fm_why *why);
FM_MUST int run_load_ref(struct eval_run *run, const struct eval_ref *ref, const uint8_t *wanted,
                         struct fm_why *why);
FM_MUST int run_matcher(struct eval_run *run, uint32_t regex, struct regex_matcher **ret_matcher);
/* Grows an owned array within the limit of memory. */
FM_MUST int run_grow(struct eval_run *run, uint8_t **array, uint32_t *cap, uint32_t count);
/* Of a loaded vector. */
struct traceql_value run_entry_value(const struct eval_run *run, uint32_t field, uint32_t entry);
/* Of a span; events and links: the given one of the frame, EVAL_NONE: the span's first. */
struct traceql_value run_ref_value(struct eval_run *run, const struct eval_ref *ref, uint32_t span,
                                   uint32_t event, uint32_t link);
/* A vector's numbers, whatever its shape: 0 where it is not a number. */
FM_MUST int run_integers(struct eval_run *run, const struct frame_vector *vector,
                         const int64_t **ret_integers);
/* Which field of the plan; EVAL_NONE. */
uint32_t plan_find(const struct eval_plan *plan, const struct traceql_field *field);

/* ---- the parts of a run ---- */

/* Narrows mask to the spans for which node holds. */
FM_MUST int filter_run(struct eval_run *run, const struct eval_node *node, uint8_t *mask,
                       struct fm_why *why);
/* Narrows mask by one test; not of events and links. */
FM_MUST int test_run(struct eval_run *run, const struct eval_node *node, uint8_t *mask,
                     struct fm_why *why);
/* Narrows bytes, one for each event or link, by one test. */
FM_MUST int test_run_some(struct eval_run *run, const struct eval_node *node, const uint8_t *wanted,
                          uint8_t *bytes, struct fm_why *why);
bool test_holds(const struct eval_test *test, enum traceql_intrinsic intrinsic,
                const struct traceql_value *stored, struct regex_matcher *matcher);
/* Whether one of the node's tests holds. */
FM_MUST int test_value(struct eval_run *run, const struct eval_node *node,
                       const struct traceql_value *value, uint8_t *ret_holds);
/* frame_gate.enter: whether the rows ahead can hold anything that the first filter passes. */
FM_MUST int gate_enter(struct frame_gate *gate, struct frame_source *source, struct fm_why *why);
FM_MUST int walk_load(struct eval_run *run, const struct eval_walk *walk, const uint8_t *wanted,
                      struct fm_why *why);
struct eval_place { /* where a walk stands */
    uint32_t span, event, link;
};
FM_MUST int walk_value(struct eval_run *run, const struct eval_walk *walk, struct eval_place place,
                       struct traceql_value *ret_value, struct fm_why *why);
FM_MUST int stage_run(struct eval_run *run, const struct eval_stage *stage,
                      struct eval_state *state, struct fm_why *why);
FM_MUST int group_run(struct eval_run *run, const struct eval_stage *stage,
                      struct eval_state *state, struct fm_why *why);
FM_MUST int scalar_run(struct eval_run *run, const struct eval_stage *stage,
                       struct eval_state *state, struct fm_why *why);
/* Spans of each set in mask, ascending: starts[set] .. starts[set + 1] of spans. */
FM_MUST int state_lists(struct eval_run *run, const struct eval_state *state, const uint8_t *mask,
                        uint32_t **ret_starts, uint32_t **ret_spans);

struct relate {
    const int64_t *left, *right, *parent; /* nested set numbers by span */
    enum traceql_op op;                   /* CHILD to SIBLING */
    enum traceql_relation relation;
    int64_t *numbers; /* scratch */
    uint32_t count_max;
    int32_t *at;
    int64_t positions_max;
};
/* Spans (of one set) of b that relate to one of a, into out; b and a are masks.  For UNION also the
 * spans of a that take part. */
FM_MUST int relate_spans(struct eval_run *run, struct relate *relate, const uint32_t *spans,
                         uint32_t count, const uint8_t *a, const uint8_t *b, uint8_t *out);

/* ---- what a search keeps ---- */

/* A trace in one allocation, details and all; free() ends it. */
FM_MUST int found_copy(const struct eval_trace *trace, struct eval_trace **ret_copy,
                       size_t *ret_bytes);
/* Details of traces of the present frame, in the run's arena. */
struct found_fields {
    uint32_t trace_start, trace_duration, root_name, root_service, service, status, span_id, start,
        duration, name;
};
FM_MUST int found_want(struct eval_plan *plan, struct found_fields *ret_fields);
FM_MUST int found_load(struct eval_run *run, const struct found_fields *fields,
                       const uint8_t *wanted, struct fm_why *why);
FM_MUST int found_trace(struct eval_run *run, const struct found_fields *fields, uint32_t trace,
                        const struct eval_set *sets, uint32_t set_count, uint32_t spss,
                        struct eval_trace *ret_trace);
/* Joins what two sources said of one trace; the result borrows from both and from arena. */
FM_MUST int found_join(const struct eval_trace *a, const struct eval_trace *b,
                       struct fm_arena *arena, struct eval_trace *ret_joined);

#endif
