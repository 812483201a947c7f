/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked for through the bucket, and what nodes say: there and back, and hostile bytes. */
#include "../../support/test.h"

#include "fermata/recall.h"
#include "fermata/units.h"

static struct fm_buf text;

static int setup(void **state)
{
    (void)state;
    fm_buf_init(&text, FM_MIB(1));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fm_buf_fini(&text);
    return 0;
}

static void test_ids_there_and_back(void **state)
{
    struct trace_id ids[3] = {{{1}}, {{2, 255}}, {{0, 0, 0, 0, 0, 0, 0, 0, 3}}};
    struct recall_request sent = {
        .id = "0001763690000-0badcafe",
        .tenant = "shop",
        .expires_unix_ns = UINT64_C(1763690000000000001),
        .ids = ids,
        .id_count = 3,
    };
    FM_AUTO(recall_request) got = NULL;
    struct fm_why why = {""};
    (void)state;
    recall_request_render(&sent, &text);
    assert_ok(recall_request_parse(fm_buf_slice(&text), &got, &why));
    assert_string_equal(got->id, sent.id);
    assert_string_equal(got->tenant, "shop");
    assert_int_equal(got->expires_unix_ns, sent.expires_unix_ns);
    assert_int_equal(got->id_count, 3);
    assert_memory_equal(got->ids, ids, sizeof ids);
    assert_null(got->query);
}

static void test_a_query_there_and_back(void **state)
{
    char query[] = "{ span.name = \"a \\\\ \\\"b\\\"\" }";
    struct recall_request sent = {
        .id = "x",
        .tenant = "t",
        .query = query,
        .start_ns = 5,
        .end_ns = 9,
        .limit = 70,
    };
    FM_AUTO(recall_request) got = NULL;
    (void)state;
    recall_request_render(&sent, &text);
    assert_ok(recall_request_parse(fm_buf_slice(&text), &got, NULL));
    assert_string_equal(got->query, query);
    assert_int_equal(got->start_ns, 5);
    assert_int_equal(got->end_ns, 9);
    assert_int_equal(got->limit, 70);
}

static void test_what_is_wrong_is_said(void **state)
{
    static const struct {
        const char *json, *why;
    } cases[] = {
        {"", "it is not the JSON of a request"},
        {"[]", "it is not the JSON of a request"},
        {"{}", "version 0 of recall requests is not known"},
        {"{\"version\":2}", "version 2 of recall requests is not known"},
        {"{\"version\":1}", "it has no id"},
        {"{\"version\":1,\"id\":\"../x\"}", "it has no id"},
        {"{\"version\":1,\"id\":\"x\"}", "it has no tenant"},
        {"{\"version\":1,\"id\":\"x\",\"tenant\":\"..\"}", "it has no tenant"},
        {"{\"version\":1,\"id\":\"x\",\"tenant\":\"t\"}", "it has to have trace ids or a query"},
        {"{\"version\":1,\"id\":\"x\",\"tenant\":\"t\",\"query\":\"{}\",\"traceIds\":[\"1\"]}",
         "it has to have trace ids or a query"},
        {"{\"version\":1,\"id\":\"x\",\"tenant\":\"t\",\"query\":\"{}\"}",
         "its query has no range of time"},
        {"{\"version\":1,\"id\":\"x\",\"tenant\":\"t\",\"traceIds\":[\"q\"]}",
         "it is not the JSON of a request"},
    };
    (void)state;
    for (size_t i = 0; i < FM_COUNT(cases); i++) {
        struct recall_request *got = NULL;
        struct fm_why why = {""};
        assert_true(recall_request_parse(fm_slice_text(cases[i].json), &got, &why) < 0);
        assert_string_equal(why.text, cases[i].why);
    }
}

static void test_answers_there_and_back(void **state)
{
    struct recall_answer sent = {
        .node = "00112233445566778899aabbccddeeff",
        .host = "edge-17",
        .state = RECALL_FAILED,
        .found_traces = 1,
        .traces = 2,
        .spans = 3,
        .bytes = 4,
        .blocks = 5,
        .is_partial = true,
        .unix_ns = 6,
        .why = "query: it is \"wrong\"",
    };
    struct recall_answer got = {.host = ""};
    (void)state;
    recall_answer_render(&sent, &text);
    assert_ok(recall_answer_parse(fm_buf_slice(&text), &got));
    assert_memory_equal(&got, &sent, sizeof got);
}

static void test_cut_and_flipped(void **state)
{
    struct trace_id ids[2] = {{{1}}, {{2}}};
    struct recall_request sent = {.id = "x", .tenant = "t", .ids = ids, .id_count = 2};
    (void)state;
    recall_request_render(&sent, &text);
    for (size_t len = 0; len + 2 < text.len; len++) {
        struct recall_request *got = NULL;
        assert_true(recall_request_parse(fm_slice(text.ptr, len), &got, NULL) < 0);
    }
    for (size_t bit = 0; bit < text.len * 8; bit++) {
        FM_AUTO(recall_request) got = NULL;
        text.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (recall_request_parse(fm_buf_slice(&text), &got, NULL) == FM_OK)
            assert_true(recall_id_is_valid(fm_slice_text(got->id)));
        text.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

#define REQUEST_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REQUEST_TEST(test_ids_there_and_back),    REQUEST_TEST(test_a_query_there_and_back),
        REQUEST_TEST(test_what_is_wrong_is_said), REQUEST_TEST(test_answers_there_and_back),
        REQUEST_TEST(test_cut_and_flipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
