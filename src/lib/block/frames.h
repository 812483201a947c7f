/* SPDX-License-Identifier: Apache-2.0 */
/* frames - a block read by columns.  Private.
 *
 *   frames.c            life of the source, frames, what belongs to what in them
 *   frames_column.c     a leaf as a cursor that gives the entries of any range of rows
 *   frames_field.c      which leaves a field is in, in this row group
 *   frames_vector.c     numbers, texts and ids as vectors
 *   frames_attribute.c  an attribute out of the seven leaves of its list
 *   frames_table.c      distinct values
 *   frames_values.c     names and values of the whole block
 *   frames_ahead.c      which rows of a row group may hold what is looked for
 *   frames_keep.c       what is kept of a row group: found, given back
 *   frames_make.c       made
 *   frames_kept.c       frames and vectors out of that, the newest traces first
 *   frames_pack.c       numbers in few bytes
 *
 * Entries of sibling leaves stand in the same order; how many values an entry of the spine (a leaf
 * of a span) is in another leaf follows from the repetition levels.  So a leaf is read for itself,
 * and what it yields is counted against the frame. */
#ifndef BLOCK_FRAMES_PRIVATE_H
#define BLOCK_FRAMES_PRIVATE_H

#include "reader.h"

#include "fermata/block_frames.h"
#include "fermata/block_keep.h"
#include "fermata/parquet_put.h"

/* Levels of what has attributes: their repetition level, and the definition level from which on
 * they exist. */
enum { FRAMES_RESOURCE = 1, FRAMES_SCOPE = 2, FRAMES_SPAN = 3, FRAMES_PIECE = 4 };

/* One leaf in the present row group. */
struct frames_column {
    struct pq_column *column;          /* owned; NULL until asked for */
    const struct fm_slice *dictionary; /* borrowed from column; NULL: there is none */
    uint32_t dictionary_count;
    struct pq_page page;
    bool has_page;
    bool has_lists;        /* a value of the page continues a list */
    uint64_t row;          /* where these stand: */
    uint32_t entry, value; /* of the page */
    struct pq_column_use use;
    struct frame_values *direct; /* in the arena; the dictionary as a table, moved up by one */
};

/* Entries of some whole rows in one page. */
struct frames_slice {
    const struct pq_page *page;
    const struct fm_slice *dictionary;
    const uint8_t *rep, *def; /* NULL: none, as in a page */
    uint32_t entry_count, value_count;
    uint32_t value; /* first, in the page */
    bool has_lists;
};

/* Distinct values in the order they came. */
struct frames_table {
    struct frame_values values;
    struct traceql_value *items; /* in the arena; values.values */
    uint32_t item_cap;
    uint32_t *slots; /* owned; open addressing, 0: free */
    uint32_t slot_count;
};

enum frames_kind {
    FRAMES_ATTRIBUTE, /* a list of attributes, leaf is its first */
    FRAMES_TEXT,
    FRAMES_NUMBER, /* of an optional leaf */
};
/* A place where values of a field can be. */
struct frames_part {
    enum frames_kind kind;
    bool is_active;  /* in this row group */
    bool is_service; /* always there, if empty: what has nothing else has it */
    unsigned leaf;
    uint32_t key;   /* ATTRIBUTE: index in the dictionary of keys, or FRAMES_NO_KEY */
    unsigned guess; /* ATTRIBUTE: leaf of the values found last */
    uint32_t *map;  /* owned; by dictionary index: code in the field's table, 0 unknown */
    size_t map_cap;
    bool has_map; /* for the dictionary of this row group */
};
#define FRAMES_PARTS_MAX 4u
#define FRAMES_NO_KEY    UINT32_MAX

/* ---- what is kept of a row group; rows and what they have are counted from its first ---- */

struct frames_pack { /* numbers, less base, in as many bytes as the widest needs */
    unsigned width;  /* 1, 2, 4 or 8 */
    int64_t base;
    const uint8_t *bytes;
};
struct frames_shape {
    struct block_kept kept;
    uint32_t count[FRAME_DOMAINS];
    struct trace_id *ids;                             /* by row */
    int64_t *starts;                                  /* likewise */
    uint32_t *newest;                                 /* rows, the newest trace's first */
    uint32_t *row_spans, *row_resources, *row_scopes; /* first of each row; the end */
    struct frames_pack span_resources, span_scopes;   /* from the first of the row on */
};
struct frames_kept { /* a field */
    struct block_kept kept;
    enum frame_shape shape;
    enum traceql_type type;
    uint32_t count;
    struct frames_pack pack;    /* codes or integers */
    const uint8_t *ids;         /* of FRAMES_ID_BYTES each, in place of codes; NULL */
    struct frame_values values; /* of codes */
};
#define FRAMES_ID_BYTES 8u

