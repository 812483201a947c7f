/* SPDX-License-Identifier: Apache-2.0 */
/* by() and the scalar filters: what looks at a set as a whole. */
#include "internal.h"

/* ---- by ---- */

struct group_entry {
    uint32_t old_set;
    uint64_t key; /* a code or a hash */
    struct traceql_value value;
};
struct group {
    struct eval_run *run;
    const struct eval_stage *stage;
    const struct frame_vector
        *vector;              /* by(a field of the span, as codes): codes tell values apart */
    const uint8_t *passed;    /* by(a condition): the spans for which it holds */
    const uint32_t *entry_of; /* span to entry of the vector; NULL: the same */
    const uint32_t *old_sets;
    uint32_t *set_of;
    uint32_t *buckets; /* entry + 1 */
    uint32_t bucket_mask;
    struct group_entry *entries; /* one for each new set */
    uint32_t *traces;
    uint32_t count;
};

static int group_judge(struct group *group, const struct eval_state *state, struct fm_why *why)
{
    uint8_t *passed = run_mask_take(group->run);
    if (!passed)
        return group->run->rc;
    memcpy(passed, state->mask, group->run->frame.count[FRAME_SPAN]);
    group->passed = passed;
    return filter_run(group->run, group->stage->node, passed, why);
}

static int group_init(struct group *group, struct eval_state *state, const uint8_t *wanted,
                      struct fm_why *why)
{
    struct eval_run *run = group->run;
    const struct eval_walk *walk = group->stage->walk;
    uint32_t spans = run->frame.count[FRAME_SPAN], members = 0, buckets = 16;
    int rc = walk ? walk_load(run, walk, wanted, why) : group_judge(group, state, why);
    if (rc)
        return rc;
    for (uint32_t i = 0; i < spans; i++)
        members += state->mask[i];
    while (buckets / 2 < members)
        buckets *= 2;
    group->old_sets = state->set_of ? state->set_of : run_span_traces(run);
    group->set_of = run_alloc(run, spans, sizeof *group->set_of);
    group->buckets = run_alloc(run, buckets, sizeof *group->buckets);
    group->entries = run_alloc(run, members, sizeof *group->entries);
    group->traces = run_alloc(run, members, sizeof *group->traces);
    group->bucket_mask = buckets - 1;
    if (!group->old_sets || !group->set_of || !group->buckets || !group->entries ||
        !group->traces || !run_span_traces(run))
        return run->rc;
    memset(group->set_of, 0, spans * sizeof *group->set_of);
    memset(group->buckets, 0, buckets * sizeof *group->buckets);
    if (!walk || walk->kind != TRACEQL_FIELD || walk->ref.second != EVAL_NONE ||
        run->slots[walk->ref.index].vector.shape != FRAME_CODES)
        return FM_OK;
    if (walk->ref.domain == FRAME_SPAN || walk->ref.domain == FRAME_RESOURCE) {
        group->vector = &run->slots[walk->ref.index].vector;
        group->entry_of = walk->ref.domain == FRAME_SPAN ? NULL : run->frame.span_resources;
    }
    return FM_OK;
}

/* The set of a span, a new one if its value has not been seen in its old set. */
static int group_add(struct group *group, uint32_t span, struct fm_why *why)
{
    struct eval_run *run = group->run;
    struct group_entry entry = {.old_set = group->old_sets[span]};
    struct eval_place place = {span, EVAL_NONE, EVAL_NONE};
    if (group->vector) {
        entry.key = group->vector->codes[group->entry_of ? group->entry_of[span] : span];
    } else if (group->passed) {
        entry.value = (struct traceql_value){.type = TRACEQL_BOOL, .flag = group->passed[span]};
        entry.key = group->passed[span];
    } else {
        int rc = walk_value(run, group->stage->walk, place, &entry.value, why);
        if (rc)
            return rc;
        entry.key = value_hash(&entry.value);
    }
    uint64_t hash =
        (entry.key + entry.old_set * UINT64_C(0x100000001b3)) * UINT64_C(0x9e3779b97f4a7c15);
    uint32_t at = (uint32_t)(hash >> 32) & group->bucket_mask;
    for (; group->buckets[at]; at = (at + 1) & group->bucket_mask) {
        const struct group_entry *old = &group->entries[group->buckets[at] - 1];
        if (old->key == entry.key && old->old_set == entry.old_set &&
            (group->vector || value_same(&old->value, &entry.value))) {
            group->set_of[span] = group->buckets[at] - 1;
            return FM_OK;
        }
    }
    if (group->vector)
        entry.value = run_entry_value(run, group->stage->walk->ref.index,
                                      group->entry_of ? group->entry_of[span] : span);
    group->entries[group->count] = entry;
    group->traces[group->count] = run->span_traces[span];
    group->set_of[span] = group->count;
    group->buckets[at] = ++group->count;
    return FM_OK;
}

