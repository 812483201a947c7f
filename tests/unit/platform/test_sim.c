/* SPDX-License-Identifier: Apache-2.0 */
/* What only the simulated world can show: determinism, and a disk that loses what was not synced.
 */
#include "world.h"

enum { SEEDS = 300 };

/* ---- the same seed is the same run ---- */

struct busy { /* timers and jobs that keep starting each other */
    struct world *world;
    struct busy_part {
        struct pf_timer timer;
        struct pf_job job;
        struct busy *busy;
        unsigned number;
    } parts[8];
    unsigned left;
};

static void busy_on_timer(struct pf_timer *timer)
{
    struct busy_part *part = FM_CONTAINER(timer, struct busy_part, timer);

    if (part->busy->left && part->busy->left--)
        pf_job_submit(part->busy->world->platform, &part->job);
}

static void busy_work(struct pf_job *job)
{
    struct busy_part *part = FM_CONTAINER(job, struct busy_part, job);
    char name[16];

    snprintf(name, sizeof name, "f%u", part->number % 5);
    int rc = pf_replace_file(part->busy->world->platform, world_path(part->busy->world, name),
                             fm_slice_text(name), NULL);
    assert_true(rc == FM_OK || rc == FM_EIO); /* the planned faults */
}

static void busy_done(struct pf_job *job)
{
    struct busy_part *part = FM_CONTAINER(job, struct busy_part, job);
    struct platform *platform = part->busy->world->platform;

    pf_timer_start(platform, &part->timer, pf_random_u64(platform) % 10000000);
}

static uint64_t busy_run(uint64_t seed)
{
    struct world world;
    struct busy busy = {.world = &world, .left = 200};

    world_open_sim(&world, seed);
    sim_fault_rate(world.sim, SIM_SYNC_EIO, 50000);
    for (unsigned i = 0; i < FM_COUNT(busy.parts); i++) {
        struct busy_part *part = &busy.parts[i];
        *part = (struct busy_part){.busy = &busy, .number = i, .timer.fire = busy_on_timer};
        part->job =
            (struct pf_job){.work = busy_work, .done = busy_done, .lane = (enum pf_lane)(i % 3)};
        pf_timer_start(world.platform, &part->timer, 1000);
    }
    assert_int_equal(sim_run(world.sim, UINT64_C(3600000000000)), FM_NONE);
    assert_int_equal(busy.left, 0);
    sim_crash(world.sim, false);
    uint64_t hash = sim_trace_hash(world.sim) ^ sim_random(world.sim);
    world_close(&world);
    return hash;
}

static void test_equal_seeds_equal_runs(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 10; seed++) {
        assert_true(busy_run(seed) == busy_run(seed));
        assert_true(busy_run(seed) != busy_run(seed + 1));
    }
}

static void test_time_moves_by_events(void **state)
{
    struct world world;
    struct busy busy = {.world = &world};
    struct busy_part *part = &busy.parts[0];
    (void)state;

    world_open_sim(&world, 1);
    uint64_t start = pf_now_ns(world.platform);
    *part = (struct busy_part){.busy = &busy, .timer.fire = busy_on_timer};
    pf_timer_start(world.platform, &part->timer, 5000);
    assert_int_equal(sim_run(world.sim, 4999), FM_OK);
    assert_non_null(part->timer.body);
    assert_int_equal(sim_run(world.sim, 1), FM_NONE);
    assert_null(part->timer.body);
    assert_true(pf_now_ns(world.platform) == start + 5000);
    assert_false(sim_step(world.sim));
    sim_wall_set(world.sim, 77);
    assert_true(pf_wall_ns(world.platform) == 77);
    assert_int_equal(sim_run(world.sim, 10), FM_NONE);
    assert_true(pf_wall_ns(world.platform) == 87);
    sim_wall_set(world.sim, 7); /* backwards; the other clock does not care */
    assert_true(pf_now_ns(world.platform) == start + 5010);
    uint64_t boot = pf_boot_ns(world.platform);
    sim_suspend(world.sim, 1000); /* two clocks go on */
    assert_true(pf_now_ns(world.platform) == start + 5010);
    assert_true(pf_boot_ns(world.platform) == boot + 1000);
    assert_true(pf_wall_ns(world.platform) == 1007);
    world_close(&world);
}

