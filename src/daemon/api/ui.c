/* SPDX-License-Identifier: Apache-2.0 */
/* An answering with a user interface, from its request to its answer.
 *
 * Every question of an answering uses the one query_ask (or query_trace) in it, so that there is
 * one at a time.  The peer may go while one is under way: it is cancelled, and the answering then
 * ends as after any failure, into a connection that is not there. */
#include "ui.h"

#include <stdio.h>
#include <stdlib.h>

#include "fermata/units.h"
#include "go_text.h"
#include "routes.h"

#define UI_TEXT_MAX       FM_KIB(128)
#define UI_CALLS_RETRY_TO 32u

static struct ui *ui_free(struct ui *ui)
{
    for (uint32_t i = 0; i < ui->id_count; i++)
        fm_buf_fini(&ui->ids[i].otlp);
    fm_arena_fini(&ui->arena);
    fm_buf_fini(&ui->text);
    fm_buf_fini(&ui->ask.answer);
    fm_buf_fini(&ui->query.answer);
    fm_buf_fini(&ui->answer);
    free(ui);
    return NULL;
}

void ui_answer(struct ui *ui, int status, const char *content_type, struct fm_slice body)
{
    net_request_set_user(ui->request, NULL, NULL);
    api_answer(ui->request, status, content_type, body);
    (void)ui_free(ui);
}

void ui_refuse_format(struct ui *ui, int status, const char *format, ...)
{
    char text[400];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    ui->refuse(ui, status, text);
}

void ui_fail(struct ui *ui, int rc, const char *text)
{
    static const struct {
        int rc, status;
    } rows[] = {
        {FM_EMALFORMED, 400},   {FM_ELIMIT, 422}, {FM_ETIMEOUT, 504},
        {FM_EUNAVAILABLE, 429}, {FM_ENOMEM, 503}, {FM_ENOTFOUND, 404},
    };
    int status = 500;

    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        if (rows[i].rc == rc)
            status = rows[i].status;
    }
    if (rc == FM_EUNAVAILABLE)
        text = "too many queries at once";
    ui->refuse(ui, status, text && *text ? text : fm_rc_text(rc));
}

uint64_t ui_now_ns(const struct ui *ui)
{
    return pf_wall_ns(ui->api->platform);
}

/* ---- begin ---- */

static void ui_on_gone(struct net_request *request)
{
    struct ui *ui = net_request_user(request);
    ui->is_gone = true;
    if (ui->is_asking)
        query_ask_cancel(ui->api->options.query, &ui->ask);
}

static struct ui *ui_new(struct api *api, struct net_request *request, ui_refuse_with *refuse)
{
    struct ui *ui = calloc(1, sizeof *ui);

    if (!ui)
        return NULL;
    ui->api = api;
    ui->request = request;
    ui->view = net_request_view(request);
    ui->refuse = refuse;
    fm_arena_init(&ui->arena, UI_ARENA_MAX);
    fm_buf_init(&ui->text, UI_TEXT_MAX);
    fm_buf_init(&ui->answer, UI_OTLP_MAX);
    fm_buf_init(&ui->ask.answer, 0);
    fm_buf_init(&ui->query.answer, 0);
    net_request_set_user(request, ui, ui_on_gone);
    return ui;
}

static const struct ui_route *ui_route_find(struct fm_slice path, const struct ui_route *routes,
                                            size_t count, struct fm_slice *ret_wild)
{
    while (path.len > 1 && path.ptr[path.len - 1] == '/')
        path.len--;
    for (size_t i = 0; i < count; i++) {
        if (route_matches(routes[i].pattern, path, ret_wild))
            return &routes[i];
    }
    return NULL;
}

bool ui_begin(struct api *api, struct net_request *request, struct fm_slice path,
              const struct ui_route *routes, size_t route_count)
{
    struct fm_slice wild;
    struct fm_why why;
    const struct ui_route *route = ui_route_find(path, routes, route_count, &wild);

    if (!route)
        return false;
    struct ui *ui = ui_new(api, request, route->refuse);
    if (!ui) {
        api_answer_text(request, 503, "out of memory");
        return true;
    }
    int rc = tenants_resolve_request(api->options.tenants, ui->view, ui->tenant, &why);
    if (rc < 0)
        ui->refuse(ui, rc == FM_EDENIED ? 403 : 400, why.text);
    else
        route->handle(ui, fm_slice_dup(&ui->arena, wild));
    return true;
}

