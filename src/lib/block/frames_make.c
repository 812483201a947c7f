/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept of a row group, made in one go by a source of its own that decodes it for this only:
 * the shape from the spine, a field by the shape.  What is damaged, too large or not as it should
 * be is not made: whoever needs it decodes it, and finds out. */
#include "frames.h"

#include <stdlib.h>

struct make {
    struct block_frames *pass; /* who decodes */
    bool is_shape;
    size_t memory_max;     /* of the buffers */
    struct fm_buf numbers; /* int64_t: of the field, or the starts of traces */
    struct fm_buf ids;
    struct fm_buf firsts[3]; /* uint32_t, by row: spans, resources, scopes before it */
    struct fm_buf owners[2]; /* uint16_t, by span: resource, scope, counted from the row's first */
    uint16_t owner_max[2];
    uint32_t owner_next[2];       /* what no span so far belongs to, nor to what is behind it */
    uint32_t base[FRAME_DOMAINS]; /* of the frame at hand */
    uint64_t next_row;
    struct frame_vector vector; /* the last one */
};

/* ---- a field's elements ---- */

static int make_ids(struct make *make, const struct frames_field *own)
{
    static const uint8_t zeros[FRAMES_ID_BYTES];
    struct block_frames *pass = make->pass;
    struct frames_slice slice;
    uint64_t row = pass->row_from;
    uint32_t count = 0;
    int rc;
    while ((rc = frames_slice(pass, own->leaf, &row, pass->row_to, &slice)) == FM_OK) {
        for (uint32_t i = 0; i < slice.value_count; i++, count++) {
            struct fm_slice id = frames_bytes(&slice, slice.value + i);
            if (own->field->intrinsic == TRACEQL_PARENT_ID && !id.len)
                id = fm_slice(zeros, sizeof zeros);
            if (id.len != FRAMES_ID_BYTES)
                return FM_NONE;
            fm_buf_put_slice(&make->ids, id);
        }
    }
    if (rc < 0)
        return rc;
    return count == pass->frame.count[own->domain] ? FM_OK : FM_NONE;
}

/* Of all frames in one table, or none is. */
static bool make_goes_on(const struct make *make, const struct frame_vector *vector)
{
    if (!make->next_row)
        return true;
    return vector->shape == make->vector.shape &&
           (vector->shape != FRAME_CODES || vector->values->serial == make->vector.values->serial);
}

static int make_vector(struct make *make, struct frames_field *own)
{
    struct frame_vector vector;
    int rc = frames_load(make->pass, own, NULL, &vector);
    if (rc < 0)
        return rc;
    if (!make_goes_on(make, &vector))
        return FM_NONE;
    make->vector = vector;
    if (vector.shape == FRAME_ABSENT || !vector.count)
        return FM_OK;
    size_t bytes = vector.count * sizeof(int64_t);
    int64_t *numbers = (int64_t *)(void *)fm_buf_room(&make->numbers, bytes);
    if (!numbers)
        return FM_NONE;
    make->numbers.len += bytes;
    if (vector.shape == FRAME_INTEGERS)
        memcpy(numbers, vector.integers, bytes);
    for (uint32_t i = 0; vector.shape == FRAME_CODES && i < vector.count; i++)
        numbers[i] = vector.codes[i];
    return FM_OK;
}

/* ---- the shape's ---- */

static void make_put(struct fm_buf *buf, uint32_t number)
{
    fm_buf_put(buf, &number, sizeof number);
}

/* What the spans of a row belong to, all of it after what those before it belong to. */
static bool make_owners(struct make *make, unsigned which, const uint32_t *owners, uint32_t row)
{
    static const enum frame_domain domains[] = {FRAME_RESOURCE, FRAME_SCOPE};
    const struct frame *frame = &make->pass->frame;
    uint32_t at = frame->trace_spans[row], end = frame->trace_spans[row + 1];
    uint32_t base = make->base[domains[which]], count = frame->count[domains[which]];
    uint32_t first = at < frame->count[FRAME_SPAN] ? owners[at] : count;
    bool fits = first <= count && base + first >= make->owner_next[which];
    make_put(&make->firsts[1 + which], base + first);
    for (; at < end && fits; at++) {
        uint16_t stored = (uint16_t)(owners[at] - first);
        fits = owners[at] < count && stored == owners[at] - first;
        fm_buf_put(&make->owners[which], &stored, sizeof stored);
        make->owner_max[which] = FM_MAX(make->owner_max[which], stored);
        make->owner_next[which] = FM_MAX(make->owner_next[which], base + owners[at] + 1);
    }
    return fits;
}

