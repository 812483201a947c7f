/* SPDX-License-Identifier: Apache-2.0 */
/* A tracestate, what its "ot" entry says, and the same with another threshold: which reads as what
 * was written, keeps the randomness, and does not change when it is written once more.  The input
 * as a probability, too. */
#include "fermata/sample_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fm_slice text = fm_slice(data, size);
    struct fm_buf once, twice;
    uint64_t threshold = 0;

    if (sample_probability_parse(text, &threshold) == FM_OK)
        FM_ASSERT(threshold <= SAMPLE_THRESHOLD_NEVER);
    threshold = (threshold + size * UINT64_C(0x1000001)) % SAMPLE_THRESHOLD_NEVER;
    fm_buf_init(&once, size + SAMPLE_HEAD_GROWTH);
    fm_buf_init(&twice, size + SAMPLE_HEAD_GROWTH);
    struct sample_tracestate state = sample_tracestate_read(text);
    FM_ASSERT(state.threshold < SAMPLE_THRESHOLD_NEVER);
    FM_ASSERT(state.randomness < SAMPLE_THRESHOLD_NEVER);
    sample_tracestate_put(text, &state, threshold, &once);
    FM_ASSERT(!once.failed);
    struct sample_tracestate again = sample_tracestate_read(fm_buf_slice(&once));
    FM_ASSERT(!again.is_malformed && again.has_threshold && again.threshold == threshold);
    FM_ASSERT(again.has_randomness == state.has_randomness && again.randomness == state.randomness);
    sample_tracestate_put(fm_buf_slice(&once), &again, threshold, &twice);
    FM_ASSERT(fm_slice_equal(fm_buf_slice(&once), fm_buf_slice(&twice)));
    fm_buf_fini(&once);
    fm_buf_fini(&twice);
    return 0;
}
