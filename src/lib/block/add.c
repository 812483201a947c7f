/* SPDX-License-Identifier: Apache-2.0 */
/* One walk over OTLP bytes: every string is interned, every span becomes a row.
 *
 * Each byte is looked at once; nothing is allocated per span.  What fails in the middle is taken
 * back: the rows are a heap that can be rewound, and interned strings without a row do no harm. */
#include "builder.h"
#include "value.h"
#include "walk.h"

/* Tags of the OTLP fields read here; one with another wire type is an unknown field. */
enum { REQUEST_RESOURCE_SPANS = WALK_BYTES(1) };
enum { RESOURCE_SPANS_RESOURCE = WALK_BYTES(1), RESOURCE_SPANS_SCOPES = WALK_BYTES(2) };
enum { RESOURCE_ATTRIBUTES = WALK_BYTES(1), RESOURCE_DROPPED = WALK_VARINT(2) };
enum { SCOPE_SPANS_SCOPE = WALK_BYTES(1), SCOPE_SPANS_SPANS = WALK_BYTES(2) };
enum {
    SCOPE_NAME = WALK_BYTES(1),
    SCOPE_VERSION = WALK_BYTES(2),
    SCOPE_ATTRIBUTES = WALK_BYTES(3),
    SCOPE_DROPPED = WALK_VARINT(4),
};
enum { PAIR_KEY = WALK_BYTES(1), PAIR_VALUE = WALK_BYTES(2) };
enum { PAIR_TEXT = WALK_BYTES(VALUE_STRING), ARRAY_ELEMENT = WALK_BYTES(1) };
enum { STATUS_MESSAGE = WALK_BYTES(2), STATUS_CODE = WALK_VARINT(3) };
enum {
    EVENT_TIME = WALK_FIXED64(1),
    EVENT_NAME = WALK_BYTES(2),
    EVENT_ATTRIBUTES = WALK_BYTES(3),
    EVENT_DROPPED = WALK_VARINT(4),
};
enum {
    LINK_TRACE = WALK_BYTES(1),
    LINK_SPAN = WALK_BYTES(2),
    LINK_STATE = WALK_BYTES(3),
    LINK_ATTRIBUTES = WALK_BYTES(4),
    LINK_DROPPED = WALK_VARINT(5),
};
enum {
    SPAN_TRACE = WALK_BYTES(1),
    SPAN_ID = WALK_BYTES(2),
    SPAN_STATE = WALK_BYTES(3),
    SPAN_PARENT = WALK_BYTES(4),
    SPAN_NAME = WALK_BYTES(5),
    SPAN_KIND = WALK_VARINT(6),
    SPAN_START = WALK_FIXED64(7),
    SPAN_END = WALK_FIXED64(8),
    SPAN_ATTRIBUTES = WALK_BYTES(9),
    SPAN_DROPPED = WALK_VARINT(10),
    SPAN_EVENTS = WALK_BYTES(11),
    SPAN_EVENTS_DROPPED = WALK_VARINT(12),
    SPAN_LINKS = WALK_BYTES(13),
    SPAN_LINKS_DROPPED = WALK_VARINT(14),
    SPAN_STATUS = WALK_BYTES(15),
};

static inline uint8_t *builder_room(struct fm_buf *buf, size_t len)
{
    if (FM_LIKELY(!buf->failed && buf->ptr && buf->cap - buf->len >= len))
        return buf->ptr + buf->len;
    return fm_buf_room(buf, len);
}

