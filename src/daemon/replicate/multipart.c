/* SPDX-License-Identifier: Apache-2.0 */
/* multipart - the plan of a large put.
 *
 *   known from before --> LIST PARTS --(gone)--> LIST UPLOADS of this key --> ABORT each --> BEGIN
 *                           |                                                                 |
 *                           v                                                                 v
 *                         PART, PART, ... <------------------- remember on disk (job) <-------+
 *                           |
 *                           v
 *                       COMPLETE --> forget (job) --> done
 *
 * Parts have one fixed size (some servers demand it).  The upload is remembered before its first
 * part; one that was begun and not remembered is found by LIST UPLOADS: only this node writes the
 * key, so whatever is open there is ours.  A lost answer to COMPLETE is reported as ambiguous, and
 * the replicator looks at the object.
 */
#include "bucket_s3.h"

#include <stdio.h>
#include <stdlib.h>

#include "fermata/bytes.h"

static void multipart_list_parts(struct transfer *transfer);
static void multipart_sweep(struct transfer *transfer);
static void multipart_abort_next(struct transfer *transfer);
static void multipart_begin(struct transfer *transfer);
static void multipart_next_part(struct transfer *transfer);

static void multipart_set_call(struct transfer *transfer, enum s3_verb verb)
{
    transfer->call = (struct s3_call){
        .verb = verb,
        .object.key = fm_slice_text(transfer->request->key),
    };
    if (transfer->upload)
        transfer->call.upload_id = fm_slice_text(transfer->upload->upload_id);
    transfer->body = (struct fm_source){0};
    transfer->body_offset = transfer->body_length = 0;
    transfer->answer_bytes_max = S3_ANSWER_BYTES_MAX;
}

/* ---- forgetting ---- */

static void multipart_forget_work(struct pf_job *job)
{
    struct transfer *transfer = FM_CONTAINER(job, struct transfer, job);
    multipart_state_forget(transfer->s3, transfer->request->key);
}

static void multipart_drop(struct transfer *transfer)
{
    if (transfer->upload_is_listed)
        fm_list_remove(&transfer->upload->link);
    transfer->upload_is_listed = false;
    free(fm_take(transfer->upload));
}

static void multipart_after_forget_end(struct transfer *transfer)
{
    transfer_end(transfer, transfer->final_outcome);
}

static void multipart_end_and_forget(struct transfer *transfer, enum s3_outcome outcome)
{
    transfer->final_outcome = outcome;
    multipart_drop(transfer);
    transfer_run_job(transfer, multipart_forget_work, multipart_after_forget_end);
}

/* ---- resume ---- */

static uint64_t multipart_part_size(const struct transfer *transfer, uint32_t part)
{
    uint64_t offset = (part - 1) * transfer->upload->part_bytes;
    return FM_MIN(transfer->upload->size - offset, transfer->upload->part_bytes);
}

static int multipart_on_part(void *self, const struct s3_part *part)
{
    struct transfer *transfer = self;
    if (part->number <= transfer->part_count &&
        part->size == multipart_part_size(transfer, part->number) && part->etag[0]) {
        memcpy(transfer->etags[part->number - 1], part->etag, sizeof part->etag);
        metric_add(&transfer->s3->resumed_parts, 1);
    }
    return FM_OK;
}

static void multipart_after_list_parts(struct transfer *transfer)
{
    char previous[sizeof transfer->part_marker];
    memcpy(previous, transfer->part_marker, sizeof previous);
    if (transfer->answer.outcome == S3_NO_UPLOAD || transfer->answer.outcome == S3_ABSENT) {
        multipart_drop(transfer);
        transfer_run_job(transfer, multipart_forget_work, multipart_sweep);
        return;
    }
    if (transfer->answer.outcome != S3_DONE) {
        transfer_end_from_answer(transfer);
        return;
    }
    if (s3_parts_read(fm_buf_slice(&transfer->answer_body), multipart_on_part, transfer,
                      transfer->part_marker) != FM_OK) {
        (void)fm_fail(&transfer->request->why, FM_EMALFORMED, "the list of parts is malformed");
        transfer_end(transfer, S3_TRANSIENT);
        return;
    }
    /* A marker that does not move would list for ever. */
    if (transfer->part_marker[0] && strcmp(previous, transfer->part_marker) != 0)
        multipart_list_parts(transfer);
    else
        multipart_next_part(transfer);
}

static void multipart_list_parts(struct transfer *transfer)
{
    multipart_set_call(transfer, S3_MULTIPART_LIST_PARTS);
    transfer->call.query = fm_slice_text(transfer->part_marker);
    transfer->answer_bytes_max = S3_LISTING_BYTES_MAX;
    exchange_start(transfer, multipart_after_list_parts);
}

