/* SPDX-License-Identifier: Apache-2.0 */
/* OTLP read in place.  What is not well formed ends the message it stands in: nothing that was
 * stored is, because ingest checks it. */
#include "walk.h"

#include <inttypes.h>

bool view_next(struct fm_slice *rest, uint32_t number, struct fm_slice *ret_message)
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

struct fm_slice view_child(struct fm_slice message, uint32_t number)
{
    struct fm_slice child = {0};

    (void)view_next(&message, number, &child); /* without one it stays empty */
    return child;
}

uint32_t view_number(struct fm_slice message, uint32_t number)
{
    struct pb_field field;
    uint32_t value = 0;

    while (pb_next(&message, &field) == FM_OK) {
        if (field.number == number && field.type == PB_VARINT)
            value = (uint32_t)field.value;
    }
    return value;
}

/* ---- attributes ---- */

static struct view_value view_value_read(struct fm_slice any)
{
    static const uint8_t types[] = {0xff,       PB_BYTES, PB_VARINT, PB_VARINT,
                                    PB_FIXED64, PB_BYTES, PB_BYTES,  PB_BYTES};
    struct view_value value = {0};
    struct pb_field field;

    while (pb_next(&any, &field) == FM_OK) {
        if (field.number >= FM_COUNT(types) || types[field.number] != field.type)
            continue;
        value = (struct view_value){.type = (enum view_type)field.number,
                                    .bytes = field.bytes,
                                    .integer = (int64_t)field.value};
        memcpy(&value.number, &field.value, sizeof value.number);
    }
    return value;
}

bool view_value_next(struct fm_slice *rest, struct view_value *ret_value)
{
    struct fm_slice any;

    if (!view_next(rest, 1, &any))
        return false;
    *ret_value = view_value_read(any);
    return true;
}

static void view_attribute_read(struct fm_slice content, struct view_attribute *ret)
{
    struct pb_field field;
    struct fm_slice any = {0};

    *ret = (struct view_attribute){0};
    while (pb_next(&content, &field) == FM_OK) {
        if (field.type != PB_BYTES)
            continue;
        if (field.number == 1)
            ret->key = field.bytes;
        else if (field.number == 2)
            any = field.bytes;
    }
    ret->value = view_value_read(any);
}

bool view_attribute_next(struct fm_slice *rest, uint32_t number, struct view_attribute *ret)
{
    struct fm_slice content;

    if (!view_next(rest, number, &content))
        return false;
    view_attribute_read(content, ret);
    return true;
}

bool view_attribute_find(struct fm_slice message, uint32_t number, const char *key,
                         struct view_value *ret_value)
{
    struct view_attribute attribute;

    while (view_attribute_next(&message, number, &attribute)) {
        if (fm_slice_equal_text(attribute.key, key)) {
            *ret_value = attribute.value;
            return true;
        }
    }
    return false;
}

/* ---- events, links, spans ---- */

bool view_event_next(struct fm_slice *rest, struct view_event *ret_event)
{
    struct fm_slice content;
    struct pb_field field;

    if (!view_next(rest, VIEW_SPAN_EVENTS, &content))
        return false;
    *ret_event = (struct view_event){.content = content};
    while (pb_next(&content, &field) == FM_OK) {
        if (field.number == 1 && field.type == PB_FIXED64)
            ret_event->time_ns = field.value;
        else if (field.number == 2 && field.type == PB_BYTES)
            ret_event->name = field.bytes;
        else if (field.number == VIEW_EVENT_ATTRIBUTES && field.type == PB_BYTES)
            ret_event->has_attributes = true;
        else if (field.number == 4 && field.type == PB_VARINT)
            ret_event->dropped = (uint32_t)field.value;
    }
    return true;
}

bool view_link_next(struct fm_slice *rest, struct view_link *ret_link)
{
    struct fm_slice content;
    struct pb_field field;

    if (!view_next(rest, VIEW_SPAN_LINKS, &content))
        return false;
    *ret_link = (struct view_link){.content = content};
    while (pb_next(&content, &field) == FM_OK) {
        if (field.number == 1 && field.type == PB_BYTES)
            ret_link->trace_id = field.bytes;
        else if (field.number == 2 && field.type == PB_BYTES)
            ret_link->span_id = field.bytes;
        else if (field.number == 3 && field.type == PB_BYTES)
            ret_link->trace_state = field.bytes;
        else if (field.number == 5 && field.type == PB_VARINT)
            ret_link->dropped = (uint32_t)field.value;
        else if (field.number == 6 && field.type == PB_FIXED32)
            ret_link->flags = (uint32_t)field.value;
    }
    return true;
}

