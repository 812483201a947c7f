/* SPDX-License-Identifier: Apache-2.0 */
/* GET /api/traces/{id} and /api/v2/traces/{id}, as Tempo answers them. */
#include "api.h"

#include <stdlib.h>

struct trace_exchange {
    struct net_request *request; /* until answered */
    struct query_trace query;
    bool is_v2;
};

static bool accepts_protobuf(const struct net_request_view *view)
{
    struct fm_slice accept;
    static const char wanted[] = "application/protobuf";
    if (http_header_find(view->headers, view->header_count, "accept", &accept) != FM_OK)
        return false;
    return memmem(accept.ptr, accept.len, wanted, sizeof wanted - 1) != NULL;
}

static void trace_exchange_done(struct query_trace *query, int rc)
{
    struct trace_exchange *exchange = query->self;
    bool is_protobuf = query->format == TRACE_V1_PROTOBUF || query->format == TRACE_V2_PROTOBUF;
    if (rc == FM_EUNAVAILABLE)
        api_answer_text(exchange->request, 429, "too many queries at once");
    else if (rc == FM_ELIMIT)
        api_answer_text(exchange->request, 422, query->why.text);
    else if (rc < 0)
        api_answer_text(exchange->request, 500,
                        query->why.text[0] ? query->why.text : fm_rc_text(rc));
    else if (query->span_count == 0 && !exchange->is_v2)
        api_answer(exchange->request, 404, "text/plain; charset=utf-8", FM_SLICE(""));
    else
        api_answer(exchange->request, 200,
                   is_protobuf ? "application/protobuf" : "application/json",
                   fm_buf_slice(&query->answer));
    fm_buf_fini(&query->answer);
    free(exchange);
}

/* Parameters that Tempo checks although they do not change what one node answers. */
static int check_parameters(const struct net_request_view *view, struct fm_why *why)
{
    struct fm_arena arena;
    struct fm_slice mode;
    int rc = FM_OK;
    fm_arena_init(&arena, FM_KIB(16));
    if (http_query_find(view->query, "mode", &arena, &mode) == FM_OK &&
        !fm_slice_equal_text(mode, "all") && !fm_slice_equal_text(mode, "ingesters") &&
        !fm_slice_equal_text(mode, "blocks") && !fm_slice_equal_text(mode, "external"))
        rc = fm_fail(why, FM_EMALFORMED, "invalid value for mode %.*s", (int)mode.len,
                     (const char *)mode.ptr);
    fm_arena_fini(&arena);
    return rc;
}

void api_trace_by_id(struct api *api, struct net_request *request, struct fm_slice tail, bool is_v2)
{
    const struct net_request_view *view = net_request_view(request);
    struct fm_why why;
    struct trace_id id;
    if (trace_id_parse(tail, &id, &why) < 0 || check_parameters(view, &why) < 0) {
        api_answer_text(request, 400, why.text);
        return;
    }
    struct trace_exchange *exchange = calloc(1, sizeof *exchange);
    if (!exchange) {
        api_answer_text(request, 503, "out of memory");
        return;
    }
    if (!api_resolve_tenant(api, request, exchange->query.tenant)) {
        free(exchange);
        return;
    }
    bool is_protobuf = accepts_protobuf(view);
    exchange->request = request;
    exchange->is_v2 = is_v2;
    exchange->query.id = id;
    exchange->query.self = exchange;
    exchange->query.done = trace_exchange_done;
    if (is_v2)
        exchange->query.format = is_protobuf ? TRACE_V2_PROTOBUF : TRACE_V2_JSON;
    else
        exchange->query.format = is_protobuf ? TRACE_V1_PROTOBUF : TRACE_V1_JSON;
    query_trace_start(api->options.query, &exchange->query);
}
