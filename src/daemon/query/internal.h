/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of query share.
 *
 *   query.c      engine, trace by id, metrics
 *   ask.c        questions over many traces: the machine on the loop
 *   ask_give.c   which place or share of one is read next, and what is dropped
 *   ask_place.c  its jobs: one place (the head or a block) or a share of it each
 *   ask_share.c  which traces lie in several places, and the pieces of those that may matter
 *   ask_end.c    its jobs: merging, traces that lie in several places, the answer
 *   bucket.c     blocks of the bucket as places
 *   block_cache.c  ids of blocks, what blocks share, their names and values, between questions
 *   list_cache.c   the part of it that answers for names and values
 *   vector_cache.c  what was decoded of blocks, between questions
 */
#ifndef QUERY_INTERNAL_H
#define QUERY_INTERNAL_H

#include "fermata/ask.h"
#include "fermata/bucket_read.h"
#include "fermata/hash.h"
#include "fermata/query_ask.h"
#include "fermata/store_read.h"
#include "fermata/units.h"
#include "vector_cache.h"

#define QUERY_QUEUE_PER_SLOT 16u
#define QUERY_THREADS_MAX    16u

/* ---- block_cache.c: on the loop; entries are immutable, jobs read what a reference holds ---- */

struct cache_key {
    const struct block_id *a, *b; /* b: NULL, or what is said of both, in any order */
    struct fm_slice what;
};
struct cache_entry {
    struct fm_link chain; /* of its hash */
    struct fm_link line;  /* least recently used first */
    struct block_id a, b; /* b all zeros: of a alone */
    uint32_t refs;        /* users; the cache has none */
    bool is_kept;
    size_t held_bytes;
    union { /* owned; one piece of memory */
        void *held;
        struct ask_ids *ids;
        struct ask_list *list;
    };
    size_t what_len;
    uint8_t what[];
};
#define BLOCK_CACHE_CHAINS 1024u
struct block_cache {
    struct fm_link chains[BLOCK_CACHE_CHAINS];
    struct fm_link line;
    size_t bytes, bytes_max;
    uint64_t seed;
    metric hits, misses, evictions;
};
void block_cache_init(struct block_cache *cache, size_t bytes_max, uint64_t seed);
void block_cache_fini(struct block_cache *cache);
/* With a reference, or NULL. */
struct cache_entry *block_cache_find(struct block_cache *cache, const struct cache_key *key);
/* In a job: of what is held, taken over; with a reference.  NULL: no memory. */
struct cache_entry *cache_entry_new(const struct cache_key *key, void *held, size_t held_bytes);
/* Gives the reference back; an entry that the cache has not got is put there. */
void block_cache_release(struct block_cache *cache, struct cache_entry *entry);
/* The block is gone.  What a question under way still finds out of it ages like the rest. */
void block_cache_forget(struct block_cache *cache, const struct block_id *id);

/* ---- the engine ---- */

/* What it took to ask a block something: so small a thing is not divided the next time. */
#define ASK_COSTS 512u
struct ask_cost {
    uint64_t key; /* of the block and the question */
    uint64_t ns;  /* of all threads together */
};

struct query_engine {
    struct platform *platform;
    struct store *store;
    struct query_options options;
    struct fm_link waiting; /* of traces by id */
    uint32_t waiting_count;
    uint32_t running_count;
    struct fm_link asks_waiting; /* struct query_task */
    uint32_t asks_waiting_count, asks_running_count;
    uint64_t width_ns, width_waited_ns; /* when its width was looked at last, and what it was by */
    bool gives_way;                     /* the lane has one thread for all */
    struct block_cache ids, lists;
    struct ask_cost costs[ASK_COSTS];
    struct vector_cache vectors;
    atomic_bool is_stopping;
    metric queries_total, refused_total, failed_total, inspected_bytes_total, blocks_failed_total;
    struct metric_histogram seconds;
    metric asks_total[QUERY_TRACES + 1];
    metric asks_refused, asks_wrong, asks_timeout, asks_limit, asks_cancelled, asks_failed;
    metric asks_joined, asks_parts, asks_shares, asks_dropped;
    struct metric_histogram ask_seconds;
};
void ask_put_metrics(const struct query_engine *engine, struct fm_buf *out);

/* ---- ask.c ---- */

