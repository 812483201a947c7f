/* SPDX-License-Identifier: Apache-2.0 */
#include "ask.h"

static const struct table_row rows[] = {
    {"0a", "A000000000000000", "", "front", "GET /cart", 2, 1, 1000, 250, "span.http=200",
     "first 1 k=1/second 2 k=2", ""},
    {"0a", "B000000000000000", "A000000000000000", "front", "call cart", 3, 2, 1020, 180,
     "span.http=500;resource.env='prod'", "", ""},
    {"0a", "C000000000000000", "B000000000000000", "cart", "POST /add", 2, 2, 1030, 160,
     "span.http=500;span.list=['a','b']", "", ""},
    {"0b", "b000000000000000", "", "batch", "tick", 0, 0, 9000, 1, "span.http=500", "", ""},
    {"0c", "c000000000000000", "ffffffffffffffff", "late", "orphan", 1, 0, 3000, 7, "span.http=404",
     "", ""},
    {"0d", "d000000000000000", "", "batch", "tick", 0, 0, 5000, 1, "span.http=500", "", ""},
};

static void put_trace(struct fm_buf *text, const struct eval_trace *trace)
{
    fm_buf_printf(text, "%s%x %.*s/%.*s %llu+%llu", text->len ? "\n" : "", trace->id.bytes[15],
                  (int)trace->root_service.len, trace->root_service.ptr, (int)trace->root_name.len,
                  trace->root_name.ptr, (unsigned long long)trace->start_ns / 1000000,
                  (unsigned long long)trace->duration_ns / 1000000);
    for (uint32_t i = 0; i < trace->service_count; i++)
        fm_buf_printf(text, " %.*s:%u:%u", (int)trace->services[i].name.len,
                      trace->services[i].name.ptr, trace->services[i].span_count,
                      trace->services[i].error_count);
    for (uint32_t s = 0; s < trace->set_count; s++) {
        const struct eval_spanset *set = &trace->sets[s];
        fm_buf_printf(text, " {%u", set->matched);
        for (uint32_t i = 0; i < set->label_count; i++) {
            fm_buf_printf(text, " %.*s=", (int)set->labels[i].name.len, set->labels[i].name.ptr);
            ask_put_value(text, &set->labels[i].value);
        }
        for (uint32_t i = 0; i < set->span_count; i++) {
            const struct eval_span *span = &set->spans[i];
            fm_buf_printf(text, " %X", span->id[0] >> 4);
            if (span->shows_name)
                fm_buf_printf(text, "(%.*s)", (int)span->name.len, span->name.ptr);
            for (uint32_t k = 0; k < span->attribute_count; k++) {
                fm_buf_printf(text, ",%.*s=", (int)span->attributes[k].name.len,
                              span->attributes[k].name.ptr);
                ask_put_value(text, &span->attributes[k].value);
            }
        }
        fm_buf_puts(text, "}");
    }
}

static void put_search(struct fm_buf *text, struct eval_search *search)
{
    uint32_t count;
    fm_buf_reset(text);
    const struct eval_trace *traces = eval_search_traces(search, &count);
    for (uint32_t i = 0; i < count; i++)
        put_trace(text, &traces[i]);
    fm_buf_put_u8(text, 0);
}

/* Each of the sources is asked in turn; with merge, by a search of its own. */
struct source {
    const struct table_row *rows;
    uint32_t count;
};

static int add_source(struct eval_search *search, struct ask *ask, const struct source *source,
                      uint32_t traces_per_frame)
{
    ask_open(ask, source->rows, source->count, traces_per_frame);
    int rc = eval_search_add(search, &ask->table->source, &ask->why);
    frame_source_free(&ask->table->source);
    ask->table = NULL;
    return rc;
}

static void expect_search(const char *query, struct eval_search_options options,
                          const struct source *sources, uint32_t source_count, bool merge,
                          const char *expected)
{
    struct fm_buf text;
    fm_buf_init(&text, FM_MIB(1));
    for (uint32_t per_frame = 1; per_frame < 10; per_frame += 4) {
        FM_AUTO(eval_search) search = NULL;
        struct ask ask;
        assert_ok(ask_plan(&ask, query));
        assert_ok(eval_search_new(&search, ask.plan, &ask_limits, &options));
        for (uint32_t i = 0; i < source_count; i++) {
            FM_AUTO(eval_search) other = NULL;
            assert_ok(eval_search_new(&other, ask.plan, &ask_limits, &options));
            assert_ok(add_source(merge ? other : search, &ask, &sources[i], per_frame));
            if (merge)
                assert_ok(eval_search_merge(search, other));
        }
        put_search(&text, search);
        if (strcmp((const char *)text.ptr, expected) != 0)
            fail_msg("%s\n  expected %s\n  got      %s", query, expected, text.ptr);
        ask_end(&ask);
    }
    fm_buf_fini(&text);
}

