/* SPDX-License-Identifier: Apache-2.0 */
/* replicator - the queue of blocks that the bucket does not have yet.
 *
 * Oldest first, every fourth the newest, so that fresh data is visible soon after a long outage.
 * Two kinds of trouble are told apart: the endpoint's (it is down, throttles, refuses the
 * credentials) holds everything and lets one upload at a time try again; a block's own (its name is
 * taken, its file is unreadable) holds that block only.  Concurrency grows by one with every
 * uploaded block and halves when the endpoint says slow down.
 */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "fermata/units.h"

static void replicator_run(struct replicator *replicator);

/* ---- queue ---- */

static bool pending_is_before(const struct store_block *a, const struct store_block *b)
{
    if (a->sealed_unix_ns != b->sealed_unix_ns)
        return a->sealed_unix_ns < b->sealed_unix_ns;
    return a->first_lsn < b->first_lsn;
}

static struct pending *pending_of(struct fm_link *link)
{
    return FM_CONTAINER(link, struct pending, link);
}

static void replicator_queue(struct replicator *replicator, struct pending *pending)
{
    /* Nearly always the newest: walk from the end. */
    struct fm_link *after = replicator->waiting.prev;
    while (after != &replicator->waiting &&
           pending_is_before(pending->block, pending_of(after)->block))
        after = after->prev;
    fm_list_append(after->next, &pending->link); /* before the next one */
}

static void replicator_count(struct replicator *replicator, const struct store_block *block,
                             int sign)
{
    uint64_t one = sign < 0 ? UINT64_MAX : 1; /* modulo 2^64 */
    replicator->pending_blocks += one;
    replicator->pending_bytes += one * block->meta.size_bytes;
    replicator->pending_spans += one * block->span_count;
}

static void replicator_drop(struct replicator *replicator, struct pending *pending)
{
    replicator_count(replicator, pending->block, -1);
    store_block_unref(replicator->store, pending->block);
    free(pending);
}

static struct pending *replicator_pick(struct replicator *replicator, uint64_t now_ns)
{
    bool newest = replicator->picks % 4 == 3;
    struct fm_link *head = &replicator->waiting;
    for (struct fm_link *link = newest ? head->prev : head->next; link != head;
         link = newest ? link->prev : link->next) {
        struct pending *pending = pending_of(link);
        if (pending->ready_ns <= now_ns) {
            replicator->picks++;
            fm_list_remove(link);
            return pending;
        }
    }
    return NULL;
}

/* ---- scheduling ---- */

static void replicator_finish(struct replicator *replicator)
{
    void (*closed)(void *self) = replicator->closed;
    void *self = replicator->closed_self;
    while (!fm_list_empty(&replicator->waiting)) {
        struct pending *pending = pending_of(replicator->waiting.next);
        fm_list_remove(&pending->link);
        replicator_drop(replicator, pending);
    }
    replicator->bucket = replicator->bucket->ops->free(replicator->bucket);
    pf_timer_stop(replicator->platform, &replicator->timer);
    free(replicator);
    closed(self);
}

static void replicator_on_timer(struct pf_timer *timer)
{
    struct replicator *replicator = FM_CONTAINER(timer, struct replicator, timer);
    if (replicator->closing)
        replicator_finish(replicator);
    else
        replicator_run(replicator);
}

static void replicator_start_timer(struct replicator *replicator, uint64_t delay_ns)
{
    pf_timer_stop(replicator->platform, &replicator->timer);
    pf_timer_start(replicator->platform, &replicator->timer, delay_ns);
}

static uint32_t replicator_limit(const struct replicator *replicator)
{
    return replicator->failures_in_row ? 1 : replicator->limit;
}

static struct upload *replicator_idle_upload(struct replicator *replicator)
{
    for (size_t i = 0; i < UPLOADS_MAX; i++)
        if (!replicator->uploads[i].pending)
            return &replicator->uploads[i];
    return NULL;
}

/* Sleeps until the next block may start, if a slot is free. */
static void replicator_arm(struct replicator *replicator, uint64_t now_ns)
{
    uint64_t next_ns = UINT64_MAX;
    struct fm_link *head = &replicator->waiting;
    for (struct fm_link *link = head->next; link != head; link = link->next)
        next_ns = FM_MIN(next_ns, pending_of(link)->ready_ns);
    next_ns = FM_MAX(next_ns, replicator->hold_until_ns);
    pf_timer_stop(replicator->platform, &replicator->timer);
    if (next_ns != UINT64_MAX && replicator->active < replicator_limit(replicator))
        pf_timer_start(replicator->platform, &replicator->timer,
                       next_ns > now_ns ? next_ns - now_ns : 0);
}

