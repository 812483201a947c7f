/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules and zones: against tables, and against systemd and libc where these are at hand. */
#include "../../support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "fermata/calendar.h"
#include "fermata/units.h"

static const char berlin[] = "CET-1CEST,M3.5.0,M10.5.0/3";

static int64_t at(const char *rfc3339)
{
    uint64_t ns;
    assert_ok(fm_rfc3339_parse(fm_slice_text(rfc3339), &ns));
    return (int64_t)(ns / FM_NS_PER_S);
}

static struct calendar *calendar_of(const char *text)
{
    struct calendar *calendar = NULL;
    struct fm_why why = {""};
    int rc = calendar_new(&calendar, fm_slice_text(text), &why);
    if (rc < 0)
        fail_msg("%s: %s", text, why.text);
    return calendar;
}

static struct calendar_zone *zone_of(const char *rule)
{
    struct calendar_zone *zone = NULL;
    assert_ok(calendar_zone_new_rule(&zone, fm_slice_text(rule), NULL));
    return zone;
}

/* ---- open or not ---- */

static void test_is_open(void **state)
{
    (void)state;
    static const struct {
        const char *schedule, *time;
        bool is_open;
    } rows[] = {
        /* 2026-11-21 is a Saturday */
        {"01:00..05:00", "2026-11-21T00:59:59Z", false},
        {"01:00..05:00", "2026-11-21T01:00:00Z", true},
        {"01:00..05:00", "2026-11-21T04:59:59Z", true},
        {"01:00..05:00", "2026-11-21T05:00:00Z", false},
        {"01:00:00..05:00:00", "2026-11-21T04:59:59Z", true},
        {"22:00..06:00", "2026-11-21T23:30:00Z", true},
        {"22:00..06:00", "2026-11-21T05:59:59Z", true},
        {"22:00..06:00", "2026-11-21T06:00:00Z", false},
        {"22:00..24:00", "2026-11-22T00:00:00Z", false},
        {"01:00..02:00,13:00..14:30", "2026-11-21T14:29:00Z", true},
        {"01:00..02:00,13:00..14:30", "2026-11-21T02:00:00Z", false},
        {"Mon..Fri 22:00..06:00", "2026-11-21T05:00:00Z", true}, /* Friday's */
        {"Mon..Fri 22:00..06:00", "2026-11-21T22:30:00Z", false},
        {"Mon..Fri 22:00..06:00", "2026-11-23T05:00:00Z", false}, /* Sunday's */
        {"Sat,Sun", "2026-11-21T12:00:00Z", true},
        {"Sat,Sun", "2026-11-23T00:00:00Z", false},
        {"saturday", "2026-11-21T12:00:00Z", true},
        {"Fri..Mon", "2026-11-23T23:59:59Z", true},
        {"Fri..Mon", "2026-11-24T00:00:00Z", false},
        {"*-*-* 22:00..06:00", "2026-11-21T23:30:00Z", true},
        {"2026-11-21 00:00..24:00", "2026-11-21T23:59:59Z", true},
        {"2026-11-21", "2026-11-22T00:00:00Z", false},
        {"2025..2030/5-*-*", "2030-11-21T00:00:00Z", true},
        {"2025..2030/5-*-*", "2026-11-21T00:00:00Z", false},
        {"*-12-24..26", "2026-12-26T10:00:00Z", true},
        {"*-12-24..26", "2026-12-27T10:00:00Z", false},
        {"12-24", "2026-12-24T10:00:00Z", true},
        {"*-*-1,15", "2026-11-15T10:00:00Z", true},
        {"*-*-1/7", "2026-11-22T10:00:00Z", true},
        {"*-*-1/7", "2026-11-21T10:00:00Z", false},
        {"*-*~1", "2026-02-28T10:00:00Z", true},
        {"*-*~1", "2028-02-28T10:00:00Z", false},
        {"*-*~1", "2028-02-29T10:00:00Z", true},
        {"*-*~3/1", "2026-11-28T10:00:00Z", true},
        {"*-*~3/1", "2026-11-27T10:00:00Z", false},
        {"Mon *-05~07/1", "2026-05-25T10:00:00Z", true}, /* the last Monday of May */
        {"Mon *-05~07/1", "2026-05-18T10:00:00Z", false},
        {"01..05:*", "2026-11-21T05:59:59Z", true},
        {"01..05:*", "2026-11-21T06:00:00Z", false},
        {"00/2:00..29", "2026-11-21T14:29:00Z", true},
        {"00/2:00..29", "2026-11-21T14:30:00Z", false},
        {"00/2:00..29", "2026-11-21T15:00:00Z", false},
        {"01:00..02:00\n03:00..04:00\n", "2026-11-21T03:30:00Z", true},
        {"  Sat   01:00..02:00 ", "2026-11-21T01:30:00Z", true},
        {"*-*-*", "1969-12-31T23:59:59Z", true},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct calendar *calendar = calendar_of(rows[i].schedule);
        int64_t time_s = rows[i].time[0] == '1' ? -1 : at(rows[i].time);
        if (calendar_is_open(calendar, NULL, time_s) != rows[i].is_open)
            fail_msg("%s at %s", rows[i].schedule, rows[i].time);
        calendar_free(calendar);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "",
        " ",
        "\n",
        "25:00..26:00",
        "01:00..01:00",
        "24:00..1:00",
        "1:60..2:00",
        "1:00..2:00:30",
        "1:00",
        "1:00..",
        "..2:00",
        "1:00..2:00,",
        "Mon..",
        "Mond",
        "Mon..Fri,",
        "*-13-01",
        "*-*-32",
        "*-0-1",
        "1-2-3-4",
        "*-*~",
        "*-*~32",
        "*-*-1~2",
        "1969-1-1",
        "*-*-5..3",
        "*-*-1/0",
        "1..5/2/3:0",
        "01:00..05:00 Mon",
        "Mon Tue",
        "1:0..5 2:00..3:00",
        "*:*:*",
        "24:*",
        "*:60",
        "1,:*",
        "99999:*",
        "Sat 2026-1-1 1:00..2:00 x",
        "-",
        "~",
        ":",
        "/",
        "*/2:00..29",
    };
    struct calendar *calendar = NULL;
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct fm_why why = {""};
        bool is_minute = strcmp(rows[i], "1:00") == 0; /* one minute; a window all the same */
        int rc = calendar_new(&calendar, fm_slice_text(rows[i]), &why);
        if (is_minute) {
            assert_ok(rc);
            calendar = calendar_free(calendar);
            continue;
        }
        if (rc != FM_EMALFORMED || !why.text[0])
            fail_msg("\"%s\" is accepted", rows[i]);
        assert_null(calendar);
    }
    char lines[17 * 6 + 1] = "";
    for (size_t i = 0; i < 17; i++)
        memcpy(lines + i * 4, "Sat\n", 5);
    assert_int_equal(calendar_new(&calendar, fm_slice_text(lines), NULL), FM_ELIMIT);
}

