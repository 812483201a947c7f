/* SPDX-License-Identifier: Apache-2.0 */
#include "ask.h"

/* Kinds: 1 internal, 2 server, 3 client.  Status: 2 error. */
static const struct table_row rows[] = {
    {"0af7651916cd43dd8448eb211c80319c", "A000000000000000", "", "front", "GET /cart", 2, 1, 1000,
     250, "span.http=200;span.x=1;span.ratio=0.75;span.flag=true;resource.x=9;resource.env='prod'",
     "ev1 10 k=1;t='a'/ev2 200 k=2;t='b'",
     "00000000000000aa00000000000000bb 1111111111111111 why='because'"},
    {"0af7651916cd43dd8448eb211c80319c", "B000000000000000", "A000000000000000", "front",
     "call cart", 3, 2, 1020, 180,
     "span.http=500;span.text='200';span.list=['a','b'];span.x='one';resource.x=9", "", ""},
    {"0af7651916cd43dd8448eb211c80319c", "C000000000000000", "B000000000000000", "cart",
     "POST /add", 2, 2, 1030, 160, "span.http=500;span.nums=[1,2,3];span.flag=false",
     "ev1 5 k=2;t='a'", ""},
    {"0af7651916cd43dd8448eb211c80319c", "D000000000000000", "C000000000000000", "cart", "query", 3,
     0, 1040, 110, "resource.x=2;span.in=10;span.out=25", "", ""},
    {"0af7651916cd43dd8448eb211c80319c", "E000000000000000", "C000000000000000", "cart", "render",
     1, 0, 1160, 0, "span.ratio=400.5;span.zero=0", "", ""},
    {"1234567890abcdef", "t000000000000000", "", "batch", "tick", 0, 0, 9000, 1, "span.note='x y'",
     "", ""},
};

static void expect_all(const struct ask_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ask_expect(rows, FM_COUNT(rows), cases[i].query, cases[i].expected);
}

static void test_comparisons_by_domain(void **state)
{
    static const struct ask_case cases[] = {
        {"{}", "A,B,C,D,E t"},
        {"{ true }", "A,B,C,D,E t"},
        {"{ false }", ""},
        {"{ resource.service.name = \"cart\" }", "C,D,E"},
        {"{ resource.service.name != \"cart\" }", "A,B t"},
        {"{ resource.service.name =~ \"c.*|batch\" }", "C,D,E t"},
        {"{ resource.service.name !~ \"c.*\" }", "A,B t"},
        {"{ name = \"query\" }", "D"},
        {"{ name =~ \"GET\" }", ""},
        {"{ name =~ \"GET.*\" }", "A"},
        {"{ name > \"query\" }", "E t"},
        {"{ duration > 110ms }", "A,B,C"},
        {"{ duration >= 110ms && duration < 0.2s }", "B,C,D"},
        {"{ duration = 0s }", "E"},
        {"{ duration > 159999999.5 && duration < 160000000.5 }", "C"},
        {"{ duration != 250000000 }", "B,C,D,E t"},
        {"{ 100ms < duration }", "A,B,C,D"},
        {"{ status = error }", "B,C"},
        {"{ status != error }", "A,D,E t"},
        {"{ kind = client }", "B,D"},
        {"{ traceDuration > 200ms }", "A,B,C,D,E"},
        {"{ rootName = \"tick\" }", "t"},
        {"{ rootServiceName =~ \"f.*\" && kind = server }", "A,C"},
        {"{ nestedSetParent < 0 }", "A t"},
        {"{ nestedSetLeft = 3 }", "C"},
        {"{ span:id = \"b000000000000000\" }", ""},
        {"{ span:parentID = \"0000000000000000\" }", "A t"},
        {"{ span:childCount = 2 }", "C"},
        {"{ span:childCount = 0 }", "D,E t"},
        {"{ resource.env = \"prod\" }", "A"},
    };
    (void)state;
    expect_all(cases, FM_COUNT(cases));
}

