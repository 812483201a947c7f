/* SPDX-License-Identifier: Apache-2.0 */
/* Zipkin's four forms from OTLP: one walk over the spans, and a form is how it writes five things:
 * the span's own fields, a tag, an annotation, and the places where lists begin and end.
 *
 * Version 1 has neither kinds nor local endpoints: the annotations sr/ss, cs/cr, ms, mr say the
 * kind, and everything names its host.
 */
#include "zipkin_encode.h"

#include <stdio.h>

#include "fermata/bytes.h"
#include "fermata/pb.h"
#include "fermata/thrift.h"
#include "otlp_view.h"

#define ENCODE_BYTES_MAX FM_MIB(256)
#define LINKS_MAX        128 /* that the translation looks for */

struct zipkin_encoder {
    const struct zipkin_form *form;
    struct fm_buf *target;
    struct json_writer json;
    struct thrift_writer thrift; /* on target */
    struct fm_slice resource;    /* borrowed, as are the next two */
    struct fm_slice service, peer;
    struct fm_buf text, piece; /* owned: a tag's value, parts of it */
    struct fm_buf list;        /* owned: Thrift's elements before their count is known */
    struct thrift_writer elements;
    uint32_t span_count, element_count;
    size_t count_at; /* of Thrift's list of spans */
};

struct zipkin_form {
    bool is_v1;
    void (*begin)(struct zipkin_encoder *encoder);
    void (*span_begin)(struct zipkin_encoder *encoder, const struct otlp_span *span);
    void (*annotations_begin)(struct zipkin_encoder *encoder);
    void (*annotation)(struct zipkin_encoder *encoder, uint64_t time_us, struct fm_slice value);
    void (*tags_begin)(struct zipkin_encoder *encoder); /* annotations are over */
    void (*tag)(struct zipkin_encoder *encoder, struct fm_slice key, struct fm_slice value);
    void (*span_end)(struct zipkin_encoder *encoder, const struct otlp_span *span);
    void (*end)(struct zipkin_encoder *encoder);
};

static uint64_t span_start_us(const struct otlp_span *span)
{
    return span->start_ns / 1000;
}

static uint64_t span_duration_us(const struct otlp_span *span)
{
    return otlp_span_duration_ns(span) / 1000;
}

/* ---- the walk ---- */

/* Failures stick to the target; the buffers between are used again and again. */
static void note_failures(struct zipkin_encoder *encoder)
{
    encoder->target->failed |= encoder->text.failed || encoder->piece.failed;
}

static void put_tag_text(struct zipkin_encoder *encoder, const char *key, struct fm_slice text)
{
    note_failures(encoder);
    encoder->form->tag(encoder, fm_slice_text(key), text);
}

static void put_tag_value(struct zipkin_encoder *encoder, const struct otlp_attribute *attribute)
{
    fm_buf_reset(&encoder->text);
    otlp_value_put_text(&attribute->value, &encoder->text);
    note_failures(encoder);
    encoder->form->tag(encoder, attribute->key, fm_buf_slice(&encoder->text));
}

static void put_resource_tags(struct zipkin_encoder *encoder)
{
    struct fm_slice rest = encoder->resource;
    struct otlp_attribute attribute;

    while (otlp_attribute_next(&rest, OTLP_RESOURCE_ATTRIBUTES, &attribute)) {
        if (!fm_slice_equal_text(attribute.key, "service.name"))
            put_tag_value(encoder, &attribute);
    }
}

static void put_status_tags(struct zipkin_encoder *encoder, const struct otlp_span *span)
{
    if (span->status_code == OTLP_STATUS_ERROR) {
        put_tag_text(encoder, "otel.status_code", FM_SLICE("ERROR"));
        put_tag_text(encoder, "error", FM_SLICE("true"));
    } else if (span->status_code == OTLP_STATUS_OK) {
        put_tag_text(encoder, "otel.status_code", FM_SLICE("OK"));
    }
    if (span->status_code && span->status_message.len)
        put_tag_text(encoder, "otel.status_description", span->status_message);
}

