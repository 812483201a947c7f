/* SPDX-License-Identifier: Apache-2.0 */
/* Jaeger's IDL (jaeger.thrift, agent.thrift, api_v2/model.proto) from OTLP.
 *
 * Tags that carry what Jaeger has no field for are those of OpenTelemetry's own exporters:
 * span.kind, otel.scope.*, otel.status_*, error, w3c.tracestate, otel.dropped_*.
 *
 * Elements of a Thrift list do not depend on where they stand, so lists are gathered first and get
 * their count afterwards.
 */
#include "jaeger_encode.h"

#include "fermata/bytes.h"
#include "fermata/pb.h"
#include "otlp_view.h"

#define ENCODE_BYTES_MAX   FM_MIB(256)
#define ENCODE_FRAME_BYTES 64 /* a call's head, list heads, ends of structs */
#define NO_SERVICE         "OTLPResourceNoServiceName"

enum { REF_CHILD_OF, REF_FOLLOWS_FROM };

/* ---- tags, common to both forms ---- */

struct tag_sink {
    void (*put)(void *self, struct fm_slice key, const struct otlp_value *value);
    void *self;
};

static void tag_put_text(const struct tag_sink *sink, const char *key, struct fm_slice text)
{
    struct otlp_value value = otlp_value_text(text);
    sink->put(sink->self, fm_slice_text(key), &value);
}

static void tag_put_count(const struct tag_sink *sink, const char *key, uint64_t count)
{
    struct otlp_value value = otlp_value_int((int64_t)count);
    if (count)
        sink->put(sink->self, fm_slice_text(key), &value);
}

static void tags_put_status(const struct tag_sink *sink, const struct otlp_span *span)
{
    struct otlp_value value = otlp_value_bool(true), ignored;

    if (span->status_code == OTLP_STATUS_ERROR)
        sink->put(sink->self, FM_SLICE("error"), &value);
    else if (span->status_code == OTLP_STATUS_OK)
        tag_put_text(sink, "otel.status_code", FM_SLICE("OK"));
    else if (otlp_attribute_find(span->bytes, OTLP_SPAN_ATTRIBUTES, "http.status_code", &ignored))
        tag_put_text(sink, "otel.status_code", FM_SLICE("UNSET")); /* nobody is to guess one */
    if (span->status_code && span->status_message.len)
        tag_put_text(sink, "otel.status_description", span->status_message);
}

static void tags_put_span(const struct tag_sink *sink, const struct otlp_span *span)
{
    static const char *const kinds[] = {NULL,     "internal", "server",
                                        "client", "producer", "consumer"};
    struct fm_slice rest = span->bytes;
    struct otlp_attribute attribute;

    while (otlp_attribute_next(&rest, OTLP_SPAN_ATTRIBUTES, &attribute))
        sink->put(sink->self, attribute.key, &attribute.value);
    if (span->kind && span->kind < FM_COUNT(kinds))
        tag_put_text(sink, "span.kind", fm_slice_text(kinds[span->kind]));
    if (span->scope_name.len) {
        tag_put_text(sink, "otel.scope.name", span->scope_name);
        if (span->scope_version.len)
            tag_put_text(sink, "otel.scope.version", span->scope_version);
    }
    tags_put_status(sink, span);
    if (span->trace_state.len)
        tag_put_text(sink, "w3c.tracestate", span->trace_state);
    tag_put_count(sink, "otel.dropped_attributes_count", span->dropped_attributes);
    tag_put_count(sink, "otel.dropped_events_count", span->dropped_events);
    tag_put_count(sink, "otel.dropped_links_count", span->dropped_links);
}

static void tags_put_event(const struct tag_sink *sink, const struct otlp_event *event)
{
    struct fm_slice rest = event->bytes;
    struct otlp_attribute attribute;

    if (event->name.len)
        tag_put_text(sink, "event", event->name);
    while (otlp_attribute_next(&rest, OTLP_EVENT_ATTRIBUTES, &attribute))
        sink->put(sink->self, attribute.key, &attribute.value);
}

