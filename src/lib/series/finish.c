/* SPDX-License-Identifier: Apache-2.0 */
/* From arrays to rows: units, averages, quantiles, labels; and rows to the result. */
#include "internal.h"

#include <math.h>

#include "fermata/units.h"

#define FINISH_NAME_MAX FM_KIB(64)

double series_quantile(double quantile, const double counts[SERIES_BUCKETS], double bound)
{
    double total = 0, consumed = 0, lower = 0, want;

    for (uint32_t i = 0; i < SERIES_BUCKETS; i++)
        total += counts[i];
    if (total == 0)
        return 0;
    want = FM_MAX(ceil(quantile * total), 1);
    for (uint32_t i = 0; i < SERIES_BUCKETS; i++) {
        double upper = ldexp(bound, (int)i);
        if (counts[i] == 0)
            continue;
        if (consumed + counts[i] == want)
            return upper;
        if (consumed + counts[i] > want) {
            double to = log2(upper), from = lower > 0 ? log2(lower) : to - 1;
            return pow(2, from + (to - from) * ((want - consumed) / counts[i]));
        }
        consumed += counts[i];
        lower = upper;
    }
    return lower; /* a quantile above 1 */
}

/* ---- labels ---- */

int series_text_value(struct series *series, struct fm_slice text, struct traceql_value *ret_value)
{
    struct traceql_value value = {.type = TRACEQL_STRING, .text = text};
    uint32_t id;
    int rc = series_value_id(series, &value, &id);

    if (rc < 0)
        return rc;
    *ret_value = series->values.values[id];
    return FM_OK;
}

int series_field_name(struct series *series, const struct traceql_field *field,
                      struct fm_slice *ret_name)
{
    struct traceql_value value;
    struct fm_buf text;
    int rc = FM_ENOMEM;

    fm_buf_init(&text, FINISH_NAME_MAX);
    traceql_print_field(field, &text);
    if (!text.failed)
        rc = series_text_value(series, fm_buf_slice(&text), &value);
    fm_buf_fini(&text);
    if (rc < 0)
        return rc;
    *ret_name = value.text;
    return FM_OK;
}

int series_row_add(struct series *series, uint32_t label_count, struct series_row **ret_row)
{
    struct series_row row = {0};
    int rc = series_alloc(series, sizeof *row.labels * FM_MAX(label_count, 1u), &row.labels);

    if (rc == FM_OK)
        rc = series_grow(series, &series->rows, series->row_count, &series->row_capacity,
                         sizeof row);
    if (rc < 0)
        return rc;
    series->rows[series->row_count] = row;
    *ret_row = &series->rows[series->row_count++];
    return FM_OK;
}

static const char *finish_function(enum traceql_metrics_kind kind)
{
    switch (kind) {
    case TRACEQL_RATE:
        return "rate";
    case TRACEQL_COUNT_OVER_TIME:
        return "count_over_time";
    case TRACEQL_MIN_OVER_TIME:
        return "min_over_time";
    case TRACEQL_MAX_OVER_TIME:
        return "max_over_time";
    case TRACEQL_AVG_OVER_TIME:
        return "avg_over_time";
    case TRACEQL_SUM_OVER_TIME:
        return "sum_over_time";
    default:
        return NULL; /* p or __bucket says it */
    }
}

/* What by() says of a group: fields that are missing are left out, unless all are. */
static int finish_group_labels(struct series *series, struct series_row *row)
{
    const struct series_group *group = &series->groups[row->group];
    const char *function = finish_function(series->query->metrics);
    int rc = FM_OK;

    if (!series->by_count && function) {
        row->labels[0].name = FM_SLICE("__name__");
        row->label_count = 1;
        return series_text_value(series, fm_slice_text(function), &row->labels[0].value);
    }
    for (uint32_t i = 0; rc == FM_OK && i < series->by_count; i++) {
        if (group->key[i] == SERIES_NIL_ID)
            continue;
        struct series_label *label = &row->labels[row->label_count++];
        label->value = series->values.values[group->key[i]];
        rc = series_field_name(series, &series->query->by[i], &label->name);
    }
    if (rc == FM_OK && series->by_count && !row->label_count) {
        rc = series_text_value(series, FM_SLICE("nil"), &row->labels[0].value);
        if (rc == FM_OK)
            rc = series_field_name(series, &series->query->by[0], &row->labels[0].name);
        row->label_count = 1;
    }
    return rc;
}

static int finish_row(struct series *series, uint32_t group, struct series_row **ret_row)
{
    struct series_row *row;
    int rc = series_row_add(series, series->by_count + 1, &row);

    if (rc < 0)
        return rc;
    row->group = group;
    if ((rc = finish_group_labels(series, row)) < 0)
        return rc;
    *ret_row = row;
    return FM_OK;
}

static void finish_number_label(struct series_row *row, struct fm_slice name, double number)
{
    row->labels[row->label_count++] = (struct series_label){
        .name = name,
        .value = {.type = TRACEQL_FLOAT, .number = number},
    };
}

/* ---- values ---- */

