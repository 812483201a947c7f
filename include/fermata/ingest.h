/* SPDX-License-Identifier: Apache-2.0 */
/* ingest - receivers: request in, canonical OTLP into the store, answer when it is durable. */
#ifndef FERMATA_INGEST_H
#define FERMATA_INGEST_H

#include "fermata/decode.h"
#include "fermata/net_udp.h"
#include "fermata/process.h"
#include "fermata/sample_head.h"
#include "fermata/store.h"
#include "fermata/tenants.h"

struct ingest_options {
    struct decode_limits limits;
    uint64_t decompressed_bytes_max;
    uint32_t decompression_ratio_max; /* after the first MiB that comes out */
    uint32_t retry_after_ms;
    struct net_budget *budget;        /* borrowed; decompressed bodies are charged to it */
    struct tenants *tenants;          /* borrowed */
    const struct process *process;    /* borrowed; NULL: none */
    struct sample_head_options head;  /* zeros: every span comes in */
    const char *cors_allowed_origins; /* of OTLP/HTTP: blank separated, "*", or "" */
    const char *zipkin_cors_allowed_origins;
    const char *sampling_strategies_file; /* "": sample everything */
};
struct ingest;
FM_MUST int ingest_new(struct ingest **ret_ingest, struct platform *platform, struct store *store,
                       const struct ingest_options *options);
struct ingest *ingest_free(struct ingest *ingest); /* no request may be in flight */
/* When the listeners are closed, before the store closes: what datagrams brought goes to it now. */
void ingest_stop(struct ingest *ingest);

/* Labels of the counters: by what the client spoke, not by the port it chose. */
#define INGEST_RECEIVERS(X)                                                                        \
    X(OTLP_GRPC, "otlp_grpc")                                                                      \
    X(OTLP_HTTP, "otlp_http")                                                                      \
    X(JAEGER_COMPACT, "jaeger_thrift_compact")                                                     \
    X(JAEGER_BINARY, "jaeger_thrift_binary")                                                       \
    X(JAEGER_HTTP, "jaeger_thrift_http")                                                           \
    X(JAEGER_GRPC, "jaeger_grpc")                                                                  \
    X(ZIPKIN, "zipkin")
enum ingest_receiver {
#define X(name, text) INGEST_##name,
    INGEST_RECEIVERS(X)
#undef X
        INGEST_RECEIVER_COUNT
};
/* net_server_options.on_request, self is the ingest.  OTLP: gRPC and HTTP on either port. */
void ingest_on_request(void *ingest, struct net_request *request);
void ingest_on_jaeger_http(void *ingest, struct net_request *request);
void ingest_on_jaeger_grpc(void *ingest, struct net_request *request); /* and SamplingManager */
void ingest_on_jaeger_sampling(void *ingest, struct net_request *request);
void ingest_on_zipkin(void *ingest, struct net_request *request); /* HTTP and SpanService */
/* net_udp_options.on_datagrams, self is the ingest.  Either encoding on either port. */
void ingest_on_jaeger_compact(void *ingest, const struct fm_slice *datagrams, size_t count);
void ingest_on_jaeger_binary(void *ingest, const struct fm_slice *datagrams, size_t count);
/* The socket of a receiver, to be paused while there is no room and asked for its counters; NULL
 * before it is closed. */
void ingest_attach_udp(struct ingest *ingest, enum ingest_receiver receiver, struct net_udp *udp);
/* Other processors from now on, taken over; NULL: none.  What is under way ends with those it began
 * with; counters of a name go on.  On failure those in use stay, and process is freed. */
FM_MUST int ingest_set_process(struct ingest *ingest, struct process *process);
/* Looks at the strategies file again. */
void ingest_reload(struct ingest *ingest);
uint64_t ingest_accepted_spans(const struct ingest *ingest, enum ingest_receiver receiver);
uint64_t ingest_refused_spans(const struct ingest *ingest, enum ingest_receiver receiver);
void ingest_put_metrics(const struct ingest *ingest, struct fm_buf *out);
/* Lines of fermata_spans_dropped_total of head sampling and processors, without the family. */
void ingest_put_dropped(const struct ingest *ingest, struct fm_buf *out);

#endif
