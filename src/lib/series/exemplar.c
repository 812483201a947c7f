/* SPDX-License-Identifier: Apache-2.0 */
/* Exemplars: a few spans by which a reader gets from a graph to a trace.
 *
 * Which ones must not depend on the order in which parts are merged, so every trace draws a rank
 * from its id, and the least ranks of each stretch of time are kept: two per stretch, one per
 * trace. */
#include "internal.h"

#include <math.h>
#include <stdlib.h>

#include "fermata/hash.h"
#include "fermata/units.h"

static bool exemplar_is_shown(const struct traceql_field *field)
{
    switch (field->intrinsic) {
    case TRACEQL_SPAN_START:
    case TRACEQL_TRACE_START:
    case TRACEQL_TRACE_ID:
    case TRACEQL_SPAN_ID:
    case TRACEQL_PARENT_ID:
    case TRACEQL_NESTED_LEFT:
    case TRACEQL_NESTED_RIGHT:
    case TRACEQL_NESTED_PARENT:
    case TRACEQL_PARENT:
        return false;
    default:
        return true;
    }
}

int series_picks_init(struct series *series)
{
    uint32_t count, limit = FM_MIN(series->options.exemplars_max, 100u);
    const struct traceql_field *fields = eval_plan_fields(series->plan, &count);
    int rc;

    if (!limit || series->options.instant)
        return FM_OK;
    series->pick_depth = FM_MIN(limit, (uint32_t)SERIES_PER_BUCKET);
    series->pick_buckets = FM_MIN(limit / series->pick_depth, series->step_count);
    size_t pick_count = (size_t)series->pick_buckets * series->pick_depth;
    if ((rc = series_alloc(series, sizeof *series->picks * pick_count, &series->picks)) < 0 ||
        (rc = series_alloc(series, sizeof *series->pick_counts * series->pick_buckets,
                           &series->pick_counts)) < 0 ||
        (rc = series_alloc(series, sizeof *series->used * count, &series->used)) < 0)
        return rc;
    for (uint32_t i = 0; i < count; i++) {
        struct series_used *used = &series->used[series->used_count];
        if (!exemplar_is_shown(&fields[i]))
            continue;
        used->field = fields[i];
        if ((rc = series_field_name(series, &fields[i], &used->name)) < 0)
            return rc;
        series->used_count++;
    }
    return FM_OK;
}

/* ---- the kept ones ---- */

static int exemplar_compare(const struct series_pick *a, const struct series_pick *b)
{
    if (a->rank != b->rank)
        return a->rank < b->rank ? -1 : 1;
    return memcmp(a->trace_id.bytes, b->trace_id.bytes, sizeof a->trace_id.bytes);
}

static uint32_t exemplar_bucket(const struct series *series, const struct series_pick *pick)
{
    return (uint32_t)((uint64_t)pick->step * series->pick_buckets / series->step_count);
}

static bool exemplar_enters(const struct series *series, const struct series_pick *pick)
{
    uint32_t bucket = exemplar_bucket(series, pick);
    const struct series_pick *picks = &series->picks[bucket * series->pick_depth];
    uint32_t count = series->pick_counts[bucket];

    return count < series->pick_depth || exemplar_compare(pick, &picks[count - 1]) < 0;
}

/* Ordered by rank; the last falls out. */
static void exemplar_insert(struct series *series, const struct series_pick *pick)
{
    uint32_t bucket = exemplar_bucket(series, pick);
    struct series_pick *picks = &series->picks[bucket * series->pick_depth];
    uint32_t *count = &series->pick_counts[bucket];
    uint32_t at = *count < series->pick_depth ? (*count)++ : *count - 1;

    for (; at && exemplar_compare(pick, &picks[at - 1]) < 0; at--)
        picks[at] = picks[at - 1];
    picks[at] = *pick;
}

/* ---- choosing ---- */

static bool exemplar_is_fit(const struct series *series, uint32_t survivor)
{
    const struct series_scratch *scratch = &series->scratch;

    if (scratch->groups[survivor] == SERIES_DROPPED)
        return false;
    if (!series->has_of)
        return true;
    if (series->query->metrics == TRACEQL_QUANTILE_OVER_TIME ||
        series->query->metrics == TRACEQL_HISTOGRAM_OVER_TIME)
        return scratch->buckets[survivor] != 0;
    return !isnan(scratch->measures[survivor]);
}

