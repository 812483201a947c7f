/* SPDX-License-Identifier: Apache-2.0 */
/* A column chunk while it is written: entries in, finished pages out.
 *
 * The open page is three plain arrays: a byte of levels per entry, the values in the form nearest
 * to the page's, and lengths where the encoding keeps them apart.  A put is one or two stores; the
 * encodings, the codec and the CRC run once per page, in pq_chunk_cut().
 * A put that fails (no memory, a page too large) marks the chunk and empties the open page, so
 * that later puts stay within the memory there is; the failure comes out when the chunk is
 * appended to a file.
 */
#include "internal.h"

#include "fermata/bytes.h"

#include <stdlib.h>

#define CHUNK_LEVELS_MIN 512u
#define CHUNK_VALUES_MIN 2048u
#define CHUNK_SLACK      16u  /* behind levels and values: a short fill is two plain stores */
#define CHUNK_SHARED_MIN 128u /* bytes of levels that are worth a frame of their own */
#define CHUNK_ALONE_MIN  64u  /* and of what follows them */
/* Indexes of more bits take whole bytes: what repeats is then seen by the compressor. */
#define CHUNK_ALIGN_MIN  4u
#define CHUNK_PAGE_MAX   ((size_t)INT32_MAX) /* page headers count in i32 */

enum pq_put_kind {
    PUT_I32,
    PUT_I64,
    PUT_DOUBLE,
    PUT_BOOL,
    PUT_BYTES,        /* PLAIN: length and bytes */
    PUT_BYTES_LENGTH, /* DELTA_LENGTH_BYTE_ARRAY: lengths apart */
    PUT_INDEX,
    PUT_NOTHING, /* the choice does not fit the type */
};

static uint8_t chunk_kind(enum pq_type type, unsigned encoding)
{
    switch (type) {
    case PQ_BOOLEAN:
        return encoding == PQ_PLAIN ? PUT_BOOL : PUT_NOTHING;
    case PQ_INT32:
        return encoding == PQ_PLAIN || encoding == PQ_DELTA_BINARY_PACKED ? PUT_I32 : PUT_NOTHING;
    case PQ_INT64:
        return encoding == PQ_PLAIN || encoding == PQ_DELTA_BINARY_PACKED ? PUT_I64 : PUT_NOTHING;
    case PQ_DOUBLE:
        return encoding == PQ_PLAIN ? PUT_DOUBLE : PUT_NOTHING;
    case PQ_BYTE_ARRAY:
        if (encoding == PQ_RLE_DICTIONARY)
            return PUT_INDEX;
        if (encoding == PQ_DELTA_LENGTH_BYTE_ARRAY)
            return PUT_BYTES_LENGTH;
        return encoding == PQ_PLAIN ? PUT_BYTES : PUT_NOTHING;
    }
    return PUT_NOTHING;
}

int pq_chunk_new(struct pq_chunk **ret_chunk, enum pq_type type, unsigned rep_max, unsigned def_max,
                 const struct pq_choice *choice, unsigned page_version)
{
    uint8_t kind = chunk_kind(type, choice->encoding);
    if (kind == PUT_NOTHING || rep_max > PQ_LEVEL_MAX || def_max > PQ_LEVEL_MAX ||
        rep_max > def_max || page_version < 1 || page_version > 2)
        return FM_EUNSUPPORTED;
    if (choice->codec != CODEC_NONE && choice->codec != CODEC_SNAPPY && choice->codec != CODEC_ZSTD)
        return FM_EUNSUPPORTED;
    FM_AUTO(pq_chunk) chunk = calloc(1, sizeof *chunk);
    if (!chunk)
        return FM_ENOMEM;
    *chunk = (struct pq_chunk){
        .type = type,
        .rep_max = (uint8_t)rep_max,
        .def_max = (uint8_t)def_max,
        .page_version = (uint8_t)page_version,
        .kind = kind,
        .choice = *choice,
        .level_cap = CHUNK_LEVELS_MIN,
        .values_cap = CHUNK_VALUES_MIN,
    };
    chunk->levels = malloc(CHUNK_LEVELS_MIN + CHUNK_SLACK);
    chunk->values = malloc(CHUNK_VALUES_MIN + CHUNK_SLACK);
    if (kind == PUT_BYTES_LENGTH) {
        chunk->length_cap = CHUNK_LEVELS_MIN;
        chunk->lengths = malloc(CHUNK_LEVELS_MIN * sizeof *chunk->lengths);
    }
    if (!chunk->levels || !chunk->values || (chunk->length_cap && !chunk->lengths))
        return FM_ENOMEM;
    fm_buf_init(&chunk->dictionary, CHUNK_PAGE_MAX);
    fm_buf_init(&chunk->pages, SIZE_MAX / 2);
    *ret_chunk = fm_take(chunk);
    return FM_OK;
}