/* ---- what a power cut leaves ---- */

static struct fm_buf world_content(struct world *world, const char *name)
{
    struct fm_buf buf;
    fm_buf_init(&buf, FM_MIB(16));
    assert_ok(pf_read_file(world->platform, world_path(world, name), &buf, NULL));
    return buf;
}

static void world_sync(struct world *world, struct pf_file *file)
{
    assert_ok(world->platform->ops->sync(file, NULL));
    assert_ok(world->platform->ops->sync_dir(world->platform, world->root, NULL));
}

static void test_unsynced_bytes_may_vanish_or_tear(void **state)
{
    unsigned kept = 0, lost = 0, torn = 0, short_size = 0, hole = 0;
    uint8_t bytes[10 * 512];
    (void)state;

    memset(bytes, 'n', sizeof bytes);
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct world world;
        world_open_sim(&world, seed);
        struct pf_file *file = world_file(&world, "f", PF_WRITE | PF_CREATE);
        world_write(&world, file, 0, "synced");
        world_sync(&world, file);
        struct fm_slice slice = fm_slice(bytes, sizeof bytes);
        assert_ok(world.platform->ops->write(file, 1000, &slice, 1, NULL));
        sim_crash(world.sim, false);
        pf_close(world.platform, file);
        struct fm_buf buf = world_content(&world, "f");
        assert_true(buf.len >= 6 && buf.len <= 1000 + sizeof bytes);
        assert_memory_equal(buf.ptr, "synced", 6); /* always */
        size_t new_bytes = 0, first_old = 0;
        for (size_t i = 6; i < buf.len; i++) {
            assert_true(buf.ptr[i] == 0 || (buf.ptr[i] == 'n' && i >= 1000));
            new_bytes += buf.ptr[i] == 'n';
            first_old = !first_old && i >= 1000 && !buf.ptr[i] ? i : first_old;
            if (i >= 1024 && i % 512) /* a sector is all new or all old */
                assert_int_equal(buf.ptr[i], buf.ptr[i - 1]);
        }
        kept += new_bytes == sizeof bytes;
        lost += new_bytes == 0;
        torn += new_bytes && new_bytes < sizeof bytes;
        short_size += buf.len < 1000 + sizeof bytes && new_bytes;
        hole += first_old && new_bytes > first_old - 1000;
        fm_buf_fini(&buf);
        world_close(&world);
    }
    assert_true(kept > SEEDS / 10 && lost > SEEDS / 10 && torn > SEEDS / 20);
    assert_true(short_size > 0 && hole > 0);
}

static void test_synced_bytes_never_vanish(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct world world;
        world_open_sim(&world, seed);
        struct pf_file *file = world_file(&world, "f", PF_WRITE | PF_CREATE);
        assert_ok(world.platform->ops->allocate(file, 100000, NULL));
        world_write(&world, file, 10, "one");
        world_sync(&world, file);
        world_write(&world, file, 13, "two");
        world_write(&world, file, 200000, "far");
        assert_ok(world.platform->ops->sync(file, NULL));
        for (unsigned crash = 0; crash < 3; crash++) { /* nothing pending: nothing changes */
            sim_crash(world.sim, sim_random(world.sim) % 2);
            struct fm_buf buf = world_content(&world, "f");
            assert_int_equal(buf.len, 200003);
            assert_memory_equal(buf.ptr + 9, "\0onetwo", 8);
            assert_memory_equal(buf.ptr + 200000, "far", 3);
            fm_buf_fini(&buf);
        }
        pf_close(world.platform, file);
        world_close(&world);
    }
}

