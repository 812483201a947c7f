/* SPDX-License-Identifier: Apache-2.0 */
/* Durations, byte sizes, civil time: small parsers over slices and their printers. */
#include "fermata/units.h"

#include <stdio.h>

struct units_unit {
    const char *name;
    uint64_t factor;
};

static size_t units_digits(struct fm_slice text)
{
    size_t len = 0;
    while (len < text.len && text.ptr[len] >= '0' && text.ptr[len] <= '9')
        len++;
    return len;
}

int fm_u64_parse(struct fm_slice text, uint64_t *ret_value)
{
    uint64_t value = 0;

    if (!text.len || units_digits(text) != text.len)
        return FM_EMALFORMED;
    for (size_t i = 0; i < text.len; i++) {
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)text.ptr[i] - '0', &value))
            return FM_EMALFORMED;
    }
    *ret_value = value;
    return FM_OK;
}

static const struct units_unit duration_units[] = {
    {"d", 86400 * FM_NS_PER_S},
    {"h", 3600 * FM_NS_PER_S},
    {"m", 60 * FM_NS_PER_S},
    {"s", FM_NS_PER_S},
    {"ms", FM_NS_PER_MS},
    {"us", FM_NS_PER_US},
    {"ns", 1},
};

/* "12ms" at the start of *rest; *unit: units before it were used or passed (largest first). */
static int duration_part(struct fm_slice *rest, size_t *unit, uint64_t *sum_ns)
{
    size_t digits = units_digits(*rest), end = digits;
    uint64_t value;
    int rc = fm_u64_parse(fm_slice(rest->ptr, digits), &value);
    if (rc < 0)
        return rc;
    while (end < rest->len && (rest->ptr[end] < '0' || rest->ptr[end] > '9'))
        end++;
    struct fm_slice name = fm_slice(rest->ptr + digits, end - digits);
    while (*unit < FM_COUNT(duration_units) &&
           !fm_slice_equal_text(name, duration_units[*unit].name))
        ++*unit;
    if (*unit == FM_COUNT(duration_units) ||
        __builtin_mul_overflow(value, duration_units[*unit].factor, &value) ||
        __builtin_add_overflow(*sum_ns, value, sum_ns))
        return FM_EMALFORMED;
    ++*unit;
    *rest = fm_slice(rest->ptr + end, rest->len - end);
    return FM_OK;
}

int fm_duration_parse(struct fm_slice text, uint64_t *ret_ns)
{
    uint64_t sum_ns = 0;
    size_t unit = 0;

    if (fm_slice_equal_text(text, "0"))
        return *ret_ns = 0, FM_OK;
    if (!text.len)
        return FM_EMALFORMED;
    while (text.len) {
        int rc = duration_part(&text, &unit, &sum_ns);
        if (rc < 0)
            return rc;
    }
    *ret_ns = sum_ns;
    return FM_OK;
}

void fm_duration_print(struct fm_buf *buf, uint64_t ns)
{
    if (!ns)
        fm_buf_puts(buf, "0s");
    for (size_t i = 0; i < FM_COUNT(duration_units); i++) {
        uint64_t count = ns / duration_units[i].factor;
        if (count)
            fm_buf_printf(buf, "%llu%s", (unsigned long long)count, duration_units[i].name);
        ns %= duration_units[i].factor;
    }
}

/* Order matters to fm_bytes_print: binary units before decimal ones, large ones first. */
static const struct units_unit byte_units[] = {
    {"TiB", UINT64_C(1) << 40}, {"GiB", UINT64_C(1) << 30},      {"MiB", UINT64_C(1) << 20},
    {"KiB", UINT64_C(1) << 10}, {"TB", UINT64_C(1000000000000)}, {"GB", UINT64_C(1000000000)},
    {"MB", UINT64_C(1000000)},  {"kB", UINT64_C(1000)},          {"B", 1},
};

int fm_bytes_parse(struct fm_slice text, uint64_t *ret_bytes)
{
    size_t digits = units_digits(text);
    uint64_t value;
    int rc = fm_u64_parse(fm_slice(text.ptr, digits), &value);
    if (rc < 0)
        return rc;
    struct fm_slice name = fm_slice(text.ptr + digits, text.len - digits);
    if (name.len && name.ptr[0] == ' ')
        name = fm_slice(name.ptr + 1, name.len - 1);
    else if (!name.len)
        name = FM_SLICE("B");
    for (size_t i = 0; i < FM_COUNT(byte_units); i++) {
        if (!fm_slice_equal_text(name, byte_units[i].name))
            continue;
        if (__builtin_mul_overflow(value, byte_units[i].factor, &value))
            return FM_EMALFORMED;
        *ret_bytes = value;
        return FM_OK;
    }
    return FM_EMALFORMED;
}

void fm_bytes_print(struct fm_buf *buf, uint64_t bytes)
{
    size_t i = 0;

    if (!bytes) {
        fm_buf_puts(buf, "0");
        return;
    }
    while (bytes % byte_units[i].factor)
        i++;
    bool bare = byte_units[i].factor == 1;
    fm_buf_printf(buf, "%llu%s", (unsigned long long)(bytes / byte_units[i].factor),
                  bare ? "" : byte_units[i].name);
}

