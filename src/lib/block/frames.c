/* SPDX-License-Identifier: Apache-2.0 */
/* A block as a source of frames: its traces are read back row by row, a few thousand spans at a
 * time, and given on as frames of rows.  Every column of a row is read, whatever was asked for. */
#include "reader.h"

#include <stdlib.h>

#include "fermata/block_frames.h"

#define FRAMES_SPAN_TARGET 4096u

struct block_frames {
    struct frame_source base;
    const struct block *block;
    const struct frame_request *request;
    size_t memory_max;
    struct reader *reader; /* owned */
    size_t row_group;
    uint64_t row; /* the next of the row group */
    uint64_t read_before;
    struct frame_rows *rows;     /* owned; of the present frames */
    struct frame_source *inner;  /* owned; over rows */
    struct frame_values *tables; /* owned; per field: inner's, with a serial of its own */
    uint64_t round;              /* how many rows objects there were */
    struct fm_buf otlp;
};

static void frames_drop_rows(struct block_frames *frames)
{
    frames->inner = frame_source_free(frames->inner);
    frames->rows = frame_rows_free(frames->rows);
}

static struct frame_source *frames_free(struct frame_source *source)
{
    struct block_frames *frames = FM_CONTAINER(source, struct block_frames, base);
    frames_drop_rows(frames);
    reader_free(frames->reader);
    fm_buf_fini(&frames->otlp);
    free(frames->tables);
    free(frames);
    return NULL;
}

/* What a file has wrong is not the fault of who asks. */
static int frames_rc(int rc)
{
    return rc == FM_EMALFORMED ? FM_ECORRUPT : rc;
}

/* The next row of the block; FM_END behind the last. */
static int frames_next_row(struct block_frames *frames, struct fm_why *why)
{
    while (frames->row_group < pq_file_row_group_count(frames->block->file) &&
           frames->row >= pq_row_group_row_count(frames->block->file, frames->row_group)) {
        frames->row = 0;
        if (++frames->row_group < pq_file_row_group_count(frames->block->file))
            reader_begin(frames->reader, frames->row_group);
    }
    if (frames->row_group >= pq_file_row_group_count(frames->block->file))
        return FM_END;
    frames->reader->why = why;
    fm_buf_reset(&frames->otlp);
    reader_set_row(frames->reader, frames->row++);
    int rc = reader_put_trace(frames->reader, &frames->otlp);
    if (rc == FM_OK && frames->otlp.failed)
        rc = fm_fail(why, FM_ELIMIT, "a trace of the block is larger than the query may hold");
    return rc;
}

/* Spans of a trace, roughly: what is read is at least this many bytes of OTLP each. */
static int frames_fill(struct block_frames *frames, struct fm_why *why)
{
    size_t bytes = 0, memory = 0;
    int rc = frame_rows_new(&frames->rows, frames->memory_max);
    if (rc < 0)
        return fm_fail(why, rc, "no memory for a frame");
    while (rc == FM_OK && bytes < FRAMES_SPAN_TARGET * 300u && memory < frames->memory_max / 4) {
        rc = frames_next_row(frames, why);
        if (rc != FM_OK)
            break;
        bytes += frames->otlp.len;
        rc = frame_rows_add(frames->rows, fm_buf_slice(&frames->otlp), NULL, NULL, why);
        memory = frame_rows_memory(frames->rows);
    }
    if (rc < 0 || (rc == FM_END && !bytes))
        return rc;
    rc = frame_rows_finish(frames->rows);
    if (rc == FM_OK)
        rc = frame_rows_source(frames->rows, frames->request, &frames->inner);
    frames->round++;
    return rc;
}

static int frames_next(struct frame_source *source, struct frame *ret_frame, struct fm_why *why)
{
    struct block_frames *frames = FM_CONTAINER(source, struct block_frames, base);
    int rc = FM_END;
    for (;;) {
        if (frames->inner)
            rc = frame_next(frames->inner, ret_frame, why);
        if (rc != FM_END)
            break;
        frames_drop_rows(frames);
        rc = frames_fill(frames, why);
        if (rc != FM_OK)
            break;
        rc = FM_END;
    }
    rc = frames_rc(rc);
    uint64_t read = atomic_load(&frames->block->source.read_bytes);
    source->stats.inspected_bytes += read - frames->read_before; /* others read the block, too */
    frames->read_before = read;
    if (rc == FM_OK) {
        source->stats.inspected_traces += ret_frame->count[FRAME_TRACE];
        source->stats.inspected_spans += ret_frame->count[FRAME_SPAN];
    }
    return rc;
}

