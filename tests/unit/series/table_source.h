/* SPDX-License-Identifier: Apache-2.0 */
/* A source of frames over a literal table of spans, for tests of series and answer. */
#ifndef TESTS_UNIT_SERIES_TABLE_SOURCE_H
#define TESTS_UNIT_SERIES_TABLE_SOURCE_H

#include "../../support/test.h"
#include "fermata/frame.h"

#define TABLE_SPANS_MAX  256
#define TABLE_FIELDS_MAX 600

struct table_attribute {
    const char *name; /* NULL: none */
    struct traceql_value value;
};
/* Spans of a trace stand together; so do spans of a service in it. */
struct table_span {
    struct trace_id trace_id;
    int64_t start_ns, duration_ns, kind, status;
    const char *name, *service; /* service NULL: its resource has none */
    struct table_attribute attributes[3];
};
struct table {
    const struct table_span *spans;
    uint32_t count;
    uint32_t frame_traces; /* of one frame */
    unsigned opened;
};
struct table_values {
    struct traceql_value values[TABLE_SPANS_MAX + 1];
    struct frame_values shown;
};
struct table_source {
    struct frame_source base;
    const struct table *table;
    const struct frame_request *request;
    struct traceql_field *fields; /* owned copy */
    uint32_t field_count;
    uint32_t first, end; /* of the table: the present frame */
    struct trace_id trace_ids[TABLE_SPANS_MAX];
    uint32_t trace_spans[TABLE_SPANS_MAX + 1];
    uint32_t span_resources[TABLE_SPANS_MAX], span_scopes[TABLE_SPANS_MAX];
    uint32_t span_children[TABLE_SPANS_MAX + 1];
    uint32_t resource_spans[TABLE_SPANS_MAX];
    struct frame frame;
    struct table_values **values; /* per field; owned */
    uint32_t **codes;             /* per field; owned */
    int64_t **integers;           /* per field; owned */
};

static inline bool table_same(const struct traceql_value *a, const struct traceql_value *b)
{
    if (a->type != b->type)
        return false;
    if (a->type == TRACEQL_STRING)
        return fm_slice_equal(a->text, b->text);
    if (a->type == TRACEQL_BOOL)
        return a->flag == b->flag;
    return a->type == TRACEQL_NIL || a->integer == b->integer;
}

static inline int table_next(struct frame_source *base, struct frame *ret_frame, struct fm_why *why)
{
    struct table_source *source = (struct table_source *)base;
    const struct table_span *spans = source->table->spans;
    uint32_t traces = 0, resources = 0, count = 0;

    (void)why;
    source->first = source->end;
    for (; source->end < source->table->count; source->end++, count++) {
        const struct table_span *span = &spans[source->end], *before = count ? span - 1 : NULL;
        bool starts = !before || !trace_id_equal(&before->trace_id, &span->trace_id);
        if (starts && traces == source->table->frame_traces)
            break;
        if (starts) {
            source->trace_ids[traces] = span->trace_id;
            source->trace_spans[traces++] = count;
        }
        if (starts || before->service != span->service)
            source->resource_spans[resources++] = source->end;
        source->span_resources[count] = resources - 1;
        source->span_scopes[count] = 0;
        source->span_children[count] = source->span_children[count + 1] = 0;
    }
    if (!count)
        return FM_END;
    source->trace_spans[traces] = count;
    source->frame = (struct frame){
        .count = {[FRAME_TRACE] = traces,
                  [FRAME_RESOURCE] = resources,
                  [FRAME_SCOPE] = 1,
                  [FRAME_SPAN] = count},
        .trace_ids = source->trace_ids,
        .trace_spans = source->trace_spans,
        .span_resources = source->span_resources,
        .span_scopes = source->span_scopes,
        .span_events = source->span_children,
        .span_links = source->span_children,
    };
    base->stats.inspected_traces += traces;
    base->stats.inspected_spans += count;
    *ret_frame = source->frame;
    return FM_OK;
}

static inline struct traceql_value table_text(const char *text)
{
    if (!text)
        return (struct traceql_value){.type = TRACEQL_NIL};
    return (struct traceql_value){.type = TRACEQL_STRING, .text = fm_slice_text(text)};
}

static inline struct traceql_value table_value(const struct table_span *span,
                                               const struct traceql_field *field)
{
    if (field->intrinsic == TRACEQL_NAME)
        return table_text(span->name);
    if (field->intrinsic == TRACEQL_ATTRIBUTE && field->scope == TRACEQL_RESOURCE &&
        fm_slice_equal_text(field->name, "service.name"))
        return table_text(span->service);
    for (size_t i = 0; field->intrinsic == TRACEQL_ATTRIBUTE && field->scope == TRACEQL_SPAN &&
                       i < FM_COUNT(span->attributes);
         i++) {
        if (span->attributes[i].name && fm_slice_equal_text(field->name, span->attributes[i].name))
            return span->attributes[i].value;
    }
    return (struct traceql_value){.type = TRACEQL_NIL};
}

static inline uint32_t table_code(struct table_values *values, const struct traceql_value *value)
{
    for (uint32_t i = 0; i < values->shown.count; i++) {
        if (table_same(&values->values[i], value))
            return i;
    }
    values->values[values->shown.count] = *value;
    return values->shown.count++;
}

