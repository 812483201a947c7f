/* SPDX-License-Identifier: Apache-2.0 */
/* cloud_session - the plan of a large put to Google.
 *
 *   digest (job) --(known from before)--> how far is it? --(gone)--> forget (job) --> BEGIN
 *      |                                    |                                          |
 *      +----------> BEGIN                   v                                          v
 *                                         BLOCK, BLOCK, ... <---- remember on disk (job)
 *                                           |
 *                                           v
 *                                         forget (job) --> done
 *
 * The description that begins a session holds the checksum of the whole, so a session goes with
 * that content only, and the server lets nobody see what differs from it.  A lost answer to the
 * last block is reported as ambiguous, and the replicator looks at the object.
 */
#include "bucket_cloud.h"

#include <stdio.h>
#include <stdlib.h>

static void session_begin(struct cloud_transfer *transfer);
static void session_next(struct cloud_transfer *transfer);

/* ---- forgetting ---- */

static void session_forget_work(struct pf_job *job)
{
    struct cloud_transfer *transfer = FM_CONTAINER(job, struct cloud_transfer, job);
    cloud_state_forget(transfer->cloud, transfer->name);
}

static void session_after_forget(struct cloud_transfer *transfer)
{
    cloud_transfer_end(transfer, transfer->final_outcome);
}

static void session_forget(struct cloud_transfer *transfer, cloud_next *after)
{
    if (transfer->session_is_listed)
        fm_list_remove(&transfer->session->link);
    transfer->session_is_listed = false;
    free(fm_take(transfer->session));
    cloud_transfer_run_job(transfer, session_forget_work, after);
}

static void session_end(struct cloud_transfer *transfer, enum s3_outcome outcome)
{
    transfer->request->retry_after_s = transfer->answer.retry_after_s;
    transfer->final_outcome = outcome;
    session_forget(transfer, session_after_forget);
}

static void session_fail(struct cloud_transfer *transfer, int rc, const char *text)
{
    (void)fm_fail(&transfer->request->why, rc, "%s", text);
    cloud_transfer_end(transfer, S3_TRANSIENT);
}

/* ---- content ---- */

static void session_after_block(struct cloud_transfer *transfer)
{
    const struct cloud_answer *answer = &transfer->answer;
    uint64_t size = transfer->request->source.size;
    switch (answer->outcome) {
    case S3_DONE:
        break;
    case S3_NO_UPLOAD: /* it expired, or is done and forgotten: look, and begin again */
        session_end(transfer, S3_AMBIGUOUS);
        return;
    case S3_EXISTS:
    case S3_REFUSED: /* this session will not be taken */
        session_end(transfer, answer->outcome);
        return;
    default:
        if (strcmp(answer->code, "checksum") == 0 || transfer->status == 400)
            session_end(transfer, answer->outcome);
        else
            cloud_transfer_end_from_answer(transfer); /* goes on where it was */
        return;
    }
    if (!answer->is_open && answer->size == size) {
        session_end(transfer, S3_DONE);
    } else if (!answer->is_open) {
        (void)fm_fail(&transfer->request->why, FM_ECORRUPT, "the object has %llu bytes of %llu",
                      (unsigned long long)answer->size, (unsigned long long)size);
        session_end(transfer, S3_TRANSIENT);
    } else if (answer->received >= size ||
               (transfer->call.verb == CLOUD_BLOCK && answer->received <= transfer->sent)) {
        session_fail(transfer, FM_EMALFORMED, "the session does not move");
    } else {
        transfer->sent = answer->received;
        session_next(transfer);
    }
}

static void session_set_call(struct cloud_transfer *transfer, enum cloud_verb verb)
{
    cloud_transfer_set_call(transfer, verb);
    transfer->call.crc32c = transfer->crc32c;
    transfer->call.session = fm_slice_text(transfer->session->target);
}

static void session_next(struct cloud_transfer *transfer)
{
    uint64_t chunk = transfer->cloud->block_bytes / CLOUD_CHUNK_BYTES * CLOUD_CHUNK_BYTES;
    uint64_t left = transfer->request->source.size - transfer->sent;
    session_set_call(transfer, CLOUD_BLOCK);
    cloud_transfer_set_body(transfer, transfer->sent,
                            FM_MIN(left, FM_MAX(chunk, CLOUD_CHUNK_BYTES)));
    cloud_exchange_start(transfer, session_after_block);
}

/* ---- begin ---- */

