/* SPDX-License-Identifier: Apache-2.0 */
/* The RLE / bit-packing hybrid of Encodings.md: levels, dictionary indexes, booleans.
 *
 *   run:    varint(count << 1)      value in ceil(width / 8) bytes
 *   packed: varint(groups << 1 | 1) groups of 8 values, width bits each, least significant first
 *
 * Levels are worked on eight at a time in one 64-bit word: the columns under an attribute list
 * repeat their levels in long runs, and a run costs one comparison per eight entries.
 */
#include "internal.h"

#include "fermata/bytes.h"

#define HYBRID_LITTLE         (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
#define HYBRID_ONES           UINT64_C(0x0101010101010101)
#define HYBRID_NIBBLES        UINT64_C(0x0f0f0f0f0f0f0f0f)
#define HYBRID_GROUPS_MAX     63u /* of one packed run: its header stays one byte */
/* Levels of three bits and more cross bytes when they are packed, so that the compressor sees eight
 * forms of the same thing.  Runs alone, two bytes each, may be a quarter larger and still pay. */
#define HYBRID_RUNS_WIDTH_MIN 3u
#define HYBRID_RUNS_SAMPLE    1024u

/* Output of one encoding pass into room that is known to suffice. */
struct hybrid_put {
    uint8_t *at;
    uint8_t *header;      /* of the open packed run, or NULL */
    unsigned group_count; /* in it */
    unsigned width;
    uint32_t run_min; /* shorter repetitions are packed */
};

static void hybrid_put_init(struct hybrid_put *put, uint8_t *at, unsigned width)
{
    /* A run costs 1 + bytes(width) and a new header for what follows it, and it hides the
     * repetitions around it from the compressor: measured, runs below 24 do not pay. */
    uint32_t run_min = 24;
    while (width && run_min * width / 8 <= 1 + (width + 7) / 8)
        run_min += 8;
    *put = (struct hybrid_put){.at = at, .width = width, .run_min = run_min};
}

/* The bytes that any count values can need. */
static size_t hybrid_room(uint32_t count, unsigned width)
{
    return ((size_t)count / 8 + 1) * (width + 4) + 32;
}

static void hybrid_put_close(struct hybrid_put *put)
{
    if (put->header)
        *put->header = (uint8_t)(put->group_count << 1 | 1);
    put->header = NULL;
}

static void hybrid_put_run(struct hybrid_put *put, uint32_t count, uint32_t value)
{
    hybrid_put_close(put);
    uint64_t head = (uint64_t)count << 1;
    for (; head >= 128; head >>= 7)
        *put->at++ = (uint8_t)(head | 128);
    *put->at++ = (uint8_t)head;
    for (unsigned bits = 0; bits < put->width; bits += 8)
        *put->at++ = (uint8_t)(value >> bits);
}

static inline void hybrid_put_group(struct hybrid_put *put)
{
    if (!put->header || put->group_count == HYBRID_GROUPS_MAX) {
        hybrid_put_close(put);
        put->header = put->at++;
        put->group_count = 0;
    }
    put->group_count++;
}

/* Eight bytes below 2^width, side by side in 8 * width bits.  width <= 8. */
static inline uint64_t hybrid_squeeze(uint64_t word, unsigned width)
{
    if (width == 8)
        return word;
    uint64_t lane16 = (UINT64_C(1) << 2 * width) - 1, lane32 = (UINT64_C(1) << 4 * width) - 1;
    lane16 |= lane16 << 16;
    lane16 |= lane16 << 32;
    lane32 |= lane32 << 32;
    word = (word | word >> (8 - width)) & lane16;
    word = (word | word >> (16 - 2 * width)) & lane32;
    return (word | word >> (32 - 4 * width)) & ((UINT64_C(1) << 8 * width) - 1);
}

static inline uint64_t hybrid_word(const uint8_t *levels, unsigned shift)
{
    return fm_load_le64(levels) >> shift & HYBRID_NIBBLES;
}

