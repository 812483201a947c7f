/* SPDX-License-Identifier: Apache-2.0 */
/* ask - questions over many traces, as jobs over a snapshot.
 *
 *   WAITING --> [LISTING -->] PREPARING --> RUNNING --> FINISHING --> ENDED      any --> ENDED
 *
 * Suspended in WAITING (a question before it ends), LISTING (of a bucket), PREPARING, FINISHING
 * (their job) and RUNNING:
 * up to worker_count jobs have a share of a place each, and beside them one merges what they found.
 * Places are given out newest first and not at all if nothing in them could enter the answer.
 * The deadline and a client that goes set one flag that every job looks at; the machine ends when
 * none of its jobs runs any more.
 */
#include <stdlib.h>

#include "internal.h"

#define PART_INTERVAL_NS (500 * FM_NS_PER_MS)
#define TASK_PIECES_MAX  FM_MIB(64)

static const struct fm_sm_rule task_rules[] = {
    [TASK_WAITING] = {"waiting", FM_TO(TASK_LISTING) | FM_TO(TASK_PREPARING) | FM_TO(TASK_ENDED)},
    [TASK_LISTING] = {"listing", FM_TO(TASK_PREPARING) | FM_TO(TASK_ENDED)},
    [TASK_PREPARING] = {"preparing", FM_TO(TASK_RUNNING) | FM_TO(TASK_ENDED)},
    [TASK_RUNNING] = {"running", FM_TO(TASK_FINISHING) | FM_TO(TASK_ENDED)},
    [TASK_FINISHING] = {"finishing", FM_TO(TASK_ENDED)},
    [TASK_ENDED] = {"ended", 0},
};

static void task_step(struct query_task *task);
static void ask_run_next(struct query_engine *engine);

/* ---- the end ---- */

void worker_release(struct query_worker *worker)
{
    struct block_cache *cache = &worker->task->engine->ids;
    worker->has_result = false;
    block_cache_release(cache, fm_take(worker->ids));
    block_cache_release(&worker->task->engine->lists, fm_take(worker->list));
    for (uint32_t i = 0; i < worker->near_count; i++) {
        block_cache_release(cache, worker->nears[i].ids);
        block_cache_release(cache, worker->nears[i].shared);
        free(worker->nears[i].with_head);
    }
    worker->near_count = 0;
    free(fm_take(worker->nears));
    free(fm_take(worker->partial));
    worker->partial_count = 0;
    worker->part = ask_part_free(worker->part);
    fm_buf_fini(&worker->pieces);
}

static struct query_task *query_task_free(struct query_task *task)
{
    for (uint32_t i = 0; i < task->worker_count; i++) {
        if (task->workers[i].task)
            worker_release(&task->workers[i]);
    }
    task_release_lists(task);
    fm_buf_fini(&task->list_key);
    task->main = ask_part_free(task->main);
    task->question = ask_free(task->question);
    task->snapshot = store_snapshot_free(task->snapshot);
    task->listed = bucket_list_free(task->listed);
    fm_buf_fini(&task->pieces);
    fm_buf_fini(&task->part);
    free(task->places);
    free(task->head_keys);
    free(task);
    return NULL;
}

static void ask_count(struct query_engine *engine, int rc)
{
    metric *counter = rc == FM_OK             ? NULL
                      : rc == FM_EUNAVAILABLE ? &engine->asks_refused
                      : rc == FM_EMALFORMED   ? &engine->asks_wrong
                      : rc == FM_ETIMEOUT     ? &engine->asks_timeout
                      : rc == FM_ELIMIT       ? &engine->asks_limit
                      : rc == FM_ECANCELLED   ? &engine->asks_cancelled
                                              : &engine->asks_failed;
    if (counter)
        metric_add(counter, 1);
}

static void ask_finish(struct query_engine *engine, struct query_ask *ask, int rc)
{
    ask_count(engine, rc);
    if (rc < 0)
        fm_buf_reset(&ask->answer);
    ask->task = NULL;
    ask->done(ask, rc);
}

