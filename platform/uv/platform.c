/* SPDX-License-Identifier: Apache-2.0 */
/* platform - libuv's loop behind the platform's timers and jobs.
 *
 * One uv_timer_t serves the heap of all timers and one uv_async_t all finished jobs.  The loop
 * lives while it was not told to stop, while jobs are out, while a timer runs, and while anybody
 * else (net) has handles open; signals do not count.
 */
#include "fermata/uv.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <uv.h>

#include "fermata/linux.h"
#include "lane.h"
#include "timers.h"

#define NS_PER_MS    UINT64_C(1000000)
#define DELAY_MAX_NS (UINT64_C(1) << 62) /* 146 years; keeps sums from wrapping */

struct uv_body {
    struct platform platform; /* first: what others hold */
    struct platform_ops ops;
    uv_loop_t loop;
    uv_poll_t wake;        /* a thread has put a job into the outlet */
    int wake_file;         /* eventfd: with uv_async_t the loop spins until its sender is through */
    uv_timer_t alarm;      /* for the first of timers */
    unsigned handle_count; /* of loop, wake and alarm: how far _new came */
    struct pf_timers timers;
    uint64_t timer_order;  /* counts starts */
    uint64_t alarm_due_ns; /* what alarm is set for; 0: not set */
    bool is_ringing;       /* timers are being fired */
    struct uv_outlet outlet;
    struct uv_lane lanes[PF_LANE_COUNT];
    uint64_t job_count; /* submitted and not done; the loop's */
    bool stopped;
    struct fm_link signals;
};

struct uv_watch { /* one signal */
    uv_signal_t handle;
    struct fm_link link;
    void (*callback)(void *self, int number);
    void *self; /* the caller's */
};

static struct uv_body *uv_body(struct platform *platform)
{
    return FM_CONTAINER(platform, struct uv_body, platform);
}

/* ---- timers ---- */

static void uv_body_on_alarm(uv_timer_t *alarm);

/* libuv counts whole milliseconds from the start of the loop's turn; round up, never fire early.
 * What is due at once has the next turn, unless a timer asks: that turn might not end. */
static void uv_body_set_alarm(struct uv_body *body)
{
    const struct pf_due *first = pf_timers_first(&body->timers);

    if (!first) {
        body->alarm_due_ns = 0;
        uv_timer_stop(&body->alarm);
        return;
    }
    if (body->alarm_due_ns && body->alarm_due_ns <= first->due_ns)
        return; /* it rings too early at worst, and is set again then */
    uint64_t due_ms = first->due_ns / NS_PER_MS + (first->due_ns % NS_PER_MS != 0);
    uint64_t turn_ms = uv_now(&body->loop);
    if (!body->is_ringing && first->due_ns <= pf_now_ns(&body->platform))
        due_ms = turn_ms;
    body->alarm_due_ns = first->due_ns;
    uv_timer_start(&body->alarm, uv_body_on_alarm, due_ms > turn_ms ? due_ms - turn_ms : 0, 0);
}

/* Fires what was due when it began; what the callbacks start waits for the next turn. */
static void uv_body_on_alarm(uv_timer_t *alarm)
{
    struct uv_body *body = FM_CONTAINER(alarm, struct uv_body, alarm);
    uint64_t now_ns = pf_now_ns(&body->platform), order_end = body->timer_order;
    const struct pf_due *first;

    body->alarm_due_ns = 0;
    body->is_ringing = true;
    while ((first = pf_timers_first(&body->timers)) && first->due_ns <= now_ns &&
           first->order < order_end) {
        struct pf_timer *timer = first->timer;
        pf_timers_stop(&body->timers, timer);
        timer->fire(timer);
    }
    body->alarm_due_ns = 0;
    uv_body_set_alarm(body);
    body->is_ringing = false;
}

static void uv_body_timer_start(struct platform *platform, struct pf_timer *timer,
                                uint64_t delay_ns)
{
    struct uv_body *body = uv_body(platform);
    uint64_t due_ns = pf_now_ns(platform) + FM_MIN(delay_ns, DELAY_MAX_NS);

    pf_timers_start(&body->timers, timer, due_ns, body->timer_order++);
    uv_body_set_alarm(body);
}

