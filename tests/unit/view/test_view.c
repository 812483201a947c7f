/* SPDX-License-Identifier: Apache-2.0 */
/* A trace as Jaeger, api_v3 and Zipkin show it.  The expected JSON is written out: its members come
 * in the order of the code, so that texts can be compared. */
#include "../../support/test.h"

#include "fermata/pb.h"
#include "fermata/view.h"

#define START UINT64_C(1795221125000000000)
#define MS    UINT64_C(1000000)

static const uint8_t trace_id[16] = {0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd,
                                     0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c};
#define TRACE "0af7651916cd43dd8448eb211c80319c"

/* ---- building OTLP ---- */

static void put_text(struct fm_buf *buf, uint32_t number, const char *key, const char *value)
{
    size_t pair = pb_begin(buf, number);
    pb_put_text(buf, 1, key);
    size_t any = pb_begin(buf, 2);
    pb_put_text(buf, 1, value);
    pb_end(buf, any);
    pb_end(buf, pair);
}

/* type: the field number of AnyValue. */
static void put_number(struct fm_buf *buf, const char *key, uint32_t type, uint64_t value)
{
    size_t pair = pb_begin(buf, 9);
    pb_put_text(buf, 1, key);
    size_t any = pb_begin(buf, 2);
    if (type == 4)
        pb_put_fixed64(buf, type, value);
    else
        pb_put_u64(buf, type, value);
    pb_end(buf, any);
    pb_end(buf, pair);
}

static void put_array(struct fm_buf *buf, const char *key)
{
    size_t pair = pb_begin(buf, 9);
    pb_put_text(buf, 1, key);
    size_t any = pb_begin(buf, 2), array = pb_begin(buf, 5), item = pb_begin(buf, 1);
    pb_put_text(buf, 1, "x\"y");
    pb_end(buf, item);
    item = pb_begin(buf, 1);
    pb_put_u64(buf, 3, 7);
    pb_end(buf, item);
    pb_end(buf, array);
    pb_end(buf, any);
    pb_end(buf, pair);
}

static void put_id(struct fm_buf *buf, uint32_t number, uint64_t id)
{
    uint8_t bytes[8];
    fm_store_be64(bytes, id);
    pb_put_bytes(buf, number, fm_slice(bytes, sizeof bytes));
}

struct spans {
    struct fm_buf buf;
    size_t resource, scope, span;
};

static void resource_begin(struct spans *spans, const char *service)
{
    spans->resource = pb_begin(&spans->buf, 1);
    size_t resource = pb_begin(&spans->buf, 1);
    if (service)
        put_text(&spans->buf, 1, "service.name", service);
    put_text(&spans->buf, 1, "host.name", "edge-1");
    pb_end(&spans->buf, resource);
    spans->scope = pb_begin(&spans->buf, 2);
}

static void resource_end(struct spans *spans)
{
    pb_end(&spans->buf, spans->scope);
    pb_end(&spans->buf, spans->resource);
}

static void span_begin(struct spans *spans, uint64_t id, uint64_t parent, const char *name,
                       uint32_t kind, uint64_t duration_ns)
{
    struct fm_buf *buf = &spans->buf;
    spans->span = pb_begin(buf, 2);
    pb_put_bytes(buf, 1, fm_slice(trace_id, sizeof trace_id));
    put_id(buf, 2, id);
    if (parent)
        put_id(buf, 4, parent);
    pb_put_text(buf, 5, name);
    pb_put_u64(buf, 6, kind);
    pb_put_fixed64(buf, 7, START);
    pb_put_fixed64(buf, 8, START + duration_ns);
}

static void span_status(struct spans *spans, uint32_t code, const char *message)
{
    size_t status = pb_begin(&spans->buf, 15);
    pb_put_text(&spans->buf, 2, message);
    pb_put_u64(&spans->buf, 3, code);
    pb_end(&spans->buf, status);
}

static void span_event(struct spans *spans)
{
    size_t event = pb_begin(&spans->buf, 11);
    pb_put_fixed64(&spans->buf, 1, START + 10 * MS);
    pb_put_text(&spans->buf, 2, "cache.miss");
    put_text(&spans->buf, 3, "key", "cart");
    pb_end(&spans->buf, event);
}

static void span_link(struct spans *spans, uint64_t id, const char *type)
{
    size_t link = pb_begin(&spans->buf, 13);
    pb_put_bytes(&spans->buf, 1, fm_slice(trace_id, sizeof trace_id));
    put_id(&spans->buf, 2, id);
    if (type)
        put_text(&spans->buf, 4, "opentracing.ref_type", type);
    pb_end(&spans->buf, link);
}