static inline bool table_integers(struct table_source *source, const struct traceql_field *field,
                                  int64_t *integers, enum traceql_type *ret_type)
{
    for (uint32_t i = 0; i < source->frame.count[FRAME_SPAN]; i++) {
        const struct table_span *span = &source->table->spans[source->first + i];
        switch (field->intrinsic) {
        case TRACEQL_SPAN_START:
            *ret_type = TRACEQL_INT;
            integers[i] = span->start_ns;
            break;
        case TRACEQL_SPAN_DURATION:
            *ret_type = TRACEQL_DURATION;
            integers[i] = span->duration_ns;
            break;
        case TRACEQL_STATUS_CODE:
            *ret_type = TRACEQL_STATUS;
            integers[i] = span->status;
            break;
        case TRACEQL_SPAN_KIND:
            *ret_type = TRACEQL_KIND;
            integers[i] = span->kind;
            break;
        default:
            return false;
        }
    }
    return true;
}

static inline int table_vector(struct frame_source *base, uint32_t field, const uint8_t *wanted,
                               struct frame_vector *ret_vector, struct fm_why *why)
{
    struct table_source *source = (struct table_source *)base;
    enum frame_domain domain = frame_field_domain(&source->fields[field]);
    struct frame_vector vector = {.domain = domain, .count = source->frame.count[domain]};

    (void)wanted;
    (void)why;
    if (table_integers(source, &source->fields[field], source->integers[field], &vector.type)) {
        vector.shape = FRAME_INTEGERS;
        vector.integers = source->integers[field];
    } else if (domain == FRAME_SPAN || domain == FRAME_RESOURCE) {
        struct table_values *values = source->values[field];
        for (uint32_t i = 0; i < vector.count; i++) {
            uint32_t at = domain == FRAME_SPAN ? source->first + i : source->resource_spans[i];
            struct traceql_value value =
                table_value(&source->table->spans[at], &source->fields[field]);
            source->codes[field][i] = table_code(values, &value);
        }
        vector.shape = FRAME_CODES;
        vector.codes = source->codes[field];
        vector.values = &values->shown;
    }
    *ret_vector = vector;
    return FM_OK;
}

static inline int table_names(struct frame_source *base, enum traceql_scope scope,
                              frame_visit_name *visit, void *self, struct fm_why *why)
{
    struct table_source *source = (struct table_source *)base;
    int rc = FM_OK;

    (void)why;
    if (scope == TRACEQL_RESOURCE)
        return visit(self, FM_SLICE("service.name"));
    for (uint32_t i = 0; scope == TRACEQL_SPAN && i < source->table->count; i++) {
        for (size_t at = 0; rc == FM_OK && at < FM_COUNT(source->table->spans->attributes); at++) {
            const char *name = source->table->spans[i].attributes[at].name;
            if (name)
                rc = visit(self, fm_slice_text(name));
        }
    }
    return rc;
}

static inline struct frame_source *table_free(struct frame_source *base)
{
    struct table_source *source = (struct table_source *)base;

    for (uint32_t i = 0; i < source->field_count; i++) {
        free(source->values ? source->values[i] : NULL);
        free(source->codes ? source->codes[i] : NULL);
        free(source->integers ? source->integers[i] : NULL);
    }
    free(source->values);
    free(source->codes);
    free(source->integers);
    free(source->fields);
    free(source);
    return NULL;
}

static const struct frame_source_ops table_ops = {
    .next = table_next,
    .vector = table_vector,
    .names = table_names,
    .free = table_free,
};

/* A series_open. */
static inline int table_open(void *self, const struct frame_request *request,
                             struct frame_source **ret_source, struct fm_why *why)
{
    struct table *table = self;
    FM_AUTO(frame_source) base = NULL;
    struct table_source *source = calloc(1, sizeof *source);
    size_t count = request->field_count + 1;

    (void)why;
    if (!source)
        return FM_ENOMEM;
    base = &source->base;
    source->base.ops = &table_ops;
    source->table = table;
    source->values = calloc(count, sizeof *source->values);
    source->codes = calloc(count, sizeof *source->codes);
    source->integers = calloc(count, sizeof *source->integers);
    source->fields = calloc(count, sizeof *source->fields);
    if (!source->values || !source->codes || !source->integers || !source->fields)
        return FM_ENOMEM;
    for (uint32_t i = 0; i < request->field_count; i++) {
        source->field_count = i + 1;
        source->fields[i] = request->fields[i];
        source->values[i] = calloc(1, sizeof **source->values);
        source->codes[i] = calloc(TABLE_SPANS_MAX, sizeof **source->codes);
        source->integers[i] = calloc(TABLE_SPANS_MAX, sizeof **source->integers);
        if (!source->values[i] || !source->codes[i] || !source->integers[i])
            return FM_ENOMEM;
        source->values[i]->shown =
            (struct frame_values){.values = source->values[i]->values, .count = 1, .serial = i + 1};
    }
    table->opened++;
    *ret_source = fm_take(base);
    return FM_OK;
}

#endif
