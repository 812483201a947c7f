/* SPDX-License-Identifier: Apache-2.0 */
/* h1 - HTTP/1.1 over memory: a strict incremental parser of requests and responses, and writers.
 * Source: RFC 9110, RFC 9112.  Part of http.
 *
 * Refused, since a proxy might read them otherwise: Content-Length with Transfer-Encoding, more
 * than one Content-Length, obs-fold, bare LF, blanks before the colon, control characters, chunk
 * sizes beyond 64 bits.
 */
#ifndef FERMATA_H1_H
#define FERMATA_H1_H

#include "fermata/base.h"
#include "fermata/http.h"

struct h1;
enum h1_role { H1_REQUESTS, H1_RESPONSES };
FM_MUST int h1_new(struct h1 **ret_h1, enum h1_role role, const struct http_limits *limits);
struct h1 *h1_free(struct h1 *h1);
FM_DEFINE_AUTO(h1)

enum h1_event {
    H1_HEAD, /* the head is complete: read h1_head() */
    H1_BODY, /* ret_data: bytes of the body, chunking removed; borrowed from the input */
    H1_DONE, /* the message is complete; bytes after it belong to the next */
};
/* Consumes some of input.  FM_OK: an event; FM_MORE: all consumed, no event; FM_EMALFORMED (400),
 * FM_ELIMIT (431, 414 or 413: h1_limit_status), FM_EUNSUPPORTED (501, 505).  After a failure the
 * connection must be closed. */
FM_MUST int h1_feed(struct h1 *h1, struct fm_slice input, size_t *ret_used,
                    enum h1_event *ret_event, struct fm_slice *ret_data);
/* Responses that end with the connection: call at end of file.  FM_OK: it was complete. */
FM_MUST int h1_feed_end(struct h1 *h1);
int h1_limit_status(const struct h1 *h1);
void h1_expect_no_body(struct h1 *h1); /* responses: the request was HEAD */

struct h1_head {                    /* valid from H1_HEAD until the next head begins */
    struct fm_slice method, target; /* requests */
    int status;                     /* responses */
    uint8_t minor_version;          /* HTTP/1.x */
    bool keep_alive;
    bool expect_continue;
    bool chunked;
    bool has_length;
    uint64_t content_length;
    const struct http_header *headers;
    size_t header_count;
};
const struct h1_head *h1_head(const struct h1 *h1);

/* Writers append to buf.  A body of known length follows the head as is. */
void h1_put_response(struct fm_buf *buf, int status, const struct http_header *headers,
                     size_t count, uint64_t content_length, bool keep_alive);
void h1_put_request(struct fm_buf *buf, const char *method, struct fm_slice target,
                    struct fm_slice host, const struct http_header *headers, size_t count,
                    uint64_t content_length);
extern const struct fm_slice h1_continue; /* "HTTP/1.1 100 Continue\r\n\r\n" */

#endif
