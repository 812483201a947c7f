/* SPDX-License-Identifier: Apache-2.0 */
/* Levels as runs and as packed bits: what is packed is unpacked again, and what is counted or
 * picked without unpacking agrees with it. */
#include "../../support/test.h"

#include "../../../src/lib/parquet/seek.h"

#define RUNS_MAX 4000u

struct runs {
    uint8_t levels[RUNS_MAX];
    uint32_t count;
    unsigned width;
    struct fm_buf packed;
};

/* Lists of about span entries: one lower level, then the highest.  The first level is 0. */
static void runs_make(struct runs *runs, uint64_t *seed, unsigned width, uint32_t count,
                      uint32_t span)
{
    unsigned top = (1u << width) - 1;
    uint32_t left = 0;
    runs->width = width;
    runs->count = count;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t random = fm_random_next(seed) >> 32;
        runs->levels[i] = (uint8_t)(left ? top : random % top);
        left = left ? left - 1 : (uint32_t)(random >> 8) % (2 * span);
    }
    runs->levels[0] = 0;
    fm_buf_init(&runs->packed, FM_MIB(1));
    uint8_t shifted[RUNS_MAX];
    for (uint32_t i = 0; i < count; i++)
        shifted[i] = (uint8_t)(runs->levels[i] << 4 | (i & 15));
    pq_hybrid_put_levels(&runs->packed, shifted, count, 4, width);
    assert_false(runs->packed.failed);
}

static void runs_check_rows(const struct runs *runs, struct fm_slice packed)
{
    struct pq_seek_row found;
    uint32_t starts[RUNS_MAX + 1], rows = 0;
    for (uint32_t i = 0; i < runs->count; i++)
        if (runs->levels[i] == 0)
            starts[rows++] = i;
    starts[rows] = runs->count;
    for (uint32_t row = 0; row < rows; row += 1 + row / 3) {
        assert_ok(pq_seek_row(packed, runs->width, runs->count, row, &found));
        assert_true(found.starts_row);
        assert_int_equal(found.row_count, rows);
        assert_int_equal(found.begin, starts[row]);
        assert_int_equal(found.end, starts[row + 1]);
    }
    assert_ok(pq_seek_row(packed, runs->width, runs->count, rows, &found));
    assert_int_equal(found.begin, runs->count);
}

static void runs_check(const struct runs *runs, uint64_t *seed)
{
    uint8_t *exact = test_exact_copy(fm_buf_slice(&runs->packed));
    struct fm_slice packed = fm_slice(exact, runs->packed.len);
    uint8_t *levels = malloc(runs->count); /* what is written behind it is seen by sanitizers */
    assert_non_null(levels);
    assert_ok(pq_hybrid_levels(packed, runs->width, levels, runs->count));
    assert_memory_equal(levels, runs->levels, runs->count);
    runs_check_rows(runs, packed);
    for (unsigned i = 0; i < 20; i++) {
        uint32_t end = i ? (uint32_t)(fm_random_next(seed) >> 33) % (runs->count + 1) : runs->count;
        uint32_t begin = (uint32_t)(fm_random_next(seed) >> 33) % (end + 1);
        uint8_t level = (uint8_t)(fm_random_next(seed) >> (64 - runs->width));
        uint32_t equal = 0, found;
        for (uint32_t at = 0; at < end; at++)
            equal += runs->levels[at] == level;
        assert_ok(pq_seek_count(packed, runs->width, runs->count, level, end, &found));
        assert_int_equal(found, equal);
        assert_ok(pq_seek_levels(packed, runs->width, runs->count, begin, end, levels));
        assert_memory_equal(levels, runs->levels + begin, end - begin);
    }
    free(levels);
    free(exact);
}

static void test_levels_of_lists(void **state)
{
    (void)state;
    static const uint32_t spans[] = {1, 2, 5, 9, 16, 40, 300};
    static const uint32_t counts[] = {1, 2, 7, 8, 9, 17, 100, 1023, 1024, 1500, RUNS_MAX};
    uint64_t seed = 7;
    for (unsigned width = 1; width <= PQ_SEEK_WIDTH_MAX; width++)
        for (size_t i = 0; i < FM_COUNT(spans) * FM_COUNT(counts); i++) {
            struct runs runs;
            runs_make(&runs, &seed, width, counts[i / FM_COUNT(spans)], spans[i % FM_COUNT(spans)]);
            runs_check(&runs, &seed);
            fm_buf_fini(&runs.packed);
        }
}

/* Levels that are packed at their beginning and runs behind it, and the other way round. */
static void test_levels_that_change(void **state)
{
    (void)state;
    uint64_t seed = 11;
    for (unsigned half = 0; half < 2; half++)
        for (uint32_t count = 1500; count <= RUNS_MAX; count += 250) {
            struct runs runs;
            uint8_t mixed[RUNS_MAX];
            runs_make(&runs, &seed, 3, count, half ? 20 : 1);
            memcpy(mixed, runs.levels, count / 2);
            fm_buf_fini(&runs.packed);
            runs_make(&runs, &seed, 3, count, half ? 1 : 20);
            memcpy(runs.levels, mixed, count / 2);
            fm_buf_reset(&runs.packed);
            pq_hybrid_put_levels(&runs.packed, runs.levels, count, 0, 3);
            runs_check(&runs, &seed);
            fm_buf_fini(&runs.packed);
        }
}

/* What lists of nine look like: two bytes a run, and no bits. */
static void test_runs_alone(void **state)
{
    (void)state;
    uint8_t levels[900];
    struct fm_buf packed;
    for (size_t i = 0; i < sizeof levels; i++)
        levels[i] = i % 9 ? 4 : 3;
    fm_buf_init(&packed, FM_MIB(1));
    pq_hybrid_put_levels(&packed, levels, sizeof levels, 0, 3);
    assert_int_equal(packed.len, 400);
    for (size_t at = 0; at < packed.len; at += 4)
        assert_memory_equal(packed.ptr + at, "\x02\x03\x10\x04", 4);
    fm_buf_fini(&packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels_of_lists),
        cmocka_unit_test(test_levels_that_change),
        cmocka_unit_test(test_runs_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
