/* SPDX-License-Identifier: Apache-2.0 */
#include "../../support/test.h"

#include "fermata/decode.h"
#include "vectors.h"

static int decode(const char *json, struct fm_buf *target, struct fm_why *why)
{
    uint8_t *copy = test_exact_copy(fm_slice_text(json));
    fm_buf_init(target, FM_MIB(4));
    int rc = otlp_json_decode(fm_slice(copy, strlen(json)), target, why);
    free(copy);
    return rc;
}

/* json decodes to the bytes of the vector. */
static void assert_decodes(const char *json, const char *vector)
{
    struct fm_buf got, expected = vector_bytes(vector);
    struct fm_why why = {""};
    if (decode(json, &got, &why) != FM_OK)
        fail_msg("%s: %s", json, why.text);
    assert_int_equal(got.len, expected.len);
    if (got.len)
        assert_memory_equal(got.ptr, expected.ptr, got.len);
    fm_buf_fini(&got);
    fm_buf_fini(&expected);
}

/* A span's members in JSON, and its fields. */
static void assert_span(const char *members, const char *fields)
{
    char json[2000], vector[2000];
    (void)snprintf(json, sizeof json, "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{%s}]}]}]}",
                   members);
    (void)snprintf(vector, sizeof vector, "0a(12(12(%s)))", fields);
    assert_decodes(json, vector);
}

/* An attribute's value. */
static void assert_value(const char *value, const char *fields)
{
    char members[1000], vector[1000];
    (void)snprintf(members, sizeof members, "\"attributes\":[{\"key\":\"k\",\"value\":{%s}}]",
                   value);
    (void)snprintf(vector, sizeof vector, "4a(0a016b 12(%s))", fields);
    assert_span(members, vector);
}

