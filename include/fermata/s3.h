/* SPDX-License-Identifier: Apache-2.0 */
/* s3 - the S3 protocol without a socket: signing, requests, what an answer means, backoff.
 * Time and randomness come in as arguments.  Sources: AWS Signature Version 4 for S3; the S3 API
 * reference; the table of answers in docs/formats/s3.md.
 */
#ifndef FERMATA_S3_H
#define FERMATA_S3_H

#include "fermata/base.h"

#define S3_HEADER_MAX      32
#define S3_PART_NUMBER_MAX 10000

struct s3_credentials {
    struct fm_slice access_key, secret_key;
    struct fm_slice session_token; /* may be empty */
};
struct s3_endpoint {
    char scheme[8]; /* http or https */
    char host[254]; /* without port */
    uint16_t port;
    char region[64];
    char bucket[64];
    char prefix[512]; /* "" or without leading and trailing slash */
    bool path_style;
};
/* Fills scheme, host and port from "https://host[:port]", "host" or "" (AWS's host of the region);
 * region, bucket, prefix and path_style are set before and checked.  path_style becomes true where
 * the other style cannot work: an address as host, a bucket with dots under TLS. */
FM_MUST int s3_endpoint_parse(struct fm_slice url, struct s3_endpoint *endpoint,
                              struct fm_why *why);
/* The region that a bucket answered with; AWS's own host follows it.  FM_EMALFORMED: not a name. */
FM_MUST int s3_endpoint_set_region(struct s3_endpoint *endpoint, struct fm_slice region);
#define S3_HOST_MAX 320
/* The host to connect to: with the bucket in front unless path_style. */
void s3_endpoint_host(const struct s3_endpoint *endpoint, char ret_host[S3_HOST_MAX]);

struct s3_header {
    const char *name; /* lower case */
    struct fm_slice value;
};
/* A request ready to send; strings live in the arena it was made with. */
struct s3_request {
    const char *method;
    struct fm_slice host;                    /* Host header, with a non-default port */
    struct fm_slice target;                  /* encoded path and query */
    struct s3_header headers[S3_HEADER_MAX]; /* signed ones included, without host */
    uint32_t header_count;
    uint64_t content_length;
};

/* How what is put is kept; "" everywhere: as the bucket has it. */
struct s3_storage {
    char sse[16]; /* AES256 or aws:kms */
    char sse_kms_key_id[256];
    char storage_class[32];
    char tagging[2048]; /* a=b&c=d, encoded */
};
/* Adds a tag.  FM_ECONFIG: empty, too long, or too many. */
FM_MUST int s3_storage_add_tag(struct s3_storage *storage, struct fm_slice key,
                               struct fm_slice value, struct fm_why *why);

struct s3_object {       /* what is sent or asked for */
    struct fm_slice key; /* below the prefix */
    uint64_t size;
    const uint8_t *sha256;            /* 32 bytes of the body, or NULL: UNSIGNED-PAYLOAD (https) */
    const uint8_t *md5;               /* 16 bytes, or NULL */
    const uint8_t *crc32c;            /* 4 bytes, big-endian, or NULL */
    bool create_only;                 /* If-None-Match: * */
    const struct s3_storage *storage; /* of S3_PUT and S3_MULTIPART_BEGIN; may be NULL */
    struct fm_slice etag; /* of S3_GET: only this version of it (If-Match); may be empty */
};
enum s3_verb {
    S3_PUT,
    S3_HEAD,
    S3_GET,
    S3_DELETE,
    S3_LIST,
    S3_MULTIPART_BEGIN,
    S3_MULTIPART_PART,
    S3_MULTIPART_COMPLETE,
    S3_MULTIPART_ABORT,
    S3_MULTIPART_LIST_PARTS,
    S3_MULTIPART_LIST, /* of one upload; all uploads below the key */
};
struct s3_call {
    enum s3_verb verb;
    struct s3_object object;
    struct fm_slice upload_id; /* multipart */
    uint32_t part_number;
    struct fm_slice query;       /* S3_LIST: continuation token; LIST_PARTS: part-number-marker */
    struct fm_slice start_after; /* S3_LIST: a key below the prefix, or "" */
    bool is_flat;                /* S3_LIST: nothing below another slash */
    uint64_t range_first, range_last; /* S3_GET; last 0: whole */
};
/* The body of MULTIPART_COMPLETE, part by part: begin with number 1, end with s3_complete_end. */
void s3_complete_part(struct fm_buf *body, uint32_t number, struct fm_slice etag);
void s3_complete_end(struct fm_buf *body);
/* Builds and signs.  unix_s: the time to sign with (clock offset already applied).  credentials
 * NULL: nothing is signed.  FM_ECONFIG: credentials that cannot stand in a header. */
FM_MUST int s3_request_build(const struct s3_endpoint *endpoint,
                             const struct s3_credentials *credentials, const struct s3_call *call,
                             int64_t unix_s, struct fm_arena *arena,
                             struct s3_request *ret_request);

