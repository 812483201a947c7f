/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 on a connection: many exchanges, each on a stream.
 *
 * A request lives from its head until its stream is closed and its answer was given, whichever is
 * later.  Bytes go back to the peer's window as soon as they are in a body that was charged; a
 * refused request is answered early and what still arrives for it is dropped. */
#include "internal.h"

#include <stdio.h>

#define H2_CANCEL         8u
#define H2_INTERNAL_ERROR 2u

static struct fm_slice slice_dup(struct fm_arena *arena, struct fm_slice slice)
{
    return slice.len ? fm_slice_dup(arena, slice) : FM_SLICE("");
}

static int request_keep_head(struct net_request *request, const struct http_header *headers,
                             size_t count)
{
    struct http_header *copies = fm_arena_alloc(&request->arena, (count + 1) * sizeof *copies);

    if (!copies)
        return FM_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        copies[i].name = slice_dup(&request->arena, headers[i].name);
        copies[i].value = slice_dup(&request->arena, headers[i].value);
    }
    if (fm_arena_failed(&request->arena))
        return FM_ENOMEM;
    request->view.headers = copies;
    request->view.header_count = count;
    return FM_OK;
}

/* Many streams with large heads hold as much as bodies do. */
static uint64_t head_cost(const struct http_header *headers, size_t count)
{
    uint64_t bytes = count * sizeof *headers;

    for (size_t i = 0; i < count; i++)
        bytes += headers[i].name.len + headers[i].value.len;
    return bytes;
}

static bool is_grpc(const struct net_request *request)
{
    struct fm_slice type;
    static const char prefix[] = "application/grpc";
    size_t len = sizeof prefix - 1;

    return http_header_find(request->view.headers, request->view.header_count, "content-type",
                            &type) == FM_OK &&
           type.len >= len && fm_slice_equal_nocase(fm_slice(type.ptr, len), prefix);
}

/* nghttp2 holds the content-length against the DATA frames; here it only sizes the buffer. */
static uint64_t request_length(const struct net_request *request)
{
    struct fm_slice text;
    uint64_t length = 0;

    if (http_header_find(request->view.headers, request->view.header_count, "content-length",
                         &text) != FM_OK)
        return 0;
    for (size_t i = 0; i < text.len && i < 19; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return 0;
        length = length * 10 + (uint64_t)(text.ptr[i] - '0');
    }
    return length;
}

/* Answers without asking the handler; the stream closes when the answer is out. */
static void conn_h2_refuse(struct net_request *request)
{
    struct http_header headers[REFUSAL_HEADERS_MAX];
    struct net_response response = request_refusal(request, headers);

    metric_add(&request->conn->server->metrics.requests_refused_total, 1);
    request_count_refusal(request);
    request_stop_waiting(request);
    request->answered = true;
    conn_h2_respond(request, &response);
}

/* gRPC's clients expect to be answered at any time.  Others may take an answer in the middle of
 * their sending for a failure, so that small bodies are read and dropped first. */
static void conn_h2_refuse_in_time(struct net_request *request)
{
    uint64_t bytes = FM_MAX(request->body_bytes, request_length(request));

    if (request->is_grpc || request->ended || bytes > NET_DISCARD_H2_BYTES_MAX)
        conn_h2_refuse(request);
}

static void conn_h2_begin_body(struct net_request *request)
{
    if (request->refusal == REFUSED_NOT)
        request_expect(request, request_length(request)); /* notes a refusal in the request */
    if (request->refusal != REFUSED_NOT)
        conn_h2_refuse_in_time(request);
}

static void conn_h2_on_head(void *self, struct h2_stream *stream, struct fm_slice method,
                            struct fm_slice path, const struct http_header *headers, size_t count)
{
    struct conn *conn = self;
    struct net_request *request = net_server_spare_request(conn->server, conn);

    if (!request) {
        h2_stream_reset(stream, H2_INTERNAL_ERROR);
        return;
    }
    request->stream = stream;
    h2_stream_set_user(stream, request);
    fm_list_append(&conn->requests, &request->link);
    request->has_head = true;
    request->body_started_ns = conn->active_ns;
    request->view.is_h2 = true;
    request->view.is_loopback = conn->is_loopback;
    request->view.received_ns = conn->active_ns;
    if (!request_charge(request, head_cost(headers, count))) {
        request->view.headers = headers; /* to see whom the refusal is for */
        request->view.header_count = count;
        request->is_grpc = is_grpc(request);
        request->view.headers = NULL;
        request->view.header_count = 0;
        request->refusal = REFUSED_BUDGET;
        conn_h2_refuse(request);
        return;
    }
    if (request_keep_head(request, headers, count) < 0) {
        request->answered = true; /* nothing of it is of interest any more */
        h2_stream_reset(stream, H2_INTERNAL_ERROR);
        return;
    }
    request->is_grpc = is_grpc(request);
    struct fm_slice kept = slice_dup(&request->arena, path);
    request->view.method = slice_dup(&request->arena, method);
    if (fm_arena_failed(&request->arena) ||
        request_set_target(request, request->view.method, kept) < 0)
        request->refusal = REFUSED_TARGET;
    if (request_judge(request))
        conn_h2_begin_body(request);
}

