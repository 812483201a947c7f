/* SPDX-License-Identifier: Apache-2.0 */
/* A block as a source of frames, held against its traces put back together and read as rows. */
#include "files.h"
#include "lines.h"
#include "random.h"

#include "../../support/keep.h"

#include "fermata/block_frames.h"
#include "fermata/block_traces.h"

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
    const struct frame_search search = {
        .fields = &gate->field, .field_count = 1, .visit = add_value, .self = &gate->texts};
    int rc = frame_ahead(source, &search, why);
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

/* ---- traces with some of their attributes ---- */

static bool wants_key(void *self, struct fm_slice key)
{
    (void)self;
    return key.len % 2;
}

/* What is wanted of the traces is there, as in all of them. */
static void both_keys(struct both *both)
{
    struct lines_fields *fields = calloc(1, sizeof *fields);
    struct lines got = {0}, wanted = {0};
    struct fm_why why = {{0}};
    struct fm_buf otlp;
    int rc;
    FM_AUTO(block_traces) traces = NULL;
    FM_AUTO(frame_rows) rows = NULL;
    FM_AUTO(frame_source) some = NULL;
    FM_AUTO(frame_source) all = NULL;
    assert_non_null(fields);
    assert_ok(frame_rows_new(&rows, FM_MIB(512)));
    assert_ok(block_traces_new(&traces, both->block, 0));
    assert_ok(block_traces_sparse(traces));
    block_traces_want_keys(traces, wants_key, NULL);
    fm_buf_init(&otlp, FM_MIB(64));
    while ((rc = block_traces_next(traces, NULL, &otlp, &why)) == FM_OK) {
        assert_ok(frame_rows_add(rows, fm_buf_slice(&otlp), NULL, NULL, &why));
        fm_buf_reset(&otlp);
    }
    assert_int_equal(rc, FM_END);
    assert_ok(frame_rows_finish(rows));
    for (uint32_t i = 0; i < both->fields->count; i++)
        if (both->fields->fields[i].intrinsic || wants_key(NULL, both->fields->fields[i].name))
            fields->fields[fields->count++] = both->fields->fields[i];
    struct frame_request request = {
        .fields = fields->fields, .field_count = fields->count, .end_ns = UINT64_MAX};
    assert_ok(frame_rows_source(rows, &request, &some));
    assert_ok(frame_rows_source(both->rows, &request, &all));
    assert_int_equal(lines_read(some, fields, 0, &got, &why), FM_END);
    assert_int_equal(lines_read(all, fields, 0, &wanted, &why), FM_END);
    lines_sort(&got);
    lines_sort(&wanted);
    lines_assert_equal(&got, &wanted);
    lines_fini(&got);
    lines_fini(&wanted);
    fm_buf_fini(&otlp);
    free(fields);
}

/* ---- rows that are left out ---- */

struct pick {
    struct frame_gate base;
    struct frame_search search;
    uint32_t field;
    const struct traceql_value *value; /* that is looked for */
    int last;                          /* what the source said of the present row group */
};

static int pick_visit(void *self, const struct traceql_value *value)
{
    const struct pick *pick = self;
    assert_int_equal(value->type, TRACEQL_STRING);
    return fm_slice_equal(value->text, pick->value->text) ? FM_END : FM_OK;
}

static int pick_enter(struct frame_gate *base, struct frame_source *source, struct fm_why *why)
{
    struct pick *pick = FM_CONTAINER(base, struct pick, base);
    pick->last = frame_ahead(source, &pick->search, why);
    assert_true(pick->last >= 0);
    return pick->last == FM_OK ? FM_NONE : FM_OK;
}

static bool value_has(const struct traceql_value *value, struct fm_slice text)
{
    for (uint32_t i = 0; value->type == TRACEQL_ARRAY && i < value->element_count; i++)
        if (value_has(&value->elements[i], text))
            return true;
    return value->type == TRACEQL_STRING && fm_slice_equal(value->text, text);
}

