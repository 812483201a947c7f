/* SPDX-License-Identifier: Apache-2.0 */
/* upload - one sealed block on its way to the bucket.
 *
 *   IDLE -> LOADING -> PROBING ---------------------------(same meta.json there)--> MARKING -> IDLE
 *                        | ^                                                          ^ ^
 *                        v | (meta.json: exists)                                      | |
 *                      SIZING -> COMPACTED -(the reader compacted it away)------------+ |
 *                        |          | data.parquet is there                             |
 *                        v          v                                                   |
 *                      OPENING <-> SENDING  data, blooms ... CHECKING ... meta.json ----+
 *                        |          ^
 *                        +-> PACING-+   (the uplink's debts are paid first)
 *
 * Any failure goes to IDLE and back to the replicator, which waits and starts over from LOADING:
 * what is on the bucket is asked of the bucket each time, so an answer that may mean either (a lost
 * connection, a 500 after the commit) needs no case of its own.
 *
 * UP-1  meta.json is sent last, with create-only, after data.parquet was seen at its full size.
 * UP-2  meta.json on the bucket that is not ours is never overwritten, and neither is anything
 * beside it. UP-3  nothing here deletes, locally or on the bucket.
 *
 * Suspended in every state but IDLE: jobs (LOADING, OPENING), a timer (PACING), requests, the store
 * (MARKING).
 */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

enum upload_state {
    UP_IDLE,
    UP_LOADING,
    UP_PROBING,
    UP_SIZING,
    UP_COMPACTED,
    UP_OPENING,
    UP_PACING,
    UP_SENDING,
    UP_CHECKING,
    UP_MARKING,
};
static const struct fm_sm_rule upload_rules[] = {
    [UP_IDLE] = {"idle", FM_TO(UP_LOADING)},
    [UP_LOADING] = {"loading", FM_TO(UP_PROBING) | FM_TO(UP_IDLE)},
    [UP_PROBING] = {"probing", FM_TO(UP_SIZING) | FM_TO(UP_MARKING) | FM_TO(UP_IDLE)},
    [UP_SIZING] = {"sizing", FM_TO(UP_COMPACTED) | FM_TO(UP_OPENING) | FM_TO(UP_IDLE)},
    [UP_COMPACTED] = {"compacted", FM_TO(UP_OPENING) | FM_TO(UP_MARKING) | FM_TO(UP_IDLE)},
    [UP_OPENING] = {"opening", FM_TO(UP_PACING) | FM_TO(UP_SENDING) | FM_TO(UP_IDLE)},
    [UP_PACING] = {"pacing", FM_TO(UP_SENDING) | FM_TO(UP_IDLE)},
    [UP_SENDING] = {"sending", FM_TO(UP_OPENING) | FM_TO(UP_CHECKING) | FM_TO(UP_PROBING) |
                                   FM_TO(UP_MARKING) | FM_TO(UP_IDLE)},
    [UP_CHECKING] = {"checking", FM_TO(UP_OPENING) | FM_TO(UP_IDLE)},
    [UP_MARKING] = {"marking", FM_TO(UP_IDLE)},
};

static void upload_step(struct upload *upload);
static struct pending *upload_end(struct upload *upload);

static const struct block_meta *upload_meta(const struct upload *upload)
{
    return &upload->pending->block->meta;
}

static uint32_t upload_meta_object(const struct upload *upload)
{
    return upload_meta(upload)->bloom_shard_count + 1;
}

/* ---- names ---- */

static void upload_object_name(const struct upload *upload, char name[32])
{
    if (upload->object == 0)
        (void)snprintf(name, 32, "data.parquet");
    else if (upload->object == upload_meta_object(upload))
        (void)snprintf(name, 32, "meta.json");
    else
        (void)snprintf(name, 32, "bloom-%u", upload->object - 1);
}

static void upload_set_key(struct upload *upload, const char *name)
{
    char id[37];
    block_id_print(&upload_meta(upload)->id, id);
    int len = snprintf(upload->key, sizeof upload->key, "%s/%s/%s", upload_meta(upload)->tenant, id,
                       name);
    FM_ASSERT(len > 0 && (size_t)len < sizeof upload->key);
    len = snprintf(upload->path, sizeof upload->path, "%s/%s", upload->pending->block->path, name);
    FM_ASSERT(len > 0 && (size_t)len < sizeof upload->path);
}

