/* SPDX-License-Identifier: Apache-2.0 */
/* A source of frames over a table in a test: a row a span, traces together, attributes as text.
 *
 *   attributes   "span.a=1;resource.b='x';instrumentation.c=true;span.list=['x','y'];span.f=1.5"
 *   events       "name 10 key=1;other='x'/second 20": name, ms since the span's start, attributes
 *   links        "trace-id span-id key=1/..."
 *
 * What is not wanted is filled with values of others, so that whoever looks at it is found out. */
#ifndef TESTS_UNIT_EVAL_TABLE_H
#define TESTS_UNIT_EVAL_TABLE_H

#include "../../support/test.h"

#include "fermata/eval.h"

struct table_row {
    const char *trace, *id, *parent, *service, *name;
    int kind, status;
    int64_t start_ms, duration_ms;
    const char *attributes, *events, *links;
};
#define TABLE_VALUES_MAX 4096
struct table_field {
    struct traceql_value values[TABLE_VALUES_MAX];
    struct frame_values table;
    unsigned loads;
};
struct table {
    struct frame_source source;
    const struct table_row *rows;
    uint32_t row_count, traces_per_frame;
    const struct frame_request *request;
    struct fm_arena arena;
    struct table_field *fields;
    uint32_t at; /* row of the next frame */
    /* the present frame: */
    uint32_t first, spans, traces, resources, events, links;
    struct trace_id *ids;
    uint32_t *trace_spans, *span_resources, *span_scopes, *span_events, *span_links;
    const char **event_texts, **link_texts;
    uint32_t *event_spans, *link_spans;
    int64_t *left, *right, *parent;
    unsigned frames_failing; /* the nth next() fails; 0: none */
};

static inline void *table_alloc(struct table *table, size_t size)
{
    void *ptr = fm_arena_zalloc(&table->arena, size + 1);
    if (!ptr) { /* memory that fails on purpose is to fail elsewhere */
        table->arena.failed = false;
        ptr = fm_arena_zalloc(&table->arena, size + 1);
    }
    assert_non_null(ptr);
    return ptr;
}

static inline bool table_parse_value(struct table *table, const char **at,
                                     struct traceql_value *value)
{
    const char *s = *at;
    *value = (struct traceql_value){0};
    if (*s == '\'') {
        const char *end = strchr(s + 1, '\'');
        value->type = TRACEQL_STRING;
        value->text = fm_slice(s + 1, (size_t)(end - s - 1));
        s = end + 1;
    } else if (*s == '[') {
        struct traceql_value *elements = table_alloc(table, 8 * sizeof *elements);
        value->type = TRACEQL_ARRAY;
        value->elements = elements;
        for (s++; *s && *s != ']'; s += *s == ',')
            table_parse_value(table, &s, &elements[value->element_count++]);
        s++;
    } else if (strncmp(s, "true", 4) == 0 || strncmp(s, "false", 5) == 0) {
        value->type = TRACEQL_BOOL;
        value->flag = *s == 't';
        s += *s == 't' ? 4 : 5;
    } else {
        char *end;
        double number = strtod(s, &end);
        value->type = memchr(s, '.', (size_t)(end - s)) ? TRACEQL_FLOAT : TRACEQL_INT;
        if (value->type == TRACEQL_FLOAT)
            value->number = number;
        else
            value->integer = strtoll(s, NULL, 10);
        s = end;
    }
    *at = s;
    return true;
}

/* key=value in a list with ';'; scope may be "". */
static inline struct traceql_value table_attribute(struct table *table, const char *list,
                                                   const char *scope, struct fm_slice key)
{
    struct traceql_value value = {.type = TRACEQL_NIL};
    for (const char *s = list; s && *s; s = strchr(s, ';') ? strchr(s, ';') + 1 : NULL) {
        size_t prefix = strlen(scope);
        if (strncmp(s, scope, prefix) == 0 &&
            strncmp(s + prefix, (const char *)key.ptr, key.len) == 0 &&
            s[prefix + key.len] == '=') {
            s += prefix + key.len + 1;
            table_parse_value(table, &s, &value);
            return value;
        }
    }
    return value;
}

static inline struct traceql_value table_text(const char *text)
{
    return (struct traceql_value){.type = TRACEQL_STRING, .text = fm_slice_text(text ? text : "")};
}

static inline struct traceql_value table_integer(enum traceql_type type, int64_t integer)
{
    return (struct traceql_value){.type = type, .integer = integer};
}

/* Number of events or links in a text; with texts, where each begins. */
static inline uint32_t table_split(const char *list, const char **texts)
{
    uint32_t count = 0;
    for (const char *s = list; s && *s; s = strchr(s, '/') ? strchr(s, '/') + 1 : NULL) {
        if (texts)
            texts[count] = s;
        count++;
    }
    return count;
}

