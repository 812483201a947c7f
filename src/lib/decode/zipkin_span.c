/* SPDX-License-Identifier: Apache-2.0 */
/* One span: what its tags are for, and then its bytes.  Rules: docs/formats/translation.md. */
#include "zipkin_batch.h"
#include "otlp_walk.h"

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

/* Finds the tags that mean something; true: there are some. */
static bool span_find_keys(const struct zipkin_batch *batch, struct zipkin_span *span)
{
    bool looks_for_repeats = span->tag_count <= REPEAT_TAGS_MAX, is_any = false;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < span->tag_count; i++) {
        struct zipkin_tag *tag = &span->tags[i];
        tag->use = (uint8_t)zipkin_key_find(batch, tag->key);
        is_any |= tag->use != ZIPKIN_KEY_NONE;
        uint64_t bit = key_bit(tag->key);
        if ((seen & bit) && looks_for_repeats)
            hide_repeat(span->tags, tag);
        seen |= bit;
    }
    return is_any;
}

static enum zipkin_kind kind_of(struct fm_slice text)
{
    static const char *const texts[] = {[ZIPKIN_INTERNAL] = "internal",
                                        [ZIPKIN_SERVER] = "server",
                                        [ZIPKIN_CLIENT] = "client",
                                        [ZIPKIN_PRODUCER] = "producer",
                                        [ZIPKIN_CONSUMER] = "consumer"};
    for (size_t i = ZIPKIN_INTERNAL; i < FM_COUNT(texts); i++) {
        if (fm_slice_equal_nocase(text, texts[i]))
            return (enum zipkin_kind)i;
    }
    return ZIPKIN_UNSPECIFIED;
}

/* What a key means may depend on the value and on the span. */
static enum zipkin_key tag_settle(struct zipkin_tag *tag, struct zipkin_span *span)
{
    enum zipkin_key key = (enum zipkin_key)tag->use;
    if (tag->type != ZIPKIN_TEXT && key < ZIPKIN_KEY_TEXT_LAST)
        return ZIPKIN_KEY_NONE; /* typed, by version 1: just an attribute */
    if (key == ZIPKIN_KEY_SERVICE_NAME) {
        if (!span->local.service.len)
            return ZIPKIN_KEY_RESOURCE; /* in the endpoint's place */
        tag->is_hidden = fm_slice_equal(tag->text, span->local.service); /* said already */
        return ZIPKIN_KEY_NONE;
    }
    if (key == ZIPKIN_KEY_SPAN_KIND) {
        enum zipkin_kind kind = kind_of(tag->text);
        if (span->kind != ZIPKIN_UNSPECIFIED || kind == ZIPKIN_UNSPECIFIED)
            return ZIPKIN_KEY_NONE;
        span->kind = (uint8_t)kind;
    }
    return key;
}

static void batch_find_known(struct zipkin_batch *batch, const struct zipkin_span *span)
{
    memset(batch->known, 0, sizeof batch->known);
    for (uint32_t i = 0; i < span->tag_count && span->has_known_tags; i++) {
        const struct zipkin_tag *tag = &span->tags[i];
        if (!tag->is_hidden)
            batch->known[tag->use] = tag;
    }
    batch->known[ZIPKIN_KEY_NONE] = NULL;
}

struct fm_slice zipkin_span_service_key(const struct zipkin_batch *batch)
{
    const struct zipkin_tag *source = batch->known[ZIPKIN_KEY_SERVICE_SOURCE];
    return source && source->text.len ? source->text : FM_SLICE("service.name");
}

/* The service's name stands under another key: a tag of that key stays with the span. */
static void span_clear_source(struct zipkin_batch *batch, struct zipkin_span *span)
{
    struct fm_slice key = zipkin_span_service_key(batch);
    for (uint32_t i = 0; i < span->tag_count; i++) {
        struct zipkin_tag *tag = &span->tags[i];
        if (tag->use != ZIPKIN_KEY_RESOURCE || !fm_slice_equal(tag->key, key))
            continue;
        tag->is_hidden = tag->is_hidden || fm_slice_equal(tag->text, span->local.service);
        tag->use = ZIPKIN_KEY_NONE;
    }
}

