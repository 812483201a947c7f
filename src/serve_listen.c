/* SPDX-License-Identifier: Apache-2.0 */
/* The ports, by the tables of the configuration; who answers on which stands in one place here. */
#include "serve_listen.h"

#include <inttypes.h>
#include <stdio.h>

#define LISTENERS_DATAGRAM_MAX 65535u /* an IPv4 datagram cannot be longer */

/* ---- opening ---- */

/* "127.0.0.1:0" with the port that was given. */
static void endpoint_print(char text[LISTENERS_ENDPOINT_MAX], const char *endpoint, uint16_t port)
{
    const char *colon = strrchr(endpoint, ':');
    if (strncmp(endpoint, "unix:", 5) == 0 || !colon || strcmp(colon, ":0") != 0)
        (void)snprintf(text, LISTENERS_ENDPOINT_MAX, "%s", endpoint);
    else
        (void)snprintf(text, LISTENERS_ENDPOINT_MAX, "%.*s:%u", (int)(colon - endpoint), endpoint,
                       port);
}

static int listener_fail(struct fm_why *why, int rc, const char *section)
{
    if (rc != FM_EUNAVAILABLE)
        return fm_wrap(why, rc, "[%s]", section);
    struct fm_why cause = *why;
    return fm_fail(why, rc, "%s.endpoint: %.160s; change it, or write enabled = false in [%s]",
                   section, cause.text, section);
}

/* Reporters write and their user interface reads on one port, told apart by method and path. */
static void listener_on_zipkin(void *self, struct net_request *request)
{
    const struct listeners *listeners = self;
    if (listeners->owner.config->zipkin_query_enabled &&
        api_is_zipkin_read(net_request_view(request)))
        api_on_zipkin(listeners->owner.api, request);
    else
        ingest_on_zipkin(listeners->owner.ingest, request);
}

static void listener_set_handler(struct listeners *listeners, enum config_listener_index index,
                                 struct net_server_options *options)
{
    static void (*const handlers[CONFIG_LISTENER_COUNT])(void *, struct net_request *) = {
        [CONFIG_LISTENER_OTLP_GRPC] = ingest_on_request,
        [CONFIG_LISTENER_OTLP_HTTP] = ingest_on_request,
        [CONFIG_LISTENER_JAEGER_HTTP] = ingest_on_jaeger_http,
        [CONFIG_LISTENER_JAEGER_GRPC] = ingest_on_jaeger_grpc,
        [CONFIG_LISTENER_JAEGER_SAMPLING] = ingest_on_jaeger_sampling,
        [CONFIG_LISTENER_ZIPKIN] = listener_on_zipkin,
        [CONFIG_LISTENER_QUERY] = api_on_request,
        [CONFIG_LISTENER_QUERY_JAEGER] = api_on_jaeger,
    };
    const struct listeners_owner *owner = &listeners->owner;
    bool is_query = index == CONFIG_LISTENER_QUERY || index == CONFIG_LISTENER_QUERY_JAEGER;
    options->on_request = handlers[index];
    options->says_status = options->on_request == ingest_on_request;
    options->self = index == CONFIG_LISTENER_ZIPKIN ? (void *)listeners
                    : is_query                      ? (void *)owner->api
                                                    : (void *)owner->ingest;
}

static int listener_open(struct listeners *listeners, enum config_listener_index index,
                         struct fm_why *why)
{
    const struct listeners_owner *owner = &listeners->owner;
    const struct config *config = owner->config;
    const struct config_listener listener = config_listener(config, index);
    struct net_server_options options = {
        .name = listener.name,
        .endpoint = listener.endpoint,
        .tls_cert_file = listener.tls_cert_file,
        .tls_key_file = listener.tls_key_file,
        .tls_client_ca_file = listener.tls_client_ca_file,
        .tls_client_allowed_names = listener.tls_client_allowed_names,
        .tls_13_only = listener.tls_min_version == CONFIG_TLS_1_3,
        .htpasswd_file = listener.htpasswd_file,
        .bearer_tokens_file = listener.bearer_tokens_file,
        .unix_mode = listener.unix_mode,
        .unix_allowed_users = listener.unix_allowed_users,
        .limits = http_limits_default,
        .connection_max = (uint32_t)config->max_connections,
        .connection_per_ip_max = (uint32_t)config->max_connections_per_ip,
        .connection_age_ns = config->max_connection_age,
        .head_timeout_ns = config->header_timeout,
        .body_timeout_ns = config->body_timeout,
        .idle_timeout_ns = config->idle_timeout,
        .budget = owner->budget,
        .party = tenants_party_of_request,
        .party_self = owner->tenants,
    };
    if (!listener.enabled)
        return FM_OK;
    options.limits.body_bytes_max = config->max_body_bytes;
    options.limits.stream_count_max = (uint32_t)config->max_concurrent_streams;
    listener_set_handler(listeners, index, &options);
    int rc = net_server_open(&listeners->servers[index], owner->platform, &options, why);
    if (rc < 0)
        return listener_fail(why, rc, listener.section);
    listeners->open_count++;
    endpoint_print(listeners->server_endpoints[index], listener.endpoint,
                   net_server_port(listeners->servers[index]));
    log_info("listener.open", "name=%s endpoint=%s tls=%s", listener.name,
             listeners->server_endpoints[index], listener.tls_cert_file[0] ? "yes" : "no");
    return FM_OK;
}

