/* SPDX-License-Identifier: Apache-2.0 */
/* Unary calls over HTTP/2: nghttp2's session in memory, one h2_call a stream. */
#include "fermata/h2_client.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>

#include "fermata/units.h"

#define CLIENT_WINDOW_BYTES 1048576 /* answers are small; one call's may be read at once */

struct h2_client {
    nghttp2_session *session;
    struct fm_link calls; /* of streams that are open */
    bool is_closing, is_failed;
};

static struct h2_call *client_call(nghttp2_session *session, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(session, stream_id);
}

static void client_note_header(struct h2_call *call, struct fm_slice name, struct fm_slice value)
{
    uint64_t number;

    if (fm_slice_equal_text(name, "grpc-message")) {
        size_t len = FM_MIN(value.len, sizeof call->grpc_message - 1);
        if (len)
            memcpy(call->grpc_message, value.ptr, len);
        call->grpc_message[len] = '\0';
        return;
    }
    if (fm_slice_equal_text(name, "grpc-status-details-bin")) {
        if (value.len && value.len < sizeof call->grpc_details) {
            memcpy(call->grpc_details, value.ptr, value.len);
            call->grpc_details[value.len] = '\0';
        }
        return;
    }
    if (fm_u64_parse(value, &number) < 0 || number > 1000000)
        return;
    if (fm_slice_equal_text(name, ":status"))
        call->status = (int)number;
    else if (fm_slice_equal_text(name, "grpc-status"))
        call->grpc_status = (int)number;
    else if (fm_slice_equal_text(name, "retry-after"))
        call->retry_after_s = (uint32_t)number;
}

static int client_on_header(nghttp2_session *session, const nghttp2_frame *frame,
                            const uint8_t *name, size_t name_len, const uint8_t *value,
                            size_t value_len, uint8_t flags, void *self)
{
    struct h2_call *call = client_call(session, frame->hd.stream_id);

    (void)flags;
    (void)self;
    if (call)
        client_note_header(call, fm_slice(name, name_len), fm_slice(value, value_len));
    return 0;
}

static int client_on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id,
                          const uint8_t *data, size_t len, void *self)
{
    struct h2_call *call = client_call(session, stream_id);

    (void)flags;
    (void)self;
    if (call)
        fm_buf_put(&call->response, data, len);
    return 0;
}

static int client_on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *self)
{
    struct h2_client *client = self;

    (void)session;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        client->is_closing = true;
    return 0;
}

static int client_on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code,
                                  void *self)
{
    struct h2_call *call = client_call(session, stream_id);
    int rc = error_code == NGHTTP2_REFUSED_STREAM ? FM_EUNAVAILABLE : FM_ECLOSED;

    (void)self;
    if (!call)
        return 0;
    /* A server may answer, end the stream and reset with NO_ERROR what it did not want to read. */
    if (error_code == NGHTTP2_NO_ERROR && call->status)
        rc = FM_OK;
    fm_list_remove(&call->link);
    call->done(call, rc);
    return 0;
}

/* Hands the next piece of a call's body to nghttp2. */
static ssize_t client_on_read(nghttp2_session *session, int32_t stream_id, uint8_t *target,
                              size_t size, uint32_t *flags, nghttp2_data_source *source, void *self)
{
    struct h2_call *call = source->ptr;
    size_t len = FM_MIN(size, call->body.len - call->body_sent);

    (void)session;
    (void)stream_id;
    (void)self;
    if (len)
        memcpy(target, call->body.ptr + call->body_sent, len);
    call->body_sent += len;
    if (call->body_sent == call->body.len)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)len;
}

static int client_open_session(struct h2_client *client)
{
    nghttp2_session_callbacks *callbacks;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, CLIENT_WINDOW_BYTES},
    };

    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return FM_ENOMEM;
    nghttp2_session_callbacks_set_on_header_callback(callbacks, client_on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, client_on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, client_on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, client_on_stream_close);
    int status = nghttp2_session_client_new(&client->session, callbacks, client);
    nghttp2_session_callbacks_del(callbacks);
    if (status != 0 || nghttp2_submit_settings(client->session, NGHTTP2_FLAG_NONE, settings,
                                               FM_COUNT(settings)) != 0)
        return FM_ENOMEM;
    return FM_OK;
}

