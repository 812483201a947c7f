/* SPDX-License-Identifier: Apache-2.0 */
/* replicator - the blocks that the bucket does not have yet.
 *
 * Which one is next, lanes.c says; whether it may go, uplink.c.
 * Two kinds of trouble are told apart: the endpoint's (it is down, throttles, refuses the
 * credentials) holds everything and lets one upload at a time try again; a block's own (its name is
 * taken, its file is unreadable) holds that block only.  Concurrency grows by one with every
 * uploaded block and halves when the endpoint says slow down.
 */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "fermata/units.h"

#define OUTAGE_MIN_NS (60 * FM_NS_PER_S) /* trouble that is shorter is none */

static void replicator_run(struct replicator *replicator);

/* ---- queue ---- */

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

/* ---- scheduling ---- */

static void replicator_visit_drop(void *self, struct pending *pending)
{
    fm_list_remove(&pending->link);
    replicator_drop(self, pending);
}

static void replicator_on_uplink_closed(void *self)
{
    struct replicator *replicator = self;
    void (*closed)(void *self) = replicator->closed;
    void *closed_self = replicator->closed_self;
    lanes_each(&replicator->lanes, replicator_visit_drop, replicator);
    replicator->uplink = uplink_free(replicator->uplink);
    replicator->bucket = replicator->bucket->ops->free(replicator->bucket);
    pf_timer_stop(replicator->platform, &replicator->timer);
    free(replicator);
    closed(closed_self);
}

static void replicator_on_timer(struct pf_timer *timer)
{
    struct replicator *replicator = FM_CONTAINER(timer, struct replicator, timer);
    if (replicator->closing)
        uplink_close(replicator->uplink, replicator_on_uplink_closed, replicator);
    else
        replicator_run(replicator);
}

static void replicator_on_wake(void *self)
{
    struct replicator *replicator = self;
    if (!replicator->closing)
        replicator_run(replicator);
}

static void replicator_start_timer(struct replicator *replicator, uint64_t delay_ns)
{
    pf_timer_stop(replicator->platform, &replicator->timer);
    pf_timer_start(replicator->platform, &replicator->timer, delay_ns);
}

static struct upload *replicator_idle_upload(struct replicator *replicator)
{
    for (size_t i = 0; i < UPLOADS_MAX; i++)
        if (!replicator->uploads[i].pending)
            return &replicator->uploads[i];
    return NULL;
}

struct replicator_look { /* at all that wait */
    uint64_t now_ns, next_ns;
};

static void replicator_visit_ready(void *self, struct pending *pending)
{
    struct replicator_look *look = self;
    if (pending->ready_ns > look->now_ns)
        look->next_ns = FM_MIN(look->next_ns, pending->ready_ns);
}

/* Sleeps until the next block may start.  What waits for a slot needs no timer. */
static void replicator_arm(struct replicator *replicator, uint64_t now_ns)
{
    struct replicator_look look = {.now_ns = now_ns, .next_ns = UINT64_MAX};
    pf_timer_stop(replicator->platform, &replicator->timer);
    if (lanes_are_empty(&replicator->lanes))
        return;
    if (replicator->hold_until_ns > now_ns)
        look.next_ns = replicator->hold_until_ns;
    else
        lanes_each(&replicator->lanes, replicator_visit_ready, &look);
    if (replicator->lanes.is_held)
        look.next_ns = FM_MIN(look.next_ns, now_ns + uplink_recheck_ns(replicator->uplink));
    if (look.next_ns != UINT64_MAX)
        pf_timer_start(replicator->platform, &replicator->timer, look.next_ns - now_ns);
}

static void replicator_run(struct replicator *replicator)
{
    uint64_t now_ns = pf_now_ns(replicator->platform);
    replicator->lanes.is_held = false;
    while (replicator->hold_until_ns <= now_ns) {
        enum upload_lane lane;
        struct pending *pending = lanes_pick(replicator, now_ns, &lane);
        if (!pending)
            break;
        struct upload *upload = replicator_idle_upload(replicator);
        FM_ASSERT(upload);
        replicator->active++;
        replicator->lanes.active[lane]++;
        rates_on_active(&replicator->rates, replicator->active, now_ns);
        upload_start(upload, pending, lane);
    }
    replicator_arm(replicator, now_ns);
}

/* ---- ends of uploads ---- */

