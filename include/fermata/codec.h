/* SPDX-License-Identifier: Apache-2.0 */
/* codec - compression, whole buffers and bounded streams.
 *
 * Homes of zlib, zstd and lz4.  Snappy is written here, since Debian's library is C++; it is held
 * against libsnappy in the tests.  Every decoder treats its input as hostile: output is bounded
 * before it is produced, declared sizes are checked against what is left.
 */
#ifndef FERMATA_CODEC_H
#define FERMATA_CODEC_H

#include "fermata/base.h"

enum codec {
    CODEC_NONE,
    CODEC_GZIP,    /* RFC 1952, several members allowed, junk behind the last refused */
    CODEC_DEFLATE, /* HTTP "deflate": the zlib format, RFC 1950 */
    CODEC_ZSTD,    /* RFC 8878, several frames allowed, window at most 8 MiB */
    CODEC_SNAPPY,  /* raw block */
    CODEC_LZ4,     /* raw block */
};

/* Content-Encoding or grpc-encoding name ("", identity, gzip, x-gzip, deflate, zstd, snappy);
 * FM_NONE if not one of ours. */
FM_MUST int codec_from_name(struct fm_slice name, enum codec *ret_codec);
const char *codec_name(enum codec codec);

/* Whole body of unknown size: appends to target, whose bytes_max bounds the output.
 * FM_ELIMIT: output would exceed target->bytes_max (or zstd's window the limit);
 * FM_EMALFORMED: input is corrupt, cut, or has junk behind it.  GZIP, DEFLATE, ZSTD, SNAPPY. */
FM_MUST int codec_inflate(enum codec codec, struct fm_slice input, struct fm_buf *target);

/* Page or record of known size: writes exactly target_len bytes, or FM_ECORRUPT.  All codecs. */
FM_MUST int codec_decode(enum codec codec, struct fm_slice input, uint8_t *target,
                         size_t target_len);

/* The same with a context that is kept between calls (zstd's is dear; the others have none). */
struct codec_decoder;
FM_MUST int codec_decoder_new(struct codec_decoder **ret_decoder, enum codec codec);
struct codec_decoder *codec_decoder_free(struct codec_decoder *decoder);
FM_DEFINE_AUTO(codec_decoder)
FM_MUST int codec_decoder_decode(struct codec_decoder *decoder, struct fm_slice input,
                                 uint8_t *target, size_t target_len);

/* The first frame of a ZSTD text that may hold several: its bytes, and those it says to decode to.
 * FM_NONE: not to be seen without decoding. */
FM_MUST int codec_zstd_frame(struct fm_slice input, size_t *ret_len, size_t *ret_plain_len);

/* Reusable compressor (contexts are dear); not shared between threads. */
struct codec_encoder;
FM_MUST int codec_encoder_new(struct codec_encoder **ret_encoder, enum codec codec, int level);
struct codec_encoder *codec_encoder_free(struct codec_encoder *encoder);
FM_DEFINE_AUTO(codec_encoder)
enum codec codec_encoder_codec(const struct codec_encoder *encoder);
size_t codec_bound(enum codec codec, size_t input_len);
/* Appends the compressed form of input to target; ret_len is what was added. */
FM_MUST int codec_encode(struct codec_encoder *encoder, struct fm_slice input,
                         struct fm_buf *target, size_t *ret_len);

/* CRC-32 (IEEE 802.3, as in gzip and Parquet pages); continue with the last result. */
uint32_t codec_crc32(uint32_t crc, struct fm_slice bytes);

#endif
