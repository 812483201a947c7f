/* SPDX-License-Identifier: Apache-2.0 */
/* zipkin.proto3.ListOfSpans; behind itself it is one list, with all spans of both. */
#include "translated.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fm_slice input = fm_slice(data, size);
    struct fm_buf once, twice, both;
    fm_buf_init(&once, TRANSLATED_MEMORY_MAX);
    fm_buf_init(&twice, TRANSLATED_MEMORY_MAX);
    fm_buf_init(&both, TRANSLATED_MEMORY_MAX);
    fm_buf_put_slice(&both, input);
    fm_buf_put_slice(&both, input);
    if (translated_run(decode_zipkin_pb, input, &once) == FM_OK &&
        translated_run(decode_zipkin_pb, fm_buf_slice(&both), &twice) == FM_OK &&
        translated_span_count(fm_buf_slice(&twice)) /* else more than are allowed */)
        FM_ASSERT(translated_span_count(fm_buf_slice(&twice)) ==
                  2 * translated_span_count(fm_buf_slice(&once)));
    fm_buf_fini(&once);
    fm_buf_fini(&twice);
    fm_buf_fini(&both);
    return 0;
}
