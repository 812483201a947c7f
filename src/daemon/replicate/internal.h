/* SPDX-License-Identifier: Apache-2.0 */
/* What the replicator and its uploads share. */
#ifndef FERMATA_REPLICATE_INTERNAL_H
#define FERMATA_REPLICATE_INTERNAL_H

#include "fermata/pace.h"
#include "fermata/replicate.h"
#include "fermata/telemetry.h"

#define UPLOADS_MAX    16         /* at once; one of them is kept for the express lane */
#define META_BYTES_MAX FM_KIB(64) /* of meta.json, ours and the bucket's */
#define OUTCOME_COUNT  (S3_REFUSED + 1)

/* A block that is not on the bucket yet.  Lives in one list of the replicator. */
struct pending {
    struct fm_link link;
    struct store_block *block; /* counted reference */
    uint64_t ready_ns;         /* not before; monotonic */
    uint32_t attempt;          /* failures in a row */
    bool is_dropped;           /* the store wants it gone: no more attempts, no marking */
    bool is_taken;             /* its name on the bucket belongs to something else */
    bool shared_fault;         /* the last failure was the endpoint's, not this block's */
};

/* One block on its way; see upload.c for the picture. */
struct upload {
    struct replicator *replicator;
    struct pending *pending; /* NULL: idle */
    struct fm_sm sm;
    uint32_t object;    /* 0 data.parquet, 1..N bloom-(i-1), N+1 meta.json */
    struct fm_buf meta; /* our meta.json */
    struct pf_source file;
    bool file_is_open;
    struct pf_job job;
    int job_rc;
    struct fm_why job_why;
    char key[512];
    char path[640];
    struct bucket_request request;
    enum upload_lane lane; /* of pending */
    struct uplink_pass pass;
    struct pf_timer timer; /* until debts are paid */
};

/* Blocks that wait, oldest first; what is fresh and what is backlog is a matter of age. */
enum lanes_list { LANES_EXPRESS, LANES_RECALL, LANES_NORMAL, LANES_LIST_COUNT };
struct lanes {
    struct fm_link lists[LANES_LIST_COUNT]; /* struct pending */
    struct pace_shares shares;
    uint32_t active[UPLOAD_LANE_COUNT]; /* uploads */
    bool is_held;                       /* the last pick found one that the uplink did not admit */
};

struct rates {                                   /* of sending */
    uint64_t busy_since_ns, busy_ns, busy_bytes; /* busy_since_ns 0: idle */
};

struct replicator_counters {
    metric requests[OUTCOME_COUNT];
    metric bytes, blocks, failures, gone;
};
struct replicator {
    struct platform *platform;
    struct store *store;
    struct bucket *bucket; /* owned */
    struct replicator_options options;
    struct uplink *uplink; /* owned */
    struct lanes lanes;
    struct rates rates;
    struct upload uploads[UPLOADS_MAX];
    uint32_t active, limit; /* limit: adaptive, 1 to options.concurrency_max */
    uint32_t failures_in_row;
    uint64_t trouble_since_ns; /* with failures_in_row: the first of them */
    uint64_t hold_until_ns;    /* the endpoint is in trouble: nothing starts before */
    struct pf_timer timer;
    uint64_t pending_blocks, pending_bytes, pending_spans;
    struct replicator_counters counters;
    char problem[256];
    bool alarmed; /* one error line for each trouble that needs a person */
    bool closing;
    void (*closed)(void *self);
    void *closed_self;
};

/* lanes.c */
void lanes_init(struct lanes *lanes);
void lanes_queue(struct lanes *lanes, struct pending *pending);
/* Calls visit for all that wait; it may take its pending out of the list. */
void lanes_each(const struct lanes *lanes, void (*visit)(void *self, struct pending *pending),
                void *self);
bool lanes_are_empty(const struct lanes *lanes);
enum upload_lane lanes_of(const struct replicator *replicator, const struct store_block *block,
                          uint64_t wall_ns);
/* The block to start now, taken out, with its lane; NULL: none may. */
struct pending *lanes_pick(struct replicator *replicator, uint64_t now_ns,
                           enum upload_lane *ret_lane);
/* What a block is going to cost on the wire, about. */
uint64_t lanes_wire_bytes(const struct store_block *block);

/* rates.c */
void rates_on_active(struct rates *rates, uint32_t active, uint64_t now_ns); /* has changed */
void rates_on_uploaded(struct rates *rates, uint64_t bytes);
/* Bytes a second; UINT64_MAX: not known. */
uint64_t rates_upload(const struct rates *rates, uint64_t now_ns);

/* upload.c: begins; ends with one of the two below. */
void upload_init(struct upload *upload, struct replicator *replicator);
void upload_start(struct upload *upload, struct pending *pending, enum upload_lane lane);
void upload_cancel(struct upload *upload);
void upload_abandon(struct upload *upload); /* frees memory only */

/* replicator.c: the upload is idle again; the pending block comes back with it. */
void replicator_on_uploaded(struct replicator *replicator, struct pending *pending);
void replicator_on_gone(struct replicator *replicator, struct pending *pending, const char *why);
/* outcome says whose fault it is and how long to wait. */
void replicator_on_failure(struct replicator *replicator, struct pending *pending,
                           enum s3_outcome outcome, uint32_t retry_after_s, const char *why);
void replicator_on_answer(struct replicator *replicator, const struct bucket_request *request);

#endif
