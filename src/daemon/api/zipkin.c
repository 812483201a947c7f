/* SPDX-License-Identifier: Apache-2.0 */
/* Zipkin's query API, version 2, below /api/v2 and, as its user interface Lens asks,
 * /zipkin/api/v2. Failures are plain text. */
#include "zipkin.h"

#include "fermata/api_ui.h"
#include "fermata/units.h"
#include "host.h"
#include "ui.h"

#define ZIPKIN_LIMIT       10
#define ZIPKIN_LOOKBACK_MS (24 * 3600 * UINT64_C(1000))

static void zipkin_refuse(struct ui *ui, int status, const char *text)
{
    ui_answer(ui, status, UI_TEXT, fm_slice_text(text));
}

static void zipkin_answer(struct ui *ui)
{
    if (ui->answer.failed)
        ui_fail(ui, FM_ELIMIT, "the answer is larger than the limit");
    else
        ui_answer(ui, 200, UI_JSON, fm_buf_slice(&ui->answer));
}

/* ---- lists of names ---- */

static void answer_names(struct ui *ui)
{
    struct json_writer writer;

    json_writer_init(&writer, &ui->answer);
    json_array_begin(&writer);
    for (uint32_t i = 0; i < ui->name_count; i++)
        json_string(&writer, ui->names[i].text);
    json_array_end(&writer);
    zipkin_answer(ui);
}

static void names_asked(struct ui *ui)
{
    if (ui_take_names(ui, 0))
        answer_names(ui);
}

static void zipkin_services(struct ui *ui, struct fm_slice wild)
{
    const struct traceql_field field = {.scope = TRACEQL_RESOURCE,
                                        .name = FM_SLICE("service.name")};

    (void)wild;
    fm_buf_reset(&ui->text);
    ui_ask_values(ui, &field, names_asked);
}

static void zipkin_spans(struct ui *ui, struct fm_slice wild)
{
    const struct traceql_field field = {.intrinsic = TRACEQL_NAME};

    (void)wild;
    if (!ui_param(ui, "serviceName", &ui->service)) {
        answer_names(ui);
        return;
    }
    struct ui_filter filter = ui_filter_begin(ui);
    ui_filter_service_any_case(&filter, ui->service);
    ui_filter_end(&filter);
    ui_ask_values(ui, &field, names_asked);
}

static void remote_asked(struct ui *ui);

/* One question for each attribute that may name the other side. */
static void remote_ask(struct ui *ui)
{
    uint32_t count;
    const struct fm_slice *keys = view_remote_keys(&count);
    const struct traceql_field field = {.scope = TRACEQL_SPAN, .name = keys[ui->step]};
    struct ui_filter filter = ui_filter_begin(ui);

    ui_filter_service_any_case(&filter, ui->service);
    if (ui->step) /* all but the first say so on the caller's side only */
        ui_filter_callers(&filter);
    ui_filter_end(&filter);
    ui_ask_values(ui, &field, remote_asked);
}

static void remote_asked(struct ui *ui)
{
    uint32_t count;

    (void)view_remote_keys(&count);
    if (!ui_take_names(ui, 0))
        return;
    if (++ui->step < count)
        remote_ask(ui);
    else
        answer_names(ui);
}

static void zipkin_remote_services(struct ui *ui, struct fm_slice wild)
{
    (void)wild;
    if (ui_param(ui, "serviceName", &ui->service))
        remote_ask(ui);
    else
        answer_names(ui);
}

/* Any attribute of a resource may be completed; of those there are few. */
static void zipkin_autocomplete_keys(struct ui *ui, struct fm_slice wild)
{
    (void)wild;
    fm_buf_reset(&ui->text);
    ui_ask_names(ui, "resource", names_asked);
}

static void zipkin_autocomplete_values(struct ui *ui, struct fm_slice wild)
{
    struct traceql_field field = {.scope = TRACEQL_RESOURCE};

    (void)wild;
    if (!ui_param(ui, "key", &field.name)) {
        zipkin_refuse(ui, 400, "key is required");
        return;
    }
    fm_buf_reset(&ui->text);
    ui_ask_values(ui, &field, names_asked);
}

/* ---- traces by id ---- */

static void put_one(struct ui *ui, struct json_writer *writer)
{
    view_zipkin(fm_buf_slice(&ui->ids[0].otlp), writer);
}

static void put_many(struct ui *ui, struct json_writer *writer)
{
    json_array_begin(writer);
    for (uint32_t i = 0; i < ui->id_count; i++) {
        if (ui->ids[i].otlp.len)
            view_zipkin(fm_buf_slice(&ui->ids[i].otlp), writer);
    }
    json_array_end(writer);
}

static bool take_id(struct ui *ui, struct fm_slice text)
{
    struct trace_id id;
    struct fm_why why;

    if (trace_id_parse(text, &id, &why) == FM_OK)
        return ui_add_id(ui, &id);
    ui_refuse_format(ui, 400, "%.*s should be a 1 to 32 character lower-hex string with no prefix",
                     (int)FM_MIN(text.len, 100), (const char *)text.ptr);
    return false;
}

