/* SPDX-License-Identifier: Apache-2.0 */
#include "../../support/test.h"

#include "fermata/h1.h"

/* What a whole input becomes: events as text, "H" + body bytes + "D" per message. */
struct outcome {
    int rc; /* FM_MORE: all was consumed */
    int limit_status;
    size_t heads, dones;
    struct fm_buf body;
    struct fm_buf names; /* of all headers, joined */
};

static struct http_limits limits = {.header_bytes_max = 1024,
                                    .header_count_max = 20,
                                    .target_bytes_max = 256,
                                    .body_bytes_max = 4096};

static void outcome_note_head(struct outcome *outcome, const struct h1_head *head)
{
    outcome->heads++;
    fm_buf_put_slice(&outcome->names, head->method);
    fm_buf_put_slice(&outcome->names, head->target);
    fm_buf_printf(&outcome->names, "%d;", head->status);
    for (size_t i = 0; i < head->header_count; i++) {
        fm_buf_put_slice(&outcome->names, head->headers[i].name);
        fm_buf_puts(&outcome->names, "=");
        fm_buf_put_slice(&outcome->names, head->headers[i].value);
        fm_buf_puts(&outcome->names, ";");
    }
}

static void outcome_feed(struct outcome *outcome, struct h1 *h1, struct fm_slice input)
{
    uint8_t *copy = test_exact_copy(input); /* the parser may keep nothing of it */
    struct fm_slice rest = fm_slice(copy, input.len);

    while (outcome->rc >= 0) {
        enum h1_event event;
        struct fm_slice data;
        size_t used = 0;
        outcome->rc = h1_feed(h1, rest, &used, &event, &data);
        if (outcome->rc < 0)
            break;
        assert_true(used <= rest.len);
        rest = fm_slice(rest.ptr + used, rest.len - used);
        if (outcome->rc == FM_MORE) {
            assert_int_equal(rest.len, 0);
            break;
        }
        if (event == H1_HEAD)
            outcome_note_head(outcome, h1_head(h1));
        else if (event == H1_BODY)
            fm_buf_put_slice(&outcome->body, data);
        else
            outcome->dones++;
    }
    free(copy);
}

/* The input in pieces of the given size, the first one of another. */
static struct outcome outcome_of(struct fm_slice input, size_t first, size_t piece,
                                 enum h1_role role)
{
    struct outcome outcome = {0};
    FM_AUTO(h1) h1 = NULL;

    fm_buf_init(&outcome.body, FM_MIB(1));
    fm_buf_init(&outcome.names, FM_MIB(1));
    assert_ok(h1_new(&h1, role, &limits));
    for (size_t at = 0, take = first; at < input.len && outcome.rc >= 0; at += take, take = piece) {
        take = FM_MIN(take, input.len - at);
        outcome_feed(&outcome, h1, fm_slice(input.ptr + at, take));
    }
    outcome.limit_status = h1_limit_status(h1);
    return outcome;
}

static void outcome_fini(struct outcome *outcome)
{
    fm_buf_fini(&outcome->body);
    fm_buf_fini(&outcome->names);
}

static void expect_same(const struct outcome *a, const struct outcome *b)
{
    assert_int_equal(a->rc, b->rc);
    assert_int_equal(a->heads, b->heads);
    assert_int_equal(a->dones, b->dones);
    assert_true(fm_slice_equal(fm_buf_slice(&a->names), fm_buf_slice(&b->names)));
    if (a->rc >= 0) /* how much of a body is seen before it breaks depends on the pieces */
        assert_true(fm_slice_equal(fm_buf_slice(&a->body), fm_buf_slice(&b->body)));
}

static void trickle(const char *text, enum h1_role role)
{
    struct fm_slice input = fm_slice_text(text);
    struct outcome whole = outcome_of(input, input.len, 1, role);

    for (size_t cut = 1; cut < input.len; cut++) {
        struct outcome halves = outcome_of(input, cut, input.len, role);
        expect_same(&whole, &halves);
        outcome_fini(&halves);
    }
    struct outcome bytes = outcome_of(input, 1, 1, role);
    expect_same(&whole, &bytes);
    outcome_fini(&bytes);
    outcome_fini(&whole);
}

