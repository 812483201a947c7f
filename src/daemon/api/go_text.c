/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers, times and durations in the spelling of Tempo's API. */
#include "go_text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "fermata/units.h"

#define QUOTED_MAX  120 /* of the user's text, in a refusal */
#define FLOAT_MAX   64
#define SECONDS_LEN 10 /* a longer integer is nanoseconds */
#define GO_NS_LIMIT 9223372036854775807.0

static int quoted_len(struct fm_slice text)
{
    return (int)FM_MIN(text.len, (size_t)QUOTED_MAX);
}

static int number_refuse(const char *function, struct fm_slice text, const char *problem,
                         struct fm_why *why)
{
    return fm_fail(why, FM_EMALFORMED, "strconv.%s: parsing \"%.*s\": %s", function,
                   quoted_len(text), (const char *)text.ptr, problem);
}

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

/* FM_EMALFORMED: not only digits; FM_ELIMIT: above max. */
static int digits_parse(struct fm_slice text, uint64_t max, uint64_t *ret_value)
{
    uint64_t value = 0;
    bool fits = true;

    if (!text.len)
        return FM_EMALFORMED;
    for (size_t i = 0; i < text.len; i++) {
        if (!is_digit(text.ptr[i]))
            return FM_EMALFORMED;
        uint64_t digit = (uint64_t)(text.ptr[i] - '0');
        fits = fits && value <= (UINT64_MAX - digit) / 10;
        if (fits)
            value = value * 10 + digit;
    }
    if (!fits || value > max)
        return FM_ELIMIT;
    *ret_value = value;
    return FM_OK;
}

int go_uint_parse(struct fm_slice text, uint64_t max, uint64_t *ret_value, struct fm_why *why)
{
    int rc = digits_parse(text, max, ret_value);
    if (rc == FM_OK)
        return FM_OK;
    return number_refuse("ParseUint", text,
                         rc == FM_ELIMIT ? "value out of range" : "invalid syntax", why);
}

int go_int_parse(struct fm_slice text, int64_t max, int64_t *ret_value, struct fm_why *why)
{
    struct fm_slice digits = text;
    bool negative = text.len && text.ptr[0] == '-';
    uint64_t value;

    if (text.len && (negative || text.ptr[0] == '+'))
        digits = fm_slice(text.ptr + 1, text.len - 1);
    int rc = digits_parse(digits, (uint64_t)max, &value);
    if (rc != FM_OK)
        return number_refuse("ParseInt", text,
                             rc == FM_ELIMIT ? "value out of range" : "invalid syntax", why);
    *ret_value = negative ? -(int64_t)value : (int64_t)value;
    return FM_OK;
}

int go_float_parse(struct fm_slice text, double *ret_value)
{
    char copy[FLOAT_MAX];
    char *end;

    if (!text.len || text.len >= sizeof copy)
        return FM_EMALFORMED;
    for (size_t i = 0; i < text.len; i++) {
        if (!is_digit(text.ptr[i]) && !memchr("+-.eE", text.ptr[i], 5))
            return FM_EMALFORMED;
    }
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    double value = strtod(copy, &end);
    if (*end || end == copy || !isfinite(value))
        return FM_EMALFORMED;
    *ret_value = value;
    return FM_OK;
}

/* ---- durations ---- */

struct duration_unit {
    const char *name;
    uint64_t ns;
};
static const struct duration_unit go_units[] = {
    {"ns", 1},
    {"us", FM_NS_PER_US},
    {"\xc2\xb5s", FM_NS_PER_US},
    {"ms", FM_NS_PER_MS},
    {"s", FM_NS_PER_S},
    {"\xce\xbcs", FM_NS_PER_US},
    {"m", 60 * FM_NS_PER_S},
    {"h", 3600 * FM_NS_PER_S},
};

static int duration_refuse(struct fm_slice text, struct fm_why *why)
{
    return fm_fail(why, FM_EMALFORMED, "time: invalid duration \"%.*s\"", quoted_len(text),
                   (const char *)text.ptr);
}

