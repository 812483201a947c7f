/* SPDX-License-Identifier: Apache-2.0 */
/* Answers to exporters.  A cold path: protobuf-c's generated messages, packed into our buffer
 * without an allocation. */
#include "fermata/json.h"

#include "fermata/decode.h"
#include "rpc.pb-c.h"

#define RESPONSE_RETRY_INFO_URL "type.googleapis.com/google.rpc.RetryInfo"
#define RESPONSE_RETRY_INFO_MAX 32 /* two varints and three tags */

static void response_pack(const ProtobufCMessage *message, struct fm_buf *target)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *room = fm_buf_room(target, size);
    if (room)
        target->len += protobuf_c_message_pack(message, room);
}

void otlp_response_pb(uint32_t rejected, const char *message, struct fm_buf *target)
{
    Answer__PartialSuccess partial = ANSWER__PARTIAL_SUCCESS__INIT;
    Answer__ExportResponse response = ANSWER__EXPORT_RESPONSE__INIT;

    partial.rejected_spans = rejected;
    if (message)
        partial.error_message = (char *)(uintptr_t)message;
    if (rejected || (message && *message))
        response.partial_success = &partial;
    response_pack(&response.base, target);
}

void otlp_response_json(uint32_t rejected, const char *message, struct fm_buf *target)
{
    struct json_writer writer;

    json_writer_init(&writer, target);
    json_object_begin(&writer);
    if (rejected || (message && *message)) {
        json_key(&writer, "partialSuccess");
        json_object_begin(&writer);
        if (rejected) {
            json_key(&writer, "rejectedSpans");
            json_uint_text(&writer, rejected);
        }
        if (message && *message) {
            json_key(&writer, "errorMessage");
            json_text(&writer, message);
        }
        json_object_end(&writer);
    }
    json_object_end(&writer);
}

void rpc_status_pb(int code, const char *message, uint32_t retry_after_ms, struct fm_buf *target)
{
    uint8_t packed[RESPONSE_RETRY_INFO_MAX];
    Answer__Duration delay = ANSWER__DURATION__INIT;
    Answer__RetryInfo retry = ANSWER__RETRY_INFO__INIT;
    Answer__Any detail = ANSWER__ANY__INIT, *details[] = {&detail};
    Answer__Status status = ANSWER__STATUS__INIT;
    char url[] = RESPONSE_RETRY_INFO_URL;

    status.code = code;
    if (message)
        status.message = (char *)(uintptr_t)message;
    if (retry_after_ms) {
        delay.seconds = retry_after_ms / 1000;
        delay.nanos = (int32_t)(retry_after_ms % 1000 * 1000000);
        retry.retry_delay = &delay;
        FM_ASSERT(protobuf_c_message_get_packed_size(&retry.base) <= sizeof packed);
        detail.type_url = url;
        detail.value.len = protobuf_c_message_pack(&retry.base, packed);
        detail.value.data = packed;
        status.n_details = 1;
        status.details = details;
    }
    response_pack(&status.base, target);
}

void rpc_status_json(int code, const char *message, struct fm_buf *target)
{
    struct json_writer writer;

    json_writer_init(&writer, target);
    json_object_begin(&writer);
    json_key(&writer, "code");
    json_int(&writer, code);
    json_key(&writer, "message");
    json_text(&writer, message ? message : "");
    json_object_end(&writer);
}