static void test_trace_ids_without_zeros_in_either_case(void **state)
{
    static const struct ask_case cases[] = {
        {"{ trace:id = \"0af7651916cd43dd8448eb211c80319c\" }", "A,B,C,D,E"},
        {"{ trace:id = \"AF7651916CD43DD8448EB211C80319C\" }", "A,B,C,D,E"},
        {"{ trace:id = \"0000001234567890abcdef\" }", "t"},
        {"{ trace:id != \"1234567890abcdef\" }", "A,B,C,D,E"},
        {"{ !(trace:id = \"1234567890abcdef\") }", "A,B,C,D,E"},
        {"{ trace:id = \"no hex\" }", ""},
        {"{ trace:id = \"\" }", ""},
        {"{ trace:id =~ \"1234.*\" }", "t"},
        {"{ link:traceID = \"AA00000000000000bb\" }", "A"},
        {"{ link:spanID = \"1111111111111111\" && link.why = \"because\" }", "A"},
    };
    (void)state;
    expect_all(cases, FM_COUNT(cases));
}

static void test_missing_values_and_types(void **state)
{
    static const struct ask_case cases[] = {
        {"{ span.http = 500 }", "B,C"},
        {"{ span.http != 500 }", "A"}, /* not those without it */
        {"{ !(span.http = 500) }", "A"},
        {"{ !(span.http != 500) }", "B,C"},
        {"{ span.http != nil }", "A,B,C"},
        {"{ span.http = nil }", "D,E t"},
        {"{ !(span.http = nil) }", "A,B,C"},
        {"{ span.http = 500.0 }", "B,C"},
        {"{ span.http > 400.5 }", "B,C"},
        {"{ span.ratio > 0 }", "A,E"},
        {"{ span.ratio > 400 }", "E"},
        {"{ span.ratio <= 0.75 }", "A"},
        {"{ span.text = 200 }", ""},
        {"{ span.text != 200 }", ""}, /* another type is neither */
        {"{ span.text = \"200\" }", "B"},
        {"{ span.http =~ \".*\" }", ""},
        {"{ span.flag }", "A"},
        {"{ !span.flag }", "C"},
        {"{ span.flag = false }", "C"},
        {"{ span.nothing = 1 }", ""},
        {"{ span.nothing = nil && kind = client }", "B,D"},
        {"{ statusMessage = \"\" }", "A,B,C,D,E t"},
    };
    (void)state;
    expect_all(cases, FM_COUNT(cases));
}

static void test_unscoped_is_the_span_before_its_resource(void **state)
{
    static const struct ask_case cases[] = {
        {"{ .x = 1 }", "A"},          {"{ .x = 9 }", ""}, /* shadowed */
        {"{ .x = \"one\" }", "B"},    {"{ .x = 2 }", "D"},
        {"{ .x != nil }", "A,B,D"},   {"{ .x = nil }", "C,E t"},
        {"{ .env = \"prod\" }", "A"}, {"{ .service.name = \"batch\" }", "t"},
        {"{ .http > 200 }", "B,C"},
    };
    (void)state;
    expect_all(cases, FM_COUNT(cases));
}

static void test_arrays_any_and_all(void **state)
{
    static const struct ask_case cases[] = {
        {"{ span.list = \"b\" }", "B"},
        {"{ span.list != \"a\" }", ""},
        {"{ span.list != \"c\" }", "B"},
        {"{ span.list =~ \"[ab]\" }", "B"},
        {"{ span.list !~ \"[bc]\" }", ""},
        {"{ span.list !~ \"x.*\" }", "B"},
        {"{ span.list = \"a\" || span.list = \"b\" }", "B"},
        {"{ span.nums > 2 }", "C"},
        {"{ span.nums > 3 }", ""},
        {"{ span.nums = \"a\" }", ""},
        {"{ span.nums != nil }", "C"},
    };
    (void)state;
    expect_all(cases, FM_COUNT(cases));
}

