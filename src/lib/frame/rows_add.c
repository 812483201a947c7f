/* SPDX-License-Identifier: Apache-2.0 */
/* One walk over OTLP bytes: every value is interned, every span that is taken becomes a row.
 *
 * Nothing is allocated per span.  What fails in the middle is taken back: rows are arrays that can
 * be cut, and interned values without a row do no harm. */
#include "rows.h"
#include "rows_walk.h"

#include <stdlib.h>

/* Tags of the OTLP fields read here; one with another wire type is an unknown field. */
enum { REQUEST_RESOURCE_SPANS = ROWS_BYTES(1) };
enum { RESOURCE_SPANS_RESOURCE = ROWS_BYTES(1), RESOURCE_SPANS_SCOPES = ROWS_BYTES(2) };
enum { RESOURCE_ATTRIBUTES = ROWS_BYTES(1), RESOURCE_DROPPED = ROWS_VARINT(2) };
enum { SCOPE_SPANS_SCOPE = ROWS_BYTES(1), SCOPE_SPANS_SPANS = ROWS_BYTES(2) };
enum {
    SCOPE_NAME = ROWS_BYTES(1),
    SCOPE_VERSION = ROWS_BYTES(2),
    SCOPE_ATTRIBUTES = ROWS_BYTES(3),
    SCOPE_DROPPED = ROWS_VARINT(4),
};
enum { STATUS_MESSAGE = ROWS_BYTES(2), STATUS_CODE = ROWS_VARINT(3) };
enum {
    EVENT_TIME = ROWS_FIXED64(1),
    EVENT_NAME = ROWS_BYTES(2),
    EVENT_ATTRIBUTES = ROWS_BYTES(3),
};
enum { LINK_TRACE = ROWS_BYTES(1), LINK_SPAN = ROWS_BYTES(2), LINK_ATTRIBUTES = ROWS_BYTES(4) };
enum {
    SPAN_TRACE = ROWS_BYTES(1),
    SPAN_ID = ROWS_BYTES(2),
    SPAN_PARENT = ROWS_BYTES(4),
    SPAN_NAME = ROWS_BYTES(5),
    SPAN_KIND = ROWS_VARINT(6),
    SPAN_START = ROWS_FIXED64(7),
    SPAN_END = ROWS_FIXED64(8),
    SPAN_ATTRIBUTES = ROWS_BYTES(9),
    SPAN_EVENTS = ROWS_BYTES(11),
    SPAN_LINKS = ROWS_BYTES(13),
    SPAN_STATUS = ROWS_BYTES(15),
};

struct rows_add { /* one call of frame_rows_add */
    struct frame_rows *rows;
    bool (*only)(void *self, const struct trace_id *id);
    void *self;
    struct trace_id last; /* trace asked for last */
    bool has_last, last_taken;
    uint32_t last_trace;      /* code in trace_ids, 0: not entered */
    struct fm_slice resource; /* messages of the group at hand */
    struct fm_slice scope;
    uint32_t resource_number; /* UINT32_MAX: not entered yet */
    uint32_t group;           /* 0: not entered yet */
};

/* The number of a resource or scope with the content rows->identity; *ret_new: it is the next. */
static int rows_content(struct frame_rows *rows, uint32_t next, uint32_t *ret_number)
{
    if (rows->identity.failed)
        return FM_ENOMEM;
    uint32_t code = rows_table_bytes(&rows->contents, fm_buf_slice(&rows->identity));
    if (!code)
        return rows->pool.rc;
    while (code >= rows->content_cap) {
        void *numbers = rows->content_numbers;
        uint32_t cap = rows->content_cap;
        if (!rows_grow(&rows->pool, &numbers, cap, &rows->content_cap,
                       sizeof *rows->content_numbers))
            return rows->pool.rc;
        rows->content_numbers = numbers;
        memset(rows->content_numbers + cap, 0xff,
               (rows->content_cap - cap) * sizeof *rows->content_numbers);
    }
    if (rows->content_numbers[code] == UINT32_MAX)
        rows->content_numbers[code] = next;
    *ret_number = rows->content_numbers[code];
    return FM_OK;
}

