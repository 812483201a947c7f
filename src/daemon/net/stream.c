/* SPDX-License-Identifier: Apache-2.0 */
/* A byte stream to a server on libuv.
 *
 *   LOOKING UP --> CONNECTING --> (TUNNEL) --> (HANDSHAKE) --> OPEN --> ENDED
 *                    ^      v                               free: any --> CLOSING, released in
 *                    CHANGING    a name has more            on_close
 *                                addresses: a new socket for the next one
 *
 * Writes try the socket at once and leave the rest to libuv.  The completion of a write that went
 * out at once is reported from the next turn of the loop, so that a caller never re-enters itself.
 *
 * With TLS, what is written becomes ciphertext in our memory.  One piece of it is under way at a
 * time; what the handshake or the session have to say in between goes out with the next piece.
 */
#include "fermata/net_stream.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "fermata/uv.h"
#include "tls.h"
#include "tunnel.h"

#define STREAM_READ_BYTES FM_KIB(64)

struct net_stream_tls {
    struct tls_config *config; /* shared with the connections */
    char *server_name;         /* owned */
};

struct stream_way { /* through a proxy */
    struct tunnel tunnel;
    struct net_endpoint target;
    uv_write_t write;
};

struct net_stream {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } socket;
    uv_idle_t soon; /* reports writes that were finished at once */
    uv_getaddrinfo_t lookup;
    uv_connect_t connect;
    uv_write_t write;
    const struct net_stream_events *events; /* borrowed */
    void *self;
    struct addrinfo *addresses, *next_address;
    unsigned handle_count; /* open handles and the look-up under way */
    bool is_looking, is_changing, is_reading, is_open, is_ended, is_freed;
    uint16_t port;
    bool is_in_tunnel;        /* behind the proxy's answer, or there is no proxy */
    struct stream_way *way;   /* owned; NULL: straight there */
    struct tls *tls;          /* owned; NULL: plain */
    struct fm_buf ciphertext; /* under way */
    bool is_sending;          /* libuv has it */
    bool is_broken;           /* TLS could not encrypt */
    bool wants_written;       /* the owner waits for on_written */
    uint8_t buffer[STREAM_READ_BYTES];
    uint8_t plain[STREAM_READ_BYTES]; /* TLS */
};

static void stream_release(struct net_stream *stream)
{
    if (--stream->handle_count > 0)
        return;
    uv_freeaddrinfo(stream->addresses);
    tls_free(stream->tls);
    fm_buf_fini(&stream->ciphertext);
    free(stream->way);
    free(stream);
}

static void stream_on_close(uv_handle_t *handle)
{
    stream_release(handle->data);
}

static void stream_end_as(struct net_stream *stream, int rc, const char *text)
{
    if (stream->is_ended || stream->is_freed)
        return;
    stream->is_ended = true;
    uv_idle_stop(&stream->soon);
    if (stream->is_reading)
        (void)uv_read_stop(&stream->socket.stream); /* cannot fail */
    stream->events->on_end(stream->self, stream->is_open ? rc : FM_EUNAVAILABLE, text);
}

static void stream_end(struct net_stream *stream, int status)
{
    int rc = status == UV_EOF          ? FM_ECLOSED
             : status == UV_ECONNRESET ? FM_ECLOSED
             : status == UV_EPIPE      ? FM_ECLOSED
             : status == UV_ENOMEM     ? FM_ENOMEM
                                       : FM_EIO;
    stream_end_as(stream, rc, uv_strerror(status));
}

/* ---- TLS ---- */

static unsigned stream_skip(uv_buf_t *buffers, unsigned count, size_t len);
static void stream_on_soon(uv_idle_t *idle);
static void stream_flush(struct net_stream *stream);

static void stream_on_flushed(uv_write_t *request, int status)
{
    struct net_stream *stream = FM_CONTAINER(request, struct net_stream, write);

    stream->is_sending = false;
    if (stream->is_freed || stream->is_ended)
        return;
    fm_buf_reset(&stream->ciphertext);
    if (status < 0)
        stream_end(stream, status);
    else
        stream_flush(stream);
}

/* Gives the socket what TLS has for it; on_written when that is all gone. */
static void stream_flush(struct net_stream *stream)
{
    struct fm_buf *output = tls_output(stream->tls), spare = stream->ciphertext;

    if (stream->is_sending)
        return;
    if (!output->len) {
        if (stream->wants_written)
            uv_idle_start(&stream->soon, stream_on_soon);
        return;
    }
    stream->ciphertext = *output;
    *output = spare;
    uv_buf_t buffer = uv_buf_init((char *)stream->ciphertext.ptr, (unsigned)stream->ciphertext.len);
    int sent = uv_try_write(&stream->socket.stream, &buffer, 1);
    if (sent > 0 && !stream_skip(&buffer, 1, (size_t)sent)) {
        fm_buf_reset(&stream->ciphertext);
        if (stream->wants_written)
            uv_idle_start(&stream->soon, stream_on_soon);
        return;
    }
    int status = uv_write(&stream->write, &stream->socket.stream, &buffer, 1, stream_on_flushed);
    stream->is_sending = status == 0; /* else the reader will see the end */
}

