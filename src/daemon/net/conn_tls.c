/* SPDX-License-Identifier: Apache-2.0 */
/* A connection's handshake.
 *
 * Its steps cost milliseconds each (signatures, key exchange, the peer's chain), so they run on
 * libuv's threads and the loop serves others meanwhile.  One step of one connection is under way at
 * a time: then the configuration, with the keys' caches inside, has one user, and a flood of
 * handshakes takes one processor at most.  The connection is not read while its step runs. */
#include <stdio.h>

#include "internal.h"

static void conn_on_shaken(struct conn *conn)
{
    const struct handshake *shake = conn->shake;

    if (shake->rc < 0) {
        char peer[64];
        conn_peer_text(conn, peer);
        metric_add(&conn->server->metrics.tls_failures_total, 1);
        conn_count_refusal(conn, NET_REFUSED_TLS);
        if (shake->rc == FM_EDENIED)
            log_info("net.auth.refused", "listener=%s peer=%s why=\"%s\"",
                     conn->server->options.name, peer, shake->why.text);
        else
            log_debug("net.tls.refused", "listener=%s peer=%s why=\"%s\"",
                      conn->server->options.name, peer, shake->why.text);
        conn->close_after_flush = true;
        conn_leave_handshake(conn);
    } else if (shake->rc == FM_OK) {
        conn_leave_handshake(conn);
        conn->head_ns = 0;
        if (tls_peer_name(conn->tls, conn->identity.name) == FM_OK)
            conn->identity.kind = NET_CERTIFICATE;
        conn_begin_protocol(conn, tls_is_h2(conn->tls));
    }
    conn_run(conn);
}

static void conn_on_work(uv_work_t *work)
{
    struct handshake *shake = FM_CONTAINER(work, struct handshake, work);
    shake->rc = tls_handshake(shake->conn->tls, &shake->why);
}

static void conn_on_work_done(uv_work_t *work, int status)
{
    struct handshake *shake = FM_CONTAINER(work, struct handshake, work);
    struct conn *conn = shake->conn;
    struct net_server *server = conn->server;
    (void)status; /* nobody cancels it */

    server->shaking = conn->shaking = false;
    net_server_shake(server);
    if (conn_is_open(conn))
        conn_on_shaken(conn);
    else
        conn_maybe_free(conn);
}

void conn_shake(struct conn *conn)
{
    struct handshake *shake = conn->shake;

    *shake = (struct handshake){.conn = conn};
    conn->shaking = conn->server->shaking = true;
    conn_run(conn); /* stops reading */
    int failure = uv_queue_work(conn->server->loop, &shake->work, conn_on_work, conn_on_work_done);
    FM_ASSERT(failure == 0); /* the only failure is to give no function */
}