/* Guessing sizes is for good times. */
static bool budget_has_plenty(const struct conn *conn)
{
    const struct net_budget *budget = conn->server->options.budget;
    return !budget || metric_get(&budget->bytes_used) < budget->bytes_max / 4;
}

static void conn_h2_on_data(void *self, struct h2_stream *stream, struct fm_slice data)
{
    struct conn *conn = self;
    struct net_request *request = h2_stream_user(stream);

    h2_stream_consumed(stream, data.len);
    if (!request || request->answered)
        return;
    if (!request->body.cap && conn->body_hint > data.len && budget_has_plenty(conn))
        (void)request_room(request, conn->body_hint);
    request_append(request, data);
    if (request->refusal != REFUSED_NOT)
        conn_h2_refuse_in_time(request);
}

static void conn_h2_on_end(void *self, struct h2_stream *stream)
{
    struct conn *conn = self;
    struct net_request *request = h2_stream_user(stream);

    if (!request || request->answered)
        return;
    if (request->body.len)
        conn->body_hint = FM_MIN(request->body.len, NET_BODY_HINT_MAX);
    request->ended = true;
    if (request->judging)
        return;
    if (request->refusal != REFUSED_NOT) {
        conn_h2_refuse(request);
        return;
    }
    request->complete = true;
    conn->complete_count++;
}

/* What arrived during the wait is at most one read of the socket; the connection was not read
 * meanwhile. */
void conn_h2_go_on(struct net_request *request)
{
    struct conn *conn = request->conn;

    request->body_started_ns = pf_now_ns(conn->server->platform);
    if (!request->stream || request->answered)
        return;
    if (!request->body_bytes || request->refusal != REFUSED_NOT)
        conn_h2_begin_body(request);
    if (request->answered || !request->ended)
        return;
    request->complete = true;
    conn->complete_count++;
}

/* The request goes when both its stream and its answer are through. */
static void conn_h2_forget(struct net_request *request)
{
    struct net_server *server = request->conn->server;

    if (request->complete)
        request->conn->complete_count--;
    fm_list_remove(&request->link);
    net_server_keep_request(server, request);
}

static void conn_h2_on_close(void *self, struct h2_stream *stream)
{
    struct net_request *request = h2_stream_user(stream);
    (void)self;

    if (!request)
        return;
    request->stream = NULL;
    if (request->delivered && !request->answered)
        request_set_gone(request); /* may answer, and is forgotten then */
    else
        conn_h2_forget(request);
}

int conn_h2_start(struct conn *conn)
{
    static const struct h2_callbacks callbacks = {
        .on_head = conn_h2_on_head,
        .on_data = conn_h2_on_data,
        .on_end = conn_h2_on_end,
        .on_close = conn_h2_on_close,
    };
    return h2_new(&conn->h2, &conn->server->options.limits, &callbacks, conn);
}

void conn_h2_input(struct conn *conn, struct fm_slice input)
{
    int rc = h2_feed(conn->h2, input);
    uint64_t heads = h2_heads_refused(conn->h2);
    for (; conn->heads_refused < heads; conn->heads_refused++)
        conn_count_refusal(conn, NET_REFUSED_HEAD);
    if (rc == FM_OK || !conn_is_open(conn))
        return;
    /* The GOAWAY that says why, then the end. */
    if (h2_drain(conn->h2, pf_now_ns(conn->server->platform), &conn->out) == FM_ENOMEM)
        fm_buf_reset(&conn->out); /* then the end alone has to say it */
    conn_count_refusal(conn, rc == FM_ELIMIT ? NET_REFUSED_FLOOD : NET_REFUSED_PROTOCOL);
    conn->close_after_flush = conn->input_unread = true;
}

void conn_h2_deliver(struct conn *conn)
{
    struct fm_link *link = conn->requests.next;

    while (link != &conn->requests && conn->complete_count) {
        struct net_request *request = FM_CONTAINER(link, struct net_request, link);
        if (!request->complete) {
            link = link->next;
            continue;
        }
        conn->complete_count--;
        request_deliver(request); /* may end any stream, and with it any link */
        link = conn->requests.next;
    }
}

