/* SPDX-License-Identifier: Apache-2.0 */
/* A strategies file, and the two forms of an answer out of it; the input as a gRPC question. */
#include "fermata/sampling.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const services[] = {"a", "b", ""};
    struct sampling *sampling = NULL;
    struct fm_why why;
    struct fm_buf out;
    struct fm_slice service;

    fm_buf_init(&out, FM_MIB(16));
    if (sampling_read_request(fm_slice(data, size), &service) == FM_OK)
        FM_ASSERT(service.len <= size);
    if (sampling_new(&sampling, fm_slice(data, size), &why) == FM_OK) {
        for (size_t i = 0; i < FM_COUNT(services); i++) {
            sampling_put_json(sampling, fm_slice_text(services[i]), i & 1, &out);
            sampling_put_pb(sampling, fm_slice_text(services[i]), &out);
        }
        FM_ASSERT(!out.failed);
    }
    (void)sampling_free(sampling);
    fm_buf_fini(&out);
    return 0;
}