/* The signature alone, for the published vectors: canonical request in, hex signature out. */
FM_MUST int s3_sign(const struct s3_credentials *credentials, const char *region,
                    const char *service, int64_t unix_s, struct fm_slice canonical_request,
                    char ret_signature[65], struct fm_buf *string_to_sign);

/* What an answer means; the table is in docs/formats/s3.md, one test row each. */
enum s3_outcome {
    S3_DONE,
    S3_EXISTS,      /* 412, or 409 of a create-only write that lost */
    S3_ABSENT,      /* 404 NoSuchKey */
    S3_AMBIGUOUS,   /* may have happened: HEAD, then decide */
    S3_TRANSIENT,   /* try again with backoff */
    S3_SLOW_DOWN,   /* try again, and halve the concurrency */
    S3_AUTH,        /* refresh credentials once, then retry slowly, with an alarm */
    S3_CLOCK,       /* learn the offset from Date, retry at once */
    S3_REDIRECT,    /* region or endpoint differs: s3_answer.region / location */
    S3_NO_BUCKET,   /* hold and alarm */
    S3_NO_UPLOAD,   /* multipart gone: HEAD the key, else start over */
    S3_CONFLICT,    /* 409 during a conditional write: PUT retries, multipart starts over */
    S3_UNSUPPORTED, /* lower the feature (conditional write, checksum) once */
    S3_REFUSED,     /* anything else: slow retry, with an alarm; never delete */
};
const char *s3_outcome_text(enum s3_outcome outcome);
struct s3_answer {
    enum s3_outcome outcome;
    char code[64]; /* <Code> of the error, or "" */
    char message[192];
    char region[64];     /* x-amz-bucket-region or <Region> */
    char upload_id[512]; /* of MULTIPART_BEGIN */
    char etag[128];
    int64_t date_unix_s;    /* Date header, 0 if absent */
    uint32_t retry_after_s; /* 0 if absent */
    uint64_t content_length;
};
struct s3_response_view { /* what arrived */
    int status;           /* 0: no complete answer (connection lost, timeout) */
    bool request_sent_whole;
    const struct s3_header *headers;
    uint32_t header_count;
    struct fm_slice body; /* first 64 KiB */
};
void s3_answer_read(const struct s3_call *call, const struct s3_response_view *response,
                    struct s3_answer *ret_answer);
/* The parts that a LIST_PARTS answer names; a non-zero result of visit stops and is returned.
 * next_marker ("" at the end) goes into s3_call.query.  FM_EMALFORMED, FM_ELIMIT. */
struct s3_part {
    uint32_t number;
    uint64_t size;
    char etag[128];
};
typedef int s3_part_visit(void *self, const struct s3_part *part);
FM_MUST int s3_parts_read(struct fm_slice body, s3_part_visit *visit, void *self,
                          char next_marker[16]);
/* The uploads in progress that a MULTIPART_LIST answer names. */
typedef int s3_upload_visit(void *self, struct fm_slice key, struct fm_slice upload_id);
FM_MUST int s3_uploads_read(struct fm_slice body, s3_upload_visit *visit, void *self);

/* The objects that an S3_LIST answer names.  next_token, empty at the end, goes into s3_call.query.
 * FM_EMALFORMED, FM_ELIMIT. */
struct s3_listed { /* borrowed */
    struct fm_slice key;
    uint64_t size;
    struct fm_slice etag;    /* may be empty */
    int64_t modified_unix_s; /* 0: it is not said */
};
typedef int s3_listed_visit(void *self, const struct s3_listed *object);
FM_MUST int s3_objects_read(struct fm_slice body, s3_listed_visit *visit, void *self,
                            struct fm_buf *next_token);

/* Full jitter: uniform in [0, min(cap, 0.5 s * 2^attempt)], cap 60 s or cap_ns if that is less
 * (0: 60 s).  What only a person can mend (AUTH, NO_BUCKET, REFUSED, ...) waits longer: uniform in
 * the upper half of [0, 30 s * 2^attempt], cap 5 min or cap_ns.  Retry-After is a lower bound, up
 * to the same cap.  random: 64 fresh bits. */
uint64_t s3_backoff_ns(enum s3_outcome outcome, uint32_t attempt, uint32_t retry_after_s,
                       uint64_t cap_ns, uint64_t random);

/* SHA-256 and MD5 over streams, by mbedtls (its only home in lib). */
struct s3_digest;
FM_MUST int s3_digest_new(struct s3_digest **ret_digest);
struct s3_digest *s3_digest_free(struct s3_digest *digest);
FM_DEFINE_AUTO(s3_digest)
void s3_digest_update(struct s3_digest *digest, struct fm_slice bytes);
void s3_digest_finish(struct s3_digest *digest, uint8_t ret_sha256[32], uint8_t ret_md5[16]);
void s3_sha256(struct fm_slice bytes, uint8_t ret_sha256[32]);

#endif
