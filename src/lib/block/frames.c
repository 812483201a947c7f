/* SPDX-License-Identifier: Apache-2.0 */
/* A block as a source of frames: what a frame is made of.
 *
 * One leaf of spans, the cheapest, is the spine: its levels say which spans, scopes and resources
 * the rows have.  A frame ends where a page of the spine does, unless that is far too large or
 * small.  Everything but the spine and the trace ids waits until it is asked for. */
#include "frames.h"

#include <stdlib.h>

int frames_fail(const struct block_frames *frames, unsigned leaf, const char *what)
{
    char name[SCHEMA_PATH_MAX];
    reader_leaf_name(frames->block, leaf, name);
    return fm_fail(frames->why, FM_ECORRUPT, "row group %zu, rows from %llu, %s: %s", frames->group,
                   (unsigned long long)frames->row_from, name, what);
}

/* ---- memory ---- */

int frames_charge(struct block_frames *frames, size_t bytes)
{
    size_t used = frames->held + frames->arena.used_bytes + frames->row_arena.used_bytes;
    if (used > frames->memory_max || bytes > frames->memory_max - used)
        return fm_fail(frames->why, FM_ELIMIT, "a block needs more than the query's %zu bytes",
                       frames->memory_max);
    return FM_OK;
}

int frames_reserve(struct block_frames *frames, void **array, size_t *cap, size_t count,
                   size_t item_size)
{
    if (count <= *cap)
        return FM_OK;
    size_t wanted = FM_MAX(count, FM_MIN(*cap + *cap / 2, SIZE_MAX / 64));
    int rc = frames_charge(frames, (wanted - *cap) * item_size);
    if (rc < 0)
        return rc;
    void *grown = realloc(*array, wanted * item_size);
    if (!grown)
        return fm_fail(frames->why, FM_ENOMEM, "no memory for a frame");
    frames->held += (wanted - *cap) * item_size;
    *array = grown;
    *cap = wanted;
    return FM_OK;
}

/* ---- spans of the rows ---- */

int frames_reserve_spans(struct block_frames *frames, size_t traces, size_t spans)
{
    int rc = FRAMES_RESERVE(frames, frames->trace_spans, frames->trace_span_cap, traces + 1);
    if (rc == FM_OK)
        rc = FRAMES_RESERVE(frames, frames->span_resources, frames->resource_cap, spans + 7);
    if (rc == FM_OK)
        rc = FRAMES_RESERVE(frames, frames->span_scopes, frames->scope_cap, spans + 7);
    return rc;
}

/* Eight indexes: base, which counts what came before, and the ones up to each byte, less one. */
static inline void spine_number(uint32_t *target, uint64_t ones, uint32_t base)
{
    typedef uint64_t longs __attribute__((vector_size(16)));
    typedef uint8_t bytes __attribute__((vector_size(16)));
    typedef uint16_t halves __attribute__((vector_size(16)));
    typedef uint32_t words __attribute__((vector_size(16)));
    uint64_t sums = ones * FRAMES_ONES;
    if (__BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__) {
        for (unsigned i = 0; i < 8; i++, sums >>= 8)
            target[i] = (uint32_t)(sums & 0xff) + base - 1;
        return;
    }
    const bytes narrow = (bytes)(longs){sums, 0}, none = {0};
    const halves nothing = {0}; /* zeros go between the bytes, and then between the pairs */
    halves wide = (halves)__builtin_shufflevector(narrow, none, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20,
                                                  5, 21, 6, 22, 7, 23);
    words first = (words)__builtin_shufflevector(wide, nothing, 0, 8, 1, 9, 2, 10, 3, 11);
    words second = (words)__builtin_shufflevector(wide, nothing, 4, 12, 5, 13, 6, 14, 7, 15);
    first += base - 1;
    second += base - 1;
    memcpy(target, &first, sizeof first);
    memcpy(target + 4, &second, sizeof second);
}

