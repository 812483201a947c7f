/* SPDX-License-Identifier: Apache-2.0 */
/* cloud_transfer - one request of the replicator against Azure or Google.
 *
 *   get, head:  one exchange
 *   list:       one exchange after the other, until there are enough names
 *   put:        digest (job), then one exchange; above single_put_max in blocks or in a session
 *
 * A transfer is freed in cloud_transfer_end, always on a stack of its own, since the caller may
 * still be on ours; done is the last thing that happens.
 */
#include "bucket_cloud.h"

#include <stdio.h>
#include <stdlib.h>

#include "fermata/bytes.h"
#include "fermata/hash.h"

#define DIGEST_BYTES FM_KIB(256)

/* ---- jobs and deferral ---- */

static void transfer_on_job(struct pf_job *job)
{
    struct cloud_transfer *transfer = FM_CONTAINER(job, struct cloud_transfer, job);
    if (transfer->cancelled)
        cloud_transfer_end_cancelled(transfer);
    else
        transfer->after_job(transfer);
}

void cloud_transfer_run_job(struct cloud_transfer *transfer, void (*work)(struct pf_job *job),
                            cloud_next *after)
{
    transfer->after_job = after;
    transfer->job_rc = FM_OK;
    transfer->job_why.text[0] = '\0';
    transfer->job = (struct pf_job){.work = work, .done = transfer_on_job, .lane = PF_LANE_DISK};
    pf_job_submit(transfer->cloud->platform, &transfer->job);
}

/* ---- end ---- */

static void transfer_free(struct cloud_transfer *transfer)
{
    if (!transfer->session_is_listed)
        free(transfer->session);
    free(transfer->ids);
    free(transfer->found);
    fm_buf_fini(&transfer->commit);
    fm_buf_fini(&transfer->page);
    fm_buf_fini(&transfer->frame_head);
    fm_buf_fini(&transfer->frame_tail);
    fm_buf_fini(&transfer->answer_body);
    fm_arena_fini(&transfer->arena);
    free(transfer);
}

static void transfer_on_timer(struct pf_timer *timer)
{
    struct cloud_transfer *transfer = FM_CONTAINER(timer, struct cloud_transfer, timer);
    struct bucket_request *request = transfer->request;
    pf_timer_stop(transfer->cloud->platform, timer);
    request->outcome = transfer->final_outcome;
    request->body_private = NULL;
    if (request->outcome != S3_DONE)
        fm_buf_fini(&request->body);
    transfer_free(transfer);
    request->done(request);
}

void cloud_transfer_end(struct cloud_transfer *transfer, enum s3_outcome outcome)
{
    FM_ASSERT(!transfer->client);
    transfer->final_outcome = outcome;
    transfer->timer.fire = transfer_on_timer;
    pf_timer_start(transfer->cloud->platform, &transfer->timer, 0);
}

void cloud_transfer_end_cancelled(struct cloud_transfer *transfer)
{
    (void)fm_fail(&transfer->request->why, FM_ECANCELLED, "cancelled");
    cloud_transfer_end(transfer, S3_TRANSIENT);
}

void cloud_transfer_end_from_answer(struct cloud_transfer *transfer)
{
    transfer->request->retry_after_s = transfer->answer.retry_after_s;
    cloud_transfer_end(transfer, transfer->answer.outcome);
}

void cloud_transfer_end_from_job(struct cloud_transfer *transfer)
{
    int rc = transfer->job_rc;
    (void)fm_fail(&transfer->request->why, rc, "reading the block's file: %s", fm_rc_text(rc));
    cloud_transfer_end(transfer, rc == FM_ENOMEM ? S3_TRANSIENT : S3_REFUSED);
}

/* ---- what is sent ---- */

void cloud_transfer_set_call(struct cloud_transfer *transfer, enum cloud_verb verb)
{
    const struct bucket_request *request = transfer->request;
    transfer->call = (struct cloud_call){
        .verb = verb,
        .key = fm_slice_text(request->key),
        .is_control = request->is_control,
        .create_only = request->create_only,
        .size = request->source.size,
    };
    transfer->body = (struct fm_source){0};
    transfer->body_offset = 0;
    transfer->answer_bytes_max = CLOUD_ANSWER_BYTES_MAX;
}

