/* SPDX-License-Identifier: Apache-2.0 */
/* DELTA_BINARY_PACKED of Encodings.md, both ways, 32 and 64 bit.
 *
 *   header: varint block_size, varint miniblocks, varint count, zigzag first
 *   block:  zigzag min_delta, one width byte per miniblock, the miniblocks bit-packed
 *
 * Everything is computed in 64 bits modulo 2^64; for 32-bit columns deltas wrap at 2^32, so that
 * no width exceeds that of the type.
 */
#include "internal.h"

#include "fermata/bytes.h"

#define DELTA_MINIBLOCK      (PQ_DELTA_BLOCK / PQ_DELTA_MINIBLOCKS)
#define DELTA_BLOCK_MAX      65536u /* of files that we read; writers use 128 to 1024 */
#define DELTA_MINIBLOCKS_MAX 512u
#define DELTA_VARINT_MAX     10u

static uint8_t *delta_put_varint(uint8_t *target, uint64_t value)
{
    for (; value >= 128; value >>= 7)
        *target++ = (uint8_t)(value | 128);
    *target++ = (uint8_t)value;
    return target;
}

static uint8_t *delta_put_zigzag(uint8_t *target, int64_t value)
{
    return delta_put_varint(target, (uint64_t)value << 1 ^ (uint64_t)(value >> 63));
}

/* 32 values of width bits, 4 * width bytes. */
static uint8_t *delta_put_miniblock(uint8_t *target, const uint64_t *values, unsigned width)
{
    uint64_t word = 0;
    unsigned used = 0; /* bits of word */
    for (unsigned i = 0; i < DELTA_MINIBLOCK && width; i++) {
        word |= values[i] << used;
        if (used + width >= 64) {
            fm_store_le64(target, word);
            target += 8;
            word = used ? values[i] >> (64 - used) : 0;
            used = used + width - 64;
        } else {
            used += width;
        }
    }
    if (used) {
        fm_store_le32(target, (uint32_t)word); /* 32 * width bits: half a word is left over */
        target += 4;
    }
    return target;
}

/* One block of count (1-128) deltas; the unused rest of the last miniblock is zeros. */
static uint8_t *delta_put_block(uint8_t *target, const int64_t *deltas, unsigned count)
{
    uint64_t above[PQ_DELTA_BLOCK];
    int64_t delta_min = deltas[0];
    for (unsigned i = 1; i < count; i++)
        delta_min = FM_MIN(delta_min, deltas[i]);
    for (unsigned i = 0; i < PQ_DELTA_BLOCK; i++)
        above[i] = i < count ? (uint64_t)deltas[i] - (uint64_t)delta_min : 0;
    target = delta_put_zigzag(target, delta_min);
    uint8_t *widths = target;
    target += PQ_DELTA_MINIBLOCKS;
    for (unsigned m = 0; m < PQ_DELTA_MINIBLOCKS; m++) {
        uint64_t all = 0;
        for (unsigned i = 0; i < DELTA_MINIBLOCK; i++)
            all |= above[m * DELTA_MINIBLOCK + i];
        widths[m] = (uint8_t)pq_bit_width(all);
        target = delta_put_miniblock(target, above + (size_t)m * DELTA_MINIBLOCK, widths[m]);
    }
    return target;
}

static size_t delta_room(uint32_t count, size_t value_size)
{
    size_t blocks = count / PQ_DELTA_BLOCK + 1;
    return 4 * DELTA_VARINT_MAX + blocks * (DELTA_VARINT_MAX + PQ_DELTA_MINIBLOCKS) +
           blocks * PQ_DELTA_BLOCK * value_size + 8;
}

static uint8_t *delta_put_header(uint8_t *target, uint32_t count, int64_t first)
{
    target = delta_put_varint(target, PQ_DELTA_BLOCK);
    target = delta_put_varint(target, PQ_DELTA_MINIBLOCKS);
    target = delta_put_varint(target, count);
    return delta_put_zigzag(target, first);
}

