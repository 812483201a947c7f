/* SPDX-License-Identifier: Apache-2.0 */
/* What the settings of an exporter must say.  Whether an endpoint is a URL that can be used is
 * found at start, by who uses it. */
#include "internal.h"

#include "fermata/units.h"

#define EXPORTERS_MAX          32u
#define EXPORTER_ENDPOINTS_MAX 8u

static unsigned exporter_endpoint_count(const char *list)
{
    unsigned count = 0;
    for (const char *at = list; *at; at++)
        count += *at != ' ' && (at == list || at[-1] == ' ');
    return count;
}

/* The port, as text, behind the host of a URL or an endpoint; "" if there is none. */
static struct fm_slice endpoint_port(struct fm_slice endpoint, struct fm_slice *ret_host)
{
    const uint8_t *end = memchr(endpoint.ptr, '/', endpoint.len);
    size_t len = end ? (size_t)(end - endpoint.ptr) : endpoint.len, at = len;
    while (at && endpoint.ptr[at - 1] != ':')
        at--;
    *ret_host = fm_slice(endpoint.ptr, at ? at - 1 : len);
    return at ? fm_slice(endpoint.ptr + at, len - at) : FM_SLICE("");
}

static bool host_is_here(struct fm_slice host)
{
    return fm_slice_equal_text(host, "localhost") || fm_slice_equal_text(host, "[::1]") ||
           fm_slice_equal_text(host, "0.0.0.0") || fm_slice_equal_text(host, "[::]") ||
           (host.len > 4 && memcmp(host.ptr, "127.", 4) == 0);
}

/* Whether what is sent there comes in here again, for ever. */
static bool endpoint_is_own(struct fm_slice endpoint, const char *receiver)
{
    struct fm_slice own = fm_slice_text(receiver), host, own_host;
    if (fm_slice_equal(endpoint, own))
        return true; /* also a unix socket */
    for (size_t i = 0; i + 3 <= endpoint.len; i++) {
        if (memcmp(endpoint.ptr + i, "://", 3) == 0) {
            endpoint = fm_slice(endpoint.ptr + i + 3, endpoint.len - i - 3);
            break;
        }
    }
    struct fm_slice port = endpoint_port(endpoint, &host);
    struct fm_slice own_port = endpoint_port(own, &own_host);
    return port.len && fm_slice_equal(port, own_port) && host_is_here(host) &&
           (host_is_here(own_host) || fm_slice_equal(host, own_host));
}

static void check_exporter_loop(struct config_loader *loader,
                                const struct config_instance *instance)
{
    const struct config *config = loader->config;
    const char *receivers[] = {config->otlp_grpc_enabled ? config->otlp_grpc_endpoint : "",
                               config->otlp_http_enabled ? config->otlp_http_endpoint : ""};
    struct fm_slice rest = fm_slice_text(instance->named.exporter_otlp->endpoint);
    while (rest.len) {
        const uint8_t *end = memchr(rest.ptr, ' ', rest.len);
        struct fm_slice one = fm_slice(rest.ptr, end ? (size_t)(end - rest.ptr) : rest.len);
        for (size_t i = 0; one.len && i < FM_COUNT(receivers); i++) {
            if (*receivers[i] && endpoint_is_own(one, receivers[i]))
                config_complain(loader, config_named_place(instance, "endpoint"),
                                "name another node's receiver",
                                "[%s] sends to this node's own receiver \"%s\"",
                                instance->named.section, receivers[i]);
        }
        rest = fm_slice(rest.ptr + one.len, rest.len - one.len);
        while (rest.len && *rest.ptr == ' ')
            rest = fm_slice(rest.ptr + 1, rest.len - 1);
    }
}

static void check_exporter_endpoint(struct config_loader *loader,
                                    const struct config_instance *instance)
{
    const struct config_exporter_otlp *exporter = instance->named.exporter_otlp;
    unsigned count = exporter_endpoint_count(exporter->endpoint);
    const struct ini_place *place = config_named_place(instance, "endpoint");
    if (!count)
        config_complain(loader, place, "accepted: https://host:port, http://host:port, host:port",
                        "[%s] has no endpoint", instance->named.section);
    if (count > EXPORTER_ENDPOINTS_MAX)
        config_complain(loader, place, "take some of them away", "[%s] has more than %u endpoints",
                        instance->named.section, EXPORTER_ENDPOINTS_MAX);
}

static void check_exporter_range(struct config_loader *loader,
                                 const struct config_instance *instance, const char *key,
                                 bool is_good, const char *cure)
{
    if (!is_good)
        config_complain(loader, config_named_place(instance, key), cure,
                        "\"%s\" in [%s] is out of its range", key, instance->named.section);
}

static void check_exporter(struct config_loader *loader, const struct config_instance *instance)
{
    const struct config_exporter_otlp *exporter = instance->named.exporter_otlp;
    const uint64_t day_ns = 86400 * FM_NS_PER_S;
    check_exporter_endpoint(loader, instance);
    check_exporter_loop(loader, instance);
    check_exporter_range(loader, instance, "batch_max_spans",
                         exporter->batch_max_spans >= 1 && exporter->batch_max_spans <= 1000000,
                         "accepted: 1 to 1000000");
    check_exporter_range(loader, instance, "batch_max_bytes",
                         exporter->batch_max_bytes >= FM_KIB(1) &&
                             exporter->batch_max_bytes <= FM_MIB(64),
                         "accepted: 1KiB to 64MiB");
    check_exporter_range(loader, instance, "max_in_flight",
                         exporter->max_in_flight >= 1 && exporter->max_in_flight <= 8,
                         "accepted: 1 to 8");
    check_exporter_range(loader, instance, "batch_timeout", exporter->batch_timeout <= day_ns,
                         "accepted: 0s to 24h");
    check_exporter_range(loader, instance, "timeout",
                         exporter->timeout >= FM_NS_PER_MS && exporter->timeout <= day_ns,
                         "accepted: 1ms to 24h");
    check_exporter_range(loader, instance, "retry_initial_interval",
                         exporter->retry_initial_interval >= FM_NS_PER_MS &&
                             exporter->retry_initial_interval <= exporter->retry_max_interval,
                         "accepted: 1ms to retry_max_interval");
    check_exporter_range(loader, instance, "retry_max_interval",
                         exporter->retry_max_interval <= day_ns, "accepted: up to 24h");
    if (!*exporter->tls_cert_file != !*exporter->tls_key_file)
        config_complain(loader,
                        config_named_place(instance, *exporter->tls_cert_file ? "tls_cert_file"
                                                                              : "tls_key_file"),
                        "set both or none", "[%s] has only one of tls_cert_file and tls_key_file",
                        instance->named.section);
}

void config_check_exporters(struct config_loader *loader)
{
    unsigned count = 0;
    for (struct config_instance *instance = loader->first; instance; instance = instance->next) {
        if (instance->named.kind != CONFIG_KIND_EXPORTER_OTLP ||
            !instance->named.exporter_otlp->enabled)
            continue;
        check_exporter(loader, instance);
        if (++count == EXPORTERS_MAX + 1)
            config_complain(loader, &instance->place, "take some of them away",
                            "more than %u exporters", EXPORTERS_MAX);
    }
}
