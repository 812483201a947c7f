/* SPDX-License-Identifier: Apache-2.0 */
/* intake - one export request on its way into the log.
 *
 *   body -> (inflate) -> (JSON to protobuf) -> check -> (rewrite) -> append -> answer
 *
 * What stands in brackets happens only when needed; a clean protobuf body goes to the log as it
 * came, in the memory it was received in.  Cheap requests are decoded at once on the loop, dear
 * ones (compressed, JSON, or very large) in a job, so that no client holds up the others.
 */
#include "ingest.h"

#include <stdlib.h>

#define INTAKE_IDLE_MAX     32
#define INLINE_PLAIN_BYTES  FM_MIB(2)  /* a walk of this takes under a millisecond */
#define INLINE_DEAR_BYTES   FM_KIB(32) /* inflating or reading JSON is 5-10 times dearer */
#define INFLATE_RATIO_GUESS 8u
#define INFLATE_GROWTH      4u /* of the guess */

struct intake *intake_new(struct ingest *ingest, struct net_request *request)
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
    intake->body_skip = 0;
    intake->codec = CODEC_NONE;
    intake->encoding = INTAKE_PROTOBUF;
    intake->is_grpc = false;
    intake->inflate_failed = false;
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
    net_budget_give(ingest->options.budget, intake->charged_bytes);
    intake->charged_bytes = 0;
    if (ingest->idle_count < INTAKE_IDLE_MAX) {
        decode_facts_reset(&intake->facts);
        fm_list_append(&ingest->idle, &intake->link);
        ingest->idle_count++;
        return;
    }
    decode_facts_fini(&intake->facts);
    free(intake);
}

int intake_set_tenant(struct intake *intake, const struct net_request_view *view)
{
    struct fm_slice tenant;
    if (http_header_find(view->headers, view->header_count, "x-scope-orgid", &tenant) != FM_OK)
        tenant = fm_slice_text(intake->ingest->options.default_tenant);
    if (!tenant_is_valid(tenant))
        return FM_EMALFORMED;
    memcpy(intake->tenant, tenant.ptr, tenant.len);
    intake->tenant[tenant.len] = '\0';
    return FM_OK;
}

/* ---- decoding; may run in a job, touches nothing but the intake and the (atomic) budget ---- */

static uint64_t intake_charge_max(const struct intake *intake)
{
    uint64_t bytes_max = intake->ingest->options.budget->bytes_max;
    return bytes_max - FM_MIN(bytes_max, intake->received_bytes + intake->charged_bytes);
}

/* FM_ELIMIT: not even an idle daemon could; asking the client to come again would never end. */
static int intake_charge(struct intake *intake, uint64_t bytes)
{
    if (bytes > intake_charge_max(intake))
        return fm_fail(&intake->why, FM_ELIMIT, "the request needs more than limits.memory_limit");
    if (!net_budget_take(intake->ingest->options.budget, bytes))
        return fm_fail(&intake->why, FM_EUNAVAILABLE, "memory budget is used up");
    intake->charged_bytes += bytes;
    return FM_OK;
}

static void intake_give_back(struct intake *intake, uint64_t bytes)
{
    net_budget_give(intake->ingest->options.budget, bytes);
    intake->charged_bytes -= bytes;
}

/* Replaces the body by its decompressed form.  Charges a guess first, and more while that is too
 * little: claiming the limit at once would crowd out everybody for a body of a few hundred KiB. */
static int intake_inflate(struct intake *intake)
{
    uint64_t limit =
        FM_MIN(intake->ingest->options.decompressed_bytes_max, intake_charge_max(intake));
    struct fm_slice input = fm_buf_slice(&intake->body);
    input = fm_slice(input.ptr + intake->body_skip, input.len - intake->body_skip);
    uint64_t room = FM_MIN(limit, (uint64_t)input.len * INFLATE_RATIO_GUESS + FM_KIB(64));
    for (;;) {
        int rc = intake_charge(intake, room);
        if (rc < 0)
            return rc;
        struct fm_buf plain;
        fm_buf_init(&plain, room);
        rc = codec_inflate(intake->codec, input, &plain);
        if (rc == FM_OK) {
            intake_give_back(intake, room - FM_MIN(room, (uint64_t)plain.cap));
            fm_buf_fini(&intake->body);
            intake->body = plain;
            intake->body_skip = 0;
            return FM_OK;
        }
        fm_buf_fini(&plain);
        intake->inflate_failed = rc != FM_ELIMIT;
        if (rc != FM_ELIMIT || room == limit)
            return fm_fail(&intake->why, rc, "%s body: %s", codec_name(intake->codec),
                           fm_rc_text(rc));
        intake_give_back(intake, room);
        room = FM_MIN(limit, room * INFLATE_GROWTH);
    }
}

static int intake_replace_body(struct intake *intake, struct fm_buf *other)
{
    fm_buf_fini(&intake->body);
    intake->body = *other;
    intake->body_skip = 0;
    return FM_OK;
}

/* Protobuf is shorter than the JSON it came from, but for bytes that are not UTF-8: each of them
 * becomes U+FFFD, three bytes. */
