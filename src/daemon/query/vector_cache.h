/* SPDX-License-Identifier: Apache-2.0 */
/* vector_cache - keeps what was decoded of blocks, for all questions.
 *
 * Kept is what was decoded once as a whole already, so that nothing costs much more than it would
 * have; and it only pushes out what nobody asked for since, so that a question over everything
 * leaves what others ask every few seconds where it is. */
#ifndef QUERY_VECTOR_CACHE_H
#define QUERY_VECTOR_CACHE_H

#include "fermata/block_keep.h"
#include "fermata/lock.h"
#include "fermata/telemetry.h"

#define VECTOR_CACHE_CHAINS 1024u

struct vector_cache {
    struct block_keep keep;
    struct pf_lock lock;    /* of what follows */
    struct fm_link *chains; /* owned; VECTOR_CACHE_CHAINS */
    struct fm_link line;    /* least recently used first; what is kept */
    struct fm_link names;   /* likewise; what is not */
    size_t name_bytes;      /* of bytes */
    metric bytes;           /* also read without the lock */
    size_t bytes_max;
    uint64_t clock, seed;
    metric hits, misses, evictions;
};
FM_MUST int vector_cache_init(struct vector_cache *cache, size_t bytes_max, uint64_t seed);
void vector_cache_fini(struct vector_cache *cache);
/* NULL: it keeps nothing. */
struct block_keep *vector_cache_keep(struct vector_cache *cache);
/* The block is gone. */
void vector_cache_forget(struct vector_cache *cache, const struct block_id *id);
void vector_cache_put_metrics(const struct vector_cache *cache, struct fm_buf *out);

#endif
