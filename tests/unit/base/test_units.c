/* SPDX-License-Identifier: Apache-2.0 */
#include "../../support/test.h"

#include "fermata/units.h"

struct units_row {
    const char *text;
    uint64_t value;
    const char *printed; /* NULL: refused */
};

static void assert_rows(const struct units_row *rows, size_t count,
                        int (*parse)(struct fm_slice, uint64_t *),
                        void (*print)(struct fm_buf *, uint64_t))
{
    for (size_t i = 0; i < count; i++) {
        uint8_t *copy = test_exact_copy(fm_slice_text(rows[i].text));
        uint64_t value = 77;
        int rc = parse(fm_slice(copy, strlen(rows[i].text)), &value);
        free(copy);
        if (!rows[i].printed) {
            assert_int_equal(rc, FM_EMALFORMED);
            assert_true(value == 77);
            continue;
        }
        assert_ok(rc);
        assert_true(value == rows[i].value);
        struct fm_buf buf;
        fm_buf_init(&buf, 100);
        print(&buf, value);
        assert_true(fm_slice_equal_text(fm_buf_slice(&buf), rows[i].printed));
        fm_buf_fini(&buf);
    }
}

static void test_durations(void **state)
{
    (void)state;
    static const struct units_row rows[] = {
        {"0", 0, "0s"},
        {"0s", 0, "0s"},
        {"250ms", 250000000, "250ms"},
        {"1s", 1000000000, "1s"},
        {"90m", UINT64_C(5400000000000), "1h30m"},
        {"1h30m", UINT64_C(5400000000000), "1h30m"},
        {"72h", UINT64_C(259200000000000), "3d"},
        {"3d", UINT64_C(259200000000000), "3d"},
        {"1us5ns", 1005, "1us5ns"},
        {"18446744073709551615ns", UINT64_MAX, "213503d23h34m33s709ms551us615ns"},
        {"18446744073709551616ns", 0, NULL},
        {"1000000d", 0, NULL},
        {"213503d24h", 0, NULL},
        {"", 0, NULL},
        {"1", 0, NULL},
        {"s", 0, NULL},
        {"1m1h", 0, NULL},
        {"1m1m", 0, NULL},
        {"-1s", 0, NULL},
        {"1.5s", 0, NULL},
        {"1 s", 0, NULL},
        {"1S", 0, NULL},
    };
    assert_rows(rows, FM_COUNT(rows), fm_duration_parse, fm_duration_print);
}

static void test_bytes(void **state)
{
    (void)state;
    static const struct units_row rows[] = {
        {"0", 0, "0"},
        {"4096", 4096, "4KiB"},
        {"4097", 4097, "4097"},
        {"64KiB", 65536, "64KiB"},
        {"16MiB", 16 << 20, "16MiB"},
        {"1GiB", 1 << 30, "1GiB"},
        {"1024GiB", UINT64_C(1) << 40, "1TiB"},
        {"64kB", 64000, "64kB"},
        {"2 MB", 2000000, "2MB"},
        {"3GB", UINT64_C(3000000000), "3GB"},
        {"7B", 7, "7"},
        {"18446744073709551615", UINT64_MAX, "18446744073709551615"},
        {"18446744073709551615kB", 0, NULL},
        {"", 0, NULL},
        {"KiB", 0, NULL},
        {"1 ", 0, NULL},
        {"1  B", 0, NULL},
        {"1K", 0, NULL},
        {"-1", 0, NULL},
        {"1.5MiB", 0, NULL},
    };
    assert_rows(rows, FM_COUNT(rows), fm_bytes_parse, fm_bytes_print);
}

static void test_rates(void **state)
{
    (void)state;
    static const struct units_row rows[] = {
        {"0", 0, "0"},
        {"512kbit", 64000, "512kbit"},
        {"2Mbit", 250000, "2Mbit"},
        {"1Gbit", 125000000, "1Gbit"},
        {"1000kbit", 125000, "1Mbit"},
        {"64KiB", 65536, "64KiB"},
        {"64KiB/s", 65536, "64KiB"},
        {"512kbit/s", 64000, "512kbit"},
        {"1kbit", 125, "1kbit"},
        {"100", 100, "100"},
        {"18446744073709551615", UINT64_MAX, "18446744073709551615"},
        {"18446744073709551615kbit", 0, NULL},
        {"", 0, NULL},
        {"/s", 0, NULL},
        {"kbit", 0, NULL},
        {"512 kbit", 0, NULL},
        {"512kbits", 0, NULL},
        {"-1kbit", 0, NULL},
    };
    assert_rows(rows, FM_COUNT(rows), fm_rate_parse, fm_rate_print);
}

static void test_bytes_for_people(void **state)
{
    (void)state;
    static const struct {
        uint64_t value;
        const char *text;
    } rows[] = {
        {0, "0 B"},           {812, "812 B"},        {1023, "1023 B"},
        {1024, "1.0 KiB"},    {4299161, "4.1 MiB"},  {104857600, "100 MiB"},
        {1048575, "1.0 MiB"}, {1047000, "1022 KiB"}, {UINT64_MAX, "16.0 EiB"},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct fm_buf buf;
        fm_buf_init(&buf, 100);
        fm_bytes_print_short(&buf, rows[i].value);
        assert_true(fm_slice_equal_text(fm_buf_slice(&buf), rows[i].text));
        fm_buf_fini(&buf);
    }
}

