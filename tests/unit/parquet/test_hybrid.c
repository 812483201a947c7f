/* SPDX-License-Identifier: Apache-2.0 */
/* Runs and packed groups of every width, against what was put in. */
#include "../../support/test.h"

#include "../../../src/lib/parquet/internal.h"

enum { COUNT_MAX = 600 };

static void fill(uint32_t *values, uint32_t count, unsigned width, uint64_t *state)
{
    uint64_t mask = (UINT64_C(1) << width) - 1;
    bool runs = fm_random_next(state) & 1;
    for (uint32_t i = 0; i < count; i++)
        values[i] = runs && i && fm_random_next(state) % 50
                        ? values[i - 1]
                        : (uint32_t)(fm_random_next(state) & mask);
}

static void test_indexes(void **state)
{
    uint32_t values[COUNT_MAX], got[COUNT_MAX];
    uint64_t seed = 1;
    (void)state;
    for (unsigned round = 0; round < 40 * 33; round++) {
        unsigned width = round % 33;
        uint32_t count = (uint32_t)(fm_random_next(&seed) % COUNT_MAX);
        struct fm_buf buf;
        fm_buf_init(&buf, FM_MIB(1));
        fill(values, count, width, &seed);
        pq_hybrid_put_indexes(&buf, values, count, width);
        uint8_t *copy = test_exact_copy(fm_buf_slice(&buf));
        assert_ok(pq_hybrid_indexes(fm_slice(copy, buf.len), width, got, count));
        assert_memory_equal(got, values, count * sizeof *got);
        free(copy);
        fm_buf_fini(&buf);
    }
}

static void test_levels(void **state)
{
    uint32_t values[COUNT_MAX];
    uint8_t got[COUNT_MAX];
    uint64_t seed = 2;
    (void)state;
    for (unsigned round = 0; round < 40 * 9; round++) {
        unsigned width = round % 9;
        uint32_t count = (uint32_t)(fm_random_next(&seed) % COUNT_MAX);
        struct fm_buf buf;
        fm_buf_init(&buf, FM_MIB(1));
        fill(values, count, width, &seed);
        pq_hybrid_put_indexes(&buf, values, count, width);
        uint8_t *copy = test_exact_copy(fm_buf_slice(&buf));
        assert_ok(pq_hybrid_levels(fm_slice(copy, buf.len), width, got, count));
        for (uint32_t i = 0; i < count; i++)
            assert_int_equal(got[i], values[i]);
        free(copy);
        fm_buf_fini(&buf);
    }
}

static void test_count(void **state)
{
    uint8_t levels[8000];
    uint64_t seed = 3;
    (void)state;
    for (unsigned round = 0; round < 200; round++) {
        uint32_t count = (uint32_t)(fm_random_next(&seed) % (sizeof levels + 1)), wanted = 0;
        uint8_t level = (uint8_t)(fm_random_next(&seed) % 5), level_max = 4, highest = 0;
        bool too_high;
        for (uint32_t i = 0; i < count; i++) {
            levels[i] = round % 3 ? (uint8_t)(fm_random_next(&seed) % 5) : level;
            if (round % 7 == 0 && fm_random_next(&seed) % 3000 == 0)
                levels[i] = 5;
            wanted += levels[i] == level;
            highest = FM_MAX(highest, levels[i]);
        }
        assert_int_equal(pq_levels_count(levels, count, level, level_max, &too_high), wanted);
        assert_int_equal(too_high, highest > level_max);
    }
}

static void test_below(void **state)
{
    uint32_t indexes[100];
    uint64_t seed = 4;
    (void)state;
    for (unsigned round = 0; round < 2000; round++) {
        uint32_t count = (uint32_t)(fm_random_next(&seed) % FM_COUNT(indexes)), highest = 0;
        uint32_t shift = (uint32_t)(fm_random_next(&seed) % 32);
        for (uint32_t i = 0; i < count; i++) {
            indexes[i] = (uint32_t)fm_random_next(&seed) >> shift;
            highest = FM_MAX(highest, indexes[i]);
        }
        uint32_t limit = (uint32_t)fm_random_next(&seed) >> shift;
        assert_int_equal(pq_indexes_below(indexes, count, limit), !count || highest < limit);
        if (count && highest < UINT32_MAX) {
            assert_true(pq_indexes_below(indexes, count, highest + 1));
            assert_false(pq_indexes_below(indexes, count, highest));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_indexes),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_count),
        cmocka_unit_test(test_below),
    };
    return cmocka_run_group_tests_name("hybrid", tests, NULL, NULL);
}
