/* SPDX-License-Identifier: Apache-2.0 */
/* Search, names, values and metrics over HTTP, and how their answers are rendered for both doors.
 *
 *   request -> question (loop) -> engine -> render (a job) -> answer (loop)
 *
 * The client goes away: the engine is told, and answers soon; the exchange ends then as ever. */
#include "exchange.h"

#include <stdlib.h>

#include "llm.h"
#include "segment.h"

#define EXCHANGE_SCOPES_MAX 16

struct exchange_status exchange_status_of(int rc)
{
    static const struct {
        int rc;
        struct exchange_status status;
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
    return (struct exchange_status){500, GRPC_INTERNAL, fm_rc_text(rc)};
}

const char *exchange_text_of(struct query_ask *query, int rc)
{
    if (rc == FM_EMALFORMED && query->is_text_wrong)
        (void)fm_wrap(&query->why, rc, "invalid TraceQL query");
    return query->why.text[0] ? query->why.text : exchange_status_of(rc).text;
}

enum exchange_format exchange_format_of(const struct net_request_view *view)
{
    static const struct {
        struct fm_slice name;
        enum exchange_format format;
    } rows[] = {
        {{(const uint8_t *)"application/protobuf", 20}, EXCHANGE_PROTOBUF},
        {{(const uint8_t *)"application/json", 16}, EXCHANGE_JSON},
        {{(const uint8_t *)"application/vnd.grafana.llm", 27}, EXCHANGE_LLM},
    };
    struct fm_slice accept;

    if (http_header_find(view->headers, view->header_count, "accept", &accept) != FM_OK)
        return EXCHANGE_JSON;
    for (size_t i = 0; i < FM_COUNT(rows) && accept.len; i++) {
        if (memmem(accept.ptr, accept.len, rows[i].name.ptr, rows[i].name.len))
            return rows[i].format;
    }
    return EXCHANGE_JSON;
}

/* ---- rendering, in a job ---- */

static int trace_id_order(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct trace_id));
}

/* Those that no part brought yet.  Clients keep the first version of a trace that they see, and
 * ours are whole when they are found.  NULL: no memory, so that this part brings none. */
