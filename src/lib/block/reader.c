/* SPDX-License-Identifier: Apache-2.0 */
/* Opening blocks, finding rows.
 *
 * A trace is found by binary search over the pages of TraceID and then read from the one page of
 * every leaf that holds its row.  Leaves whose content cannot matter are never opened. */
#include "reader.h"

#include <stdio.h>
#include <stdlib.h>

#define READER_ROW_BYTES_MAX     FM_MIB(1024)
#define READER_GUIDED_GROUPS_MAX 64u
#define READER_POSTINGS_BYTES    8u /* of a value; most take half of it */

static int reader_source_read(void *self, uint64_t offset, void *target, size_t len)
{
    struct reader_source *source = self;
    atomic_fetch_add_explicit(&source->read_bytes, len, memory_order_relaxed);
    return source->inner.read_at(source->inner.self, offset, target, len);
}

void reader_leaf_name(const struct block *block, unsigned leaf, char text[SCHEMA_PATH_MAX])
{
    const struct reader_leaf *known = &block->leaves[leaf];
    const struct pq_leaf *found =
        known->index == READER_ABSENT ? NULL : pq_file_leaf(block->file, known->index);
    (void)snprintf(text, SCHEMA_PATH_MAX, "%s", found ? found->path : "?");
}

/* Looks the leaf up; its type and levels must be those of the format. */
static int block_bind_leaf(struct block *block, const char *path, unsigned leaf,
                           const struct pq_leaf *expected, struct fm_why *why)
{
    size_t index;
    int rc = pq_file_find_leaf(block->file, path, &index);
    if (rc == FM_NONE || rc == FM_ENOTFOUND)
        return fm_fail(why, FM_ECORRUPT, "column %s is missing", path);
    if (rc < 0)
        return rc;
    const struct pq_leaf *found = pq_file_leaf(block->file, index);
    if (found->type != expected->type || found->rep_max != expected->rep_max ||
        found->def_max != expected->def_max)
        return fm_fail(why, FM_ECORRUPT, "column %s: type %u levels %u/%u instead of %u %u/%u",
                       path, found->type, found->rep_max, found->def_max, expected->type,
                       expected->rep_max, expected->def_max);
    block->leaves[leaf] = (struct reader_leaf){
        .index = (uint32_t)index,
        .type = found->type,
        .rep_max = found->rep_max,
        .def_max = found->def_max,
    };
    return FM_OK;
}

static int block_bind_dedicated(struct block *block, struct fm_why *why)
{
    static const uint8_t levels[] = {3, 1, 4}; /* of a span, a resource, an event */
    unsigned ordinals[3][2] = {{0}};
    const unsigned ordinal_max = block->meta.version == BLOCK_V4 ? SCHEMA_DEDICATED : 99;
    char path[SCHEMA_PATH_MAX];
    for (uint32_t i = 0; i < block->meta.dedicated_count; i++) {
        const struct block_dedicated *column = &block->meta.dedicated[i];
        if (block->meta.version == BLOCK_V4 && (column->type != 0 || column->scope > 1))
            continue; /* v4 has columns for strings of spans and resources only */
        unsigned ordinal = ++ordinals[column->scope][column->type];
        if (ordinal > ordinal_max)
            continue;
        schema_dedicated_path(block->meta.version, column, ordinal, path);
        uint8_t level = levels[column->scope];
        struct pq_leaf expected = {
            .type = column->type ? PQ_INT64 : PQ_BYTE_ARRAY,
            .rep_max = (uint8_t)(level + (block->meta.version == BLOCK_V5)),
            .def_max = (uint8_t)(level + 1),
        };
        unsigned leaf = LEAF_COUNT + block->dedicated_count;
        int rc = block_bind_leaf(block, path, leaf, &expected, why);
        if (rc < 0)
            return rc;
        block->dedicated[block->dedicated_count++] = (struct reader_dedicated){leaf, column};
    }
    return FM_OK;
}

