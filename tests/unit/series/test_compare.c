/* SPDX-License-Identifier: Apache-2.0 */
/* compare(): populations, totals, the most frequent values, too many of them. */
#include "ask.h"

#define STR(literal)                                                                               \
    {                                                                                              \
        .type = TRACEQL_STRING, .text = FM_SLICE(literal)                                          \
    }
#define INT(number)                                                                                \
    {                                                                                              \
        .type = TRACEQL_INT, .integer = (number)                                                   \
    }

static const struct table_span compare_spans[] = {
    {ID(1), AT(125000), 100, 2, 2, "a", "s", {{"n", INT(1)}, {"x", STR("p")}}},
    {ID(1), AT(126000), 100, 2, 0, "a", "s", {{"n", INT(2)}}},
    {ID(1), AT(127000), 100, 2, 0, "b", "s", {{"n", INT(2)}}},
    {ID(2), AT(110000), 100, 2, 0, "c", NULL, {{"n", INT(3)}}},
};
static struct table small = {compare_spans, FM_COUNT(compare_spans), 1, 0};

static void test_populations(void **state)
{
    (void)state;
    small.opened = 0;
    ask_text("{} | compare({status = error})", &small,
             "__meta_type=baseline,kind=7:2 80:0 100:0 120:1 140:2\n"
             "__meta_type=baseline,name=a 80:0 100:0 120:0 140:1\n"
             "__meta_type=baseline,name=b 80:0 100:0 120:0 140:1\n"
             "__meta_type=baseline,name=c 80:0 100:0 120:1 140:0\n"
             "__meta_type=baseline,resource.service.name=s 80:0 100:0 120:0 140:2\n"
             "__meta_type=baseline,span.n=1:2 80:0 100:0 120:0 140:2\n"
             "__meta_type=baseline,span.n=1:3 80:0 100:0 120:1 140:0\n"
             "__meta_type=baseline,status=unset 80:0 100:0 120:1 140:2\n"
             "__meta_type=baseline_total,kind=nil 80:0 100:0 120:1 140:2\n"
             "__meta_type=baseline_total,name=nil 80:0 100:0 120:1 140:2\n"
             "__meta_type=baseline_total,resource.service.name=nil 80:0 100:0 120:0 140:2\n"
             "__meta_type=baseline_total,span.n=nil 80:0 100:0 120:1 140:2\n"
             "__meta_type=baseline_total,status=nil 80:0 100:0 120:1 140:2\n"
             "__meta_type=selection,kind=7:2 80:0 100:0 120:0 140:1\n"
             "__meta_type=selection,name=a 80:0 100:0 120:0 140:1\n"
             "__meta_type=selection,resource.service.name=s 80:0 100:0 120:0 140:1\n"
             "__meta_type=selection,span.n=1:1 80:0 100:0 120:0 140:1\n"
             "__meta_type=selection,span.x=p 80:0 100:0 120:0 140:1\n"
             "__meta_type=selection,status=error 80:0 100:0 120:0 140:1\n"
             "__meta_type=selection_total,kind=nil 80:0 100:0 120:0 140:1\n"
             "__meta_type=selection_total,name=nil 80:0 100:0 120:0 140:1\n"
             "__meta_type=selection_total,resource.service.name=nil 80:0 100:0 120:0 140:1\n"
             "__meta_type=selection_total,span.n=nil 80:0 100:0 120:0 140:1\n"
             "__meta_type=selection_total,span.x=nil 80:0 100:0 120:0 140:1\n"
             "__meta_type=selection_total,status=nil 80:0 100:0 120:0 140:1\n");
    assert_int_equal(small.opened, 2);
}

/* Only the two most frequent; the attribute that has more says so. */
static void test_top(void **state)
{
    struct table *one[] = {&small};
    struct fm_buf out;
    struct ask ask;

    (void)state;
    fm_buf_init(&out, FM_KIB(64));
    ask_init(&ask, "{} | compare({status = error}, 2)");
    assert_ok(ask_run(&ask, one, 1, &out));
    const char *text = (const char *)out.ptr;
    assert_non_null(strstr(text, "__meta_error=__too_many_values__,name=nil\n"));
    assert_null(strstr(text, "__meta_error=__too_many_values__,span.n"));
    assert_non_null(strstr(text, "__meta_type=baseline,name=a"));
    assert_non_null(strstr(text, "__meta_type=baseline,name=b"));
    assert_null(strstr(text, "__meta_type=baseline,name=c"));
    assert_non_null(strstr(text, "__meta_type=baseline_total,name=nil 80:0 100:0 120:1 140:2\n"));
    fm_buf_fini(&out);
    ask_fini(&ask);
}

/* A selection with a stretch of time: (start, end]. */
static void test_stretch(void **state)
{
    struct table *one[] = {&small};
    struct fm_buf out;
    struct ask ask;

    (void)state;
    fm_buf_init(&out, FM_KIB(64));
    ask_init(&ask, "{ name != \"c\" } | compare({status != error}, 10)");
    ask.query->compare_start_ns = AT(126000);
    ask.query->compare_end_ns = AT(127000);
    assert_ok(ask_run(&ask, one, 1, &out));
    const char *text = (const char *)out.ptr;
    assert_non_null(strstr(text, "__meta_type=selection,name=b 80:0 100:0 120:0 140:1\n"));
    assert_null(strstr(text, "__meta_type=selection,name=a"));
    assert_non_null(strstr(text, "__meta_type=baseline,name=a 80:0 100:0 120:0 140:2\n"));
    assert_null(strstr(text, "name=c"));
    ask.query->selection = NULL;
    ask.query->compare_start_ns = ask.query->compare_end_ns = 0;
    assert_ok(ask_run(&ask, one, 1, &out));
    assert_non_null(strstr((const char *)out.ptr, "__meta_type=selection,name=b"));
    assert_null(strstr((const char *)out.ptr, "__meta_type=baseline"));
    fm_buf_fini(&out);
    ask_fini(&ask);
}

/* Values past the bound are counted in the totals only. */
static void test_too_many(void **state)
{
    enum { SPANS = 200, TABLES = 6 };
    static struct table_span spans[TABLES][SPANS];
    struct table tables[TABLES], *all[TABLES];
    struct fm_buf out;
    struct ask ask;

    (void)state;
    for (int t = 0; t < TABLES; t++) {
        for (int i = 0; i < SPANS; i++)
            spans[t][i] = (struct table_span){.trace_id = ID((uint8_t)i),
                                              .start_ns = AT(125000),
                                              .name = "a",
                                              .attributes = {{"n", INT(t * SPANS + i)}}};
        tables[t] = (struct table){spans[t], SPANS, 50, 0};
        all[t] = &tables[t];
    }
    fm_buf_init(&out, FM_MIB(1));
    ask_init(&ask, "{} | compare({status = error}, 3)");
    assert_ok(ask_run(&ask, all, TABLES, &out));
    const char *text = (const char *)out.ptr;
    assert_non_null(
        strstr(text, "__meta_type=baseline_total,span.n=nil 80:0 100:0 120:0 140:1200\n"));
    assert_non_null(strstr(text, "__meta_error=__too_many_values__,span.n=nil\n"));
    assert_non_null(strstr(text, "__meta_type=baseline,span.n=1:2 80:0 100:0 120:0 140:1\n"));
    assert_null(strstr(text, "__meta_type=baseline,span.n=1:3"));
    fm_buf_fini(&out);
    ask_fini(&ask);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_populations),
        cmocka_unit_test(test_top),
        cmocka_unit_test(test_stretch),
        cmocka_unit_test(test_too_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