static int make_row(struct make *make, uint32_t row)
{
    const struct frame *frame = &make->pass->frame;
    make_put(&make->firsts[0], make->base[FRAME_SPAN] + frame->trace_spans[row]);
    return make_owners(make, 0, frame->span_resources, row) &&
                   make_owners(make, 1, frame->span_scopes, row)
               ? FM_OK
               : FM_NONE;
}

static int make_shape_frame(struct make *make, struct frames_field *start)
{
    const struct frame *frame = &make->pass->frame;
    int rc = make_vector(make, start);
    if (rc == FM_OK && make->vector.shape != FRAME_INTEGERS)
        rc = FM_NONE;
    if (rc == FM_OK)
        fm_buf_put(&make->ids, frame->trace_ids,
                   frame->count[FRAME_TRACE] * sizeof *frame->trace_ids);
    for (uint32_t i = 0; i < frame->count[FRAME_TRACE] && rc == FM_OK; i++)
        rc = make_row(make, i);
    return rc;
}

/* ---- all frames ---- */

static bool make_fits(const struct make *make)
{
    const struct fm_buf *bufs[] = {&make->numbers,   &make->ids,       &make->firsts[0],
                                   &make->firsts[1], &make->firsts[2], &make->owners[0],
                                   &make->owners[1]};
    size_t bytes = 0;
    for (size_t i = 0; i < FM_COUNT(bufs); i++) {
        if (bufs[i]->failed)
            return false;
        bytes += bufs[i]->cap;
    }
    return bytes <= make->memory_max && make->base[FRAME_SPAN] <= UINT32_MAX / 4;
}

/* FM_NONE: not what can be kept. */
static int make_frames(struct make *make)
{
    struct block_frames *pass = make->pass;
    struct frames_field *own = pass->fields;
    int rc;
    while ((rc = frames_fill(pass)) == FM_OK) {
        if (pass->row_from != make->next_row)
            return FM_NONE; /* rows without a span are in no frame */
        rc = make->is_shape ? make_shape_frame(make, own)
             : own->is_id   ? make_ids(make, own)
                            : make_vector(make, own);
        if (rc != FM_OK)
            return rc;
        for (unsigned i = 0; i < FRAME_DOMAINS; i++)
            make->base[i] += pass->frame.count[i];
        make->next_row = pass->row_to;
        if (!make_fits(make))
            return FM_NONE;
    }
    if (rc < 0)
        return rc;
    return make->next_row == pass->group_rows && make->next_row ? FM_OK : FM_NONE;
}

/* ---- one piece of memory ---- */

struct make_room { /* measured with ptr NULL, then taken */
    uint8_t *ptr;
    size_t used;
};

static void *room_take(struct make_room *room, size_t size)
{
    void *taken = room->ptr ? room->ptr + room->used : NULL;
    room->used += (size + 7) & ~(size_t)7;
    return taken;
}

static void *room_packed(struct make_room *room, uint32_t count, unsigned width)
{
    return room_take(room, ((size_t)count + FRAMES_PACK_LANES) * width);
}

static void *room_copy(struct make_room *room, const void *from, size_t size)
{
    void *taken = room_take(room, size);
    if (taken && size)
        memcpy(taken, from, size);
    return taken;
}

static void room_value(struct make_room *room, const struct traceql_value *from,
                       struct traceql_value *to)
{
    if (to)
        *to = *from;
    if (from->type == TRACEQL_STRING) {
        void *text = room_copy(room, from->text.ptr, from->text.len);
        if (to)
            to->text.ptr = text;
    } else if (from->type == TRACEQL_ARRAY) {
        struct traceql_value *elements = room_take(room, from->element_count * sizeof *from);
        for (uint32_t i = 0; i < from->element_count; i++) /* these are no arrays */
            room_value(room, &from->elements[i], elements ? &elements[i] : NULL);
        if (to)
            to->elements = elements;
    }
}

