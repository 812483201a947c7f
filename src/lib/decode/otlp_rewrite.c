/* SPDX-License-Identifier: Apache-2.0 */
/* Writes a request anew without what the check refused and with what it mended.
 *
 * Spans and attributes in which the walk finds nothing are copied as they stand; only the others
 * are taken apart.  Fields keep their order, unknown fields their bytes.  A field given twice is
 * resolved as protobuf says: the last one counts, messages are merged. */
#include "otlp_walk.h"

/* Values given twice at every level of nesting would each be joined while the outer ones are held:
 * past this many times the request's size they are emptied, like values nested too deeply. */
#define OTLP_JOINED_MAX 8

struct otlp_rewrite {
    struct otlp_walk walk;
    struct fm_buf *target; /* borrowed */
    size_t joined_bytes;   /* held by otlp_join_value just now */
    size_t joined_bytes_max;
};

/* Where each known field of a message stands last, and what is said to be dropped. */
struct otlp_last {
    const uint8_t *raw[OTLP_FIELD_MAX + 1];
    uint64_t values[OTLP_FIELD_MAX + 1];
};

static int otlp_find_last(const struct otlp_shape *shape, struct fm_slice content,
                          struct otlp_last *ret_last)
{
    struct pb_field field;
    int rc;

    memset(ret_last, 0, sizeof *ret_last);
    while ((rc = pb_next(&content, &field)) == FM_OK) {
        if (!otlp_knows(shape, field.number, field.type))
            continue;
        ret_last->raw[field.number] = field.raw.ptr;
        ret_last->values[field.number] = field.value;
    }
    return rc == FM_END ? FM_OK : rc;
}

/* The content of an embedded message: all fields `number` from the first in content on, joined.
 * joined holds the bytes if there is more than one; the caller ends it. */
static int otlp_join(struct fm_slice content, uint32_t number, struct fm_buf *joined,
                     struct fm_slice *ret_content)
{
    struct fm_slice first = {0}, rest = content;
    struct pb_field field;
    size_t count = 0;
    int rc;

    fm_buf_init(joined, content.len);
    while ((rc = pb_next(&rest, &field)) == FM_OK) {
        if (field.number != number || field.type != PB_BYTES)
            continue;
        if (++count == 2)
            fm_buf_put_slice(joined, first);
        if (count >= 2)
            fm_buf_put_slice(joined, field.bytes);
        else
            first = field.bytes;
    }
    if (rc != FM_END)
        return rc;
    if (joined->failed)
        return FM_ENOMEM;
    *ret_content = joined->len ? fm_buf_slice(joined) : first;
    return FM_OK;
}

/* otlp_join within the limit on what is held; ended by otlp_join_end. */
static int otlp_join_value(struct otlp_rewrite *rewrite, struct fm_slice content, uint32_t number,
                           struct fm_buf *joined, struct fm_slice *ret_content)
{
    if (rewrite->joined_bytes + content.len > rewrite->joined_bytes_max) {
        fm_buf_init(joined, 0);
        *ret_content = (struct fm_slice){0};
        return FM_OK;
    }
    int rc = otlp_join(content, number, joined, ret_content);
    rewrite->joined_bytes += joined->len;
    return rc;
}

static void otlp_join_end(struct otlp_rewrite *rewrite, struct fm_buf *joined)
{
    rewrite->joined_bytes -= joined->len;
    fm_buf_fini(joined);
}

/* The longest prefix of at most max bytes that does not end inside a code point. */
static struct fm_slice otlp_cut(struct fm_slice text, size_t max)
{
    if (text.len <= max)
        return text;
    size_t len = max;
    while (len && max - len < 4 && (text.ptr[len] & 0xc0) == 0x80)
        len--;
    bool boundary = (text.ptr[len] & 0xc0) != 0x80;
    return fm_slice(text.ptr, boundary ? len : max);
}

static int otlp_put_value(struct otlp_rewrite *rewrite, struct fm_slice content, uint32_t depth,
                          bool cut);

