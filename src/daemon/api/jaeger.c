/* SPDX-License-Identifier: Apache-2.0 */
/* Jaeger's classic query API: /api/services, /api/traces and what belongs to them.  Every answer is
 * {"data", "total", "limit", "offset", "errors"}. */
#include "jaeger.h"

#include <inttypes.h>

#include "fermata/api_ui.h"
#include "fermata/units.h"
#include "host.h"
#include "zipkin.h"

#define JAEGER_LIMIT         100
#define JAEGER_LOOKBACK_NS   (48 * 3600 * FM_NS_PER_S)
#define JAEGER_CALLS_LOOK_MS (24 * 3600 * UINT64_C(1000))
#define JAEGER_ALL_KINDS     UINT32_MAX

/* ---- the envelope ---- */

static void envelope_begin(struct json_writer *writer, struct fm_buf *out)
{
    json_writer_init(writer, out);
    json_object_begin(writer);
    json_key(writer, "data");
}

static void envelope_end_data(struct json_writer *writer, uint64_t total)
{
    json_key(writer, "total");
    json_uint(writer, total);
    json_key(writer, "limit");
    json_uint(writer, 0);
    json_key(writer, "offset");
    json_uint(writer, 0);
    json_key(writer, "errors");
}

static void envelope_put_error(struct json_writer *writer, int code, const char *text,
                               const struct trace_id *id)
{
    json_object_begin(writer);
    json_key(writer, "code");
    json_int(writer, code);
    json_key(writer, "msg");
    json_text(writer, text);
    if (id) {
        json_key(writer, "traceID");
        json_hex(writer, fm_slice(id->bytes, sizeof id->bytes));
    }
    json_object_end(writer);
}

static void jaeger_refuse(struct ui *ui, int status, const char *text)
{
    struct json_writer writer;

    fm_buf_reset(&ui->answer);
    envelope_begin(&writer, &ui->answer);
    json_null(&writer);
    envelope_end_data(&writer, 0);
    json_array_begin(&writer);
    envelope_put_error(&writer, status, text, NULL);
    json_array_end(&writer);
    json_object_end(&writer);
    ui_answer(ui, status, UI_JSON, fm_buf_slice(&ui->answer));
}

static void envelope_end(struct json_writer *writer, uint64_t total)
{
    envelope_end_data(writer, total);
    json_null(writer);
    json_object_end(writer);
}

static void jaeger_answer(struct ui *ui)
{
    if (ui->answer.failed)
        ui_fail(ui, FM_ELIMIT, "the answer is larger than the limit");
    else
        ui_answer(ui, 200, UI_JSON, fm_buf_slice(&ui->answer));
}

/* ---- services, operations ---- */

static void answer_names(struct ui *ui)
{
    struct json_writer writer;

    envelope_begin(&writer, &ui->answer);
    json_array_begin(&writer);
    for (uint32_t i = 0; i < ui->name_count; i++)
        json_string(&writer, ui->names[i].text);
    json_array_end(&writer);
    envelope_end(&writer, ui->name_count);
    jaeger_answer(ui);
}

static void services_asked(struct ui *ui)
{
    if (ui_take_names(ui, 0))
        answer_names(ui);
}

static void jaeger_services(struct ui *ui, struct fm_slice wild)
{
    (void)wild;
    jaeger_ask_services(ui, services_asked);
}

static void jaeger_service_operations(struct ui *ui, struct fm_slice wild)
{
    ui->service = wild;
    ui->kind = JAEGER_ALL_KINDS;
    jaeger_ask_operations(ui, false, answer_names);
}

static void answer_operations(struct ui *ui)
{
    struct json_writer writer;

    envelope_begin(&writer, &ui->answer);
    json_array_begin(&writer);
    for (uint32_t i = 0; i < ui->name_count; i++) {
        const char *kind = view_kind_text(ui->names[i].kind);
        json_object_begin(&writer);
        json_key(&writer, "name");
        json_string(&writer, ui->names[i].text);
        json_key(&writer, "spanKind");
        json_text(&writer, kind ? kind : "");
        json_object_end(&writer);
    }
    json_array_end(&writer);
    envelope_end(&writer, ui->name_count);
    jaeger_answer(ui);
}

static void jaeger_operations(struct ui *ui, struct fm_slice wild)
{
    struct fm_slice kind;

    (void)wild;
    if (!ui_param(ui, "service", &ui->service)) {
        jaeger_refuse(ui, 400, "parameter 'service' is required");
        return;
    }
    if (!ui_param(ui, "spanKind", &kind)) {
        jaeger_ask_operations(ui, true, answer_operations);
        return;
    }
    if (view_kind_parse(kind, &ui->kind) != FM_OK)
        ui_refuse_format(ui, 400, "unable to parse param 'spanKind': unknown kind \"%.*s\"",
                         (int)FM_MIN(kind.len, 100), (const char *)kind.ptr);
    else
        jaeger_ask_operations(ui, false, answer_operations);
}

