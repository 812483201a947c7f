/* SPDX-License-Identifier: Apache-2.0 */
/* One walk over a request, in which spans go or get their threshold.
 *
 * Nothing is written until the first of them.  Then envelopes are opened on the way, and what
 * follows is copied from one change to the next; an envelope that loses all of its spans is taken
 * back. */
#include "internal.h"

#include "fermata/pb.h"
#include "fermata/units.h"

enum { REQUEST_RESOURCE_SPANS = 1, RESOURCE_SCOPE_SPANS = 2, SCOPE_SPANS = 2 };
enum { SPAN_TRACE_ID = 1, SPAN_SPAN_ID = 2, SPAN_TRACESTATE = 3 };

struct head_level { /* an envelope that is being walked */
    struct pb_field field;
    bool is_open;
    size_t start, mark; /* of the result, if is_open */
    uint64_t kept, dropped;
};
struct head_walk {
    const struct sample_head *head;
    uint64_t threshold;
    struct sample_head_tally tally;
    struct fm_buf *target;
    const uint8_t *copied; /* the request up to here is in target, or left out */
    struct head_level levels[2];
    unsigned depth;
    size_t request_len;
    struct fm_buf plain; /* field 3 of a span that had none; empty: not needed yet */
    bool changed;
};
struct head_span {
    const uint8_t *id;           /* of the trace */
    const uint8_t *ids_end;      /* behind trace id and span id */
    struct fm_slice state;       /* tracestate */
    struct fm_slice state_field; /* with its tag; empty: there is none */
};

void sample_head_init(struct sample_head *head, const struct sample_head_options *options)
{
    *head = (struct sample_head){.options = *options};
}

/* ---- the rate ---- */

/* Threads that meet at the turn of a second may lose some spans of the count. */
uint64_t sample_head_threshold(struct sample_head *head, uint64_t now_ns, uint64_t span_count)
{
    __extension__ typedef unsigned __int128 wide;
    uint64_t second = now_ns / FM_NS_PER_S, max = head->options.spans_per_second_max;

    if (!max)
        return head->options.threshold;
    uint64_t before = atomic_load_explicit(&head->second, memory_order_relaxed);
    if (second != before &&
        atomic_compare_exchange_strong_explicit(&head->second, &before, second,
                                                memory_order_relaxed, memory_order_relaxed)) {
        uint64_t last = atomic_exchange_explicit(&head->seen, 0, memory_order_relaxed);
        atomic_store_explicit(&head->seen_before, second == before + 1 ? last : 0,
                              memory_order_relaxed);
    }
    uint64_t seen =
        atomic_fetch_add_explicit(&head->seen, span_count, memory_order_relaxed) + span_count;
    seen = FM_MAX(seen, atomic_load_explicit(&head->seen_before, memory_order_relaxed));
    if (seen <= max)
        return head->options.threshold;
    uint64_t kept = (uint64_t)((wide)SAMPLE_THRESHOLD_NEVER * max / seen);
    return FM_MAX(head->options.threshold, SAMPLE_THRESHOLD_NEVER - FM_MAX(kept, UINT64_C(1)));
}

/* ---- the result ---- */

static void walk_copy(struct head_walk *walk, const uint8_t *to)
{
    fm_buf_put(walk->target, walk->copied, (size_t)(to - walk->copied));
    walk->copied = to;
}

/* About what it will be, so that it need not grow often. */
static void walk_reserve(struct head_walk *walk)
{
    double share = 1 - (double)walk->threshold / (double)SAMPLE_THRESHOLD_NEVER;
    size_t len = (size_t)((double)walk->request_len * share * 1.125) + FM_KIB(1);
    if (walk->target->bytes_max - walk->target->len >= len)
        (void)fm_buf_room(walk->target, len);
}

/* The field is left out; what is written next stands in its place. */
static void walk_replace(struct head_walk *walk, const struct pb_field *field)
{
    if (!walk->changed)
        walk_reserve(walk);
    for (unsigned i = 0; i < walk->depth; i++) {
        struct head_level *level = &walk->levels[i];
        if (level->is_open)
            continue;
        walk_copy(walk, level->field.raw.ptr);
        level->start = walk->target->len;
        level->mark = pb_begin(walk->target, level->field.number);
        level->is_open = true;
        walk->copied = level->field.bytes.ptr;
    }
    walk_copy(walk, field->raw.ptr);
    walk->copied = field->raw.ptr + field->raw.len;
    walk->changed = true;
}

