/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's exporters, from its configuration. */
#include "serve_export.h"

#include <stdio.h>

#include "fermata/linux.h"

/* What a section says, for as long as that lives. */
struct export_settings {
    struct exporter_options options;
    struct upstream_options upstreams[EXPORT_UPSTREAMS_MAX];
    char endpoints[EXPORT_UPSTREAMS_MAX][1024];
    size_t count;
};

static void export_set_upstreams(struct export_settings *settings,
                                 const struct config_exporter_otlp *config)
{
    const struct upstream_options options = {
        .protocol = (enum export_protocol)config->protocol,
        .requests_max = (uint32_t)config->max_in_flight,
        .timeout_ns = config->timeout,
        .proxy = config->proxy,
        .proxy_auth_file = config->proxy_auth_file,
        .headers_file = config->headers_file,
        .tls_ca_file = config->tls_ca_file,
        .tls_cert_file = config->tls_cert_file,
        .tls_key_file = config->tls_key_file,
        .tls_server_name = config->tls_server_name,
    };
    settings->count = 0;
    for (const char *at = config->endpoint; *at && settings->count < EXPORT_UPSTREAMS_MAX;) {
        char *endpoint = settings->endpoints[settings->count];
        size_t len = strcspn(at, " "), size = sizeof settings->endpoints[0];
        (void)snprintf(endpoint, size, "%.*s", (int)FM_MIN(len, size), at);
        if (len) {
            settings->upstreams[settings->count] = options;
            settings->upstreams[settings->count++].endpoint = endpoint;
        }
        at += len + (at[len] == ' ');
    }
}

static void export_set(struct export_settings *settings, const struct config *config,
                       const struct config_named *named)
{
    static const enum codec codecs[] = {CODEC_ZSTD, CODEC_GZIP, CODEC_NONE};
    const struct config_exporter_otlp *exporter = named->exporter_otlp;
    settings->options = (struct exporter_options){
        .name = named->name,
        .protocol = (enum export_protocol)exporter->protocol,
        .codec = codecs[exporter->compression],
        .balance = (enum export_balance)exporter->balance,
        .tenant = strcmp(exporter->tenant, "forward") == 0 ? NULL
                  : strcmp(exporter->tenant, "none") == 0  ? ""
                                                           : exporter->tenant,
        .requests_max = (uint32_t)exporter->max_in_flight,
        .batch_spans_max = exporter->batch_max_spans,
        .batch_bytes_max = exporter->batch_max_bytes,
        .batch_timeout_ns = exporter->batch_timeout,
        .retry_initial_ns = exporter->retry_initial_interval,
        .retry_max_ns = exporter->retry_max_interval,
        .retry_elapsed_ns = exporter->retry_max_elapsed_time,
        .from_oldest = exporter->start == 1,
        .sampled_only = config->sampling_tail_enabled,
        .data_dir = config->data_dir,
    };
    export_set_upstreams(settings, exporter);
}

static int export_open(struct exports *exports, struct platform *platform,
                       const struct config *config, const struct config_named *named,
                       struct fm_why *why)
{
    struct export_settings settings;
    struct upstream *upstreams[EXPORT_UPSTREAMS_MAX];
    size_t count = 0;
    int rc = FM_OK;
    export_set(&settings, config, named);
    for (; rc == FM_OK && count < settings.count; count += rc == FM_OK)
        rc = upstream_otlp_new(&upstreams[count], platform, &settings.upstreams[count], why);
    if (rc == FM_OK)
        return exports_add(exports, &settings.options, upstreams, count, why);
    while (count) {
        count--;
        upstreams[count]->ops->free(upstreams[count]);
    }
    return fm_wrap(why, rc, "[%s]", named->section);
}

int serve_exports_open(struct exports **ret_exports, struct platform *platform, struct store *store,
                       const struct config *config, struct fm_why *why)
{
    int rc = exports_new(ret_exports, platform, store);
    if (rc < 0)
        return fm_fail(why, rc, "exporters: %s", fm_rc_text(rc));
    exports_set_rest(*ret_exports, linux_trim);
    for (const struct config_named *named = config->named; named && rc == FM_OK;
         named = named->next) {
        if (named->kind == CONFIG_KIND_EXPORTER_OTLP && named->exporter_otlp->enabled)
            rc = export_open(*ret_exports, platform, config, named, why);
    }
    return rc;
}

/* ---- other settings ---- */

void serve_exports_reload(struct exports *exports, const struct config *config)
{
    struct export_settings settings;
    struct fm_why why;
    for (const struct config_named *named = config->named; named; named = named->next) {
        if (named->kind != CONFIG_KIND_EXPORTER_OTLP)
            continue;
        export_set(&settings, config, named);
        if (exports_change(exports, &settings.options, settings.upstreams, settings.count, &why) <
            0)
            log_error("export.reload", "result=refused exporter=%s why=\"%s\"", named->name,
                      why.text);
    }
}

static size_t export_endpoint_count(const struct config *config, const char *section)
{
    struct export_settings settings = {.count = 0};
    for (const struct config_named *named = config->named; named; named = named->next) {
        if (strcmp(named->section, section) == 0)
            export_set_upstreams(&settings, named->exporter_otlp);
    }
    return settings.count;
}

bool serve_exports_may_change(const struct config *old, const struct config *config,
                              const char *section, const char *key)
{
    static const char *const fixed[] = {"enabled", "protocol", "tenant", "max_in_flight", "start"};
    for (size_t i = 0; i < FM_COUNT(fixed); i++) {
        if (strcmp(key, fixed[i]) == 0)
            return false;
    }
    return strcmp(key, "endpoint") != 0 ||
           export_endpoint_count(old, section) == export_endpoint_count(config, section);
}
