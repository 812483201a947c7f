/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules from text.
 *
 * A time whose first ".." has a colon on either side is a range of time; systemd would read
 * "01:00..05:00" as six minutes of one hour, which nobody means who writes a window. */
#include "internal.h"

#include <stdlib.h>

#include "fermata/units.h"

typedef void calendar_mark(struct calendar_line *line, uint32_t value);

static const char *const calendar_weekdays[] = {"monday", "tuesday",  "wednesday", "thursday",
                                                "friday", "saturday", "sunday"};

static int calendar_bad(struct fm_why *why, struct fm_slice text, const char *what)
{
    return fm_fail(why, FM_EMALFORMED, "bad %s \"%.*s\"", what, (int)FM_MIN(text.len, (size_t)60),
                   (const char *)text.ptr);
}

/* ---- pieces of text ---- */

/* Takes what stands before the separator, or the rest; false: there is nothing left. */
static bool calendar_take(struct fm_slice *rest, char separator, struct fm_slice *ret_part)
{
    if (!rest->ptr)
        return false;
    const uint8_t *end = rest->len ? memchr(rest->ptr, separator, rest->len) : NULL;
    if (end) {
        size_t len = (size_t)(end - rest->ptr);
        *ret_part = fm_slice(rest->ptr, len);
        *rest = fm_slice(end + 1, rest->len - len - 1);
    } else {
        *ret_part = *rest;
        *rest = (struct fm_slice){0};
    }
    return true;
}

/* Splits at the first ".."; false: there is none. */
static bool calendar_split_range(struct fm_slice text, struct fm_slice *ret_from,
                                 struct fm_slice *ret_to)
{
    for (size_t i = 0; i + 1 < text.len; i++) {
        if (text.ptr[i] != '.' || text.ptr[i + 1] != '.')
            continue;
        *ret_from = fm_slice(text.ptr, i);
        *ret_to = fm_slice(text.ptr + i + 2, text.len - i - 2);
        return true;
    }
    return false;
}

static bool calendar_has(struct fm_slice text, char byte)
{
    return text.len && memchr(text.ptr, byte, text.len);
}

static int calendar_number(struct fm_slice text, uint32_t min, uint32_t max, uint32_t *ret_value)
{
    uint64_t value;
    if (text.len > 4 || fm_u64_parse(text, &value) < 0 || value < min || value > max)
        return FM_EMALFORMED;
    *ret_value = (uint32_t)value;
    return FM_OK;
}

/* "5", "1..5", "1/2", "1..9/2" */
static int calendar_span_parse(struct fm_slice text, uint32_t min, uint32_t max,
                               struct calendar_span *ret_span)
{
    struct calendar_span span = {.step = 1};
    struct fm_slice rest = text, from, to;
    if (!calendar_take(&rest, '/', &text))
        return FM_EMALFORMED;
    bool has_step = rest.ptr != NULL;
    if (has_step && calendar_number(rest, 1, 9999, &span.step) < 0)
        return FM_EMALFORMED;
    if (calendar_split_range(text, &from, &to)) {
        if (calendar_number(from, min, max, &span.from) < 0 ||
            calendar_number(to, min, max, &span.to) < 0 || span.from > span.to)
            return FM_EMALFORMED;
    } else {
        if (calendar_number(text, min, max, &span.from) < 0)
            return FM_EMALFORMED;
        span.to = has_step ? max : span.from;
    }
    *ret_span = span;
    return FM_OK;
}

/* A list of spans, or "*". */
static int calendar_field(struct calendar_line *line, struct fm_slice text, uint32_t min,
                          uint32_t max, calendar_mark *mark)
{
    struct calendar_span span;
    struct fm_slice item;
    if (fm_slice_equal_text(text, "*")) {
        for (uint32_t value = min; value <= max; value++)
            mark(line, value);
        return FM_OK;
    }
    while (calendar_take(&text, ',', &item)) {
        if (calendar_span_parse(item, min, max, &span) < 0)
            return FM_EMALFORMED;
        for (uint32_t value = span.from; value <= span.to; value += span.step)
            mark(line, value);
    }
    return FM_OK;
}

/* ---- weekdays ---- */

static int calendar_weekday(struct fm_slice text, uint32_t *ret_day)
{
    for (uint32_t day = 0; day < FM_COUNT(calendar_weekdays); day++) {
        const char *name = calendar_weekdays[day];
        char abbreviation[4] = {name[0], name[1], name[2], '\0'};
        if (!fm_slice_equal_nocase(text, name) && !fm_slice_equal_nocase(text, abbreviation))
            continue;
        *ret_day = day;
        return FM_OK;
    }
    return FM_EMALFORMED;
}

