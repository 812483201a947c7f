/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics from query to JSON, against what Tempo 3.0.3 said about the same 96 spans. */
#include "../series/ask.h"

#include <math.h>

#include "fermata/answer.h"

static char *golden_cut(char **text, char end)
{
    char *field = *text, *stop = strchr(field, end);

    assert_non_null(stop);
    *stop = 0;
    *text = stop + 1;
    return field;
}

/* id, start, duration, kind, status, service, edge.n, name; points into text. */
static uint32_t golden_spans(char *text, struct table_span *spans)
{
    uint32_t count = 0;
    char *service = NULL;

    while (*text) {
        struct table_span *span = &spans[count++];
        assert_true(count <= TABLE_SPANS_MAX);
        assert_ok(fm_hex_decode(span->trace_id.bytes, 16, fm_slice_text(golden_cut(&text, '\t'))));
        span->start_ns = strtoll(golden_cut(&text, '\t'), NULL, 10);
        span->duration_ns = strtoll(golden_cut(&text, '\t'), NULL, 10);
        span->kind = strtoll(golden_cut(&text, '\t'), NULL, 10);
        span->status = strtoll(golden_cut(&text, '\t'), NULL, 10);
        char *name = golden_cut(&text, '\t');
        service = service && strcmp(service, name) == 0 ? service : name;
        span->service = service;
        char *number = golden_cut(&text, '\t');
        if (strcmp(number, "-") != 0)
            span->attributes[0] = (struct table_attribute){
                "edge.n", {.type = TRACEQL_INT, .integer = strtoll(number, NULL, 10)}};
        span->name = golden_cut(&text, '\n');
    }
    return count;
}

/* Equal but for the last digits of numbers: two mathematics libraries need not agree on those. */
static void golden_same(const char *answer, const char *expected)
{
    const char *a = answer, *b = expected, *number = answer;

    for (; *a && *b; a++, b++) {
        if (*a == ':')
            number = a + 1;
        if (*a == *b)
            continue;
        char *a_end, *b_end;
        double got = strtod(number, &a_end), wanted = strtod(b - (a - number), &b_end);
        if (a_end <= a || b_end <= b || fabs(got - wanted) > 1e-12 * fabs(wanted))
            assert_string_equal(answer, expected);
        a = a_end - 1;
        b = b_end - 1;
    }
    assert_int_equal(*a, *b);
}

static void golden_ask(const char *text, struct table *table, const char *expected)
{
    FM_AUTO(series) series = NULL;
    const struct series_result *result;
    struct fm_buf answer;
    struct ask ask;

    ask_init(&ask, text);
    ask.options = (struct series_options){
        .start_ns = 1795219920 * FM_NS_PER_S,
        .end_ns = 1795220040 * FM_NS_PER_S,
        .step_ns = 30 * FM_NS_PER_S,
    };
    fm_buf_init(&answer, FM_KIB(256));
    assert_ok(series_new(&series, ask.query, &ask.limits, &ask.options, &ask.why));
    assert_ok(series_add(series, table_open, table, NULL, &ask.why));
    assert_ok(series_finish(series, &result, &ask.why));
    answer_range(result, &(struct answer_stats){0}, ANSWER_JSON, &answer);
    fm_buf_put_u8(&answer, 0);
    golden_same((const char *)answer.ptr, expected);
    fm_buf_fini(&answer);
    ask_fini(&ask);
}

static void test_golden(void **state)
{
    static struct table_span spans[TABLE_SPANS_MAX];
    struct fm_buf input = test_read_file("golden/answer/spans.tsv");
    struct fm_buf answers = test_read_file("golden/answer/metrics.txt");
    unsigned count = 0;

    (void)state;
    fm_buf_put_u8(&input, 0);
    fm_buf_put_u8(&answers, 0);
    struct table table = {spans, golden_spans((char *)input.ptr, spans), 8, 0};
    assert_int_equal(table.count, 96);
    for (char *text = (char *)answers.ptr; *text; count++) {
        const char *query = golden_cut(&text, '\n');
        golden_ask(query, &table, golden_cut(&text, '\n'));
    }
    assert_int_equal(count, 9);
    fm_buf_fini(&input);
    fm_buf_fini(&answers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_golden)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
