/* SPDX-License-Identifier: Apache-2.0 */
/* Frames and vectors out of what is kept of a row group.
 *
 * Since any rows can be put together from it, who wants the newest traces gets these first: a wave
 * of them, then a larger one of those that may still matter, until none is left.  What is not kept
 * is decoded for these rows, page after page. */
#include "frames.h"

#define KEPT_WAVE_FACTOR 8u

/* ---- waves ---- */

static bool wave_wants(const struct block_frames *frames, uint32_t row, uint64_t start_ns)
{
    uint64_t end_ns = frames->request.end_ns ? frames->request.end_ns : UINT64_MAX;
    return row >= frames->wave_from && row < frames->row_end && start_ns <= end_ns;
}

/* Marks the rows of the next wave; false: there is none. */
static bool kept_next_wave(struct block_frames *frames)
{
    const struct frames_shape *shape = frames->shape;
    const struct frame_gate *gate = frames->base.gate;
    uint32_t count = shape->count[FRAME_TRACE], taken = 0;
    uint64_t floor_ns = gate ? gate->floor_ns : 0;
    frames->wave_rows = (uint32_t)FM_MIN((uint64_t)frames->wave_rows * KEPT_WAVE_FACTOR, count);
    if (frames->wave_decodes) /* of most pages; not once more for each wave */
        frames->wave_rows = count;
    frames->row = frames->wave_from;
    memset(frames->rows_wanted, 0, count);
    while (frames->wave_at < count && taken < frames->wave_rows) {
        uint32_t row = shape->newest[frames->wave_at++];
        uint64_t start_ns = (uint64_t)shape->starts[row];
        if (start_ns < floor_ns)
            frames->wave_at = count; /* like all that follow */
        else if (wave_wants(frames, row, start_ns))
            taken += frames->rows_wanted[row] = 1;
    }
    return taken != 0;
}

int frames_kept_begin(struct block_frames *frames)
{
    size_t count = frames->shape->count[FRAME_TRACE];
    int rc = FRAMES_RESERVE(frames, frames->rows_wanted, frames->row_wanted_cap, count);
    if (rc < 0)
        return rc;
    memset(frames->rows_wanted, 0, count);
    frames->is_gathering = true;
    frames->wave_at = 0;
    frames->wave_decodes = false;
    frames->wave_rows = FM_MAX(frames->base.gate->newest_count, 1u);
    frames->wave_from = frames->row;
    frames->row = frames->row_end;
    return FM_OK;
}

/* ---- rows of a frame ---- */

static bool row_is_wanted(const struct block_frames *frames, uint64_t row)
{
    uint64_t floor_ns = frames->base.gate ? frames->base.gate->floor_ns : 0;
    if (!frames->is_gathering)
        return !frames->is_narrowed || frames->rows_wanted[row];
    return frames->rows_wanted[row] && (uint64_t)frames->shape->starts[row] >= floor_ns;
}

/* From frames->row on. */
static int kept_find_runs(struct block_frames *frames)
{
    const uint32_t *row_spans = frames->shape->row_spans;
    uint32_t spans = 0;
    frames->run_count = 0;
    while (frames->row < frames->row_end && spans < FRAMES_SPAN_TARGET) {
        while (frames->row < frames->row_end && !row_is_wanted(frames, frames->row))
            frames->row++;
        struct frames_run run = {(uint32_t)frames->row, (uint32_t)frames->row};
        while (run.end < frames->row_end && spans < FRAMES_SPAN_TARGET &&
               row_is_wanted(frames, run.end)) {
            spans += row_spans[run.end + 1] - row_spans[run.end];
            run.end++;
        }
        frames->row = run.end;
        if (run.end == run.row)
            break;
        int rc = frames->run_count < frames->run_cap
                     ? FM_OK
                     : FRAMES_RESERVE(frames, frames->runs, frames->run_cap,
                                      FM_MAX(frames->run_cap * 2, (size_t)64));
        if (rc < 0)
            return rc;
        frames->runs[frames->run_count++] = run;
        if (!frames->is_gathering)
            break;
    }
    return FM_OK;
}

static void kept_count(struct block_frames *frames)
{
    for (enum frame_domain domain = FRAME_TRACE; domain <= FRAME_SPAN; domain++) {
        uint32_t count = 0;
        for (size_t i = 0; i < frames->run_count; i++)
            count += frames_first(frames->shape, domain, frames->runs[i].end) -
                     frames_first(frames->shape, domain, frames->runs[i].row);
        frames->frame.count[domain] = count;
    }
}

