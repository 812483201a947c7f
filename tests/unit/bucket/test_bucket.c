/* SPDX-License-Identifier: Apache-2.0 */
/* What of a bucket is kept, within its bounds and through crashes; Tempo's index; a directory as a
 * bucket.  Requests and ranges are tested against a server, by tests/system/test_bucket_read.py. */
#include "../../support/test.h"

#include <stdio.h>

#include "../../../src/daemon/bucket/internal.h"
#include "fermata/codec.h"
#include "fermata/sim.h"

/* ---- memory ---- */

static void test_memory_is_bounded(void **state)
{
    (void)state;
    struct bucket_cache *cache = calloc(1, sizeof *cache);
    uint8_t bytes[1000];
    memset(bytes, 'x', sizeof bytes);
    bucket_cache_init(cache, 100000, 7);
    struct bucket_kept *first =
        bucket_cache_keep(cache, BUCKET_DATA, "first", fm_slice(bytes, sizeof bytes));
    for (unsigned i = 0; i < 500; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "key-%u", i);
        bucket_kept_release(
            bucket_cache_keep(cache, BUCKET_DATA, key, fm_slice(bytes, sizeof bytes)));
        assert_true(metric_get(&cache->bytes) <= 100000);
        struct bucket_kept *kept = bucket_cache_find(cache, BUCKET_DATA, "key-0");
        assert_non_null(kept); /* used again and again */
        bucket_kept_release(kept);
    }
    assert_null(bucket_cache_find(cache, BUCKET_DATA, "first"));
    assert_int_equal(first->bytes[999], 'x'); /* who has it reads on */
    bucket_kept_release(first);
    assert_true(metric_get(&cache->evicted) > 400);

    uint8_t *large = calloc(1, 50000); /* would push out half of all */
    struct bucket_kept *kept =
        bucket_cache_keep(cache, BUCKET_DATA, "large", fm_slice(large, 50000));
    assert_int_equal(kept->len, 50000);
    bucket_kept_release(kept);
    assert_null(bucket_cache_find(cache, BUCKET_DATA, "large"));
    free(large);

    bucket_kept_release(bucket_cache_keep(cache, BUCKET_DATA, "key-0", FM_SLICE("newer")));
    kept = bucket_cache_find(cache, BUCKET_DATA, "key-0");
    assert_int_equal(kept->len, 5);
    bucket_kept_release(kept);
    bucket_cache_fini(cache);
    free(cache);
}

/* ---- disk ---- */

static int count_entry(void *self, const char *name, bool is_directory)
{
    (void)name, (void)is_directory;
    ++*(unsigned *)self;
    return FM_OK;
}

static unsigned file_count(struct platform *platform, const char *path)
{
    unsigned count = 0;
    struct fm_why why;
    assert_ok(platform->ops->list(platform, path, count_entry, &count, &why));
    return count;
}

static bool disk_has(struct bucket_disk *disk, const char *key, const char *content)
{
    struct fm_buf found;
    fm_buf_init(&found, FM_MIB(1));
    int rc = bucket_disk_get(disk, key, &found);
    bool has = rc == FM_OK && fm_slice_equal_text(fm_buf_slice(&found), content);
    assert_true(rc == FM_OK || rc == FM_NONE);
    assert_true(rc == FM_NONE || has); /* never another's, never a torn one */
    fm_buf_fini(&found);
    return has;
}

static void test_disk_is_bounded_and_comes_back(void **state)
{
    (void)state;
    struct sim *sim;
    struct bucket_disk *disk;
    struct fm_why why;
    char key[32];
    assert_ok(sim_new(&sim, 1));
    struct platform *platform = sim_platform(sim);
    assert_ok(bucket_disk_new(&disk, platform, "/cache", 2000, &why));
    for (unsigned i = 0; i < 100; i++) {
        (void)snprintf(key, sizeof key, "key-%02u", i);
        bucket_disk_put(disk, key, fm_slice_text(key));
        assert_true(disk_has(disk, key, key));
        assert_true(bucket_disk_bytes(disk) <= 2000);
    }
    assert_false(disk_has(disk, "key-00", "key-00")); /* the oldest went */
    assert_true(disk_has(disk, "key-90", "key-90"));
    assert_int_equal(bucket_disk_bytes(disk) / (12 + 6 + 6), file_count(platform, "/cache"));
    (void)bucket_disk_free(disk);

    assert_ok(bucket_disk_new(&disk, platform, "/cache", 1000, &why)); /* with less room */
    assert_true(bucket_disk_bytes(disk) <= 1000);
    assert_true(disk_has(disk, "key-99", "key-99"));
    assert_false(disk_has(disk, "key-30", "key-30"));
    bucket_disk_put(disk, "large", fm_slice(key, 0));
    (void)bucket_disk_free(disk);
    (void)sim_free(sim);
}

