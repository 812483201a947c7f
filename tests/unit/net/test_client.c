/* SPDX-License-Identifier: Apache-2.0 */
/* The client on its own loop, against our server on another and against scripted peers. */
#include "fixture.h"

/* One call, run to its end on a loop of this thread. */
struct run {
    struct platform *platform;
    struct net_client *client;
    struct net_call call;
    struct fm_slice body;
    size_t left; /* calls still to make */
    int rc;
    int status;
    unsigned done;
    struct fm_buf response;
    bool keep_client; /* do not free it in done */
    bool cancel;      /* free it right after the start */
};

static void run_done(struct net_call *call, int rc)
{
    struct run *run = call->self;

    run->done++;
    run->rc = rc;
    run->status = call->status;
    fm_buf_reset(&run->response);
    fm_buf_put_slice(&run->response, call->response_body);
    if (rc == FM_OK)
        assert_true(call->response_header_count <= 100);
    if (--run->left) {
        net_call_start(run->client, call);
        return;
    }
    if (!run->keep_client)
        run->client = net_client_free(run->client);
    uv_platform_stop(run->platform);
}

static struct net_client_options client_options(uint16_t port)
{
    return (struct net_client_options){
        .host = "127.0.0.1",
        .port = port,
        .connect_timeout_ns = 3000 * MS,
        .stall_timeout_ns = 3000 * MS,
    };
}

static void run_init(struct run *run, const char *method, const char *target, struct fm_slice body)
{
    *run = (struct run){.body = body, .left = 1};
    fm_buf_init(&run->response, FM_MIB(64));
    run->call = (struct net_call){
        .method = method,
        .host = FM_SLICE("test"),
        .target = fm_slice_text(target),
        .body_length = body.len,
        .response_bytes_max = FM_MIB(16),
        .done = run_done,
    };
}

static void run_all(struct run *run, const struct net_client_options *options)
{
    struct fm_why why;

    run->call.self = run;
    run->call.body = fm_source_memory(&run->body);
    assert_ok(uv_platform_new(&run->platform, 1, 1));
    int rc = net_client_new(&run->client, run->platform, options, &why);
    if (rc < 0)
        print_error("%s\n", why.text);
    assert_ok(rc);
    net_call_start(run->client, &run->call);
    assert_int_equal(run->done, 0); /* never from within the start */
    if (run->cancel)
        run->client = net_client_free(run->client);
    uv_platform_run(run->platform);
    uv_platform_free(run->platform);
}

static void run_fini(struct run *run)
{
    fm_buf_fini(&run->response);
}

/* ---- against our own server ---- */

static void test_calls_on_one_connection(void **state)
{
    (void)state;
    static uint8_t bytes[3000000];
    static const size_t sizes[] = {0, 1, 262144, 262145, 3000000};
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_start(&fixture);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7);
    for (size_t i = 0; i < FM_COUNT(sizes); i++) {
        for (int expects = 0; expects < 2; expects++) {
            struct net_client_options options = client_options(fixture.port);
            struct run run;
            run_init(&run, "PUT", "/echo", fm_slice(bytes, sizes[i]));
            run.left = 5;
            run.call.expect_continue = expects;
            run_all(&run, &options);
            assert_int_equal(run.rc, FM_OK);
            assert_int_equal(run.done, 5);
            assert_int_equal(run.status, 200);
            assert_int_equal(run.call.body_sent, sizes[i]);
            assert_true(fm_slice_equal(fm_buf_slice(&run.response), fm_slice(bytes, sizes[i])));
            run_fini(&run);
        }
    }
    assert_int_equal(net_server_metrics(fixture.server)->connections_total, 2 * FM_COUNT(sizes));
    fixture_stop(&fixture);
}

