/* SPDX-License-Identifier: Apache-2.0 */
/* Sampling strategies: what clients are told for which file. */
#include "../../support/test.h"

#include "fermata/sampling.h"

static const char file[] =
    "{\"default_strategy\":{\"type\":\"probabilistic\",\"param\":0.5,\"operation_strategies\":["
    "{\"operation\":\"GET /health\",\"type\":\"probabilistic\",\"param\":0},"
    "{\"operation\":\"rate\",\"type\":\"ratelimiting\",\"param\":3}]},"
    "\"service_strategies\":["
    "{\"service\":\"b\",\"type\":\"ratelimiting\",\"param\":5.9,\"unknown\":{\"x\":[1]}},"
    "{\"service\":\"a\",\"type\":\"probabilistic\",\"param\":0.1},"
    "{\"service\":\"a\",\"type\":\"probabilistic\",\"param\":0.25,\"operation_strategies\":["
    "{\"operation\":\"op\",\"type\":\"probabilistic\",\"param\":1},"
    "{\"operation\":\"GET /health\",\"type\":\"probabilistic\",\"param\":0.75}]}]}";

static void assert_answer(const struct sampling *sampling, const char *service, bool enum_is_text,
                          const char *json)
{
    struct fm_buf out;
    fm_buf_init(&out, FM_KIB(64));
    sampling_put_json(sampling, fm_slice_text(service), enum_is_text, &out);
    fm_buf_put_u8(&out, 0);
    assert_string_equal((const char *)out.ptr, json);
    fm_buf_fini(&out);
}

static void test_without_a_file_everything_is_sampled(void **state)
{
    (void)state;
    FM_AUTO(sampling) sampling = NULL;
    assert_ok(sampling_new(&sampling, (struct fm_slice){0}, NULL));
    assert_answer(sampling, "x", true,
                  "{\"strategyType\":\"PROBABILISTIC\",\"probabilisticSampling\":"
                  "{\"samplingRate\":1}}");
    assert_answer(sampling, "x", false,
                  "{\"strategyType\":0,\"probabilisticSampling\":{\"samplingRate\":1}}");
    assert_int_equal(sampling_service_count(sampling), 0);
}

static void test_services_and_operations(void **state)
{
    (void)state;
    FM_AUTO(sampling) sampling = NULL;
    struct fm_why why;
    assert_ok(sampling_new(&sampling, FM_SLICE(file), &why));
    assert_int_equal(sampling_service_count(sampling), 2);
    assert_answer(
        sampling, "nobody", true,
        "{\"strategyType\":\"PROBABILISTIC\",\"probabilisticSampling\":"
        "{\"samplingRate\":0.5},\"operationSampling\":{\"defaultSamplingProbability\":0.5,"
        "\"defaultLowerBoundTracesPerSecond\":0,\"perOperationStrategies\":["
        "{\"operation\":\"GET /health\",\"probabilisticSampling\":{\"samplingRate\":0}}],"
        "\"defaultUpperBoundTracesPerSecond\":0}}");
    assert_answer(sampling, "b", true,
                  "{\"strategyType\":\"RATE_LIMITING\",\"rateLimitingSampling\":"
                  "{\"maxTracesPerSecond\":5},\"operationSampling\":"
                  "{\"defaultSamplingProbability\":0.5,"
                  "\"defaultLowerBoundTracesPerSecond\":0,\"perOperationStrategies\":["
                  "{\"operation\":\"GET /health\",\"probabilisticSampling\":{\"samplingRate\":0}}],"
                  "\"defaultUpperBoundTracesPerSecond\":0}}");
    assert_answer(
        sampling, "a", false,
        "{\"strategyType\":0,\"probabilisticSampling\":"
        "{\"samplingRate\":0.25},\"operationSampling\":{\"defaultSamplingProbability\":"
        "0.25,\"defaultLowerBoundTracesPerSecond\":0,\"perOperationStrategies\":["
        "{\"operation\":\"GET /health\",\"probabilisticSampling\":{\"samplingRate\":0.75}},"
        "{\"operation\":\"op\",\"probabilisticSampling\":{\"samplingRate\":1}}],"
        "\"defaultUpperBoundTracesPerSecond\":0}}");
}

static void test_protobuf(void **state)
{
    (void)state;
    FM_AUTO(sampling) sampling = NULL;
    struct fm_buf out;
    fm_buf_init(&out, FM_KIB(64));
    assert_ok(sampling_new(&sampling, FM_SLICE(file), NULL));
    sampling_put_pb(sampling, FM_SLICE("b"), &out);
    struct fm_buf expected = test_hex("0801 1a02 0805 221a 09 000000000000e03f"
                                      "1a0f 0a0b 474554202f6865616c7468 1200");
    assert_int_equal(out.len, expected.len);
    assert_memory_equal(out.ptr, expected.ptr, out.len);
    fm_buf_fini(&expected);
    fm_buf_reset(&out);
    FM_AUTO(sampling) all = NULL;
    assert_ok(sampling_new(&all, (struct fm_slice){0}, NULL));
    sampling_put_pb(all, FM_SLICE("x"), &out);
    expected = test_hex("1209 09 000000000000f03f");
    assert_int_equal(out.len, expected.len);
    assert_memory_equal(out.ptr, expected.ptr, out.len);
    fm_buf_fini(&expected);
    fm_buf_fini(&out);
}

