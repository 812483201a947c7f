/* SPDX-License-Identifier: Apache-2.0 */
/* What is written is read back: random schemas, values, levels, encodings, codecs, page cuts. */
#include "model.h"

static void round_trip_columns(struct model *model, const struct pq_file *file, size_t group)
{
    struct fm_why why;
    for (size_t i = 0; i < model->column_count; i++) {
        const struct model_column *column = &model->columns[i];
        FM_AUTO(pq_column) reader = NULL;
        struct pq_page page;
        size_t at = 0;
        uint64_t row = 0;
        int rc;
        assert_ok(pq_column_open(&reader, file, group, i, &why));
        while ((rc = pq_column_next(reader, &page, &why)) == FM_OK) {
            assert_int_equal(page.first_row, row);
            model_check_page(column, &page, &at);
            row += page.row_count;
        }
        if (rc < 0)
            fail_msg("%s", why.text);
        assert_int_equal(at, column->entry_count);
        assert_int_equal(row, model->row_count);
        assert_int_equal(pq_column_next(reader, &page, &why), FM_END);
        struct pq_chunk_info info = pq_file_chunk_info(file, group, i);
        assert_int_equal(info.entry_count, column->entry_count);
        assert_int_equal(info.codec, column->choice.codec);
        assert_true(info.encodings & 1u << column->choice.encoding);
    }
}

static size_t round_trip_entry_of_row(const struct model_column *column, uint64_t row)
{
    for (size_t i = 0; i < column->entry_count; i++)
        if (column->entries[i].rep == 0 && row-- == 0)
            return i;
    fail();
    return 0;
}

/* Random jumps, each followed by a page or two. */
static void round_trip_seeks(struct model *model, const struct pq_file *file)
{
    struct fm_why why;
    size_t leaf = model_random(model, (uint32_t)model->column_count);
    const struct model_column *column = &model->columns[leaf];
    FM_AUTO(pq_column) reader = NULL;
    assert_ok(pq_column_open(&reader, file, 0, leaf, &why));
    for (int i = 0; i < 12; i++) {
        struct pq_page page;
        uint64_t row = model_random(model, model->row_count);
        int rc = pq_column_seek(reader, row, &why);
        if (rc < 0)
            fail_msg("%s", why.text);
        for (int pages = 0; pages < 2; pages++) {
            rc = pq_column_next(reader, &page, &why);
            if (rc < 0)
                fail_msg("%s", why.text);
            if (rc == FM_END)
                break;
            if (pages == 0)
                assert_true(page.first_row <= row && row < page.first_row + page.row_count);
            size_t at = round_trip_entry_of_row(column, page.first_row);
            model_check_page(column, &page, &at);
        }
    }
    assert_int_equal(pq_column_seek(reader, model->row_count, &why), FM_END);
}

static void round_trip_dictionaries(struct model *model, const struct pq_file *file)
{
    struct fm_why why;
    char text[32];
    for (size_t i = 0; i < model->column_count; i++) {
        FM_AUTO(pq_column) reader = NULL;
        const struct fm_slice *values;
        uint32_t count;
        assert_ok(pq_column_open(&reader, file, 0, i, &why));
        int rc = pq_column_dictionary(reader, &values, &count, &why);
        if (model->columns[i].choice.encoding != PQ_RLE_DICTIONARY) {
            assert_int_equal(rc, FM_NONE);
            continue;
        }
        assert_ok(rc);
        assert_int_equal(count, MODEL_DICTIONARY);
        for (uint32_t v = 0; v < count; v++)
            assert_true(fm_slice_equal(values[v], model_bytes(v, text)));
    }
}

static void round_trip_seed(uint64_t seed, uint32_t rows_max)
{
    struct model model;
    struct fm_buf buf;
    struct fm_why why;
    model_init(&model, seed, rows_max);
    fm_buf_init(&buf, FM_MIB(64));
    assert_ok(model_write(&model, &buf));
    uint8_t *exact = test_exact_copy(fm_buf_slice(&buf));
    struct fm_slice bytes = fm_slice(exact, buf.len);
    FM_AUTO(pq_file) file = NULL;
    int rc = pq_file_open(&file, fm_source_memory(&bytes), (uint32_t)model_random(&model, 2000),
                          NULL, &why);
    if (rc < 0)
        fail_msg("seed %llu: %s", (unsigned long long)seed, why.text);
    assert_int_equal(pq_file_leaf_count(file), model.column_count);
    assert_int_equal(pq_file_row_group_count(file), model.group_count);
    assert_int_equal(pq_file_row_count(file), (uint64_t)model.row_count * model.group_count);
    for (size_t i = 0; i < model.column_count; i++) {
        const struct pq_leaf *leaf = pq_file_leaf(file, i);
        assert_int_equal(leaf->rep_max, model.columns[i].leaf.rep_max);
        assert_int_equal(leaf->def_max, model.columns[i].leaf.def_max);
        assert_int_equal(leaf->type, model.columns[i].leaf.type);
    }
    for (size_t g = 0; g < model.group_count; g++) {
        assert_int_equal(pq_row_group_row_count(file, g), model.row_count);
        round_trip_columns(&model, file, g);
    }
    round_trip_seeks(&model, file);
    round_trip_dictionaries(&model, file);
    free(exact);
    fm_buf_fini(&buf);
    model_fini(&model);
}

