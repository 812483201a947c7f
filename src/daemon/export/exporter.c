/* SPDX-License-Identifier: Apache-2.0 */
/* exporter - what is stored to one upstream, or one of several, batch after batch.
 *
 *   IDLE --> READING --> ENCODING <--> SENDING --> IDLE             any but READING --> CLOSED
 *     ^---------'            ^            v
 *                            '-------- WAITING
 *
 * Suspended in IDLE (resumed by the store's on_more, or the timer when a small batch is old
 * enough), READING, ENCODING and SENDING (by their done), WAITING (timer).
 *
 * EXP-1  The place moves when every span of the batch was acknowledged, refused for good, or given
 *        up, and is written after that.
 * EXP-2  A failure that may pass makes the upstream rest for a while, with full jitter; if there is
 *        another one the batch goes there at once.  By trace: only the share of the one that rests.
 * EXP-3  While the upstream is down, one batch is held in memory and nothing else.
 */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

#define EXPORTER_REST_FAILURES 4u /* in a row */
#define EXPORTER_LOOK_NS (100 * FM_NS_PER_MS) /* something is there but cannot be read yet */
#define EXPORTER_WARN_NS (60 * FM_NS_PER_S)

static const struct fm_sm_rule exporter_rules[] = {
    [EXPORTER_IDLE] = {"idle", FM_TO(EXPORTER_READING) | FM_TO(EXPORTER_CLOSED)},
    [EXPORTER_READING] = {"reading", FM_TO(EXPORTER_ENCODING) | FM_TO(EXPORTER_IDLE)},
    [EXPORTER_ENCODING] = {"encoding", FM_TO(EXPORTER_SENDING) | FM_TO(EXPORTER_WAITING) |
                                           FM_TO(EXPORTER_ENCODING) | FM_TO(EXPORTER_IDLE) |
                                           FM_TO(EXPORTER_CLOSED)},
    [EXPORTER_SENDING] = {"sending", FM_TO(EXPORTER_ENCODING) | FM_TO(EXPORTER_WAITING) |
                                         FM_TO(EXPORTER_SENDING) | FM_TO(EXPORTER_IDLE) |
                                         FM_TO(EXPORTER_CLOSED)},
    [EXPORTER_WAITING] = {"waiting", FM_TO(EXPORTER_ENCODING) | FM_TO(EXPORTER_CLOSED)},
    [EXPORTER_CLOSED] = {"closed", 0},
};

static void exporter_step(struct exporter *exporter);
static void exporter_send(struct exporter *exporter);
static void exporter_encode(struct exporter *exporter);

static uint64_t exporter_now(const struct exporter *exporter)
{
    return pf_now_ns(exporter->exports->platform);
}

static void exporter_start_timer(struct exporter *exporter, uint64_t delay_ns)
{
    pf_timer_stop(exporter->exports->platform, &exporter->timer);
    pf_timer_start(exporter->exports->platform, &exporter->timer, delay_ns);
}

static void exporter_on_timer(struct pf_timer *timer)
{
    struct exporter *exporter = FM_CONTAINER(timer, struct exporter, timer);
    exporter->is_due = false;
    exporter_step(exporter);
}

void exporter_note_more(struct exporter *exporter)
{
    if (exporter->sm.state != EXPORTER_IDLE || exporter->is_due || exporter->is_closing)
        return;
    exporter->is_due = true;
    exporter_start_timer(exporter, 0);
}

/* ---- upstreams ---- */

static uint32_t exporter_mask(const struct exporter *exporter, uint64_t now_ns)
{
    uint32_t mask = 0;
    for (uint32_t i = 0; i < exporter->upstream_count; i++)
        mask |= (uint32_t)(exporter->upstreams[i].down_until_ns <= now_ns) << i;
    return mask;
}

/* Whom the next share goes to: its owner, or the first that does not rest, or whose rest is over
 * first. */