/* Everything but the service's name, which is returned. */
static struct fm_slice tags_put_resource(const struct tag_sink *sink, struct fm_slice resource)
{
    struct fm_slice service = FM_SLICE(NO_SERVICE);
    struct otlp_attribute attribute;

    while (otlp_attribute_next(&resource, OTLP_RESOURCE_ATTRIBUTES, &attribute)) {
        if (attribute.value.kind == OTLP_VALUE_STRING && attribute.value.bytes.len &&
            fm_slice_equal_text(attribute.key, "service.name"))
            service = attribute.value.bytes;
        else
            sink->put(sink->self, attribute.key, &attribute.value);
    }
    return service;
}

/* ---- Thrift ---- */

struct thrift_list {
    struct fm_buf buf; /* owned: the elements */
    struct thrift_writer writer;
    uint32_t count;
};
struct thrift_encoder {
    enum thrift_encoding encoding;
    size_t bytes_max; /* of a datagram; 0: no datagrams */
    struct fm_buf *target;
    struct fm_slice service;
    struct fm_buf text; /* owned: a value as text */
    struct thrift_list process, spans, tags, logs, fields, references;
};

static void list_init(struct thrift_list *list, enum thrift_encoding encoding)
{
    fm_buf_init(&list->buf, ENCODE_BYTES_MAX);
    thrift_writer_init_as(&list->writer, encoding, &list->buf);
    list->count = 0;
}

static void list_reset(struct thrift_list *list)
{
    fm_buf_reset(&list->buf);
    list->count = 0;
}

static void thrift_put_elements(struct thrift_writer *writer, int16_t id,
                                const struct thrift_list *list)
{
    thrift_put_list(writer, id, THRIFT_STRUCT, list->count);
    fm_buf_put_slice(writer->buf, fm_buf_slice(&list->buf));
    writer->buf->failed |= list->buf.failed;
}

static void thrift_put_tag_value(struct thrift_writer *writer, const struct otlp_value *value,
                                 struct fm_buf *text)
{
    enum { TAG_STRING, TAG_DOUBLE, TAG_BOOL, TAG_LONG, TAG_BINARY };

    switch (value->kind) {
    case OTLP_VALUE_DOUBLE:
        thrift_put_i32(writer, 2, TAG_DOUBLE);
        thrift_put_double(writer, 4, value->number);
        break;
    case OTLP_VALUE_BOOL:
        thrift_put_i32(writer, 2, TAG_BOOL);
        thrift_put_bool(writer, 5, value->integer != 0);
        break;
    case OTLP_VALUE_INT:
        thrift_put_i32(writer, 2, TAG_LONG);
        thrift_put_i64(writer, 6, value->integer);
        break;
    case OTLP_VALUE_BYTES:
        thrift_put_i32(writer, 2, TAG_BINARY);
        thrift_put_binary(writer, 7, value->bytes);
        break;
    default:
        fm_buf_reset(text);
        otlp_value_put_text(value, text);
        thrift_put_i32(writer, 2, TAG_STRING);
        thrift_put_binary(writer, 3, fm_buf_slice(text));
        writer->buf->failed |= text->failed;
    }
}

static void thrift_encoder_put_tag(struct thrift_encoder *encoder, struct thrift_list *list,
                                   struct fm_slice key, const struct otlp_value *value)
{
    thrift_put_struct_begin(&list->writer);
    thrift_put_binary(&list->writer, 1, key);
    thrift_put_tag_value(&list->writer, value, &encoder->text);
    thrift_put_struct_end(&list->writer);
    list->count++;
}

static void thrift_on_process_tag(void *self, struct fm_slice key, const struct otlp_value *value)
{
    struct thrift_encoder *encoder = self;
    thrift_encoder_put_tag(encoder, &encoder->process, key, value);
}

