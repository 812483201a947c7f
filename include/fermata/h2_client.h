/* SPDX-License-Identifier: Apache-2.0 */
/* h2_client - the client's side of HTTP/2 over memory, on nghttp2, for unary calls.  Part of http.
 *
 * One session is one connection (prior knowledge).  Bytes from the peer go in by feed, bytes for it
 * come out of drain; calls end with done, called from within feed, drain or free.
 */
#ifndef FERMATA_H2_CLIENT_H
#define FERMATA_H2_CLIENT_H

#include "fermata/bytes.h"
#include "fermata/http.h"

#define H2_CLIENT_HEADERS_MAX  16
#define H2_CLIENT_DETAILS_MAX  1024      /* longer ones are as if there were none */
#define H2_CLIENT_RESPONSE_MAX FM_MIB(1) /* the rest of a longer answer is dropped */

struct h2_call { /* owned by the caller, in use from h2_client_start until done */
    struct fm_slice authority, path; /* a POST */
    bool is_https;                   /* scheme https, else http */
    const struct http_header *headers;
    size_t header_count; /* at most H2_CLIENT_HEADERS_MAX */
    struct fm_slice body;
    /* FM_OK: the answer is complete.  FM_EUNAVAILABLE: refused before it was looked at, start it
     * again; FM_ECLOSED: the peer reset it; FM_ECANCELLED: the session was freed. */
    void (*done)(struct h2_call *call, int rc);
    void *self;

    /* Filled by the session. */
    int status;                               /* of HTTP */
    int grpc_status;                          /* -1: none was sent */
    char grpc_message[128];                   /* as sent: percent-encoded */
    char grpc_details[H2_CLIENT_DETAILS_MAX]; /* grpc-status-details-bin, base64, or "" */
    uint32_t retry_after_s;                   /* from retry-after; 0: none */
    struct fm_buf response;                   /* valid during done */
    size_t body_sent;
    int32_t stream_id;
    struct fm_link link;
};

struct h2_client;
FM_MUST int h2_client_new(struct h2_client **ret_client);
struct h2_client *h2_client_free(struct h2_client *client);
FM_DEFINE_AUTO(h2_client)
/* FM_ECLOSED: the peer is going away or the session failed; open another one. */
FM_MUST int h2_client_start(struct h2_client *client, struct h2_call *call);
/* FM_EMALFORMED: the peer does not speak HTTP/2; close. */
FM_MUST int h2_client_feed(struct h2_client *client, struct fm_slice input);
/* Appends frames to send until about bytes_max are there.  FM_ECLOSED: send them and close, the
 * session is over; FM_EMALFORMED as above. */
FM_MUST int h2_client_drain(struct h2_client *client, size_t bytes_max, struct fm_buf *output);
bool h2_client_is_closing(const struct h2_client *client); /* GOAWAY was received */

#endif