void zipkin_span_sort_tags(struct zipkin_batch *batch, struct zipkin_span *span)
{
    span->has_known_tags = span_find_keys(batch, span);
    for (uint32_t i = 0; i < span->tag_count && span->has_known_tags; i++) {
        struct zipkin_tag *tag = &span->tags[i];
        if (tag->use != ZIPKIN_KEY_NONE && !tag->is_hidden)
            tag->use = (uint8_t)tag_settle(tag, span);
    }
    batch_find_known(batch, span);
    if (batch->known[ZIPKIN_KEY_SERVICE_SOURCE] && span->local.service.len)
        span_clear_source(batch, span);
}

/* ---- attributes ---- */

static void put_tag(struct fm_buf *out, const struct zipkin_tag *tag)
{
    switch ((enum zipkin_type)tag->type) {
    case ZIPKIN_TEXT:
        zipkin_put_text(out, OTLP_SPAN_ATTRIBUTES, tag->key, tag->text);
        return;
    case ZIPKIN_BOOL:
        zipkin_put_bool(out, OTLP_SPAN_ATTRIBUTES, tag->key, tag->integer);
        return;
    case ZIPKIN_INT:
        zipkin_put_int(out, OTLP_SPAN_ATTRIBUTES, tag->key, tag->integer);
        return;
    case ZIPKIN_DOUBLE:
        zipkin_put_double(out, OTLP_SPAN_ATTRIBUTES, tag->key, tag->number);
        return;
    }
}

/* An endpoint's attributes; a tag that the sender wrote out wins. */
static void put_endpoint(struct zipkin_batch *batch, const struct zipkin_endpoint *endpoint,
                         bool is_remote)
{
    const struct zipkin_tag *const *known = batch->known;
    struct fm_buf *out = batch->target;
    struct fm_slice ip = endpoint->ipv6.len ? endpoint->ipv6 : endpoint->ipv4;
    if (is_remote && endpoint->service.len && !known[ZIPKIN_KEY_PEER_SERVICE])
        zipkin_put_text(out, OTLP_SPAN_ATTRIBUTES, FM_SLICE("peer.service"), endpoint->service);
    if (ip.len && !known[is_remote ? ZIPKIN_KEY_PEER_IP : ZIPKIN_KEY_HOST_IP])
        zipkin_put_text(out, OTLP_SPAN_ATTRIBUTES,
                        is_remote ? FM_SLICE("net.peer.ip") : FM_SLICE("net.host.ip"), ip);
    if (endpoint->port && !known[is_remote ? ZIPKIN_KEY_PEER_PORT : ZIPKIN_KEY_HOST_PORT])
        zipkin_put_int(out, OTLP_SPAN_ATTRIBUTES,
                       is_remote ? FM_SLICE("net.peer.port") : FM_SLICE("net.host.port"),
                       endpoint->port);
}

/* ---- status ---- */

