/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs of a question that own what was found: merging, traces that lie in several places, and the
 * answer. */
#include <stdlib.h>

#include "fermata/block_traces.h"
#include "internal.h"

static int task_fill_found(struct query_task *task, struct query_found *found, bool is_final,
                           struct fm_why *why)
{
    struct ask_found got;
    int rc = ask_part_found(task->main, &got, why);
    if (rc < 0)
        return rc;
    const struct frame_stats *stats = ask_part_stats(task->main);
    task->stats.inspected_bytes = stats->inspected_bytes;
    task->stats.inspected_traces = stats->inspected_traces;
    task->stats.inspected_spans = stats->inspected_spans;
    *found = (struct query_found){
        .traces = got.traces,
        .count = got.count,
        .scopes = got.scopes,
        .values = got.values,
        .series = got.series,
        .stats = task->stats,
        .is_final = is_final,
    };
    return FM_OK;
}

/* ---- merging ---- */

static int task_merge_one(struct query_task *task, struct query_worker *worker, struct fm_why *why)
{
    int rc = worker->part ? ask_part_merge(task->main, worker->part) : FM_OK;
    if (worker->pieces.len)
        fm_buf_put_slice(&task->pieces, fm_buf_slice(&worker->pieces));
    if (rc == FM_OK && task->pieces.failed)
        rc = fm_fail(why, FM_ELIMIT, "too many traces lie in several blocks");
    worker->part = ask_part_free(worker->part);
    task->damaged_count += worker->is_damaged;
    return rc;
}

/* What a search has found so far says how much of the rest will be needed. */
static int task_count_found(struct query_task *task, struct fm_why *why)
{
    struct ask_found found;
    if (ask_kind(task->question) != ASK_SEARCH)
        return FM_OK;
    int rc = ask_part_found(task->main, &found, why);
    if (rc == FM_OK)
        task->main_found_count = found.count;
    return rc;
}

int task_merge(struct query_task *task, struct fm_why *why)
{
    struct query_found found;
    int rc = task_merge_lists(task);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < task->merged_count; i++) {
        rc = task_merge_one(task, task->merged[i], why);
        if (rc < 0)
            return rc;
    }
    rc = task_count_found(task, why);
    if (rc < 0)
        return rc;
    task->main_floor_ns = ask_part_floor_ns(task->main);
    task->main_is_full = ask_part_is_full(task->main);
    if (!task->wants_part)
        return FM_OK;
    rc = task_fill_found(task, &found, false, why);
    if (rc < 0)
        return rc;
    fm_buf_init(&task->part, task->memory_part);
    task->ask->render(task->ask, &found, &task->part);
    return FM_OK;
}

/* ---- traces that lie in several places ---- */

/* Candidates are joined newest first, a batch at a time, until none that is left is new enough.  If
 * a few batches did not get there, all the rest is read in one go. */
#define BATCH_FIRST  32u
#define SPARSE_SHARE 32u /* fewer than 1 / 32 of a block's traces: read each by itself */
#define SPARSE_MAX   8u  /* so few are looked up one by one */
#define BATCH_LAST   256u

struct joiner {
    struct query_task *task;
    size_t memory;                     /* of all threads, none of which runs any more */
    struct eval_candidate *candidates; /* owned; newest first, distinct */
    size_t candidate_count;
    const struct query_piece *all; /* borrowed; by id, then place; distinct */
    size_t all_count;
    /* of a batch */
    struct query_piece *pieces; /* owned; by place, then id */
    size_t piece_count;
    struct trace_id *ids; /* owned; sorted */
    size_t id_count;
    uint64_t *keys; /* owned; sorted; of ids */
    const struct rows_turn *turn;
    struct frame_rows *rows;
    struct fm_buf otlp;
    struct fm_why *why;
};

static int piece_compare(const void *a, const void *b)
{
    const struct query_piece *left = a, *right = b;
    if (left->place != right->place)
        return left->place < right->place ? -1 : 1;
    return memcmp(&left->id, &right->id, sizeof left->id);
}

static int key_compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

static bool joiner_wants_trace(void *self, const struct trace_id *id)
{
    const struct joiner *joiner = self;
    return rows_turn_has(joiner->turn, id) && ask_ids_has(joiner->ids, joiner->id_count, id);
}

static bool joiner_wants_record(void *self, const struct store_record *record)
{
    const struct joiner *joiner = self;
    for (uint32_t i = 0; i < record->trace_key_count; i++) {
        if (bsearch(&record->trace_keys[i], joiner->keys, joiner->id_count, sizeof(uint64_t),
                    key_compare))
            return true;
    }
    return false;
}

