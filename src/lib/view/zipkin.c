/* SPDX-License-Identifier: Apache-2.0 */
/* A trace as Zipkin's JSON, version 2: the way back from what decode/zipkin_span.c does.  Names
 * keep their letters' case.  docs/formats/ui.md has the table. */
#include "walk.h"

#include <inttypes.h>
#include <stdio.h>

#include "fermata/units.h"
#include "remote.h"

struct zipkin_view {
    struct json_writer *writer;
    struct fm_buf scratch;   /* a value as text */
    struct fm_buf service;   /* service.name that is no text */
    uint64_t attribute_bits; /* a few keys of the span, so that most look-ups end at once */
    bool has_tags;           /* "tags" is open */
};

static uint64_t key_bit(struct fm_slice key)
{
    uint32_t sum = (uint32_t)key.len * 7u;
    if (key.len)
        sum += key.ptr[key.len - 1] * 3u + key.ptr[key.len / 2];
    return UINT64_C(1) << (sum & 63);
}

static uint64_t attribute_bits(const struct view_span *span)
{
    struct fm_slice rest = span->content;
    struct view_attribute attribute;
    uint64_t bits = 0;

    while (view_attribute_next(&rest, VIEW_SPAN_ATTRIBUTES, &attribute))
        bits |= key_bit(attribute.key);
    return bits;
}

static bool span_has(const struct zipkin_view *view, const struct view_span *span,
                     struct fm_slice key)
{
    struct fm_slice rest = span->content;
    struct view_attribute attribute;

    if (!(view->attribute_bits & key_bit(key)))
        return false;
    while (view_attribute_next(&rest, VIEW_SPAN_ATTRIBUTES, &attribute)) {
        if (fm_slice_equal(attribute.key, key))
            return true;
    }
    return false;
}

/* ---- endpoints ---- */

static bool is_ipv6(struct fm_slice ip)
{
    return ip.len && memchr(ip.ptr, ':', ip.len);
}

static void endpoint_put(struct zipkin_view *view, const char *key,
                         const struct view_endpoint *endpoint)
{
    struct json_writer *writer = view->writer;

    if (!endpoint->service.len && !endpoint->ip.len && !endpoint->port)
        return;
    json_key(writer, key);
    json_object_begin(writer);
    if (endpoint->service.len) {
        json_key(writer, "serviceName");
        json_string(writer, endpoint->service);
    }
    if (endpoint->ip.len) {
        json_key(writer, is_ipv6(endpoint->ip) ? "ipv6" : "ipv4");
        json_string(writer, endpoint->ip);
    }
    if (endpoint->port) {
        json_key(writer, "port");
        json_uint(writer, endpoint->port);
    }
    json_object_end(writer);
}

/* ---- annotations ---- */

/* "name": {"key":value,...}, as the specification of OpenTelemetry has it. */
static void event_put_value(struct zipkin_view *view, const struct view_event *event)
{
    struct json_writer writer;

    if (!event->has_attributes && !event->dropped) {
        json_string(view->writer, event->name);
        return;
    }
    fm_buf_reset(&view->scratch);
    json_writer_init(&writer, &view->scratch);
    json_string(&writer, event->name);
    fm_buf_puts(&view->scratch, ": ");
    json_writer_init(&writer, &view->scratch);
    view_attributes_put_json(event->content, VIEW_EVENT_ATTRIBUTES, event->dropped, &writer);
    json_string(view->writer, fm_buf_slice(&view->scratch));
    if (view->scratch.failed)
        view->writer->buf->failed = true;
}

static void annotations_put(struct zipkin_view *view, const struct view_span *span)
{
    struct json_writer *writer = view->writer;
    struct fm_slice rest = span->content;
    struct view_event event;
    bool is_open = false;

    while (view_event_next(&rest, &event)) {
        if (!is_open) {
            json_key(writer, "annotations");
            json_array_begin(writer);
            is_open = true;
        }
        json_object_begin(writer);
        json_key(writer, "timestamp");
        json_uint(writer, event.time_ns / FM_NS_PER_US);
        json_key(writer, "value");
        event_put_value(view, &event);
        json_object_end(writer);
    }
    if (is_open)
        json_array_end(writer);
}

/* ---- tags ---- */

