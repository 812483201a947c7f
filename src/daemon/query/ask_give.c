/* SPDX-License-Identifier: Apache-2.0 */
/* What is read next for a question, and what need not be read to its end; on the loop.
 *
 * A place is given out whole or in shares of its rows, so that all threads are at the one block
 * that matters and divide its time.  A search does not begin a further place while those that are
 * begun will probably fill the answer; what turns out to be too old is dropped.  A place is merged
 * once all its shares are there: it is in the answer whole or not at all. */
#include "internal.h"

/* Below these a share costs more than it gives. */
#define SHARE_BYTES_MIN FM_KIB(1536)           /* of a block */
#define SHARE_COST_NS   (3 * FM_NS_PER_MS / 2) /* of what the block took the last time */
#define WIDTH_NS        (50 * FM_NS_PER_MS)
#define WIDTH_SHARE     20u /* of the time */
#define SHARES_UNKNOWN  2u /* the first time, when each makes what the block then keeps */

static bool task_is_search(const struct query_task *task)
{
    return ask_kind(task->question) == ASK_SEARCH;
}

static uint32_t task_limit(const struct query_task *task)
{
    return task->ask->limit ? task->ask->limit : ASK_LIMIT_DEFAULT;
}

/* Nothing in it can enter the answer. */
static bool place_is_out(const struct query_task *task, const struct query_place *place)
{
    return task->is_full || place->end_ns < task->floor_ns;
}

/* ---- threads ---- */

/* Threads of little weight still are in the way of those that acknowledge, when all processors are
 * busy: then one is enough. */
void engine_set_width(struct query_engine *engine)
{
    uint64_t now_ns = pf_now_ns(engine->platform), took_ns = now_ns - engine->width_ns;
    if (!engine->options.waited_ns || engine->options.thread_count == 1 || took_ns < WIDTH_NS)
        return;
    uint64_t waited_ns = engine->options.waited_ns();
    bool gives_way = waited_ns - engine->width_waited_ns > took_ns / WIDTH_SHARE;
    engine->width_ns = now_ns;
    engine->width_waited_ns = waited_ns;
    if (gives_way == engine->gives_way)
        return;
    engine->gives_way = gives_way;
    pf_lane_width(engine->platform, PF_LANE_QUERY, gives_way ? 1 : engine->options.thread_count);
}

/* ---- what it costs ---- */

static struct ask_cost *task_cost(const struct query_task *task, uint32_t place, uint64_t *ret_key)
{
    const struct block_id *id = &task_meta(task, place)->id;
    *ret_key = fm_hash64(task->ask->text, fm_hash64(fm_slice(id, sizeof *id), task->ask->kind));
    return &task->engine->costs[*ret_key % ASK_COSTS];
}

static void task_note_cost(struct query_task *task, uint32_t place)
{
    uint64_t key;
    if (task->places[place].is_head)
        return;
    struct ask_cost *cost = task_cost(task, place, &key);
    *cost = (struct ask_cost){key, task->places[place].took_ns};
}

/* 0: it is not known. */
static uint64_t task_known_cost(const struct query_task *task, uint32_t place)
{
    uint64_t key;
    const struct ask_cost *cost = task_cost(task, place, &key);
    return cost->key == key ? cost->ns : 0;
}

/* ---- what is through ---- */

static void place_shut(struct query_task *task, struct query_place *place, bool is_judged)
{
    task->open_count -= place->is_open;
    task->judged_count += place->is_open && is_judged;
    place->is_open = false;
}

static bool place_has_result(const struct query_task *task, const struct query_place *place)
{
    for (uint32_t i = 0; i < task->worker_count; i++) {
        if (task->workers[i].has_result && &task->places[task->workers[i].place] == place)
            return true;
    }
    return false;
}

static void place_end_shares(struct query_task *task, struct query_place *place, uint32_t count)
{
    place->shares_left -= count;
    if (place->shares_left)
        return;
    task->done_count += place->is_begun && !place->is_beyond;
    if (!place_has_result(task, place))
        place_shut(task, place, false);
}

/* Shares that were not given need not be. */
static void place_end_rest(struct query_task *task, struct query_place *place)
{
    uint32_t count = place->share_count - place->shares_given;
    if (task->sharing == place)
        task->sharing = NULL;
    place->shares_given = place->share_count;
    if (count)
        place_end_shares(task, place, count);
}

/* What was read of it is of no use; the share at hand has not ended yet. */
static void place_drop(struct query_task *task, struct query_place *place)
{
    for (uint32_t i = 0; i < task->worker_count; i++) {
        struct query_worker *worker = &task->workers[i];
        if (!worker->task || &task->places[worker->place] != place)
            continue;
        atomic_store(&worker->is_dropped, true);
        if (worker->has_result)
            worker_release(worker);
    }
    place_end_rest(task, place);
}

static void task_drop_old(struct query_task *task)
{
    for (uint32_t i = 0; i < task->worker_count; i++) {
        struct query_worker *worker = &task->workers[i];
        if (worker->is_running && place_is_out(task, &task->places[worker->place]))
            atomic_store(&worker->is_dropped, true);
    }
}

/* It did not fit beside others.  All places that are left get the memory of all threads, one after
 * the other. */
static void task_go_alone(struct query_task *task, struct query_worker *worker)
{
    struct query_place *place = &task->places[worker->place];
    task->is_alone = true;
    place->is_begun = false;
    task->next_place = FM_MIN(task->next_place, worker->place);
    place_drop(task, place);
}

