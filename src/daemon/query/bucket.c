/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of the bucket as places of a question, besides the node's own or instead of them.
 *
 * The bucket is listed before the snapshot of the store is taken: a block that was ours when it was
 * listed is in the snapshot still, and is then left out of the list; one that has gone since is
 * read from the bucket.  So each block counts once. */
#include <stdlib.h>

#include "internal.h"

#define BUCKET_NEAR_NS (5 * 60 * FM_NS_PER_S) /* as far as pieces of one trace lie apart */

/* Whether it is the place that is to blame, which is left out, or all ends. */
bool bucket_rc_is_damage(int rc)
{
    return rc == FM_ECORRUPT || rc == FM_EIO || rc == FM_ENOTFOUND || rc == FM_EUNSUPPORTED ||
           rc == FM_EUNAVAILABLE || rc == FM_EDENIED || rc == FM_EMALFORMED;
}

/* A bucket that cannot be listed costs what is in it, if we have something ourselves. */
static int bucket_list(struct query_engine *engine, struct bucket_list **ret_list,
                       const char *tenant, uint64_t start_ns, uint64_t end_ns,
                       struct bucket_budget *budget, uint64_t *damaged_count, struct fm_why *why)
{
    uint64_t from_ns = start_ns - FM_MIN(start_ns, BUCKET_NEAR_NS);
    uint64_t to_ns = end_ns + FM_MIN(UINT64_MAX - end_ns, BUCKET_NEAR_NS);
    int rc = bucket_list_new(ret_list, engine->options.bucket, tenant, from_ns, to_ns, budget, why);
    if (rc == FM_OK) {
        *damaged_count += (*ret_list)->damaged_count + (*ret_list)->left_out_count;
        if ((*ret_list)->left_out_count)
            log_warn("bucket.left_out", "tenant=%s blocks=%llu", tenant,
                     (unsigned long long)(*ret_list)->left_out_count);
        return FM_OK;
    }
    if (!bucket_rc_is_damage(rc))
        return rc;
    log_warn("bucket.list_failed", "tenant=%s why=\"%s\"", tenant, why->text);
    if (engine->options.bucket_only)
        return FM_EUNAVAILABLE;
    *damaged_count += 1;
    return FM_OK;
}

static void bucket_budget_init(struct bucket_budget *budget, const struct query_engine *engine,
                               uint64_t begin_ns, const atomic_bool *cancelled)
{
    *budget = (struct bucket_budget){
        .deadline_ns = begin_ns + engine->options.timeout_ns,
        .cancelled = cancelled,
        .bytes_max = engine->options.bucket_bytes_max,
    };
}

/* ---- questions over many traces ---- */

int task_list_bucket(struct query_task *task, struct fm_why *why)
{
    bucket_budget_init(&task->budget, task->engine, task->begin_ns, &task->ask->cancelled);
    return bucket_list(task->engine, &task->listed, task->ask->tenant, task->window_start_ns,
                       task->window_end_ns, &task->budget, &task->damaged_count, why);
}

static int id_compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct block_id));
}

/* Ids of the node's own blocks, sorted; NULL: no memory, or none. */
static struct block_id *snapshot_ids(const struct store_snapshot *snapshot, size_t *ret_count)
{
    size_t count = store_snapshot_block_count(snapshot);
    struct block_id *ids = malloc((count + 1) * sizeof *ids);
    *ret_count = count;
    for (size_t i = 0; ids && i < count; i++)
        ids[i] = store_snapshot_block(snapshot, i)->meta.id;
    if (ids && count > 1)
        qsort(ids, count, sizeof *ids, id_compare);
    return ids;
}

int task_put_listed(struct query_task *task)
{
    size_t count = 0;
    if (!task->listed)
        return FM_OK;
    struct block_id *own = snapshot_ids(task->snapshot, &count);
    if (!own)
        return FM_ENOMEM;
    if (task->engine->options.bucket_only)
        count = 0;
    for (size_t i = 0; i < task->listed->count; i++) {
        const struct block_meta *meta = &task->listed->blocks[i].meta;
        if (count && bsearch(&meta->id, own, count, sizeof *own, id_compare))
            continue;
        task->places[task->place_count++] = (struct query_place){
            .is_listed = true,
            .block = i,
            .start_ns = meta->start_ns,
            .end_ns = meta->end_ns,
        };
    }
    free(own);
    return FM_OK;
}

