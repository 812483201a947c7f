/* SPDX-License-Identifier: Apache-2.0 */
/* OTLP/JSON decodes to something that the check understands and the rewriter can mend. */
#include "fermata/decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fm_buf decoded, mended;
    struct decode_facts facts;
    struct fm_why why;

    fm_buf_init(&decoded, FM_MIB(16));
    fm_buf_init(&mended, FM_MIB(16));
    decode_facts_init(&facts);
    int rc = otlp_json_decode(fm_slice(data, size), &decoded, &why);
    FM_ASSERT(rc == FM_OK || rc == FM_EMALFORMED);
    if (rc == FM_OK) {
        struct fm_slice request = fm_buf_slice(&decoded);
        FM_ASSERT(otlp_pb_check(request, &decode_limits_default, &facts, &why) == FM_OK);
        if (facts.rewrite) {
            uint32_t span_count = facts.span_count;
            FM_ASSERT(otlp_pb_rewrite(request, &decode_limits_default, &mended) == FM_OK);
            request = fm_buf_slice(&mended);
            FM_ASSERT(otlp_pb_check(request, &decode_limits_default, &facts, &why) == FM_OK);
            FM_ASSERT(!facts.rewrite && facts.span_count == span_count);
        }
    }
    decode_facts_fini(&facts);
    fm_buf_fini(&decoded);
    fm_buf_fini(&mended);
    return 0;
}
