/* SPDX-License-Identifier: Apache-2.0 */
/* What is let in, what has to go for it, and what is counted. */
#include "../../support/test.h"

#include "../../../src/daemon/query/vector_cache.h"

#define CACHE_BYTES FM_KIB(64)

static struct vector_cache cache;
static struct block_id block_ids[4] = {{{1}}, {{2}}, {{3}}, {{4}}};

static int cache_open(void **state)
{
    (void)state;
    assert_ok(vector_cache_init(&cache, CACHE_BYTES, 7));
    return 0;
}

static int cache_close(void **state)
{
    (void)state;
    vector_cache_fini(&cache);
    return 0;
}

struct name {
    struct block_keep_key key;
    char text[32];
};

static const struct block_keep_key *name_of(struct name *name, unsigned block, unsigned number)
{
    int len = snprintf(name->text, sizeof name->text, "column %u", number);
    name->key = (struct block_keep_key){&block_ids[block], fm_slice(name->text, (size_t)len)};
    return &name->key;
}

static void miss(unsigned block, unsigned number, unsigned part)
{
    struct name name;
    cache.keep.missed(&cache.keep, name_of(&name, block, number), part);
}

/* FM_OK: it is kept. */
static int find(unsigned block, unsigned number)
{
    struct block_kept *kept = NULL;
    struct name name;
    int rc = cache.keep.find(&cache.keep, name_of(&name, block, number), true, &kept);
    assert_true((rc == FM_OK) == (kept != NULL));
    if (kept)
        cache.keep.release(&cache.keep, kept);
    return rc;
}

static void make(unsigned block, unsigned number, size_t bytes)
{
    struct block_kept *kept = bytes ? calloc(1, bytes) : NULL;
    struct name name;
    if (kept) {
        kept->bytes = bytes;
        atomic_init(&kept->refs, 1);
    }
    cache.keep.made(&cache.keep, name_of(&name, block, number), kept);
    if (kept)
        cache.keep.release(&cache.keep, kept);
    assert_true(metric_get(&cache.bytes) <= CACHE_BYTES);
}

/* As a question does; what find says. */
static int ask_one(unsigned block, unsigned number, size_t bytes)
{
    int rc = find(block, number);
    if (rc == FM_MORE)
        make(block, number, bytes);
    else if (rc == FM_NONE)
        miss(block, number, BLOCK_KEEP_WHOLE);
    return rc;
}

/* Whether it was made. */
static bool ask(unsigned block, unsigned number, size_t bytes)
{
    return ask_one(block, number, bytes) == FM_MORE;
}

/* ---- what is let in ---- */

static void test_second_time(void **state)
{
    (void)state;
    assert_int_equal(find(0, 1), FM_NONE);
    miss(0, 1, BLOCK_KEEP_WHOLE);
    assert_int_equal(find(1, 1), FM_NONE); /* of another block */
    assert_int_equal(find(0, 2), FM_NONE);
    assert_int_equal(find(0, 1), FM_MORE);
    assert_int_equal(find(0, 1), FM_NONE); /* somebody makes it */
    make(0, 1, 1000);
    assert_int_equal(find(0, 1), FM_OK);
    assert_true(metric_get(&cache.bytes) > 1000);
    assert_int_equal(metric_get(&cache.hits), 1);
    assert_int_equal(metric_get(&cache.misses), 5);
    assert_int_equal(metric_get(&cache.evictions), 0);
}

/* A little of it now and then is as much as all of it once. */
static void test_in_parts(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        miss(0, 1, BLOCK_KEEP_WHOLE / 4);
        assert_int_equal(find(0, 1), FM_NONE);
    }
    miss(0, 1, BLOCK_KEEP_WHOLE / 4 - 1); /* shares are rounded down */
    assert_int_equal(find(0, 1), FM_MORE);
}

static void test_only_found(void **state)
{
    struct block_kept *kept = NULL;
    struct name name;
    (void)state;
    miss(0, 1, BLOCK_KEEP_WHOLE);
    assert_int_equal(cache.keep.find(&cache.keep, name_of(&name, 0, 1), false, &kept), FM_NONE);
    assert_int_equal(find(0, 1), FM_MORE);
}

static void test_cannot_be_made(void **state)
{
    (void)state;
    miss(0, 1, BLOCK_KEEP_WHOLE);
    assert_int_equal(find(0, 1), FM_MORE);
    make(0, 1, 0);
    for (unsigned i = 0; i < 4; i++)
        assert_false(ask(0, 1, 100));
}

/* ---- what has to go ---- */

