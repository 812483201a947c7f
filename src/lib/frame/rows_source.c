/* SPDX-License-Identifier: Apache-2.0 */
/* Frames over finished rows.
 *
 * A field has a table of its own: the codes of rows become small numbers in the order they are met,
 * so that a predicate is evaluated over the values of its field only.  Texts that rows do not hold
 * (ids) are made when they are asked for. */
#include "rows.h"

#include <stdlib.h>

#define ROWS_SOURCE_MAX (SIZE_MAX / 4)

struct rows_vector { /* of one field of the request */
    struct frame_values values;
    struct traceql_value *items; /* owned by graves; values.values */
    uint32_t item_cap;
    uint32_t *local; /* owned; by code of the rows: place in items */
    bool makes;      /* texts come from made */
    struct rows_table made;
    uint32_t *places;  /* owned; by shape: place of the key + 1, ROWS_NO_PLACE, 0 unknown */
    uint32_t key;      /* of an attribute; 0: nobody has it */
    uint32_t *codes;   /* owned */
    int64_t *integers; /* owned */
    uint32_t cap;      /* of codes or integers */
    bool is_loaded;    /* in the present frame */
};
#define ROWS_NO_PLACE UINT32_MAX

struct rows_grave { /* arrays that were outgrown, but may still be looked at */
    struct rows_grave *next;
    struct traceql_value items[];
};

struct rows_source {
    struct frame_source base;
    const struct frame_rows *rows;
    struct frame_request own; /* its fields are borrowed */
    struct rows_pool pool;
    struct rows_grave *graves;   /* owned */
    struct rows_vector *vectors; /* owned; own.field_count */
    bool wants_events, wants_links;
    uint32_t trace_from, trace_to; /* of the present frame */
    uint32_t span_from;
    struct frame frame;
    struct trace_id *trace_ids;                                        /* owned */
    uint32_t *trace_spans;                                             /* owned */
    uint32_t *span_resources, *span_scopes, *span_events, *span_links; /* owned */
    uint32_t *resources, *scopes;                                      /* owned; numbers in rows */
    uint32_t trace_cap, span_cap;
};

/* ---- frames ---- */

static int source_reserve(struct rows_source *source, uint32_t traces, uint32_t spans)
{
    if (traces > source->trace_cap) {
        free(fm_take(source->trace_ids));
        free(fm_take(source->trace_spans));
        source->trace_ids = calloc(traces, sizeof *source->trace_ids);
        source->trace_spans = calloc((size_t)traces + 1, sizeof *source->trace_spans);
        source->trace_cap = source->trace_ids && source->trace_spans ? traces : 0;
        if (!source->trace_cap)
            return FM_ENOMEM;
    }
    if (spans > source->span_cap) {
        uint32_t **arrays[] = {&source->span_resources, &source->span_scopes, &source->span_events,
                               &source->span_links,     &source->resources,   &source->scopes};
        source->span_cap = 0;
        for (size_t i = 0; i < FM_COUNT(arrays); i++) {
            free(fm_take(*arrays[i]));
            *arrays[i] = calloc((size_t)spans + 1, sizeof **arrays[i]);
            if (!*arrays[i])
                return FM_ENOMEM;
        }
        source->span_cap = spans;
    }
    return FM_OK;
}

/* Traces from source->trace_to until enough spans are together; false: all are outside the window
 * or there are none. */
static bool source_choose(struct rows_source *source)
{
    const struct frame_rows *rows = source->rows;
    uint32_t spans = 0;
    bool is_inside = false;
    source->trace_from = source->trace_to;
    while (source->trace_to < rows->trace_count && spans < ROWS_FRAME) {
        const struct rows_trace *trace = &rows->traces[source->trace_to++];
        spans += trace->span_count;
        is_inside |= trace->start_ns <= source->own.end_ns && trace->end_ns >= source->own.start_ns;
    }
    return is_inside;
}

