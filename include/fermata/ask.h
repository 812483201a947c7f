/* SPDX-License-Identifier: Apache-2.0 */
/* ask - one question put to any number of places (blocks, rows): search, metrics, names, values.
 * Pure: the daemon's jobs and the command line are two drivers of this one engine.
 *
 *   ask_new (parse, check) -> per place: ask_part_new -> ask_part_add_* -> ask_part_merge into one
 *                          -> ask_part_found -> answer.h
 *
 * A trace that lies in several places would be judged by halves.  Whoever knows the places
 * (ask_ids_*) tells each part which traces are partial.  A part then says which of them are
 * candidates; these, and no others, are joined in rows and added to a part of their own.
 */
#ifndef FERMATA_ASK_H
#define FERMATA_ASK_H

#include "fermata/answer.h"
#include "fermata/block.h"

enum ask_kind { ASK_SEARCH, ASK_TAG_NAMES, ASK_TAG_VALUES, ASK_METRICS };

#define ASK_LIMIT_DEFAULT   20u      /* traces */
#define ASK_SPSS_DEFAULT    3u       /* spans of a set */
#define ASK_NAMES_MAX       100000u  /* names or values of an answer ... */
#define ASK_NAMES_BYTES_MAX 1000000u /* ... and their bytes; what is more is left out */

struct ask_question {
    enum ask_kind kind;
    struct fm_slice text;       /* TraceQL; names and values: a filter, perhaps half typed, or "" */
    struct traceql_field field; /* TAG_VALUES; may be unscoped */
    const char *scope;          /* TAG_NAMES: "span", ..., "intrinsic"; NULL or "none": all */
    uint64_t start_ns, end_ns;  /* Unix time, both included; 0, 0: no bounds */
    uint32_t limit, spss;       /* 0: the default of the kind */
    struct series_options series; /* METRICS; its window is start_ns, end_ns */
};

/* A question understood: immutable, shared by threads.  Copies what it needs. */
struct ask;
/* FM_EMALFORMED: not a question, why is for the user, *ret_is_text (may be NULL) whether it is the
 * TraceQL that is wrong, not the range or the step; FM_ELIMIT: too long or too deep. */
FM_MUST int ask_new(struct ask **ret_ask, const struct ask_question *question, bool *ret_is_text,
                    struct fm_why *why);
struct ask *ask_free(struct ask *ask);
FM_DEFINE_AUTO(ask)
enum ask_kind ask_kind(const struct ask *ask);
/* Places wholly outside need not be looked at. */
void ask_window(const struct ask *ask, uint64_t *ret_start_ns, uint64_t *ret_end_ns);
/* False: halves of a trace answer as well as the whole.  (A span that was sent twice and lies in
 * two places is then two.) */
bool ask_joins(const struct ask *ask);

struct ask_limits {
    size_t memory_max;               /* of a part: what it collects and the one source it reads */
    const atomic_bool *cancelled;    /* NULL, or looked at between frames: FM_ECANCELLED */
    const struct trace_id *excluded; /* sorted, borrowed for the part's life */
    size_t excluded_count;
    const struct trace_id *partial; /* likewise: other places have spans of them, too */
    size_t partial_count;
    uint64_t floor_ns;       /* 0, or: traces that end before it cannot enter (ask_part_floor_ns) */
    struct block_keep *keep; /* NULL, or what was decoded of blocks before; borrowed likewise */
    bool for_list;           /* collects more than the question's limit: all that a list may have */
};
struct ask_part; /* what some places say; one thread at a time */
FM_MUST int ask_part_new(struct ask_part **ret_part, const struct ask *ask,
                         const struct ask_limits *limits, struct fm_why *why);
struct ask_part *ask_part_free(struct ask_part *part);
FM_DEFINE_AUTO(ask_part)
/* FM_EMALFORMED: the question fails on what it meets ("division by zero"); FM_ECORRUPT, FM_EIO:
 * the place cannot be read, the part may hold some of it; FM_ELIMIT; FM_ECANCELLED. */
FM_MUST int ask_part_add_block(struct ask_part *part, const struct block *block,
                               struct fm_why *why);
/* Of the block's rows one of count shares (block_frames.h: block_share); not of names and values,
 * which are of the block.  Parts that have all shares between them are one that has the block. */
FM_MUST int ask_part_add_share(struct ask_part *part, const struct block *block, uint32_t share,
                               uint32_t count, struct fm_why *why);
FM_MUST int ask_part_add_rows(struct ask_part *part, const struct frame_rows *rows,
                              struct fm_why *why);
/* other: of the same ask; not added to any more. */
FM_MUST int ask_part_merge(struct ask_part *part, const struct ask_part *other);
/* The oldest start of a trace that could still enter; 0: any. */
uint64_t ask_part_floor_ns(const struct ask_part *part);
/* Nothing more can change the answer: as many names as asked for. */
bool ask_part_is_full(const struct ask_part *part);
const struct frame_stats *ask_part_stats(const struct ask_part *part);
/* Partial traces to be joined, perhaps repeated; of those that start below the floor none needs to
 * be.  Borrowed until the next call that changes part. */
const struct eval_candidate *ask_part_candidates(const struct ask_part *part, size_t *ret_count);

struct ask_found {                     /* which members are set follows from the kind */
    const struct eval_trace *traces;   /* newest first */
    const struct answer_scope *scopes; /* sorted */
    const struct traceql_value *values;
    uint32_t count; /* of traces, scopes or values */
    const struct series_result *series;
};
/* Of a trace that is to be joined: what the question looks at (enum block_traces_part). */
unsigned ask_part_parts(const struct ask_part *part);
/* Whether it looks at attributes of that name. */
bool ask_part_wants(const struct ask_part *part, struct fm_slice name);
/* What was found so far.  Borrowed until the next call on part. */
FM_MUST int ask_part_found(struct ask_part *part, struct ask_found *ret_found, struct fm_why *why);

/* ---- names and values that a block says without a filter: as unchanging as the block ---- */

/* Appends to key what a list is an answer to, the block left aside; whatever the window and the
 * limit.  FM_NONE: not such a question. */
FM_MUST int ask_list_key(const struct ask *ask, struct fm_buf *key);
struct ask_list; /* immutable; free() frees it */
size_t ask_list_bytes(const struct ask_list *list);
/* Of a part for_list, to which one block was added. */
FM_MUST int ask_part_list(const struct ask_part *part, struct ask_list **ret_list);
/* In place of adding the block. */
FM_MUST int ask_part_add_list(struct ask_part *part, const struct ask_list *list);

/* ---- traces that lie in several places ---- */

struct ask_ids { /* sorted, distinct */
    size_t count;
    struct trace_id ids[];
};
/* Of a block; owned by the caller, free() frees it.  FM_ELIMIT: more than bytes_max. */
FM_MUST int ask_ids_of_block(const struct block *block, size_t bytes_max, struct ask_ids **ret_ids,
                             struct fm_why *why);
/* Those that are in both. */
FM_MUST int ask_ids_shared(const struct ask_ids *a, const struct ask_ids *b,
                           struct ask_ids **ret_ids);
bool ask_ids_has(const struct trace_id *ids, size_t count, const struct trace_id *id);
/* How many of them lie before id. */
size_t ask_ids_before(const struct trace_id *ids, size_t count, const struct trace_id *id);
/* Sorts and drops repeats; returns how many are left. */
size_t ask_ids_sort(struct trace_id *ids, size_t count);

#endif
