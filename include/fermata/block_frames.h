/* SPDX-License-Identifier: Apache-2.0 */
/* block_frames - a block as a source of frames: a column is read only when a query asks for it. */
#ifndef FERMATA_BLOCK_FRAMES_H
#define FERMATA_BLOCK_FRAMES_H

#include "fermata/block.h"
#include "fermata/frame.h"

/* Reads vParquet4 and vParquet5, of this program and of Tempo, dedicated columns included.
 * memory_max bounds what one source holds (dictionaries, one frame): FM_ELIMIT.  Borrows block and
 * request.  A damaged page is FM_ECORRUPT with why, never a wrong answer. */
FM_MUST int block_frames_new(const struct block *block, const struct frame_request *request,
                             size_t memory_max, struct frame_source **ret_source,
                             struct fm_why *why);
/* Ids of all traces in order, for finding those that lie in several blocks.  Appends 16 bytes
 * each. */
FM_MUST int block_trace_ids(const struct block *block, struct fm_buf *ids, struct fm_why *why);

/* The rows [from, to) of one of count shares of the block; all of them together are all rows.
 * FM_NONE: it has none. */
FM_MUST int block_share(const struct block *block, uint32_t share, uint32_t count,
                        uint64_t *ret_from, uint64_t *ret_to, struct fm_why *why);

#endif
