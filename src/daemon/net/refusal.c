/* SPDX-License-Identifier: Apache-2.0 */
/* Answers to requests that no handler sees, and the verdicts that make some of them. */
#include "internal.h"

const char *net_refusal_text(enum net_refusal_reason reason)
{
    static const char *const texts[] = {
#define X(name, text) [NET_REFUSED_##name] = text,
        NET_REFUSALS(X)
#undef X
    };
    return texts[reason];
}

/* ---- answers; one table each, so that they can be borrowed ---- */

#define GRPC_TYPE                                                                                  \
    {                                                                                              \
        FM_SLICE("content-type"), FM_SLICE("application/grpc")                                     \
    }

static const struct http_header busy[] = {{FM_SLICE("retry-after"), FM_SLICE("1")}};
static const struct http_header asks[] = {
    {FM_SLICE("www-authenticate"), FM_SLICE("Basic realm=\"fermata\", charset=\"UTF-8\"")},
    {FM_SLICE("www-authenticate"), FM_SLICE("Bearer")},
};

/* google.rpc.Status for OTLP's clients, in the encoding of the request.  In protobuf the length of
 * a text is one byte. */
struct refusal_status {
    struct fm_slice protobuf, json;
};
#define STATUS_OF(code_byte, code, length_byte, text)                                              \
    {                                                                                              \
        FM_SLICE("\x08" code_byte "\x12" length_byte text),                                        \
            FM_SLICE("{\"code\":" code ",\"message\":\"" text "\"}")                               \
    }
static const struct refusal_status status_busy =
    STATUS_OF("\x0e", "14", "\x18", "too many bytes in flight");
static const struct refusal_status status_large =
    STATUS_OF("\x08", "8", "\x20", "request is larger than the limit");
static const struct refusal_status status_denied =
    STATUS_OF("\x10", "16", "\x25", "this listener wants other credentials");
static const struct refusal_status status_auth_busy =
    STATUS_OF("\x0e", "14", "\x1b", "too many passwords to check");

static const struct http_header grpc_busy[] = {
    GRPC_TYPE,
    {FM_SLICE("grpc-status"), FM_SLICE("14")},
    {FM_SLICE("grpc-message"), FM_SLICE("too many bytes in flight")},
    /* google.rpc.Status with RetryInfo of one second, and RetryInfo alone (Python's SDK). */
    {FM_SLICE("grpc-status-details-bin"),
     FM_SLICE("CA4SGHRvbyBtYW55IGJ5dGVzIGluIGZsaWdodBowCih0eXBlLmdvb2dsZWFw"
              "aXMuY29tL2dvb2dsZS5ycGMuUmV0cnlJbmZvEgQKAggB")},
    {FM_SLICE("google.rpc.retryinfo-bin"), FM_SLICE("CgIIAQ")},
};
static const struct http_header grpc_large[] = {
    GRPC_TYPE,
    {FM_SLICE("grpc-status"), FM_SLICE("8")},
    {FM_SLICE("grpc-message"), FM_SLICE("request is larger than the limit")},
};
static const struct http_header grpc_denied[] = {
    GRPC_TYPE,
    {FM_SLICE("grpc-status"), FM_SLICE("16")},
    {FM_SLICE("grpc-message"), FM_SLICE("this listener wants other credentials")},
};
static const struct http_header grpc_auth_busy[] = {
    GRPC_TYPE,
    {FM_SLICE("grpc-status"), FM_SLICE("14")},
    {FM_SLICE("grpc-message"), FM_SLICE("too many passwords to check")},
    {FM_SLICE("google.rpc.retryinfo-bin"), FM_SLICE("CgIIAQ")},
};

/* The trailers alone. */
static struct net_response refusal_grpc(const struct http_header *headers, size_t count)
{
    return (struct net_response){.status = 200, .headers = headers, .header_count = count};
}