static void thrift_on_span_tag(void *self, struct fm_slice key, const struct otlp_value *value)
{
    struct thrift_encoder *encoder = self;
    thrift_encoder_put_tag(encoder, &encoder->tags, key, value);
}

static void thrift_on_field(void *self, struct fm_slice key, const struct otlp_value *value)
{
    struct thrift_encoder *encoder = self;
    thrift_encoder_put_tag(encoder, &encoder->fields, key, value);
}

static void thrift_gather_logs(struct thrift_encoder *encoder, const struct otlp_span *span)
{
    const struct tag_sink sink = {thrift_on_field, encoder};
    struct thrift_writer *writer = &encoder->logs.writer;
    struct fm_slice rest = span->bytes;
    struct otlp_event event;

    list_reset(&encoder->logs);
    while (otlp_event_next(&rest, &event)) {
        list_reset(&encoder->fields);
        tags_put_event(&sink, &event);
        thrift_put_struct_begin(writer);
        thrift_put_i64(writer, 1, (int64_t)(event.time_ns / 1000));
        thrift_put_elements(writer, 2, &encoder->fields);
        thrift_put_struct_end(writer);
        encoder->logs.count++;
    }
}

static void thrift_gather_references(struct thrift_encoder *encoder, const struct otlp_span *span)
{
    struct thrift_writer *writer = &encoder->references.writer;
    struct fm_slice rest = span->bytes;
    struct otlp_link link;

    list_reset(&encoder->references);
    while (otlp_link_next(&rest, &link)) {
        if (link.trace_id.len != 16)
            continue;
        thrift_put_struct_begin(writer);
        thrift_put_i32(writer, 1, REF_FOLLOWS_FROM);
        thrift_put_i64(writer, 2, (int64_t)fm_load_be64(link.trace_id.ptr + 8));
        thrift_put_i64(writer, 3, (int64_t)fm_load_be64(link.trace_id.ptr));
        thrift_put_i64(writer, 4, (int64_t)otlp_id(link.span_id));
        thrift_put_struct_end(writer);
        encoder->references.count++;
    }
}

static void thrift_put_span(struct thrift_encoder *encoder, const struct otlp_span *span)
{
    struct thrift_writer *writer = &encoder->spans.writer;
    bool has_id = span->trace_id.len == 16;

    thrift_put_struct_begin(writer);
    thrift_put_i64(writer, 1, has_id ? (int64_t)fm_load_be64(span->trace_id.ptr + 8) : 0);
    thrift_put_i64(writer, 2, has_id ? (int64_t)fm_load_be64(span->trace_id.ptr) : 0);
    thrift_put_i64(writer, 3, (int64_t)otlp_id(span->span_id));
    thrift_put_i64(writer, 4, (int64_t)otlp_id(span->parent_id));
    thrift_put_binary(writer, 5, span->name);
    if (encoder->references.count)
        thrift_put_elements(writer, 6, &encoder->references);
    thrift_put_i32(writer, 7, (int32_t)(span->flags & 1));
    thrift_put_i64(writer, 8, (int64_t)(span->start_ns / 1000));
    thrift_put_i64(writer, 9, (int64_t)(otlp_span_duration_ns(span) / 1000));
    if (encoder->tags.count)
        thrift_put_elements(writer, 10, &encoder->tags);
    if (encoder->logs.count)
        thrift_put_elements(writer, 11, &encoder->logs);
    thrift_put_struct_end(writer);
}

/* The Batch: process and the spans so far; open says that its struct is begun. */
static void thrift_put_batch(struct thrift_encoder *encoder, struct thrift_writer *writer)
{
    thrift_put_struct_field(writer, 1);
    thrift_put_binary(writer, 1, encoder->service);
    if (encoder->process.count)
        thrift_put_elements(writer, 2, &encoder->process);
    thrift_put_struct_end(writer);
    thrift_put_elements(writer, 2, &encoder->spans);
    thrift_put_struct_end(writer);
}