/* How many of the count (>= 8) levels equal the first eight, which are all alike. */
static inline uint32_t hybrid_level_run(const uint8_t *levels, uint32_t count, unsigned shift,
                                        uint64_t word)
{
    uint32_t run = 8;
    for (; count - run >= 8; run += 8) {
        uint64_t difference = hybrid_word(levels + run, shift) ^ word;
        if (difference)
            return run + ((uint32_t)__builtin_ctzll(difference) >> 3);
    }
    while (run < count && (levels[run] >> shift & 15) == (word & 15))
        run++;
    return run;
}

/* The last 1-7 levels: one run if they are alike and that is not longer, else a padded group. */
static void hybrid_put_tail(struct hybrid_put *put, const uint8_t *levels, uint32_t count,
                            unsigned shift)
{
    uint8_t tail[8] = {0};
    bool alike = true;
    for (uint32_t i = 0; i < count; i++) {
        tail[i] = levels[i] >> shift & 15;
        alike = alike && tail[i] == tail[0];
    }
    if (alike && (!put->header || put->width > 2)) {
        hybrid_put_run(put, count, tail[0]);
        return;
    }
    hybrid_put_group(put);
    fm_store_le64(put->at, hybrid_squeeze(fm_load_le64(tail), put->width));
    put->at += put->width;
}

/* How many runs levels are, each as long as it can be. */
static uint32_t hybrid_run_count(const uint8_t *levels, uint32_t count, unsigned shift)
{
    uint32_t runs = 1, i = 1;
    for (; count - i >= 8; i += 8) {
        uint64_t differs = hybrid_word(levels + i, shift) ^ hybrid_word(levels + i - 1, shift);
        differs = (differs + 127 * HYBRID_ONES) >> 7 & HYBRID_ONES;
        runs += (uint32_t)(differs * HYBRID_ONES >> 56);
    }
    for (; i < count; i++)
        runs += ((levels[i] ^ levels[i - 1]) >> shift & 15) != 0;
    return runs;
}

/* Whether runs alone are worth it, by a look at the first levels and then at all. */
static bool hybrid_is_runs(const uint8_t *levels, uint32_t count, unsigned shift, unsigned width)
{
    uint32_t sample = FM_MIN(count, HYBRID_RUNS_SAMPLE);
    if (width < HYBRID_RUNS_WIDTH_MIN || !count ||
        hybrid_run_count(levels, sample, shift) * 32 > sample * width * 3)
        return false;
    uint64_t runs = hybrid_run_count(levels, count, shift);
    return runs * 64 <= (uint64_t)count * width * 5;
}

/* Runs and nothing else. */
static void hybrid_put_runs(struct hybrid_put *put, const uint8_t *levels, uint32_t count,
                            unsigned shift)
{
    for (uint32_t i = 0, from = 0; i < count; from = i) {
        uint8_t level = levels[from] >> shift & 15;
        uint64_t differs = 0;
        for (; !differs && count - i >= 8; i += 8)
            differs = hybrid_word(levels + i, shift) ^ level * HYBRID_ONES;
        if (differs)
            i += ((uint32_t)__builtin_ctzll(differs) >> 3) - 8;
        while (!differs && i < count && (levels[i] >> shift & 15) == level)
            i++;
        if (FM_LIKELY(i - from < 64)) {
            *put->at++ = (uint8_t)((i - from) << 1);
            *put->at++ = level;
        } else {
            hybrid_put_run(put, i - from, level);
        }
    }
}

