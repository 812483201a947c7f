/* SPDX-License-Identifier: Apache-2.0 */
/* One connection of the load generator and the requests on it.
 *
 * A slot:     EMPTY --> READY --> SENT --> EMPTY        SENT --> PAUSED --> READY: try again
 *                         ^---------'                   the connection broke: at once
 *
 * HTTP/1 has one slot, gRPC as many as streams were asked for.  Events store what happened and call
 * emit_channel_step(), which alone moves slots.  A broken connection is opened again after a pause
 * when something waits to be sent.
 */
#include <stdio.h>
#include <stdlib.h>

#include "emit.h"
#include "fermata/units.h"

#define CHANNEL_PIECE_BYTES  FM_KIB(256) /* HTTP/2 frames in one write */
#define CHANNEL_RESPONSE_MAX FM_MIB(1)
#define CHANNEL_PAUSE_MIN_NS (20 * FM_NS_PER_MS)
#define CHANNEL_PAUSE_MAX_NS (2 * FM_NS_PER_S)
#define CHANNEL_HEADERS_MAX  (5 + OPTION_LIST_MAX)

struct emit_channel {
    struct emit_run *run;      /* borrowed */
    struct net_stream *stream; /* owned; NULL: not connected */
    bool is_open, is_writing, close_after;
    unsigned failures; /* of connections, in a row: since the last answer */
    bool is_waiting;   /* for reconnect */
    struct pf_timer reconnect;
    struct h1 *h1;        /* owned; one a connection */
    struct h2_client *h2; /* owned; one a connection */
    struct fm_buf output;
    struct fm_buf response; /* HTTP/1's body */
    char host[300];         /* Host, :authority */
    struct http_header headers[CHANNEL_HEADERS_MAX];
    size_t header_count, slot_count;
    struct emit_slot slots[];
};

static bool channel_is_grpc(const struct emit_channel *channel)
{
    return channel->run->plan->protocol->transport == EMIT_GRPC;
}

static uint64_t channel_pause(unsigned failures)
{
    uint64_t pause_ns = CHANNEL_PAUSE_MIN_NS << FM_MIN(failures, 10u);
    return FM_MIN(pause_ns, CHANNEL_PAUSE_MAX_NS);
}

static void channel_add_header(struct emit_channel *channel, const char *name, const char *value)
{
    channel->headers[channel->header_count++] =
        (struct http_header){fm_slice_text(name), fm_slice_text(value)};
}

static void channel_make_headers(struct emit_channel *channel)
{
    const struct emit_plan *plan = channel->run->plan;

    channel_add_header(channel, "content-type", plan->protocol->content_type);
    channel_add_header(channel, "user-agent", "fermata-emit/" FERMATA_VERSION);
    if (channel_is_grpc(channel))
        channel_add_header(channel, "te", "trailers");
    if (plan->tenant)
        channel_add_header(channel, "x-scope-orgid", plan->tenant);
    for (size_t i = 0; i < plan->headers.count; i++) {
        const char *text = plan->headers.items[i], *colon = strchr(text, ':');
        channel->headers[channel->header_count++] = (struct http_header){
            fm_slice(text, (size_t)(colon - text)), fm_slice_text(colon + 1 + (colon[1] == ' '))};
    }
    if (plan->target.is_unix)
        (void)snprintf(channel->host, sizeof channel->host, "localhost");
    else
        (void)snprintf(channel->host, sizeof channel->host,
                       strchr(plan->target.host, ':') ? "[%s]:%u" : "%s:%u", plan->target.host,
                       plan->target.port);
}

/* ---- slots ---- */

static void slot_on_pause(struct pf_timer *timer)
{
    struct emit_slot *slot = FM_CONTAINER(timer, struct emit_slot, pause);

    slot->state = SLOT_READY;
    emit_channel_step(slot->channel);
}

static void slot_retry(struct emit_slot *slot, uint64_t pause_ns)
{
    struct emit_run *run = slot->channel->run;

    run->tally.retries++;
    slot->attempts++;
    if (!pause_ns) {
        slot->state = SLOT_READY;
        return;
    }
    slot->state = SLOT_PAUSED;
    pf_timer_start(run->platform, &slot->pause, pause_ns);
}

