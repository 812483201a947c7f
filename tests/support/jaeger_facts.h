/* SPDX-License-Identifier: Apache-2.0 */
/* The facts that jaeger_datagram_check gathers on its way are those that otlp_pb_check finds in
 * what was translated: the same outcome, bytes and numbers, whatever the datagram and the limits.
 */
#ifndef TESTS_SUPPORT_JAEGER_FACTS_H
#define TESTS_SUPPORT_JAEGER_FACTS_H

#include <stdlib.h>

#include "fermata/base.h"
#include "fermata/decode.h"
#include "fermata/jaeger.h"

/* The ordinary ones, ones that are soon reached, and such that the client's own values are above
 * or what the translation adds is. */
static const struct decode_limits jaeger_facts_limits[] = {
    {100000, 64, 1024, 2048}, {2, 64, 3, 256}, {3, 1, 2, 300}, {1000, 64, 1, 19}, {1000, 64, 0, 0},
};

static inline int jaeger_facts_order(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Sorted, each once; how many. */
static inline size_t jaeger_facts_keys(struct decode_facts *facts)
{
    size_t count = 0;
    if (!facts->trace_key_count)
        return 0;
    qsort(facts->trace_keys, facts->trace_key_count, sizeof(uint64_t), jaeger_facts_order);
    for (uint32_t i = 0; i < facts->trace_key_count; i++)
        if (!count || facts->trace_keys[count - 1] != facts->trace_keys[i])
            facts->trace_keys[count++] = facts->trace_keys[i];
    return count;
}

static inline bool jaeger_facts_equal(struct decode_facts *a, struct decode_facts *b)
{
    size_t count = jaeger_facts_keys(a);
    return a->span_count == b->span_count && a->refused_count == b->refused_count &&
           memcmp(a->refused, b->refused, sizeof a->refused) == 0 &&
           a->mended_count == b->mended_count && a->rewrite == b->rewrite &&
           a->start_min_ns == b->start_min_ns && a->end_max_ns == b->end_max_ns &&
           count == jaeger_facts_keys(b) &&
           (!count || memcmp(a->trace_keys, b->trace_keys, count * sizeof(uint64_t)) == 0);
}

static inline bool jaeger_facts_agree_within(struct fm_slice datagram,
                                             const struct decode_limits *limits)
{
    struct decode_facts facts, expected;
    struct jaeger_client_stats stats = {0}, expected_stats = {0};
    struct fm_buf target, expected_target;
    struct fm_arena scratch;
    fm_arena_init(&scratch, FM_MIB(64));
    fm_buf_init(&target, FM_MIB(64));
    fm_buf_init(&expected_target, FM_MIB(64));
    decode_facts_init(&facts);
    decode_facts_init(&expected);
    int expected_rc =
        jaeger_datagram_decode(datagram, &scratch, &expected_target, &expected_stats, NULL);
    if (expected_rc == FM_OK)
        expected_rc = otlp_pb_check(fm_buf_slice(&expected_target), limits, &expected, NULL);
    fm_buf_puts(&target, "kept");
    int rc = jaeger_datagram_check(datagram, limits, &scratch, &target, &facts, &stats, NULL);
    bool agree = rc == expected_rc && !target.failed && target.len >= 4;
    if (agree && rc < 0)
        agree = target.len == 4;
    if (agree && rc == FM_OK) {
        fm_buf_consume(&target, 4);
        agree = fm_slice_equal(fm_buf_slice(&target), fm_buf_slice(&expected_target)) &&
                jaeger_facts_equal(&facts, &expected) &&
                stats.is_present == expected_stats.is_present &&
                stats.client_key == expected_stats.client_key &&
                stats.sequence == expected_stats.sequence;
    }
    decode_facts_fini(&facts);
    decode_facts_fini(&expected);
    fm_buf_fini(&target);
    fm_buf_fini(&expected_target);
    fm_arena_fini(&scratch);
    return agree;
}

static inline bool jaeger_facts_agree(struct fm_slice datagram)
{
    for (size_t i = 0; i < FM_COUNT(jaeger_facts_limits); i++)
        if (!jaeger_facts_agree_within(datagram, &jaeger_facts_limits[i]))
            return false;
    return true;
}

/* A bare batch as the argument of a call. */
static inline bool jaeger_facts_agree_in_call(struct fm_slice batch, enum thrift_encoding encoding)
{
    struct fm_buf datagram;
    fm_buf_init(&datagram, FM_MIB(64));
    fm_buf_put_slice(&datagram, encoding == THRIFT_COMPACT
                                    ? FM_SLICE("\x82\x81\x00\x09"
                                               "emitBatch\x1c")
                                    : FM_SLICE("\x80\x01\x00\x01\x00\x00\x00\x09"
                                               "emitBatch\x00\x00\x00\x00\x0c\x00\x01"));
    fm_buf_put_slice(&datagram, batch);
    fm_buf_put_u8(&datagram, 0);
    bool agree = jaeger_facts_agree(fm_buf_slice(&datagram));
    fm_buf_fini(&datagram);
    return agree;
}

#endif
