/* SPDX-License-Identifier: Apache-2.0 */
/* parquet_put - column chunks in bulk: what the calls of parquet.h alone cost too much for. */
#ifndef FERMATA_PARQUET_PUT_H
#define FERMATA_PARQUET_PUT_H

#include "fermata/parquet.h"

/* Chunks that one thread builds may share working memory, and the compressed form of levels that
 * they have in common (ZSTD, v1 pages, shared encoder: such a page is two frames).
 * Borrowed until the chunk is freed. */
struct pq_press;
FM_MUST int pq_press_new(struct pq_press **ret_press);
struct pq_press *pq_press_free(struct pq_press *press);
void pq_chunk_share_press(struct pq_chunk *chunk, struct pq_press *press);

/* Columns that one thread reads page by page in turn may share what is the same in them: siblings
 * repeat the bytes of their levels.  Borrowed until the column is freed. */
struct pq_memo;
FM_MUST int pq_memo_new(struct pq_memo **ret_memo);
struct pq_memo *pq_memo_free(struct pq_memo *memo);
FM_DEFINE_AUTO(pq_memo)
void pq_column_share_memo(struct pq_column *column, struct pq_memo *memo);
/* Takes the dictionary from a guide of the same chunk, if it has it.  Before any use of the column;
 * borrowed by whoever has a dictionary from it. */
void pq_column_share_guide(struct pq_column *column, const struct pq_guide *guide);
/* What a column has read so far, and what it holds. */
struct pq_column_use {
    uint64_t read_bytes;
    size_t memory;
};
struct pq_column_use pq_column_use(const struct pq_column *column);
/* Gives back everything but the dictionary; no page is read any more. */
void pq_column_retire(struct pq_column *column);

/* count entries at once, levels as rep << 4 | def: all nulls, or all zeros of four bytes. */
void pq_put_null_levels(struct pq_chunk *chunk, const uint8_t *levels, uint32_t count);
void pq_put_zero_levels(struct pq_chunk *chunk, const uint8_t *levels, uint32_t count);

/* Many entries without a call each; the chunk gets no other put while its cursor is open.
 * level: rep << 4 | def; value: 4 or 8 bytes as in memory, booleans 1, an index 4, nulls nothing.
 * Room comes with 16 bytes of slack behind it.  No room: the chunk has failed. */
struct pq_cursor {
    struct pq_chunk *chunk; /* borrowed */
    uint8_t *level, *level_end, *value, *value_end;
};
void pq_cursor_open(struct pq_cursor *cursor, struct pq_chunk *chunk);
void pq_cursor_close(struct pq_cursor *cursor);
bool pq_cursor_grow(struct pq_cursor *cursor, uint32_t count, size_t len);
static inline bool pq_cursor_room(struct pq_cursor *cursor, uint32_t count, size_t len)
{
    return FM_LIKELY((size_t)(cursor->level_end - cursor->level) >= count &&
                     (size_t)(cursor->value_end - cursor->value) >= len) ||
           pq_cursor_grow(cursor, count, len);
}

#endif
