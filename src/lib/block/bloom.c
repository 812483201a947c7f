/* SPDX-License-Identifier: Apache-2.0 */
/* Bloom objects, bit for bit as Tempo reads them.
 *
 *   u64 m, u64 k, u64 m, then ceil(m / 64) words; everything big-endian.
 *   shard of an id: FNV-1 32 modulo the number of shards.
 *   bits of an id: h0,h1 = murmur3(id), h2,h3 = murmur3(id 01); bit i is
 *   h[i mod 2] + i * h[2 + ((i + i mod 2) mod 4) / 2] mod m.
 */
#include "bloom.h"

#include "fermata/bytes.h"
#include "fermata/hash.h"

#include <math.h>

#define BLOOM_HEADER_BYTES 24
#define BLOOM_K_MAX        64
/* Tempo's shards hold about this many ids at its defaults; ours are sized to what they hold. */
#define BLOOM_SHARD_IDS    85466u

uint32_t bloom_shard(const struct trace_id *id, uint32_t shard_count)
{
    return fm_fnv1_32(fm_slice(id->bytes, sizeof id->bytes)) % FM_MAX(shard_count, 1u);
}

static void bloom_hash(const struct trace_id *id, uint64_t hash[4])
{
    uint8_t key[17];
    memcpy(key, id->bytes, 16);
    key[16] = 1;
    fm_murmur3_128(fm_slice(key, 16), hash);
    fm_murmur3_128(fm_slice(key, 17), hash + 2);
}

static uint64_t bloom_bit(const uint64_t hash[4], uint64_t i, uint64_t bit_count)
{
    return (hash[i % 2] + i * hash[2 + ((i + i % 2) % 4) / 2]) % bit_count;
}

struct bloom_shape bloom_shape_for(uint64_t id_count, double false_positive)
{
    double ln2 = 0.69314718055994530942;
    uint64_t shards = (id_count + BLOOM_SHARD_IDS - 1) / BLOOM_SHARD_IDS;
    shards = FM_MIN(FM_MAX(shards, UINT64_C(1)), (uint64_t)BLOCK_BLOOM_SHARD_MAX);
    double rate = FM_MIN(FM_MAX(false_positive, 1e-9), 0.5);
    double per_id = -log(rate) / (ln2 * ln2);
    /* Ids fall on shards by hash: a little room for the fullest. */
    double ids = (double)id_count / (double)shards * (shards > 1 ? 1.02 : 1.0);
    uint64_t bits = (uint64_t)ceil(per_id * ids);
    struct bloom_shape shape = {
        .shard_count = (uint32_t)shards,
        .bit_count = FM_MAX((bits + 63) / 64 * 64, UINT64_C(64)),
        .hash_count = (uint32_t)FM_MIN(FM_MAX(ceil(ln2 * per_id), 1.0), (double)BLOOM_K_MAX),
    };
    return shape;
}

size_t bloom_object_bytes(const struct bloom_shape *shape)
{
    return BLOOM_HEADER_BYTES + (shape->bit_count + 63) / 64 * 8;
}

void bloom_object_init(const struct bloom_shape *shape, uint8_t *object)
{
    memset(object, 0, bloom_object_bytes(shape));
    fm_store_be64(object, shape->bit_count);
    fm_store_be64(object + 8, shape->hash_count);
    fm_store_be64(object + 16, shape->bit_count);
}

void bloom_object_add(const struct bloom_shape *shape, uint8_t *object, const struct trace_id *id)
{
    uint64_t hash[4];
    bloom_hash(id, hash);
    for (uint64_t i = 0; i < shape->hash_count; i++) {
        uint64_t bit = bloom_bit(hash, i, shape->bit_count);
        /* Bit j of a big-endian word lies in byte 7 - j/8. */
        object[BLOOM_HEADER_BYTES + bit / 64 * 8 + 7 - bit % 64 / 8] |= (uint8_t)(1u << bit % 8);
    }
}

int bloom_test(struct fm_slice object, const struct trace_id *id, bool *ret_maybe)
{
    if (object.len < BLOOM_HEADER_BYTES)
        return FM_ECORRUPT;
    uint64_t bit_count = fm_load_be64(object.ptr);
    uint64_t hash_count = fm_load_be64(object.ptr + 8);
    if (bit_count == 0 || bit_count != fm_load_be64(object.ptr + 16) || hash_count == 0 ||
        hash_count > BLOOM_K_MAX || bit_count > (uint64_t)object.len * 8)
        return FM_ECORRUPT;
    if (object.len != BLOOM_HEADER_BYTES + (bit_count + 63) / 64 * 8)
        return FM_ECORRUPT;

    uint64_t hash[4];
    bool maybe = true;
    bloom_hash(id, hash);
    for (uint64_t i = 0; i < hash_count && maybe; i++) {
        uint64_t bit = bloom_bit(hash, i, bit_count);
        uint8_t byte = object.ptr[BLOOM_HEADER_BYTES + bit / 64 * 8 + 7 - bit % 64 / 8];
        maybe = byte >> bit % 8 & 1;
    }
    *ret_maybe = maybe;
    return FM_OK;
}
