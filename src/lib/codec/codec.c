/* SPDX-License-Identifier: Apache-2.0 */
/* Names, dispatch and the reusable encoder.  The formats themselves: snappy.c, stream.c. */
#include "internal.h"

#include <limits.h>
#include <lz4.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

static const char *const codec_names[] = {
    [CODEC_NONE] = "identity", [CODEC_GZIP] = "gzip",     [CODEC_DEFLATE] = "deflate",
    [CODEC_ZSTD] = "zstd",     [CODEC_SNAPPY] = "snappy", [CODEC_LZ4] = "lz4",
};

int codec_from_name(struct fm_slice name, enum codec *ret_codec)
{
    if (name.len == 0) {
        *ret_codec = CODEC_NONE;
        return FM_OK;
    }
    for (unsigned i = 0; i < FM_COUNT(codec_names); i++) {
        if (fm_slice_equal_nocase(name, codec_names[i]) && i != CODEC_LZ4) {
            *ret_codec = (enum codec)i;
            return FM_OK;
        }
    }
    if (!fm_slice_equal_nocase(name, "x-gzip")) /* RFC 9110 8.4.1.3: the same as gzip */
        return FM_NONE;
    *ret_codec = CODEC_GZIP;
    return FM_OK;
}

const char *codec_name(enum codec codec)
{
    return (unsigned)codec < FM_COUNT(codec_names) ? codec_names[codec] : "unknown";
}

static int codec_inflate_snappy(struct fm_slice input, struct fm_buf *target)
{
    size_t len;
    struct fm_slice elements;
    int rc = snappy_length(input, &len, &elements);
    if (rc < 0)
        return rc;
    if (len > target->bytes_max || target->len > target->bytes_max - len)
        return FM_ELIMIT;
    uint8_t *room = fm_buf_room(target, len);
    if (!room)
        return FM_ENOMEM;
    rc = snappy_decode(elements, room, len);
    if (rc == FM_OK)
        target->len += len;
    return rc;
}

int codec_inflate(enum codec codec, struct fm_slice input, struct fm_buf *target)
{
    switch (codec) {
    case CODEC_NONE:
        if (input.len > target->bytes_max || target->len > target->bytes_max - input.len)
            return FM_ELIMIT;
        fm_buf_put_slice(target, input);
        return target->failed ? FM_ENOMEM : FM_OK;
    case CODEC_GZIP:
    case CODEC_DEFLATE:
        return zlib_inflate(codec, input, target);
    case CODEC_ZSTD:
        return zstd_inflate(input, target);
    case CODEC_SNAPPY:
        return codec_inflate_snappy(input, target);
    case CODEC_LZ4: /* the raw block does not carry its length */
        break;
    }
    return FM_EUNSUPPORTED;
}

static int codec_decode_snappy(struct fm_slice input, uint8_t *target, size_t target_len)
{
    size_t len;
    struct fm_slice elements;
    if (snappy_length(input, &len, &elements) < 0 || len != target_len)
        return FM_ECORRUPT;
    return snappy_decode(elements, target, target_len) < 0 ? FM_ECORRUPT : FM_OK;
}

static int codec_decode_zlib(enum codec codec, struct fm_slice input, uint8_t *target,
                             size_t target_len)
{
    struct fm_buf fixed = {.ptr = target, .cap = target_len, .bytes_max = target_len};
    int rc = zlib_inflate(codec, input, &fixed);
    if (rc < 0)
        return rc == FM_ENOMEM ? rc : FM_ECORRUPT;
    return fixed.len == target_len ? FM_OK : FM_ECORRUPT;
}

static int codec_decode_zstd(struct fm_slice input, uint8_t *target, size_t target_len)
{
    ZSTD_DCtx *context = ZSTD_createDCtx();
    if (!context)
        return FM_ENOMEM;
    int rc = zstd_decode(context, input, target, target_len);
    (void)ZSTD_freeDCtx(context); /* frees only */
    return rc;
}

