/* SPDX-License-Identifier: Apache-2.0 */
/* From the bytes of a message to the view that rules work on. */
#include "internal.h"

#include <stdlib.h>

enum { /* Span, by field number */
       SPAN_NAME = 5,
       SPAN_KIND = 6,
       SPAN_START = 7,
       SPAN_END = 8,
       SPAN_ATTRIBUTES = 9,
       SPAN_EVENTS = 11,
       SPAN_LINKS = 13,
       SPAN_STATUS = 15,
};

const struct process_shape process_resource_shape = {.attributes = 1};
const struct process_shape process_scope_shape = {.attributes = 3};
const struct process_shape process_span_shape = {.attributes = SPAN_ATTRIBUTES, .text = SPAN_NAME};
const struct process_shape process_event_shape = {.attributes = 3, .text = 2};
const struct process_shape process_link_shape = {.attributes = 4};

static struct process_attr *view_room(struct process_state *state)
{
    if (FM_UNLIKELY(state->attr_count == state->attr_cap)) {
        uint32_t cap = FM_MAX(state->attr_cap * 2, 64u);
        if (cap > PROCESS_ATTRS_MAX) {
            state->rc = FM_ELIMIT;
            return NULL;
        }
        struct process_attr *grown = realloc(state->attrs, cap * sizeof *grown);
        if (!grown) {
            state->rc = FM_ENOMEM;
            return NULL;
        }
        state->attrs = grown;
        state->attr_cap = cap;
    }
    return &state->attrs[state->attr_count++];
}

static inline bool view_pair(struct fm_slice content, struct process_attr *attr)
{
    const uint8_t *ptr = content.ptr;
    struct pb_field field;

    *attr = (struct process_attr){0};
    /* a key and a value, each with a length of one byte, and nothing else */
    if (FM_LIKELY(content.len >= 4 && ptr[0] == 0x0a && ptr[1] < 0x80 &&
                  ptr[1] + 4u <= content.len)) {
        size_t at = 2u + ptr[1];
        if (ptr[at] == 0x12 && ptr[at + 1] < 0x80 && at + 2 + ptr[at + 1] == content.len) {
            attr->key = fm_slice(ptr + 2, ptr[1]);
            attr->value = fm_slice(ptr + at + 2, ptr[at + 1]);
            return true;
        }
    }
    while (content.len) {
        if (pb_next(&content, &field) != FM_OK)
            return false;
        if (field.type == PB_BYTES && field.number == 1)
            attr->key = field.bytes;
        else if (field.type == PB_BYTES && field.number == 2)
            attr->value = field.bytes;
    }
    return true;
}

static inline int view_attribute(struct process_state *state, struct process_holder *holder,
                                 struct fm_slice content)
{
    struct process_attr *attr = view_room(state);
    if (!attr)
        return state->rc;
    holder->count++;
    return view_pair(content, attr) ? FM_OK : FM_EMALFORMED;
}

static struct process_holder view_begin(const struct process_state *state,
                                        const struct process_shape *shape, struct fm_slice content)
{
    return (struct process_holder){.shape = shape, .content = content, .first = state->attr_count};
}

int process_view(struct process_state *state, const struct process_shape *shape,
                 struct fm_slice content, struct process_holder *ret_holder)
{
    struct process_holder holder = view_begin(state, shape, content);
    struct pb_field field;
    int rc = FM_OK;

    while (rc == FM_OK && (rc = pb_next(&content, &field)) == FM_OK) {
        if (field.type != PB_BYTES)
            continue;
        if (field.number == shape->attributes)
            rc = view_attribute(state, &holder, field.bytes);
        else if (field.number == shape->text)
            holder.text = field.bytes;
    }
    if (rc < 0)
        return rc;
    *ret_holder = holder;
    return FM_OK;
}

static int view_status(struct fm_slice content, struct process_span *span)
{
    struct pb_field field;
    int rc;

    span->status_raw = content;
    while ((rc = pb_next(&content, &field)) == FM_OK) {
        if (field.number == 2 && field.type == PB_BYTES)
            span->message = field.bytes;
        else if (field.number == 3 && field.type == PB_VARINT)
            span->status = field.value;
    }
    return rc == FM_END ? FM_OK : rc;
}

static int view_span_field(struct process_state *state, const struct pb_field *field,
                           struct process_span *span)
{
    switch (field->number << 3 | field->type) {
    case SPAN_NAME << 3 | PB_BYTES:
        span->own.text = field->bytes;
        break;
    case SPAN_KIND << 3 | PB_VARINT:
        span->kind = field->value;
        break;
    case SPAN_START << 3 | PB_FIXED64:
        span->start_ns = field->value;
        break;
    case SPAN_END << 3 | PB_FIXED64:
        span->end_ns = field->value;
        break;
    case SPAN_ATTRIBUTES << 3 | PB_BYTES:
        return view_attribute(state, &span->own, field->bytes);
    case SPAN_EVENTS << 3 | PB_BYTES:
    case SPAN_LINKS << 3 | PB_BYTES:
        span->nested_count++;
        break;
    case SPAN_STATUS << 3 | PB_BYTES:
        return view_status(field->bytes, span);
    default:
        break;
    }
    return FM_OK;
}