static void tag_begin(struct zipkin_view *view, struct fm_slice key)
{
    if (!view->has_tags) {
        json_key(view->writer, "tags");
        json_object_begin(view->writer);
        view->has_tags = true;
    }
    view_put_key(view->writer, key);
}

/* One that is not an attribute of the span already. */
static void tag_put_text(struct zipkin_view *view, const struct view_span *span, const char *key,
                         struct fm_slice text)
{
    struct fm_slice name = fm_slice_text(key);

    if (span_has(view, span, name))
        return;
    tag_begin(view, name);
    json_string(view->writer, text);
}

static void tag_put_some(struct zipkin_view *view, const struct view_span *span, const char *key,
                         struct fm_slice text)
{
    if (text.len)
        tag_put_text(view, span, key, text);
}

static void tag_put_count(struct zipkin_view *view, const struct view_span *span, const char *key,
                          uint32_t count)
{
    char text[16];

    (void)snprintf(text, sizeof text, "%" PRIu32, count);
    if (count)
        tag_put_text(view, span, key, fm_slice_text(text));
}

static void tags_put_resource(struct zipkin_view *view, const struct view_cursor *cursor)
{
    struct fm_slice rest = cursor->resource;
    struct view_attribute attribute;

    while (view_attribute_next(&rest, VIEW_RESOURCE_ATTRIBUTES, &attribute)) {
        if (fm_slice_equal_text(attribute.key, "service.name") ||
            span_has(view, &cursor->span, attribute.key))
            continue;
        tag_begin(view, attribute.key);
        view_put_text_value(view->writer, &attribute.value, &view->scratch);
    }
}

/* An attribute that is said by another member. */
static bool attribute_is_said(const struct view_attribute *attribute)
{
    static const char *const flags[] = {"zipkin.shared", "otel.zipkin.absentField.startTime"};

    for (size_t i = 0; i < FM_COUNT(flags); i++) {
        if (attribute->value.type == VIEW_BOOL && attribute->value.integer &&
            fm_slice_equal_text(attribute->key, flags[i]))
            return true;
    }
    return view_endpoint_says(attribute);
}

static void tags_put_attributes(struct zipkin_view *view, const struct view_span *span)
{
    struct fm_slice rest = span->content;
    struct view_attribute attribute;

    while (view_attribute_next(&rest, VIEW_SPAN_ATTRIBUTES, &attribute)) {
        if (attribute_is_said(&attribute))
            continue;
        tag_begin(view, attribute.key);
        view_put_text_value(view->writer, &attribute.value, &view->scratch);
    }
}

/* traceid|spanid|tracestate|{attributes}|dropped, as the Collector writes them. */
static void tags_put_links(struct zipkin_view *view, const struct view_span *span)
{
    struct fm_slice rest = span->content;
    struct view_link link;
    struct json_writer writer;
    char key[32], ids[16 * 2 + 1 + 8 * 2 + 1];

    for (uint32_t i = 0; view_link_next(&rest, &link); i++) {
        if (link.trace_id.len != 16 || link.span_id.len != 8)
            continue;
        fm_hex_encode(ids, link.trace_id);
        ids[32] = '|';
        fm_hex_encode(ids + 33, link.span_id);
        ids[49] = '|';
        fm_buf_reset(&view->scratch);
        fm_buf_put(&view->scratch, ids, sizeof ids);
        fm_buf_put_slice(&view->scratch, link.trace_state);
        fm_buf_put_u8(&view->scratch, '|');
        json_writer_init(&writer, &view->scratch);
        view_attributes_put_json(link.content, VIEW_LINK_ATTRIBUTES, 0, &writer);
        fm_buf_printf(&view->scratch, "|%" PRIu32, link.dropped);
        (void)snprintf(key, sizeof key, "otlp.link.%" PRIu32, i);
        tag_put_text(view, span, key, fm_buf_slice(&view->scratch));
    }
}

/* What a reporter of Zipkin says by the tag "error" alone is left like that. */
static void tags_put_status(struct zipkin_view *view, const struct view_span *span)
{
    if (span->status == VIEW_STATUS_ERROR) {
        if (span_has(view, span, FM_SLICE("error")))
            return;
        tag_put_text(view, span, "otel.status_code", FM_SLICE("ERROR"));
        tag_put_text(view, span, "error", span->message);
    } else if (span->status == VIEW_STATUS_OK) {
        tag_put_text(view, span, "otel.status_code", FM_SLICE("OK"));
        tag_put_some(view, span, "otel.status_description", span->message);
    }
}