#define REQUEST(text) "POST /v1/traces HTTP/1.1\r\nHost: a\r\n" text

static void test_requests_that_are_fine(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t dones;
        const char *body;
    } rows[] = {
        {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1, ""},
        {"\r\nGET / HTTP/1.1\r\nHost:\r\n\r\n", 1, ""},
        {"GET /a HTTP/1.0\r\n\r\n", 1, ""},
        {REQUEST("Content-Length: 5\r\n\r\nhello"), 1, "hello"},
        {REQUEST("Content-Length: 0\r\n\r\n"), 1, ""},
        {REQUEST("X-Blank: \t \r\nContent-Length:\t5 \r\n\r\nhello"), 1, "hello"},
        {REQUEST("Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), 1, "hello"},
        {REQUEST("transfer-encoding: chunked\r\n\r\n2;a=\"b\"\r\nhe\r\n00000003 ;x\r\nllo\r\n"
                 "0\r\nTrailer: 1\r\nOther: 2\r\n\r\n"),
         1, "hello"},
        {REQUEST("Content-Length: 2\r\n\r\nabGET / HTTP/1.1\r\nHost: b\r\n\r\n"), 2, "ab"},
        {"POST http://h:4318/v1/traces HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx", 1, "x"},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct fm_slice input = fm_slice_text(rows[i].text);
        struct outcome outcome = outcome_of(input, input.len, 1, H1_REQUESTS);
        assert_int_equal(outcome.rc, FM_MORE);
        assert_int_equal(outcome.dones, rows[i].dones);
        assert_true(fm_slice_equal_text(fm_buf_slice(&outcome.body), rows[i].body));
        outcome_fini(&outcome);
        trickle(rows[i].text, H1_REQUESTS);
    }
}

/* What a proxy in front of us might read otherwise, and what is no HTTP at all. */
static void test_requests_that_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
        int status;
    } rows[] = {
        {REQUEST("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"), FM_EMALFORMED, 0},
        {REQUEST("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"), FM_EMALFORMED, 0},
        {REQUEST("Content-Length: 5\r\nContent-Length: 6\r\n\r\n"), FM_EMALFORMED, 0},
        {REQUEST("Content-Length: 5\r\nContent-Length: 5\r\n\r\n"), FM_EMALFORMED, 0},
        {REQUEST("Content-Length: 5, 5\r\n\r\n"), FM_EMALFORMED, 0},
        {REQUEST("Content-Length: +5\r\n\r\n"), FM_EMALFORMED, 0},
        {REQUEST("Content-Length: -1\r\n\r\n"), FM_EMALFORMED, 0},
        {REQUEST("Content-Length: 0x5\r\n\r\n"), FM_EMALFORMED, 0},
        {REQUEST("Content-Length: \r\n\r\n"), FM_EMALFORMED, 0},
        {REQUEST("Content-Length: 99999999999999999999\r\n\r\n"), FM_EMALFORMED, 0},
        {REQUEST("Transfer-Encoding: chunked, chunked\r\n\r\n"), FM_EUNSUPPORTED, 501},
        {REQUEST("Transfer-Encoding: gzip, chunked\r\n\r\n"), FM_EUNSUPPORTED, 501},
        {REQUEST("Transfer-Encoding: identity\r\n\r\n"), FM_EUNSUPPORTED, 501},
        {REQUEST("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"), FM_EMALFORMED,
         0},
        {REQUEST("Transfer-Encoding : chunked\r\n\r\n"), FM_EMALFORMED, 0},
        {REQUEST("Transfer-Encoding:\vchunked\r\n\r\n"), FM_EMALFORMED, 0},
        {REQUEST(" folded\r\n\r\n"), FM_EMALFORMED, 0},
        {REQUEST("A: b\r\n c\r\n\r\n"), FM_EMALFORMED, 0},
        {REQUEST("A: b\n\r\n"), FM_EMALFORMED, 0},
        {REQUEST("A: b\rc: d\r\n\r\n"), FM_EMALFORMED, 0},
        {REQUEST("A: \x01\r\n\r\n"), FM_EMALFORMED, 0},
        {REQUEST("A\x80: b\r\n\r\n"), FM_EMALFORMED, 0},
        {REQUEST(": b\r\n\r\n"), FM_EMALFORMED, 0},
        {REQUEST("no colon\r\n\r\n"), FM_EMALFORMED, 0},
        {REQUEST("Host: b\r\n\r\n"), FM_EMALFORMED, 0},
        {"GET / HTTP/1.1\r\n\r\n", FM_EMALFORMED, 0},
        {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", FM_EMALFORMED, 0},
        {"GET / HTTP/1.1\nHost: a\n\n", FM_EMALFORMED, 0},
        {"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", FM_EMALFORMED, 0},
        {"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", FM_EMALFORMED, 0},
        {"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", FM_EMALFORMED, 0},
        {"GET /\r\n\r\n", FM_EMALFORMED, 0},
        {"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", FM_EMALFORMED, 0},
        {" GET / HTTP/1.1\r\nHost: a\r\n\r\n", FM_EMALFORMED, 0},
        {"\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", FM_EMALFORMED, 0},
        {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", FM_EUNSUPPORTED, 505},
        {"GET / HTTP/0.9\r\nHost: a\r\n\r\n", FM_EUNSUPPORTED, 505},
        {"GET / http/1.1\r\nHost: a\r\n\r\n", FM_EMALFORMED, 0},
        {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", FM_EMALFORMED, 0},
        {REQUEST("Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n"), FM_EMALFORMED, 0},
        {REQUEST("Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n"), FM_EMALFORMED, 0},
        {REQUEST("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n"), FM_EMALFORMED, 0},
        {REQUEST("Transfer-Encoding: chunked\r\n\r\n 5\r\nhello\r\n0\r\n\r\n"), FM_EMALFORMED, 0},
        {REQUEST("Transfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n"), FM_EMALFORMED, 0},
        {REQUEST("Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n"), FM_EMALFORMED, 0},
        {REQUEST("Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n"), FM_EMALFORMED, 0},
        {REQUEST("Transfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello"), FM_EMALFORMED, 0},
        {REQUEST("Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nhello"), FM_ELIMIT, 413},
        {REQUEST("Transfer-Encoding: chunked\r\n\r\n0\r\nbad trailer\r\n\r\n"), FM_EMALFORMED, 0},
        {REQUEST("Content-Length: 4097\r\n\r\n"), FM_ELIMIT, 413},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct fm_slice input = fm_slice_text(rows[i].text);
        struct outcome outcome = outcome_of(input, input.len, 1, H1_REQUESTS);
        if (outcome.rc != rows[i].rc)
            print_error("row %zu\n", i);
        assert_int_equal(outcome.rc, rows[i].rc);
        if (rows[i].status)
            assert_int_equal(outcome.limit_status, rows[i].status);
        outcome_fini(&outcome);
        trickle(rows[i].text, H1_REQUESTS);
    }
}

static int feed_long(const char *head, size_t filler, const char *tail, int *ret_status)
{
    struct fm_buf text;
    fm_buf_init(&text, FM_MIB(1));
    fm_buf_puts(&text, head);
    for (size_t i = 0; i < filler; i++)
        fm_buf_put_u8(&text, 'a');
    fm_buf_puts(&text, tail);
    struct outcome outcome = outcome_of(fm_buf_slice(&text), text.len, 1, H1_REQUESTS);
    struct outcome bytes = outcome_of(fm_buf_slice(&text), 1, 1, H1_REQUESTS);
    expect_same(&outcome, &bytes);
    *ret_status = outcome.limit_status;
    int rc = outcome.rc;
    outcome_fini(&outcome);
    outcome_fini(&bytes);
    fm_buf_fini(&text);
    return rc;
}

static void test_limits(void **state)
{
    (void)state;
    static const char tail[] = " HTTP/1.1\r\nHost: a\r\n\r\n";
    int status = 0;

    assert_int_equal(feed_long("GET /", 255, tail, &status), FM_MORE);
    assert_int_equal(feed_long("GET /", 256, tail, &status), FM_ELIMIT);
    assert_int_equal(status, 414);
    assert_int_equal(feed_long("GET /", 100000, "", &status), FM_ELIMIT);
    assert_int_equal(status, 414);
    assert_int_equal(feed_long("GET / HTTP/1.1\r\nHost: a\r\nA: ", 900, "\r\n\r\n", &status),
                     FM_MORE);
    assert_int_equal(feed_long("GET / HTTP/1.1\r\nHost: a\r\nA: ", 1024, "\r\n\r\n", &status),
                     FM_ELIMIT);
    assert_int_equal(status, 431);
    assert_int_equal(feed_long(REQUEST("Transfer-Encoding: chunked\r\n\r\n1;"), 200, "", &status),
                     FM_ELIMIT);

    struct fm_buf text;
    fm_buf_init(&text, FM_MIB(1));
    fm_buf_puts(&text, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < 20; i++)
        fm_buf_puts(&text, "A:\r\n");
    struct outcome outcome = outcome_of(fm_buf_slice(&text), text.len, 1, H1_REQUESTS);
    assert_int_equal(outcome.rc, FM_ELIMIT);
    assert_int_equal(outcome.limit_status, 431);
    outcome_fini(&outcome);
    fm_buf_fini(&text);
}

static void test_head_says_what_follows(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool keep_alive, expects;
    } rows[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", true, false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n", false, false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: te , close\r\n\r\n", false, false},
        {"GET / HTTP/1.0\r\n\r\n", false, false},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true, false},
        {REQUEST("Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n"), true, true},
        {REQUEST("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"), true, false},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        FM_AUTO(h1) h1 = NULL;
        enum h1_event event;
        struct fm_slice data;
        size_t used;
        assert_ok(h1_new(&h1, H1_REQUESTS, &limits));
        assert_ok(h1_feed(h1, fm_slice_text(rows[i].text), &used, &event, &data));
        assert_int_equal(event, H1_HEAD);
        assert_int_equal(h1_head(h1)->keep_alive, rows[i].keep_alive);
        assert_int_equal(h1_head(h1)->expect_continue, rows[i].expects);
    }
}

