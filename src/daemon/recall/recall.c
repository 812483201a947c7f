/* SPDX-License-Identifier: Apache-2.0 */
/* recall - a node's side: looks whether there are new requests, and works them off one by one.
 *
 *   IDLE -> LOOKING -> LISTING -> CHECKING -> READING -> SEARCHING -> MAKING -> LEAVING -+
 *    ^         |          |           |          |           |           |               |
 *    |         |          |           +----------+-----------+-----------+--> ANSWERING <+
 *    +---------+----------+---------------------------(none is left)-----------+
 *
 * Suspended in every state but IDLE: requests of the bucket; a query (SEARCHING); the outbox
 * (MAKING); a timer (IDLE, LEAVING).  Whatever fails goes to IDLE: the next look does it again.
 *
 * RECALL-1  A request is done with when its answer on the bucket says so, and not before.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "collect.h"
#include "fermata/hash.h"
#include "fermata/query_ask.h"
#include "fermata/telemetry.h"
#include "fermata/units.h"

#define RECALL_LIST_BYTES   FM_KIB(128)
#define RECALL_LATEST_BYTES FM_KIB(4)
#define RECALL_ANSWER_BYTES FM_KIB(16)
#define RECALL_LEAVE_NS     (2 * FM_NS_PER_S)
#define RECALL_QUERY_NS     (600 * FM_NS_PER_S)
#define RECALL_DONE_MAX     1024u /* ids that are remembered to be done with */
#define RECALL_REPORT_NS    (30 * FM_NS_PER_S)
#define RECALL_RETRY_MIN_NS (5 * FM_NS_PER_S)

enum machine_state {
    R_IDLE,
    R_LOOKING,
    R_LISTING,
    R_CHECKING,
    R_READING,
    R_SEARCHING,
    R_MAKING,
    R_LEAVING,
    R_ANSWERING,
};
#define R_BACK (FM_TO(R_IDLE) | FM_TO(R_ANSWERING))
static const struct fm_sm_rule recall_rules[] = {
    [R_IDLE] = {"idle", FM_TO(R_LOOKING)},
    [R_LOOKING] = {"looking", FM_TO(R_LISTING) | FM_TO(R_IDLE)},
    [R_LISTING] = {"listing", FM_TO(R_LISTING) | FM_TO(R_CHECKING) | FM_TO(R_IDLE)},
    [R_CHECKING] = {"checking", FM_TO(R_CHECKING) | FM_TO(R_READING) | FM_TO(R_IDLE)},
    [R_READING] = {"reading", FM_TO(R_CHECKING) | FM_TO(R_SEARCHING) | FM_TO(R_MAKING) |
                                  FM_TO(R_LEAVING) | R_BACK},
    [R_SEARCHING] = {"searching", FM_TO(R_MAKING) | R_BACK},
    [R_MAKING] = {"making", FM_TO(R_LEAVING) | R_BACK},
    [R_LEAVING] = {"leaving", R_BACK},
    [R_ANSWERING] = {"answering", FM_TO(R_CHECKING) | FM_TO(R_LEAVING) | FM_TO(R_SEARCHING) |
                                      FM_TO(R_MAKING) | FM_TO(R_IDLE)},
};

struct recall {
    struct platform *platform;
    struct store *store;
    struct bucket *bucket;      /* owned */
    struct query_engine *query; /* owned */
    struct recall_options options;
    char node[33], host[64];
    struct fm_sm sm;
    struct pf_timer timer;
    struct bucket_request call;
    bool call_runs;
    char key[256];
    char latest[RECALL_ID_MAX + 1];
    char seen[RECALL_ID_MAX + 1]; /* all up to there is done with */
    /* Ids of the listing, one a line, and how far they were looked at. */
    struct fm_buf list;
    size_t list_at;
    char list_after[RECALL_ID_MAX + 8];
    char id[RECALL_ID_MAX + 1];      /* the one at work */
    char (*done)[RECALL_ID_MAX + 1]; /* owned ring */
    size_t done_count;
    bool has_failed; /* of this look: it is repeated */
    uint32_t failures;
    struct recall_request *request; /* owned */
    struct recall_answer answer;
    enum machine_state after_answer;
    struct fm_buf text; /* of an answer */
    struct fm_slice text_slice;
    struct query_ask ask;
    bool ask_runs;
    struct collect collect;
    struct store_outgoing outgoing;
    bool outgoing_runs;
    int job_rc; /* of the query or the build */
    uint64_t reported_ns;
    bool closing;
    void (*closed)(void *self);
    void *closed_self;
    metric looks, requests, traces, spans, bytes, failed;
};