/* Fills what says which span belongs where. */
static void source_relate(struct rows_source *source)
{
    const struct frame_rows *rows = source->rows;
    struct frame *frame = &source->frame;
    uint32_t spans = 0, resources = 0, scopes = 0, events = 0, links = 0;
    for (uint32_t t = source->trace_from; t < source->trace_to; t++) {
        const struct rows_trace *trace = &rows->traces[t];
        uint32_t last_resource = UINT32_MAX, last_scope = UINT32_MAX;
        source->trace_ids[t - source->trace_from] = trace->id;
        source->trace_spans[t - source->trace_from] = spans;
        for (uint32_t i = 0; i < trace->span_count; i++, spans++) {
            const struct rows_span *span = &rows->spans[trace->first + i];
            uint32_t resource, scope;
            rows_group(rows, span->group, &resource, &scope);
            if (resource != last_resource)
                source->resources[resources++] = resource;
            if (resource != last_resource || scope != last_scope)
                source->scopes[scopes++] = scope;
            last_resource = resource;
            last_scope = scope;
            source->span_resources[spans] = resources - 1;
            source->span_scopes[spans] = scopes - 1;
            source->span_events[spans] = events;
            source->span_links[spans] = links;
            events += span->event_count;
            links += span->link_count;
        }
    }
    source->trace_spans[source->trace_to - source->trace_from] = spans;
    source->span_events[spans] = events;
    source->span_links[spans] = links;
    *frame = (struct frame){
        .count = {[FRAME_TRACE] = source->trace_to - source->trace_from,
                  [FRAME_RESOURCE] = resources,
                  [FRAME_SCOPE] = scopes,
                  [FRAME_SPAN] = spans,
                  [FRAME_EVENT] = source->wants_events ? events : 0,
                  [FRAME_LINK] = source->wants_links ? links : 0},
        .trace_ids = source->trace_ids,
        .trace_spans = source->trace_spans,
        .span_resources = source->span_resources,
        .span_scopes = source->span_scopes,
        .span_events = source->wants_events ? source->span_events : NULL,
        .span_links = source->wants_links ? source->span_links : NULL,
    };
}

static int source_next(struct frame_source *base, struct frame *ret_frame, struct fm_why *why)
{
    struct rows_source *source = FM_CONTAINER(base, struct rows_source, base);
    const struct frame_rows *rows = source->rows;
    while (!source_choose(source))
        if (source->trace_to >= rows->trace_count)
            return FM_END;
    const struct rows_trace *last = &rows->traces[source->trace_to - 1];
    source->span_from = rows->traces[source->trace_from].first;
    uint32_t spans = last->first + last->span_count - source->span_from;
    int rc = source_reserve(source, source->trace_to - source->trace_from, spans);
    if (rc < 0)
        return fm_fail(why, rc, "%s", fm_rc_text(rc));
    source_relate(source);
    for (uint32_t i = 0; i < source->own.field_count; i++)
        source->vectors[i].is_loaded = false;
    source->base.stats.inspected_spans += spans;
    source->base.stats.inspected_traces += source->frame.count[FRAME_TRACE];
    *ret_frame = source->frame;
    return FM_OK;
}

/* ---- vectors ---- */

static int vector_reserve(struct rows_vector *vector, uint32_t count, bool as_codes)
{
    if (count <= vector->cap && (vector->codes || vector->integers))
        return FM_OK;
    uint32_t cap = FM_MAX(count, 64u);
    free(fm_take(vector->codes));
    free(fm_take(vector->integers));
    vector->cap = cap;
    if (as_codes)
        vector->codes = calloc(cap, sizeof *vector->codes);
    else
        vector->integers = calloc(cap, sizeof *vector->integers);
    return vector->codes || vector->integers ? FM_OK : FM_ENOMEM;
}

