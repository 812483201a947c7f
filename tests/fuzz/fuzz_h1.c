/* SPDX-License-Identifier: Apache-2.0 */
/* Requests and responses in pieces: cut anywhere, the parser must come to the same end. */
#include <stdlib.h>

#include "fermata/h1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct end {
    int rc;
    size_t heads, dones;
    uint64_t body_bytes, body_sum, head_sum;
};

static uint64_t sum(uint64_t state, struct fm_slice slice)
{
    for (size_t i = 0; i < slice.len; i++)
        state = state * 31 + slice.ptr[i];
    return state;
}

static void end_note(struct end *end, const struct h1 *h1, enum h1_event event,
                     struct fm_slice data)
{
    if (event == H1_BODY) {
        end->body_bytes += data.len;
        end->body_sum = sum(end->body_sum, data);
        return;
    }
    if (event == H1_DONE) {
        end->dones++;
        return;
    }
    const struct h1_head *head = h1_head(h1);
    end->heads++;
    end->head_sum = sum(sum(end->head_sum, head->method), head->target);
    for (size_t i = 0; i < head->header_count; i++)
        end->head_sum = sum(sum(end->head_sum, head->headers[i].name), head->headers[i].value);
    if (head->chunked && head->has_length)
        abort();
}

static struct end feed_in_pieces(struct fm_slice input, size_t piece, enum h1_role role)
{
    const struct http_limits limits = {.header_bytes_max = 512,
                                       .header_count_max = 8,
                                       .target_bytes_max = 64,
                                       .body_bytes_max = 1000};
    struct end end = {0};
    struct h1 *h1 = NULL;

    if (h1_new(&h1, role, &limits) < 0)
        abort();
    while (input.len && end.rc >= 0) {
        size_t take = FM_MIN(piece, input.len);
        uint8_t *copy = malloc(take);
        memcpy(copy, input.ptr, take);
        struct fm_slice rest = fm_slice(copy, take);
        input = fm_slice(input.ptr + take, input.len - take);
        do {
            enum h1_event event;
            struct fm_slice data;
            size_t used = 0;
            end.rc = h1_feed(h1, rest, &used, &event, &data);
            if (used > rest.len)
                abort();
            rest = fm_slice(rest.ptr + used, rest.len - used);
            if (end.rc == FM_OK)
                end_note(&end, h1, event, data);
        } while (end.rc == FM_OK);
        if (end.rc == FM_MORE && rest.len)
            abort();
        free(copy);
    }
    (void)!h1_feed_end(h1);
    h1_free(h1);
    return end;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 4096)
        return 0;
    enum h1_role role = data[0] & 1 ? H1_RESPONSES : H1_REQUESTS;
    struct fm_slice input = fm_slice(data + 2, size - 2);
    struct end whole = feed_in_pieces(input, SIZE_MAX, role);
    struct end cut = feed_in_pieces(input, data[1] % 32 + 1u, role);
    if (whole.rc != cut.rc || whole.heads != cut.heads || whole.dones != cut.dones ||
        whole.head_sum != cut.head_sum)
        abort();
    if (whole.rc >= 0 && (whole.body_bytes != cut.body_bytes || whole.body_sum != cut.body_sum))
        abort();
    return 0;
}
