/* SPDX-License-Identifier: Apache-2.0 */
/* intake - one export request on its way into the log.
 *
 *   body -> (inflate) -> (translate) -> check -> (rewrite) -> (sample) -> (process) -> admit
 *        -> append -> answer
 *
 * What stands in brackets happens only when needed; a clean protobuf body goes to the log as it
 * came, in the memory it was received in.  Cheap requests are decoded at once on the loop, dear
 * ones (compressed, of another protocol, or very large) in a job, so that no client holds up the
 * others.
 */
#include "ingest.h"

#include <stdlib.h>

#define INTAKE_IDLE_MAX    32
#define INLINE_PLAIN_BYTES FM_MIB(2)  /* a walk of this takes under a millisecond */
#define INLINE_DEAR_BYTES  FM_KIB(32) /* inflating or reading JSON is 5-10 times dearer */

struct intake *intake_new(struct ingest *ingest, struct net_request *request,
                          enum ingest_receiver receiver)
{
    struct intake *intake;
    if (!fm_list_empty(&ingest->idle)) {
        intake = FM_CONTAINER(ingest->idle.next, struct intake, link);
        fm_list_remove(&intake->link);
        ingest->idle_count--;
    } else {
        intake = calloc(1, sizeof *intake);
        if (!intake)
            return NULL;
        decode_facts_init(&intake->facts);
        fm_list_init(&intake->link);
        intake->ingest = ingest;
    }
    intake->request = request;
    intake->receiver = receiver;
    intake->body_skip = 0;
    intake->codec = CODEC_NONE;
    intake->encoding = INTAKE_OTLP_PROTOBUF;
    intake->is_grpc = false;
    intake->in_job = intake->is_processed = false;
    intake->processing = processing_ref(ingest->processing);
    intake->dropped_count = 0;
    intake->sampled = (struct sample_head_tally){0};
    intake->inflate_failed = intake->is_bomb = false;
    intake->received_ns = net_request_view(request)->received_ns;
    intake->why.text[0] = '\0';
    intake->received_bytes = net_request_view(request)->body.len;
    fm_buf_init(&intake->body, 0);
    return intake;
}

void intake_release(struct intake *intake)
{
    struct ingest *ingest = intake->ingest;
    FM_ASSERT(intake->request == NULL);
    fm_buf_fini(&intake->body);
    net_budget_give_for(ingest->options.budget, intake->party, intake->charged_bytes);
    intake->charged_bytes = 0;
    if (intake->processing != ingest->processing) /* tallies are as many as its processors */
        free(fm_take(intake->tallies));
    processing_unref(ingest, fm_take(intake->processing));
    if (ingest->idle_count < INTAKE_IDLE_MAX) {
        decode_facts_reset(&intake->facts);
        fm_list_append(&ingest->idle, &intake->link);
        ingest->idle_count++;
        return;
    }
    decode_facts_fini(&intake->facts);
    free(intake->tallies);
    free(intake);
}

bool intake_resolve_tenant(struct intake *intake)
{
    const struct net_request_view *view = net_request_view(intake->request);
    const struct tenants *tenants = intake->ingest->options.tenants;
    int rc = tenants_resolve_request(tenants, view, intake->tenant, &intake->why);
    if (rc == FM_OK) {
        intake->party = tenants_party(tenants, fm_slice_text(intake->tenant));
        return true;
    }
    struct answer answer = {400, GRPC_INVALID_ARGUMENT, 0, intake->why.text,
                            INGEST_OUTCOME_MALFORMED};
    if (rc == FM_EDENIED)
        answer = (struct answer){403, GRPC_PERMISSION_DENIED, 0, intake->why.text,
                                 INGEST_OUTCOME_DENIED};
    intake_refuse(intake, &answer);
    return false;
}

/* ---- on the loop ---- */

static uint32_t intake_retry_ms(struct intake *intake)
{
    return answer_spread_ms(intake->ingest, intake->ingest->options.retry_after_ms);
}

static void intake_count_refused(struct intake *intake)
{
    for (size_t i = 0; i < DECODE_REASON_COUNT; i++)
        metric_add(&intake->ingest->counters[intake->receiver].refused_spans[i],
                   intake->facts.refused[i]);
}

static void intake_refuse_spans(struct intake *intake, enum ingest_reason reason,
                                const struct answer *answer)
{
    uint64_t spans =
        (uint64_t)intake->facts.span_count + intake->dropped_count + intake->facts.refused_count;
    metric_add(&intake->ingest->counters[intake->receiver].refused_spans[reason], spans);
    account_refused(intake->ingest, intake->tenant, reason, spans);
    intake_refuse(intake, answer);
}

static void intake_on_stored(struct store_append *append, int rc)
{
    struct intake *intake = FM_CONTAINER(append, struct intake, append);
    struct ingest *ingest = intake->ingest;
    if (rc == FM_OK) {
        intake_count_refused(intake);
        metric_add(&ingest->counters[intake->receiver].accepted_spans,
                   (uint64_t)intake->facts.span_count + intake->dropped_count);
        account_accepted(intake);
        intake_count_sampled(intake);
        intake_count_processed(intake);
        metric_add(&ingest->counters[intake->receiver].mended_values, intake->facts.mended_count);
        intake_accept(intake);
    } else if (rc == FM_ELIMIT) { /* too large for the log, or one tenant too many */
        const struct answer answer = {413, GRPC_RESOURCE_EXHAUSTED, 0, fm_rc_text(rc),
                                      INGEST_OUTCOME_TOO_LARGE};
        intake_refuse_spans(intake, INGEST_REASON_TOO_LARGE, &answer);
    } else {
        const struct answer answer = {503, GRPC_UNAVAILABLE, intake_retry_ms(intake),
                                      fm_rc_text(rc), INGEST_OUTCOME_UNAVAILABLE};
        intake_refuse_spans(intake, INGEST_REASON_UNAVAILABLE, &answer);
    }
}

