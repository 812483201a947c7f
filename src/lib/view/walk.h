/* SPDX-License-Identifier: Apache-2.0 */
/* walk - OTLP read in place: spans in their order, attributes, values as text.  Private to view. */
#ifndef FERMATA_VIEW_WALK_H
#define FERMATA_VIEW_WALK_H

#include "fermata/pb.h"
#include "fermata/view.h"

#define VIEW_DEPTH_MAX 32 /* of values in values; deeper ones are left out */

/* Field numbers of OTLP that appear more than once here. */
enum {
    VIEW_RESOURCE_ATTRIBUTES = 1,
    VIEW_SPAN_ATTRIBUTES = 9,
    VIEW_SPAN_EVENTS = 11,
    VIEW_SPAN_LINKS = 13,
    VIEW_EVENT_ATTRIBUTES = 3,
    VIEW_LINK_ATTRIBUTES = 4,
    VIEW_SCOPE_ATTRIBUTES = 3,
};
enum { /* of spans, by OTLP's numbers */
       VIEW_KIND_INTERNAL = 1,
       VIEW_KIND_SERVER,
       VIEW_KIND_CLIENT,
       VIEW_KIND_PRODUCER,
       VIEW_KIND_CONSUMER,
};
enum { VIEW_STATUS_UNSET, VIEW_STATUS_OK, VIEW_STATUS_ERROR };

enum view_type { /* by the field numbers of AnyValue */
                 VIEW_NONE,
                 VIEW_STRING,
                 VIEW_BOOL,
                 VIEW_INT,
                 VIEW_DOUBLE,
                 VIEW_ARRAY,
                 VIEW_MAP,
                 VIEW_BYTES,
};
struct view_value {
    enum view_type type;
    struct fm_slice bytes; /* text, bytes, or the content of an array or a map */
    int64_t integer;       /* also of a bool */
    double number;
};
struct view_attribute {
    struct fm_slice key;
    struct view_value value;
};
struct view_event {
    uint64_t time_ns;
    struct fm_slice name, content;
    uint32_t dropped;
    bool has_attributes;
};
struct view_link {
    struct fm_slice trace_id, span_id, trace_state, content;
    uint32_t dropped, flags;
};
struct view_span {
    struct fm_slice trace_id, span_id, parent_id, trace_state, name, message, content;
    uint64_t start_ns, end_ns;
    uint32_t kind, status, flags;
    uint32_t dropped_attributes, dropped_events, dropped_links;
};

/* The next embedded message of that number. */
bool view_next(struct fm_slice *rest, uint32_t number, struct fm_slice *ret_message);
/* The first one, or empty. */
struct fm_slice view_child(struct fm_slice message, uint32_t number);
/* The last number of that field, or 0. */
uint32_t view_number(struct fm_slice message, uint32_t number);
/* The next value of an ArrayValue. */
bool view_value_next(struct fm_slice *rest, struct view_value *ret_value);
bool view_attribute_next(struct fm_slice *rest, uint32_t number, struct view_attribute *ret);
/* The value of a key among the attributes of that number. */
bool view_attribute_find(struct fm_slice message, uint32_t number, const char *key,
                         struct view_value *ret_value);
bool view_event_next(struct fm_slice *rest, struct view_event *ret_event);
bool view_link_next(struct fm_slice *rest, struct view_link *ret_link);

/* Spans of a request, one after the other, with the resource and the scope that they are of. */
struct view_cursor {
    struct fm_slice request, resource_spans, scope_spans; /* what is left of each */
    struct fm_slice resource, scope;
    struct fm_slice resource_schema_url, scope_schema_url;
    uint32_t resource_index, scope_index; /* from 1 on, through the whole request */
    struct view_span span;
};
void view_cursor_init(struct view_cursor *cursor, struct fm_slice otlp);
bool view_cursor_next(struct view_cursor *cursor);
/* service.name as text, into text; empty: none. */
struct fm_slice view_service(struct fm_slice resource, struct fm_buf *text);

/* As text: what is not text, a number or a bool as JSON; bytes in base64. */
void view_value_put_text(const struct view_value *value, struct fm_buf *out);
void view_value_put_json(const struct view_value *value, struct json_writer *writer);
/* {"key":value,...} of the attributes of that number, and the dropped count if there is one. */
void view_attributes_put_json(struct fm_slice message, uint32_t number, uint32_t dropped,
                              struct json_writer *writer);

/* Keys that are no C strings, and values by way of scratch. */
void view_put_key(struct json_writer *writer, struct fm_slice key);
void view_put_text_value(struct json_writer *writer, const struct view_value *value,
                         struct fm_buf *scratch);

#define VIEW_DROPPED_ATTRIBUTES "otel.dropped_attributes_count"
#define VIEW_DROPPED_EVENTS     "otel.dropped_events_count"
#define VIEW_DROPPED_LINKS      "otel.dropped_links_count"

#endif
