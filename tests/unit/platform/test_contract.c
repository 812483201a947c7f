/* SPDX-License-Identifier: Apache-2.0 */
/* One table of tests, run on both bodies of the platform: what platform.h promises, both keep. */
#include <stdatomic.h>

#include "world.h"

static void contract_open(struct world *world)
{
    struct platform *platform = world->platform;
    struct pf_file *file;
    struct fm_why why;
    const char *path = world_path(world, "file");

    assert_int_equal(pf_open(platform, path, PF_READ, &file, &why), FM_ENOTFOUND);
    assert_non_null(strstr(why.text, "file"));
    assert_int_equal(pf_open(platform, path, PF_WRITE, &file, NULL), FM_ENOTFOUND);
    assert_ok(pf_open(platform, path, PF_WRITE | PF_CREATE | PF_EXCLUSIVE, &file, &why));
    world_write(world, file, 0, "content");
    assert_null(pf_close(platform, file));
    assert_int_equal(pf_open(platform, path, PF_WRITE | PF_CREATE | PF_EXCLUSIVE, &file, &why),
                     FM_EEXISTS);
    file = world_file(world, "file", PF_WRITE | PF_CREATE);
    pf_close(platform, file);
    world_expect_content(world, "file", "content");
    file = world_file(world, "file", PF_WRITE | PF_CREATE | PF_TRUNCATE);
    pf_close(platform, file);
    world_expect_content(world, "file", "");
    assert_int_equal(
        pf_open(platform, world_path(world, "no/file"), PF_WRITE | PF_CREATE, &file, &why),
        FM_ENOTFOUND);
    assert_int_equal(pf_open(platform, world_path(world, "file/x"), PF_READ, &file, &why), FM_EIO);
    assert_int_equal(pf_open(platform, world->root, PF_WRITE, &file, &why), FM_EIO);
    assert_null(pf_close(platform, NULL));
}

static void contract_write_read(struct world *world)
{
    const struct platform_ops *ops = world->platform->ops;
    struct pf_file *file = world_file(world, "file", PF_WRITE | PF_CREATE);
    struct fm_slice slices[150];
    char bytes[600];
    size_t got;
    uint64_t size;

    for (size_t i = 0; i < FM_COUNT(slices); i++) /* more than one vector call takes, some empty */
        slices[i] = i % 3 ? FM_SLICE("abc") : fm_slice("", 0);
    assert_ok(ops->write(file, 10, slices, FM_COUNT(slices), NULL));
    assert_ok(ops->size(file, &size));
    assert_int_equal(size, 310);
    assert_ok(ops->read(file, 0, bytes, sizeof bytes, &got, NULL)); /* fewer: the end */
    assert_int_equal(got, 310);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(bytes[i], 0);
    for (size_t i = 0; i < 300; i++)
        assert_int_equal(bytes[10 + i], "abc"[i % 3]);
    world_write(world, file, 11, "XY");
    assert_ok(ops->read(file, 9, bytes, 5, &got, NULL));
    assert_int_equal(got, 5);
    assert_memory_equal(bytes, "\0aXYa", 5);
    assert_ok(ops->read(file, 310, bytes, 5, &got, NULL));
    assert_int_equal(got, 0);
    assert_ok(ops->read(file, 5000, bytes, 5, &got, NULL));
    assert_int_equal(got, 0);
    assert_ok(ops->write(file, 0, NULL, 0, NULL));
    assert_ok(ops->sync(file, NULL));
    assert_ok(ops->advise_gone(file));
    pf_close(world->platform, file);

    file = world_file(world, "file", PF_READ);
    struct fm_why why;
    assert_true(ops->write(file, 0, &FM_SLICE("x"), 1, &why) < 0);
    assert_non_null(strstr(why.text, "file"));
    pf_close(world->platform, file);
}

