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
    check_exporter_range(loader, instance, "batch_max_spans",
                         exporter->batch_max_spans >= 1 && exporter->batch_max_spans <= 1000000,
                         "accepted: 1 to 1000000");
    check_exporter_range(loader, instance, "batch_max_bytes",
                         exporter->batch_max_bytes >= FM_KIB(1) &&
                             exporter->batch_max_bytes <= FM_MIB(64),
                         "accepted: 1KiB to 64MiB");
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
