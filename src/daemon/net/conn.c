/* SPDX-License-Identifier: Apache-2.0 */
/* A connection: bytes between a socket and the protocol that speaks on it.
 *
 *   HANDSHAKE --> SNIFF --> H1 --> LINGER
 *        \          \----> H2 --> LINGER          any --> CLOSING --> CLOSED
 *         \--ALPN----------^
 *
 * Callbacks store and call conn_run; conn_run parses what is there, delivers what is complete,
 * writes what is to be sent, and reads on or stops reading.  LINGER: the last answer is out, but
 * the peer is still sending a body we refused; closing at once would reset the answer away.
 * CLOSED: the socket is gone, the handler still owes an answer; memory goes with that answer.
 *
 * A body of known length is read from the socket into its own buffer (conn_on_alloc): the receive
 * path of an ordinary client copies nothing. */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define CONN_TLS_FIRST_BYTE 0x16
#define CONN_KEEPALIVE_S    60
#define CONN_WRITES_PER_RUN 16u /* then the loop's other connections */

static const struct fm_sm_rule conn_rules[] = {
    [CONN_HANDSHAKE] = {"handshake", FM_TO(CONN_SNIFF) | FM_TO(CONN_H2) | FM_TO(CONN_CLOSING)},
    [CONN_SNIFF] = {"sniff", FM_TO(CONN_H1) | FM_TO(CONN_H2) | FM_TO(CONN_CLOSING)},
    [CONN_H1] = {"h1", FM_TO(CONN_LINGER) | FM_TO(CONN_CLOSING)},
    [CONN_H2] = {"h2", FM_TO(CONN_LINGER) | FM_TO(CONN_CLOSING)},
    [CONN_LINGER] = {"linger", FM_TO(CONN_CLOSING)},
    [CONN_CLOSING] = {"closing", FM_TO(CONN_CLOSED)},
    [CONN_CLOSED] = {"closed", 0},
};

static void conn_on_written(uv_write_t *write, int status);

bool conn_is_open(const struct conn *conn)
{
    return conn->state.state < CONN_CLOSING;
}

void conn_count_refusal(struct conn *conn, enum net_refusal_reason reason)
{
    struct net_server_metrics *metrics = &conn->server->metrics;

    metric_add(&metrics->refused_total[reason], 1);
    if (reason == NET_REFUSED_PROTOCOL || reason == NET_REFUSED_FLOOD ||
        reason == NET_REFUSED_TIMEOUT)
        metric_add(&metrics->protocol_errors_total, 1);
}

/* ---- closing ---- */

/* What is read ahead is held for the peer like a body is. */
static bool conn_charge_backlog(struct conn *conn, size_t bytes)
{
    struct net_budget *budget = conn->server->options.budget;
    size_t before = conn->backlog_charged;

    if (!budget || bytes == before)
        return true;
    if (bytes > before && !net_budget_take(budget, bytes - before))
        return false;
    if (bytes < before)
        net_budget_give(budget, before - bytes);
    conn->backlog_charged = bytes;
    return true;
}

void conn_maybe_free(struct conn *conn)
{
    struct net_server *server = conn->server;

    if (conn->state.state != CONN_CLOSED || conn->unanswered_count || conn->running ||
        conn->shaking)
        return;
    if (conn->request) {
        request_fini(conn->request);
        free(conn->request);
    }
    while (!fm_list_empty(&conn->requests)) {
        struct net_request *request = FM_CONTAINER(conn->requests.next, struct net_request, link);
        fm_list_remove(&request->link);
        request_fini(request);
        free(request);
    }
    h1_free(conn->h1);
    h2_free(conn->h2);
    tls_free(conn->tls);
    free(conn->shake);
    conn_charge_backlog(conn, 0);
    fm_buf_fini(&conn->backlog);
    fm_buf_fini(&conn->out);
    fm_buf_fini(&conn->writing);
    fm_list_remove(&conn->ready);
    fm_list_remove(&conn->link);
    free(conn);
    net_server_on_conn_freed(server);
}