static void contract_allocate(struct world *world)
{
    const struct platform_ops *ops = world->platform->ops;
    struct pf_file *file = world_file(world, "file", PF_WRITE | PF_CREATE);
    uint64_t size;
    char bytes[8];
    size_t got;

    world_write(world, file, 0, "head");
    assert_ok(ops->allocate(file, 100000, NULL));
    assert_ok(ops->size(file, &size));
    assert_int_equal(size, 100000);
    assert_ok(ops->read(file, 2, bytes, 4, &got, NULL));
    assert_memory_equal(bytes, "ad\0\0", 4);
    assert_ok(ops->allocate(file, 10, NULL)); /* never shrinks */
    assert_ok(ops->size(file, &size));
    assert_int_equal(size, 100000);
    pf_close(world->platform, file);
}

static void contract_open_file_survives_its_name(struct world *world)
{
    const struct platform_ops *ops = world->platform->ops;
    struct pf_file *file = world_file(world, "a", PF_WRITE | PF_CREATE);
    char bytes[4];
    size_t got;

    world_write(world, file, 0, "1234");
    assert_ok(ops->unlink(world->platform, world_path(world, "a"), NULL));
    assert_false(world_has(world, "a"));
    assert_ok(ops->read(file, 0, bytes, 4, &got, NULL));
    assert_memory_equal(bytes, "1234", 4);
    world_write(world, file, 0, "5678");
    assert_ok(ops->sync(file, NULL));
    pf_close(world->platform, file);
}

static void contract_rename(struct world *world)
{
    struct platform *platform = world->platform;
    const struct platform_ops *ops = platform->ops;
    struct fm_why why;

    pf_close(platform, world_file(world, "a", PF_WRITE | PF_CREATE));
    assert_ok(pf_replace_file(platform, world_path(world, "b"), FM_SLICE("old"), &why));
    assert_ok(ops->rename(platform, world_path(world, "a"), world_path(world, "b"), &why));
    assert_false(world_has(world, "a"));
    world_expect_content(world, "b", "");
    assert_int_equal(ops->rename(platform, world_path(world, "a"), world_path(world, "c"), &why),
                     FM_ENOTFOUND);
    assert_non_null(strstr(why.text, "rename"));
    assert_ok(ops->make_dir(platform, world_path(world, "d"), &why));
    assert_ok(ops->make_dir(platform, world_path(world, "e"), &why));
    pf_close(platform, world_file(world, "e/x", PF_WRITE | PF_CREATE));
    assert_int_equal(ops->rename(platform, world_path(world, "d"), world_path(world, "e"), &why),
                     FM_EEXISTS);
    assert_ok(ops->rename(platform, world_path(world, "e"), world_path(world, "f"), &why));
    assert_true(world_has(world, "f/x"));
    assert_ok(ops->rename(platform, world_path(world, "f"), world_path(world, "d"), &why));
    assert_true(world_has(world, "d/x"));
    assert_int_equal(ops->rename(platform, world_path(world, "b"), world_path(world, "no/b"), &why),
                     FM_ENOTFOUND);
    assert_ok(ops->rename(platform, world_path(world, "b"), world_path(world, "d/b"), &why));
    assert_int_equal(
        ops->rename(platform, world_path(world, "d"), world_path(world, "d/x/y"), &why), FM_EIO);
    assert_true(ops->rename(platform, world_path(world, "d/x"), world_path(world, "d"), &why) < 0);
    assert_ok(ops->rename(platform, world_path(world, "d/b"), world_path(world, "d/b"), &why));
    assert_true(world_has(world, "d/b"));
}

struct listing {
    char text[256];
    unsigned stop_after;
};

static int listing_add(void *self, const char *name, bool is_directory)
{
    struct listing *listing = self;
    size_t len = strlen(listing->text);

    snprintf(listing->text + len, sizeof listing->text - len, "%s%s ", name,
             is_directory ? "/" : "");
    return listing->stop_after && !--listing->stop_after ? FM_END : FM_OK;
}