static int intake_read_json(struct intake *intake)
{
    struct fm_slice json = fm_buf_slice(&intake->body);
    uint64_t room = 0;
    for (;;) {
        int rc = intake_charge(intake, room ? 2 * room : json.len);
        if (rc < 0)
            return rc;
        bool is_last = room != 0;
        room = is_last ? 3 * (uint64_t)json.len : json.len;
        struct fm_buf otlp;
        fm_buf_init(&otlp, FM_MAX(room, FM_KIB(4)));
        rc = otlp_json_decode(json, &otlp, &intake->why);
        if (rc == FM_OK)
            return intake_replace_body(intake, &otlp);
        bool was_full = otlp.failed;
        fm_buf_fini(&otlp);
        if (is_last || !was_full)
            return rc;
    }
}

static int intake_rewrite(struct intake *intake)
{
    struct fm_slice request = fm_buf_slice(&intake->body);
    request = fm_slice(request.ptr + intake->body_skip, request.len - intake->body_skip);
    int rc = intake_charge(intake, request.len);
    if (rc < 0)
        return rc;
    struct fm_buf clean;
    fm_buf_init(&clean, request.len + FM_KIB(4));
    rc = otlp_pb_rewrite(request, &intake->ingest->options.limits, &clean);
    if (rc < 0) {
        fm_buf_fini(&clean);
        return fm_fail(&intake->why, rc, "rewriting the request: %s", fm_rc_text(rc));
    }
    return intake_replace_body(intake, &clean);
}

static int intake_decode(struct intake *intake)
{
    int rc = FM_OK;
    if (intake->codec != CODEC_NONE)
        rc = intake_inflate(intake);
    if (rc == FM_OK && intake->encoding == INTAKE_JSON)
        rc = intake_read_json(intake);
    if (rc < 0)
        return rc;
    struct fm_slice body = fm_buf_slice(&intake->body);
    body = fm_slice(body.ptr + intake->body_skip, body.len - intake->body_skip);
    rc = otlp_pb_check(body, &intake->ingest->options.limits, &intake->facts, &intake->why);
    if (rc == FM_OK && intake->facts.rewrite && intake->facts.span_count)
        rc = intake_rewrite(intake);
    return rc;
}

/* ---- on the loop ---- */

static void intake_count_refused(struct intake *intake)
{
    for (size_t i = 0; i < DECODE_REASON_COUNT; i++)
        metric_add(&intake->ingest->counters[intake->receiver].refused_spans[i],
                   intake->facts.refused[i]);
}

static void intake_on_stored(struct store_append *append, int rc)
{
    struct intake *intake = FM_CONTAINER(append, struct intake, append);
    struct ingest *ingest = intake->ingest;
    if (rc == FM_OK) {
        intake_count_refused(intake);
        metric_add(&ingest->counters[intake->receiver].accepted_spans, intake->facts.span_count);
        metric_add(&ingest->counters[intake->receiver].mended_values, intake->facts.mended_count);
        intake_accept(intake);
        return;
    }
    metric_add(&ingest->counters[intake->receiver].refused_spans[INGEST_REASON_UNAVAILABLE],
               intake->facts.span_count + intake->facts.refused_count);
    struct answer answer = {503, GRPC_UNAVAILABLE, ingest->options.retry_after_ms, fm_rc_text(rc),
                            INGEST_OUTCOME_UNAVAILABLE};
    if (rc == FM_ELIMIT) /* too large for the log, or one tenant too many: time does not help */
        answer = (struct answer){413, GRPC_RESOURCE_EXHAUSTED, 0, fm_rc_text(rc),
                                 INGEST_OUTCOME_TOO_LARGE};
    intake_refuse(intake, &answer);
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
        answer.retry_after_ms = intake->ingest->options.retry_after_ms;
        answer.outcome = INGEST_OUTCOME_UNAVAILABLE;
        break;
    default:
        answer.http_status = 400;
        answer.grpc_code = intake->inflate_failed ? GRPC_INTERNAL : GRPC_INVALID_ARGUMENT;
        answer.outcome = INGEST_OUTCOME_MALFORMED;
        break;
    }
    intake_refuse(intake, &answer);
}

static void intake_on_decoded(struct intake *intake)
{
    if (intake->rc < 0) {
        intake_refuse_decoding(intake);
        return;
    }
    if (intake->facts.span_count == 0) { /* nothing to keep is a success (or all refused) */
        intake_count_refused(intake);
        intake_accept(intake);
        return;
    }
    if (intake->body_skip)
        fm_buf_consume(&intake->body, intake->body_skip);
    intake->append = (struct store_append){
        .tenant = fm_slice_text(intake->tenant),
        .payload = intake->body,
        .span_count = intake->facts.span_count,
        .trace_keys = intake->facts.trace_keys,
        .trace_key_count = intake->facts.trace_key_count,
        .start_min_ns = intake->facts.start_min_ns,
        .end_max_ns = intake->facts.end_max_ns,
        .received_unix_ns = pf_wall_ns(intake->ingest->platform),
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
    bool is_dear = intake->codec != CODEC_NONE || intake->encoding == INTAKE_JSON;
    metric_add(&intake->ingest->counters[intake->receiver].body_bytes, intake->body.len);
    if (intake->body.len <= (is_dear ? INLINE_DEAR_BYTES : INLINE_PLAIN_BYTES)) {
        intake->rc = intake_decode(intake);
        intake_on_decoded(intake);
        return;
    }
    intake->job =
        (struct pf_job){.work = intake_job_work, .done = intake_job_done, .lane = PF_LANE_DECODE};
    pf_job_submit(intake->ingest->platform, &intake->job);
}
