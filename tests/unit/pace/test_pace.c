/* SPDX-License-Identifier: Apache-2.0 */
/* The bucket's bound over every window of time, and the parties' shares of the bytes. */
#include "../../support/test.h"

#include "fermata/pace.h"

#define SECOND UINT64_C(1000000000)

static uint64_t random_below(uint64_t *seed, uint64_t bound)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (*seed >> 33) % bound;
}

static void test_bucket(void **state)
{
    (void)state;
    struct pace_bucket bucket;
    pace_bucket_init(&bucket, 1000, 500, 0);
    assert_int_equal(pace_bucket_balance(&bucket, 10 * SECOND), 500); /* never more than burst */
    pace_bucket_take(&bucket, 500, 10 * SECOND);
    assert_int_equal(pace_bucket_wait_ns(&bucket, 100, 10 * SECOND), SECOND / 10);
    assert_int_equal(pace_bucket_balance(&bucket, 10 * SECOND + SECOND / 10), 100);
    pace_bucket_take(&bucket, 2100, 10 * SECOND + SECOND / 10); /* a debt */
    assert_int_equal(pace_bucket_balance(&bucket, 10 * SECOND + SECOND / 10), -2000);
    assert_int_equal(pace_bucket_wait_ns(&bucket, 0, 10 * SECOND + SECOND / 10), 2 * SECOND);
    pace_bucket_give(&bucket, 10000, 10 * SECOND + SECOND / 10);
    assert_int_equal(pace_bucket_balance(&bucket, 10 * SECOND + SECOND / 10), 500);
    assert_int_equal(pace_bucket_balance(&bucket, 0),
                     500); /* a clock that goes back adds nothing */
    pace_bucket_take(&bucket, 500, 11 * SECOND);
    pace_bucket_set_rate(&bucket, 0, 12 * SECOND); /* what was gained before counts */
    assert_int_equal(pace_bucket_wait_ns(&bucket, 500, 12 * SECOND), 0);
    assert_int_equal(pace_bucket_balance(&bucket, 100 * SECOND), 500);
}

/* Fractions of bytes are not lost: a slow rate asked a million times a second. */
static void test_bucket_keeps_fractions(void **state)
{
    (void)state;
    struct pace_bucket bucket;
    pace_bucket_init(&bucket, 3, 1000, 0);
    pace_bucket_take(&bucket, 1000, 0);
    for (uint64_t now = 0; now <= 100 * SECOND; now += SECOND / 1000)
        (void)pace_bucket_balance(&bucket, now);
    assert_int_equal(pace_bucket_balance(&bucket, 100 * SECOND), 300);
}

static void test_bucket_holds_over_every_window(void **state)
{
    (void)state;
    enum { EVENTS = 2000 };
    static uint64_t times[EVENTS], bytes[EVENTS];
    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint64_t random = seed, rate = 1000 + random_below(&random, 1000000);
        uint64_t burst = 1000 + random_below(&random, 100000), now = 0;
        struct pace_bucket bucket;
        pace_bucket_init(&bucket, rate, burst, now);
        for (size_t i = 0; i < EVENTS; i++) {
            uint64_t want = 1 + random_below(&random, burst);
            uint64_t wait = pace_bucket_wait_ns(&bucket, want, now);
            now += wait + (random_below(&random, 4) ? 0 : random_below(&random, SECOND));
            assert_int_equal(pace_bucket_wait_ns(&bucket, want, now), 0);
            pace_bucket_take(&bucket, want, now);
            times[i] = now;
            bytes[i] = want;
        }
        for (size_t i = 0; i < EVENTS; i += 7) {
            uint64_t sum = 0;
            for (size_t k = i; k < EVENTS; k++) {
                sum += bytes[k];
                unsigned __int128 gained = (unsigned __int128)(times[k] - times[i]) * rate / SECOND;
                assert_true(sum <= burst + (uint64_t)gained + 1);
            }
        }
    }
}

/* ---- shares ---- */

static void run_shares(const struct pace_party *parties, uint32_t count, uint64_t seed,
                       uint64_t ret_sent[])
{
    struct pace_shares shares = {0};
    struct pace_party now[PACE_PARTIES_MAX];
    memcpy(now, parties, count * sizeof *now);
    memset(ret_sent, 0, count * sizeof *ret_sent);
    for (uint32_t round = 0; round < 20000; round++) {
        int i = pace_shares_pick(&shares, now, count);
        assert_true(i >= 0 && now[i].bytes);
        ret_sent[i] += now[i].bytes;
        now[i].bytes = 1 + random_below(&seed, 2 * parties[i].bytes); /* the next one of its kind */
    }
}

static void test_shares_are_of_bytes(void **state)
{
    (void)state;
    /* Large blocks of one and small ones of the other do not matter. */
    const struct pace_party parties[] = {{70, 100000}, {0, 0}, {30, 9000000}};
    for (uint64_t seed = 1; seed <= 10; seed++) {
        uint64_t sent[3];
        run_shares(parties, 3, seed, sent);
        double share = (double)sent[2] / (double)(sent[0] + sent[2]);
        assert_true(share > 0.27 && share < 0.33);
        assert_int_equal(sent[1], 0);
    }
}

static void test_alone_and_empty(void **state)
{
    (void)state;
    struct pace_shares shares = {0};
    struct pace_party parties[] = {{1, 0}, {99, 0}};
    assert_int_equal(pace_shares_pick(&shares, parties, 2), -1);
    parties[0].bytes = UINT64_C(1) << 50;
    assert_int_equal(pace_shares_pick(&shares, parties, 2), 0);
    parties[0].bytes = 0;
    parties[1].bytes = 5;
    assert_int_equal(pace_shares_pick(&shares, parties, 2), 1);
}

/* Nobody waits longer than the others need for their shares. */
static void test_nobody_starves(void **state)
{
    (void)state;
    struct pace_shares shares = {0};
    const struct pace_party parties[] = {{99, 4000000}, {1, 1000000}};
    uint32_t since = 0, longest = 0;
    for (uint32_t i = 0; i < 10000; i++) {
        since = pace_shares_pick(&shares, parties, 2) == 1 ? 0 : since + 1;
        longest = FM_MAX(longest, since);
    }
    assert_true(longest <= 26);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bucket),
        cmocka_unit_test(test_bucket_keeps_fractions),
        cmocka_unit_test(test_bucket_holds_over_every_window),
        cmocka_unit_test(test_shares_are_of_bytes),
        cmocka_unit_test(test_alone_and_empty),
        cmocka_unit_test(test_nobody_starves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
