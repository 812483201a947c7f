/* SPDX-License-Identifier: Apache-2.0 */
/* net_datagram - datagrams out, to one peer, for tools.  Part of net.  The other way: net_udp.h. */
#ifndef FERMATA_NET_DATAGRAM_H
#define FERMATA_NET_DATAGRAM_H

#include "fermata/net.h"

struct net_datagram;
/* A socket connected to the endpoint; a name is looked up before this returns.  FM_EUNAVAILABLE:
 * no such host, no route. */
FM_MUST int net_datagram_open(struct net_datagram **ret_datagram, struct platform *platform,
                              const struct net_endpoint *endpoint, struct fm_why *why);
/* Gives one datagram to the kernel.  FM_OK; FM_MORE: no room right now, try again; FM_EUNAVAILABLE:
 * an earlier one was refused, this one was not sent; FM_ELIMIT: longer than the path allows;
 * FM_EIO. */
FM_MUST int net_datagram_send(struct net_datagram *datagram, struct fm_slice bytes);
/* Closes; memory is released later.  NULL is fine; returns NULL. */
struct net_datagram *net_datagram_free(struct net_datagram *datagram);

#endif
