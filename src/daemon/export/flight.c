/* SPDX-License-Identifier: Apache-2.0 */
/* flight - one batch on its way: the parts it is sent in, to whom, and what comes of each.
 *
 *   FREE --> READING --> ENCODING <--> SENDING --> DONE --> FREE
 *                           ^            v
 *                           '-------- WAITING --> FREE
 *
 * Suspended in READING, ENCODING and SENDING (by their done), WAITING (timer, or what comes of
 * another request to the same upstream), DONE (until those that were read before are done).
 *
 * FLI-1  A failure that may pass makes the upstream rest for a while, with full jitter; if there is
 *        another one the batch goes there at once.  By trace: only the share of the one that rests.
 * FLI-2  To an upstream that failed one request goes at a time, until one succeeds.
 * FLI-3  Of requests that failed side by side one counts.
 */
#include "internal.h"

#include <stdio.h>

#define FLIGHT_WARN_NS (60 * FM_NS_PER_S)

static const struct fm_sm_rule flight_rules[] = {
    [FLIGHT_FREE] = {"free", FM_TO(FLIGHT_READING)},
    [FLIGHT_READING] = {"reading",
                        FM_TO(FLIGHT_ENCODING) | FM_TO(FLIGHT_DONE) | FM_TO(FLIGHT_FREE)},
    [FLIGHT_ENCODING] = {"encoding", FM_TO(FLIGHT_SENDING) | FM_TO(FLIGHT_WAITING) |
                                         FM_TO(FLIGHT_ENCODING) | FM_TO(FLIGHT_DONE) |
                                         FM_TO(FLIGHT_FREE)},
    [FLIGHT_SENDING] = {"sending", FM_TO(FLIGHT_ENCODING) | FM_TO(FLIGHT_WAITING) |
                                       FM_TO(FLIGHT_SENDING) | FM_TO(FLIGHT_DONE) |
                                       FM_TO(FLIGHT_FREE)},
    [FLIGHT_WAITING] = {"waiting", FM_TO(FLIGHT_ENCODING) | FM_TO(FLIGHT_FREE)},
    [FLIGHT_DONE] = {"done", FM_TO(FLIGHT_FREE)},
};

static void flight_send(struct flight *flight);
static void flight_encode(struct flight *flight);

static uint64_t flight_now(const struct flight *flight)
{
    return pf_now_ns(flight->exporter->exports->platform);
}

/* ---- upstreams ---- */

static uint32_t flight_mask(const struct flight *flight)
{
    const struct exporter *exporter = flight->exporter;
    uint64_t now_ns = flight_now(flight);
    uint32_t mask = 0;
    for (uint32_t i = 0; i < exporter->upstream_count; i++)
        mask |= (uint32_t)(exporter->upstreams[i].down_until_ns <= now_ns) << i;
    return mask;
}

/* Whom the next share goes to: its owner, or the first that does not rest, or whose rest is over
 * first. */
static void flight_choose(struct flight *flight)
{
    const struct exporter_upstream *upstreams = flight->exporter->upstreams;
    const struct batch *batch = &flight->batch;
    const struct share *share = &batch->shares[batch->share_count - 1];
    uint32_t mask = flight_mask(flight), best = 0;
    if (share->rule_count) {
        flight->current = share->rules[share->rule_count - 1].owner;
        return;
    }
    for (uint32_t i = 1; i < flight->exporter->upstream_count; i++) {
        if (!(mask & 1) && upstreams[i].down_until_ns < upstreams[best].down_until_ns)
            best = i;
    }
    flight->current = mask ? (uint32_t)__builtin_ctz(mask) : best;
}

static void flight_push_shares(struct flight *flight, const struct share *of, uint32_t mask)
{
    struct batch *batch = &flight->batch;
    for (uint32_t i = 0; i < flight->exporter->upstream_count; i++) {
        if (!(mask >> i & 1))
            continue;
        struct share *share = &batch->shares[batch->share_count++];
        *share = *of;
        share->rules[share->rule_count++] = (struct share_rule){mask, i};
    }
}

