/* SPDX-License-Identifier: Apache-2.0 */
/* Frames over blocks that are laid out otherwise, damaged or too large: the same answer, or a
 * failure that says why. */
#include "files.h"
#include "lines.h"
#include "random.h"
#include "rewrite.h"

#include "fermata/block_frames.h"

/* Fields of every kind. */
static void want_fields(struct lines_fields *fields)
{
    static const struct {
        enum traceql_scope scope;
        const char *name;
    } names[] = {
        {TRACEQL_RESOURCE, "service.name"},
        {TRACEQL_RESOURCE, "cluster"},
        {TRACEQL_RESOURCE, "a"},
        {TRACEQL_SPAN, "http.method"},
        {TRACEQL_SPAN, "http.status_code"},
        {TRACEQL_SPAN, "b.c"},
        {TRACEQL_SPAN, "user.id"},
        {TRACEQL_EVENT, "a"},
        {TRACEQL_LINK, "empty"},
        {TRACEQL_INSTRUMENTATION, "x.y.z"},
        {TRACEQL_SPAN, "nowhere"},
    };
    for (size_t i = 0; i < FM_COUNT(names); i++)
        lines_want(fields, names[i].scope, fm_slice_text(names[i].name));
    lines_want_intrinsics(fields, true);
}

static int ignore_name(void *self, struct fm_slice name)
{
    (void)name;
    ++*(uint32_t *)self;
    return FM_OK;
}

static int ignore_value(void *self, const struct traceql_value *value)
{
    (void)value;
    ++*(uint32_t *)self;
    return FM_OK;
}

/* Everything that can be asked.  FM_OK: lines are what the frames say. */
static int read_block(struct fm_slice data, const struct block_meta *meta, size_t memory_max,
                      struct lines *lines, struct fm_why *why)
{
    static struct lines_fields fields;
    FM_AUTO(block) block = NULL;
    FM_AUTO(frame_source) source = NULL;
    uint32_t count = 0;
    if (!fields.count)
        want_fields(&fields);
    const struct frame_request request = {
        .fields = fields.fields, .field_count = fields.count, .end_ns = UINT64_MAX};
    int rc = block_open(&block, fm_source_memory(&data), meta, why);
    if (rc == FM_OK && data.len % 2) /* dictionaries may be shared, too */
        block_prepare(block, FM_MIB(1));
    if (rc == FM_OK)
        rc = block_frames_new(block, &request, memory_max, &source, why);
    if (rc == FM_OK)
        rc = lines_read(source, &fields, 3, lines, why);
    for (size_t i = 0; i < FM_COUNT(lines_scopes) && rc >= 0; i++)
        rc = frame_names(source, lines_scopes[i], ignore_name, &count, why);
    for (uint32_t i = 0; i < fields.count && rc >= 0; i++)
        rc = frame_values(source, i, ignore_value, &count, why);
    return rc;
}

static void build_random(struct block_files *files, uint64_t seed, uint32_t page_span_target,
                         size_t request_count)
{
    struct random_spans random = {.state = seed, .trace_count = 12};
    struct fm_buf requests[12];
    struct block_options options = block_options_default;
    options.page_span_target = page_span_target;
    for (size_t i = 0; i < request_count; i++) {
        fm_buf_init(&requests[i], FM_MIB(8));
        random_request(&random, &requests[i]);
    }
    files_build(files, requests, request_count, &options);
    for (size_t i = 0; i < request_count; i++)
        fm_buf_fini(&requests[i]);
}

/* Wherever pages end, whatever they are encoded in. */
static void test_other_pages(void **state)
{
    struct block_files files;
    struct lines wanted = {0};
    struct fm_why why = {{0}};
    (void)state;
    build_random(&files, 5, 16, 12);
    assert_ok(read_block(fm_buf_slice(&files.data), &files.meta, FM_MIB(64), &wanted, &why));
    for (uint64_t seed = 0; seed < 24; seed++) {
        const struct rewrite rewrite = {.seed = seed,
                                        .page_version = 1 + (unsigned)seed % 2,
                                        .offset_index = seed % 3 == 0,
                                        .plain = seed % 4 == 1};
        struct block_meta meta = files.meta;
        struct fm_buf data;
        struct lines got = {0};
        fm_buf_init(&data, FM_MIB(64));
        assert_ok(rewrite_block(fm_buf_slice(&files.data), &rewrite, &data, &meta));
        if (read_block(fm_buf_slice(&data), &meta, FM_MIB(64), &got, &why) != FM_OK)
            fail_msg("seed %u: %s", (unsigned)seed, why.text);
        lines_assert_equal(&got, &wanted);
        lines_fini(&got);
        fm_buf_fini(&data);
    }
    lines_fini(&wanted);
    files_fini(&files);
}