static void view_span_set_number(struct view_span *span, const struct pb_field *field)
{
    if (field->number == 6 && field->type == PB_VARINT)
        span->kind = (uint32_t)field->value;
    else if (field->number == 7 && field->type == PB_FIXED64)
        span->start_ns = field->value;
    else if (field->number == 8 && field->type == PB_FIXED64)
        span->end_ns = field->value;
    else if (field->number == 10 && field->type == PB_VARINT)
        span->dropped_attributes = (uint32_t)field->value;
    else if (field->number == 12 && field->type == PB_VARINT)
        span->dropped_events = (uint32_t)field->value;
    else if (field->number == 14 && field->type == PB_VARINT)
        span->dropped_links = (uint32_t)field->value;
    else if (field->number == 16 && field->type == PB_FIXED32)
        span->flags = (uint32_t)field->value;
}

static void view_span_set_status(struct view_span *span, struct fm_slice status)
{
    struct pb_field field;

    while (pb_next(&status, &field) == FM_OK) {
        if (field.number == 2 && field.type == PB_BYTES)
            span->message = field.bytes;
        else if (field.number == 3 && field.type == PB_VARINT)
            span->status = (uint32_t)field.value;
    }
}

static void view_span_read(struct fm_slice content, struct view_span *ret_span)
{
    struct pb_field field;
    struct view_span *span = ret_span;
    struct fm_slice *const texts[] = {
        NULL, &span->trace_id, &span->span_id, &span->trace_state, &span->parent_id, &span->name};

    *span = (struct view_span){.content = content};
    while (pb_next(&content, &field) == FM_OK) {
        if (field.type != PB_BYTES)
            view_span_set_number(span, &field);
        else if (field.number < FM_COUNT(texts))
            *texts[field.number] = field.bytes;
        else if (field.number == 15)
            view_span_set_status(span, field.bytes);
    }
    if (span->end_ns < span->start_ns)
        span->end_ns = span->start_ns;
}

void view_cursor_init(struct view_cursor *cursor, struct fm_slice otlp)
{
    *cursor = (struct view_cursor){.request = otlp};
}

bool view_cursor_next(struct view_cursor *cursor)
{
    struct fm_slice content;

    for (;;) {
        if (view_next(&cursor->scope_spans, 2, &content)) {
            view_span_read(content, &cursor->span);
            return true;
        }
        if (view_next(&cursor->resource_spans, 2, &cursor->scope_spans)) {
            cursor->scope = view_child(cursor->scope_spans, 1);
            cursor->scope_schema_url = view_child(cursor->scope_spans, 3);
            cursor->scope_index++;
            continue;
        }
        if (!view_next(&cursor->request, 1, &cursor->resource_spans))
            return false;
        cursor->resource = view_child(cursor->resource_spans, 1);
        cursor->resource_schema_url = view_child(cursor->resource_spans, 3);
        cursor->resource_index++;
    }
}

struct fm_slice view_service(struct fm_slice resource, struct fm_buf *text)
{
    struct view_value value;

    if (!view_attribute_find(resource, VIEW_RESOURCE_ATTRIBUTES, "service.name", &value))
        return fm_slice(NULL, 0);
    if (value.type == VIEW_STRING)
        return value.bytes;
    fm_buf_reset(text);
    view_value_put_text(&value, text);
    return fm_buf_slice(text);
}

/* ---- values ---- */

void view_put_key(struct json_writer *writer, struct fm_slice key)
{
    json_string(writer, key);
    fm_buf_put_u8(writer->buf, ':');
    writer->after_key = true;
}

static void value_put(const struct view_value *value, struct json_writer *writer, unsigned depth);

static void array_put(struct fm_slice array, struct json_writer *writer, unsigned depth)
{
    struct view_value value;

    json_array_begin(writer);
    while (depth < VIEW_DEPTH_MAX && view_value_next(&array, &value))
        value_put(&value, writer, depth + 1);
    json_array_end(writer);
}

