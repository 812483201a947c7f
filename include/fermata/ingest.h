/* SPDX-License-Identifier: Apache-2.0 */
/* ingest - receivers: request in, canonical OTLP into the store, answer when it is durable. */
#ifndef FERMATA_INGEST_H
#define FERMATA_INGEST_H

#include "fermata/decode.h"
#include "fermata/net.h"
#include "fermata/store.h"

struct ingest_options {
    struct decode_limits limits;
    uint64_t decompressed_bytes_max;
    uint32_t retry_after_ms;
    struct net_budget *budget; /* borrowed; decompressed bodies are charged to it */
    const char *default_tenant;
    const char *cors_allowed_origins; /* blank separated, "*", or "" */
};
struct ingest;
FM_MUST int ingest_new(struct ingest **ret_ingest, struct platform *platform, struct store *store,
                       const struct ingest_options *options);
struct ingest *ingest_free(struct ingest *ingest); /* no request may be in flight */

/* Labels of the counters: by what the client spoke, not by the port it chose. */
enum ingest_receiver { INGEST_OTLP_GRPC, INGEST_OTLP_HTTP, INGEST_RECEIVER_COUNT };
/* net_server_options.on_request: gRPC and HTTP are both served on either OTLP port. */
void ingest_on_request(void *ingest, struct net_request *request);
uint64_t ingest_accepted_spans(const struct ingest *ingest, enum ingest_receiver receiver);
uint64_t ingest_refused_spans(const struct ingest *ingest, enum ingest_receiver receiver);
void ingest_put_metrics(const struct ingest *ingest, struct fm_buf *out);

#endif
