/* SPDX-License-Identifier: Apache-2.0 */
/* Puts one trace together from pieces of canonical OTLP.
 *
 * trace_add copies the wanted spans, and the resources and scopes they stand under, once each, into
 * the arena.  trace_finish drops spans that came twice, orders the rest by start and threads three
 * lists through them: resources, scopes of a resource, spans of a scope, each in order of start. */
#include "trace.h"

#include <stdlib.h>

#include "fermata/hash.h"

int trace_new(struct trace **ret_trace, const struct trace_id *id, size_t bytes_max)
{
    FM_AUTO(trace) trace = calloc(1, sizeof *trace);

    if (!trace)
        return FM_ENOMEM;
    trace->id = *id;
    trace->bytes_max = bytes_max;
    trace->resource_first = TRACE_NONE;
    fm_arena_init(&trace->arena, bytes_max);
    memset(trace->resources.buckets, 0xff, sizeof trace->resources.buckets);
    memset(trace->scopes.buckets, 0xff, sizeof trace->scopes.buckets);
    *ret_trace = fm_take(trace);
    return FM_OK;
}

struct trace *trace_free(struct trace *trace)
{
    if (!trace)
        return NULL;
    fm_arena_fini(&trace->arena);
    free(trace->resources.items);
    free(trace->scopes.items);
    free(trace->spans);
    free(trace->span_next);
    free(trace);
    return NULL;
}

static int trace_reached_limit(struct trace *trace)
{
    trace->partial = true;
    return FM_ELIMIT;
}

static int trace_copy(struct trace *trace, struct fm_slice source, struct fm_slice *ret_copy)
{
    if (!source.len)
        return *ret_copy = (struct fm_slice){0}, FM_OK;
    struct fm_slice copy = fm_slice_dup(&trace->arena, source);
    if (copy.ptr)
        return *ret_copy = copy, FM_OK;
    bool limit = trace->arena.used_bytes + source.len + 16 > trace->arena.bytes_max;
    return limit ? trace_reached_limit(trace) : FM_ENOMEM;
}

/* Room for one more item of size bytes.  Tables and arena share the limit. */
static int trace_table_grow(struct trace *trace, void **items, uint32_t count, uint32_t *cap,
                            size_t size)
{
    if (count < *cap)
        return FM_OK;
    size_t more = FM_MAX(*cap / 2, 16u);
    if (trace->table_bytes + trace->arena.used_bytes + more * size > trace->bytes_max ||
        *cap + more >= TRACE_NONE)
        return trace_reached_limit(trace);
    void *grown = realloc(*items, (*cap + more) * size);
    if (!grown)
        return FM_ENOMEM;
    *items = grown;
    *cap += (uint32_t)more;
    trace->table_bytes += more * size;
    trace->arena.bytes_max = trace->bytes_max - trace->table_bytes;
    return FM_OK;
}

static bool trace_group_equal(const struct trace_group *a, const struct trace_group *b)
{
    return a->hash == b->hash && a->parent == b->parent && a->present == b->present &&
           fm_slice_equal(a->content, b->content) && fm_slice_equal(a->schema_url, b->schema_url);
}

/* The index of the group that equals *wanted, which borrows; it is copied if it is new. */
static int trace_group_intern(struct trace *trace, struct trace_groups *groups,
                              const struct trace_group *wanted, uint32_t *ret_index)
{
    struct trace_group group = *wanted;
    group.hash = fm_hash64(group.content, group.parent) ^ fm_hash64(group.schema_url, 1);
    uint32_t *bucket = &groups->buckets[group.hash % TRACE_BUCKETS];

    for (uint32_t i = *bucket; i != TRACE_NONE; i = groups->items[i].bucket_next) {
        if (trace_group_equal(&groups->items[i], &group))
            return *ret_index = i, FM_OK;
    }
    void *items = groups->items;
    int rc = trace_table_grow(trace, &items, groups->count, &groups->cap, sizeof group);
    groups->items = items;
    if (rc == FM_OK)
        rc = trace_copy(trace, wanted->content, &group.content);
    if (rc == FM_OK)
        rc = trace_copy(trace, wanted->schema_url, &group.schema_url);
    if (rc < 0)
        return rc;
    if (wanted->service.len) /* points into content: let it point into the copy */
        group.service.ptr = group.content.ptr + (wanted->service.ptr - wanted->content.ptr);
    group.bucket_next = *bucket;
    *bucket = groups->count;
    groups->items[groups->count] = group;
    *ret_index = groups->count++;
    return FM_OK;
}

/* The string in AnyValue, or empty. */
static struct fm_slice trace_string_value(struct fm_slice value)
{
    struct fm_slice text = {0};
    struct pb_field field;

    while (pb_next(&value, &field) == FM_OK) {
        if (field.number >= 1 && field.number <= 8)
            text = (struct fm_slice){0};
        if (field.number == 1 && field.type == PB_BYTES)
            text = field.bytes;
    }
    return text;
}