int codec_decode(enum codec codec, struct fm_slice input, uint8_t *target, size_t target_len)
{
    switch (codec) {
    case CODEC_NONE:
        if (input.len != target_len)
            return FM_ECORRUPT;
        if (target_len)
            memcpy(target, input.ptr, target_len);
        return FM_OK;
    case CODEC_GZIP:
    case CODEC_DEFLATE:
        return codec_decode_zlib(codec, input, target, target_len);
    case CODEC_ZSTD:
        return codec_decode_zstd(input, target, target_len);
    case CODEC_SNAPPY:
        return codec_decode_snappy(input, target, target_len);
    case CODEC_LZ4:
        if (input.len > INT_MAX || target_len > INT_MAX)
            return FM_ECORRUPT;
        int len = LZ4_decompress_safe((const char *)input.ptr, (char *)target, (int)input.len,
                                      (int)target_len);
        return len >= 0 && (size_t)len == target_len ? FM_OK : FM_ECORRUPT;
    }
    return FM_EUNSUPPORTED;
}

struct codec_decoder {
    enum codec codec;
    ZSTD_DCtx *zstd; /* owned */
};

int codec_decoder_new(struct codec_decoder **ret_decoder, enum codec codec)
{
    FM_AUTO(codec_decoder) decoder = calloc(1, sizeof *decoder);
    if (!decoder)
        return FM_ENOMEM;
    decoder->codec = codec;
    if (codec == CODEC_ZSTD && !(decoder->zstd = ZSTD_createDCtx()))
        return FM_ENOMEM;
    *ret_decoder = fm_take(decoder);
    return FM_OK;
}

struct codec_decoder *codec_decoder_free(struct codec_decoder *decoder)
{
    if (!decoder)
        return NULL;
    (void)ZSTD_freeDCtx(decoder->zstd); /* frees only */
    free(decoder);
    return NULL;
}

int codec_decoder_decode(struct codec_decoder *decoder, struct fm_slice input, uint8_t *target,
                         size_t target_len)
{
    if (decoder->codec != CODEC_ZSTD)
        return codec_decode(decoder->codec, input, target, target_len);
    return zstd_decode(decoder->zstd, input, target, target_len);
}

struct codec_encoder {
    enum codec codec;
    int level;
    ZSTD_CCtx *zstd;        /* owned */
    z_stream zlib;          /* GZIP, DEFLATE */
    void *lz4;              /* owned, LZ4_sizeofState() bytes */
    uint16_t *snappy_table; /* owned */
};

static int codec_encoder_prepare(struct codec_encoder *encoder)
{
    switch (encoder->codec) {
    case CODEC_NONE:
        return FM_OK;
    case CODEC_GZIP:
    case CODEC_DEFLATE: {
        int level = encoder->level ? encoder->level : Z_DEFAULT_COMPRESSION;
        int window_bits = encoder->codec == CODEC_GZIP ? MAX_WBITS + 16 : MAX_WBITS;
        int status =
            deflateInit2(&encoder->zlib, level, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY);
        return status == Z_OK ? FM_OK : status == Z_MEM_ERROR ? FM_ENOMEM : FM_EUSAGE;
    }
    case CODEC_ZSTD:
        encoder->zstd = ZSTD_createCCtx();
        return encoder->zstd ? FM_OK : FM_ENOMEM;
    case CODEC_SNAPPY:
        encoder->snappy_table = malloc(SNAPPY_TABLE_LEN * sizeof *encoder->snappy_table);
        return encoder->snappy_table ? FM_OK : FM_ENOMEM;
    case CODEC_LZ4:
        encoder->lz4 = malloc((size_t)LZ4_sizeofState());
        return encoder->lz4 ? FM_OK : FM_ENOMEM;
    }
    return FM_EUNSUPPORTED;
}

int codec_encoder_new(struct codec_encoder **ret_encoder, enum codec codec, int level)
{
    FM_AUTO(codec_encoder) encoder = calloc(1, sizeof *encoder);
    if (!encoder)
        return FM_ENOMEM;
    encoder->codec = codec;
    encoder->level = level;
    int rc = codec_encoder_prepare(encoder);
    if (rc < 0)
        return rc;
    *ret_encoder = fm_take(encoder);
    return FM_OK;
}

