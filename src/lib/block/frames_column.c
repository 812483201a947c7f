/* SPDX-License-Identifier: Apache-2.0 */
/* Leaves as cursors over rows.  A page is decoded when some of its rows are asked for; rows that
 * nobody asks for are passed by the offset index. */
#include "frames.h"

#include <stdlib.h>

uint32_t frames_count_equal(const uint8_t *levels, uint32_t count, unsigned level)
{
    uint32_t found = 0, i = 0;
    for (; count - i >= 8; i += 8)
        found += frames_sum_word(frames_equal_word(fm_load_le64(levels + i), level));
    for (; i < count; i++)
        found += levels[i] == level;
    return found;
}

uint32_t frames_count_most(const uint8_t *levels, uint32_t count, unsigned level)
{
    uint32_t found = 0, i = 0;
    for (; count - i >= 8; i += 8)
        found += frames_sum_word(frames_most_word(fm_load_le64(levels + i), level));
    for (; i < count; i++)
        found += levels[i] <= level;
    return found;
}

/* To parquet a file is input, here it is what was stored. */
static int column_rc(int rc)
{
    return rc == FM_EMALFORMED ? FM_ECORRUPT : rc;
}

/* ---- life ---- */

/* Takes over what the column has read and holds now. */
static int column_account(struct block_frames *frames, struct frames_column *column)
{
    struct pq_column_use before = column->use;
    column->use = pq_column_use(column->column);
    frames->base.stats.inspected_bytes += column->use.read_bytes - before.read_bytes;
    frames->held += column->use.memory - before.memory; /* wraps, and comes back */
    return frames_charge(frames, 0);
}

int frames_open(struct block_frames *frames, unsigned leaf)
{
    struct frames_column *column = &frames->columns[leaf];
    uint32_t index = frames->block->leaves[leaf].index;
    if (column->column)
        return FM_OK;
    if (index == READER_ABSENT)
        return FM_NONE;
    int rc =
        pq_column_open(&column->column, frames->block->file, frames->group, index, frames->why);
    if (rc < 0)
        return column_rc(rc);
    pq_column_share_memo(column->column, frames->memo);
    const struct pq_guide *guide = block_guide(frames->block, frames->group, leaf, NULL);
    if (guide)
        pq_column_share_guide(column->column, guide);
    rc = pq_column_dictionary(column->column, &column->dictionary, &column->dictionary_count,
                              frames->why);
    if (rc < 0)
        return column_rc(rc);
    return column_account(frames, column);
}

static int column_retire(struct block_frames *frames, struct frames_column *column)
{
    if (frames->retired_count == frames->retired_cap) {
        int rc = FRAMES_RESERVE(frames, frames->retired, frames->retired_cap,
                                FM_MAX(frames->retired_cap * 2, (size_t)16));
        if (rc < 0)
            return rc;
    }
    pq_column_retire(column->column);
    frames->retired[frames->retired_count++] = fm_take(column->column);
    return FM_OK;
}

int frames_close_columns(struct block_frames *frames, bool keep_tables)
{
    int rc = FM_OK;
    for (size_t i = 0; i < FM_COUNT(frames->columns); i++) {
        struct frames_column *column = &frames->columns[i];
        if (!column->column)
            continue;
        frames->held -= column->use.memory;
        if (keep_tables && column->direct && rc == FM_OK) {
            rc = column_retire(frames, column);
            if (rc == FM_OK)
                frames->held += pq_column_use(frames->retired[frames->retired_count - 1]).memory;
        }
        pq_column_free(column->column);
        *column = (struct frames_column){0};
    }
    return rc;
}

/* ---- rows ---- */

