/* SPDX-License-Identifier: Apache-2.0 */
/* Arena: bump allocation in chunks that double up to 1 MiB.
 *
 * With FM_ARENA_DEBUG every allocation is a chunk of its own, so that AddressSanitizer sees each
 * overrun; the behaviour is otherwise the same. */
#include "fermata/base.h"

#include <stdlib.h>

#define ARENA_ALIGN     16u
#define ARENA_CHUNK_MIN 4096u
#define ARENA_CHUNK_MAX FM_MIB(1)

struct fm_arena_chunk {
    struct fm_arena_chunk *next; /* older */
    size_t size;                 /* of data */
    size_t used;
    _Alignas(ARENA_ALIGN) uint8_t data[];
};

void fm_arena_init(struct fm_arena *arena, size_t bytes_max)
{
    *arena = (struct fm_arena){.bytes_max = bytes_max};
}

static void arena_free_chunks(struct fm_arena_chunk *chunk)
{
    while (chunk) {
        struct fm_arena_chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
}

void fm_arena_fini(struct fm_arena *arena)
{
    arena_free_chunks(fm_take(arena->chunk));
    arena->used_bytes = 0;
    arena->failed = false;
}

void fm_arena_reset(struct fm_arena *arena)
{
    struct fm_arena_chunk *keep = arena->chunk;
    arena->failed = false;
    if (!keep)
        return;
    arena_free_chunks(fm_take(keep->next));
    keep->used = 0;
    arena->used_bytes = keep->size;
#ifdef FM_ARENA_DEBUG
    fm_arena_fini(arena);
#endif
}

static struct fm_arena_chunk *arena_grow(struct fm_arena *arena, size_t size)
{
    size_t wanted = size;
#ifndef FM_ARENA_DEBUG
    wanted = FM_MAX(wanted, FM_MIN(FM_MAX(arena->used_bytes, ARENA_CHUNK_MIN), ARENA_CHUNK_MAX));
    if (arena->used_bytes + wanted > arena->bytes_max)
        wanted = size;
#endif
    if (wanted > arena->bytes_max || arena->used_bytes > arena->bytes_max - wanted)
        return NULL;
    struct fm_arena_chunk *chunk = malloc(sizeof *chunk + wanted);
    if (!chunk)
        return NULL;
    *chunk = (struct fm_arena_chunk){.next = arena->chunk, .size = wanted};
    arena->chunk = chunk;
    arena->used_bytes += wanted;
    return chunk;
}

void *fm_arena_alloc(struct fm_arena *arena, size_t size)
{
    if (arena->failed)
        return NULL;
#ifdef FM_ARENA_DEBUG
    size_t rounded = FM_MAX(size, 1u);
#else
    size_t rounded = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
#endif
    struct fm_arena_chunk *chunk = arena->chunk;
    if (rounded < size || !chunk || chunk->size - chunk->used < rounded)
        chunk = rounded < size ? NULL : arena_grow(arena, rounded);
    if (!chunk) {
        arena->failed = true;
        return NULL;
    }
    void *ptr = chunk->data + chunk->used;
    chunk->used += rounded;
    return ptr;
}

void *fm_arena_zalloc(struct fm_arena *arena, size_t size)
{
    void *ptr = fm_arena_alloc(arena, size);
    if (ptr)
        memset(ptr, 0, size);
    return ptr;
}

void *fm_arena_dup(struct fm_arena *arena, const void *source, size_t len)
{
    void *ptr = fm_arena_alloc(arena, len);
    if (ptr && len)
        memcpy(ptr, source, len);
    return ptr;
}

struct fm_slice fm_slice_dup(struct fm_arena *arena, struct fm_slice slice)
{
    void *ptr = fm_arena_dup(arena, slice.ptr, slice.len);
    return fm_slice(ptr, ptr ? slice.len : 0);
}