void pq_hybrid_put_levels(struct fm_buf *buf, const uint8_t *levels, uint32_t count, unsigned shift,
                          unsigned width)
{
    struct hybrid_put put;
    uint8_t *room = fm_buf_room(buf, hybrid_room(count, width));
    if (!room)
        return;
    hybrid_put_init(&put, room, width);
    if (hybrid_is_runs(levels, count, shift, width)) {
        hybrid_put_runs(&put, levels, count, shift);
        buf->len += (size_t)(put.at - room);
        return;
    }
    uint32_t i = 0;
    while (count - i >= 8) {
        uint64_t word = hybrid_word(levels + i, shift);
        if (word == (word & 255) * HYBRID_ONES) {
            uint32_t run = hybrid_level_run(levels + i, count - i, shift, word);
            if (run >= put.run_min) {
                hybrid_put_run(&put, run, word & 15);
                i += run;
                continue;
            }
        }
        hybrid_put_group(&put);
        fm_store_le64(put.at, hybrid_squeeze(word, width));
        put.at += width;
        i += 8;
    }
    if (i < count)
        hybrid_put_tail(&put, levels + i, count - i, shift);
    hybrid_put_close(&put);
    buf->len += (size_t)(put.at - room);
}

static uint32_t hybrid_index_run(const uint32_t *indexes, uint32_t count)
{
    uint32_t run = 1;
    while (run < count && indexes[run] == indexes[0])
        run++;
    return run;
}

static void hybrid_put_indexes(struct hybrid_put *put, const uint32_t *indexes, uint32_t count)
{
    unsigned bit_count = 0;
    uint64_t bits = 0;
    hybrid_put_group(put);
    if (FM_LIKELY(count >= 8 && put->width % 8 == 0 && put->width < 32)) {
        /* Whole bytes: each store covers what is above the last one; the room has the slack. */
        for (unsigned i = 0; i < 8; i++, put->at += put->width / 8)
            fm_store_le32(put->at, indexes[i]);
        return;
    }
    for (unsigned i = 0; i < 8; i++) {
        bits |= (i < count ? (uint64_t)indexes[i] : 0) << bit_count;
        bit_count += put->width;
        while (bit_count >= 8) {
            *put->at++ = (uint8_t)bits;
            bits >>= 8;
            bit_count -= 8;
        }
    }
}

void pq_hybrid_put_indexes(struct fm_buf *buf, const uint32_t *indexes, uint32_t count,
                           unsigned width)
{
    struct hybrid_put put;
    uint8_t *room = fm_buf_room(buf, hybrid_room(count, width));
    if (!room)
        return;
    hybrid_put_init(&put, room, width);
    for (uint32_t i = 0; i < count;) {
        /* A run that counts begins with eight that are alike. */
        bool alike = count - i < 8 || width == 0 ||
                     (indexes[i] == indexes[i + 1] && indexes[i] == indexes[i + 7]);
        uint32_t run = alike ? hybrid_index_run(indexes + i, count - i) : 1;
        if (run >= put.run_min || width == 0) {
            hybrid_put_run(&put, run, indexes[i]);
            i += run;
            continue;
        }
        uint32_t group = FM_MIN(count - i, 8u);
        hybrid_put_indexes(&put, indexes + i, group);
        i += group;
    }
    hybrid_put_close(&put);
    buf->len += (size_t)(put.at - room);
}

void pq_pack_booleans(struct fm_buf *buf, const uint8_t *values, uint32_t count)
{
    size_t len = (size_t)count / 8 + (count % 8 != 0);
    uint8_t *target = fm_buf_room(buf, len);
    if (!target)
        return;
    uint32_t i = 0;
    for (; count - i >= 8; i += 8)
        *target++ = (uint8_t)hybrid_squeeze(fm_load_le64(values + i), 1);
    if (i < count) {
        *target = 0;
        for (uint32_t bit = 0; i + bit < count; bit++)
            *target |= (uint8_t)(values[i + bit] << bit);
    }
    buf->len += len;
}

/* ---- decoding ---- */

typedef uint8_t hybrid_bytes __attribute__((vector_size(16)));

struct hybrid_run {
    bool packed;
    uint32_t count;         /* of values, not more than asked for */
    uint32_t value;         /* of a run */
    struct fm_slice groups; /* of a packed run */
};

