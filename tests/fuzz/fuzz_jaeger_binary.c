/* SPDX-License-Identifier: Apache-2.0 */
/* A bare binary batch, as posted, says the same in compact. */
#include "jaeger_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    jaeger_body_compare(jaeger_body_binary, THRIFT_BINARY_PROTOCOL, jaeger_body_compact,
                        fm_slice(data, size));
    return 0;
}
