/* SPDX-License-Identifier: Apache-2.0 */
#include "../../support/test.h"

#include "fermata/s3.h"
#include "fermata/units.h"

static void test_bounds(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (uint32_t attempt = 0; attempt < 70; attempt++) {
        uint64_t quick_max = 0, slow_min = UINT64_MAX;
        for (int i = 0; i < 200; i++) {
            uint64_t random = fm_random_next(&seed);
            uint64_t quick = s3_backoff_ns(S3_TRANSIENT, attempt, 0, 0, random);
            uint64_t slow = s3_backoff_ns(S3_AUTH, attempt, 0, 0, random);
            quick_max = FM_MAX(quick_max, quick);
            slow_min = FM_MIN(slow_min, slow);
            assert_true(slow <= 300 * FM_NS_PER_S);
            assert_true(s3_backoff_ns(S3_REFUSED, attempt, 0, FM_NS_PER_S, random) <= FM_NS_PER_S);
        }
        uint64_t span = attempt < 7 ? (500 * FM_NS_PER_MS) << attempt : 60 * FM_NS_PER_S;
        assert_true(quick_max <= span);
        assert_true(quick_max > span / 2); /* it does use its range */
        assert_true(slow_min >= 15 * FM_NS_PER_S);
    }
}

static void test_retry_after_is_a_lower_bound_with_a_cap(void **state)
{
    (void)state;
    for (uint64_t random = 0; random < 1000; random++) {
        uint64_t delay =
            s3_backoff_ns(S3_SLOW_DOWN, 0, 7, 0, random * UINT64_C(0x9e3779b97f4a7c15));
        assert_true(delay >= 7 * FM_NS_PER_S && delay <= 9 * FM_NS_PER_S);
    }
    assert_true(s3_backoff_ns(S3_SLOW_DOWN, 0, UINT32_MAX, 0, 1) <= 75 * FM_NS_PER_S);
    assert_true(s3_backoff_ns(S3_SLOW_DOWN, 0, 30, FM_NS_PER_S, 1) <= 2 * FM_NS_PER_S);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_retry_after_is_a_lower_bound_with_a_cap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
