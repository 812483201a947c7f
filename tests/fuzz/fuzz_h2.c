/* SPDX-License-Identifier: Apache-2.0 */
/* Frames from a hostile client, with a server that answers, holds and resets. */
#include <stdlib.h>

#include "fermata/h2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct peer {
    struct h2_stream *held;
    size_t heads, closes, ends;
};

static void peer_on_head(void *self, struct h2_stream *stream, struct fm_slice method,
                         struct fm_slice path, const struct http_header *headers, size_t count)
{
    struct peer *peer = self;
    volatile uint8_t last = 0;
    peer->heads++;
    if (method.len)
        last = method.ptr[method.len - 1];
    if (path.len)
        last = path.ptr[path.len - 1];
    for (size_t i = 0; i < count; i++) {
        if (!headers[i].name.len)
            abort();
        last = headers[i].name.ptr[headers[i].name.len - 1];
    }
    if (last == 'r')
        h2_stream_reset(stream, 8);
}

static void peer_on_data(void *self, struct h2_stream *stream, struct fm_slice data)
{
    (void)self;
    h2_stream_consumed(stream, data.len / 2 + 1);
}

static void peer_on_end(void *self, struct h2_stream *stream)
{
    struct peer *peer = self;
    const struct http_header trailer = {FM_SLICE("grpc-status"), FM_SLICE("0")};
    if (peer->ends++ % 3 == 2 && !peer->held) {
        peer->held = stream;
        return;
    }
    (void)!h2_respond(stream, 200, NULL, 0, FM_SLICE("12345"), &trailer, peer->ends % 2);
}

static void peer_on_close(void *self, struct h2_stream *stream)
{
    struct peer *peer = self;
    peer->closes++;
    if (peer->held == stream)
        peer->held = NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct h2_callbacks callbacks = {peer_on_head, peer_on_data, peer_on_end, peer_on_close};
    struct http_limits limits = http_limits_default;
    struct peer peer = {0};
    struct fm_buf output;
    struct h2 *h2 = NULL;
    uint64_t now_ns = 1;

    if (size < 1)
        return 0;
    limits.header_bytes_max = 1024;
    limits.header_count_max = 16;
    limits.stream_count_max = 8;
    if (h2_new(&h2, &limits, &callbacks, &peer) < 0)
        abort();
    fm_buf_init(&output, FM_MIB(64));
    size_t piece = data[0] % 64 + 1u;
    int rc = h2_feed(h2, FM_SLICE(H2_PREFACE));
    for (size_t at = 1; at < size && rc == FM_OK; at += piece) {
        rc = h2_feed(h2, fm_slice(data + at, FM_MIN(piece, size - at)));
        if (rc == FM_OK && data[at] % 2)
            rc = h2_drain(h2, now_ns += 1000000, &output);
        if (peer.held && data[at] % 4 == 3)
            (void)!h2_respond(fm_take(peer.held), 204, NULL, 0, FM_SLICE(""), NULL, 0);
        fm_buf_reset(&output);
    }
    (void)!h2_drain(h2, now_ns, &output);
    h2_free(h2);
    fm_buf_fini(&output);
    if (peer.heads != peer.closes)
        abort();
    return 0;
}
