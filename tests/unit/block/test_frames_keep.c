/* SPDX-License-Identifier: Apache-2.0 */
/* Frames out of what is kept of a block say what the block says: for fields of every kind, for any
 * rows, whatever is forgotten on the way; and the newest traces come first if that is asked for. */
#include "files.h"
#include "lines.h"
#include "random.h"

#include "../../support/keep.h"

#include "fermata/block_frames.h"

struct kept { /* a random block and what is asked of it */
    struct block_files files;
    struct block *block;
    struct lines_fields *fields;
    struct frame_request request;
};

static int want_name(void *self, struct fm_slice name)
{
    struct lines_fields *fields = self;
    if (name.len < 64 && fields->count < LINES_FIELDS_MAX - 40)
        lines_want(fields, TRACEQL_SPAN, name);
    return FM_OK;
}

static int want_other(void *self, struct fm_slice name)
{
    struct lines_fields *fields = self;
    if (name.len < 64 && fields->count < LINES_FIELDS_MAX - 40)
        lines_want(fields, TRACEQL_RESOURCE, name);
    if (name.len < 64 && fields->count < LINES_FIELDS_MAX - 40)
        lines_want(fields, TRACEQL_INSTRUMENTATION, name);
    return FM_OK;
}

static void kept_open(struct kept *kept, uint64_t seed, bool with_pieces)
{
    struct random_spans random = {.state = seed, .trace_count = 1 + (uint32_t)(seed * 7 % 90)};
    struct block_options options = block_options_default;
    struct fm_buf requests[24];
    struct fm_why why;
    size_t count = 2 + seed % 22;
    *kept = (struct kept){.fields = calloc(1, sizeof *kept->fields)};
    options.codec_level = 1;
    options.page_span_target = seed % 2 ? 8192 : (uint32_t)(1 + seed % 40);
    options.row_group_span_max = seed % 4 == 0 ? 60 : 0;
    for (size_t i = 0; i < count; i++) {
        fm_buf_init(&requests[i], FM_MIB(16));
        random_request(&random, &requests[i]);
    }
    files_build(&kept->files, requests, count, &options);
    for (size_t i = 0; i < count; i++)
        fm_buf_fini(&requests[i]);
    assert_ok(block_open(&kept->block, files_source(&kept->files), &kept->files.meta, &why));
    if (seed % 3)
        block_prepare(kept->block, FM_MIB(1));
    kept->request = (struct frame_request){.fields = kept->fields->fields, .end_ns = UINT64_MAX};
    FM_AUTO(frame_source) source = NULL;
    assert_ok(block_frames_new(kept->block, &kept->request, FM_MIB(64), &source, &why));
    assert_ok(frame_names(source, TRACEQL_SPAN, want_name, kept->fields, &why));
    assert_ok(frame_names(source, TRACEQL_RESOURCE, want_other, kept->fields, &why));
    assert_ok(frame_names(source, TRACEQL_INSTRUMENTATION, want_other, kept->fields, &why));
    lines_want_intrinsics(kept->fields, true);
    for (uint32_t i = 0; i < kept->fields->count; i++) {
        enum frame_domain domain = frame_field_domain(&kept->fields->fields[i]);
        if (!with_pieces && domain > FRAME_SPAN)
            kept->fields->fields[i--] = kept->fields->fields[--kept->fields->count];
    }
    if (with_pieces)
        lines_want(kept->fields, TRACEQL_EVENT, FM_SLICE("a"));
    kept->request.field_count = kept->fields->count;
}

static void kept_close(struct kept *kept)
{
    block_free(kept->block);
    files_fini(&kept->files);
    free(kept->fields);
}

static struct frame_source *kept_source(struct kept *kept, struct block_keep *keep)
{
    struct frame_source *source = NULL;
    struct fm_why why = {{0}};
    kept->request.keep = keep;
    if (block_frames_new(kept->block, &kept->request, FM_MIB(64), &source, &why) != FM_OK)
        fail_msg("source: %s", why.text);
    return source;
}

/* Wanted by gate, or NULL. */
static void kept_read(struct kept *kept, struct block_keep *keep, struct frame_gate *gate,
                      uint64_t seed, struct lines *lines)
{
    FM_AUTO(frame_source) source = kept_source(kept, keep);
    struct fm_why why = {{0}};
    source->gate = gate;
    if (lines_read(source, kept->fields, seed, lines, &why) != FM_END)
        fail_msg("read: %s", why.text);
}