static int exemplar_label(struct series *series, struct series_pick *pick, struct fm_slice name,
                          const struct traceql_value *value)
{
    uint32_t id;
    int rc = series_value_id(series, value, &id);

    if (rc < 0)
        return rc;
    pick->labels[pick->label_count++] =
        (struct series_label){.name = name, .value = series->values.values[id]};
    return FM_OK;
}

static int exemplar_labels(struct series *series, struct eval_run *run, uint32_t span,
                           struct series_pick *pick, struct fm_why *why)
{
    struct traceql_value value = {.type = TRACEQL_STRING};
    size_t zeros = 0;
    char text[33];
    int rc = series_alloc(series, sizeof *pick->labels * (series->used_count + 1), &pick->labels);

    fm_hex_encode(text, fm_slice(pick->trace_id.bytes, sizeof pick->trace_id.bytes));
    while (zeros < 31 && text[zeros] == '0')
        zeros++;
    value.text = fm_slice(text + zeros, 32 - zeros);
    if (rc == FM_OK)
        rc = exemplar_label(series, pick, FM_SLICE("trace:id"), &value);
    for (uint32_t i = 0; rc == FM_OK && i < series->used_count; i++) {
        rc = eval_run_value(run, &series->used[i].field, span, &value, why);
        if (rc == FM_OK && value.type != TRACEQL_NIL)
            rc = exemplar_label(series, pick, series->used[i].name, &value);
    }
    return rc;
}

/* One candidate of the survivors [first, end), which are a trace's. */
static int exemplar_choose(struct series *series, struct eval_run *run,
                           const struct frame_vector *starts, const struct trace_id *trace_id,
                           uint32_t first, uint32_t end, struct fm_why *why)
{
    const struct series_scratch *scratch = &series->scratch;
    struct series_pick pick = {.trace_id = *trace_id};
    uint32_t count = end - first, at, tried = 0;
    int rc;

    pick.rank = fm_hash64(fm_slice(trace_id->bytes, sizeof trace_id->bytes), 0xe8);
    at = first + (uint32_t)(pick.rank % count);
    while (tried < count && !exemplar_is_fit(series, at)) {
        at = at + 1 < end ? at + 1 : first;
        tried++;
    }
    pick.step = scratch->steps[at];
    if (tried == count || !exemplar_enters(series, &pick))
        return FM_OK;
    pick.start_ns = starts->integers[scratch->spans[at]];
    pick.group = scratch->groups[at];
    pick.value = series->has_of ? scratch->measures[at] : NAN;
    pick.bucket = series->has_of ? scratch->buckets[at] : 0;
    if ((rc = exemplar_labels(series, run, scratch->spans[at], &pick, why)) < 0)
        return rc;
    exemplar_insert(series, &pick);
    return FM_OK;
}

int series_picks_observe(struct series *series, struct eval_run *run, const struct frame *frame,
                         struct fm_why *why)
{
    const struct series_scratch *scratch = &series->scratch;
    const struct frame_vector *starts;
    uint32_t first = 0, end;
    int rc = eval_run_vector(run, series->start_field, &starts, why);

    for (uint32_t trace = 0; rc == FM_OK && first < scratch->count; trace++) {
        for (end = first; end < scratch->count; end++) {
            if (scratch->spans[end] >= frame->trace_spans[trace + 1])
                break;
        }
        if (end > first)
            rc = exemplar_choose(series, run, starts, &frame->trace_ids[trace], first, end, why);
        first = end;
    }
    return rc;
}

/* ---- merging, giving ---- */

static int exemplar_copy(struct series *series, const struct series_pick *from,
                         struct series_pick *pick)
{
    struct traceql_value name = {.type = TRACEQL_STRING};
    uint32_t id;
    int rc = series_alloc(series, sizeof *pick->labels * from->label_count, &pick->labels);

    pick->label_count = 0;
    for (uint32_t i = 0; rc == FM_OK && i < from->label_count; i++) {
        name.text = from->labels[i].name;
        if ((rc = series_value_id(series, &name, &id)) == FM_OK)
            rc = exemplar_label(series, pick, series->values.values[id].text,
                                &from->labels[i].value);
    }
    return rc;
}

int series_picks_merge(struct series *series, const struct series *other, const uint32_t *groups)
{
    int rc;

    for (uint32_t bucket = 0; bucket < other->pick_buckets; bucket++) {
        for (uint32_t i = 0; i < other->pick_counts[bucket]; i++) {
            const struct series_pick *from = &other->picks[bucket * other->pick_depth + i];
            struct series_pick pick = *from;
            pick.group = groups[from->group];
            if (pick.group == SERIES_DROPPED || !exemplar_enters(series, &pick))
                continue;
            if ((rc = exemplar_copy(series, from, &pick)) < 0)
                return rc;
            exemplar_insert(series, &pick);
        }
    }
    return FM_OK;
}

