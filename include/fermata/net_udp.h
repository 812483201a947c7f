/* SPDX-License-Identifier: Apache-2.0 */
/* net_udp - datagrams in, in bunches: recvmmsg on a polled socket.  Part of net.
 *
 * One socket, one large kernel buffer; what the kernel drops is read from SO_RXQ_OVFL and counted,
 * so that a loss is never silent.
 */
#ifndef FERMATA_NET_UDP_H
#define FERMATA_NET_UDP_H

#include "fermata/net.h"

struct net_udp_metrics {
    metric datagrams_total, bytes_total;
    metric kernel_drops_total; /* the socket's buffer was full */
    metric truncated_total;    /* longer than datagram_bytes_max */
    uint64_t buffer_bytes;     /* that the kernel granted */
};
struct net_udp_options {
    const char *name;     /* for logs */
    const char *endpoint; /* "127.0.0.1:6831" */
    uint32_t datagram_bytes_max;
    uint64_t buffer_bytes; /* asked of the kernel (SO_RCVBUF) */
    /* Datagrams that arrived together, valid during the call. */
    void (*on_datagrams)(void *self, const struct fm_slice *datagrams, size_t count);
    void *self;
};
struct net_udp;
/* Binds.  FM_EUNAVAILABLE: the address is in use; why names it. */
FM_MUST int net_udp_open(struct net_udp **ret_udp, struct platform *platform,
                         const struct net_udp_options *options, struct fm_why *why);
uint16_t net_udp_port(const struct net_udp *udp);
const struct net_udp_metrics *net_udp_metrics(const struct net_udp *udp);
/* Stops reading while the data path has no room: the kernel's buffer absorbs, then drops, counted.
 */
void net_udp_pause(struct net_udp *udp, bool pause);
/* closed is called last. */
void net_udp_close(struct net_udp *udp, void (*closed)(void *self), void *self);

#endif
