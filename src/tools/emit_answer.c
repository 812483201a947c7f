/* SPDX-License-Identifier: Apache-2.0 */
/* What an answer means: HTTP's and gRPC's statuses, partial success, when to try again. */
#include <stdio.h>

#include "emit.h"
#include "fermata/json.h"
#include "fermata/pb.h"
#include "fermata/units.h"

/* ExportTraceServiceResponse.partial_success (1) .rejected_spans (1), .error_message (2). */
static void answer_take_partial(struct emit_answer *answer, struct fm_slice response)
{
    struct pb_field outer, inner;

    while (pb_next(&response, &outer) == FM_OK) {
        if (outer.number != 1 || outer.type != PB_BYTES)
            continue;
        struct fm_slice partial = outer.bytes;
        while (pb_next(&partial, &inner) == FM_OK) {
            if (inner.number == 1 && inner.type == PB_VARINT)
                answer->rejected_spans = inner.value;
            else if (inner.number == 2 && inner.type == PB_BYTES)
                (void)snprintf(answer->text, sizeof answer->text, "partial success: %.*s",
                               (int)FM_MIN(inner.bytes.len, (size_t)150),
                               (const char *)inner.bytes.ptr);
        }
    }
}

/* The same as JSON: {"partialSuccess":{"rejectedSpans":"1","errorMessage":"..."}}. */
static void answer_take_partial_json(struct emit_answer *answer, struct fm_slice response)
{
    struct fm_arena scratch;
    struct json_reader reader;
    struct json_token token;
    struct fm_slice key = {0};

    fm_arena_init(&scratch, FM_MIB(1));
    json_reader_init(&reader, response, &scratch);
    while (json_next(&reader, &token) == FM_OK) {
        uint64_t count;
        if (token.kind == JSON_KEY)
            key = token.text;
        else if (fm_slice_equal_text(key, "rejectedSpans") && json_u64(&token, &count) == FM_OK)
            answer->rejected_spans = count;
        else if (fm_slice_equal_text(key, "errorMessage") && token.kind == JSON_STRING)
            (void)snprintf(answer->text, sizeof answer->text, "partial success: %.*s",
                           (int)FM_MIN(token.text.len, (size_t)150), (const char *)token.text.ptr);
    }
    fm_arena_fini(&scratch);
}

void emit_answer_http(struct emit_answer *answer, bool is_json, int status, uint64_t retry_after_s,
                      struct fm_slice body)
{
    bool retry = status == 429 || status == 502 || status == 503 || status == 504;

    *answer = (struct emit_answer){.pause_ns = retry_after_s * FM_NS_PER_S};
    if (status == 200 || status == 202) {
        if (is_json)
            answer_take_partial_json(answer, body);
        else
            answer_take_partial(answer, body);
        return;
    }
    answer->rc = retry ? FM_EUNAVAILABLE : FM_EMALFORMED;
    (void)snprintf(answer->text, sizeof answer->text, "HTTP %d %s", status, http_reason(status));
}

void emit_answer_grpc(struct emit_answer *answer, const struct h2_call *call)
{
    struct fm_slice rest = fm_buf_slice(&call->response);
    struct grpc_message message;
    bool retry = call->grpc_status == GRPC_CANCELLED || call->grpc_status == GRPC_UNAVAILABLE ||
                 call->grpc_status == GRPC_DEADLINE_EXCEEDED ||
                 call->grpc_status == GRPC_RESOURCE_EXHAUSTED;

    *answer = (struct emit_answer){0};
    if (call->status != 200 || call->grpc_status < 0) {
        emit_answer_http(answer, false, call->status ? call->status : 502, call->retry_after_s,
                         (struct fm_slice){0});
        if (answer->rc == FM_OK)
            answer->rc = FM_EMALFORMED;
        (void)snprintf(answer->text, sizeof answer->text, "HTTP %d without grpc-status",
                       call->status);
        return;
    }
    if (call->grpc_status == GRPC_OK) {
        if (grpc_message_next(&rest, H2_CLIENT_RESPONSE_MAX, &message) == FM_OK)
            answer_take_partial(answer, message.bytes);
        return;
    }
    answer->rc = retry ? FM_EUNAVAILABLE : FM_EMALFORMED;
    (void)snprintf(answer->text, sizeof answer->text, "grpc-status %d: %s", call->grpc_status,
                   call->grpc_message);
}
