/* SPDX-License-Identifier: Apache-2.0 */
/* join - traces of a block that have parts in undecided blocks or in the head, judged as a whole.
 *
 * Which they are is found out by ids and keys, nothing is read for it but them.  Their parts are
 * put together in rows, as many at a time as there is memory for.  Parts in blocks that are decided
 * already are not asked: their traces are remembered.  A neighbour that cannot be read has no
 * parts. */
#include <stdlib.h>

#include "internal.h"

#define JOIN_FEW     16u                    /* traces */
#define JOIN_NEAR_NS (5 * 60 * FM_NS_PER_S) /* parts of one trace lie no further apart */

struct join_place {      /* an undecided block that shares traces with the one that is judged */
    size_t block;        /* of the snapshot */
    struct ask_ids *ids; /* owned */
};
struct join {
    struct judging *judging;
    uint8_t *is_shared;        /* owned; by row */
    struct join_place *places; /* owned */
    size_t place_count;
    bool with_head;
    /* a table of the block's keys, for those of the head: row + 1, 0: free */
    uint32_t *table; /* owned */
    size_t mask;
    /* the part that is put together */
    const struct trace_id *ids;
    size_t id_count;
    uint64_t *keys; /* owned; sorted */
    struct frame_rows *rows;
    struct fm_buf otlp;
};

static bool join_is_cancelled(const struct join *join)
{
    return atomic_load(&join->judging->sampler->is_cancelled);
}

/* ---- what is shared ---- */

static bool join_is_near(const struct block_meta *a, const struct block_meta *b)
{
    uint64_t gap = a->start_ns > b->end_ns   ? a->start_ns - b->end_ns
                   : b->start_ns > a->end_ns ? b->start_ns - a->end_ns
                                             : 0;
    return gap <= JOIN_NEAR_NS;
}

static bool join_note_shared(struct join *join, const struct ask_ids *other)
{
    const struct ask_ids *own = join->judging->ids;
    bool any = false;
    for (size_t row = 0, at = 0; row < own->count && at < other->count;) {
        int order = memcmp(&own->ids[row], &other->ids[at], sizeof own->ids[row]);
        if (order == 0 && join->judging->verdicts[row] == SAMPLE_UNKNOWN) {
            join->is_shared[row] = 1;
            any = true;
        }
        if (order < 0)
            row += ask_ids_before(own->ids + row, own->count - row, &other->ids[at]);
        else if (order > 0)
            at += ask_ids_before(other->ids + at, other->count - at, &own->ids[row]);
        else
            row++, at++;
    }
    return any;
}

static int join_look_at(struct join *join, size_t index, struct fm_why *why)
{
    struct judging *judging = join->judging;
    struct store_opened opened;
    struct ask_ids *ids = NULL;
    int rc = store_opened_init(&opened, judging->snapshot, index, why);
    if (rc < 0)
        return rc;
    rc = ask_ids_of_block(opened.block, judging->sampler->options.memory_max, &ids, why);
    store_opened_fini(&opened, judging->snapshot);
    if (rc == FM_OK && join_note_shared(join, ids))
        join->places[join->place_count++] = (struct join_place){index, fm_take(ids)};
    free(ids);
    return rc;
}

static bool join_passes_over(int rc, const struct fm_why *why)
{
    if (rc >= 0 || !(judge_rc_is_damage(rc) || rc == FM_EIO))
        return rc >= 0;
    log_warn("store.read_failed", "why=\"%s\"", why->text);
    return true;
}

static int join_blocks(struct join *join, struct fm_why *why)
{
    struct judging *judging = join->judging;
    const struct store_block *own = judging_block(judging);
    size_t count = store_snapshot_block_count(judging->snapshot);
    join->places = calloc(count + 1, sizeof *join->places);
    if (!join->places)
        return FM_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        const struct store_block *other = store_snapshot_block(judging->snapshot, i);
        if (i == judging->block || store_block_decided(other)->verdict != STORE_UNDECIDED ||
            !join_is_near(&own->meta, &other->meta))
            continue;
        int rc = join_is_cancelled(join) ? FM_ECANCELLED : join_look_at(join, i, why);
        if (!join_passes_over(rc, why))
            return rc;
    }
    return FM_OK;
}