/* What is stored is canonical; what is not is damaged, and the question is not to blame. */
static int joiner_add(struct joiner *joiner, struct fm_slice otlp)
{
    if (task_is_cancelled(joiner->task))
        return FM_ECANCELLED;
    int rc = frame_rows_add(joiner->rows, otlp, joiner_wants_trace, joiner, joiner->why);
    return rc == FM_EMALFORMED ? FM_ECORRUPT : rc;
}

static int joiner_on_record(void *self, const struct store_record *record, struct fm_slice otlp)
{
    struct joiner *joiner = self;
    (void)record;
    int rc = joiner_add(joiner, otlp);
    joiner->task->damaged_count += rc == FM_ECORRUPT;
    return rc == FM_ECORRUPT ? FM_OK : rc;
}

static bool joiner_wants_key(void *self, struct fm_slice key)
{
    const struct joiner *joiner = self;
    return ask_part_wants(joiner->task->main, key);
}

/* ids: of the block, a trace's row is the number of its id; NULL: few are wanted, each is found by
 * itself.  row: at or before the wanted one.  FM_NONE: it is not there. */
static int joiner_seek(struct joiner *joiner, struct block_traces *traces,
                       const struct ask_ids *ids, const struct trace_id *id, size_t *row)
{
    if (!ids)
        return block_traces_find(traces, id, joiner->why);
    *row += ask_ids_before(ids->ids + *row, ids->count - *row, id);
    if (*row == ids->count || !trace_id_equal(&ids->ids[*row], id))
        return FM_NONE;
    block_traces_seek(traces, *row);
    return FM_OK;
}

static int joiner_read_rows(struct joiner *joiner, const struct block *block,
                            const struct ask_ids *ids, const struct query_piece *pieces,
                            size_t count)
{
    FM_AUTO(block_traces) traces = NULL;
    struct trace_id id;
    int rc = block_traces_new(&traces, block, 0);
    if (rc == FM_OK) {
        block_traces_want(traces, ask_part_parts(joiner->task->main));
        block_traces_want_keys(traces, joiner_wants_key, joiner);
    }
    if (rc == FM_OK && (!ids || count < ids->count / SPARSE_SHARE))
        rc = block_traces_sparse(traces);
    for (size_t i = 0, row = 0; i < count && rc == FM_OK; i++) {
        if (!rows_turn_has(joiner->turn, &pieces[i].id))
            continue;
        rc = joiner_seek(joiner, traces, ids, &pieces[i].id, &row);
        if (rc == FM_NONE) {
            rc = FM_OK;
            continue;
        }
        fm_buf_reset(&joiner->otlp);
        if (rc == FM_OK)
            rc = block_traces_next(traces, &id, &joiner->otlp, joiner->why);
        if (rc == FM_OK && !trace_id_equal(&id, &pieces[i].id))
            rc = FM_ECORRUPT;
        if (rc == FM_OK)
            rc = joiner_add(joiner, fm_buf_slice(&joiner->otlp));
    }
    return rc == FM_END ? FM_ECORRUPT : rc;
}

static int joiner_read_block(struct joiner *joiner, const struct query_piece *pieces, size_t count)
{
    struct query_task *task = joiner->task;
    struct ask_ids *ids = NULL;
    struct place_opened opened;
    int rc = place_open(&opened, task, pieces->place, joiner->why);
    if (rc < 0)
        return rc;
    if (count > SPARSE_MAX)
        rc = ask_ids_of_block(opened.block, joiner->memory, &ids, joiner->why);
    if (rc == FM_OK)
        rc = joiner_read_rows(joiner, opened.block, ids, pieces, count);
    free(ids);
    place_close(&opened, task);
    return rc;
}

static int joiner_read_head(struct joiner *joiner)
{
    const struct store_head_reading reading = {joiner_wants_record, joiner_on_record, joiner};
    uint64_t failed = 0;
    int rc = store_snapshot_read_head(joiner->task->snapshot, &reading, &failed, joiner->why);
    joiner->task->damaged_count += failed;
    return rc;
}

static int joiner_fill(void *self, struct frame_rows *rows, const struct rows_turn *turn,
                       struct fm_why *why)
{
    struct joiner *joiner = self;
    joiner->rows = rows;
    joiner->turn = turn;
    joiner->why = why;
    for (size_t begin = 0, end; begin < joiner->piece_count; begin = end) {
        uint32_t place = joiner->pieces[begin].place;
        for (end = begin + 1; end < joiner->piece_count && joiner->pieces[end].place == place;)
            end++;
        int rc = joiner->task->places[place].is_head
                     ? joiner_read_head(joiner)
                     : joiner_read_block(joiner, joiner->pieces + begin, end - begin);
        if (bucket_rc_is_damage(rc))
            joiner->task->damaged_count++;
        else if (rc < 0)
            return rc;
    }
    return FM_OK;
}