static void test_truncation_is_pending_too(void **state)
{
    unsigned old = 0, new = 0, empty = 0;
    (void)state;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct world world;
        world_open_sim(&world, seed);
        assert_ok(
            pf_replace_file(world.platform, world_path(&world, "f"), FM_SLICE("old text"), NULL));
        struct pf_file *file = world_file(&world, "f", PF_WRITE | PF_CREATE | PF_TRUNCATE);
        world_write(&world, file, 0, "new");
        world_expect_content(&world, "f", "new");
        sim_crash(world.sim, false);
        pf_close(world.platform, file);
        struct fm_buf buf = world_content(&world, "f");
        old += fm_slice_equal_text(fm_buf_slice(&buf), "old text");
        new += fm_slice_equal_text(fm_buf_slice(&buf), "new");
        empty += buf.len == 0;
        fm_buf_fini(&buf);
        world_close(&world);
    }
    assert_true(old > 10 && new > 10 && empty > 10);
}

static void test_kill_loses_nothing_yet(void **state)
{
    unsigned lost = 0;
    (void)state;

    for (uint64_t seed = 0; seed < 50; seed++) {
        struct world world;
        world_open_sim(&world, seed);
        struct pf_file *file = world_file(&world, "f", PF_WRITE | PF_CREATE);
        struct pf_timer timer = {.fire = NULL};
        pf_timer_start(world.platform, &timer, 1);
        world_write(&world, file, 0, "cached");
        assert_ok(world.platform->ops->lock(world.platform, world_path(&world, "LOCK"), NULL));
        sim_crash(world.sim, true);
        assert_null(timer.body);
        assert_false(sim_step(world.sim));
        struct fm_slice slice = FM_SLICE("x");
        assert_int_equal(world.platform->ops->write(file, 0, &slice, 1, NULL), FM_EIO);
        pf_close(world.platform, file);
        assert_ok(world.platform->ops->lock(world.platform, world_path(&world, "LOCK"), NULL));
        world_expect_content(&world, "f", "cached");
        sim_crash(world.sim, false); /* but it was never synced */
        lost += !world_has(&world, "f");
        world_close(&world);
    }
    assert_true(lost > 5 && lost < 45);
}

static void test_names_need_their_directory_synced(void **state)
{
    unsigned vanished = 0, kept = 0;
    (void)state;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct world world;
        world_open_sim(&world, seed);
        const struct platform_ops *ops = world.platform->ops;
        assert_ok(ops->make_dir(world.platform, world_path(&world, "d"), NULL));
        struct pf_file *file = world_file(&world, "d/f", PF_WRITE | PF_CREATE);
        world_write(&world, file, 0, "text");
        assert_ok(ops->sync(file, NULL));
        pf_close(world.platform, file);
        bool whole = sim_random(world.sim) % 2;
        assert_ok(ops->sync_dir(world.platform, world_path(&world, "d"), NULL));
        if (whole)
            assert_ok(ops->sync_dir(world.platform, world.root, NULL));
        sim_crash(world.sim, false);
        bool there = world_has(&world, "d/f");
        if (there)
            world_expect_content(&world, "d/f", "text");
        if (whole)
            assert_true(there);
        kept += !whole && there;
        vanished += !whole && !there;
        world_close(&world);
    }
    assert_true(kept > 10 && vanished > 10);
}

static void test_unlink_may_or_may_not_have_happened(void **state)
{
    unsigned back = 0, gone = 0;
    (void)state;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct world world;
        world_open_sim(&world, seed);
        const struct platform_ops *ops = world.platform->ops;
        assert_ok(pf_replace_file(world.platform, world_path(&world, "f"), FM_SLICE("text"), NULL));
        assert_ok(ops->unlink(world.platform, world_path(&world, "f"), NULL));
        bool synced = sim_random(world.sim) % 2;
        if (synced)
            assert_ok(ops->sync_dir(world.platform, world.root, NULL));
        sim_crash(world.sim, false);
        bool there = world_has(&world, "f");
        if (there)
            world_expect_content(&world, "f", "text");
        assert_true(!synced || !there);
        back += there;
        gone += !there && !synced;
        world_close(&world);
    }
    assert_true(back > 10 && gone > 10);
}

