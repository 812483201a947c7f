/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of attributes into the seven leaves below an Attrs: half of a block's entries.
 *
 * The seven have the same repetition levels and, but for the values, the same definition levels.
 * Lists of scalars, which nearly all are, go through cursors: one check for room a leaf and list,
 * then plain stores.  Arrays and what only JSON can hold take the calls of the chunk. */
#include "emit.h"

#include "fermata/bytes.h"

#include <stdlib.h>

/* Strings lie where they were when they first came: each is a miss of the cache.  They are copied
 * many at once, asked for some steps ahead. */
void emit_dictionary_flush(struct emit *emit, struct emit_column *column)
{
    const struct intern *strings = &emit->builder->strings;
    const uint32_t *added = column->added;
    uint32_t count = column->added_count;
    for (uint32_t i = 0; i < count; i++) {
        if (i + 2 * EMIT_PREFETCH < count)
            __builtin_prefetch(&strings->entries[added[i + 2 * EMIT_PREFETCH]]);
        if (i + EMIT_PREFETCH < count)
            __builtin_prefetch(strings->entries[added[i + EMIT_PREFETCH]].ptr);
        (void)pq_dictionary_add(column->chunk, intern_get(strings, added[i]));
    }
    column->added_count = 0;
}

uint32_t emit_dictionary_add(struct emit *emit, struct emit_column *column, uint32_t string)
{
    if (!column->map) {
        /* Most columns never see a string. */
        column->map = calloc(emit->builder->strings.count, sizeof *column->map);
        if (!column->map) {
            emit->rc = FM_ENOMEM;
            return 0;
        }
    }
    if (column->added_count == column->added_cap) {
        uint32_t cap = FM_MAX(column->added_cap * 2, 64u);
        uint32_t *added = realloc(column->added, cap * sizeof *added);
        if (!added) {
            emit->rc = FM_ENOMEM;
            return 0;
        }
        column->added = added;
        column->added_cap = cap;
    }
    column->added[column->added_count++] = string;
    column->map[string] = ++column->dictionary_count;
    return column->dictionary_count - 1;
}

static const uint8_t *emit_scalar(struct emit *emit, unsigned first, unsigned rep, unsigned kind,
                                  const uint8_t *ptr)
{
    uint64_t number;
    double real;
    switch (kind) {
    case ROW_STRING:
        ptr = row_get(ptr, &number);
        emit_string(emit, first + ATTRIBUTE_STRING, rep, (uint32_t)number);
        return ptr;
    case ROW_INT:
        ptr = row_get(ptr, &number);
        emit_i64(emit, first + ATTRIBUTE_INT, rep, (uint64_t)row_unzigzag(number));
        return ptr;
    case ROW_DOUBLE:
        memcpy(&real, ptr, sizeof real);
        pq_put_double(emit->columns[first + ATTRIBUTE_DOUBLE].chunk, rep, real);
        return ptr + 8;
    default:
        pq_put_bool(emit->columns[first + ATTRIBUTE_BOOL].chunk, rep, *ptr != 0);
        return ptr + 1;
    }
}

/* Arrays and what only JSON can hold. */
static const uint8_t *emit_odd_value(struct emit *emit, unsigned first, unsigned rep,
                                     unsigned level, unsigned kind, const uint8_t *ptr)
{
    uint64_t count = 0;
    unsigned element = ROW_UNSUPPORTED;
    if (kind == ROW_ARRAY) {
        element = *ptr++;
        ptr = row_get(ptr, &count);
    }
    for (unsigned i = ROW_STRING; i <= ROW_BOOL; i++)
        if (i != element || !count)
            emit_null(emit, first + ATTRIBUTE_STRING + i, rep, level);
    for (uint64_t i = 0; i < count; i++)
        ptr = emit_scalar(emit, first, i ? level + 1 : rep, element, ptr);
    if (kind == ROW_ARRAY) {
        emit_null(emit, first + ATTRIBUTE_UNSUPPORTED, rep, level);
        return ptr;
    }
    uint32_t text;
    ptr = row_get_u32(ptr, &text);
    emit_string(emit, first + ATTRIBUTE_UNSUPPORTED, rep, text);
    return ptr;
}