static void span_end(struct spans *spans)
{
    pb_end(&spans->buf, spans->span);
}

typedef void view(struct fm_slice otlp, struct json_writer *writer);

static void expect(view *put, const struct spans *spans, const char *json)
{
    struct fm_buf out;
    struct json_writer writer;
    fm_buf_init(&out, FM_MIB(1));
    json_writer_init(&writer, &out);
    put(fm_buf_slice(&spans->buf), &writer);
    assert_false(out.failed);
    fm_buf_put_u8(&out, 0);
    assert_string_equal((const char *)out.ptr, json);
    fm_buf_fini(&out);
}

/* ---- what is shown ---- */

/* A server's span with everything. */
static void rich_span(struct spans *spans)
{
    const double half = 0.5;
    uint64_t bits;
    memcpy(&bits, &half, sizeof bits);
    fm_buf_init(&spans->buf, FM_MIB(1));
    resource_begin(spans, "shop");
    size_t scope = pb_begin(&spans->buf, 1);
    pb_put_text(&spans->buf, 1, "lib");
    pb_put_text(&spans->buf, 2, "1.2");
    pb_end(&spans->buf, scope);
    span_begin(spans, 1, 0, "GET /cart", 2, 250 * MS);
    put_number(&spans->buf, "http.status_code", 3, 500);
    put_number(&spans->buf, "big", 3, UINT64_C(1) << 60);
    put_number(&spans->buf, "ok", 2, 0);
    put_number(&spans->buf, "half", 4, bits);
    put_array(&spans->buf, "list");
    span_event(spans);
    span_link(spans, 9, NULL);
    span_status(spans, 2, "boom");
    span_end(spans);
    resource_end(spans);
}

static void test_jaeger_shows_everything(void **state)
{
    struct spans spans;
    (void)state;
    rich_span(&spans);
    expect(view_jaeger, &spans,
           "{\"traceID\":\"" TRACE "\",\"spans\":[{\"traceID\":\"" TRACE "\","
           "\"spanID\":\"0000000000000001\",\"operationName\":\"GET /cart\",\"references\":["
           "{\"refType\":\"FOLLOWS_FROM\",\"traceID\":\"" TRACE "\","
           "\"spanID\":\"0000000000000009\"}],"
           "\"startTime\":1795221125000000,\"duration\":250000,\"tags\":["
           "{\"key\":\"otel.scope.name\",\"type\":\"string\",\"value\":\"lib\"},"
           "{\"key\":\"otel.scope.version\",\"type\":\"string\",\"value\":\"1.2\"},"
           "{\"key\":\"http.status_code\",\"type\":\"int64\",\"value\":500},"
           "{\"key\":\"big\",\"type\":\"int64\",\"value\":\"1152921504606846976\"},"
           "{\"key\":\"ok\",\"type\":\"bool\",\"value\":false},"
           "{\"key\":\"half\",\"type\":\"float64\",\"value\":0.5},"
           "{\"key\":\"list\",\"type\":\"string\",\"value\":\"[\\\"x\\\\\\\"y\\\",7]\"},"
           "{\"key\":\"span.kind\",\"type\":\"string\",\"value\":\"server\"},"
           "{\"key\":\"error\",\"type\":\"bool\",\"value\":true},"
           "{\"key\":\"otel.status_code\",\"type\":\"string\",\"value\":\"ERROR\"},"
           "{\"key\":\"otel.status_description\",\"type\":\"string\",\"value\":\"boom\"}],"
           "\"logs\":[{\"timestamp\":1795221125010000,\"fields\":["
           "{\"key\":\"event\",\"type\":\"string\",\"value\":\"cache.miss\"},"
           "{\"key\":\"key\",\"type\":\"string\",\"value\":\"cart\"}]}],"
           "\"processID\":\"p1\",\"warnings\":null}],"
           "\"processes\":{\"p1\":{\"serviceName\":\"shop\",\"tags\":["
           "{\"key\":\"host.name\",\"type\":\"string\",\"value\":\"edge-1\"}]}},"
           "\"warnings\":null}");
    fm_buf_fini(&spans.buf);
}

