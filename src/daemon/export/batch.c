/* SPDX-License-Identifier: Apache-2.0 */
/* batch - what was read, the parts it is sent in, and the job that makes one part ready.
 *
 * Records joined are a request already; so a batch that goes to one upstream as a whole is sent as
 * it was read, compressed or not.  Only parts, of a record that is too large, of a batch that the
 * upstream found too large, or by trace, are put together anew. */
#include "internal.h"

#include "fermata/hash.h"

#define BATCH_OTLP_MAX (FM_MIB(128) + EXPORT_GRPC_PREFIX)
#define BATCH_IDLE_MAX FM_MIB(8) /* of memory kept between batches */
#define ZSTD_LEVEL     1         /* of the node's time; the wire is somebody else's */
#define GZIP_LEVEL     1

/* ---- shares ---- */

/* Rendezvous: of all upstreams the one that likes the trace best, so that one more or less moves
 * no other trace. */
uint32_t share_owner(struct fm_slice trace_id, uint32_t mask)
{
    uint64_t best = 0;
    uint32_t owner = 0;
    for (uint32_t i = 0; i < EXPORT_UPSTREAMS_MAX; i++) {
        uint64_t seed = UINT64_C(0x9e3779b97f4a7c15) * (i + 1);
        uint64_t state = seed;
        for (size_t k = 0; k < trace_id.len; k++)
            state = (state ^ trace_id.ptr[k]) * UINT64_C(0x100000001b3);
        uint64_t score = fm_random_next(&state) | 1;
        if ((mask >> i & 1) && score > best) {
            best = score;
            owner = i;
        }
    }
    return owner;
}

static bool share_has(const struct share *share, struct fm_slice trace_id)
{
    for (size_t i = 0; i < share->rule_count; i++) {
        if (share_owner(trace_id, share->rules[i].mask) != share->rules[i].owner)
            return false;
    }
    return true;
}

/* ---- batches ---- */

void batch_init(struct batch *batch)
{
    fm_buf_init(&batch->otlp, BATCH_OTLP_MAX);
    batch_reset(batch);
}

void batch_fini(struct batch *batch)
{
    fm_buf_fini(&batch->otlp);
}

void batch_reset(struct batch *batch)
{
    if (batch->otlp.cap > BATCH_IDLE_MAX)
        fm_buf_fini(&batch->otlp);
    fm_buf_reset(&batch->otlp);
    fm_buf_put_zeros(&batch->otlp, EXPORT_GRPC_PREFIX);
    batch->span_count = batch->done_spans = batch->failed_ns = 0;
    batch->share_count = 0;
    batch->part_first = 0;
}

/* ---- the job ---- */

void encoding_init(struct encoding *encoding)
{
    fm_buf_init(&encoding->sliced, BATCH_OTLP_MAX);
    fm_buf_init(&encoding->encoded, BATCH_OTLP_MAX + FM_MIB(1));
}

void encoding_fini(struct encoding *encoding)
{
    encoding->encoder = codec_encoder_free(encoding->encoder);
    fm_buf_fini(&encoding->sliced);
    fm_buf_fini(&encoding->encoded);
}

struct part_filter {
    const struct share *share;
    uint64_t first, end; /* of the share's spans */
    uint64_t seen, kept;
};

static bool part_keeps(void *self, const struct slice_span *span)
{
    struct part_filter *filter = self;
    if (!share_has(filter->share, span->trace_id))
        return false;
    uint64_t number = filter->seen++;
    bool is_kept = number >= filter->first && number < filter->end;
    filter->kept += is_kept;
    return is_kept;
}

/* The part's OTLP behind room for a prefix; the batch's own memory if it is all of it. */
static int encoding_slice(struct encoding *encoding, struct fm_slice *ret_otlp)
{
    const struct batch *batch = encoding->batch;
    const struct share *share = &batch->shares[batch->share_count - 1];
    if (!share->rule_count && !batch->part_first && batch->part_max >= batch->span_count) {
        encoding->span_count = batch->span_count;
        encoding->is_last = true;
        *ret_otlp = fm_buf_slice(&batch->otlp);
        return FM_OK;
    }
    struct part_filter filter = {share, batch->part_first, batch->part_first + batch->part_max, 0,
                                 0};
    fm_buf_reset(&encoding->sliced);
    fm_buf_put_zeros(&encoding->sliced, EXPORT_GRPC_PREFIX);
    struct fm_slice otlp =
        fm_slice(batch->otlp.ptr + EXPORT_GRPC_PREFIX, batch->otlp.len - EXPORT_GRPC_PREFIX);
    int rc = slice_otlp(otlp, part_keeps, &filter, &encoding->sliced);
    if (rc < 0)
        return rc;
    encoding->span_count = filter.kept;
    encoding->is_last = filter.seen <= filter.end;
    *ret_otlp = fm_buf_slice(&encoding->sliced);
    return FM_OK;
}

static int encoding_compress(struct encoding *encoding, struct fm_slice *otlp)
{
    struct fm_slice plain =
        fm_slice(otlp->ptr + EXPORT_GRPC_PREFIX, otlp->len - EXPORT_GRPC_PREFIX);
    size_t len;
    if (encoding->encoder && codec_encoder_codec(encoding->encoder) != encoding->codec)
        encoding->encoder = codec_encoder_free(encoding->encoder);
    int rc = FM_OK;
    if (!encoding->encoder)
        rc = codec_encoder_new(&encoding->encoder, encoding->codec,
                               encoding->codec == CODEC_ZSTD ? ZSTD_LEVEL : GZIP_LEVEL);
    if (rc < 0)
        return rc;
    fm_buf_reset(&encoding->encoded);
    fm_buf_put_zeros(&encoding->encoded, EXPORT_GRPC_PREFIX);
    rc = codec_encode(encoding->encoder, plain, &encoding->encoded, &len);
    if (rc == FM_OK)
        *otlp = fm_buf_slice(&encoding->encoded);
    return rc;
}

static int encoding_make(struct encoding *encoding)
{
    struct fm_slice otlp;
    int rc = encoding_slice(encoding, &otlp);
    if (rc == FM_OK && encoding->span_count && encoding->codec != CODEC_NONE)
        rc = encoding_compress(encoding, &otlp);
    if (rc < 0)
        return rc;
    if (encoding->protocol == EXPORT_HTTP) {
        encoding->body = fm_slice(otlp.ptr + EXPORT_GRPC_PREFIX, otlp.len - EXPORT_GRPC_PREFIX);
        return FM_OK;
    }
    uint8_t *prefix = (uint8_t *)(uintptr_t)otlp.ptr; /* one of our own buffers */
    prefix[0] = encoding->codec != CODEC_NONE;
    fm_store_be32(prefix + 1, (uint32_t)(otlp.len - EXPORT_GRPC_PREFIX));
    encoding->body = otlp;
    return FM_OK;
}

void encoding_work(struct pf_job *job)
{
    struct encoding *encoding = FM_CONTAINER(job, struct encoding, job);
    encoding->rc = encoding_make(encoding);
}
