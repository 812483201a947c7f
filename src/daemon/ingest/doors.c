/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP doors: which path of which listener leads where.
 *
 * Jaeger   POST /api/traces, a bare Batch in binary Thrift; GET /api/sampling
 * Sampling GET /sampling, /, /baggageRestrictions
 * Zipkin   POST /api/v2/spans, /api/v1/spans; GET /health
 * OTLP     otlp_http.c
 *
 * Each also answers its protocol's gRPC services (grpc.c), told apart by the Content-Type.
 */
#include "ingest.h"

bool view_is_get(const struct net_request_view *view)
{
    return fm_slice_equal_text(view->method, "GET") || fm_slice_equal_text(view->method, "HEAD");
}

bool view_is_post(const struct net_request_view *view)
{
    return fm_slice_equal_text(view->method, "POST");
}

static bool path_is(const struct net_request_view *view, const char *path)
{
    struct fm_slice bare = view->path;
    while (bare.len > 1 && bare.ptr[bare.len - 1] == '/')
        bare.len--;
    return fm_slice_equal_text(bare, path);
}

/* Zipkin's reporters and the Collector also call zlib by its name. */
static int door_codec(struct fm_slice name, enum codec *ret_codec)
{
    if (fm_slice_equal_nocase(name, "zlib")) {
        *ret_codec = CODEC_DEFLATE;
        return FM_OK;
    }
    return codec_from_name(name, ret_codec);
}

void http_door_post(struct ingest *ingest, struct net_request *request,
                    enum ingest_receiver receiver, enum intake_encoding encoding)
{
    const struct net_request_view *view = net_request_view(request);
    struct intake *intake = intake_new(ingest, request, receiver);
    if (!intake) {
        answer_http_text(ingest, receiver, request, 503, "out of memory");
        return;
    }
    intake->encoding = encoding;
    struct fm_slice name = {0};
    int rc = http_header_find(view->headers, view->header_count, "content-encoding", &name);
    if (rc == FM_OK && door_codec(name, &intake->codec) != FM_OK) {
        const struct answer refusal = {
            400, GRPC_INVALID_ARGUMENT, 0,
            "unsupported Content-Encoding, supported: identity, gzip, zstd, deflate",
            INGEST_OUTCOME_UNSUPPORTED};
        intake_refuse(intake, &refusal);
        return;
    }
    if (intake_resolve_tenant(intake))
        intake_start(intake);
}

/* What is left when no path matched. */
static void door_miss(struct ingest *ingest, enum ingest_receiver receiver,
                      struct net_request *request, const char *hint)
{
    const struct net_request_view *view = net_request_view(request);
    if (hint && path_is(view, "/") && view_is_get(view)) /* load balancers and probes */
        answer_http_text(ingest, receiver, request, 200, hint);
    else
        answer_http_text(ingest, receiver, request, 404, "404 page not found");
}

/* Methods and origins of a path that takes spans; answers and returns false if they are wrong. */
static bool door_takes_post(struct ingest *ingest, enum ingest_receiver receiver,
                            struct net_request *request)
{
    const struct net_request_view *view = net_request_view(request);
    if (fm_slice_equal_text(view->method, "OPTIONS"))
        answer_http_cors_preflight(ingest, receiver, request);
    else if (!view_is_post(view))
        answer_http_bad_method(ingest, receiver, request, "POST");
    else if (answer_origin_is_foreign(ingest, receiver, view))
        answer_http_text(ingest, receiver, request, 403, "403 origin not allowed");
    else
        return true;
    return false;
}

/* ---- OTLP ---- */

void ingest_on_request(void *self, struct net_request *request)
{
    if (grpc_is_asked(net_request_view(request)))
        grpc_door_request(self, request, GRPC_DOOR_OTLP);
    else
        otlp_http_request(self, request);
}

/* ---- Jaeger ---- */

static bool view_is_thrift(const struct net_request_view *view)
{
    struct fm_slice type;
    return http_header_find(view->headers, view->header_count, "content-type", &type) == FM_OK &&
           (http_media_type_is(type, "application/x-thrift") ||
            http_media_type_is(type, "application/vnd.apache.thrift.binary"));
}

