/* SPDX-License-Identifier: Apache-2.0 */
/* Series: the range of a metrics query, its sources one by one, and parts of an answer as one. */
#include "internal.h"

#include <math.h>
#include <stdlib.h>

#include "fermata/units.h"

#define SERIES_RANGE_MAX_NS (24 * 3600 * FM_NS_PER_S)
#define SERIES_TARGET_STEPS 240 /* an hour in steps of 15 s */

/* ---- range and step ---- */

uint64_t series_default_step_ns(uint64_t start_ns, uint64_t end_ns)
{
    static const uint64_t units_s[] = {3600, 300, 60, 15, 5, 1};
    uint64_t range_ns = end_ns > start_ns ? end_ns - start_ns : 0;
    uint64_t step_ns = range_ns / SERIES_TARGET_STEPS, unit_ns = 50 * FM_NS_PER_MS;

    if (range_ns < 60 * FM_NS_PER_S)
        return step_ns > unit_ns ? step_ns / unit_ns * unit_ns : unit_ns;
    for (size_t i = 0; i < FM_COUNT(units_s); i++) {
        unit_ns = units_s[i] * FM_NS_PER_S;
        if (step_ns > unit_ns)
            return step_ns / unit_ns * unit_ns;
    }
    return FM_NS_PER_S;
}

/* A step as Tempo words it: "1ms", "8.64s". */
static void series_put_step(struct fm_buf *out, uint64_t step_ns)
{
    struct traceql_value value = {.type = TRACEQL_DURATION, .integer = (int64_t)step_ns};

    traceql_print_value(&value, out);
}

static int series_refuse_step(uint64_t step_ns, uint64_t least_ns, struct fm_why *why)
{
    struct fm_buf step, least;

    fm_buf_init(&step, 64);
    fm_buf_init(&least, 64);
    series_put_step(&step, step_ns);
    series_put_step(&least, least_ns);
    int rc = fm_fail(
        why, FM_EMALFORMED, "step of %.*s is too small, minimum step for given range is %.*s",
        (int)step.len, (const char *)step.ptr, (int)least.len, (const char *)least.ptr);
    fm_buf_fini(&step);
    fm_buf_fini(&least);
    return rc;
}

static int series_check_range(const struct series *series, struct fm_why *why)
{
    const struct series_options *options = &series->options;
    uint64_t range_ns = options->end_ns - options->start_ns;

    if (options->start_ns > options->end_ns || (options->instant && range_ns == 0))
        return fm_fail(why, FM_EMALFORMED, "end must be greater than start");
    if (options->end_ns > INT64_MAX || series->step_ns > INT64_MAX)
        return fm_fail(why, FM_EMALFORMED, "time out of range");
    if (range_ns > SERIES_RANGE_MAX_NS)
        return fm_fail(why, FM_EMALFORMED,
                       "metrics query time range exceeds the maximum allowed duration of 24h0m0s");
    if (range_ns / series->step_ns > SERIES_STEPS_MAX)
        return series_refuse_step(series->step_ns, range_ns / SERIES_STEPS_MAX, why);
    return FM_OK;
}

/* Start down and end up to a multiple of the step, so that a question asked again a little later
 * has the same steps; and one step in front, whose right edge is the start. */
static void series_align(struct series *series)
{
    uint64_t step_ns = series->step_ns, start_ns = series->options.start_ns;
    uint64_t end_ns = series->options.end_ns, rest_ns = end_ns % step_ns;

    if (!series->options.instant) {
        start_ns -= start_ns % step_ns;
        end_ns += rest_ns ? step_ns - rest_ns : 0;
        if (start_ns > step_ns)
            start_ns -= step_ns;
        if (end_ns == start_ns)
            end_ns += step_ns;
    }
    series->start_ns = start_ns;
    series->end_ns = end_ns;
    series->step_count = (uint32_t)((end_ns - start_ns) / step_ns);
    series->reciprocal = UINT64_MAX / step_ns;
    series->limits.start_ns = series->options.instant ? start_ns : start_ns + 1;
    series->limits.end_ns = end_ns;
    series->limits.by_span = true;
}

static int series_set_range(struct series *series, struct fm_why *why)
{
    const struct series_options *options = &series->options;
    int rc;

    series->step_ns = options->step_ns;
    if (!series->step_ns)
        series->step_ns = series_default_step_ns(options->start_ns, options->end_ns);
    if (options->instant)
        series->step_ns = FM_MAX(options->end_ns - options->start_ns, 1);
    if ((rc = series_check_range(series, why)) < 0)
        return rc;
    series_align(series);
    return FM_OK;
}

