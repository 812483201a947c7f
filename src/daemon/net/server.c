/* SPDX-License-Identifier: Apache-2.0 */
/* The server: one listening socket, its connections, and the turns it gives them.
 *
 * Answers mostly come in batches (one sync of the log acknowledges many requests), so answering
 * only marks a connection ready; the idle handle then runs all of them, one write each. */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SERVER_BACKLOG      511
#define SERVER_SWEEP_MIN_NS UINT64_C(10000000)
#define SERVER_SWEEP_MAX_NS NET_SECOND_NS
#define SERVER_SOCKET_MODE  0660
#define SERVER_MODE_DIGITS  4u

static void net_server_on_sweep(struct pf_timer *timer);

/* ---- turns ---- */

static void net_server_on_idle(uv_idle_t *idle)
{
    struct net_server *server = idle->data;
    struct fm_link turn;

    fm_list_init(&turn);
    if (!fm_list_empty(&server->ready)) { /* those of now; what they wake waits for the next turn */
        turn = server->ready;
        turn.next->prev = turn.prev->next = &turn;
        fm_list_init(&server->ready);
    }
    while (!fm_list_empty(&turn)) {
        struct conn *conn = FM_CONTAINER(turn.next, struct conn, ready);
        fm_list_remove(&conn->ready);
        conn_run(conn);
    }
    if (fm_list_empty(&server->ready))
        uv_idle_stop(idle);
}

void net_server_wake(struct net_server *server)
{
    if (!uv_is_closing((uv_handle_t *)&server->idle))
        uv_idle_start(&server->idle, net_server_on_idle);
}

void net_server_shake(struct net_server *server)
{
    if (server->shaking || fm_list_empty(&server->handshakes))
        return;
    struct conn *conn = FM_CONTAINER(server->handshakes.next, struct conn, handshake);
    fm_list_remove(&conn->handshake);
    conn_shake(conn);
}

void net_server_start_sweep(struct net_server *server)
{
    if (server->sweeping)
        return;
    server->sweeping = true;
    pf_timer_start(server->platform, &server->sweep, server->sweep_ns);
}

static void net_server_on_sweep(struct pf_timer *timer)
{
    struct net_server *server = FM_CONTAINER(timer, struct net_server, sweep);
    uint64_t now_ns = pf_now_ns(server->platform);
    struct fm_link *link, *next;

    server->sweeping = false;
    if (server->accept_missed && !server->closing) {
        server->accept_missed = false;
        conn_accept(server);
    }
    /* Closing frees nothing before the loop's next phase, so next stays good. */
    for (link = server->conns.next; link != &server->conns; link = next) {
        next = link->next;
        conn_check_time(FM_CONTAINER(link, struct conn, link), now_ns);
    }
    if (server->conn_count)
        net_server_start_sweep(server);
}

/* ---- small services for connections ---- */

struct fm_slice net_server_date(struct net_server *server)
{
    static const char days[] = "ThuFriSatSunMonTueWed"; /* the epoch was a Thursday */
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    uint64_t now_s = pf_wall_ns(server->platform) / NET_SECOND_NS;

    if (now_s != server->date_s || !server->date[0]) {
        uint64_t day = now_s / 86400, second = now_s % 86400;
        /* Days to a civil date: years begin in March, 400 years are 146,097 days. */
        uint64_t z = day + 719468, era = z / 146097, doe = z % 146097;
        uint64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
        uint64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
        unsigned month = (unsigned)(mp < 10 ? mp + 2 : mp - 10); /* from 0 */
        uint64_t year = yoe + era * 400 + (month < 2);
        server->date_s = now_s;
        (void)snprintf(server->date, sizeof server->date, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT",
                       days + day % 7 * 3, (unsigned)(doy - (153 * mp + 2) / 5 + 1),
                       months + month * 3, (unsigned)(year % 10000), (unsigned)(second / 3600),
                       (unsigned)(second / 60 % 60), (unsigned)(second % 60));
    }
    return fm_slice_text(server->date);
}

struct net_request *net_server_spare_request(struct net_server *server, struct conn *conn)
{
    struct net_request *request;

