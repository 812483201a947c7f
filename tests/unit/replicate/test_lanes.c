/* SPDX-License-Identifier: Apache-2.0 */
/* Lanes, rate, windows and quotas, in virtual time: what goes first, and how much at all. */
#include "world.h"

#include "fermata/uplink.h"

#define RATE       64000 /* 512 kbit/s */
#define BURST      FM_KIB(32)
#define LINK       1000000   /* what the wire could do */
#define RATE_SLACK FM_KIB(8) /* what is only known when it has gone: records, heads */
#define EVENTS_MAX 65536
#define DAY_NS     (UINT64_C(86400) * FM_NS_PER_S)

static struct wire {
    struct world *world;
    uint64_t times[EVENTS_MAX], bytes[EVENTS_MAX];
    size_t count;
    uint64_t lane_bytes[STORE_LANE_COUNT];
} wire;

static struct store_block *block_of_key(struct world *world, const char *key)
{
    for (uint32_t i = 0; i < world->store.count; i++) {
        char own[512];
        block_key(&world->store.blocks[i], "", own);
        if (strncmp(key, own, strlen(own)) == 0)
            return &world->store.blocks[i];
    }
    fail_msg("%s", key);
    return NULL;
}

static void wire_on_bytes(void *self, const char *key, uint64_t bytes)
{
    struct wire *log = self;
    const struct store_block *block = block_of_key(log->world, key);
    log->lane_bytes[block->lane] += bytes;
    if (block->lane == STORE_LANE_EXPRESS)
        return; /* exempt where the bound is looked at */
    assert_true(log->count < EVENTS_MAX);
    log->times[log->count] = pf_now_ns(log->world->platform);
    log->bytes[log->count++] = bytes;
}

static void wire_check(uint64_t rate, uint64_t burst)
{
    for (size_t i = 0; i < wire.count; i += 1 + wire.count / 500) {
        uint64_t sum = 0;
        for (size_t k = i; k < wire.count; k++) {
            sum += wire.bytes[k];
            uint64_t gained = (wire.times[k] - wire.times[i]) / 1000 * rate / 1000000;
            assert_true(sum <= burst + gained + RATE_SLACK);
        }
    }
}

static struct store_block *add_block(struct world *world, enum store_lane lane, size_t size,
                                     uint64_t age_ns)
{
    struct store_block *block = world_add_block(world, 1, size);
    block->lane = lane;
    block->is_outgoing = lane != STORE_LANE_NORMAL;
    block->sealed_unix_ns -= age_ns;
    block->meta.id.bytes[14] = (uint8_t)((world->store.count - 1) >> 8);
    block->meta.id.bytes[15] = (uint8_t)(world->store.count - 1);
    struct fm_buf text;
    fm_buf_init(&text, FM_KIB(64));
    block_meta_render(&block->meta, &text);
    world_write(world, block->path, "meta.json", fm_buf_slice(&text));
    fm_buf_fini(&text);
    replicator_on_sealed(world->replicator, block);
    return block;
}

static bool is_uploaded(const struct world *world, const struct store_block *block)
{
    return world->store.uploaded[block - world->store.blocks];
}

static uint64_t seconds_until_uploaded(struct world *world, const struct store_block *block,
                                       uint64_t seconds_max)
{
    uint64_t second = 0;
    for (; second < seconds_max && !is_uploaded(world, block); second++)
        (void)sim_run(world->sim, FM_NS_PER_S);
    return second;
}

static void world_begin_wire(struct world *world, uint64_t seed)
{
    world_begin(world, seed);
    wire = (struct wire){.world = world};
    sim_bucket_set_wire(world->bucket, LINK, wire_on_bytes, &wire);
}

