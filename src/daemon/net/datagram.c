/* SPDX-License-Identifier: Apache-2.0 */
/* A connected UDP socket on libuv.  Connected, so that the kernel tells when nobody listens there:
 * the refusal of one datagram is the failure of the next. */
#include "fermata/net_datagram.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "fermata/uv.h"

struct net_datagram {
    uv_udp_t udp;
};

static int datagram_connect(struct net_datagram *datagram, const char *host, uint16_t port)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_family = AF_UNSPEC};
    uv_getaddrinfo_t lookup;
    char service[8];

    (void)snprintf(service, sizeof service, "%u", port);
    int status = uv_getaddrinfo(datagram->udp.loop, &lookup, NULL, host, service, &hints);
    if (status < 0)
        return status;
    status = uv_udp_connect(&datagram->udp, lookup.addrinfo->ai_addr);
    uv_freeaddrinfo(lookup.addrinfo);
    return status;
}

int net_datagram_open(struct net_datagram **ret_datagram, struct platform *platform,
                      const struct net_endpoint *endpoint, struct fm_why *why)
{
    const char *host = endpoint->host[0] ? endpoint->host : "127.0.0.1";
    struct net_datagram *datagram = calloc(1, sizeof *datagram);

    if (!datagram)
        return fm_fail(why, FM_ENOMEM, "out of memory");
    if (uv_udp_init(uv_platform_loop(platform), &datagram->udp) < 0) {
        free(datagram);
        return fm_fail(why, FM_ENOMEM, "out of memory");
    }
    datagram->udp.data = datagram;
    int status = datagram_connect(datagram, host, endpoint->port);
    if (status < 0) {
        net_datagram_free(datagram);
        return fm_fail(why, FM_EUNAVAILABLE, "%s: %s", host, uv_strerror(status));
    }
    *ret_datagram = datagram;
    return FM_OK;
}

int net_datagram_send(struct net_datagram *datagram, struct fm_slice bytes)
{
    const uv_buf_t buf = uv_buf_init((char *)(uintptr_t)bytes.ptr, (unsigned)bytes.len);
    int sent = uv_udp_try_send(&datagram->udp, &buf, 1, NULL);

    switch (sent) {
    case UV_EAGAIN:
    case UV_ENOBUFS:
        return FM_MORE;
    case UV_ECONNREFUSED:
    case UV_EHOSTUNREACH:
    case UV_ENETUNREACH:
        return FM_EUNAVAILABLE;
    case UV_EMSGSIZE:
        return FM_ELIMIT;
    default:
        return sent < 0 ? FM_EIO : FM_OK;
    }
}

static void datagram_on_close(uv_handle_t *handle)
{
    free(handle->data);
}

struct net_datagram *net_datagram_free(struct net_datagram *datagram)
{
    if (datagram)
        uv_close((uv_handle_t *)&datagram->udp, datagram_on_close);
    return NULL;
}
