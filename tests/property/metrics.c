/* SPDX-License-Identifier: Apache-2.0 */
/* The oracle of metrics: every surviving span is one observation at its start. */
#include "model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "fermata/bytes.h"

#define METRICS_STEPS  16u
#define METRICS_GROUPS MODEL_SPANS
#define METRICS_ROWS   (4 * MODEL_SPANS)

struct metrics_group {
    char labels[300];
    uint32_t by[8]; /* indexes of by() that it has */
    struct traceql_value by_values[8];
    uint32_t by_count;
    double values[METRICS_STEPS][MODEL_SPANS]; /* observed in a step */
    uint32_t counts[METRICS_STEPS];
};
struct metrics_row { /* a series of the answer */
    struct metrics_group *group;
    char front[64]; /* __name__=, p= or __bucket= */
    bool has_extra;
    double extra; /* the quantile, the bucket */
    double values[METRICS_STEPS];
    bool has[METRICS_STEPS];
};
struct metrics {
    const struct traceql_query *query;
    struct metrics_group groups[METRICS_GROUPS];
    uint32_t group_count, step_count;
    uint64_t first_ns, step_ns; /* right edge of step 0 */
    struct metrics_row rows[METRICS_ROWS];
    uint32_t row_count;
};

static int metrics_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void metrics_label(char *text, size_t size, const struct traceql_field *field,
                          const struct traceql_value *value)
{
    struct fm_buf out;
    fm_buf_init(&out, FM_KIB(4));
    traceql_print_field(field, &out);
    fm_buf_puts(&out, "=");
    oracle_put_value(&out, value);
    (void)snprintf(text, size, "%.*s", (int)out.len, out.ptr);
    fm_buf_fini(&out);
}

static struct metrics_group *metrics_find(struct metrics *metrics, const struct model *model,
                                          uint32_t span)
{
    const struct traceql_query *query = metrics->query;
    struct metrics_group found = {.by_count = 0};
    char texts[8][100], *sorted[8];
    for (uint32_t i = 0; i < query->by_count; i++) {
        struct traceql_value value = oracle_value(model, span, &query->by[i]);
        if (value.type == TRACEQL_NIL)
            continue;
        found.by[found.by_count] = i;
        found.by_values[found.by_count++] = value;
    }
    if (query->by_count && !found.by_count)
        found.by_values[found.by_count++] =
            (struct traceql_value){.type = TRACEQL_STRING, .text = FM_SLICE("nil")};
    for (uint32_t i = 0; i < found.by_count; i++) {
        metrics_label(texts[i], sizeof texts[0], &query->by[found.by[i]], &found.by_values[i]);
        sorted[i] = texts[i];
    }
    qsort(sorted, found.by_count, sizeof *sorted, metrics_compare);
    for (uint32_t i = 0; i < found.by_count; i++)
        (void)snprintf(found.labels + strlen(found.labels),
                       sizeof found.labels - strlen(found.labels), "%s ", sorted[i]);
    for (uint32_t i = 0; i < metrics->group_count; i++)
        if (strcmp(metrics->groups[i].labels, found.labels) == 0)
            return &metrics->groups[i];
    struct metrics_group *group = &metrics->groups[metrics->group_count++];
    *group = found;
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

static void metrics_row(struct metrics *metrics, struct metrics_group *group, const char *front,
                        bool has_extra, double extra)
{
    FM_ASSERT(metrics->row_count < METRICS_ROWS);
    struct metrics_row *row = &metrics->rows[metrics->row_count++];
    *row = (struct metrics_row){.group = group, .has_extra = has_extra, .extra = extra};
    (void)snprintf(row->front, sizeof row->front, "%s", front);
    for (uint32_t i = 0; i < metrics->step_count; i++)
        row->has[i] = metrics_sample(metrics, group, i, extra, &row->values[i]);
}

static void metrics_rows(struct metrics *metrics, struct metrics_group *group)
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
    char label[64] = "";
    if (query->metrics == TRACEQL_QUANTILE_OVER_TIME) {
        for (uint32_t i = 0; i < query->quantile_count; i++) {
            (void)snprintf(label, sizeof label, "p=%.6g ", query->quantiles[i]);
            metrics_row(metrics, group, label, true, query->quantiles[i]);
        }
        return;
    }
    if (query->metrics != TRACEQL_HISTOGRAM_OVER_TIME) {
        if (!query->by_count)
            (void)snprintf(label, sizeof label, "__name__=string:%s ", names[query->metrics]);
        metrics_row(metrics, group, label, false, 0);
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
                metrics_row(metrics, group, label, true, value);
        }
}

