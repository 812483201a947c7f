/* SPDX-License-Identifier: Apache-2.0 */
/* What a part of a trace can say: the weak form of queries, and searches over partial traces. */
#include "ask.h"

static void expect_weak(const char *text, bool is_local, const char *expected)
{
    struct fm_arena arena;
    struct traceql_query *query, *weak;
    struct fm_why why = {0};
    struct fm_buf printed;
    fm_arena_init(&arena, FM_MIB(1));
    fm_buf_init(&printed, 4096);
    if (traceql_parse(fm_slice_text(text), &arena, &query, &why) < 0)
        fail_msg("%s: %s", text, why.text);
    assert_ok(traceql_check(query, &why));
    if (eval_is_local(query) != is_local)
        fail_msg("%s: is it local?", text);
    assert_ok(eval_weaken(query, &arena, &weak));
    assert_ok(traceql_check(weak, &why));
    assert_true(eval_is_local(weak) || strstr(expected, "||"));
    traceql_print(weak, &printed);
    fm_buf_put_u8(&printed, 0);
    if (strcmp((const char *)printed.ptr, expected) != 0)
        fail_msg("%s: expected %s, got %s", text, expected, printed.ptr);
    fm_buf_fini(&printed);
    fm_arena_fini(&arena);
}

static void test_weak_forms(void **state)
{
    static const struct {
        const char *text;
        bool is_local;
        const char *weak;
    } cases[] = {
        {"{}", true, "{ true }"},
        {"{ .a = 1 }", true, "{ .a = 1 }"},
        {"{ .a = 1 } | { .b = 2 } | select(rootName)", true, "{ .a = 1 } | { .b = 2 }"},
        {"{ trace:id = \"1\" }", true, "{ trace:id = `1` }"},
        {"{ event:name = \"x\" || link:spanID = \"y\" }", true,
         "{ (event:name = `x`) || (link:spanID = `y`) }"},
        {"{ rootName = \"x\" }", false, "{ true }"},
        {"{ .a = 1 && rootName = \"x\" }", false, "{ .a = 1 }"},
        {"{ rootName = \"x\" && .a = 1 }", false, "{ .a = 1 }"},
        {"{ .a = 1 && traceDuration > 1s && .b = 2 }", false, "{ (.a = 1) && (.b = 2) }"},
        {"{ .a = 1 || nestedSetParent < 0 }", false, "{ true }"},
        {"{ .a = 1 && !(span:childCount > 2) && .b != .c }", false, "{ (.a = 1) && (.b != .c) }"},
        {"{ .a = 1 } >> { .b = 2 }", false, "{ .b = 2 }"},
        {"{ .a = 1 } >> {}", false, "{ .a = 1 }"},
        {"{ .a = 1 } !>> {}", false, "{ true }"},
        {"{ .a = 1 } !>> { .b = 2 }", false, "{ .b = 2 }"},
        {"{ .a = 1 } &<< { .b = 2 }", false, "{ .b = 2 }"},
        {"{ .a = 1 } && { rootName = \"x\" }", false, "{ .a = 1 }"},
        {"{ .a = 1 } || { .b = 2 }", false, "({ .a = 1 }) || ({ .b = 2 })"},
        {"{ .a = 1 } || { rootName = \"x\" }", false, "{ true }"},
        {"{ .a = 1 } > { .b = 2 } > {}", false, "{ .b = 2 }"},
        {"({ .a = 1 } | count() > 2) && ({} | count() > 0)", false, "{ .a = 1 }"},
        {"({ .a = 1 } >> {}) | { .b = 2 }", false, "{ .a = 1 }"},
        {"({} >> {}) | { .b = 2 }", false, "{ .b = 2 }"},
        {"{ .a = 1 } | count() > 3 | { .b = 2 }", false, "{ .a = 1 } | { .b = 2 }"},
        {"{ .a = 1 } | by(.c) | avg(duration) > 1s", false, "{ .a = 1 }"},
        {"{ .a = 1 } | rate() by (.c)", true, "{ .a = 1 }"},
        {"{ .a = 1 } | rate() by (rootName)", false, "{ .a = 1 }"},
        {"{ .a = 1 } | max_over_time(traceDuration)", false, "{ .a = 1 }"},
        {"{ .a = 1 } | compare({ .b = 2 })", false, "{ .a = 1 }"},
        {"{ .a = 1 } >> { .b = 2 } | rate()", false, "{ .b = 2 }"},
    };
    (void)state;
    for (size_t i = 0; i < FM_COUNT(cases); i++)
        expect_weak(cases[i].text, cases[i].is_local, cases[i].weak);
}

/* Traces 1, 2, 3 begin at 100, 200, 300 ms and last 10 ms. */
static const struct table_row rows[] = {
    {"01", "A000000000000000", "", "a", "one", 2, 0, 100, 10, "", "", ""},
    {"02", "B000000000000000", "", "a", "two", 2, 0, 200, 10, "", "", ""},
    {"03", "C000000000000000", "", "b", "three", 2, 0, 300, 10, "", "", ""},
};
#define MS UINT64_C(1000000)

static void search_over(const char *query, const struct eval_limits *limits, uint32_t limit,
                        uint64_t floor_ns, const char *found, const char *candidates)
{
    const struct eval_search_options options = {.limit = limit, .spss = 3};
    FM_AUTO(eval_search) search = NULL;
    struct ask ask;
    struct fm_buf text;
    uint32_t count;
    size_t candidate_count;
    fm_buf_init(&text, 1024);
    assert_ok(ask_plan(&ask, query));
    assert_ok(eval_search_new(&search, ask.plan, limits, &options));
    if (floor_ns)
        eval_search_raise_floor(search, floor_ns);
    ask_open(&ask, rows, FM_COUNT(rows), 2);
    assert_ok(eval_search_add(search, &ask.table->source, &ask.why));
    const struct eval_trace *traces = eval_search_traces(search, &count);
    for (uint32_t i = 0; i < count; i++)
        fm_buf_printf(&text, "%x", traces[i].id.bytes[15]);
    fm_buf_put_u8(&text, 0);
    assert_string_equal((const char *)text.ptr, found);
    fm_buf_reset(&text);
    const struct eval_candidate *names = eval_search_candidates(search, &candidate_count);
    for (size_t i = 0; i < candidate_count; i++)
        fm_buf_printf(&text, "%x", names[i].id.bytes[15]);
    fm_buf_put_u8(&text, 0);
    assert_string_equal((const char *)text.ptr, candidates);
    ask_end(&ask);
    fm_buf_fini(&text);
}

static void test_partial_traces_are_candidates(void **state)
{
    struct trace_id partial[2];
    struct eval_limits limits = ask_limits;
    (void)state;
    assert_ok(trace_id_parse(FM_SLICE("1"), &partial[0], NULL));
    assert_ok(trace_id_parse(FM_SLICE("3"), &partial[1], NULL));
    limits.partial = partial;
    limits.partial_count = 2;
    search_over("{}", &limits, 5, 0, "2", "13");
    search_over("{ resource.service.name = \"b\" }", &limits, 5, 0, "", "3");
    search_over("{}", &limits, 1, 0, "2", "3"); /* 1 is older than what is there */
    search_over("{}", &limits, 5, 250 * MS, "", "3");
    limits.start_ns = 200 * MS; /* the window is of the whole */
    limits.end_ns = 210 * MS;
    search_over("{}", &limits, 5, 0, "2", "13");
    limits.only_partial = true;
    search_over("{}", &limits, 5, 0, "", "13");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weak_forms),
        cmocka_unit_test(test_partial_traces_are_candidates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
