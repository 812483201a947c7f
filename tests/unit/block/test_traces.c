/* SPDX-License-Identifier: Apache-2.0 */
/* The traces of a block from any of them on: the same as all of them from the first. */
#include "files.h"
#include "random.h"

#include "fermata/block_traces.h"

struct every {
    const struct block *block;
    uint64_t number, count; /* count: traces of the block */
    struct fm_slice want;
};

/* Reading begins at trace `number` and at no other. */
static int begin_here(void *self, const struct trace_id *id, struct fm_slice otlp)
{
    struct every *every = self;
    struct fm_why why = {""};
    struct trace_id got;
    struct fm_buf buf;
    FM_AUTO(block_traces) traces = NULL;
    fm_buf_init(&buf, FM_MIB(64));
    fm_buf_puts(&buf, "before");
    assert_ok(block_traces_new(&traces, every->block, every->number));
    assert_ok(block_traces_next(traces, &got, &buf, &why));
    assert_true(trace_id_equal(&got, id));
    assert_int_equal(buf.len, otlp.len + 6);
    assert_memory_equal(buf.ptr + 6, otlp.ptr, otlp.len);
    every->number++;
    assert_int_equal(block_traces_row(traces), every->number);
    int rc = block_traces_next(traces, NULL, &buf, &why);
    assert_int_equal(rc, every->number < every->count ? FM_OK : FM_END);
    fm_buf_fini(&buf);
    return FM_OK;
}

/* Every trace is found by its id, in any order; another id is not. */
static int find_this(void *self, const struct trace_id *id, struct fm_slice otlp)
{
    struct every *every = self;
    struct trace_id got, other = *id;
    struct fm_why why = {""};
    struct fm_buf buf;
    FM_AUTO(block_traces) traces = NULL;
    other.bytes[every->number % 16] ^= 0x5a; /* perhaps another trace's */
    fm_buf_init(&buf, FM_MIB(64));
    assert_ok(block_traces_new(&traces, every->block, every->count / 2));
    if (every->number % 2)
        assert_ok(block_traces_sparse(traces));
    int rc = block_traces_find(traces, &other, &why);
    assert_true(rc == FM_OK || rc == FM_NONE);
    assert_ok(block_traces_find(traces, id, &why));
    assert_int_equal(block_traces_row(traces), every->number);
    assert_ok(block_traces_next(traces, &got, &buf, &why));
    assert_true(trace_id_equal(&got, id));
    assert_true(fm_slice_equal(fm_buf_slice(&buf), otlp));
    assert_ok(block_traces_find(traces, id, &why));
    assert_int_equal(block_traces_row(traces), every->number++);
    fm_buf_fini(&buf);
    return FM_OK;
}

static void check(struct block_files *files)
{
    struct fm_why why = {""};
    struct block *block;
    struct fm_buf buf;
    FM_AUTO(block_traces) traces = NULL;
    assert_ok(block_open(&block, files_source(files), &files->meta, &why));
    struct every every = {.block = block, .count = files->meta.trace_count};
    assert_ok(block_each_trace(block, begin_here, &every, &why));
    assert_int_equal(every.number, every.count);
    every.number = 0;
    assert_ok(block_each_trace(block, find_this, &every, &why));
    assert_int_equal(every.number, every.count);
    fm_buf_init(&buf, FM_MIB(64));
    assert_ok(block_traces_new(&traces, block, every.count + 5));
    assert_int_equal(block_traces_next(traces, NULL, &buf, &why), FM_END);
    fm_buf_fini(&buf);
    traces = block_traces_free(traces);
    block_free(block);
}

static void test_from_anywhere(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct random_spans random = {.state = seed, .trace_count = 30};
        struct block_options options = block_options_default;
        struct fm_buf requests[8];
        struct block_files files;
        options.row_group_span_max = seed % 2 ? 0 : 20; /* several row groups */
        options.page_span_target = seed % 3 ? 7 : 1000;
        for (size_t i = 0; i < FM_COUNT(requests); i++) {
            fm_buf_init(&requests[i], FM_MIB(8));
            random_request(&random, &requests[i]);
        }
        files_build(&files, requests, FM_COUNT(requests), &options);
        check(&files);
        files_fini(&files);
        for (size_t i = 0; i < FM_COUNT(requests); i++)
            fm_buf_fini(&requests[i]);
    }
}

static void test_golden(void **state)
{
    struct block_files files;
    (void)state;
    files_read(&files, GOLDEN_V4);
    check(&files);
    files_fini(&files);
}

/* A buffer that has no room: the trace comes again, whole. */
static void test_no_room(void **state)
{
    struct block_files files;
    struct fm_why why = {""};
    struct block *block;
    struct fm_buf tight, buf;
    FM_AUTO(block_traces) traces = NULL;
    (void)state;
    files_read(&files, GOLDEN_V4_MINIMAL);
    assert_ok(block_open(&block, files_source(&files), &files.meta, &why));
    assert_ok(block_traces_new(&traces, block, 0));
    fm_buf_init(&tight, 16);
    assert_true(block_traces_next(traces, NULL, &tight, &why) < 0);
    assert_int_equal(tight.len, 0);
    assert_int_equal(block_traces_row(traces), 0);
    fm_buf_init(&buf, FM_MIB(64));
    assert_ok(block_traces_next(traces, NULL, &buf, &why));
    assert_int_equal(block_traces_row(traces), 1);
    block_traces_skip(traces);
    assert_int_equal(block_traces_row(traces), 2);
    fm_buf_fini(&buf);
    fm_buf_fini(&tight);
    traces = block_traces_free(traces);
    block_free(block);
    files_fini(&files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_from_anywhere),
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
