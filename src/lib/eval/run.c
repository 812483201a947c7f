/* SPDX-License-Identifier: Apache-2.0 */
/* Run: one plan over the frames of one source.
 *
 * Every frame starts with the mask of the spans that may matter (window, excluded traces), goes
 * through the pipeline, and is handed out if a span is left.  Memory of a frame is one arena. */
#include "internal.h"

#include <stdlib.h>

int eval_run_new(struct eval_run **ret_run, const struct eval_plan *plan,
                 struct frame_source *source, const struct eval_limits *limits)
{
    FM_AUTO(eval_run) run = calloc(1, sizeof *run);
    if (!run)
        return FM_ENOMEM;
    run->plan = plan;
    run->source = source;
    run->limits = *limits;
    run->gate.enter = gate_enter;
    fm_arena_init(&run->arena, limits->memory_max);
    run->slots = calloc(plan->field_count + 1, sizeof *run->slots);
    run->truths = calloc(plan->truth_count + 1, sizeof *run->truths);
    run->matchers = calloc(plan->regex_count + 1, sizeof(struct regex_matcher *));
    if (!run->slots || !run->truths || !run->matchers)
        return FM_ENOMEM;
    struct traceql_field field = {.intrinsic = TRACEQL_SPAN_START};
    run->start_field = plan_find(plan, &field);
    field.intrinsic = TRACEQL_TRACE_START;
    run->trace_start_field = plan_find(plan, &field);
    field.intrinsic = TRACEQL_TRACE_DURATION;
    run->trace_duration_field = plan_find(plan, &field);
    *ret_run = fm_take(run);
    return FM_OK;
}

struct eval_run *eval_run_free(struct eval_run *run)
{
    if (!run)
        return NULL;
    for (uint32_t i = 0; run->truths && i < run->plan->truth_count; i++)
        free(run->truths[i].bytes);
    for (uint32_t i = 0; run->matchers && i < run->plan->regex_count; i++)
        regex_matcher_free(run->matchers[i]);
    free(run->truths);
    free(run->matchers);
    free(run->slots);
    fm_arena_fini(&run->arena);
    free(run);
    return NULL;
}

/* ---- memory ---- */

void *run_alloc(struct eval_run *run, size_t count, size_t size)
{
    size_t bytes = count * size;
    bool fits = !size || count <= SIZE_MAX / 2 / size;
    void *ptr = fits ? fm_arena_alloc(&run->arena, bytes ? bytes : 1) : NULL;
    if (!ptr)
        run->rc = !fits || bytes + 16 > run->arena.bytes_max - run->arena.used_bytes ? FM_ELIMIT
                                                                                     : FM_ENOMEM;
    return ptr;
}

int run_grow(struct eval_run *run, uint8_t **array, uint32_t *cap, uint32_t count)
{
    if (count <= *cap)
        return FM_OK;
    size_t grown = FM_MAX((size_t)count, (size_t)*cap * 2);
    grown = FM_MIN(FM_MAX(grown, 64u), UINT32_MAX);
    if (run->held_bytes + (grown - *cap) > run->limits.memory_max)
        return run->rc = FM_ELIMIT;
    uint8_t *room = realloc(*array, grown);
    if (!room)
        return run->rc = FM_ENOMEM;
    run->held_bytes += grown - *cap;
    *array = room;
    *cap = (uint32_t)grown;
    return FM_OK;
}

uint8_t *run_mask_take(struct eval_run *run)
{
    struct eval_mask_link *spare = run->spare_masks;
    if (!spare)
        return run_alloc(run, FM_MAX(run->frame.count[FRAME_SPAN], sizeof *spare), 1);
    run->spare_masks = spare->next;
    return (uint8_t *)spare;
}

void run_mask_give(struct eval_run *run, uint8_t *mask)
{
    struct eval_mask_link *spare = (struct eval_mask_link *)(void *)mask;
    spare->next = run->spare_masks;
    run->spare_masks = spare;
}

