/* SPDX-License-Identifier: Apache-2.0 */
/* hash - checksums and hashes that file formats prescribe, plus one fast hash for tables.
 * Part of base. */
#ifndef FERMATA_HASH_H
#define FERMATA_HASH_H

#include "fermata/base.h"

/* CRC-32C (Castagnoli), reflected, init and final xor 0xffffffff.  Continue with the last result:
 * fm_crc32c(fm_crc32c(0, a), b) == fm_crc32c(0, a||b).  By SSE4.2 or ARMv8 CRC where present. */
uint32_t fm_crc32c(uint32_t crc, struct fm_slice bytes);

/* FNV-1 (multiply, then xor), 32 bit: Tempo's bloom shard key. */
uint32_t fm_fnv1_32(struct fm_slice bytes);

/* MurmurHash3 x64 128 bit, seed 0: Tempo's bloom filter. */
void fm_murmur3_128(struct fm_slice bytes, uint64_t ret_hash[2]);

/* For hash tables in memory: fast, seeded against chosen keys, never stored. */
uint64_t fm_hash64(struct fm_slice bytes, uint64_t seed);

/* SplitMix64 step: a small deterministic generator (tests, jitter, corpora). */
static inline uint64_t fm_random_next(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

#endif