/* Takes the next header and its bytes from *input; at most left values are of use. */
static int hybrid_next(struct fm_slice *input, unsigned width, uint32_t left,
                       struct hybrid_run *ret_run)
{
    uint64_t head = 0;
    size_t i = 0;
    do {
        if (i == input->len || i == 5)
            return FM_EMALFORMED;
        head |= (uint64_t)(input->ptr[i] & 127) << 7 * i;
    } while (input->ptr[i++] & 128);
    struct fm_slice rest = fm_slice(input->ptr + i, input->len - i);
    struct hybrid_run run = {.packed = head & 1};
    uint64_t count = head >> 1, bytes = (width + 7) / 8;
    if (run.packed) {
        bytes = count * width;
        count *= 8;
        /* Groups are whole by the format, but a writer may cut the padding of the last one. */
        if (count >= left && bytes > rest.len && ((uint64_t)left * width + 7) / 8 <= rest.len)
            bytes = rest.len;
        else if (count >= (uint64_t)left + 8)
            return FM_EMALFORMED;
    } else if (count > left) {
        return FM_EMALFORMED;
    }
    if (count == 0 || bytes > rest.len)
        return FM_EMALFORMED;
    run.groups = fm_slice(rest.ptr, (size_t)bytes);
    for (size_t b = 0; !run.packed && b < bytes; b++)
        run.value |= (uint32_t)rest.ptr[b] << 8 * b;
    if (!run.packed && width < 32 && run.value >> width)
        return FM_EMALFORMED;
    run.count = (uint32_t)FM_MIN(count, (uint64_t)left);
    *input = fm_slice(rest.ptr + bytes, rest.len - (size_t)bytes);
    *ret_run = run;
    return FM_OK;
}

/* Up to eight bytes from ptr, zeros behind the end. */
static inline uint64_t hybrid_load(const uint8_t *ptr, size_t left)
{
    if (FM_LIKELY(left >= 8))
        return fm_load_le64(ptr);
    uint64_t word = 0;
    for (size_t i = 0; i < left; i++)
        word |= (uint64_t)ptr[i] << 8 * i;
    return word;
}

/* The inverse of hybrid_squeeze(): halves, quarters and eighths move to where they belong. */
static inline uint64_t hybrid_spread(uint64_t word, unsigned width)
{
    uint64_t half = (UINT64_C(1) << 4 * width) - 1;
    uint64_t quarter = ((UINT64_C(1) << 2 * width) - 1) * UINT64_C(0x0000000100000001);
    uint64_t eighth = ((UINT64_C(1) << width) - 1) * UINT64_C(0x0001000100010001);
    word = (word & half) | (word >> 4 * width & half) << 32;
    word = (word & quarter) | (word >> 2 * width & quarter) << 16;
    return (word & eighth) | (word >> width & eighth) << 8;
}

/* Eight bytes as eight numbers. */
static inline void hybrid_widen(uint32_t *target, uint64_t word)
{
    typedef uint64_t longs __attribute__((vector_size(16)));
    typedef uint16_t halves __attribute__((vector_size(16)));
    const hybrid_bytes narrow = (hybrid_bytes)(longs){word, 0}, none = {0};
    const halves nothing = {0}; /* zeros go between the bytes, and then between the pairs */
    halves wide = (halves)__builtin_shufflevector(narrow, none, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20,
                                                  5, 21, 6, 22, 7, 23);
    halves first = __builtin_shufflevector(wide, nothing, 0, 8, 1, 9, 2, 10, 3, 11);
    halves second = __builtin_shufflevector(wide, nothing, 4, 12, 5, 13, 6, 14, 7, 15);
    memcpy(target, &first, sizeof first);
    memcpy(target + 4, &second, sizeof second);
}

static void hybrid_unpack_levels(struct fm_slice groups, unsigned width, uint8_t *target,
                                 uint32_t count)
{
    for (uint32_t i = 0; i < count; i += 8) {
        size_t at = FM_MIN((size_t)(i / 8) * width, groups.len);
        uint8_t spread[8];
        fm_store_le64(spread, hybrid_spread(hybrid_load(groups.ptr + at, groups.len - at), width));
        if (FM_LIKELY(count - i >= 8))
            memcpy(target + i, spread, 8);
        else
            memcpy(target + i, spread, count - i);
    }
}

