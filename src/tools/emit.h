/* SPDX-License-Identifier: Apache-2.0 */
/* emit, private: the load generator's parts.
 *
 *   source -> batch -> slot (of a channel = one connection) -> answer -> tally, ledger
 *                   -> post (one socket): datagrams, which nobody answers
 */
#ifndef TOOLS_EMIT_H
#define TOOLS_EMIT_H

#include "fermata/bytes.h"
#include "fermata/h1.h"
#include "fermata/h2_client.h"
#include "fermata/net_stream.h"
#include "fermata/platform.h"
#include "options.h"

/* ---- protocol.c: how each of them is sent ---- */

enum emit_transport { EMIT_HTTP, EMIT_GRPC, EMIT_DATAGRAM };
struct emit_protocol {
    const char *name;
    enum emit_transport transport;
    const char *endpoint;            /* unless another is asked for */
    const char *path, *content_type; /* HTTP, gRPC */
    enum { EMIT_ANSWERS_NOTHING, EMIT_ANSWERS_PB, EMIT_ANSWERS_JSON } answer; /* partial success */
    /* Appends the request in the protocol's form; NULL: it is OTLP's protobuf as it stands. */
    int (*translate)(struct fm_slice otlp, size_t packet_bytes, struct fm_buf *target);
};
extern const struct emit_protocol emit_protocols[];
extern const size_t emit_protocol_count;
#define EMIT_PROTOCOL_MAX 16

struct emit_plan { /* what the command line asks for */
    const struct emit_protocol *protocol;
    const char *endpoint, *tenant, *corpus_file, *write_corpus_file, *ledger_file;
    uint64_t connection_count, stream_count, rate, total, duration_ns, batch_spans, seed;
    uint64_t packet_bytes; /* of a datagram */
    uint64_t give_up_ns;
    uint64_t start_ns; /* of the spans' own time; 0: now */
    bool prepare, ledger_sync, json;
    bool tls;
    const char *tls_ca_file, *tls_cert_file, *tls_key_file, *tls_server_name;
    struct option_list headers; /* "name: value" */
    struct net_endpoint target;
    char path[256]; /* of the URL */
};

/* ---- source.c: where requests come from ---- */

struct emit_batch {
    struct fm_slice otlp;   /* canonical request */
    struct fm_slice body;   /* what is sent: OTLP or its translation; datagrams with their heads */
    struct fm_slice framed; /* gRPC: the same with its 5 bytes in front */
    uint32_t span_count;
    struct fm_buf otlp_buf, body_buf; /* owned; unused when the bytes are the source's */
};
void emit_batch_init(struct emit_batch *batch);
void emit_batch_fini(struct emit_batch *batch);

struct emit_source;
/* With --prepare or --corpus all requests are in memory when this returns. */
FM_MUST int emit_source_new(struct emit_source **ret_source, const struct emit_plan *plan,
                            struct fm_why *why);
struct emit_source *emit_source_free(struct emit_source *source);
FM_DEFINE_AUTO(emit_source)
/* FM_OK; FM_END: all of --total or of the corpus was given out. */
FM_MUST int emit_source_next(struct emit_source *source, struct emit_batch *batch);
FM_MUST int emit_source_write(struct emit_source *source, const char *path, struct fm_why *why);
uint64_t emit_source_bytes(const struct emit_source *source); /* of the corpus in memory */

/* ---- tally.c: what came of it ---- */

#define EMIT_LATENCY_STEPS 64 /* per power of two: 1.6 % apart */
struct emit_tally {
    bool is_datagram;
    uint64_t sent_spans, datagrams; /* by datagrams */
    uint64_t acked_spans, rejected_spans, failed_spans, unknown_spans;
    uint64_t acked_requests, failed_requests, retries, connection_errors, connections;
    uint64_t sent_bytes; /* bodies of acked requests, datagrams */
    uint64_t elapsed_ns, cpu_ns;
    uint64_t latency_max_ns;
    uint64_t latencies[58 * EMIT_LATENCY_STEPS];
    char last_error[256];
};
void emit_tally_latency(struct emit_tally *tally, uint64_t ns);
uint64_t emit_tally_percentile(const struct emit_tally *tally, double share); /* ns */
void emit_tally_print(const struct emit_tally *tally, struct fm_buf *out);
void emit_tally_print_json(const struct emit_tally *tally, struct fm_buf *out);