/* ---- traces by id ---- */

static void put_ids(struct ui *ui, struct json_writer *writer)
{
    json_object_begin(writer);
    json_key(writer, "data");
    json_array_begin(writer);
    for (uint32_t i = 0; i < ui->id_count; i++) {
        if (ui->ids[i].otlp.len)
            view_jaeger(fm_buf_slice(&ui->ids[i].otlp), writer);
    }
    json_array_end(writer);
    if (ui->found_count == ui->id_count) {
        envelope_end(writer, 0);
        return;
    }
    envelope_end_data(writer, 0);
    json_array_begin(writer);
    for (uint32_t i = 0; i < ui->id_count; i++) {
        if (!ui->ids[i].otlp.len)
            envelope_put_error(writer, 404, "trace not found", &ui->ids[i].id);
    }
    json_array_end(writer);
    json_object_end(writer);
}

static bool take_id(struct ui *ui, struct fm_slice text)
{
    struct trace_id id;
    struct fm_why why;

    if (trace_id_parse(text, &id, &why) == FM_OK)
        return ui_add_id(ui, &id);
    jaeger_refuse(ui, 400, why.text);
    return false;
}

static void jaeger_trace(struct ui *ui, struct fm_slice wild)
{
    if (take_id(ui, wild))
        ui_fetch(ui, put_ids);
}

/* ---- search ---- */

static void put_found(struct ui *ui, const struct query_found *found, struct json_writer *writer)
{
    json_object_begin(writer);
    json_key(writer, "data");
    json_array_begin(writer);
    (void)ui_put_each(ui, found, writer, view_jaeger);
    json_array_end(writer);
    envelope_end(writer, 0);
}

/* Times in microseconds; false: it was refused. */
static bool search_times(struct ui *ui, struct jaeger_search *search)
{
    uint64_t start_us = 0, end_us = 0;

    if (!ui_param_number(ui, "start", FM_NS_PER_US, &start_us) ||
        !ui_param_number(ui, "end", FM_NS_PER_US, &end_us))
        return false;
    search->end_ns = end_us ? end_us * FM_NS_PER_US : ui_now_ns(ui);
    search->start_ns = start_us                              ? start_us * FM_NS_PER_US
                       : search->end_ns > JAEGER_LOOKBACK_NS ? search->end_ns - JAEGER_LOOKBACK_NS
                                                             : 1;
    return true;
}

static bool search_duration(struct ui *ui, const char *name, uint64_t *ret_ns)
{
    struct fm_slice text;
    struct fm_why why;

    if (!ui_param(ui, name, &text) || jaeger_duration_parse(text, ret_ns, &why) == FM_OK)
        return true;
    ui_refuse_format(ui, 400, "unable to parse param '%s': %s", name, why.text);
    return false;
}

/* tag=key:value, which may be repeated, and tags={"key":"value"}. */
static bool search_tags(struct ui *ui, struct ui_filter *filter)
{
    struct fm_slice values[UI_VALUES_MAX];
    struct fm_why why;
    uint32_t count = ui_params(ui, "tag", values);

    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *colon = memchr(values[i].ptr, ':', values[i].len);
        if (!colon) {
            ui_refuse_format(ui, 400,
                             "malformed 'tag' parameter, expecting key:value, received: "
                             "%.*s",
                             (int)FM_MIN(values[i].len, 200), (const char *)values[i].ptr);
            return false;
        }
        size_t len = (size_t)(colon - values[i].ptr);
        ui_filter_tag(filter, fm_slice(values[i].ptr, len),
                      fm_slice(colon + 1, values[i].len - len - 1));
    }
    count = ui_params(ui, "tags", values);
    for (uint32_t i = 0; i < count; i++) {
        if (jaeger_filter_json(ui, filter, values[i], &why) < 0) {
            ui_refuse_format(ui, 400, "malformed 'tags' parameter, cannot unmarshal JSON: %s",
                             why.text);
            return false;
        }
    }
    return true;
}

static void search_by_ids(struct ui *ui, const struct fm_slice *texts, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!take_id(ui, texts[i]))
            return;
    }
    ui->may_find_nothing = true;
    ui_fetch(ui, put_ids);
}