static int thrift_put_datagram(struct thrift_encoder *encoder)
{
    struct fm_buf *target = encoder->target;
    struct thrift_writer writer;
    size_t start = target->len;

    if (!encoder->spans.count)
        return FM_OK;
    fm_buf_put_zeros(target, JAEGER_DATAGRAM_HEAD_BYTES);
    thrift_writer_init_as(&writer, encoder->encoding, target);
    thrift_put_message(&writer, THRIFT_ONEWAY, "emitBatch");
    thrift_put_struct_begin(&writer);
    thrift_put_struct_field(&writer, 1);
    thrift_put_batch(encoder, &writer);
    thrift_put_struct_end(&writer);
    if (target->failed)
        return FM_ENOMEM;
    size_t len = target->len - start - JAEGER_DATAGRAM_HEAD_BYTES;
    fm_store_le32(target->ptr + start, (uint32_t)len);
    fm_store_le32(target->ptr + start + 4, encoder->spans.count);
    list_reset(&encoder->spans);
    return len > JAEGER_DATAGRAM_BYTES_MAX ? FM_ELIMIT : FM_OK;
}

/* The span that no longer fits was appended already: it moves to the next datagram. */
static int thrift_overflow(struct thrift_encoder *encoder, size_t before)
{
    struct fm_buf *spans = &encoder->spans.buf;
    struct fm_buf last;

    fm_buf_init(&last, ENCODE_BYTES_MAX);
    fm_buf_put(&last, spans->ptr + before, spans->len - before);
    spans->len = before;
    encoder->spans.count--;
    int rc = last.failed ? FM_ENOMEM : thrift_put_datagram(encoder);
    fm_buf_put_slice(spans, fm_buf_slice(&last));
    encoder->spans.count = 1;
    fm_buf_fini(&last);
    return rc;
}

static int thrift_on_span(void *self, const struct otlp_span *span)
{
    struct thrift_encoder *encoder = self;
    const struct tag_sink sink = {thrift_on_span_tag, encoder};
    size_t before = encoder->spans.buf.len;

    list_reset(&encoder->tags);
    tags_put_span(&sink, span);
    thrift_gather_logs(encoder, span);
    thrift_gather_references(encoder, span);
    thrift_put_span(encoder, span);
    encoder->spans.count++;
    if (encoder->spans.buf.failed)
        return FM_ENOMEM;
    size_t len = encoder->process.buf.len + encoder->service.len + encoder->spans.buf.len +
                 ENCODE_FRAME_BYTES;
    if (encoder->bytes_max && len > encoder->bytes_max && encoder->spans.count > 1)
        return thrift_overflow(encoder, before);
    return FM_OK;
}

static int thrift_put_resource(struct thrift_encoder *encoder, struct fm_slice resource_spans)
{
    const struct tag_sink sink = {thrift_on_process_tag, encoder};
    struct thrift_writer writer;

    list_reset(&encoder->process);
    list_reset(&encoder->spans);
    encoder->service = tags_put_resource(&sink, otlp_child(resource_spans, 1));
    int rc = otlp_each_span(resource_spans, thrift_on_span, encoder);
    if (rc < 0)
        return rc;
    if (encoder->bytes_max)
        return thrift_put_datagram(encoder);
    thrift_writer_init_as(&writer, encoder->encoding, encoder->target);
    thrift_put_struct_begin(&writer);
    thrift_put_batch(encoder, &writer);
    return encoder->target->failed ? FM_ENOMEM : FM_OK;
}

static int thrift_encode(struct fm_slice otlp, enum thrift_encoding encoding, size_t bytes_max,
                         struct fm_buf *target)
{
    struct thrift_encoder encoder = {
        .encoding = encoding, .bytes_max = bytes_max, .target = target};
    struct thrift_list *const lists[] = {&encoder.process, &encoder.spans,  &encoder.tags,
                                         &encoder.logs,    &encoder.fields, &encoder.references};
    struct fm_slice resource_spans;
    int rc = FM_OK;

