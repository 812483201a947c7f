/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of ask share. */
#ifndef ASK_INTERNAL_H
#define ASK_INTERNAL_H

#include "fermata/ask.h"

#define ASK_SCOPES 5u /* of attributes; the intrinsic one needs no looking */
extern const struct ask_scope_row {
    enum traceql_scope scope;
    const char *name;
} ask_scope_rows[ASK_SCOPES];

struct ask {
    struct fm_arena arena; /* the tree and the texts */
    enum ask_kind kind;
    struct traceql_query *query;
    struct traceql_query *weak; /* what a part of a trace has to pass; NULL: query is local */
    bool has_filter; /* names, values: not of all spans */
    struct traceql_field field;
    uint8_t scopes; /* bit i: ask_scope_rows[i] is asked for */
    bool wants_intrinsics;
    uint64_t start_ns, end_ns;
    uint32_t limit;
    struct eval_search_options search;
    struct series_options series;
};

/* ---- set.c ---- */

/* Distinct values within bounds, in the order they came. */
struct ask_set {
    struct fm_arena arena;        /* of texts */
    struct traceql_value *values; /* owned */
    uint32_t *slots;              /* owned; index + 1, 0: free */
    uint32_t count, capacity, slot_count;
    uint32_t count_max;
    size_t text_bytes;
    bool is_full;
};
void ask_set_init(struct ask_set *set, uint32_t count_max);
void ask_set_fini(struct ask_set *set);
/* FM_NONE: it is full, nothing more is taken. */
FM_MUST int ask_set_add(struct ask_set *set, const struct traceql_value *value);
bool ask_set_has(const struct ask_set *set, const struct traceql_value *value);
void ask_set_sort(struct ask_set *set); /* for reading; adding goes on to work */

/* ---- list.c ---- */

FM_MUST int ask_list_new(struct ask_list **ret_list, const struct ask_set sets[ASK_SCOPES]);
FM_MUST int ask_list_add(const struct ask_list *list, struct ask_set sets[ASK_SCOPES]);

/* ---- names.c ---- */

/* One set per scope of the names in a source; with a filter only of spans that come through. */
struct ask_part;
typedef int ask_open(void *self, const struct frame_request *request,
                     struct frame_source **ret_source, struct fm_why *why);
FM_MUST int ask_names_add(const struct ask *ask, const struct eval_limits *limits, ask_open *open,
                          void *self, struct ask_set sets[ASK_SCOPES], struct frame_stats *stats,
                          struct fm_why *why);

static inline void ask_stats_add(struct frame_stats *stats, const struct frame_stats *other)
{
    stats->inspected_bytes += other->inspected_bytes;
    stats->inspected_traces += other->inspected_traces;
    stats->inspected_spans += other->inspected_spans;
}

#endif