static void expect_one(const char *query, uint32_t limit, uint32_t spss, const char *expected)
{
    const struct source source = {rows, FM_COUNT(rows)};
    expect_search(query, (struct eval_search_options){limit, spss}, &source, 1, false, expected);
    expect_search(query, (struct eval_search_options){limit, spss}, &source, 1, true, expected);
}

static void test_newest_first_with_details(void **state)
{
    (void)state;
    expect_one("{}", 20, 3,
               "b batch/tick 9000+1 batch:1:0 {1 B}\n"
               "d batch/tick 5000+1 batch:1:0 {1 D}\n"
               "c / 3000+7 late:1:0 {1 C}\n"
               "a front/GET /cart 1000+250 cart:1:1 front:2:1 {3 A B C}");
    expect_one("{}", 2, 1,
               "b batch/tick 9000+1 batch:1:0 {1 B}\n"
               "d batch/tick 5000+1 batch:1:0 {1 D}");
    expect_one("{ span.http = 500 }", 3, 1,
               "b batch/tick 9000+1 batch:1:0 {1 B,http=500}\n"
               "d batch/tick 5000+1 batch:1:0 {1 D,http=500}\n"
               "a front/GET /cart 1000+250 cart:1:1 front:2:1 {2 B,http=500}");
    expect_one("{ name = \"nobody\" }", 3, 1, "");
    expect_one("{}", 0, 1, "");
}

static void test_attributes_of_results(void **state)
{
    (void)state;
    expect_one("{ status = error && resource.service.name = \"front\" && duration > 1ms } | "
               "select(kind, resource.env, .http, span.list, name, traceDuration)",
               3, 3,
               "a front/GET /cart 1000+250 cart:1:1 front:2:1 "
               "{1 B(call cart),status=2,service.name=front,kind=3,env=prod,http=500}");
    expect_one("{ span.list != nil }", 3, 3,
               "a front/GET /cart 1000+250 cart:1:1 front:2:1 {1 C,list=array of 2}");
    expect_one("{ event:name = \"second\" } | select(event.k)", 3, 3,
               "a front/GET /cart 1000+250 cart:1:1 front:2:1 {1 A,event:name=second,k=1}");
    expect_one("{ event.k = 2 && nestedSetParent < 0 }", 3, 3,
               "a front/GET /cart 1000+250 cart:1:1 front:2:1 {1 A,k=2,nestedSetParent=-1}");
    expect_one("{ name =~ \"call.*\" }", 3, 3,
               "a front/GET /cart 1000+250 cart:1:1 front:2:1 {1 B(call cart)}");
    expect_one("{} | by(resource.service.name) | count() > 1 | avg(duration) > 1ms", 3, 1,
               "a front/GET /cart 1000+250 cart:1:1 front:2:1 "
               "{2 by(resource.service.name)=front count()=2 avg(duration)=215ms "
               "A,service.name=front}");
}

static const struct table_row later[] = {
    {"0a", "D000000000000000", "C000000000000000", "cart", "query", 3, 2, 900, 10, "span.http=500",
     "", ""},
    {"0c", "e000000000000000", "", "late", "root", 1, 0, 2999, 30, "", "", ""},
    {"0c", "f000000000000000", "e000000000000000", "late", "leaf", 1, 2, 2999, 5, "", "", ""},
    {"0e", "9000000000000000", "", "new", "new", 1, 0, 9500, 5, "span.http=500", "", ""},
};

static void test_two_sources_and_merging(void **state)
{
    const struct source sources[] = {{rows, FM_COUNT(rows)}, {later, FM_COUNT(later)}};
    const struct source reversed[] = {{later, FM_COUNT(later)}, {rows, FM_COUNT(rows)}};
    static const char all[] = "e new/new 9500+5 new:1:0 {1 9}\n"
                              "b batch/tick 9000+1 batch:1:0 {1 B}\n"
                              "d batch/tick 5000+1 batch:1:0 {1 D}\n"
                              "c late/root 2999+30 late:2:1 {2 E F}\n"
                              "a front/GET /cart 900+250 cart:1:1 front:2:1 {3 A B C}";
    static const char two[] = "e new/new 9500+5 new:1:0 {1 9,http=500}\n"
                              "b batch/tick 9000+1 batch:1:0 {1 B,http=500}";
    (void)state;
    for (int merge = 0; merge < 2; merge++) {
        struct eval_search_options options = {20, 3};
        expect_search("{}", options, sources, 2, merge, all);
        expect_search("{}", options, reversed, 2, merge, all);
        expect_search("{ rootName =~ \"root|\" } | by(name) | select(span.http)", options, sources,
                      2, merge,
                      "c late/root 2999+30 late:2:1 {1 by(name)=orphan C(orphan),http=404} "
                      "{1 by(name)=root E(root)} {1 by(name)=leaf F(leaf)}\n"
                      "a / 900+10 cart:1:1 {1 by(name)=query D(query),http=500}");
        options.limit = 2;
        expect_search("{ span.http = 500 }", options, sources, 2, merge, two);
        expect_search("{ span.http = 500 }", options, reversed, 2, merge, two);
    }
}

