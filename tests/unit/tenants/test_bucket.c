/* SPDX-License-Identifier: Apache-2.0 */
/* The token bucket against exact arithmetic in 128 bits, and its edges. */
#include "../../../src/daemon/tenants/internal.h"
#include "../../support/test.h"

#include "fermata/units.h"

static void test_it_gives_its_burst_and_then_its_rate(void **state)
{
    (void)state;
    struct bucket bucket;
    bucket_init(&bucket, 10, 20, 1000);
    assert_int_equal(bucket_wait_ns(&bucket, 20), 0);
    bucket_take(&bucket, 20);
    assert_int_equal(bucket_wait_ns(&bucket, 1), FM_NS_PER_S / 10);
    assert_int_equal(bucket_wait_ns(&bucket, 20), 2 * FM_NS_PER_S);
    bucket_fill(&bucket, 1000 + FM_NS_PER_S / 10 - 1);
    assert_int_equal(bucket_wait_ns(&bucket, 1), 1);
    bucket_fill(&bucket, 1000 + FM_NS_PER_S / 10);
    assert_int_equal(bucket_wait_ns(&bucket, 1), 0);
    bucket_take(&bucket, 1);
    bucket_fill(&bucket, 1000 + 100 * FM_NS_PER_S);
    assert_true(bucket_is_full(&bucket));
    assert_int_equal(bucket.level, 20);
}

static void test_more_than_a_burst_never_comes(void **state)
{
    (void)state;
    struct bucket bucket;
    bucket_init(&bucket, 10, 20, 0);
    assert_true(bucket_wait_ns(&bucket, 21) == UINT64_MAX);
    bucket_init(&bucket, 0, 0, 0);
    assert_int_equal(bucket_wait_ns(&bucket, UINT64_MAX), 0);
    assert_true(bucket_is_full(&bucket));
}

static void test_time_does_not_run_backwards(void **state)
{
    (void)state;
    struct bucket bucket;
    bucket_init(&bucket, 1000, 1000, FM_NS_PER_S);
    bucket_take(&bucket, 1000);
    bucket_fill(&bucket, FM_NS_PER_S / 2);
    assert_int_equal(bucket.level, 0);
    bucket_fill(&bucket, FM_NS_PER_S + FM_NS_PER_MS);
    assert_int_equal(bucket.level, 1);
}

static void test_another_rate_keeps_what_is_there(void **state)
{
    (void)state;
    struct bucket bucket;
    bucket_init(&bucket, 10, 20, 0);
    bucket_take(&bucket, 5);
    bucket_set(&bucket, 10, 8, 0);
    assert_int_equal(bucket.level, 8);
    bucket_set(&bucket, 10, 100, 0);
    assert_int_equal(bucket.level, 8);
    bucket_set(&bucket, 0, 0, 0);
    bucket_set(&bucket, 10, 30, 0); /* was unlimited: full */
    assert_int_equal(bucket.level, 30);
}

/* Each waiting time is long enough, and one nanosecond less is too little; what was given out never
 * exceeds the burst and the rate, and nothing of it is lost. */
static void test_against_exact_arithmetic(void **state)
{
    (void)state;
    uint64_t seed = 7;
    for (unsigned round = 0; round < 200; round++) {
        uint64_t rate = 1 + fm_random_next(&seed) % (UINT64_C(1) << fm_random_next(&seed) % 35);
        uint64_t burst = 1 + fm_random_next(&seed) % (UINT64_C(1) << fm_random_next(&seed) % 40);
        rate = FM_MIN(rate, BUCKET_RATE_MAX);
        uint64_t now_ns = fm_random_next(&seed) >> 2;
        struct bucket bucket;
        bucket_init(&bucket, rate, burst, now_ns);
        __uint128_t level = (__uint128_t)burst * FM_NS_PER_S; /* in 1/10^9 */
        for (unsigned i = 0; i < 300; i++) {
            uint64_t pause_ns = fm_random_next(&seed) % (UINT64_C(1) << fm_random_next(&seed) % 45);
            now_ns += pause_ns;
            bucket_fill(&bucket, now_ns);
            level = FM_MIN(level + (__uint128_t)rate * pause_ns, (__uint128_t)burst * FM_NS_PER_S);
            assert_true((__uint128_t)bucket.level * FM_NS_PER_S + bucket.part == level);
            uint64_t tokens = 1 + fm_random_next(&seed) % burst;
            uint64_t wait_ns = bucket_wait_ns(&bucket, tokens);
            __uint128_t wanted = (__uint128_t)tokens * FM_NS_PER_S;
            assert_int_equal(wait_ns == 0, level >= wanted);
            if (wait_ns == UINT64_MAX - 1) { /* centuries */
                assert_true(level + ((__uint128_t)rate << 63) < wanted);
            } else if (wait_ns) {
                assert_true(level + (__uint128_t)rate * wait_ns >= wanted);
                assert_true(wait_ns < 2 || level + (__uint128_t)rate * (wait_ns - 2) < wanted);
            } else {
                bucket_take(&bucket, tokens);
                level -= wanted;
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_gives_its_burst_and_then_its_rate),
        cmocka_unit_test(test_more_than_a_burst_never_comes),
        cmocka_unit_test(test_time_does_not_run_backwards),
        cmocka_unit_test(test_another_rate_keeps_what_is_there),
        cmocka_unit_test(test_against_exact_arithmetic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