/* ---- changes ---- */

static void assert_change(const struct calendar *calendar, const struct calendar_zone *zone,
                          const char *from, const char *to)
{
    int64_t change = calendar_next_change(calendar, zone, at(from));
    if (change != at(to))
        fail_msg("from %s: %lld instead of %s", from, (long long)change, to);
}

static void test_changes(void **state)
{
    (void)state;
    struct calendar *calendar = calendar_of("Mon..Fri 22:00..06:00");
    assert_change(calendar, NULL, "2026-11-20T12:00:00Z", "2026-11-20T22:00:00Z");
    assert_change(calendar, NULL, "2026-11-20T22:00:00Z", "2026-11-21T06:00:00Z");
    assert_change(calendar, NULL, "2026-11-21T06:00:00Z", "2026-11-23T22:00:00Z");
    calendar_free(calendar);
    calendar = calendar_of("*-02-29");
    assert_change(calendar, NULL, "2026-11-20T12:00:00Z", "2028-02-29T00:00:00Z");
    assert_change(calendar, NULL, "2028-02-29T12:00:00Z", "2028-03-01T00:00:00Z");
    calendar_free(calendar);
    calendar = calendar_of("*-*-*");
    assert_true(calendar_next_change(calendar, NULL, at("2026-11-20T12:00:00Z")) == CALENDAR_NEVER);
    calendar_free(calendar);
    calendar = calendar_of("2001-01-01");
    assert_true(calendar_next_change(calendar, NULL, at("2026-11-20T12:00:00Z")) == CALENDAR_NEVER);
    calendar_free(calendar);
}

