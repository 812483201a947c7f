/* SPDX-License-Identifier: Apache-2.0 */
/* The tools' byte stream against the daemon's own server, on one loop. */
#include "../../support/test.h"

#include <unistd.h>

#include "fermata/net_stream.h"
#include "fermata/uv.h"

#define STREAM_BODY_BYTES FM_MIB(4) /* more than a socket takes at once */
#define TLS_FILE(name)    "tests/golden/tls/" name

struct exchange {
    struct platform *platform;
    struct net_budget budget;
    struct net_server *server;
    struct net_stream *stream;
    struct net_endpoint endpoint;
    uint8_t *body;
    char head[128];
    size_t answered_bytes, request_bytes;
    unsigned opened, written, ended;
    int end_rc;
    bool free_in_open, free_in_data;
    const struct net_stream_tls_options *tls; /* NULL: plain */
    const char *client_ca_file;               /* of the server */
    struct pf_timer ending;
};

static void exchange_stop(struct exchange *exchange)
{
    exchange->stream = net_stream_free(exchange->stream);
    pf_timer_start(exchange->platform, &exchange->ending, 0);
}

static void exchange_on_closed(void *self)
{
    struct exchange *exchange = self;
    uv_platform_stop(exchange->platform);
}

static void exchange_on_ending(struct pf_timer *timer)
{
    struct exchange *exchange = FM_CONTAINER(timer, struct exchange, ending);
    if (exchange->server)
        net_server_close(exchange->server, 0, exchange_on_closed, exchange);
    else
        uv_platform_stop(exchange->platform);
}

static void exchange_on_request(void *self, struct net_request *request)
{
    struct exchange *exchange = self;
    const struct net_response response = {.status = 200, .body = FM_SLICE("thanks"), .close = true};
    exchange->request_bytes = net_request_view(request)->body.len;
    net_respond(request, &response);
}

static void exchange_on_open(void *self)
{
    struct exchange *exchange = self;
    exchange->opened++;
    if (exchange->free_in_open) {
        exchange_stop(exchange);
        return;
    }
    const struct fm_slice slices[] = {fm_slice_text(exchange->head),
                                      fm_slice(exchange->body, STREAM_BODY_BYTES)};
    net_stream_write(exchange->stream, slices, 2);
    assert_int_equal(exchange->written, 0); /* never from within */
}

static void exchange_on_data(void *self, struct fm_slice data)
{
    struct exchange *exchange = self;
    exchange->answered_bytes += data.len;
    if (exchange->free_in_data)
        exchange_stop(exchange);
}

static void exchange_on_written(void *self)
{
    struct exchange *exchange = self;
    exchange->written++;
}

static void exchange_on_end(void *self, int rc, const char *text)
{
    struct exchange *exchange = self;
    assert_non_null(text);
    exchange->ended++;
    exchange->end_rc = rc;
    exchange_stop(exchange);
}

static const struct net_stream_events events = {exchange_on_open, exchange_on_data,
                                                exchange_on_written, exchange_on_end};

static void exchange_run(struct exchange *exchange, const char *listen, const char *connect)
{
    struct fm_why why;
    char text[160];
    struct net_server_options options = {
        .name = "test",
        .endpoint = listen,
        .limits = http_limits_default,
        .connection_max = 8,
        .head_timeout_ns = UINT64_C(5000000000),
        .body_timeout_ns = UINT64_C(5000000000),
        .idle_timeout_ns = UINT64_C(5000000000),
        .budget = &exchange->budget,
        .on_request = exchange_on_request,
        .self = exchange,
    };
    struct net_stream_tls *tls = NULL;
    if (exchange->tls) {
        options.tls_cert_file = TLS_FILE("server.pem");
        options.tls_key_file = TLS_FILE("server.key");
        options.tls_client_ca_file = exchange->client_ca_file;
        assert_ok(net_stream_tls_new(&tls, exchange->tls, &why));
    }
    exchange->budget.bytes_max = FM_MIB(64);
    exchange->ending.fire = exchange_on_ending;
    exchange->body = calloc(1, STREAM_BODY_BYTES);
    (void)snprintf(exchange->head, sizeof exchange->head,
                   "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %zu\r\n\r\n", STREAM_BODY_BYTES);
    assert_ok(uv_platform_new(&exchange->platform, 1, 1));
    if (listen)
        assert_ok(net_server_open(&exchange->server, exchange->platform, &options, &why));
    unsigned port = exchange->server ? net_server_port(exchange->server) : 1;
    bool is_unix = strncmp(connect, "unix:", 5) == 0;
    (void)snprintf(text, sizeof text, is_unix ? "%s" : "%s:%u", connect, port);
    assert_ok(net_endpoint_parse(text, &exchange->endpoint, &why));
    assert_ok(tls ? net_stream_open_tls(&exchange->stream, exchange->platform, &exchange->endpoint,
                                        tls, &events, exchange)
                  : net_stream_open(&exchange->stream, exchange->platform, &exchange->endpoint,
                                    &events, exchange));
    net_stream_tls_free(tls);
    uv_platform_run(exchange->platform);
    uv_platform_free(exchange->platform);
    free(exchange->body);
}

