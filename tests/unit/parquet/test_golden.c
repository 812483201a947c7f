/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks by Tempo and by an independent writer: every page of every column, held against the
 * tables that an independent tool printed, and against each other. */
#include "../../support/test.h"

#include "fermata/parquet.h"

#define V4         "golden/blocks/v4-by-tempo/a939d3c7-e506-42db-ba21-26584d3ec9e8/data.parquet"
#define V5         "golden/blocks/v5-by-tempo/8b119329-92da-4e57-8523-673f07b1447b/data.parquet"
#define V4_MINIMAL "golden/blocks/v4-minimal/6f7dc00d-7211-4a27-b4d1-8b7fa5a318ad/data.parquet"
#define V5_MINIMAL "golden/blocks/v5-minimal/7a2bd80b-62a5-4d3b-bbf2-399ffedd98ad/data.parquet"
#define MALFORMED  "golden/blocks/malformed/5e586dcf-06be-49a1-85a2-5e8b9b64145a/data.parquet"

struct golden {
    struct fm_buf buf;
    struct fm_slice bytes;
    struct pq_file *file;
};

static void golden_open(struct golden *golden, const char *path)
{
    struct fm_why why;
    golden->buf = test_read_file(path);
    golden->bytes = fm_buf_slice(&golden->buf);
    if (pq_file_open(&golden->file, fm_source_memory(&golden->bytes), 0, NULL, &why) < 0)
        fail_msg("%s: %s", path, why.text);
}

static void golden_close(struct golden *golden)
{
    golden->file = pq_file_free(golden->file);
    fm_buf_fini(&golden->buf);
}

struct golden_sums {
    uint64_t pages, entries, values, rows;
};

static struct golden_sums golden_read(const struct golden *golden, size_t leaf)
{
    struct golden_sums sums = {0};
    FM_AUTO(pq_column) column = NULL;
    struct fm_why why;
    struct pq_page page;
    int rc = pq_column_open(&column, golden->file, 0, leaf, &why);
    while (rc == FM_OK && (rc = pq_column_next(column, &page, &why)) == FM_OK) {
        sums.pages++;
        sums.entries += page.entry_count;
        sums.values += page.value_count;
        sums.rows += page.row_count;
    }
    if (rc < 0)
        fail_msg("%s", why.text);
    return sums;
}

/* The columns of one line of a table: index|path|type|levels|codec|encodings|nv=|... */
static size_t golden_split(char *line, char *cells[], size_t cell_max)
{
    size_t count = 0;
    for (char *save, *cell = strtok_r(line, "|", &save); cell && count < cell_max;
         cell = strtok_r(NULL, "|", &save))
        cells[count++] = cell;
    return count;
}

static const char *golden_type(uint8_t type)
{
    static const char *const names[] = {
        [PQ_BOOLEAN] = "BOOLEAN", [PQ_INT32] = "INT32",           [PQ_INT64] = "INT64",
        [PQ_DOUBLE] = "DOUBLE",   [PQ_BYTE_ARRAY] = "BYTE_ARRAY",
    };
    return names[type];
}

static void golden_check_line(const struct golden *golden, char *line)
{
    char *cells[16], levels[16];
    size_t count = golden_split(line, cells, FM_COUNT(cells));
    assert_true(count >= 9);
    size_t leaf = strtoul(cells[0], NULL, 10);
    const struct pq_leaf *described = pq_file_leaf(golden->file, leaf);
    struct golden_sums sums = golden_read(golden, leaf);
    assert_string_equal(described->path, cells[1]);
    assert_string_equal(golden_type(described->type), cells[2]);
    (void)snprintf(levels, sizeof levels, "r%u d%u", described->rep_max, described->def_max);
    assert_string_equal(levels, cells[3]);
    const char *codec = described->codec == CODEC_SNAPPY ? "SNAPPY"
                        : described->codec == CODEC_ZSTD ? "ZSTD"
                                                         : "UNCOMPRESSED";
    assert_string_equal(codec, cells[4]);
    assert_int_equal(strtoul(strchr(cells[6], '=') + 1, NULL, 10), sums.entries);
    const char *pages = strstr(cells[count - 1], "V2[");
    assert_non_null(pages);
    assert_int_equal(strtoul(strstr(pages, "rows=") + 5, NULL, 10), sums.rows);
    assert_int_equal(strtoul(strstr(pages, "vals=") + 5, NULL, 10), sums.entries);
    assert_int_equal(strtoul(strstr(pages, "nulls=") + 6, NULL, 10), sums.entries - sums.values);
    assert_int_equal(sums.pages, 1);
    assert_int_equal(sums.rows, 30);
}