static void test_random_files(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 400; seed++)
        round_trip_seed(seed * 977, 120);
    for (uint64_t seed = 1; seed <= 6; seed++)
        round_trip_seed(seed * 31, 20000);
}

static void test_chunk_refuses_misuse(void **state)
{
    (void)state;
    static const struct pq_node schema[] = {
        {"root", 1, PQ_REQUIRED, 0, PQ_CONVERTED_NONE},
        {"list", 0, PQ_REPEATED, PQ_INT32, PQ_CONVERTED_NONE},
    };
    const struct pq_choice plain = {.encoding = PQ_PLAIN, .codec = CODEC_NONE};
    for (int misuse = 0; misuse < 9; misuse++) {
        FM_AUTO(pq_chunk) chunk = NULL;
        FM_AUTO(pq_writer) writer = NULL;
        struct fm_buf buf;
        struct pq_writer_options options = {.schema = schema, .node_count = 2};
        fm_buf_init(&buf, 4096);
        assert_ok(pq_writer_new(&writer, &options, fm_sink_buf(&buf)));
        assert_ok(pq_row_group_begin(writer));
        assert_ok(pq_chunk_new(&chunk, PQ_INT32, misuse == 8 ? 0 : 1, 1, &plain, 1));
        pq_put_i32(chunk, misuse == 0 ? 1 : 0, 7); /* 0: starts inside a row */
        if (misuse == 1)
            pq_put_i64(chunk, 0, 1); /* wrong type */
        if (misuse == 2)
            pq_put_null(chunk, 1, 1); /* not a null */
        if (misuse == 3)
            pq_put_i32(chunk, 2, 7);                                    /* above rep_max */
        if (misuse != 4)                                                /* 4: never cut */
            pq_chunk_cut(chunk, misuse == 5 ? 2 : misuse == 6 ? 0 : 1); /* wrong row count */
        int rc = pq_writer_append(writer, chunk);
        if (misuse == 7) {
            assert_ok(rc);
            assert_int_equal(pq_writer_append(writer, chunk), FM_EUSAGE); /* empty, and too many */
            assert_int_equal(pq_row_group_end(writer, 2), FM_EUSAGE);
            assert_ok(pq_row_group_end(writer, 1));
        } else {
            assert_int_equal(rc, FM_EUSAGE);
        }
        fm_buf_fini(&buf);
    }
    struct pq_chunk *none;
    const struct pq_choice wrong = {.encoding = PQ_RLE_DICTIONARY, .codec = CODEC_NONE};
    assert_int_equal(pq_chunk_new(&none, PQ_INT32, 0, 0, &wrong, 1), FM_EUNSUPPORTED);
    assert_int_equal(pq_chunk_new(&none, PQ_INT32, 0, 0, &plain, 3), FM_EUNSUPPORTED);
    assert_int_equal(pq_chunk_new(&none, PQ_INT32, 16, 16, &plain, 1), FM_EUNSUPPORTED);
}

static void test_index_must_be_in_the_dictionary(void **state)
{
    (void)state;
    static const struct pq_node schema[] = {
        {"root", 1, PQ_REQUIRED, 0, PQ_CONVERTED_NONE},
        {"text", 0, PQ_OPTIONAL, PQ_BYTE_ARRAY, PQ_UTF8},
    };
    const struct pq_choice choice = {.encoding = PQ_RLE_DICTIONARY, .codec = CODEC_SNAPPY};
    struct pq_writer_options options = {.schema = schema, .node_count = 2};
    struct fm_buf buf;
    FM_AUTO(pq_chunk) chunk = NULL;
    FM_AUTO(pq_writer) writer = NULL;
    fm_buf_init(&buf, 4096);
    assert_ok(pq_writer_new(&writer, &options, fm_sink_buf(&buf)));
    assert_ok(pq_row_group_begin(writer));
    assert_ok(pq_chunk_new(&chunk, PQ_BYTE_ARRAY, 0, 1, &choice, 2));
    assert_int_equal(pq_dictionary_add(chunk, FM_SLICE("one")), 0);
    pq_put_index(chunk, 0, 1);
    pq_chunk_cut(chunk, 1);
    assert_int_equal(pq_writer_append(writer, chunk), FM_EUSAGE);
    fm_buf_fini(&buf);
}

