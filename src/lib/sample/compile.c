/* SPDX-License-Identifier: Apache-2.0 */
/* From policies as they are written down to policies as they are judged. */
#include <stdlib.h>

#include "internal.h"

#include "fermata/units.h"

#define TEXTS_MAX      FM_MIB(16) /* of all rules */
#define LATENCY_NS_MAX (UINT64_C(365) * 86400 * FM_NS_PER_S)
#define RATE_MAX       (UINT64_C(1) << 40)

int sample_fail(struct sample_fault *fault, const char *key, const char *accepted, const char *what,
                const char *text)
{
    fault->key = key;
    fault->accepted = accepted;
    if (text)
        return fm_fail(&fault->why, FM_ECONFIG, "%s: \"%.100s\"", what, text);
    return fm_fail(&fault->why, FM_ECONFIG, "%s", what);
}

bool sample_next_piece(struct fm_slice *rest, uint8_t separator, struct fm_slice *ret_piece)
{
    while (rest->len) {
        const uint8_t *end = memchr(rest->ptr, separator, rest->len);
        size_t len = end ? (size_t)(end - rest->ptr) : rest->len;
        struct fm_slice piece = fm_slice(rest->ptr, len);
        *rest = fm_slice(rest->ptr + len + (end != NULL), rest->len - len - (end != NULL));
        while (piece.len && piece.ptr[0] == ' ')
            piece = fm_slice(piece.ptr + 1, piece.len - 1);
        while (piece.len && piece.ptr[piece.len - 1] == ' ')
            piece.len--;
        if (piece.len) {
            *ret_piece = piece;
            return true;
        }
    }
    return false;
}

/* ---- which keys a type takes ---- */

enum compile_key { /* bits */
                   KEY_STATUS_CODES = 1,
                   KEY_THRESHOLD = 2,
                   KEY_KEY = 4,
                   KEY_VALUES = 8,
                   KEY_REGEX = 16,
                   KEY_INVERT = 32,
                   KEY_LIMITS = 64,
                   KEY_SPANS = 128,
                   KEY_QUERY = 256,
                   KEY_PROBABILITY = 512,
                   KEY_RATE = 1024,
                   KEY_PARTS = 2048,
                   KEY_ALLOCATION = 4096,
};
static const struct {
    unsigned keys;
    const char *text; /* of the keys */
} compile_takes[SAMPLE_KIND_COUNT] = {
    [SAMPLE_ALWAYS] = {0, "this type takes no other key but priority"},
    [SAMPLE_STATUS_CODE] = {KEY_STATUS_CODES, "status_codes"},
    [SAMPLE_LATENCY] = {KEY_THRESHOLD, "threshold, upper_threshold"},
    [SAMPLE_STRING_ATTRIBUTE] = {KEY_KEY | KEY_VALUES | KEY_REGEX | KEY_INVERT,
                                 "key, values, regex, invert_match"},
    [SAMPLE_NUMERIC_ATTRIBUTE] = {KEY_KEY | KEY_LIMITS | KEY_INVERT,
                                  "key, min_value, max_value, invert_match"},
    [SAMPLE_BOOLEAN_ATTRIBUTE] = {KEY_KEY | KEY_VALUES | KEY_INVERT, "key, values, invert_match"},
    [SAMPLE_SPAN_COUNT] = {KEY_SPANS, "min_spans, max_spans"},
    [SAMPLE_TRACEQL] = {KEY_QUERY | KEY_INVERT, "query, invert_match"},
    [SAMPLE_PROBABILISTIC] = {KEY_PROBABILITY, "probability"},
    [SAMPLE_RATE_LIMITING] = {KEY_RATE, "spans_per_second"},
    [SAMPLE_AND] = {KEY_PARTS, "sub_policies"},
    [SAMPLE_NOT] = {KEY_PARTS, "sub_policies"},
    [SAMPLE_DROP] = {KEY_PARTS, "sub_policies"},
    [SAMPLE_COMPOSITE] = {KEY_RATE | KEY_PARTS | KEY_ALLOCATION,
                          "sub_policies, spans_per_second, rate_allocation"},
};

static bool compile_has(const char *text)
{
    return text && *text;
}

