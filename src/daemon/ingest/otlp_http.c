/* SPDX-License-Identifier: Apache-2.0 */
/* OTLP/HTTP: POST /v1/traces, protobuf or JSON, as the protocol's text and its clients have it. */
#include "ingest.h"

static bool path_is_traces(struct fm_slice path)
{
    /* The aliases are what clients make of a base URL with a slash too many, of the signal's name
     * before 1.0, and of a per-signal endpoint given as a host alone. */
    static const char *const paths[] = {"/v1/traces", "/v1/traces/", "//v1/traces", "/v1/trace"};
    for (size_t i = 0; i < FM_COUNT(paths); i++) {
        if (fm_slice_equal_text(path, paths[i]))
            return true;
    }
    return false;
}

/* Media type of the body; FM_NONE: not one of OTLP's. */
static int otlp_http_encoding(const struct net_request_view *view,
                              enum intake_encoding *ret_encoding)
{
    struct fm_slice type;
    if (http_header_find(view->headers, view->header_count, "content-type", &type) != FM_OK)
        return FM_NONE;
    if (http_media_type_is(type, "application/x-protobuf")) {
        *ret_encoding = INTAKE_OTLP_PROTOBUF;
        return FM_OK;
    }
    if (http_media_type_is(type, "application/json")) {
        *ret_encoding = INTAKE_OTLP_JSON;
        return FM_OK;
    }
    return FM_NONE;
}

void otlp_http_request(struct ingest *ingest, struct net_request *request)
{
    const struct net_request_view *view = net_request_view(request);
    enum intake_encoding encoding = INTAKE_OTLP_PROTOBUF;
    bool is_root = fm_slice_equal_text(view->path, "/");
    bool is_otlp = otlp_http_encoding(view, &encoding) == FM_OK;

    if (grpc_door_refuses(request, GRPC_DOOR_OTLP))
        return;
    if (is_root && view_is_get(view)) /* load balancers and probes */
        answer_http_text(ingest, INGEST_OTLP_HTTP, request, 200,
                         "fermata: send OTLP to /v1/traces\n");
    else if (!path_is_traces(view->path) && !(is_root && view_is_post(view) && is_otlp))
        answer_http_text(ingest, INGEST_OTLP_HTTP, request, 404, "404 page not found");
    else if (fm_slice_equal_text(view->method, "OPTIONS"))
        answer_http_cors_preflight(ingest, INGEST_OTLP_HTTP, request);
    else if (!view_is_post(view))
        answer_http_bad_method(ingest, INGEST_OTLP_HTTP, request, "POST");
    else if (answer_origin_is_foreign(ingest, INGEST_OTLP_HTTP, view))
        answer_http_text(ingest, INGEST_OTLP_HTTP, request, 403,
                         "403 origin not allowed, see cors_allowed_origins");
    else if (!is_otlp)
        answer_http_text(ingest, INGEST_OTLP_HTTP, request, 415,
                         "415 unsupported media type, supported: [application/json, "
                         "application/x-protobuf]");
    else
        http_door_post(ingest, request, INGEST_OTLP_HTTP, encoding);
}
