/* SPDX-License-Identifier: Apache-2.0 */
/* datagrams - Jaeger's clients over UDP, many datagrams to one append.
 *
 *   datagram -> translate and check -> admit -> batch ... -> append -> counted
 *
 * Each datagram is decoded, checked and admitted by itself, so that a bad one costs nobody else;
 * what passed is joined in one buffer (OTLP joined with OTLP is OTLP).  Nobody waits for an answer,
 * so a batch fills until it is large, and large ones wait for a few others, or until a moment has
 * passed: a sync for every few datagrams would cost more than all that is done with them.  Of
 * batches that come together the log writes the first, and meanwhile the others become one group.
 *
 * Nobody is answered.  So first the kernel's buffer absorbs: the socket is not read while too much
 * is on its way, the budget is used up, or the log refuses; a batch that was refused is appended
 * again for two seconds.  Then the kernel drops, and counts.  Whatever was read is stored or
 * counted with a reason.
 */
#include "ingest.h"

#include <stdio.h>
#include <stdlib.h>

#define BATCH_BYTES          FM_KIB(64) /* large: then it waits for others; a record of the log */
#define PROCESSED_GROWTH_MAX 8u          /* by processors, of a batch */
#define GROUP_BYTES          FM_MIB(1)   /* of large ones: then they go */
#define DATAGRAM_OTLP_MAX    FM_MIB(2)   /* what 64 KiB can become */
#define DATAGRAM_SCRATCH     FM_MIB(4)
#define IN_FLIGHT_MAX        FM_MIB(4)            /* of one receiver, appended and not durable */
#define STALL_NS             UINT64_C(20000000)   /* the budget was used up */
#define HELD_NS              UINT64_C(2000000000) /* then a batch that the log refuses is dropped */
#define REFUSED_NS           UINT64_C(100000000)  /* the log took no batch */
#define FILL_NS              UINT64_C(40000000)   /* then it goes, however small */
#define RECENT_KEYS          256u

/* Spans on their way to the log. */
struct batch {
    struct datagrams_lane *lane; /* borrowed */
    struct fm_buf otlp;
    uint64_t charged_bytes; /* of the budget */
    uint64_t *trace_keys;   /* owned; repeats mostly removed */
    uint32_t trace_key_count, trace_key_cap;
    uint64_t recent_keys[RECENT_KEYS]; /* by their low bits; 0: none */
    uint32_t span_count, mended_count;
    uint32_t dropped_count; /* by head sampling and processors; they are not in span_count */
    uint32_t sampled_count; /* of these: by head sampling */
    uint64_t start_min_ns, end_max_ns;
    uint64_t appended_ns; /* first */
    struct fm_link link;  /* lane->large or held, or none */
    struct store_append append;
};

struct datagrams_lane { /* of one receiver */
    struct datagrams *datagrams;
    enum ingest_receiver receiver;
    struct net_udp *udp;   /* borrowed; NULL: closed */
    struct batch *filling; /* owned; NULL: none */
    struct fm_link large;  /* batches that are, owned; go with filling */
    struct fm_link held;   /* batches that the log refused, owned */
    uint64_t large_bytes;
    uint32_t in_flight_count;
    uint64_t in_flight_bytes; /* and of those held */
    size_t last_bytes;        /* of the last batch: room for the next one */
    bool is_stalled;          /* until the timer */
    bool is_full;             /* what is here goes as soon as the log may have it */
    bool is_closed;           /* nothing comes any more, nothing waits */
    struct pf_timer timer;
    struct pf_timer fill_timer; /* runs while what is here is young */
};

struct datagrams {
    struct ingest *ingest; /* borrowed */
    struct clients *clients;
    struct fm_arena scratch;
    struct decode_facts facts; /* of the datagram at hand */
    struct fm_buf clean;       /* of a datagram that was rewritten */
    char tenant[TENANT_LEN_MAX + 1];
    struct datagrams_lane compact, binary;
};

static const char *const drop_names[INGEST_DROP_COUNT] = {
#define X(name, text) text,
    INGEST_DROPS(X)
#undef X
};

static struct ingest_counters *lane_counters(const struct datagrams_lane *lane)
{
    return &lane->datagrams->ingest->counters[lane->receiver];
}

