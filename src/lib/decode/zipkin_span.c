/* SPDX-License-Identifier: Apache-2.0 */
/* One span: what its tags are for, and then its bytes.  Rules: docs/formats/translation.md. */
#include "zipkin_batch.h"

#include "fermata/pb.h"

#define REPEAT_TAGS_MAX 64u /* beyond that repeats stay; otlp_pb_check cuts such lists anyway */

/* ---- tags ---- */

/* Keys of one span rarely share length, last and middle byte. */
static uint64_t key_bit(struct fm_slice key)
{
    uint32_t sum = (uint32_t)key.len * 7u;
    if (key.len)
        sum += key.ptr[key.len - 1] * 3u + key.ptr[key.len / 2];
    return UINT64_C(1) << (sum & 63);
}

/* The last value of a key counts, at the place of the first. */
static void hide_repeat(struct zipkin_tag *tags, struct zipkin_tag *tag)
{
    for (struct zipkin_tag *first = tags; first < tag; first++) {
        if (first->is_hidden || !fm_slice_equal(first->key, tag->key))
            continue;
        *first = *tag;
        tag->is_hidden = true;
        return;
    }
}

void zipkin_span_sort_tags(const struct zipkin_batch *batch, struct zipkin_span *span)
{
    uint64_t seen = 0;
    for (uint32_t i = 0; i < span->tag_count; i++) {
        struct zipkin_tag *tag = &span->tags[i];
        tag->is_hidden = false;
        tag->use = (uint8_t)zipkin_key_find(batch, tag->key);
        if (span->tag_count <= REPEAT_TAGS_MAX) {
            uint64_t bit = key_bit(tag->key);
            if (seen & bit)
                hide_repeat(span->tags, tag);
            seen |= bit;
        }
        if (tag->use == ZIPKIN_KEY_SERVICE_NAME && tag->type == ZIPKIN_TEXT &&
            (!span->local.service.len || fm_slice_equal(tag->text, span->local.service)))
            tag->use = ZIPKIN_KEY_RESOURCE; /* says what the endpoint says, or in its place */
        if (tag->use && tag->type != ZIPKIN_TEXT && tag->use != ZIPKIN_KEY_ERROR &&
            tag->use < ZIPKIN_KEY_PEER_SERVICE)
            tag->use = ZIPKIN_KEY_NONE; /* typed, by version 1: just an attribute */
        if (tag->use == ZIPKIN_KEY_RESOURCE && tag->type != ZIPKIN_TEXT)
            tag->use = ZIPKIN_KEY_NONE;
    }
}

const struct zipkin_tag *zipkin_span_tag(const struct zipkin_span *span, enum zipkin_key key)
{
    for (uint32_t i = 0; i < span->tag_count; i++) {
        if (span->tags[i].use == key && !span->tags[i].is_hidden)
            return &span->tags[i];
    }
    return NULL;
}

/* ---- attributes ---- */

void zipkin_put_text(struct fm_buf *out, uint32_t number, struct fm_slice key,
                     struct fm_slice value)
{
    size_t inner = 1 + pb_varint_size(value.len) + value.len;
    size_t size = 1 + pb_varint_size(key.len) + key.len + 1 + pb_varint_size(inner) + inner;
    pb_put_tag(out, number, PB_BYTES);
    pb_put_varint(out, size);
    pb_put_bytes(out, 1, key);
    pb_put_tag(out, 2, PB_BYTES);
    pb_put_varint(out, inner);
    pb_put_bytes(out, 1, value);
}

static void put_integer(struct fm_buf *out, struct fm_slice key, uint32_t field, uint64_t value)
{
    size_t outer = pb_begin(out, 9);
    pb_put_bytes(out, 1, key);
    size_t inner = pb_begin(out, 2);
    pb_put_u64(out, field, value);
    pb_end(out, inner);
    pb_end(out, outer);
}

static void put_tag(struct fm_buf *out, const struct zipkin_tag *tag)
{
    uint64_t bits;
    switch ((enum zipkin_type)tag->type) {
    case ZIPKIN_TEXT:
        zipkin_put_text(out, 9, tag->key, tag->text);
        return;
    case ZIPKIN_BOOL:
        put_integer(out, tag->key, 2, (uint64_t)tag->integer);
        return;
    case ZIPKIN_INT:
        put_integer(out, tag->key, 3, (uint64_t)tag->integer);
        return;
    case ZIPKIN_DOUBLE: {
        memcpy(&bits, &tag->number, sizeof bits);
        size_t outer = pb_begin(out, 9);
        pb_put_bytes(out, 1, tag->key);
        size_t inner = pb_begin(out, 2);
        pb_put_fixed64(out, 4, bits);
        pb_end(out, inner);
        pb_end(out, outer);
        return;
    }
    }
}