/* The JSON object of a message's attributes, in encoder->piece. */
static void put_piece(struct zipkin_encoder *encoder, struct fm_slice message, uint32_t number)
{
    struct json_writer writer;

    fm_buf_reset(&encoder->piece);
    json_writer_init(&writer, &encoder->piece);
    otlp_attributes_put_json(message, number, &writer);
}

/* otlp.link.N = trace|span|tracestate|{attributes}|dropped */
static void put_link_tags(struct zipkin_encoder *encoder, const struct otlp_span *span)
{
    struct fm_slice rest = span->bytes;
    struct fm_buf *text = &encoder->text;
    struct otlp_link link;
    char key[32], ids[49];

    for (unsigned i = 0; i < LINKS_MAX && otlp_link_next(&rest, &link); i++) {
        if (link.trace_id.len != 16 || link.span_id.len != 8)
            continue;
        put_piece(encoder, link.bytes, OTLP_LINK_ATTRIBUTES);
        fm_buf_reset(text);
        fm_hex_encode(ids, link.trace_id);
        ids[32] = '|';
        fm_hex_encode(ids + 33, link.span_id);
        fm_buf_put(text, ids, sizeof ids);
        fm_buf_puts(text, "|");
        fm_buf_put_slice(text, link.trace_state);
        fm_buf_puts(text, "|");
        fm_buf_put_slice(text, fm_buf_slice(&encoder->piece));
        fm_buf_printf(text, "|%llu", (unsigned long long)link.dropped_attributes);
        (void)snprintf(key, sizeof key, "otlp.link.%u", i);
        put_tag_text(encoder, key, fm_buf_slice(text));
    }
}

static void put_tags(struct zipkin_encoder *encoder, const struct otlp_span *span)
{
    struct fm_slice rest = span->bytes;
    struct otlp_attribute attribute;

    while (otlp_attribute_next(&rest, OTLP_SPAN_ATTRIBUTES, &attribute)) {
        if (encoder->form->is_v1 || !fm_slice_equal_text(attribute.key, "peer.service"))
            put_tag_value(encoder, &attribute);
    }
    if (span->kind == OTLP_KIND_INTERNAL)
        put_tag_text(encoder, "span.kind", FM_SLICE("internal"));
    if (span->scope_name.len)
        put_tag_text(encoder, "otel.scope.name", span->scope_name);
    if (span->scope_version.len)
        put_tag_text(encoder, "otel.scope.version", span->scope_version);
    if (span->trace_state.len)
        put_tag_text(encoder, "w3c.tracestate", span->trace_state);
    put_status_tags(encoder, span);
    put_link_tags(encoder, span);
    put_resource_tags(encoder);
}

/* Name alone, or name|{attributes}|dropped. */
static void put_event(struct zipkin_encoder *encoder, const struct otlp_event *event)
{
    struct fm_buf *text = &encoder->text;
    bool has_attributes = otlp_count(event->bytes, OTLP_EVENT_ATTRIBUTES) > 0;

    fm_buf_reset(text);
    fm_buf_put_slice(text, event->name);
    if (has_attributes || event->dropped_attributes) {
        put_piece(encoder, event->bytes, OTLP_EVENT_ATTRIBUTES);
        fm_buf_puts(text, "|");
        fm_buf_put_slice(text, fm_buf_slice(&encoder->piece));
        fm_buf_printf(text, "|%llu", (unsigned long long)event->dropped_attributes);
    }
    note_failures(encoder);
    encoder->form->annotation(encoder, event->time_ns / 1000, fm_buf_slice(text));
}