static void exporter_choose(struct exporter *exporter)
{
    const struct batch *batch = &exporter->batch;
    const struct share *share = &batch->shares[batch->share_count - 1];
    uint32_t mask = exporter_mask(exporter, exporter_now(exporter)), best = 0;
    if (share->rule_count) {
        exporter->current = share->rules[share->rule_count - 1].owner;
        return;
    }
    for (uint32_t i = 1; i < exporter->upstream_count; i++) {
        if (!(mask & 1) &&
            exporter->upstreams[i].down_until_ns < exporter->upstreams[best].down_until_ns)
            best = i;
    }
    exporter->current = mask ? (uint32_t)__builtin_ctz(mask) : best;
}

static void exporter_push_shares(struct exporter *exporter, const struct share *of, uint32_t mask)
{
    struct batch *batch = &exporter->batch;
    for (uint32_t i = 0; i < exporter->upstream_count; i++) {
        if (!(mask >> i & 1))
            continue;
        struct share *share = &batch->shares[batch->share_count++];
        *share = *of;
        share->rules[share->rule_count++] = (struct share_rule){mask, i};
    }
}

static void exporter_begin_shares(struct exporter *exporter)
{
    const struct share all = {.rule_count = 0};
    uint32_t mask = exporter_mask(exporter, exporter_now(exporter));
    bool is_shared = exporter->options.balance == EXPORT_BY_TRACE && (mask & (mask - 1));
    exporter->batch.share_count = 0;
    if (is_shared)
        exporter_push_shares(exporter, &all, mask);
    else
        exporter->batch.shares[exporter->batch.share_count++] = all;
}

/* The owner of the share rests: the others take it over, if there are any. */
static bool exporter_hand_over(struct exporter *exporter)
{
    struct batch *batch = &exporter->batch;
    struct share share = batch->shares[batch->share_count - 1];
    uint32_t mask = exporter_mask(exporter, exporter_now(exporter));
    if (!share.rule_count || !mask || share.rule_count == EXPORT_UPSTREAMS_MAX ||
        batch->share_count - 1 + exporter->upstream_count > FM_COUNT(batch->shares))
        return false;
    batch->share_count--;
    batch->part_first = 0;
    exporter_push_shares(exporter, &share, mask);
    return true;
}

/* ---- reading ---- */

/* The tenant whose batch is due, or SIZE_MAX; *ret_wait_ns: until one is, UINT64_MAX: never. */
static size_t exporter_pick(struct exporter *exporter, uint64_t *ret_wait_ns)
{
    const struct exporter_options *options = &exporter->options;
    uint64_t wall_ns = pf_wall_ns(exporter->exports->platform);
    size_t count = store_cursor_tenant_count(exporter->cursor);
    *ret_wait_ns = UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        size_t tenant = (exporter->next_tenant + i) % count;
        struct store_pending pending;
        store_cursor_look(exporter->cursor, tenant, exporter->spans_max, options->batch_bytes_max,
                          &pending);
        if (!pending.records)
            continue;
        /* What is dated in the future came before the clock was set back: it is not waited for. */
        uint64_t age_ns = pending.oldest_unix_ns > wall_ns ? options->batch_timeout_ns
                                                           : wall_ns - pending.oldest_unix_ns;
        if (pending.spans >= exporter->spans_max || age_ns >= options->batch_timeout_ns ||
            pending.log_bytes + pending.block_bytes >= options->batch_bytes_max)
            return tenant;
        *ret_wait_ns = FM_MIN(*ret_wait_ns, options->batch_timeout_ns - age_ns);
    }
    return SIZE_MAX;
}

static void exporter_on_read(struct store_cursor_read *read, int rc);

static void exporter_look(struct exporter *exporter)
{
    uint64_t wait_ns;
    size_t tenant = exporter_pick(exporter, &wait_ns);
    if (tenant == SIZE_MAX) {
        if (wait_ns != UINT64_MAX)
            exporter_start_timer(exporter, wait_ns);
        return;
    }
    exporter->next_tenant = tenant + 1;
    batch_reset(&exporter->batch);
    exporter->batch.tenant = tenant;
    exporter->read = (struct store_cursor_read){
        .tenant = tenant,
        .spans_max = exporter->spans_max,
        .bytes_max = exporter->options.batch_bytes_max,
        .otlp = &exporter->batch.otlp,
        .done = exporter_on_read,
        .self = exporter,
    };
    fm_sm_move(&exporter->sm, EXPORTER_READING);
    store_cursor_read(exporter->cursor, &exporter->read);
}

