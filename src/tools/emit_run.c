/* SPDX-License-Identifier: Apache-2.0 */
/* Pace, progress and end of a load run.
 *
 *   sending --(source ended, --duration over, SIGINT)--> ending --(all answered, or 10 s)--> over
 *
 * The end is carried out from a timer of its own, since the reason for it usually lies deep inside
 * a channel.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "emit.h"
#include "fermata/linux.h"
#include "fermata/units.h"
#include "fermata/uv.h"

#define RUN_GRACE_NS    (10 * FM_NS_PER_S)
#define RUN_PROGRESS_NS (200 * FM_NS_PER_MS)
#define RUN_GIVE_UP_NS  (60 * FM_NS_PER_S) /* without --give-up, once there was a connection */

static void run_step(struct emit_run *run)
{
    for (size_t i = 0; i < run->channel_count && !run->is_over; i++)
        emit_channel_step(run->channels[i]);
    for (size_t i = 0; i < run->post_count && !run->is_over; i++)
        emit_post_step(run->posts[i]);
}

static void run_free_senders(struct emit_run *run)
{
    for (size_t i = 0; i < run->channel_count; i++)
        run->channels[i] = emit_channel_free(run->channels[i]);
    for (size_t i = 0; i < run->post_count; i++)
        run->posts[i] = emit_post_free(run->posts[i]);
    run->channel_count = run->post_count = 0;
}

static void run_on_over(struct pf_timer *timer)
{
    struct emit_run *run = FM_CONTAINER(timer, struct emit_run, ending);

    run->is_over = true;
    for (size_t i = 0; i < run->channel_count; i++)
        run->tally.unknown_spans += emit_channel_unknown_spans(run->channels[i]);
    for (size_t i = 0; i < run->post_count; i++)
        run->tally.unknown_spans += emit_post_unsent_spans(run->posts[i]);
    run_free_senders(run);
    pf_timer_stop(run->platform, &run->pace);
    pf_timer_stop(run->platform, &run->progress);
    uv_platform_stop(run->platform);
}

/* No new batches from now on; what is under way has until delay_ns. */
static void run_end(struct emit_run *run, uint64_t delay_ns)
{
    run->is_ending = true;
    run->ending.fire = run_on_over;
    pf_timer_stop(run->platform, &run->ending);
    pf_timer_start(run->platform, &run->ending, delay_ns);
}

void emit_run_failed(struct emit_run *run, int rc)
{
    if (run->failure == FM_OK)
        run->failure = rc;
    run_end(run, 0);
}

static bool run_is_idle(const struct emit_run *run)
{
    for (size_t i = 0; i < run->channel_count; i++) {
        if (!emit_channel_is_idle(run->channels[i]))
            return false;
    }
    for (size_t i = 0; i < run->post_count; i++) {
        if (!emit_post_is_idle(run->posts[i]))
            return false;
    }
    return true;
}

void emit_run_check(struct emit_run *run)
{
    uint64_t patience_ns = run->plan->give_up_ns          ? run->plan->give_up_ns
                           : run->tally.connections       ? RUN_GIVE_UP_NS
                           : run->tally.connection_errors ? 0
                                                          : RUN_GIVE_UP_NS;

    if (run->is_over)
        return;
    if (run->is_ending) {
        if (run_is_idle(run))
            run_end(run, 0);
        return;
    }
    if (!run_is_idle(run) && pf_now_ns(run->platform) - run->last_success_ns > patience_ns)
        run_end(run, 0);
}

static void run_on_pace(struct pf_timer *timer)
{
    run_step(FM_CONTAINER(timer, struct emit_run, pace));
}

static void run_on_deadline(struct pf_timer *timer)
{
    struct emit_run *run = FM_CONTAINER(timer, struct emit_run, ending);

    run_end(run, RUN_GRACE_NS);
    emit_run_check(run);
}