/* Events and links behind the span's own attributes, which must stand in a row. */
static int view_nested(struct process_state *state, struct process_span *span)
{
    struct fm_slice content = span->own.content;
    struct pb_field field;
    int rc = FM_OK;

    if (state->holder_cap < span->nested_count) {
        if (span->nested_count > PROCESS_HOLDERS_MAX)
            return FM_ELIMIT;
        uint32_t cap = FM_MAX(span->nested_count, 64u);
        struct process_holder *grown = realloc(state->holders, cap * sizeof *grown);
        if (!grown)
            return FM_ENOMEM;
        state->holders = grown;
        state->holder_cap = cap;
    }
    while (rc == FM_OK && (rc = pb_next(&content, &field)) == FM_OK) {
        bool is_event = field.number == SPAN_EVENTS;
        if (field.type == PB_BYTES && (is_event || field.number == SPAN_LINKS))
            rc = process_view(state, is_event ? &process_event_shape : &process_link_shape,
                              field.bytes, &state->holders[state->holder_count++]);
    }
    return rc < 0 ? rc : FM_OK;
}

/* Attributes with a length of one byte that stand in a row, as they do in most spans. */
static int view_attribute_run(struct process_state *state, struct fm_slice *rest,
                              struct process_holder *holder)
{
    const uint8_t *ptr = rest->ptr, *end = ptr + rest->len;

    while (end - ptr >= 2 && ptr[0] == (SPAN_ATTRIBUTES << 3 | PB_BYTES) && ptr[1] < 0x80 &&
           ptr[1] <= end - ptr - 2) {
        int rc = view_attribute(state, holder, fm_slice(ptr + 2, ptr[1]));
        if (FM_UNLIKELY(rc < 0))
            return rc;
        ptr += 2 + ptr[1];
    }
    *rest = fm_slice(ptr, (size_t)(end - ptr));
    return FM_OK;
}

int process_view_span(struct process_state *state, struct fm_slice content,
                      struct process_span *ret_span)
{
    struct process_span *span = ret_span;
    struct pb_field field;
    int rc = FM_OK;

    *span = (struct process_span){.own = view_begin(state, &process_span_shape, content)};
    state->holder_count = 0;
    while (rc == FM_OK && (rc = view_attribute_run(state, &content, &span->own)) == FM_OK &&
           (rc = pb_next(&content, &field)) == FM_OK)
        rc = view_span_field(state, &field, span);
    if (rc < 0)
        return rc;
    return state->needs_nested && span->nested_count ? view_nested(state, span) : FM_OK;
}

/* ---- attributes ---- */

struct process_attr *process_attr_next(const struct process_state *state,
                                       const struct process_holder *holder,
                                       const struct process_attr *previous)
{
    struct process_attr *row = holder->count ? &state->attrs[holder->first] : NULL;
    struct process_attr *end = holder->count ? row + holder->count : NULL;
    bool is_added = previous && !(previous >= row && previous < end);
    struct process_attr *attr = NULL;

    if (!is_added) {
        for (attr = previous ? row + (previous - row) + 1 : row; attr < end; attr++) {
            if (attr->mark != PROCESS_GONE)
                return attr;
        }
    }
    attr = is_added ? previous->next : holder->added;
    while (attr && attr->mark == PROCESS_GONE)
        attr = attr->next;
    return attr;
}

struct process_attr *process_attr_find(const struct process_state *state,
                                       const struct process_holder *holder, struct fm_slice key,
                                       const struct process_attr *previous)
{
    struct process_attr *attr = (struct process_attr *)(uintptr_t)previous;

    if (!previous && holder->count) { /* the usual case, as a plain loop */
        attr = &state->attrs[holder->first];
        for (uint32_t i = 0; i < holder->count; i++, attr++) {
            if (attr->key.len == key.len && memcmp(attr->key.ptr, key.ptr, key.len) == 0 &&
                attr->mark != PROCESS_GONE)
                return attr;
        }
        attr--;
    }
    while ((attr = process_attr_next(state, holder, attr))) {
        if (fm_slice_equal(attr->key, key))
            return attr;
    }
    return NULL;
}

void process_attr_set(struct process_holder *holder, struct process_attr *attr,
                      struct fm_slice value)
{
    attr->value = value;
    attr->mark = PROCESS_CHANGED;
    holder->changed = true;
}

void process_attr_remove(struct process_holder *holder, struct process_attr *attr)
{
    attr->mark = PROCESS_GONE;
    holder->changed = true;
}

bool process_attr_add(struct process_state *state, struct process_holder *holder,
                      struct fm_slice key, struct fm_slice value)
{
    struct process_attr *attr = fm_arena_alloc(state->arena, sizeof *attr);
    struct process_attr **place = &holder->added;

    if (!attr)
        return false; /* the arena stays failed; the run looks at it */
    *attr = (struct process_attr){.key = key, .value = value, .mark = PROCESS_CHANGED};
    while (*place)
        place = &(*place)->next;
    *place = attr;
    holder->changed = true;
    return true;
}