static void walk_enter(struct head_walk *walk, const struct pb_field *field)
{
    walk->levels[walk->depth++] = (struct head_level){.field = *field};
}

static void walk_leave(struct head_walk *walk)
{
    struct head_level *level = &walk->levels[--walk->depth];

    if (walk->depth) {
        walk->levels[walk->depth - 1].kept += level->kept;
        walk->levels[walk->depth - 1].dropped += level->dropped;
    }
    if (!level->is_open)
        return;
    walk_copy(walk, level->field.raw.ptr + level->field.raw.len);
    if (level->kept || !level->dropped)
        pb_end(walk->target, level->mark);
    else if (!walk->target->failed)
        walk->target->len = level->start;
}

/* ---- a span ---- */

/* Fields stand there once (canonical OTLP), in any order. */
static int span_read(struct fm_slice content, struct head_span *span)
{
    struct pb_field field;
    int rc;

    *span = (struct head_span){0};
    for (;;) {
        /* what has a tag and a length of one byte each and is none of ours: most of a span */
        while (content.len >= 2 && (content.ptr[0] & 0x87) == PB_BYTES &&
               content.ptr[0] > (SPAN_TRACESTATE << 3 | PB_BYTES) && content.ptr[1] < 0x80 &&
               content.ptr[1] + 2u <= content.len)
            content = fm_slice(content.ptr + content.ptr[1] + 2, content.len - content.ptr[1] - 2u);
        rc = pb_next(&content, &field);
        if (rc != FM_OK)
            break;
        if (field.type != PB_BYTES || field.number > SPAN_TRACESTATE)
            continue;
        if (field.number == SPAN_TRACESTATE) {
            span->state = field.bytes;
            span->state_field = field.raw;
        } else if (field.number == SPAN_SPAN_ID || field.bytes.len == 16) {
            span->id = field.number == SPAN_TRACE_ID ? field.bytes.ptr : span->id;
            span->ids_end = field.raw.ptr + field.raw.len;
        }
        if (span->id && span->state.len)
            return FM_OK;
    }
    return rc == FM_END && span->id ? FM_OK : FM_EMALFORMED;
}

static void span_drop(struct head_walk *walk, const struct pb_field *field,
                      enum sample_head_reason reason)
{
    walk->tally.dropped[reason]++;
    walk->levels[1].dropped++;
    walk_replace(walk, field);
}

/* As most spans are: without a tracestate. */
static void span_mark_plain(struct head_walk *walk, const struct pb_field *field,
                            const struct head_span *span)
{
    const struct sample_tracestate none = {0};
    const uint8_t *end = field->bytes.ptr + field->bytes.len;

    if (!walk->plain.len) {
        pb_put_tag(&walk->plain, SPAN_TRACESTATE, PB_BYTES);
        size_t at = walk->plain.len;
        fm_buf_put_u8(&walk->plain, 0);
        sample_tracestate_put(FM_SLICE(""), &none, walk->threshold, &walk->plain);
        if (!walk->plain.failed)
            walk->plain.ptr[at] = (uint8_t)(walk->plain.len - at - 1); /* 20 at most */
    }
    walk->target->failed |= walk->plain.failed;
    pb_put_tag(walk->target, field->number, PB_BYTES);
    pb_put_varint(walk->target, field->bytes.len + walk->plain.len);
    fm_buf_put(walk->target, field->bytes.ptr, (size_t)(span->ids_end - field->bytes.ptr));
    fm_buf_put_slice(walk->target, fm_buf_slice(&walk->plain));
    fm_buf_put(walk->target, span->ids_end, (size_t)(end - span->ids_end));
}