static void test_a_parent_keeps_its_kind_of_reference(void **state)
{
    struct spans spans;
    (void)state;
    fm_buf_init(&spans.buf, FM_MIB(1));
    resource_begin(&spans, NULL);
    span_begin(&spans, 2, 1, "a", 0, 1);
    span_link(&spans, 1, "follows_from");
    span_link(&spans, 5, "child_of");
    span_end(&spans);
    resource_end(&spans);
    expect(view_jaeger, &spans,
           "{\"traceID\":\"" TRACE "\",\"spans\":[{\"traceID\":\"" TRACE "\","
           "\"spanID\":\"0000000000000002\",\"operationName\":\"a\",\"references\":["
           "{\"refType\":\"FOLLOWS_FROM\",\"traceID\":\"" TRACE "\","
           "\"spanID\":\"0000000000000001\"},"
           "{\"refType\":\"CHILD_OF\",\"traceID\":\"" TRACE "\","
           "\"spanID\":\"0000000000000005\"}],"
           "\"startTime\":1795221125000000,\"duration\":0,\"tags\":[],\"logs\":[],"
           "\"processID\":\"p1\",\"warnings\":null}],"
           "\"processes\":{\"p1\":{\"serviceName\":\"OTLPResourceNoServiceName\",\"tags\":["
           "{\"key\":\"host.name\",\"type\":\"string\",\"value\":\"edge-1\"}]}},"
           "\"warnings\":null}");
    fm_buf_fini(&spans.buf);
}

static void otlp_in_array(struct fm_slice otlp, struct json_writer *writer)
{
    json_array_begin(writer);
    view_otlp(otlp, writer);
    json_array_end(writer);
}

static void test_v3_has_hex_and_numbers(void **state)
{
    struct spans spans;
    (void)state;
    rich_span(&spans);
    expect(otlp_in_array, &spans,
           "[{\"resource\":{\"attributes\":["
           "{\"key\":\"service.name\",\"value\":{\"stringValue\":\"shop\"}},"
           "{\"key\":\"host.name\",\"value\":{\"stringValue\":\"edge-1\"}}]},"
           "\"scopeSpans\":[{\"scope\":{\"name\":\"lib\",\"version\":\"1.2\"},\"spans\":["
           "{\"traceId\":\"" TRACE "\",\"spanId\":\"0000000000000001\","
           "\"name\":\"GET /cart\",\"kind\":2,\"startTimeUnixNano\":\"1795221125000000000\","
           "\"endTimeUnixNano\":\"1795221125250000000\",\"attributes\":["
           "{\"key\":\"http.status_code\",\"value\":{\"intValue\":\"500\"}},"
           "{\"key\":\"big\",\"value\":{\"intValue\":\"1152921504606846976\"}},"
           "{\"key\":\"ok\",\"value\":{\"boolValue\":false}},"
           "{\"key\":\"half\",\"value\":{\"doubleValue\":0.5}},"
           "{\"key\":\"list\",\"value\":{\"arrayValue\":{\"values\":["
           "{\"stringValue\":\"x\\\"y\"},{\"intValue\":\"7\"}]}}}],"
           "\"events\":[{\"timeUnixNano\":\"1795221125010000000\",\"name\":\"cache.miss\","
           "\"attributes\":[{\"key\":\"key\",\"value\":{\"stringValue\":\"cart\"}}]}],"
           "\"links\":[{\"traceId\":\"" TRACE "\",\"spanId\":\"0000000000000009\"}],"
           "\"status\":{\"message\":\"boom\",\"code\":2}}]}]}]");
    fm_buf_fini(&spans.buf);
}

static void test_zipkin_shows_everything_as_text(void **state)
{
    struct spans spans;
    (void)state;
    rich_span(&spans);
    expect(view_zipkin, &spans,
           "[{\"traceId\":\"" TRACE "\",\"id\":\"0000000000000001\",\"kind\":\"SERVER\","
           "\"name\":\"GET /cart\",\"timestamp\":1795221125000000,\"duration\":250000,"
           "\"localEndpoint\":{\"serviceName\":\"shop\"},"
           "\"annotations\":[{\"timestamp\":1795221125010000,"
           "\"value\":\"\\\"cache.miss\\\": {\\\"key\\\":\\\"cart\\\"}\"}],"
           "\"tags\":{\"host.name\":\"edge-1\",\"http.status_code\":\"500\","
           "\"big\":\"1152921504606846976\",\"ok\":\"false\",\"half\":\"0.5\","
           "\"list\":\"[\\\"x\\\\\\\"y\\\",7]\",\"otel.status_code\":\"ERROR\","
           "\"error\":\"boom\",\"otel.scope.name\":\"lib\",\"otel.scope.version\":\"1.2\","
           "\"otlp.link.0\":\"" TRACE "|0000000000000009||{}|0\"}}]");
    fm_buf_fini(&spans.buf);
}