/* ---- what the machine waits for ---- */

static void upload_on_job(struct pf_job *job)
{
    upload_step(FM_CONTAINER(job, struct upload, job));
}

static void upload_on_response(struct bucket_request *request)
{
    struct upload *upload = request->self;
    struct net_pacer *pacer = &upload->pass.pacer;
    replicator_on_answer(upload->replicator, request);
    if (!upload->replicator->bucket->ops->has_wire && request->outcome == S3_DONE &&
        request->source.read_at)
        pacer->moved(pacer, request->source.size);
    upload_step(upload);
}

static void upload_on_marked(void *self, int rc)
{
    struct upload *upload = self;
    upload->job_rc = rc;
    upload_step(upload);
}

static void upload_submit(struct upload *upload, enum upload_state state,
                          void (*work)(struct pf_job *job))
{
    fm_sm_move(&upload->sm, state);
    upload->job_why.text[0] = '\0';
    upload->job = (struct pf_job){.work = work, .done = upload_on_job, .lane = PF_LANE_DISK};
    pf_job_submit(upload->replicator->platform, &upload->job);
}

static void upload_get(struct upload *upload, enum upload_state state, const char *name,
                       bool want_body)
{
    struct bucket *bucket = upload->replicator->bucket;
    fm_sm_move(&upload->sm, state);
    upload_set_key(upload, name);
    fm_buf_fini(&upload->request.body);
    upload->request = (struct bucket_request){.key = upload->key,
                                              .want_body = want_body,
                                              .body_max = META_BYTES_MAX,
                                              .pacer = &upload->pass.pacer,
                                              .done = upload_on_response,
                                              .self = upload};
    bucket->ops->get(bucket, &upload->request);
}

/* ---- jobs ---- */

static void upload_load_work(struct pf_job *job)
{
    struct upload *upload = FM_CONTAINER(job, struct upload, job);
    fm_buf_reset(&upload->meta);
    upload->job_rc =
        pf_read_file(upload->replicator->platform, upload->path, &upload->meta, &upload->job_why);
}

static void upload_open_work(struct pf_job *job)
{
    struct upload *upload = FM_CONTAINER(job, struct upload, job);
    upload->job_rc = pf_source_open(&upload->file, upload->replicator->platform, upload->path,
                                    &upload->request.source, &upload->job_why);
    upload->file_is_open = upload->job_rc == FM_OK;
}

static void upload_open(struct upload *upload, uint32_t object)
{
    char name[32];
    upload->object = object;
    upload_object_name(upload, name);
    upload_set_key(upload, name);
    fm_buf_fini(&upload->request.body);
    upload->request = (struct bucket_request){
        .pacer = &upload->pass.pacer, .done = upload_on_response, .self = upload};
    upload_submit(upload, UP_OPENING, upload_open_work);
}

static void upload_on_timer(struct pf_timer *timer)
{
    upload_step(FM_CONTAINER(timer, struct upload, timer));
}

static void upload_send(struct upload *upload)
{
    struct bucket *bucket = upload->replicator->bucket;
    uint64_t wait_ns = uplink_pass_wait_ns(&upload->pass);
    if (wait_ns) {
        if (upload->sm.state != UP_PACING)
            fm_sm_move(&upload->sm, UP_PACING);
        pf_timer_start(upload->replicator->platform, &upload->timer, wait_ns);
        return;
    }
    fm_sm_move(&upload->sm, UP_SENDING);
    upload->request.key = upload->key;
    upload->request.source_path = upload->path;
    upload->request.create_only = upload->object == upload_meta_object(upload); /* UP-1 */
    bucket->ops->put(bucket, &upload->request);
}

static void upload_mark(struct upload *upload)
{
    if (upload->pending->is_dropped) { /* on the bucket after all; here it is as good as deleted */
        struct replicator *replicator = upload->replicator;
        replicator_on_uploaded(replicator, upload_end(upload));
        return;
    }
    fm_sm_move(&upload->sm, UP_MARKING);
    store_block_uploaded(upload->replicator->store, upload->pending->block, upload_on_marked,
                         upload);
}

