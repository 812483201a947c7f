/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 server session on nghttp2's memory interface.
 *
 * nghttp2 keeps the protocol; this file keeps the limits.  Every event that costs us and nothing to
 * the peer is a glitch and takes a token: 200 at once, 20 a second after that.  Without tokens the
 * session ends with GOAWAY (ENHANCE_YOUR_CALM).  PINGs and WINDOW_UPDATEs that answer frames of
 * ours are free, since honest clients measure the path with each response.
 *
 * A stream is visible once on_head was called; only then on_close is.  A head beyond our limits is
 * answered 431 here and stays invisible. */
#include "fermata/h2.h"

#include <stdio.h>
#include <stdlib.h>

#include <nghttp2/nghttp2.h>

#define H2_GLITCH_BURST          200
#define H2_GLITCHES_PER_S        20
#define H2_CREDIT_MAX            400u /* free PINGs and WINDOW_UPDATEs saved up */
#define H2_HEADER_EXCESS         8u   /* a head this many times the limit is reset, not answered */
#define H2_HEADER_OVERHEAD_BYTES 32u  /* RFC 9113 6.5.2: what a field counts beyond its text */
#define H2_CONTINUATIONS_MAX     16u  /* nghttp2 also counts each split of a frame head */
#define H2_FEED_BYTES            FM_KIB(16)  /* look at the glitch budget at least this often */
#define H2_DRAIN_BYTES           FM_KIB(256) /* per call; the caller writes and comes again */

struct h2_stream {
    struct h2 *h2; /* borrowed */
    struct h2_stream *next, *prev;
    int32_t id;
    bool visible, head_too_large, answered;
    bool more; /* the answer goes on: h2_respond_part or h2_respond_end comes */
    void *user;
    size_t unconsumed_bytes; /* received and not yet given back to the window */
    uint8_t *answer;         /* owned: body, then the trailers' text */
    size_t body_len, body_sent;
    nghttp2_nv *trailers; /* owned; points into answer */
    size_t trailer_count;
};

struct h2 {
    nghttp2_session *session; /* owned */
    struct http_limits limits;
    struct h2_callbacks callbacks;
    void *self;
    struct h2_stream *streams; /* owned */

    /* The head being received; header blocks never interleave, so one is enough. */
    struct fm_buf head;
    struct h2_span {
        uint32_t name, name_len, value, value_len; /* offsets into head */
    } * spans;                                     /* owned, header_count_max + pseudo-headers */
    struct http_header *headers;                   /* owned, as many */
    size_t span_count, head_count, head_bytes;

    uint64_t heads_refused; /* answered 431 */
    size_t unsent_bytes;    /* of answers */
    int glitch_tokens;
    uint64_t glitch_refill_ns; /* 0: not yet known */
    unsigned credit;
    bool calmed;    /* GOAWAY for glitches was queued */
    bool failed;    /* GOAWAY with an error went out */
    bool shut_down; /* by us, in peace */
};

/* ---- glitches ---- */

static void h2_calm(struct h2 *h2)
{
    if (h2->calmed)
        return;
    h2->calmed = true;
    (void)nghttp2_session_terminate_session(h2->session, NGHTTP2_ENHANCE_YOUR_CALM);
}

static void h2_glitch(struct h2 *h2)
{
    if (--h2->glitch_tokens < 0)
        h2_calm(h2);
}

static void h2_glitch_unless_earned(struct h2 *h2)
{
    if (h2->credit)
        h2->credit--;
    else
        h2_glitch(h2);
}

static void h2_earn(struct h2 *h2, unsigned count)
{
    h2->credit = FM_MIN(h2->credit + count, H2_CREDIT_MAX);
}