/* Every entry is a span.  Writes up to seven numbers more than there are spans. */
static void spine_read(struct block_frames *frames, const struct frames_slice *slice)
{
    uint32_t *count = frames->frame.count, spans = count[FRAME_SPAN];
    uint32_t resources = count[FRAME_RESOURCE], scopes = count[FRAME_SCOPE];
    uint32_t *span_resources = frames->span_resources + spans;
    uint32_t *span_scopes = frames->span_scopes + spans;
    for (uint32_t i = 0; i < slice->entry_count; i += 8) {
        uint64_t word;
        if (FM_LIKELY(slice->entry_count - i >= 8)) {
            word = fm_load_le64(slice->rep + i);
        } else {
            uint8_t last[8];
            memset(last, FRAMES_SPAN, sizeof last);
            memcpy(last, slice->rep + i, slice->entry_count - i);
            word = fm_load_le64(last);
        }
        uint64_t begins = frames_most_word(word, FRAMES_RESOURCE);
        spine_number(span_resources + i, begins, resources);
        resources += frames_sum_word(begins);
        begins = frames_most_word(word, FRAMES_SCOPE);
        spine_number(span_scopes + i, begins, scopes);
        scopes += frames_sum_word(begins);
        for (begins = frames_most_word(word, 0); begins; begins &= begins - 1)
            frames->trace_spans[count[FRAME_TRACE]++] =
                spans + i + ((uint32_t)__builtin_ctzll(begins) >> 3);
    }
    count[FRAME_RESOURCE] = resources;
    count[FRAME_SCOPE] = scopes;
    count[FRAME_SPAN] = spans + slice->entry_count;
}

/* Some entries stand for what has no spans. */
static void spine_read_sparse(struct block_frames *frames, const struct frames_slice *slice)
{
    uint32_t *count = frames->frame.count;
    for (uint32_t i = 0; i < slice->entry_count; i++) {
        uint8_t rep = slice->rep[i], def = slice->def[i];
        if (rep == 0)
            frames->trace_spans[count[FRAME_TRACE]++] = count[FRAME_SPAN];
        count[FRAME_RESOURCE] += rep <= FRAMES_RESOURCE && def >= FRAMES_RESOURCE;
        count[FRAME_SCOPE] += rep <= FRAMES_SCOPE && def >= FRAMES_SCOPE;
        if (def < FRAMES_SPAN)
            continue;
        frames->span_resources[count[FRAME_SPAN]] = count[FRAME_RESOURCE] - 1;
        frames->span_scopes[count[FRAME_SPAN]++] = count[FRAME_SCOPE] - 1;
    }
}

/* Moves to the next row that is wanted; returns where those that follow it without a gap end. */
static uint64_t frame_skip_rows(struct block_frames *frames)
{
    const uint8_t *wanted = frames->rows_wanted;
    uint64_t end = frames->row_end;
    if (!frames->is_narrowed)
        return end;
    while (frames->row < end && !wanted[frames->row])
        frames->row++;
    for (end = frames->row; end < frames->row_end && wanted[end];)
        end++;
    return end;
}

static int frame_read_spine(struct block_frames *frames)
{
    uint32_t *count = frames->frame.count;
    uint64_t end = frame_skip_rows(frames);
    frames->row_from = frames->row_to = frames->row;
    while (frames->row_to < end && count[FRAME_SPAN] < FRAMES_SPAN_TARGET / 2) {
        struct frames_slice slice;
        uint64_t row = frames->row_to;
        int rc = frames_slice_some(frames, frames->spine, &frames->row_to, end,
                                   FRAMES_SPAN_TARGET - count[FRAME_SPAN], &slice);
        uint64_t traces = count[FRAME_TRACE] + (frames->row_to - row);
        uint64_t spans = (uint64_t)count[FRAME_SPAN] + slice.entry_count;
        if (rc == FM_OK && (spans > UINT32_MAX / 4 || traces > UINT32_MAX / 4))
            rc = frames_fail(frames, frames->spine, "too many spans for a frame");
        if (rc == FM_OK)
            rc = frames_reserve_spans(frames, (size_t)traces, (size_t)spans);
        if (rc < 0)
            return rc;
        if (slice.value_count == slice.entry_count)
            spine_read(frames, &slice);
        else
            spine_read_sparse(frames, &slice);
        if (count[FRAME_TRACE] != traces)
            return frames_fail(frames, frames->spine, "rows are not as many as the page said");
    }
    if (count[FRAME_TRACE])
        frames->trace_spans[count[FRAME_TRACE]] = count[FRAME_SPAN];
    return FM_OK;
}

