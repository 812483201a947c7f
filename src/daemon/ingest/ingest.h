/* SPDX-License-Identifier: Apache-2.0 */
/* Private face of ingest: one intake from request to answer, datagrams, sampling strategies. */
#ifndef FERMATA_INGEST_PRIVATE_H
#define FERMATA_INGEST_PRIVATE_H

#include "fermata/codec.h"
#include "fermata/ingest.h"
#include "fermata/jaeger.h"
#include "fermata/sampling.h"
#include "fermata/zipkin.h"

/* Why spans were refused; names are label values.  The first ones follow enum decode_reason. */
#define INGEST_REASONS(X)                                                                          \
    X(BAD_TRACE_ID, "invalid_trace_id")                                                            \
    X(BAD_SPAN_ID, "invalid_span_id")                                                              \
    X(UNAVAILABLE, "unavailable")                                                                  \
    X(TOO_LARGE, "too_large")                                                                      \
    X(RATE_LIMITED, "rate_limited")                                                                \
    X(TENANT_LIMIT, "tenant_limit")
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
    X(UNAVAILABLE, "unavailable")                                                                  \
    X(RATE_LIMITED, "rate_limited")                                                                \
    X(TENANT_LIMIT, "tenant_limit")                                                                \
    X(DENIED, "denied")
enum ingest_outcome {
#define X(name, text) INGEST_OUTCOME_##name,
    INGEST_OUTCOMES(X)
#undef X
        INGEST_OUTCOME_COUNT
};

/* Why whole datagrams were dropped; names are label values. */
#define INGEST_DROPS(X)                                                                            \
    X(MALFORMED, "malformed")                                                                      \
    X(UNKNOWN_METHOD, "unknown_method")                                                            \
    X(TOO_LARGE, "too_large")                                                                      \
    X(DENIED, "denied")                                                                            \
    X(UNAVAILABLE, "unavailable")
enum ingest_drop {
#define X(name, text) INGEST_DROP_##name,
    INGEST_DROPS(X)
#undef X
        INGEST_DROP_COUNT
};

struct ingest_counters {
    metric accepted_spans;
    metric refused_spans[INGEST_REASON_COUNT];
    metric requests[INGEST_OUTCOME_COUNT];
    metric dropped_datagrams[INGEST_DROP_COUNT];
    metric mended_values;
    metric body_bytes;
    struct metric_histogram ack_seconds;
};

struct ingest {
    struct platform *platform;
    struct store *store;
    struct ingest_options options;
    struct fm_link idle; /* exchanges kept for reuse */
    uint32_t idle_count;
    struct datagrams *datagrams;   /* owned */
    struct strategies *strategies; /* owned */
    struct head_stage *head;       /* owned; NULL: every span comes in */
    struct processing *processing; /* a reference; NULL: there are no processors */
    struct ingest_counters counters[INGEST_RECEIVER_COUNT];
};

/* Those of a translator need its decoder; the result of each is OTLP_PROTOBUF. */
enum intake_encoding {
    INTAKE_OTLP_PROTOBUF,
    INTAKE_OTLP_JSON,
    INTAKE_JAEGER_THRIFT,
    INTAKE_JAEGER_PB,
    INTAKE_ZIPKIN_JSON,
    INTAKE_ZIPKIN_PB,
    INTAKE_ZIPKIN_THRIFT,
};

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
    struct fm_buf body;        /* as received, taken from the request; then what became of it */
    size_t body_skip;          /* gRPC's prefix */
    uint64_t received_bytes;   /* charged by the request */
    uint32_t party;            /* whose share of the budget that is */
    uint64_t charged_bytes;    /* of the budget, for decompression, translation and rewriting */
    struct decode_facts facts; /* of what is left after processing */
    bool in_job, is_processed;
    struct processing *processing;    /* a reference, from the start to the release; or NULL */
    uint32_t dropped_count;           /* spans, by head sampling and filters */
    struct sample_head_tally sampled; /* zeros: head sampling has left all as it was */
    struct process_tally *tallies;    /* owned; by processor, if is_processed */
    struct store_append append;
    struct pf_job job;
    int rc;              /* of decoding */
    bool inflate_failed; /* the message did not decompress: gRPC's framing, not the schema */
    bool is_bomb;        /* it decompressed to far more than it may */
    struct fm_why why;
    struct fm_link link;
};

