/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs of a question: understanding it and listing its places, then one place at a time. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

#define ROWS_TURN_BITS 10u /* a head is read in at most 2^10 turns */
#define PIECES_MAX     FM_MIB(64)

/* ---- preparing ---- */

struct head_gather {
    struct query_task *task;
    struct fm_buf keys;
    struct query_place place;
    bool has_records;
};

static bool window_has(const struct query_task *task, uint64_t start_ns, uint64_t end_ns)
{
    return start_ns <= task->window_end_ns && end_ns >= task->window_start_ns;
}

static int gather_on_record(void *self, const struct store_record *record)
{
    struct head_gather *gather = self;
    struct query_place *place = &gather->place;
    place->start_ns = FM_MIN(place->start_ns, record->start_ns);
    place->end_ns = FM_MAX(place->end_ns, record->end_ns);
    place->is_asked |= window_has(gather->task, record->start_ns, record->end_ns);
    gather->has_records = true;
    if (record->trace_key_count)
        fm_buf_put(&gather->keys, record->trace_keys, record->trace_key_count * sizeof(uint64_t));
    return gather->keys.failed ? FM_ENOMEM : FM_OK;
}

static int key_compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

static size_t keys_sort(uint64_t *keys, size_t count)
{
    size_t kept = 0;
    if (count > 1)
        qsort(keys, count, sizeof *keys, key_compare);
    for (size_t i = 0; i < count; i++) {
        if (!kept || keys[kept - 1] != keys[i])
            keys[kept++] = keys[i];
    }
    return kept;
}

bool keys_have(const uint64_t *keys, size_t count, uint64_t key)
{
    return count && bsearch(&key, keys, count, sizeof key, key_compare);
}

static int task_list_head(struct query_task *task)
{
    struct head_gather gather = {.task = task, .place = {.is_head = true, .start_ns = UINT64_MAX}};
    fm_buf_init(&gather.keys, SIZE_MAX / 4); /* the head's index is bounded, this is a part of it */
    int rc = store_snapshot_records(task->snapshot, gather_on_record, &gather);
    if (rc == FM_OK && gather.has_records) {
        task->head_keys = (uint64_t *)(void *)fm_take(gather.keys.ptr);
        task->head_key_count = keys_sort(task->head_keys, gather.keys.len / sizeof(uint64_t));
        task->places[task->place_count++] = gather.place;
    }
    fm_buf_fini(&gather.keys);
    return rc;
}

static int place_compare(const void *a, const void *b)
{
    const struct query_place *left = a, *right = b;
    if (left->is_head != right->is_head)
        return left->is_head ? -1 : 1;
    if (left->end_ns != right->end_ns)
        return left->end_ns > right->end_ns ? -1 : 1;
    if (left->is_listed != right->is_listed)
        return left->is_listed ? 1 : -1;
    return left->block > right->block ? -1 : left->block < right->block;
}

/* Places outside the window that may hold parts of traces that reach into it. */
static void task_list_beyond(struct query_task *task)
{
    for (uint32_t i = 0; i < task->place_count; i++) {
        struct query_place *place = &task->places[i];
        for (uint32_t other = 0; other < task->place_count && !place->is_asked; other++)
            place->is_beyond |= task->places[other].is_asked && !task->places[other].is_beyond &&
                                place_is_near(place, &task->places[other]);
        place->is_asked |= place->is_beyond;
    }
}

/* The head and the node's blocks. */
static int task_put_own(struct query_task *task)
{
    size_t count = store_snapshot_block_count(task->snapshot);
    int rc = task_list_head(task);
    for (size_t i = 0; rc == FM_OK && i < count; i++) {
        const struct block_meta *meta = &store_snapshot_block(task->snapshot, i)->meta;
        task->places[task->place_count++] =
            (struct query_place){.block = i, .start_ns = meta->start_ns, .end_ns = meta->end_ns};
    }
    return rc;
}

