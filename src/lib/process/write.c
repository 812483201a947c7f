/* SPDX-License-Identifier: Apache-2.0 */
/* From a view that rules have marked back to the bytes of its message.  Whatever stands between two
 * changes is copied in one piece. */
#include "internal.h"

enum { SPAN_EVENTS = 11, SPAN_LINKS = 13, SPAN_STATUS = 15 };

struct write_run { /* a stretch of the message that is copied as it stands */
    const uint8_t *from;
    struct fm_buf *out;
};

/* The field is written otherwise, or not at all. */
static void run_skip(struct write_run *run, const struct pb_field *field)
{
    fm_buf_put(run->out, run->from, (size_t)(field->raw.ptr - run->from));
    run->from = field->raw.ptr + field->raw.len;
}

static void put_attr(const struct process_attr *attr, uint32_t number, struct fm_buf *out)
{
    size_t mark = pb_begin(out, number);
    pb_put_bytes(out, 1, attr->key);
    if (attr->value.ptr)
        pb_put_bytes(out, 2, attr->value);
    pb_end(out, mark);
}

static void put_added(const struct process_holder *holder, struct fm_buf *out)
{
    for (const struct process_attr *attr = holder->added; attr; attr = attr->next) {
        if (attr->mark != PROCESS_GONE)
            put_attr(attr, holder->shape->attributes, out);
    }
}

/* True: the field was an attribute or the text, and was seen to. */
static bool put_own_field(const struct process_state *state, const struct process_holder *holder,
                          const struct pb_field *field, uint32_t *attr_index, struct write_run *run)
{
    if (field->type != PB_BYTES)
        return false;
    if (field->number == holder->shape->attributes) {
        FM_ASSERT(*attr_index < holder->count);
        const struct process_attr *attr = &state->attrs[holder->first + (*attr_index)++];
        if (attr->mark != PROCESS_KEPT)
            run_skip(run, field);
        if (attr->mark == PROCESS_CHANGED)
            put_attr(attr, field->number, run->out);
        return true;
    }
    if (field->number != holder->shape->text)
        return false;
    if (holder->text_changed)
        run_skip(run, field);
    return true;
}

static void put_rest(const struct process_holder *holder, struct write_run *run)
{
    const uint8_t *end = holder->content.ptr + holder->content.len;

    fm_buf_put(run->out, run->from, (size_t)(end - run->from));
    if (holder->text_changed)
        pb_put_bytes(run->out, holder->shape->text, holder->text);
    put_added(holder, run->out);
}

void process_put_holder(const struct process_state *state, const struct process_holder *holder,
                        struct fm_buf *out)
{
    struct fm_slice rest = holder->content;
    struct write_run run = {.from = rest.ptr, .out = out};
    struct pb_field field;
    uint32_t attr_index = 0;

    while (pb_next(&rest, &field) == FM_OK)
        (void)put_own_field(state, holder, &field, &attr_index, &run);
    put_rest(holder, &run);
}

static void put_status(const struct process_span *span, struct fm_buf *out)
{
    struct fm_slice rest = span->status_raw;
    struct pb_field field;
    size_t mark = pb_begin(out, SPAN_STATUS);

    while (pb_next(&rest, &field) == FM_OK) {
        if (field.number == 2 && field.type == PB_BYTES)
            pb_put_bytes(out, 2, span->message);
        else
            fm_buf_put_slice(out, field.raw);
    }
    pb_end(out, mark);
}

void process_put_span(const struct process_state *state, const struct process_span *span,
                      struct fm_buf *out)
{
    struct fm_slice rest = span->own.content;
    struct write_run run = {.from = rest.ptr, .out = out};
    struct pb_field field;
    uint32_t attr_index = 0, nested_index = 0;

    while (pb_next(&rest, &field) == FM_OK) {
        if (put_own_field(state, &span->own, &field, &attr_index, &run) || field.type != PB_BYTES)
            continue;
        if (field.number == SPAN_STATUS && span->message_changed) {
            run_skip(&run, &field);
            put_status(span, out);
        } else if (span->nested_changed &&
                   (field.number == SPAN_EVENTS || field.number == SPAN_LINKS)) {
            const struct process_holder *nested = &state->holders[nested_index++];
            if (!nested->changed)
                continue;
            run_skip(&run, &field);
            size_t mark = pb_begin(out, field.number);
            process_put_holder(state, nested, out);
            pb_end(out, mark);
        }
    }
    put_rest(&span->own, &run);
}
