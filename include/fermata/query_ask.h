/* SPDX-License-Identifier: Apache-2.0 */
/* query_ask - questions that look at many traces: search, names, values, metrics, whole traces.
 *
 * Each runs as jobs over a snapshot of the tenant's head and blocks (and, if asked, of a bucket),
 * within the engine's limits of time, memory and number; traces that lie in several places are put
 * together before they are judged.  The loop never waits.
 */
#ifndef FERMATA_QUERY_ASK_H
#define FERMATA_QUERY_ASK_H

#include "fermata/answer.h"
#include "fermata/query.h"

enum query_kind {
    QUERY_SEARCH,
    QUERY_TAG_NAMES,
    QUERY_TAG_VALUES,
    QUERY_METRICS,
    QUERY_TRACES, /* a search whose traces are given whole */
};
/* What the render call is given; which members are set follows from the kind.  Borrowed. */
struct query_found {
    const struct eval_trace *traces; /* SEARCH: newest first */
    struct trace *const *wholes;     /* TRACES: newest first, finished */
    uint32_t count;                  /* of traces, wholes, scopes or values */
    const struct answer_scope *scopes;
    const struct traceql_value *values;
    const struct series_result *series;
    struct answer_stats stats;
    bool is_final; /* false: what is there so far, of a search that streams */
};
struct query_ask { /* owned by the caller, in use until done */
    enum query_kind kind;
    char tenant[TENANT_LEN_MAX + 1];
    struct fm_slice text; /* TraceQL; of names and values a filter, perhaps half typed, or empty */
    struct traceql_field field; /* TAG_VALUES; may be unscoped */
    const char *scope;          /* TAG_NAMES: "span", "resource", ...; NULL: all */
    /* Unix time; 0, 0: no bounds. */
    uint64_t start_ns, end_ns;
    uint32_t limit;               /* traces, names or values; 0: the default of the kind */
    uint32_t spss;                /* 0: the default */
    struct series_options series; /* METRICS */
    bool streams;                 /* render and on_part are also called with what there is so far */

    /* In a job: writes the answer. */
    void (*render)(struct query_ask *ask, const struct query_found *found, struct fm_buf *answer);
    /* On the loop: a part was rendered; the buffer is taken over by fm_take-ing its contents. */
    void (*on_part)(struct query_ask *ask, struct fm_buf *part);
    /* On the loop, once, never from within the start.  FM_EMALFORMED: the question is wrong, why is
     * the text for the user; FM_ELIMIT: a limit of the engine; FM_ETIMEOUT; FM_ECANCELLED;
     * FM_EUNAVAILABLE: too many at once. */
    void (*done)(struct query_ask *ask, int rc);
    void *self;

    struct fm_buf answer; /* set before done; the caller's to free */
    struct fm_why why;
    /* With FM_EMALFORMED: it is the TraceQL that is wrong, not the scope, the range or the step. */
    bool is_text_wrong;
    /* The engine's. */
    atomic_bool cancelled; /* set by query_ask_cancel */
    struct query_task *task;
    struct pf_timer ending;
};
void query_ask_start(struct query_engine *engine, struct query_ask *ask);
/* The client has gone: done comes soon, with FM_ECANCELLED unless it was too late. */
void query_ask_cancel(struct query_engine *engine, struct query_ask *ask);

#endif