/* Moves over count rows of the page. */
static void column_pass(struct frames_column *column, uint64_t count, unsigned def_max)
{
    const struct pq_page *page = &column->page;
    uint32_t entry = column->entry;
    if (!page->rep) {
        entry += (uint32_t)count;
    } else if (column->row + count >= page->first_row + page->row_count) {
        entry = page->entry_count;
    } else {
        for (uint64_t i = 0; i < count && entry < page->entry_count; i++) {
            const uint8_t *next = memchr(page->rep + entry + 1, 0, page->entry_count - entry - 1);
            entry = next ? (uint32_t)(next - page->rep) : page->entry_count;
        }
    }
    if (page->value_count == page->entry_count)
        column->value += entry - column->entry;
    else if (entry == page->entry_count)
        column->value = page->value_count;
    else
        column->value +=
            frames_count_equal(page->def + column->entry, entry - column->entry, def_max);
    column->entry = entry;
    column->row += count;
}

/* Whether what an owner has in the leaf is a list. */
static bool column_is_list(const struct block_frames *frames, unsigned leaf)
{
    static const unsigned lists[] = {LEAF_RESOURCE_ATTRIBUTES, LEAF_SCOPE_ATTRIBUTES,
                                     LEAF_SPAN_ATTRIBUTES, LEAF_EVENT_ATTRIBUTES,
                                     LEAF_LINK_ATTRIBUTES};
    for (size_t i = 0; i < FM_COUNT(lists); i++)
        if (leaf - lists[i] >= ATTRIBUTE_STRING && leaf - lists[i] <= ATTRIBUTE_BOOL)
            return true;
    return leaf >= LEAF_COUNT && frames->block->meta.version == BLOCK_V5;
}

/* Decodes the page that holds row, if it is not at hand. */
static int column_page(struct block_frames *frames, unsigned leaf, uint64_t row)
{
    struct frames_column *column = &frames->columns[leaf];
    const struct reader_leaf *known = &frames->block->leaves[leaf];
    struct pq_page *page = &column->page;
    if (column->has_page && row >= page->first_row && row < page->first_row + page->row_count)
        return FM_OK;
    bool is_next = column->has_page ? row == page->first_row + page->row_count : row == 0;
    int rc = is_next ? FM_OK : pq_column_seek(column->column, row, frames->why);
    column->has_page = false;
    if (rc == FM_OK)
        rc = pq_column_next(column->column, page, frames->why);
    if (rc == FM_END)
        return frames_fail(frames, leaf, "the column ends before this row");
    if (rc < 0)
        return column_rc(rc);
    if (page->indexes && known->type != PQ_BYTE_ARRAY)
        return frames_fail(frames, leaf, "numbers in a dictionary");
    if (row < page->first_row || row >= page->first_row + page->row_count)
        return frames_fail(frames, leaf, "a page does not hold the row it should");
    column->has_page = true;
    column->row = page->first_row;
    column->entry = column->value = 0;
    column->has_lists = page->value_count && column_is_list(frames, leaf) &&
                        memchr(page->rep, known->rep_max, page->entry_count);
    return column_account(frames, column);
}

/* Puts the cursor on row. */
static int column_find(struct block_frames *frames, unsigned leaf, uint64_t row)
{
    struct frames_column *column = &frames->columns[leaf];
    int rc = frames_open(frames, leaf);
    if (rc == FM_NONE)
        return frames_fail(frames, leaf, "the file has no such column");
    if (rc == FM_OK)
        rc = column_page(frames, leaf, row);
    if (rc < 0)
        return rc;
    if (row < column->row) {
        column->row = column->page.first_row;
        column->entry = column->value = 0;
    }
    if (row > column->row)
        column_pass(column, row - column->row, frames->block->leaves[leaf].def_max);
    return FM_OK;
}

/* From the cursor over count rows. */
static struct frames_slice column_take(struct frames_column *column, uint64_t count,
                                       unsigned def_max)
{
    const struct pq_page *page = &column->page;
    struct frames_slice slice = {
        .page = page,
        .dictionary = column->dictionary,
        .rep = page->rep ? page->rep + column->entry : NULL,
        .def = page->def ? page->def + column->entry : NULL,
        .entry_count = column->entry,
        .value = column->value,
        .has_lists = column->has_lists,
    };
    column_pass(column, count, def_max);
    slice.entry_count = column->entry - slice.entry_count;
    slice.value_count = column->value - slice.value;
    return slice;
}

