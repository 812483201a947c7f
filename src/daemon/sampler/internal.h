/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of sample share.
 *
 *   sampler.c  the machines: which block is next, what becomes of it
 *   judge.c    the job that decides about a block
 *   join.c     traces that have parts elsewhere, as a whole
 *   survey.c   what is known of the traces of a source, column by column
 *   build.c    what leaves of a block, for its outgoing group
 *   recall.c   the job that remembers verdicts after a start
 *   urgent.c   traces that leave before their blocks are sealed: a machine and its job
 *   status.c   status and metrics
 *
 * A job owns what it was handed, and rates and verdicts beside it, until its done() ran; there is
 * one at a time.
 */
#ifndef SAMPLE_INTERNAL_H
#define SAMPLE_INTERNAL_H

#include "fermata/ask.h"
#include "fermata/block_frames.h"
#include "fermata/block_traces.h"
#include "fermata/eval.h"
#include "fermata/hash.h"
#include "fermata/sampler.h"
#include "fermata/store_decide.h"
#include "fermata/store_outbox.h"
#include "fermata/store_read.h"
#include "fermata/traceql.h"
#include "fermata/units.h"

#define LEAVES_BYTES_MAX FM_MIB(16)
#define SPARSE_SHARE     32u /* fewer than 1 / 32 of a block's traces: read each by itself */

/* ---- survey.c: any thread ---- */

struct leaves { /* compiled; constant */
    struct fm_arena arena;
    struct fm_slice texts[SAMPLE_LEAVES_MAX];
    struct eval_plan *plans[SAMPLE_LEAVES_MAX]; /* owned */
    size_t count;
    unsigned parts; /* of a trace that they look at: enum block_traces_part */
};
/* rules NULL: there are none. */
FM_MUST int leaves_init(struct leaves *leaves, const struct sample_rules *rules,
                        struct fm_why *why);
void leaves_fini(struct leaves *leaves);

struct survey_trace {
    uint64_t span_count, start_ns, end_ns;
    uint64_t leaves;
};
struct survey {
    const struct trace_id *ids; /* borrowed; sorted, distinct */
    size_t count;
    struct survey_trace *traces; /* owned; one for each id */
};
FM_MUST int survey_init(struct survey *survey, const struct trace_id *ids, size_t count);
void survey_fini(struct survey *survey);

struct survey_place { /* what is surveyed: a block, or rows */
    int (*open)(const struct survey_place *place, const struct frame_request *request,
                struct frame_source **ret_source, struct fm_why *why);
    const struct block *block;
    const struct frame_rows *rows;
    size_t memory_max;
    const atomic_bool *cancelled;
};
/* leaves NULL: the facts alone. */
FM_MUST int survey_run(struct survey *survey, const struct survey_place *place,
                       const struct leaves *leaves, struct fm_why *why);

/* ---- judge.c ---- */

struct judging { /* of one block */
    struct pf_job job;
    struct sampler *sampler;
    struct store_snapshot *snapshot; /* owned */
    size_t block;                    /* of the snapshot */
    /* the job's */
    struct store_opened opened;
    struct ask_ids *ids; /* owned; its traces, by row */
    uint8_t *verdicts;   /* owned; by row: what was known before (enum sample_verdict) */
    size_t unknown_count;
    struct survey survey;
    struct trace_id *shared_ids; /* owned; of traces that have parts elsewhere */
    size_t shared_count;
    struct survey shared; /* of these as a whole */
    struct ahead *ahead;  /* owned; sorted */
    size_t ahead_count;
    /* results */
    struct store_decision *decision; /* owned */
    uint64_t joined_traces;
    int rc;
    struct fm_why why;
};
void judge_work(struct pf_job *job);
/* Cannot be judged: all of it leaves. */
FM_MUST int judge_whole(const struct store_block *block, uint64_t unix_ns,
                        struct store_decision **ret_decision);
static inline const struct store_block *judging_block(const struct judging *judging)
{
    return store_snapshot_block(judging->snapshot, judging->block);
}
bool judge_rc_is_damage(int rc);
int judge_open_place(const struct survey_place *place, const struct frame_request *request,
                     struct frame_source **ret_source, struct fm_why *why);
/* Of a trace (trace_id_key) in a tenant, as verdicts are remembered by. */
uint64_t verdict_key(const char *tenant, uint64_t trace_key);

/* join.c: finds what is shared with others and fills judging->shared. */
FM_MUST int judge_join(struct judging *judging, struct fm_why *why);

/* ---- build.c ---- */

struct block_file { /* a block, opened by a job for itself */
    struct pf_source file;
    struct block *block; /* owned */
};
FM_MUST int block_file_open(struct block_file *opened, struct platform *platform,
                            const struct store_block *block, struct fm_why *why);
void block_file_close(struct block_file *opened);

struct build { /* of what leaves of one block */
    struct store_outgoing outgoing;
    struct platform *platform;
    struct store_block *block; /* borrowed */
    bool skips_unreadable;     /* it was tried often enough */
    /* the job's */
    bool is_open;
    struct block_file opened;
    struct block_traces *traces;     /* owned */
    struct store_decision *decision; /* owned */
    uint64_t lost_traces;
};
void build_start(struct build *build, struct store *store, struct store_block *block,
                 void (*done)(struct store_outgoing *outgoing, int rc));
