/* SPDX-License-Identifier: Apache-2.0 */
/* eval - what a TraceQL query means: a plan of the fields it needs, its run over the frames of a
 * source, and what a search collects from it.  Pure; semantics in docs/traceql.md.
 *
 *   plan -> run over each source -> search (or series.h) -> merge -> answer.h
 */
#ifndef FERMATA_EVAL_H
#define FERMATA_EVAL_H

#include <stdatomic.h>

#include "fermata/frame.h"
#include "fermata/traceql.h"

/* ---- plan ---- */

/* Immutable once run; shared by threads.  Borrows the query, which traceql_check has passed.  What
 * the window needs is in the list of fields from the beginning. */
struct eval_plan;
FM_MUST int eval_plan_new(struct eval_plan **ret_plan, const struct traceql_query *query,
                          struct fm_why *why);
struct eval_plan *eval_plan_free(struct eval_plan *plan);
FM_DEFINE_AUTO(eval_plan)
/* Index of a scoped field or intrinsic in the plan's list, added if it is not there.  Not after the
 * first run.  FM_ELIMIT: more than EVAL_FIELDS_MAX.  Of .x both span.x, whose index it is, and
 * resource.x are added. */
#define EVAL_FIELDS_MAX 512
FM_MUST int eval_plan_want(struct eval_plan *plan, const struct traceql_field *field,
                           uint32_t *ret_index);
/* What sources are opened with. */
const struct traceql_field *eval_plan_fields(const struct eval_plan *plan, uint32_t *ret_count);
const uint8_t *eval_plan_types(const struct eval_plan *plan); /* as in frame_request */

/* ---- run: one plan over one source ---- */

struct eval_limits {
    uint64_t start_ns, end_ns; /* Unix time, both ends included; end 0: no end */
    bool by_span;              /* the window is of span starts (metrics), else of traces (search) */
    size_t memory_max;         /* of a run and of what is collected: FM_ELIMIT */
    const atomic_bool *cancelled; /* NULL, or: looked at between frames; FM_ECANCELLED */
    /* Sorted; traces that another source answers for. */
    const struct trace_id *excluded;
    size_t excluded_count;
    /* Sorted; traces of which other sources have spans, too: of those no window is asked (it is of
     * the whole), and a search that would take one names it as a candidate instead. */
    const struct trace_id *partial;
    size_t partial_count;
    bool only_partial; /* nothing else is looked at */
};
/* One group of spans that came through the pipeline, of one trace. */
struct eval_label { /* by(x), count(), ... */
    struct fm_slice name;
    struct traceql_value value;
};
struct eval_set {
    uint32_t trace;        /* of the frame */
    const uint32_t *spans; /* of the frame, ascending */
    uint32_t span_count;
    const struct eval_label *labels;
    uint32_t label_count;
};
struct eval_run;
FM_MUST int eval_run_new(struct eval_run **ret_run, const struct eval_plan *plan,
                         struct frame_source *source, const struct eval_limits *limits);
struct eval_run *eval_run_free(struct eval_run *run);
FM_DEFINE_AUTO(eval_run)
/* The next frame with a survivor; FM_END after the last.  ret_mask: one byte per span of the frame,
 * not 0: it came through.  With by_span, spans outside the window do not.
 * FM_EMALFORMED: a failure of the query's own at run time ("division by zero"). */
FM_MUST int eval_run_next(struct eval_run *run, const struct frame **ret_frame,
                          const uint8_t **ret_mask, struct fm_why *why);
/* The sets of the present frame, by trace; a query without by() has one per trace. */
FM_MUST int eval_run_sets(struct eval_run *run, const struct eval_set **ret_sets,
                          uint32_t *ret_count, struct fm_why *why);
/* The vector of a field of the plan in the present frame, kept until the next. */
FM_MUST int eval_run_vector(struct eval_run *run, uint32_t field,
                            const struct frame_vector **ret_vector, struct fm_why *why);
