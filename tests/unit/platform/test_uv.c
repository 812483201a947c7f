/* SPDX-License-Identifier: Apache-2.0 */
/* The loop's life: stop with work in flight, signals, threads, and failures while it is made. */
#include "world.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

struct chain { /* a job that comes back and goes out again */
    struct pf_job job;
    struct platform *platform;
    unsigned left;
    pthread_t loop_thread;
    bool wrong;
};

static void chain_work(struct pf_job *job)
{
    struct chain *chain = FM_CONTAINER(job, struct chain, job);
    sigset_t blocked;

    chain->wrong |= pthread_equal(pthread_self(), chain->loop_thread) != 0;
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    chain->wrong |= !sigismember(&blocked, SIGTERM);
    usleep(100);
}

static void chain_done(struct pf_job *job)
{
    struct chain *chain = FM_CONTAINER(job, struct chain, job);

    chain->wrong |= !pthread_equal(pthread_self(), chain->loop_thread);
    if (chain->left && chain->left--)
        pf_job_submit(chain->platform, job);
}

static void test_stop_lets_work_finish(void **state)
{
    struct platform *platform;
    struct chain chains[3];
    (void)state;

    assert_ok(uv_platform_new(&platform, 4, 1));
    for (unsigned i = 0; i < FM_COUNT(chains); i++) {
        chains[i] = (struct chain){.platform = platform, .left = 20, .loop_thread = pthread_self()};
        chains[i].job =
            (struct pf_job){.work = chain_work, .done = chain_done, .lane = (enum pf_lane)i};
        pf_job_submit(platform, &chains[i].job);
    }
    uv_platform_stop(platform);
    uv_platform_run(platform);
    for (unsigned i = 0; i < FM_COUNT(chains); i++) {
        assert_int_equal(chains[i].left, 0);
        assert_false(chains[i].wrong);
    }
    uv_platform_run(platform); /* nothing left: returns at once */
    assert_null(uv_platform_free(platform));
    assert_null(uv_platform_free(NULL));
}

struct stopper {
    struct pf_timer timer;
    struct platform *platform;
    int signal_number;
};

static void stopper_on_timer(struct pf_timer *timer)
{
    kill(getpid(), SIGUSR1);
    (void)timer;
}

static void stopper_on_signal(void *self, int number)
{
    struct stopper *stopper = self;

    stopper->signal_number = number;
    uv_platform_stop(stopper->platform);
}

static void test_runs_until_stopped_by_a_signal(void **state)
{
    struct stopper stopper = {.timer.fire = stopper_on_timer};
    (void)state;

    assert_ok(uv_platform_new(&stopper.platform, 0, 1)); /* at least one worker all the same */
    assert_ok(uv_platform_on_signal(stopper.platform, SIGUSR1, stopper_on_signal, &stopper));
    assert_ok(uv_platform_on_signal(stopper.platform, SIGUSR2, stopper_on_signal, &stopper));
    assert_int_equal(uv_platform_on_signal(stopper.platform, 12345, stopper_on_signal, &stopper),
                     FM_EUNAVAILABLE);
    pf_timer_start(stopper.platform, &stopper.timer, 5000000);
    uint64_t start = pf_now_ns(stopper.platform);
    uv_platform_run(stopper.platform);
    assert_int_equal(stopper.signal_number, SIGUSR1);
    assert_true(pf_now_ns(stopper.platform) - start >= 5000000);
    assert_non_null(uv_platform_loop(stopper.platform));
    uv_platform_free(stopper.platform);
}

/* A timer that is due at once, started by a job's end, again and again. */
struct soon {
    struct pf_job job;
    struct pf_timer timer, restless; /* restless: starts itself, and leaves others their turn */
    struct platform *platform;
    uint64_t start_ns, best_ns;
    unsigned left, fired;
};

static void soon_work(struct pf_job *job)
{
    (void)job;
}

static void soon_done(struct pf_job *job)
{
    struct soon *soon = FM_CONTAINER(job, struct soon, job);

    soon->start_ns = pf_now_ns(soon->platform);
    pf_timer_start(soon->platform, &soon->timer, 0);
}

