/* SPDX-License-Identifier: Apache-2.0 */
/* A block in shares of its rows: together they are the block, wherever the cuts are. */
#include "files.h"
#include "lines.h"
#include "random.h"

#include "fermata/block_frames.h"
#include "fermata/parquet_put.h"

#include "../../../src/lib/block/reader.h"

static void want_some(struct lines_fields *fields)
{
    lines_want_intrinsics(fields, true);
    for (size_t i = 0; i < FM_COUNT(lines_scopes); i++) {
        lines_want(fields, lines_scopes[i], FM_SLICE("service.name"));
        lines_want(fields, lines_scopes[i], FM_SLICE("http.method"));
        lines_want(fields, lines_scopes[i], FM_SLICE("a"));
    }
}

/* Adds the lines of rows [from, to); 0, 0: of all. */
static uint64_t add_rows(const struct block *block, const struct lines_fields *fields,
                         uint64_t from, uint64_t to, uint64_t seed, struct lines *lines)
{
    const struct frame_request request = {.fields = fields->fields,
                                          .field_count = fields->count,
                                          .end_ns = UINT64_MAX,
                                          .row_from = from,
                                          .row_to = to};
    FM_AUTO(frame_source) source = NULL;
    struct fm_why why = {{0}};
    if (block_frames_new(block, &request, FM_MIB(256), &source, &why) != FM_OK)
        fail_msg("source: %s", why.text);
    if (lines_read(source, fields, seed, lines, &why) != FM_END)
        fail_msg("rows %llu to %llu: %s", (unsigned long long)from, (unsigned long long)to,
                 why.text);
    return source->stats.inspected_traces;
}

static void check_shares(const struct block *block, const struct lines_fields *fields,
                         const struct lines *whole, uint32_t count)
{
    struct lines lines = {0};
    struct fm_why why = {{0}};
    uint64_t next = 0, traces = 0;
    for (uint32_t share = 0; share < count; share++) {
        uint64_t from, to;
        int rc = block_share(block, share, count, &from, &to, &why);
        if (rc == FM_NONE)
            continue;
        assert_ok(rc);
        assert_true(from == next && to > from);
        traces += add_rows(block, fields, from, to, share, &lines);
        next = to;
    }
    assert_true(next == pq_file_row_count(block->file));
    assert_true(traces == block->meta.trace_count);
    lines_assert_equal(&lines, whole);
    lines_fini(&lines);
}

/* Cuts where nobody would make them. */
static void check_cuts(const struct block *block, const struct lines_fields *fields,
                       const struct lines *whole, uint64_t seed)
{
    struct lines lines = {0};
    uint64_t rows = pq_file_row_count(block->file);
    for (uint64_t from = 0, to; from < rows; from = to) {
        to = FM_MIN(rows, from + 1 + fm_random_next(&seed) % (1 + rows / 2));
        (void)add_rows(block, fields, from, to, seed, &lines);
    }
    lines_assert_equal(&lines, whole);
    lines_fini(&lines);
}

static void check_files(struct block_files *files, bool is_prepared)
{
    struct lines_fields *fields = calloc(1, sizeof *fields);
    struct lines whole = {0};
    struct fm_why why = {{0}};
    FM_AUTO(block) block = NULL;
    assert_non_null(fields);
    assert_ok(block_open(&block, files_source(files), &files->meta, &why));
    if (is_prepared)
        block_prepare(block, FM_MIB(4));
    want_some(fields);
    (void)add_rows(block, fields, 0, 0, 0, &whole);
    for (uint32_t count = 1; count <= 4; count++)
        check_shares(block, fields, &whole, count);
    check_shares(block, fields, &whole, 1000);
    for (uint64_t seed = 1; seed <= 3; seed++)
        check_cuts(block, fields, &whole, seed);
    lines_fini(&whole);
    free(fields);
}

