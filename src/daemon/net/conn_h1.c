/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1 on a connection: one exchange at a time; what is pipelined waits in the backlog.
 *
 * A request that the handler must not see is refused as cheaply as the peer can understand: if its
 * body is small it is read and dropped and the connection lives on, else the answer says close. */
#include "internal.h"

bool conn_h1_is_busy(const struct conn *conn)
{
    const struct net_request *request = conn->request;
    return request && (request->complete || request->delivered || request->judging);
}

bool conn_h1_is_idle(const struct conn *conn)
{
    return !conn_h1_is_busy(conn) && !conn->request->has_head && !conn->head_ns &&
           !conn->backlog.len;
}

static bool name_is_head(const struct net_request *request)
{
    return fm_slice_equal_text(request->view.method, "HEAD");
}

/* HTTP/1.0 clients take silence for "close". */
static void conn_h1_put(struct conn *conn, const struct net_response *response, bool keep_alive,
                        bool with_body, uint8_t minor_version)
{
    struct http_header headers[34];
    size_t count = FM_MIN(response->header_count, FM_COUNT(headers) - 2);

    for (size_t i = 0; i < count; i++)
        headers[i] = response->headers[i];
    headers[count++] = (struct http_header){FM_SLICE("date"), net_server_date(conn->server)};
    if (keep_alive && minor_version == 0)
        headers[count++] = (struct http_header){FM_SLICE("connection"), FM_SLICE("keep-alive")};
    h1_put_response(&conn->out, response->status, headers, count, response->body.len, keep_alive);
    if (with_body && response->status != 204 && response->status != 304)
        fm_buf_put_slice(&conn->out, response->body);
    if (!keep_alive)
        conn->close_after_flush = true;
}

/* An answer before the request is complete; it is the connection's last. */
static void conn_h1_refuse(struct conn *conn, const struct net_response *response)
{
    metric_add(&conn->server->metrics.requests_refused_total, 1);
    request_count_refusal(conn->request);
    conn->input_unread = true;
    conn_h1_put(conn, response, false, true, 1);
    request_reset(conn->request);
}

/* The head is whole and was understood, its body is too long. */
static void conn_h1_fail_size(struct conn *conn)
{
    struct net_request *request = conn->request;
    const struct h1_head *head = h1_head(conn->h1);
    struct http_header headers[REFUSAL_HEADERS_MAX];
    request->view.headers = head->headers;
    request->view.header_count = head->header_count;
    request->refusal = REFUSED_SIZE;
    const struct net_response response = request_refusal(request, headers);
    conn_h1_refuse(conn, &response);
}

static void conn_h1_fail(struct conn *conn, int rc)
{
    struct net_response response = {.status = http_status_of(rc).http};

    if (rc == FM_ELIMIT && h1_limit_status(conn->h1) == 413) {
        conn_h1_fail_size(conn);
        return;
    }
    if (rc == FM_ELIMIT || rc == FM_EUNSUPPORTED)
        response.status = h1_limit_status(conn->h1);
    else if (rc == FM_EMALFORMED)
        response.status = 400;
    conn_count_refusal(conn, rc == FM_ELIMIT ? NET_REFUSED_HEAD : NET_REFUSED_PROTOCOL);
    conn_h1_refuse(conn, &response);
}

void conn_h1_timeout(struct conn *conn)
{
    struct net_response response = {.status = 408};

    conn_count_refusal(conn, NET_REFUSED_TIMEOUT);
    conn_h1_refuse(conn, &response);
    conn_run(conn);
}

/* What the head announces is wanted, or refused as cheaply as possible. */
static void conn_h1_begin_body(struct conn *conn)
{
    struct net_request *request = conn->request;
    const struct h1_head *head = h1_head(conn->h1);
    uint64_t length = head->has_length ? head->content_length : 0;
    bool expects = head->expect_continue && (length || head->chunked);

    request->body_started_ns = conn->active_ns;
    if (request->refusal != REFUSED_NOT)
        ; /* by its verdict */
    else if (request_set_target(request, head->method, head->target) < 0)
        request->refusal = REFUSED_TARGET;
    else
        request_expect(request, length); /* notes a refusal in the request */
    if (request->refusal != REFUSED_NOT && (expects || length > NET_DISCARD_BYTES_MAX)) {
        struct http_header headers[REFUSAL_HEADERS_MAX];
        struct net_response response = request_refusal(request, headers);
        conn_h1_refuse(conn, &response);
    } else if (expects) {
        fm_buf_put_slice(&conn->out, h1_continue);
    }
}

static void conn_h1_on_head(struct conn *conn)
{
    struct net_request *request = conn->request;
    const struct h1_head *head = h1_head(conn->h1);

    request->has_head = true;
    request->view = (struct net_request_view){
        .headers = head->headers,
        .header_count = head->header_count,
        .is_loopback = conn->is_loopback,
        .received_ns = conn->active_ns,
    };
    conn->head_ns = 0;
    if (request_judge(request))
        conn_h1_begin_body(conn);
}

void conn_h1_go_on(struct net_request *request)
{
    struct conn *conn = request->conn;
    size_t used;

    if (conn->state.state != CONN_H1)
        return;
    conn->active_ns = pf_now_ns(conn->server->platform); /* the wait was ours */
    conn_h1_begin_body(conn);
    conn_h1_input(conn, FM_SLICE(""), &used); /* it may be complete without a body */
}

static void conn_h1_on_body(struct conn *conn, struct fm_slice data)
{
    struct net_request *request = conn->request;

    request_append(request, data);
    if (request->refusal == REFUSED_NOT || request->body_bytes <= NET_DISCARD_BYTES_MAX)
        return;
    struct http_header headers[REFUSAL_HEADERS_MAX];
    struct net_response response = request_refusal(request, headers);
    conn_h1_refuse(conn, &response);
}

void conn_h1_input(struct conn *conn, struct fm_slice input, size_t *ret_used)
{
    size_t total = 0;

    while (!conn_h1_is_busy(conn) && !conn->close_after_flush) {
        enum h1_event event;
        struct fm_slice data;
        size_t used = 0;
        int rc =
            h1_feed(conn->h1, fm_slice(input.ptr + total, input.len - total), &used, &event, &data);
        total += used;
        if (rc == FM_MORE) {
            if (used && !conn->request->has_head && !conn->head_ns)
                conn->head_ns = conn->active_ns;
            break;
        }
        if (rc < 0)
            conn_h1_fail(conn, rc);
        else if (event == H1_HEAD)
            conn_h1_on_head(conn);
        else if (event == H1_BODY)
            conn_h1_on_body(conn, data);
        else
            conn->request->complete = true;
    }
    *ret_used = conn->close_after_flush ? input.len : total;
}

void conn_h1_respond(struct net_request *request, const struct net_response *response)
{
    struct conn *conn = request->conn;
    const struct h1_head *head = h1_head(conn->h1);

    if (conn->state.state == CONN_H1) {
        bool keep_alive = head->keep_alive && !response->close && !conn->ending;
        conn_h1_put(conn, response, keep_alive, !name_is_head(request), head->minor_version);
        conn->active_ns = pf_now_ns(conn->server->platform);
    }
    request_reset(request);
}