struct pq_chunk *pq_chunk_free(struct pq_chunk *chunk)
{
    if (!chunk)
        return NULL;
    free(chunk->levels);
    free(chunk->values);
    free(chunk->lengths);
    free(chunk->locations);
    fm_buf_fini(&chunk->dictionary);
    fm_buf_fini(&chunk->pages);
    free(chunk);
    return NULL;
}

void pq_chunk_share_encoder(struct pq_chunk *chunk, struct codec_encoder *encoder)
{
    FM_ASSERT(!encoder || codec_encoder_codec(encoder) == (enum codec)chunk->choice.codec);
    chunk->shared_encoder = encoder;
}

void pq_chunk_share_press(struct pq_chunk *chunk, struct pq_press *press)
{
    chunk->press = press;
}

static void chunk_empty_page(struct pq_chunk *chunk)
{
    chunk->level_count = chunk->length_count = 0;
    chunk->values_len = 0;
}

static void chunk_fail(struct pq_chunk *chunk, int rc)
{
    if (chunk->rc == FM_OK)
        chunk->rc = rc;
    chunk_empty_page(chunk);
}

void pq_chunk_reset(struct pq_chunk *chunk)
{
    chunk_empty_page(chunk);
    chunk->rc = FM_OK;
    fm_buf_fini(&chunk->dictionary);
    fm_buf_init(&chunk->dictionary, CHUNK_PAGE_MAX);
    fm_buf_fini(&chunk->pages);
    fm_buf_init(&chunk->pages, SIZE_MAX / 2);
    chunk->dictionary_count = 0;
    chunk->pages_plain_bytes = chunk->entry_count = chunk->row_count = 0;
    chunk->location_count = 0;
}

size_t pq_chunk_pending_bytes(const struct pq_chunk *chunk)
{
    return chunk->level_count + chunk->values_len + chunk->length_count * sizeof *chunk->lengths;
}

size_t pq_chunk_finished_bytes(const struct pq_chunk *chunk)
{
    return chunk->pages.len + chunk->dictionary.len;
}

/* array with room for needed elements; NULL: the chunk has failed and its page is empty. */
static void *chunk_grow(struct pq_chunk *chunk, void *array, size_t *cap, size_t needed,
                        size_t element_size)
{
    size_t grown = FM_MAX(*cap + *cap / 2, needed);
    void *ptr = NULL;
    if (needed <= CHUNK_PAGE_MAX)
        ptr = realloc(array, grown * element_size + CHUNK_SLACK);
    if (ptr)
        *cap = grown;
    else
        chunk_fail(chunk, needed <= CHUNK_PAGE_MAX ? FM_ENOMEM : FM_ELIMIT);
    return ptr;
}

static __attribute__((noinline)) bool chunk_grow_levels(struct pq_chunk *chunk, uint32_t count)
{
    size_t cap = chunk->level_cap;
    uint8_t *levels = chunk_grow(chunk, chunk->levels, &cap, (size_t)chunk->level_count + count, 1);
    if (!levels)
        return count <= chunk->level_cap;
    chunk->levels = levels;
    chunk->level_cap = (uint32_t)cap;
    return true;
}

static __attribute__((noinline)) bool chunk_grow_values(struct pq_chunk *chunk, size_t len)
{
    size_t needed = len > CHUNK_PAGE_MAX ? len : chunk->values_len + len;
    uint8_t *values = chunk_grow(chunk, chunk->values, &chunk->values_cap, needed, 1);
    if (!values)
        return len <= chunk->values_cap;
    chunk->values = values;
    return true;
}

static inline void chunk_put_level(struct pq_chunk *chunk, unsigned rep, unsigned def)
{
    if (FM_UNLIKELY(chunk->level_count == chunk->level_cap) && !chunk_grow_levels(chunk, 1))
        return;
    chunk->levels[chunk->level_count++] = (uint8_t)(rep << 4 | def);
}

