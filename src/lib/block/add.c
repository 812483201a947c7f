/* SPDX-License-Identifier: Apache-2.0 */
/* One walk over OTLP bytes: every string is interned, every span becomes a row.
 *
 * Each byte is looked at once; nothing is allocated per span.  What fails in the middle is taken
 * back: the rows are a heap that can be rewound, and interned strings without a row do no harm. */
#include "builder.h"
#include "value.h"

#include "fermata/pb.h"

/* Fields of the OTLP messages read here. */
enum { REQUEST_RESOURCE_SPANS = 1 };
enum { RESOURCE_SPANS_RESOURCE = 1, RESOURCE_SPANS_SCOPES = 2 };
enum { RESOURCE_ATTRIBUTES = 1, RESOURCE_DROPPED = 2 };
enum { SCOPE_SPANS_SCOPE = 1, SCOPE_SPANS_SPANS = 2 };
enum { SCOPE_NAME = 1, SCOPE_VERSION = 2, SCOPE_ATTRIBUTES = 3, SCOPE_DROPPED = 4 };
enum { PAIR_KEY = 1, PAIR_VALUE = 2 };
enum { STATUS_MESSAGE = 2, STATUS_CODE = 3 };
enum { EVENT_TIME = 1, EVENT_NAME = 2, EVENT_ATTRIBUTES = 3, EVENT_DROPPED = 4 };
enum { LINK_TRACE = 1, LINK_SPAN = 2, LINK_STATE = 3, LINK_ATTRIBUTES = 4, LINK_DROPPED = 5 };
enum {
    SPAN_TRACE = 1,
    SPAN_ID = 2,
    SPAN_STATE = 3,
    SPAN_PARENT = 4,
    SPAN_NAME = 5,
    SPAN_KIND = 6,
    SPAN_START = 7,
    SPAN_END = 8,
    SPAN_ATTRIBUTES = 9,
    SPAN_DROPPED = 10,
    SPAN_EVENTS = 11,
    SPAN_EVENTS_DROPPED = 12,
    SPAN_LINKS = 13,
    SPAN_LINKS_DROPPED = 14,
    SPAN_STATUS = 15,
};

/* The number of a text; what is not UTF-8 is mended first.  Only new texts are looked at. */
static uint32_t builder_string(struct block_builder *builder, struct fm_slice text)
{
    uint32_t hash;
    uint32_t number = intern_find(&builder->strings, text, &hash);
    if (FM_LIKELY(number != INTERN_NONE))
        return number;
    if (FM_LIKELY(fm_utf8_valid_len(text) == text.len))
        return intern_add(&builder->strings, text, hash);
    fm_buf_reset(&builder->text);
    fm_utf8_repair(&builder->text, text);
    if (builder->text.failed) {
        builder->pool.rc = FM_ENOMEM;
        return INTERN_NONE;
    }
    return intern_put(&builder->strings, fm_buf_slice(&builder->text));
}

static int builder_put_string(struct block_builder *builder, struct fm_buf *target,
                              struct fm_slice text)
{
    uint32_t number = builder_string(builder, text);
    uint8_t *room = fm_buf_room(target, ROW_VARINT_MAX);
    if (number == INTERN_NONE || !room)
        return number == INTERN_NONE ? builder->pool.rc : FM_ENOMEM;
    target->len += (size_t)(row_put(room, number) - room);
    return FM_OK;
}

static void builder_put_number(struct fm_buf *target, uint64_t value)
{
    uint8_t *room = fm_buf_room(target, ROW_VARINT_MAX);
    if (room)
        target->len += (size_t)(row_put(room, value) - room);
}

static int builder_put_unsupported(struct block_builder *builder, struct fm_buf *target,
                                   struct fm_slice any_value)
{
    fm_buf_reset(&builder->text);
    int rc = value_put_json(any_value, &builder->text);
    if (rc < 0)
        return rc;
    if (builder->text.failed)
        return FM_ENOMEM;
    uint32_t number = intern_put(&builder->strings, fm_buf_slice(&builder->text));
    if (number == INTERN_NONE)
        return builder->pool.rc;
    builder_put_number(target, number);
    return FM_OK;
}