static void recall_step(struct recall *recall);
static void recall_next(struct recall *recall);

/* ---- the bucket ---- */

static void recall_on_call(struct bucket_request *call)
{
    struct recall *recall = call->self;
    recall->call_runs = false;
    recall_step(recall);
}

static void recall_call(struct recall *recall, enum machine_state state, bool is_list,
                        size_t body_max)
{
    const struct bucket_ops *ops = recall->bucket->ops;
    fm_sm_move(&recall->sm, state);
    fm_buf_fini(&recall->call.body);
    recall->call = (struct bucket_request){
        .key = recall->key,
        .is_control = true,
        .want_body = true,
        .body_max = body_max,
        .list_after = recall->list_after,
        .done = recall_on_call,
        .self = recall,
    };
    recall->call_runs = true;
    if (is_list)
        ops->list(recall->bucket, &recall->call);
    else
        ops->get(recall->bucket, &recall->call);
}

FM_PRINTF(2, 3)
static void recall_set_key(struct recall *recall, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(recall->key, sizeof recall->key, format, arguments);
    va_end(arguments);
    FM_ASSERT(len > 0 && (size_t)len < sizeof recall->key);
}

/* What is said on the bucket; then goes on in the state `after`. */
static void recall_put_answer(struct recall *recall, enum recall_state state,
                              enum machine_state after)
{
    recall->answer.state = state;
    recall->answer.unix_ns = pf_wall_ns(recall->platform);
    memcpy(recall->answer.node, recall->node, sizeof recall->node);
    memcpy(recall->answer.host, recall->host, sizeof recall->host);
    fm_buf_reset(&recall->text);
    recall_answer_render(&recall->answer, &recall->text);
    recall->text_slice = fm_buf_slice(&recall->text);
    recall->reported_ns = pf_now_ns(recall->platform);
    recall->after_answer = after;
    recall_set_key(recall, "recall/answers/%s/%s", recall->id, recall->node);
    fm_sm_move(&recall->sm, R_ANSWERING);
    fm_buf_fini(&recall->call.body);
    recall->call = (struct bucket_request){
        .key = recall->key,
        .is_control = true,
        .source = fm_source_memory(&recall->text_slice),
        .done = recall_on_call,
        .self = recall,
    };
    recall->call_runs = true;
    recall->bucket->ops->put(recall->bucket, &recall->call);
}

/* ---- looking, listing ---- */

static void recall_sleep(struct recall *recall, uint64_t ns)
{
    pf_timer_stop(recall->platform, &recall->timer);
    pf_timer_start(recall->platform, &recall->timer, ns);
}

/* A fleet must not look in the same second. */
static uint64_t recall_poll_ns(struct recall *recall)
{
    uint64_t quarter = recall->options.poll_ns / 4;
    return recall->options.poll_ns - quarter / 2 + pf_random_u64(recall->platform) % (quarter + 1);
}

static void recall_rest(struct recall *recall)
{
    uint64_t wait_ns = recall_poll_ns(recall);
    if (recall->has_failed) {
        uint64_t retry_ns = RECALL_RETRY_MIN_NS << FM_MIN(recall->failures, 10u);
        recall->failures++;
        wait_ns = FM_MIN(wait_ns, retry_ns / 2 + pf_random_u64(recall->platform) % retry_ns);
    } else {
        recall->failures = 0;
        memcpy(recall->seen, recall->latest, sizeof recall->seen);
    }
    recall->request = recall_request_free(recall->request);
    fm_sm_move(&recall->sm, R_IDLE);
    recall_sleep(recall, wait_ns);
}

static void recall_fail(struct recall *recall, const char *what)
{
    log_warn("recall.failed", "step=%s why=\"%s\"", what, recall->call.why.text);
    metric_add(&recall->failed, 1);
    recall->has_failed = true;
    recall_rest(recall);
}

static void recall_look(struct recall *recall)
{
    metric_add(&recall->looks, 1);
    recall->has_failed = false;
    recall_set_key(recall, "recall/latest");
    recall_call(recall, R_LOOKING, false, RECALL_LATEST_BYTES);
}

