/* SPDX-License-Identifier: Apache-2.0 */
/* Columns that are kept decoded between questions: the answers are those of the blocks, from what
 * was decoded once and no more, within the bound, until the block goes. */
#include "world.h"

static uint64_t said(struct world *world, const char *name)
{
    struct fm_buf out;
    char line[80];
    fm_buf_init(&out, FM_MIB(1));
    query_put_metrics(world->engine, &out);
    fm_buf_put_u8(&out, 0);
    (void)snprintf(line, sizeof line, "\nfermata_query_columns_cache_%s ", name);
    const char *found = strstr((char *)out.ptr, line);
    assert_non_null(found);
    uint64_t value = strtoull(found + strlen(line), NULL, 10);
    fm_buf_fini(&out);
    return value;
}

static void keep(struct world *world, size_t bytes_max)
{
    const struct query_options options = {.concurrency_max = 4,
                                          .trace_bytes_max = FM_MIB(1),
                                          .thread_count = 2,
                                          .columns_bytes_max = bytes_max};
    world_set_options(world, &options);
}

/* Three blocks; every third trace has spans in two of them, some in the head. */
static void fill(struct world *world)
{
    static const char *const names[] = {"root", "child", "late", "early"};
    for (uint32_t block = 0; block < 3; block++) {
        for (uint32_t i = 1; i <= 30; i++) {
            uint32_t trace = block * 30 + i;
            send(world, trace, 1, names[trace % 4]);
            send(world, trace, 2, names[i % 3]);
            if (block && i % 3 == 0)
                send(world, trace - 30, 3, "late");
        }
        flush(world);
    }
    send(world, 90, 4, "late");
    send(world, 95, 1, "root");
}

static const struct {
    enum query_kind kind;
    const char *text;
    uint32_t limit;
} asked[] = {
    {QUERY_SEARCH, "{name=\"late\"}", 5},
    {QUERY_SEARCH, "{name=\"late\"}", 200},
    {QUERY_SEARCH, "{span.key=\"child\"} >> {name!=\"\"}", 3},
    {QUERY_SEARCH, "{name=\"root\"} && {name=\"late\"}", 4},
    {QUERY_SEARCH, "{} | count() > 2", 2},
    {QUERY_SEARCH, "{name=~\"e.*\" && duration < 1s}", 7},
    {QUERY_SEARCH, "{nestedSetParent < 0}", 3},
    {QUERY_SEARCH, "{span.nowhere = 1}", 5},
    {QUERY_METRICS, "{name=\"late\"} | count_over_time() by (span.key)", 0},
    {QUERY_TAG_VALUES, "{span.key=\"late\"}", 50},
};

static void ask(struct world *world, size_t which, struct fm_buf *answer)
{
    struct question question;
    question_init(&question, asked[which].kind, asked[which].text);
    question.ask.limit = asked[which].limit;
    question.ask.spss = 10;
    question.ask.field = (struct traceql_field){.intrinsic = TRACEQL_NAME};
    question.ask.series.start_ns = BASE_S * FM_NS_PER_S;
    question.ask.series.end_ns = (BASE_S + 120) * FM_NS_PER_S;
    question.ask.series.step_ns = 10 * FM_NS_PER_S;
    if (question_ask(world, &question) != FM_OK)
        fail_msg("%s: %s", asked[which].text, question.ask.why.text);
    fm_buf_put_slice(answer, fm_buf_slice(&question.ask.answer));
    fm_buf_put_u8(answer, 0);
    question_fini(&question);
}

static void answers_of(struct world *world, struct fm_buf answers[FM_COUNT(asked)])
{
    for (size_t i = 0; i < FM_COUNT(asked); i++) {
        fm_buf_init(&answers[i], FM_KIB(64));
        ask(world, i, &answers[i]);
    }
    assert_true(answers[0].len > 10 && answers[3].len > 10 && answers[8].len > 10);
}

