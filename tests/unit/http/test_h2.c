/* SPDX-License-Identifier: Apache-2.0 */
/* The server session against nghttp2's client, and against hand-made frames for what no client
 * would send. */
#include "../../support/test.h"

#include <nghttp2/nghttp2.h>

#include "fermata/h2.h"

#define STREAMS_MAX 64u

struct seen { /* by the client, per stream id / 2 */
    int status;
    size_t body_len;
    bool closed, grpc_trailer, reset;
    uint32_t error;
};
struct pair {
    struct h2 *server;
    nghttp2_session *client;
    struct fm_buf wire; /* what the server sent last */
    uint64_t now_ns;
    int rc; /* first failure of the server */
    struct seen seen[STREAMS_MAX];
    uint32_t goaway_error;
    bool goaway;
    bool hold_window; /* the server consumes nothing */
    struct h2_stream *held;
    size_t heads, ends, closes, body_bytes;
    struct fm_buf upload;
    size_t uploaded;
};

static struct http_limits limits;

/* ---- the server's side ---- */

static void pair_answer(struct pair *pair, struct h2_stream *stream)
{
    const char *path = h2_stream_user(stream);
    const struct http_header type = {FM_SLICE("content-type"), FM_SLICE("application/grpc")};
    const struct http_header trailers[] = {{FM_SLICE("grpc-status"), FM_SLICE("0")},
                                           {FM_SLICE("grpc-message"), FM_SLICE("")}};
    static uint8_t big[300000];

    if (strcmp(path, "/big") == 0)
        assert_ok(h2_respond(stream, 200, NULL, 0, fm_slice(big, sizeof big), NULL, 0));
    else if (strcmp(path, "/grpc") == 0)
        assert_ok(h2_respond(stream, 200, &type, 1, fm_slice(big, 5), trailers, 2));
    else if (strcmp(path, "/only") == 0)
        assert_ok(h2_respond(stream, 200, trailers, 1, FM_SLICE(""), NULL, 0));
    else if (strcmp(path, "/hold") == 0)
        pair->held = stream;
    else
        assert_ok(h2_respond(stream, 404, NULL, 0, FM_SLICE(""), NULL, 0));
}

static void pair_on_head(void *self, struct h2_stream *stream, struct fm_slice method,
                         struct fm_slice path, const struct http_header *headers, size_t count)
{
    static char paths[8][16];
    struct pair *pair = self;
    char *copy = paths[pair->heads % 8];
    (void)method, (void)headers, (void)count;

    pair->heads++;
    (void)snprintf(copy, sizeof paths[0], "%.*s", (int)path.len, (const char *)path.ptr);
    h2_stream_set_user(stream, copy);
    if (strcmp(copy, "/early") == 0)
        assert_ok(h2_respond(stream, 413, NULL, 0, FM_SLICE(""), NULL, 0));
}

static void pair_on_data(void *self, struct h2_stream *stream, struct fm_slice data)
{
    struct pair *pair = self;
    pair->body_bytes += data.len;
    if (!pair->hold_window)
        h2_stream_consumed(stream, data.len);
}

static void pair_on_end(void *self, struct h2_stream *stream)
{
    struct pair *pair = self;
    pair->ends++;
    if (strcmp(h2_stream_user(stream), "/early") != 0)
        pair_answer(pair, stream);
}

static void pair_on_close(void *self, struct h2_stream *stream)
{
    struct pair *pair = self;
    pair->closes++;
    if (pair->held == stream)
        pair->held = NULL;
}

/* ---- the client's side ---- */

static struct seen *pair_seen(struct pair *pair, int32_t id)
{
    return &pair->seen[(uint32_t)id / 2 % STREAMS_MAX];
}

static int client_on_header(nghttp2_session *session, const nghttp2_frame *frame,
                            const uint8_t *name, size_t name_len, const uint8_t *value,
                            size_t value_len, uint8_t flags, void *self)
{
    struct seen *seen = pair_seen(self, frame->hd.stream_id);
    (void)session, (void)flags;
    if (fm_slice_equal_text(fm_slice(name, name_len), ":status"))
        seen->status = atoi((const char *)value);
    if (fm_slice_equal_text(fm_slice(name, name_len), "grpc-status"))
        seen->grpc_trailer = value_len == 1 && value[0] == '0';
    return 0;
}

