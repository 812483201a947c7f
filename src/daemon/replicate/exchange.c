/* SPDX-License-Identifier: Apache-2.0 */
/* exchange - one signed HTTP exchange.
 *
 *   digest (job, if there is a body) -> credentials (a wait, if there are none) -> sign, send
 *     ^                                                                                   |
 *     +------- once each: other clock, other region, fresh credentials ------- answer <---+
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

#define DIGEST_BYTES FM_KIB(256)

static void exchange_digest(struct transfer *transfer);
static void exchange_send(struct transfer *transfer);

/* ---- credentials ---- */

static void exchange_on_credentials(struct credentials_wait *wait)
{
    struct transfer *transfer = FM_CONTAINER(wait, struct transfer, wait);
    transfer->is_waiting = false;
    if (wait->rc == FM_OK) {
        exchange_digest(transfer);
        return;
    }
    /* What the bucket said about the old ones is of more use, if there were any. */
    if (!transfer->request->why.text[0])
        transfer->request->why = wait->why;
    transfer_end(transfer, S3_AUTH);
}

static void exchange_await_credentials(struct transfer *transfer)
{
    transfer->is_waiting = true;
    transfer->wait.done = exchange_on_credentials;
    credentials_wait_start(transfer->s3->credentials, &transfer->wait);
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
    if (!bucket_clock_adopt(&s3->clock, transfer->answer.date_unix_s))
        return false;
    metric_add(&s3->clock_repairs, 1);
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
    int64_t delta_s = transfer->answer.date_unix_s - transfer->signed_unix_s;
    return transfer->answer.outcome == S3_AUTH && !transfer->answer.code[0] &&
           transfer->answer.date_unix_s && llabs(delta_s) > 300;
}

static bool exchange_repair_credentials(struct transfer *transfer)
{
    struct credentials *credentials = transfer->s3->credentials;
    transfer->wait.done = exchange_on_credentials;
    if (!credentials || !credentials_renew(credentials, transfer->generation, &transfer->wait))
        return false;
    transfer->is_waiting = true;
    transfer->repairs |= REPAIR_CREDENTIALS;
    metric_add(&transfer->s3->credential_repairs, 1);
    return true;
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
    if (outcome == S3_AUTH && transfer->status && !(transfer->repairs & REPAIR_CREDENTIALS))
        return exchange_repair_credentials(transfer);
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
    bucket_clock_measure(&transfer->s3->clock, transfer->answer.date_unix_s);
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

/* FM_NONE: there are no credentials that could be used. */
static int exchange_sign(struct transfer *transfer, struct s3_request *ret_request)
{
    struct bucket_s3 *s3 = transfer->s3;
    struct s3_credentials keys, *credentials = s3->credentials ? &keys : NULL;
    struct s3_endpoint endpoint = bucket_s3_endpoint(s3, transfer->request);
    if (credentials && !credentials_get(s3->credentials, &keys, &transfer->generation))
        return FM_NONE;
    fm_arena_reset(&transfer->arena);
    transfer->sent_condition = transfer->call.object.create_only;
    transfer->sent_checksum = transfer->call.object.crc32c != NULL;
    transfer->call.object.storage = &s3->storage;
    transfer->signed_unix_s = bucket_clock_now_s(&s3->clock);
    return s3_request_build(&endpoint, credentials, &transfer->call, transfer->signed_unix_s,
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
        .pacer = transfer->request->pacer,
        .response_bytes_max = transfer->answer_bytes_max,
        .done = exchange_on_done,
        .self = transfer,
    };
}

static void exchange_send(struct transfer *transfer)
{
    struct s3_request request;
    int rc = exchange_sign(transfer, &request);
    if (rc == FM_NONE) { /* they expired while the body was hashed, or were never there */
        exchange_await_credentials(transfer);
        return;
    }
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
    exchange_digest(transfer);
}