static void test_connectives(void **state)
{
    static const struct ask_case cases[] = {
        {"{ kind = client && status = error }", "B"},
        {"{ kind = client || status = error }", "B,C,D"},
        {"{ !(kind = client || status = error) }", "A,E t"},
        {"{ !(kind = client && status = error) }", "A,C,D,E t"},
        {"{ kind = client || name = \"tick\" && status = error }", "B"}, /* one level */
        {"{ kind = client || (name = \"tick\" && status = unset) }", "B,D t"},
        {"{ kind = client || kind = internal || kind = unspecified }", "B,D,E t"},
        {"{ name = \"tick\" || name =~ \"q.*\" || name != \"tick\" && status = error }", "B,C"},
        {"{ name = \"tick\" || name =~ \"q.*\" || !(name =~ \".*[a-z].*\") }", "D t"},
        {"{ .x = 1 || .x = 9 || .x = nil }", "A,C,E t"},
        {"{ span.nothing = 1 || span.nothing = nil || span.nothing = 2 }", "A,B,C,D,E t"},
        {"{ (kind = client || kind = server) && (status = error || span.x = 1) }", "A,B,C"},
        {"{ resource.service.name = \"cart\" && (kind = client || span.http = 500) }", "C,D"},
        {"{ span.http = 500 && (kind = server && (status = error && duration > 1ms)) }", "C"},
        {"{ kind = client } | { status = error }", "B"},
        {"{ .a = 1 || name = \"tick\" || .b = 2 || status = error }", "B,C t"},
    };
    (void)state;
    expect_all(cases, FM_COUNT(cases));
}

static void test_expressions(void **state)
{
    static const struct ask_case cases[] = {
        {"{ span.out > span.in * 2 }", "D"},
        {"{ span.out > span.in * 3 }", ""},
        {"{ span.http % 200 = 0 }", "A"},
        {"{ -span.http < -400 }", "B,C"},
        {"{ span.http / 5 = 100 }", "B,C"},
        {"{ 2 ^ 3 = span.in - 2 }", "D"},
        {"{ duration * 2 > 400ms }", "A"},
        {"{ duration / traceDuration > 0.7 }", "A,B t"},
        {"{ span.in != span.out }", "D"},
        {"{ span.in = resource.service.name }", ""},
        {"{ !(span.out > span.in * 2) }", ""},
        {"{ !(span.out > span.in * 3) }", "D"},
        {"{ (span.out > span.in) = true }", "D"},
        {"{ (span.out + nestedSetLeft) > 28 }", "D"},
        {"{ event:timeSinceStart * 2 > 300ms }", "A"},
        {"{ event.k + 0 = 2 }", "A,C"},
    };
    (void)state;
    expect_all(cases, FM_COUNT(cases));
}

static void test_events_and_links(void **state)
{
    static const struct ask_case cases[] = {
        {"{ event:name = \"ev1\" }", "A,C"},
        {"{ event:name != \"ev1\" }", "A"},
        {"{ event.k = 2 }", "A,C"},
        {"{ event:name = \"ev1\" && event.k = 2 }", "C"}, /* of one event */
        {"{ event:name = \"ev1\" && (event.k = 2 && event.t = \"a\") }", "C"},
        {"{ event:name = \"ev1\" && event.k = 2 || false }", "A,C"}, /* no pure conjunction */
        {"{ event:timeSinceStart > 100ms && kind = server }", "A"},
        {"{ event.t =~ \"b|c\" }", "A"},
        {"{ event.t != \"a\" }", "A"},
        {"{ !(event.t = \"a\") }", "A"},
        {"{ event.nothing = nil }", "A,C"},
        {"{ link.why = \"because\" }", "A"},
        {"{ link.why = \"because\" && event.k = 2 }", "A"},
        {"{ link:traceID != \"1\" }", "A"},
    };
    (void)state;
    expect_all(cases, FM_COUNT(cases));
}

