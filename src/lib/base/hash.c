/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C, FNV-1, MurmurHash3 x64-128, and a table hash.
 *
 * CRC-32C: RFC 3720 appendix B.4 has the check values.  The hardware path is chosen per call by a
 * CPU test; elsewhere a table of nibbles serves.
 * MurmurHash3: public domain algorithm by Austin Appleby. */
#include "fermata/hash.h"
#include "fermata/bytes.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#define CRC32C_HARDWARE          __attribute__((target("sse4.2")))
#define crc32c_step8(crc, value) ((uint32_t)_mm_crc32_u64((crc), (value)))
#define crc32c_step1(crc, value) _mm_crc32_u8((crc), (value))
#define crc32c_has_hardware()    __builtin_cpu_supports("sse4.2")
#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#define CRC32C_HARDWARE
#define crc32c_step8(crc, value) __crc32cd((crc), (value))
#define crc32c_step1(crc, value) __crc32cb((crc), (value))
#define crc32c_has_hardware()    1
#endif

#ifdef CRC32C_HARDWARE
CRC32C_HARDWARE static uint32_t crc32c_hardware(uint32_t crc, const uint8_t *ptr, size_t len)
{
    for (; len >= 8; ptr += 8, len -= 8)
        crc = crc32c_step8(crc, fm_load_le64(ptr));
    for (; len; ptr++, len--)
        crc = crc32c_step1(crc, *ptr);
    return crc;
}
#endif

static uint32_t crc32c_bytewise(uint32_t crc, const uint8_t *ptr, size_t len)
{
    /* 16 entries, nibble by nibble: small enough to need no initialisation order. */
    static const uint32_t nibble[16] = {0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
                                        0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
                                        0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
                                        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};
    for (; len; ptr++, len--) {
        crc ^= *ptr;
        crc = crc >> 4 ^ nibble[crc & 15];
        crc = crc >> 4 ^ nibble[crc & 15];
    }
    return crc;
}

uint32_t fm_crc32c(uint32_t crc, struct fm_slice bytes)
{
    crc = ~crc;
#ifdef CRC32C_HARDWARE
    if (crc32c_has_hardware())
        return ~crc32c_hardware(crc, bytes.ptr, bytes.len);
#endif
    return ~crc32c_bytewise(crc, bytes.ptr, bytes.len);
}

uint32_t fm_fnv1_32(struct fm_slice bytes)
{
    uint32_t hash = 0x811c9dc5u;
    for (size_t i = 0; i < bytes.len; i++)
        hash = hash * 0x01000193u ^ bytes.ptr[i];
    return hash;
}

static uint64_t rotate_left(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

static uint64_t murmur3_final(uint64_t k)
{
    k = (k ^ k >> 33) * UINT64_C(0xff51afd7ed558ccd);
    k = (k ^ k >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return k ^ k >> 33;
}

#define MURMUR3_C1 UINT64_C(0x87c37b91114253d5)
#define MURMUR3_C2 UINT64_C(0x4cf5ad432745937f)

void fm_murmur3_128(struct fm_slice bytes, uint64_t ret_hash[2])
{
    uint64_t h1 = 0, h2 = 0;
    const uint8_t *ptr = bytes.ptr;
    size_t left = bytes.len;
    for (; left >= 16; ptr += 16, left -= 16) {
        h1 ^= rotate_left(fm_load_le64(ptr) * MURMUR3_C1, 31) * MURMUR3_C2;
        h1 = (rotate_left(h1, 27) + h2) * 5 + 0x52dce729;
        h2 ^= rotate_left(fm_load_le64(ptr + 8) * MURMUR3_C2, 33) * MURMUR3_C1;
        h2 = (rotate_left(h2, 31) + h1) * 5 + 0x38495ab5;
    }
    uint8_t tail[16] = {0};
    if (left)
        memcpy(tail, ptr, left);
    if (left > 8)
        h2 ^= rotate_left(fm_load_le64(tail + 8) * MURMUR3_C2, 33) * MURMUR3_C1;
    if (left)
        h1 ^= rotate_left(fm_load_le64(tail) * MURMUR3_C1, 31) * MURMUR3_C2;
    h1 ^= bytes.len;
    h2 ^= bytes.len;
    h1 += h2;
    h2 += h1;
    h1 = murmur3_final(h1);
    h2 = murmur3_final(h2);
    h1 += h2;
    h2 += h1;
    ret_hash[0] = h1;
    ret_hash[1] = h2;
}

static uint64_t fold_multiply(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

#define HASH64_A UINT64_C(0xa0761d6478bd642f)
#define HASH64_B UINT64_C(0xe7037ed1a0b428db)

uint64_t fm_hash64(struct fm_slice bytes, uint64_t seed)
{
    const uint8_t *ptr = bytes.ptr;
    size_t left = bytes.len;
    uint64_t a = 0, b = 0;
    seed ^= HASH64_A;
    for (; left > 16; ptr += 16, left -= 16)
        seed = fold_multiply(fm_load_le64(ptr) ^ HASH64_B, fm_load_le64(ptr + 8) ^ seed);
    if (left >= 8) {
        a = fm_load_le64(ptr);
        b = fm_load_le64(ptr + left - 8);
    } else if (left >= 4) {
        a = fm_load_le32(ptr);
        b = fm_load_le32(ptr + left - 4);
    } else if (left) {
        a = (uint64_t)ptr[0] << 16 | (uint64_t)ptr[left >> 1] << 8 | ptr[left - 1];
    }
    return fold_multiply(HASH64_B ^ bytes.len, fold_multiply(a ^ HASH64_B, b ^ seed));
}