static int id_then_place_compare(const void *a, const void *b)
{
    const struct query_piece *left = a, *right = b;
    int order = memcmp(&left->id, &right->id, sizeof left->id);
    return order ? order : (left->place > right->place) - (left->place < right->place);
}

static int candidate_compare(const void *a, const void *b)
{
    const struct eval_candidate *left = a, *right = b;
    int order = memcmp(&left->id, &right->id, sizeof left->id);
    return order ? order : (left->start_ns > right->start_ns) - (left->start_ns < right->start_ns);
}

static int newest_compare(const void *a, const void *b)
{
    const struct eval_candidate *left = a, *right = b;
    if (left->start_ns != right->start_ns)
        return left->start_ns > right->start_ns ? -1 : 1;
    return memcmp(&left->id, &right->id, sizeof left->id);
}

/* Of each id the earliest start that is known. */
static int joiner_list_candidates(struct joiner *joiner)
{
    size_t count, kept = 0;
    const struct eval_candidate *from = ask_part_candidates(joiner->task->main, &count);
    if (!count)
        return FM_OK;
    struct eval_candidate *all = joiner->candidates = malloc(count * sizeof *all);
    if (!all)
        return FM_ENOMEM;
    memcpy(all, from, count * sizeof *all);
    qsort(all, count, sizeof *all, candidate_compare);
    for (size_t i = 0; i < count; i++) {
        if (!kept || !trace_id_equal(&all[kept - 1].id, &all[i].id))
            all[kept++] = all[i];
    }
    qsort(all, kept, sizeof *all, newest_compare);
    joiner->candidate_count = kept;
    return FM_OK;
}

static void joiner_sort_pieces(struct joiner *joiner)
{
    struct query_piece *pieces = (void *)joiner->task->pieces.ptr;
    size_t count = joiner->task->pieces.len / sizeof *pieces;
    if (count)
        qsort(pieces, count, sizeof *pieces, id_then_place_compare);
    for (size_t i = 0; i < count; i++) {
        if (!i || id_then_place_compare(&pieces[joiner->all_count - 1], &pieces[i]) != 0)
            pieces[joiner->all_count++] = pieces[i];
    }
    joiner->all = pieces;
}