static void conn_on_closed(uv_handle_t *handle)
{
    struct conn *conn = handle->data;
    struct net_server_metrics *metrics = &conn->server->metrics;

    metric_set(&metrics->connections_open, metric_get(&metrics->connections_open) - 1);
    fm_sm_move(&conn->state, CONN_CLOSED);
    if (conn->peer)
        peers_leave(&conn->server->peers, conn->peer, pf_now_ns(conn->server->platform));
    conn->peer = NULL;
    conn_maybe_free(conn);
}

void conn_leave_handshake(struct conn *conn)
{
    fm_list_remove(&conn->handshake);
    if (conn->counts_as_handshake)
        conn->server->handshake_count--;
    if (conn->counts_as_handshake && conn->peer)
        conn->peer->handshake_count--;
    conn->counts_as_handshake = false;
}

void conn_close(struct conn *conn)
{
    if (!conn_is_open(conn))
        return;
    fm_sm_move(&conn->state, CONN_CLOSING);
    conn_leave_handshake(conn);
    fm_list_remove(&conn->ready);
    uv_close(&conn->socket.handle, conn_on_closed);
    if (conn->h2)
        conn->h2 = h2_free(conn->h2); /* every stream's on_close */
    if (conn->request)
        request_set_gone(conn->request);
}

void conn_shutdown(struct conn *conn)
{
    conn->ending = true;
    switch ((enum conn_state)conn->state.state) {
    case CONN_HANDSHAKE:
    case CONN_SNIFF:
        conn_close(conn);
        break;
    case CONN_H1:
        if (conn_h1_is_idle(conn) && !conn->out.len && !conn->write_in_flight)
            conn_close(conn);
        break; /* else the answer says close */
    case CONN_H2:
        h2_shutdown(conn->h2);
        conn_wake(conn);
        break;
    case CONN_LINGER:
    case CONN_CLOSING:
    case CONN_CLOSED:
        break;
    }
}

/* ---- writing ---- */

static int conn_encrypt(struct conn *conn)
{
    if (!conn->out.len)
        return FM_OK;
    int rc = tls_write(conn->tls, fm_buf_slice(&conn->out));
    fm_buf_reset(&conn->out);
    return rc;
}

static void conn_start_write(struct conn *conn, struct fm_buf *bytes, size_t sent)
{
    conn->writing = *bytes;
    fm_buf_init(bytes, bytes->bytes_max);
    uv_buf_t rest =
        uv_buf_init((char *)conn->writing.ptr + sent, (unsigned)(conn->writing.len - sent));
    if (uv_write(&conn->write, &conn->socket.stream, &rest, 1, conn_on_written) != 0) {
        conn_close(conn);
        return;
    }
    conn->write_in_flight = true;
    conn->write_queue_bytes = rest.len;
    conn->stalled_ns = conn->write_started_ns = pf_now_ns(conn->server->platform);
}

/* Hands what is ready to the kernel.  True if something moved and there may be more. */
static bool conn_write_some(struct conn *conn)
{
    struct fm_buf *bytes = &conn->out;

    if (conn->tls) {
        if (conn_encrypt(conn) < 0) {
            conn_close(conn);
            return false;
        }
        bytes = tls_output(conn->tls);
    }
    if (conn->out.failed || bytes->failed) {
        conn_close(conn);
        return false;
    }
    if (!bytes->len)
        return false;
    uv_buf_t all = uv_buf_init((char *)bytes->ptr, (unsigned)FM_MIN(bytes->len, FM_MIB(1024)));
    int sent = uv_try_write(&conn->socket.stream, &all, 1);
    if (sent < 0 && sent != UV_EAGAIN) {
        conn_close(conn);
        return false;
    }
    sent = FM_MAX(sent, 0);
    metric_add(&conn->server->metrics.bytes_sent_total, bytes->len);
    if ((size_t)sent < bytes->len) {
        conn_start_write(conn, bytes, (size_t)sent);
        return false;
    }
    fm_buf_reset(bytes);
    if (bytes->cap > NET_OUTPUT_BYTES_MAX)
        fm_buf_fini(bytes); /* a large answer was here; do not keep its memory */
    return true;
}