static void test_zipkin_endpoints_come_back(void **state)
{
    struct spans spans;
    (void)state;
    fm_buf_init(&spans.buf, FM_MIB(1));
    resource_begin(&spans, "shop");
    span_begin(&spans, 2, 1, "call", 3, 1);
    put_text(&spans.buf, 9, "net.host.ip", "10.0.0.1");
    put_number(&spans.buf, "net.host.port", 3, 8080);
    put_text(&spans.buf, 9, "peer.service", "cart");
    put_text(&spans.buf, 9, "net.peer.ip", "2001:db8::1");
    put_text(&spans.buf, 9, "net.peer.port", "80");
    put_number(&spans.buf, "zipkin.shared", 2, 1);
    put_text(&spans.buf, 9, "error", "refused");
    span_status(&spans, 2, "refused");
    span_end(&spans);
    span_begin(&spans, 3, 2, "in", 1, 0);
    put_text(&spans.buf, 9, "server.address", "db-1");
    put_number(&spans.buf, "otel.zipkin.absentField.startTime", 2, 1);
    span_end(&spans);
    resource_end(&spans);
    expect(view_zipkin, &spans,
           "[{\"traceId\":\"" TRACE "\",\"parentId\":\"0000000000000001\","
           "\"id\":\"0000000000000002\",\"kind\":\"CLIENT\",\"name\":\"call\","
           "\"timestamp\":1795221125000000,\"duration\":1,"
           "\"localEndpoint\":{\"serviceName\":\"shop\",\"ipv4\":\"10.0.0.1\",\"port\":8080},"
           "\"remoteEndpoint\":{\"serviceName\":\"cart\",\"ipv6\":\"2001:db8::1\"},"
           "\"tags\":{\"host.name\":\"edge-1\",\"net.peer.port\":\"80\","
           "\"error\":\"refused\"},\"shared\":true},"
           "{\"traceId\":\"" TRACE "\",\"parentId\":\"0000000000000002\","
           "\"id\":\"0000000000000003\",\"name\":\"in\","
           "\"localEndpoint\":{\"serviceName\":\"shop\"},"
           "\"tags\":{\"host.name\":\"edge-1\",\"server.address\":\"db-1\","
           "\"span.kind\":\"internal\"}}]");
    fm_buf_fini(&spans.buf);
}

/* ---- over all spans ---- */

/* front: a client calls cart, which sends spans, and a database, which does not. */
static void three_services(struct spans *spans)
{
    fm_buf_init(&spans->buf, FM_MIB(1));
    resource_begin(spans, "front");
    span_begin(spans, 1, 0, "root", 2, 100 * MS);
    put_text(&spans->buf, 9, "peer.service", "phone");
    span_end(spans);
    span_begin(spans, 2, 1, "call", 3, 50 * MS);
    put_text(&spans->buf, 9, "peer.service", "cart");
    span_end(spans);
    span_begin(spans, 4, 1, "select", 3, 50 * MS);
    put_text(&spans->buf, 9, "db.name", "items");
    span_status(spans, 2, "");
    span_end(spans);
    resource_end(spans);
    resource_begin(spans, "cart");
    span_begin(spans, 2, 1, "call", 2, 40 * MS); /* shared with the client's half */
    span_status(spans, 2, "");
    span_end(spans);
    span_begin(spans, 6, 2, "work", 1, 40 * MS);
    span_end(spans);
    span_begin(spans, 7, 77, "orphan", 1, 40 * MS);
    span_end(spans);
    resource_end(spans);
}

static void calls_of(const struct spans *spans, bool with_remotes, const char *json)
{
    FM_AUTO(view_calls) calls = NULL;
    struct fm_arena scratch;
    struct fm_buf out;
    struct json_writer writer;
    fm_arena_init(&scratch, FM_MIB(1));
    fm_buf_init(&out, FM_MIB(1));
    json_writer_init(&writer, &out);
    assert_ok(view_calls_new(&calls, with_remotes));
    for (int i = 0; i < 2; i++)
        assert_ok(view_calls_add(calls, fm_buf_slice(&spans->buf), &scratch));
    if (with_remotes)
        view_calls_zipkin(calls, &writer);
    else
        view_calls_jaeger(calls, &writer);
    fm_buf_put_u8(&out, 0);
    assert_string_equal((const char *)out.ptr, json);
    fm_buf_fini(&out);
    fm_arena_fini(&scratch);
}