/* An endpoint's attributes; a tag that the sender wrote out wins. */
static void put_endpoint(struct fm_buf *out, const struct zipkin_span *span,
                         const struct zipkin_endpoint *endpoint, bool is_remote)
{
    struct fm_slice ip = endpoint->ipv6.len ? endpoint->ipv6 : endpoint->ipv4;
    if (is_remote && endpoint->service.len && !zipkin_span_tag(span, ZIPKIN_KEY_PEER_SERVICE))
        zipkin_put_text(out, 9, FM_SLICE("peer.service"), endpoint->service);
    if (ip.len && !zipkin_span_tag(span, is_remote ? ZIPKIN_KEY_PEER_IP : ZIPKIN_KEY_HOST_IP))
        zipkin_put_text(out, 9, is_remote ? FM_SLICE("net.peer.ip") : FM_SLICE("net.host.ip"), ip);
    if (endpoint->port &&
        !zipkin_span_tag(span, is_remote ? ZIPKIN_KEY_PEER_PORT : ZIPKIN_KEY_HOST_PORT))
        put_integer(out, is_remote ? FM_SLICE("net.peer.port") : FM_SLICE("net.host.port"), 3,
                    endpoint->port);
}

/* Tags that are attributes of the span and nothing else. */
static bool tag_is_attribute(const struct zipkin_tag *tag)
{
    switch ((enum zipkin_key)tag->use) {
    case ZIPKIN_KEY_NONE:
    case ZIPKIN_KEY_SERVICE_NAME:
    case ZIPKIN_KEY_PEER_SERVICE:
    case ZIPKIN_KEY_PEER_IP:
    case ZIPKIN_KEY_PEER_PORT:
    case ZIPKIN_KEY_HOST_IP:
    case ZIPKIN_KEY_HOST_PORT:
        return !tag->is_hidden;
    default:
        return false;
    }
}

/* ---- status ---- */

enum span_status { STATUS_UNSET, STATUS_OK, STATUS_ERROR };
struct span_result {
    enum span_status status;
    struct fm_slice message;
    bool keeps_error; /* the tag says more than that there was one */
};

static enum span_status status_of(struct fm_slice code)
{
    static const char prefix[] = "status_code_";
    size_t len = sizeof prefix - 1;
    if (code.len > len && fm_slice_equal_nocase(fm_slice(code.ptr, len), prefix))
        code = fm_slice(code.ptr + len, code.len - len);
    if (fm_slice_equal_nocase(code, "ok"))
        return STATUS_OK;
    return fm_slice_equal_nocase(code, "error") ? STATUS_ERROR : STATUS_UNSET;
}

static struct span_result span_find_status(const struct zipkin_span *span)
{
    struct span_result result = {0};
    const struct zipkin_tag *code = zipkin_span_tag(span, ZIPKIN_KEY_STATUS_CODE);
    const struct zipkin_tag *text = zipkin_span_tag(span, ZIPKIN_KEY_STATUS_DESCRIPTION);
    const struct zipkin_tag *error = zipkin_span_tag(span, ZIPKIN_KEY_ERROR);
    if (code)
        result.status = status_of(code->text);
    if (text)
        result.message = text->text;
    if (!error)
        return result;
    if (error->type != ZIPKIN_TEXT) { /* version 1 knows types */
        result.keeps_error = error->type != ZIPKIN_BOOL || !error->integer;
        if (error->type == ZIPKIN_BOOL && error->integer)
            result.status = STATUS_ERROR;
        return result;
    }
    if (fm_slice_equal_nocase(error->text, "false")) {
        result.keeps_error = true;
        return result;
    }
    result.status = STATUS_ERROR;
    result.keeps_error = error->text.len && !fm_slice_equal_nocase(error->text, "true");
    if (result.keeps_error && !result.message.len)
        result.message = error->text;
    return result;
}

static void put_status(struct fm_buf *out, const struct span_result *result)
{
    if (result->status == STATUS_UNSET && !result->message.len)
        return;
    size_t mark = pb_begin(out, 15);
    if (result->message.len)
        pb_put_bytes(out, 2, result->message);
    if (result->status != STATUS_UNSET)
        pb_put_u64(out, 3, result->status);
    pb_end(out, mark);
}

