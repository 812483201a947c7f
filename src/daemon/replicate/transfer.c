/* SPDX-License-Identifier: Apache-2.0 */
/* transfer - one request of the replicator against S3.
 *
 *   get, head:  one exchange
 *   list:       one for each page, see listing.c
 *   put:        one exchange, or multipart above single_put_max; where the server lacks
 *               If-None-Match, a head goes before a create-only put
 *
 * A transfer is freed in transfer_end, always on a stack of its own when the caller may still be on
 * ours; done is the last thing that happens.
 */
#include "bucket_s3.h"

#include <stdio.h>
#include <stdlib.h>

void transfer_end_cancelled(struct transfer *transfer)
{
    (void)fm_fail(&transfer->request->why, FM_ECANCELLED, "cancelled");
    transfer_end(transfer, S3_TRANSIENT);
}

/* ---- jobs and deferral ---- */

static void transfer_on_job(struct pf_job *job)
{
    struct transfer *transfer = FM_CONTAINER(job, struct transfer, job);
    if (transfer->cancelled)
        transfer_end_cancelled(transfer);
    else
        transfer->after_job(transfer);
}

void transfer_run_job(struct transfer *transfer, void (*work)(struct pf_job *job),
                      transfer_next *after)
{
    transfer->after_job = after;
    transfer->job_rc = FM_OK;
    transfer->job_why.text[0] = '\0';
    transfer->job = (struct pf_job){.work = work, .done = transfer_on_job, .lane = PF_LANE_DISK};
    pf_job_submit(transfer->s3->platform, &transfer->job);
}

static void transfer_on_timer(struct pf_timer *timer)
{
    struct transfer *transfer = FM_CONTAINER(timer, struct transfer, timer);
    pf_timer_stop(transfer->s3->platform, timer);
    transfer->after_job(transfer);
}

void transfer_defer(struct transfer *transfer, transfer_next *next)
{
    transfer->after_job = next;
    transfer->timer.fire = transfer_on_timer;
    pf_timer_start(transfer->s3->platform, &transfer->timer, 0);
}

/* ---- end ---- */

static void transfer_free(struct transfer *transfer)
{
    if (!transfer->upload_is_listed)
        free(transfer->upload);
    free(transfer->etags);
    fm_buf_fini(&transfer->names);
    fm_buf_fini(&transfer->page_token);
    fm_buf_fini(&transfer->list_from);
    fm_buf_fini(&transfer->complete_body);
    fm_buf_fini(&transfer->state_text);
    fm_buf_fini(&transfer->answer_body);
    fm_arena_fini(&transfer->arena);
    free(transfer);
}

static void transfer_finish(struct transfer *transfer)
{
    struct bucket_request *request = transfer->request;
    request->outcome = transfer->final_outcome;
    request->body_private = NULL;
    transfer_free(transfer);
    request->done(request);
}

void transfer_end(struct transfer *transfer, enum s3_outcome outcome)
{
    FM_ASSERT(!transfer->client);
    transfer->final_outcome = outcome;
    transfer_defer(transfer, transfer_finish);
}

void transfer_end_from_answer(struct transfer *transfer)
{
    transfer->request->retry_after_s = transfer->answer.retry_after_s;
    transfer_end(transfer, transfer->answer.outcome);
}

/* ---- get and head ---- */

static void transfer_after_get(struct transfer *transfer)
{
    struct bucket_request *request = transfer->request;
    struct s3_answer *answer = &transfer->answer;
    request->size = answer->content_length;
    if (answer->outcome == S3_DONE && request->want_body) {
        if (answer->content_length > request->body_max ||
            transfer->answer_body.len < answer->content_length) {
            (void)fm_fail(&request->why, FM_ELIMIT, "the object has %llu bytes",
                          (unsigned long long)answer->content_length);
            transfer_end(transfer, S3_REFUSED);
            return;
        }
        request->body = transfer->answer_body;
        request->size = transfer->answer_body.len;
        transfer->answer_body = (struct fm_buf){0};
    }
    if (answer->outcome == S3_DONE && !request->want_body && multipart_tidy(transfer))
        return;
    transfer_end_from_answer(transfer);
}

/* ---- put ---- */

static void transfer_set_put(struct transfer *transfer)
{
    struct bucket_request *request = transfer->request;
    transfer->call = (struct s3_call){
        .verb = S3_PUT,
        .object = {.key = fm_slice_text(request->key),
                   .create_only = request->create_only && transfer->s3->use_conditional},
    };
    transfer->body = request->source;
    transfer->body_offset = 0;
    transfer->body_length = request->source.size;
    transfer->answer_bytes_max = S3_ANSWER_BYTES_MAX;
}

static void transfer_after_put(struct transfer *transfer);

static void transfer_after_head(struct transfer *transfer)
{
    if (transfer->answer.outcome == S3_DONE) {
        (void)fm_fail(&transfer->request->why, FM_EEXISTS, "HEAD: the key exists");
        transfer_end(transfer, S3_EXISTS);
    } else if (transfer->answer.outcome != S3_ABSENT) {
        transfer_end_from_answer(transfer);
    } else {
        transfer_set_put(transfer);
        exchange_start(transfer, transfer_after_put);
    }
}

/* Uploads at work at the same time may find the lack together; it is told once. */
static bool transfer_give_up(struct transfer *transfer, bool *feature, const char *name)
{
    if (*feature)
        log_warn("upload.feature", "%s=off why=\"%s\"", name, transfer->request->why.text);
    *feature = false;
    return true;
}

