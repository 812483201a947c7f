/* SPDX-License-Identifier: Apache-2.0 */
/* exchange - one signed HTTP exchange.
 *
 *   credentials (job, if none yet) -> digest (job, if there is a body) -> sign, send -> answer
 *        ^                                                                          |
 *        +---- once each: other clock, other region, fresh credentials -------------+
 *
 * A body is hashed before it is signed: SHA-256 over plain HTTP, where nothing else protects it,
 * CRC-32C over TLS (it costs next to nothing and the server checks what it stored).
 */
#include "bucket_s3.h"

#include <stdio.h>
#include <stdlib.h>

#include "fermata/bytes.h"
#include "fermata/hash.h"
#include "fermata/units.h"

#define DIGEST_BYTES  FM_KIB(256)
#define CLOCK_TRUST_S (24 * 3600)
#define CLOCK_SET_S   INT64_C(1704067200) /* 2024-01-01: a clock before that was never set */

static void exchange_digest(struct transfer *transfer);
static void exchange_send(struct transfer *transfer);

/* ---- credentials ---- */

static void exchange_credentials_work(struct pf_job *job)
{
    struct transfer *transfer = FM_CONTAINER(job, struct transfer, job);
    transfer->job_rc =
        bucket_s3_read_credentials(transfer->s3, transfer->credential_texts, &transfer->job_why);
}

static void exchange_after_credentials(struct transfer *transfer)
{
    struct bucket_s3 *s3 = transfer->s3;
    if (transfer->job_rc == FM_OK) {
        (void)bucket_s3_set_credentials(s3, transfer->credential_texts);
        exchange_digest(transfer);
    } else if (s3->has_credentials) {
        exchange_digest(transfer); /* the old ones may still be good */
    } else {
        transfer->request->why = transfer->job_why;
        transfer_end(transfer, S3_AUTH);
    }
}

/* ---- digest ---- */

static int exchange_digest_range(struct transfer *transfer, uint8_t *buffer, bool with_sha256)
{
    FM_AUTO(s3_digest) digest = NULL;
    uint8_t md5[16];
    uint32_t crc = 0;
    int rc = with_sha256 ? s3_digest_new(&digest) : FM_OK;
    for (uint64_t at = 0; rc == FM_OK && at < transfer->body_length; at += DIGEST_BYTES) {
        size_t len = (size_t)FM_MIN(transfer->body_length - at, DIGEST_BYTES);
        rc = transfer->body.read_at(transfer->body.self, transfer->body_offset + at, buffer, len);
        if (rc < 0)
            break;
        if (digest)
            s3_digest_update(digest, fm_slice(buffer, len));
        else
            crc = fm_crc32c(crc, fm_slice(buffer, len));
    }
    if (rc == FM_OK && digest)
        s3_digest_finish(digest, transfer->sha256, md5);
    fm_store_be32(transfer->crc32c, crc);
    return rc;
}

static bool exchange_is_plain(const struct bucket_s3 *s3)
{
    return strcmp(s3->endpoint.scheme, "http") == 0;
}

static void exchange_digest_work(struct pf_job *job)
{
    struct transfer *transfer = FM_CONTAINER(job, struct transfer, job);
    uint8_t *buffer = malloc(DIGEST_BYTES);
    if (buffer)
        transfer->job_rc = exchange_digest_range(transfer, buffer, exchange_is_plain(transfer->s3));
    else
        transfer->job_rc = FM_ENOMEM;
    free(buffer);
}

static void exchange_after_digest(struct transfer *transfer)
{
    if (transfer->job_rc == FM_OK) {
        exchange_send(transfer);
        return;
    }
    (void)fm_fail(&transfer->request->why, transfer->job_rc, "reading the block's file: %s",
                  fm_rc_text(transfer->job_rc));
    transfer_end(transfer, transfer->job_rc == FM_ENOMEM ? S3_TRANSIENT : S3_REFUSED);
}