/* ---- ends ---- */

static struct pending *upload_end(struct upload *upload)
{
    if (upload->file_is_open)
        pf_source_close(&upload->file); /* read only: closing does no input or output */
    upload->file_is_open = false;
    fm_buf_fini(&upload->request.body);
    fm_buf_fini(&upload->meta);
    uplink_pass_end(&upload->pass);
    fm_sm_move(&upload->sm, UP_IDLE);
    return fm_take(upload->pending);
}

static void upload_fail(struct upload *upload, enum s3_outcome outcome, const char *why)
{
    char text[sizeof upload->job_why.text + sizeof upload->key];
    uint32_t retry_after_s = upload->request.retry_after_s;
    (void)snprintf(text, sizeof text, "%s: %s", upload->key,
                   why[0] ? why : s3_outcome_text(outcome));
    struct replicator *replicator = upload->replicator;
    replicator_on_failure(replicator, upload_end(upload), outcome, retry_after_s, text);
}

static void upload_fail_request(struct upload *upload)
{
    enum s3_outcome outcome = upload->request.outcome;
    /* A write that is told "no such key" spoke to something strange. */
    if (outcome == S3_ABSENT || outcome == S3_DONE)
        outcome = S3_REFUSED;
    upload_fail(upload, outcome, upload->request.why.text);
}

/* A local file that cannot be read: gone for good, or the disk's trouble. */
static void upload_fail_local(struct upload *upload)
{
    if (upload->job_rc == FM_ENOTFOUND) {
        struct replicator *replicator = upload->replicator;
        replicator_on_gone(replicator, upload_end(upload), upload->job_why.text);
        return;
    }
    upload->request.retry_after_s = 0;
    upload_fail(upload, S3_REFUSED, upload->job_why.text);
}

/* ---- decisions ---- */

/* Whether the meta.json of the bucket describes the block that we hold. */
static bool upload_is_same(const struct upload *upload)
{
    struct fm_slice there = fm_buf_slice(&upload->request.body);
    if (fm_slice_equal(there, fm_buf_slice(&upload->meta)))
        return true;
    struct block_meta meta;
    if (block_meta_parse(there, &meta, NULL) != FM_OK)
        return false;
    const struct block_meta *ours = upload_meta(upload);
    return memcmp(&meta.id, &ours->id, sizeof meta.id) == 0 &&
           strcmp(meta.tenant, ours->tenant) == 0 && meta.size_bytes == ours->size_bytes &&
           meta.trace_count == ours->trace_count && meta.footer_bytes == ours->footer_bytes &&
           meta.bloom_shard_count == ours->bloom_shard_count;
}

static void upload_decide_probed(struct upload *upload)
{
    if (upload->request.outcome == S3_ABSENT)
        upload_get(upload, UP_SIZING, "data.parquet", false);
    else if (upload->request.outcome != S3_DONE)
        upload_fail_request(upload);
    else if (upload_is_same(upload))
        upload_mark(upload);
    else
        upload_fail(upload, S3_EXISTS,
                    "the bucket holds a different block of this name"); /* UP-2 */
}

static void upload_decide_sized(struct upload *upload)
{
    enum s3_outcome outcome = upload->request.outcome;
    bool is_there = outcome == S3_DONE && upload->request.size == upload_meta(upload)->size_bytes;
    /* Data without meta.json: our earlier attempt, or a block that the reader has compacted. */
    if (is_there)
        upload_get(upload, UP_COMPACTED, "meta.compacted.json", false);
    else if (outcome == S3_DONE || outcome == S3_ABSENT)
        upload_open(upload, 0);
    else
        upload_fail_request(upload);
}

static void upload_decide_compacted(struct upload *upload)
{
    if (upload->request.outcome == S3_DONE)
        upload_mark(upload);
    else if (upload->request.outcome == S3_ABSENT)
        upload_open(upload, 1);
    else
        upload_fail_request(upload);
}

