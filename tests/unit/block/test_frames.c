/* SPDX-License-Identifier: Apache-2.0 */
/* A block as a source of frames, held against its traces put back together and read as rows. */
#include "files.h"
#include "lines.h"
#include "random.h"

#include "fermata/block_frames.h"

static int add_rows(void *self, const struct trace_id *id, struct fm_slice otlp)
{
    struct fm_why why = {{0}};
    (void)id;
    if (frame_rows_add(self, otlp, NULL, NULL, &why) != FM_OK)
        fail_msg("rows: %s", why.text);
    return FM_OK;
}

static int add_name(void *self, struct fm_slice name)
{
    lines_add(self, name);
    return FM_OK;
}

static int add_value(void *self, const struct traceql_value *value)
{
    struct fm_buf text;
    assert_int_not_equal(value->type, TRACEQL_NIL);
    assert_int_not_equal(value->type, TRACEQL_ARRAY);
    fm_buf_init(&text, FM_MIB(1));
    lines_put_value(&text, value);
    lines_add(self, fm_buf_slice(&text));
    fm_buf_fini(&text);
    return FM_OK;
}

/* ---- the two sources ---- */

struct both {
    struct block *block;
    struct frame_rows *rows;
    struct lines_fields *fields;
    struct frame_request request;
    uint64_t span_count;
    bool is_exact; /* rows have all spans of the block */
};

static void both_open(struct both *both, struct block_files *files)
{
    struct fm_why why = {{0}};
    *both = (struct both){.fields = calloc(1, sizeof *both->fields)};
    assert_non_null(both->fields);
    if (block_open(&both->block, files_source(files), &files->meta, &why) != FM_OK)
        fail_msg("open: %s", why.text);
    assert_ok(frame_rows_new(&both->rows, FM_MIB(512)));
    assert_ok(block_each_trace(both->block, add_rows, both->rows, &why));
    assert_ok(frame_rows_finish(both->rows));
    both->request = (struct frame_request){.fields = both->fields->fields, .end_ns = UINT64_MAX};
}

static void both_close(struct both *both)
{
    frame_rows_free(both->rows);
    block_free(both->block);
    free(both->fields);
}

static struct frame_source *both_source(struct both *both, bool of_block)
{
    struct fm_why why = {{0}};
    struct frame_source *source = NULL;
    both->request.field_count = both->fields->count;
    int rc = of_block ? block_frames_new(both->block, &both->request, FM_MIB(256), &source, &why)
                      : frame_rows_source(both->rows, &both->request, &source);
    if (rc != FM_OK)
        fail_msg("source: %s", why.text);
    return source;
}

static void both_hold(const struct both *both, const struct lines *got, const struct lines *wanted)
{
    if (both->is_exact)
        lines_assert_equal(got, wanted);
    for (size_t i = 0; i < wanted->count; i++)
        lines_assert_has(got, wanted->texts[i]);
}

/* Names of every scope are the same; wants a field for each. */
static void both_names(struct both *both)
{
    FM_AUTO(frame_source) of_block = both_source(both, true);
    FM_AUTO(frame_source) of_rows = both_source(both, false);
    struct fm_why why = {{0}};
    for (size_t i = 0; i < FM_COUNT(lines_scopes); i++) {
        struct lines got = {0}, wanted = {0};
        if (frame_names(of_block, lines_scopes[i], add_name, &got, &why) != FM_OK)
            fail_msg("names: %s", why.text);
        assert_ok(frame_names(of_rows, lines_scopes[i], add_name, &wanted, &why));
        lines_unique(&got);
        lines_unique(&wanted);
        both_hold(both, &got, &wanted);
        for (size_t j = 0; j < wanted.count; j++)
            lines_want(both->fields, lines_scopes[i], fm_slice_text(wanted.texts[j]));
        lines_want(both->fields, lines_scopes[i], FM_SLICE("nowhere"));
        lines_fini(&got);
        lines_fini(&wanted);
    }
}