static int block_bind(struct block *block, struct fm_why *why)
{
    struct pq_leaf expected[LEAF_COUNT];
    struct schema_paths *paths = malloc(sizeof *paths);
    int rc = FM_OK;
    if (!paths)
        return FM_ENOMEM;
    schema_v4_leaves(expected);
    schema_paths_of(block->meta.version, paths);
    for (unsigned leaf = 0; leaf < READER_LEAF_MAX; leaf++)
        block->leaves[leaf].index = READER_ABSENT;
    for (unsigned leaf = 0; leaf < LEAF_COUNT && rc == FM_OK; leaf++)
        if (paths->text[leaf][0])
            rc = block_bind_leaf(block, paths->text[leaf], leaf, &expected[leaf], why);
    free(paths);
    return rc == FM_OK ? block_bind_dedicated(block, why) : rc;
}

int block_open(struct block **ret_block, struct fm_source data, const struct block_meta *meta,
               struct fm_why *why)
{
    FM_AUTO(block) block = calloc(1, sizeof *block);
    if (!block)
        return FM_ENOMEM;
    if (meta->dedicated_count && !meta->dedicated)
        return fm_fail(why, FM_EUNSUPPORTED, "the block has dedicated columns");
    block->meta = *meta;
    block->meta.dedicated = block->columns;
    if (meta->dedicated_count)
        memcpy(block->columns, meta->dedicated, meta->dedicated_count * sizeof block->columns[0]);
    block->source.inner = data;
    if (meta->size_bytes && meta->size_bytes != data.size)
        return fm_fail(why, FM_ECORRUPT, "data.parquet has %llu bytes, meta.json says %llu",
                       (unsigned long long)data.size, (unsigned long long)meta->size_bytes);
    struct fm_source counted = {reader_source_read, &block->source, data.size};
    int rc = pq_file_open(&block->file, counted, meta->footer_bytes, &pq_limits_default, why);
    if (rc == FM_OK)
        rc = block_bind(block, why);
    if (rc < 0)
        return rc;
    *ret_block = fm_take(block);
    return FM_OK;
}

struct block *block_free(struct block *block)
{
    if (!block)
        return NULL;
    size_t count = block->guides ? pq_file_row_group_count(block->file) * READER_LEAF_MAX : 0;
    for (size_t i = 0; i < count; i++) {
        pq_guide_free(block->guides[i]);
        pq_postings_free(block->postings[i]);
    }
    free(block->guides);
    free(block->postings);
    if (block->room)
        atomic_fetch_sub(block->room, atomic_load(&block->guide_bytes));
    pq_file_free(block->file);
    free(block);
    return NULL;
}

size_t block_memory(const struct block *block)
{
    return sizeof *block + pq_file_memory(block->file) +
           (block->room ? 0 : (size_t)atomic_load(&block->guide_bytes));
}

/* Whether reading a trace can need the leaf; the others repeat what is in its spans. */
static bool block_leaf_is_content(unsigned leaf)
{
    bool is_trace = leaf > LEAF_TRACE_ID && leaf < LEAF_RESOURCE_ATTRIBUTES;
    bool is_nested = leaf >= LEAF_SPAN_PARENT_LEFT && leaf <= LEAF_SPAN_RIGHT;
    return !is_trace && !is_nested;
}

void block_prepare(struct block *block, size_t dictionary_max)
{
    size_t count = pq_file_row_group_count(block->file);
    if (block->guides || count > READER_GUIDED_GROUPS_MAX)
        return;
    count = FM_MAX(count * READER_LEAF_MAX, (size_t)1);
    block->guides = calloc(count, sizeof *block->guides);
    block->postings = calloc(count, sizeof *block->postings);
    block->guide_dictionary_max = dictionary_max;
    if (block->guides && block->postings)
        atomic_store(&block->guide_bytes,
                     count * (sizeof *block->guides + sizeof *block->postings));
    else
        free(fm_take(block->guides));
}

void block_share_room(struct block *block, _Atomic uint64_t *room, uint64_t room_max)
{
    block->room = room;
    block->room_max = room_max;
    if (room)
        atomic_fetch_add(room, atomic_load(&block->guide_bytes));
}

/* What a dictionary may take.  Several threads may each find room for theirs; it is a bound of what
 * is kept, not of the last byte. */
static size_t block_guide_room(const struct block *block)
{
    uint64_t used = atomic_load(&block->guide_bytes);
    uint64_t left = block->guide_dictionary_max - FM_MIN(used, block->guide_dictionary_max);
    if (block->room)
        left = FM_MIN(left, block->room_max - FM_MIN(atomic_load(block->room), block->room_max));
    return (size_t)left;
}