/* Where len bytes of values go, or NULL. */
static inline uint8_t *chunk_put_room(struct pq_chunk *chunk, size_t len, unsigned kind)
{
    if (FM_UNLIKELY(chunk->kind != kind)) {
        chunk_fail(chunk, FM_EUSAGE);
        return NULL;
    }
    if (FM_UNLIKELY(chunk->values_cap - chunk->values_len < len) && !chunk_grow_values(chunk, len))
        return NULL;
    uint8_t *target = chunk->values + chunk->values_len;
    chunk->values_len += len;
    return target;
}

void pq_put_null(struct pq_chunk *chunk, unsigned rep, unsigned def)
{
    if (FM_UNLIKELY(def >= chunk->def_max))
        chunk_fail(chunk, FM_EUSAGE);
    chunk_put_level(chunk, rep, def);
}

/* count equal bytes; may write CHUNK_SLACK bytes. */
static inline void chunk_fill(uint8_t *target, uint8_t byte, uint32_t count)
{
    if (FM_UNLIKELY(count > CHUNK_SLACK)) {
        memset(target, byte, count);
        return;
    }
    uint64_t word = byte * UINT64_C(0x0101010101010101);
    fm_store_le64(target, word);
    fm_store_le64(target + 8, word);
}

static inline void chunk_put_levels(struct pq_chunk *chunk, unsigned rep, unsigned def,
                                    uint32_t count)
{
    if (FM_UNLIKELY(chunk->level_cap - chunk->level_count < count) &&
        !chunk_grow_levels(chunk, count))
        return;
    chunk_fill(chunk->levels + chunk->level_count, (uint8_t)(rep << 4 | def), count);
    chunk->level_count += count;
}

void pq_put_nulls(struct pq_chunk *chunk, unsigned rep, unsigned def, uint32_t count)
{
    if (FM_UNLIKELY(def >= chunk->def_max))
        chunk_fail(chunk, FM_EUSAGE);
    chunk_put_levels(chunk, rep, def, count);
}

void pq_put_null_levels(struct pq_chunk *chunk, const uint8_t *levels, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (FM_UNLIKELY((levels[i] & 15) >= chunk->def_max))
            chunk_fail(chunk, FM_EUSAGE);
    if (chunk->level_cap - chunk->level_count < count && !chunk_grow_levels(chunk, count))
        return;
    memcpy(chunk->levels + chunk->level_count, levels, count);
    chunk->level_count += count;
}

void pq_put_zero_levels(struct pq_chunk *chunk, const uint8_t *levels, uint32_t count)
{
    uint8_t *target = chunk_put_room(chunk, (size_t)count * 4, PUT_I32);
    for (uint32_t i = 0; i < count; i++)
        if (FM_UNLIKELY((levels[i] & 15) != chunk->def_max))
            chunk_fail(chunk, FM_EUSAGE);
    if (!target ||
        (chunk->level_cap - chunk->level_count < count && !chunk_grow_levels(chunk, count)))
        return;
    memset(target, 0, (size_t)count * 4);
    memcpy(chunk->levels + chunk->level_count, levels, count);
    chunk->level_count += count;
}

void pq_put_i32(struct pq_chunk *chunk, unsigned rep, int32_t value)
{
    uint8_t *target = chunk_put_room(chunk, sizeof value, PUT_I32);
    if (target)
        fm_store_le32(target, (uint32_t)value);
    chunk_put_level(chunk, rep, chunk->def_max);
}

void pq_put_i64(struct pq_chunk *chunk, unsigned rep, int64_t value)
{
    uint8_t *target = chunk_put_room(chunk, sizeof value, PUT_I64);
    if (target)
        fm_store_le64(target, (uint64_t)value);
    chunk_put_level(chunk, rep, chunk->def_max);
}

void pq_put_double(struct pq_chunk *chunk, unsigned rep, double value)
{
    uint8_t *target = chunk_put_room(chunk, sizeof value, PUT_DOUBLE);
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (target)
        fm_store_le64(target, bits);
    chunk_put_level(chunk, rep, chunk->def_max);
}

void pq_put_bool(struct pq_chunk *chunk, unsigned rep, bool value)
{
    uint8_t *target = chunk_put_room(chunk, 1, PUT_BOOL);
    if (target)
        *target = value;
    chunk_put_level(chunk, rep, chunk->def_max);
}

void pq_put_bools(struct pq_chunk *chunk, unsigned rep, bool value, uint32_t count)
{
    uint8_t *target = chunk_put_room(chunk, count, PUT_BOOL);
    if (target)
        chunk_fill(target, value, count);
    chunk_put_levels(chunk, rep, chunk->def_max, count);
}

