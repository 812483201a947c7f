/* SPDX-License-Identifier: Apache-2.0 */
/* answer - what clients are told, exactly as their SDKs test for it.
 *
 * Jaeger and Zipkin over HTTP: 202 with an empty body, or a status and a line of text.
 * OTLP/HTTP: Content-Type is the bare media type of the request (Go clients compare it byte for
 * byte); the body is ExportTraceServiceResponse or google.rpc.Status in the request's encoding.
 * gRPC: success is a length-prefixed message and trailers; errors are trailers-only, with RetryInfo
 * both as status details and under the key that Python's SDK reads.
 */
#include "ingest.h"

#include <stdio.h>

#define ANSWER_MAX          FM_KIB(4)
#define ANSWER_HEADERS_MAX  8
#define ANSWER_RETRY_MS_MAX 2000u /* clients drop what cannot be repeated within their 10 s */

static const struct http_header grpc_content_type = {{(const uint8_t *)"content-type", 12},
                                                     {(const uint8_t *)"application/grpc", 16}};

static struct http_header header_text(const char *name, struct fm_slice value)
{
    return (struct http_header){fm_slice_text(name), value};
}

/* ---- CORS ---- */

static struct fm_slice cors_origins(const struct ingest *ingest, enum ingest_receiver receiver)
{
    if (receiver == INGEST_OTLP_HTTP)
        return fm_slice_text(ingest->options.cors_allowed_origins);
    if (receiver == INGEST_ZIPKIN)
        return fm_slice_text(ingest->options.zipkin_cors_allowed_origins);
    return (struct fm_slice){0};
}

/* The value for Access-Control-Allow-Origin; FM_NONE: not a browser, or not an allowed origin. */
static int cors_origin(const struct ingest *ingest, enum ingest_receiver receiver,
                       const struct net_request_view *view, struct fm_slice *ret_allowed)
{
    struct fm_slice origin, rest = cors_origins(ingest, receiver);
    if (!rest.len ||
        http_header_find(view->headers, view->header_count, "origin", &origin) != FM_OK)
        return FM_NONE;
    while (rest.len) {
        size_t len = 0;
        while (len < rest.len && rest.ptr[len] != ' ')
            len++;
        struct fm_slice word = fm_slice(rest.ptr, len);
        if (fm_slice_equal_text(word, "*") || fm_slice_equal(word, origin)) {
            *ret_allowed = word;
            return FM_OK;
        }
        rest = fm_slice(rest.ptr + len, rest.len - len);
        while (rest.len && rest.ptr[0] == ' ')
            rest = fm_slice(rest.ptr + 1, rest.len - 1);
    }
    return FM_NONE;
}

bool answer_origin_is_foreign(const struct ingest *ingest, enum ingest_receiver receiver,
                              const struct net_request_view *view)
{
    struct fm_slice origin, allowed;
    return http_header_find(view->headers, view->header_count, "origin", &origin) == FM_OK &&
           cors_origin(ingest, receiver, view, &allowed) != FM_OK;
}

static size_t put_cors(const struct ingest *ingest, enum ingest_receiver receiver,
                       const struct net_request_view *view, struct http_header *headers)
{
    struct fm_slice allowed;
    if (cors_origin(ingest, receiver, view, &allowed) != FM_OK)
        return 0;
    headers[0] = header_text("access-control-allow-origin", allowed);
    headers[1] = header_text("vary", FM_SLICE("Origin"));
    headers[2] = header_text("access-control-expose-headers", FM_SLICE("Retry-After"));
    return 3;
}

void answer_http_cors_preflight(struct ingest *ingest, enum ingest_receiver receiver,
                                struct net_request *request)
{
    const struct net_request_view *view = net_request_view(request);
    struct fm_slice allowed, asked = FM_SLICE("content-type");
    if (cors_origin(ingest, receiver, view, &allowed) != FM_OK) {
        answer_http_bad_method(ingest, receiver, request, "POST");
        return;
    }
    int rc = http_header_find(view->headers, view->header_count, "access-control-request-headers",
                              &asked);
    (void)rc; /* absent: the default stands */
    struct http_header headers[] = {
        header_text("access-control-allow-origin", allowed),
        header_text("access-control-allow-methods", FM_SLICE("POST")),
        header_text("access-control-allow-headers", asked),
        header_text("access-control-max-age", FM_SLICE("7200")),
        header_text("vary", FM_SLICE("Origin, Access-Control-Request-Method, "
                                     "Access-Control-Request-Headers")),
    };
    struct net_response response = {
        .status = 204, .headers = headers, .header_count = FM_COUNT(headers)};
    net_respond(request, &response);
}

