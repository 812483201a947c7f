/* SPDX-License-Identifier: Apache-2.0 */
/* The dictionary of span texts: its order, and that it holds what the spans hold and no more. */
#include "files.h"

#include "fermata/pb.h"

#include "../../../src/lib/block/schema.h"

static void put_text(struct fm_buf *buf, const char *key, const char *text)
{
    size_t pair = pb_begin(buf, 9);
    pb_put_text(buf, 1, key);
    size_t value = pb_begin(buf, 2);
    pb_put_text(buf, 1, text);
    pb_end(buf, value);
    pb_end(buf, pair);
}

/* A span of a trace of its own; pairs: key and text in turn, up to a NULL. */
static void put_span(struct fm_buf *buf, uint8_t number, const char *const *pairs)
{
    uint8_t id[16] = {number, 1};
    size_t marks[3] = {pb_begin(buf, 1), pb_begin(buf, 2), pb_begin(buf, 2)};
    pb_put_bytes(buf, 1, fm_slice(id, 16));
    pb_put_bytes(buf, 2, fm_slice(id, 8));
    pb_put_text(buf, 5, "a name");
    pb_put_fixed64(buf, 7, UINT64_C(1795219972000000000));
    for (; *pairs; pairs += 2)
        put_text(buf, pairs[0], pairs[1]);
    for (size_t i = FM_COUNT(marks); i-- > 0;)
        pb_end(buf, marks[i]);
}

static void check_dictionary(struct block_files *files, size_t group, const char *const *wanted)
{
    FM_AUTO(pq_file) file = NULL;
    FM_AUTO(pq_column) column = NULL;
    struct fm_why why = {{0}};
    const struct fm_slice *values;
    uint32_t count, at = 0;
    assert_ok(pq_file_open(&file, files_source(files), files->meta.footer_bytes, NULL, &why));
    assert_ok(pq_column_open(&column, file, group, LEAF_SPAN_ATTRIBUTES + ATTRIBUTE_STRING, &why));
    assert_ok(pq_column_dictionary(column, &values, &count, &why));
    for (; wanted[at]; at++) {
        assert_true(at < count);
        assert_true(fm_slice_equal_text(values[at], wanted[at]));
    }
    assert_int_equal(count, at);
}

static const char *const spans[][13] = {
    {"many", "y", "few", "zz", "long", "the same beginning, longer than eight bytes: 2", NULL},
    {"many", "xx", "http.url", "only in its own column", "few", "zz", NULL},
    {"many", "x", "few", "aa", "other", "a name", "long",
     "the same beginning, longer than eight bytes: 1", NULL},
    {"many", "w", "long", "the same", NULL},
    {"many", "x", "http.status_code", "a text", "long", "the same beginning", NULL},
};

static void build(struct block_files *files, const struct block_options *options)
{
    struct fm_buf request;
    fm_buf_init(&request, FM_MIB(1));
    for (size_t i = 0; i < FM_COUNT(spans); i++)
        put_span(&request, (uint8_t)(FM_COUNT(spans) - i), spans[i]);
    files_build(files, &request, 1, options);
    struct fm_why why = {{0}};
    struct block_census census;
    if (block_verify(files_source(files), &files->meta, files->shards, &census, &why) != FM_OK)
        fail_msg("verify: %s", why.text);
    fm_buf_fini(&request);
}

static void test_order(void **state)
{
    (void)state;
    static const char *const wanted[] = {
        "a text",
        "aa",
        "zz",
        "w",
        "x",
        "xx",
        "y",
        "the same",
        "the same beginning",
        "the same beginning, longer than eight bytes: 1",
        "the same beginning, longer than eight bytes: 2",
        "a name", /* was the name of a span before */
        NULL,
    };
    struct block_files files;
    build(&files, &block_options_default);
    check_dictionary(&files, 0, wanted);
    files_fini(&files);
}

/* A row group has the texts of its own spans only, as they come. */
static void test_row_groups(void **state)
{
    (void)state;
    static const char *const first[] = {"x", "a text", "the same beginning", NULL};
    static const char *const last[] = {"y", "zz", "the same beginning, longer than eight bytes: 2",
                                       NULL};
    struct block_options options = block_options_default;
    struct block_files files;
    options.row_group_span_max = 1;
    build(&files, &options);
    assert_int_equal(files.meta.row_group_count, FM_COUNT(spans));
    check_dictionary(&files, 0, first);
    check_dictionary(&files, FM_COUNT(spans) - 1, last);
    files_fini(&files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_row_groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
