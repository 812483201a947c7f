/* SPDX-License-Identifier: Apache-2.0 */
/* What pages read lately had in them, by their bytes.
 *
 * The columns below one list repeat its levels: the same compressed frame in front of their pages,
 * the same packed levels in it.  Whoever reads such columns page by page in turn decodes each only
 * once and copies it for the others.  Bytes are compared, nothing is believed: what is equal byte
 * for byte, and is to be read in the same way, has been decoded and checked already. */
#include "memo.h"

#include <stdlib.h>

/* Larger ones are not kept: memory stays bounded, and what is large is rarely repeated. */
#define MEMO_FRAME_MAX  FM_KIB(256)
#define MEMO_LEVELS_MAX FM_KIB(512)

int pq_memo_new(struct pq_memo **ret_memo)
{
    struct pq_memo *memo = calloc(1, sizeof *memo);
    if (!memo)
        return FM_ENOMEM;
    for (unsigned i = 0; i < PQ_MEMO_COUNT; i++) {
        fm_buf_init(&memo->frames[i].packed, MEMO_FRAME_MAX);
        fm_buf_init(&memo->frames[i].plain, MEMO_FRAME_MAX);
        fm_buf_init(&memo->levels[i].packed, MEMO_FRAME_MAX);
        fm_buf_init(&memo->levels[i].plain, MEMO_LEVELS_MAX);
    }
    *ret_memo = memo;
    return FM_OK;
}

struct pq_memo *pq_memo_free(struct pq_memo *memo)
{
    if (!memo)
        return NULL;
    for (unsigned i = 0; i < PQ_MEMO_COUNT; i++) {
        fm_buf_fini(&memo->frames[i].packed);
        fm_buf_fini(&memo->frames[i].plain);
        fm_buf_fini(&memo->levels[i].packed);
        fm_buf_fini(&memo->levels[i].plain);
    }
    codec_decoder_free(memo->decoder);
    free(memo);
    return NULL;
}

/* ---- levels ---- */

bool pq_memo_find_levels(struct pq_memo *memo, struct fm_slice packed,
                         const struct pq_memo_kind *kind, uint8_t *target, uint32_t *ret_equal,
                         uint64_t *ret_number)
{
    for (unsigned i = 0; i < PQ_MEMO_COUNT; i++) {
        struct pq_memo_levels *known = &memo->levels[i];
        if (!known->number || known->kind.count != kind->count ||
            known->kind.level_max != kind->level_max || known->kind.wanted != kind->wanted ||
            !fm_slice_equal(fm_buf_slice(&known->packed), packed))
            continue;
        known->used = ++memo->clock;
        memcpy(target, known->plain.ptr, kind->count);
        *ret_equal = known->equal_count;
        *ret_number = known->number;
        return true;
    }
    return false;
}

int pq_memo_keep_levels(struct pq_memo *memo, struct fm_slice packed,
                        const struct pq_memo_kind *kind, const uint8_t *levels,
                        uint32_t equal_count, uint64_t *ret_number)
{
    struct pq_memo_levels *oldest = &memo->levels[0];
    for (unsigned i = 1; i < PQ_MEMO_COUNT; i++)
        if (memo->levels[i].used < oldest->used)
            oldest = &memo->levels[i];
    *ret_number = 0;
    if (packed.len > MEMO_FRAME_MAX || kind->count > MEMO_LEVELS_MAX)
        return FM_OK;
    fm_buf_reset(&oldest->packed);
    fm_buf_reset(&oldest->plain);
    fm_buf_put_slice(&oldest->packed, packed);
    fm_buf_put(&oldest->plain, levels, kind->count);
    oldest->number = 0;
    if (oldest->packed.failed || oldest->plain.failed)
        return FM_ENOMEM;
    oldest->kind = *kind;
    oldest->equal_count = equal_count;
    oldest->used = ++memo->clock;
    *ret_number = oldest->number = memo->clock;
    return FM_OK;
}

/* ---- frames ---- */

static struct pq_memo_frame *memo_find_frame(struct pq_memo *memo, struct fm_slice packed)
{
    for (unsigned i = 0; i < PQ_MEMO_COUNT; i++)
        if (memo->frames[i].used && fm_slice_equal(fm_buf_slice(&memo->frames[i].packed), packed))
            return &memo->frames[i];
    return NULL;
}

static int memo_keep_frame(struct pq_memo *memo, struct fm_slice packed, struct fm_slice plain)
{
    struct pq_memo_frame *oldest = &memo->frames[0];
    for (unsigned i = 1; i < PQ_MEMO_COUNT; i++)
        if (memo->frames[i].used < oldest->used)
            oldest = &memo->frames[i];
    fm_buf_reset(&oldest->packed);
    fm_buf_reset(&oldest->plain);
    fm_buf_put_slice(&oldest->packed, packed);
    fm_buf_put_slice(&oldest->plain, plain);
    oldest->used = 0;
    if (oldest->packed.failed || oldest->plain.failed)
        return FM_ENOMEM;
    oldest->used = ++memo->clock;
    return FM_OK;
}

int pq_memo_inflate(struct pq_memo *memo, struct codec_decoder *decoder, struct fm_slice stored,
                    uint8_t *target, size_t target_len)
{
    size_t len, plain_len;
    if (codec_zstd_frame(stored, &len, &plain_len) != FM_OK || plain_len > target_len ||
        plain_len > MEMO_FRAME_MAX || len > MEMO_FRAME_MAX || len == 0)
        return codec_decoder_decode(decoder, stored, target, target_len);
    struct fm_slice first = fm_slice(stored.ptr, len);
    struct pq_memo_frame *known = memo_find_frame(memo, first);
    if (known && known->plain.len == plain_len) {
        known->used = ++memo->clock;
        if (plain_len)
            memcpy(target, known->plain.ptr, plain_len);
    } else {
        int rc = codec_decoder_decode(decoder, first, target, plain_len);
        if (rc == FM_OK)
            rc = memo_keep_frame(memo, first, fm_slice(target, plain_len));
        if (rc < 0)
            return rc;
    }
    if (len == stored.len)
        return plain_len == target_len ? FM_OK : FM_ECORRUPT;
    return codec_decoder_decode(decoder, fm_slice(stored.ptr + len, stored.len - len),
                                target + plain_len, target_len - plain_len);
}
