/* SPDX-License-Identifier: Apache-2.0 */
/* memo - what pages read lately had in them.  Private. */
#ifndef FERMATA_PARQUET_MEMO_H
#define FERMATA_PARQUET_MEMO_H

#include "internal.h"

/* Seven siblings have seven kinds of definition levels at most, and one of repetition levels. */
#define PQ_MEMO_COUNT 12u

/* How packed levels are to be read. */
struct pq_memo_kind {
    uint32_t count;
    uint8_t level_max, wanted; /* those that are wanted are counted */
};

struct pq_memo {
    struct codec_decoder *decoder; /* owned; of ZSTD, for columns that share; NULL until needed */
    struct pq_memo_frame {
        struct fm_buf packed, plain;
        uint64_t used; /* 0: never */
    } frames[PQ_MEMO_COUNT];
    struct pq_memo_levels {
        struct fm_buf packed, plain;
        struct pq_memo_kind kind;
        uint32_t equal_count;
        uint64_t used, number; /* number 0: nothing */
    } levels[PQ_MEMO_COUNT];
    uint64_t clock;
};

/* Copies the levels to target if they are known. */
bool pq_memo_find_levels(struct pq_memo *memo, struct fm_slice packed,
                         const struct pq_memo_kind *kind, uint8_t *target, uint32_t *ret_equal,
                         uint64_t *ret_number);
/* Levels that were checked.  ret_number 0: they are too many to be kept. */
FM_MUST int pq_memo_keep_levels(struct pq_memo *memo, struct fm_slice packed,
                                const struct pq_memo_kind *kind, const uint8_t *levels,
                                uint32_t equal_count, uint64_t *ret_number);
/* As codec_decoder_decode for ZSTD, where the first of several frames may be known. */
FM_MUST int pq_memo_inflate(struct pq_memo *memo, struct codec_decoder *decoder,
                            struct fm_slice stored, uint8_t *target, size_t target_len);

#endif
