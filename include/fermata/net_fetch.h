/* SPDX-License-Identifier: Apache-2.0 */
/* net_fetch - HTTP requests for threads that may wait: jobs, and the command line.  Part of net.
 *
 * A fetcher has a loop and a thread of its own, and connections that it keeps; whoever asks sleeps
 * until the answer is there, the deadline has passed or the question was called off.  The daemon's
 * loop has no part in it, so nothing waits for it and it waits for nothing. */
#ifndef FERMATA_NET_FETCH_H
#define FERMATA_NET_FETCH_H

#include <stdatomic.h>

#include "fermata/http.h"

struct net_fetcher;
struct net_fetcher_options {
    const char *tls_ca_file; /* NULL or "": the system's store */
    uint32_t connection_max; /* more requests than these wait in line */
    uint64_t connect_timeout_ns;
    uint64_t stall_timeout_ns; /* no byte moved */
};
FM_MUST int net_fetcher_new(struct net_fetcher **ret_fetcher,
                            const struct net_fetcher_options *options, struct fm_why *why);
/* Nobody fetches any more. */
struct net_fetcher *net_fetcher_free(struct net_fetcher *fetcher);

#define NET_FETCH_HEADERS_MAX 64
struct net_fetch { /* the caller's; what it points to stays until net_fetch_wait is back */
    const char *method;
    const char *connect_host; /* whom to connect to */
    uint16_t connect_port;
    bool tls;
    struct fm_slice host, target; /* Host header and request target */
    const struct http_header *headers;
    size_t header_count;
    size_t response_bytes_max;    /* the rest is dropped */
    uint64_t deadline_ns;         /* CLOCK_MONOTONIC; 0: none */
    const atomic_bool *cancelled; /* NULL, or looked at ten times a second */

    /* Set by net_fetch_wait with FM_OK; net_fetch_fini frees them. */
    int status;
    struct fm_buf body;
    struct http_header response_headers[NET_FETCH_HEADERS_MAX];
    size_t response_header_count;
    struct fm_buf header_text;
    struct fm_why why;
    struct fetch_task *task; /* the fetcher's */
};
/* Any thread.  Several may be under way before the first is waited for. */
FM_MUST int net_fetch_start(struct net_fetcher *fetcher, struct net_fetch *fetch);
/* After net_fetch_start, exactly once.  FM_ETIMEOUT, FM_ECANCELLED, FM_EIO, FM_ECLOSED,
 * FM_EMALFORMED, FM_EUNAVAILABLE (connect, name lookup), FM_EDENIED (certificate), FM_ENOMEM. */
FM_MUST int net_fetch_wait(struct net_fetcher *fetcher, struct net_fetch *fetch);
void net_fetch_fini(struct net_fetch *fetch);

#endif
