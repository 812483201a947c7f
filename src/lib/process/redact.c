/* SPDX-License-Identifier: Apache-2.0 */
/* Redaction: values by their keys, by what they hold, also inside of arrays and maps. */
#include "internal.h"

#define PRESET_COUNT 4u

enum { VALUE_STRING = 1, VALUE_INT = 3, VALUE_ARRAY = 5, VALUE_MAP = 6 };

static bool redact_key_is_of(struct fm_slice key, const struct fm_slice *globs, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (process_glob(globs[i], key))
            return true;
    }
    return false;
}

/* ---- texts ---- */

static void redact_put(const struct process_compiled *rule, struct fm_slice found,
                       struct fm_buf *out)
{
    char hash[64];

    if (rule->mode == PROCESS_MASK) {
        fm_buf_put_slice(out, rule->mask);
    } else if (rule->mode == PROCESS_MODE_HASH) {
        process_hash_text(found, hash);
        fm_buf_put(out, hash, sizeof hash);
    }
}

/* Sixteen bits each: how many @, digits, dots and colons are in a text. */
#define COUNT_AT     UINT64_C(1)
#define COUNT_DIGIT  (UINT64_C(1) << 16)
#define COUNT_DOT    (UINT64_C(1) << 32)
#define COUNT_COLON  (UINT64_C(1) << 48)
#define COUNTED_MAX  65535u
#define CARD_DIGITS  13u
#define TOKEN_LENGTH 14u

/* The presets that such characters, and so many of them, leave possible: one look at each byte
 * spares most texts the rest. */
static uint32_t redact_possible(uint32_t presets, struct fm_slice text)
{
    static const uint64_t counts[256] = {
        ['@'] = COUNT_AT,    ['0'] = COUNT_DIGIT, ['1'] = COUNT_DIGIT, ['2'] = COUNT_DIGIT,
        ['3'] = COUNT_DIGIT, ['4'] = COUNT_DIGIT, ['5'] = COUNT_DIGIT, ['6'] = COUNT_DIGIT,
        ['7'] = COUNT_DIGIT, ['8'] = COUNT_DIGIT, ['9'] = COUNT_DIGIT, ['.'] = COUNT_DOT,
        [':'] = COUNT_COLON};
    uint64_t sum = 0;

    if (text.len > COUNTED_MAX)
        return presets;
    for (size_t i = 0; i < text.len; i++)
        sum += counts[text.ptr[i]];
    uint64_t digits = sum >> 16 & 0xffff, dots = sum >> 32 & 0xffff, colons = sum >> 48;
    if (!(sum & 0xffff))
        presets &= ~(uint32_t)PRESET_EMAIL;
    if (digits < CARD_DIGITS)
        presets &= ~(uint32_t)PRESET_CARD;
    if (!digits || (dots < 3 && colons < 2))
        presets &= ~(uint32_t)PRESET_ADDRESS;
    if (text.len < TOKEN_LENGTH)
        presets &= ~(uint32_t)PRESET_TOKEN;
    return presets;
}

/* Appends to out what is left of text; each preset's next match is looked for once. */
static uint64_t redact_presets(const struct process_compiled *rule, struct fm_slice text,
                               struct fm_buf *out)
{
    static struct process_found (*const finders[PRESET_COUNT])(struct fm_slice, size_t) = {
        process_find_email, process_find_card, process_find_address, process_find_token};
    struct process_found next[PRESET_COUNT] = {{0}};
    bool is_over[PRESET_COUNT];
    uint32_t possible = redact_possible(rule->presets, text);
    uint64_t count = 0;
    size_t at = 0;

    if (!possible)
        return 0;
    for (size_t i = 0; i < PRESET_COUNT; i++)
        is_over[i] = !(possible & (1u << i));
    for (;;) {
        const struct process_found *first = NULL;
        for (size_t i = 0; i < PRESET_COUNT; i++) {
            if (!is_over[i] && (!next[i].len || next[i].start < at)) {
                next[i] = finders[i](text, at);
                is_over[i] = !next[i].len;
            }
            if (!is_over[i] && (!first || next[i].start < first->start))
                first = &next[i];
        }
        if (!first)
            break;
        struct process_found found = *first;
        fm_buf_put(out, text.ptr + at, found.start - at);
        redact_put(rule, fm_slice(text.ptr + found.start, found.len), out);
        at = found.start + found.len;
        count++;
    }
    if (count)
        fm_buf_put(out, text.ptr + at, text.len - at);
    return count;
}