    if (fm_list_empty(&server->spare_requests)) {
        request = malloc(sizeof *request);
        if (request)
            request_init(request, conn);
        return request;
    }
    request = FM_CONTAINER(server->spare_requests.next, struct net_request, link);
    fm_list_remove(&request->link);
    server->spare_request_count--;
    request->conn = conn;
    return request;
}

void net_server_keep_request(struct net_server *server, struct net_request *request)
{
    request_reset(request);
    if (server->spare_request_count >= NET_SPARE_REQUESTS_MAX) {
        request_fini(request);
        free(request);
        return;
    }
    request->conn = NULL;
    server->spare_request_count++;
    fm_list_append(&server->spare_requests, &request->link);
}

/* ---- opening ---- */

static int copy_text(const char **ret_text, const char *text)
{
    *ret_text = NULL;
    if (!text || !text[0])
        return FM_OK;
    *ret_text = strdup(text);
    return *ret_text ? FM_OK : FM_ENOMEM;
}

/* Every text of the options, so that all are copied and all are freed. */
#define SERVER_TEXTS(X)                                                                            \
    X(name)                                                                                        \
    X(endpoint)                                                                                    \
    X(tls_cert_file) X(tls_key_file) X(tls_client_ca_file) X(tls_client_allowed_names)             \
        X(htpasswd_file) X(bearer_tokens_file) X(unix_mode) X(unix_allowed_users)

static int net_server_copy_options(struct net_server *server,
                                   const struct net_server_options *options)
{
    struct net_server_options *own = &server->options;
    int rc = FM_OK;

    *own = *options;
#define X(field) own->field = NULL;
    SERVER_TEXTS(X)
#undef X
#define X(field)                                                                                   \
    if (rc == FM_OK)                                                                               \
        rc = copy_text(&own->field, options->field);
    SERVER_TEXTS(X)
#undef X
    if (rc == FM_OK && !own->name)
        rc = copy_text(&own->name, "net");
    uint64_t shortest_ns = FM_MIN(own->head_timeout_ns, own->body_timeout_ns);
    shortest_ns = FM_MIN(shortest_ns, own->idle_timeout_ns);
    server->sweep_ns = FM_MIN(FM_MAX(shortest_ns / 4, SERVER_SWEEP_MIN_NS), SERVER_SWEEP_MAX_NS);
    return rc;
}

static void net_server_free(struct net_server *server)
{
    while (!fm_list_empty(&server->spare_requests)) {
        struct net_request *request =
            FM_CONTAINER(server->spare_requests.next, struct net_request, link);
        fm_list_remove(&request->link);
        fm_arena_fini(&request->arena);
        free(request);
    }
    tls_config_unref(server->tls);
    auth_desk_fini(&server->desk);
    auth_set_unref(server->auth);
    peers_fini(&server->peers);
#define X(field) free((void *)(uintptr_t)server->options.field);
    SERVER_TEXTS(X)
#undef X
    free(server->scratch);
    free(server->plain_scratch);
    free(server);
}

/* Nobody listens on it: left behind by a process that did not end properly. */
static bool socket_is_stale(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat status;
    bool stale = false;

    if (lstat(path, &status) != 0 || !S_ISSOCK(status.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    memcpy(address.sun_path, path, strnlen(path, sizeof address.sun_path - 1));
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        stale = errno == ECONNREFUSED;
    close(fd);
    return stale;
}

/* "0660" */
static bool socket_mode_parse(const char *text, mode_t *ret_mode)
{
    mode_t mode = 0;

    if (!text[0] || strlen(text) > SERVER_MODE_DIGITS)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '7')
            return false;
        mode = mode << 3 | (mode_t)(*text - '0');
    }
    *ret_mode = mode;
    return mode <= 0777;
}

static int net_server_bind_unix(struct net_server *server)
{
    const char *path = server->endpoint.host;
    mode_t mode = SERVER_SOCKET_MODE;

    if (server->options.unix_mode && !socket_mode_parse(server->options.unix_mode, &mode))
        return UV_EINVAL;
    int failure = uv_pipe_bind(&server->socket.pipe, path);

    if (failure == UV_EADDRINUSE && socket_is_stale(path) && unlink(path) == 0)
        failure = uv_pipe_bind(&server->socket.pipe, path);
    if (!failure && chmod(path, mode) != 0) /* nobody can connect before listen */
        failure = -errno;
    return failure;
}