static void test_changes_of_the_clock(void **state)
{
    (void)state;
    struct calendar_zone *zone = zone_of(berlin);
    assert_int_equal(calendar_zone_offset_s(zone, at("2026-03-29T00:59:59Z")), 3600);
    assert_int_equal(calendar_zone_offset_s(zone, at("2026-03-29T01:00:00Z")), 7200);
    assert_int_equal(calendar_zone_offset_s(zone, at("2026-10-25T00:59:59Z")), 7200);
    assert_int_equal(calendar_zone_offset_s(zone, at("2026-10-25T01:00:00Z")), 3600);
    struct calendar *calendar = calendar_of("22:00..06:00");
    /* The night in which an hour is missing, and the one that has it twice. */
    assert_change(calendar, zone, "2026-03-28T12:00:00Z", "2026-03-28T21:00:00Z");
    assert_change(calendar, zone, "2026-03-28T21:00:00Z", "2026-03-29T04:00:00Z");
    assert_change(calendar, zone, "2026-10-24T20:00:00Z", "2026-10-25T05:00:00Z");
    calendar_free(calendar);
    /* Begins in the hour that is missing: when the clock has passed it. */
    calendar = calendar_of("02:30..03:30");
    assert_change(calendar, zone, "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z");
    assert_change(calendar, zone, "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z");
    /* Begins in the hour that comes twice: twice. */
    assert_change(calendar, zone, "2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z");
    assert_change(calendar, zone, "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z");
    assert_change(calendar, zone, "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z");
    assert_change(calendar, zone, "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z");
    calendar_free(calendar);
    calendar_zone_free(zone);
}

/* Minute by minute the state is what the changes say. */
static void test_changes_agree_with_states(void **state)
{
    (void)state;
    static const char *const rows[] = {"Mon..Fri 22:00..06:00", "00/3:15..44",
                                       "Sat,Sun\n11:00..12:00", "*-*~2/1 23:00..02:00",
                                       "02:30..03:30"};
    struct calendar_zone *zones[] = {NULL, zone_of(berlin),
                                     zone_of("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0")};
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct calendar *calendar = calendar_of(rows[i]);
        for (size_t k = 0; k < FM_COUNT(zones); k++) {
            int64_t now = at("2026-03-27T00:00:00Z"), end = now + 5 * 86400;
            int64_t change = calendar_next_change(calendar, zones[k], now);
            bool is_open = calendar_is_open(calendar, zones[k], now);
            for (; now < end; now += 60) {
                if (now == change) {
                    is_open = !is_open;
                    change = calendar_next_change(calendar, zones[k], now);
                    assert_true(change > now);
                }
                assert_int_equal(calendar_is_open(calendar, zones[k], now), is_open);
            }
        }
        calendar_free(calendar);
    }
    for (size_t k = 0; k < FM_COUNT(zones); k++)
        calendar_zone_free(zones[k]);
}

/* ---- zones ---- */

static void test_rules(void **state)
{
    (void)state;
    static const struct {
        const char *rule, *time;
        int32_t offset_s;
    } rows[] = {
        {"UTC0", "2026-07-01T00:00:00Z", 0},
        {"<+0330>-3:30", "2026-07-01T00:00:00Z", 12600},
        {"EST5EDT,M3.2.0,M11.1.0", "2026-07-01T00:00:00Z", -14400},
        {"EST5EDT,M3.2.0,M11.1.0", "2026-01-01T00:00:00Z", -18000},
        {"AEST-10AEDT,M10.1.0,M4.1.0/3", "2026-01-01T00:00:00Z", 39600},
        {"AEST-10AEDT,M10.1.0,M4.1.0/3", "2026-07-01T00:00:00Z", 36000},
        {"IST-2IDT,M3.4.4/26,M10.5.0", "2026-07-01T00:00:00Z", 10800},
        {"XXX3YYY2,J60,J300", "2028-02-29T23:59:59Z", -10800},
        {"XXX3YYY2,J60,J300", "2028-03-01T05:00:00Z", -7200},
        {"XXX3YYY2,59,300", "2028-02-29T05:00:00Z", -7200},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct calendar_zone *zone = zone_of(rows[i].rule);
        if (calendar_zone_offset_s(zone, at(rows[i].time)) != rows[i].offset_s)
            fail_msg("%s at %s", rows[i].rule, rows[i].time);
        calendar_zone_free(zone);
    }
    static const char *const wrong[] = {"",
                                        "X",
                                        "CET",
                                        "CET-25",
                                        "CET-1CEST",
                                        "CET-1CEST,",
                                        "CET-1CEST,M3.5.0",
                                        "<+1-1",
                                        "CET-1CEST,M13.5.0,M10.5.0",
                                        "CET-1CEST,M3.6.0,M10.5.0",
                                        "CET-1CEST,M3.5.7,M10.5.0",
                                        "CET-1CEST,J0,J5",
                                        "CET-1CEST,366,5",
                                        "CET-1CEST,M3.5.0,M10.5.0x"};
    struct calendar_zone *zone = NULL;
    for (size_t i = 0; i < FM_COUNT(wrong); i++)
        assert_int_equal(calendar_zone_new_rule(&zone, fm_slice_text(wrong[i]), NULL),
                         FM_EMALFORMED);
}

