/* SPDX-License-Identifier: Apache-2.0 */
/* Names and values that are kept between questions: the answers are those of the blocks, within
 * the bound, until the block goes. */
#include "world.h"

static uint64_t said(struct world *world, const char *name)
{
    struct fm_buf out;
    char line[80];
    fm_buf_init(&out, FM_MIB(1));
    query_put_metrics(world->engine, &out);
    fm_buf_put_u8(&out, 0);
    (void)snprintf(line, sizeof line, "\nfermata_query_tags_cache_%s ", name);
    const char *found = strstr((char *)out.ptr, line);
    assert_non_null(found);
    uint64_t value = strtoull(found + strlen(line), NULL, 10);
    fm_buf_fini(&out);
    return value;
}

static void keep(struct world *world, size_t bytes_max)
{
    const struct query_options options = {.concurrency_max = 2,
                                          .trace_bytes_max = FM_MIB(1),
                                          .thread_count = 2,
                                          .lists_bytes_max = bytes_max};
    world_set_options(world, &options);
}

static void fill(struct world *world)
{
    send(world, 1, 1, "root");
    send(world, 2, 1, "child");
    flush(world);
    send(world, 3, 1, "late");
    send(world, 4, 1, "root");
    flush(world);
}

static const struct traceql_field name_field = {.intrinsic = TRACEQL_NAME};
static const struct traceql_field key_field = {.scope = TRACEQL_SPAN, .name = FM_SLICE("key")};

struct asked {
    const struct traceql_field *field; /* NULL: names */
    const char *text;
    uint64_t start_ns, end_ns;
    uint32_t limit;
};

static void assert_said(struct world *world, const struct asked *asked, const char *answer)
{
    struct question question;
    question_init(&question, asked->field ? QUERY_TAG_VALUES : QUERY_TAG_NAMES,
                  asked->text ? asked->text : "");
    if (asked->field)
        question.ask.field = *asked->field;
    question.ask.start_ns = asked->start_ns;
    question.ask.end_ns = asked->end_ns;
    question.ask.limit = asked->limit;
    assert_ok(question_ask(world, &question));
    assert_answer(&question, answer);
    question_fini(&question);
}

static uint64_t at_ns(uint64_t s)
{
    return (BASE_S + s) * FM_NS_PER_S;
}

static void test_the_same_again(void **state)
{
    struct world *world = *state;
    const struct asked names = {0}, name = {.field = &name_field}, key = {.field = &key_field};
    keep(world, FM_KIB(64));
    fill(world);
    for (unsigned pass = 0; pass < 3; pass++) {
        assert_said(world, &names, "span,key resource,service.name intrinsic");
        assert_said(world, &name, "child late root");
        assert_said(world, &key, "child late root");
        assert_int_equal(said(world, "misses_total"), 6);
        assert_int_equal(said(world, "hits_total"), pass * 6);
    }
    assert_int_equal(said(world, "evictions_total"), 0);
    send(world, 5, 1, "new"); /* in the head */
    assert_said(world, &key, "child late new root");
    flush(world);
    assert_said(world, &key, "child late new root");
    assert_said(world, &key, "child late new root");
    assert_int_equal(said(world, "misses_total"), 7);
}

static void test_a_window_leaves_blocks_out(void **state)
{
    struct world *world = *state;
    const struct asked all = {.field = &key_field};
    const struct asked old = {.field = &key_field, .start_ns = at_ns(0), .end_ns = at_ns(2)};
    const struct asked none = {.field = &key_field, .start_ns = at_ns(60), .end_ns = at_ns(99)};
    keep(world, FM_KIB(64));
    fill(world);
    for (unsigned pass = 0; pass < 2; pass++) {
        assert_said(world, &old, "child root");
        assert_said(world, &none, "");
        assert_said(world, &all, "child late root");
    }
    assert_int_equal(said(world, "misses_total"), 2);
    assert_int_equal(said(world, "hits_total"), 4);
}

static uint32_t answer_count(struct world *world, uint32_t limit)
{
    struct question question;
    uint32_t count = 1;
    question_init(&question, QUERY_TAG_VALUES, "");
    question.ask.field = key_field;
    question.ask.limit = limit;
    assert_ok(question_ask(world, &question));
    for (size_t i = 0; i < question.ask.answer.len; i++)
        count += question.ask.answer.ptr[i] == ' ';
    question_fini(&question);
    return count;
}

/* What a limit cut off is not what is kept. */
static void test_limits_cut_the_answer_only(void **state)
{
    struct world *world = *state;
    const struct asked all = {.field = &key_field};
    keep(world, FM_KIB(64));
    fill(world);
    assert_int_equal(answer_count(world, 1), 1);
    assert_int_equal(answer_count(world, 1), 1);
    assert_said(world, &all, "child late root");
    assert_int_equal(answer_count(world, 2), 2);
    assert_said(world, &all, "child late root");
    assert_true(said(world, "hits_total") > 0);
}

