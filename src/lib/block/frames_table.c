/* SPDX-License-Identifier: Apache-2.0 */
/* Distinct values of a field.  What a table ever gave out stays where it is: the values are in the
 * source's arena, and an array that is outgrown is left there. */
#include "frames.h"

#include "fermata/hash.h"

#include <stdlib.h>

#define TABLE_ITEMS_MIN 64u
#define TABLE_ITEMS_MAX (UINT32_C(1) << 28)
#define TABLE_SEED      UINT64_C(0x6672616d65730a0d)

int frames_alloc(struct block_frames *frames, size_t size, void **ret_ptr)
{
    int rc = frames_charge(frames, size);
    if (rc < 0)
        return rc;
    void *ptr = fm_arena_alloc(&frames->arena, size);
    if (!ptr) {
        frames->arena.failed = false;
        return fm_fail(frames->why, FM_ENOMEM, "no memory for the values of a field");
    }
    *ret_ptr = ptr;
    return FM_OK;
}

void frames_table_fini(struct frames_table *table)
{
    free(fm_take(table->slots));
    table->slot_count = 0;
}

/* ---- hashing ---- */

static uint64_t table_mix(uint64_t number, uint64_t seed)
{
    uint64_t state = number ^ seed;
    return fm_random_next(&state);
}

static uint64_t table_hash(const struct traceql_value *value)
{
    uint64_t seed = TABLE_SEED + (uint64_t)value->type, bits = 0;
    switch (value->type) {
    case TRACEQL_STRING:
        return fm_hash64(value->text, seed);
    case TRACEQL_FLOAT:
        memcpy(&bits, &value->number, sizeof bits);
        return table_mix(bits, seed);
    case TRACEQL_BOOL:
        return table_mix(value->flag, seed);
    case TRACEQL_ARRAY:
        for (uint32_t i = 0; i < value->element_count; i++)
            seed = table_mix(table_hash(&value->elements[i]), seed);
        return seed;
    default:
        return table_mix((uint64_t)value->integer, seed);
    }
}

static bool table_equal(const struct traceql_value *a, const struct traceql_value *b)
{
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case TRACEQL_STRING:
        return fm_slice_equal(a->text, b->text);
    case TRACEQL_FLOAT:
        return memcmp(&a->number, &b->number, sizeof a->number) == 0;
    case TRACEQL_BOOL:
        return a->flag == b->flag;
    case TRACEQL_ARRAY:
        if (a->element_count != b->element_count)
            return false;
        for (uint32_t i = 0; i < a->element_count; i++)
            if (!table_equal(&a->elements[i], &b->elements[i])) /* elements are no arrays */
                return false;
        return true;
    default:
        return a->integer == b->integer;
    }
}

/* ---- room ---- */

static int table_grow_slots(struct block_frames *frames, struct frames_table *table)
{
    uint32_t count = FM_MAX(table->slot_count * 2, TABLE_ITEMS_MIN * 2);
    int rc = frames_charge(frames, (size_t)count * sizeof *table->slots);
    if (rc < 0)
        return rc;
    uint32_t *slots = calloc(count, sizeof *slots);
    if (!slots)
        return fm_fail(frames->why, FM_ENOMEM, "no memory for the values of a field");
    for (uint32_t code = 1; code < table->values.count; code++) {
        uint64_t at = table_hash(&table->items[code]);
        while (slots[at & (count - 1)])
            at++;
        slots[at & (count - 1)] = code;
    }
    frames->held += ((size_t)count - table->slot_count) * sizeof *slots;
    free(table->slots);
    table->slots = slots;
    table->slot_count = count;
    return FM_OK;
}