static bool zone_file_read(const char *name, struct fm_buf *content)
{
    char path[128];
    uint8_t bytes[4096];
    size_t len;
    (void)snprintf(path, sizeof path, "/usr/share/zoneinfo/%s", name);
    FILE *file = fopen(path, "rb");
    if (!file)
        return false;
    fm_buf_init(content, FM_KIB(64));
    while ((len = fread(bytes, 1, sizeof bytes, file)) > 0)
        fm_buf_put(content, bytes, len);
    (void)fclose(file);
    return true;
}

static void test_files_mean_what_libc_reads(void **state)
{
    (void)state;
    static const char *const names[] = {"Europe/Berlin",       "America/New_York",
                                        "Australia/Lord_Howe", "Africa/Casablanca",
                                        "Asia/Kathmandu",      "America/Nuuk"};
    for (size_t i = 0; i < FM_COUNT(names); i++) {
        struct fm_buf content;
        struct calendar_zone *zone = NULL;
        if (!zone_file_read(names[i], &content))
            continue; /* no zones on this machine */
        assert_ok(calendar_zone_new(&zone, fm_buf_slice(&content), NULL));
        (void)setenv("TZ", names[i], 1);
        tzset();
        for (int64_t time_s = at("1971-01-01T00:00:00Z"); time_s < at("2060-01-01T00:00:00Z");
             time_s += 7 * 3600 + 13) {
            struct tm tm;
            time_t time = (time_t)time_s;
            assert_non_null(localtime_r(&time, &tm));
            if (calendar_zone_offset_s(zone, time_s) != tm.tm_gmtoff)
                fail_msg("%s at %lld", names[i], (long long)time_s);
        }
        calendar_zone_free(zone);
        fm_buf_fini(&content);
    }
    (void)unsetenv("TZ");
}

/* Version 2, two transitions, a rule: small enough to be broken in every way. */
static void zone_put_block(struct fm_buf *out, bool is_wide)
{
    uint8_t word[8];
    fm_buf_put(out, "TZif2", 5);
    fm_buf_put_zeros(out, 15);
    static const uint32_t counts[] = {0, 0, 0, 2, 2, 8};
    for (size_t i = 0; i < FM_COUNT(counts); i++) {
        fm_store_be32(word, counts[i]);
        fm_buf_put(out, word, 4);
    }
    for (uint32_t i = 1; i <= 2; i++) {
        fm_store_be64(word, i * 1000);
        fm_buf_put(out, is_wide ? word : word + 4, is_wide ? 8 : 4);
    }
    fm_buf_put(out, "\1\0", 2);
    fm_buf_put(out, "\0\0\x0e\x10\0\0", 6);
    fm_buf_put(out, "\0\0\x1c\x20\1\4", 6);
    fm_buf_put(out, "CET\0CEST", 8);
}

static struct fm_buf zone_sample(void)
{
    struct fm_buf out;
    fm_buf_init(&out, FM_KIB(4));
    zone_put_block(&out, false);
    zone_put_block(&out, true);
    fm_buf_puts(&out, "\nCET-1CEST,M3.5.0,M10.5.0/3\n");
    return out;
}

static void zone_try(void *self, struct fm_slice input)
{
    struct calendar_zone *zone = NULL;
    (void)self;
    if (calendar_zone_new(&zone, input, NULL) == FM_OK) {
        for (int64_t time_s = -1000; time_s < 4000; time_s += 500) {
            int32_t offset = calendar_zone_offset_s(zone, time_s);
            assert_true(offset >= -26 * 3600 && offset <= 26 * 3600);
        }
        calendar_zone_free(zone);
    }
}

static void zone_refuse(void *self, struct fm_slice input)
{
    struct calendar_zone *zone = NULL;
    (void)self;
    assert_int_equal(calendar_zone_new(&zone, input, NULL), FM_EMALFORMED);
}

static void test_broken_files(void **state)
{
    (void)state;
    struct fm_buf sample = zone_sample();
    struct calendar_zone *zone = NULL;
    assert_ok(calendar_zone_new(&zone, fm_buf_slice(&sample), NULL));
    assert_int_equal(calendar_zone_offset_s(zone, 0), 3600);
    assert_int_equal(calendar_zone_offset_s(zone, 1500), 7200);
    assert_int_equal(calendar_zone_offset_s(zone, at("2026-07-01T00:00:00Z")), 7200);
    calendar_zone_free(zone);
    test_each_prefix(fm_buf_slice(&sample), zone_refuse, NULL);
    test_each_bit_flip(fm_buf_slice(&sample), zone_try, NULL);
    for (uint64_t nth = 1;; nth++) {
        zone = NULL;
        test_alloc_fail_at(nth);
        int rc = calendar_zone_new(&zone, fm_buf_slice(&sample), NULL);
        bool failed = test_alloc_failed();
        test_alloc_disarm();
        calendar_zone_free(zone);
        if (!failed)
            break;
        assert_int_equal(rc, FM_ENOMEM);
    }
    fm_buf_fini(&sample);
    struct calendar *calendar = NULL;
    test_alloc_fail_at(1);
    assert_int_equal(calendar_new(&calendar, FM_SLICE("Sat"), NULL), FM_ENOMEM);
    test_alloc_disarm();
}

