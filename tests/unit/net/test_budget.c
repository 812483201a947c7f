/* SPDX-License-Identifier: Apache-2.0 */
/* The account of what peers make us hold: its two rules, alone and under threads. */
#include "../../support/test.h"

#include <pthread.h>

#include "fermata/net_budget.h"

#define PARTIES 5
#define RATIO   NET_BUDGET_SHARE_RATIO

static uint64_t used(const struct net_budget *budget)
{
    return metric_get(&budget->bytes_used);
}

static void test_room(void **state)
{
    (void)state;
    struct net_budget budget = {.bytes_max = 100};
    assert_true(net_budget_take(&budget, 60));
    assert_false(net_budget_take(&budget, 41));
    assert_true(net_budget_take(&budget, 40));
    assert_false(net_budget_take(&budget, 1));
    assert_true(net_budget_take(&budget, 0));
    assert_false(net_budget_take(&budget, UINT64_MAX));
    assert_int_equal(metric_get(&budget.refusals_total), 3);
    net_budget_give(&budget, 100);
    assert_int_equal(used(&budget), 0);
    assert_int_equal(metric_get(&budget.bytes_peak), 100);
}

/* There are two parties from now on. */
static void share(struct net_budget *budget)
{
    assert_true(net_budget_take_for(budget, 2, 0));
    assert_true(net_budget_take_for(budget, 3, 0));
}

static void test_one_alone_may_have_all(void **state)
{
    (void)state;
    struct net_budget budget = {.bytes_max = 100};
    assert_true(net_budget_take(&budget, 10)); /* nobody is no party, strangers are no reason */
    assert_false(net_budget_take_for(&budget, NET_BUDGET_STRANGERS, 80));
    assert_true(net_budget_take_for(&budget, NET_BUDGET_STRANGERS, 10));
    assert_int_equal(net_budget_share_max(&budget), 100);
    assert_true(net_budget_take_for(&budget, 7, 80));
    assert_false(net_budget_take_for(&budget, 8, 1));
    assert_int_equal(net_budget_share_max(&budget), 80);
    net_budget_give_for(&budget, 7, 10);
    assert_false(net_budget_take_for(&budget, 7, 1));
    assert_true(net_budget_take_for(&budget, 8, 8));
}

static void test_share(void **state)
{
    (void)state;
    struct net_budget budget = {.bytes_max = 100};
    share(&budget);
    assert_int_equal(net_budget_share_max(&budget), 80);
    assert_false(net_budget_take_for(&budget, 2, 81));
    assert_true(net_budget_take_for(&budget, 2, 80));
    assert_false(net_budget_take_for(&budget, 2, 1));
    assert_true(net_budget_take_for(&budget, 3, 16)); /* four fifths of what was left */
    assert_false(net_budget_take_for(&budget, 3, 1));
    assert_int_equal(metric_get(&budget.share_refusals_total), 3);
    net_budget_give_for(&budget, 2, 80);
    assert_true(net_budget_take_for(&budget, 3, 64));
    net_budget_give_for(&budget, 3, 80);
    assert_int_equal(used(&budget), 0);
}

static void test_share_max_is_what_one_gets(void **state)
{
    (void)state;
    static const uint64_t limits[] = {0, 1, 2, 3, 4, 5, 6, 7, 99, 1 << 20, UINT64_MAX};
    for (size_t i = 0; i < FM_COUNT(limits); i++) {
        struct net_budget budget = {.bytes_max = limits[i]};
        for (unsigned round = 0; round < 2; round++) {
            uint64_t most = net_budget_share_max(&budget);
            assert_true(net_budget_take_for(&budget, 2, most));
            assert_false(net_budget_take_for(&budget, 2, 1));
            net_budget_give_for(&budget, 2, most);
            share(&budget);
        }
    }
}

static void test_a_child_takes_from_its_parent_too(void **state)
{
    (void)state;
    struct net_budget all = {.bytes_max = 100}, answers = {.bytes_max = 50, .parent = &all};
    share(&answers);
    assert_int_equal(net_budget_share_max(&answers), 40);
    assert_true(net_budget_take_for(&answers, 2, 40));
    assert_int_equal(used(&all), 40);
    assert_false(net_budget_take_for(&answers, 3, 9));
    assert_true(net_budget_take_for(&all, 3, 48));
    assert_false(net_budget_take_for(&answers, 4, 10)); /* the parent has none */
    assert_int_equal(used(&answers), 40);
    assert_int_equal(used(&all), 88);
    net_budget_give_for(&answers, 2, 40);
    net_budget_give_for(&all, 3, 48);
    assert_int_equal(used(&answers) + used(&all), 0);
    assert_true(net_budget_take_for(&all, 3, 80)); /* nothing stuck to a party */
    net_budget_give_for(&all, 3, 80);
}

/* However many are greedy, what is left for one more is at least 1/(4n+1) of the whole once each
 * has come back for as much as it gets; and whoever is new gets four fifths of what is left. */
