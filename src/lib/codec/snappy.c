/* SPDX-License-Identifier: Apache-2.0 */
/* Snappy's raw block format, both ways (google/snappy format_description.txt).
 *
 * A block is a varint with the decoded length, then elements: literals, and copies of 1-64 bytes
 * from up to 4 GiB back.  The encoder cuts its input in pieces of 64 KiB, so that a hash table of
 * 16-bit positions suffices and copies never need the 4-byte offset form.
 */
#include "internal.h"

#include "fermata/bytes.h"

#define SNAPPY_PIECE_LEN 65536u
#define SNAPPY_TAIL      16u /* matches start no later than this before the end of a piece */

enum { SNAPPY_LITERAL = 0, SNAPPY_COPY_1 = 1, SNAPPY_COPY_2 = 2, SNAPPY_COPY_4 = 3 };

size_t snappy_bound(size_t input_len)
{
    /* Incompressible input costs a tag per piece; a copy is never longer than what it replaces,
     * but each may be followed by a one-byte literal tag: 1 in 6 covers it. */
    return 32 + input_len + input_len / 6;
}

static inline uint32_t snappy_hash(uint32_t four_bytes, unsigned shift)
{
    return (four_bytes * UINT32_C(0x1e35a7bd)) >> shift;
}

static inline size_t snappy_match_len(const uint8_t *old, const uint8_t *at, const uint8_t *end)
{
    const uint8_t *start = at;
    while (end - at >= 8) {
        uint64_t difference = fm_load_le64(at) ^ fm_load_le64(old);
        if (difference)
            return (size_t)(at - start) + (size_t)(__builtin_ctzll(difference) >> 3);
        at += 8;
        old += 8;
    }
    while (at < end && *at == *old) {
        at++;
        old++;
    }
    return (size_t)(at - start);
}

static inline uint8_t *snappy_put_tag(uint8_t *target, size_t len)
{
    size_t n = len - 1;
    if (n < 60) {
        *target++ = (uint8_t)(n << 2);
    } else if (n < 256) {
        *target++ = 60 << 2;
        *target++ = (uint8_t)n;
    } else {
        *target++ = 61 << 2;
        fm_store_le16(target, (uint16_t)n);
        target += 2;
    }
    return target;
}

static inline uint8_t *snappy_put_copy(uint8_t *target, size_t offset, size_t len)
{
    while (len > 64) {
        size_t part = len >= 68 ? 64 : 60; /* leaves at least 4, the least a short copy can do */
        *target++ = (uint8_t)((part - 1) << 2 | SNAPPY_COPY_2);
        fm_store_le16(target, (uint16_t)offset);
        target += 2;
        len -= part;
    }
    if (len < 12 && offset < 2048) {
        *target++ = (uint8_t)(offset >> 8 << 5 | (len - 4) << 2 | SNAPPY_COPY_1);
        *target++ = (uint8_t)offset;
        return target;
    }
    *target++ = (uint8_t)((len - 1) << 2 | SNAPPY_COPY_2);
    fm_store_le16(target, (uint16_t)offset);
    return target + 2;
}

/* The next position from at whose four bytes were seen before, or NULL. */
static inline const uint8_t *snappy_find(const uint8_t *base, const uint8_t *at,
                                         const uint8_t *limit, uint16_t *table, unsigned shift,
                                         const uint8_t **ret_old)
{
    /* Steps grow by one every 32 misses: incompressible input is passed over quickly. */
    for (uint32_t step = 32; at <= limit; at += step++ >> 5) {
        uint32_t four_bytes = fm_load_le32(at);
        uint32_t hash = snappy_hash(four_bytes, shift);
        const uint8_t *old = base + table[hash];
        table[hash] = (uint16_t)(at - base);
        if (FM_UNLIKELY(fm_load_le32(old) == four_bytes)) {
            *ret_old = old;
            return at;
        }
    }
    return NULL;
}

static uint8_t *snappy_encode_piece(struct fm_slice piece, uint8_t *target, uint16_t *table)
{
    const uint8_t *base = piece.ptr, *end = base + piece.len, *literal = base;
    unsigned table_bits = 8;
    while (table_bits < 14 && ((size_t)1 << table_bits) < piece.len)
        table_bits++;
    unsigned shift = 32 - table_bits;
    memset(table, 0, sizeof *table << table_bits);

    const uint8_t *limit = piece.len > SNAPPY_TAIL ? end - SNAPPY_TAIL : base;
    const uint8_t *at = base + 1, *old = NULL;
    while ((at = snappy_find(base, at, limit, table, shift, &old))) {
        size_t literal_len = (size_t)(at - literal);
        if (literal_len) {
            target = snappy_put_tag(target, literal_len);
            if (literal_len <= 16)
                memcpy(target, literal, 16); /* at <= limit leaves 16 bytes to read */
            else
                memcpy(target, literal, literal_len);
            target += literal_len;
        }
        uint32_t hash;
        do {
            size_t len = 4 + snappy_match_len(old + 4, at + 4, end);
            target = snappy_put_copy(target, (size_t)(at - old), len);
            literal = at += len;
            if (at > limit)
                break;
            table[snappy_hash(fm_load_le32(at - 1), shift)] = (uint16_t)(at - 1 - base);
            hash = snappy_hash(fm_load_le32(at), shift);
            old = base + table[hash];
            table[hash] = (uint16_t)(at - base);
        } while (fm_load_le32(old) == fm_load_le32(at));
        at++;
    }
    if (literal < end) {
        target = snappy_put_tag(target, (size_t)(end - literal));
        memcpy(target, literal, (size_t)(end - literal));
        target += end - literal;
    }
    return target;
}

