/* SPDX-License-Identifier: Apache-2.0 */
/* world - virtual time, seeded order.
 *
 * Everything that will happen is a timer in one heap; the program's and the lanes'.  A job's work
 * runs whole when its thread's event fires; its done waits in the outlet behind those that
 * finished before, as in production.  Whatever the seed decides goes through sim_chance.
 */
#include <stdlib.h>

#include "internal.h"

#define START_NOW_NS  UINT64_C(1000000000)          /* an uptime of one second */
#define START_WALL_NS UINT64_C(1767225600000000000) /* 2026-01-01 */
#define DELAY_MAX_NS  (UINT64_C(1) << 62)

/* ---- chance and trace ---- */

uint64_t sim_chance(struct sim *sim, uint64_t below)
{
    return fm_random_next(&sim->world_state) % below;
}

uint64_t sim_random(struct sim *sim)
{
    return fm_random_next(&sim->test_state);
}

void sim_trace(struct sim *sim, uint64_t event, uint64_t detail)
{
    uint64_t state = sim->trace_hash ^ event * UINT64_C(0x9e3779b97f4a7c15);

    state = fm_random_next(&state) ^ detail;
    sim->trace_hash = fm_random_next(&state);
}

uint64_t sim_trace_hash(const struct sim *sim)
{
    return sim->trace_hash;
}

static void sim_fill_random(struct platform *platform, void *target, size_t len)
{
    struct sim *sim = sim_of(platform);
    uint8_t *at = target;

    while (len) {
        uint64_t value = fm_random_next(&sim->program_state);
        size_t part = FM_MIN(len, sizeof value);
        memcpy(at, &value, part);
        at += part;
        len -= part;
    }
}

/* ---- clocks and timers ---- */

static uint64_t sim_now_ns(struct platform *platform)
{
    return sim_of(platform)->now_ns;
}

static uint64_t sim_boot_ns(struct platform *platform)
{
    const struct sim *sim = sim_of(platform);

    return sim->now_ns + sim->suspended_ns;
}

/* A job runs whole at one moment: nobody is kept waiting by it. */
static void sim_pause(struct platform *platform, uint64_t delay_ns)
{
    (void)platform, (void)delay_ns;
}

static uint64_t sim_wall_ns(struct platform *platform)
{
    const struct sim *sim = sim_of(platform);

    return sim->now_ns + (uint64_t)sim->wall_offset_ns;
}

void sim_wall_set(struct sim *sim, uint64_t unix_ns)
{
    sim->wall_offset_ns = (int64_t)(unix_ns - sim->now_ns);
}

void sim_suspend(struct sim *sim, uint64_t duration_ns)
{
    sim->suspended_ns += duration_ns;
    sim->wall_offset_ns += (int64_t)duration_ns;
}

static void sim_timer_start(struct platform *platform, struct pf_timer *timer, uint64_t delay_ns)
{
    struct sim *sim = sim_of(platform);

    pf_timers_start(&sim->timers, timer, sim->now_ns + FM_MIN(delay_ns, DELAY_MAX_NS),
                    fm_random_next(&sim->world_state));
}

static void sim_timer_stop(struct platform *platform, struct pf_timer *timer)
{
    pf_timers_stop(&sim_of(platform)->timers, timer);
}

/* ---- lanes ---- */

/* Mostly well below a millisecond, now and then longer than most deadlines of a test. */
static uint64_t sim_delay_ns(struct sim *sim)
{
    uint64_t choice = sim_chance(sim, 64);

    if (choice == 0)
        return sim_chance(sim, UINT64_C(200000000));
    if (choice < 16)
        return sim_chance(sim, UINT64_C(5000000));
    return sim_chance(sim, UINT64_C(300000));
}

static void sim_lane_fill(struct sim_lane *lane)
{
    unsigned busy_count = 0;

    for (unsigned i = 0; i < lane->thread_count; i++)
        busy_count += lane->threads[i].job != NULL;
    for (unsigned i = 0; i < lane->thread_count && !fm_list_empty(&lane->queue); i++) {
        struct sim_thread *thread = &lane->threads[i];
        if (thread->job || busy_count++ >= lane->width)
            continue;
        thread->job = FM_CONTAINER(lane->queue.next, struct pf_job, link);
        fm_list_remove(&thread->job->link);
        sim_timer_start(&lane->sim->platform, &thread->event, sim_delay_ns(lane->sim));
    }
}

static void sim_thread_on_event(struct pf_timer *event)
{
    struct sim_thread *thread = FM_CONTAINER(event, struct sim_thread, event);
    struct sim *sim = thread->lane->sim;
    struct pf_job *job = fm_take(thread->job);

    job->work(job);
    if (fm_list_empty(&sim->finished))
        sim_timer_start(&sim->platform, &sim->outlet, sim_delay_ns(sim));
    fm_list_append(&sim->finished, &job->link);
    sim_lane_fill(thread->lane);
}

