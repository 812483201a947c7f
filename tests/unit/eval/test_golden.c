/* SPDX-License-Identifier: Apache-2.0 */
/* The searches that Tempo 3.0.3 was asked over thirty traces, and what it answered: the same over
 * rows.  tests/golden/eval/README.md says what is in the files. */
#include "ask.h"

#include "fermata/units.h"

struct golden {
    struct frame_rows *rows;
    struct fm_buf answers;
    const char *at; /* the next line */
};

static int golden_order(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Lines or parts, sorted and joined. */
static char *golden_sorted(char **parts, size_t count, const char *between)
{
    struct fm_buf text;
    fm_buf_init(&text, FM_MIB(1));
    qsort(parts, count, sizeof *parts, golden_order);
    for (size_t i = 0; i < count; i++) {
        fm_buf_puts(&text, i ? between : "");
        fm_buf_puts(&text, parts[i]);
        free(parts[i]);
    }
    fm_buf_put_u8(&text, 0);
    return (char *)text.ptr;
}

static char *golden_string(struct fm_buf *text)
{
    fm_buf_put_u8(text, 0);
    return (char *)text->ptr;
}

static void golden_put_label(struct fm_buf *text, const struct eval_label *label)
{
    fm_buf_puts(text, " ");
    fm_buf_put_slice(text, label->name);
    fm_buf_puts(text, "=");
    if (label->value.type != TRACEQL_DURATION) {
        ask_put_value(text, &label->value);
        return;
    }
    fm_buf_printf(text, "%.6f", (double)label->value.integer / 1e6);
    while (text->ptr[text->len - 1] == '0')
        text->len--;
    if (text->ptr[text->len - 1] == '.')
        text->len--;
    fm_buf_puts(text, "ms");
}

static char *golden_set(const struct eval_spanset *set)
{
    char *ids[100];
    struct fm_buf text;
    fm_buf_init(&text, FM_MIB(1));
    fm_buf_printf(&text, "%u", set->matched);
    for (uint32_t i = 0; i < set->label_count; i++)
        golden_put_label(&text, &set->labels[i]);
    for (uint32_t i = 0; i < set->span_count; i++) {
        ids[i] = calloc(1, 9);
        fm_hex_encode(ids[i], fm_slice(set->spans[i].id, 4));
    }
    char *spans = golden_sorted(ids, set->span_count, ",");
    fm_buf_printf(&text, " %s", spans);
    free(spans);
    return golden_string(&text);
}

static char *golden_trace(const struct eval_trace *trace)
{
    char id[33], *parts[64];
    struct fm_buf text;
    fm_buf_init(&text, FM_MIB(1));
    trace_id_print(&trace->id, id);
    for (uint32_t i = 0; i < trace->set_count; i++)
        parts[i] = golden_set(&trace->sets[i]);
    char *sets = golden_sorted(parts, trace->set_count, " | ");
    fm_buf_printf(&text, "%.8s %s\n", id + 16, sets);
    free(sets);
    return golden_string(&text);
}

static char *golden_head(const struct eval_trace *trace)
{
    char id[33];
    struct fm_buf text;
    fm_buf_init(&text, FM_MIB(1));
    trace_id_print(&trace->id, id);
    fm_buf_printf(&text, "%s %.*s/%.*s %llu %llu", id, (int)trace->root_service.len,
                  trace->root_service.ptr, (int)trace->root_name.len, trace->root_name.ptr,
                  (unsigned long long)trace->start_ns,
                  (unsigned long long)trace->duration_ns / 1000000);
    for (uint32_t i = 0; i < trace->service_count; i++)
        fm_buf_printf(&text, " %.*s:%u:%u", (int)trace->services[i].name.len,
                      trace->services[i].name.ptr, trace->services[i].span_count,
                      trace->services[i].error_count);
    fm_buf_puts(&text, "\n");
    return golden_string(&text);
}

static char *golden_search(const struct golden *golden, const char *query,
                           char *(*print)(const struct eval_trace *trace))
{
    struct eval_search_options options = {100, 100};
    struct eval_limits limits = {.start_ns = 1795219920 * FM_NS_PER_S,
                                 .end_ns = 1795220040 * FM_NS_PER_S,
                                 .memory_max = FM_MIB(64)};
    FM_AUTO(eval_search) search = NULL;
    FM_AUTO(frame_source) source = NULL;
    char *lines[100];
    struct ask ask;
    uint32_t count;
    assert_ok(ask_plan(&ask, query));
    assert_ok(eval_search_new(&search, ask.plan, &limits, &options));
    ask.request.fields = eval_plan_fields(ask.plan, &ask.request.field_count);
    ask.request.start_ns = limits.start_ns;
    ask.request.end_ns = limits.end_ns;
    assert_ok(frame_rows_source(golden->rows, &ask.request, &source));
    assert_ok(eval_search_add(search, source, &ask.why));
    const struct eval_trace *traces = eval_search_traces(search, &count);
    for (uint32_t i = 0; i < count; i++)
        lines[i] = print(&traces[i]);
    source = frame_source_free(source);
    ask_end(&ask);
    return golden_sorted(lines, count, "");
}

/* What stands up to the next question. */
static char *golden_expected(struct golden *golden)
{
    struct fm_buf text;
    fm_buf_init(&text, FM_MIB(1));
    while (*golden->at && *golden->at != '?') {
        const char *end = strchr(golden->at, '\n') + 1;
        fm_buf_put(&text, golden->at, (size_t)(end - golden->at));
        golden->at = end;
    }
    return golden_string(&text);
}

static unsigned golden_compare(const char *query, char *got, char *expected)
{
    bool differs = strcmp(got, expected) != 0;
    if (differs)
        print_error("%s\nexpected:\n%sgot:\n%s", query, expected, got);
    free(got);
    free(expected);
    return differs;
}

static void test_searches(void **state)
{
    struct golden *golden = *state;
    unsigned asked = 0, wrong = 0;
    wrong +=
        golden_compare("heads", golden_search(golden, "{}", golden_head), golden_expected(golden));
    while (*golden->at) {
        char query[256];
        size_t len = strcspn(golden->at, "\n");
        snprintf(query, sizeof query, "%.*s", (int)len - 2, golden->at + 2);
        golden->at += len + 1;
        wrong += golden_compare(query, golden_search(golden, query, golden_trace),
                                golden_expected(golden));
        asked++;
    }
    assert_int_equal(wrong, 0);
    assert_true(asked > 50);
}

static int set_up(void **state)
{
    struct golden *golden = calloc(1, sizeof *golden);
    struct fm_buf otlp = test_read_file("golden/eval/traces.otlp");
    struct fm_why why;
    assert_non_null(golden);
    assert_ok(frame_rows_new(&golden->rows, FM_MIB(64)));
    assert_ok(frame_rows_add(golden->rows, fm_buf_slice(&otlp), NULL, NULL, &why));
    assert_ok(frame_rows_finish(golden->rows));
    fm_buf_fini(&otlp);
    golden->answers = test_read_file("golden/eval/searches.txt");
    fm_buf_put_u8(&golden->answers, 0);
    golden->at = (const char *)golden->answers.ptr;
    *state = golden;
    return 0;
}

static int tear_down(void **state)
{
    struct golden *golden = *state;
    frame_rows_free(golden->rows);
    fm_buf_fini(&golden->answers);
    free(golden);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_searches)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