/* Whether a feature that this server seems to lack could be given up; once per process. */
static bool transfer_lower_feature(struct transfer *transfer)
{
    struct bucket_s3 *s3 = transfer->s3;
    bool says_so = transfer->answer.outcome == S3_UNSUPPORTED;
    bool may_mean_it = transfer->answer.outcome == S3_REFUSED && transfer->status == 400;
    if (transfer->sent_condition && (says_so || (may_mean_it && !s3->conditional_works)))
        return transfer_give_up(transfer, &s3->use_conditional, "conditional_writes");
    if (transfer->sent_checksum && (says_so || (may_mean_it && !s3->checksum_works)))
        return transfer_give_up(transfer, &s3->use_checksum, "checksums");
    return false;
}

static void transfer_after_put(struct transfer *transfer)
{
    struct bucket_s3 *s3 = transfer->s3;
    if (transfer->answer.outcome == S3_DONE) {
        s3->checksum_works |= transfer->sent_checksum;
    } else if (transfer->answer.outcome == S3_EXISTS) {
        s3->conditional_works |= transfer->sent_condition;
    } else if (transfer_lower_feature(transfer)) {
        transfer_put_single(transfer);
        return;
    }
    transfer_end_from_answer(transfer);
}

void transfer_put_single(struct transfer *transfer)
{
    struct bucket_request *request = transfer->request;
    if (!request->create_only || transfer->s3->use_conditional) {
        transfer_set_put(transfer);
        exchange_start(transfer, transfer_after_put);
        return;
    }
    transfer->call = (struct s3_call){.verb = S3_HEAD, .object.key = fm_slice_text(request->key)};
    transfer->body_length = 0;
    transfer->answer_bytes_max = S3_ANSWER_BYTES_MAX;
    exchange_start(transfer, transfer_after_head);
}

/* ---- start ---- */

static struct transfer *transfer_new(struct bucket_s3 *s3, struct bucket_request *request)
{
    struct transfer *transfer = calloc(1, sizeof *transfer);
    if (!transfer)
        return NULL;
    transfer->s3 = s3;
    transfer->request = request;
    fm_arena_init(&transfer->arena, FM_KIB(128));
    fm_buf_init(&transfer->answer_body, S3_LISTING_BYTES_MAX);
    fm_buf_init(&transfer->complete_body, FM_MIB(4));
    fm_buf_init(&transfer->state_text, FM_KIB(4));
    fm_buf_init(&transfer->names, S3_LISTING_BYTES_MAX);
    fm_buf_init(&transfer->page_token, FM_KIB(4));
    fm_buf_init(&transfer->list_from, FM_KIB(4));
    request->body_private = transfer;
    request->bucket = &s3->bucket;
    request->retry_after_s = 0;
    request->why.text[0] = '\0';
    request->body = (struct fm_buf){0};
    return transfer;
}

static void transfer_nothing_work(struct pf_job *job)
{
    (void)job; /* only the way back matters */
}

static void transfer_no_memory(struct pf_job *job)
{
    struct bucket_request *request = FM_CONTAINER(job, struct bucket_request, job);
    request->outcome = S3_TRANSIENT;
    (void)fm_fail(&request->why, FM_ENOMEM, "no memory for %s", request->key);
    request->done(request);
}

static struct transfer *transfer_begin(struct bucket_s3 *s3, struct bucket_request *request)
{
    struct transfer *transfer = transfer_new(s3, request);
    if (transfer)
        return transfer;
    request->body_private = NULL;
    request->job = (struct pf_job){
        .work = transfer_nothing_work, .done = transfer_no_memory, .lane = PF_LANE_DISK};
    pf_job_submit(s3->platform, &request->job);
    return NULL;
}

/* NULL: it ends by itself, without memory, or because it is not the time for it. */
static struct transfer *transfer_begin_checked(struct bucket_s3 *s3, struct bucket_request *request)
{
    struct transfer *transfer = transfer_begin(s3, request);
    if (!transfer)
        return NULL;
    if (bucket_clock_check(&s3->clock, &request->why) < 0) {
        transfer_end(transfer, S3_CLOCK);
        return NULL;
    }
    if (request->is_control && !s3->control_prefix[0]) {
        (void)fm_fail(&request->why, FM_ECONFIG, "there is no control prefix");
        transfer_end(transfer, S3_REFUSED);
        return NULL;
    }
    return transfer;
}

void transfer_start_get(struct bucket_s3 *s3, struct bucket_request *request)
{
    struct transfer *transfer = transfer_begin_checked(s3, request);
    if (!transfer)
        return;
    transfer->call = (struct s3_call){.verb = request->want_body ? S3_GET : S3_HEAD,
                                      .object.key = fm_slice_text(request->key)};
    transfer->answer_bytes_max =
        FM_MAX(request->want_body ? FM_MIN(request->body_max, S3_LISTING_BYTES_MAX) : 0,
               S3_ANSWER_BYTES_MAX);
    exchange_start(transfer, transfer_after_get);
}

void transfer_start_put(struct bucket_s3 *s3, struct bucket_request *request)
{
    struct transfer *transfer = transfer_begin_checked(s3, request);
    if (!transfer)
        return;
    if (request->source.size > s3->single_put_max && s3->use_multipart)
        multipart_start(transfer);
    else
        transfer_put_single(transfer);
}

void transfer_start_list(struct bucket_s3 *s3, struct bucket_request *request)
{
    struct transfer *transfer = transfer_begin_checked(s3, request);
    if (transfer)
        listing_start(transfer);
}

void transfer_cancel(struct transfer *transfer)
{
    transfer->cancelled = true;
    if (transfer->is_waiting) {
        transfer->is_waiting = false;
        credentials_wait_stop(&transfer->wait);
        transfer_end_cancelled(transfer);
        return;
    }
    /* Freeing the connection ends its call, and the call's end ends us.  Otherwise a job or a
     * deferred step is under way and finds the flag. */
    if (transfer->client)
        (void)net_client_free(fm_take(transfer->client->client));
}
