/* SPDX-License-Identifier: Apache-2.0 */
/* Values as text: the notation of Go's time.Duration and strconv. */
#include "golden.h"

#include <math.h>

static void check_text(const struct traceql_value *value, const char *expected)
{
    struct fm_buf text;

    fm_buf_init(&text, 256);
    answer_put_text(value, &text);
    golden_text(&text, expected);
    fm_buf_fini(&text);
}

static void test_durations(void **state)
{
    static const struct {
        int64_t ns;
        const char *text;
    } table[] = {
        {0, "0s"},
        {1, "1ns"},
        {999, "999ns"},
        {1000, "1\xc2\xb5s"},
        {1100, "1.1\xc2\xb5s"},
        {9984, "9.984\xc2\xb5s"},
        {399872, "399.872\xc2\xb5s"},
        {1000000, "1ms"},
        {2200000, "2.2ms"},
        {16500000, "16.5ms"},
        {90003370, "90.00337ms"},
        {160000000, "160ms"},
        {214999936, "214.999936ms"},
        {1000000000, "1s"},
        {1500000000, "1.5s"},
        {3300000000, "3.3s"},
        {59999999999, "59.999999999s"},
        {60000000000, "1m0s"},
        {65001000000, "1m5.001s"},
        {3600000000000, "1h0m0s"},
        {3661000000001, "1h1m1.000000001s"},
        {90061500000000, "25h1m1.5s"},
        {-1, "-1ns"},
        {-1500000, "-1.5ms"},
        {INT64_MAX, "2562047h47m16.854775807s"},
        {INT64_MIN, "-2562047h47m16.854775808s"},
    };

    (void)state;
    for (size_t i = 0; i < FM_COUNT(table); i++) {
        struct traceql_value value = SPAN_OF_TIME(table[i].ns);
        check_text(&value, table[i].text);
    }
}

static void test_floats(void **state)
{
    static const struct {
        double number;
        const char *text;
    } table[] = {
        {0, "0.0"},
        {-0.0, "-0.0"},
        {4, "4.0"},
        {0.75, "0.75"},
        {5.666666666666667, "5.666666666666667"},
        {-2.3333333333333335, "-2.3333333333333335"},
        {100, "100.0"},
        {123456, "123456.0"},
        {999999.5, "999999.5"},
        {1000000, "1e+06"},
        {1234567.5, "1.2345675e+06"},
        {0.0001, "0.0001"},
        {0.00012345, "0.00012345"},
        {0.00001, "1e-05"},
        {1e100, "1e+100"},
        {5e-324, "5e-324"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
    };

    (void)state;
    for (size_t i = 0; i < FM_COUNT(table); i++) {
        struct traceql_value value = {.type = TRACEQL_FLOAT, .number = table[i].number};
        check_text(&value, table[i].text);
    }
}

static void test_others(void **state)
{
    static const char *const statuses[] = {"unset", "ok", "error", "status(3)"};
    static const char *const kinds[] = {"unspecified", "internal", "server", "client",
                                        "producer",    "consumer", "kind(6)"};
    struct traceql_value value = {.type = TRACEQL_NIL};

    (void)state;
    check_text(&value, "nil");
    value = (struct traceql_value)INT(INT64_MIN);
    check_text(&value, "-9223372036854775808");
    value = (struct traceql_value)TEXT("a \"b\"");
    check_text(&value, "a \"b\"");
    value = (struct traceql_value){.type = TRACEQL_BOOL, .flag = true};
    check_text(&value, "true");
    value.flag = false;
    check_text(&value, "false");
    for (unsigned i = 0; i < FM_COUNT(statuses); i++) {
        value = (struct traceql_value){.type = TRACEQL_STATUS, .integer = i};
        check_text(&value, statuses[i]);
    }
    for (unsigned i = 0; i < FM_COUNT(kinds); i++) {
        value = (struct traceql_value){.type = TRACEQL_KIND, .integer = i};
        check_text(&value, kinds[i]);
    }
}

static void test_arrays(void **state)
{
    const struct traceql_value numbers[] = {INT(1), INT(-2), INT(3)};
    const struct traceql_value texts[] = {TEXT("a"), TEXT("b c")};
    struct traceql_value value = {.type = TRACEQL_ARRAY, .element_count = 3, .elements = numbers};

    (void)state;
    check_text(&value, "[1, -2, 3]");
    value = (struct traceql_value){.type = TRACEQL_ARRAY, .element_count = 2, .elements = texts};
    check_text(&value, "[`a`, `b c`]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_floats),
        cmocka_unit_test(test_others),
        cmocka_unit_test(test_arrays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