static int frame_read_ids(struct block_frames *frames)
{
    struct frames_slice slice;
    uint64_t row = frames->row_from;
    uint32_t count = 0, wanted = frames->frame.count[FRAME_TRACE];
    int rc = FRAMES_RESERVE(frames, frames->trace_ids, frames->trace_id_cap, wanted);
    while (rc == FM_OK &&
           (rc = frames_slice(frames, LEAF_TRACE_ID, &row, frames->row_to, &slice)) == FM_OK) {
        for (uint32_t i = 0; i < slice.value_count && count < wanted; i++) {
            struct fm_slice id = frames_bytes(&slice, slice.value + i);
            if (id.len != sizeof *frames->trace_ids)
                return frames_fail(frames, LEAF_TRACE_ID, "an id has not 16 bytes");
            memcpy(frames->trace_ids[count++].bytes, id.ptr, sizeof *frames->trace_ids);
        }
    }
    if (rc < 0)
        return rc;
    return count == wanted ? FM_OK : frames_fail(frames, LEAF_TRACE_ID, "ids are missing");
}

/* ---- events and links ---- */

static int piece_read(struct block_frames *frames, unsigned leaf, const struct frames_slice *slice,
                      uint32_t *target, uint32_t *spans, uint32_t *pieces)
{
    uint32_t span_max = frames->frame.count[FRAME_SPAN];
    for (uint32_t i = 0; i < slice->entry_count; i++) {
        uint8_t rep = slice->rep[i], def = slice->def[i];
        if (rep <= FRAMES_SPAN && def >= FRAMES_SPAN) {
            if (*spans == span_max)
                return frames_fail(frames, leaf, "is out of step with the spans");
            target[(*spans)++] = *pieces;
        }
        *pieces += def >= FRAMES_PIECE;
    }
    return FM_OK;
}

/* Where the events or links of each span begin. */
static int frame_read_pieces(struct block_frames *frames, unsigned leaf, uint32_t *target,
                             uint32_t *ret_count)
{
    struct frames_slice slice;
    uint64_t row = frames->row_from;
    uint32_t spans = 0, pieces = 0;
    int rc;
    while ((rc = frames_slice(frames, leaf, &row, frames->row_to, &slice)) == FM_OK) {
        if (pieces + (uint64_t)slice.value_count > UINT32_MAX / 4)
            return frames_fail(frames, leaf, "too many for a frame");
        rc = piece_read(frames, leaf, &slice, target, &spans, &pieces);
        if (rc < 0)
            return rc;
    }
    if (rc < 0)
        return rc;
    if (spans != frames->frame.count[FRAME_SPAN])
        return frames_fail(frames, leaf, "is out of step with the spans");
    target[spans] = pieces;
    *ret_count = pieces;
    return FM_OK;
}

