/* SPDX-License-Identifier: Apache-2.0 */
/* One exchange: its view for the handler, its body under the budget, and the answer's way back.
 *
 * Bytes are charged before they are allocated, and given back with the answer. */
#include "internal.h"

#include <stdlib.h>

#define REQUEST_GROW_MIN      FM_KIB(16)
#define REQUEST_FIRST_MAX     FM_KIB(512)
#define NET_H2_INTERNAL_ERROR 2u

void request_init(struct net_request *request, struct conn *conn)
{
    struct http_limits *limits = &conn->server->options.limits;

    *request = (struct net_request){.conn = conn};
    fm_list_init(&request->link);
    fm_list_init(&request->waiting);
    /* The head and the decoded target, with room for the arena's own chunks. */
    fm_arena_init(&request->arena,
                  FM_KIB(16) + 4 * (limits->header_bytes_max + limits->target_bytes_max));
    fm_buf_init(&request->body, limits->body_bytes_max);
}

void request_release_body(struct net_request *request)
{
    struct net_budget *budget = request->conn->server->options.budget;

    fm_buf_fini(&request->body);
    if (request->charged_bytes)
        net_budget_give(budget, request->charged_bytes);
    if (request->party_bytes)
        net_budget_give_for(budget, request->party, request->party_bytes);
    request->charged_bytes = request->party_bytes = 0;
}

void request_reset(struct net_request *request)
{
    struct net_server *server = request->conn->server;
    struct fm_arena arena = request->arena;

    request_stop_waiting(request);
    request_release_body(request);
    fm_arena_reset(&arena);
    *request = (struct net_request){.conn = request->conn, .arena = arena};
    fm_list_init(&request->link);
    fm_list_init(&request->waiting);
    fm_buf_init(&request->body, server->options.limits.body_bytes_max);
}

void request_fini(struct net_request *request)
{
    request_reset(request);
    fm_arena_fini(&request->arena);
}

/* As soon as it can be known. */
static uint32_t request_party(struct net_request *request)
{
    const struct net_server_options *options = &request->conn->server->options;

    if (!request->party && options->party && request->view.headers && !request->judging)
        request->party = options->party(options->party_self, &request->view);
    return request->party;
}

bool request_charge(struct net_request *request, uint64_t bytes)
{
    struct net_budget *budget = request->conn->server->options.budget;

    if (!budget)
        return true;
    uint32_t party = request_party(request);
    if (!net_budget_take_for(budget, party, bytes))
        return false;
    *(party ? &request->party_bytes : &request->charged_bytes) += bytes;
    return true;
}

/* Exactly to cap bytes, charged before they exist. */
static bool request_grow(struct net_request *request, size_t cap)
{
    struct net_budget *budget = request->conn->server->options.budget;
    uint64_t more = cap - request->body.cap;

    if (!request_charge(request, more))
        return false;
    uint8_t *ptr = realloc(request->body.ptr, cap);
    if (!ptr) {
        if (budget) {
            net_budget_give_for(budget, request->party, more);
            *(request->party ? &request->party_bytes : &request->charged_bytes) -= more;
        }
        return false;
    }
    request->body.ptr = ptr;
    request->body.cap = cap;
    return true;
}

void request_refuse(struct net_request *request, enum net_refusal refusal)
{
    request->refusal = refusal;
    request_release_body(request);
}

/* As large as the body could become if nobody else held anything. */
static size_t request_cap_max(const struct net_request *request)
{
    const struct net_budget *budget = request->conn->server->options.budget;
    const struct fm_buf *body = &request->body;

    if (!budget)
        return body->bytes_max;
    uint64_t limit = request->party ? net_budget_share_max(budget) : budget->bytes_max;
    uint64_t rest = limit - FM_MIN(limit, request->charged_bytes + request->party_bytes);
    return (size_t)FM_MIN((uint64_t)body->bytes_max, body->cap + rest);
}

/* A length that was announced is believed bit by bit: whoever announces much and sends nothing
 * holds little of the budget. */
bool request_room(struct net_request *request, uint64_t len)
{
    struct fm_buf *body = &request->body;
    size_t expected = (size_t)FM_MIN(request->expected_bytes, (uint64_t)body->bytes_max);

    if (request->refusal != REFUSED_NOT)
        return false;
    if (len > body->bytes_max || body->len > body->bytes_max - len) {
        request_refuse(request, REFUSED_SIZE);
        return false;
    }
    if (len <= body->cap - body->len)
        return true;
    size_t needed = body->len + (size_t)len, cap_max = request_cap_max(request);
    if (needed > cap_max) { /* coming again would not help */
        request_refuse(request, REFUSED_SIZE);
        return false;
    }
    size_t wanted = FM_MAX(body->cap * 2, REQUEST_GROW_MIN);
    if (expected >= needed)
        wanted = FM_MIN(FM_MAX(body->cap * 4, REQUEST_FIRST_MAX), expected);
    if (request_grow(request, FM_MAX(FM_MIN(wanted, cap_max), needed)))
        return true;
    request_refuse(request, REFUSED_BUDGET);
    return false;
}