static void zipkin_trace(struct ui *ui, struct fm_slice wild)
{
    if (!take_id(ui, wild))
        return;
    ui->nothing_text = "ID not found";
    ui_fetch(ui, put_one);
}

static bool id_is_new(struct ui *ui)
{
    for (uint32_t i = 0; i + 1 < ui->id_count; i++) {
        if (!trace_id_equal(&ui->ids[i].id, &ui->ids[ui->id_count - 1].id))
            continue;
        char text[33];
        trace_id_print(&ui->ids[i].id, text);
        ui_refuse_format(ui, 400, "redundant traceId: %s", text);
        return false;
    }
    return true;
}

static void zipkin_trace_many(struct ui *ui, struct fm_slice wild)
{
    struct fm_slice rest;

    (void)wild;
    if (!ui_param(ui, "traceIds", &rest)) {
        zipkin_refuse(ui, 400, "traceIds parameter is empty");
        return;
    }
    while (rest.len) {
        const uint8_t *comma = memchr(rest.ptr, ',', rest.len);
        size_t len = comma ? (size_t)(comma - rest.ptr) : rest.len;
        if (!take_id(ui, fm_slice(rest.ptr, len)) || !id_is_new(ui))
            return;
        len += comma != NULL;
        rest = fm_slice(rest.ptr + len, rest.len - len);
    }
    if (ui->id_count == 1) {
        zipkin_refuse(ui, 400, "Use /api/v2/trace/{traceId} endpoint to retrieve a single trace");
        return;
    }
    ui->may_find_nothing = true;
    ui_fetch(ui, put_many);
}

/* ---- search ---- */

static void put_found(struct ui *ui, const struct query_found *found, struct json_writer *writer)
{
    json_array_begin(writer);
    (void)ui_put_each(ui, found, writer, view_zipkin);
    json_array_end(writer);
}

static struct fm_slice trim(struct fm_slice text)
{
    while (text.len && text.ptr[0] == ' ')
        text = fm_slice(text.ptr + 1, text.len - 1);
    while (text.len && text.ptr[text.len - 1] == ' ')
        text.len--;
    return text;
}

/* "error and http.method=GET": terms joined by " and ". */
static void filter_annotations(struct ui_filter *filter, struct fm_slice query)
{
    while (query.len) {
        const uint8_t *end = memmem(query.ptr, query.len, " and ", 5);
        size_t len = end ? (size_t)(end - query.ptr) : query.len;
        struct fm_slice term = trim(fm_slice(query.ptr, len));
        const uint8_t *equals = term.len ? memchr(term.ptr, '=', term.len) : NULL;
        if (equals && equals > term.ptr) {
            size_t key_len = (size_t)(equals - term.ptr);
            ui_filter_tag(filter, trim(fm_slice(term.ptr, key_len)),
                          trim(fm_slice(equals + 1, term.len - key_len - 1)));
        } else if (term.len) {
            ui_filter_word(filter, term);
        }
        len += end ? 5 : 0;
        query = fm_slice(query.ptr + len, query.len - len);
    }
}

static void filter_names(struct ui *ui, struct ui_filter *filter)
{
    struct fm_slice value;

    if (ui_param(ui, "serviceName", &value) && !fm_slice_equal_nocase(value, "all"))
        ui_filter_service_any_case(filter, value);
    if (ui_param(ui, "remoteServiceName", &value) && !fm_slice_equal_nocase(value, "all"))
        ui_filter_remote(filter, value);
    if (ui_param(ui, "spanName", &value) && !fm_slice_equal_nocase(value, "all"))
        ui_filter_name_any_case(filter, value);
    if (ui_param(ui, "annotationQuery", &value))
        filter_annotations(filter, value);
}

/* Milliseconds; false: it was refused. */
static bool window_read(struct ui *ui, uint64_t *ret_start_ns, uint64_t *ret_end_ns)
{
    uint64_t end_ms = ui_now_ns(ui) / FM_NS_PER_MS, lookback_ms = ZIPKIN_LOOKBACK_MS;

    if (!ui_param_number(ui, "endTs", FM_NS_PER_MS, &end_ms) ||
        !ui_param_number(ui, "lookback", FM_NS_PER_MS, &lookback_ms))
        return false;
    if (!end_ms || !lookback_ms) {
        zipkin_refuse(ui, 400, end_ms ? "lookback <= 0" : "endTs <= 0");
        return false;
    }
    *ret_end_ns = end_ms * FM_NS_PER_MS + FM_NS_PER_MS - 1; /* the whole of that millisecond */
    *ret_start_ns = end_ms > lookback_ms ? *ret_end_ns - lookback_ms * FM_NS_PER_MS : 1;
    return true;
}

