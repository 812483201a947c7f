/* SPDX-License-Identifier: Apache-2.0 */
#include "ask.h"

/* The trace and the queries of autocompletion as Tempo was watched, right where it is not. */
static const struct table_row rows[] = {
    {"0a", "A000000000000000", "", "shop-frontend", "GET /cart", 2, 1, 1000, 250,
     "span.http.status_code=200;span.http.method='GET';resource.region='eu'", "ev1 1 k='one'", ""},
    {"0a", "B000000000000000", "A000000000000000", "shop-frontend", "call cart", 3, 2, 1020, 180,
     "span.http.status_code=500;span.http.method='POST'", "", ""},
    {"0a", "C000000000000000", "B000000000000000", "cart", "POST /add", 2, 2, 1030, 160,
     "span.http.status_code=500;span.http.method='POST';span.tags=['a','b']", "ev1 1 k='two'/ev2 3",
     ""},
    {"0b", "t000000000000000", "", "batch", "tick", 0, 0, 9000, 1, "resource.http.method='PUT'", "",
     ""},
};

static int collect(void *self, const struct traceql_value *value)
{
    struct fm_buf *text = self;
    if (text->len)
        fm_buf_puts(text, " ");
    ask_put_value(text, value);
    return FM_OK;
}

static int stop_at_second(void *self, const struct traceql_value *value)
{
    (void)value;
    return ++*(int *)self == 2 ? FM_END : FM_OK;
}

static void expect_values(const char *query, struct traceql_field field, const char *expected)
{
    for (uint32_t per_frame = 1; per_frame < 3; per_frame++) {
        struct fm_buf text;
        struct ask ask;
        uint32_t index;
        fm_buf_init(&text, 4096);
        assert_ok(ask_plan(&ask, query));
        assert_ok(eval_plan_want(ask.plan, &field, &index));
        ask_open(&ask, rows, FM_COUNT(rows), per_frame);
        assert_ok(eval_values(ask.plan, &field, &ask.table->source, &ask_limits, collect, &text,
                              &ask.why));
        fm_buf_put_u8(&text, 0);
        if (strcmp((const char *)text.ptr, expected) != 0)
            fail_msg("%s: expected %s, got %s", query, expected, text.ptr);
        ask_end(&ask);
        fm_buf_fini(&text);
    }
}

static const struct traceql_field status_code = {.scope = TRACEQL_SPAN,
                                                 .name = {(const uint8_t *)"http.status_code", 16}};
static const struct traceql_field service = {.scope = TRACEQL_RESOURCE,
                                             .name = {(const uint8_t *)"service.name", 12}};
static const struct traceql_field method = {.name = {(const uint8_t *)"http.method", 11}};

static void test_values_through_filters(void **state)
{
    (void)state;
    expect_values("{resource.service.name=\"cart\"}", status_code, "500");
    expect_values("{.http.method=\"POST\"}", status_code, "500");
    expect_values("{trace:id=\"a\"}", status_code, "200 500");
    expect_values("{span.http.method=\"POST\" && resource.service.name=\"cart\"}", status_code,
                  "500");
    expect_values("{resource.service.name=\"nope\"}", service, "");
    expect_values("{status=error}", service, "shop-frontend cart");
    expect_values("{status=error} >> {}", service, "cart");
    expect_values("{kind != client}", method, "GET POST PUT");
    expect_values("{kind = client}", method, "POST");
}

static void test_values_by_domain(void **state)
{
    struct traceql_field tags = {.scope = TRACEQL_SPAN, .name = FM_SLICE("tags")};
    struct traceql_field key = {.scope = TRACEQL_EVENT, .name = FM_SLICE("k")};
    struct traceql_field event = {.intrinsic = TRACEQL_EVENT_NAME};
    struct traceql_field root = {.intrinsic = TRACEQL_ROOT_NAME};
    struct traceql_field kind = {.intrinsic = TRACEQL_SPAN_KIND};
    struct traceql_field region = {.scope = TRACEQL_RESOURCE, .name = FM_SLICE("region")};
    (void)state;
    expect_values("{status=error}", tags, "a b");
    expect_values("{status=error}", key, "two");
    expect_values("{status=error}", event, "ev1 ev2");
    expect_values("{status=error}", root, "GET /cart");
    expect_values("{duration > 1ms}", kind, "2 3");
    expect_values("{kind=server}", region, "eu");
    expect_values("{kind=client}", region, "");
}

static void test_everything_is_the_sources_matter(void **state)
{
    char expected[32];
    struct ask ask;
    uint32_t index;
    (void)state;
    assert_ok(ask_plan(&ask, "{}"));
    assert_ok(eval_plan_want(ask.plan, &status_code, &index));
    ask_end(&ask);
    snprintf(expected, sizeof expected, "%u", index);
    expect_values("{}", status_code, expected);
    expect_values("{ true } | select(name)", status_code, "4");
}

static void test_visit_ends_it(void **state)
{
    struct ask ask;
    uint32_t index;
    int calls = 0;
    (void)state;
    assert_ok(ask_plan(&ask, "{status != ok || status = ok && true}"));
    ask_open(&ask, rows, FM_COUNT(rows), 1);
    assert_int_equal(eval_values(ask.plan, &service, &ask.table->source, &ask_limits,
                                 stop_at_second, &calls, &ask.why),
                     FM_EUSAGE);
    ask_end(&ask);
    assert_ok(ask_plan(&ask, "{status != ok || status = ok && true}"));
    assert_ok(eval_plan_want(ask.plan, &service, &index));
    ask_open(&ask, rows, FM_COUNT(rows), 1);
    assert_int_equal(eval_values(ask.plan, &service, &ask.table->source, &ask_limits,
                                 stop_at_second, &calls, &ask.why),
                     FM_END);
    assert_int_equal(calls, 2);
    ask_end(&ask);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_through_filters),
        cmocka_unit_test(test_values_by_domain),
        cmocka_unit_test(test_everything_is_the_sources_matter),
        cmocka_unit_test(test_visit_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
