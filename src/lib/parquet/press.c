/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that chunks of one thread share while they make pages, and compressed levels.
 *
 * Columns below the same list have the same repetition levels, so the bytes of one column's levels
 * are mostly those of the column before.  They are compared, not trusted: a chunk need not know
 * who its siblings are. */
#include "internal.h"

#include "fermata/bytes.h"

#include <stdlib.h>

/* Of ZSTD, for what is compressed once and copied many times.  Measured on a block: 4 instead of 3
 * saves 0.1 bytes a span for nothing, 5 saves 0.4 more and costs 3 % of finishing it. */
#define PRESS_LEVEL 4

int pq_press_new(struct pq_press **ret_press)
{
    struct pq_press *press = calloc(1, sizeof *press);
    if (!press)
        return FM_ENOMEM;
    fm_buf_init(&press->body, SIZE_MAX / 2);
    fm_buf_init(&press->packed, SIZE_MAX / 2);
    for (unsigned i = 0; i < PQ_PRESS_MEMOS; i++) {
        fm_buf_init(&press->memos[i].plain, SIZE_MAX / 2);
        fm_buf_init(&press->memos[i].packed, SIZE_MAX / 2);
    }
    fm_buf_init(&press->last.plain, SIZE_MAX / 2);
    fm_buf_init(&press->last.rep, SIZE_MAX / 2);
    fm_buf_init(&press->last.def, SIZE_MAX / 2);
    int rc = codec_encoder_new(&press->encoder, CODEC_ZSTD, PRESS_LEVEL);
    if (rc < 0) {
        (void)pq_press_free(press);
        return rc;
    }
    *ret_press = press;
    return FM_OK;
}

struct pq_press *pq_press_free(struct pq_press *press)
{
    if (!press)
        return NULL;
    (void)codec_encoder_free(press->encoder);
    fm_buf_fini(&press->last.plain);
    fm_buf_fini(&press->last.rep);
    fm_buf_fini(&press->last.def);
    fm_buf_fini(&press->body);
    fm_buf_fini(&press->packed);
    for (unsigned i = 0; i < PQ_PRESS_MEMOS; i++) {
        fm_buf_fini(&press->memos[i].plain);
        fm_buf_fini(&press->memos[i].packed);
    }
    free(press);
    return NULL;
}

/* Place among the memos, PQ_PRESS_MEMOS: nowhere. */
static unsigned press_find(const struct pq_press *press, struct fm_slice levels)
{
    unsigned at = 0;
    while (at < PQ_PRESS_MEMOS && !fm_slice_equal(fm_buf_slice(&press->memos[at].plain), levels))
        at++;
    return at;
}

bool pq_press_knows(const struct pq_press *press, struct fm_slice levels)
{
    return press_find(press, levels) < PQ_PRESS_MEMOS;
}

int pq_press_encode(struct pq_press *press, struct fm_slice levels, struct fm_buf *packed)
{
    unsigned at = press_find(press, levels);
    if (at == PQ_PRESS_MEMOS) {
        size_t len;
        at = press->memo_next++ % PQ_PRESS_MEMOS;
        struct fm_buf *plain = &press->memos[at].plain, *memo = &press->memos[at].packed;
        fm_buf_reset(plain);
        fm_buf_reset(memo);
        int rc = codec_encode(press->encoder, levels, memo, &len);
        if (rc < 0)
            return rc;
        fm_buf_put_slice(plain, levels);
        if (plain->failed) {
            fm_buf_reset(plain);
            return FM_ENOMEM;
        }
    }
    fm_buf_put_slice(packed, fm_buf_slice(&press->memos[at].packed));
    return packed->failed ? FM_ENOMEM : FM_OK;
}