void build_fini(struct build *build);

/* ---- recall.c ---- */

struct recalling { /* of the verdicts of one block */
    struct pf_job job;
    struct sampler *sampler;
    const struct store_block *block; /* borrowed */
    int rc;
    struct fm_why why;
};
void recall_work(struct pf_job *job);

/* ---- urgent.c ---- */

#define URGENT_AHEAD_MAX 16384u

/* A trace whose spans up to last_lsn have left. */
struct ahead {
    uint64_t key;                 /* verdict_key */
    uint64_t first_lsn, last_lsn; /* of the log, when they did */
    uint64_t span_count;          /* of these in the log then; UINT64_MAX: not known */
    uint8_t group[16];            /* of the outbox, with which they did */
};
/* With what all that a block has of the trace has left, or NULL.  entries: sorted. */
const struct ahead *ahead_find(const struct ahead *entries, size_t count, uint64_t key,
                               const struct store_block *block, uint64_t span_count);
int ahead_compare(const void *a, const void *b);

struct urgent_trace {
    struct trace_id id;
    uint64_t span_count;
};
struct urgent_tenant {
    char name[TENANT_LEN_MAX + 1];
    uint64_t next_lsn; /* records before it were looked at */
};
struct urgent {
    struct sample_rules *rules; /* owned; NULL: nothing is urgent */
    struct sample_state *state; /* owned */
    struct leaves leaves;
    uint64_t due_ns;
    size_t next_tenant; /* of the store; of this round */
    bool is_round;
    struct urgent_tenant *tenants; /* owned */
    size_t tenant_count;
    struct ahead *ring; /* owned; URGENT_AHEAD_MAX; NULL: nothing has left ahead */
    size_t ring_count, ring_at;
    /* a look at one tenant */
    struct pf_job job;
    struct urgent_tenant *tenant;
    struct store_snapshot *snapshot; /* owned */
    uint64_t first_lsn, last_lsn;    /* of its head, */
    bool has_records;                /* if it has any */
    struct fm_buf found;             /* struct urgent_trace */
    int rc;
    struct fm_why why;
    struct store_outgoing outgoing;
    struct store_ahead ahead; /* of it; traces owned */
    size_t next_trace;        /* to go into it */
};
struct sampler;
FM_MUST int urgent_init(struct sampler *sampler, struct fm_why *why);
void urgent_fini(struct urgent *urgent);
/* From IDLE: begins a look if one is due; else when, by *wake_ns. */
void urgent_step(struct sampler *sampler, uint64_t now_ns, uint64_t *wake_ns);

/* ---- the sampler ---- */

enum sampler_state {
    SAMPLER_IDLE,
    SAMPLER_RECALLING,
    SAMPLER_JUDGING,
    SAMPLER_DECIDING,
    SAMPLER_LOOKING,
    SAMPLER_SENDING
};
enum builder_state { BUILDER_IDLE, BUILDER_BUILDING };

struct sampling {              /* a block that is not done with */
    struct fm_link link;       /* sampler->recalls, waiting or unbuilt */
    struct store_block *block; /* with a reference */
    uint64_t due_ns;           /* as pf_boot_ns counts */
    unsigned failures;         /* in a row */
    bool is_dropped;           /* the store wants it gone; let go of it when its job is over */
    struct store_decision *decision; /* owned; made, not on disk yet */
};

/* What decides beside the rules; labels. */
enum sampler_reason {
    SAMPLER_DEFAULT,
    SAMPLER_LATE,
    SAMPLER_UNREADABLE,
    SAMPLER_AHEAD,
    SAMPLER_REASON_COUNT
};

struct sampler_count { /* of a rule or a reason; spans */
    metric kept, dropped;
};

struct sampler {
    struct fm_sm sm, builder;
    struct platform *platform; /* borrowed */
    struct store *store;       /* borrowed */
    struct sampler_options options;
    struct sample_rules *rules; /* owned; NULL: nothing is decided */
    struct leaves leaves;
    struct sample_state *state;   /* owned; a job's */
    struct sample_memory *memory; /* owned; a job's */
    struct sample_memory_stats memory_stats;
    struct fm_link recalls, waiting, unbuilt; /* struct sampling */
    struct sampling *active;                  /* owned; in no list; of the machine */
    struct sampling *built;                   /* likewise; of the builder */
    struct judging judging;
    struct recalling recalling;
    struct build build;
    struct urgent urgent;
    struct pf_timer timer;
    bool has_bounded; /* what is recalled */
    atomic_bool is_cancelled;
    bool is_closing;
    void (*done)(void *self);
    void *self;
    /* numbers */
    struct sampler_count *counts; /* owned; of rules, then of reasons */
    size_t count_count;
    metric decided_blocks, kept_spans, dropped_spans, ahead_spans, joined_traces, lost_traces,
        failures, urgent_traces, urgent_spans;
    struct metric_histogram judge_seconds;
    uint64_t begun_ns; /* judging */
    char problem[256];
};
void sampler_step(struct sampler *sampler);
const char *sampler_count_name(const struct sampler *sampler, size_t index);

#endif
