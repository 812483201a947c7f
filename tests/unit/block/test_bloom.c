/* SPDX-License-Identifier: Apache-2.0 */
/* Bloom objects: Tempo's bit for bit, ours right-sized, and no false negatives. */
#include "files.h"

#include "../../../src/lib/block/bloom.h"

struct rebuild {
    struct bloom_shape shape;
    uint8_t *object;
};

static int rebuild_add(void *self, const struct trace_id *id, struct fm_slice otlp)
{
    struct rebuild *rebuild = self;
    (void)otlp;
    bloom_object_add(&rebuild->shape, rebuild->object, id);
    return FM_OK;
}

static void test_tempos_object_is_reproduced(void **state)
{
    (void)state;
    struct block_files files;
    FM_AUTO(block) block = NULL;
    files_read(&files, GOLDEN_V4);
    assert_ok(block_open(&block, files_source(&files), &files.meta, NULL));
    struct rebuild rebuild = {.shape = {1, 7, 819200}};
    assert_int_equal(bloom_object_bytes(&rebuild.shape), files.blooms.len);
    rebuild.object = malloc(files.blooms.len);
    bloom_object_init(&rebuild.shape, rebuild.object);
    assert_ok(block_each_trace(block, rebuild_add, &rebuild, NULL));
    assert_memory_equal(rebuild.object, files.blooms.ptr, files.blooms.len);
    free(rebuild.object);
    files_fini(&files);
}

static struct trace_id id_of(uint64_t *random)
{
    struct trace_id id;
    fm_store_le64(id.bytes, fm_random_next(random));
    fm_store_le64(id.bytes + 8, fm_random_next(random));
    return id;
}

static void test_sizes_and_rates(void **state)
{
    (void)state;
    static const uint32_t counts[] = {1, 2, 100, 5000, 85466, 85467, 200000};
    for (size_t i = 0; i < FM_COUNT(counts); i++) {
        struct bloom_shape shape = bloom_shape_for(counts[i], 0.01);
        assert_int_equal(shape.shard_count, (counts[i] + 85465) / 85466);
        assert_int_equal(shape.hash_count, 7);
        size_t size = bloom_object_bytes(&shape);
        uint8_t *objects = malloc(size * shape.shard_count);
        for (uint32_t j = 0; j < shape.shard_count; j++)
            bloom_object_init(&shape, objects + j * size);
        uint64_t random = counts[i];
        for (uint32_t j = 0; j < counts[i]; j++) {
            struct trace_id id = id_of(&random);
            uint32_t shard = bloom_shard(&id, shape.shard_count);
            bloom_object_add(&shape, objects + shard * size, &id);
        }
        random = counts[i];
        uint32_t wrong = 0, tries = 5000;
        for (uint32_t j = 0; j < counts[i] + tries; j++) {
            struct trace_id id = id_of(&random);
            uint32_t shard = bloom_shard(&id, shape.shard_count);
            bool maybe = false;
            assert_ok(bloom_test(fm_slice(objects + shard * size, size), &id, &maybe));
            if (j < counts[i])
                assert_true(maybe);
            else
                wrong += maybe;
        }
        assert_true(wrong < tries / 40);
        free(objects);
    }
    assert_int_equal(bloom_object_bytes(&(struct bloom_shape){1, 7, 64}), 32);
}

static void test_malformed_objects(void **state)
{
    (void)state;
    struct bloom_shape shape = {1, 7, 128};
    struct trace_id id = {{9}};
    uint8_t object[64];
    bool maybe;
    size_t size = bloom_object_bytes(&shape);
    for (size_t len = 0; len < size; len++) {
        bloom_object_init(&shape, object);
        uint8_t *copy = test_exact_copy(fm_slice(object, len));
        assert_int_equal(bloom_test(fm_slice(copy, len), &id, &maybe), FM_ECORRUPT);
        free(copy);
    }
    static const uint8_t positions[] = {0, 7, 8, 15, 16, 23};
    for (size_t i = 0; i < FM_COUNT(positions); i++) {
        bloom_object_init(&shape, object);
        object[positions[i]] ^= 0xc1;
        assert_int_equal(bloom_test(fm_slice(object, size), &id, &maybe), FM_ECORRUPT);
    }
    bloom_object_init(&shape, object);
    memset(object + 8, 0, 8);
    assert_int_equal(bloom_test(fm_slice(object, size), &id, &maybe), FM_ECORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tempos_object_is_reproduced),
        cmocka_unit_test(test_sizes_and_rates),
        cmocka_unit_test(test_malformed_objects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