static void flight_begin_shares(struct flight *flight)
{
    const struct share all = {.rule_count = 0};
    uint32_t mask = flight_mask(flight);
    bool is_shared = flight->exporter->options.balance == EXPORT_BY_TRACE && (mask & (mask - 1));
    flight->batch.share_count = 0;
    if (is_shared)
        flight_push_shares(flight, &all, mask);
    else
        flight->batch.shares[flight->batch.share_count++] = all;
}

/* The owner of the share rests: the others take it over, if there are any. */
static bool flight_hand_over(struct flight *flight)
{
    struct batch *batch = &flight->batch;
    struct share share = batch->shares[batch->share_count - 1];
    uint32_t mask = flight_mask(flight);
    if (!share.rule_count || !mask || share.rule_count == EXPORT_UPSTREAMS_MAX ||
        batch->share_count - 1 + flight->exporter->upstream_count > FM_COUNT(batch->shares))
        return false;
    batch->share_count--;
    batch->part_first = 0;
    flight_push_shares(flight, &share, mask);
    return true;
}

/* ---- one part ---- */

/* So that a part is about as large as a batch should be. */
static void flight_set_part(struct flight *flight)
{
    const struct exporter *exporter = flight->exporter;
    struct batch *batch = &flight->batch;
    uint64_t bytes = batch->otlp.len, bytes_max = exporter->options.batch_bytes_max;
    uint64_t spans_max = exporter->spans_max;
    if (bytes > bytes_max + bytes_max / 4)
        spans_max = FM_MIN(spans_max, FM_MAX(batch->span_count * bytes_max / bytes, 1u));
    bool is_whole = batch->span_count <= spans_max + spans_max / 4;
    batch->part_first = 0;
    batch->part_max = is_whole ? UINT64_MAX / 2 : spans_max;
}

void flight_begin(struct flight *flight)
{
    flight_begin_shares(flight);
    flight_set_part(flight);
    flight_encode(flight);
}

static void flight_encoded(struct flight *flight);

static void flight_on_encoded(struct pf_job *job)
{
    struct flight *flight = FM_CONTAINER(job, struct flight, encoding.job);
    codec_encoder_free(flight->exporter->encoder);
    flight->exporter->encoder = fm_take(flight->encoding.encoder);
    if (flight->exporter->is_closing)
        flight_land(flight);
    else
        flight_encoded(flight);
}

static void flight_encode(struct flight *flight)
{
    struct exporter *exporter = flight->exporter;
    struct encoding *encoding = &flight->encoding;
    encoding->protocol = exporter->options.protocol;
    encoding->codec = exporter->codec;
    encoding->batch = &flight->batch;
    if (!encoding->encoder) /* the one that is warm, if nobody has it */
        encoding->encoder = fm_take(exporter->encoder);
    encoding->job =
        (struct pf_job){.work = encoding_work, .done = flight_on_encoded, .lane = PF_LANE_EXPORT};
    fm_sm_move(&flight->sm, FLIGHT_ENCODING);
    pf_job_submit(exporter->exports->platform, &encoding->job);
}

/* The part is dealt with, one way or the other: the next one, the next share, the end. */
static void flight_next_part(struct flight *flight)
{
    struct batch *batch = &flight->batch;
    batch->part_first += flight->encoding.span_count;
    batch->done_spans += flight->encoding.span_count;
    if (flight->encoding.is_last) {
        batch->share_count--;
        batch->part_first = 0;
    }
    if (batch->share_count) {
        flight_encode(flight);
        return;
    }
    fm_sm_move(&flight->sm, FLIGHT_DONE);
    exporter_on_flight(flight->exporter);
}

static void flight_start_timer(struct flight *flight, uint64_t delay_ns)
{
    struct platform *platform = flight->exporter->exports->platform;
    pf_timer_stop(platform, &flight->timer);
    pf_timer_start(platform, &flight->timer, delay_ns);
}

