/* SPDX-License-Identifier: Apache-2.0 */
/* The hot path: what came through the pipeline of a frame, as additions to arrays.
 *
 * Column by column: first which spans and which step, then per field of by() the number of the
 * value (looked up once per code, not per span), then the group, then the measured value, and last
 * one addition per span. */
#include "internal.h"

#include <math.h>

/* ---- survivors ---- */

int series_scratch_reserve(struct series *series, uint32_t count)
{
    struct series_scratch *scratch = &series->scratch;
    size_t words = sizeof(uint32_t) * (size_t)count;
    uint32_t **arrays[] = {&scratch->spans,  &scratch->steps,  &scratch->entries,
                           &scratch->groups, &scratch->ids[0], &scratch->ids[1],
                           &scratch->ids[2], &scratch->ids[3], &scratch->ids[4]};

    if (count <= scratch->capacity)
        return FM_OK;
    scratch->capacity = 0;
    fm_arena_fini(&scratch->arena);
    if (series_room(series) / SERIES_SCRATCH_BYTES < count)
        return fm_fail(series->why, FM_ELIMIT, "the metrics query needs more than %zu bytes",
                       series->limits.memory_max);
    fm_arena_init(&scratch->arena, SIZE_MAX);
    for (size_t i = 0; i < FM_COUNT(arrays); i++)
        *arrays[i] = i < FM_COUNT(arrays) - SERIES_BY_MAX + FM_MAX(series->by_count, 1u)
                         ? fm_arena_alloc(&scratch->arena, words)
                         : NULL;
    scratch->measures = fm_arena_alloc(&scratch->arena, sizeof(double) * (size_t)count);
    scratch->buckets = fm_arena_alloc(&scratch->arena, count);
    scratch->populations = fm_arena_alloc(&scratch->arena, count);
    if (fm_arena_failed(&scratch->arena))
        return fm_fail(series->why, FM_ENOMEM, "out of memory");
    scratch->capacity = count;
    return FM_OK;
}

int series_survivors(struct series *series, struct eval_run *run, const struct frame *frame,
                     const uint8_t *mask, struct fm_why *why)
{
    struct series_scratch *scratch = &series->scratch;
    uint32_t span_count = frame->count[FRAME_SPAN], count = 0;
    const struct frame_vector *starts;
    int rc = series_scratch_reserve(series, span_count);

    scratch->count = 0;
    if (rc == FM_OK)
        rc = eval_run_vector(run, series->start_field, &starts, why);
    if (rc < 0)
        return rc;
    if (starts->shape != FRAME_INTEGERS)
        return FM_OK;
    uint64_t first_ns = series->limits.start_ns, width_ns = series->limits.end_ns - first_ns;
    uint64_t step_at = 0, step_ns = 0; /* of the span before: most are in the same */
    uint32_t step = 0;
    for (uint32_t i = 0; i < span_count; i++) {
        uint64_t start_ns = (uint64_t)starts->integers[i];
        bool inside = mask[i] & (start_ns - first_ns <= width_ns);
        if (inside && start_ns - step_at >= step_ns) {
            step = series_step_of(series, start_ns);
            step_ns = series->step_count == 1 ? 0 : series->step_ns;
            step_at = series->start_ns + 1 + step * step_ns;
        }
        scratch->spans[count] = i;
        scratch->steps[count] = step;
        count += inside;
    }
    scratch->count = count;
    return FM_OK;
}

static void series_entries_of_traces(struct series_scratch *scratch, const struct frame *frame)
{
    uint32_t trace = 0;

    for (uint32_t i = 0; i < scratch->count; i++) {
        while (frame->trace_spans[trace + 1] <= scratch->spans[i])
            trace++;
        scratch->entries[i] = trace;
    }
}

/* The first event or link of each span. */
static void series_entries_of_children(struct series_scratch *scratch, const uint32_t *children)
{
    for (uint32_t i = 0; i < scratch->count; i++) {
        uint32_t span = scratch->spans[i];
        bool has = children && children[span] < children[span + 1];
        scratch->entries[i] = has ? children[span] : SERIES_NONE;
    }
}

const uint32_t *series_entries(struct series *series, const struct frame *frame,
                               enum frame_domain domain)
{
    struct series_scratch *scratch = &series->scratch;
    const uint32_t *owners = domain == FRAME_RESOURCE ? frame->span_resources : frame->span_scopes;

