/* SPDX-License-Identifier: Apache-2.0 */
/* A trace as Jaeger's classic JSON.  The way back from what decode/jaeger_span.c does, so that what
 * came from a Jaeger client is shown as that client sent it; docs/formats/ui.md has the table. */
#include "walk.h"

#include <inttypes.h>
#include <stdio.h>

#include "fermata/units.h"

#define JAEGER_SAFE_INTEGER ((INT64_C(1) << 53) - 1) /* greater ones are text, for JavaScript */
#define JAEGER_NO_SERVICE   "OTLPResourceNoServiceName"

struct jaeger_view {
    struct json_writer *writer;
    struct fm_buf scratch; /* a value as text */
};

/* ---- tags ---- */

static void tag_begin(struct json_writer *writer, struct fm_slice key, const char *type)
{
    json_object_begin(writer);
    json_key(writer, "key");
    json_string(writer, key);
    json_key(writer, "type");
    json_text(writer, type);
    json_key(writer, "value");
}

static void tag_put_text(struct jaeger_view *view, const char *key, struct fm_slice text)
{
    tag_begin(view->writer, fm_slice_text(key), "string");
    json_string(view->writer, text);
    json_object_end(view->writer);
}

static void tag_put_int(struct jaeger_view *view, struct fm_slice key, int64_t value)
{
    tag_begin(view->writer, key, "int64");
    if (value > JAEGER_SAFE_INTEGER || value < -JAEGER_SAFE_INTEGER)
        json_int_text(view->writer, value);
    else
        json_int(view->writer, value);
    json_object_end(view->writer);
}

static void tag_put(struct jaeger_view *view, const struct view_attribute *tag)
{
    struct json_writer *writer = view->writer;

    switch (tag->value.type) {
    case VIEW_INT:
        tag_put_int(view, tag->key, tag->value.integer);
        return;
    case VIEW_BOOL:
        tag_begin(writer, tag->key, "bool");
        json_bool(writer, tag->value.integer != 0);
        break;
    case VIEW_DOUBLE:
        tag_begin(writer, tag->key, "float64");
        json_number(writer, tag->value.number);
        break;
    case VIEW_BYTES:
        tag_begin(writer, tag->key, "binary");
        json_base64(writer, tag->value.bytes);
        break;
    case VIEW_NONE:
    case VIEW_STRING:
    case VIEW_ARRAY:
    case VIEW_MAP:
        tag_begin(writer, tag->key, "string");
        view_put_text_value(writer, &tag->value, &view->scratch);
        break;
    }
    json_object_end(writer);
}

static void tags_put(struct jaeger_view *view, struct fm_slice message, uint32_t number)
{
    struct view_attribute tag;

    while (view_attribute_next(&message, number, &tag))
        tag_put(view, &tag);
}

static void tag_put_count(struct jaeger_view *view, const char *key, uint32_t count)
{
    if (count)
        tag_put_int(view, fm_slice_text(key), count);
}

static void tag_put_some(struct jaeger_view *view, const char *key, struct fm_slice text)
{
    if (text.len)
        tag_put_text(view, key, text);
}

static void status_put(struct jaeger_view *view, const struct view_span *span)
{
    if (span->status == VIEW_STATUS_ERROR) {
        tag_begin(view->writer, FM_SLICE("error"), "bool");
        json_bool(view->writer, true);
        json_object_end(view->writer);
        tag_put_text(view, "otel.status_code", FM_SLICE("ERROR"));
    } else if (span->status == VIEW_STATUS_OK) {
        tag_put_text(view, "otel.status_code", FM_SLICE("OK"));
    }
    if (span->status != VIEW_STATUS_UNSET)
        tag_put_some(view, "otel.status_description", span->message);
}

static void span_put_tags(struct jaeger_view *view, const struct view_cursor *cursor)
{
    const struct view_span *span = &cursor->span;
    const char *kind = view_kind_text(span->kind);

    json_key(view->writer, "tags");
    json_array_begin(view->writer);
    tag_put_some(view, "otel.scope.name", view_child(cursor->scope, 1));
    tag_put_some(view, "otel.scope.version", view_child(cursor->scope, 2));
    tags_put(view, span->content, VIEW_SPAN_ATTRIBUTES);
    if (kind)
        tag_put_text(view, "span.kind", fm_slice_text(kind));
    status_put(view, span);
    tag_put_some(view, "w3c.tracestate", span->trace_state);
    tag_put_count(view, VIEW_DROPPED_ATTRIBUTES, span->dropped_attributes);
    tag_put_count(view, VIEW_DROPPED_EVENTS, span->dropped_events);
    tag_put_count(view, VIEW_DROPPED_LINKS, span->dropped_links);
    json_array_end(view->writer);
}

/* ---- references ---- */

static void reference_put(struct json_writer *writer, bool is_child, struct fm_slice trace_id,
                          struct fm_slice span_id)
{
    json_object_begin(writer);
    json_key(writer, "refType");
    json_text(writer, is_child ? "CHILD_OF" : "FOLLOWS_FROM");
    json_key(writer, "traceID");
    json_hex(writer, trace_id);
    json_key(writer, "spanID");
    json_hex(writer, span_id);
    json_object_end(writer);
}

static bool link_is_child(const struct view_link *link)
{
    struct view_value type;

    return view_attribute_find(link->content, VIEW_LINK_ATTRIBUTES, "opentracing.ref_type",
                               &type) &&
           type.type == VIEW_STRING && fm_slice_equal_text(type.bytes, "child_of");
}

