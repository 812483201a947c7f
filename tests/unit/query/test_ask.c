/* SPDX-License-Identifier: Apache-2.0 */
/* Questions over many traces in the simulated world: where spans may lie, limits, ends. */
#include "world.h"

static uint64_t at_ns(uint64_t s)
{
    return (BASE_S + s) * FM_NS_PER_S;
}

/* Traces 1 to 4: in a block, in two blocks, in a block and the head, in the head. */
static void fill(struct world *world)
{
    send(world, 1, 1, "root");
    send(world, 1, 2, "child");
    send(world, 2, 1, "root");
    flush(world);
    send(world, 2, 2, "child");
    send(world, 2, 3, "late");
    send(world, 3, 2, "child");
    flush(world);
    send(world, 3, 1, "root");
    send(world, 4, 1, "root");
    send(world, 4, 2, "late");
}

static void test_traces_are_whole_wherever_they_lie(void **state)
{
    struct world *world = *state;
    assert_asked(world, QUERY_SEARCH, "{}", "");
    fill(world);
    for (unsigned pass = 0; pass < 2; pass++) { /* the second with what the first one kept */
        assert_asked(world, QUERY_SEARCH, "{}", "4:2 3:2 2:3 1:2");
        assert_asked(world, QUERY_SEARCH, "{} | count() = 3", "2:3");
        assert_asked(world, QUERY_SEARCH, "{ name = `root` } > { name = `child` }", "3:1 2:1 1:1");
        assert_asked(world, QUERY_SEARCH, "{ rootName = `root` && name = `late` }", "4:1 2:1");
        assert_asked(world, QUERY_SEARCH, "", "4:2 3:2 2:3 1:2");
    }
    flush(world);
    assert_asked(world, QUERY_SEARCH, "{} | count() = 3", "2:3");
    assert_asked(world, QUERY_SEARCH, "{ name = `root` } > { name = `child` }", "3:1 2:1 1:1");
}

static void test_every_kind(void **state)
{
    struct world *world = *state;
    struct question question;
    fill(world);
    assert_asked(world, QUERY_TAG_NAMES, "", "span,key resource,service.name intrinsic");
    assert_asked(world, QUERY_TAG_NAMES, "{ name = `nope` }", "intrinsic");
    assert_asked(world, QUERY_TRACES, "{ name = `late` }", "2 3");

    question_init(&question, QUERY_TAG_VALUES, "");
    question.ask.field = (struct traceql_field){.intrinsic = TRACEQL_NAME};
    (void)question_ask(world, &question);
    assert_answer(&question, "child late root");
    question_fini(&question);

    question_init(&question, QUERY_TAG_VALUES, "{ rootName = `root` && name != `root` }");
    question.ask.field = (struct traceql_field){.scope = TRACEQL_SPAN, .name = FM_SLICE("key")};
    (void)question_ask(world, &question);
    assert_answer(&question, "child late");
    question_fini(&question);

    question_init(&question, QUERY_METRICS, "{} | count_over_time() by (name)");
    question.ask.start_ns = at_ns(0);
    question.ask.end_ns = at_ns(60);
    question.ask.series.step_ns = 10 * FM_NS_PER_S;
    (void)question_ask(world, &question);
    assert_answer(&question, "3 lines, sum 9");
    question_fini(&question);
}

static void test_scope_and_limit_of_names(void **state)
{
    struct world *world = *state;
    struct question question;
    fill(world);
    question_init(&question, QUERY_TAG_NAMES, "");
    question.ask.scope = "resource";
    (void)question_ask(world, &question);
    assert_answer(&question, "resource,service.name");
    question_fini(&question);

    question_init(&question, QUERY_TAG_VALUES, "");
    question.ask.field = (struct traceql_field){.name = FM_SLICE("key")}; /* of any scope */
    question.ask.limit = 2;
    assert_ok(question_ask(world, &question));
    size_t blanks = 0;
    for (size_t i = 0; i < question.ask.answer.len; i++)
        blanks += question.ask.answer.ptr[i] == ' ';
    assert_int_equal(blanks, 1);
    question_fini(&question);
}

static void test_window_and_limit(void **state)
{
    struct world *world = *state;
    struct question question;
    for (uint32_t i = 1; i <= 30; i++) {
        send(world, i, 1, "root");
        if (i % 7 == 0)
            flush(world);
    }
    question_init(&question, QUERY_SEARCH, "{}");
    question.ask.start_ns = at_ns(10);
    question.ask.end_ns = at_ns(13);
    (void)question_ask(world, &question);
    assert_answer(&question, "12:1 11:1 10:1");
    assert_true(question.stats.block_count < 4);
    question_fini(&question);

    question_init(&question, QUERY_SEARCH, "{}");
    question.ask.limit = 3;
    (void)question_ask(world, &question);
    assert_answer(&question, "30:1 29:1 28:1");
    question_fini(&question);
    assert_asked(world, QUERY_SEARCH, "{}",
                 "30:1 29:1 28:1 27:1 26:1 25:1 24:1 23:1 22:1 21:1 20:1 19:1 18:1 17:1 16:1 15:1 "
                 "14:1 13:1 12:1 11:1");
}