static void chunk_put_length(struct pq_chunk *chunk, size_t len)
{
    if (FM_UNLIKELY(chunk->length_count == chunk->length_cap)) {
        size_t cap = chunk->length_cap;
        uint32_t *lengths = chunk_grow(chunk, chunk->lengths, &cap, cap + 1, sizeof *lengths);
        if (!lengths)
            return;
        chunk->lengths = lengths;
        chunk->length_cap = (uint32_t)cap;
    }
    chunk->lengths[chunk->length_count++] = (uint32_t)len;
}

void pq_put_bytes(struct pq_chunk *chunk, unsigned rep, struct fm_slice value)
{
    size_t prefix = chunk->kind == PUT_BYTES ? 4 : 0;
    uint8_t *target =
        chunk_put_room(chunk, value.len + prefix, prefix ? PUT_BYTES : PUT_BYTES_LENGTH);
    if (!target)
        return;
    if (prefix)
        fm_store_le32(target, (uint32_t)value.len);
    else
        chunk_put_length(chunk, value.len);
    if (value.len)
        memcpy(target + prefix, value.ptr, value.len);
    chunk_put_level(chunk, rep, chunk->def_max);
}

uint32_t pq_dictionary_add(struct pq_chunk *chunk, struct fm_slice value)
{
    uint8_t *target =
        value.len < CHUNK_PAGE_MAX ? fm_buf_room(&chunk->dictionary, value.len + 4) : NULL;
    if (!target || chunk->kind != PUT_INDEX) {
        chunk_fail(chunk, chunk->kind != PUT_INDEX ? FM_EUSAGE : FM_ENOMEM);
        return 0;
    }
    fm_store_le32(target, (uint32_t)value.len);
    if (value.len)
        memcpy(target + 4, value.ptr, value.len);
    chunk->dictionary.len += value.len + 4;
    return chunk->dictionary_count++;
}

void pq_put_index(struct pq_chunk *chunk, unsigned rep, uint32_t index)
{
    uint8_t *target = chunk_put_room(chunk, sizeof index, PUT_INDEX);
    if (target)
        memcpy(target, &index, sizeof index);
    chunk_put_level(chunk, rep, chunk->def_max);
}

void pq_cursor_open(struct pq_cursor *cursor, struct pq_chunk *chunk)
{
    *cursor = (struct pq_cursor){
        .chunk = chunk,
        .level = chunk->levels + chunk->level_count,
        .level_end = chunk->levels + chunk->level_cap,
        .value = chunk->values + chunk->values_len,
        .value_end = chunk->values + chunk->values_cap,
    };
}

void pq_cursor_close(struct pq_cursor *cursor)
{
    struct pq_chunk *chunk = cursor->chunk;
    if (chunk->rc < 0)
        return;
    chunk->level_count = (uint32_t)(cursor->level - chunk->levels);
    chunk->values_len = (size_t)(cursor->value - chunk->values);
}

bool pq_cursor_grow(struct pq_cursor *cursor, uint32_t count, size_t len)
{
    struct pq_chunk *chunk = cursor->chunk;
    pq_cursor_close(cursor);
    if (chunk->level_cap - chunk->level_count < count)
        (void)chunk_grow_levels(chunk, count); /* what matters is in rc */
    if (chunk->rc == FM_OK && chunk->values_cap - chunk->values_len < len)
        (void)chunk_grow_values(chunk, len);
    pq_cursor_open(cursor, chunk);
    return chunk->rc == FM_OK;
}

/* ---- the page ---- */

struct chunk_facts {
    uint32_t row_count;        /* entries with rep 0 */
    uint32_t value_count;      /* entries with def == def_max */
    bool too_high;             /* a level above its maximum */
    bool knows_rep, knows_all; /* packed levels are at hand: pq_press.last */
};

#define CHUNK_ONES   UINT64_C(0x0101010101010101)
#define CHUNK_STRIDE (255u * 8) /* a byte-wide counter takes 255 steps of 8 entries */

/* Sum of the eight bytes of a word. */
static inline uint32_t chunk_sum_bytes(uint64_t word)
{
    const uint64_t even = UINT64_C(0x00ff00ff00ff00ff);
    return (uint32_t)(((word & even) + (word >> 8 & even)) * UINT64_C(0x0001000100010001) >> 48);
}