static void test_responses(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
        size_t dones;
        const char *body;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", FM_MORE, 1, "ok"},
        {"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", FM_MORE, 1, ""},
        {"HTTP/1.1 204 No Content\r\n\r\n", FM_MORE, 1, ""},
        {"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", FM_MORE, 1, ""},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", FM_MORE, 2,
         "x"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", FM_MORE, 1,
         "x"},
        {"HTTP/1.0 200 OK\r\n\r\nuntil the end", FM_MORE, 0, "until the end"},
        {"HTTP/1.1 20 OK\r\n\r\n", FM_EMALFORMED, 0, ""},
        {"HTTP/1.1 600 Odd\r\n\r\n", FM_EMALFORMED, 0, ""},
        {"HTTP/1.1 101 Switching\r\n\r\n", FM_EMALFORMED, 0, ""},
        {"HTTP/1.1 200OK\r\n\r\n", FM_EMALFORMED, 0, ""},
        {"\r\nHTTP/1.1 200 OK\r\n\r\n", FM_EMALFORMED, 0, ""},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct fm_slice input = fm_slice_text(rows[i].text);
        struct outcome outcome = outcome_of(input, input.len, 1, H1_RESPONSES);
        assert_int_equal(outcome.rc, rows[i].rc);
        assert_int_equal(outcome.dones, rows[i].dones);
        assert_true(fm_slice_equal_text(fm_buf_slice(&outcome.body), rows[i].body));
        outcome_fini(&outcome);
        trickle(rows[i].text, H1_RESPONSES);
    }
}