static int client_on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                          size_t len, void *self)
{
    (void)session, (void)flags, (void)data;
    pair_seen(self, id)->body_len += len;
    return 0;
}

static int client_on_close(nghttp2_session *session, int32_t id, uint32_t error, void *self)
{
    (void)session;
    pair_seen(self, id)->closed = true;
    pair_seen(self, id)->error = error;
    return 0;
}

static int client_on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *self)
{
    struct pair *pair = self;
    (void)session;
    if (frame->hd.type == NGHTTP2_RST_STREAM)
        pair_seen(pair, frame->hd.stream_id)->reset = true;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        pair->goaway = true;
        pair->goaway_error = frame->goaway.error_code;
    }
    return 0;
}

static ssize_t client_read(nghttp2_session *session, int32_t id, uint8_t *target, size_t len,
                           uint32_t *flags, nghttp2_data_source *source, void *self)
{
    struct pair *pair = self;
    size_t take = FM_MIN(len, pair->upload.len - pair->uploaded);
    (void)session, (void)id, (void)source;
    memcpy(target, pair->upload.ptr + pair->uploaded, take);
    pair->uploaded += take;
    if (pair->uploaded == pair->upload.len)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)take;
}

static void pair_init(struct pair *pair, uint32_t client_window)
{
    const struct h2_callbacks callbacks = {pair_on_head, pair_on_data, pair_on_end, pair_on_close};
    nghttp2_session_callbacks *client;

    *pair = (struct pair){.now_ns = UINT64_C(1000000000)};
    limits = http_limits_default;
    limits.stream_count_max = 10;
    limits.window_bytes = 100000;
    limits.connection_window_bytes = 200000;
    fm_buf_init(&pair->wire, FM_MIB(16));
    fm_buf_init(&pair->upload, FM_MIB(16));
    assert_ok(h2_new(&pair->server, &limits, &callbacks, pair));
    assert_int_equal(nghttp2_session_callbacks_new(&client), 0);
    nghttp2_session_callbacks_set_on_header_callback(client, client_on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(client, client_on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(client, client_on_close);
    nghttp2_session_callbacks_set_on_frame_recv_callback(client, client_on_frame);
    assert_int_equal(nghttp2_session_client_new(&pair->client, client, pair), 0);
    nghttp2_session_callbacks_del(client);
    const nghttp2_settings_entry settings = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, client_window};
    nghttp2_submit_settings(pair->client, 0, &settings, 1);
}

static void pair_fini(struct pair *pair)
{
    nghttp2_session_del(pair->client);
    pair->server = h2_free(pair->server);
    assert_int_equal(pair->heads, pair->closes);
    fm_buf_fini(&pair->wire);
    fm_buf_fini(&pair->upload);
}

static void pair_feed(struct pair *pair, struct fm_slice bytes)
{
    uint8_t *copy = test_exact_copy(bytes);
    int rc = h2_feed(pair->server, fm_slice(copy, bytes.len));
    free(copy);
    if (rc < 0 && !pair->rc)
        pair->rc = rc;
}

/* The server's frames to the client; true if there were any. */
static bool pair_drain(struct pair *pair)
{
    fm_buf_reset(&pair->wire);
    int rc = h2_drain(pair->server, pair->now_ns, &pair->wire);
    if (rc < 0 && !pair->rc)
        pair->rc = rc;
    if (pair->wire.len)
        (void)nghttp2_session_mem_recv(pair->client, pair->wire.ptr, pair->wire.len);
    return pair->wire.len != 0;
}

static void pair_run(struct pair *pair)
{
    bool moved = true;
    while (moved) {
        const uint8_t *data;
        ssize_t len;
        moved = false;
        while ((len = nghttp2_session_mem_send(pair->client, &data)) > 0) {
            pair_feed(pair, fm_slice(data, (size_t)len));
            moved = true;
        }
        moved |= pair_drain(pair);
    }
}

#define NV(n, v)                                                                                   \
    {                                                                                              \
        (uint8_t *)(n), (uint8_t *)(v), sizeof(n) - 1, strlen(v), 0                                \
    }

static int32_t pair_request(struct pair *pair, const char *path, size_t upload_len)
{
    nghttp2_nv headers[] = {
        NV(":method", upload_len ? "POST" : "GET"),
        NV(":scheme", "http"),
        NV(":authority", "test"),
        NV(":path", path),
    };
    nghttp2_data_provider provider = {.read_callback = client_read};
    fm_buf_reset(&pair->upload);
    fm_buf_put_zeros(&pair->upload, upload_len);
    pair->uploaded = 0;
    return nghttp2_submit_request(pair->client, NULL, headers, FM_COUNT(headers),
                                  upload_len ? &provider : NULL, NULL);
}

/* ---- raw frames ---- */

static void put_frame(struct fm_buf *out, uint8_t type, uint8_t flags, uint32_t id,
                      struct fm_slice payload)
{
    uint8_t head[9] = {(uint8_t)(payload.len >> 16), (uint8_t)(payload.len >> 8),
                       (uint8_t)payload.len, type, flags};
    fm_store_be32(head + 5, id);
    fm_buf_put(out, head, sizeof head);
    fm_buf_put_slice(out, payload);
}

/* ":method GET, :scheme http, :path /, :authority a" with nothing indexed dynamically */
#define HEAD_BLOCK                                                                                 \
    "\x82\x86\x84\x01\x01"                                                                         \
    "a"

static void pair_raw(struct pair *pair, uint8_t type, uint8_t flags, uint32_t id,
                     struct fm_slice payload)
{
    struct fm_buf out;
    fm_buf_init(&out, FM_MIB(1));
    put_frame(&out, type, flags, id, payload);
    pair_feed(pair, fm_buf_slice(&out));
    fm_buf_fini(&out);
}

static void pair_begin_raw(struct pair *pair)
{
    pair_init(pair, 65535);
    pair_feed(pair, fm_slice_text(H2_PREFACE));
    pair_raw(pair, NGHTTP2_SETTINGS, 0, 0, FM_SLICE(""));
    (void)pair_drain(pair);
    assert_int_equal(pair->rc, 0);
}

/* ---- honest traffic ---- */

static void test_requests_and_answers(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        size_t upload;
        int status;
        size_t body;
        bool trailer;
    } rows[] = {
        {"/none", 0, 404, 0, false},        {"/big", 0, 200, 300000, false},
        {"/grpc", 500000, 200, 5, true},    {"/only", 10, 200, 0, true},
        {"/big", 1000, 200, 300000, false},
    };
    static const uint32_t windows[] = {65535, 1u << 20, 100};
    for (size_t w = 0; w < FM_COUNT(windows); w++) {
        struct pair pair;
        pair_init(&pair, windows[w]);
        for (size_t i = 0; i < FM_COUNT(rows); i++) {
            int32_t id = pair_request(&pair, rows[i].path, rows[i].upload);
            pair_run(&pair);
            struct seen *seen = pair_seen(&pair, id);
            assert_int_equal(pair.rc, 0);
            assert_true(seen->closed);
            assert_int_equal(seen->error, 0);
            assert_int_equal(seen->status, rows[i].status);
            assert_int_equal(seen->body_len, rows[i].body);
            assert_int_equal(seen->grpc_trailer, rows[i].trailer);
            assert_true(h2_is_idle(pair.server));
        }
        pair_fini(&pair);
    }
}