/* A moved directory is in one place or the other, whichever parent was synced, never in both. */
static void test_moves_between_directories_are_atomic(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct world world;
        world_open_sim(&world, seed);
        const struct platform_ops *ops = world.platform->ops;
        assert_ok(pf_make_path(world.platform, world_path(&world, "a/t"), NULL));
        assert_ok(pf_make_path(world.platform, world_path(&world, "b"), NULL));
        assert_ok(
            pf_replace_file(world.platform, world_path(&world, "a/t/f"), FM_SLICE("text"), NULL));
        assert_ok(ops->rename(world.platform, world_path(&world, "a/t"), world_path(&world, "b/u"),
                              NULL));
        uint64_t choice = sim_random(world.sim) % 3;
        if (choice)
            assert_ok(
                ops->sync_dir(world.platform, world_path(&world, choice == 1 ? "a" : "b"), NULL));
        sim_crash(world.sim, false);
        bool old = world_has(&world, "a/t/f"), new = world_has(&world, "b/u/f");
        assert_true(old != new);
        assert_true(!choice || new);
        world_expect_content(&world, old ? "a/t/f" : "b/u/f", "text");
        world_close(&world);
    }
}

/* A file that moved twice is in one place, wherever the cut and whatever was synced between. */
static void test_moves_do_not_overtake_each_other(void **state)
{
    unsigned seen[3] = {0};
    (void)state;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        static const char *const names[] = {"a/f", "b/f", "c/f"};
        struct world world;
        world_open_sim(&world, seed);
        const struct platform_ops *ops = world.platform->ops;
        assert_ok(pf_make_path(world.platform, world_path(&world, "a"), NULL));
        assert_ok(pf_make_path(world.platform, world_path(&world, "b"), NULL));
        assert_ok(pf_make_path(world.platform, world_path(&world, "c"), NULL));
        assert_ok(pf_replace_file(world.platform, world_path(&world, "a/f"), FM_SLICE("x"), NULL));
        for (unsigned i = 0; i < 2; i++)
            assert_ok(ops->rename(world.platform, world_path(&world, names[i]),
                                  world_path(&world, names[i + 1]), NULL));
        bool synced = sim_random(world.sim) % 2;
        if (synced)
            assert_ok(ops->sync_dir(world.platform, world_path(&world, "c"), NULL));
        sim_crash(world.sim, false);
        unsigned places = 0;
        for (unsigned i = 0; i < 3; i++) {
            bool there = world_has(&world, names[i]);
            places += there;
            seen[i] += there;
        }
        assert_int_equal(places, 1);
        assert_true(!synced || world_has(&world, "c/f"));
        world_close(&world);
    }
    assert_true(seen[0] && seen[1] && seen[2]);
}

/* Cuts the power before every operation of one replacement. */
static unsigned replace_with_cut(uint64_t seed, uint64_t nth, bool keep_cache)
{
    struct world world;

    world_open_sim(&world, seed);
    assert_ok(pf_replace_file(world.platform, world_path(&world, "f"), FM_SLICE("old"), NULL));
    sim_crash_at(world.sim, nth);
    int rc = pf_replace_file(world.platform, world_path(&world, "f"), FM_SLICE("new!"), NULL);
    bool finished = !sim_crashed(world.sim);
    assert_true(finished == (rc == FM_OK));
    sim_crash(world.sim, keep_cache);
    assert_false(sim_crashed(world.sim));
    struct fm_buf buf = world_content(&world, "f");
    bool is_new = fm_slice_equal_text(fm_buf_slice(&buf), "new!");
    assert_true(is_new || fm_slice_equal_text(fm_buf_slice(&buf), "old"));
    assert_true(is_new || !finished);
    fm_buf_fini(&buf);
    assert_ok(pf_replace_file(world.platform, world_path(&world, "f"), FM_SLICE("3rd"), NULL));
    world_expect_content(&world, "f", "3rd");
    world_close(&world);
    return (unsigned)finished << 1 | is_new;
}

static void test_replace_file_is_old_or_new_at_every_cut(void **state)
{
    unsigned outcomes[4] = {0};
    (void)state;

    for (uint64_t seed = 0; seed < 100; seed++)
        for (uint64_t nth = 1; nth < 20; nth++)
            outcomes[replace_with_cut(seed, nth, seed % 4 == 0)]++;
    assert_true(outcomes[0] && outcomes[1] && !outcomes[2] && outcomes[3]);
}

