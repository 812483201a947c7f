/* SPDX-License-Identifier: Apache-2.0 */
/* Rows into the order of the file: trace id, resource, scope, arrival.
 *
 * Two stable counting sorts, by group and then by trace, over pointers only; a row is read once, in
 * the order of the memory it lies in.  Then each trace's groups are arranged (arrange.c). */
#include "builder.h"

#include "fermata/hash.h"

#include <stdlib.h>

struct sort_ref {
    const uint8_t *row;
    uint32_t trace;
};

/* qsort has no argument for context, so the keys are brought along. */
struct sort_key {
    uint8_t bytes[16];
    uint32_t number;
};

static int sort_compare_key(const void *a, const void *b)
{
    return memcmp(a, b, 16);
}

/* rank[i] = place of entry i of intern among all, by its bytes (big-endian keys). */
static int sort_rank(const struct intern *intern, uint32_t *rank, struct sort_key *keys)
{
    for (uint32_t i = 0; i < intern->count; i++) {
        struct fm_slice bytes = intern_get(intern, i);
        memset(keys[i].bytes, 0, sizeof keys[i].bytes);
        if (bytes.len == 8) {
            fm_store_be32(keys[i].bytes, builder_load_u32(bytes.ptr));
            fm_store_be32(keys[i].bytes + 4, builder_load_u32(bytes.ptr + 4));
        } else {
            memcpy(keys[i].bytes, bytes.ptr, 16);
        }
        keys[i].number = i;
    }
    qsort(keys, intern->count, sizeof *keys, sort_compare_key);
    for (uint32_t i = 0; i < intern->count; i++)
        rank[keys[i].number] = i;
    return FM_OK;
}

struct sort_work {
    uint32_t *group_rank, *trace_rank;   /* owned */
    uint64_t *group_start, *trace_start; /* owned; counts, then running positions */
    struct sort_key *keys;               /* owned */
    struct sort_ref *refs;               /* owned */
    struct arrange arrange;
};

static void sort_work_fini(struct sort_work *work)
{
    free(fm_take(work->group_rank));
    free(fm_take(work->trace_rank));
    free(fm_take(work->group_start));
    free(fm_take(work->trace_start));
    free(fm_take(work->keys));
    free(fm_take(work->refs));
    arrange_fini(&work->arrange);
}

static int sort_work_init(struct sort_work *work, const struct block_builder *builder)
{
    size_t groups = builder->groups.count, traces = builder->traces.count;
    size_t most = FM_MAX(FM_MAX(groups, traces), 1);
    work->group_rank = calloc(groups + 1, sizeof *work->group_rank);
    work->trace_rank = calloc(traces + 1, sizeof *work->trace_rank);
    work->group_start = calloc(groups + 1, sizeof *work->group_start);
    work->trace_start = calloc(traces + 1, sizeof *work->trace_start);
    work->keys = calloc(most, sizeof *work->keys);
    work->refs = calloc(builder->span_count + 1, sizeof *work->refs);
    if (!work->group_rank || !work->trace_rank || !work->group_start || !work->trace_start ||
        !work->keys || !work->refs)
        return FM_ENOMEM;
    int rc = sort_rank(&builder->groups, work->group_rank, work->keys);
    if (rc == FM_OK)
        rc = sort_rank(&builder->traces, work->trace_rank, work->keys);
    return rc;
}

static void sort_count(const struct block_builder *builder, struct sort_work *work)
{
    for (const struct heap_chunk *chunk = builder->rows.first; chunk; chunk = chunk->next) {
        const uint8_t *ptr = chunk->bytes, *end = ptr + chunk->used;
        while (ptr < end) {
            uint32_t trace, group;
            ptr = row_read_place(ptr, &trace, &group);
            work->group_start[work->group_rank[group]]++;
            work->trace_start[work->trace_rank[trace]]++;
        }
    }
}

static uint64_t sort_positions(uint64_t *counts, size_t len)
{
    uint64_t position = 0;
    for (size_t i = 0; i < len; i++) {
        uint64_t count = counts[i];
        counts[i] = position;
        position += count;
    }
    return position;
}

