/* SPDX-License-Identifier: Apache-2.0 */
/* What an upstream's answer means, as a table; waiting; places on disk; URLs and headers. */
#include "../../support/test.h"

#include "../../../src/daemon/export/internal.h"
#include "fermata/pb.h"

#define WALL_NS (UINT64_C(784111777) * FM_NS_PER_S) /* Sun, 06 Nov 1994 08:49:37 GMT */

/* ---- HTTP ---- */

static void test_http(void **state)
{
    static const struct {
        int status;
        enum codec codec;
        const char *retry_after;
        enum export_outcome outcome;
        uint64_t wait_s;
    } rows[] = {
        {200, CODEC_NONE, "", EXPORT_SENT, 0},
        {202, CODEC_NONE, "", EXPORT_SENT, 0},
        {301, CODEC_NONE, "", EXPORT_REFUSED, 0},
        {400, CODEC_NONE, "5", EXPORT_REFUSED, 0},
        {401, CODEC_NONE, "", EXPORT_REFUSED, 0},
        {403, CODEC_NONE, "", EXPORT_REFUSED, 0},
        {404, CODEC_NONE, "", EXPORT_REFUSED, 0},
        {408, CODEC_NONE, "", EXPORT_REFUSED, 0},
        {413, CODEC_NONE, "", EXPORT_TOO_LARGE, 0},
        {415, CODEC_ZSTD, "", EXPORT_NO_CODEC, 0},
        {415, CODEC_NONE, "", EXPORT_REFUSED, 0},
        {429, CODEC_NONE, "", EXPORT_BUSY, 0},
        {429, CODEC_NONE, "7", EXPORT_BUSY, 7},
        {500, CODEC_NONE, "", EXPORT_REFUSED, 0},
        {502, CODEC_NONE, "", EXPORT_BUSY, 0},
        {503, CODEC_NONE, "Sun, 06 Nov 1994 08:49:57 GMT", EXPORT_BUSY, 20},
        {503, CODEC_NONE, "Sun, 06 Nov 1994 08:40:00 GMT", EXPORT_BUSY, 0},
        {503, CODEC_NONE, "soon", EXPORT_BUSY, 0},
        {504, CODEC_NONE, "99999999999", EXPORT_BUSY, 3600},
    };
    (void)state;
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct export_request request = {.codec = rows[i].codec};
        upstream_answer_http(&request, rows[i].status, fm_slice_text(rows[i].retry_after), WALL_NS,
                             fm_slice(NULL, 0));
        assert_int_equal(request.outcome, rows[i].outcome);
        assert_int_equal(request.retry_after_ns, rows[i].wait_s * FM_NS_PER_S);
        assert_int_equal(request.status, rows[i].status);
    }
}

static struct fm_buf partial_success(uint64_t rejected, const char *text)
{
    struct fm_buf buf;
    fm_buf_init(&buf, FM_KIB(4));
    size_t mark = pb_begin(&buf, 1);
    pb_put_u64(&buf, 1, rejected);
    pb_put_text(&buf, 2, text);
    pb_end(&buf, mark);
    return buf;
}

static void body_answer(void *self, struct fm_slice input)
{
    struct export_request request = {0};
    (void)self;
    upstream_answer_http(&request, 200, fm_slice(NULL, 0), WALL_NS, input);
    assert_int_equal(request.outcome, EXPORT_SENT);
}

static void test_partial_success(void **state)
{
    struct fm_buf body = partial_success(12, "too \"old\"\n");
    struct export_request request = {0};
    (void)state;
    upstream_answer_http(&request, 200, fm_slice(NULL, 0), WALL_NS, fm_buf_slice(&body));
    assert_int_equal(request.outcome, EXPORT_SENT);
    assert_int_equal(request.rejected_spans, 12);
    assert_non_null(strstr(request.why.text, "too  old  "));
    test_each_prefix(fm_buf_slice(&body), body_answer, NULL);
    test_each_bit_flip(fm_buf_slice(&body), body_answer, NULL);
    fm_buf_fini(&body);
}

