/* SPDX-License-Identifier: Apache-2.0 */
/* What both forms of Jaeger's query API ask. */
#include "jaeger.h"

#include "fermata/json.h"
#include "go_text.h"

#define JAEGER_KINDS 6u /* of OTLP, the unspecified included */

int jaeger_duration_parse(struct fm_slice text, uint64_t *ret_ns, struct fm_why *why)
{
    int64_t ns;
    int rc = go_duration_parse(text, &ns, why);

    if (rc < 0)
        return rc;
    if (ns < 0)
        return fm_fail(why, FM_EMALFORMED, "a negative duration");
    *ret_ns = (uint64_t)ns;
    return FM_OK;
}

void jaeger_filter_search(struct ui_filter *filter, const struct jaeger_search *search)
{
    if (search->service.len)
        ui_filter_service(filter, search->service);
    if (search->operation.len)
        ui_filter_name(filter, search->operation);
    if (search->duration_min_ns)
        ui_filter_duration(filter, ">=", search->duration_min_ns);
    if (search->duration_max_ns)
        ui_filter_duration(filter, "<=", search->duration_max_ns);
}

int jaeger_filter_json(struct ui *ui, struct ui_filter *filter, struct fm_slice json,
                       struct fm_why *why)
{
    struct json_reader reader;
    struct json_token key, value;

    json_reader_init(&reader, json, &ui->arena);
    int rc = json_next(&reader, &key);
    if (rc != FM_OK || key.kind != JSON_OBJECT_BEGIN)
        return fm_fail(why, FM_EMALFORMED, "expecting a JSON object of texts");
    while ((rc = json_next(&reader, &key)) == FM_OK && key.kind == JSON_KEY) {
        rc = json_next(&reader, &value);
        if (rc == FM_OK && value.kind != JSON_STRING)
            return fm_fail(why, FM_EMALFORMED, "the value of \"%.*s\" is no text",
                           (int)FM_MIN(key.text.len, 100), (const char *)key.text.ptr);
        if (rc < 0)
            break;
        ui_filter_tag(filter, key.text, value.text);
    }
    if (rc == FM_OK)
        rc = json_next(&reader, &key);
    return rc == FM_END ? FM_OK
                        : fm_fail(why, FM_EMALFORMED, "%s",
                                  reader.error ? reader.error : "not a JSON object");
}

void jaeger_ask_services(struct ui *ui, void (*asked)(struct ui *ui))
{
    const struct traceql_field field = {.scope = TRACEQL_RESOURCE,
                                        .name = FM_SLICE("service.name")};

    fm_buf_reset(&ui->text);
    ui_ask_values(ui, &field, asked);
}

static void operations_asked(struct ui *ui);

static void operations_ask(struct ui *ui)
{
    const struct traceql_field field = {.intrinsic = TRACEQL_NAME};
    struct ui_filter filter = ui_filter_begin(ui);

    ui_filter_service(&filter, ui->service);
    if (ui->kind < JAEGER_KINDS)
        ui_filter_kind(&filter, ui->kind);
    ui_filter_end(&filter);
    ui_ask_values(ui, &field, operations_asked);
}

static void operations_asked(struct ui *ui)
{
    if (!ui_take_names(ui, ui->kind))
        return;
    if (ui->step && --ui->step) {
        ui->kind++;
        operations_ask(ui);
        return;
    }
    ui->operations_asked(ui);
}

void jaeger_ask_operations(struct ui *ui, bool with_kinds, void (*asked)(struct ui *ui))
{
    ui->operations_asked = asked;
    ui->step = with_kinds ? JAEGER_KINDS : 0;
    if (with_kinds)
        ui->kind = 0;
    operations_ask(ui);
}