/* A scalar value; ret_kind says how it was written, ROW_UNSUPPORTED: it was not. */
static int builder_put_scalar(struct block_builder *builder, struct fm_buf *target,
                              const struct value *value, unsigned *ret_kind)
{
    switch (value->kind) {
    case VALUE_STRING:
        *ret_kind = ROW_STRING;
        return builder_put_string(builder, target, value->bytes);
    case VALUE_BOOL:
        *ret_kind = ROW_BOOL;
        builder_put_number(target, value->number != 0);
        return FM_OK;
    case VALUE_INT:
        *ret_kind = ROW_INT;
        builder_put_number(target, row_zigzag((int64_t)value->number));
        return FM_OK;
    case VALUE_DOUBLE:
        *ret_kind = ROW_DOUBLE;
        fm_buf_put(target, &value->number, 8);
        return FM_OK;
    default:
        *ret_kind = ROW_UNSUPPORTED;
        return FM_OK;
    }
}

/* An array of equal scalars; anything else leaves target as it was and says ROW_UNSUPPORTED. */
static int builder_put_array(struct block_builder *builder, struct fm_buf *target,
                             struct fm_slice array, unsigned *ret_kind)
{
    size_t start = target->len;
    struct fm_slice rest = array;
    struct pb_field field;
    uint64_t count = 0;
    enum value_kind common = VALUE_NONE;
    struct value value;
    int rc;
    while ((rc = pb_next(&rest, &field)) == FM_OK) {
        if (field.number != 1 || field.type != PB_BYTES)
            continue;
        rc = value_read(field.bytes, &value);
        if (rc < 0)
            return rc;
        if (count++ == 0)
            common = value.kind;
        if (value.kind != common || common == VALUE_NONE || common >= VALUE_ARRAY) {
            *ret_kind = ROW_UNSUPPORTED;
            return FM_OK;
        }
    }
    static const uint8_t elements[] = {[VALUE_NONE] = ROW_STRING,     [VALUE_STRING] = ROW_STRING,
                                       [VALUE_BOOL] = ROW_BOOL,       [VALUE_INT] = ROW_INT,
                                       [VALUE_DOUBLE] = ROW_DOUBLE};
    *ret_kind = ROW_ARRAY;
    fm_buf_put_u8(target, elements[common]);
    builder_put_number(target, count);
    while (rc == FM_END && (rc = pb_next(&array, &field)) == FM_OK) {
        unsigned kind;
        if (field.number == 1 && field.type == PB_BYTES)
            rc = value_read(field.bytes, &value);
        if (rc == FM_OK && field.number == 1 && field.type == PB_BYTES)
            rc = builder_put_scalar(builder, target, &value, &kind);
        if (rc == FM_OK)
            rc = FM_END;
    }
    if (rc < 0)
        target->len = start;
    return rc < 0 ? rc : FM_OK;
}

static int builder_put_value(struct block_builder *builder, struct fm_buf *target,
                             struct fm_slice any_value, unsigned *ret_kind)
{
    struct value value;
    int rc = value_read(any_value, &value);
    if (rc < 0)
        return rc;
    rc = value.kind == VALUE_ARRAY ? builder_put_array(builder, target, value.bytes, ret_kind)
                                   : builder_put_scalar(builder, target, &value, ret_kind);
    if (rc == FM_OK && *ret_kind == ROW_UNSUPPORTED)
        rc = builder_put_unsupported(builder, target, any_value);
    return rc;
}