static void intake_refuse_decoding(struct intake *intake)
{
    struct answer answer = {.message = intake->why.text};
    switch (intake->rc) {
    case FM_ELIMIT:
        answer.http_status = 413;
        answer.grpc_code = GRPC_RESOURCE_EXHAUSTED;
        answer.outcome = INGEST_OUTCOME_TOO_LARGE;
        break;
    case FM_EUNAVAILABLE:
    case FM_ENOMEM:
        answer.http_status = 503;
        answer.grpc_code = GRPC_UNAVAILABLE;
        answer.retry_after_ms = intake_retry_ms(intake);
        answer.outcome = INGEST_OUTCOME_UNAVAILABLE;
        break;
    default:
        answer.http_status = 400;
        answer.grpc_code = intake->is_bomb          ? GRPC_RESOURCE_EXHAUSTED
                           : intake->inflate_failed ? GRPC_INTERNAL
                                                    : GRPC_INVALID_ARGUMENT;
        answer.outcome = INGEST_OUTCOME_MALFORMED;
        break;
    }
    intake_refuse(intake, &answer);
}

/* Within its tenant's rates?  Throttled clients of gRPC hear UNAVAILABLE: most of them drop what
 * RESOURCE_EXHAUSTED is said to. */
static bool intake_admit(struct intake *intake)
{
    uint32_t retry_ms = 0;
    uint64_t spans =
        (uint64_t)intake->facts.span_count + intake->dropped_count + intake->facts.refused_count;
    int rc = tenants_admit(intake->ingest->options.tenants, fm_slice_text(intake->tenant),
                           intake->body.len - intake->body_skip, spans, &retry_ms, &intake->why);
    if (rc == FM_OK)
        return true;
    struct answer answer = {429, GRPC_UNAVAILABLE, 0, intake->why.text,
                            INGEST_OUTCOME_RATE_LIMITED};
    enum ingest_reason reason = INGEST_REASON_RATE_LIMITED;
    if (rc == FM_ELIMIT) {
        answer = (struct answer){413, GRPC_RESOURCE_EXHAUSTED, 0, intake->why.text,
                                 INGEST_OUTCOME_TENANT_LIMIT};
        reason = INGEST_REASON_TENANT_LIMIT;
    } else {
        answer.retry_after_ms = answer_spread_ms(intake->ingest, FM_MAX(retry_ms, 1u));
    }
    intake_refuse_spans(intake, reason, &answer);
    return false;
}

static void intake_on_decoded(struct intake *intake)
{
    if (intake->rc < 0) {
        intake_refuse_decoding(intake);
        return;
    }
    if (!intake_admit(intake))
        return;
    if (intake->facts.span_count == 0) { /* nothing to keep is a success (or all refused) */
        intake_count_refused(intake);
        metric_add(&intake->ingest->counters[intake->receiver].accepted_spans,
                   intake->dropped_count);
        account_accepted(intake);
        intake_count_sampled(intake);
        intake_count_processed(intake);
        intake_accept(intake);
        return;
    }
    intake->append = (struct store_append){
        .tenant = fm_slice_text(intake->tenant),
        .payload = intake->body,
        .payload_skip = intake->body_skip,
        .span_count = intake->facts.span_count,
        .trace_keys = intake->facts.trace_keys,
        .trace_key_count = intake->facts.trace_key_count,
        .start_min_ns = intake->facts.start_min_ns,
        .end_max_ns = intake->facts.end_max_ns,
        .received_unix_ns = pf_wall_ns(intake->ingest->platform),
        .receivers = (uint8_t)(1u << intake->receiver),
        .done = intake_on_stored,
    };
    fm_buf_init(&intake->body, 0);
    store_append(intake->ingest->store, &intake->append);
}

static void intake_job_work(struct pf_job *job)
{
    struct intake *intake = FM_CONTAINER(job, struct intake, job);
    intake->rc = intake_decode(intake);
}

static void intake_job_done(struct pf_job *job)
{
    intake_on_decoded(FM_CONTAINER(job, struct intake, job));
}

void intake_start(struct intake *intake)
{
    bool is_dear = intake->codec != CODEC_NONE || intake->encoding != INTAKE_OTLP_PROTOBUF;
    intake->body = net_request_take_body(intake->request);
    metric_add(&intake->ingest->counters[intake->receiver].body_bytes, intake->body.len);
    if (intake->body.len <= (is_dear ? INLINE_DEAR_BYTES : INLINE_PLAIN_BYTES)) {
        intake->rc = intake_decode(intake);
        intake_on_decoded(intake);
        return;
    }
    intake->in_job = true;
    intake->job =
        (struct pf_job){.work = intake_job_work, .done = intake_job_done, .lane = PF_LANE_DECODE};
    pf_job_submit(intake->ingest->platform, &intake->job);
}
