/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the cloud buckets share.
 *
 *   bucket_cloud.c    the bucket: options, connections, metrics
 *   cloud_access.c    keys and tokens: read, fetched ahead of time, refused
 *   cloud_transfer.c  one request of the replicator: a plan of exchanges
 *   cloud_exchange.c  one HTTP exchange, with the repairs that need no waiting
 *   cloud_blocks.c    the plan of a large put to Azure
 *   cloud_session.c   the plan of a large put to Google;  cloud_state.c  what survives a restart
 */
#ifndef FERMATA_REPLICATE_BUCKET_CLOUD_H
#define FERMATA_REPLICATE_BUCKET_CLOUD_H

#include "clock.h"
#include "fermata/net.h"
#include "fermata/replicate_cloud.h"
#include "fermata/telemetry.h"

#define CLOUD_CLIENTS_MAX      16
#define CLOUD_ANSWER_BYTES_MAX FM_KIB(64)
#define CLOUD_LIST_BYTES_MAX   FM_MIB(1)
#define CLOUD_LIST_NAMES_MAX   1000
#define CLOUD_NAME_MAX         1100 /* of an object: prefix and key */
#define CLOUD_SECRET_BYTES_MAX FM_KIB(16)
#define CLOUD_EXPECT_BYTES     FM_MIB(1) /* bodies above this ask first */

struct cloud_client { /* a connection; busy while an exchange uses it */
    struct net_client *client;
    bool busy;
};

/* A session that was begun and not known to have ended. */
struct cloud_session {
    struct fm_link link;
    char name[CLOUD_NAME_MAX];
    char target[CLOUD_TARGET_MAX];
    uint64_t size;
    uint8_t crc32c[4];
};

/* What requests are allowed by.  A fetch always has somebody who waits for it, so it never outlives
 * the bucket. */
struct cloud_access {
    struct platform *platform;
    enum cloud_auth auth;
    char *secret_file, *tenant_id, *client_id, *tls_ca_file, *interface, *proxy, *proxy_auth_file;
    struct cloud_url token_url;
    uint64_t timeout_ns;
    struct bucket_clock *clock; /* the bucket's */

    struct fm_buf secret; /* in use */
    bool has_secret;
    uint64_t serial; /* grows with every secret */
    uint64_t expires_ns, refresh_ns,
        late_ns; /* monotonic; late: when a failed refresh may repeat */

    bool fetching, repaired_clock;
    struct fm_link waiters; /* cloud_transfer.wait_link */
    int64_t now_s;          /* the bucket's time, for the job */
    struct pf_job job;
    int job_rc;
    struct fm_why why;
    struct fm_buf file, fresh; /* read, and what was made of it */
    struct cloud_url ask_url;  /* where this fetch asks */
    struct net_client *client;
    struct net_call call;
    struct pf_timer deadline;
    bool is_late; /* the deadline passed */
    uint32_t retry_after_s;
    struct fm_arena arena;
    struct http_header headers[S3_HEADER_MAX];
    struct fm_slice body;
    metric fetched, failed;
};

struct bucket_cloud {
    struct bucket bucket;
    struct platform *platform;
    struct cloud_place place;
    struct cloud_access access;
    char *tls_ca_file, *interface, *proxy, *proxy_auth_file, *state_dir;
    uint64_t single_put_max, block_bytes, timeout_ns;
    struct bucket_clock clock;
    struct cloud_client clients[CLOUD_CLIENTS_MAX];
    struct fm_link sessions; /* cloud_session */
    metric clock_repairs, credential_repairs, resumed_parts;
};

struct cloud_transfer;
typedef void cloud_next(struct cloud_transfer *transfer); /* what follows an exchange or a job */

struct cloud_transfer { /* one bucket_request at work */
    struct bucket_cloud *cloud;
    struct bucket_request *request;
    bool cancelled;

    /* the exchange */
    struct cloud_call call;
    struct fm_source body;
    uint64_t body_offset;
    size_t answer_bytes_max;
    cloud_next *after_exchange;
    struct fm_link wait_link; /* for access */
    uint64_t access_serial;   /* of the secret that was used */
    bool repaired_clock, repaired_access;
    struct fm_arena arena;
    struct http_header headers[S3_HEADER_MAX];
    struct net_call net;
    struct cloud_client *client; /* NULL: none taken */
    int status;
    struct cloud_answer answer;
    struct fm_buf answer_body;

    /* jobs */
    struct pf_job job;
    struct pf_timer timer; /* to end on a fresh stack */
    cloud_next *after_job;
    int job_rc;
    struct fm_why job_why;
    uint64_t digest_offset, digest_length;
    uint8_t md5[16], crc32c[4];

