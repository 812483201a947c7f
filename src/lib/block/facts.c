/* SPDX-License-Identifier: Apache-2.0 */
/* What a row of the block says about its trace as a whole: times, root span, service stats. */
#include "emit.h"

#include <stdlib.h>

#define STATUS_ERROR 2

/* The last string service.name of a resource, or the empty string. */
static uint32_t facts_service_of(const struct block_builder *builder, uint32_t resource)
{
    uint32_t dropped, shape, service = STRING_EMPTY;
    const uint8_t *ptr = builder->resources.entries[resource].ptr;
    ptr = row_get_u32(ptr, &dropped);
    ptr = row_get_u32(ptr, &shape);
    struct fm_slice members = intern_get(&builder->shapes, shape);
    for (size_t at = 0; at < members.len; at += 4) {
        uint32_t member = builder_load_u32(members.ptr + at);
        if (member == (STRING_SERVICE_NAME << ROW_KIND_BITS | ROW_STRING))
            (void)row_get_u32(ptr, &service);
        ptr = row_skip_value(ptr, member & ((1u << ROW_KIND_BITS) - 1));
    }
    return service;
}

int emit_facts_init(struct emit *emit)
{
    const struct block_builder *builder = emit->builder;
    emit->resource_service = calloc(builder->resources.count + 1, sizeof(uint32_t));
    emit->service_slot = calloc(builder->strings.count + 1, sizeof(uint32_t));
    emit->marks = calloc(emit->sorted->span_count + 1, 1);
    if (!emit->resource_service || !emit->service_slot || !emit->marks)
        return FM_ENOMEM;
    for (uint32_t i = 0; i < builder->resources.count; i++)
        emit->resource_service[i] = facts_service_of(builder, i);
    return FM_OK;
}

void emit_facts_fini(struct emit *emit)
{
    free(fm_take(emit->resource_service));
    free(fm_take(emit->service_slot));
    free(fm_take(emit->services));
    free(fm_take(emit->marks));
}

static struct emit_service *facts_service(struct emit *emit, uint32_t service)
{
    uint32_t slot = emit->service_slot[service];
    if (slot)
        return &emit->services[slot - 1];
    if (emit->service_count == emit->service_cap) {
        uint32_t cap = FM_MAX(emit->service_cap * 2, 32u);
        void *services = realloc(emit->services, cap * sizeof *emit->services);
        if (!services) {
            emit->rc = FM_ENOMEM;
            return NULL;
        }
        emit->services = services;
        emit->service_cap = cap;
    }
    emit->services[emit->service_count] = (struct emit_service){.service = service};
    emit->service_slot[service] = ++emit->service_count;
    return &emit->services[emit->service_count - 1];
}

/* OpenTracing bridges mark a parent in the same trace by a link instead of the parent id. */
static bool facts_has_parent_link(const struct emit *emit, const struct row *row,
                                  struct fm_slice trace_id)
{
    const uint8_t *ptr = emit_links_of(emit, row);
    uint32_t count = 0;
    if (ptr)
        ptr = row_get_u32(ptr, &count);
    for (uint32_t i = 0; i < count; i++) {
        struct emit_link link;
        bool is_child = false;
        ptr = emit_read_link(ptr, &link);
        struct fm_slice members = intern_get(&emit->builder->shapes, link.shape);
        for (size_t at = 0; at < members.len; at += 4) {
            uint32_t member = builder_load_u32(members.ptr + at), value;
            if (member == (STRING_REF_TYPE << ROW_KIND_BITS | ROW_STRING)) {
                (void)row_get_u32(ptr, &value);
                is_child |= value == STRING_CHILD_OF;
            }
            ptr = row_skip_value(ptr, member & ((1u << ROW_KIND_BITS) - 1));
        }
        if (is_child && fm_slice_equal(link.trace, trace_id))
            return true;
    }
    return false;
}

struct facts {
    uint64_t start_ns, end_ns;
    uint32_t root_service, root_name;
    uint32_t resource, scope; /* of the span before */
};

static uint8_t facts_mark(const struct emit *emit, const struct row *row, unsigned rep)
{
    unsigned mark = rep;
    if (row->flags & ROW_EVENTS)
        mark |= MARK_EVENTS;
    if (row->flags & ROW_LINKS)
        mark |= MARK_LINKS;
    if (row->flags & ROW_DROPPED)
        mark |= MARK_DROPPED;
    if (emit->shapes[OWNER_SPAN][row->shape].has_static)
        mark |= MARK_STATIC;
    return (uint8_t)mark;
}

/* A time as it counts for the range of the block. */
static uint64_t facts_bound(const struct block_builder *builder, uint64_t time_ns)
{
    if (!builder->received_ns || (time_ns >= BLOCK_TIME_MIN_NS && time_ns <= builder->latest_ns))
        return time_ns;
    return builder->received_ns;
}

