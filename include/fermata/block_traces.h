/* SPDX-License-Identifier: Apache-2.0 */
/* block_traces - the traces of a block one after another, for readers that stop and go on later.
 * Part of block.  One thread at a time. */
#ifndef FERMATA_BLOCK_TRACES_H
#define FERMATA_BLOCK_TRACES_H

#include "fermata/block.h"

struct block_traces;
/* Begins at trace number first, counted from 0 in row order.  Borrows block. */
FM_MUST int block_traces_new(struct block_traces **ret_traces, const struct block *block,
                             uint64_t first);
/* What a trace is wanted with, beside its spans' ids, names, times, kinds and status, and their
 * services and scopes.  Without a word: all. */
enum block_traces_part {
    BLOCK_TRACES_RESOURCE_ATTRIBUTES = 1,
    BLOCK_TRACES_SCOPE_ATTRIBUTES = 2,
    BLOCK_TRACES_SPAN_ATTRIBUTES = 4,
    BLOCK_TRACES_EVENTS = 8,
    BLOCK_TRACES_LINKS = 16,
    BLOCK_TRACES_ALL = 31,
};
void block_traces_want(struct block_traces *traces, unsigned parts);
/* Attributes whose keys are not wanted may come without their values. */
void block_traces_want_keys(struct block_traces *traces,
                            bool (*wants)(void *self, struct fm_slice key), void *self);
/* Few rows, far from each other, will be read: they are decoded alone, not with their pages. */
FM_MUST int block_traces_sparse(struct block_traces *traces);
struct block_traces *block_traces_free(struct block_traces *traces);
FM_DEFINE_AUTO(block_traces)
/* Appends the next trace as canonical OTLP; ret_id may be NULL.  FM_OK; FM_END: there are no more.
 * After a failure the next call tries the same trace again. */
FM_MUST int block_traces_next(struct block_traces *traces, struct trace_id *ret_id,
                              struct fm_buf *otlp, struct fm_why *why);
/* Goes on behind a trace that cannot be read. */
void block_traces_skip(struct block_traces *traces);
/* Makes the trace with that id the next one, wherever it is; FM_NONE: it is not in the block. */
FM_MUST int block_traces_find(struct block_traces *traces, const struct trace_id *id,
                              struct fm_why *why);
uint64_t block_traces_row(const struct block_traces *traces); /* number of the next one */
/* Goes on at a later one; pages in between are not read. */
void block_traces_seek(struct block_traces *traces, uint64_t row);

#endif