/* ---- parameters ---- */

bool ui_param(struct ui *ui, const char *name, struct fm_slice *ret_value)
{
    return http_query_find(ui->view->query, name, &ui->arena, ret_value) == FM_OK &&
           ret_value->len > 0;
}

bool ui_param_of(struct ui *ui, const char *const *names, struct fm_slice *ret_value)
{
    for (; *names; names++) {
        if (ui_param(ui, *names, ret_value))
            return true;
    }
    return false;
}

uint32_t ui_params(struct ui *ui, const char *name, struct fm_slice values[UI_VALUES_MAX])
{
    struct fm_slice rest = ui->view->query;
    uint32_t count = 0;

    while (rest.len && count < UI_VALUES_MAX) {
        const uint8_t *end = memchr(rest.ptr, '&', rest.len);
        size_t len = end ? (size_t)(end - rest.ptr) : rest.len;
        if (http_query_find(fm_slice(rest.ptr, len), name, &ui->arena, &values[count]) == FM_OK &&
            values[count].len)
            count++;
        len += end != NULL;
        rest = fm_slice(rest.ptr + len, rest.len - len);
    }
    return count;
}

bool ui_param_number(struct ui *ui, const char *name, uint64_t unit_ns, uint64_t *value)
{
    struct fm_slice text;
    struct fm_why why;

    if (!ui_param(ui, name, &text) ||
        go_uint_parse(text, INT64_MAX / unit_ns, value, &why) == FM_OK)
        return true;
    ui_refuse_format(ui, 400, "unable to parse param '%s': %s", name, why.text);
    return false;
}

/* ---- questions ---- */

static void ui_on_asked(struct query_ask *ask, int rc)
{
    struct ui *ui = ask->self;

    ui->is_asking = false;
    if (rc == FM_OK && ask->answer.failed)
        rc = fm_fail(&ask->why, FM_ELIMIT, "the answer is larger than the limit");
    if (rc == FM_ELIMIT && ui->put_calls && ask->limit > UI_CALLS_RETRY_TO) {
        ui_ask_traces(ui, ask->start_ns, ask->end_ns, ask->limit / 4, ui->put_traces);
        return;
    }
    if (rc < 0)
        ui_fail(ui, rc, ask->why.text);
    else
        ui->asked(ui);
}

static void ui_ask(struct ui *ui, const struct query_ask *ask)
{
    fm_buf_fini(&ui->ask.answer);
    memset(&ui->ask, 0, sizeof ui->ask);
    ui->ask.kind = ask->kind;
    ui->ask.field = ask->field;
    ui->ask.scope = ask->scope;
    ui->ask.start_ns = ask->start_ns;
    ui->ask.end_ns = ask->end_ns;
    ui->ask.limit = ask->limit;
    ui->ask.render = ask->render;
    ui->ask.text = fm_buf_slice(&ui->text);
    ui->ask.done = ui_on_asked;
    ui->ask.self = ui;
    memcpy(ui->ask.tenant, ui->tenant, sizeof ui->ask.tenant);
    if (ui->is_gone) {
        ui_fail(ui, FM_ECANCELLED, NULL);
        return;
    }
    if (ui->text.failed || fm_arena_failed(&ui->arena)) {
        ui->refuse(ui, 400, "the request is too long");
        return;
    }
    ui->is_asking = true;
    query_ask_start(ui->api->options.query, &ui->ask);
}

/* ---- questions for names ---- */

static void put_name(struct fm_slice name, struct fm_buf *answer)
{
    uint32_t len = (uint32_t)FM_MIN(name.len, UINT32_MAX);
    fm_buf_put(answer, &len, sizeof len);
    fm_buf_put(answer, name.ptr, len);
}

static void render_values(struct query_ask *ask, const struct query_found *found,
                          struct fm_buf *answer)
{
    struct fm_buf text;

    (void)ask;
    fm_buf_init(&text, FM_MIB(1));
    for (uint32_t i = 0; i < found->count; i++) {
        fm_buf_reset(&text);
        answer_put_text(&found->values[i], &text);
        if (!text.failed && text.len)
            put_name(fm_buf_slice(&text), answer);
    }
    fm_buf_fini(&text);
}