/* What tells one list from another: keys, codes, and the bytes of values that have no code. */
static void rows_identify(struct frame_rows *rows, const struct rows_list *list)
{
    fm_buf_put(&rows->identity, &list->shape, sizeof list->shape);
    for (uint32_t i = 0; i < rows->pair_count; i++) {
        const struct rows_pair *pair = &rows->pairs[i];
        uint32_t code = rows->codes[list->codes + i], len = (uint32_t)pair->any_value.len;
        fm_buf_put(&rows->identity, &code, sizeof code);
        if (!code) {
            fm_buf_put(&rows->identity, &len, sizeof len);
            fm_buf_put_slice(&rows->identity, pair->any_value);
        }
    }
}

/* The last service.name that is a text. */
static uint32_t rows_service(const struct frame_rows *rows, const struct rows_list *list)
{
    uint32_t service = rows->empty;
    for (uint32_t i = 0; i < rows->pair_count; i++) {
        uint32_t code = rows->codes[list->codes + i];
        if (rows->pairs[i].key == rows->service_key &&
            rows->values.values[code].type == TRACEQL_STRING)
            service = code;
    }
    return service;
}

static int rows_add_resource(struct frame_rows *rows, struct fm_slice resource,
                             uint32_t *ret_number)
{
    struct rows_field field = {0};
    struct rows_list list;
    uint32_t dropped = 0, codes = rows->code_count;
    int rc;
    rows_begin_list(rows);
    while ((rc = rows_walk(&resource, &field)) == FM_OK) {
        if (field.tag == RESOURCE_ATTRIBUTES)
            rc = rows_add_attribute(rows, field.bytes);
        else if (field.tag == RESOURCE_DROPPED)
            dropped = (uint32_t)field.value;
        if (rc < 0)
            return rc;
    }
    rc = rc < 0 ? rc : rows_end_list(rows, FRAME_RESOURCE, &list);
    if (rc < 0)
        return rc;
    void *resources = rows->resources;
    if (!rows_grow(&rows->pool, &resources, rows->resource_count, &rows->resource_cap,
                   sizeof *rows->resources))
        return rows->pool.rc;
    rows->resources = resources;
    fm_buf_reset(&rows->identity);
    fm_buf_puts(&rows->identity, "r");
    fm_buf_put(&rows->identity, &dropped, sizeof dropped);
    rows_identify(rows, &list);
    rc = rows_content(rows, rows->resource_count, ret_number);
    if (rc < 0)
        return rc;
    if (*ret_number == rows->resource_count)
        rows->resources[rows->resource_count++] =
            (struct rows_resource){.list = list, .service = rows_service(rows, &list)};
    else
        rows->code_count = codes;
    return FM_OK;
}

static int rows_add_scope(struct frame_rows *rows, struct fm_slice message, uint32_t *ret_number)
{
    struct rows_field field = {0};
    struct fm_slice name = FM_SLICE(""), version = FM_SLICE("");
    struct rows_scope scope;
    uint32_t dropped = 0, codes = rows->code_count;
    int rc;
    rows_begin_list(rows);
    while ((rc = rows_walk(&message, &field)) == FM_OK) {
        if (field.tag == SCOPE_NAME)
            name = field.bytes;
        else if (field.tag == SCOPE_VERSION)
            version = field.bytes;
        else if (field.tag == SCOPE_ATTRIBUTES)
            rc = rows_add_attribute(rows, field.bytes);
        else if (field.tag == SCOPE_DROPPED)
            dropped = (uint32_t)field.value;
        if (rc < 0)
            return rc;
    }
    rc = rc < 0 ? rc : rows_end_list(rows, FRAME_SCOPE, &scope.list);
    if (rc < 0)
        return rc;
    scope.name = rows_string(rows, name);
    scope.version = rows_string(rows, version);
    void *scopes = rows->scopes;
    if (!scope.name || !scope.version ||
        !rows_grow(&rows->pool, &scopes, rows->scope_count, &rows->scope_cap, sizeof *rows->scopes))
        return rows->pool.rc;
    rows->scopes = scopes;
    uint32_t head[] = {scope.name, scope.version, dropped};
    fm_buf_reset(&rows->identity);
    fm_buf_puts(&rows->identity, "s");
    fm_buf_put(&rows->identity, head, sizeof head);
    rows_identify(rows, &scope.list);
    rc = rows_content(rows, rows->scope_count, ret_number);
    if (rc < 0)
        return rc;
    if (*ret_number == rows->scope_count)
        rows->scopes[rows->scope_count++] = scope;
    else
        rows->code_count = codes;
    return FM_OK;
}

