/* SPDX-License-Identifier: Apache-2.0 */
/* api - the query port: Tempo's HTTP API, health, status, metrics. */
#ifndef FERMATA_API_H
#define FERMATA_API_H

#include "fermata/export.h"
#include "fermata/net.h"
#include "fermata/query.h"
#include "fermata/replicate.h"
#include "fermata/store.h"
#include "fermata/tenants.h"

#define API_LISTENERS_MAX 16
struct api_listener { /* a line of the status */
    const char *name, *endpoint;
    bool has_spans; /* a receiver's, by the protocol it is named after */
    uint64_t accepted_spans, refused_spans;
};
struct api_sampling { /* tail sampling: spans, since the start but for what waits */
    uint64_t kept_spans, ahead_spans, sampled_out_spans;
    uint64_t deciding_spans, deciding_blocks, unbuilt_blocks;
    char problem[256];
};
struct api_policy {
    const char *name; /* of the rules, and what decides beside them */
    uint64_t kept_spans, sampled_out_spans;
};
struct api_options {
    const char *prefix;      /* "" or "/tempo" */
    struct tenants *tenants; /* borrowed; whose data a request may read */
    /* Where it listens: on loopback only this host, localhost and addresses are taken as Host.
     * NULL: any. */
    const char *endpoint;
    struct store *store;
    const char *data_dir; /* borrowed; the store's */
    struct query_engine *query;
    struct replicator *replicator; /* NULL: uploads are off */
    /* What api does not know itself: ingest, listeners, the process.  Each may be NULL. */
    void (*put_metrics)(void *self, struct fm_buf *out);
    void (*count_spans)(void *self, uint64_t *ret_accepted, uint64_t *ret_refused);
    /* index below API_LISTENERS_MAX; false: not open. */
    bool (*listener_at)(void *self, size_t index, struct api_listener *ret_row);
    bool (*exporter_at)(void *self, size_t index, struct exporter_status *ret_row); /* likewise */
    bool (*sampling)(void *self, struct api_sampling *ret_row); /* false: there is none */
    bool (*policy_at)(void *self, size_t index, struct api_policy *ret_row);
    uint64_t (*rss_bytes)(void);
    void *self;
};
struct api;
FM_MUST int api_new(struct api **ret_api, struct platform *platform,
                    const struct api_options *options);
struct api *api_free(struct api *api);
void api_set_ready(struct api *api, bool ready);
void api_on_request(void *api, struct net_request *request); /* net_server_options.on_request */

#endif