static int task_list_places(struct query_task *task)
{
    size_t count = store_snapshot_block_count(task->snapshot);
    size_t listed_count = task->listed ? task->listed->count : 0;
    int rc = FM_OK;
    task->places = calloc(count + listed_count + 1, sizeof *task->places);
    if (!task->places)
        return FM_ENOMEM;
    if (!task->engine->options.bucket_only)
        rc = task_put_own(task);
    if (rc == FM_OK)
        rc = task_put_listed(task);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < task->place_count; i++) {
        struct query_place *place = &task->places[i];
        if (place->is_head)
            continue;
        place->is_asked = window_has(task, place->start_ns, place->end_ns);
        if (!place->is_asked)
            continue;
        task->stats.block_count++;
        task->stats.block_bytes += task_meta(task, i)->size_bytes;
    }
    qsort(task->places, task->place_count, sizeof *task->places, place_compare);
    for (uint32_t i = 0; i < task->place_count; i++)
        task->stats.job_count += task->places[i].is_asked;
    if (ask_joins(task->question))
        task_list_beyond(task);
    return FM_OK;
}

/* Tempo's way to say a whole number of hours: 168h0m0s. */
static void range_print(uint64_t ns, char text[32])
{
    uint64_t s = ns / FM_NS_PER_S;
    (void)snprintf(text, 32, "%" PRIu64 "h%" PRIu64 "m%" PRIu64 "s", s / 3600, s / 60 % 60, s % 60);
}

static int task_check_range(const struct query_task *task, struct fm_why *why)
{
    const struct query_ask *ask = task->ask;
    const struct query_options *options = &task->engine->options;
    bool is_metrics = ask->kind == QUERY_METRICS;
    uint64_t max = is_metrics ? options->metrics_range_max_ns : options->search_range_max_ns;
    char text[32];
    if (!ask->start_ns || ask->end_ns <= ask->start_ns || ask->end_ns - ask->start_ns <= max ||
        ask->kind == QUERY_TAG_NAMES || ask->kind == QUERY_TAG_VALUES)
        return FM_OK;
    range_print(max, text);
    if (is_metrics)
        return fm_fail(why, FM_EMALFORMED,
                       "metrics query time range exceeds the maximum allowed duration of %s", text);
    return fm_fail(why, FM_EMALFORMED,
                   "range specified by start and end exceeds %s. received start=%" PRIu64
                   " end=%" PRIu64,
                   text, ask->start_ns / FM_NS_PER_S, ask->end_ns / FM_NS_PER_S);
}

static int task_understand(struct query_task *task, struct fm_why *why)
{
    static const enum ask_kind kinds[] = {
        [QUERY_SEARCH] = ASK_SEARCH,         [QUERY_TAG_NAMES] = ASK_TAG_NAMES,
        [QUERY_TAG_VALUES] = ASK_TAG_VALUES, [QUERY_METRICS] = ASK_METRICS,
        [QUERY_TRACES] = ASK_SEARCH,
    };
    const struct query_ask *ask = task->ask;
    struct ask_question question = {
        .kind = kinds[ask->kind],
        .text = ask->text,
        .field = ask->field,
        .scope = ask->scope,
        .start_ns = ask->start_ns ? ask->start_ns : ask->series.start_ns,
        .end_ns = ask->end_ns ? ask->end_ns : ask->series.end_ns,
        .limit = ask->limit,
        .spss = ask->spss,
        .series = ask->series,
    };
    uint32_t series_max = task->engine->options.series_max;
    if (series_max && (!question.series.series_max || question.series.series_max > series_max))
        question.series.series_max = series_max;
    return ask_new(&task->question, &question, &task->ask->is_text_wrong, why);
}

/* What has to be known before the bucket can be listed, or the store. */
static int task_read_question(struct query_task *task, struct fm_why *why)
{
    if (task->question)
        return FM_OK;
    int rc = task_check_range(task, why);
    if (rc == FM_OK)
        rc = task_understand(task, why);
    if (rc == FM_OK)
        ask_window(task->question, &task->window_start_ns, &task->window_end_ns);
    return rc;
}

int task_list(struct query_task *task, struct fm_why *why)
{
    int rc = task_read_question(task, why);
    return rc < 0 ? rc : task_list_bucket(task, why);
}

