/* SPDX-License-Identifier: Apache-2.0 */
/* The way through an HTTP proxy (RFC 9110, 9.3.6): CONNECT host:port, and behind a 2xx head every
 * byte is the server's.  TLS, if there is any, is with the server; the proxy sees names and sizes.
 */
#include <stdio.h>

#include "client.h"

int tunnel_set(struct net_client_tunnel *tunnel, const char *proxy, struct fm_why *why)
{
    static const char scheme[] = "http://";
    if (strncmp(proxy, scheme, sizeof scheme - 1) == 0)
        proxy += sizeof scheme - 1;
    int rc = net_endpoint_parse(proxy, &tunnel->proxy, why);
    if (rc == FM_OK && (tunnel->proxy.is_unix || !tunnel->proxy.host[0] || !tunnel->proxy.port))
        rc = fm_fail(why, FM_ECONFIG, "the proxy \"%s\" is not host:port", proxy);
    tunnel->is_set = rc == FM_OK;
    return rc;
}

int tunnel_begin(struct net_client *client)
{
    struct net_client_tunnel *tunnel = &client->tunnel;
    const char *left = strchr(client->host, ':') ? "[" : "", *right = left[0] ? "]" : "";
    int len = snprintf(tunnel->question, sizeof tunnel->question,
                       "CONNECT %s%s%s:%u HTTP/1.1\r\nHost: %s%s%s:%u\r\n\r\n", left, client->host,
                       right, client->port, left, client->host, right, client->port);
    tunnel->answer_len = 0;
    return link_send_plain(client->link, fm_slice(tunnel->question, (size_t)len));
}

/* FM_MORE: the head is not complete.  Anything behind it came before it was asked for. */
int tunnel_on_bytes(struct net_client *client, struct fm_slice input, struct fm_why *why)
{
    struct net_client_tunnel *tunnel = &client->tunnel;
    size_t room = sizeof tunnel->answer - 1 - tunnel->answer_len;
    if (input.len > room)
        return fm_fail(why, FM_EMALFORMED, "the proxy's answer is too long");
    memcpy(tunnel->answer + tunnel->answer_len, input.ptr, input.len);
    tunnel->answer_len += input.len;
    tunnel->answer[tunnel->answer_len] = '\0';
    const char *end = strstr(tunnel->answer, "\r\n\r\n");
    if (!end)
        return FM_MORE;
    bool is_http = strncmp(tunnel->answer, "HTTP/1.", 7) == 0 && tunnel->answer[8] == ' ';
    bool is_open = is_http && tunnel->answer[9] == '2';
    if (is_open && end + 4 == tunnel->answer + tunnel->answer_len)
        return FM_OK;
    char line[64];
    size_t len = FM_MIN(strcspn(tunnel->answer, "\r\n"), sizeof line - 1);
    for (size_t i = 0; i < len; i++)
        line[i] =
            (char)(tunnel->answer[i] >= ' ' && tunnel->answer[i] < 127 ? tunnel->answer[i] : '?');
    line[len] = '\0';
    return fm_fail(why, is_http && !is_open ? FM_EUNAVAILABLE : FM_EMALFORMED, "the proxy said: %s",
                   line);
}