/* ---- a span ---- */

static void put_times(struct fm_buf *out, const struct zipkin_span *span)
{
    uint64_t start, end;
    if (__builtin_mul_overflow(span->timestamp_us, 1000u, &start))
        start = UINT64_MAX;
    if (__builtin_mul_overflow(span->duration_us, 1000u, &end) ||
        __builtin_add_overflow(start, end, &end))
        end = UINT64_MAX;
    pb_put_fixed64(out, 7, start);
    pb_put_fixed64(out, 8, end);
}

static void put_attributes(struct zipkin_batch *batch, struct zipkin_span *span,
                           const struct span_result *result)
{
    struct fm_buf *out = batch->target;
    for (uint32_t i = 0; i < span->tag_count; i++) {
        const struct zipkin_tag *tag = &span->tags[i];
        bool is_kept = tag->use == ZIPKIN_KEY_ERROR && result->keeps_error && !tag->is_hidden;
        bool is_kind = tag->use == ZIPKIN_KEY_SPAN_KIND && span->kind != ZIPKIN_UNSPECIFIED;
        if (tag_is_attribute(tag) || is_kept || (is_kind && !tag->is_hidden))
            put_tag(out, tag);
    }
    put_endpoint(out, span, &span->local, false);
    put_endpoint(out, span, &span->remote, true);
    if (!span->timestamp_us)
        put_integer(out, FM_SLICE("otel.zipkin.absentField.startTime"), 2, true);
    if (span->is_shared)
        put_integer(out, FM_SLICE("zipkin.shared"), 2, true);
}

static void put_links(struct zipkin_batch *batch, struct zipkin_span *span)
{
    for (uint32_t i = 0; i < span->tag_count; i++) {
        struct zipkin_tag *tag = &span->tags[i];
        if (tag->use == ZIPKIN_KEY_LINK && !tag->is_hidden &&
            zipkin_put_link(batch, tag->text) != FM_OK)
            put_tag(batch->target, tag); /* fields of a message may come in any order */
    }
}

static uint64_t span_kind(const struct zipkin_span *span)
{
    const struct zipkin_tag *tag = zipkin_span_tag(span, ZIPKIN_KEY_SPAN_KIND);
    if (span->kind != ZIPKIN_UNSPECIFIED || !tag)
        return span->kind;
    return fm_slice_equal_nocase(tag->text, "internal") ? ZIPKIN_INTERNAL : ZIPKIN_UNSPECIFIED;
}

void zipkin_put_span(struct zipkin_batch *batch, struct zipkin_span *span)
{
    struct fm_buf *out = batch->target;
    const struct zipkin_tag *state = zipkin_span_tag(span, ZIPKIN_KEY_TRACESTATE);
    struct span_result result = span_find_status(span);
    size_t mark = pb_begin(out, 2);
    pb_put_bytes(out, 1, fm_slice(span->trace_id, 16));
    pb_put_bytes(out, 2, fm_slice(span->id, 8));
    if (state)
        pb_put_bytes(out, 3, state->text);
    if (span->has_parent)
        pb_put_bytes(out, 4, fm_slice(span->parent_id, 8));
    if (span->name.len)
        pb_put_bytes(out, 5, span->name);
    uint64_t kind = span_kind(span);
    if (kind)
        pb_put_u64(out, 6, kind);
    put_times(out, span);
    put_attributes(batch, span, &result);
    for (uint32_t i = 0; i < span->note_count; i++)
        zipkin_put_event(batch, &span->notes[i]);
    put_links(batch, span);
    put_status(out, &result);
    pb_end(out, mark);
}

void zipkin_put_resource(struct fm_buf *out, const struct zipkin_span *model)
{
    const struct zipkin_tag *source = zipkin_span_tag(model, ZIPKIN_KEY_SERVICE_SOURCE);
    struct fm_slice key = source && source->text.len ? source->text : FM_SLICE("service.name");
    if (model->local.service.len)
        zipkin_put_text(out, 1, key, model->local.service);
    for (uint32_t i = 0; i < model->tag_count; i++) {
        const struct zipkin_tag *tag = &model->tags[i];
        if (tag->use != ZIPKIN_KEY_RESOURCE || tag->is_hidden)
            continue;
        if (model->local.service.len && fm_slice_equal(tag->key, key))
            continue; /* what the endpoint says stands there already */
        zipkin_put_text(out, 1, tag->key, tag->text);
    }
}