/* ---- second stages ---- */

/* Statuses and kinds stand in the order of their names. */
static int64_t metrics_place(const struct traceql_value *value)
{
    static const int kinds[] = {5, 2, 4, 0, 3, 1}, statuses[] = {2, 1, 0};
    return value->type == TRACEQL_KIND     ? kinds[value->integer]
           : value->type == TRACEQL_STATUS ? statuses[value->integer]
                                           : value->integer;
}

static int metrics_value_order(const struct traceql_value *a, const struct traceql_value *b)
{
    if (a->type != b->type)
        return a->type < b->type ? -1 : 1;
    if (a->type == TRACEQL_STRING)
        return fm_slice_compare(a->text, b->text);
    if (a->type == TRACEQL_FLOAT)
        return (a->number > b->number) - (a->number < b->number);
    return metrics_place(a) < metrics_place(b) ? -1 : metrics_place(a) > metrics_place(b);
}

/* Which of two equal ones topk takes: by number of labels, then label by label. */
static int metrics_row_order(const struct metrics *metrics, const struct metrics_row *a,
                             const struct metrics_row *b)
{
    const struct metrics_group *x = a->group, *y = b->group;
    if (x->by_count != y->by_count)
        return x->by_count < y->by_count ? -1 : 1;
    for (uint32_t i = 0; i < x->by_count; i++) {
        char names[2][100];
        metrics_label(names[0], 100, &metrics->query->by[x->by[i]], &x->by_values[i]);
        metrics_label(names[1], 100, &metrics->query->by[y->by[i]], &y->by_values[i]);
        *strchr(names[0], '=') = *strchr(names[1], '=') = 0;
        int order = strcmp(names[0], names[1]);
        if (!order)
            order = metrics_value_order(&x->by_values[i], &y->by_values[i]);
        if (order)
            return order;
    }
    return (a->extra > b->extra) - (a->extra < b->extra);
}

/* How many rows stand before this one in a step. */
static int64_t metrics_rank(const struct metrics *metrics, const bool *has, uint32_t at,
                            uint32_t step, bool is_top)
{
    const struct metrics_row *row = &metrics->rows[at];
    int64_t before = 0;
    for (uint32_t i = 0; i < metrics->row_count; i++) {
        const struct metrics_row *other = &metrics->rows[i];
        if (i == at || !has[i])
            continue;
        double x = is_top ? other->values[step] : -other->values[step];
        double y = is_top ? row->values[step] : -row->values[step];
        int order = metrics_row_order(metrics, other, row);
        before += x > y || (x == y && (is_top ? order < 0 : order > 0));
    }
    return before;
}

static bool metrics_passes(double value, enum traceql_op op, const struct traceql_value *wanted)
{
    double bound = wanted->type == TRACEQL_FLOAT      ? wanted->number
                   : wanted->type == TRACEQL_DURATION ? (double)wanted->integer / 1e9
                                                      : (double)wanted->integer;
    return op == TRACEQL_EQ   ? value == bound
           : op == TRACEQL_NE ? value != bound
           : op == TRACEQL_LT ? value < bound
           : op == TRACEQL_LE ? value <= bound
           : op == TRACEQL_GT ? value > bound
                              : value >= bound;
}

