/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes from a server, in two pieces, to an HTTP/2 client with two calls under way.  Each call
 * must end exactly once. */
#include <stdlib.h>

#include "fermata/h2_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void count_done(struct h2_call *call, int rc)
{
    (void)rc;
    ++*(unsigned *)call->self;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FM_AUTO(h2_client) client = NULL;
    struct h2_call calls[2] = {0};
    unsigned done[2] = {0}, started[2] = {0};
    struct fm_buf output;

    fm_buf_init(&output, FM_MIB(4));
    if (size == 0 || h2_client_new(&client) < 0)
        return 0;
    for (size_t i = 0; i < 2; i++) {
        fm_buf_init(&calls[i].response, FM_MIB(1));
        calls[i].authority = FM_SLICE("host");
        calls[i].path = FM_SLICE("/path");
        calls[i].body = FM_SLICE("body");
        calls[i].done = count_done;
        calls[i].self = &done[i];
        started[i] = h2_client_start(client, &calls[i]) == FM_OK;
    }
    int rc = h2_client_drain(client, FM_MIB(1), &output);
    size_t first = FM_MIN((size_t)data[0], size - 1);
    if (rc == FM_OK)
        rc = h2_client_feed(client, fm_slice(data + 1, first));
    if (rc == FM_OK)
        rc = h2_client_drain(client, FM_MIB(1), &output);
    if (rc == FM_OK)
        rc = h2_client_feed(client, fm_slice(data + 1 + first, size - 1 - first));
    if (rc == FM_OK)
        rc = h2_client_drain(client, FM_MIB(1), &output);
    client = h2_client_free(client);
    for (size_t i = 0; i < 2; i++) {
        if (done[i] != started[i])
            abort();
        fm_buf_fini(&calls[i].response);
    }
    fm_buf_fini(&output);
    return 0;
}