/* The frames that HTTP/2 wants to send; true while the session is worth keeping. */
static void conn_drain_h2(struct conn *conn)
{
    if (conn->close_after_flush || conn->out.len > NET_OUTPUT_BYTES_MAX)
        return;
    int rc = h2_drain(conn->h2, pf_now_ns(conn->server->platform), &conn->out);
    if (rc < 0) {
        conn_count_refusal(conn, rc == FM_ELIMIT ? NET_REFUSED_FLOOD : NET_REFUSED_PROTOCOL);
        conn->close_after_flush = conn->input_unread = true;
    } else if (h2_is_done(conn->h2)) {
        /* What crosses our end on the wire, a PING behind its GOAWAY, must not become a reset. */
        conn->close_after_flush = conn->input_unread = true;
    } else if (conn->ending && h2_is_idle(conn->h2) && !h2_wants_write(conn->h2)) {
        conn->close_after_flush = true;
        conn->input_unread = conn->retiring; /* a server that stops waits for nobody */
    }
}

static void conn_on_shutdown(uv_shutdown_t *shutdown, int status)
{
    (void)shutdown, (void)status; /* the peer's end of file, or the deadline, ends LINGER */
}

/* Everything is with the kernel and nothing more will come. */
static void conn_finish(struct conn *conn)
{
    if (!conn->input_unread || conn->peer_ended || conn->state.state == CONN_LINGER) {
        conn_close(conn);
        return;
    }
    fm_sm_move(&conn->state, CONN_LINGER);
    conn->linger_ns = pf_now_ns(conn->server->platform);
    if (conn->h2)
        conn->h2 = h2_free(conn->h2);
    if (uv_shutdown(&conn->shutdown, &conn->socket.stream, conn_on_shutdown) != 0)
        conn_close(conn);
}

static void conn_flush(struct conn *conn)
{
    bool said_goodbye = false;

    for (unsigned i = 0; conn_is_open(conn) && !conn->write_in_flight; i++) {
        if (i == CONN_WRITES_PER_RUN) {
            conn_wake(conn);
            return;
        }
        if (conn->state.state == CONN_H2)
            conn_drain_h2(conn);
        if (conn_write_some(conn) || !conn_is_open(conn) || conn->write_in_flight)
            continue;
        if (!conn->close_after_flush || conn->state.state == CONN_LINGER)
            return;
        if (!conn->tls || said_goodbye) {
            conn_finish(conn);
            return;
        }
        tls_say_goodbye(conn->tls);
        said_goodbye = true;
    }
}

static void conn_on_written(uv_write_t *write, int status)
{
    struct conn *conn = FM_CONTAINER(write, struct conn, write);

    conn->write_in_flight = false;
    fm_buf_fini(&conn->writing);
    if (status < 0)
        conn_close(conn);
    conn_run(conn);
}

/* ---- reading ---- */

static void conn_enter_h1(struct conn *conn)
{
    conn->request = malloc(sizeof *conn->request);
    if (!conn->request || h1_new(&conn->h1, H1_REQUESTS, &conn->server->options.limits) < 0) {
        free(fm_take(conn->request));
        conn_close(conn);
        return;
    }
    request_init(conn->request, conn);
    fm_sm_move(&conn->state, CONN_H1);
}

static void conn_enter_h2(struct conn *conn)
{
    if (conn_h2_start(conn) < 0) {
        conn_close(conn);
        return;
    }
    fm_sm_move(&conn->state, CONN_H2);
}

void conn_begin_protocol(struct conn *conn, bool is_h2)
{
    if (is_h2)
        conn_enter_h2(conn);
    else
        fm_sm_move(&conn->state, CONN_SNIFF);
}

