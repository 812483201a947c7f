/* SPDX-License-Identifier: Apache-2.0 */
/* cover - which positions of the log are in a block, tenant by tenant.
 *
 * Nothing that could be lost alone: every block directory says in local.json which LSNs it covers,
 * and start-up collects them.  A block covers everything of its tenant from the end of the block
 * before it, so that copies of a batch written twice (WRITE-2) are covered with it.
 */
#include "internal.h"

#include <stdlib.h>

/* The first range that ends at lsn or later. */
static size_t cover_position(const struct tenant *tenant, uint64_t lsn)
{
    size_t low = 0, high = tenant->covered_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (tenant->covered[middle].last < lsn)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool cover_has(const struct tenant *tenant, uint64_t lsn)
{
    size_t position = cover_position(tenant, lsn);
    return position < tenant->covered_count && tenant->covered[position].first <= lsn;
}

struct lsn_range cover_gap(const struct tenant *tenant, uint64_t lsn, uint64_t floor)
{
    size_t position = cover_position(tenant, lsn);
    uint64_t after = position ? tenant->covered[position - 1].last + 1 : 0;
    return (struct lsn_range){
        .first = FM_MAX(after, FM_MIN(floor, lsn)),
        .last = position < tenant->covered_count ? tenant->covered[position].first - 1 : UINT64_MAX,
    };
}

int cover_reserve(struct tenant *tenant)
{
    if (tenant->covered_count < tenant->covered_capacity)
        return FM_OK;
    size_t capacity = tenant->covered_capacity ? tenant->covered_capacity * 2 : 2;
    struct lsn_range *grown = realloc(tenant->covered, capacity * sizeof *grown);
    if (!grown)
        return FM_ENOMEM;
    tenant->covered = grown;
    tenant->covered_capacity = capacity;
    return FM_OK;
}

/* Joins neighbours: a healthy tenant has one range. */
int cover_add(struct tenant *tenant, uint64_t first, uint64_t last)
{
    if (first > last)
        return FM_ECORRUPT;
    size_t begin = cover_position(tenant, first ? first - 1 : 0), end = begin;
    struct lsn_range joined = {first, last};
    while (end < tenant->covered_count &&
           (last == UINT64_MAX || tenant->covered[end].first <= last + 1)) {
        joined.first = FM_MIN(joined.first, tenant->covered[end].first);
        joined.last = FM_MAX(joined.last, tenant->covered[end].last);
        end++;
    }
    if (begin == end) {
        int rc = cover_reserve(tenant);
        if (rc < 0)
            return rc;
        memmove(&tenant->covered[begin + 1], &tenant->covered[begin],
                (tenant->covered_count - begin) * sizeof *tenant->covered);
        tenant->covered_count++;
    } else {
        memmove(&tenant->covered[begin + 1], &tenant->covered[end],
                (tenant->covered_count - end) * sizeof *tenant->covered);
        tenant->covered_count -= end - begin - 1;
    }
    tenant->covered[begin] = joined;
    return FM_OK;
}