/* Value of any field (also TRACEQL_ANY_SCOPE, event and link: the first) for a span that came
 * through.  FM_EUSAGE: the plan does not have it. */
FM_MUST int eval_run_value(struct eval_run *run, const struct traceql_field *field, uint32_t span,
                           struct traceql_value *ret_value, struct fm_why *why);

/* ---- traces in parts ---- */

/* Each span is judged by itself: parts of a trace answer as well as the whole. */
bool eval_is_local(const struct traceql_query *query);
/* A local query, in arena, that some part of a trace passes if the whole passes query. */
FM_MUST int eval_weaken(const struct traceql_query *query, struct fm_arena *arena,
                        struct traceql_query **ret_weak);

/* ---- search ---- */

struct eval_attribute {
    struct fm_slice name; /* as the API shows it: without scope */
    struct traceql_value value;
};
struct eval_span {
    uint8_t id[8];
    uint64_t start_ns, duration_ns;
    struct fm_slice name;
    bool shows_name; /* select(name), or name was in the query */
    struct eval_attribute *attributes;
    uint32_t attribute_count;
};
struct eval_spanset {
    struct eval_span *spans; /* at most spss */
    uint32_t span_count, matched;
    struct eval_label *labels;
    uint32_t label_count;
};
struct eval_service {
    struct fm_slice name;
    uint32_t span_count, error_count;
};
struct eval_trace {
    struct trace_id id;
    struct fm_slice root_service, root_name; /* empty: the root has not come */
    uint64_t start_ns, duration_ns;
    struct eval_spanset *sets;
    uint32_t set_count;
    struct eval_service *services;
    uint32_t service_count;
};
struct eval_search_options {
    uint32_t limit; /* traces */
    uint32_t spss;  /* spans per set */
};
struct eval_search;
/* The first search of a plan adds fields to it: sources are opened after that, and before other
 * threads use the plan.  Two searches may share it then. */
FM_MUST int eval_search_new(struct eval_search **ret_search, struct eval_plan *plan,
                            const struct eval_limits *limits,
                            const struct eval_search_options *options);
struct eval_search *eval_search_free(struct eval_search *search);
FM_DEFINE_AUTO(eval_search)
/* Runs over a source to its end, keeping the newest limit traces. */
FM_MUST int eval_search_add(struct eval_search *search, struct frame_source *source,
                            struct fm_why *why);
/* The oldest start that could still enter: sources wholly before it need not be added.  0: any. */
uint64_t eval_search_floor_ns(const struct eval_search *search);
/* Another search has enough traces that are newer. */
void eval_search_raise_floor(struct eval_search *search, uint64_t floor_ns);
/* Partial traces that may be found once they are whole, perhaps repeated; those below the floor are
 * left out.  Borrowed until the next call that changes search. */
struct eval_candidate {
    struct trace_id id;
    uint64_t start_ns; /* the whole starts then or before */
};
const struct eval_candidate *eval_search_candidates(const struct eval_search *search,
                                                    size_t *ret_count);
FM_MUST int eval_search_merge(struct eval_search *search, const struct eval_search *other);
/* Newest first; borrowed until the next call that changes search. */
const struct eval_trace *eval_search_traces(struct eval_search *search, uint32_t *ret_count);

/* ---- values of a field, names of attributes: for auto-completion ---- */

/* Calls visit with the values of field (scoped or not) on spans that come through the plan; of all
 * spans if plan's query is {} (then without a pass over spans where the source can).  Values may be
 * repeated.  The field is in the plan (eval_plan_want) since before source was opened: else
 * FM_EUSAGE.  A non-zero result of visit ends it and is returned. */
FM_MUST int eval_values(struct eval_plan *plan, const struct traceql_field *field,
                        struct frame_source *source, const struct eval_limits *limits,
                        frame_visit_value *visit, void *self, struct fm_why *why);

#endif