static inline struct fm_slice table_word(const char **at)
{
    const char *s = *at;
    size_t len = strcspn(s, " /");
    *at = s + len + (s[len] == ' ');
    return fm_slice(s, len);
}

static inline struct traceql_value
table_event_value(struct table *table, const struct traceql_field *field, const char *text)
{
    char copy[256];
    size_t len = strcspn(text, "/");
    memcpy(copy, text, len);
    copy[len] = 0;
    const char *s = table_alloc(table, len);
    memcpy((char *)s, copy, len);
    struct fm_slice first = table_word(&s), second = table_word(&s);
    struct traceql_value value = {.type = TRACEQL_STRING};
    switch (field->intrinsic) {
    case TRACEQL_EVENT_NAME:
    case TRACEQL_LINK_TRACE_ID:
        value.text = first;
        return value;
    case TRACEQL_LINK_SPAN_ID:
        value.text = second;
        return value;
    case TRACEQL_EVENT_TIME:
        return table_integer(TRACEQL_DURATION,
                             strtoll((const char *)second.ptr, NULL, 10) * 1000000);
    default:
        return table_attribute(table, s, "", field->name);
    }
}

static inline uint32_t table_root(const struct table *table, uint32_t trace)
{
    for (uint32_t i = table->trace_spans[trace]; i < table->trace_spans[trace + 1]; i++)
        if (!*table->rows[table->first + i].parent)
            return i;
    return UINT32_MAX;
}

static inline struct traceql_value table_trace_value(struct table *table,
                                                     const struct traceql_field *field, uint32_t t)
{
    uint32_t root = table_root(table, t);
    const struct table_row *rows = table->rows + table->first;
    int64_t start = INT64_MAX, end = 0;
    char *text;
    for (uint32_t i = table->trace_spans[t]; i < table->trace_spans[t + 1]; i++) {
        start = FM_MIN(start, rows[i].start_ms);
        end = FM_MAX(end, rows[i].start_ms + rows[i].duration_ms);
    }
    switch (field->intrinsic) {
    case TRACEQL_ROOT_NAME:
        return table_text(root == UINT32_MAX ? "" : rows[root].name);
    case TRACEQL_ROOT_SERVICE:
        return table_text(root == UINT32_MAX ? "" : rows[root].service);
    case TRACEQL_TRACE_START:
        return table_integer(TRACEQL_INT, start * 1000000);
    case TRACEQL_TRACE_DURATION:
        return table_integer(TRACEQL_DURATION, (end - start) * 1000000);
    default:
        text = table_alloc(table, 33);
        trace_id_print(&table->ids[t], text);
        return table_text(text);
    }
}

static inline struct traceql_value table_span_value(struct table *table,
                                                    const struct traceql_field *field, uint32_t i)
{
    const struct table_row *row = &table->rows[table->first + i];
    switch (field->intrinsic) {
    case TRACEQL_ATTRIBUTE:
        if (field->scope == TRACEQL_RESOURCE && fm_slice_equal_text(field->name, "service.name"))
            return row->service ? table_text(row->service) : (struct traceql_value){0};
        return table_attribute(table, row->attributes,
                               field->scope == TRACEQL_SPAN       ? "span."
                               : field->scope == TRACEQL_RESOURCE ? "resource."
                                                                  : "instrumentation.",
                               field->name);
    case TRACEQL_NAME:
        return table_text(row->name);
    case TRACEQL_SPAN_ID:
        return table_text(row->id);
    case TRACEQL_PARENT_ID:
        return table_text(*row->parent ? row->parent : "0000000000000000");
    case TRACEQL_SPAN_DURATION:
        return table_integer(TRACEQL_DURATION, row->duration_ms * 1000000);
    case TRACEQL_SPAN_START:
        return table_integer(TRACEQL_INT, row->start_ms * 1000000);
    case TRACEQL_STATUS_CODE:
        return table_integer(TRACEQL_STATUS, row->status);
    case TRACEQL_SPAN_KIND:
        return table_integer(TRACEQL_KIND, row->kind);
    case TRACEQL_NESTED_LEFT:
        return table_integer(TRACEQL_INT, table->left[i]);
    case TRACEQL_NESTED_RIGHT:
        return table_integer(TRACEQL_INT, table->right[i]);
    case TRACEQL_NESTED_PARENT:
        return table_integer(TRACEQL_INT, table->parent[i]);
    default:
        return (struct traceql_value){0};
    }
}

static inline void table_number(struct table *table, uint32_t first, uint32_t end, uint32_t at,
                                int64_t parent, int64_t *next)
{
    const struct table_row *rows = table->rows + table->first;
    table->left[at] = (*next)++;
    table->parent[at] = parent;
    for (uint32_t i = first; i < end; i++)
        if (strcmp(rows[i].parent, rows[at].id) == 0)
            table_number(table, first, end, i, table->left[at], next);
    table->right[at] = (*next)++;
}