static struct replicator_options
options_with(struct world *world, const struct uplink_options *uplink, uint32_t concurrency)
{
    struct replicator_options options = {.concurrency_max = concurrency,
                                         .retry_cap_ns = 300 * FM_NS_PER_S,
                                         .backlog_percent = 30,
                                         .backlog_age_ns = 600 * FM_NS_PER_S};
    assert_ok(uplink_new(&options.uplink, world->platform, uplink, NULL));
    return options;
}

/* ---- lanes and rate ---- */

/* Sharing the rate with the others, a block of that size would take longer. */
static void run_express(bool is_exempt, uint32_t concurrency, size_t size, uint64_t seconds_max)
{
    static struct world world;
    const struct uplink_options uplink = {
        .rate = RATE, .burst = BURST, .express_exempt = is_exempt};
    world_begin_wire(&world, 100 + concurrency);
    struct replicator_options options = options_with(&world, &uplink, concurrency);
    world_start(&world, &options);
    for (int i = 0; i < 25; i++)
        (void)add_block(&world, STORE_LANE_NORMAL, 2000000, 7200 * FM_NS_PER_S);
    (void)sim_run(world.sim, 60 * FM_NS_PER_S);
    for (int i = 0; i < 10; i++) {
        struct store_block *block = add_block(&world, STORE_LANE_EXPRESS, size, 0);
        assert_true(seconds_until_uploaded(&world, block, 100) <= seconds_max);
        (void)sim_run(world.sim, 20 * FM_NS_PER_S);
    }
    wire_check(RATE, BURST);
    world_fini(&world);
}

static void test_express_goes_at_once_in_spite_of_a_backlog(void **state)
{
    (void)state;
    run_express(true, 1, 30000, 5);
    run_express(true, 3, 250000, 5);
    run_express(false, 1, 30000, 5);
    run_express(false, 3, 250000, 10);
}

static void test_backlog_has_its_share_of_the_bytes(void **state)
{
    (void)state;
    static struct world world;
    const struct uplink_options uplink = {.rate = RATE, .burst = BURST};
    world_begin_wire(&world, 7);
    struct replicator_options options = options_with(&world, &uplink, 2);
    world_start(&world, &options);
    for (int i = 0; i < 60; i++)
        (void)add_block(&world, STORE_LANE_NORMAL, 100000 + (size_t)(i % 5) * 70000,
                        7200 * FM_NS_PER_S);
    struct replicator_status status;
    for (int second = 0; second < 300; second++) {
        replicator_get_status(world.replicator, &status);
        for (uint64_t n = status.lanes[UPLOAD_FRESH].blocks; n < 4; n++)
            (void)add_block(&world, STORE_LANE_NORMAL, 40000 + n * 30000, 0);
        (void)sim_run(world.sim, FM_NS_PER_S);
    }
    replicator_get_status(world.replicator, &status);
    assert_true(status.lanes[UPLOAD_BACKLOG].blocks > 0);
    double fresh = (double)status.uplink.wire_bytes[UPLOAD_FRESH];
    double backlog = (double)status.uplink.wire_bytes[UPLOAD_BACKLOG];
    /* The rate is used to the full, and shared as it should be. */
    assert_true(fresh + backlog > 0.95 * RATE * 300);
    assert_true(backlog / (fresh + backlog) > 0.25 && backlog / (fresh + backlog) < 0.35);
    assert_true(status.uplink.throttled_ns > 200 * FM_NS_PER_S);
    assert_true(status.upload_bytes_per_s > RATE / 2 && status.upload_bytes_per_s <= RATE);
    assert_true(status.drain_s != UINT64_MAX && status.drain_s > 0);
    assert_int_equal(status.growth_bytes_per_s, 1000); /* says the store */
    assert_int_equal(status.offline_budget_s, (UINT64_C(1) << 30) / 1000);
    wire_check(RATE, BURST);
    world_fini(&world);
}

