/* SPDX-License-Identifier: Apache-2.0 */
/* The functions, groups, second stages, exemplars and merging, by hand-computed tables. */
#include "ask.h"

#define STR(literal)                                                                               \
    {                                                                                              \
        .type = TRACEQL_STRING, .text = FM_SLICE(literal)                                          \
    }
#define INT(number)                                                                                \
    {                                                                                              \
        .type = TRACEQL_INT, .integer = (number)                                                   \
    }

/* Two traces; the spans of a shop whose answers Tempo gave. */
static const struct table_span shop_spans[] = {
    {ID(1), AT(125000), US(250000) - 128, 2, 0, "GET /cart", "shop-frontend", {{"n", INT(5)}}},
    {ID(1),
     AT(125020),
     US(180000),
     3,
     2,
     "call",
     "shop-frontend",
     {{"code", INT(500)}, {"r", {.type = TRACEQL_FLOAT, .number = 0.75}}}},
    {ID(1), AT(125030), US(160000), 2, 2, "GET", "cart", {{"code", INT(500)}, {"n", INT(-7)}}},
    {ID(1), AT(125050), US(110000), 3, 1, "query", "cart", {{"code", INT(200)}}},
    {ID(1), AT(125160), 9984, 1, 0, "render", "cart", {{"x", STR("text")}}},
    {ID(2), AT(130000), 399872, 1, 0, "tick", "batch", {{"n", INT(2)}}},
};
static struct table shop = {shop_spans, FM_COUNT(shop_spans), 1, 0};

static void test_counts(void **state)
{
    (void)state;
    ask_text("{} | rate() by (resource.service.name)", &shop,
             "resource.service.name=batch 80:0 100:0 120:0 140:0.05\n"
             "resource.service.name=cart 80:0 100:0 120:0 140:0.15\n"
             "resource.service.name=shop-frontend 80:0 100:0 120:0 140:0.1\n");
    ask_text("{} | rate()", &shop, "__name__=rate 80:0 100:0 120:0 140:0.3\n");
    ask_text("{ status = error } | count_over_time() by (status)", &shop,
             "status=error 80:0 100:0 120:0 140:2\n");
    ask_text("{ name = \"nobody\" } | rate()", &shop, "");
}

static void test_numbers(void **state)
{
    (void)state;
    ask_text("{} | min_over_time(duration)", &shop, "__name__=min_over_time 140:9.984e-06\n");
    ask_text("{} | max_over_time(duration)", &shop, "__name__=max_over_time 140:0.249999872\n");
    ask_text("{ status = error } | avg_over_time(duration)", &shop,
             "__name__=avg_over_time 140:0.17\n");
    ask_text("{ status = error } | sum_over_time(duration)", &shop,
             "__name__=sum_over_time 140:0.34\n");
    /* What lacks the attribute, or has another type, is skipped. */
    ask_text("{} | sum_over_time(span.n)", &shop, "__name__=sum_over_time 140:0\n");
    ask_text("{} | min_over_time(span.n) by (resource.service.name)", &shop,
             "resource.service.name=batch 140:2\nresource.service.name=cart 140:-7\n"
             "resource.service.name=shop-frontend 140:5\n");
    ask_text("{} | max_over_time(span.r)", &shop, "__name__=max_over_time 140:0.75\n");
    ask_text("{} | avg_over_time(span.x)", &shop, "");
    ask_text("{} | avg_over_time(.n)", &shop, "__name__=avg_over_time 140:0\n");
}

static void test_histograms(void **state)
{
    (void)state;
    ask_text("{ status = error } | histogram_over_time(duration)", &shop,
             "__bucket=0.268435456 80:0 100:0 120:0 140:2\n");
    ask_text("{} | histogram_over_time(duration) by (resource.service.name)", &shop,
             "resource.service.name=batch,__bucket=0.000524288 80:0 100:0 120:0 140:1\n"
             "resource.service.name=cart,__bucket=1.6384e-05 80:0 100:0 120:0 140:1\n"
             "resource.service.name=cart,__bucket=0.134217728 80:0 100:0 120:0 140:1\n"
             "resource.service.name=cart,__bucket=0.268435456 80:0 100:0 120:0 140:1\n"
             "resource.service.name=shop-frontend,__bucket=0.268435456 80:0 100:0 120:0 140:2\n");
    ask_text("{} | histogram_over_time(span.n)", &shop,
             "__bucket=2 80:0 100:0 120:0 140:1\n__bucket=8 80:0 100:0 120:0 140:1\n");
    ask_text("{} | histogram_over_time(span.r)", &shop, "");
}

