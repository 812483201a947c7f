/* SPDX-License-Identifier: Apache-2.0 */
/* Where a bucket is: the URL of the configuration, AWS's hosts, virtual-host and path style. */
#include "internal.h"

#include <stdio.h>

#include "fermata/s3_keys.h"
#include "fermata/units.h"

#define AWS_SUFFIX ".amazonaws.com"

static bool endpoint_is_name(const char *text, const char *extra)
{
    for (; *text; text++) {
        bool plain = (*text >= 'a' && *text <= 'z') || (*text >= '0' && *text <= '9');
        if (!plain && !strchr(extra, *text))
            return false;
    }
    return true;
}

static bool endpoint_is_address(const char *host)
{
    return host[0] == '[' || strchr(host, ':') || strspn(host, "0123456789.") == strlen(host);
}

static void endpoint_set_aws_host(struct s3_endpoint *endpoint)
{
    const char *suffix = strncmp(endpoint->region, "cn-", 3) == 0 ? ".cn" : "";
    (void)snprintf(endpoint->host, sizeof endpoint->host, "s3.%s" AWS_SUFFIX "%s", endpoint->region,
                   suffix);
}

int s3_endpoint_set_region(struct s3_endpoint *endpoint, struct fm_slice region)
{
    char name[sizeof endpoint->region];
    if (region.len == 0 || region.len >= sizeof name)
        return FM_EMALFORMED;
    memcpy(name, region.ptr, region.len);
    name[region.len] = '\0';
    if (strlen(name) != region.len || !endpoint_is_name(name, "-"))
        return FM_EMALFORMED;
    /* Credentials go to no other host than AWS's own of that region. */
    char own[sizeof endpoint->host];
    memcpy(own, endpoint->host, sizeof own);
    endpoint_set_aws_host(endpoint);
    bool follows = strcmp(own, endpoint->host) == 0;
    memcpy(endpoint->region, name, sizeof name);
    if (follows)
        endpoint_set_aws_host(endpoint);
    else
        memcpy(endpoint->host, own, sizeof own);
    return FM_OK;
}

void s3_endpoint_host(const struct s3_endpoint *endpoint, char ret_host[S3_HOST_MAX])
{
    if (endpoint->path_style)
        (void)snprintf(ret_host, S3_HOST_MAX, "%s", endpoint->host);
    else
        (void)snprintf(ret_host, S3_HOST_MAX, "%s.%s", endpoint->bucket, endpoint->host);
}

static int endpoint_check_names(struct s3_endpoint *endpoint, struct fm_why *why)
{
    size_t len = strlen(endpoint->bucket);
    if (len < 3 || !endpoint_is_name(endpoint->bucket, "-.") || strstr(endpoint->bucket, ".."))
        return fm_fail(why, FM_ECONFIG, "'%s' is not the name of a bucket", endpoint->bucket);
    if (!endpoint->region[0] || !endpoint_is_name(endpoint->region, "-"))
        return fm_fail(why, FM_ECONFIG, "'%s' is not the name of a region", endpoint->region);
    char *prefix = endpoint->prefix;
    size_t lead = strspn(prefix, "/");
    memmove(prefix, prefix + lead, strlen(prefix + lead) + 1);
    for (len = strlen(prefix); len && prefix[len - 1] == '/'; len--)
        prefix[len - 1] = '\0';
    return FM_OK;
}

static int endpoint_parse_port(struct s3_endpoint *endpoint, struct fm_slice text,
                               struct fm_why *why)
{
    uint64_t port = 0;
    if (fm_u64_parse(text, &port) < 0 || port == 0 || port > UINT16_MAX)
        return fm_fail(why, FM_ECONFIG, "'%.*s' is not a port", (int)FM_MIN(text.len, 32),
                       (const char *)text.ptr);
    endpoint->port = (uint16_t)port;
    return FM_OK;
}

