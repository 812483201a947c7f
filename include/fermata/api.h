/* SPDX-License-Identifier: Apache-2.0 */
/* api - the query port: Tempo's HTTP API, health, status, metrics. */
#ifndef FERMATA_API_H
#define FERMATA_API_H

#include "fermata/net.h"
#include "fermata/query.h"
#include "fermata/replicate.h"
#include "fermata/store.h"

struct api_options {
    const char *prefix; /* "" or "/tempo" */
    const char *default_tenant;
    /* Where it listens: on loopback only this host, localhost and addresses are taken as Host.
     * NULL: any. */
    const char *endpoint;
    struct store *store;
    struct query_engine *query;
    struct replicator *replicator; /* NULL: uploads are off */
    /* What api does not know itself: ingest, listeners, the process.  Each may be NULL. */
    void (*put_metrics)(void *self, struct fm_buf *out);
    void (*count_spans)(void *self, uint64_t *ret_accepted, uint64_t *ret_refused);
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