/* How often the field has the text in what the source gives. */
static uint64_t pick_count(const struct pick *pick, struct frame_source *source)
{
    struct fm_why why = {{0}};
    struct frame frame;
    struct frame_vector vector;
    uint64_t count = 0;
    int rc;
    while ((rc = frame_next(source, &frame, &why)) == FM_OK) {
        if (frame_vector(source, pick->field, NULL, &vector, &why) != FM_OK)
            fail_msg("vector: %s", why.text);
        assert_int_equal(vector.count, frame.count[vector.domain]);
        for (uint32_t i = 0; vector.shape == FRAME_CODES && i < vector.count; i++)
            count += value_has(&vector.values->values[vector.codes[i]], pick->value->text);
    }
    if (rc != FM_END)
        fail_msg("frames: %s", why.text);
    return count;
}

struct picks {
    struct both *both;
    uint32_t field, count, narrowed;
};

static int pick_value(void *self, const struct traceql_value *value)
{
    struct picks *picks = self;
    struct both *both = picks->both;
    if (value->type != TRACEQL_STRING || picks->count++ % 7)
        return FM_OK;
    FM_AUTO(frame_source) all = both_source(both, true);
    FM_AUTO(frame_source) some = both_source(both, true);
    struct pick pick = {
        .base.enter = pick_enter,
        .search = {.fields = &pick.field, .field_count = 1, .narrows = true, .visit = pick_visit},
        .field = picks->field,
        .value = value,
    };
    pick.search.self = &pick;
    pick.search.only = picks->count % 2 ? &value->text : NULL;
    some->gate = &pick.base;
    uint64_t wanted = pick_count(&pick, all);
    assert_int_equal(pick_count(&pick, some), wanted);
    picks->narrowed += some->stats.inspected_traces < all->stats.inspected_traces;
    return FM_OK;
}

/* Rows that are left out have nothing of what is looked for; the others are read as ever. */
static uint32_t both_narrow(struct both *both)
{
    struct picks picks = {.both = both};
    struct fm_why why = {{0}};
    for (picks.field = 0; picks.field < both->fields->count; picks.field++) {
        FM_AUTO(frame_source) source = both_source(both, true);
        assert_ok(frame_values(source, picks.field, pick_value, &picks, &why));
    }
    return picks.narrowed;
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

/* is_golden: the spans of each trace stand in an order that rows keep.  Returns how often rows were
 * left out. */
static uint32_t compare_files(struct block_files *files, bool is_golden)
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
    (void)both_narrow(&both); /* nothing is known of where values are */
    block_prepare(both.block, FM_MIB(16));
    both_compare(&both, 7);
    both_keys(&both);
    uint32_t narrowed = both_narrow(&both);
    struct test_keep keep;
    test_keep_init(&keep, FM_MIB(4), 0);
    both.request.keep = &keep.keep;
    both_gate(&both);
    assert_true(both_narrow(&both) >= narrowed);
    test_keep_fini(&keep);
    assert_true(both.is_exact || !is_golden);
    both_close(&both);
    return narrowed;
}

/* ---- tests ---- */

static void compare_golden(const char *folder)
{
    struct block_files files;
    struct fm_why why = {{0}};
    files_read(&files, folder);
    if (block_verify(files_source(&files), &files.meta, files.shards, &files.census, &why) != FM_OK)
        fail_msg("verify: %s", why.text);
    (void)compare_files(&files, true);
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
    uint32_t narrowed = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct block_options options = block_options_default;
        struct block_files files;
        options.codec = seed % 3 ? CODEC_ZSTD : CODEC_SNAPPY;
        options.codec_level = 1;
        options.page_span_target = seed % 2 ? 8192 : (uint32_t)(1 + seed % 40);
        options.row_group_span_max = seed % 5 == 0 ? 40 : 0;
        build_random(&files, seed, &options, 2 + seed % 30);
        narrowed += compare_files(&files, false);
        files_fini(&files);
    }
    assert_true(narrowed > 40);
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
