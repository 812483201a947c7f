/* SPDX-License-Identifier: Apache-2.0 */
/* Writes an assembled trace: OTLP bytes, and Tempo's four answers to a trace by id.
 *
 * JSON is the protobuf mapping as Tempo writes it: members with zero value left out, 64-bit
 * integers as text, enums by name, bytes in base64.  A repeated field may be spread over a message,
 * so a message is read once to see what it holds, and once more for each repeated field it has. */
#include <stdio.h>

#include "fermata/json.h"

#include "trace.h"

#define RENDER_DEPTH_MAX    64
#define RENDER_FIELD_MAX    16
#define RENDER_MESSAGE_SIZE 128

/* A message read once: the last value of each field, and how often it stands there. */
struct render_message {
    struct fm_slice content;
    struct fm_slice bytes[RENDER_FIELD_MAX + 1];
    uint64_t values[RENDER_FIELD_MAX + 1];
    uint32_t counts[RENDER_FIELD_MAX + 1];
};

/* types: a letter per field number from 1 on: b bytes, v varint, f fixed64, w fixed32.  A field of
 * another wire type is an unknown field. */
static void render_read(struct render_message *message, struct fm_slice content, const char *types)
{
    static const char letters[] = "vfb..w"; /* by enum pb_type */
    struct pb_field field;
    size_t known = strlen(types);

    memset(message, 0, sizeof *message);
    message->content = content;
    while (pb_next(&content, &field) == FM_OK) {
        if (field.number > known || types[field.number - 1] != letters[field.type])
            continue;
        message->counts[field.number]++;
        message->values[field.number] = field.value;
        message->bytes[field.number] = field.bytes;
    }
}

static void render_text(struct json_writer *writer, const char *key, struct fm_slice text)
{
    if (!text.len)
        return;
    json_key(writer, key);
    json_string(writer, text);
}

static void render_base64(struct json_writer *writer, const char *key, struct fm_slice bytes)
{
    if (!bytes.len)
        return;
    json_key(writer, key);
    json_base64(writer, bytes);
}

static void render_u32(struct json_writer *writer, const char *key, uint64_t value)
{
    if (!(uint32_t)value)
        return;
    json_key(writer, key);
    json_uint(writer, (uint32_t)value);
}

static void render_u64(struct json_writer *writer, const char *key, uint64_t value)
{
    if (!value)
        return;
    json_key(writer, key);
    json_uint_text(writer, value);
}

static void render_enum(struct json_writer *writer, const char *key, uint64_t value,
                        const char *const *names, size_t count)
{
    int32_t number = (int32_t)value;

    if (!number)
        return;
    json_key(writer, key);
    if (number > 0 && (size_t)number < count)
        json_text(writer, names[number]);
    else
        json_int(writer, number);
}

/* "key":[...] of the repeated message `number`, if there are any. */
static void render_repeated(struct json_writer *writer, const struct render_message *message,
                            uint32_t number, const char *key,
                            void (*render)(struct json_writer *, struct fm_slice, uint32_t depth),
                            uint32_t depth)
{
    struct fm_slice rest = message->content;
    struct pb_field field;

    if (!message->counts[number])
        return;
    json_key(writer, key);
    json_array_begin(writer);
    while (pb_next(&rest, &field) == FM_OK) {
        if (field.number == number && field.type == PB_BYTES)
            render(writer, field.bytes, depth);
    }
    json_array_end(writer);
}

static void render_pair(struct json_writer *writer, struct fm_slice content, uint32_t depth);
static void render_value(struct json_writer *writer, struct fm_slice content, uint32_t depth);

/* ArrayValue or KeyValueList (pairs). */
static void render_list(struct json_writer *writer, struct fm_slice content, bool pairs,
                        uint32_t depth)
{
    struct render_message list;

    render_read(&list, content, "b");
    json_object_begin(writer);
    render_repeated(writer, &list, 1, "values", pairs ? render_pair : render_value, depth);
    json_object_end(writer);
}

