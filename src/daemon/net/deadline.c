/* SPDX-License-Identifier: Apache-2.0 */
/* What a slow, silent or stuck peer is allowed.  The server sweeps over its connections a few times
 * per shortest timeout; no connection has a timer of its own. */
#include "internal.h"

static bool conn_write_stalls(struct conn *conn, uint64_t now_ns)
{
    if (!conn->write_in_flight)
        return false;
    size_t queued = uv_stream_get_write_queue_size(&conn->socket.stream);
    if (queued != conn->write_queue_bytes) {
        conn->write_queue_bytes = queued;
        conn->stalled_ns = now_ns;
        conn->active_ns = now_ns;
    }
    return now_ns - conn->stalled_ns > conn->server->options.body_timeout_ns;
}

static void conn_h1_check_time(struct conn *conn, uint64_t now_ns)
{
    const struct net_server_options *options = &conn->server->options;

    if (conn_h1_is_busy(conn) || conn->write_in_flight)
        return;
    if (conn->request->has_head) {
        if (request_is_slow(conn->request, now_ns))
            conn_h1_timeout(conn);
    } else if (conn->head_ns) {
        if (now_ns - conn->head_ns > options->head_timeout_ns)
            conn_h1_timeout(conn);
    } else if (now_ns - conn->active_ns > options->idle_timeout_ns) {
        conn_close(conn);
    }
}

void conn_check_time(struct conn *conn, uint64_t now_ns)
{
    const struct net_server_options *options = &conn->server->options;
    uint64_t limit_ns;

    if (conn_is_open(conn) && conn_write_stalls(conn, now_ns)) {
        conn_count_protocol_error(conn);
        conn_close(conn);
        return;
    }
    switch ((enum conn_state)conn->state.state) {
    case CONN_HANDSHAKE:
        if (now_ns - conn->accepted_ns > FM_MIN(options->head_timeout_ns, NET_HANDSHAKE_NS))
            conn_close(conn);
        break;
    case CONN_SNIFF:
        limit_ns = conn->backlog.len ? options->head_timeout_ns : options->idle_timeout_ns;
        if (now_ns - conn->accepted_ns > limit_ns)
            conn_close(conn);
        break;
    case CONN_H1:
        conn_h1_check_time(conn, now_ns);
        break;
    case CONN_H2:
        conn_h2_check_time(conn, now_ns);
        break;
    case CONN_LINGER:
        if (now_ns - conn->linger_ns > NET_LINGER_NS)
            conn_close(conn);
        break;
    case CONN_CLOSING:
    case CONN_CLOSED:
        break;
    }
}