static void test_every_field(void **state)
{
    (void)state;
    assert_decodes(
        "{\"resourceSpans\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":{"
        "\"stringValue\":\"svc\"}}],\"droppedAttributesCount\":1},\"scopeSpans\":[{\"scope\":{"
        "\"name\":\"lib\",\"version\":\"1\",\"attributes\":[{\"key\":\"a\",\"value\":{\"b"
        "oolValue\":"
        "false}}],\"droppedAttributesCount\":2},\"spans\":[{\"traceId\":"
        "\"5b8efff798038103d269b633813fc60c\",\"spanId\":\"eee19b7ec3c1b174\",\"traceStat"
        "e\":\"a=1\","
        "\"parentSpanId\":\"eee19b7ec3c1b173\",\"name\":\"op\",\"kind\":3,\"startTimeUnix"
        "Nano\":\"1\","
        "\"endTimeUnixNano\":\"2\",\"attributes\":[{\"key\":\"s\",\"value\":{\"stringValu"
        "e\":\"v\"}},"
        "{\"key\":\"b\",\"value\":{\"boolValue\":true}},{\"key\":\"i\",\"value\":{\"intVa"
        "lue\":\"-1\"}},"
        "{\"key\":\"d\",\"value\":{\"doubleValue\":1.5}},{\"key\":\"e\",\"value\":{}},{"
        "\"key\":\"y\","
        "\"value\":{\"bytesValue\":\"AP8=\"}},{\"key\":\"r\",\"value\":{\"arrayValue\":{"
        "\"values\":[{"
        "\"stringValue\":\"x\"},{}]}}},{\"key\":\"k\",\"value\":{\"kvlistValue\":{\"values\":[{"
        "\"key\":\"n\",\"value\":{\"intValue\":7}}]}}}],\"droppedAttributesCount\":3,\"events\":[{"
        "\"timeUnixNano\":\"1\",\"name\":\"ev\",\"attributes\":[{\"key\":\"a\",\"value\":"
        "{\"intValue\":"
        "\"1\"}}],\"droppedAttributesCount\":4}],\"droppedEventsCount\":5,\"links\":[{\"traceId\":"
        "\"5b8efff798038103d269b633813fc60d\",\"spanId\":\"eee19b7ec3c1b172\",\"traceStat"
        "e\":\"b=2\","
        "\"attributes\":[{\"key\":\"l\",\"value\":{\"stringValue\":\"\"}}],\"droppedAttri"
        "butesCount\":6,"
        "\"flags\":769}],\"droppedLinksCount\":7,\"status\":{\"message\":\"boom\",\"code\":2},"
        "\"flags\":257}],\"schemaUrl\":\"s2\"}],\"schemaUrl\":\"s1\"}]}",
        VECTOR_A2);
}

static void test_shapes(void **state)
{
    (void)state;
    assert_decodes("{}", "");
    assert_decodes("\xef\xbb\xbf {\"resourceSpans\":[]} ", "");
    assert_decodes("{\"resourceSpans\":null,\"x\":[{\"y\":[1,{}]}]}", "");
    assert_decodes("{\"resourceSpans\":[{},null,{\"scopeSpans\":[{}]}]}", "0a() 0a(12())");
    assert_decodes("{\"resourceSpans\":[{\"resource\":{\"entityRefs\":[{\"schemaUrl\":\"u\","
                   "\"type\":\"t\",\"idKeys\":[\"a\",\"b\"],\"descriptionKeys\":[]}]}}]}",
                   "0a(0a(1a(0a0175 120174 1a0161 1a0162)))");
    /* older spellings */
    assert_decodes("{\"resource_spans\":[{\"scope_spans\":[{\"schema_url\":\"u\"}]}]}",
                   "0a(12(1a0175))");
    assert_decodes("{\"resourceSpans\":[{\"instrumentationLibrarySpans\":[{"
                   "\"instrumentationLibrary\":{\"name\":\"l\"},\"spans\":[{}]}]}]}",
                   "0a(c23e(0a(0a016c) 12()))");
    assert_decodes("{\"resourceSpans\":[{\"deprecatedScopeSpans\":[{}]}]}", "0a(c23e())");
}

static void test_scalars(void **state)
{
    (void)state;
    assert_span("\"trace_id\":\"5B8EFFF798038103D269B633813FC60C\"",
                "0a105b8efff798038103d269b633813fc60c");
    assert_span("\"traceId\":\"\",\"spanId\":\"\",\"parentSpanId\":null", "0a00 1200");
    assert_span("\"traceId\":\"00\",\"spanId\":\"x\"", "0a0100 120100");
    assert_span("\"traceId\":\"CvdlGRbNQ92ESOshHIAxnA==\",\"spanId\":\"t61rcWkgMzE=\"",
                "0a0100 120100");
    assert_span("\"traceId\":\"000000000000000000000000000000000000\"", "0a0100");
    assert_span("\"kind\":\"SPAN_KIND_SERVER\",\"status\":{\"code\":\"STATUS_CODE_ERROR\"}",
                "3002 7a(1802)");
    assert_span("\"kind\":\"4\",\"status\":{\"code\":\"1\"}", "3004 7a(1801)");
    assert_span("\"kind\":99,\"status\":{\"code\":-1}", "3063 7a(18ffffffffffffffffff01)");
    assert_span("\"kind\":\"NONSENSE\",\"status\":{\"code\":4294967296}", "7a()");
    assert_span("\"start_time_unix_nano\":1.5447e18,\"endTimeUnixNano\":18446744073709551615",
                "3900c08b4077e06f15 41ffffffffffffffff");
    assert_span("\"startTimeUnixNano\":-1,\"endTimeUnixNano\":\"soon\"", "");
    assert_span("\"flags\":4294967295,\"droppedLinksCount\":\"4294967295\"",
                "8501ffffffff 70ffffffff0f");
    assert_span("\"flags\":4294967296,\"droppedEventsCount\":-1,\"droppedAttributesCount\":1.5",
                "");
    assert_span("\"name\":\"a\\u0000\\ud83d\\ude00\\ud800\"", "2a(6100 f09f9880 efbfbd)");
    assert_span("\"name\":null,\"kind\":null,\"attributes\":null,\"events\":null,\"status\":null,"
                "\"links\":[null],\"startTimeUnixNano\":null,\"flags\":null,\"traceState\":null",
                "");
}

static void test_values(void **state)
{
    (void)state;
    assert_value("\"intValue\":\"9223372036854775807\"", "18ffffffffffffffff7f");
    assert_value("\"int_value\":-9223372036854775808", "1880808080808080808001");
    assert_value("\"intValue\":1e400", "");
    assert_value("\"intValue\":\"abc\"", "");
    assert_value("\"intValue\":1e3", "18e807");
    assert_value("\"doubleValue\":\"NaN\"", "21000000000000f87f");
    assert_value("\"doubleValue\":\"-Infinity\"", "21000000000000f0ff");
    assert_value("\"doubleValue\":\"2.5\"", "210000000000000440");
    assert_value("\"doubleValue\":1e999", "");
    assert_value("\"bytesValue\":\"_-8\"", "3a(ffef)");
    assert_value("\"bytesValue\":\"/+8=\"", "3a(ffef)");
    assert_value("\"bytesValue\":\"\"", "3a()");
    assert_value("\"arrayValue\":{}", "2a()");
    assert_value("\"kvlist_value\":{\"values\":[{\"key\":\"a\"},{\"value\":{\"array_value\":{"
                 "\"values\":[{\"bool_value\":true}]}}}]}",
                 "32(0a(0a0161) 0a(12(2a(0a(1001)))))");
    assert_value("\"stringValue\":null", "");
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json, *error;
    } rows[] = {
        {"", "unexpected end at byte 0"},
        {"[]", "expected an object at byte 1"},
        {"\"x\"", "expected an object at byte 3"},
        {"{", "unexpected end at byte 1"},
        {"{} x", "text behind the value at byte 3"},
        {"{\"resourceSpans\":{}", "unexpected end at byte 19"},
        {"{\"resourceSpans\":[1]}", "expected an object at byte 19"},
        {"{\"resourceSpans\":[{\"schemaUrl\":1}]}", NULL},
        {"{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"traceId\":1}]}]}]}", NULL},
        {"{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"kind\":{}}]}]}]}", NULL},
        {"{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"kind\":true}]}]}]}", NULL},
        {"{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"attributes\":[{\"value\":{"
         "\"boolValue\":\"x\"}}]}]}]}]}",
         NULL},
        {"{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"attributes\":[{\"value\":{"
         "\"bytesValue\":\"*\"}}]}]}]}]}",
         NULL},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct fm_buf got;
        struct fm_why why;
        assert_int_equal(decode(rows[i].json, &got, &why), FM_EMALFORMED);
        if (rows[i].error)
            assert_string_equal(why.text, rows[i].error);
        fm_buf_fini(&got);
    }
    struct fm_buf deep, got;
    struct fm_why why;
    fm_buf_init(&deep, FM_MIB(1));
    fm_buf_init(&got, FM_MIB(1));
    for (int i = 0; i < 10000; i++)
        fm_buf_puts(&deep, "{\"resourceSpans\":");
    assert_int_equal(otlp_json_decode(fm_buf_slice(&deep), &got, &why), FM_EMALFORMED);
    fm_buf_fini(&deep);
    fm_buf_init(&deep, FM_MIB(1));
    fm_buf_puts(&deep, "{\"x\":");
    for (int i = 0; i < 10000; i++)
        fm_buf_puts(&deep, "[");
    fm_buf_reset(&got);
    assert_int_equal(otlp_json_decode(fm_buf_slice(&deep), &got, &why), FM_EMALFORMED);
    assert_string_equal(why.text, "nested too deeply at byte 68");
    fm_buf_fini(&deep);
    fm_buf_fini(&got);
}

