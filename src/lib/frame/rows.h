/* SPDX-License-Identifier: Apache-2.0 */
/* rows - the spans behind frame_rows, everything interned.  Private.
 *
 *   rows_table.c   values to dense numbers (codes), and the memory account
 *   rows_add.c     one walk over OTLP bytes; spans come out in order of arrival
 *   rows_value.c   attributes: shapes and codes
 *   rows_finish.c  order of traces, repeats dropped, what a trace is as a whole
 *   rows_nested.c  nested set numbers
 *   rows_source.c  frames and their vectors
 *
 * A shape is the list of an owner's attribute keys, so that an owner stores a code per attribute
 * only: codes[owner.codes + place of the key in its shape].
 */
#ifndef FRAME_ROWS_H
#define FRAME_ROWS_H

#include "fermata/frame.h"

/* What rows may hold.  Failures stick in rc: FM_ENOMEM, or FM_ELIMIT at the limit. */
struct rows_pool {
    size_t used_bytes, bytes_max;
    int rc;
};
void *rows_realloc(struct rows_pool *pool, void *ptr, size_t old_size, size_t size);
void rows_release(struct rows_pool *pool, void *ptr, size_t size);
/* Makes room for one more item of *items. */
bool rows_grow(struct rows_pool *pool, void **items, uint32_t count, uint32_t *cap, size_t size);

/* Bytes that never move. */
struct rows_chunk {
    struct rows_chunk *next;
    size_t size, used;
    uint8_t bytes[] __attribute__((aligned(16)));
};

/* Distinct values by code, in the order they came; code 0 is nil. */
struct rows_table {
    struct rows_pool *pool;       /* borrowed */
    struct rows_chunk *chunks;    /* owned, newest first */
    struct traceql_value *values; /* owned */
    uint32_t *hashes;             /* owned */
    uint32_t count, cap;
    uint32_t *slots; /* owned; code in the bits of slot_count - 1, the hash's above */
    uint32_t slot_count;
    uint64_t seed;
};
/* False: see pool->rc. */
bool rows_table_init(struct rows_table *table, struct rows_pool *pool, uint64_t seed);
void rows_table_fini(struct rows_table *table);
uint32_t rows_table_hash(const struct rows_table *table, const struct traceql_value *value);
/* The code, new or known; a new value is copied.  0: see pool->rc.  value is not nil. */
uint32_t rows_table_put(struct rows_table *table, const struct traceql_value *value, uint32_t hash);
uint32_t rows_table_find(const struct rows_table *table, const struct traceql_value *value,
                         uint32_t hash);
uint32_t rows_table_bytes(struct rows_table *table, struct fm_slice bytes);
/* memcmp without a call for the short texts that most are. */
static inline bool rows_bytes_equal(const uint8_t *a, const uint8_t *b, size_t len)
{
    if (len > 32)
        return memcmp(a, b, len) == 0;
    uint64_t differs = 0;
    for (; len >= 8; a += 8, b += 8, len -= 8)
        differs |= fm_load_le64(a) ^ fm_load_le64(b);
    if (len >= 4) {
        differs |= fm_load_le32(a) ^ fm_load_le32(b);
        a += 4;
        b += 4;
        len -= 4;
    }
    while (len--)
        differs |= *a++ ^ *b++;
    return differs == 0;
}
static inline void rows_table_prefetch(const struct rows_table *table, uint32_t hash)
{
    __builtin_prefetch(&table->slots[hash & (table->slot_count - 1)]);
}
/* After that, when the slot may have come. */
static inline void rows_table_prefetch_value(const struct rows_table *table, uint32_t hash)
{
    uint32_t mask = table->slot_count - 1, slot = table->slots[hash & mask];
    __builtin_prefetch(&table->values[slot & mask]);
    __builtin_prefetch(&table->hashes[slot & mask]);
}
static inline struct traceql_value rows_text(struct fm_slice text)
{
    return (struct traceql_value){.type = TRACEQL_STRING, .text = text};
}

struct rows_list {  /* attributes of an owner */
    uint32_t shape; /* code of table shapes: u32 keys, each a code of values */
    uint32_t codes; /* first, in frame_rows.codes */
};
struct rows_span {
    uint64_t id, parent; /* as they lie in memory; parent 0: root */
    uint64_t start_ns, duration_ns;
    uint32_t trace;         /* until finish the code in trace_ids, then the place */
    uint32_t group;         /* code in groups */
    uint32_t name, message; /* codes of values */
    struct rows_list list;
    uint32_t events, event_count; /* first, in events */
    uint32_t links, link_count;
    int32_t kind, status;
    int32_t left, right, parent_left, child_count;
    bool has_parent_link; /* to its own trace */
};
struct rows_event {
    uint64_t since_start_ns;
    struct rows_list list;
    uint32_t name;
};
struct rows_link {
    struct rows_list list;
    uint32_t trace, span; /* codes of their texts */
};
struct rows_resource {
    struct rows_list list;
    uint32_t service; /* code of the text, of "" if it has none */
};
struct rows_scope {
    struct rows_list list;
    uint32_t name, version;
};
struct rows_trace {
    struct trace_id id;
    uint32_t first, span_count;
    uint64_t start_ns, end_ns;
    uint32_t root_service, root_name; /* codes; of "" if there is no root */
};