static void recall_list(struct recall *recall)
{
    recall_set_key(recall, "recall/requests/");
    recall_call(recall, R_LISTING, true, RECALL_LIST_BYTES);
}

static void recall_on_latest(struct recall *recall)
{
    struct fm_slice name = fm_buf_slice(&recall->call.body);
    if (recall->call.outcome == S3_ABSENT) {
        recall_rest(recall);
        return;
    }
    while (name.len && (name.ptr[name.len - 1] == '\n' || name.ptr[name.len - 1] == '\r'))
        name.len--;
    if (recall->call.outcome != S3_DONE || !recall_id_is_valid(name)) {
        recall_fail(recall, "looking");
        return;
    }
    memcpy(recall->latest, name.ptr, name.len);
    recall->latest[name.len] = '\0';
    if (strcmp(recall->latest, recall->seen) == 0) {
        recall_rest(recall);
        return;
    }
    recall->list_after[0] = '\0';
    recall_list(recall);
}

static bool recall_is_done(const struct recall *recall, const char *id)
{
    for (size_t i = 0; i < FM_MIN(recall->done_count, RECALL_DONE_MAX); i++)
        if (strcmp(recall->done[i], id) == 0)
            return true;
    return false;
}

static void recall_remember(struct recall *recall)
{
    if (!recall_is_done(recall, recall->id))
        memcpy(recall->done[recall->done_count++ % RECALL_DONE_MAX], recall->id, sizeof recall->id);
}

/* The next request of the listing that is not known to be done with; then what was said of it. */
static void recall_next(struct recall *recall)
{
    recall->request = recall_request_free(recall->request);
    while (recall->list_at < recall->list.len) {
        const uint8_t *line = recall->list.ptr + recall->list_at;
        const uint8_t *end = memchr(line, '\n', recall->list.len - recall->list_at);
        size_t len = end ? (size_t)(end - line) : recall->list.len - recall->list_at;
        recall->list_at += len + 1;
        if (!recall_id_is_valid(fm_slice(line, len)))
            continue;
        memcpy(recall->id, line, len);
        recall->id[len] = '\0';
        memcpy(recall->list_after, recall->id, len + 1);
        if (recall_is_done(recall, recall->id))
            continue;
        recall_set_key(recall, "recall/answers/%s/%s", recall->id, recall->node);
        recall_call(recall, R_CHECKING, false, RECALL_ANSWER_BYTES);
        return;
    }
    recall_rest(recall);
}

static void recall_on_list(struct recall *recall)
{
    if (recall->call.outcome != S3_DONE) {
        recall_fail(recall, "listing");
        return;
    }
    fm_buf_fini(&recall->list);
    recall->list = recall->call.body;
    recall->call.body = (struct fm_buf){0};
    recall->list_at = 0;
    recall_next(recall);
}

static void recall_on_checked(struct recall *recall)
{
    struct recall_answer said;
    if (recall->call.outcome != S3_DONE && recall->call.outcome != S3_ABSENT) {
        recall_fail(recall, "checking");
        return;
    }
    if (recall->call.outcome == S3_DONE &&
        recall_answer_parse(fm_buf_slice(&recall->call.body), &said) == FM_OK &&
        (said.state == RECALL_DONE || said.state == RECALL_FAILED)) {
        recall_remember(recall);
        recall_next(recall);
        return;
    }
    recall_set_key(recall, "recall/requests/%s", recall->id);
    recall_call(recall, R_READING, false, RECALL_BYTES_MAX);
}

/* ---- searching ---- */

static void recall_give_up(struct recall *recall, const char *why)
{
    (void)snprintf(recall->answer.why, sizeof recall->answer.why, "%s", why);
    metric_add(&recall->failed, 1);
    recall_put_answer(recall, RECALL_FAILED, R_CHECKING);
}

/* In a job. */
static void recall_render(struct query_ask *ask, const struct query_found *found,
                          struct fm_buf *answer)
{
    (void)ask;
    for (uint32_t i = 0; i < found->count; i++)
        fm_buf_put(answer, found->traces[i].id.bytes, sizeof found->traces[i].id.bytes);
}