/* So that a part is about as large as a batch should be. */
static void exporter_set_part(struct exporter *exporter)
{
    struct batch *batch = &exporter->batch;
    uint64_t bytes = batch->otlp.len, bytes_max = exporter->options.batch_bytes_max;
    uint64_t spans_max = exporter->spans_max;
    if (bytes > bytes_max + bytes_max / 4)
        spans_max = FM_MIN(spans_max, FM_MAX(batch->span_count * bytes_max / bytes, 1u));
    bool is_whole = batch->span_count <= spans_max + spans_max / 4;
    batch->part_first = 0;
    batch->part_max = is_whole ? UINT64_MAX / 2 : spans_max;
}

static void exporter_advance(struct exporter *exporter)
{
    struct batch *batch = &exporter->batch;
    store_cursor_advance(exporter->cursor, batch->tenant, &batch->end);
    exporter_note_advance(exporter, batch->otlp.len);
    batch_reset(batch);
}

static void exporter_on_read(struct store_cursor_read *read, int rc)
{
    struct exporter *exporter = read->self;
    struct batch *batch = &exporter->batch;
    if (rc == FM_OK) {
        exporter->read_failures = 0;
        batch->span_count = read->span_count;
        batch->end = read->end;
        batch->newest_unix_ns = read->newest_unix_ns;
    }
    if (rc == FM_OK && read->span_count && !exporter->is_closing) {
        exporter_begin_shares(exporter);
        exporter_set_part(exporter);
        exporter_encode(exporter);
        return;
    }
    fm_sm_move(&exporter->sm, EXPORTER_IDLE);
    if (rc == FM_OK && !read->span_count) {
        exporter_advance(exporter); /* nothing in it could be read, or nothing was in it */
        exporter_step(exporter);
        return;
    }
    store_cursor_rewind(exporter->cursor, batch->tenant);
    if (exporter->is_closing) {
        exporter_step(exporter);
        return;
    }
    if (rc < 0) {
        exporter->read_failures++;
        log_warn("export.read_failed", "exporter=%s why=\"%s\"", exporter->name,
                 read->why.text[0] ? read->why.text : fm_rc_text(rc));
    }
    uint64_t delay_ns = EXPORTER_LOOK_NS << FM_MIN(exporter->read_failures, 8u);
    exporter->is_due = rc < 0; /* no news makes a disk better */
    exporter_start_timer(exporter, delay_ns);
}

/* ---- one part ---- */

static void exporter_on_encoded(struct pf_job *job)
{
    exporter_step(FM_CONTAINER(job, struct exporter, encoding.job));
}

static void exporter_encode(struct exporter *exporter)
{
    struct encoding *encoding = &exporter->encoding;
    encoding->protocol = exporter->options.protocol;
    encoding->codec = exporter->codec;
    encoding->batch = &exporter->batch;
    encoding->job =
        (struct pf_job){.work = encoding_work, .done = exporter_on_encoded, .lane = PF_LANE_EXPORT};
    fm_sm_move(&exporter->sm, EXPORTER_ENCODING);
    pf_job_submit(exporter->exports->platform, &encoding->job);
}

/* The part is dealt with, one way or the other: the next one, the next share, the next batch. */
static void exporter_next_part(struct exporter *exporter)
{
    struct batch *batch = &exporter->batch;
    batch->part_first += exporter->encoding.span_count;
    batch->done_spans += exporter->encoding.span_count;
    if (exporter->encoding.is_last) {
        batch->share_count--;
        batch->part_first = 0;
    }
    if (batch->share_count) {
        exporter_encode(exporter);
        return;
    }
    exporter_advance(exporter);
    fm_sm_move(&exporter->sm, EXPORTER_IDLE);
    exporter_step(exporter);
}

static void exporter_wait(struct exporter *exporter, uint64_t delay_ns)
{
    fm_sm_move(&exporter->sm, EXPORTER_WAITING);
    exporter_start_timer(exporter, delay_ns);
}

