/* SPDX-License-Identifier: Apache-2.0 */
/* The order of resources and scopes within a trace.
 *
 * The format leaves it free, and every column below the spans repeats it in its repetition levels:
 * some sixty columns, each with the same structure.  Smaller groups first makes that structure
 * nearly a function of a few counts, which saves 1.3 bytes a span. */
#include "builder.h"

#include <stdlib.h>

#define ARRANGE_FEW 16u /* groups that are sorted without qsort */

/* Rows of one resource and scope, side by side. */
struct arrange_group {
    uint32_t resource_spans; /* of all groups of its resource in the trace */
    uint32_t resource_groups;
    uint32_t resource, scope; /* numbers, in order of first arrival */
    uint32_t first, count;
};

static int arrange_compare(const void *left, const void *right)
{
    const struct arrange_group *a = left, *b = right;
    if (a->resource_groups != b->resource_groups)
        return a->resource_groups > b->resource_groups ? 1 : -1;
    if (a->resource_spans != b->resource_spans)
        return a->resource_spans > b->resource_spans ? 1 : -1;
    if (a->resource != b->resource)
        return a->resource < b->resource ? -1 : 1;
    if (a->count != b->count)
        return a->count > b->count ? 1 : -1;
    return a->scope < b->scope ? -1 : a->scope > b->scope;
}

static void arrange_sort_few(struct arrange_group *groups, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        struct arrange_group group = groups[i];
        uint32_t at = i;
        for (; at && arrange_compare(&group, &groups[at - 1]) < 0; at--)
            groups[at] = groups[at - 1];
        groups[at] = group;
    }
}

/* The rows come ordered by resource, then scope.  Returns how many groups there are. */
static uint32_t arrange_find_groups(const struct block_builder *builder, const uint8_t *const *rows,
                                    uint32_t count, struct arrange_group *groups)
{
    uint32_t found = 0, last_group = UINT32_MAX;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t trace, group;
        (void)row_read_place(rows[i], &trace, &group);
        if (i == 0 || group != last_group) {
            const uint8_t *key = intern_get(&builder->groups, group).ptr;
            groups[found++] = (struct arrange_group){
                .resource = builder_load_u32(key), .scope = builder_load_u32(key + 4), .first = i};
            last_group = group;
        }
        groups[found - 1].count++;
    }
    return found;
}

static void arrange_sum_resources(struct arrange_group *groups, uint32_t count)
{
    for (uint32_t from = 0, to; from < count; from = to) {
        uint32_t spans = 0;
        for (to = from; to < count && groups[to].resource == groups[from].resource; to++)
            spans += groups[to].count;
        for (uint32_t i = from; i < to; i++) {
            groups[i].resource_spans = spans;
            groups[i].resource_groups = to - from;
        }
    }
}

int arrange_trace(const struct block_builder *builder, struct arrange *arrange,
                  const uint8_t **rows, uint32_t count)
{
    if (count > arrange->capacity) {
        uint32_t capacity = FM_MAX(count, 64u);
        arrange_fini(arrange);
        arrange->groups = malloc(capacity * sizeof *arrange->groups);
        arrange->rows = malloc(capacity * sizeof *arrange->rows);
        if (!arrange->groups || !arrange->rows)
            return FM_ENOMEM;
        arrange->capacity = capacity;
    }
    uint32_t found = arrange_find_groups(builder, rows, count, arrange->groups);
    if (found < 2)
        return FM_OK;
    arrange_sum_resources(arrange->groups, found);
    if (found > ARRANGE_FEW)
        qsort(arrange->groups, found, sizeof *arrange->groups, arrange_compare);
    else
        arrange_sort_few(arrange->groups, found);
    memcpy(arrange->rows, rows, count * sizeof *rows);
    for (uint32_t i = 0; i < found; i++) {
        const struct arrange_group *group = &arrange->groups[i];
        memcpy(rows, arrange->rows + group->first, group->count * sizeof *rows);
        rows += group->count;
    }
    return FM_OK;
}

void arrange_fini(struct arrange *arrange)
{
    free(fm_take(arrange->groups));
    free(fm_take(arrange->rows));
    arrange->capacity = 0;
}