static int table_grow_items(struct block_frames *frames, struct frames_table *table)
{
    uint32_t cap = FM_MAX(table->item_cap * 2, TABLE_ITEMS_MIN);
    void *items = NULL;
    if (cap > TABLE_ITEMS_MAX)
        return fm_fail(frames->why, FM_ELIMIT, "a field has too many values");
    int rc = frames_alloc(frames, cap * sizeof *table->items, &items);
    if (rc < 0)
        return rc;
    if (!table->values.count) {
        table->values.count = 1;
        table->values.serial = ++frames->serial;
        *(struct traceql_value *)items = (struct traceql_value){.type = TRACEQL_NIL};
    } else {
        memcpy(items, table->items, table->values.count * sizeof *table->items);
    }
    table->items = items;
    table->values.values = items;
    table->item_cap = cap;
    return FM_OK;
}

int frames_table_open(struct block_frames *frames, struct frames_table *table)
{
    return table->item_cap ? FM_OK : table_grow_items(frames, table);
}

/* ---- putting ---- */

static int table_copy_text(struct block_frames *frames, struct traceql_value *value)
{
    void *copy = NULL;
    int rc = frames_alloc(frames, value->text.len, &copy);
    if (rc < 0)
        return rc;
    if (value->text.len)
        memcpy(copy, value->text.ptr, value->text.len);
    value->text.ptr = copy;
    return FM_OK;
}

static int table_copy(struct block_frames *frames, const struct traceql_value *value,
                      struct traceql_value *ret_copy)
{
    int rc = FM_OK;
    void *ptr = NULL;
    *ret_copy = *value;
    if (value->type == TRACEQL_STRING)
        return table_copy_text(frames, ret_copy);
    if (value->type != TRACEQL_ARRAY)
        return FM_OK;
    rc = frames_alloc(frames, value->element_count * sizeof *value, &ptr);
    if (rc < 0)
        return rc;
    struct traceql_value *elements = ptr;
    memcpy(elements, value->elements, value->element_count * sizeof *value);
    for (uint32_t i = 0; i < value->element_count && rc == FM_OK; i++)
        if (elements[i].type == TRACEQL_STRING)
            rc = table_copy_text(frames, &elements[i]);
    ret_copy->elements = elements;
    return rc;
}

int frames_table_put(struct block_frames *frames, struct frames_table *table,
                     const struct traceql_value *value, uint32_t *ret_code)
{
    int rc = FM_OK;
    if (table->values.count + 1 >= table->item_cap)
        rc = table_grow_items(frames, table);
    if (rc == FM_OK && table->values.count >= table->slot_count / 2)
        rc = table_grow_slots(frames, table);
    if (rc < 0)
        return rc;
    uint64_t at = table_hash(value);
    uint32_t code;
    for (; (code = table->slots[at & (table->slot_count - 1)]); at++) {
        if (table_equal(&table->items[code], value)) {
            *ret_code = code;
            return FM_OK;
        }
    }
    rc = table_copy(frames, value, &table->items[table->values.count]);
    if (rc < 0)
        return rc;
    *ret_code = table->values.count++;
    table->slots[at & (table->slot_count - 1)] = *ret_code;
    return FM_OK;
}

/* ---- a dictionary ---- */

int frames_direct(struct block_frames *frames, struct frames_column *column)
{
    void *ptr = NULL;
    if (column->direct)
        return FM_OK;
    int rc = frames_alloc(frames, sizeof *column->direct, &ptr);
    struct frame_values *direct = ptr;
    if (rc == FM_OK)
        rc = frames_alloc(
            frames, ((size_t)column->dictionary_count + 1) * sizeof(struct traceql_value), &ptr);
    if (rc < 0)
        return rc;
    struct traceql_value *items = ptr;
    items[0] = (struct traceql_value){.type = TRACEQL_NIL};
    for (uint32_t i = 0; i < column->dictionary_count; i++) {
        items[i + 1] =
            (struct traceql_value){.type = TRACEQL_STRING, .text = column->dictionary[i]};
    }
    *direct = (struct frame_values){
        .values = items, .count = column->dictionary_count + 1, .serial = ++frames->serial};
    column->direct = direct;
    return FM_OK;
}
