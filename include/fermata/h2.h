/* SPDX-License-Identifier: Apache-2.0 */
/* h2 - an HTTP/2 server session over memory, on nghttp2, with the limits nghttp2 does not enforce.
 * Part of http; the only home of nghttp2.
 *
 * Streams become visible when their head is complete; bodies are handed on as they come, and
 * receive windows are returned only when h2_stream_consumed says so.  A peer that resets, floods or
 * overflows more than its budget of glitches gets GOAWAY (ENHANCE_YOUR_CALM).
 */
#ifndef FERMATA_H2_H
#define FERMATA_H2_H

#include "fermata/base.h"
#include "fermata/http.h"

#define H2_PREFACE       "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define H2_PREFACE_BYTES 24u

struct h2;
struct h2_stream;

struct h2_callbacks { /* called from within h2_feed and h2_drain; must not free the session */
    /* Head complete.  Headers are valid during the call only; pseudo-headers are apart. */
    void (*on_head)(void *self, struct h2_stream *stream, struct fm_slice method,
                    struct fm_slice path, const struct http_header *headers, size_t count);
    void (*on_data)(void *self, struct h2_stream *stream, struct fm_slice data);
    void (*on_end)(void *self, struct h2_stream *stream);   /* the request is complete */
    void (*on_close)(void *self, struct h2_stream *stream); /* gone, answered or not */
};
FM_MUST int h2_new(struct h2 **ret_h2, const struct http_limits *limits,
                   const struct h2_callbacks *callbacks, void *self);
struct h2 *h2_free(struct h2 *h2);
FM_DEFINE_AUTO(h2)
/* FM_OK; FM_EMALFORMED, FM_ELIMIT: drain once more (GOAWAY), then close. */
FM_MUST int h2_feed(struct h2 *h2, struct fm_slice input);
/* Appends frames to send.  now_ns feeds the glitch budget. */
FM_MUST int h2_drain(struct h2 *h2, uint64_t now_ns, struct fm_buf *output);
bool h2_wants_write(const struct h2 *h2);
bool h2_is_idle(const struct h2 *h2); /* no open streams */
bool h2_is_done(const struct h2 *h2); /* nothing more will be read or written */
void h2_shutdown(struct h2 *h2);      /* GOAWAY, open streams may finish */
void h2_retire(
    struct h2 *h2); /* GOAWAY without an end yet: h2_shutdown a while later loses nothing */
uint64_t h2_heads_refused(const struct h2 *h2); /* so far: answered 431 here */
size_t h2_unsent_bytes(const struct h2 *h2);    /* bodies of answers that wait for windows */

void *h2_stream_user(const struct h2_stream *stream);
void h2_stream_set_user(struct h2_stream *stream, void *user);
void h2_stream_consumed(struct h2_stream *stream, size_t len); /* gives receive window back */
/* Answer; headers without :status.  body is copied.  trailers may be empty; end of stream follows.
 * With an empty body and no trailers the head ends the stream (gRPC: trailers-only). */
FM_MUST int h2_respond(struct h2_stream *stream, int status, const struct http_header *headers,
                       size_t count, struct fm_slice body, const struct http_header *trailers,
                       size_t trailer_count);
/* The same in parts: the head now, bytes as they come, the trailers at the end.  Bytes are copied.
 * Nothing of the three blocks; h2_stream_unsent_bytes says how much waits for windows. */
FM_MUST int h2_respond_begin(struct h2_stream *stream, int status,
                             const struct http_header *headers, size_t count);
FM_MUST int h2_respond_part(struct h2_stream *stream, struct fm_slice bytes);
FM_MUST int h2_respond_end(struct h2_stream *stream, const struct http_header *trailers,
                           size_t trailer_count);
size_t h2_stream_unsent_bytes(const struct h2_stream *stream);
void h2_stream_reset(struct h2_stream *stream, uint32_t error_code);

#endif