    fm_buf_init(&encoder.text, ENCODE_BYTES_MAX);
    for (size_t i = 0; i < FM_COUNT(lists); i++)
        list_init(lists[i], encoding);
    while (rc == FM_OK && otlp_next(&otlp, OTLP_RESOURCE_SPANS, &resource_spans))
        rc = thrift_put_resource(&encoder, resource_spans);
    for (size_t i = 0; i < FM_COUNT(lists); i++)
        fm_buf_fini(&lists[i]->buf);
    fm_buf_fini(&encoder.text);
    return rc;
}

int jaeger_put_thrift(struct fm_slice otlp, enum thrift_encoding encoding, struct fm_buf *target)
{
    if (otlp_count(otlp, OTLP_RESOURCE_SPANS) != 1)
        return FM_EUNSUPPORTED;
    return thrift_encode(otlp, encoding, 0, target);
}

int jaeger_put_datagrams(struct fm_slice otlp, enum thrift_encoding encoding, size_t bytes_max,
                         struct fm_buf *target)
{
    return thrift_encode(otlp, encoding, bytes_max, target);
}

/* ---- protobuf ---- */

struct pb_tags {
    struct fm_buf *target;
    uint32_t number; /* of the repeated field */
    struct fm_buf *text;
};

static void pb_on_tag(void *self, struct fm_slice key, const struct otlp_value *value)
{
    enum { TAG_STRING, TAG_BOOL, TAG_INT64, TAG_FLOAT64, TAG_BINARY };
    struct pb_tags *tags = self;
    uint64_t bits;

    size_t mark = pb_begin(tags->target, tags->number);
    pb_put_bytes(tags->target, 1, key);
    switch (value->kind) {
    case OTLP_VALUE_BOOL:
        pb_put_u64(tags->target, 2, TAG_BOOL);
        if (value->integer)
            pb_put_u64(tags->target, 4, 1);
        break;
    case OTLP_VALUE_INT:
        pb_put_u64(tags->target, 2, TAG_INT64);
        pb_put_u64(tags->target, 5, (uint64_t)value->integer);
        break;
    case OTLP_VALUE_DOUBLE:
        memcpy(&bits, &value->number, sizeof bits);
        pb_put_u64(tags->target, 2, TAG_FLOAT64);
        pb_put_fixed64(tags->target, 6, bits);
        break;
    case OTLP_VALUE_BYTES:
        pb_put_u64(tags->target, 2, TAG_BINARY);
        pb_put_bytes(tags->target, 7, value->bytes);
        break;
    default:
        fm_buf_reset(tags->text);
        otlp_value_put_text(value, tags->text);
        pb_put_bytes(tags->target, 3, fm_buf_slice(tags->text));
        tags->target->failed |= tags->text->failed;
    }
    pb_end(tags->target, mark);
}

static void pb_put_time(struct fm_buf *target, uint32_t number, uint64_t ns)
{
    size_t mark = pb_begin(target, number);
    if (ns / 1000000000)
        pb_put_u64(target, 1, ns / 1000000000);
    if (ns % 1000000000)
        pb_put_u64(target, 2, ns % 1000000000);
    pb_end(target, mark);
}

static void pb_put_reference(struct fm_buf *target, struct fm_slice trace_id,
                             struct fm_slice span_id, unsigned type)
{
    size_t mark = pb_begin(target, 4);
    pb_put_bytes(target, 1, trace_id);
    pb_put_bytes(target, 2, span_id);
    if (type)
        pb_put_u64(target, 3, type);
    pb_end(target, mark);
}

struct pb_encoder {
    struct fm_buf *target;
    struct fm_buf text;      /* owned */
    struct fm_slice process; /* its message; empty: the batch's */
};