/* The group of the resource and scope at hand, when the first of its spans is taken. */
static int rows_enter_group(struct rows_add *add)
{
    struct frame_rows *rows = add->rows;
    uint32_t numbers[2];
    int rc = FM_OK;
    if (add->resource_number == UINT32_MAX)
        rc = rows_add_resource(rows, add->resource, &add->resource_number);
    if (rc == FM_OK)
        rc = rows_add_scope(rows, add->scope, &numbers[1]);
    if (rc < 0)
        return rc;
    numbers[0] = add->resource_number;
    add->group = rows_table_bytes(&rows->groups, fm_slice(numbers, sizeof numbers));
    return add->group ? FM_OK : rows->pool.rc;
}

/* The code of an id's text; of a trace without leading zeros. */
static uint32_t rows_id_text(struct frame_rows *rows, struct fm_slice id, bool of_trace)
{
    fm_buf_reset(&rows->text);
    uint8_t *room = fm_buf_room(&rows->text, id.len * 2 + 1);
    if (!room) {
        rows->pool.rc = FM_ENOMEM;
        return 0;
    }
    fm_hex_encode((char *)room, id);
    size_t zeros = 0, len = id.len * 2;
    while (of_trace && zeros < len && room[zeros] == '0')
        zeros++;
    return rows_table_bytes(&rows->values, fm_slice(room + zeros, len - zeros));
}

static int rows_add_event(struct frame_rows *rows, const struct rows_span *span,
                          struct fm_slice message)
{
    struct rows_field field = {0};
    struct fm_slice name = FM_SLICE("");
    struct rows_event event;
    uint64_t time_ns = 0;
    int rc;
    rows_begin_list(rows);
    while ((rc = rows_walk(&message, &field)) == FM_OK) {
        if (field.tag == EVENT_TIME)
            time_ns = field.value;
        else if (field.tag == EVENT_NAME)
            name = field.bytes;
        else if (field.tag == EVENT_ATTRIBUTES)
            rc = rows_add_attribute(rows, field.bytes);
        if (rc < 0)
            return rc;
    }
    rc = rc < 0 ? rc : rows_end_list(rows, FRAME_EVENT, &event.list);
    if (rc < 0)
        return rc;
    event.since_start_ns = time_ns > span->start_ns ? time_ns - span->start_ns : 0;
    event.name = rows_string(rows, name);
    void *events = rows->events;
    if (!event.name ||
        !rows_grow(&rows->pool, &events, rows->event_count, &rows->event_cap, sizeof event))
        return rows->pool.rc;
    rows->events = events;
    rows->events[rows->event_count++] = event;
    return FM_OK;
}

static int rows_add_link(struct frame_rows *rows, struct rows_span *span, struct fm_slice trace_id,
                         struct fm_slice message)
{
    struct rows_field field = {0};
    struct fm_slice trace = FM_SLICE(""), span_id = FM_SLICE("");
    struct rows_link link;
    int rc;
    rows_begin_list(rows);
    while ((rc = rows_walk(&message, &field)) == FM_OK) {
        if (field.tag == LINK_TRACE)
            trace = field.bytes;
        else if (field.tag == LINK_SPAN)
            span_id = field.bytes;
        else if (field.tag == LINK_ATTRIBUTES)
            rc = rows_add_attribute(rows, field.bytes);
        if (rc < 0)
            return rc;
    }
    rc = rc < 0 ? rc : rows_end_list(rows, FRAME_LINK, &link.list);
    if (rc < 0)
        return rc;
    link.trace = rows_id_text(rows, trace, true);
    link.span = rows_id_text(rows, span_id, false);
    void *links = rows->links;
    if (!link.trace || !link.span ||
        !rows_grow(&rows->pool, &links, rows->link_count, &rows->link_cap, sizeof link))
        return rows->pool.rc;
    rows->links = links;
    rows->links[rows->link_count++] = link;
    /* OpenTracing bridges mark a parent by a link instead of the parent id. */
    for (uint32_t i = 0; i < rows->pair_count; i++)
        if (rows->pairs[i].key == rows->ref_type_key &&
            rows->codes[link.list.codes + i] == rows->child_of && fm_slice_equal(trace, trace_id))
            span->has_parent_link = true;
    return FM_OK;
}

struct rows_span_fields { /* what a Span message says, but for its lists */
    struct fm_slice trace, id, parent, name, message;
    uint64_t end_ns;
    bool has_more; /* events or links */
};

