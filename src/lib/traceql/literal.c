/* SPDX-License-Identifier: Apache-2.0 */
/* What stands inside number-like and quoted tokens: durations in two notations, escapes. */
#include "lexer.h"

#include "fermata/units.h"

/* ---- durations ---- */

struct duration_unit {
    const char *name;
    int64_t ns;
};

/* Digits at *at; false if there are none or too many. */
static bool duration_digits(struct fm_slice text, size_t *at, uint64_t *ret_value)
{
    size_t begin = *at;
    uint64_t value = 0;

    for (; *at < text.len && text.ptr[*at] >= '0' && text.ptr[*at] <= '9'; ++*at) {
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text.ptr[*at] - '0'), &value))
            return false;
    }
    *ret_value = value;
    return *at > begin;
}

/* Letters at *at, up to the next digit or dot, as an index into units; -1: none. */
static int duration_unit(struct fm_slice text, size_t *at, const struct duration_unit *units,
                         size_t count)
{
    size_t begin = *at;

    while (*at < text.len && text.ptr[*at] != '.' && (text.ptr[*at] < '0' || text.ptr[*at] > '9'))
        ++*at;
    for (size_t i = 0; i < count; i++) {
        if (fm_slice_equal_text(fm_slice(text.ptr + begin, *at - begin), units[i].name))
            return (int)i;
    }
    return -1;
}

/* Whole numbers of units that descend: 1y2w3d4h5m6s7ms. */
static bool duration_parse_descending(struct fm_slice text, int64_t *ret_ns)
{
    static const struct duration_unit units[] = {
        {"y", INT64_C(365) * 86400000000000},
        {"w", INT64_C(7) * 86400000000000},
        {"d", INT64_C(86400000000000)},
        {"h", INT64_C(3600000000000)},
        {"m", INT64_C(60000000000)},
        {"s", INT64_C(1000000000)},
        {"ms", INT64_C(1000000)},
    };
    int last = -1;
    int64_t sum = 0, part;

    for (size_t at = 0; at < text.len;) {
        uint64_t value;
        if (!duration_digits(text, &at, &value))
            return false;
        int unit = duration_unit(text, &at, units, FM_COUNT(units));
        if (unit <= last || value > INT64_MAX ||
            __builtin_mul_overflow((int64_t)value, units[unit].ns, &part) ||
            __builtin_add_overflow(sum, part, &sum))
            return false;
        last = unit;
    }
    *ret_ns = sum;
    return true;
}

/* A fraction of a unit in whole nanoseconds; digits beyond what can matter are passed over. */
static int64_t duration_fraction(struct fm_slice text, size_t *at, int64_t unit_ns)
{
    int64_t value = 0, scale = 1;

    for (; *at < text.len && text.ptr[*at] >= '0' && text.ptr[*at] <= '9'; ++*at) {
        if (scale > INT64_C(100000000000000000))
            continue;
        value = value * 10 + (text.ptr[*at] - '0');
        scale *= 10;
    }
    return (int64_t)((__int128)value * unit_ns / scale);
}

/* Decimals of units in any order: 1.5h100us. */
static bool duration_parse_mixed(struct fm_slice text, int64_t *ret_ns)
{
    static const struct duration_unit units[] = {
        {"ns", 1},
        {"us", 1000},
        {"\xc2\xb5s", 1000},
        {"\xce\xbcs", 1000},
        {"ms", 1000000},
        {"s", 1000000000},
        {"m", INT64_C(60000000000)},
        {"h", INT64_C(3600000000000)},
    };
    int64_t sum = 0, part;

    for (size_t at = 0; at < text.len;) {
        uint64_t value = 0;
        size_t begin = at, fraction_at;
        bool digits = duration_digits(text, &at, &value);
        if (!digits && at > begin)
            return false; /* too many */
        fraction_at = at + 1;
        if (at < text.len && text.ptr[at] == '.') {
            for (at++; at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9'; at++)
                digits = true;
        }
        bool fraction = at >= fraction_at;
        int unit = digits ? duration_unit(text, &at, units, FM_COUNT(units)) : -1;
        if (unit < 0 || value > INT64_MAX ||
            __builtin_mul_overflow((int64_t)value, units[unit].ns, &part) ||
            __builtin_add_overflow(sum, part, &sum))
            return false;
        if (fraction && __builtin_add_overflow(
                            sum, duration_fraction(text, &fraction_at, units[unit].ns), &sum))
            return false;
    }
    *ret_ns = sum;
    return true;
}

bool duration_parse(struct fm_slice text, int64_t *ret_ns)
{
    if (!text.len)
        return false;
    return duration_parse_descending(text, ret_ns) || duration_parse_mixed(text, ret_ns);
}

/* ---- escapes ---- */

static int32_t literal_digits(struct fm_slice text, size_t at, size_t count, int base)
{
    uint32_t value = 0;

    for (size_t i = at; i < at + count; i++) {
        uint8_t c = i < text.len ? text.ptr[i] : 'z', letter = c | 0x20;
        uint32_t digit = c >= '0' && c <= '9' ? c - 48U : letter - 87U;
        if (digit >= (uint32_t)base || (c > '9' && (letter < 'a' || letter > 'f')))
            return -1;
        value = value * (uint32_t)base + digit;
    }
    return value > INT32_MAX ? -1 : (int32_t)value;
}

/* The escape at *at, behind its backslash. */
static bool literal_escape(struct fm_slice text, size_t *at, uint8_t *target, size_t *len)
{
    static const char letters[] = "abfnrtv\\\"";
    static const char meanings[] = "\a\b\f\n\r\t\v\\\"";
    uint8_t c = text.ptr[*at];
    const char *letter = c ? strchr(letters, c) : NULL;

    if (letter) {
        target[(*len)++] = (uint8_t)meanings[letter - letters];
        ++*at;
        return true;
    }
    size_t count = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 3;
    bool octal = c >= '0' && c <= '7';
    *at += !octal;
    int32_t value = literal_digits(text, *at, count, octal ? 8 : 16);
    *at += count;
    if (value < 0 || (!octal && c != 'x' && c != 'u' && c != 'U'))
        return false;
    if (octal || c == 'x') {
        target[(*len)++] = (uint8_t)value;
        return value < 256;
    }
    if (value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
        return false;
    *len += lexer_encode(value, target + *len);
    return true;
}

bool literal_unquote(struct fm_slice text, struct fm_arena *arena, struct fm_slice *ret_text)
{
    uint8_t *target = fm_arena_alloc(arena, text.len);
    bool raw = text.ptr[0] == '`';
    size_t len = 0;

    if (!target)
        return false;
    for (size_t at = 1; at + 1 < text.len;) {
        if (raw && text.ptr[at] == '\r') {
            at++; /* as in Go */
        } else if (raw || text.ptr[at] != '\\') {
            target[len++] = text.ptr[at++];
        } else {
            at++;
            if (!literal_escape(text, &at, target, &len))
                return false;
        }
    }
    *ret_text = fm_slice(target, len);
    return true;
}
