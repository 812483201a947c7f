/* SPDX-License-Identifier: Apache-2.0 */
/* Stages of a pipeline over all sets of a frame at once.
 *
 * Sets are traces until by() splits them; then each span carries the number of its set.  Filters
 * and scalar filters only take spans away, so that a stage never copies a set. */
#include "internal.h"

/* ---- sets ---- */

/* Which sets have a span in mask; one byte each. */
static int state_alive(struct eval_run *run, const struct eval_state *state, const uint8_t *mask,
                       uint8_t **ret_alive)
{
    const struct frame *frame = &run->frame;
    uint8_t *alive = run_alloc(run, state->set_count, 1);
    if (!alive)
        return run->rc;
    memset(alive, 0, state->set_count);
    if (state->set_of) {
        for (uint32_t i = 0; i < frame->count[FRAME_SPAN]; i++)
            if (mask[i])
                alive[state->set_of[i]] = 1;
    } else {
        for (uint32_t t = 0; t < state->set_count; t++)
            for (uint32_t i = frame->trace_spans[t]; i < frame->trace_spans[t + 1]; i++)
                alive[t] |= mask[i];
    }
    *ret_alive = alive;
    return FM_OK;
}

/* Takes the spans of all other sets out of mask. */
static void state_keep(struct eval_run *run, const struct eval_state *state, const uint8_t *alive,
                       uint8_t *mask)
{
    const struct frame *frame = &run->frame;
    if (state->set_of) {
        for (uint32_t i = 0; i < frame->count[FRAME_SPAN]; i++)
            if (mask[i])
                mask[i] = alive[state->set_of[i]];
        return;
    }
    for (uint32_t t = 0; t < state->set_count; t++)
        if (!alive[t])
            memset(mask + frame->trace_spans[t], 0,
                   frame->trace_spans[t + 1] - frame->trace_spans[t]);
}

static int state_restrict(struct eval_run *run, const struct eval_state *state, const uint8_t *like,
                          uint8_t *mask)
{
    uint8_t *alive = NULL;
    int rc = state_alive(run, state, like, &alive);
    if (!rc)
        state_keep(run, state, alive, mask);
    return rc;
}

int state_lists(struct eval_run *run, const struct eval_state *state, const uint8_t *mask,
                uint32_t **ret_starts, uint32_t **ret_spans)
{
    uint32_t count = run->frame.count[FRAME_SPAN];
    const uint32_t *set_of = state->set_of ? state->set_of : run_span_traces(run);
    uint32_t *starts = run_alloc(run, (size_t)state->set_count + 2, sizeof *starts);
    uint32_t *spans = run_alloc(run, count, sizeof *spans);
    if (!set_of || !starts || !spans)
        return run->rc;
    memset(starts, 0, ((size_t)state->set_count + 2) * sizeof *starts);
    for (uint32_t i = 0; i < count; i++)
        if (mask[i])
            starts[set_of[i] + 2]++;
    for (uint32_t s = 0; s < state->set_count; s++)
        starts[s + 2] += starts[s + 1];
    for (uint32_t i = 0; i < count; i++)
        if (mask[i])
            spans[starts[set_of[i] + 1]++] = i;
    *ret_starts = starts;
    *ret_spans = spans;
    return FM_OK;
}

/* ---- operations ---- */

/* An operand that splits a set in two cannot be related to anything. */
static int operation_check(struct eval_run *run, const struct eval_state *input,
                           const struct eval_state *output, struct fm_why *why)
{
    const uint32_t *set_of = input->set_of ? input->set_of : run_span_traces(run);
    uint32_t *seen = run_alloc(run, input->set_count, sizeof *seen);
    if (!set_of || !seen)
        return run->rc;
    memset(seen, 0, input->set_count * sizeof *seen);
    for (uint32_t i = 0; i < run->frame.count[FRAME_SPAN]; i++) {
        if (!output->mask[i])
            continue;
        uint32_t set = output->set_of[i] + 1;
        if (seen[set_of[i]] && seen[set_of[i]] != set)
            return fm_fail(why, FM_EMALFORMED,
                           "spanset operators are not supported for multiple spansets per trace. "
                           "consider using coalesce()");
        seen[set_of[i]] = set;
    }
    return FM_OK;
}