static void test_make_path_survives_every_cut(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++)
        for (uint64_t nth = 1; nth < 12; nth++) {
            struct world world;
            world_open_sim(&world, seed);
            sim_crash_at(world.sim, nth);
            int rc = pf_make_path(world.platform, world_path(&world, "a/b/c"), NULL);
            assert_int_equal(rc, sim_crashed(world.sim) ? FM_EIO : FM_OK);
            sim_crash(world.sim, true); /* killed: what it did is visible and not durable */
            assert_ok(pf_make_path(world.platform, world_path(&world, "a/b/c"), NULL));
            sim_crash(world.sim, false);
            pf_close(world.platform, world_file(&world, "a/b/c/f", PF_WRITE | PF_CREATE));
            world_close(&world);
        }
}

static void test_no_power_until_crash(void **state)
{
    struct world world;
    struct fm_slice slice = FM_SLICE("x");
    struct pf_space space;
    uint64_t size;
    char byte;
    size_t got;
    (void)state;

    world_open_sim(&world, 3);
    const struct platform_ops *ops = world.platform->ops;
    struct pf_file *file = world_file(&world, "f", PF_WRITE | PF_CREATE), *other;
    uint64_t count = sim_operation_count(world.sim);
    struct pf_timer timer = {.fire = NULL};
    pf_timer_start(world.platform, &timer, 1);
    sim_crash_at(world.sim, 2);
    assert_ok(ops->write(file, 0, &slice, 1, NULL));
    assert_ok(ops->read(file, 0, &byte, 1, &got, NULL)); /* does not count */
    assert_false(sim_crashed(world.sim));
    assert_int_equal(ops->sync(file, NULL), FM_EIO);
    assert_true(sim_crashed(world.sim));
    assert_int_equal(sim_operation_count(world.sim), count + 2);
    assert_int_equal(ops->write(file, 0, &slice, 1, NULL), FM_EIO);
    assert_int_equal(ops->read(file, 0, &byte, 1, &got, NULL), FM_EIO);
    assert_int_equal(ops->size(file, &size), FM_EIO);
    assert_int_equal(ops->space(world.platform, world.root, &space), FM_EIO);
    assert_int_equal(ops->unlink(world.platform, world_path(&world, "f"), NULL), FM_EIO);
    assert_int_equal(pf_open(world.platform, world_path(&world, "f"), PF_READ, &other, NULL),
                     FM_EIO);
    assert_false(sim_step(world.sim));
    assert_int_equal(sim_run(world.sim, 1000), FM_OK);
    sim_crash(world.sim, true);
    world_expect_content(&world, "f", "x");
    world_close(&world); /* also frees the handle that was not closed */
}

/* ---- faults ---- */

static void test_a_failed_sync_is_final(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct world world;
        world_open_sim(&world, seed);
        struct pf_file *file = world_file(&world, "f", PF_WRITE | PF_CREATE);
        world_write(&world, file, 0, "aaaa");
        world_sync(&world, file);
        world_write(&world, file, 1, "bb");
        sim_fault_at(world.sim, SIM_SYNC_EIO, 1, false);
        assert_int_equal(world.platform->ops->sync(file, NULL), FM_EIO);
        world_expect_content(&world, "f", "abba"); /* the cache still shows it */
        world_write(&world, file, 3, "c");
        assert_ok(world.platform->ops->sync(file, NULL)); /* and this one says all is well */
        world_expect_content(&world, "f", "abbc");
        pf_close(world.platform, file);
        sim_crash(world.sim, false);
        world_expect_content(&world, "f", "aaac");
        world_close(&world);
    }
}

