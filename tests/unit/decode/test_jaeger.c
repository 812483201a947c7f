/* SPDX-License-Identifier: Apache-2.0 */
/* What a batch becomes, whichever of the three encodings it came in. */
#include "../../support/test.h"

#include "jaeger_sample.h"
#include "otlp_text.h"

#include "fermata/decode.h"
#include "fermata/jaeger.h"

#define SCRATCH_MAX FM_MIB(4)

enum { COMPACT = THRIFT_COMPACT, BINARY = THRIFT_BINARY_PROTOCOL, PROTOBUF };

static int sample_decode(int encoding, struct fm_slice input, struct fm_arena *scratch,
                         struct fm_buf *target, struct fm_why *why)
{
    return encoding == PROTOBUF
               ? jaeger_pb_decode(input, scratch, target, why)
               : jaeger_thrift_decode(input, (enum thrift_encoding)encoding, scratch, target, why);
}

static void sample_put(int encoding, const struct sample_batch *batch, struct fm_buf *buf)
{
    if (encoding == PROTOBUF)
        sample_pb(buf, batch);
    else
        sample_thrift(buf, (enum thrift_encoding)encoding, batch);
}

/* As text; also checks that otlp_pb_check has nothing to say, or refuses as many as expected. */
static void sample_expect_in(int encoding, const struct sample_batch *batch, uint32_t refused,
                             const char *expected)
{
    struct fm_buf input, target;
    struct fm_arena scratch;
    struct fm_why why = {{0}};
    struct decode_facts facts;
    fm_buf_init(&input, FM_MIB(1));
    fm_buf_init(&target, FM_MIB(1));
    fm_arena_init(&scratch, SCRATCH_MAX);
    decode_facts_init(&facts);
    sample_put(encoding, batch, &input);
    uint8_t *exact = test_exact_copy(fm_buf_slice(&input));
    assert_ok(sample_decode(encoding, fm_slice(exact, input.len), &scratch, &target, &why));
    assert_ok(otlp_pb_check(fm_buf_slice(&target), &decode_limits_default, &facts, &why));
    assert_int_equal(facts.refused_count, refused);
    assert_int_equal(facts.mended_count, 0);
    struct fm_buf text = otlp_text(fm_buf_slice(&target));
    assert_string_equal((const char *)text.ptr, expected);
    free(exact);
    fm_buf_fini(&text);
    decode_facts_fini(&facts);
    fm_arena_fini(&scratch);
    fm_buf_fini(&target);
    fm_buf_fini(&input);
}

static void sample_expect(const struct sample_batch *batch, const char *expected)
{
    for (int encoding = COMPACT; encoding <= PROTOBUF; encoding++)
        sample_expect_in(encoding, batch, 0, expected);
}

#define IDS "0000000000000000000000000000000a:000000000000000b"
#define SPAN(...)                                                                                  \
    {                                                                                              \
        .low = 10, .span_id = 11, __VA_ARGS__                                                      \
    }
/* One span of one service. */
#define EXPECT(expected, ...)                                                                      \
    sample_expect(                                                                                 \
        &(struct sample_batch){.service = "s", .spans = {SAMPLE_SPANS(SPAN(__VA_ARGS__))}},        \
        "resource{ service.name=\"s\"} scopes span{" IDS expected "}")
/* The same with tags only. */
#define EXPECT_TAGS(expected, ...) EXPECT(" 0+0" expected, .tags = {SAMPLE_TAGS(__VA_ARGS__)})

static void test_span(void **state)
{
    (void)state;
    EXPECT(" op 1700000000000000000+1500000 flags=1", .name = "op", .flags = 1,
           .start_us = 1700000000000000, .duration_us = 1500);
    EXPECT(" 0+0", .name = "", .flags = 10); /* debug and firehose are dropped */
    EXPECT(" 0+0 s=\"v\" d=1.5f t=true f=false n=-3 b=0x0aff e=\"\"",
           .tags = {SAMPLE_TAGS(TAG_TEXT("s", "v"), TAG_DOUBLE("d", 1.5), TAG_BOOL("t", 1),
                                TAG_BOOL("f", 0), TAG_LONG("n", -3), TAG_BYTES("b", "\n\xff"),
                                TAG_TEXT("e", ""))});
}