static void exchange_digest(struct transfer *transfer)
{
    struct bucket_s3 *s3 = transfer->s3;
    bool plain = exchange_is_plain(s3);
    bool has_body = transfer->body_length > 0;
    struct s3_object *object = &transfer->call.object;
    object->sha256 = has_body && plain ? transfer->sha256 : NULL;
    object->crc32c = has_body && !plain && s3->use_checksum ? transfer->crc32c : NULL;
    object->size = transfer->body_length;
    if (object->sha256 || object->crc32c)
        transfer_run_job(transfer, exchange_digest_work, exchange_after_digest);
    else
        exchange_send(transfer);
}

/* ---- repairs ---- */

/* Skew that a server tells us is used for signing only, and only as far as it can be believed. */
static bool exchange_repair_clock(struct transfer *transfer)
{
    struct bucket_s3 *s3 = transfer->s3;
    int64_t now_s = (int64_t)(pf_wall_ns(s3->platform) / FM_NS_PER_S);
    int64_t offset_s = transfer->answer.date_unix_s - now_s;
    bool believable = llabs(offset_s) <= CLOCK_TRUST_S || now_s < CLOCK_SET_S;
    if (transfer->answer.date_unix_s == 0 || !believable)
        return false;
    s3->clock_offset_s = offset_s;
    metric_add(&s3->clock_repairs, 1);
    log_warn("upload.clock", "offset_s=%lld why=\"the bucket's clock differs from ours\"",
             (long long)offset_s);
    return true;
}

static bool exchange_repair_region(struct transfer *transfer)
{
    struct bucket_s3 *s3 = transfer->s3;
    struct s3_endpoint before = s3->endpoint;
    if (s3_endpoint_set_region(&s3->endpoint, fm_slice_text(transfer->answer.region)) < 0)
        return false;
    if (strcmp(before.region, s3->endpoint.region) == 0)
        return false;
    if (strcmp(before.host, s3->endpoint.host) != 0)
        s3->generation++;
    metric_add(&s3->region_repairs, 1);
    log_warn("upload.region", "region=%s was=%s why=\"the bucket said so\"", s3->endpoint.region,
             before.region);
    return true;
}

/* A HEAD that is refused says nothing but the time: a wrong clock looks like a wrong key. */
static bool exchange_looks_skewed(struct transfer *transfer)
{
    int64_t delta_s = transfer->answer.date_unix_s - bucket_s3_now_s(transfer->s3);
    return transfer->answer.outcome == S3_AUTH && !transfer->answer.code[0] &&
           transfer->answer.date_unix_s && llabs(delta_s) > 300;
}

static bool exchange_repair(struct transfer *transfer)
{
    enum s3_outcome outcome = transfer->answer.outcome;
    if (outcome == S3_CLOCK || exchange_looks_skewed(transfer)) {
        if ((transfer->repairs & REPAIR_CLOCK) || !exchange_repair_clock(transfer))
            return false;
        transfer->repairs |= REPAIR_CLOCK;
        exchange_digest(transfer);
        return true;
    }
    if (outcome == S3_REDIRECT) {
        if ((transfer->repairs & REPAIR_REGION) || !exchange_repair_region(transfer))
            return false;
        transfer->repairs |= REPAIR_REGION;
        exchange_digest(transfer);
        return true;
    }
    if (outcome == S3_AUTH && transfer->status && !(transfer->repairs & REPAIR_CREDENTIALS)) {
        transfer->repairs |= REPAIR_CREDENTIALS;
        metric_add(&transfer->s3->credential_repairs, 1);
        transfer_run_job(transfer, exchange_credentials_work, exchange_after_credentials);
        return true;
    }
    return false;
}

/* ---- the answer ---- */

static void exchange_describe(struct transfer *transfer, int rc)
{
    const struct s3_answer *answer = &transfer->answer;
    struct fm_why *why = &transfer->request->why;
    if (rc < 0)
        (void)fm_fail(why, rc, "%s: %s", transfer->net.method,
                      transfer->net.why.text[0] ? transfer->net.why.text : fm_rc_text(rc));
    else
        (void)fm_fail(why, FM_EIO, "%s: HTTP %d%s%s%s%s", transfer->net.method, transfer->status,
                      answer->code[0] ? " " : "", answer->code, answer->message[0] ? ": " : "",
                      answer->message);
}