static void tags_put(struct zipkin_view *view, const struct view_cursor *cursor)
{
    const struct view_span *span = &cursor->span;

    view->has_tags = false;
    tags_put_resource(view, cursor);
    tags_put_attributes(view, span);
    if (span->kind == VIEW_KIND_INTERNAL)
        tag_put_text(view, span, "span.kind", FM_SLICE("internal"));
    tags_put_status(view, span);
    tag_put_some(view, span, "otel.scope.name", view_child(cursor->scope, 1));
    tag_put_some(view, span, "otel.scope.version", view_child(cursor->scope, 2));
    tag_put_some(view, span, "w3c.tracestate", span->trace_state);
    tags_put_links(view, span);
    tag_put_count(view, span, VIEW_DROPPED_ATTRIBUTES, span->dropped_attributes);
    tag_put_count(view, span, VIEW_DROPPED_EVENTS, span->dropped_events);
    tag_put_count(view, span, VIEW_DROPPED_LINKS, span->dropped_links);
    if (view->has_tags)
        json_object_end(view->writer);
}

/* ---- spans ---- */

static bool span_is_flagged(const struct zipkin_view *view, const struct view_span *span,
                            const char *key)
{
    struct view_value value;

    return (view->attribute_bits & key_bit(fm_slice_text(key))) &&
           view_attribute_find(span->content, VIEW_SPAN_ATTRIBUTES, key, &value) &&
           value.type == VIEW_BOOL && value.integer;
}

static void span_put_ids(struct json_writer *writer, const struct view_span *span)
{
    json_key(writer, "traceId");
    json_hex(writer, span->trace_id);
    if (span->parent_id.len) {
        json_key(writer, "parentId");
        json_hex(writer, span->parent_id);
    }
    json_key(writer, "id");
    json_hex(writer, span->span_id);
}

/* A duration is one at least, unless there is none. */
static void span_put_times(const struct zipkin_view *view, const struct view_span *span)
{
    struct json_writer *writer = view->writer;
    uint64_t duration_ns = span->end_ns - span->start_ns;

    if (span->start_ns && !span_is_flagged(view, span, "otel.zipkin.absentField.startTime")) {
        json_key(writer, "timestamp");
        json_uint(writer, span->start_ns / FM_NS_PER_US);
    }
    if (duration_ns) {
        json_key(writer, "duration");
        json_uint(writer, FM_MAX(duration_ns / FM_NS_PER_US, 1));
    }
}

static void span_put(struct zipkin_view *view, const struct view_cursor *cursor)
{
    static const char *const kinds[] = {NULL, NULL, "SERVER", "CLIENT", "PRODUCER", "CONSUMER"};
    const struct view_span *span = &cursor->span;
    struct json_writer *writer = view->writer;
    struct view_endpoint local, remote;

    view->attribute_bits = attribute_bits(span);
    view_endpoints_find(cursor, &view->service, &local, &remote);
    json_object_begin(writer);
    span_put_ids(writer, span);
    if (span->kind < FM_COUNT(kinds) && kinds[span->kind]) {
        json_key(writer, "kind");
        json_text(writer, kinds[span->kind]);
    }
    if (span->name.len) {
        json_key(writer, "name");
        json_string(writer, span->name);
    }
    span_put_times(view, span);
    endpoint_put(view, "localEndpoint", &local);
    endpoint_put(view, "remoteEndpoint", &remote);
    annotations_put(view, span);
    tags_put(view, cursor);
    if (span_is_flagged(view, span, "zipkin.shared")) {
        json_key(writer, "shared");
        json_bool(writer, true);
    }
    json_object_end(writer);
}

void view_zipkin(struct fm_slice otlp, struct json_writer *writer)
{
    struct zipkin_view view = {.writer = writer};
    struct view_cursor cursor;

    fm_buf_init(&view.scratch, SIZE_MAX);
    fm_buf_init(&view.service, SIZE_MAX);
    view_cursor_init(&cursor, otlp);
    json_array_begin(writer);
    while (view_cursor_next(&cursor))
        span_put(&view, &cursor);
    json_array_end(writer);
    fm_buf_fini(&view.scratch);
    fm_buf_fini(&view.service);
}