static void map_put(struct fm_slice map, struct json_writer *writer, unsigned depth)
{
    struct view_attribute attribute;

    json_object_begin(writer);
    while (depth < VIEW_DEPTH_MAX && view_attribute_next(&map, 1, &attribute)) {
        view_put_key(writer, attribute.key);
        value_put(&attribute.value, writer, depth + 1);
    }
    json_object_end(writer);
}

static void value_put(const struct view_value *value, struct json_writer *writer, unsigned depth)
{
    switch (value->type) {
    case VIEW_NONE:
        json_null(writer);
        break;
    case VIEW_STRING:
        json_string(writer, value->bytes);
        break;
    case VIEW_BOOL:
        json_bool(writer, value->integer != 0);
        break;
    case VIEW_INT:
        json_int(writer, value->integer);
        break;
    case VIEW_DOUBLE:
        json_number(writer, value->number);
        break;
    case VIEW_ARRAY:
        array_put(value->bytes, writer, depth);
        break;
    case VIEW_MAP:
        map_put(value->bytes, writer, depth);
        break;
    case VIEW_BYTES:
        json_base64(writer, value->bytes);
        break;
    }
}

void view_value_put_json(const struct view_value *value, struct json_writer *writer)
{
    value_put(value, writer, 0);
}

static void double_put_text(double number, struct fm_buf *out)
{
    struct json_writer writer;
    size_t start = out->len;

    json_writer_init(&writer, out);
    json_number(&writer, number);
    if (out->failed || out->ptr[start] != '"')
        return;
    memmove(out->ptr + start, out->ptr + start + 1, out->len - start - 2); /* "NaN" unquoted */
    out->len -= 2;
}

void view_value_put_text(const struct view_value *value, struct fm_buf *out)
{
    struct json_writer writer;

    switch (value->type) {
    case VIEW_NONE:
        break;
    case VIEW_STRING:
        fm_buf_put_slice(out, value->bytes);
        break;
    case VIEW_BOOL:
        fm_buf_puts(out, value->integer ? "true" : "false");
        break;
    case VIEW_INT:
        fm_buf_printf(out, "%" PRId64, value->integer);
        break;
    case VIEW_DOUBLE:
        double_put_text(value->number, out);
        break;
    case VIEW_ARRAY:
    case VIEW_MAP:
        json_writer_init(&writer, out);
        view_value_put_json(value, &writer);
        break;
    case VIEW_BYTES:
        fm_base64_encode(out, value->bytes);
        break;
    }
}

void view_put_text_value(struct json_writer *writer, const struct view_value *value,
                         struct fm_buf *scratch)
{
    if (value->type == VIEW_STRING) {
        json_string(writer, value->bytes);
        return;
    }
    fm_buf_reset(scratch);
    view_value_put_text(value, scratch);
    json_string(writer, fm_buf_slice(scratch));
    if (scratch->failed)
        writer->buf->failed = true;
}

void view_attributes_put_json(struct fm_slice message, uint32_t number, uint32_t dropped,
                              struct json_writer *writer)
{
    struct view_attribute attribute;

    json_object_begin(writer);
    while (view_attribute_next(&message, number, &attribute)) {
        view_put_key(writer, attribute.key);
        view_value_put_json(&attribute.value, writer);
    }
    if (dropped) {
        json_key(writer, VIEW_DROPPED_ATTRIBUTES);
        json_uint(writer, dropped);
    }
    json_object_end(writer);
}

/* ---- kinds ---- */

static const char *const view_kinds[] = {NULL,     "internal", "server",
                                         "client", "producer", "consumer"};

const char *view_kind_text(uint32_t kind)
{
    return kind < FM_COUNT(view_kinds) ? view_kinds[kind] : NULL;
}

int view_kind_parse(struct fm_slice text, uint32_t *ret_kind)
{
    for (uint32_t kind = 1; kind < FM_COUNT(view_kinds); kind++) {
        if (fm_slice_equal_nocase(text, view_kinds[kind])) {
            *ret_kind = kind;
            return FM_OK;
        }
    }
    return FM_NONE;
}
