/* SPDX-License-Identifier: Apache-2.0 */
/* seek - a row's share of a page's levels and indexes, without unpacking the page. */
#ifndef FERMATA_PARQUET_SEEK_H
#define FERMATA_PARQUET_SEEK_H

#include "internal.h"

/* Levels wider than this are not seen here. */
#define PQ_SEEK_WIDTH_MAX 4u

struct pq_seek_row {
    uint32_t begin, end; /* entries of the row; begin == count: the page has no such row */
    uint32_t row_count;  /* of the page */
    bool starts_row;     /* the page begins with a row */
};
/* rep: exactly count levels of width 1..4 bits, of which each 0 begins a row. */
FM_MUST int pq_seek_row(struct fm_slice rep, unsigned width, uint32_t count, uint32_t row,
                        struct pq_seek_row *ret_row);

/* Unpacks levels [begin, end) of count of width 1..4 bits; what follows is not looked at. */
FM_MUST int pq_seek_levels(struct fm_slice input, unsigned width, uint32_t count, uint32_t begin,
                           uint32_t end, uint8_t *target);
/* How many of the first end of count levels are level; with end == count, input must end there. */
FM_MUST int pq_seek_count(struct fm_slice input, unsigned width, uint32_t count, uint8_t level,
                          uint32_t end, uint32_t *ret_equal);

/* Dictionary indexes [begin, end) of at most count; the first byte is their width.  Not checked
 * against the dictionary. */
FM_MUST int pq_seek_indexes(struct fm_slice input, uint32_t count, uint32_t begin, uint32_t end,
                            uint32_t *target);

#endif
