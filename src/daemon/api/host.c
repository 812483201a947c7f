/* SPDX-License-Identifier: Apache-2.0 */
/* Names in Host. */
#include "host.h"

/* "host", "host:port", "[v6]:port" without the port. */
static struct fm_slice host_name(struct fm_slice host)
{
    size_t len = host.len;

    while (len && host.ptr[len - 1] >= '0' && host.ptr[len - 1] <= '9')
        len--;
    return len && host.ptr[len - 1] == ':' ? fm_slice(host.ptr, len - 1) : host;
}

bool host_may_read(const struct net_request_view *view)
{
    struct fm_slice host;
    bool has_dot = false, is_address = true;

    if (!view->is_loopback || view->identity->kind != NET_ANONYMOUS ||
        http_header_find(view->headers, view->header_count, "host", &host) != FM_OK)
        return true;
    host = host_name(host);
    if (host.len && host.ptr[0] == '[')
        return true;
    for (size_t i = 0; i < host.len; i++) {
        has_dot |= host.ptr[i] == '.';
        is_address &= host.ptr[i] == '.' || (host.ptr[i] >= '0' && host.ptr[i] <= '9');
    }
    return is_address || !has_dot;
}