int h2_client_new(struct h2_client **ret_client)
{
    FM_AUTO(h2_client) client = calloc(1, sizeof *client);

    if (!client)
        return FM_ENOMEM;
    fm_list_init(&client->calls);
    int rc = client_open_session(client);
    if (rc < 0)
        return rc;
    *ret_client = fm_take(client);
    return FM_OK;
}

struct h2_client *h2_client_free(struct h2_client *client)
{
    if (!client)
        return NULL;
    nghttp2_session_del(client->session);
    while (!fm_list_empty(&client->calls)) {
        struct h2_call *call = FM_CONTAINER(client->calls.next, struct h2_call, link);
        fm_list_remove(&call->link);
        call->done(call, FM_ECANCELLED);
    }
    free(client);
    return NULL;
}

static nghttp2_nv client_header(struct fm_slice name, struct fm_slice value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name.ptr, (uint8_t *)(uintptr_t)value.ptr, name.len,
                        value.len, NGHTTP2_NV_FLAG_NONE};
}

int h2_client_start(struct h2_client *client, struct h2_call *call)
{
    nghttp2_nv headers[4 + H2_CLIENT_HEADERS_MAX] = {
        client_header(FM_SLICE(":method"), FM_SLICE("POST")),
        client_header(FM_SLICE(":scheme"), call->is_https ? FM_SLICE("https") : FM_SLICE("http")),
        client_header(FM_SLICE(":authority"), call->authority),
        client_header(FM_SLICE(":path"), call->path),
    };
    const nghttp2_data_provider provider = {{.ptr = call}, client_on_read};

    FM_ASSERT(call->header_count <= H2_CLIENT_HEADERS_MAX);
    if (client->is_closing || client->is_failed)
        return FM_ECLOSED;
    for (size_t i = 0; i < call->header_count; i++)
        headers[4 + i] = client_header(call->headers[i].name, call->headers[i].value);
    call->status = 0;
    call->grpc_status = -1;
    call->grpc_message[0] = call->grpc_details[0] = '\0';
    call->retry_after_s = 0;
    call->body_sent = 0;
    fm_buf_reset(&call->response);
    call->response.bytes_max = H2_CLIENT_RESPONSE_MAX;
    int32_t id = nghttp2_submit_request(client->session, NULL, headers, 4 + call->header_count,
                                        &provider, call);
    if (id < 0) {
        client->is_failed = id != NGHTTP2_ERR_NOMEM;
        return id == NGHTTP2_ERR_NOMEM ? FM_ENOMEM : FM_ECLOSED;
    }
    call->stream_id = id;
    fm_list_append(&client->calls, &call->link);
    return FM_OK;
}

int h2_client_feed(struct h2_client *client, struct fm_slice input)
{
    ssize_t used = nghttp2_session_mem_recv(client->session, input.ptr, input.len);

    if (used >= 0)
        return FM_OK;
    client->is_failed = true;
    return used == NGHTTP2_ERR_NOMEM ? FM_ENOMEM : FM_EMALFORMED;
}

/* Also when nghttp2 gave up on the peer: it says so by GOAWAY and by nothing else. */
static bool client_is_over(const struct h2_client *client)
{
    return !nghttp2_session_want_read(client->session) &&
           !nghttp2_session_want_write(client->session);
}

int h2_client_drain(struct h2_client *client, size_t bytes_max, struct fm_buf *output)
{
    while (output->len < bytes_max) {
        const uint8_t *piece;
        ssize_t len = nghttp2_session_mem_send(client->session, &piece);
        if (len < 0) {
            client->is_failed = true;
            return len == NGHTTP2_ERR_NOMEM ? FM_ENOMEM : FM_EMALFORMED;
        }
        if (len == 0)
            return client_is_over(client) ? FM_ECLOSED : FM_OK;
        fm_buf_put(output, piece, (size_t)len);
        if (output->failed)
            return FM_ENOMEM;
    }
    return FM_OK;
}

bool h2_client_is_closing(const struct h2_client *client)
{
    return client->is_closing;
}