/* Any mix of lanes, sizes and bad days: everything gets there, and the rate holds. */
static void test_nothing_starves(void **state)
{
    (void)state;
    static const enum store_lane lanes[] = {STORE_LANE_NORMAL, STORE_LANE_NORMAL, STORE_LANE_RECALL,
                                            STORE_LANE_EXPRESS};
    const struct sim_bucket_faults faults = {
        .fail_before = 100000, .fail_after = 50000, .stall = 5000};
    const struct sim_bucket_faults none = {0};
    static struct world world;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        world_begin_wire(&world, seed);
        uint64_t rate = 20000 + sim_random(world.sim) % 200000;
        const struct uplink_options uplink = {.rate = rate, .burst = BURST, .express_exempt = true};
        struct replicator_options options = options_with(&world, &uplink, 1 + (uint32_t)seed % 4);
        world_start(&world, &options);
        sim_bucket_set_faults(world.bucket, &faults);
        for (int i = 0; i < 40; i++) {
            (void)add_block(&world, lanes[sim_random(world.sim) % FM_COUNT(lanes)],
                            1000 + sim_random(world.sim) % 200000,
                            sim_random(world.sim) % (1200 * FM_NS_PER_S));
            (void)sim_run(world.sim, sim_random(world.sim) % (3 * FM_NS_PER_S));
        }
        sim_bucket_set_faults(world.bucket, &none);
        (void)world_drain(&world, 3600);
        for (uint32_t i = 0; i < world.store.count; i++)
            assert_true(world.store.uploaded[i]);
        wire_check(rate, BURST);
        world_fini(&world);
    }
}

static void test_after_an_outage_the_new_goes_before_the_old(void **state)
{
    (void)state;
    static struct world world;
    const struct uplink_options uplink = {.rate = RATE, .burst = BURST};
    world_begin_wire(&world, 9);
    struct replicator_options options = options_with(&world, &uplink, 1);
    options.backlog_age_ns = DAY_NS; /* it is the outage that counts here */
    world_start(&world, &options);
    sim_bucket_set_outage(world.bucket, S3_TRANSIENT);
    for (int i = 0; i < 20; i++)
        (void)add_block(&world, STORE_LANE_NORMAL, 100000, 0);
    (void)sim_run(world.sim, 1200 * FM_NS_PER_S);
    sim_bucket_set_outage(world.bucket, S3_DONE);
    struct replicator_status status;
    for (int i = 0; i < 600; i++) {
        replicator_get_status(world.replicator, &status);
        if (status.uploaded_blocks)
            break;
        (void)sim_run(world.sim, FM_NS_PER_S);
    }
    assert_true(status.lanes[UPLOAD_BACKLOG].blocks >= 17);
    struct store_block *fresh = add_block(&world, STORE_LANE_NORMAL, 100000, 0);
    assert_true(seconds_until_uploaded(&world, fresh, 60) <= 10);
    (void)world_drain(&world, 300);
    world_fini(&world);
}

/* ---- windows ---- */