static void contract_directories(struct world *world)
{
    struct platform *platform = world->platform;
    const struct platform_ops *ops = platform->ops;
    struct listing listing = {0};
    struct fm_why why;

    assert_int_equal(ops->list(platform, world_path(world, "d"), listing_add, &listing, &why),
                     FM_ENOTFOUND);
    assert_int_equal(ops->make_dir(platform, world_path(world, "d/e"), &why), FM_ENOTFOUND);
    assert_ok(ops->make_dir(platform, world_path(world, "d"), &why));
    assert_int_equal(ops->make_dir(platform, world_path(world, "d"), &why), FM_EEXISTS);
    assert_ok(ops->list(platform, world_path(world, "d"), listing_add, &listing, &why));
    assert_string_equal(listing.text, "");
    pf_close(platform, world_file(world, "d/b", PF_WRITE | PF_CREATE));
    pf_close(platform, world_file(world, "d/a", PF_WRITE | PF_CREATE));
    pf_close(platform, world_file(world, "d/aa", PF_WRITE | PF_CREATE));
    assert_ok(ops->make_dir(platform, world_path(world, "d/ab"), &why));
    assert_ok(ops->list(platform, world_path(world, "d"), listing_add, &listing, &why));
    assert_string_equal(listing.text, "a aa ab/ b ");
    listing = (struct listing){.stop_after = 2};
    assert_int_equal(ops->list(platform, world_path(world, "d"), listing_add, &listing, &why),
                     FM_END);
    assert_string_equal(listing.text, "a aa ");
    assert_int_equal(ops->list(platform, world_path(world, "d/a"), listing_add, &listing, &why),
                     FM_EIO);
    assert_int_equal(ops->remove_dir(platform, world_path(world, "d"), &why), FM_EEXISTS);
    assert_int_equal(ops->remove_dir(platform, world_path(world, "d/a"), &why), FM_EIO);
    assert_int_equal(ops->unlink(platform, world_path(world, "d/ab"), &why), FM_EIO);
    assert_int_equal(ops->unlink(platform, world_path(world, "d/no"), &why), FM_ENOTFOUND);
    assert_int_equal(ops->remove_dir(platform, world_path(world, "d/no"), &why), FM_ENOTFOUND);
    assert_ok(ops->remove_dir(platform, world_path(world, "d/ab"), &why));
    assert_ok(ops->sync_dir(platform, world_path(world, "d"), &why));
    assert_int_equal(ops->sync_dir(platform, world_path(world, "no"), &why), FM_ENOTFOUND);
    assert_int_equal(ops->sync_dir(platform, world_path(world, "d/a"), &why), FM_EIO);
}

static void contract_space_and_lock(struct world *world)
{
    struct platform *platform = world->platform;
    struct pf_space space;
    struct fm_why why;

    assert_ok(platform->ops->space(platform, world->root, &space));
    assert_true(space.free_bytes > 0 && space.free_bytes <= space.total_bytes);
    assert_true(space.free_inodes > 0);
    assert_int_equal(platform->ops->space(platform, world_path(world, "no"), &space), FM_ENOTFOUND);
    assert_ok(platform->ops->lock(platform, world_path(world, "LOCK"), &why));
    assert_int_equal(platform->ops->lock(platform, world_path(world, "LOCK"), &why), FM_EEXISTS);
    assert_ok(platform->ops->lock(platform, world_path(world, "LOCK2"), &why));
    assert_int_equal(platform->ops->lock(platform, world_path(world, "no/LOCK"), &why),
                     FM_ENOTFOUND);
}

static void contract_source(struct world *world)
{
    struct pf_source self = {0};
    struct fm_source source;
    char bytes[8];

    assert_int_equal(pf_source_open(&self, world->platform, world_path(world, "s"), &source, NULL),
                     FM_ENOTFOUND);
    pf_source_close(&self);
    assert_ok(pf_replace_file(world->platform, world_path(world, "s"), FM_SLICE("01234567"), NULL));
    assert_ok(pf_source_open(&self, world->platform, world_path(world, "s"), &source, NULL));
    assert_int_equal(source.size, 8);
    assert_ok(source.read_at(source.self, 2, bytes, 6));
    assert_memory_equal(bytes, "234567", 6);
    assert_int_equal(source.read_at(source.self, 3, bytes, 6), FM_ECORRUPT);
    assert_int_equal(source.read_at(source.self, 100, bytes, 1), FM_ECORRUPT);
    pf_source_close(&self);
}