struct frames_run { /* rows of a frame without a gap */
    uint32_t row, end;
};

struct frames_field {
    const struct traceql_field *field; /* borrowed */
    enum frame_domain domain;
    unsigned level;         /* of the domain */
    enum traceql_type type; /* of integers; TRACEQL_UNKNOWN: codes */
    unsigned leaf;          /* of integers and ids */
    bool is_id;
    bool is_absent; /* whatever the block holds */
    struct frames_part parts[FRAMES_PARTS_MAX];
    unsigned part_count;
    bool is_resolved;
    bool is_direct; /* one part, whose dictionary is the table */
    unsigned active_count;
    struct frames_table table;
    struct frame_values ids; /* of the present frame */
    uint32_t *codes;         /* owned */
    size_t code_cap;
    int64_t *integers; /* owned */
    size_t integer_cap;
    bool is_loaded;             /* in the present frame, for all traces */
    struct frame_vector vector; /* what was given then */
    /* of the present row group */
    bool is_looked_for;             /* among what is kept */
    const struct frames_kept *kept; /* a reference; NULL: not kept */
    struct frame_values kept_values;
    uint64_t decoded_rows, decoded_to;
};

struct frames_match {   /* an attribute with the key that is looked for */
    uint32_t attribute; /* place among all attributes of the frame */
    uint32_t element;   /* whose */
};

struct block_frames {
    struct frame_source base;
    const struct block *block;
    struct frame_request request;
    size_t memory_max, held; /* held: by columns and arrays; arena and tables count themselves */
    struct fm_why *why;      /* of the call at hand */
    struct fm_arena arena;   /* tables, as long as the source lives */
    uint64_t serial;         /* the last one given */
    struct pq_memo *memo;    /* owned */

    size_t group; /* the present row group */
    bool has_group;
    uint64_t group_first; /* of its rows, in the block */
    uint64_t group_rows;
    uint64_t row;         /* the next frame's first */
    uint64_t row_end;     /* of those that are asked for */
    unsigned spine;       /* the leaf that says where spans are */
    bool is_narrowed;     /* rows that are not wanted are in no frame */
    uint8_t *rows_wanted; /* owned; by row of the group */
    uint8_t *marks;       /* owned; likewise, of the field at hand */
    size_t row_wanted_cap, mark_cap;
    bool is_sparse;              /* the present frame's rows are read one by one, by guides */
    struct pq_scratch *scratch;  /* owned; NULL: not needed so far */
    struct pq_column_use sparse; /* by it */
    struct fm_arena row_arena;   /* what was read so, until the next frame */
    struct frames_column columns[READER_LEAF_MAX];
    struct pq_column **retired; /* owned; whose dictionaries are tables */
    size_t retired_count, retired_cap;
    struct block_kept **retired_kept; /* owned array of references; likewise */
    size_t retired_kept_count, retired_kept_cap;

    const struct frames_shape *shape; /* of the present row group; a reference, or NULL */
    bool is_begun;                    /* what is kept of it was looked for */
    uint64_t decoded_rows;
    struct frames_run *runs; /* owned; of the present frame, if there is a shape */
    size_t run_count, run_cap;
    bool is_making;              /* vectors are all that matters of frames */
    bool is_gathering;           /* newest traces first: a frame's rows may have gaps */
    uint32_t wave_at, wave_rows; /* of shape->newest; how many rows the wave has at most */
    uint64_t wave_from;          /* row */
    bool wave_decodes;           /* something had to be, page after page */

    uint64_t row_from, row_to; /* of the present frame */
    struct frame frame;
    bool wants_events, wants_links;
    struct trace_id *trace_ids;                                                      /* owned */
    uint32_t *trace_spans, *span_resources, *span_scopes, *span_events, *span_links; /* owned */
    size_t trace_id_cap, trace_span_cap, resource_cap, scope_cap, event_cap, link_cap;

    struct frames_field *fields;  /* owned; request.field_count */
    struct frames_match *matches; /* owned; of the attribute at hand */
    size_t match_cap;
    uint32_t match_count;
    struct fm_buf elements; /* of the array at hand */
};