/* Nearly every attribute is two short fields, a key and a string or an integer. */
static bool pair_read_short(struct fm_slice pair, struct fm_slice *ret_key,
                            struct fm_slice *ret_value)
{
    const uint8_t *ptr = pair.ptr;
    if (pair.len < 4 || ptr[0] != (PAIR_KEY << 3 | PB_BYTES) || ptr[1] >= 0x80)
        return false;
    size_t key_len = ptr[1];
    if (pair.len < key_len + 4)
        return false;
    const uint8_t *second = ptr + 2 + key_len;
    if (second[0] != (PAIR_VALUE << 3 | PB_BYTES) || second[1] >= 0x80 ||
        pair.len != key_len + 4 + second[1])
        return false;
    *ret_key = fm_slice(ptr + 2, key_len);
    *ret_value = fm_slice(second + 2, second[1]);
    return true;
}

static int pair_read(struct fm_slice pair, struct fm_slice *ret_key, struct fm_slice *ret_value)
{
    if (FM_LIKELY(pair_read_short(pair, ret_key, ret_value)))
        return FM_OK;
    struct pb_field field;
    int rc;
    *ret_key = *ret_value = FM_SLICE("");
    while ((rc = pb_next(&pair, &field)) == FM_OK) {
        if (field.type != PB_BYTES)
            continue;
        if (field.number == PAIR_KEY)
            *ret_key = field.bytes;
        else if (field.number == PAIR_VALUE)
            *ret_value = field.bytes;
    }
    return rc < 0 ? rc : FM_OK;
}

static void list_reset(struct attribute_list *list)
{
    fm_buf_reset(&list->shape);
    fm_buf_reset(&list->values);
}

static int builder_add_attribute(struct block_builder *builder, struct attribute_list *list,
                                 struct fm_slice pair)
{
    struct fm_slice key, value;
    unsigned kind;
    int rc = pair_read(pair, &key, &value);
    if (rc < 0)
        return rc;
    uint32_t number = builder_string(builder, key);
    if (number == INTERN_NONE)
        return builder->pool.rc;
    if (number > ROW_KEY_MAX)
        return FM_ELIMIT;
    /* A short string: tag, length, bytes to the end. */
    if (FM_LIKELY(value.len >= 2 && value.ptr[0] == (VALUE_STRING << 3 | PB_BYTES) &&
                  value.ptr[1] == value.len - 2)) {
        kind = ROW_STRING;
        rc = builder_put_string(builder, &list->values,
                                fm_slice(value.ptr + 2, value.len - 2));
    } else {
        rc = builder_put_value(builder, &list->values, value, &kind);
    }
    if (rc < 0)
        return rc;
    uint32_t member = number << ROW_KIND_BITS | kind;
    fm_buf_put(&list->shape, &member, sizeof member);
    return list->shape.failed || list->values.failed ? FM_ENOMEM : FM_OK;
}

/* Appends shape [and the length of the values, if asked] and values to target. */
static int builder_put_list(struct block_builder *builder, const struct attribute_list *list,
                            bool with_len, struct fm_buf *target)
{
    struct fm_slice members = fm_slice(list->shape.len ? list->shape.ptr : (uint8_t *)"",
                                       list->shape.len);
    uint32_t shape = intern_put(&builder->shapes, members);
    if (shape == INTERN_NONE)
        return builder->pool.rc;
    builder_put_number(target, shape);
    if (with_len)
        builder_put_number(target, list->values.len);
    fm_buf_put_slice(target, fm_buf_slice(&list->values));
    return FM_OK;
}

static int builder_add_resource(struct block_builder *builder, struct fm_slice resource,
                                uint32_t *ret_number)
{
    struct pb_field field;
    uint32_t dropped = 0;
    int rc;
    list_reset(&builder->list);
    while ((rc = pb_next(&resource, &field)) == FM_OK) {
        if (field.number == RESOURCE_ATTRIBUTES && field.type == PB_BYTES)
            rc = builder_add_attribute(builder, &builder->list, field.bytes);
        else if (field.number == RESOURCE_DROPPED && field.type == PB_VARINT)
            dropped = (uint32_t)field.value;
        if (rc < 0)
            return rc;
    }
    if (rc < 0)
        return rc;
    fm_buf_reset(&builder->row);
    builder_put_number(&builder->row, dropped);
    rc = builder_put_list(builder, &builder->list, false, &builder->row);
    if (rc < 0 || builder->row.failed)
        return rc < 0 ? rc : FM_ENOMEM;
    *ret_number = intern_put(&builder->resources, fm_buf_slice(&builder->row));
    return *ret_number == INTERN_NONE ? builder->pool.rc : FM_OK;
}

