/* SPDX-License-Identifier: Apache-2.0 */
/* The client's HTTP/2 against the server's, over memory. */
#include "../../support/test.h"

#include "fermata/h2.h"
#include "fermata/h2_client.h"

struct pair {
    struct h2 *server;
    struct h2_client *client;
    struct fm_buf to_server, to_client;
    size_t piece_max; /* bytes handed over at a time */
    unsigned heads, ends;
    size_t body_bytes;
    bool reset; /* instead of answering */
    struct h2_call calls[8];
    unsigned done_count;
    int done_rc[8];
};

static void server_on_head(void *self, struct h2_stream *stream, struct fm_slice method,
                           struct fm_slice path, const struct http_header *headers, size_t count)
{
    struct pair *pair = self;
    struct fm_slice value;
    (void)stream;
    pair->heads++;
    assert_true(fm_slice_equal_text(method, "POST"));
    assert_true(fm_slice_equal_text(path, "/service/Export"));
    assert_ok(http_header_find(headers, count, "content-type", &value));
    assert_true(fm_slice_equal_text(value, "application/grpc"));
}

static void server_on_data(void *self, struct h2_stream *stream, struct fm_slice data)
{
    struct pair *pair = self;
    pair->body_bytes += data.len;
    h2_stream_consumed(stream, data.len);
}

static void server_on_end(void *self, struct h2_stream *stream)
{
    struct pair *pair = self;
    static const struct http_header head[] = {
        {{(const uint8_t *)"content-type", 12}, {(const uint8_t *)"application/grpc", 16}}};
    static const struct http_header trailers[] = {
        {{(const uint8_t *)"grpc-status", 11}, {(const uint8_t *)"14", 2}},
        {{(const uint8_t *)"grpc-message", 12}, {(const uint8_t *)"later", 5}}};
    pair->ends++;
    if (pair->reset)
        h2_stream_reset(stream, 8);
    else
        assert_ok(h2_respond(stream, 200, head, 1, FM_SLICE("answer"), trailers, 2));
}

static void server_on_close(void *self, struct h2_stream *stream)
{
    (void)self;
    (void)stream;
}

static const struct h2_callbacks server_callbacks = {server_on_head, server_on_data, server_on_end,
                                                     server_on_close};

static void on_done(struct h2_call *call, int rc)
{
    struct pair *pair = call->self;
    pair->done_rc[call - pair->calls] = rc;
    pair->done_count++;
}

static void pair_open(struct pair *pair, size_t piece_max)
{
    *pair = (struct pair){.piece_max = piece_max};
    fm_buf_init(&pair->to_server, FM_MIB(4));
    fm_buf_init(&pair->to_client, FM_MIB(4));
    assert_ok(h2_new(&pair->server, &http_limits_default, &server_callbacks, pair));
    assert_ok(h2_client_new(&pair->client));
    for (size_t i = 0; i < FM_COUNT(pair->calls); i++)
        fm_buf_init(&pair->calls[i].response, FM_MIB(1));
}

static void pair_close(struct pair *pair)
{
    pair->client = h2_client_free(pair->client);
    pair->server = h2_free(pair->server);
    fm_buf_fini(&pair->to_server);
    fm_buf_fini(&pair->to_client);
    for (size_t i = 0; i < FM_COUNT(pair->calls); i++)
        fm_buf_fini(&pair->calls[i].response);
}

/* Carries bytes both ways until neither side has any. */
static void pair_settle(struct pair *pair)
{
    for (;;) {
        assert_ok(h2_client_drain(pair->client, 1000, &pair->to_server));
        assert_ok(h2_drain(pair->server, 0, &pair->to_client));
        size_t up = FM_MIN(pair->to_server.len, pair->piece_max);
        size_t down = FM_MIN(pair->to_client.len, pair->piece_max);
        if (!up && !down)
            return;
        assert_ok(h2_feed(pair->server, fm_slice(pair->to_server.ptr, up)));
        fm_buf_consume(&pair->to_server, up);
        assert_ok(h2_client_feed(pair->client, fm_slice(pair->to_client.ptr, down)));
        fm_buf_consume(&pair->to_client, down);
    }
}