/* KeyValue's content. */
static int otlp_put_pair(struct otlp_rewrite *rewrite, struct fm_slice content, uint32_t depth,
                         bool cut)
{
    struct fm_buf *target = rewrite->target;
    struct fm_slice rest = content;
    struct otlp_last last;
    struct pb_field field;
    int rc = otlp_find_last(&otlp_key_value_shape, content, &last);

    while (rc == FM_OK && (rc = pb_next(&rest, &field)) == FM_OK) {
        if (!otlp_knows(&otlp_key_value_shape, field.number, field.type)) {
            fm_buf_put_slice(target, field.raw);
        } else if (field.raw.ptr != last.raw[field.number]) {
            continue;
        } else if (field.number == OTLP_KV_KEY) {
            size_t max = cut ? rewrite->walk.limits.attribute_bytes_max : SIZE_MAX;
            pb_put_bytes(target, OTLP_KV_KEY, otlp_cut(field.bytes, max));
        } else {
            struct fm_buf joined;
            struct fm_slice value;
            rc = otlp_join_value(rewrite, content, OTLP_KV_VALUE, &joined, &value);
            size_t mark = pb_begin(target, OTLP_KV_VALUE);
            if (rc == FM_OK)
                rc = otlp_put_value(rewrite, value, depth, cut);
            pb_end(target, mark);
            otlp_join_end(rewrite, &joined);
        }
    }
    return rc == FM_END ? FM_OK : rc;
}

/* The content of ArrayValue or KeyValueList, elements' values at depth. */
static int otlp_put_list(struct otlp_rewrite *rewrite, struct fm_slice content, uint32_t depth,
                         bool pairs)
{
    struct pb_field field;
    int rc;

    while ((rc = pb_next(&content, &field)) == FM_OK) {
        if (field.number != 1 || field.type != PB_BYTES) {
            fm_buf_put_slice(rewrite->target, field.raw);
            continue;
        }
        size_t mark = pb_begin(rewrite->target, 1);
        rc = pairs ? otlp_put_pair(rewrite, field.bytes, depth, false)
                   : otlp_put_value(rewrite, field.bytes, depth, false);
        pb_end(rewrite->target, mark);
        if (rc < 0)
            return rc;
    }
    return rc == FM_END ? FM_OK : rc;
}

static bool otlp_value_knows(const struct pb_field *field)
{
    static const uint8_t types[] = {0xff,     PB_BYTES, PB_VARINT, PB_VARINT, PB_FIXED64,
                                    PB_BYTES, PB_BYTES, PB_BYTES,  PB_VARINT};
    return field->number <= OTLP_VALUE_STRINDEX && types[field->number] == field->type;
}

/* The member of the oneof that counts: the last.  *ret_run: where the run of members of its number
 * begins that are merged with it, if it is a message. */
static int otlp_value_member(struct fm_slice content, struct pb_field *ret_member,
                             struct fm_slice *ret_run)
{
    struct pb_field field, member = {0};
    struct fm_slice rest = content, run = content;
    int rc;

    while ((rc = pb_next(&rest, &field)) == FM_OK) {
        if (!otlp_value_knows(&field))
            continue;
        if (field.number != member.number)
            run = fm_slice(field.raw.ptr, (size_t)(content.ptr + content.len - field.raw.ptr));
        member = field;
    }
    if (rc != FM_END)
        return rc;
    *ret_member = member;
    *ret_run = run;
    return FM_OK;
}

static int otlp_put_member(struct otlp_rewrite *rewrite, const struct pb_field *member,
                           struct fm_slice run, uint32_t depth, bool cut)
{
    struct fm_buf *target = rewrite->target;

    if (member->number == OTLP_VALUE_STRING) {
        size_t max = cut ? rewrite->walk.limits.attribute_bytes_max : SIZE_MAX;
        pb_put_bytes(target, OTLP_VALUE_STRING, otlp_cut(member->bytes, max));
        return FM_OK;
    }
    if (member->number != OTLP_VALUE_ARRAY && member->number != OTLP_VALUE_KVLIST) {
        fm_buf_put_slice(target, member->raw);
        return FM_OK;
    }
    struct fm_buf joined;
    struct fm_slice content;
    int rc = otlp_join_value(rewrite, run, member->number, &joined, &content);
    size_t mark = pb_begin(target, member->number);
    if (rc == FM_OK)
        rc = otlp_put_list(rewrite, content, depth + 1, member->number == OTLP_VALUE_KVLIST);
    pb_end(target, mark);
    otlp_join_end(rewrite, &joined);
    return rc;
}