uint32_t pq_levels_count(const uint8_t *levels, uint32_t count, uint8_t wanted, uint8_t level_max,
                         bool *ret_too_high)
{
    uint32_t found = 0, i = 0;
    hybrid_bytes over = {0};
    while (count - i >= sizeof over) {
        /* A byte counts up to 255. */
        uint32_t rounds = FM_MIN((count - i) / (uint32_t)sizeof over, 255u);
        hybrid_bytes equal = {0}, bytes;
        for (; rounds; rounds--, i += (uint32_t)sizeof bytes) {
            memcpy(&bytes, levels + i, sizeof bytes);
            equal -= (hybrid_bytes)(bytes == wanted);
            over |= (hybrid_bytes)(bytes > level_max);
        }
        for (unsigned lane = 0; lane < sizeof equal; lane++)
            found += equal[lane];
    }
    bool too_high = false;
    for (unsigned lane = 0; lane < sizeof over; lane++)
        too_high |= over[lane] != 0;
    for (; i < count; i++) {
        found += levels[i] == wanted;
        too_high |= levels[i] > level_max;
    }
    *ret_too_high = too_high;
    return found;
}

/* Most runs are short: two bytes, and what fits into two stores.  Takes what is of that kind, and
 * says how many values it was. */
static uint32_t hybrid_short_runs(struct fm_slice *input, unsigned width, uint8_t *target,
                                  uint32_t count)
{
    const uint8_t *ptr = input->ptr, *end = input->ptr + input->len;
    uint32_t done = 0;
    while (count - done >= 16 && end - ptr >= 2) {
        uint32_t head = ptr[0], value = ptr[1];
        if ((head & 1) | (head - 2 > 30) | (value >> width))
            break;
        fm_store_le64(target + done, value * HYBRID_ONES);
        fm_store_le64(target + done + 8, value * HYBRID_ONES);
        done += head >> 1;
        ptr += 2;
    }
    *input = fm_slice(ptr, (size_t)(end - ptr));
    return done;
}

int pq_hybrid_levels(struct fm_slice input, unsigned width, uint8_t *target, uint32_t count)
{
    FM_ASSERT(width <= 8);
    for (uint32_t done = 0; done < count;) {
        struct hybrid_run run;
        if (width && input.len)
            done += hybrid_short_runs(&input, width, target + done, count - done);
        if (done == count)
            break;
        int rc = hybrid_next(&input, width, count - done, &run);
        if (rc < 0)
            return rc;
        if (run.packed)
            hybrid_unpack_levels(run.groups, width, target + done, run.count);
        else
            memset(target + done, (int)run.value, run.count);
        done += run.count;
    }
    return input.len ? FM_EMALFORMED : FM_OK;
}

/* Groups of eight, as many as can be read without a look at the end; width, of 1 to 24, is a
 * constant where this is inlined. */
static inline __attribute__((always_inline)) uint32_t
hybrid_unpack_groups(struct fm_slice groups, unsigned width, uint32_t *target, uint32_t count)
{
    const uint8_t *ptr = groups.ptr, *end = groups.ptr + groups.len;
    uint32_t i = 0, mask = (UINT32_C(1) << width) - 1;
    for (; count - i >= 8 && (size_t)(end - ptr) >= width + 8; i += 8, ptr += width) {
        if (width <= 8 && HYBRID_LITTLE) {
            hybrid_widen(target + i, hybrid_spread(fm_load_le64(ptr), width));
        } else if (width == 16 && HYBRID_LITTLE) {
            for (unsigned j = 0; j < 8; j += 2) {
                uint64_t halves = fm_load_le32(ptr + j * 2);
                halves = (halves & 0xffff) | (halves & 0xffff0000) << 16;
                memcpy(target + i + j, &halves, sizeof halves);
            }
        } else {
            for (unsigned j = 0; j < 8; j++)
                target[i + j] = fm_load_le32(ptr + j * width / 8) >> j * width % 8 & mask;
        }
    }
    return i;
}