/* An attribute between its reading and the interning of its value. */
struct rows_pair {
    struct fm_slice any_value;
    uint32_t key, hash;
    bool is_text; /* any_value is the text */
};
#define ROWS_PAIRS      128u /* of an owner, before it takes the long way */
#define ROWS_KEYS       1024u
#define ROWS_FRAME      4096u /* spans, at least, but for the last */
#define ROWS_VALUES_MAX (UINT32_C(1) << 28)

struct frame_rows {
    struct rows_pool pool;
    struct rows_table values;
    struct rows_table shapes, contents, groups, trace_ids; /* byte strings */
    uint32_t *codes;                                       /* owned */
    uint32_t code_count, code_cap;
    struct rows_span *spans; /* owned */
    uint32_t span_count, span_cap;
    struct rows_event *events; /* owned */
    uint32_t event_count, event_cap;
    struct rows_link *links; /* owned */
    uint32_t link_count, link_cap;
    struct rows_resource *resources; /* owned */
    uint32_t resource_count, resource_cap;
    struct rows_scope *scopes; /* owned */
    uint32_t scope_count, scope_cap;
    uint32_t *content_numbers; /* owned; by code of contents: index of its resource or scope */
    uint32_t content_cap;
    uint8_t *shape_domains; /* owned; by code of shapes: bits of enum frame_domain */
    uint32_t shape_cap;
    struct rows_trace *traces; /* owned; of finish */
    uint32_t trace_count;
    bool finished;
    /* While adding. */
    uint32_t empty; /* code of "" */
    uint32_t service_key, ref_type_key, child_of;
    uint32_t last_key;             /* of the list at hand, 0 at its start */
    uint32_t key_after[ROWS_KEYS]; /* by the last key's low bits: the one that came next */
    struct rows_pair *pairs;       /* owned; of the list at hand */
    uint32_t pair_count, pair_cap;
    uint32_t *keys; /* owned; the shape of the list at hand */
    uint32_t key_cap;
    struct fm_buf text;     /* repaired strings, hex */
    struct fm_buf identity; /* content of the resource or scope at hand */
};

/* ---- rows_value.c ---- */

void rows_begin_list(struct frame_rows *rows);
FM_MUST int rows_add_attribute(struct frame_rows *rows, struct fm_slice key_value);
/* Interns what was added; domain: whose attributes they are. */
FM_MUST int rows_end_list(struct frame_rows *rows, enum frame_domain domain,
                          struct rows_list *ret_list);
/* The code of a text that may have to be mended; 0: see pool.rc. */
uint32_t rows_string(struct frame_rows *rows, struct fm_slice text);
/* Place of key in a shape, UINT32_MAX if it has none. */
uint32_t rows_shape_place(const struct frame_rows *rows, uint32_t shape, uint32_t key);
/* The code of an owner's attribute; 0: nil. */
uint32_t rows_attribute(const struct frame_rows *rows, const struct rows_list *list, uint32_t key);

/* ---- rows_nested.c ---- */

/* Scratch for one trace after another; zero-initialised. */
struct rows_nested {
    struct rows_node *nodes; /* owned */
    uint32_t node_cap;
    uint32_t *slots; /* owned; open addressing over ids, index + 1 */
    uint32_t slot_cap, slot_count;
};
void rows_nested_fini(struct rows_nested *nested, struct rows_pool *pool);
/* Drops spans that repeat an id and kind; order[0, *count) are indexes of spans. */
FM_MUST int rows_nested_unique(struct rows_nested *nested, struct rows_pool *pool,
                               const struct rows_span *spans, uint32_t *order, uint32_t *count);
FM_MUST int rows_nested_number(struct rows_nested *nested, struct rows_pool *pool,
                               struct rows_span *spans, uint32_t count);

/* Of a code in groups. */
static inline void rows_group(const struct frame_rows *rows, uint32_t group, uint32_t *ret_resource,
                              uint32_t *ret_scope)
{
    const uint8_t *ptr = rows->groups.values[group].text.ptr;
    memcpy(ret_resource, ptr, 4);
    memcpy(ret_scope, ptr + 4, 4);
}

#endif