/* HTTP/2 announces itself with a preface that no HTTP/1 request can begin with. */
static void conn_sniff(struct conn *conn, struct fm_slice input)
{
    size_t len = FM_MIN(input.len, (size_t)H2_PREFACE_BYTES);

    if (input.ptr[0] == CONN_TLS_FIRST_BYTE && !conn->tls) {
        conn_count_refusal(conn, NET_REFUSED_PROTOCOL); /* TLS to a plain port */
        conn_close(conn);
    } else if (memcmp(input.ptr, H2_PREFACE, len) != 0) {
        conn_enter_h1(conn);
    } else if (len == H2_PREFACE_BYTES) {
        conn_enter_h2(conn);
    }
}

/* Parses plain bytes; what cannot be used yet goes to the backlog. */
static void conn_input(struct conn *conn, struct fm_slice input)
{
    bool from_backlog = conn->backlog.len != 0;
    size_t used = 0;

    if (from_backlog && input.len) {
        fm_buf_put_slice(&conn->backlog, input);
        if (conn->backlog.failed) {
            conn_close(conn);
            return;
        }
    }
    if (from_backlog)
        input = fm_buf_slice(&conn->backlog);
    if (!input.len)
        return;
    if (conn->state.state == CONN_SNIFF)
        conn_sniff(conn, input);
    if (conn->state.state == CONN_H1) {
        conn_h1_input(conn, input, &used);
    } else if (conn->state.state == CONN_H2) {
        conn_h2_input(conn, input);
        used = input.len;
    } else if (conn->state.state != CONN_SNIFF) {
        used = input.len; /* nobody reads it any more */
    }
    if (from_backlog)
        fm_buf_consume(&conn->backlog, used);
    else if (used < input.len)
        fm_buf_put(&conn->backlog, input.ptr + used, input.len - used);
    if (conn->backlog.failed)
        conn_close(conn);
    if (!conn->backlog.len && conn->backlog.cap > NET_SCRATCH_BYTES)
        fm_buf_fini(&conn->backlog);
    if (!conn_charge_backlog(conn, conn->backlog.len)) {
        conn_count_refusal(conn, NET_REFUSED_MEMORY);
        conn_close(conn);
    }
}

/* Where the next plain bytes should go: the body they belong to, if that is known. */
static struct fm_slice conn_room(struct conn *conn, uint8_t *scratch)
{
    struct net_request *request = conn->request;

    if (conn->state.state == CONN_H1 && request->has_head && !request->complete &&
        !request->delivered && !conn->backlog.len) {
        struct fm_buf *body = &request->body;
        bool sized = request->expected_bytes >= request->body_bytes + FM_KIB(4); /* not chunked */
        if (sized && request_room(request, FM_KIB(4)))
            return fm_slice(body->ptr + body->len, body->cap - body->len);
    }
    return fm_slice(scratch, NET_SCRATCH_BYTES);
}

/* Whether plain bytes could be made use of now. */
static bool conn_wants_input(const struct conn *conn)
{
    if (conn->peer_ended || !conn_is_open(conn))
        return false;
    if (conn->state.state == CONN_LINGER)
        return true;
    if (conn->close_after_flush || conn->out.len > NET_OUTPUT_BYTES_MAX || conn->write_in_flight)
        return false;
    return conn->state.state == CONN_SNIFF || (!conn->backlog.len && !conn->judging_count);
}

static void conn_on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct conn *conn = handle->data;
    struct fm_slice room = fm_slice(conn->server->scratch, NET_SCRATCH_BYTES);
    (void)suggested;

    if (!conn->tls)
        room = conn_room(conn, conn->server->scratch);
    *buf = uv_buf_init((char *)(uintptr_t)room.ptr, (unsigned)FM_MIN(room.len, FM_MIB(1024)));
}

/* End of file.  A peer that only closed its sending side still gets the answers it waits for on
 * plain HTTP/1; whoever asked to be told is told. */