static void lane_count_refused(struct datagrams_lane *lane, enum ingest_reason reason,
                               uint64_t spans)
{
    metric_add(&lane_counters(lane)->refused_spans[reason], spans);
    account_refused(lane->datagrams->ingest, lane->datagrams->tenant, reason, spans);
}

static void lane_count_drop(struct datagrams_lane *lane, enum ingest_drop drop)
{
    metric_add(&lane_counters(lane)->dropped_datagrams[drop], 1);
}

/* ---- batches ---- */

static struct batch *batch_new(struct datagrams_lane *lane)
{
    struct batch *batch = calloc(1, sizeof *batch);
    if (!batch)
        return NULL;
    batch->lane = lane;
    fm_list_init(&batch->link);
    batch->start_min_ns = UINT64_MAX;
    fm_buf_init(&batch->otlp, BATCH_BYTES + DATAGRAM_OTLP_MAX);
    (void)fm_buf_room(&batch->otlp, FM_MIN(lane->last_bytes, BATCH_BYTES + BATCH_BYTES / 4));
    batch->otlp.failed = false; /* then it grows as it can */
    return batch;
}

static void batch_free(struct batch *batch)
{
    if (!batch)
        return;
    net_budget_give(batch->lane->datagrams->ingest->options.budget, batch->charged_bytes);
    fm_list_remove(&batch->link);
    fm_buf_fini(&batch->otlp);
    fm_buf_fini(&batch->append.payload);
    free(batch->trace_keys);
    free(batch);
}

static int batch_add_keys(struct batch *batch, const struct decode_facts *facts)
{
    uint32_t needed = batch->trace_key_count + facts->trace_key_count;
    if (needed > batch->trace_key_cap) {
        uint32_t cap = FM_MAX(needed, FM_MAX(batch->trace_key_cap * 2, 64u));
        uint64_t *grown = realloc(batch->trace_keys, cap * sizeof *grown);
        if (!grown)
            return FM_ENOMEM;
        batch->trace_keys = grown;
        batch->trace_key_cap = cap;
    }
    for (uint32_t i = 0; i < facts->trace_key_count; i++) {
        uint64_t key = facts->trace_keys[i];
        uint64_t *recent = &batch->recent_keys[key % RECENT_KEYS];
        if (*recent == key && key)
            continue;
        *recent = key;
        batch->trace_keys[batch->trace_key_count++] = key;
    }
    return FM_OK;
}

/* It was not stored. */
static void batch_count_refused(const struct batch *batch, int rc)
{
    lane_count_refused(batch->lane,
                       rc == FM_ELIMIT ? INGEST_REASON_TOO_LARGE : INGEST_REASON_UNAVAILABLE,
                       (uint64_t)batch->span_count + batch->dropped_count);
}

/* What is left of it was stored. */
static void batch_count_accepted(const struct batch *batch)
{
    const struct datagrams *datagrams = batch->lane->datagrams;
    metric_add(&lane_counters(batch->lane)->accepted_spans,
               (uint64_t)batch->span_count + batch->dropped_count);
    account_dropped(datagrams->ingest, datagrams->tenant, batch->sampled_count,
                    batch->dropped_count);
}

static void lane_step(struct datagrams_lane *lane);
static void lane_stall(struct datagrams_lane *lane, uint64_t delay_ns);
static void lane_resume(struct datagrams_lane *lane);

static bool batch_may_wait(const struct batch *batch, int rc)
{
    const struct datagrams_lane *lane = batch->lane;
    uint64_t now_ns = pf_now_ns(lane->datagrams->ingest->platform);
    return !lane->is_closed && fm_rc_retryable(rc) && now_ns - batch->appended_ns < HELD_NS;
}

static void batch_on_stored(struct store_append *append, int rc)
{
    struct batch *batch = FM_CONTAINER(append, struct batch, append);
    struct datagrams_lane *lane = batch->lane;
    lane->in_flight_count--;
    if (rc < 0)
        lane_stall(lane, REFUSED_NS);
    if (rc < 0 && batch_may_wait(batch, rc)) {
        fm_list_append(&lane->held, &batch->link);
        lane_step(lane);
        return;
    }
    if (rc == FM_OK) {
        lane_resume(lane);
        batch_count_accepted(batch);
        metric_add(&lane_counters(lane)->mended_values, batch->mended_count);
    } else {
        batch_count_refused(batch, rc);
    }
    lane->in_flight_bytes -= batch->charged_bytes;
    batch_free(batch);
    lane_step(lane);
}