static void test_disk_survives_crashes(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct sim *sim;
        struct bucket_disk *disk;
        struct fm_why why;
        char key[32], content[600];
        memset(content, 'c', sizeof content - 1);
        content[sizeof content - 1] = '\0';
        assert_ok(sim_new(&sim, seed));
        struct platform *platform = sim_platform(sim);
        assert_ok(bucket_disk_new(&disk, platform, "/cache", 100000, &why));
        sim_crash_at(sim, seed);
        for (unsigned i = 0; i < 20; i++) {
            (void)snprintf(key, sizeof key, "key-%02u", i);
            bucket_disk_put(disk, key, fm_slice_text(content));
        }
        (void)bucket_disk_free(disk);
        sim_crash(sim, seed % 3 == 0);
        assert_ok(bucket_disk_new(&disk, platform, "/cache", 100000, &why));
        for (unsigned i = 0; i < 20; i++) {
            (void)snprintf(key, sizeof key, "key-%02u", i);
            (void)disk_has(disk, key, content);
            bucket_disk_put(disk, key, fm_slice_text(content));
            assert_true(disk_has(disk, key, content));
        }
        (void)bucket_disk_free(disk);
        (void)sim_free(sim);
    }
}

static void test_rot_and_a_full_disk(void **state)
{
    (void)state;
    struct sim *sim;
    struct bucket_disk *disk;
    struct fm_why why;
    assert_ok(sim_new(&sim, 3));
    struct platform *platform = sim_platform(sim);
    assert_ok(bucket_disk_new(&disk, platform, "/cache", 100000, &why));
    bucket_disk_put(disk, "a", FM_SLICE("content"));
    sim_fault_at(sim, SIM_READ_EIO, 1, false);
    assert_false(disk_has(disk, "a", "content"));
    assert_int_equal(file_count(platform, "/cache"), 0); /* it is not tried again and again */
    sim_fault_at(sim, SIM_WRITE_ENOSPC, 1, false);
    bucket_disk_put(disk, "b", FM_SLICE("content"));
    assert_false(disk_has(disk, "b", "content"));
    assert_int_equal(file_count(platform, "/cache"), 0);
    assert_int_equal(bucket_disk_bytes(disk), 0);
    bucket_disk_put(disk, "b", FM_SLICE("content"));
    assert_true(disk_has(disk, "b", "content"));
    (void)bucket_disk_free(disk);
    (void)sim_free(sim);
}

/* ---- Tempo's index ---- */

#define INDEX_META                                                                                 \
    "{\"format\":\"vParquet4\",\"blockID\":\"%s\",\"tenantID\":\"t\","                             \
    "\"startTime\":\"2026-01-02T03:04:05Z\",\"endTime\":\"2026-01-02T03:05:05Z\","                 \
    "\"totalObjects\":3,\"size\":1000,\"totalRecords\":1,\"bloomShards\":1,\"footerSize\":100,"    \
    "\"note\":{\"a\":[1,2]}}"

struct index_found {
    unsigned count;
    uint64_t end_ns;
};

static int index_on_meta(void *self, const struct block_meta *meta)
{
    struct index_found *found = self;
    found->count++;
    found->end_ns = meta->end_ns;
    return FM_OK;
}

static int index_read(const char *json, uint64_t now_s, struct index_found *found)
{
    struct codec_encoder *encoder;
    struct fm_buf packed;
    size_t len;
    *found = (struct index_found){0};
    fm_buf_init(&packed, FM_MIB(1));
    assert_ok(codec_encoder_new(&encoder, CODEC_GZIP, 6));
    assert_ok(codec_encode(encoder, fm_slice_text(json), &packed, &len));
    encoder = codec_encoder_free(encoder);
    int rc = bucket_index_read(fm_buf_slice(&packed), now_s * FM_NS_PER_S, 300 * FM_NS_PER_S,
                               index_on_meta, found);
    fm_buf_fini(&packed);
    return rc;
}