static void test_quantiles(void **state)
{
    (void)state;
    ask_text("{} | quantile_over_time(duration, .5, .99)", &shop,
             "p=0.5 80:0 100:0 120:0 140:0.134217728\n"
             "p=0.99 80:0 100:0 120:0 140:0.268435456\n");
    ask_text("{ duration >= 160ms && duration <= 180ms } | quantile_over_time(duration, .5)", &shop,
             "p=0.5 80:0 100:0 120:0 140:0.1898125312\n");
    ask_text("{} | quantile_over_time(span.code, .5)", &shop,
             "p=0.5 80:0 100:0 120:0 140:362.038672\n");
}

static void test_groups(void **state)
{
    (void)state;
    ask_text("{} | count_over_time() by (span.code)", &shop,
             "span.code=1:200 80:0 100:0 120:0 140:1\nspan.code=1:500 80:0 100:0 120:0 140:2\n"
             "span.code=nil 80:0 100:0 120:0 140:3\n");
    ask_text("{} | count_over_time() by (.code, span.n)", &shop,
             ".code=1:200 80:0 100:0 120:0 140:1\n"
             ".code=1:500 80:0 100:0 120:0 140:1\n"
             ".code=nil 80:0 100:0 120:0 140:1\n"
             "span.n=1:2 80:0 100:0 120:0 140:1\n"
             "span.n=1:5 80:0 100:0 120:0 140:1\n"
             ".code=1:500,span.n=1:-7 80:0 100:0 120:0 140:1\n");
    ask_text("{} | count_over_time() by (span.none, kind, status, resource.service.name, name)"
             " > 0 | topk(1)",
             &shop, "kind=7:3,status=error,resource.service.name=shop-frontend,name=call 140:1\n");
}

static void test_second_stages(void **state)
{
    (void)state;
    ask_text("{} | count_over_time() by (resource.service.name) | topk(1)", &shop,
             "resource.service.name=batch 80:0 100:0 120:0\nresource.service.name=cart 140:3\n");
    ask_text("{} | count_over_time() by (resource.service.name) | bottomk(1)", &shop,
             "resource.service.name=batch 140:1\nresource.service.name=shop-frontend 80:0 100:0 "
             "120:0\n");
    ask_text("{} | count_over_time() by (resource.service.name) | topk(3)", &shop,
             "resource.service.name=batch 80:0 100:0 120:0 140:1\n"
             "resource.service.name=cart 80:0 100:0 120:0 140:3\n"
             "resource.service.name=shop-frontend 80:0 100:0 120:0 140:2\n");
    ask_text("{} | count_over_time() by (resource.service.name) > 1", &shop,
             "resource.service.name=cart 140:3\nresource.service.name=shop-frontend 140:2\n");
    ask_text("{} | count_over_time() by (resource.service.name) > 1 | topk(1) < 3", &shop, "");
    ask_text("{} | max_over_time(duration) by (resource.service.name) >= 160ms", &shop,
             "resource.service.name=cart 140:0.16\n"
             "resource.service.name=shop-frontend 140:0.249999872\n");
    ask_text("{} | count_over_time() != 0", &shop, "__name__=count_over_time 140:6\n");
    ask_text("{} | count_over_time() = 0", &shop, "__name__=count_over_time 80:0 100:0 120:0\n");
    ask_text("{} | count_over_time() <= 6", &shop,
             "__name__=count_over_time 80:0 100:0 120:0 140:6\n");
}

static void check_exemplars(const char *text, uint32_t count, const char *expected)
{
    struct ask ask;

    ask_init(&ask, text);
    ask.options.exemplars_max = count;
    ask_equal(&ask, &shop, expected);
    ask_fini(&ask);
}