static int builder_add_scope(struct block_builder *builder, struct fm_slice scope,
                             uint32_t *ret_number)
{
    struct pb_field field;
    struct fm_slice name = FM_SLICE(""), version = FM_SLICE("");
    uint32_t dropped = 0;
    int rc;
    list_reset(&builder->list);
    while ((rc = pb_next(&scope, &field)) == FM_OK) {
        if (field.number == SCOPE_NAME && field.type == PB_BYTES)
            name = field.bytes;
        else if (field.number == SCOPE_VERSION && field.type == PB_BYTES)
            version = field.bytes;
        else if (field.number == SCOPE_ATTRIBUTES && field.type == PB_BYTES)
            rc = builder_add_attribute(builder, &builder->list, field.bytes);
        else if (field.number == SCOPE_DROPPED && field.type == PB_VARINT)
            dropped = (uint32_t)field.value;
        if (rc < 0)
            return rc;
    }
    if (rc < 0)
        return rc;
    fm_buf_reset(&builder->row);
    rc = builder_put_string(builder, &builder->row, name);
    if (rc == FM_OK)
        rc = builder_put_string(builder, &builder->row, version);
    builder_put_number(&builder->row, dropped);
    if (rc == FM_OK)
        rc = builder_put_list(builder, &builder->list, false, &builder->row);
    if (rc < 0 || builder->row.failed)
        return rc < 0 ? rc : FM_ENOMEM;
    *ret_number = intern_put(&builder->scopes, fm_buf_slice(&builder->row));
    return *ret_number == INTERN_NONE ? builder->pool.rc : FM_OK;
}

/* What a Span message says, before its attributes, events and links are placed. */
struct span_fields {
    struct fm_slice trace, id, parent, state, name, message;
    uint64_t start_ns, end_ns;
    int32_t kind, status;
    uint32_t dropped_attributes, dropped_events, dropped_links;
    uint32_t event_count, link_count;
};

static int span_read_status(struct span_fields *span, struct fm_slice status)
{
    struct pb_field field;
    int rc;
    while ((rc = pb_next(&status, &field)) == FM_OK) {
        if (field.number == STATUS_MESSAGE && field.type == PB_BYTES)
            span->message = field.bytes;
        else if (field.number == STATUS_CODE && field.type == PB_VARINT)
            span->status = (int32_t)field.value;
    }
    return rc < 0 ? rc : FM_OK;
}

static int span_read_bytes(struct block_builder *builder, struct span_fields *span,
                           const struct pb_field *field)
{
    switch (field->number) {
    case SPAN_TRACE: span->trace = field->bytes; break;
    case SPAN_ID: span->id = field->bytes; break;
    case SPAN_STATE: span->state = field->bytes; break;
    case SPAN_PARENT: span->parent = field->bytes; break;
    case SPAN_NAME: span->name = field->bytes; break;
    case SPAN_ATTRIBUTES: return builder_add_attribute(builder, &builder->list, field->bytes);
    case SPAN_STATUS: return span_read_status(span, field->bytes);
    case SPAN_EVENTS:
        span->event_count++;
        fm_buf_put(&builder->pieces, field, sizeof *field);
        break;
    case SPAN_LINKS:
        span->link_count++;
        fm_buf_put(&builder->pieces, field, sizeof *field);
        break;
    default: break;
    }
    return FM_OK;
}

