/* SPDX-License-Identifier: Apache-2.0 */
/* A proxy's answer to CONNECT, in pieces: open only with the whole head of a 2xx and nothing behind
 * it. */
#include "../../src/daemon/net/tunnel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tunnel tunnel = {.is_set = true};
    struct fm_why why;
    int rc = FM_MORE;
    size_t at = 1;
    if (!size)
        return 0;
    size_t piece = data[0] % 64u + 1;
    while (rc == FM_MORE && at < size) {
        size_t len = FM_MIN(piece, size - at);
        rc = tunnel_on_bytes(&tunnel, fm_slice(data + at, len), &why);
        at += len;
    }
    if (rc == FM_OK)
        FM_ASSERT(at - 1 >= 16 && memcmp(data + 1, "HTTP/1.", 7) == 0 && data[10] == '2' &&
                  memcmp(data + at - 4, "\r\n\r\n", 4) == 0);
    else if (rc < 0)
        for (const char *text = why.text; *text; text++)
            FM_ASSERT(*text >= ' ' && *text < 0x7f); /* it is going to be logged */
    return 0;
}