static void put_core_annotations(struct zipkin_encoder *encoder, const struct otlp_span *span)
{
    static const struct {
        const char *begin, *end;
    } values[] = {
        [OTLP_KIND_SERVER] = {"sr", "ss"},
        [OTLP_KIND_CLIENT] = {"cs", "cr"},
        [OTLP_KIND_PRODUCER] = {"ms", NULL},
        [OTLP_KIND_CONSUMER] = {"mr", NULL},
    };
    uint64_t start_us = span_start_us(span);

    if (span->kind >= FM_COUNT(values) || !values[span->kind].begin)
        return;
    encoder->form->annotation(encoder, start_us, fm_slice_text(values[span->kind].begin));
    if (values[span->kind].end)
        encoder->form->annotation(encoder, start_us + span_duration_us(span),
                                  fm_slice_text(values[span->kind].end));
}

static int on_span(void *self, const struct otlp_span *span)
{
    struct zipkin_encoder *encoder = self;
    const struct zipkin_form *form = encoder->form;
    struct fm_slice rest = span->bytes;
    struct otlp_value peer;
    struct otlp_event event;

    encoder->peer = otlp_attribute_find(span->bytes, OTLP_SPAN_ATTRIBUTES, "peer.service", &peer) &&
                            peer.kind == OTLP_VALUE_STRING
                        ? peer.bytes
                        : (struct fm_slice){0};
    form->span_begin(encoder, span);
    form->annotations_begin(encoder);
    if (form->is_v1)
        put_core_annotations(encoder, span);
    while (otlp_event_next(&rest, &event))
        put_event(encoder, &event);
    form->tags_begin(encoder);
    put_tags(encoder, span);
    form->span_end(encoder, span);
    encoder->span_count++;
    return encoder->target->failed ? FM_ENOMEM : FM_OK;
}

static int zipkin_encode(const struct zipkin_form *form, struct fm_slice otlp,
                         struct fm_buf *target)
{
    struct zipkin_encoder encoder = {.form = form, .target = target};
    struct fm_slice resource_spans;
    struct otlp_value service;
    int rc = FM_OK;

    json_writer_init(&encoder.json, target);
    thrift_writer_init_as(&encoder.thrift, THRIFT_BINARY_PROTOCOL, target);
    fm_buf_init(&encoder.text, ENCODE_BYTES_MAX);
    fm_buf_init(&encoder.piece, ENCODE_BYTES_MAX);
    fm_buf_init(&encoder.list, ENCODE_BYTES_MAX);
    form->begin(&encoder);
    while (rc == FM_OK && otlp_next(&otlp, OTLP_RESOURCE_SPANS, &resource_spans)) {
        encoder.resource = otlp_child(resource_spans, 1);
        encoder.service = otlp_attribute_find(encoder.resource, OTLP_RESOURCE_ATTRIBUTES,
                                              "service.name", &service)
                              ? service.bytes
                              : (struct fm_slice){0};
        rc = otlp_each_span(resource_spans, on_span, &encoder);
    }
    form->end(&encoder);
    fm_buf_fini(&encoder.list);
    fm_buf_fini(&encoder.piece);
    fm_buf_fini(&encoder.text);
    return rc < 0 ? rc : target->failed ? FM_ENOMEM : FM_OK;
}

/* ---- JSON, both versions ---- */

static void json_on_begin(struct zipkin_encoder *encoder)
{
    json_array_begin(&encoder->json);
}

static void json_put_endpoint(struct zipkin_encoder *encoder, const char *key,
                              struct fm_slice service)
{
    if (!service.len)
        return;
    json_key(&encoder->json, key);
    json_object_begin(&encoder->json);
    json_key(&encoder->json, "serviceName");
    json_string(&encoder->json, service);
    json_object_end(&encoder->json);
}