struct codec_encoder *codec_encoder_free(struct codec_encoder *encoder)
{
    if (!encoder)
        return NULL;
    if (encoder->zlib.state)
        (void)deflateEnd(&encoder->zlib); /* frees only */
    (void)ZSTD_freeCCtx(encoder->zstd);   /* frees only */
    free(encoder->lz4);
    free(encoder->snappy_table);
    free(encoder);
    return NULL;
}

enum codec codec_encoder_codec(const struct codec_encoder *encoder)
{
    return encoder->codec;
}

size_t codec_bound(enum codec codec, size_t input_len)
{
    switch (codec) {
    case CODEC_NONE:
        return input_len;
    case CODEC_GZIP:
    case CODEC_DEFLATE: /* stored blocks of 16 KiB at worst, plus header and trailer */
        return input_len + input_len / 1000 + 64;
    case CODEC_ZSTD:
        return ZSTD_compressBound(input_len);
    case CODEC_SNAPPY:
        return snappy_bound(input_len);
    case CODEC_LZ4:
        return input_len + input_len / 255 + 16;
    }
    return input_len;
}

static int codec_encode_zlib(struct codec_encoder *encoder, struct fm_slice input, uint8_t *target,
                             size_t room, size_t *ret_len)
{
    z_stream *z = &encoder->zlib;
    if (input.len > UINT_MAX || room > UINT_MAX)
        return FM_ELIMIT;
    if (deflateReset(z) != Z_OK)
        return FM_EUSAGE;
    z->next_in = (Bytef *)(uintptr_t)input.ptr;
    z->avail_in = (uInt)input.len;
    z->next_out = target;
    z->avail_out = (uInt)room;
    if (deflate(z, Z_FINISH) != Z_STREAM_END)
        return FM_ELIMIT;
    *ret_len = room - z->avail_out;
    return FM_OK;
}

static int codec_encode_into(struct codec_encoder *encoder, struct fm_slice input, uint8_t *target,
                             size_t room, size_t *ret_len)
{
    size_t len;
    switch (encoder->codec) {
    case CODEC_NONE:
        if (input.len)
            memcpy(target, input.ptr, input.len);
        *ret_len = input.len;
        return FM_OK;
    case CODEC_GZIP:
    case CODEC_DEFLATE:
        return codec_encode_zlib(encoder, input, target, room, ret_len);
    case CODEC_ZSTD:
        len = ZSTD_compressCCtx(encoder->zstd, target, room, input.ptr, input.len, encoder->level);
        if (ZSTD_isError(len))
            return FM_ENOMEM; /* room is the bound: nothing else can be missing */
        *ret_len = len;
        return FM_OK;
    case CODEC_SNAPPY:
        *ret_len = snappy_encode(input, target, encoder->snappy_table);
        return FM_OK;
    case CODEC_LZ4: {
        int made = LZ4_compress_fast_extState(encoder->lz4, (const char *)input.ptr, (char *)target,
                                              (int)input.len, (int)FM_MIN(room, (size_t)INT_MAX),
                                              FM_MAX(encoder->level, 1));
        if (made <= 0)
            return FM_ELIMIT;
        *ret_len = (size_t)made;
        return FM_OK;
    }
    }
    return FM_EUNSUPPORTED;
}

int codec_encode(struct codec_encoder *encoder, struct fm_slice input, struct fm_buf *target,
                 size_t *ret_len)
{
    if (encoder->codec == CODEC_LZ4 && input.len > LZ4_MAX_INPUT_SIZE)
        return FM_ELIMIT;
    if (encoder->codec == CODEC_SNAPPY && input.len > UINT32_MAX)
        return FM_ELIMIT;
    size_t bound = codec_bound(encoder->codec, input.len);
    size_t slack = encoder->codec == CODEC_SNAPPY ? SNAPPY_SLACK : 0;
    uint8_t *room = fm_buf_room(target, bound + slack);
    if (!room)
        return target->len + bound + slack > target->bytes_max ? FM_ELIMIT : FM_ENOMEM;
    size_t len;
    int rc = codec_encode_into(encoder, input, room, bound, &len);
    if (rc < 0)
        return rc;
    target->len += len;
    *ret_len = len;
    return FM_OK;
}