/* ---- frames.c ---- */

/* The next frame of the present row group; FM_END: it has no more. */
FM_MUST int frames_fill(struct block_frames *frames);
FM_MUST int frames_enter(struct block_frames *frames, size_t group);
FM_MUST int frames_fail(const struct block_frames *frames, unsigned leaf, const char *what);
/* Whether so many bytes more may be held. */
FM_MUST int frames_charge(struct block_frames *frames, size_t bytes);
/* An array of the source with room for count items; what it held is kept. */
FM_MUST int frames_reserve(struct block_frames *frames, void **array, size_t *cap, size_t count,
                           size_t item_size);
#define FRAMES_RESERVE(frames, array, cap, count)                                                  \
    ({                                                                                             \
        void *reserved_ = (array);                                                                 \
        int reserved_rc_ = frames_reserve(frames, &reserved_, &(cap), count, sizeof *(array));     \
        (array) = reserved_;                                                                       \
        reserved_rc_;                                                                              \
    })

/* Room for so many traces and spans. */
FM_MUST int frames_reserve_spans(struct block_frames *frames, size_t traces, size_t spans);
FM_MUST int frames_read_lists(struct block_frames *frames);

/* ---- frames_column.c ---- */

/* Opens the leaf's column in the present row group; FM_NONE: the file has no such leaf. */
FM_MUST int frames_open(struct block_frames *frames, unsigned leaf);
/* The leaf's entries from *row on, at most to row end, and of one page; *row moves behind them.
 * FM_END: *row is end. */
FM_MUST int frames_slice(struct block_frames *frames, unsigned leaf, uint64_t *row, uint64_t end,
                         struct frames_slice *ret_slice);
/* Likewise to the end of the page, or to the first row behind entry_min entries. */
FM_MUST int frames_slice_some(struct block_frames *frames, unsigned leaf, uint64_t *row,
                              uint64_t end, uint32_t entry_min, struct frames_slice *ret_slice);
FM_MUST int frames_close_columns(struct block_frames *frames, bool keep_tables);
/* The rows of a frame are known: how they are to be read. */
FM_MUST int frames_begin_rows(struct block_frames *frames);
#define FRAMES_SPARSE_MAX 2u /* rows of a narrowed row group that are read without their pages */

static inline struct fm_slice frames_bytes(const struct frames_slice *slice, uint32_t value)
{
    const struct pq_page *page = slice->page;
    return page->indexes ? slice->dictionary[page->indexes[value]] : page->bytes[value];
}

/* Levels eight at a time, in one word. */
#define FRAMES_ONES UINT64_C(0x0101010101010101)
/* 1 in each byte whose level is level, or at most level; levels are below 128. */
static inline uint64_t frames_equal_word(uint64_t word, unsigned level)
{
    return (((word ^ level * FRAMES_ONES) + 127 * FRAMES_ONES) >> 7 & FRAMES_ONES) ^ FRAMES_ONES;
}
static inline uint64_t frames_most_word(uint64_t word, unsigned level)
{
    return ((word + (127 - level) * FRAMES_ONES) >> 7 & FRAMES_ONES) ^ FRAMES_ONES;
}
static inline uint32_t frames_sum_word(uint64_t ones)
{
    return (uint32_t)(ones * FRAMES_ONES >> 56);
}
/* How many of the levels are level, or at most level. */
uint32_t frames_count_equal(const uint8_t *levels, uint32_t count, unsigned level);
uint32_t frames_count_most(const uint8_t *levels, uint32_t count, unsigned level);

/* ---- frames_field.c ---- */

void frames_field_init(struct block_frames *frames, struct frames_field *own,
                       const struct traceql_field *field, enum traceql_type guess);
void frames_field_fini(struct frames_field *own);
/* Which parts the present row group has. */
FM_MUST int frames_field_resolve(struct block_frames *frames, struct frames_field *own);
/* The list of attributes of a domain; 0: it has none. */
unsigned frames_list(enum traceql_scope scope);

/* ---- frames_vector.c ---- */

FM_MUST int frames_load(struct block_frames *frames, struct frames_field *own,
                        const uint8_t *wanted, struct frame_vector *ret_vector);
/* The code of one value of a slice of part. */
FM_MUST int frames_value_code(struct block_frames *frames, struct frames_field *own,
                              struct frames_part *part, unsigned leaf,
                              const struct frames_slice *slice, uint32_t value, uint32_t *ret_code);