/* ---- gRPC ---- */

/* google.rpc.Status with a RetryInfo, in base64. */
static struct fm_buf retry_details(uint64_t seconds, uint64_t nanos)
{
    struct fm_buf status, text;
    fm_buf_init(&status, FM_KIB(4));
    fm_buf_init(&text, FM_KIB(4));
    pb_put_u64(&status, 1, 8);
    pb_put_text(&status, 2, "slow down");
    size_t other = pb_begin(&status, 3);
    pb_put_text(&status, 1, "type.googleapis.com/google.rpc.DebugInfo");
    pb_end(&status, other);
    size_t any = pb_begin(&status, 3);
    pb_put_text(&status, 1, "type.googleapis.com/google.rpc.RetryInfo");
    size_t value = pb_begin(&status, 2), delay = pb_begin(&status, 1);
    pb_put_u64(&status, 1, seconds);
    pb_put_u64(&status, 2, nanos);
    pb_end(&status, delay);
    pb_end(&status, value);
    pb_end(&status, any);
    fm_base64_encode(&text, fm_buf_slice(&status));
    fm_buf_fini(&status);
    return text;
}

static void test_grpc(void **state)
{
    static const struct {
        int http, grpc;
        bool has_retry;
        const char *message;
        enum codec codec;
        enum export_outcome outcome;
        uint64_t wait_ms;
    } rows[] = {
        {200, 0, false, "", CODEC_NONE, EXPORT_SENT, 0},
        {200, 1, false, "", CODEC_NONE, EXPORT_BUSY, 0},
        {200, 2, false, "", CODEC_NONE, EXPORT_REFUSED, 0},
        {200, 3, false, "", CODEC_NONE, EXPORT_REFUSED, 0},
        {200, 3, true, "", CODEC_NONE, EXPORT_REFUSED, 0},
        {200, 4, false, "", CODEC_NONE, EXPORT_BUSY, 0},
        {200, 5, false, "", CODEC_NONE, EXPORT_REFUSED, 0},
        {200, 7, false, "", CODEC_NONE, EXPORT_REFUSED, 0},
        {200, 8, true, "", CODEC_NONE, EXPORT_BUSY, 2500},
        {200, 8, false, "quota", CODEC_NONE, EXPORT_REFUSED, 0},
        {200, 8, false, "grpc: received message larger than max (5 vs. 4)", CODEC_NONE,
         EXPORT_TOO_LARGE, 0},
        {200, 10, false, "", CODEC_NONE, EXPORT_BUSY, 0},
        {200, 11, false, "", CODEC_NONE, EXPORT_BUSY, 0},
        {200, 12, false, "", CODEC_ZSTD, EXPORT_NO_CODEC, 0},
        {200, 12, false, "", CODEC_NONE, EXPORT_REFUSED, 0},
        {200, 13, false, "", CODEC_NONE, EXPORT_REFUSED, 0},
        {200, 14, false, "", CODEC_NONE, EXPORT_BUSY, 0},
        {200, 14, true, "", CODEC_NONE, EXPORT_BUSY, 2500},
        {200, 15, false, "", CODEC_NONE, EXPORT_BUSY, 0},
        {200, 16, false, "", CODEC_NONE, EXPORT_REFUSED, 0},
        {503, -1, false, "", CODEC_NONE, EXPORT_BUSY, 0},
        {502, -1, false, "", CODEC_NONE, EXPORT_BUSY, 0},
        {413, -1, false, "", CODEC_NONE, EXPORT_TOO_LARGE, 0},
        {404, -1, false, "", CODEC_NONE, EXPORT_REFUSED, 0},
    };
    struct fm_buf details = retry_details(2, 500000000);
    (void)state;
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct export_request request = {.codec = rows[i].codec};
        const struct upstream_answer_grpc answer = {
            .http_status = rows[i].http,
            .grpc_status = rows[i].grpc,
            .message = fm_slice_text(rows[i].message),
            .details = rows[i].has_retry ? fm_buf_slice(&details) : fm_slice(NULL, 0),
        };
        upstream_answer_grpc(&request, &answer);
        assert_int_equal(request.outcome, rows[i].outcome);
        assert_int_equal(request.retry_after_ns, rows[i].wait_ms * FM_NS_PER_MS);
    }
    fm_buf_fini(&details);
}