static void both_values(struct both *both)
{
    FM_AUTO(frame_source) of_block = both_source(both, true);
    FM_AUTO(frame_source) of_rows = both_source(both, false);
    struct fm_why why = {{0}};
    for (uint32_t i = 0; i < both->fields->count; i++) {
        struct lines got = {0}, wanted = {0};
        if (frame_values(of_block, i, add_value, &got, &why) != FM_OK)
            fail_msg("values: %s", why.text);
        assert_ok(frame_values(of_rows, i, add_value, &wanted, &why));
        lines_unique(&got);
        lines_unique(&wanted);
        both_hold(both, &got, &wanted);
        lines_fini(&got);
        lines_fini(&wanted);
    }
}

/* ---- the gate ---- */

struct gate {
    struct frame_gate base;
    uint32_t field, asked, unlisted;
    int answer;
    struct lines texts;
};

static int gate_enter(struct frame_gate *base, struct frame_source *source, struct fm_why *why)
{
    struct gate *gate = FM_CONTAINER(base, struct gate, base);
    int rc = frame_ahead(source, gate->field, add_value, &gate->texts, why);
    assert_true(rc == FM_OK || rc == FM_NONE);
    gate->asked++;
    gate->unlisted += rc == FM_NONE;
    return gate->answer;
}

static int add_text(void *self, const struct traceql_value *value)
{
    return value->type == TRACEQL_STRING ? add_value(self, value) : FM_OK;
}

static void gate_read(const struct gate *gate, struct frame_source *source, uint64_t *ret_spans)
{
    struct fm_why why = {{0}};
    struct frame frame;
    int rc;
    source->gate = (struct frame_gate *)&gate->base;
    while ((rc = frame_next(source, &frame, &why)) == FM_OK)
        continue;
    assert_int_equal(rc, FM_END);
    source->gate = NULL;
    *ret_spans = source->stats.inspected_spans;
}

/* What is listed ahead of the rows has every text in them; a closed gate leaves them out. */
static void both_gate(struct both *both)
{
    for (uint32_t i = 0; i < both->fields->count; i++) {
        FM_AUTO(frame_source) open = both_source(both, true);
        FM_AUTO(frame_source) closed = both_source(both, true);
        struct gate gate = {.base.enter = gate_enter, .field = i, .answer = FM_OK};
        struct lines texts = {0};
        struct fm_why why = {{0}};
        uint64_t spans;
        gate_read(&gate, open, &spans);
        assert_int_equal(spans, both->span_count);
        assert_true(gate.asked > 0);
        lines_unique(&gate.texts);
        assert_ok(frame_values(open, i, add_text, &texts, &why));
        for (size_t j = 0; j < texts.count && !gate.unlisted; j++)
            lines_assert_has(&gate.texts, texts.texts[j]);
        gate.answer = FM_NONE;
        gate_read(&gate, closed, &spans);
        assert_int_equal(spans, 0);
        lines_fini(&gate.texts);
        lines_fini(&texts);
    }
}

static void both_compare(struct both *both, uint64_t seed)
{
    FM_AUTO(frame_source) of_block = both_source(both, true);
    FM_AUTO(frame_source) of_rows = both_source(both, false);
    struct lines got = {0}, wanted = {0};
    struct fm_why why = {{0}};
    if (lines_read(of_block, both->fields, seed, &got, &why) != FM_END)
        fail_msg("block: %s", why.text);
    if (lines_read(of_rows, both->fields, 0, &wanted, &why) != FM_END)
        fail_msg("rows: %s", why.text);
    assert_true(got.count > 0);
    assert_int_equal(got.count, both->span_count);
    assert_int_equal(of_block->stats.inspected_spans, both->span_count);
    assert_int_equal(of_block->stats.inspected_traces, of_rows->stats.inspected_traces);
    /* Rows drop a span that has the id and kind of another, blocks only what is equal. */
    both->is_exact = got.count == wanted.count;
    both_hold(both, &got, &wanted);
    assert_true(of_block->stats.inspected_bytes > 0);
    lines_fini(&got);
    lines_fini(&wanted);
}