static void h2_refill(struct h2 *h2, uint64_t now_ns)
{
    const uint64_t token_ns = UINT64_C(1000000000) / H2_GLITCHES_PER_S;
    if (!h2->glitch_refill_ns || now_ns < h2->glitch_refill_ns) {
        h2->glitch_refill_ns = now_ns;
        return;
    }
    uint64_t tokens = (now_ns - h2->glitch_refill_ns) / token_ns;
    h2->glitch_refill_ns += tokens * token_ns;
    int room = H2_GLITCH_BURST - h2->glitch_tokens;
    h2->glitch_tokens += (int)FM_MIN(tokens, (uint64_t)FM_MAX(room, 0));
}

/* ---- streams ---- */

static struct h2_stream *h2_stream_new(struct h2 *h2, int32_t id)
{
    struct h2_stream *stream = calloc(1, sizeof *stream);
    if (!stream)
        return NULL;
    stream->h2 = h2;
    stream->id = id;
    stream->next = h2->streams;
    if (stream->next)
        stream->next->prev = stream;
    h2->streams = stream;
    return stream;
}

static void h2_stream_free(struct h2_stream *stream)
{
    if (stream->prev)
        stream->prev->next = stream->next;
    else
        stream->h2->streams = stream->next;
    if (stream->next)
        stream->next->prev = stream->prev;
    stream->h2->unsent_bytes -= stream->body_len - stream->body_sent;
    free(stream->answer);
    free(stream->trailers);
    free(stream);
}

static struct h2_stream *h2_find(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

void *h2_stream_user(const struct h2_stream *stream)
{
    return stream->user;
}

void h2_stream_set_user(struct h2_stream *stream, void *user)
{
    stream->user = user;
}

void h2_stream_consumed(struct h2_stream *stream, size_t len)
{
    len = FM_MIN(len, stream->unconsumed_bytes);
    stream->unconsumed_bytes -= len;
    if (len) /* fails only without memory; then the session fails on its next call as well */
        (void)nghttp2_session_consume(stream->h2->session, stream->id, len);
}

void h2_stream_reset(struct h2_stream *stream, uint32_t error_code)
{
    (void)nghttp2_submit_rst_stream(stream->h2->session, NGHTTP2_FLAG_NONE, stream->id, error_code);
}

/* ---- receiving ---- */

static int h2_on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *self)
{
    struct h2 *h2 = self;
    fm_buf_reset(&h2->head);
    h2->span_count = h2->head_count = h2->head_bytes = 0;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct h2_stream *stream = h2_stream_new(h2, frame->hd.stream_id);
    if (!stream)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    (void)nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, stream);
    return 0;
}

/* Counts first and stores only what is within the limits: an indexed field of 4 KiB costs the peer
 * one byte (HPACK bomb). */