void cloud_transfer_set_body(struct cloud_transfer *transfer, uint64_t offset, uint64_t length)
{
    transfer->body = transfer->request->source;
    transfer->body_offset = offset;
    transfer->call.offset = offset;
    transfer->call.length = length;
}

static int transfer_digest_range(struct cloud_transfer *transfer, uint8_t *buffer)
{
    const struct fm_source *source = &transfer->request->source;
    bool is_azure = transfer->cloud->place.kind == CLOUD_AZURE;
    FM_AUTO(s3_digest) digest = NULL;
    uint8_t sha256[32];
    uint32_t crc = 0;
    int rc = is_azure ? s3_digest_new(&digest) : FM_OK;
    for (uint64_t at = 0; rc == FM_OK && at < transfer->digest_length; at += DIGEST_BYTES) {
        size_t len = (size_t)FM_MIN(transfer->digest_length - at, DIGEST_BYTES);
        rc = source->read_at(source->self, transfer->digest_offset + at, buffer, len);
        if (rc == FM_OK && is_azure)
            s3_digest_update(digest, fm_slice(buffer, len));
        else if (rc == FM_OK)
            crc = fm_crc32c(crc, fm_slice(buffer, len));
    }
    if (rc == FM_OK && is_azure)
        s3_digest_finish(digest, sha256, transfer->md5);
    fm_store_be32(transfer->crc32c, crc);
    return rc;
}

static void transfer_digest_work(struct pf_job *job)
{
    struct cloud_transfer *transfer = FM_CONTAINER(job, struct cloud_transfer, job);
    uint8_t *buffer = malloc(DIGEST_BYTES);
    transfer->job_rc = buffer ? transfer_digest_range(transfer, buffer) : FM_ENOMEM;
    free(buffer);
}

void cloud_transfer_digest(struct cloud_transfer *transfer, uint64_t offset, uint64_t length,
                           cloud_next *after)
{
    transfer->digest_offset = offset;
    transfer->digest_length = length;
    cloud_transfer_run_job(transfer, transfer_digest_work, after);
}

/* ---- get and head ---- */

static void transfer_after_get(struct cloud_transfer *transfer)
{
    struct bucket_request *request = transfer->request;
    const struct cloud_answer *answer = &transfer->answer;
    request->size = answer->size;
    if (answer->outcome == S3_DONE && request->want_body) {
        if (answer->size > request->body_max || transfer->answer_body.len > request->body_max ||
            transfer->answer_body.len < answer->size) {
            (void)fm_fail(&request->why, FM_ELIMIT, "the object has %llu bytes",
                          (unsigned long long)answer->size);
            cloud_transfer_end(transfer, S3_REFUSED);
            return;
        }
        request->body = transfer->answer_body;
        request->size = transfer->answer_body.len;
        transfer->answer_body = (struct fm_buf){0};
    }
    if (answer->outcome == S3_DONE && !request->want_body && cloud_session_tidy(transfer))
        return;
    cloud_transfer_end_from_answer(transfer);
}

/* ---- lists ---- */

static void transfer_list_next(struct cloud_transfer *transfer);

static int transfer_on_name(void *self, struct fm_slice name)
{
    struct cloud_transfer *transfer = self;
    struct bucket_request *request = transfer->request;
    const char *after = request->list_after ? request->list_after : "";
    if (name.len <= transfer->strip_len || memchr(name.ptr, '\n', name.len))
        return FM_OK; /* the key itself, or nothing of ours */
    name = fm_slice(name.ptr + transfer->strip_len, name.len - transfer->strip_len);
    if (fm_slice_compare(name, fm_slice_text(after)) <= 0)
        return FM_OK;
    if (transfer->listed == CLOUD_LIST_NAMES_MAX)
        return FM_END;
    transfer->listed++;
    fm_buf_put_slice(&request->body, name);
    fm_buf_put_u8(&request->body, '\n');
    return FM_OK;
}