static void block_charge(struct block *block, size_t bytes)
{
    atomic_fetch_add(&block->guide_bytes, bytes);
    if (block->room)
        atomic_fetch_add(block->room, bytes);
}

const struct pq_guide *block_guide(const struct block *opened, size_t row_group, unsigned leaf,
                                   struct pq_scratch *scratch)
{
    struct block *block = (struct block *)opened; /* as of a cache, all this changes is speed */
    FM_AUTO(pq_scratch) own = NULL;
    struct pq_guide *fresh = NULL, *other = NULL;
    if (!block->guides || block->leaves[leaf].index == READER_ABSENT)
        return NULL;
    _Atomic(struct pq_guide *) *slot = &block->guides[row_group * READER_LEAF_MAX + leaf];
    const struct pq_guide *guide = atomic_load(slot);
    if (guide || !block_leaf_is_content(leaf) || (!scratch && pq_scratch_new(&own) < 0))
        return guide;
    /* What fails here fails again for who needs it, and says why. */
    if (pq_guide_new(&fresh, block->file, row_group, block->leaves[leaf].index,
                     block_guide_room(block), scratch ? scratch : own, NULL) != FM_OK)
        return NULL;
    if (!atomic_compare_exchange_strong(slot, &other, fresh)) {
        pq_guide_free(fresh);
        return other;
    }
    block_charge(block, pq_guide_memory(fresh));
    return fresh;
}

const struct pq_postings *block_postings(const struct block *opened, size_t row_group,
                                         unsigned leaf, uint32_t value_count)
{
    struct block *block = (struct block *)opened; /* as above */
    struct pq_postings *fresh = NULL, *other = NULL;
    if (!block->guides || block->leaves[leaf].index == READER_ABSENT)
        return NULL;
    _Atomic(struct pq_postings *) *slot = &block->postings[row_group * READER_LEAF_MAX + leaf];
    const struct pq_postings *postings = atomic_load(slot);
    if (postings)
        return postings;
    if (block_guide_room(block) < (uint64_t)value_count * READER_POSTINGS_BYTES ||
        pq_postings_new(&fresh, block->file, row_group, block->leaves[leaf].index,
                        block_guide(block, row_group, leaf, NULL), NULL) != FM_OK)
        return NULL;
    if (!atomic_compare_exchange_strong(slot, &other, fresh)) {
        pq_postings_free(fresh);
        return other;
    }
    block_charge(block, pq_postings_memory(fresh));
    return fresh;
}

/* ---- rows ---- */

int reader_new(struct reader **ret_reader, const struct block *block, struct fm_why *why)
{
    struct reader *reader = calloc(1, sizeof *reader);
    if (!reader)
        return FM_ENOMEM;
    reader->block = block;
    reader->parts = BLOCK_TRACES_ALL;
    reader->why = why;
    fm_arena_init(&reader->arena, READER_ROW_BYTES_MAX);
    *ret_reader = reader;
    return FM_OK;
}

struct reader *reader_free(struct reader *reader)
{
    if (!reader)
        return NULL;
    reader_begin(reader, 0);
    pq_scratch_free(reader->scratch);
    fm_arena_fini(&reader->arena);
    free(reader);
    return NULL;
}

void reader_begin(struct reader *reader, size_t row_group)
{
    for (size_t i = 0; i < FM_COUNT(reader->cursors); i++) {
        pq_column_free(reader->cursors[i].column);
        reader->cursors[i] = (struct cursor){0};
    }
    reader->row_group = row_group;
    reader->row = 0;
}

void reader_set_row(struct reader *reader, uint64_t row)
{
    reader->row = row;
    for (size_t i = 0; i < FM_COUNT(reader->cursors); i++)
        reader->cursors[i].loaded = false;
}

int reader_fail(struct reader *reader, unsigned leaf, const char *what)
{
    char name[SCHEMA_PATH_MAX];
    reader_leaf_name(reader->block, leaf, name);
    return fm_fail(reader->why, FM_ECORRUPT, "row group %zu, row %llu, %s: %s", reader->row_group,
                   (unsigned long long)reader->row, name, what);
}