const uint8_t *emit_skip_values(const struct emit *emit, uint32_t shape, const uint8_t *ptr)
{
    struct fm_slice members = intern_get(&emit->builder->shapes, shape);
    for (size_t at = 0; at < members.len; at += 4)
        ptr = row_skip_value(ptr, builder_load_u32(members.ptr + at) & ((1u << ROW_KIND_BITS) - 1));
    return ptr;
}

static void emit_attributes_open(struct emit *emit, unsigned first)
{
    if (FM_LIKELY(emit->cursors_first == first))
        return;
    emit_attributes_close(emit);
    for (unsigned i = 0; i < ATTRIBUTE_LEAVES; i++)
        pq_cursor_open(&emit->cursors[i], emit->columns[first + i].chunk);
    emit->cursors_first = first;
}

void emit_attributes_close(struct emit *emit)
{
    if (emit->cursors_first)
        for (unsigned i = 0; i < ATTRIBUTE_LEAVES; i++)
            pq_cursor_close(&emit->cursors[i]);
    emit->cursors_first = 0;
}

/* count equal bytes; may write 16. */
static inline void emit_fill(uint8_t *target, uint8_t byte, uint32_t count)
{
    if (FM_UNLIKELY(count > 16)) {
        memset(target, byte, count);
        return;
    }
    uint64_t word = byte * UINT64_C(0x0101010101010101);
    memcpy(target, &word, 8);
    memcpy(target + 8, &word, 8);
}

/* A scalar that is no text behind its cursor's values; its level was entered as that of a null. */
static inline const uint8_t *emit_plain_value(struct emit *emit, unsigned kind, uint32_t at,
                                              const uint8_t *ptr)
{
    struct pq_cursor *cursor = &emit->cursors[ATTRIBUTE_STRING + kind];
    uint64_t number;
    cursor->level[at]++;
    if (kind == ROW_BOOL) {
        *cursor->value++ = *ptr != 0;
        return ptr + 1;
    }
    if (kind == ROW_INT) {
        ptr = row_get(ptr, &number);
        number = (uint64_t)row_unzigzag(number);
    } else {
        memcpy(&number, ptr, 8);
        ptr += 8;
    }
    fm_store_le64(cursor->value, number);
    cursor->value += 8;
    return ptr;
}

static inline uint8_t *emit_put_index(uint8_t *target, uint32_t index)
{
    memcpy(target, &index, sizeof index);
    return target + sizeof index;
}

/* Attributes of which all are scalars: all seven leaves get nulls at once, and what has a value is
 * lifted to one. */
static const uint8_t *emit_plain_attributes(struct emit *emit, unsigned rep, unsigned level,
                                            enum emit_owner owner, uint32_t shape, uint32_t count,
                                            const uint8_t *ptr)
{
    static const uint8_t sizes[ATTRIBUTE_LEAVES] = {
        [ATTRIBUTE_KEY] = 4, [ATTRIBUTE_IS_ARRAY] = 1, [ATTRIBUTE_STRING] = 4,
        [ATTRIBUTE_INT] = 8, [ATTRIBUTE_DOUBLE] = 8,   [ATTRIBUTE_BOOL] = 1,
    };
    struct pq_cursor *cursors = emit->cursors;
    struct fm_slice members = intern_get(&emit->builder->shapes, shape);
    struct emit_column *keys = &emit->columns[emit->cursors_first + ATTRIBUTE_KEY];
    struct emit_column *texts = &emit->columns[emit->cursors_first + ATTRIBUTE_STRING];
    for (unsigned i = 0; i < ATTRIBUTE_LEAVES; i++) {
        if (!pq_cursor_room(&cursors[i], count, (size_t)count * sizes[i]))
            return emit_skip_values(emit, shape, ptr); /* the chunk remembers */
        emit_fill(cursors[i].level, (uint8_t)(level << 4 | level), count);
        cursors[i].level[0] = (uint8_t)(rep << 4 | level);
    }
    emit_fill(cursors[ATTRIBUTE_IS_ARRAY].value, 0, count);
    cursors[ATTRIBUTE_IS_ARRAY].value += count;
    /* Where keys and texts go is kept out of memory that the stores might change. */
    uint8_t *key_at = cursors[ATTRIBUTE_KEY].value, *text_at = cursors[ATTRIBUTE_STRING].value;
    uint8_t *text_level = cursors[ATTRIBUTE_STRING].level;
    uint32_t done = 0;
    for (size_t at = 0; at < members.len; at += 4) {
        uint32_t member = builder_load_u32(members.ptr + at), text;
        unsigned kind = member & ((1u << ROW_KIND_BITS) - 1);
        if (FM_UNLIKELY(emit_is_static(owner, member))) {
            ptr = row_skip_value(ptr, kind);
            continue;
        }
        key_at = emit_put_index(key_at, emit_dictionary_index(emit, keys, member >> ROW_KIND_BITS));
        if (FM_LIKELY(kind == ROW_STRING)) {
            ptr = row_get_u32(ptr, &text);
            text_at = emit_put_index(text_at, emit_dictionary_index(emit, texts, text));
            text_level[done]++;
        } else {
            ptr = emit_plain_value(emit, kind, done, ptr);
        }
        done++;
    }
    cursors[ATTRIBUTE_KEY].value = key_at;
    cursors[ATTRIBUTE_STRING].value = text_at;
    for (unsigned i = 0; i < ATTRIBUTE_LEAVES; i++)
        cursors[i].level += count;
    return ptr;
}