static void conn_on_end(struct conn *conn)
{
    conn->peer_ended = true;
    if (conn->state.state != CONN_H1 || conn->tls || !conn_h1_is_busy(conn)) {
        if (!conn->out.len && !conn->write_in_flight)
            conn_close(conn);
        else
            conn->close_after_flush = true;
        return;
    }
    request_set_gone(conn->request);
}

/* True if it read something. */
static bool conn_decrypt(struct conn *conn)
{
    struct fm_slice room = conn_room(conn, conn->server->plain_scratch);
    size_t len = 0;

    int rc = tls_read(conn->tls, (void *)(uintptr_t)room.ptr, room.len, &len);
    if (rc == FM_MORE)
        return false;
    if (rc == FM_END)
        conn_on_end(conn);
    else if (rc != FM_OK)
        conn_close(conn);
    else if (conn->state.state != CONN_LINGER)
        conn_input(conn, fm_slice(room.ptr, len));
    return rc == FM_OK;
}

static void conn_on_bytes(struct conn *conn, struct fm_slice input)
{
    conn->active_ns = pf_now_ns(conn->server->platform);
    metric_add(&conn->server->metrics.bytes_received_total, input.len);
    if (conn->state.state == CONN_LINGER)
        return;
    if (!conn->tls) {
        conn_input(conn, input);
        return;
    }
    if (conn->state.state == CONN_HANDSHAKE && !conn->head_ns) {
        conn->head_ns = conn->active_ns;
        if (input.ptr[0] != CONN_TLS_FIRST_BYTE) { /* plain text to a TLS port */
            conn_count_refusal(conn, NET_REFUSED_PROTOCOL);
            conn_close(conn);
            return;
        }
    }
    if (tls_feed(conn->tls, input) < 0) {
        conn_close(conn);
        return;
    }
    if (conn->state.state == CONN_HANDSHAKE && fm_list_empty(&conn->handshake)) {
        fm_list_append(&conn->server->handshakes, &conn->handshake);
        net_server_shake(conn->server);
    }
}

static void conn_on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    struct conn *conn = stream->data;

    if (len == 0 || !conn_is_open(conn))
        return;
    conn->running = true;
    if (len > 0)
        conn_on_bytes(conn, fm_slice(buf->base, (size_t)len));
    else if (len == UV_EOF)
        conn_on_end(conn);
    else
        conn_close(conn);
    conn->running = false;
    conn_run(conn);
}

static void conn_update_reading(struct conn *conn)
{
    bool wanted = conn_wants_input(conn) ||
                  (conn_is_open(conn) && !conn->peer_ended && conn->state.state == CONN_HANDSHAKE);

    wanted = wanted && !conn->shaking;
    if (!conn_is_open(conn) || wanted == conn->reading)
        return;
    conn->reading = wanted;
    if (!wanted)
        uv_read_stop(&conn->socket.stream);
    else if (uv_read_start(&conn->socket.stream, conn_on_alloc, conn_on_read) != 0)
        conn_close(conn);
}

/* ---- the step ---- */

/* Nothing will come any more: the peer ended and its backlog is used up, or the server wants to
 * close and no request has begun. */
static void conn_check_end(struct conn *conn)
{
    if (!conn_is_open(conn) || conn->close_after_flush)
        return;
    if (conn->peer_ended && (conn->state.state != CONN_H1 || !conn_h1_is_busy(conn)))
        conn->close_after_flush = true;
    if (conn->ending && conn->state.state == CONN_H1 && conn_h1_is_idle(conn))
        conn->close_after_flush = true;
}

