/* SPDX-License-Identifier: Apache-2.0 */
/* Time zones: TZif files (RFC 9636) and the POSIX rule at their end. */
#include <stdlib.h>

#include "fermata/bytes.h"
#include "fermata/calendar.h"
#include "fermata/units.h"

#define ZONE_HEADER_BYTES    44u
#define ZONE_TRANSITIONS_MAX 4096u
#define ZONE_TYPES_MAX       256u
#define ZONE_OFFSET_MAX_S    (26 * 3600)
#define ZONE_DAY_S           INT64_C(86400)

enum zone_form { ZONE_MONTH_WEEK, ZONE_JULIAN, ZONE_DAY };
struct zone_moment { /* of every year */
    enum zone_form form;
    uint32_t month, week, day;
    int32_t time_s;
};
struct zone_rule {
    int32_t standard_s, summer_s;
    bool has_summer;
    struct zone_moment begin, end; /* of summer time */
};
struct calendar_zone {
    int64_t *times;   /* owned; ascending */
    int32_t *offsets; /* owned; from times[i] on */
    uint32_t count;
    int32_t first_s; /* before the first, or always */
    bool has_rule;   /* from the last on */
    struct zone_rule rule;
};

/* ---- the rule ---- */

static bool zone_take_byte(struct fm_slice *rest, uint8_t byte)
{
    if (!rest->len || rest->ptr[0] != byte)
        return false;
    *rest = fm_slice(rest->ptr + 1, rest->len - 1);
    return true;
}

static int zone_take_number(struct fm_slice *rest, uint32_t max, uint32_t *ret_value)
{
    size_t len = 0;
    uint64_t value;
    while (len < rest->len && len < 4 && rest->ptr[len] >= '0' && rest->ptr[len] <= '9')
        len++;
    if (fm_u64_parse(fm_slice(rest->ptr, len), &value) < 0 || value > max)
        return FM_EMALFORMED;
    *rest = fm_slice(rest->ptr + len, rest->len - len);
    *ret_value = (uint32_t)value;
    return FM_OK;
}

/* "CET", "<+0330>" */
static int zone_take_name(struct fm_slice *rest)
{
    size_t len = 0;
    bool is_quoted = zone_take_byte(rest, '<');
    for (; len < rest->len; len++) {
        uint8_t byte = rest->ptr[len];
        bool is_letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
        bool is_number = (byte >= '0' && byte <= '9') || byte == '+' || byte == '-';
        if (!is_letter && !(is_quoted && is_number))
            break;
    }
    if (len < 3)
        return FM_EMALFORMED;
    *rest = fm_slice(rest->ptr + len, rest->len - len);
    return is_quoted && !zone_take_byte(rest, '>') ? FM_EMALFORMED : FM_OK;
}

/* "-1", "+05:30", "26:00:00" */
static int zone_take_time(struct fm_slice *rest, uint32_t hours_max, int32_t *ret_seconds)
{
    uint32_t hours, minutes = 0, seconds = 0;
    bool is_negative = zone_take_byte(rest, '-');
    if (!is_negative)
        (void)zone_take_byte(rest, '+');
    if (zone_take_number(rest, hours_max, &hours) < 0)
        return FM_EMALFORMED;
    if (zone_take_byte(rest, ':') && zone_take_number(rest, 59, &minutes) < 0)
        return FM_EMALFORMED;
    if (zone_take_byte(rest, ':') && zone_take_number(rest, 59, &seconds) < 0)
        return FM_EMALFORMED;
    int32_t value = (int32_t)(hours * 3600 + minutes * 60 + seconds);
    *ret_seconds = is_negative ? -value : value;
    return FM_OK;
}

/* "M3.5.0/2", "J60", "59" */
static int zone_take_moment(struct fm_slice *rest, struct zone_moment *ret_moment)
{
    struct zone_moment moment = {.time_s = 2 * 3600};
    int rc;
    if (zone_take_byte(rest, 'M')) {
        moment.form = ZONE_MONTH_WEEK;
        rc = zone_take_number(rest, 12, &moment.month);
        if (rc < 0 || !zone_take_byte(rest, '.') || zone_take_number(rest, 5, &moment.week) < 0 ||
            !zone_take_byte(rest, '.') || zone_take_number(rest, 6, &moment.day) < 0 ||
            !moment.month || !moment.week)
            return FM_EMALFORMED;
    } else {
        moment.form = zone_take_byte(rest, 'J') ? ZONE_JULIAN : ZONE_DAY;
        rc = zone_take_number(rest, 365, &moment.day);
        if (rc < 0 || (moment.form == ZONE_JULIAN && !moment.day))
            return FM_EMALFORMED;
    }
    if (zone_take_byte(rest, '/') && zone_take_time(rest, 167, &moment.time_s) < 0)
        return FM_EMALFORMED;
    *ret_moment = moment;
    return FM_OK;
}