static void batch_append(struct batch *batch)
{
    batch->lane->in_flight_count++;
    store_append(batch->lane->datagrams->ingest->store, &batch->append);
}

static void lane_append_held(struct datagrams_lane *lane)
{
    while (!fm_list_empty(&lane->held)) { /* done is never called from within */
        struct batch *batch = FM_CONTAINER(lane->held.next, struct batch, link);
        fm_list_remove(&batch->link);
        batch_append(batch);
    }
}

/* Takes over what a stage made of the batch: checked, and mended if need be. */
static int batch_take_result(struct batch *batch, struct fm_buf *result)
{
    struct ingest *ingest = batch->lane->datagrams->ingest;
    struct decode_facts facts;
    struct fm_buf clean;
    decode_facts_init(&facts);
    fm_buf_init(&clean, result->len + FM_KIB(4));
    int rc = otlp_pb_check(fm_buf_slice(result), &ingest->options.limits, &facts, NULL);
    if (rc == FM_OK && facts.rewrite && facts.span_count)
        rc = otlp_pb_rewrite(fm_buf_slice(result), &ingest->options.limits, &clean);
    struct fm_buf *from = clean.len ? &clean : result;
    uint64_t more = from->len - FM_MIN(from->len, batch->otlp.len);
    if (rc == FM_OK && more && !net_budget_take(ingest->options.budget, more))
        rc = FM_EUNAVAILABLE;
    if (rc == FM_OK) {
        fm_buf_fini(&batch->otlp);
        batch->otlp = *from;
        fm_buf_init(from, 0);
        batch->charged_bytes += more;
        free(batch->trace_keys);
        batch->trace_keys = fm_take(facts.trace_keys);
        batch->trace_key_count = batch->trace_key_cap = facts.trace_key_count;
        batch->dropped_count += batch->span_count - facts.span_count;
        batch->span_count = facts.span_count;
        batch->mended_count += facts.mended_count;
        batch->start_min_ns = facts.start_min_ns;
        batch->end_max_ns = facts.end_max_ns;
    }
    fm_buf_fini(&clean);
    decode_facts_fini(&facts);
    return rc;
}

static int batch_sample(struct batch *batch)
{
    struct datagrams *datagrams = batch->lane->datagrams;
    struct head_stage *stage = datagrams->ingest->head;
    uint64_t now_ns = pf_now_ns(datagrams->ingest->platform);
    uint64_t threshold = head_stage_threshold(stage, now_ns, batch->span_count);
    struct sample_head_tally tally;
    struct fm_buf result;
    int rc = head_stage_run(stage, threshold, fm_buf_slice(&batch->otlp), batch->span_count,
                            &result, &tally);
    if (rc != FM_OK)
        return rc;
    rc = batch_take_result(batch, &result);
    fm_buf_fini(&result);
    if (rc == FM_OK)
        head_stage_count(stage, &tally);
    if (rc == FM_OK)
        batch->sampled_count = batch->dropped_count;
    return rc;
}

static int batch_process(struct batch *batch)
{
    struct fm_buf result;
    fm_buf_init(&result, PROCESSED_GROWTH_MAX * batch->otlp.len + FM_KIB(64));
    int rc = processing_run_now(batch->lane->datagrams->ingest->processing,
                                fm_buf_slice(&batch->otlp), batch->span_count, &result);
    if (rc == FM_OK)
        rc = batch_take_result(batch, &result);
    fm_buf_fini(&result);
    return rc;
}

/* Head sampling's turn and the processors'.  False: nothing is left of the batch, and its spans
 * were counted. */
static bool batch_run_stages(struct batch *batch)
{
    const struct ingest *ingest = batch->lane->datagrams->ingest;
    int rc = ingest->head ? batch_sample(batch) : FM_OK;
    if (rc >= 0 && ingest->processing && batch->span_count)
        rc = batch_process(batch);
    if (rc < 0)
        batch_count_refused(batch, rc);
    else if (batch->span_count)
        return true;
    else
        batch_count_accepted(batch);
    batch_free(batch);
    return false;
}

