/* SPDX-License-Identifier: Apache-2.0 */
/* What the fuzzers of Jaeger's and Zipkin's encodings have in common: whatever is translated is
 * OTLP, stands behind what was there, and comes out the same in the other encoding. */
#ifndef TESTS_FUZZ_TRANSLATED_H
#define TESTS_FUZZ_TRANSLATED_H

#include "thrift_transcode.h"

#include "fermata/decode.h"
#include "fermata/jaeger.h"
#include "fermata/zipkin.h"

#define TRANSLATED_MEMORY_MAX FM_MIB(64)

typedef int translated_decode(struct fm_slice input, struct fm_arena *scratch,
                              struct fm_buf *target);

static inline int decode_jaeger_compact(struct fm_slice input, struct fm_arena *scratch,
                                        struct fm_buf *target)
{
    return jaeger_thrift_decode(input, THRIFT_COMPACT, scratch, target, NULL);
}

static inline int decode_jaeger_binary(struct fm_slice input, struct fm_arena *scratch,
                                       struct fm_buf *target)
{
    return jaeger_thrift_decode(input, THRIFT_BINARY_PROTOCOL, scratch, target, NULL);
}

static inline int decode_jaeger_datagram(struct fm_slice input, struct fm_arena *scratch,
                                         struct fm_buf *target)
{
    struct jaeger_client_stats stats;
    return jaeger_datagram_decode(input, scratch, target, &stats, NULL);
}

static inline int decode_jaeger_pb(struct fm_slice input, struct fm_arena *scratch,
                                   struct fm_buf *target)
{
    return jaeger_pb_decode(input, scratch, target, NULL);
}

static inline int decode_zipkin_json(struct fm_slice input, struct fm_arena *scratch,
                                     struct fm_buf *target)
{
    return zipkin_json_decode(input, scratch, target, NULL);
}

static inline int decode_zipkin_pb(struct fm_slice input, struct fm_arena *scratch,
                                   struct fm_buf *target)
{
    return zipkin_pb_decode(input, scratch, target, NULL);
}

static inline int decode_zipkin_binary(struct fm_slice input, struct fm_arena *scratch,
                                       struct fm_buf *target)
{
    return zipkin_thrift_decode(input, THRIFT_BINARY_PROTOCOL, scratch, target, NULL);
}

static inline int decode_zipkin_compact(struct fm_slice input, struct fm_arena *scratch,
                                        struct fm_buf *target)
{
    return zipkin_thrift_decode(input, THRIFT_COMPACT, scratch, target, NULL);
}

/* Into target, which is empty afterwards if that fails. */
static inline int translated_run(translated_decode *decode, struct fm_slice input,
                                 struct fm_buf *target)
{
    struct fm_arena scratch;
    struct decode_facts facts;
    fm_arena_init(&scratch, TRANSLATED_MEMORY_MAX);
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

/* Those that are refused for their ids count too. */
static inline uint32_t translated_span_count(struct fm_slice otlp)
{
    struct decode_facts facts;
    decode_facts_init(&facts);
    int rc = otlp_pb_check(otlp, &decode_limits_default, &facts, NULL);
    uint32_t count = rc == FM_OK ? facts.span_count + facts.refused_count : 0;
    decode_facts_fini(&facts);
    return count;
}

/* Both encodings say the same; type: what the input is, THRIFT_STRUCT or THRIFT_LIST. */
static inline void translated_compare(translated_decode *one, enum thrift_encoding encoding,
                                      translated_decode *other, uint8_t type, struct fm_slice input)
{
    struct fm_buf first, second, transcoded;
    fm_buf_init(&first, TRANSLATED_MEMORY_MAX);
    fm_buf_init(&second, TRANSLATED_MEMORY_MAX);
    fm_buf_init(&transcoded, TRANSLATED_MEMORY_MAX);
    if (translated_run(one, input, &first) == FM_OK) {
        FM_ASSERT(transcode_run(input, encoding, type, &transcoded) == FM_OK);
        FM_ASSERT(translated_run(other, fm_buf_slice(&transcoded), &second) == FM_OK);
        FM_ASSERT(fm_slice_equal(fm_buf_slice(&first), fm_buf_slice(&second)));
    }
    fm_buf_fini(&first);
    fm_buf_fini(&second);
    fm_buf_fini(&transcoded);
}

#endif