static void json_on_span_begin(struct zipkin_encoder *encoder, const struct otlp_span *span)
{
    static const char *const kinds[] = {
        [OTLP_KIND_SERVER] = "SERVER",
        [OTLP_KIND_CLIENT] = "CLIENT",
        [OTLP_KIND_PRODUCER] = "PRODUCER",
        [OTLP_KIND_CONSUMER] = "CONSUMER",
    };
    struct json_writer *json = &encoder->json;

    json_object_begin(json);
    json_key(json, "traceId");
    json_hex(json, span->trace_id);
    if (span->parent_id.len) {
        json_key(json, "parentId");
        json_hex(json, span->parent_id);
    }
    json_key(json, "id");
    json_hex(json, span->span_id);
    if (!encoder->form->is_v1 && span->kind < FM_COUNT(kinds) && kinds[span->kind]) {
        json_key(json, "kind");
        json_text(json, kinds[span->kind]);
    }
    json_key(json, "name");
    json_string(json, span->name);
    json_key(json, "timestamp");
    json_uint(json, span_start_us(span));
    if (span_duration_us(span)) {
        json_key(json, "duration");
        json_uint(json, span_duration_us(span));
    }
    if (!encoder->form->is_v1) {
        json_put_endpoint(encoder, "localEndpoint", encoder->service);
        json_put_endpoint(encoder, "remoteEndpoint", encoder->peer);
    }
}

static void json_on_annotations_begin(struct zipkin_encoder *encoder)
{
    json_key(&encoder->json, "annotations");
    json_array_begin(&encoder->json);
}

static void json_on_annotation(struct zipkin_encoder *encoder, uint64_t time_us,
                               struct fm_slice value)
{
    json_object_begin(&encoder->json);
    json_key(&encoder->json, "timestamp");
    json_uint(&encoder->json, time_us);
    json_key(&encoder->json, "value");
    json_string(&encoder->json, value);
    if (encoder->form->is_v1)
        json_put_endpoint(encoder, "endpoint", encoder->service);
    json_object_end(&encoder->json);
}

static void json_on_tags_begin(struct zipkin_encoder *encoder)
{
    json_array_end(&encoder->json);
    json_key(&encoder->json, encoder->form->is_v1 ? "binaryAnnotations" : "tags");
    if (encoder->form->is_v1)
        json_array_begin(&encoder->json);
    else
        json_object_begin(&encoder->json);
}

static void json_on_tag(struct zipkin_encoder *encoder, struct fm_slice key, struct fm_slice value)
{
    char name[256];

    (void)snprintf(name, sizeof name, "%.*s", (int)FM_MIN(key.len, sizeof name - 1),
                   (const char *)key.ptr);
    json_key(&encoder->json, name);
    json_string(&encoder->json, value);
}

static void json_on_v1_tag(struct zipkin_encoder *encoder, struct fm_slice key,
                           struct fm_slice value)
{
    json_object_begin(&encoder->json);
    json_key(&encoder->json, "key");
    json_string(&encoder->json, key);
    json_key(&encoder->json, "value");
    json_string(&encoder->json, value);
    json_put_endpoint(encoder, "endpoint", encoder->service);
    json_object_end(&encoder->json);
}

static void json_on_span_end(struct zipkin_encoder *encoder, const struct otlp_span *span)
{
    (void)span;
    if (encoder->form->is_v1)
        json_array_end(&encoder->json);
    else
        json_object_end(&encoder->json);
    json_object_end(&encoder->json);
}

static void json_on_end(struct zipkin_encoder *encoder)
{
    json_array_end(&encoder->json);
}

/* ---- protobuf ---- */

static void pb_on_nothing(struct zipkin_encoder *encoder)
{
    (void)encoder;
}

static void pb_put_endpoint(struct fm_buf *target, uint32_t number, struct fm_slice service)
{
    if (!service.len)
        return;
    size_t mark = pb_begin(target, number);
    pb_put_bytes(target, 1, service);
    pb_end(target, mark);
}

