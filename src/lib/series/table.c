/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of a query, and the two tables that turn values into small numbers. */
#include "internal.h"

#include <math.h>

#include "fermata/hash.h"

size_t series_room(const struct series *series)
{
    size_t used = series->arena.used_bytes + series->scratch.arena.used_bytes;

    return used < series->limits.memory_max ? series->limits.memory_max - used : 0;
}

int series_alloc(struct series *series, size_t size, void *ret_ptr)
{
    /* What is free in the newest chunk is not known here: it may fit though there is no room. */
    bool fits = size + 16 <= series_room(series);
    void *ptr = fm_arena_zalloc(&series->arena, size);

    if (!ptr && fits)
        return fm_fail(series->why, FM_ENOMEM, "out of memory");
    if (!ptr)
        return fm_fail(series->why, FM_ELIMIT, "the metrics query needs more than %zu bytes",
                       series->limits.memory_max);
    memcpy(ret_ptr, &ptr, sizeof ptr); /* whatever it points to */
    return FM_OK;
}

int series_grow(struct series *series, void *array, uint32_t count, uint32_t *capacity, size_t size)
{
    uint32_t wanted = *capacity ? 2 * *capacity : 16;
    void *old, *grown;
    int rc;

    if (count < *capacity)
        return FM_OK;
    if (wanted <= *capacity)
        return fm_fail(series->why, FM_ELIMIT, "too many series");
    if ((rc = series_alloc(series, size * wanted, &grown)) < 0)
        return rc;
    memcpy(&old, array, sizeof old);
    if (count)
        memcpy(grown, old, size * count);
    memcpy(array, &grown, sizeof grown);
    *capacity = wanted;
    return FM_OK;
}

int series_steps(struct series *series, double fill, double **ret_values)
{
    double *values;
    int rc = series_alloc(series, sizeof *values * series->step_count, &values);

    if (rc < 0)
        return rc;
    for (uint32_t i = 0; fill != 0 && i < series->step_count; i++)
        values[i] = fill;
    *ret_values = values;
    return FM_OK;
}

/* ---- values ---- */

static uint64_t series_mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ (hash >> 32);
}

static uint64_t series_scalar_hash(const struct traceql_value *value)
{
    uint64_t bits = 0;

    if (value->type == TRACEQL_STRING)
        bits = fm_hash64(value->text, 0x5e);
    else if (value->type == TRACEQL_BOOL)
        bits = value->flag;
    else if (value->type != TRACEQL_NIL)
        memcpy(&bits, &value->integer, sizeof bits); /* a float by its bits */
    return series_mix(value->type, bits);
}

static uint64_t series_value_hash(const struct traceql_value *value)
{
    uint64_t hash = TRACEQL_ARRAY;

    if (value->type != TRACEQL_ARRAY)
        return series_scalar_hash(value);
    for (uint32_t i = 0; i < value->element_count; i++)
        hash = series_mix(hash, series_scalar_hash(&value->elements[i]));
    return hash;
}

static int series_compare_numbers(double a, double b)
{
    return a < b ? -1 : a > b;
}

/* Statuses and kinds stand in the order of their names. */
static int64_t series_rank(const struct traceql_value *value)
{
    static const uint8_t statuses[] = {2, 1, 0};       /* unset, ok, error */
    static const uint8_t kinds[] = {5, 2, 4, 0, 3, 1}; /* unspecified, internal, ... */
    uint64_t number = (uint64_t)value->integer;

    if (value->type == TRACEQL_STATUS && number < FM_COUNT(statuses))
        return statuses[number];
    if (value->type == TRACEQL_KIND && number < FM_COUNT(kinds))
        return kinds[number];
    return value->integer;
}

static int series_scalar_compare(const struct traceql_value *a, const struct traceql_value *b)
{
    if (a->type != b->type)
        return a->type < b->type ? -1 : 1;
    switch (a->type) {
    case TRACEQL_STRING:
        return fm_slice_compare(a->text, b->text);
    case TRACEQL_BOOL:
        return (int)a->flag - (int)b->flag;
    case TRACEQL_FLOAT:
        if (a->number != b->number && !isnan(a->number) && !isnan(b->number))
            return series_compare_numbers(a->number, b->number);
        return memcmp(&a->number, &b->number, sizeof a->number);
    case TRACEQL_NIL:
        return 0;
    default:
        return series_rank(a) < series_rank(b) ? -1 : series_rank(a) > series_rank(b);
    }
}

int series_value_compare(const struct traceql_value *a, const struct traceql_value *b)
{
    if (a->type != TRACEQL_ARRAY || b->type != TRACEQL_ARRAY)
        return series_scalar_compare(a, b);
    for (uint32_t i = 0; i < a->element_count && i < b->element_count; i++) {
        int order = series_scalar_compare(&a->elements[i], &b->elements[i]);
        if (order)
            return order;
    }
    return series_compare_numbers(a->element_count, b->element_count);
}

static int series_text_keep(struct series *series, struct fm_slice text, struct fm_slice *ret_text)
{
    void *copy = NULL;
    int rc = text.len ? series_alloc(series, text.len, &copy) : FM_OK;

    if (rc < 0)
        return rc;
    if (text.len)
        memcpy(copy, text.ptr, text.len);
    *ret_text = fm_slice(copy, text.len);
    return FM_OK;
}

