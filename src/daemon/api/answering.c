/* SPDX-License-Identifier: Apache-2.0 */
/* Search, names, values and metrics over HTTP, and how their answers are rendered for both doors.
 *
 *   request -> question (loop) -> engine -> render (a job) -> answer (loop)
 *
 * The client goes away: the engine is told, and answers soon; the answering ends then as ever. */
#include "answering.h"

#include <stdlib.h>

#include "llm.h"
#include "segment.h"

#define ANSWERING_SCOPES_MAX 16

struct answering_status answering_status_of(int rc)
{
    static const struct {
        int rc;
        struct answering_status status;
    } rows[] = {
        {FM_EMALFORMED, {400, GRPC_INVALID_ARGUMENT, "the question is wrong"}},
        {FM_EUNSUPPORTED, {400, GRPC_INVALID_ARGUMENT, "not supported"}},
        {FM_ELIMIT, {422, GRPC_RESOURCE_EXHAUSTED, "the question exceeds a limit"}},
        {FM_EUNAVAILABLE, {429, GRPC_RESOURCE_EXHAUSTED, "too many queries at once"}},
        {FM_ECANCELLED, {499, GRPC_CANCELLED, "context canceled"}},
        {FM_ENOMEM, {503, GRPC_UNAVAILABLE, "out of memory"}},
        {FM_ETIMEOUT, {504, GRPC_DEADLINE_EXCEEDED, "context deadline exceeded"}},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        if (rows[i].rc == rc)
            return rows[i].status;
    }
    return (struct answering_status){500, GRPC_INTERNAL, fm_rc_text(rc)};
}

const char *answering_text_of(struct query_ask *query, int rc)
{
    if (rc == FM_EMALFORMED && query->is_text_wrong)
        (void)fm_wrap(&query->why, rc, "invalid TraceQL query");
    return query->why.text[0] ? query->why.text : answering_status_of(rc).text;
}

enum answering_format answering_format_of(const struct net_request_view *view)
{
    static const struct {
        struct fm_slice name;
        enum answering_format format;
    } rows[] = {
        {{(const uint8_t *)"application/protobuf", 20}, ANSWERING_PROTOBUF},
        {{(const uint8_t *)"application/json", 16}, ANSWERING_JSON},
        {{(const uint8_t *)"application/vnd.grafana.llm", 27}, ANSWERING_LLM},
    };
    struct fm_slice accept;

    if (http_header_find(view->headers, view->header_count, "accept", &accept) != FM_OK)
        return ANSWERING_JSON;
    for (size_t i = 0; i < FM_COUNT(rows) && accept.len; i++) {
        if (memmem(accept.ptr, accept.len, rows[i].name.ptr, rows[i].name.len))
            return rows[i].format;
    }
    return ANSWERING_JSON;
}

/* ---- rendering, in a job ---- */

static int trace_id_order(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct trace_id));
}

/* Those that no part brought yet.  Clients keep the first version of a trace that they see, and
 * ours are whole when they are found.  NULL: no memory, so that this part brings none. */
static struct eval_trace *answering_news(struct answering *answering,
                                         const struct query_found *found, uint32_t *ret_count)
{
    struct fm_buf *sent = &answering->sent;
    size_t size = sizeof(struct trace_id), known = sent->len / size;
    struct eval_trace *news = malloc((found->count + 1) * sizeof *news);
    uint32_t count = 0;

    for (uint32_t i = 0; news && i < found->count; i++) {
        const struct eval_trace *trace = &found->traces[i];
        if (known && bsearch(&trace->id, sent->ptr, known, size, trace_id_order))
            continue;
        fm_buf_put(sent, &trace->id, size);
        if (!sent->failed)
            news[count++] = *trace;
    }
    if (sent->len)
        qsort(sent->ptr, sent->len / size, size, trace_id_order);
    *ret_count = count;
    return news;
}

static void answering_render_search(struct answering *answering, const struct query_found *found,
                                    enum answer_format format, struct fm_buf *out)
{
    uint32_t count = 0;

