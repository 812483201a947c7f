/* SPDX-License-Identifier: Apache-2.0 */
/* A bare binary batch, as posted, says the same in compact.  What is found out about it on the way
 * is what the check of its translation finds. */
#include "../support/jaeger_facts.h"
#include "translated.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    translated_compare(decode_jaeger_binary, THRIFT_BINARY_PROTOCOL, decode_jaeger_compact,
                       THRIFT_STRUCT, fm_slice(data, size));
    FM_ASSERT(jaeger_facts_agree_in_call(fm_slice(data, size), THRIFT_BINARY_PROTOCOL));
    return 0;
}