static void sim_on_outlet(struct pf_timer *outlet)
{
    struct sim *sim = FM_CONTAINER(outlet, struct sim, outlet);
    struct pf_job *job = FM_CONTAINER(sim->finished.next, struct pf_job, link);

    fm_list_remove(&job->link);
    if (!fm_list_empty(&sim->finished)) /* often the whole batch in one turn, not always */
        sim_timer_start(&sim->platform, outlet, sim_chance(sim, 2) ? 0 : sim_delay_ns(sim));
    job->done(job);
}

static void sim_job_submit(struct platform *platform, struct pf_job *job)
{
    struct sim *sim = sim_of(platform);

    FM_ASSERT((unsigned)job->lane < SIM_LANE_COUNT);
    fm_list_append(&sim->lanes[job->lane].queue, &job->link);
    sim_lane_fill(&sim->lanes[job->lane]);
}

static void sim_lane_width(struct platform *platform, enum pf_lane lane, unsigned width)
{
    struct sim *sim = sim_of(platform);

    sim->lanes[lane].width = FM_MAX(width, 1u);
    sim_lane_fill(&sim->lanes[lane]);
}

static void sim_lanes_init(struct sim *sim)
{
    for (unsigned i = 0; i < SIM_LANE_COUNT; i++) {
        struct sim_lane *lane = &sim->lanes[i];
        lane->sim = sim;
        lane->thread_count = 1;
        lane->width = SIM_THREADS_MAX;
        fm_list_init(&lane->queue);
        for (unsigned k = 0; k < SIM_THREADS_MAX; k++) {
            lane->threads[k].lane = lane;
            lane->threads[k].event.fire = sim_thread_on_event;
        }
    }
    sim->lanes[PF_LANE_WORK].thread_count = 1 + (unsigned)sim_chance(sim, SIM_THREADS_MAX);
    sim->lanes[PF_LANE_QUERY].thread_count = 1 + (unsigned)sim_chance(sim, SIM_THREADS_MAX);
    sim->outlet.fire = sim_on_outlet;
    fm_list_init(&sim->finished);
}

/* ---- running ---- */

bool sim_step(struct sim *sim)
{
    const struct pf_due *first = pf_timers_first(&sim->timers);

    if (!first || sim->is_cut)
        return false;
    FM_ASSERT(!sim->is_stepping);
    struct pf_timer *timer = first->timer;
    sim->now_ns = FM_MAX(sim->now_ns, first->due_ns);
    sim_trace(sim, SIM_EVENT_TIMER, sim->now_ns);
    pf_timers_stop(&sim->timers, timer);
    sim->is_stepping = true;
    timer->fire(timer);
    sim->is_stepping = false;
    return !sim->is_cut;
}

int sim_run(struct sim *sim, uint64_t duration_ns)
{
    uint64_t until_ns = sim->now_ns + FM_MIN(duration_ns, DELAY_MAX_NS);
    const struct pf_due *first;

    while (!sim->is_cut && (first = pf_timers_first(&sim->timers)) && first->due_ns <= until_ns)
        sim_step(sim);
    if (!sim->is_cut)
        sim->now_ns = until_ns;
    return sim->timers.count ? FM_OK : FM_NONE;
}

/* ---- power ---- */

static int sim_power(struct sim *sim, enum sim_operation operation, const char *path,
                     struct fm_why *why)
{
    sim_trace(sim, operation, fm_hash64(fm_slice_text(path), 0));
    return sim->is_cut ? fm_fail(why, FM_EIO, "%s: no power (simulated)", path) : FM_OK;
}

int sim_begin(struct sim *sim, enum sim_operation operation, const char *path, struct fm_why *why)
{
    if (!sim->is_cut) {
        sim->operation_count++;
        sim->is_cut = sim->crash_countdown && !--sim->crash_countdown;
    }
    return sim_power(sim, operation, path, why);
}

int sim_look(struct sim *sim, enum sim_operation operation, const char *path, struct fm_why *why)
{
    return sim_power(sim, operation, path, why);
}

void sim_crash_at(struct sim *sim, uint64_t nth_operation)
{
    sim->crash_countdown = nth_operation;
}

bool sim_crashed(const struct sim *sim)
{
    return sim->is_cut;
}

uint64_t sim_operation_count(const struct sim *sim)
{
    return sim->operation_count;
}