/* ---- sweep ---- */

static int multipart_on_upload(void *self, struct fm_slice key, struct fm_slice upload_id)
{
    struct transfer *transfer = self;
    char own[1088];
    const struct s3_endpoint endpoint = bucket_s3_endpoint(transfer->s3, transfer->request);
    (void)snprintf(own, sizeof own, "%s%s%s", endpoint.prefix, endpoint.prefix[0] ? "/" : "",
                   transfer->request->key);
    if (fm_slice_equal_text(key, own) && upload_id.len < sizeof transfer->sweep[0] &&
        transfer->sweep_count < S3_SWEEP_MAX) {
        char *slot = transfer->sweep[transfer->sweep_count++];
        memcpy(slot, upload_id.ptr, upload_id.len);
        slot[upload_id.len] = '\0';
    }
    return FM_OK;
}

static void multipart_after_abort(struct transfer *transfer)
{
    /* Gone, refused, failed: the next attempt's sweep looks again. */
    multipart_abort_next(transfer);
}

static void multipart_abort_next(struct transfer *transfer)
{
    if (transfer->sweep_count == 0) {
        multipart_begin(transfer);
        return;
    }
    multipart_set_call(transfer, S3_MULTIPART_ABORT);
    transfer->call.upload_id = fm_slice_text(transfer->sweep[--transfer->sweep_count]);
    exchange_start(transfer, multipart_after_abort);
}

static void multipart_after_sweep(struct transfer *transfer)
{
    enum s3_outcome outcome = transfer->answer.outcome;
    if (outcome == S3_TRANSIENT || outcome == S3_SLOW_DOWN || outcome == S3_NO_BUCKET) {
        transfer_end_from_answer(transfer);
        return;
    }
    transfer->sweep_count = 0;
    if (outcome == S3_DONE &&
        s3_uploads_read(fm_buf_slice(&transfer->answer_body), multipart_on_upload, transfer) < 0)
        transfer->sweep_count = 0;
    /* Without the permission to list there is the bucket's own rule for unfinished uploads. */
    multipart_abort_next(transfer);
}

static void multipart_sweep(struct transfer *transfer)
{
    multipart_set_call(transfer, S3_MULTIPART_LIST);
    transfer->answer_bytes_max = S3_LISTING_BYTES_MAX;
    exchange_start(transfer, multipart_after_sweep);
}

/* ---- begin ---- */

static bool multipart_plan_parts(struct transfer *transfer)
{
    const struct s3_pending_upload *upload = transfer->upload;
    free(fm_take(transfer->etags));
    transfer->part = 1;
    transfer->part_count = (uint32_t)((upload->size + upload->part_bytes - 1) / upload->part_bytes);
    transfer->etags = calloc(transfer->part_count, sizeof transfer->etags[0]);
    transfer->part_marker[0] = '\0';
    return transfer->etags != NULL;
}

static void multipart_remember_work(struct pf_job *job)
{
    struct transfer *transfer = FM_CONTAINER(job, struct transfer, job);
    transfer->job_rc = multipart_state_save(transfer->s3, transfer->upload, &transfer->job_why);
}

static void multipart_after_remember(struct transfer *transfer)
{
    if (transfer->job_rc < 0) /* not worth stopping for: a sweep would find the upload */
        log_warn("upload.state", "why=\"%s\"", transfer->job_why.text);
    fm_list_append(&transfer->s3->uploads, &transfer->upload->link);
    transfer->upload_is_listed = true;
    multipart_next_part(transfer);
}

static void multipart_after_begin(struct transfer *transfer)
{
    struct bucket_s3 *s3 = transfer->s3;
    if (transfer->answer.outcome == S3_UNSUPPORTED) {
        s3->use_multipart = false;
        log_warn("upload.feature", "multipart=off why=\"%s\"", transfer->request->why.text);
        transfer_put_single(transfer);
        return;
    }
    if (transfer->answer.outcome != S3_DONE) {
        transfer_end_from_answer(transfer);
        return;
    }
    struct s3_pending_upload *upload = calloc(1, sizeof *upload);
    transfer->upload = upload;
    if (upload) {
        upload->size = transfer->request->source.size;
        uint64_t least = upload->size / S3_PART_NUMBER_MAX + 1;
        upload->part_bytes = FM_MAX(s3->part_bytes, least);
        fm_list_init(&upload->link);
        (void)snprintf(upload->key, sizeof upload->key, "%s", transfer->request->key);
        (void)snprintf(upload->upload_id, sizeof upload->upload_id, "%s",
                       transfer->answer.upload_id);
    }
    if (!upload || !multipart_plan_parts(transfer)) {
        (void)fm_fail(&transfer->request->why, FM_ENOMEM, "no memory for the list of parts");
        transfer_end(transfer, S3_TRANSIENT);
        return;
    }
    transfer_run_job(transfer, multipart_remember_work, multipart_after_remember);
}