static void recall_on_asked(struct query_ask *ask, int rc)
{
    struct recall *recall = ask->self;
    recall->ask_runs = false;
    recall->job_rc = rc;
    recall_step(recall);
}

static void recall_search(struct recall *recall)
{
    const struct recall_request *request = recall->request;
    uint32_t limit = request->limit ? request->limit : recall->options.traces_max;
    fm_sm_move(&recall->sm, R_SEARCHING);
    recall->ask = (struct query_ask){
        .kind = QUERY_SEARCH,
        .text = fm_slice_text(request->query),
        .start_ns = request->start_ns,
        .end_ns = request->end_ns,
        .limit = FM_MIN(limit, recall->options.traces_max),
        .render = recall_render,
        .done = recall_on_asked,
        .self = recall,
    };
    memcpy(recall->ask.tenant, request->tenant, sizeof recall->ask.tenant);
    recall->ask_runs = true;
    query_ask_start(recall->query, &recall->ask);
}

/* ---- making ---- */

static void recall_on_made(struct store_outgoing *outgoing, int rc)
{
    struct recall *recall = FM_CONTAINER(outgoing, struct recall, outgoing);
    recall->outgoing_runs = false;
    recall->job_rc = rc;
    recall->collect.snapshot = store_snapshot_free(recall->collect.snapshot);
    recall_step(recall);
}

static void recall_name(const struct recall *recall, uint8_t name[16])
{
    uint64_t hash[2];
    fm_murmur3_128(fm_slice_text(recall->id), hash);
    memcpy(name, hash, sizeof hash);
}

static void recall_make(struct recall *recall)
{
    struct recall_request *request = recall->request;
    uint32_t count = FM_MIN(request->id_count, recall->options.traces_max);
    recall->collect = (struct collect){
        .ids = request->ids,
        .id_count = count,
        .bytes_max = recall->options.bytes_max,
        .is_partial = count < request->id_count,
    };
    int rc = store_snapshot_new(recall->store, fm_slice_text(request->tenant),
                                &recall->collect.snapshot);
    if (rc < 0) {
        recall_fail(recall, "making");
        return;
    }
    fm_sm_move(&recall->sm, R_MAKING);
    recall->outgoing = (struct store_outgoing){
        .tenant = fm_slice_text(request->tenant),
        .lane = STORE_LANE_RECALL,
        .next = collect_next,
        .done = recall_on_made,
        .self = &recall->collect,
    };
    recall_name(recall, recall->outgoing.name);
    recall->outgoing_runs = true;
    store_outgoing_build(recall->store, &recall->outgoing);
}

static void recall_begin(struct recall *recall)
{
    struct recall_request *request = recall->request;
    uint8_t name[16];
    recall->answer = (struct recall_answer){.state = RECALL_SEARCHING};
    if (request->expires_unix_ns <= pf_wall_ns(recall->platform)) {
        recall_remember(recall);
        fm_sm_move(&recall->sm, R_CHECKING);
        recall_next(recall);
        return;
    }
    metric_add(&recall->requests, 1);
    log_info("recall.request", "id=%s tenant=%s %s", recall->id, request->tenant,
             request->query ? "query" : "ids");
    recall_name(recall, name);
    if (store_outgoing_exists(recall->store, fm_slice_text(request->tenant), name))
        recall_put_answer(recall, RECALL_UPLOADING, R_LEAVING); /* from before a restart */
    else
        recall_put_answer(recall, RECALL_SEARCHING, request->query ? R_SEARCHING : R_MAKING);
}

static void recall_on_read(struct recall *recall)
{
    struct fm_why why = {""};
    if (recall->call.outcome == S3_ABSENT) { /* taken back since */
        fm_sm_move(&recall->sm, R_CHECKING);
        recall_next(recall);
        return;
    }
    if (recall->call.outcome != S3_DONE) {
        recall_fail(recall, "reading");
        return;
    }
    int rc = recall_request_parse(fm_buf_slice(&recall->call.body), &recall->request, &why);
    if (rc == FM_OK && strcmp(recall->request->id, recall->id) != 0)
        rc = fm_fail(&why, FM_EMALFORMED, "it is that of another id");
    recall->answer = (struct recall_answer){.state = RECALL_SEARCHING};
    if (rc == FM_ENOMEM)
        recall_fail(recall, "reading");
    else if (rc < 0)
        recall_give_up(recall, why.text);
    else
        recall_begin(recall);
}

