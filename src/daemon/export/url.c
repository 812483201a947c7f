/* SPDX-License-Identifier: Apache-2.0 */
/* url - where an upstream is: "http://HOST[:PORT][/PATH]", "https://...", "HOST[:PORT]", or
 * "unix:PATH".  OTLP over HTTP goes to PATH/v1/traces, as all OTLP senders have it. */
#include "internal.h"

#include <stdio.h>

#define URL_GRPC_PATH "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
#define URL_HTTP_PATH "/v1/traces"

enum { URL_PORT_GRPC = 4317, URL_PORT_HTTP = 4318, URL_PORT_HTTPS = 443 };

static bool url_skip(const char **text, const char *prefix)
{
    size_t len = strlen(prefix);
    if (strncmp(*text, prefix, len) != 0)
        return false;
    *text += len;
    return true;
}

static int url_set_path(struct upstream_url *url, const char *path, enum export_protocol protocol,
                        struct fm_why *why)
{
    size_t len = strlen(path), suffix_len = strlen(URL_HTTP_PATH);
    while (len && path[len - 1] == '/')
        len--;
    for (size_t i = 0; i < len; i++) {
        if (path[i] <= ' ' || path[i] >= 0x7f || path[i] == '#')
            return fm_fail(why, FM_ECONFIG, "a character in \"%.200s\" cannot be in a URL", path);
    }
    if (protocol == EXPORT_GRPC) {
        if (len)
            return fm_fail(why, FM_ECONFIG, "a gRPC endpoint has no path, not \"%.200s\"", path);
        (void)snprintf(url->path, sizeof url->path, URL_GRPC_PATH);
        return FM_OK;
    }
    bool is_whole =
        len >= suffix_len && memcmp(path + len - suffix_len, URL_HTTP_PATH, suffix_len) == 0;
    int written = snprintf(url->path, sizeof url->path, "%.*s%s", (int)FM_MIN(len, 2000u), path,
                           is_whole ? "" : URL_HTTP_PATH);
    return (size_t)written < sizeof url->path
               ? FM_OK
               : fm_fail(why, FM_ECONFIG, "the path of a URL is longer than 1000 bytes");
}

int upstream_url_parse(const char *text, enum export_protocol protocol,
                       struct upstream_url *ret_url, struct fm_why *why)
{
    struct upstream_url url = {.is_tls = false};
    char address[300];
    if (strncmp(text, "unix:", 5) == 0) {
        (void)snprintf(url.authority, sizeof url.authority, "localhost");
        int rc = net_endpoint_parse(text, &url.endpoint, why);
        if (rc == FM_OK)
            rc = url_set_path(&url, "", protocol, why);
        if (rc == FM_OK)
            *ret_url = url;
        return rc;
    }
    const char *rest = text;
    url.is_tls = url_skip(&rest, "https://");
    if (!url.is_tls && !url_skip(&rest, "http://") && strstr(rest, "://"))
        return fm_fail(why, FM_ECONFIG, "\"%.200s\" is neither http:// nor https://", text);
    size_t len = strcspn(rest, "/?");
    if (rest[len] == '?' || strchr(rest + len, '?'))
        return fm_fail(why, FM_ECONFIG, "\"%.200s\" has a query", text);
    if (!len || len > 260 || memchr(rest, '@', len))
        return fm_fail(why, FM_ECONFIG, "\"%.200s\" names no host; secrets go to headers_file",
                       text);
    const char *bracket = memchr(rest, ']', len);
    const char *behind = bracket ? bracket : rest;
    bool has_port = memchr(behind, ':', len - (size_t)(behind - rest)) != NULL;
    unsigned port = url.is_tls                ? URL_PORT_HTTPS
                    : protocol == EXPORT_GRPC ? URL_PORT_GRPC
                                              : URL_PORT_HTTP;
    (void)snprintf(address, sizeof address, has_port ? "%.*s" : "%.*s:%u", (int)len, rest, port);
    int rc = net_endpoint_parse(address, &url.endpoint, why);
    if (rc == FM_OK && (!url.endpoint.host[0] || !url.endpoint.port))
        rc = fm_fail(why, FM_ECONFIG, "\"%.200s\" names no host or no port", text);
    if (rc == FM_OK)
        rc = url_set_path(&url, rest + len, protocol, why);
    if (rc < 0)
        return rc;
    memcpy(url.authority, address, sizeof address);
    *ret_url = url;
    return FM_OK;
}