/* Borrowed from the ingest until intake_release; NULL: no memory, and the request was answered. */
struct intake *intake_new(struct ingest *ingest, struct net_request *request,
                          enum ingest_receiver receiver);
void intake_release(struct intake *intake);
/* The tenant by identity and X-Scope-OrgID.  Refuses the intake and returns false if it has none.
 */
bool intake_resolve_tenant(struct intake *intake);
/* Takes the body: decode, append, answer. */
void intake_start(struct intake *intake);
/* From the body to checked OTLP in its place; in a job or inline, touches nothing but the intake
 * and the (atomic) budget. */
FM_MUST int intake_decode(struct intake *intake);
struct fm_slice intake_input(const struct intake *intake); /* the body as it is now */
FM_MUST int intake_charge(struct intake *intake, uint64_t bytes);
void intake_give_back(struct intake *intake, uint64_t bytes);
void intake_replace_body(struct intake *intake, struct fm_buf *other);
FM_MUST int intake_rewrite(struct intake *intake);
/* The body becomes what a stage has made of it, and is checked again.  Spans that it lost count as
 * dropped; what was refused before stays refused. */
FM_MUST int intake_take_result(struct intake *intake, struct fm_buf *result);

/* ---- head sampling ---- */

FM_MUST int head_stage_new(struct head_stage **ret_stage,
                           const struct sample_head_options *options);
struct head_stage *head_stage_free(struct head_stage *stage);
/* FM_NONE: all stays as it is.  On any thread; result is not initialised before, and is after FM_OK
 * only.  The caller charges room. */
size_t head_stage_room(size_t otlp_len, uint64_t span_count);
FM_MUST int head_stage_run(struct head_stage *stage, uint64_t threshold, struct fm_slice otlp,
                           uint64_t span_count, struct fm_buf *result,
                           struct sample_head_tally *ret_tally);
/* The threshold of a request that came in; 0: nothing to do. */
uint64_t head_stage_threshold(struct head_stage *stage, uint64_t now_ns, uint64_t span_count);
/* On the loop, when it was accepted. */
void head_stage_count(struct head_stage *stage, const struct sample_head_tally *tally);
void head_stage_put_dropped(const struct head_stage *stage, struct fm_buf *out);
void head_stage_put_metrics(const struct head_stage *stage, struct fm_buf *out);
/* What intake_decode does after the check, if there is head sampling. */
FM_MUST int intake_sample(struct intake *intake);
void intake_count_sampled(struct intake *intake);

/* ---- processors ---- */

FM_MUST int processing_new(struct processing **ret_processing, const struct process *process);
/* Counted, on the loop.  What the last reference to one of before had counted since goes to those
 * in use. */
struct processing *processing_ref(struct processing *processing); /* NULL is fine */
void processing_unref(struct ingest *ingest, struct processing *processing);
size_t processing_tally_bytes(const struct processing *processing);
/* process_run by the state of who calls; tallies are filled unless it fails. */
FM_MUST int processing_run(struct processing *processing, bool in_job, struct fm_slice otlp,
                           struct fm_buf *target, struct process_tally *tallies);
/* On the loop, and counted at once. */
FM_MUST int processing_run_now(struct processing *processing, struct fm_slice otlp,
                               uint64_t span_count, struct fm_buf *target);
/* Adds tallies of span_count spans to the counters. */
void processing_count(struct processing *processing, const struct process_tally *tallies,
                      uint64_t span_count);
void processing_put_dropped(const struct processing *processing, struct fm_buf *out);
void processing_put_metrics(const struct processing *processing, struct fm_buf *out);
/* What intake_decode does last, if there are processors; its facts are those of the result. */
FM_MUST int intake_process(struct intake *intake);
void intake_count_processed(struct intake *intake); /* when it was accepted */

/* ---- the ledger (account.c) ---- */