static void test_calls_are_counted(void **state)
{
    struct spans spans;
    (void)state;
    three_services(&spans);
    calls_of(&spans, false, "[{\"parent\":\"front\",\"child\":\"cart\",\"callCount\":2}]");
    calls_of(&spans, true,
             "[{\"parent\":\"front\",\"child\":\"cart\",\"callCount\":2,\"errorCount\":2},"
             "{\"parent\":\"front\",\"child\":\"items\",\"callCount\":2,\"errorCount\":2},"
             "{\"parent\":\"phone\",\"child\":\"front\",\"callCount\":2}]");
    fm_buf_fini(&spans.buf);
}

static void summary(struct fm_slice otlp, struct json_writer *writer)
{
    struct fm_arena scratch;
    fm_arena_init(&scratch, FM_MIB(1));
    view_summary(otlp, &scratch, writer);
    fm_arena_fini(&scratch);
}

static void test_a_summary_counts(void **state)
{
    struct spans spans;
    (void)state;
    three_services(&spans);
    expect(summary, &spans,
           "{\"traceId\":\"" TRACE "\",\"rootServiceName\":\"front\","
           "\"rootOperationName\":\"root\",\"minStartTimeUnixNano\":\"1795221125000000000\","
           "\"maxEndTimeUnixNano\":\"1795221125100000000\",\"spanCount\":6,"
           "\"errorSpanCount\":2,\"orphanSpanCount\":1,\"services\":["
           "{\"name\":\"cart\",\"spanCount\":3,\"errorSpanCount\":1},"
           "{\"name\":\"front\",\"spanCount\":3,\"errorSpanCount\":1}]}");
    fm_buf_fini(&spans.buf);
}

/* ---- hostile input, no memory ---- */

static void all_views(void *self, struct fm_slice otlp)
{
    static view *const views[] = {view_jaeger, view_zipkin, otlp_in_array, summary};
    (void)self;
    for (size_t i = 0; i < FM_COUNT(views); i++) {
        struct fm_buf out;
        struct json_writer writer;
        fm_buf_init(&out, FM_MIB(1));
        json_writer_init(&writer, &out);
        views[i](otlp, &writer);
        fm_buf_fini(&out);
    }
}

static void test_any_bytes_are_survived(void **state)
{
    struct spans spans;
    (void)state;
    rich_span(&spans);
    test_each_prefix(fm_buf_slice(&spans.buf), all_views, NULL);
    test_each_bit_flip(fm_buf_slice(&spans.buf), all_views, NULL);
    fm_buf_fini(&spans.buf);
}

static void test_every_allocation_may_fail(void **state)
{
    struct spans spans;
    (void)state;
    three_services(&spans);
    for (uint64_t nth = 1, failed = 1; failed && nth < 1000; nth++) {
        FM_AUTO(view_calls) calls = NULL;
        struct fm_arena scratch;
        fm_arena_init(&scratch, FM_MIB(1));
        test_alloc_fail_at(nth);
        all_views(NULL, fm_buf_slice(&spans.buf));
        if (view_calls_new(&calls, true) == FM_OK &&
            view_calls_add(calls, fm_buf_slice(&spans.buf), &scratch) == FM_OK)
            all_views(NULL, fm_buf_slice(&spans.buf));
        failed = test_alloc_failed();
        test_alloc_disarm();
        fm_arena_fini(&scratch);
    }
    fm_buf_fini(&spans.buf);
}

static void test_kinds_have_names(void **state)
{
    uint32_t kind;
    (void)state;
    assert_null(view_kind_text(0));
    assert_null(view_kind_text(6));
    assert_string_equal(view_kind_text(5), "consumer");
    assert_ok(view_kind_parse(FM_SLICE("Client"), &kind));
    assert_int_equal(kind, 3);
    assert_int_equal(view_kind_parse(FM_SLICE(""), &kind), FM_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jaeger_shows_everything),
        cmocka_unit_test(test_a_parent_keeps_its_kind_of_reference),
        cmocka_unit_test(test_v3_has_hex_and_numbers),
        cmocka_unit_test(test_zipkin_shows_everything_as_text),
        cmocka_unit_test(test_zipkin_endpoints_come_back),
        cmocka_unit_test(test_calls_are_counted),
        cmocka_unit_test(test_a_summary_counts),
        cmocka_unit_test(test_any_bytes_are_survived),
        cmocka_unit_test(test_every_allocation_may_fail),
        cmocka_unit_test(test_kinds_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
