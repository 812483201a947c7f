/* SPDX-License-Identifier: Apache-2.0 */
/* The client's socket: connect, TLS, bytes out and in.
 *
 * It reads all the time, also while a body is being sent (an early refusal is seen at once) and
 * while idle (a server that hangs up is noticed). */
#include "client.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct link_write {
    uv_write_t request;
    struct link *link;   /* borrowed; outlives its writes */
    struct fm_buf bytes; /* ciphertext; empty: the client's own bytes */
};

static void link_on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf);
static void link_on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf);

static void link_on_closed(uv_handle_t *handle)
{
    struct link *link = handle->data;
    tls_free(link->tls);
    h1_free(link->h1);
    free(link);
}

void link_close(struct link *link)
{
    if (!link->client)
        return;
    link->client->link = NULL;
    link->client = NULL;
    uv_close(&link->socket.handle, link_on_closed);
}

static void link_count(struct link *link, size_t bytes)
{
    struct net_call *call = link->client ? link->client->call : NULL;
    if (call && call->pacer)
        call->pacer->moved(call->pacer, bytes);
}

static void link_on_connected(uv_connect_t *connect, int failure)
{
    struct link *link = FM_CONTAINER(connect, struct link, connect);

    if (!link->client)
        return;
    if (!failure)
        failure = uv_read_start(&link->socket.stream, link_on_alloc, link_on_read);
    client_on_connected(link->client, failure);
}

/* Packets go out through the client's interface or not at all.  Since Linux 5.7 that needs no
 * privilege. */
static int link_bind_interface(struct link *link, int family)
{
    const char *interface = link->client->interface;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return uv_translate_sys_error(errno);
    int failure = 0;
    if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, interface, (socklen_t)strlen(interface)) != 0)
        failure = uv_translate_sys_error(errno);
    if (!failure)
        failure = uv_tcp_open(&link->socket.tcp, fd);
    if (failure)
        close(fd);
    return failure;
}

int link_open(struct link **ret_link, struct net_client *client, const struct sockaddr *address)
{
    struct link *link = calloc(1, sizeof *link);

    if (!link)
        return FM_ENOMEM;
    int rc = h1_new(&link->h1, H1_RESPONSES, &client->limits);
    if (rc == FM_OK && client->tls)
        rc = tls_new(&link->tls, client->tls, client->server_name);
    if (rc < 0) {
        h1_free(link->h1);
        free(link);
        return rc;
    }
    uv_tcp_init(client->loop, &link->socket.tcp);
    link->socket.handle.data = link;
    link->client = client;
    *ret_link = link;
    int failure = client->interface[0] ? link_bind_interface(link, address->sa_family) : 0;
    if (!failure)
        failure = uv_tcp_connect(&link->connect, &link->socket.tcp, address, link_on_connected);
    if (failure) {
        link_close(link);
        return FM_EUNAVAILABLE;
    }
    (void)uv_tcp_nodelay(&link->socket.tcp, 1); /* best effort */
    return FM_OK;
}

/* ---- out ---- */

bool link_is_writing(const struct link *link)
{
    return link->write_count != 0;
}

bool link_has_moved(struct link *link)
{
    size_t before = link->queued_bytes;
    link->queued_bytes = uv_stream_get_write_queue_size(&link->socket.stream);
    return link->queued_bytes != before;
}

static void link_on_written(uv_write_t *request, int failure)
{
    struct link_write *write = FM_CONTAINER(request, struct link_write, request);
    struct link *link = write->link;

    link->write_count--;
    fm_buf_fini(&write->bytes);
    free(write);
    if (!link->client)
        return;
    if (failure)
        client_on_link_end(link->client, FM_EIO, uv_strerror(failure));
    else if (!link->write_count && link->client->state.state >= CLIENT_WAITING)
        client_on_written(link->client);
}