/* A new text; what is not UTF-8 is mended first.  Known texts need no such look. */
static __attribute__((noinline)) uint32_t builder_string_new(struct block_builder *builder,
                                                             struct fm_slice text, uint32_t hash)
{
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

/* The number of a text. */
static inline uint32_t builder_string_hashed(struct block_builder *builder, struct fm_slice text,
                                             uint32_t hash)
{
    uint32_t number = intern_find(&builder->strings, text, hash);
    return FM_LIKELY(number != INTERN_NONE) ? number : builder_string_new(builder, text, hash);
}

static uint32_t builder_string(struct block_builder *builder, struct fm_slice text)
{
    return builder_string_hashed(builder, text, intern_hash(&builder->strings, text));
}

static inline void builder_put_number(struct fm_buf *target, uint64_t value)
{
    uint8_t *room = builder_room(target, ROW_VARINT_MAX);
    if (room)
        target->len += (size_t)(row_put(room, value) - room);
}

static int builder_put_string(struct block_builder *builder, struct fm_buf *target,
                              struct fm_slice text, uint32_t hash)
{
    uint32_t number = builder_string_hashed(builder, text, hash);
    if (number == INTERN_NONE)
        return builder->pool.rc;
    builder_put_number(target, number);
    return target->failed ? FM_ENOMEM : FM_OK;
}

static int builder_put_text(struct block_builder *builder, struct fm_buf *target,
                            struct fm_slice text)
{
    return builder_put_string(builder, target, text, intern_hash(&builder->strings, text));
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
        return builder_put_text(builder, target, value->bytes);
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
    struct walk_field field = {0};
    uint64_t count = 0;
    enum value_kind common = VALUE_NONE;
    struct value value;
    int rc;
    while ((rc = walk_next(&rest, &field)) == FM_OK) {
        if (field.tag != ARRAY_ELEMENT)
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
    static const uint8_t elements[] = {[VALUE_NONE] = ROW_STRING,
                                       [VALUE_STRING] = ROW_STRING,
                                       [VALUE_BOOL] = ROW_BOOL,
                                       [VALUE_INT] = ROW_INT,
                                       [VALUE_DOUBLE] = ROW_DOUBLE};
    *ret_kind = ROW_ARRAY;
    fm_buf_put_u8(target, elements[common]);
    builder_put_number(target, count);
    while (rc == FM_END && (rc = walk_next(&array, &field)) == FM_OK) {
        unsigned kind;
        rc = FM_END;
        if (field.tag != ARRAY_ELEMENT)
            continue;
        rc = value_read(field.bytes, &value);
        if (rc == FM_OK)
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
    if (pair.len < 4 || ptr[0] != PAIR_KEY || ptr[1] >= 0x80)
        return false;
    size_t key_len = ptr[1];
    if (pair.len < key_len + 4)
        return false;
    const uint8_t *second = ptr + 2 + key_len;
    if (second[0] != PAIR_VALUE || second[1] >= 0x80 || pair.len != key_len + 4 + second[1])
        return false;
    *ret_key = fm_slice(ptr + 2, key_len);
    *ret_value = fm_slice(second + 2, second[1]);
    return true;
}

static int pair_read(struct fm_slice pair, struct fm_slice *ret_key, struct fm_slice *ret_value)
{
    if (FM_LIKELY(pair_read_short(pair, ret_key, ret_value)))
        return FM_OK;
    struct walk_field field = {0};
    int rc;
    *ret_key = *ret_value = FM_SLICE("");
    while ((rc = walk_next(&pair, &field)) == FM_OK) {
        if (field.tag == PAIR_KEY)
            *ret_key = field.bytes;
        else if (field.tag == PAIR_VALUE)
            *ret_value = field.bytes;
    }
    return rc < 0 ? rc : FM_OK;
}

static inline void builder_begin_list(struct block_builder *builder, struct attribute_list *list)
{
    builder->pair_count = 0;
    builder->last_key = 0;
    list->of_span = false;
    fm_buf_reset(&list->shape);
    fm_buf_reset(&list->values);
}

/* The string that was interned last came as the text of a span's attribute. */
static bool builder_note_text(struct block_builder *builder, uint32_t key)
{
    struct builder_texts *texts = &builder->texts;
    if (key == STRING_HTTP_METHOD || key == STRING_HTTP_URL)
        return true; /* they have columns of their own */
    if (texts->count == texts->cap) {
        uint32_t cap = texts->cap ? texts->cap + texts->cap / 2 : 64;
        void *items = pool_realloc(&builder->pool, texts->items, texts->cap * sizeof *texts->items,
                                   cap * sizeof *texts->items);
        if (!items)
            return false;
        texts->items = items;
        texts->cap = cap;
    }
    texts->items[texts->count++] =
        (struct builder_text){.string = builder->strings.count - 1, .key = key};
    return true;
}

/* Resolves what was queued: texts become numbers, in the order of the attributes. */
static int builder_settle(struct block_builder *builder, struct attribute_list *list)
{
    unsigned count = builder->pair_count;
    builder->pair_count = 0;
    for (unsigned i = 0; i < count; i++)
        if (builder->pairs[i].is_text)
            intern_prefetch_entry(&builder->strings, builder->pairs[i].text_hash);
    for (unsigned i = 0; i < count; i++) {
        const struct attribute_pair *pair = &builder->pairs[i];
        unsigned kind = ROW_STRING;
        uint32_t known = builder->strings.count;
        int rc = pair->is_text
                     ? builder_put_string(builder, &list->values, pair->value, pair->text_hash)
                     : builder_put_value(builder, &list->values, pair->value, &kind);
        if (rc < 0)
            return rc;
        if (builder->strings.count != known && kind == ROW_STRING && list->of_span &&
            !builder_note_text(builder, pair->key))
            return builder->pool.rc;
        uint32_t member = pair->key << ROW_KIND_BITS | kind;
        uint8_t *room = builder_room(&list->shape, sizeof member);
        if (!room)
            return FM_ENOMEM;
        memcpy(room, &member, sizeof member);
        list->shape.len += sizeof member;
    }
    return list->values.failed ? FM_ENOMEM : FM_OK;
}

/* Keys come in the same order again and again: the one that followed the last time is tried first.
 * INTERN_NONE: see pool->rc. */
static inline uint32_t builder_key(struct block_builder *builder, struct fm_slice key)
{
    uint32_t *after = &builder->key_after[builder->last_key % BUILDER_KEYS];
    if (FM_UNLIKELY(!intern_is(&builder->strings, *after, key)))
        *after = builder_string(builder, key);
    uint32_t number = builder->last_key = *after;
    if (FM_UNLIKELY(number > ROW_KEY_MAX)) {
        builder->last_key = *after = 0;
        builder->pool.rc = number == INTERN_NONE ? builder->pool.rc : FM_ELIMIT;
        return INTERN_NONE;
    }
    return number;
}

/* Hashes are taken as the bytes come by, and the slots asked for, long before they are needed. */
static inline int builder_add_attribute(struct block_builder *builder, struct attribute_list *list,
                                        struct fm_slice bytes)
{
    if (builder->pair_count == BUILDER_PAIR_MAX) {
        int rc = builder_settle(builder, list);
        if (rc < 0)
            return rc;
    }
    struct attribute_pair *pair = &builder->pairs[builder->pair_count];
    struct fm_slice key, value;
    int rc = pair_read(bytes, &key, &value);
    if (rc < 0)
        return rc;
    pair->key = builder_key(builder, key);
    if (FM_UNLIKELY(pair->key == INTERN_NONE))
        return builder->pool.rc;
    builder->pair_count++;
    /* A short string: tag, length, bytes to the end. */
    pair->is_text = value.len >= 2 && value.ptr[0] == PAIR_TEXT && value.ptr[1] == value.len - 2;
    pair->value = value;
    if (FM_LIKELY(pair->is_text)) {
        pair->value = fm_slice(value.ptr + 2, value.len - 2);
        pair->text_hash = intern_hash(&builder->strings, pair->value);
        intern_prefetch(&builder->strings, pair->text_hash);
    }
    return FM_OK;
}

/* Appends shape [and the length of the values, if asked] and values to target. */
static int builder_put_list(struct block_builder *builder, struct attribute_list *list,
                            bool with_len, struct fm_buf *target)
{
    int rc = builder_settle(builder, list);
    if (rc < 0)
        return rc;
    struct fm_slice members =
        fm_slice(list->shape.len ? list->shape.ptr : (uint8_t *)"", list->shape.len);
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
    struct walk_field field = {0};
    uint32_t dropped = 0;
    int rc;
    builder_begin_list(builder, &builder->list);
    while ((rc = walk_next(&resource, &field)) == FM_OK) {
        if (field.tag == RESOURCE_ATTRIBUTES)
            rc = builder_add_attribute(builder, &builder->list, field.bytes);
        else if (field.tag == RESOURCE_DROPPED)
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
    struct walk_field field = {0};
    struct fm_slice name = FM_SLICE(""), version = FM_SLICE("");
    uint32_t dropped = 0;
    int rc;
    builder_begin_list(builder, &builder->list);
    while ((rc = walk_next(&scope, &field)) == FM_OK) {
        if (field.tag == SCOPE_NAME)
            name = field.bytes;
        else if (field.tag == SCOPE_VERSION)
            version = field.bytes;
        else if (field.tag == SCOPE_ATTRIBUTES)
            rc = builder_add_attribute(builder, &builder->list, field.bytes);
        else if (field.tag == SCOPE_DROPPED)
            dropped = (uint32_t)field.value;
        if (rc < 0)
            return rc;
    }
    if (rc < 0)
        return rc;
    fm_buf_reset(&builder->row);
    rc = builder_put_text(builder, &builder->row, name);
    if (rc == FM_OK)
        rc = builder_put_text(builder, &builder->row, version);
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
    struct walk_field field = {0};
    int rc;
    while ((rc = walk_next(&status, &field)) == FM_OK) {
        if (field.tag == STATUS_MESSAGE)
            span->message = field.bytes;
        else if (field.tag == STATUS_CODE)
            span->status = (int32_t)field.value;
    }
    return rc < 0 ? rc : FM_OK;
}

static void span_keep_piece(struct block_builder *builder, const struct walk_field *field)
{
    fm_buf_put(&builder->pieces, field, sizeof *field);
}

static int span_read(struct block_builder *builder, struct fm_slice bytes, struct span_fields *span)
{
    struct walk_field field = {0};
    int rc;
    while ((rc = walk_next(&bytes, &field)) == FM_OK) {
        switch (field.tag) {
        case SPAN_TRACE:
            span->trace = field.bytes;
            break;
        case SPAN_ID:
            span->id = field.bytes;
            break;
        case SPAN_STATE:
            span->state = field.bytes;
            break;
        case SPAN_PARENT:
            span->parent = field.bytes;
            break;
        case SPAN_NAME:
            span->name = field.bytes;
            break;
        case SPAN_KIND:
            span->kind = (int32_t)field.value;
            break;
        case SPAN_START:
            span->start_ns = field.value;
            break;
        case SPAN_END:
            span->end_ns = field.value;
            break;
        case SPAN_ATTRIBUTES:
            rc = builder_add_attribute(builder, &builder->list, field.bytes);
            break;
        case SPAN_DROPPED:
            span->dropped_attributes = (uint32_t)field.value;
            break;
        case SPAN_EVENTS:
            span->event_count++;
            span_keep_piece(builder, &field);
            break;
        case SPAN_EVENTS_DROPPED:
            span->dropped_events = (uint32_t)field.value;
            break;
        case SPAN_LINKS:
            span->link_count++;
            span_keep_piece(builder, &field);
            break;
        case SPAN_LINKS_DROPPED:
            span->dropped_links = (uint32_t)field.value;
            break;
        case SPAN_STATUS:
            rc = span_read_status(span, field.bytes);
            break;
        default:
            break;
        }
        if (FM_UNLIKELY(rc < 0))
            return rc;
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
    struct walk_field field = {0};
    struct fm_slice name = FM_SLICE("");
    uint64_t time_ns = 0;
    uint32_t dropped = 0;
    int rc;
    builder_begin_list(builder, &builder->inner);
    while ((rc = walk_next(&event, &field)) == FM_OK) {
        if (field.tag == EVENT_TIME)
            time_ns = field.value;
        else if (field.tag == EVENT_NAME)
            name = field.bytes;
        else if (field.tag == EVENT_ATTRIBUTES)
            rc = builder_add_attribute(builder, &builder->inner, field.bytes);
        else if (field.tag == EVENT_DROPPED)
            dropped = (uint32_t)field.value;
        if (rc < 0)
            return rc;
    }
    if (rc < 0)
        return rc;
    builder_put_number(row, time_ns > span->start_ns ? time_ns - span->start_ns : 0);
    rc = builder_put_text(builder, row, name);
    builder_put_number(row, dropped);
    return rc < 0 ? rc : builder_put_list(builder, &builder->inner, false, row);
}

static int builder_put_link(struct block_builder *builder, struct fm_slice link)
{
    struct fm_buf *row = &builder->row;
    struct walk_field field = {0};
    struct fm_slice trace = FM_SLICE(""), span = FM_SLICE(""), state = FM_SLICE("");
    uint32_t dropped = 0;
    int rc;
    builder_begin_list(builder, &builder->inner);
    while ((rc = walk_next(&link, &field)) == FM_OK) {
        if (field.tag == LINK_DROPPED)
            dropped = (uint32_t)field.value;
        else if (field.tag == LINK_TRACE)
            trace = field.bytes;
        else if (field.tag == LINK_SPAN)
            span = field.bytes;
        else if (field.tag == LINK_STATE)
            state = field.bytes;
        else if (field.tag == LINK_ATTRIBUTES)
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
    rc = builder_put_text(builder, row, state);
    builder_put_number(row, dropped);
    return rc < 0 ? rc : builder_put_list(builder, &builder->inner, false, row);
}

static int builder_put_pieces(struct block_builder *builder, const struct span_fields *span,
                              uint32_t tag, uint32_t count)
{
    if (!count)
        return FM_OK;
    builder_put_number(&builder->row, count);
    for (size_t at = 0; at < builder->pieces.len; at += sizeof(struct walk_field)) {
        struct walk_field field = {0};
        memcpy(&field, builder->pieces.ptr + at, sizeof field);
        if (field.tag != tag)
            continue;
        int rc = tag == SPAN_EVENTS ? builder_put_event(builder, span, field.bytes)
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
    builder_begin_list(builder, &builder->list);
    builder->list.of_span = true;
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
    struct fm_slice rest = scope_spans, scope = {0};
    struct walk_field field = {0};
    uint32_t numbers[2] = {resource, 0};
    int rc = FM_OK;
    /* Canonical: it is there at most once, and nearly always in front of its spans. */
    while (!scope.ptr && (rc = walk_next(&rest, &field)) == FM_OK)
        if (field.tag == SCOPE_SPANS_SCOPE)
            scope = field.bytes;
    if (rc < 0)
        return rc;
    rc = builder_add_scope(builder, scope, &numbers[1]);
    if (rc < 0)
        return rc;
    uint32_t group = intern_put(&builder->groups, fm_slice(numbers, sizeof numbers));
    if (group == INTERN_NONE)
        return builder->pool.rc;
    while ((rc = walk_next(&scope_spans, &field)) == FM_OK) {
        if (field.tag != SCOPE_SPANS_SPANS)
            continue;
        rc = builder_add_span(builder, group, field.bytes);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : FM_OK;
}

static int builder_add_resource_spans(struct block_builder *builder, struct fm_slice spans)
{
    struct fm_slice rest = spans, resource = {0};
    struct walk_field field = {0};
    uint32_t number;
    int rc = FM_OK;
    while (!resource.ptr && (rc = walk_next(&rest, &field)) == FM_OK)
        if (field.tag == RESOURCE_SPANS_RESOURCE)
            resource = field.bytes;
    if (rc < 0)
        return rc;
    rc = builder_add_resource(builder, resource, &number);
    while (rc == FM_OK && (rc = walk_next(&spans, &field)) == FM_OK)
        if (field.tag == RESOURCE_SPANS_SCOPES)
            rc = builder_add_scope_spans(builder, number, field.bytes);
    return rc < 0 ? rc : FM_OK;
}

int block_builder_add(struct block_builder *builder, struct fm_slice otlp, struct fm_why *why)
{
    struct heap_mark mark = heap_mark(&builder->rows);
    uint64_t span_count = builder->span_count;
    uint32_t text_count = builder->texts.count;
    struct fm_slice rest = otlp;
    struct walk_field field = {0};
    int rc = FM_OK;
    builder->pool.rc = FM_OK;
    while (rc == FM_OK && (rc = walk_next(&rest, &field)) == FM_OK)
        if (field.tag == REQUEST_RESOURCE_SPANS)
            rc = builder_add_resource_spans(builder, field.bytes);
    if (rc == FM_END)
        return FM_OK;

    heap_rewind(&builder->rows, mark);
    builder->span_count = span_count;
    builder->texts.count = text_count;
    if (rc == FM_EMALFORMED)
        return fm_fail(why, rc, "spans are not canonical OTLP, near byte %zu", otlp.len - rest.len);
    if (rc == FM_ELIMIT)
        return fm_fail(why, rc, "the builder's %zu bytes are full", builder->options.memory_max);
    return fm_fail(why, rc, "%s", fm_rc_text(rc));
}