static int task_result(const struct query_task *task)
{
    if (task->is_timed_out && (task->rc == FM_ECANCELLED || task->rc == FM_OK))
        return FM_ETIMEOUT;
    return task->rc == FM_OK && task_is_cancelled(task) ? FM_ECANCELLED : task->rc;
}

static void task_end(struct query_task *task, bool was_running)
{
    struct query_engine *engine = task->engine;
    struct query_ask *ask = task->ask;
    int rc = task_result(task);
    fm_sm_move(&task->sm, TASK_ENDED);
    pf_timer_stop(engine->platform, &task->timer);
    pf_timer_stop(engine->platform, &ask->ending);
    metric_observe(&engine->ask_seconds, pf_now_ns(engine->platform) - task->begin_ns);
    metric_add(&engine->inspected_bytes_total, task->stats.inspected_bytes);
    metric_add(&engine->blocks_failed_total, task->damaged_count + task->lost_count);
    metric_add(&engine->asks_joined, task->joined_count);
    ask->why = task->why;
    if (rc < 0 && (rc != task->rc || !ask->why.text[0]))
        (void)fm_fail(&ask->why, rc, "%s", fm_rc_text(rc));
    if (was_running)
        engine->asks_running_count--;
    query_task_free(task);
    ask_finish(engine, ask, rc);
    ask_run_next(engine);
}

/* ---- places ---- */

static int worker_find_near(struct query_worker *worker)
{
    struct query_task *task = worker->task;
    struct block_cache *cache = &task->engine->ids;
    const struct query_place *place = &task->places[worker->place];
    const struct block_id *id = place->is_head ? NULL : &task_meta(task, worker->place)->id;
    if (!ask_joins(task->question) || task->place_count == 1)
        return FM_OK;
    worker->nears = calloc(task->place_count, sizeof *worker->nears);
    if (!worker->nears)
        return FM_ENOMEM;
    if (id)
        worker->ids = block_cache_find(cache, &(struct cache_key){.a = id});
    for (uint32_t i = 0; i < task->place_count; i++) {
        if (i == worker->place || !place_is_near(place, &task->places[i]))
            continue;
        struct query_near *near = &worker->nears[worker->near_count++];
        near->place = i;
        if (task->places[i].is_head)
            continue;
        const struct block_id *other = &task_meta(task, i)->id;
        near->shared =
            id ? block_cache_find(cache, &(struct cache_key){.a = id, .b = other}) : NULL;
        near->ids = near->shared ? NULL : block_cache_find(cache, &(struct cache_key){.a = other});
    }
    return FM_OK;
}

static void worker_done(struct pf_job *job)
{
    struct query_worker *worker = FM_CONTAINER(job, struct query_worker, job);
    struct query_task *task = worker->task;
    worker->is_running = false;
    engine_set_width(task->engine);
    task_take(task, worker);
    task_step(task);
}

static void task_start_workers(struct query_task *task)
{
    for (uint32_t i = 0; i < task->worker_count && task->rc == FM_OK; i++) {
        struct query_worker *worker = &task->workers[i];
        if (worker->is_running || worker->has_result || !task_give(task, worker))
            continue;
        worker->task = task;
        atomic_store(&worker->is_dropped, false);
        worker->floor_ns = task->floor_ns;
        worker->is_damaged = false;
        worker->job =
            (struct pf_job){.work = worker_work, .done = worker_done, .lane = PF_LANE_QUERY};
        task->rc = worker_find_near(worker);
        if (task->rc < 0) {
            worker_release(worker);
            return;
        }
        worker->is_running = true;
        pf_job_submit(task->engine->platform, &worker->job);
    }
}

static bool task_has_running(const struct query_task *task)
{
    for (uint32_t i = 0; i < task->worker_count; i++) {
        if (task->workers[i].is_running)
            return true;
    }
    return task->job_runs;
}

/* ---- its own jobs ---- */

