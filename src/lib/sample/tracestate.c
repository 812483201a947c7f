/* SPDX-License-Identifier: Apache-2.0 */
/* Probabilities, and what a tracestate says of them: OpenTelemetry's entry of W3C's list.
 *
 *   tracestate = "ot=" item { ";" item } { "," other entries }
 *   item       = "th:" 1 to 14 hex digits, zeros to the right left out
 *              | "rv:" 14 hex digits
 *              | other keys, which are passed on
 */
#include "internal.h"

#define THRESHOLD_DIGITS 14u
#define MEMBERS_MAX      32u /* of a tracestate */

/* ---- probabilities ---- */

int sample_probability_parse(struct fm_slice text, uint64_t *ret_threshold)
{
    __extension__ typedef unsigned __int128 wide;
    uint64_t number = 0, unit = 1; /* number / unit */
    bool has_point = false, has_digit = false;

    if (text.len && text.ptr[text.len - 1] == '%') {
        text.len--;
        unit = 100;
    }
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.ptr[i];
        if (byte == '.' && !has_point) {
            has_point = true;
            continue;
        }
        if (byte < '0' || byte > '9' || unit > UINT64_C(1000000000000000))
            return FM_EMALFORMED;
        number = number * 10 + (byte - '0');
        unit *= has_point ? 10 : 1;
        has_digit = true;
        if (number > unit * 10) /* it is above 1 and will stay there */
            return FM_EMALFORMED;
    }
    if (!has_digit || number > unit)
        return FM_EMALFORMED;
    wide kept = ((wide)number * SAMPLE_THRESHOLD_NEVER + unit / 2) / unit;
    if (number && !kept)
        kept = 1;
    *ret_threshold = SAMPLE_THRESHOLD_NEVER - (uint64_t)kept;
    return FM_OK;
}

/* ---- reading ---- */

static bool tracestate_hex(struct fm_slice digits, uint64_t *ret_value)
{
    uint64_t value = 0;

    for (size_t i = 0; i < digits.len; i++) {
        uint8_t byte = digits.ptr[i];
        bool is_letter = byte >= 'a' && byte <= 'f';
        if (!is_letter && (byte < '0' || byte > '9'))
            return false;
        value = value << 4 | (uint64_t)(is_letter ? byte - 'a' + 10 : byte - '0');
    }
    *ret_value = value;
    return true;
}

/* Up to the next separator; false: nothing is left. */
static bool tracestate_next(struct fm_slice *rest, uint8_t separator, struct fm_slice *ret_piece)
{
    if (!rest->ptr)
        return false;
    const uint8_t *end = rest->len ? memchr(rest->ptr, separator, rest->len) : NULL;
    if (!end) {
        *ret_piece = *rest;
        *rest = fm_slice(NULL, 0);
        return true;
    }
    size_t len = (size_t)(end - rest->ptr);
    *ret_piece = fm_slice(rest->ptr, len);
    *rest = fm_slice(end + 1, rest->len - len - 1);
    return true;
}

static struct fm_slice tracestate_trim(struct fm_slice text)
{
    while (text.len && (text.ptr[0] == ' ' || text.ptr[0] == '\t'))
        text = fm_slice(text.ptr + 1, text.len - 1);
    while (text.len && (text.ptr[text.len - 1] == ' ' || text.ptr[text.len - 1] == '\t'))
        text.len--;
    return text;
}

static bool tracestate_has_key(struct fm_slice item, const char *key) /* of three characters */
{
    return item.len >= 3 && memcmp(item.ptr, key, 3) == 0;
}

static void tracestate_read_item(struct fm_slice item, struct sample_tracestate *state)
{
    struct fm_slice value = item.len > 3 ? fm_slice(item.ptr + 3, item.len - 3) : FM_SLICE("");
    uint64_t number;

    if (tracestate_has_key(item, "th:")) {
        bool good = value.len && value.len <= THRESHOLD_DIGITS && !state->has_threshold &&
                    tracestate_hex(value, &number);
        state->is_malformed |= !good;
        if (!good)
            return;
        state->has_threshold = true;
        state->threshold = number << 4 * (THRESHOLD_DIGITS - value.len);
    } else if (tracestate_has_key(item, "rv:")) {
        bool good = value.len == THRESHOLD_DIGITS && !state->has_randomness &&
                    tracestate_hex(value, &number);
        state->is_malformed |= !good;
        if (!good)
            return;
        state->has_randomness = true;
        state->randomness = number;
    } else {
        state->is_malformed |= !item.len || !memchr(item.ptr, ':', item.len);
    }
}

struct sample_tracestate sample_tracestate_read(struct fm_slice text)
{
    struct sample_tracestate state = {0};
    struct fm_slice rest = text, entry, item;

    while (tracestate_next(&rest, ',', &entry)) {
        entry = tracestate_trim(entry);
        if (!tracestate_has_key(entry, "ot="))
            continue;
        state.entry = entry;
        struct fm_slice items = fm_slice(entry.ptr + 3, entry.len - 3);
        while (tracestate_next(&items, ';', &item))
            tracestate_read_item(tracestate_trim(item), &state);
        break;
    }
    return state;
}

/* ---- writing ---- */

static void tracestate_put_hex(struct fm_buf *out, uint64_t value, bool is_whole)
{
    unsigned count = THRESHOLD_DIGITS;

    while (!is_whole && count > 1 && !(value & 15)) {
        value >>= 4;
        count--;
    }
    while (count-- > 0)
        fm_buf_put_u8(out, (uint8_t) "0123456789abcdef"[value >> 4 * count & 15]);
}

void sample_tracestate_put(struct fm_slice text, const struct sample_tracestate *state,
                           uint64_t threshold, struct fm_buf *out)
{
    struct fm_slice rest = text, entry, item;
    unsigned count = 1;

    fm_buf_puts(out, "ot=");
    if (state->has_randomness) {
        fm_buf_puts(out, "rv:");
        tracestate_put_hex(out, state->randomness, true);
        fm_buf_put_u8(out, ';');
    }
    fm_buf_puts(out, "th:");
    tracestate_put_hex(out, threshold, false);
    struct fm_slice items =
        state->entry.len ? fm_slice(state->entry.ptr + 3, state->entry.len - 3) : fm_slice(NULL, 0);
    while (tracestate_next(&items, ';', &item)) {
        item = tracestate_trim(item);
        if (tracestate_has_key(item, "th:") || tracestate_has_key(item, "rv:") || !item.len ||
            !memchr(item.ptr, ':', item.len))
            continue;
        fm_buf_put_u8(out, ';');
        fm_buf_put_slice(out, item);
    }
    while (tracestate_next(&rest, ',', &entry)) {
        entry = tracestate_trim(entry);
        if (!entry.len || tracestate_has_key(entry, "ot=") || count == MEMBERS_MAX)
            continue;
        count++;
        fm_buf_put_u8(out, ',');
        fm_buf_put_slice(out, entry);
    }
}