static void span_mark(struct head_walk *walk, const struct pb_field *field,
                      const struct head_span *span, const struct sample_tracestate *state)
{
    const uint8_t *end = field->bytes.ptr + field->bytes.len;
    const uint8_t *at = span->state_field.ptr;

    walk_replace(walk, field);
    walk->tally.marked++;
    if (!span->state_field.len) {
        span_mark_plain(walk, field, span);
        return;
    }
    size_t mark = pb_begin(walk->target, field->number);
    fm_buf_put(walk->target, field->bytes.ptr, (size_t)(at - field->bytes.ptr));
    size_t inner = pb_begin(walk->target, SPAN_TRACESTATE);
    sample_tracestate_put(span->state, state, walk->threshold, walk->target);
    pb_end(walk->target, inner);
    at += span->state_field.len;
    fm_buf_put(walk->target, at, (size_t)(end - at));
    pb_end(walk->target, mark);
}

static int walk_span(struct head_walk *walk, const struct pb_field *field)
{
    const struct sample_head_options *options = &walk->head->options;
    struct sample_tracestate state = {0};
    struct head_span span;

    int rc = span_read(field->bytes, &span);
    if (rc < 0)
        return rc;
    if (span.state.len)
        state = sample_tracestate_read(span.state);
    uint64_t randomness = state.has_randomness ? state.randomness : sample_randomness(span.id);
    bool contradicts = state.has_threshold && randomness < state.threshold;
    if ((contradicts || state.is_malformed) && options->fail_closed) {
        span_drop(walk, field, SAMPLE_HEAD_TRACESTATE);
        return FM_OK;
    }
    if (randomness < walk->threshold) {
        span_drop(walk, field,
                  randomness < options->threshold ? SAMPLE_HEAD_PROBABILITY : SAMPLE_HEAD_RATE);
        return FM_OK;
    }
    walk->levels[1].kept++;
    if (contradicts || !state.has_threshold || state.threshold < walk->threshold)
        span_mark(walk, field, &span, &state);
    return FM_OK;
}

/* ---- the walk ---- */

static int walk_scope(struct head_walk *walk, const struct pb_field *scope)
{
    struct fm_slice rest = scope->bytes;
    struct pb_field field;
    int rc = FM_OK;

    walk_enter(walk, scope);
    while (rc == FM_OK && (rc = pb_next(&rest, &field)) == FM_OK) {
        if (field.number == SCOPE_SPANS && field.type == PB_BYTES)
            rc = walk_span(walk, &field);
    }
    walk_leave(walk);
    return rc == FM_END ? FM_OK : rc;
}

static int walk_resource(struct head_walk *walk, const struct pb_field *resource)
{
    struct fm_slice rest = resource->bytes;
    struct pb_field field;
    int rc = FM_OK;

    walk_enter(walk, resource);
    while (rc == FM_OK && (rc = pb_next(&rest, &field)) == FM_OK) {
        if (field.number == RESOURCE_SCOPE_SPANS && field.type == PB_BYTES)
            rc = walk_scope(walk, &field);
    }
    walk_leave(walk);
    return rc == FM_END ? FM_OK : rc;
}

int sample_head_run(const struct sample_head *head, uint64_t threshold, struct fm_slice request,
                    struct fm_buf *target, struct sample_head_tally *ret_tally)
{
    struct head_walk walk = {.head = head,
                             .threshold = threshold,
                             .target = target,
                             .copied = request.ptr,
                             .request_len = request.len};
    struct fm_slice rest = request;
    size_t before = target->len;
    struct pb_field field;
    int rc = FM_OK;

    *ret_tally = walk.tally;
    if (!threshold)
        return FM_NONE;
    fm_buf_init(&walk.plain, 64);
    while (rc == FM_OK && (rc = pb_next(&rest, &field)) == FM_OK) {
        if (field.number == REQUEST_RESOURCE_SPANS && field.type == PB_BYTES)
            rc = walk_resource(&walk, &field);
    }
    fm_buf_fini(&walk.plain);
    if (rc != FM_END)
        return rc;
    if (!walk.changed)
        return FM_NONE;
    walk_copy(&walk, request.ptr + request.len);
    if (target->failed) {
        target->len = before;
        return FM_ELIMIT;
    }
    *ret_tally = walk.tally;
    return FM_OK;
}
