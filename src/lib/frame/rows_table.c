/* SPDX-License-Identifier: Apache-2.0 */
/* Open addressing over values that are never removed; at most three quarters full. */
#include "rows.h"

#include <stdlib.h>

#include "fermata/hash.h"

#define ROWS_CHUNK_MIN FM_KIB(1)
#define ROWS_CHUNK_MAX FM_KIB(64)
#define ROWS_SLOTS_MIN 64u

void *rows_realloc(struct rows_pool *pool, void *ptr, size_t old_size, size_t size)
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

void rows_release(struct rows_pool *pool, void *ptr, size_t size)
{
    if (!ptr)
        return;
    free(ptr);
    pool->used_bytes -= size;
}

bool rows_grow(struct rows_pool *pool, void **items, uint32_t count, uint32_t *cap, size_t size)
{
    if (FM_LIKELY(count < *cap))
        return true;
    if (*cap >= ROWS_VALUES_MAX) {
        pool->rc = FM_ELIMIT;
        return false;
    }
    uint32_t wider = FM_MAX(*cap + *cap / 2, 32u);
    void *grown = rows_realloc(pool, *items, *cap * size, wider * size);
    if (!grown)
        return false;
    *items = grown;
    *cap = wider;
    return true;
}

bool rows_table_init(struct rows_table *table, struct rows_pool *pool, uint64_t seed)
{
    *table = (struct rows_table){.pool = pool, .seed = seed};
    table->slots = rows_realloc(pool, NULL, 0, ROWS_SLOTS_MIN * sizeof *table->slots);
    if (!table->slots)
        return false;
    memset(table->slots, 0, ROWS_SLOTS_MIN * sizeof *table->slots);
    table->slot_count = ROWS_SLOTS_MIN;
    table->cap = ROWS_SLOTS_MIN / 2;
    table->values = rows_realloc(pool, NULL, 0, table->cap * sizeof *table->values);
    table->hashes = rows_realloc(pool, NULL, 0, table->cap * sizeof *table->hashes);
    if (!table->values || !table->hashes)
        return false;
    table->values[0] = (struct traceql_value){.type = TRACEQL_NIL};
    table->hashes[0] = 0;
    table->count = 1;
    return true;
}

void rows_table_fini(struct rows_table *table)
{
    if (!table->pool)
        return;
    rows_release(table->pool, fm_take(table->values), table->cap * sizeof *table->values);
    rows_release(table->pool, fm_take(table->hashes), table->cap * sizeof *table->hashes);
    rows_release(table->pool, fm_take(table->slots), table->slot_count * sizeof *table->slots);
    for (struct rows_chunk *chunk = fm_take(table->chunks); chunk;) {
        struct rows_chunk *next = chunk->next;
        rows_release(table->pool, chunk, sizeof *chunk + chunk->size);
        chunk = next;
    }
    *table = (struct rows_table){0};
}

static void *rows_table_room(struct rows_table *table, size_t len, size_t align)
{
    struct rows_chunk *chunk = table->chunks;
    size_t at = chunk ? (chunk->used + align - 1) & ~(align - 1) : 0;
    if (!chunk || at > chunk->size || chunk->size - at < len) {
        size_t size = chunk ? FM_MIN(chunk->size * 2, ROWS_CHUNK_MAX) : ROWS_CHUNK_MIN;
        size = FM_MAX(size, len);
        chunk = rows_realloc(table->pool, NULL, 0, sizeof *chunk + size);
        if (!chunk)
            return NULL;
        *chunk = (struct rows_chunk){.next = table->chunks, .size = size};
        table->chunks = chunk;
        at = 0;
    }
    chunk->used = at + len;
    return chunk->bytes + at;
}

static uint32_t rows_mix(uint64_t number)
{
    number = (number ^ number >> 31) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(number >> 32 ^ number);
}

uint32_t rows_table_hash(const struct rows_table *table, const struct traceql_value *value)
{
    uint64_t number;
    switch (value->type) {
    case TRACEQL_STRING:
        return (uint32_t)fm_hash64(value->text, table->seed);
    case TRACEQL_FLOAT:
        memcpy(&number, &value->number, sizeof number);
        return rows_mix(number ^ table->seed);
    case TRACEQL_BOOL:
        return rows_mix(value->flag ^ table->seed << 1);
    case TRACEQL_ARRAY:
        number = value->element_count;
        for (uint32_t i = 0; i < value->element_count; i++)
            number = number * 31 + rows_table_hash(table, &value->elements[i]);
        return rows_mix(number);
    default:
        return rows_mix((uint64_t)value->integer + table->seed);
    }
}

