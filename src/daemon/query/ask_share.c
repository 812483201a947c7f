/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs of a question: traces that lie in several places, found by what places near in time share:
 * ids of blocks, and keys of the head's records.  What a worker's place shares with others is
 * partial there; of the partial traces that may matter, the candidates, the pieces are listed. */
#include <stdlib.h>

#include "internal.h"

#define PLACE_NEAR_NS (5 * 60 * FM_NS_PER_S) /* pieces of one trace lie no further apart */

bool place_is_near(const struct query_place *a, const struct query_place *b)
{
    uint64_t gap = a->start_ns > b->end_ns   ? a->start_ns - b->end_ns
                   : b->start_ns > a->end_ns ? b->start_ns - a->end_ns
                                             : 0;
    return gap <= PLACE_NEAR_NS;
}

static size_t ids_bytes(const struct ask_ids *ids)
{
    return sizeof *ids + ids->count * sizeof ids->ids[0];
}

static int worker_load_ids(struct query_worker *worker, uint32_t place, struct cache_entry **entry)
{
    struct query_task *task = worker->task;
    struct place_opened opened;
    struct ask_ids *ids = NULL;
    if (*entry)
        return FM_OK;
    int rc = place_open(&opened, task, place, &worker->why);
    if (rc < 0)
        return rc;
    rc = ask_ids_of_block(opened.block, worker->memory, &ids, &worker->why);
    place_close(&opened, task);
    if (rc < 0)
        return rc;
    const struct cache_key key = {.a = &task_meta(task, place)->id};
    *entry = cache_entry_new(&key, ids, ids_bytes(ids));
    return *entry ? FM_OK : FM_ENOMEM;
}

/* Of a block's ids those that the head's records have keys of. */
static int worker_share_head(struct query_worker *worker, const struct cache_entry *of_block,
                             struct query_near *near)
{
    const struct query_task *task = worker->task;
    const struct ask_ids *ids = of_block->ids;
    near->with_head = malloc(sizeof *near->with_head + ids->count * sizeof ids->ids[0]);
    if (!near->with_head)
        return FM_ENOMEM;
    near->with_head->count = 0;
    for (size_t i = 0; i < ids->count; i++) {
        if (keys_have(task->head_keys, task->head_key_count, trace_id_key(ids->ids[i].bytes)))
            near->with_head->ids[near->with_head->count++] = ids->ids[i];
    }
    return FM_OK;
}

static int worker_share_block(struct query_worker *worker, struct query_near *near)
{
    struct query_task *task = worker->task;
    struct ask_ids *shared;
    if (near->shared)
        return FM_OK;
    int rc = worker_load_ids(worker, worker->place, &worker->ids);
    if (rc == FM_OK)
        rc = worker_load_ids(worker, near->place, &near->ids);
    if (rc == FM_OK)
        rc = ask_ids_shared(worker->ids->ids, near->ids->ids, &shared);
    if (rc < 0)
        return rc;
    const struct cache_key key = {.a = &task_meta(task, worker->place)->id,
                                  .b = &task_meta(task, near->place)->id};
    near->shared = cache_entry_new(&key, shared, ids_bytes(shared));
    return near->shared ? FM_OK : FM_ENOMEM;
}

static int worker_share(struct query_worker *worker, struct query_near *near)
{
    const struct query_task *task = worker->task;
    bool is_head = task->places[worker->place].is_head;
    struct cache_entry **ids = is_head ? &near->ids : &worker->ids;
    if (!is_head && !task->places[near->place].is_head)
        return worker_share_block(worker, near);
    int rc = worker_load_ids(worker, is_head ? near->place : worker->place, ids);
    return rc < 0 ? rc : worker_share_head(worker, *ids, near);
}

static const struct ask_ids *near_ids(const struct query_near *near)
{
    return near->shared ? near->shared->ids : near->with_head;
}

static inline int id_order(const struct trace_id *a, const struct trace_id *b)
{
    uint64_t left = fm_load_be64(a->bytes), right = fm_load_be64(b->bytes);
    if (FM_UNLIKELY(left == right)) {
        left = fm_load_be64(a->bytes + 8);
        right = fm_load_be64(b->bytes + 8);
    }
    return left < right ? -1 : left > right;
}

/* Puts ids among the partial ones; there is room. */
static void partial_merge(struct trace_id *partial, size_t *count, const struct ask_ids *ids,
                          struct trace_id *scratch)
{
    size_t i = 0, j = 0, kept = 0;
    memcpy(scratch, partial, *count * sizeof *scratch);
    while (i < *count || j < ids->count) {
        int order = i == *count ? 1 : j == ids->count ? -1 : id_order(&scratch[i], &ids->ids[j]);
        partial[kept++] = order <= 0 ? scratch[i] : ids->ids[j];
        i += order <= 0;
        j += order >= 0;
    }
    *count = kept;
}

static int worker_list_partial(struct query_worker *worker)
{
    size_t count = 0;
    for (uint32_t i = 0; i < worker->near_count; i++)
        count += near_ids(&worker->nears[i]) ? near_ids(&worker->nears[i])->count : 0;
    if (!count)
        return FM_OK;
    if (count > worker->memory / (2 * sizeof(struct trace_id)))
        return fm_fail(&worker->why, FM_ELIMIT, "too many traces lie in several blocks");
    struct trace_id *scratch = malloc(count * sizeof *scratch);
    worker->partial = malloc(count * sizeof *worker->partial);
    if (!scratch || !worker->partial) {
        free(scratch);
        return FM_ENOMEM;
    }
    for (uint32_t i = 0; i < worker->near_count; i++) {
        if (near_ids(&worker->nears[i]))
            partial_merge(worker->partial, &worker->partial_count, near_ids(&worker->nears[i]),
                          scratch);
    }
    free(scratch);
    return FM_OK;
}

/* A neighbour that cannot be read has no pieces; whether it counts as damaged is its own turn's. */
int worker_find_shared(struct query_worker *worker)
{
    for (uint32_t i = 0; i < worker->near_count; i++) {
        int rc = worker_share(worker, &worker->nears[i]);
        if (rc == FM_ENOMEM || rc == FM_ELIMIT)
            return rc;
        if (worker_is_cancelled(worker))
            return FM_ECANCELLED;
    }
    return worker_list_partial(worker);
}

int worker_put_pieces(struct query_worker *worker)
{
    size_t count;
    const struct eval_candidate *candidates = ask_part_candidates(worker->part, &count);
    for (size_t c = 0; c < count; c++) {
        const struct trace_id *id = &candidates[c].id;
        const struct query_piece own = {*id, worker->place};
        fm_buf_put(&worker->pieces, &own, sizeof own);
        for (uint32_t i = 0; i < worker->near_count; i++) {
            const struct ask_ids *ids = near_ids(&worker->nears[i]);
            const struct query_piece other = {*id, worker->nears[i].place};
            if (ids && ask_ids_has(ids->ids, ids->count, id))
                fm_buf_put(&worker->pieces, &other, sizeof other);
        }
    }
    if (worker->pieces.failed)
        return fm_fail(&worker->why, FM_ELIMIT, "too many traces lie in several blocks");
    return FM_OK;
}