int place_open(struct place_opened *opened, struct query_task *task, uint32_t place,
               struct fm_why *why)
{
    const struct query_place *at = &task->places[place];
    int rc;
    opened->is_listed = at->is_listed;
    if (at->is_listed) {
        rc = bucket_opened_init(&opened->remote, task->engine->options.bucket, task->listed,
                                at->block, &task->budget, why);
        opened->block = rc < 0 ? NULL : opened->remote.block;
    } else {
        rc = store_opened_init(&opened->local, task->snapshot, at->block, why);
        opened->block = rc < 0 ? NULL : opened->local.block;
    }
    return rc;
}

void place_close(struct place_opened *opened, struct query_task *task)
{
    if (opened->is_listed)
        bucket_opened_fini(&opened->remote);
    else
        store_opened_fini(&opened->local, task->snapshot);
}

/* ---- one trace ---- */

int trace_list_bucket(struct trace_task *task, struct fm_why *why)
{
    uint64_t failed = 0;
    bucket_budget_init(&task->budget, task->engine, task->begin_ns, &task->engine->is_stopping);
    int rc = bucket_list(task->engine, &task->listed, task->query->tenant, 0, UINT64_MAX,
                         &task->budget, &failed, why);
    task->bucket_failed = (uint32_t)FM_MIN(failed, UINT32_MAX);
    return rc;
}

static int trace_find_in_listed(struct trace_task *task, size_t index, struct trace *trace,
                                struct fm_buf *otlp, struct fm_why *why)
{
    struct query_trace *query = task->query;
    struct bucket_reader *reader = task->engine->options.bucket;
    struct bucket_opened opened;
    uint64_t bytes = 0;
    bool maybe;
    int rc =
        bucket_block_may_have(reader, task->listed, index, &query->id, &task->budget, &maybe, why);
    if (rc < 0 || !maybe)
        return rc;
    rc = bucket_opened_init(&opened, reader, task->listed, index, &task->budget, why);
    if (rc < 0)
        return rc;
    fm_buf_reset(otlp);
    query->stats.blocks_opened++;
    rc = block_find_trace(opened.block, &query->id, otlp, &bytes, why);
    query->stats.inspected_bytes += bytes;
    bucket_opened_fini(&opened);
    if (rc == FM_OK)
        rc = trace_add(trace, fm_buf_slice(otlp));
    return rc == FM_ELIMIT ? FM_OK : rc; /* the trace says itself that it is partial */
}

int trace_find_in_bucket(struct trace_task *task, struct trace *trace, struct fm_why *why)
{
    struct store_read_stats *stats = &task->query->stats;
    struct block_id *own;
    struct fm_buf otlp;
    size_t count = 0;
    int rc = FM_OK;

    stats->blocks_failed += task->bucket_failed;
    if (!task->listed)
        return FM_OK;
    own = snapshot_ids(task->snapshot, &count);
    if (!own)
        return FM_ENOMEM;
    if (task->engine->options.bucket_only)
        count = 0;
    fm_buf_init(&otlp, task->engine->options.trace_bytes_max);
    bucket_list_warm_blooms(task->engine->options.bucket, task->listed, &task->query->id,
                            &task->budget);
    for (size_t i = 0; i < task->listed->count && rc >= 0; i++) {
        const struct block_id *id = &task->listed->blocks[i].meta.id;
        if (count && bsearch(id, own, count, sizeof *own, id_compare))
            continue;
        stats->blocks_considered++;
        rc = trace_find_in_listed(task, i, trace, &otlp, why);
        if (bucket_rc_is_damage(rc)) {
            log_warn("store.read_failed", "why=\"%s\"", why->text);
            stats->blocks_failed++;
            rc = FM_OK;
        }
    }
    fm_buf_fini(&otlp);
    free(own);
    return FM_MIN(rc, FM_OK);
}
