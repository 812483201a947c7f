/* SPDX-License-Identifier: Apache-2.0 */
/* OTLP/gRPC: TraceService/Export, and the health check that probes ask for. */
#include "ingest.h"

#define GRPC_PREFIX_BYTES 5u

static const char export_path[] = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
static const char health_path[] = "/grpc.health.v1.Health/Check";

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

bool otlp_grpc_path(struct fm_slice path)
{
    return fm_slice_equal_text(path, export_path);
}

void otlp_grpc_bad_content_type(struct net_request *request)
{
    grpc_bad_request(request, 415, "3");
}

/* Exactly one message, compressed as the header says.  Fills refusal and returns false if not. */
static bool intake_read_framing(struct intake *intake, const struct net_request_view *view,
                                struct answer *refusal)
{
    struct fm_slice rest = view->body, name = {0};
    struct grpc_message message, second;
    uint64_t limit = intake->ingest->options.decompressed_bytes_max;
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
    intake->body_skip = GRPC_PREFIX_BYTES;
    if (!message.compressed)
        return true;
    if (http_header_find(view->headers, view->header_count, "grpc-encoding", &name) == FM_OK &&
        codec_from_name(name, &intake->codec) != FM_OK) {
        refusal->grpc_code = GRPC_UNIMPLEMENTED;
        refusal->outcome = INGEST_OUTCOME_UNSUPPORTED;
        refusal->message = "grpc-encoding is not supported";
        return false;
    }
    refusal->message = "compressed flag without grpc-encoding";
    return intake->codec != CODEC_NONE;
}

static void otlp_grpc_export(struct ingest *ingest, struct net_request *request)
{
    const struct net_request_view *view = net_request_view(request);
    struct intake *intake = intake_new(ingest, request);
    if (!intake) {
        answer_grpc(request, GRPC_UNAVAILABLE, "out of memory");
        return;
    }
    struct answer refusal;
    intake->receiver = INGEST_OTLP_GRPC;
    intake->is_grpc = true;
    if (!intake_read_framing(intake, view, &refusal)) {
        intake_refuse(intake, &refusal);
        return;
    }
    if (intake_set_tenant(intake, view) != FM_OK) {
        refusal.grpc_code = GRPC_INVALID_ARGUMENT;
        refusal.message = "x-scope-orgid is not a valid tenant name";
        intake_refuse(intake, &refusal);
        return;
    }
    intake->body = net_request_take_body(request);
    intake_start(intake);
}

void otlp_grpc_request(struct ingest *ingest, struct net_request *request)
{
    const struct net_request_view *view = net_request_view(request);
    if (!fm_slice_equal_text(view->method, "POST"))
        grpc_bad_request(request, 405, "13");
    else if (!grpc_timeout_is_valid(view))
        grpc_bad_request(request, 400, "13");
    else if (fm_slice_equal_text(view->path, export_path))
        otlp_grpc_export(ingest, request);
    else if (fm_slice_equal_text(view->path, health_path))
        answer_grpc_message(request, FM_SLICE("\x08\x01")); /* status: SERVING */
    else
        answer_grpc(request, GRPC_UNIMPLEMENTED, "unknown service or method");
}
