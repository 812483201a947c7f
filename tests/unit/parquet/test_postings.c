/* SPDX-License-Identifier: Apache-2.0 */
/* From values to rows: the same as was written, also where a value is in many; hostile files. */
#include "model.h"

#include "fermata/parquet_put.h"

/* Distinct rows with the value, ascending; returns how many. */
static uint32_t postings_expect(const struct model_column *column, uint32_t value, uint32_t *rows)
{
    uint32_t row = UINT32_MAX, count = 0;
    for (size_t i = 0; i < column->entry_count; i++) {
        const struct model_entry *entry = &column->entries[i];
        row += entry->rep == 0;
        if (entry->def == column->leaf.def_max && entry->value % MODEL_DICTIONARY == value &&
            (!count || rows[count - 1] != row))
            rows[count++] = row;
    }
    return count;
}

static void postings_check(const struct pq_postings *postings, const struct model_column *column,
                           uint32_t row_count)
{
    uint32_t rows[PQ_POSTINGS_MAX], got, *wanted = calloc(row_count, sizeof *wanted);
    assert_non_null(wanted);
    assert_true(pq_postings_memory(postings) > 0);
    for (uint32_t value = 0; value < MODEL_DICTIONARY; value++) {
        uint32_t count = postings_expect(column, value, wanted);
        int rc = pq_postings_rows(postings, value, rows, &got);
        assert_int_equal(rc, count > PQ_POSTINGS_MAX ? FM_NONE : FM_OK);
        if (rc == FM_NONE)
            continue;
        assert_int_equal(got, count);
        assert_memory_equal(rows, wanted, count * sizeof *rows);
    }
    assert_int_equal(pq_postings_rows(postings, MODEL_DICTIONARY, rows, &got), FM_NONE);
    free(wanted);
}

/* Every text of the dictionary is found, each time it is there, and nothing else. */
static void guide_check_find(const struct pq_guide *guide)
{
    char text[32];
    uint32_t at = 0, empty = 0;
    assert_true(pq_guide_has_texts(guide));
    assert_int_equal(pq_guide_text_count(guide), MODEL_DICTIONARY);
    for (uint32_t i = 1; i < MODEL_DICTIONARY; i++) {
        if (i % 7 == 0)
            continue;
        assert_ok(pq_guide_find(guide, model_bytes(i, text), i % 3 ? 0 : i, &at));
        assert_int_equal(at, i);
        assert_int_equal(pq_guide_find(guide, model_bytes(i, text), i + 1, &at), FM_NONE);
    }
    for (at = 0; pq_guide_find(guide, FM_SLICE(""), at, &at) == FM_OK; at++)
        assert_int_equal(at, 7 * empty++);
    assert_int_equal(empty, (MODEL_DICTIONARY + 6) / 7);
    assert_int_equal(pq_guide_find(guide, FM_SLICE("no such text"), 0, &at), FM_NONE);
}

static void test_rows_of_random_files(void **state)
{
    uint32_t checked = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct model model;
        struct fm_buf buf;
        FM_AUTO(pq_file) file = NULL;
        FM_AUTO(pq_scratch) scratch = NULL;
        fm_buf_init(&buf, FM_MIB(64));
        model_init(&model, seed, seed % 10 ? 60 : 500);
        assert_ok(model_write(&model, &buf));
        struct fm_slice bytes = fm_buf_slice(&buf);
        assert_ok(pq_file_open(&file, fm_source_memory(&bytes), 0, NULL, NULL));
        assert_ok(pq_scratch_new(&scratch));
        for (size_t i = 0; i < model.column_count; i++) {
            const struct model_column *column = &model.columns[i];
            FM_AUTO(pq_postings) postings = NULL;
            FM_AUTO(pq_guide) guide = NULL;
            struct fm_why why = {""};
            uint32_t rows[PQ_POSTINGS_MAX], count;
            bool has_dictionary = column->choice.encoding == PQ_RLE_DICTIONARY;
            assert_ok(pq_guide_new(&guide, file, 0, i, SIZE_MAX, scratch, &why));
            if (pq_postings_new(&postings, file, 0, i, seed % 2 ? guide : NULL, &why) != FM_OK)
                fail_msg("%s", why.text);
            if (has_dictionary) {
                postings_check(postings, column, model.row_count);
                guide_check_find(guide);
                checked++;
            } else {
                assert_int_equal(pq_postings_rows(postings, 0, rows, &count), FM_NONE);
                assert_false(pq_guide_has_texts(guide));
            }
        }
        model_fini(&model);
        fm_buf_fini(&buf);
    }
    assert_true(checked > 50);
}

/* Of every column; the first failure. */
static int postings_read_all(struct fm_slice bytes)
{
    const struct pq_limits limits = {
        .footer_bytes_max = FM_MIB(1), .page_bytes_max = FM_MIB(1), .leaf_count_max = 100};
    FM_AUTO(pq_file) file = NULL;
    int rc = pq_file_open(&file, fm_source_memory(&bytes), 0, &limits, NULL);
    for (size_t i = 0; rc == FM_OK && i < pq_file_leaf_count(file); i++) {
        FM_AUTO(pq_postings) postings = NULL;
        uint64_t row_count = pq_row_group_row_count(file, 0);
        uint32_t rows[PQ_POSTINGS_MAX], count = 0;
        rc = pq_postings_new(&postings, file, 0, i, NULL, NULL);
        for (uint32_t value = 0; rc == FM_OK && value < 100; value++) {
            if (pq_postings_rows(postings, value, rows, &count) != FM_OK)
                continue;
            assert_true(count <= PQ_POSTINGS_MAX);
            for (uint32_t r = 0; r < count; r++)
                assert_true(rows[r] < row_count && (!r || rows[r - 1] < rows[r]));
        }
    }
    return rc;
}

static void postings_read_any(void *self, struct fm_slice input)
{
    (void)self;
    int rc = postings_read_all(input); /* must not crash */
    assert_true(rc <= 0);
}

static struct fm_buf postings_file(uint64_t seed, uint32_t rows_max)
{
    struct model model;
    struct fm_buf buf;
    fm_buf_init(&buf, FM_MIB(4));
    model_init(&model, seed, rows_max);
    assert_ok(model_write(&model, &buf));
    model_fini(&model);
    assert_ok(postings_read_all(fm_buf_slice(&buf)));
    return buf;
}

static void test_no_bit_flip_crashes(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct fm_buf buf = postings_file(seed, 12);
        test_each_bit_flip(fm_buf_slice(&buf), postings_read_any, NULL);
        test_each_prefix(fm_buf_slice(&buf), postings_read_any, NULL);
        fm_buf_fini(&buf);
    }
}

static void test_out_of_memory(void **state)
{
    (void)state;
    struct fm_buf buf = postings_file(4711, 60);
    bool finished = false;
    for (uint64_t nth = 1; !finished; nth++) {
        test_alloc_fail_at(nth);
        int rc = postings_read_all(fm_buf_slice(&buf));
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
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests_name("postings", tests, NULL, NULL);
}