static int calendar_parse_weekdays(struct calendar_line *line, struct fm_slice text,
                                   struct fm_why *why)
{
    struct fm_slice rest = text, item;
    line->weekdays = 0;
    while (calendar_take(&rest, ',', &item)) {
        struct fm_slice first = item, last = item;
        uint32_t from, to;
        (void)calendar_split_range(item, &first, &last);
        if (calendar_weekday(first, &from) < 0 || calendar_weekday(last, &to) < 0)
            return calendar_bad(why, text, "weekday");
        for (uint32_t day = from;; day = (day + 1) % 7) {
            line->weekdays |= (uint8_t)(1u << day);
            if (day == to)
                break;
        }
    }
    return FM_OK;
}

/* ---- dates ---- */

static void calendar_mark_month(struct calendar_line *line, uint32_t month)
{
    line->months |= (uint16_t)(1u << month);
}

static void calendar_mark_day(struct calendar_line *line, uint32_t day)
{
    line->days |= 1u << day;
}

static int calendar_parse_years(struct calendar_line *line, struct fm_slice text)
{
    struct fm_slice item;
    if (fm_slice_equal_text(text, "*"))
        return FM_OK;
    while (calendar_take(&text, ',', &item)) {
        if (line->year_count == CALENDAR_YEARS_MAX ||
            calendar_span_parse(item, CALENDAR_YEAR_FIRST, CALENDAR_YEAR_LAST,
                                &line->years[line->year_count]) < 0)
            return FM_EMALFORMED;
        line->year_count++;
    }
    return FM_OK;
}

/* Counted from the month's end: "~3/1" is the last three days, since a step goes forward in time.
 */
static int calendar_parse_last_days(struct calendar_line *line, struct fm_slice text)
{
    struct fm_slice item;
    while (calendar_take(&text, ',', &item)) {
        struct fm_slice rest = item, number, first, last;
        uint32_t from, to, step = 1;
        if (!calendar_take(&rest, '/', &number))
            return FM_EMALFORMED;
        if (rest.ptr && calendar_number(rest, 1, 31, &step) < 0)
            return FM_EMALFORMED;
        bool is_range = calendar_split_range(number, &first, &last);
        if (calendar_number(is_range ? first : number, 1, 31, &from) < 0)
            return FM_EMALFORMED;
        to = rest.ptr ? 1 : from;
        if (is_range && calendar_number(last, 1, 31, &to) < 0)
            return FM_EMALFORMED;
        uint32_t day = FM_MAX(from, to), end = FM_MIN(from, to);
        for (; day >= end; day -= FM_MIN(step, day))
            line->last_days |= 1u << day;
    }
    return FM_OK;
}

static int calendar_parse_date(struct calendar_line *line, struct fm_slice text, struct fm_why *why)
{
    struct fm_slice rest = text, days = {0}, parts[3];
    size_t count = 0;
    bool from_end = calendar_has(text, '~');
    if (from_end) {
        (void)calendar_take(&rest, '~', &days);
        struct fm_slice front = days;
        days = rest;
        rest = front;
    }
    while (count < 3 && calendar_take(&rest, '-', &parts[count]))
        count++;
    size_t wanted = from_end ? 1 : 2; /* the year may be missing */
    if (rest.ptr || count < wanted || count > wanted + 1)
        return calendar_bad(why, text, "date");
    size_t month_at = count - wanted;
    line->months = 0;
    line->days = line->last_days = 0;
    if ((month_at && calendar_parse_years(line, parts[0]) < 0) ||
        calendar_field(line, parts[month_at], 1, 12, calendar_mark_month) < 0)
        return calendar_bad(why, text, "date");
    int rc = from_end ? calendar_parse_last_days(line, days)
                      : calendar_field(line, parts[month_at + 1], 1, 31, calendar_mark_day);
    return rc < 0 ? calendar_bad(why, text, "date") : FM_OK;
}

/* ---- times ---- */

static void calendar_mark_minutes(uint64_t minutes[CALENDAR_WORDS], uint32_t from, uint32_t to)
{
    for (uint32_t minute = from; minute < to; minute++)
        minutes[minute / 64] |= UINT64_C(1) << (minute % 64);
}

/* "5:30", "05:30:00", "24:00" */
static int calendar_clock(struct fm_slice text, uint32_t *ret_minute)
{
    struct fm_slice parts[3];
    uint32_t hour, minute, second = 0;
    size_t count = 0;
    while (count < 3 && calendar_take(&text, ':', &parts[count]))
        count++;
    if (text.ptr || count < 2 || calendar_number(parts[0], 0, 24, &hour) < 0 ||
        calendar_number(parts[1], 0, 59, &minute) < 0 ||
        (count == 3 && calendar_number(parts[2], 0, 0, &second) < 0) || (hour == 24 && minute))
        return FM_EMALFORMED;
    *ret_minute = hour * 60 + minute;
    return FM_OK;
}

