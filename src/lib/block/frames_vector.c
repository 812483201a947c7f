/* SPDX-License-Identifier: Apache-2.0 */
/* Columns as vectors: numbers as they are, texts by the dictionary's own indexes where one column
 * is all there is, ids as texts made for this frame. */
#include "frames.h"

#include <stdlib.h>

static int vector_full(const struct block_frames *frames, unsigned leaf)
{
    return frames_fail(frames, leaf, "has more entries than the frame");
}

/* ---- numbers ---- */

static void integers_copy(int64_t *target, const struct frames_slice *slice, unsigned type)
{
    const struct pq_page *page = slice->page;
    if (!slice->value_count)
        return;
    if (type == PQ_INT64)
        memcpy(target, page->i64 + slice->value, slice->value_count * sizeof *target);
    else
        for (uint32_t i = 0; i < slice->value_count; i++)
            target[i] = page->i32[slice->value + i];
}

static int load_integers(struct block_frames *frames, struct frames_field *own)
{
    struct frame_vector *vector = &own->vector;
    struct frames_slice slice;
    uint64_t row = frames->row_from;
    uint32_t count = 0;
    unsigned type = frames->block->leaves[own->leaf].type;
    int rc;
    while ((rc = frames_slice(frames, own->leaf, &row, frames->row_to, &slice)) == FM_OK) {
        if (slice.value_count > vector->count - count)
            return vector_full(frames, own->leaf);
        if (!count && row == frames->row_to && type == PQ_INT64) { /* where they lie */
            vector->integers = slice.page->i64 + slice.value;
        } else {
            rc = FRAMES_RESERVE(frames, own->integers, own->integer_cap, vector->count);
            if (rc < 0)
                return rc;
            integers_copy(own->integers + count, &slice, type);
            vector->integers = own->integers;
        }
        count += slice.value_count;
    }
    if (rc < 0)
        return rc;
    if (count != vector->count)
        return frames_fail(frames, own->leaf, "has fewer entries than the frame");
    vector->shape = FRAME_INTEGERS;
    vector->type = own->type;
    own->is_loaded = true;
    return FM_OK;
}

/* ---- ids ---- */

struct ids {
    struct block_frames *frames;
    struct frames_field *own;
    const uint8_t *wanted; /* of a span: by trace */
    uint32_t trace;        /* of the element at hand */
    uint32_t element;
    struct traceql_value *items;
};

/* The next element, from the present one to end, whose id matters; of those before it codes are
 * nil. */
static uint32_t ids_next(struct ids *ids, uint32_t end)
{
    const struct frame *frame = &ids->frames->frame;
    uint32_t next = ids->element;
    if (ids->wanted && ids->own->domain == FRAME_TRACE) {
        while (next < end && !ids->wanted[next])
            next++;
    } else if (ids->wanted && ids->own->domain == FRAME_SPAN) {
        for (; next < end; next = frame->trace_spans[ids->trace + 1]) {
            while (next >= frame->trace_spans[ids->trace + 1])
                ids->trace++;
            if (ids->wanted[ids->trace])
                break;
        }
        next = FM_MIN(next, end);
    }
    if (next > ids->element)
        memset(ids->own->codes + ids->element, 0, (next - ids->element) * sizeof *ids->own->codes);
    return next;
}

static int ids_put(struct ids *ids, struct fm_slice id)
{
    static const uint8_t zeros[8];
    struct frames_field *own = ids->own;
    enum traceql_intrinsic intrinsic = own->field->intrinsic;
    bool of_trace = intrinsic == TRACEQL_TRACE_ID || intrinsic == TRACEQL_LINK_TRACE_ID;
    uint32_t *code = &own->codes[ids->element];
    void *text = NULL;
    if (intrinsic == TRACEQL_PARENT_ID && !id.len)
        id = fm_slice(zeros, sizeof zeros);
    size_t len = id.len * 2, skipped = 0;
    int rc = frames_alloc(ids->frames, len, &text);
    if (rc < 0)
        return rc;
    fm_hex_encode(text, id);
    while (of_trace && skipped < len && ((const char *)text)[skipped] == '0')
        skipped++;
    *code = own->ids.count++;
    ids->items[*code] = (struct traceql_value){
        .type = TRACEQL_STRING, .text = fm_slice((const char *)text + skipped, len - skipped)};
    return FM_OK;
}