/* Of count values from value on: the value itself, or an array. */
FM_MUST int frames_list_code(struct block_frames *frames, struct frames_field *own,
                             struct frames_part *part, unsigned leaf,
                             const struct frames_slice *slice, uint32_t value, uint32_t count,
                             uint32_t *ret_code);
/* Instead of a code: an attribute of the key that is nil, whatever comes after it. */
#define FRAMES_NIL UINT32_MAX

/* ---- frames_keep.c ---- */

/* The present row group's rows are about to be read. */
FM_MUST int frames_keep_begin(struct block_frames *frames);
/* It is left; what tables came from stays.  last: nothing does. */
FM_MUST int frames_keep_end(struct block_frames *frames, bool last);
/* Whether the field is kept, or is now. */
FM_MUST int frames_keep_find(struct block_frames *frames, struct frames_field *own);
/* Whether it can be, at all. */
static inline bool frames_is_keepable(const struct frames_field *own)
{
    bool is_own_id = own->is_id && own->domain == FRAME_TRACE;
    return !own->is_absent && !is_own_id && own->domain <= FRAME_SPAN;
}

/* ---- frames_make.c ---- */

/* A field of the present row group, or its shape (own is NULL); NULL: it cannot be. */
struct block_kept *frames_make(struct block_frames *frames, const struct frames_field *own);

/* ---- frames_kept.c ---- */

#define FRAMES_SPAN_TARGET 8192u /* of a frame */

/* Waves from here on. */
FM_MUST int frames_kept_begin(struct block_frames *frames);
/* frames_fill() out of a shape. */
FM_MUST int frames_kept_fill(struct block_frames *frames);
FM_MUST int frames_kept_load(struct block_frames *frames, struct frames_field *own);
/* Moves to the next row of a frame with gaps; returns where those behind it without one end. */
uint64_t frames_kept_next(const struct block_frames *frames, uint64_t *row);
/* Elements of a domain in rows. */
static inline uint32_t frames_first(const struct frames_shape *shape, enum frame_domain domain,
                                    uint32_t row)
{
    return domain == FRAME_TRACE      ? row
           : domain == FRAME_RESOURCE ? shape->row_resources[row]
           : domain == FRAME_SCOPE    ? shape->row_scopes[row]
                                      : shape->row_spans[row];
}

/* ---- frames_pack.c ---- */

/* How count numbers are to be stored. */
struct frames_pack frames_pack_plan(const int64_t *numbers, uint32_t count);
void frames_pack_put(struct frames_pack *pack, const int64_t *numbers, uint32_t count,
                     uint8_t *bytes);
#define FRAMES_PACK_LANES 8u /* as many more, less one, are read and written by these: */
/* From number from on. */
void frames_unpack(const struct frames_pack *pack, uint32_t from, uint32_t count, int64_t *target);
/* Likewise into 32 bits, with add to each; base is 0. */
void frames_unpack_codes(const struct frames_pack *pack, uint32_t from, uint32_t count,
                         uint32_t add, uint32_t *target);

/* ---- frames_attribute.c ---- */

/* Fills the codes that are 0. */
FM_MUST int frames_load_attribute(struct block_frames *frames, struct frames_field *own,
                                  struct frames_part *part, const uint8_t *wanted);

/* ---- frames_table.c ---- */

void frames_table_fini(struct frames_table *table);
/* Makes it a table with nil in it, if it is none yet. */
FM_MUST int frames_table_open(struct block_frames *frames, struct frames_table *table);
/* The code of value, which is not nil; a new one is copied. */
FM_MUST int frames_table_put(struct block_frames *frames, struct frames_table *table,
                             const struct traceql_value *value, uint32_t *ret_code);
/* From the arena, within the limit. */
FM_MUST int frames_alloc(struct block_frames *frames, size_t size, void **ret_ptr);
/* The dictionary of an open column as a table. */
FM_MUST int frames_direct(struct block_frames *frames, struct frames_column *column);

/* ---- frames_values.c ---- */

FM_MUST int frames_visit_names(struct block_frames *frames, enum traceql_scope scope,
                               frame_visit_name *visit, void *self);
FM_MUST int frames_visit_values(struct block_frames *frames, uint32_t field,
                                frame_visit_value *visit, void *self);

/* ---- frames_ahead.c ---- */

/* frame_ahead(), of the present row group before its first row is read. */
FM_MUST int frames_look_ahead(struct block_frames *frames, const struct frame_search *search);

#endif
