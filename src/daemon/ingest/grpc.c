/* SPDX-License-Identifier: Apache-2.0 */
/* The gRPC doors: unary calls of all services, their framing, and the health check of probes. */
#include "ingest.h"

#define GRPC_PREFIX_BYTES   5u
#define GRPC_QUESTION_MAX   FM_KIB(64) /* a request for a sampling strategy */
#define GRPC_STRATEGY_MAX   FM_MIB(4)
#define GRPC_HEALTH_SERVING FM_SLICE("\x08\x01")

struct grpc_method {
    unsigned door;
    const char *path;
    enum ingest_receiver receiver;
    enum intake_encoding encoding;
    void (*answer)(struct ingest *ingest, struct net_request *request); /* NULL: takes spans */
};

static void grpc_answer_strategy(struct ingest *ingest, struct net_request *request);

static const struct grpc_method grpc_methods[] = {
    {GRPC_DOOR_OTLP, "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
     INGEST_OTLP_GRPC, INTAKE_OTLP_PROTOBUF, NULL},
    {GRPC_DOOR_JAEGER, "/jaeger.api_v2.CollectorService/PostSpans", INGEST_JAEGER_GRPC,
     INTAKE_JAEGER_PB, NULL},
    {GRPC_DOOR_ZIPKIN, "/zipkin.proto3.SpanService/Report", INGEST_ZIPKIN, INTAKE_ZIPKIN_PB, NULL},
    {GRPC_DOOR_SAMPLING, "/jaeger.api_v2.SamplingManager/GetSamplingStrategy", INGEST_JAEGER_GRPC,
     INTAKE_JAEGER_PB, grpc_answer_strategy},
};
static const char grpc_health_path[] = "/grpc.health.v1.Health/Check";

bool grpc_is_asked(const struct net_request_view *view)
{
    struct fm_slice type;
    if (!view->is_h2 ||
        http_header_find(view->headers, view->header_count, "content-type", &type) != FM_OK)
        return false;
    static const char grpc[] = "application/grpc";
    size_t len = sizeof grpc - 1;
    if (type.len < len || !fm_slice_equal_nocase(fm_slice(type.ptr, len), grpc))
        return false;
    return type.len == len || type.ptr[len] == '+' || type.ptr[len] == ';';
}

static const struct grpc_method *grpc_method_find(struct fm_slice path, unsigned doors)
{
    for (size_t i = 0; i < FM_COUNT(grpc_methods); i++) {
        if ((grpc_methods[i].door & doors) && fm_slice_equal_text(path, grpc_methods[i].path))
            return &grpc_methods[i];
    }
    return NULL;
}

static bool grpc_timeout_is_valid(const struct net_request_view *view)
{
    struct fm_slice timeout;
    uint64_t ns;
    return http_header_find(view->headers, view->header_count, "grpc-timeout", &timeout) != FM_OK ||
           grpc_timeout_parse(timeout, &ns) == FM_OK;
}

static void grpc_bad_request(struct net_request *request, int status, const char *code)
{
    const struct http_header headers[] = {
        {FM_SLICE("content-type"), FM_SLICE("application/grpc")},
        {FM_SLICE("grpc-status"), fm_slice_text(code)},
    };
    struct net_response response = {
        .status = status, .headers = headers, .header_count = FM_COUNT(headers)};
    net_respond(request, &response);
}

bool grpc_door_refuses(struct net_request *request, unsigned doors)
{
    if (!grpc_method_find(net_request_view(request)->path, doors))
        return false;
    grpc_bad_request(request, 415, "3");
    return true;
}

/* Exactly one message, compressed as the header says.  Fills refusal and returns false if not. */
static bool grpc_read_framing(const struct net_request_view *view, uint64_t limit,
                              struct fm_slice *ret_message, enum codec *ret_codec,
                              struct answer *refusal)
{
    struct fm_slice rest = view->body, name = {0};
    struct grpc_message message, second;
    *refusal = (struct answer){200, GRPC_INTERNAL, 0, "", INGEST_OUTCOME_MALFORMED};

