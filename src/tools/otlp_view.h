/* SPDX-License-Identifier: Apache-2.0 */
/* otlp_view - canonical OTLP bytes as what a translation asks of them: read in place, nothing is
 * kept.  A failure to parse ends an iteration; the bytes are our own or were checked before. */
#ifndef TOOLS_OTLP_VIEW_H
#define TOOLS_OTLP_VIEW_H

#include "fermata/base.h"
#include "fermata/json.h"

enum { /* where the repeated messages lie */
       OTLP_RESOURCE_SPANS = 1,
       OTLP_SCOPE_SPANS = 2,
       OTLP_SPANS = 2,
       OTLP_RESOURCE_ATTRIBUTES = 1,
       OTLP_SPAN_ATTRIBUTES = 9,
       OTLP_SPAN_EVENTS = 11,
       OTLP_SPAN_LINKS = 13,
       OTLP_EVENT_ATTRIBUTES = 3,
       OTLP_LINK_ATTRIBUTES = 4,
};
enum {
    OTLP_KIND_INTERNAL = 1,
    OTLP_KIND_SERVER,
    OTLP_KIND_CLIENT,
    OTLP_KIND_PRODUCER,
    OTLP_KIND_CONSUMER
};
enum { OTLP_STATUS_UNSET, OTLP_STATUS_OK, OTLP_STATUS_ERROR };

/* The next message with this field number; false: no more. */
bool otlp_next(struct fm_slice *rest, uint32_t number, struct fm_slice *ret_message);
uint32_t otlp_count(struct fm_slice message, uint32_t number);
/* The message with this field number, or an empty one. */
struct fm_slice otlp_child(struct fm_slice message, uint32_t number);

enum otlp_value_kind {
    OTLP_VALUE_NONE,
    OTLP_VALUE_STRING,
    OTLP_VALUE_BOOL,
    OTLP_VALUE_INT,
    OTLP_VALUE_DOUBLE,
    OTLP_VALUE_BYTES,
    OTLP_VALUE_ARRAY,
    OTLP_VALUE_MAP,
};
struct otlp_value {
    enum otlp_value_kind kind;
    struct fm_slice bytes; /* STRING, BYTES; ARRAY and MAP: their message */
    int64_t integer;       /* BOOL, INT */
    double number;
};
struct otlp_value otlp_value_text(struct fm_slice text);
struct otlp_value otlp_value_int(int64_t integer);
struct otlp_value otlp_value_bool(bool truth);
/* As text: what has no text of its own becomes JSON. */
void otlp_value_put_text(const struct otlp_value *value, struct fm_buf *text);
void otlp_value_put_json(const struct otlp_value *value, struct json_writer *writer);

struct otlp_attribute {
    struct fm_slice key;
    struct otlp_value value;
};
/* Next attribute of a message whose attributes have this number. */
bool otlp_attribute_next(struct fm_slice *rest, uint32_t number, struct otlp_attribute *ret);
bool otlp_attribute_find(struct fm_slice message, uint32_t number, const char *key,
                         struct otlp_value *ret_value);
/* All of them as one JSON object. */
void otlp_attributes_put_json(struct fm_slice message, uint32_t number, struct json_writer *writer);

struct otlp_span {
    struct fm_slice bytes;
    struct fm_slice trace_id, span_id, parent_id, trace_state, name, status_message;
    uint32_t kind, flags, status_code;
    uint64_t start_ns, end_ns;
    uint64_t dropped_attributes, dropped_events, dropped_links;
    struct fm_slice scope_name, scope_version; /* of the scope around it */
};
struct otlp_event {
    struct fm_slice bytes, name;
    uint64_t time_ns, dropped_attributes;
};
struct otlp_link {
    struct fm_slice bytes, trace_id, span_id, trace_state;
    uint64_t dropped_attributes;
};
bool otlp_event_next(struct fm_slice *rest, struct otlp_event *ret_event); /* of a span */
bool otlp_link_next(struct fm_slice *rest, struct otlp_link *ret_link);
uint64_t otlp_span_duration_ns(const struct otlp_span *span); /* 0 if it ends before its start */
/* Eight bytes of an id as a number; 0 for any other length. */
uint64_t otlp_id(struct fm_slice id);

/* Calls put for every span of one ResourceSpans; ends with its first failure. */
FM_MUST int otlp_each_span(struct fm_slice resource_spans,
                           int (*put)(void *self, const struct otlp_span *span), void *self);

#endif