/* Narrows mask, which is of state's sets, to what comes through one side. */
static int operation_side(struct eval_run *run, const struct eval_stage *side, bool relates,
                          const struct eval_state *state, uint8_t *mask, struct fm_why *why)
{
    struct eval_state inner = *state;
    inner.mask = mask;
    int rc = stage_run(run, side, &inner, why);
    if (!rc && relates && inner.set_of && inner.set_of != state->set_of)
        rc = operation_check(run, state, &inner, why);
    return rc;
}

static int operation_relate(struct eval_run *run, const struct eval_stage *stage,
                            const struct eval_state *state, const uint8_t *a, const uint8_t *b,
                            uint8_t *out, struct fm_why *why)
{
    struct traceql_field fields[] = {{.intrinsic = TRACEQL_NESTED_LEFT},
                                     {.intrinsic = TRACEQL_NESTED_RIGHT},
                                     {.intrinsic = TRACEQL_NESTED_PARENT}};
    const int64_t *numbers[3];
    const struct frame_vector *vector;
    const uint8_t *wanted;
    uint32_t *starts, *spans;
    int rc = run_wanted(run, b, &wanted);
    if (rc)
        return rc == FM_NONE ? FM_OK : rc;
    for (unsigned i = 0; i < FM_COUNT(fields) && !rc; i++) {
        rc = run_load(run, plan_find(run->plan, &fields[i]), wanted, &vector, why);
        if (!rc)
            rc = run_integers(run, vector, &numbers[i]);
    }
    if (rc)
        return rc;
    uint8_t *either = run_mask_take(run);
    if (!either)
        return run->rc;
    for (uint32_t i = 0; i < run->frame.count[FRAME_SPAN]; i++)
        either[i] = a[i] | b[i];
    rc = state_lists(run, state, either, &starts, &spans);
    struct relate relate = {.left = numbers[0],
                            .right = numbers[1],
                            .parent = numbers[2],
                            .op = stage->op,
                            .relation = stage->relation};
    for (uint32_t s = 0; s < state->set_count && !rc; s++)
        if (starts[s] < starts[s + 1])
            rc =
                relate_spans(run, &relate, spans + starts[s], starts[s + 1] - starts[s], a, b, out);
    run_mask_give(run, either);
    return rc;
}

/* Both sides, the cheaper first; the other one only where the first has left something, unless it
 * counts by itself. */
static int operation_sides(struct eval_run *run, const struct eval_stage *stage,
                           struct eval_state *state, uint8_t *left, uint8_t *right,
                           struct fm_why *why)
{
    bool relates = stage->op != TRACEQL_AND && stage->op != TRACEQL_OR;
    bool negated = relates && stage->relation == TRACEQL_NEGATED;
    bool left_first = !negated && stage->left->cost <= stage->right->cost;
    const struct eval_stage *first = left_first ? stage->left : stage->right;
    const struct eval_stage *second = left_first ? stage->right : stage->left;
    uint8_t *first_mask = left_first ? left : right, *second_mask = left_first ? right : left;
    int rc = operation_side(run, first, relates, state, first_mask, why);
    if (!rc && stage->op != TRACEQL_OR)
        rc = state_restrict(run, state, first_mask, second_mask);
    if (!rc && run_any(run, second_mask))
        rc = operation_side(run, second, relates, state, second_mask, why);
    if (!rc && stage->op != TRACEQL_OR && !negated)
        rc = state_restrict(run, state, second_mask, first_mask);
    return rc;
}