static void render_names(struct query_ask *ask, const struct query_found *found,
                         struct fm_buf *answer)
{
    (void)ask;
    for (uint32_t i = 0; i < found->count; i++) {
        for (uint32_t j = 0; j < found->scopes[i].tag_count; j++)
            put_name(found->scopes[i].tags[j], answer);
    }
}

void ui_ask_values(struct ui *ui, const struct traceql_field *field, void (*asked)(struct ui *ui))
{
    const struct query_ask ask = {
        .kind = QUERY_TAG_VALUES, .field = *field, .limit = UI_NAMES_MAX, .render = render_values};
    ui->asked = asked;
    ui_ask(ui, &ask);
}

void ui_ask_names(struct ui *ui, const char *scope, void (*asked)(struct ui *ui))
{
    const struct query_ask ask = {
        .kind = QUERY_TAG_NAMES, .scope = scope, .limit = UI_NAMES_MAX, .render = render_names};
    ui->asked = asked;
    ui_ask(ui, &ask);
}

static int name_compare(const void *left, const void *right)
{
    const struct ui_name *a = left, *b = right;
    int order = fm_slice_compare(a->text, b->text);
    return order ? order : (int)a->kind - (int)b->kind;
}

bool ui_take_names(struct ui *ui, uint32_t kind)
{
    struct fm_slice rest = fm_buf_slice(&ui->ask.answer);
    uint32_t kept = 0, len;

    if (!ui->names)
        ui->names = fm_arena_alloc(&ui->arena, UI_NAMES_MAX * sizeof *ui->names);
    while (ui->names && rest.len >= sizeof len && ui->name_count < UI_NAMES_MAX) {
        memcpy(&len, rest.ptr, sizeof len);
        struct fm_slice name = fm_slice(rest.ptr + sizeof len, len);
        rest = fm_slice(name.ptr + len, rest.len - sizeof len - len);
        ui->names[ui->name_count++] =
            (struct ui_name){.text = fm_slice_dup(&ui->arena, name), .kind = kind};
    }
    if (fm_arena_failed(&ui->arena)) {
        ui_fail(ui, FM_ELIMIT, "the names need more memory than they may");
        return false;
    }
    qsort(ui->names, ui->name_count, sizeof *ui->names, name_compare);
    for (uint32_t i = 0; i < ui->name_count; i++) {
        if (!kept || name_compare(&ui->names[kept - 1], &ui->names[i]) != 0)
            ui->names[kept++] = ui->names[i];
    }
    ui->name_count = kept;
    return true;
}

/* ---- questions for traces ---- */

static void ui_answer_traces(struct ui *ui)
{
    ui_answer(ui, 200, UI_JSON, fm_buf_slice(&ui->ask.answer));
}

static void render_traces(struct query_ask *ask, const struct query_found *found,
                          struct fm_buf *answer)
{
    struct ui *ui = ask->self;
    struct json_writer writer;

    json_writer_init(&writer, answer);
    ui->put_traces(ui, found, &writer);
}

void ui_ask_traces(struct ui *ui, uint64_t start_ns, uint64_t end_ns, uint32_t limit,
                   void (*put)(struct ui *ui, const struct query_found *found,
                               struct json_writer *writer))
{
    const struct query_ask ask = {.kind = QUERY_TRACES,
                                  .start_ns = start_ns,
                                  .end_ns = end_ns,
                                  .limit = limit,
                                  .render = render_traces};
    if (!ui->asked)
        ui->asked = ui_answer_traces;
    ui->put_traces = put;
    ui_ask(ui, &ask);
}

bool ui_put_each(struct ui *ui, const struct query_found *found, struct json_writer *writer,
                 void (*put)(struct fm_slice otlp, struct json_writer *writer))
{
    struct fm_buf otlp;

    (void)ui;
    fm_buf_init(&otlp, UI_OTLP_MAX);
    for (uint32_t i = 0; i < found->count && !writer->buf->failed; i++) {
        fm_buf_reset(&otlp);
        trace_put_otlp(found->wholes[i], &otlp);
        if (otlp.failed)
            writer->buf->failed = true;
        else
            put(fm_buf_slice(&otlp), writer);
    }
    fm_buf_fini(&otlp);
    return !writer->buf->failed;
}

/* ---- calls ---- */