static void test_write_faults(void **state)
{
    struct world world;
    struct fm_slice slices[] = {FM_SLICE("0123"), FM_SLICE("4567")};
    struct fm_why why;
    uint64_t size;
    (void)state;

    world_open_sim(&world, 9);
    const struct platform_ops *ops = world.platform->ops;
    struct pf_file *file = world_file(&world, "f", PF_WRITE | PF_CREATE);
    sim_fault_at(world.sim, SIM_WRITE_ENOSPC, 2, false);
    assert_ok(ops->write(file, 0, slices, 2, &why));
    assert_int_equal(ops->write(file, 8, slices, 2, &why), FM_ENOSPACE);
    assert_non_null(strstr(why.text, "/data/f"));
    assert_ok(ops->size(file, &size));
    assert_int_equal(size, 12);
    world_expect_content(&world, "f", "012345670123");
    sim_fault_at(world.sim, SIM_WRITE_EIO, 1, true);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(ops->write(file, 0, slices, 2, &why), FM_EIO);
    sim_fault_at(world.sim, SIM_WRITE_EIO, 0, false);
    assert_ok(ops->write(file, 0, slices, 2, &why));
    pf_close(world.platform, file);
    world_close(&world);
}

static void test_other_faults(void **state)
{
    struct world world;
    struct pf_file *other;
    char byte;
    size_t got;
    (void)state;

    world_open_sim(&world, 9);
    const struct platform_ops *ops = world.platform->ops;
    struct pf_file *file = world_file(&world, "f", PF_WRITE | PF_CREATE);
    sim_fault_at(world.sim, SIM_READ_EIO, 1, false);
    assert_int_equal(ops->read(file, 0, &byte, 1, &got, NULL), FM_EIO);
    assert_ok(ops->read(file, 0, &byte, 1, &got, NULL));
    sim_fault_at(world.sim, SIM_OPEN_EIO, 1, false);
    assert_int_equal(pf_open(world.platform, world_path(&world, "f"), PF_READ, &other, NULL),
                     FM_EIO);
    sim_fault_at(world.sim, SIM_RENAME_EIO, 1, false);
    assert_int_equal(
        ops->rename(world.platform, world_path(&world, "f"), world_path(&world, "g"), NULL),
        FM_EIO);
    assert_true(world_has(&world, "f"));
    sim_fault_at(world.sim, SIM_ALLOCATE_ENOSPC, 1, false);
    assert_int_equal(ops->allocate(file, 10, NULL), FM_ENOSPACE);
    assert_ok(ops->allocate(file, 10, NULL));
    sim_fault_at(world.sim, SIM_SYNC_EIO, 1, false);
    assert_int_equal(ops->sync_dir(world.platform, world.root, NULL), FM_EIO);
    assert_ok(ops->sync_dir(world.platform, world.root, NULL));
    unsigned failed = 0;
    sim_fault_rate(world.sim, SIM_READ_EIO, 250000);
    for (unsigned i = 0; i < 1000; i++)
        failed += ops->read(file, 0, &byte, 1, &got, NULL) == FM_EIO;
    assert_true(failed > 150 && failed < 350);
    pf_close(world.platform, file);
    world_close(&world);
}

static void test_capacity(void **state)
{
    struct world world;
    struct pf_space space;
    static uint8_t bytes[3 * 4096];
    struct fm_slice slice = fm_slice(bytes, sizeof bytes);
    uint64_t size;
    (void)state;

    world_open_sim(&world, 4);
    const struct platform_ops *ops = world.platform->ops;
    sim_disk_capacity(world.sim, 8 * 4096);
    struct pf_file *a = world_file(&world, "a", PF_WRITE | PF_CREATE);
    struct pf_file *b = world_file(&world, "b", PF_WRITE | PF_CREATE);
    assert_ok(ops->allocate(a, 4 * 4096, NULL));
    assert_int_equal(ops->allocate(b, 5 * 4096, NULL), FM_ENOSPACE);
    assert_ok(ops->write(a, 4096, &slice, 1, NULL)); /* was reserved */
    assert_ok(ops->write(b, 0, &slice, 1, NULL));
    assert_ok(ops->space(world.platform, "/", &space));
    assert_int_equal(space.free_bytes, 4096);
    assert_int_equal(space.total_bytes, 8 * 4096);
    assert_int_equal(ops->write(b, sizeof bytes, &slice, 1, NULL), FM_ENOSPACE);
    assert_ok(ops->size(b, &size));
    assert_int_equal(size, 4 * 4096); /* what fitted was written */
    assert_ok(ops->unlink(world.platform, world_path(&world, "a"), NULL));
    assert_int_equal(ops->write(b, size, &slice, 1, NULL), FM_ENOSPACE); /* still open */
    pf_close(world.platform, a);
    assert_ok(ops->write(b, size, &slice, 1, NULL));
    pf_close(world.platform, b);
    assert_ok(ops->space(world.platform, "/", &space));
    assert_int_equal(space.free_bytes, 4096);
    world_close(&world);
}