static void contract_read_file(struct world *world)
{
    struct platform *platform = world->platform;
    struct fm_buf buf;
    struct fm_why why;

    assert_ok(pf_replace_file(platform, world_path(world, "f"), FM_SLICE("0123456789"), NULL));
    fm_buf_init(&buf, 12);
    fm_buf_puts(&buf, "ab");
    assert_ok(pf_read_file(platform, world_path(world, "f"), &buf, &why));
    assert_true(fm_slice_equal_text(fm_buf_slice(&buf), "ab0123456789"));
    assert_int_equal(pf_read_file(platform, world_path(world, "f"), &buf, &why), FM_ELIMIT);
    assert_int_equal(buf.len, 12);
    assert_int_equal(pf_read_file(platform, world_path(world, "no"), &buf, &why), FM_ENOTFOUND);
    fm_buf_fini(&buf);
}

static void contract_replace_file(struct world *world)
{
    struct platform *platform = world->platform;
    struct fm_why why;
    struct listing listing = {0};

    assert_ok(pf_replace_file(platform, world_path(world, "f"), FM_SLICE("first"), &why));
    assert_ok(pf_replace_file(platform, world_path(world, "f"), FM_SLICE("2nd"), &why));
    world_expect_content(world, "f", "2nd");
    assert_ok(pf_replace_file(platform, world_path(world, "f"), FM_SLICE(""), &why));
    world_expect_content(world, "f", "");
    assert_int_equal(pf_replace_file(platform, world_path(world, "no/f"), FM_SLICE(""), &why),
                     FM_ENOTFOUND);
    assert_ok(platform->ops->make_dir(platform, world_path(world, "d"), &why));
    assert_true(pf_replace_file(platform, world_path(world, "d"), FM_SLICE("x"), &why) < 0);
    assert_ok(platform->ops->list(platform, world->root, listing_add, &listing, NULL));
    assert_string_equal(listing.text, "d/ f "); /* nothing temporary is left */

    char long_path[5000];
    memset(long_path, 'x', sizeof long_path);
    long_path[sizeof long_path - 1] = 0;
    assert_int_equal(pf_replace_file(platform, long_path, FM_SLICE(""), &why), FM_ELIMIT);
    assert_int_equal(pf_make_path(platform, long_path, &why), FM_ELIMIT);
}

static void contract_paths(struct world *world)
{
    struct platform *platform = world->platform;
    struct fm_why why;
    struct listing listing = {0};

    assert_ok(pf_make_path(platform, world_path(world, "a/b//c/"), &why));
    assert_ok(pf_make_path(platform, world_path(world, "a/b/c"), &why));
    assert_ok(pf_make_path(platform, "/", &why));
    assert_int_equal(pf_make_path(platform, "", &why), FM_ELIMIT);
    pf_close(platform, world_file(world, "a/b/c/f", PF_WRITE | PF_CREATE));
    pf_close(platform, world_file(world, "a/f", PF_WRITE | PF_CREATE));
    assert_true(pf_make_path(platform, world_path(world, "a/f"), &why) < 0);
    assert_true(pf_make_path(platform, world_path(world, "a/f/g"), &why) < 0);
    assert_ok(pf_make_path(platform, world_path(world, "a/b/c/d"), &why));
    assert_int_equal(pf_remove_tree(platform, world_path(world, "a"), &why), FM_ELIMIT);
    assert_ok(pf_remove_tree(platform, world_path(world, "a/b/c/d"), &why));
    pf_close(platform, world_file(world, "a/b/c/f", PF_WRITE | PF_CREATE));
    assert_ok(pf_remove_tree(platform, world_path(world, "a"), &why));
    assert_ok(pf_remove_tree(platform, world_path(world, "a"), &why)); /* absent */
    assert_ok(platform->ops->list(platform, world->root, listing_add, &listing, &why));
    assert_string_equal(listing.text, "");
}

/* ---- timers ---- */

