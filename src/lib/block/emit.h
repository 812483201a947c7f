/* SPDX-License-Identifier: Apache-2.0 */
/* emit - shared by the two files that write columns.  Private. */
#ifndef BLOCK_EMIT_H
#define BLOCK_EMIT_H

#include "builder.h"

#include "fermata/parquet_put.h"

struct emit_column {
    struct pq_chunk *chunk; /* owned */
    bool has_dictionary;
    uint32_t *map;   /* owned; number of a string -> index in the dictionary + 1; NULL: none yet */
    uint32_t *added; /* owned; numbers of strings that are to be put into the dictionary next */
    uint32_t added_count, added_cap;
    uint32_t dictionary_count; /* with these */
};

struct emit_service {
    uint32_t service; /* number of the string */
    uint32_t span_count, error_count;
};

/* Whose attributes: resources and spans have columns of their own for some. */
enum emit_owner { OWNER_OTHER, OWNER_RESOURCE, OWNER_SPAN, OWNER_COUNT };

/* What a shape's attributes need, for an owner. */
struct emit_shape {
    uint32_t count;  /* without those that have columns of their own */
    uint8_t kinds;   /* bit per enum row_kind of these */
    bool has_odd;    /* some are arrays or unsupported */
    bool has_static; /* some have columns of their own */
};

/* How hard to compress a column: 2, 1 or 0 levels below what the options say, but not below 1. */
enum emit_effort { EFFORT_LEAST, EFFORT_HALF, EFFORT_FULL, EFFORT_COUNT };

/* What most groups of columns need to know of a span, so that its row need not be read. */
enum emit_mark {
    MARK_REP = 3, /* the span's repetition level */
    MARK_EVENTS = 4,
    MARK_LINKS = 8,
    MARK_DROPPED = 16, /* some of the row's counts of dropped things are not 0 */
    MARK_STATIC = 32,  /* some attribute has a column of its own */
};

#define EMIT_RUN_MAX 256u
#define EMIT_RUNS    2u

/* Spans in a row that have nothing in the leaves first to last, and nothing dropped, if counted. */
struct emit_run {
    unsigned first, last;
    unsigned dropped; /* the leaf of the count of what was dropped; 0: none */
    uint32_t count;
    uint8_t levels[EMIT_RUN_MAX]; /* of the nulls */
};

struct emit {
    const struct block_builder *builder;
    const struct sorted *sorted;
    struct nested *nested;
    struct block_census *census;
    struct pq_leaf leaves[LEAF_COUNT];
    struct emit_column columns[LEAF_COUNT];
    struct emit_shape *shapes[OWNER_COUNT];       /* owned; by number of a shape */
    struct codec_encoder *encoders[EFFORT_COUNT]; /* owned; shared by the chunks */
    struct pq_press *press;                       /* owned; likewise */
    uint8_t *marks;                             /* owned; enum emit_mark by place in sorted->rows */
    struct pq_cursor cursors[ATTRIBUTE_LEAVES]; /* of the seven leaves at cursors_first */
    unsigned cursors_first;                     /* 0: not open */
    struct emit_run runs[EMIT_RUNS];            /* empty when pages are cut */
    int rc;
    /* Facts of traces: */
    uint32_t *resource_service;    /* owned; by number of a resource: its service.name */
    uint32_t *service_slot;        /* owned; by number of a string: place in services + 1 */
    struct emit_service *services; /* owned; of the trace at hand */
    uint32_t service_count, service_cap;
};

enum { LEVEL_RESOURCE = 1, LEVEL_SCOPE = 2, LEVEL_SPAN = 3, LEVEL_PIECE = 4 };

/* Rows are scattered over the heap: ask for them this many spans ahead. */
#define EMIT_PREFETCH 12

/* ---- attribute.c: values and lists of attributes ---- */

uint32_t emit_dictionary_add(struct emit *emit, struct emit_column *column, uint32_t string);
/* Puts what was added into the chunk's dictionary, before its page is cut. */
void emit_dictionary_flush(struct emit *emit, struct emit_column *column);
/* Puts the texts of spans in, in the order that compresses best.  Before the first value. */
FM_MUST int emit_dictionary_arrange(struct emit *emit, struct emit_column *column);
static inline uint32_t emit_dictionary_index(struct emit *emit, struct emit_column *column,
                                             uint32_t string)
{
    uint32_t index = FM_LIKELY(column->map) ? column->map[string] : 0;
    return FM_LIKELY(index) ? index - 1 : emit_dictionary_add(emit, column, string);
}
static inline void emit_string(struct emit *emit, unsigned leaf, unsigned rep, uint32_t string)
{
    struct emit_column *column = &emit->columns[leaf];
    if (column->has_dictionary)
        pq_put_index(column->chunk, rep, emit_dictionary_index(emit, column, string));
    else
        pq_put_bytes(column->chunk, rep, intern_get(&emit->builder->strings, string));
}
static inline void emit_null(struct emit *emit, unsigned leaf, unsigned rep, unsigned def)
{
    pq_put_null(emit->columns[leaf].chunk, rep, def);
}
static inline void emit_i32(struct emit *emit, unsigned leaf, unsigned rep, int32_t value)
{
    pq_put_i32(emit->columns[leaf].chunk, rep, value);
}
static inline void emit_i64(struct emit *emit, unsigned leaf, unsigned rep, uint64_t value)
{
    pq_put_i64(emit->columns[leaf].chunk, rep, (int64_t)value);
}
/* Whether the attribute has a column of its own: it must then be there and nowhere else. */
static inline bool emit_is_static(enum emit_owner owner, uint32_t member)
{
    uint32_t key = member >> ROW_KIND_BITS, kind = member & ((1u << ROW_KIND_BITS) - 1);
    if (FM_LIKELY(key >= STRING_KNOWN_COUNT || owner == OWNER_OTHER))
        return false;
    if (owner == OWNER_RESOURCE)
        return kind == ROW_STRING && key >= STRING_SERVICE_NAME && key < STRING_HTTP_METHOD;
    return key == STRING_HTTP_STATUS
               ? kind == ROW_INT
               : kind == ROW_STRING && (key == STRING_HTTP_METHOD || key == STRING_HTTP_URL);
}
const uint8_t *emit_skip_values(const struct emit *emit, uint32_t shape, const uint8_t *ptr);
/* The generic attributes of a shape into the seven leaves at first; level: of one attribute.
 * Returns the end of the values.  emit_attributes_close before their pages are cut. */
const uint8_t *emit_attributes(struct emit *emit, unsigned first, unsigned rep, unsigned level,
                               enum emit_owner owner, uint32_t shape, const uint8_t *ptr);
void emit_attributes_close(struct emit *emit);
FM_MUST int emit_shapes_init(struct emit *emit);

struct emit_link {
    struct fm_slice trace, span;
    uint32_t state, dropped, shape;
};
/* The link count of a row, NULL if it has no links; then link after link (the values follow). */
const uint8_t *emit_links_of(const struct emit *emit, const struct row *row);
const uint8_t *emit_read_link(const uint8_t *ptr, struct emit_link *ret_link);

/* facts.c: the columns of the trace itself. */
FM_MUST int emit_facts_init(struct emit *emit);
void emit_facts_fini(struct emit *emit);
void emit_trace_group(struct emit *emit, const struct sorted_trace *trace);

#endif
