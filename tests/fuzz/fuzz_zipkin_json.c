/* SPDX-License-Identifier: Apache-2.0 */
/* A list of spans of version 2 or 1, twice: one after the other they are what they were. */
#include "translated.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fm_slice input = fm_slice(data, size);
    struct fm_buf first, second;
    fm_buf_init(&first, TRANSLATED_MEMORY_MAX);
    fm_buf_init(&second, TRANSLATED_MEMORY_MAX);
    int rc = translated_run(decode_zipkin_json, input, &first);
    FM_ASSERT(translated_run(decode_zipkin_json, input, &second) == rc);
    FM_ASSERT(fm_slice_equal(fm_buf_slice(&first), fm_buf_slice(&second)));
    fm_buf_fini(&first);
    fm_buf_fini(&second);
    return 0;
}