/* Eight levels a step: a byte b < 128 is not zero exactly if b + 127 has its top bit. */
static void chunk_count_words(const struct pq_chunk *chunk, const uint8_t *levels, uint32_t count,
                              struct chunk_facts *facts)
{
    const uint64_t nibbles = 15 * CHUNK_ONES, tops = 127 * CHUNK_ONES;
    const uint64_t def_max = chunk->def_max * CHUNK_ONES;
    const uint64_t rep_gap = (127u - chunk->rep_max) * CHUNK_ONES;
    const uint64_t def_gap = (127u - chunk->def_max) * CHUNK_ONES;
    uint64_t inner = 0, absent = 0, over = 0;
    for (uint32_t i = 0; i < count; i += 8) {
        uint64_t word = fm_load_le64(levels + i);
        uint64_t rep = word >> 4 & nibbles, def = word & nibbles;
        inner += (rep + tops) >> 7 & CHUNK_ONES;
        absent += ((def ^ def_max) + tops) >> 7 & CHUNK_ONES;
        over |= (rep + rep_gap) | (def + def_gap);
    }
    facts->row_count += count - chunk_sum_bytes(inner);
    facts->value_count += count - chunk_sum_bytes(absent);
    facts->too_high = facts->too_high || over & 128 * CHUNK_ONES;
}

static struct chunk_facts chunk_count(const struct pq_chunk *chunk)
{
    struct chunk_facts facts = {0};
    uint32_t i = 0;
    while (chunk->level_count - i >= 8) {
        uint32_t step = FM_MIN(chunk->level_count - i, CHUNK_STRIDE) & ~UINT32_C(7);
        chunk_count_words(chunk, chunk->levels + i, step, &facts);
        i += step;
    }
    for (; i < chunk->level_count; i++) {
        unsigned rep = chunk->levels[i] >> 4, def = chunk->levels[i] & 15;
        facts.row_count += rep == 0;
        facts.value_count += def == chunk->def_max;
        facts.too_high = facts.too_high || rep > chunk->rep_max || def > chunk->def_max;
    }
    return facts;
}

/* ---- levels as in the page made last ---- */

/* Whether count levels have the same repetition levels. */
static bool chunk_same_rep(const uint8_t *a, const uint8_t *b, uint32_t count)
{
    const uint64_t high = 240 * CHUNK_ONES;
    uint32_t i = 0;
    for (; count - i >= 32; i += 32) {
        uint64_t differs = (fm_load_le64(a + i) ^ fm_load_le64(b + i)) |
                           (fm_load_le64(a + i + 8) ^ fm_load_le64(b + i + 8)) |
                           (fm_load_le64(a + i + 16) ^ fm_load_le64(b + i + 16)) |
                           (fm_load_le64(a + i + 24) ^ fm_load_le64(b + i + 24));
        if (differs & high)
            return false;
    }
    for (; i < count; i++)
        if ((a[i] ^ b[i]) & 240)
            return false;
    return true;
}

/* Siblings repeat the levels of one another: what is known of the last page's holds for these. */
static void chunk_recall(struct pq_chunk *chunk, struct chunk_facts *facts)
{
    const struct pq_press_levels *last = chunk->press ? &chunk->press->last : NULL;
    uint32_t count = chunk->level_count;
    *facts = (struct chunk_facts){0};
    if (last && count && last->plain.len == count && last->page_version == chunk->page_version &&
        last->rep_max <= chunk->rep_max &&
        pq_bit_width(last->rep_max) == pq_bit_width(chunk->rep_max)) {
        facts->knows_all =
            last->def_max == chunk->def_max && memcmp(last->plain.ptr, chunk->levels, count) == 0;
        facts->knows_rep =
            facts->knows_all || chunk_same_rep(last->plain.ptr, chunk->levels, count);
    }
    if (facts->knows_all) {
        facts->row_count = last->row_count;
        facts->value_count = last->value_count;
        return;
    }
    bool knows_rep = facts->knows_rep;
    *facts = chunk_count(chunk);
    facts->knows_rep = knows_rep;
}

/* What the next chunk may recall. */
static void chunk_remember(struct pq_chunk *chunk, const struct chunk_facts *facts,
                           struct fm_slice rep, struct fm_slice def)
{
    struct pq_press_levels *last = &chunk->press->last;
    if (facts->knows_all)
        return;
    if (!facts->knows_rep) {
        fm_buf_reset(&last->rep);
        fm_buf_put_slice(&last->rep, rep);
        last->rep_max = chunk->rep_max;
    }
    fm_buf_reset(&last->def);
    fm_buf_put_slice(&last->def, def);
    fm_buf_reset(&last->plain);
    fm_buf_put(&last->plain, chunk->levels, chunk->level_count);
    last->def_max = chunk->def_max;
    last->page_version = chunk->page_version;
    last->row_count = facts->row_count;
    last->value_count = facts->value_count;
    if (last->rep.failed || last->def.failed || last->plain.failed) {
        fm_buf_reset(&last->plain);
        chunk_fail(chunk, FM_ENOMEM);
    }
}