/* AnyValue's content; nothing if it is nested too deeply. */
static int otlp_put_value(struct otlp_rewrite *rewrite, struct fm_slice content, uint32_t depth,
                          bool cut)
{
    struct pb_field field, member;
    struct fm_slice run;
    int rc;

    if (depth > rewrite->walk.limits.value_depth_max)
        return FM_OK;
    rc = otlp_value_member(content, &member, &run);
    while (rc == FM_OK && (rc = pb_next(&content, &field)) == FM_OK) {
        if (!otlp_value_knows(&field))
            fm_buf_put_slice(rewrite->target, field.raw);
        else if (field.raw.ptr == member.raw.ptr)
            rc = otlp_put_member(rewrite, &member, run, depth, cut);
    }
    return rc == FM_END ? FM_OK : rc;
}

static int otlp_put_attribute(struct otlp_rewrite *rewrite, const struct pb_field *field)
{
    const uint8_t *end = field->bytes.ptr + field->bytes.len;

    rewrite->walk.mended = 0;
    if (!otlp_walk_attribute(&rewrite->walk, field->bytes.ptr, end))
        return FM_EMALFORMED;
    if (!rewrite->walk.mended) {
        fm_buf_put_slice(rewrite->target, field->raw);
        return FM_OK;
    }
    size_t mark = pb_begin(rewrite->target, field->number);
    int rc = otlp_put_pair(rewrite, field->bytes, 1, true);
    pb_end(rewrite->target, mark);
    return rc;
}

static uint32_t otlp_saturate(uint64_t present, uint32_t more)
{
    uint32_t count = (uint32_t)present;
    return count > UINT32_MAX - more ? UINT32_MAX : count + more;
}

/* A message being written, and what was left out of it. */
struct otlp_message {
    const struct otlp_shape *shape;
    struct fm_slice content;
    struct otlp_last last;
    uint32_t attribute_count;
    uint32_t attributes_dropped;
    uint32_t links_dropped;
};

static int otlp_put_message(struct otlp_rewrite *rewrite, const struct otlp_shape *shape,
                            struct fm_slice content);

static int otlp_put_nested(struct otlp_rewrite *rewrite, const struct otlp_shape *shape,
                           uint32_t number, struct fm_slice content)
{
    size_t mark = pb_begin(rewrite->target, number);
    int rc = otlp_put_message(rewrite, shape, content);
    pb_end(rewrite->target, mark);
    return rc;
}

/* All fields `number` of content as one message; none: nothing. */
static int otlp_put_merged(struct otlp_rewrite *rewrite, const struct otlp_shape *shape,
                           uint32_t number, struct fm_slice content)
{
    struct fm_buf joined;
    struct fm_slice merged;
    int rc = otlp_join(content, number, &joined, &merged);
    if (rc == FM_OK && merged.ptr)
        rc = otlp_put_nested(rewrite, shape, number, merged);
    fm_buf_fini(&joined);
    return rc;
}

static int otlp_put_link(struct otlp_rewrite *rewrite, struct otlp_message *message,
                         const struct pb_field *link)
{
    struct fm_slice ids[3] = {0}, rest = link->bytes;
    struct pb_field field;
    int rc;

    while ((rc = pb_next(&rest, &field)) == FM_OK) {
        if (field.type == PB_BYTES && field.number <= OTLP_LINK_SPAN_ID)
            ids[field.number] = field.bytes;
    }
    if (rc != FM_END)
        return rc;
    if (!otlp_trace_id_is_valid(ids[OTLP_LINK_TRACE_ID]) ||
        !otlp_span_id_is_valid(ids[OTLP_LINK_SPAN_ID])) {
        message->links_dropped++;
        return FM_OK;
    }
    return otlp_put_nested(rewrite, &otlp_link_shape, OTLP_SPAN_LINKS, link->bytes);
}

