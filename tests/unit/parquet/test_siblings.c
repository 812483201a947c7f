/* SPDX-License-Identifier: Apache-2.0 */
/* Columns below one list: what they share while they are written (press) and read (memo) must not
 * be seen in what comes out. */
#include "../../support/test.h"

#include "fermata/parquet_put.h"

#define SIBLING_PAGES   3u
#define SIBLING_ROWS    400u /* of a page */
#define SIBLING_COLUMNS 4u
#define SIBLING_MAX     16384u

static const struct pq_node sibling_schema[] = {
    {"root", 1, PQ_REQUIRED, 0, PQ_CONVERTED_NONE},
    {"list", SIBLING_COLUMNS, PQ_REPEATED, 0, PQ_CONVERTED_NONE},
    {"zero", 0, PQ_REQUIRED, PQ_INT32, PQ_CONVERTED_NONE},
    {"some", 0, PQ_OPTIONAL, PQ_INT64, PQ_CONVERTED_NONE},
    {"none", 0, PQ_OPTIONAL, PQ_INT64, PQ_CONVERTED_NONE},
    {"void", 0, PQ_OPTIONAL, PQ_DOUBLE, PQ_CONVERTED_NONE},
};

/* The entries of all pages: repetition levels and which values are there. */
struct siblings {
    uint8_t rep[SIBLING_MAX];
    bool has[SIBLING_MAX];
    uint32_t end[SIBLING_PAGES]; /* of each page's entries */
};

static void siblings_make(struct siblings *siblings, uint64_t seed)
{
    uint32_t count = 0;
    for (unsigned page = 0; page < SIBLING_PAGES; page++) {
        for (unsigned row = 0; row < SIBLING_ROWS; row++) {
            uint32_t len = 1 + (uint32_t)(fm_random_next(&seed) >> 40) % 9;
            for (uint32_t i = 0; i < len; i++) {
                siblings->rep[count] = i > 0;
                siblings->has[count++] = fm_random_next(&seed) >> 63;
            }
        }
        siblings->end[page] = count;
    }
    assert_true(count < SIBLING_MAX);
}

static void siblings_put(const struct siblings *siblings, struct pq_chunk *chunk, unsigned column,
                         bool bulk)
{
    uint32_t at = 0;
    for (unsigned page = 0; page < SIBLING_PAGES; page++) {
        uint8_t levels[SIBLING_MAX];
        uint32_t begin = at;
        for (; at < siblings->end[page]; at++) {
            levels[at] = (uint8_t)(siblings->rep[at] << 4 | 1);
            if (column == 1 && siblings->has[at])
                pq_put_i64(chunk, siblings->rep[at], at * 7);
            else if (column == 0 && !bulk)
                pq_put_i32(chunk, siblings->rep[at], 0);
            else if (column == 1 || !bulk)
                pq_put_null(chunk, siblings->rep[at], 1);
        }
        if (bulk && column == 0)
            pq_put_zero_levels(chunk, levels + begin, at - begin);
        else if (bulk && column > 1)
            pq_put_null_levels(chunk, levels + begin, at - begin);
        pq_chunk_cut(chunk, SIBLING_ROWS);
    }
}

static int siblings_write(const struct siblings *siblings, unsigned page_version, bool shared,
                          struct fm_buf *file)
{
    const struct pq_writer_options options = {
        .schema = sibling_schema, .node_count = FM_COUNT(sibling_schema), .offset_index = true};
    FM_AUTO(pq_writer) writer = NULL;
    FM_AUTO(codec_encoder) encoder = NULL;
    struct pq_press *press = NULL;
    uint64_t size;
    uint32_t footer;
    int rc = pq_writer_new(&writer, &options, fm_sink_buf(file));
    if (rc == FM_OK)
        rc = codec_encoder_new(&encoder, CODEC_ZSTD, 1);
    if (rc == FM_OK)
        rc = pq_press_new(&press);
    if (rc == FM_OK)
        rc = pq_row_group_begin(writer);
    for (unsigned i = 0; rc == FM_OK && i < SIBLING_COLUMNS; i++) {
        const struct pq_choice choice = {.encoding = PQ_PLAIN, .codec = CODEC_ZSTD, .level = 1};
        FM_AUTO(pq_chunk) chunk = NULL;
        rc = pq_chunk_new(&chunk, (enum pq_type)sibling_schema[2 + i].type, 1, i ? 2 : 1, &choice,
                          page_version);
        if (rc < 0)
            break;
        if (shared) {
            pq_chunk_share_encoder(chunk, encoder);
            pq_chunk_share_press(chunk, press);
        }
        siblings_put(siblings, chunk, i, shared);
        rc = pq_writer_append(writer, chunk);
    }
    if (rc == FM_OK)
        rc = pq_row_group_end(writer, SIBLING_PAGES * SIBLING_ROWS);
    if (rc == FM_OK)
        rc = pq_writer_finish(writer, &size, &footer);
    pq_press_free(press);
    return rc;
}