/* Out of what is kept. */
static int ids_take(struct ids *ids)
{
    const struct block_frames *frames = ids->frames;
    const struct frames_field *own = ids->own;
    for (size_t i = 0; i < frames->run_count; i++) {
        const struct frames_run *run = &frames->runs[i];
        uint32_t from = frames_first(frames->shape, own->domain, run->row), first = ids->element;
        uint32_t end = first + frames_first(frames->shape, own->domain, run->end) - from;
        while ((ids->element = ids_next(ids, end)) < end) {
            size_t at = (size_t)from + (ids->element - first);
            int rc = ids_put(ids, fm_slice(own->kept->ids + at * FRAMES_ID_BYTES, FRAMES_ID_BYTES));
            if (rc < 0)
                return rc;
            ids->element++;
        }
    }
    return FM_OK;
}

static int ids_read(struct ids *ids)
{
    struct block_frames *frames = ids->frames;
    const struct frames_field *own = ids->own;
    struct frames_slice slice;
    uint64_t row = frames->row_from;
    int rc;
    while ((rc = frames_slice(frames, own->leaf, &row, frames->row_to, &slice)) == FM_OK) {
        if (slice.value_count > own->vector.count - ids->element)
            return vector_full(frames, own->leaf);
        uint32_t first = ids->element, end = first + slice.value_count;
        while ((ids->element = ids_next(ids, end)) < end) {
            rc = ids_put(ids, frames_bytes(&slice, slice.value + (ids->element - first)));
            if (rc < 0)
                return rc;
            ids->element++;
        }
    }
    if (rc < 0)
        return rc;
    return ids->element == own->vector.count
               ? FM_OK
               : frames_fail(frames, own->leaf, "has fewer entries than the frame");
}

static uint32_t ids_count(const struct frame *frame, enum frame_domain domain,
                          const uint8_t *wanted)
{
    uint32_t count = 0;
    if (!wanted || domain > FRAME_SPAN)
        return frame->count[domain];
    for (uint32_t t = 0; t < frame->count[FRAME_TRACE]; t++)
        if (wanted[t])
            count += domain == FRAME_TRACE ? 1 : frame->trace_spans[t + 1] - frame->trace_spans[t];
    return count;
}

static int load_ids(struct block_frames *frames, struct frames_field *own, const uint8_t *wanted)
{
    struct ids ids = {.frames = frames, .own = own, .wanted = wanted};
    const struct frame *frame = &frames->frame;
    uint32_t count = ids_count(frame, own->domain, wanted);
    void *items = NULL;
    int rc = FRAMES_RESERVE(frames, own->codes, own->code_cap, own->vector.count);
    if (rc == FM_OK)
        rc = frames_alloc(frames, ((size_t)count + 1) * sizeof *ids.items, &items);
    if (rc < 0)
        return rc;
    ids.items = items;
    ids.items[0] = (struct traceql_value){.type = TRACEQL_NIL};
    own->ids = (struct frame_values){.values = items, .count = 1, .serial = ++frames->serial};
    if (own->domain != FRAME_TRACE)
        rc = own->kept ? ids_take(&ids) : ids_read(&ids);
    while (own->domain == FRAME_TRACE && rc == FM_OK &&
           (ids.element = ids_next(&ids, own->vector.count)) < own->vector.count) {
        rc = ids_put(&ids, fm_slice(frame->trace_ids[ids.element].bytes, 16));
        ids.element++;
    }
    if (rc < 0)
        return rc;
    own->vector.shape = FRAME_CODES;
    own->vector.type = TRACEQL_STRING;
    own->vector.codes = own->codes;
    own->vector.values = &own->ids;
    own->is_loaded = !wanted;
    return FM_OK;
}