static void test_times(void **state)
{
    (void)state;
    /* J34: no wrap-around */
    EXPECT(" 5000+0", .start_us = 5, .duration_us = -3);
    EXPECT(" 0+7000", .start_us = 0, .duration_us = 7);
    EXPECT(" 0+7000", .start_us = -9, .duration_us = 7);
    EXPECT(" 18446744073709551615+0", .start_us = INT64_MAX, .duration_us = INT64_MAX);
    EXPECT(" 18446744073709551000+615", .start_us = 18446744073709551, .duration_us = 1);
}

static void test_long_tags(void **state)
{
    (void)state;
    static char text[400], key[200], expected[1000];
    memset(text, 'x', sizeof text - 1);
    memset(key, 'k', sizeof key - 1);
    (void)snprintf(expected, sizeof expected,
                   "resource{ service.name=\"s\"} scopes span{" IDS " 0+0 %s=\"%s\" n=%lld}", key,
                   text, (long long)INT64_MIN);
    const struct sample_tag tags[] = {TAG_TEXT(key, text), TAG_LONG("n", INT64_MIN)};
    const struct sample_span span = SPAN(.tags = {tags, 2});
    sample_expect(&(struct sample_batch){.service = "s", .spans = {&span, 1}}, expected);
}

static void test_resource(void **state)
{
    (void)state;
#define EXPECT_RESOURCE(service_name, expected, ...)                                               \
    sample_expect(&(struct sample_batch){.service = service_name,                                  \
                                         .tags = {__VA_ARGS__},                                    \
                                         .spans = {SAMPLE_SPANS(SPAN(.name = "op"))}},             \
                  "resource{" expected "} scopes span{" IDS " op 0+0}")
    EXPECT_RESOURCE("", "", NULL, 0);
    EXPECT_RESOURCE("svc", " service.name=\"svc\" host.name=\"h1\"",
                    SAMPLE_TAGS(TAG_TEXT("hostname", "h1")));
    /* J35 */
    EXPECT_RESOURCE("svc", " service.name=\"svc\" hostname=\"h1\" host.name=\"h2\"",
                    SAMPLE_TAGS(TAG_TEXT("hostname", "h1"), TAG_TEXT("host.name", "h2")));
    EXPECT_RESOURCE("svc", " service.name=\"t\" a=1",
                    SAMPLE_TAGS(TAG_LONG("a", 1), TAG_TEXT("service.name", "t")));
    EXPECT_RESOURCE("", " a=1", SAMPLE_TAGS(TAG_LONG("a", 1)));
    EXPECT_RESOURCE("OTLPResourceNoServiceName", " a=1", SAMPLE_TAGS(TAG_LONG("a", 1)));
    EXPECT_RESOURCE("s", " service.name=\"s\" opencensus.exporterversion=\"Jaeger-Go-2\" ip=\"i\"",
                    SAMPLE_TAGS(TAG_TEXT("jaeger.version", "Go-2"), TAG_TEXT("ip", "i")));
    EXPECT_RESOURCE(
        "s", " service.name=\"s\" jaeger.version=\"2\" opencensus.exporterversion=\"x\"",
        SAMPLE_TAGS(TAG_TEXT("jaeger.version", "2"), TAG_TEXT("opencensus.exporterversion", "x")));
    EXPECT_RESOURCE("s", " service.name=\"s\" jaeger.version=2 client-uuid=\"u\"",
                    SAMPLE_TAGS(TAG_LONG("jaeger.version", 2), TAG_TEXT("client-uuid", "u")));
}

static void test_kind(void **state)
{
    (void)state;
    EXPECT_TAGS("", TAG_TEXT("span.kind", "banana")); /* J30 */
    EXPECT_TAGS("", TAG_LONG("span.kind", 2));
    static const char *const names[] = {"internal", "server", "client", "producer", "Consumer"};
    for (size_t i = 0; i < FM_COUNT(names); i++) {
        char expected[200];
        (void)snprintf(expected, sizeof expected,
                       "resource{ service.name=\"s\"} scopes span{" IDS " kind=%zu 0+0}", i + 1);
        const struct sample_tag tag = TAG_TEXT("span.kind", names[i]);
        const struct sample_span span = SPAN(.tags = {&tag, 1});
        sample_expect(&(struct sample_batch){.service = "s", .spans = {&span, 1}}, expected);
    }
}