/* One entry out of step: noticed by whoever asks for the column, unless it is a change of what the
 * column says. */
static void test_out_of_step(void **state)
{
    static const uint8_t leaves[] = {
        LEAF_RESOURCE_SERVICE,
        LEAF_RESOURCE_STATIC,
        LEAF_SCOPE_NAME,
        LEAF_SPAN_NAME,
        LEAF_SPAN_START,
        LEAF_SPAN_LEFT,
        LEAF_SPAN_ID,
        LEAF_HTTP_METHOD,
        LEAF_HTTP_STATUS,
        LEAF_EVENT_NAME,
        LEAF_EVENT_TIME,
        LEAF_LINK_SPAN,
        LEAF_SPAN_ATTRIBUTES + ATTRIBUTE_KEY,
        LEAF_RESOURCE_ATTRIBUTES + ATTRIBUTE_KEY,
    };
    struct block_files files;
    struct fm_why why = {{0}};
    uint32_t noticed = 0;
    (void)state;
    build_random(&files, 6, 16, 12);
    for (size_t i = 0; i < FM_COUNT(leaves) * 10; i++) {
        struct rewrite_damage damage = {.leaf = leaves[i / 10], .entry = (uint16_t)(i % 10 * 3)};
        damage.change = REWRITE_SKIP;
        const struct rewrite rewrite = {.page_version = 1, .damages = &damage, .damage_count = 1};
        struct block_meta meta = files.meta;
        struct fm_buf data;
        struct lines got = {0};
        fm_buf_init(&data, FM_MIB(64));
        assert_ok(rewrite_block(fm_buf_slice(&files.data), &rewrite, &data, &meta));
        int rc = read_block(fm_buf_slice(&data), &meta, FM_MIB(64), &got, &why);
        assert_true(rc == FM_OK || rc == FM_ECORRUPT);
        noticed += rc == FM_ECORRUPT;
        lines_fini(&got);
        fm_buf_fini(&data);
    }
    assert_true(noticed >= FM_COUNT(leaves) * 4);
    files_fini(&files);
}

