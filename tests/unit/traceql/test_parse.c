/* SPDX-License-Identifier: Apache-2.0 */
/* Trees of queries: precedence, normal forms, limits, texts cut anywhere, memory that fails. */
#include "ask.h"

static void test_precedence(void **state)
{
    static const char *const rows[][2] = {
        {"{ .a || .b && .c }", "{ .a || .b && .c }"},
        {"{ .a || (.b && .c) }", "{ .a || (.b && .c) }"},
        {"{ (.a || .b) && .c }", "{ .a || .b && .c }"},
        {"{ .a = 1 && .b > 2 }", "{ (.a = 1) && (.b > 2) }"},
        {"{ .a + .b * .c = 1 }", "{ (.a + (.b * .c)) = 1 }"},
        {"{ .a * .b + .c = 1 }", "{ ((.a * .b) + .c) = 1 }"},
        {"{ .a - .b - .c = 1 }", "{ ((.a - .b) - .c) = 1 }"},
        {"{ .a ^ .b ^ .c = 1 }", "{ (.a ^ (.b ^ .c)) = 1 }"},
        {"{ .a * .b ^ .c = 1 }", "{ (.a * (.b ^ .c)) = 1 }"},
        {"{ -.a * 2 = 1 }", "{ (-(.a * 2)) = 1 }"},
        {"{ -.a + 2 = 1 }", "{ ((-.a) + 2) = 1 }"},
        {"{ .a * -.b + .c = 1 }", "{ ((.a * (-.b)) + .c) = 1 }"},
        {"{ .a * -.b * .c = 1 }", "{ (.a * (-(.b * .c))) = 1 }"},
        {"{ !.a = .b }", "{ (!.a) = .b }"},
        {"{ !.a * 2 }", "{ !(.a * 2) }"},
        {"{ !.a + 2 }", "{ (!.a) + 2 }"},
        {"{ !.a && .b }", "{ (!.a) && .b }"},
        {"{ !!.a }", "{ !(!.a) }"},
        {"{ .a = .b = .c }", "{ (.a = .b) = .c }"},
        {"{ -5 ^ .a = 1 }", "{ (-(5 ^ .a)) = 1 }"},
        {"{ (-5) ^ .a = 1 }", "{ ((-5) ^ .a) = 1 }"},
        {"{ .a ^ -5 = 1 }", "{ (.a ^ -5) = 1 }"},
        {"{ nil != .a + .b = .c }", "{ ((.a + .b) != nil) = .c }"},
        {"{ .a + nil != .b }", "{ .a + (.b != nil) }"},
        {"{ .a = nil != .b }", "{ (.a = nil) != .b }"},
        {"{.a} && {.b} >> {.c}", "({ .a }) && (({ .b }) >> ({ .c }))"},
        {"{.a} >> {.b} >> {.c}", "(({ .a }) >> ({ .b })) >> ({ .c })"},
        {"{.a} || {.b} && {.c}", "(({ .a }) || ({ .b })) && ({ .c })"},
        {"{} | count() + 1 * 2 ^ 3 ^ 4 > 5", "{ true } | ((count()) + (1 * (2 ^ (3 ^ 4)))) > 5"},
    };
    (void)state;
    for (size_t i = 0; i < FM_COUNT(rows); i++)
        assert_prints(rows[i][0], rows[i][1]);
}