static size_t golden_check_table(const struct golden *golden, const char *path)
{
    struct fm_buf table = test_read_file(path);
    size_t line_count = 0;
    fm_buf_put_u8(&table, 0);
    char *at = strstr((char *)table.ptr, "== columns of row group 0\n");
    assert_non_null(at);
    for (char *save, *line = strtok_r(at, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        if (!strchr(line, '|')) /* headings and totals */
            continue;
        golden_check_line(golden, line);
        line_count++;
    }
    fm_buf_fini(&table);
    return line_count;
}

static void test_tables_of_tempo_blocks(void **state)
{
    (void)state;
    struct golden golden;
    golden_open(&golden, V4);
    assert_int_equal(golden_check_table(&golden, "golden/blocks/v4-by-tempo.schema.txt"), 103);
    assert_int_equal(pq_file_footer_size(golden.file), 19396);
    golden_close(&golden);
    golden_open(&golden, V5);
    assert_int_equal(golden_check_table(&golden, "golden/blocks/v5-by-tempo.schema.txt"), 92);
    assert_int_equal(pq_file_footer_size(golden.file), 13255);
    golden_close(&golden);
}

/* Every leaf of the lean file has the same path, type and levels in Tempo's, in the same order. */
static void golden_check_subset(const char *lean_path, const char *full_path, size_t leaf_count)
{
    struct golden lean, full;
    golden_open(&lean, lean_path);
    golden_open(&full, full_path);
    assert_int_equal(pq_file_leaf_count(lean.file), leaf_count);
    size_t last = 0;
    for (size_t i = 0; i < leaf_count; i++) {
        const struct pq_leaf *a = pq_file_leaf(lean.file, i), *b;
        size_t found = 0;
        assert_ok(pq_file_find_leaf(full.file, a->path, &found));
        assert_true(i == 0 || found > last);
        last = found;
        b = pq_file_leaf(full.file, found);
        assert_int_equal(a->type, b->type);
        assert_int_equal(a->rep_max, b->rep_max);
        assert_int_equal(a->def_max, b->def_max);
        assert_int_equal(a->converted, b->converted);
        assert_int_equal(golden_read(&lean, i).rows, 30);
    }
    size_t index;
    assert_int_equal(pq_file_find_leaf(full.file, "no.such.leaf", &index), FM_NONE);
    golden_close(&lean);
    golden_close(&full);
}

static void test_lean_blocks_have_the_same_leaves(void **state)
{
    (void)state;
    golden_check_subset(V4_MINIMAL, V4, 103);
    golden_check_subset(V5_MINIMAL, V5, 78);
}

struct golden_page {
    struct pq_column *column;
    struct pq_page page;
};

static struct golden_page golden_first_page(const struct golden *golden, const char *path)
{
    struct golden_page first = {0};
    struct fm_why why;
    size_t leaf = 0;
    assert_ok(pq_file_find_leaf(golden->file, path, &leaf));
    assert_ok(pq_column_open(&first.column, golden->file, 0, leaf, &why));
    assert_ok(pq_column_next(first.column, &first.page, &why));
    return first;
}

/* Values that must agree with each other in every block, whatever the encoding. */
static void golden_check_values(const char *path)
{
    struct golden golden;
    golden_open(&golden, path);
    struct golden_page id = golden_first_page(&golden, "TraceID");
    struct golden_page text = golden_first_page(&golden, "TraceIDText");
    struct golden_page start = golden_first_page(&golden, "StartTimeUnixNano");
    struct golden_page end = golden_first_page(&golden, "EndTimeUnixNano");
    struct golden_page duration = golden_first_page(&golden, "DurationNano");
    for (uint32_t i = 0; i < 30; i++) {
        char hex[32];
        const char *stripped = hex;
        assert_int_equal(id.page.bytes[i].len, 16);
        fm_hex_encode(hex, id.page.bytes[i]);
        size_t len = sizeof hex;
        for (; len && *stripped == '0'; len--)
            stripped++;
        assert_true(fm_slice_equal(text.page.bytes[i], fm_slice(stripped, len)));
        assert_true(end.page.i64[i] - start.page.i64[i] == duration.page.i64[i]);
        assert_true(start.page.i64[i] > INT64_C(1500000000000000000));
        if (i)
            assert_true(fm_slice_compare(id.page.bytes[i - 1], id.page.bytes[i]) < 0);
    }
    pq_column_free(id.column);
    pq_column_free(text.column);
    pq_column_free(start.column);
    pq_column_free(end.column);
    pq_column_free(duration.column);
    golden_close(&golden);
}

static void test_values_agree(void **state)
{
    (void)state;
    golden_check_values(V4);
    golden_check_values(V5);
    golden_check_values(V4_MINIMAL);
    golden_check_values(V5_MINIMAL);
}

static void test_malformed_block_is_refused_by_name(void **state)
{
    (void)state;
    struct golden golden;
    size_t refused = 0;
    golden_open(&golden, MALFORMED);
    for (size_t leaf = 0; leaf < pq_file_leaf_count(golden.file); leaf++) {
        FM_AUTO(pq_column) column = NULL;
        struct fm_why why = {""};
        struct pq_page page;
        int rc = pq_column_open(&column, golden.file, 0, leaf, &why);
        while (rc == FM_OK)
            rc = pq_column_next(column, &page, &why);
        if (rc == FM_END)
            continue;
        assert_int_equal(rc, FM_EMALFORMED);
        assert_non_null(strstr(why.text, pq_file_leaf(golden.file, leaf)->path));
        assert_non_null(strstr(why.text, "page 0 at byte"));
        refused++;
    }
    assert_int_equal(refused, 5);
    golden_close(&golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables_of_tempo_blocks),
        cmocka_unit_test(test_lean_blocks_have_the_same_leaves),
        cmocka_unit_test(test_values_agree),
        cmocka_unit_test(test_malformed_block_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