/* Whole runs of puts against the same entries one by one: the pages must be the same bytes. */
static void test_runs_equal_single_puts(void **state)
{
    (void)state;
    const struct pq_choice choice = {.encoding = PQ_PLAIN, .codec = CODEC_NONE};
    static const struct pq_node schema[] = {
        {"root", 1, PQ_REQUIRED, 0, PQ_CONVERTED_NONE},
        {"list", 0, PQ_REPEATED, PQ_BOOLEAN, PQ_CONVERTED_NONE},
    };
    struct fm_buf files[2];
    for (int bulk = 0; bulk < 2; bulk++) {
        FM_AUTO(pq_chunk) chunk = NULL;
        FM_AUTO(pq_writer) writer = NULL;
        struct pq_writer_options options = {.schema = schema, .node_count = 2};
        uint64_t seed = 5, size;
        uint32_t footer;
        fm_buf_init(&files[bulk], FM_MIB(4));
        assert_ok(pq_writer_new(&writer, &options, fm_sink_buf(&files[bulk])));
        assert_ok(pq_row_group_begin(writer));
        assert_ok(pq_chunk_new(&chunk, PQ_BOOLEAN, 1, 1, &choice, 1));
        for (int row = 0; row < 3000; row++) {
            uint32_t n = (uint32_t)(fm_random_next(&seed) % 40);
            bool value = fm_random_next(&seed) & 1;
            pq_put_null(chunk, 0, 0);
            if (bulk) {
                pq_put_bools(chunk, 1, value, n);
                pq_put_nulls(chunk, 1, 0, n);
            }
            for (uint32_t i = 0; !bulk && i < n; i++)
                pq_put_bool(chunk, 1, value);
            for (uint32_t i = 0; !bulk && i < n; i++)
                pq_put_null(chunk, 1, 0);
        }
        assert_true(pq_chunk_pending_bytes(chunk) > 3000);
        pq_chunk_cut(chunk, 3000);
        assert_int_equal(pq_chunk_pending_bytes(chunk), 0);
        assert_true(pq_chunk_finished_bytes(chunk) > 0);
        assert_ok(pq_writer_append(writer, chunk));
        assert_ok(pq_row_group_end(writer, 3000));
        assert_ok(pq_writer_finish(writer, &size, &footer));
    }
    assert_true(fm_slice_equal(fm_buf_slice(&files[0]), fm_buf_slice(&files[1])));
    fm_buf_fini(&files[0]);
    fm_buf_fini(&files[1]);
}

static int round_trip_read_all(struct fm_slice bytes)
{
    FM_AUTO(pq_file) file = NULL;
    int rc = pq_file_open(&file, fm_source_memory(&bytes), 0, NULL, NULL);
    for (size_t i = 0; rc == FM_OK && i < pq_file_leaf_count(file); i++) {
        FM_AUTO(pq_column) column = NULL;
        struct pq_page page;
        rc = pq_column_open(&column, file, 0, i, NULL);
        while (rc == FM_OK)
            rc = pq_column_next(column, &page, NULL);
        rc = rc == FM_END ? FM_OK : rc;
    }
    return rc;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    struct model model;
    model_init(&model, 4711, 300);
    bool finished = false;
    for (uint64_t nth = 1; !finished; nth++) {
        struct fm_buf buf;
        fm_buf_init(&buf, FM_MIB(8));
        test_alloc_fail_at(nth);
        int rc = model_write(&model, &buf);
        if (rc == FM_OK)
            rc = round_trip_read_all(fm_buf_slice(&buf));
        test_alloc_disarm();
        finished = !test_alloc_failed();
        assert_int_equal(rc, finished ? FM_OK : FM_ENOMEM);
        fm_buf_fini(&buf);
    }
    model_fini(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_files),
        cmocka_unit_test(test_chunk_refuses_misuse),
        cmocka_unit_test(test_index_must_be_in_the_dictionary),
        cmocka_unit_test(test_runs_equal_single_puts),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
