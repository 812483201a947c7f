/* SPDX-License-Identifier: Apache-2.0 */
/* Series as answers, against what Tempo said. */
#include "golden.h"

#include <math.h>

#define MS(seconds) (INT64_C(1795221000000) + 1000 * INT64_C(seconds))
#define TRACE_A     TEXT("1234567890abcdef")
#define TRACE_B     TEXT("af7651916cd43dd8448eb211c80319c")

static struct series_sample batch_samples[] = {
    {MS(80), 0}, {MS(100), 0}, {MS(120), 0}, {MS(140), 0.05}};
static struct series_sample cart_samples[] = {
    {MS(80), 0}, {MS(100), NAN}, {MS(100), 0}, {MS(120), 0}, {MS(140), 0.15000000000000002}};
static struct series_sample shop_samples[] = {
    {MS(80), 0}, {MS(100), 0}, {MS(120), 0}, {MS(140), 0.1}};
static struct series_label batch_exemplar[] = {{T("trace:id"), TRACE_A},
                                               {T("resource.service.name"), TEXT("batch")}};
static struct series_label cart_exemplar[] = {{T("trace:id"), TRACE_B},
                                              {T("resource.service.name"), TEXT("cart")}};
static struct series_exemplar exemplars[] = {
    {MS(130), 0.05, batch_exemplar, 2},
    {MS(125) + 30, 0.15000000000000002, cart_exemplar, 2},
};
static struct series_label service_labels[] = {
    {T("resource.service.name"), TEXT("batch")},
    {T("resource.service.name"), TEXT("cart")},
    {T("resource.service.name"), TEXT("shop-frontend")},
};
static struct series_line rate_lines[] = {
    {&service_labels[0], 1, batch_samples, 4, &exemplars[0], 1},
    {&service_labels[1], 1, cart_samples, 5, &exemplars[1], 1},
    {&service_labels[2], 1, shop_samples, 4, NULL, 0},
};
static const struct answer_stats one_job = {.job_count = 1, .jobs_done = 1};

static void test_rate(void **state)
{
    struct series_result result = {.lines = rate_lines, .line_count = 3};
    struct fm_buf answer;

    (void)state;
    fm_buf_init(&answer, FM_KIB(64));
    answer_range(&result, &one_job, ANSWER_JSON, &answer);
    golden_equal("range-rate.json", &answer);
    result.line_count = 0;
    answer_range(&result, &one_job, ANSWER_JSON, &answer);
    golden_text(&answer, "{\"series\":[],\"metrics\":{\"completedJobs\":1,\"totalJobs\":1}}");
    fm_buf_fini(&answer);
}

static void test_histogram(void **state)
{
    struct series_sample samples[] = {{MS(100), 0}, {MS(120), 0}, {MS(140), 2}};
    struct series_label bucket = {T("__bucket"), {.type = TRACEQL_FLOAT, .number = 0.268435456}};
    struct series_label shown[] = {{T("trace:id"), TRACE_B},
                                   {T("status"), {.type = TRACEQL_STATUS, .integer = 2}},
                                   {T("duration"), SPAN_OF_TIME(160000000)}};
    struct series_exemplar exemplar = {MS(125) + 30, 2, shown, 3};
    struct series_line line = {&bucket, 1, samples, 3, &exemplar, 1};
    struct series_result result = {.lines = &line, .line_count = 1};
    struct fm_buf answer;

    (void)state;
    fm_buf_init(&answer, FM_KIB(64));
    answer_range(&result, &one_job, ANSWER_JSON, &answer);
    golden_equal("range-histogram.json", &answer);
    fm_buf_fini(&answer);
}