    switch (domain) {
    case FRAME_SPAN:
        return scratch->spans;
    case FRAME_TRACE:
        series_entries_of_traces(scratch, frame);
        break;
    case FRAME_EVENT:
        series_entries_of_children(scratch, frame->span_events);
        break;
    case FRAME_LINK:
        series_entries_of_children(scratch, frame->span_links);
        break;
    default:
        for (uint32_t i = 0; i < scratch->count; i++)
            scratch->entries[i] = owners[scratch->spans[i]];
    }
    return scratch->entries;
}

/* ---- columns ---- */

void series_column_init(struct series_column *column, uint32_t field)
{
    *column = (struct series_column){.field = field};
    memset(column->small, 0xff, sizeof column->small);
}

static int series_lookup_want(struct series_lookup *lookup, struct eval_plan *plan,
                              const struct traceql_field *field)
{
    uint32_t index;
    int rc = eval_plan_want(plan, field, &index);

    if (rc < 0)
        return rc;
    series_column_init(&lookup->columns[lookup->column_count++], index);
    return FM_OK;
}

int series_lookup_init(struct series_lookup *lookup, struct eval_plan *plan,
                       const struct traceql_field *field)
{
    struct traceql_field scoped = *field;
    int rc;

    lookup->column_count = 0;
    if (field->intrinsic != TRACEQL_ATTRIBUTE || field->scope != TRACEQL_ANY_SCOPE)
        return series_lookup_want(lookup, plan, field);
    scoped.scope = TRACEQL_SPAN;
    if ((rc = series_lookup_want(lookup, plan, &scoped)) < 0)
        return rc;
    scoped.scope = TRACEQL_RESOURCE;
    return series_lookup_want(lookup, plan, &scoped);
}

static uint8_t series_log2_bucket(int64_t value)
{
    return value < 2 ? 0 : (uint8_t)(64 - __builtin_clzll((uint64_t)value - 1));
}

/* What a value adds to a measure, and its bucket. */
static double series_measure(const struct traceql_value *value, uint8_t *ret_bucket)
{
    *ret_bucket = 0;
    if (value->type == TRACEQL_FLOAT)
        return value->number;
    if (value->type != TRACEQL_INT && value->type != TRACEQL_DURATION)
        return NAN;
    *ret_bucket = series_log2_bucket(value->integer);
    return (double)value->integer;
}

/* Room for what is known about every code of a table; another table makes it unknown again. */
static int series_column_reserve(struct series *series, struct series_column *column,
                                 const struct frame_values *values)
{
    struct series_column grown = *column;
    uint32_t wanted;
    int rc;

    if (column->serial == values->serial && values->count <= column->known_count)
        return FM_OK;
    if (values->count > column->known_count) {
        wanted = FM_MAX(values->count, 2 * column->known_count);
        if ((rc = series_alloc(series, sizeof *grown.known * wanted, &grown.known)) < 0 ||
            (rc = series_alloc(series, sizeof *grown.measures * wanted, &grown.measures)) < 0 ||
            (rc = series_alloc(series, wanted, &grown.buckets)) < 0)
            return rc;
        grown.known_count = wanted;
    }
    memset(grown.known, 0xff, sizeof *grown.known * grown.known_count);
    grown.serial = values->serial;
    *column = grown;
    return FM_OK;
}

static int series_column_codes(struct series *series, struct series_column *column,
                               const struct frame_vector *vector, const uint32_t *entries,
                               bool only_nil, uint32_t *ids)
{
    uint32_t count = series->scratch.count;
    int rc = series_column_reserve(series, column, vector->values);

    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < count; i++) {
        if (only_nil && ids[i] != SERIES_NIL_ID)
            continue;
        uint32_t code = entries[i] == SERIES_NONE ? 0 : vector->codes[entries[i]];
        uint32_t *known = &column->known[code];
        if (FM_UNLIKELY(*known == SERIES_NONE) &&
            (rc = series_value_id(series, &vector->values->values[code], known)) < 0)
            return rc;
        ids[i] = *known;
    }
    return FM_OK;
}

