/* SPDX-License-Identifier: Apache-2.0 */
/* The directory as a bucket, on the simulated disk: whole objects or none. */
#include "../../support/test.h"

#include "fermata/replicate.h"
#include "fermata/sim.h"
#include "fermata/units.h"

struct world {
    struct sim *sim;
    struct bucket *bucket;
    struct bucket_request request;
    bool is_done;
};

static void world_init(struct world *world, uint64_t seed)
{
    *world = (struct world){0};
    assert_ok(sim_new(&world->sim, seed));
    assert_ok(bucket_dir_new(&world->bucket, sim_platform(world->sim), "/mnt/bucket/", NULL));
}

static void world_fini(struct world *world)
{
    fm_buf_fini(&world->request.body);
    world->bucket = world->bucket->ops->free(world->bucket);
    sim_free(world->sim);
}

static void world_on_done(struct bucket_request *request)
{
    ((struct world *)request->self)->is_done = true;
}

static void world_wait(struct world *world)
{
    for (int i = 0; i < 1000 && !world->is_done && !sim_crashed(world->sim); i++)
        (void)sim_step(world->sim);
}

static void world_start_put(struct world *world, const char *key, const struct fm_slice *content,
                            bool create_only)
{
    fm_buf_fini(&world->request.body);
    world->is_done = false;
    world->request = (struct bucket_request){.key = key,
                                             .source = fm_source_memory(content),
                                             .create_only = create_only,
                                             .done = world_on_done,
                                             .self = world};
    world->bucket->ops->put(world->bucket, &world->request);
    assert_false(world->is_done); /* never from within */
}

static enum s3_outcome world_put(struct world *world, const char *key, struct fm_slice content,
                                 bool create_only)
{
    world_start_put(world, key, &content, create_only);
    world_wait(world);
    return world->request.outcome;
}

static enum s3_outcome world_get(struct world *world, const char *key, bool want_body)
{
    fm_buf_fini(&world->request.body);
    world->is_done = false;
    world->request = (struct bucket_request){.key = key,
                                             .want_body = want_body,
                                             .body_max = 1000000,
                                             .done = world_on_done,
                                             .self = world};
    world->bucket->ops->get(world->bucket, &world->request);
    world_wait(world);
    assert_true(world->is_done);
    return world->request.outcome;
}

static void test_put_and_get(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 1);
    assert_int_equal(world_get(&world, "t/b/meta.json", true), S3_ABSENT);
    assert_int_equal(world_put(&world, "t/b/meta.json", FM_SLICE("one"), true), S3_DONE);
    assert_int_equal(world_put(&world, "t/b/meta.json", FM_SLICE("two"), true), S3_EXISTS);
    assert_int_equal(world_get(&world, "t/b/meta.json", true), S3_DONE);
    assert_int_equal(world.request.size, 3);
    assert_true(fm_slice_equal_text(fm_buf_slice(&world.request.body), "one"));
    assert_int_equal(world_put(&world, "t/b/meta.json", FM_SLICE("three"), false), S3_DONE);
    assert_int_equal(world_get(&world, "t/b/meta.json", false), S3_DONE);
    assert_int_equal(world.request.size, 5);
    assert_null(world.request.body.ptr);
    char text[256];
    world.bucket->ops->describe(world.bucket, text, sizeof text);
    assert_string_equal(text, "dir:/mnt/bucket");
    world_fini(&world);
}

static void test_larger_than_the_copy_buffer(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 2);
    size_t size = FM_KIB(256) * 2 + 17;
    uint8_t *bytes = malloc(size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i * 31);
    assert_int_equal(world_put(&world, "t/b/data.parquet", fm_slice(bytes, size), false), S3_DONE);
    assert_int_equal(world_get(&world, "t/b/data.parquet", true), S3_DONE);
    assert_true(fm_slice_equal(fm_buf_slice(&world.request.body), fm_slice(bytes, size)));
    free(bytes);
    world_fini(&world);
}

static void test_a_file_of_the_same_disk_is_linked(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 7);
    struct platform *platform = sim_platform(world.sim);
    assert_ok(pf_make_path(platform, "/data", NULL));
    assert_ok(pf_replace_file(platform, "/data/x", FM_SLICE("content"), NULL));
    const struct fm_slice content = FM_SLICE("content");
    for (unsigned round = 0; round < 2; round++) { /* the second finds it there and copies over */
        world_start_put(&world, "t/b/x", &content, false);
        world.request.source_path = "/data/x";
        world_wait(&world);
        assert_int_equal(world.request.outcome, S3_DONE);
    }
    world_start_put(&world, "t/b/x", &content, true);
    world.request.source_path = "/data/x";
    world_wait(&world);
    assert_int_equal(world.request.outcome, S3_EXISTS);
    world_start_put(&world, "t/b/y", &content, true);
    world.request.source_path = "/data/x";
    world_wait(&world);
    assert_int_equal(world.request.outcome, S3_DONE);
    assert_ok(platform->ops->unlink(platform, "/data/x", NULL));
    sim_crash(world.sim,
              false); /* what was answered with done is durable, whatever the store does */
    assert_int_equal(world_get(&world, "t/b/y", true), S3_DONE);
    assert_true(fm_slice_equal(fm_buf_slice(&world.request.body), content));
    world_fini(&world);
}