static int calendar_parse_ranges(struct calendar_line *line, struct fm_slice text)
{
    struct fm_slice item, first, last;
    while (calendar_take(&text, ',', &item)) {
        uint32_t from, to;
        if (!calendar_split_range(item, &first, &last) || calendar_clock(first, &from) < 0 ||
            calendar_clock(last, &to) < 0 || from == to || from == CALENDAR_MINUTES)
            return FM_EMALFORMED;
        calendar_mark_minutes(line->own, from, from < to ? to : CALENDAR_MINUTES);
        if (to < from)
            calendar_mark_minutes(line->spill, 0, to);
    }
    return FM_OK;
}

/* Marks of hours are kept in spill's first word, those of minutes in its second. */
static void calendar_mark_hour(struct calendar_line *line, uint32_t hour)
{
    line->spill[0] |= UINT64_C(1) << hour;
}

static void calendar_mark_minute(struct calendar_line *line, uint32_t minute)
{
    line->spill[1] |= UINT64_C(1) << minute;
}

static int calendar_parse_fields(struct calendar_line *line, struct fm_slice text)
{
    struct fm_slice hours;
    if (!calendar_take(&text, ':', &hours) || !text.ptr || calendar_has(text, ':') ||
        calendar_field(line, hours, 0, 23, calendar_mark_hour) < 0 ||
        calendar_field(line, text, 0, 59, calendar_mark_minute) < 0)
        return FM_EMALFORMED;
    for (uint32_t minute = 0; minute < CALENDAR_MINUTES; minute++)
        if ((line->spill[0] >> (minute / 60) & 1) && (line->spill[1] >> (minute % 60) & 1))
            calendar_mark_minutes(line->own, minute, minute + 1);
    line->spill[0] = line->spill[1] = 0;
    return FM_OK;
}

static int calendar_parse_time(struct calendar_line *line, struct fm_slice text, struct fm_why *why)
{
    struct fm_slice first, last;
    bool is_range = calendar_split_range(text, &first, &last) && calendar_has(first, ':') &&
                    calendar_has(last, ':');
    int rc = is_range ? calendar_parse_ranges(line, text) : calendar_parse_fields(line, text);
    return rc < 0 ? calendar_bad(why, text, "time") : FM_OK;
}

/* ---- lines ---- */

static bool calendar_is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r';
}

static bool calendar_take_word(struct fm_slice *rest, struct fm_slice *ret_word)
{
    size_t begin = 0;
    while (begin < rest->len && calendar_is_blank(rest->ptr[begin]))
        begin++;
    size_t end = begin;
    while (end < rest->len && !calendar_is_blank(rest->ptr[end]))
        end++;
    if (begin == end)
        return false;
    *ret_word = fm_slice(rest->ptr + begin, end - begin);
    *rest = fm_slice(rest->ptr + end, rest->len - end);
    return true;
}

static int calendar_parse_line(struct calendar_line *line, struct fm_slice text, struct fm_why *why)
{
    enum { NOTHING, WEEKDAYS, DATE, TIME } seen = NOTHING, now;
    struct fm_slice rest = text, word;
    *line = (struct calendar_line){.weekdays = 0x7f, .months = 0x1ffe, .days = 0xfffffffe};
    while (calendar_take_word(&rest, &word)) {
        int rc;
        now = calendar_has(word, ':')                              ? TIME
              : calendar_has(word, '-') || calendar_has(word, '~') ? DATE
                                                                   : WEEKDAYS;
        if (now <= seen)
            return calendar_bad(why, text, "order of words in");
        seen = now;
        rc = now == TIME   ? calendar_parse_time(line, word, why)
             : now == DATE ? calendar_parse_date(line, word, why)
                           : calendar_parse_weekdays(line, word, why);
        if (rc < 0)
            return rc;
    }
    if (seen == NOTHING)
        return FM_NONE;
    if (seen != TIME)
        calendar_mark_minutes(line->own, 0, CALENDAR_MINUTES);
    return FM_OK;
}

int calendar_new(struct calendar **ret_calendar, struct fm_slice text, struct fm_why *why)
{
    FM_AUTO(calendar) calendar = calloc(1, sizeof *calendar);
    struct calendar_line line;
    struct fm_slice rest = text, part;
    if (!calendar)
        return FM_ENOMEM;
    while (calendar_take(&rest, '\n', &part)) {
        int rc = calendar_parse_line(&line, part, why);
        if (rc < 0)
            return rc;
        if (rc == FM_NONE)
            continue;
        if (calendar->line_count == CALENDAR_LINES_MAX)
            return fm_fail(why, FM_ELIMIT, "more than %u lines", CALENDAR_LINES_MAX);
        calendar->lines[calendar->line_count++] = line;
    }
    if (!calendar->line_count)
        return fm_fail(why, FM_EMALFORMED, "no schedule");
    *ret_calendar = fm_take(calendar);
    return FM_OK;
}

struct calendar *calendar_free(struct calendar *calendar)
{
    free(calendar);
    return NULL;
}