static void test_canonical_names(void **state)
{
    static const char *const rows[][2] = {
        {"{}", "{ true }"},
        {"{ true }", "{ true }"},
        {"{ 1 = 1 }", "{ true }"},
        {"{ span:duration > 1s && span:name = \"a\" }", "{ (duration > 1s) && (name = `a`) }"},
        {"{ trace:rootService = \"a\" && trace:rootName = `b` && trace:duration > 1d }",
         "{ (rootServiceName = `a`) && (rootName = `b`) && (traceDuration > 24h0m0s) }"},
        {"{ span:status = ok && span:kind = server && span:statusMessage = \"\" }",
         "{ (status = ok) && (kind = server) && (statusMessage = ``) }"},
        {"{ trace:id = \"000abc\" }", "{ trace:id = `abc` }"},
        {"{ ."
         "\"a b\".c = 1 && span.\"plain\" = 2 && .\"\" = 3 && .\"q\\\"\\\\\" = 4 }",
         "{ (.\"a b.c\" = 1) && (span.plain = 2) && (.\"\" = 3) && (.\"q\\\"\\\\\" = 4) }"},
        {"{ .\"5a\" = 1 && span.5a = 1 }", "{ (.\"5a\" = 1) && (span.5a = 1) }"},
        {"{ parent.span.x = 1 && parent.\"span.x\" = 1 && parent.y }",
         "{ (parent.span.x = 1) && (parent.\"span.x\" = 1) && parent.y }"},
        {"{ .foo-1 = 1 && .a/*x*/ = 2 }", "{ (.foo-1 = 1) && (.a/*x*/ = 2) }"},
        {"{ .a = \"x`y\" && .b = \"\\x00\\xff\\r\" }",
         "{ (.a = \"x`y\") && (.b = \"\\x00\\xff\\x0d\") }"},
        {"{ .a = 1.50 && .b = 1e21 && .c = 5. && .d = -.5 && .e = 1e-7 }",
         "{ (.a = 1.5) && (.b = 1e+21) && (.c = 5.0) && (.d = -0.5) && (.e = 1e-07) }"},
        {"{ .a = 90m && .b = 1h0.5m && .c = 1500us && .d = 0s && .e = 1ns }",
         "{ (.a = 1h30m0s) && (.b = 1h0m30s) && (.c = 1.5ms) && (.d = 0s) && (.e = 1ns) }"},
        {"{ .a != nil && nil = .b }", "{ (.a != nil) && (.b = nil) }"},
        {"{} | by(span:name) | coalesce() | select(.a,span:kind)",
         "{ true } | by(name) | coalesce() | select(.a, kind)"},
        {"{}|rate()by(.a,span:name)|topk(3)>5 with(a=1,b=\"x\")",
         "{ true } | rate() by(.a, name) | topk(3) > 5 with(a=1, b=`x`)"},
        {"{} | rate() with(a=1) with(b=2)", "{ true } | rate() with(b=2)"},
        {"{} | quantile_over_time(duration, .5, 1) <= -1s",
         "{ true } | quantile_over_time(duration, 0.5, 1.0) <= -1s"},
        {"{} | compare({status=error})", "{ true } | compare({ status = error }, 10)"},
        {"{} | compare({}, 3, 5, 7)", "{ true } | compare({ true }, 3, 5, 7)"},
        {"({}|by(.a)) !>> ({}|count()>1)", "({ true } | by(.a)) !>> ({ true } | (count()) > 1)"},
        {"({}|count()) + ({}|max(.a)) > 1", "(({ true } | count()) + ({ true } | max(.a))) > 1"},
    };
    (void)state;
    for (size_t i = 0; i < FM_COUNT(rows); i++)
        assert_prints(rows[i][0], rows[i][1]);
}

static void test_tree(void **state)
{
    struct ask ask;
    (void)state;
    ask_init(&ask);
    assert_ok(ask_parse(&ask, FM_SLICE("{ 5 < span.x } &>> {} | count() = 2")));
    const struct traceql_stage *stage = ask.query->first;
    assert_int_equal(stage->kind, TRACEQL_OPERATION);
    assert_int_equal(stage->op, TRACEQL_DESCENDANT);
    assert_int_equal(stage->relation, TRACEQL_UNION);
    assert_null(stage->right->expression);
    const struct traceql_expression *left = stage->left->expression;
    assert_int_equal(left->op, TRACEQL_GT);
    assert_int_equal(left->left->field.scope, TRACEQL_SPAN);
    assert_true(fm_slice_equal_text(left->left->field.name, "x"));
    assert_int_equal(left->right->value.integer, 5);
    assert_int_equal(stage->next->kind, TRACEQL_SCALAR);
    assert_null(stage->next->left_scalar->expression);
    assert_null(stage->next->next);
    assert_int_equal(ask.query->metrics, TRACEQL_NO_METRICS);
    ask_fini(&ask);
}

