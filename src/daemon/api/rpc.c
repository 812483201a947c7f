/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC on the query port: tempopb.StreamingQuerier, one question, any number of answers.
 *
 *   head with the first message -> messages -> trailers with grpc-status
 *
 * What is wrong before anything was sent is said by trailers alone.  Parts of a search bring what
 * is new; the last message, or messages if it is large, brings everything.  A client that does not
 * read gets fewer parts, never less of the end. */
#include "answering.h"

#include <stdio.h>

#include "fermata/codec.h"

#define RPC_QUESTION_MAX FM_KIB(256)
#define RPC_UNSENT_MAX   FM_KIB(512) /* then parts are left out */
#define RPC_MESSAGE_MAX  1024u       /* of a percent-encoded grpc-message */

static const struct {
    const char *path;
    enum question_form form;
} rpc_methods[] = {
    {"/tempopb.StreamingQuerier/Search", QUESTION_SEARCH},
    {"/tempopb.StreamingQuerier/SearchTags", QUESTION_TAGS},
    {"/tempopb.StreamingQuerier/SearchTagsV2", QUESTION_TAGS_V2},
    {"/tempopb.StreamingQuerier/SearchTagValues", QUESTION_VALUES},
    {"/tempopb.StreamingQuerier/SearchTagValuesV2", QUESTION_VALUES_V2},
    {"/tempopb.StreamingQuerier/MetricsQueryRange", QUESTION_RANGE},
    {"/tempopb.StreamingQuerier/MetricsQueryInstant", QUESTION_INSTANT},
};
static const char rpc_health_path[] = "/grpc.health.v1.Health/Check";

bool rpc_is_asked(const struct net_request_view *view)
{
    struct fm_slice type;
    static const char grpc[] = "application/grpc";
    size_t len = sizeof grpc - 1;

    if (!view->is_h2 ||
        http_header_find(view->headers, view->header_count, "content-type", &type) != FM_OK)
        return false;
    if (type.len < len || !fm_slice_equal_nocase(fm_slice(type.ptr, len), grpc))
        return false;
    return type.len == len || type.ptr[len] == '+' || type.ptr[len] == ';';
}

/* ---- answers ---- */

struct rpc_status { /* grpc-status and grpc-message, and what they point to */
    struct http_header headers[3];
    char code[12];
    struct fm_buf text;
};

/* The first header is free for the caller's. */
static size_t rpc_status_init(struct rpc_status *status, int code, const char *text)
{
    size_t count = 1;

    fm_buf_init(&status->text, RPC_MESSAGE_MAX);
    int digits = snprintf(status->code, sizeof status->code, "%d", code);
    status->headers[count++] = (struct http_header){
        FM_SLICE("grpc-status"), fm_slice(status->code, (size_t)FM_MAX(digits, 0))};
    if (text && text[0]) {
        grpc_percent_encode(&status->text, fm_slice_text(text));
        status->headers[count++] =
            (struct http_header){FM_SLICE("grpc-message"), fm_buf_slice(&status->text)};
    }
    return count;
}

void rpc_refuse(struct net_request *request, int code, const char *text)
{
    struct rpc_status status;
    size_t count = rpc_status_init(&status, code, text);

    status.headers[0] =
        (struct http_header){FM_SLICE("content-type"), FM_SLICE("application/grpc")};
    struct net_response response = {
        .status = 200, .headers = status.headers, .header_count = count};
    net_respond(request, &response);
    fm_buf_fini(&status.text);
}

static void rpc_begin(struct answering *answering)
{
    static const struct http_header headers[] = {
        {{(const uint8_t *)"content-type", 12}, {(const uint8_t *)"application/grpc", 16}},
    };
    const struct net_response response = {
        .status = 200, .headers = headers, .header_count = FM_COUNT(headers)};
    if (answering->begun)
        return;
    answering->begun = true;
    net_respond_begin(answering->request, &response);
}

void rpc_on_part(struct query_ask *query, struct fm_buf *part)
{
    struct answering *answering = query->self;

    if (part->failed || !part->len || net_respond_unsent(answering->request) > RPC_UNSENT_MAX)
        return;
    rpc_begin(answering);
    net_respond_part(answering->request, fm_buf_slice(part));
}

void rpc_on_done(struct query_ask *query, int rc)
{
    struct answering *answering = query->self;
    struct rpc_status status;

    if (rc == FM_OK && query->answer.failed)
        rc = fm_fail(&query->why, FM_ELIMIT, "the answer is larger than the limit");
    if (rc == FM_OK) {
        rpc_begin(answering);
        net_respond_part(answering->request, fm_buf_slice(&query->answer));
        size_t count = rpc_status_init(&status, GRPC_OK, NULL);
        net_respond_end(answering->request, status.headers + 1, count - 1);
        fm_buf_fini(&status.text);
    } else {
        int code = answering_status_of(rc).grpc;
        const char *text = answering_text_of(query, rc);
        if (answering->begun) {
            size_t count = rpc_status_init(&status, code, text);
            net_respond_end(answering->request, status.headers + 1, count - 1);
            fm_buf_fini(&status.text);
        } else {
            rpc_refuse(answering->request, code, text);
        }
    }
    (void)answering_free(answering);
}