static void slot_take_answer(struct emit_slot *slot)
{
    struct emit_run *run = slot->channel->run;
    struct emit_answer *answer = &slot->answer;

    slot->is_answered = false;
    if (answer->text[0])
        (void)snprintf(run->tally.last_error, sizeof run->tally.last_error, "%s", answer->text);
    if (answer->rc != FM_ECLOSED)
        slot->channel->failures = 0;
    if (answer->rc == FM_OK) {
        slot->state = SLOT_EMPTY;
        emit_run_acked(run, slot);
    } else if (answer->rc == FM_ECLOSED) { /* the connection; reconnecting has its own pauses */
        slot_retry(slot, 0);
    } else if (fm_rc_retryable(answer->rc)) {
        slot_retry(slot, FM_MAX(answer->pause_ns, channel_pause(slot->attempts)));
    } else {
        slot->state = SLOT_EMPTY;
        run->tally.failed_requests++;
        run->tally.failed_spans += slot->batch.span_count;
    }
}

static void slot_answer_lost(struct emit_slot *slot, const char *text)
{
    slot->is_answered = true;
    slot->answer = (struct emit_answer){.rc = FM_ECLOSED};
    (void)snprintf(slot->answer.text, sizeof slot->answer.text, "%s", text);
}

static void slot_on_call_done(struct h2_call *call, int rc)
{
    struct emit_slot *slot = call->self;

    if (rc == FM_OK) {
        slot->is_answered = true;
        if (slot->channel->run->plan->protocol->answer == EMIT_ANSWERS_NOTHING)
            fm_buf_reset(&call->response);
        emit_answer_grpc(&slot->answer, call);
    } else {
        slot_answer_lost(slot, "the stream was reset");
    }
}

/* ---- connection ---- */

static void channel_disconnect(struct emit_channel *channel)
{
    channel->stream = net_stream_free(channel->stream);
    channel->is_open = channel->is_writing = channel->close_after = false;
    channel->h1 = h1_free(channel->h1);
    channel->h2 = h2_client_free(channel->h2); /* answers the open calls */
    fm_buf_reset(&channel->output);
    for (size_t i = 0; i < channel->slot_count; i++) {
        if (channel->slots[i].state == SLOT_SENT && !channel->slots[i].is_answered)
            slot_answer_lost(&channel->slots[i], "the connection was lost");
    }
}

static void channel_on_reconnect(struct pf_timer *timer)
{
    struct emit_channel *channel = FM_CONTAINER(timer, struct emit_channel, reconnect);

    channel->is_waiting = false;
    emit_channel_step(channel);
}

static void channel_fail(struct emit_channel *channel, const char *text)
{
    struct emit_run *run = channel->run;

    run->tally.connection_errors++;
    (void)snprintf(run->tally.last_error, sizeof run->tally.last_error, "%s", text);
    channel_disconnect(channel);
    channel->is_waiting = true;
    pf_timer_start(run->platform, &channel->reconnect, channel_pause(channel->failures++));
    emit_channel_step(channel);
}

static void channel_on_open(void *self)
{
    struct emit_channel *channel = self;
    struct emit_run *run = channel->run;

    int rc = channel_is_grpc(channel) ? h2_client_new(&channel->h2)
                                      : h1_new(&channel->h1, H1_RESPONSES, &http_limits_default);
    if (rc < 0) {
        channel_fail(channel, "out of memory");
        return;
    }
    run->tally.connections++;
    channel->is_open = true;
    emit_channel_step(channel);
}

static void channel_on_end(void *self, int rc, const char *text)
{
    struct emit_channel *channel = self;

    (void)rc;
    channel_fail(channel, text);
}

static void channel_on_written(void *self)
{
    struct emit_channel *channel = self;

    channel->is_writing = false;
    fm_buf_reset(&channel->output);
    emit_channel_step(channel);
}