static void metrics_second(struct metrics *metrics, const struct traceql_second *stage)
{
    for (uint32_t step = 0; step < metrics->step_count; step++) {
        bool has[METRICS_ROWS];
        for (uint32_t i = 0; i < metrics->row_count; i++)
            has[i] = metrics->rows[i].has[step];
        for (uint32_t i = 0; i < metrics->row_count; i++) {
            struct metrics_row *row = &metrics->rows[i];
            row->has[step] &= stage->kind == TRACEQL_THRESHOLD
                                  ? metrics_passes(row->values[step], stage->op, &stage->value)
                                  : metrics_rank(metrics, has, i, step,
                                                 stage->kind == TRACEQL_TOPK) < stage->limit;
        }
    }
}

/* ---- the answer ---- */

static void metrics_put_samples(const struct metrics *metrics, const double *values,
                                const bool *has, struct fm_buf *out)
{
    for (uint32_t i = 0; i < metrics->step_count; i++)
        if (!has || has[i])
            fm_buf_printf(
                out, " %llu:%.6g",
                (unsigned long long)((metrics->first_ns + i * metrics->step_ns) / 1000000),
                values[i] == 0 ? 0.0 : values[i]);
    fm_buf_puts(out, "\n");
}

static void metrics_put_rows(const struct metrics *metrics, struct fm_buf *out)
{
    for (uint32_t i = 0; i < metrics->row_count; i++) {
        const struct metrics_row *row = &metrics->rows[i];
        bool any = false;
        for (uint32_t step = 0; step < metrics->step_count; step++)
            any |= row->has[step];
        if (!any)
            continue;
        fm_buf_printf(out, "%s%s;", row->front, row->group->labels);
        metrics_put_samples(metrics, row->values, row->has, out);
    }
}

static void metrics_begin(struct metrics *metrics, const struct traceql_query *query,
                          const struct model_question *question)
{
    uint64_t step_ns = question->step_ns;
    metrics->query = query;
    if (question->instant) {
        metrics->step_ns = question->end_ns - question->start_ns;
        metrics->first_ns = question->end_ns;
        metrics->step_count = 1;
        return;
    }
    metrics->step_ns = step_ns;
    metrics->first_ns = question->start_ns / step_ns * step_ns;
    uint64_t last_ns = (question->end_ns + step_ns - 1) / step_ns * step_ns;
    metrics->step_count = (uint32_t)((last_ns - metrics->first_ns) / step_ns) + 1;
    FM_ASSERT(metrics->step_count <= METRICS_STEPS);
}

/* The step of a span that starts then; false: none.  A step is what is behind its left edge up to
 * its right one; that of an instant has both. */
static bool metrics_step(const struct metrics *metrics, const struct model_question *question,
                         uint64_t at_ns, uint32_t *ret_step)
{
    for (uint32_t i = 0; i < metrics->step_count; i++) {
        uint64_t right_ns = metrics->first_ns + i * metrics->step_ns;
        uint64_t left_ns = right_ns - metrics->step_ns;
        if (at_ns <= right_ns && (at_ns > left_ns || (question->instant && at_ns == left_ns)))
            return *ret_step = i, true;
    }
    return false;
}

int oracle_metrics(const struct model *model, const struct traceql_query *query,
                   const struct model_question *question, struct fm_buf *out)
{
    struct metrics *metrics = calloc(1, sizeof *metrics);
    uint64_t mask = 0;
    int rc = oracle_survivors(model, query, &mask);
    metrics_begin(metrics, query, question);
    for (uint32_t i = 0; i < model->span_count && rc == FM_OK; i++) {
        uint32_t step;
        double value;
        if (!(mask >> i & 1) || !metrics_step(metrics, question, model->spans[i].start_ns, &step) ||
            !metrics_observe(metrics, model, i, &value))
            continue;
        struct metrics_group *group = metrics_find(metrics, model, i);
        group->values[step][group->counts[step]++] = value;
    }
    for (uint32_t i = 0; i < metrics->group_count; i++)
        metrics_rows(metrics, &metrics->groups[i]);
    for (const struct traceql_second *stage = query->seconds; stage; stage = stage->next)
        metrics_second(metrics, stage);
    metrics_put_rows(metrics, out);
    free(metrics);
    oracle_sort_lines(out);
    return rc;
}

