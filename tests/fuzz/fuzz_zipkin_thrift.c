/* SPDX-License-Identifier: Apache-2.0 */
/* A list of spans of version 1; in the other encoding it says the same. */
#include "translated.h"

#define THRIFT_BINARY_STRUCT 12

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fm_slice input = fm_slice(data, size);
    struct fm_buf target;
    fm_buf_init(&target, TRANSLATED_MEMORY_MAX);
    (void)translated_run(decode_zipkin_binary, input, &target); /* asserts for itself */
    fm_buf_reset(&target);
    (void)translated_run(decode_zipkin_compact, input, &target);
    fm_buf_fini(&target);
    if (size && data[0] == THRIFT_BINARY_STRUCT) /* other lists are taken for lists of structs */
        translated_compare(decode_zipkin_binary, THRIFT_BINARY_PROTOCOL, decode_zipkin_compact,
                           THRIFT_LIST, input);
    return 0;
}
