/* SPDX-License-Identifier: Apache-2.0 */
/* bucket_read - a bucket as a source of blocks: S3 by range requests, or a directory.
 *
 * Everything here waits, so it belongs into jobs and tools, never onto the loop; any thread, also
 * several at once.  What does not change (meta.json, blooms, footers) is kept, in memory and, if
 * there is a directory for it, on disk; both within bounds.
 *
 * A block exists if the bucket has its meta.json; a compacted one has none.  Tempo's own index of
 * the tenant is taken for the listing while it is fresh. */
#ifndef FERMATA_BUCKET_READ_H
#define FERMATA_BUCKET_READ_H

#include <stdatomic.h>

#include "fermata/block.h"
#include "fermata/platform.h"
#include "fermata/s3.h"
#include "fermata/telemetry.h"

struct bucket_reader;
struct credentials;
struct bucket_reader_options {
    const char *dir; /* a directory laid out like a bucket; NULL: S3 */
    struct s3_endpoint endpoint;
    /* What keeps itself fresh, borrowed; or files, read again when the bucket refuses what was in
     * them; or the texts themselves.  None of them: requests are not signed. */
    struct credentials *credentials;
    const char *access_key_file, *secret_key_file, *session_token_file;
    const char *access_key, *secret_key, *session_token;
    const char *tls_ca_file;
    uint32_t connection_max;
    uint64_t timeout_ns;      /* of a request without progress; 0: 10 s */
    size_t memory_max;        /* of what is kept; 0: 32 MiB */
    const char *cache_dir;    /* NULL or "": nothing is kept on disk; made if it is not there */
    uint64_t cache_bytes_max; /* of it */
    uint64_t listing_age_ns;  /* a listing is good for so long; 0: 30 s */
    uint32_t block_max;       /* of one listing, the newest ones; 0: 1000 */
};
FM_MUST int bucket_reader_new(struct bucket_reader **ret_reader, struct platform *platform,
                              const struct bucket_reader_options *options, struct fm_why *why);
struct bucket_reader *bucket_reader_free(struct bucket_reader *reader); /* nobody reads */
FM_DEFINE_AUTO(bucket_reader)
void bucket_reader_put_metrics(const struct bucket_reader *reader, struct fm_buf *out);

struct bucket_budget {            /* of one question, shared by its threads */
    uint64_t deadline_ns;         /* pf_now_ns; 0: none */
    const atomic_bool *cancelled; /* may be NULL */
    uint64_t bytes_max;           /* fetched; 0: unlimited.  Beyond: FM_ELIMIT */
    metric bytes, requests;
    _Atomic uint32_t lost_count; /* requests without any answer, one after the other */
};

/* ---- which blocks there are ---- */

struct bucket_block {
    struct block_meta meta;
    struct block_dedicated dedicated[BLOCK_DEDICATED_MAX]; /* meta's */
    char etag[72]; /* of data.parquet; "": not known yet */
};
struct bucket_list { /* newest first */
    char tenant[TENANT_LEN_MAX + 1];
    size_t count;
    uint64_t damaged_count;  /* whose meta.json cannot be read */
    uint64_t left_out_count; /* beyond block_max */
    struct bucket_block blocks[];
};
/* Those that have something from start_ns to end_ns, both included.  No such tenant: none.
 * FM_EDENIED, FM_ECONFIG, FM_ENOTFOUND: there is no way to this bucket; FM_EIO, FM_EUNAVAILABLE,
 * FM_ETIMEOUT, FM_ECANCELLED, FM_ELIMIT. */
FM_MUST int bucket_list_new(struct bucket_list **ret_list, struct bucket_reader *reader,
                            const char *tenant, uint64_t start_ns, uint64_t end_ns,
                            struct bucket_budget *budget, struct fm_why *why);
struct bucket_list *bucket_list_free(struct bucket_list *list);
FM_DEFINE_AUTO(bucket_list)

/* ---- one of them ---- */

/* By the block's bloom filters.  false in *ret_maybe: the trace is not in it. */
FM_MUST int bucket_block_may_have(struct bucket_reader *reader, const struct bucket_list *list,
                                  size_t index, const struct trace_id *id,
                                  struct bucket_budget *budget, bool *ret_maybe,
                                  struct fm_why *why);
/* Fetches what the next calls of bucket_block_may_have need, several at once. */
void bucket_list_warm_blooms(struct bucket_reader *reader, const struct bucket_list *list,
                             const struct trace_id *id, struct bucket_budget *budget);

struct bucket_opened {
    struct block *block; /* owned */
    struct bucket_source *source;
};
/* Reads the footer.  One thread at a time.  FM_ECORRUPT, FM_ENOTFOUND: the block is no more what it
 * was when it was listed; and as above. */
FM_MUST int bucket_opened_init(struct bucket_opened *opened, struct bucket_reader *reader,
                               const struct bucket_list *list, size_t index,
                               struct bucket_budget *budget, struct fm_why *why);
void bucket_opened_fini(struct bucket_opened *opened);

#endif
