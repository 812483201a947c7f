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
/* Whether the guide keeps a dictionary of texts: how many, and the first from an index on that is
 * text (FM_NONE). */
bool pq_guide_has_texts(const struct pq_guide *guide);
uint32_t pq_guide_text_count(const struct pq_guide *guide);
FM_MUST int pq_guide_find(const struct pq_guide *guide, struct fm_slice text, uint32_t from,
                          uint32_t *ret_index);

/* In which rows the values of a chunk's dictionary are, if in no more than so many.  Borrows
 * nothing and is immutable once made: any number of threads may ask. */
#define PQ_POSTINGS_MAX 32u
struct pq_postings;
/* guide: of the same chunk, or NULL. */
FM_MUST int pq_postings_new(struct pq_postings **ret_postings, const struct pq_file *file,
                            size_t row_group, size_t leaf, const struct pq_guide *guide,
                            struct fm_why *why);
struct pq_postings *pq_postings_free(struct pq_postings *postings);
FM_DEFINE_AUTO(pq_postings)
size_t pq_postings_memory(const struct pq_postings *postings);
/* Ascending, by the value's index in the dictionary.  FM_NONE: there are more, or they are not
 * known.  Of a failure rows may have been written to. */
FM_MUST int pq_postings_rows(const struct pq_postings *postings, uint32_t value,
                             uint32_t rows[PQ_POSTINGS_MAX], uint32_t *ret_count);
/* The first row (of the row group) of the page that holds row, which is one of them. */
FM_MUST int pq_page_begin(const struct pq_file *file, size_t row_group, size_t leaf, uint64_t row,
                          uint64_t *ret_first_row, struct fm_why *why);
/* What a column, or a scratch, has read so far, and what it holds. */
struct pq_column_use {
    uint64_t read_bytes;
    size_t memory;
};
struct pq_column_use pq_column_use(const struct pq_column *column);
struct pq_column_use pq_scratch_use(const struct pq_scratch *scratch);
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
