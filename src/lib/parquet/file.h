/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the reading half of parquet: an open file, page headers, value decoding. */
#ifndef FERMATA_PARQUET_FILE_H
#define FERMATA_PARQUET_FILE_H

#include "internal.h"

struct pq_file_chunk {
    uint64_t start, bytes; /* dictionary and data pages, inside the file */
    uint64_t entry_count, plain_bytes;
    uint64_t index_offset; /* offset index, inside the file; 0: none */
    uint32_t index_bytes;
    uint32_t encodings; /* bit set */
    uint8_t codec;      /* enum codec or PQ_CODEC_UNKNOWN */
};

struct pq_file_group {
    struct pq_file_chunk *chunks; /* leaf_count, in the arena */
    uint64_t row_count;
};

struct pq_file {
    struct fm_source source;
    struct pq_limits limits;
    struct fm_arena arena;
    struct pq_leaf *leaves; /* in the arena, paths too */
    size_t leaf_count;
    struct pq_file_group *groups; /* in the arena */
    size_t group_count;
    uint64_t row_count;
    uint64_t data_end; /* where the footer starts */
    uint32_t footer_bytes;
};

struct pq_page_header {
    uint8_t type; /* enum pq_page_type */
    bool has_crc;
    bool compressed; /* v2; true where the header does not say */
    uint32_t crc;
    uint32_t plain_bytes, stored_bytes; /* of the body */
    uint32_t header_bytes;
    uint32_t entry_count;
    uint8_t encoding, rep_encoding, def_encoding;
    uint32_t null_count, row_count, rep_bytes, def_bytes; /* v2 */
};
/* FM_EMALFORMED also if input ends inside the header. */
FM_MUST int pq_page_header_read(struct fm_slice input, struct pq_page_header *ret_header,
                                struct fm_why *why);

/* Where a data page starts. */
struct pq_place {
    uint64_t offset;
    uint64_t first_row;
    uint64_t entries_before; /* UINT64_MAX where an offset index told the place */
};

/* column.c: where everything of a chunk is.  The column is of no use afterwards. */
struct pq_survey {
    struct pq_place *places; /* owned by who asked */
    uint32_t place_count;
    bool has_dictionary;
    struct pq_page_header dictionary; /* its page is the chunk's first */
};
FM_MUST int pq_column_survey(struct pq_column *column, struct pq_survey *ret_survey,
                             struct fm_why *why);

/* guide.c: the bytes of the dictionary page, checked, if the guide keeps them and is of chunk. */
bool pq_guide_dictionary(const struct pq_guide *guide, const struct pq_file_chunk *chunk,
                         struct pq_page_header *ret_header, struct fm_slice *ret_body);

/* Takes a v1 page's levels (length in front) off *body; none if level_max is 0. */
FM_MUST int pq_page_take_levels(struct fm_slice *body, unsigned level_max,
                                struct fm_slice *ret_levels);

/* Bytes of one decoded value in pq_page, 0 if the pair is not supported. */
size_t pq_value_size(uint8_t type, uint8_t encoding);
/* Exactly count values fill input.  target: pq_value_size() bytes each, aligned for its type.
 * Byte arrays borrow from input. */
FM_MUST int pq_values_decode(uint8_t type, uint8_t encoding, struct fm_slice input, uint32_t count,
                             uint32_t dictionary_count, void *target, struct fm_why *why);

#endif