static bool vector_room(struct rows_source *source, struct rows_vector *vector)
{
    if (FM_LIKELY(vector->values.count < vector->item_cap))
        return true;
    uint32_t cap = FM_MAX(vector->item_cap * 2, 64u);
    struct rows_grave *grave = calloc(1, sizeof *grave + cap * sizeof *grave->items);
    if (!grave)
        return false;
    grave->next = source->graves;
    source->graves = grave;
    if (vector->values.count)
        memcpy(grave->items, vector->items, vector->values.count * sizeof *grave->items);
    vector->items = grave->items;
    vector->values.values = grave->items;
    vector->item_cap = cap;
    return true;
}

/* The place of the rows' value in the field's table; *failed: no memory. */
static inline uint32_t vector_code(struct rows_source *source, struct rows_vector *vector,
                                   uint32_t code, bool *failed)
{
    if (!code)
        return 0;
    uint32_t *local = &vector->local[code];
    if (FM_LIKELY(*local))
        return *local;
    if (!vector_room(source, vector)) {
        *failed = true;
        return 0;
    }
    vector->items[vector->values.count] = source->rows->values.values[code];
    return *local = vector->values.count++;
}

/* Likewise of a text that is made: hex digits of an id. */
static uint32_t vector_make(struct rows_source *source, struct rows_vector *vector,
                            struct fm_slice id, bool of_trace, bool *failed)
{
    char text[32];
    size_t zeros = 0, len = id.len * 2;
    fm_hex_encode(text, id);
    while (of_trace && zeros < len && text[zeros] == '0')
        zeros++;
    uint32_t code = rows_table_bytes(&vector->made, fm_slice(text + zeros, len - zeros));
    if (code && code == vector->values.count) { /* codes of made are places in items */
        if (vector_room(source, vector))
            vector->items[vector->values.count++] = vector->made.values[code];
        else
            code = 0;
    }
    *failed |= !code;
    return code;
}

static inline uint32_t vector_attribute(struct rows_source *source, struct rows_vector *vector,
                                        const struct rows_list *list, bool *failed)
{
    uint32_t *place = &vector->places[list->shape];
    if (FM_UNLIKELY(!*place)) {
        uint32_t found = rows_shape_place(source->rows, list->shape, vector->key);
        *place = found == UINT32_MAX ? ROWS_NO_PLACE : found + 1;
    }
    if (*place == ROWS_NO_PLACE)
        return 0;
    return vector_code(source, vector, source->rows->codes[list->codes + *place - 1], failed);
}

static uint32_t vector_span_code(struct rows_source *source, struct rows_vector *vector,
                                 const struct traceql_field *field, const struct rows_span *span,
                                 bool *failed)
{
    switch (field->intrinsic) {
    case TRACEQL_ATTRIBUTE:
        return vector_attribute(source, vector, &span->list, failed);
    case TRACEQL_NAME:
        return vector_code(source, vector, span->name, failed);
    case TRACEQL_STATUS_MESSAGE:
        return vector_code(source, vector, span->message, failed);
    case TRACEQL_SPAN_ID:
        return vector_make(source, vector, fm_slice(&span->id, 8), false, failed);
    default:
        return vector_make(source, vector, fm_slice(&span->parent, 8), false, failed);
    }
}

/* Every resource has a service.name, if an empty one: blocks cannot tell it from none. */
static uint32_t vector_resource_code(struct rows_source *source, struct rows_vector *vector,
                                     const struct rows_resource *resource, bool *failed)
{
    uint32_t code = vector_attribute(source, vector, &resource->list, failed);
    if (!code && vector->key == source->rows->service_key)
        code = vector_code(source, vector, source->rows->empty, failed);
    return code;
}

static uint32_t vector_event_code(struct rows_source *source, struct rows_vector *vector,
                                  const struct traceql_field *field, const struct rows_event *event,
                                  bool *failed)
{
    return field->intrinsic == TRACEQL_ATTRIBUTE
               ? vector_attribute(source, vector, &event->list, failed)
               : vector_code(source, vector, event->name, failed);
}

