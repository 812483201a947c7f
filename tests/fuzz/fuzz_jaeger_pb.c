/* SPDX-License-Identifier: Apache-2.0 */
/* A PostSpansRequest; two of them joined are one, with all spans of both. */
#include "jaeger_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t fuzz_span_count(struct fm_slice otlp)
{
    struct decode_facts facts;
    decode_facts_init(&facts);
    int rc = otlp_pb_check(otlp, &decode_limits_default, &facts, NULL);
    uint32_t count = rc == FM_OK ? facts.span_count + facts.refused_count : 0;
    decode_facts_fini(&facts);
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fm_slice input = fm_slice(data, size);
    struct fm_buf first, second, twice;
    fm_buf_init(&first, JAEGER_BODY_MEMORY_MAX);
    fm_buf_init(&second, JAEGER_BODY_MEMORY_MAX);
    fm_buf_init(&twice, JAEGER_BODY_MEMORY_MAX);
    fm_buf_put_slice(&twice, input);
    fm_buf_put_slice(&twice, input);
    if (jaeger_body_run(jaeger_body_pb, input, &first) == FM_OK &&
        jaeger_body_run(jaeger_body_pb, fm_buf_slice(&twice), &second) == FM_OK &&
        fuzz_span_count(fm_buf_slice(&second)))
        FM_ASSERT(fuzz_span_count(fm_buf_slice(&second)) ==
                  2 * fuzz_span_count(fm_buf_slice(&first)));
    fm_buf_fini(&first);
    fm_buf_fini(&second);
    fm_buf_fini(&twice);
    return 0;
}