static void chunk_encode_indexes(struct pq_chunk *chunk, struct fm_buf *body)
{
    const uint32_t *indexes = (const uint32_t *)(const void *)chunk->values;
    uint32_t count = (uint32_t)(chunk->values_len / sizeof *indexes);
    uint32_t index_max = pq_index_max(indexes, count);
    if (count && index_max >= chunk->dictionary_count)
        chunk_fail(chunk, FM_EUSAGE);
    unsigned width = pq_bit_width(index_max);
    if (width >= CHUNK_ALIGN_MIN && chunk->choice.codec != CODEC_NONE)
        width = (width + 7) & ~7u;
    fm_buf_put_u8(body, (uint8_t)width);
    pq_hybrid_put_indexes(body, indexes, count, width);
}

static void chunk_encode_values(struct pq_chunk *chunk, struct fm_buf *body)
{
    const void *values = chunk->values;
    bool delta = chunk->choice.encoding == PQ_DELTA_BINARY_PACKED;
    switch (chunk->kind) {
    case PUT_BOOL:
        pq_pack_booleans(body, chunk->values, (uint32_t)chunk->values_len);
        return;
    case PUT_INDEX:
        chunk_encode_indexes(chunk, body);
        return;
    case PUT_BYTES_LENGTH:
        pq_delta_put_i32(body, (const int32_t *)chunk->lengths, chunk->length_count);
        break;
    case PUT_I32:
        if (!delta)
            break;
        pq_delta_put_i32(body, values, (uint32_t)(chunk->values_len / 4));
        return;
    case PUT_I64:
        if (!delta)
            break;
        pq_delta_put_i64(body, values, (uint32_t)(chunk->values_len / 8));
        return;
    default:
        break;
    }
    fm_buf_put(body, chunk->values, chunk->values_len);
}

/* Levels of one kind; a v1 page has their length in front.  Returns the bytes without it. */
static uint32_t chunk_encode_levels(struct pq_chunk *chunk, struct fm_buf *body, unsigned shift,
                                    unsigned level_max)
{
    if (level_max == 0)
        return 0;
    size_t prefix = chunk->page_version == 1 ? 4 : 0;
    size_t start = body->len + prefix;
    fm_buf_put_zeros(body, prefix);
    pq_hybrid_put_levels(body, chunk->levels, chunk->level_count, shift, pq_bit_width(level_max));
    if (body->failed)
        return 0;
    uint32_t len = (uint32_t)(body->len - start);
    if (prefix)
        fm_store_le32(body->ptr + start - prefix, len);
    return len;
}

/* body -> packed by the chunk's codec.  Leaves packed empty if the codec is NONE. */
static int chunk_compress(struct pq_chunk *chunk, struct fm_slice body, struct fm_buf *packed)
{
    size_t len;
    if (chunk->choice.codec == CODEC_NONE)
        return FM_OK;
    if (chunk->shared_encoder)
        return codec_encode(chunk->shared_encoder, body, packed, &len);
    FM_AUTO(codec_encoder) encoder = NULL;
    int rc = codec_encoder_new(&encoder, (enum codec)chunk->choice.codec, chunk->choice.level);
    return rc < 0 ? rc : codec_encode(encoder, body, packed, &len);
}

struct chunk_page {
    uint8_t type; /* enum pq_page_type */
    uint32_t entry_count, row_count, null_count;
    uint32_t rep_len, def_len; /* v2 */
    bool compressed;           /* v2 */
};