static int state_push(struct eval_run *run, struct eval_state *state, struct fm_slice name,
                      struct traceql_value *values)
{
    struct eval_column *column = run_alloc(run, 1, sizeof *column);
    if (!column || !values)
        return run->rc;
    *column = (struct eval_column){.name = name, .values = values, .older = state->newest};
    state->newest = column;
    state->column_count++;
    return FM_OK;
}

/* The labels of the old sets, for the new ones. */
static int group_inherit(struct group *group, struct eval_state *state,
                         const struct eval_column *labels)
{
    struct eval_run *run = group->run;
    const struct eval_column **link = &state->newest;
    for (const struct eval_column *old = labels; old; old = old->older) {
        struct eval_column *column = run_alloc(run, 1, sizeof *column);
        struct traceql_value *values = run_alloc(run, group->count, sizeof *values);
        if (!column || !values)
            return run->rc;
        for (uint32_t s = 0; s < group->count; s++)
            values[s] = old->values[group->entries[s].old_set];
        *column = (struct eval_column){.name = old->name, .values = values};
        *link = column;
        link = &column->older;
        state->column_count++;
    }
    return FM_OK;
}

int group_run(struct eval_run *run, const struct eval_stage *stage, struct eval_state *state,
              struct fm_why *why)
{
    struct group group = {.run = run, .stage = stage};
    const uint8_t *wanted;
    int rc = run_wanted(run, state->mask, &wanted);
    if (rc)
        return rc == FM_NONE ? FM_OK : rc;
    rc = group_init(&group, state, wanted, why);
    for (uint32_t i = 0; i < run->frame.count[FRAME_SPAN] && !rc; i++)
        if (state->mask[i])
            rc = group_add(&group, i, why);
    if (rc)
        return rc;
    const struct eval_column *labels = state->newest;
    *state = (struct eval_state){.mask = state->mask,
                                 .set_of = group.set_of,
                                 .set_trace = group.traces,
                                 .set_count = group.count};
    rc = group_inherit(&group, state, labels);
    struct traceql_value *values = rc ? NULL : run_alloc(run, group.count, sizeof *values);
    for (uint32_t s = 0; values && s < group.count; s++)
        values[s] = group.entries[s].value;
    return rc ? rc : state_push(run, state, stage->label, values);
}

/* ---- scalar filters ---- */

struct scalar { /* what is known of a set so far */
    uint32_t count;
    bool is_float, is_duration;
    int64_t integer; /* sum, or the extreme */
    double number;   /* the same, of floats */
};

static void scalar_extreme(struct scalar *scalar, const struct traceql_value *value, bool is_max)
{
    struct traceql_value old = {.type = scalar->is_float      ? TRACEQL_FLOAT
                                        : scalar->is_duration ? TRACEQL_DURATION
                                                              : TRACEQL_INT,
                                .integer = scalar->integer};
    if (scalar->is_float)
        old.number = scalar->number;
    if (scalar->count &&
        value_compare(is_max ? TRACEQL_GT : TRACEQL_LT, value, &old, NULL) != EVAL_TRUE)
        return;
    scalar->is_float = value->type == TRACEQL_FLOAT;
    scalar->is_duration = value->type == TRACEQL_DURATION;
    if (scalar->is_float)
        scalar->number = value->number;
    else
        scalar->integer = value->integer;
}

static void scalar_sum(struct scalar *scalar, const struct traceql_value *value)
{
    int64_t sum;
    scalar->is_duration |= value->type == TRACEQL_DURATION;
    if (!scalar->is_float && value->type != TRACEQL_FLOAT &&
        !__builtin_add_overflow(scalar->integer, value->integer, &sum)) {
        scalar->integer = sum;
        return;
    }
    if (!scalar->is_float)
        scalar->number = (double)scalar->integer;
    scalar->is_float = true;
    scalar->number += value_number(value);
}

static void scalar_add(struct scalar *scalar, enum traceql_aggregate aggregate,
                       const struct traceql_value *value)
{
    if (!value_is_numeric(value))
        return;
    if (aggregate == TRACEQL_MIN || aggregate == TRACEQL_MAX)
        scalar_extreme(scalar, value, aggregate == TRACEQL_MAX);
    else
        scalar_sum(scalar, value);
    scalar->count++;
}