void pq_delta_put_i32(struct fm_buf *buf, const int32_t *values, uint32_t count)
{
    uint8_t *room = fm_buf_room(buf, delta_room(count, 4));
    if (!room)
        return;
    uint8_t *at = delta_put_header(room, count, count ? values[0] : 0);
    int64_t deltas[PQ_DELTA_BLOCK];
    for (uint32_t i = 1; i < count;) {
        unsigned n = FM_MIN(count - i, PQ_DELTA_BLOCK);
        for (unsigned j = 0; j < n; j++, i++)
            deltas[j] = (int32_t)((uint32_t)values[i] - (uint32_t)values[i - 1]);
        at = delta_put_block(at, deltas, n);
    }
    buf->len += (size_t)(at - room);
}

void pq_delta_put_i64(struct fm_buf *buf, const int64_t *values, uint32_t count)
{
    uint8_t *room = fm_buf_room(buf, delta_room(count, 8));
    if (!room)
        return;
    uint8_t *at = delta_put_header(room, count, count ? values[0] : 0);
    int64_t deltas[PQ_DELTA_BLOCK];
    for (uint32_t i = 1; i < count;) {
        unsigned n = FM_MIN(count - i, PQ_DELTA_BLOCK);
        for (unsigned j = 0; j < n; j++, i++)
            deltas[j] = (int64_t)((uint64_t)values[i] - (uint64_t)values[i - 1]);
        at = delta_put_block(at, deltas, n);
    }
    buf->len += (size_t)(at - room);
}

/* ---- decoding ---- */

struct delta_reader {
    struct fm_slice rest;
    uint32_t per_miniblock;
    uint32_t miniblock_count;
    unsigned width_max; /* 32 or 64 */
    uint64_t value;
};

static int delta_varint(struct delta_reader *reader, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (size_t i = 0; i < reader->rest.len && i < DELTA_VARINT_MAX; i++) {
        uint8_t byte = reader->rest.ptr[i];
        value |= (uint64_t)(byte & 127) << 7 * i;
        if (byte & 128)
            continue;
        reader->rest.ptr += i + 1;
        reader->rest.len -= i + 1;
        *ret_value = value;
        return FM_OK;
    }
    return FM_EMALFORMED;
}

static int delta_zigzag(struct delta_reader *reader, uint64_t *ret_value)
{
    uint64_t value;
    int rc = delta_varint(reader, &value);
    if (rc == FM_OK)
        *ret_value = value >> 1 ^ (~(value & 1) + 1);
    return rc;
}

static int delta_header(struct delta_reader *reader, uint32_t count)
{
    uint64_t block, miniblocks, total;
    int rc = delta_varint(reader, &block);
    if (rc == FM_OK)
        rc = delta_varint(reader, &miniblocks);
    if (rc == FM_OK)
        rc = delta_varint(reader, &total);
    if (rc == FM_OK)
        rc = delta_zigzag(reader, &reader->value);
    if (rc < 0)
        return rc;
    if (block == 0 || block > DELTA_BLOCK_MAX || block % 128 || miniblocks == 0 ||
        miniblocks > DELTA_MINIBLOCKS_MAX || block % miniblocks || block / miniblocks % 32)
        return FM_EMALFORMED;
    if (total != count)
        return FM_EMALFORMED;
    reader->per_miniblock = (uint32_t)(block / miniblocks);
    reader->miniblock_count = (uint32_t)miniblocks;
    return FM_OK;
}

static inline uint64_t delta_bits(const uint8_t *ptr, size_t len, uint64_t bit, unsigned width)
{
    size_t at = (size_t)(bit >> 3);
    unsigned shift = bit & 7;
    uint64_t word;
    if (FM_LIKELY(len - at >= 9)) {
        word = fm_load_le64(ptr + at) >> shift;
        if (shift)
            word |= (uint64_t)ptr[at + 8] << (64 - shift);
    } else {
        uint8_t padded[16] = {0};
        memcpy(padded, ptr + at, len - at);
        word = fm_load_le64(padded) >> shift;
        if (shift)
            word |= (uint64_t)padded[8] << (64 - shift);
    }
    return width == 64 ? word : word & ((UINT64_C(1) << width) - 1);
}