    if (found->is_final) {
        answer_search(found->traces, found->count, answering->question.with_sets, &found->stats,
                      format, out);
        return;
    }
    struct eval_trace *news = answering_news(answering, found, &count);
    answer_search(news, count, answering->question.with_sets, &found->stats, format, out);
    free(news);
}

/* The engine knows attributes; names of intrinsics are the API's. */
static void answering_render_names(const struct answering *answering,
                                   const struct query_found *found, enum answer_format format,
                                   struct fm_buf *out)
{
    struct answer_scope scopes[ANSWERING_SCOPES_MAX];
    const char *scope = answering->question.ask.scope;
    bool is_v2 = answering->question.form == QUESTION_TAGS_V2;
    uint32_t count = 0;

    for (uint32_t i = 0; i < found->count && count < FM_COUNT(scopes) - 1; i++) {
        if (strcmp(found->scopes[i].name, "intrinsic") != 0)
            scopes[count++] = found->scopes[i];
    }
    if (scope ? strcmp(scope, "intrinsic") == 0 : is_v2) {
        struct answer_scope *row = &scopes[count++];
        row->name = "intrinsic";
        row->tags = answer_intrinsics(&row->tag_count);
    }
    if (is_v2)
        answer_tags_v2(scopes, count, &found->stats, format, out);
    else
        answer_tags(scopes, count, &found->stats, format, out);
}

static void answering_render_message(struct answering *answering, const struct query_found *found,
                                     enum answer_format format, struct fm_buf *out)
{
    switch (answering->question.form) {
    case QUESTION_SEARCH:
        answering_render_search(answering, found, format, out);
        break;
    case QUESTION_TAGS:
    case QUESTION_TAGS_V2:
        answering_render_names(answering, found, format, out);
        break;
    case QUESTION_VALUES:
        answer_values(found->values, found->count, &found->stats, format, out);
        break;
    case QUESTION_VALUES_V2:
        if (answering->format == ANSWERING_LLM)
            llm_put_values(found->values, found->count, &found->stats, out);
        else
            answer_values_v2(found->values, found->count, &found->stats, format, out);
        break;
    case QUESTION_RANGE:
        answer_range(found->series, &found->stats, format, out);
        break;
    case QUESTION_INSTANT:
        answer_instant(found->series, &found->stats, format, out);
        break;
    }
}

static void answering_render(struct query_ask *query, const struct query_found *found,
                             struct fm_buf *answer)
{
    struct answering *answering = query->self;
    struct fm_buf message;

    if (!answering->is_rpc) {
        answering_render_message(
            answering, found,
            answering->format == ANSWERING_PROTOBUF ? ANSWER_PROTOBUF : ANSWER_JSON, answer);
        return;
    }
    fm_buf_init(&message, answer->bytes_max);
    answering_render_message(answering, found, ANSWER_PROTOBUF, &message);
    if (message.failed)
        answer->failed = true;
    else
        segment_put(fm_buf_slice(&message), SEGMENT_BYTES_MAX, answer);
    fm_buf_fini(&message);
}

/* ---- the answering ---- */

static void answering_on_gone(struct net_request *request)
{
    struct answering *answering = net_request_user(request);
    metric_add(&answering->api->clients_gone_total, 1);
    query_ask_cancel(answering->api->options.query, &answering->question.ask);
}

struct answering *answering_new(struct api *api, struct net_request *request,
                                enum question_form form)
{
    struct answering *answering = calloc(1, sizeof *answering);
    if (!answering)
        return NULL;
    answering->api = api;
    answering->request = request;
    question_init(&answering->question, form);
    fm_buf_init(&answering->sent, QUESTION_LIMIT_MAX * sizeof(struct trace_id));
    metric_add(&api->questions_total[form], 1);
    return answering;
}