static void facts_add_times(struct emit *emit, uint64_t start_ns, uint64_t end_ns)
{
    struct block_census *census = emit->census;
    census->start_min_ns = FM_MIN(census->start_min_ns, start_ns);
    census->end_max_ns = FM_MAX(census->end_max_ns, end_ns);
    start_ns = facts_bound(emit->builder, start_ns);
    end_ns = facts_bound(emit->builder, end_ns);
    census->range_start_ns = FM_MIN(census->range_start_ns, FM_MIN(start_ns, end_ns));
    census->range_end_ns = FM_MAX(census->range_end_ns, FM_MAX(start_ns, end_ns));
}

/* at: the row's place in the order of the file. */
static void facts_add_span(struct emit *emit, struct facts *facts, const struct row *row,
                           struct fm_slice trace_id, uint64_t at)
{
    uint32_t resource, scope;
    unsigned rep = 0;
    builder_group(emit->builder, row->group, &resource, &scope);
    if (facts->resource != UINT32_MAX)
        rep = resource != facts->resource ? LEVEL_RESOURCE
              : scope != facts->scope     ? LEVEL_SCOPE
                                          : LEVEL_SPAN;
    facts->resource = resource;
    facts->scope = scope;
    emit->marks[at] = facts_mark(emit, row, rep);
    uint32_t name = emit->resource_service[resource];
    struct emit_service *service = facts_service(emit, name);
    if (!service)
        return;
    service->span_count++;
    service->error_count += row->status == STATUS_ERROR;

    uint64_t end_ns = row->start_ns + row->duration_ns;
    if (facts->start_ns == 0 || (row->start_ns && row->start_ns < facts->start_ns))
        facts->start_ns = row->start_ns;
    facts->end_ns = FM_MAX(facts->end_ns, end_ns);
    facts_add_times(emit, row->start_ns, end_ns);
    if (!row->parent && !facts_has_parent_link(emit, row, trace_id)) {
        facts->root_service = name;
        facts->root_name = row->name;
    }
}

static void facts_put_string(struct emit *emit, unsigned leaf, unsigned rep, uint32_t string)
{
    struct emit_column *column = &emit->columns[leaf];
    pq_put_index(column->chunk, rep, emit_dictionary_index(emit, column, string));
}

static void facts_put_services(struct emit *emit)
{
    for (uint32_t i = 0; i < emit->service_count; i++) {
        const struct emit_service *service = &emit->services[i];
        facts_put_string(emit, LEAF_STATS_SERVICE, i ? 1 : 0, service->service);
        pq_put_i32(emit->columns[LEAF_STATS_SPANS].chunk, i ? 1 : 0, (int32_t)service->span_count);
        pq_put_i32(emit->columns[LEAF_STATS_ERRORS].chunk, i ? 1 : 0,
                   (int32_t)service->error_count);
        emit->service_slot[service->service] = 0;
    }
    emit->service_count = 0;
}

void emit_trace_group(struct emit *emit, const struct sorted_trace *trace)
{
    struct fm_slice id = intern_get(&emit->builder->traces, trace->trace);
    struct facts facts = {
        .root_service = STRING_EMPTY, .root_name = STRING_EMPTY, .resource = UINT32_MAX};
    const uint8_t **rows = emit->sorted->rows + trace->first;
    struct row row;
    for (uint32_t i = 0; i < trace->span_count && emit->rc == FM_OK; i++) {
        if (trace->first + i + EMIT_PREFETCH < emit->sorted->span_count)
            __builtin_prefetch(rows[i + EMIT_PREFETCH]);
        row_read(rows[i], emit->builder->base_ns, &row);
        facts_add_span(emit, &facts, &row, id, trace->first + i);
    }

    char text[32];
    size_t zeros = 0;
    fm_hex_encode(text, id);
    while (zeros < sizeof text && text[zeros] == '0')
        zeros++;
    pq_put_bytes(emit->columns[LEAF_TRACE_ID].chunk, 0, id);
    pq_put_bytes(emit->columns[LEAF_TRACE_ID_TEXT].chunk, 0,
                 fm_slice(text + zeros, sizeof text - zeros));
    pq_put_i64(emit->columns[LEAF_TRACE_START].chunk, 0, (int64_t)facts.start_ns);
    pq_put_i64(emit->columns[LEAF_TRACE_END].chunk, 0, (int64_t)facts.end_ns);
    pq_put_i64(emit->columns[LEAF_TRACE_DURATION].chunk, 0,
               (int64_t)(facts.end_ns - facts.start_ns));
    facts_put_string(emit, LEAF_ROOT_SERVICE, 0, facts.root_service);
    facts_put_string(emit, LEAF_ROOT_NAME, 0, facts.root_name);
    facts_put_services(emit);
    emit->census->trace_count++;
    emit->census->span_count += trace->span_count;
}