static void test_large_write_and_end(void **state)
{
    (void)state;
    static const char *const hosts[] = {"127.0.0.1", "localhost"};
    for (size_t i = 0; i < FM_COUNT(hosts); i++) {
        struct exchange exchange = {0};
        exchange_run(&exchange, "127.0.0.1:0", hosts[i]);
        assert_int_equal(exchange.opened, 1);
        assert_int_equal(exchange.written, 1);
        assert_int_equal(exchange.request_bytes, STREAM_BODY_BYTES);
        assert_true(exchange.answered_bytes > 0);
        assert_int_equal(exchange.ended, 1);
        assert_int_equal(exchange.end_rc, FM_ECLOSED);
    }
}

static void test_unix_socket(void **state)
{
    (void)state;
    struct exchange exchange = {0};
    char path[] = "/tmp/test_stream.XXXXXX", endpoint[64];
    assert_non_null(mkdtemp(path));
    (void)snprintf(endpoint, sizeof endpoint, "unix:%s/s", path);
    exchange_run(&exchange, endpoint, endpoint);
    assert_int_equal(exchange.request_bytes, STREAM_BODY_BYTES);
    (void)snprintf(endpoint, sizeof endpoint, "%s/s", path);
    (void)unlink(endpoint);
    assert_int_equal(rmdir(path), 0);
}

static void test_freed_from_its_own_events(void **state)
{
    (void)state;
    struct exchange in_open = {.free_in_open = true}, in_data = {.free_in_data = true};
    exchange_run(&in_open, "127.0.0.1:0", "127.0.0.1");
    assert_int_equal(in_open.opened, 1);
    assert_int_equal(in_open.ended, 0);
    exchange_run(&in_data, "127.0.0.1:0", "127.0.0.1");
    assert_true(in_data.answered_bytes > 0);
    assert_int_equal(in_data.ended, 0);
}

static void test_nobody_there(void **state)
{
    (void)state;
    struct exchange refused = {0}, unknown = {0};
    exchange_run(&refused, NULL, "127.0.0.1");
    assert_int_equal(refused.opened, 0);
    assert_int_equal(refused.end_rc, FM_EUNAVAILABLE);
    exchange_run(&unknown, NULL, "host.invalid");
    assert_int_equal(unknown.end_rc, FM_EUNAVAILABLE);
}

static void test_tls(void **state)
{
    (void)state;
    const struct net_stream_tls_options trusted = {.ca_file = TLS_FILE("ca.pem"),
                                                   .server_name = "localhost"};
    struct exchange whole = {.tls = &trusted}, in_open = {.tls = &trusted, .free_in_open = true},
                    in_data = {.tls = &trusted, .free_in_data = true};
    exchange_run(&whole, "127.0.0.1:0", "localhost");
    assert_int_equal(whole.opened, 1);
    assert_int_equal(whole.written, 1);
    assert_int_equal(whole.request_bytes, STREAM_BODY_BYTES);
    assert_true(whole.answered_bytes > 0);
    assert_int_equal(whole.end_rc, FM_ECLOSED);
    exchange_run(&in_open, "127.0.0.1:0", "127.0.0.1");
    assert_int_equal(in_open.ended, 0);
    exchange_run(&in_data, "127.0.0.1:0", "127.0.0.1");
    assert_true(in_data.answered_bytes > 0);
}

static void test_tls_refused(void **state)
{
    (void)state;
    const struct net_stream_tls_options other_name = {.ca_file = TLS_FILE("ca.pem"),
                                                      .server_name = "elsewhere.example"},
                                        stranger = {.ca_file = TLS_FILE("other.pem"),
                                                    .server_name = "localhost"};
    struct exchange named = {.tls = &other_name}, unknown = {.tls = &stranger};
    exchange_run(&named, "127.0.0.1:0", "127.0.0.1");
    assert_int_equal(named.opened, 0);
    assert_int_equal(named.end_rc, FM_EUNAVAILABLE);
    exchange_run(&unknown, "127.0.0.1:0", "127.0.0.1");
    assert_int_equal(unknown.opened, 0);
    assert_int_equal(unknown.end_rc, FM_EUNAVAILABLE);
}

static void test_tls_client_certificate(void **state)
{
    (void)state;
    const struct net_stream_tls_options without = {.ca_file = TLS_FILE("ca.pem"),
                                                   .server_name = "localhost"},
                                        with = {.ca_file = TLS_FILE("ca.pem"),
                                                .cert_file = TLS_FILE("client.pem"),
                                                .key_file = TLS_FILE("client.key"),
                                                .server_name = "localhost"};
    struct exchange refused = {.tls = &without, .client_ca_file = TLS_FILE("ca.pem")},
                    taken = {.tls = &with, .client_ca_file = TLS_FILE("ca.pem")};
    exchange_run(&refused, "127.0.0.1:0", "127.0.0.1");
    assert_int_equal(refused.request_bytes, 0);
    assert_int_equal(refused.ended, 1);
    exchange_run(&taken, "127.0.0.1:0", "127.0.0.1");
    assert_int_equal(taken.request_bytes, STREAM_BODY_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large_write_and_end),
        cmocka_unit_test(test_unix_socket),
        cmocka_unit_test(test_freed_from_its_own_events),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_tls),
        cmocka_unit_test(test_tls_refused),
        cmocka_unit_test(test_tls_client_certificate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