static void transfer_after_list(struct cloud_transfer *transfer)
{
    struct bucket_request *request = transfer->request;
    if (transfer->answer.outcome != S3_DONE) {
        cloud_transfer_end_from_answer(transfer);
        return;
    }
    struct fm_buf page;
    fm_buf_init(&page, FM_KIB(4));
    int rc = cloud_list_read(transfer->cloud->place.kind, fm_buf_slice(&transfer->answer_body),
                             transfer_on_name, transfer, &page);
    bool moves = page.len && !fm_slice_equal(fm_buf_slice(&page), fm_buf_slice(&transfer->page));
    fm_buf_fini(&transfer->page);
    transfer->page = page;
    if (rc < 0 || request->body.failed) {
        (void)fm_fail(&request->why, rc < 0 ? rc : FM_ELIMIT, "the list of objects: %s",
                      fm_rc_text(rc < 0 ? rc : FM_ELIMIT));
        cloud_transfer_end(transfer, S3_TRANSIENT);
    } else if (rc == FM_OK && moves && transfer->listed < CLOUD_LIST_NAMES_MAX) {
        transfer_list_next(transfer);
    } else {
        request->size = request->body.len;
        cloud_transfer_end(transfer, S3_DONE);
    }
}

static void transfer_list_next(struct cloud_transfer *transfer)
{
    const char *after = transfer->request->list_after;
    cloud_transfer_set_call(transfer, CLOUD_LIST);
    transfer->call.after = fm_slice_text(after ? after : "");
    transfer->call.page = fm_buf_slice(&transfer->page);
    transfer->answer_bytes_max = CLOUD_LIST_BYTES_MAX;
    cloud_exchange_start(transfer, transfer_after_list);
}

/* ---- a put in one exchange ---- */

/* Google's put has a description before the content and a line behind it. */
static int transfer_read_framed(void *self, uint64_t offset, void *target, size_t len)
{
    const struct cloud_transfer *transfer = self;
    const struct fm_source *source = &transfer->request->source;
    const struct fm_buf *head = &transfer->frame_head, *tail = &transfer->frame_tail;
    uint8_t *to = target;
    while (len) {
        uint64_t content = offset - FM_MIN(offset, head->len);
        size_t count;
        if (offset < head->len) {
            count = FM_MIN(len, head->len - (size_t)offset);
            memcpy(to, head->ptr + offset, count);
        } else if (content < source->size) {
            count = (size_t)FM_MIN(len, source->size - content);
            int rc = source->read_at(source->self, content, to, count);
            if (rc < 0)
                return rc;
        } else if (content - source->size < tail->len) {
            count = FM_MIN(len, tail->len - (size_t)(content - source->size));
            memcpy(to, tail->ptr + (content - source->size), count);
        } else {
            return FM_ECORRUPT;
        }
        to += count;
        len -= count;
        offset += count;
    }
    return FM_OK;
}

static bool transfer_set_frame(struct cloud_transfer *transfer)
{
    uint8_t random[16];
    struct platform *platform = transfer->cloud->platform;
    platform->ops->random(platform, random, sizeof random);
    fm_hex_encode(transfer->boundary, fm_slice(random, sizeof random));
    transfer->boundary[32] = '\0';
    transfer->call.boundary = transfer->boundary;
    fm_buf_reset(&transfer->frame_head);
    fm_buf_reset(&transfer->frame_tail);
    cloud_gcs_put_frame(&transfer->cloud->place, &transfer->call, &transfer->frame_head,
                        &transfer->frame_tail);
    uint64_t length =
        transfer->frame_head.len + transfer->request->source.size + transfer->frame_tail.len;
    transfer->body = (struct fm_source){transfer_read_framed, transfer, length};
    transfer->body_offset = 0;
    transfer->call.length = length;
    return !transfer->frame_head.failed && !transfer->frame_tail.failed;
}

static void transfer_after_digest(struct cloud_transfer *transfer)
{
    bool is_azure = transfer->cloud->place.kind == CLOUD_AZURE;
    if (transfer->job_rc < 0) {
        cloud_transfer_end_from_job(transfer);
        return;
    }
    cloud_transfer_set_call(transfer, CLOUD_PUT);
    transfer->call.md5 = is_azure ? transfer->md5 : NULL;
    transfer->call.crc32c = is_azure ? NULL : transfer->crc32c;
    cloud_transfer_set_body(transfer, 0, transfer->request->source.size);
    if (!is_azure && !transfer_set_frame(transfer)) {
        (void)fm_fail(&transfer->request->why, FM_ENOMEM, "no memory for the request");
        cloud_transfer_end(transfer, S3_TRANSIENT);
        return;
    }
    cloud_exchange_start(transfer, cloud_transfer_end_from_answer);
}