static uint32_t vector_link_code(struct rows_source *source, struct rows_vector *vector,
                                 const struct traceql_field *field, const struct rows_link *link,
                                 bool *failed)
{
    if (field->intrinsic == TRACEQL_ATTRIBUTE)
        return vector_attribute(source, vector, &link->list, failed);
    uint32_t code = field->intrinsic == TRACEQL_LINK_TRACE_ID ? link->trace : link->span;
    return vector_code(source, vector, code, failed);
}

static uint32_t vector_scope_code(struct rows_source *source, struct rows_vector *vector,
                                  const struct traceql_field *field, const struct rows_scope *scope,
                                  bool *failed)
{
    if (field->intrinsic == TRACEQL_ATTRIBUTE)
        return vector_attribute(source, vector, &scope->list, failed);
    uint32_t code = field->intrinsic == TRACEQL_SCOPE_NAME ? scope->name : scope->version;
    return vector_code(source, vector, code, failed);
}

static uint32_t vector_trace_code(struct rows_source *source, struct rows_vector *vector,
                                  const struct traceql_field *field, const struct rows_trace *trace,
                                  bool *failed)
{
    if (field->intrinsic == TRACEQL_TRACE_ID)
        return vector_make(source, vector, fm_slice(trace->id.bytes, 16), true, failed);
    uint32_t code = field->intrinsic == TRACEQL_ROOT_NAME ? trace->root_name : trace->root_service;
    return vector_code(source, vector, code, failed);
}

static int64_t span_integer(const struct rows_span *span, enum traceql_intrinsic intrinsic)
{
    switch (intrinsic) {
    case TRACEQL_SPAN_DURATION:
        return (int64_t)span->duration_ns;
    case TRACEQL_STATUS_CODE:
        return span->status;
    case TRACEQL_SPAN_KIND:
        return span->kind;
    case TRACEQL_CHILD_COUNT:
        return span->child_count;
    case TRACEQL_NESTED_LEFT:
        return span->left;
    case TRACEQL_NESTED_RIGHT:
        return span->right;
    case TRACEQL_NESTED_PARENT:
        return span->parent_left;
    default:
        return (int64_t)span->start_ns;
    }
}

/* TRACEQL_UNKNOWN: not an integer of every entry. */
static enum traceql_type source_integer_type(enum traceql_intrinsic intrinsic)
{
    switch (intrinsic) {
    case TRACEQL_SPAN_DURATION:
    case TRACEQL_TRACE_DURATION:
    case TRACEQL_EVENT_TIME:
        return TRACEQL_DURATION;
    case TRACEQL_STATUS_CODE:
        return TRACEQL_STATUS;
    case TRACEQL_SPAN_KIND:
        return TRACEQL_KIND;
    case TRACEQL_CHILD_COUNT:
    case TRACEQL_NESTED_LEFT:
    case TRACEQL_NESTED_RIGHT:
    case TRACEQL_NESTED_PARENT:
    case TRACEQL_SPAN_START:
    case TRACEQL_TRACE_START:
        return TRACEQL_INT;
    default:
        return TRACEQL_UNKNOWN;
    }
}

static void source_fill_integers(const struct rows_source *source, struct rows_vector *vector,
                                 enum traceql_intrinsic intrinsic, enum frame_domain domain)
{
    const struct frame_rows *rows = source->rows;
    int64_t *target = vector->integers;
    if (domain == FRAME_TRACE) {
        for (uint32_t t = source->trace_from; t < source->trace_to; t++) {
            const struct rows_trace *trace = &rows->traces[t];
            uint64_t duration_ns = trace->end_ns - trace->start_ns;
            *target++ = (int64_t)(intrinsic == TRACEQL_TRACE_START ? trace->start_ns : duration_ns);
        }
        return;
    }
    const struct rows_span *span = rows->spans + source->span_from;
    for (uint32_t i = 0; i < source->frame.count[FRAME_SPAN]; i++, span++) {
        if (domain == FRAME_SPAN)
            *target++ = span_integer(span, intrinsic);
        else
            for (uint32_t j = 0; j < span->event_count; j++)
                *target++ = (int64_t)rows->events[span->events + j].since_start_ns;
    }
}

