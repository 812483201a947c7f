/* SPDX-License-Identifier: Apache-2.0 */
/* Structural operators over nested set numbers, in time linear in the spans of a set.
 *
 * Depth first, a span takes the next number on entry (left) and on exit (right); its parent is its
 * parent's left, -1 for a root; all are 0 where no root leads to a span, and such a span relates to
 * nothing.  So with an array over the numbers:
 *
 *   has a parent in X      the number of its parent is the left of one
 *   has a child in X       its left is the parent number of one
 *   has a sibling in X     one but itself has its parent number
 *   has an ancestor in X   at its left more of X have been entered than left
 *   has a descendant in X  between its left and right some of X have been entered
 *
 * Where numbers are larger than the set accounts for (a damaged source, or by() has split a trace)
 * they are replaced by their ranks first, which costs a sort.
 */
#include "internal.h"

#include <stdlib.h>

struct relate_set {
    const uint32_t *spans;
    uint32_t count;
    int64_t *left, *right, *parent; /* by place in spans */
    int64_t positions;              /* above all of them */
    int32_t *at;                    /* by number */
};

static int relate_order(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int64_t relate_rank(const int64_t *sorted, size_t count, int64_t value)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (sorted[middle] < value)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && sorted[low] == value ? (int64_t)low + 1 : 0;
}

static int relate_compress(struct eval_run *run, struct relate_set *set)
{
    size_t count = set->count, kept = 0;
    int64_t *sorted = run_alloc(run, 3 * count, sizeof *sorted);
    if (!sorted)
        return run->rc;
    memcpy(sorted, set->left, count * sizeof *sorted);
    memcpy(sorted + count, set->right, count * sizeof *sorted);
    memcpy(sorted + 2 * count, set->parent, count * sizeof *sorted);
    qsort(sorted, 3 * count, sizeof *sorted, relate_order);
    for (size_t i = 0; i < 3 * count; i++)
        if (sorted[i] > 0 && (!kept || sorted[kept - 1] != sorted[i]))
            sorted[kept++] = sorted[i];
    for (size_t i = 0; i < count; i++) {
        set->left[i] = relate_rank(sorted, kept, set->left[i]);
        set->right[i] = relate_rank(sorted, kept, set->right[i]);
        set->parent[i] = relate_rank(sorted, kept, set->parent[i]);
    }
    set->positions = (int64_t)kept + 1;
    return FM_OK;
}

static bool relate_is_placed(const struct relate_set *set, uint32_t i)
{
    return set->left[i] > 0 && set->right[i] > set->left[i];
}

static void relate_clear(struct relate_set *set)
{
    memset(set->at, 0, (size_t)(set->positions + 1) * sizeof *set->at);
}

/* Who of y has a number (left or parent) that one of x has as the marked one; where both are the
 * same number, a span itself does not count. */
static void relate_look(struct relate_set *set, const int64_t *marked, const int64_t *numbers,
                        const uint8_t *x, const uint8_t *y, uint8_t *found)
{
    relate_clear(set);
    for (uint32_t i = 0; i < set->count; i++)
        if (x[set->spans[i]] && marked[i] > 0)
            set->at[marked[i]]++;
    for (uint32_t i = 0; i < set->count; i++) {
        uint32_t span = set->spans[i];
        int32_t self = marked == numbers && x[span];
        found[span] = y[span] && numbers[i] > 0 && set->at[numbers[i]] > self;
    }
}

static void relate_add_up(struct relate_set *set)
{
    for (int64_t n = 1; n <= set->positions; n++)
        set->at[n] += set->at[n - 1];
}

static void relate_ancestors(struct relate_set *set, const uint8_t *x, const uint8_t *y,
                             uint8_t *found)
{
    relate_clear(set);
    for (uint32_t i = 0; i < set->count; i++) {
        if (!x[set->spans[i]] || !relate_is_placed(set, i))
            continue;
        set->at[set->left[i] + 1]++; /* not yet at its own left */
        set->at[set->right[i]]--;
    }
    relate_add_up(set);
    for (uint32_t i = 0; i < set->count; i++) {
        uint32_t span = set->spans[i];
        found[span] = y[span] && relate_is_placed(set, i) && set->at[set->left[i]] > 0;
    }
}

