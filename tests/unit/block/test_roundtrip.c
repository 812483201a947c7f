/* SPDX-License-Identifier: Apache-2.0 */
/* What goes into a builder comes out of the block: every span, whatever the options. */
#include "files.h"
#include "normal.h"
#include "random.h"

struct rounds {
    struct normal all;
    const struct block *block;
    size_t traces;
};

/* By iteration and by id must be the same bytes. */
static int collect_trace(void *self, const struct trace_id *id, struct fm_slice otlp)
{
    struct rounds *rounds = self;
    struct fm_buf again;
    struct fm_why why = {{0}};
    fm_buf_init(&again, FM_MIB(64));
    normal_request(&rounds->all, otlp);
    if (block_find_trace(rounds->block, id, &again, NULL, &why) != FM_OK)
        fail_msg("by id: %s", why.text);
    assert_int_equal(again.len, otlp.len);
    assert_memory_equal(again.ptr, otlp.ptr, otlp.len);
    fm_buf_fini(&again);
    rounds->traces++;
    return FM_OK;
}

static void drop_equal_lines(struct normal *normal)
{
    size_t kept = 0;
    normal_sort(normal);
    for (size_t i = 0; i < normal->count; i++) {
        if (kept && strcmp(normal->lines[kept - 1], normal->lines[i]) == 0)
            free(normal->lines[i]);
        else
            normal->lines[kept++] = normal->lines[i];
    }
    normal->count = kept;
}

static void check_block(struct block_files *files, struct normal *wanted)
{
    struct fm_why why = {{0}};
    struct block_census census;
    if (block_verify(files_source(files), &files->meta, files->shards, &census, &why) != FM_OK)
        fail_msg("verify: %s", why.text);
    assert_int_equal(census.span_count, files->census.span_count);
    assert_int_equal(census.trace_count, files->census.trace_count);
    assert_int_equal(census.event_count, files->census.event_count);
    assert_int_equal(census.link_count, files->census.link_count);
    assert_int_equal(census.attribute_count, files->census.attribute_count);
    assert_int_equal(census.start_min_ns, files->census.start_min_ns);
    assert_int_equal(census.end_max_ns, files->census.end_max_ns);

    FM_AUTO(block) block = NULL;
    assert_ok(block_open(&block, files_source(files), &files->meta, &why));
    if (wanted->count % 2) /* by id is then read another way */
        block_prepare(block, wanted->count % 4 == 1 ? FM_MIB(64) : 0);
    struct rounds rounds = {.block = block};
    if (block_each_trace(block, collect_trace, &rounds, &why) != FM_OK)
        fail_msg("each: %s", why.text);
    assert_int_equal(rounds.traces, files->meta.trace_count);
    normal_assert_equal(&rounds.all, wanted);
    normal_fini(&rounds.all);

    struct trace_id absent = {{1, 2, 3}};
    struct fm_buf none;
    fm_buf_init(&none, 16);
    assert_int_equal(block_find_trace(block, &absent, &none, NULL, &why), FM_NONE);
}

static void round_trip(uint64_t seed, const struct block_options *options, size_t request_count)
{
    struct random_spans random = {.state = seed, .trace_count = 1 + (uint32_t)(seed * 7 % 60)};
    struct fm_buf requests[40];
    struct block_files files;
    struct normal wanted = {0};
    for (size_t i = 0; i < request_count; i++) {
        fm_buf_init(&requests[i], FM_MIB(8));
        /* Now and then a request is sent twice. */
        if (i && seed % 3 == 0 && i % 5 == 0)
            fm_buf_put_slice(&requests[i], fm_buf_slice(&requests[i - 1]));
        else
            random_request(&random, &requests[i]);
        normal_request(&wanted, fm_buf_slice(&requests[i]));
    }
    size_t sent = wanted.count;
    drop_equal_lines(&wanted);
    if (wanted.count) {
        files_build(&files, requests, request_count, options);
        assert_int_equal(files.census.span_count, wanted.count);
        assert_int_equal(files.census.duplicate_count, sent - wanted.count);
        check_block(&files, &wanted);
        files_fini(&files);
    }
    normal_fini(&wanted);
    for (size_t i = 0; i < request_count; i++)
        fm_buf_fini(&requests[i]);
}

static void test_random_spans_survive(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++)
        round_trip(seed, &block_options_default, 1 + seed % 20);
}

static void test_every_option(void **state)
{
    (void)state;
    for (uint64_t seed = 100; seed < 124; seed++) {
        struct block_options options = block_options_default;
        options.codec = seed % 2 ? CODEC_ZSTD : CODEC_SNAPPY;
        options.codec_level = (int8_t)(seed % 2 ? 1 + seed % 5 : 0);
        options.page_span_target = seed % 4 ? (uint32_t)(1 + seed % 7) : 50;
        options.row_group_span_max = seed % 3 ? (uint32_t)(20 + seed % 50) : 0;
        round_trip(seed, &options, 30);
    }
}

static void test_same_input_same_bytes(void **state)
{
    (void)state;
    struct random_spans random = {.state = 5, .trace_count = 20};
    struct fm_buf requests[8];
    struct block_files first, second;
    for (size_t i = 0; i < FM_COUNT(requests); i++) {
        fm_buf_init(&requests[i], FM_MIB(8));
        random_request(&random, &requests[i]);
    }
    files_build(&first, requests, FM_COUNT(requests), &block_options_default);
    void *shift = malloc(12345); /* another place in memory, another seed of the tables */
    files_build(&second, requests, FM_COUNT(requests), &block_options_default);
    free(shift);
    assert_int_equal(first.data.len, second.data.len);
    assert_memory_equal(first.data.ptr, second.data.ptr, first.data.len);
    assert_memory_equal(first.blooms.ptr, second.blooms.ptr, first.blooms.len);
    assert_memory_equal(&first.meta, &second.meta, sizeof first.meta);
    files_fini(&first);
    files_fini(&second);
    for (size_t i = 0; i < FM_COUNT(requests); i++)
        fm_buf_fini(&requests[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_spans_survive),
        cmocka_unit_test(test_every_option),
        cmocka_unit_test(test_same_input_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