static void chunk_put_data_header(struct thrift_writer *thrift, const struct pq_chunk *chunk,
                                  const struct chunk_page *page)
{
    if (page->type == PQ_PAGE_DATA) {
        thrift_put_struct_field(thrift, 5);
        thrift_put_i32(thrift, 1, (int32_t)page->entry_count);
        thrift_put_i32(thrift, 2, chunk->choice.encoding);
        thrift_put_i32(thrift, 3, PQ_RLE);
        thrift_put_i32(thrift, 4, PQ_RLE);
    } else if (page->type == PQ_PAGE_DICTIONARY) {
        thrift_put_struct_field(thrift, 7);
        thrift_put_i32(thrift, 1, (int32_t)page->entry_count);
        thrift_put_i32(thrift, 2, PQ_PLAIN);
    } else {
        thrift_put_struct_field(thrift, 8);
        thrift_put_i32(thrift, 1, (int32_t)page->entry_count);
        thrift_put_i32(thrift, 2, (int32_t)page->null_count);
        thrift_put_i32(thrift, 3, (int32_t)page->row_count);
        thrift_put_i32(thrift, 4, chunk->choice.encoding);
        thrift_put_i32(thrift, 5, (int32_t)page->def_len);
        thrift_put_i32(thrift, 6, (int32_t)page->rep_len);
        thrift_put_bool(thrift, 7, page->compressed);
    }
    thrift_put_struct_end(thrift);
}

/* Header and stored body (two parts: levels that are never compressed, and the rest). */
static int chunk_put_page(const struct pq_chunk *chunk, const struct chunk_page *page,
                          struct fm_slice levels, struct fm_slice rest, size_t plain_len,
                          struct fm_buf *target)
{
    size_t stored_len = levels.len + rest.len;
    if (plain_len > CHUNK_PAGE_MAX || stored_len > CHUNK_PAGE_MAX)
        return FM_ELIMIT;
    uint32_t crc = codec_crc32(codec_crc32(0, levels), rest);
    struct thrift_writer thrift;
    thrift_writer_init(&thrift, target);
    thrift_put_struct_begin(&thrift);
    thrift_put_i32(&thrift, 1, page->type);
    thrift_put_i32(&thrift, 2, (int32_t)plain_len);
    thrift_put_i32(&thrift, 3, (int32_t)stored_len);
    thrift_put_i32(&thrift, 4, (int32_t)crc);
    chunk_put_data_header(&thrift, chunk, page);
    thrift_put_struct_end(&thrift);
    fm_buf_put_slice(target, levels);
    fm_buf_put_slice(target, rest);
    return target->failed ? FM_ENOMEM : FM_OK;
}

static int chunk_note_location(struct pq_chunk *chunk, size_t offset)
{
    if (chunk->location_count == chunk->location_cap) {
        uint32_t cap = chunk->location_cap ? chunk->location_cap * 2 : 4;
        struct pq_location *grown = realloc(chunk->locations, cap * sizeof *grown);
        if (!grown)
            return FM_ENOMEM;
        chunk->locations = grown;
        chunk->location_cap = cap;
    }
    chunk->locations[chunk->location_count++] = (struct pq_location){
        .offset = offset,
        .bytes = (uint32_t)(chunk->pages.len - offset),
        .first_row = chunk->row_count,
    };
    return FM_OK;
}

/* A v1 page as two frames: the repetition levels, which siblings have in common, are compressed
 * once for all of them.  A page of little else is one frame, and shared as a whole, unless its
 * levels are compressed already. */
static int chunk_compress_page(struct pq_chunk *chunk, const struct chunk_page *page,
                               struct fm_slice body, struct fm_buf *packed)
{
    size_t head = chunk->page_version == 1 ? page->rep_len : 0;
    if (!chunk->press || !chunk->shared_encoder || chunk->choice.codec != CODEC_ZSTD ||
        head < CHUNK_SHARED_MIN)
        return chunk_compress(chunk, body, packed);
    head += 4; /* its length in front */
    if (pq_press_knows(chunk->press, body) ||
        (body.len - head < CHUNK_ALONE_MIN &&
         !pq_press_knows(chunk->press, fm_slice(body.ptr, head))))
        head = body.len;
    int rc = pq_press_encode(chunk->press, fm_slice(body.ptr, head), packed);
    if (rc < 0 || head == body.len)
        return rc;
    return chunk_compress(chunk, fm_slice(body.ptr + head, body.len - head), packed);
}

/* Both kinds of levels, packed again only where they are not those of the last page. */
static void chunk_put_levels_of_page(struct pq_chunk *chunk, const struct chunk_facts *facts,
                                     struct chunk_page *page, struct fm_buf *body)
{
    const struct pq_press_levels *last = chunk->press ? &chunk->press->last : NULL;
    size_t prefix = chunk->page_version == 1 ? 4 : 0;
    if (facts->knows_rep) {
        fm_buf_put_slice(body, fm_buf_slice(&last->rep));
        page->rep_len = last->rep.len ? (uint32_t)(last->rep.len - prefix) : 0;
    } else {
        page->rep_len = chunk_encode_levels(chunk, body, 4, chunk->rep_max);
    }
    size_t rep_end = body->len;
    if (facts->knows_all) {
        fm_buf_put_slice(body, fm_buf_slice(&last->def));
        page->def_len = last->def.len ? (uint32_t)(last->def.len - prefix) : 0;
    } else {
        page->def_len = chunk_encode_levels(chunk, body, 0, chunk->def_max);
    }
    if (last && !body->failed)
        chunk_remember(chunk, facts, fm_slice(body->ptr, rep_end),
                       fm_slice(body->ptr + rep_end, body->len - rep_end));
}