/* Over all groups and steps, which quantile a value belongs to: the least that is not below it. */
struct exemplar_quantiles {
    double *values;
    uint32_t count;
};

static int exemplar_quantiles_init(struct series *series, struct exemplar_quantiles *quantiles)
{
    double counts[SERIES_BUCKETS] = {0};
    int rc;

    quantiles->count = series->query->quantile_count;
    rc = series_alloc(series, sizeof *quantiles->values * quantiles->count, &quantiles->values);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < series->group_count; i++) {
        for (uint32_t bucket = 0; bucket < SERIES_BUCKETS; bucket++) {
            const double *steps = series->groups[i].buckets[bucket];
            for (uint32_t step = 0; steps && step < series->step_count; step++)
                counts[bucket] += steps[step];
        }
    }
    for (uint32_t i = 0; i < quantiles->count; i++)
        quantiles->values[i] = series_quantile(series->query->quantiles[i], counts, 1); /* raw */
    return FM_OK;
}

static uint32_t exemplar_quantile(const struct exemplar_quantiles *quantiles, double value)
{
    uint32_t best = SERIES_NONE, greatest = 0;

    for (uint32_t i = 0; i < quantiles->count; i++) {
        if (quantiles->values[i] > quantiles->values[greatest])
            greatest = i;
        if (quantiles->values[i] >= value &&
            (best == SERIES_NONE || quantiles->values[i] < quantiles->values[best]))
            best = i;
    }
    return best == SERIES_NONE ? greatest : best;
}

static int exemplar_give(struct series *series, struct series_row *row,
                         const struct series_pick *pick)
{
    bool of_sample = !series->has_of || series->query->metrics == TRACEQL_HISTOGRAM_OVER_TIME;
    double unit = series->is_duration ? (double)FM_NS_PER_S : 1;
    struct series_exemplar *exemplars;
    int rc;

    if (!row->values || isnan(row->values[pick->step]))
        return FM_OK;
    if (!row->exemplars) {
        size_t count = (size_t)series->pick_buckets * series->pick_depth;
        if ((rc = series_alloc(series, sizeof *exemplars * count, &exemplars)) < 0)
            return rc;
        row->exemplars = exemplars;
    }
    row->exemplars[row->exemplar_count++] = (struct series_exemplar){
        .timestamp_ms = pick->start_ns / (int64_t)FM_NS_PER_MS,
        .value = of_sample ? row->values[pick->step] : pick->value / unit,
        .labels = pick->labels,
        .label_count = pick->label_count,
    };
    return FM_OK;
}

static int exemplar_compare_time(const void *a, const void *b)
{
    const struct series_exemplar *left = a, *right = b;

    if (left->timestamp_ms != right->timestamp_ms)
        return left->timestamp_ms < right->timestamp_ms ? -1 : 1;
    return series_value_compare(&left->labels[0].value, &right->labels[0].value);
}

int series_picks_give(struct series *series)
{
    struct exemplar_quantiles quantiles = {0};
    int rc = FM_OK;

    if (!series->pick_buckets)
        return FM_OK;
    if (series->query->metrics == TRACEQL_QUANTILE_OVER_TIME &&
        (rc = exemplar_quantiles_init(series, &quantiles)) < 0)
        return rc;
    for (uint32_t at = 0; at < series->pick_buckets * series->pick_depth; at++) {
        const struct series_pick *pick = &series->picks[at];
        if (at % series->pick_depth >= series->pick_counts[at / series->pick_depth])
            continue;
        uint32_t quantile = quantiles.count ? exemplar_quantile(&quantiles, pick->value) : 0;
        bool has_bucket = series->query->metrics == TRACEQL_HISTOGRAM_OVER_TIME;
        for (uint32_t i = 0; rc == FM_OK && i < series->row_count; i++) {
            struct series_row *row = &series->rows[i];
            if (row->group == pick->group && row->quantile == quantile &&
                (!has_bucket || row->bucket == pick->bucket))
                rc = exemplar_give(series, row, pick);
        }
    }
    for (uint32_t i = 0; i < series->row_count; i++) {
        struct series_row *row = &series->rows[i];
        if (row->exemplar_count)
            qsort(row->exemplars, row->exemplar_count, sizeof *row->exemplars,
                  exemplar_compare_time);
    }
    return rc;
}
