/* SPDX-License-Identifier: Apache-2.0 */
/* A datagram in either encoding, and a bare compact batch, which says the same in binary. */
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
    return 0;
}
