/* SPDX-License-Identifier: Apache-2.0 */
/* What Jaeger's and Zipkin's interfaces ask, as TraceQL: nothing that a user typed gets out of the
 * literal it stands in, and every text is one that the language takes. */
#include "../../../src/daemon/api/ui.h"
#include "../../support/test.h"

#include "fermata/traceql.h"

static void begin(struct ui *ui, struct ui_filter *filter)
{
    *ui = (struct ui){0};
    fm_buf_init(&ui->text, FM_MIB(1));
    *filter = ui_filter_begin(ui);
}

static void expect(struct ui *ui, struct ui_filter *filter, const char *text)
{
    struct traceql_query *query;
    struct fm_arena arena;
    struct fm_why why = {{0}};

    ui_filter_end(filter);
    assert_false(ui->text.failed);
    fm_arena_init(&arena, FM_MIB(1));
    int rc = traceql_parse(fm_buf_slice(&ui->text), &arena, &query, &why);
    if (rc == FM_OK)
        rc = traceql_check(query, &why);
    fm_arena_fini(&arena);
    fm_buf_put_u8(&ui->text, 0);
    if (rc != FM_OK)
        fail_msg("%s: %s", (const char *)ui->text.ptr, why.text);
    if (text)
        assert_string_equal((const char *)ui->text.ptr, text);
    fm_buf_fini(&ui->text);
}

static void test_terms_are_joined(void **state)
{
    struct ui_filter filter;
    struct ui ui;
    (void)state;
    begin(&ui, &filter);
    expect(&ui, &filter, "{  }");
    begin(&ui, &filter);
    ui_filter_service(&filter, FM_SLICE("shop"));
    ui_filter_name(&filter, FM_SLICE("GET /"));
    ui_filter_kind(&filter, 2);
    ui_filter_duration(&filter, ">=", 1500000);
    expect(&ui, &filter,
           "{ resource.service.name = \"shop\" && name = \"GET /\" && kind = server && "
           "duration >= 1500000ns }");
    begin(&ui, &filter);
    ui_filter_kind(&filter, 0);
    ui_filter_callers(&filter);
    expect(&ui, &filter, "{ kind = unspecified && (kind = client || kind = producer) }");
}

static void test_tags_of_any_type(void **state)
{
    static const char *const values[] = {
        "200", "-1", "0.5", "true", "false", "x", "1e3", "1.", "123456789012345678901", ""};
    struct ui_filter filter;
    struct ui ui;
    (void)state;
    for (size_t i = 0; i < FM_COUNT(values); i++) {
        begin(&ui, &filter);
        ui_filter_tag(&filter, FM_SLICE("a"), fm_slice_text(values[i]));
        expect(&ui, &filter, NULL);
    }
    begin(&ui, &filter);
    ui_filter_tag(&filter, FM_SLICE("http.status_code"), FM_SLICE("200"));
    expect(&ui, &filter,
           "{ (.\"http.status_code\" = \"200\" || .\"http.status_code\" = 200 || "
           "event.\"http.status_code\" = \"200\" || event.\"http.status_code\" = 200) }");
}

static void test_known_tags(void **state)
{
    static const char *const tags[][2] = {
        {"error", "true"},       {"error", "boom"},          {"otel.status_code", "ERROR"},
        {"span.kind", "server"}, {"otel.scope.name", "lib"}, {"otel.scope.version", "1"},
        {"event", "x"},          {"span.kind", "unknown"},   {"otel.status_description", "a\nb"},
    };
    struct ui_filter filter;
    struct ui ui;
    (void)state;
    for (size_t i = 0; i < FM_COUNT(tags); i++) {
        begin(&ui, &filter);
        ui_filter_tag(&filter, fm_slice_text(tags[i][0]), fm_slice_text(tags[i][1]));
        expect(&ui, &filter, NULL);
    }
    begin(&ui, &filter);
    ui_filter_word(&filter, FM_SLICE("error"));
    expect(&ui, &filter, "{ (event:name = \"error\" || .\"error\" != nil || status = error) }");
}

static void test_names_in_any_case(void **state)
{
    struct ui_filter filter;
    struct ui ui;
    (void)state;
    begin(&ui, &filter);
    ui_filter_service_any_case(&filter, FM_SLICE("a.b"));
    ui_filter_name_any_case(&filter, FM_SLICE("1-2"));
    expect(&ui, &filter, "{ resource.service.name =~ \"(?i)a\\\\.b\" && name = \"1-2\" }");
    begin(&ui, &filter);
    ui_filter_remote(&filter, FM_SLICE("db"));
    expect(&ui, &filter, NULL);
}

/* Each byte in each place. */
static void test_nothing_gets_out(void **state)
{
    (void)state;
    for (unsigned byte = 1; byte < 0x80; byte++) {
        struct fm_slice text = fm_slice((uint8_t[]){'a', (uint8_t)byte, '"'}, 3);
        struct ui_filter filter;
        struct ui ui;
        begin(&ui, &filter);
        ui_filter_service(&filter, text);
        ui_filter_service_any_case(&filter, text);
        ui_filter_name_any_case(&filter, text);
        ui_filter_tag(&filter, text, text);
        ui_filter_word(&filter, text);
        expect(&ui, &filter, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_terms_are_joined), cmocka_unit_test(test_tags_of_any_type),
        cmocka_unit_test(test_known_tags),       cmocka_unit_test(test_names_in_any_case),
        cmocka_unit_test(test_nothing_gets_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