uint32_t *run_span_traces(struct eval_run *run)
{
    const struct frame *frame = &run->frame;
    if (run->span_traces)
        return run->span_traces;
    uint32_t *traces = run_alloc(run, frame->count[FRAME_SPAN], sizeof *traces);
    for (uint32_t t = 0; traces && t < frame->count[FRAME_TRACE]; t++)
        for (uint32_t i = frame->trace_spans[t]; i < frame->trace_spans[t + 1]; i++)
            traces[i] = t;
    return run->span_traces = traces;
}

int run_matcher(struct eval_run *run, uint32_t regex, struct regex_matcher **ret_matcher)
{
    int rc = FM_OK;
    if (!run->matchers[regex])
        rc = regex_matcher_new(&run->matchers[regex], run->plan->regexes[regex]);
    if (rc)
        return rc;
    *ret_matcher = run->matchers[regex];
    return FM_OK;
}

/* ---- masks ---- */

static uint8_t run_any_of(const uint8_t *mask, uint32_t count)
{
    uint8_t any = 0;
    for (uint32_t i = 0; i < count; i++)
        any |= mask[i];
    return any;
}

bool run_any(const struct eval_run *run, const uint8_t *mask)
{
    return memchr(mask, 1, run->frame.count[FRAME_SPAN]) != NULL;
}

/* Marks traces that have a span in mask; returns how many.  A trace is left at its first span. */
static uint32_t run_mark_traces(const struct frame *frame, const uint8_t *mask, uint8_t *wanted)
{
    uint32_t spans = frame->count[FRAME_SPAN], marked = 0, trace = 0;
    for (uint32_t i = 0; i < spans;) {
        uint64_t word = 0;
        memcpy(&word, mask + i, FM_MIN(spans - i, (uint32_t)sizeof word));
        if (!word) {
            i += sizeof word;
            continue;
        }
        while (!mask[i])
            i++;
        while (frame->trace_spans[trace + 1] <= i)
            trace++;
        wanted[trace] = 1;
        marked++;
        i = frame->trace_spans[trace + 1];
    }
    return marked;
}

int run_wanted(struct eval_run *run, const uint8_t *mask, const uint8_t **ret_wanted)
{
    const struct frame *frame = &run->frame;
    uint32_t count = frame->count[FRAME_TRACE];
    if (!memchr(mask, 0, frame->count[FRAME_SPAN])) {
        *ret_wanted = NULL;
        return count ? FM_OK : FM_NONE;
    }
    uint8_t *wanted = run_alloc(run, count, 1);
    if (!wanted)
        return run->rc;
    memset(wanted, 0, count);
    uint32_t wanted_count = run_mark_traces(frame, mask, wanted);
    if (!wanted_count)
        return FM_NONE;
    *ret_wanted = wanted_count == count ? NULL : wanted;
    return FM_OK;
}

/* ---- vectors ---- */

/* Whether what was loaded for one choice of traces will do for another. */
static bool run_covers(const uint8_t *loaded, const uint8_t *wanted, uint32_t count)
{
    uint8_t missing = 0;
    if (!loaded)
        return true;
    if (!wanted)
        return false;
    for (uint32_t t = 0; t < count; t++)
        missing |= wanted[t] & (uint8_t)(loaded[t] ^ 1);
    return !missing;
}

/* Where a source does not store it: a span is a child of the one whose left number is its parent's.
 */