static void uv_body_timer_stop(struct platform *platform, struct pf_timer *timer)
{
    struct uv_body *body = uv_body(platform);

    pf_timers_stop(&body->timers, timer);
    if (!body->timers.count)
        uv_body_set_alarm(body);
}

/* ---- jobs ---- */

/* An open handle would keep the loop alive for ever: it counts only while it must. */
static void uv_body_hold(struct uv_body *body)
{
    if (!body->stopped || body->job_count)
        uv_ref((uv_handle_t *)&body->wake);
    else
        uv_unref((uv_handle_t *)&body->wake);
}

static void uv_body_on_wake(uv_poll_t *wake, int status, int events)
{
    struct uv_body *body = FM_CONTAINER(wake, struct uv_body, wake);
    struct fm_link finished;
    uint64_t count;

    (void)status, (void)events;
    (void)!read(body->wake_file, &count, sizeof count);
    fm_list_init(&finished);
    uv_outlet_take(&body->outlet, &finished);
    while (!fm_list_empty(&finished)) {
        struct pf_job *job = FM_CONTAINER(finished.next, struct pf_job, link);
        fm_list_remove(&job->link);
        body->job_count--;
        job->done(job); /* may free or submit it again */
    }
    uv_body_hold(body);
}

static void uv_body_wake(struct uv_outlet *outlet)
{
    static const uint64_t one = 1;

    (void)!write(FM_CONTAINER(outlet, struct uv_body, outlet)->wake_file, &one, sizeof one);
}

static void uv_body_job_submit(struct platform *platform, struct pf_job *job)
{
    struct uv_body *body = uv_body(platform);

    FM_ASSERT((unsigned)job->lane < PF_LANE_COUNT);
    body->job_count++;
    uv_body_hold(body);
    uv_lane_submit(&body->lanes[job->lane], job);
}

static void uv_body_lane_width(struct platform *platform, enum pf_lane lane, unsigned width)
{
    uv_lane_set_width(&uv_body(platform)->lanes[lane], FM_MAX(width, 1u));
}

/* ---- life ---- */

/* Together they weigh what one of niceness 10 does: three steps halve a weight. */
static int uv_query_niceness(unsigned count)
{
    int niceness = 10;

    for (; count > 1 && niceness < LANE_IDLE_NICENESS - 3; count /= 2)
        niceness += 3;
    return niceness;
}

static int uv_body_start_lanes(struct uv_body *body, unsigned worker_count, unsigned query_count)
{
    const struct {
        const char *name; /* of the threads */
        unsigned thread_count;
        /* Nobody waits for blocks; clients wait for what the others do.  Senders come before those
         * who ask: at niceness 0 a question on a full machine doubled the p99 of acks. */
        int niceness;
    } lanes[PF_LANE_COUNT] = {
        [PF_LANE_WAL] = {"fermata-wal", 1, 0},
        [PF_LANE_WORK] = {"fermata-work", FM_MAX(worker_count, 1u), 5},
        [PF_LANE_DISK] = {"fermata-disk", 1, 5},
        [PF_LANE_DECODE] = {"fermata-decode", 1, 0},
        [PF_LANE_QUERY] = {"fermata-query", FM_MAX(query_count, 1u),
                           uv_query_niceness(query_count)},
        [PF_LANE_EXPORT] = {"fermata-export", 1, 5},
        [PF_LANE_IDLE] = {"fermata-idle", 1, LANE_IDLE_NICENESS},
    };
    int rc = FM_OK;
    for (size_t i = 0; i < PF_LANE_COUNT && rc == FM_OK; i++)
        rc = uv_lane_init(&body->lanes[i], &body->outlet, lanes[i].name, lanes[i].thread_count,
                          lanes[i].niceness);
    return rc;
}

static int uv_body_open_handles(struct uv_body *body)
{
    if (uv_loop_init(&body->loop))
        return FM_EUNAVAILABLE;
    body->handle_count = 1;
    if (body->wake_file < 0 || uv_poll_init(&body->loop, &body->wake, body->wake_file))
        return FM_EUNAVAILABLE;
    body->handle_count = 2;
    if (uv_poll_start(&body->wake, UV_READABLE, uv_body_on_wake))
        return FM_EUNAVAILABLE;
    uv_timer_init(&body->loop, &body->alarm);
    body->handle_count = 3;
    return FM_OK;
}