static int net_server_bind_name(struct net_server *server, const char *host)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    uv_getaddrinfo_t lookup;
    char port[8];

    (void)snprintf(port, sizeof port, "%u", server->endpoint.port);
    int failure = uv_getaddrinfo(server->loop, &lookup, NULL, host, port, &hints);
    if (failure)
        return failure;
    failure = uv_tcp_bind(&server->socket.tcp, lookup.addrinfo->ai_addr, 0);
    uv_freeaddrinfo(lookup.addrinfo);
    return failure;
}

static int net_server_bind(struct net_server *server)
{
    const char *host = server->endpoint.host;
    struct sockaddr_storage address = {0};

    if (server->endpoint.is_unix)
        return net_server_bind_unix(server);
    if (!host[0])
        host = "::"; /* both families */
    if (uv_ip4_addr(host, server->endpoint.port, (struct sockaddr_in *)&address) != 0 &&
        uv_ip6_addr(host, server->endpoint.port, (struct sockaddr_in6 *)&address) != 0)
        return net_server_bind_name(server, host);
    int failure = uv_tcp_bind(&server->socket.tcp, (struct sockaddr *)&address, 0);
    if (failure && !server->endpoint.host[0]) { /* no IPv6 here */
        (void)uv_ip4_addr("0.0.0.0", server->endpoint.port, (struct sockaddr_in *)&address);
        failure = uv_tcp_bind(&server->socket.tcp, (struct sockaddr *)&address, 0);
    }
    return failure;
}

static void net_server_on_connection(uv_stream_t *stream, int status)
{
    if (status == 0)
        conn_accept(stream->data);
}

static int net_server_listen(struct net_server *server, struct fm_why *why)
{
    int failure;

    uv_idle_init(server->loop, &server->idle);
    server->idle.data = server;
    server->handle_count = 1;
    if (server->endpoint.is_unix)
        failure = uv_pipe_init(server->loop, &server->socket.pipe, 0);
    else
        failure = uv_tcp_init(server->loop, &server->socket.tcp);
    if (failure)
        return fm_fail(why, FM_EUNAVAILABLE, "socket: %s", uv_strerror(failure));
    server->socket.handle.data = server;
    server->handle_count = 2;
    failure = net_server_bind(server);
    if (!failure)
        failure = uv_listen(&server->socket.stream, SERVER_BACKLOG, net_server_on_connection);
    if (failure)
        return fm_fail(why, FM_EUNAVAILABLE, "listen on %s: %s", server->options.endpoint,
                       uv_strerror(failure));
    return FM_OK;
}

static int net_server_load_tls(const struct net_server *server, struct tls_config **ret_config,
                               struct fm_why *why)
{
    const struct net_server_options *options = &server->options;
    const struct tls_server_options tls = {
        .cert_file = options->tls_cert_file,
        .key_file = options->tls_key_file,
        .client_ca_file = options->tls_client_ca_file,
        .client_allowed_names = options->tls_client_allowed_names,
        .only_13 = options->tls_13_only,
    };
    if (!tls.cert_file && !tls.key_file && !tls.client_ca_file) {
        *ret_config = NULL;
        return FM_OK;
    }
    if (!tls.cert_file || !tls.key_file)
        return fm_fail(why, FM_ECONFIG, "TLS needs a certificate and a key");
    return tls_config_new_server(ret_config, &tls, why);
}

/* Everything that comes from files, or nothing. */
static int net_server_load(struct net_server *server, struct fm_why *why)
{
    struct tls_config *tls, *old_tls = server->tls;
    struct auth_set *auth, *old_auth = server->auth;
    int rc = net_server_load_tls(server, &tls, why);

    if (rc < 0)
        return rc;
    rc = auth_set_new(&auth, server->platform, &server->options, why);
    if (rc < 0) {
        tls_config_unref(tls);
        return rc;
    }
    server->tls = tls;
    server->auth = auth;
    tls_config_unref(old_tls);
    auth_set_unref(old_auth);
    return FM_OK;
}