static void exchange_read_answer(struct transfer *transfer, int rc)
{
    struct net_call *net = &transfer->net;
    struct s3_header headers[64];
    struct s3_response_view view = {.request_sent_whole = net->body_sent >= net->body_length,
                                    .headers = headers};
    char names[64][32]; /* those that matter are short; names are lower case */
    if (rc == FM_OK) {
        view.status = net->status;
        view.body = net->response_body;
        for (size_t i = 0; i < net->response_header_count && view.header_count < 64; i++) {
            struct fm_slice name = net->response_headers[i].name;
            if (name.len >= sizeof names[0])
                continue;
            memcpy(names[view.header_count], name.ptr, name.len);
            names[view.header_count][name.len] = '\0';
            headers[view.header_count] =
                (struct s3_header){names[view.header_count], net->response_headers[i].value};
            view.header_count++;
        }
        fm_buf_reset(&transfer->answer_body);
        fm_buf_put_slice(&transfer->answer_body, net->response_body);
    }
    transfer->status = view.status;
    s3_answer_read(&transfer->call, &view, &transfer->answer);
    if (rc == FM_OK && transfer->answer_body.failed)
        transfer->answer.outcome = S3_TRANSIENT; /* no memory for it */
    if (rc == FM_EDENIED)
        transfer->answer.outcome = S3_AUTH; /* the server's certificate: a person must look */
}

static void exchange_on_done(struct net_call *net, int rc)
{
    struct transfer *transfer = net->self;
    exchange_read_answer(transfer, rc);
    if (transfer->answer.outcome != S3_DONE)
        exchange_describe(transfer, rc);
    bucket_s3_give_client(fm_take(transfer->client));
    if (transfer->cancelled)
        transfer_end_cancelled(transfer);
    else if (!exchange_repair(transfer))
        transfer->after_exchange(transfer);
}

/* ---- sending ---- */

static int exchange_sign(struct transfer *transfer, struct s3_request *ret_request)
{
    struct bucket_s3 *s3 = transfer->s3;
    struct s3_credentials credentials = {fm_buf_slice(&s3->access_key),
                                         fm_buf_slice(&s3->secret_key),
                                         fm_buf_slice(&s3->session_token)};
    fm_arena_reset(&transfer->arena);
    transfer->sent_condition = transfer->call.object.create_only;
    transfer->sent_checksum = transfer->call.object.crc32c != NULL;
    return s3_request_build(&s3->endpoint, &credentials, &transfer->call, bucket_s3_now_s(s3),
                            &transfer->arena, ret_request);
}

static void exchange_fill_call(struct transfer *transfer, const struct s3_request *request)
{
    for (uint32_t i = 0; i < request->header_count; i++)
        transfer->headers[i] = (struct http_header){fm_slice_text(request->headers[i].name),
                                                    request->headers[i].value};
    transfer->net = (struct net_call){
        .method = request->method,
        .host = request->host,
        .target = request->target,
        .headers = transfer->headers,
        .header_count = request->header_count,
        .body = transfer->body,
        .body_offset = transfer->body_offset,
        .body_length = transfer->body_length,
        .expect_continue = transfer->body_length > S3_EXPECT_BYTES,
        .response_bytes_max = transfer->answer_bytes_max,
        .done = exchange_on_done,
        .self = transfer,
    };
}

static void exchange_send(struct transfer *transfer)
{
    struct s3_request request;
    int rc = exchange_sign(transfer, &request);
    if (rc < 0) {
        (void)fm_fail(&transfer->request->why, rc, "the request cannot be signed: %s",
                      fm_rc_text(rc));
        transfer_end(transfer, rc == FM_ECONFIG ? S3_AUTH : S3_TRANSIENT);
        return;
    }
    transfer->client = bucket_s3_take_client(transfer->s3, &transfer->request->why);
    if (!transfer->client) {
        transfer_end(transfer, S3_TRANSIENT);
        return;
    }
    exchange_fill_call(transfer, &request);
    net_call_start(transfer->client->client, &transfer->net);
}

void exchange_start(struct transfer *transfer, transfer_next *after)
{
    transfer->after_exchange = after;
    transfer->repairs = 0;
    if (!transfer->s3->has_credentials)
        transfer_run_job(transfer, exchange_credentials_work, exchange_after_credentials);
    else
        exchange_digest(transfer);
}
