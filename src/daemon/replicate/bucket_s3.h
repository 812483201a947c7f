/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the S3 bucket share.
 *
 *   bucket_s3.c    the bucket: options, connections, features
 *   transfer.c     one request of the replicator: a plan of exchanges
 *   listing.c      the plan of a list
 *   exchange.c     one signed HTTP exchange, with the repairs that need no waiting
 *   multipart.c    the plan of a large put;  multipart_state.c  what of it survives a restart
 */
#ifndef FERMATA_REPLICATE_BUCKET_S3_H
#define FERMATA_REPLICATE_BUCKET_S3_H

#include "clock.h"
#include "fermata/credentials.h"
#include "fermata/net.h"
#include "fermata/replicate.h"
#include "fermata/telemetry.h"

#define S3_CLIENTS_MAX       16
#define S3_ANSWER_BYTES_MAX  FM_KIB(64)
#define S3_LISTING_BYTES_MAX FM_MIB(1)
#define S3_EXPECT_BYTES      FM_MIB(1) /* bodies above this ask first */
#define S3_SWEEP_MAX         8         /* forgotten uploads of a key that one attempt aborts */

struct s3_client { /* a connection; busy while an exchange uses it */
    struct net_client *client;
    uint64_t generation; /* of the endpoint it was made for */
    char host[S3_HOST_MAX];
    bool busy;
};

/* A multipart upload that was begun and not known to have ended. */
struct s3_pending_upload {
    struct fm_link link;
    char key[512];
    char upload_id[512];
    uint64_t size, part_bytes;
};

struct bucket_s3 {
    struct bucket bucket;
    struct platform *platform;
    struct s3_endpoint endpoint;
    char control_prefix[sizeof(((struct s3_endpoint *)0)->prefix)]; /* "": no control space */
    struct s3_storage storage;
    uint64_t generation; /* grows when the endpoint's host changes */
    char *tls_ca_file, *interface, *proxy, *proxy_auth_file, *state_dir;
    uint64_t single_put_max, part_bytes, timeout_ns;
    struct credentials *credentials; /* borrowed; NULL: nothing is signed */
    struct bucket_clock clock;
    /* Features that a server may lack: lowered once, for the life of the process. */
    bool use_conditional, use_checksum, use_multipart;
    bool conditional_works, checksum_works; /* seen to */
    struct s3_client clients[S3_CLIENTS_MAX];
    struct fm_link uploads; /* s3_pending_upload */
    metric clock_repairs, region_repairs, credential_repairs, resumed_parts;
};

enum s3_repair { /* each at most once for one exchange */
                 REPAIR_CLOCK = 1,
                 REPAIR_REGION = 2,
                 REPAIR_CREDENTIALS = 4,
};

struct transfer;
typedef void transfer_next(struct transfer *transfer); /* what follows an exchange or a job */

struct transfer { /* one bucket_request at work */
    struct bucket_s3 *s3;
    struct bucket_request *request;
    bool cancelled;

    /* the exchange */
    struct s3_call call;
    struct fm_source body;
    uint64_t body_offset, body_length;
    size_t answer_bytes_max;
    transfer_next *after_exchange;
    unsigned repairs;
    struct credentials_wait wait;
    bool is_waiting;     /* for credentials */
    uint64_t generation; /* of those that the request was signed with */
    int64_t signed_unix_s;
    bool sent_checksum, sent_condition;
    uint8_t sha256[32], crc32c[4];
    struct fm_arena arena;
    struct http_header headers[S3_HEADER_MAX];
    struct net_call net;
    struct s3_client *client; /* NULL: none taken */
    int status;
    struct s3_answer answer;
    struct fm_buf answer_body;

    /* jobs */
    struct pf_job job;
    struct pf_timer timer; /* to end on a fresh stack */
    transfer_next *after_job;
    int job_rc;
    struct fm_why job_why;

    /* list */
    struct fm_buf names, page_token, list_from;
    uint32_t name_count;

    /* multipart */
    struct s3_pending_upload
        *upload; /* owned until it is in the bucket's list, then shared with it */
    bool upload_is_listed;
    uint32_t part, part_count; /* part: the one at work, from 1 */
    char (*etags)[128];        /* part_count of them, "" where the part is missing; owned */
    char part_marker[16];
    char sweep[S3_SWEEP_MAX][512]; /* upload ids to abort */
    uint32_t sweep_count;
    struct fm_buf complete_body;
    struct fm_slice complete_slice;
    struct fm_buf state_text;
    enum s3_outcome final_outcome; /* remembered while tidying up */
};

/* transfer.c */
void transfer_start_get(struct bucket_s3 *s3, struct bucket_request *request);
void transfer_start_put(struct bucket_s3 *s3, struct bucket_request *request);
void transfer_start_list(struct bucket_s3 *s3, struct bucket_request *request);
void transfer_cancel(struct transfer *transfer);
void transfer_end(struct transfer *transfer, enum s3_outcome outcome); /* done is called */
void transfer_end_cancelled(struct transfer *transfer);
void transfer_end_from_answer(struct transfer *transfer);
void transfer_put_single(struct transfer *transfer);
void transfer_run_job(struct transfer *transfer, void (*work)(struct pf_job *job),
                      transfer_next *after);
void transfer_defer(struct transfer *transfer, transfer_next *next);

/* exchange.c: transfer->call and body are set; after_exchange finds transfer->answer. */
void exchange_start(struct transfer *transfer, transfer_next *after);

/* listing.c */
void listing_start(struct transfer *transfer);

/* multipart.c */
void multipart_start(struct transfer *transfer);
/* After a head that found the object whole: ends what an earlier put may have left open. */
bool multipart_tidy(struct transfer *transfer);

/* multipart_state.c: files in state_dir, one for each upload; jobs, except the last. */
struct s3_pending_upload *multipart_state_find(struct bucket_s3 *s3, const char *key);
int multipart_state_save(struct bucket_s3 *s3, const struct s3_pending_upload *upload,
                         struct fm_why *why);
void multipart_state_forget(struct bucket_s3 *s3, const char *key);
int multipart_state_load(struct bucket_s3 *s3, struct fm_why *why);

/* bucket_s3.c */
struct s3_client *bucket_s3_take_client(struct bucket_s3 *s3, struct fm_why *why);
void bucket_s3_give_client(struct s3_client *client);
/* Where a request's key is: the endpoint with the prefix that it belongs below. */
struct s3_endpoint bucket_s3_endpoint(const struct bucket_s3 *s3,
                                      const struct bucket_request *request);

#endif