static void soon_on_timer(struct pf_timer *timer)
{
    struct soon *soon = FM_CONTAINER(timer, struct soon, timer);

    soon->best_ns = FM_MIN(soon->best_ns, pf_now_ns(soon->platform) - soon->start_ns);
    soon->fired++;
    if (--soon->left)
        pf_job_submit(soon->platform, &soon->job);
}

static void soon_on_restless(struct pf_timer *timer)
{
    struct soon *soon = FM_CONTAINER(timer, struct soon, restless);

    if (soon->left)
        pf_timer_start(soon->platform, timer, 0);
}

static void soon_run(struct soon *soon, unsigned rounds)
{
    *soon = (struct soon){.job = {.work = soon_work, .done = soon_done, .lane = PF_LANE_QUERY},
                          .timer.fire = soon_on_timer,
                          .restless.fire = soon_on_restless,
                          .left = rounds,
                          .best_ns = UINT64_MAX};
    assert_ok(uv_platform_new(&soon->platform, 1, 1));
    uv_platform_stop(soon->platform);
    pf_job_submit(soon->platform, &soon->job);
}

static void test_at_once_is_not_a_millisecond_later(void **state)
{
    struct soon soon;
    (void)state;

    soon_run(&soon, 200);
    uv_platform_run(soon.platform);
    assert_int_equal(soon.fired, 200);
    assert_true(soon.best_ns < 1000000); /* of many, the best */
    uv_platform_free(soon.platform);
}

static void test_a_restless_timer_leaves_others_their_turn(void **state)
{
    struct soon soon;
    (void)state;

    soon_run(&soon, 20);
    pf_timer_start(soon.platform, &soon.restless, 0);
    uv_platform_run(soon.platform);
    assert_int_equal(soon.fired, 20);
    uv_platform_free(soon.platform);
}

/* Many jobs on many threads at once: nothing is lost, nothing comes twice.  Mostly for TSan. */
struct crowd {
    struct pf_job job;
    struct platform *platform;
    unsigned worked, done, left;
};

static void crowd_work(struct pf_job *job)
{
    FM_CONTAINER(job, struct crowd, job)->worked++; /* no lock: one owner at a time */
}

static void crowd_done(struct pf_job *job)
{
    struct crowd *crowd = FM_CONTAINER(job, struct crowd, job);

    crowd->done++;
    if (crowd->left && crowd->left--) {
        job->lane = (enum pf_lane)((job->lane + 1) % 3);
        pf_job_submit(crowd->platform, job);
    }
}

static void test_a_crowd_of_jobs(void **state)
{
    enum { CROWD = 100, ROUNDS = 100 };
    struct platform *platform;
    struct crowd *crowd = calloc(CROWD, sizeof *crowd);
    (void)state;

    assert_non_null(crowd);
    assert_ok(uv_platform_new(&platform, 4, 1));
    for (unsigned i = 0; i < CROWD; i++) {
        crowd[i] = (struct crowd){.platform = platform, .left = ROUNDS - 1};
        crowd[i].job =
            (struct pf_job){.work = crowd_work, .done = crowd_done, .lane = (enum pf_lane)(i % 3)};
        pf_job_submit(platform, &crowd[i].job);
    }
    uv_platform_stop(platform);
    uv_platform_run(platform);
    for (unsigned i = 0; i < CROWD; i++) {
        assert_int_equal(crowd[i].worked, ROUNDS);
        assert_int_equal(crowd[i].done, ROUNDS);
    }
    free(crowd);
    uv_platform_free(platform);
}

static void test_new_without_memory(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth < 100; nth++) {
        struct platform *platform = NULL;
        test_alloc_fail_at(nth);
        int rc = uv_platform_new(&platform, 2, 1);
        bool failed = test_alloc_failed();
        test_alloc_disarm();
        if (rc == FM_OK) {
            uv_platform_free(platform);
            if (!failed)
                return;
            continue;
        }
        assert_true(failed);
        assert_null(platform);
    }
    fail_msg("never succeeded");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stop_lets_work_finish),
        cmocka_unit_test(test_runs_until_stopped_by_a_signal),
        cmocka_unit_test(test_at_once_is_not_a_millisecond_later),
        cmocka_unit_test(test_a_restless_timer_leaves_others_their_turn),
        cmocka_unit_test(test_a_crowd_of_jobs),
        cmocka_unit_test(test_new_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
