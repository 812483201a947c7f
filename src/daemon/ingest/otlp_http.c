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
        *ret_encoding = INTAKE_PROTOBUF;
        return FM_OK;
    }
    if (http_media_type_is(type, "application/json")) {
        *ret_encoding = INTAKE_JSON;
        return FM_OK;
    }
    return FM_NONE;
}

static void otlp_http_post(struct ingest *ingest, struct net_request *request,
                           enum intake_encoding encoding)
{
    const struct net_request_view *view = net_request_view(request);
    struct intake *intake = intake_new(ingest, request);
    if (!intake) {
        answer_http_text(ingest, request, 503, "out of memory");
        return;
    }
    intake->receiver = INGEST_OTLP_HTTP;
    intake->encoding = encoding;
    struct answer refusal = {400, GRPC_INVALID_ARGUMENT, 0, "", INGEST_OUTCOME_UNSUPPORTED};
    struct fm_slice name = {0};
    int rc = http_header_find(view->headers, view->header_count, "content-encoding", &name);
    if (rc == FM_OK && codec_from_name(name, &intake->codec) != FM_OK) {
        refusal.message = "unsupported Content-Encoding, supported: identity, gzip, zstd, deflate";
        intake_refuse(intake, &refusal);
        return;
    }
    if (intake_set_tenant(intake, view) != FM_OK) {
        refusal.message = "X-Scope-OrgID is not a valid tenant name";
        refusal.outcome = INGEST_OUTCOME_MALFORMED;
        intake_refuse(intake, &refusal);
        return;
    }
    intake->body = net_request_take_body(request);
    intake_start(intake);
}

void otlp_http_request(struct ingest *ingest, struct net_request *request)
{
    const struct net_request_view *view = net_request_view(request);
    enum intake_encoding encoding = INTAKE_PROTOBUF;
    bool is_root = fm_slice_equal_text(view->path, "/");
    bool is_get =
        fm_slice_equal_text(view->method, "GET") || fm_slice_equal_text(view->method, "HEAD");
    bool is_post = fm_slice_equal_text(view->method, "POST");
    bool is_otlp = otlp_http_encoding(view, &encoding) == FM_OK;

    if (otlp_grpc_path(view->path)) /* gRPC's path with another protocol's Content-Type */
        otlp_grpc_bad_content_type(request);
    else if (is_root && is_get) /* load balancers and probes */
        answer_http_text(ingest, request, 200, "fermata: send OTLP to /v1/traces\n");
    else if (!path_is_traces(view->path) && !(is_root && is_post && is_otlp))
        answer_http_text(ingest, request, 404, "404 page not found");
    else if (fm_slice_equal_text(view->method, "OPTIONS"))
        answer_http_cors_preflight(ingest, request);
    else if (!is_post)
        answer_http_text(ingest, request, 405, "405 method not allowed, supported: [POST]");
    else if (answer_origin_is_foreign(ingest, view))
        answer_http_text(ingest, request, 403, "403 origin not allowed, see cors_allowed_origins");
    else if (!is_otlp)
        answer_http_text(ingest, request, 415,
                         "415 unsupported media type, supported: [application/json, "
                         "application/x-protobuf]");
    else
        otlp_http_post(ingest, request, encoding);
}
