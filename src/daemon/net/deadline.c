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
    if (now_ns - conn->stalled_ns > conn->server->options.body_timeout_ns)
        return true;
    /* Taking a byte now and then would keep an answer here for ever. */
    uint64_t age_ns = now_ns - conn->write_started_ns;
    uint64_t grace_ns = NET_ANSWER_TIMEOUTS * conn->server->options.body_timeout_ns;
    if (age_ns <= grace_ns)
        return false;
    uint64_t taken = conn->writing.len - FM_MIN(queued, conn->writing.len);
    return taken < (age_ns - grace_ns) / NET_SECOND_NS * NET_RATE_BYTES_PER_S;
}

/* Load balancers and clients that look up names anew want connections to end now and then.
 * HTTP/2 is told twice: streams that are on their way at the first word are still served. */
static void conn_check_age(struct conn *conn, uint64_t now_ns)
{
    if (!conn->retire_ns || now_ns < conn->retire_ns || conn->ending)
        return;
    if (!conn->retiring)
        metric_add(&conn->server->metrics.connections_aged_total, 1);
    if (conn->state.state == CONN_H1) {
        conn->retiring = conn->ending = true; /* the next answer says close */
    } else if (conn->state.state == CONN_H2 && !conn->retiring) {
        conn->retiring = true;
        conn->retire_ns = now_ns + NET_RETIRE_NS;
        h2_retire(conn->h2);
        conn_wake(conn);
    } else if (conn->state.state == CONN_H2) {
        conn_shutdown(conn);
    }
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

    conn_check_age(conn, now_ns);
    if (conn_is_open(conn) && conn_write_stalls(conn, now_ns)) {
        conn_count_refusal(conn, NET_REFUSED_TIMEOUT);
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