/* ---- HTTP ---- */

static void respond_text(struct ingest *ingest, enum ingest_receiver receiver,
                         struct net_request *request, int status, const char *text,
                         const struct http_header *more)
{
    struct http_header headers[ANSWER_HEADERS_MAX];
    size_t count = put_cors(ingest, receiver, net_request_view(request), headers);
    headers[count++] = header_text("content-type", FM_SLICE("text/plain; charset=utf-8"));
    if (more)
        headers[count++] = *more;
    struct net_response response = {
        .status = status, .headers = headers, .header_count = count, .body = fm_slice_text(text)};
    net_respond(request, &response);
}

void answer_http_text(struct ingest *ingest, enum ingest_receiver receiver,
                      struct net_request *request, int status, const char *text)
{
    respond_text(ingest, receiver, request, status, text, NULL);
}

void answer_http_bad_method(struct ingest *ingest, enum ingest_receiver receiver,
                            struct net_request *request, const char *methods)
{
    char text[80];
    const struct http_header allow = header_text("allow", fm_slice_text(methods));
    (void)snprintf(text, sizeof text, "405 method not allowed, supported: [%s]", methods);
    respond_text(ingest, receiver, request, 405, text, &allow);
}

void answer_http_json(struct net_request *request, struct fm_slice json)
{
    const struct http_header headers[] = {
        header_text("content-type", FM_SLICE("application/json")),
        header_text("x-content-type-options", FM_SLICE("nosniff")),
    };
    struct net_response response = {
        .status = 200, .headers = headers, .header_count = FM_COUNT(headers), .body = json};
    net_respond(request, &response);
}

static bool intake_is_otlp(const struct intake *intake)
{
    return intake->encoding == INTAKE_OTLP_PROTOBUF || intake->encoding == INTAKE_OTLP_JSON;
}

static void respond_http(struct intake *intake, int status, uint32_t retry_after_ms,
                         struct fm_slice body)
{
    struct http_header headers[ANSWER_HEADERS_MAX];
    char seconds[16];
    size_t count =
        put_cors(intake->ingest, intake->receiver, net_request_view(intake->request), headers);
    if (intake->encoding == INTAKE_OTLP_JSON)
        headers[count++] = header_text("content-type", FM_SLICE("application/json"));
    else if (intake->encoding == INTAKE_OTLP_PROTOBUF)
        headers[count++] = header_text("content-type", FM_SLICE("application/x-protobuf"));
    else if (body.len)
        headers[count++] = header_text("content-type", FM_SLICE("text/plain; charset=utf-8"));
    if (retry_after_ms) {
        (void)snprintf(seconds, sizeof seconds, "%u", (retry_after_ms + 999) / 1000);
        headers[count++] = header_text("retry-after", fm_slice_text(seconds));
    }
    struct net_response response = {
        .status = status, .headers = headers, .header_count = count, .body = body};
    net_respond(fm_take(intake->request), &response);
}

uint32_t answer_spread_ms(struct ingest *ingest, uint32_t retry_after_ms)
{
    uint64_t limited = FM_MIN(retry_after_ms, ANSWER_RETRY_MS_MAX);
    uint64_t percent = 80 + pf_random_u64(ingest->platform) % 41;
    return (uint32_t)FM_MIN(FM_MAX(limited * percent / 100, 1u), ANSWER_RETRY_MS_MAX);
}

/* ---- gRPC ---- */

static void base64_unpadded(struct fm_buf *out, struct fm_slice bytes)
{
    fm_base64_encode(out, bytes);
    while (out->len && out->ptr[out->len - 1] == '=')
        out->len--;
}