/* The answer on an HTTP/1 connection is complete. */
static bool channel_take_response(struct emit_channel *channel)
{
    struct emit_slot *slot = &channel->slots[0];
    const struct h1_head *head = h1_head(channel->h1);
    struct fm_slice value;
    uint64_t retry_after_s = 0;

    if (head->status < 200)
        return true; /* 100: the real one follows */
    if (slot->state != SLOT_SENT || slot->is_answered)
        return false;
    if (http_header_find(head->headers, head->header_count, "retry-after", &value) != FM_OK ||
        fm_u64_parse(value, &retry_after_s) < 0 || retry_after_s > 3600)
        retry_after_s = 0;
    const struct emit_protocol *protocol = channel->run->plan->protocol;
    if (protocol->answer == EMIT_ANSWERS_NOTHING)
        fm_buf_reset(&channel->response);
    emit_answer_http(&slot->answer, protocol->answer == EMIT_ANSWERS_JSON, head->status,
                     retry_after_s, fm_buf_slice(&channel->response));
    slot->is_answered = true;
    channel->close_after = !head->keep_alive;
    return true;
}

static bool channel_feed_h1(struct emit_channel *channel, struct fm_slice data)
{
    for (;;) { /* an event may need no more bytes: the end of an empty body */
        enum h1_event event;
        struct fm_slice piece;
        size_t used;
        int rc = h1_feed(channel->h1, data, &used, &event, &piece);
        if (rc < 0)
            return false;
        data = fm_slice(data.ptr + used, data.len - used);
        if (rc == FM_MORE)
            return true;
        if (event == H1_HEAD)
            fm_buf_reset(&channel->response);
        else if (event == H1_BODY)
            fm_buf_put_slice(&channel->response, piece);
        else if (!channel_take_response(channel))
            return false;
    }
}

static void channel_on_data(void *self, struct fm_slice data)
{
    struct emit_channel *channel = self;
    bool good =
        channel->h1 ? channel_feed_h1(channel, data) : h2_client_feed(channel->h2, data) == FM_OK;

    if (good)
        emit_channel_step(channel);
    else
        channel_fail(channel, "the answer violates its protocol");
}

static const struct net_stream_events channel_events = {
    .on_open = channel_on_open,
    .on_data = channel_on_data,
    .on_written = channel_on_written,
    .on_end = channel_on_end,
};

/* ---- sending ---- */

static void channel_send_h1(struct emit_channel *channel, struct emit_slot *slot)
{
    const struct emit_plan *plan = channel->run->plan;

    h1_put_request(&channel->output, "POST", fm_slice_text(plan->path),
                   fm_slice_text(channel->host), channel->headers, channel->header_count,
                   slot->batch.body.len);
    const struct fm_slice slices[] = {fm_buf_slice(&channel->output), slot->batch.body};
    channel->is_writing = true;
    net_stream_write(channel->stream, slices, FM_COUNT(slices));
}

static bool channel_send_h2(struct emit_channel *channel, struct emit_slot *slot)
{
    slot->call.authority = fm_slice_text(channel->host);
    slot->call.path = fm_slice_text(channel->run->plan->path);
    slot->call.headers = channel->headers;
    slot->call.header_count = channel->header_count;
    slot->call.body = slot->batch.framed;
    slot->call.done = slot_on_call_done;
    slot->call.self = slot;
    return h2_client_start(channel->h2, &slot->call) == FM_OK;
}

/* False: the session takes no more calls; the connection is to be replaced. */
static bool channel_send(struct emit_channel *channel)
{
    for (size_t i = 0; i < channel->slot_count; i++) {
        struct emit_slot *slot = &channel->slots[i];
        if (slot->state != SLOT_READY || (channel->h1 && channel->is_writing))
            continue;
        if (channel->h1)
            channel_send_h1(channel, slot);
        else if (!channel_send_h2(channel, slot))
            return false;
        slot->state = SLOT_SENT;
        slot->sent_ns = pf_now_ns(channel->run->platform);
    }
    return true;
}

/* Moves what HTTP/2 has to say to the socket. */
static bool channel_pump(struct emit_channel *channel)
{
    if (!channel->h2 || channel->is_writing)
        return true;
    if (h2_client_drain(channel->h2, CHANNEL_PIECE_BYTES, &channel->output) < 0)
        return false;
    if (!channel->output.len)
        return true;
    struct fm_slice slice = fm_buf_slice(&channel->output);
    channel->is_writing = true;
    net_stream_write(channel->stream, &slice, 1);
    return true;
}