static int rows_read_status(struct rows_span *span, struct rows_span_fields *fields,
                            struct fm_slice status)
{
    struct rows_field field = {0};
    int rc;
    while ((rc = rows_walk(&status, &field)) == FM_OK) {
        if (field.tag == STATUS_MESSAGE)
            fields->message = field.bytes;
        else if (field.tag == STATUS_CODE)
            span->status = (int32_t)field.value;
    }
    return rc < 0 ? rc : FM_OK;
}

static int rows_read_span(struct frame_rows *rows, struct fm_slice bytes, struct rows_span *span,
                          struct rows_span_fields *fields)
{
    struct rows_field field = {0};
    int rc;
    while ((rc = rows_walk(&bytes, &field)) == FM_OK) {
        switch (field.tag) {
        case SPAN_TRACE:
            fields->trace = field.bytes;
            break;
        case SPAN_ID:
            fields->id = field.bytes;
            break;
        case SPAN_PARENT:
            fields->parent = field.bytes;
            break;
        case SPAN_NAME:
            fields->name = field.bytes;
            break;
        case SPAN_KIND:
            span->kind = (int32_t)field.value;
            break;
        case SPAN_START:
            span->start_ns = field.value;
            break;
        case SPAN_END:
            fields->end_ns = field.value;
            break;
        case SPAN_ATTRIBUTES:
            rc = rows_add_attribute(rows, field.bytes);
            break;
        case SPAN_EVENTS:
        case SPAN_LINKS:
            fields->has_more = true;
            break;
        case SPAN_STATUS:
            rc = rows_read_status(span, fields, field.bytes);
            break;
        default:
            break;
        }
        if (FM_UNLIKELY(rc < 0))
            return rc;
    }
    if (rc < 0)
        return rc;
    bool ids_fit = fields->trace.len == 16 && fields->id.len == 8 &&
                   (fields->parent.len == 0 || fields->parent.len == 8);
    if (!ids_fit)
        return FM_EMALFORMED;
    memcpy(&span->id, fields->id.ptr, 8);
    if (fields->parent.len)
        memcpy(&span->parent, fields->parent.ptr, 8);
    span->duration_ns = fields->end_ns > span->start_ns ? fields->end_ns - span->start_ns : 0;
    return FM_OK;
}

static int rows_add_more(struct frame_rows *rows, struct fm_slice bytes, struct rows_span *span,
                         struct fm_slice trace_id)
{
    struct rows_field field = {0};
    int rc;
    while ((rc = rows_walk(&bytes, &field)) == FM_OK) {
        if (field.tag == SPAN_EVENTS)
            rc = rows_add_event(rows, span, field.bytes);
        else if (field.tag == SPAN_LINKS)
            rc = rows_add_link(rows, span, trace_id, field.bytes);
        if (rc < 0)
            return rc;
    }
    span->event_count = rows->event_count - span->events;
    span->link_count = rows->link_count - span->links;
    return rc < 0 ? rc : FM_OK;
}

/* FM_NONE: the span's trace is not wanted. */
static int rows_take(struct rows_add *add, struct fm_slice bytes)
{
    struct rows_field field = {0};
    struct fm_slice id = {0};
    int rc;
    /* Nearly always the first field; of several the last counts, but this is no place to be
     * surprised: what is read later is held against it. */
    while ((rc = rows_walk(&bytes, &field)) == FM_OK && field.tag != SPAN_TRACE)
        continue;
    if (rc < 0)
        return rc;
    id = field.bytes;
    if (rc == FM_END || id.len != sizeof add->last.bytes)
        return FM_EMALFORMED;
    if (add->has_last && memcmp(add->last.bytes, id.ptr, id.len) == 0)
        return add->last_taken ? FM_OK : FM_NONE;
    memcpy(add->last.bytes, id.ptr, id.len);
    add->has_last = true;
    add->last_trace = 0;
    add->last_taken = !add->only || add->only(add->self, &add->last);
    return add->last_taken ? FM_OK : FM_NONE;
}