static int compile_check_keys(const struct sample_rule *from, struct sample_fault *fault)
{
    const struct {
        const char *name;
        unsigned key;
        bool is_set;
    } rows[] = {{"status_codes", KEY_STATUS_CODES, compile_has(from->status_codes)},
                {"threshold", KEY_THRESHOLD, from->threshold_ns != 0},
                {"upper_threshold", KEY_THRESHOLD, from->upper_threshold_ns != 0},
                {"key", KEY_KEY, compile_has(from->key)},
                {"values", KEY_VALUES, compile_has(from->values)},
                {"regex", KEY_REGEX, from->regex},
                {"invert_match", KEY_INVERT, from->invert},
                {"min_value", KEY_LIMITS, compile_has(from->min_value)},
                {"max_value", KEY_LIMITS, compile_has(from->max_value)},
                {"min_spans", KEY_SPANS, from->min_spans != 0},
                {"max_spans", KEY_SPANS, from->max_spans != 0},
                {"query", KEY_QUERY, compile_has(from->query)},
                {"probability", KEY_PROBABILITY, compile_has(from->probability)},
                {"spans_per_second", KEY_RATE, from->spans_per_second != 0},
                {"sub_policies", KEY_PARTS, compile_has(from->sub_policies)},
                {"rate_allocation", KEY_ALLOCATION, compile_has(from->rate_allocation)}};

    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        if (rows[i].is_set && !(compile_takes[from->kind].keys & rows[i].key))
            return sample_fail(fault, rows[i].name, compile_takes[from->kind].text,
                               "not a key of this type", NULL);
    }
    return FM_OK;
}

/* ---- policies of policies ---- */

/* SIZE_MAX: there is none. */
static size_t compile_find(const struct sample_rules *rules, struct fm_slice name)
{
    for (size_t i = 0; i < rules->rule_count; i++) {
        if (fm_slice_equal_text(name, rules->rules[i].name))
            return i;
    }
    return SIZE_MAX;
}

static int compile_part(struct sample_rules *rules, struct sample_compiled *rule,
                        struct fm_slice name, struct sample_fault *fault)
{
    char shown[64];
    size_t index = compile_find(rules, name);

    size_t len = FM_MIN(name.len, sizeof shown - 1);
    memcpy(shown, name.ptr, len);
    shown[len] = '\0';
    for (uint32_t i = 0; i < rule->part_count; i++) {
        if (rule->parts[i].rule == index)
            return sample_fail(fault, "sub_policies", "each name once", "named twice", shown);
    }
    if (index == SIZE_MAX)
        return sample_fail(fault, "sub_policies", "names of other policies", "no such policy",
                           shown);
    if (rules->rules[index].kind == SAMPLE_DROP)
        return sample_fail(fault, "sub_policies", "type = and, where a part is meant",
                           "a drop is no part of another", shown);
    rules->rules[index].is_part = true;
    rule->parts[rule->part_count++] = (struct sample_part){.rule = (uint32_t)index};
    return FM_OK;
}

/* How many of the parts a percentage was written for; the others share alike, as if none was. */
static int compile_allocation(struct sample_rules *rules, const struct sample_rule *from,
                              struct sample_compiled *rule, struct sample_fault *fault)
{
    struct fm_slice rest = fm_slice_text(from->rate_allocation ? from->rate_allocation : "");
    uint64_t total = rule->spans_max, sum = 0, percent = 0;
    struct fm_slice word;

    for (uint32_t i = 0; i < rule->part_count; i++)
        rule->parts[i].spans_max = total / rule->part_count;
    while (sample_next_piece(&rest, ' ', &word)) {
        const uint8_t *equals = memchr(word.ptr, '=', word.len);
        size_t name_len = equals ? (size_t)(equals - word.ptr) : 0;
        struct fm_slice number = fm_slice(word.ptr + name_len + 1, word.len - name_len - 1);
        uint32_t i = 0;
        if (equals && number.len && number.ptr[number.len - 1] == '%')
            number.len--;
        while (equals && i < rule->part_count &&
               !fm_slice_equal_text(fm_slice(word.ptr, name_len),
                                    rules->rules[rule->parts[i].rule].name))
            i++;
        if (!equals || i == rule->part_count || fm_u64_parse(number, &percent) < 0 || !percent ||
            percent > 100)
            return sample_fail(fault, "rate_allocation",
                               "NAME=PERCENT with names of sub_policies, 1 to 100",
                               "not an allocation", from->rate_allocation);
        rule->parts[i].spans_max = total * percent / 100;
        sum += percent;
    }
    if (sum > 100)
        return sample_fail(fault, "rate_allocation", "100 percent in all",
                           "more than there is to share", from->rate_allocation);
    return FM_OK;
}