static struct eval_trace *exchange_news(struct exchange *exchange, const struct query_found *found,
                                        uint32_t *ret_count)
{
    struct fm_buf *sent = &exchange->sent;
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

static void exchange_render_search(struct exchange *exchange, const struct query_found *found,
                                   enum answer_format format, struct fm_buf *out)
{
    uint32_t count = 0;

    if (found->is_final) {
        answer_search(found->traces, found->count, exchange->question.with_sets, &found->stats,
                      format, out);
        return;
    }
    struct eval_trace *news = exchange_news(exchange, found, &count);
    answer_search(news, count, exchange->question.with_sets, &found->stats, format, out);
    free(news);
}

/* The engine knows attributes; names of intrinsics are the API's. */
static void exchange_render_names(const struct exchange *exchange, const struct query_found *found,
                                  enum answer_format format, struct fm_buf *out)
{
    struct answer_scope scopes[EXCHANGE_SCOPES_MAX];
    const char *scope = exchange->question.ask.scope;
    bool is_v2 = exchange->question.form == QUESTION_TAGS_V2;
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

static void exchange_render_message(struct exchange *exchange, const struct query_found *found,
                                    enum answer_format format, struct fm_buf *out)
{
    switch (exchange->question.form) {
    case QUESTION_SEARCH:
        exchange_render_search(exchange, found, format, out);
        break;
    case QUESTION_TAGS:
    case QUESTION_TAGS_V2:
        exchange_render_names(exchange, found, format, out);
        break;
    case QUESTION_VALUES:
        answer_values(found->values, found->count, &found->stats, format, out);
        break;
    case QUESTION_VALUES_V2:
        if (exchange->format == EXCHANGE_LLM)
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

static void exchange_render(struct query_ask *query, const struct query_found *found,
                            struct fm_buf *answer)
{
    struct exchange *exchange = query->self;
    struct fm_buf message;

    if (!exchange->is_rpc) {
        exchange_render_message(
            exchange, found, exchange->format == EXCHANGE_PROTOBUF ? ANSWER_PROTOBUF : ANSWER_JSON,
            answer);
        return;
    }
    fm_buf_init(&message, answer->bytes_max);
    exchange_render_message(exchange, found, ANSWER_PROTOBUF, &message);
    if (message.failed)
        answer->failed = true;
    else
        segment_put(fm_buf_slice(&message), SEGMENT_BYTES_MAX, answer);
    fm_buf_fini(&message);
}

/* ---- the exchange ---- */

static void exchange_on_gone(struct net_request *request)
{
    struct exchange *exchange = net_request_user(request);
    metric_add(&exchange->api->clients_gone_total, 1);
    query_ask_cancel(exchange->api->options.query, &exchange->question.ask);
}

struct exchange *exchange_new(struct api *api, struct net_request *request, enum question_form form)
{
    struct exchange *exchange = calloc(1, sizeof *exchange);
    if (!exchange)
        return NULL;
    exchange->api = api;
    exchange->request = request;
    question_init(&exchange->question, form);
    fm_buf_init(&exchange->sent, QUESTION_LIMIT_MAX * sizeof(struct trace_id));
    metric_add(&api->questions_total[form], 1);
    return exchange;
}

struct exchange *exchange_free(struct exchange *exchange)
{
    if (!exchange)
        return NULL;
    fm_buf_fini(&exchange->question.ask.answer);
    fm_buf_fini(&exchange->sent);
    question_fini(&exchange->question);
    free(exchange);
    return NULL;
}

static void exchange_on_done(struct query_ask *query, int rc)
{
    struct exchange *exchange = query->self;
    struct net_request *request = exchange->request;
    static const char *const types[] = {
        [EXCHANGE_JSON] = "application/json",
        [EXCHANGE_PROTOBUF] = "application/protobuf",
        [EXCHANGE_LLM] = LLM_MEDIA_TYPE,
    };
    if (rc == FM_OK && query->answer.failed)
        rc = fm_fail(&query->why, FM_ELIMIT, "the answer is larger than the limit");
    if (rc == FM_OK) {
        api_answer(request, 200, types[exchange->format], fm_buf_slice(&query->answer));
    } else {
        api_answer_text(request, exchange_status_of(rc).http, exchange_text_of(query, rc));
    }
    (void)exchange_free(exchange);
}

void exchange_start(struct exchange *exchange)
{
    struct query_ask *query = &exchange->question.ask;
    query->render = exchange_render;
    query->on_part = exchange->is_rpc ? rpc_on_part : NULL;
    query->done = exchange->is_rpc ? rpc_on_done : exchange_on_done;
    query->streams = exchange->is_rpc && exchange->question.form == QUESTION_SEARCH;
    query->self = exchange;
    net_request_set_user(exchange->request, exchange, exchange_on_gone);
    query_ask_start(exchange->api->options.query, query);
}

/* ---- HTTP ---- */

/* Which questions have a form for language models, and which are JSON whatever is asked for. */
static enum exchange_format exchange_format_for(const struct net_request_view *view,
                                                enum question_form form)
{
    enum exchange_format format = exchange_format_of(view);
    if (form == QUESTION_RANGE || form == QUESTION_INSTANT)
        return EXCHANGE_JSON;
    return format == EXCHANGE_LLM && form != QUESTION_VALUES_V2 ? EXCHANGE_JSON : format;
}

static void exchange_http(struct api *api, struct net_request *request, enum question_form form,
                          struct fm_slice name)
{
    const struct net_request_view *view = net_request_view(request);
    struct exchange *exchange = exchange_new(api, request, form);
    struct fm_why why = {""};

    if (!exchange) {
        api_answer_text(request, 503, "out of memory");
        return;
    }
    if (!api_resolve_tenant(api, request, exchange->question.ask.tenant)) {
        (void)exchange_free(exchange);
        return;
    }
    int rc = question_read_url(&exchange->question, view->query, name, api_unix_ns(api), &why);
    if (rc < 0) {
        struct exchange_status status = exchange_status_of(rc);
        metric_add(&api->questions_wrong_total, 1);
        api_answer_text(request, status.http, why.text[0] ? why.text : status.text);
        (void)exchange_free(exchange);
        return;
    }
    exchange->format = exchange_format_for(view, form);
    exchange_start(exchange);
}

void api_search(struct api *api, struct net_request *request, struct fm_slice wild)
{
    exchange_http(api, request, QUESTION_SEARCH, wild);
}

void api_tags(struct api *api, struct net_request *request, struct fm_slice wild)
{
    exchange_http(api, request, QUESTION_TAGS, wild);
}

void api_tags_v2(struct api *api, struct net_request *request, struct fm_slice wild)
{
    exchange_http(api, request, QUESTION_TAGS_V2, wild);
}

void api_values(struct api *api, struct net_request *request, struct fm_slice wild)
{
    exchange_http(api, request, QUESTION_VALUES, wild);
}

void api_values_v2(struct api *api, struct net_request *request, struct fm_slice wild)
{
    exchange_http(api, request, QUESTION_VALUES_V2, wild);
}

void api_query_range(struct api *api, struct net_request *request, struct fm_slice wild)
{
    exchange_http(api, request, QUESTION_RANGE, wild);
}

void api_query_instant(struct api *api, struct net_request *request, struct fm_slice wild)
{
    exchange_http(api, request, QUESTION_INSTANT, wild);
}
