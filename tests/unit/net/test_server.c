/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

static int open_and_send(struct fixture *fixture, const char *text)
{
    int fd = dial(fixture->port);
    send_text(fd, text);
    return fd;
}

/* ---- ordinary exchanges ---- */

static void test_keep_alive_and_bodies(void **state)
{
    (void)state;
    struct fixture fixture;
    static const size_t sizes[] = {0, 1, 100, 4096, 70000, 250000, 3000000};
    fixture_init(&fixture);
    fixture_start(&fixture);
    int fd = dial(fixture.port);
    for (size_t i = 0; i < 5 * FM_COUNT(sizes); i++) {
        size_t size = sizes[i % FM_COUNT(sizes)];
        struct fm_buf request;
        fm_buf_init(&request, FM_MIB(8));
        fm_buf_printf(&request, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n",
                      size);
        for (size_t n = 0; n < size; n++)
            fm_buf_put_u8(&request, (uint8_t)(n * 31 + i));
        assert_true(send_bytes(fd, fm_buf_slice(&request)));
        struct answer answer = read_answer(fd);
        assert_int_equal(answer.status, 200);
        assert_int_equal(answer.body.len, size);
        if (size)
            assert_memory_equal(answer.body.ptr, request.ptr + request.len - size, size);
        fm_buf_fini(&answer.body);
        fm_buf_fini(&request);
    }
    close(fd);
    assert_int_equal(net_server_metrics(fixture.server)->connections_total, 1);
    fixture_stop(&fixture);
}

static void test_pipelined_in_order(void **state)
{
    (void)state;
    struct fixture fixture;
    struct fm_buf text;
    fixture_init(&fixture);
    fixture_start(&fixture);
    fm_buf_init(&text, FM_MIB(64));
    for (int i = 0; i < 2000; i++)
        fm_buf_printf(&text, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n%04d", i);
    int fd = dial(fixture.port);
    assert_true(send_bytes(fd, fm_buf_slice(&text)));
    for (int i = 0; i < 2000; i++) {
        struct answer answer = read_answer(fd);
        char expected[16];
        (void)snprintf(expected, sizeof expected, "%04d", i);
        assert_true(fm_slice_equal_text(fm_buf_slice(&answer.body), expected));
        fm_buf_fini(&answer.body);
    }
    /* One that is answered later holds up those behind it. */
    send_text(fd, GET("/hold") GET("/echo"));
    wait_for(&fixture.held_now, 1);
    int other = open_and_send(&fixture, GET("/release"));
    assert_int_equal(read_status(other), 200);
    struct answer first = read_answer(fd);
    assert_true(fm_slice_equal_text(fm_buf_slice(&first.body), "released"));
    assert_int_equal(read_status(fd), 200);
    fm_buf_fini(&first.body);
    close(other);
    close(fd);
    fm_buf_fini(&text);
    fixture_stop(&fixture);
}

static void test_chunked_and_trickled(void **state)
{
    (void)state;
    struct fixture fixture;
    static const char text[] = "POST /echo HTTP/1.1\r\nHost: a\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n"
                               "3\r\nabc\r\n1;x=y\r\nd\r\n0\r\nT: v\r\n\r\n";
    fixture_init(&fixture);
    fixture_start(&fixture);
    int fd = dial(fixture.port);
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof one);
    for (size_t i = 0; i + 1 < sizeof text; i++) {
        assert_true(send_bytes(fd, fm_slice(text + i, 1)));
        if (i % 16 == 0)
            usleep(1000);
    }
    struct answer answer = read_answer(fd);
    assert_true(fm_slice_equal_text(fm_buf_slice(&answer.body), "abcd"));
    fm_buf_fini(&answer.body);
    close(fd);
    fixture_stop(&fixture);
}

