/* SPDX-License-Identifier: Apache-2.0 */
/* One attribute out of a list: first the places where its key is, then the values there.
 *
 * The seven leaves of a list have an entry for each attribute, and one for each owner without any.
 * An attribute's place among these is the same in all of them, but for lists of values, whose
 * further entries do not count.  Of the four leaves of values only those are read that some place
 * found needs. */
#include "frames.h"

#include <stdlib.h>

struct attribute {
    struct block_frames *frames;
    struct frames_field *own;
    struct frames_part *part;
    uint32_t elements, attributes; /* passed so far */
};

/* ---- keys ---- */

/* Room for so many matches more. */
static int match_reserve(struct block_frames *frames, uint32_t count)
{
    size_t wanted = (size_t)frames->match_count + count;
    if (FM_LIKELY(wanted <= frames->match_cap))
        return FM_OK;
    return FRAMES_RESERVE(frames, frames->matches, frames->match_cap,
                          FM_MAX(frames->match_cap * 2, FM_MAX(wanted, (size_t)1024)));
}

/* There is room.  Of attributes with the same key the first one counts. */
static inline void match_add(struct block_frames *frames, uint32_t attribute, uint32_t element)
{
    uint32_t count = frames->match_count;
    bool is_repeat = count && frames->matches[count - 1].element == element;
    frames->matches[count] = (struct frames_match){attribute, element};
    frames->match_count = count + !is_repeat;
}

/* Whether one of eight is the key. */
static inline bool keys_any(const uint32_t *indexes, uint32_t key)
{
    typedef uint32_t lanes __attribute__((vector_size(16)));
    typedef uint64_t halves __attribute__((vector_size(16)));
    lanes first, second;
    memcpy(&first, indexes, sizeof first);
    memcpy(&second, indexes + 4, sizeof second);
    halves equal = (halves)((first == key) | (second == key));
    return (equal[0] | equal[1]) != 0;
}

static inline uint64_t keys_equal_word(const uint32_t *indexes, uint32_t key)
{
    uint64_t equal = 0;
    for (unsigned i = 0; i < 8; i++)
        equal |= (uint64_t)(indexes[i] == key) << 8 * i;
    return equal;
}

/* Every entry is an attribute: eight at a time. */
static int keys_dense(struct attribute *walk, const struct frames_slice *slice, uint32_t *ret_done)
{
    const uint32_t *indexes = slice->page->indexes + slice->value;
    unsigned level = walk->own->level;
    uint32_t i = 0, key = walk->part->key;
    for (; slice->entry_count - i >= 8; i += 8) {
        uint64_t starts = frames_most_word(fm_load_le64(slice->rep + i), level);
        uint64_t equal = keys_any(indexes + i, key) ? keys_equal_word(indexes + i, key) : 0;
        int rc = equal ? match_reserve(walk->frames, 8) : FM_OK;
        if (rc < 0)
            return rc;
        for (; equal; equal &= equal - 1) {
            uint32_t bit = (uint32_t)__builtin_ctzll(equal);
            uint64_t before = starts & (UINT64_MAX >> (63 - bit));
            match_add(walk->frames, walk->attributes + i + bit / 8,
                      walk->elements + frames_sum_word(before) - 1);
        }
        walk->elements += frames_sum_word(starts);
    }
    *ret_done = i;
    return FM_OK;
}

static bool keys_equal(const struct attribute *walk, const struct frames_slice *slice,
                       uint32_t value)
{
    if (slice->page->indexes && walk->part->key != FRAMES_NO_KEY)
        return slice->page->indexes[value] == walk->part->key;
    return fm_slice_equal(frames_bytes(slice, value), walk->own->field->name);
}

static int keys_slice(struct attribute *walk, const struct frames_slice *slice)
{
    unsigned level = walk->own->level;
    uint32_t i = 0, value = slice->value;
    int rc = FM_OK;
    if (slice->value_count == slice->entry_count && slice->page->indexes &&
        walk->part->key != FRAMES_NO_KEY)
        rc = keys_dense(walk, slice, &i);
    for (value += i; i < slice->entry_count && rc == FM_OK; i++) {
        uint8_t def = slice->def[i];
        walk->elements += slice->rep[i] <= level && def >= level;
        if (def <= level)
            continue;
        if (!keys_equal(walk, slice, value++))
            continue;
        rc = match_reserve(walk->frames, 1);
        if (rc == FM_OK)
            match_add(walk->frames, walk->attributes + i, walk->elements - 1);
    }
    walk->attributes += slice->entry_count;
    return rc;
}

static int keys_read(struct attribute *walk)
{
    struct block_frames *frames = walk->frames;
    struct frames_slice slice;
    uint64_t row = frames->row_from;
    unsigned leaf = walk->part->leaf + ATTRIBUTE_KEY;
    int rc = FM_OK;
    frames->match_count = 0;
    while (rc == FM_OK &&
           (rc = frames_slice(frames, leaf, &row, frames->row_to, &slice)) == FM_OK) {
        if (slice.entry_count > UINT32_MAX / 4 - walk->attributes)
            return frames_fail(frames, leaf, "too many attributes for a frame");
        rc = keys_slice(walk, &slice);
    }
    if (rc < 0)
        return rc;
    return walk->elements == walk->own->vector.count
               ? FM_OK
               : frames_fail(frames, leaf, "is out of step with its owners");
}