    int rc = grpc_message_next(&rest, limit, &message);
    if (rc == FM_ELIMIT) {
        refusal->grpc_code = GRPC_RESOURCE_EXHAUSTED;
        refusal->outcome = INGEST_OUTCOME_TOO_LARGE;
        refusal->message = "message is larger than the limit";
        return false;
    }
    if (rc != FM_OK || grpc_message_next(&rest, limit, &second) != FM_END) {
        refusal->message = rc == FM_EMALFORMED ? "message framing is broken"
                                               : "a unary call carries exactly one message";
        return false;
    }
    *ret_message = message.bytes;
    *ret_codec = CODEC_NONE;
    if (!message.compressed)
        return true;
    if (http_header_find(view->headers, view->header_count, "grpc-encoding", &name) == FM_OK &&
        codec_from_name(name, ret_codec) != FM_OK) {
        refusal->grpc_code = GRPC_UNIMPLEMENTED;
        refusal->outcome = INGEST_OUTCOME_UNSUPPORTED;
        refusal->message = "grpc-encoding is not supported";
        return false;
    }
    refusal->message = "compressed flag without grpc-encoding";
    return *ret_codec != CODEC_NONE;
}

static void grpc_export(struct ingest *ingest, struct net_request *request,
                        const struct grpc_method *method)
{
    struct intake *intake = intake_new(ingest, request, method->receiver);
    if (!intake) {
        answer_grpc(request, GRPC_UNAVAILABLE, "out of memory");
        return;
    }
    struct answer refusal;
    struct fm_slice message;
    intake->encoding = method->encoding;
    intake->is_grpc = true;
    if (!grpc_read_framing(net_request_view(request), ingest->options.decompressed_bytes_max,
                           &message, &intake->codec, &refusal)) {
        intake_refuse(intake, &refusal);
        return;
    }
    intake->body_skip = GRPC_PREFIX_BYTES;
    if (intake_resolve_tenant(intake))
        intake_start(intake);
}

/* jaeger.api_v2.SamplingManager/GetSamplingStrategy. */
static void grpc_answer_strategy(struct ingest *ingest, struct net_request *request)
{
    struct answer refusal;
    struct fm_slice message, service;
    enum codec codec;
    if (!grpc_read_framing(net_request_view(request), GRPC_QUESTION_MAX, &message, &codec,
                           &refusal)) {
        answer_grpc(request, refusal.grpc_code, refusal.message);
        return;
    }
    struct fm_buf plain, body;
    fm_buf_init(&plain, GRPC_QUESTION_MAX);
    fm_buf_init(&body, GRPC_STRATEGY_MAX);
    int rc = codec == CODEC_NONE ? FM_OK : codec_inflate(codec, message, &plain);
    if (rc == FM_OK && codec != CODEC_NONE)
        message = fm_buf_slice(&plain);
    if (rc < 0) {
        answer_grpc(request, GRPC_INTERNAL, "the message does not decompress");
    } else if (sampling_read_request(message, &service) < 0) {
        answer_grpc(request, GRPC_INVALID_ARGUMENT, "not a SamplingStrategyParameters");
    } else {
        sampling_put_pb(strategies_now(ingest->strategies), service, &body);
        if (body.failed)
            answer_grpc(request, GRPC_UNAVAILABLE, "out of memory");
        else
            answer_grpc_message(request, fm_buf_slice(&body));
    }
    fm_buf_fini(&plain);
    fm_buf_fini(&body);
}

void grpc_door_request(struct ingest *ingest, struct net_request *request, unsigned doors)
{
    const struct net_request_view *view = net_request_view(request);
    const struct grpc_method *method = grpc_method_find(view->path, doors);
    if (!view_is_post(view))
        grpc_bad_request(request, 405, "13");
    else if (!grpc_timeout_is_valid(view))
        grpc_bad_request(request, 400, "13");
    else if (method && method->answer)
        method->answer(ingest, request);
    else if (method)
        grpc_export(ingest, request, method);
    else if (fm_slice_equal_text(view->path, grpc_health_path))
        answer_grpc_message(request, GRPC_HEALTH_SERVING);
    else
        answer_grpc(request, GRPC_UNIMPLEMENTED, "unknown service or method");
}