/* The open page into body (press), then compressed (packed, press) behind the others. */
static int chunk_finish_page(struct pq_chunk *chunk, const struct chunk_facts *facts,
                             struct chunk_page *page, struct fm_buf *body, struct fm_buf *packed)
{
    chunk_put_levels_of_page(chunk, facts, page, body);
    chunk_encode_values(chunk, body);
    if (body->failed)
        return FM_ENOMEM;
    if (chunk->rc < 0)
        return chunk->rc;
    size_t level_len = chunk->page_version == 2 ? page->rep_len + page->def_len : 0;
    struct fm_slice levels = fm_slice(body->ptr, level_len);
    struct fm_slice rest = fm_slice(body->ptr + level_len, body->len - level_len);
    int rc = chunk_compress_page(chunk, page, rest, packed);
    if (rc < 0)
        return rc;
    /* Only a v2 page can say that compression did not pay. */
    page->compressed =
        chunk->choice.codec != CODEC_NONE && (chunk->page_version == 1 || packed->len < rest.len);
    if (page->compressed)
        rest = fm_buf_slice(packed);
    size_t start = chunk->pages.len;
    rc = chunk_put_page(chunk, page, levels, rest, body->len, &chunk->pages);
    if (rc == FM_OK)
        rc = chunk_note_location(chunk, start);
    if (rc == FM_OK)
        chunk->pages_plain_bytes += chunk->pages.len - start - rest.len - levels.len + body->len;
    return rc;
}

void pq_chunk_cut(struct pq_chunk *chunk, uint32_t rows)
{
    if (chunk->rc < 0)
        return;
    struct chunk_facts facts;
    chunk_recall(chunk, &facts);
    /* A page without rows, or one that starts inside a row, can crash readers: never write it. */
    if (rows == 0 || facts.row_count != rows || chunk->levels[0] >= 16 || facts.too_high) {
        chunk_fail(chunk, FM_EUSAGE);
        return;
    }
    struct chunk_page page = {
        .type = chunk->page_version == 1 ? PQ_PAGE_DATA : PQ_PAGE_DATA_V2,
        .entry_count = chunk->level_count,
        .row_count = rows,
        .null_count = chunk->level_count - facts.value_count,
    };
    int rc;
    if (chunk->press) {
        fm_buf_reset(&chunk->press->body);
        fm_buf_reset(&chunk->press->packed);
        rc = chunk_finish_page(chunk, &facts, &page, &chunk->press->body, &chunk->press->packed);
    } else {
        struct fm_buf body, packed;
        fm_buf_init(&body, SIZE_MAX / 2);
        fm_buf_init(&packed, SIZE_MAX / 2);
        rc = chunk_finish_page(chunk, &facts, &page, &body, &packed);
        fm_buf_fini(&body);
        fm_buf_fini(&packed);
    }
    if (rc < 0) {
        chunk_fail(chunk, rc);
        return;
    }
    chunk->entry_count += chunk->level_count;
    chunk->row_count += rows;
    chunk_empty_page(chunk);
}

int pq_chunk_put_dictionary(struct pq_chunk *chunk, struct fm_buf *target, uint64_t *plain_bytes)
{
    struct fm_buf packed;
    struct fm_slice body = fm_buf_slice(&chunk->dictionary);
    struct chunk_page page = {
        .type = PQ_PAGE_DICTIONARY,
        .entry_count = chunk->dictionary_count,
    };
    fm_buf_init(&packed, SIZE_MAX / 2);
    int rc = chunk_compress(chunk, body, &packed);
    size_t start = target->len;
    struct fm_slice stored = chunk->choice.codec == CODEC_NONE ? body : fm_buf_slice(&packed);
    if (rc == FM_OK)
        rc = chunk_put_page(chunk, &page, fm_slice(NULL, 0), stored, body.len, target);
    if (rc == FM_OK)
        *plain_bytes += target->len - start - stored.len + body.len;
    fm_buf_fini(&packed);
    return rc;
}