static void test_floor(void **state)
{
    const struct source source = {rows, FM_COUNT(rows)};
    struct eval_search_options options = {2, 3};
    FM_AUTO(eval_search) search = NULL;
    struct ask ask;
    (void)state;
    assert_ok(ask_plan(&ask, "{}"));
    assert_ok(eval_search_new(&search, ask.plan, &ask_limits, &options));
    assert_int_equal(eval_search_floor_ns(search), 0);
    assert_ok(add_source(search, &ask, &source, 1));
    assert_int_equal(eval_search_floor_ns(search), 5000 * 1000000ull);
    ask_end(&ask);
}

/* Many traces through a small heap: always the newest, whatever the order. */
static void test_heap_against_sorting(void **state)
{
    enum { COUNT = 500 };
    static struct table_row many[COUNT];
    static char ids[COUNT][17];
    const struct source source = {many, COUNT};
    uint64_t seed = 3;
    (void)state;
    for (uint32_t i = 0; i < COUNT; i++) {
        snprintf(ids[i], sizeof ids[i], "%016x", i + 1);
        many[i] = (struct table_row){.trace = ids[i],
                                     .id = ids[i],
                                     .parent = "",
                                     .service = "s",
                                     .name = "n",
                                     .attributes = "",
                                     .start_ms = (int64_t)(fm_random_next(&seed) % 300)};
    }
    for (uint32_t limit = 1; limit < 700; limit = limit * 3 + 1) {
        struct eval_search_options options = {limit, 1};
        FM_AUTO(eval_search) search = NULL;
        struct ask ask;
        uint32_t count, floor = 0;
        assert_ok(ask_plan(&ask, "{}"));
        assert_ok(eval_search_new(&search, ask.plan, &ask_limits, &options));
        assert_ok(add_source(search, &ask, &source, 37));
        const struct eval_trace *traces = eval_search_traces(search, &count);
        assert_int_equal(count, FM_MIN(limit, COUNT));
        for (uint32_t i = 0; i + 1 < count; i++)
            assert_true(traces[i].start_ns >= traces[i + 1].start_ns);
        for (uint32_t i = 0; i < COUNT; i++)
            floor += (uint64_t)many[i].start_ms * 1000000 > traces[count - 1].start_ns;
        assert_true(floor < count);
        ask_end(&ask);
    }
}

static void test_limits_of_memory(void **state)
{
    const struct source source = {rows, FM_COUNT(rows)};
    struct eval_search_options options = {20, 3};
    (void)state;
    for (size_t memory = 64; memory < FM_KIB(64); memory *= 2) {
        FM_AUTO(eval_search) search = NULL;
        struct eval_limits limits = ask_limits;
        struct ask ask;
        uint32_t count;
        limits.memory_max = memory;
        assert_ok(ask_plan(&ask, "{} | select(name, kind, .http)"));
        assert_ok(eval_search_new(&search, ask.plan, &limits, &options));
        int rc = add_source(search, &ask, &source, 2);
        assert_true(rc == FM_ELIMIT || (rc == FM_OK && memory > 1024));
        assert_non_null(eval_search_traces(search, &count));
        ask_end(&ask);
    }
}

static void test_every_allocation_may_fail(void **state)
{
    const struct source sources[] = {{rows, FM_COUNT(rows)}, {later, FM_COUNT(later)}};
    bool failed = true;
    (void)state;
    for (uint64_t n = 1; failed; n++) {
        struct eval_search_options options = {3, 3};
        FM_AUTO(eval_search) search = NULL;
        FM_AUTO(eval_search) other = NULL;
        struct ask ask;
        uint32_t count;
        int rc = FM_OK;
        assert_ok(ask_plan(&ask, "{ .http = 500 || event.k = 2 } | by(name)"));
        assert_ok(eval_search_new(&other, ask.plan, &ask_limits, &options));
        assert_ok(add_source(other, &ask, &sources[1], 2));
        ask_open(&ask, sources[0].rows, sources[0].count, 2);
        test_alloc_fail_at(n);
        rc = eval_search_new(&search, ask.plan, &ask_limits, &options);
        if (!rc)
            rc = eval_search_add(search, &ask.table->source, &ask.why);
        if (!rc)
            rc = eval_search_merge(search, other);
        failed = test_alloc_failed();
        test_alloc_disarm();
        assert_true(rc == FM_OK || (failed && rc == FM_ENOMEM));
        if (search)
            assert_non_null(eval_search_traces(search, &count));
        ask_end(&ask);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_newest_first_with_details),
        cmocka_unit_test(test_attributes_of_results),
        cmocka_unit_test(test_two_sources_and_merging),
        cmocka_unit_test(test_floor),
        cmocka_unit_test(test_heap_against_sorting),
        cmocka_unit_test(test_limits_of_memory),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
