/* SPDX-License-Identifier: Apache-2.0 */
/* query - reads that take time, run as jobs over snapshots, bounded in number. */
#ifndef FERMATA_QUERY_H
#define FERMATA_QUERY_H

#include "fermata/model.h"
#include "fermata/store.h"

struct query_engine;
struct bucket_reader;
struct query_options {
    uint32_t concurrency_max; /* of each kind; more wait, a line too long is FM_EUNAVAILABLE */
    size_t trace_bytes_max;
    /* Of questions over many traces (query_ask.h); 0: a default. */
    uint32_t thread_count; /* that one of them may use; as many as the lane has */
    /* Since when anything: how long who acknowledges had to wait for a processor.  While that is a
     * part of all time, questions have one thread in all.  NULL: never. */
    uint64_t (*waited_ns)(void);
    uint64_t timeout_ns;   /* waiting included */
    size_t memory_max;     /* of each; times concurrency_max is what all of them take at most */
    uint64_t search_range_max_ns, metrics_range_max_ns;
    size_t share_bytes_min;       /* of a block that threads divide; 0: whatever pays */
    uint32_t series_max;          /* of an answer; 0: unlimited */
    size_t lists_bytes_max;       /* names and values of blocks, kept between questions; 0: none */
    size_t columns_bytes_max;     /* decoded columns of blocks, likewise */
    struct bucket_reader *bucket; /* borrowed; its blocks are asked, too; NULL: none */
    bool bucket_only;             /* and the node's own are not */
    uint64_t bucket_bytes_max;    /* fetched for one question; 0: unlimited */
};
FM_MUST int query_engine_new(struct query_engine **ret_engine, struct platform *platform,
                             struct store *store, const struct query_options *options);
/* What waits for the bucket gives up soon; what is asked from now on does not get far. */
void query_engine_stop(struct query_engine *engine);
/* All queries must be done. */
struct query_engine *query_engine_free(struct query_engine *engine);
/* For store_set_gone, self is the engine: what it keeps of a block goes with the block. */
void query_forget_block(void *self, const struct block_id *id);

struct query_trace { /* owned by the caller, in use until done */
    struct trace_id id;
    char tenant[TENANT_LEN_MAX + 1];
    enum trace_format format; /* the answer is rendered in the job */
    void (*done)(struct query_trace *query, int rc);
    void *self;

    struct fm_buf answer; /* the caller's to free */
    uint64_t span_count;
    struct store_read_stats stats;
    struct fm_why why;
};
void query_trace_start(struct query_engine *engine, struct query_trace *query);
void query_put_metrics(const struct query_engine *engine, struct fm_buf *out);

#endif
