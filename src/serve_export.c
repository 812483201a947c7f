/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's exporters, from its configuration. */
#include "serve_export.h"

#include <stdio.h>

static int export_open_upstreams(struct upstream *upstreams[EXPORT_UPSTREAMS_MAX],
                                 size_t *ret_count, struct platform *platform,
                                 const struct config_exporter_otlp *config, struct fm_why *why)
{
    char endpoint[1024];
    struct upstream_options options = {
        .endpoint = endpoint,
        .protocol = (enum export_protocol)config->protocol,
        .timeout_ns = config->timeout,
        .headers_file = config->headers_file,
        .tls_ca_file = config->tls_ca_file,
        .tls_cert_file = config->tls_cert_file,
        .tls_key_file = config->tls_key_file,
        .tls_server_name = config->tls_server_name,
    };
    size_t count = 0;
    int rc = FM_OK;
    for (const char *at = config->endpoint; *at && rc == FM_OK && count < EXPORT_UPSTREAMS_MAX;) {
        size_t len = strcspn(at, " ");
        (void)snprintf(endpoint, sizeof endpoint, "%.*s", (int)FM_MIN(len, sizeof endpoint), at);
        if (len)
            rc = upstream_otlp_new(&upstreams[count], platform, &options, why);
        count += len && rc == FM_OK;
        at += len + (at[len] == ' ');
    }
    while (rc < 0 && count) {
        count--;
        upstreams[count]->ops->free(upstreams[count]);
    }
    *ret_count = count;
    return rc;
}

static int export_open(struct exports *exports, struct platform *platform,
                       const struct config *config, const struct config_named *named,
                       struct fm_why *why)
{
    static const enum codec codecs[] = {CODEC_ZSTD, CODEC_GZIP, CODEC_NONE};
    const struct config_exporter_otlp *exporter = named->exporter_otlp;
    struct upstream *upstreams[EXPORT_UPSTREAMS_MAX];
    size_t count;
    const struct exporter_options options = {
        .name = named->name,
        .protocol = (enum export_protocol)exporter->protocol,
        .codec = codecs[exporter->compression],
        .balance = (enum export_balance)exporter->balance,
        .tenant = strcmp(exporter->tenant, "forward") == 0 ? NULL
                  : strcmp(exporter->tenant, "none") == 0  ? ""
                                                           : exporter->tenant,
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
    int rc = export_open_upstreams(upstreams, &count, platform, exporter, why);
    if (rc < 0)
        return fm_wrap(why, rc, "[%s]", named->section);
    return exports_add(exports, &options, upstreams, count, why);
}

int serve_exports_open(struct exports **ret_exports, struct platform *platform, struct store *store,
                       const struct config *config, struct fm_why *why)
{
    int rc = exports_new(ret_exports, platform, store);
    if (rc < 0)
        return fm_fail(why, rc, "exporters: %s", fm_rc_text(rc));
    for (const struct config_named *named = config->named; named && rc == FM_OK;
         named = named->next) {
        if (named->kind == CONFIG_KIND_EXPORTER_OTLP && named->exporter_otlp->enabled)
            rc = export_open(*ret_exports, platform, config, named, why);
    }
    return rc;
}
