/* SPDX-License-Identifier: Apache-2.0 */
/* Fields of OTLP's messages by their numbers (trace/v1/trace.proto, common/v1/common.proto). */
#include "otlp_view.h"

#include <stdio.h>

#include "fermata/bytes.h"
#include "fermata/pb.h"

#define VALUE_DEPTH_MAX 32

bool otlp_next(struct fm_slice *rest, uint32_t number, struct fm_slice *ret_message)
{
    struct pb_field field;

    while (pb_next(rest, &field) == FM_OK) {
        if (field.number == number && field.type == PB_BYTES) {
            *ret_message = field.bytes;
            return true;
        }
    }
    return false;
}

uint32_t otlp_count(struct fm_slice message, uint32_t number)
{
    struct fm_slice child;
    uint32_t count = 0;

    while (otlp_next(&message, number, &child))
        count++;
    return count;
}

struct fm_slice otlp_child(struct fm_slice message, uint32_t number)
{
    struct fm_slice child = {0};

    (void)otlp_next(&message, number, &child); /* without one it stays empty */
    return child;
}

/* ---- values ---- */

struct otlp_value otlp_value_text(struct fm_slice text)
{
    return (struct otlp_value){.kind = OTLP_VALUE_STRING, .bytes = text};
}

struct otlp_value otlp_value_int(int64_t integer)
{
    return (struct otlp_value){.kind = OTLP_VALUE_INT, .integer = integer};
}

struct otlp_value otlp_value_bool(bool truth)
{
    return (struct otlp_value){.kind = OTLP_VALUE_BOOL, .integer = truth};
}

static struct otlp_value value_read(struct fm_slice any)
{
    static const enum otlp_value_kind kinds[] = {
        [1] = OTLP_VALUE_STRING, [2] = OTLP_VALUE_BOOL,  [3] = OTLP_VALUE_INT,
        [4] = OTLP_VALUE_DOUBLE, [5] = OTLP_VALUE_ARRAY, [6] = OTLP_VALUE_MAP,
        [7] = OTLP_VALUE_BYTES,
    };
    struct otlp_value value = {0};
    struct pb_field field;

    while (pb_next(&any, &field) == FM_OK) {
        if (field.number >= FM_COUNT(kinds))
            continue;
        value = (struct otlp_value){
            .kind = kinds[field.number], .bytes = field.bytes, .integer = (int64_t)field.value};
        memcpy(&value.number, &field.value, sizeof value.number);
    }
    return value;
}

static void value_put_json(const struct otlp_value *value, struct json_writer *writer,
                           unsigned depth);

static void value_put_array(struct fm_slice array, struct json_writer *writer, unsigned depth)
{
    struct fm_slice item;

    json_array_begin(writer);
    while (depth < VALUE_DEPTH_MAX && otlp_next(&array, 1, &item)) {
        struct otlp_value value = value_read(item);
        value_put_json(&value, writer, depth + 1);
    }
    json_array_end(writer);
}

static void key_put_json(struct fm_slice key, struct json_writer *writer)
{
    char text[256];

    (void)snprintf(text, sizeof text, "%.*s", (int)FM_MIN(key.len, sizeof text - 1),
                   (const char *)key.ptr);
    json_key(writer, text);
}

static void value_put_map(struct fm_slice message, uint32_t number, struct json_writer *writer,
                          unsigned depth)
{
    struct otlp_attribute attribute;

    json_object_begin(writer);
    while (depth < VALUE_DEPTH_MAX && otlp_attribute_next(&message, number, &attribute)) {
        key_put_json(attribute.key, writer);
        value_put_json(&attribute.value, writer, depth + 1);
    }
    json_object_end(writer);
}

static void value_put_json(const struct otlp_value *value, struct json_writer *writer,
                           unsigned depth)
{
    switch (value->kind) {
    case OTLP_VALUE_NONE:
        json_null(writer);
        break;
    case OTLP_VALUE_STRING:
        json_string(writer, value->bytes);
        break;
    case OTLP_VALUE_BOOL:
        json_bool(writer, value->integer != 0);
        break;
    case OTLP_VALUE_INT:
        json_int(writer, value->integer);
        break;
    case OTLP_VALUE_DOUBLE:
        json_number(writer, value->number);
        break;
    case OTLP_VALUE_BYTES:
        json_base64(writer, value->bytes);
        break;
    case OTLP_VALUE_ARRAY:
        value_put_array(value->bytes, writer, depth);
        break;
    case OTLP_VALUE_MAP:
        value_put_map(value->bytes, 1, writer, depth);
        break;
    }
}

void otlp_value_put_json(const struct otlp_value *value, struct json_writer *writer)
{
    value_put_json(value, writer, 0);
}

void otlp_value_put_text(const struct otlp_value *value, struct fm_buf *text)
{
    struct json_writer writer;

    switch (value->kind) {
    case OTLP_VALUE_NONE:
        break;
    case OTLP_VALUE_STRING:
        fm_buf_put_slice(text, value->bytes);
        break;
    case OTLP_VALUE_BYTES:
        fm_base64_encode(text, value->bytes);
        break;
    default:
        json_writer_init(&writer, text);
        value_put_json(value, &writer, 0);
    }
}