static void replicator_run(struct replicator *replicator)
{
    uint64_t now_ns = pf_now_ns(replicator->platform);
    while (replicator->active < replicator_limit(replicator) &&
           replicator->hold_until_ns <= now_ns) {
        struct pending *pending = replicator_pick(replicator, now_ns);
        struct upload *upload = replicator_idle_upload(replicator);
        if (!pending)
            break;
        FM_ASSERT(upload);
        replicator->active++;
        upload_start(upload, pending);
    }
    replicator_arm(replicator, now_ns);
}

/* ---- ends of uploads ---- */

static void replicator_next(struct replicator *replicator)
{
    replicator->active--;
    if (!replicator->closing)
        replicator_run(replicator);
    else if (replicator->active == 0)
        replicator_start_timer(replicator, 0); /* not from inside the upload's step */
}

/* The endpoint works again: who failed because it did not need not wait any longer. */
static void replicator_release(struct replicator *replicator)
{
    struct fm_link *head = &replicator->waiting;
    for (struct fm_link *link = head->next; link != head; link = link->next)
        if (pending_of(link)->shared_fault && pending_of(link)->attempt <= 3)
            pending_of(link)->ready_ns = 0;
    replicator->failures_in_row = 0;
    replicator->hold_until_ns = 0;
    replicator->alarmed = false;
    replicator->problem[0] = '\0';
}

void replicator_on_uploaded(struct replicator *replicator, struct pending *pending)
{
    char id[37];
    block_id_print(&pending->block->meta.id, id);
    log_info("upload.done", "block=%s spans=%llu bytes=%llu attempts=%u", id,
             (unsigned long long)pending->block->span_count,
             (unsigned long long)pending->block->meta.size_bytes, pending->attempt + 1);
    metric_add(&replicator->counters.blocks, 1);
    replicator_drop(replicator, pending);
    if (replicator->failures_in_row || replicator->problem[0])
        replicator_release(replicator);
    if (replicator->limit < replicator->options.concurrency_max)
        replicator->limit++;
    replicator_next(replicator);
}

void replicator_on_gone(struct replicator *replicator, struct pending *pending, const char *why)
{
    char id[37];
    block_id_print(&pending->block->meta.id, id);
    log_error("upload.gone", "block=%s spans=%llu why=\"%s\"", id,
              (unsigned long long)pending->block->span_count, why);
    metric_add(&replicator->counters.gone, 1);
    replicator_drop(replicator, pending);
    replicator_next(replicator);
}

static bool replicator_is_shared_fault(enum s3_outcome outcome)
{
    return outcome != S3_EXISTS && outcome != S3_REFUSED && outcome != S3_CONFLICT &&
           outcome != S3_NO_UPLOAD;
}

static bool replicator_needs_a_person(enum s3_outcome outcome)
{
    return outcome == S3_AUTH || outcome == S3_NO_BUCKET || outcome == S3_REDIRECT ||
           outcome == S3_UNSUPPORTED || outcome == S3_EXISTS || outcome == S3_REFUSED;
}

static uint64_t replicator_delay(struct replicator *replicator, enum s3_outcome outcome,
                                 uint32_t failures, uint32_t retry_after_s)
{
    return s3_backoff_ns(outcome, failures - 1, retry_after_s, replicator->options.retry_cap_ns,
                         pf_random_u64(replicator->platform));
}

static void replicator_report(struct replicator *replicator, const struct pending *pending,
                              enum s3_outcome outcome, const char *why)
{
    char id[37];
    block_id_print(&pending->block->meta.id, id);
    (void)snprintf(replicator->problem, sizeof replicator->problem, "%s (%s)", why,
                   s3_outcome_text(outcome));
    if (replicator_needs_a_person(outcome) && !replicator->alarmed) {
        replicator->alarmed = true;
        log_error("upload.problem", "block=%s outcome=%s why=\"%s\"", id, s3_outcome_text(outcome),
                  why);
    } else {
        log_warn("upload.retry", "block=%s attempt=%u outcome=%s why=\"%s\"", id, pending->attempt,
                 s3_outcome_text(outcome), why);
    }
}

