/* SPDX-License-Identifier: Apache-2.0 */
/* Names and values, against what Tempo said. */
#include "golden.h"

static const struct fm_slice link_tags[] = {T("link.type")};
static const struct fm_slice resource_tags[] = {T("deployment.environment"), T("host.name"),
                                                T("service.instance.id"), T("service.name"),
                                                T("service.namespace")};
static const struct fm_slice scope_tags[] = {T("lib.lang")};
static const struct fm_slice span_tags[] = {
    T("db.name"),  T("db.system"), T("flag"), T("http.method"), T("http.status_code"),
    T("http.url"), T("ints"),      T("list"), T("note"),        T("peer.service"),
    T("ratio")};
static const struct fm_slice event_tags[] = {T("cache.key")};
static const struct answer_stats tag_stats = {.inspected_bytes = 21099};

static void test_names(void **state)
{
    /* The same names may come from several scopes: each is said once. */
    struct answer_scope scopes[] = {
        {"link", link_tags, 1},
        {"resource", resource_tags, FM_COUNT(resource_tags)},
        {"instrumentation", scope_tags, 1},
        {"span", span_tags, FM_COUNT(span_tags)},
        {"intrinsic", NULL, 0},
        {"event", event_tags, 1},
        {"again", resource_tags, FM_COUNT(resource_tags)},
    };
    struct fm_buf answer;

    (void)state;
    fm_buf_init(&answer, FM_KIB(64));
    answer_tags(scopes, FM_COUNT(scopes), &tag_stats, ANSWER_JSON, &answer);
    golden_equal("tags.json", &answer);
    scopes[4].tags = answer_intrinsics(&scopes[4].tag_count);
    assert_int_equal(scopes[4].tag_count, 25);
    answer_tags_v2(scopes, 6, &tag_stats, ANSWER_JSON, &answer);
    golden_equal("tags-v2.json", &answer);
    answer_tags(NULL, 0, &(struct answer_stats){0}, ANSWER_JSON, &answer);
    golden_text(&answer, "{\"tagNames\":[],\"metrics\":{}}");
    fm_buf_fini(&answer);
}

static void test_names_protobuf(void **state)
{
    struct answer_scope scopes[] = {{"resource", resource_tags, FM_COUNT(resource_tags)},
                                    {"none", NULL, 0}};
    struct answer_stats stats = {
        .inspected_bytes = 1, .job_count = 2, .jobs_done = 3, .block_count = 4, .block_bytes = 5};
    struct fm_buf answer;

    (void)state;
    fm_buf_init(&answer, FM_KIB(64));
    answer_tags(scopes, 2, &stats, ANSWER_PROTOBUF, &answer);
    assert_int_equal(golden_count(fm_buf_slice(&answer), 1), 5);
    golden_string(fm_buf_slice(&answer), 1, "deployment.environment");
    for (uint32_t i = 1; i <= 5; i++)
        assert_int_equal(golden_field(golden_field(fm_buf_slice(&answer), 2, 0).bytes, i, 0).value,
                         i);
    fm_buf_reset(&answer);
    answer_tags_v2(scopes, 2, &stats, ANSWER_PROTOBUF, &answer);
    assert_int_equal(golden_count(fm_buf_slice(&answer), 1), 1);
    struct fm_slice scope = golden_field(fm_buf_slice(&answer), 1, 0).bytes;
    golden_string(scope, 1, "resource");
    assert_int_equal(golden_count(scope, 2), 5);
    fm_buf_fini(&answer);
}

static void test_values(void **state)
{
    const struct traceql_value sorted[] = {TEXT("batch"), TEXT("cart"), TEXT("shop-frontend")};
    const struct traceql_value texts[] = {TEXT("cart"), TEXT("batch"), TEXT("shop-frontend")};
    const struct traceql_value statuses[] = {{.type = TRACEQL_STATUS, .integer = 1},
                                             {.type = TRACEQL_STATUS, .integer = 2},
                                             {.type = TRACEQL_STATUS, .integer = 0}};
    const struct traceql_value ratio = {.type = TRACEQL_FLOAT, .number = 0.75};
    const struct traceql_value mixed[] = {TEXT(""), INT(-7), SPAN_OF_TIME(1500000)};
    struct answer_stats stats = {.inspected_bytes = 19360};
    struct fm_buf answer;

    (void)state;
    fm_buf_init(&answer, FM_KIB(64));
    answer_values(sorted, 3, &stats, ANSWER_JSON, &answer);
    golden_equal("values.json", &answer);
    answer_values_v2(texts, 3, &stats, ANSWER_JSON, &answer);
    golden_equal("values-v2.json", &answer);
    answer_values_v2(statuses, 3, &(struct answer_stats){0}, ANSWER_JSON, &answer);
    golden_equal("values-keyword.json", &answer);
    stats.inspected_bytes = 19615;
    answer_values_v2(&ratio, 1, &stats, ANSWER_JSON, &answer);
    golden_equal("values-float.json", &answer);
    answer_values_v2(mixed, 3, &(struct answer_stats){0}, ANSWER_JSON, &answer);
    golden_text(&answer,
                "{\"tagValues\":[{\"type\":\"string\"},{\"type\":\"int\",\"value\":\"-7\"},"
                "{\"type\":\"duration\",\"value\":\"1.5ms\"}],\"metrics\":{}}");
    answer_values(mixed, 3, &(struct answer_stats){0}, ANSWER_JSON, &answer);
    golden_text(&answer, "{\"tagValues\":[\"\",\"-7\",\"1.5ms\"],\"metrics\":{}}");
    fm_buf_fini(&answer);
}

static void test_values_protobuf(void **state)
{
    const struct traceql_value values[] = {TEXT("a\xff"), INT(5)};
    struct answer_stats stats = {0};
    struct fm_buf answer;

    (void)state;
    fm_buf_init(&answer, FM_KIB(64));
    answer_values(values, 2, &stats, ANSWER_PROTOBUF, &answer);
    golden_string(fm_buf_slice(&answer), 1, "a\xef\xbf\xbd");
    assert_true(fm_slice_equal_text(golden_field(fm_buf_slice(&answer), 1, 1).bytes, "5"));
    fm_buf_reset(&answer);
    answer_values_v2(values, 2, &stats, ANSWER_PROTOBUF, &answer);
    struct fm_slice second = golden_field(fm_buf_slice(&answer), 1, 1).bytes;
    golden_string(second, 1, "int");
    golden_string(second, 2, "5");
    fm_buf_fini(&answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_names_protobuf),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_values_protobuf),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