static struct net_response refusal_http(const struct net_request *request, int status,
                                        const struct refusal_status *said,
                                        struct http_header *headers, size_t count)
{
    const struct net_request_view *view = &request->view;
    struct net_response response = {.status = status, .headers = headers, .header_count = count};
    struct fm_slice type;
    if (!request->conn->server->options.says_status ||
        http_header_find(view->headers, view->header_count, "content-type", &type) != FM_OK)
        return response;
    bool is_protobuf = http_media_type_is(type, "application/x-protobuf");
    if (!is_protobuf && !http_media_type_is(type, "application/json"))
        return response;
    type = is_protobuf ? FM_SLICE("application/x-protobuf") : FM_SLICE("application/json");
    headers[response.header_count++] = (struct http_header){FM_SLICE("content-type"), type};
    response.body = is_protobuf ? said->protobuf : said->json;
    return response;
}

static struct net_response refusal_busy(const struct net_request *request,
                                        const struct refusal_status *said,
                                        struct http_header *headers)
{
    headers[0] = busy[0];
    return refusal_http(request, 503, said, headers, 1);
}

static struct net_response refusal_asks(const struct net_request *request,
                                        struct http_header *headers)
{
    const struct auth_set *set = request->conn->server->auth;
    size_t count = 0;
    if (set->wants_user)
        headers[count++] = asks[0];
    if (set->wants_token)
        headers[count++] = asks[1];
    return refusal_http(request, 401, &status_denied, headers, count);
}

struct net_response request_refusal(const struct net_request *request,
                                    struct http_header headers[static REFUSAL_HEADERS_MAX])
{
    bool grpc = request->is_grpc;

    switch (request->refusal) {
    case REFUSED_BUDGET:
        return grpc ? refusal_grpc(grpc_busy, FM_COUNT(grpc_busy))
                    : refusal_busy(request, &status_busy, headers);
    case REFUSED_SIZE:
        return grpc ? refusal_grpc(grpc_large, FM_COUNT(grpc_large))
                    : refusal_http(request, 413, &status_large, headers, 0);
    case REFUSED_AUTH:
        return grpc ? refusal_grpc(grpc_denied, FM_COUNT(grpc_denied))
                    : refusal_asks(request, headers);
    case REFUSED_AUTH_BUSY:
        return grpc ? refusal_grpc(grpc_auth_busy, FM_COUNT(grpc_auth_busy))
                    : refusal_busy(request, &status_auth_busy, headers);
    case REFUSED_NOT:
    case REFUSED_TARGET:
        break;
    }
    return (struct net_response){.status = 400};
}

void request_count_refusal(const struct net_request *request)
{
    static const enum net_refusal_reason reasons[] = {
        [REFUSED_BUDGET] = NET_REFUSED_MEMORY,       [REFUSED_SIZE] = NET_REFUSED_SIZE,
        [REFUSED_TARGET] = NET_REFUSED_HEAD,         [REFUSED_AUTH] = NET_REFUSED_AUTH,
        [REFUSED_AUTH_BUSY] = NET_REFUSED_AUTH_BUSY,
    };
    if (request->refusal != REFUSED_NOT)
        conn_count_refusal(request->conn, reasons[request->refusal]);
}

/* ---- verdicts ---- */

static void request_take_verdict(struct net_request *request, enum auth_verdict verdict)
{
    if (verdict == AUTH_DENIED)
        request_refuse(request, REFUSED_AUTH);
    else if (verdict == AUTH_BUSY)
        request_refuse(request, REFUSED_AUTH_BUSY);
}

bool request_judge(struct net_request *request)
{
    request->view.identity = &request->conn->identity;
    enum auth_verdict verdict = auth_judge(request);
    request_take_verdict(request, verdict);
    return verdict != AUTH_WAITS;
}

void request_wait(struct net_request *request, struct fm_link *waiters)
{
    request->judging = true;
    request->conn->judging_count++;
    fm_list_append(waiters, &request->waiting);
}

void request_stop_waiting(struct net_request *request)
{
    if (!request->judging)
        return;
    request->judging = false;
    request->conn->judging_count--;
    fm_list_remove(&request->waiting);
}

void request_on_verdict(struct net_request *request, enum auth_verdict verdict)
{
    struct conn *conn = request->conn;

    if (!conn_is_open(conn))
        return;
    request_take_verdict(request, verdict);
    if (request->view.is_h2)
        conn_h2_go_on(request);
    else
        conn_h1_go_on(request);
    conn_wake(conn);
}