static uint32_t *join_slot(const struct join *join, uint64_t key)
{
    const struct ask_ids *ids = join->judging->ids;
    size_t at = (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 20) & join->mask;
    while (join->table[at] && trace_id_key(ids->ids[join->table[at] - 1].bytes) != key)
        at = (at + 1) & join->mask;
    return &join->table[at];
}

static int join_on_head_record(void *self, const struct store_record *record)
{
    struct join *join = self;
    for (uint32_t i = 0; i < record->trace_key_count; i++) {
        uint32_t row = *join_slot(join, record->trace_keys[i]);
        if (row && join->judging->verdicts[row - 1] == SAMPLE_UNKNOWN) {
            join->is_shared[row - 1] = 1;
            join->with_head = true;
        }
    }
    return FM_OK;
}

/* Two ids of one key would share a slot; the second is then judged without the head. */
static int join_head(struct join *join)
{
    const struct ask_ids *ids = join->judging->ids;
    size_t capacity = 64;
    while (capacity < 2 * ids->count)
        capacity *= 2;
    join->mask = capacity - 1;
    join->table = calloc(capacity, sizeof *join->table);
    if (!join->table)
        return FM_ENOMEM;
    for (size_t row = 0; row < ids->count; row++)
        *join_slot(join, trace_id_key(ids->ids[row].bytes)) = (uint32_t)row + 1;
    int rc = store_snapshot_records(join->judging->snapshot, join_on_head_record, join);
    free(fm_take(join->table));
    return rc;
}

static int join_list(struct join *join, struct fm_why *why)
{
    struct judging *judging = join->judging;
    join->is_shared = calloc(judging->ids->count + 1, 1);
    if (!join->is_shared)
        return FM_ENOMEM;
    int rc = join_blocks(join, why);
    if (rc == FM_OK)
        rc = join_head(join);
    if (rc < 0)
        return rc;
    for (size_t row = 0; row < judging->ids->count; row++)
        judging->shared_count += join->is_shared[row];
    judging->shared_ids = malloc((judging->shared_count + 1) * sizeof *judging->shared_ids);
    if (!judging->shared_ids)
        return FM_ENOMEM;
    for (size_t row = 0, at = 0; row < judging->ids->count; row++) {
        if (join->is_shared[row])
            judging->shared_ids[at++] = judging->ids->ids[row];
    }
    return survey_init(&judging->shared, judging->shared_ids, judging->shared_count);
}

/* ---- putting them together ---- */

static int join_key_compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

static bool join_wants_trace(void *self, const struct trace_id *id)
{
    const struct join *join = self;
    return ask_ids_has(join->ids, join->id_count, id);
}

static bool join_wants_record(void *self, const struct store_record *record)
{
    const struct join *join = self;
    for (uint32_t i = 0; i < record->trace_key_count; i++) {
        if (bsearch(&record->trace_keys[i], join->keys, join->id_count, sizeof(uint64_t),
                    join_key_compare))
            return true;
    }
    return false;
}

static int join_on_record(void *self, const struct store_record *record, struct fm_slice otlp)
{
    struct join *join = self;
    (void)record;
    if (join_is_cancelled(join))
        return FM_ECANCELLED;
    int rc = frame_rows_add(join->rows, otlp, join_wants_trace, join, NULL);
    return rc == FM_EMALFORMED ? FM_OK : rc; /* of the log, not of the trace */
}

static int join_add_head(struct join *join, struct fm_why *why)
{
    const struct store_head_reading reading = {join_wants_record, join_on_record, join};
    uint64_t failed = 0;
    join->keys = malloc((join->id_count + 1) * sizeof *join->keys);
    if (!join->keys)
        return FM_ENOMEM;
    for (size_t i = 0; i < join->id_count; i++)
        join->keys[i] = trace_id_key(join->ids[i].bytes);
    qsort(join->keys, join->id_count, sizeof *join->keys, join_key_compare);
    int rc = store_snapshot_read_head(join->judging->snapshot, &reading, &failed, why);
    free(fm_take(join->keys));
    return rc;
}