/* The member of AnyValue's oneof, if there is one. */
static void render_member(struct json_writer *writer, const struct pb_field *field, uint32_t depth)
{
    static const char *const keys[] = {NULL,          "stringValue", "boolValue",
                                       "intValue",    "doubleValue", "arrayValue",
                                       "kvlistValue", "bytesValue",  NULL};
    double number;

    if (!keys[field->number])
        return;
    json_key(writer, keys[field->number]);
    switch (field->number) {
    case 1:
        json_string(writer, field->bytes);
        break;
    case 2:
        json_bool(writer, field->value != 0);
        break;
    case 3:
        json_int_text(writer, (int64_t)field->value);
        break;
    case 4:
        memcpy(&number, &field->value, sizeof number);
        json_number(writer, number);
        break;
    case 7:
        json_base64(writer, field->bytes);
        break;
    default:
        render_list(writer, field->bytes, field->number == 6, depth + 1);
    }
}

static void render_value(struct json_writer *writer, struct fm_slice content, uint32_t depth)
{
    static const uint8_t types[] = {0xff,     PB_BYTES, PB_VARINT, PB_VARINT, PB_FIXED64,
                                    PB_BYTES, PB_BYTES, PB_BYTES,  PB_VARINT};
    struct pb_field field, member = {0};

    while (depth <= RENDER_DEPTH_MAX && pb_next(&content, &field) == FM_OK) {
        if (field.number < FM_COUNT(types) && types[field.number] == field.type)
            member = field; /* of a oneof the last one counts */
    }
    json_object_begin(writer);
    render_member(writer, &member, depth);
    json_object_end(writer);
}

static void render_pair(struct json_writer *writer, struct fm_slice content, uint32_t depth)
{
    struct fm_slice key = {0}, value = {0};
    struct pb_field field;
    bool has_value = false;

    while (pb_next(&content, &field) == FM_OK) {
        if (field.type == PB_BYTES && field.number == 1) {
            key = field.bytes;
        } else if (field.type == PB_BYTES && field.number == 2) {
            value = field.bytes;
            has_value = true;
        }
    }
    json_object_begin(writer);
    render_text(writer, "key", key);
    if (has_value) {
        json_key(writer, "value");
        render_value(writer, value, depth);
    }
    json_object_end(writer);
}

static void render_event(struct json_writer *writer, struct fm_slice content, uint32_t depth)
{
    struct render_message event;

    render_read(&event, content, "fbbv");
    json_object_begin(writer);
    render_u64(writer, "timeUnixNano", event.values[1]);
    render_text(writer, "name", event.bytes[2]);
    render_repeated(writer, &event, 3, "attributes", render_pair, depth);
    render_u32(writer, "droppedAttributesCount", event.values[4]);
    json_object_end(writer);
}

static void render_link(struct json_writer *writer, struct fm_slice content, uint32_t depth)
{
    struct render_message link;

    render_read(&link, content, "bbbbvw");
    json_object_begin(writer);
    render_base64(writer, "traceId", link.bytes[1]);
    render_base64(writer, "spanId", link.bytes[2]);
    render_text(writer, "traceState", link.bytes[3]);
    render_repeated(writer, &link, 4, "attributes", render_pair, depth);
    render_u32(writer, "droppedAttributesCount", link.values[5]);
    render_u32(writer, "flags", link.values[6]);
    json_object_end(writer);
}

static void render_status(struct json_writer *writer, struct fm_slice content)
{
    static const char *const codes[] = {NULL, "STATUS_CODE_OK", "STATUS_CODE_ERROR"};
    struct render_message status;

    render_read(&status, content, ".bv");
    json_key(writer, "status");
    json_object_begin(writer);
    render_text(writer, "message", status.bytes[2]);
    render_enum(writer, "code", status.values[3], codes, FM_COUNT(codes));
    json_object_end(writer);
}