static void relate_descendants(struct relate_set *set, const uint8_t *x, const uint8_t *y,
                               uint8_t *found)
{
    relate_clear(set);
    for (uint32_t i = 0; i < set->count; i++)
        if (x[set->spans[i]] && relate_is_placed(set, i))
            set->at[set->left[i]]++;
    relate_add_up(set);
    for (uint32_t i = 0; i < set->count; i++) {
        uint32_t span = set->spans[i];
        found[span] = y[span] && relate_is_placed(set, i) &&
                      set->at[set->right[i] - 1] > set->at[set->left[i]];
    }
}

/* Who of y stands to one of x in the relation that op says of right and left. */
static void relate_find(struct relate_set *set, enum traceql_op op, const uint8_t *x,
                        const uint8_t *y, uint8_t *found)
{
    switch (op) {
    case TRACEQL_CHILD:
        relate_look(set, set->left, set->parent, x, y, found);
        break;
    case TRACEQL_PARENT_OF:
        relate_look(set, set->parent, set->left, x, y, found);
        break;
    case TRACEQL_SIBLING:
        relate_look(set, set->parent, set->parent, x, y, found);
        break;
    case TRACEQL_DESCENDANT:
        relate_ancestors(set, x, y, found);
        break;
    default:
        relate_descendants(set, x, y, found);
        break;
    }
}

static enum traceql_op relate_inverse(enum traceql_op op)
{
    switch (op) {
    case TRACEQL_CHILD:
        return TRACEQL_PARENT_OF;
    case TRACEQL_PARENT_OF:
        return TRACEQL_CHILD;
    case TRACEQL_DESCENDANT:
        return TRACEQL_ANCESTOR;
    case TRACEQL_ANCESTOR:
        return TRACEQL_DESCENDANT;
    default:
        return op;
    }
}

/* Room that is used for one set after the other. */
static int relate_room(struct eval_run *run, struct relate *relate, uint32_t count)
{
    if (count <= relate->count_max)
        return FM_OK;
    size_t room = FM_MAX((size_t)count, 2 * (size_t)relate->count_max);
    relate->numbers = run_alloc(run, 3 * room, sizeof *relate->numbers);
    if (!relate->numbers)
        return run->rc;
    relate->count_max = (uint32_t)FM_MIN(room, UINT32_MAX);
    return FM_OK;
}

static int relate_positions(struct eval_run *run, struct relate *relate, struct relate_set *set)
{
    int64_t largest = 0;
    for (uint32_t i = 0; i < set->count; i++) {
        set->left[i] = relate->left[set->spans[i]];
        set->right[i] = relate->right[set->spans[i]];
        set->parent[i] = relate->parent[set->spans[i]];
        largest = FM_MAX(largest, set->left[i]);
        largest = FM_MAX(largest, set->right[i]);
        largest = FM_MAX(largest, set->parent[i]);
    }
    set->positions = largest + 1;
    if (largest > 8 * (int64_t)set->count + 64) {
        int rc = relate_compress(run, set);
        if (rc)
            return rc;
    }
    if (set->positions >= relate->positions_max) {
        relate->positions_max = 2 * set->positions + 64;
        relate->at = run_alloc(run, (size_t)relate->positions_max, sizeof *relate->at);
    }
    set->at = relate->at;
    return relate->at ? FM_OK : run->rc;
}

int relate_spans(struct eval_run *run, struct relate *relate, const uint32_t *spans, uint32_t count,
                 const uint8_t *a, const uint8_t *b, uint8_t *out)
{
    if (count == 1) { /* nobody to relate to */
        out[spans[0]] = relate->relation == TRACEQL_NEGATED && b[spans[0]];
        return FM_OK;
    }
    int rc = relate_room(run, relate, count);
    if (rc)
        return rc;
    struct relate_set set = {.spans = spans,
                             .count = count,
                             .left = relate->numbers,
                             .right = relate->numbers + count,
                             .parent = relate->numbers + 2 * (size_t)count};
    rc = relate_positions(run, relate, &set);
    if (rc)
        return rc;
    relate_find(&set, relate->op, a, b, out);
    if (relate->relation == TRACEQL_NEGATED)
        for (uint32_t i = 0; i < count; i++)
            out[spans[i]] = b[spans[i]] & (uint8_t)(out[spans[i]] ^ 1);
    if (relate->relation != TRACEQL_UNION)
        return FM_OK;
    uint8_t *also = run_mask_take(run);
    if (!also)
        return run->rc;
    relate_find(&set, relate_inverse(relate->op), b, a, also);
    for (uint32_t i = 0; i < count; i++)
        out[spans[i]] |= also[spans[i]];
    run_mask_give(run, also);
    return FM_OK;
}