static void test_early_refusal_is_delivered(void **state)
{
    (void)state;
    static uint8_t bytes[8000000];
    struct fixture fixture;
    fixture_init(&fixture);
    fixture.options.limits.body_bytes_max = 1000;
    fixture_start(&fixture);
    for (int expects = 0; expects < 2; expects++) {
        struct net_client_options options = client_options(fixture.port);
        struct run run;
        run_init(&run, "PUT", "/echo", fm_slice(bytes, sizeof bytes));
        run.left = 2;
        run.call.expect_continue = expects;
        run_all(&run, &options);
        assert_int_equal(run.rc, FM_OK);
        assert_int_equal(run.status, 413);
        assert_true(run.call.body_sent < sizeof bytes);
        if (expects)
            assert_int_equal(run.call.body_sent, 0);
        run_fini(&run);
    }
    fixture_stop(&fixture);
}

static void test_head_and_response_limit(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_start(&fixture);
    struct net_client_options options = client_options(fixture.port);
    struct run run;
    run_init(&run, "HEAD", "/big", FM_SLICE(""));
    run.left = 2;
    run_all(&run, &options);
    assert_int_equal(run.status, 200);
    assert_int_equal(run.response.len, 0);
    run_fini(&run);
    run_init(&run, "GET", "/big", FM_SLICE(""));
    run.call.response_bytes_max = 1000;
    run_all(&run, &options);
    assert_int_equal(run.rc, FM_OK);
    assert_int_equal(run.response.len, 1000);
    run_fini(&run);
    fixture_stop(&fixture);
}

static void test_rate_limit(void **state)
{
    (void)state;
    static uint8_t bytes[50000];
    struct timeval before, after;
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_start(&fixture);
    struct net_client_options options = client_options(fixture.port);
    struct run run;
    run_init(&run, "PUT", "/echo", fm_slice(bytes, sizeof bytes));
    run.call.rate_bytes_per_s = 100000;
    gettimeofday(&before, NULL);
    run_all(&run, &options);
    gettimeofday(&after, NULL);
    long ms = (after.tv_sec - before.tv_sec) * 1000 + (after.tv_usec - before.tv_usec) / 1000;
    assert_int_equal(run.rc, FM_OK);
    assert_true(ms >= 350 && ms < 3000);
    run_fini(&run);
    fixture_stop(&fixture);
}

struct meter { /* grants a little at a time, and makes the caller wait in between */
    struct net_pacer pacer;
    uint64_t granted, moved;
    unsigned refusals;
    bool may_send;
};

static size_t meter_grant(struct net_pacer *pacer, size_t want, uint64_t *ret_wait_ns)
{
    struct meter *meter = FM_CONTAINER(pacer, struct meter, pacer);
    meter->may_send = !meter->may_send;
    if (!meter->may_send) {
        meter->refusals++;
        *ret_wait_ns = 1000000;
        return 0;
    }
    size_t piece = FM_MIN(want, 3000u);
    meter->granted += piece;
    return piece;
}

static void meter_moved(struct net_pacer *pacer, uint64_t bytes)
{
    FM_CONTAINER(pacer, struct meter, pacer)->moved += bytes;
}

static void test_a_pacer_is_asked_for_every_piece(void **state)
{
    (void)state;
    static uint8_t bytes[50000];
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_start(&fixture);
    struct net_client_options options = client_options(fixture.port);
    struct meter meter = {.pacer = {.grant = meter_grant, .moved = meter_moved}};
    struct run run;
    run_init(&run, "PUT", "/echo", fm_slice(bytes, sizeof bytes));
    run.call.pacer = &meter.pacer;
    run_all(&run, &options);
    assert_int_equal(run.rc, FM_OK);
    assert_int_equal(run.response.len, sizeof bytes);
    assert_int_equal(meter.granted, sizeof bytes);
    assert_true(meter.refusals >= sizeof bytes / 3000);
    /* There and back again, with heads. */
    assert_true(meter.moved > 2 * sizeof bytes && meter.moved < 2 * sizeof bytes + 2000);
    run_fini(&run);
    fixture_stop(&fixture);
}

