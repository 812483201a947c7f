/* SPDX-License-Identifier: Apache-2.0 */
/* GET /api/traces/{id} and /api/v2/traces/{id}, as Tempo answers them. */
#include "answering.h"

#include <inttypes.h>
#include <stdlib.h>

#include "go_text.h"
#include "llm.h"

struct trace_answering {
    struct api *api;
    struct net_request *request; /* until answered */
    struct query_trace query;
    bool is_v2, is_llm;
    struct pf_job job; /* is_llm: the answer in another form */
    struct fm_buf llm;
    int rc;
};

static void trace_exchange_free(struct trace_answering *answering)
{
    fm_buf_fini(&answering->query.answer);
    fm_buf_fini(&answering->llm);
    free(answering);
}

static void trace_llm_work(struct pf_job *job)
{
    struct trace_answering *answering = FM_CONTAINER(job, struct trace_answering, job);
    answering->rc = llm_put_trace(fm_buf_slice(&answering->query.answer), &answering->llm);
}

static void trace_llm_done(struct pf_job *job)
{
    struct trace_answering *answering = FM_CONTAINER(job, struct trace_answering, job);
    if (answering->rc < 0)
        api_answer_text(answering->request, 500, fm_rc_text(answering->rc));
    else
        api_answer(answering->request, 200, LLM_MEDIA_TYPE, fm_buf_slice(&answering->llm));
    trace_exchange_free(answering);
}

static void trace_llm_start(struct trace_answering *answering)
{
    fm_buf_init(&answering->llm, answering->query.answer.bytes_max);
    answering->job =
        (struct pf_job){.work = trace_llm_work, .done = trace_llm_done, .lane = PF_LANE_QUERY};
    pf_job_submit(answering->api->platform, &answering->job);
}

static void trace_exchange_done(struct query_trace *query, int rc)
{
    struct trace_answering *answering = query->self;
    bool is_protobuf = query->format == TRACE_V1_PROTOBUF || query->format == TRACE_V2_PROTOBUF;
    if (rc == FM_OK && answering->is_llm) {
        trace_llm_start(answering);
        return;
    }
    if (rc == FM_EUNAVAILABLE)
        api_answer_text(answering->request, 429, "too many queries at once");
    else if (rc == FM_ELIMIT)
        api_answer_text(answering->request, 422, query->why.text);
    else if (rc < 0)
        api_answer_text(answering->request, 500,
                        query->why.text[0] ? query->why.text : fm_rc_text(rc));
    else if (query->span_count == 0 && !answering->is_v2)
        api_answer(answering->request, 404, "text/plain; charset=utf-8", FM_SLICE(""));
    else
        api_answer(answering->request, 200,
                   is_protobuf ? "application/protobuf" : "application/json",
                   fm_buf_slice(&query->answer));
    trace_exchange_free(answering);
}

static int check_second(const struct net_request_view *view, const char *name,
                        struct fm_arena *arena, int64_t *ret_value, struct fm_why *why)
{
    struct fm_slice text;
    struct fm_why problem = {""};
    *ret_value = 0;
    if (http_query_find(view->query, name, arena, &text) != FM_OK || !text.len ||
        go_int_parse(text, INT64_MAX, ret_value, &problem) == FM_OK)
        return FM_OK;
    return fm_fail(why, FM_EMALFORMED, "invalid %s: %s", name, problem.text);
}

static int check_window(const struct net_request_view *view, struct fm_arena *arena,
                        struct fm_why *why)
{
    int64_t start, end;
    int rc = check_second(view, "start", arena, &start, why);
    if (rc == FM_OK)
        rc = check_second(view, "end", arena, &end, why);
    if (rc == FM_OK && start && end && end <= start)
        rc = fm_fail(why, FM_EMALFORMED,
                     "http parameter start must be before end. received start=%" PRId64
                     " end=%" PRId64,
                     start, end);
    return rc;
}

/* Parameters that Tempo checks although they do not change what one node answers. */
static int check_parameters(const struct net_request_view *view, struct fm_why *why)
{
    struct fm_arena arena;
    struct fm_slice mode;
    int rc = FM_OK;
    fm_arena_init(&arena, FM_KIB(16));
    bool has_mode = http_query_find(view->query, "mode", &arena, &mode) == FM_OK && mode.len;
    if (has_mode && !fm_slice_equal_text(mode, "all") && !fm_slice_equal_text(mode, "ingesters") &&
        !fm_slice_equal_text(mode, "blocks") && !fm_slice_equal_text(mode, "external"))
        rc = fm_fail(why, FM_EMALFORMED, "invalid value for mode %.*s", (int)mode.len,
                     (const char *)mode.ptr);
    if (rc == FM_OK && !(has_mode && fm_slice_equal_text(mode, "ingesters")))
        rc = check_window(view, &arena, why);
    fm_arena_fini(&arena);
    return rc;
}

void api_trace_by_id(struct api *api, struct net_request *request, struct fm_slice tail, bool is_v2)
{
    const struct net_request_view *view = net_request_view(request);
    struct fm_why why;
    struct trace_id id;
    if (trace_id_parse(tail, &id, &why) < 0 || check_parameters(view, &why) < 0) {
        api_answer_text(request, 400, why.text);
        return;
    }
    struct trace_answering *answering = calloc(1, sizeof *answering);
    if (!answering) {
        api_answer_text(request, 503, "out of memory");
        return;
    }
    if (!api_resolve_tenant(api, request, answering->query.tenant)) {
        free(answering);
        return;
    }
    enum answering_format format = answering_format_of(view);
    answering->api = api;
    answering->is_llm = is_v2 && format == ANSWERING_LLM;
    bool is_protobuf = format == ANSWERING_PROTOBUF || answering->is_llm;
    answering->request = request;
    answering->is_v2 = is_v2;
    answering->query.id = id;
    answering->query.self = answering;
    answering->query.done = trace_exchange_done;
    if (is_v2)
        answering->query.format = is_protobuf ? TRACE_V2_PROTOBUF : TRACE_V2_JSON;
    else
        answering->query.format = is_protobuf ? TRACE_V1_PROTOBUF : TRACE_V1_JSON;
    query_trace_start(api->options.query, &answering->query);
}