static void test_flipped_bits_stay(void **state)
{
    struct world world;
    (void)state;

    world_open_sim(&world, 4);
    assert_ok(pf_replace_file(world.platform, world_path(&world, "f"), FM_SLICE("abc"), NULL));
    sim_disk_flip_bit(world.sim, world_path(&world, "f"), 8);
    world_expect_content(&world, "f", "acc");
    sim_crash(world.sim, false);
    world_expect_content(&world, "f", "acc");
    world_close(&world);
}

/* Random work, cut at random: names that were synced are there, and nothing half-linked is. */
static void test_random_trees_stay_whole(void **state)
{
    static const char *const names[] = {"a", "b", "d/a", "d/b", "e/a", "e/d"};
    (void)state;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct world world;
        world_open_sim(&world, seed);
        const struct platform_ops *ops = world.platform->ops;
        for (unsigned step = 0; step < 120; step++) {
            const char *one = names[sim_random(world.sim) % FM_COUNT(names)];
            const char *two = names[sim_random(world.sim) % FM_COUNT(names)];
            const char *directory = two[1] ? (two[0] == 'd' ? "d" : "e") : ".";
            struct pf_file *file;
            switch (sim_random(world.sim) % 8) {
            case 0:
                (void)ops->make_dir(world.platform, world_path(&world, directory), NULL);
                break;
            case 1:
                (void)ops->remove_dir(world.platform, world_path(&world, directory), NULL);
                break;
            case 2:
                (void)ops->sync_dir(world.platform, world_path(&world, directory), NULL);
                break;
            case 3:
                (void)ops->unlink(world.platform, world_path(&world, one), NULL);
                break;
            case 4:
                if (sim_random(world.sim) % 8 == 0)
                    sim_crash(world.sim, sim_random(world.sim) % 4 == 0);
                break;
            case 5:
                if (pf_open(world.platform, world_path(&world, one), PF_WRITE | PF_CREATE, &file,
                            NULL) == FM_OK)
                    pf_close(world.platform, file);
                break;
            default:
                (void)ops->rename(world.platform, world_path(&world, one), world_path(&world, two),
                                  NULL);
            }
        }
        sim_crash(world.sim, false);
        assert_ok(pf_remove_tree(world.platform, world.root, NULL));
        struct pf_space space;
        assert_ok(ops->space(world.platform, "/", &space));
        assert_int_equal(space.free_bytes, space.total_bytes); /* nothing is charged for */
        world_close(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_seeds_equal_runs),
        cmocka_unit_test(test_time_moves_by_events),
        cmocka_unit_test(test_unsynced_bytes_may_vanish_or_tear),
        cmocka_unit_test(test_synced_bytes_never_vanish),
        cmocka_unit_test(test_truncation_is_pending_too),
        cmocka_unit_test(test_kill_loses_nothing_yet),
        cmocka_unit_test(test_names_need_their_directory_synced),
        cmocka_unit_test(test_unlink_may_or_may_not_have_happened),
        cmocka_unit_test(test_moves_between_directories_are_atomic),
        cmocka_unit_test(test_moves_do_not_overtake_each_other),
        cmocka_unit_test(test_replace_file_is_old_or_new_at_every_cut),
        cmocka_unit_test(test_make_path_survives_every_cut),
        cmocka_unit_test(test_no_power_until_crash),
        cmocka_unit_test(test_a_failed_sync_is_final),
        cmocka_unit_test(test_write_faults),
        cmocka_unit_test(test_other_faults),
        cmocka_unit_test(test_capacity),
        cmocka_unit_test(test_flipped_bits_stay),
        cmocka_unit_test(test_random_trees_stay_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