static void room_values(struct make_room *room, const struct frame_values *from,
                        struct frame_values *to)
{
    struct traceql_value *values = room_take(room, from->count * sizeof *values);
    for (uint32_t i = 0; i < from->count; i++)
        room_value(room, &from->values[i], values ? &values[i] : NULL);
    *to = (struct frame_values){.values = values, .count = from->count};
}

/* A second time with the room, into what the first time has left. */
static void make_lay_field(const struct make *make, struct make_room *room,
                           struct frames_kept *kept)
{
    const struct frames_field *own = make->pass->fields;
    const int64_t *numbers = (const int64_t *)(const void *)make->numbers.ptr;
    bool is_packed = !own->is_id && make->vector.shape != FRAME_ABSENT;
    kept->shape = own->is_id ? FRAME_CODES : make->vector.shape;
    kept->type = make->vector.type;
    kept->count = make->base[own->domain];
    if (own->is_id)
        kept->ids = room_copy(room, make->ids.ptr, make->ids.len);
    if (is_packed && !room->ptr)
        kept->pack = frames_pack_plan(numbers, kept->count);
    uint8_t *bytes = is_packed ? room_packed(room, kept->count, kept->pack.width) : NULL;
    if (bytes)
        frames_pack_put(&kept->pack, numbers, kept->count, bytes);
    if (is_packed && kept->shape == FRAME_CODES)
        room_values(room, make->vector.values, &kept->values);
}

/* ---- the shape's ---- */

struct shape_start {
    uint64_t start_ns;
    uint32_t row;
};

static int shape_start_compare(const void *a, const void *b)
{
    const struct shape_start *x = a, *y = b;
    if (x->start_ns != y->start_ns)
        return x->start_ns > y->start_ns ? -1 : 1;
    return x->row < y->row ? -1 : 1;
}

static int shape_sort(struct frames_shape *shape)
{
    uint32_t count = shape->count[FRAME_TRACE];
    struct shape_start *starts = malloc((count + (size_t)1) * sizeof *starts);
    if (!starts)
        return FM_ENOMEM;
    for (uint32_t i = 0; i < count; i++)
        starts[i] = (struct shape_start){(uint64_t)shape->starts[i], i};
    qsort(starts, count, sizeof *starts, shape_start_compare);
    for (uint32_t i = 0; i < count; i++)
        shape->newest[i] = starts[i].row;
    free(starts);
    return FM_OK;
}

static uint32_t *room_firsts(struct make_room *room, const struct fm_buf *numbers, uint32_t end)
{
    uint32_t *firsts = room_take(room, numbers->len + sizeof *firsts);
    if (firsts) {
        memcpy(firsts, numbers->ptr, numbers->len);
        firsts[0] = 0;
        firsts[numbers->len / sizeof *firsts] = end;
    }
    return firsts;
}

static struct frames_pack room_owners(struct make_room *room, const struct fm_buf *owners,
                                      uint16_t owner_max)
{
    uint32_t count = (uint32_t)(owners->len / sizeof(uint16_t));
    struct frames_pack pack = {.width = owner_max <= UINT8_MAX ? 1 : 2};
    uint8_t *bytes = room_packed(room, count, pack.width);
    const uint16_t *from = (const uint16_t *)(const void *)owners->ptr;
    if (bytes && pack.width == 2)
        memcpy(bytes, from, owners->len);
    for (uint32_t i = 0; bytes && pack.width == 1 && i < count; i++)
        bytes[i] = (uint8_t)from[i];
    pack.bytes = bytes;
    return pack;
}

static void make_lay_shape(const struct make *make, struct make_room *room,
                           struct frames_shape *shape)
{
    memcpy(shape->count, make->base, sizeof shape->count);
    shape->ids = room_copy(room, make->ids.ptr, make->ids.len);
    shape->starts = room_copy(room, make->numbers.ptr, make->numbers.len);
    shape->newest = room_take(room, shape->count[FRAME_TRACE] * sizeof *shape->newest);
    shape->row_spans = room_firsts(room, &make->firsts[0], shape->count[FRAME_SPAN]);
    shape->row_resources = room_firsts(room, &make->firsts[1], shape->count[FRAME_RESOURCE]);
    shape->row_scopes = room_firsts(room, &make->firsts[2], shape->count[FRAME_SCOPE]);
    shape->span_resources = room_owners(room, &make->owners[0], make->owner_max[0]);
    shape->span_scopes = room_owners(room, &make->owners[1], make->owner_max[1]);
}