static void task_job_work(struct pf_job *job)
{
    struct query_task *task = FM_CONTAINER(job, struct query_task, job);
    if (task->sm.state == TASK_LISTING)
        task->job_rc = task_list(task, &task->job_why);
    else if (task->sm.state == TASK_PREPARING)
        task->job_rc = task_prepare(task, &task->job_why);
    else if (task->sm.state == TASK_RUNNING)
        task->job_rc = task_merge(task, &task->job_why);
    else
        task->job_rc = task_finish(task, &task->job_why);
}

static void task_give_part(struct query_task *task)
{
    struct query_ask *ask = task->ask;
    if (task->rc == FM_OK && !task->part.failed && task->part.len && !task_is_cancelled(task)) {
        metric_add(&task->engine->asks_parts, 1);
        task->part_ns = pf_now_ns(task->engine->platform);
        ask->on_part(ask, &task->part);
    }
    fm_buf_fini(&task->part);
    task->wants_part = false;
}

static void task_job_done(struct pf_job *job)
{
    struct query_task *task = FM_CONTAINER(job, struct query_task, job);
    task->job_runs = false;
    if (task->job_rc < 0 && task->rc == FM_OK) {
        task->rc = task->job_rc;
        task->why = task->job_why;
    }
    task_on_merged(task);
    task_release_lists(task);
    if (task->wants_part)
        task_give_part(task);
    task_step(task);
}

static void task_submit(struct query_task *task)
{
    task->job =
        (struct pf_job){.work = task_job_work, .done = task_job_done, .lane = PF_LANE_QUERY};
    task->job_runs = true;
    task->stats.jobs_done = task->done_count;
    pf_job_submit(task->engine->platform, &task->job);
}

static void task_start_merge(struct query_task *task)
{
    uint64_t now_ns = pf_now_ns(task->engine->platform);
    if (task->job_runs || task->rc < 0)
        return;
    for (uint32_t i = 0; i < task->worker_count; i++) {
        if (worker_is_whole(&task->workers[i]))
            task->merged[task->merged_count++] = &task->workers[i];
    }
    if (!task->merged_count && !task->lists.len)
        return;
    task->wants_part = task->ask->streams && task->next_place < task->place_count &&
                       (!task->part_ns || now_ns - task->part_ns >= PART_INTERVAL_NS);
    task_submit(task);
}

/* ---- the machine ---- */

static int task_begin(struct query_task *task)
{
    fm_sm_move(&task->sm, TASK_PREPARING);
    return store_snapshot_new(task->engine->store, fm_slice_text(task->ask->tenant),
                              &task->snapshot);
}

/* Gives out what can be given out; true: all is merged, or nothing more will be. */
static bool task_run(struct query_task *task)
{
    if (task->rc == FM_OK && task_is_cancelled(task))
        task->rc = FM_ECANCELLED;
    if (task->rc == FM_OK) {
        task_start_merge(task);
        task_start_workers(task);
    }
    return !task_has_running(task);
}

static void task_step(struct query_task *task)
{
    switch ((enum task_state)task->sm.state) {
    case TASK_WAITING:
        if (task->engine->options.bucket) {
            fm_sm_move(&task->sm, TASK_LISTING);
            task_submit(task);
            return;
        }
        /* fall through */
    case TASK_LISTING:
        if (task->rc == FM_OK)
            task->rc = task_begin(task);
        if (task->rc == FM_OK)
            task_submit(task);
        else
            task_end(task, true);
        return;
    case TASK_PREPARING:
        if (task->rc < 0) {
            task_end(task, true);
            return;
        }
        fm_sm_move(&task->sm, TASK_RUNNING);
        task->rc = task_take_lists(task);
        /* fall through */
    case TASK_RUNNING:
        if (!task_run(task))
            return;
        if (task->rc < 0) {
            task_end(task, true);
            return;
        }
        fm_sm_move(&task->sm, TASK_FINISHING);
        task->done_count = task->stats.job_count; /* those that cannot matter are done, too */
        task_submit(task);
        return;
    case TASK_FINISHING:
        task_end(task, true);
        return;
    case TASK_ENDED:
        break;
    }
    fm_panic("a task that ended goes on", __FILE__, __LINE__);
}

