/* SPDX-License-Identifier: Apache-2.0 */
/* The same questions over real rows: canonical OTLP to frames to answers. */
#include "ask.h"

#include "fermata/pb.h"

struct span {
    uint8_t trace, id, parent; /* last byte of the trace's id; first bytes of the spans' */
    const char *service, *name;
    uint32_t kind, status;
    uint64_t start_ms, duration_ms;
    int64_t http; /* 0: none */
    const char *event;
};
static const struct span spans[] = {
    {0x9c, 0xa0, 0, "front", "GET /cart", 2, 1, 1000, 250, 200, "ev1"},
    {0x9c, 0xb0, 0xa0, "front", "call cart", 3, 2, 1020, 180, 500, NULL},
    {0x9c, 0xc0, 0xb0, "cart", "POST /add", 2, 2, 1030, 160, 500, "ev2"},
    {0x9c, 0xd0, 0xc0, "cart", "query", 3, 0, 1040, 110, 0, NULL},
    {0x9c, 0xe0, 0xc0, "cart", "render", 1, 0, 1160, 10, 0, NULL},
    {0xef, 0x10, 0, "batch", "tick", 1, 0, 9000, 1, 0, NULL},
};

static void put_attribute(struct fm_buf *otlp, uint32_t number, const char *key, const char *text,
                          int64_t integer)
{
    size_t pair = pb_begin(otlp, number);
    pb_put_text(otlp, 1, key);
    size_t value = pb_begin(otlp, 2);
    if (text)
        pb_put_text(otlp, 1, text);
    else
        pb_put_u64(otlp, 3, (uint64_t)integer);
    pb_end(otlp, value);
    pb_end(otlp, pair);
}

static void put_span(struct fm_buf *otlp, const struct span *span)
{
    uint8_t trace[16] = {[15] = span->trace}, id[8] = {span->id}, parent[8] = {span->parent};
    size_t resource_spans = pb_begin(otlp, 1);
    size_t resource = pb_begin(otlp, 1);
    put_attribute(otlp, 1, "service.name", span->service, 0);
    pb_end(otlp, resource);
    size_t scope_spans = pb_begin(otlp, 2);
    size_t body = pb_begin(otlp, 2);
    pb_put_bytes(otlp, 1, fm_slice(trace, 16));
    pb_put_bytes(otlp, 2, fm_slice(id, 8));
    if (span->parent)
        pb_put_bytes(otlp, 4, fm_slice(parent, 8));
    pb_put_text(otlp, 5, span->name);
    pb_put_u64(otlp, 6, span->kind);
    pb_put_fixed64(otlp, 7, span->start_ms * 1000000);
    pb_put_fixed64(otlp, 8, (span->start_ms + span->duration_ms) * 1000000);
    if (span->http)
        put_attribute(otlp, 9, "http.status_code", NULL, span->http);
    if (span->event) {
        size_t event = pb_begin(otlp, 11);
        pb_put_fixed64(otlp, 1, (span->start_ms + 5) * 1000000);
        pb_put_text(otlp, 2, span->event);
        pb_end(otlp, event);
    }
    size_t status = pb_begin(otlp, 15);
    pb_put_u64(otlp, 3, span->status);
    pb_end(otlp, status);
    pb_end(otlp, body);
    pb_end(otlp, scope_spans);
    pb_end(otlp, resource_spans);
}

static int letter_order(const void *a, const void *b)
{
    return *(const char *)a - *(const char *)b;
}

static void put_set(struct fm_buf *text, struct eval_run *run, const struct eval_set *set)
{
    static const struct traceql_field id = {.intrinsic = TRACEQL_SPAN_ID};
    char letters[16];
    fm_buf_puts(text, text->len ? " " : "");
    for (uint32_t i = 0; i < set->span_count; i++) {
        struct traceql_value value;
        assert_ok(eval_run_value(run, &id, set->spans[i], &value, NULL));
        letters[i] = (char)value.text.ptr[0];
    }
    qsort(letters, set->span_count, 1, letter_order);
    fm_buf_put(text, letters, set->span_count);
}