static void upload_decide_sent(struct upload *upload)
{
    uint32_t meta_object = upload_meta_object(upload);
    pf_source_close(&upload->file);
    upload->file_is_open = false;
    if (upload->request.outcome == S3_EXISTS && upload->object == meta_object)
        upload_get(upload, UP_PROBING, "meta.json", true);
    else if (upload->request.outcome != S3_DONE)
        upload_fail_request(upload);
    else if (upload->object == meta_object)
        upload_mark(upload);
    else if (upload->object + 1 == meta_object)
        upload_get(upload, UP_CHECKING, "data.parquet", false);
    else
        upload_open(upload, upload->object + 1);
}

static void upload_decide_checked(struct upload *upload)
{
    enum s3_outcome outcome = upload->request.outcome;
    if (outcome == S3_DONE && upload->request.size == upload_meta(upload)->size_bytes)
        upload_open(upload, upload_meta_object(upload));
    else if (outcome == S3_DONE || outcome == S3_ABSENT)
        upload_fail(upload, S3_TRANSIENT, "not there at its full size after it was sent");
    else
        upload_fail_request(upload);
}

static void upload_decide_marked(struct upload *upload)
{
    if (upload->job_rc == FM_OK) {
        struct replicator *replicator = upload->replicator;
        replicator_on_uploaded(replicator, upload_end(upload));
        return;
    }
    upload->request.retry_after_s = 0;
    upload_fail(upload, S3_REFUSED, fm_rc_text(upload->job_rc));
}

static void upload_step(struct upload *upload)
{
    if (upload->replicator->closing) {
        struct replicator *replicator = upload->replicator;
        replicator_on_failure(replicator, upload_end(upload), S3_TRANSIENT, 0, "closing");
        return;
    }
    switch ((enum upload_state)upload->sm.state) {
    case UP_LOADING:
        if (upload->job_rc == FM_OK)
            upload_get(upload, UP_PROBING, "meta.json", true);
        else
            upload_fail_local(upload);
        return;
    case UP_PROBING:
        upload_decide_probed(upload);
        return;
    case UP_SIZING:
        upload_decide_sized(upload);
        return;
    case UP_COMPACTED:
        upload_decide_compacted(upload);
        return;
    case UP_OPENING:
        if (upload->job_rc == FM_OK)
            upload_send(upload);
        else
            upload_fail_local(upload);
        return;
    case UP_PACING:
        upload_send(upload);
        return;
    case UP_SENDING:
        upload_decide_sent(upload);
        return;
    case UP_CHECKING:
        upload_decide_checked(upload);
        return;
    case UP_MARKING:
        upload_decide_marked(upload);
        return;
    case UP_IDLE:
        break;
    }
    FM_ASSERT(!"an idle upload was stepped");
}

/* ---- the replicator's side ---- */

void upload_init(struct upload *upload, struct replicator *replicator)
{
    *upload = (struct upload){
        .replicator = replicator, .sm.rules = upload_rules, .timer.fire = upload_on_timer};
}

void upload_start(struct upload *upload, struct pending *pending, enum upload_lane lane)
{
    FM_ASSERT(!upload->pending);
    upload->pending = pending;
    upload->lane = lane;
    uplink_pass_begin(&upload->pass, upload->replicator->uplink, lane,
                      lanes_wire_bytes(pending->block));
    upload->object = 0;
    upload->request = (struct bucket_request){0};
    fm_buf_init(&upload->meta, META_BYTES_MAX);
    upload_set_key(upload, "meta.json");
    upload_submit(upload, UP_LOADING, upload_load_work);
}

void upload_cancel(struct upload *upload)
{
    struct bucket *bucket = upload->replicator->bucket;
    switch ((enum upload_state)upload->sm.state) {
    case UP_PROBING:
    case UP_SIZING:
    case UP_COMPACTED:
    case UP_SENDING:
    case UP_CHECKING:
        bucket->ops->cancel(bucket, &upload->request);
        return;
    case UP_PACING:
        pf_timer_stop(upload->replicator->platform, &upload->timer);
        pf_timer_start(upload->replicator->platform, &upload->timer, 0);
        return;
    case UP_IDLE:
    case UP_LOADING:
    case UP_OPENING:
    case UP_MARKING:
        return; /* ends by itself */
    }
}

void upload_abandon(struct upload *upload)
{
    fm_buf_fini(&upload->request.body);
    fm_buf_fini(&upload->meta);
    free(fm_take(upload->pending));
}
