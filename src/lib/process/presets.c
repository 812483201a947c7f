/* SPDX-License-Identifier: Apache-2.0 */
/* What the presets of redaction look for: e-mail addresses, numbers of payment cards, addresses of
 * the Internet Protocol, and secrets with a known beginning.
 *
 * Each finder looks at a byte a bounded number of times, whatever the text is. */
#include "internal.h"

#define LOCAL_MAX  64u /* of an e-mail address, in front of the @ */
#define DOMAIN_MAX 255u
#define DIGITS_MIN 13u /* of a card */
#define DIGITS_MAX 19u

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

static bool is_letter(uint8_t byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

static bool is_word(uint8_t byte)
{
    return is_digit(byte) || is_letter(byte);
}

static bool is_hex(uint8_t byte)
{
    return is_digit(byte) || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
}

static bool is_of(uint8_t byte, const char *more)
{
    return is_word(byte) || (byte && strchr(more, byte));
}

/* ---- e-mail ---- */

/* The end of the domain that begins at i; i: there is none. */
static size_t email_domain(struct fm_slice text, size_t i)
{
    size_t start = i, dot = 0, end = start, limit = FM_MIN(text.len, start + DOMAIN_MAX);

    while (i < limit && is_of(text.ptr[i], "-.")) {
        if (text.ptr[i] == '.') {
            if (i == start || text.ptr[i - 1] == '.')
                break;
            dot = i;
        } else if (dot && i - dot >= 2 && is_letter(text.ptr[i])) {
            end = i + 1; /* a label of two characters at least behind a dot */
        }
        i++;
    }
    return end;
}

struct process_found process_find_email(struct fm_slice text, size_t from)
{
    for (size_t at = from; at < text.len; at++) {
        const uint8_t *sign = memchr(text.ptr + at, '@', text.len - at);
        if (!sign)
            break;
        at = (size_t)(sign - text.ptr);
        size_t start = at;
        while (start > from && at - start < LOCAL_MAX && is_of(text.ptr[start - 1], "._%+-"))
            start--;
        while (start < at && text.ptr[start] == '.')
            start++;
        size_t end = email_domain(text, at + 1);
        if (start < at && end > at + 1)
            return (struct process_found){start, end - start};
    }
    return (struct process_found){0};
}

/* ---- payment cards ---- */

static bool card_is_valid(const uint8_t *digits, size_t count)
{
    unsigned sum = 0, two = (digits[0] - '0') * 10u + (digits[1] - '0');
    bool is_known = digits[0] == '4' || (two >= 51 && two <= 55) || (two >= 22 && two <= 27) ||
                    two == 34 || two == 37 || two == 30 || two == 35 || two == 36 || two == 38 ||
                    two == 60 || two == 62 || two == 64 || two == 65 || two == 50;

    for (size_t i = 0; i < count; i++) {
        unsigned digit = digits[count - 1 - i] - '0';
        if (i % 2)
            digit = digit * 2 > 9 ? digit * 2 - 9 : digit * 2;
        sum += digit;
    }
    return is_known && sum % 10 == 0;
}

/* The end of the longest card number that begins at start; start: there is none. */
static size_t card_end(struct fm_slice text, size_t start)
{
    uint8_t digits[DIGITS_MAX];
    size_t count = 0, end = start;

    for (size_t i = start; i < text.len && count < DIGITS_MAX; i++) {
        uint8_t byte = text.ptr[i];
        bool is_separator = (byte == ' ' || byte == '-') && i > start && is_digit(text.ptr[i - 1]);
        if (is_separator)
            continue;
        if (!is_digit(byte))
            break;
        digits[count++] = byte;
        bool is_last = i + 1 == text.len || !is_word(text.ptr[i + 1]);
        if (is_last && count >= DIGITS_MIN && card_is_valid(digits, count))
            end = i + 1;
    }
    return end;
}

struct process_found process_find_card(struct fm_slice text, size_t from)
{
    for (size_t i = from; i < text.len; i++) {
        if (!is_digit(text.ptr[i]) || (i && is_word(text.ptr[i - 1])))
            continue;
        size_t end = card_end(text, i);
        if (end > i)
            return (struct process_found){i, end - i};
    }
    return (struct process_found){0};
}

/* ---- addresses ---- */

static size_t address_v4_end(struct fm_slice text, size_t start)
{
    size_t i = start;

    for (unsigned part = 0; part < 4; part++) {
        unsigned value = 0, count = 0;
        if (part && (i == text.len || text.ptr[i++] != '.'))
            return start;
        for (; i < text.len && is_digit(text.ptr[i]) && count < 4; i++, count++)
            value = value * 10 + (text.ptr[i] - '0');
        if (!count || count > 3 || value > 255)
            return start;
    }
    bool goes_on =
        i < text.len && (is_word(text.ptr[i]) || text.ptr[i] == '_' ||
                         (text.ptr[i] == '.' && i + 1 < text.len && is_digit(text.ptr[i + 1])));
    return goes_on ? start : i;
}

static size_t address_v6_end(struct fm_slice text, size_t start)
{
    size_t i = start, end = start, group = start, limit = FM_MIN(text.len, start + 46);
    unsigned groups = 0, in_group = 0, gaps = 0, digits = 0;

    for (; i < limit && (is_hex(text.ptr[i]) || text.ptr[i] == ':'); i++) {
        digits += is_digit(text.ptr[i]);
        if (text.ptr[i] != ':') {
            if (in_group == 0) {
                groups++;
                group = i;
            }
            if (++in_group > 4)
                return start;
            continue;
        }
        in_group = 0;
        if (i + 1 < text.len && text.ptr[i + 1] == ':' && ++gaps > 1)
            return start;
    }
    if (i < text.len && text.ptr[i] == '.' && in_group && address_v4_end(text, group) > group) {
        i = address_v4_end(text, group); /* ::ffff:10.0.0.1 */
        groups++;
    }
    end = i;
    bool ends_in_gap = end >= start + 2 && text.ptr[end - 1] == ':' && text.ptr[end - 2] == ':';
    if (end > start && text.ptr[end - 1] == ':' && !ends_in_gap)
        end--; /* "host fe80::1: refused" */
    bool goes_on = i < text.len && (is_word(text.ptr[i]) || text.ptr[i] == '_');
    bool is_whole = gaps ? groups >= 1 && groups <= 7 : groups == 8;
    return is_whole && digits && !goes_on ? end : start;
}

struct process_found process_find_address(struct fm_slice text, size_t from)
{
    for (size_t i = from; i < text.len; i++) {
        uint8_t before = i ? text.ptr[i - 1] : ' ';
        if (is_word(before) || before == '.' || before == ':' || before == '_' ||
            (!is_hex(text.ptr[i]) && text.ptr[i] != ':'))
            continue;
        size_t end = is_digit(text.ptr[i]) ? address_v4_end(text, i) : i;
        if (end == i)
            end = address_v6_end(text, i);
        if (end > i)
            return (struct process_found){i, end - i};
    }
    return (struct process_found){0};
}

/* ---- secrets ---- */

/* What a secret begins with, of what it goes on, and how much of that there must be. */
static const struct {
    const char *begin, *more;
    size_t rest_min;
    bool nocase;
} token_rows[] = {
    {"eyJ", "-_.=", 24, false},
    {"Bearer ", "-_.~+/=", 8, true},
    {"Basic ", "+/=", 8, true},
    {"AKIA", "", 16, false},
    {"ASIA", "", 16, false},
    {"ghp_", "", 30, false},
    {"gho_", "", 30, false},
    {"ghu_", "", 30, false},
    {"ghs_", "", 30, false},
    {"ghr_", "", 30, false},
    {"github_pat_", "_", 22, false},
    {"glpat-", "-_", 20, false},
    {"xoxb-", "-", 10, false},
    {"xoxa-", "-", 10, false},
    {"xoxp-", "-", 10, false},
    {"xoxr-", "-", 10, false},
    {"xoxs-", "-", 10, false},
    {"AIza", "-_", 35, false},
    {"sk_live_", "", 10, false},
    {"rk_live_", "", 10, false},
    {"sk-", "-_", 20, false},
    {"npm_", "", 30, false},
    {"-----BEGIN ", "+/=-\r\n :,", 20, false},
};

static bool token_begins(struct fm_slice text, size_t at, const char *begin, bool nocase)
{
    for (size_t i = 0; begin[i]; i++) {
        uint8_t byte = at + i < text.len ? text.ptr[at + i] : 0;
        uint8_t wanted = (uint8_t)begin[i];
        if (byte != wanted && !(nocase && is_letter(byte) && (byte ^ 0x20) == wanted))
            return false;
    }
    return true;
}

/* What does not go on long enough was looked at for that long only. */
static size_t token_end(struct fm_slice text, size_t at)
{
    for (size_t i = 0; i < FM_COUNT(token_rows); i++) {
        if (!token_begins(text, at, token_rows[i].begin, token_rows[i].nocase))
            continue;
        size_t start = at + strlen(token_rows[i].begin), end = start;
        while (end < text.len && is_of(text.ptr[end], token_rows[i].more))
            end++;
        if (end - start >= token_rows[i].rest_min)
            return end;
    }
    return at;
}

struct process_found process_find_token(struct fm_slice text, size_t from)
{
    enum { INNER = 1, FIRST = 2 }; /* what a word goes on with; what a secret begins with */
    static const uint8_t classes[256] = {
        ['0' ... '9'] = INNER, ['A'] = INNER | FIRST, ['B'] = INNER | FIRST, ['C' ... 'Z'] = INNER,
        ['_'] = INNER,         ['a'] = INNER,         ['b'] = INNER | FIRST, ['c' ... 'd'] = INNER,
        ['e'] = INNER | FIRST, ['f'] = INNER,         ['g'] = INNER | FIRST, ['h' ... 'm'] = INNER,
        ['n'] = INNER | FIRST, ['o' ... 'q'] = INNER, ['r'] = INNER | FIRST, ['s'] = INNER | FIRST,
        ['t' ... 'w'] = INNER, ['x'] = INNER | FIRST, ['y' ... 'z'] = INNER, ['-'] = FIRST,
    };
    uint8_t before = from ? classes[text.ptr[from - 1]] : 0;

    for (size_t i = from; i < text.len; i++) {
        uint8_t class = classes[text.ptr[i]];
        bool begins = !(before & INNER) && (class & FIRST);
        before = class;
        if (FM_LIKELY(!begins))
            continue;
        size_t end = token_end(text, i);
        if (end > i)
            return (struct process_found){i, end - i};
    }
    return (struct process_found){0};
}