static void test_requests(void **state)
{
    (void)state;
    struct fm_slice service;
    assert_ok(sampling_read_request(FM_SLICE("\x0a\x03svc"), &service));
    assert_true(fm_slice_equal_text(service, "svc"));
    assert_ok(sampling_read_request(FM_SLICE(""), &service));
    assert_int_equal(service.len, 0);
    assert_int_equal(sampling_read_request(FM_SLICE("\x0a\x04svc"), &service), FM_EMALFORMED);
}

static void test_mistakes_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *json, *why;
    } rows[] = {
        {"[]", "not an object"},
        {"{", "unexpected end"},
        {"{} x", "behind the object"},
        {"{\"default_strategy\":{}}", "without type or param"},
        {"{\"default_strategy\":{\"type\":\"often\",\"param\":1}}", "type is not"},
        {"{\"default_strategy\":{\"type\":\"probabilistic\",\"param\":1.1}}", "out of its range"},
        {"{\"default_strategy\":{\"type\":\"probabilistic\",\"param\":\"NaN\"}}", "not a number"},
        {"{\"default_strategy\":{\"type\":\"ratelimiting\",\"param\":-1}}", "out of its range"},
        {"{\"service_strategies\":{}}", "not a list"},
        {"{\"service_strategies\":[1]}", "not an object"},
        {"{\"service_strategies\":[{\"service\":1}]}", "not a string"},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct sampling *sampling = NULL;
        struct fm_why why = {""};
        assert_int_equal(sampling_new(&sampling, fm_slice_text(rows[i].json), &why), FM_EMALFORMED);
        assert_null(sampling);
        if (!strstr(why.text, rows[i].why))
            print_error("%s\n", why.text);
        assert_non_null(strstr(why.text, rows[i].why));
        assert_non_null(strstr(why.text, "at byte"));
    }
}

static void prefix_fails(void *self, struct fm_slice input)
{
    struct sampling *sampling = NULL;
    (void)self;
    if (input.len) /* nothing is no file */
        assert_int_equal(sampling_new(&sampling, input, NULL), FM_EMALFORMED);
    assert_null(sampling);
}

static void flip_is_survived(void *self, struct fm_slice input)
{
    struct sampling *sampling = NULL;
    struct fm_buf out;
    (void)self;
    fm_buf_init(&out, FM_MIB(1));
    if (sampling_new(&sampling, input, NULL) == FM_OK) {
        sampling_put_json(sampling, FM_SLICE("a"), true, &out);
        sampling_put_pb(sampling, FM_SLICE("a"), &out);
        assert_false(out.failed);
    }
    fm_buf_fini(&out);
    (void)sampling_free(sampling);
}

static void test_hostile_input(void **state)
{
    (void)state;
    test_each_prefix(FM_SLICE(file), prefix_fails, NULL);
    test_each_bit_flip(FM_SLICE(file), flip_is_survived, NULL);
    for (uint64_t nth = 1;; nth++) {
        struct sampling *sampling = NULL;
        test_alloc_fail_at(nth);
        int rc = sampling_new(&sampling, FM_SLICE(file), NULL);
        bool reached = test_alloc_failed();
        test_alloc_disarm();
        (void)sampling_free(sampling);
        if (!reached)
            break;
        assert_int_equal(rc, FM_ENOMEM);
    }
}

static void test_limits(void **state)
{
    (void)state;
    struct fm_buf json;
    struct sampling *sampling = NULL;
    fm_buf_init(&json, FM_MIB(4));
    fm_buf_puts(&json, "{\"service_strategies\":[");
    for (unsigned i = 0; i <= 10000; i++)
        fm_buf_printf(&json, "%s{\"service\":\"%u\",\"type\":\"probabilistic\",\"param\":1}",
                      i ? "," : "", i);
    fm_buf_puts(&json, "]}");
    assert_int_equal(sampling_new(&sampling, fm_buf_slice(&json), NULL), FM_ELIMIT);
    fm_buf_put_zeros(&json, FM_MIB(1));
    assert_int_equal(sampling_new(&sampling, fm_buf_slice(&json), NULL), FM_ELIMIT);
    fm_buf_fini(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_a_file_everything_is_sampled),
        cmocka_unit_test(test_services_and_operations),
        cmocka_unit_test(test_protobuf),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_mistakes_are_named),
        cmocka_unit_test(test_hostile_input),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
