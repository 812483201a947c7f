/* SPDX-License-Identifier: Apache-2.0 */
/* zlib and zstd as streams, so that a bound on the output stops a bomb where it explodes and not
 * after it did.  Both append to a fm_buf; a fixed target is a buf that is full at its limit. */
#include "internal.h"

#include <limits.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#define STREAM_STEP         FM_KIB(16)
#define ZSTD_WINDOW_LOG_MAX 23 /* 8 MiB, what RFC 8878 asks every decoder to support */

/* Room for more output: 0 bytes at the limit, FM_ENOMEM without memory. */
static int stream_room(struct fm_buf *target, size_t *ret_len)
{
    if (target->len == target->cap && target->cap < target->bytes_max) {
        size_t wanted = FM_MIN(STREAM_STEP, target->bytes_max - target->len);
        if (!fm_buf_room(target, wanted))
            return FM_ENOMEM;
    }
    *ret_len = FM_MIN(target->cap, target->bytes_max) - target->len;
    return FM_OK;
}

/* Runs z until its input is used up.  One byte of spare room tells "full" from "too much". */
static int zlib_run(z_stream *z, bool members, struct fm_slice input, struct fm_buf *target)
{
    for (;;) {
        uint8_t spare;
        size_t room;
        int rc = stream_room(target, &room);
        if (rc < 0)
            return rc;
        room = FM_MIN(room, (size_t)UINT_MAX);
        z->next_out = room ? target->ptr + target->len : &spare;
        z->avail_out = room ? (uInt)room : 1;
        z->next_in = (Bytef *)(uintptr_t)input.ptr;
        z->avail_in = (uInt)FM_MIN(input.len, (size_t)UINT_MAX);
        uInt avail_out = z->avail_out, avail_in = z->avail_in;
        int status = inflate(z, Z_NO_FLUSH);
        size_t used = avail_in - z->avail_in, made = avail_out - z->avail_out;
        input.ptr += used;
        input.len -= used;
        if (room == 0 && made)
            return FM_ELIMIT;
        target->len += room ? made : 0;
        if (status == Z_MEM_ERROR)
            return FM_ENOMEM;
        if (status == Z_STREAM_END) {
            if (input.len == 0)
                return FM_OK;
            if (!members || inflateReset(z) != Z_OK)
                return FM_EMALFORMED;
        } else if (status != Z_OK || (used == 0 && made == 0)) {
            return FM_EMALFORMED;
        }
    }
}

int zlib_inflate(enum codec codec, struct fm_slice input, struct fm_buf *target)
{
    z_stream z = {0};
    size_t len_before = target->len;
    if (inflateInit2(&z, codec == CODEC_GZIP ? MAX_WBITS + 16 : MAX_WBITS) != Z_OK)
        return FM_ENOMEM;
    int rc = zlib_run(&z, codec == CODEC_GZIP, input, target);
    (void)inflateEnd(&z); /* frees only; nothing to report */
    if (rc < 0)
        target->len = len_before;
    return rc;
}

static int zstd_failure(size_t status)
{
    switch (ZSTD_getErrorCode(status)) {
    case ZSTD_error_memory_allocation:
        return FM_ENOMEM;
    case ZSTD_error_frameParameter_windowTooLarge:
        return FM_ELIMIT;
    default:
        return FM_EMALFORMED;
    }
}

static int zstd_run(ZSTD_DStream *stream, struct fm_slice input, struct fm_buf *target)
{
    ZSTD_inBuffer in = {input.ptr, input.len, 0};
    for (;;) {
        uint8_t spare;
        size_t room;
        int rc = stream_room(target, &room);
        if (rc < 0)
            return rc;
        ZSTD_outBuffer out = {room ? target->ptr + target->len : &spare, room ? room : 1, 0};
        size_t used = in.pos;
        size_t status = ZSTD_decompressStream(stream, &out, &in);
        if (ZSTD_isError(status))
            return zstd_failure(status);
        if (room == 0 && out.pos)
            return FM_ELIMIT;
        target->len += room ? out.pos : 0;
        if (status == 0 && in.pos == in.size)
            return FM_OK; /* a frame ended with the input; otherwise the next frame follows */
        if (status != 0 && in.pos == used && out.pos == 0)
            return FM_EMALFORMED; /* cut */
    }
}

int zstd_inflate(struct fm_slice input, struct fm_buf *target)
{
    if (input.len == 0)
        return FM_EMALFORMED;
    size_t len_before = target->len;
    ZSTD_DStream *stream = ZSTD_createDStream();
    if (!stream)
        return FM_ENOMEM;
    int rc = FM_ENOMEM;
    if (!ZSTD_isError(ZSTD_DCtx_setParameter(stream, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX)))
        rc = zstd_run(stream, input, target);
    (void)ZSTD_freeDStream(stream); /* frees only */
    if (rc < 0)
        target->len = len_before;
    return rc;
}

int codec_zstd_frame(struct fm_slice input, size_t *ret_len, size_t *ret_plain_len)
{
    size_t len = ZSTD_findFrameCompressedSize(input.ptr, input.len);
    if (ZSTD_isError(len) || len > input.len)
        return FM_NONE;
    unsigned long long plain_len = ZSTD_getFrameContentSize(input.ptr, len);
    if (plain_len == ZSTD_CONTENTSIZE_UNKNOWN || plain_len == ZSTD_CONTENTSIZE_ERROR ||
        plain_len > SIZE_MAX)
        return FM_NONE;
    *ret_len = len;
    *ret_plain_len = (size_t)plain_len;
    return FM_OK;
}

int zstd_decode(ZSTD_DCtx *context, struct fm_slice input, uint8_t *target, size_t target_len)
{
    size_t len = ZSTD_decompressDCtx(context, target, target_len, input.ptr, input.len);
    if (ZSTD_isError(len))
        return ZSTD_getErrorCode(len) == ZSTD_error_memory_allocation ? FM_ENOMEM : FM_ECORRUPT;
    return len == target_len ? FM_OK : FM_ECORRUPT;
}
