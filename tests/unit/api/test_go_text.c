/* SPDX-License-Identifier: Apache-2.0 */
/* go_text - values and refusals as Go's library has them. */
#include "../../support/test.h"

#include "../../../src/daemon/api/go_text.h"

static void assert_refused(int rc, const struct fm_why *why, const char *text)
{
    assert_int_equal(rc, FM_EMALFORMED);
    assert_string_equal(why->text, text);
}

static void test_numbers(void **state)
{
    (void)state;
    struct fm_why why;
    uint64_t value;
    int64_t number;
    double real;

    assert_ok(go_uint_parse(FM_SLICE("4294967295"), UINT32_MAX, &value, &why));
    assert_int_equal(value, UINT32_MAX);
    assert_refused(go_uint_parse(FM_SLICE("4294967296"), UINT32_MAX, &value, &why), &why,
                   "strconv.ParseUint: parsing \"4294967296\": value out of range");
    assert_refused(go_uint_parse(FM_SLICE("99999999999999999999999"), UINT64_MAX, &value, &why),
                   &why,
                   "strconv.ParseUint: parsing \"99999999999999999999999\": value out of range");
    assert_refused(go_uint_parse(FM_SLICE("-1"), UINT32_MAX, &value, &why), &why,
                   "strconv.ParseUint: parsing \"-1\": invalid syntax");
    assert_refused(go_uint_parse(FM_SLICE(""), UINT32_MAX, &value, &why), &why,
                   "strconv.ParseUint: parsing \"\": invalid syntax");
    assert_ok(go_int_parse(FM_SLICE("-12"), INT32_MAX, &number, &why));
    assert_int_equal(number, -12);
    assert_refused(go_int_parse(FM_SLICE("2147483648"), INT32_MAX, &number, &why), &why,
                   "strconv.ParseInt: parsing \"2147483648\": value out of range");
    assert_refused(go_int_parse(FM_SLICE("1.5"), INT32_MAX, &number, &why), &why,
                   "strconv.ParseInt: parsing \"1.5\": invalid syntax");
    assert_ok(go_float_parse(FM_SLICE("-1.5e2"), &real));
    assert_true(real == -150.0);
    assert_int_equal(go_float_parse(FM_SLICE("0x10"), &real), FM_EMALFORMED);
    assert_int_equal(go_float_parse(FM_SLICE("1e999"), &real), FM_EMALFORMED);
    assert_int_equal(go_float_parse(FM_SLICE("1.5.2"), &real), FM_EMALFORMED);
}

static void test_durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ns;
    } rows[] = {
        {"0", 0},
        {"250ms", 250000000},
        {"1h30m", 5400000000000},
        {"-1.5s", -1500000000},
        {"1us", 1000},
        {"1\xc2\xb5s", 1000},
        {".5s", 500000000},
        {"1h0m0.000000001s", 3600000000001},
    };
    struct fm_why why;
    int64_t ns;

    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        assert_ok(go_duration_parse(fm_slice_text(rows[i].text), &ns, &why));
        assert_int_equal(ns, rows[i].ns);
    }
    assert_refused(go_duration_parse(FM_SLICE("abc"), &ns, &why), &why,
                   "time: invalid duration \"abc\"");
    assert_refused(go_duration_parse(FM_SLICE(""), &ns, &why), &why, "time: invalid duration \"\"");
    assert_refused(go_duration_parse(FM_SLICE("5"), &ns, &why), &why,
                   "time: missing unit in duration \"5\"");
    assert_refused(go_duration_parse(FM_SLICE("3d"), &ns, &why), &why,
                   "time: unknown unit \"d\" in duration \"3d\"");
    assert_refused(go_duration_parse(FM_SLICE("9999999h"), &ns, &why), &why,
                   "time: invalid duration \"9999999h\"");
}