static void test_bit_flips(void **state)
{
    struct block_files files;
    struct lines wanted = {0};
    struct fm_why why = {{0}};
    (void)state;
    build_random(&files, 7, 24, 12);
    assert_ok(read_block(fm_buf_slice(&files.data), &files.meta, FM_MIB(64), &wanted, &why));
    for (size_t bit = 0; bit < files.data.len * 8; bit += 1009) {
        struct lines got = {0};
        files.data.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
        int rc = read_block(fm_buf_slice(&files.data), &files.meta, FM_MIB(64), &got, &why);
        if (rc == FM_OK)
            lines_assert_equal(&got, &wanted);
        lines_fini(&got);
        files.data.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    lines_fini(&wanted);
    files_fini(&files);
}

/* Bits that the checksum of the page does not miss: of levels, counts, lengths, indexes, values. */
static void test_changes_behind_the_checksum(void **state)
{
    struct block_files files;
    uint32_t passed = 0, refused = 0;
    uint64_t seed = 11;
    (void)state;
    build_random(&files, 7, 24, 4);
    for (unsigned kind = 0; kind < 4; kind++) {
        const struct rewrite rewrite = {
            .seed = kind, .page_version = 1 + kind % 2, .offset_index = kind > 1, .plain = kind};
        struct block_meta meta = files.meta;
        struct fm_buf data;
        fm_buf_init(&data, FM_MIB(64));
        assert_ok(rewrite_block(fm_buf_slice(&files.data), &rewrite, &data, &meta));
        uint32_t sum = codec_crc32(0, fm_buf_slice(&data));
        for (uint64_t bit = 32 + kind; bit < data.len * 8;
             bit += 500 + fm_random_next(&seed) % 99) {
            uint8_t factor = (uint8_t)(1 + fm_random_next(&seed) % 255);
            struct fm_why why = {{0}};
            struct lines got = {0};
            rewrite_flip(&data, bit, factor);
            assert_int_equal(codec_crc32(0, fm_buf_slice(&data)), sum);
            int rc = read_block(fm_buf_slice(&data), &meta, FM_MIB(64), &got, &why);
            passed += rc == FM_OK;
            refused += rc < 0;
            lines_fini(&got);
            rewrite_flip(&data, bit, factor);
        }
        fm_buf_fini(&data);
    }
    assert_true(passed > 100 && refused > 100);
    files_fini(&files);
}

static void test_truncation(void **state)
{
    struct block_files files;
    (void)state;
    build_random(&files, 8, 24, 12);
    for (size_t len = 0; len < files.data.len; len += 1 + files.data.len / 200) {
        struct block_meta meta = files.meta;
        struct fm_why why = {{0}};
        struct lines got = {0};
        uint8_t *copy = test_exact_copy(fm_slice(files.data.ptr, len));
        meta.size_bytes = len;
        assert_true(read_block(fm_slice(copy, len), &meta, FM_MIB(64), &got, &why) < 0);
        lines_fini(&got);
        free(copy);
    }
    files_fini(&files);
}

static void test_memory(void **state)
{
    struct block_files files;
    struct lines wanted = {0};
    struct fm_why why = {{0}};
    bool done = false;
    (void)state;
    build_random(&files, 9, 24, 12);
    assert_ok(read_block(fm_buf_slice(&files.data), &files.meta, FM_MIB(64), &wanted, &why));
    for (size_t memory_max = 1024; !done && memory_max <= FM_MIB(64);
         memory_max += memory_max / 2) {
        struct lines got = {0};
        int rc = read_block(fm_buf_slice(&files.data), &files.meta, memory_max, &got, &why);
        assert_true(rc == FM_OK || rc == FM_ELIMIT);
        assert_true(rc == FM_ELIMIT || memory_max >= FM_KIB(64));
        if (rc == FM_OK)
            lines_assert_equal(&got, &wanted);
        done = rc == FM_OK;
        lines_fini(&got);
    }
    assert_true(done);
    lines_fini(&wanted);
    files_fini(&files);
}

/* ---- allocations ---- */

/* Without the lines, which must not fail. */
static int ask_all(const struct block *block, const struct frame_request *request)
{
    FM_AUTO(frame_source) source = NULL;
    struct fm_why why = {{0}};
    struct frame frame;
    struct frame_vector vector;
    struct fm_buf ids;
    uint32_t count = 0;
    int rc = block_frames_new(block, request, FM_MIB(64), &source, &why);
    while (rc == FM_OK && (rc = frame_next(source, &frame, &why)) == FM_OK)
        for (uint32_t i = 0; i < request->field_count && rc == FM_OK; i++)
            rc = frame_vector(source, i, NULL, &vector, &why);
    for (size_t i = 0; i < FM_COUNT(lines_scopes) && rc >= 0; i++)
        rc = frame_names(source, lines_scopes[i], ignore_name, &count, &why);
    for (uint32_t i = 0; i < request->field_count && rc >= 0; i++)
        rc = frame_values(source, i, ignore_value, &count, &why);
    fm_buf_init(&ids, FM_MIB(1));
    if (rc >= 0)
        rc = block_trace_ids(block, &ids, &why);
    fm_buf_fini(&ids);
    return rc;
}

static void test_failing_allocations(void **state)
{
    static struct lines_fields fields;
    struct block_files files;
    FM_AUTO(block) block = NULL;
    (void)state;
    build_random(&files, 10, 24, 6);
    want_fields(&fields);
    const struct frame_request request = {
        .fields = fields.fields, .field_count = fields.count, .end_ns = UINT64_MAX};
    assert_ok(block_open(&block, files_source(&files), &files.meta, NULL));
    for (uint64_t nth = 1;; nth += 1 + nth / 50) {
        test_alloc_fail_at(nth);
        int rc = ask_all(block, &request);
        bool failed = test_alloc_failed();
        test_alloc_disarm();
        if (!failed) {
            assert_ok(rc);
            break;
        }
        assert_int_equal(rc, FM_ENOMEM);
    }
    files_fini(&files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_other_pages),
        cmocka_unit_test(test_out_of_step),
        cmocka_unit_test(test_bit_flips),
        cmocka_unit_test(test_changes_behind_the_checksum),
        cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests_name("frames_hostile", tests, NULL, NULL);
}