static int h2_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                        size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                        void *self)
{
    struct h2 *h2 = self;
    struct h2_stream *stream = h2_find(session, frame->hd.stream_id);
    (void)flags;

    h2->head_count++;
    h2->head_bytes += name_len + value_len + H2_HEADER_OVERHEAD_BYTES;
    if (h2->head_bytes > (size_t)h2->limits.header_bytes_max * H2_HEADER_EXCESS)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (!stream || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0; /* trailers are counted and dropped */
    if (h2->head_count > h2->limits.header_count_max || stream->head_too_large ||
        h2->head_bytes > h2->limits.header_bytes_max) {
        stream->head_too_large = true;
        return 0;
    }
    struct h2_span *span = &h2->spans[h2->span_count];
    *span = (struct h2_span){.name = (uint32_t)h2->head.len, .name_len = (uint32_t)name_len};
    fm_buf_put(&h2->head, name, name_len);
    span->value = (uint32_t)h2->head.len;
    span->value_len = (uint32_t)value_len;
    fm_buf_put(&h2->head, value, value_len);
    if (h2->head.failed)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    h2->span_count++;
    return 0;
}

static void h2_deliver_head(struct h2 *h2, struct h2_stream *stream)
{
    struct fm_slice method = FM_SLICE(""), path = FM_SLICE("");
    size_t count = 0;

    for (size_t i = 0; i < h2->span_count; i++) {
        const struct h2_span *span = &h2->spans[i];
        struct http_header header = {
            .name = fm_slice(h2->head.ptr + span->name, span->name_len),
            .value = fm_slice(h2->head.ptr + span->value, span->value_len),
        };
        if (fm_slice_equal_text(header.name, ":method"))
            method = header.value;
        else if (fm_slice_equal_text(header.name, ":path"))
            path = header.value;
        else if (fm_slice_equal_text(header.name, ":authority"))
            h2->headers[count++] = (struct http_header){FM_SLICE("host"), header.value};
        else if (header.name.len && header.name.ptr[0] != ':')
            h2->headers[count++] = header;
    }
    stream->visible = true;
    h2->callbacks.on_head(h2->self, stream, method, path, h2->headers, count);
}

static void h2_on_request_head(struct h2 *h2, struct h2_stream *stream)
{
    struct fm_slice empty = FM_SLICE("");

    if (!stream->head_too_large) {
        h2_deliver_head(h2, stream);
        return;
    }
    h2->heads_refused++;
    h2_glitch(h2);
    if (h2_respond(stream, 431, NULL, 0, empty, NULL, 0) < 0)
        h2_stream_reset(stream, NGHTTP2_INTERNAL_ERROR);
}

static void h2_on_control_frame(struct h2 *h2, const nghttp2_frame *frame)
{
    bool ack = frame->hd.flags & NGHTTP2_FLAG_ACK;

    switch (frame->hd.type) {
    case NGHTTP2_RST_STREAM:
    case NGHTTP2_PRIORITY:
        h2_glitch(h2);
        break;
    case NGHTTP2_SETTINGS:
        if (!ack)
            h2_glitch(h2);
        break;
    case NGHTTP2_PING:
        if (!ack)
            h2_glitch_unless_earned(h2);
        break;
    case NGHTTP2_WINDOW_UPDATE:
        h2_glitch_unless_earned(h2);
        break;
    default:
        break;
    }
}

static int h2_on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *self)
{
    struct h2 *h2 = self;
    struct h2_stream *stream = h2_find(session, frame->hd.stream_id);
    bool is_head = frame->hd.type == NGHTTP2_HEADERS;
    bool ends = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;

    if (!is_head && frame->hd.type != NGHTTP2_DATA) {
        h2_on_control_frame(h2, frame);
        return 0;
    }
    if (!stream)
        return 0;
    if (is_head && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        h2_on_request_head(h2, stream);
    else if (!is_head && !ends && frame->hd.length == 0)
        h2_glitch(h2);
    if (ends && stream->visible)
        h2->callbacks.on_end(h2->self, stream);
    return 0;
}

/* Not every frame that nghttp2 drops or answers reaches on_frame. */
static int h2_on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error,
                               void *self)
{
    (void)session, (void)frame, (void)error;
    h2_glitch(self);
    return 0;
}

static int h2_on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                      size_t len, void *self)
{
    struct h2 *h2 = self;
    struct h2_stream *stream = h2_find(session, id);
    (void)flags;

    if (!stream || !stream->visible) {
        (void)nghttp2_session_consume(session, id, len);
        return 0;
    }
    stream->unconsumed_bytes += len;
    h2->callbacks.on_data(h2->self, stream, fm_slice(data, len));
    return 0;
}

static int h2_on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *self)
{
    struct h2 *h2 = self;
    struct h2_stream *stream = h2_find(session, id);
    (void)error;

    if (!stream)
        return 0;
    if (stream->unconsumed_bytes)
        (void)nghttp2_session_consume_connection(session, stream->unconsumed_bytes);
    stream->unconsumed_bytes = 0;
    if (stream->visible)
        h2->callbacks.on_close(h2->self, stream);
    (void)nghttp2_session_set_stream_user_data(session, id, NULL);
    h2_stream_free(stream);
    return 0;
}

/* ---- sending ---- */