static inline int table_next(struct frame_source *source, struct frame *ret_frame,
                             struct fm_why *why)
{
    struct table *table = (struct table *)source;
    uint32_t n = table->row_count;
    const struct table_row *rows = table->rows;
    if (table->frames_failing && --table->frames_failing == 0)
        return fm_fail(why, FM_EIO, "the source failed");
    if (table->at == n)
        return FM_END;
    table->first = table->at;
    table->traces = table->resources = table->spans = table->events = table->links = 0;
    for (; table->at < n; table->at++) {
        const struct table_row *row = &rows[table->at], *last = row - 1;
        uint32_t i = table->spans;
        bool new_trace = !i || strcmp(row->trace, last->trace) != 0;
        if (new_trace && table->traces == table->traces_per_frame)
            break;
        if (new_trace) {
            assert_ok(trace_id_parse(fm_slice_text(row->trace), &table->ids[table->traces], NULL));
            table->trace_spans[table->traces++] = i;
        }
        if (new_trace || row->service != last->service || row->attributes != last->attributes)
            table->resources++;
        table->span_resources[i] = table->span_scopes[i] = table->resources - 1;
        table->span_events[i] = table->events;
        table->span_links[i] = table->links;
        uint32_t events = table_split(row->events, table->event_texts + table->events);
        uint32_t links = table_split(row->links, table->link_texts + table->links);
        for (uint32_t k = 0; k < events; k++)
            table->event_spans[table->events++] = i;
        for (uint32_t k = 0; k < links; k++)
            table->link_spans[table->links++] = i;
        table->spans++;
    }
    table->trace_spans[table->traces] = table->spans;
    table->span_events[table->spans] = table->events;
    table->span_links[table->spans] = table->links;
    for (uint32_t t = 0; t < table->traces; t++) {
        int64_t next = 1;
        for (uint32_t i = table->trace_spans[t]; i < table->trace_spans[t + 1]; i++)
            table->left[i] = table->right[i] = table->parent[i] = 0;
        for (uint32_t i = table->trace_spans[t]; i < table->trace_spans[t + 1]; i++)
            if (!*rows[table->first + i].parent)
                table_number(table, table->trace_spans[t], table->trace_spans[t + 1], i, -1, &next);
    }
    *ret_frame = (struct frame){
        .count = {table->traces, table->resources, table->resources, table->spans, table->events,
                  table->links},
        .trace_ids = table->ids,
        .trace_spans = table->trace_spans,
        .span_resources = table->span_resources,
        .span_scopes = table->span_scopes,
        .span_events = table->span_events,
        .span_links = table->span_links,
    };
    table->source.stats.inspected_spans += table->spans;
    return FM_OK;
}

static inline bool table_same(const struct traceql_value *a, const struct traceql_value *b)
{
    if (a->type != b->type || a->element_count != b->element_count)
        return false;
    if (a->type == TRACEQL_STRING)
        return fm_slice_equal(a->text, b->text);
    if (a->type == TRACEQL_BOOL)
        return a->flag == b->flag;
    if (a->type == TRACEQL_ARRAY) {
        for (uint32_t i = 0; i < a->element_count; i++)
            if (!table_same(&a->elements[i], &b->elements[i]))
                return false;
        return true;
    }
    return a->integer == b->integer;
}

static inline uint32_t table_code(struct table_field *field, const struct traceql_value *value)
{
    if (value->type == TRACEQL_NIL)
        return 0;
    for (uint32_t i = 1; i < field->table.count; i++)
        if (table_same(&field->values[i], value))
            return i;
    assert_true(field->table.count < TABLE_VALUES_MAX);
    field->values[field->table.count] = *value;
    return field->table.count++;
}

static inline struct traceql_value table_entry(struct table *table,
                                               const struct traceql_field *field,
                                               enum frame_domain domain, uint32_t i,
                                               uint32_t *ret_span)
{
    uint32_t span = i;
    switch (domain) {
    case FRAME_TRACE:
        *ret_span = table->trace_spans[i];
        return table_trace_value(table, field, i);
    case FRAME_EVENT:
        *ret_span = table->event_spans[i];
        return table_event_value(table, field, table->event_texts[i]);
    case FRAME_LINK:
        *ret_span = table->link_spans[i];
        return table_event_value(table, field, table->link_texts[i]);
    case FRAME_SPAN:
        break;
    default:
        for (span = 0; table->span_resources[span] != i; span++)
            ;
        break;
    }
    *ret_span = span;
    return table_span_value(table, field, span);
}