static void test_index(void **state)
{
    (void)state;
    struct index_found found;
    const uint64_t made_s = 1767323045; /* 2026-01-02T03:04:05Z */
    char metas[2][700], json[2000];
    (void)snprintf(metas[0], sizeof metas[0], INDEX_META, "00000000-0000-0000-0000-000000000001");
    (void)snprintf(metas[1], sizeof metas[1], INDEX_META, "00000000-0000-0000-0000-000000000002");
    (void)snprintf(json, sizeof json,
                   "{\"meta\":[%s,{\"blockID\":7},%s],\"compacted\":[{\"x\":1}],"
                   "\"created_at\":\"2026-01-02T03:04:05.123Z\"}",
                   metas[0], metas[1]);
    assert_ok(index_read(json, made_s + 200, &found));
    assert_int_equal(found.count, 2);
    assert_int_equal(found.end_ns, (made_s + 60) * FM_NS_PER_S);
    assert_int_equal(index_read(json, made_s + 400, &found), FM_NONE);
    assert_int_equal(found.count, 0);
    assert_int_equal(index_read("{\"meta\":[]}", made_s, &found), FM_NONE); /* of no time */
    assert_true(index_read("{\"created_at\":\"yesterday\"}", made_s, &found) < 0);
    assert_true(index_read("{\"created_at\":\"2026-01-02T03:04:05Z\",\"meta\":[{", made_s, &found) <
                0);
    assert_true(index_read("[]", made_s, &found) < 0);
    assert_true(bucket_index_read(FM_SLICE("\x1f\x8b"), 0, 1, index_on_meta, &found) < 0);
}

/* ---- a directory ---- */

static void put_file(struct platform *platform, const char *folder, const char *name,
                     const char *content)
{
    char path[300];
    struct fm_why why;
    assert_ok(pf_make_path(platform, folder, &why));
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_ok(pf_replace_file(platform, path, fm_slice_text(content), &why));
}

static void test_list_of_a_directory(void **state)
{
    (void)state;
    struct sim *sim;
    struct fm_why why;
    struct bucket_budget budget = {0};
    struct bucket_list *list;
    struct bucket_reader *reader;
    char meta[700], folder[200];
    assert_ok(sim_new(&sim, 5));
    struct platform *platform = sim_platform(sim);
    for (unsigned i = 1; i <= 6; i++) {
        char id[40];
        (void)snprintf(id, sizeof id, "00000000-0000-0000-0000-00000000000%u", i);
        (void)snprintf(meta, sizeof meta, INDEX_META, id);
        (void)snprintf(folder, sizeof folder, "/b/t/%s", id);
        put_file(platform, folder, i == 2 ? "meta.compacted.json" : "meta.json",
                 i == 3 ? "{ no" : meta);
        put_file(platform, folder, "data.parquet", "PAR1");
    }
    put_file(platform, "/b/t/not-a-block", "meta.json", meta);
    const struct bucket_reader_options options = {.dir = "/b", .block_max = 3};
    assert_ok(bucket_reader_new(&reader, platform, &options, &why));
    assert_ok(bucket_list_new(&list, reader, "t", 0, UINT64_MAX, &budget, &why));
    assert_int_equal(list->count, 3); /* of 1, 4, 5, 6 */
    assert_int_equal(list->left_out_count, 1);
    assert_int_equal(list->damaged_count, 1);
    list = bucket_list_free(list);
    assert_ok(bucket_list_new(&list, reader, "t", 1, 1000, &budget, &why));
    assert_int_equal(list->count, 0);
    list = bucket_list_free(list);
    assert_ok(bucket_list_new(&list, reader, "nobody", 0, UINT64_MAX, &budget, &why));
    assert_int_equal(list->count, 0);
    list = bucket_list_free(list);
    struct fm_buf metrics;
    fm_buf_init(&metrics, FM_MIB(1));
    bucket_reader_put_metrics(reader, &metrics);
    assert_false(metrics.failed);
    fm_buf_fini(&metrics);
    reader = bucket_reader_free(reader);
    (void)sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_is_bounded),
        cmocka_unit_test(test_disk_is_bounded_and_comes_back),
        cmocka_unit_test(test_disk_survives_crashes),
        cmocka_unit_test(test_rot_and_a_full_disk),
        cmocka_unit_test(test_index),
        cmocka_unit_test(test_list_of_a_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