static int h2_on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *self)
{
    struct h2 *h2 = self;
    int32_t id = frame->hd.stream_id;

    switch (frame->hd.type) {
    case NGHTTP2_RST_STREAM:
        if (frame->rst_stream.error_code != NGHTTP2_NO_ERROR)
            h2_glitch(h2);
        return 0;
    case NGHTTP2_GOAWAY:
        if (frame->goaway.error_code != NGHTTP2_NO_ERROR)
            h2->failed = true;
        return 0;
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
        h2_earn(h2, 3); /* a PING and two WINDOW_UPDATEs are what grpc stacks send back */
        break;
    default:
        return 0;
    }
    /* Answered before the request was complete: the rest of it is not wanted, and that is all. */
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) &&
        nghttp2_session_get_stream_remote_close(session, id) == 0)
        (void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
    return 0;
}

static ssize_t h2_read_answer(nghttp2_session *session, int32_t id, uint8_t *target, size_t len,
                              uint32_t *data_flags, nghttp2_data_source *source, void *self)
{
    struct h2_stream *stream = source->ptr;
    size_t take = FM_MIN(len, stream->body_len - stream->body_sent);
    (void)self;

    if (take)
        memcpy(target, stream->answer + stream->body_sent, take);
    stream->body_sent += take;
    stream->h2->unsent_bytes -= take;
    if (stream->body_sent < stream->body_len)
        return (ssize_t)take;
    if (stream->more)
        return take ? (ssize_t)take : NGHTTP2_ERR_DEFERRED;
    *data_flags |= NGHTTP2_DATA_FLAG_EOF;
    if (stream->trailer_count) {
        *data_flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        if (nghttp2_submit_trailer(session, id, stream->trailers, stream->trailer_count) != 0)
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    return (ssize_t)take;
}

static nghttp2_nv nv_from_header(const struct http_header *header)
{
    return (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)header->name.ptr,
        .namelen = header->name.len,
        .value = (uint8_t *)(uintptr_t)header->value.ptr,
        .valuelen = header->value.len,
    };
}

/* Keeps body and trailers until they are sent, behind what of the answer is not sent yet: one block
 * of bytes, one table. */
static int h2_stream_keep_answer(struct h2_stream *stream, struct fm_slice body,
                                 const struct http_header *trailers, size_t trailer_count)
{
    size_t unsent = stream->body_len - stream->body_sent, size = unsent + body.len;
    for (size_t i = 0; i < trailer_count; i++)
        size += trailers[i].name.len + trailers[i].value.len;
    uint8_t *answer = malloc(size + 1);
    stream->trailers = trailer_count ? calloc(trailer_count, sizeof *stream->trailers) : NULL;
    if (!answer || (trailer_count && !stream->trailers)) {
        free(answer);
        return FM_ENOMEM;
    }
    if (unsent)
        memcpy(answer, stream->answer + stream->body_sent, unsent);
    if (body.len)
        memcpy(answer + unsent, body.ptr, body.len);
    free(stream->answer);
    stream->answer = answer;
    stream->body_sent = 0;
    uint8_t *text = answer + unsent + body.len;
    for (size_t i = 0; i < trailer_count; i++) {
        nghttp2_nv nv = nv_from_header(&trailers[i]);
        memcpy(text, nv.name, nv.namelen);
        nv.name = text;
        text += nv.namelen;
        memcpy(text, nv.value, nv.valuelen);
        nv.value = text;
        text += nv.valuelen;
        stream->trailers[i] = nv;
    }
    stream->body_len = unsent + body.len;
    stream->h2->unsent_bytes += body.len;
    stream->trailer_count = trailer_count;
    return FM_OK;
}

