/* SPDX-License-Identifier: Apache-2.0 */
/* zipkin.proto3.ListOfSpans. */
#include "fermata/pb.h"
#include "fermata/zipkin.h"

#include "zipkin_batch.h"

static bool id_is_zero(const uint8_t *id, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (id[i])
            return false;
    }
    return true;
}

static void read_ids(struct zipkin_draft *draft, const struct pb_field *field)
{
    struct zipkin_span *span = &draft->span;
    struct fm_slice id = field->bytes;
    if (field->number == 1 && (id.len == 8 || id.len == 16)) {
        memset(span->trace_id, 0, 16);
        memcpy(span->trace_id + 16 - id.len, id.ptr, id.len);
        draft->has_trace_id = !id_is_zero(span->trace_id, 16);
    } else if (field->number == 2 && id.len == 8) {
        memcpy(span->parent_id, id.ptr, 8);
        span->has_parent = !id_is_zero(span->parent_id, 8);
    } else if (field->number == 3 && id.len == 8) {
        memcpy(span->id, id.ptr, 8);
        draft->has_id = !id_is_zero(span->id, 8);
    }
}

static int read_endpoint(struct zipkin_batch *batch, struct fm_slice rest,
                         struct zipkin_endpoint *endpoint)
{
    struct pb_field field;
    int rc;
    while ((rc = pb_next(&rest, &field)) == FM_OK) {
        if (field.number == 1 && field.type == PB_BYTES)
            endpoint->service = field.bytes;
        else if ((field.number == 2 || field.number == 3) && field.type == PB_BYTES)
            zipkin_set_ip_bytes(endpoint, field.bytes, batch->scratch);
        else if (field.number == 4 && field.type == PB_VARINT)
            zipkin_set_port(endpoint, field.value);
    }
    return rc == FM_END ? FM_OK : rc;
}

static int read_note(struct zipkin_batch *batch, struct fm_slice rest)
{
    struct pb_field field;
    struct fm_slice value = {0};
    uint64_t time_us = 0;
    int rc;
    while ((rc = pb_next(&rest, &field)) == FM_OK) {
        if (field.number == 1 && field.type == PB_FIXED64)
            time_us = field.value;
        else if (field.number == 2 && field.type == PB_BYTES)
            value = field.bytes;
    }
    if (rc < 0 || !value.len || !time_us)
        return rc < 0 ? rc : FM_OK; /* nothing happened, or nobody knows when */
    struct zipkin_note *note = zipkin_draft_note(batch);
    if (!note)
        return FM_ENOMEM;
    note->time_us = time_us;
    note->value = value;
    return FM_OK;
}

static int read_tag(struct zipkin_batch *batch, struct fm_slice rest)
{
    struct pb_field field;
    struct fm_slice key = {0}, text = {0};
    int rc;
    while ((rc = pb_next(&rest, &field)) == FM_OK) {
        if (field.number == 1 && field.type == PB_BYTES)
            key = field.bytes;
        else if (field.number == 2 && field.type == PB_BYTES)
            text = field.bytes;
    }
    if (rc < 0 || (!key.len && !text.len))
        return rc < 0 ? rc : FM_OK; /* says nothing */
    struct zipkin_tag *tag = zipkin_draft_tag(batch);
    if (!tag)
        return FM_ENOMEM;
    tag->key = key;
    tag->text = text;
    return FM_OK;
}

static int read_message(struct zipkin_batch *batch, const struct pb_field *field)
{
    struct zipkin_draft *draft = &batch->draft;
    switch (field->number) {
    case 5:
        draft->span.name = field->bytes;
        return FM_OK;
    case 8:
        return read_endpoint(batch, field->bytes, &draft->span.local);
    case 9:
        return read_endpoint(batch, field->bytes, &draft->span.remote);
    case 10:
        return read_note(batch, field->bytes);
    case 11:
        return read_tag(batch, field->bytes);
    default:
        read_ids(draft, field);
        return FM_OK;
    }
}

static int read_span(struct zipkin_batch *batch, struct fm_slice rest)
{
    static const uint8_t kinds[] = {ZIPKIN_UNSPECIFIED, ZIPKIN_CLIENT, ZIPKIN_SERVER,
                                    ZIPKIN_PRODUCER, ZIPKIN_CONSUMER};
    struct zipkin_span *span = &batch->draft.span;
    struct pb_field field;
    int rc;
    zipkin_draft_reset(batch);
    while ((rc = pb_next(&rest, &field)) == FM_OK) {
        if (field.type == PB_BYTES) {
            rc = read_message(batch, &field);
            if (rc < 0)
                return rc;
        } else if (field.number == 6 && field.type == PB_FIXED64) {
            span->timestamp_us = field.value;
        } else if (field.type == PB_VARINT && field.number == 4) {
            span->kind = field.value < FM_COUNT(kinds) ? kinds[field.value] : ZIPKIN_UNSPECIFIED;
        } else if (field.type == PB_VARINT && field.number == 7) {
            span->duration_us = field.value;
        } else if (field.type == PB_VARINT && field.number == 13) {
            span->is_shared = field.value != 0;
        }
    }
    return rc == FM_END ? zipkin_draft_finish(batch) : rc;
}

int zipkin_pb_decode(struct fm_slice list, struct fm_arena *scratch, struct fm_buf *target,
                     struct fm_why *why)
{
    struct zipkin_batch *batch;
    struct fm_slice rest = list;
    struct pb_field field;
    int rc = zipkin_batch_new(&batch, list.len, scratch, target, why);
    if (rc < 0)
        return rc;
    while ((rc = pb_next(&rest, &field)) == FM_OK) {
        if (field.number != 1 || field.type != PB_BYTES)
            continue;
        rc = read_span(batch, field.bytes);
        if (rc < 0)
            break;
    }
    if (rc == FM_EMALFORMED)
        rc = fm_fail(why, rc, "not a zipkin.proto3.ListOfSpans: broken at byte %zu",
                     list.len - rest.len);
    return zipkin_batch_finish(batch, rc == FM_END ? FM_OK : rc, why);
}
