/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of ids: what two share, found whatever their lengths are. */
#include "../../support/test.h"

#include "fermata/ask.h"

static struct ask_ids *random_ids(uint64_t *state, size_t count, uint32_t range)
{
    struct ask_ids *ids = calloc(1, sizeof *ids + count * sizeof(struct trace_id));
    assert_non_null(ids);
    for (size_t i = 0; i < count; i++)
        fm_store_be64(ids->ids[i].bytes + 8, fm_random_next(state) % range);
    ids->count = ask_ids_sort(ids->ids, count);
    return ids;
}

static void test_shared(void **unused)
{
    uint64_t state = 1;
    (void)unused;
    for (unsigned round = 0; round < 3000; round++) {
        uint32_t range = 1 + fm_random_next(&state) % 400;
        struct ask_ids *a = random_ids(&state, fm_random_next(&state) % 60, range);
        struct ask_ids *b = random_ids(&state, fm_random_next(&state) % 300, range);
        struct ask_ids *shared, *turned;
        size_t expected = 0;
        assert_ok(ask_ids_shared(a, b, &shared));
        assert_ok(ask_ids_shared(b, a, &turned));
        for (size_t i = 0; i < a->count; i++) {
            bool is_in_both = ask_ids_has(b->ids, b->count, &a->ids[i]);
            assert_int_equal(ask_ids_has(shared->ids, shared->count, &a->ids[i]), is_in_both);
            expected += is_in_both;
        }
        assert_int_equal(shared->count, expected);
        assert_int_equal(turned->count, expected);
        assert_memory_equal(shared->ids, turned->ids, expected * sizeof(struct trace_id));
        free(a);
        free(b);
        free(shared);
        free(turned);
    }
}

static void test_sort_drops_repeats(void **unused)
{
    struct trace_id ids[5] = {{{3}}, {{1}}, {{3}}, {{2}}, {{1}}};
    (void)unused;
    assert_int_equal(ask_ids_sort(ids, 5), 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(ids[i].bytes[0], i + 1);
    assert_int_equal(ask_ids_sort(ids, 0), 0);
    assert_false(ask_ids_has(NULL, 0, &ids[0]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared),
        cmocka_unit_test(test_sort_drops_repeats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
