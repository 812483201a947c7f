/* SPDX-License-Identifier: Apache-2.0 */
/* Splitting a message between the entries of its first field. */
#include "segment.h"

#include "fermata/http.h"
#include "fermata/pb.h"

/* What is not field 1: metrics, status, message. */
static void segment_put_rest(struct fm_slice message, struct fm_buf *rest)
{
    struct pb_field field;
    while (pb_next(&message, &field) == FM_OK) {
        if (field.number != 1)
            fm_buf_put_slice(rest, field.raw);
    }
}

static void segment_flush(struct fm_buf *part, const struct fm_buf *rest, struct fm_buf *out)
{
    fm_buf_put_slice(part, fm_buf_slice(rest));
    if (part->failed)
        out->failed = true;
    else
        grpc_message_put(out, fm_buf_slice(part));
    fm_buf_reset(part);
}

void segment_put(struct fm_slice message, size_t bytes_max, struct fm_buf *out)
{
    struct fm_buf part, rest;
    struct pb_field field;

    if (message.len <= bytes_max) {
        grpc_message_put(out, message);
        return;
    }
    fm_buf_init(&part, message.len);
    fm_buf_init(&rest, message.len);
    segment_put_rest(message, &rest);
    while (!out->failed && pb_next(&message, &field) == FM_OK) {
        if (field.number != 1)
            continue;
        if (part.len && part.len + field.raw.len + rest.len > bytes_max)
            segment_flush(&part, &rest, out);
        fm_buf_put_slice(&part, field.raw);
    }
    segment_flush(&part, &rest, out);
    if (rest.failed)
        out->failed = true;
    fm_buf_fini(&part);
    fm_buf_fini(&rest);
}
