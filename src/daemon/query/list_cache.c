/* SPDX-License-Identifier: Apache-2.0 */
/* list_cache - names and values that blocks say without a filter, between questions.  What is known
 * of a place when a question begins is merged at once, and nobody opens the place. */
#include "internal.h"

#define LIST_KEY_BYTES_MAX FM_KIB(64)

static struct cache_key task_list_key(const struct query_task *task, uint32_t place)
{
    return (struct cache_key){.a = &task_meta(task, place)->id,
                              .what = fm_buf_slice(&task->list_key)};
}

int task_take_lists(struct query_task *task)
{
    struct block_cache *cache = &task->engine->lists;
    fm_buf_init(&task->list_key, LIST_KEY_BYTES_MAX);
    fm_buf_init(&task->lists, task->place_count * sizeof(struct cache_entry *));
    if (!cache->bytes_max || ask_list_key(task->question, &task->list_key) != FM_OK)
        return FM_OK;
    for (uint32_t i = 0; i < task->place_count; i++) {
        struct query_place *place = &task->places[i];
        if (place->is_head || !place->is_asked)
            continue;
        const struct cache_key key = task_list_key(task, i);
        struct cache_entry *entry = block_cache_find(cache, &key);
        if (!entry)
            continue;
        fm_buf_put(&task->lists, &entry, sizeof entry);
        if (task->lists.failed) {
            block_cache_release(cache, entry);
            return FM_ENOMEM;
        }
        place->is_asked = false;
        task->done_count++;
    }
    return FM_OK;
}

static struct cache_entry *task_list_at(const struct query_task *task, size_t offset)
{
    struct cache_entry *entry;
    memcpy(&entry, task->lists.ptr + offset, sizeof entry);
    return entry;
}

int task_merge_lists(struct query_task *task)
{
    int rc = FM_OK;
    for (size_t at = 0; at < task->lists.len && rc == FM_OK; at += sizeof(struct cache_entry *))
        rc = ask_part_add_list(task->main, task_list_at(task, at)->list);
    return rc;
}

void task_release_lists(struct query_task *task)
{
    for (size_t at = 0; at < task->lists.len; at += sizeof(struct cache_entry *))
        block_cache_release(&task->engine->lists, task_list_at(task, at));
    fm_buf_fini(&task->lists);
}

bool worker_makes_list(const struct query_worker *worker)
{
    return worker->task->list_key.len && !worker->task->places[worker->place].is_head;
}

void worker_make_list(struct query_worker *worker)
{
    const struct cache_key key = task_list_key(worker->task, worker->place);
    struct ask_list *list;
    if (ask_part_list(worker->part, &list) == FM_OK)
        worker->list = cache_entry_new(&key, list, ask_list_bytes(list));
}

void query_forget_block(void *self, const struct block_id *id)
{
    struct query_engine *engine = self;
    block_cache_forget(&engine->ids, id);
    block_cache_forget(&engine->lists, id);
    vector_cache_forget(&engine->vectors, id);
}