    /* Google's put: head, content, tail */
    struct fm_buf frame_head, frame_tail;
    char boundary[33];

    /* lists */
    struct fm_buf page;
    uint32_t listed;
    size_t strip_len; /* of a name: what the asker knows */

    /* blocks: ids[part] "" where it is not there; found: what an earlier attempt left */
    uint32_t part, part_count;
    uint64_t part_bytes;
    char (*ids)[CLOUD_BLOCK_ID_LEN + 1], (*found)[CLOUD_BLOCK_ID_LEN + 1]; /* owned */
    struct fm_buf commit;
    struct fm_slice commit_slice;

    /* sessions */
    struct cloud_session *session; /* owned until it is in the bucket's list */
    bool session_is_listed;
    uint64_t sent;
    char name[CLOUD_NAME_MAX];
    enum s3_outcome final_outcome;
};

/* bucket_cloud.c */
struct cloud_client *bucket_cloud_take_client(struct bucket_cloud *cloud, struct fm_why *why);
/* A copy of text, NULL for NULL and ""; clears *ok without memory. */
char *cloud_text_copy(const char *text, bool *ok);

/* cloud_access.c */
int cloud_access_init(struct cloud_access *access, struct platform *platform,
                      const struct bucket_cloud_options *options, struct bucket_clock *clock,
                      struct fm_why *why);
void cloud_access_fini(struct cloud_access *access);
/* True: there is something to send with.  False: the transfer waits, and
 * cloud_exchange_on_access() comes. */
bool cloud_access_want(struct cloud_access *access, struct cloud_transfer *transfer);
struct cloud_secret cloud_access_secret(const struct cloud_access *access);
/* The server does not take the secret of that serial. */
void cloud_access_refused(struct cloud_access *access, uint64_t serial);
void cloud_access_cancel(struct cloud_access *access); /* a waiting transfer was cancelled */
void cloud_access_put_metrics(const struct cloud_access *access, struct fm_buf *out);

/* cloud_transfer.c */
void cloud_transfer_start_get(struct bucket_cloud *cloud, struct bucket_request *request);
void cloud_transfer_start_list(struct bucket_cloud *cloud, struct bucket_request *request);
void cloud_transfer_start_put(struct bucket_cloud *cloud, struct bucket_request *request);
void cloud_transfer_cancel(struct cloud_transfer *transfer);
void cloud_transfer_set_call(struct cloud_transfer *transfer, enum cloud_verb verb);
void cloud_transfer_end(struct cloud_transfer *transfer, enum s3_outcome outcome);
void cloud_transfer_end_cancelled(struct cloud_transfer *transfer);
void cloud_transfer_end_from_answer(struct cloud_transfer *transfer);
/* Fails after a job: a file that cannot be read, no memory. */
void cloud_transfer_end_from_job(struct cloud_transfer *transfer);
void cloud_transfer_run_job(struct cloud_transfer *transfer, void (*work)(struct pf_job *job),
                            cloud_next *after);
/* MD5 and CRC-32C of a range of the source, in a job. */
void cloud_transfer_digest(struct cloud_transfer *transfer, uint64_t offset, uint64_t length,
                           cloud_next *after);
/* A part of the source is the body. */
void cloud_transfer_set_body(struct cloud_transfer *transfer, uint64_t offset, uint64_t length);

/* cloud_exchange.c: call and body are set; after finds transfer->answer. */
struct cloud_headers { /* those that are short enough to matter, with names that end */
    struct s3_header rows[64];
    char names[64][32];
    uint32_t count;
};
void cloud_headers_read(const struct net_call *net, struct cloud_headers *ret_headers);
void cloud_exchange_start(struct cloud_transfer *transfer, cloud_next *after);
void cloud_exchange_on_access(struct cloud_transfer *transfer, enum s3_outcome outcome);

/* cloud_blocks.c, cloud_session.c */
void cloud_blocks_start(struct cloud_transfer *transfer);
void cloud_session_start(struct cloud_transfer *transfer);
/* After a head that found the object whole: ends what an earlier put may have left. */
bool cloud_session_tidy(struct cloud_transfer *transfer);

/* cloud_state.c: files in state_dir, one for each session; jobs, except find. */
struct cloud_session *cloud_state_find(struct bucket_cloud *cloud, const char *name);
int cloud_state_save(struct bucket_cloud *cloud, const struct cloud_session *session,
                     struct fm_why *why);
void cloud_state_forget(struct bucket_cloud *cloud, const char *name);
int cloud_state_load(struct bucket_cloud *cloud, struct fm_why *why);

#endif