const uint8_t *emit_attributes(struct emit *emit, unsigned first, unsigned rep, unsigned level,
                               enum emit_owner owner, uint32_t shape, const uint8_t *ptr)
{
    const struct emit_shape *facts = &emit->shapes[owner][shape];
    emit->census->attribute_count += facts->count;
    if (FM_LIKELY(facts->count && !facts->has_odd)) {
        emit_attributes_open(emit, first);
        return emit_plain_attributes(emit, rep, level, owner, shape, facts->count, ptr);
    }
    emit_attributes_close(emit);
    if (!facts->count) {
        for (unsigned i = 0; i < ATTRIBUTE_LEAVES; i++)
            emit_null(emit, first + i, rep, level - 1);
        return emit_skip_values(emit, shape, ptr);
    }
    struct fm_slice members = intern_get(&emit->builder->shapes, shape);
    for (size_t at = 0; at < members.len; at += 4) {
        uint32_t member = builder_load_u32(members.ptr + at);
        unsigned kind = member & ((1u << ROW_KIND_BITS) - 1);
        if (emit_is_static(owner, member)) {
            ptr = row_skip_value(ptr, kind);
            continue;
        }
        emit_string(emit, first + ATTRIBUTE_KEY, rep, member >> ROW_KIND_BITS);
        pq_put_bool(emit->columns[first + ATTRIBUTE_IS_ARRAY].chunk, rep, kind == ROW_ARRAY);
        if (kind > ROW_BOOL) {
            ptr = emit_odd_value(emit, first, rep, level, kind, ptr);
        } else {
            for (unsigned i = ROW_STRING; i <= ROW_BOOL; i++)
                if (i != kind)
                    emit_null(emit, first + ATTRIBUTE_STRING + i, rep, level);
            ptr = emit_scalar(emit, first, rep, kind, ptr);
            emit_null(emit, first + ATTRIBUTE_UNSUPPORTED, rep, level);
        }
        rep = level;
    }
    return ptr;
}

int emit_shapes_init(struct emit *emit)
{
    const struct intern *shapes = &emit->builder->shapes;
    for (unsigned owner = 0; owner < OWNER_COUNT; owner++) {
        emit->shapes[owner] = calloc(shapes->count + 1, sizeof *emit->shapes[owner]);
        if (!emit->shapes[owner])
            return FM_ENOMEM;
        for (uint32_t shape = 0; shape < shapes->count; shape++) {
            struct emit_shape *facts = &emit->shapes[owner][shape];
            struct fm_slice members = intern_get(shapes, shape);
            for (size_t at = 0; at < members.len; at += 4) {
                uint32_t member = builder_load_u32(members.ptr + at);
                unsigned kind = member & ((1u << ROW_KIND_BITS) - 1);
                if (emit_is_static((enum emit_owner)owner, member)) {
                    facts->has_static = true;
                    continue;
                }
                facts->count++;
                facts->kinds |= (uint8_t)(1u << kind);
                facts->has_odd |= kind > ROW_BOOL;
            }
        }
    }
    return FM_OK;
}