int frames_read_lists(struct block_frames *frames)
{
    struct frame *frame = &frames->frame;
    size_t count = (size_t)frame->count[FRAME_SPAN] + 1;
    int rc = FM_OK;
    if (frames->wants_events) {
        rc = FRAMES_RESERVE(frames, frames->span_events, frames->event_cap, count);
        if (rc == FM_OK)
            rc = frame_read_pieces(frames, LEAF_EVENT_TIME, frames->span_events,
                                   &frame->count[FRAME_EVENT]);
        frame->span_events = frames->span_events;
    }
    if (frames->wants_links && rc == FM_OK) {
        rc = FRAMES_RESERVE(frames, frames->span_links, frames->link_cap, count);
        if (rc == FM_OK)
            rc = frame_read_pieces(frames, LEAF_LINK_TRACE, frames->span_links,
                                   &frame->count[FRAME_LINK]);
        frame->span_links = frames->span_links;
    }
    return rc;
}

/* ---- frames ---- */

static int frame_decode(struct block_frames *frames)
{
    struct frame *frame = &frames->frame;
    int rc = FM_OK;
    do {
        *frame = (struct frame){0};
        rc = frame_read_spine(frames);
        frames->row = frames->row_to;
        if (rc == FM_OK)
            rc = frames_begin_rows(frames);
    } while (rc == FM_OK && !frame->count[FRAME_SPAN] && frames->row < frames->row_end);
    if (rc < 0)
        return rc;
    if (!frame->count[FRAME_SPAN])
        return FM_END;
    rc = frame_read_ids(frames);
    return rc < 0 ? rc : frames_read_lists(frames);
}

int frames_fill(struct block_frames *frames)
{
    struct frame *frame = &frames->frame;
    for (uint32_t i = 0; i < frames->request.field_count; i++)
        frames->fields[i].is_loaded = false;
    int rc = frames->shape ? frames_kept_fill(frames) : frame_decode(frames);
    frame->trace_ids = frames->trace_ids;
    frame->trace_spans = frames->trace_spans;
    frame->span_resources = frames->span_resources;
    frame->span_scopes = frames->span_scopes;
    return rc;
}

/* Every leaf of a span that is always there tells the same; the smallest is read. */
static unsigned frames_choose_spine(const struct block_frames *frames)
{
    static const uint8_t leaves[] = {
        LEAF_SPAN_STATE, LEAF_SPAN_MESSAGE, LEAF_SPAN_STATUS,      LEAF_SPAN_KIND,
        LEAF_SPAN_LEFT,  LEAF_SPAN_RIGHT,   LEAF_SPAN_PARENT_LEFT, LEAF_SPAN_NAME,
    };
    unsigned best = leaves[0];
    uint64_t best_bytes = UINT64_MAX;
    for (size_t i = 0; i < FM_COUNT(leaves); i++) {
        uint32_t index = frames->block->leaves[leaves[i]].index;
        if (index == READER_ABSENT)
            continue;
        struct pq_chunk_info info = pq_file_chunk_info(frames->block->file, frames->group, index);
        if (info.compressed_bytes < best_bytes) {
            best = leaves[i];
            best_bytes = info.compressed_bytes;
        }
    }
    return best;
}

/* The rows of the present row group that are asked for. */
static void frames_clip(struct block_frames *frames)
{
    const struct frame_request *request = &frames->request;
    uint64_t first = frames->group_first, end = first + frames->group_rows;
    frames->row = FM_MIN(FM_MAX(request->row_from, first), end) - first;
    frames->row_end = frames->group_rows;
    if (request->row_to)
        frames->row_end = FM_MIN(FM_MAX(request->row_to, first), end) - first;
}

int frames_enter(struct block_frames *frames, size_t group)
{
    int rc = frames_keep_end(frames, false);
    if (rc == FM_OK)
        rc = frames_close_columns(frames, true);
    frames->group = group;
    frames->group_first = group ? frames->group_first + frames->group_rows : 0;
    frames->group_rows = pq_row_group_row_count(frames->block->file, group);
    frames->has_group = true;
    frames_clip(frames);
    frames->is_narrowed = false;
    for (uint32_t i = 0; i < frames->request.field_count; i++)
        frames->fields[i].is_resolved = false;
    frames->spine = frames_choose_spine(frames);
    return rc;
}