size_t snappy_encode(struct fm_slice input, uint8_t *target, uint16_t *table)
{
    uint8_t *start = target;
    for (size_t len = input.len;; len >>= 7) {
        *target++ = (uint8_t)(len >= 128 ? len | 128 : len);
        if (len < 128)
            break;
    }
    while (input.len) {
        size_t len = FM_MIN(input.len, SNAPPY_PIECE_LEN);
        target = snappy_encode_piece(fm_slice(input.ptr, len), target, table);
        input.ptr += len;
        input.len -= len;
    }
    return (size_t)(target - start);
}

int snappy_length(struct fm_slice input, size_t *ret_len, struct fm_slice *ret_elements)
{
    uint64_t len = 0;
    for (size_t i = 0; i < input.len && i < 5; i++) {
        len |= (uint64_t)(input.ptr[i] & 127) << 7 * i;
        if (input.ptr[i] & 128)
            continue;
        /* The densest element is a copy: 3 bytes make 64. */
        if (len > UINT32_MAX || len > (uint64_t)(input.len - i) * 22)
            return FM_EMALFORMED;
        *ret_len = (size_t)len;
        *ret_elements = fm_slice(input.ptr + i + 1, input.len - i - 1);
        return FM_OK;
    }
    return FM_EMALFORMED;
}

/* Copies len bytes from offset back; source and target may overlap (that is how runs are made). */
static inline void snappy_copy(uint8_t *target, size_t offset, size_t len, size_t room)
{
    const uint8_t *source = target - offset;
    if (FM_LIKELY(offset >= 16 && len <= 16 && room >= 16)) {
        memcpy(target, source, 16);
        return;
    }
    if (offset >= 8 && room - len >= 8) {
        for (size_t i = 0; i < len; i += 8)
            memcpy(target + i, source + i, 8);
        return;
    }
    for (size_t i = 0; i < len; i++)
        target[i] = source[i];
}

/* Length of a literal from its tag; moves *at behind the length bytes. 0: input is cut. */
static inline size_t snappy_literal_len(uint8_t tag, const uint8_t **at, const uint8_t *end)
{
    size_t len = (size_t)(tag >> 2) + 1;
    if (FM_LIKELY(len <= 60))
        return len;
    size_t extra = len - 60;
    if ((size_t)(end - *at) < extra)
        return 0;
    size_t value = 0;
    for (size_t i = 0; i < extra; i++)
        value |= (size_t)(*at)[i] << 8 * i;
    *at += extra;
    return value + 1;
}

int snappy_decode(struct fm_slice elements, uint8_t *target, size_t target_len)
{
    static const uint8_t offset_bytes[4] = {0, 1, 2, 4};
    const uint8_t *at = elements.ptr, *end = at + elements.len;
    size_t done = 0;
    while (at < end) {
        uint8_t tag = *at++;
        size_t room = target_len - done, left, len, offset;
        if ((tag & 3) == SNAPPY_LITERAL) {
            len = snappy_literal_len(tag, &at, end);
            left = (size_t)(end - at);
            if (len <= 16 && len && room >= 16 && left >= 16) {
                memcpy(target + done, at, 16);
            } else {
                if (len == 0 || len > left || len > room)
                    return FM_EMALFORMED;
                memcpy(target + done, at, len);
            }
            at += len;
            done += len;
            continue;
        }
        if (end - at < offset_bytes[tag & 3])
            return FM_EMALFORMED;
        len = (size_t)(tag >> 2) + 1;
        if ((tag & 3) == SNAPPY_COPY_1) {
            len = 4 + (tag >> 2 & 7);
            offset = (size_t)(tag >> 5) << 8 | *at;
        } else if ((tag & 3) == SNAPPY_COPY_2) {
            offset = fm_load_le16(at);
        } else {
            offset = fm_load_le32(at);
        }
        at += offset_bytes[tag & 3];
        if (offset == 0 || offset > done || len > room)
            return FM_EMALFORMED;
        snappy_copy(target + done, offset, len, room);
        done += len;
    }
    return done == target_len ? FM_OK : FM_EMALFORMED;
}