static void pb_put_logs(struct pb_encoder *encoder, const struct otlp_span *span)
{
    struct pb_tags fields = {encoder->target, 2, &encoder->text};
    const struct tag_sink sink = {pb_on_tag, &fields};
    struct fm_slice rest = span->bytes;
    struct otlp_event event;

    while (otlp_event_next(&rest, &event)) {
        size_t mark = pb_begin(encoder->target, 9);
        pb_put_time(encoder->target, 1, event.time_ns);
        tags_put_event(&sink, &event);
        pb_end(encoder->target, mark);
    }
}

static int pb_on_span(void *self, const struct otlp_span *span)
{
    struct pb_encoder *encoder = self;
    struct fm_buf *target = encoder->target;
    struct pb_tags tags = {target, 8, &encoder->text};
    const struct tag_sink sink = {pb_on_tag, &tags};
    struct fm_slice rest = span->bytes;
    struct otlp_link link;

    size_t mark = pb_begin(target, 1);
    pb_put_bytes(target, 1, span->trace_id);
    pb_put_bytes(target, 2, span->span_id);
    pb_put_bytes(target, 3, span->name);
    if (span->parent_id.len)
        pb_put_reference(target, span->trace_id, span->parent_id, REF_CHILD_OF);
    while (otlp_link_next(&rest, &link))
        pb_put_reference(target, link.trace_id, link.span_id, REF_FOLLOWS_FROM);
    if (span->flags & 1)
        pb_put_u64(target, 5, 1);
    pb_put_time(target, 6, span->start_ns);
    pb_put_time(target, 7, otlp_span_duration_ns(span));
    tags_put_span(&sink, span);
    pb_put_logs(encoder, span);
    if (encoder->process.len)
        pb_put_bytes(target, 10, encoder->process);
    pb_end(target, mark);
    return target->failed ? FM_ENOMEM : FM_OK;
}

static void pb_put_process(struct pb_encoder *encoder, struct fm_slice resource,
                           struct fm_buf *process)
{
    struct fm_buf tags_buf;
    struct pb_tags tags = {&tags_buf, 2, &encoder->text};
    const struct tag_sink sink = {pb_on_tag, &tags};

    fm_buf_init(&tags_buf, ENCODE_BYTES_MAX);
    pb_put_bytes(process, 1, tags_put_resource(&sink, resource));
    fm_buf_put_slice(process, fm_buf_slice(&tags_buf));
    process->failed |= tags_buf.failed;
    fm_buf_fini(&tags_buf);
}

/* The first resource is the batch's process; spans of another carry their own. */
int jaeger_put_pb(struct fm_slice otlp, struct fm_buf *target)
{
    struct pb_encoder encoder = {.target = target};
    struct fm_buf first, other;
    struct fm_slice resource_spans;
    int rc = FM_OK;
    unsigned index = 0;

    fm_buf_init(&encoder.text, ENCODE_BYTES_MAX);
    fm_buf_init(&first, ENCODE_BYTES_MAX);
    fm_buf_init(&other, ENCODE_BYTES_MAX);
    size_t mark = pb_begin(target, 1);
    for (; rc == FM_OK && otlp_next(&otlp, OTLP_RESOURCE_SPANS, &resource_spans); index++) {
        struct fm_buf *process = index ? &other : &first;
        fm_buf_reset(process);
        pb_put_process(&encoder, otlp_child(resource_spans, 1), process);
        encoder.process = index ? fm_buf_slice(process) : (struct fm_slice){0};
        rc = process->failed ? FM_ENOMEM : otlp_each_span(resource_spans, pb_on_span, &encoder);
    }
    if (first.len)
        pb_put_bytes(target, 2, fm_buf_slice(&first));
    pb_end(target, mark);
    fm_buf_fini(&other);
    fm_buf_fini(&first);
    fm_buf_fini(&encoder.text);
    return rc < 0 ? rc : target->failed ? FM_ENOMEM : FM_OK;
}