/* Forgets the matches of traces that are not wanted. */
static void matches_filter(struct block_frames *frames, const uint8_t *wanted)
{
    const uint32_t *trace_spans = frames->frame.trace_spans;
    uint32_t kept = 0, trace = 0;
    for (uint32_t i = 0; i < frames->match_count; i++) {
        while (frames->matches[i].element >= trace_spans[trace + 1])
            trace++;
        frames->matches[kept] = frames->matches[i];
        kept += wanted[trace] != 0;
    }
    frames->match_count = kept;
}

/* ---- values ---- */

struct values {
    struct attribute *walk;
    unsigned leaf, def_max;
    uint32_t attributes; /* passed so far */
    uint32_t at, kept;   /* among the matches: the next one, those without a value here */
};

static int match_value(struct values *values, const struct frames_slice *slice, uint32_t value,
                       uint32_t count)
{
    struct block_frames *frames = values->walk->frames;
    struct frames_field *own = values->walk->own;
    const struct frames_match *match = &frames->matches[values->at++];
    uint32_t *code = &own->codes[match->element];
    int rc =
        frames_list_code(frames, own, values->walk->part, values->leaf, slice, value, count, code);
    return rc;
}

static inline void match_keep(struct values *values)
{
    struct block_frames *frames = values->walk->frames;
    frames->matches[values->kept++] = frames->matches[values->at++];
}

/* An entry for each attribute. */
static int values_single(struct values *values, const struct frames_slice *slice)
{
    const struct block_frames *frames = values->walk->frames;
    uint32_t value = slice->value, last = 0;
    bool is_full = slice->value_count == slice->entry_count;
    while (values->at < frames->match_count) {
        uint32_t entry = frames->matches[values->at].attribute - values->attributes;
        if (entry >= slice->entry_count)
            break;
        if (is_full)
            value = slice->value + entry;
        else if (slice->value_count)
            value += frames_count_equal(slice->def + last, entry - last, values->def_max);
        last = entry;
        if (slice->def[entry] != values->def_max) {
            match_keep(values);
            continue;
        }
        int rc = match_value(values, slice, value, 1);
        if (rc < 0)
            return rc;
    }
    values->attributes += slice->entry_count;
    return FM_OK;
}

/* Some attributes have several. */
static int values_lists(struct values *values, const struct frames_slice *slice)
{
    const struct block_frames *frames = values->walk->frames;
    unsigned level = values->walk->own->level + 1; /* of the attributes */
    uint32_t value = slice->value, i = 0;
    while (i < slice->entry_count) {
        uint32_t first = i++, count = slice->def[first] == values->def_max;
        for (; i < slice->entry_count && slice->rep[i] > level; i++, count++)
            if (slice->def[i] != values->def_max || !count)
                return frames_fail(frames, values->leaf, "a list holds an entry without a value");
        if (values->at < frames->match_count &&
            frames->matches[values->at].attribute == values->attributes) {
            int rc = FM_OK;
            if (count)
                rc = match_value(values, slice, value, count);
            else
                match_keep(values);
            if (rc < 0)
                return rc;
        }
        values->attributes++;
        value += count;
    }
    return FM_OK;
}

/* Takes from one of the leaves what it has for the matches; the others stay. */
static int values_read(struct attribute *walk, unsigned which)
{
    struct block_frames *frames = walk->frames;
    struct values values = {.walk = walk, .leaf = walk->part->leaf + which};
    values.def_max = frames->block->leaves[values.leaf].def_max;
    struct frames_slice slice;
    uint64_t row = frames->row_from;
    uint32_t wanted = frames->match_count;
    int rc = FM_OK;
    while (rc == FM_OK && values.at < wanted &&
           (rc = frames_slice(frames, values.leaf, &row, frames->row_to, &slice)) == FM_OK)
        rc = slice.has_lists ? values_lists(&values, &slice) : values_single(&values, &slice);
    if (rc < 0)
        return rc;
    if (values.at != wanted || (row == frames->row_to && values.attributes != walk->attributes))
        return frames_fail(frames, values.leaf, "is out of step with the keys");
    if (values.kept < wanted)
        walk->part->guess = which;
    frames->match_count = values.kept;
    return FM_OK;
}

int frames_load_attribute(struct block_frames *frames, struct frames_field *own,
                          struct frames_part *part, const uint8_t *wanted)
{
    static const uint8_t leaves[] = {ATTRIBUTE_STRING, ATTRIBUTE_INT, ATTRIBUTE_DOUBLE,
                                     ATTRIBUTE_BOOL};
    struct attribute walk = {.frames = frames, .own = own, .part = part};
    unsigned guess = part->guess;
    int rc = keys_read(&walk);
    if (rc < 0)
        return rc;
    if (wanted && own->domain == FRAME_SPAN)
        matches_filter(frames, wanted);
    if (frames->match_count)
        rc = values_read(&walk, guess);
    for (size_t i = 0; i < FM_COUNT(leaves) && frames->match_count && rc == FM_OK; i++)
        if (leaves[i] != guess)
            rc = values_read(&walk, leaves[i]);
    for (uint32_t i = 0; i < frames->match_count; i++)
        own->codes[frames->matches[i].element] = FRAMES_NIL;
    return rc;
}