/* Digits with at most one point in front of *rest; as a whole and its decimal fraction. */
static bool duration_number(struct fm_slice *rest, uint64_t *ret_whole, double *ret_fraction)
{
    uint64_t whole = 0;
    double fraction = 0, scale = 1;
    size_t at = 0, digit_count = 0;

    for (; at < rest->len && is_digit(rest->ptr[at]); at++, digit_count++) {
        if (whole > UINT64_MAX / 100)
            return false;
        whole = whole * 10 + (uint64_t)(rest->ptr[at] - '0');
    }
    if (at < rest->len && rest->ptr[at] == '.') {
        for (at++; at < rest->len && is_digit(rest->ptr[at]); at++, digit_count++) {
            scale /= 10;
            fraction += scale * (rest->ptr[at] - '0');
        }
    }
    if (!digit_count)
        return false;
    *rest = fm_slice(rest->ptr + at, rest->len - at);
    *ret_whole = whole;
    *ret_fraction = fraction;
    return true;
}

static const struct duration_unit *unit_find(struct fm_slice name)
{
    for (size_t i = 0; i < FM_COUNT(go_units); i++) {
        if (fm_slice_equal_text(name, go_units[i].name))
            return &go_units[i];
    }
    return NULL;
}

/* One "1.5h" of a duration, added to *total. */
static int duration_part(struct fm_slice text, struct fm_slice *rest, double *total,
                         struct fm_why *why)
{
    uint64_t whole;
    double fraction;
    size_t len = 0;

    if (!duration_number(rest, &whole, &fraction))
        return duration_refuse(text, why);
    while (len < rest->len && rest->ptr[len] != '.' && !is_digit(rest->ptr[len]))
        len++;
    struct fm_slice name = fm_slice(rest->ptr, len);
    *rest = fm_slice(rest->ptr + len, rest->len - len);
    if (!len)
        return fm_fail(why, FM_EMALFORMED, "time: missing unit in duration \"%.*s\"",
                       quoted_len(text), (const char *)text.ptr);
    const struct duration_unit *unit = unit_find(name);
    if (!unit)
        return fm_fail(why, FM_EMALFORMED, "time: unknown unit \"%.*s\" in duration \"%.*s\"",
                       quoted_len(name), (const char *)name.ptr, quoted_len(text),
                       (const char *)text.ptr);
    *total += ((double)whole + fraction) * (double)unit->ns;
    if (*total >= GO_NS_LIMIT)
        return duration_refuse(text, why);
    return FM_OK;
}

int go_duration_parse(struct fm_slice text, int64_t *ret_ns, struct fm_why *why)
{
    struct fm_slice rest = text;
    bool negative = text.len && text.ptr[0] == '-';
    double total = 0;

    if (text.len && (negative || text.ptr[0] == '+'))
        rest = fm_slice(text.ptr + 1, text.len - 1);
    if (fm_slice_equal_text(rest, "0")) {
        *ret_ns = 0;
        return FM_OK;
    }
    if (!rest.len)
        return duration_refuse(text, why);
    while (rest.len) {
        int rc = duration_part(text, &rest, &total, why);
        if (rc < 0)
            return rc;
    }
    *ret_ns = (int64_t)(negative ? -total : total);
    return FM_OK;
}

/* Digits behind a point, without the zeros at the end. */
static int fraction_print(char *text, size_t size, uint64_t value, uint64_t unit, const char *name)
{
    uint64_t fraction = value % unit;
    int digits = 0, len = snprintf(text, size, "%" PRIu64, value / unit);

    if (fraction) {
        for (uint64_t scale = unit; scale > 1; scale /= 10)
            digits++;
        for (; fraction % 10 == 0; fraction /= 10)
            digits--;
        len += snprintf(text + len, size - (size_t)len, ".%0*" PRIu64, digits, fraction);
    }
    return len + snprintf(text + len, size - (size_t)len, "%s", name);
}

const char *go_duration_print(int64_t ns, char text[GO_DURATION_TEXT_MAX])
{
    uint64_t value = ns < 0 ? -(uint64_t)ns : (uint64_t)ns;
    size_t size = GO_DURATION_TEXT_MAX;
    int len = snprintf(text, size, "%s", ns < 0 ? "-" : "");

    if (!value) {
        (void)snprintf(text, size, "0s");
    } else if (value < FM_NS_PER_S) {
        uint64_t unit = value < FM_NS_PER_US   ? 1
                        : value < FM_NS_PER_MS ? FM_NS_PER_US
                                               : FM_NS_PER_MS;
        const char *name = unit == 1 ? "ns" : unit == FM_NS_PER_US ? "\xc2\xb5s" : "ms";
        (void)fraction_print(text + len, size - (size_t)len, value, unit, name);
    } else {
        uint64_t seconds = value / FM_NS_PER_S;
        if (seconds >= 3600)
            len += snprintf(text + len, size - (size_t)len, "%" PRIu64 "h", seconds / 3600);
        if (seconds >= 60)
            len += snprintf(text + len, size - (size_t)len, "%" PRIu64 "m", seconds / 60 % 60);
        (void)fraction_print(text + len, size - (size_t)len, value % (60 * FM_NS_PER_S),
                             FM_NS_PER_S, "s");
    }
    return text;
}