struct kept_at { /* what the frame has so far */
    uint32_t traces, spans, resources, scopes;
};

static void kept_put_run(struct block_frames *frames, struct frames_run run, struct kept_at *at)
{
    const struct frames_shape *shape = frames->shape;
    memcpy(frames->trace_ids + at->traces, shape->ids + run.row,
           (run.end - run.row) * sizeof *shape->ids);
    for (uint32_t row = run.row; row < run.end; row++) {
        uint32_t first = shape->row_spans[row], count = shape->row_spans[row + 1] - first;
        frames->trace_spans[at->traces++] = at->spans;
        at->spans += count;
        if (frames->is_making)
            continue;
        frames_unpack_codes(&shape->span_resources, first, count, at->resources,
                            frames->span_resources + at->spans - count);
        frames_unpack_codes(&shape->span_scopes, first, count, at->scopes,
                            frames->span_scopes + at->spans - count);
        at->resources += shape->row_resources[row + 1] - shape->row_resources[row];
        at->scopes += shape->row_scopes[row + 1] - shape->row_scopes[row];
    }
}

static int kept_put_rows(struct block_frames *frames)
{
    const uint32_t *count = frames->frame.count;
    struct kept_at at = {0};
    int rc = frames_reserve_spans(frames, count[FRAME_TRACE], count[FRAME_SPAN]);
    if (rc == FM_OK)
        rc = FRAMES_RESERVE(frames, frames->trace_ids, frames->trace_id_cap, count[FRAME_TRACE]);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < frames->run_count; i++)
        kept_put_run(frames, frames->runs[i], &at);
    frames->trace_spans[at.traces] = at.spans;
    return FM_OK;
}

int frames_kept_fill(struct block_frames *frames)
{
    struct frame *frame = &frames->frame;
    int rc;
    do {
        *frame = (struct frame){0};
        if (frames->row >= frames->row_end && !(frames->is_gathering && kept_next_wave(frames)))
            return FM_END;
        rc = kept_find_runs(frames);
        if (rc < 0)
            return rc;
        kept_count(frames);
    } while (!frame->count[FRAME_SPAN]);
    frames->row_from = frames->runs[0].row;
    frames->row_to = frames->runs[frames->run_count - 1].end;
    rc = kept_put_rows(frames);
    if (rc == FM_OK)
        rc = frames_begin_rows(frames);
    if (rc == FM_OK)
        rc = frames_read_lists(frames);
    return rc;
}

uint64_t frames_kept_next(const struct block_frames *frames, uint64_t *row)
{
    size_t low = 0, high = frames->run_count - 1;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (frames->runs[middle].end > *row)
            high = middle;
        else
            low = middle + 1;
    }
    *row = FM_MAX(*row, frames->runs[low].row);
    return frames->runs[low].end;
}

/* ---- vectors ---- */

int frames_kept_load(struct block_frames *frames, struct frames_field *own)
{
    const struct frames_kept *kept = own->kept;
    struct frame_vector *vector = &own->vector;
    uint32_t at = 0;
    int rc = FM_OK;
    vector->shape = kept->shape;
    vector->type = kept->type;
    own->is_loaded = true;
    if (kept->shape == FRAME_ABSENT)
        return FM_OK;
    if (kept->shape == FRAME_CODES)
        rc = FRAMES_RESERVE(frames, own->codes, own->code_cap,
                            vector->count + (size_t)FRAMES_PACK_LANES);
    else
        rc = FRAMES_RESERVE(frames, own->integers, own->integer_cap,
                            vector->count + (size_t)FRAMES_PACK_LANES);
    own->is_loaded = rc == FM_OK;
    for (size_t i = 0; i < frames->run_count && rc == FM_OK; i++) {
        uint32_t from = frames_first(frames->shape, own->domain, frames->runs[i].row);
        uint32_t count = frames_first(frames->shape, own->domain, frames->runs[i].end) - from;
        if (kept->shape == FRAME_CODES)
            frames_unpack_codes(&kept->pack, from, count, 0, own->codes + at);
        else
            frames_unpack(&kept->pack, from, count, own->integers + at);
        at += count;
    }
    vector->codes = kept->shape == FRAME_CODES ? own->codes : NULL;
    vector->integers = kept->shape == FRAME_INTEGERS ? own->integers : NULL;
    vector->values = kept->shape == FRAME_CODES ? &own->kept_values : NULL;
    return rc;
}
