/* SPDX-License-Identifier: Apache-2.0 */
/* Search answers, against what Tempo said to the same spans. */
#include "golden.h"

static struct eval_attribute frontend_shown[] = {{T("service.name"), TEXT("shop-frontend")}};
static struct eval_attribute cart_shown[] = {{T("service.name"), TEXT("cart")}};
static struct eval_span by_frontend[] = {{
    .id = {0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31},
    .start_ns = UINT64_C(1795221125000000000),
    .duration_ns = 249999872,
    .attributes = frontend_shown,
    .attribute_count = 1,
}};
static struct eval_span by_cart[] = {{
    .id = {0xd0, 0, 0, 0, 0, 0, 0, 1},
    .start_ns = UINT64_C(1795221125030000128),
    .duration_ns = 160000000,
    .attributes = cart_shown,
    .attribute_count = 1,
}};
static struct eval_label frontend_labels[] = {
    {T("by(resource.service.name)"), TEXT("shop-frontend")},
    {T("count()"), INT(2)},
    {T("avg(duration)"), SPAN_OF_TIME(214999936)},
};
static struct eval_label cart_labels[] = {
    {T("by(resource.service.name)"), TEXT("cart")},
    {T("count()"), INT(3)},
    {T("avg(duration)"), SPAN_OF_TIME(90003370)},
};
static struct eval_spanset by_sets[] = {
    {by_frontend, 1, 2, frontend_labels, 3},
    {by_cart, 1, 3, cart_labels, 3},
};
static struct eval_service services[] = {{T("cart"), 3, 1}, {T("shop-frontend"), 2, 1}};
static struct trace_id shop_id = {{0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb,
                                   0x21, 0x1c, 0x80, 0x31, 0x9c}};

static struct eval_trace shop_trace(struct eval_spanset *sets, uint32_t set_count)
{
    return (struct eval_trace){
        .id = shop_id,
        .root_service = T("shop-frontend"),
        .root_name = T("GET /cart"),
        .start_ns = UINT64_C(1795221125000000000),
        .duration_ns = 249999872,
        .sets = sets,
        .set_count = set_count,
        .services = services,
        .service_count = 2,
    };
}

static void test_by(void **state)
{
    struct eval_trace trace = shop_trace(by_sets, 2);
    struct answer_stats stats = {.inspected_bytes = 21943, .job_count = 1, .jobs_done = 1};
    struct fm_buf answer;

    (void)state;
    fm_buf_init(&answer, FM_KIB(64));
    answer_search(&trace, 1, true, &stats, ANSWER_JSON, &answer);
    golden_equal("search-by.json", &answer);
    fm_buf_fini(&answer);
}

static void test_everything(void **state)
{
    struct eval_span root = by_frontend[0];
    root.attribute_count = 0;
    struct eval_span tick = {.start_ns = UINT64_C(1795221130000000000), .duration_ns = 399872};
    memset(tick.id, 0x11, sizeof tick.id);
    struct eval_spanset sets[] = {{&tick, 1, 1, NULL, 0}, {&root, 1, 5, NULL, 0}};
    struct eval_service batch = {T("batch"), 1, 0};
    struct answer_stats stats = {.inspected_bytes = 21699, .job_count = 1, .jobs_done = 1};
    struct eval_trace traces[2] = {
        {
            .id = {{0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34, 0x56, 0x78, 0x90, 0xab, 0xcd, 0xef}},
            .root_service = T("batch"),
            .root_name = T("tick"),
            .start_ns = UINT64_C(1795221130000000000),
            .duration_ns = 399872,
            .sets = &sets[0],
            .set_count = 1,
            .services = &batch,
            .service_count = 1,
        },
        shop_trace(&sets[1], 1),
    };
    struct fm_buf answer;

    (void)state;
    fm_buf_init(&answer, FM_KIB(64));
    answer_search(traces, 2, true, &stats, ANSWER_JSON, &answer);
    golden_equal("search-all.json", &answer);
    fm_buf_fini(&answer);
}

static void test_by_tags(void **state)
{
    struct eval_trace trace = shop_trace(by_sets, 2);
    struct answer_stats stats = {
        .inspected_traces = 2, .inspected_bytes = 20819, .job_count = 1, .jobs_done = 1};
    struct fm_buf answer;

    (void)state;
    fm_buf_init(&answer, FM_KIB(64));
    answer_search(&trace, 1, false, &stats, ANSWER_JSON, &answer);
    golden_equal("search-tags.json", &answer);
    fm_buf_fini(&answer);
}

