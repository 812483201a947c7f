/* SPDX-License-Identifier: Apache-2.0 */
/* One span: what its tags mean, who its parent is, and then its bytes, whose number is known
 * before the first of them is written.  Rules: docs/formats/translation.md. */
#include "jaeger_batch.h"
#include "otlp_walk.h"

#include "fermata/bytes.h"

enum jaeger_kind {
    JAEGER_UNSPECIFIED,
    JAEGER_INTERNAL,
    JAEGER_SERVER,
    JAEGER_CLIENT,
    JAEGER_PRODUCER,
    JAEGER_CONSUMER
};
enum jaeger_status { JAEGER_STATUS_UNSET, JAEGER_STATUS_OK, JAEGER_STATUS_ERROR };

/* What is to be written, as found out from batch->span. */
struct jaeger_result {
    enum jaeger_kind kind;
    enum jaeger_status status;
    struct fm_slice message, trace_state, scope_name, scope_version;
    uint64_t parent_id, end_ns;
    uint32_t dropped_attributes, dropped_events, dropped_links;
};

/* opentracing.ref_type = child_of | follows_from as field 4 of a Link, the value to be added. */
#define JAEGER_LINK_KEY         "opentracing.ref_type"
#define JAEGER_CHILD_OF_TEXT    "child_of"
#define JAEGER_FOLLOWS_TEXT     "follows_from"
#define JAEGER_LINK_IDS_SIZE    (2 + 16 + 2 + 8)
#define JAEGER_REFERENCES_MORE  4 /* room for so many is made the first time */
#define JAEGER_STATUS_CODE_SIZE 2

void jaeger_span_reset(struct jaeger_span *span)
{
    span->trace_id = span->span_id = span->name = span->process = fm_slice(NULL, 0);
    span->trace_high = span->trace_low = span->parent_id = 0;
    span->has_process = false;
    span->flags = 0;
    span->start_ns = span->duration_ns = 0;
    span->references_dropped = 0;
    span->tags.count = span->log_count = span->reference_count = 0;
}

void jaeger_span_set_ids(struct jaeger_span *span, uint64_t high, uint64_t low, uint64_t span_id)
{
    fm_store_be64(span->id_bytes, high);
    fm_store_be64(span->id_bytes + 8, low);
    fm_store_be64(span->id_bytes + 16, span_id);
    span->trace_id = fm_slice(span->id_bytes, 16);
    span->span_id = fm_slice(span->id_bytes + 16, 8);
    span->trace_high = high;
    span->trace_low = low;
}

bool jaeger_span_add_reference(struct jaeger_batch *batch, const struct jaeger_reference *reference)
{
    struct jaeger_span *span = &batch->span;
    if (!(reference->trace_high | reference->trace_low) || !reference->span_id) {
        span->references_dropped++;
        return true;
    }
    if (span->reference_count == span->reference_capacity &&
        !jaeger_grow(batch, &span->references, span->reference_count, &span->reference_capacity,
                     JAEGER_REFERENCES_MORE, sizeof *span->references))
        return false;
    span->references[span->reference_count++] = *reference;
    return true;
}

/* Some clients send a span that was never filled. */
static bool jaeger_span_is_blank(const struct jaeger_span *span)
{
    return !(span->trace_high | span->trace_low | span->parent_id | span->flags | span->start_ns |
             span->duration_ns | span->name.len | span->tags.count | span->log_count |
             span->reference_count | span->references_dropped) &&
           !span->has_process && otlp_all_zero(span->trace_id.ptr, span->trace_id.len) &&
           otlp_all_zero(span->span_id.ptr, span->span_id.len);
}

/* The tag if it is there and text. */
static struct jaeger_tag *jaeger_known_text(const struct jaeger_known *known, enum jaeger_key key)
{
    struct jaeger_tag *tag = jaeger_known_tag(known, key);
    return tag && tag->type == JAEGER_STRING ? tag : NULL;
}

/* Its text, and the tag is hidden; empty if it is not there or not text. */
static struct fm_slice jaeger_known_take(const struct jaeger_known *known, enum jaeger_key key)
{
    struct jaeger_tag *tag = jaeger_known_text(known, key);
    if (!tag)
        return fm_slice(NULL, 0);
    tag->hidden = true;
    return jaeger_tag_text(tag);
}

