/* SPDX-License-Identifier: Apache-2.0 */
/* The replicator against a simulated bucket, with a store made of a few lines. */
#include "world.h"

static void test_a_block_goes_up_whole_and_once(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 1, 2);
    struct store_block *block = world_add_block(&world, 2, 100000);
    replicator_on_sealed(world.replicator, block);
    (void)world_drain(&world, 10);
    assert_true(world.store.uploaded[0]);
    assert_int_equal(sim_bucket_count(world.bucket), 4);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(sim_bucket_at(world.bucket, i)->commits, 1);
    assert_string_equal(strrchr(sim_bucket_at(world.bucket, 3)->key, '/'), "/meta.json");
    replicator_on_sealed(world.replicator, block); /* again: it is marked */
    assert_true(world_is_drained(&world));
    struct replicator_status status;
    replicator_get_status(world.replicator, &status);
    assert_int_equal(status.uploaded_blocks, 1);
    assert_true(status.uploaded_bytes > 100000);
    assert_string_equal(status.problem, "");
    world_fini(&world);
}

static void test_bad_days(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct world world;
        world_init(&world, seed, 1 + (uint32_t)(seed % 4));
        const struct sim_bucket_faults faults = {.fail_before = 200000,
                                                 .fail_after = 150000,
                                                 .commit_late = 50000,
                                                 .conflict = 100000,
                                                 .stall = 20000};
        const struct sim_bucket_faults none = {0};
        sim_bucket_set_faults(world.bucket, &faults);
        for (int i = 0; i < 12; i++) {
            replicator_on_sealed(world.replicator, world_add_block(&world, 1 + i % 3, 1000));
            (void)sim_run(world.sim, 20 * FM_NS_PER_S);
        }
        sim_bucket_set_faults(world.bucket, &none);
        (void)world_drain(&world, 3600);
        for (uint32_t i = 0; i < world.store.count; i++)
            assert_true(world.store.uploaded[i]);
        world_fini(&world);
    }
}

static void test_outage_then_fresh_data_soon(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 7, 2);
    sim_bucket_set_outage(world.bucket, S3_TRANSIENT);
    for (int i = 0; i < 30; i++)
        replicator_on_sealed(world.replicator, world_add_block(&world, 1, 1000));
    (void)sim_run(world.sim, 3600 * FM_NS_PER_S);
    /* One probe at a time, not one for every block. */
    assert_true(sim_bucket_requests(world.bucket) < 400);
    struct replicator_status status;
    replicator_get_status(world.replicator, &status);
    assert_int_equal(status.pending_blocks, 30);
    assert_int_equal(status.pending_spans, 300);
    assert_int_equal(status.pending_bytes, 30000);
    assert_true(status.oldest_pending_unix_ns > 0);
    assert_non_null(strstr(status.problem, "transient"));
    sim_bucket_set_outage(world.bucket, S3_DONE);
    assert_true(world_drain(&world, 300) <= 180);
    world_fini(&world);
}

static void test_refused_credentials_hold_everything_and_lose_nothing(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 8, 2);
    sim_bucket_set_outage(world.bucket, S3_AUTH);
    for (int i = 0; i < 5; i++)
        replicator_on_sealed(world.replicator, world_add_block(&world, 1, 1000));
    (void)sim_run(world.sim, 6 * 3600 * FM_NS_PER_S);
    assert_true(sim_bucket_requests(world.bucket) < 200);
    sim_bucket_set_outage(world.bucket, S3_DONE);
    (void)world_drain(&world, 900);
    world_fini(&world);
}