static void test_windows(void **state)
{
    (void)state;
    static struct world world;
    const struct uplink_window windows[] = {
        {.name = "night",
         .schedule = "22:00..06:00",
         .timezone = "UTC",
         .rate = 2 * RATE,
         .lanes = 1u << UPLOAD_FRESH | 1u << UPLOAD_BACKLOG},
        {.name = "noon",
         .schedule = "12:00..13:00",
         .timezone = "UTC",
         .lanes = 1u << UPLOAD_BACKLOG},
    };
    const struct uplink_options uplink = {.rate = RATE,
                                          .burst = BURST,
                                          .express_exempt = true,
                                          .windows = windows,
                                          .window_count = FM_COUNT(windows)};
    world_begin_wire(&world, 11);
    sim_wall_set(world.sim, UINT64_C(1795298340) * FM_NS_PER_S); /* 2026-11-21 21:59 UTC */
    struct replicator_options options = options_with(&world, &uplink, 2);
    world_start(&world, &options);
    struct store_block *fresh = add_block(&world, STORE_LANE_NORMAL, 50000, 0);
    struct store_block *recall = add_block(&world, STORE_LANE_RECALL, 50000, 0);
    struct store_block *express = add_block(&world, STORE_LANE_EXPRESS, 50000, 0);
    (void)sim_run(world.sim, 50 * FM_NS_PER_S);
    assert_true(is_uploaded(&world, recall) &&
                is_uploaded(&world, express)); /* no window of theirs */
    assert_false(is_uploaded(&world, fresh));
    struct replicator_status status;
    replicator_get_status(world.replicator, &status);
    assert_int_equal(status.uplink.open_lanes, 1u << UPLOAD_EXPRESS | 1u << UPLOAD_RECALL);
    assert_int_equal(status.uplink.next_change_unix_s, 1795298400);
    assert_int_equal(status.uplink.rate, RATE);
    assert_true(seconds_until_uploaded(&world, fresh, 60) <= 20);
    replicator_get_status(world.replicator, &status);
    assert_string_equal(status.uplink.window, "night");
    assert_int_equal(status.uplink.rate, 2 * RATE);
    (void)sim_run(world.sim, 8 * 3600 * FM_NS_PER_S); /* 06:00 and a few seconds */
    struct store_block *late = add_block(&world, STORE_LANE_NORMAL, 50000, 0);
    (void)sim_run(world.sim, 5 * 3600 * FM_NS_PER_S);
    assert_false(is_uploaded(&world, late));
    (void)sim_run(world.sim, 3600 * FM_NS_PER_S + 120 * FM_NS_PER_S);
    assert_true(is_uploaded(&world, late)); /* at noon, as backlog */
    world_fini(&world);
}

static void test_windows_that_cannot_be(void **state)
{
    (void)state;
    static struct world world;
    struct uplink_window window = {.name = "x", .schedule = "nonsense", .timezone = "UTC"};
    const struct uplink_options options = {.windows = &window, .window_count = 1};
    struct uplink *uplink = NULL;
    struct fm_why why = {""};
    world_begin(&world, 1);
    assert_int_equal(uplink_new(&uplink, world.platform, &options, &why), FM_ECONFIG);
    assert_non_null(strstr(why.text, "upload.window.x"));
    window.schedule = "Sat";
    window.timezone = "Nowhere/Atall";
    assert_int_equal(uplink_new(&uplink, world.platform, &options, &why), FM_ECONFIG);
    window.timezone = "../../etc/passwd";
    assert_int_equal(uplink_new(&uplink, world.platform, &options, &why), FM_ECONFIG);
    window.timezone = "local"; /* no /etc/localtime: UTC */
    assert_ok(uplink_new(&uplink, world.platform, &options, &why));
    uplink_free(uplink);
    sim_bucket_free(world.bucket);
    sim_free(world.sim);
}

/* ---- quotas ---- */

#define QUOTA 2000000

static void world_crash(struct world *world)
{
    sim_bucket_crash(world->bucket);
    sim_crash(world->sim, false);
    world->replicator = replicator_abandon(world->replicator);
    for (uint32_t i = 0; i < world->store.count; i++) {
        world->store.refs[i] = 0;
        world->store.marks[i] = (struct mark){0};
    }
}

static void world_announce(struct world *world)
{
    for (uint32_t i = 0; i < world->store.count; i++)
        replicator_on_sealed(world->replicator, &world->store.blocks[i]);
}

static uint64_t wire_total(void)
{
    uint64_t total = 0;
    for (size_t i = 0; i < STORE_LANE_COUNT; i++)
        total += wire.lane_bytes[i];
    return total;
}