static void lane_append(struct datagrams_lane *lane, struct batch *batch)
{
    struct ingest *ingest = lane->datagrams->ingest;
    if (!batch_run_stages(batch))
        return;
    batch->append = (struct store_append){
        .tenant = fm_slice_text(lane->datagrams->tenant),
        .payload = batch->otlp,
        .span_count = batch->span_count,
        .trace_keys = batch->trace_keys,
        .trace_key_count = batch->trace_key_count,
        .start_min_ns = batch->start_min_ns,
        .end_max_ns = batch->end_max_ns,
        .received_unix_ns = pf_wall_ns(ingest->platform),
        .receivers = (uint8_t)(1u << lane->receiver),
        .keeps_payload = true,
        .done = batch_on_stored,
    };
    batch->appended_ns = pf_now_ns(ingest->platform);
    lane->last_bytes = batch->otlp.len;
    fm_buf_init(&batch->otlp, 0);
    lane->in_flight_bytes += batch->charged_bytes;
    batch_append(batch);
}

/* What is here goes, one behind the other. */
static void lane_flush(struct datagrams_lane *lane)
{
    struct batch *last = fm_take(lane->filling);
    lane->is_full = false;
    pf_timer_stop(lane->datagrams->ingest->platform, &lane->fill_timer);
    while (!fm_list_empty(&lane->large)) {
        struct batch *batch = FM_CONTAINER(lane->large.next, struct batch, link);
        fm_list_remove(&batch->link);
        lane_append(lane, batch);
    }
    lane->large_bytes = 0;
    if (last && last->span_count)
        lane_append(lane, last);
    else
        batch_free(last);
}

/* filling is large. */
static void lane_set_aside(struct datagrams_lane *lane)
{
    struct batch *batch = fm_take(lane->filling);
    uint64_t budget_bytes = lane->datagrams->ingest->options.budget->bytes_max;
    fm_list_append(&lane->large, &batch->link);
    lane->large_bytes += batch->otlp.len;
    lane->last_bytes = batch->otlp.len;
    if (lane->large_bytes >= FM_MIN(GROUP_BYTES, budget_bytes / 16))
        lane_flush(lane);
}

/* ---- flow ---- */

static void lane_on_timer(struct pf_timer *timer)
{
    struct datagrams_lane *lane = FM_CONTAINER(timer, struct datagrams_lane, timer);
    lane->is_stalled = false;
    lane_step(lane);
}

static void lane_on_filled(struct pf_timer *timer)
{
    struct datagrams_lane *lane = FM_CONTAINER(timer, struct datagrams_lane, fill_timer);
    lane->is_full = true;
    lane_step(lane);
}

static void lane_stall(struct datagrams_lane *lane, uint64_t delay_ns)
{
    if (lane->is_stalled || lane->is_closed)
        return;
    lane->is_stalled = true;
    pf_timer_start(lane->datagrams->ingest->platform, &lane->timer, delay_ns);
}

/* The log took one, so it may take those that it refused. */
static void lane_resume(struct datagrams_lane *lane)
{
    if (!lane->is_stalled || fm_list_empty(&lane->held))
        return;
    pf_timer_stop(lane->datagrams->ingest->platform, &lane->timer);
    lane->is_stalled = false;
}

static void lane_step(struct datagrams_lane *lane)
{
    uint64_t limit = FM_MIN(IN_FLIGHT_MAX, lane->datagrams->ingest->options.budget->bytes_max / 4);
    if (!lane->is_stalled) {
        lane_append_held(lane);
        if ((lane->is_full && lane->in_flight_count == 0) || lane->is_closed)
            lane_flush(lane);
    }
    if (lane->udp)
        net_udp_pause(lane->udp, lane->is_stalled || lane->in_flight_bytes > limit);
}

/* ---- one datagram ---- */

static enum ingest_drop drop_of(int rc)
{
    switch (rc) {
    case FM_EUNSUPPORTED:
        return INGEST_DROP_UNKNOWN_METHOD;
    case FM_ELIMIT:
        return INGEST_DROP_TOO_LARGE;
    case FM_ENOMEM:
        return INGEST_DROP_UNAVAILABLE;
    default:
        return INGEST_DROP_MALFORMED;
    }
}