/* Once a minute, so that what is lost is heard of and not all there is to hear. */
static void exporter_drop(struct exporter *exporter, enum exporter_drop reason, uint64_t spans,
                          const char *why)
{
    static const char *const reasons[] = {
#define X(name, text) [EXPORTER_DROP_##name] = text,
        EXPORTER_DROPS(X)
#undef X
    };
    uint64_t now_ns = exporter_now(exporter);
    metric_add(&exporter->dropped_spans[reason], spans);
    if (exporter->warned_ns && now_ns - exporter->warned_ns < EXPORTER_WARN_NS)
        return;
    exporter->warned_ns = FM_MAX(now_ns, 1u);
    log_error("export.dropped", "exporter=%s reason=%s spans=%llu why=\"%s\"", exporter->name,
              reasons[reason], (unsigned long long)spans, why);
}

static void exporter_encoded(struct exporter *exporter)
{
    struct encoding *encoding = &exporter->encoding;
    if (encoding->rc == FM_EMALFORMED) { /* what the log holds was checked: damage */
        exporter_drop(exporter, EXPORTER_DROP_UNREADABLE,
                      exporter->batch.span_count - exporter->batch.done_spans,
                      "the batch is no OTLP");
        exporter->batch.share_count = 1;
        encoding->span_count = 0;
        encoding->is_last = true;
        exporter_next_part(exporter);
    } else if (encoding->rc < 0) {
        exporter_wait(exporter, FM_NS_PER_S);
    } else if (!encoding->span_count) {
        exporter_next_part(exporter); /* no trace of the batch belongs there */
    } else {
        exporter_choose(exporter);
        exporter_send(exporter);
    }
}

/* ---- sending ---- */

static void exporter_on_sent(struct export_request *request)
{
    struct exporter *exporter = request->self;
    metric_add(&exporter->attempts[request->outcome], 1);
    exporter_step(exporter);
}

static void exporter_send(struct exporter *exporter)
{
    struct exporter_upstream *to = &exporter->upstreams[exporter->current];
    uint64_t now_ns = exporter_now(exporter);
    if (to->down_until_ns > now_ns) {
        exporter_wait(exporter, to->down_until_ns - now_ns);
        return;
    }
    const char *tenant = exporter->tenant;
    if (!tenant)
        tenant = store_cursor_tenant(exporter->cursor, exporter->batch.tenant);
    exporter->request = (struct export_request){
        .body = exporter->encoding.body,
        .codec = exporter->encoding.codec,
        .tenant = tenant[0] ? tenant : NULL,
        .done = exporter_on_sent,
        .self = exporter,
    };
    fm_sm_move(&exporter->sm, EXPORTER_SENDING);
    to->upstream->ops->send(to->upstream, &exporter->request);
}

static void exporter_sent(struct exporter *exporter)
{
    const struct export_request *request = &exporter->request;
    uint64_t spans = exporter->encoding.span_count;
    uint64_t rejected = FM_MIN(request->rejected_spans, spans);
    exporter->upstreams[exporter->current].failures = 0;
    exporter->upstreams[exporter->current].down_until_ns = 0;
    if (exporter->problem[0])
        log_info("export.recovered", "exporter=%s", exporter->name);
    exporter->problem[0] = '\0';
    exporter->batch.failed_ns = 0;
    metric_add(&exporter->sent_spans, spans - rejected);
    metric_add(&exporter->sent_bytes, request->body.len);
    metric_add(&exporter->sent_batches, 1);
    if (rejected)
        exporter_drop(exporter, EXPORTER_DROP_REJECTED, rejected, request->why.text);
    uint64_t more = exporter->spans_max + exporter->spans_max / 16 + 1;
    exporter->spans_max = FM_MIN(more, exporter->options.batch_spans_max);
    exporter_next_part(exporter);
}