static void calendar_try(void *self, struct fm_slice input)
{
    struct calendar *calendar = NULL;
    (void)self;
    if (calendar_new(&calendar, input, NULL) == FM_OK) {
        int64_t now = at("2026-11-21T12:00:00Z");
        assert_true(calendar_next_change(calendar, NULL, now) > now);
        calendar_free(calendar);
    }
}

static void test_broken_schedules(void **state)
{
    (void)state;
    struct fm_slice input =
        FM_SLICE("Mon..Wed,Fri 2026..2030/2-1,3-2..9/2 22:00..06:00,7:00..8:00");
    test_each_prefix(input, calendar_try, NULL);
    test_each_bit_flip(input, calendar_try, NULL);
    input = FM_SLICE("Sun *-*~3/1 00/2:00..29");
    test_each_prefix(input, calendar_try, NULL);
    test_each_bit_flip(input, calendar_try, NULL);
}

/* ---- systemd as the oracle: the minutes that match are the instants that it names ---- */

static bool oracle_ask(const char *schedule, const char *base, int64_t *ret_s)
{
    char command[256], line[512];
    bool found = false;
    (void)snprintf(command, sizeof command,
                   "TZ=UTC LC_ALL=C systemd-analyze calendar --base-time='%s UTC' '%s' 2>/dev/null",
                   base, schedule);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    while (fgets(line, sizeof line, pipe)) {
        unsigned year, month, day, hour, minute;
        const char *value = strstr(line, "Next elapse: ");
        if (!value || sscanf(value, "Next elapse: %*s %u-%u-%u %u:%u", &year, &month, &day, &hour,
                             &minute) != 5)
            continue;
        struct fm_civil civil = {.year = (int32_t)year,
                                 .month = (uint8_t)month,
                                 .day = (uint8_t)day,
                                 .hour = (uint8_t)hour,
                                 .minute = (uint8_t)minute};
        *ret_s = fm_civil_to_unix(&civil);
        found = true;
    }
    return pclose(pipe) == 0 && found;
}

static void test_systemd_agrees(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "Mon..Fri 05:30",         "Sat,Sun *-*-* 00/6:10..20/5",
        "*-02-29 12:00",          "*-*~1 23:59",
        "Mon *-05~07/1 00:00",    "*-*-1,8,15 10:*",
        "2027..2030/3-*-* 0:0",   "*-1,7-1..10/3 00/5:7",
        "*-*~3/1 1:00",           "Wed *-*-13 13:13",
        "12-24..26 18..20:00/30", "*-*-31 0:00",
        "Sun *-*~7/1 03:00",      "2028-02~1 00:00",
        "Tue,Thu..Fri 23:45",     "*:0..51/17",
    };
    static const char *const bases[] = {"2026-02-27 12:00:00", "2026-11-21 15:04:59",
                                        "2027-12-30 23:59:30"};
    int64_t expected;
    if (!oracle_ask("*:*", bases[0], &expected))
        skip(); /* no systemd here */
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct calendar *calendar = calendar_of(rows[i]);
        for (size_t k = 0; k < FM_COUNT(bases); k++) {
            char text[32];
            (void)snprintf(text, sizeof text, "%.10sT%.8sZ", bases[k], bases[k] + 11);
            int64_t minute = at(text) / 60 * 60 + 60;
            if (!calendar_is_open(calendar, NULL, minute))
                minute = calendar_next_change(calendar, NULL, minute);
            assert_true(oracle_ask(rows[i], bases[k], &expected));
            if (minute != expected)
                fail_msg("%s from %s: %lld, systemd says %lld", rows[i], bases[k],
                         (long long)minute, (long long)expected);
        }
        calendar_free(calendar);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_is_open),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_changes_of_the_clock),
        cmocka_unit_test(test_changes_agree_with_states),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_files_mean_what_libc_reads),
        cmocka_unit_test(test_broken_files),
        cmocka_unit_test(test_broken_schedules),
        cmocka_unit_test(test_systemd_agrees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