/* What the two receivers of datagrams are, in the order of enum listeners_socket. */
struct listeners_datagrams {
    const char *name, *section, *endpoint;
    bool enabled;
    uint64_t buffer_bytes;
    enum ingest_receiver receiver;
    void (*on_datagrams)(void *self, const struct fm_slice *datagrams, size_t count);
};

static struct listeners_datagrams socket_settings(const struct config *config,
                                                  enum listeners_socket which)
{
    if (which == LISTENERS_COMPACT)
        return (struct listeners_datagrams){
            .name = "jaeger_thrift_compact",
            .section = "receiver.jaeger_thrift_compact",
            .endpoint = config->jaeger_compact_endpoint,
            .enabled = config->jaeger_compact_enabled,
            .buffer_bytes = config->jaeger_compact_socket_buffer,
            .receiver = INGEST_JAEGER_COMPACT,
            .on_datagrams = ingest_on_jaeger_compact,
        };
    return (struct listeners_datagrams){
        .name = "jaeger_thrift_binary",
        .section = "receiver.jaeger_thrift_binary",
        .endpoint = config->jaeger_binary_endpoint,
        .enabled = config->jaeger_binary_enabled,
        .buffer_bytes = config->jaeger_binary_socket_buffer,
        .receiver = INGEST_JAEGER_BINARY,
        .on_datagrams = ingest_on_jaeger_binary,
    };
}

static int socket_open(struct listeners *listeners, enum listeners_socket which, struct fm_why *why)
{
    const struct listeners_owner *owner = &listeners->owner;
    const struct listeners_datagrams settings = socket_settings(owner->config, which);
    const struct net_udp_options options = {
        .name = settings.name,
        .endpoint = settings.endpoint,
        .datagram_bytes_max = LISTENERS_DATAGRAM_MAX,
        .buffer_bytes = settings.buffer_bytes,
        .on_datagrams = settings.on_datagrams,
        .self = owner->ingest,
    };
    if (!settings.enabled)
        return FM_OK;
    int rc = net_udp_open(&listeners->sockets[which], owner->platform, &options, why);
    if (rc < 0)
        return listener_fail(why, rc, settings.section);
    listeners->open_count++;
    ingest_attach_udp(owner->ingest, settings.receiver, listeners->sockets[which]);
    endpoint_print(listeners->socket_endpoints[which], settings.endpoint,
                   net_udp_port(listeners->sockets[which]));
    log_info("listener.open", "name=%s endpoint=%s transport=udp", settings.name,
             listeners->socket_endpoints[which]);
    return FM_OK;
}

int listeners_open(struct listeners *listeners, const struct listeners_owner *owner,
                   struct fm_why *why)
{
    int rc = FM_OK;
    listeners->owner = *owner;
    for (unsigned i = 0; i < CONFIG_LISTENER_COUNT && rc == FM_OK; i++)
        rc = listener_open(listeners, i, why);
    for (unsigned i = 0; i < LISTENERS_SOCKET_COUNT && rc == FM_OK; i++)
        rc = socket_open(listeners, i, why);
    return rc;
}

/* ---- closing ---- */

static void listeners_on_closed(void *self)
{
    struct listeners *listeners = self;
    if (--listeners->open_count == 0)
        listeners->closed(listeners->closed_self);
}

void listeners_close(struct listeners *listeners, uint64_t grace_ns, void (*closed)(void *self),
                     void *self)
{
    listeners->closed = closed;
    listeners->closed_self = self;
    listeners->open_count++; /* ours, until all were told */
    for (unsigned i = 0; i < LISTENERS_SOCKET_COUNT; i++) {
        struct net_udp *udp = fm_take(listeners->sockets[i]);
        if (!udp)
            continue;
        net_udp_close(udp, listeners_on_closed, listeners);
        ingest_attach_udp(listeners->owner.ingest,
                          socket_settings(listeners->owner.config, i).receiver, NULL);
    }
    for (unsigned i = 0; i < CONFIG_LISTENER_COUNT; i++) {
        struct net_server *server = fm_take(listeners->servers[i]);
        if (server)
            net_server_close(server, grace_ns, listeners_on_closed, listeners);
    }
    listeners_on_closed(listeners);
}

/* ---- while they are open ---- */