static int compile_parts(struct sample_rules *rules, const struct sample_rule *from,
                         struct sample_compiled *rule, struct sample_fault *fault)
{
    struct fm_slice text = fm_slice_text(from->sub_policies ? from->sub_policies : "");
    struct fm_slice rest = text, name;
    uint32_t count = 0;
    int rc = FM_OK;

    while (sample_next_piece(&rest, ' ', &name))
        count++;
    if (!count)
        return sample_fail(fault, "sub_policies", "names of other policies", "it names no policy",
                           NULL);
    if (rule->kind == SAMPLE_NOT && count > 1)
        return sample_fail(fault, "sub_policies", "one name", "not has one part", NULL);
    if (count > SAMPLE_RULES_MAX)
        return sample_fail(fault, "sub_policies", "at most 256", "it names too many", NULL);
    rule->parts = fm_arena_zalloc(&rules->arena, count * sizeof *rule->parts);
    if (!rule->parts)
        return FM_ENOMEM;
    for (rest = text; rc == FM_OK && sample_next_piece(&rest, ' ', &name);)
        rc = compile_part(rules, rule, name, fault);
    if (rc == FM_OK && rule->kind == SAMPLE_COMPOSITE) {
        rule->first_window = rules->window_count;
        rules->window_count += count;
        rc = compile_allocation(rules, from, rule, fault);
    }
    return rc;
}

/* How deep policies stand in each other; one that contains itself is too deep. */
static int compile_check_depth(const struct sample_rules *rules, struct sample_fault *fault)
{
    unsigned depths[SAMPLE_RULES_MAX] = {0};
    bool changed = true;

    while (changed) {
        changed = false;
        for (size_t i = 0; i < rules->rule_count; i++) {
            const struct sample_compiled *rule = &rules->rules[i];
            for (uint32_t k = 0; k < rule->part_count; k++) {
                unsigned depth = FM_MIN(depths[rule->parts[k].rule], SAMPLE_DEPTH_MAX) + 1;
                changed |= depth > depths[i];
                depths[i] = FM_MAX(depths[i], depth);
            }
        }
    }
    for (size_t i = 0; i < rules->rule_count; i++) {
        fault->rule = i;
        if (depths[i] > SAMPLE_DEPTH_MAX)
            return sample_fail(fault, "sub_policies", "at most 8 levels of other policies",
                               "it contains itself, or is too deep", NULL);
    }
    return FM_OK;
}

/* ---- one policy ---- */

static int compile_probability(const char *text, const char *key, uint64_t *ret_threshold,
                               struct sample_fault *fault)
{
    if (sample_probability_parse(fm_slice_text(text ? text : ""), ret_threshold) == FM_OK)
        return FM_OK;
    return sample_fail(fault, key, "0 to 1, or 0% to 100%", "not a probability", text ? text : "");
}

static int compile_latency(const struct sample_rule *from, struct sample_compiled *rule,
                           struct sample_fault *fault)
{
    rule->low = from->threshold_ns;
    rule->high = from->upper_threshold_ns;
    if (!rule->low && !rule->high)
        return sample_fail(fault, "threshold", "threshold = 2s", "it has no limits", NULL);
    if (rule->low > LATENCY_NS_MAX || rule->high > LATENCY_NS_MAX)
        return sample_fail(fault, rule->low > LATENCY_NS_MAX ? "threshold" : "upper_threshold",
                           "up to 8760h", "too long", NULL);
    if (rule->high && rule->low >= rule->high)
        return sample_fail(fault, "upper_threshold", "more than threshold, or 0",
                           "no trace can be between the two", NULL);
    return FM_OK;
}

static int compile_span_count(const struct sample_rule *from, struct sample_compiled *rule,
                              struct sample_fault *fault)
{
    rule->low = from->min_spans;
    rule->high = from->max_spans;
    if (!rule->low && !rule->high)
        return sample_fail(fault, "min_spans", "set min_spans, max_spans or both",
                           "it has no limits", NULL);
    if (rule->high && rule->low > rule->high)
        return sample_fail(fault, "max_spans", "min_spans or more, or 0",
                           "no trace can be between the two", NULL);
    return FM_OK;
}