static int h2_submit_head(struct h2_stream *stream, int status, const struct http_header *headers,
                          size_t count, const nghttp2_data_provider *provider)
{
    char digits[16];

    FM_ASSERT(!stream->answered);
    nghttp2_nv *table = calloc(count + 1, sizeof *table);
    if (!table)
        return FM_ENOMEM;
    int digit_count = snprintf(digits, sizeof digits, "%d", status);
    struct http_header status_header = {FM_SLICE(":status"),
                                        fm_slice(digits, (size_t)FM_MAX(digit_count, 0))};
    table[0] = nv_from_header(&status_header);
    for (size_t i = 0; i < count; i++)
        table[i + 1] = nv_from_header(&headers[i]);
    int failure =
        nghttp2_submit_response(stream->h2->session, stream->id, table, count + 1, provider);
    free(table);
    if (failure)
        return failure == NGHTTP2_ERR_NOMEM ? FM_ENOMEM : FM_ECLOSED;
    stream->answered = true;
    return FM_OK;
}

int h2_respond(struct h2_stream *stream, int status, const struct http_header *headers,
               size_t count, struct fm_slice body, const struct http_header *trailers,
               size_t trailer_count)
{
    nghttp2_data_provider provider = {.source.ptr = stream, .read_callback = h2_read_answer};
    bool has_data = body.len || trailer_count;

    int rc = has_data ? h2_stream_keep_answer(stream, body, trailers, trailer_count) : FM_OK;
    return rc < 0 ? rc
                  : h2_submit_head(stream, status, headers, count, has_data ? &provider : NULL);
}

int h2_respond_begin(struct h2_stream *stream, int status, const struct http_header *headers,
                     size_t count)
{
    nghttp2_data_provider provider = {.source.ptr = stream, .read_callback = h2_read_answer};

    stream->more = true;
    return h2_submit_head(stream, status, headers, count, &provider);
}

/* Fails when data is not being waited for, which is as well. */
static void h2_resume(struct h2_stream *stream)
{
    (void)nghttp2_session_resume_data(stream->h2->session, stream->id);
}

int h2_respond_part(struct h2_stream *stream, struct fm_slice bytes)
{
    if (!stream->answered || !stream->more)
        return FM_ECLOSED; /* its head could not be sent */
    int rc = h2_stream_keep_answer(stream, bytes, NULL, 0);
    if (rc == FM_OK)
        h2_resume(stream);
    return rc;
}

int h2_respond_end(struct h2_stream *stream, const struct http_header *trailers,
                   size_t trailer_count)
{
    if (!stream->answered || !stream->more)
        return FM_ECLOSED; /* its head could not be sent */
    int rc = h2_stream_keep_answer(stream, FM_SLICE(""), trailers, trailer_count);
    if (rc < 0)
        return rc;
    stream->more = false;
    h2_resume(stream);
    return FM_OK;
}

size_t h2_stream_unsent_bytes(const struct h2_stream *stream)
{
    return stream->body_len - stream->body_sent;
}

/* ---- session ---- */

static int h2_make_session(struct h2 *h2)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;

    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return FM_ENOMEM;
    if (nghttp2_option_new(&option) != 0) {
        nghttp2_session_callbacks_del(callbacks);
        return FM_ENOMEM;
    }
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, h2_on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, h2_on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, h2_on_frame);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, h2_on_invalid_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, h2_on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, h2_on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, h2_on_frame_sent);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_max_continuations(option, H2_CONTINUATIONS_MAX);
    nghttp2_option_set_stream_reset_rate_limit(option, H2_GLITCH_BURST * 2, H2_GLITCHES_PER_S);
    nghttp2_option_set_max_send_header_block_length(option, FM_KIB(64));
    int failure = nghttp2_session_server_new2(&h2->session, callbacks, h2, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return failure ? FM_ENOMEM : FM_OK;
}

static int h2_send_settings(struct h2 *h2)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, h2->limits.stream_count_max},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, h2->limits.window_bytes},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, h2->limits.header_bytes_max},
    };
    int failure =
        nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, settings, FM_COUNT(settings));
    if (!failure)
        failure = nghttp2_session_set_local_window_size(
            h2->session, NGHTTP2_FLAG_NONE, 0, (int32_t)h2->limits.connection_window_bytes);
    return failure ? FM_ENOMEM : FM_OK;
}