static void test_an_interface_that_is_not_there(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_start(&fixture);
    struct net_client_options options = client_options(fixture.port);
    options.interface = "nosuch0";
    struct run run;
    run_init(&run, "GET", "/small", FM_SLICE(""));
    run_all(&run, &options);
    assert_int_equal(run.rc, FM_EUNAVAILABLE);
    assert_non_null(strstr(run.call.why.text, "nosuch0"));
    run_fini(&run);
    options.interface = "a name that no interface has";
    struct net_client *client;
    assert_int_equal(net_client_new(&client, fixture.platform, &options, NULL), FM_ECONFIG);
    fixture_stop(&fixture);
}

static void test_cancel_in_every_state(void **state)
{
    (void)state;
    static uint8_t bytes[1000000];
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_start(&fixture);
    struct net_client_options options = client_options(fixture.port);
    struct run run;
    run_init(&run, "PUT", "/echo", fm_slice(bytes, sizeof bytes));
    run.cancel = true;
    run_all(&run, &options);
    assert_int_equal(run.done, 1);
    assert_int_equal(run.rc, FM_ECANCELLED);
    run_fini(&run);
    fixture_stop(&fixture);
}

/* ---- against scripts ---- */

struct script {             /* what the peer does with each connection it accepts */
    const char *answers[4]; /* NULL: hang up at once; "": say nothing */
    size_t count;
    bool reads_first;
    int listener;
    uint16_t port;
    pthread_t thread;
    _Atomic unsigned accepted;
};

static void *script_thread(void *self)
{
    struct script *script = self;
    int kept[4] = {-1, -1, -1, -1};
    for (size_t i = 0; i < script->count; i++) {
        char request[4096];
        int fd = accept(script->listener, NULL, NULL);
        if (fd < 0)
            break;
        script->accepted++;
        if (script->reads_first && recv(fd, request, sizeof request, 0) <= 0) {
            close(fd);
            continue;
        }
        if (script->answers[i])
            (void)send_bytes(fd, fm_slice_text(script->answers[i]));
        if (script->answers[i] && !script->answers[i][0])
            kept[i] = fd; /* stays open and silent */
        else
            usleep(20000), close(fd);
    }
    for (size_t i = 0; i < 4; i++) {
        char rest[4096];
        if (kept[i] < 0)
            continue;
        while (recv(kept[i], rest, sizeof rest, 0) > 0) {
        }
        close(kept[i]);
    }
    return NULL;
}

static void script_start(struct script *script)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    script->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(script->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(script->listener, 10), 0);
    getsockname(script->listener, (struct sockaddr *)&address, &len);
    script->port = ntohs(address.sin_port);
    script->reads_first = true;
    assert_int_equal(pthread_create(&script->thread, NULL, script_thread, script), 0);
}

static void script_stop(struct script *script)
{
    shutdown(script->listener, SHUT_RDWR);
    pthread_join(script->thread, NULL);
    close(script->listener);
}

static void test_scripted_peers(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        int rc, status;
        const char *body;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", FM_OK, 200, "ok"},
        {"HTTP/1.0 200 OK\r\n\r\nto the end", FM_OK, 200, "to the end"},
        {"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 204 No\r\n\r\n", FM_OK, 204, ""},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", FM_OK, 200,
         "ok"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", FM_ECLOSED, 200, "ok"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", FM_ECLOSED, 200, "ok"},
        {"SSH-2.0-OpenSSH\r\n", FM_EMALFORMED, 0, ""},
        {"HTTP/1.1 200", FM_ECLOSED, 0, ""},
        {NULL, FM_ECLOSED, 0, ""},
        {"", FM_ETIMEOUT, 0, ""},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct script script = {.answers = {rows[i].answer}, .count = 1};
        struct run run;
        script_start(&script);
        struct net_client_options options = client_options(script.port);
        options.stall_timeout_ns = 300 * MS;
        run_init(&run, "POST", "/x", FM_SLICE("body"));
        run_all(&run, &options);
        if (run.rc != rows[i].rc)
            print_error("row %zu: %s\n", i, run.call.why.text);
        assert_int_equal(run.rc, rows[i].rc);
        assert_int_equal(run.status, rows[i].status);
        assert_true(fm_slice_equal_text(fm_buf_slice(&run.response), rows[i].body));
        assert_int_equal(script.accepted, 1);
        run_fini(&run);
        script_stop(&script);
    }
}

