/* SPDX-License-Identifier: Apache-2.0 */
/* query - trace by id as a job: snapshot on the loop, read and render on a thread, answer on the
 * loop.  At most concurrency_max run; more wait in line, and a full line is refused at once. */
#include "fermata/query.h"

#include <stdlib.h>

#include "internal.h"

#define QUERY_TIMEOUT_NS       (60 * FM_NS_PER_S)
#define QUERY_MEMORY_MAX       FM_MIB(128)
#define QUERY_SEARCH_RANGE_NS  (168 * 3600 * FM_NS_PER_S)
#define QUERY_METRICS_RANGE_NS (24 * 3600 * FM_NS_PER_S)
#define QUERY_IDS_BYTES_MAX    FM_MIB(16)

static void query_options_complete(struct query_options *options)
{
    if (!options->thread_count)
        options->thread_count = 1;
    options->thread_count = FM_MIN(options->thread_count, QUERY_THREADS_MAX);
    if (!options->timeout_ns)
        options->timeout_ns = QUERY_TIMEOUT_NS;
    if (!options->memory_max)
        options->memory_max = QUERY_MEMORY_MAX;
    if (!options->search_range_max_ns)
        options->search_range_max_ns = QUERY_SEARCH_RANGE_NS;
    if (!options->metrics_range_max_ns)
        options->metrics_range_max_ns = QUERY_METRICS_RANGE_NS;
}

int query_engine_new(struct query_engine **ret_engine, struct platform *platform,
                     struct store *store, const struct query_options *options)
{
    struct query_engine *engine = calloc(1, sizeof *engine);
    if (!engine)
        return FM_ENOMEM;
    engine->platform = platform;
    engine->store = store;
    engine->options = *options;
    query_options_complete(&engine->options);
    fm_list_init(&engine->waiting);
    fm_list_init(&engine->asks_waiting);
    block_cache_init(&engine->ids, QUERY_IDS_BYTES_MAX, pf_random_u64(platform));
    block_cache_init(&engine->lists, options->lists_bytes_max, pf_random_u64(platform));
    if (vector_cache_init(&engine->vectors, options->columns_bytes_max, pf_random_u64(platform)) <
        0) {
        free(engine);
        return FM_ENOMEM;
    }
    *ret_engine = engine;
    return FM_OK;
}

void query_engine_stop(struct query_engine *engine)
{
    atomic_store(&engine->is_stopping, true);
}

struct query_engine *query_engine_free(struct query_engine *engine)
{
    if (!engine)
        return NULL;
    FM_ASSERT(engine->running_count == 0 && engine->waiting_count == 0);
    FM_ASSERT(engine->asks_running_count == 0 && engine->asks_waiting_count == 0);
    block_cache_fini(&engine->ids);
    block_cache_fini(&engine->lists);
    vector_cache_fini(&engine->vectors);
    free(engine);
    return NULL;
}

static void trace_task_work(struct pf_job *job)
{
    struct trace_task *task = FM_CONTAINER(job, struct trace_task, job);
    struct query_trace *query = task->query;
    FM_AUTO(trace) trace = NULL;
    task->rc = trace_new(&trace, &query->id, task->engine->options.trace_bytes_max);
    if (task->rc == FM_OK && !task->engine->options.bucket_only)
        task->rc = store_find_trace(task->snapshot, &query->id, trace, &query->stats, &query->why);
    if (task->rc == FM_OK)
        task->rc = trace_find_in_bucket(task, trace, &query->why);
    if (task->rc == FM_OK)
        task->rc = trace_finish(trace);
    if (task->rc < 0)
        return;
    query->span_count = trace_span_count(trace);
    trace_render(trace, query->format, query->stats.inspected_bytes, &query->answer);
    if (query->answer.failed)
        task->rc = fm_fail(&query->why, FM_ELIMIT, "the answer is larger than the limit");
}

static void query_run_next(struct query_engine *engine);

