/* SPDX-License-Identifier: Apache-2.0 */
/* cloud_exchange - one HTTP exchange.
 *
 *   a secret (waits, if none is good) -> build, sign, send -> answer
 *        ^                                                      |
 *        +---- once each: other clock, fresh secret ------------+
 */
#include "bucket_cloud.h"

#include <stdlib.h>

#include "fermata/units.h"

static void exchange_send(struct cloud_transfer *transfer);

void cloud_headers_read(const struct net_call *net, struct cloud_headers *ret_headers)
{
    ret_headers->count = 0;
    for (size_t i = 0; i < net->response_header_count; i++) {
        struct fm_slice name = net->response_headers[i].name;
        uint32_t row = ret_headers->count;
        if (name.len >= sizeof ret_headers->names[0] || row == FM_COUNT(ret_headers->rows))
            continue;
        memcpy(ret_headers->names[row], name.ptr, name.len);
        ret_headers->names[row][name.len] = '\0';
        ret_headers->rows[row] =
            (struct s3_header){ret_headers->names[row], net->response_headers[i].value};
        ret_headers->count++;
    }
}

/* ---- repairs ---- */

static bool exchange_repair(struct cloud_transfer *transfer)
{
    struct bucket_cloud *cloud = transfer->cloud;
    if (transfer->answer.outcome != S3_AUTH || !transfer->status)
        return false;
    if (!transfer->repaired_clock && cloud->access.auth == CLOUD_AUTH_SHARED_KEY) {
        transfer->repaired_clock = true;
        if (bucket_clock_explains(&cloud->clock, transfer->answer.date_unix_s)) {
            metric_add(&cloud->clock_repairs, 1);
            exchange_send(transfer);
            return true;
        }
    }
    if (transfer->repaired_access || cloud->access.auth == CLOUD_AUTH_NONE)
        return false;
    transfer->repaired_access = true;
    metric_add(&cloud->credential_repairs, 1);
    cloud_access_refused(&cloud->access, transfer->access_serial);
    if (cloud_access_want(&cloud->access, transfer))
        exchange_send(transfer);
    return true;
}

/* ---- the answer ---- */

static void exchange_describe(struct cloud_transfer *transfer, int rc)
{
    const struct cloud_answer *answer = &transfer->answer;
    struct fm_why *why = &transfer->request->why;
    if (rc < 0)
        (void)fm_fail(why, rc, "%s: %s", transfer->net.method,
                      transfer->net.why.text[0] ? transfer->net.why.text : fm_rc_text(rc));
    else
        (void)fm_fail(why, FM_EIO, "%s: HTTP %d%s%s%s%s", transfer->net.method, transfer->status,
                      answer->code[0] ? " " : "", answer->code, answer->message[0] ? ": " : "",
                      answer->message);
}

static void exchange_read_answer(struct cloud_transfer *transfer, int rc)
{
    struct net_call *net = &transfer->net;
    struct cloud_headers headers = {.count = 0};
    struct s3_response_view view = {.request_sent_whole = net->body_sent >= net->body_length};
    fm_buf_reset(&transfer->answer_body);
    if (rc == FM_OK) {
        cloud_headers_read(net, &headers);
        view.status = net->status;
        view.body = net->response_body;
        view.headers = headers.rows;
        view.header_count = headers.count;
        fm_buf_put_slice(&transfer->answer_body, net->response_body);
    }
    transfer->status = view.status;
    cloud_answer_read(transfer->cloud->place.kind, &transfer->call, &view, &transfer->answer);
    if (transfer->answer.outcome != S3_AUTH) /* of those the repair decides */
        bucket_clock_measure(&transfer->cloud->clock, transfer->answer.date_unix_s);
    if (rc == FM_OK && transfer->answer_body.failed)
        transfer->answer.outcome = S3_TRANSIENT; /* no memory for it */
    if (rc == FM_EDENIED)
        transfer->answer.outcome = S3_AUTH; /* the server's certificate: a person must look */
}

static void exchange_on_done(struct net_call *net, int rc)
{
    struct cloud_transfer *transfer = net->self;
    exchange_read_answer(transfer, rc);
    if (transfer->answer.outcome != S3_DONE)
        exchange_describe(transfer, rc);
    fm_take(transfer->client)->busy = false;
    if (transfer->cancelled)
        cloud_transfer_end_cancelled(transfer);
    else if (!exchange_repair(transfer))
        transfer->after_exchange(transfer);
}

/* ---- sending ---- */

static int exchange_build(struct cloud_transfer *transfer, struct s3_request *ret_request)
{
    struct bucket_cloud *cloud = transfer->cloud;
    struct cloud_secret secret = cloud_access_secret(&cloud->access);
    fm_arena_reset(&transfer->arena);
    transfer->access_serial = cloud->access.serial;
    return cloud_request_build(&cloud->place, &secret, &transfer->call,
                               bucket_clock_now_s(&cloud->clock), &transfer->arena, ret_request);
}

static void exchange_send(struct cloud_transfer *transfer)
{
    struct s3_request request;
    uint64_t length = transfer->call.length;
    int rc = exchange_build(transfer, &request);
    if (rc < 0) {
        (void)fm_fail(&transfer->request->why, rc, "the request cannot be signed: %s",
                      fm_rc_text(rc));
        cloud_transfer_end(transfer, rc == FM_ECONFIG ? S3_AUTH : S3_TRANSIENT);
        return;
    }
    transfer->client = bucket_cloud_take_client(transfer->cloud, &transfer->request->why);
    if (!transfer->client) {
        cloud_transfer_end(transfer, S3_TRANSIENT);
        return;
    }
    for (uint32_t i = 0; i < request.header_count; i++)
        transfer->headers[i] =
            (struct http_header){fm_slice_text(request.headers[i].name), request.headers[i].value};
    transfer->net = (struct net_call){
        .method = request.method,
        .host = request.host,
        .target = request.target,
        .headers = transfer->headers,
        .header_count = request.header_count,
        .body = length ? transfer->body : (struct fm_source){0},
        .body_offset = transfer->body_offset,
        .body_length = length,
        .expect_continue = length > CLOUD_EXPECT_BYTES,
        .pacer = transfer->request->pacer,
        .response_bytes_max = transfer->answer_bytes_max,
        .done = exchange_on_done,
        .self = transfer,
    };
    net_call_start(transfer->client->client, &transfer->net);
}

void cloud_exchange_on_access(struct cloud_transfer *transfer, enum s3_outcome outcome)
{
    struct cloud_access *access = &transfer->cloud->access;
    if (transfer->cancelled) {
        cloud_transfer_end_cancelled(transfer);
    } else if (outcome == S3_DONE) {
        exchange_send(transfer);
    } else {
        transfer->request->why = access->why;
        transfer->request->retry_after_s = access->retry_after_s;
        cloud_transfer_end(transfer, outcome);
    }
}

void cloud_exchange_start(struct cloud_transfer *transfer, cloud_next *after)
{
    transfer->after_exchange = after;
    transfer->repaired_clock = transfer->repaired_access = false;
    if (cloud_access_want(&transfer->cloud->access, transfer))
        exchange_send(transfer);
}