static void ask_run_next(struct query_engine *engine)
{
    while (engine->asks_waiting_count &&
           engine->asks_running_count < engine->options.concurrency_max) {
        struct query_task *task = FM_CONTAINER(engine->asks_waiting.next, struct query_task, link);
        fm_list_remove(&task->link);
        engine->asks_waiting_count--;
        engine->asks_running_count++;
        engine_set_width(engine);
        task_step(task);
    }
}

/* ---- from outside ---- */

static void task_on_deadline(struct pf_timer *timer)
{
    struct query_task *task = FM_CONTAINER(timer, struct query_task, timer);
    task->is_timed_out = true;
    query_ask_cancel(task->engine, task->ask);
}

static void ask_on_refused(struct pf_timer *timer)
{
    struct query_ask *ask = FM_CONTAINER(timer, struct query_ask, ending);
    (void)fm_fail(&ask->why, FM_EUNAVAILABLE, "too many queries at once");
    ask->done(ask, FM_EUNAVAILABLE);
}

/* A task that waited and will not run; on a turn of its own. */
static void task_on_ending(struct pf_timer *timer)
{
    struct query_ask *ask = FM_CONTAINER(timer, struct query_ask, ending);
    task_end(ask->task, false);
}

static void ask_on_admit(struct pf_timer *timer)
{
    struct query_ask *ask = FM_CONTAINER(timer, struct query_ask, ending);
    ask_run_next(ask->task->engine);
}

/* A place for each thread, what was found, the answer. */
static size_t ask_memory_part(const struct query_engine *engine)
{
    return engine->options.memory_max / (engine->options.thread_count + 2);
}

void query_ask_start(struct query_engine *engine, struct query_ask *ask)
{
    struct query_task *task = NULL;
    metric_add(&engine->asks_total[ask->kind], 1);
    fm_buf_init(&ask->answer, ask_memory_part(engine));
    ask->why.text[0] = '\0';
    ask->is_text_wrong = false;
    atomic_store(&ask->cancelled, false);
    ask->ending = (struct pf_timer){.fire = ask_on_admit};
    if (engine->asks_waiting_count < engine->options.concurrency_max * QUERY_QUEUE_PER_SLOT)
        task = calloc(1, sizeof *task);
    ask->task = task;
    if (!task) {
        ask_count(engine, FM_EUNAVAILABLE);
        ask->ending.fire = ask_on_refused;
        pf_timer_start(engine->platform, &ask->ending, 0);
        return;
    }
    task->sm = (struct fm_sm){task_rules, TASK_WAITING};
    task->engine = engine;
    task->ask = ask;
    task->begin_ns = pf_now_ns(engine->platform);
    task->worker_count = engine->options.thread_count;
    task->memory_part = ask_memory_part(engine);
    task->timer.fire = task_on_deadline;
    fm_buf_init(&task->pieces, TASK_PIECES_MAX);
    fm_list_append(&engine->asks_waiting, &task->link);
    engine->asks_waiting_count++;
    pf_timer_start(engine->platform, &task->timer, engine->options.timeout_ns);
    pf_timer_start(engine->platform, &ask->ending, 0);
}

void query_ask_cancel(struct query_engine *engine, struct query_ask *ask)
{
    struct query_task *task = ask->task;
    if (atomic_exchange(&ask->cancelled, true) || !task)
        return;
    for (uint32_t i = 0; i < task->worker_count; i++)
        atomic_store(&task->workers[i].is_dropped, true);
    if (task->sm.state != TASK_WAITING)
        return;
    fm_list_remove(&task->link);
    engine->asks_waiting_count--;
    task->rc = FM_ECANCELLED;
    pf_timer_stop(engine->platform, &ask->ending);
    ask->ending.fire = task_on_ending;
    pf_timer_start(engine->platform, &ask->ending, 0);
}

