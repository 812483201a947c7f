/* SPDX-License-Identifier: Apache-2.0 */
/* Life of frame_rows, and the step from spans in order of arrival to whole traces.
 *
 * The order is that of blocks (trace, then resource and scope with the smaller groups first, then
 * arrival): what depends on the order of spans, numbers and which of several roots counts, is then
 * the same wherever a trace lies. */
#include "rows.h"

#include <stdlib.h>

#define ROWS_SEED UINT64_C(0x5851f42d4c957f2d)
#define ROWS_TEXT FM_MIB(64)

int frame_rows_new(struct frame_rows **ret_rows, size_t memory_max)
{
    FM_AUTO(frame_rows) rows = calloc(1, sizeof *rows);
    if (!rows)
        return FM_ENOMEM;
    rows->pool = (struct rows_pool){.used_bytes = 0, .bytes_max = memory_max};
    /* Where the object lies makes the hash hard to guess. */
    uint64_t seed = ROWS_SEED ^ (uint64_t)(uintptr_t)rows;
    fm_buf_init(&rows->text, ROWS_TEXT);
    fm_buf_init(&rows->identity, ROWS_TEXT);
    struct rows_table *tables[] = {&rows->values, &rows->shapes, &rows->contents, &rows->groups,
                                   &rows->trace_ids};
    for (size_t i = 0; i < FM_COUNT(tables); i++)
        if (!rows_table_init(tables[i], &rows->pool, seed))
            return rows->pool.rc;
    rows->empty = rows_table_bytes(&rows->values, FM_SLICE(""));
    rows->service_key = rows_table_bytes(&rows->values, FM_SLICE("service.name"));
    rows->ref_type_key = rows_table_bytes(&rows->values, FM_SLICE("opentracing.ref_type"));
    rows->child_of = rows_table_bytes(&rows->values, FM_SLICE("child_of"));
    if (!rows->empty || !rows->service_key || !rows->ref_type_key || !rows->child_of)
        return rows->pool.rc;
    *ret_rows = fm_take(rows);
    return FM_OK;
}

static void rows_free_adding(struct frame_rows *rows)
{
    rows_release(&rows->pool, fm_take(rows->pairs), rows->pair_cap * sizeof *rows->pairs);
    rows_release(&rows->pool, fm_take(rows->keys), rows->key_cap * sizeof *rows->keys);
    rows_release(&rows->pool, fm_take(rows->content_numbers),
                 rows->content_cap * sizeof *rows->content_numbers);
    rows->pair_cap = rows->key_cap = rows->content_cap = 0;
    fm_buf_fini(&rows->text);
    fm_buf_fini(&rows->identity);
    rows_table_fini(&rows->contents);
    rows_table_fini(&rows->trace_ids);
}

struct frame_rows *frame_rows_free(struct frame_rows *rows)
{
    if (!rows)
        return NULL;
    rows_free_adding(rows);
    rows_table_fini(&rows->values);
    rows_table_fini(&rows->shapes);
    rows_table_fini(&rows->groups);
    free(rows->codes);
    free(rows->spans);
    free(rows->events);
    free(rows->links);
    free(rows->resources);
    free(rows->scopes);
    free(rows->shape_domains);
    free(rows->traces);
    free(rows);
    return NULL;
}

size_t frame_rows_memory(const struct frame_rows *rows)
{
    return sizeof *rows + rows->pool.used_bytes + rows->text.cap + rows->identity.cap;
}

/* ---- the order ---- */

struct rows_sort_key { /* of a trace or a group */
    uint8_t bytes[16];
    uint32_t number;
};

static int rows_compare_key(const void *a, const void *b)
{
    return memcmp(a, b, 16);
}

/* Spans of one resource and scope in one trace. */
struct rows_batch {
    uint32_t resource_spans, resource_batches; /* of its resource in the trace */
    uint32_t resource, scope, first, count;
};