static inline int table_vector(struct frame_source *source, uint32_t index, const uint8_t *wanted,
                               struct frame_vector *ret_vector, struct fm_why *why)
{
    struct table *table = (struct table *)source;
    const struct traceql_field *field = &table->request->fields[index];
    struct table_field *known = &table->fields[index];
    enum frame_domain domain = frame_field_domain(field);
    const uint32_t counts[] = {table->traces, table->resources, table->resources,
                               table->spans,  table->events,    table->links};
    uint32_t count = counts[domain];
    uint32_t *codes = table_alloc(table, count * sizeof *codes);
    int64_t *integers = table_alloc(table, count * sizeof *integers);
    bool all_integers = field->intrinsic != TRACEQL_ATTRIBUTE && count > 0, any = false;
    struct frame_vector vector = {.domain = domain, .count = count};
    (void)why;
    known->loads++;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t span, trace = 0;
        struct traceql_value value = table_entry(table, field, domain, i, &span);
        while (table->trace_spans[trace + 1] <= span)
            trace++;
        any |= value.type != TRACEQL_NIL;
        all_integers &= value.type == TRACEQL_INT || value.type == TRACEQL_DURATION ||
                        value.type == TRACEQL_STATUS || value.type == TRACEQL_KIND;
        codes[i] = table_code(known, &value);
        integers[i] = value.integer;
        vector.type = value.type;
        if (wanted && !wanted[trace]) {
            codes[i] = known->table.count - 1;
            integers[i] = 0x5a5a5a;
        }
    }
    vector.shape = all_integers ? FRAME_INTEGERS : any ? FRAME_CODES : FRAME_ABSENT;
    vector.codes = codes;
    vector.integers = integers;
    vector.values = &known->table;
    *ret_vector = vector;
    return FM_OK;
}

static inline int table_names(struct frame_source *source, enum traceql_scope scope,
                              frame_visit_name *visit, void *self, struct fm_why *why)
{
    (void)source, (void)scope, (void)visit, (void)self, (void)why;
    return FM_OK;
}

static inline int table_values(struct frame_source *source, uint32_t index,
                               frame_visit_value *visit, void *self, struct fm_why *why)
{
    struct traceql_value value = {.type = TRACEQL_INT, .integer = index};
    (void)source, (void)why;
    return visit(self, &value); /* says that it was asked */
}

static inline struct frame_source *table_free(struct frame_source *source)
{
    struct table *table = (struct table *)source;
    fm_arena_fini(&table->arena);
    test_free(table->fields);
    test_free(table);
    return NULL;
}

static const struct frame_source_ops table_ops = {table_next, table_vector, table_names,
                                                  table_values, table_free};

/* request is borrowed. */
static inline struct table *table_new(const struct table_row *rows, uint32_t row_count,
                                      uint32_t traces_per_frame,
                                      const struct frame_request *request)
{
    struct table *table = test_calloc(1, sizeof *table);
    size_t n = row_count + 2;
    *table = (struct table){.source.ops = &table_ops,
                            .rows = rows,
                            .row_count = row_count,
                            .traces_per_frame = traces_per_frame,
                            .request = request};
    fm_arena_init(&table->arena, FM_MIB(512));
    table->fields = test_calloc(request->field_count + 1, sizeof *table->fields);
    for (uint32_t i = 0; i < request->field_count; i++)
        table->fields[i].table = (struct frame_values){table->fields[i].values, 1, i + 1};
    table->ids = table_alloc(table, n * sizeof *table->ids);
    table->trace_spans = table_alloc(table, n * sizeof(uint32_t));
    table->span_resources = table_alloc(table, n * sizeof(uint32_t));
    table->span_scopes = table_alloc(table, n * sizeof(uint32_t));
    table->span_events = table_alloc(table, n * sizeof(uint32_t));
    table->span_links = table_alloc(table, n * sizeof(uint32_t));
    table->event_texts = table_alloc(table, 8 * n * sizeof(char *));
    table->link_texts = table_alloc(table, 8 * n * sizeof(char *));
    table->event_spans = table_alloc(table, 8 * n * sizeof(uint32_t));
    table->link_spans = table_alloc(table, 8 * n * sizeof(uint32_t));
    table->left = table_alloc(table, n * sizeof(int64_t));
    table->right = table_alloc(table, n * sizeof(int64_t));
    table->parent = table_alloc(table, n * sizeof(int64_t));
    return table;
}

/* Values that no span has, more than there are spans: a table that serves other fields as well. */
static inline void table_pad(struct table *table)
{
    for (uint32_t f = 0; f < table->request->field_count; f++)
        for (uint32_t i = 0; i < 600; i++) {
            struct traceql_value value = {.type = TRACEQL_INT, .integer = 1000000 + (int64_t)i};
            (void)table_code(&table->fields[f], &value);
        }
}

#endif