static void flight_wait(struct flight *flight, uint64_t delay_ns)
{
    fm_sm_move(&flight->sm, FLIGHT_WAITING);
    flight_start_timer(flight, delay_ns);
}

static void flight_on_timer(struct pf_timer *timer)
{
    flight_encode(FM_CONTAINER(timer, struct flight, timer));
}

/* Once a minute, so that what is lost is heard of and not all there is to hear. */
static void flight_drop(struct flight *flight, enum exporter_drop reason, uint64_t spans,
                        const char *why)
{
    static const char *const reasons[] = {
#define X(name, text) [EXPORTER_DROP_##name] = text,
        EXPORTER_DROPS(X)
#undef X
    };
    struct exporter *exporter = flight->exporter;
    uint64_t now_ns = flight_now(flight);
    metric_add(&exporter->dropped_spans[reason], spans);
    if (exporter->warned_ns && now_ns - exporter->warned_ns < FLIGHT_WARN_NS)
        return;
    exporter->warned_ns = FM_MAX(now_ns, 1u);
    log_error("export.dropped", "exporter=%s reason=%s spans=%llu why=\"%s\"", exporter->name,
              reasons[reason], (unsigned long long)spans, why);
}

static void flight_encoded(struct flight *flight)
{
    struct encoding *encoding = &flight->encoding;
    struct batch *batch = &flight->batch;
    if (encoding->rc == FM_EMALFORMED) { /* what the log holds was checked: damage */
        flight_drop(flight, EXPORTER_DROP_UNREADABLE, batch->span_count - batch->done_spans,
                    "the batch is no OTLP");
        batch->share_count = 1;
        encoding->span_count = 0;
        encoding->is_last = true;
        flight_next_part(flight);
    } else if (encoding->rc < 0) {
        flight_wait(flight, FM_NS_PER_S);
    } else if (!encoding->span_count) {
        flight_next_part(flight); /* no trace of the batch belongs there */
    } else {
        flight_choose(flight);
        flight_send(flight);
    }
}

/* ---- sending ---- */

static void flight_answered(struct flight *flight);

static void flight_on_sent(struct export_request *request)
{
    struct flight *flight = request->self;
    struct exporter *exporter = flight->exporter;
    uint32_t from = flight->current;
    metric_add(&exporter->attempts[request->outcome], 1);
    exporter->upstreams[from].request_count--;
    if (exporter->is_closing) {
        flight_land(flight);
        return;
    }
    flight_answered(flight);
    exporter_on_answer(exporter, from);
}

/* FLI-2.  What waits for another request is sent when that has its answer. */
static bool flight_must_wait(struct flight *flight)
{
    const struct exporter_upstream *to = &flight->exporter->upstreams[flight->current];
    uint64_t now_ns = flight_now(flight);
    if (to->down_until_ns > now_ns) {
        flight_wait(flight, to->down_until_ns - now_ns);
        return true;
    }
    if (!to->failures || !to->request_count)
        return false;
    fm_sm_move(&flight->sm, FLIGHT_WAITING);
    return true;
}

static void flight_send(struct flight *flight)
{
    struct exporter *exporter = flight->exporter;
    struct exporter_upstream *to = &exporter->upstreams[flight->current];
    if (flight_must_wait(flight))
        return;
    const char *tenant = exporter->tenant;
    if (!tenant)
        tenant = store_cursor_tenant(exporter->cursor, flight->batch.tenant);
    flight->request = (struct export_request){
        .body = flight->encoding.body,
        .codec = flight->encoding.codec,
        .tenant = tenant[0] ? tenant : NULL,
        .done = flight_on_sent,
        .self = flight,
    };
    flight->sent_ns = flight_now(flight);
    fm_sm_move(&flight->sm, FLIGHT_SENDING);
    to->request_count++;
    to->upstream->ops->send(to->upstream, &flight->request);
}