/* Appends the datagram to the batch as checked OTLP; facts say what it holds. */
static int lane_decode(struct datagrams_lane *lane, struct fm_slice datagram, struct fm_why *why)
{
    struct datagrams *datagrams = lane->datagrams;
    const struct decode_limits *limits = &datagrams->ingest->options.limits;
    struct fm_buf *otlp = &lane->filling->otlp;
    struct jaeger_client_stats stats = {0};
    size_t before = otlp->len;
    int rc = jaeger_datagram_check(datagram, limits, &datagrams->scratch, otlp, &datagrams->facts,
                                   &stats, why);
    if (rc < 0)
        return rc;
    clients_note(datagrams->clients, &stats, pf_now_ns(datagrams->ingest->platform));
    if (!datagrams->facts.rewrite || !datagrams->facts.span_count)
        return FM_OK;
    struct fm_slice added = fm_slice(otlp->ptr + before, otlp->len - before);
    fm_buf_reset(&datagrams->clean);
    rc = otlp_pb_rewrite(added, limits, &datagrams->clean);
    if (rc < 0)
        return fm_fail(why, rc, "rewriting a datagram: %s", fm_rc_text(rc));
    otlp->len = before;
    fm_buf_put_slice(otlp, fm_buf_slice(&datagrams->clean)); /* not longer, so there is room */
    return FM_OK;
}

/* Rates, budget and memory for what lane_decode added; the reason if there is none of one. */
static int lane_admit(struct datagrams_lane *lane, uint64_t bytes, enum ingest_reason *ret_reason)
{
    struct datagrams *datagrams = lane->datagrams;
    const struct ingest_options *options = &datagrams->ingest->options;
    const struct decode_facts *facts = &datagrams->facts;
    uint32_t retry_ms;
    struct fm_why why;
    uint64_t spans = (uint64_t)facts->span_count + facts->refused_count;
    int rc = tenants_admit(options->tenants, fm_slice_text(datagrams->tenant), bytes, spans,
                           &retry_ms, &why);
    if (rc < 0) {
        *ret_reason = rc == FM_ELIMIT ? INGEST_REASON_TENANT_LIMIT : INGEST_REASON_RATE_LIMITED;
        return rc;
    }
    if (!net_budget_take(options->budget, bytes)) {
        lane->is_full = true; /* part of what is used up is here */
        lane_stall(lane, STALL_NS);
        lane_count_drop(lane, INGEST_DROP_UNAVAILABLE);
        *ret_reason = INGEST_REASON_UNAVAILABLE;
        return FM_EUNAVAILABLE;
    }
    rc = batch_add_keys(lane->filling, facts);
    if (rc < 0) {
        net_budget_give(options->budget, bytes);
        *ret_reason = INGEST_REASON_UNAVAILABLE;
        return rc;
    }
    lane->filling->charged_bytes += bytes;
    return FM_OK;
}

static struct batch *lane_batch(struct datagrams_lane *lane)
{
    if (!lane->filling) {
        lane->filling = batch_new(lane);
        if (fm_list_empty(&lane->large))
            pf_timer_start(lane->datagrams->ingest->platform, &lane->fill_timer, FILL_NS);
    }
    return lane->filling;
}