/* When the next batch may leave at the wanted rate; 0: now. */
static uint64_t run_wait_ns(const struct emit_run *run, uint64_t now_ns)
{
    if (!run->plan->rate)
        return 0;
    double due_s = (double)run->issued_spans / (double)run->plan->rate;
    double since_s = (double)(now_ns - run->started_ns) / (double)FM_NS_PER_S;
    return due_s > since_s ? (uint64_t)((due_s - since_s) * (double)FM_NS_PER_S) : 0;
}

bool emit_run_must_wait(struct emit_run *run)
{
    uint64_t wait_ns = run_wait_ns(run, run->plan->rate ? pf_now_ns(run->platform) : 0);

    if (!wait_ns)
        return false;
    pf_timer_stop(run->platform, &run->pace);
    pf_timer_start(run->platform, &run->pace, wait_ns);
    return true;
}

int emit_run_next(struct emit_run *run, struct emit_batch *batch)
{
    if (run->is_ending || emit_run_must_wait(run))
        return FM_NONE;
    int rc = emit_source_next(run->source, batch);
    if (rc == FM_OK) {
        if (run->plan->rate && run_is_idle(run)) /* patience begins with what is waited for */
            run->last_success_ns = pf_now_ns(run->platform);
        if (run->plan->protocol->transport != EMIT_DATAGRAM) /* they count one by one */
            run->issued_spans += batch->span_count;
        return FM_OK;
    }
    if (rc < 0) {
        (void)fm_fail(&run->why, rc, "cannot make up a request: %s", fm_rc_text(rc));
        emit_run_failed(run, rc);
    } else if (!run->is_ending) {
        run_end(run, RUN_GRACE_NS * 6); /* the last ones may have to be tried again */
    }
    return FM_NONE;
}

void emit_run_acked(struct emit_run *run, const struct emit_slot *slot)
{
    struct emit_tally *tally = &run->tally;
    uint64_t now_ns = pf_now_ns(run->platform);
    uint64_t rejected = FM_MIN(slot->answer.rejected_spans, (uint64_t)slot->batch.span_count);

    run->last_success_ns = now_ns;
    emit_tally_latency(tally, now_ns - slot->sent_ns);
    tally->elapsed_ns = now_ns - run->started_ns;
    tally->acked_requests++;
    tally->acked_spans += slot->batch.span_count - rejected;
    tally->rejected_spans += rejected;
    tally->sent_bytes += slot->batch.body.len;
    if (rejected)
        return; /* which ones is not known, so none of them goes into the ledger */
    int rc = emit_ledger_add(&run->ledger, slot->batch.otlp, &run->why);
    if (rc < 0)
        emit_run_failed(run, rc);
}

static void run_on_progress(struct pf_timer *timer)
{
    struct emit_run *run = FM_CONTAINER(timer, struct emit_run, progress);
    double seconds = (double)(pf_now_ns(run->platform) - run->started_ns) / (double)FM_NS_PER_S;

    uint64_t spans = run->tally.is_datagram ? run->tally.sent_spans : run->tally.acked_spans;

    fprintf(stderr, "\r%llu spans %s, %.0f spans/s, %llu refused, %llu retries \033[K",
            (unsigned long long)spans, run->tally.is_datagram ? "sent" : "acked",
            seconds > 0 ? (double)spans / seconds : 0,
            (unsigned long long)(run->tally.rejected_spans + run->tally.failed_spans),
            (unsigned long long)run->tally.retries);
    emit_run_check(run); /* patience runs out between events, too */
    if (!run->is_over)
        pf_timer_start(run->platform, &run->progress, RUN_PROGRESS_NS);
}

static void run_on_watch(struct pf_timer *timer)
{
    struct emit_run *run = FM_CONTAINER(timer, struct emit_run, progress);

    emit_run_check(run);
    if (!run->is_over)
        pf_timer_start(run->platform, &run->progress, FM_NS_PER_S);
}

static void run_on_signal(void *self, int number)
{
    struct emit_run *run = self;

    (void)number;
    if (!run->is_over)
        run_end(run, run->is_ending ? 0 : RUN_GRACE_NS);
    if (!run->is_over)
        emit_run_check(run);
}