static int cursor_open(struct reader *reader, struct cursor *cursor, uint32_t index)
{
    int rc =
        pq_column_open(&cursor->column, reader->block->file, reader->row_group, index, reader->why);
    if (rc < 0)
        return rc;
    rc = pq_column_dictionary(cursor->column, &cursor->dictionary, &cursor->dictionary_count,
                              reader->why);
    if (rc < 0)
        return rc;
    cursor->void_column = rc == FM_OK && cursor->dictionary_count == 0;
    return FM_OK;
}

/* The page that holds the reader's row. */
static int cursor_page(struct reader *reader, struct cursor *cursor, unsigned leaf)
{
    uint64_t row = reader->row;
    if (cursor->has_page && row >= cursor->row &&
        row < cursor->page.first_row + cursor->page.row_count)
        return FM_OK;
    bool is_next =
        cursor->has_page ? row == cursor->page.first_row + cursor->page.row_count : row == 0;
    int rc = is_next ? FM_OK : pq_column_seek(cursor->column, row, reader->why);
    cursor->has_page = false;
    if (rc == FM_OK)
        rc = pq_column_next(cursor->column, &cursor->page, reader->why);
    if (rc == FM_END)
        return reader_fail(reader, leaf, "the column ends before this row");
    if (rc < 0)
        return rc;
    if (cursor->page.indexes && reader->block->leaves[leaf].type != PQ_BYTE_ARRAY)
        return reader_fail(reader, leaf, "numbers in a dictionary");
    if (row < cursor->page.first_row || row >= cursor->page.first_row + cursor->page.row_count)
        return reader_fail(reader, leaf, "a page does not hold the row it should");
    cursor->has_page = true;
    cursor->row = cursor->page.first_row;
    cursor->row_entry = cursor->row_value = 0;
    return FM_OK;
}

static uint32_t cursor_count_values(const struct cursor *cursor, uint32_t from, uint32_t to,
                                    unsigned def_max)
{
    const uint8_t *def = cursor->page.def;
    if (!def)
        return to - from;
    uint32_t count = 0;
    for (uint32_t i = from; i < to; i++)
        count += def[i] == def_max;
    return count;
}

/* First entry of the next row behind entry, or the end of the page. */
static uint32_t cursor_row_end(const struct cursor *cursor, uint32_t entry)
{
    if (!cursor->page.rep)
        return entry + 1;
    const uint8_t *rep = cursor->page.rep + entry + 1;
    const uint8_t *next = memchr(rep, 0, cursor->page.entry_count - entry - 1);
    return next ? (uint32_t)(next - cursor->page.rep) : cursor->page.entry_count;
}

/* Exactly the reader's row, by the block's guide or one for this row only. */
static int cursor_load_row(struct reader *reader, struct cursor *cursor, unsigned leaf)
{
    const struct block *block = reader->block;
    FM_AUTO(pq_guide) own = NULL;
    const struct pq_guide *guide = block_guide(block, reader->row_group, leaf, reader->scratch);
    int rc = FM_OK;
    if (!guide) {
        rc = pq_guide_new(&own, block->file, reader->row_group, block->leaves[leaf].index, 0,
                          reader->scratch, reader->why);
        guide = own;
    }
    if (rc == FM_OK)
        rc = pq_guide_row(guide, reader->row, reader->scratch, &reader->arena, &cursor->page,
                          reader->why);
    if (rc != FM_OK)
        return rc;
    cursor->at = cursor->value_at = 0;
    cursor->end = cursor->page.entry_count;
    cursor->loaded = true;
    return FM_OK;
}

int reader_load(struct reader *reader, unsigned leaf)
{
    const struct reader_leaf *known = &reader->block->leaves[leaf];
    struct cursor *cursor = &reader->cursors[leaf];
    if (known->index == READER_ABSENT)
        return FM_NONE;
    if (reader->scratch && leaf != LEAF_TRACE_ID)
        return cursor_load_row(reader, cursor, leaf);
    int rc = cursor->column ? FM_OK : cursor_open(reader, cursor, known->index);
    if (rc == FM_OK && cursor->void_column)
        return FM_NONE;
    if (rc == FM_OK)
        rc = cursor_page(reader, cursor, leaf);
    if (rc < 0)
        return rc;
    uint32_t entry = cursor->row_entry;
    while (cursor->row < reader->row) {
        if (entry >= cursor->page.entry_count)
            return reader_fail(reader, leaf, "a page has fewer rows than it says");
        entry = cursor_row_end(cursor, entry);
        cursor->row++;
    }
    if (entry >= cursor->page.entry_count)
        return reader_fail(reader, leaf, "a page has fewer rows than it says");
    cursor->row_value += cursor_count_values(cursor, cursor->row_entry, entry, known->def_max);
    cursor->row_entry = entry;
    cursor->at = entry;
    cursor->end = cursor_row_end(cursor, entry);
    cursor->value_at = cursor->row_value;
    cursor->loaded = true;
    return FM_OK;
}