/* ---- metrics ---- */

void ask_put_metrics(const struct query_engine *engine, struct fm_buf *out)
{
    static const char *const kinds[] = {
        [QUERY_SEARCH] = "kind=\"search\"",         [QUERY_TAG_NAMES] = "kind=\"tag_names\"",
        [QUERY_TAG_VALUES] = "kind=\"tag_values\"", [QUERY_METRICS] = "kind=\"metrics\"",
        [QUERY_TRACES] = "kind=\"traces\"",
    };
    const struct {
        const char *label;
        const metric *value;
    } ends[] = {
        {"reason=\"busy\"", &engine->asks_refused},
        {"reason=\"wrong\"", &engine->asks_wrong},
        {"reason=\"timeout\"", &engine->asks_timeout},
        {"reason=\"limit\"", &engine->asks_limit},
        {"reason=\"cancelled\"", &engine->asks_cancelled},
        {"reason=\"failed\"", &engine->asks_failed},
    };
    metric_family(out, "fermata_query_asks_total", "counter", "Questions over many traces.");
    for (size_t i = 0; i < FM_COUNT(kinds); i++)
        metric_line(out, "fermata_query_asks_total", kinds[i], metric_get(&engine->asks_total[i]));
    metric_family(out, "fermata_query_asks_ended_total", "counter",
                  "Of these: ended without an answer.");
    for (size_t i = 0; i < FM_COUNT(ends); i++)
        metric_line(out, "fermata_query_asks_ended_total", ends[i].label,
                    metric_get(ends[i].value));
    metric_gauge(out, "fermata_query_asks_running", "Questions being answered.",
                 engine->asks_running_count);
    metric_gauge(out, "fermata_query_asks_waiting", "Questions in line.",
                 engine->asks_waiting_count);
    metric_gauge(out, "fermata_query_memory_granted_bytes",
                 "Memory that running questions may take.",
                 (uint64_t)engine->asks_running_count * engine->options.memory_max);
    metric_gauge(out, "fermata_query_memory_limit_bytes", "Memory that all questions may take.",
                 (uint64_t)engine->options.concurrency_max * engine->options.memory_max);
    metric_counter(out, "fermata_query_joined_traces_total",
                   "Traces put together from several places to be judged.", &engine->asks_joined);
    metric_counter(out, "fermata_query_parts_total", "Answers given in part.", &engine->asks_parts);
    metric_counter(out, "fermata_query_shares_total", "Blocks, or shares of one, that were begun.",
                   &engine->asks_shares);
    metric_counter(out, "fermata_query_shares_dropped_total",
                   "Of these: left before the end, because others had answered.",
                   &engine->asks_dropped);
    metric_gauge(out, "fermata_query_ids_cache_bytes", "Ids of blocks kept to find such traces.",
                 engine->ids.bytes);
    metric_counter(out, "fermata_query_ids_cache_hits_total", "Ids found there.",
                   &engine->ids.hits);
    metric_counter(out, "fermata_query_ids_cache_misses_total", "Ids not found there.",
                   &engine->ids.misses);
    metric_counter(out, "fermata_query_ids_cache_evictions_total",
                   "Ids that made room, or whose block is gone.", &engine->ids.evictions);
    metric_gauge(out, "fermata_query_tags_cache_bytes", "Names and values that blocks say, kept.",
                 engine->lists.bytes);
    metric_counter(out, "fermata_query_tags_cache_hits_total", "Blocks that it answered for.",
                   &engine->lists.hits);
    metric_counter(out, "fermata_query_tags_cache_misses_total", "Blocks that had to be read.",
                   &engine->lists.misses);
    metric_counter(out, "fermata_query_tags_cache_evictions_total",
                   "Lists that made room, or whose block is gone.", &engine->lists.evictions);
    metric_histogram_put(out, "fermata_query_ask_seconds", "Questions, from start to answer.",
                         &engine->ask_seconds);
}