static void test_end_of_file(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
    } rows[] = {
        {"", FM_OK},
        {"HTTP/1.1 200 OK\r\n\r\nendless", FM_OK},
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", FM_OK},
        {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", FM_ECLOSED},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", FM_ECLOSED},
        {"HTTP/1.1 200", FM_ECLOSED},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct outcome outcome = {0};
        FM_AUTO(h1) h1 = NULL;
        assert_ok(h1_new(&h1, H1_RESPONSES, &limits));
        outcome_feed(&outcome, h1, fm_slice_text(rows[i].text));
        assert_int_equal(h1_feed_end(h1), rows[i].rc);
        outcome_fini(&outcome);
    }
}

/* A body is handed out where it lies: who reads into the final buffer copies nothing. */
static void test_bodies_are_not_copied(void **state)
{
    (void)state;
    FM_AUTO(h1) h1 = NULL;
    enum h1_event event;
    struct fm_slice data, body = FM_SLICE("0123456789");
    size_t used;

    assert_ok(h1_new(&h1, H1_REQUESTS, &limits));
    assert_ok(
        h1_feed(h1, fm_slice_text(REQUEST("Content-Length: 10\r\n\r\n")), &used, &event, &data));
    assert_ok(h1_feed(h1, body, &used, &event, &data));
    assert_int_equal(event, H1_BODY);
    assert_ptr_equal(data.ptr, body.ptr);
    assert_int_equal(used, 10);
    assert_ok(h1_feed(h1, fm_slice(NULL, 0), &used, &event, &data));
    assert_int_equal(event, H1_DONE);
    assert_int_equal(h1_feed(h1, fm_slice(NULL, 0), &used, &event, &data), FM_MORE);
}