static int rows_add_span(struct rows_add *add, struct fm_slice bytes)
{
    struct frame_rows *rows = add->rows;
    struct rows_span span = {.events = rows->event_count, .links = rows->link_count};
    struct rows_span_fields fields = {.name = FM_SLICE(""), .message = FM_SLICE("")};
    int rc = rows_take(add, bytes);
    if (rc == FM_NONE)
        return FM_OK;
    if (rc == FM_OK && !add->group)
        rc = rows_enter_group(add);
    if (rc < 0)
        return rc;
    rows_begin_list(rows);
    rc = rows_read_span(rows, bytes, &span, &fields);
    if (rc == FM_OK && memcmp(fields.trace.ptr, add->last.bytes, sizeof add->last.bytes) != 0)
        rc = FM_EMALFORMED;
    if (rc == FM_OK)
        rc = rows_end_list(rows, FRAME_SPAN, &span.list);
    if (rc == FM_OK && fields.has_more)
        rc = rows_add_more(rows, bytes, &span, fields.trace);
    if (rc < 0)
        return rc;
    if (!add->last_trace)
        add->last_trace = rows_table_bytes(&rows->trace_ids, fields.trace);
    span.trace = add->last_trace;
    span.group = add->group;
    span.name = rows_string(rows, fields.name);
    span.message = fields.message.len ? rows_string(rows, fields.message) : rows->empty;
    void *spans = rows->spans;
    if (!span.trace || !span.name || !span.message ||
        !rows_grow(&rows->pool, &spans, rows->span_count, &rows->span_cap, sizeof span))
        return rows->pool.rc;
    rows->spans = spans;
    rows->spans[rows->span_count++] = span;
    return FM_OK;
}

/* The last message of a tag; canonical: there is at most one. */
static int rows_find(struct fm_slice bytes, uint32_t tag, struct fm_slice *ret_message)
{
    struct rows_field field = {0};
    struct fm_slice message = FM_SLICE("");
    int rc;
    while ((rc = rows_walk(&bytes, &field)) == FM_OK)
        if (field.tag == tag) {
            message = field.bytes;
            rc = FM_END;
            break;
        }
    if (rc < 0)
        return rc;
    *ret_message = message;
    return FM_OK;
}

static int rows_add_scope_spans(struct rows_add *add, struct fm_slice scope_spans)
{
    struct rows_field field = {0};
    int rc = rows_find(scope_spans, SCOPE_SPANS_SCOPE, &add->scope);
    add->group = 0;
    while (rc == FM_OK && (rc = rows_walk(&scope_spans, &field)) == FM_OK)
        if (field.tag == SCOPE_SPANS_SPANS)
            rc = rows_add_span(add, field.bytes);
    return rc < 0 ? rc : FM_OK;
}

static int rows_add_resource_spans(struct rows_add *add, struct fm_slice resource_spans)
{
    struct rows_field field = {0};
    int rc = rows_find(resource_spans, RESOURCE_SPANS_RESOURCE, &add->resource);
    add->resource_number = UINT32_MAX;
    while (rc == FM_OK && (rc = rows_walk(&resource_spans, &field)) == FM_OK)
        if (field.tag == RESOURCE_SPANS_SCOPES)
            rc = rows_add_scope_spans(add, field.bytes);
    return rc < 0 ? rc : FM_OK;
}

int frame_rows_add(struct frame_rows *rows, struct fm_slice otlp,
                   bool (*only)(void *self, const struct trace_id *id), void *self,
                   struct fm_why *why)
{
    struct rows_add add = {.rows = rows, .only = only, .self = self};
    uint32_t spans = rows->span_count, events = rows->event_count, links = rows->link_count;
    struct fm_slice rest = otlp;
    struct rows_field field = {0};
    int rc = FM_OK;
    FM_ASSERT(!rows->finished);
    rows->pool.rc = FM_OK;
    while (rc == FM_OK && (rc = rows_walk(&rest, &field)) == FM_OK)
        if (field.tag == REQUEST_RESOURCE_SPANS)
            rc = rows_add_resource_spans(&add, field.bytes);
    if (rc == FM_END)
        return FM_OK;
    /* Codes stay: resources and scopes that were new keep theirs. */
    rows->span_count = spans;
    rows->event_count = events;
    rows->link_count = links;
    if (rc == FM_EMALFORMED)
        return fm_fail(why, rc, "spans are not canonical OTLP, near byte %zu", otlp.len - rest.len);
    if (rc == FM_ELIMIT)
        return fm_fail(why, rc, "the query's %zu bytes for spans are full", rows->pool.bytes_max);
    return fm_fail(why, rc, "%s", fm_rc_text(rc));
}