static bool redact_matches_pattern(const struct process_state *state,
                                   const struct process_compiled *rule, struct fm_slice text)
{
    for (uint32_t i = 0; i < rule->pattern_count; i++) {
        if (regex_match(state->matchers[rule->patterns[i].matcher], text))
            return true;
    }
    return false;
}

/* How much is in text that must go; scratch is then what is left. */
static uint64_t redact_find(struct process_state *state, const struct process_compiled *rule,
                            struct fm_slice text)
{
    uint64_t count = 1;

    fm_buf_reset(&state->scratch);
    if (redact_matches_pattern(state, rule, text))
        redact_put(rule, text, &state->scratch);
    else
        count = rule->presets ? redact_presets(rule, text, &state->scratch) : 0;
    if (state->scratch.failed)
        state->rc = FM_ELIMIT;
    return count && fm_slice_equal(fm_buf_slice(&state->scratch), text) ? 0 : count;
}

bool process_redact_text(struct process_state *state, const struct process_compiled *rule,
                         struct fm_slice *text, struct process_tally *tally)
{
    uint64_t count = text->len ? redact_find(state, rule, *text) : 0;

    if (!count)
        return false;
    struct fm_slice left = fm_slice_dup(state->arena, fm_buf_slice(&state->scratch));
    *text = left.len ? left : FM_SLICE("");
    tally->redacted += count;
    return true;
}

/* ---- values in values ---- */

static uint64_t redact_put_value(struct process_state *state, const struct process_compiled *rule,
                                 struct fm_slice value, uint32_t depth);

/* What takes the place of a value whose key is listed. */
static void redact_put_whole(struct process_state *state, const struct process_compiled *rule,
                             struct fm_slice value)
{
    struct fm_buf *out = &state->nested;

    if (rule->mode == PROCESS_MASK)
        pb_put_bytes(out, VALUE_STRING, rule->mask);
    else if (rule->mode == PROCESS_MODE_HASH)
        fm_buf_put_slice(out, process_value_hash(state->arena, value));
}

static uint64_t redact_put_pair(struct process_state *state, const struct process_compiled *rule,
                                struct fm_slice pair, uint32_t depth)
{
    struct fm_slice rest = pair, key = {0};
    struct fm_buf *out = &state->nested;
    struct pb_field field;
    uint64_t count = 0;

    while (pb_next(&rest, &field) == FM_OK) {
        if (field.number == 1 && field.type == PB_BYTES)
            key = field.bytes;
    }
    bool is_ignored = redact_key_is_of(key, rule->ignored, rule->ignored_count);
    bool is_listed = !is_ignored && redact_key_is_of(key, rule->globs, rule->glob_count);
    while (pb_next(&pair, &field) == FM_OK) {
        if (field.number != 2 || field.type != PB_BYTES || is_ignored) {
            fm_buf_put_slice(out, field.raw);
            continue;
        }
        size_t mark = pb_begin(out, 2);
        if (is_listed) {
            redact_put_whole(state, rule, field.bytes);
            count++;
        } else {
            count += redact_put_value(state, rule, field.bytes, depth);
        }
        pb_end(out, mark);
    }
    return count;
}

static uint64_t redact_put_list(struct process_state *state, const struct process_compiled *rule,
                                struct fm_slice list, uint32_t depth, bool pairs)
{
    struct fm_buf *out = &state->nested;
    struct pb_field field;
    uint64_t count = 0;

    while (pb_next(&list, &field) == FM_OK) {
        if (field.number != 1 || field.type != PB_BYTES) {
            fm_buf_put_slice(out, field.raw);
            continue;
        }
        size_t mark = pb_begin(out, 1);
        count += pairs ? redact_put_pair(state, rule, field.bytes, depth)
                       : redact_put_value(state, rule, field.bytes, depth);
        pb_end(out, mark);
    }
    return count;
}

/* Appends the value to nested, redacted; how much was found in it. */
static uint64_t redact_put_value(struct process_state *state, const struct process_compiled *rule,
                                 struct fm_slice value, uint32_t depth)
{
    struct fm_buf *out = &state->nested;
    struct pb_field field;
    uint64_t count = 0;

