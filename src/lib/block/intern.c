/* SPDX-License-Identifier: Apache-2.0 */
/* Open addressing over entries that never move; at most three quarters full. */
#include "intern.h"

#include "fermata/bytes.h"
#include "fermata/hash.h"

#include <stdlib.h>

#define HEAP_CHUNK_MIN FM_KIB(4)
#define HEAP_CHUNK_MAX FM_KIB(64)
#define INTERN_CAP_MIN 64u

void *pool_realloc(struct pool *pool, void *ptr, size_t old_size, size_t size)
{
    if (pool->rc < 0)
        return NULL;
    if (size > old_size && size - old_size > pool->bytes_max - pool->used_bytes) {
        pool->rc = FM_ELIMIT;
        return NULL;
    }
    void *grown = realloc(ptr, size);
    if (!grown) {
        pool->rc = FM_ENOMEM;
        return NULL;
    }
    pool->used_bytes += size - old_size;
    return grown;
}

void *pool_alloc(struct pool *pool, size_t size)
{
    return pool_realloc(pool, NULL, 0, size);
}

void pool_release(struct pool *pool, void *ptr, size_t size)
{
    if (!ptr)
        return;
    free(ptr);
    pool->used_bytes -= size;
}

void heap_init(struct heap *heap, struct pool *pool)
{
    *heap = (struct heap){.pool = pool};
}

static void heap_drop(struct heap *heap, struct heap_chunk *chunk)
{
    while (chunk) {
        struct heap_chunk *next = chunk->next;
        pool_release(heap->pool, chunk, sizeof *chunk + chunk->size);
        chunk = next;
    }
}

void heap_fini(struct heap *heap)
{
    heap_drop(heap, fm_take(heap->first));
    heap->last = NULL;
}

uint8_t *heap_put(struct heap *heap, const void *bytes, size_t len)
{
    struct heap_chunk *chunk = heap->last;
    if (!chunk || chunk->size - chunk->used < len) {
        size_t size = chunk ? FM_MIN(chunk->size * 2, HEAP_CHUNK_MAX) : HEAP_CHUNK_MIN;
        size = FM_MAX(size, len);
        chunk = pool_alloc(heap->pool, sizeof *chunk + size);
        if (!chunk)
            return NULL;
        *chunk = (struct heap_chunk){.size = size};
        if (heap->last)
            heap->last->next = chunk;
        else
            heap->first = chunk;
        heap->last = chunk;
    }
    uint8_t *target = chunk->bytes + chunk->used;
    if (len)
        memcpy(target, bytes, len);
    chunk->used += len;
    return target;
}

struct heap_mark heap_mark(const struct heap *heap)
{
    return (struct heap_mark){heap->last, heap->last ? heap->last->used : 0};
}

void heap_rewind(struct heap *heap, struct heap_mark mark)
{
    if (!mark.last) {
        heap_fini(heap);
        return;
    }
    heap_drop(heap, fm_take(mark.last->next));
    mark.last->used = mark.used;
    heap->last = mark.last;
}

void intern_init(struct intern *intern, struct pool *pool, uint64_t seed)
{
    *intern = (struct intern){.seed = seed};
    heap_init(&intern->heap, pool);
}

void intern_fini(struct intern *intern)
{
    struct pool *pool = intern->heap.pool;
    if (!pool)
        return;
    pool_release(pool, fm_take(intern->entries), intern->cap * sizeof *intern->entries);
    pool_release(pool, fm_take(intern->slots), intern->slot_count * sizeof *intern->slots);
    heap_fini(&intern->heap);
    intern->count = intern->cap = intern->slot_count = 0;
}

uint32_t intern_hash(const struct intern *intern, struct fm_slice bytes)
{
    return (uint32_t)fm_hash64(bytes, intern->seed);
}

uint32_t intern_find(const struct intern *intern, struct fm_slice bytes, uint32_t hash)
{
    if (FM_UNLIKELY(!intern->slot_count))
        return INTERN_NONE;
    uint32_t mask = intern->slot_count - 1;
    for (uint32_t at = hash & mask;; at = (at + 1) & mask) {
        uint32_t slot = intern->slots[at];
        if (!slot)
            return INTERN_NONE;
        if ((slot ^ hash) & ~mask)
            continue;
        uint32_t number = (slot & mask) - 1;
        const struct intern_entry *entry = &intern->entries[number];
        if (entry->hash == hash && entry->len == bytes.len &&
            intern_equal(entry->ptr, bytes.ptr, bytes.len))
            return number;
    }
}

static void intern_enter(uint32_t *slots, uint32_t mask, uint32_t hash, uint32_t number)
{
    uint32_t at = hash & mask;
    while (slots[at])
        at = (at + 1) & mask;
    slots[at] = (hash & ~mask) | (number + 1);
}

static bool intern_grow_slots(struct intern *intern)
{
    struct pool *pool = intern->heap.pool;
    uint32_t slot_count = intern->slot_count ? intern->slot_count * 2 : INTERN_CAP_MIN * 2;
    if (slot_count > UINT32_C(1) << 31) {
        pool->rc = FM_ELIMIT;
        return false;
    }
    uint32_t *slots = pool_alloc(pool, slot_count * sizeof *slots);
    if (!slots)
        return false;
    memset(slots, 0, slot_count * sizeof *slots);
    for (uint32_t i = 0; i < intern->count; i++)
        intern_enter(slots, slot_count - 1, intern->entries[i].hash, i);
    pool_release(pool, intern->slots, intern->slot_count * sizeof *slots);
    intern->slots = slots;
    intern->slot_count = slot_count;
    return true;
}

static bool intern_grow(struct intern *intern)
{
    if (intern->count == intern->cap) {
        uint32_t cap = intern->cap ? intern->cap + intern->cap / 2 : INTERN_CAP_MIN;
        void *entries =
            pool_realloc(intern->heap.pool, intern->entries, intern->cap * sizeof *intern->entries,
                         cap * sizeof *intern->entries);
        if (!entries)
            return false;
        intern->entries = entries;
        intern->cap = cap;
    }
    /* At most three quarters full. */
    if ((uint64_t)intern->count * 4 >= (uint64_t)intern->slot_count * 3)
        return intern_grow_slots(intern);
    return true;
}

uint32_t intern_add(struct intern *intern, struct fm_slice bytes, uint32_t hash)
{
    if (bytes.len > UINT32_MAX || !intern_grow(intern))
        return INTERN_NONE;
    const uint8_t *ptr = heap_put(&intern->heap, bytes.ptr, bytes.len);
    if (!ptr)
        return INTERN_NONE;
    intern->entries[intern->count] =
        (struct intern_entry){.ptr = ptr, .len = (uint32_t)bytes.len, .hash = hash};
    intern_enter(intern->slots, intern->slot_count - 1, hash, intern->count);
    return intern->count++;
}

uint32_t intern_put(struct intern *intern, struct fm_slice bytes)
{
    uint32_t hash = intern_hash(intern, bytes);
    uint32_t number = intern_find(intern, bytes, hash);
    return number != INTERN_NONE ? number : intern_add(intern, bytes, hash);
}