/* "host", "host:port", "[v6]", "[v6]:port"; the brackets do not become part of the host. */
static int endpoint_parse_authority(struct s3_endpoint *endpoint, struct fm_slice text,
                                    struct fm_why *why)
{
    const uint8_t *end = text.ptr + text.len, *host = text.ptr, *host_end, *rest;
    if (*host == '[') {
        host_end = memchr(host, ']', text.len);
        if (!host_end)
            return fm_fail(why, FM_ECONFIG, "the endpoint's address lacks a ']'");
        host++;
        rest = host_end + 1;
    } else {
        const uint8_t *colon = memchr(host, ':', text.len);
        host_end = rest = colon ? colon : end;
    }
    size_t len = (size_t)(host_end - host);
    if (len == 0 || len >= sizeof endpoint->host)
        return fm_fail(why, FM_ECONFIG, "the endpoint's host has %zu characters", len);
    for (size_t i = 0; i < len; i++) {
        if (host[i] <= ' ' || host[i] >= 127 || strchr("/?#@\\%", host[i]))
            return fm_fail(why, FM_ECONFIG, "the endpoint's host holds a character that it cannot");
        endpoint->host[i] = (char)(host[i] >= 'A' && host[i] <= 'Z' ? host[i] + 32 : host[i]);
    }
    endpoint->host[len] = '\0';
    if (rest == end)
        return FM_OK;
    if (*rest != ':')
        return fm_fail(why, FM_ECONFIG, "after the endpoint's address a ':' was expected");
    return endpoint_parse_port(endpoint, fm_slice(rest + 1, (size_t)(end - rest - 1)), why);
}

static bool endpoint_take_prefix(struct fm_slice *text, struct fm_slice prefix)
{
    if (text->len < prefix.len || memcmp(text->ptr, prefix.ptr, prefix.len) != 0)
        return false;
    *text = fm_slice(text->ptr + prefix.len, text->len - prefix.len);
    return true;
}

int s3_endpoint_parse(struct fm_slice url, struct s3_endpoint *endpoint, struct fm_why *why)
{
    int rc = endpoint_check_names(endpoint, why);
    if (rc < 0)
        return rc;
    bool is_plain = endpoint_take_prefix(&url, FM_SLICE("http://"));
    if (!is_plain)
        (void)endpoint_take_prefix(&url, FM_SLICE("https://")); /* also the default */
    (void)snprintf(endpoint->scheme, sizeof endpoint->scheme, "%s", is_plain ? "http" : "https");
    endpoint->port = is_plain ? 80 : 443;
    while (url.len && url.ptr[url.len - 1] == '/')
        url.len--;
    if (url.len == 0) {
        endpoint_set_aws_host(endpoint);
    } else {
        rc = endpoint_parse_authority(endpoint, url, why);
        if (rc < 0)
            return rc;
    }
    bool dots_break_tls = !is_plain && strchr(endpoint->bucket, '.');
    if (endpoint_is_address(endpoint->host) || strcmp(endpoint->host, "localhost") == 0 ||
        dots_break_tls)
        endpoint->path_style = true;
    return FM_OK;
}

int s3_url_parse(struct fm_slice text, struct s3_url *ret_url, struct fm_why *why)
{
    struct s3_endpoint parts = {0};
    struct s3_url url = {0};
    url.is_https = endpoint_take_prefix(&text, FM_SLICE("https://"));
    if (!url.is_https && !endpoint_take_prefix(&text, FM_SLICE("http://")))
        return fm_fail(why, FM_ECONFIG, "the URL begins with neither http:// nor https://");
    parts.port = url.is_https ? 443 : 80;
    const uint8_t *slash = text.len ? memchr(text.ptr, '/', text.len) : NULL;
    struct fm_slice authority = fm_slice(text.ptr, slash ? (size_t)(slash - text.ptr) : text.len);
    struct fm_slice target = fm_slice(text.ptr + authority.len, text.len - authority.len);
    if (authority.len == 0)
        return fm_fail(why, FM_ECONFIG, "the URL has no host");
    int rc = endpoint_parse_authority(&parts, authority, why);
    if (rc < 0)
        return rc;
    if (target.len == 0)
        target = FM_SLICE("/");
    if (target.len >= sizeof url.target)
        return fm_fail(why, FM_ECONFIG, "the URL is too long");
    for (size_t i = 0; i < target.len; i++)
        if (target.ptr[i] <= ' ' || target.ptr[i] >= 127 || target.ptr[i] == '#')
            return fm_fail(why, FM_ECONFIG, "the URL holds a character that it cannot");
    memcpy(url.target, target.ptr, target.len);
    memcpy(url.host, parts.host, sizeof url.host);
    url.port = parts.port;
    *ret_url = url;
    return FM_OK;
}