static void assert_same(struct world *world, const struct fm_buf answers[FM_COUNT(asked)])
{
    for (size_t i = 0; i < FM_COUNT(asked); i++) {
        struct fm_buf answer;
        fm_buf_init(&answer, FM_KIB(64));
        ask(world, i, &answer);
        assert_string_equal((const char *)answer.ptr, (const char *)answers[i].ptr);
        fm_buf_fini(&answer);
    }
}

static void answers_fini(struct fm_buf answers[FM_COUNT(asked)])
{
    for (size_t i = 0; i < FM_COUNT(asked); i++)
        fm_buf_fini(&answers[i]);
}

static void test_the_same_again(void **state)
{
    struct world *world = *state;
    struct fm_buf answers[FM_COUNT(asked)];
    uint64_t misses = 0;
    fill(world);
    keep(world, 0);
    answers_of(world, answers);
    assert_int_equal(said(world, "hits_total") + said(world, "misses_total"), 0);
    keep(world, FM_MIB(4));
    for (unsigned pass = 0; pass < 8; pass++) {
        assert_same(world, answers);
        uint64_t so_far = said(world, "misses_total");
        assert_true(pass < 4 || so_far - misses < 20); /* all but what few frames need */
        misses = so_far;
    }
    assert_true(said(world, "hits_total") > 200);
    assert_true(said(world, "bytes") > 1000);
    assert_int_equal(said(world, "evictions_total"), 0);
    answers_fini(answers);
}

static void test_bound(void **state)
{
    struct world *world = *state;
    struct fm_buf answers[FM_COUNT(asked)];
    fill(world);
    keep(world, 0);
    answers_of(world, answers);
    for (size_t bytes = 512; bytes < FM_KIB(256); bytes *= 3) {
        keep(world, bytes);
        for (unsigned pass = 0; pass < 4; pass++) {
            assert_same(world, answers);
            assert_true(said(world, "bytes") <= bytes);
        }
    }
    answers_fini(answers);
}

/* Two at once read, and make, the same. */
static void test_many_at_once(void **state)
{
    struct world *world = *state;
    struct fm_buf answers[FM_COUNT(asked)];
    fill(world);
    keep(world, 0);
    answers_of(world, answers);
    keep(world, FM_KIB(64));
    for (unsigned pass = 0; pass < 6; pass++) {
        struct question questions[4];
        for (size_t i = 0; i < FM_COUNT(questions); i++) {
            question_init(&questions[i], QUERY_SEARCH, asked[i].text);
            questions[i].ask.limit = asked[i].limit;
            questions[i].ask.spss = 10;
            question_start(world, &questions[i]);
        }
        for (size_t i = 0; i < FM_COUNT(questions); i++) {
            question_wait(world, &questions[i]);
            assert_answer(&questions[i], (const char *)answers[i].ptr);
            question_fini(&questions[i]);
        }
    }
    assert_true(said(world, "hits_total") > 0);
    answers_fini(answers);
}

static void on_sealed(void *self, struct store_block *block)
{
    struct world *world = self;
    store_block_uploaded(world->store, block, on_flushed, world); /* so that it may go */
}

static void test_goes_with_its_block(void **state)
{
    struct world *world = *state;
    const struct store_observer observer = {.on_sealed = on_sealed, .self = world};
    fill(world);
    keep(world, FM_MIB(4));
    for (unsigned pass = 0; pass < 4; pass++)
        assert_asked(world, QUERY_SEARCH, "{name=\"early\" && span.key=\"nowhere\"}", "");
    for (unsigned pass = 0; pass < 4; pass++)
        assert_asked(world, QUERY_SEARCH, "{name=\"early\"} | count() > 3", "");
    assert_true(said(world, "bytes") > 1000);
    store_set_observer(world->store, &observer);
    while (said(world, "bytes"))
        assert_true(sim_step(world->sim));
    assert_asked(world, QUERY_SEARCH, "{name=\"early\"}", "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_same_again),
        TEST(test_bound),
        TEST(test_many_at_once),
        TEST(test_goes_with_its_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
