/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges and steps: defaults, alignment, refusals. */
#include "ask.h"

static void test_default_step(void **state)
{
    static const struct {
        uint64_t range_s, step_ms;
    } table[] = {
        {0, 50},        {1, 50},        {30, 100},       {59, 200},       {60, 1000},
        {900, 3000},    {1200, 5000},   {1201, 5000},    {3600, 15000},   {3601, 15000},
        {14400, 60000}, {21600, 60000}, {72000, 300000}, {86400, 300000}, {864000, 3600000},
    };

    (void)state;
    for (size_t i = 0; i < FM_COUNT(table); i++)
        assert_int_equal(series_default_step_ns(7, 7 + table[i].range_s * FM_NS_PER_S),
                         table[i].step_ms * FM_NS_PER_MS);
}

static void check_window(uint64_t start_ms, uint64_t end_ms, uint64_t step_ms, uint64_t from_ms,
                         uint64_t to_ms)
{
    FM_AUTO(series) series = NULL;
    uint64_t start_ns, end_ns;
    struct ask ask;

    ask_init(&ask, "{} | rate()");
    ask.options.start_ns = start_ms * FM_NS_PER_MS;
    ask.options.end_ns = end_ms * FM_NS_PER_MS;
    ask.options.step_ns = step_ms * FM_NS_PER_MS;
    assert_ok(series_new(&series, ask.query, &ask.limits, &ask.options, &ask.why));
    series_window(series, &start_ns, &end_ns);
    assert_int_equal(start_ns, from_ms * FM_NS_PER_MS);
    assert_int_equal(end_ns, to_ms * FM_NS_PER_MS);
    ask_fini(&ask);
}

static void test_alignment(void **state)
{
    (void)state;
    check_window(95000, 135000, 20000, 60000, 140000);
    check_window(100000, 140000, 20000, 80000, 140000);
    check_window(100001, 100002, 20000, 80000, 120000);
    check_window(100000, 100000, 20000, 80000, 100000);
    check_window(5000, 30000, 20000, 0, 40000);      /* no step in front of the epoch */
    check_window(20000, 40000, 20000, 20000, 40000); /* nor one that begins at it */
}

static void check_refused(uint64_t start_ns, uint64_t end_ns, uint64_t step_ns, bool instant,
                          const char *text)
{
    FM_AUTO(series) series = NULL;
    struct ask ask;

    ask_init(&ask, "{} | rate()");
    ask.options = (struct series_options){
        .start_ns = start_ns, .end_ns = end_ns, .step_ns = step_ns, .instant = instant};
    assert_int_equal(series_new(&series, ask.query, &ask.limits, &ask.options, &ask.why),
                     FM_EMALFORMED);
    assert_string_equal(ask.why.text, text);
    ask_fini(&ask);
}

static void test_refusals(void **state)
{
    FM_AUTO(series) series = NULL;
    struct ask ask;

    (void)state;
    check_refused(0, 60 * FM_NS_PER_S, FM_NS_PER_MS, false,
                  "step of 1ms is too small, minimum step for given range is 6ms");
    check_refused(0, 86400 * FM_NS_PER_S, FM_NS_PER_S, false,
                  "step of 1s is too small, minimum step for given range is 8.64s");
    check_refused(0, 86401 * FM_NS_PER_S, 60 * FM_NS_PER_S, false,
                  "metrics query time range exceeds the maximum allowed duration of 24h0m0s");
    check_refused(2, 1, 1, false, "end must be greater than start");
    check_refused(1, 1, 0, true, "end must be greater than start");
    check_refused(UINT64_MAX - 1, UINT64_MAX, 1, false, "time out of range");
    ask_init(&ask, "{}");
    assert_int_equal(series_new(&series, ask.query, &ask.limits, &ask.options, &ask.why),
                     FM_EMALFORMED);
    assert_string_equal(ask.why.text, "not a metrics query");
    ask_fini(&ask);
}

/* Every bucket is open on the left and closed on the right. */
static void test_edges(void **state)
{
    const int64_t starts[] = {AT(60000),  AT(60000) + 1, AT(80000),  AT(80000) + 1,
                              AT(100000), AT(139999),    AT(140000), AT(140000) + 1};
    struct table_span spans[FM_COUNT(starts)];
    struct table table = {spans, FM_COUNT(spans), 1, 0};
    struct ask ask;

    (void)state;
    for (size_t i = 0; i < FM_COUNT(starts); i++)
        spans[i] = (struct table_span){.trace_id = ID(1), .start_ns = starts[i]};
    ask_text("{} | count_over_time()", &table, "__name__=count_over_time 80:2 100:2 120:0 140:2\n");
    ask_init(&ask, "{} | count_over_time()");
    ask.options.start_ns = (uint64_t)AT(80000);
    ask.options.end_ns = (uint64_t)AT(140000);
    ask.options.instant = true;
    ask_equal(&ask, &table, "__name__=count_over_time 140:5\n");
    ask_fini(&ask);
    ask_init(&ask, "{} | rate()");
    ask.options.start_ns = (uint64_t)AT(80000);
    ask.options.end_ns = (uint64_t)AT(130000);
    ask.options.instant = true;
    ask_equal(&ask, &table, "__name__=rate 130:0.06\n");
    ask_fini(&ask);
}

/* Steps by the reciprocal are those of the division. */
static void test_many_steps(void **state)
{
    static struct table_span spans[200];
    struct table table = {spans, FM_COUNT(spans), 7, 0};
    uint64_t random = 1, counts[10002] = {0}, step_ns = 8640001;
    struct ask ask;

    (void)state;
    ask_init(&ask, "{} | count_over_time()");
    ask.options.step_ns = step_ns;
    ask.options.start_ns = (uint64_t)AT(0) / step_ns * step_ns;
    ask.options.end_ns = ask.options.start_ns + 10000 * step_ns;
    for (size_t i = 0; i < FM_COUNT(spans); i++) {
        uint64_t step = fm_random_next(&random) % 10001;
        uint64_t offset = i % 3 == 0 ? step_ns - 1 : fm_random_next(&random) % step_ns;
        spans[i] = (struct table_span){
            .trace_id = ID((uint8_t)(i / 2)),
            .start_ns = (int64_t)(ask.options.start_ns - step_ns + 1 + step * step_ns + offset)};
        counts[step]++;
    }
    FM_AUTO(series) series = NULL;
    const struct series_result *result;
    assert_ok(series_new(&series, ask.query, &ask.limits, &ask.options, &ask.why));
    assert_ok(series_add(series, table_open, &table, NULL, &ask.why));
    assert_ok(series_finish(series, &result, &ask.why));
    assert_int_equal(result->lines[0].sample_count, 10001);
    for (uint32_t i = 0; i < 10001; i++)
        assert_true(result->lines[0].samples[i].value == (double)counts[i]);
    ask_fini(&ask);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default_step), cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_refusals),     cmocka_unit_test(test_edges),
        cmocka_unit_test(test_many_steps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