int task_prepare(struct query_task *task, struct fm_why *why)
{
    struct ask_limits limits = {.memory_max = task->memory_part,
                                .cancelled = &task->ask->cancelled};
    int rc = task_read_question(task, why);
    if (rc == FM_OK)
        rc = task_list_places(task);
    return rc < 0 ? rc : ask_part_new(&task->main, task->question, &limits, why);
}

/* ---- rows in turns ---- */

static int rows_try(struct ask_part *part, size_t memory_max, rows_fill *fill, void *self,
                    const struct rows_turn *turn, struct fm_why *why)
{
    FM_AUTO(frame_rows) rows = NULL;
    int rc = frame_rows_new(&rows, memory_max);
    if (rc == FM_OK)
        rc = fill(self, rows, turn, why);
    if (rc == FM_OK)
        rc = frame_rows_finish(rows);
    if (rc == FM_ELIMIT)
        return FM_MORE; /* half as many at once, before anything was judged */
    return rc < 0 ? rc : ask_part_add_rows(part, rows, why);
}

int rows_evaluate(struct ask_part *part, size_t memory_max, rows_fill *fill, void *self,
                  struct fm_why *why)
{
    struct rows_turn waiting[ROWS_TURN_BITS + 1] = {{0, 0}};
    unsigned count = 1;
    while (count) {
        const struct rows_turn turn = waiting[--count];
        int rc = rows_try(part, memory_max, fill, self, &turn, why);
        if (rc < 0)
            return rc;
        if (rc == FM_OK)
            continue;
        uint64_t bit = turn.mask + 1;
        if (bit >> ROWS_TURN_BITS)
            return fm_fail(why, FM_ELIMIT, "a trace is too large for max_memory_bytes");
        waiting[count++] = (struct rows_turn){turn.mask | bit, turn.value};
        waiting[count++] = (struct rows_turn){turn.mask | bit, turn.value | bit};
    }
    return FM_OK;
}

/* ---- the head ---- */

struct head_fill {
    struct query_worker *worker;
    uint64_t *keys; /* owned; sorted; of the records in the window; NULL: all are */
    size_t key_count;
    const struct rows_turn *turn;
    struct frame_rows *rows;
    struct fm_why *why;
};

static bool head_wants_trace(void *self, const struct trace_id *id)
{
    const struct head_fill *fill = self;
    return rows_turn_has(fill->turn, id);
}

/* Records of the window, and those outside that hold more of the same traces. */
static bool head_wants_record(void *self, const struct store_record *record)
{
    const struct head_fill *fill = self;
    if (!fill->keys || window_has(fill->worker->task, record->start_ns, record->end_ns))
        return true;
    for (uint32_t i = 0; i < record->trace_key_count; i++) {
        if (keys_have(fill->keys, fill->key_count, record->trace_keys[i]))
            return true;
    }
    return false;
}

static int head_on_record(void *self, const struct store_record *record, struct fm_slice otlp)
{
    struct head_fill *fill = self;
    (void)record;
    if (worker_is_cancelled(fill->worker))
        return FM_ECANCELLED;
    int rc = frame_rows_add(fill->rows, otlp, head_wants_trace, fill, fill->why);
    if (rc != FM_EMALFORMED)
        return rc;
    fill->worker->is_damaged = true; /* of the log, not of the question */
    return FM_OK;
}

static int head_fill(void *self, struct frame_rows *rows, const struct rows_turn *turn,
                     struct fm_why *why)
{
    struct head_fill *fill = self;
    const struct store_head_reading reading = {head_wants_record, head_on_record, fill};
    uint64_t failed = 0;
    fill->rows = rows;
    fill->turn = turn;
    fill->why = why;
    int rc = store_snapshot_read_head(fill->worker->task->snapshot, &reading, &failed, why);
    fill->worker->is_damaged |= failed != 0;
    return rc;
}

struct window_gather {
    const struct query_task *task;
    struct fm_buf keys;
    bool has_outside;
};