static void calls_count(struct view_calls *calls, const struct query_found *found)
{
    struct fm_arena scratch;
    struct fm_buf otlp;

    fm_arena_init(&scratch, UI_SCRATCH_MAX);
    fm_buf_init(&otlp, UI_OTLP_MAX);
    for (uint32_t i = 0; i < found->count; i++) {
        fm_buf_reset(&otlp);
        trace_put_otlp(found->wholes[i], &otlp);
        if (!otlp.failed && view_calls_add(calls, fm_buf_slice(&otlp), &scratch) < 0)
            continue; /* what fitted is counted */
    }
    fm_buf_fini(&otlp);
    fm_arena_fini(&scratch);
}

static void put_calls(struct ui *ui, const struct query_found *found, struct json_writer *writer)
{
    FM_AUTO(view_calls) calls = NULL;

    if (view_calls_new(&calls, ui->calls_for_zipkin) < 0) {
        writer->buf->failed = true;
        return;
    }
    calls_count(calls, found);
    ui->put_calls(ui, calls, writer);
}

void ui_ask_calls(struct ui *ui, uint64_t end_ns, uint64_t lookback_ns, bool for_zipkin,
                  void (*put)(struct ui *ui, const struct view_calls *calls,
                              struct json_writer *writer))
{
    uint64_t start_ns = end_ns > lookback_ns ? end_ns - lookback_ns : 1;

    fm_buf_reset(&ui->text);
    fm_buf_puts(&ui->text, "{ }");
    ui->calls_for_zipkin = for_zipkin;
    ui->put_calls = put;
    ui_ask_traces(ui, start_ns, end_ns, UI_CALLS_TRACES, put_calls);
}

/* ---- traces by id ---- */

bool ui_add_id(struct ui *ui, const struct trace_id *id)
{
    if (!ui->ids)
        ui->ids = fm_arena_zalloc(&ui->arena, UI_TRACE_IDS_MAX * sizeof *ui->ids);
    if (!ui->ids || ui->id_count == UI_TRACE_IDS_MAX) {
        ui_refuse_format(ui, 400, "more than %d trace ids", UI_TRACE_IDS_MAX);
        return false;
    }
    ui->ids[ui->id_count].id = *id;
    fm_buf_init(&ui->ids[ui->id_count++].otlp, 0);
    return true;
}

static void ui_job_work(struct pf_job *job)
{
    struct ui *ui = FM_CONTAINER(job, struct ui, job);
    struct json_writer writer;

    json_writer_init(&writer, &ui->answer);
    ui->put_ids(ui, &writer);
}

static void ui_job_done(struct pf_job *job)
{
    struct ui *ui = FM_CONTAINER(job, struct ui, job);

    if (ui->answer.failed)
        ui_fail(ui, FM_ELIMIT, "the answer is larger than the limit");
    else
        ui_answer(ui, 200, UI_JSON, fm_buf_slice(&ui->answer));
}

static void ui_fetch_next(struct ui *ui);

static void ui_on_fetched(struct query_trace *query, int rc)
{
    struct ui *ui = query->self;
    struct ui_id *id = &ui->ids[ui->id_index];

    if (rc == FM_OK && ui->is_gone)
        rc = FM_ECANCELLED;
    if (rc < 0) {
        ui_fail(ui, rc, query->why.text);
        return;
    }
    if (query->span_count) {
        id->otlp = query->answer;
        fm_buf_init(&query->answer, 0);
        ui->found_count++;
    }
    ui->id_index++;
    ui_fetch_next(ui);
}

static void ui_fetch_next(struct ui *ui)
{
    if (ui->id_index < ui->id_count) {
        fm_buf_fini(&ui->query.answer);
        ui->query = (struct query_trace){.id = ui->ids[ui->id_index].id,
                                         .format = TRACE_V1_PROTOBUF,
                                         .done = ui_on_fetched,
                                         .self = ui};
        memcpy(ui->query.tenant, ui->tenant, sizeof ui->query.tenant);
        query_trace_start(ui->api->options.query, &ui->query);
    } else if (!ui->found_count && !ui->may_find_nothing) {
        ui_fail(ui, FM_ENOTFOUND, ui->nothing_text ? ui->nothing_text : "trace not found");
    } else {
        ui->job = (struct pf_job){.work = ui_job_work, .done = ui_job_done, .lane = PF_LANE_QUERY};
        pf_job_submit(ui->api->platform, &ui->job);
    }
}

void ui_fetch(struct ui *ui, void (*put)(struct ui *ui, struct json_writer *writer))
{
    ui->put_ids = put;
    ui_fetch_next(ui);
}