/* Whatever happens in a day, and however often the power goes: not a byte beyond the quota. */
static void test_quotas_survive_crashes(void **state)
{
    (void)state;
    static struct world world;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        const struct uplink_options uplink = {.daily_quota = QUOTA,
                                              .monthly_quota = 4 * QUOTA,
                                              .month_begins = 1,
                                              .timezone = "UTC",
                                              .state_file = "/blocks/quota"};
        world_begin_wire(&world, 40 + seed);
        sim_wall_set(world.sim, UINT64_C(1795219200) * FM_NS_PER_S); /* 2026-11-21 00:00 UTC */
        assert_ok(pf_make_path(world.platform, "/blocks", NULL));
        struct replicator_options options = options_with(&world, &uplink, 2);
        world_start(&world, &options);
        for (int i = 0; i < 90; i++)
            (void)add_block(&world, STORE_LANE_NORMAL, 100000, 0);
        for (int day = 0; day < 3; day++) {
            uint64_t before = wire_total();
            for (int i = 0; i < 20; i++) {
                (void)sim_run(world.sim, sim_random(world.sim) % (2 * FM_NS_PER_S));
                if (sim_random(world.sim) % 3)
                    continue;
                world_crash(&world);
                options = options_with(&world, &uplink, 2);
                world_start(&world, &options);
                world_announce(&world);
            }
            (void)sim_run(world.sim, DAY_NS - pf_wall_ns(world.platform) % DAY_NS);
            assert_true(wire_total() - before <= QUOTA);
            assert_true(wire_total() - before >= QUOTA / 4); /* and it is used */
        }
        assert_true(wire_total() <= 4 * QUOTA);
        world_fini(&world);
    }
}

static void test_quotas_are_exact_after_a_stop(void **state)
{
    (void)state;
    static struct world world;
    const struct uplink_options uplink = {
        .daily_quota = 10 * QUOTA, .timezone = "UTC", .state_file = "/blocks/quota"};
    world_begin_wire(&world, 5);
    assert_ok(pf_make_path(world.platform, "/blocks", NULL));
    struct replicator_options options = options_with(&world, &uplink, 2);
    world_start(&world, &options);
    for (int i = 0; i < 10; i++)
        (void)add_block(&world, STORE_LANE_NORMAL, 100000, 0);
    (void)world_drain(&world, 60);
    struct replicator_status status;
    replicator_get_status(world.replicator, &status);
    uint64_t used = status.uplink.daily_used;
    assert_int_equal(used, wire_total());
    world_close(&world);
    options = options_with(&world, &uplink, 2);
    world.closed = false;
    world_start(&world, &options);
    replicator_get_status(world.replicator, &status);
    assert_int_equal(status.uplink.daily_used, used);
    world_fini(&world);
}

/* A clock that is set back gives nothing back; a broken file begins anew. */
static void test_quotas_and_clocks(void **state)
{
    (void)state;
    static struct world world;
    const struct uplink_options options = {
        .daily_quota = QUOTA, .timezone = "UTC", .state_file = "/quota"};
    struct uplink *uplink;
    struct uplink_status status;
    struct uplink_pass pass;
    world_begin(&world, 6);
    sim_wall_set(world.sim, 20778 * DAY_NS + 3600 * FM_NS_PER_S);
    assert_ok(pf_replace_file(world.platform, "/quota",
                              FM_SLICE("fermata-quota 1\nday 20778 500\nmonth 24322 500\n"), NULL));
    assert_ok(uplink_new(&uplink, world.platform, &options, NULL));
    uplink_get_status(uplink, &status);
    assert_int_equal(status.daily_used, 500);
    uplink_pass_begin(&pass, uplink, UPLOAD_FRESH, 0);
    pass.pacer.moved(&pass.pacer, 1500);
    uplink_pass_end(&pass);
    uplink_pass_end(&pass); /* again does no harm */
    sim_wall_set(world.sim, 20777 * DAY_NS);
    uplink_get_status(uplink, &status);
    assert_int_equal(status.daily_used, 2000);
    sim_wall_set(world.sim, 20778 * DAY_NS);
    uplink_get_status(uplink, &status);
    assert_int_equal(status.daily_used, 0); /* a new day all the same */
    (void)sim_run(world.sim, FM_NS_PER_S);  /* a save may be under way */
    uplink_free(uplink);
    static const char *const broken[] = {"", "fermata-quota 2\n", "fermata-quota 1\nday x 5\n",
                                         "fermata-quota 1\nday 20778 500\nmonth 24322 -1\n",
                                         "fermata-quota 1\nday 20778 500\nmonth 24322"};
    for (size_t i = 0; i < FM_COUNT(broken); i++) {
        assert_ok(pf_replace_file(world.platform, "/quota", fm_slice_text(broken[i]), NULL));
        assert_ok(uplink_new(&uplink, world.platform, &options, NULL));
        uplink_get_status(uplink, &status);
        assert_int_equal(status.daily_used, 0);
        uplink_free(uplink);
    }
    sim_bucket_free(world.bucket);
    sim_free(world.sim);
}