static int span_read(struct block_builder *builder, struct fm_slice bytes,
                     struct span_fields *span)
{
    struct pb_field field;
    int rc;
    while ((rc = pb_next(&bytes, &field)) == FM_OK) {
        if (field.type == PB_BYTES) {
            rc = span_read_bytes(builder, span, &field);
            if (rc < 0)
                return rc;
            continue;
        }
        if (field.type == PB_FIXED64) {
            if (field.number == SPAN_START)
                span->start_ns = field.value;
            else if (field.number == SPAN_END)
                span->end_ns = field.value;
            continue;
        }
        if (field.type != PB_VARINT)
            continue;
        switch (field.number) {
        case SPAN_KIND: span->kind = (int32_t)field.value; break;
        case SPAN_DROPPED: span->dropped_attributes = (uint32_t)field.value; break;
        case SPAN_EVENTS_DROPPED: span->dropped_events = (uint32_t)field.value; break;
        case SPAN_LINKS_DROPPED: span->dropped_links = (uint32_t)field.value; break;
        default: break;
        }
    }
    if (rc < 0)
        return rc;
    bool ids_fit = span->trace.len == 16 && span->id.len == 8 &&
                   (span->parent.len == 0 || span->parent.len == 8);
    return ids_fit ? FM_OK : FM_EMALFORMED;
}

static int builder_put_event(struct block_builder *builder, const struct span_fields *span,
                             struct fm_slice event)
{
    struct fm_buf *row = &builder->row;
    struct pb_field field;
    struct fm_slice name = FM_SLICE("");
    uint64_t time_ns = 0;
    uint32_t dropped = 0;
    int rc;
    list_reset(&builder->inner);
    while ((rc = pb_next(&event, &field)) == FM_OK) {
        if (field.number == EVENT_TIME && field.type == PB_FIXED64)
            time_ns = field.value;
        else if (field.number == EVENT_NAME && field.type == PB_BYTES)
            name = field.bytes;
        else if (field.number == EVENT_ATTRIBUTES && field.type == PB_BYTES)
            rc = builder_add_attribute(builder, &builder->inner, field.bytes);
        else if (field.number == EVENT_DROPPED && field.type == PB_VARINT)
            dropped = (uint32_t)field.value;
        if (rc < 0)
            return rc;
    }
    if (rc < 0)
        return rc;
    builder_put_number(row, time_ns > span->start_ns ? time_ns - span->start_ns : 0);
    rc = builder_put_string(builder, row, name);
    builder_put_number(row, dropped);
    return rc < 0 ? rc : builder_put_list(builder, &builder->inner, false, row);
}

static int builder_put_link(struct block_builder *builder, struct fm_slice link)
{
    struct fm_buf *row = &builder->row;
    struct pb_field field;
    struct fm_slice trace = FM_SLICE(""), span = FM_SLICE(""), state = FM_SLICE("");
    uint32_t dropped = 0;
    int rc;
    list_reset(&builder->inner);
    while ((rc = pb_next(&link, &field)) == FM_OK) {
        if (field.number == LINK_DROPPED && field.type == PB_VARINT)
            dropped = (uint32_t)field.value;
        if (field.type != PB_BYTES)
            continue;
        if (field.number == LINK_TRACE)
            trace = field.bytes;
        else if (field.number == LINK_SPAN)
            span = field.bytes;
        else if (field.number == LINK_STATE)
            state = field.bytes;
        else if (field.number == LINK_ATTRIBUTES)
            rc = builder_add_attribute(builder, &builder->inner, field.bytes);
        if (rc < 0)
            return rc;
    }
    if (rc < 0)
        return rc;
    builder_put_number(row, trace.len);
    fm_buf_put_slice(row, trace);
    builder_put_number(row, span.len);
    fm_buf_put_slice(row, span);
    rc = builder_put_string(builder, row, state);
    builder_put_number(row, dropped);
    return rc < 0 ? rc : builder_put_list(builder, &builder->inner, false, row);
}

static int builder_put_pieces(struct block_builder *builder, const struct span_fields *span,
                              uint32_t number, uint32_t count)
{
    if (!count)
        return FM_OK;
    builder_put_number(&builder->row, count);
    for (size_t at = 0; at < builder->pieces.len; at += sizeof(struct pb_field)) {
        struct pb_field field;
        memcpy(&field, builder->pieces.ptr + at, sizeof field);
        if (field.number != number)
            continue;
        int rc = number == SPAN_EVENTS ? builder_put_event(builder, span, field.bytes)
                                       : builder_put_link(builder, field.bytes);
        if (rc < 0)
            return rc;
    }
    return FM_OK;
}

