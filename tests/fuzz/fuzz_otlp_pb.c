/* SPDX-License-Identifier: Apache-2.0 */
/* check, rewrite if need be, check clean again; the trace assembled from it renders. */
#include "fermata/decode.h"
#include "fermata/model.h"
#include "fermata/pb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Small limits, so that they are met. */
static const struct decode_limits fuzz_limits = {
    .span_count_max = 1000,
    .value_depth_max = 5,
    .attribute_count_max = 4,
    .attribute_bytes_max = 9,
};

static void fuzz_facts(const struct decode_facts *facts)
{
    uint32_t refused = 0;
    for (int i = 0; i < DECODE_REASON_COUNT; i++)
        refused += facts->refused[i];
    FM_ASSERT(refused == facts->refused_count);
    FM_ASSERT(facts->rewrite == (facts->refused_count || facts->mended_count));
    FM_ASSERT(facts->trace_key_count <= facts->span_count);
    FM_ASSERT((facts->trace_key_count != 0) == (facts->span_count != 0));
    FM_ASSERT(facts->span_count ? facts->start_min_ns <= facts->end_max_ns
                                : facts->start_min_ns == UINT64_MAX);
}

/* The id of the first span in canonical bytes. */
static bool fuzz_first_id(struct fm_slice otlp, struct trace_id *id)
{
    static const uint32_t path[] = {1, 2, 2, 1};
    struct pb_field field;
    size_t level = 0;

    while (pb_next(&otlp, &field) == FM_OK) {
        if (field.number != path[level] || field.type != PB_BYTES)
            continue;
        otlp = field.bytes;
        if (++level == FM_COUNT(path)) {
            FM_ASSERT(field.bytes.len == sizeof id->bytes);
            memcpy(id->bytes, field.bytes.ptr, sizeof id->bytes);
            return true;
        }
    }
    return false;
}

static void fuzz_model(struct fm_slice otlp)
{
    struct trace_id id;
    struct trace *trace;
    struct fm_buf buf;
    struct decode_facts facts;

    if (!fuzz_first_id(otlp, &id) || trace_new(&trace, &id, FM_MIB(1)) < 0)
        return;
    int rc = trace_add(trace, otlp);
    FM_ASSERT(rc == FM_OK || rc == FM_ELIMIT);
    FM_ASSERT(trace_finish(trace) == FM_OK && trace_span_count(trace) > 0);
    fm_buf_init(&buf, FM_MIB(16));
    trace_render(trace, TRACE_V2_JSON, 1, &buf);
    fm_buf_reset(&buf);
    trace_put_otlp(trace, &buf);
    FM_ASSERT(!buf.failed);
    decode_facts_init(&facts);
    FM_ASSERT(otlp_pb_check(fm_buf_slice(&buf), &fuzz_limits, &facts, NULL) == FM_OK);
    FM_ASSERT(!facts.rewrite && facts.span_count == trace_span_count(trace));
    FM_ASSERT(facts.trace_key_count == 1);
    decode_facts_fini(&facts);
    fm_buf_fini(&buf);
    trace_free(trace);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fm_slice request = fm_slice(data, size);
    struct decode_facts facts, again;
    struct fm_buf target;

    decode_facts_init(&facts);
    decode_facts_init(&again);
    fm_buf_init(&target, size); /* never longer than what came */
    if (otlp_pb_check(request, &fuzz_limits, &facts, NULL) == FM_OK) {
        fuzz_facts(&facts);
        if (facts.rewrite) {
            FM_ASSERT(otlp_pb_rewrite(request, &fuzz_limits, &target) == FM_OK);
            request = fm_buf_slice(&target);
            FM_ASSERT(otlp_pb_check(request, &fuzz_limits, &again, NULL) == FM_OK);
            FM_ASSERT(!again.rewrite && again.span_count == facts.span_count);
            FM_ASSERT(again.start_min_ns == facts.start_min_ns);
            FM_ASSERT(again.end_max_ns == facts.end_max_ns);
        }
        fuzz_model(request);
    }
    fm_buf_fini(&target);
    decode_facts_fini(&facts);
    decode_facts_fini(&again);
    return 0;
}