static struct block_kept *make_lay(const struct make *make, size_t bytes_max)
{
    union {
        struct block_kept kept;
        struct frames_shape shape;
        struct frames_kept field;
    } measured = {0}, *laid;
    struct make_room room = {0};
    size_t size = make->is_shape ? sizeof laid->shape : sizeof laid->field;
    (void)room_take(&room, sizeof *laid);
    if (make->is_shape)
        make_lay_shape(make, &room, &measured.shape);
    else
        make_lay_field(make, &room, &measured.field);
    laid = room.used <= bytes_max ? calloc(1, room.used) : NULL;
    if (!laid)
        return NULL;
    memcpy(laid, &measured, size);
    laid->kept.bytes = room.used;
    atomic_init(&laid->kept.refs, 1);
    room = (struct make_room){.ptr = (uint8_t *)laid};
    (void)room_take(&room, sizeof *laid);
    if (!make->is_shape)
        make_lay_field(make, &room, &laid->field);
    else
        make_lay_shape(make, &room, &laid->shape);
    if (make->is_shape && shape_sort(&laid->shape) < 0)
        free(fm_take(laid));
    return laid ? &laid->kept : NULL;
}

/* ---- */

static void make_fini(struct make *make)
{
    fm_buf_fini(&make->numbers);
    fm_buf_fini(&make->ids);
    for (size_t i = 0; i < FM_COUNT(make->firsts); i++)
        fm_buf_fini(&make->firsts[i]);
    fm_buf_fini(&make->owners[0]);
    fm_buf_fini(&make->owners[1]);
}

static void make_init(struct make *make, const struct frames_shape *shape,
                      const struct frames_field *own)
{
    fm_buf_init(&make->numbers, make->memory_max);
    fm_buf_init(&make->ids, make->memory_max);
    for (size_t i = 0; i < FM_COUNT(make->firsts); i++)
        fm_buf_init(&make->firsts[i], make->memory_max);
    fm_buf_init(&make->owners[0], make->memory_max);
    fm_buf_init(&make->owners[1], make->memory_max);
    if (own && own->is_id) /* at once, since all are known */
        (void)fm_buf_room(&make->ids, (size_t)shape->count[own->domain] * FRAMES_ID_BYTES);
    else if (own)
        (void)fm_buf_room(&make->numbers, (size_t)shape->count[own->domain] * sizeof(int64_t));
}

/* Half of what is left is for the source, and a quarter each for what it says and what is kept. */
struct block_kept *frames_make(struct block_frames *frames, const struct frames_field *own)
{
    static const struct traceql_field start = {.intrinsic = TRACEQL_TRACE_START};
    struct frame_request request = {
        .fields = own ? own->field : &start, .field_count = 1, .end_ns = UINT64_MAX};
    struct make make = {.is_shape = !own};
    struct block_kept *kept = NULL;
    FM_AUTO(frame_source) source = NULL;
    size_t used = frames->held + frames->arena.used_bytes + frames->row_arena.used_bytes;
    size_t left = frames->memory_max - FM_MIN(used, frames->memory_max);
    if (block_frames_new(frames->block, &request, left / 2, &source, NULL) < 0)
        return NULL;
    make.memory_max = left / 4;
    make_init(&make, frames->shape, own);
    make.pass = FM_CONTAINER(source, struct block_frames, base);
    make.pass->is_making = own != NULL;
    int rc = frames_enter(make.pass, frames->group);
    if (own)
        make.pass->shape = frames->shape; /* borrowed */
    if (rc == FM_OK)
        rc = make_frames(&make);
    if (rc == FM_OK)
        kept = make_lay(&make, FM_MIN(left / 4, frames->request.keep->bytes_max));
    make.pass->shape = NULL;
    frames->base.stats.inspected_bytes += source->stats.inspected_bytes;
    make_fini(&make);
    return kept;
}
