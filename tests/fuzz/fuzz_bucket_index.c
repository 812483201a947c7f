/* SPDX-License-Identifier: Apache-2.0 */
/* Tempo's index of a tenant: a byte of flags, then its JSON, packed here, since no fuzzer guesses a
 * CRC; or, as flagged, bytes as they came from the bucket. */
#include "../../src/daemon/bucket/internal.h"
#include "fermata/codec.h"

#define FUZZ_NOW_NS UINT64_C(1795219800000000000) /* 2026-11-21T00:10:00Z */
#define FUZZ_AGE_NS (600 * FM_NS_PER_S)

enum {
    FUZZ_AS_IT_IS = 1, /* not packed here */
    FUZZ_STOP = 2,     /* the visitor has enough at the second block */
};

struct fuzz_visit {
    uint64_t count, count_max;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int fuzz_on_meta(void *self, const struct block_meta *meta)
{
    struct fuzz_visit *visit = self;
    FM_ASSERT(memchr(meta->tenant, '\0', sizeof meta->tenant));
    FM_ASSERT(meta->dedicated_count <= BLOCK_DEDICATED_MAX);
    FM_ASSERT(!meta->dedicated); /* nobody asks an index for them */
    return ++visit->count < visit->count_max ? FM_OK : FM_ELIMIT;
}

static int fuzz_read(struct fm_slice packed, struct fuzz_visit *visit)
{
    visit->count = 0;
    return bucket_index_read(packed, FUZZ_NOW_NS, FUZZ_AGE_NS, fuzz_on_meta, visit);
}

static void fuzz_index(struct fm_slice packed, bool stop)
{
    struct fuzz_visit visit = {.count_max = stop ? 2 : UINT64_MAX};
    int rc = fuzz_read(packed, &visit);
    uint64_t count = visit.count;

    FM_ASSERT(rc <= FM_OK || rc == FM_NONE);
    FM_ASSERT(rc != FM_NONE || !count); /* what is stale is not visited */
    FM_ASSERT(rc != FM_OK || count < visit.count_max);
    if (rc != FM_OK)
        return;
    rc = fuzz_read(packed, &visit);
    FM_ASSERT(rc == FM_OK && visit.count == count);
    rc = fuzz_read(fm_slice(packed.ptr, packed.len - 1), &visit);
    FM_ASSERT(rc < 0 && !visit.count); /* a cut one is none, not a shorter one */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct codec_encoder *encoder; /* dear to make */
    struct fm_buf packed;
    size_t packed_len;

    if (!size || (!encoder && codec_encoder_new(&encoder, CODEC_GZIP, 1) < 0))
        return 0;
    struct fm_slice text = fm_slice(data + 1, size - 1);
    fm_buf_init(&packed, FM_MIB(4));
    if (data[0] & FUZZ_AS_IT_IS)
        fuzz_index(text, data[0] & FUZZ_STOP);
    else if (codec_encode(encoder, text, &packed, &packed_len) == FM_OK)
        fuzz_index(fm_buf_slice(&packed), data[0] & FUZZ_STOP);
    fm_buf_fini(&packed);
    return 0;
}