/* A trace's row is the number of its id. */
static int join_add_rows(struct join *join, const struct block *block, const struct ask_ids *ids,
                         struct fm_why *why)
{
    FM_AUTO(block_traces) traces = NULL;
    int rc = block_traces_new(&traces, block, 0);
    if (rc == FM_OK)
        block_traces_want(traces, join->judging->sampler->leaves.parts);
    if (rc == FM_OK && join->id_count < ids->count / SPARSE_SHARE)
        rc = block_traces_sparse(traces);
    for (size_t i = 0, row = 0; i < join->id_count && rc == FM_OK; i++) {
        row += ask_ids_before(ids->ids + row, ids->count - row, &join->ids[i]);
        if (row == ids->count)
            break;
        if (!trace_id_equal(&ids->ids[row], &join->ids[i]))
            continue;
        if (join_is_cancelled(join))
            return FM_ECANCELLED;
        fm_buf_reset(&join->otlp);
        block_traces_seek(traces, row);
        rc = block_traces_next(traces, NULL, &join->otlp, why);
        if (rc == FM_OK)
            rc = frame_rows_add(join->rows, fm_buf_slice(&join->otlp), join_wants_trace, join, why);
        rc = rc == FM_END || rc == FM_EMALFORMED ? FM_ECORRUPT : rc;
    }
    return rc;
}

static int join_add_block(struct join *join, const struct join_place *place, struct fm_why *why)
{
    struct judging *judging = join->judging;
    struct store_opened opened;
    int rc = store_opened_init(&opened, judging->snapshot, place->block, why);
    if (rc < 0)
        return rc;
    rc = join_add_rows(join, opened.block, place->ids, why);
    store_opened_fini(&opened, judging->snapshot);
    return rc;
}

static int join_fill(struct join *join, struct fm_why *why)
{
    int rc = join_add_rows(join, join->judging->opened.block, join->judging->ids, why);
    for (size_t i = 0; rc == FM_OK && i < join->place_count; i++) {
        rc = join_add_block(join, &join->places[i], why);
        if (rc != FM_ELIMIT && join_passes_over(rc, why))
            rc = FM_OK;
    }
    if (rc == FM_OK && join->with_head)
        rc = join_add_head(join, why);
    return rc == FM_OK ? frame_rows_finish(join->rows) : rc;
}

static int join_open_rows(const struct survey_place *place, const struct frame_request *request,
                          struct frame_source **ret_source, struct fm_why *why)
{
    (void)why;
    return frame_rows_source(place->rows, request, ret_source);
}

/* Some of the shared traces.  FM_ELIMIT: too many at once. */
static int join_some(struct join *join, size_t first, size_t count, struct fm_why *why)
{
    struct judging *judging = join->judging;
    FM_AUTO(frame_rows) rows = NULL;
    struct survey some = {judging->shared.ids + first, count, judging->shared.traces + first};
    struct survey_place place = {
        .open = join_open_rows,
        .memory_max = judging->sampler->options.memory_max,
        .cancelled = &judging->sampler->is_cancelled,
    };
    int rc = frame_rows_new(&rows, judging->sampler->options.memory_max / 2);
    if (rc < 0)
        return rc;
    join->rows = rows;
    join->ids = some.ids;
    join->id_count = count;
    rc = join_fill(join, why);
    if (rc < 0)
        return rc;
    place.rows = rows;
    memset(some.traces, 0, count * sizeof *some.traces);
    return survey_run(&some, &place, &judging->sampler->leaves, why);
}

static int join_all(struct join *join, struct fm_why *why)
{
    struct judging *judging = join->judging;
    size_t step = judging->shared_count;
    for (size_t at = 0; at < judging->shared_count;) {
        size_t count = FM_MIN(step, judging->shared_count - at);
        int rc = join_some(join, at, count, why);
        if (rc == FM_ELIMIT && count > 1) {
            step = (count + 1) / 2;
            continue;
        }
        if (rc < 0 && rc != FM_ELIMIT)
            return rc;
        if (rc == FM_ELIMIT) { /* too large for memory: what is in the block has to do */
            judging->shared.traces[at] = (struct survey_trace){0};
            log_warn("sample.trace_too_large", "why=\"%s\"", why->text);
        }
        judging->joined_traces += count;
        at += count;
    }
    return FM_OK;
}