/* ---- rows one by one ---- */

int frames_begin_rows(struct block_frames *frames)
{
    frames->is_sparse =
        frames->is_narrowed && frames->row_to - frames->row_from <= FRAMES_SPARSE_MAX;
    fm_arena_reset(&frames->row_arena);
    if (!frames->is_sparse || frames->scratch)
        return FM_OK;
    return pq_scratch_new(&frames->scratch) < 0
               ? fm_fail(frames->why, FM_ENOMEM, "no memory for a query")
               : FM_OK;
}

/* Takes over what the scratch has read and holds now. */
static int sparse_account(struct block_frames *frames)
{
    struct pq_column_use before = frames->sparse;
    frames->sparse = pq_scratch_use(frames->scratch);
    frames->base.stats.inspected_bytes += frames->sparse.read_bytes - before.read_bytes;
    frames->held += frames->sparse.memory - before.memory; /* wraps, and comes back */
    return frames_charge(frames, 0);
}

/* One row.  FM_NONE: not to be had so. */
static int sparse_slice(struct block_frames *frames, unsigned leaf, uint64_t row,
                        struct frames_slice *ret_slice)
{
    const struct reader_leaf *known = &frames->block->leaves[leaf];
    const struct pq_guide *guide = block_guide(frames->block, frames->group, leaf, frames->scratch);
    struct pq_page *page = fm_arena_alloc(&frames->row_arena, sizeof *page);
    if (!guide || !page)
        return FM_NONE;
    int rc = pq_guide_row(guide, row, frames->scratch, &frames->row_arena, page, frames->why);
    if (rc < 0 || rc == FM_NONE)
        return rc < 0 ? column_rc(rc) : rc;
    *ret_slice = (struct frames_slice){
        .page = page,
        .rep = page->rep,
        .def = page->def,
        .entry_count = page->entry_count,
        .value_count = page->value_count,
        .has_lists = page->value_count && column_is_list(frames, leaf) &&
                     memchr(page->rep, known->rep_max, page->entry_count),
    };
    return sparse_account(frames);
}

/* ---- */

int frames_slice(struct block_frames *frames, unsigned leaf, uint64_t *row, uint64_t end,
                 struct frames_slice *ret_slice)
{
    if (*row >= end)
        return FM_END;
    if (frames->is_gathering)
        end = frames_kept_next(frames, row);
    struct frames_column *column = &frames->columns[leaf];
    int rc = frames->is_sparse ? sparse_slice(frames, leaf, *row, ret_slice) : FM_NONE;
    if (rc != FM_NONE) {
        *row += rc == FM_OK;
        return rc;
    }
    rc = column_find(frames, leaf, *row);
    if (rc < 0)
        return rc;
    uint64_t page_end = column->page.first_row + column->page.row_count;
    uint64_t count = FM_MIN(end, page_end) - *row;
    *ret_slice = column_take(column, count, frames->block->leaves[leaf].def_max);
    *row += count;
    return FM_OK;
}

int frames_slice_some(struct block_frames *frames, unsigned leaf, uint64_t *row, uint64_t end,
                      uint32_t entry_min, struct frames_slice *ret_slice)
{
    struct frames_column *column = &frames->columns[leaf];
    int rc = column_find(frames, leaf, *row);
    if (rc < 0)
        return rc;
    const struct pq_page *page = &column->page;
    uint64_t count = page->first_row + page->row_count - *row;
    uint32_t left = page->entry_count - column->entry;
    if (left - FM_MIN(left, entry_min) > entry_min / 2) {
        uint64_t rows = 1;
        const uint8_t *rep = page->rep + column->entry, *found;
        rows = frames_count_equal(rep, entry_min, 0); /* rep[0] is 0: the last one is begun */
        found = memchr(rep + entry_min, 0, left - entry_min);
        count = found ? rows : count;
    }
    count = FM_MIN(count, end - *row);
    *ret_slice = column_take(column, count, frames->block->leaves[leaf].def_max);
    *row += count;
    return FM_OK;
}