bool otlp_attribute_next(struct fm_slice *rest, uint32_t number, struct otlp_attribute *ret)
{
    struct fm_slice pair;

    if (!otlp_next(rest, number, &pair))
        return false;
    *ret = (struct otlp_attribute){.key = otlp_child(pair, 1),
                                   .value = value_read(otlp_child(pair, 2))};
    return true;
}

bool otlp_attribute_find(struct fm_slice message, uint32_t number, const char *key,
                         struct otlp_value *ret_value)
{
    struct otlp_attribute attribute;

    while (otlp_attribute_next(&message, number, &attribute)) {
        if (fm_slice_equal_text(attribute.key, key)) {
            *ret_value = attribute.value;
            return true;
        }
    }
    return false;
}

void otlp_attributes_put_json(struct fm_slice message, uint32_t number, struct json_writer *writer)
{
    value_put_map(message, number, writer, 0);
}

/* ---- spans ---- */

static void span_read_status(struct otlp_span *span, struct fm_slice status)
{
    struct pb_field field;

    while (pb_next(&status, &field) == FM_OK) {
        if (field.number == 2)
            span->status_message = field.bytes;
        else if (field.number == 3)
            span->status_code = (uint32_t)field.value;
    }
}

static void span_read_field(struct otlp_span *span, const struct pb_field *field)
{
    switch (field->number) {
    case 1:
        span->trace_id = field->bytes;
        break;
    case 2:
        span->span_id = field->bytes;
        break;
    case 3:
        span->trace_state = field->bytes;
        break;
    case 4:
        span->parent_id = field->bytes;
        break;
    case 5:
        span->name = field->bytes;
        break;
    case 6:
        span->kind = (uint32_t)field->value;
        break;
    case 7:
        span->start_ns = field->value;
        break;
    case 8:
        span->end_ns = field->value;
        break;
    case 10:
        span->dropped_attributes = field->value;
        break;
    case 12:
        span->dropped_events = field->value;
        break;
    case 14:
        span->dropped_links = field->value;
        break;
    case 15:
        span_read_status(span, field->bytes);
        break;
    case 16:
        span->flags = (uint32_t)field->value;
        break;
    }
}

static struct otlp_span span_read(struct fm_slice bytes, struct fm_slice scope)
{
    struct otlp_span span = {
        .bytes = bytes, .scope_name = otlp_child(scope, 1), .scope_version = otlp_child(scope, 2)};
    struct pb_field field;

    while (pb_next(&bytes, &field) == FM_OK)
        span_read_field(&span, &field);
    return span;
}

bool otlp_event_next(struct fm_slice *rest, struct otlp_event *ret_event)
{
    struct fm_slice message;
    struct pb_field field;

    if (!otlp_next(rest, OTLP_SPAN_EVENTS, &message))
        return false;
    *ret_event = (struct otlp_event){.bytes = message};
    while (pb_next(&message, &field) == FM_OK) {
        if (field.number == 1)
            ret_event->time_ns = field.value;
        else if (field.number == 2)
            ret_event->name = field.bytes;
        else if (field.number == 4)
            ret_event->dropped_attributes = field.value;
    }
    return true;
}

bool otlp_link_next(struct fm_slice *rest, struct otlp_link *ret_link)
{
    struct fm_slice message;
    struct pb_field field;

    if (!otlp_next(rest, OTLP_SPAN_LINKS, &message))
        return false;
    *ret_link = (struct otlp_link){.bytes = message};
    while (pb_next(&message, &field) == FM_OK) {
        if (field.number == 1)
            ret_link->trace_id = field.bytes;
        else if (field.number == 2)
            ret_link->span_id = field.bytes;
        else if (field.number == 3)
            ret_link->trace_state = field.bytes;
        else if (field.number == 5)
            ret_link->dropped_attributes = field.value;
    }
    return true;
}

uint64_t otlp_span_duration_ns(const struct otlp_span *span)
{
    return span->end_ns > span->start_ns ? span->end_ns - span->start_ns : 0;
}

uint64_t otlp_id(struct fm_slice id)
{
    return id.len == 8 ? fm_load_be64(id.ptr) : 0;
}

int otlp_each_span(struct fm_slice resource_spans,
                   int (*put)(void *self, const struct otlp_span *span), void *self)
{
    struct fm_slice scope_spans, bytes;

    while (otlp_next(&resource_spans, OTLP_SCOPE_SPANS, &scope_spans)) {
        struct fm_slice scope = otlp_child(scope_spans, 1), rest = scope_spans;
        while (otlp_next(&rest, OTLP_SPANS, &bytes)) {
            struct otlp_span span = span_read(bytes, scope);
            int rc = put(self, &span);
            if (rc < 0)
                return rc;
        }
    }
    return FM_OK;
}
