/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests of a store in the simulated world: when they are put, what is in them, bad buckets. */
#include "../../support/sim_bucket.h"
#include "../../support/test.h"

#include "fermata/manifest.h"
#include "fermata/sim.h"
#include "fermata/store_ledger.h"
#include "fermata/telemetry.h"
#include "fermata/units.h"

struct fixture {
    struct sim *sim;
    struct store *store;
    struct sim_bucket *bucket;
    struct manifest *manifest;
    bool is_closed;
    uint64_t chance;
};

static const uint8_t node[16] = {0xab, 1};

static uint64_t next_random(void *self)
{
    return fm_random_next(self);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct fm_why why = {""};
    const struct store_options options = {
        .data_dir = "/data",
        .segment_bytes = FM_KIB(64),
        .pending_bytes_max = FM_KIB(256),
        .head_bytes_max = FM_MIB(1),
        .block = block_options_default,
        .block_age_ns = 3600 * FM_NS_PER_S,
        .block_bytes = FM_MIB(64),
    };
    struct manifest_options manifest = {.interval_ns = 60 * FM_NS_PER_S};
    assert_non_null(f);
    log_setup((enum log_level)0, false, NULL);
    assert_ok(sim_new(&f->sim, 3));
    assert_ok(store_open(&f->store, sim_platform(f->sim), &options, &why));
    f->bucket = sim_bucket_new(next_random, &f->chance);
    memcpy(manifest.node, node, sizeof node);
    assert_ok(manifest_new(&f->manifest, sim_platform(f->sim), f->store,
                           sim_bucket_attach(f->bucket, sim_platform(f->sim)), &manifest));
    *state = f;
    return 0;
}

static void on_closed(void *self)
{
    ((struct fixture *)self)->is_closed = true;
}

static void close_manifest(struct fixture *f)
{
    manifest_close(f->manifest, on_closed, f);
    assert_false(f->is_closed);
    for (unsigned i = 0; !f->is_closed && i < 10000 && sim_step(f->sim); i++) {
    }
    assert_true(f->is_closed);
    f->manifest = NULL;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->manifest)
        close_manifest(f);
    f->is_closed = false;
    store_close(f->store, on_closed, f);
    while (!f->is_closed && sim_step(f->sim)) {
    }
    sim_bucket_free(f->bucket);
    sim_free(f->sim);
    free(f);
    return 0;
}

static void reject(struct fixture *f, uint64_t spans)
{
    store_ledger_reject(f->store, FM_SLICE("team-a"), LEDGER_TOO_LARGE, spans);
}

static const struct sim_bucket_object *object_of_now(const struct fixture *f)
{
    char key[MANIFEST_KEY_BYTES];
    struct platform *platform = sim_platform(f->sim);
    manifest_key(node, (uint32_t)(pf_wall_ns(platform) / LEDGER_HOUR_NS), key);
    return sim_bucket_find(f->bucket, key);
}

static bool says(const struct sim_bucket_object *object, const char *text)
{
    return memmem(object->content.ptr, object->content.len, text, strlen(text)) != NULL;
}

static void test_put_when_it_changes(void **state)
{
    struct fixture *f = *state;
    sim_run(f->sim, 200 * FM_NS_PER_S);
    assert_int_equal(sim_bucket_count(f->bucket), 0); /* nothing happened */
    reject(f, 3);
    sim_run(f->sim, 61 * FM_NS_PER_S);
    const struct sim_bucket_object *object = object_of_now(f);
    assert_non_null(object);
    assert_int_equal(object->commits, 1);
    assert_true(says(object, "\"too_large\":3"));
    assert_true(says(object, "\"tenant\":\"team-a\""));
    assert_true(says(object, "\"over\":false"));
    sim_run(f->sim, 300 * FM_NS_PER_S);
    assert_int_equal(object->commits, 1);
    reject(f, 4);
    sim_run(f->sim, 61 * FM_NS_PER_S);
    assert_int_equal(object->commits, 2);
    assert_true(says(object, "\"too_large\":7"));
    sim_run(f->sim, 3600 * FM_NS_PER_S); /* the hour is over: it says so, once */
    assert_int_equal(object->commits, 3);
    assert_true(says(object, "\"over\":true"));
    sim_run(f->sim, 3600 * FM_NS_PER_S);
    assert_int_equal(object->commits, 3);
}

static void test_an_outage(void **state)
{
    struct fixture *f = *state;
    sim_bucket_set_outage(f->bucket, S3_TRANSIENT);
    reject(f, 3);
    sim_run(f->sim, 7200 * FM_NS_PER_S);
    uint64_t requests = sim_bucket_requests(f->bucket);
    assert_in_range(requests, 2, 12); /* further and further apart */
    sim_bucket_set_outage(f->bucket, S3_DONE);
    sim_run(f->sim, 3700 * FM_NS_PER_S);
    assert_int_equal(sim_bucket_count(f->bucket), 1);
    assert_true(says(sim_bucket_at(f->bucket, 0), "\"too_large\":3"));
}

static void test_closed_while_putting(void **state)
{
    struct fixture *f = *state;
    sim_bucket_set_faults(f->bucket, &(struct sim_bucket_faults){.stall = 1000000});
    reject(f, 3);
    sim_run(f->sim, 61 * FM_NS_PER_S);
    assert_int_equal(sim_bucket_requests(f->bucket), 1);
    close_manifest(f);
}

static void test_key(void **state)
{
    (void)state;
    char key[MANIFEST_KEY_BYTES];
    manifest_key(node, 490534, key);
    assert_string_equal(key, "manifest/ab010000000000000000000000000000/2025-12-16/22.json");
    manifest_key(node, UINT32_MAX, key); /* a clock that is far off fits, too */
    assert_true(strlen(key) < MANIFEST_KEY_BYTES - 1);
}

#define MANIFEST_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key),
        MANIFEST_TEST(test_put_when_it_changes),
        MANIFEST_TEST(test_an_outage),
        MANIFEST_TEST(test_closed_while_putting),
    };
    return cmocka_run_group_tests_name("manifest", tests, NULL, NULL);
}
