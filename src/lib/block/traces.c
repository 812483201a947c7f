/* SPDX-License-Identifier: Apache-2.0 */
/* traces - every trace of a block in row order, as canonical OTLP. */
#include "fermata/block_traces.h"

#include "reader.h"

#include <stdlib.h>

#define TRACES_OTLP_MAX FM_MIB(512)

struct block_traces {
    struct reader *reader; /* owned */
    uint64_t number;       /* of the next trace, in the block */
    size_t group;          /* that it lies in */
    uint64_t group_begin;  /* number of the group's first */
    bool is_begun;         /* the reader stands in the group */
};

int block_traces_new(struct block_traces **ret_traces, const struct block *block, uint64_t first)
{
    struct block_traces *traces = calloc(1, sizeof *traces);
    if (!traces)
        return FM_ENOMEM;
    int rc = reader_new(&traces->reader, block, NULL);
    if (rc < 0) {
        free(traces);
        return rc;
    }
    traces->number = first;
    *ret_traces = traces;
    return FM_OK;
}

void block_traces_want(struct block_traces *traces, unsigned parts)
{
    traces->reader->parts = parts;
}

void block_traces_want_keys(struct block_traces *traces,
                            bool (*wants)(void *self, struct fm_slice key), void *self)
{
    traces->reader->wants = wants;
    traces->reader->wants_self = self;
}

int block_traces_sparse(struct block_traces *traces)
{
    return pq_scratch_new(&traces->reader->scratch);
}

struct block_traces *block_traces_free(struct block_traces *traces)
{
    if (traces) {
        reader_free(traces->reader);
        free(traces);
    }
    return NULL;
}

uint64_t block_traces_row(const struct block_traces *traces)
{
    return traces->number;
}

void block_traces_seek(struct block_traces *traces, uint64_t row)
{
    traces->number = FM_MAX(traces->number, row);
}

int block_traces_find(struct block_traces *traces, const struct trace_id *id, struct fm_why *why)
{
    const struct pq_file *file = traces->reader->block->file;
    uint64_t row, begin = 0;
    int rc = FM_NONE;
    traces->reader->why = why;
    for (size_t i = 0; i < pq_file_row_group_count(file) && rc == FM_NONE; i++) {
        if (!traces->is_begun || traces->group != i)
            reader_begin(traces->reader, i);
        traces->is_begun = true;
        traces->group = i;
        traces->group_begin = begin;
        fm_arena_reset(&traces->reader->arena);
        rc = reader_find_row(traces->reader, id, &row);
        if (rc == FM_OK)
            traces->number = begin + row;
        begin += pq_row_group_row_count(file, i);
    }
    traces->reader->why = NULL;
    traces->is_begun &= rc == FM_OK;
    return rc;
}

void block_traces_skip(struct block_traces *traces)
{
    traces->number++;
}

/* Puts the reader on the next trace's row; FM_END. */
static int traces_seek(struct block_traces *traces)
{
    const struct pq_file *file = traces->reader->block->file;
    while (traces->group < pq_file_row_group_count(file)) {
        uint64_t rows = pq_row_group_row_count(file, traces->group);
        if (traces->number - traces->group_begin < rows) {
            if (!traces->is_begun)
                reader_begin(traces->reader, traces->group);
            traces->is_begun = true;
            fm_arena_reset(&traces->reader->arena);
            reader_set_row(traces->reader, traces->number - traces->group_begin);
            return FM_OK;
        }
        traces->group_begin += rows;
        traces->group++;
        traces->is_begun = false;
    }
    return FM_END;
}

static int traces_put(struct reader *reader, struct trace_id *ret_id, struct fm_buf *otlp)
{
    int rc = reader_load(reader, LEAF_TRACE_ID);
    if (rc < 0)
        return rc;
    struct cursor *cursor = &reader->cursors[LEAF_TRACE_ID];
    if (rc == FM_NONE || cursor_bytes(cursor, cursor->value_at).len != sizeof ret_id->bytes)
        return reader_fail(reader, LEAF_TRACE_ID, "an id has not 16 bytes");
    struct fm_slice id = cursor_bytes(cursor, cursor->value_at);
    struct trace_id copy;
    memcpy(copy.bytes, id.ptr, sizeof copy.bytes); /* the page may go */
    rc = reader_put_trace(reader, otlp);
    if (rc == FM_OK && ret_id)
        *ret_id = copy;
    return rc;
}

int block_traces_next(struct block_traces *traces, struct trace_id *ret_id, struct fm_buf *otlp,
                      struct fm_why *why)
{
    size_t len = otlp->len;
    traces->reader->why = why;
    int rc = traces_seek(traces);
    if (rc == FM_OK)
        rc = traces_put(traces->reader, ret_id, otlp);
    if (rc == FM_OK && otlp->failed)
        rc = FM_ENOMEM;
    traces->reader->why = NULL;
    if (rc == FM_OK)
        traces->number++;
    else if (rc < 0) {
        otlp->len = len;
        traces->is_begun = false; /* pages half read are read again */
    }
    return rc;
}

int block_each_trace(const struct block *block, block_visit *visit, void *self, struct fm_why *why)
{
    FM_AUTO(block_traces) traces = NULL;
    struct fm_buf otlp;
    struct trace_id id;
    int rc = block_traces_new(&traces, block, 0);
    fm_buf_init(&otlp, TRACES_OTLP_MAX);
    while (rc == FM_OK) {
        fm_buf_reset(&otlp);
        rc = block_traces_next(traces, &id, &otlp, why);
        if (rc == FM_END) {
            rc = FM_OK;
            break;
        }
        if (rc == FM_OK)
            rc = visit(self, &id, fm_buf_slice(&otlp));
    }
    fm_buf_fini(&otlp);
    return rc;
}