struct answering *answering_free(struct answering *answering)
{
    if (!answering)
        return NULL;
    fm_buf_fini(&answering->question.ask.answer);
    fm_buf_fini(&answering->sent);
    question_fini(&answering->question);
    free(answering);
    return NULL;
}

static void answering_on_done(struct query_ask *query, int rc)
{
    struct answering *answering = query->self;
    struct net_request *request = answering->request;
    static const char *const types[] = {
        [ANSWERING_JSON] = "application/json",
        [ANSWERING_PROTOBUF] = "application/protobuf",
        [ANSWERING_LLM] = LLM_MEDIA_TYPE,
    };
    if (rc == FM_OK && query->answer.failed)
        rc = fm_fail(&query->why, FM_ELIMIT, "the answer is larger than the limit");
    if (rc == FM_OK) {
        api_answer(request, 200, types[answering->format], fm_buf_slice(&query->answer));
    } else {
        api_answer_text(request, answering_status_of(rc).http, answering_text_of(query, rc));
    }
    (void)answering_free(answering);
}

void answering_start(struct answering *answering)
{
    struct query_ask *query = &answering->question.ask;
    query->render = answering_render;
    query->on_part = answering->is_rpc ? rpc_on_part : NULL;
    query->done = answering->is_rpc ? rpc_on_done : answering_on_done;
    query->streams = answering->is_rpc && answering->question.form == QUESTION_SEARCH;
    query->self = answering;
    net_request_set_user(answering->request, answering, answering_on_gone);
    query_ask_start(answering->api->options.query, query);
}

/* ---- HTTP ---- */

/* Which questions have a form for language models, and which are JSON whatever is asked for. */
static enum answering_format answering_format_for(const struct net_request_view *view,
                                                  enum question_form form)
{
    enum answering_format format = answering_format_of(view);
    if (form == QUESTION_RANGE || form == QUESTION_INSTANT)
        return ANSWERING_JSON;
    return format == ANSWERING_LLM && form != QUESTION_VALUES_V2 ? ANSWERING_JSON : format;
}

static void answering_http(struct api *api, struct net_request *request, enum question_form form,
                           struct fm_slice name)
{
    const struct net_request_view *view = net_request_view(request);
    struct answering *answering = answering_new(api, request, form);
    struct fm_why why = {""};

    if (!answering) {
        api_answer_text(request, 503, "out of memory");
        return;
    }
    if (!api_resolve_tenant(api, request, answering->question.ask.tenant)) {
        (void)answering_free(answering);
        return;
    }
    int rc = question_read_url(&answering->question, view->query, name, api_unix_ns(api), &why);
    if (rc < 0) {
        struct answering_status status = answering_status_of(rc);
        metric_add(&api->questions_wrong_total, 1);
        api_answer_text(request, status.http, why.text[0] ? why.text : status.text);
        (void)answering_free(answering);
        return;
    }
    answering->format = answering_format_for(view, form);
    answering_start(answering);
}

void api_search(struct api *api, struct net_request *request, struct fm_slice wild)
{
    answering_http(api, request, QUESTION_SEARCH, wild);
}

void api_tags(struct api *api, struct net_request *request, struct fm_slice wild)
{
    answering_http(api, request, QUESTION_TAGS, wild);
}

void api_tags_v2(struct api *api, struct net_request *request, struct fm_slice wild)
{
    answering_http(api, request, QUESTION_TAGS_V2, wild);
}

void api_values(struct api *api, struct net_request *request, struct fm_slice wild)
{
    answering_http(api, request, QUESTION_VALUES, wild);
}

void api_values_v2(struct api *api, struct net_request *request, struct fm_slice wild)
{
    answering_http(api, request, QUESTION_VALUES_V2, wild);
}

void api_query_range(struct api *api, struct net_request *request, struct fm_slice wild)
{
    answering_http(api, request, QUESTION_RANGE, wild);
}

void api_query_instant(struct api *api, struct net_request *request, struct fm_slice wild)
{
    answering_http(api, request, QUESTION_INSTANT, wild);
}