static void exporter_note_problem(struct exporter *exporter, uint64_t delay_ns)
{
    const struct export_request *request = &exporter->request;
    log_warn("export.retry",
             "exporter=%s upstream=%u outcome=%s attempt=%u wait_ms=%llu why=\"%s\"",
             exporter->name, exporter->current, export_outcome_text(request->outcome),
             exporter->upstreams[exporter->current].failures,
             (unsigned long long)(delay_ns / FM_NS_PER_MS), request->why.text);
    (void)snprintf(exporter->problem, sizeof exporter->problem, "%.255s", request->why.text);
}

/* EXP-2. */
static void exporter_retry(struct exporter *exporter)
{
    const struct exporter_options *options = &exporter->options;
    struct exporter_upstream *from = &exporter->upstreams[exporter->current];
    struct batch *batch = &exporter->batch;
    uint64_t now_ns = exporter_now(exporter);
    from->failures = FM_MIN(from->failures + 1, 1000000u);
    uint64_t delay_ns =
        export_backoff_ns(from->failures, options->retry_initial_ns, options->retry_max_ns,
                          pf_random_u64(exporter->exports->platform));
    delay_ns = FM_MAX(FM_MAX(delay_ns, exporter->request.retry_after_ns), FM_NS_PER_MS);
    from->down_until_ns = now_ns + delay_ns;
    exporter_note_problem(exporter, delay_ns);
    if (from->failures == EXPORTER_REST_FAILURES) /* it may be days: a block is 20 MiB to read */
        store_cursor_rest(exporter->cursor);
    if (!batch->failed_ns)
        batch->failed_ns = FM_MAX(now_ns, 1u);
    if (options->retry_elapsed_ns && now_ns - batch->failed_ns >= options->retry_elapsed_ns) {
        exporter_drop(exporter, EXPORTER_DROP_GAVE_UP, exporter->encoding.span_count,
                      exporter->request.why.text);
        exporter_next_part(exporter);
        return;
    }
    if (exporter_hand_over(exporter)) {
        exporter_encode(exporter);
        return;
    }
    exporter_choose(exporter);
    exporter_send(exporter);
}

static void exporter_halve(struct exporter *exporter)
{
    uint64_t spans = exporter->encoding.span_count;
    if (spans <= 1) {
        exporter_drop(exporter, EXPORTER_DROP_TOO_LARGE, spans, exporter->request.why.text);
        exporter_next_part(exporter);
        return;
    }
    exporter->spans_max = FM_MAX(FM_MIN(exporter->spans_max, spans) / 2, 1u);
    exporter->batch.part_max = spans / 2;
    log_info("export.smaller", "exporter=%s spans=%llu why=\"%s\"", exporter->name,
             (unsigned long long)exporter->batch.part_max, exporter->request.why.text);
    exporter_encode(exporter);
}

static void exporter_weaken_codec(struct exporter *exporter)
{
    exporter->codec = exporter->request.codec == CODEC_ZSTD ? CODEC_GZIP : CODEC_NONE;
    log_warn("export.compression", "exporter=%s now=%s why=\"%s\"", exporter->name,
             exporter->codec == CODEC_NONE ? "none" : codec_name(exporter->codec),
             exporter->request.why.text);
    exporter_encode(exporter);
}

static void exporter_answered(struct exporter *exporter)
{
    switch (exporter->request.outcome) {
    case EXPORT_SENT:
        exporter_sent(exporter);
        break;
    case EXPORT_UNREACHABLE:
    case EXPORT_TIMEOUT:
    case EXPORT_BUSY:
    case EXPORT_CANCELLED: /* by the upstream: as if it had broken */
        exporter_retry(exporter);
        break;
    case EXPORT_TOO_LARGE:
        exporter_halve(exporter);
        break;
    case EXPORT_NO_CODEC:
        exporter_weaken_codec(exporter);
        break;
    case EXPORT_REFUSED:
    case EXPORT_OUTCOME_COUNT:
        exporter->upstreams[exporter->current].failures = 0;
        (void)snprintf(exporter->problem, sizeof exporter->problem, "%.255s",
                       exporter->request.why.text);
        exporter_drop(exporter, EXPORTER_DROP_REFUSED, exporter->encoding.span_count,
                      exporter->request.why.text);
        exporter_next_part(exporter);
        break;
    }
}