struct timing {
    struct world *world;
    uint64_t last_due_ns;
    char order[64];
    struct alarm {
        struct pf_timer timer;
        struct timing *timing;
        uint64_t due_ns;
        char letter;
    } alarms[8];
};
#define MS UINT64_C(1000000)

static void timing_on_fire(struct pf_timer *timer)
{
    struct alarm *alarm = FM_CONTAINER(timer, struct alarm, timer);
    struct timing *timing = alarm->timing;
    size_t len = strlen(timing->order);

    assert_true(pf_now_ns(timing->world->platform) >= alarm->due_ns); /* never early */
    assert_true(!timing->world->sim || alarm->due_ns >= timing->last_due_ns);
    timing->last_due_ns = alarm->due_ns;
    timing->order[len] = alarm->letter;
    if (alarm->letter == 'S') { /* stops a neighbour and itself */
        pf_timer_stop(timing->world->platform, &timing->alarms[1].timer);
        pf_timer_stop(timing->world->platform, timer);
        pf_timer_stop(timing->world->platform, timer);
    }
    if (alarm->letter == 'R' && len < 3)
        pf_timer_start(timing->world->platform, timer, 1 * MS);
}

static void timing_start(struct timing *timing, unsigned index, char letter, uint64_t delay_ns)
{
    struct alarm *alarm = &timing->alarms[index];

    alarm->timing = timing;
    alarm->letter = letter;
    alarm->timer.fire = timing_on_fire;
    alarm->due_ns = pf_now_ns(timing->world->platform) + delay_ns;
    pf_timer_start(timing->world->platform, &alarm->timer, delay_ns);
}

static void contract_timers_fire_in_order(struct world *world)
{
    struct timing timing = {.world = world};

    timing_start(&timing, 0, 'd', 40 * MS);
    timing_start(&timing, 1, 'b', 10 * MS);
    timing_start(&timing, 2, 'c', 20 * MS);
    timing_start(&timing, 3, 'a', 0);
    timing_start(&timing, 4, 'x', 5 * MS);
    timing_start(&timing, 0, 'd', 30 * MS); /* moves */
    timing_start(&timing, 5, 'e', 10000000 * MS);
    pf_timer_stop(world->platform, &timing.alarms[5].timer);
    pf_timer_stop(world->platform, &timing.alarms[4].timer);
    pf_timer_stop(world->platform, &timing.alarms[7].timer); /* never started */
    world_run(world);
    assert_string_equal(timing.order, "abcd");
}

static void contract_timers_stop_and_restart_inside(struct world *world)
{
    struct timing timing = {.world = world};

    timing_start(&timing, 0, 'S', 5 * MS);
    timing_start(&timing, 1, 'x', 20 * MS);
    world_run(world);
    assert_string_equal(timing.order, "S");
    timing = (struct timing){.world = world};
    timing_start(&timing, 0, 'R', 1 * MS);
    timing.alarms[0].due_ns = 0;
    world_run(world);
    assert_string_equal(timing.order, "RRRR");
}

static void contract_timers_keep_order_in_numbers(struct world *world)
{
    static struct timing timing;
    struct alarm *alarms = calloc(1000, sizeof *alarms);
    uint64_t chance = 7;

    timing = (struct timing){.world = world};
    assert_non_null(alarms);
    for (size_t i = 0; i < 1000; i++) {
        uint64_t delay_ns = (1 + fm_random_next(&chance) % 50) * MS;
        alarms[i] = (struct alarm){.timing = &timing, .timer.fire = timing_on_fire};
        alarms[i].due_ns = pf_now_ns(world->platform) + delay_ns;
        pf_timer_start(world->platform, &alarms[i].timer, delay_ns);
    }
    for (size_t i = 0; i < 1000; i += 2)
        pf_timer_stop(world->platform, &alarms[i].timer);
    for (size_t i = 0; i < 1000; i += 5) {
        alarms[i].due_ns = pf_now_ns(world->platform) + 10 * MS;
        pf_timer_start(world->platform, &alarms[i].timer, 10 * MS);
    }
    world_run(world);
    for (size_t i = 0; i < 1000; i++)
        assert_null(alarms[i].timer.body);
    free(alarms);
}