static int frames_vector(struct frame_source *source, uint32_t field, const uint8_t *wanted,
                         struct frame_vector *ret_vector, struct fm_why *why)
{
    struct block_frames *frames = FM_CONTAINER(source, struct block_frames, base);
    int rc = frame_vector(frames->inner, field, wanted, ret_vector, why);
    if (rc == FM_OK && ret_vector->shape == FRAME_CODES) {
        frames->tables[field] = *ret_vector->values;
        frames->tables[field].serial += frames->round << 32;
        ret_vector->values = &frames->tables[field];
    }
    return rc;
}

/* Names and values are of the whole source: frames of a pass of their own. */
static int frames_names(struct frame_source *source, enum traceql_scope scope,
                        frame_visit_name *visit, void *self, struct fm_why *why)
{
    struct block_frames *frames = FM_CONTAINER(source, struct block_frames, base);
    struct frame_source *again;
    struct frame frame;
    int rc = block_frames_new(frames->block, frames->request, frames->memory_max, &again, why);
    if (rc < 0)
        return rc;
    struct block_frames *pass = FM_CONTAINER(again, struct block_frames, base);
    uint64_t round = 0;
    while ((rc = frame_next(again, &frame, why)) == FM_OK) {
        if (pass->round == round)
            continue;
        round = pass->round;
        rc = frame_names(pass->inner, scope, visit, self, why);
        if (rc != FM_OK)
            break;
    }
    frame_source_free(again);
    return rc == FM_END ? FM_OK : frames_rc(rc);
}

static int frames_values(struct frame_source *source, uint32_t field, frame_visit_value *visit,
                         void *self, struct fm_why *why)
{
    struct block_frames *frames = FM_CONTAINER(source, struct block_frames, base);
    struct frame_source *again;
    struct frame frame;
    int rc = block_frames_new(frames->block, frames->request, frames->memory_max, &again, why);
    if (rc < 0)
        return rc;
    struct block_frames *pass = FM_CONTAINER(again, struct block_frames, base);
    uint64_t round = 0;
    while ((rc = frame_next(again, &frame, why)) == FM_OK) {
        if (pass->round == round)
            continue;
        round = pass->round;
        rc = frame_values(pass->inner, field, visit, self, why);
        if (rc != FM_OK)
            break;
    }
    frame_source_free(again);
    return rc == FM_END ? FM_OK : frames_rc(rc);
}

static const struct frame_source_ops frames_ops = {
    .next = frames_next,
    .vector = frames_vector,
    .names = frames_names,
    .values = frames_values,
    .free = frames_free,
};

int block_frames_new(const struct block *block, const struct frame_request *request,
                     size_t memory_max, struct frame_source **ret_source, struct fm_why *why)
{
    struct block_frames *frames = calloc(1, sizeof *frames);
    if (!frames)
        return fm_fail(why, FM_ENOMEM, "no memory for a query");
    frames->base.ops = &frames_ops;
    frames->block = block;
    frames->request = request;
    frames->memory_max = memory_max;
    fm_buf_init(&frames->otlp, memory_max);
    frames->read_before = atomic_load(&block->source.read_bytes);
    frames->tables = calloc(FM_MAX(request->field_count, 1u), sizeof *frames->tables);
    int rc = frames->tables ? reader_new(&frames->reader, block, why) : FM_ENOMEM;
    if (rc < 0) {
        frames_free(&frames->base);
        return frames_rc(rc);
    }
    if (pq_file_row_group_count(block->file))
        reader_begin(frames->reader, 0);
    *ret_source = &frames->base;
    return FM_OK;
}

/* ---- ids ---- */

static int ids_put(struct reader *reader, uint64_t row, struct fm_buf *ids)
{
    reader_set_row(reader, row);
    int rc = reader_load(reader, LEAF_TRACE_ID);
    struct cursor *cursor = &reader->cursors[LEAF_TRACE_ID];
    if (rc != FM_OK)
        return rc;
    struct fm_slice id = cursor_bytes(cursor, cursor->value_at);
    if (id.len != sizeof(struct trace_id))
        return reader_fail(reader, LEAF_TRACE_ID, "an id has not 16 bytes");
    fm_buf_put_slice(ids, id);
    return FM_OK;
}

int block_trace_ids(const struct block *block, struct fm_buf *ids, struct fm_why *why)
{
    FM_AUTO(reader) reader = NULL;
    int rc = reader_new(&reader, block, why);
    size_t groups = rc == FM_OK ? pq_file_row_group_count(block->file) : 0;
    for (size_t i = 0; i < groups && rc == FM_OK; i++) {
        uint64_t rows = pq_row_group_row_count(block->file, i);
        reader_begin(reader, i);
        for (uint64_t row = 0; row < rows && rc == FM_OK; row++)
            rc = ids_put(reader, row, ids);
    }
    if (rc == FM_OK && ids->failed)
        rc = fm_fail(why, FM_ENOMEM, "no memory for the ids of a block");
    return frames_rc(rc);
}