static void jaeger_search(struct ui *ui, struct fm_slice wild)
{
    struct jaeger_search search = {.limit = JAEGER_LIMIT};
    struct fm_slice ids[UI_VALUES_MAX];
    uint32_t id_count = ui_params(ui, "traceID", ids);

    (void)wild;
    if (id_count) {
        search_by_ids(ui, ids, id_count);
        return;
    }
    if (!ui_param(ui, "service", &search.service)) {
        jaeger_refuse(ui, 400, "parameter 'service' is required");
        return;
    }
    (void)ui_param(ui, "operation", &search.operation);
    if (!search_times(ui, &search) || !ui_param_number(ui, "limit", 1, &search.limit) ||
        !search_duration(ui, "minDuration", &search.duration_min_ns) ||
        !search_duration(ui, "maxDuration", &search.duration_max_ns))
        return;
    if (search.duration_max_ns && search.duration_max_ns < search.duration_min_ns) {
        jaeger_refuse(ui, 400, "'maxDuration' should be greater than 'minDuration'");
        return;
    }
    struct ui_filter filter = ui_filter_begin(ui);
    jaeger_filter_search(&filter, &search);
    if (!search_tags(ui, &filter))
        return;
    ui_filter_end(&filter);
    ui_ask_traces(ui, search.start_ns, search.end_ns,
                  (uint32_t)FM_MIN(FM_MAX(search.limit, 1), UI_TRACES_MAX), put_found);
}

/* ---- dependencies ---- */

static void put_calls(struct ui *ui, const struct view_calls *calls, struct json_writer *writer)
{
    (void)ui;
    json_object_begin(writer);
    json_key(writer, "data");
    view_calls_jaeger(calls, writer);
    envelope_end(writer, 0);
}

static void jaeger_dependencies(struct ui *ui, struct fm_slice wild)
{
    uint64_t end_ms = ui_now_ns(ui) / FM_NS_PER_MS, lookback_ms = JAEGER_CALLS_LOOK_MS;

    (void)wild;
    if (ui_param_number(ui, "endTs", FM_NS_PER_MS, &end_ms) &&
        ui_param_number(ui, "lookback", FM_NS_PER_MS, &lookback_ms))
        ui_ask_calls(ui, end_ms * FM_NS_PER_MS, lookback_ms * FM_NS_PER_MS, false, put_calls);
}

/* ---- what there is not ---- */

static void jaeger_no_archive(struct ui *ui, struct fm_slice wild)
{
    (void)wild;
    jaeger_refuse(ui, 501, "archive span storage was not configured");
}

static void jaeger_no_metrics(struct ui *ui, struct fm_slice wild)
{
    (void)wild;
    jaeger_refuse(ui, 501, "metrics querying is currently disabled");
}

static void jaeger_none(struct ui *ui, struct fm_slice wild)
{
    (void)wild;
    jaeger_refuse(ui, 404, "no such endpoint");
}

static const struct ui_route jaeger_routes[] = {
    {"/api/services", jaeger_services, jaeger_refuse},
    {"/api/services/*/operations", jaeger_service_operations, jaeger_refuse},
    {"/api/operations", jaeger_operations, jaeger_refuse},
    {"/api/traces", jaeger_search, jaeger_refuse},
    {"/api/traces/*", jaeger_trace, jaeger_refuse},
    {"/api/dependencies", jaeger_dependencies, jaeger_refuse},
    {"/api/archive/*", jaeger_no_archive, jaeger_refuse},
    {"/api/metrics/*", jaeger_no_metrics, jaeger_refuse},
    {"/api/*", jaeger_none, jaeger_refuse},
};

void api_on_jaeger(void *self, struct net_request *request)
{
    struct api *api = self;
    const struct net_request_view *view = net_request_view(request);

    metric_add(&api->requests_total, 1);
    if (!host_may_read(view)) {
        api_answer_text(request, 403, "host not allowed\n");
        return;
    }
    if (api_is_zipkin_read(view)) {
        zipkin_begin(api, request);
        return;
    }
    if (fm_slice_equal_text(view->path, "/")) {
        api_answer_text(request, 200, "fermata: Jaeger's query API is below /api\n");
        return;
    }
    bool is_archive = view->path.len > 13 && memcmp(view->path.ptr, "/api/archive/", 13) == 0;
    if (!fm_slice_equal_text(view->method, "GET") && !fm_slice_equal_text(view->method, "HEAD") &&
        !is_archive) {
        api_answer_text(request, 405, "405 method not allowed");
        return;
    }
    if (!ui_begin(api, request, view->path, jaeger_v3_routes, jaeger_v3_route_count) &&
        !ui_begin(api, request, view->path, jaeger_routes, FM_COUNT(jaeger_routes)))
        api_answer_text(request, 404, "404 page not found\n");
}
