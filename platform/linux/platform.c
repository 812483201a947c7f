/* SPDX-License-Identifier: Apache-2.0 */
/* platform - the ops table of production without a loop, clocks and chance. */
#include "fermata/linux.h"

#include <errno.h>
#include <sys/random.h>
#include <time.h>

#include "internal.h"

static uint64_t linux_clock_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now); /* cannot fail for these clocks */
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static uint64_t linux_now_ns(struct platform *platform)
{
    (void)platform;
    return linux_clock_ns(CLOCK_MONOTONIC);
}

static uint64_t linux_boot_ns(struct platform *platform)
{
    (void)platform;
    return linux_clock_ns(CLOCK_BOOTTIME);
}

static uint64_t linux_wall_ns(struct platform *platform)
{
    (void)platform;
    return linux_clock_ns(CLOCK_REALTIME);
}

uint64_t linux_cpu_ns(void)
{
    return linux_clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static void linux_random(struct platform *platform, void *target, size_t len)
{
    uint8_t *at = target;
    (void)platform;

    while (len) {
        ssize_t got = getrandom(at, len, 0);
        if (got < 0 && errno == EINTR)
            continue;
        FM_ASSERT(got > 0); /* without chance there are no salts and no ids: better to stop */
        at += got;
        len -= (size_t)got;
    }
}

static void linux_pause(struct platform *platform, uint64_t delay_ns)
{
    struct timespec rest = {(time_t)(delay_ns / UINT64_C(1000000000)),
                            (long)(delay_ns % UINT64_C(1000000000))};
    (void)platform;

    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &rest, &rest) == EINTR) {
    }
}

static void linux_no_timer_start(struct platform *platform, struct pf_timer *timer, uint64_t delay)
{
    (void)platform, (void)timer, (void)delay;
    fm_panic("a timer needs a loop: use uv_platform_new", __FILE__, __LINE__);
}

static void linux_no_timer_stop(struct platform *platform, struct pf_timer *timer)
{
    (void)platform, (void)timer; /* none can be running */
}

static void linux_no_job_submit(struct platform *platform, struct pf_job *job)
{
    (void)platform, (void)job;
    fm_panic("a job needs a loop: use uv_platform_new", __FILE__, __LINE__);
}

static void linux_no_lane_width(struct platform *platform, enum pf_lane lane, unsigned width)
{
    (void)platform, (void)lane, (void)width; /* there are no lanes */
}

void linux_fill_ops(struct platform_ops *ops)
{
    ops->now_ns = linux_now_ns;
    ops->boot_ns = linux_boot_ns;
    ops->wall_ns = linux_wall_ns;
    ops->random = linux_random;
    ops->pause = linux_pause;
    linux_fill_files(ops);
    linux_fill_directories(ops);
    ops->timer_start = linux_no_timer_start;
    ops->timer_stop = linux_no_timer_stop;
    ops->job_submit = linux_no_job_submit;
    ops->lane_width = linux_no_lane_width;
}

struct platform *linux_platform(void)
{
    static struct platform_ops ops;
    static struct platform platform;

    if (!platform.ops) { /* the first call is made by main, before there are threads */
        linux_fill_ops(&ops);
        platform.ops = &ops;
    }
    return &platform;
}