static void test_unsafe_keys_are_refused(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 3);
    static const char *const keys[] = {"", "/etc/x", "t/../../x", "..", "t//x", "t/b/"};
    for (size_t i = 0; i < FM_COUNT(keys); i++) {
        assert_int_equal(world_put(&world, keys[i], FM_SLICE("x"), false), S3_REFUSED);
        assert_int_equal(world_get(&world, keys[i], false), S3_REFUSED);
    }
    char longest[2000];
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(world_put(&world, longest, FM_SLICE("x"), false), S3_REFUSED);
    world_fini(&world);
}

/* Every kind of failure at every operation: the object is absent or whole, and a retry works. */
static void test_faults(void **state)
{
    (void)state;
    static const enum sim_fault faults[] = {SIM_WRITE_EIO, SIM_WRITE_ENOSPC, SIM_SYNC_EIO,
                                            SIM_OPEN_EIO, SIM_RENAME_EIO};
    for (size_t i = 0; i < FM_COUNT(faults); i++) {
        for (uint64_t nth = 1; nth < 12; nth++) {
            struct world world;
            world_init(&world, 4);
            sim_fault_at(world.sim, faults[i], nth, false);
            enum s3_outcome first = world_put(&world, "t/b/x", FM_SLICE("content"), true);
            assert_true(first == S3_DONE || first == S3_TRANSIENT);
            for (int f = 0; f < SIM_FAULT_COUNT; f++)
                sim_fault_at(world.sim, (enum sim_fault)f, 0, false);
            enum s3_outcome there = world_get(&world, "t/b/x", true);
            if (there == S3_DONE)
                assert_true(fm_slice_equal_text(fm_buf_slice(&world.request.body), "content"));
            else
                assert_int_equal(there, S3_ABSENT);
            enum s3_outcome again = world_put(&world, "t/b/x", FM_SLICE("content"), true);
            assert_int_equal(again, there == S3_DONE ? S3_EXISTS : S3_DONE);
            world_fini(&world);
        }
    }
}

/* The power goes at every disk operation: what was answered with done is there, and what is there
 * is whole. */
static void test_power_cuts(void **state)
{
    (void)state;
    bool was_cut = true;
    for (uint64_t nth = 1; was_cut; nth++) {
        for (uint64_t seed = 1; seed <= 8; seed++) {
            struct world world;
            world_init(&world, seed);
            const struct fm_slice content = FM_SLICE("content of an object");
            sim_crash_at(world.sim, nth);
            world_start_put(&world, "t/b/x", &content, false);
            world_wait(&world);
            was_cut = sim_crashed(world.sim);
            bool was_done = world.is_done;
            if (was_cut)
                free(fm_take(world.request.body_private)); /* of the process that died */
            else
                sim_crash_at(world.sim, 0);
            sim_crash(world.sim, false);
            enum s3_outcome there = world_get(&world, "t/b/x", true);
            if (was_done)
                assert_int_equal(there, S3_DONE);
            if (there == S3_DONE)
                assert_true(fm_slice_equal(fm_buf_slice(&world.request.body), content));
            assert_int_equal(world_put(&world, "t/b/x", content, false), S3_DONE);
            world_fini(&world);
        }
        assert_true(nth < 100);
    }
}

static void test_cancel(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 5);
    const struct fm_slice content = FM_SLICE("x");
    world_start_put(&world, "t/b/x", &content, false);
    world.bucket->ops->cancel(world.bucket, &world.request);
    world_wait(&world);
    assert_true(world.is_done);
    assert_int_equal(world.request.outcome, S3_TRANSIENT);
    assert_int_equal(world_get(&world, "t/b/x", false), S3_ABSENT);
    world_fini(&world);
}

static void test_without_memory(void **state)
{
    (void)state;
    for (uint64_t nth = 1;; nth++) {
        struct world world;
        world_init(&world, 6);
        const struct fm_slice content = FM_SLICE("x");
        test_alloc_fail_at(nth);
        world_start_put(&world, "t/b/x", &content, false);
        world_wait(&world);
        bool failed = test_alloc_failed();
        test_alloc_disarm();
        assert_true(world.is_done);
        assert_true(world.request.outcome == S3_DONE || failed);
        world_fini(&world);
        if (!failed)
            return;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_and_get),
        cmocka_unit_test(test_larger_than_the_copy_buffer),
        cmocka_unit_test(test_a_file_of_the_same_disk_is_linked),
        cmocka_unit_test(test_unsafe_keys_are_refused),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_power_cuts),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