struct emit_ledger { /* one line "trace id, blank, span id" per span that was acked */
    struct platform *platform;
    struct pf_file *file; /* NULL: no ledger is kept */
    uint64_t offset;
    bool sync;
    struct fm_buf lines;
};
FM_MUST int emit_ledger_open(struct emit_ledger *ledger, const struct emit_plan *plan,
                             struct fm_why *why);
FM_MUST int emit_ledger_add(struct emit_ledger *ledger, struct fm_slice otlp, struct fm_why *why);
void emit_ledger_close(struct emit_ledger *ledger);

/* ---- channel.c: one connection ---- */

struct emit_run;
struct emit_channel;
enum emit_slot_state {
    SLOT_EMPTY,  /* wants a batch */
    SLOT_READY,  /* has one that is to be sent as soon as the channel is open */
    SLOT_SENT,   /* waits for the answer */
    SLOT_PAUSED, /* waits for its time to try again */
};
struct emit_answer {   /* how a request ended; FM_OK: acked, maybe in part */
    int rc;            /* retryable or not, as fm_rc_retryable says */
    uint64_t pause_ns; /* what the server asked for */
    uint64_t rejected_spans;
    char text[200];
};
struct emit_slot {
    struct emit_channel *channel; /* borrowed */
    enum emit_slot_state state;
    struct emit_batch batch;
    uint64_t sent_ns;
    unsigned attempts;
    struct h2_call call;
    bool is_answered; /* the answer is there, the step has not seen it */
    struct emit_answer answer;
    struct pf_timer pause;
};
FM_MUST int emit_channel_new(struct emit_channel **ret_channel, struct emit_run *run);
struct emit_channel *emit_channel_free(struct emit_channel *channel);
void emit_channel_step(struct emit_channel *channel); /* fills empty slots, sends what is ready */
bool emit_channel_is_idle(const struct emit_channel *channel);
uint64_t emit_channel_unknown_spans(const struct emit_channel *channel); /* sent, not answered */
void emit_answer_http(struct emit_answer *answer, bool is_json, int status, uint64_t retry_after_s,
                      struct fm_slice body);
void emit_answer_grpc(struct emit_answer *answer, const struct h2_call *call);

/* ---- post.c: one socket that sends datagrams ---- */

struct emit_post;
FM_MUST int emit_post_new(struct emit_post **ret_post, struct emit_run *run, struct fm_why *why);
struct emit_post *emit_post_free(struct emit_post *post);
void emit_post_step(struct emit_post *post);
bool emit_post_is_idle(const struct emit_post *post);
uint64_t emit_post_unsent_spans(const struct emit_post *post);

/* ---- run.c: pace and end ---- */

struct emit_run {
    const struct emit_plan *plan; /* borrowed */
    struct platform *platform;
    struct emit_source *source;
    struct net_stream_tls *tls;     /* owned; NULL: plain */
    struct emit_channel **channels; /* owned; or else */
    struct emit_post **posts;       /* owned */
    size_t channel_count, post_count;
    struct emit_ledger ledger;
    struct emit_tally tally;
    uint64_t started_ns, deadline_ns, issued_spans;
    uint64_t last_success_ns; /* an ack, a datagram, the end of having nothing to do */
    bool is_ending, is_over, is_terminal;
    struct pf_timer pace, progress, ending;
    int failure; /* of our own disk or memory: stops everything */
    struct fm_why why;
};
/* A batch for an empty slot; FM_NONE: not now, or no more. */
FM_MUST int emit_run_next(struct emit_run *run, struct emit_batch *batch);
/* True: nothing may leave now; the step is called again when it may. */
bool emit_run_must_wait(struct emit_run *run);
void emit_run_acked(struct emit_run *run, const struct emit_slot *slot);
void emit_run_failed(struct emit_run *run, int rc); /* of our own: stops everything */
void emit_run_check(struct emit_run *run);          /* ends the run when nothing is left to do */
FM_MUST int emit_run(struct emit_run *run, const struct emit_plan *plan,
                     struct emit_source *source);

#endif