/* One page of one column against what was put. */
static void siblings_check(const struct siblings *siblings, const struct pq_page *page,
                           unsigned number, unsigned column)
{
    uint32_t begin = number ? siblings->end[number - 1] : 0, value = 0;
    assert_int_equal(page->entry_count, siblings->end[number] - begin);
    assert_int_equal(page->row_count, SIBLING_ROWS);
    for (uint32_t i = 0; i < page->entry_count; i++) {
        bool has = column == 0 || (column == 1 && siblings->has[begin + i]);
        assert_int_equal(page->rep[i], siblings->rep[begin + i]);
        assert_int_equal(page->def[i], column ? 1 + has : 1);
        if (has && column == 0)
            assert_int_equal(page->i32[value], 0);
        if (has && column == 1)
            assert_int_equal(page->i64[value], (begin + i) * 7);
        value += has;
    }
    assert_int_equal(page->value_count, value);
}

/* All columns in turn, page by page. */
static int siblings_read(const struct siblings *siblings, struct fm_slice bytes, bool shared)
{
    FM_AUTO(pq_file) file = NULL;
    struct pq_column *columns[SIBLING_COLUMNS] = {NULL};
    struct pq_memo *memo = NULL;
    int rc = pq_file_open(&file, fm_source_memory(&bytes), 0, NULL, NULL);
    if (rc == FM_OK && shared)
        rc = pq_memo_new(&memo);
    for (unsigned i = 0; rc == FM_OK && i < SIBLING_COLUMNS; i++) {
        rc = pq_column_open(&columns[i], file, 0, i, NULL);
        if (rc == FM_OK)
            pq_column_share_memo(columns[i], memo);
    }
    for (unsigned number = 0; rc == FM_OK && number < SIBLING_PAGES; number++) {
        uint64_t rep = 0, def = 0;
        for (unsigned i = 0; rc == FM_OK && i < SIBLING_COLUMNS; i++) {
            struct pq_page page;
            rc = pq_column_next(columns[i], &page, NULL);
            if (rc != FM_OK)
                break;
            siblings_check(siblings, &page, number, i);
            assert_int_equal(page.rep_number != 0, shared);
            assert_true(i == 0 || page.rep_number == rep);
            assert_true((i == 3) == (page.def_number == def && shared) || !shared);
            rep = page.rep_number;
            def = page.def_number;
        }
    }
    for (unsigned i = 0; i < SIBLING_COLUMNS; i++)
        pq_column_free(columns[i]);
    pq_memo_free(memo);
    return rc;
}

static void test_sharing_is_not_seen(void **state)
{
    (void)state;
    struct siblings *siblings = calloc(1, sizeof *siblings);
    siblings_make(siblings, 31);
    for (unsigned version = 1; version <= 2; version++) {
        struct fm_buf alone, shared;
        fm_buf_init(&alone, FM_MIB(4));
        fm_buf_init(&shared, FM_MIB(4));
        assert_ok(siblings_write(siblings, version, false, &alone));
        assert_ok(siblings_write(siblings, version, true, &shared));
        for (int memo = 0; memo < 2; memo++) {
            assert_ok(siblings_read(siblings, fm_buf_slice(&alone), memo));
            assert_ok(siblings_read(siblings, fm_buf_slice(&shared), memo));
        }
        fm_buf_fini(&alone);
        fm_buf_fini(&shared);
    }
    free(siblings);
}

static void test_bulk_refuses_other_levels(void **state)
{
    (void)state;
    const struct pq_choice choice = {.encoding = PQ_PLAIN, .codec = CODEC_NONE};
    const uint8_t levels[] = {0x01, 0x12};
    for (unsigned zeros = 0; zeros < 2; zeros++) {
        FM_AUTO(pq_writer) writer = NULL;
        FM_AUTO(pq_chunk) chunk = NULL;
        struct fm_buf file;
        const struct pq_writer_options options = {.schema = sibling_schema,
                                                  .node_count = FM_COUNT(sibling_schema)};
        fm_buf_init(&file, FM_MIB(1));
        assert_ok(pq_writer_new(&writer, &options, fm_sink_buf(&file)));
        assert_ok(pq_row_group_begin(writer));
        assert_ok(pq_chunk_new(&chunk, PQ_INT32, 1, 2, &choice, 1));
        if (zeros)
            pq_put_zero_levels(chunk, levels, 2);
        else
            pq_put_null_levels(chunk, levels, 2);
        assert_int_equal(pq_writer_append(writer, chunk), FM_EUSAGE);
        fm_buf_fini(&file);
    }
}

static void test_out_of_memory(void **state)
{
    (void)state;
    struct siblings *siblings = calloc(1, sizeof *siblings);
    siblings_make(siblings, 32);
    bool finished = false;
    for (uint64_t nth = 1; !finished; nth++) {
        struct fm_buf file;
        fm_buf_init(&file, FM_MIB(4));
        test_alloc_fail_at(nth);
        int rc = siblings_write(siblings, 1, true, &file);
        if (rc == FM_OK)
            rc = siblings_read(siblings, fm_buf_slice(&file), true);
        test_alloc_disarm();
        finished = !test_alloc_failed();
        assert_int_equal(rc, finished ? FM_OK : FM_ENOMEM);
        fm_buf_fini(&file);
    }
    free(siblings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sharing_is_not_seen),
        cmocka_unit_test(test_bulk_refuses_other_levels),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