static int series_column_integers(struct series *series, struct series_column *column,
                                  const struct frame_vector *vector, const uint32_t *entries,
                                  bool only_nil, uint32_t *ids)
{
    uint32_t count = series->scratch.count;
    int rc;

    if (column->small_type != vector->type)
        memset(column->small, 0xff, sizeof column->small);
    column->small_type = vector->type;
    for (uint32_t i = 0; i < count; i++) {
        if (only_nil && ids[i] != SERIES_NIL_ID)
            continue;
        if (entries[i] == SERIES_NONE) {
            ids[i] = SERIES_NIL_ID;
            continue;
        }
        struct traceql_value value = {.type = vector->type,
                                      .integer = vector->integers[entries[i]]};
        bool is_small = (uint64_t)value.integer < SERIES_SMALL_MAX;
        uint32_t *small = &column->small[is_small ? value.integer : 0];
        if (is_small && *small != SERIES_NONE) {
            ids[i] = *small;
            continue;
        }
        if ((rc = series_value_id(series, &value, &ids[i])) < 0)
            return rc;
        if (is_small)
            *small = ids[i];
    }
    return FM_OK;
}

int series_column_ids(struct series *series, struct series_column *column,
                      const struct frame_vector *vector, const uint32_t *entries, bool only_nil,
                      uint32_t *ids)
{
    if (vector->shape == FRAME_CODES)
        return series_column_codes(series, column, vector, entries, only_nil, ids);
    if (vector->shape == FRAME_INTEGERS)
        return series_column_integers(series, column, vector, entries, only_nil, ids);
    if (!only_nil)
        memset(ids, 0, sizeof *ids * series->scratch.count); /* SERIES_NIL_ID */
    return FM_OK;
}

static int series_lookup_ids(struct series *series, struct series_lookup *lookup,
                             struct eval_run *run, const struct frame *frame, uint32_t *ids,
                             struct fm_why *why)
{
    const struct frame_vector *vector;
    int rc = FM_OK;

    for (uint32_t i = 0; rc == FM_OK && i < lookup->column_count; i++) {
        struct series_column *column = &lookup->columns[i];
        if ((rc = eval_run_vector(run, column->field, &vector, why)) < 0)
            break;
        rc = series_column_ids(series, column, vector,
                               series_entries(series, frame, vector->domain), i > 0, ids);
    }
    return rc;
}

/* ---- groups ---- */

static int series_group_new(struct series *series, const uint32_t *key, uint32_t *ret_group)
{
    struct series_group group = {0};
    int rc;

    if (series->group_count >= series->options.series_max) {
        series->partial = true;
        *ret_group = SERIES_DROPPED;
        return FM_OK;
    }
    rc = series_grow(series, &series->groups, series->group_count, &series->group_capacity,
                     sizeof group);
    if (rc == FM_OK && series->by_count)
        rc = series_alloc(series, sizeof *key * series->by_count, &group.key);
    switch (series->query->metrics) {
    case TRACEQL_RATE:
    case TRACEQL_COUNT_OVER_TIME:
        rc = rc < 0 ? rc : series_steps(series, 0, &group.values);
        break;
    case TRACEQL_QUANTILE_OVER_TIME:
    case TRACEQL_HISTOGRAM_OVER_TIME:
        if (rc == FM_OK)
            rc = series_alloc(series, sizeof *group.buckets * SERIES_BUCKETS, &group.buckets);
        break;
    case TRACEQL_AVG_OVER_TIME:
        rc = rc < 0 ? rc : series_steps(series, 0, &group.counts);
        rc = rc < 0 ? rc : series_steps(series, 0, &group.values);
        break;
    default:
        rc = rc < 0 ? rc : series_steps(series, NAN, &group.values);
    }
    if (rc < 0)
        return rc;
    if (series->by_count)
        memcpy(group.key, key, sizeof *key * series->by_count);
    series->groups[series->group_count] = group;
    *ret_group = series->group_count++;
    return FM_OK;
}

/* By one field: an array by the number of the value. */
static int series_group_single(struct series *series, const uint32_t *key, uint32_t *ret_group)
{
    uint32_t old = series->group_of_capacity;
    int rc;

    while (series->group_of_capacity <= key[0]) {
        rc = series_grow(series, &series->group_of, series->group_of_capacity,
                         &series->group_of_capacity, sizeof *series->group_of);
        if (rc < 0)
            return rc;
    }
    for (uint32_t i = old; i < series->group_of_capacity; i++)
        series->group_of[i] = SERIES_NONE;
    if (series->group_of[key[0]] == SERIES_NONE &&
        (rc = series_group_new(series, key, &series->group_of[key[0]])) < 0)
        return rc;
    *ret_group = series->group_of[key[0]];
    return FM_OK;
}

