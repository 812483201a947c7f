/* SPDX-License-Identifier: Apache-2.0 */
/* What the fuzzers of Jaeger's encodings have in common: whatever is translated is OTLP, stands
 * behind what was there, comes out the same a second time, and the same in the other encoding. */
#ifndef TESTS_FUZZ_JAEGER_BODY_H
#define TESTS_FUZZ_JAEGER_BODY_H

#include "thrift_transcode.h"

#include "fermata/decode.h"
#include "fermata/jaeger.h"

#define JAEGER_BODY_MEMORY_MAX FM_MIB(64)

typedef int jaeger_body_decode(struct fm_slice input, struct fm_arena *scratch,
                               struct fm_buf *target);

static inline int jaeger_body_compact(struct fm_slice input, struct fm_arena *scratch,
                                      struct fm_buf *target)
{
    return jaeger_thrift_decode(input, THRIFT_COMPACT, scratch, target, NULL);
}

static inline int jaeger_body_binary(struct fm_slice input, struct fm_arena *scratch,
                                     struct fm_buf *target)
{
    return jaeger_thrift_decode(input, THRIFT_BINARY_PROTOCOL, scratch, target, NULL);
}

static inline int jaeger_body_datagram(struct fm_slice input, struct fm_arena *scratch,
                                       struct fm_buf *target)
{
    struct jaeger_client_stats stats;
    return jaeger_datagram_decode(input, scratch, target, &stats, NULL);
}

static inline int jaeger_body_pb(struct fm_slice input, struct fm_arena *scratch,
                                 struct fm_buf *target)
{
    return jaeger_pb_decode(input, scratch, target, NULL);
}

/* Into target, which is empty afterwards if that fails. */
static inline int jaeger_body_run(jaeger_body_decode *decode, struct fm_slice input,
                                  struct fm_buf *target)
{
    struct fm_arena scratch;
    struct decode_facts facts;
    fm_arena_init(&scratch, JAEGER_BODY_MEMORY_MAX);
    decode_facts_init(&facts);
    fm_buf_puts(target, "kept");
    int rc = decode(input, &scratch, target);
    FM_ASSERT(rc <= 0 && target->len >= 4 && memcmp(target->ptr, "kept", 4) == 0);
    FM_ASSERT(!target->failed && (rc == FM_OK || target->len == 4));
    fm_buf_consume(target, 4);
    if (rc == FM_OK)
        FM_ASSERT(otlp_pb_check(fm_buf_slice(target), &decode_limits_default, &facts, NULL) !=
                  FM_EMALFORMED);
    decode_facts_fini(&facts);
    fm_arena_fini(&scratch);
    return rc;
}

/* Both encodings say the same. */
static inline void jaeger_body_compare(jaeger_body_decode *one, enum thrift_encoding encoding,
                                       jaeger_body_decode *other, struct fm_slice input)
{
    struct fm_buf first, second, transcoded;
    fm_buf_init(&first, JAEGER_BODY_MEMORY_MAX);
    fm_buf_init(&second, JAEGER_BODY_MEMORY_MAX);
    fm_buf_init(&transcoded, JAEGER_BODY_MEMORY_MAX);
    if (jaeger_body_run(one, input, &first) == FM_OK) {
        FM_ASSERT(transcode_run(input, encoding, &transcoded) == FM_OK);
        FM_ASSERT(jaeger_body_run(other, fm_buf_slice(&transcoded), &second) == FM_OK);
        FM_ASSERT(fm_slice_equal(fm_buf_slice(&first), fm_buf_slice(&second)));
    }
    fm_buf_fini(&first);
    fm_buf_fini(&second);
    fm_buf_fini(&transcoded);
}

#endif
