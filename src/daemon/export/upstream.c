/* SPDX-License-Identifier: Apache-2.0 */
/* upstream - one OTLP endpoint: its settings, and as many lines to it as requests go there at a
 * time.
 *
 * Settings are a site: immutable, counted, shared by the lines.  New settings are a new site; a
 * line takes it with its next request, so that what is under way ends as it began. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

struct otlp_upstream {
    struct upstream base;
    struct upstream_site *site;              /* a reference */
    struct line *lines[EXPORT_REQUESTS_MAX]; /* owned */
    size_t line_count;
};

static struct otlp_upstream *otlp_of(struct upstream *upstream)
{
    return FM_CONTAINER(upstream, struct otlp_upstream, base);
}

/* ---- sites ---- */

struct upstream_site *upstream_site_ref(struct upstream_site *site)
{
    site->refs++;
    return site;
}

void upstream_site_unref(struct upstream_site *site)
{
    if (!site || --site->refs)
        return;
    net_stream_tls_free(site->tls);
    free(site->headers_file);
    free(site->proxy_auth_file);
    free(site);
}

static int site_set_file(char **target, const char *path, struct fm_why *why)
{
    if (!path || !path[0])
        return FM_OK;
    *target = strdup(path);
    return *target ? FM_OK : fm_fail(why, FM_ENOMEM, "no memory for an upstream");
}

/* A socket of this machine is not reached through a proxy. */
static int site_set_proxy(struct upstream_site *site, const struct upstream_options *options,
                          struct fm_why *why)
{
    if (!options->proxy || !options->proxy[0] || site->url.endpoint.is_unix)
        return FM_OK;
    int rc = net_proxy_set(&site->proxy, options->proxy, why);
    if (rc == FM_OK)
        rc = site_set_file(&site->proxy_auth_file, options->proxy_auth_file, why);
    site->has_proxy = rc == FM_OK;
    (void)snprintf(site->absolute, sizeof site->absolute, "http://%s%s", site->url.authority,
                   site->url.path);
    return rc;
}

static int site_set_tls(struct upstream_site *site, const struct upstream_options *options,
                        struct fm_why *why)
{
    const char *name = options->tls_server_name;
    const struct net_stream_tls_options tls = {
        .ca_file = options->tls_ca_file,
        .cert_file = options->tls_cert_file,
        .key_file = options->tls_key_file,
        .server_name = name && name[0] ? name : site->url.endpoint.host,
        .h2 = site->protocol == EXPORT_GRPC,
    };
    return site->url.is_tls ? net_stream_tls_new(&site->tls, &tls, why) : FM_OK;
}

static int site_new(struct upstream_site **ret_site, const struct upstream_options *options,
                    struct fm_why *why)
{
    struct upstream_site *site = calloc(1, sizeof *site);
    if (!site)
        return fm_fail(why, FM_ENOMEM, "no memory for an upstream");
    site->refs = 1;
    site->protocol = options->protocol;
    site->timeout_ns = options->timeout_ns;
    int rc = upstream_url_parse(options->endpoint, options->protocol, &site->url, why);
    if (rc == FM_OK)
        rc = site_set_proxy(site, options, why);
    if (rc == FM_OK)
        rc = site_set_tls(site, options, why);
    if (rc == FM_OK)
        rc = site_set_file(&site->headers_file, options->headers_file, why);
    if (rc < 0) {
        upstream_site_unref(site);
        return fm_wrap(why, rc, "endpoint %.200s", options->endpoint);
    }
    *ret_site = site;
    return FM_OK;
}

/* ---- what the exporter sees ---- */

static void upstream_otlp_send(struct upstream *upstream, struct export_request *request)
{
    struct otlp_upstream *up = otlp_of(upstream);
    size_t index = 0;
    while (index < up->line_count && !line_is_free(up->lines[index]))
        index++;
    FM_ASSERT(index < up->line_count);
    line_send(up->lines[index], up->site, request);
}

static void upstream_otlp_cancel(struct upstream *upstream, struct export_request *request)
{
    struct otlp_upstream *up = otlp_of(upstream);
    for (size_t i = 0; i < up->line_count; i++) {
        if (line_request(up->lines[i]) == request)
            line_cancel(up->lines[i]);
    }
}

static int upstream_otlp_change(struct upstream *upstream, const struct upstream_options *options,
                                struct fm_why *why)
{
    struct otlp_upstream *up = otlp_of(upstream);
    struct upstream_site *site;
    int rc = site_new(&site, options, why);
    if (rc < 0)
        return rc;
    upstream_site_unref(up->site);
    up->site = site;
    return FM_OK;
}

static struct upstream *upstream_otlp_free(struct upstream *upstream)
{
    struct otlp_upstream *up = otlp_of(upstream);
    for (size_t i = 0; i < up->line_count; i++)
        line_free(up->lines[i]);
    upstream_site_unref(up->site);
    free(up);
    return NULL;
}

static const struct upstream_ops upstream_otlp_ops = {
    .send = upstream_otlp_send,
    .cancel = upstream_otlp_cancel,
    .change = upstream_otlp_change,
    .free = upstream_otlp_free,
};

int upstream_otlp_new(struct upstream **ret_upstream, struct platform *platform,
                      const struct upstream_options *options, struct fm_why *why)
{
    struct otlp_upstream *up = calloc(1, sizeof *up);
    if (!up)
        return fm_fail(why, FM_ENOMEM, "no memory for an upstream");
    up->base.ops = &upstream_otlp_ops;
    int rc = site_new(&up->site, options, why);
    while (rc == FM_OK && up->line_count < options->requests_max) {
        rc = line_new(&up->lines[up->line_count], platform);
        if (rc == FM_OK)
            up->line_count++;
        else
            (void)fm_fail(why, rc, "no memory for an upstream");
    }
    if (rc < 0) {
        upstream_otlp_free(&up->base);
        return rc;
    }
    *ret_upstream = &up->base;
    return FM_OK;
}