static void test_edges(void **state)
{
    struct eval_attribute shown[] = {
        {T("a\"b\\\n\x01"), TEXT("\xff<&>\xe2\x82\xac")},
        {T("flag"), {.type = TRACEQL_BOOL}},
        {T("n"), INT(0)},
        {T("f"), {.type = TRACEQL_FLOAT, .number = 0.1}},
        {T("status"), {.type = TRACEQL_STATUS, .integer = 2}},
        {T("kind"), {.type = TRACEQL_KIND, .integer = 3}},
        {T("none"), {.type = TRACEQL_NIL}},
    };
    struct eval_span span = {
        .name = T("op"), .shows_name = true, .attributes = shown, .attribute_count = 7};
    struct eval_spanset set = {&span, 1, 1, NULL, 0};
    struct eval_trace trace = {.sets = &set, .set_count = 1};
    struct answer_stats none = {0};
    struct fm_buf answer;

    (void)state;
    fm_buf_init(&answer, FM_KIB(64));
    answer_search(NULL, 0, true, &none, ANSWER_JSON, &answer);
    golden_text(&answer, "{\"traces\":[],\"metrics\":{}}");
    answer_search(&trace, 1, true, &none, ANSWER_JSON, &answer);
#define SET                                                                                        \
    "{\"spans\":[{\"spanID\":\"0000000000000000\",\"name\":\"op\",\"attributes\":["                \
    "{\"key\":\"a\\\"b\\\\\\n\\u0001\",\"value\":{\"stringValue\":\"\xef\xbf\xbd<&>\xe2\x82\xac"   \
    "\"}},{\"key\":\"flag\",\"value\":{\"boolValue\":false}},"                                     \
    "{\"key\":\"n\",\"value\":{\"intValue\":\"0\"}},"                                              \
    "{\"key\":\"f\",\"value\":{\"doubleValue\":0.1}},"                                             \
    "{\"key\":\"status\",\"value\":{\"stringValue\":\"error\"}},"                                  \
    "{\"key\":\"kind\",\"value\":{\"stringValue\":\"client\"}},"                                   \
    "{\"key\":\"none\",\"value\":{\"stringValue\":\"nil\"}}]}],\"matched\":1}"
    golden_text(&answer, "{\"traces\":[{\"traceID\":\"0\","
                         "\"rootServiceName\":\"<root span not yet received>\",\"spanSet\":" SET
                         ",\"spanSets\":[" SET "]}],\"metrics\":{}}");
    fm_buf_fini(&answer);
}

static void test_protobuf(void **state)
{
    struct eval_trace trace = shop_trace(by_sets, 2);
    struct answer_stats stats = {.inspected_traces = 1,
                                 .inspected_bytes = 2,
                                 .block_count = 3,
                                 .jobs_done = 4,
                                 .job_count = 5,
                                 .block_bytes = 6,
                                 .inspected_spans = 7};
    struct fm_buf answer;

    (void)state;
    fm_buf_init(&answer, FM_KIB(64));
    answer_search(&trace, 1, true, &stats, ANSWER_PROTOBUF, &answer);
    struct fm_slice all = fm_buf_slice(&answer), one = golden_field(all, 1, 0).bytes;
    golden_string(one, 1, "af7651916cd43dd8448eb211c80319c");
    golden_string(one, 2, "shop-frontend");
    golden_string(one, 3, "GET /cart");
    assert_int_equal(golden_field(one, 4, 0).value, UINT64_C(1795221125000000000));
    assert_int_equal(golden_field(one, 5, 0).value, 249);
    assert_true(fm_slice_equal(golden_field(one, 6, 0).bytes, golden_field(one, 7, 0).bytes));
    assert_int_equal(golden_count(one, 7), 2);
    struct fm_slice set = golden_field(one, 7, 1).bytes, span = golden_field(set, 1, 0).bytes;
    golden_string(span, 1, "d000000000000001");
    assert_int_equal(golden_count(span, 2), 0);
    assert_int_equal(golden_field(span, 3, 0).value, UINT64_C(1795221125030000128));
    assert_int_equal(golden_field(span, 4, 0).value, 160000000);
    struct fm_slice shown = golden_field(span, 5, 0).bytes;
    golden_string(shown, 1, "service.name");
    golden_string(golden_field(shown, 2, 0).bytes, 1, "cart");
    assert_int_equal(golden_field(set, 2, 0).value, 3);
    assert_int_equal(golden_count(set, 3), 3);
    struct fm_slice count = golden_field(golden_field(set, 3, 1).bytes, 2, 0).bytes;
    assert_int_equal(golden_field(count, 3, 0).value, 3);
    struct fm_slice entry = golden_field(one, 8, 0).bytes;
    golden_string(entry, 1, "cart");
    assert_int_equal(golden_field(golden_field(entry, 2, 0).bytes, 2, 0).value, 1);
    for (uint32_t i = 1; i <= 7; i++)
        assert_int_equal(golden_field(golden_field(all, 2, 0).bytes, i, 0).value, i);
    fm_buf_fini(&answer);
}

/* Whatever allocation fails: the buffer says so, or the answer is whole. */
static void test_memory(void **state)
{
    struct eval_trace trace = shop_trace(by_sets, 2);
    struct answer_stats stats = {0};
    bool failed = true;

    (void)state;
    for (int format = ANSWER_JSON; format <= ANSWER_PROTOBUF; format++) {
        failed = true;
        for (uint64_t nth = 1; failed; nth++) {
            struct fm_buf answer;
            fm_buf_init(&answer, FM_KIB(64));
            test_alloc_fail_at(nth);
            answer_search(&trace, 1, true, &stats, format, &answer);
            failed = test_alloc_failed();
            test_alloc_disarm();
            assert_int_equal(answer.failed, failed);
            fm_buf_fini(&answer);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by),       cmocka_unit_test(test_everything),
        cmocka_unit_test(test_by_tags),  cmocka_unit_test(test_edges),
        cmocka_unit_test(test_protobuf), cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