void flight_on_answer(struct flight *flight, uint32_t upstream)
{
    const struct exporter_upstream *from = &flight->exporter->upstreams[upstream];
    uint64_t now_ns = flight_now(flight);
    if (flight->sm.state == FLIGHT_WAITING && flight->current == upstream)
        flight_start_timer(flight, from->down_until_ns - FM_MIN(now_ns, from->down_until_ns));
}

static void flight_sent(struct flight *flight)
{
    const struct export_request *request = &flight->request;
    struct exporter *exporter = flight->exporter;
    uint64_t spans = flight->encoding.span_count;
    uint64_t rejected = FM_MIN(request->rejected_spans, spans);
    exporter->upstreams[flight->current].failures = 0;
    exporter->upstreams[flight->current].down_until_ns = 0;
    if (exporter->problem[0])
        log_info("export.recovered", "exporter=%s", exporter->name);
    exporter->problem[0] = '\0';
    exporter->is_flowing = true;
    flight->batch.failed_ns = 0;
    metric_add(&exporter->sent_spans, spans - rejected);
    metric_add(&exporter->sent_bytes, request->body.len);
    metric_add(&exporter->sent_batches, 1);
    if (rejected)
        flight_drop(flight, EXPORTER_DROP_REJECTED, rejected, request->why.text);
    uint64_t more = exporter->spans_max + exporter->spans_max / 16 + 1;
    exporter->spans_max = FM_MIN(more, exporter->options.batch_spans_max);
    flight_next_part(flight);
}

static void flight_note_problem(const struct flight *flight, uint64_t delay_ns)
{
    const struct export_request *request = &flight->request;
    struct exporter *exporter = flight->exporter;
    log_warn("export.retry",
             "exporter=%s upstream=%u outcome=%s attempt=%u wait_ms=%llu why=\"%s\"",
             exporter->name, flight->current, export_outcome_text(request->outcome),
             exporter->upstreams[flight->current].failures,
             (unsigned long long)(delay_ns / FM_NS_PER_MS), request->why.text);
    (void)snprintf(exporter->problem, sizeof exporter->problem, "%.255s", request->why.text);
}

/* FLI-3: what was sent before the upstream failed last knew nothing of that. */
static void flight_note_failure(const struct flight *flight, uint64_t now_ns)
{
    const struct exporter_options *options = &flight->exporter->options;
    struct exporter_upstream *from = &flight->exporter->upstreams[flight->current];
    uint64_t asked_ns = flight->request.retry_after_ns;
    if (from->failures && flight->sent_ns <= from->failed_ns) {
        from->down_until_ns = FM_MAX(from->down_until_ns, now_ns + asked_ns);
        return;
    }
    from->failures = FM_MIN(from->failures + 1, 1000000u);
    uint64_t delay_ns =
        export_backoff_ns(from->failures, options->retry_initial_ns, options->retry_max_ns,
                          pf_random_u64(flight->exporter->exports->platform));
    delay_ns = FM_MAX(FM_MAX(delay_ns, asked_ns), FM_NS_PER_MS);
    from->down_until_ns = now_ns + delay_ns;
    from->failed_ns = now_ns;
    flight_note_problem(flight, delay_ns);
}

/* FLI-1. */
static void flight_retry(struct flight *flight)
{
    struct exporter *exporter = flight->exporter;
    const struct exporter_options *options = &exporter->options;
    struct batch *batch = &flight->batch;
    uint64_t now_ns = flight_now(flight);
    exporter->is_flowing = false;
    flight_note_failure(flight, now_ns);
    if (!batch->failed_ns)
        batch->failed_ns = FM_MAX(now_ns, 1u);
    if (options->retry_elapsed_ns && now_ns - batch->failed_ns >= options->retry_elapsed_ns) {
        flight_drop(flight, EXPORTER_DROP_GAVE_UP, flight->encoding.span_count,
                    flight->request.why.text);
        flight_next_part(flight);
        return;
    }
    if (flight_hand_over(flight)) {
        flight_encode(flight);
        return;
    }
    flight_choose(flight);
    flight_send(flight);
}