static struct traceql_value scalar_value(const struct scalar *scalar,
                                         enum traceql_aggregate aggregate)
{
    struct traceql_value value = {.type = TRACEQL_INT, .integer = scalar->count};
    double total = scalar->is_float ? scalar->number : (double)scalar->integer;
    if (aggregate == TRACEQL_COUNT)
        return value;
    if (!scalar->count)
        return (struct traceql_value){.type = TRACEQL_NIL};
    if (scalar->is_duration) {
        double mean = total / scalar->count;
        value.type = TRACEQL_DURATION;
        value.integer = scalar->integer;
        if (aggregate == TRACEQL_AVG || scalar->is_float)
            total = aggregate == TRACEQL_AVG ? mean : total;
        if (aggregate == TRACEQL_AVG || scalar->is_float)
            value.integer = total >= 0x1p63   ? INT64_MAX
                            : total < -0x1p63 ? INT64_MIN
                                              : (int64_t)total;
        return value;
    }
    value.integer = scalar->integer;
    if (aggregate == TRACEQL_AVG || scalar->is_float) {
        value.type = TRACEQL_FLOAT;
        value.number = aggregate == TRACEQL_AVG ? total / scalar->count : total;
    }
    return value;
}

static int scalar_collect(struct eval_run *run, const struct eval_stage *stage,
                          const struct eval_state *state, struct scalar *scalars,
                          struct fm_why *why)
{
    uint32_t spans = run->frame.count[FRAME_SPAN];
    const uint32_t *set_of = state->set_of ? state->set_of : run_span_traces(run);
    const struct eval_walk *walk = stage->walk;
    const uint8_t *wanted;
    if (!set_of)
        return run->rc;
    if (!walk) {
        for (uint32_t i = 0; i < spans; i++)
            if (state->mask[i])
                scalars[set_of[i]].count++;
        return FM_OK;
    }
    int rc = run_wanted(run, state->mask, &wanted);
    if (rc)
        return rc == FM_NONE ? FM_OK : rc;
    rc = walk_load(run, walk, wanted, why);
    const struct frame_vector *vector = &run->slots[walk->ref.index].vector;
    bool plain = !rc && walk->kind == TRACEQL_FIELD && walk->ref.domain == FRAME_SPAN &&
                 vector->shape == FRAME_INTEGERS;
    for (uint32_t i = 0; i < spans && !rc; i++) {
        struct traceql_value value = {.type = vector->type};
        if (!state->mask[i])
            continue;
        if (plain)
            value.integer = vector->integers[i];
        else
            rc = walk_value(run, walk, (struct eval_place){i, EVAL_NONE, EVAL_NONE}, &value, why);
        if (!rc)
            scalar_add(&scalars[set_of[i]], stage->aggregate, &value);
    }
    return rc;
}

/* Counting traces' spans is what most of these queries do. */
static void scalar_count_traces(struct eval_run *run, const struct eval_state *state,
                                struct scalar *scalars)
{
    const struct frame *frame = &run->frame;
    for (uint32_t t = 0; t < state->set_count; t++) {
        uint32_t count = 0;
        for (uint32_t i = frame->trace_spans[t]; i < frame->trace_spans[t + 1]; i++)
            count += state->mask[i];
        scalars[t].count = count;
    }
}

int scalar_run(struct eval_run *run, const struct eval_stage *stage, struct eval_state *state,
               struct fm_why *why)
{
    const struct frame *frame = &run->frame;
    uint32_t sets = state->set_count;
    struct scalar *scalars = run_alloc(run, sets, sizeof *scalars);
    struct traceql_value *values = run_alloc(run, sets, sizeof *values);
    uint8_t *passes = run_alloc(run, sets, 1);
    if (!scalars || !values || !passes)
        return run->rc;
    memset(scalars, 0, sets * sizeof *scalars);
    int rc = FM_OK;
    if (!stage->walk && !state->set_of)
        scalar_count_traces(run, state, scalars);
    else
        rc = scalar_collect(run, stage, state, scalars, why);
    if (rc)
        return rc;
    for (uint32_t s = 0; s < sets; s++) {
        values[s] = scalar_value(&scalars[s], stage->aggregate);
        passes[s] = value_compare(stage->op, &values[s], &stage->value, NULL) == EVAL_TRUE;
    }
    if (state->set_of) {
        for (uint32_t i = 0; i < frame->count[FRAME_SPAN]; i++)
            if (state->mask[i])
                state->mask[i] = passes[state->set_of[i]];
    } else {
        for (uint32_t t = 0; t < sets; t++)
            if (!passes[t])
                memset(state->mask + frame->trace_spans[t], 0,
                       frame->trace_spans[t + 1] - frame->trace_spans[t]);
    }
    return state_push(run, state, stage->label, values);
}
