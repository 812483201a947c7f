/* SPDX-License-Identifier: Apache-2.0 */
/* block_keep - what was decoded of blocks, kept between questions by whoever has the threads.
 *
 * Blocks never change, so neither does what is kept of them: any number of sources read it at once,
 * as long as each has a reference.  Sources of frames find it, make it when the keeper says that it
 * is worth it, and say what they had to decode for want of it.  Part of block. */
#ifndef FERMATA_BLOCK_KEEP_H
#define FERMATA_BLOCK_KEEP_H

#include "fermata/block.h"

struct block_kept { /* first member of what is kept, which is one piece of memory: free() ends it */
    size_t bytes;
    atomic_uint refs;
};
struct block_keep_key {
    const struct block_id *block;
    struct fm_slice what;
};
#define BLOCK_KEEP_WHOLE 1000u /* a part of a row group, in thousandths */

struct block_keep { /* first member of what implements it; called by any thread */
    /* FM_OK with a reference; FM_NONE; FM_MORE, only if may_make: the caller, and nobody else, is
     * to make it, at most bytes_max large, and to say so. */
    int (*find)(struct block_keep *keep, const struct block_keep_key *key, bool may_make,
                struct block_kept **ret_kept);
    /* After FM_MORE: kept, with one reference, which stays the caller's; NULL: it cannot be made.
     */
    void (*made)(struct block_keep *keep, const struct block_keep_key *key,
                 struct block_kept *kept);
    void (*release)(struct block_keep *keep, struct block_kept *kept);
    /* So much of the row group was decoded. */
    void (*missed)(struct block_keep *keep, const struct block_keep_key *key, unsigned part);
    size_t bytes_max; /* of one */
};

#endif