static uint8_t span_flags(const struct span_fields *span)
{
    static const uint8_t zeros[8];
    unsigned flags = 0;
    if (span->parent.len == 8 && memcmp(span->parent.ptr, zeros, 8) != 0)
        flags |= ROW_PARENT;
    if (span->state.len)
        flags |= ROW_STATE;
    if (span->message.len)
        flags |= ROW_MESSAGE;
    if (span->dropped_attributes | span->dropped_events | span->dropped_links)
        flags |= ROW_DROPPED;
    if ((uint32_t)span->kind > 15 || (uint32_t)span->status > 15)
        flags |= ROW_ODD;
    if (span->event_count)
        flags |= ROW_EVENTS;
    if (span->link_count)
        flags |= ROW_LINKS;
    return (uint8_t)flags;
}

/* Everything of the row up to its shape. */
static int builder_put_head(struct block_builder *builder, const struct span_fields *span,
                            uint32_t trace, uint32_t group, uint8_t flags)
{
    struct fm_buf *row = &builder->row;
    uint32_t name = builder_string(builder, span->name);
    uint32_t state = flags & ROW_STATE ? builder_string(builder, span->state) : 0;
    uint32_t message = flags & ROW_MESSAGE ? builder_string(builder, span->message) : 0;
    if (name == INTERN_NONE || state == INTERN_NONE || message == INTERN_NONE)
        return builder->pool.rc;
    uint8_t *room = fm_buf_room(row, 18 + 12 * ROW_VARINT_MAX);
    if (!room)
        return FM_ENOMEM;
    uint8_t *target = room;
    *target++ = flags;
    *target++ = flags & ROW_ODD ? 0 : (uint8_t)(span->kind | span->status << 4);
    memcpy(target, span->id.ptr, 8);
    target += 8;
    if (flags & ROW_PARENT) {
        memcpy(target, span->parent.ptr, 8);
        target += 8;
    }
    target = row_put(target, trace);
    target = row_put(target, group);
    target = row_put(target, row_zigzag((int64_t)(span->start_ns - builder->base_ns)));
    target = row_put(target, span->end_ns > span->start_ns ? span->end_ns - span->start_ns : 0);
    target = row_put(target, name);
    if (flags & ROW_STATE)
        target = row_put(target, state);
    if (flags & ROW_MESSAGE)
        target = row_put(target, message);
    if (flags & ROW_DROPPED) {
        target = row_put(target, span->dropped_attributes);
        target = row_put(target, span->dropped_events);
        target = row_put(target, span->dropped_links);
    }
    if (flags & ROW_ODD) {
        target = row_put(target, row_zigzag(span->kind));
        target = row_put(target, row_zigzag(span->status));
    }
    row->len += (size_t)(target - room);
    return FM_OK;
}

/* The row goes into the heap with its length in front. */
static int builder_keep_row(struct block_builder *builder)
{
    const struct fm_buf *row = &builder->row;
    uint8_t head[ROW_VARINT_MAX];
    /* The room for the length was left at the front. */
    size_t body = row->len - ROW_VARINT_MAX;
    size_t head_len = (size_t)(row_put(head, body) - head);
    memcpy(row->ptr + ROW_VARINT_MAX - head_len, head, head_len);
    if (!heap_put(&builder->rows, row->ptr + ROW_VARINT_MAX - head_len, body + head_len))
        return builder->pool.rc;
    builder->span_count++;
    return FM_OK;
}