/* ---- the dictionary's own codes ---- */

static void direct_dense(const uint32_t *indexes, uint32_t count, uint32_t *codes)
{
    typedef uint32_t lanes __attribute__((vector_size(16)));
    lanes four;
    uint32_t i = 0;
    for (; count - i >= 4; i += 4) {
        memcpy(&four, indexes + i, sizeof four);
        four += 1;
        memcpy(codes + i, &four, sizeof four);
    }
    for (; i < count; i++)
        codes[i] = indexes[i] + 1;
}

/* Entries of which some have no value or are nobody's. */
static uint32_t direct_sparse(const struct frames_slice *slice, unsigned level, unsigned def_max,
                              uint32_t *codes)
{
    const uint32_t *indexes = slice->page->indexes;
    uint32_t count = 0, value = slice->value, last = slice->value + slice->value_count - 1;
    for (uint32_t i = 0; i < slice->entry_count; i++) {
        bool has_value = slice->def[i] == def_max;
        codes[count] = has_value ? indexes[FM_MIN(value, last)] + 1 : 0;
        value += has_value;
        count += slice->def[i] >= level;
    }
    return count;
}

/* FM_NONE: not a page of single indexes. */
static int direct_slice(struct block_frames *frames, struct frames_field *own,
                        const struct frames_part *part, const struct frames_slice *slice,
                        uint32_t *count)
{
    const uint32_t *indexes = slice->page->indexes;
    unsigned def_max = frames->block->leaves[part->leaf].def_max;
    uint32_t left = own->vector.count - *count, elements = slice->entry_count;
    uint32_t *codes = own->codes + *count;
    if (slice->has_lists || (slice->value_count && !indexes))
        return FM_NONE;
    bool is_full = slice->value_count == slice->entry_count;
    if (!is_full)
        elements -=
            slice->entry_count - slice->value_count -
            (def_max > own->level ? frames_count_equal(slice->def, slice->entry_count, own->level)
                                  : 0);
    if (elements > left)
        return vector_full(frames, part->leaf);
    if (is_full)
        direct_dense(indexes + slice->value, elements, codes);
    else if (!slice->value_count)
        memset(codes, 0, elements * sizeof *codes);
    else
        elements = direct_sparse(slice, own->level, def_max, codes);
    *count += elements;
    return FM_OK;
}

/* FM_NONE: the column is more than its dictionary. */
static int load_direct(struct block_frames *frames, struct frames_field *own,
                       const struct frames_part *part)
{
    struct frames_column *column = &frames->columns[part->leaf];
    struct frames_slice slice;
    uint64_t row = frames->row_from;
    uint32_t count = 0;
    int rc = frames_direct(frames, column);
    while (rc == FM_OK &&
           (rc = frames_slice(frames, part->leaf, &row, frames->row_to, &slice)) == FM_OK)
        rc = direct_slice(frames, own, part, &slice, &count);
    if (rc < 0 || rc == FM_NONE)
        return rc;
    if (count != own->vector.count)
        return frames_fail(frames, part->leaf, "has fewer entries than the frame");
    own->vector.values = column->direct;
    own->is_loaded = true;
    return FM_OK;
}

/* ---- values into the field's table ---- */

static int part_map(struct block_frames *frames, struct frames_part *part, uint32_t count)
{
    if (part->has_map)
        return FM_OK;
    int rc = FRAMES_RESERVE(frames, part->map, part->map_cap, FM_MAX(count, 1u));
    if (rc < 0)
        return rc;
    memset(part->map, 0, count * sizeof *part->map);
    part->has_map = true;
    return FM_OK;
}