int net_server_open(struct net_server **ret_server, struct platform *platform,
                    const struct net_server_options *options, struct fm_why *why)
{
    struct net_server *server = calloc(1, sizeof *server);

    if (!server)
        return FM_ENOMEM;
    server->platform = platform;
    server->loop = uv_platform_loop(platform);
    server->sweep.fire = net_server_on_sweep;
    fm_list_init(&server->conns);
    fm_list_init(&server->ready);
    fm_list_init(&server->handshakes);
    fm_list_init(&server->spare_requests);
    auth_desk_init(&server->desk);
    peers_init(&server->peers, pf_random_u64(platform));
    server->scratch = malloc(NET_SCRATCH_BYTES);
    server->plain_scratch = malloc(NET_SCRATCH_BYTES);
    int rc = server->scratch && server->plain_scratch ? FM_OK : FM_ENOMEM;
    if (rc == FM_OK)
        rc = net_server_copy_options(server, options);
    if (rc == FM_OK)
        rc = net_endpoint_parse(options->endpoint, &server->endpoint, why);
    if (rc == FM_OK)
        rc = net_server_load(server, why);
    if (rc == FM_OK)
        rc = net_server_listen(server, why);
    if (rc < 0) {
        server->closing = true;
        net_server_close_handles(server);
        return rc;
    }
    *ret_server = server;
    return FM_OK;
}

uint16_t net_server_port(const struct net_server *server)
{
    struct sockaddr_storage address = {0};
    int len = sizeof address;

    if (server->endpoint.is_unix ||
        uv_tcp_getsockname(&server->socket.tcp, (struct sockaddr *)&address, &len) != 0)
        return 0;
    const uint8_t *port = address.ss_family == AF_INET6
                              ? (const uint8_t *)&((struct sockaddr_in6 *)&address)->sin6_port
                              : (const uint8_t *)&((struct sockaddr_in *)&address)->sin_port;
    return fm_load_be16(port);
}

const struct net_server_metrics *net_server_metrics(const struct net_server *server)
{
    return &server->metrics;
}

int net_server_reload(struct net_server *server, struct fm_why *why)
{
    return net_server_load(server, why);
}

/* ---- closing ---- */

/* The listener, the idle handle, the last connection and the last hash all end here. */
void net_server_maybe_closed(struct net_server *server)
{
    if (!server->closing || server->handle_count || server->conn_count || server->desk.is_hashing)
        return;
    void (*closed)(void *self) = server->closed;
    void *self = server->closed_self;
    pf_timer_stop(server->platform, &server->sweep);
    pf_timer_stop(server->platform, &server->grace);
    net_server_free(server);
    if (closed)
        closed(self);
}

static void net_server_on_handle_closed(uv_handle_t *handle)
{
    struct net_server *server = handle->data;
    server->handle_count--;
    net_server_maybe_closed(server);
}

static void net_server_close_idle(struct net_server *server)
{
    uv_handle_t *idle = (uv_handle_t *)&server->idle;
    if (server->closing && !server->conn_count && server->handle_count && !uv_is_closing(idle))
        uv_close(idle, net_server_on_handle_closed);
}

void net_server_close_handles(struct net_server *server)
{
    if (server->handle_count == 2)
        uv_close(&server->socket.handle, net_server_on_handle_closed);
    net_server_close_idle(server);
    net_server_maybe_closed(server);
}

void net_server_on_conn_freed(struct net_server *server)
{
    server->conn_count--;
    net_server_close_idle(server);
    net_server_maybe_closed(server);
}

static void net_server_on_grace(struct pf_timer *timer)
{
    struct net_server *server = FM_CONTAINER(timer, struct net_server, grace);
    struct fm_link *link, *next;

    for (link = server->conns.next; link != &server->conns; link = next) {
        next = link->next;
        conn_close(FM_CONTAINER(link, struct conn, link));
    }
}

void net_server_close(struct net_server *server, uint64_t grace_ns, void (*closed)(void *self),
                      void *self)
{
    struct fm_link *link, *next;

    FM_ASSERT(!server->closing);
    server->closing = true;
    server->closed = closed;
    server->closed_self = self;
    for (link = server->conns.next; link != &server->conns; link = next) {
        next = link->next;
        conn_shutdown(FM_CONTAINER(link, struct conn, link));
    }
    server->grace.fire = net_server_on_grace;
    if (server->conn_count)
        pf_timer_start(server->platform, &server->grace, grace_ns);
    net_server_close_handles(server);
}