static int rows_compare_batch(const void *left, const void *right)
{
    const struct rows_batch *a = left, *b = right;
    if (a->resource_batches != b->resource_batches)
        return a->resource_batches > b->resource_batches ? 1 : -1;
    if (a->resource_spans != b->resource_spans)
        return a->resource_spans > b->resource_spans ? 1 : -1;
    if (a->resource != b->resource)
        return a->resource < b->resource ? -1 : 1;
    if (a->count != b->count)
        return a->count > b->count ? 1 : -1;
    return a->scope < b->scope ? -1 : a->scope > b->scope;
}

struct rows_sort {
    struct rows_sort_key *keys;                 /* owned */
    uint32_t *group_rank, *trace_rank, *starts; /* owned */
    uint32_t *order, *by_group;                 /* owned; indexes of spans */
    struct rows_batch *batches;                 /* owned; as many as the largest trace has spans */
    struct rows_nested nested;
    size_t key_count, start_count, span_count, batch_count;
};

static void rows_sort_fini(struct rows_sort *sort, struct rows_pool *pool)
{
    rows_release(pool, fm_take(sort->keys), sort->key_count * sizeof *sort->keys);
    rows_release(pool, fm_take(sort->group_rank), sort->start_count * sizeof *sort->group_rank);
    rows_release(pool, fm_take(sort->trace_rank), sort->start_count * sizeof *sort->trace_rank);
    rows_release(pool, fm_take(sort->starts), sort->start_count * sizeof *sort->starts);
    rows_release(pool, fm_take(sort->order), sort->span_count * sizeof *sort->order);
    rows_release(pool, fm_take(sort->by_group), sort->span_count * sizeof *sort->by_group);
    rows_release(pool, fm_take(sort->batches), sort->batch_count * sizeof *sort->batches);
    rows_nested_fini(&sort->nested, pool);
}

static void *rows_alloc(struct rows_pool *pool, size_t count, size_t size)
{
    return rows_realloc(pool, NULL, 0, count * size);
}

static int rows_sort_init(struct rows_sort *sort, struct frame_rows *rows)
{
    struct rows_pool *pool = &rows->pool;
    sort->key_count = sort->start_count =
        (size_t)FM_MAX(rows->groups.count, rows->trace_ids.count) + 1;
    sort->span_count = (size_t)rows->span_count + 1;
    sort->keys = rows_alloc(pool, sort->key_count, sizeof *sort->keys);
    sort->group_rank = rows_alloc(pool, sort->start_count, sizeof *sort->group_rank);
    sort->trace_rank = rows_alloc(pool, sort->start_count, sizeof *sort->trace_rank);
    sort->starts = rows_alloc(pool, sort->start_count, sizeof *sort->starts);
    sort->order = rows_alloc(pool, sort->span_count, sizeof *sort->order);
    sort->by_group = rows_alloc(pool, sort->span_count, sizeof *sort->by_group);
    rows->traces = rows_alloc(pool, rows->trace_ids.count, sizeof *rows->traces);
    bool fits = sort->keys && sort->group_rank && sort->trace_rank && sort->starts && sort->order &&
                sort->by_group && rows->traces;
    return fits ? FM_OK : pool->rc;
}

/* rank[code] = place of the code's bytes among all: 16 of a trace, two numbers of a group. */
static void rows_rank(struct rows_sort *sort, const struct rows_table *table, uint32_t *rank)
{
    for (uint32_t code = 1; code < table->count; code++) {
        struct rows_sort_key *key = &sort->keys[code - 1];
        struct fm_slice bytes = table->values[code].text;
        *key = (struct rows_sort_key){.number = code};
        if (bytes.len == sizeof key->bytes) {
            memcpy(key->bytes, bytes.ptr, sizeof key->bytes);
            continue;
        }
        uint32_t numbers[2];
        memcpy(numbers, bytes.ptr, sizeof numbers);
        fm_store_be32(key->bytes, numbers[0]);
        fm_store_be32(key->bytes + 4, numbers[1]);
    }
    qsort(sort->keys, table->count - 1, sizeof *sort->keys, rows_compare_key);
    for (uint32_t i = 0; i + 1 < table->count; i++)
        rank[sort->keys[i].number] = i;
}