static int window_on_record(void *self, const struct store_record *record)
{
    struct window_gather *gather = self;
    if (!window_has(gather->task, record->start_ns, record->end_ns))
        gather->has_outside = true;
    else if (record->trace_key_count)
        fm_buf_put(&gather->keys, record->trace_keys, record->trace_key_count * sizeof(uint64_t));
    return gather->keys.failed ? FM_ENOMEM : FM_OK;
}

static int worker_ask_head(struct query_worker *worker)
{
    struct head_fill fill = {.worker = worker};
    struct window_gather gather = {.task = worker->task};
    fm_buf_init(&gather.keys, SIZE_MAX / 4);
    int rc = store_snapshot_records(worker->task->snapshot, window_on_record, &gather);
    for (size_t i = 0; rc == FM_OK && i < worker->partial_count; i++) {
        uint64_t key = trace_id_key(worker->partial[i].bytes);
        fm_buf_put(&gather.keys, &key, sizeof key);
    }
    if (rc == FM_OK && gather.keys.failed)
        rc = FM_ENOMEM;
    if (rc == FM_OK && gather.has_outside && gather.keys.len) {
        fill.key_count = gather.keys.len / sizeof(uint64_t);
        fill.keys = (uint64_t *)(void *)fm_take(gather.keys.ptr);
        fill.key_count = keys_sort(fill.keys, fill.key_count);
    }
    fm_buf_fini(&gather.keys);
    if (rc == FM_OK)
        rc = rows_evaluate(worker->part, ROWS_MEMORY(worker->memory), head_fill, &fill,
                           &worker->why);
    free(fill.keys);
    return rc;
}

/* ---- one place ---- */

static int worker_ask_block(struct query_worker *worker)
{
    struct query_task *task = worker->task;
    struct place_opened opened;
    int rc = place_open(&opened, task, worker->place, &worker->why);
    if (rc < 0)
        return rc == FM_EMALFORMED ? FM_ECORRUPT : rc;
    rc = ask_part_add_share(worker->part, opened.block, worker->share, worker->share_count,
                            &worker->why);
    place_close(&opened, task);
    return rc;
}

static int worker_ask(struct query_worker *worker)
{
    struct query_task *task = worker->task;
    struct ask_limits limits = {
        .memory_max = worker->memory,
        .cancelled = &worker->is_dropped,
        .floor_ns = worker->floor_ns,
        .keep = vector_cache_keep(&task->engine->vectors),
    };
    if (worker_is_cancelled(worker))
        return FM_ECANCELLED;
    int rc = worker_find_shared(worker);
    if (rc < 0)
        return rc;
    limits.partial = worker->partial;
    limits.partial_count = worker->partial_count;
    if (task->places[worker->place].is_head)
        limits.memory_max = PART_MEMORY(worker->memory);
    limits.for_list = worker_makes_list(worker);
    rc = ask_part_new(&worker->part, task->question, &limits, &worker->why);
    if (rc < 0)
        return rc;
    rc = task->places[worker->place].is_head ? worker_ask_head(worker) : worker_ask_block(worker);
    if (rc == FM_OK && limits.for_list)
        worker_make_list(worker);
    return rc < 0 ? rc : worker_put_pieces(worker);
}

static bool worker_is_damaged(const struct query_worker *worker)
{
    int rc = worker->rc;
    if (worker->task->places[worker->place].is_listed && rc != FM_EMALFORMED)
        return bucket_rc_is_damage(rc);
    return rc == FM_ECORRUPT || rc == FM_EIO || rc == FM_ENOTFOUND || rc == FM_EUNSUPPORTED;
}

void worker_work(struct pf_job *job)
{
    struct query_worker *worker = FM_CONTAINER(job, struct query_worker, job);
    struct platform *platform = worker->task->engine->platform;
    uint64_t begin_ns = pf_now_ns(platform);
    fm_buf_init(&worker->pieces, PIECES_MAX);
    worker->rc = worker_ask(worker);
    worker->took_ns = pf_now_ns(platform) - begin_ns;
    if (worker_is_damaged(worker)) {
        log_warn("store.read_failed", "why=\"%s\"", worker->why.text);
        worker->is_damaged = true;
        worker->part = ask_part_free(worker->part);
        worker->rc = FM_OK;
    }
}