static void sim_forget_process(struct sim *sim)
{
    while (sim->timers.count)
        pf_timers_stop(&sim->timers, sim->timers.heap[sim->timers.count - 1].timer);
    for (unsigned i = 0; i < SIM_LANE_COUNT; i++) {
        fm_list_init(&sim->lanes[i].queue);
        for (unsigned k = 0; k < SIM_THREADS_MAX; k++)
            sim->lanes[i].threads[k].job = NULL;
    }
    fm_list_init(&sim->finished);
    sim_files_crash(sim);
    for (struct fm_link *at = sim->disk.inodes.next; at != &sim->disk.inodes; at = at->next)
        FM_CONTAINER(at, struct sim_inode, link)->is_locked = false;
}

void sim_crash(struct sim *sim, bool keep_cache)
{
    FM_ASSERT(!sim->is_stepping);
    sim_trace(sim, SIM_EVENT_CRASH, keep_cache);
    sim_forget_process(sim);
    if (!keep_cache)
        sim_disk_crash(&sim->disk);
    sim->is_cut = false;
    sim->crash_countdown = 0;
}

/* ---- faults ---- */

bool sim_fault_strikes(struct sim *sim, enum sim_fault fault)
{
    struct sim_fault_plan *plan = &sim->faults[fault];
    bool strikes = plan->per_million && sim_chance(sim, 1000000) < plan->per_million;

    if (plan->countdown == 1) {
        strikes = true;
        plan->countdown = plan->persistent;
    } else if (plan->countdown) {
        plan->countdown--;
    }
    if (strikes)
        sim_trace(sim, SIM_EVENT_FAULT, fault);
    return strikes;
}

void sim_fault_rate(struct sim *sim, enum sim_fault fault, uint32_t per_million)
{
    sim->faults[fault].per_million = per_million;
}

void sim_fault_at(struct sim *sim, enum sim_fault fault, uint64_t nth, bool persistent)
{
    sim->faults[fault].countdown = nth;
    sim->faults[fault].persistent = persistent;
}

void sim_disk_capacity(struct sim *sim, uint64_t bytes)
{
    sim->disk.capacity_bytes = bytes;
}

void sim_disk_flip_bit(struct sim *sim, const char *path, uint64_t bit)
{
    struct sim_place place;

    FM_ASSERT(sim_disk_find(&sim->disk, path, &place) == FM_OK && place.inode);
    uint8_t mask = (uint8_t)(1u << bit % 8);
    FM_ASSERT(bit / 8 < place.inode->live.size);
    place.inode->live.ptr[bit / 8] ^= mask;
    if (bit / 8 < place.inode->durable.size)
        place.inode->durable.ptr[bit / 8] ^= mask;
}

/* ---- life ---- */

const struct platform_ops sim_ops = {
    .now_ns = sim_now_ns,
    .boot_ns = sim_boot_ns,
    .wall_ns = sim_wall_ns,
    .random = sim_fill_random,
    .pause = sim_pause,
    .open = sim_open,
    .close = sim_close,
    .write = sim_write,
    .read = sim_read,
    .sync = sim_sync,
    .size = sim_size,
    .allocate = sim_allocate,
    .advise_gone = sim_advise_gone,
    .make_dir = sim_make_dir,
    .rename = sim_rename,
    .link = sim_link,
    .unlink = sim_unlink,
    .remove_dir = sim_remove_dir,
    .sync_dir = sim_sync_dir,
    .list = sim_list,
    .space = sim_space,
    .lock = sim_lock,
    .timer_start = sim_timer_start,
    .timer_stop = sim_timer_stop,
    .job_submit = sim_job_submit,
    .lane_width = sim_lane_width,
};

int sim_new(struct sim **ret_sim, uint64_t seed)
{
    struct sim *sim = calloc(1, sizeof *sim);

    if (!sim)
        return FM_ENOMEM;
    if (pf_timers_init(&sim->timers) < 0) {
        free(sim);
        return FM_ENOMEM;
    }
    sim->platform.ops = &sim_ops;
    sim->world_state = fm_random_next(&seed);
    sim->program_state = fm_random_next(&seed);
    sim->test_state = fm_random_next(&seed);
    sim->now_ns = START_NOW_NS;
    sim_wall_set(sim, START_WALL_NS);
    fm_list_init(&sim->files);
    sim_lanes_init(sim);
    sim_disk_init(&sim->disk, sim);
    *ret_sim = sim;
    return FM_OK;
}

struct sim *sim_free(struct sim *sim)
{
    if (!sim)
        return NULL;
    sim_files_fini(sim);
    sim_disk_fini(&sim->disk);
    pf_timers_fini(&sim->timers);
    free(sim);
    return NULL;
}

struct platform *sim_platform(struct sim *sim)
{
    return &sim->platform;
}