/* The server hangs up a kept connection just when it is used again. */
static void test_dead_kept_connection_is_replaced_once(void **state)
{
    (void)state;
    static const struct {
        const char *method;
        int rc;
        unsigned accepted;
    } rows[] = {{"PUT", FM_OK, 2}, {"POST", FM_ECLOSED, 1}};
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct script script = {
            .answers = {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
            .count = 2,
        };
        struct run run;
        script_start(&script); /* answers one request, then closes: the second call meets that */
        struct net_client_options options = client_options(script.port);
        run_init(&run, rows[i].method, "/x", FM_SLICE(""));
        run.left = 2;
        run_all(&run, &options);
        assert_int_equal(run.rc, rows[i].rc);
        assert_int_equal(run.done, 2);
        assert_int_equal(script.accepted, rows[i].accepted);
        run_fini(&run);
        script_stop(&script);
    }
}

static void test_silence_instead_of_continue(void **state)
{
    (void)state;
    struct script script = {.answers = {""}, .count = 1};
    struct run run;
    script_start(&script);
    struct net_client_options options = client_options(script.port);
    options.stall_timeout_ns = 1500 * MS;
    run_init(&run, "PUT", "/x", FM_SLICE("body"));
    run.call.expect_continue = true;
    run_all(&run, &options);
    assert_int_equal(run.rc, FM_ETIMEOUT);
    assert_int_equal(run.call.body_sent, 4); /* sent after a second without a word */
    run_fini(&run);
    script_stop(&script);
}

static void test_nobody_there(void **state)
{
    (void)state;
    struct script script = {.count = 0};
    script_start(&script);
    script_stop(&script); /* the port is free again */
    struct net_client_options options = client_options(script.port);
    struct run run;
    run_init(&run, "GET", "/", FM_SLICE(""));
    run_all(&run, &options);
    assert_int_equal(run.rc, FM_EUNAVAILABLE);
    assert_non_null(strstr(run.call.why.text, "connect"));
    run_fini(&run);

    options.host = "no-such-name.invalid";
    run_init(&run, "GET", "/", FM_SLICE(""));
    run_all(&run, &options);
    assert_true(run.rc == FM_EUNAVAILABLE || run.rc == FM_ETIMEOUT);
    run_fini(&run);
}

/* ---- TLS ---- */

#define TLS_FILE(name) "tests/golden/tls/" name

static int tls_call(uint16_t port, const char *ca_file, const char *name, struct fm_slice body,
                    size_t calls)
{
    struct net_client_options options = client_options(port);
    struct run run;
    options.tls = true;
    options.tls_ca_file = ca_file;
    options.tls_server_name = name;
    run_init(&run, "PUT", "/echo", body);
    run.left = calls;
    run_all(&run, &options);
    int rc = run.rc;
    if (rc == FM_OK) {
        assert_int_equal(run.status, 200);
        assert_true(fm_slice_equal(fm_buf_slice(&run.response), body));
    }
    run_fini(&run);
    return rc;
}