static bool channel_wants_to_send(const struct emit_channel *channel)
{
    for (size_t i = 0; i < channel->slot_count; i++) {
        if (channel->slots[i].state == SLOT_READY)
            return true;
    }
    return false;
}

static void channel_take_answers(struct emit_channel *channel)
{
    /* HTTP/1: an early answer must wait until the body's memory is free again. */
    if (channel->h1 && channel->is_writing)
        return;
    for (size_t i = 0; i < channel->slot_count; i++) {
        if (channel->slots[i].is_answered)
            slot_take_answer(&channel->slots[i]);
    }
    if (channel->close_after)
        channel_disconnect(channel);
}

static void channel_fill(struct emit_channel *channel)
{
    for (size_t i = 0; i < channel->slot_count; i++) {
        struct emit_slot *slot = &channel->slots[i];
        if (slot->state == SLOT_EMPTY && emit_run_next(channel->run, &slot->batch) == FM_OK) {
            slot->state = SLOT_READY;
            slot->attempts = 0;
        }
    }
}

void emit_channel_step(struct emit_channel *channel)
{
    struct emit_run *run = channel->run;

    if (run->is_over)
        return;
    channel_take_answers(channel);
    channel_fill(channel);
    bool good = true;
    if (channel->is_open)
        good = channel_send(channel) && channel_pump(channel);
    else if (!channel->stream && !channel->is_waiting && channel_wants_to_send(channel))
        good = net_stream_open_tls(&channel->stream, run->platform, &run->plan->target, run->tls,
                                   &channel_events, channel) == FM_OK;
    if (!good)
        channel_fail(channel,
                     channel->is_open ? "the server closes the connection" : "cannot connect");
    else
        emit_run_check(run);
}

bool emit_channel_is_idle(const struct emit_channel *channel)
{
    for (size_t i = 0; i < channel->slot_count; i++) {
        if (channel->slots[i].state != SLOT_EMPTY)
            return false;
    }
    return true;
}

uint64_t emit_channel_unknown_spans(const struct emit_channel *channel)
{
    uint64_t count = 0;

    for (size_t i = 0; i < channel->slot_count; i++) {
        if (channel->slots[i].state != SLOT_EMPTY)
            count += channel->slots[i].batch.span_count;
    }
    return count;
}

int emit_channel_new(struct emit_channel **ret_channel, struct emit_run *run)
{
    size_t slot_count = run->plan->protocol->transport == EMIT_GRPC ? run->plan->stream_count : 1;
    struct emit_channel *channel =
        calloc(1, sizeof *channel + slot_count * sizeof channel->slots[0]);

    if (!channel)
        return FM_ENOMEM;
    channel->run = run;
    channel->slot_count = slot_count;
    channel->reconnect.fire = channel_on_reconnect;
    fm_buf_init(&channel->output, FM_MIB(8));
    fm_buf_init(&channel->response, CHANNEL_RESPONSE_MAX);
    for (size_t i = 0; i < slot_count; i++) {
        channel->slots[i].channel = channel;
        channel->slots[i].pause.fire = slot_on_pause;
        emit_batch_init(&channel->slots[i].batch);
        fm_buf_init(&channel->slots[i].call.response, H2_CLIENT_RESPONSE_MAX);
    }
    channel_make_headers(channel);
    *ret_channel = channel;
    return FM_OK;
}

struct emit_channel *emit_channel_free(struct emit_channel *channel)
{
    if (!channel)
        return NULL;
    channel_disconnect(channel);
    pf_timer_stop(channel->run->platform, &channel->reconnect);
    for (size_t i = 0; i < channel->slot_count; i++) {
        pf_timer_stop(channel->run->platform, &channel->slots[i].pause);
        emit_batch_fini(&channel->slots[i].batch);
        fm_buf_fini(&channel->slots[i].call.response);
    }
    fm_buf_fini(&channel->output);
    fm_buf_fini(&channel->response);
    free(channel);
    return NULL;
}