/* A link to the parent says of which kind that reference was. */
static bool link_is_parent(const struct view_link *link, const struct view_span *span)
{
    return span->parent_id.len && fm_slice_equal(link->span_id, span->parent_id) &&
           fm_slice_equal(link->trace_id, span->trace_id);
}

static bool parent_is_child_of(const struct view_span *span)
{
    struct fm_slice rest = span->content;
    struct view_link link;

    while (view_link_next(&rest, &link)) {
        if (link_is_parent(&link, span))
            return link_is_child(&link);
    }
    return true;
}

static void span_put_references(struct json_writer *writer, const struct view_span *span)
{
    struct fm_slice rest = span->content;
    struct view_link link;

    json_key(writer, "references");
    json_array_begin(writer);
    if (span->parent_id.len)
        reference_put(writer, parent_is_child_of(span), span->trace_id, span->parent_id);
    while (view_link_next(&rest, &link)) {
        if (!link_is_parent(&link, span))
            reference_put(writer, link_is_child(&link), link.trace_id, link.span_id);
    }
    json_array_end(writer);
}

/* ---- logs ---- */

static void log_put(struct jaeger_view *view, const struct view_event *event)
{
    struct json_writer *writer = view->writer;
    struct view_value own;

    json_object_begin(writer);
    json_key(writer, "timestamp");
    json_uint(writer, event->time_ns / FM_NS_PER_US);
    json_key(writer, "fields");
    json_array_begin(writer);
    if (event->name.len &&
        !view_attribute_find(event->content, VIEW_EVENT_ATTRIBUTES, "event", &own))
        tag_put_text(view, "event", event->name);
    tags_put(view, event->content, VIEW_EVENT_ATTRIBUTES);
    tag_put_count(view, VIEW_DROPPED_ATTRIBUTES, event->dropped);
    json_array_end(writer);
    json_object_end(writer);
}

static void span_put_logs(struct jaeger_view *view, const struct view_span *span)
{
    struct fm_slice rest = span->content;
    struct view_event event;

    json_key(view->writer, "logs");
    json_array_begin(view->writer);
    while (view_event_next(&rest, &event))
        log_put(view, &event);
    json_array_end(view->writer);
}

/* ---- spans, processes ---- */

static void process_put_key(struct json_writer *writer, const char *key, uint32_t index,
                            bool is_key)
{
    char text[16];

    (void)snprintf(text, sizeof text, "p%" PRIu32, index);
    if (key)
        json_key(writer, key);
    if (is_key)
        json_key(writer, text);
    else
        json_text(writer, text);
}

static void span_put(struct jaeger_view *view, const struct view_cursor *cursor)
{
    struct json_writer *writer = view->writer;
    const struct view_span *span = &cursor->span;

    json_object_begin(writer);
    json_key(writer, "traceID");
    json_hex(writer, span->trace_id);
    json_key(writer, "spanID");
    json_hex(writer, span->span_id);
    if (span->flags & 0xff) {
        json_key(writer, "flags");
        json_uint(writer, span->flags & 0xff);
    }
    json_key(writer, "operationName");
    json_string(writer, span->name);
    span_put_references(writer, span);
    json_key(writer, "startTime");
    json_uint(writer, span->start_ns / FM_NS_PER_US);
    json_key(writer, "duration");
    json_uint(writer, (span->end_ns - span->start_ns) / FM_NS_PER_US);
    span_put_tags(view, cursor);
    span_put_logs(view, span);
    process_put_key(writer, "processID", cursor->resource_index, false);
    json_key(writer, "warnings");
    json_null(writer);
    json_object_end(writer);
}

static void process_put(struct jaeger_view *view, struct fm_slice resource)
{
    struct json_writer *writer = view->writer;
    struct fm_slice service = view_service(resource, &view->scratch);
    struct view_attribute tag;

    json_object_begin(writer);
    json_key(writer, "serviceName");
    json_string(writer, service.len ? service : FM_SLICE(JAEGER_NO_SERVICE));
    json_key(writer, "tags");
    json_array_begin(writer);
    while (view_attribute_next(&resource, VIEW_RESOURCE_ATTRIBUTES, &tag)) {
        if (!fm_slice_equal_text(tag.key, "service.name"))
            tag_put(view, &tag);
    }
    json_array_end(writer);
    json_object_end(writer);
}

static void processes_put(struct jaeger_view *view, struct fm_slice otlp)
{
    struct fm_slice resource_spans;
    uint32_t index = 0;

    json_key(view->writer, "processes");
    json_object_begin(view->writer);
    while (view_next(&otlp, 1, &resource_spans)) {
        process_put_key(view->writer, NULL, ++index, true);
        process_put(view, view_child(resource_spans, 1));
    }
    json_object_end(view->writer);
}

void view_jaeger(struct fm_slice otlp, struct json_writer *writer)
{
    struct jaeger_view view = {.writer = writer};
    struct view_cursor cursor;

    fm_buf_init(&view.scratch, SIZE_MAX);
    view_cursor_init(&cursor, otlp);
    bool has_span = view_cursor_next(&cursor);
    json_object_begin(writer);
    json_key(writer, "traceID");
    json_hex(writer, has_span ? cursor.span.trace_id : fm_slice(NULL, 0));
    json_key(writer, "spans");
    json_array_begin(writer);
    for (; has_span; has_span = view_cursor_next(&cursor))
        span_put(&view, &cursor);
    json_array_end(writer);
    processes_put(&view, otlp);
    json_key(writer, "warnings");
    json_null(writer);
    json_object_end(writer);
    fm_buf_fini(&view.scratch);
}
