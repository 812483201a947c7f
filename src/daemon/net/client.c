/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP/1 client: one call at a time, on a connection that is kept between calls.
 *
 *   IDLE --> RESOLVING --> CONNECTING --> (TUNNEL) --> HANDSHAKE --> WAITING --> SENDING -->
 * RECEIVING --> IDLE
 *     \------------------ (kept connection) -------------^    \-------^
 *                                                any of them --> STOPPING --> IDLE
 *
 * WAITING: for "100 Continue", at most a second.  STOPPING: the outcome is known, but the job that
 * reads the body still runs, or the caller of net_call_start is still on the stack.
 *
 * A kept connection may have been closed by the server while nobody looked.  If it fails before the
 * first byte of an answer, and the method may be repeated, the call starts over once on a new one.
 *
 * The socket's side, with its own lifetime, is link.c. */
#include "client.h"

#include <stdio.h>
#include <stdlib.h>

#define CLIENT_PIECE_BYTES    FM_KIB(256)
#define CLIENT_PIECE_MIN      FM_KIB(4)
#define CLIENT_PACE_PER_S     10u /* rate-limited bodies go out in this many pieces a second */
#define CLIENT_CONTINUE_NS    NET_SECOND_NS
#define CLIENT_HEAD_BYTES_MAX FM_KIB(64)

static const struct fm_sm_rule client_rules[] = {
    [CLIENT_IDLE] = {"idle", FM_TO(CLIENT_RESOLVING) | FM_TO(CLIENT_WAITING) |
                                 FM_TO(CLIENT_SENDING) | FM_TO(CLIENT_STOPPING)},
    [CLIENT_RESOLVING] = {"resolving", FM_TO(CLIENT_CONNECTING) | FM_TO(CLIENT_STOPPING)},
    [CLIENT_CONNECTING] = {"connecting", FM_TO(CLIENT_TUNNEL) | FM_TO(CLIENT_HANDSHAKE) |
                                             FM_TO(CLIENT_WAITING) | FM_TO(CLIENT_SENDING) |
                                             FM_TO(CLIENT_STOPPING)},
    [CLIENT_TUNNEL] = {"tunnel", FM_TO(CLIENT_HANDSHAKE) | FM_TO(CLIENT_WAITING) |
                                     FM_TO(CLIENT_SENDING) | FM_TO(CLIENT_STOPPING)},
    [CLIENT_HANDSHAKE] = {"handshake",
                          FM_TO(CLIENT_WAITING) | FM_TO(CLIENT_SENDING) | FM_TO(CLIENT_STOPPING)},
    [CLIENT_WAITING] = {"waiting",
                        FM_TO(CLIENT_SENDING) | FM_TO(CLIENT_RECEIVING) | FM_TO(CLIENT_STOPPING)},
    [CLIENT_SENDING] = {"sending", FM_TO(CLIENT_RECEIVING) | FM_TO(CLIENT_STOPPING)},
    [CLIENT_RECEIVING] = {"receiving", FM_TO(CLIENT_STOPPING)},
    [CLIENT_STOPPING] = {"stopping", FM_TO(CLIENT_IDLE) | FM_TO(CLIENT_RESOLVING)},
};

static void client_resolve(struct net_client *client);
static void client_on_watch(struct pf_timer *timer);
static void client_on_pace(struct pf_timer *timer);
static void client_on_defer(struct pf_timer *timer);
static void client_settle(struct net_client *client);

/* ---- life ---- */

