/* SPDX-License-Identifier: Apache-2.0 */
/* Runs and bit-packed groups without unpacking them: counting levels, unpacking a range.
 *
 * Who reads one row of a page needs to know where it begins and how many values lie before it.
 * Equal levels are counted 16 to 64 at a time in their packed form.
 */
#include "seek.h"

#include "fermata/bytes.h"

/* A run, or groups of eight packed values. */
struct seek_run {
    bool packed;
    uint32_t count; /* of values, not more than are left */
    uint32_t value; /* of a run */
    struct fm_slice groups;
};

/* Takes the next run off *input; at most left values are still to come.  The padding of the last
 * group may be cut, as some writers do. */
static int seek_next(struct fm_slice *input, unsigned width, uint32_t left,
                     struct seek_run *ret_run)
{
    uint64_t head = 0;
    size_t len = 0;
    do {
        if (len == input->len || len == 5)
            return FM_EMALFORMED;
        head |= (uint64_t)(input->ptr[len] & 127) << 7 * len;
    } while (input->ptr[len++] & 128);
    struct fm_slice rest = fm_slice(input->ptr + len, input->len - len);
    struct seek_run run = {.packed = head & 1};
    uint64_t count = head >> 1, bytes = ((uint64_t)width + 7) / 8;
    if (run.packed) {
        bytes = count * width;
        count *= 8;
        if (count >= (uint64_t)left + 8)
            return FM_EMALFORMED;
        if (bytes > rest.len) { /* who counts what came notices if it is too little */
            bytes = rest.len;
            count = bytes * 8 / width;
        }
    } else if (count > left) {
        return FM_EMALFORMED;
    }
    if (count == 0 || bytes > rest.len)
        return FM_EMALFORMED;
    run.groups = fm_slice(rest.ptr, (size_t)bytes);
    for (size_t i = 0; !run.packed && i < bytes; i++)
        run.value |= (uint32_t)rest.ptr[i] << 8 * i;
    if (!run.packed && width < 32 && run.value >> width)
        return FM_EMALFORMED;
    run.count = (uint32_t)FM_MIN(count, (uint64_t)left);
    *input = fm_slice(rest.ptr + bytes, rest.len - (size_t)bytes);
    *ret_run = run;
    return FM_OK;
}

/* Passes runs of two bytes, which most are where lists are short, as long as no more than left
 * values and equal_max levels are passed.  Returns how many values, adds the levels to *equal. */
static uint32_t seek_short_runs(struct fm_slice *input, unsigned width, uint32_t left,
                                uint8_t level, uint32_t equal_max, uint32_t *equal)
{
    const uint8_t *ptr = input->ptr, *end = ptr + (input->len & ~(size_t)1);
    uint32_t passed = 0, found = 0;
    for (; ptr != end; ptr += 2) {
        unsigned count = ptr[0] >> 1, value = ptr[1];
        unsigned added = value == level ? count : 0;
        if (ptr[0] & 129 || !count || value >> width || count > left - passed ||
            added > equal_max - found)
            break;
        passed += count;
        found += added;
    }
    *input = fm_slice(ptr, input->len - (size_t)(ptr - input->ptr));
    *equal += found;
    return passed;
}

static inline uint64_t seek_load(struct fm_slice bytes, size_t at)
{
    if (FM_LIKELY(at <= bytes.len && bytes.len - at >= 8))
        return fm_load_le64(bytes.ptr + at);
    uint64_t word = 0;
    for (size_t i = 0; at < bytes.len && i < 8 && i < bytes.len - at; i++)
        word |= (uint64_t)bytes.ptr[at + i] << 8 * i;
    return word;
}

/* Lanes of width bits in one word, a whole number of bytes. */
struct seek_lanes {
    unsigned width, per_word, bytes;
    uint64_t ones;    /* the lowest bit of each */
    uint64_t pattern; /* the level that is looked for, in each */
};

