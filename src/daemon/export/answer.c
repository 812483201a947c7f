/* SPDX-License-Identifier: Apache-2.0 */
/* answer - what an upstream's answer means, as the OTLP specification has it: what may be tried
 * again, when, and what never. */
#include "internal.h"

#include <stdio.h>

#include "fermata/pb.h"

#define ANSWER_RETRY_MAX_NS (3600 * FM_NS_PER_S) /* no upstream makes us wait longer */
#define ANSWER_DETAILS_MAX  1024u

const char *export_outcome_text(enum export_outcome outcome)
{
    static const char *const texts[] = {
#define X(name, text) [EXPORT_##name] = text,
        EXPORT_OUTCOMES(X)
#undef X
    };
    return texts[outcome];
}

uint64_t export_backoff_ns(unsigned failures, uint64_t initial_ns, uint64_t max_ns, uint64_t random)
{
    uint64_t ceiling_ns = initial_ns;
    for (unsigned i = 1; i < failures && ceiling_ns < max_ns; i++)
        ceiling_ns *= 2;
    ceiling_ns = FM_MIN(ceiling_ns, max_ns);
    return ceiling_ns ? random % ceiling_ns : 0;
}

static void answer_fail(struct export_request *request, enum export_outcome outcome,
                        const char *what, int status, struct fm_slice text)
{
    int len = (int)FM_MIN(text.len, (size_t)200);
    bool is_text = len && fm_utf8_valid_len(fm_slice(text.ptr, (size_t)len)) == (size_t)len;
    request->outcome = outcome;
    (void)fm_fail(&request->why, FM_EIO, "%s %d%s%.*s", what, status, is_text ? ": " : "",
                  is_text ? len : 0, is_text ? (const char *)text.ptr : "");
    for (char *at = request->why.text; *at; at++) { /* one line of a log, in quotes */
        if ((unsigned char)*at < ' ' || *at == '"')
            *at = ' ';
    }
}

/* ExportTraceServiceResponse: how many were not taken, and why. */
static void answer_sent(struct export_request *request, struct fm_slice body)
{
    struct pb_field field, part;
    request->outcome = EXPORT_SENT;
    while (pb_next(&body, &field) == FM_OK) {
        struct fm_slice rest = field.bytes;
        if (field.number != 1 || field.type != PB_BYTES)
            continue;
        while (pb_next(&rest, &part) == FM_OK) {
            if (part.number == 1 && part.type == PB_VARINT && part.value <= INT64_MAX)
                request->rejected_spans = part.value;
            if (part.number == 2 && part.type == PB_BYTES)
                answer_fail(request, EXPORT_SENT, "partial success", 0, part.bytes);
        }
    }
}

/* ---- HTTP ---- */

static uint64_t answer_retry_after(struct fm_slice text, uint64_t wall_ns)
{
    uint64_t seconds;
    int64_t unix_s;
    if (fm_u64_parse(text, &seconds) == FM_OK)
        return FM_MIN(seconds, ANSWER_RETRY_MAX_NS / FM_NS_PER_S) * FM_NS_PER_S;
    if (fm_http_date_parse(text, &unix_s) < 0 || unix_s < 0 ||
        (uint64_t)unix_s <= wall_ns / FM_NS_PER_S)
        return 0;
    seconds = (uint64_t)unix_s - wall_ns / FM_NS_PER_S;
    return FM_MIN(seconds, ANSWER_RETRY_MAX_NS / FM_NS_PER_S) * FM_NS_PER_S;
}

void upstream_answer_http(struct export_request *request, int status, struct fm_slice retry_after,
                          uint64_t wall_ns, struct fm_slice body)
{
    request->status = status;
    if (status >= 200 && status < 300) {
        answer_sent(request, body);
        return;
    }
    enum export_outcome outcome = EXPORT_REFUSED;
    if (status == 429 || status == 502 || status == 503 || status == 504)
        outcome = EXPORT_BUSY;
    else if (status == 413)
        outcome = EXPORT_TOO_LARGE;
    else if (status == 415 && request->codec != CODEC_NONE)
        outcome = EXPORT_NO_CODEC;
    if (outcome == EXPORT_BUSY && retry_after.len)
        request->retry_after_ns = answer_retry_after(retry_after, wall_ns);
    answer_fail(request, outcome, "HTTP status", status, fm_slice(NULL, 0));
}

/* ---- gRPC ---- */

/* The numbers that http.h has no name for. */
enum { GRPC_ABORTED = 10, GRPC_OUT_OF_RANGE = 11, GRPC_DATA_LOSS = 15 };

/* google.protobuf.Duration. */
static uint64_t answer_duration(struct fm_slice rest)
{
    struct pb_field field;
    uint64_t seconds = 0, nanos = 0;
    while (pb_next(&rest, &field) == FM_OK) {
        if (field.number == 1 && field.type == PB_VARINT && field.value <= INT64_MAX)
            seconds = FM_MIN(field.value, ANSWER_RETRY_MAX_NS / FM_NS_PER_S);
        if (field.number == 2 && field.type == PB_VARINT && field.value < FM_NS_PER_S)
            nanos = field.value;
    }
    return seconds * FM_NS_PER_S + nanos;
}

