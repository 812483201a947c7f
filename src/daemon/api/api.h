/* SPDX-License-Identifier: Apache-2.0 */
/* Private face of api. */
#ifndef FERMATA_API_PRIVATE_H
#define FERMATA_API_PRIVATE_H

#include "fermata/api.h"

struct api {
    struct platform *platform;
    struct api_options options;
    uint64_t start_ns;
    struct net_endpoint endpoint; /* not loopback: any Host is taken */
    bool ready;
    metric requests_total;
};

void api_answer(struct net_request *request, int status, const char *content_type,
                struct fm_slice body);
void api_answer_text(struct net_request *request, int status, const char *text);
/* By identity and X-Scope-OrgID.  false: it was answered, 400 or 403. */
bool api_resolve_tenant(const struct api *api, struct net_request *request,
                        char tenant[TENANT_LEN_MAX + 1]);

/* tail: the path behind /api/traces/ or /api/v2/traces/. */
void api_trace_by_id(struct api *api, struct net_request *request, struct fm_slice tail,
                     bool is_v2);
void api_status(struct api *api, struct net_request *request);
void api_metrics(struct api *api, struct net_request *request);
void api_flush(struct api *api, struct net_request *request);

#endif