/* ---- compare() ---- */

struct metrics_value { /* of an attribute, how often in a population */
    char text[100];
    double counts[METRICS_STEPS];
};

static void metrics_compare_field(struct metrics *metrics, const struct model *model,
                                  const struct model_question *question,
                                  const struct traceql_field *field, uint64_t mask,
                                  const char *population, struct fm_buf *out)
{
    struct metrics_value values[MODEL_SPANS] = {{.text = ""}};
    double totals[METRICS_STEPS] = {0};
    uint32_t count = 0, at, step;
    char label[100];
    struct traceql_value nil = {.type = TRACEQL_STRING, .text = FM_SLICE("nil")};
    for (uint32_t i = 0; i < model->span_count; i++) {
        if (!(mask >> i & 1) || !metrics_step(metrics, question, model->spans[i].start_ns, &step))
            continue;
        struct traceql_value value = oracle_value(model, i, field);
        if (value.type == TRACEQL_NIL)
            continue;
        metrics_label(label, sizeof label, field, &value);
        for (at = 0; at < count && strcmp(values[at].text, label) != 0;)
            at++;
        count += at == count;
        memcpy(values[at].text, label, sizeof label);
        values[at].counts[step]++;
        totals[step]++;
    }
    for (at = 0; at < count; at++) {
        fm_buf_printf(out, "__meta_type=string:%s %s ;", population, values[at].text);
        metrics_put_samples(metrics, values[at].counts, NULL, out);
    }
    metrics_label(label, sizeof label, field, &nil);
    if (!count)
        return;
    fm_buf_printf(out, "__meta_type=string:%s_total %s ;", population, label);
    metrics_put_samples(metrics, totals, NULL, out);
}

/* Of all attributes that the model can have; top is large enough for all values. */
int oracle_comparison(const struct model *model, const struct traceql_query *query,
                      const struct model_question *question, struct fm_buf *out)
{
    static const enum traceql_intrinsic intrinsics[] = {
        TRACEQL_NAME,       TRACEQL_STATUS_CODE,   TRACEQL_STATUS_MESSAGE,
        TRACEQL_SPAN_KIND,  TRACEQL_ROOT_NAME,     TRACEQL_ROOT_SERVICE,
        TRACEQL_SCOPE_NAME, TRACEQL_SCOPE_VERSION, TRACEQL_EVENT_NAME,
    };
    static const char *const names[] = {"a", "b", "n", "f", "service.name"};
    struct metrics *metrics = calloc(1, sizeof *metrics);
    uint64_t mask = 0, selected = 0;
    int rc = oracle_selected(model, query, &mask, &selected);
    metrics_begin(metrics, query, question);
    for (uint32_t side = 0; side < 2 && rc == FM_OK; side++) {
        const char *population = side ? "selection" : "baseline";
        uint64_t spans = side ? selected : mask & ~selected;
        for (size_t i = 0; i < FM_COUNT(intrinsics); i++) {
            struct traceql_field field = {.intrinsic = intrinsics[i]};
            metrics_compare_field(metrics, model, question, &field, spans, population, out);
        }
        for (int scope = TRACEQL_SPAN; scope <= TRACEQL_INSTRUMENTATION; scope++)
            for (size_t i = 0; i < FM_COUNT(names); i++) {
                struct traceql_field field = {.scope = scope, .name = fm_slice_text(names[i])};
                metrics_compare_field(metrics, model, question, &field, spans, population, out);
            }
    }
    free(metrics);
    oracle_sort_lines(out);
    return rc;
}