/* ---- making ---- */

/* with(exemplars=false) and with(exemplars=N) say less or more than the request. */
static void series_take_hints(struct series *series)
{
    for (const struct traceql_hint *hint = series->query->hints; hint; hint = hint->next) {
        if (!fm_slice_equal_text(hint->name, "exemplars"))
            continue;
        if (hint->value.type == TRACEQL_BOOL && !hint->value.flag)
            series->options.exemplars_max = 0;
        if (hint->value.type == TRACEQL_INT)
            series->options.exemplars_max =
                (uint32_t)FM_MIN(FM_MAX(hint->value.integer, 0), UINT32_MAX);
    }
}

static int series_plan(struct series *series, struct fm_why *why)
{
    const struct traceql_query *query = series->query;
    const struct traceql_field start = {.intrinsic = TRACEQL_SPAN_START};
    int rc = eval_plan_new(&series->plan, query, why);

    if (rc == FM_OK)
        rc = eval_plan_want(series->plan, &start, &series->start_field);
    for (uint32_t i = 0; rc == FM_OK && i < query->by_count; i++)
        rc = series_lookup_init(&series->by[i], series->plan, &query->by[i]);
    series->by_count = query->by_count;
    series->has_of = query->metrics != TRACEQL_RATE && query->metrics != TRACEQL_COUNT_OVER_TIME;
    series->is_duration = series->has_of && (query->of.intrinsic == TRACEQL_SPAN_DURATION ||
                                             query->of.intrinsic == TRACEQL_TRACE_DURATION ||
                                             query->of.intrinsic == TRACEQL_EVENT_TIME);
    if (rc == FM_OK && series->has_of)
        rc = series_lookup_init(&series->of, series->plan, &query->of);
    return rc < 0 ? rc : series_picks_init(series);
}

static int series_init(struct series *series, struct fm_why *why)
{
    struct traceql_value nil = {.type = TRACEQL_NIL};
    uint32_t id;
    int rc = series_set_range(series, why);

    series->why = why;
    if (rc == FM_OK)
        rc = series_value_id(series, &nil, &id); /* is SERIES_NIL_ID */
    if (rc == FM_OK)
        rc = series->query->metrics == TRACEQL_COMPARE ? series_compare_init(series)
                                                       : series_plan(series, why);
    series->why = NULL;
    return rc;
}

int series_new(struct series **ret_series, const struct traceql_query *query,
               const struct eval_limits *limits, const struct series_options *options,
               struct fm_why *why)
{
    FM_AUTO(series) series = NULL;
    int rc;

    if (query->metrics == TRACEQL_NO_METRICS)
        return fm_fail(why, FM_EMALFORMED, "not a metrics query");
    if (query->by_count > SERIES_BY_MAX)
        return fm_fail(why, FM_EMALFORMED, "by() takes at most %d fields", SERIES_BY_MAX);
    series = calloc(1, sizeof *series);
    if (!series)
        return fm_fail(why, FM_ENOMEM, "out of memory");
    series->query = query;
    series->limits = *limits;
    series->options = *options;
    if (!series->options.series_max)
        series->options.series_max = SERIES_DROPPED - 1;
    fm_arena_init(&series->arena, limits->memory_max);
    series_take_hints(series);
    if ((rc = series_init(series, why)) < 0)
        return rc;

    *ret_series = fm_take(series);
    return FM_OK;
}

struct series *series_free(struct series *series)
{
    if (!series)
        return NULL;
    series->plan = eval_plan_free(series->plan);
    fm_arena_fini(&series->arena);
    fm_arena_fini(&series->scratch.arena);
    free(series);
    return NULL;
}

void series_window(const struct series *series, uint64_t *ret_start_ns, uint64_t *ret_end_ns)
{
    *ret_start_ns = series->start_ns;
    *ret_end_ns = series->end_ns;
}

/* ---- adding ---- */

/* What was known about codes was of another source. */
static void series_forget_codes(struct series_lookup *lookup)
{
    for (uint32_t i = 0; i < lookup->column_count; i++)
        lookup->columns[i].serial = 0;
}

static int series_run(struct series *series, struct frame_source *source, struct fm_why *why)
{
    FM_AUTO(eval_run) run = NULL;
    const struct frame *frame;
    const uint8_t *mask;
    int rc = eval_run_new(&run, series->plan, source, &series->limits);

    while (rc == FM_OK && (rc = eval_run_next(run, &frame, &mask, why)) == FM_OK)
        rc = series_observe(series, run, frame, mask, why);
    return rc < 0 ? rc : FM_OK;
}