static void zipkin_search(struct ui *ui, struct fm_slice wild)
{
    uint64_t limit = ZIPKIN_LIMIT, min_us = 0, max_us = 0, start_ns, end_ns;

    (void)wild;
    if (!ui_param_number(ui, "limit", 1, &limit) ||
        !ui_param_number(ui, "minDuration", FM_NS_PER_US, &min_us) ||
        !ui_param_number(ui, "maxDuration", FM_NS_PER_US, &max_us) ||
        !window_read(ui, &start_ns, &end_ns))
        return;
    if (!limit || (max_us && max_us < min_us)) {
        zipkin_refuse(ui, 400, limit ? "maxDuration < minDuration" : "limit <= 0");
        return;
    }
    struct ui_filter filter = ui_filter_begin(ui);
    filter_names(ui, &filter);
    if (min_us)
        ui_filter_duration(&filter, ">=", min_us * FM_NS_PER_US);
    if (max_us) /* durations are shown in whole microseconds */
        ui_filter_duration(&filter, "<", max_us * FM_NS_PER_US + FM_NS_PER_US);
    ui_filter_end(&filter);
    ui_ask_traces(ui, start_ns, end_ns, (uint32_t)FM_MIN(limit, UI_TRACES_MAX), put_found);
}

/* ---- dependencies ---- */

static void put_calls(struct ui *ui, const struct view_calls *calls, struct json_writer *writer)
{
    (void)ui;
    view_calls_zipkin(calls, writer);
}

static void zipkin_dependencies(struct ui *ui, struct fm_slice wild)
{
    struct fm_slice end;
    uint64_t start_ns, end_ns;

    (void)wild;
    if (!ui_param(ui, "endTs", &end))
        zipkin_refuse(ui, 400, "endTs is required");
    else if (window_read(ui, &start_ns, &end_ns))
        ui_ask_calls(ui, end_ns, end_ns - start_ns, true, put_calls);
}

/* ---- for Lens ---- */

static void zipkin_config(struct ui *ui, struct fm_slice wild)
{
    (void)wild;
    ui_answer(ui, 200, UI_JSON,
              FM_SLICE("{\"environment\":\"\",\"queryLimit\":10,\"defaultLookback\":900000,"
                       "\"searchEnabled\":true,\"logsUrl\":null,\"supportUrl\":null,"
                       "\"archivePostUrl\":null,\"archiveUrl\":null,\"dependency\":"
                       "{\"enabled\":true,\"lowErrorRate\":0.5,\"highErrorRate\":0.75}}"));
}

static const struct ui_route zipkin_routes[] = {
    {"/api/v2/services", zipkin_services, zipkin_refuse},
    {"/api/v2/spans", zipkin_spans, zipkin_refuse},
    {"/api/v2/remoteServices", zipkin_remote_services, zipkin_refuse},
    {"/api/v2/traces", zipkin_search, zipkin_refuse},
    {"/api/v2/trace/*", zipkin_trace, zipkin_refuse},
    {"/api/v2/traceMany", zipkin_trace_many, zipkin_refuse},
    {"/api/v2/dependencies", zipkin_dependencies, zipkin_refuse},
    {"/api/v2/autocompleteKeys", zipkin_autocomplete_keys, zipkin_refuse},
    {"/api/v2/autocompleteValues", zipkin_autocomplete_values, zipkin_refuse},
    {"/config.json", zipkin_config, zipkin_refuse},
};

/* The path without /zipkin in front. */
static struct fm_slice zipkin_path(struct fm_slice path)
{
    static const char prefix[] = "/zipkin/";
    size_t len = sizeof prefix - 2;

    if (path.len > len && memcmp(path.ptr, prefix, len + 1) == 0)
        return fm_slice(path.ptr + len, path.len - len);
    return path;
}

bool api_is_zipkin_read(const struct net_request_view *view)
{
    struct fm_slice path = zipkin_path(view->path);
    bool is_get =
        fm_slice_equal_text(view->method, "GET") || fm_slice_equal_text(view->method, "HEAD");
    bool is_below = path.len > 8 && memcmp(path.ptr, "/api/v2/", 8) == 0;

    return is_get && (is_below || path.ptr != view->path.ptr);
}

void zipkin_begin(struct api *api, struct net_request *request)
{
    struct fm_slice path = zipkin_path(net_request_view(request)->path);

    if (!ui_begin(api, request, path, zipkin_routes, FM_COUNT(zipkin_routes)))
        api_answer_text(request, 404, "404 page not found\n");
}

void api_on_zipkin(void *self, struct net_request *request)
{
    struct api *api = self;
    const struct net_request_view *view = net_request_view(request);

    metric_add(&api->requests_total, 1);
    if (!host_may_read(view)) {
        api_answer_text(request, 403, "host not allowed\n");
        return;
    }
    /* The port is for those who report; that somebody opened it to them says nothing of readers. */
    if (!view->is_loopback && view->identity->kind == NET_ANONYMOUS) {
        api_answer_text(request, 403, "reading from other hosts needs an identity here\n");
        return;
    }
    zipkin_begin(api, request);
}