static void test_status(void **state)
{
    (void)state;
#define DESCRIPTION  TAG_TEXT("otel.status_description", "x")
#define HTTP_MESSAGE TAG_TEXT("http.status_message", "h")
    EXPECT_TAGS(" error=\"x\"", TAG_BOOL("error", 1), DESCRIPTION); /* J26 */
    EXPECT_TAGS(" http.status_message=\"h\" error=\"h\"", TAG_BOOL("error", 1), HTTP_MESSAGE);
    EXPECT_TAGS(" http.status_message=\"h\" error=\"x\"", HTTP_MESSAGE, TAG_BOOL("error", 1),
                DESCRIPTION);
    EXPECT_TAGS(" error=false", TAG_BOOL("error", 0));
    EXPECT_TAGS(" error", TAG_TEXT("error", "true"));
    EXPECT_TAGS(" error=\"yes\"", TAG_TEXT("error", "yes"));
    EXPECT_TAGS(" error=1", TAG_LONG("error", 1));
    EXPECT_TAGS(" ok", TAG_TEXT("otel.status_code", "ok")); /* J27 */
    EXPECT_TAGS(" error=\"x\"", TAG_TEXT("otel.status_code", "Error"), DESCRIPTION);
    EXPECT_TAGS(" unset=\"x\"", TAG_TEXT("otel.status_code", "UNSET"), DESCRIPTION);
    EXPECT_TAGS("", TAG_LONG("otel.status_code", 2));
    EXPECT_TAGS(" error", TAG_TEXT("otel.status_code", "OK"), TAG_BOOL("error", 1));
    EXPECT_TAGS(" http.status_code=500 ok", TAG_TEXT("otel.status_code", "OK"),
                TAG_LONG("http.status_code", 500));
    EXPECT_TAGS(" otel.status_description=1 error", TAG_BOOL("error", 1),
                TAG_LONG("otel.status_description", 1));
    EXPECT_TAGS(" otel.status_description=\"x\"", DESCRIPTION);
}

static void test_http_status(void **state)
{
    (void)state;
#define HTTP(code) TAG_LONG("http.status_code", code)
#define KIND(name) TAG_TEXT("span.kind", name)
#define TAGS(...)  .tags = {SAMPLE_TAGS(__VA_ARGS__)}
    /* J28 */
    EXPECT(" kind=3 0+0 http.status_code=404 error", TAGS(HTTP(404), KIND("client")));
    EXPECT(" kind=2 0+0 http.status_code=404", TAGS(HTTP(404), KIND("server")));
    EXPECT(" kind=1 0+0 http.status_code=404 error", TAGS(HTTP(404), KIND("internal")));
    EXPECT(" kind=2 0+0 http.status_code=500 error", TAGS(HTTP(500), KIND("server")));
    EXPECT_TAGS(" http.status_code=\"503\" error", TAG_TEXT("http.status_code", "503")); /* J29 */
    EXPECT_TAGS(" http.status_code=\"+200\"", TAG_TEXT("http.status_code", "+200"));
    EXPECT_TAGS(" http.status_code=\"-1\" error", TAG_TEXT("http.status_code", "-1"));
    EXPECT_TAGS(" http.status_code=\"5xx\"", TAG_TEXT("http.status_code", "5xx"));
    EXPECT_TAGS(" http.status_code=\"-\"", TAG_TEXT("http.status_code", "-"));
    EXPECT_TAGS(" http.status_code=\"99999999999999999999\"",
                TAG_TEXT("http.status_code", "99999999999999999999"));
    EXPECT_TAGS(" http.status_code=500f", TAG_DOUBLE("http.status_code", 500));
    EXPECT_TAGS(" http.status_code=99 error", HTTP(99));
    EXPECT_TAGS(" http.status_code=100", HTTP(100));
    EXPECT_TAGS(" http.status_code=200 http.status_message=\"h\"", HTTP(200), HTTP_MESSAGE);
    EXPECT_TAGS(" http.status_code=398", HTTP(398));
    EXPECT_TAGS(" http.status_code=399 error", HTTP(399));
    EXPECT_TAGS(" http.status_code=600 http.status_message=\"h\" error=\"h\"", HTTP(600),
                HTTP_MESSAGE);
}