static void test_exemplars(void **state)
{
    (void)state;
#define CART "a000000000000000000000000000001"
#define TICK "a000000000000000000000000000002"
    check_exemplars("{ name = \"GET\" } | rate()", 100,
                    "__name__=rate 80:0 100:0 120:0 140:0.05 [125030 0.05 trace:id=" CART
                    ",name=GET]\n");
    check_exemplars("{ kind = server && status = error } | histogram_over_time(duration)", 100,
                    "__bucket=0.268435456 80:0 100:0 120:0 140:1 [125030 1 trace:id=" CART
                    ",kind=7:2,status=error,duration=5:160000000]\n");
    check_exemplars("{ name = \"tick\" } | max_over_time(duration)", 1,
                    "__name__=max_over_time 140:0.000399872 [130000 0.000399872 trace:id=" TICK
                    ",name=tick,duration=5:399872]\n");
    check_exemplars("{ name = \"tick\" } | rate() with (exemplars=false)", 100,
                    "__name__=rate 80:0 100:0 120:0 140:0.05\n");
    check_exemplars("{ name = \"tick\" } | rate()", 0, "__name__=rate 80:0 100:0 120:0 140:0.05\n");
    /* A value belongs to the least quantile that is not below it. */
    check_exemplars("{ name = \"tick\" } | quantile_over_time(duration, .9, .1)", 100,
                    "p=0.1 80:0 100:0 120:0 140:0.000524288\n"
                    "p=0.9 80:0 100:0 120:0 140:0.000524288 [130000 0.000399872 trace:id=" TICK
                    ",name=tick,duration=5:399872]\n");
}

/* Many traces: two per stretch of time, no trace twice, the same whatever the order. */
static void test_exemplars_are_few(void **state)
{
    static struct table_span spans[120];
    struct table table = {spans, FM_COUNT(spans), 3, 0};
    FM_AUTO(series) series = NULL;
    const struct series_result *result;
    struct ask ask;

    (void)state;
    for (size_t i = 0; i < FM_COUNT(spans); i++)
        spans[i] = (struct table_span){.trace_id = ID((uint8_t)(i / 2)),
                                       .start_ns = AT(61000 + 600 * (int64_t)i),
                                       .name = "a",
                                       .service = "s"};
    ask_init(&ask, "{} | rate() by (resource.service.name)");
    ask.options.exemplars_max = 6;
    assert_ok(series_new(&series, ask.query, &ask.limits, &ask.options, &ask.why));
    assert_ok(series_add(series, table_open, &table, NULL, &ask.why));
    assert_ok(series_finish(series, &result, &ask.why));
    assert_int_equal(result->line_count, 1);
    const struct series_line *line = &result->lines[0];
    assert_int_equal(line->exemplar_count, 6);
    for (uint32_t i = 1; i < 6; i++) {
        assert_true(line->exemplars[i - 1].timestamp_ms <= line->exemplars[i].timestamp_ms);
        assert_false(table_same(&line->exemplars[i - 1].labels[0].value,
                                &line->exemplars[i].labels[0].value));
    }
    ask_fini(&ask);
}

static const char *const merge_queries[] = {
    "{} | rate() by (resource.service.name)",
    "{} | min_over_time(span.n) by (name, kind)",
    "{} | max_over_time(duration) by (span.code)",
    "{} | avg_over_time(duration)",
    "{} | sum_over_time(span.n) by (name)",
    "{} | quantile_over_time(duration, .5, .9) by (resource.service.name)",
    "{} | histogram_over_time(duration)",
    "{} | count_over_time() by (name, resource.service.name, span.code) | topk(2)",
    "{} | compare({status = error})",
};

static void test_merge(void **state)
{
    struct table whole = {shop_spans, 6, 1, 0}, first = {shop_spans, 2, 1, 0};
    struct table second = {shop_spans + 2, 3, 1, 0}, third = {shop_spans + 5, 1, 1, 0};
    struct table *orders[][3] = {{&first, &second, &third},
                                 {&third, &second, &first},
                                 {&second, &third, &first},
                                 {&first, &third, &second}};
    struct table *one[] = {&whole};
    struct fm_buf expected, out;

    (void)state;
    fm_buf_init(&expected, FM_MIB(1));
    fm_buf_init(&out, FM_MIB(1));
    for (size_t i = 0; i < FM_COUNT(merge_queries); i++) {
        struct ask ask;
        ask_init(&ask, merge_queries[i]);
        assert_ok(ask_run(&ask, one, 1, &expected));
        for (size_t order = 0; order < FM_COUNT(orders); order++) {
            assert_ok(ask_run(&ask, orders[order], 3, &out));
            assert_string_equal((const char *)out.ptr, (const char *)expected.ptr);
        }
        ask_fini(&ask);
    }
    fm_buf_fini(&expected);
    fm_buf_fini(&out);
}

