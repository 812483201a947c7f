/* SPDX-License-Identifier: Apache-2.0 */
/* Private face of api. */
#ifndef FERMATA_API_PRIVATE_H
#define FERMATA_API_PRIVATE_H

#include "fermata/api.h"
#include "question.h"

struct api {
    struct platform *platform;
    struct api_options options;
    uint64_t start_ns;
    struct net_endpoint endpoint; /* not loopback: any Host is taken */
    bool ready;
    bool why_is_running;
    metric requests_total;
    metric questions_total[QUESTION_FORMS]; /* by enum question_form */
    metric questions_wrong_total, clients_gone_total;
};
uint64_t api_unix_ns(const struct api *api);

void api_answer(struct net_request *request, int status, const char *content_type,
                struct fm_slice body);
void api_answer_text(struct net_request *request, int status, const char *text);
/* By identity and X-Scope-OrgID.  false: it was answered, 400 or 403. */
bool api_resolve_tenant(const struct api *api, struct net_request *request,
                        char tenant[TENANT_LEN_MAX + 1]);

/* tail: the path behind /api/traces/ or /api/v2/traces/. */
void api_trace_by_id(struct api *api, struct net_request *request, struct fm_slice tail,
                     bool is_v2);
/* Handlers: routes.h. */
void api_ready(struct api *api, struct net_request *request, struct fm_slice wild);
void api_echo(struct api *api, struct net_request *request, struct fm_slice wild);
void api_buildinfo(struct api *api, struct net_request *request, struct fm_slice wild);
void api_status(struct api *api, struct net_request *request, struct fm_slice wild);
void api_metrics(struct api *api, struct net_request *request, struct fm_slice wild);
void api_flush(struct api *api, struct net_request *request, struct fm_slice wild);
void api_why(struct api *api, struct net_request *request, struct fm_slice wild);
void api_search(struct api *api, struct net_request *request, struct fm_slice wild);
void api_tags(struct api *api, struct net_request *request, struct fm_slice wild);
void api_tags_v2(struct api *api, struct net_request *request, struct fm_slice wild);
void api_values(struct api *api, struct net_request *request, struct fm_slice wild);
void api_values_v2(struct api *api, struct net_request *request, struct fm_slice wild);
void api_query_range(struct api *api, struct net_request *request, struct fm_slice wild);
void api_query_instant(struct api *api, struct net_request *request, struct fm_slice wild);

/* gRPC, rpc.c: whether a request is of it, and the way of those that are. */
bool rpc_is_asked(const struct net_request_view *view);
void rpc_on_request(struct api *api, struct net_request *request);
void rpc_refuse(struct net_request *request, int code, const char *text);

#endif