static void test_field(void **state)
{
    struct traceql_field field;
    struct fm_arena arena;
    struct fm_why why;
    (void)state;
    fm_arena_init(&arena, FM_MIB(1));
    assert_ok(traceql_parse_field(FM_SLICE("resource.service.name"), &arena, &field, &why));
    assert_int_equal(field.scope, TRACEQL_RESOURCE);
    assert_true(fm_slice_equal_text(field.name, "service.name"));
    assert_ok(traceql_parse_field(FM_SLICE("span:kind"), &arena, &field, &why));
    assert_int_equal(field.intrinsic, TRACEQL_SPAN_KIND);
    assert_ok(traceql_parse_field(FM_SLICE("span.\"foo bar\""), &arena, &field, &why));
    assert_true(fm_slice_equal_text(field.name, "foo bar"));
    assert_int_equal(traceql_parse_field(FM_SLICE("http.method"), &arena, &field, &why),
                     FM_EMALFORMED);
    assert_string_equal(why.text, "failed to parse identifier http.method: parse error at line 1, "
                                  "col 2: unknown identifier: http");
    static const char *const none[] = {"",     "1",         "-.a", ".a = 1", ".a } | { .b",
                                       "{.a}", ".a }>{ .b", "nil", ".a /*"};
    for (size_t i = 0; i < FM_COUNT(none); i++)
        assert_int_equal(traceql_parse_field(fm_slice_text(none[i]), &arena, &field, &why),
                         FM_EMALFORMED);
    fm_arena_fini(&arena);
}

/* text with prefix and suffix repeated around it, between begin and end. */
static int parse_nested(const char *begin, const char *prefix, size_t count, const char *text,
                        const char *suffix, const char *end)
{
    struct ask ask;
    struct fm_buf query;
    ask_init(&ask);
    fm_buf_init(&query, FM_MIB(4));
    fm_buf_puts(&query, begin);
    for (size_t i = 0; i < count; i++)
        fm_buf_puts(&query, prefix);
    fm_buf_puts(&query, text);
    for (size_t i = 0; i < count; i++)
        fm_buf_puts(&query, suffix);
    fm_buf_puts(&query, end);
    int rc = ask_parse(&ask, fm_buf_slice(&query));
    if (ask.text.len)
        ask_assert_fixed(&ask);
    fm_buf_fini(&query);
    ask_fini(&ask);
    return rc;
}

static int parse_repeated(const char *prefix, size_t count, const char *text, const char *suffix)
{
    return parse_nested("", prefix, count, text, suffix, "");
}

static int parse_filter_of(const char *prefix, size_t count, const char *text, const char *suffix)
{
    return parse_nested("{", prefix, count, text, suffix, "}");
}

static void test_limits(void **state)
{
    (void)state;
    assert_int_equal(parse_repeated(" ", TRACEQL_TEXT_MAX, "{}", ""), FM_ELIMIT);
    assert_ok(parse_repeated(" ", TRACEQL_TEXT_MAX - 2, "{}", ""));
    assert_int_equal(parse_repeated("(", 60000, "{}", ")"), FM_ELIMIT);
    assert_ok(parse_repeated("(", 500, "{}", ")"));
    assert_int_equal(parse_repeated("", 20000, "{ .a } ", "> {}"), FM_ELIMIT);
    assert_ok(parse_repeated("", 200, "{ .a } ", "> {}"));
    /* Pipelines are as long as the text allows. */
    assert_ok(parse_repeated("", 10000, "{ .a } ", "| {}"));
}

static void test_depth(void **state)
{
    (void)state;
    assert_int_equal(parse_filter_of("(", 60000, ".a", ")"), FM_ELIMIT);
    assert_int_equal(parse_filter_of("!", 60000, ".a", ""), FM_ELIMIT);
    assert_int_equal(parse_filter_of("- ", 300, ".a", ""), FM_ELIMIT);
    assert_int_equal(parse_filter_of(".a ^ ", 300, ".a", ""), FM_ELIMIT);
    assert_int_equal(parse_filter_of("", 300, ".a", " + .a"), FM_ELIMIT);
    assert_int_equal(parse_filter_of(".a && (", 300, ".a", ")"), FM_ELIMIT);
    assert_ok(parse_filter_of("(", 500, ".a", ")"));
    assert_ok(parse_filter_of("!", 255, ".a", ""));
    assert_ok(parse_filter_of("", 255, ".a", " + .a"));
    assert_ok(parse_filter_of(".a && (", 254, ".a", ")"));
    /* Chains of connectors are as long as the text allows. */
    assert_ok(parse_filter_of("", 20000, ".a", "&&.a"));
    assert_ok(parse_filter_of("", 10000, ".a", "||.a=1"));
    assert_ok(parse_filter_of("", 7000, ".a", "||.a&&(.b)"));
}