static void body_details(void *self, struct fm_slice input)
{
    struct export_request request = {0};
    const struct upstream_answer_grpc answer = {.grpc_status = 8, .details = input};
    (void)self;
    upstream_answer_grpc(&request, &answer);
    assert_true(request.outcome == EXPORT_BUSY || request.outcome == EXPORT_REFUSED);
}

static void test_hostile_details(void **state)
{
    struct fm_buf details = retry_details(UINT64_C(1) << 62, 5), message, body;
    (void)state;
    test_each_prefix(fm_buf_slice(&details), body_details, NULL);
    test_each_bit_flip(fm_buf_slice(&details), body_details, NULL);
    fm_buf_fini(&details);
    message = partial_success(4, "old");
    fm_buf_init(&body, FM_KIB(4));
    grpc_message_put(&body, fm_buf_slice(&message));
    struct export_request request = {0};
    const struct upstream_answer_grpc answer = {.grpc_status = 0, .body = fm_buf_slice(&body)};
    upstream_answer_grpc(&request, &answer);
    assert_int_equal(request.rejected_spans, 4);
    fm_buf_fini(&message);
    fm_buf_fini(&body);
}

static void test_backoff(void **state)
{
    const uint64_t s = FM_NS_PER_S;
    uint64_t random = 1;
    (void)state;
    for (unsigned failures = 1; failures < 100; failures++) {
        uint64_t ceiling = failures < 10 ? s << (failures - 1) : 300 * s;
        ceiling = FM_MIN(ceiling, 300 * s);
        for (unsigned i = 0; i < 50; i++)
            assert_true(export_backoff_ns(failures, s, 300 * s, fm_random_next(&random)) < ceiling);
        assert_int_equal(export_backoff_ns(failures, s, 300 * s, ceiling - 1), ceiling - 1);
    }
}

/* ---- places ---- */

static void body_places(void *self, struct fm_slice input)
{
    struct places places;
    (void)self;
    int rc = places_parse(input, &places, NULL);
    assert_true(rc == FM_EMALFORMED || rc == FM_ECORRUPT);
}

static void test_places(void **state)
{
    struct place_line lines[] = {
        {.tenant = "single-tenant", .place = {.lsn = 4096}},
        {.tenant = "t_(!)", .place = {.lsn = UINT64_MAX, .block = {1, [15] = 0xfe}, .row = 77}},
    };
    const struct places places = {.begin_lsn = 12, .lines = lines, .count = FM_COUNT(lines)};
    struct places read;
    struct fm_buf text;
    (void)state;
    fm_buf_init(&text, FM_KIB(64));
    places_render(&places, &text);
    assert_ok(places_parse(fm_buf_slice(&text), &read, NULL));
    assert_int_equal(read.begin_lsn, 12);
    assert_int_equal(read.count, 2);
    assert_memory_equal(read.lines, lines, sizeof lines);
    places_fini(&read);
    test_each_prefix(fm_buf_slice(&text), body_places, NULL);
    test_each_bit_flip(fm_buf_slice(&text), body_places, NULL);
    fm_buf_fini(&text);
}

/* ---- URLs and headers ---- */