static void test_golden_blocks(void **state)
{
    static const char *const folders[] = {GOLDEN_V4, GOLDEN_V4_MINIMAL, GOLDEN_V5,
                                          GOLDEN_V5_MINIMAL};
    (void)state;
    for (size_t i = 0; i < 2 * FM_COUNT(folders); i++) {
        struct block_files files;
        files_read(&files, folders[i / 2]);
        check_files(&files, i % 2);
        files_fini(&files);
    }
}

static void build_random(struct block_files *files, uint64_t seed, uint32_t page_spans,
                         uint32_t group_spans)
{
    struct random_spans random = {.state = seed, .trace_count = 1 + (uint32_t)(seed * 7 % 60)};
    struct block_options options = block_options_default;
    struct fm_buf requests[20];
    options.codec_level = 1;
    options.page_span_target = page_spans;
    options.row_group_span_max = group_spans;
    for (size_t i = 0; i < FM_COUNT(requests); i++) {
        fm_buf_init(&requests[i], FM_MIB(16));
        random_request(&random, &requests[i]);
    }
    files_build(files, requests, FM_COUNT(requests), &options);
    for (size_t i = 0; i < FM_COUNT(requests); i++)
        fm_buf_fini(&requests[i]);
}

static void test_random_blocks(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct block_files files;
        build_random(&files, seed, seed % 2 ? 8192 : (uint32_t)(1 + seed % 40),
                     seed % 3 == 0 ? 40 : 0);
        check_files(&files, seed % 4 == 0);
        files_fini(&files);
    }
}

/* Where there are enough pages, each share begins with one, and all are about the same. */
static void test_shares_begin_where_pages_do(void **state)
{
    struct block_files files;
    struct fm_why why = {{0}};
    FM_AUTO(block) block = NULL;
    (void)state;
    build_random(&files, 8, 4, 0);
    assert_ok(block_open(&block, files_source(&files), &files.meta, &why));
    uint64_t rows = pq_file_row_count(block->file);
    assert_true(rows > 40);
    for (uint32_t count = 2; count <= 4; count++) {
        for (uint32_t share = 0; share < count; share++) {
            uint64_t from, to, page = UINT64_MAX;
            assert_ok(block_share(block, share, count, &from, &to, &why));
            assert_ok(pq_page_begin(block->file, 0, block->leaves[LEAF_TRACE_ID].index, from, &page,
                                    &why));
            assert_true(page == from);
            assert_true(to - from >= rows / count / 2 && to - from <= rows / count * 2);
        }
    }
    assert_int_equal(
        pq_page_begin(block->file, 0, block->leaves[LEAF_TRACE_ID].index, rows, &rows, &why),
        FM_EUSAGE);
    files_fini(&files);
}

/* What cannot be known is no share. */
static void test_damage_and_failing_allocations(void **state)
{
    struct block_files files;
    struct fm_why why = {{0}};
    bool reached = true;
    (void)state;
    build_random(&files, 8, 4, 0);
    for (uint64_t nth = 1; reached; nth++) {
        FM_AUTO(block) block = NULL;
        uint64_t from = 0, to = 0;
        assert_ok(block_open(&block, files_source(&files), &files.meta, &why));
        test_alloc_fail_at(nth);
        int rc = block_share(block, 1, 3, &from, &to, &why);
        reached = test_alloc_failed();
        test_alloc_disarm();
        assert_true(rc == (reached ? FM_ENOMEM : FM_OK));
    }
    for (size_t at = 8; at < files.data.len; at += 13) {
        FM_AUTO(block) block = NULL;
        uint64_t from = 0, to = 0, next;
        files.data.ptr[at] ^= 0x41;
        if (block_open(&block, files_source(&files), &files.meta, &why) == FM_OK &&
            block_share(block, 0, 3, &from, &next, &why) == FM_OK &&
            block_share(block, 1, 3, &from, &to, &why) == FM_OK)
            assert_true(from == next && to <= pq_file_row_count(block->file));
        files.data.ptr[at] ^= 0x41;
    }
    files_fini(&files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_blocks),
        cmocka_unit_test(test_random_blocks),
        cmocka_unit_test(test_shares_begin_where_pages_do),
        cmocka_unit_test(test_damage_and_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