/* The fields of a span that are more than plain. */
static int otlp_put_span_field(struct otlp_rewrite *rewrite, struct otlp_message *message,
                               const struct pb_field *field)
{
    switch (field->number) {
    case OTLP_SPAN_PARENT_ID:
        if (otlp_span_id_is_valid(field->bytes))
            fm_buf_put_slice(rewrite->target, field->raw);
        return FM_OK;
    case OTLP_SPAN_EVENTS:
        return otlp_put_nested(rewrite, &otlp_event_shape, OTLP_SPAN_EVENTS, field->bytes);
    case OTLP_SPAN_LINKS:
        return otlp_put_link(rewrite, message, field);
    case OTLP_SPAN_STATUS:
        return otlp_put_merged(rewrite, &otlp_status_shape, OTLP_SPAN_STATUS, message->content);
    case OTLP_SPAN_LINKS_DROPPED:
        return FM_OK; /* written last */
    default:
        fm_buf_put_slice(rewrite->target, field->raw);
        return FM_OK;
    }
}

static int otlp_put_field(struct otlp_rewrite *rewrite, struct otlp_message *message,
                          const struct pb_field *field)
{
    const struct otlp_shape *shape = message->shape;

    if (!otlp_knows(shape, field->number, field->type)) {
        fm_buf_put_slice(rewrite->target, field->raw);
        return FM_OK;
    }
    if (field->number == shape->attributes) {
        if (message->attribute_count++ < rewrite->walk.limits.attribute_count_max)
            return otlp_put_attribute(rewrite, field);
        message->attributes_dropped++;
        return FM_OK;
    }
    if (field->number == shape->dropped || ((shape->singular & OTLP_BIT(field->number)) &&
                                            field->raw.ptr != message->last.raw[field->number]))
        return FM_OK;
    if (shape == &otlp_span_shape)
        return otlp_put_span_field(rewrite, message, field);
    fm_buf_put_slice(rewrite->target, field->raw);
    return FM_OK;
}

static void otlp_put_dropped(struct otlp_rewrite *rewrite, const struct otlp_message *message,
                             uint32_t number, uint32_t more)
{
    if (number && (message->last.raw[number] || more))
        pb_put_u64(rewrite->target, number, otlp_saturate(message->last.values[number], more));
}

/* The content of any message but AnyValue, KeyValue and the two envelopes. */
static int otlp_put_message(struct otlp_rewrite *rewrite, const struct otlp_shape *shape,
                            struct fm_slice content)
{
    struct otlp_message message = {.shape = shape, .content = content};
    struct fm_slice rest = content;
    struct pb_field field;
    int rc = otlp_find_last(shape, content, &message.last);

    while (rc == FM_OK && (rc = pb_next(&rest, &field)) == FM_OK)
        rc = otlp_put_field(rewrite, &message, &field);
    if (rc < 0)
        return rc;
    otlp_put_dropped(rewrite, &message, shape->dropped, message.attributes_dropped);
    if (shape == &otlp_span_shape)
        otlp_put_dropped(rewrite, &message, OTLP_SPAN_LINKS_DROPPED, message.links_dropped);
    return FM_OK;
}

/* *span_count grows by one unless the span is refused. */
static int otlp_put_span(struct otlp_rewrite *rewrite, const struct pb_field *field,
                         size_t *span_count)
{
    const uint8_t *end = field->bytes.ptr + field->bytes.len;

    rewrite->walk.mended = rewrite->walk.refused = 0;
    if (!otlp_walk_span(&rewrite->walk, field->bytes.ptr, end))
        return FM_EMALFORMED;
    if (rewrite->walk.refused)
        return FM_OK;
    ++*span_count;
    if (rewrite->walk.mended)
        return otlp_put_nested(rewrite, &otlp_span_shape, OTLP_SS_SPANS, field->bytes);
    pb_put_bytes(rewrite->target, OTLP_SS_SPANS, field->bytes);
    return FM_OK;
}