static void test_many_requests_with_pings_are_no_flood(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair, 65535);
    for (int i = 0; i < 3000; i++) {
        (void)pair_request(&pair, "/grpc", 1000);
        nghttp2_submit_ping(pair.client, 0, NULL);
        nghttp2_submit_window_update(pair.client, 0, 0, 100);
        pair_run(&pair);
        assert_int_equal(pair.rc, 0);
    }
    assert_int_equal(pair.closes, 3000);
    for (int i = 0; i < 100; i++) { /* a keepalive every second, for ever */
        pair.now_ns += UINT64_C(1000000000);
        nghttp2_submit_ping(pair.client, 0, NULL);
        pair_run(&pair);
        assert_int_equal(pair.rc, 0);
    }
    pair_fini(&pair);
}

static void test_window_comes_back_when_consumed(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair, 65535);
    pair_run(&pair);
    pair.hold_window = true;
    int32_t id = pair_request(&pair, "/hold", 500000);
    pair_run(&pair);
    assert_int_equal(pair.body_bytes, limits.window_bytes);
    assert_false(pair_seen(&pair, id)->closed);
    /* The connection's window must not leak with the stream. */
    nghttp2_submit_rst_stream(pair.client, 0, id, NGHTTP2_CANCEL);
    pair_run(&pair);
    pair.hold_window = false;
    for (int i = 0; i < 5; i++) {
        id = pair_request(&pair, "/grpc", 150000);
        pair_run(&pair);
        assert_true(pair_seen(&pair, id)->closed);
        assert_int_equal(pair_seen(&pair, id)->error, 0);
    }
    pair_fini(&pair);
}

