/* SPDX-License-Identifier: Apache-2.0 */
/* reader - an open block, and cursors that stand on one row of its leaves.  Private. */
#ifndef BLOCK_READER_H
#define BLOCK_READER_H

#include "schema.h"

#include "fermata/block_traces.h"
#include "fermata/parquet_put.h"

#include <stdatomic.h>

#define READER_LEAF_MAX (LEAF_COUNT + BLOCK_DEDICATED_MAX)
#define READER_ABSENT   UINT32_MAX

/* What a leaf of the schema is in this file. */
struct reader_leaf {
    uint32_t index; /* in the file; READER_ABSENT */
    uint8_t type, rep_max, def_max;
};

struct reader_dedicated {
    uint32_t leaf;                        /* in leaves[] */
    const struct block_dedicated *column; /* borrowed from the block's meta */
};

/* Source that counts. */
struct reader_source {
    struct fm_source inner;
    atomic_uint_fast64_t read_bytes;
};

struct block {
    struct block_meta meta;
    struct block_dedicated columns[BLOCK_DEDICATED_MAX]; /* of meta */
    struct reader_source source;
    struct pq_file *file; /* owned */
    struct reader_leaf leaves[READER_LEAF_MAX];
    struct reader_dedicated dedicated[BLOCK_DEDICATED_MAX];
    uint32_t dedicated_count;
    /* Owned, READER_LEAF_MAX per row group, each made when it is first needed; NULL until prepared.
     * With the room they are charged to, all of an open block that changes beside the source. */
    _Atomic(struct pq_guide *) *guides;
    _Atomic(struct pq_postings *) *postings; /* likewise */
    size_t guide_dictionary_max;
    _Atomic uint64_t guide_bytes;
    _Atomic uint64_t *room; /* borrowed; NULL: the block alone counts */
    uint64_t room_max;
};
/* The guide of a leaf, by any thread; NULL: there is none.  scratch may be NULL. */
const struct pq_guide *block_guide(const struct block *block, size_t row_group, unsigned leaf,
                                   struct pq_scratch *scratch);
/* Likewise where the values of its dictionary are, of which there are so many. */
const struct pq_postings *block_postings(const struct block *block, size_t row_group, unsigned leaf,
                                         uint32_t value_count);
void reader_leaf_name(const struct block *block, unsigned leaf, char text[SCHEMA_PATH_MAX]);

/* One leaf, standing on one row. */
struct cursor {
    struct pq_column *column;          /* owned */
    const struct fm_slice *dictionary; /* borrowed from column */
    uint32_t dictionary_count;
    bool has_page;
    bool void_column; /* an empty dictionary: every entry is null */
    struct pq_page page;
    uint64_t row;                  /* within the row group */
    uint32_t row_entry, row_value; /* where that row begins */
    /* reading inside the row */
    uint32_t at, end, value_at;
    bool loaded; /* stands on the row asked for */
};

struct reader {
    const struct block *block;
    size_t row_group;
    uint64_t row;
    struct cursor cursors[READER_LEAF_MAX];
    unsigned parts;                                 /* enum block_traces_part */
    bool (*wants)(void *self, struct fm_slice key); /* NULL: all attributes' values are */
    void *wants_self;
    struct pq_scratch *scratch; /* owned; not NULL: rows are read one by one, by guides */
    struct fm_arena arena;      /* of the row, then */
    struct fm_why *why;
};
FM_MUST int reader_new(struct reader **ret_reader, const struct block *block, struct fm_why *why);
struct reader *reader_free(struct reader *reader);
FM_DEFINE_AUTO(reader)
/* Forgets every column; the next row may be anywhere in row_group. */
void reader_begin(struct reader *reader, size_t row_group);
void reader_set_row(struct reader *reader, uint64_t row);
/* Puts the leaf's cursor on the reader's row.  FM_NONE: the file has no such leaf. */
FM_MUST int reader_load(struct reader *reader, unsigned leaf);
/* Of a trace in the row group.  FM_OK with the row, or FM_NONE. */
FM_MUST int reader_find_row(struct reader *reader, const struct trace_id *id, uint64_t *ret_row);
FM_MUST int reader_fail(struct reader *reader, unsigned leaf, const char *what);

/* One entry of a loaded cursor. */
struct entry {
    uint8_t rep, def;
    bool set; /* has a value */
    uint32_t value;
};
static inline bool cursor_has_entry(const struct cursor *cursor)
{
    return cursor->at < cursor->end;
}
static inline unsigned cursor_peek_rep(const struct cursor *cursor)
{
    return cursor->page.rep ? cursor->page.rep[cursor->at] : 0;
}
struct entry cursor_take(struct cursor *cursor, unsigned def_max);
struct fm_slice cursor_bytes(const struct cursor *cursor, uint32_t value);

/* assemble.c: the reader's row as OTLP ResourceSpans. */
FM_MUST int reader_put_trace(struct reader *reader, struct fm_buf *otlp);

#endif