static int compile_rule(struct sample_rules *rules, const struct sample_rule *from,
                        struct sample_compiled *rule, struct sample_fault *fault)
{
    int rc = compile_check_keys(from, fault);
    if (rc < 0)
        return rc;
    rule->express = from->express;
    rule->invert = from->invert;
    if (compile_takes[from->kind].keys & KEY_RATE) {
        if (!from->spans_per_second || from->spans_per_second > RATE_MAX)
            return sample_fail(fault, "spans_per_second", "1 or more", "it has no rate", NULL);
        rule->spans_max = from->spans_per_second * SAMPLE_WINDOW_SECONDS;
    }
    if (compile_takes[from->kind].keys & KEY_PARTS)
        return compile_parts(rules, from, rule, fault);
    switch (from->kind) {
    case SAMPLE_ALWAYS:
        return FM_OK;
    case SAMPLE_LATENCY:
        return compile_latency(from, rule, fault);
    case SAMPLE_SPAN_COUNT:
        return compile_span_count(from, rule, fault);
    case SAMPLE_PROBABILISTIC:
        return compile_probability(from->probability, "probability", &rule->threshold, fault);
    case SAMPLE_RATE_LIMITING:
        rule->first_window = rules->window_count++;
        return FM_OK;
    default:
        return sample_compile_leaf(rules, from, &rule->leaf, fault);
    }
}

/* ---- all ---- */

static int compile_names(struct sample_rules *rules, const struct sample_rule *from, size_t count,
                         struct sample_fault *fault)
{
    rules->rules = fm_arena_zalloc(&rules->arena, (count + 1) * sizeof *rules->rules);
    if (!rules->rules)
        return FM_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        fault->rule = i;
        if (compile_find(rules, fm_slice_text(from[i].name)) != SIZE_MAX)
            return sample_fail(fault, NULL, NULL, "the name is taken", from[i].name);
        rules->rules[i].kind = from[i].kind;
        rules->rules[i].name =
            (const char *)fm_arena_dup(&rules->arena, from[i].name, strlen(from[i].name) + 1);
        if (!rules->rules[i].name)
            return FM_ENOMEM;
        rules->rule_count++;
    }
    return FM_OK;
}

static int compile_all(struct sample_rules *rules, const struct sample_rule *from, size_t count,
                       struct sample_fault *fault)
{
    int rc = compile_names(rules, from, count, fault);
    for (size_t i = 0; rc == FM_OK && i < count; i++) {
        fault->rule = i;
        rc = compile_rule(rules, &from[i], &rules->rules[i], fault);
    }
    return rc == FM_OK ? compile_check_depth(rules, fault) : rc;
}

int sample_rules_new(struct sample_rules **ret_rules, const struct sample_rule *rules,
                     size_t rule_count, const char *default_probability, struct sample_fault *fault)
{
    FM_AUTO(sample_rules) compiled = calloc(1, sizeof *compiled);

    *fault = (struct sample_fault){.rule = SAMPLE_NO_RULE};
    if (!compiled)
        return FM_ENOMEM;
    fm_arena_init(&compiled->arena, TEXTS_MAX);
    int rc = compile_probability(default_probability, "default_probability",
                                 &compiled->default_threshold, fault);
    if (rc == FM_OK && rule_count > SAMPLE_RULES_MAX)
        rc = fm_fail(&fault->why, FM_ECONFIG, "more than %u policies", SAMPLE_RULES_MAX);
    if (rc == FM_OK)
        rc = compile_all(compiled, rules, rule_count, fault);
    if (rc < 0)
        return rc;
    if (fm_arena_failed(&compiled->arena))
        return FM_ENOMEM;
    *ret_rules = fm_take(compiled);
    return FM_OK;
}

struct sample_rules *sample_rules_free(struct sample_rules *rules)
{
    if (!rules)
        return NULL;
    fm_arena_fini(&rules->arena);
    free(rules);
    return NULL;
}

size_t sample_rule_count(const struct sample_rules *rules)
{
    return rules->rule_count;
}

const char *sample_rule_name(const struct sample_rules *rules, size_t rule)
{
    return rules->rules[rule].name;
}

size_t sample_leaf_count(const struct sample_rules *rules)
{
    return rules->leaf_count;
}

struct fm_slice sample_leaf_text(const struct sample_rules *rules, size_t leaf)
{
    return rules->leaves[leaf].text;
}

bool sample_leaf_is_local(const struct sample_rules *rules, size_t leaf)
{
    return rules->leaves[leaf].is_local;
}