int net_client_new(struct net_client **ret_client, struct platform *platform,
                   const struct net_client_options *options, struct fm_why *why)
{
    const char *name = options->tls_server_name && options->tls_server_name[0]
                           ? options->tls_server_name
                           : options->host;
    struct tls_config *tls = NULL;

    if (!options->host[0] || strlen(options->host) > 253)
        return fm_fail(why, FM_ECONFIG, "host name is empty or longer than 253 bytes");
    if (options->interface && strlen(options->interface) >= IF_NAMESIZE)
        return fm_fail(why, FM_ECONFIG, "\"%s\" is no name of an interface", options->interface);
    struct net_proxy proxy = {.credentials = ""};
    bool has_proxy = options->proxy && options->proxy[0];
    int rc = has_proxy ? net_proxy_set(&proxy, options->proxy, why) : FM_OK;
    if (rc == FM_OK && has_proxy && options->proxy_auth_file && options->proxy_auth_file[0])
        rc = net_proxy_load(&proxy, platform, options->proxy_auth_file, why);
    if (rc == FM_OK && options->tls)
        rc = tls_config_new_client(&tls, options->tls_ca_file, why);
    if (rc < 0)
        return rc;
    struct net_client *client = calloc(1, sizeof *client);
    char *host = strdup(options->host), *server_name = strdup(name);
    if (!client || !host || !server_name) {
        free(client);
        free(host);
        free(server_name);
        tls_config_unref(tls);
        return FM_ENOMEM;
    }
    client->platform = platform;
    client->loop = uv_platform_loop(platform);
    client->host = host;
    client->server_name = server_name;
    if (options->interface)
        (void)snprintf(client->interface, sizeof client->interface, "%s", options->interface);
    client->port = options->port;
    client->tls = tls;
    client->tunnel.is_set = has_proxy;
    client->tunnel.proxy = proxy;
    client->connect_timeout_ns = options->connect_timeout_ns;
    client->stall_timeout_ns = options->stall_timeout_ns;
    client->state = (struct fm_sm){client_rules, CLIENT_IDLE};
    client->watch.fire = client_on_watch;
    client->pace.fire = client_on_pace;
    client->defer.fire = client_on_defer;
    client->limits = http_limits_default;
    client->limits.header_bytes_max = CLIENT_HEAD_BYTES_MAX;
    client->limits.body_bytes_max = SIZE_MAX / 4;
    fm_buf_init(&client->head, CLIENT_HEAD_BYTES_MAX);
    fm_buf_init(&client->response, SIZE_MAX / 4);
    *ret_client = client;
    return FM_OK;
}

static void client_maybe_free(struct net_client *client)
{
    if (!client->freed || client->call)
        return;
    pf_timer_stop(client->platform, &client->watch);
    pf_timer_stop(client->platform, &client->pace);
    pf_timer_stop(client->platform, &client->defer);
    if (client->addresses)
        uv_freeaddrinfo(client->addresses);
    tls_config_unref(client->tls);
    fm_buf_fini(&client->head);
    fm_buf_fini(&client->response);
    free(client->piece);
    free(client->host);
    free(client->server_name);
    free(client);
}

struct net_client *net_client_free(struct net_client *client)
{
    if (!client || client->freed)
        return NULL;
    client->freed = true;
    if (client->call && client->state.state != CLIENT_STOPPING) {
        client_stop(client, FM_ECANCELLED);
    } else if (client->call) {
        client->rc = FM_ECANCELLED;
        client->start_over = false;
    }
    if (client->call) /* never from within the caller's own call to us */
        pf_timer_start(client->platform, &client->defer, 0);
    if (client->link)
        link_close(client->link);
    client_maybe_free(client);
    return NULL;
}

/* ---- the end of a call ---- */

static void client_deliver(struct net_client *client)
{
    struct net_call *call = fm_take(client->call);
    int rc = client->rc;

    pf_timer_stop(client->platform, &client->watch);
    pf_timer_stop(client->platform, &client->pace);
    pf_timer_stop(client->platform, &client->defer);
    fm_sm_move(&client->state, CLIENT_IDLE);
    call->response_body = fm_buf_slice(&client->response);
    struct h1 *answered = fm_take(client->answered);
    bool freed = client->freed;
    call->done(call, rc); /* may start the next call, or free the client */
    h1_free(answered);
    if (freed)
        client_maybe_free(client);
}