static void recall_on_found(struct recall *recall)
{
    struct recall_request *request = recall->request;
    if (recall->job_rc < 0) {
        char why[sizeof recall->ask.why.text + 16];
        (void)snprintf(why, sizeof why, "query: %s",
                       recall->ask.why.text[0] ? recall->ask.why.text : fm_rc_text(recall->job_rc));
        fm_buf_fini(&recall->ask.answer);
        recall_give_up(recall, why);
        return;
    }
    uint32_t count = (uint32_t)(recall->ask.answer.len / sizeof *request->ids);
    struct trace_id *ids = calloc(count + 1, sizeof *ids);
    if (ids && count)
        memcpy(ids, recall->ask.answer.ptr, count * sizeof *ids);
    recall->answer.is_partial = count == recall->ask.limit;
    fm_buf_fini(&recall->ask.answer);
    if (!ids) {
        recall_fail(recall, "searching");
        return;
    }
    free(request->ids);
    request->ids = ids;
    request->id_count = count;
    recall_make(recall);
}

static void recall_on_built(struct recall *recall)
{
    const struct store_outgoing *outgoing = &recall->outgoing;
    struct recall_answer *answer = &recall->answer;
    if (recall->job_rc < 0 && recall->job_rc != FM_EEXISTS) {
        log_warn("recall.not_made", "id=%s why=\"%s\"", recall->id,
                 outgoing->why.text[0] ? outgoing->why.text : fm_rc_text(recall->job_rc));
        recall->has_failed = true; /* a later look tries again */
        recall_rest(recall);
        return;
    }
    answer->found_traces = recall->collect.found_traces;
    answer->is_partial |= recall->collect.is_partial;
    answer->traces = outgoing->trace_count;
    answer->spans = outgoing->span_count;
    answer->bytes = outgoing->byte_count;
    answer->blocks = outgoing->block_count;
    metric_add(&recall->traces, answer->traces);
    metric_add(&recall->spans, answer->spans);
    metric_add(&recall->bytes, answer->bytes);
    recall_put_answer(recall, answer->blocks ? RECALL_UPLOADING : RECALL_DONE,
                      answer->blocks ? R_LEAVING : R_CHECKING);
}

/* ---- leaving ---- */

static void recall_watch(struct recall *recall)
{
    uint8_t name[16];
    recall_name(recall, name);
    if (!store_outgoing_exists(recall->store, fm_slice_text(recall->request->tenant), name))
        recall_put_answer(recall, RECALL_DONE, R_CHECKING);
    else if (pf_now_ns(recall->platform) - recall->reported_ns >= RECALL_REPORT_NS)
        recall_put_answer(recall, RECALL_UPLOADING, R_LEAVING);
    else
        recall_sleep(recall, RECALL_LEAVE_NS);
}

static void recall_on_answered(struct recall *recall)
{
    if (recall->call.outcome != S3_DONE && recall->after_answer == R_CHECKING) {
        recall_fail(recall, "answering"); /* RECALL-1 */
        return;
    }
    /* That it is under way is only for those who wait: said again later. */
    switch (recall->after_answer) {
    case R_SEARCHING:
        recall_search(recall);
        break;
    case R_MAKING:
        recall_make(recall);
        break;
    case R_LEAVING:
        fm_sm_move(&recall->sm, R_LEAVING);
        recall_sleep(recall, RECALL_LEAVE_NS);
        break;
    default:
        log_info("recall.answered", "id=%s state=%s traces=%llu spans=%llu", recall->id,
                 recall_state_name(recall->answer.state), (unsigned long long)recall->answer.traces,
                 (unsigned long long)recall->answer.spans);
        recall_remember(recall);
        fm_sm_move(&recall->sm, R_CHECKING);
        recall_next(recall);
        break;
    }
}

/* ---- life ---- */

static bool recall_is_busy(const struct recall *recall)
{
    return recall->call_runs || recall->ask_runs || recall->outgoing_runs;
}

static void recall_finish(struct recall *recall)
{
    void (*closed)(void *self) = recall->closed;
    void *self = recall->closed_self;
    pf_timer_stop(recall->platform, &recall->timer);
    recall->bucket = recall->bucket->ops->free(recall->bucket);
    (void)query_engine_free(recall->query);
    (void)recall_request_free(recall->request);
    fm_buf_fini(&recall->call.body);
    fm_buf_fini(&recall->ask.answer);
    fm_buf_fini(&recall->list);
    fm_buf_fini(&recall->text);
    free(recall->done);
    free(recall);
    closed(self);
}