/* A span is gathered in the list, since its length stands in front of it. */
static void pb_on_span_begin(struct zipkin_encoder *encoder, const struct otlp_span *span)
{
    static const uint8_t kinds[] = {0, 0, 2, 1, 3, 4}; /* OTLP's to Zipkin's */
    struct fm_buf *list = &encoder->list;

    fm_buf_reset(list);
    pb_put_bytes(list, 1, span->trace_id);
    if (span->parent_id.len)
        pb_put_bytes(list, 2, span->parent_id);
    pb_put_bytes(list, 3, span->span_id);
    if (span->kind < FM_COUNT(kinds) && kinds[span->kind])
        pb_put_u64(list, 4, kinds[span->kind]);
    pb_put_bytes(list, 5, span->name);
    pb_put_fixed64(list, 6, span_start_us(span));
    if (span_duration_us(span))
        pb_put_u64(list, 7, span_duration_us(span));
    pb_put_endpoint(list, 8, encoder->service);
    pb_put_endpoint(list, 9, encoder->peer);
}

static void pb_on_annotation(struct zipkin_encoder *encoder, uint64_t time_us,
                             struct fm_slice value)
{
    size_t mark = pb_begin(&encoder->list, 10);
    pb_put_fixed64(&encoder->list, 1, time_us);
    pb_put_bytes(&encoder->list, 2, value);
    pb_end(&encoder->list, mark);
}

static void pb_on_tag(struct zipkin_encoder *encoder, struct fm_slice key, struct fm_slice value)
{
    size_t mark = pb_begin(&encoder->list, 11);
    pb_put_bytes(&encoder->list, 1, key);
    pb_put_bytes(&encoder->list, 2, value);
    pb_end(&encoder->list, mark);
}

static void pb_on_span_end(struct zipkin_encoder *encoder, const struct otlp_span *span)
{
    (void)span;
    pb_put_bytes(encoder->target, 1, fm_buf_slice(&encoder->list));
    encoder->target->failed |= encoder->list.failed;
}

/* ---- Thrift, version 1 ---- */

/* A bare list: type of its elements, their number (filled in at the end). */
static void thrift_on_begin(struct zipkin_encoder *encoder)
{
    enum { TYPE_STRUCT = 12 };

    fm_buf_put_u8(encoder->target, TYPE_STRUCT);
    encoder->count_at = encoder->target->len;
    fm_buf_put_zeros(encoder->target, 4);
}

static void thrift_put_host(struct thrift_writer *writer, int16_t id, struct fm_slice service)
{
    thrift_put_struct_field(writer, id);
    thrift_put_i32(writer, 1, 0); /* no address: it would become an attribute */
    thrift_put_i16(writer, 2, 0);
    thrift_put_binary(writer, 3, service);
    thrift_put_struct_end(writer);
}

static void thrift_list_start(struct zipkin_encoder *encoder)
{
    fm_buf_reset(&encoder->list);
    thrift_writer_init_as(&encoder->elements, THRIFT_BINARY_PROTOCOL, &encoder->list);
    encoder->element_count = 0;
}

static void thrift_list_finish(struct zipkin_encoder *encoder, int16_t id)
{
    thrift_put_list(&encoder->thrift, id, THRIFT_STRUCT, encoder->element_count);
    fm_buf_put_slice(encoder->target, fm_buf_slice(&encoder->list));
    encoder->target->failed |= encoder->list.failed;
}

static void thrift_on_span_begin(struct zipkin_encoder *encoder, const struct otlp_span *span)
{
    struct thrift_writer *writer = &encoder->thrift;
    bool has_id = span->trace_id.len == 16;

    thrift_put_struct_begin(writer);
    thrift_put_i64(writer, 1, has_id ? (int64_t)fm_load_be64(span->trace_id.ptr + 8) : 0);
    thrift_put_binary(writer, 3, span->name);
    thrift_put_i64(writer, 4, (int64_t)otlp_id(span->span_id));
    if (span->parent_id.len)
        thrift_put_i64(writer, 5, (int64_t)otlp_id(span->parent_id));
}

static void thrift_on_annotation(struct zipkin_encoder *encoder, uint64_t time_us,
                                 struct fm_slice value)
{
    struct thrift_writer *writer = &encoder->elements;

