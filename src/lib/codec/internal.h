/* SPDX-License-Identifier: Apache-2.0 */
/* Shared inside codec: the one-format halves behind codec.h. */
#ifndef FERMATA_CODEC_INTERNAL_H
#define FERMATA_CODEC_INTERNAL_H

#include "fermata/codec.h"

#include <zstd.h>

/* Snappy, raw block format. */
#define SNAPPY_TABLE_LEN 16384u /* uint16_t positions inside one 64 KiB block */
#define SNAPPY_SLACK     16u    /* the encoder may write this much past its output */

size_t snappy_bound(size_t input_len);
/* target holds snappy_bound(input.len) + SNAPPY_SLACK bytes; returns the bytes used. */
size_t snappy_encode(struct fm_slice input, uint8_t *target, uint16_t *table);
/* Declared length, and the bytes behind it; FM_EMALFORMED if no block of input.len can reach it. */
FM_MUST int snappy_length(struct fm_slice input, size_t *ret_len, struct fm_slice *ret_elements);
/* Elements only (without the length); fills exactly target_len bytes or FM_EMALFORMED. */
FM_MUST int snappy_decode(struct fm_slice elements, uint8_t *target, size_t target_len);

/* Streams: append to target until the input ends; see codec_inflate(). */
FM_MUST int zlib_inflate(enum codec codec, struct fm_slice input, struct fm_buf *target);
FM_MUST int zstd_inflate(struct fm_slice input, struct fm_buf *target);
FM_MUST int zstd_decode(ZSTD_DCtx *context, struct fm_slice input, uint8_t *target,
                        size_t target_len);

#endif