void conn_h2_respond(struct net_request *request, const struct net_response *response)
{
    struct conn *conn = request->conn;
    struct http_header headers[35];
    char length[24];
    size_t count = FM_MIN(response->header_count, FM_COUNT(headers) - 2);
    bool is_head = fm_slice_equal_text(request->view.method, "HEAD");

    if (!request->stream || !conn->h2) {
        conn_h2_forget(request);
        return;
    }
    for (size_t i = 0; i < count; i++)
        headers[i] = response->headers[i];
    if (!request->is_grpc && !response->trailer_count && response->status != 204) {
        int digits = snprintf(length, sizeof length, "%zu", response->body.len);
        headers[count++] = (struct http_header){FM_SLICE("content-length"),
                                                fm_slice(length, (size_t)FM_MAX(digits, 0))};
    }
    headers[count++] = (struct http_header){FM_SLICE("date"), net_server_date(conn->server)};
    struct fm_slice body = is_head ? FM_SLICE("") : response->body;
    int rc = h2_respond(request->stream, response->status, headers, count, body, response->trailers,
                        response->trailer_count);
    if (rc < 0)
        h2_stream_reset(request->stream, H2_INTERNAL_ERROR);
    if (response->close)
        conn_shutdown(conn);
    conn->active_ns = request->answered_ns = pf_now_ns(conn->server->platform);
    request_release_body(request);
}

void conn_h2_respond_begin(struct net_request *request, const struct net_response *response)
{
    struct conn *conn = request->conn;
    struct http_header headers[34];
    size_t count = FM_MIN(response->header_count, FM_COUNT(headers) - 1);

    for (size_t i = 0; i < count; i++)
        headers[i] = response->headers[i];
    headers[count++] = (struct http_header){FM_SLICE("date"), net_server_date(conn->server)};
    if (h2_respond_begin(request->stream, response->status, headers, count) < 0)
        h2_stream_reset(request->stream, H2_INTERNAL_ERROR);
}

void conn_h2_respond_end(struct net_request *request, const struct http_header *trailers,
                         size_t count)
{
    struct conn *conn = request->conn;

    if (!request->stream || !conn->h2) {
        conn_h2_forget(request);
        return;
    }
    if (h2_respond_end(request->stream, trailers, count) < 0)
        h2_stream_reset(request->stream, H2_INTERNAL_ERROR);
    conn->active_ns = request->answered_ns = pf_now_ns(conn->server->platform);
    request_release_body(request);
}

/* A head in pieces (CONTINUATION) blocks its connection, and its stream is not a request yet. */
static bool conn_h2_head_is_late(struct conn *conn, uint64_t now_ns)
{
    if (h2_is_idle(conn->h2) || !fm_list_empty(&conn->requests)) {
        conn->head_ns = 0;
        return false;
    }
    if (!conn->head_ns)
        conn->head_ns = now_ns;
    return now_ns - conn->head_ns > conn->server->options.head_timeout_ns;
}

/* Whoever takes nothing of it may still keep the connection lively with PINGs. */
static bool conn_h2_answer_is_late(const struct net_request *request, uint64_t now_ns)
{
    uint64_t timeout_ns = request->conn->server->options.body_timeout_ns;

    return now_ns - request->conn->active_ns > timeout_ns ||
           now_ns - request->answered_ns > NET_ANSWER_TIMEOUTS * timeout_ns;
}

/* Streams that stall: bodies that do not come and answers that are not taken. */
void conn_h2_check_time(struct conn *conn, uint64_t now_ns)
{
    struct fm_link *link, *next;
    bool reset = false;

    if (conn_h2_head_is_late(conn, now_ns)) {
        conn_count_refusal(conn, NET_REFUSED_TIMEOUT);
        conn_close(conn);
        return;
    }
    for (link = conn->requests.next; link != &conn->requests; link = next) {
        struct net_request *request = FM_CONTAINER(link, struct net_request, link);
        next = link->next;
        if (!request->stream || (request->delivered && !request->answered) || request->complete ||
            request->judging)
            continue;
        bool late = request->answered ? conn_h2_answer_is_late(request, now_ns)
                                      : request_is_slow(request, now_ns);
        if (!late)
            continue;
        if (!request->answered && request->refusal != REFUSED_NOT)
            conn_h2_refuse(request);
        else
            h2_stream_reset(request->stream, H2_CANCEL);
        reset = true;
    }
    if (reset) {
        conn_count_refusal(conn, NET_REFUSED_TIMEOUT);
        conn_run(conn);
        return;
    }
    if (h2_is_idle(conn->h2) && now_ns - conn->active_ns > conn->server->options.idle_timeout_ns)
        conn_shutdown(conn);
}