static int operation_run(struct eval_run *run, const struct eval_stage *stage,
                         struct eval_state *state, struct fm_why *why)
{
    uint32_t count = run->frame.count[FRAME_SPAN];
    uint8_t *left = run_mask_take(run), *right = run_mask_take(run);
    if (!left || !right)
        return run->rc;
    memcpy(left, state->mask, count);
    memcpy(right, state->mask, count);
    int rc = operation_sides(run, stage, state, left, right, why);
    if (!rc && (stage->op == TRACEQL_AND || stage->op == TRACEQL_OR)) {
        for (uint32_t i = 0; i < count; i++)
            state->mask[i] = left[i] | right[i];
    } else if (!rc) {
        memset(state->mask, 0, count);
        rc = operation_relate(run, stage, state, left, right, state->mask, why);
    }
    run_mask_give(run, left);
    run_mask_give(run, right);
    return rc;
}

/* ---- the pipeline ---- */

static int stage_one(struct eval_run *run, const struct eval_stage *stage, struct eval_state *state,
                     struct fm_why *why)
{
    switch (stage->kind) {
    case TRACEQL_FILTER:
        return filter_run(run, stage->node, state->mask, why);
    case TRACEQL_OPERATION:
        return operation_run(run, stage, state, why);
    case TRACEQL_PIPELINE:
        return stage_run(run, stage->first, state, why);
    case TRACEQL_GROUP:
        return group_run(run, stage, state, why);
    case TRACEQL_COALESCE:
        *state =
            (struct eval_state){.mask = state->mask, .set_count = run->frame.count[FRAME_TRACE]};
        return FM_OK;
    case TRACEQL_SELECT:
        return FM_OK;
    case TRACEQL_SCALAR:
        return scalar_run(run, stage, state, why);
    }
    return FM_OK;
}

int stage_run(struct eval_run *run, const struct eval_stage *stage, struct eval_state *state,
              struct fm_why *why)
{
    int rc = FM_OK;
    for (; stage && !rc; stage = stage->next) {
        if (!run_any(run, state->mask))
            return FM_OK;
        rc = stage_one(run, stage, state, why);
    }
    return rc;
}

/* ---- what the caller sees ---- */

static struct eval_label *sets_labels(struct eval_run *run, const struct eval_state *state,
                                      uint32_t set)
{
    struct eval_label *labels = run_alloc(run, state->column_count, sizeof *labels);
    uint32_t at = state->column_count;
    for (const struct eval_column *c = state->newest; labels && c; c = c->older)
        labels[--at] = (struct eval_label){.name = c->name, .value = c->values[set]};
    return labels;
}

int eval_run_sets(struct eval_run *run, const struct eval_set **ret_sets, uint32_t *ret_count,
                  struct fm_why *why)
{
    const struct eval_state *state = &run->state;
    uint32_t *starts, *spans, count = 0;
    if (!run->sets) {
        int rc = state_lists(run, state, state->mask, &starts, &spans);
        if (rc)
            return fm_fail(why, rc, "%s", fm_rc_text(rc));
        for (uint32_t s = 0; s < state->set_count; s++)
            count += starts[s] < starts[s + 1];
        struct eval_set *sets = run_alloc(run, count, sizeof *sets);
        if (!sets)
            return fm_fail(why, run->rc, "%s", fm_rc_text(run->rc));
        count = 0;
        for (uint32_t s = 0; s < state->set_count; s++) {
            if (starts[s] == starts[s + 1])
                continue;
            struct eval_label *labels = NULL;
            if (state->column_count && !(labels = sets_labels(run, state, s)))
                return fm_fail(why, run->rc, "%s", fm_rc_text(run->rc));
            sets[count++] = (struct eval_set){.trace = state->set_trace ? state->set_trace[s] : s,
                                              .spans = spans + starts[s],
                                              .span_count = starts[s + 1] - starts[s],
                                              .labels = labels,
                                              .label_count = state->column_count};
        }
        run->sets = sets;
        run->set_count = count;
    }
    *ret_sets = run->sets;
    *ret_count = run->set_count;
    return FM_OK;
}