static void test_early_answer_ends_the_upload_in_peace(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair, 65535);
    int32_t id = pair_request(&pair, "/early", 500000);
    pair_run(&pair);
    assert_true(pair_seen(&pair, id)->closed);
    assert_int_equal(pair_seen(&pair, id)->status, 413);
    assert_int_equal(pair_seen(&pair, id)->error, NGHTTP2_NO_ERROR);
    assert_true(pair_seen(&pair, id)->reset);
    assert_int_equal(pair.rc, 0);
    pair_fini(&pair);
}

static void test_unsent_bytes_and_retiring(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair, 65535);
    const nghttp2_settings_entry closed = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0};
    nghttp2_submit_settings(pair.client, 0, &closed, 1);
    int32_t first = pair_request(&pair, "/big", 0), second = pair_request(&pair, "/big", 0);
    pair_run(&pair);
    assert_int_equal(h2_unsent_bytes(pair.server), 2 * 300000);
    nghttp2_submit_rst_stream(pair.client, 0, first, NGHTTP2_CANCEL);
    h2_retire(pair.server);
    pair_run(&pair);
    assert_int_equal(h2_unsent_bytes(pair.server), 300000);
    assert_true(pair.goaway); /* the notice; what was begun goes on */
    assert_int_equal(pair.goaway_error, NGHTTP2_NO_ERROR);
    assert_false(h2_is_idle(pair.server));
    nghttp2_submit_rst_stream(pair.client, 0, second, NGHTTP2_CANCEL);
    pair_run(&pair);
    assert_int_equal(h2_unsent_bytes(pair.server), 0);
    h2_shutdown(pair.server);
    pair_run(&pair);
    assert_true(h2_is_idle(pair.server));
    assert_int_equal(h2_heads_refused(pair.server), 0);
    pair_fini(&pair);
}

static void test_shutdown_lets_streams_finish(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair, 65535);
    int32_t id = pair_request(&pair, "/hold", 0);
    pair_run(&pair);
    h2_shutdown(pair.server);
    pair_run(&pair);
    assert_true(pair.goaway);
    assert_int_equal(pair.goaway_error, NGHTTP2_NO_ERROR);
    assert_false(h2_is_done(pair.server));
    assert_ok(h2_respond(pair.held, 200, NULL, 0, FM_SLICE("x"), NULL, 0));
    pair_run(&pair);
    assert_int_equal(pair_seen(&pair, id)->status, 200);
    assert_true(h2_is_done(pair.server));
    pair_fini(&pair);
}

/* ---- answers in parts ---- */

static void test_an_answer_in_parts(void **state)
{
    static const uint8_t big[100000];
    const struct http_header trailer = {FM_SLICE("grpc-status"), FM_SLICE("0")};
    struct pair pair;
    (void)state;

    pair_init(&pair, 65535);
    int32_t id = pair_request(&pair, "/hold", 0);
    pair_run(&pair);
    assert_ok(h2_respond_begin(pair.held, 200, NULL, 0));
    pair_run(&pair);
    struct seen *seen = pair_seen(&pair, id);
    assert_int_equal(seen->status, 200);
    assert_int_equal(seen->body_len, 0);

    for (size_t i = 1; i <= 3; i++) {
        assert_ok(h2_respond_part(pair.held, fm_slice(big, sizeof big)));
        pair_run(&pair);
        assert_int_equal(seen->body_len, i * sizeof big);
        assert_int_equal(h2_stream_unsent_bytes(pair.held), 0);
    }
    assert_false(seen->closed);
    assert_ok(h2_respond_part(pair.held, FM_SLICE("a")));
    assert_ok(h2_respond_part(pair.held, FM_SLICE("bc")));
    assert_int_equal(h2_stream_unsent_bytes(pair.held), 3);
    assert_int_equal(h2_unsent_bytes(pair.server), 3);
    assert_ok(h2_respond_end(pair.held, &trailer, 1));
    pair_run(&pair);
    assert_int_equal(seen->body_len, 3 * sizeof big + 3);
    assert_true(seen->grpc_trailer);
    assert_true(seen->closed);
    assert_int_equal(seen->error, 0);
    assert_int_equal(h2_unsent_bytes(pair.server), 0);
    pair_fini(&pair);
}