static int zone_rule_parse(struct fm_slice text, struct zone_rule *ret_rule)
{
    struct zone_rule rule = {0};
    int32_t west_s;
    if (zone_take_name(&text) < 0 || zone_take_time(&text, 24, &west_s) < 0)
        return FM_EMALFORMED;
    rule.standard_s = -west_s;
    if (text.len) {
        rule.has_summer = true;
        rule.summer_s = rule.standard_s + 3600;
        if (zone_take_name(&text) < 0)
            return FM_EMALFORMED;
        if (text.len && text.ptr[0] != ',') {
            if (zone_take_time(&text, 24, &west_s) < 0)
                return FM_EMALFORMED;
            rule.summer_s = -west_s;
        }
        if (!zone_take_byte(&text, ',') || zone_take_moment(&text, &rule.begin) < 0 ||
            !zone_take_byte(&text, ',') || zone_take_moment(&text, &rule.end) < 0 || text.len)
            return FM_EMALFORMED;
    }
    *ret_rule = rule;
    return FM_OK;
}

static bool zone_is_leap(int32_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Seconds of local time since the epoch at which the moment comes in the year. */
static int64_t zone_moment_s(const struct zone_moment *moment, int32_t year)
{
    struct fm_civil first = {.year = year, .month = 1, .day = 1};
    if (moment->form != ZONE_MONTH_WEEK) {
        int64_t day = moment->day;
        if (moment->form == ZONE_JULIAN) /* counts no 29 February */
            day -= day >= 60 && zone_is_leap(year) ? 0 : 1;
        return fm_civil_to_unix(&first) + day * ZONE_DAY_S + moment->time_s;
    }
    first.month = (uint8_t)moment->month;
    int64_t day = fm_civil_to_unix(&first) / ZONE_DAY_S;
    struct fm_civil next = {
        .year = year + (moment->month == 12), .month = (uint8_t)(moment->month % 12 + 1), .day = 1};
    int64_t end = fm_civil_to_unix(&next) / ZONE_DAY_S;
    int64_t weekday = ((day + 4) % 7 + 7) % 7; /* 0: Sunday */
    day += (moment->day - weekday + 7) % 7 + (int64_t)(moment->week - 1) * 7;
    while (day >= end)
        day -= 7;
    return day * ZONE_DAY_S + moment->time_s;
}

static int32_t zone_rule_offset_s(const struct zone_rule *rule, int64_t unix_s)
{
    if (!rule->has_summer)
        return rule->standard_s;
    int32_t year = fm_civil_from_unix(unix_s + rule->standard_s, 0).year;
    int64_t begin = zone_moment_s(&rule->begin, year) - rule->standard_s;
    int64_t end = zone_moment_s(&rule->end, year) - rule->summer_s;
    bool is_summer = begin < end ? unix_s >= begin && unix_s < end
                                 : !(unix_s >= end && unix_s < begin); /* of the south */
    return is_summer ? rule->summer_s : rule->standard_s;
}

/* ---- the file ---- */

struct zone_counts {
    uint32_t is_utc, is_standard, leap, time, type, character;
};

static int zone_take_header(struct fm_slice *rest, uint8_t *ret_version, struct zone_counts *counts)
{
    if (rest->len < ZONE_HEADER_BYTES || memcmp(rest->ptr, "TZif", 4) != 0)
        return FM_EMALFORMED;
    const uint8_t *at = rest->ptr + 20;
    *counts =
        (struct zone_counts){fm_load_be32(at),      fm_load_be32(at + 4),  fm_load_be32(at + 8),
                             fm_load_be32(at + 12), fm_load_be32(at + 16), fm_load_be32(at + 20)};
    *ret_version = rest->ptr[4];
    *rest = fm_slice(rest->ptr + ZONE_HEADER_BYTES, rest->len - ZONE_HEADER_BYTES);
    bool is_sane = counts->time <= ZONE_TRANSITIONS_MAX && counts->type >= 1 &&
                   counts->type <= ZONE_TYPES_MAX && counts->character <= 4096 &&
                   counts->leap <= 4096 && counts->is_utc <= counts->type &&
                   counts->is_standard <= counts->type;
    return is_sane ? FM_OK : FM_EMALFORMED;
}

static uint64_t zone_body_bytes(const struct zone_counts *counts, uint32_t time_bytes)
{
    return (uint64_t)counts->time * (time_bytes + 1) + (uint64_t)counts->type * 6 +
           counts->character + (uint64_t)counts->leap * (time_bytes + 4) + counts->is_standard +
           counts->is_utc;
}

static int zone_offset_of(const uint8_t *types, const struct zone_counts *counts, uint8_t index,
                          int32_t *ret_offset)
{
    if (index >= counts->type)
        return FM_EMALFORMED;
    int32_t offset = (int32_t)fm_load_be32(types + (size_t)index * 6);
    if (offset < -ZONE_OFFSET_MAX_S || offset > ZONE_OFFSET_MAX_S)
        return FM_EMALFORMED;
    *ret_offset = offset;
    return FM_OK;
}

/* body holds what counts say. */
static int zone_read_body(struct calendar_zone *zone, const uint8_t *body,
                          const struct zone_counts *counts, uint32_t time_bytes)
{
    const uint8_t *indexes = body + (size_t)counts->time * time_bytes;
    const uint8_t *types = indexes + counts->time;
    int rc = zone_offset_of(types, counts, 0, &zone->first_s);
    zone->times = malloc((counts->time + 1) * sizeof *zone->times);
    zone->offsets = malloc((counts->time + 1) * sizeof *zone->offsets);
    if (!zone->times || !zone->offsets)
        return FM_ENOMEM;
    for (uint32_t i = 0; rc == FM_OK && i < counts->time; i++) {
        const uint8_t *at = body + (size_t)i * time_bytes;
        zone->times[i] = time_bytes == 8 ? (int64_t)fm_load_be64(at) : (int32_t)fm_load_be32(at);
        if (i && zone->times[i] <= zone->times[i - 1])
            return FM_EMALFORMED;
        rc = zone_offset_of(types, counts, indexes[i], &zone->offsets[i]);
        zone->count = i + 1;
    }
    return rc;
}

static int zone_read_footer(struct calendar_zone *zone, struct fm_slice rest)
{
    if (!zone_take_byte(&rest, '\n'))
        return FM_EMALFORMED;
    const uint8_t *end = rest.len ? memchr(rest.ptr, '\n', rest.len) : NULL;
    if (!end)
        return FM_EMALFORMED;
    struct fm_slice rule = fm_slice(rest.ptr, (size_t)(end - rest.ptr));
    if (!rule.len)
        return FM_OK; /* none is known: the last transition holds */
    zone->has_rule = true;
    return zone_rule_parse(rule, &zone->rule);
}

static int zone_read(struct calendar_zone *zone, struct fm_slice rest, struct fm_why *why)
{
    struct zone_counts counts;
    uint8_t version;
    uint32_t time_bytes = 4;
    int rc = zone_take_header(&rest, &version, &counts);
    if (rc == FM_OK && version) { /* the same again with 64 bits */
        uint64_t skip = zone_body_bytes(&counts, 4);
        if (skip > rest.len)
            rc = FM_EMALFORMED;
        else
            rest = fm_slice(rest.ptr + skip, rest.len - (size_t)skip);
        if (rc == FM_OK)
            rc = zone_take_header(&rest, &version, &counts);
        time_bytes = 8;
    }
    if (rc < 0 || zone_body_bytes(&counts, time_bytes) > rest.len)
        return fm_fail(why, FM_EMALFORMED, "not a TZif file");
    if (counts.leap)
        return fm_fail(why, FM_EUNSUPPORTED, "a zone that counts leap seconds");
    rc = zone_read_body(zone, rest.ptr, &counts, time_bytes);
    if (rc == FM_OK && time_bytes == 8) {
        size_t used = (size_t)zone_body_bytes(&counts, 8);
        rc = zone_read_footer(zone, fm_slice(rest.ptr + used, rest.len - used));
    }
    return rc == FM_EMALFORMED ? fm_fail(why, rc, "a broken TZif file") : rc;
}

/* ---- life ---- */

struct calendar_zone *calendar_zone_free(struct calendar_zone *zone)
{
    if (!zone)
        return NULL;
    free(zone->times);
    free(zone->offsets);
    free(zone);
    return NULL;
}

int calendar_zone_new(struct calendar_zone **ret_zone, struct fm_slice tzif, struct fm_why *why)
{
    FM_AUTO(calendar_zone) zone = calloc(1, sizeof *zone);
    if (!zone)
        return FM_ENOMEM;
    int rc = zone_read(zone, tzif, why);
    if (rc < 0)
        return rc;
    *ret_zone = fm_take(zone);
    return FM_OK;
}

int calendar_zone_new_rule(struct calendar_zone **ret_zone, struct fm_slice rule,
                           struct fm_why *why)
{
    FM_AUTO(calendar_zone) zone = calloc(1, sizeof *zone);
    if (!zone)
        return FM_ENOMEM;
    zone->has_rule = true;
    if (zone_rule_parse(rule, &zone->rule) < 0)
        return fm_fail(why, FM_EMALFORMED, "not a rule of a time zone");
    *ret_zone = fm_take(zone);
    return FM_OK;
}

int32_t calendar_zone_offset_s(const struct calendar_zone *zone, int64_t unix_s)
{
    const int64_t far_s = INT64_C(1) << 40; /* beyond it nobody's calendar goes */
    if (!zone)
        return 0;
    unix_s = FM_MAX(FM_MIN(unix_s, far_s), -far_s);
    if (zone->has_rule && (!zone->count || unix_s >= zone->times[zone->count - 1]))
        return zone_rule_offset_s(&zone->rule, unix_s);
    if (!zone->count || unix_s < zone->times[0])
        return zone->first_s;
    uint32_t low = 0, high = zone->count; /* times[low] <= unix_s < times[high] */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (zone->times[middle] <= unix_s)
            low = middle;
        else
            high = middle;
    }
    return zone->offsets[low];
}