/* ---- the step ---- */

static void exporter_finish(struct exporter *exporter)
{
    if (exporter->sm.state != EXPORTER_CLOSED) {
        pf_timer_stop(exporter->exports->platform, &exporter->timer);
        fm_sm_move(&exporter->sm, EXPORTER_CLOSED);
    }
    if (!exporter_save_now(exporter))
        exports_on_closed(exporter->exports);
}

void exporter_on_saved(struct exporter *exporter)
{
    if (exporter->sm.state != EXPORTER_CLOSED)
        return;
    if (exporter->save_rc < 0)
        exporter->is_dirty = false; /* the disk does not take it; it is sent again */
    exporter_finish(exporter);
}

static void exporter_step(struct exporter *exporter)
{
    if (exporter->is_closing && exporter->sm.state != EXPORTER_READING) {
        exporter_finish(exporter);
        return;
    }
    switch ((enum exporter_state)exporter->sm.state) {
    case EXPORTER_IDLE:
        exporter_look(exporter);
        break;
    case EXPORTER_ENCODING:
        exporter_encoded(exporter);
        break;
    case EXPORTER_SENDING:
        exporter_answered(exporter);
        break;
    case EXPORTER_WAITING:
        exporter_encode(exporter);
        break;
    case EXPORTER_READING: /* resumed by exporter_on_read */
    case EXPORTER_CLOSED:
        break;
    }
}

/* ---- life ---- */

int exporter_new(struct exporter **ret_exporter, struct exports *exports,
                 const struct exporter_options *options, struct fm_why *why)
{
    struct exporter *exporter = calloc(1, sizeof *exporter);
    if (!exporter)
        return fm_fail(why, FM_ENOMEM, "no memory for an exporter");
    exporter->exports = exports;
    exporter->options = *options;
    (void)snprintf(exporter->name, sizeof exporter->name, "%s", options->name);
    exporter->sm = (struct fm_sm){exporter_rules, EXPORTER_IDLE};
    exporter->timer.fire = exporter_on_timer;
    exporter->codec = options->codec;
    exporter->spans_max = options->batch_spans_max;
    batch_init(&exporter->batch);
    encoding_init(&exporter->encoding);
    exporter_save_init(exporter);
    int rc = FM_OK;
    if (options->tenant && !(exporter->tenant = strdup(options->tenant)))
        rc = fm_fail(why, FM_ENOMEM, "no memory for an exporter");
    if (rc == FM_OK)
        rc = exporter_load(exporter, why);
    if (rc < 0) {
        exporter_free(exporter, false);
        return fm_wrap(why, rc, "exporter %s", options->name);
    }
    *ret_exporter = exporter;
    return FM_OK;
}

void exporter_start(struct exporter *exporter)
{
    exporter_note_more(exporter);
}

void exporter_close(struct exporter *exporter)
{
    struct upstream *upstream = exporter->upstreams[exporter->current].upstream;
    struct platform *platform = exporter->exports->platform;
    exporter->is_closing = true;
    if (exporter->save_timer_runs)
        pf_timer_stop(platform, &exporter->save_timer);
    exporter->save_timer_runs = false;
    if (exporter->sm.state == EXPORTER_SENDING)
        upstream->ops->cancel(upstream);
    else if (exporter->sm.state == EXPORTER_IDLE || exporter->sm.state == EXPORTER_WAITING)
        exporter_finish(exporter);
}

struct exporter *exporter_free(struct exporter *exporter, bool is_abandoned)
{
    if (!exporter)
        return NULL;
    for (uint32_t i = 0; i < exporter->upstream_count; i++)
        exporter->upstreams[i].upstream->ops->free(exporter->upstreams[i].upstream);
    if (!is_abandoned)
        store_cursor_close(exporter->cursor);
    batch_fini(&exporter->batch);
    encoding_fini(&exporter->encoding);
    places_fini(&exporter->saving);
    fm_buf_fini(&exporter->save_text);
    free(exporter->path);
    free(exporter->tenant);
    free(exporter);
    return NULL;
}