static void respond_grpc_error(struct net_request *request, int code, const char *message,
                               uint32_t retry_after_ms)
{
    char code_text[12];
    struct fm_buf encoded, details, base64;
    fm_buf_init(&encoded, ANSWER_MAX);
    fm_buf_init(&details, ANSWER_MAX);
    fm_buf_init(&base64, ANSWER_MAX);
    (void)snprintf(code_text, sizeof code_text, "%d", code);
    grpc_percent_encode(&encoded, fm_slice_text(message));
    struct http_header headers[ANSWER_HEADERS_MAX] = {
        grpc_content_type,
        header_text("grpc-status", fm_slice_text(code_text)),
        header_text("grpc-message", fm_buf_slice(&encoded)),
    };
    size_t count = 3;
    if (code == GRPC_UNIMPLEMENTED)
        headers[count++] = header_text("grpc-accept-encoding", FM_SLICE("identity,gzip,zstd"));
    char retry_info[32];
    if (retry_after_ms) {
        rpc_status_pb(code, message, retry_after_ms, &details);
        base64_unpadded(&base64, fm_buf_slice(&details));
        headers[count++] = header_text("grpc-status-details-bin", fm_buf_slice(&base64));
        /* RetryInfo{retry_delay{seconds}} alone, unpadded base64, for Python's exporter. */
        uint8_t seconds = (uint8_t)FM_MIN((retry_after_ms + 999) / 1000, 127u);
        uint8_t info[] = {0x0a, 0x02, 0x08, seconds};
        struct fm_buf text;
        fm_buf_init(&text, sizeof retry_info);
        base64_unpadded(&text, fm_slice(info, sizeof info));
        if (text.len)
            memcpy(retry_info, text.ptr, text.len);
        headers[count++] = header_text("google.rpc.retryinfo-bin", fm_slice(retry_info, text.len));
        fm_buf_fini(&text);
    }
    struct net_response response = {.status = 200, .headers = headers, .header_count = count};
    net_respond(request, &response);
    fm_buf_fini(&encoded);
    fm_buf_fini(&details);
    fm_buf_fini(&base64);
}

void answer_grpc(struct net_request *request, int code, const char *message)
{
    respond_grpc_error(request, code, message, 0);
}

void answer_grpc_message(struct net_request *request, struct fm_slice message)
{
    struct fm_buf body;
    fm_buf_init(&body, ANSWER_MAX + message.len);
    grpc_message_put(&body, message);
    const struct http_header trailer = header_text("grpc-status", FM_SLICE("0"));
    struct net_response response = {.status = 200,
                                    .headers = &grpc_content_type,
                                    .header_count = 1,
                                    .body = fm_buf_slice(&body),
                                    .trailers = &trailer,
                                    .trailer_count = 1};
    net_respond(request, &response);
    fm_buf_fini(&body);
}

/* ---- an intake's end ---- */

void intake_refuse(struct intake *intake, const struct answer *answer)
{
    metric_add(&intake->ingest->counters[intake->receiver].requests[answer->outcome], 1);
    if (intake->is_grpc) {
        respond_grpc_error(fm_take(intake->request), answer->grpc_code, answer->message,
                           answer->retry_after_ms);
    } else if (!intake_is_otlp(intake)) {
        char text[sizeof intake->why.text + 1];
        (void)snprintf(text, sizeof text, "%s\n", answer->message);
        respond_http(intake, answer->http_status, answer->retry_after_ms, fm_slice_text(text));
    } else {
        struct fm_buf body;
        fm_buf_init(&body, ANSWER_MAX);
        if (intake->encoding == INTAKE_OTLP_JSON)
            rpc_status_json(answer->grpc_code, answer->message, &body);
        else
            rpc_status_pb(answer->grpc_code, answer->message, 0, &body);
        respond_http(intake, answer->http_status, answer->retry_after_ms, fm_buf_slice(&body));
        fm_buf_fini(&body);
    }
    intake_release(intake);
}

static void intake_accept_otlp(struct intake *intake)
{
    uint32_t refused = intake->facts.refused_count;
    char message[160] = "";
    struct fm_buf body;
    if (refused)
        decode_facts_message(&intake->facts, message, sizeof message);
    fm_buf_init(&body, ANSWER_MAX);
    if (intake->encoding == INTAKE_OTLP_JSON)
        otlp_response_json(refused, message, &body);
    else
        otlp_response_pb(refused, message, &body);
    if (intake->is_grpc)
        answer_grpc_message(fm_take(intake->request), fm_buf_slice(&body));
    else
        respond_http(intake, 200, 0, fm_buf_slice(&body));
    fm_buf_fini(&body);
}

void intake_accept(struct intake *intake)
{
    struct ingest_counters *counters = &intake->ingest->counters[intake->receiver];
    bool is_partial = intake->facts.refused_count != 0;
    metric_add(&counters->requests[is_partial ? INGEST_OUTCOME_PARTIAL : INGEST_OUTCOME_OK], 1);
    metric_observe(&counters->ack_seconds,
                   pf_now_ns(intake->ingest->platform) - intake->received_ns);
    if (intake_is_otlp(intake))
        intake_accept_otlp(intake);
    else if (intake->is_grpc)
        answer_grpc_message(fm_take(intake->request), (struct fm_slice){0});
    else
        respond_http(intake, 202, 0, (struct fm_slice){0});
    intake_release(intake);
}
