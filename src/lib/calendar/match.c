/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a schedule is open, and until when.
 *
 * The minutes of a local day are a bitmap: those of the day itself where it matches, and what the
 * day before has spilled over.  Looking ahead goes from day to day; where the zone's offset changes
 * on the way, it goes on from that very second. */
#include "internal.h"

#include "fermata/units.h"

static uint32_t calendar_month_days(int32_t year, uint32_t month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && is_leap);
}

static bool calendar_year_matches(const struct calendar_line *line, int32_t year)
{
    for (uint32_t i = 0; i < line->year_count; i++) {
        const struct calendar_span *span = &line->years[i];
        if (year >= (int32_t)span->from && year <= (int32_t)span->to &&
            ((uint32_t)year - span->from) % span->step == 0)
            return true;
    }
    return !line->year_count;
}

static bool calendar_day_matches(const struct calendar_line *line, int64_t day)
{
    struct fm_civil civil = fm_civil_from_unix(day * CALENDAR_DAY_S, 0);
    uint32_t weekday = (uint32_t)(((day + 3) % 7 + 7) % 7);
    uint32_t from_end = calendar_month_days(civil.year, civil.month) - civil.day + 1;
    return (line->weekdays >> weekday & 1) && (line->months >> civil.month & 1) &&
           ((line->days >> civil.day & 1) || (line->last_days >> from_end & 1)) &&
           calendar_year_matches(line, civil.year);
}

static void calendar_day_minutes(const struct calendar *calendar, int64_t day,
                                 uint64_t minutes[CALENDAR_WORDS])
{
    memset(minutes, 0, CALENDAR_WORDS * sizeof *minutes);
    for (uint32_t i = 0; i < calendar->line_count; i++) {
        const struct calendar_line *line = &calendar->lines[i];
        bool is_today = calendar_day_matches(line, day);
        bool is_spilled = calendar_day_matches(line, day - 1);
        for (uint32_t word = 0; word < CALENDAR_WORDS; word++)
            minutes[word] |=
                (is_today ? line->own[word] : 0) | (is_spilled ? line->spill[word] : 0);
    }
}

/* Far from the ends of what arithmetic and the civil calendar can do. */
static int64_t calendar_clamp(int64_t unix_s)
{
    const int64_t far_s = INT64_C(1) << 40;
    return FM_MAX(FM_MIN(unix_s, far_s), -far_s);
}

static int64_t calendar_day_of(int64_t local_s, uint32_t *ret_second)
{
    int64_t day = local_s / CALENDAR_DAY_S, second = local_s % CALENDAR_DAY_S;
    if (second < 0) {
        second += CALENDAR_DAY_S;
        day--;
    }
    *ret_second = (uint32_t)second;
    return day;
}

bool calendar_is_open(const struct calendar *calendar, const struct calendar_zone *zone,
                      int64_t unix_s)
{
    uint64_t minutes[CALENDAR_WORDS];
    uint32_t second;
    unix_s = calendar_clamp(unix_s);
    int64_t day = calendar_day_of(unix_s + calendar_zone_offset_s(zone, unix_s), &second);
    calendar_day_minutes(calendar, day, minutes);
    return minutes[second / 60 / 64] >> (second / 60 % 64) & 1;
}

/* The first minute from the given one whose state is not is_open, or CALENDAR_MINUTES. */
static uint32_t calendar_find_change(const uint64_t minutes[CALENDAR_WORDS], uint32_t minute,
                                     bool is_open)
{
    while (minute < CALENDAR_MINUTES) {
        uint64_t word = is_open ? ~minutes[minute / 64] : minutes[minute / 64];
        word &= ~UINT64_C(0) << (minute % 64);
        if (word)
            return FM_MIN(minute / 64 * 64 + (uint32_t)__builtin_ctzll(word), CALENDAR_MINUTES);
        minute = minute / 64 * 64 + 64;
    }
    return CALENDAR_MINUTES;
}

/* The second behind `from` and up to `to` at which the offset is no longer that of `from`. */
static int64_t calendar_offset_change(const struct calendar_zone *zone, int64_t from, int64_t to)
{
    int32_t offset = calendar_zone_offset_s(zone, from);
    while (to - from > 1) {
        int64_t middle = from + (to - from) / 2;
        if (calendar_zone_offset_s(zone, middle) == offset)
            from = middle;
        else
            to = middle;
    }
    return to;
}

int64_t calendar_next_change(const struct calendar *calendar, const struct calendar_zone *zone,
                             int64_t unix_s)
{
    uint64_t minutes[CALENDAR_WORDS];
    int64_t at = calendar_clamp(unix_s), first = at;
    bool is_open = calendar_is_open(calendar, zone, at);
    while (at - first < CALENDAR_HORIZON_DAYS * CALENDAR_DAY_S) {
        uint32_t second;
        int32_t offset = calendar_zone_offset_s(zone, at);
        int64_t day = calendar_day_of(at + offset, &second);
        calendar_day_minutes(calendar, day, minutes);
        uint32_t minute = calendar_find_change(minutes, second / 60, is_open);
        if (minute == second / 60 && at != first)
            return at;
        /* Without a change in this day: its end. */
        int64_t next = at + ((int64_t)minute * 60 - second);
        if (calendar_zone_offset_s(zone, next) != offset)
            at = calendar_offset_change(zone, at, next);
        else if (minute < CALENDAR_MINUTES)
            return next;
        else
            at = next;
    }
    return CALENDAR_NEVER;
}