/* Adds n (<= per_miniblock) deltas; size is a constant where this is inlined. */
static inline __attribute__((always_inline)) int delta_miniblock(struct delta_reader *reader,
                                                                 unsigned width, uint64_t delta_min,
                                                                 void *target, uint32_t n,
                                                                 size_t size)
{
    size_t bytes = (size_t)reader->per_miniblock / 8 * width;
    if (width > reader->width_max || bytes > reader->rest.len)
        return FM_EMALFORMED;
    uint64_t value = reader->value;
    uint32_t i = 0;
    /* With eight bytes behind the miniblock each delta is in the eight that hold its first bit. */
    if (width && width <= 57 && reader->rest.len - bytes >= 8) {
        uint64_t mask = (UINT64_C(1) << width) - 1, bit = 0;
        for (; i < n; i++, bit += width) {
            value += delta_min + (fm_load_le64(reader->rest.ptr + (bit >> 3)) >> (bit & 7) & mask);
            if (size == 4)
                ((int32_t *)target)[i] = (int32_t)(uint32_t)value;
            else
                ((int64_t *)target)[i] = (int64_t)value;
        }
    }
    for (; i < n; i++) {
        value += delta_min;
        if (width)
            value += delta_bits(reader->rest.ptr, bytes, (uint64_t)i * width, width);
        if (size == 4)
            ((int32_t *)target)[i] = (int32_t)(uint32_t)value;
        else
            ((int64_t *)target)[i] = (int64_t)value;
    }
    reader->value = value;
    reader->rest.ptr += bytes;
    reader->rest.len -= bytes;
    return FM_OK;
}

static inline __attribute__((always_inline)) int delta_block(struct delta_reader *reader,
                                                             uint8_t *target, uint32_t left,
                                                             uint32_t *ret_done, size_t size)
{
    uint64_t delta_min = 0;
    int rc = delta_zigzag(reader, &delta_min);
    if (rc < 0)
        return rc;
    if (reader->rest.len < reader->miniblock_count)
        return FM_EMALFORMED;
    const uint8_t *widths = reader->rest.ptr;
    reader->rest.ptr += reader->miniblock_count;
    reader->rest.len -= reader->miniblock_count;
    uint32_t done = 0;
    for (uint32_t m = 0; m < reader->miniblock_count && done < left; m++) {
        uint32_t n = FM_MIN(left - done, reader->per_miniblock);
        rc = delta_miniblock(reader, widths[m], delta_min, target + done * size, n, size);
        if (rc < 0)
            return rc;
        done += n;
    }
    *ret_done = done;
    return FM_OK;
}

static inline __attribute__((always_inline)) int delta_decode(struct fm_slice input, void *target,
                                                              uint32_t count, size_t size,
                                                              struct fm_slice *ret_rest)
{
    struct delta_reader reader = {.rest = input, .width_max = size == 4 ? 32 : 64};
    int rc = delta_header(&reader, count);
    if (rc < 0)
        return rc;
    if (count && size == 4)
        *(int32_t *)target = (int32_t)(uint32_t)reader.value;
    else if (count)
        *(int64_t *)target = (int64_t)reader.value;
    for (uint32_t i = 1; i < count;) {
        uint32_t done;
        rc = delta_block(&reader, (uint8_t *)target + i * size, count - i, &done, size);
        if (rc < 0)
            return rc;
        i += done;
    }
    *ret_rest = reader.rest;
    return FM_OK;
}

int pq_delta_i32(struct fm_slice input, int32_t *target, uint32_t count, struct fm_slice *ret_rest)
{
    return delta_decode(input, target, count, 4, ret_rest);
}

int pq_delta_i64(struct fm_slice input, int64_t *target, uint32_t count, struct fm_slice *ret_rest)
{
    return delta_decode(input, target, count, 8, ret_rest);
}