/* ---- a bucket without a wire ---- */

static void test_a_directory_is_paced_by_its_files(void **state)
{
    (void)state;
    static struct world world;
    const struct uplink_options uplink = {.rate = RATE, .burst = BURST};
    struct bucket *bucket;
    world_begin(&world, 3);
    struct replicator_options options = options_with(&world, &uplink, 2);
    assert_ok(bucket_dir_new(&bucket, world.platform, "/bucket", NULL));
    assert_ok(replicator_new(&world.replicator, world.platform, &world.store, bucket, &options));
    for (int i = 0; i < 20; i++)
        (void)add_block(&world, STORE_LANE_NORMAL, 100000, 0);
    uint64_t seconds = world_drain(&world, 300);
    struct replicator_status status;
    replicator_get_status(world.replicator, &status);
    assert_true(status.uplink.wire_bytes[UPLOAD_FRESH] >= 2000000);
    /* The last files are not waited for. */
    assert_true(seconds >= (2000000 - 4 * 100000 - BURST) / RATE && seconds <= 40);
    world_fini(&world);
}

/* Two uploads wait for debts that take minutes to pay: nobody waits for them. */
static void test_close_while_debts_are_paid(void **state)
{
    (void)state;
    static struct world world;
    const struct uplink_options uplink = {.rate = 100, .burst = BURST};
    struct bucket *bucket;
    world_begin(&world, 4);
    struct replicator_options options = options_with(&world, &uplink, 2);
    assert_ok(bucket_dir_new(&bucket, world.platform, "/bucket", NULL));
    assert_ok(replicator_new(&world.replicator, world.platform, &world.store, bucket, &options));
    for (int i = 0; i < 5; i++)
        (void)add_block(&world, STORE_LANE_NORMAL, 100000, 0);
    (void)sim_run(world.sim, 10 * FM_NS_PER_S);
    struct replicator_status status;
    replicator_get_status(world.replicator, &status);
    assert_true(status.uplink.balance < 0 && status.uploading_blocks == 2);
    replicator_close(world.replicator, world_on_closed, &world);
    (void)sim_run(world.sim, FM_NS_PER_S);
    assert_true(world.closed);
    sim_bucket_free(world.bucket);
    sim_free(world.sim);
}

int main(void)
{
    log_setup((enum log_level)0, false, NULL); /* the refusals are the point here */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_express_goes_at_once_in_spite_of_a_backlog),
        cmocka_unit_test(test_backlog_has_its_share_of_the_bytes),
        cmocka_unit_test(test_nothing_starves),
        cmocka_unit_test(test_after_an_outage_the_new_goes_before_the_old),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_windows_that_cannot_be),
        cmocka_unit_test(test_quotas_survive_crashes),
        cmocka_unit_test(test_quotas_are_exact_after_a_stop),
        cmocka_unit_test(test_quotas_and_clocks),
        cmocka_unit_test(test_a_directory_is_paced_by_its_files),
        cmocka_unit_test(test_close_while_debts_are_paid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
