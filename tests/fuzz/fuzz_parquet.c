/* SPDX-License-Identifier: Apache-2.0 */
/* A whole parquet file: open, every page of every column, the dictionaries, a few seeks. */
#include "fermata/parquet_put.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t fuzz_parquet_sink; /* keeps the reads from being optimised away */

/* Touches what the page lends, so that a pointer past its memory is noticed. */
static uint64_t fuzz_parquet_sum(const struct pq_page *page, const struct pq_leaf *leaf)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < page->entry_count; i++)
        sum += (page->rep ? page->rep[i] : 0u) + (page->def ? page->def[i] : 0u);
    for (uint32_t i = 0; i < page->value_count; i++) {
        if (page->indexes)
            sum += page->indexes[i];
        else if (leaf->type == PQ_BOOLEAN)
            sum += page->boolean[i];
        else if (leaf->type == PQ_INT32)
            sum += (uint32_t)page->i32[i];
        else if (leaf->type != PQ_BYTE_ARRAY)
            sum += (uint64_t)page->i64[i];
        else if (page->bytes[i].len)
            sum += page->bytes[i].ptr[0] + page->bytes[i].ptr[page->bytes[i].len - 1];
    }
    return sum;
}

static void fuzz_parquet_column(const struct pq_file *file, size_t group, size_t leaf)
{
    FM_AUTO(pq_column) column = NULL;
    const struct fm_slice *values;
    struct fm_why why;
    struct pq_page page;
    uint32_t count;
    uint64_t sum = 0;
    if (pq_column_open(&column, file, group, leaf, &why) < 0)
        return;
    if (pq_column_dictionary(column, &values, &count, &why) == FM_OK)
        for (uint32_t i = 0; i < count; i++)
            sum += values[i].len ? values[i].ptr[values[i].len - 1] : 0u;
    while (pq_column_next(column, &page, &why) == FM_OK)
        sum += fuzz_parquet_sum(&page, pq_file_leaf(file, leaf));
    uint64_t rows = pq_row_group_row_count(file, group);
    for (uint64_t row = rows; row; row /= 2) {
        if (pq_column_seek(column, row - 1, &why) == FM_OK &&
            pq_column_next(column, &page, &why) == FM_OK)
            sum += fuzz_parquet_sum(&page, pq_file_leaf(file, leaf));
    }
    FM_AUTO(pq_column) fresh = NULL; /* a seek before anything else: by the offset index */
    if (pq_column_open(&fresh, file, group, leaf, &why) == FM_OK &&
        pq_column_seek(fresh, rows / 2, &why) == FM_OK &&
        pq_column_next(fresh, &page, &why) == FM_OK)
        sum += fuzz_parquet_sum(&page, pq_file_leaf(file, leaf));
    fuzz_parquet_sink = sum;
}

/* A few rows by guide, and what they lend. */
static void fuzz_parquet_rows(const struct pq_file *file, size_t group, size_t leaf)
{
    FM_AUTO(pq_scratch) scratch = NULL;
    FM_AUTO(pq_guide) guide = NULL;
    struct fm_arena arena;
    struct fm_why why;
    struct pq_page page;
    uint64_t sum = 0, rows = pq_row_group_row_count(file, group);
    if (pq_scratch_new(&scratch) < 0 ||
        pq_guide_new(&guide, file, group, leaf, leaf % 2 ? SIZE_MAX : 0, scratch, &why) < 0)
        return;
    fm_arena_init(&arena, FM_MIB(16));
    for (uint64_t row = rows; row; row /= 2) {
        fm_arena_reset(&arena);
        if (pq_guide_row(guide, row - 1, scratch, &arena, &page, &why) == FM_OK)
            sum += fuzz_parquet_sum(&page, pq_file_leaf(file, leaf));
    }
    fm_arena_fini(&arena);
    fuzz_parquet_sink = sum;
}

/* From values to rows, which are some of the row group's in their order. */
static void fuzz_parquet_postings(const struct pq_file *file, size_t group, size_t leaf)
{
    FM_AUTO(pq_scratch) scratch = NULL;
    FM_AUTO(pq_guide) guide = NULL;
    FM_AUTO(pq_postings) postings = NULL;
    struct fm_why why;
    uint32_t rows[PQ_POSTINGS_MAX], count = 0, at = 0;
    if (leaf % 2 && pq_scratch_new(&scratch) == FM_OK)
        (void)!pq_guide_new(&guide, file, group, leaf, SIZE_MAX, scratch, &why);
    if (pq_postings_new(&postings, file, group, leaf, guide, &why) < 0)
        return;
    for (uint32_t value = 0; value < 300; value++) {
        if (pq_postings_rows(postings, value, rows, &count) != FM_OK)
            continue;
        FM_ASSERT(count <= PQ_POSTINGS_MAX);
        for (uint32_t i = 0; i < count; i++)
            FM_ASSERT(rows[i] < pq_row_group_row_count(file, group) &&
                      (!i || rows[i - 1] < rows[i]));
    }
    if (guide && pq_guide_has_texts(guide))
        while (pq_guide_find(guide, FM_SLICE("a"), at, &at) == FM_OK)
            FM_ASSERT(at++ < pq_guide_text_count(guide));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct pq_limits limits = {
        .footer_bytes_max = FM_MIB(1), .page_bytes_max = FM_KIB(256), .leaf_count_max = 200};
    struct fm_slice bytes = fm_slice(data, size);
    FM_AUTO(pq_file) file = NULL;
    struct fm_why why;
    if (pq_file_open(&file, fm_source_memory(&bytes), 0, &limits, &why) < 0)
        return 0;
    size_t groups = FM_MIN(pq_file_row_group_count(file), (size_t)4);
    for (size_t group = 0; group < groups; group++)
        for (size_t leaf = 0; leaf < pq_file_leaf_count(file); leaf++) {
            fuzz_parquet_column(file, group, leaf);
            fuzz_parquet_rows(file, group, leaf);
            fuzz_parquet_postings(file, group, leaf);
        }
    return 0;
}