static void test_civil_time_round_trips(void **state)
{
    (void)state;
    struct fm_civil epoch = fm_civil_from_unix(0, 5);
    assert_true(epoch.year == 1970 && epoch.month == 1 && epoch.day == 1 && epoch.nanosecond == 5);
    struct fm_civil before = fm_civil_from_unix(-1, 0);
    assert_true(before.year == 1969 && before.month == 12 && before.day == 31 &&
                before.second == 59);
    struct fm_civil leap = fm_civil_from_unix(951782400, 0);
    assert_true(leap.year == 2000 && leap.month == 2 && leap.day == 29 && leap.hour == 0);
    for (int64_t day = -800000; day < 800000; day += 13) {
        struct fm_civil civil = fm_civil_from_unix(day * 86400 + 3661, 0);
        assert_true(fm_civil_to_unix(&civil) == day * 86400 + 3661);
        assert_true(civil.month >= 1 && civil.month <= 12 && civil.day >= 1 && civil.day <= 31);
    }
    (void)fm_civil_from_unix(INT64_MAX, 0);
    (void)fm_civil_from_unix(INT64_MIN, 0);
}

static void test_rfc3339(void **state)
{
    (void)state;
    static const struct units_row rows[] = {
        {"1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00Z"},
        {"2026-11-21T01:52:50Z", UINT64_C(1795225970000000000), "2026-11-21T01:52:50Z"},
        {"2026-11-21T01:52:50.250Z", UINT64_C(1795225970250000000), "2026-11-21T01:52:50.25Z"},
        {"2026-11-21t02:52:50.000000001+01:00", UINT64_C(1795225970000000001),
         "2026-11-21T01:52:50.000000001Z"},
        {"2026-11-20 20:22:50-05:30", UINT64_C(1795225970000000000), "2026-11-21T01:52:50Z"},
        {"2016-12-31T23:59:60Z", UINT64_C(1483228800000000000), "2017-01-01T00:00:00Z"},
        {"1999-12-31T23:59:59.9999999999z", UINT64_C(946684799999999999),
         "1999-12-31T23:59:59.999999999Z"},
        {"2554-07-21T23:34:33.709551615Z", UINT64_MAX, "2554-07-21T23:34:33.709551615Z"},
        {"2554-07-21T23:34:33.709551616Z", 0, NULL},
        {"9999-12-31T23:59:59Z", 0, NULL},
        {"1969-12-31T23:59:59Z", 0, NULL},
        {"2025-02-29T00:00:00Z", 0, NULL},
        {"2026-13-01T00:00:00Z", 0, NULL},
        {"2026-00-01T00:00:00Z", 0, NULL},
        {"2026-01-01T24:00:00Z", 0, NULL},
        {"2026-01-01T00:00:00", 0, NULL},
        {"2026-01-01T00:00:00.Z", 0, NULL},
        {"2026-01-01T00:00:00+0100", 0, NULL},
        {"2026-01-01T00:00:00+25:00", 0, NULL},
        {"2026-01-01", 0, NULL},
        {"", 0, NULL},
        {"2026-01-01T00:00:00Zx", 0, NULL},
    };
    assert_rows(rows, FM_COUNT(rows), fm_rfc3339_parse, fm_rfc3339_print);
}

static void test_http_date(void **state)
{
    (void)state;
    int64_t unix_s;
    assert_ok(fm_http_date_parse(FM_SLICE("Sun, 06 Nov 1994 08:49:37 GMT"), &unix_s));
    assert_true(unix_s == 784111777);
    static const char *const bad[] = {
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Xyz, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nox 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49x37 GMT",
        "",
        "Sun, 06xNov 1994 08:49:37 GMT",
        "Sun, 06 Novx1994 08:49:37 GMT",
    };
    for (size_t i = 0; i < FM_COUNT(bad); i++)
        assert_int_equal(fm_http_date_parse(fm_slice_text(bad[i]), &unix_s), FM_EMALFORMED);
}

static void test_integers(void **state)
{
    (void)state;
    uint64_t value;
    assert_ok(fm_u64_parse(FM_SLICE("18446744073709551615"), &value));
    assert_true(value == UINT64_MAX);
    assert_int_equal(fm_u64_parse(FM_SLICE("18446744073709551616"), &value), FM_EMALFORMED);
    assert_int_equal(fm_u64_parse(FM_SLICE(""), &value), FM_EMALFORMED);
    assert_int_equal(fm_u64_parse(FM_SLICE("+1"), &value), FM_EMALFORMED);
    assert_int_equal(fm_u64_parse(FM_SLICE("1\0"), &value), FM_EMALFORMED);
}

static void units_body(void *self, struct fm_slice input)
{
    (void)self;
    uint64_t value;
    int64_t unix_s;
    int accepted = fm_duration_parse(input, &value) == FM_OK;
    accepted += fm_bytes_parse(input, &value) == FM_OK;
    accepted += fm_rfc3339_parse(input, &value) == FM_OK;
    accepted += fm_http_date_parse(input, &unix_s) == FM_OK;
    assert_true(accepted <= 2); /* "1" is a size in every form but no date */
}

static void test_hostile_input(void **state)
{
    (void)state;
    static const char *const rows[] = {"1h30m250ms", "64 KiB", "2026-11-21T01:52:50.25+01:00",
                                       "Sun, 06 Nov 1994 08:49:37 GMT"};
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        test_each_prefix(fm_slice_text(rows[i]), units_body, NULL);
        test_each_bit_flip(fm_slice_text(rows[i]), units_body, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_bytes_for_people),
        cmocka_unit_test(test_civil_time_round_trips),
        cmocka_unit_test(test_rfc3339),
        cmocka_unit_test(test_http_date),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_hostile_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