static void test_windows(void **state)
{
    struct eval_limits limits = ask_limits;
    (void)state;
    limits.start_ns = 1240 * 1000000ull;
    limits.end_ns = 8999 * 1000000ull;
    ask_expect_within(rows, FM_COUNT(rows), "{}", &limits, "A,B,C,D,E");
    ask_expect_within(rows, FM_COUNT(rows), "{ kind = client }", &limits, "B,D");
    limits.start_ns = 1251 * 1000000ull;
    ask_expect_within(rows, FM_COUNT(rows), "{}", &limits, "");
    limits.end_ns = 9000 * 1000000ull;
    ask_expect_within(rows, FM_COUNT(rows), "{}", &limits, "t");
    limits.by_span = true;
    limits.start_ns = 1030 * 1000000ull;
    limits.end_ns = 1159 * 1000000ull;
    ask_expect_within(rows, FM_COUNT(rows), "{}", &limits, "C,D");
    ask_expect_within(rows, FM_COUNT(rows), "{ kind = client }", &limits, "D");
    /* What looks at the trace sees all of it; what starts outside does not come through. */
    ask_expect_within(rows, FM_COUNT(rows), "{} | count() = 5", &limits, "[count()=5]C,D");
    ask_expect_within(rows, FM_COUNT(rows), "{ kind = client } >> { status = error }", &limits,
                      "C");
    limits.start_ns = 20000 * 1000000ull;
    limits.end_ns = 10000 * 1000000ull;
    ask_expect_within(rows, FM_COUNT(rows), "{}", &limits, "");
}

static void test_excluded_traces(void **state)
{
    struct trace_id excluded[2];
    struct eval_limits limits = ask_limits;
    (void)state;
    assert_ok(trace_id_parse(FM_SLICE("1"), &excluded[0], NULL));
    assert_ok(trace_id_parse(FM_SLICE("1234567890abcdef"), &excluded[1], NULL));
    limits.excluded = excluded;
    limits.excluded_count = 2;
    ask_expect_within(rows, FM_COUNT(rows), "{}", &limits, "A,B,C,D,E");
    ask_expect_within(rows, FM_COUNT(rows), "{ name = \"tick\" }", &limits, "");
}

static unsigned loads(const struct ask *ask, const char *name)
{
    for (uint32_t i = 0; i < ask->request.field_count; i++)
        if (fm_slice_equal_text(ask->request.fields[i].name, name))
            return ask->table->fields[i].loads;
    fail();
    return 0;
}

static void test_what_decides_nothing_is_not_read(void **state)
{
    struct ask ask;
    struct fm_buf text;
    (void)state;
    fm_buf_init(&text, 1024);
    assert_ok(ask_plan(&ask, "{ span.http > 1 && resource.service.name = \"nobody\" }"));
    ask_open(&ask, rows, FM_COUNT(rows), 1);
    assert_ok(ask_run(&ask, &ask_limits, &text));
    assert_int_equal(loads(&ask, "service.name"), 2);
    assert_int_equal(loads(&ask, "http"), 0);
    ask_end(&ask);
    assert_ok(ask_plan(&ask, "{ span.http > 1 } >> { resource.service.name = \"batch\" }"));
    ask_open(&ask, rows, FM_COUNT(rows), 1);
    assert_ok(ask_run(&ask, &ask_limits, &text));
    assert_int_equal(loads(&ask, "http"), 1);
    ask_end(&ask);
    fm_buf_fini(&text);
}