/* STOPPING ends when nothing uses the call any more. */
static void client_settle(struct net_client *client)
{
    if (client->state.state != CLIENT_STOPPING || client->reading || client->on_stack)
        return;
    if (client->start_over) {
        client->start_over = false;
        client->repeated = true;
        client_resolve(client);
        if (client->state.state == CLIENT_STOPPING)
            pf_timer_start(client->platform, &client->defer, 0);
        return;
    }
    client_deliver(client);
}

static bool method_is_repeatable(const char *method)
{
    static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"};
    for (size_t i = 0; i < FM_COUNT(methods); i++) {
        if (strcmp(methods[i], method) == 0)
            return true;
    }
    return false;
}

void client_stop(struct net_client *client, int rc)
{
    bool broken = rc == FM_ECLOSED || rc == FM_EIO;

    if (client->state.state == CLIENT_STOPPING || client->state.state == CLIENT_IDLE)
        return;
    client->start_over = broken && client->reused && !client->repeated && !client->got_bytes &&
                         !client->freed && method_is_repeatable(client->call->method);
    client->rc = rc;
    pf_timer_stop(client->platform, &client->pace);
    pf_timer_stop(client->platform, &client->watch);
    if (client->lookup)
        fm_take(client->lookup)->client = NULL; /* its callback comes when it comes */
    if (client->link && (rc < 0 || !client->keep)) {
        client->answered = fm_take(client->link->h1); /* the call shows its headers */
        link_close(client->link);
    }
    fm_sm_move(&client->state, CLIENT_STOPPING);
}

static int client_fail(struct net_client *client, int rc, const char *what, const char *detail)
{
    return fm_fail(&client->call->why, rc, "%s:%u: %s%s%s", client->host, client->port, what,
                   detail ? ": " : "", detail ? detail : "");
}

/* ---- time ---- */

static void client_touch(struct net_client *client)
{
    client->moved_ns = pf_now_ns(client->platform);
}

static void client_on_watch(struct pf_timer *timer)
{
    struct net_client *client = FM_CONTAINER(timer, struct net_client, watch);
    uint64_t now_ns = pf_now_ns(client->platform);
    bool connecting = client->state.state <= CLIENT_HANDSHAKE;
    uint64_t limit_ns = connecting ? client->connect_timeout_ns : client->stall_timeout_ns;

    if (client->link && link_has_moved(client->link))
        client->moved_ns = now_ns;
    if (client->pacing)
        client->moved_ns = now_ns; /* it is we who wait */
    uint64_t still_ns = now_ns - client->moved_ns;
    if (still_ns < limit_ns) {
        /* Looks twice per limit, since writing moves without a callback. */
        pf_timer_start(client->platform, timer, FM_MIN(limit_ns - still_ns, limit_ns / 2 + 1));
        return;
    }
    int rc = client_fail(client, FM_ETIMEOUT,
                         connecting ? "no connection in time" : "no byte moved in time", NULL);
    client_stop(client, rc);
    client_settle(client);
}

static void client_start_watch(struct net_client *client, uint64_t limit_ns)
{
    client_touch(client);
    pf_timer_start(client->platform, &client->watch, limit_ns / 2 + 1);
}

static void client_on_defer(struct pf_timer *timer)
{
    client_settle(FM_CONTAINER(timer, struct net_client, defer));
}

/* ---- connecting ---- */

/* The next address, each with a socket of its own. */
static int client_connect_next(struct net_client *client)
{
    int rc = FM_EUNAVAILABLE;

    while (client->next_address) {
        const struct addrinfo *address = client->next_address;
        client->next_address = address->ai_next;
        rc = link_open(&client->link, client, address->ai_addr);
        if (rc == FM_OK)
            return FM_OK;
    }
    return rc;
}

/* Bytes reach the server. */
static void client_on_way(struct net_client *client)
{
    if (!client->tls) {
        client_begin(client);
        return;
    }
    fm_sm_move(&client->state, CLIENT_HANDSHAKE);
    link_on_handshake_bytes(client->link);
}