struct entry cursor_take(struct cursor *cursor, unsigned def_max)
{
    struct entry entry = {
        .rep = cursor->page.rep ? cursor->page.rep[cursor->at] : 0,
        .def = cursor->page.def ? cursor->page.def[cursor->at] : 0,
    };
    cursor->at++;
    entry.set = entry.def == def_max && cursor->value_at < cursor->page.value_count;
    entry.value = cursor->value_at;
    cursor->value_at += entry.set;
    return entry;
}

struct fm_slice cursor_bytes(const struct cursor *cursor, uint32_t value)
{
    if (cursor->page.indexes)
        return cursor->dictionary[cursor->page.indexes[value]];
    return cursor->page.bytes[value];
}

/* ---- finding ---- */

/* Compares the id with those of the page that holds row: -1 it is before the page, 1 behind it,
 * 0 within; *ret_row: the row if it is there, else UINT64_MAX. */
static int find_in_page(struct reader *reader, const struct trace_id *id, uint64_t row,
                        int *ret_order, uint64_t *ret_row)
{
    struct cursor *cursor = &reader->cursors[LEAF_TRACE_ID];
    reader_set_row(reader, row);
    int rc = reader_load(reader, LEAF_TRACE_ID);
    if (rc < 0 || rc == FM_NONE)
        return rc < 0 ? rc : reader_fail(reader, LEAF_TRACE_ID, "no ids");
    uint32_t low = 0, high = cursor->page.entry_count;
    struct fm_slice wanted = fm_slice(id->bytes, sizeof id->bytes);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = fm_slice_compare(cursor_bytes(cursor, middle), wanted);
        if (order == 0) {
            *ret_order = 0;
            *ret_row = cursor->page.first_row + middle;
            return FM_OK;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_row = UINT64_MAX;
    *ret_order = low == 0 ? -1 : low == cursor->page.entry_count ? 1 : 0;
    return FM_OK;
}

int reader_find_row(struct reader *reader, const struct trace_id *id, uint64_t *ret_row)
{
    uint64_t low = 0, high = pq_row_group_row_count(reader->block->file, reader->row_group);
    while (low < high) {
        const struct pq_page *page = &reader->cursors[LEAF_TRACE_ID].page;
        uint64_t row = UINT64_MAX;
        int order = 0;
        int rc = find_in_page(reader, id, low + (high - low) / 2, &order, &row);
        if (rc < 0)
            return rc;
        if (row != UINT64_MAX) {
            *ret_row = row;
            return FM_OK;
        }
        if (order == 0)
            return FM_NONE;
        if (order < 0)
            high = page->first_row;
        else
            low = page->first_row + page->row_count;
    }
    return FM_NONE;
}

int block_find_trace(const struct block *block, const struct trace_id *id, struct fm_buf *otlp,
                     uint64_t *ret_inspected, struct fm_why *why)
{
    struct reader_source *source = (struct reader_source *)&block->source;
    uint64_t before = atomic_load_explicit(&source->read_bytes, memory_order_relaxed);
    FM_AUTO(reader) reader = NULL;
    int rc = reader_new(&reader, block, why);
    if (rc == FM_OK)
        rc = pq_scratch_new(&reader->scratch);
    if (rc < 0)
        return rc;
    size_t groups = pq_file_row_group_count(block->file);
    rc = FM_NONE;
    for (size_t i = 0; i < groups && rc == FM_NONE; i++) {
        uint64_t row = UINT64_MAX;
        reader_begin(reader, i);
        rc = reader_find_row(reader, id, &row);
        if (rc != FM_OK)
            continue;
        reader_set_row(reader, row);
        rc = reader_put_trace(reader, otlp);
    }
    if (ret_inspected)
        *ret_inspected = atomic_load_explicit(&source->read_bytes, memory_order_relaxed) - before;
    return rc;
}