/* google.protobuf.Any that is a google.rpc.RetryInfo.  FM_NONE: it is something else. */
static int answer_retry_info(struct fm_slice any, uint64_t *ret_ns)
{
    static const char name[] = "google.rpc.RetryInfo";
    struct fm_slice type = {0}, value = {0};
    struct pb_field field;
    while (pb_next(&any, &field) == FM_OK) {
        if (field.number == 1 && field.type == PB_BYTES)
            type = field.bytes;
        if (field.number == 2 && field.type == PB_BYTES)
            value = field.bytes;
    }
    size_t len = sizeof name - 1;
    if (type.len < len || memcmp(type.ptr + type.len - len, name, len) != 0)
        return FM_NONE;
    *ret_ns = 0;
    while (pb_next(&value, &field) == FM_OK) {
        if (field.number == 1 && field.type == PB_BYTES)
            *ret_ns = answer_duration(field.bytes);
    }
    return FM_OK;
}

/* google.rpc.Status in base64.  FM_NONE: it has no RetryInfo. */
static int answer_details(struct fm_slice base64, uint64_t *ret_ns)
{
    uint8_t bytes[ANSWER_DETAILS_MAX];
    size_t len;
    struct pb_field field;
    if (!base64.len || base64.len > sizeof bytes || fm_base64_decode(bytes, &len, base64) < 0)
        return FM_NONE;
    struct fm_slice rest = fm_slice(bytes, len);
    while (pb_next(&rest, &field) == FM_OK) {
        if (field.number == 3 && field.type == PB_BYTES &&
            answer_retry_info(field.bytes, ret_ns) == FM_OK)
            return FM_OK;
    }
    return FM_NONE;
}

static bool text_has(struct fm_slice text, const char *part)
{
    return text.len && memmem(text.ptr, text.len, part, strlen(part));
}

/* Nobody between us and the service spoke gRPC: as its own table of HTTP statuses says. */
static enum export_outcome answer_proxy(int http_status)
{
    bool is_busy = http_status == 429 || http_status == 502 || http_status == 503 ||
                   http_status == 504 || http_status == 200 || !http_status;
    return is_busy ? EXPORT_BUSY : http_status == 413 ? EXPORT_TOO_LARGE : EXPORT_REFUSED;
}

static enum export_outcome answer_exhausted(const struct upstream_answer_grpc *answer,
                                            bool has_retry)
{
    if (has_retry)
        return EXPORT_BUSY;
    /* The client's and the server's own words for a message above the limit. */
    bool is_size = text_has(answer->message, "larger than") ||
                   text_has(answer->message, "exceeds maximum") ||
                   text_has(answer->message, "too large");
    return is_size ? EXPORT_TOO_LARGE : EXPORT_REFUSED;
}

static enum export_outcome answer_code(const struct export_request *request,
                                       const struct upstream_answer_grpc *answer, bool has_retry)
{
    switch (answer->grpc_status) {
    case GRPC_CANCELLED:
    case GRPC_DEADLINE_EXCEEDED:
    case GRPC_ABORTED:
    case GRPC_OUT_OF_RANGE:
    case GRPC_UNAVAILABLE:
    case GRPC_DATA_LOSS:
        return EXPORT_BUSY;
    case GRPC_RESOURCE_EXHAUSTED:
        return answer_exhausted(answer, has_retry);
    case GRPC_UNIMPLEMENTED: /* also the answer to an unknown grpc-encoding */
        return request->codec != CODEC_NONE ? EXPORT_NO_CODEC : EXPORT_REFUSED;
    default:
        return EXPORT_REFUSED;
    }
}

void upstream_answer_grpc(struct export_request *request, const struct upstream_answer_grpc *answer)
{
    struct fm_slice body = answer->body;
    struct grpc_message message;
    if (answer->grpc_status < 0) {
        request->status = answer->http_status;
        answer_fail(request, answer_proxy(answer->http_status), "no gRPC status; HTTP status",
                    answer->http_status, fm_slice(NULL, 0));
        return;
    }
    request->status = answer->grpc_status;
    if (answer->grpc_status == GRPC_OK) {
        bool is_plain = grpc_message_next(&body, FM_MIB(1), &message) == FM_OK;
        answer_sent(request, is_plain && !message.compressed ? message.bytes : fm_slice(NULL, 0));
        return;
    }
    uint64_t retry_ns = 0;
    bool has_retry = answer_details(answer->details, &retry_ns) == FM_OK;
    enum export_outcome outcome = answer_code(request, answer, has_retry);
    if (outcome == EXPORT_BUSY)
        request->retry_after_ns = FM_MIN(retry_ns, ANSWER_RETRY_MAX_NS);
    answer_fail(request, outcome, "gRPC status", answer->grpc_status, answer->message);
}