static void replicator_next(struct replicator *replicator)
{
    uint32_t active = 0;
    memset(replicator->lanes.active, 0, sizeof replicator->lanes.active);
    for (size_t i = 0; i < UPLOADS_MAX; i++) {
        if (!replicator->uploads[i].pending)
            continue;
        replicator->lanes.active[replicator->uploads[i].lane]++;
        active++;
    }
    replicator->active = active;
    rates_on_active(&replicator->rates, active, pf_now_ns(replicator->platform));
    if (!replicator->closing)
        replicator_run(replicator);
    else if (replicator->active == 0)
        replicator_start_timer(replicator, 0); /* not from inside the upload's step */
}

static void replicator_visit_release(void *self, struct pending *pending)
{
    const bool *was_outage = self;
    if (pending->shared_fault && pending->attempt <= 3)
        pending->ready_ns = 0;
    pending->block->is_stale |= *was_outage;
}

/* The endpoint works again: who failed because it did not need not wait any longer.  After an
 * outage what has gathered must not stand before what comes now. */
static void replicator_release(struct replicator *replicator)
{
    uint64_t trouble_ns = pf_now_ns(replicator->platform) - replicator->trouble_since_ns;
    bool was_outage = replicator->failures_in_row && trouble_ns >= OUTAGE_MIN_NS;
    lanes_each(&replicator->lanes, replicator_visit_release, &was_outage);
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
    rates_on_uploaded(&replicator->rates, pending->block->meta.size_bytes);
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
    lanes_queue(&replicator->lanes, pending);
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
        if (replicator->failures_in_row++ == 0)
            replicator->trouble_since_ns = now_ns;
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
    const struct uplink_options unlimited = {0};
    struct uplink *uplink = options->uplink;
    struct replicator *replicator = calloc(1, sizeof *replicator);
    int rc = replicator ? FM_OK : FM_ENOMEM;
    if (rc == FM_OK && !uplink)
        rc = uplink_new(&uplink, platform, &unlimited, NULL);
    if (rc < 0) {
        free(replicator);
        return rc;
    }
    replicator->platform = platform;
    replicator->store = store;
    replicator->bucket = bucket;
    replicator->options = *options;
    replicator->options.concurrency_max =
        FM_MAX(1, FM_MIN(options->concurrency_max, UPLOADS_MAX - 1));
    replicator->limit = replicator->options.concurrency_max;
    replicator->timer.fire = replicator_on_timer;
    replicator->uplink = uplink;
    uplink_set_wake(uplink, replicator_on_wake, replicator);
    lanes_init(&replicator->lanes);
    for (size_t i = 0; i < UPLOADS_MAX; i++)
        upload_init(&replicator->uploads[i], replicator);
    *ret_replicator = replicator;
    return FM_OK;
}

void replicator_on_sealed(void *self, struct store_block *block)
{
    struct replicator *replicator = self;
    if (replicator->closing)
        return;
    if (store_block_is_uploaded(replicator->store, block))
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
    lanes_queue(&replicator->lanes, pending);
    replicator_run(replicator);
}

/* What is recalled has its account where it comes from. */
enum ledger_column replicator_lane_of(void *self, const struct store_block *block)
{
    struct replicator *replicator = self;
    switch (lanes_of(replicator, block, pf_wall_ns(replicator->platform))) {
    case UPLOAD_EXPRESS:
        return LEDGER_PENDING_EXPRESS;
    case UPLOAD_BACKLOG:
        return LEDGER_PENDING_BACKLOG;
    case UPLOAD_RECALL:
    case UPLOAD_FRESH:
    case UPLOAD_LANE_COUNT:
        break;
    }
    return LEDGER_PENDING_FRESH;
}

struct replicator_search {
    const struct store_block *block;
    struct pending *found;
};

static void replicator_visit_search(void *self, struct pending *pending)
{
    struct replicator_search *search = self;
    if (pending->block == search->block)
        search->found = pending;
}

void replicator_on_dropped(void *self, struct store_block *block)
{
    struct replicator *replicator = self;
    struct replicator_search search = {.block = block};
    lanes_each(&replicator->lanes, replicator_visit_search, &search);
    if (search.found) {
        fm_list_remove(&search.found->link);
        replicator_drop(replicator, search.found);
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

static void replicator_visit_forget(void *self, struct pending *pending)
{
    (void)self;
    fm_list_remove(&pending->link);
    free(pending);
}

struct replicator *replicator_abandon(struct replicator *replicator)
{
    if (!replicator)
        return NULL;
    lanes_each(&replicator->lanes, replicator_visit_forget, NULL);
    replicator->uplink = uplink_free(replicator->uplink);
    for (size_t i = 0; i < UPLOADS_MAX; i++)
        upload_abandon(&replicator->uploads[i]);
    free(replicator);
    return NULL;
}