/* One piece of input or one delivery; false: nothing more can be done now. */
static bool conn_step(struct conn *conn)
{
    bool h1 = conn->state.state == CONN_H1, h2 = conn->state.state == CONN_H2;

    if (h1 && conn->request->complete) {
        request_deliver(conn->request);
        return true;
    }
    if (h2 && conn->complete_count && h2_unsent_bytes(conn->h2) <= NET_ANSWERS_BYTES_MAX) {
        conn_h2_deliver(conn);
        return true;
    }
    if (!conn_is_open(conn) || conn->close_after_flush || conn->write_in_flight ||
        conn->out.len > NET_OUTPUT_BYTES_MAX || conn->state.state == CONN_HANDSHAKE)
        return false;
    if (h1 && conn->backlog.len && !conn_h1_is_busy(conn)) {
        size_t before = conn->backlog.len;
        conn_input(conn, FM_SLICE(""));
        if (conn->backlog.len < before)
            return true;
    }
    return conn->tls && conn_wants_input(conn) && conn_decrypt(conn);
}

void conn_run(struct conn *conn)
{
    bool full;

    if (conn->running)
        return;
    if (conn->shaking) { /* nothing can be done but to keep still */
        conn_update_reading(conn);
        return;
    }
    conn->running = true;
    fm_list_remove(&conn->ready);
    do {
        while (conn_step(conn)) {
        }
        conn_check_end(conn);
        full = conn->out.len > NET_OUTPUT_BYTES_MAX;
        conn_flush(conn);
    } while (full && conn_is_open(conn) && !conn->write_in_flight);
    conn_update_reading(conn);
    conn->running = false;
    conn_maybe_free(conn);
}

void conn_wake(struct conn *conn)
{
    if (conn->running || !conn_is_open(conn) || !fm_list_empty(&conn->ready))
        return;
    fm_list_append(&conn->server->ready, &conn->ready);
    net_server_wake(conn->server);
}

/* ---- accepting ---- */

static bool address_is_loopback(const struct sockaddr_storage *address)
{
    static const uint8_t mapped[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127};
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
        return ((const uint8_t *)&v4->sin_addr)[0] == 127;
    }
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
    return address->ss_family == AF_INET6 && (IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) ||
                                              memcmp(&v6->sin6_addr, mapped, sizeof mapped) == 0);
}

/* Who sits at the other end of a unix socket, if only some may. */
static int conn_take_unix(struct conn *conn)
{
    const struct auth_set *auth = conn->server->auth;
    struct ucred credentials;
    socklen_t len = sizeof credentials;
    uv_os_fd_t fd;

    conn->is_loopback = true;
    if (!auth->wants_peer)
        return FM_OK;
    if (uv_fileno(&conn->socket.handle, &fd) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &len) != 0)
        return FM_EDENIED;
    const char *name = auth_set_peer(auth, credentials.uid);
    if (!name) {
        log_info("net.auth.refused", "listener=%s peer=uid:%u why=\"not in unix_allowed_users\"",
                 conn->server->options.name, (unsigned)credentials.uid);
        return FM_EDENIED;
    }
    conn->identity.kind = NET_PEER;
    (void)snprintf(conn->identity.name, sizeof conn->identity.name, "%s", name);
    return FM_OK;
}

static int conn_take_socket(struct conn *conn)
{
    struct net_server *server = conn->server;
    struct sockaddr_storage peer = {0};
    int peer_len = sizeof peer;

    if (uv_accept(&server->socket.stream, &conn->socket.stream) != 0)
        return FM_EUNAVAILABLE;
    if (server->endpoint.is_unix)
        return conn_take_unix(conn);
    /* Best effort: a connection without these options works as well. */
    (void)uv_tcp_nodelay(&conn->socket.tcp, 1);
    (void)uv_tcp_keepalive(&conn->socket.tcp, 1, CONN_KEEPALIVE_S);
    if (uv_tcp_getpeername(&conn->socket.tcp, (struct sockaddr *)&peer, &peer_len) != 0)
        return FM_ECLOSED; /* gone already */
    conn->is_loopback = address_is_loopback(&peer);
    if (conn->is_loopback)
        return FM_OK;
    conn->peer = peers_join(&server->peers, &peer);
    return conn->peer ? FM_OK : FM_ENOMEM;
}