/* ---- part by part: where every leaf is local, parts are asked by themselves ---- */

static bool join_is_local(const struct join *join)
{
    const struct sample_rules *rules = join->judging->sampler->rules;
    if (join->judging->shared_count < JOIN_FEW)
        return false; /* to read them is cheaper than to look at whole columns */
    for (size_t i = 0; i < sample_leaf_count(rules); i++) {
        if (!sample_leaf_is_local(rules, i))
            return false;
    }
    return true;
}

static void join_merge(struct survey_trace *trace, const struct survey_trace *part)
{
    if (!part->span_count)
        return;
    trace->start_ns = FM_MIN(trace->start_ns, part->start_ns);
    trace->end_ns = FM_MAX(trace->end_ns, part->end_ns);
    trace->span_count += part->span_count;
    trace->leaves |= part->leaves;
}

static int join_survey(struct join *join, const struct survey_place *place, struct fm_why *why)
{
    struct judging *judging = join->judging;
    struct survey part;
    int rc = survey_init(&part, judging->shared.ids, judging->shared_count);
    if (rc == FM_OK)
        rc = survey_run(&part, place, &judging->sampler->leaves, why);
    for (size_t i = 0; rc == FM_OK && i < part.count; i++)
        join_merge(&judging->shared.traces[i], &part.traces[i]);
    survey_fini(&part);
    return rc;
}

static int join_survey_block(struct join *join, size_t index, struct fm_why *why)
{
    struct judging *judging = join->judging;
    struct store_opened opened;
    struct survey_place place = {
        .open = judge_open_place,
        .memory_max = judging->sampler->options.memory_max,
        .cancelled = &judging->sampler->is_cancelled,
    };
    int rc = store_opened_init(&opened, judging->snapshot, index, why);
    if (rc < 0)
        return rc;
    place.block = opened.block;
    rc = join_survey(join, &place, why);
    store_opened_fini(&opened, judging->snapshot);
    return rc;
}

static int join_survey_head(struct join *join, struct fm_why *why)
{
    struct judging *judging = join->judging;
    FM_AUTO(frame_rows) rows = NULL;
    struct survey_place place = {
        .open = join_open_rows,
        .memory_max = judging->sampler->options.memory_max,
        .cancelled = &judging->sampler->is_cancelled,
    };
    int rc = frame_rows_new(&rows, judging->sampler->options.memory_max / 2);
    if (rc < 0)
        return rc;
    join->rows = rows;
    join->ids = judging->shared.ids;
    join->id_count = judging->shared_count;
    rc = join_add_head(join, why);
    if (rc == FM_OK)
        rc = frame_rows_finish(rows);
    place.rows = rows;
    return rc < 0 ? rc : join_survey(join, &place, why);
}

/* FM_ELIMIT: not in this way. */
static int join_parts(struct join *join, struct fm_why *why)
{
    struct judging *judging = join->judging;
    for (size_t row = 0, at = 0; row < judging->ids->count; row++) {
        if (join->is_shared[row])
            judging->shared.traces[at++] = judging->survey.traces[row];
    }
    for (size_t i = 0; i < join->place_count; i++) {
        int rc = join_survey_block(join, join->places[i].block, why);
        if (rc == FM_ELIMIT || !join_passes_over(rc, why))
            return rc;
    }
    judging->joined_traces += judging->shared_count;
    return join->with_head ? join_survey_head(join, why) : FM_OK;
}

int judge_join(struct judging *judging, struct fm_why *why)
{
    struct join join = {.judging = judging};
    fm_buf_init(&join.otlp, SIZE_MAX / 4);
    int rc = join_list(&join, why);
    int parts_rc = rc == FM_OK && join_is_local(&join) ? join_parts(&join, why) : FM_ELIMIT;
    if (rc == FM_OK)
        rc = parts_rc == FM_ELIMIT ? join_all(&join, why) : parts_rc;
    for (size_t i = 0; i < join.place_count; i++)
        free(join.places[i].ids);
    free(join.places);
    free(join.is_shared);
    fm_buf_fini(&join.otlp);
    return rc;
}