/* ---- jobs ---- */

struct jobs {
    struct world *world;
    unsigned worked[3], done[3], resubmitted;
    bool wrong;
};
struct numbered {
    struct pf_job job;
    struct jobs *jobs;
    unsigned number;
    unsigned worked_at;
};

/* Lanes of one thread: their counters belong to that thread until the job is back. */
static void numbered_work(struct pf_job *job)
{
    struct numbered *numbered = FM_CONTAINER(job, struct numbered, job);
    struct jobs *jobs = numbered->jobs;

    if (job->lane != PF_LANE_WORK)
        numbered->worked_at = jobs->worked[job->lane]++;
}

static void numbered_done(struct pf_job *job)
{
    struct numbered *numbered = FM_CONTAINER(job, struct numbered, job);
    struct jobs *jobs = numbered->jobs;

    if (job->lane != PF_LANE_WORK) {
        jobs->wrong |= numbered->worked_at != numbered->number;
        jobs->wrong |= jobs->done[job->lane] != numbered->number;
    }
    jobs->done[job->lane]++;
    if (job->lane == PF_LANE_WORK && jobs->resubmitted < 10) {
        jobs->resubmitted++;
        pf_job_submit(jobs->world->platform, job);
    }
}

static void contract_jobs(struct world *world)
{
    enum { EACH = 200 };
    struct jobs jobs = {.world = world};
    struct numbered *all = calloc(3 * EACH, sizeof *all);

    assert_non_null(all);
    for (unsigned i = 0; i < 3 * EACH; i++) {
        all[i] = (struct numbered){.jobs = &jobs, .number = i / 3};
        all[i].job = (struct pf_job){
            .work = numbered_work, .done = numbered_done, .lane = (enum pf_lane)(i % 3)};
        pf_job_submit(world->platform, &all[i].job);
    }
    world_run(world);
    assert_false(jobs.wrong);
    assert_int_equal(jobs.done[PF_LANE_WAL], EACH);
    assert_int_equal(jobs.done[PF_LANE_DISK], EACH);
    assert_int_equal(jobs.done[PF_LANE_WORK], EACH + 10);
    free(all);
}

struct narrow {
    struct pf_job job;
    atomic_uint *at_work, *most;
    unsigned *done_count, number;
    bool is_late;
};

static void narrow_work(struct pf_job *job)
{
    struct narrow *narrow = FM_CONTAINER(job, struct narrow, job);
    unsigned count = atomic_fetch_add(narrow->at_work, 1) + 1;

    if (count > atomic_load(narrow->most))
        atomic_store(narrow->most, count);
    atomic_fetch_sub(narrow->at_work, 1);
}

static void narrow_done(struct pf_job *job)
{
    struct narrow *narrow = FM_CONTAINER(job, struct narrow, job);

    narrow->is_late = narrow->number != (*narrow->done_count)++;
}

/* One at a time, so one after the other; and all of them, also when it is wide again. */
static void contract_lane_width(struct world *world)
{
    enum { COUNT = 100 };
    struct narrow all[2 * COUNT];
    atomic_uint at_work = 0, most = 0;
    unsigned done_count = 0;

    pf_lane_width(world->platform, PF_LANE_WORK, 1);
    for (unsigned i = 0; i < 2 * COUNT; i++) {
        all[i] = (struct narrow){
            .at_work = &at_work, .most = &most, .done_count = &done_count, .number = i};
        all[i].job =
            (struct pf_job){.work = narrow_work, .done = narrow_done, .lane = PF_LANE_WORK};
    }
    for (unsigned i = 0; i < COUNT; i++)
        pf_job_submit(world->platform, &all[i].job);
    world_run(world);
    assert_int_equal(done_count, COUNT);
    assert_int_equal(atomic_load(&most), 1);
    for (unsigned i = 0; i < COUNT; i++)
        assert_false(all[i].is_late);
    for (unsigned i = COUNT; i < 2 * COUNT; i++)
        pf_job_submit(world->platform, &all[i].job);
    pf_lane_width(world->platform, PF_LANE_WORK, 8);
    world_run(world);
    assert_int_equal(done_count, 2 * COUNT);
}