static void render_span(struct json_writer *writer, struct fm_slice content)
{
    static const char *const kinds[] = {NULL,
                                        "SPAN_KIND_INTERNAL",
                                        "SPAN_KIND_SERVER",
                                        "SPAN_KIND_CLIENT",
                                        "SPAN_KIND_PRODUCER",
                                        "SPAN_KIND_CONSUMER"};
    struct render_message span;

    render_read(&span, content, "bbbbbvffbvbvbvbw");
    json_object_begin(writer);
    render_base64(writer, "traceId", span.bytes[1]);
    render_base64(writer, "spanId", span.bytes[2]);
    render_text(writer, "traceState", span.bytes[3]);
    render_base64(writer, "parentSpanId", span.bytes[4]);
    render_u32(writer, "flags", span.values[16]);
    render_text(writer, "name", span.bytes[5]);
    render_enum(writer, "kind", span.values[6], kinds, FM_COUNT(kinds));
    render_u64(writer, "startTimeUnixNano", span.values[7]);
    render_u64(writer, "endTimeUnixNano", span.values[8]);
    render_repeated(writer, &span, 9, "attributes", render_pair, 1);
    render_u32(writer, "droppedAttributesCount", span.values[10]);
    render_repeated(writer, &span, 11, "events", render_event, 1);
    render_u32(writer, "droppedEventsCount", span.values[12]);
    render_repeated(writer, &span, 13, "links", render_link, 1);
    render_u32(writer, "droppedLinksCount", span.values[14]);
    render_status(writer, span.bytes[15]);
    json_object_end(writer);
}

static void render_resource(struct json_writer *writer, struct fm_slice content)
{
    struct render_message resource;

    render_read(&resource, content, "bv");
    json_key(writer, "resource");
    json_object_begin(writer);
    render_repeated(writer, &resource, 1, "attributes", render_pair, 1);
    render_u32(writer, "droppedAttributesCount", resource.values[2]);
    json_object_end(writer);
}

static void render_scope(struct json_writer *writer, struct fm_slice content)
{
    struct render_message scope;

    render_read(&scope, content, "bbbv");
    json_key(writer, "scope");
    json_object_begin(writer);
    render_text(writer, "name", scope.bytes[1]);
    render_text(writer, "version", scope.bytes[2]);
    render_repeated(writer, &scope, 3, "attributes", render_pair, 1);
    render_u32(writer, "droppedAttributesCount", scope.values[4]);
    json_object_end(writer);
}

static void render_scope_spans(struct json_writer *writer, const struct trace *trace,
                               const struct trace_group *scope)
{
    json_object_begin(writer);
    render_scope(writer, scope->content);
    json_key(writer, "spans");
    json_array_begin(writer);
    for (uint32_t i = scope->first; i != TRACE_NONE; i = trace->span_next[i])
        render_span(writer, trace->spans[i].raw);
    json_array_end(writer);
    render_text(writer, "schemaUrl", scope->schema_url);
    json_object_end(writer);
}

/* "key":[ResourceSpans...]; nothing if there are none. */
static void render_json(struct json_writer *writer, const struct trace *trace, const char *key)
{
    const struct trace_group *resources = trace->resources.items, *scopes = trace->scopes.items;

    if (!trace->span_count)
        return;
    json_key(writer, key);
    json_array_begin(writer);
    for (uint32_t r = trace->resource_first; r != TRACE_NONE; r = resources[r].next) {
        json_object_begin(writer);
        render_resource(writer, resources[r].content);
        json_key(writer, "scopeSpans");
        json_array_begin(writer);
        for (uint32_t s = resources[r].first; s != TRACE_NONE; s = scopes[s].next)
            render_scope_spans(writer, trace, &scopes[s]);
        json_array_end(writer);
        render_text(writer, "schemaUrl", resources[r].schema_url);
        json_object_end(writer);
    }
    json_array_end(writer);
}

static bool render_has_status(struct fm_slice span)
{
    struct pb_field field;

    while (pb_next(&span, &field) == FM_OK) {
        if (field.number == 15 && field.type == PB_BYTES)
            return true;
    }
    return false;
}