static void sort_scatter(const struct block_builder *builder, struct sort_work *work,
                         struct sorted *sorted)
{
    for (const struct heap_chunk *chunk = builder->rows.first; chunk; chunk = chunk->next) {
        const uint8_t *ptr = chunk->bytes, *end = ptr + chunk->used;
        while (ptr < end) {
            uint32_t trace, group;
            const uint8_t *row = ptr;
            ptr = row_read_place(ptr, &trace, &group);
            work->refs[work->group_start[work->group_rank[group]]++] =
                (struct sort_ref){row, work->trace_rank[trace]};
        }
    }
    for (uint64_t i = 0; i < builder->span_count; i++) {
        const struct sort_ref *ref = &work->refs[i];
        sorted->rows[work->trace_start[ref->trace]++] = ref->row;
    }
}

/* Drops rows of one trace that repeat an earlier one; returns how many stay. */
static int sort_drop_repeats(const struct block_builder *builder, struct nested *nested,
                             const uint8_t **rows, uint32_t *count)
{
    int rc = nested_reserve(nested, *count);
    if (rc < 0)
        return rc;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < *count; i++) {
        struct fm_slice bytes = row_bytes(rows[i]);
        rows[kept] = rows[i];
        nested->spans[kept].id = fm_hash64(bytes, builder->strings.seed);
        uint32_t first = nested_enter(nested, kept);
        bool repeats = first != kept && fm_slice_equal(bytes, row_bytes(rows[first]));
        kept += !repeats;
    }
    *count = kept;
    return FM_OK;
}

/* After the scatter trace_start[i] is the end of trace i. */
static int sort_collect(const struct block_builder *builder, struct sort_work *work,
                        struct nested *nested, struct sorted *sorted)
{
    uint64_t from = 0, to = 0;
    for (uint32_t i = 0; i < builder->traces.count; i++) {
        uint64_t end = work->trace_start[i];
        uint32_t count = (uint32_t)(end - from);
        if (!count)
            continue;
        int rc = sort_drop_repeats(builder, nested, sorted->rows + from, &count);
        if (rc == FM_OK)
            rc = arrange_trace(builder, &work->arrange, sorted->rows + from, count);
        if (rc < 0)
            return rc;
        if (to != from)
            memmove(sorted->rows + to, sorted->rows + from, count * sizeof *sorted->rows);
        sorted->traces[sorted->trace_count++] =
            (struct sorted_trace){.trace = work->keys[i].number, .span_count = count, .first = to};
        to += count;
        from = end;
    }
    sorted->span_count = to;
    sorted->duplicate_count = from - to;
    return FM_OK;
}

int builder_sort(const struct block_builder *builder, struct nested *nested,
                 struct sorted *ret_sorted)
{
    struct sort_work work = {0};
    struct sorted sorted = {0};
    int rc = builder->span_count > UINT32_MAX / 4 ? FM_ELIMIT : sort_work_init(&work, builder);
    if (rc == FM_OK) {
        sorted.rows = calloc(builder->span_count + 1, sizeof *sorted.rows);
        sorted.traces = calloc(builder->traces.count + 1, sizeof *sorted.traces);
        if (!sorted.rows || !sorted.traces)
            rc = FM_ENOMEM;
    }
    if (rc == FM_OK) {
        sort_count(builder, &work);
        (void)sort_positions(work.group_start, builder->groups.count);
        (void)sort_positions(work.trace_start, builder->traces.count);
        sort_scatter(builder, &work, &sorted);
        free(fm_take(work.refs));
        rc = sort_collect(builder, &work, nested, &sorted);
    }
    sort_work_fini(&work);
    if (rc < 0) {
        sorted_fini(&sorted);
        return rc;
    }
    *ret_sorted = sorted;
    return FM_OK;
}

void sorted_fini(struct sorted *sorted)
{
    free(fm_take(sorted->rows));
    free(fm_take(sorted->traces));
}