/* ---- start ---- */

static struct cloud_transfer *transfer_new(struct bucket_cloud *cloud,
                                           struct bucket_request *request)
{
    struct cloud_transfer *transfer = calloc(1, sizeof *transfer);
    if (!transfer)
        return NULL;
    transfer->cloud = cloud;
    transfer->request = request;
    fm_list_init(&transfer->wait_link);
    fm_arena_init(&transfer->arena, FM_KIB(128));
    fm_buf_init(&transfer->answer_body, CLOUD_LIST_BYTES_MAX);
    fm_buf_init(&transfer->page, FM_KIB(4));
    fm_buf_init(&transfer->frame_head, FM_KIB(8));
    fm_buf_init(&transfer->frame_tail, 256);
    fm_buf_init(&transfer->commit, FM_MIB(4));
    request->body_private = transfer;
    request->bucket = &cloud->bucket;
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

static struct cloud_transfer *transfer_begin(struct bucket_cloud *cloud,
                                             struct bucket_request *request)
{
    struct cloud_transfer *transfer = transfer_new(cloud, request);
    if (transfer && bucket_clock_check(&cloud->clock, &request->why) < 0) {
        cloud_transfer_end(transfer, S3_CLOCK);
        return NULL;
    }
    if (transfer && request->is_control && !cloud->place.control_prefix[0]) {
        (void)fm_fail(&request->why, FM_ECONFIG, "there is no control prefix");
        cloud_transfer_end(transfer, S3_REFUSED);
        return NULL;
    }
    if (transfer)
        return transfer;
    request->body_private = NULL;
    request->body = (struct fm_buf){0};
    request->job = (struct pf_job){
        .work = transfer_nothing_work, .done = transfer_no_memory, .lane = PF_LANE_DISK};
    pf_job_submit(cloud->platform, &request->job);
    return NULL;
}

void cloud_transfer_start_get(struct bucket_cloud *cloud, struct bucket_request *request)
{
    struct cloud_transfer *transfer = transfer_begin(cloud, request);
    if (!transfer)
        return;
    cloud_transfer_set_call(transfer, request->want_body ? CLOUD_GET : CLOUD_HEAD);
    if (request->want_body && request->body_max > CLOUD_ANSWER_BYTES_MAX)
        transfer->answer_bytes_max = FM_MIN(request->body_max, CLOUD_LIST_BYTES_MAX);
    cloud_exchange_start(transfer, transfer_after_get);
}

void cloud_transfer_start_list(struct bucket_cloud *cloud, struct bucket_request *request)
{
    struct cloud_transfer *transfer = transfer_begin(cloud, request);
    if (!transfer)
        return;
    struct fm_buf name;
    const struct cloud_call call = {.key = fm_slice_text(request->key),
                                    .is_control = request->is_control};
    fm_buf_init(&name, CLOUD_NAME_MAX);
    cloud_object_name(&cloud->place, &call, &name);
    transfer->strip_len = name.len;
    fm_buf_fini(&name);
    fm_buf_init(&request->body, FM_MIB(2));
    transfer_list_next(transfer);
}

void cloud_transfer_start_put(struct bucket_cloud *cloud, struct bucket_request *request)
{
    struct cloud_transfer *transfer = transfer_begin(cloud, request);
    if (!transfer)
        return;
    if (request->source.size <= cloud->single_put_max)
        cloud_transfer_digest(transfer, 0, request->source.size, transfer_after_digest);
    else if (cloud->place.kind == CLOUD_AZURE)
        cloud_blocks_start(transfer);
    else
        cloud_session_start(transfer);
}

void cloud_transfer_cancel(struct cloud_transfer *transfer)
{
    transfer->cancelled = true;
    /* Freeing the connection ends its call, and the call's end ends us.  Otherwise a job, a fetch
     * of a token or the last step is under way and finds the flag. */
    if (transfer->client)
        (void)net_client_free(fm_take(transfer->client->client));
    else if (!fm_list_empty(&transfer->wait_link))
        cloud_access_cancel(&transfer->cloud->access);
}