static void test_instant(void **state)
{
    struct series_label labels[] = {
        {T("status"), {.type = TRACEQL_STATUS, .integer = 2}},
        {T("status"), {.type = TRACEQL_STATUS, .integer = 1}},
        {T("status"), {.type = TRACEQL_STATUS, .integer = 0}},
    };
    struct series_sample samples[] = {{MS(0), 2}, {MS(0), 1}, {MS(0), 3}, {MS(0), NAN}};
    struct series_line lines[] = {
        {&labels[0], 1, &samples[0], 1, NULL, 0}, {&labels[1], 1, &samples[1], 1, NULL, 0},
        {&labels[2], 1, &samples[2], 1, NULL, 0}, {&labels[2], 1, &samples[3], 1, NULL, 0},
        {&labels[2], 1, NULL, 0, NULL, 0},
    };
    struct series_result result = {.lines = lines, .line_count = FM_COUNT(lines)};
    struct fm_buf answer;

    (void)state;
    fm_buf_init(&answer, FM_KIB(64));
    answer_instant(&result, &one_job, ANSWER_JSON, &answer);
    golden_equal("instant.json", &answer);
    answer_instant(&result, &one_job, ANSWER_PROTOBUF, &answer);
    assert_int_equal(golden_count(fm_buf_slice(&answer), 1), 3);
    struct fm_slice third = golden_field(fm_buf_slice(&answer), 1, 2).bytes;
    golden_string(golden_field(third, 1, 0).bytes, 1, "status");
    assert_true(golden_double(third, 2) == 3);
    fm_buf_fini(&answer);
}

static void test_partial(void **state)
{
    struct series_result result = {.lines = rate_lines, .line_count = 0, .partial = true};
    struct fm_buf answer;

    (void)state;
    fm_buf_init(&answer, FM_KIB(64));
    answer_range(&result, &(struct answer_stats){0}, ANSWER_JSON, &answer);
    golden_text(
        &answer,
        "{\"series\":[],\"metrics\":{},\"status\":\"PARTIAL\",\"message\":\"Response exceeds "
        "maximum series limit of 0, a partial response is returned. Warning: the accuracy "
        "of each individual value is not guaranteed.\"}");
    answer_range(&result, &(struct answer_stats){0}, ANSWER_PROTOBUF, &answer);
    assert_int_equal(golden_field(fm_buf_slice(&answer), 3, 0).value, 1);
    assert_int_equal(golden_count(fm_buf_slice(&answer), 4), 1);
    fm_buf_fini(&answer);
}

static void test_protobuf(void **state)
{
    struct series_result result = {.lines = rate_lines, .line_count = 3};
    struct fm_buf answer;

    (void)state;
    fm_buf_init(&answer, FM_KIB(64));
    answer_range(&result, &one_job, ANSWER_PROTOBUF, &answer);
    assert_int_equal(golden_count(fm_buf_slice(&answer), 1), 3);
    assert_int_equal(golden_count(fm_buf_slice(&answer), 3), 0);
    struct fm_slice line = golden_field(fm_buf_slice(&answer), 1, 1).bytes;
    golden_string(golden_field(line, 1, 0).bytes, 1, "resource.service.name");
    assert_int_equal(golden_count(line, 2), 4); /* not the one that is no number */
    struct fm_slice sample = golden_field(line, 2, 3).bytes;
    assert_true(golden_double(sample, 1) == 0.15000000000000002);
    assert_int_equal(golden_field(sample, 2, 0).value, MS(140));
    assert_int_equal(golden_count(golden_field(line, 2, 0).bytes, 1), 0);
    struct fm_slice exemplar = golden_field(line, 4, 0).bytes;
    assert_int_equal(golden_count(exemplar, 1), 2);
    assert_true(golden_double(exemplar, 2) == 0.15000000000000002);
    assert_int_equal(golden_field(exemplar, 3, 0).value, MS(125) + 30);
    fm_buf_fini(&answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rate),     cmocka_unit_test(test_histogram),
        cmocka_unit_test(test_instant),  cmocka_unit_test(test_partial),
        cmocka_unit_test(test_protobuf),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