static int run_open_senders(struct emit_run *run)
{
    run->channels = calloc(run->plan->connection_count, sizeof(struct emit_channel *));
    run->posts = calloc(run->plan->connection_count, sizeof(struct emit_post *));
    if (!run->channels || !run->posts)
        return fm_fail(&run->why, FM_ENOMEM, "out of memory");
    for (size_t i = 0; i < run->plan->connection_count; i++) {
        if (run->tally.is_datagram) {
            int rc = emit_post_new(&run->posts[i], run, &run->why);
            if (rc < 0)
                return rc;
            run->post_count++;
        } else {
            int rc = emit_channel_new(&run->channels[i], run);
            if (rc < 0)
                return fm_fail(&run->why, rc, "out of memory");
            run->channel_count++;
        }
    }
    return FM_OK;
}

static int run_open_tls(struct emit_run *run)
{
    const struct emit_plan *plan = run->plan;
    const struct net_stream_tls_options options = {
        .ca_file = plan->tls_ca_file,
        .cert_file = plan->tls_cert_file,
        .key_file = plan->tls_key_file,
        .server_name = plan->tls_server_name   ? plan->tls_server_name
                       : !plan->target.is_unix ? plan->target.host
                                               : "localhost",
        .h2 = plan->protocol->transport == EMIT_GRPC,
    };
    return plan->tls ? net_stream_tls_new(&run->tls, &options, &run->why) : FM_OK;
}

static int run_open(struct emit_run *run)
{
    run->tally.is_datagram = run->plan->protocol->transport == EMIT_DATAGRAM;
    int rc = run_open_tls(run);
    if (rc == FM_OK)
        rc = run_open_senders(run);
    if (rc < 0)
        return rc;
    rc = uv_platform_on_signal(run->platform, SIGINT, run_on_signal, run);
    if (rc == FM_OK)
        rc = uv_platform_on_signal(run->platform, SIGTERM, run_on_signal, run);
    return rc < 0 ? fm_fail(&run->why, rc, "cannot watch for signals") : FM_OK;
}

static void run_go(struct emit_run *run)
{
    uint64_t cpu_ns = linux_cpu_ns();

    run->started_ns = run->last_success_ns = pf_now_ns(run->platform);
    run->pace.fire = run_on_pace;
    run->progress.fire = run->is_terminal && !run->plan->json ? run_on_progress : run_on_watch;
    pf_timer_start(run->platform, &run->progress, RUN_PROGRESS_NS);
    if (run->plan->duration_ns) {
        run->ending.fire = run_on_deadline;
        pf_timer_start(run->platform, &run->ending, run->plan->duration_ns);
    }
    run_step(run);
    uv_platform_run(run->platform);
    run->tally.cpu_ns = linux_cpu_ns() - cpu_ns;
    if (run->progress.fire == run_on_progress)
        fputs("\r\033[K", stderr);
}

int emit_run(struct emit_run *run, const struct emit_plan *plan, struct emit_source *source)
{
    *run = (struct emit_run){.plan = plan, .source = source, .is_terminal = linux_is_terminal(2)};
    (void)signal(SIGPIPE, SIG_IGN); /* a server that goes away is an answer, not our end */
    int rc = uv_platform_new(&run->platform, 1, 1);
    if (rc < 0)
        return fm_fail(&run->why, rc, "cannot make a loop");
    rc = emit_ledger_open(&run->ledger, plan, &run->why);
    if (rc == FM_OK)
        rc = run_open(run);
    if (rc == FM_OK) {
        run_go(run);
        rc = run->failure;
    } else {
        run_free_senders(run);
        uv_platform_stop(run->platform);
        uv_platform_run(run->platform);
    }
    emit_ledger_close(&run->ledger);
    free(run->channels);
    free(run->posts);
    run->channels = NULL;
    run->posts = NULL;
    run->tls = net_stream_tls_free(run->tls);
    run->platform = uv_platform_free(run->platform);
    return rc;
}