void task_take(struct query_task *task, struct query_worker *worker)
{
    struct query_place *place = &task->places[worker->place];
    bool is_dropped = worker->rc == FM_ECANCELLED && !task_is_cancelled(task);
    if (worker->rc == FM_ELIMIT && !worker->is_alone && place->is_begun && task->worker_count > 1) {
        task_go_alone(task, worker);
    } else if (worker->rc < 0 && !is_dropped && place->is_begun && task->rc == FM_OK) {
        task->rc = worker->rc;
        task->why = worker->why;
    } else if (worker->is_damaged && !worker->part && !place->is_lost) {
        place->is_lost = true;
        task->lost_count++;
        place_drop(task, place);
    }
    metric_add(&task->engine->asks_dropped, is_dropped);
    place->took_ns += worker->took_ns;
    if (worker->rc == FM_OK && worker->part && !place->is_lost && place->is_begun) {
        worker->has_result = true;
        task_note_cost(task, worker->place);
        if (worker->share_count == 1)
            task->floor_ns = FM_MAX(task->floor_ns, ask_part_floor_ns(worker->part));
    } else {
        worker_release(worker);
    }
    place_end_shares(task, place, 1);
    task_drop_old(task);
}

bool worker_is_whole(const struct query_worker *worker)
{
    return worker->has_result && !worker->task->places[worker->place].shares_left;
}

void task_on_merged(struct query_task *task)
{
    task->floor_ns = FM_MAX(task->floor_ns, task->main_floor_ns);
    task->is_full |= task->main_is_full;
    task->found_count = task->main_found_count;
    for (uint32_t i = 0; i < task->merged_count; i++) {
        place_shut(task, &task->places[task->merged[i]->place], true);
        worker_release(task->merged[i]);
    }
    task->merged_count = 0;
    task_drop_old(task);
}

/* ---- what is next ---- */

/* Places that nobody has begun; at most as many as there are threads. */
static uint32_t task_count_left(const struct query_task *task)
{
    uint32_t count = 0;
    for (uint32_t i = task->next_place; i < task->place_count && count < task->worker_count; i++) {
        const struct query_place *place = &task->places[i];
        count += place->is_asked && !place->is_begun && !place_is_out(task, place);
    }
    return count;
}

/* How many of them will probably be needed beside those that are begun, by what was found in those
 * that were merged. */
static uint32_t task_count_wanted(const struct query_task *task)
{
    uint32_t left = task_count_left(task), found = task->found_count, limit = task_limit(task);
    if (!task_is_search(task) || (task->judged_count && !found))
        return left;
    if (!task->judged_count)
        return task->open_count ? 0 : FM_MIN(left, 1u);
    uint64_t missing = limit > found ? limit - found : 1;
    uint64_t needed = (missing * task->judged_count + found - 1) / found;
    return needed > task->open_count ? (uint32_t)FM_MIN(needed - task->open_count, left) : 0;
}

/* As many shares of a block as are worth it. */
static uint64_t task_most_shares(const struct query_task *task, uint32_t place)
{
    uint64_t bytes = task_meta(task, place)->size_bytes, cost_ns = task_known_cost(task, place);
    if (task->engine->options.share_bytes_min)
        return bytes / task->engine->options.share_bytes_min;
    return FM_MIN(bytes / SHARE_BYTES_MIN, cost_ns ? cost_ns / SHARE_COST_NS : SHARES_UNKNOWN);
}

/* A thread for each share.  Other questions want threads, too. */
static uint32_t task_count_shares(const struct query_task *task, uint32_t place, uint32_t wanted)
{
    const struct query_place *at = &task->places[place];
    bool is_split = task_is_search(task) || ask_kind(task->question) == ASK_METRICS;
    uint32_t threads = task->worker_count / FM_MAX(task->engine->asks_running_count, 1u);
    threads = task->engine->gives_way ? 1 : threads;
    if (!is_split || at->is_head || at->is_listed || task->is_alone || wanted >= threads)
        return 1;
    uint64_t count = (threads + wanted - 1) / wanted;
    return (uint32_t)FM_MAX(FM_MIN(count, task_most_shares(task, place)), 1u);
}

/* Begins the next place that could add to the answer; false: there is none, or it waits. */
static bool task_begin_place(struct query_task *task)
{
    for (; task->next_place < task->place_count && !task->is_full; task->next_place++) {
        struct query_place *place = &task->places[task->next_place];
        if (!place->is_asked || place->is_begun)
            continue;
        if (place_is_out(task, place)) { /* without opening it */
            place->is_begun = true;
            task->done_count += !place->is_beyond;
            continue;
        }
        uint32_t wanted = task_count_wanted(task);
        if (!wanted)
            return false;
        place->share_count = task_count_shares(task, task->next_place, wanted);
        place->shares_left = place->share_count;
        place->shares_given = 0;
        place->took_ns = 0;
        place->is_begun = true;
        /* A head of few traces says nothing about blocks, and is soon through. */
        place->is_open = !place->is_head || task->head_key_count >= task_limit(task);
        task->open_count += place->is_open;
        task->sharing = place;
        task->next_place++;
        return true;
    }
    return false;
}

bool task_give(struct query_task *task, struct query_worker *worker)
{
    if (task->sharing && place_is_out(task, task->sharing))
        place_end_rest(task, task->sharing);
    for (uint32_t i = 0; i < task->worker_count && task->is_alone; i++) {
        if (task->workers[i].is_running)
            return false;
    }
    if (!task->sharing && !task_begin_place(task))
        return false;
    struct query_place *place = task->sharing;
    worker->place = (uint32_t)(place - task->places);
    worker->share = place->shares_given++;
    worker->share_count = place->share_count;
    worker->is_alone = task->is_alone;
    metric_add(&task->engine->asks_shares, 1);
    worker->memory = task->memory_part * (task->is_alone ? task->worker_count : 1);
    if (place->shares_given == place->share_count)
        task->sharing = NULL;
    return true;
}