static int source_fill_codes(struct rows_source *source, struct rows_vector *vector,
                             const struct traceql_field *field, enum frame_domain domain)
{
    const struct frame_rows *rows = source->rows;
    const struct frame *frame = &source->frame;
    const struct rows_span *spans = rows->spans + source->span_from;
    uint32_t *target = vector->codes;
    bool failed = false;
    if (domain == FRAME_TRACE)
        for (uint32_t t = source->trace_from; t < source->trace_to; t++)
            *target++ = vector_trace_code(source, vector, field, &rows->traces[t], &failed);
    for (uint32_t i = 0; i < frame->count[FRAME_RESOURCE] && domain == FRAME_RESOURCE; i++)
        *target++ =
            vector_resource_code(source, vector, &rows->resources[source->resources[i]], &failed);
    if (domain == FRAME_SCOPE)
        for (uint32_t i = 0; i < frame->count[FRAME_SCOPE]; i++)
            *target++ =
                vector_scope_code(source, vector, field, &rows->scopes[source->scopes[i]], &failed);
    for (uint32_t i = 0; i < frame->count[FRAME_SPAN] && domain >= FRAME_SPAN; i++) {
        if (domain == FRAME_SPAN)
            *target++ = vector_span_code(source, vector, field, &spans[i], &failed);
        for (uint32_t j = 0; j < spans[i].event_count && domain == FRAME_EVENT; j++)
            *target++ = vector_event_code(source, vector, field, &rows->events[spans[i].events + j],
                                          &failed);
        for (uint32_t j = 0; j < spans[i].link_count && domain == FRAME_LINK; j++)
            *target++ =
                vector_link_code(source, vector, field, &rows->links[spans[i].links + j], &failed);
    }
    return failed ? FM_ENOMEM : FM_OK;
}

/* Once per field: its table. */
static int vector_open(struct rows_source *source, struct rows_vector *vector)
{
    if (vector->values.count)
        return FM_OK;
    if (!vector_room(source, vector))
        return FM_ENOMEM;
    if (vector->makes && !rows_table_init(&vector->made, &source->pool, 1))
        return source->pool.rc;
    if (!vector->makes) {
        vector->local = calloc(source->rows->values.count, sizeof *vector->local);
        vector->places = calloc(source->rows->shapes.count, sizeof *vector->places);
        if (!vector->local || !vector->places)
            return FM_ENOMEM;
    }
    vector->items[0] = (struct traceql_value){.type = TRACEQL_NIL};
    vector->values.count = 1;
    return FM_OK;
}

static int source_load(struct rows_source *source, uint32_t index, struct frame_vector *ret_vector)
{
    const struct traceql_field *field = &source->own.fields[index];
    struct rows_vector *vector = &source->vectors[index];
    enum frame_domain domain = frame_field_domain(field);
    enum traceql_type type = source_integer_type(field->intrinsic);
    uint32_t count = source->frame.count[domain];
    *ret_vector = (struct frame_vector){.shape = FRAME_ABSENT, .domain = domain, .count = count};
    if (field->intrinsic == TRACEQL_PARENT ||
        (field->intrinsic == TRACEQL_ATTRIBUTE && !vector->key))
        return FM_OK;
    int rc = vector_reserve(vector, count, type == TRACEQL_UNKNOWN);
    if (rc == FM_OK && type == TRACEQL_UNKNOWN)
        rc = vector_open(source, vector);
    if (rc == FM_OK && !vector->is_loaded) {
        if (type == TRACEQL_UNKNOWN)
            rc = source_fill_codes(source, vector, field, domain);
        else
            source_fill_integers(source, vector, field->intrinsic, domain);
        source->base.stats.inspected_bytes += (uint64_t)count * (vector->codes ? 4 : 8);
    }
    if (rc < 0)
        return rc;
    vector->is_loaded = true;
    vector->values.serial = (uint64_t)index + 1;
    ret_vector->shape = type == TRACEQL_UNKNOWN ? FRAME_CODES : FRAME_INTEGERS;
    ret_vector->type = type;
    ret_vector->codes = vector->codes;
    ret_vector->integers = vector->integers;
    ret_vector->values = type == TRACEQL_UNKNOWN ? &vector->values : NULL;
    return FM_OK;
}