static void test_parts_wait_for_windows_and_go_with_the_stream(void **state)
{
    static const uint8_t big[40000];
    struct pair pair;
    (void)state;

    pair_init(&pair, 1000);
    nghttp2_session_set_local_window_size(pair.client, 0, 0, 65535);
    pair_run(&pair);
    int32_t id = pair_request(&pair, "/hold", 0);
    pair_run(&pair);
    assert_ok(h2_respond_begin(pair.held, 200, NULL, 0));
    assert_ok(h2_respond_part(pair.held, fm_slice(big, sizeof big)));
    (void)pair_drain(&pair); /* the client does not answer */
    assert_int_equal(h2_stream_unsent_bytes(pair.held), sizeof big - 1000);
    assert_ok(h2_respond_part(pair.held, fm_slice(big, sizeof big)));
    assert_int_equal(h2_unsent_bytes(pair.server), 2 * sizeof big - 1000);
    nghttp2_submit_rst_stream(pair.client, 0, id, NGHTTP2_CANCEL);
    pair_run(&pair);
    assert_null(pair.held);
    assert_int_equal(h2_unsent_bytes(pair.server), 0);

    /* An end without a part. */
    id = pair_request(&pair, "/hold", 0);
    pair_run(&pair);
    assert_ok(h2_respond_begin(pair.held, 200, NULL, 0));
    pair_run(&pair);
    assert_ok(h2_respond_end(pair.held, NULL, 0));
    pair_run(&pair);
    assert_true(pair_seen(&pair, id)->closed);
    assert_int_equal(pair_seen(&pair, id)->error, 0);
    pair_fini(&pair);
}

static void test_forbidden_headers_reset_the_stream(void **state)
{
    (void)state;
    struct pair pair;
    pair_begin_raw(&pair);
    pair_raw(&pair, NGHTTP2_HEADERS, 5, 1,
             FM_SLICE(HEAD_BLOCK "\x00\x0a"
                                 "connection\x05"
                                 "close"));
    (void)pair_drain(&pair);
    assert_int_equal(pair.heads, 0);
    assert_int_equal(pair.rc, 0);
    assert_true(pair.wire.len >= 13);
    assert_int_equal(pair.wire.ptr[3], NGHTTP2_RST_STREAM);
    assert_int_equal(fm_load_be32(pair.wire.ptr + 9), NGHTTP2_PROTOCOL_ERROR);
    pair_fini(&pair);
}

/* ---- heads that are too large ---- */

static void test_large_head_is_431(void **state)
{
    (void)state;
    struct pair pair;
    static char value[5001];
    memset(value, 'v', 5000);
    pair_init(&pair, 65535);
    nghttp2_nv headers[9] = {NV(":method", "GET"), NV(":scheme", "http"), NV(":path", "/"),
                             NV(":authority", "a")};
    for (size_t i = 4; i < 9; i++)
        headers[i] = (nghttp2_nv)NV("x-large", value);
    int32_t id = nghttp2_submit_request(pair.client, NULL, headers, 9, NULL, NULL);
    pair_run(&pair);
    assert_int_equal(pair.heads, 0);
    assert_int_equal(pair_seen(&pair, id)->status, 431);
    id = pair_request(&pair, "/only", 0); /* the session lives on */
    pair_run(&pair);
    assert_int_equal(pair_seen(&pair, id)->status, 200);
    pair_fini(&pair);
}