static void test_a_taken_name_is_never_overwritten(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 9, 2);
    struct store_block *block = world_add_block(&world, 1, 1000);
    char key[512];
    block_key(block, "meta.json", key);
    sim_bucket_on_commit(world.bucket, NULL, NULL);
    sim_bucket_place(world.bucket, key, FM_SLICE("{\"blockID\":\"something else\"}"));
    replicator_on_sealed(world.replicator, block);
    replicator_on_sealed(world.replicator, world_add_block(&world, 1, 1000));
    (void)sim_run(world.sim, 2 * 3600 * FM_NS_PER_S);
    assert_int_equal(sim_bucket_find(world.bucket, key)->commits, 1);
    assert_false(world.store.uploaded[0]);
    assert_true(world.store.uploaded[1]); /* it holds nobody else */
    struct replicator_status status;
    replicator_get_status(world.replicator, &status);
    assert_int_equal(status.pending_blocks, 1);
    assert_true(status.problem[0]);
    world_fini(&world);
}

static void test_a_block_found_there_is_not_sent_again(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 10, 2);
    struct store_block *block = world_add_block(&world, 1, 1000);
    /* The same block, its meta.json written by an earlier version with other spacing. */
    struct fm_buf text, spaced;
    fm_buf_init(&text, FM_KIB(64));
    fm_buf_init(&spaced, FM_KIB(64));
    block_meta_render(&block->meta, &text);
    fm_buf_puts(&spaced, "  ");
    fm_buf_put_slice(&spaced, fm_buf_slice(&text));
    char key[512];
    block_key(block, "meta.json", key);
    sim_bucket_on_commit(world.bucket, NULL, NULL);
    sim_bucket_place(world.bucket, key, fm_buf_slice(&spaced));
    replicator_on_sealed(world.replicator, block);
    (void)world_drain(&world, 10);
    assert_int_equal(sim_bucket_count(world.bucket), 1);
    assert_true(world.store.uploaded[0]);
    fm_buf_fini(&text);
    fm_buf_fini(&spaced);
    world_fini(&world);
}

static void test_data_that_is_there_is_not_sent_again(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 11, 2);
    struct store_block *block = world_add_block(&world, 1, 1000);
    uint8_t data[1000] = {0};
    char key[512];
    block_key(block, "data.parquet", key);
    sim_bucket_place(world.bucket, key, fm_slice(data, sizeof data));
    replicator_on_sealed(world.replicator, block);
    (void)world_drain(&world, 10);
    assert_int_equal(sim_bucket_find(world.bucket, key)->commits, 1);
    assert_int_equal(sim_bucket_count(world.bucket), 3);
    world_fini(&world);
}

static void test_a_block_that_the_reader_compacted_is_done(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 12, 2);
    struct store_block *block = world_add_block(&world, 1, 1000);
    uint8_t data[1000] = {0};
    char key[512];
    block_key(block, "data.parquet", key);
    sim_bucket_place(world.bucket, key, fm_slice(data, sizeof data));
    block_key(block, "meta.compacted.json", key);
    sim_bucket_place(world.bucket, key, FM_SLICE("{}"));
    replicator_on_sealed(world.replicator, block);
    (void)world_drain(&world, 10);
    assert_int_equal(sim_bucket_count(world.bucket), 2);
    assert_true(world.store.uploaded[0]);
    world_fini(&world);
}

static void test_a_block_that_vanished_is_given_up(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 13, 2);
    struct store_block *block = world_add_block(&world, 1, 1000);
    assert_ok(pf_remove_tree(world.platform, block->path, NULL));
    replicator_on_sealed(world.replicator, block);
    (void)world_drain(&world, 10);
    assert_false(world.store.uploaded[0]);
    assert_int_equal(sim_bucket_count(world.bucket), 0);
    world_fini(&world);
}

/* The store drops blocks while they wait, and while they are on their way. */
static void test_dropped_blocks_are_let_go(void **state)
{
    (void)state;
    for (unsigned steps = 0; steps < 40; steps++) {
        struct world world;
        world_init(&world, 18, 1);
        for (int i = 0; i < 3; i++)
            replicator_on_sealed(world.replicator, world_add_block(&world, 1, 1000));
        for (unsigned i = 0; i < steps; i++)
            (void)sim_step(world.sim);
        for (uint32_t i = 0; i < 3; i++)
            replicator_on_dropped(world.replicator, &world.store.blocks[i]);
        assert_true(world.store.refs[0] + world.store.refs[1] + world.store.refs[2] <= 1);
        (void)world_drain(&world, 60);
        world_fini(&world);
    }
}