static uint32_t hybrid_unpack_whole(struct fm_slice groups, unsigned width, uint32_t *target,
                                    uint32_t count)
{
#define HYBRID_WIDTH(n)                                                                            \
    case n:                                                                                        \
        return hybrid_unpack_groups(groups, n, target, count);
    switch (width) {
        HYBRID_WIDTH(1)
        HYBRID_WIDTH(2)
        HYBRID_WIDTH(3)
        HYBRID_WIDTH(4)
        HYBRID_WIDTH(5)
        HYBRID_WIDTH(6)
        HYBRID_WIDTH(7)
        HYBRID_WIDTH(9)
        HYBRID_WIDTH(10)
        HYBRID_WIDTH(11)
        HYBRID_WIDTH(12)
        HYBRID_WIDTH(13)
        HYBRID_WIDTH(14)
        HYBRID_WIDTH(15)
        HYBRID_WIDTH(17)
        HYBRID_WIDTH(18)
        HYBRID_WIDTH(19)
        HYBRID_WIDTH(20)
        HYBRID_WIDTH(8)
        HYBRID_WIDTH(16)
        HYBRID_WIDTH(24)
    default:
        return 0;
    }
#undef HYBRID_WIDTH
}

static void hybrid_unpack_indexes(struct fm_slice groups, unsigned width, uint32_t *target,
                                  uint32_t count)
{
    uint64_t mask = (UINT64_C(1) << width) - 1;
    uint32_t i = hybrid_unpack_whole(groups, width, target, count);
    for (; i < count; i++) {
        uint64_t bit = (uint64_t)i * width;
        size_t at = FM_MIN((size_t)(bit >> 3), groups.len);
        target[i] = (uint32_t)(hybrid_load(groups.ptr + at, groups.len - at) >> (bit & 7) & mask);
    }
}

static void hybrid_fill(uint32_t *target, uint32_t value, uint32_t count)
{
    typedef uint32_t lanes __attribute__((vector_size(16)));
    const lanes four = {value, value, value, value};
    uint32_t i = 0;
    for (; count - i >= 4; i += 4)
        memcpy(target + i, &four, sizeof four);
    for (; i < count; i++)
        target[i] = value;
}

int pq_hybrid_indexes(struct fm_slice input, unsigned width, uint32_t *target, uint32_t count)
{
    FM_ASSERT(width <= 32);
    /* parquet-go writes one empty run for a page without values. */
    if (count == 0 && input.len == 1 + (width + 7) / 8 && input.ptr[0] == 0)
        return FM_OK;
    for (uint32_t done = 0; done < count;) {
        struct hybrid_run run;
        int rc = hybrid_next(&input, width, count - done, &run);
        if (rc < 0)
            return rc;
        if (run.packed)
            hybrid_unpack_indexes(run.groups, width, target + done, run.count);
        else
            hybrid_fill(target + done, run.value, run.count);
        done += run.count;
    }
    return input.len ? FM_EMALFORMED : FM_OK;
}

bool pq_indexes_below(const uint32_t *indexes, uint32_t count, uint32_t limit)
{
    typedef uint32_t lanes __attribute__((vector_size(16)));
    if (!limit || limit > UINT32_C(1) << 31)
        return !count || (limit && pq_index_max(indexes, count) < limit);
    /* The top bit of an index or of what is left to the last allowed one. */
    lanes over = {0}, some;
    uint32_t last = limit - 1, rest = 0, i = 0;
    for (; count - i >= 4; i += 4) {
        memcpy(&some, indexes + i, sizeof some);
        over |= some | (last - some);
    }
    for (; i < count; i++)
        rest |= indexes[i] | (last - indexes[i]);
    return !((over[0] | over[1] | over[2] | over[3] | rest) >> 31);
}