/* One 4,000 byte field in the dynamic table, then a byte per copy of it. */
static void test_hpack_bomb_is_not_unpacked(void **state)
{
    (void)state;
    struct pair pair;
    struct fm_buf block;

    fm_buf_init(&block, FM_MIB(1));
    pair_begin_raw(&pair);
    fm_buf_puts(&block, HEAD_BLOCK);
    fm_buf_put(&block, "\x40\x01x\x7f\xa1\x1e", 6); /* literal, indexed, 4,000 bytes of value */
    for (int i = 0; i < 4000; i++)
        fm_buf_put_u8(&block, 'b');
    for (int i = 0; i < 12000; i++)
        fm_buf_put_u8(&block, 0xbe); /* the newest entry */
    for (uint32_t id = 1; id < 100; id += 2)
        pair_raw(&pair, NGHTTP2_HEADERS, 5, id, fm_buf_slice(&block));
    assert_int_equal(pair.heads, 0);
    (void)pair_drain(&pair);
    fm_buf_fini(&block);
    pair_fini(&pair);
}

/* ---- floods ---- */

enum flood {
    FLOOD_RESET,
    FLOOD_MADE_RESET,
    FLOOD_PING,
    FLOOD_SETTINGS,
    FLOOD_PRIORITY,
    FLOOD_WINDOW,
    FLOOD_EMPTY_DATA,
    FLOOD_REFUSED,
    FLOOD_COUNT,
};

/* Number n of the flood's frames. */
static void pair_flood(struct pair *pair, enum flood flood, uint32_t n)
{
    uint32_t id = 2 * n + 1;

    switch (flood) {
    case FLOOD_RESET:
        pair_raw(pair, NGHTTP2_HEADERS, 4, id, FM_SLICE(HEAD_BLOCK));
        pair_raw(pair, NGHTTP2_RST_STREAM, 0, id, FM_SLICE("\0\0\0\x08"));
        break;
    case FLOOD_MADE_RESET: /* a window update of zero: the server has to reset the stream */
        pair_raw(pair, NGHTTP2_HEADERS, 4, id, FM_SLICE(HEAD_BLOCK));
        pair_raw(pair, NGHTTP2_WINDOW_UPDATE, 0, id, FM_SLICE("\x7f\xff\xff\xff"));
        break;
    case FLOOD_PING:
        pair_raw(pair, NGHTTP2_PING, 0, 0, FM_SLICE("12345678"));
        break;
    case FLOOD_SETTINGS:
        pair_raw(pair, NGHTTP2_SETTINGS, 0, 0, FM_SLICE(""));
        break;
    case FLOOD_PRIORITY:
        pair_raw(pair, NGHTTP2_PRIORITY, 0, id, FM_SLICE("\0\0\0\0\x10"));
        break;
    case FLOOD_WINDOW:
        pair_raw(pair, NGHTTP2_WINDOW_UPDATE, 0, 0, FM_SLICE("\0\0\0\1"));
        break;
    case FLOOD_EMPTY_DATA:
        if (n == 0)
            pair_raw(pair, NGHTTP2_HEADERS, 4, 1, FM_SLICE(HEAD_BLOCK));
        pair_raw(pair, NGHTTP2_DATA, 0, 1, FM_SLICE(""));
        break;
    case FLOOD_REFUSED:
    case FLOOD_COUNT:
        pair_raw(pair, NGHTTP2_HEADERS, 4, id, FM_SLICE(HEAD_BLOCK));
        break;
    }
}

static void test_floods_end_the_session(void **state)
{
    (void)state;
    for (enum flood flood = 0; flood < FLOOD_COUNT; flood++) {
        struct pair pair;
        uint32_t n = 0;
        pair_begin_raw(&pair);
        while (!pair.rc && n < 1000) {
            pair_flood(&pair, flood, n++);
            if (n % 7 == 0) {
                pair.now_ns += 1000;
                (void)pair_drain(&pair);
            }
        }
        if (pair.rc != FM_ELIMIT || n > 260)
            print_error("flood %d: rc %d after %u\n", (int)flood, pair.rc, n);
        assert_int_equal(pair.rc, FM_ELIMIT);
        assert_true(n >= 100 && n <= 260);
        pair.goaway = false;
        (void)pair_drain(&pair);
        /* The last frame is the GOAWAY; drained before or just now. */
        assert_true(h2_is_done(pair.server));
        pair_fini(&pair);
    }
}