/* What comes out can always be checked and mended. */
static void json_body(void *self, struct fm_slice input)
{
    (void)self;
    struct fm_buf got;
    struct decode_facts facts;
    fm_buf_init(&got, FM_MIB(1));
    decode_facts_init(&facts);
    int rc = otlp_json_decode(input, &got, NULL);
    assert_true(rc == FM_OK || rc == FM_EMALFORMED);
    if (rc == FM_OK)
        assert_ok(otlp_pb_check(fm_buf_slice(&got), &decode_limits_default, &facts, NULL));
    decode_facts_fini(&facts);
    fm_buf_fini(&got);
}

static const char small_json[] =
    "{\"resourceSpans\":[{\"resource\":{\"attributes\":[{\"key\":\"a\\n\",\"value\":{"
    "\"intValue\":1}}]},"
    "\"scopeSpans\":[{\"spans\":[{\"traceId\":\"5b8efff798038103d269b633813fc60c\",\"spanId\":"
    "\"eee19b7ec3c1b174\",\"name\":\"\\u00e9\",\"kind\":2,\"startTimeUnixNano\":\"1\"}]}]}]}";

static void test_hostile_input(void **state)
{
    (void)state;
    test_each_prefix(fm_slice_text(small_json), json_body, NULL);
    test_each_bit_flip(fm_slice_text(small_json), json_body, NULL);
}

static void test_allocation_failures(void **state)
{
    (void)state;
    for (uint64_t nth = 1;; nth++) {
        struct fm_buf got;
        fm_buf_init(&got, FM_MIB(1));
        test_alloc_fail_at(nth);
        int rc = otlp_json_decode(fm_slice_text(small_json), &got, NULL);
        bool reached = test_alloc_failed();
        test_alloc_disarm();
        assert_int_equal(rc, reached ? FM_ENOMEM : FM_OK);
        fm_buf_fini(&got);
        if (!reached)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_field),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_scalars),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_hostile_input),
        cmocka_unit_test(test_allocation_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