/* ---- questions ---- */

/* The one message of the request; plain is where it is decompressed to.  A grpc code. */
static enum grpc_code rpc_read_message(const struct net_request_view *view, struct fm_buf *plain,
                                       struct fm_slice *ret_message, const char **ret_text)
{
    struct fm_slice rest = view->body, name = {0};
    struct grpc_message message, second;
    enum codec codec = CODEC_NONE;

    int rc = grpc_message_next(&rest, RPC_QUESTION_MAX, &message);
    *ret_text = "message is larger than the limit";
    if (rc == FM_ELIMIT)
        return GRPC_RESOURCE_EXHAUSTED;
    *ret_text = "exactly one message is expected";
    if (rc != FM_OK || grpc_message_next(&rest, RPC_QUESTION_MAX, &second) != FM_END)
        return GRPC_INTERNAL;
    *ret_message = message.bytes;
    if (!message.compressed)
        return GRPC_OK;
    *ret_text = "grpc-encoding is not supported";
    if (http_header_find(view->headers, view->header_count, "grpc-encoding", &name) != FM_OK ||
        codec_from_name(name, &codec) != FM_OK || codec == CODEC_NONE)
        return GRPC_UNIMPLEMENTED;
    *ret_text = "the message does not decompress";
    if (codec_inflate(codec, message.bytes, plain) < 0)
        return GRPC_INTERNAL;
    *ret_message = fm_buf_slice(plain);
    return GRPC_OK;
}

static int rpc_read_question(struct answering *answering, struct fm_why *why,
                             enum grpc_code *ret_code)
{
    const struct net_request_view *view = net_request_view(answering->request);
    struct fm_slice message;
    struct fm_buf plain;
    const char *text;

    fm_buf_init(&plain, RPC_QUESTION_MAX);
    *ret_code = rpc_read_message(view, &plain, &message, &text);
    int rc = FM_EMALFORMED;
    if (*ret_code != GRPC_OK) {
        rc = fm_fail(why, rc, "%s", text);
    } else {
        rc = question_read_pb(&answering->question, message, api_unix_ns(answering->api), why);
        *ret_code = rc < 0 ? (enum grpc_code)answering_status_of(rc).grpc : GRPC_OK;
    }
    fm_buf_fini(&plain);
    return rc;
}

static bool rpc_find(struct fm_slice path, enum question_form *ret_form)
{
    for (size_t i = 0; i < FM_COUNT(rpc_methods); i++) {
        if (!fm_slice_equal_text(path, rpc_methods[i].path))
            continue;
        *ret_form = rpc_methods[i].form;
        return true;
    }
    return false;
}

static void rpc_ask(struct api *api, struct net_request *request, enum question_form form)
{
    struct answering *answering = answering_new(api, request, form);
    struct fm_why why = {""};
    enum grpc_code code = GRPC_UNAVAILABLE;

    if (!answering) {
        rpc_refuse(request, code, "out of memory");
        return;
    }
    answering->is_rpc = true;
    int rc = tenants_resolve_request(api->options.tenants, net_request_view(request),
                                     answering->question.ask.tenant, &why);
    if (rc < 0)
        code = rc == FM_EDENIED ? GRPC_PERMISSION_DENIED : GRPC_INVALID_ARGUMENT;
    else
        rc = rpc_read_question(answering, &why, &code);
    if (rc == FM_OK) {
        answering_start(answering);
        return;
    }
    metric_add(&api->questions_wrong_total, 1);
    rpc_refuse(request, code, why.text);
    (void)answering_free(answering);
}

void rpc_on_request(struct api *api, struct net_request *request)
{
    const struct net_request_view *view = net_request_view(request);
    static const struct http_header plain[] = {
        {{(const uint8_t *)"content-type", 12}, {(const uint8_t *)"application/grpc", 16}},
    };
    enum question_form form;

    if (!fm_slice_equal_text(view->method, "POST")) {
        rpc_refuse(request, GRPC_INTERNAL, "method is not POST");
    } else if (rpc_find(view->path, &form)) {
        rpc_ask(api, request, form);
    } else if (fm_slice_equal_text(view->path, rpc_health_path)) {
        struct http_header trailer = {FM_SLICE("grpc-status"), FM_SLICE("0")};
        struct net_response response = {
            .status = 200,
            .headers = plain,
            .header_count = FM_COUNT(plain),
            .body = FM_SLICE("\0\0\0\0\2\x08\x01"), /* SERVING */
            .trailers = &trailer,
            .trailer_count = 1,
        };
        net_respond(request, &response);
    } else {
        rpc_refuse(request, GRPC_UNIMPLEMENTED, "unknown service or method");
    }
}