static void trace_task_end(struct trace_task *task)
{
    struct query_engine *engine = task->engine;
    struct query_trace *query = task->query;
    int rc = task->rc;
    metric_observe(&engine->seconds, pf_now_ns(engine->platform) - task->begin_ns);
    metric_add(&engine->inspected_bytes_total, query->stats.inspected_bytes);
    metric_add(&engine->blocks_failed_total, query->stats.blocks_failed);
    if (rc < 0)
        metric_add(&engine->failed_total, 1);
    (void)store_snapshot_free(task->snapshot);
    (void)bucket_list_free(task->listed);
    free(task);
    engine->running_count--;
    query->done(query, rc);
    query_run_next(engine);
}

static void trace_task_done(struct pf_job *job)
{
    trace_task_end(FM_CONTAINER(job, struct trace_task, job));
}

static void trace_task_read(struct trace_task *task)
{
    task->job =
        (struct pf_job){.work = trace_task_work, .done = trace_task_done, .lane = PF_LANE_QUERY};
    pf_job_submit(task->engine->platform, &task->job);
}

static void trace_list_work(struct pf_job *job)
{
    struct trace_task *task = FM_CONTAINER(job, struct trace_task, job);
    task->rc = trace_list_bucket(task, &task->query->why);
}

/* The bucket was listed first: see bucket.c. */
static void trace_list_done(struct pf_job *job)
{
    struct trace_task *task = FM_CONTAINER(job, struct trace_task, job);
    if (task->rc == FM_OK)
        task->rc = store_snapshot_new(task->engine->store, fm_slice_text(task->query->tenant),
                                      &task->snapshot);
    if (task->rc == FM_OK)
        trace_task_read(task);
    else
        trace_task_end(task);
}

static void query_run_next(struct query_engine *engine)
{
    while (engine->waiting_count && engine->running_count < engine->options.concurrency_max) {
        struct trace_task *task = FM_CONTAINER(engine->waiting.next, struct trace_task, link);
        fm_list_remove(&task->link);
        engine->waiting_count--;
        engine->running_count++;
        if (task->snapshot) {
            trace_task_read(task);
            continue;
        }
        task->job = (struct pf_job){
            .work = trace_list_work, .done = trace_list_done, .lane = PF_LANE_QUERY};
        pf_job_submit(engine->platform, &task->job);
    }
}

void query_trace_start(struct query_engine *engine, struct query_trace *query)
{
    struct trace_task *task = NULL;
    int rc = FM_EUNAVAILABLE;
    metric_add(&engine->queries_total, 1);
    fm_buf_init(&query->answer, engine->options.trace_bytes_max * 4); /* JSON is wider than OTLP */
    query->stats = (struct store_read_stats){0};
    query->why.text[0] = '\0';
    if (engine->waiting_count < engine->options.concurrency_max * QUERY_QUEUE_PER_SLOT)
        task = calloc(1, sizeof *task);
    if (task && engine->options.bucket)
        rc = FM_OK; /* the snapshot follows the listing */
    else if (task)
        rc = store_snapshot_new(engine->store, fm_slice_text(query->tenant), &task->snapshot);
    if (rc < 0) {
        free(task);
        metric_add(&engine->refused_total, 1);
        query->done(query, rc);
        return;
    }
    task->engine = engine;
    task->query = query;
    task->begin_ns = pf_now_ns(engine->platform);
    fm_list_append(&engine->waiting, &task->link);
    engine->waiting_count++;
    query_run_next(engine);
}

void query_put_metrics(const struct query_engine *engine, struct fm_buf *out)
{
    metric_counter(out, "fermata_query_requests_total", "Queries asked.", &engine->queries_total);
    metric_counter(out, "fermata_query_refused_total", "Queries refused: too many at once.",
                   &engine->refused_total);
    metric_counter(out, "fermata_query_failed_total", "Queries that ended in an error.",
                   &engine->failed_total);
    metric_counter(out, "fermata_query_inspected_bytes_total", "Bytes read for queries.",
                   &engine->inspected_bytes_total);
    metric_counter(out, "fermata_query_blocks_failed_total",
                   "Blocks that could not be read during a query and were left out.",
                   &engine->blocks_failed_total);
    metric_histogram_put(out, "fermata_query_trace_seconds", "Trace by id, from start to answer.",
                         &engine->seconds);
    ask_put_metrics(engine, out);
    vector_cache_put_metrics(&engine->vectors, out);
    if (engine->options.bucket)
        bucket_reader_put_metrics(engine->options.bucket, out);
}
