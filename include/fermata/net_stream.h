/* SPDX-License-Identifier: Apache-2.0 */
/* net_stream - a byte stream (TCP, TLS over it, or unix socket) to a server, for tools.  Part of
 * net.
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

/* Whom we trust and who we are; shared by streams, freed after the last of them is open. */
struct net_stream_tls;
struct net_stream_tls_options {
    const char *ca_file;              /* NULL or "": the system's store */
    const char *cert_file, *key_file; /* ours; NULL or "": none */
    const char *server_name;          /* that the server's certificate must carry */
    bool h2;                          /* HTTP/2 is going to be spoken, else HTTP/1.1 */
};
FM_MUST int net_stream_tls_new(struct net_stream_tls **ret_tls,
                               const struct net_stream_tls_options *options, struct fm_why *why);
struct net_stream_tls *net_stream_tls_free(struct net_stream_tls *tls);

/* An HTTP proxy: where it is, and who we are to it. */
#define NET_PROXY_LINE_MAX        510 /* of USER:PASSWORD */
#define NET_PROXY_CREDENTIALS_MAX 684 /* in base64, with an end */
struct net_proxy {
    struct net_endpoint endpoint;
    char credentials[NET_PROXY_CREDENTIALS_MAX]; /* base64 of USER:PASSWORD; "": none */
};
/* "http://host:port" or "host:port"; without credentials. */
FM_MUST int net_proxy_set(struct net_proxy *proxy, const char *text, struct fm_why *why);
/* A file with one line USER:PASSWORD; blocks, on any thread. */
FM_MUST int net_proxy_load(struct net_proxy *proxy, struct platform *platform, const char *path,
                           struct fm_why *why);

/* Starts to connect; names are looked up without blocking the loop. */
FM_MUST int net_stream_open(struct net_stream **ret_stream, struct platform *platform,
                            const struct net_endpoint *endpoint,
                            const struct net_stream_events *events, void *self);
/* The same over TLS: on_open comes after the handshake. */
FM_MUST int net_stream_open_tls(struct net_stream **ret_stream, struct platform *platform,
                                const struct net_endpoint *endpoint, struct net_stream_tls *tls,
                                const struct net_stream_events *events, void *self);
/* The same, with or without TLS, through a proxy's CONNECT. */
FM_MUST int net_stream_open_through(struct net_stream **ret_stream, struct platform *platform,
                                    const struct net_proxy *proxy,
                                    const struct net_endpoint *endpoint, struct net_stream_tls *tls,
                                    const struct net_stream_events *events, void *self);
/* Sends bytes, which must stay valid until on_written; not before on_open, and not again before
 * on_written.  on_written is never called from within. */
void net_stream_write(struct net_stream *stream, const struct fm_slice *slices, size_t count);
#define NET_STREAM_SLICES_MAX 4
/* Closes; memory is released later.  May be called from any event.  NULL is fine; returns NULL. */
struct net_stream *net_stream_free(struct net_stream *stream);

#endif