void listeners_reload(struct listeners *listeners)
{
    struct fm_why why;
    for (unsigned i = 0; i < CONFIG_LISTENER_COUNT; i++) {
        if (listeners->servers[i] && net_server_reload(listeners->servers[i], &why) < 0)
            log_error("listener.reload", "name=%s why=\"%s\"",
                      config_listener(listeners->owner.config, i).name, why.text);
    }
}

static void put_each(const struct listeners *listeners, struct fm_buf *out, const char *name,
                     uint64_t (*value)(const struct net_server_metrics *metrics))
{
    for (unsigned i = 0; i < CONFIG_LISTENER_COUNT; i++) {
        char labels[64];
        if (!listeners->servers[i])
            continue;
        (void)snprintf(labels, sizeof labels, "listener=\"%s\"",
                       config_listener(listeners->owner.config, i).name);
        metric_line(out, name, labels, value(net_server_metrics(listeners->servers[i])));
    }
}

static uint64_t server_connections(const struct net_server_metrics *metrics)
{
    return metric_get(&metrics->connections_open);
}

static uint64_t server_refusals(const struct net_server_metrics *metrics)
{
    return metric_get(&metrics->requests_refused_total);
}

static uint64_t server_aged(const struct net_server_metrics *metrics)
{
    return metric_get(&metrics->connections_aged_total);
}

static void put_refusals(const struct listeners *listeners, struct fm_buf *out, const char *name)
{
    for (unsigned i = 0; i < CONFIG_LISTENER_COUNT; i++) {
        for (unsigned reason = 0; listeners->servers[i] && reason < NET_REFUSED_COUNT; reason++) {
            char labels[96];
            (void)snprintf(labels, sizeof labels, "listener=\"%s\",reason=\"%s\"",
                           config_listener(listeners->owner.config, i).name,
                           net_refusal_text((enum net_refusal_reason)reason));
            metric_line(
                out, name, labels,
                metric_get(&net_server_metrics(listeners->servers[i])->refused_total[reason]));
        }
    }
}

void listeners_put_metrics(const struct listeners *listeners, struct fm_buf *out)
{
    const char *name = "fermata_listener_connections";
    metric_family(out, name, "gauge", "Open connections.");
    put_each(listeners, out, name, server_connections);
    name = "fermata_listener_requests_refused_total";
    metric_family(out, name, "counter",
                  "Requests refused before a handler saw them: limits, budget, broken protocol.");
    put_each(listeners, out, name, server_refusals);
    name = "fermata_listener_refused_total";
    metric_family(out, name, "counter",
                  "Connections and requests turned away before a handler saw them, by reason.");
    put_refusals(listeners, out, name);
    name = "fermata_listener_connections_aged_total";
    metric_family(out, name, "counter", "Connections told to end because of max_connection_age.");
    put_each(listeners, out, name, server_aged);
}

static bool receiver_of_listener(enum config_listener_index index,
                                 enum ingest_receiver *ret_receiver)
{
    static const struct {
        enum config_listener_index index;
        enum ingest_receiver receiver;
    } rows[] = {
        {CONFIG_LISTENER_OTLP_GRPC, INGEST_OTLP_GRPC},
        {CONFIG_LISTENER_OTLP_HTTP, INGEST_OTLP_HTTP},
        {CONFIG_LISTENER_JAEGER_HTTP, INGEST_JAEGER_HTTP},
        {CONFIG_LISTENER_JAEGER_GRPC, INGEST_JAEGER_GRPC},
        {CONFIG_LISTENER_ZIPKIN, INGEST_ZIPKIN},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        if (rows[i].index != index)
            continue;
        *ret_receiver = rows[i].receiver;
        return true;
    }
    return false;
}

static void row_count_spans(const struct listeners *listeners, enum ingest_receiver receiver,
                            struct api_listener *row)
{
    row->has_spans = true;
    row->accepted_spans = ingest_accepted_spans(listeners->owner.ingest, receiver);
    row->refused_spans = ingest_refused_spans(listeners->owner.ingest, receiver);
}

bool listeners_at(const struct listeners *listeners, size_t index, struct api_listener *ret_row)
{
    enum ingest_receiver receiver;
    struct api_listener row = {0};
    if (index < CONFIG_LISTENER_COUNT) {
        if (!listeners->servers[index])
            return false;
        row.name = config_listener(listeners->owner.config, (unsigned)index).name;
        row.endpoint = listeners->server_endpoints[index];
        if (receiver_of_listener((unsigned)index, &receiver))
            row_count_spans(listeners, receiver, &row);
    } else {
        size_t which = index - CONFIG_LISTENER_COUNT;
        if (which >= LISTENERS_SOCKET_COUNT || !listeners->sockets[which])
            return false;
        const struct listeners_datagrams settings =
            socket_settings(listeners->owner.config, (unsigned)which);
        row.name = settings.name;
        row.endpoint = listeners->socket_endpoints[which];
        row_count_spans(listeners, settings.receiver, &row);
    }
    *ret_row = row;
    return true;
}