static struct traceql_value part_value(const struct block_frames *frames, unsigned leaf,
                                       const struct frames_slice *slice, uint32_t value)
{
    const struct pq_page *page = slice->page;
    switch (frames->block->leaves[leaf].type) {
    case PQ_BYTE_ARRAY:
        return (struct traceql_value){.type = TRACEQL_STRING, .text = frames_bytes(slice, value)};
    case PQ_DOUBLE:
        return (struct traceql_value){.type = TRACEQL_FLOAT, .number = page->f64[value]};
    case PQ_BOOLEAN:
        return (struct traceql_value){.type = TRACEQL_BOOL, .flag = page->boolean[value] != 0};
    case PQ_INT32:
        return (struct traceql_value){.type = TRACEQL_INT, .integer = page->i32[value]};
    default:
        return (struct traceql_value){.type = TRACEQL_INT, .integer = page->i64[value]};
    }
}

int frames_value_code(struct block_frames *frames, struct frames_field *own,
                      struct frames_part *part, unsigned leaf, const struct frames_slice *slice,
                      uint32_t value, uint32_t *ret_code)
{
    uint32_t *known = NULL;
    int rc = FM_OK;
    if (slice->page->indexes) {
        if (FM_UNLIKELY(!part->has_map))
            rc = part_map(frames, part, frames->columns[leaf].dictionary_count);
        if (rc < 0)
            return rc;
        known = &part->map[slice->page->indexes[value]];
        if (FM_LIKELY(*known)) {
            *ret_code = *known;
            return FM_OK;
        }
    }
    struct traceql_value put = part_value(frames, leaf, slice, value);
    rc = frames_table_put(frames, &own->table, &put, ret_code);
    if (rc == FM_OK && known)
        *known = *ret_code;
    return rc;
}

int frames_list_code(struct block_frames *frames, struct frames_field *own,
                     struct frames_part *part, unsigned leaf, const struct frames_slice *slice,
                     uint32_t value, uint32_t count, uint32_t *ret_code)
{
    if (count == 1)
        return frames_value_code(frames, own, part, leaf, slice, value, ret_code);
    fm_buf_reset(&frames->elements);
    for (uint32_t i = 0; i < count; i++) {
        struct traceql_value element = part_value(frames, leaf, slice, value + i);
        fm_buf_put(&frames->elements, &element, sizeof element);
    }
    if (frames->elements.failed)
        return fm_fail(frames->why, FM_ENOMEM, "no memory for a list of %u values", count);
    struct traceql_value array = {.type = TRACEQL_ARRAY,
                                  .element_count = count,
                                  .elements = (const void *)frames->elements.ptr};
    return frames_table_put(frames, &own->table, &array, ret_code);
}

/* ---- columns of their own beside others ---- */

static int column_slice(struct block_frames *frames, struct frames_field *own,
                        struct frames_part *part, const struct frames_slice *slice, uint32_t *count)
{
    unsigned def_max = frames->block->leaves[part->leaf].def_max;
    uint32_t value = slice->value, i = 0;
    while (i < slice->entry_count) {
        uint32_t first = i++;
        unsigned def = slice->def ? slice->def[first] : def_max;
        uint32_t values = def == def_max;
        while (slice->has_lists && i < slice->entry_count && slice->rep[i] > own->level) {
            if (slice->def[i] != def_max || !values)
                return frames_fail(frames, part->leaf, "a list holds an entry without a value");
            values++;
            i++;
        }
        if (def < own->level)
            continue;
        if (*count == own->vector.count)
            return vector_full(frames, part->leaf);
        uint32_t *code = &own->codes[(*count)++];
        if (part->is_service && *code == FRAMES_NIL)
            *code = 0;
        if (values && !*code) {
            int rc = frames_list_code(frames, own, part, part->leaf, slice, value, values, code);
            if (rc < 0)
                return rc;
        }
        value += values;
    }
    return FM_OK;
}