/* Ends an envelope, or takes it back if it holds no span. */
static void otlp_end_envelope(struct fm_buf *target, size_t start, size_t mark, size_t span_count)
{
    if (span_count)
        pb_end(target, mark);
    else if (!target->failed)
        target->len = start;
}

static int otlp_put_scope_spans(struct otlp_rewrite *rewrite, struct fm_slice content,
                                size_t *span_count)
{
    struct fm_buf *target = rewrite->target;
    struct fm_slice rest = content;
    struct otlp_last last;
    struct pb_field field;
    size_t start = target->len, mark = pb_begin(target, OTLP_RS_SCOPE_SPANS), count = 0;
    int rc = otlp_find_last(&otlp_scope_spans_shape, content, &last);

    if (rc == FM_OK)
        rc = otlp_put_merged(rewrite, &otlp_scope_shape, OTLP_SS_SCOPE, content);
    while (rc == FM_OK && (rc = pb_next(&rest, &field)) == FM_OK) {
        bool known = otlp_knows(&otlp_scope_spans_shape, field.number, field.type);
        if (known && field.number == OTLP_SS_SPANS)
            rc = otlp_put_span(rewrite, &field, &count);
        else if (!known || (field.number == OTLP_SS_SCHEMA_URL &&
                            field.raw.ptr == last.raw[OTLP_SS_SCHEMA_URL]))
            fm_buf_put_slice(target, field.raw);
    }
    otlp_end_envelope(target, start, mark, count);
    *span_count += count;
    return rc == FM_END ? FM_OK : rc;
}

static int otlp_put_resource_spans(struct otlp_rewrite *rewrite, struct fm_slice content)
{
    struct fm_buf *target = rewrite->target;
    struct fm_slice rest = content;
    struct otlp_last last;
    struct pb_field field;
    size_t start = target->len, mark = pb_begin(target, OTLP_REQUEST_RESOURCE_SPANS), count = 0;
    int rc = otlp_find_last(&otlp_resource_spans_shape, content, &last);

    if (rc == FM_OK)
        rc = otlp_put_merged(rewrite, &otlp_resource_shape, OTLP_RS_RESOURCE, content);
    while (rc == FM_OK && (rc = pb_next(&rest, &field)) == FM_OK) {
        bool known = otlp_knows(&otlp_resource_spans_shape, field.number, field.type);
        bool legacy = field.number == OTLP_RS_LEGACY && field.type == PB_BYTES;
        if (known && field.number == OTLP_RS_SCOPE_SPANS)
            rc = otlp_put_scope_spans(rewrite, field.bytes, &count);
        else if (legacy)
            rc = last.raw[OTLP_RS_SCOPE_SPANS] ? FM_OK
                                               : otlp_put_scope_spans(rewrite, field.bytes, &count);
        else if (!known || (field.number == OTLP_RS_SCHEMA_URL &&
                            field.raw.ptr == last.raw[OTLP_RS_SCHEMA_URL]))
            fm_buf_put_slice(target, field.raw);
    }
    otlp_end_envelope(target, start, mark, count);
    return rc == FM_END ? FM_OK : rc;
}

int otlp_pb_rewrite(struct fm_slice request, const struct decode_limits *limits,
                    struct fm_buf *target)
{
    struct otlp_rewrite rewrite = {
        .target = target,
        .joined_bytes_max = OTLP_JOINED_MAX * request.len,
    };
    struct pb_field field;
    int rc;

    otlp_walk_init(&rewrite.walk, limits, NULL);
    while ((rc = pb_next(&request, &field)) == FM_OK) {
        if (field.number == OTLP_REQUEST_RESOURCE_SPANS && field.type == PB_BYTES)
            rc = otlp_put_resource_spans(&rewrite, field.bytes);
        else
            fm_buf_put_slice(target, field.raw);
        if (rc < 0)
            return rc;
    }
    if (rc != FM_END)
        return rc;
    return target->failed ? FM_ENOMEM : FM_OK;
}