static void test_other_tags(void **state)
{
    (void)state;
    EXPECT(" state=a=1 0+0 b=2", TAGS(TAG_TEXT("w3c.tracestate", "a=1"), TAG_LONG("b", 2)));
    EXPECT_TAGS(" w3c.tracestate=1", TAG_LONG("w3c.tracestate", 1));
    EXPECT_TAGS(" dropped_attributes=3 dropped_events=4 dropped_links=5",
                TAG_LONG("otel.dropped_links_count", 5), TAG_TEXT("otel.dropped_events_count", "4"),
                TAG_LONG("otel.dropped_attributes_count", 3));
    EXPECT_TAGS(" otel.dropped_links_count=-1 otel.dropped_events_count=4294967296",
                TAG_LONG("otel.dropped_links_count", -1),
                TAG_LONG("otel.dropped_events_count", INT64_C(4294967296)));
    /* J32 */
    EXPECT_TAGS(" a=\"3\" b=2 error", TAG_LONG("a", 1), TAG_BOOL("error", 0), TAG_LONG("b", 2),
                TAG_TEXT("a", "3"), TAG_BOOL("error", 1));
    EXPECT_TAGS(" http.status_code=200 b=2", HTTP(500), TAG_LONG("b", 2), HTTP(200));
    /* J33 */
    EXPECT_TAGS(" a=\"<Unknown Jaeger TagType \"9\">\"", {"a", 9, NULL, 0, 0});
    EXPECT_TAGS(" a=\"<Unknown Jaeger TagType \"-2147483648\">\"", {"a", INT32_MIN, NULL, 0, 0});
    /* what means something on a process is nothing on a span, and the other way round */
    EXPECT_TAGS(" hostname=1 event=2 service.name=3 ip=4", TAG_LONG("hostname", 1),
                TAG_LONG("event", 2), TAG_LONG("service.name", 3), TAG_LONG("ip", 4));
}

/* Repeats are found by other means where there are more than 64 tags. */
static void test_many_tags(void **state)
{
    (void)state;
    enum { COUNT = 300, DISTINCT = 90 };
    static char keys[DISTINCT][8];
    static struct sample_tag tags[COUNT];
    struct fm_buf expected;
    fm_buf_init(&expected, FM_MIB(1));
    fm_buf_puts(&expected, "resource{ service.name=\"s\"} scopes span{" IDS " 0+0");
    for (int i = 0; i < COUNT; i++) {
        (void)snprintf(keys[i % DISTINCT], sizeof keys[0], "k%d", i % DISTINCT);
        tags[i] = (struct sample_tag)TAG_LONG(keys[i % DISTINCT], i);
    }
    for (int i = 0; i < DISTINCT; i++)
        fm_buf_printf(&expected, " k%d=%d", i, i < COUNT % DISTINCT ? 270 + i : 180 + i);
    fm_buf_puts(&expected, "}");
    fm_buf_put_u8(&expected, 0);
    const struct sample_span span = SPAN(.tags = {tags, COUNT});
    sample_expect(&(struct sample_batch){.service = "s", .spans = {&span, 1}},
                  (const char *)expected.ptr);
    fm_buf_fini(&expected);
}

#define CHILD_OF(trace, span)                                                                      \
    {                                                                                              \
        0, 0, trace, span                                                                          \
    }
#define FOLLOWS_FROM(trace, span)                                                                  \
    {                                                                                              \
        1, 0, trace, span                                                                          \
    }
#define REFERENCES(...) .references = {SAMPLE_REFERENCES(__VA_ARGS__)}
#define PARENT(id)      " parent=000000000000000" id " 0+0"
#define LINK(trace, id, type)                                                                      \
    " link{0000000000000000000000000000000" trace ":000000000000000" id                            \
    " opentracing.ref_type=\"" type "\"}"