struct query_place { /* the head or a block; newest first */
    bool is_head;
    bool is_listed;            /* a block of the bucket */
    size_t block;              /* of the snapshot, or of the bucket's list */
    uint64_t start_ns, end_ns; /* of its spans */
    bool is_asked;             /* overlaps the window, or: */
    bool is_beyond;            /* does not, but may hold parts of traces that do */
    /* the loop's */
    bool is_begun;        /* or passed over */
    bool is_open;         /* begun, and what was found in it not merged yet */
    bool is_lost;         /* could not be read */
    uint32_t share_count; /* each is a job's */
    uint32_t shares_given, shares_left;
    uint64_t took_ns; /* of those that ended */
};

struct query_piece { /* of a trace that lies in several places */
    struct trace_id id;
    uint32_t place;
};

struct query_near { /* a place that may share traces with the one a worker has */
    uint32_t place;
    struct cache_entry *ids, *shared; /* references; NULL: not known yet, or the head */
    struct ask_ids *with_head;        /* owned; what a block and the head share */
};

struct query_worker { /* one share of a place at a time; its job's between submit and done */
    struct pf_job job;
    struct query_task *task;
    bool is_running, has_result;
    bool is_alone;          /* with the memory of all threads */
    atomic_bool is_dropped; /* nobody waits for it any more */
    uint32_t place, share, share_count;
    size_t memory;
    uint64_t floor_ns, took_ns;
    struct cache_entry *ids;  /* of its own place, as query_near.ids */
    struct query_near *nears; /* owned */
    uint32_t near_count;
    /* results */
    struct ask_part *part;    /* owned; NULL: nothing to merge */
    struct cache_entry *list; /* a reference, or NULL; what part says, to be kept */
    struct fm_buf pieces;     /* struct query_piece, of candidates */
    struct trace_id *partial; /* owned; sorted */
    size_t partial_count;
    bool is_damaged; /* left out: it could not be read */
    int rc;
    struct fm_why why;
};

enum task_state {
    TASK_WAITING,
    TASK_LISTING,
    TASK_PREPARING,
    TASK_RUNNING,
    TASK_FINISHING,
    TASK_ENDED
};

struct query_task {
    struct fm_sm sm;
    struct query_engine *engine;
    struct query_ask *ask; /* the caller's */
    struct fm_link link;   /* engine->asks_waiting */
    struct pf_timer timer; /* deadline */
    struct pf_job job;     /* preparing, merging or finishing */
    bool job_runs;
    bool is_timed_out;
    struct store_snapshot *snapshot; /* owned */
    struct ask *question;            /* owned */
    struct bucket_list *listed;      /* owned; NULL: the bucket is not asked, or cannot be */
    struct bucket_budget budget;     /* of listed */
    uint64_t begin_ns, part_ns;      /* when the last part was given; 0: none */

    struct query_place *places; /* owned; constant once prepared */
    uint32_t place_count, next_place;
    uint64_t *head_keys; /* owned; sorted; of all its records */
    size_t head_key_count;
    uint64_t window_start_ns, window_end_ns;
    struct fm_buf list_key; /* what of blocks is asked for; empty: nothing that is kept */
    struct fm_buf lists;    /* struct cache_entry *; references, to be merged */

    struct query_worker workers[QUERY_THREADS_MAX];
    uint32_t worker_count;
    size_t memory_part; /* of each thread, of what was found, of the answer */

    /* the loop's */
    uint64_t floor_ns; /* no older trace can enter */
    bool is_full;
    bool is_alone;               /* something did not fit: one place at a time */
    struct query_place *sharing; /* has shares that nobody was given; NULL: none has */
    uint32_t open_count;         /* places */
    uint32_t judged_count;       /* merged ones ... */
    uint32_t found_count;        /* ... and the traces found in them */
    uint32_t lost_count;         /* that could not be read */
    uint32_t done_count;         /* that are through */
    int rc;
    struct fm_why why;

    /* the job's, between submit and done */
    struct ask_part *main;                          /* owned */
    struct fm_buf pieces;                           /* struct query_piece */
    struct query_worker *merged[QUERY_THREADS_MAX]; /* results that the job takes */
    uint32_t merged_count;
    bool wants_part;
    struct fm_buf part;
    uint64_t main_floor_ns;
    uint32_t main_found_count;
    bool main_is_full;
    struct answer_stats stats;
    uint64_t damaged_count, joined_count;
    int job_rc;
    struct fm_why job_why;
};
static inline bool task_is_cancelled(const struct query_task *task)
{
    return atomic_load(&task->ask->cancelled);
}
static inline const struct block_meta *task_meta(const struct query_task *task, uint32_t place)
{
    const struct query_place *at = &task->places[place];
    return at->is_listed ? &task->listed->blocks[at->block].meta
                         : &store_snapshot_block(task->snapshot, at->block)->meta;
}