static int prometheus_refuse(struct fm_slice text, struct fm_why *why)
{
    if (!text.len)
        return fm_fail(why, FM_EMALFORMED, "empty duration string");
    return fm_fail(why, FM_EMALFORMED, "not a valid duration string: \"%.*s\"", quoted_len(text),
                   (const char *)text.ptr);
}

int prometheus_duration_parse(struct fm_slice text, uint64_t *ret_ns, struct fm_why *why)
{
    static const struct duration_unit units[] = {
        {"y", 365 * 86400 * FM_NS_PER_S},
        {"w", 7 * 86400 * FM_NS_PER_S},
        {"d", 86400 * FM_NS_PER_S},
        {"h", 3600 * FM_NS_PER_S},
        {"m", 60 * FM_NS_PER_S},
        {"s", FM_NS_PER_S},
        {"ms", FM_NS_PER_MS},
    };
    struct fm_slice rest = text;
    uint64_t total = 0;
    size_t next = 0;

    if (fm_slice_equal_text(text, "0")) {
        *ret_ns = 0;
        return FM_OK;
    }
    if (!text.len)
        return prometheus_refuse(text, why);
    while (rest.len) {
        size_t digits = 0, len;
        uint64_t number;
        while (digits < rest.len && is_digit(rest.ptr[digits]))
            digits++;
        for (len = digits; len < rest.len && !is_digit(rest.ptr[len]); len++) {
        }
        struct fm_slice name = fm_slice(rest.ptr + digits, len - digits);
        while (next < FM_COUNT(units) && !fm_slice_equal_text(name, units[next].name))
            next++;
        if (next == FM_COUNT(units) ||
            digits_parse(fm_slice(rest.ptr, digits), INT64_MAX / units[next].ns, &number) != FM_OK)
            return prometheus_refuse(text, why);
        total += number * units[next].ns;
        if (total > INT64_MAX)
            return fm_fail(why, FM_EMALFORMED, "duration out of range");
        next++;
        rest = fm_slice(rest.ptr + len, rest.len - len);
    }
    *ret_ns = total;
    return FM_OK;
}

/* ---- times ---- */

int timestamp_parse(struct fm_slice text, int64_t *ret_unix_ns, struct fm_why *why)
{
    double seconds;
    int64_t number;
    uint64_t unix_ns;

    if (text.len && memchr(text.ptr, '.', text.len) && go_float_parse(text, &seconds) == FM_OK &&
        fabs(seconds) < GO_NS_LIMIT / 1e9) {
        double whole, fraction = modf(seconds, &whole);
        fraction = round(fraction * 1000) / 1000;
        *ret_unix_ns = (int64_t)whole * (int64_t)FM_NS_PER_S + (int64_t)(fraction * 1e9);
        return FM_OK;
    }
    if (go_int_parse(text, INT64_MAX, &number, why) < 0) {
        if (fm_rfc3339_parse(text, &unix_ns) < 0 || unix_ns > INT64_MAX)
            return FM_EMALFORMED;
        *ret_unix_ns = (int64_t)unix_ns;
        return FM_OK;
    }
    if (text.len <= SECONDS_LEN)
        number = FM_MIN(number, INT64_MAX / (int64_t)FM_NS_PER_S) * (int64_t)FM_NS_PER_S;
    *ret_unix_ns = number;
    return FM_OK;
}

int step_parse(struct fm_slice text, int64_t *ret_ns, struct fm_why *why)
{
    double seconds;

    if (go_float_parse(text, &seconds) == FM_OK) {
        if (fabs(seconds * 1e9) >= GO_NS_LIMIT)
            return fm_fail(why, FM_EMALFORMED,
                           "cannot parse \"%.*s\" to a valid duration. It overflows int64",
                           quoted_len(text), (const char *)text.ptr);
        *ret_ns = (int64_t)(seconds * 1e9);
        return FM_OK;
    }
    if (go_duration_parse(text, ret_ns, NULL) == FM_OK)
        return FM_OK;
    return fm_fail(why, FM_EMALFORMED, "cannot parse \"%.*s\" to a valid duration",
                   quoted_len(text), (const char *)text.ptr);
}