static inline struct seek_lanes seek_lanes_of(unsigned width, uint8_t level)
{
    static const uint64_t ones[] = {0, UINT64_MAX, UINT64_C(0x5555555555555555),
                                    UINT64_C(0x249249249249), UINT64_C(0x1111111111111111)};
    struct seek_lanes lanes = {.width = width, .per_word = width == 3 ? 16 : 64 / width};
    lanes.bytes = lanes.per_word * width / 8;
    lanes.ones = ones[width];
    lanes.pattern = lanes.ones * level;
    return lanes;
}

/* The lowest bit of every lane among the first count that holds the level. */
static inline uint64_t seek_equal(const struct seek_lanes *lanes, uint64_t word, uint32_t count)
{
    uint64_t differs = word ^ lanes->pattern;
    uint64_t any = differs;
    for (unsigned i = 1; i < lanes->width; i++)
        any |= differs >> i;
    uint64_t equal = ~any & lanes->ones;
    return count >= lanes->per_word ? equal : equal & ((UINT64_C(1) << count * lanes->width) - 1);
}

/* Bits of a word; portable, as the baseline of x86-64 has no instruction for it. */
static inline uint32_t seek_popcount(uint64_t word)
{
    word -= word >> 1 & UINT64_C(0x5555555555555555);
    word = (word & UINT64_C(0x3333333333333333)) + (word >> 2 & UINT64_C(0x3333333333333333));
    word = (word + (word >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    return (uint32_t)(word * UINT64_C(0x0101010101010101) >> 56);
}

/* Inlined for each width, so that the lanes are constants. */
static inline uint32_t seek_count_width(unsigned width, uint8_t level, struct fm_slice groups,
                                        uint32_t count)
{
    const struct seek_lanes lanes = seek_lanes_of(width, level);
    uint32_t found = 0, i = 0;
    size_t at = 0;
    for (; count - i >= lanes.per_word && groups.len - at >= 8; i += lanes.per_word) {
        found += seek_popcount(seek_equal(&lanes, fm_load_le64(groups.ptr + at), lanes.per_word));
        at += lanes.bytes;
    }
    for (; i < count; i += FM_MIN(lanes.per_word, count - i), at += lanes.bytes)
        found += seek_popcount(seek_equal(&lanes, seek_load(groups, at), count - i));
    return found;
}

/* How many of the first count packed levels are level. */
static uint32_t seek_count_packed(unsigned width, uint8_t level, struct fm_slice groups,
                                  uint32_t count)
{
    switch (width) {
    case 1:
        return seek_count_width(1, level, groups, count);
    case 2:
        return seek_count_width(2, level, groups, count);
    case 3:
        return seek_count_width(3, level, groups, count);
    default:
        return seek_count_width(4, level, groups, count);
    }
}

/* Position of the nth (from 0) equal level, of which there are more than nth. */
static uint32_t seek_nth_packed(const struct seek_lanes *lanes, struct fm_slice groups,
                                uint32_t count, uint32_t nth)
{
    size_t at = 0;
    for (uint32_t i = 0; i < count; i += FM_MIN(lanes->per_word, count - i)) {
        uint64_t equal = seek_equal(lanes, seek_load(groups, at), count - i);
        uint32_t found = seek_popcount(equal);
        if (nth >= found) {
            nth -= found;
            at += lanes->bytes;
            continue;
        }
        for (; nth; nth--)
            equal &= equal - 1;
        return i + (uint32_t)__builtin_ctzll(equal) / lanes->width;
    }
    return count;
}

int pq_seek_row(struct fm_slice rep, unsigned width, uint32_t count, uint32_t row,
                struct pq_seek_row *ret_row)
{
    struct seek_lanes lanes = seek_lanes_of(width, 0);
    struct pq_seek_row found = {.begin = count, .end = count};
    for (uint32_t done = 0; done < count;) {
        struct seek_run run;
        int rc = seek_next(&rep, width, count - done, &run);
        if (rc < 0)
            return rc;
        uint32_t rows = run.packed       ? seek_count_packed(width, 0, run.groups, run.count)
                        : run.value == 0 ? run.count
                                         : 0;
        for (uint32_t i = 0; i < 2; i++) {
            uint32_t *target = i ? &found.end : &found.begin, wanted = row + i;
            if (wanted < found.row_count || wanted - found.row_count >= rows)
                continue;
            wanted -= found.row_count;
            *target = done + (run.packed ? seek_nth_packed(&lanes, run.groups, run.count, wanted)
                                         : wanted);
        }
        if (done == 0)
            found.starts_row =
                run.packed ? seek_nth_packed(&lanes, run.groups, 1, 0) == 0 : run.value == 0;
        found.row_count += rows;
        done += run.count;
        uint32_t most = found.row_count <= row       ? row - found.row_count
                        : found.row_count == row + 1 ? 0
                                                     : UINT32_MAX;
        done += seek_short_runs(&rep, width, count - done, 0, most, &found.row_count);
    }
    if (rep.len)
        return FM_EMALFORMED;
    *ret_row = found;
    return FM_OK;
}

/* Of the run's values those in [begin, end) of the page; done came before it. */
static inline bool seek_overlap(const struct seek_run *run, uint32_t done, uint32_t begin,
                                uint32_t end, uint32_t *ret_from, uint32_t *ret_to)
{
    uint32_t from = begin > done ? begin - done : 0;
    uint32_t to = end > done ? FM_MIN(end - done, run->count) : 0;
    *ret_from = from;
    *ret_to = to;
    return from < to;
}

static uint32_t seek_unpack(struct fm_slice groups, unsigned width, uint32_t at)
{
    uint64_t bit = (uint64_t)at * width;
    uint64_t mask = (UINT64_C(1) << width) - 1;
    return (uint32_t)(seek_load(groups, (size_t)(bit >> 3)) >> (bit & 7) & mask);
}

int pq_seek_levels(struct fm_slice input, unsigned width, uint32_t count, uint32_t begin,
                   uint32_t end, uint8_t *target)
{
    uint32_t any = 0;
    for (uint32_t done = 0; done < end;) {
        struct seek_run run;
        uint32_t from, to;
        if (done < begin)
            done += seek_short_runs(&input, width, begin - done, 0, UINT32_MAX, &any);
        if (done == end)
            break;
        int rc = seek_next(&input, width, count - done, &run);
        if (rc < 0)
            return rc;
        if (seek_overlap(&run, done, begin, end, &from, &to))
            for (uint32_t i = from; i < to; i++)
                target[done + i - begin] =
                    (uint8_t)(run.packed ? seek_unpack(run.groups, width, i) : run.value);
        done += run.count;
    }
    return FM_OK;
}

int pq_seek_count(struct fm_slice input, unsigned width, uint32_t count, uint8_t level,
                  uint32_t end, uint32_t *ret_equal)
{
    uint32_t equal = 0;
    for (uint32_t done = 0; done < end;) {
        struct seek_run run;
        done += seek_short_runs(&input, width, end - done, level, UINT32_MAX, &equal);
        if (done == end)
            break;
        int rc = seek_next(&input, width, count - done, &run);
        if (rc < 0)
            return rc;
        uint32_t wanted = FM_MIN(end - done, run.count);
        if (run.packed)
            equal += seek_count_packed(width, level, run.groups, wanted);
        else if (run.value == level)
            equal += wanted;
        done += run.count;
    }
    if (end == count && input.len)
        return FM_EMALFORMED;
    *ret_equal = equal;
    return FM_OK;
}

int pq_seek_indexes(struct fm_slice input, uint32_t count, uint32_t begin, uint32_t end,
                    uint32_t *target)
{
    if (input.len == 0 || input.ptr[0] > 32)
        return FM_EMALFORMED;
    unsigned width = input.ptr[0];
    struct fm_slice rest = fm_slice(input.ptr + 1, input.len - 1);
    for (uint32_t done = 0; done < end;) {
        struct seek_run run;
        uint32_t from, to;
        int rc = seek_next(&rest, width, count - done, &run);
        if (rc < 0)
            return rc;
        if (seek_overlap(&run, done, begin, end, &from, &to))
            for (uint32_t i = from; i < to; i++)
                target[done + i - begin] =
                    run.packed ? seek_unpack(run.groups, width, i) : run.value;
        done += run.count;
    }
    return FM_OK;
}