/* One stable pass of a counting sort by the rank of the spans' group or trace. */
static void rows_scatter(const struct frame_rows *rows, struct rows_sort *sort, bool by_trace)
{
    uint32_t *starts = sort->starts, position = 0;
    memset(starts, 0, sort->start_count * sizeof *starts);
    for (uint32_t i = 0; i < rows->span_count; i++) {
        const struct rows_span *span = &rows->spans[i];
        starts[by_trace ? sort->trace_rank[span->trace] : sort->group_rank[span->group]]++;
    }
    for (size_t i = 0; i < sort->start_count; i++) {
        uint32_t count = starts[i];
        starts[i] = position;
        position += count;
    }
    for (uint32_t i = 0; i < rows->span_count; i++) {
        uint32_t index = by_trace ? sort->by_group[i] : i;
        const struct rows_span *span = &rows->spans[index];
        if (by_trace)
            sort->order[starts[sort->trace_rank[span->trace]]++] = index;
        else
            sort->by_group[starts[sort->group_rank[span->group]]++] = index;
    }
}

/* Reorders the batches of a trace, which come ordered by resource and scope. */
static int rows_arrange(struct frame_rows *rows, struct rows_sort *sort, uint32_t *order,
                        uint32_t count)
{
    uint32_t found = 0, last_group = 0;
    if (count > sort->batch_count) {
        rows_release(&rows->pool, fm_take(sort->batches),
                     sort->batch_count * sizeof *sort->batches);
        sort->batches = rows_alloc(&rows->pool, count, sizeof *sort->batches);
        sort->batch_count = sort->batches ? count : 0;
        if (!sort->batches)
            return rows->pool.rc;
    }
    struct rows_batch *batches = sort->batches;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t group = rows->spans[order[i]].group;
        if (group != last_group) {
            batches[found] = (struct rows_batch){.first = i};
            rows_group(rows, group, &batches[found].resource, &batches[found].scope);
            found++;
        }
        last_group = group;
        batches[found - 1].count++;
    }
    if (found < 2)
        return FM_OK;
    for (uint32_t from = 0, to; from < found; from = to) {
        uint32_t spans = 0;
        for (to = from; to < found && batches[to].resource == batches[from].resource; to++)
            spans += batches[to].count;
        for (uint32_t i = from; i < to; i++) {
            batches[i].resource_spans = spans;
            batches[i].resource_batches = to - from;
        }
    }
    qsort(batches, found, sizeof *batches, rows_compare_batch);
    uint32_t *copy = sort->by_group; /* has served */
    memcpy(copy, order, count * sizeof *order);
    for (uint32_t i = 0; i < found; i++) {
        memcpy(order, copy + batches[i].first, batches[i].count * sizeof *order);
        order += batches[i].count;
    }
    return FM_OK;
}

/* Drops repeats and closes the gaps; the spans of traces[i] are then order[first, + count). */
static int rows_collect(struct frame_rows *rows, struct rows_sort *sort)
{
    uint32_t from = 0, to = 0;
    for (uint32_t i = 0; i + 1 < rows->trace_ids.count; i++) {
        uint32_t end = sort->starts[i], count = end - from;
        if (!count)
            continue;
        int rc =
            rows_nested_unique(&sort->nested, &rows->pool, rows->spans, sort->order + from, &count);
        if (rc == FM_OK)
            rc = rows_arrange(rows, sort, sort->order + from, count);
        if (rc < 0)
            return rc;
        if (to != from)
            memmove(sort->order + to, sort->order + from, count * sizeof *sort->order);
        struct rows_trace *trace = &rows->traces[rows->trace_count++];
        *trace = (struct rows_trace){.first = to, .span_count = count};
        memcpy(trace->id.bytes, rows->trace_ids.values[sort->keys[i].number].text.ptr,
               sizeof trace->id.bytes);
        to += count;
        from = end;
    }
    return FM_OK;
}