static void test_other_tenants_see_nothing(void **state)
{
    struct world *world = *state;
    struct question question;
    fill(world);
    question_init(&question, QUERY_SEARCH, "{}");
    (void)snprintf(question.ask.tenant, sizeof question.ask.tenant, "other");
    (void)question_ask(world, &question);
    assert_answer(&question, "");
    question_fini(&question);
}

static void assert_wrong(struct world *world, enum query_kind kind, const char *text,
                         uint64_t range_s, bool is_text, const char *why)
{
    struct question question;
    question_init(&question, kind, text);
    if (range_s) {
        question.ask.start_ns = at_ns(0);
        question.ask.end_ns = at_ns(range_s);
    }
    assert_int_equal(question_ask(world, &question), FM_EMALFORMED);
    assert_string_equal(question.ask.why.text, why);
    assert_int_equal(question.ask.is_text_wrong, is_text);
    assert_int_equal(question.ask.answer.len, 0);
    question_fini(&question);
}

static void test_wrong_questions(void **state)
{
    struct world *world = *state;
    fill(world);
    assert_wrong(world, QUERY_SEARCH, "{ foo = 1 }", 0, true,
                 "parse error at line 1, col 3: unknown identifier: foo");
    assert_wrong(world, QUERY_SEARCH, "{ parent.x = 1 }", 0, true, "parent not yet supported");
    assert_wrong(world, QUERY_SEARCH, "{}", 168 * 3600 + 1, false,
                 "range specified by start and end exceeds 168h0m0s. received start=1795219920 "
                 "end=1795824721");
    assert_wrong(world, QUERY_METRICS, "{} | rate()", 24 * 3600 + 1, false,
                 "metrics query time range exceeds the maximum allowed duration of 24h0m0s");
    assert_wrong(world, QUERY_METRICS, "{}", 60, false, "not a metrics query");
}

static void test_streaming(void **state)
{
    struct world *world = *state;
    struct question question;
    for (uint32_t i = 1; i <= 6; i++) {
        send(world, i, 1, "root");
        flush(world);
    }
    question_init(&question, QUERY_SEARCH, "{}");
    question.ask.streams = true;
    (void)question_ask(world, &question);
    assert_answer(&question, "6:1 5:1 4:1 3:1 2:1 1:1");
    assert_true(question.part_count >= 1);
    assert_true(question.last_part.len > 0);
    assert_true(question.last_part.len < question.ask.answer.len);
    question_fini(&question);
}

static void test_line_and_refusal(void **state)
{
    struct world *world = *state;
    static struct question questions[40];
    uint32_t busy = 0;
    fill(world);
    for (size_t i = 0; i < FM_COUNT(questions); i++) {
        question_init(&questions[i], QUERY_SEARCH, "{} | count() = 3");
        question_start(world, &questions[i]);
    }
    for (size_t i = 0; i < FM_COUNT(questions); i++) {
        question_wait(world, &questions[i]);
        if (questions[i].rc == FM_EUNAVAILABLE)
            busy++;
        else
            assert_answer(&questions[i], "2:3");
        question_fini(&questions[i]);
    }
    assert_int_equal(busy, FM_COUNT(questions) - 2 * 16);
}

static void test_cancelled(void **state)
{
    struct world *world = *state;
    for (uint32_t i = 1; i <= 6; i++) {
        send(world, i, 1, "root");
        flush(world);
    }
    for (unsigned steps = 0; steps < 30; steps++) { /* at every point of its life */
        struct question question, other;
        question_init(&question, QUERY_SEARCH, "{}");
        question_init(&other, QUERY_SEARCH, "{}");
        question_start(world, &question);
        question_start(world, &other);
        for (unsigned i = 0; i < steps && !question.done_count; i++)
            assert_true(sim_step(world->sim));
        if (!question.done_count) {
            query_ask_cancel(world->engine, &question.ask);
            query_ask_cancel(world->engine, &question.ask);
            assert_int_equal(question.done_count, 0);
            question_wait(world, &question);
            assert_int_equal(question.rc, FM_ECANCELLED);
            assert_int_equal(question.ask.answer.len, 0);
        }
        question_wait(world, &other);
        assert_answer(&other, "6:1 5:1 4:1 3:1 2:1 1:1");
        question_fini(&question);
        question_fini(&other);
    }
}

