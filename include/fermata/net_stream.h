/* SPDX-License-Identifier: Apache-2.0 */
/* net_stream - a plain byte stream (TCP or unix socket) to a server, for tools.  Part of net.
 *
 * The load generator speaks HTTP/1 and HTTP/2 over it with src/lib/http's protocol engines; the
 * daemon's own client is net_client.
 */
#ifndef FERMATA_NET_STREAM_H
#define FERMATA_NET_STREAM_H

#include "fermata/net.h"

struct net_stream;
struct net_stream_events { /* on the loop; none is called after net_stream_free */
    void (*on_open)(void *self);
    void (*on_data)(void *self, struct fm_slice data); /* valid during the call */
    /* Everything written so far was taken by the kernel. */
    void (*on_written)(void *self);
    /* Connecting failed, the peer closed, or the stream broke.  Called once, last; the owner frees
     * the stream then or later.  FM_EUNAVAILABLE: it never was open; else FM_ECLOSED, FM_EIO,
     * FM_ENOMEM. */
    void (*on_end)(void *self, int rc, const char *text);
};

/* Starts to connect; names are looked up without blocking the loop. */
FM_MUST int net_stream_open(struct net_stream **ret_stream, struct platform *platform,
                            const struct net_endpoint *endpoint,
                            const struct net_stream_events *events, void *self);
/* Sends bytes, which must stay valid until on_written; not before on_open, and not again before
 * on_written.  on_written is never called from within. */
void net_stream_write(struct net_stream *stream, const struct fm_slice *slices, size_t count);
#define NET_STREAM_SLICES_MAX 4
/* Closes; memory is released later.  May be called from any event.  NULL is fine; returns NULL. */
struct net_stream *net_stream_free(struct net_stream *stream);

#endif
