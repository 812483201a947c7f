/* SPDX-License-Identifier: Apache-2.0 */
/* A bare binary batch, as posted, says the same in compact. */
#include "translated.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    translated_compare(decode_jaeger_binary, THRIFT_BINARY_PROTOCOL, decode_jaeger_compact,
                       THRIFT_STRUCT, fm_slice(data, size));
    return 0;
}
