/* SPDX-License-Identifier: Apache-2.0 */
/* Jaeger's api_v3 over HTTP: services, operations, traces as OTLP/JSON, summaries of traces.
 *
 * Parameters have several spellings: those of the protocol's JSON (query.serviceName), those with
 * underscores, and those that the user interface has sent (query.span_name, query.num_traces). */
#include "jaeger.h"

#include "fermata/units.h"

#define V3_LIMIT 100

static void v3_refuse(struct ui *ui, int status, const char *text)
{
    struct json_writer writer;

    fm_buf_reset(&ui->answer);
    json_writer_init(&writer, &ui->answer);
    json_object_begin(&writer);
    json_key(&writer, "error");
    json_object_begin(&writer);
    json_key(&writer, "httpCode");
    json_int(&writer, status);
    json_key(&writer, "message");
    json_text(&writer, status == 404 ? "No traces found" : text);
    json_object_end(&writer);
    json_object_end(&writer);
    ui_answer(ui, status, UI_TEXT, fm_buf_slice(&ui->answer));
}

static void v3_answer(struct ui *ui)
{
    if (ui->answer.failed)
        ui_fail(ui, FM_ELIMIT, "the answer is larger than the limit");
    else
        ui_answer(ui, 200, UI_JSON, fm_buf_slice(&ui->answer));
}

/* ---- services, operations ---- */

static void services_asked(struct ui *ui)
{
    struct json_writer writer;

    if (!ui_take_names(ui, 0))
        return;
    json_writer_init(&writer, &ui->answer);
    json_object_begin(&writer);
    json_key(&writer, "services");
    json_array_begin(&writer);
    for (uint32_t i = 0; i < ui->name_count; i++)
        json_string(&writer, ui->names[i].text);
    json_array_end(&writer);
    json_object_end(&writer);
    v3_answer(ui);
}

static void v3_services(struct ui *ui, struct fm_slice wild)
{
    (void)wild;
    jaeger_ask_services(ui, services_asked);
}

/* Of an operation, kinds come in order: the unspecified, which is said to be internal, is first. */
static bool operation_is_internal(const struct ui *ui, uint32_t i)
{
    const char *kind = i < ui->name_count ? view_kind_text(ui->names[i].kind) : NULL;

    return kind && strcmp(kind, "internal") == 0 &&
           fm_slice_equal(ui->names[i].text, ui->names[i - 1].text);
}

static void answer_operations(struct ui *ui)
{
    struct json_writer writer;

    json_writer_init(&writer, &ui->answer);
    json_object_begin(&writer);
    json_key(&writer, "operations");
    json_array_begin(&writer);
    for (uint32_t i = 0; i < ui->name_count; i++) {
        const char *kind = view_kind_text(ui->names[i].kind);
        if (!kind && operation_is_internal(ui, i + 1))
            continue;
        json_object_begin(&writer);
        json_key(&writer, "name");
        json_string(&writer, ui->names[i].text);
        json_key(&writer, "spanKind");
        json_text(&writer, kind ? kind : "internal");
        json_object_end(&writer);
    }
    json_array_end(&writer);
    json_object_end(&writer);
    v3_answer(ui);
}

static void v3_operations(struct ui *ui, struct fm_slice wild)
{
    static const char *const kind_names[] = {"spanKind", "span_kind", NULL};
    struct fm_slice kind;

    (void)wild;
    if (!ui_param(ui, "service", &ui->service))
        v3_refuse(ui, 400, "malformed parameter service: it is required");
    else if (!ui_param_of(ui, kind_names, &kind))
        jaeger_ask_operations(ui, true, answer_operations);
    else if (view_kind_parse(kind, &ui->kind) != FM_OK)
        v3_refuse(ui, 400, "malformed parameter span_kind: unknown kind");
    else
        jaeger_ask_operations(ui, false, answer_operations);
}

/* ---- a trace by its id ---- */

static void put_ids(struct ui *ui, struct json_writer *writer)
{
    json_object_begin(writer);
    json_key(writer, "result");
    json_object_begin(writer);
    json_key(writer, "resourceSpans");
    json_array_begin(writer);
    for (uint32_t i = 0; i < ui->id_count; i++)
        view_otlp(fm_buf_slice(&ui->ids[i].otlp), writer);
    json_array_end(writer);
    json_object_end(writer);
    json_object_end(writer);
}

/* Hex, or 16 bytes in base64. */
static int trace_id_of(struct fm_slice text, struct trace_id *ret_id, struct fm_why *why)
{
    uint8_t bytes[24];
    size_t len;

    if (text.len >= 22 && text.len <= 24 &&
        (text.ptr[text.len - 1] == '=' || trace_id_parse(text, ret_id, why) < 0) &&
        fm_base64_decode(bytes, &len, text) == FM_OK && len == sizeof ret_id->bytes) {
        memcpy(ret_id->bytes, bytes, sizeof ret_id->bytes);
        return FM_OK;
    }
    return trace_id_parse(text, ret_id, why);
}

static void v3_trace(struct ui *ui, struct fm_slice wild)
{
    struct trace_id id;
    struct fm_why why;

    if (trace_id_of(wild, &id, &why) < 0)
        ui_refuse_format(ui, 400, "malformed parameter trace_id: %s", why.text);
    else if (ui_add_id(ui, &id))
        ui_fetch(ui, put_ids);
}

/* ---- search ---- */

static const char *const service_names[] = {"query.serviceName", "query.service_name", NULL};
static const char *const operation_names[] = {"query.operationName", "query.operation_name",
                                              "query.spanName", "query.span_name", NULL};
