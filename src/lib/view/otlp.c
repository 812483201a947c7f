/* SPDX-License-Identifier: Apache-2.0 */
/* A trace as OTLP/JSON in the form of Jaeger's api_v3, which is the Collector's: ids in hex, enums
 * as numbers, 64-bit integers as text, members of zero value left out.  An attribute without a
 * value gets an empty text, because the UI refuses a trace in which a value has no member. */
#include "walk.h"

static void text_put(struct json_writer *writer, const char *key, struct fm_slice text)
{
    if (!text.len)
        return;
    json_key(writer, key);
    json_string(writer, text);
}

static void id_put(struct json_writer *writer, const char *key, struct fm_slice id)
{
    if (!id.len)
        return;
    json_key(writer, key);
    json_hex(writer, id);
}

static void count_put(struct json_writer *writer, const char *key, uint32_t count)
{
    if (!count)
        return;
    json_key(writer, key);
    json_uint(writer, count);
}

static void time_put(struct json_writer *writer, const char *key, uint64_t ns)
{
    if (!ns)
        return;
    json_key(writer, key);
    json_uint_text(writer, ns);
}

/* ---- values ---- */

static void attributes_put(struct json_writer *writer, struct fm_slice message, uint32_t number,
                           const char *key, unsigned depth);

static void any_put(struct json_writer *writer, const struct view_value *value, unsigned depth);

static void array_put(struct json_writer *writer, struct fm_slice array, unsigned depth)
{
    struct view_value value;
    struct fm_slice rest = array;
    bool is_open = false;

    json_object_begin(writer);
    while (depth < VIEW_DEPTH_MAX && view_value_next(&rest, &value)) {
        if (!is_open) {
            json_key(writer, "values");
            json_array_begin(writer);
            is_open = true;
        }
        any_put(writer, &value, depth + 1);
    }
    if (is_open)
        json_array_end(writer);
    json_object_end(writer);
}

static void any_put(struct json_writer *writer, const struct view_value *value, unsigned depth)
{
    static const char *const keys[] = {"stringValue", "stringValue", "boolValue",   "intValue",
                                       "doubleValue", "arrayValue",  "kvlistValue", "bytesValue"};

    json_object_begin(writer);
    json_key(writer, keys[value->type]);
    switch (value->type) {
    case VIEW_NONE:
    case VIEW_STRING:
        json_string(writer, value->bytes);
        break;
    case VIEW_BOOL:
        json_bool(writer, value->integer != 0);
        break;
    case VIEW_INT:
        json_int_text(writer, value->integer);
        break;
    case VIEW_DOUBLE:
        json_number(writer, value->number);
        break;
    case VIEW_ARRAY:
        array_put(writer, value->bytes, depth);
        break;
    case VIEW_MAP:
        json_object_begin(writer);
        if (depth < VIEW_DEPTH_MAX)
            attributes_put(writer, value->bytes, 1, "values", depth + 1);
        json_object_end(writer);
        break;
    case VIEW_BYTES:
        json_base64(writer, value->bytes);
        break;
    }
    json_object_end(writer);
}

static void attributes_put(struct json_writer *writer, struct fm_slice message, uint32_t number,
                           const char *key, unsigned depth)
{
    struct view_attribute attribute;
    bool is_open = false;

    while (view_attribute_next(&message, number, &attribute)) {
        if (!is_open) {
            json_key(writer, key);
            json_array_begin(writer);
            is_open = true;
        }
        json_object_begin(writer);
        json_key(writer, "key");
        json_string(writer, attribute.key);
        json_key(writer, "value");
        any_put(writer, &attribute.value, depth);
        json_object_end(writer);
    }
    if (is_open)
        json_array_end(writer);
}

/* ---- spans ---- */

static void events_put(struct json_writer *writer, const struct view_span *span)
{
    struct fm_slice rest = span->content;
    struct view_event event;
    bool is_open = false;

    while (view_event_next(&rest, &event)) {
        if (!is_open) {
            json_key(writer, "events");
            json_array_begin(writer);
            is_open = true;
        }
        json_object_begin(writer);
        time_put(writer, "timeUnixNano", event.time_ns);
        text_put(writer, "name", event.name);
        attributes_put(writer, event.content, VIEW_EVENT_ATTRIBUTES, "attributes", 0);
        count_put(writer, "droppedAttributesCount", event.dropped);
        json_object_end(writer);
    }
    if (is_open)
        json_array_end(writer);
}