static void jaeger_http_request(struct ingest *ingest, struct net_request *request)
{
    const struct net_request_view *view = net_request_view(request);
    if (path_is(view, "/api/sampling"))
        strategies_answer_http(ingest, request, true);
    else if (!path_is(view, "/api/traces"))
        door_miss(ingest, INGEST_JAEGER_HTTP, request,
                  "fermata: send Jaeger's batches to /api/traces\n");
    else if (!door_takes_post(ingest, INGEST_JAEGER_HTTP, request))
        return;
    else if (!view_is_thrift(view))
        answer_http_text(ingest, INGEST_JAEGER_HTTP, request, 400,
                         "unsupported Content-Type, supported: application/x-thrift, "
                         "application/vnd.apache.thrift.binary\n");
    else
        http_door_post(ingest, request, INGEST_JAEGER_HTTP, INTAKE_JAEGER_THRIFT);
}

void ingest_on_jaeger_http(void *self, struct net_request *request)
{
    if (grpc_is_asked(net_request_view(request)))
        grpc_door_request(self, request, GRPC_DOOR_JAEGER | GRPC_DOOR_SAMPLING);
    else
        jaeger_http_request(self, request);
}

void ingest_on_jaeger_grpc(void *self, struct net_request *request)
{
    const unsigned doors = GRPC_DOOR_JAEGER | GRPC_DOOR_SAMPLING;
    if (grpc_is_asked(net_request_view(request)))
        grpc_door_request(self, request, doors);
    else if (!grpc_door_refuses(request, doors))
        door_miss(self, INGEST_JAEGER_GRPC, request, "fermata: speak gRPC here\n");
}

void ingest_on_jaeger_sampling(void *self, struct net_request *request)
{
    struct ingest *ingest = self;
    const struct net_request_view *view = net_request_view(request);
    if (grpc_is_asked(view))
        grpc_door_request(ingest, request, GRPC_DOOR_SAMPLING);
    else if (path_is(view, "/sampling") || path_is(view, "/api/sampling"))
        strategies_answer_http(ingest, request, true);
    else if (path_is(view, "/baggageRestrictions") && view_is_get(view))
        answer_http_json(request, FM_SLICE("[]"));
    else if (path_is(view, "/"))
        strategies_answer_http(ingest, request, false);
    else if (!grpc_door_refuses(request, GRPC_DOOR_SAMPLING))
        door_miss(ingest, INGEST_JAEGER_HTTP, request, NULL);
}

/* ---- Zipkin ---- */

/* By the Content-Type, whichever of the two paths it was; whatever is not one of these is JSON. */
static enum intake_encoding zipkin_encoding(const struct net_request_view *view)
{
    struct fm_slice type;
    if (http_header_find(view->headers, view->header_count, "content-type", &type) != FM_OK)
        return INTAKE_ZIPKIN_JSON;
    if (http_media_type_is(type, "application/x-protobuf"))
        return INTAKE_ZIPKIN_PB;
    if (http_media_type_is(type, "application/x-thrift"))
        return INTAKE_ZIPKIN_THRIFT;
    return INTAKE_ZIPKIN_JSON;
}

static void zipkin_http_request(struct ingest *ingest, struct net_request *request)
{
    const struct net_request_view *view = net_request_view(request);
    if (path_is(view, "/health") && view_is_get(view))
        answer_http_json(request, FM_SLICE("{\"status\":\"UP\"}"));
    else if (!path_is(view, "/api/v2/spans") && !path_is(view, "/api/v1/spans"))
        door_miss(ingest, INGEST_ZIPKIN, request,
                  "fermata: send Zipkin's spans to /api/v2/spans\n");
    else if (door_takes_post(ingest, INGEST_ZIPKIN, request))
        http_door_post(ingest, request, INGEST_ZIPKIN, zipkin_encoding(view));
}

void ingest_on_zipkin(void *self, struct net_request *request)
{
    if (grpc_is_asked(net_request_view(request)))
        grpc_door_request(self, request, GRPC_DOOR_ZIPKIN);
    else if (!grpc_door_refuses(request, GRPC_DOOR_ZIPKIN))
        zipkin_http_request(self, request);
}