/* Of a duration's nanoseconds in seconds: divided, since 1e-9 is not exact. */
static double finish_unit(const struct series *series, double value)
{
    return series->is_duration ? value / (double)FM_NS_PER_S : value;
}

static int finish_plain(struct series *series, uint32_t group_index)
{
    const struct series_group *group = &series->groups[group_index];
    double per_second = (double)FM_NS_PER_S / (double)series->step_ns;
    struct series_row *row;
    int rc = finish_row(series, group_index, &row);

    if (rc < 0)
        return rc;
    row->values = group->values;
    for (uint32_t i = 0; i < series->step_count; i++) {
        double *value = &row->values[i];
        if (series->query->metrics == TRACEQL_RATE)
            *value *= per_second;
        else if (series->query->metrics == TRACEQL_AVG_OVER_TIME)
            *value = group->counts[i] ? finish_unit(series, *value / group->counts[i]) : NAN;
        else if (series->has_of)
            *value = finish_unit(series, *value);
    }
    return FM_OK;
}

static int finish_histogram(struct series *series, uint32_t group_index)
{
    struct series_row *row;
    int rc;

    for (uint32_t bucket = 0; bucket < SERIES_BUCKETS; bucket++) {
        if (!series->groups[group_index].buckets[bucket])
            continue;
        if ((rc = finish_row(series, group_index, &row)) < 0)
            return rc;
        row->bucket = (uint8_t)bucket;
        row->values = series->groups[group_index].buckets[bucket];
        finish_number_label(row, FM_SLICE("__bucket"), finish_unit(series, ldexp(1, (int)bucket)));
    }
    return FM_OK;
}

static int finish_quantile(struct series *series, uint32_t group_index, uint32_t index)
{
    const struct series_group *group = &series->groups[group_index];
    double counts[SERIES_BUCKETS], quantile = series->query->quantiles[index];
    struct series_row *row;
    int rc = finish_row(series, group_index, &row);

    if (rc == FM_OK)
        rc = series_steps(series, 0, &row->values);
    if (rc < 0)
        return rc;
    row->quantile = index;
    finish_number_label(row, FM_SLICE("p"), quantile);
    for (uint32_t step = 0; step < series->step_count; step++) {
        for (uint32_t bucket = 0; bucket < SERIES_BUCKETS; bucket++)
            counts[bucket] = group->buckets[bucket] ? group->buckets[bucket][step] : 0;
        row->values[step] = series_quantile(quantile, counts, finish_unit(series, 1));
    }
    return FM_OK;
}

/* Values below 2 are in no bucket: a group of nothing else is no series. */
static bool finish_has_bucket(const struct series_group *group)
{
    for (uint32_t bucket = 0; bucket < SERIES_BUCKETS; bucket++)
        if (group->buckets[bucket])
            return true;
    return false;
}

int series_make_rows(struct series *series)
{
    int rc = FM_OK;

    for (uint32_t i = 0; rc == FM_OK && i < series->group_count; i++) {
        switch (series->query->metrics) {
        case TRACEQL_HISTOGRAM_OVER_TIME:
            rc = finish_histogram(series, i);
            break;
        case TRACEQL_QUANTILE_OVER_TIME:
            if (!finish_has_bucket(&series->groups[i]))
                break;
            for (uint32_t at = 0; rc == FM_OK && at < series->query->quantile_count; at++)
                rc = finish_quantile(series, i, at);
            break;
        default:
            rc = finish_plain(series, i);
        }
    }
    return rc;
}

/* ---- result ---- */

static int finish_samples(struct series *series, const struct series_row *row,
                          struct series_line *line)
{
    uint32_t count = 0;
    int rc;

    for (uint32_t i = 0; row->values && i < series->step_count; i++)
        count += !isnan(row->values[i]);
    if (!count)
        return FM_OK;
    if ((rc = series_alloc(series, sizeof *line->samples * count, &line->samples)) < 0)
        return rc;
    for (uint32_t i = 0; i < series->step_count; i++) {
        uint64_t right_ns = series->start_ns + (i + 1) * series->step_ns;
        if (isnan(row->values[i]))
            continue;
        line->samples[line->sample_count++] = (struct series_sample){
            .timestamp_ms = (int64_t)(right_ns / FM_NS_PER_MS),
            .value = row->values[i],
        };
    }
    return FM_OK;
}

int series_make_result(struct series *series)
{
    uint32_t count = FM_MIN(series->row_count, series->options.series_max);
    struct series_line *lines;
    int rc = series_alloc(series, sizeof *lines * FM_MAX(count, 1u), &lines);

    for (uint32_t i = 0; rc == FM_OK && i < count; i++) {
        const struct series_row *row = &series->rows[i];
        lines[i] = (struct series_line){
            .labels = row->labels,
            .label_count = row->label_count,
            .exemplars = row->exemplars,
            .exemplar_count = row->exemplar_count,
        };
        rc = finish_samples(series, row, &lines[i]);
    }
    if (rc < 0)
        return rc;
    series->result = (struct series_result){
        .lines = lines,
        .line_count = count,
        .step_ns = series->step_ns,
        .partial = series->partial || count < series->row_count,
    };
    return FM_OK;
}