int uv_platform_new(struct platform **ret_platform, unsigned worker_count, unsigned query_count)
{
    struct uv_body *body = calloc(1, sizeof *body);

    if (!body)
        return FM_ENOMEM;
    body->platform.ops = &body->ops;
    body->wake_file = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    fm_list_init(&body->signals);
    linux_fill_ops(&body->ops);
    body->ops.timer_start = uv_body_timer_start;
    body->ops.timer_stop = uv_body_timer_stop;
    body->ops.job_submit = uv_body_job_submit;
    body->ops.lane_width = uv_body_lane_width;
    int rc = uv_outlet_init(&body->outlet, uv_body_wake);
    if (rc < 0) {
        (void)close(body->wake_file);
        free(body);
        return rc;
    }
    rc = pf_timers_init(&body->timers);
    if (rc == FM_OK)
        rc = uv_body_open_handles(body);
    if (rc == FM_OK)
        rc = uv_body_start_lanes(body, worker_count, query_count);
    if (rc < 0) {
        uv_platform_free(&body->platform);
        return rc;
    }
    *ret_platform = &body->platform;
    return FM_OK;
}

void uv_platform_run(struct platform *platform)
{
    struct uv_body *body = uv_body(platform);

    uv_body_hold(body);
    uv_run(&body->loop, UV_RUN_DEFAULT);
}

void uv_platform_stop(struct platform *platform)
{
    struct uv_body *body = uv_body(platform);

    body->stopped = true;
    uv_body_hold(body);
}

static void uv_watch_on_close(uv_handle_t *handle)
{
    free(FM_CONTAINER((uv_signal_t *)handle, struct uv_watch, handle));
}

static void uv_watch_close(struct uv_watch *watch)
{
    fm_list_remove(&watch->link);
    uv_close((uv_handle_t *)&watch->handle, uv_watch_on_close);
}

static void uv_body_close_loop(struct uv_body *body)
{
    if (body->handle_count > 1)
        uv_close((uv_handle_t *)&body->wake, NULL);
    if (body->handle_count > 2)
        uv_close((uv_handle_t *)&body->alarm, NULL);
    while (!fm_list_empty(&body->signals))
        uv_watch_close(FM_CONTAINER(body->signals.next, struct uv_watch, link));
    /* Close callbacks, also those of what net closed just before.  What is still open after that
     * would be used after it was freed. */
    for (unsigned turn = 0; uv_loop_alive(&body->loop) && turn < 100; turn++)
        uv_run(&body->loop, UV_RUN_NOWAIT);
    FM_ASSERT(uv_loop_close(&body->loop) == 0);
}

struct platform *uv_platform_free(struct platform *platform)
{
    if (!platform)
        return NULL;
    struct uv_body *body = uv_body(platform);

    FM_ASSERT(!body->job_count && !body->timers.count);
    for (size_t i = 0; i < PF_LANE_COUNT; i++)
        uv_lane_fini(&body->lanes[i]);
    if (body->handle_count)
        uv_body_close_loop(body);
    (void)close(body->wake_file);
    uv_outlet_fini(&body->outlet);
    pf_timers_fini(&body->timers);
    free(body);
    return NULL;
}

struct uv_loop_s *uv_platform_loop(struct platform *platform)
{
    return &uv_body(platform)->loop;
}

/* ---- signals ---- */

static void uv_watch_on_signal(uv_signal_t *handle, int number)
{
    struct uv_watch *watch = FM_CONTAINER(handle, struct uv_watch, handle);

    watch->callback(watch->self, number);
}

int uv_platform_on_signal(struct platform *platform, int number,
                          void (*callback)(void *self, int number), void *self)
{
    struct uv_body *body = uv_body(platform);
    struct uv_watch *watch = calloc(1, sizeof *watch);

    if (!watch)
        return FM_ENOMEM;
    watch->callback = callback;
    watch->self = self;
    if (uv_signal_init(&body->loop, &watch->handle)) {
        free(watch);
        return FM_EUNAVAILABLE;
    }
    fm_list_append(&body->signals, &watch->link);
    if (uv_signal_start(&watch->handle, uv_watch_on_signal, number)) {
        uv_watch_close(watch);
        return FM_EUNAVAILABLE;
    }
    uv_unref((uv_handle_t *)&watch->handle);
    return FM_OK;
}
