/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints as text: "host:port", "[v6]:port", ":port", "unix:PATH". */
#include <stdio.h>

#include "fermata/net.h"

static bool host_is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 ||
           strcmp(host, "localhost") == 0;
}

static int endpoint_parse_port(const char *text, uint16_t *ret_port)
{
    uint32_t port = 0;

    if (!*text || strlen(text) > 5)
        return FM_ECONFIG;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return FM_ECONFIG;
        port = port * 10 + (uint32_t)(*text - '0');
    }
    if (port > UINT16_MAX)
        return FM_ECONFIG;
    *ret_port = (uint16_t)port;
    return FM_OK;
}

static int endpoint_parse_unix(const char *path, struct net_endpoint *ret_endpoint,
                               struct fm_why *why)
{
    struct net_endpoint endpoint = {.is_unix = true, .is_loopback = true};

    if (path[0] != '/')
        return fm_fail(why, FM_ECONFIG, "unix socket \"%s\" needs an absolute path", path);
    if (strlen(path) > 107) /* sun_path of the kernel, with its NUL */
        return fm_fail(why, FM_ECONFIG, "unix socket path is longer than 107 bytes");
    memcpy(endpoint.host, path, strlen(path));
    *ret_endpoint = endpoint;
    return FM_OK;
}

int net_endpoint_parse(const char *text, struct net_endpoint *ret_endpoint, struct fm_why *why)
{
    struct net_endpoint endpoint = {0};
    const char *host = text, *host_end, *colon = strrchr(text, ':');

    if (strncmp(text, "unix:", 5) == 0)
        return endpoint_parse_unix(text + 5, ret_endpoint, why);
    if (!colon)
        return fm_fail(why, FM_ECONFIG, "\"%s\" is not host:port", text);
    host_end = colon;
    if (text[0] == '[') {
        host = text + 1;
        host_end = colon - 1;
        if (host_end <= host || *host_end != ']')
            return fm_fail(why, FM_ECONFIG, "\"%s\" is not [address]:port", text);
    } else if (memchr(host, ':', (size_t)(host_end - host))) {
        return fm_fail(why, FM_ECONFIG, "write the IPv6 address in \"%s\" in brackets", text);
    }
    size_t len = (size_t)(host_end - host);
    if (len >= sizeof endpoint.host)
        return fm_fail(why, FM_ECONFIG, "host name is longer than %zu bytes",
                       sizeof endpoint.host - 1);
    for (size_t i = 0; i < len; i++) {
        if (host[i] <= ' ' || host[i] == 0x7f || host[i] == '/')
            return fm_fail(why, FM_ECONFIG, "\"%s\" is not host:port", text);
    }
    memcpy(endpoint.host, host, len);
    if (endpoint_parse_port(colon + 1, &endpoint.port) < 0)
        return fm_fail(why, FM_ECONFIG, "port in \"%s\" is not a number from 0 to 65535", text);
    endpoint.is_loopback = host_is_loopback(endpoint.host);
    *ret_endpoint = endpoint;
    return FM_OK;
}
