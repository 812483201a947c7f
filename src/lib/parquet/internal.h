/* SPDX-License-Identifier: Apache-2.0 */
/* Shared inside parquet: encodings, page kinds, and what a chunk hands to the writer. */
#ifndef FERMATA_PARQUET_INTERNAL_H
#define FERMATA_PARQUET_INTERNAL_H

#include "fermata/parquet_put.h"
#include "fermata/thrift.h"

/* Numbers of parquet.thrift that only this module sees. */
enum pq_page_type {
    PQ_PAGE_DATA = 0,
    PQ_PAGE_INDEX = 1,
    PQ_PAGE_DICTIONARY = 2,
    PQ_PAGE_DATA_V2 = 3,
};
enum { PQ_PLAIN_DICTIONARY = 2 }; /* an old name for the same bytes as PQ_RLE_DICTIONARY */
#define PQ_CODEC_UNKNOWN    255u
#define PQ_LEVEL_MAX        15u   /* repetition and definition share a byte while a page is open */
#define PQ_DEPTH_MAX        32u   /* of a schema */
#define PQ_PATH_MAX         1024u /* bytes of a leaf's path */
#define PQ_DELTA_BLOCK      128u
#define PQ_DELTA_MINIBLOCKS 4u

/* CompressionCodec of parquet.thrift <-> enum codec. */
int pq_codec_to_wire(enum codec codec);
uint8_t pq_codec_from_wire(int64_t wire); /* PQ_CODEC_UNKNOWN: not one of ours */

/* ---- hybrid.c: runs and bit-packed groups ---- */

static inline unsigned pq_bit_width(uint64_t value_max)
{
    return value_max ? 64 - (unsigned)__builtin_clzll(value_max) : 0;
}
/* Appends (levels[i] >> shift) & 15, all below 2^width, width <= 4. */
void pq_hybrid_put_levels(struct fm_buf *buf, const uint8_t *levels, uint32_t count, unsigned shift,
                          unsigned width);
void pq_hybrid_put_indexes(struct fm_buf *buf, const uint32_t *indexes, uint32_t count,
                           unsigned width);
/* One bit per input byte (0 or 1), least significant first. */
void pq_pack_booleans(struct fm_buf *buf, const uint8_t *values, uint32_t count);
/* Fills count values; FM_EMALFORMED if input ends early or holds more.  width <= 8 and <= 32. */
FM_MUST int pq_hybrid_levels(struct fm_slice input, unsigned width, uint8_t *target,
                             uint32_t count);
/* How many of the levels (all below 128) are wanted; whether one is above level_max. */
uint32_t pq_levels_count(const uint8_t *levels, uint32_t count, uint8_t wanted, uint8_t level_max,
                         bool *ret_too_high);
FM_MUST int pq_hybrid_indexes(struct fm_slice input, unsigned width, uint32_t *target,
                              uint32_t count);

/* The largest, 0 of none. */
static inline uint32_t pq_index_max(const uint32_t *indexes, uint32_t count)
{
    uint32_t most[4] = {0}, i = 0; /* four at once: none waits for the one before */
    for (; count - i >= 4; i += 4)
        for (unsigned lane = 0; lane < 4; lane++)
            most[lane] = FM_MAX(most[lane], indexes[i + lane]);
    for (; i < count; i++)
        most[0] = FM_MAX(most[0], indexes[i]);
    return FM_MAX(FM_MAX(most[0], most[1]), FM_MAX(most[2], most[3]));
}
/* Whether all are below limit. */
bool pq_indexes_below(const uint32_t *indexes, uint32_t count, uint32_t limit);

/* ---- delta.c: DELTA_BINARY_PACKED ---- */

void pq_delta_put_i32(struct fm_buf *buf, const int32_t *values, uint32_t count);
void pq_delta_put_i64(struct fm_buf *buf, const int64_t *values, uint32_t count);
/* Exactly count values; ret_rest is what follows them. */
FM_MUST int pq_delta_i32(struct fm_slice input, int32_t *target, uint32_t count,
                         struct fm_slice *ret_rest);
FM_MUST int pq_delta_i64(struct fm_slice input, int64_t *target, uint32_t count,
                         struct fm_slice *ret_rest);

/* ---- press.c: what the pages of a thread are made in ---- */

#define PQ_PRESS_MEMOS 4u
struct pq_press {
    struct codec_encoder *encoder; /* owned; for what is copied many times */
    struct fm_buf body, packed;    /* of the page at hand */
    struct {
        struct fm_buf plain, packed;
    } memos[PQ_PRESS_MEMOS]; /* levels that were compressed last */
    unsigned memo_next;
    struct pq_press_levels {    /* of the page made last; plain empty: none */
        struct fm_buf plain;    /* rep << 4 | def */
        struct fm_buf rep, def; /* packed, with their lengths in front if the page is v1 */
        uint8_t rep_max, def_max, page_version;
        uint32_t row_count, value_count;
    } last;
};
/* Whether compressing these levels costs no more than a copy. */
bool pq_press_knows(const struct pq_press *press, struct fm_slice levels);
/* Appends levels compressed, if possible as it was done before. */
FM_MUST int pq_press_encode(struct pq_press *press, struct fm_slice levels, struct fm_buf *packed);

/* ---- chunk.c: a column chunk while it is written ---- */

struct pq_location {
    uint64_t offset; /* from the first data page of the chunk */
    uint32_t bytes;  /* header and body */
    uint64_t first_row;
};

struct pq_chunk {
    enum pq_type type;
    uint8_t rep_max, def_max, page_version;
    uint8_t kind; /* enum pq_put_kind: which put the values must come from */
    struct pq_choice choice;
    int rc; /* first failure; sticks */

    uint8_t *levels; /* owned; rep << 4 | def per entry of the open page */
    uint32_t level_count, level_cap;
    uint8_t *values; /* owned; bytes of the open page, form depends on kind */
    size_t values_len, values_cap;
    uint32_t *lengths; /* owned; DELTA_LENGTH_BYTE_ARRAY only */
    uint32_t length_count, length_cap;

    struct fm_buf dictionary; /* PLAIN body of the dictionary page */
    uint32_t dictionary_count;

    struct codec_encoder *shared_encoder; /* borrowed, or NULL */
    struct pq_press *press;               /* borrowed, or NULL */
    struct fm_buf pages;                  /* finished data pages with their headers */
    uint64_t pages_plain_bytes;           /* the same before compression */
    struct pq_location *locations;        /* owned */
    uint32_t location_count, location_cap;
    uint64_t entry_count, row_count; /* of finished pages */
};

/* Appends the dictionary page; adds its size before compression to *plain_bytes. */
FM_MUST int pq_chunk_put_dictionary(struct pq_chunk *chunk, struct fm_buf *target,
                                    uint64_t *plain_bytes);
/* Empty again, for the next row group; keeps the open page's memory. */
void pq_chunk_reset(struct pq_chunk *chunk);

#endif
