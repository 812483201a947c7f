/* SPDX-License-Identifier: Apache-2.0 */
/* What a connection through a proxy's CONNECT asks and hears; of client.c and stream.c. */
#ifndef NET_TUNNEL_H
#define NET_TUNNEL_H

#include "fermata/net_stream.h"

struct tunnel {
    bool is_set;
    struct net_proxy proxy;
    char question[640 + NET_PROXY_CREDENTIALS_MAX], answer[4096];
    size_t answer_len;
};

/* The bytes to send; they stay until the next question. */
struct fm_slice tunnel_begin(struct tunnel *tunnel, const char *host, uint16_t port);
/* FM_MORE: the head is not complete.  Anything behind it came before it was asked for. */
FM_MUST int tunnel_on_bytes(struct tunnel *tunnel, struct fm_slice input, struct fm_why *why);

#endif
