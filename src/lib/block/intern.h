/* SPDX-License-Identifier: Apache-2.0 */
/* intern - byte strings to dense numbers, and the memory account of a builder.
 *
 * Numbers count up in order of arrival, so nothing that is derived from them depends on the hash.
 */
#ifndef BLOCK_INTERN_H
#define BLOCK_INTERN_H

#include "fermata/base.h"
#include "fermata/bytes.h"

/* What a builder may hold.  Failures stick in rc: FM_ENOMEM, or FM_ELIMIT at the limit. */
struct pool {
    size_t used_bytes;
    size_t bytes_max;
    int rc;
};
void *pool_alloc(struct pool *pool, size_t size);
void *pool_realloc(struct pool *pool, void *ptr, size_t old_size, size_t size);
void pool_release(struct pool *pool, void *ptr, size_t size);

/* Bytes that never move, in the order they came. */
struct heap_chunk {
    struct heap_chunk *next;
    size_t size, used;
    uint8_t bytes[];
};
struct heap {
    struct pool *pool; /* borrowed */
    struct heap_chunk *first, *last;
};
void heap_init(struct heap *heap, struct pool *pool);
void heap_fini(struct heap *heap);
/* NULL: see pool->rc. */
uint8_t *heap_put(struct heap *heap, const void *bytes, size_t len);
struct heap_mark {
    struct heap_chunk *last;
    size_t used;
};
struct heap_mark heap_mark(const struct heap *heap);
void heap_rewind(struct heap *heap, struct heap_mark mark);

struct intern_entry {
    const uint8_t *ptr;
    uint32_t len;
    uint32_t hash;
};
struct intern {
    struct heap heap;
    uint64_t seed;
    struct intern_entry *entries; /* owned */
    uint32_t count;
    uint32_t cap;
    /* owned; number + 1 in the bits of slot_count - 1, the hash's above: most of what is not the
     * text looked for is told from it without a look at entries */
    uint32_t *slots;
    uint32_t slot_count;
};
#define INTERN_NONE UINT32_MAX
void intern_init(struct intern *intern, struct pool *pool, uint64_t seed);
void intern_fini(struct intern *intern);
/* The number of bytes, new or known; INTERN_NONE: see pool->rc. */
uint32_t intern_put(struct intern *intern, struct fm_slice bytes);
uint32_t intern_hash(const struct intern *intern, struct fm_slice bytes);
/* The number if known, else INTERN_NONE. */
uint32_t intern_find(const struct intern *intern, struct fm_slice bytes, uint32_t hash);
uint32_t intern_add(struct intern *intern, struct fm_slice bytes, uint32_t hash);
/* memcmp without a call for the short texts that most are. */
static inline bool intern_equal(const uint8_t *a, const uint8_t *b, size_t len)
{
    if (len > 32)
        return memcmp(a, b, len) == 0;
    if (len > 16)
        return ((fm_load_le64(a) ^ fm_load_le64(b)) | (fm_load_le64(a + 8) ^ fm_load_le64(b + 8)) |
                (fm_load_le64(a + len - 16) ^ fm_load_le64(b + len - 16)) |
                (fm_load_le64(a + len - 8) ^ fm_load_le64(b + len - 8))) == 0;
    if (len >= 8)
        return ((fm_load_le64(a) ^ fm_load_le64(b)) |
                (fm_load_le64(a + len - 8) ^ fm_load_le64(b + len - 8))) == 0;
    if (len >= 4)
        return ((fm_load_le32(a) ^ fm_load_le32(b)) |
                (fm_load_le32(a + len - 4) ^ fm_load_le32(b + len - 4))) == 0;
    for (size_t i = 0; i < len; i++)
        if (a[i] != b[i])
            return false;
    return true;
}
/* Whether the text of number, which is known, is this. */
static inline bool intern_is(const struct intern *intern, uint32_t number, struct fm_slice bytes)
{
    const struct intern_entry *entry = &intern->entries[number];
    return entry->len == bytes.len && intern_equal(entry->ptr, bytes.ptr, bytes.len);
}

/* Hints that a text with this hash will be looked for.  Two steps: the second
 * waits for the memory that the first one asked for. */
static inline void intern_prefetch(const struct intern *intern, uint32_t hash)
{
    if (intern->slot_count)
        __builtin_prefetch(&intern->slots[hash & (intern->slot_count - 1)]);
}
static inline void intern_prefetch_entry(const struct intern *intern, uint32_t hash)
{
    uint32_t mask = intern->slot_count - 1;
    uint32_t slot = intern->slot_count ? intern->slots[hash & mask] : 0;
    if (slot && !((slot ^ hash) & ~mask))
        __builtin_prefetch(&intern->entries[(slot & mask) - 1]);
}
static inline struct fm_slice intern_get(const struct intern *intern, uint32_t number)
{
    return fm_slice(intern->entries[number].ptr, intern->entries[number].len);
}

#endif
