/* SPDX-License-Identifier: Apache-2.0 */
/* Where a bucket is: URLs, names, prefixes. */
#include "internal.h"

#include <stdio.h>

#include "fermata/units.h"

static bool url_take(struct fm_slice *text, struct fm_slice prefix)
{
    if (text->len < prefix.len || memcmp(text->ptr, prefix.ptr, prefix.len) != 0)
        return false;
    *text = fm_slice(text->ptr + prefix.len, text->len - prefix.len);
    return true;
}

/* Printable, and none of what ends the part of a URL. */
static bool url_copy(char *target, size_t size, struct fm_slice text, const char *forbidden)
{
    if (text.len >= size)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = (char)text.ptr[i];
        if (c <= ' ' || c >= 127 || strchr(forbidden, c))
            return false;
        target[i] = c;
    }
    target[text.len] = '\0';
    return true;
}

static bool url_parse_port(struct cloud_url *url, struct fm_slice rest)
{
    uint64_t port;
    if (rest.len == 0)
        return true;
    if (rest.ptr[0] != ':' || fm_u64_parse(fm_slice(rest.ptr + 1, rest.len - 1), &port) < 0)
        return false;
    url->port = (uint16_t)port;
    return port >= 1 && port <= UINT16_MAX;
}

/* "host", "host:port", "[v6]", "[v6]:port"; the brackets do not become part of the host. */
static bool url_parse_authority(struct cloud_url *url, struct fm_slice text)
{
    const uint8_t *end = text.ptr + text.len, *host = text.ptr, *host_end, *rest;
    if (text.len == 0)
        return false;
    if (*host == '[') {
        host_end = memchr(host, ']', text.len);
        if (!host_end)
            return false;
        host++;
        rest = host_end + 1;
    } else {
        const uint8_t *colon = memchr(host, ':', text.len);
        host_end = rest = colon ? colon : end;
    }
    return host_end > host &&
           url_copy(url->host, sizeof url->host, fm_slice(host, (size_t)(host_end - host)),
                    "/?#@\\%[]") &&
           url_parse_port(url, fm_slice(rest, (size_t)(end - rest)));
}

int cloud_url_parse(struct fm_slice text, struct cloud_url *ret_url, struct fm_why *why)
{
    struct cloud_url url = {.scheme = "https", .port = 443};
    struct fm_slice rest = text;
    if (url_take(&rest, FM_SLICE("http://"))) {
        memcpy(url.scheme, "http", sizeof "http");
        url.port = 80;
    } else if (!url_take(&rest, FM_SLICE("https://"))) {
        return fm_fail(why, FM_ECONFIG, "a URL begins with https:// or http://");
    }
    const uint8_t *slash = rest.len ? memchr(rest.ptr, '/', rest.len) : NULL;
    size_t authority_len = slash ? (size_t)(slash - rest.ptr) : rest.len;
    struct fm_slice path = fm_slice(rest.ptr + authority_len, rest.len - authority_len);
    while (path.len && path.ptr[path.len - 1] == '/')
        path.len--;
    if (!url_parse_authority(&url, fm_slice(rest.ptr, authority_len)) ||
        !url_copy(url.path, sizeof url.path, path, "?#\\"))
        return fm_fail(why, FM_ECONFIG, "'%.*s' is not a URL", (int)FM_MIN(text.len, 120),
                       (const char *)text.ptr);
    *ret_url = url;
    return FM_OK;
}

struct fm_slice cloud_url_host(const struct cloud_url *url, struct fm_arena *arena)
{
    char text[sizeof url->host + 16];
    bool is_v6 = strchr(url->host, ':') != NULL;
    bool is_default = url->port == (strcmp(url->scheme, "http") == 0 ? 80 : 443);
    int len = snprintf(text, sizeof text, "%s%s%s", is_v6 ? "[" : "", url->host, is_v6 ? "]" : "");
    if (!is_default)
        len += snprintf(text + len, sizeof text - (size_t)len, ":%u", url->port);
    return fm_slice_dup(arena, fm_slice(text, (size_t)len));
}

static bool place_is_name(const char *text, size_t least, const char *extra)
{
    for (const char *at = text; *at; at++) {
        bool plain = (*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9');
        if (!plain && !strchr(extra, *at))
            return false;
    }
    return strlen(text) >= least;
}

static void place_trim(char *prefix)
{
    size_t lead = strspn(prefix, "/");
    memmove(prefix, prefix + lead, strlen(prefix + lead) + 1);
    for (size_t len = strlen(prefix); len && prefix[len - 1] == '/'; len--)
        prefix[len - 1] = '\0';
}

int cloud_place_set(struct cloud_place *place, const char *endpoint, struct fm_why *why)
{
    char own[128];
    bool is_azure = place->kind == CLOUD_AZURE;
    if (is_azure && !place_is_name(place->account, 3, ""))
        return fm_fail(why, FM_ECONFIG, "'%s' is not the name of an account", place->account);
    if (!place_is_name(place->bucket, 3, is_azure ? "-$" : "-_.") || strstr(place->bucket, ".."))
        return fm_fail(why, FM_ECONFIG, "'%s' is not the name of a %s", place->bucket,
                       is_azure ? "container" : "bucket");
    place_trim(place->prefix);
    place_trim(place->control_prefix);
    size_t own_len = strlen(place->prefix);
    /* A reader takes every first name below the prefix for a tenant. */
    if (own_len && strncmp(place->control_prefix, place->prefix, own_len) == 0 &&
        (place->control_prefix[own_len] == '/' || place->control_prefix[own_len] == '\0'))
        return fm_fail(why, FM_ECONFIG, "the control prefix must not be below the prefix");
    if (is_azure)
        (void)snprintf(own, sizeof own, "https://%s.blob.core.windows.net", place->account);
    else
        (void)snprintf(own, sizeof own, "https://storage.googleapis.com");
    return cloud_url_parse(fm_slice_text(endpoint && endpoint[0] ? endpoint : own), &place->url,
                           why);
}

void cloud_object_name(const struct cloud_place *place, const struct cloud_call *call,
                       struct fm_buf *name)
{
    const char *prefix = call->is_control ? place->control_prefix : place->prefix;
    fm_buf_puts(name, prefix);
    if (prefix[0])
        fm_buf_put_u8(name, '/');
    fm_buf_put_slice(name, call->key);
}