static int series_add_plain(struct series *series, series_open *open, void *self,
                            struct frame_stats *stats, struct fm_why *why)
{
    FM_AUTO(frame_source) source = NULL;
    struct frame_request request = {.start_ns = series->limits.start_ns,
                                    .end_ns = series->limits.end_ns};
    int rc;

    for (uint32_t i = 0; i < series->by_count; i++)
        series_forget_codes(&series->by[i]);
    series_forget_codes(&series->of);
    request.fields = eval_plan_fields(series->plan, &request.field_count);
    request.types = eval_plan_types(series->plan);
    if ((rc = open(self, &request, &source, why)) < 0 || (rc = series_run(series, source, why)) < 0)
        return rc;
    stats->inspected_bytes += source->stats.inspected_bytes;
    stats->inspected_traces += source->stats.inspected_traces;
    stats->inspected_spans += source->stats.inspected_spans;
    return FM_OK;
}

int series_add(struct series *series, series_open *open, void *self, struct frame_stats *stats,
               struct fm_why *why)
{
    struct frame_stats unwanted = {0};
    int rc;

    stats = stats ? stats : &unwanted;
    series->why = why;
    if (series->query->metrics == TRACEQL_COMPARE)
        rc = series_compare_add(series, open, self, stats, why);
    else
        rc = series_add_plain(series, open, self, stats, why);
    series->why = NULL;
    return rc;
}

/* ---- merging ---- */

static void series_merge_steps(const struct series *series, double *target, const double *source)
{
    double sign = series->query->metrics == TRACEQL_MIN_OVER_TIME ? -1 : 1;
    bool is_extreme = series->query->metrics == TRACEQL_MIN_OVER_TIME ||
                      series->query->metrics == TRACEQL_MAX_OVER_TIME;

    for (uint32_t i = 0; i < series->step_count; i++) {
        if (isnan(source[i]))
            continue;
        if (isnan(target[i]))
            target[i] = source[i];
        else if (!is_extreme)
            target[i] += source[i];
        else if (sign * source[i] > sign * target[i])
            target[i] = source[i];
    }
}

static int series_merge_group(struct series *series, struct series_group *group,
                              const struct series_group *from)
{
    double *counts;
    int rc;

    if (from->values)
        series_merge_steps(series, group->values, from->values);
    if (from->counts)
        series_merge_steps(series, group->counts, from->counts);
    for (uint32_t i = 0; from->buckets && i < SERIES_BUCKETS; i++) {
        if (!from->buckets[i])
            continue;
        if ((rc = series_bucket(series, group, (uint8_t)i, &counts)) < 0)
            return rc;
        series_merge_steps(series, counts, from->buckets[i]);
    }
    return FM_OK;
}

int series_merge(struct series *series, const struct series *other)
{
    uint32_t key[SERIES_BY_MAX] = {0}, *groups;
    int rc;

    FM_ASSERT(series->start_ns == other->start_ns && series->end_ns == other->end_ns &&
              series->step_ns == other->step_ns);
    series->partial |= other->partial;
    if (series->query->metrics == TRACEQL_COMPARE)
        return series_compare_merge(series, other);
    rc = series_alloc(series, sizeof *groups * FM_MAX(other->group_count, 1u), &groups);
    for (uint32_t i = 0; rc == FM_OK && i < other->group_count; i++) {
        const struct series_group *from = &other->groups[i];
        for (uint32_t at = 0; rc == FM_OK && at < series->by_count; at++)
            rc = series_value_id(series, &other->values.values[from->key[at]], &key[at]);
        if (rc == FM_OK)
            rc = series_group(series, key, &groups[i]);
        if (rc == FM_OK && groups[i] != SERIES_DROPPED)
            rc = series_merge_group(series, &series->groups[groups[i]], from);
    }
    return rc < 0 ? rc : series_picks_merge(series, other, groups);
}

/* ---- finishing ---- */

int series_finish(struct series *series, const struct series_result **ret_result,
                  struct fm_why *why)
{
    bool is_compare = series->query->metrics == TRACEQL_COMPARE;
    int rc;

    series->why = why;
    rc = is_compare ? series_compare_rows(series) : series_make_rows(series);
    if (rc == FM_OK) {
        series_drop_empty(series);
        series_sort(series);
        rc = series_second_stages(series);
    }
    if (rc == FM_OK)
        rc = series_picks_give(series);
    if (rc == FM_OK)
        rc = series_make_result(series);
    series->why = NULL;
    if (rc < 0)
        return rc;
    *ret_result = &series->result;
    return FM_OK;
}