void client_on_connected(struct net_client *client, int failure)
{
    if (failure) {
        link_close(client->link);
        if (client_connect_next(client) == FM_OK)
            return;
        client_stop(client, client_fail(client, FM_EUNAVAILABLE, "connect", uv_strerror(failure)));
        client_settle(client);
        return;
    }
    if (!client->tunnel.is_set) {
        client_on_way(client);
        return;
    }
    fm_sm_move(&client->state, CLIENT_TUNNEL);
    if (link_send_plain(client->link, tunnel_begin(&client->tunnel, client->host, client->port)) <
        0)
        client_stop(client, client_fail(client, FM_EIO, "write", NULL));
    client_settle(client);
}

void client_on_tunnel_bytes(struct net_client *client, struct fm_slice input)
{
    struct fm_why why;
    int rc = tunnel_on_bytes(&client->tunnel, input, &why);
    if (rc == FM_MORE)
        return;
    if (rc == FM_OK) {
        client_on_way(client);
        return;
    }
    client_stop(client, client_fail(client, rc, why.text, NULL));
    client_settle(client);
}

static void client_on_resolved(uv_getaddrinfo_t *request, int failure, struct addrinfo *addresses)
{
    struct client_lookup *lookup = FM_CONTAINER(request, struct client_lookup, request);
    struct net_client *client = lookup->client;

    free(lookup);
    if (!client) { /* it took longer than anybody waited */
        uv_freeaddrinfo(addresses);
        return;
    }
    client->lookup = NULL;
    if (client->addresses)
        uv_freeaddrinfo(client->addresses);
    client->addresses = client->next_address = addresses;
    fm_sm_move(&client->state, CLIENT_CONNECTING);
    if (failure)
        client_stop(client,
                    client_fail(client, FM_EUNAVAILABLE, "name lookup", uv_strerror(failure)));
    else if (client_connect_next(client) < 0)
        client_stop(client, client_fail(client, FM_EUNAVAILABLE, "no usable address",
                                        client->interface[0] ? client->interface : NULL));
    client_settle(client);
}

static void client_resolve(struct net_client *client)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct client_lookup *lookup = calloc(1, sizeof *lookup);
    int failure = UV_ENOMEM;
    char port[8];

    client->reused = false;
    fm_sm_move(&client->state, CLIENT_RESOLVING);
    const char *host = client->tunnel.is_set ? client->tunnel.proxy.endpoint.host : client->host;
    (void)snprintf(port, sizeof port, "%u",
                   client->tunnel.is_set ? client->tunnel.proxy.endpoint.port : client->port);
    client_start_watch(client, client->connect_timeout_ns);
    if (lookup)
        failure =
            uv_getaddrinfo(client->loop, &lookup->request, client_on_resolved, host, port, &hints);
    if (failure) {
        free(lookup);
        client_stop(client,
                    client_fail(client, FM_EUNAVAILABLE, "name lookup", uv_strerror(failure)));
        return;
    }
    lookup->client = client;
    client->lookup = lookup;
}

/* ---- sending ---- */

static void client_on_body_read(struct pf_job *job)
{
    struct net_client *client = FM_CONTAINER(job, struct net_client, job);

    client->reading = false;
    if (client->state.state == CLIENT_SENDING) {
        if (client->job_rc < 0)
            client_stop(client, client_fail(client, client->job_rc, "reading the body", NULL));
        else if (link_send(client->link, fm_slice(client->piece, client->piece_len)) < 0)
            client_stop(client, client_fail(client, FM_EIO, "write", NULL));
    }
    client_settle(client);
}

static void client_read_body(struct pf_job *job)
{
    struct net_client *client = FM_CONTAINER(job, struct net_client, job);
    const struct net_call *call = client->call;
    client->job_rc = call->body.read_at(call->body.self, call->body_offset + client->body_read,
                                        client->piece, client->piece_len);
}