static int gate_enter(struct frame_gate *gate, struct frame_source *source, struct fm_why *why)
{
    (void)gate;
    (void)source;
    (void)why;
    return FM_OK;
}

/* ---- all there is ---- */

static void kept_compare(struct kept *kept, struct test_keep *keep, uint64_t seed)
{
    struct lines wanted = {0};
    kept_read(kept, NULL, NULL, 0, &wanted);
    for (unsigned round = 0; round < 3; round++) {
        struct frame_gate gate = {.enter = gate_enter,
                                  .newest_count = (uint32_t)(round * seed % 3)};
        struct lines got = {0};
        kept_read(kept, &keep->keep, round ? &gate : NULL, round * seed, &got);
        lines_assert_equal(&got, &wanted);
        lines_fini(&got);
    }
    lines_fini(&wanted);
}

static void test_says_the_same(void **state)
{
    uint64_t hits = 0, made = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct test_keep keep;
        struct kept kept;
        kept_open(&kept, seed, seed % 5 == 0);
        test_keep_init(&keep, FM_MIB(4), seed % 2 ? 0 : seed);
        kept_compare(&kept, &keep, seed);
        hits += keep.hits;
        made += keep.made;
        test_keep_fini(&keep);
        kept_close(&kept);
    }
    assert_true(made > 1000 && hits > made);
}

static void test_any_rows(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct test_keep keep;
        struct kept kept;
        uint64_t random = seed;
        kept_open(&kept, seed, seed % 4 == 0);
        test_keep_init(&keep, FM_MIB(4), seed % 3);
        for (unsigned i = 0; i < 4; i++) {
            uint64_t rows = kept.files.meta.trace_count;
            kept.request.row_from = fm_random_next(&random) % rows;
            kept.request.row_to = kept.request.row_from + 1 +
                                  fm_random_next(&random) % (rows - kept.request.row_from);
            kept_compare(&kept, &keep, seed);
        }
        test_keep_fini(&keep);
        kept_close(&kept);
    }
}

/* Of the largest that is kept; of the shape, without which there is nothing. */
static void kept_sizes(struct kept *kept, size_t *ret_largest, size_t *ret_shape)
{
    struct test_keep keep;
    test_keep_init(&keep, FM_MIB(4), 0);
    kept_compare(kept, &keep, 1);
    *ret_largest = *ret_shape = 0;
    for (size_t i = 0; i < keep.count; i++) {
        size_t bytes = keep.kept[i].kept->bytes;
        *ret_largest = FM_MAX(*ret_largest, bytes);
        if (!keep.kept[i].what[4])
            *ret_shape = FM_MAX(*ret_shape, bytes);
    }
    test_keep_fini(&keep);
}

static void test_too_large(void **state)
{
    uint32_t fields = 0, shapes = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct test_keep keep;
        struct kept kept;
        size_t largest, shape;
        kept_open(&kept, seed, false);
        kept_sizes(&kept, &largest, &shape);
        test_keep_init(&keep, largest - 1, 0);
        kept_compare(&kept, &keep, seed);
        assert_true(keep.refused > 0);
        for (size_t i = 0; i < keep.count; i++)
            assert_true(keep.kept[i].kept->bytes < largest);
        fields += shape < largest && keep.made > 0;
        shapes += shape == largest;
        test_keep_fini(&keep);
        kept_close(&kept);
    }
    assert_true(fields > 0 && shapes > 0);
}

/* ---- the newest ---- */

static uint64_t start_of(struct frame_source *source, const struct kept *kept, uint32_t trace)
{
    struct frame_vector vector;
    for (uint32_t i = 0; i < kept->fields->count; i++) {
        if (kept->fields->fields[i].intrinsic != TRACEQL_TRACE_START)
            continue;
        assert_ok(frame_vector(source, i, NULL, &vector, NULL));
        assert_int_equal(vector.shape, FRAME_INTEGERS);
        return (uint64_t)vector.integers[trace];
    }
    fail();
    return 0;
}

static int start_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x > y ? -1 : x < y;
}