static void test_references(void **state)
{
    (void)state;
    EXPECT(PARENT("5"), REFERENCES(CHILD_OF(10, 5)));
    /* J22 */
    EXPECT(PARENT("5") LINK("a", "5", "follows_from"), REFERENCES(FOLLOWS_FROM(10, 5)));
    /* J23 */
    EXPECT(" 0+0" LINK("9", "5", "child_of"), REFERENCES(CHILD_OF(9, 5)));
    EXPECT(" 0+0 link{000000000000000"
           "1000000000000000a:0000000000000005"
           " opentracing.ref_type=\"child_of\"}",
           REFERENCES({0, 1, 10, 5}));
    /* J24 */
    EXPECT(PARENT("5") LINK("a", "6", "child_of"), REFERENCES(CHILD_OF(10, 5), CHILD_OF(10, 6)));
    EXPECT(PARENT("6") LINK("a", "5", "follows_from"),
           REFERENCES(FOLLOWS_FROM(10, 5), CHILD_OF(10, 6)));
    /* only the span id is compared */
    EXPECT(PARENT("5"), REFERENCES(CHILD_OF(9, 5), CHILD_OF(10, 5)));
    /* references to nothing */
    EXPECT(PARENT("5") " dropped_links=2",
           REFERENCES(CHILD_OF(10, 0), CHILD_OF(0, 4), CHILD_OF(10, 5)));
    EXPECT(" 0+0 dropped_links=7", REFERENCES(CHILD_OF(10, 0)),
           TAGS(TAG_LONG("otel.dropped_links_count", 6)));
    EXPECT(" 0+0 dropped_links=4294967295", REFERENCES(CHILD_OF(10, 0)),
           TAGS(TAG_LONG("otel.dropped_links_count", UINT32_MAX)));
}

/* J25: Thrift has a parent of its own. */
static void test_parent(void **state)
{
    (void)state;
    for (int encoding = COMPACT; encoding <= BINARY; encoding++) {
#define EXPECT_PARENT(expected, ...)                                                               \
    sample_expect_in(                                                                              \
        encoding,                                                                                  \
        &(struct sample_batch){.service = "", .spans = {SAMPLE_SPANS(SPAN(__VA_ARGS__))}}, 0,      \
        "resource{} scopes span{" IDS expected "}")
        EXPECT_PARENT(PARENT("5"), .parent_id = 5);
        EXPECT_PARENT(PARENT("5"), .parent_id = 5, REFERENCES(CHILD_OF(10, 5)));
        EXPECT_PARENT(PARENT("5") LINK("a", "6", "child_of"), .parent_id = 5,
                      REFERENCES(CHILD_OF(10, 6)));
        EXPECT_PARENT(PARENT("5") LINK("a", "5", "follows_from"), .parent_id = 5,
                      REFERENCES(FOLLOWS_FROM(10, 5)));
    }
}

static void test_events(void **state)
{
    (void)state;
#define LOGS(...) .logs = {SAMPLE_LOGS(__VA_ARGS__)}
    EXPECT(
        " 0+0 event{1000 e level=\"i\"} event{2000}",
        LOGS({1, {SAMPLE_TAGS(TAG_TEXT("level", "i"), TAG_TEXT("event", "e"))}}, {2, {NULL, 0}}));
    EXPECT(" 0+0 event{0} event{0 a=1}",
           LOGS({-1, {SAMPLE_TAGS(TAG_LONG("event", 1))}},
                {0, {SAMPLE_TAGS(TAG_TEXT("event", ""), TAG_LONG("a", 1))}}));
    EXPECT(" 0+0 event{0 f message=\"m\" error=true}",
           LOGS({0,
                 {SAMPLE_TAGS(TAG_TEXT("event", "e"), TAG_TEXT("message", "m"),
                              TAG_TEXT("event", "f"), TAG_BOOL("error", 1))}}));
    EXPECT(" 0+0 n=1 event{3000} error", TAGS(TAG_BOOL("error", 1), TAG_LONG("n", 1)),
           LOGS({3, {NULL, 0}}));
}

/* J31, and scopes that alternate. */
static void test_scopes(void **state)
{
    (void)state;
#define SCOPE(name)      TAG_TEXT("otel.scope.name", name)
#define VERSION(version) TAG_TEXT("otel.scope.version", version)
#define LIBRARY(name)    TAG_TEXT("otel.library.name", name)
#define EDITION(version) TAG_TEXT("otel.library.version", version)
    const struct sample_batch batch = {
        .service = "",
        .spans = {SAMPLE_SPANS(SPAN(.name = "1", TAGS(SCOPE("x"), VERSION("v"))), SPAN(.name = "2"),
                               SPAN(.name = "3", TAGS(LIBRARY("x"))),
                               SPAN(.name = "4", TAGS(EDITION("v"), LIBRARY("x"))),
                               SPAN(.name = "5"),
                               SPAN(.name = "6", TAGS(LIBRARY("y"), EDITION("z"), SCOPE("x"))))}};
    sample_expect(&batch, "resource{} scopes scope{x v}"
                          " span{" IDS " 1 0+0} span{" IDS " 4 0+0}"
                          " scopes span{" IDS " 2 0+0} span{" IDS " 5 0+0}"
                          " scopes scope{x} span{" IDS " 3 0+0} span{" IDS " 6 0+0}");
    EXPECT_TAGS(" otel.scope.version=\"v\"", VERSION("v"));
    EXPECT_TAGS(" otel.scope.name=1 otel.scope.version=\"v\"", TAG_LONG("otel.scope.name", 1),
                VERSION("v"));
}