static int run_count_children(struct eval_run *run, const uint8_t *wanted,
                              struct frame_vector *vector, struct fm_why *why)
{
    const struct frame *frame = &run->frame;
    struct traceql_field field = {.intrinsic = TRACEQL_NESTED_LEFT};
    const struct frame_vector *loaded;
    const int64_t *left, *parent;
    int rc = run_load(run, plan_find(run->plan, &field), wanted, &loaded, why);
    if (!rc)
        rc = run_integers(run, loaded, &left);
    field.intrinsic = TRACEQL_NESTED_PARENT;
    if (!rc)
        rc = run_load(run, plan_find(run->plan, &field), wanted, &loaded, why);
    if (!rc)
        rc = run_integers(run, loaded, &parent);
    if (rc)
        return rc;
    uint32_t spans = frame->count[FRAME_SPAN];
    int64_t *children = run_alloc(run, spans, sizeof *children);
    uint32_t *by_left = run_alloc(run, 2 * (size_t)spans + 2, sizeof *by_left);
    if (!children || !by_left)
        return run->rc;
    for (uint32_t t = 0; t < frame->count[FRAME_TRACE]; t++) {
        uint32_t first = frame->trace_spans[t], end = frame->trace_spans[t + 1];
        int64_t positions = 2 * (int64_t)(end - first) + 2;
        memset(by_left, 0, (size_t)positions * sizeof *by_left);
        for (uint32_t i = first; i < end; i++)
            if (parent[i] > 0 && parent[i] < positions)
                by_left[parent[i]]++;
        for (uint32_t i = first; i < end; i++)
            children[i] = left[i] > 0 && left[i] < positions ? by_left[left[i]] : 0;
    }
    *vector = (struct frame_vector){.shape = FRAME_INTEGERS,
                                    .domain = FRAME_SPAN,
                                    .type = TRACEQL_INT,
                                    .count = spans,
                                    .integers = children};
    return FM_OK;
}

int run_load(struct eval_run *run, uint32_t field, const uint8_t *wanted,
             const struct frame_vector **ret_vector, struct fm_why *why)
{
    struct eval_slot *slot = &run->slots[field];
    uint32_t count = run->frame.count[FRAME_TRACE];
    if (slot->loaded && run_covers(slot->wanted, wanted, count)) {
        *ret_vector = &slot->vector;
        return FM_OK;
    }
    uint8_t *copy = NULL;
    if (wanted) {
        copy = run_alloc(run, count, 1);
        if (!copy)
            return run->rc;
        for (uint32_t t = 0; t < count; t++)
            copy[t] = wanted[t] | (slot->loaded && slot->wanted[t]);
    }
    slot->loaded = false;
    int rc = frame_vector(run->source, field, copy, &slot->vector, why);
    if (!rc && slot->vector.shape == FRAME_ABSENT &&
        run->plan->fields[field].intrinsic == TRACEQL_CHILD_COUNT)
        rc = run_count_children(run, copy, &slot->vector, why);
    if (rc)
        return rc;
    slot->loaded = true;
    slot->wanted = copy;
    *ret_vector = &slot->vector;
    return FM_OK;
}

int run_load_ref(struct eval_run *run, const struct eval_ref *ref, const uint8_t *wanted,
                 struct fm_why *why)
{
    const struct frame_vector *vector;
    int rc = run_load(run, ref->index, wanted, &vector, why);
    if (!rc && ref->second != EVAL_NONE)
        rc = run_load(run, ref->second, wanted, &vector, why);
    return rc;
}

struct traceql_value run_entry_value(const struct eval_run *run, uint32_t field, uint32_t entry)
{
    const struct frame_vector *vector = &run->slots[field].vector;
    struct traceql_value value = {.type = TRACEQL_NIL};
    if (vector->shape == FRAME_CODES)
        value = vector->values->values[vector->codes[entry]];
    else if (vector->shape == FRAME_INTEGERS)
        value = (struct traceql_value){.type = vector->type, .integer = vector->integers[entry]};
    return value_of_intrinsic(run->plan->fields[field].intrinsic, value);
}

struct traceql_value run_ref_value(struct eval_run *run, const struct eval_ref *ref, uint32_t span,
                                   uint32_t event, uint32_t link)
{
    const struct frame *frame = &run->frame;
    const uint32_t *starts = NULL, *traces;
    struct traceql_value value = {.type = TRACEQL_NIL};
    uint32_t given = EVAL_NONE;
    switch (ref->domain) {
    case FRAME_TRACE:
        traces = run_span_traces(run);
        return traces ? run_entry_value(run, ref->index, traces[span]) : value;
    case FRAME_RESOURCE:
        return run_entry_value(run, ref->index, frame->span_resources[span]);
    case FRAME_SCOPE:
        return run_entry_value(run, ref->index, frame->span_scopes[span]);
    case FRAME_SPAN:
        value = run_entry_value(run, ref->index, span);
        if (value.type == TRACEQL_NIL && ref->second != EVAL_NONE)
            value = run_entry_value(run, ref->second, frame->span_resources[span]);
        return value;
    case FRAME_EVENT:
        starts = frame->span_events;
        given = event;
        break;
    case FRAME_LINK:
        starts = frame->span_links;
        given = link;
        break;
    }
    if (given != EVAL_NONE)
        return run_entry_value(run, ref->index, given);
    for (uint32_t i = starts ? starts[span] : 0; starts && i < starts[span + 1]; i++) {
        value = run_entry_value(run, ref->index, i);
        if (value.type != TRACEQL_NIL)
            break;
    }
    return value;
}