int series_group(struct series *series, const uint32_t *key, uint32_t *ret_group)
{
    uint32_t prefix = series->by_count ? key[0] : 0;
    uint32_t *number;
    int rc;

    if (series->by_count == 1)
        return series_group_single(series, key, ret_group);
    if (series->by_count == 0) {
        *ret_group = 0;
        return series->group_count ? FM_OK : series_group_new(series, key, ret_group);
    }
    for (uint32_t i = 1; i < series->by_count; i++) {
        if ((rc = series_pair(series, i, prefix, key[i], &number)) < 0)
            return rc;
        if (*number == SERIES_NONE && i + 1 < series->by_count)
            *number = series->pairs.count;
        else if (*number == SERIES_NONE && (rc = series_group_new(series, key, number)) < 0)
            return rc;
        prefix = *number;
    }
    *ret_group = prefix;
    return FM_OK;
}

static bool series_key_changes(const struct series *series, uint32_t at, uint32_t *key)
{
    uint32_t first = series->scratch.ids[0][at];
    bool changed = at == 0 || first != key[0];

    key[0] = first;
    for (uint32_t i = 1; i < series->by_count; i++) {
        uint32_t id = series->scratch.ids[i][at];
        changed |= id != key[i];
        key[i] = id;
    }
    return changed;
}

static int series_assign_groups(struct series *series, struct eval_run *run,
                                const struct frame *frame, struct fm_why *why)
{
    struct series_scratch *scratch = &series->scratch;
    uint32_t key[SERIES_BY_MAX] = {0}, group = 0;
    int rc;

    for (uint32_t i = 0; i < series->by_count; i++) {
        rc = series_lookup_ids(series, &series->by[i], run, frame, scratch->ids[i], why);
        if (rc < 0)
            return rc;
    }
    if (!series->by_count) {
        memset(scratch->groups, 0, sizeof *scratch->groups * scratch->count);
        return series_group(series, key, &group);
    }
    for (uint32_t i = 0; i < scratch->count; i++) {
        /* Spans of a resource stand together, so groups come in runs. */
        if (series_key_changes(series, i, key) && (rc = series_group(series, key, &group)) < 0)
            return rc;
        scratch->groups[i] = group;
    }
    return FM_OK;
}

/* ---- measures ---- */

static int series_measure_codes(struct series *series, struct series_column *column,
                                const struct frame_vector *vector, const uint32_t *entries,
                                bool only_nan)
{
    struct series_scratch *scratch = &series->scratch;
    int rc = series_column_reserve(series, column, vector->values);

    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < scratch->count; i++) {
        if (only_nan && !isnan(scratch->measures[i]))
            continue;
        uint32_t code = entries[i] == SERIES_NONE ? 0 : vector->codes[entries[i]];
        if (FM_UNLIKELY(column->known[code] == SERIES_NONE)) {
            column->measures[code] =
                series_measure(&vector->values->values[code], &column->buckets[code]);
            column->known[code] = 0; /* only that it is known */
        }
        scratch->measures[i] = column->measures[code];
        scratch->buckets[i] = column->buckets[code];
    }
    return FM_OK;
}

static void series_measure_integers(struct series *series, const struct frame_vector *vector,
                                    const uint32_t *entries, bool only_nan)
{
    struct series_scratch *scratch = &series->scratch;
    bool is_number = vector->type == TRACEQL_INT || vector->type == TRACEQL_DURATION;

    for (uint32_t i = 0; i < scratch->count; i++) {
        if (only_nan && !isnan(scratch->measures[i]))
            continue;
        bool has = is_number && entries[i] != SERIES_NONE;
        int64_t value = has ? vector->integers[entries[i]] : 0;
        scratch->measures[i] = has ? (double)value : NAN;
        scratch->buckets[i] = series_log2_bucket(value);
    }
}