static void test_cancelled_in_line(void **state)
{
    struct world *world = *state;
    struct question questions[5];
    fill(world);
    for (size_t i = 0; i < FM_COUNT(questions); i++) {
        question_init(&questions[i], QUERY_SEARCH, "{}");
        question_start(world, &questions[i]);
    }
    query_ask_cancel(world->engine, &questions[4].ask);
    query_ask_cancel(world->engine, &questions[0].ask);
    for (size_t i = 0; i < FM_COUNT(questions); i++) {
        question_wait(world, &questions[i]);
        assert_int_equal(questions[i].rc, i == 0 || i == 4 ? FM_ECANCELLED : FM_OK);
        question_fini(&questions[i]);
    }
}

static void test_timeout(void **state)
{
    struct world *world = *state;
    struct query_options options = world->options;
    struct question question;
    for (uint32_t i = 1; i <= 6; i++) {
        send(world, i, 1, "root");
        flush(world);
    }
    options.timeout_ns = 1;
    world_set_options(world, &options);
    question_init(&question, QUERY_SEARCH, "{}");
    assert_int_equal(question_ask(world, &question), FM_ETIMEOUT);
    question_fini(&question);
}

/* A head larger than a question's memory is judged in turns, and the answer is the same. */
static void test_little_memory(void **state)
{
    struct world *world = *state;
    struct query_options options = world->options;
    struct question question;
    for (uint32_t i = 1; i <= 400; i++)
        send(world, i, 1, i % 100 ? "root" : "rare");
    for (uint32_t i = 1; i <= 400; i++)
        send(world, i, 2, "child");
    assert_asked(world, QUERY_SEARCH, "{ name = `rare` } > {}", "400:1 300:1 200:1 100:1");
    int last = FM_OK;
    unsigned answered = 0;
    for (options.memory_max = FM_KIB(2048); options.memory_max > FM_KIB(2);
         options.memory_max /= 2) {
        world_set_options(world, &options);
        question_init(&question, QUERY_SEARCH, "{ name = `rare` } > {}");
        last = question_ask(world, &question);
        if (last == FM_OK) {
            assert_answer(&question, "400:1 300:1 200:1 100:1");
            answered++;
        } else {
            assert_true(last == FM_ELIMIT || last == FM_ENOMEM);
        }
        question_fini(&question);
    }
    assert_true(answered > 2);
    assert_true(last < 0);
}

static void on_sealed(void *self, struct store_block *block)
{
    (void)snprintf(self, 600, "%s/data.parquet", block->path);
}

static void test_damage_costs_its_block_only(void **state)
{
    struct world *world = *state;
    char path[600];
    const struct store_observer observer = {.on_sealed = on_sealed, .self = path};
    send(world, 1, 1, "root");
    flush(world);
    store_set_observer(world->store, &observer);
    send(world, 2, 1, "root");
    flush(world);
    send(world, 3, 1, "root");
    for (uint64_t bit = 8 * 8; bit < 8 * 2000; bit += 8)
        sim_disk_flip_bit(world->sim, path, bit);
    assert_asked(world, QUERY_SEARCH, "{ span.key = `root` }", "3:1 1:1");
}

static void test_every_allocation_may_fail(void **state)
{
    struct world *world = *state;
    bool reached = true;
    fill(world);
    for (uint64_t nth = 1; reached; nth += 1 + nth / 100) {
        struct question question;
        question_init(&question, QUERY_SEARCH, "{ name = `root` } > { name = `child` }");
        test_alloc_fail_at(nth);
        (void)question_ask(world, &question);
        reached = test_alloc_failed();
        test_alloc_disarm();
        if (question.rc == FM_OK)
            assert_answer(&question, "3:1 2:1 1:1");
        question_fini(&question);
    }
    assert_asked(world, QUERY_SEARCH, "{ name = `root` } > { name = `child` }", "3:1 2:1 1:1");
}

static void test_metrics_are_said(void **state)
{
    struct world *world = *state;
    struct fm_buf out;
    fill(world);
    assert_asked(world, QUERY_SEARCH, "{} | count() = 3", "2:3");
    fm_buf_init(&out, FM_MIB(1));
    query_put_metrics(world->engine, &out);
    fm_buf_put_u8(&out, 0);
    assert_non_null(strstr((char *)out.ptr, "fermata_query_asks_total{kind=\"search\"} 1\n"));
    assert_non_null(strstr((char *)out.ptr, "fermata_query_joined_traces_total 2\n"));
    assert_non_null(strstr((char *)out.ptr, "fermata_query_asks_running 0\n"));
    fm_buf_fini(&out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_traces_are_whole_wherever_they_lie),
        TEST(test_every_kind),
        TEST(test_scope_and_limit_of_names),
        TEST(test_window_and_limit),
        TEST(test_other_tenants_see_nothing),
        TEST(test_wrong_questions),
        TEST(test_streaming),
        TEST(test_line_and_refusal),
        TEST(test_cancelled),
        TEST(test_cancelled_in_line),
        TEST(test_timeout),
        TEST(test_little_memory),
        TEST(test_damage_costs_its_block_only),
        TEST(test_every_allocation_may_fail),
        TEST(test_metrics_are_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
