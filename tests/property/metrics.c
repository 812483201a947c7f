/* SPDX-License-Identifier: Apache-2.0 */
/* The oracle of metrics: every surviving span is one observation at its start. */
#include "model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "fermata/bytes.h"

#define METRICS_STEPS  16u
#define METRICS_GROUPS MODEL_SPANS

struct metrics_group {
    char labels[300];
    double values[METRICS_STEPS][MODEL_SPANS]; /* observed in a step */
    uint32_t counts[METRICS_STEPS];
};
struct metrics {
    const struct traceql_query *query;
    struct metrics_group groups[METRICS_GROUPS];
    uint32_t group_count, step_count;
    uint64_t first_ns, step_ns; /* right edge of step 0 */
};

static int metrics_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void metrics_label(char *text, size_t size, const struct traceql_field *field,
                          const struct traceql_value *value)
{
    struct traceql_value shown = *value;
    struct fm_buf out;
    fm_buf_init(&out, FM_KIB(4));
    if (value->type == TRACEQL_NIL)
        shown = (struct traceql_value){.type = TRACEQL_STRING, .text = FM_SLICE("nil")};
    traceql_print_field(field, &out);
    fm_buf_puts(&out, "=");
    oracle_put_value(&out, &shown);
    (void)snprintf(text, size, "%.*s", (int)out.len, out.ptr);
    fm_buf_fini(&out);
}

static struct metrics_group *metrics_find(struct metrics *metrics, const struct model *model,
                                          uint32_t span)
{
    const struct traceql_query *query = metrics->query;
    char texts[8][100], *sorted[8], labels[300] = "";
    uint32_t count = 0;
    bool any = false;
    for (uint32_t i = 0; i < query->by_count; i++) {
        struct traceql_value value = oracle_value(model, span, &query->by[i]);
        any |= value.type != TRACEQL_NIL;
        if (value.type != TRACEQL_NIL)
            metrics_label(texts[count++], sizeof texts[0], &query->by[i], &value);
    }
    if (query->by_count && !any) {
        struct traceql_value nil = {.type = TRACEQL_NIL};
        metrics_label(texts[count++], sizeof texts[0], &query->by[0], &nil);
    }
    for (uint32_t i = 0; i < count; i++)
        sorted[i] = texts[i];
    qsort(sorted, count, sizeof *sorted, metrics_compare);
    for (uint32_t i = 0; i < count; i++)
        (void)snprintf(labels + strlen(labels), sizeof labels - strlen(labels), "%s ", sorted[i]);
    for (uint32_t i = 0; i < metrics->group_count; i++)
        if (strcmp(metrics->groups[i].labels, labels) == 0)
            return &metrics->groups[i];
    struct metrics_group *group = &metrics->groups[metrics->group_count++];
    memcpy(group->labels, labels, sizeof labels);
    return group;
}

static bool metrics_has_value(enum traceql_metrics_kind kind)
{
    return kind != TRACEQL_RATE && kind != TRACEQL_COUNT_OVER_TIME;
}

static bool metrics_has_buckets(enum traceql_metrics_kind kind)
{
    return kind == TRACEQL_QUANTILE_OVER_TIME || kind == TRACEQL_HISTOGRAM_OVER_TIME;
}

/* In seconds for durations; a bucket's upper bound for what has buckets. */
static bool metrics_observe(const struct metrics *metrics, const struct model *model, uint32_t span,
                            double *ret_value)
{
    enum traceql_metrics_kind kind = metrics->query->metrics;
    *ret_value = 1;
    if (!metrics_has_value(kind))
        return true;
    struct traceql_value value = oracle_value(model, span, &metrics->query->of);
    bool is_duration = value.type == TRACEQL_DURATION;
    if (metrics_has_buckets(kind)) {
        double bound = 2;
        if ((!is_duration && value.type != TRACEQL_INT) || value.integer < 2)
            return false;
        while (bound < (double)value.integer)
            bound *= 2;
        *ret_value = is_duration ? bound / 1e9 : bound;
        return true;
    }
    if (value.type == TRACEQL_FLOAT)
        *ret_value = value.number;
    else if (is_duration || value.type == TRACEQL_INT)
        *ret_value = (double)value.integer / (is_duration ? 1e9 : 1);
    else
        return false;
    return true;
}

static int metrics_order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* values: upper bounds of buckets. */
static double metrics_quantile(double *values, uint32_t count, double quantile)
{
    if (!count)
        return 0;
    qsort(values, count, sizeof *values, metrics_order);
    double want = fmax(ceil(quantile * count), 1), lower = 0, consumed = 0;
    for (uint32_t i = 0, next; i < count; i = next) {
        for (next = i; next < count && values[next] == values[i];)
            next++;
        double held = next - i, upper = values[i];
        if (consumed + held == want)
            return upper;
        if (consumed + held > want) {
            lower = i ? lower : upper / 2;
            double part = (want - consumed) / held;
            return pow(2, log2(lower) + part * (log2(upper) - log2(lower)));
        }
        consumed += held;
        lower = upper;
    }
    return lower;
}