/* Indexes of the repeats behind those that stay, so that order is a permutation again. */
static void rows_append_repeats(const struct frame_rows *rows, struct rows_sort *sort,
                                uint32_t kept)
{
    uint32_t *stays = sort->by_group;
    if (kept == rows->span_count)
        return;
    memset(stays, 0, rows->span_count * sizeof *stays);
    for (uint32_t i = 0; i < kept; i++)
        stays[sort->order[i]] = 1;
    for (uint32_t i = 0; i < rows->span_count; i++)
        if (!stays[i])
            sort->order[kept++] = i;
}

#define ROWS_PLACED UINT32_MAX

/* Spans into their order, in place: one cycle of the permutation after the other. */
static void rows_permute(struct rows_span *spans, uint32_t *order, uint32_t count)
{
    for (uint32_t start = 0; start < count; start++) {
        if (order[start] == ROWS_PLACED)
            continue;
        struct rows_span first = spans[start];
        uint32_t at = start, source;
        while ((source = order[at]) != start) {
            spans[at] = spans[source];
            order[at] = ROWS_PLACED;
            at = source;
        }
        spans[at] = first;
        order[at] = ROWS_PLACED;
    }
}

/* ---- traces ---- */

static void rows_describe(const struct frame_rows *rows, struct rows_trace *trace)
{
    trace->root_service = trace->root_name = rows->empty;
    for (uint32_t i = 0; i < trace->span_count; i++) {
        const struct rows_span *span = &rows->spans[trace->first + i];
        uint64_t end_ns = span->start_ns + span->duration_ns;
        if (trace->start_ns == 0 || (span->start_ns && span->start_ns < trace->start_ns))
            trace->start_ns = span->start_ns;
        trace->end_ns = FM_MAX(trace->end_ns, end_ns);
        if (!span->parent && !span->has_parent_link) {
            uint32_t resource, scope;
            rows_group(rows, span->group, &resource, &scope);
            trace->root_service = rows->resources[resource].service;
            trace->root_name = span->name;
        }
    }
}

int frame_rows_finish(struct frame_rows *rows)
{
    struct rows_sort sort = {0};
    rows->pool.rc = FM_OK;
    int rc = rows->finished ? FM_EUSAGE : rows_sort_init(&sort, rows);
    if (rc == FM_OK) {
        rows_rank(&sort, &rows->groups, sort.group_rank);
        rows_rank(&sort, &rows->trace_ids, sort.trace_rank);
        rows_scatter(rows, &sort, false);
        rows_scatter(rows, &sort, true);
        rc = rows_collect(rows, &sort);
    }
    if (rc == FM_OK && rows->trace_count) {
        const struct rows_trace *last = &rows->traces[rows->trace_count - 1];
        uint32_t kept = last->first + last->span_count;
        rows_append_repeats(rows, &sort, kept);
        rows_permute(rows->spans, sort.order, rows->span_count);
        rows->span_count = kept;
    }
    for (uint32_t i = 0; i < rows->trace_count && rc == FM_OK; i++) {
        struct rows_trace *trace = &rows->traces[i];
        rows_describe(rows, trace);
        for (uint32_t j = 0; j < trace->span_count; j++)
            rows->spans[trace->first + j].trace = i;
        rc = rows_nested_number(&sort.nested, &rows->pool, rows->spans + trace->first,
                                trace->span_count);
    }
    rows_sort_fini(&sort, &rows->pool);
    rows_free_adding(rows);
    rows->finished = true;
    return rc;
}