static void stream_shake_hands(struct net_stream *stream)
{
    struct fm_why why;
    int rc = tls_handshake(stream->tls, &why);

    if (rc < 0) {
        stream_end_as(stream, rc, why.text);
        return;
    }
    stream_flush(stream);
    if (rc == FM_OK) {
        stream->is_open = true;
        stream->events->on_open(stream->self);
    }
}

static void stream_decrypt(struct net_stream *stream)
{
    while (!stream->is_ended && !stream->is_freed) {
        size_t len;
        int rc = tls_read(stream->tls, stream->plain, sizeof stream->plain, &len);
        if (rc == FM_MORE)
            break;
        if (rc == FM_OK)
            stream->events->on_data(stream->self, fm_slice(stream->plain, len));
        else if (rc == FM_END)
            stream_end(stream, UV_EOF);
        else
            stream_end_as(stream, rc, "broken TLS record");
    }
    if (!stream->is_ended && !stream->is_freed)
        stream_flush(stream);
}

static void stream_take_ciphertext(struct net_stream *stream, struct fm_slice ciphertext)
{
    if (tls_feed(stream->tls, ciphertext) < 0) {
        stream_end(stream, UV_ENOMEM);
        return;
    }
    if (!stream->is_open)
        stream_shake_hands(stream);
    if (stream->is_open && !stream->is_ended && !stream->is_freed)
        stream_decrypt(stream);
}

int net_stream_tls_new(struct net_stream_tls **ret_tls,
                       const struct net_stream_tls_options *options, struct fm_why *why)
{
    struct net_stream_tls *tls = calloc(1, sizeof *tls);

    if (!tls)
        return fm_fail(why, FM_ENOMEM, "out of memory");
    tls->server_name = strdup(options->server_name);
    int rc = tls->server_name ? tls_config_new_client(&tls->config, options->ca_file, why)
                              : fm_fail(why, FM_ENOMEM, "out of memory");
    if (rc == FM_OK)
        rc = tls_config_offer(tls->config, options->cert_file, options->key_file, options->h2, why);
    if (rc < 0) {
        net_stream_tls_free(tls);
        return rc;
    }
    *ret_tls = tls;
    return FM_OK;
}

struct net_stream_tls *net_stream_tls_free(struct net_stream_tls *tls)
{
    if (tls) {
        tls_config_unref(tls->config);
        free(tls->server_name);
        free(tls);
    }
    return NULL;
}

/* ---- connecting ---- */

static void stream_on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct net_stream *stream = handle->data;

    (void)suggested;
    *buf = uv_buf_init((char *)stream->buffer, sizeof stream->buffer);
}

/* Nothing is between us and the server any more. */
static void stream_on_way(struct net_stream *stream)
{
    stream->is_in_tunnel = true;
    if (stream->tls) {
        stream_shake_hands(stream);
        return;
    }
    stream->is_open = true;
    stream->events->on_open(stream->self);
}

static void stream_on_asked(uv_write_t *request, int status)
{
    struct net_stream *stream = request->data;

    if (status < 0 && !stream->is_freed)
        stream_end(stream, status);
}

static void stream_ask_proxy(struct net_stream *stream)
{
    struct stream_way *way = stream->way;
    struct fm_slice question = tunnel_begin(&way->tunnel, way->target.host, way->target.port);
    uv_buf_t buffer = uv_buf_init((char *)(uintptr_t)question.ptr, (unsigned)question.len);

    way->write.data = stream;
    int status = uv_write(&way->write, &stream->socket.stream, &buffer, 1, stream_on_asked);
    if (status < 0)
        stream_end(stream, status);
}

static void stream_take_answer(struct net_stream *stream, struct fm_slice input)
{
    struct fm_why why;
    int rc = tunnel_on_bytes(&stream->way->tunnel, input, &why);

    if (rc == FM_OK)
        stream_on_way(stream);
    else if (rc < 0)
        stream_end_as(stream, rc, why.text);
}

static void stream_on_read(uv_stream_t *handle, ssize_t len, const uv_buf_t *buf)
{
    struct net_stream *stream = handle->data;

    if (len < 0)
        stream_end(stream, (int)len);
    else if (len > 0 && !stream->is_ended && !stream->is_in_tunnel)
        stream_take_answer(stream, fm_slice(buf->base, (size_t)len));
    else if (len > 0 && !stream->is_ended && stream->tls)
        stream_take_ciphertext(stream, fm_slice(buf->base, (size_t)len));
    else if (len > 0 && !stream->is_ended)
        stream->events->on_data(stream->self, fm_slice(buf->base, (size_t)len));
}