int h2_new(struct h2 **ret_h2, const struct http_limits *limits,
           const struct h2_callbacks *callbacks, void *self)
{
    FM_AUTO(h2) h2 = calloc(1, sizeof *h2);

    if (!h2)
        return FM_ENOMEM;
    h2->limits = *limits;
    h2->callbacks = *callbacks;
    h2->self = self;
    h2->glitch_tokens = H2_GLITCH_BURST;
    fm_buf_init(&h2->head, limits->header_bytes_max);
    h2->spans = calloc(limits->header_count_max + 1, sizeof *h2->spans);
    h2->headers = calloc(limits->header_count_max + 1, sizeof *h2->headers);
    if (!h2->spans || !h2->headers)
        return FM_ENOMEM;
    int rc = h2_make_session(h2);
    if (rc == FM_OK)
        rc = h2_send_settings(h2);
    if (rc < 0)
        return rc;

    *ret_h2 = fm_take(h2);
    return FM_OK;
}

struct h2 *h2_free(struct h2 *h2)
{
    if (!h2)
        return NULL;
    nghttp2_session_del(h2->session);
    while (h2->streams) {
        struct h2_stream *stream = h2->streams;
        if (stream->visible)
            h2->callbacks.on_close(h2->self, stream);
        h2_stream_free(stream);
    }
    fm_buf_fini(&h2->head);
    free(h2->spans);
    free(h2->headers);
    free(h2);
    return NULL;
}

static int rc_from_nghttp2(ssize_t failure)
{
    switch (failure) {
    case NGHTTP2_ERR_NOMEM:
        return FM_ENOMEM;
    case NGHTTP2_ERR_BAD_CLIENT_MAGIC:
    case NGHTTP2_ERR_CALLBACK_FAILURE:
        return FM_EMALFORMED;
    default: /* floods that nghttp2 counts itself */
        return FM_ELIMIT;
    }
}

int h2_feed(struct h2 *h2, struct fm_slice input)
{
    while (input.len) {
        size_t take = FM_MIN(input.len, H2_FEED_BYTES);
        ssize_t used = nghttp2_session_mem_recv(h2->session, input.ptr, take);
        if (used < 0)
            return rc_from_nghttp2(used);
        if (h2->calmed)
            return FM_ELIMIT;
        input = fm_slice(input.ptr + take, input.len - take);
    }
    return FM_OK;
}

int h2_drain(struct h2 *h2, uint64_t now_ns, struct fm_buf *output)
{
    size_t start = output->len;

    h2_refill(h2, now_ns);
    while (output->len - start < H2_DRAIN_BYTES) {
        const uint8_t *data = NULL;
        ssize_t len = nghttp2_session_mem_send(h2->session, &data);
        if (len < 0)
            return rc_from_nghttp2(len);
        if (len == 0)
            break;
        fm_buf_put(output, data, (size_t)len);
        if (output->failed)
            return FM_ENOMEM;
    }
    if (h2->calmed)
        return FM_ELIMIT;
    return h2->failed ? FM_EMALFORMED : FM_OK;
}

bool h2_wants_write(const struct h2 *h2)
{
    return nghttp2_session_want_write(h2->session);
}

bool h2_is_idle(const struct h2 *h2)
{
    return !h2->streams;
}

bool h2_is_done(const struct h2 *h2)
{
    return !nghttp2_session_want_read(h2->session) && !nghttp2_session_want_write(h2->session);
}

uint64_t h2_heads_refused(const struct h2 *h2)
{
    return h2->heads_refused;
}

size_t h2_unsent_bytes(const struct h2 *h2)
{
    return h2->unsent_bytes;
}

void h2_retire(struct h2 *h2)
{
    if (!h2->shut_down)
        (void)nghttp2_submit_shutdown_notice(h2->session);
}

void h2_shutdown(struct h2 *h2)
{
    if (h2->shut_down)
        return;
    h2->shut_down = true;
    int32_t last = nghttp2_session_get_last_proc_stream_id(h2->session);
    (void)nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0);
}