static void test_durations_printed(void **state)
{
    (void)state;
    static const struct {
        int64_t ns;
        const char *text;
    } rows[] = {
        {0, "0s"},
        {1, "1ns"},
        {1500, "1.5\xc2\xb5s"},
        {6000000, "6ms"},
        {6048000000, "6.048s"},
        {60 * INT64_C(1000000000), "1m0s"},
        {604800 * INT64_C(1000000000), "168h0m0s"},
        {-90 * INT64_C(1000000000), "-1m30s"},
        {3600 * INT64_C(1000000000) + 5000000, "1h0m0.005s"},
    };
    char text[GO_DURATION_TEXT_MAX];

    for (size_t i = 0; i < FM_COUNT(rows); i++)
        assert_string_equal(go_duration_print(rows[i].ns, text), rows[i].text);
    (void)go_duration_print(INT64_MIN, text);
}

static void test_prometheus_durations(void **state)
{
    (void)state;
    struct fm_why why;
    uint64_t ns;

    assert_ok(prometheus_duration_parse(FM_SLICE("1d12h"), &ns, &why));
    assert_int_equal(ns, UINT64_C(129600000000000));
    assert_ok(prometheus_duration_parse(FM_SLICE("100ms"), &ns, &why));
    assert_int_equal(ns, 100000000);
    assert_ok(prometheus_duration_parse(FM_SLICE("0"), &ns, &why));
    assert_refused(prometheus_duration_parse(FM_SLICE("12h1d"), &ns, &why), &why,
                   "not a valid duration string: \"12h1d\"");
    assert_refused(prometheus_duration_parse(FM_SLICE("1.5h"), &ns, &why), &why,
                   "not a valid duration string: \"1.5h\"");
    assert_refused(prometheus_duration_parse(FM_SLICE("5"), &ns, &why), &why,
                   "not a valid duration string: \"5\"");
    assert_refused(prometheus_duration_parse(FM_SLICE(""), &ns, &why), &why,
                   "empty duration string");
    assert_int_equal(prometheus_duration_parse(FM_SLICE("300y"), &ns, &why), FM_EMALFORMED);
    assert_int_equal(prometheus_duration_parse(FM_SLICE("290y9999w"), &ns, &why), FM_EMALFORMED);
}

static void test_times(void **state)
{
    (void)state;
    struct fm_why why;
    int64_t ns;

    assert_ok(timestamp_parse(FM_SLICE("1795221125"), &ns, &why));
    assert_int_equal(ns, INT64_C(1795221125000000000));
    assert_ok(timestamp_parse(FM_SLICE("1795221125.25"), &ns, &why));
    assert_int_equal(ns, INT64_C(1795221125250000000));
    assert_ok(timestamp_parse(FM_SLICE("1795221125000000001"), &ns, &why));
    assert_int_equal(ns, INT64_C(1795221125000000001));
    assert_ok(timestamp_parse(FM_SLICE("2026-11-21T00:32:05Z"), &ns, &why));
    assert_int_equal(ns, INT64_C(1795221125000000000));
    assert_ok(timestamp_parse(FM_SLICE("9999999999"), &ns, &why));
    assert_true(ns > 0);
    assert_refused(timestamp_parse(FM_SLICE("abc"), &ns, &why), &why,
                   "strconv.ParseInt: parsing \"abc\": invalid syntax");
    assert_ok(step_parse(FM_SLICE("0.5"), &ns, &why));
    assert_int_equal(ns, 500000000);
    assert_ok(step_parse(FM_SLICE("1m"), &ns, &why));
    assert_int_equal(ns, INT64_C(60000000000));
    assert_refused(step_parse(FM_SLICE("abc"), &ns, &why), &why,
                   "cannot parse \"abc\" to a valid duration");
    assert_int_equal(step_parse(FM_SLICE("1e300"), &ns, &why), FM_EMALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_durations_printed),
        cmocka_unit_test(test_prometheus_durations),
        cmocka_unit_test(test_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
