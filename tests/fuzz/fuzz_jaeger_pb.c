/* SPDX-License-Identifier: Apache-2.0 */
/* A PostSpansRequest; two of them joined are one, with all spans of both. */
#include "translated.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fm_slice input = fm_slice(data, size);
    struct fm_buf first, second, twice;
    fm_buf_init(&first, TRANSLATED_MEMORY_MAX);
    fm_buf_init(&second, TRANSLATED_MEMORY_MAX);
    fm_buf_init(&twice, TRANSLATED_MEMORY_MAX);
    fm_buf_put_slice(&twice, input);
    fm_buf_put_slice(&twice, input);
    if (translated_run(decode_jaeger_pb, input, &first) == FM_OK &&
        translated_run(decode_jaeger_pb, fm_buf_slice(&twice), &second) == FM_OK &&
        translated_span_count(fm_buf_slice(&second)) /* else more than are allowed */)
        FM_ASSERT(translated_span_count(fm_buf_slice(&second)) ==
                  2 * translated_span_count(fm_buf_slice(&first)));
    fm_buf_fini(&first);
    fm_buf_fini(&second);
    fm_buf_fini(&twice);
    return 0;
}
