/* SPDX-License-Identifier: Apache-2.0 */
/* A block's rows in shares, for threads that read it side by side.
 *
 * A share begins where pages do, if there is such a place not far away: a page that two shares have
 * a part of is decoded twice.  Where that is depends on nothing but the file, so that shares fit
 * together whoever asks for them. */
#include "reader.h"

#include "fermata/block_frames.h"

/* The block's row at which that share begins. */
static int share_begin(const struct block *block, uint32_t share, uint32_t count, uint64_t *ret_row,
                       struct fm_why *why)
{
    uint64_t total = pq_file_row_count(block->file), first = 0, page;
    uint64_t row = total / count * share + total % count * share / count;
    size_t group = 0;
    *ret_row = row;
    if (!share || row == total)
        return FM_OK;
    while (row - first >= pq_row_group_row_count(block->file, group))
        first += pq_row_group_row_count(block->file, group++);
    int rc = pq_page_begin(block->file, group, block->leaves[LEAF_TRACE_ID].index, row - first,
                           &page, why);
    if (rc < 0)
        return rc == FM_EMALFORMED ? FM_ECORRUPT : rc;
    if (row - (first + page) <= total / count / 2)
        *ret_row = first + page;
    return FM_OK;
}

int block_share(const struct block *block, uint32_t share, uint32_t count, uint64_t *ret_from,
                uint64_t *ret_to, struct fm_why *why)
{
    uint64_t from, to = 0;
    int rc = share_begin(block, share, count, &from, why);
    if (rc == FM_OK)
        rc = share_begin(block, share + 1, count, &to, why);
    if (rc < 0)
        return rc;
    if (from >= to)
        return FM_NONE;
    *ret_from = from;
    *ret_to = to;
    return FM_OK;
}