/* An integer, also as decimal text. */
static bool jaeger_tag_integer(const struct jaeger_tag *tag, int64_t *ret_value)
{
    if (tag->type == JAEGER_LONG) {
        *ret_value = tag->integer;
        return true;
    }
    if (tag->type != JAEGER_STRING || !tag->text_len)
        return false;
    uint32_t i = tag->text[0] == '-' || tag->text[0] == '+';
    int64_t value = 0;
    if (i == tag->text_len)
        return false;
    for (; i < tag->text_len; i++) {
        int digit = tag->text[i] - '0';
        if (digit < 0 || digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return false;
    }
    *ret_value = tag->text[0] == '-' ? -value : value;
    return true;
}

static enum jaeger_kind jaeger_span_kind(const struct jaeger_known *known)
{
    static const char *const names[] = {
        [JAEGER_INTERNAL] = "internal", [JAEGER_SERVER] = "server",     [JAEGER_CLIENT] = "client",
        [JAEGER_PRODUCER] = "producer", [JAEGER_CONSUMER] = "consumer",
    };
    struct jaeger_tag *tag = jaeger_known_tag(known, JAEGER_KEY_SPAN_KIND);
    if (!tag)
        return JAEGER_UNSPECIFIED;
    tag->hidden = true; /* even if nobody knows the kind */
    if (tag->type != JAEGER_STRING)
        return JAEGER_UNSPECIFIED;
    for (unsigned kind = JAEGER_INTERNAL; kind < FM_COUNT(names); kind++)
        if (fm_slice_equal_nocase(jaeger_tag_text(tag), names[kind]))
            return (enum jaeger_kind)kind;
    return JAEGER_UNSPECIFIED;
}

/* ---- status ---- */

/* The generic rule calls 399 an error, because Collector and Tempo do. */
static enum jaeger_status jaeger_status_from_http(int64_t code, enum jaeger_kind kind)
{
    if (code >= 400 && code <= 499 && kind == JAEGER_SERVER)
        return JAEGER_STATUS_UNSET;
    return code >= 100 && code < 399 ? JAEGER_STATUS_UNSET : JAEGER_STATUS_ERROR;
}

static struct fm_slice jaeger_http_message(const struct jaeger_known *known)
{
    struct jaeger_tag *tag = jaeger_known_text(known, JAEGER_KEY_HTTP_STATUS_MESSAGE);
    return tag ? jaeger_tag_text(tag) : fm_slice(NULL, 0);
}

/* error=true, or its text, which many OpenTracing libraries set. */
static bool jaeger_status_from_error(const struct jaeger_known *known, struct jaeger_result *result)
{
    struct jaeger_tag *tag = jaeger_known_tag(known, JAEGER_KEY_ERROR);
    if (!tag)
        return false;
    if (tag->type == JAEGER_BOOL
            ? !tag->integer
            : tag->type != JAEGER_STRING || !fm_slice_equal_text(jaeger_tag_text(tag), "true"))
        return false;
    tag->hidden = true;
    result->status = JAEGER_STATUS_ERROR;
    result->message = jaeger_known_text(known, JAEGER_KEY_STATUS_DESCRIPTION)
                          ? jaeger_known_take(known, JAEGER_KEY_STATUS_DESCRIPTION)
                          : jaeger_http_message(known);
    return true;
}

static void jaeger_span_status(const struct jaeger_known *known, struct jaeger_result *result)
{
    bool is_error = jaeger_status_from_error(known, result);
    struct jaeger_tag *code = jaeger_known_tag(known, JAEGER_KEY_STATUS_CODE);
    int64_t http_code;
    if (code) {
        code->hidden = true;
        if (is_error)
            return;
        if (code->type == JAEGER_STRING && fm_slice_equal_nocase(jaeger_tag_text(code), "ok"))
            result->status = JAEGER_STATUS_OK;
        else if (code->type == JAEGER_STRING &&
                 fm_slice_equal_nocase(jaeger_tag_text(code), "error"))
            result->status = JAEGER_STATUS_ERROR;
        result->message = jaeger_known_take(known, JAEGER_KEY_STATUS_DESCRIPTION);
        return;
    }
    struct jaeger_tag *http = jaeger_known_tag(known, JAEGER_KEY_HTTP_STATUS_CODE);
    if (is_error || !http || !jaeger_tag_integer(http, &http_code))
        return;
    result->status = jaeger_status_from_http(http_code, result->kind);
    if (result->status != JAEGER_STATUS_UNSET)
        result->message = jaeger_http_message(known);
}

/* ---- the other meaningful tags ---- */

/* Exporters of OpenTelemetry wrote both pairs for a while. */
static void jaeger_span_scope(const struct jaeger_known *known, struct jaeger_result *result)
{
    bool has_scope = jaeger_known_text(known, JAEGER_KEY_SCOPE_NAME);
    bool has_library = jaeger_known_text(known, JAEGER_KEY_LIBRARY_NAME);
    struct fm_slice name, version;
    if (has_library) {
        result->scope_name = jaeger_known_take(known, JAEGER_KEY_LIBRARY_NAME);
        result->scope_version = jaeger_known_take(known, JAEGER_KEY_LIBRARY_VERSION);
    }
    if (has_scope) {
        name = jaeger_known_take(known, JAEGER_KEY_SCOPE_NAME);
        version = jaeger_known_take(known, JAEGER_KEY_SCOPE_VERSION);
        result->scope_name = name;
        result->scope_version = version;
    }
}

static uint32_t jaeger_dropped_count(const struct jaeger_known *known, enum jaeger_key key)
{
    struct jaeger_tag *tag = jaeger_known_tag(known, key);
    int64_t count;
    if (!tag || !jaeger_tag_integer(tag, &count) || count < 0 || count > UINT32_MAX)
        return 0;
    tag->hidden = true;
    return (uint32_t)count;
}

/* ---- references ---- */

static uint64_t jaeger_span_parent(const struct jaeger_span *span)
{
    uint64_t follows = 0;
    if (span->parent_id)
        return span->parent_id;
    for (uint32_t i = 0; i < span->reference_count; i++) {
        const struct jaeger_reference *reference = &span->references[i];
        if (reference->trace_high != span->trace_high || reference->trace_low != span->trace_low)
            continue;
        if (reference->type == JAEGER_CHILD_OF)
            return reference->span_id;
        if (!follows)
            follows = reference->span_id;
    }
    return follows;
}

/* Only the reference that says the same as parent_span_id is left out. */
static bool jaeger_reference_is_link(const struct jaeger_reference *reference, uint64_t parent_id)
{
    return reference->type != JAEGER_CHILD_OF || reference->span_id != parent_id;
}

static struct fm_slice jaeger_reference_text(const struct jaeger_reference *reference)
{
    return reference->type == JAEGER_CHILD_OF ? FM_SLICE(JAEGER_CHILD_OF_TEXT)
                                              : FM_SLICE(JAEGER_FOLLOWS_TEXT);
}

static struct jaeger_tag jaeger_link_tag(const struct jaeger_reference *reference)
{
    struct fm_slice text = jaeger_reference_text(reference);
    struct jaeger_tag tag = {
        .key = (const uint8_t *)JAEGER_LINK_KEY,
        .key_len = sizeof JAEGER_LINK_KEY - 1,
        .text = text.ptr,
        .text_len = (uint32_t)text.len,
        .type = JAEGER_STRING,
    };
    jaeger_tag_measure(&tag);
    return tag;
}

static size_t jaeger_link_size(const struct jaeger_reference *reference)
{
    return JAEGER_LINK_IDS_SIZE + jaeger_field_size(jaeger_link_tag(reference).size);
}

static uint8_t *jaeger_link_put(uint8_t *target, const struct jaeger_reference *reference)
{
    struct jaeger_tag tag = jaeger_link_tag(reference);
    uint8_t ids[24];
    fm_store_be64(ids, reference->trace_high);
    fm_store_be64(ids + 8, reference->trace_low);
    fm_store_be64(ids + 16, reference->span_id);
    target = jaeger_put_head(target, 13, jaeger_link_size(reference));
    target = jaeger_put_slice(target, 1, fm_slice(ids, 16));
    target = jaeger_put_slice(target, 2, fm_slice(ids + 16, 8));
    return jaeger_tag_put(target, 4, &tag);
}

/* ---- logs ---- */

static int jaeger_log_settle(struct jaeger_batch *batch, struct jaeger_log *log)
{
    int rc = jaeger_tags_settle(batch, log->tags, log->count);
    if (rc < 0)
        return rc;
    struct jaeger_tag *event = jaeger_known_tag(&batch->known, JAEGER_KEY_EVENT);
    log->name = 0;
    if (event) {
        event->hidden = true; /* also if it is not text, and then there is no name */
        if (event->type == JAEGER_STRING && event->text_len)
            log->name = (uint32_t)(event - log->tags) + 1;
    }
    return FM_OK;
}

static size_t jaeger_log_size(const struct jaeger_log *log)
{
    size_t name = log->name ? jaeger_field_size(log->tags[log->name - 1].text_len) : 0;
    return 1 + 8 + name + jaeger_tags_size(log->tags, log->count);
}

static uint8_t *jaeger_put_fixed64(uint8_t *target, uint32_t number, uint64_t value)
{
    *target++ = (uint8_t)(number << 3 | 1);
    fm_store_le64(target, value);
    return target + 8;
}

static uint8_t *jaeger_put_u32(uint8_t *target, uint32_t number, uint32_t value)
{
    if (!value)
        return target;
    *target++ = (uint8_t)(number << 3);
    return jaeger_put_varint(target, value);
}

static size_t jaeger_u32_size(uint32_t value)
{
    return value ? 1 + jaeger_varint_size(value) : 0;
}

static uint8_t *jaeger_log_put(uint8_t *target, const struct jaeger_log *log, struct fm_slice input)
{
    target = jaeger_put_head(target, 11, jaeger_log_size(log));
    target = jaeger_put_fixed64(target, 1, log->time_ns);
    if (log->name)
        target = jaeger_put_slice(target, 2, jaeger_tag_text(&log->tags[log->name - 1]));
    return jaeger_tags_put_loose(target, 3, log->tags, log->count, input);
}

/* ---- the span ---- */

static int jaeger_span_settle(struct jaeger_batch *batch, struct jaeger_result *result)
{
    struct jaeger_span *span = &batch->span;
    const struct jaeger_known *known = &batch->known;
    int rc = jaeger_tags_settle(batch, span->tags.items, span->tags.count);
    if (rc < 0)
        return rc;
    *result = (struct jaeger_result){.kind = JAEGER_UNSPECIFIED};
    if (known->mask) {
        result->kind = jaeger_span_kind(known);
        jaeger_span_status(known, result);
        jaeger_span_scope(known, result);
        result->trace_state = jaeger_known_take(known, JAEGER_KEY_TRACESTATE);
        result->dropped_attributes = jaeger_dropped_count(known, JAEGER_KEY_DROPPED_ATTRIBUTES);
        result->dropped_events = jaeger_dropped_count(known, JAEGER_KEY_DROPPED_EVENTS);
        result->dropped_links = jaeger_dropped_count(known, JAEGER_KEY_DROPPED_LINKS);
    }
    if (__builtin_add_overflow(span->start_ns, span->duration_ns, &result->end_ns))
        result->end_ns = UINT64_MAX;
    if (__builtin_add_overflow(result->dropped_links, span->references_dropped,
                               &result->dropped_links))
        result->dropped_links = UINT32_MAX;
    result->parent_id = jaeger_span_parent(span);
    for (uint32_t i = 0; rc == FM_OK && i < span->log_count; i++)
        rc = jaeger_log_settle(batch, &span->logs[i]); /* known is now the log's */
    return rc;
}

static size_t jaeger_status_size(const struct jaeger_result *result)
{
    return (result->message.len ? jaeger_field_size(result->message.len) : 0) +
           (result->status ? JAEGER_STATUS_CODE_SIZE : 0);
}

static size_t jaeger_span_size(const struct jaeger_span *span, const struct jaeger_result *result)
{
    size_t status = jaeger_status_size(result);
    size_t size = jaeger_field_size(span->trace_id.len) + jaeger_field_size(span->span_id.len) +
                  2 * (1 + 8); /* start and end */
    if (result->trace_state.len)
        size += jaeger_field_size(result->trace_state.len);
    if (result->parent_id)
        size += 2 + 8;
    if (span->name.len)
        size += jaeger_field_size(span->name.len);
    size += jaeger_u32_size(result->kind);
    size += jaeger_tags_size(span->tags.items, span->tags.count);
    size += jaeger_u32_size(result->dropped_attributes);
    for (uint32_t i = 0; i < span->log_count; i++)
        size += jaeger_field_size(jaeger_log_size(&span->logs[i]));
    size += jaeger_u32_size(result->dropped_events);
    for (uint32_t i = 0; i < span->reference_count; i++)
        if (jaeger_reference_is_link(&span->references[i], result->parent_id))
            size += jaeger_field_size(jaeger_link_size(&span->references[i]));
    size += jaeger_u32_size(result->dropped_links);
    if (status)
        size += jaeger_field_size(status);
    return size + (span->flags & 1 ? 2 + 4 : 0);
}

static uint8_t *jaeger_status_put(uint8_t *target, const struct jaeger_result *result)
{
    size_t size = jaeger_status_size(result);
    if (!size)
        return target;
    target = jaeger_put_head(target, 15, size);
    if (result->message.len)
        target = jaeger_put_slice(target, 2, result->message);
    return jaeger_put_u32(target, 3, result->status);
}

/* Fields in the order of their numbers.  input: see jaeger_tags_put_loose. */
static uint8_t *jaeger_span_write(uint8_t *target, const struct jaeger_span *span,
                                  const struct jaeger_result *result, struct fm_slice input)
{
    target = jaeger_put_slice(target, 1, span->trace_id);
    target = jaeger_put_slice(target, 2, span->span_id);
    if (result->trace_state.len)
        target = jaeger_put_slice(target, 3, result->trace_state);
    if (result->parent_id) {
        target = jaeger_put_head(target, 4, 8);
        fm_store_be64(target, result->parent_id);
        target += 8;
    }
    if (span->name.len)
        target = jaeger_put_slice(target, 5, span->name);
    target = jaeger_put_u32(target, 6, result->kind);
    target = jaeger_put_fixed64(target, 7, span->start_ns);
    target = jaeger_put_fixed64(target, 8, result->end_ns);
    target = jaeger_tags_put_loose(target, 9, span->tags.items, span->tags.count, input);
    target = jaeger_put_u32(target, 10, result->dropped_attributes);
    for (uint32_t i = 0; i < span->log_count; i++)
        target = jaeger_log_put(target, &span->logs[i], input);
    target = jaeger_put_u32(target, 12, result->dropped_events);
    for (uint32_t i = 0; i < span->reference_count; i++)
        if (jaeger_reference_is_link(&span->references[i], result->parent_id))
            target = jaeger_link_put(target, &span->references[i]);
    target = jaeger_put_u32(target, 14, result->dropped_links);
    target = jaeger_status_put(target, result);
    if (span->flags & 1) { /* sampled; debug and firehose mean nothing in OTLP */
        *target++ = 0x85;  /* field 16, fixed32 */
        *target++ = 0x01;
        fm_store_le32(target, 1);
        target += 4;
    }
    return target;
}

/* Facts about the span; its parent and links have valid ids or are not there. */
static int jaeger_span_judge(struct jaeger_batch *batch, const struct jaeger_result *result)
{
    const struct jaeger_span *span = &batch->span;
    const struct otlp_span_seen seen = {
        .ids = {[OTLP_SPAN_TRACE_ID] = span->trace_id, [OTLP_SPAN_SPAN_ID] = span->span_id},
        .start_ns = span->start_ns,
        .end_ns = result->end_ns,
    };
    if (!otlp_span_done(batch->walk, &seen, batch->walk->mended))
        batch->rc = batch->walk->rc;
    return batch->rc;
}

int jaeger_span_put(struct jaeger_batch *batch)
{
    const struct jaeger_span *span = &batch->span;
    struct jaeger_result result;
    if (jaeger_span_is_blank(span))
        return FM_OK;
    int rc = jaeger_span_settle(batch, &result);
    if (rc < 0)
        return rc;
    struct jaeger_scope *scope = jaeger_batch_scope(batch, result.scope_name, result.scope_version);
    if (!scope)
        return batch->rc;
    size_t size = jaeger_span_size(span, &result), whole = jaeger_field_size(size);
    uint8_t *target = jaeger_room(batch, whole);
    if (!target)
        return batch->rc;
    uint8_t *end = target + whole;
    target = jaeger_put_head(target, OTLP_SS_SPANS, size);
    bool has_slack = batch->target->cap - batch->target->len >= whole + JAEGER_SLACK;
    target = jaeger_span_write(target, span, &result, has_slack ? batch->input : fm_slice("", 0));
    FM_ASSERT(target == end);
    batch->target->len += whole;
    scope->run_last->len += whole;
    scope->size += whole;
    return batch->walk ? jaeger_span_judge(batch, &result) : FM_OK;
}