static void test_filters_ask_the_blocks(void **state)
{
    struct world *world = *state;
    const struct asked all = {.field = &key_field};
    const struct asked some = {.field = &key_field, .text = "{ name = `late` }"};
    keep(world, FM_KIB(64));
    fill(world);
    for (unsigned pass = 0; pass < 2; pass++) {
        assert_said(world, &all, "child late root");
        assert_said(world, &some, "late");
        assert_asked(world, QUERY_TAG_NAMES, "{ name = `nope` }", "intrinsic");
    }
    assert_int_equal(said(world, "misses_total"), 2);
    assert_int_equal(said(world, "hits_total"), 2);
}

/* Least recently asked goes first, and the bound holds. */
static void test_bound(void **state)
{
    struct world *world = *state;
    const size_t bytes_max = 1500;
    const struct asked names = {0};
    keep(world, bytes_max);
    fill(world);
    for (unsigned i = 0; i < 40; i++) {
        char text[16];
        (void)snprintf(text, sizeof text, "nothing-%u", i);
        const struct traceql_field field = {.scope = TRACEQL_SPAN, .name = fm_slice_text(text)};
        const struct asked asked = {.field = &field};
        assert_said(world, &asked, "");
        assert_said(world, &names, "span,key resource,service.name intrinsic");
        assert_true(said(world, "bytes") <= bytes_max);
    }
    assert_true(said(world, "evictions_total") > 40);
    assert_int_equal(said(world, "hits_total"), 2 * 39);
    keep(world, 0);
    assert_said(world, &names, "span,key resource,service.name intrinsic");
    assert_said(world, &names, "span,key resource,service.name intrinsic");
    assert_int_equal(said(world, "bytes"), 0);
    assert_int_equal(said(world, "misses_total"), 0);
    keep(world, 40); /* less than any entry */
    assert_said(world, &names, "span,key resource,service.name intrinsic");
    assert_said(world, &names, "span,key resource,service.name intrinsic");
    assert_int_equal(said(world, "bytes"), 0);
}

static void on_sealed(void *self, struct store_block *block)
{
    struct world *world = self;
    world->answered++;
    if (world->answered == 2) /* of two: the older one may go */
        return;
    store_block_uploaded(world->store, block, on_flushed, world);
}

static void test_goes_with_its_block(void **state)
{
    struct world *world = *state;
    const struct asked all = {.field = &key_field};
    keep(world, FM_KIB(64));
    fill(world);
    assert_said(world, &all, "child late root");
    uint64_t both = said(world, "bytes");
    const struct store_observer observer = {.on_sealed = on_sealed, .self = world};
    world->answered = 0;
    world->is_flushed = false;
    store_set_observer(world->store, &observer);
    while (said(world, "evictions_total") == 0)
        assert_true(sim_step(world->sim));
    assert_int_equal(world->flush_rc, 0);
    assert_in_range(said(world, "bytes"), 1, both - 1);
    assert_said(world, &all, "late root");
    assert_int_equal(said(world, "misses_total"), 2);
}

static void test_many_at_once(void **state)
{
    struct world *world = *state;
    struct question questions[6];
    keep(world, FM_KIB(64));
    fill(world);
    for (unsigned i = 0; i < FM_COUNT(questions); i++) {
        question_init(&questions[i], QUERY_TAG_VALUES, "");
        questions[i].ask.field = key_field;
        question_start(world, &questions[i]);
    }
    for (unsigned i = 0; i < FM_COUNT(questions); i++) {
        question_wait(world, &questions[i]);
        assert_answer(&questions[i], "child late root");
        question_fini(&questions[i]);
    }
    assert_int_equal(said(world, "hits_total") + said(world, "misses_total"), 12);
}

static void test_every_allocation_may_fail(void **state)
{
    struct world *world = *state;
    const struct asked all = {.field = &key_field};
    bool reached = true;
    keep(world, FM_KIB(64));
    fill(world);
    for (uint64_t nth = 1; reached; nth++) {
        struct question question;
        keep(world, FM_KIB(64));
        question_init(&question, QUERY_TAG_VALUES, "");
        question.ask.field = key_field;
        test_alloc_fail_at(nth);
        (void)question_ask(world, &question);
        reached = test_alloc_failed();
        test_alloc_disarm();
        if (question.rc == FM_OK)
            assert_answer(&question, "child late root");
        question_fini(&question);
        assert_said(world, &all, "child late root");
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_same_again),
        TEST(test_a_window_leaves_blocks_out),
        TEST(test_limits_cut_the_answer_only),
        TEST(test_filters_ask_the_blocks),
        TEST(test_bound),
        TEST(test_goes_with_its_block),
        TEST(test_many_at_once),
        TEST(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