/* Ten per cent to either side, so that what began together does not end together. */
static uint64_t conn_retire_ns(const struct conn *conn)
{
    uint64_t age_ns = conn->server->options.connection_age_ns, spread_ns = age_ns / 5;

    if (!age_ns)
        return 0;
    uint64_t chance = pf_random_u64(conn->server->platform);
    return conn->accepted_ns + age_ns - spread_ns / 2 + (spread_ns ? chance % spread_ns : 0);
}

static int conn_refuse_connection(struct conn *conn, enum net_refusal_reason reason)
{
    metric_add(&conn->server->metrics.requests_refused_total, 1);
    conn_count_refusal(conn, reason);
    return FM_ELIMIT;
}

static int conn_prepare(struct conn *conn)
{
    struct net_server *server = conn->server;
    uint32_t per_ip_max = server->options.connection_per_ip_max;

    if (server->conn_count > server->options.connection_max)
        return conn_refuse_connection(conn, NET_REFUSED_CONNECTIONS);
    if (conn->peer && per_ip_max && conn->peer->conn_count > per_ip_max)
        return conn_refuse_connection(conn, NET_REFUSED_PER_IP);
    conn->retire_ns = conn_retire_ns(conn);
    if (!server->tls)
        return FM_OK;
    if (server->handshake_count >= NET_HANDSHAKES_MAX ||
        (conn->peer && conn->peer->handshake_count >= NET_HANDSHAKES_PER_PEER))
        return conn_refuse_connection(conn, NET_REFUSED_HANDSHAKES);
    conn->counts_as_handshake = true;
    server->handshake_count++;
    if (conn->peer)
        conn->peer->handshake_count++;
    conn->shake = malloc(sizeof *conn->shake);
    return conn->shake ? tls_new(&conn->tls, server->tls, NULL) : FM_ENOMEM;
}

static void conn_init(struct conn *conn, struct net_server *server)
{
    *conn = (struct conn){
        .server = server,
        .state = {conn_rules, server->tls ? CONN_HANDSHAKE : CONN_SNIFF},
        .accepted_ns = pf_now_ns(server->platform),
        .identity = {NET_ANONYMOUS, "anonymous"},
    };
    conn->active_ns = conn->accepted_ns;
    fm_list_init(&conn->ready);
    fm_list_init(&conn->handshake);
    fm_list_init(&conn->requests);
    fm_list_append(&server->conns, &conn->link);
    fm_buf_init(&conn->backlog, 4 * NET_SCRATCH_BYTES);
    fm_buf_init(&conn->out, SIZE_MAX / 4);
    if (server->endpoint.is_unix)
        uv_pipe_init(server->loop, &conn->socket.pipe, 0);
    else
        uv_tcp_init(server->loop, &conn->socket.tcp);
    conn->socket.handle.data = conn;
    server->conn_count++;
    metric_add(&server->metrics.connections_total, 1);
    metric_add(&server->metrics.connections_open, 1);
}

void conn_accept(struct net_server *server)
{
    struct conn *conn = malloc(sizeof *conn);

    if (!conn) { /* libuv keeps the socket and stops listening until somebody takes it */
        server->accept_missed = true;
        net_server_start_sweep(server);
        return;
    }
    conn_init(conn, server);
    int rc = conn_take_socket(conn);
    if (rc == FM_EDENIED)
        (void)conn_refuse_connection(conn, NET_REFUSED_UNIX_USER);
    if (rc == FM_OK)
        rc = conn_prepare(conn);
    if (rc < 0) {
        conn_close(conn);
        return;
    }
    net_server_start_sweep(server);
    conn_run(conn);
}

void conn_peer_text(const struct conn *conn, char text[64])
{
    struct sockaddr_storage peer = {0};
    int len = sizeof peer;

    (void)snprintf(text, 64, "%s", conn->server->endpoint.is_unix ? "unix" : "unknown");
    if (!conn->server->endpoint.is_unix &&
        uv_tcp_getpeername(&conn->socket.tcp, (struct sockaddr *)&peer, &len) == 0)
        (void)uv_ip_name((struct sockaddr *)&peer, text, 64);
}