void fm_bytes_print_short(struct fm_buf *buf, uint64_t bytes)
{
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t i = 0;

    while (i + 1 < FM_COUNT(names) && value >= (i ? 1023.95 : 1024)) {
        value /= 1024;
        i++;
    }
    fm_buf_printf(buf, i && value < 99.95 ? "%.1f %s" : "%.0f %s", value, names[i]);
}

static const struct units_unit bit_units[] = {
    {"Gbit", UINT64_C(1000000000)}, {"Mbit", UINT64_C(1000000)}, {"kbit", UINT64_C(1000)}};

int fm_rate_parse(struct fm_slice text, uint64_t *ret_bytes_per_s)
{
    size_t digits = units_digits(text);
    uint64_t value;
    if (text.len > 2 && memcmp(text.ptr + text.len - 2, "/s", 2) == 0)
        text = fm_slice(text.ptr, text.len - 2);
    struct fm_slice name = fm_slice(text.ptr + digits, text.len - FM_MIN(digits, text.len));
    for (size_t i = 0; i < FM_COUNT(bit_units); i++) {
        if (!fm_slice_equal_text(name, bit_units[i].name))
            continue;
        if (fm_u64_parse(fm_slice(text.ptr, digits), &value) < 0 ||
            __builtin_mul_overflow(value, bit_units[i].factor, &value))
            return FM_EMALFORMED;
        *ret_bytes_per_s = value / 8;
        return FM_OK;
    }
    return fm_bytes_parse(text, ret_bytes_per_s);
}

void fm_rate_print(struct fm_buf *buf, uint64_t bytes_per_s)
{
    uint64_t bits;
    if (bytes_per_s && !__builtin_mul_overflow(bytes_per_s, 8u, &bits)) {
        for (size_t i = 0; i < FM_COUNT(bit_units); i++) {
            if (bits % bit_units[i].factor)
                continue;
            fm_buf_printf(buf, "%llu%s", (unsigned long long)(bits / bit_units[i].factor),
                          bit_units[i].name);
            return;
        }
    }
    fm_bytes_print(buf, bytes_per_s);
}

/* Days since 1970-01-01.  Years are counted from March, so that the leap day ends the year; an era
 * is 400 years = 146097 days. */
static int64_t civil_days(int64_t year, unsigned month, unsigned day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * ((int64_t)(month + 9) % 12) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           719468;
}

struct fm_civil fm_civil_from_unix(int64_t unix_s, uint32_t nanosecond)
{
    /* What a 32-bit year can hold. */
    unix_s = FM_MAX(FM_MIN(unix_s, INT64_C(67000000000000000)), INT64_C(-67000000000000000));
    int64_t days = unix_s / 86400, second = unix_s % 86400;
    if (second < 0) {
        second += 86400;
        days--;
    }
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    int64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    return (struct fm_civil){
        .year = (int32_t)(year_of_era + era * 400 + (month <= 2)),
        .month = (uint8_t)month,
        .day = (uint8_t)(day_of_year - (153 * month_from_march + 2) / 5 + 1),
        .hour = (uint8_t)(second / 3600),
        .minute = (uint8_t)(second / 60 % 60),
        .second = (uint8_t)(second % 60),
        .nanosecond = nanosecond,
    };
}

int64_t fm_civil_to_unix(const struct fm_civil *civil)
{
    return civil_days(civil->year, civil->month, civil->day) * 86400 + civil->hour * 3600 +
           civil->minute * 60 + civil->second;
}

/* Also a leap second: it counts as the first second of the next minute. */
static bool civil_is_valid(const struct fm_civil *civil)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (civil->month < 1 || civil->month > 12)
        return false;
    bool leap = civil->year % 4 == 0 && (civil->year % 100 != 0 || civil->year % 400 == 0);
    unsigned day_max = days[civil->month - 1] + (civil->month == 2 && leap);
    return civil->day >= 1 && civil->day <= day_max && civil->hour < 24 && civil->minute < 60 &&
           civil->second <= 60;
}

void fm_rfc3339_print(struct fm_buf *buf, uint64_t unix_ns)
{
    uint32_t fraction = (uint32_t)(unix_ns % FM_NS_PER_S);
    struct fm_civil civil = fm_civil_from_unix((int64_t)(unix_ns / FM_NS_PER_S), fraction);

    fm_buf_printf(buf, "%04d-%02d-%02dT%02d:%02d:%02d", civil.year, civil.month, civil.day,
                  civil.hour, civil.minute, civil.second);
    if (fraction) {
        int width = 9;
        for (; fraction % 10 == 0; fraction /= 10)
            width--;
        fm_buf_printf(buf, ".%0*u", width, fraction);
    }
    fm_buf_puts(buf, "Z");
}

/* Takes len digits and then the byte `behind` (0: none) from *rest; -1: not there. */
static int units_take(struct fm_slice *rest, size_t len, char behind)
{
    uint64_t value;
    size_t whole = len + (behind != 0);

    if (rest->len < whole || fm_u64_parse(fm_slice(rest->ptr, len), &value) < 0 ||
        (behind && rest->ptr[len] != (uint8_t)behind))
        return -1;
    *rest = fm_slice(rest->ptr + whole, rest->len - whole);
    return (int)value;
}