static void expect(const struct frame_rows *rows, const char *query, const char *expected)
{
    static const struct traceql_field id = {.intrinsic = TRACEQL_SPAN_ID};
    FM_AUTO(frame_source) source = NULL;
    FM_AUTO(eval_run) run = NULL;
    const struct frame *frame;
    const uint8_t *mask;
    struct fm_buf text;
    struct ask ask;
    uint32_t index;
    int rc;
    fm_buf_init(&text, 4096);
    assert_ok(ask_plan(&ask, query));
    assert_ok(eval_plan_want(ask.plan, &id, &index));
    ask.request.fields = eval_plan_fields(ask.plan, &ask.request.field_count);
    ask.request.end_ns = UINT64_MAX;
    assert_ok(frame_rows_source(rows, &ask.request, &source));
    assert_ok(eval_run_new(&run, ask.plan, source, &ask_limits));
    while ((rc = eval_run_next(run, &frame, &mask, &ask.why)) == FM_OK) {
        const struct eval_set *sets;
        uint32_t count;
        assert_ok(eval_run_sets(run, &sets, &count, &ask.why));
        for (uint32_t s = 0; s < count; s++)
            put_set(&text, run, &sets[s]);
    }
    assert_int_equal(rc, FM_END);
    fm_buf_put_u8(&text, 0);
    if (strcmp((const char *)text.ptr, expected) != 0)
        fail_msg("%s: expected %s, got %s", query, expected, text.ptr);
    run = eval_run_free(run);
    ask_end(&ask);
    fm_buf_fini(&text);
}

static struct frame_rows *new_rows(void)
{
    struct frame_rows *rows;
    struct fm_buf otlp;
    struct fm_why why;
    fm_buf_init(&otlp, FM_KIB(64));
    for (size_t i = FM_COUNT(spans); i-- > 0;)
        put_span(&otlp, &spans[i]);
    assert_false(otlp.failed);
    assert_ok(frame_rows_new(&rows, FM_MIB(16)));
    assert_ok(frame_rows_add(rows, fm_buf_slice(&otlp), NULL, NULL, &why));
    assert_ok(frame_rows_finish(rows));
    fm_buf_fini(&otlp);
    return rows;
}

static void test_questions_over_rows(void **state)
{
    static const struct ask_case cases[] = {
        {"{}", "abcde 1"},
        {"{status=error} >> {kind=client}", "d"},
        {"{kind=client} > {}", "c"},
        {"{name=\"render\"} << {}", "abc"},
        {"{name=\"render\"} ~ {}", "d"},
        {"{name=\"render\"} !~ {}", "abce 1"},
        {"{name=\"call cart\"} &> {}", "bc"},
        {"{status=error} && {kind=internal}", "bce"},
        {"{status=error} | count() > 1", "bc"},
        {"{ duration > 150ms && name =~ \"[cP].*\" }", "bc"},
        {"{ span.http.status_code >= 500 }", "bc"},
        {"{ .http.status_code = nil }", "de 1"},
        {"{ .service.name = \"cart\" && kind != client }", "ce"},
        {"{ event:name = \"ev2\" || rootName = \"tick\" }", "c 1"},
        {"{ trace:id = \"ef\" }", "1"},
        {"{ span:childCount = 2 }", "c"},
        {"{ nestedSetParent < 0 }", "a 1"},
        {"{ traceDuration > 100ms } | sum(duration) = 710ms", "abcde"},
    };
    FM_AUTO(frame_rows) rows = new_rows();
    (void)state;
    for (size_t i = 0; i < FM_COUNT(cases); i++)
        expect(rows, cases[i].query, cases[i].expected);
}

static void test_search_over_rows(void **state)
{
    struct eval_search_options options = {20, 3};
    FM_AUTO(frame_rows) rows = new_rows();
    FM_AUTO(eval_search) search = NULL;
    FM_AUTO(frame_source) source = NULL;
    struct ask ask;
    uint32_t count;
    (void)state;
    assert_ok(ask_plan(&ask, "{}"));
    assert_ok(eval_search_new(&search, ask.plan, &ask_limits, &options));
    ask.request.fields = eval_plan_fields(ask.plan, &ask.request.field_count);
    ask.request.end_ns = UINT64_MAX;
    assert_ok(frame_rows_source(rows, &ask.request, &source));
    assert_ok(eval_search_add(search, source, &ask.why));
    const struct eval_trace *traces = eval_search_traces(search, &count);
    assert_int_equal(count, 2);
    assert_int_equal(traces[0].id.bytes[15], 0xef);
    assert_int_equal(traces[1].start_ns, 1000 * 1000000);
    assert_int_equal(traces[1].duration_ns, 250 * 1000000);
    assert_true(fm_slice_equal_text(traces[1].root_name, "GET /cart"));
    assert_true(fm_slice_equal_text(traces[1].root_service, "front"));
    assert_int_equal(traces[1].sets[0].matched, 5);
    assert_int_equal(traces[1].sets[0].span_count, 3);
    assert_int_equal(traces[1].service_count, 2);
    assert_int_equal(traces[1].services[0].span_count, 3);
    assert_int_equal(traces[1].services[0].error_count, 1);
    source = frame_source_free(source);
    ask_end(&ask);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_questions_over_rows),
        cmocka_unit_test(test_search_over_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
