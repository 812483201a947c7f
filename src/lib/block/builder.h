/* SPDX-License-Identifier: Apache-2.0 */
/* builder - the state between block_builder_add and the finished block.  Private.
 *
 *   add.c     one walk over OTLP bytes, rows and interned strings come out
 *   sort.c    rows by trace, resource, scope and arrival; repeats dropped
 *   emit.c    columns, group of columns after group of columns
 *   dictionary.c  the order of the texts of spans
 *   build.c   life of the object, the file around the columns, blooms, meta
 */
#ifndef BLOCK_BUILDER_H
#define BLOCK_BUILDER_H

#include "intern.h"
#include "nested.h"
#include "rows.h"
#include "schema.h"

#include "fermata/block.h"

/* Strings that have these numbers in every builder. */
enum builder_string {
    STRING_EMPTY,
    STRING_SERVICE_NAME,
    STRING_RESOURCE_STATIC,
    STRING_HTTP_METHOD = STRING_RESOURCE_STATIC + SCHEMA_RESOURCE_STATICS,
    STRING_HTTP_URL,
    STRING_HTTP_STATUS,
    STRING_REF_TYPE,
    STRING_CHILD_OF,
    STRING_KNOWN_COUNT
};

/* Attributes of one resource, scope, span, event or link while they are read. */
struct attribute_list {
    struct fm_buf shape;  /* u32 each: key << 3 | kind */
    struct fm_buf values; /* as in a row */
    bool of_span;
};

/* Texts that no one had before they came as the value of a span's attribute. */
struct builder_text {
    uint32_t string, key;
};
struct builder_texts {
    struct builder_text *items; /* owned */
    uint32_t count, cap;
};

/* An attribute between its reading and the interning of its texts. */
struct attribute_pair {
    struct fm_slice value; /* the text, else the AnyValue */
    uint32_t key;          /* number of the string */
    uint32_t text_hash;
    bool is_text;
};
#define BUILDER_PAIR_MAX 32
#define BUILDER_KEYS     1024u

struct block_builder {
    struct block_options options;
    struct pool pool;
    struct intern strings;
    struct intern shapes;    /* u32 list, memory order */
    struct intern resources; /* dropped, shape, values */
    struct intern scopes;    /* name, version, dropped, shape, values */
    struct intern groups;    /* u32 resource, u32 scope */
    struct intern traces;    /* 16 bytes */
    struct heap rows;
    struct builder_texts texts;
    uint64_t span_count;
    uint64_t base_ns; /* start of the first span */
    uint64_t received_ns, latest_ns; /* block_builder_bound; 0: every time counts */
    bool has_base;
    struct attribute_list list;  /* of the span, resource or scope at hand */
    struct attribute_list inner; /* of its event or link */
    struct fm_buf row;           /* being put together */
    struct fm_buf pieces;        /* struct walk_field each: events and links of the span at hand */
    struct fm_buf text;          /* repaired strings, JSON of values */
    struct attribute_pair pairs[BUILDER_PAIR_MAX];
    unsigned pair_count;
    uint32_t last_key;                /* of the list at hand, 0 at its start */
    uint32_t key_after[BUILDER_KEYS]; /* by the last key's low bits: the one that came next */
};

/* ---- sort.c ---- */

/* Scratch of arrange_trace; zero-initialised. */
struct arrange {
    struct arrange_group *groups; /* owned */
    const uint8_t **rows;         /* owned */
    uint32_t capacity;            /* of both */
};
/* Reorders the rows of one trace, which come ordered by resource and scope. */
FM_MUST int arrange_trace(const struct block_builder *builder, struct arrange *arrange,
                          const uint8_t **rows, uint32_t count);
void arrange_fini(struct arrange *arrange);

struct sorted_trace {
    uint32_t trace; /* number in builder->traces */
    uint32_t span_count;
    uint64_t first; /* in sorted.rows */
};
struct sorted {
    const uint8_t **rows;        /* owned; in the order of the file */
    struct sorted_trace *traces; /* owned; ascending by id */
    uint64_t span_count;
    uint32_t trace_count;
    uint64_t duplicate_count;
};
FM_MUST int builder_sort(const struct block_builder *builder, struct nested *nested,
                         struct sorted *ret_sorted);
void sorted_fini(struct sorted *sorted);

/* ---- emit.c ---- */

static inline uint32_t builder_load_u32(const uint8_t *ptr)
{
    uint32_t value;
    memcpy(&value, ptr, sizeof value);
    return value;
}
static inline void builder_group(const struct block_builder *builder, uint32_t group,
                                 uint32_t *ret_resource, uint32_t *ret_scope)
{
    const uint8_t *ptr = builder->groups.entries[group].ptr;
    *ret_resource = builder_load_u32(ptr);
    *ret_scope = builder_load_u32(ptr + 4);
}
/* Writes the traces [first, first + count) as one row group. */
FM_MUST int builder_emit(const struct block_builder *builder, const struct sorted *sorted,
                         struct nested *nested, uint32_t first, uint32_t count,
                         struct pq_writer *writer, struct block_census *census);

#endif