static void session_remember_work(struct pf_job *job)
{
    struct cloud_transfer *transfer = FM_CONTAINER(job, struct cloud_transfer, job);
    transfer->job_rc = cloud_state_save(transfer->cloud, transfer->session, &transfer->job_why);
}

static void session_after_remember(struct cloud_transfer *transfer)
{
    if (transfer->job_rc < 0) /* not worth stopping for: it would begin again */
        log_warn("upload.state", "why=\"%s\"", transfer->job_why.text);
    fm_list_append(&transfer->cloud->sessions, &transfer->session->link);
    transfer->session_is_listed = true;
    session_next(transfer);
}

static void session_after_begin(struct cloud_transfer *transfer)
{
    if (transfer->answer.outcome != S3_DONE) {
        cloud_transfer_end_from_answer(transfer);
        return;
    }
    struct cloud_session *session = calloc(1, sizeof *session);
    if (!session) {
        session_fail(transfer, FM_ENOMEM, "no memory for a session");
        return;
    }
    fm_list_init(&session->link);
    (void)snprintf(session->name, sizeof session->name, "%s", transfer->name);
    memcpy(session->target, transfer->answer.session, sizeof session->target);
    memcpy(session->crc32c, transfer->crc32c, sizeof session->crc32c);
    session->size = transfer->request->source.size;
    transfer->session = session;
    transfer->sent = 0;
    cloud_transfer_run_job(transfer, session_remember_work, session_after_remember);
}

static void session_begin(struct cloud_transfer *transfer)
{
    cloud_transfer_set_call(transfer, CLOUD_BEGIN);
    transfer->call.crc32c = transfer->crc32c;
    fm_buf_reset(&transfer->commit);
    cloud_gcs_begin_body(&transfer->cloud->place, &transfer->call, &transfer->commit);
    if (transfer->commit.failed) {
        session_fail(transfer, FM_ENOMEM, "no memory for the request");
        return;
    }
    transfer->commit_slice = fm_buf_slice(&transfer->commit);
    transfer->body = fm_source_memory(&transfer->commit_slice);
    transfer->call.length = transfer->commit_slice.len;
    cloud_exchange_start(transfer, session_after_begin);
}

/* ---- resume ---- */

static void session_after_progress(struct cloud_transfer *transfer)
{
    if (transfer->answer.outcome == S3_NO_UPLOAD) {
        session_forget(transfer, session_begin);
        return;
    }
    if (transfer->answer.outcome == S3_DONE)
        metric_add(&transfer->cloud->resumed_parts, 1);
    session_after_block(transfer);
}

static bool session_set_name(struct cloud_transfer *transfer)
{
    struct fm_buf name;
    const struct cloud_call call = {.key = fm_slice_text(transfer->request->key),
                                    .is_control = transfer->request->is_control};
    fm_buf_init(&name, CLOUD_NAME_MAX);
    cloud_object_name(&transfer->cloud->place, &call, &name);
    bool fits = !name.failed && name.len < sizeof transfer->name;
    if (fits) {
        memcpy(transfer->name, name.ptr, name.len);
        transfer->name[name.len] = '\0';
    }
    fm_buf_fini(&name);
    return fits;
}

static void session_after_digest(struct cloud_transfer *transfer)
{
    if (transfer->job_rc < 0) {
        cloud_transfer_end_from_job(transfer);
        return;
    }
    struct cloud_session *known = cloud_state_find(transfer->cloud, transfer->name);
    if (!known) {
        session_begin(transfer);
        return;
    }
    transfer->session = known;
    transfer->session_is_listed = true;
    if (known->size != transfer->request->source.size ||
        memcmp(known->crc32c, transfer->crc32c, sizeof known->crc32c) != 0) {
        session_forget(transfer, session_begin); /* another build of the block */
        return;
    }
    transfer->sent = 0;
    session_set_call(transfer, CLOUD_PROGRESS);
    cloud_exchange_start(transfer, session_after_progress);
}

void cloud_session_start(struct cloud_transfer *transfer)
{
    if (session_set_name(transfer))
        cloud_transfer_digest(transfer, 0, transfer->request->source.size, session_after_digest);
    else
        session_fail(transfer, FM_ELIMIT, "the object's name is too long");
}

bool cloud_session_tidy(struct cloud_transfer *transfer)
{
    struct cloud_session *known = NULL;
    if (transfer->cloud->place.kind == CLOUD_GCS && session_set_name(transfer))
        known = cloud_state_find(transfer->cloud, transfer->name);
    if (!known)
        return false;
    transfer->session = known;
    transfer->session_is_listed = true;
    session_end(transfer, S3_DONE);
    return true;
}