static void flight_halve(struct flight *flight)
{
    struct exporter *exporter = flight->exporter;
    uint64_t spans = flight->encoding.span_count;
    if (spans <= 1) {
        flight_drop(flight, EXPORTER_DROP_TOO_LARGE, spans, flight->request.why.text);
        flight_next_part(flight);
        return;
    }
    exporter->spans_max = FM_MAX(FM_MIN(exporter->spans_max, spans) / 2, 1u);
    flight->batch.part_max = spans / 2;
    log_info("export.smaller", "exporter=%s spans=%llu why=\"%s\"", exporter->name,
             (unsigned long long)flight->batch.part_max, flight->request.why.text);
    flight_encode(flight);
}

static void flight_weaken_codec(struct flight *flight)
{
    struct exporter *exporter = flight->exporter;
    if (exporter->codec == flight->request.codec) { /* else another request found out before */
        exporter->codec = exporter->codec == CODEC_ZSTD ? CODEC_GZIP : CODEC_NONE;
        log_warn("export.compression", "exporter=%s now=%s why=\"%s\"", exporter->name,
                 exporter->codec == CODEC_NONE ? "none" : codec_name(exporter->codec),
                 flight->request.why.text);
    }
    flight_encode(flight);
}

static void flight_answered(struct flight *flight)
{
    struct exporter *exporter = flight->exporter;
    switch (flight->request.outcome) {
    case EXPORT_SENT:
        flight_sent(flight);
        break;
    case EXPORT_UNREACHABLE:
    case EXPORT_TIMEOUT:
    case EXPORT_BUSY:
    case EXPORT_CANCELLED: /* by the upstream: as if it had broken */
        flight_retry(flight);
        break;
    case EXPORT_TOO_LARGE:
        flight_halve(flight);
        break;
    case EXPORT_NO_CODEC:
        flight_weaken_codec(flight);
        break;
    case EXPORT_REFUSED:
    case EXPORT_OUTCOME_COUNT:
        exporter->upstreams[flight->current].failures = 0;
        (void)snprintf(exporter->problem, sizeof exporter->problem, "%.255s",
                       flight->request.why.text);
        flight_drop(flight, EXPORTER_DROP_REFUSED, flight->encoding.span_count,
                    flight->request.why.text);
        flight_next_part(flight);
        break;
    }
}

/* ---- life ---- */

void flight_init(struct flight *flight, struct exporter *exporter)
{
    flight->exporter = exporter;
    flight->sm = (struct fm_sm){flight_rules, FLIGHT_FREE};
    flight->timer.fire = flight_on_timer;
    batch_init(&flight->batch);
    encoding_init(&flight->encoding);
}

void flight_fini(struct flight *flight)
{
    batch_fini(&flight->batch);
    encoding_fini(&flight->encoding);
}

void flight_rest(struct flight *flight)
{
    if (flight->sm.state == FLIGHT_FREE)
        batch_fini(&flight->batch);
    if (flight->sm.state == FLIGHT_FREE || flight->sm.state == FLIGHT_WAITING)
        encoding_fini(&flight->encoding); /* made anew, as it always is after a wait */
}

void flight_land(struct flight *flight)
{
    pf_timer_stop(flight->exporter->exports->platform, &flight->timer);
    batch_reset(&flight->batch);
    fm_sm_move(&flight->sm, FLIGHT_FREE);
    exporter_on_flight(flight->exporter);
}

bool flight_is_busy(const struct flight *flight)
{
    return flight->sm.state == FLIGHT_READING || flight->sm.state == FLIGHT_ENCODING ||
           flight->sm.state == FLIGHT_SENDING;
}

void flight_cancel(struct flight *flight)
{
    struct upstream *upstream = flight->exporter->upstreams[flight->current].upstream;
    if (flight->sm.state == FLIGHT_SENDING)
        upstream->ops->cancel(upstream, &flight->request);
    else if (flight->sm.state == FLIGHT_WAITING)
        pf_timer_stop(flight->exporter->exports->platform, &flight->timer);
}