static void test_failures(void **state)
{
    static const struct {
        const char *query, *why;
    } cases[] = {
        {"{ span.http / span.zero > 1 || span.in / (span.in - 10) > 1 }", "division by zero"},
        {"{ 1 / (nestedSetLeft - nestedSetLeft) = 1 }", "division by zero"},
    };
    struct fm_buf text;
    atomic_bool cancelled = true;
    struct eval_limits limits = ask_limits;
    struct ask ask;
    (void)state;
    fm_buf_init(&text, 1024);
    for (size_t i = 0; i < FM_COUNT(cases); i++) {
        assert_ok(ask_plan(&ask, cases[i].query));
        ask_open(&ask, rows, FM_COUNT(rows), 1);
        assert_int_equal(ask_run(&ask, &ask_limits, &text), FM_EMALFORMED);
        assert_string_equal(ask.why.text, cases[i].why);
        ask_end(&ask);
    }
    assert_ok(ask_plan(&ask, "{ name = \"tick\" }"));
    ask_open(&ask, rows, FM_COUNT(rows), 1);
    limits.cancelled = &cancelled;
    assert_int_equal(ask_run(&ask, &limits, &text), FM_ECANCELLED);
    limits.cancelled = NULL;
    limits.memory_max = 16;
    assert_int_equal(ask_run(&ask, &limits, &text), FM_ELIMIT);
    ask.table->frames_failing = 1;
    assert_int_equal(ask_run(&ask, &ask_limits, &text), FM_EIO);
    ask_end(&ask);
    fm_buf_fini(&text);
}

static void test_too_many_fields(void **state)
{
    struct fm_buf query;
    struct ask ask;
    (void)state;
    fm_buf_init(&query, FM_MIB(1));
    fm_buf_puts(&query, "{ span.a0 = 1");
    for (int i = 1; i < 600; i++)
        fm_buf_printf(&query, " || span.a%d = 1", i);
    fm_buf_puts(&query, " }");
    fm_buf_put_u8(&query, 0);
    assert_int_equal(ask_plan(&ask, (const char *)query.ptr), FM_ELIMIT);
    ask_end(&ask);
    fm_buf_fini(&query);
}

static void test_every_allocation_may_fail(void **state)
{
    static const char query[] =
        "{ (.x != nil || name =~ \"[a-z]+\" || event.k + 1 = 3) && !span.flag }"
        " | by(name) | max(duration) >= 0s";
    struct fm_buf text;
    (void)state;
    fm_buf_init(&text, FM_MIB(1));
    fm_buf_room(&text, 4096);
    for (uint64_t n = 1;; n++) {
        struct ask ask = {0};
        struct fm_arena arena;
        fm_arena_init(&arena, FM_MIB(1));
        assert_ok(traceql_parse(fm_slice_text(query), &arena, &ask.query, NULL));
        test_alloc_fail_at(n);
        int rc = eval_plan_new(&ask.plan, ask.query, &ask.why);
        bool failed = test_alloc_failed();
        test_alloc_disarm();
        assert_true(rc == FM_OK || (failed && rc == FM_ENOMEM)); /* regex does without some */
        fm_arena_fini(&arena);
        eval_plan_free(ask.plan);
        if (!failed)
            break;
    }
    for (uint64_t n = 1;; n++) {
        struct ask ask;
        assert_ok(ask_plan(&ask, query));
        ask_open(&ask, rows, FM_COUNT(rows), 1);
        test_alloc_fail_at(n);
        int rc = ask_run(&ask, &ask_limits, &text);
        bool failed = test_alloc_failed();
        test_alloc_disarm();
        assert_true(rc == FM_OK || (failed && rc == FM_ENOMEM));
        ask_end(&ask);
        if (!failed)
            break;
    }
    fm_buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_comparisons_by_domain),
        cmocka_unit_test(test_trace_ids_without_zeros_in_either_case),
        cmocka_unit_test(test_missing_values_and_types),
        cmocka_unit_test(test_unscoped_is_the_span_before_its_resource),
        cmocka_unit_test(test_arrays_any_and_all),
        cmocka_unit_test(test_connectives),
        cmocka_unit_test(test_expressions),
        cmocka_unit_test(test_events_and_links),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_excluded_traces),
        cmocka_unit_test(test_what_decides_nothing_is_not_read),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_too_many_fields),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
