/* SPDX-License-Identifier: Apache-2.0 */
/* Single rows by guide: the same as was written, whatever the encoding; hostile files refused. */
#include "model.h"

/* Reads one row and holds it against the entries from *at on. */
static void guide_check_row(const struct pq_guide *guide, const struct model_column *column,
                            uint64_t row, struct pq_scratch *scratch, size_t at)
{
    struct fm_arena arena;
    struct pq_page page;
    struct fm_why why = {""};
    fm_arena_init(&arena, FM_MIB(64));
    int rc = pq_guide_row(guide, row, scratch, &arena, &page, &why);
    if (rc == FM_OK) {
        assert_null(page.indexes);
        assert_int_equal(page.first_row, row);
        model_check_page(column, &page, &at);
    } else if (rc == FM_NONE) {
        assert_true(column->entries[at].def < column->leaf.def_max);
    } else {
        fail_msg("row %llu: %s", (unsigned long long)row, why.text);
    }
    fm_arena_fini(&arena);
}

static void guide_check_column(const struct pq_file *file, size_t group, size_t leaf,
                               const struct model_column *column, uint64_t row_count,
                               size_t dictionary_max)
{
    FM_AUTO(pq_scratch) scratch = NULL;
    FM_AUTO(pq_guide) guide = NULL;
    struct fm_why why = {""};
    size_t *starts = calloc((size_t)row_count, sizeof *starts);
    uint64_t rows = 0;
    for (size_t i = 0; i < column->entry_count; i++)
        if (column->entries[i].rep == 0)
            starts[rows++] = i;
    assert_int_equal(rows, row_count);
    assert_ok(pq_scratch_new(&scratch));
    if (pq_guide_new(&guide, file, group, leaf, dictionary_max, scratch, &why) != FM_OK)
        fail_msg("%s", why.text);
    assert_true(pq_guide_memory(guide) > 0);
    for (uint64_t i = 0; i < row_count; i++) { /* not in order */
        uint64_t row = i % 2 ? row_count - 1 - i / 2 : i / 2;
        guide_check_row(guide, column, row, scratch, starts[row]);
    }
    free(starts);
}

static void test_rows_of_random_files(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct model model;
        struct fm_buf buf;
        FM_AUTO(pq_file) file = NULL;
        fm_buf_init(&buf, FM_MIB(64));
        model_init(&model, seed, seed % 10 ? 40 : 500);
        assert_ok(model_write(&model, &buf));
        struct fm_slice bytes = fm_buf_slice(&buf);
        assert_ok(pq_file_open(&file, fm_source_memory(&bytes), 0, NULL, NULL));
        for (size_t i = 0; i < model.column_count; i++) {
            struct model_column *column = &model.columns[i];
            /* Guides give values where pages give indexes. */
            for (size_t e = 0; e < column->entry_count; e++)
                if (column->choice.encoding == PQ_RLE_DICTIONARY)
                    column->entries[e].value %= MODEL_DICTIONARY;
            for (size_t group = 0; group < pq_file_row_group_count(file); group++)
                guide_check_column(file, group, i, column, model.row_count,
                                   seed % 2 ? SIZE_MAX : 0);
        }
        model_fini(&model);
        fm_buf_fini(&buf);
    }
}

/* Every row of every column; the first failure. */
static int guide_read_all(struct fm_slice bytes)
{
    const struct pq_limits limits = {
        .footer_bytes_max = FM_MIB(1), .page_bytes_max = FM_MIB(1), .leaf_count_max = 100};
    FM_AUTO(pq_file) file = NULL;
    FM_AUTO(pq_scratch) scratch = NULL;
    struct fm_arena arena;
    struct pq_page page;
    uint64_t sum = 0;
    int rc = pq_file_open(&file, fm_source_memory(&bytes), 0, &limits, NULL);
    if (rc == FM_OK)
        rc = pq_scratch_new(&scratch);
    fm_arena_init(&arena, FM_MIB(64));
    for (size_t i = 0; rc == FM_OK && i < pq_file_leaf_count(file); i++) {
        FM_AUTO(pq_guide) guide = NULL;
        uint64_t rows = FM_MIN(pq_row_group_row_count(file, 0), UINT64_C(40));
        rc = pq_guide_new(&guide, file, 0, i, i % 2 ? SIZE_MAX : 0, scratch, NULL);
        for (uint64_t row = 0; rc == FM_OK && row < rows; row++) {
            fm_arena_reset(&arena);
            rc = pq_guide_row(guide, row, scratch, &arena, &page, NULL);
            bool texts = rc == FM_OK && pq_file_leaf(file, i)->type == PQ_BYTE_ARRAY;
            for (uint32_t v = 0; texts && v < page.value_count; v++)
                sum += page.bytes[v].len ? page.bytes[v].ptr[page.bytes[v].len - 1] : 0;
            rc = rc == FM_NONE ? FM_OK : rc;
        }
    }
    assert_true(sum < UINT64_MAX); /* every byte that was lent was there */
    fm_arena_fini(&arena);
    return rc;
}

static void guide_read_any(void *self, struct fm_slice input)
{
    (void)self;
    int rc = guide_read_all(input); /* must not crash */
    assert_true(rc <= 0);
}

static struct fm_buf guide_file(uint64_t seed, uint32_t rows_max)
{
    struct model model;
    struct fm_buf buf;
    fm_buf_init(&buf, FM_MIB(4));
    model_init(&model, seed, rows_max);
    assert_ok(model_write(&model, &buf));
    model_fini(&model);
    assert_ok(guide_read_all(fm_buf_slice(&buf)));
    return buf;
}

static void test_no_bit_flip_crashes(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct fm_buf buf = guide_file(seed, 12);
        test_each_bit_flip(fm_buf_slice(&buf), guide_read_any, NULL);
        fm_buf_fini(&buf);
    }
}

static void test_no_row_beyond_the_last(void **state)
{
    (void)state;
    struct fm_buf buf = guide_file(3, 12);
    struct fm_slice bytes = fm_buf_slice(&buf);
    struct fm_arena arena;
    struct pq_page page;
    FM_AUTO(pq_file) file = NULL;
    FM_AUTO(pq_scratch) scratch = NULL;
    FM_AUTO(pq_guide) guide = NULL;
    fm_arena_init(&arena, FM_MIB(1));
    assert_ok(pq_file_open(&file, fm_source_memory(&bytes), 0, NULL, NULL));
    assert_ok(pq_scratch_new(&scratch));
    assert_int_equal(pq_guide_new(&guide, file, 0, 1000, 0, scratch, NULL), FM_EUSAGE);
    assert_ok(pq_guide_new(&guide, file, 0, 0, 0, scratch, NULL));
    assert_int_equal(
        pq_guide_row(guide, pq_row_group_row_count(file, 0), scratch, &arena, &page, NULL),
        FM_EUSAGE);
    fm_arena_fini(&arena);
    fm_buf_fini(&buf);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    struct fm_buf buf = guide_file(4711, 60);
    bool finished = false;
    for (uint64_t nth = 1; !finished; nth++) {
        test_alloc_fail_at(nth);
        int rc = guide_read_all(fm_buf_slice(&buf));
        test_alloc_disarm();
        finished = !test_alloc_failed();
        assert_int_equal(rc, finished ? FM_OK : FM_ENOMEM);
    }
    fm_buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_of_random_files),
        cmocka_unit_test(test_no_bit_flip_crashes),
        cmocka_unit_test(test_no_row_beyond_the_last),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