struct writer {
    struct pf_job job;
    struct world *world;
    unsigned number;
    int rc;
};

static void writer_work(struct pf_job *job)
{
    struct writer *writer = FM_CONTAINER(job, struct writer, job);
    char path[192];

    snprintf(path, sizeof path, "%s/w%u", writer->world->root, writer->number);
    writer->rc = pf_replace_file(writer->world->platform, path, FM_SLICE("written"), NULL);
}

static void writer_done(struct pf_job *job)
{
    assert_ok(FM_CONTAINER(job, struct writer, job)->rc);
}

static void contract_jobs_use_the_disk(struct world *world)
{
    struct writer writers[9];

    for (unsigned i = 0; i < FM_COUNT(writers); i++) {
        writers[i] = (struct writer){.world = world, .number = i};
        writers[i].job = (struct pf_job){
            .work = writer_work, .done = writer_done, .lane = (enum pf_lane)(i % 3)};
        pf_job_submit(world->platform, &writers[i].job);
    }
    world_run(world);
    for (unsigned i = 0; i < FM_COUNT(writers); i++) {
        char name[8];
        snprintf(name, sizeof name, "w%u", i);
        world_expect_content(world, name, "written");
    }
}

static void contract_clocks_and_chance(struct world *world)
{
    struct platform *platform = world->platform;
    uint64_t before = pf_now_ns(platform), wall = pf_wall_ns(platform);

    assert_true(wall > UINT64_C(1600000000) * 1000 * MS); /* after 2020 */
    struct timing timing = {.world = world};
    timing_start(&timing, 0, 'a', 3 * MS);
    world_run(world);
    assert_true(pf_now_ns(platform) >= before + 3 * MS);
    assert_true(pf_wall_ns(platform) >= wall);
    assert_true(pf_random_u64(platform) != pf_random_u64(platform));
}

static const struct {
    const char *name;
    void (*body)(struct world *world);
} contract[] = {
    {"open", contract_open},
    {"lane_width", contract_lane_width},
    {"write_read", contract_write_read},
    {"allocate", contract_allocate},
    {"open_file_survives_its_name", contract_open_file_survives_its_name},
    {"rename", contract_rename},
    {"directories", contract_directories},
    {"space_and_lock", contract_space_and_lock},
    {"source", contract_source},
    {"read_file", contract_read_file},
    {"replace_file", contract_replace_file},
    {"paths", contract_paths},
    {"timers_fire_in_order", contract_timers_fire_in_order},
    {"timers_stop_and_restart_inside", contract_timers_stop_and_restart_inside},
    {"timers_keep_order_in_numbers", contract_timers_keep_order_in_numbers},
    {"jobs", contract_jobs},
    {"jobs_use_the_disk", contract_jobs_use_the_disk},
    {"clocks_and_chance", contract_clocks_and_chance},
};

static void run_on_uv(void **state)
{
    struct world world;
    world_open_uv(&world);
    contract[(uintptr_t)*state].body(&world);
    world_close(&world);
}

static void run_on_sim(void **state)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world world;
        world_open_sim(&world, seed);
        contract[(uintptr_t)*state].body(&world);
        world_close(&world);
    }
}

int main(void)
{
    struct CMUnitTest tests[2 * FM_COUNT(contract)];
    char names[2 * FM_COUNT(contract)][64];

    for (uintptr_t i = 0; i < 2 * FM_COUNT(contract); i++) {
        bool on_sim = i >= FM_COUNT(contract);
        uintptr_t row = i % FM_COUNT(contract);
        snprintf(names[i], sizeof names[i], "%s on %s", contract[row].name, on_sim ? "sim" : "uv");
        tests[i] = (struct CMUnitTest){.name = names[i],
                                       .test_func = on_sim ? run_on_sim : run_on_uv,
                                       .initial_state = (void *)row};
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