static void recall_step(struct recall *recall)
{
    if (recall->closing) {
        if (!recall_is_busy(recall))
            recall_sleep(recall, 0); /* not from inside somebody's answer */
        return;
    }
    switch ((enum machine_state)recall->sm.state) {
    case R_IDLE:
        recall_look(recall);
        break;
    case R_LOOKING:
        recall_on_latest(recall);
        break;
    case R_LISTING:
        recall_on_list(recall);
        break;
    case R_CHECKING:
        recall_on_checked(recall);
        break;
    case R_READING:
        recall_on_read(recall);
        break;
    case R_SEARCHING:
        recall_on_found(recall);
        break;
    case R_MAKING:
        recall_on_built(recall);
        break;
    case R_LEAVING:
        recall_watch(recall);
        break;
    case R_ANSWERING:
        recall_on_answered(recall);
        break;
    }
}

static void recall_on_timer(struct pf_timer *timer)
{
    struct recall *recall = FM_CONTAINER(timer, struct recall, timer);
    if (recall->closing)
        recall_finish(recall);
    else
        recall_step(recall);
}

int recall_new(struct recall **ret_recall, struct platform *platform, struct store *store,
               struct bucket *bucket, const struct recall_options *options)
{
    const struct query_options query = {
        .concurrency_max = 1,
        .trace_bytes_max = (size_t)options->bytes_max,
        .thread_count = 1,
        .timeout_ns = RECALL_QUERY_NS,
        .memory_max = (size_t)options->memory_max,
    };
    struct recall *recall = calloc(1, sizeof *recall);
    char(*done)[RECALL_ID_MAX + 1] = calloc(RECALL_DONE_MAX, sizeof *done);
    int rc = recall && done ? query_engine_new(&recall->query, platform, store, &query) : FM_ENOMEM;
    if (rc < 0) {
        free(recall);
        free(done);
        return rc;
    }
    recall->platform = platform;
    recall->store = store;
    recall->bucket = bucket;
    recall->options = *options;
    recall->done = done;
    recall->sm = (struct fm_sm){recall_rules, R_IDLE};
    recall->timer.fire = recall_on_timer;
    fm_hex_encode(recall->node, fm_slice(options->node, sizeof options->node));
    (void)snprintf(recall->host, sizeof recall->host, "%s", options->host);
    fm_buf_init(&recall->text, RECALL_ANSWER_BYTES);
    *ret_recall = recall;
    recall_sleep(recall, pf_random_u64(platform) % FM_MIN(recall_poll_ns(recall), FM_NS_PER_S));
    return FM_OK;
}

void recall_close(struct recall *recall, void (*done)(void *self), void *self)
{
    recall->closing = true;
    recall->closed = done;
    recall->closed_self = self;
    pf_timer_stop(recall->platform, &recall->timer);
    if (recall->call_runs)
        recall->bucket->ops->cancel(recall->bucket, &recall->call);
    if (recall->ask_runs)
        query_ask_cancel(recall->query, &recall->ask);
    if (recall->outgoing_runs)
        store_outgoing_cancel(recall->store, &recall->outgoing);
    query_engine_stop(recall->query);
    if (!recall_is_busy(recall))
        recall_sleep(recall, 0);
}

void recall_put_metrics(const struct recall *recall, struct fm_buf *out)
{
    if (!recall)
        return;
    metric_counter(out, "fermata_recall_looks_total", "Times the bucket was asked for requests.",
                   &recall->looks);
    metric_counter(out, "fermata_recall_requests_total", "Requests that were worked on.",
                   &recall->requests);
    metric_counter(out, "fermata_recall_failures_total",
                   "Requests that could not be done, and looks that failed.", &recall->failed);
    metric_counter(out, "fermata_recall_traces_total", "Traces put into blocks for recall.",
                   &recall->traces);
    metric_counter(out, "fermata_recall_spans_total", "Their spans.", &recall->spans);
    metric_counter(out, "fermata_recall_bytes_total", "Bytes of these blocks.", &recall->bytes);
}