static void test_large_chunked_body(void **state)
{
    (void)state;
    struct fixture fixture;
    struct fm_buf request, body;
    fixture_init(&fixture);
    fixture_start(&fixture);
    fm_buf_init(&request, FM_MIB(16));
    fm_buf_init(&body, FM_MIB(16));
    fm_buf_puts(&request, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (size_t i = 0; i < 60; i++) {
        size_t len = i * i * 37 % 60000 + 1, start = body.len;
        for (size_t n = 0; n < len; n++)
            fm_buf_put_u8(&body, (uint8_t)(n * 13 + i));
        fm_buf_printf(&request, "%zx\r\n", len);
        fm_buf_put(&request, body.ptr + start, len);
        fm_buf_puts(&request, "\r\n");
    }
    fm_buf_puts(&request, "0\r\n\r\n");
    int fd = dial(fixture.port);
    for (int i = 0; i < 5; i++) {
        assert_true(send_bytes(fd, fm_buf_slice(&request)));
        struct answer answer = read_answer(fd);
        assert_true(fm_slice_equal(fm_buf_slice(&answer.body), fm_buf_slice(&body)));
        fm_buf_fini(&answer.body);
    }
    close(fd);
    fm_buf_fini(&request);
    fm_buf_fini(&body);
    fixture_stop(&fixture);
}

/* Ten bodies of 10 MiB are announced, none is sent: others must still be served. */
static void test_announcing_is_not_holding(void **state)
{
    (void)state;
    struct fixture fixture;
    int fds[10];
    fixture_init(&fixture);
    fixture.budget.bytes_max = FM_MIB(8);
    fixture_start(&fixture);
    for (size_t i = 0; i < FM_COUNT(fds); i++)
        fds[i] = open_and_send(&fixture, "POST /echo HTTP/1.1\r\nHost: a\r\n"
                                         "Content-Length: 10485760\r\n\r\nabc");
    usleep(50000);
    int fd =
        open_and_send(&fixture, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    assert_int_equal(read_status(fd), 200);
    close(fd);
    for (size_t i = 0; i < FM_COUNT(fds); i++)
        close(fds[i]);
    fixture_stop(&fixture);
}

static void test_close_and_http_1_0(void **state)
{
    (void)state;
    static const char *const closing[] = {
        GET("/close"),
        "GET /echo HTTP/1.0\r\n\r\n",
        "GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    };
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_start(&fixture);
    for (size_t i = 0; i < FM_COUNT(closing); i++) {
        int fd = open_and_send(&fixture, closing[i]);
        struct answer answer = read_answer(fd);
        assert_int_equal(answer.status, 200);
        assert_true(answer.close);
        assert_true(peer_closed(fd));
        fm_buf_fini(&answer.body);
        close(fd);
    }
    int fd = open_and_send(&fixture, "HEAD /big HTTP/1.1\r\nHost: a\r\n\r\n" GET("/echo"));
    char head[300];
    ssize_t got = recv(fd, head, 30, 0);
    assert_true(got >= 12 && memcmp(head, "HTTP/1.1 200", 12) == 0);
    close(fd);
    fixture_stop(&fixture);
}

static void test_half_closed_peer_gets_its_answer(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_start(&fixture);
    int fd = open_and_send(&fixture, GET("/echo") GET("/hold"));
    shutdown(fd, SHUT_WR);
    assert_int_equal(read_status(fd), 200);
    wait_for(&fixture.held_now, 1);
    int other = open_and_send(&fixture, GET("/release"));
    assert_int_equal(read_status(other), 200);
    assert_int_equal(read_status(fd), 200);
    assert_true(peer_closed(fd));
    close(fd);
    close(other);
    fixture_stop(&fixture);
}

static void test_body_can_be_taken(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_start(&fixture);
    int fd =
        open_and_send(&fixture, "POST /take HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    assert_int_equal(read_status(fd), 200);
    assert_true(fm_slice_equal_text(fm_buf_slice(&fixture.taken), "abc"));
    close(fd);
    fixture_stop(&fixture);
}

static void test_large_answer_to_a_slow_reader(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_start(&fixture);
    int fd = open_and_send(&fixture, GET("/big") GET("/big") GET("/big") GET("/echo"));
    usleep(50000);
    for (int i = 0; i < 3; i++) {
        struct answer answer = read_answer(fd);
        assert_int_equal(answer.body.len, 4 << 20);
        fm_buf_fini(&answer.body);
    }
    assert_int_equal(read_status(fd), 200);
    close(fd);
    fixture_stop(&fixture);
}

/* ---- refusals ---- */

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int status;
    } rows[] = {
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
         "Transfer-Encoding: chunked\r\n\r\n",
         400},
        {"POST /a/../b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"nonsense\r\n\r\n", 400},
        {"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
        {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", 413},
        {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n"
         "Expect: 100-continue\r\n\r\n",
         413},
    };
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_start(&fixture);
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        int fd = open_and_send(&fixture, rows[i].text);
        assert_int_equal(read_status(fd), rows[i].status);
        close(fd);
    }
    assert_int_equal(fixture.requests, 0);
    fixture_stop(&fixture);
}

/* The peer is in the middle of a large body when the answer comes; it must not be reset away. */
static void test_refusal_survives_an_unread_body(void **state)
{
    (void)state;
    struct fixture fixture;
    static uint8_t filler[1 << 20];
    fixture_init(&fixture);
    fixture.options.limits.body_bytes_max = 1000;
    fixture_start(&fixture);
    int fd = open_and_send(&fixture,
                           "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n");
    for (int i = 0; i < 3; i++)
        (void)send_bytes(fd, fm_slice(filler, sizeof filler));
    assert_int_equal(read_status(fd), 413);
    close(fd);
    fixture_stop(&fixture);
}

static void *budget_worker(void *self)
{
    struct net_budget *budget = self;
    for (int i = 0; i < 200000; i++) {
        if (net_budget_take(budget, 3))
            net_budget_give(budget, 3);
    }
    return NULL;
}

/* Decoding jobs charge on threads of their own. */
static void test_budget_of_many_threads(void **state)
{
    (void)state;
    struct net_budget budget = {.bytes_max = 10};
    pthread_t threads[4];
    for (size_t i = 0; i < FM_COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, budget_worker, &budget), 0);
    for (size_t i = 0; i < FM_COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(metric_get(&budget.bytes_used), 0);
}

static void test_budget(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    fixture.budget.bytes_max = 50000;
    fixture_start(&fixture);
    struct fm_buf body;
    fm_buf_init(&body, FM_MIB(1));
    fm_buf_puts(&body, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 40000\r\n\r\n");
    fm_buf_put_zeros(&body, 40000);

    int holder = dial(fixture.port);
    send_text(holder, "POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n");
    assert_true(send_bytes(holder, fm_slice(body.ptr + body.len - 20000, 20000)));
    wait_for(&fixture.held_now, 1);
    int fd = dial(fixture.port);
    for (int i = 0; i < 3; i++) { /* refused, and the connection lives on */
        assert_true(send_bytes(fd, fm_buf_slice(&body)));
        assert_int_equal(read_status(fd), 503);
    }
    send_text(fd, GET("/release"));
    assert_int_equal(read_status(fd), 200);
    assert_int_equal(read_status(holder), 200);
    assert_true(send_bytes(fd, fm_buf_slice(&body)));
    assert_int_equal(read_status(fd), 200);
    assert_true(metric_get(&fixture.budget.refusals_total) >= 3);
    send_text(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n");
    assert_true(send_bytes(fd, fm_slice(body.ptr + body.len - 40000, 40000)));
    assert_true(send_bytes(fd, fm_slice(body.ptr + body.len - 20000, 20000)));
    assert_int_equal(read_status(fd), 413); /* more than there is: coming again would not help */
    close(fd);
    close(holder);
    fm_buf_fini(&body);
    fixture_stop(&fixture);
}

static void test_expectation(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_start(&fixture);
    int fd = open_and_send(&fixture, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
                                     "Expect: 100-continue\r\n\r\n");
    assert_int_equal(read_status(fd), 100);
    send_text(fd, "ok");
    struct answer answer = read_answer(fd);
    assert_true(fm_slice_equal_text(fm_buf_slice(&answer.body), "ok"));
    fm_buf_fini(&answer.body);
    close(fd);
    fixture_stop(&fixture);
}

static void test_too_many_connections(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    fixture.options.connection_max = 2;
    fixture_start(&fixture);
    int a = open_and_send(&fixture, GET("/echo")), b = open_and_send(&fixture, GET("/echo"));
    assert_int_equal(read_status(a), 200);
    assert_int_equal(read_status(b), 200);
    int c = dial(fixture.port);
    assert_true(peer_closed(c));
    close(a);
    close(c);
    usleep(50000);
    fixture_stop(&fixture);
    close(b);
}

/* ---- time ---- */

static void test_timeouts(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    fixture.options.head_timeout_ns = 100 * MS;
    fixture.options.body_timeout_ns = 150 * MS;
    fixture.options.idle_timeout_ns = 200 * MS;
    fixture_start(&fixture);
    int silent = dial(fixture.port);
    int head = open_and_send(&fixture, "GET / HTT");
    int preface = open_and_send(&fixture, "PRI * HT");
    int body =
        open_and_send(&fixture, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab");
    int idle = open_and_send(&fixture, GET("/echo"));
    int held = open_and_send(&fixture, GET("/hold"));
    int stream = open_and_send(&fixture, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_int_equal(read_status(idle), 200);
    assert_int_equal(read_status(head), 408);
    assert_int_equal(read_status(body), 408);
    assert_true(peer_closed(silent));
    assert_true(peer_closed(preface));
    assert_true(peer_closed(idle));
    /* HEADERS that CONTINUATION should follow: no request yet, but no idle connection either. */
    static const uint8_t half[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                                  "\0\0\0\4\0\0\0\0\0"
                                  "\0\0\1\1\0\0\0\0\1\x82";
    int half_head = dial(fixture.port);
    assert_true(send_bytes(half_head, fm_slice(half, sizeof half - 1)));
    char frames[256];
    ssize_t got = 0;
    while ((got = recv(half_head, frames, sizeof frames, 0)) > 0) {
    }
    assert_int_equal(got, 0);
    while ((got = recv(stream, frames, sizeof frames, 0)) > 0) {
    }
    assert_int_equal(got, 0); /* SETTINGS, GOAWAY, end */
    usleep(300000);
    int other = open_and_send(&fixture, GET("/release")); /* a handler may take its time */
    assert_int_equal(read_status(other), 200);
    assert_int_equal(read_status(held), 200);
    int all[] = {silent, head, preface, body, idle, held, stream, half_head, other};
    for (size_t i = 0; i < FM_COUNT(all); i++)
        close(all[i]);
    fixture_stop(&fixture);
}

static void test_reader_that_does_not_read(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    fixture.options.body_timeout_ns = 200 * MS;
    fixture_start(&fixture);
    int small = 4096;
    int fd = dial(fixture.port);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    send_text(fd, GET("/big") GET("/big") GET("/big"));
    const metric *errors = &net_server_metrics(fixture.server)->protocol_errors_total;
    for (int i = 0; i < 3000 && !metric_get(errors); i++)
        usleep(1000);
    assert_int_equal(metric_get(errors), 1);
    close(fd);
    fixture_stop(&fixture);
}

/* ---- peers that leave ---- */

static void reset_connection(int fd)
{
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
}

static void test_reset_in_every_state(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "GE",
        "PRI * ",
        "GET / HTTP/1.1\r\nHo",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nab",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0",
        GET("/echo"),
        GET("/big"),
        GET("/hold"),
    };
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_start(&fixture);
    for (int way = 0; way < 2; way++) {
        for (size_t i = 0; i < FM_COUNT(texts); i++) {
            int fd = open_and_send(&fixture, texts[i]);
            usleep(20000);
            if (i + 1 == FM_COUNT(texts)) /* else nobody knows that it is gone */
                wait_for(&fixture.held_now, (unsigned)way + 1);
            if (way)
                reset_connection(fd);
            else
                close(fd);
        }
    }
    wait_for(&fixture.gone, 2);
    int fd = open_and_send(&fixture, GET("/release"));
    assert_int_equal(read_status(fd), 200);
    close(fd);
    fixture_stop(&fixture);
}

/* ---- closing the server ---- */

static void test_close_in_every_state(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "GE",
        "PRI * ",
        "GET / HTTP/1.1\r\nHo",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nab",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        GET("/echo"),
        GET("/big") GET("/big") GET("/big"),
        GET("/hold"),
        "GET / HTTP/9.1\r\nHost: a\r\n\r\n",
    };
    for (int grace = 0; grace < 2; grace++) {
        struct fixture fixture;
        int fds[FM_COUNT(texts)];
        fixture_init(&fixture);
        fixture.grace_ns = grace ? 200 * MS : 0;
        fixture_start(&fixture);
        for (size_t i = 0; i < FM_COUNT(texts); i++)
            fds[i] = open_and_send(&fixture, texts[i]);
        wait_for(&fixture.held_now, 1);
        if (grace) { /* its answer must still be given, or the server waits for ever */
            int fd = open_and_send(&fixture, GET("/release"));
            assert_int_equal(read_status(fd), 200);
            close(fd);
        }
        fixture_stop(&fixture);
        for (size_t i = 0; i < FM_COUNT(texts); i++)
            close(fds[i]);
    }
}

static void test_held_request_is_answered_within_grace(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_start(&fixture);
    int held = open_and_send(&fixture, GET("/hold"));
    int other =
        open_and_send(&fixture, "POST /release HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n");
    wait_for(&fixture.held_now, 1);
    usleep(50000); /* the other one's head is read as well by now */
    int stop = open_and_send(&fixture, GET("/stop"));
    assert_int_equal(read_status(stop), 200);
    assert_true(peer_closed(stop));
    send_text(other, "x"); /* begun before the end, so it is still served */
    assert_int_equal(read_status(other), 200);
    struct answer answer = read_answer(held);
    assert_int_equal(answer.status, 200);
    assert_true(answer.close);
    fm_buf_fini(&answer.body);
    close(held);
    close(other);
    close(stop);
    pthread_join(fixture.thread, NULL);
    sem_destroy(&fixture.ready);
}

/* ---- unix sockets ---- */

static void test_unix_socket(void **state)
{
    (void)state;
    char path[64], endpoint[80];
    (void)snprintf(path, sizeof path, "/tmp/fermata-net-%d.sock", (int)getpid());
    (void)snprintf(endpoint, sizeof endpoint, "unix:%s", path);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path));

    int stale = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(stale, (struct sockaddr *)&address, sizeof address), 0);
    close(stale); /* its file stays */

    struct fixture fixture, second;
    fixture_init(&fixture);
    fixture.options.endpoint = endpoint;
    fixture_start(&fixture);
    fixture_init(&second); /* the address is in use now, and stays with its owner */
    second.options.endpoint = endpoint;
    assert_int_equal(pthread_create(&second.thread, NULL, fixture_thread, &second), 0);
    pthread_join(second.thread, NULL);
    assert_int_equal(second.rc, FM_EUNAVAILABLE);

    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    send_text(fd, GET("/echo"));
    assert_int_equal(read_status(fd), 200);
    send_text(fd, GET("/stop"));
    assert_int_equal(read_status(fd), 200);
    close(fd);
    pthread_join(fixture.thread, NULL);
    assert_int_equal(access(path, F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keep_alive_and_bodies),
        cmocka_unit_test(test_pipelined_in_order),
        cmocka_unit_test(test_chunked_and_trickled),
        cmocka_unit_test(test_large_chunked_body),
        cmocka_unit_test(test_announcing_is_not_holding),
        cmocka_unit_test(test_close_and_http_1_0),
        cmocka_unit_test(test_half_closed_peer_gets_its_answer),
        cmocka_unit_test(test_body_can_be_taken),
        cmocka_unit_test(test_large_answer_to_a_slow_reader),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_refusal_survives_an_unread_body),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_budget_of_many_threads),
        cmocka_unit_test(test_expectation),
        cmocka_unit_test(test_too_many_connections),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_reader_that_does_not_read),
        cmocka_unit_test(test_reset_in_every_state),
        cmocka_unit_test(test_close_in_every_state),
        cmocka_unit_test(test_held_request_is_answered_within_grace),
        cmocka_unit_test(test_unix_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