/* All starts as they come; returns how many there are. */
static uint32_t kept_starts(struct kept *kept, struct block_keep *keep, struct frame_gate *gate,
                            uint64_t floor_ns, uint64_t *starts, uint32_t *ret_first)
{
    FM_AUTO(frame_source) source = kept_source(kept, keep);
    struct frame frame;
    uint32_t count = 0;
    int rc;
    *ret_first = 0;
    source->gate = gate;
    while ((rc = frame_next(source, &frame, NULL)) == FM_OK) {
        for (uint32_t t = 0; t < frame.count[FRAME_TRACE]; t++)
            starts[count++] = start_of(source, kept, t);
        *ret_first = *ret_first ? *ret_first : count;
        if (gate)
            gate->floor_ns = floor_ns;
    }
    assert_int_equal(rc, FM_END);
    return count;
}

static void test_newest_first(void **state)
{
    uint32_t waves = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct test_keep keep;
        struct kept kept;
        uint64_t all[128], got[128], later[128];
        uint32_t first, ignored;
        if (seed % 4 == 0)
            continue; /* one row group: waves are of each */
        kept_open(&kept, seed, false);
        test_keep_init(&keep, FM_MIB(4), 0);
        uint32_t count = kept_starts(&kept, NULL, NULL, 0, all, &ignored);
        qsort(all, count, sizeof *all, start_compare);
        struct frame_gate gate = {.enter = gate_enter, .newest_count = 1};
        assert_int_equal(kept_starts(&kept, &keep.keep, &gate, 0, got, &first), count);
        assert_int_equal(first, FM_MIN(count, 8u));
        qsort(got, first, sizeof *got, start_compare);
        assert_memory_equal(got, all, first * sizeof *all);
        qsort(got, count, sizeof *got, start_compare);
        assert_memory_equal(got, all, count * sizeof *all);
        if (count <= 8) {
            test_keep_fini(&keep);
            kept_close(&kept);
            continue;
        }
        waves++;
        /* Then what starts at the floor or later, and nothing else. */
        uint64_t floor_ns = all[count / 2];
        uint32_t wanted = 8;
        while (wanted < count && all[wanted] >= floor_ns)
            wanted++;
        gate = (struct frame_gate){.enter = gate_enter, .newest_count = 1};
        assert_int_equal(kept_starts(&kept, &keep.keep, &gate, floor_ns, later, &first), wanted);
        test_keep_fini(&keep);
        kept_close(&kept);
    }
    assert_true(waves > 10);
}

/* ---- allocations ---- */

static int read_all(struct kept *kept, struct block_keep *keep, uint64_t *ret_spans)
{
    FM_AUTO(frame_source) source = NULL;
    struct frame_gate gate = {.enter = gate_enter, .newest_count = 2};
    struct frame_vector vector;
    struct frame frame;
    struct fm_why why;
    *ret_spans = 0;
    kept->request.keep = keep;
    int rc = block_frames_new(kept->block, &kept->request, FM_MIB(64), &source, &why);
    if (rc == FM_OK)
        source->gate = &gate;
    while (rc == FM_OK && (rc = frame_next(source, &frame, &why)) == FM_OK) {
        *ret_spans += frame.count[FRAME_SPAN];
        for (uint32_t i = 0; i < kept->request.field_count && rc == FM_OK; i++)
            rc = frame_vector(source, i, NULL, &vector, &why);
    }
    return rc;
}

static void test_failing_allocations(void **state)
{
    struct kept kept;
    uint64_t spans, wanted;
    uint32_t survived = 0;
    (void)state;
    kept_open(&kept, 8, false);
    assert_int_equal(read_all(&kept, NULL, &wanted), FM_END);
    for (uint64_t nth = 1;; nth += 1 + nth / 25) {
        struct test_keep keep;
        test_keep_init(&keep, FM_MIB(4), 0);
        test_alloc_fail_at(nth);
        int rc = read_all(&kept, &keep.keep, &spans);
        bool failed = test_alloc_failed();
        test_alloc_disarm();
        /* What could not be made is decoded. */
        assert_true(rc == FM_END || (failed && rc == FM_ENOMEM));
        if (rc == FM_END)
            assert_int_equal(spans, wanted);
        survived += failed && rc == FM_END;
        test_keep_fini(&keep);
        if (!failed)
            break;
    }
    assert_true(survived > 10);
    kept_close(&kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_says_the_same),       cmocka_unit_test(test_any_rows),
        cmocka_unit_test(test_too_large),           cmocka_unit_test(test_newest_first),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