void account_refused(struct ingest *ingest, const char *tenant, enum ingest_reason reason,
                     uint64_t spans);
/* sampled: by head sampling; dropped: these and those that filters dropped. */
void account_dropped(struct ingest *ingest, const char *tenant, uint64_t sampled, uint64_t dropped);
void account_accepted(const struct intake *intake); /* what of it was not stored */

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
/* Hints spread by a fifth to both sides, so that those refused together do not return together. */
uint32_t answer_spread_ms(struct ingest *ingest, uint32_t retry_after_ms);

/* Without an intake, on the receiver's port: routing errors, probes.  methods: for Allow, with
 * status 405. */
void answer_http_text(struct ingest *ingest, enum ingest_receiver receiver,
                      struct net_request *request, int status, const char *text);
void answer_http_json(struct net_request *request, struct fm_slice json);
void answer_http_bad_method(struct ingest *ingest, enum ingest_receiver receiver,
                            struct net_request *request, const char *methods);
/* A browser sends this for a page whose origin is not in the receiver's cors_allowed_origins. */
bool answer_origin_is_foreign(const struct ingest *ingest, enum ingest_receiver receiver,
                              const struct net_request_view *view);
void answer_http_cors_preflight(struct ingest *ingest, enum ingest_receiver receiver,
                                struct net_request *request);
void answer_grpc(struct net_request *request, int code, const char *message);
void answer_grpc_message(struct net_request *request, struct fm_slice message);

/* ---- doors ---- */

bool view_is_get(const struct net_request_view *view); /* or HEAD */
bool view_is_post(const struct net_request_view *view);
/* A POST that passed its door's routing: Content-Encoding, tenant, then the intake. */
void http_door_post(struct ingest *ingest, struct net_request *request,
                    enum ingest_receiver receiver, enum intake_encoding encoding);
void otlp_http_request(struct ingest *ingest, struct net_request *request);

enum grpc_door { /* which services a listener has; bits */
                 GRPC_DOOR_OTLP = 1,
                 GRPC_DOOR_JAEGER = 2,
                 GRPC_DOOR_SAMPLING = 4,
                 GRPC_DOOR_ZIPKIN = 8,
};
bool grpc_is_asked(const struct net_request_view *view); /* by Content-Type, on HTTP/2 */
void grpc_door_request(struct ingest *ingest, struct net_request *request, unsigned doors);
/* A path of one of these doors with another protocol's Content-Type: answered; else false. */
bool grpc_door_refuses(struct net_request *request, unsigned doors);

/* ---- datagrams ---- */

FM_MUST int datagrams_new(struct datagrams **ret_datagrams, struct ingest *ingest);
struct datagrams *datagrams_free(struct datagrams *datagrams);
void datagrams_attach(struct datagrams *datagrams, enum ingest_receiver receiver,
                      struct net_udp *udp);
void datagrams_close(struct datagrams *datagrams);
void datagrams_put_metrics(const struct datagrams *datagrams, struct fm_buf *out);

/* What Jaeger's clients lost before they could send. */
struct clients;
FM_MUST int clients_new(struct clients **ret_clients);
struct clients *clients_free(struct clients *clients);
void clients_note(struct clients *clients, const struct jaeger_client_stats *stats,
                  uint64_t now_ns);
void clients_put_metrics(const struct clients *clients, struct fm_buf *out);

/* ---- sampling strategies ---- */

FM_MUST int strategies_new(struct strategies **ret_strategies, struct ingest *ingest);
struct strategies *strategies_free(struct strategies *strategies);
void strategies_stop(struct strategies *strategies); /* looks at the file no more */
void strategies_reload(struct strategies *strategies);
const struct sampling *strategies_now(struct strategies *strategies); /* borrowed for this turn */
void strategies_put_metrics(const struct strategies *strategies, struct fm_buf *out);
/* GET of a strategy as JSON; enum_is_text: "PROBABILISTIC", else 0. */
void strategies_answer_http(struct ingest *ingest, struct net_request *request, bool enum_is_text);

/* The label of counters[receiver]. */
const char *ingest_receiver_text(enum ingest_receiver receiver);

#endif