int run_integers(struct eval_run *run, const struct frame_vector *vector,
                 const int64_t **ret_integers)
{
    if (vector->shape == FRAME_INTEGERS) {
        *ret_integers = vector->integers;
        return FM_OK;
    }
    int64_t *integers = run_alloc(run, vector->count, sizeof *integers);
    if (!integers)
        return run->rc;
    memset(integers, 0, vector->count * sizeof *integers);
    for (uint32_t i = 0; vector->shape == FRAME_CODES && i < vector->count; i++) {
        const struct traceql_value *value = &vector->values->values[vector->codes[i]];
        if (value->type == TRACEQL_INT || value->type == TRACEQL_DURATION)
            integers[i] = value->integer;
    }
    *ret_integers = integers;
    return FM_OK;
}

/* ---- the window ---- */

static bool run_is_bounded(const struct eval_limits *limits)
{
    return limits->start_ns > 0 || (limits->end_ns > 0 && limits->end_ns < INT64_MAX);
}

static uint64_t run_end_ns(const struct eval_limits *limits)
{
    return limits->end_ns ? limits->end_ns : UINT64_MAX;
}

/* The first id that is not before id. */
static size_t ids_lower(const struct trace_id *ids, size_t count, const struct trace_id *id)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (memcmp(&ids[middle], id, sizeof *id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Blocks have their traces in order, so that the list is mostly walked beside them; *at is where.
 */
static bool ids_next_is(const struct trace_id *ids, size_t count, const struct trace_id *id,
                        size_t *at)
{
    unsigned steps = 0;
    if (*at && memcmp(&ids[*at - 1], id, sizeof *id) >= 0)
        *at = ids_lower(ids, count, id);
    while (*at < count && memcmp(&ids[*at], id, sizeof *id) < 0) {
        if (++steps < 16)
            ++*at;
        else
            *at += ids_lower(ids + *at, count - *at, id);
    }
    return *at < count && trace_id_equal(&ids[*at], id);
}

static void run_drop_trace(const struct eval_run *run, uint32_t trace, uint8_t *mask)
{
    const uint32_t *spans = run->frame.trace_spans;
    memset(mask + spans[trace], 0, spans[trace + 1] - spans[trace]);
}

static void run_exclude(struct eval_run *run, uint8_t *mask)
{
    const struct frame *frame = &run->frame;
    for (uint32_t t = 0; t < frame->count[FRAME_TRACE]; t++) {
        if (ids_next_is(run->limits.excluded, run->limits.excluded_count, &frame->trace_ids[t],
                        &run->excluded_at))
            run_drop_trace(run, t, mask);
    }
}

static int run_find_partial(struct eval_run *run, uint8_t *mask)
{
    const struct frame *frame = &run->frame;
    uint8_t *partial = run_alloc(run, frame->count[FRAME_TRACE], 1);
    if (!partial)
        return run->rc;
    for (uint32_t t = 0; t < frame->count[FRAME_TRACE]; t++) {
        partial[t] = ids_next_is(run->limits.partial, run->limits.partial_count,
                                 &frame->trace_ids[t], &run->partial_at);
        if (run->limits.only_partial && !partial[t])
            run_drop_trace(run, t, mask);
    }
    run->partial = partial;
    return FM_OK;
}

static int run_window_traces(struct eval_run *run, uint8_t *mask, struct fm_why *why)
{
    const struct frame *frame = &run->frame;
    const struct frame_vector *vector;
    const int64_t *starts, *durations = NULL;
    const uint8_t *wanted;
    int rc = run_wanted(run, mask, &wanted);
    if (rc || run->trace_start_field == EVAL_NONE)
        return rc == FM_NONE ? FM_OK : rc;
    rc = run_load(run, run->trace_start_field, wanted, &vector, why);
    if (!rc)
        rc = run_integers(run, vector, &starts);
    if (!rc && run->trace_duration_field != EVAL_NONE) {
        rc = run_load(run, run->trace_duration_field, wanted, &vector, why);
        if (!rc)
            rc = run_integers(run, vector, &durations);
    }
    if (rc)
        return rc;
    for (uint32_t t = 0; t < frame->count[FRAME_TRACE]; t++) {
        uint64_t start = (uint64_t)starts[t];
        uint64_t end = start + (durations && durations[t] > 0 ? (uint64_t)durations[t] : 0);
        bool is_outside = start > run_end_ns(&run->limits) || end < run->limits.start_ns;
        if (is_outside && !(run->partial && run->partial[t]))
            run_drop_trace(run, t, mask);
    }
    return FM_OK;
}

static int run_above_floor(struct eval_run *run, uint8_t *mask, struct fm_why *why)
{
    const struct frame *frame = &run->frame;
    const struct frame_vector *vector;
    const int64_t *starts;
    const uint8_t *wanted;
    int rc = run_wanted(run, mask, &wanted);
    if (rc)
        return rc == FM_NONE ? FM_OK : rc;
    rc = run_load(run, run->trace_start_field, wanted, &vector, why);
    if (!rc)
        rc = run_integers(run, vector, &starts);
    for (uint32_t t = 0; !rc && t < frame->count[FRAME_TRACE]; t++)
        if ((uint64_t)starts[t] < run->floor_ns &&
            !run->keeps(run->keeps_self, &frame->trace_ids[t]))
            run_drop_trace(run, t, mask);
    return rc;
}

static int run_window_spans(struct eval_run *run, uint8_t *mask, struct fm_why *why)
{
    const struct frame_vector *vector;
    const int64_t *starts;
    const uint8_t *wanted;
    uint64_t first = run->limits.start_ns, width = run_end_ns(&run->limits) - first;
    int rc = run_wanted(run, mask, &wanted);
    if (rc || run->start_field == EVAL_NONE)
        return rc == FM_NONE ? FM_OK : rc;
    if (run_end_ns(&run->limits) < first) {
        memset(mask, 0, run->frame.count[FRAME_SPAN]);
        return FM_OK;
    }
    rc = run_load(run, run->start_field, wanted, &vector, why);
    if (!rc)
        rc = run_integers(run, vector, &starts);
    for (uint32_t i = 0; !rc && i < run->frame.count[FRAME_SPAN]; i++)
        mask[i] &= (uint64_t)starts[i] - first <= width;
    return rc;
}

/* Spans of a trace that has one in the mask, for what looks at whole traces. */
static void run_widen(struct eval_run *run, const uint8_t *window, uint8_t *mask)
{
    const struct frame *frame = &run->frame;
    for (uint32_t t = 0; t < frame->count[FRAME_TRACE]; t++) {
        uint32_t first = frame->trace_spans[t], count = frame->trace_spans[t + 1] - first;
        memset(mask + first, run_any_of(window + first, count), count);
    }
}

/* ---- frames ---- */

static int run_pipeline(struct eval_run *run, uint8_t *window, struct fm_why *why)
{
    struct eval_state *state = &run->state;
    uint32_t count = run->frame.count[FRAME_SPAN];
    bool whole = run->limits.by_span && !run->plan->only_filters;
    if (whole)
        run_widen(run, window, state->mask);
    else
        memcpy(state->mask, window, count);
    int rc = stage_run(run, run->plan->first, state, why);
    for (uint32_t i = 0; whole && i < count; i++)
        state->mask[i] &= window[i];
    return rc;
}

static int run_frame(struct eval_run *run, struct fm_why *why)
{
    const struct frame *frame = &run->frame;
    uint32_t count = frame->count[FRAME_SPAN];
    uint8_t *window = run_mask_take(run);
    run->state =
        (struct eval_state){.mask = run_mask_take(run), .set_count = frame->count[FRAME_TRACE]};
    if (!window || !run->state.mask)
        return run->rc;
    memset(window, 1, count);
    memset(run->state.mask, 0, count);
    if (run->limits.excluded_count)
        run_exclude(run, window);
    int rc = run->limits.partial_count ? run_find_partial(run, window) : FM_OK;
    if (!rc && run_is_bounded(&run->limits) && !run->limits.only_partial)
        rc = run->limits.by_span ? run_window_spans(run, window, why)
                                 : run_window_traces(run, window, why);
    if (!rc && run->floor_ns)
        rc = run_above_floor(run, window, why);
    if (!rc && run_any(run, window))
        rc = run_pipeline(run, window, why);
    return rc;
}

int eval_run_next(struct eval_run *run, const struct frame **ret_frame, const uint8_t **ret_mask,
                  struct fm_why *why)
{
    for (;;) {
        if (run->limits.cancelled && atomic_load(run->limits.cancelled))
            return fm_fail(why, FM_ECANCELLED, "cancelled");
        fm_arena_reset(&run->arena);
        run->span_traces = NULL;
        run->partial = NULL;
        run->spare_masks = NULL;
        run->sets = NULL;
        run->state = (struct eval_state){0};
        for (uint32_t i = 0; i < run->plan->field_count; i++)
            run->slots[i] = (struct eval_slot){0};
        run->gate.floor_ns = run->floor_ns;
        run->source->gate = &run->gate;
        int rc = frame_next(run->source, &run->frame, why);
        run->source->gate = NULL;
        if (rc)
            return rc;
        rc = run_frame(run, why);
        if (rc == FM_ELIMIT && run->rc == FM_ELIMIT)
            return fm_fail(why, rc, "the query needs more memory than it may use");
        if (rc)
            return rc;
        if (run_any(run, run->state.mask)) {
            *ret_frame = &run->frame;
            *ret_mask = run->state.mask;
            return FM_OK;
        }
    }
}

int eval_run_vector(struct eval_run *run, uint32_t field, const struct frame_vector **ret_vector,
                    struct fm_why *why)
{
    const uint8_t *wanted;
    int rc = run_wanted(run, run->state.mask, &wanted);
    if (rc < 0)
        return rc;
    rc = run_load(run, field, rc == FM_NONE ? NULL : wanted, ret_vector, why);
    if (!rc)
        run->slots[field].serves_all = true;
    return rc;
}

int eval_run_value(struct eval_run *run, const struct traceql_field *field, uint32_t span,
                   struct traceql_value *ret_value, struct fm_why *why)
{
    struct traceql_field scoped = *field;
    struct eval_ref ref = {.second = EVAL_NONE, .intrinsic = field->intrinsic};
    const struct frame_vector *vector;
    if (field->intrinsic == TRACEQL_ATTRIBUTE && field->scope == TRACEQL_ANY_SCOPE) {
        scoped.scope = TRACEQL_RESOURCE;
        ref.second = plan_find(run->plan, &scoped);
        scoped.scope = TRACEQL_SPAN;
    }
    ref.index = plan_find(run->plan, &scoped);
    ref.domain = frame_field_domain(&scoped);
    if (ref.index == EVAL_NONE || (scoped.scope != field->scope && ref.second == EVAL_NONE))
        return fm_fail(why, FM_EUSAGE, "a field that is not in the plan");
    int rc = FM_OK;
    if (!run->slots[ref.index].serves_all)
        rc = eval_run_vector(run, ref.index, &vector, why);
    if (!rc && ref.second != EVAL_NONE && !run->slots[ref.second].serves_all)
        rc = eval_run_vector(run, ref.second, &vector, why);
    if (rc)
        return rc;
    *ret_value = run_ref_value(run, &ref, span, EVAL_NONE, EVAL_NONE);
    return FM_OK;
}
