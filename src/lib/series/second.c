/* SPDX-License-Identifier: Apache-2.0 */
/* What stands behind the function: topk, bottomk, comparisons; and the order of rows. */
#include "internal.h"

#include <math.h>
#include <stdlib.h>

#include "fermata/units.h"

/* ---- order ---- */

/* By number of labels, then label by label. */
static int second_compare_rows(const void *a, const void *b)
{
    const struct series_row *left = a, *right = b;
    int order = (left->label_count > right->label_count) - (left->label_count < right->label_count);

    for (uint32_t i = 0; !order && i < left->label_count; i++) {
        order = fm_slice_compare(left->labels[i].name, right->labels[i].name);
        if (!order)
            order = series_value_compare(&left->labels[i].value, &right->labels[i].value);
    }
    return order;
}

void series_sort(struct series *series)
{
    if (series->row_count)
        qsort(series->rows, series->row_count, sizeof *series->rows, second_compare_rows);
}

static bool second_has_sample(const struct series *series, const struct series_row *row)
{
    for (uint32_t i = 0; i < series->step_count; i++) {
        if (!isnan(row->values[i]))
            return true;
    }
    return false;
}

void series_drop_empty(struct series *series)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < series->row_count; i++) {
        if (!series->rows[i].values || second_has_sample(series, &series->rows[i]))
            series->rows[kept++] = series->rows[i];
    }
    series->row_count = kept;
}

/* ---- topk, bottomk ---- */

struct second_candidate {
    double value; /* negated for bottomk: the greatest wins */
    uint32_t row;
    uint32_t tie; /* the least wins */
};

static int second_compare_candidates(const void *a, const void *b)
{
    const struct second_candidate *left = a, *right = b;

    if (left->value != right->value)
        return left->value > right->value ? -1 : 1;
    return (left->tie > right->tie) - (left->tie < right->tie);
}

/* Of equal values topk takes the first by labels, bottomk the last, as Tempo does. */
static void second_rank_step(struct series *series, const struct traceql_second *stage,
                             struct second_candidate *candidates, uint32_t step)
{
    bool is_top = stage->kind == TRACEQL_TOPK;
    uint32_t count = 0;

    for (uint32_t i = 0; i < series->row_count; i++) {
        double value = series->rows[i].values ? series->rows[i].values[step] : NAN;
        if (isnan(value))
            continue;
        candidates[count++] = (struct second_candidate){
            .value = is_top ? value : -value,
            .row = i,
            .tie = is_top ? i : UINT32_MAX - i,
        };
    }
    if ((int64_t)count <= stage->limit)
        return;
    qsort(candidates, count, sizeof *candidates, second_compare_candidates);
    for (uint32_t i = (uint32_t)FM_MAX(stage->limit, 0); i < count; i++)
        series->rows[candidates[i].row].values[step] = NAN;
}

static int second_rank(struct series *series, const struct traceql_second *stage)
{
    struct second_candidate *candidates;
    int rc;

    if ((int64_t)series->row_count <= stage->limit)
        return FM_OK;
    rc = series_alloc(series, sizeof *candidates * series->row_count, &candidates);
    for (uint32_t step = 0; rc == FM_OK && step < series->step_count; step++)
        second_rank_step(series, stage, candidates, step);
    return rc;
}

/* ---- comparisons ---- */

static bool second_passes(double value, enum traceql_op op, double bound)
{
    switch (op) {
    case TRACEQL_EQ:
        return value == bound;
    case TRACEQL_NE:
        return value != bound;
    case TRACEQL_GT:
        return value > bound;
    case TRACEQL_GE:
        return value >= bound;
    case TRACEQL_LT:
        return value < bound;
    case TRACEQL_LE:
        return value <= bound;
    default:
        return false;
    }
}

static double second_bound(const struct traceql_value *value)
{
    if (value->type == TRACEQL_FLOAT)
        return value->number;
    if (value->type == TRACEQL_DURATION)
        return (double)value->integer / (double)FM_NS_PER_S;
    return value->type == TRACEQL_INT ? (double)value->integer : NAN;
}

static void second_filter(struct series *series, const struct traceql_second *stage)
{
    double bound = second_bound(&stage->value);

    for (uint32_t i = 0; i < series->row_count; i++) {
        double *values = series->rows[i].values;
        for (uint32_t step = 0; values && step < series->step_count; step++) {
            if (!second_passes(values[step], stage->op, bound))
                values[step] = NAN;
        }
    }
}

int series_second_stages(struct series *series)
{
    const struct traceql_second *stage = series->query->seconds;
    int rc = FM_OK;

    for (; rc == FM_OK && stage; stage = stage->next) {
        if (stage->kind == TRACEQL_THRESHOLD)
            second_filter(series, stage);
        else
            rc = second_rank(series, stage);
        series_drop_empty(series);
    }
    return rc;
}