static void test_blank_and_invalid(void **state)
{
    (void)state;
    sample_expect(&(struct sample_batch){.service = "s"}, "");
    sample_expect(&(struct sample_batch){.service = "s", .spans = {SAMPLE_SPANS({0})}}, "");
    for (int encoding = COMPACT; encoding <= PROTOBUF; encoding++) {
        const struct sample_batch batch = {
            .service = "",
            .spans = {SAMPLE_SPANS({.low = 1}, {.span_id = 1}, {.flags = 1}, SPAN(.name = "op"))}};
        sample_expect_in(encoding, &batch, 3,
                         "resource{} scopes"
                         " span{00000000000000000000000000000001:0000000000000000 0+0}"
                         " span{00000000000000000000000000000000:0000000000000001 0+0}"
                         " span{00000000000000000000000000000000:0000000000000000 0+0 flags=1}"
                         " span{" IDS " op 0+0}");
    }
}

/* J11: thriftrw of Node writes every value of a tag. */
static void test_all_values(void **state)
{
    (void)state;
    for (int encoding = COMPACT; encoding <= BINARY; encoding++) {
        const struct sample_batch batch = {
            .service = "s",
            .tags = {SAMPLE_TAGS(TAG_TEXT("hostname", "h"))},
            .spans = {SAMPLE_SPANS(
                SPAN(TAGS(TAG_TEXT("s", "v"), TAG_DOUBLE("d", 1.5), TAG_BOOL("t", 1),
                          TAG_LONG("n", -3), TAG_BYTES("b", "x"))))},
            .all_values = true};
        sample_expect_in(encoding, &batch, 0,
                         "resource{ service.name=\"s\" host.name=\"h\"} scopes span{" IDS
                         " 0+0 s=\"v\" d=1.5f t=true n=-3 b=0x78}");
    }
}

/* J19 */
static void test_process_of_span(void **state)
{
    (void)state;
#define OTHER(name, ...) .has_process = true, .service = name, .process_tags = { __VA_ARGS__ }
    const struct sample_batch batch = {
        .service = "s",
        .spans = {SAMPLE_SPANS(SPAN(.name = "1"), SPAN(.name = "2", OTHER("t", NULL, 0)),
                               SPAN(.name = "3", OTHER("s", NULL, 0)),
                               SPAN(.name = "4", OTHER("t", SAMPLE_TAGS(TAG_LONG("a", 1)))),
                               SPAN(.name = "5", OTHER("t", NULL, 0), TAGS(SCOPE("x"))),
                               SPAN(.name = "6", OTHER("t", NULL, 0)))}};
    sample_expect_in(PROTOBUF, &batch, 0,
                     "resource{ service.name=\"s\"} scopes"
                     " span{" IDS " 1 0+0} span{" IDS " 3 0+0}"
                     " resource{ service.name=\"t\"} scopes"
                     " span{" IDS " 2 0+0} span{" IDS " 6 0+0}"
                     " scopes scope{x} span{" IDS " 5 0+0}"
                     " resource{ service.name=\"t\" a=1} scopes span{" IDS " 4 0+0}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_span),        cmocka_unit_test(test_times),
        cmocka_unit_test(test_long_tags),   cmocka_unit_test(test_resource),
        cmocka_unit_test(test_kind),        cmocka_unit_test(test_status),
        cmocka_unit_test(test_http_status), cmocka_unit_test(test_other_tags),
        cmocka_unit_test(test_many_tags),   cmocka_unit_test(test_references),
        cmocka_unit_test(test_parent),      cmocka_unit_test(test_events),
        cmocka_unit_test(test_scopes),      cmocka_unit_test(test_blank_and_invalid),
        cmocka_unit_test(test_all_values),  cmocka_unit_test(test_process_of_span),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