static const struct http_header call_headers[] = {
    {{(const uint8_t *)"content-type", 12}, {(const uint8_t *)"application/grpc", 16}}};

static int pair_start(struct pair *pair, unsigned index, struct fm_slice body)
{
    struct h2_call *call = &pair->calls[index];
    call->authority = FM_SLICE("host:1");
    call->path = FM_SLICE("/service/Export");
    call->headers = call_headers;
    call->header_count = 1;
    call->body = body;
    call->done = on_done;
    call->self = pair;
    return h2_client_start(pair->client, call);
}

static void test_calls_at_once(void **state)
{
    (void)state;
    static uint8_t body[300000]; /* more than a window */
    for (size_t piece = 1; piece <= 100000; piece *= 100) {
        struct pair pair;
        pair_open(&pair, piece);
        size_t len = piece == 1 ? 3000 : sizeof body;
        for (unsigned i = 0; i < 8; i++)
            assert_ok(pair_start(&pair, i, fm_slice(body, len)));
        pair_settle(&pair);
        assert_int_equal(pair.done_count, 8);
        assert_int_equal(pair.body_bytes, 8 * len);
        for (unsigned i = 0; i < 8; i++) {
            assert_int_equal(pair.done_rc[i], FM_OK);
            assert_int_equal(pair.calls[i].status, 200);
            assert_int_equal(pair.calls[i].grpc_status, 14);
            assert_string_equal(pair.calls[i].grpc_message, "later");
            assert_true(fm_slice_equal_text(fm_buf_slice(&pair.calls[i].response), "answer"));
        }
        assert_ok(pair_start(&pair, 3, fm_slice(body, 10))); /* again on the same object */
        pair_settle(&pair);
        assert_int_equal(pair.done_count, 9);
        assert_true(fm_slice_equal_text(fm_buf_slice(&pair.calls[3].response), "answer"));
        pair_close(&pair);
    }
}

static void test_reset_and_free_end_calls(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair, 1000);
    pair.reset = true;
    assert_ok(pair_start(&pair, 0, FM_SLICE("body")));
    pair_settle(&pair);
    assert_int_equal(pair.done_count, 1);
    assert_int_equal(pair.done_rc[0], FM_ECLOSED);
    assert_ok(pair_start(&pair, 1, FM_SLICE("body")));
    assert_ok(pair_start(&pair, 2, FM_SLICE("body")));
    pair.client = h2_client_free(pair.client);
    assert_int_equal(pair.done_count, 3);
    assert_int_equal(pair.done_rc[1], FM_ECANCELLED);
    assert_int_equal(pair.done_rc[2], FM_ECANCELLED);
    pair_close(&pair);
}

static void test_goaway_refuses_new_calls(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair, 1000);
    assert_ok(pair_start(&pair, 0, FM_SLICE("body")));
    pair_settle(&pair);
    h2_shutdown(pair.server);
    assert_ok(h2_drain(pair.server, 0, &pair.to_client));
    assert_ok(h2_client_feed(pair.client, fm_buf_slice(&pair.to_client)));
    assert_true(h2_client_is_closing(pair.client));
    assert_int_equal(h2_client_drain(pair.client, 1000, &pair.to_server), FM_ECLOSED);
    assert_int_equal(pair_start(&pair, 1, FM_SLICE("body")), FM_ECLOSED);
    pair_close(&pair);
}

static void test_no_http2_is_refused(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair, 1000);
    assert_ok(pair_start(&pair, 0, FM_SLICE("body")));
    assert_ok(h2_client_drain(pair.client, 1000, &pair.to_server));
    assert_ok(h2_client_feed(pair.client, FM_SLICE("HTTP/1.1 400 Bad Request\r\n\r\n")));
    assert_int_equal(h2_client_drain(pair.client, 1000, &pair.to_server), FM_ECLOSED);
    pair_close(&pair);
    assert_int_equal(pair.done_rc[0], FM_ECANCELLED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls_at_once),
        cmocka_unit_test(test_reset_and_free_end_calls),
        cmocka_unit_test(test_goaway_refuses_new_calls),
        cmocka_unit_test(test_no_http2_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