    if (depth > PROCESS_DEPTH_MAX) {
        fm_buf_put_slice(out, value);
        return 0;
    }
    while (pb_next(&value, &field) == FM_OK) {
        bool is_list = field.number == VALUE_ARRAY || field.number == VALUE_MAP;
        uint64_t in_text = field.type == PB_BYTES && field.number == VALUE_STRING
                               ? redact_find(state, rule, field.bytes)
                               : 0;
        count += in_text;
        if (in_text) {
            pb_put_bytes(out, VALUE_STRING, fm_buf_slice(&state->scratch));
        } else if (field.type == PB_BYTES && is_list) {
            size_t mark = pb_begin(out, field.number);
            count +=
                redact_put_list(state, rule, field.bytes, depth + 1, field.number == VALUE_MAP);
            pb_end(out, mark);
        } else {
            fm_buf_put_slice(out, field.raw);
        }
    }
    return count;
}

/* ---- attributes ---- */

/* An attribute's value by what it holds: how much was found; *ret_value is what is left. */
static uint64_t redact_value(struct process_state *state, const struct process_compiled *rule,
                             struct fm_slice value, struct fm_slice *ret_value)
{
    struct pb_field member = process_value_member(value);
    struct fm_slice text = member.bytes;
    char room[32];
    uint64_t count = 0;

    if (member.type == PB_BYTES && (member.number == VALUE_ARRAY || member.number == VALUE_MAP)) {
        fm_buf_reset(&state->nested);
        count = redact_put_value(state, rule, value, 1);
        if (state->nested.failed)
            state->rc = FM_ELIMIT;
        if (count)
            *ret_value = fm_slice_dup(state->arena, fm_buf_slice(&state->nested));
        return count;
    }
    bool is_number = member.type == PB_VARINT && member.number == VALUE_INT &&
                     ((rule->presets & PRESET_CARD) || rule->pattern_count);
    if (is_number)
        (void)process_value_text(value, room, &text);
    else if (member.type != PB_BYTES || member.number != VALUE_STRING)
        return 0;
    count = text.len ? redact_find(state, rule, text) : 0;
    if (count)
        *ret_value = process_value_string(state->arena, fm_buf_slice(&state->scratch));
    return count;
}

static bool redact_attr_by_key(struct process_state *state, const struct process_compiled *rule,
                               struct process_holder *holder, struct process_attr *attr)
{
    struct fm_slice value = rule->mask_value;

    if (rule->mode == PROCESS_MODE_DELETE) {
        process_attr_remove(holder, attr);
        return true;
    }
    if (rule->mode == PROCESS_MODE_HASH)
        value = process_value_hash(state->arena, attr->value);
    if (!value.ptr || (attr->value.ptr && fm_slice_equal(value, attr->value)))
        return false;
    process_attr_set(holder, attr, value);
    return true;
}

static bool redact_attr_by_value(struct process_state *state, const struct process_compiled *rule,
                                 struct process_holder *holder, struct process_attr *attr,
                                 struct process_tally *tally)
{
    struct fm_slice value = {0};
    uint64_t count = redact_value(state, rule, attr->value, &value);

    if (!count)
        return false;
    tally->redacted += count;
    if (rule->mode == PROCESS_MODE_DELETE)
        process_attr_remove(holder, attr);
    else
        process_attr_set(holder, attr, value);
    return true;
}

bool process_redact_holder(struct process_state *state, const struct process_compiled *rule,
                           struct process_holder *holder, struct process_tally *tally)
{
    bool by_value = rule->presets || rule->pattern_count || rule->glob_count, changed = false;
    struct process_attr *attr = NULL;

    while ((attr = process_attr_next(state, holder, attr))) {
        if (redact_key_is_of(attr->key, rule->ignored, rule->ignored_count))
            continue;
        if (redact_key_is_of(attr->key, rule->globs, rule->glob_count)) {
            bool is_new = redact_attr_by_key(state, rule, holder, attr);
            tally->redacted += is_new;
            changed |= is_new;
        } else if (by_value) {
            changed |= redact_attr_by_value(state, rule, holder, attr, tally);
        }
    }
    if (rule->names && process_redact_text(state, rule, &holder->text, tally))
        holder->text_changed = holder->changed = changed = true;
    return changed;
}