static int load_column(struct block_frames *frames, struct frames_field *own,
                       struct frames_part *part)
{
    struct frames_slice slice;
    uint64_t row = frames->row_from;
    uint32_t count = 0;
    int rc = FM_OK;
    while (rc == FM_OK &&
           (rc = frames_slice(frames, part->leaf, &row, frames->row_to, &slice)) == FM_OK)
        rc = column_slice(frames, own, part, &slice, &count);
    if (rc < 0)
        return rc;
    return count == own->vector.count
               ? FM_OK
               : frames_fail(frames, part->leaf, "has fewer entries than the frame");
}

static int load_parts(struct block_frames *frames, struct frames_field *own, const uint8_t *wanted)
{
    uint32_t *codes = own->codes, count = own->vector.count;
    int rc = frames_table_open(frames, &own->table);
    if (count)
        memset(codes, 0, count * sizeof *codes);
    own->is_loaded = true;
    for (unsigned i = 0; i < own->part_count && rc == FM_OK; i++) {
        struct frames_part *part = &own->parts[i];
        if (!part->is_active)
            continue;
        if (part->kind == FRAMES_ATTRIBUTE) {
            rc = frames_load_attribute(frames, own, part, wanted);
            own->is_loaded = !wanted;
        } else {
            rc = load_column(frames, own, part);
        }
    }
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < count; i++)
        codes[i] = codes[i] == FRAMES_NIL ? 0 : codes[i];
    own->vector.values = &own->table.values;
    return FM_OK;
}

static int load_codes(struct block_frames *frames, struct frames_field *own, const uint8_t *wanted)
{
    int rc = frames_field_resolve(frames, own);
    own->is_loaded = rc == FM_OK;
    if (rc < 0 || !own->active_count || !own->vector.count)
        return rc;
    /* One more: an entry that is nobody's is written behind the last. */
    rc = FRAMES_RESERVE(frames, own->codes, own->code_cap, (size_t)own->vector.count + 1);
    if (rc == FM_OK && own->is_direct) {
        const struct frames_part *part = own->parts;
        while (!part->is_active)
            part++;
        rc = load_direct(frames, own, part);
        own->is_direct = rc != FM_NONE;
    }
    if (rc >= 0 && !own->is_direct)
        rc = load_parts(frames, own, wanted);
    if (rc < 0) {
        own->is_loaded = false;
        return rc;
    }
    own->vector.shape = FRAME_CODES;
    own->vector.codes = own->codes;
    return FM_OK;
}

/* What will be decoded, for want of it among what is kept. */
static void load_note(struct block_frames *frames, struct frames_field *own)
{
    frames->wave_decodes |= frames_is_keepable(own) || own->domain > FRAME_SPAN;
    if (frames->is_narrowed || own->decoded_to == frames->row_to)
        return;
    own->decoded_rows += frames->row_to - frames->row_from;
    own->decoded_to = frames->row_to;
}

int frames_load(struct block_frames *frames, struct frames_field *own, const uint8_t *wanted,
                struct frame_vector *ret_vector)
{
    int rc = FM_OK;
    if (!own->is_loaded) {
        own->vector = (struct frame_vector){.shape = FRAME_ABSENT,
                                            .domain = own->domain,
                                            .type = TRACEQL_UNKNOWN,
                                            .count = frames->frame.count[own->domain]};
        bool is_kept = frames_keep_find(frames, own) == FM_OK;
        if (!is_kept)
            load_note(frames, own);
        if (own->is_absent)
            own->is_loaded = true;
        else if (is_kept && !own->is_id)
            rc = frames_kept_load(frames, own);
        else if (own->type != TRACEQL_UNKNOWN)
            rc = load_integers(frames, own);
        else if (own->is_id)
            rc = load_ids(frames, own, wanted);
        else
            rc = load_codes(frames, own, wanted);
    }
    if (rc == FM_OK)
        *ret_vector = own->vector;
    return rc;
}