static struct fm_slice trace_service_name(struct fm_slice resource)
{
    struct fm_slice service = {0};
    struct pb_field attribute, field;

    while (pb_next(&resource, &attribute) == FM_OK) {
        struct fm_slice pair = attribute.bytes, key = {0}, value = {0};
        if (attribute.number != 1 || attribute.type != PB_BYTES)
            continue;
        while (pb_next(&pair, &field) == FM_OK) {
            if (field.type == PB_BYTES && field.number == 1)
                key = field.bytes;
            else if (field.type == PB_BYTES && field.number == 2)
                value = field.bytes;
        }
        if (fm_slice_equal_text(key, "service.name"))
            service = trace_string_value(value);
    }
    return service;
}

/* One ResourceSpans or ScopeSpans while its spans are read: interned when the first span fits. */
struct trace_place {
    struct trace_group group;
    uint32_t index; /* TRACE_NONE: not interned yet */
};

/* Reads what describes the spans: field 1 (resource or scope) and field 3 (schema_url). */
static int trace_place_init(struct trace_place *place, struct fm_slice content)
{
    struct pb_field field;
    int rc;

    *place = (struct trace_place){.index = TRACE_NONE};
    while ((rc = pb_next(&content, &field)) == FM_OK) {
        if (field.type != PB_BYTES)
            continue;
        if (field.number == 1) {
            place->group.content = field.bytes;
            place->group.present = true;
        } else if (field.number == 3) {
            place->group.schema_url = field.bytes;
        }
    }
    return rc == FM_END ? FM_OK : rc;
}

static uint32_t trace_status_code(struct fm_slice status)
{
    struct pb_field field;
    uint32_t code = 0;

    while (pb_next(&status, &field) == FM_OK) {
        if (field.number == 3 && field.type == PB_VARINT)
            code = (uint32_t)field.value;
    }
    return code;
}

static void trace_read_id(uint8_t target[8], struct fm_slice id)
{
    if (id.len == 8)
        memcpy(target, id.ptr, 8);
}

/* Fills *span from its raw bytes. */
static int trace_read_span(struct fm_slice raw, struct trace_span *span)
{
    struct pb_field field;
    int rc;

    span->raw = raw;
    while ((rc = pb_next(&raw, &field)) == FM_OK) {
        if (field.number == 2 && field.type == PB_BYTES)
            trace_read_id(span->span_id, field.bytes);
        else if (field.number == 4 && field.type == PB_BYTES)
            trace_read_id(span->parent_id, field.bytes);
        else if (field.number == 5 && field.type == PB_BYTES)
            span->name = field.bytes;
        else if (field.number == 6 && field.type == PB_VARINT)
            span->kind = (uint32_t)field.value;
        else if (field.number == 7 && field.type == PB_FIXED64)
            span->start_ns = field.value;
        else if (field.number == 8 && field.type == PB_FIXED64)
            span->end_ns = field.value;
        else if (field.number == 15 && field.type == PB_BYTES)
            span->status_code = trace_status_code(field.bytes);
    }
    return rc == FM_END ? FM_OK : rc;
}

static int trace_span_matches(const struct trace *trace, struct fm_slice span, bool *ret_matches)
{
    struct pb_field field;
    bool matches = false;
    int rc;

    while ((rc = pb_next(&span, &field)) == FM_OK) {
        if (field.number != 1 || field.type != PB_BYTES)
            continue;
        matches = field.bytes.len == sizeof trace->id.bytes &&
                  memcmp(field.bytes.ptr, trace->id.bytes, sizeof trace->id.bytes) == 0;
        break; /* canonical bytes hold one */
    }
    if (rc < 0)
        return rc;
    *ret_matches = matches;
    return FM_OK;
}

static int trace_add_span(struct trace *trace, struct trace_place *resource,
                          struct trace_place *scope, struct fm_slice raw)
{
    struct trace_span span = {0};
    struct fm_slice copy;
    int rc = FM_OK;

    if (resource->index == TRACE_NONE) {
        resource->group.service = trace_service_name(resource->group.content);
        rc = trace_group_intern(trace, &trace->resources, &resource->group, &resource->index);
    }
    if (rc == FM_OK && scope->index == TRACE_NONE) {
        scope->group.parent = resource->index;
        rc = trace_group_intern(trace, &trace->scopes, &scope->group, &scope->index);
    }
    void *spans = trace->spans;
    if (rc == FM_OK)
        rc = trace_table_grow(trace, &spans, trace->span_count, &trace->span_cap, sizeof span);
    trace->spans = spans;
    if (rc == FM_OK)
        rc = trace_copy(trace, raw, &copy);
    if (rc == FM_OK)
        rc = trace_read_span(copy, &span);
    if (rc < 0)
        return rc;
    span.scope_index = scope->index;
    span.service = trace->resources.items[resource->index].service;
    trace->spans[trace->span_count++] = span;
    return FM_OK;
}