static void lane_take(struct datagrams_lane *lane, struct fm_slice datagram)
{
    struct ingest_counters *counters = lane_counters(lane);
    const struct decode_facts *facts = &lane->datagrams->facts;
    enum ingest_reason reason;
    struct fm_why why = {""};
    metric_add(&counters->body_bytes, datagram.len);
    struct batch *batch = lane_batch(lane);
    if (!batch) {
        lane_count_drop(lane, INGEST_DROP_UNAVAILABLE);
        return;
    }
    size_t before = batch->otlp.len;
    int rc = lane_decode(lane, datagram, &why);
    if (rc < 0) {
        batch->otlp.len = before;
        batch->otlp.failed = false;
        lane_count_drop(lane, drop_of(rc));
        log_debug("datagram.dropped", "receiver=%s bytes=%zu why=\"%s\"",
                  ingest_receiver_text(lane->receiver), datagram.len, why.text);
        return;
    }
    rc = lane_admit(lane, batch->otlp.len - before, &reason);
    if (rc < 0) {
        batch->otlp.len = before;
        lane_count_refused(lane, reason, (uint64_t)facts->span_count + facts->refused_count);
        return;
    }
    for (size_t i = 0; i < DECODE_REASON_COUNT; i++)
        lane_count_refused(lane, (enum ingest_reason)i, facts->refused[i]);
    if (!facts->span_count) { /* nothing but what was refused; its charge goes with the batch */
        batch->otlp.len = before;
        return;
    }
    batch->span_count += facts->span_count;
    batch->mended_count += facts->mended_count;
    batch->start_min_ns = FM_MIN(batch->start_min_ns, facts->start_min_ns);
    batch->end_max_ns = FM_MAX(batch->end_max_ns, facts->end_max_ns);
    if (batch->otlp.len + (batch->otlp.len - before) > BATCH_BYTES) /* with one more like this */
        lane_set_aside(lane);
}

static void lane_on_datagrams(struct datagrams_lane *lane, const struct fm_slice *datagrams,
                              size_t count)
{
    static const struct net_identity nobody = {.kind = NET_ANONYMOUS};
    struct fm_why why;
    int rc = tenants_resolve(lane->datagrams->ingest->options.tenants, &nobody,
                             (struct fm_slice){0}, lane->datagrams->tenant, &why);
    for (size_t i = 0; i < count; i++) {
        if (rc < 0)
            lane_count_drop(lane, INGEST_DROP_DENIED);
        else
            lane_take(lane, datagrams[i]);
    }
    lane_step(lane);
}

void ingest_on_jaeger_compact(void *self, const struct fm_slice *datagrams, size_t count)
{
    struct ingest *ingest = self;
    lane_on_datagrams(&ingest->datagrams->compact, datagrams, count);
}

void ingest_on_jaeger_binary(void *self, const struct fm_slice *datagrams, size_t count)
{
    struct ingest *ingest = self;
    lane_on_datagrams(&ingest->datagrams->binary, datagrams, count);
}

/* ---- the object ---- */

static void lane_init(struct datagrams_lane *lane, struct datagrams *datagrams,
                      enum ingest_receiver receiver)
{
    *lane = (struct datagrams_lane){.datagrams = datagrams, .receiver = receiver};
    lane->timer.fire = lane_on_timer;
    lane->fill_timer.fire = lane_on_filled;
    fm_list_init(&lane->large);
    fm_list_init(&lane->held);
}

int datagrams_new(struct datagrams **ret_datagrams, struct ingest *ingest)
{
    struct datagrams *datagrams = calloc(1, sizeof *datagrams);
    if (!datagrams)
        return FM_ENOMEM;
    datagrams->ingest = ingest;
    fm_arena_init(&datagrams->scratch, DATAGRAM_SCRATCH);
    fm_buf_init(&datagrams->clean, DATAGRAM_OTLP_MAX + FM_KIB(4));
    decode_facts_init(&datagrams->facts);
    lane_init(&datagrams->compact, datagrams, INGEST_JAEGER_COMPACT);
    lane_init(&datagrams->binary, datagrams, INGEST_JAEGER_BINARY);
    int rc = clients_new(&datagrams->clients);
    if (rc < 0) {
        free(datagrams);
        return rc;
    }
    *ret_datagrams = datagrams;
    return FM_OK;
}

static void lane_fini(struct datagrams_lane *lane)
{
    pf_timer_stop(lane->datagrams->ingest->platform, &lane->timer);
    pf_timer_stop(lane->datagrams->ingest->platform, &lane->fill_timer);
    batch_free(fm_take(lane->filling));
    while (!fm_list_empty(&lane->large))
        batch_free(FM_CONTAINER(lane->large.next, struct batch, link));
    while (!fm_list_empty(&lane->held))
        batch_free(FM_CONTAINER(lane->held.next, struct batch, link));
}