static void test_wrong_chain_is_named(void **state)
{
    (void)state;
    assert_refused("{ .a && .b && 1 && .c }",
                   "binary operations must operate on the same type: (.a && .b) && 1");
    assert_refused("{ .a && (.b || 1s) || .c }", "illegal operation for the given types: .b || 1s");
}

static void cut_body(void *self, struct fm_slice text)
{
    struct ask ask;
    (void)self;
    ask_init(&ask);
    (void)ask_parse(&ask, text);
    if (ask.text.len)
        ask_assert_fixed(&ask);
    fm_arena_reset(&ask.arena);
    assert_ok(traceql_parse_lenient(text, &ask.arena, &ask.query));
    (void)ask_print(&ask);
    ask_assert_fixed(&ask);
    assert_ok(traceql_check(ask.query, NULL));
    ask_fini(&ask);
}

static const char *const samples[] = {
    "{ resource.service.name = \"a\\u00e9\" && (span.\"x \\\" y\" != nil || .b =~ `x.*`) } >> "
    "{ status = error } | select(.a, parent.b) | count() > -1.5e3",
    "({ kind = server } | count() > 3) &>> ({ -.a ^ 2 = 1h30m } | by(name) | coalesce())",
    "{} /* c */ | quantile_over_time(duration, .5, .9) by (.a, span:name) | topk(5) > 1ms "
    "with (most_recent=true, x=minInt) // end",
    "{ } | compare({ trace:id = \"00ab\" }, 5, 1, 2)",
    "({} | count()) * ({ .\"\xc3\xa9\" } | max(.a)) >= 1.5",
};

static void test_cut_anywhere(void **state)
{
    (void)state;
    for (size_t i = 0; i < FM_COUNT(samples); i++) {
        test_each_prefix(fm_slice_text(samples[i]), cut_body, NULL);
        cut_body(NULL, fm_slice_text(samples[i]));
    }
    test_each_bit_flip(fm_slice_text(samples[1]), cut_body, NULL);
    test_each_bit_flip(fm_slice_text(samples[2]), cut_body, NULL);
}

static void test_memory_fails(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * FM_COUNT(samples); i++) {
        struct fm_slice text = fm_slice_text(samples[i / 2]);
        for (uint64_t nth = 1;; nth++) {
            struct fm_arena arena;
            struct traceql_query *query;
            fm_arena_init(&arena, FM_MIB(4));
            test_alloc_fail_at(nth);
            int rc = i % 2 ? traceql_parse_lenient(text, &arena, &query)
                           : traceql_parse(text, &arena, &query, NULL);
            if (!rc)
                rc = traceql_check(query, NULL);
            bool reached = test_alloc_failed();
            test_alloc_disarm();
            if (reached && rc && rc != FM_EMALFORMED)
                assert_int_equal(rc, FM_ENOMEM);
            fm_arena_fini(&arena);
            if (!reached)
                break;
        }
    }
}

static void test_small_arena(void **state)
{
    struct traceql_query *query;
    struct fm_why why;
    (void)state;
    for (size_t size = 0; size < 20000; size += 500) {
        struct fm_arena arena;
        fm_arena_init(&arena, size);
        int rc = traceql_parse(FM_SLICE("{ .a = 1 && .b = \"x\" }"), &arena, &query, &why);
        assert_true(rc == FM_OK || rc == FM_ENOMEM);
        fm_arena_fini(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_canonical_names),
        cmocka_unit_test(test_tree),
        cmocka_unit_test(test_field),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_wrong_chain_is_named),
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_memory_fails),
        cmocka_unit_test(test_small_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