static bool rows_value_equal_long(const struct traceql_value *a, const struct traceql_value *b)
{
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case TRACEQL_STRING:
        return a->text.len == b->text.len && memcmp(a->text.ptr, b->text.ptr, a->text.len) == 0;
    case TRACEQL_FLOAT: /* by its bits */
        return memcmp(&a->number, &b->number, sizeof a->number) == 0;
    case TRACEQL_BOOL:
        return a->flag == b->flag;
    case TRACEQL_ARRAY:
        if (a->element_count != b->element_count)
            return false;
        for (uint32_t i = 0; i < a->element_count; i++)
            if (!rows_value_equal_long(&a->elements[i], &b->elements[i]))
                return false;
        return true;
    default:
        return a->integer == b->integer;
    }
}

static inline bool rows_value_equal(const struct traceql_value *a, const struct traceql_value *b)
{
    if (FM_LIKELY(a->type == TRACEQL_STRING && b->type == TRACEQL_STRING))
        return a->text.len == b->text.len &&
               rows_bytes_equal(a->text.ptr, b->text.ptr, a->text.len);
    return rows_value_equal_long(a, b);
}

uint32_t rows_table_find(const struct rows_table *table, const struct traceql_value *value,
                         uint32_t hash)
{
    uint32_t mask = table->slot_count - 1;
    for (uint32_t at = hash & mask;; at = (at + 1) & mask) {
        uint32_t slot = table->slots[at];
        if (!slot)
            return 0;
        if ((slot ^ hash) & ~mask)
            continue;
        uint32_t code = slot & mask;
        if (table->hashes[code] == hash && rows_value_equal(&table->values[code], value))
            return code;
    }
}

static void rows_table_enter(uint32_t *slots, uint32_t mask, uint32_t hash, uint32_t code)
{
    uint32_t at = hash & mask;
    while (slots[at])
        at = (at + 1) & mask;
    slots[at] = (hash & ~mask) | code;
}

static bool rows_table_grow(struct rows_table *table)
{
    if (table->count == table->cap) {
        uint32_t cap = table->cap + table->cap / 2;
        void *values = rows_realloc(table->pool, table->values, table->cap * sizeof *table->values,
                                    cap * sizeof *table->values);
        if (!values)
            return false;
        table->values = values;
        void *hashes = rows_realloc(table->pool, table->hashes, table->cap * sizeof *table->hashes,
                                    cap * sizeof *table->hashes);
        if (!hashes) {
            /* Both have one capacity: what the values gained is given back to the account only. */
            table->pool->used_bytes -= (cap - table->cap) * sizeof *table->values;
            return false;
        }
        table->hashes = hashes;
        table->cap = cap;
    }
    if ((uint64_t)table->count * 4 < (uint64_t)table->slot_count * 3)
        return true;
    uint32_t slot_count = table->slot_count * 2;
    if (slot_count > ROWS_VALUES_MAX) {
        table->pool->rc = FM_ELIMIT;
        return false;
    }
    uint32_t *slots = rows_realloc(table->pool, NULL, 0, slot_count * sizeof *slots);
    if (!slots)
        return false;
    memset(slots, 0, slot_count * sizeof *slots);
    for (uint32_t i = 1; i < table->count; i++)
        rows_table_enter(slots, slot_count - 1, table->hashes[i], i);
    rows_release(table->pool, table->slots, table->slot_count * sizeof *slots);
    table->slots = slots;
    table->slot_count = slot_count;
    return true;
}

static bool rows_table_copy(struct rows_table *table, struct traceql_value *value)
{
    if (value->type == TRACEQL_STRING) {
        uint8_t *copy = rows_table_room(table, value->text.len, 1);
        if (!copy)
            return false;
        if (value->text.len)
            memcpy(copy, value->text.ptr, value->text.len);
        value->text.ptr = copy;
    } else if (value->type == TRACEQL_ARRAY) {
        size_t size = value->element_count * sizeof *value->elements;
        struct traceql_value *elements = rows_table_room(table, size, 16);
        if (!elements)
            return false;
        memcpy(elements, value->elements, size);
        value->elements = elements;
        for (uint32_t i = 0; i < value->element_count; i++)
            if (!rows_table_copy(table, &elements[i])) /* elements are no arrays */
                return false;
    }
    return true;
}

uint32_t rows_table_put(struct rows_table *table, const struct traceql_value *value, uint32_t hash)
{
    uint32_t known = rows_table_find(table, value, hash);
    if (FM_LIKELY(known))
        return known;
    struct traceql_value copy = *value;
    if (!rows_table_grow(table) || !rows_table_copy(table, &copy))
        return 0;
    rows_table_enter(table->slots, table->slot_count - 1, hash, table->count);
    table->values[table->count] = copy;
    table->hashes[table->count] = hash;
    return table->count++;
}

uint32_t rows_table_bytes(struct rows_table *table, struct fm_slice bytes)
{
    struct traceql_value value = rows_text(bytes);
    return rows_table_put(table, &value, rows_table_hash(table, &value));
}
