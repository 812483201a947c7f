/* SPDX-License-Identifier: Apache-2.0 */
/* The way through an HTTP proxy (RFC 9110, 9.3.6): CONNECT host:port, and behind a 2xx head every
 * byte is the server's.  TLS, if there is any, is with the server; the proxy sees names and sizes.
 */
#include "tunnel.h"

#include <stdio.h>

#include "fermata/bytes.h"

#define PROXY_FILE_MAX FM_KIB(4)

int net_proxy_set(struct net_proxy *proxy, const char *text, struct fm_why *why)
{
    static const char scheme[] = "http://";
    struct net_proxy set = {.credentials = ""};
    if (strncmp(text, scheme, sizeof scheme - 1) == 0)
        text += sizeof scheme - 1;
    int rc = net_endpoint_parse(text, &set.endpoint, why);
    if (rc == FM_OK && (set.endpoint.is_unix || !set.endpoint.host[0] || !set.endpoint.port))
        rc = fm_fail(why, FM_ECONFIG, "the proxy \"%s\" is not host:port", text);
    if (rc == FM_OK)
        *proxy = set;
    return rc;
}

/* One line, whose text no message shows. */
static int proxy_take_line(struct net_proxy *proxy, struct fm_slice text)
{
    while (text.len && strchr(" \t\r\n", text.ptr[text.len - 1]))
        text.len--;
    bool is_good = text.len && memchr(text.ptr, ':', text.len);
    for (size_t i = 0; i < text.len; i++)
        is_good &= text.ptr[i] >= ' ' && text.ptr[i] != 0x7f;
    if (!is_good)
        return FM_ECONFIG;
    struct fm_buf encoded;
    fm_buf_init(&encoded, sizeof proxy->credentials - 1);
    fm_base64_encode(&encoded, text);
    if (!encoded.failed) {
        memcpy(proxy->credentials, encoded.ptr, encoded.len);
        proxy->credentials[encoded.len] = '\0';
    }
    int rc = encoded.failed ? FM_ELIMIT : FM_OK;
    fm_buf_fini(&encoded);
    return rc;
}

int net_proxy_load(struct net_proxy *proxy, struct platform *platform, const char *path,
                   struct fm_why *why)
{
    struct fm_buf text;
    fm_buf_init(&text, PROXY_FILE_MAX);
    int rc = pf_read_file(platform, path, &text, why);
    if (rc == FM_OK) {
        rc = proxy_take_line(proxy, fm_buf_slice(&text));
        if (rc < 0)
            rc = fm_fail(why, rc, "%s: not one line USER:PASSWORD of at most %d bytes", path,
                         NET_PROXY_LINE_MAX);
    }
    fm_buf_fini(&text);
    return rc;
}

struct fm_slice tunnel_begin(struct tunnel *tunnel, const char *host, uint16_t port)
{
    const char *left = strchr(host, ':') ? "[" : "", *right = left[0] ? "]" : "";
    const char *credentials = tunnel->proxy.credentials;
    int len =
        snprintf(tunnel->question, sizeof tunnel->question,
                 "CONNECT %s%s%s:%u HTTP/1.1\r\nHost: %s%s%s:%u\r\n%s%s%s\r\n", left, host, right,
                 port, left, host, right, port, credentials[0] ? "Proxy-Authorization: Basic " : "",
                 credentials, credentials[0] ? "\r\n" : "");
    tunnel->answer_len = 0;
    return fm_slice(tunnel->question, FM_MIN((size_t)len, sizeof tunnel->question - 1));
}

int tunnel_on_bytes(struct tunnel *tunnel, struct fm_slice input, struct fm_why *why)
{
    size_t room = sizeof tunnel->answer - 1 - tunnel->answer_len;
    if (input.len > room)
        return fm_fail(why, FM_EMALFORMED, "the proxy's answer is too long");
    memcpy(tunnel->answer + tunnel->answer_len, input.ptr, input.len);
    tunnel->answer_len += input.len;
    tunnel->answer[tunnel->answer_len] = '\0';
    const char *end = strstr(tunnel->answer, "\r\n\r\n");
    if (!end)
        return FM_MORE;
    const char *status = tunnel->answer + 9;
    bool is_http = strncmp(tunnel->answer, "HTTP/1.", 7) == 0 && tunnel->answer[8] == ' ' &&
                   strspn(status, "0123456789") == 3;
    bool is_open = is_http && status[0] == '2';
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