static void multipart_begin(struct transfer *transfer)
{
    multipart_set_call(transfer, S3_MULTIPART_BEGIN);
    exchange_start(transfer, multipart_after_begin);
}

/* ---- parts ---- */

static void multipart_after_complete(struct transfer *transfer)
{
    enum s3_outcome outcome = transfer->answer.outcome;
    transfer->request->retry_after_s = transfer->answer.retry_after_s;
    switch (outcome) {
    case S3_DONE:
    case S3_CONFLICT: /* this upload is spoilt */
        multipart_end_and_forget(transfer, outcome);
        return;
    case S3_NO_UPLOAD: /* completed before and the answer lost, or aborted by a rule: look */
        multipart_end_and_forget(transfer, S3_AMBIGUOUS);
        return;
    default:
        transfer_end_from_answer(transfer);
    }
}

static void multipart_complete(struct transfer *transfer)
{
    fm_buf_reset(&transfer->complete_body);
    for (uint32_t i = 0; i < transfer->part_count; i++)
        s3_complete_part(&transfer->complete_body, i + 1, fm_slice_text(transfer->etags[i]));
    s3_complete_end(&transfer->complete_body);
    if (transfer->complete_body.failed) {
        transfer_end(transfer, S3_TRANSIENT);
        return;
    }
    multipart_set_call(transfer, S3_MULTIPART_COMPLETE);
    transfer->complete_slice = fm_buf_slice(&transfer->complete_body);
    transfer->body = fm_source_memory(&transfer->complete_slice);
    transfer->body_length = transfer->body.size;
    exchange_start(transfer, multipart_after_complete);
}

static void multipart_after_part(struct transfer *transfer)
{
    struct bucket_s3 *s3 = transfer->s3;
    if (transfer->answer.outcome == S3_DONE) {
        s3->checksum_works |= transfer->sent_checksum;
        memcpy(transfer->etags[transfer->part - 1], transfer->answer.etag,
               sizeof transfer->etags[0]);
        multipart_next_part(transfer);
    } else if (transfer->answer.outcome == S3_NO_UPLOAD) {
        multipart_end_and_forget(transfer, S3_TRANSIENT);
    } else if (transfer->sent_checksum && !s3->checksum_works &&
               (transfer->answer.outcome == S3_UNSUPPORTED || transfer->status == 400)) {
        s3->use_checksum = false;
        log_warn("upload.feature", "checksums=off why=\"%s\"", transfer->request->why.text);
        multipart_next_part(transfer);
    } else {
        transfer_end_from_answer(transfer);
    }
}

static void multipart_next_part(struct transfer *transfer)
{
    while (transfer->part <= transfer->part_count && transfer->etags[transfer->part - 1][0])
        transfer->part++;
    if (transfer->part > transfer->part_count) {
        multipart_complete(transfer);
        return;
    }
    multipart_set_call(transfer, S3_MULTIPART_PART);
    transfer->call.part_number = transfer->part;
    transfer->body = transfer->request->source;
    transfer->body_offset = (transfer->part - 1) * transfer->upload->part_bytes;
    transfer->body_length = multipart_part_size(transfer, transfer->part);
    exchange_start(transfer, multipart_after_part);
}

/* ---- entry ---- */

void multipart_start(struct transfer *transfer)
{
    struct s3_pending_upload *known = multipart_state_find(transfer->s3, transfer->request->key);
    if (!known) {
        multipart_sweep(transfer);
        return;
    }
    transfer->upload = known;
    transfer->upload_is_listed = true;
    if (known->size != transfer->request->source.size) {
        /* Another build of the block: the sweep ends what was begun for the old one. */
        multipart_drop(transfer);
        transfer_run_job(transfer, multipart_forget_work, multipart_sweep);
    } else if (multipart_plan_parts(transfer)) {
        multipart_list_parts(transfer);
    } else {
        (void)fm_fail(&transfer->request->why, FM_ENOMEM, "no memory for the list of parts");
        transfer_end(transfer, S3_TRANSIENT);
    }
}

static void multipart_after_tidy(struct transfer *transfer)
{
    multipart_end_and_forget(transfer, S3_DONE);
}

bool multipart_tidy(struct transfer *transfer)
{
    struct s3_pending_upload *known = multipart_state_find(transfer->s3, transfer->request->key);
    if (!known)
        return false;
    transfer->upload = known;
    transfer->upload_is_listed = true;
    multipart_set_call(transfer, S3_MULTIPART_ABORT);
    exchange_start(transfer, multipart_after_tidy);
    return true;
}
