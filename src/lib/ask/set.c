/* SPDX-License-Identifier: Apache-2.0 */
/* Distinct values, bounded by number and by bytes, with a table of hashes beside them. */
#include "internal.h"

#include <stdlib.h>

#include "fermata/hash.h"

#define SET_FIRST_CAPACITY 64u

void ask_set_init(struct ask_set *set, uint32_t count_max)
{
    *set = (struct ask_set){.count_max = count_max};
    fm_arena_init(&set->arena, FM_MIB(4)); /* above what its bytes can come to */
}

void ask_set_fini(struct ask_set *set)
{
    fm_arena_fini(&set->arena);
    free(fm_take(set->values));
    free(fm_take(set->slots));
}

static int value_compare(const struct traceql_value *a, const struct traceql_value *b)
{
    if (a->type != b->type)
        return a->type < b->type ? -1 : 1;
    switch (a->type) {
    case TRACEQL_STRING:
        return fm_slice_compare(a->text, b->text);
    case TRACEQL_FLOAT: /* by bits where the order is none: NaN is one value */
        if (a->number < b->number || a->number > b->number)
            return a->number < b->number ? -1 : 1;
        return memcmp(&a->number, &b->number, sizeof a->number);
    case TRACEQL_BOOL:
        return (int)a->flag - (int)b->flag;
    case TRACEQL_INT:
    case TRACEQL_DURATION:
    case TRACEQL_STATUS:
    case TRACEQL_KIND:
        return a->integer < b->integer ? -1 : a->integer > b->integer;
    case TRACEQL_NIL:
    case TRACEQL_ARRAY:
    case TRACEQL_UNKNOWN:
        break;
    }
    return 0;
}

static uint64_t value_hash(const struct traceql_value *value)
{
    if (value->type == TRACEQL_STRING)
        return fm_hash64(value->text, value->type);
    if (value->type == TRACEQL_BOOL)
        return value->flag ? 1 : 2;
    return fm_hash64(fm_slice(&value->integer, sizeof value->integer), value->type);
}

static uint32_t *set_slot(const struct ask_set *set, const struct traceql_value *value)
{
    uint32_t i = (uint32_t)value_hash(value) & (set->slot_count - 1);
    while (set->slots[i] && value_compare(&set->values[set->slots[i] - 1], value) != 0)
        i = (i + 1) & (set->slot_count - 1);
    return &set->slots[i];
}

bool ask_set_has(const struct ask_set *set, const struct traceql_value *value)
{
    return set->slot_count && *set_slot(set, value);
}

static void set_fill_slots(struct ask_set *set)
{
    memset(set->slots, 0, set->slot_count * sizeof *set->slots);
    for (uint32_t i = 0; i < set->count; i++)
        *set_slot(set, &set->values[i]) = i + 1;
}

static int set_grow(struct ask_set *set)
{
    uint32_t capacity = set->capacity ? 2 * set->capacity : SET_FIRST_CAPACITY;
    struct traceql_value *values = realloc(set->values, capacity * sizeof *values);
    if (!values)
        return FM_ENOMEM;
    set->values = values;
    uint32_t *slots = malloc(2 * (size_t)capacity * sizeof *slots);
    if (!slots)
        return FM_ENOMEM;
    free(set->slots);
    set->slots = slots;
    set->capacity = capacity;
    set->slot_count = 2 * capacity;
    set_fill_slots(set);
    return FM_OK;
}

int ask_set_add(struct ask_set *set, const struct traceql_value *value)
{
    size_t text_bytes = value->type == TRACEQL_STRING ? value->text.len : 8;
    if (value->type == TRACEQL_NIL || value->type == TRACEQL_ARRAY || ask_set_has(set, value))
        return FM_OK;
    if (set->count == set->count_max || set->text_bytes + text_bytes > ASK_NAMES_BYTES_MAX) {
        set->is_full = true;
        return FM_NONE;
    }
    if (set->count == set->capacity) {
        int rc = set_grow(set);
        if (rc < 0)
            return rc;
    }
    struct traceql_value copy = *value;
    if (value->type == TRACEQL_STRING)
        copy.text = fm_slice_dup(&set->arena, value->text);
    if (fm_arena_failed(&set->arena))
        return FM_ENOMEM;
    *set_slot(set, &copy) = set->count + 1;
    set->values[set->count++] = copy;
    set->text_bytes += text_bytes;
    return FM_OK;
}

static int value_order(const void *a, const void *b)
{
    return value_compare(a, b);
}

void ask_set_sort(struct ask_set *set)
{
    if (!set->count)
        return;
    qsort(set->values, set->count, sizeof *set->values, value_order);
    set_fill_slots(set);
}
