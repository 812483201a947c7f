/* SPDX-License-Identifier: Apache-2.0 */
/* A datagram in either encoding, and a bare compact batch, which says the same in binary. */
#include "jaeger_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fm_slice input = fm_slice(data, size);
    struct fm_buf target;
    fm_buf_init(&target, JAEGER_BODY_MEMORY_MAX);
    (void)jaeger_body_run(jaeger_body_datagram, input, &target); /* asserts for itself */
    fm_buf_fini(&target);
    jaeger_body_compare(jaeger_body_compact, THRIFT_COMPACT, jaeger_body_binary, input);
    return 0;
}