static void test_tls(void **state)
{
    (void)state;
    static uint8_t bytes[700000];
    struct fixture fixture;
    fixture_init(&fixture);
    fixture.options.tls_cert_file = TLS_FILE("server.pem");
    fixture.options.tls_key_file = TLS_FILE("server.key");
    fixture_start(&fixture);
    struct fm_slice body = fm_slice(bytes, sizeof bytes);
    assert_int_equal(tls_call(fixture.port, TLS_FILE("ca.pem"), "localhost", body, 3), FM_OK);
    assert_int_equal(tls_call(fixture.port, TLS_FILE("ca.pem"), "other.host", body, 1), FM_EDENIED);
    assert_int_equal(tls_call(fixture.port, TLS_FILE("other.pem"), "localhost", body, 1),
                     FM_EDENIED);
    int fd = dial(fixture.port); /* plain text to a TLS port */
    send_text(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(peer_closed(fd));
    close(fd);
    fd = dial(fixture.port); /* garbage that looks like TLS */
    send_text(fd, "\x16\x03\x01\x02\x05garbage garbage garbage garbage");
    close(fd);

    struct net_client_options options = client_options(fixture.port);
    struct run run;
    run_init(&run, "GET", "/stop", FM_SLICE(""));
    options.tls = true;
    options.tls_ca_file = TLS_FILE("ca.pem");
    options.tls_server_name = "localhost";
    run_all(&run, &options);
    assert_int_equal(run.status, 200);
    run_fini(&run);
    pthread_join(fixture.thread, NULL);
    assert_int_equal(metric_get(&fixture.budget.bytes_used), 0);
}

static void test_client_certificate_is_demanded(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    fixture.options.tls_cert_file = TLS_FILE("server.pem");
    fixture.options.tls_key_file = TLS_FILE("server.key");
    fixture.options.tls_client_ca_file = TLS_FILE("ca.pem");
    fixture.options.endpoint = "127.0.0.1:0";
    fixture_start(&fixture);
    int rc = tls_call(fixture.port, TLS_FILE("ca.pem"), "localhost", FM_SLICE("x"), 1);
    assert_true(rc < 0);
    assert_int_equal(fixture.requests, 0);
    const metric *failures = &net_server_metrics(fixture.server)->tls_failures_total;
    for (int i = 0; i < 1000 && !metric_get(failures); i++)
        usleep(1000);
    assert_int_equal(metric_get(failures), 1);
    sem_post(&fixture.looked);
    /* Nobody without a certificate can ask it to stop: from its own loop, then. */
    char command[512];
    (void)snprintf(command, sizeof command,
                   "curl -s --max-time 5 --cacert %s --cert %s --key %s "
                   "https://localhost:%u/stop >/dev/null 2>&1",
                   TLS_FILE("ca.pem"), TLS_FILE("client.pem"), TLS_FILE("client.key"),
                   fixture.port);
    if (system(command) != 0)
        skip(); /* no curl here */
    pthread_join(fixture.thread, NULL);
}

static void test_tls_configuration_that_cannot_work(void **state)
{
    (void)state;
    static const struct {
        const char *cert, *key, *ca;
        const char *why;
    } rows[] = {
        {TLS_FILE("server.pem"), NULL, NULL, "key"},
        {TLS_FILE("none.pem"), TLS_FILE("server.key"), NULL, "none.pem"},
        {TLS_FILE("server.pem"), TLS_FILE("other.key"), NULL, "does not belong"},
        {TLS_FILE("server.pem"), TLS_FILE("server.key"), TLS_FILE("server.key"), "server.key"},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct fixture fixture;
        fixture_init(&fixture);
        fixture.options.tls_cert_file = rows[i].cert;
        fixture.options.tls_key_file = rows[i].key;
        fixture.options.tls_client_ca_file = rows[i].ca;
        assert_int_equal(pthread_create(&fixture.thread, NULL, fixture_thread, &fixture), 0);
        pthread_join(fixture.thread, NULL);
        assert_int_equal(fixture.rc, FM_ECONFIG);
        assert_non_null(strstr(fixture.why.text, rows[i].why));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls_on_one_connection),
        cmocka_unit_test(test_early_refusal_is_delivered),
        cmocka_unit_test(test_head_and_response_limit),
        cmocka_unit_test(test_rate_limit),
        cmocka_unit_test(test_a_pacer_is_asked_for_every_piece),
        cmocka_unit_test(test_an_interface_that_is_not_there),
        cmocka_unit_test(test_cancel_in_every_state),
        cmocka_unit_test(test_scripted_peers),
        cmocka_unit_test(test_dead_kept_connection_is_replaced_once),
        cmocka_unit_test(test_silence_instead_of_continue),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_tls),
        cmocka_unit_test(test_client_certificate_is_demanded),
        cmocka_unit_test(test_tls_configuration_that_cannot_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