static int series_measure_all(struct series *series, struct eval_run *run,
                              const struct frame *frame, struct fm_why *why)
{
    struct series_scratch *scratch = &series->scratch;
    const struct frame_vector *vector;
    int rc = FM_OK;

    for (uint32_t i = 0; i < scratch->count; i++)
        scratch->measures[i] = NAN;
    memset(scratch->buckets, 0, scratch->count);
    for (uint32_t i = 0; rc == FM_OK && i < series->of.column_count; i++) {
        struct series_column *column = &series->of.columns[i];
        if ((rc = eval_run_vector(run, column->field, &vector, why)) < 0)
            break;
        const uint32_t *entries = series_entries(series, frame, vector->domain);
        if (vector->shape == FRAME_INTEGERS)
            series_measure_integers(series, vector, entries, i > 0);
        else if (vector->shape == FRAME_CODES)
            rc = series_measure_codes(series, column, vector, entries, i > 0);
    }
    return rc;
}

/* ---- additions ---- */

static void series_count(struct series *series)
{
    const struct series_scratch *scratch = &series->scratch;
    const struct series_group *groups = series->groups;

    for (uint32_t i = 0, next; i < scratch->count; i = next) {
        uint32_t group = scratch->groups[i], step = scratch->steps[i];
        next = i + 1; /* spans of a resource stand together and are of one time */
        while (next < scratch->count && scratch->groups[next] == group &&
               scratch->steps[next] == step)
            next++;
        if (FM_LIKELY(group != SERIES_DROPPED))
            groups[group].values[step] += next - i;
    }
}

static void series_extreme(struct series *series, double sign)
{
    const struct series_scratch *scratch = &series->scratch;

    for (uint32_t i = 0; i < scratch->count; i++) {
        double measure = scratch->measures[i];
        if (isnan(measure) || scratch->groups[i] == SERIES_DROPPED)
            continue;
        double *best = &series->groups[scratch->groups[i]].values[scratch->steps[i]];
        if (isnan(*best) || sign * measure > sign * *best)
            *best = measure;
    }
}

static void series_sum(struct series *series)
{
    const struct series_scratch *scratch = &series->scratch;

    for (uint32_t i = 0; i < scratch->count; i++) {
        double measure = scratch->measures[i];
        if (isnan(measure) || scratch->groups[i] == SERIES_DROPPED)
            continue;
        const struct series_group *group = &series->groups[scratch->groups[i]];
        double *sum = &group->values[scratch->steps[i]];
        *sum = isnan(*sum) ? measure : *sum + measure;
        if (group->counts)
            group->counts[scratch->steps[i]] += 1;
    }
}

int series_bucket(struct series *series, struct series_group *group, uint8_t bucket,
                  double **ret_counts)
{
    int rc = group->buckets[bucket] ? FM_OK : series_steps(series, 0, &group->buckets[bucket]);

    if (rc < 0)
        return rc;
    *ret_counts = group->buckets[bucket];
    return FM_OK;
}

static int series_distribute(struct series *series)
{
    const struct series_scratch *scratch = &series->scratch;
    double *counts;
    int rc;

    for (uint32_t i = 0; i < scratch->count; i++) {
        if (!scratch->buckets[i] || scratch->groups[i] == SERIES_DROPPED)
            continue;
        rc = series_bucket(series, &series->groups[scratch->groups[i]], scratch->buckets[i],
                           &counts);
        if (rc < 0)
            return rc;
        counts[scratch->steps[i]] += 1;
    }
    return FM_OK;
}

static int series_accumulate(struct series *series)
{
    switch (series->query->metrics) {
    case TRACEQL_RATE:
    case TRACEQL_COUNT_OVER_TIME:
        series_count(series);
        break;
    case TRACEQL_MIN_OVER_TIME:
        series_extreme(series, -1);
        break;
    case TRACEQL_MAX_OVER_TIME:
        series_extreme(series, 1);
        break;
    case TRACEQL_QUANTILE_OVER_TIME:
    case TRACEQL_HISTOGRAM_OVER_TIME:
        return series_distribute(series);
    default:
        series_sum(series);
    }
    return FM_OK;
}

int series_observe(struct series *series, struct eval_run *run, const struct frame *frame,
                   const uint8_t *mask, struct fm_why *why)
{
    int rc = series_survivors(series, run, frame, mask, why);

    if (rc < 0 || !series->scratch.count)
        return rc;
    rc = series_assign_groups(series, run, frame, why);
    if (rc == FM_OK && series->has_of)
        rc = series_measure_all(series, run, frame, why);
    if (rc == FM_OK)
        rc = series_accumulate(series);
    if (rc == FM_OK && series->pick_buckets)
        rc = series_picks_observe(series, run, frame, why);
    return rc;
}