static void test_there_is_always_something_left(void **state)
{
    (void)state;
    for (uint32_t greedy = 1; greedy <= 10; greedy++) {
        struct net_budget budget = {.bytes_max = FM_MIB(64)};
        share(&budget);
        uint64_t held[16] = {0}, fair = FM_MIB(64) / (RATIO * greedy + 1);
        for (unsigned round = 0; round < 2000; round++) { /* they end requests and begin others */
            for (uint32_t i = 0; i < greedy; i++) {
                uint64_t give = held[i] / 64;
                net_budget_give_for(&budget, 2 + i, give);
                held[i] -= give;
            }
            for (uint32_t i = 0; i < greedy; i++) {
                for (uint64_t bytes = FM_MIB(1); bytes; bytes /= 2) {
                    while (net_budget_take_for(&budget, 2 + i, bytes))
                        held[i] += bytes;
                }
            }
        }
        uint64_t left = FM_MIB(64) - used(&budget);
        assert_true(left >= fair * 7 / 10);
        for (uint32_t i = 0; i < greedy; i++)
            assert_true(held[i] >= RATIO * left * 99 / 100 && held[i] <= 2 * RATIO * left);
        assert_true(net_budget_take_for(&budget, 100, left * RATIO / (RATIO + 1) - 1));
    }
}

static void test_random_takes_keep_both_rules(void **state)
{
    (void)state;
    struct net_budget budget = {.bytes_max = 100000};
    share(&budget);
    uint64_t seed = 5, held[PARTIES] = {0}, sum = 0;
    for (unsigned i = 0; i < 200000; i++) {
        uint32_t party = (uint32_t)(fm_random_next(&seed) % PARTIES);
        uint64_t bytes = fm_random_next(&seed) % 30000;
        if (fm_random_next(&seed) % 2) {
            bool may = sum + bytes <= 100000 &&
                       (party == 0 || held[party] + bytes <= RATIO * (100000 - sum - bytes));
            assert_int_equal(net_budget_take_for(&budget, party, bytes), may);
            if (may) {
                held[party] += bytes;
                sum += bytes;
            }
        } else {
            bytes = FM_MIN(bytes, held[party]);
            net_budget_give_for(&budget, party, bytes);
            held[party] -= bytes;
            sum -= bytes;
        }
        assert_int_equal(used(&budget), sum);
    }
}

/* ---- threads ---- */

#define THREADS 4
#define ROUNDS  50000
#define HOLDS   16

struct racer {
    struct net_budget *budget, *child;
    _Atomic uint64_t *real; /* what is really held; under bytes_used at any time */
    uint64_t seed;
};

static void *racer_run(void *self)
{
    struct racer *racer = self;
    struct {
        struct net_budget *budget;
        uint32_t party;
        uint64_t bytes;
    } holds[HOLDS] = {0};
    for (unsigned i = 0; i < ROUNDS + HOLDS; i++) {
        size_t at = i % HOLDS;
        if (holds[at].budget) {
            atomic_fetch_sub(racer->real, holds[at].bytes);
            net_budget_give_for(holds[at].budget, holds[at].party, holds[at].bytes);
            holds[at].budget = NULL;
        }
        if (i >= ROUNDS)
            continue;
        holds[at].party = (uint32_t)(fm_random_next(&racer->seed) % PARTIES);
        holds[at].bytes = fm_random_next(&racer->seed) % 10000;
        struct net_budget *budget = fm_random_next(&racer->seed) % 4 ? racer->budget : racer->child;
        if (net_budget_take_for(budget, holds[at].party, holds[at].bytes)) {
            holds[at].budget = budget;
            uint64_t real = atomic_fetch_add(racer->real, holds[at].bytes) + holds[at].bytes;
            if (real > racer->budget->bytes_max)
                return racer; /* more is held than there is */
        }
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct net_budget budget = {.bytes_max = 100000};
    struct net_budget child = {.bytes_max = 30000, .parent = &budget};
    _Atomic uint64_t real = 0;
    struct racer racers[THREADS];
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        racers[i] = (struct racer){&budget, &child, &real, i + 1};
        assert_int_equal(pthread_create(&threads[i], NULL, racer_run, &racers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        void *bad = NULL;
        assert_int_equal(pthread_join(threads[i], &bad), 0);
        assert_null(bad);
    }
    assert_int_equal(real, 0);
    assert_int_equal(used(&budget), 0);
    assert_int_equal(used(&child), 0);
    for (uint32_t i = 0; i < NET_BUDGET_PARTIES; i++) {
        assert_int_equal(metric_get(&budget.party_bytes[i]), 0);
        assert_int_equal(metric_get(&child.party_bytes[i]), 0);
    }
    assert_true(metric_get(&budget.bytes_peak) <= budget.bytes_max);
    assert_true(metric_get(&budget.bytes_peak) > budget.bytes_max * 8 / 10);
    assert_true(metric_get(&budget.refusals_total) > 0);
}

static void test_parties(void **state)
{
    (void)state;
    bool seen[NET_BUDGET_PARTIES] = {false};
    for (uint64_t i = 0; i < 100000; i++) {
        uint32_t party = net_budget_party(i * UINT64_C(0x9e3779b97f4a7c15));
        assert_true(party > NET_BUDGET_STRANGERS && party < NET_BUDGET_PARTIES);
        seen[party] = true;
    }
    for (uint32_t i = NET_BUDGET_STRANGERS + 1; i < NET_BUDGET_PARTIES; i++)
        assert_true(seen[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_one_alone_may_have_all),
        cmocka_unit_test(test_share),
        cmocka_unit_test(test_share_max_is_what_one_gets),
        cmocka_unit_test(test_a_child_takes_from_its_parent_too),
        cmocka_unit_test(test_there_is_always_something_left),
        cmocka_unit_test(test_random_takes_keep_both_rules),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_parties),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