static void links_put(struct json_writer *writer, const struct view_span *span)
{
    struct fm_slice rest = span->content;
    struct view_link link;
    bool is_open = false;

    while (view_link_next(&rest, &link)) {
        if (!is_open) {
            json_key(writer, "links");
            json_array_begin(writer);
            is_open = true;
        }
        json_object_begin(writer);
        id_put(writer, "traceId", link.trace_id);
        id_put(writer, "spanId", link.span_id);
        text_put(writer, "traceState", link.trace_state);
        attributes_put(writer, link.content, VIEW_LINK_ATTRIBUTES, "attributes", 0);
        count_put(writer, "droppedAttributesCount", link.dropped);
        count_put(writer, "flags", link.flags);
        json_object_end(writer);
    }
    if (is_open)
        json_array_end(writer);
}

static void span_put(struct json_writer *writer, const struct view_span *span)
{
    json_object_begin(writer);
    id_put(writer, "traceId", span->trace_id);
    id_put(writer, "spanId", span->span_id);
    text_put(writer, "traceState", span->trace_state);
    id_put(writer, "parentSpanId", span->parent_id);
    count_put(writer, "flags", span->flags);
    text_put(writer, "name", span->name);
    count_put(writer, "kind", span->kind);
    time_put(writer, "startTimeUnixNano", span->start_ns);
    time_put(writer, "endTimeUnixNano", span->end_ns);
    attributes_put(writer, span->content, VIEW_SPAN_ATTRIBUTES, "attributes", 0);
    count_put(writer, "droppedAttributesCount", span->dropped_attributes);
    events_put(writer, span);
    count_put(writer, "droppedEventsCount", span->dropped_events);
    links_put(writer, span);
    count_put(writer, "droppedLinksCount", span->dropped_links);
    json_key(writer, "status");
    json_object_begin(writer);
    text_put(writer, "message", span->message);
    count_put(writer, "code", span->status);
    json_object_end(writer);
    json_object_end(writer);
}

static void resource_put(struct json_writer *writer, struct fm_slice resource)
{
    json_key(writer, "resource");
    json_object_begin(writer);
    attributes_put(writer, resource, VIEW_RESOURCE_ATTRIBUTES, "attributes", 0);
    count_put(writer, "droppedAttributesCount", view_number(resource, 2));
    json_object_end(writer);
}

static void scope_put(struct json_writer *writer, struct fm_slice scope)
{
    json_key(writer, "scope");
    json_object_begin(writer);
    text_put(writer, "name", view_child(scope, 1));
    text_put(writer, "version", view_child(scope, 2));
    attributes_put(writer, scope, VIEW_SCOPE_ATTRIBUTES, "attributes", 0);
    count_put(writer, "droppedAttributesCount", view_number(scope, 4));
    json_object_end(writer);
}

/* The cursor's span and those that follow it in its scope; false: there is none after them. */
static bool scope_spans_put(struct json_writer *writer, struct view_cursor *cursor)
{
    uint32_t scope_index = cursor->scope_index;
    bool has_span = true;

    json_object_begin(writer);
    scope_put(writer, cursor->scope);
    struct fm_slice schema_url = cursor->scope_schema_url;
    json_key(writer, "spans");
    json_array_begin(writer);
    for (; has_span && cursor->scope_index == scope_index; has_span = view_cursor_next(cursor))
        span_put(writer, &cursor->span);
    json_array_end(writer);
    text_put(writer, "schemaUrl", schema_url);
    json_object_end(writer);
    return has_span;
}

void view_otlp(struct fm_slice otlp, struct json_writer *writer)
{
    struct view_cursor cursor;

    view_cursor_init(&cursor, otlp);
    for (bool has_span = view_cursor_next(&cursor); has_span;) {
        uint32_t resource_index = cursor.resource_index;
        struct fm_slice schema_url = cursor.resource_schema_url;
        json_object_begin(writer);
        resource_put(writer, cursor.resource);
        json_key(writer, "scopeSpans");
        json_array_begin(writer);
        while (has_span && cursor.resource_index == resource_index)
            has_span = scope_spans_put(writer, &cursor);
        json_array_end(writer);
        text_put(writer, "schemaUrl", schema_url);
        json_object_end(writer);
    }
}