/* is_golden: the spans of each trace stand in an order that rows keep. */
static void compare_files(struct block_files *files, bool is_golden)
{
    struct both both;
    both_open(&both, files);
    both.span_count = files->census.span_count;
    both_names(&both);
    lines_want_intrinsics(both.fields, is_golden);
    both_compare(&both, 0);
    both_compare(&both, 7);
    both_names(&both);
    both_values(&both);
    both_gate(&both);
    assert_true(both.is_exact || !is_golden);
    both_close(&both);
}

/* ---- tests ---- */

static void compare_golden(const char *folder)
{
    struct block_files files;
    struct fm_why why = {{0}};
    files_read(&files, folder);
    if (block_verify(files_source(&files), &files.meta, files.shards, &files.census, &why) != FM_OK)
        fail_msg("verify: %s", why.text);
    compare_files(&files, true);
    files_fini(&files);
}

static void test_v4_by_tempo(void **state)
{
    (void)state;
    compare_golden(GOLDEN_V4);
}

static void test_v5_by_tempo(void **state)
{
    (void)state;
    compare_golden(GOLDEN_V5);
}

static void test_v4_minimal(void **state)
{
    (void)state;
    compare_golden(GOLDEN_V4_MINIMAL);
}

static void test_v5_minimal(void **state)
{
    (void)state;
    compare_golden(GOLDEN_V5_MINIMAL);
}

static void build_random(struct block_files *files, uint64_t seed,
                         const struct block_options *options, size_t request_count)
{
    struct random_spans random = {.state = seed, .trace_count = 1 + (uint32_t)(seed * 7 % 60)};
    struct fm_buf requests[40];
    for (size_t i = 0; i < request_count; i++) {
        fm_buf_init(&requests[i], FM_MIB(16));
        random_request(&random, &requests[i]);
    }
    files_build(files, requests, request_count, options);
    for (size_t i = 0; i < request_count; i++)
        fm_buf_fini(&requests[i]);
}

static void test_random_blocks(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct block_options options = block_options_default;
        struct block_files files;
        options.codec = seed % 3 ? CODEC_ZSTD : CODEC_SNAPPY;
        options.codec_level = 1;
        options.page_span_target = seed % 2 ? 8192 : (uint32_t)(1 + seed % 40);
        options.row_group_span_max = seed % 5 == 0 ? 40 : 0;
        build_random(&files, seed, &options, 2 + seed % 30);
        compare_files(&files, false);
        files_fini(&files);
    }
}

static void test_trace_ids(void **state)
{
    struct block_files files;
    struct fm_why why = {{0}};
    struct fm_buf ids;
    FM_AUTO(block) block = NULL;
    (void)state;
    files_read(&files, GOLDEN_V5);
    assert_ok(block_open(&block, files_source(&files), &files.meta, &why));
    fm_buf_init(&ids, FM_MIB(1));
    assert_ok(block_trace_ids(block, &ids, &why));
    assert_int_equal(ids.len, files.meta.trace_count * 16);
    for (size_t at = 16; at < ids.len; at += 16)
        assert_true(memcmp(ids.ptr + at - 16, ids.ptr + at, 16) < 0);
    fm_buf_fini(&ids);
    files_fini(&files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_v4_by_tempo),   cmocka_unit_test(test_v5_by_tempo),
        cmocka_unit_test(test_v4_minimal),    cmocka_unit_test(test_v5_minimal),
        cmocka_unit_test(test_random_blocks), cmocka_unit_test(test_trace_ids),
    };
    return cmocka_run_group_tests_name("frames", tests, NULL, NULL);
}