static void test_merge_exemplars(void **state)
{
    struct table first = {shop_spans, 5, 1, 0}, second = {shop_spans + 5, 1, 1, 0};
    struct table *orders[][2] = {{&first, &second}, {&second, &first}};
    struct fm_buf out[2];
    struct ask ask;

    (void)state;
    ask_init(&ask, "{} | quantile_over_time(duration, .5, .9) by (resource.service.name)");
    ask.options.exemplars_max = 100;
    for (int i = 0; i < 2; i++) {
        fm_buf_init(&out[i], FM_KIB(64));
        assert_ok(ask_run(&ask, orders[i], 2, &out[i]));
    }
    assert_string_equal((const char *)out[0].ptr, (const char *)out[1].ptr);
    assert_non_null(strstr((const char *)out[0].ptr, "trace:id=" TICK));
    fm_buf_fini(&out[0]);
    fm_buf_fini(&out[1]);
    ask_fini(&ask);
}

static void test_limits(void **state)
{
    struct table *one[] = {&shop};
    struct fm_buf out;
    struct ask ask;

    (void)state;
    fm_buf_init(&out, FM_KIB(64));
    ask_init(&ask, "{} | count_over_time() by (resource.service.name)");
    ask.options.series_max = 2;
    ask_equal(&ask, &shop,
              "resource.service.name=cart 80:0 100:0 120:0 140:3\n"
              "resource.service.name=shop-frontend 80:0 100:0 120:0 140:2\npartial\n");
    ask.options.series_max = 3;
    assert_ok(ask_run(&ask, one, 1, &out));
    assert_null(strstr((const char *)out.ptr, "partial"));
    ask.limits.memory_max = 20000;
    ask.options.step_ns = 20 * FM_NS_PER_MS;
    assert_int_equal(ask_run(&ask, one, 1, &out), FM_ELIMIT);
    fm_buf_fini(&out);
    ask_fini(&ask);
}

static void test_stats(void **state)
{
    FM_AUTO(series) series = NULL;
    struct frame_stats stats = {.inspected_spans = 1};
    struct ask ask;

    (void)state;
    ask_init(&ask, "{} | rate()");
    assert_ok(series_new(&series, ask.query, &ask.limits, &ask.options, &ask.why));
    shop.opened = 0;
    assert_ok(series_add(series, table_open, &shop, &stats, &ask.why));
    assert_int_equal(shop.opened, 1);
    assert_int_equal(stats.inspected_spans, 7);
    assert_int_equal(stats.inspected_traces, 2);
    ask_fini(&ask);
}

static void test_memory(void **state)
{
    struct table *two[] = {&shop, &shop};

    (void)state;
    for (size_t i = 0; i < FM_COUNT(merge_queries); i++) {
        struct ask ask;
        struct fm_buf out;
        bool failed = true;
        ask_init(&ask, merge_queries[i]);
        ask.options.exemplars_max = 100;
        fm_buf_init(&out, FM_KIB(64));
        fm_buf_put_zeros(&out, FM_KIB(32)); /* its memory is not what is tested */
        for (uint64_t nth = 1; failed; nth++) {
            test_alloc_fail_at(nth);
            int rc = ask_run(&ask, two, 2, &out);
            failed = test_alloc_failed();
            test_alloc_disarm();
            /* Sorting does without, the rest does not. */
            assert_true(rc == FM_OK || (failed && rc == FM_ENOMEM));
        }
        fm_buf_fini(&out);
        ask_fini(&ask);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),     cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_histograms), cmocka_unit_test(test_quantiles),
        cmocka_unit_test(test_groups),     cmocka_unit_test(test_second_stages),
        cmocka_unit_test(test_exemplars),  cmocka_unit_test(test_exemplars_are_few),
        cmocka_unit_test(test_merge),      cmocka_unit_test(test_merge_exemplars),
        cmocka_unit_test(test_limits),     cmocka_unit_test(test_stats),
        cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