struct datagrams *datagrams_free(struct datagrams *datagrams)
{
    if (!datagrams)
        return NULL;
    lane_fini(&datagrams->compact);
    lane_fini(&datagrams->binary);
    datagrams->clients = clients_free(datagrams->clients);
    decode_facts_fini(&datagrams->facts);
    fm_buf_fini(&datagrams->clean);
    fm_arena_fini(&datagrams->scratch);
    free(datagrams);
    return NULL;
}

static struct datagrams_lane *datagrams_lane(struct datagrams *datagrams,
                                             enum ingest_receiver receiver)
{
    return receiver == INGEST_JAEGER_COMPACT ? &datagrams->compact : &datagrams->binary;
}

void datagrams_attach(struct datagrams *datagrams, enum ingest_receiver receiver,
                      struct net_udp *udp)
{
    datagrams_lane(datagrams, receiver)->udp = udp;
}

static void lane_close(struct datagrams_lane *lane)
{
    lane->is_closed = true;
    lane->is_stalled = false;
    pf_timer_stop(lane->datagrams->ingest->platform, &lane->timer);
    lane_append_held(lane);
    lane_flush(lane);
}

void datagrams_close(struct datagrams *datagrams)
{
    lane_close(&datagrams->compact);
    lane_close(&datagrams->binary);
}

static void put_socket(struct fm_buf *out, const char *name, const struct datagrams *datagrams,
                       uint64_t (*value)(const struct net_udp_metrics *metrics))
{
    const struct datagrams_lane *lanes[] = {&datagrams->compact, &datagrams->binary};
    for (size_t i = 0; i < FM_COUNT(lanes); i++) {
        char labels[48];
        if (!lanes[i]->udp)
            continue;
        (void)snprintf(labels, sizeof labels, "receiver=\"%s\"",
                       ingest_receiver_text(lanes[i]->receiver));
        metric_line(out, name, labels, value(net_udp_metrics(lanes[i]->udp)));
    }
}

static uint64_t socket_datagrams(const struct net_udp_metrics *metrics)
{
    return metric_get(&metrics->datagrams_total);
}

static uint64_t socket_kernel_drops(const struct net_udp_metrics *metrics)
{
    return metric_get(&metrics->kernel_drops_total);
}

static uint64_t socket_buffer_bytes(const struct net_udp_metrics *metrics)
{
    return metrics->buffer_bytes;
}

static void put_drops(const struct datagrams *datagrams, struct fm_buf *out)
{
    const struct datagrams_lane *lanes[] = {&datagrams->compact, &datagrams->binary};
    const char *name = "fermata_receiver_dropped_datagrams_total";
    metric_family(out, name, "counter", "Datagrams that were read and not stored, by reason.");
    for (size_t i = 0; i < FM_COUNT(lanes); i++) {
        const char *receiver = ingest_receiver_text(lanes[i]->receiver);
        char labels[96];
        for (size_t drop = 0; drop < INGEST_DROP_COUNT; drop++) {
            (void)snprintf(labels, sizeof labels, "receiver=\"%s\",reason=\"%s\"", receiver,
                           drop_names[drop]);
            metric_line(out, name, labels,
                        metric_get(&lane_counters(lanes[i])->dropped_datagrams[drop]));
        }
        if (!lanes[i]->udp)
            continue;
        (void)snprintf(labels, sizeof labels, "receiver=\"%s\",reason=\"truncated\"", receiver);
        metric_line(out, name, labels,
                    metric_get(&net_udp_metrics(lanes[i]->udp)->truncated_total));
    }
}

void datagrams_put_metrics(const struct datagrams *datagrams, struct fm_buf *out)
{
    const char *name = "fermata_receiver_datagrams_total";
    metric_family(out, name, "counter", "Datagrams read.");
    put_socket(out, name, datagrams, socket_datagrams);
    put_drops(datagrams, out);
    name = "fermata_receiver_kernel_dropped_datagrams_total";
    metric_family(out, name, "counter", "Datagrams that the socket's buffer had no room for.");
    put_socket(out, name, datagrams, socket_kernel_drops);
    name = "fermata_receiver_socket_buffer_bytes";
    metric_family(out, name, "gauge", "Buffer that the kernel granted.");
    put_socket(out, name, datagrams, socket_buffer_bytes);
    clients_put_metrics(datagrams->clients, out);
}
