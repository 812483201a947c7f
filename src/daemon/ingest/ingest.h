/* SPDX-License-Identifier: Apache-2.0 */
/* Private face of ingest: one intake from request to answer. */
#ifndef FERMATA_INGEST_PRIVATE_H
#define FERMATA_INGEST_PRIVATE_H

#include "fermata/codec.h"
#include "fermata/ingest.h"

/* Why spans were refused; names are label values.  The first ones follow enum decode_reason. */
#define INGEST_REASONS(X)                                                                          \
    X(BAD_TRACE_ID, "invalid_trace_id")                                                            \
    X(BAD_SPAN_ID, "invalid_span_id")                                                              \
    X(UNAVAILABLE, "unavailable")
enum ingest_reason {
#define X(name, text) INGEST_REASON_##name,
    INGEST_REASONS(X)
#undef X
        INGEST_REASON_COUNT
};

/* What became of requests; names are label values. */
#define INGEST_OUTCOMES(X)                                                                         \
    X(OK, "ok")                                                                                    \
    X(PARTIAL, "partial")                                                                          \
    X(MALFORMED, "malformed")                                                                      \
    X(TOO_LARGE, "too_large")                                                                      \
    X(UNSUPPORTED, "unsupported")                                                                  \
    X(UNAVAILABLE, "unavailable")
enum ingest_outcome {
#define X(name, text) INGEST_OUTCOME_##name,
    INGEST_OUTCOMES(X)
#undef X
        INGEST_OUTCOME_COUNT
};

struct ingest {
    struct platform *platform;
    struct store *store;
    struct ingest_options options;
    struct fm_link idle; /* exchanges kept for reuse */
    uint32_t idle_count;
    struct {
        metric accepted_spans;
        metric refused_spans[INGEST_REASON_COUNT];
        metric requests[INGEST_OUTCOME_COUNT];
        metric mended_values;
        metric body_bytes;
        struct metric_histogram ack_seconds;
    } counters[INGEST_RECEIVER_COUNT];
};

enum intake_encoding { INTAKE_PROTOBUF, INTAKE_JSON };

/* One request on its way: decoded inline or in a job, appended, answered.  Owned by ingest. */
struct intake {
    struct ingest *ingest;
    struct net_request *request; /* until answered */
    enum ingest_receiver receiver;
    enum intake_encoding encoding;
    enum codec codec;
    bool is_grpc;
    uint64_t received_ns;
    char tenant[TENANT_LEN_MAX + 1];
    struct fm_buf body;      /* as received, taken from the request */
    size_t body_skip;        /* gRPC's prefix */
    uint64_t received_bytes; /* charged by the request */
    uint64_t charged_bytes;  /* of the budget, for decompression and rewriting */
    struct decode_facts facts;
    struct store_append append;
    struct pf_job job;
    int rc;              /* of decoding */
    bool inflate_failed; /* the message did not decompress: gRPC's framing, not OTLP's schema */
    struct fm_why why;
    struct fm_link link;
};

struct intake *intake_new(struct ingest *ingest, struct net_request *request);
void intake_release(struct intake *intake);
/* body is in place: decode, append, answer. */
void intake_start(struct intake *intake);

/* ---- answers ---- */

struct answer {
    int http_status;
    int grpc_code;
    uint32_t retry_after_ms; /* 0: none */
    const char *message;
    enum ingest_outcome outcome;
};
void intake_refuse(struct intake *intake, const struct answer *answer);
void intake_accept(struct intake *intake);
/* Without an intake: routing errors. */
void answer_http_text(struct ingest *ingest, struct net_request *request, int status,
                      const char *text);
/* A browser sends this for a page whose origin is not in cors_allowed_origins. */
bool answer_origin_is_foreign(const struct ingest *ingest, const struct net_request_view *view);
void answer_http_cors_preflight(struct ingest *ingest, struct net_request *request);
void answer_grpc(struct net_request *request, int code, const char *message);
void answer_grpc_message(struct net_request *request, struct fm_slice message);

/* ---- the two doors ---- */

void otlp_http_request(struct ingest *ingest, struct net_request *request);
void otlp_grpc_request(struct ingest *ingest, struct net_request *request);
bool otlp_grpc_path(struct fm_slice path);
void otlp_grpc_bad_content_type(struct net_request *request);
/* X-Scope-OrgID or the default into intake->tenant; FM_EMALFORMED: not a valid name. */
FM_MUST int intake_set_tenant(struct intake *intake, const struct net_request_view *view);

#endif
