/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of a trace.
 *
 * Rates are held by the minute in which a trace belongs, in any order: traces of a block come by
 * their ids, and many minutes of them at once. */
#include <stdlib.h>

#include "internal.h"

#include "fermata/units.h"

struct judge_window { /* one minute of one rate */
    uint64_t minute, spans;
};
struct sample_state {
    const struct sample_rules *rules; /* borrowed */
    struct judge_window *windows;     /* owned; SAMPLE_WINDOWS for each rate */
};

int sample_state_new(struct sample_state **ret_state, const struct sample_rules *rules)
{
    FM_AUTO(sample_state) state = calloc(1, sizeof *state);

    if (!state)
        return FM_ENOMEM;
    state->rules = rules;
    state->windows =
        calloc((size_t)rules->window_count * SAMPLE_WINDOWS + 1, sizeof *state->windows);
    if (!state->windows)
        return FM_ENOMEM;
    *ret_state = fm_take(state);
    return FM_OK;
}

struct sample_state *sample_state_free(struct sample_state *state)
{
    if (!state)
        return NULL;
    free(state->windows);
    free(state);
    return NULL;
}

/* True: the trace's spans still fit into its minute, and have been counted. */
static bool judge_take(struct sample_state *state, uint32_t index, uint64_t spans_max,
                       const struct sample_facts *facts)
{
    uint64_t minute = facts->now_ns / (SAMPLE_WINDOW_SECONDS * FM_NS_PER_S);
    struct judge_window *window =
        &state->windows[(size_t)index * SAMPLE_WINDOWS + minute % SAMPLE_WINDOWS];

    if (window->minute != minute)
        *window = (struct judge_window){.minute = minute};
    if (facts->span_count > spans_max - FM_MIN(spans_max, window->spans))
        return false;
    window->spans += facts->span_count;
    return true;
}

static bool judge_latency(const struct sample_compiled *rule, const struct sample_facts *facts)
{
    uint64_t ns = facts->end_ns - FM_MIN(facts->end_ns, facts->start_ns);
    return rule->high ? ns > rule->low && ns <= rule->high : ns >= rule->low;
}

static bool judge_rule(struct sample_state *state, const struct sample_compiled *rule,
                       const struct sample_facts *facts);

static bool judge_part(struct sample_state *state, const struct sample_part *part,
                       const struct sample_facts *facts)
{
    return judge_rule(state, &state->rules->rules[part->rule], facts);
}

/* In order, and no further than needed. */
static bool judge_all(struct sample_state *state, const struct sample_compiled *rule,
                      const struct sample_facts *facts)
{
    for (uint32_t i = 0; i < rule->part_count; i++) {
        if (!judge_part(state, &rule->parts[i], facts))
            return false;
    }
    return true;
}

/* The first part that wants the trace pays for it or loses it. */
static bool judge_composite(struct sample_state *state, const struct sample_compiled *rule,
                            const struct sample_facts *facts)
{
    for (uint32_t i = 0; i < rule->part_count; i++) {
        if (judge_part(state, &rule->parts[i], facts))
            return judge_take(state, rule->first_window + i, rule->parts[i].spans_max, facts);
    }
    return false;
}

static bool judge_rule(struct sample_state *state, const struct sample_compiled *rule,
                       const struct sample_facts *facts)
{
    switch (rule->kind) {
    case SAMPLE_ALWAYS:
        return true;
    case SAMPLE_LATENCY:
        return judge_latency(rule, facts);
    case SAMPLE_SPAN_COUNT:
        return facts->span_count >= rule->low && (!rule->high || facts->span_count <= rule->high);
    case SAMPLE_PROBABILISTIC:
        return sample_randomness(facts->id.bytes) >= rule->threshold;
    case SAMPLE_RATE_LIMITING:
        return judge_take(state, rule->first_window, rule->spans_max, facts);
    case SAMPLE_AND:
    case SAMPLE_DROP:
        return judge_all(state, rule, facts);
    case SAMPLE_NOT:
        return !judge_part(state, rule->parts, facts);
    case SAMPLE_COMPOSITE:
        return judge_composite(state, rule, facts);
    default:
        return (facts->leaves >> rule->leaf & 1) != rule->invert;
    }
}

struct sample_outcome sample_judge(struct sample_state *state, const struct sample_facts *facts)
{
    const struct sample_rules *rules = state->rules;
    struct sample_outcome outcome = {.rule = SAMPLE_NO_RULE};

    for (size_t i = 0; i < rules->rule_count; i++) {
        if (rules->rules[i].kind == SAMPLE_DROP && judge_rule(state, &rules->rules[i], facts)) {
            outcome.rule = i;
            return outcome;
        }
    }
    for (size_t i = 0; i < rules->rule_count && !outcome.express; i++) {
        const struct sample_compiled *rule = &rules->rules[i];
        bool is_asked = rule->kind != SAMPLE_DROP && !rule->is_part;
        /* once it is wanted, only those matter to which it is urgent */
        if (!is_asked || (outcome.keep && !rule->express) || !judge_rule(state, rule, facts))
            continue;
        if (!outcome.keep)
            outcome.rule = i;
        outcome.keep = true;
        outcome.express = rule->express;
    }
    if (!outcome.keep)
        outcome.keep = sample_randomness(facts->id.bytes) >= rules->default_threshold;
    return outcome;
}