static int builder_add_span(struct block_builder *builder, uint32_t group, struct fm_slice bytes)
{
    struct span_fields span = {.name = FM_SLICE("")};
    list_reset(&builder->list);
    fm_buf_reset(&builder->pieces);
    fm_buf_reset(&builder->row);
    int rc = span_read(builder, bytes, &span);
    if (rc < 0)
        return rc;
    if (!builder->has_base) {
        builder->base_ns = span.start_ns;
        builder->has_base = true;
    }
    uint32_t trace = intern_put(&builder->traces, span.trace);
    if (trace == INTERN_NONE)
        return builder->pool.rc;
    uint8_t flags = span_flags(&span);
    fm_buf_put_zeros(&builder->row, ROW_VARINT_MAX);
    rc = builder_put_head(builder, &span, trace, group, flags);
    if (rc == FM_OK)
        rc = builder_put_list(builder, &builder->list, flags & (ROW_EVENTS | ROW_LINKS),
                              &builder->row);
    if (rc == FM_OK)
        rc = builder_put_pieces(builder, &span, SPAN_EVENTS, span.event_count);
    if (rc == FM_OK)
        rc = builder_put_pieces(builder, &span, SPAN_LINKS, span.link_count);
    if (rc < 0)
        return rc;
    if (builder->row.failed || builder->pieces.failed)
        return FM_ENOMEM;
    return builder_keep_row(builder);
}

static int builder_add_scope_spans(struct block_builder *builder, uint32_t resource,
                                   struct fm_slice scope_spans)
{
    struct fm_slice rest = scope_spans, scope = FM_SLICE("");
    struct pb_field field;
    uint32_t numbers[2] = {resource, 0};
    int rc;
    while ((rc = pb_next(&rest, &field)) == FM_OK)
        if (field.number == SCOPE_SPANS_SCOPE && field.type == PB_BYTES)
            scope = field.bytes;
    if (rc < 0)
        return rc;
    rc = builder_add_scope(builder, scope, &numbers[1]);
    if (rc < 0)
        return rc;
    uint32_t group = intern_put(&builder->groups, fm_slice(numbers, sizeof numbers));
    if (group == INTERN_NONE)
        return builder->pool.rc;
    while ((rc = pb_next(&scope_spans, &field)) == FM_OK) {
        if (field.number != SCOPE_SPANS_SPANS || field.type != PB_BYTES)
            continue;
        rc = builder_add_span(builder, group, field.bytes);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : FM_OK;
}

static int builder_add_resource_spans(struct block_builder *builder, struct fm_slice spans)
{
    struct fm_slice rest = spans, resource = FM_SLICE("");
    struct pb_field field;
    uint32_t number;
    int rc;
    while ((rc = pb_next(&rest, &field)) == FM_OK)
        if (field.number == RESOURCE_SPANS_RESOURCE && field.type == PB_BYTES)
            resource = field.bytes;
    if (rc < 0)
        return rc;
    rc = builder_add_resource(builder, resource, &number);
    while (rc == FM_OK && (rc = pb_next(&spans, &field)) == FM_OK)
        if (field.number == RESOURCE_SPANS_SCOPES && field.type == PB_BYTES)
            rc = builder_add_scope_spans(builder, number, field.bytes);
    return rc < 0 ? rc : FM_OK;
}

int block_builder_add(struct block_builder *builder, struct fm_slice otlp, struct fm_why *why)
{
    struct heap_mark mark = heap_mark(&builder->rows);
    uint64_t span_count = builder->span_count;
    struct fm_slice rest = otlp;
    struct pb_field field;
    int rc = FM_OK;
    builder->pool.rc = FM_OK;
    while (rc == FM_OK && (rc = pb_next(&rest, &field)) == FM_OK)
        if (field.number == REQUEST_RESOURCE_SPANS && field.type == PB_BYTES)
            rc = builder_add_resource_spans(builder, field.bytes);
    if (rc == FM_END)
        return FM_OK;

    heap_rewind(&builder->rows, mark);
    builder->span_count = span_count;
    if (rc == FM_EMALFORMED)
        return fm_fail(why, rc, "spans are not canonical OTLP, near byte %zu",
                       otlp.len - rest.len);
    if (rc == FM_ELIMIT)
        return fm_fail(why, rc, "the builder's %zu bytes are full", builder->options.memory_max);
    return fm_fail(why, rc, "%s", fm_rc_text(rc));
}