static void stream_on_changed(uv_handle_t *handle);

static void stream_on_connect(uv_connect_t *request, int status)
{
    struct net_stream *stream = FM_CONTAINER(request, struct net_stream, connect);

    if (stream->is_freed)
        return;
    if (status < 0 && stream->next_address) {
        stream->is_changing = true;
        uv_close(&stream->socket.handle, stream_on_changed);
        return;
    }
    if (status == 0)
        status = uv_read_start(&stream->socket.stream, stream_on_allocate, stream_on_read);
    if (status < 0) {
        stream_end(stream, status);
        return;
    }
    stream->is_reading = true;
    if (stream->way)
        stream_ask_proxy(stream);
    else
        stream_on_way(stream);
}

static int stream_connect(struct net_stream *stream, const struct sockaddr *address)
{
    int status = uv_tcp_connect(&stream->connect, &stream->socket.tcp, address, stream_on_connect);

    if (status == 0)
        (void)uv_tcp_nodelay(&stream->socket.tcp, 1); /* only slower without */
    return status;
}

static void stream_connect_next(struct net_stream *stream)
{
    const struct addrinfo *address = stream->next_address;

    stream->next_address = address->ai_next;
    int status = stream_connect(stream, address->ai_addr);
    if (status < 0)
        stream_on_connect(&stream->connect, status);
}

/* The socket that met no answer is closed. */
static void stream_on_changed(uv_handle_t *handle)
{
    struct net_stream *stream = handle->data;
    uv_loop_t *loop = handle->loop;

    stream->is_changing = false;
    if (stream->is_freed) {
        stream_release(stream);
        return;
    }
    (void)uv_tcp_init(loop, &stream->socket.tcp); /* without a socket yet it cannot fail */
    stream->socket.handle.data = stream;
    stream_connect_next(stream);
}

static void stream_on_lookup(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses)
{
    struct net_stream *stream = FM_CONTAINER(request, struct net_stream, lookup);

    stream->is_looking = false;
    stream->addresses = stream->next_address = addresses;
    if (!stream->is_freed) {
        if (status < 0)
            stream_end(stream, status);
        else
            stream_connect_next(stream);
    }
    stream_release(stream);
}

/* Addresses at once, names through the resolver. */
static int stream_resolve(struct net_stream *stream, uv_loop_t *loop, const char *host,
                          uint16_t port)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    char service[8];
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};

    if (uv_ip4_addr(host, port, &v4) == 0)
        return stream_connect(stream, (struct sockaddr *)&v4);
    if (uv_ip6_addr(host, port, &v6) == 0)
        return stream_connect(stream, (struct sockaddr *)&v6);
    (void)snprintf(service, sizeof service, "%u", port);
    int status = uv_getaddrinfo(loop, &stream->lookup, stream_on_lookup, host, service, &hints);
    if (status == 0) {
        stream->handle_count++;
        stream->is_looking = true;
    }
    return status;
}

static int stream_init_handles(struct net_stream *stream, uv_loop_t *loop, bool is_unix)
{
    int status = is_unix ? uv_pipe_init(loop, &stream->socket.pipe, 0)
                         : uv_tcp_init(loop, &stream->socket.tcp);
    if (status < 0)
        return FM_ENOMEM;
    (void)uv_idle_init(loop, &stream->soon); /* cannot fail */
    stream->socket.handle.data = stream->soon.data = stream;
    stream->handle_count = 2;
    return FM_OK;
}

int net_stream_open(struct net_stream **ret_stream, struct platform *platform,
                    const struct net_endpoint *endpoint, const struct net_stream_events *events,
                    void *self)
{
    return net_stream_open_tls(ret_stream, platform, endpoint, NULL, events, self);
}

int net_stream_open_tls(struct net_stream **ret_stream, struct platform *platform,
                        const struct net_endpoint *endpoint, struct net_stream_tls *tls,
                        const struct net_stream_events *events, void *self)
{
    return net_stream_open_through(ret_stream, platform, NULL, endpoint, tls, events, self);
}

static int stream_set_way(struct net_stream *stream, const struct net_proxy *proxy,
                          const struct net_endpoint *target)
{
    if (!proxy)
        return FM_OK;
    stream->way = calloc(1, sizeof *stream->way);
    if (!stream->way)
        return FM_ENOMEM;
    stream->way->tunnel.proxy = *proxy;
    stream->way->target = *target;
    return FM_OK;
}