    thrift_put_struct_begin(writer);
    thrift_put_i64(writer, 1, (int64_t)time_us);
    thrift_put_binary(writer, 2, value);
    thrift_put_host(writer, 3, encoder->service);
    thrift_put_struct_end(writer);
    encoder->element_count++;
}

static void thrift_on_tags_begin(struct zipkin_encoder *encoder)
{
    thrift_list_finish(encoder, 6);
    thrift_list_start(encoder);
}

static void thrift_on_tag(struct zipkin_encoder *encoder, struct fm_slice key,
                          struct fm_slice value)
{
    enum { TYPE_STRING = 6 };
    struct thrift_writer *writer = &encoder->elements;

    thrift_put_struct_begin(writer);
    thrift_put_binary(writer, 1, key);
    thrift_put_binary(writer, 2, value);
    thrift_put_i32(writer, 3, TYPE_STRING);
    thrift_put_host(writer, 4, encoder->service);
    thrift_put_struct_end(writer);
    encoder->element_count++;
}

static void thrift_on_span_end(struct zipkin_encoder *encoder, const struct otlp_span *span)
{
    struct thrift_writer *writer = &encoder->thrift;
    uint64_t high = span->trace_id.len == 16 ? fm_load_be64(span->trace_id.ptr) : 0;

    thrift_list_finish(encoder, 8);
    thrift_put_i64(writer, 10, (int64_t)span_start_us(span));
    if (span_duration_us(span))
        thrift_put_i64(writer, 11, (int64_t)span_duration_us(span));
    if (high)
        thrift_put_i64(writer, 12, (int64_t)high);
    thrift_put_struct_end(writer);
}

static void thrift_on_end(struct zipkin_encoder *encoder)
{
    if (!encoder->target->failed)
        fm_store_be32(encoder->target->ptr + encoder->count_at, encoder->span_count);
}

/* ---- the forms ---- */

int zipkin_put_json(struct fm_slice otlp, struct fm_buf *target)
{
    static const struct zipkin_form form = {
        .begin = json_on_begin,
        .span_begin = json_on_span_begin,
        .annotations_begin = json_on_annotations_begin,
        .annotation = json_on_annotation,
        .tags_begin = json_on_tags_begin,
        .tag = json_on_tag,
        .span_end = json_on_span_end,
        .end = json_on_end,
    };
    return zipkin_encode(&form, otlp, target);
}

int zipkin_put_v1_json(struct fm_slice otlp, struct fm_buf *target)
{
    static const struct zipkin_form form = {
        .is_v1 = true,
        .begin = json_on_begin,
        .span_begin = json_on_span_begin,
        .annotations_begin = json_on_annotations_begin,
        .annotation = json_on_annotation,
        .tags_begin = json_on_tags_begin,
        .tag = json_on_v1_tag,
        .span_end = json_on_span_end,
        .end = json_on_end,
    };
    return zipkin_encode(&form, otlp, target);
}

int zipkin_put_pb(struct fm_slice otlp, struct fm_buf *target)
{
    static const struct zipkin_form form = {
        .begin = pb_on_nothing,
        .span_begin = pb_on_span_begin,
        .annotations_begin = pb_on_nothing,
        .annotation = pb_on_annotation,
        .tags_begin = pb_on_nothing,
        .tag = pb_on_tag,
        .span_end = pb_on_span_end,
        .end = pb_on_nothing,
    };
    return zipkin_encode(&form, otlp, target);
}

int zipkin_put_v1_thrift(struct fm_slice otlp, struct fm_buf *target)
{
    static const struct zipkin_form form = {
        .is_v1 = true,
        .begin = thrift_on_begin,
        .span_begin = thrift_on_span_begin,
        .annotations_begin = thrift_list_start,
        .annotation = thrift_on_annotation,
        .tags_begin = thrift_on_tags_begin,
        .tag = thrift_on_tag,
        .span_end = thrift_on_span_end,
        .end = thrift_on_end,
    };
    return zipkin_encode(&form, otlp, target);
}