static int frames_next(struct frame_source *source, struct frame *ret_frame, struct fm_why *why)
{
    struct block_frames *frames = FM_CONTAINER(source, struct block_frames, base);
    frames->why = why;
    for (;;) {
        int rc = frames->has_group ? frames_fill(frames) : FM_END;
        if (rc < 0)
            return rc;
        if (rc == FM_OK)
            break;
        size_t group = frames->has_group ? frames->group + 1 : 0;
        if (group >= pq_file_row_group_count(frames->block->file))
            return FM_END;
        rc = frames_enter(frames, group);
        if (rc == FM_OK && source->gate && frames->row < frames->row_end)
            rc = source->gate->enter(source->gate, source, why);
        if (rc == FM_NONE)
            frames->row = frames->row_end;
        if (rc >= 0)
            rc = frames_keep_begin(frames);
        if (rc < 0)
            return rc;
    }
    if (!frames->is_narrowed)
        frames->decoded_rows += frames->row_to - frames->row_from;
    source->stats.inspected_traces += frames->frame.count[FRAME_TRACE];
    source->stats.inspected_spans += frames->frame.count[FRAME_SPAN];
    *ret_frame = frames->frame;
    return FM_OK;
}

static int frames_vector(struct frame_source *source, uint32_t field, const uint8_t *wanted,
                         struct frame_vector *ret_vector, struct fm_why *why)
{
    struct block_frames *frames = FM_CONTAINER(source, struct block_frames, base);
    frames->why = why;
    return frames_load(frames, &frames->fields[field], wanted, ret_vector);
}

static int frames_names(struct frame_source *source, enum traceql_scope scope,
                        frame_visit_name *visit, void *self, struct fm_why *why)
{
    struct block_frames *frames = FM_CONTAINER(source, struct block_frames, base);
    struct frame_request request = {.end_ns = UINT64_MAX};
    FM_AUTO(frame_source) own = NULL;
    int rc = block_frames_new(frames->block, &request, frames->memory_max, &own, why);
    if (rc < 0)
        return rc;
    struct block_frames *pass = FM_CONTAINER(own, struct block_frames, base);
    pass->why = why;
    rc = frames_visit_names(pass, scope, visit, self);
    source->stats.inspected_bytes += own->stats.inspected_bytes;
    return rc;
}

/* By a source of its own, so that the frame at hand stays what it is. */
static int frames_values(struct frame_source *source, uint32_t field, frame_visit_value *visit,
                         void *self, struct fm_why *why)
{
    struct block_frames *frames = FM_CONTAINER(source, struct block_frames, base);
    struct frame_request request = {
        .fields = &frames->request.fields[field], .field_count = 1, .end_ns = UINT64_MAX};
    FM_AUTO(frame_source) own = NULL;
    int rc = block_frames_new(frames->block, &request, frames->memory_max, &own, why);
    if (rc < 0)
        return rc;
    struct block_frames *pass = FM_CONTAINER(own, struct block_frames, base);
    pass->why = why;
    rc = frames_visit_values(pass, 0, visit, self);
    source->stats.inspected_bytes += own->stats.inspected_bytes;
    return rc;
}

static int frames_ahead(struct frame_source *source, const struct frame_search *search,
                        struct fm_why *why)
{
    struct block_frames *frames = FM_CONTAINER(source, struct block_frames, base);
    frames->why = why;
    return frames_look_ahead(frames, search);
}

/* ---- life ---- */