int net_stream_open_through(struct net_stream **ret_stream, struct platform *platform,
                            const struct net_proxy *proxy, const struct net_endpoint *target,
                            struct net_stream_tls *tls, const struct net_stream_events *events,
                            void *self)
{
    const struct net_endpoint *endpoint = proxy ? &proxy->endpoint : target;
    uv_loop_t *loop = uv_platform_loop(platform);
    struct net_stream *stream = calloc(1, sizeof *stream);

    if (!stream)
        return FM_ENOMEM;
    stream->events = events;
    stream->self = self;
    fm_buf_init(&stream->ciphertext, SIZE_MAX / 4);
    int rc = tls ? tls_new(&stream->tls, tls->config, tls->server_name) : FM_OK;
    if (rc == FM_OK)
        rc = stream_set_way(stream, proxy, target);
    if (rc == FM_OK)
        rc = stream_init_handles(stream, loop, endpoint->is_unix);
    if (rc < 0) {
        tls_free(stream->tls);
        free(stream->way);
        free(stream);
        return rc;
    }
    if (endpoint->is_unix) {
        *ret_stream = stream;
        uv_pipe_connect(&stream->connect, &stream->socket.pipe, endpoint->host, stream_on_connect);
        return FM_OK;
    }
    int status = stream_resolve(stream, loop, *endpoint->host ? endpoint->host : "127.0.0.1",
                                endpoint->port);
    if (status < 0) {
        net_stream_free(stream);
        return FM_EUNAVAILABLE;
    }
    *ret_stream = stream;
    return FM_OK;
}

static void stream_on_soon(uv_idle_t *idle)
{
    struct net_stream *stream = idle->data;

    uv_idle_stop(idle);
    stream->wants_written = false;
    if (stream->is_broken)
        stream_end_as(stream, FM_EIO, "cannot encrypt");
    else if (!stream->is_ended && !stream->is_freed)
        stream->events->on_written(stream->self);
}

static void stream_on_write(uv_write_t *request, int status)
{
    struct net_stream *stream = FM_CONTAINER(request, struct net_stream, write);

    if (stream->is_freed || stream->is_ended)
        return;
    if (status < 0)
        stream_end(stream, status);
    else
        stream->events->on_written(stream->self);
}

/* Drops the first len bytes of the buffers; returns how many buffers are left. */
static unsigned stream_skip(uv_buf_t *buffers, unsigned count, size_t len)
{
    unsigned skipped = 0;

    while (skipped < count && len >= buffers[skipped].len)
        len -= buffers[skipped++].len;
    memmove(buffers, buffers + skipped, (count - skipped) * sizeof *buffers);
    count -= skipped;
    if (count && len) {
        buffers[0].base += len;
        buffers[0].len -= len;
    }
    return count;
}

static void stream_encrypt(struct net_stream *stream, const struct fm_slice *slices, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (tls_write(stream->tls, slices[i]) < 0) {
            stream->is_broken = true; /* reported from the next turn */
            uv_idle_start(&stream->soon, stream_on_soon);
            return;
        }
    }
    stream->wants_written = true;
    stream_flush(stream);
}

void net_stream_write(struct net_stream *stream, const struct fm_slice *slices, size_t count)
{
    uv_buf_t buffers[NET_STREAM_SLICES_MAX] = {0};
    unsigned left = (unsigned)count;

    FM_ASSERT(count <= NET_STREAM_SLICES_MAX && stream->is_open && !stream->is_freed);
    if (stream->is_ended)
        return;
    if (stream->tls) {
        stream_encrypt(stream, slices, count);
        return;
    }
    for (size_t i = 0; i < count; i++)
        buffers[i] = uv_buf_init((char *)(uintptr_t)slices[i].ptr, (unsigned)slices[i].len);
    int sent = uv_try_write(&stream->socket.stream, buffers, left);
    if (sent > 0)
        left = stream_skip(buffers, left, (size_t)sent);
    if (!left) {
        uv_idle_start(&stream->soon, stream_on_soon);
        return;
    }
    /* An error other than "not now" shows up again, in the callback. */
    if (uv_write(&stream->write, &stream->socket.stream, buffers, left, stream_on_write) < 0)
        uv_idle_start(&stream->soon, stream_on_soon); /* no memory: the reader will see the end */
}

struct net_stream *net_stream_free(struct net_stream *stream)
{
    if (!stream || stream->is_freed)
        return NULL;
    stream->is_freed = true;
    if (stream->is_looking)
        (void)uv_cancel((uv_req_t *)&stream->lookup); /* too late is fine: it ends by itself */
    if (!stream->is_changing)
        uv_close(&stream->socket.handle, stream_on_close);
    uv_close((uv_handle_t *)&stream->soon, stream_on_close);
    return NULL;
}