/* More than fits, over and over: what is in stays, and nothing is made in vain for long. */
static void test_scan(void **state)
{
    unsigned made[10] = {0}, hits = 0;
    (void)state;
    for (unsigned round = 0; round < 10; round++)
        for (unsigned i = 0; i < 10; i++) {
            int rc = ask_one(0, i, FM_KIB(8));
            hits += rc == FM_OK;
            made[round] += rc == FM_MORE;
        }
    assert_int_equal(made[0], 0);
    assert_int_equal(made[1] + made[2], 7 + 3); /* of the last three each once */
    for (unsigned round = 3; round < 10; round++)
        assert_int_equal(made[round], 0);
    assert_true(hits >= 7 * 8);
    assert_int_equal(metric_get(&cache.evictions), 0);
}

/* What is asked every few seconds stays when a question over everything comes twice. */
static void test_dashboard_stays(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; i < 3; i++)
            (void)ask(0, i, FM_KIB(14));
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(find(0, i), FM_OK);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 12; i++)
            (void)ask(1, i, FM_KIB(14));
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(find(0, i), FM_OK);
    }
    assert_int_equal(metric_get(&cache.evictions), 0);
}

/* What nobody asks for any more makes room. */
static void test_new_dashboard(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; i < 4; i++)
            (void)ask(0, i, FM_KIB(14));
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < 4; i++)
            (void)ask(1, i, FM_KIB(14));
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(find(1, i), FM_OK);
    assert_true(metric_get(&cache.evictions) >= 3);
}

static void test_reader_outlives(void **state)
{
    struct block_kept *kept = NULL;
    struct name name;
    (void)state;
    for (unsigned round = 0; round < 2; round++)
        (void)ask(0, 1, FM_KIB(1));
    assert_ok(cache.keep.find(&cache.keep, name_of(&name, 0, 1), true, &kept));
    vector_cache_forget(&cache, &block_ids[0]);
    assert_int_equal(find(0, 1), FM_NONE);
    assert_int_equal(kept->bytes, FM_KIB(1));
    assert_int_equal(atomic_load(&kept->refs), 1);
    cache.keep.release(&cache.keep, kept);
}

static void test_forgets_block(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; i < 8; i++)
            (void)ask(i % 2, i, FM_KIB(1));
    vector_cache_forget(&cache, &block_ids[1]);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(find(i % 2, i), i % 2 ? FM_NONE : FM_OK);
    vector_cache_forget(&cache, &block_ids[0]);
    assert_int_equal(metric_get(&cache.bytes), 0);
}

/* Full, and names come on top. */
static void test_full(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2000; i++) {
        (void)ask(0, i % 12, FM_KIB(7) + i % 7 * 100);
        miss(1, i, BLOCK_KEEP_WHOLE / 2);
        assert_true(metric_get(&cache.bytes) <= CACHE_BYTES);
    }
    assert_true(metric_get(&cache.bytes) > CACHE_BYTES / 2);
}

/* Names are remembered within bounds, too. */
static void test_names(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 10000; i++)
        miss(i % 4, i, BLOCK_KEEP_WHOLE);
    assert_true(cache.name_bytes > CACHE_BYTES / 32);
    assert_true(cache.name_bytes <= CACHE_BYTES / 16);
    assert_int_equal(metric_get(&cache.bytes), cache.name_bytes);
    assert_int_equal(find(9999 % 4, 9999), FM_MORE);
    assert_int_equal(find(0, 0), FM_NONE);
}

static void test_none(void **state)
{
    struct vector_cache none;
    (void)state;
    assert_ok(vector_cache_init(&none, 0, 7));
    assert_null(vector_cache_keep(&none));
    vector_cache_forget(&none, &block_ids[0]);
    vector_cache_fini(&none);
}

static void test_failing_allocations(void **state)
{
    (void)state;
    test_alloc_fail_at(1);
    miss(0, 1, BLOCK_KEEP_WHOLE);
    assert_true(test_alloc_failed());
    test_alloc_disarm();
    assert_int_equal(find(0, 1), FM_NONE);
    assert_false(ask(0, 1, 100));
    assert_true(ask(0, 1, 100));
    assert_int_equal(find(0, 1), FM_OK);
}

#define CACHE_TEST(name) cmocka_unit_test_setup_teardown(name, cache_open, cache_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CACHE_TEST(test_second_time),
        CACHE_TEST(test_in_parts),
        CACHE_TEST(test_only_found),
        CACHE_TEST(test_cannot_be_made),
        CACHE_TEST(test_scan),
        CACHE_TEST(test_dashboard_stays),
        CACHE_TEST(test_new_dashboard),
        CACHE_TEST(test_reader_outlives),
        CACHE_TEST(test_forgets_block),
        CACHE_TEST(test_names),
        CACHE_TEST(test_full),
        cmocka_unit_test(test_none),
        CACHE_TEST(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