static const struct query_piece *joiner_first_piece(const struct joiner *joiner,
                                                    const struct trace_id *id)
{
    size_t low = 0, high = joiner->all_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (memcmp(&joiner->all[middle].id, id, sizeof *id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return joiner->all + low;
}

static void batch_fini(struct joiner *joiner)
{
    free(fm_take(joiner->pieces));
    free(fm_take(joiner->ids));
    free(fm_take(joiner->keys));
    joiner->piece_count = joiner->id_count = 0;
}

static int batch_init(struct joiner *joiner, const struct eval_candidate *candidates, size_t count)
{
    const struct query_piece *end = joiner->all + joiner->all_count;
    joiner->ids = malloc(count * sizeof *joiner->ids);
    joiner->keys = malloc(count * sizeof *joiner->keys);
    joiner->pieces = malloc((joiner->all_count + 1) * sizeof *joiner->pieces);
    if (!joiner->ids || !joiner->keys || !joiner->pieces)
        return FM_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        const struct trace_id *id = &candidates[i].id;
        const struct query_piece *piece = joiner_first_piece(joiner, id);
        for (; piece < end && trace_id_equal(&piece->id, id); piece++)
            joiner->pieces[joiner->piece_count++] = *piece;
        joiner->ids[i] = *id;
        joiner->keys[i] = trace_id_key(id->bytes);
    }
    joiner->id_count = ask_ids_sort(joiner->ids, count);
    qsort(joiner->keys, count, sizeof *joiner->keys, key_compare);
    qsort(joiner->pieces, joiner->piece_count, sizeof *joiner->pieces, piece_compare);
    return FM_OK;
}

static int joiner_batch(struct joiner *joiner, const struct eval_candidate *candidates,
                        size_t count, struct fm_why *why)
{
    struct query_task *task = joiner->task;
    const struct ask_limits limits = {.memory_max = PART_MEMORY(joiner->memory),
                                      .cancelled = &task->ask->cancelled};
    FM_AUTO(ask_part) part = NULL;
    int rc = batch_init(joiner, candidates, count);
    if (rc == FM_OK)
        rc = ask_part_new(&part, task->question, &limits, why);
    if (rc == FM_OK)
        rc = rows_evaluate(part, ROWS_MEMORY(joiner->memory), joiner_fill, joiner, why);
    if (rc == FM_OK)
        rc = ask_part_merge(task->main, part);
    task->joined_count += joiner->id_count;
    batch_fini(joiner);
    return rc;
}

static int joiner_run(struct joiner *joiner, struct fm_why *why)
{
    bool is_search = ask_kind(joiner->task->question) == ASK_SEARCH;
    size_t size = is_search ? BATCH_FIRST : joiner->candidate_count;
    for (size_t at = 0; at < joiner->candidate_count;) {
        size_t count = FM_MIN(size, joiner->candidate_count - at);
        if (joiner->candidates[at].start_ns < ask_part_floor_ns(joiner->task->main))
            return FM_OK; /* nor are those behind it new enough */
        int rc = joiner_batch(joiner, joiner->candidates + at, count, why);
        if (rc < 0)
            return rc;
        at += count;
        size = size < BATCH_LAST ? size * 2 : joiner->candidate_count;
    }
    return FM_OK;
}

static int task_join(struct query_task *task, struct fm_why *why)
{
    struct joiner joiner = {.task = task, .memory = task->memory_part * task->worker_count};
    fm_buf_init(&joiner.otlp, SIZE_MAX / 4);
    int rc = joiner_list_candidates(&joiner);
    if (rc == FM_OK && joiner.candidate_count) {
        joiner_sort_pieces(&joiner);
        rc = joiner_run(&joiner, why);
    }
    fm_buf_fini(&joiner.otlp);
    batch_fini(&joiner);
    free(joiner.candidates);
    return rc;
}

/* ---- whole traces ---- */

struct wholes {
    struct trace **traces; /* owned, as they are */
    uint32_t count;
};

static void wholes_fini(struct wholes *wholes)
{
    for (uint32_t i = 0; i < wholes->count; i++)
        trace_free(wholes->traces[i]);
    free(wholes->traces);
}

static int task_find_whole(struct query_task *task, const struct trace_id *id, size_t bytes_max,
                           struct trace **ret_trace, struct fm_why *why)
{
    struct store_read_stats stats = {0};
    FM_AUTO(trace) trace = NULL;
    if (task_is_cancelled(task))
        return FM_ECANCELLED;
    int rc = trace_new(&trace, id, bytes_max);
    if (rc == FM_OK)
        rc = store_find_trace(task->snapshot, id, trace, &stats, why);
    if (rc == FM_OK)
        rc = trace_finish(trace);
    task->stats.inspected_bytes += stats.inspected_bytes;
    if (rc < 0)
        return rc;
    *ret_trace = fm_take(trace);
    return FM_OK;
}

/* Together they take what one question may: each has an equal share. */
static int task_find_wholes(struct query_task *task, const struct query_found *found,
                            struct wholes *wholes, struct fm_why *why)
{
    size_t share = task->engine->options.memory_max / (found->count ? found->count : 1);
    wholes->traces = calloc(found->count + 1, sizeof(struct trace *));
    if (!wholes->traces)
        return FM_ENOMEM;
    for (uint32_t i = 0; i < found->count; i++) {
        int rc = task_find_whole(task, &found->traces[i].id,
                                 FM_MIN(share, task->engine->options.trace_bytes_max),
                                 &wholes->traces[wholes->count], why);
        if (rc < 0)
            return rc;
        wholes->count++;
    }
    return FM_OK;
}

/* ---- the answer ---- */

int task_finish(struct query_task *task, struct fm_why *why)
{
    struct query_ask *ask = task->ask;
    struct query_found found;
    struct wholes wholes = {0};
    int rc = task_join(task, why);
    if (rc == FM_OK)
        rc = task_fill_found(task, &found, true, why);
    if (rc == FM_OK && ask->kind == QUERY_TRACES) {
        rc = task_find_wholes(task, &found, &wholes, why);
        found.wholes = wholes.traces;
        found.stats = task->stats;
    }
    if (rc == FM_OK && task_is_cancelled(task))
        rc = FM_ECANCELLED;
    if (rc == FM_OK) {
        ask->render(ask, &found, &ask->answer);
        if (ask->answer.failed)
            rc = fm_fail(why, FM_ELIMIT, "the answer is larger than max_memory_bytes allows");
    }
    wholes_fini(&wholes);
    return rc;
}