/* Whatever is wanted, all of it is there: nothing has to be read for it. */
static int source_vector(struct frame_source *base, uint32_t field, const uint8_t *wanted,
                         struct frame_vector *ret_vector, struct fm_why *why)
{
    struct rows_source *source = FM_CONTAINER(base, struct rows_source, base);
    (void)wanted;
    int rc = source_load(source, field, ret_vector);
    return rc < 0 ? fm_fail(why, rc, "%s", fm_rc_text(rc)) : FM_OK;
}

/* ---- names and values ---- */

static int source_names(struct frame_source *base, enum traceql_scope scope,
                        frame_visit_name *visit, void *self, struct fm_why *why)
{
    static const enum frame_domain domains[] = {
        [TRACEQL_SPAN] = FRAME_SPAN,
        [TRACEQL_RESOURCE] = FRAME_RESOURCE,
        [TRACEQL_EVENT] = FRAME_EVENT,
        [TRACEQL_LINK] = FRAME_LINK,
        [TRACEQL_INSTRUMENTATION] = FRAME_SCOPE,
    };
    const struct frame_rows *rows = FM_CONTAINER(base, struct rows_source, base)->rows;
    if (scope < TRACEQL_SPAN || scope > TRACEQL_INSTRUMENTATION)
        return FM_OK;
    uint8_t *seen = calloc(rows->values.count, 1);
    int rc = FM_OK;
    if (!seen)
        return fm_fail(why, FM_ENOMEM, "%s", fm_rc_text(FM_ENOMEM));
    for (uint32_t shape = 1; shape < rows->shapes.count && rc == FM_OK; shape++) {
        struct fm_slice keys = rows->shapes.values[shape].text;
        if (shape >= rows->shape_cap || !(rows->shape_domains[shape] & 1u << domains[scope]))
            continue;
        for (size_t at = 0; at < keys.len && rc == FM_OK; at += 4) {
            uint32_t key;
            memcpy(&key, keys.ptr + at, sizeof key);
            if (!seen[key])
                rc = visit(self, rows->values.values[key].text);
            seen[key] = 1;
        }
    }
    free(seen);
    return rc;
}

static int source_visit_value(const struct traceql_value *value, frame_visit_value *visit,
                              void *self)
{
    int rc = FM_OK;
    if (value->type != TRACEQL_ARRAY)
        return visit(self, value);
    for (uint32_t i = 0; i < value->element_count && rc == FM_OK; i++)
        rc = visit(self, &value->elements[i]);
    return rc;
}

static int source_visit_integers(const struct frame_vector *vector, frame_visit_value *visit,
                                 void *self)
{
    int rc = FM_OK;
    uint64_t seen = 0; /* of the small ones: statuses and kinds are few */
    for (uint32_t i = 0; i < vector->count && rc == FM_OK; i++) {
        struct traceql_value value = {.type = vector->type, .integer = vector->integers[i]};
        uint64_t bit = (uint64_t)value.integer < 64 ? UINT64_C(1) << value.integer : 0;
        if (!(seen & bit))
            rc = visit(self, &value);
        seen |= bit;
    }
    return rc;
}