/* A copy that outlives its source. */
static int series_value_keep(struct series *series, const struct traceql_value *value,
                             struct traceql_value *ret_value)
{
    struct traceql_value kept = *value, *elements;
    int rc = FM_OK;

    if (value->type == TRACEQL_STRING) {
        rc = series_text_keep(series, value->text, &kept.text);
    } else if (value->type == TRACEQL_ARRAY) {
        rc = series_alloc(series, sizeof *elements * value->element_count, &elements);
        for (uint32_t i = 0; rc == FM_OK && i < value->element_count; i++) {
            elements[i] = value->elements[i];
            if (elements[i].type == TRACEQL_STRING)
                rc = series_text_keep(series, elements[i].text, &elements[i].text);
        }
        if (rc == FM_OK)
            kept.elements = elements;
    }
    if (rc < 0)
        return rc;
    *ret_value = kept;
    return FM_OK;
}

static int series_values_rehash(struct series *series)
{
    struct series_values *table = &series->values;
    uint32_t size = table->mask ? 2 * (table->mask + 1) : 64;
    uint32_t *slots;
    int rc = series_alloc(series, sizeof *slots * size, &slots);

    if (rc < 0)
        return rc;
    memset(slots, 0xff, sizeof *slots * size);
    for (uint32_t i = 0; i < table->count; i++) {
        uint32_t slot = (uint32_t)table->hashes[i] & (size - 1);
        while (slots[slot] != SERIES_NONE)
            slot = (slot + 1) & (size - 1);
        slots[slot] = i;
    }
    table->slots = slots;
    table->mask = size - 1;
    return FM_OK;
}

static int series_values_append(struct series *series, const struct traceql_value *value,
                                uint64_t hash)
{
    struct series_values *table = &series->values;
    uint32_t hash_capacity = table->capacity;
    struct traceql_value kept;
    int rc = series_value_keep(series, value, &kept);

    if (rc == FM_OK)
        rc = series_grow(series, &table->hashes, table->count, &hash_capacity, sizeof(uint64_t));
    if (rc == FM_OK)
        rc = series_grow(series, &table->values, table->count, &table->capacity, sizeof kept);
    if (rc < 0)
        return rc;
    table->values[table->count] = kept;
    table->hashes[table->count++] = hash;
    return FM_OK;
}

int series_value_id(struct series *series, const struct traceql_value *value, uint32_t *ret_id)
{
    struct series_values *table = &series->values;
    uint64_t hash = series_value_hash(value);
    uint32_t slot;
    int rc;

    if (2 * table->count >= table->mask && (rc = series_values_rehash(series)) < 0)
        return rc;
    for (slot = (uint32_t)hash & table->mask; table->slots[slot] != SERIES_NONE;
         slot = (slot + 1) & table->mask) {
        uint32_t id = table->slots[slot];
        if (table->hashes[id] == hash && series_value_compare(&table->values[id], value) == 0) {
            *ret_id = id;
            return FM_OK;
        }
    }
    if ((rc = series_values_append(series, value, hash)) < 0)
        return rc;
    *ret_id = table->slots[slot] = table->count - 1;
    return FM_OK;
}

/* ---- pairs ---- */

static uint32_t series_pair_slot(const struct series_pairs *pairs, uint64_t key)
{
    uint32_t slot = (uint32_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 32) & pairs->mask;

    while (pairs->numbers[slot] != SERIES_NONE && pairs->keys[slot] != key)
        slot = (slot + 1) & pairs->mask;
    return slot;
}

static int series_pairs_rehash(struct series *series)
{
    const struct series_pairs *old = &series->pairs;
    uint32_t size = old->mask ? 2 * (old->mask + 1) : 64;
    struct series_pairs grown = {.mask = size - 1, .count = old->count};
    int rc = series_alloc(series, sizeof *grown.keys * size, &grown.keys);

    if (rc == FM_OK)
        rc = series_alloc(series, sizeof *grown.numbers * size, &grown.numbers);
    if (rc < 0)
        return rc;
    memset(grown.numbers, 0xff, sizeof *grown.numbers * size);
    for (uint32_t i = 0; old->mask && i <= old->mask; i++) {
        if (old->numbers[i] == SERIES_NONE)
            continue;
        uint32_t slot = series_pair_slot(&grown, old->keys[i]);
        grown.keys[slot] = old->keys[i];
        grown.numbers[slot] = old->numbers[i];
    }
    series->pairs = grown;
    return FM_OK;
}

int series_pair(struct series *series, unsigned level, uint32_t first, uint32_t second,
                uint32_t **ret_number)
{
    struct series_pairs *pairs = &series->pairs;
    uint64_t key = (uint64_t)level << 60 | (uint64_t)first << 32 | second;
    int rc;

    if (first >> 28)
        return fm_fail(series->why, FM_ELIMIT, "too many series");

    if (2 * pairs->count >= pairs->mask && (rc = series_pairs_rehash(series)) < 0)
        return rc;
    uint32_t slot = series_pair_slot(pairs, key);
    if (pairs->numbers[slot] == SERIES_NONE) {
        pairs->keys[slot] = key;
        pairs->count++; /* the caller numbers it */
    }
    *ret_number = &pairs->numbers[slot];
    return FM_OK;
}
