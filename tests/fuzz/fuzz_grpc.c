/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC messages and timeouts, request targets, query parameters and media types. */
#include <stdlib.h>

#include "fermata/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_messages(struct fm_slice body)
{
    struct fm_slice rest = body;
    struct grpc_message message;
    struct fm_buf again;
    size_t total = 0;

    while (grpc_message_next(&rest, 1000, &message) == FM_OK) {
        total += 5 + message.bytes.len;
        fm_buf_init(&again, 2000);
        grpc_message_put(&again, message.bytes);
        if (again.failed || again.len != 5 + message.bytes.len)
            abort();
        fm_buf_fini(&again);
    }
    if (total + rest.len != body.len)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fm_slice input = fm_slice(data, size);
    struct fm_arena arena;
    struct http_target target;
    struct fm_slice value;
    struct fm_buf text;
    uint64_t ns;

    if (size > 4096)
        return 0;
    fuzz_messages(input);
    (void)!grpc_timeout_parse(input, &ns);
    (void)http_media_type_is(input, "application/json");
    fm_buf_init(&text, 16384);
    grpc_percent_encode(&text, input);
    if (text.failed)
        abort();
    fm_buf_fini(&text);
    fm_arena_init(&arena, 65536);
    if (http_target_parse(input, &arena, &target) == FM_OK) {
        if (!target.path.len || target.path.ptr[0] != '/' ||
            memmem(target.path.ptr, target.path.len, "/../", 4))
            abort();
        (void)!http_query_find(target.query, "q", &arena, &value);
    }
    (void)!http_query_find(input, "q", &arena, &value);
    fm_arena_fini(&arena);
    return 0;
}