static inline bool worker_is_cancelled(const struct query_worker *worker)
{
    return atomic_load(&worker->is_dropped);
}

/* ask.c: on the loop */
void worker_release(struct query_worker *worker); /* has no result any more */

/* ask_give.c: on the loop */

/* The next share for a worker that has nothing; false: there is none, or it has to wait. */
FM_MUST bool task_give(struct query_task *task, struct query_worker *worker);
/* Its job is done: it keeps a result, or is released. */
void task_take(struct query_task *task, struct query_worker *worker);
bool worker_is_whole(const struct query_worker *worker); /* can be merged */
void task_on_merged(struct query_task *task);

/* bucket.c: jobs */

bool bucket_rc_is_damage(int rc);
FM_MUST int task_list_bucket(struct query_task *task, struct fm_why *why);
FM_MUST int task_put_listed(struct query_task *task); /* there is room for all */
struct place_opened {                                 /* a block, wherever it is */
    const struct block *block;
    bool is_listed;
    union {
        struct store_opened local;
        struct bucket_opened remote;
    };
};
FM_MUST int place_open(struct place_opened *opened, struct query_task *task, uint32_t place,
                       struct fm_why *why);
void place_close(struct place_opened *opened, struct query_task *task);

struct trace_task { /* of one trace */
    struct query_engine *engine;
    struct query_trace *query; /* the caller's */
    struct store_snapshot *snapshot;
    struct bucket_list *listed; /* owned; NULL: the bucket is not asked, or cannot be */
    struct bucket_budget budget;
    uint32_t bucket_failed;
    struct pf_job job;
    struct fm_link link;
    uint64_t begin_ns;
    int rc;
};
FM_MUST int trace_list_bucket(struct trace_task *task, struct fm_why *why);
FM_MUST int trace_find_in_bucket(struct trace_task *task, struct trace *trace, struct fm_why *why);

/* list_cache.c */

/* On the loop, once, before workers start: takes what is kept, of places that then need not be
 * asked. */
FM_MUST int task_take_lists(struct query_task *task);
FM_MUST int task_merge_lists(struct query_task *task); /* in a job */
void task_release_lists(struct query_task *task);
/* In a job.  Making none costs the next question time, nothing else. */
bool worker_makes_list(const struct query_worker *worker);
void worker_make_list(struct query_worker *worker);

/* ask_give.c: how many threads questions have. */
void engine_set_width(struct query_engine *engine);

/* ask_share.c: jobs */

/* Whether traces of one may have spans in the other. */
bool place_is_near(const struct query_place *a, const struct query_place *b);
FM_MUST int worker_find_shared(struct query_worker *worker);
/* After its place was judged: where the pieces of its candidates are. */
FM_MUST int worker_put_pieces(struct query_worker *worker);

/* ask_place.c: jobs */
bool keys_have(const uint64_t *keys, size_t count, uint64_t key); /* sorted */
FM_MUST int task_list(struct query_task *task, struct fm_why *why);
FM_MUST int task_prepare(struct query_task *task, struct fm_why *why);
void worker_work(struct pf_job *job);

/* Rows of the head, or joined ones, evaluated in as many turns as memory demands. */
struct rows_turn { /* traces with hash & mask == value */
    uint64_t mask, value;
};
static inline bool rows_turn_has(const struct rows_turn *turn, const struct trace_id *id)
{
    uint64_t hash = trace_id_key(id->bytes) * UINT64_C(0x9e3779b97f4a7c15);
    return (hash >> 40 & turn->mask) == turn->value;
}
/* How rows and what is found in them share the memory of a place. */
#define ROWS_MEMORY(part) ((part) / 4 * 3)
#define PART_MEMORY(part) ((part) / 2) /* half of it for a source, which for rows is small */
typedef int rows_fill(void *self, struct frame_rows *rows, const struct rows_turn *turn,
                      struct fm_why *why);
FM_MUST int rows_evaluate(struct ask_part *part, size_t memory_max, rows_fill *fill, void *self,
                          struct fm_why *why);

/* ask_end.c: jobs */
FM_MUST int task_merge(struct query_task *task, struct fm_why *why);
FM_MUST int task_finish(struct query_task *task, struct fm_why *why);

#endif