static void client_read_piece(struct net_client *client)
{
    const struct net_call *call = client->call;
    uint64_t len = FM_MIN(call->body_length - client->body_read, (uint64_t)CLIENT_PIECE_BYTES);

    if (call->rate_bytes_per_s) {
        uint64_t piece = FM_MAX(call->rate_bytes_per_s / CLIENT_PACE_PER_S, CLIENT_PIECE_MIN);
        len = FM_MIN(len, piece);
    }
    if (call->pacer)
        len = FM_MIN(len, client->granted);
    if (!client->piece)
        client->piece = malloc(CLIENT_PIECE_BYTES);
    if (!client->piece) {
        client_stop(client, client_fail(client, FM_ENOMEM, "no memory", NULL));
        return;
    }
    client->piece_len = (size_t)len;
    client->job = (struct pf_job){
        .work = client_read_body, .done = client_on_body_read, .lane = PF_LANE_DISK};
    client->reading = true;
    pf_job_submit(client->platform, &client->job);
}

static bool client_must_ask(struct net_client *client)
{
    const struct net_call *call = client->call;
    uint64_t want = FM_MIN(call->body_length - client->body_read, (uint64_t)CLIENT_PIECE_BYTES);
    uint64_t wait_ns = 0;

    client->granted = call->pacer->grant(call->pacer, (size_t)want, &wait_ns);
    if (client->granted)
        return false;
    client->pacing = true;
    pf_timer_start(client->platform, &client->pace, wait_ns);
    return true;
}

/* Not before the rate allows what was sent so far. */
static bool client_must_pace(struct net_client *client)
{
    const struct net_call *call = client->call;
    uint64_t rate = call->rate_bytes_per_s;

    if (call->pacer)
        return client_must_ask(client);
    if (!rate)
        return false;
    double due = (double)client->body_read / (double)rate * (double)NET_SECOND_NS;
    uint64_t due_ns = client->sending_ns + (uint64_t)due;
    uint64_t now_ns = pf_now_ns(client->platform);
    if (now_ns >= due_ns)
        return false;
    client->pacing = true;
    pf_timer_start(client->platform, &client->pace, due_ns - now_ns);
    return true;
}

static void client_send_more(struct net_client *client)
{
    const struct net_call *call = client->call;

    if (client->state.state != CLIENT_SENDING || client->reading || client->pacing ||
        link_is_writing(client->link))
        return;
    if (client->body_read == call->body_length)
        fm_sm_move(&client->state, CLIENT_RECEIVING);
    else if (!client_must_pace(client))
        client_read_piece(client);
}

static void client_send_body(struct net_client *client)
{
    fm_sm_move(&client->state, CLIENT_SENDING);
    client->sending_ns = pf_now_ns(client->platform);
    client_send_more(client);
}

static void client_on_pace(struct pf_timer *timer)
{
    struct net_client *client = FM_CONTAINER(timer, struct net_client, pace);

    client->pacing = false;
    if (client->state.state == CLIENT_WAITING)
        client_send_body(client); /* no word for a second: many servers never say "continue" */
    else
        client_send_more(client);
    client_settle(client);
}

void client_on_written(struct net_client *client)
{
    client_touch(client);
    if (client->piece_len) {
        client->body_read += client->piece_len;
        client->call->body_sent = client->body_read;
        client->piece_len = 0;
    }
    client_send_more(client);
    client_settle(client);
}

/* The connection stands: the head goes out. */
void client_begin(struct net_client *client)
{
    struct net_call *call = client->call;
    struct fm_buf *head = &client->head;
    static const struct http_header expect = {FM_SLICE("expect"), FM_SLICE("100-continue")};
    bool waits = call->expect_continue && call->body_length;
    struct http_header headers[40];
    size_t count = FM_MIN(call->header_count, FM_COUNT(headers) - 1);

    for (size_t i = 0; i < count; i++)
        headers[i] = call->headers[i];
    if (waits)
        headers[count++] = expect;
    client->body_read = client->piece_len = 0;
    client->keep = client->got_bytes = client->got_head = client->pacing = false;
    call->body_sent = 0;
    fm_buf_reset(head);
    fm_buf_reset(&client->response);
    h1_put_request(head, call->method, call->target, call->host, headers, count, call->body_length);
    client_start_watch(client, client->stall_timeout_ns);
    fm_sm_move(&client->state, waits ? CLIENT_WAITING : CLIENT_SENDING);
    client->sending_ns = pf_now_ns(client->platform);
    if (waits)
        pf_timer_start(client->platform, &client->pace, CLIENT_CONTINUE_NS);
    if (strcmp(call->method, "HEAD") == 0)
        h1_expect_no_body(client->link->h1);
    if (head->failed)
        client_stop(client, client_fail(client, FM_ELIMIT, "request head is too large", NULL));
    else if (link_send(client->link, fm_buf_slice(head)) < 0)
        client_stop(client, client_fail(client, FM_EIO, "write", NULL));
    client_settle(client);
}