static void test_continuation_flood(void **state)
{
    (void)state;
    struct pair pair;
    uint32_t n = 0;
    pair_begin_raw(&pair);
    pair_raw(&pair, NGHTTP2_HEADERS, 0, 1, FM_SLICE(HEAD_BLOCK));
    while (!pair.rc && n < 1000) {
        pair_raw(&pair, NGHTTP2_CONTINUATION, 0, 1, FM_SLICE(""));
        n++;
    }
    assert_true(pair.rc < 0 && n <= 17);
    pair_fini(&pair);
}

/* ---- broken input ---- */

static void test_trickle(void **state)
{
    (void)state;
    struct pair pair;
    struct fm_buf bytes;
    fm_buf_init(&bytes, FM_MIB(1));
    fm_buf_puts(&bytes, H2_PREFACE);
    put_frame(&bytes, NGHTTP2_SETTINGS, 0, 0, FM_SLICE(""));
    put_frame(&bytes, NGHTTP2_HEADERS, 0, 1, FM_SLICE("\x82\x86"));
    put_frame(&bytes, NGHTTP2_CONTINUATION, 4, 1,
              FM_SLICE("\x84\x01\x01"
                       "a"));
    put_frame(&bytes, NGHTTP2_DATA, 8, 1,
              FM_SLICE("\x03"
                       "abcde\0\0\0")); /* padded */
    put_frame(&bytes, NGHTTP2_DATA, 0, 1, FM_SLICE(""));
    put_frame(&bytes, NGHTTP2_DATA, 1, 1, FM_SLICE("fg"));
    for (size_t cut = 0; cut <= bytes.len; cut++) {
        pair_init(&pair, 65535);
        pair_feed(&pair, fm_slice(bytes.ptr, cut));
        pair_feed(&pair, fm_slice(bytes.ptr + cut, bytes.len - cut));
        (void)pair_drain(&pair);
        assert_int_equal(pair.rc, 0);
        assert_int_equal(pair.ends, 1);
        assert_int_equal(pair.body_bytes, 7);
        pair_fini(&pair);
    }
    pair_init(&pair, 65535);
    for (size_t at = 0; at < bytes.len; at++)
        pair_feed(&pair, fm_slice(bytes.ptr + at, 1));
    assert_int_equal(pair.body_bytes, 7);
    pair_fini(&pair);
    fm_buf_fini(&bytes);
}

static void test_no_preface_is_malformed(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair, 65535);
    pair_feed(&pair, FM_SLICE("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"));
    assert_int_equal(pair.rc, FM_EMALFORMED);
    pair_fini(&pair);
}

static void test_failing_allocations(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth < 2000; nth++) {
        const struct h2_callbacks callbacks = {pair_on_head, pair_on_data, pair_on_end,
                                               pair_on_close};
        struct pair pair;
        pair_init(&pair, 65535);
        struct h2 *server = NULL;
        test_alloc_fail_at(nth);
        int rc = h2_new(&server, &limits, &callbacks, &pair);
        bool failed = test_alloc_failed();
        test_alloc_disarm();
        h2_free(server);
        pair_fini(&pair);
        if (!failed)
            break;
        assert_true(rc == FM_ENOMEM || rc == FM_OK); /* nghttp2 copes with some */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_and_answers),
        cmocka_unit_test(test_many_requests_with_pings_are_no_flood),
        cmocka_unit_test(test_window_comes_back_when_consumed),
        cmocka_unit_test(test_early_answer_ends_the_upload_in_peace),
        cmocka_unit_test(test_unsent_bytes_and_retiring),
        cmocka_unit_test(test_shutdown_lets_streams_finish),
        cmocka_unit_test(test_an_answer_in_parts),
        cmocka_unit_test(test_parts_wait_for_windows_and_go_with_the_stream),
        cmocka_unit_test(test_forbidden_headers_reset_the_stream),
        cmocka_unit_test(test_large_head_is_431),
        cmocka_unit_test(test_hpack_bomb_is_not_unpacked),
        cmocka_unit_test(test_floods_end_the_session),
        cmocka_unit_test(test_continuation_flood),
        cmocka_unit_test(test_trickle),
        cmocka_unit_test(test_no_preface_is_malformed),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