static bool metrics_sample(const struct metrics *metrics, struct metrics_group *group,
                           uint32_t step, double extra, double *ret_value)
{
    enum traceql_metrics_kind kind = metrics->query->metrics;
    uint32_t count = group->counts[step];
    double *values = group->values[step], result = 0;
    if (kind == TRACEQL_QUANTILE_OVER_TIME)
        return *ret_value = metrics_quantile(values, count, extra), true;
    if (kind == TRACEQL_HISTOGRAM_OVER_TIME) {
        for (uint32_t i = 0; i < count; i++)
            result += values[i] == extra;
        return *ret_value = result, true;
    }
    if (!metrics_has_value(kind)) {
        *ret_value = kind == TRACEQL_RATE ? count / (metrics->step_ns / 1e9) : count;
        return true;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (kind == TRACEQL_MIN_OVER_TIME || kind == TRACEQL_MAX_OVER_TIME)
            result = !i                              ? values[i]
                     : kind == TRACEQL_MIN_OVER_TIME ? fmin(result, values[i])
                                                     : fmax(result, values[i]);
        else
            result += values[i];
    }
    if (kind == TRACEQL_AVG_OVER_TIME && count)
        result /= count;
    *ret_value = result;
    return count != 0;
}

static void metrics_line(const struct metrics *metrics, struct metrics_group *group,
                         const char *extra_label, double extra, struct fm_buf *out)
{
    fm_buf_printf(out, "%s%s;", extra_label, group->labels);
    for (uint32_t i = 0; i < metrics->step_count; i++) {
        double value;
        if (metrics_sample(metrics, group, i, extra, &value))
            fm_buf_printf(
                out, " %llu:%.6g",
                (unsigned long long)((metrics->first_ns + i * metrics->step_ns) / 1000000),
                value == 0 ? 0.0 : value);
    }
    fm_buf_puts(out, "\n");
}

static void metrics_lines(const struct metrics *metrics, struct metrics_group *group,
                          struct fm_buf *out)
{
    static const char *const names[] = {
        [TRACEQL_RATE] = "rate",
        [TRACEQL_COUNT_OVER_TIME] = "count_over_time",
        [TRACEQL_MIN_OVER_TIME] = "min_over_time",
        [TRACEQL_MAX_OVER_TIME] = "max_over_time",
        [TRACEQL_AVG_OVER_TIME] = "avg_over_time",
        [TRACEQL_SUM_OVER_TIME] = "sum_over_time",
    };
    const struct traceql_query *query = metrics->query;
    char label[100] = "";
    if (query->metrics == TRACEQL_QUANTILE_OVER_TIME) {
        for (uint32_t i = 0; i < query->quantile_count; i++) {
            (void)snprintf(label, sizeof label, "p=%.6g ", query->quantiles[i]);
            metrics_line(metrics, group, label, query->quantiles[i], out);
        }
        return;
    }
    if (query->metrics != TRACEQL_HISTOGRAM_OVER_TIME) {
        if (!query->by_count)
            (void)snprintf(label, sizeof label, "__name__=string:%s ", names[query->metrics]);
        metrics_line(metrics, group, label, 0, out);
        return;
    }
    for (double bound = 1.0 / (1 << 30); bound < 1e12; bound *= 2)
        for (int seconds = 0; seconds < 2; seconds++) {
            double value = seconds ? bound * (1 << 30) / 1e9 : bound;
            bool seen = false;
            for (uint32_t step = 0; step < metrics->step_count; step++)
                for (uint32_t i = 0; i < group->counts[step]; i++)
                    seen |= group->values[step][i] == value;
            (void)snprintf(label, sizeof label, "__bucket=%.6g ", value);
            if (seen)
                metrics_line(metrics, group, label, value, out);
        }
}

int oracle_metrics(const struct model *model, const struct traceql_query *query, uint64_t start_ns,
                   uint64_t end_ns, uint64_t step_ns, struct fm_buf *out)
{
    struct metrics *metrics = calloc(1, sizeof *metrics);
    uint64_t mask = 0;
    int rc = oracle_survivors(model, query, &mask);
    metrics->query = query;
    metrics->step_ns = step_ns;
    metrics->first_ns = start_ns / step_ns * step_ns;
    uint64_t last_ns = (end_ns + step_ns - 1) / step_ns * step_ns;
    metrics->step_count = (uint32_t)((last_ns - metrics->first_ns) / step_ns) + 1;
    FM_ASSERT(metrics->step_count <= METRICS_STEPS);
    for (uint32_t i = 0; i < model->span_count && rc == FM_OK; i++) {
        uint64_t at = model->spans[i].start_ns, step = 0;
        double value;
        if (!(mask >> i & 1) || at + step_ns <= metrics->first_ns || at > last_ns)
            continue;
        while (at > metrics->first_ns + step * step_ns)
            step++;
        if (!metrics_observe(metrics, model, i, &value))
            continue;
        struct metrics_group *group = metrics_find(metrics, model, i);
        group->values[step][group->counts[step]++] = value;
    }
    for (uint32_t i = 0; i < metrics->group_count; i++)
        metrics_lines(metrics, &metrics->groups[i], out);
    free(metrics);
    oracle_sort_lines(out);
    return rc;
}