/* ".123": nanoseconds, more digits than nine are cut; *rest moves behind it.  -1: malformed. */
static int64_t rfc3339_fraction(struct fm_slice *rest)
{
    if (!rest->len || rest->ptr[0] != '.')
        return 0;
    struct fm_slice text = fm_slice(rest->ptr + 1, rest->len - 1);
    size_t digits = units_digits(text);
    int64_t value = 0;

    if (!digits)
        return -1;
    for (size_t i = 0; i < 9; i++)
        value = value * 10 + (i < digits ? text.ptr[i] - '0' : 0);
    *rest = fm_slice(text.ptr + digits, text.len - digits);
    return value;
}

/* "Z" or "+hh:mm" as all of text. */
static int rfc3339_offset(struct fm_slice text, int64_t *ret_offset_s)
{
    if (text.len == 1 && (text.ptr[0] | 0x20) == 'z')
        return *ret_offset_s = 0, FM_OK;
    if (text.len != 6 || (text.ptr[0] != '+' && text.ptr[0] != '-'))
        return FM_EMALFORMED;
    struct fm_slice rest = fm_slice(text.ptr + 1, 5);
    int hour = units_take(&rest, 2, ':');
    int minute = hour < 0 ? -1 : units_take(&rest, 2, 0);
    if (minute < 0 || hour > 23 || minute > 59)
        return FM_EMALFORMED;
    int64_t offset_s = hour * 3600 + minute * 60;
    *ret_offset_s = text.ptr[0] == '-' ? -offset_s : offset_s;
    return FM_OK;
}

int fm_rfc3339_parse(struct fm_slice text, uint64_t *ret_unix_ns)
{
    static const char behind[] = {'-', '-', 0, ':', ':', 0};
    int parts[6];
    int64_t offset_s;

    for (size_t i = 0; i < 6; i++) {
        parts[i] = units_take(&text, i ? 2 : 4, behind[i]);
        if (parts[i] < 0)
            return FM_EMALFORMED;
        if (i == 2) {
            if (!text.len || ((text.ptr[0] | 0x20) != 't' && text.ptr[0] != ' '))
                return FM_EMALFORMED;
            text = fm_slice(text.ptr + 1, text.len - 1);
        }
    }
    int64_t fraction = rfc3339_fraction(&text);
    int rc = fraction < 0 ? FM_EMALFORMED : rfc3339_offset(text, &offset_s);
    if (rc < 0)
        return rc;
    struct fm_civil civil = {parts[0],          (uint8_t)parts[1], (uint8_t)parts[2],
                             (uint8_t)parts[3], (uint8_t)parts[4], (uint8_t)parts[5],
                             (uint32_t)fraction};
    if (!civil_is_valid(&civil))
        return FM_EMALFORMED;
    int64_t unix_s = fm_civil_to_unix(&civil) - offset_s;
    uint64_t unix_ns;
    if (unix_s < 0 || __builtin_mul_overflow((uint64_t)unix_s, FM_NS_PER_S, &unix_ns) ||
        __builtin_add_overflow(unix_ns, (uint64_t)fraction, &unix_ns))
        return FM_EMALFORMED;
    *ret_unix_ns = unix_ns;
    return FM_OK;
}

int fm_http_date_parse(struct fm_slice text, int64_t *ret_unix_s)
{
    static const char days[] = "MonTueWedThuFriSatSun";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    /* Sun, 06 Nov 1994 08:49:37 GMT */
    if (text.len != 29 || memcmp(text.ptr + 3, ", ", 2) != 0 ||
        memcmp(text.ptr + 25, " GMT", 4) != 0 || text.ptr[11] != ' ')
        return FM_EMALFORMED;
    unsigned weekday = 0, month = 0;
    while (weekday < 7 && memcmp(text.ptr, days + 3 * weekday, 3) != 0)
        weekday++;
    while (month < 12 && memcmp(text.ptr + 8, months + 3 * month, 3) != 0)
        month++;
    struct fm_slice date = fm_slice(text.ptr + 5, 3), rest = fm_slice(text.ptr + 12, 13);
    int day = units_take(&date, 2, ' ');
    int year = units_take(&rest, 4, ' ');
    int hour = year < 0 ? -1 : units_take(&rest, 2, ':');
    int minute = hour < 0 ? -1 : units_take(&rest, 2, ':');
    int second = minute < 0 ? -1 : units_take(&rest, 2, 0);
    if (weekday == 7 || month == 12 || day < 0 || second < 0)
        return FM_EMALFORMED;
    struct fm_civil civil = {
        year, (uint8_t)(month + 1), (uint8_t)day, (uint8_t)hour, (uint8_t)minute, (uint8_t)second,
        0};
    if (!civil_is_valid(&civil))
        return FM_EMALFORMED;
    *ret_unix_s = fm_civil_to_unix(&civil);
    return FM_OK;
}