static void test_marking_that_fails_is_repeated(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 14, 1);
    world.store.mark_rc = FM_ENOSPACE;
    replicator_on_sealed(world.replicator, world_add_block(&world, 1, 1000));
    (void)sim_run(world.sim, 60 * FM_NS_PER_S);
    assert_false(world_is_drained(&world));
    world.store.mark_rc = FM_OK;
    (void)world_drain(&world, 900);
    for (size_t i = 0; i < sim_bucket_count(world.bucket); i++)
        assert_int_equal(sim_bucket_at(world.bucket, i)->commits, 1);
    world_fini(&world);
}

/* Close after every possible number of events: each state of the machine is met. */
static void test_close_in_every_state(void **state)
{
    (void)state;
    bool finished = false;
    for (unsigned steps = 0; !finished; steps++) {
        struct world world;
        world_init(&world, 15, 2);
        replicator_on_sealed(world.replicator, world_add_block(&world, 2, 1000));
        replicator_on_sealed(world.replicator, world_add_block(&world, 1, 1000));
        for (unsigned i = 0; i < steps && !world_is_drained(&world); i++)
            (void)sim_step(world.sim);
        finished = world_is_drained(&world);
        world_fini(&world);
        assert_true(steps < 1000);
    }
}

static void test_the_newest_goes_first(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 16, 1);
    for (int i = 0; i < 8; i++)
        (void)world_add_block(&world, 1, 100);
    for (int i = 7; i >= 0; i--) /* delivered in any order */
        if (i != 0)
            replicator_on_sealed(world.replicator, &world.store.blocks[i]);
    (void)world_drain(&world, 60);
    unsigned order[8] = {0}, count = 0;
    for (size_t i = 0; i < sim_bucket_count(world.bucket); i++) {
        const char *key = sim_bucket_at(world.bucket, i)->key;
        if (strstr(key, "/meta.json"))
            order[count++] = (unsigned)strtoul(strrchr(key, '-') + 1, NULL, 16) - 1;
    }
    const unsigned expected[] = {7, 6, 5, 4, 3, 2, 1};
    assert_int_equal(count, 7);
    for (unsigned i = 0; i < 7; i++)
        assert_int_equal(order[i], expected[i]);
    world_fini(&world);
}

static void test_metrics(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 17, 1);
    replicator_on_sealed(world.replicator, world_add_block(&world, 1, 100));
    (void)world_drain(&world, 60);
    struct fm_buf text;
    fm_buf_init(&text, FM_KIB(64));
    replicator_put_metrics(world.replicator, &text);
    fm_buf_put_u8(&text, 0);
    assert_false(text.failed);
    assert_non_null(
        strstr((char *)text.ptr, "fermata_upload_requests_total{outcome=\"done\"} 4\n"));
    assert_non_null(strstr((char *)text.ptr, "fermata_upload_blocks_total 1\n"));
    fm_buf_fini(&text);
    world_fini(&world);
}

int main(void)
{
    log_setup((enum log_level)0, false, NULL); /* the refusals are the point here */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_block_goes_up_whole_and_once),
        cmocka_unit_test(test_bad_days),
        cmocka_unit_test(test_outage_then_fresh_data_soon),
        cmocka_unit_test(test_refused_credentials_hold_everything_and_lose_nothing),
        cmocka_unit_test(test_a_taken_name_is_never_overwritten),
        cmocka_unit_test(test_a_block_found_there_is_not_sent_again),
        cmocka_unit_test(test_data_that_is_there_is_not_sent_again),
        cmocka_unit_test(test_a_block_that_the_reader_compacted_is_done),
        cmocka_unit_test(test_a_block_that_vanished_is_given_up),
        cmocka_unit_test(test_dropped_blocks_are_let_go),
        cmocka_unit_test(test_marking_that_fails_is_repeated),
        cmocka_unit_test(test_close_in_every_state),
        cmocka_unit_test(test_the_newest_goes_first),
        cmocka_unit_test(test_metrics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