static int trace_add_scope_spans(struct trace *trace, struct trace_place *resource,
                                 struct fm_slice content)
{
    struct trace_place scope;
    struct pb_field field;
    int rc = trace_place_init(&scope, content);

    while (rc == FM_OK && (rc = pb_next(&content, &field)) == FM_OK) {
        bool matches = false;
        if (field.number == 2 && field.type == PB_BYTES)
            rc = trace_span_matches(trace, field.bytes, &matches);
        if (rc == FM_OK && matches)
            rc = trace_add_span(trace, resource, &scope, field.bytes);
    }
    return rc == FM_END ? FM_OK : rc;
}

int trace_add(struct trace *trace, struct fm_slice otlp)
{
    struct pb_field field, part;
    int rc;

    if (trace->partial)
        return FM_ELIMIT;
    while ((rc = pb_next(&otlp, &field)) == FM_OK) {
        struct trace_place resource;
        if (field.number != 1 || field.type != PB_BYTES)
            continue;
        struct fm_slice rest = field.bytes;
        rc = trace_place_init(&resource, rest);
        while (rc == FM_OK && (rc = pb_next(&rest, &part)) == FM_OK) {
            if (part.number == 2 && part.type == PB_BYTES)
                rc = trace_add_scope_spans(trace, &resource, part.bytes);
        }
        if (rc < 0)
            return rc;
    }
    return rc == FM_END ? FM_OK : rc;
}

/* Ties are broken by content, so that the result does not depend on the order of trace_add. */
static int trace_compare_identity(const void *left, const void *right)
{
    const struct trace_span *a = left, *b = right;
    int order = memcmp(a->span_id, b->span_id, sizeof a->span_id);
    if (order)
        return order;
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    return a->start_ns != b->start_ns ? (a->start_ns < b->start_ns ? -1 : 1)
                                      : fm_slice_compare(a->raw, b->raw);
}

static int trace_compare_start(const void *left, const void *right)
{
    const struct trace_span *a = left, *b = right;
    if (a->start_ns != b->start_ns)
        return a->start_ns < b->start_ns ? -1 : 1;
    return trace_compare_identity(left, right);
}

static void trace_drop_duplicates(struct trace *trace)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < trace->span_count; i++) {
        const struct trace_span *span = &trace->spans[i];
        if (kept && span->kind == trace->spans[kept - 1].kind &&
            memcmp(span->span_id, trace->spans[kept - 1].span_id, 8) == 0)
            continue;
        trace->spans[kept++] = *span;
    }
    trace->span_count = kept;
}

/* Appends span i, the next in order of start, to the lists. */
static void trace_thread_span(struct trace *trace, uint32_t i, uint32_t *resource_last)
{
    uint32_t scope_index = trace->spans[i].scope_index;
    struct trace_group *scopes = trace->scopes.items, *resources = trace->resources.items;
    struct trace_group *scope = &scopes[scope_index], *resource = &resources[scope->parent];

    trace->span_next[i] = TRACE_NONE;
    if (scope->first != TRACE_NONE) {
        trace->span_next[scope->last] = i;
        scope->last = i;
        return;
    }
    scope->first = scope->last = i;
    if (resource->first != TRACE_NONE) {
        scopes[resource->last].next = scope_index;
        resource->last = scope_index;
        return;
    }
    resource->first = resource->last = scope_index;
    if (*resource_last == TRACE_NONE)
        trace->resource_first = scope->parent;
    else
        resources[*resource_last].next = scope->parent;
    *resource_last = scope->parent;
}

int trace_finish(struct trace *trace)
{
    uint32_t resource_last = TRACE_NONE;

    if (!trace->span_count)
        return FM_OK;
    free(fm_take(trace->span_next));
    trace->span_next = malloc(trace->span_count * sizeof *trace->span_next);
    if (!trace->span_next)
        return FM_ENOMEM;
    qsort(trace->spans, trace->span_count, sizeof *trace->spans, trace_compare_identity);
    trace_drop_duplicates(trace);
    qsort(trace->spans, trace->span_count, sizeof *trace->spans, trace_compare_start);
    for (uint32_t i = 0; i < trace->scopes.count; i++)
        trace->scopes.items[i].first = trace->scopes.items[i].next = TRACE_NONE;
    for (uint32_t i = 0; i < trace->resources.count; i++)
        trace->resources.items[i].first = trace->resources.items[i].next = TRACE_NONE;
    for (uint32_t i = 0; i < trace->span_count; i++)
        trace_thread_span(trace, i, &resource_last);
    return FM_OK;
}

size_t trace_span_count(const struct trace *trace)
{
    return trace->span_count;
}

const struct trace_span *trace_span_at(const struct trace *trace, size_t index)
{
    FM_ASSERT(index < trace->span_count);
    return &trace->spans[index];
}

bool trace_is_partial(const struct trace *trace)
{
    return trace->partial;
}