/* ---- receiving ---- */

static void client_on_response_head(struct net_client *client)
{
    const struct h1_head *head = h1_head(client->link->h1);
    struct net_call *call = client->call;

    if (head->status < 200) {
        if (head->status == 100 && client->state.state == CLIENT_WAITING) {
            pf_timer_stop(client->platform, &client->pace);
            client_send_body(client);
        }
        return;
    }
    client->got_head = true;
    call->status = head->status;
    call->response_headers = head->headers;
    call->response_header_count = head->header_count;
}

/* An answer while we are still sending: the rest of the body is of no interest any more. */
static void client_on_response_done(struct net_client *client)
{
    if (!client->got_head)
        return; /* an interim response */
    client->keep = client->state.state == CLIENT_RECEIVING &&
                   h1_head(client->link->h1)->keep_alive && !client->freed;
    client_stop(client, FM_OK);
}

void client_on_input(struct net_client *client, struct fm_slice input)
{
    size_t total = 0;

    client_touch(client);
    client->got_bytes = true;
    while (client->link && client->state.state != CLIENT_STOPPING) {
        enum h1_event event;
        struct fm_slice data;
        size_t used = 0;
        int rc = h1_feed(client->link->h1, fm_slice(input.ptr + total, input.len - total), &used,
                         &event, &data);
        total += used;
        if (rc == FM_MORE)
            break;
        if (rc < 0) {
            client_stop(client, client_fail(client, rc == FM_ENOMEM ? rc : FM_EMALFORMED,
                                            "the answer is not HTTP/1", NULL));
            break;
        }
        if (event == H1_HEAD) {
            client_on_response_head(client);
        } else if (event == H1_DONE) {
            client_on_response_done(client);
        } else {
            size_t room = client->call->response_bytes_max -
                          FM_MIN(client->response.len, client->call->response_bytes_max);
            fm_buf_put(&client->response, data.ptr, FM_MIN(data.len, room));
            if (client->response.failed)
                client_stop(client, client_fail(client, FM_ENOMEM, "no memory", NULL));
        }
    }
    if (client->keep && total < input.len && client->link)
        link_close(client->link); /* more than was asked for */
    client_settle(client);
}

void client_on_link_end(struct net_client *client, int rc, const char *detail)
{
    if (client->state.state == CLIENT_IDLE || client->state.state == CLIENT_STOPPING) {
        link_close(client->link);
        return;
    }
    if (rc == FM_ECLOSED && client->got_head && h1_feed_end(client->link->h1) == FM_OK)
        client_stop(client, FM_OK);
    else
        client_stop(client, client_fail(client, rc, "connection", detail));
    client_settle(client);
}

void net_call_start(struct net_client *client, struct net_call *call)
{
    FM_ASSERT(!client->call && !client->freed);
    client->call = call;
    client->rc = FM_OK;
    client->repeated = client->start_over = false;
    call->status = 0;
    call->response_headers = NULL;
    call->response_header_count = 0;
    call->response_body = fm_slice(NULL, 0);
    call->body_sent = 0;
    call->why = (struct fm_why){""};
    client->on_stack = true;
    client->reused = client->link != NULL;
    if (client->reused)
        client_begin(client);
    else
        client_resolve(client);
    client->on_stack = false;
    if (client->state.state == CLIENT_STOPPING)
        pf_timer_start(client->platform, &client->defer, 0);
}