static void test_urls(void **state)
{
    static const struct {
        const char *text;
        enum export_protocol protocol;
        const char *host; /* NULL: refused */
        uint16_t port;
        bool is_tls;
        const char *authority, *path;
    } rows[] = {
        {"tempo:4317", EXPORT_GRPC, "tempo", 4317, false, "tempo:4317",
         "/opentelemetry.proto.collector.trace.v1.TraceService/Export"},
        {"tempo", EXPORT_GRPC, "tempo", 4317, false, "tempo:4317",
         "/opentelemetry.proto.collector.trace.v1.TraceService/Export"},
        {"http://tempo", EXPORT_HTTP, "tempo", 4318, false, "tempo:4318", "/v1/traces"},
        {"https://gw.example/otlp", EXPORT_HTTP, "gw.example", 443, true, "gw.example:443",
         "/otlp/v1/traces"},
        {"https://gw.example:8443/otlp/v1/traces/", EXPORT_HTTP, "gw.example", 8443, true,
         "gw.example:8443", "/otlp/v1/traces"},
        {"http://[::1]:4318", EXPORT_HTTP, "::1", 4318, false, "[::1]:4318", "/v1/traces"},
        {"[::1]", EXPORT_HTTP, "::1", 4318, false, "[::1]:4318", "/v1/traces"},
        {"unix:/run/x.sock", EXPORT_HTTP, "/run/x.sock", 0, false, "localhost", "/v1/traces"},
        {"ftp://x", EXPORT_HTTP, NULL, 0, false, "", ""},
        {"http://", EXPORT_HTTP, NULL, 0, false, "", ""},
        {"http://user:pass@host", EXPORT_HTTP, NULL, 0, false, "", ""},
        {"http://host/?a=b", EXPORT_HTTP, NULL, 0, false, "", ""},
        {"http://host/a b", EXPORT_HTTP, NULL, 0, false, "", ""},
        {"http://host/path", EXPORT_GRPC, NULL, 0, false, "", ""},
        {"http://host:99999", EXPORT_HTTP, NULL, 0, false, "", ""},
        {"unix:relative", EXPORT_HTTP, NULL, 0, false, "", ""},
        {"", EXPORT_HTTP, NULL, 0, false, "", ""},
    };
    (void)state;
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct upstream_url url;
        struct fm_why why = {""};
        int rc = upstream_url_parse(rows[i].text, rows[i].protocol, &url, &why);
        assert_int_equal(rc, rows[i].host ? FM_OK : FM_ECONFIG);
        if (!rows[i].host)
            continue;
        assert_string_equal(url.endpoint.host, rows[i].host);
        assert_int_equal(url.endpoint.port, rows[i].port);
        assert_int_equal(url.is_tls, rows[i].is_tls);
        assert_string_equal(url.authority, rows[i].authority);
        assert_string_equal(url.path, rows[i].path);
    }
}

static int parse_headers(const char *text, struct http_header headers[UPSTREAM_HEADERS_MAX],
                         size_t *ret_count, char copy[512])
{
    size_t len = strlen(text);
    memcpy(copy, text, len);
    return upstream_headers_parse((uint8_t *)copy, len, headers, ret_count, NULL);
}

static void test_headers(void **state)
{
    struct http_header headers[UPSTREAM_HEADERS_MAX];
    static const char *const refused[] = {
        "no colon\n",
        ": value\n",
        "a b: c\n",
        "Host: x\n",
        "Content-Length: 5",
        "empty:\n",
        "bad: \001value\n",
        "x: y\nte: trailers\n",
        "a:1\nb:1\nc:1\nd:1\ne:1\nf:1\ng:1\nh:1\ni:1\n",
    };
    char copy[512];
    size_t count = 0;
    (void)state;
    assert_ok(parse_headers("# note\r\nAuthorization:  Basic abc= \r\n\n  X-Two: b c", headers,
                            &count, copy));
    assert_int_equal(count, 2);
    assert_true(fm_slice_equal_text(headers[0].name, "authorization"));
    assert_true(fm_slice_equal_text(headers[0].value, "Basic abc="));
    assert_true(fm_slice_equal_text(headers[1].name, "x-two"));
    assert_true(fm_slice_equal_text(headers[1].value, "b c"));
    for (size_t i = 0; i < FM_COUNT(refused); i++)
        assert_int_equal(parse_headers(refused[i], headers, &count, copy), FM_ECONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_http),    cmocka_unit_test(test_partial_success),
        cmocka_unit_test(test_grpc),    cmocka_unit_test(test_hostile_details),
        cmocka_unit_test(test_backoff), cmocka_unit_test(test_places),
        cmocka_unit_test(test_urls),    cmocka_unit_test(test_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
