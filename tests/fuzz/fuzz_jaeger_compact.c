/* SPDX-License-Identifier: Apache-2.0 */
/* A datagram in either encoding, and a bare compact batch, which says the same in binary.  What is
 * found out about a datagram on the way is what the check of its translation finds. */
#include "../support/jaeger_facts.h"
#include "translated.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fm_slice input = fm_slice(data, size);
    struct fm_buf target;
    fm_buf_init(&target, TRANSLATED_MEMORY_MAX);
    (void)translated_run(decode_jaeger_datagram, input, &target); /* asserts for itself */
    fm_buf_fini(&target);
    translated_compare(decode_jaeger_compact, THRIFT_COMPACT, decode_jaeger_binary, THRIFT_STRUCT,
                       input);
    FM_ASSERT(jaeger_facts_agree(input));
    FM_ASSERT(jaeger_facts_agree_in_call(input, THRIFT_COMPACT));
    return 0;
}
