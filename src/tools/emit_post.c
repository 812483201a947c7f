/* SPDX-License-Identifier: Apache-2.0 */
/* One socket of the load generator that sends datagrams: batch after batch, each datagram at its
 * own time, so that a batch is no burst.  Nobody answers; all that can be learnt is that the kernel
 * took a datagram, or that an earlier one met a closed port. */
#include <stdio.h>
#include <stdlib.h>

#include "emit.h"
#include "fermata/net_datagram.h"
#include "fermata/units.h"
#include "jaeger_encode.h"

#define POST_STEP_DATAGRAMS 64 /* then the loop gets its turn */
#define POST_PAUSE_NS       FM_NS_PER_MS

struct emit_post {
    struct emit_run *run;          /* borrowed */
    struct net_datagram *datagram; /* owned */
    struct emit_batch batch;
    struct fm_slice rest; /* of the batch's datagrams */
    uint32_t rest_spans;
    bool is_complete; /* all of the batch went out so far */
    struct pf_timer again;
};

static void post_on_again(struct pf_timer *timer)
{
    emit_post_step(FM_CONTAINER(timer, struct emit_post, again));
}

static void post_pause(struct emit_post *post, uint64_t delay_ns)
{
    pf_timer_stop(post->run->platform, &post->again);
    pf_timer_start(post->run->platform, &post->again, delay_ns);
}

static void post_count(struct emit_post *post, int rc, struct fm_slice bytes, uint32_t spans)
{
    struct emit_run *run = post->run;
    struct emit_tally *tally = &run->tally;

    run->issued_spans += spans;
    tally->elapsed_ns = pf_now_ns(run->platform) - run->started_ns;
    if (rc == FM_OK) {
        run->last_success_ns = run->started_ns + tally->elapsed_ns;
        tally->datagrams++;
        tally->sent_spans += spans;
        tally->sent_bytes += bytes.len;
        return;
    }
    post->is_complete = false;
    tally->failed_requests++;
    tally->failed_spans += spans;
    (void)snprintf(tally->last_error, sizeof tally->last_error, "%s",
                   rc == FM_EUNAVAILABLE ? "nobody listens there" : fm_rc_text(rc));
}

/* The next datagram of the batch; FM_MORE: the kernel has no room. */
static int post_send(struct emit_post *post)
{
    uint32_t len = fm_load_le32(post->rest.ptr), spans = fm_load_le32(post->rest.ptr + 4);
    struct fm_slice bytes = fm_slice(post->rest.ptr + JAEGER_DATAGRAM_HEAD_BYTES, len);

    int rc = net_datagram_send(post->datagram, bytes);
    if (rc == FM_MORE)
        return FM_MORE;
    post_count(post, rc, bytes, spans);
    post->rest = fm_slice(bytes.ptr + len, post->rest.len - len - JAEGER_DATAGRAM_HEAD_BYTES);
    post->rest_spans -= spans;
    return FM_OK;
}

static void post_finish_batch(struct emit_post *post)
{
    struct emit_run *run = post->run;

    post->rest_spans = 0;
    if (!post->is_complete)
        return; /* not worth a line in the ledger */
    int rc = emit_ledger_add(&run->ledger, post->batch.otlp, &run->why);
    if (rc < 0)
        emit_run_failed(run, rc);
}

static bool post_take_batch(struct emit_post *post)
{
    if (emit_run_next(post->run, &post->batch) != FM_OK)
        return false;
    post->rest = post->batch.body;
    post->rest_spans = post->batch.span_count;
    post->is_complete = true;
    return true;
}

void emit_post_step(struct emit_post *post)
{
    struct emit_run *run = post->run;

    for (unsigned i = 0; !run->is_over; i++) {
        if (!post->rest.len && !post_take_batch(post))
            break;
        if (emit_run_must_wait(run))
            break;
        if (i == POST_STEP_DATAGRAMS) {
            post_pause(post, 0);
            break;
        }
        if (post_send(post) == FM_MORE) {
            post_pause(post, POST_PAUSE_NS);
            break;
        }
        if (!post->rest.len)
            post_finish_batch(post);
    }
    emit_run_check(run);
}

bool emit_post_is_idle(const struct emit_post *post)
{
    return !post->rest.len;
}

uint64_t emit_post_unsent_spans(const struct emit_post *post)
{
    return post->rest_spans;
}

int emit_post_new(struct emit_post **ret_post, struct emit_run *run, struct fm_why *why)
{
    struct emit_post *post = calloc(1, sizeof *post);

    if (!post)
        return fm_fail(why, FM_ENOMEM, "out of memory");
    post->run = run;
    post->again.fire = post_on_again;
    emit_batch_init(&post->batch);
    int rc = net_datagram_open(&post->datagram, run->platform, &run->plan->target, why);
    if (rc < 0) {
        free(post);
        return rc;
    }
    run->tally.connections++;
    *ret_post = post;
    return FM_OK;
}

struct emit_post *emit_post_free(struct emit_post *post)
{
    if (post) {
        pf_timer_stop(post->run->platform, &post->again);
        post->datagram = net_datagram_free(post->datagram);
        emit_batch_fini(&post->batch);
        free(post);
    }
    return NULL;
}
