/* SPDX-License-Identifier: Apache-2.0 */
/* Canonical bytes through head sampling: the result is canonical, has the spans that the tally does
 * not count as dropped, and is at rest when it is sampled again; a probability of 1 changes
 * nothing.  The first byte is the threshold.  The rest as it stands, too: hostile bytes are refused
 * or sampled, but never end a process. */
#include "fermata/decode.h"
#include "fermata/sample_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int fuzz_run(const struct sample_head *head, struct fm_slice request, uint64_t span_count,
                    struct fm_buf *target, struct sample_head_tally *tally)
{
    fm_buf_init(target, request.len + span_count * SAMPLE_HEAD_GROWTH);
    return sample_head_run(head, head->options.threshold, request, target, tally);
}

static void fuzz_canonical(const struct sample_head *head, struct fm_slice request,
                           uint32_t span_count)
{
    struct sample_head_tally tally, none;
    struct decode_facts facts;
    struct fm_buf target, again;
    uint64_t dropped = 0;

    int rc = fuzz_run(head, request, span_count, &target, &tally);
    FM_ASSERT(rc == FM_OK || rc == FM_NONE);
    FM_ASSERT(head->options.threshold || rc == FM_NONE);
    for (size_t i = 0; i < SAMPLE_HEAD_REASON_COUNT; i++)
        dropped += tally.dropped[i];
    FM_ASSERT(rc == FM_OK ? dropped + tally.marked > 0 : !target.len && !dropped && !tally.marked);
    if (rc == FM_OK) {
        decode_facts_init(&facts);
        FM_ASSERT(otlp_pb_check(fm_buf_slice(&target), &decode_limits_default, &facts, NULL) ==
                  FM_OK);
        FM_ASSERT(!facts.refused_count);
        FM_ASSERT(facts.span_count == span_count - dropped);
        decode_facts_fini(&facts);
        FM_ASSERT(fuzz_run(head, fm_buf_slice(&target), facts.span_count, &again, &none) ==
                  FM_NONE);
        fm_buf_fini(&again);
    }
    fm_buf_fini(&target);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sample_head_tally tally;
    struct decode_facts facts;
    struct sample_head head;
    struct fm_buf clean, target;

    if (!size)
        return 0;
    struct fm_slice request = fm_slice(data + 1, size - 1);
    sample_head_init(&head,
                     &(struct sample_head_options){.threshold = (uint64_t)(data[0] & 0xfe) << 48,
                                                   .fail_closed = data[0] & 1});
    (void)!fuzz_run(&head, request, size, &target, &tally);
    fm_buf_fini(&target);
    decode_facts_init(&facts);
    fm_buf_init(&clean, size);
    if (otlp_pb_check(request, &decode_limits_default, &facts, NULL) == FM_OK) {
        if (facts.rewrite) {
            FM_ASSERT(otlp_pb_rewrite(request, &decode_limits_default, &clean) == FM_OK);
            request = fm_buf_slice(&clean);
        }
        fuzz_canonical(&head, request, facts.span_count);
    }
    fm_buf_fini(&clean);
    decode_facts_fini(&facts);
    return 0;
}