static const char *const start_names[] = {"query.startTimeMin", "query.start_time_min", NULL};
static const char *const end_names[] = {"query.startTimeMax", "query.start_time_max", NULL};
static const char *const min_names[] = {"query.durationMin", "query.duration_min", NULL};
static const char *const max_names[] = {"query.durationMax", "query.duration_max", NULL};
static const char *const limit_names[] = {"query.searchDepth", "query.search_depth",
                                          "query.numTraces", "query.num_traces", NULL};
static const char *const attribute_names[] = {"query.attributes", NULL};

static bool search_time(struct ui *ui, const char *const *names, uint64_t *ret_ns)
{
    struct fm_slice text;

    if (!ui_param_of(ui, names, &text)) {
        ui_refuse_format(ui, 400, "malformed parameter %s: it is required", names[1]);
        return false;
    }
    if (fm_rfc3339_parse(text, ret_ns) == FM_OK)
        return true;
    ui_refuse_format(ui, 400, "malformed parameter %s: cannot parse \"%.*s\" as RFC 3339", names[1],
                     (int)FM_MIN(text.len, 100), (const char *)text.ptr);
    return false;
}

static bool search_duration(struct ui *ui, const char *const *names, uint64_t *ret_ns)
{
    struct fm_slice text;
    struct fm_why why;

    if (!ui_param_of(ui, names, &text) || jaeger_duration_parse(text, ret_ns, &why) == FM_OK)
        return true;
    ui_refuse_format(ui, 400, "malformed parameter %s: %s", names[1], why.text);
    return false;
}

static bool search_read(struct ui *ui, struct jaeger_search *search)
{
    struct fm_slice limit;

    (void)ui_param_of(ui, service_names, &search->service);
    (void)ui_param_of(ui, operation_names, &search->operation);
    if (!search_time(ui, start_names, &search->start_ns) ||
        !search_time(ui, end_names, &search->end_ns) ||
        !search_duration(ui, min_names, &search->duration_min_ns) ||
        !search_duration(ui, max_names, &search->duration_max_ns))
        return false;
    if (search->start_ns >= search->end_ns) {
        v3_refuse(ui, 400,
                  "malformed parameter query.start_time_min: it is not before "
                  "query.start_time_max");
        return false;
    }
    if (ui_param_of(ui, limit_names, &limit) && fm_u64_parse(limit, &search->limit) < 0) {
        v3_refuse(ui, 400, "malformed parameter query.search_depth: it is no number");
        return false;
    }
    return true;
}

static void v3_search(struct ui *ui, void (*put)(struct ui *ui, const struct query_found *found,
                                                 struct json_writer *writer))
{
    struct jaeger_search search = {.limit = V3_LIMIT};
    struct fm_slice attributes;
    struct fm_why why;

    if (!search_read(ui, &search))
        return;
    struct ui_filter filter = ui_filter_begin(ui);
    jaeger_filter_search(&filter, &search);
    if (ui_param_of(ui, attribute_names, &attributes) &&
        jaeger_filter_json(ui, &filter, attributes, &why) < 0) {
        ui_refuse_format(ui, 400, "malformed parameter query.attributes: %s", why.text);
        return;
    }
    ui_filter_end(&filter);
    ui_ask_traces(ui, search.start_ns, search.end_ns,
                  (uint32_t)FM_MIN(FM_MAX(search.limit, 1), UI_TRACES_MAX), put);
}

static void put_traces(struct ui *ui, const struct query_found *found, struct json_writer *writer)
{
    ui->found_count = found->count;
    json_object_begin(writer);
    json_key(writer, "result");
    json_object_begin(writer);
    json_key(writer, "resourceSpans");
    json_array_begin(writer);
    (void)ui_put_each(ui, found, writer, view_otlp);
    json_array_end(writer);
    json_object_end(writer);
    json_object_end(writer);
}

static void traces_asked(struct ui *ui)
{
    if (!ui->found_count)
        v3_refuse(ui, 404, "");
    else
        ui_answer(ui, 200, UI_JSON, fm_buf_slice(&ui->ask.answer));
}

static void v3_traces(struct ui *ui, struct fm_slice wild)
{
    (void)wild;
    ui->asked = traces_asked;
    v3_search(ui, put_traces);
}

static void put_summaries(struct ui *ui, const struct query_found *found,
                          struct json_writer *writer)
{
    struct fm_arena scratch;
    struct fm_buf otlp;

    (void)ui;
    fm_arena_init(&scratch, UI_SCRATCH_MAX);
    fm_buf_init(&otlp, UI_OTLP_MAX);
    json_object_begin(writer);
    json_key(writer, "summaries");
    json_array_begin(writer);
    for (uint32_t i = 0; i < found->count && !writer->buf->failed; i++) {
        fm_buf_reset(&otlp);
        trace_put_otlp(found->wholes[i], &otlp);
        view_summary(fm_buf_slice(&otlp), &scratch, writer);
    }
    json_array_end(writer);
    json_object_end(writer);
    fm_buf_fini(&otlp);
    fm_arena_fini(&scratch);
}

static void v3_summaries(struct ui *ui, struct fm_slice wild)
{
    (void)wild;
    v3_search(ui, put_summaries);
}

const struct ui_route jaeger_v3_routes[] = {
    {"/api/v3/services", v3_services, v3_refuse},
    {"/api/v3/operations", v3_operations, v3_refuse},
    {"/api/v3/traces", v3_traces, v3_refuse},
    {"/api/v3/traces/*", v3_trace, v3_refuse},
    {"/api/v3/trace-summaries", v3_summaries, v3_refuse},
};
const size_t jaeger_v3_route_count = FM_COUNT(jaeger_v3_routes);