enum span_status { STATUS_UNSET, STATUS_OK, STATUS_ERROR };
struct span_result {
    enum span_status status;
    struct fm_slice message;
    bool keeps_error;       /* the tag says more than that there was one */
    bool keeps_description; /* there is no status that it could describe */
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

/* What the tag "error" adds; any value but false is one. */
static void result_add_error(struct span_result *result, const struct zipkin_tag *error)
{
    bool is_text = error->type == ZIPKIN_TEXT, is_bool = error->type == ZIPKIN_BOOL;
    result->keeps_error = true;
    if ((is_text && fm_slice_equal_nocase(error->text, "false")) || (is_bool && !error->integer))
        return;
    result->status = STATUS_ERROR;
    if (is_bool || (is_text && (!error->text.len || fm_slice_equal_nocase(error->text, "true"))))
        result->keeps_error = false;
    else if (is_text && !result->message.len)
        result->message = error->text;
}

static struct span_result span_find_status(const struct zipkin_batch *batch)
{
    struct span_result result = {0};
    const struct zipkin_tag *code = batch->known[ZIPKIN_KEY_STATUS_CODE];
    const struct zipkin_tag *text = batch->known[ZIPKIN_KEY_STATUS_DESCRIPTION];
    const struct zipkin_tag *error = batch->known[ZIPKIN_KEY_ERROR];
    if (code)
        result.status = status_of(code->text);
    if (text)
        result.message = text->text;
    if (error)
        result_add_error(&result, error);
    result.keeps_description = text && !code && result.status == STATUS_UNSET;
    if (result.keeps_description)
        result.message = fm_slice(NULL, 0);
    return result;
}

static void put_status(struct fm_buf *out, const struct span_result *result)
{
    if (result->status == STATUS_UNSET && !result->message.len)
        return;
    size_t mark = pb_begin(out, OTLP_SPAN_STATUS);
    if (result->message.len)
        pb_put_bytes(out, 2, result->message);
    if (result->status != STATUS_UNSET)
        pb_put_u64(out, 3, result->status);
    pb_end(out, mark);
}

/* ---- a span ---- */

static bool tag_is_attribute(const struct zipkin_tag *tag, const struct span_result *result)
{
    if (tag->is_hidden)
        return false;
    if (tag->use == ZIPKIN_KEY_NONE || tag->use > ZIPKIN_KEY_ERROR)
        return true;
    return (tag->use == ZIPKIN_KEY_ERROR && result->keeps_error) ||
           (tag->use == ZIPKIN_KEY_STATUS_DESCRIPTION && result->keeps_description);
}

static void put_attributes(struct zipkin_batch *batch, const struct zipkin_span *span,
                           const struct span_result *result)
{
    struct fm_buf *out = batch->target;
    for (uint32_t i = 0; i < span->tag_count; i++) {
        if (tag_is_attribute(&span->tags[i], result))
            put_tag(out, &span->tags[i]);
    }
    put_endpoint(batch, &span->local, false);
    put_endpoint(batch, &span->remote, true);
    if (!span->timestamp_us)
        zipkin_put_bool(out, OTLP_SPAN_ATTRIBUTES, FM_SLICE("otel.zipkin.absentField.startTime"),
                        true);
    if (span->is_shared && span->kind != ZIPKIN_CLIENT)
        zipkin_put_bool(out, OTLP_SPAN_ATTRIBUTES, FM_SLICE("zipkin.shared"), true);
}

static void put_links(struct zipkin_batch *batch, const struct zipkin_span *span)
{
    for (uint32_t i = 0; i < span->tag_count && batch->known[ZIPKIN_KEY_LINK]; i++) {
        const struct zipkin_tag *tag = &span->tags[i];
        if (tag->use == ZIPKIN_KEY_LINK && !tag->is_hidden &&
            zipkin_put_link(batch, tag->text) != FM_OK)
            put_tag(batch->target, tag); /* fields of a message may come in any order */
    }
}

void zipkin_put_span(struct zipkin_batch *batch, const struct zipkin_span *span)
{
    struct fm_buf *out = batch->target;
    batch_find_known(batch, span);
    const struct zipkin_tag *state = batch->known[ZIPKIN_KEY_TRACESTATE];
    struct span_result result = span_find_status(batch);
    size_t mark = pb_begin(out, OTLP_SS_SPANS);
    zipkin_put_span_head(out, span, state ? state->text : fm_slice(NULL, 0));
    put_attributes(batch, span, &result);
    for (uint32_t i = 0; i < span->note_count; i++)
        zipkin_put_event(batch, &span->notes[i]);
    put_links(batch, span);
    put_status(out, &result);
    pb_end(out, mark);
}

void zipkin_put_resource(struct zipkin_batch *batch, const struct zipkin_resource *resource)
{
    const struct zipkin_span *model = resource->model;
    if (model->local.service.len)
        zipkin_put_text(batch->target, 1, resource->service_key, model->local.service);
    for (uint32_t i = 0; i < model->tag_count; i++) {
        const struct zipkin_tag *tag = &model->tags[i];
        if (tag->use == ZIPKIN_KEY_RESOURCE && !tag->is_hidden)
            zipkin_put_text(batch->target, 1, tag->key, tag->text);
    }
}
