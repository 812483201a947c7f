/* SPDX-License-Identifier: Apache-2.0 */
/* replicate - sealed blocks to the bucket: data, blooms, then meta.json last; retried for ever.
 *
 * No answer of a bucket deletes local data.  What is on the bucket is asked of the bucket, not
 * remembered: a restart in any state resumes or finds the block there.
 */
#ifndef FERMATA_REPLICATE_H
#define FERMATA_REPLICATE_H

#include "fermata/platform.h"
#include "fermata/s3.h"
#include "fermata/store.h"
#include "fermata/uplink.h"

/* ---- a bucket: asynchronous object operations; three bodies: dir, s3, and the simulator's ---- */

struct bucket;
struct bucket_request { /* owned by the caller, in use until done, which is never called from within
                         * put, get or cancel */
    const char *key;    /* "<tenant>/<uuid>/<object>" below the bucket's prefix */
    bool is_control;    /* below its control prefix instead: no block, nothing for Tempo */
    struct fm_source source; /* put: content, read in pieces from a job */
    const char *source_path; /* put: the immutable file with that content, or NULL; may be linked */
    bool create_only;        /* put: fail with S3_EXISTS if the key is there */
    bool want_body;          /* head: false; get: true */
    const char *list_after;  /* list: a name, or "" */
    size_t body_max;
    struct net_pacer *pacer; /* NULL, or of the calls that this becomes */
    void (*done)(struct bucket_request *request);
    void *self;

    enum s3_outcome outcome; /* S3_DONE, S3_EXISTS, S3_ABSENT, S3_AMBIGUOUS, ... */
    uint64_t size;           /* of the object, after S3_DONE of head and get */
    struct fm_buf body;      /* get, list; the caller's to free */
    uint32_t retry_after_s;
    struct fm_why why;
    void *body_private; /* these three are the body's, while in use */
    struct pf_job job;
    struct bucket *bucket;
};
struct bucket_ops {
    void (*put)(struct bucket *bucket, struct bucket_request *request);
    void (*get)(struct bucket *bucket, struct bucket_request *request); /* or head */
    /* Names below key, which ends with '/', one a line, in byte order and behind list_after ("":
     * all): at most 1,000, so that an answer of 1,000 is not the last.  S3_DONE also if there are
     * none. */
    void (*list)(struct bucket *bucket, struct bucket_request *request);
    void (*cancel)(struct bucket *bucket, struct bucket_request *request); /* done is called */
    struct bucket *(*free)(struct bucket *bucket); /* no request is in use */
    void (*describe)(const struct bucket *bucket, char *text, size_t size); /* without secrets */
    void (*put_metrics)(const struct bucket *bucket, struct fm_buf *out);
    bool has_wire; /* asks the pacer and tells it what moved; else sizes of objects are counted */
};
struct bucket {
    const struct bucket_ops *ops;
};

/* A directory laid out as Tempo's local backend. */
FM_MUST int bucket_dir_new(struct bucket **ret_bucket, struct platform *platform, const char *path,
                           struct fm_why *why);
struct credentials;
struct bucket_s3_options {
    struct s3_endpoint endpoint;
    struct credentials *credentials; /* borrowed; NULL: requests are not signed */
    const char *control_prefix;      /* beside endpoint.prefix; NULL: there is no control space */
    struct s3_storage storage;       /* of what is put */
    const char *proxy;               /* HTTP; NULL or "": none */
    const char *proxy_auth_file;     /* USER:PASSWORD for it; NULL or "": none */
    const char *tls_ca_file;
    const char *interface;   /* NULL or "": any */
    uint64_t single_put_max; /* bytes; above: multipart */
    uint64_t part_bytes;     /* fixed part size */
    uint64_t timeout_ns;     /* without progress */
    const char *state_dir;   /* multipart upload ids, to resume after a restart */
};
FM_MUST int bucket_s3_new(struct bucket **ret_bucket, struct platform *platform,
                          const struct bucket_s3_options *options, struct fm_why *why);

/* ---- the replicator ---- */

struct replicator_options {
    uint32_t concurrency_max; /* uploads at once; adapts between 1 and this */
    uint64_t retry_cap_ns;
    uint32_t backlog_percent; /* of the bytes, while there are fresh blocks, too */
    uint64_t backlog_age_ns;  /* since a block was sealed: then it is backlog */
    struct uplink *uplink;    /* taken over; NULL: without limits */
    uint64_t free_bytes_min;  /* as the store's: what offline time cannot use */
};
struct replicator;
/* Observes the store; starts with what is sealed and not uploaded.  Takes the bucket. */
FM_MUST int replicator_new(struct replicator **ret_replicator, struct platform *platform,
                           struct store *store, struct bucket *bucket,
                           const struct replicator_options *options);
void replicator_on_sealed(void *replicator, struct store_block *block); /* for store_observer */
/* The store gives up a block that is not uploaded (its disk is full): lets go of the reference, at
 * once or when the upload under way ends.  Not called: blocks waiting here keep their files. */
void replicator_on_dropped(void *replicator, struct store_block *block);
/* Also of blocks that it does not know (yet). */
enum ledger_column replicator_lane_of(void *replicator, const struct store_block *block);
/* Stops within the current step; state stays on disk.  done is called last. */
void replicator_close(struct replicator *replicator, void (*done)(void *self), void *self);
/* For simulations: the process died; frees memory, touches neither platform, store nor bucket. */
struct replicator *replicator_abandon(struct replicator *replicator);

struct replicator_status {
    uint64_t pending_blocks, pending_bytes, pending_spans, uploaded_blocks, uploaded_bytes;
    uint64_t uploading_blocks, failures_total, oldest_pending_unix_ns;
    struct replicator_lane {
        uint64_t blocks, bytes, spans, oldest_unix_ns;
    } lanes[UPLOAD_LANE_COUNT];
    struct uplink_status uplink;
    /* UINT64_MAX: not known yet. */
    uint64_t upload_bytes_per_s, growth_bytes_per_s; /* of blocks: sent while sending, sealed */
    uint64_t drain_s;                                /* of sending, until nothing waits */
    uint64_t offline_budget_s; /* until the disk's room is used, uploaded blocks gone */
    char destination[256];
    char problem[256]; /* the last failure while nothing has succeeded since, or "" */
};
void replicator_get_status(const struct replicator *replicator, struct replicator_status *ret);
void replicator_put_metrics(const struct replicator *replicator, struct fm_buf *out);

#endif