/* whole: as Tempo, with resource, scope and status present even if they are empty. */
static void render_pb_scope_spans(struct fm_buf *buf, const struct trace *trace,
                                  const struct trace_group *scope, bool whole)
{
    size_t mark = pb_begin(buf, 2);
    if (scope->present || whole)
        pb_put_bytes(buf, 1, scope->content);
    for (uint32_t i = scope->first; i != TRACE_NONE; i = trace->span_next[i]) {
        size_t span = pb_begin(buf, 2);
        fm_buf_put_slice(buf, trace->spans[i].raw);
        if (whole && !render_has_status(trace->spans[i].raw))
            pb_put_bytes(buf, 15, FM_SLICE(""));
        pb_end(buf, span);
    }
    if (scope->schema_url.len)
        pb_put_bytes(buf, 3, scope->schema_url);
    pb_end(buf, mark);
}

static void render_pb(const struct trace *trace, struct fm_buf *buf, bool whole)
{
    const struct trace_group *resources = trace->resources.items, *scopes = trace->scopes.items;

    for (uint32_t r = trace->resource_first; r != TRACE_NONE; r = resources[r].next) {
        size_t mark = pb_begin(buf, 1);
        if (resources[r].present || whole)
            pb_put_bytes(buf, 1, resources[r].content);
        for (uint32_t s = resources[r].first; s != TRACE_NONE; s = scopes[s].next)
            render_pb_scope_spans(buf, trace, &scopes[s], whole);
        if (resources[r].schema_url.len)
            pb_put_bytes(buf, 3, resources[r].schema_url);
        pb_end(buf, mark);
    }
}

void trace_put_otlp(const struct trace *trace, struct fm_buf *buf)
{
    render_pb(trace, buf, false);
}

static void render_partial_message(const struct trace *trace, char text[RENDER_MESSAGE_SIZE])
{
    (void)snprintf(text, RENDER_MESSAGE_SIZE,
                   "Trace exceeds maximum size of %zu bytes, a partial trace is returned",
                   trace->bytes_max);
}

static void render_v2_json(struct json_writer *writer, const struct trace *trace,
                           uint64_t inspected_bytes)
{
    char message[RENDER_MESSAGE_SIZE];

    json_object_begin(writer);
    json_key(writer, "trace");
    json_object_begin(writer);
    render_json(writer, trace, "resourceSpans");
    json_object_end(writer);
    json_key(writer, "metrics");
    json_object_begin(writer);
    render_u64(writer, "inspectedBytes", trace->span_count ? inspected_bytes : 0);
    json_object_end(writer);
    if (trace->partial) {
        render_partial_message(trace, message);
        render_text(writer, "status", FM_SLICE("PARTIAL"));
        render_text(writer, "message", fm_slice_text(message));
    }
    json_object_end(writer);
}

static void render_v2_pb(struct fm_buf *buf, const struct trace *trace, uint64_t inspected_bytes)
{
    char message[RENDER_MESSAGE_SIZE];

    size_t mark = pb_begin(buf, 1);
    render_pb(trace, buf, true);
    pb_end(buf, mark);
    mark = pb_begin(buf, 2);
    if (inspected_bytes && trace->span_count)
        pb_put_u64(buf, 1, inspected_bytes);
    pb_end(buf, mark);
    if (trace->partial) {
        render_partial_message(trace, message);
        pb_put_u64(buf, 3, 1);
        pb_put_text(buf, 4, message);
    }
}

void trace_render(const struct trace *trace, enum trace_format format, uint64_t inspected_bytes,
                  struct fm_buf *buf)
{
    struct json_writer writer;

    json_writer_init(&writer, buf);
    switch (format) {
    case TRACE_V1_JSON:
        json_object_begin(&writer);
        render_json(&writer, trace, "batches");
        json_object_end(&writer);
        break;
    case TRACE_V1_PROTOBUF:
        render_pb(trace, buf, true);
        break;
    case TRACE_V2_JSON:
        render_v2_json(&writer, trace, inspected_bytes);
        break;
    case TRACE_V2_PROTOBUF:
        render_v2_pb(buf, trace, inspected_bytes);
        break;
    }
}