static struct frame_source *frames_free(struct frame_source *source)
{
    struct block_frames *frames = FM_CONTAINER(source, struct block_frames, base);
    (void)!frames_keep_end(frames, true);
    (void)!frames_close_columns(frames, false);
    for (size_t i = 0; i < frames->retired_count; i++)
        pq_column_free(frames->retired[i]);
    for (uint32_t i = 0; i < frames->request.field_count && frames->fields; i++)
        frames_field_fini(&frames->fields[i]);
    free(frames->retired);
    free(frames->retired_kept);
    free(frames->runs);
    free(frames->fields);
    free(frames->trace_ids);
    free(frames->trace_spans);
    free(frames->span_resources);
    free(frames->span_scopes);
    free(frames->span_events);
    free(frames->span_links);
    free(frames->matches);
    free(frames->rows_wanted);
    free(frames->marks);
    fm_buf_fini(&frames->elements);
    fm_arena_fini(&frames->arena);
    fm_arena_fini(&frames->row_arena);
    pq_scratch_free(frames->scratch);
    pq_memo_free(frames->memo);
    free(frames);
    return NULL;
}

int block_frames_new(const struct block *block, const struct frame_request *request,
                     size_t memory_max, struct frame_source **ret_source, struct fm_why *why)
{
    static const struct frame_source_ops ops = {.next = frames_next,
                                                .vector = frames_vector,
                                                .names = frames_names,
                                                .values = frames_values,
                                                .free = frames_free};
    FM_AUTO(frame_source) source = NULL;
    struct block_frames *frames = calloc(1, sizeof *frames);
    if (!frames)
        return fm_fail(why, FM_ENOMEM, "no memory for a query");
    source = &frames->base;
    source->ops = &ops;
    source->ahead = frames_ahead;
    frames->block = block;
    frames->request = *request;
    frames->memory_max = memory_max;
    fm_arena_init(&frames->arena, memory_max);
    fm_arena_init(&frames->row_arena, memory_max);
    fm_buf_init(&frames->elements, memory_max);
    frames->fields = calloc(FM_MAX(request->field_count, 1u), sizeof *frames->fields);
    if (!frames->fields || pq_memo_new(&frames->memo) < 0)
        return fm_fail(why, FM_ENOMEM, "no memory for a query");
    for (uint32_t i = 0; i < request->field_count; i++) {
        frames_field_init(frames, &frames->fields[i], &request->fields[i],
                          request->types ? request->types[i] : TRACEQL_NIL);
        frames->wants_events |= frames->fields[i].domain == FRAME_EVENT;
        frames->wants_links |= frames->fields[i].domain == FRAME_LINK;
    }
    *ret_source = fm_take(source);
    return FM_OK;
}

/* ---- ids ---- */

int block_trace_ids(const struct block *block, struct fm_buf *ids, struct fm_why *why)
{
    uint32_t leaf = block->leaves[LEAF_TRACE_ID].index;
    size_t groups = pq_file_row_group_count(block->file);
    for (size_t i = 0; i < groups; i++) {
        FM_AUTO(pq_column) column = NULL;
        const struct fm_slice *dictionary = NULL;
        struct pq_page page;
        uint32_t count;
        int rc = pq_column_open(&column, block->file, i, leaf, why);
        if (rc == FM_OK)
            rc = pq_column_dictionary(column, &dictionary, &count, why);
        if (rc < 0)
            return rc == FM_EMALFORMED ? FM_ECORRUPT : rc;
        while ((rc = pq_column_next(column, &page, why)) == FM_OK) {
            for (uint32_t j = 0; j < page.value_count; j++) {
                struct fm_slice id = page.indexes ? dictionary[page.indexes[j]] : page.bytes[j];
                if (id.len != sizeof(struct trace_id))
                    return fm_fail(why, FM_ECORRUPT, "row group %zu: an id has not 16 bytes", i);
                fm_buf_put_slice(ids, id);
            }
        }
        if (rc < 0)
            return rc == FM_EMALFORMED ? FM_ECORRUPT : rc;
    }
    if (!ids->failed)
        return FM_OK;
    bool is_full = ids->bytes_max - ids->len < sizeof(struct trace_id);
    return fm_fail(why, is_full ? FM_ELIMIT : FM_ENOMEM, "no room for the ids of a block");
}