static void prefix_is_no_message(void *self, struct fm_slice prefix)
{
    struct outcome outcome = outcome_of(prefix, prefix.len, 1, H1_REQUESTS);
    (void)self;
    assert_int_equal(outcome.dones, 0);
    outcome_fini(&outcome);
}

static void test_prefixes(void **state)
{
    (void)state;
    test_each_prefix(fm_slice_text(REQUEST("Content-Length: 5\r\n\r\nhello")), prefix_is_no_message,
                     NULL);
    test_each_prefix(
        fm_slice_text(REQUEST("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\na: b\r\n\r\n")),
        prefix_is_no_message, NULL);
}

static void test_failing_allocations(void **state)
{
    (void)state;
    struct fm_slice text =
        fm_slice_text(REQUEST("A: b\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"));
    for (uint64_t nth = 1;; nth++) {
        enum h1_event event = H1_HEAD;
        struct fm_slice data, rest = text;
        struct h1 *h1 = NULL;
        size_t used = 0;
        test_alloc_fail_at(nth);
        int rc = h1_new(&h1, H1_REQUESTS, &limits);
        while (rc == FM_OK && (rest.len || event != H1_DONE)) {
            rc = h1_feed(h1, rest, &used, &event, &data);
            rest = fm_slice(rest.ptr + used, rest.len - used);
        }
        bool failed = test_alloc_failed();
        test_alloc_disarm();
        h1_free(h1);
        if (!failed)
            break;
        assert_int_equal(rc, FM_ENOMEM);
    }
}

static void test_writers(void **state)
{
    (void)state;
    const struct http_header headers[] = {
        {FM_SLICE("content-type"), FM_SLICE("text/plain")},
        {FM_SLICE("x-evil"), FM_SLICE("a\r\nSet-Cookie: b")},
    };
    struct fm_buf buf;

    fm_buf_init(&buf, FM_KIB(16));
    h1_put_response(&buf, 503, headers, 2, 7, false);
    assert_true(fm_slice_equal_text(
        fm_buf_slice(&buf), "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\n"
                            "x-evil: a  Set-Cookie: b\r\ncontent-length: 7\r\n"
                            "connection: close\r\n\r\n"));
    fm_buf_reset(&buf);
    h1_put_response(&buf, 204, NULL, 0, 0, true);
    assert_true(fm_slice_equal_text(fm_buf_slice(&buf), "HTTP/1.1 204 No Content\r\n\r\n"));
    fm_buf_reset(&buf);
    h1_put_request(&buf, "PUT", FM_SLICE("/k?x"), FM_SLICE("h:1"), headers, 1, 0);
    assert_true(fm_slice_equal_text(fm_buf_slice(&buf),
                                    "PUT /k?x HTTP/1.1\r\nhost: h:1\r\ncontent-type: text/plain\r\n"
                                    "content-length: 0\r\n\r\n"));
    fm_buf_reset(&buf);
    h1_put_request(&buf, "GET", FM_SLICE("/"), FM_SLICE("h"), NULL, 0, 0);
    assert_true(fm_slice_equal_text(fm_buf_slice(&buf), "GET / HTTP/1.1\r\nhost: h\r\n\r\n"));
    fm_buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_that_are_fine),
        cmocka_unit_test(test_requests_that_are_refused),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_head_says_what_follows),
        cmocka_unit_test(test_responses),
        cmocka_unit_test(test_end_of_file),
        cmocka_unit_test(test_bodies_are_not_copied),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_writers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