void replicator_on_failure(struct replicator *replicator, struct pending *pending,
                           enum s3_outcome outcome, uint32_t retry_after_s, const char *why)
{
    uint64_t now_ns = pf_now_ns(replicator->platform);
    if (pending->is_dropped) {
        replicator_drop(replicator, pending);
        replicator_next(replicator);
        return;
    }
    replicator_queue(replicator, pending);
    if (replicator->closing) {
        replicator_next(replicator);
        return;
    }
    metric_add(&replicator->counters.failures, 1);
    pending->attempt = FM_MIN(pending->attempt + 1, 1000000);
    pending->is_taken = outcome == S3_EXISTS;
    pending->shared_fault = replicator_is_shared_fault(outcome);
    pending->ready_ns =
        now_ns + replicator_delay(replicator, outcome, pending->attempt, retry_after_s);
    if (outcome == S3_SLOW_DOWN)
        replicator->limit = FM_MAX(replicator->limit / 2, 1);
    if (pending->shared_fault) {
        replicator->failures_in_row++;
        uint64_t delay_ns =
            replicator_delay(replicator, outcome, replicator->failures_in_row, retry_after_s);
        replicator->hold_until_ns = FM_MAX(replicator->hold_until_ns, now_ns + delay_ns);
    }
    replicator_report(replicator, pending, outcome, why);
    replicator_next(replicator);
}

void replicator_on_answer(struct replicator *replicator, const struct bucket_request *request)
{
    FM_ASSERT((size_t)request->outcome < OUTCOME_COUNT);
    metric_add(&replicator->counters.requests[request->outcome], 1);
    if (request->outcome == S3_DONE && request->source.read_at)
        metric_add(&replicator->counters.bytes, request->source.size);
}

/* ---- life ---- */

int replicator_new(struct replicator **ret_replicator, struct platform *platform,
                   struct store *store, struct bucket *bucket,
                   const struct replicator_options *options)
{
    struct replicator *replicator = calloc(1, sizeof *replicator);
    if (!replicator)
        return FM_ENOMEM;
    replicator->platform = platform;
    replicator->store = store;
    replicator->bucket = bucket;
    replicator->options = *options;
    replicator->options.concurrency_max = FM_MAX(1, FM_MIN(options->concurrency_max, UPLOADS_MAX));
    replicator->limit = replicator->options.concurrency_max;
    replicator->timer.fire = replicator_on_timer;
    fm_list_init(&replicator->waiting);
    for (size_t i = 0; i < UPLOADS_MAX; i++)
        upload_init(&replicator->uploads[i], replicator);
    *ret_replicator = replicator;
    return FM_OK;
}

void replicator_on_sealed(void *self, struct store_block *block)
{
    struct replicator *replicator = self;
    if (replicator->closing || store_block_is_uploaded(replicator->store, block))
        return;
    struct pending *pending = calloc(1, sizeof *pending);
    if (!pending) {
        /* The block stays on disk without the marker and is found at the next start. */
        log_error("upload.no_memory", "path=\"%s\"", block->path);
        return;
    }
    store_block_ref(block);
    pending->block = block;
    fm_list_init(&pending->link);
    replicator_count(replicator, block, 1);
    replicator_queue(replicator, pending);
    replicator_run(replicator);
}

void replicator_on_dropped(void *self, struct store_block *block)
{
    struct replicator *replicator = self;
    struct fm_link *head = &replicator->waiting;
    for (struct fm_link *link = head->next; link != head; link = link->next) {
        if (pending_of(link)->block != block)
            continue;
        fm_list_remove(link);
        replicator_drop(replicator, pending_of(link));
        return;
    }
    for (size_t i = 0; i < UPLOADS_MAX; i++)
        if (replicator->uploads[i].pending && replicator->uploads[i].pending->block == block)
            replicator->uploads[i].pending->is_dropped = true;
}

void replicator_close(struct replicator *replicator, void (*done)(void *self), void *self)
{
    FM_ASSERT(!replicator->closing);
    replicator->closing = true;
    replicator->closed = done;
    replicator->closed_self = self;
    pf_timer_stop(replicator->platform, &replicator->timer);
    for (size_t i = 0; i < UPLOADS_MAX; i++)
        upload_cancel(&replicator->uploads[i]);
    if (replicator->active == 0)
        replicator_start_timer(replicator, 0);
}

struct replicator *replicator_abandon(struct replicator *replicator)
{
    if (!replicator)
        return NULL;
    while (!fm_list_empty(&replicator->waiting)) {
        struct pending *pending = pending_of(replicator->waiting.next);
        fm_list_remove(&pending->link);
        free(pending);
    }
    for (size_t i = 0; i < UPLOADS_MAX; i++)
        upload_abandon(&replicator->uploads[i]);
    free(replicator);
    return NULL;
}