/* By a second source, so that the frame at hand stays what it is. */
static int source_values(struct frame_source *base, uint32_t field, frame_visit_value *visit,
                         void *self, struct fm_why *why)
{
    const struct rows_source *source = FM_CONTAINER(base, struct rows_source, base);
    struct frame_request request = {
        .fields = &source->own.fields[field], .field_count = 1, .end_ns = UINT64_MAX};
    FM_AUTO(frame_source) all = NULL;
    struct frame frame;
    struct frame_vector vector = {.shape = FRAME_ABSENT};
    uint32_t visited = 1;
    int rc = frame_rows_source(source->rows, &request, &all);
    while (rc == FM_OK && (rc = frame_next(all, &frame, why)) == FM_OK) {
        rc = frame_vector(all, 0, NULL, &vector, why);
        if (rc == FM_OK && vector.shape == FRAME_INTEGERS)
            rc = source_visit_integers(&vector, visit, self);
        for (; rc == FM_OK && vector.shape == FRAME_CODES && visited < vector.values->count;
             visited++)
            rc = source_visit_value(&vector.values->values[visited], visit, self);
    }
    return rc == FM_END ? FM_OK : rc;
}

/* ---- life ---- */

static struct frame_source *source_free(struct frame_source *base)
{
    struct rows_source *source = FM_CONTAINER(base, struct rows_source, base);
    for (uint32_t i = 0; i < source->own.field_count && source->vectors; i++) {
        struct rows_vector *vector = &source->vectors[i];
        free(vector->local);
        free(vector->places);
        free(vector->codes);
        free(vector->integers);
        rows_table_fini(&vector->made);
    }
    for (struct rows_grave *grave = source->graves; grave;) {
        struct rows_grave *next = grave->next;
        free(grave);
        grave = next;
    }
    free(source->vectors);
    free(source->trace_ids);
    free(source->trace_spans);
    free(source->span_resources);
    free(source->span_scopes);
    free(source->span_events);
    free(source->span_links);
    free(source->resources);
    free(source->scopes);
    free(source);
    return NULL;
}

static bool source_makes(enum traceql_intrinsic intrinsic)
{
    return intrinsic == TRACEQL_SPAN_ID || intrinsic == TRACEQL_PARENT_ID ||
           intrinsic == TRACEQL_TRACE_ID;
}

int frame_rows_source(const struct frame_rows *rows, const struct frame_request *request,
                      struct frame_source **ret_source)
{
    static const struct frame_source_ops ops = {.next = source_next,
                                                .vector = source_vector,
                                                .names = source_names,
                                                .values = source_values,
                                                .free = source_free};
    FM_ASSERT(rows->finished);
    struct rows_source *source = calloc(1, sizeof *source);
    if (!source)
        return FM_ENOMEM;
    source->base.ops = &ops;
    source->rows = rows;
    source->own = *request;
    source->pool.bytes_max = ROWS_SOURCE_MAX;
    source->vectors = calloc((size_t)request->field_count + 1, sizeof *source->vectors);
    if (!source->vectors) {
        source_free(&source->base);
        return FM_ENOMEM;
    }
    for (uint32_t i = 0; i < request->field_count; i++) {
        const struct traceql_field *field = &request->fields[i];
        struct rows_vector *vector = &source->vectors[i];
        struct traceql_value name = rows_text(field->name);
        enum frame_domain domain = frame_field_domain(field);
        vector->makes = source_makes(field->intrinsic);
        if (field->intrinsic == TRACEQL_ATTRIBUTE)
            vector->key =
                rows_table_find(&rows->values, &name, rows_table_hash(&rows->values, &name));
        source->wants_events |= domain == FRAME_EVENT;
        source->wants_links |= domain == FRAME_LINK;
    }
    *ret_source = &source->base;
    return FM_OK;
}