static int link_write_out(struct link *link, struct fm_slice plain, bool is_encrypted)
{
    struct link_write *write = calloc(1, sizeof *write);

    if (!write)
        return FM_ENOMEM;
    write->link = link;
    if (is_encrypted) {
        struct fm_buf *output = tls_output(link->tls);
        write->bytes = *output;
        fm_buf_init(output, output->bytes_max);
        plain = fm_buf_slice(&write->bytes);
    }
    uv_buf_t bytes = uv_buf_init((char *)(uintptr_t)plain.ptr, (unsigned)plain.len);
    if (uv_write(&write->request, &link->socket.stream, &bytes, 1, link_on_written) != 0) {
        fm_buf_fini(&write->bytes);
        free(write);
        return FM_EIO;
    }
    link->write_count++;
    link_count(link, plain.len);
    link->queued_bytes = uv_stream_get_write_queue_size(&link->socket.stream);
    return FM_OK;
}

int link_send(struct link *link, struct fm_slice plain)
{
    if (link->tls) {
        int rc = tls_write(link->tls, plain);
        if (rc < 0)
            return rc;
    }
    return link_write_out(link, plain, link->tls != NULL);
}

int link_send_plain(struct link *link, struct fm_slice bytes)
{
    return link_write_out(link, bytes, false);
}

/* ---- in ---- */

static int link_flush_tls(struct link *link)
{
    return tls_output(link->tls)->len ? link_write_out(link, FM_SLICE(""), true) : FM_OK;
}

void link_on_handshake_bytes(struct link *link)
{
    struct net_client *client = link->client;
    int rc = tls_handshake(link->tls, &client->call->why);

    if (link_flush_tls(link) < 0 && rc >= 0)
        rc = fm_fail(&client->call->why, FM_EIO, "write");
    if (rc < 0) {
        struct fm_why why = client->call->why;
        client_on_link_end(client, rc == FM_EDENIED ? rc : FM_EIO, why.text);
    } else if (rc == FM_OK) {
        client_begin(client);
    }
}

/* Plain text to the client, until there is none or the link is closed. */
static void link_decrypt(struct link *link)
{
    while (link->client) {
        size_t len = 0;
        int rc = tls_read(link->tls, link->plain_scratch, sizeof link->plain_scratch, &len);
        if (rc == FM_MORE)
            return;
        if (rc == FM_END)
            client_on_link_end(link->client, FM_ECLOSED, "closed by the server");
        else if (rc < 0)
            client_on_link_end(link->client, FM_EIO, "broken TLS record");
        else if (link->client->state.state == CLIENT_IDLE)
            client_on_link_end(link->client, FM_EMALFORMED, "unasked bytes");
        else
            client_on_input(link->client, fm_slice(link->plain_scratch, len));
        if (rc != FM_OK)
            return;
    }
}

static void link_on_bytes(struct link *link, struct fm_slice input)
{
    if (link->client->state.state == CLIENT_TUNNEL) {
        client_on_tunnel_bytes(link->client, input);
        return;
    }
    if (!link->tls) {
        if (link->client->state.state == CLIENT_IDLE)
            client_on_link_end(link->client, FM_EMALFORMED, "unasked bytes");
        else
            client_on_input(link->client, input);
        return;
    }
    if (tls_feed(link->tls, input) < 0) {
        client_on_link_end(link->client, FM_ENOMEM, "no memory");
        return;
    }
    if (link->client->state.state == CLIENT_HANDSHAKE)
        link_on_handshake_bytes(link);
    if (link->client && link->client->state.state != CLIENT_HANDSHAKE)
        link_decrypt(link);
}

static void link_on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct link *link = handle->data;
    (void)suggested;
    *buf = uv_buf_init((char *)link->scratch, sizeof link->scratch);
}

static void link_on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    struct link *link = stream->data;

    if (len == 0 || !link->client)
        return;
    if (len > 0)
        link_count(link, (size_t)len);
    if (len > 0)
        link_on_bytes(link, fm_slice(buf->base, (size_t)len));
    else if (len == UV_EOF)
        client_on_link_end(link->client, FM_ECLOSED, "closed by the server");
    else
        client_on_link_end(link->client, FM_ECLOSED, uv_strerror((int)len));
}