void request_expect(struct net_request *request, uint64_t length)
{
    request->expected_bytes = length;
    if (length > request->body.bytes_max)
        request_refuse(request, REFUSED_SIZE);
    else if (length)
        (void)request_room(request, FM_MIN(length, (uint64_t)REQUEST_FIRST_MAX));
}

void request_append(struct net_request *request, struct fm_slice data)
{
    struct fm_buf *body = &request->body;

    request->body_bytes += data.len;
    if (request->refusal != REFUSED_NOT)
        return;
    if (body->ptr && data.ptr == body->ptr + body->len) {
        body->len += data.len; /* the socket was read into the body itself */
    } else if (data.len && request_room(request, data.len)) {
        memcpy(body->ptr + body->len, data.ptr, data.len);
        body->len += data.len;
    }
}

bool request_is_slow(const struct net_request *request, uint64_t now_ns)
{
    uint64_t age_ns = now_ns - request->body_started_ns;
    uint64_t timeout_ns = request->conn->server->options.body_timeout_ns;

    if (age_ns > timeout_ns)
        return true;
    if (age_ns <= NET_RATE_GRACE_NS)
        return false;
    uint64_t late_s = (age_ns - NET_RATE_GRACE_NS) / NET_SECOND_NS;
    return request->body_bytes < late_s * NET_RATE_BYTES_PER_S;
}

int request_set_target(struct net_request *request, struct fm_slice method, struct fm_slice target)
{
    struct http_target parsed;
    int rc = http_target_parse(target, &request->arena, &parsed);
    if (rc < 0)
        return rc;
    request->view.method = method;
    request->view.path = parsed.path;
    request->view.query = parsed.query;
    return FM_OK;
}

void request_deliver(struct net_request *request)
{
    struct net_server *server = request->conn->server;

    request->complete = false;
    request->delivered = true;
    request->conn->unanswered_count++;
    metric_add(&server->metrics.requests_total, 1);
    if (request->refusal != REFUSED_NOT) {
        struct http_header headers[REFUSAL_HEADERS_MAX];
        struct net_response response = request_refusal(request, headers);
        metric_add(&server->metrics.requests_refused_total, 1);
        request_count_refusal(request);
        net_respond(request, &response);
        return;
    }
    request->view.body = fm_buf_slice(&request->body);
    server->options.on_request(server->options.self, request);
}

void request_set_gone(struct net_request *request)
{
    if (!request->delivered || request->answered || request->gone)
        return;
    request->gone = true;
    if (request->on_gone)
        request->on_gone(request);
}

const struct net_request_view *net_request_view(const struct net_request *request)
{
    return &request->view;
}

struct fm_buf net_request_take_body(struct net_request *request)
{
    struct fm_buf body = request->body;
    fm_buf_init(&request->body, body.bytes_max);
    return body;
}

void *net_request_user(const struct net_request *request)
{
    return request->user;
}

void net_request_set_user(struct net_request *request, void *user,
                          void (*on_gone)(struct net_request *request))
{
    request->user = user;
    request->on_gone = on_gone;
}

void net_respond(struct net_request *request, const struct net_response *response)
{
    struct conn *conn = request->conn;

    FM_ASSERT(request->delivered && !request->answered);
    request->answered = true;
    conn->unanswered_count--;
    if (request->view.is_h2)
        conn_h2_respond(request, response);
    else
        conn_h1_respond(request, response);
    if (conn_is_open(conn))
        conn_wake(conn);
    else
        conn_maybe_free(conn);
}

/* ---- answers in parts ---- */

static void request_wake(struct net_request *request)
{
    if (conn_is_open(request->conn))
        conn_wake(request->conn);
}

void net_respond_begin(struct net_request *request, const struct net_response *response)
{
    FM_ASSERT(request->delivered && !request->answered && !request->begun && request->view.is_h2);
    request->begun = true;
    if (request->stream)
        conn_h2_respond_begin(request, response);
    request_wake(request);
}

void net_respond_part(struct net_request *request, struct fm_slice bytes)
{
    FM_ASSERT(request->begun && !request->answered);
    if (request->stream && h2_respond_part(request->stream, bytes) < 0)
        h2_stream_reset(request->stream, NET_H2_INTERNAL_ERROR);
    request_wake(request);
}

size_t net_respond_unsent(const struct net_request *request)
{
    return request->stream ? h2_stream_unsent_bytes(request->stream) : 0;
}

void net_respond_end(struct net_request *request, const struct http_header *trailers, size_t count)
{
    struct conn *conn = request->conn;

    FM_ASSERT(request->begun && !request->answered);
    request->answered = true;
    conn->unanswered_count--;
    conn_h2_respond_end(request, trailers, count);
    if (conn_is_open(conn))
        conn_wake(conn);
    else
        conn_maybe_free(conn);
}
