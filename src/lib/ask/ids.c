/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of trace ids: what a block holds, what two of them share. */
#include <stdlib.h>

#include "fermata/ask.h"
#include "fermata/block_frames.h"

static int id_compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct trace_id));
}

size_t ask_ids_sort(struct trace_id *ids, size_t count)
{
    size_t kept = 0;
    if (count > 1)
        qsort(ids, count, sizeof *ids, id_compare);
    for (size_t i = 0; i < count; i++) {
        if (!kept || !trace_id_equal(&ids[kept - 1], &ids[i]))
            ids[kept++] = ids[i];
    }
    return kept;
}

bool ask_ids_has(const struct trace_id *ids, size_t count, const struct trace_id *id)
{
    return count && bsearch(id, ids, count, sizeof *ids, id_compare);
}

static bool ids_are_sorted(const struct trace_id *ids, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        if (id_compare(&ids[i - 1], &ids[i]) >= 0)
            return false;
    }
    return true;
}

int ask_ids_of_block(const struct block *block, size_t bytes_max, struct ask_ids **ret_ids,
                     struct fm_why *why)
{
    struct fm_buf bytes;
    fm_buf_init(&bytes, bytes_max);
    int rc = block_trace_ids(block, &bytes, why);
    if (rc == FM_OK && bytes.failed)
        rc = fm_fail(why, FM_ELIMIT, "the ids of a block take more than %zu bytes", bytes_max);
    size_t count = bytes.len / sizeof(struct trace_id);
    struct ask_ids *ids =
        rc == FM_OK ? malloc(sizeof *ids + count * sizeof(struct trace_id)) : NULL;
    if (ids) {
        if (count)
            memcpy(ids->ids, bytes.ptr, count * sizeof(struct trace_id));
        ids->count = ids_are_sorted(ids->ids, count) ? count : ask_ids_sort(ids->ids, count);
        *ret_ids = ids;
    } else if (rc == FM_OK) {
        rc = fm_fail(why, FM_ENOMEM, "no memory for the ids of a block");
    }
    fm_buf_fini(&bytes);
    return rc;
}

/* By leaps, for the next one is often near. */
size_t ask_ids_before(const struct trace_id *ids, size_t count, const struct trace_id *id)
{
    size_t step = 1, low = 0, high;
    while (low + step < count && id_compare(&ids[low + step], id) < 0) {
        low += step;
        step *= 2;
    }
    high = FM_MIN(low + step, count);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (id_compare(&ids[middle], id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int ask_ids_shared(const struct ask_ids *a, const struct ask_ids *b, struct ask_ids **ret_ids)
{
    struct fm_buf found;
    size_t i = 0, j = 0;
    fm_buf_init(&found, FM_MIN(a->count, b->count) * sizeof(struct trace_id) + 64);
    while (i < a->count && j < b->count) {
        int order = id_compare(&a->ids[i], &b->ids[j]);
        if (order == 0) {
            fm_buf_put(&found, &a->ids[i], sizeof a->ids[i]);
            i++, j++;
        } else if (order < 0) {
            i += ask_ids_before(a->ids + i, a->count - i, &b->ids[j]);
        } else {
            j += ask_ids_before(b->ids + j, b->count - j, &a->ids[i]);
        }
    }
    struct ask_ids *ids = found.failed ? NULL : malloc(sizeof *ids + found.len);
    if (ids) {
        ids->count = found.len / sizeof(struct trace_id);
        if (found.len)
            memcpy(ids->ids, found.ptr, found.len);
    }
    fm_buf_fini(&found);
    if (!ids)
        return FM_ENOMEM;
    *ret_ids = ids;
    return FM_OK;
}
