/* SPDX-License-Identifier: Apache-2.0 */
/* Questions over several threads: blocks in shares of their rows, what is begun and what not. */
#include "world.h"

#define THREADS_MAX 4u
#define TRACES      60u

/* Small pages: a share is some of them. */
static int paged_open(void **state)
{
    return world_open_paged(state, 4);
}

static void set_threads(struct world *world, uint32_t count, size_t share_bytes_min)
{
    struct query_options options = world->options;
    options.thread_count = count;
    options.share_bytes_min = share_bytes_min;
    options.columns_bytes_max = count % 2 ? FM_MIB(1) : 0;
    world_set_options(world, &options);
}

/* Traces at random over five blocks and the head, one in four of them in several. */
static void fill_at_random(struct world *world, uint64_t seed)
{
    static const char *const names[] = {"root", "child", "late", "rare"};
    for (uint32_t part = 0; part < 6; part++) {
        if (part)
            flush(world);
        for (uint32_t trace = 1 + part * TRACES / 6; trace <= (part + 1) * TRACES / 6; trace++) {
            uint32_t count = 1 + (uint32_t)(fm_random_next(&seed) % 4);
            for (uint32_t span = 1; span <= count; span++)
                send(world, trace, span, names[span == 1 ? 0 : fm_random_next(&seed) % 4]);
        }
        for (uint32_t i = 0; i < 4 && part; i++) /* of earlier traces */
            send(world, 1 + (uint32_t)(fm_random_next(&seed) % (part * TRACES / 6)), 5 + part,
                 names[fm_random_next(&seed) % 4]);
    }
}

static const char *const searches[] = {
    "{}",
    "{ name = `rare` }",
    "{ span.key = `late` && duration > 1us }",
    "{ name = `root` } > { name = `child` }",
    "{ name = `root` } >> { name =~ `l.*` }",
    "{} | count() > 3",
    "{ name != `root` } | by(name) | count() > 1",
    "{ rootName = `root` && name = `late` }",
    "{ resource.service.name = `none` }",
};
static const char *const series[] = {
    "{} | rate() by (name)",
    "{ name != `root` } | count_over_time() by (span.key)",
    "{ rootName = `root` } | count_over_time()",
    "{} | quantile_over_time(duration, .5, .9) by (name)",
};

/* One question at random; how it is asked follows from the seed alone. */
static void random_question(struct question *question, uint64_t seed)
{
    uint64_t kind = fm_random_next(&seed) % 4;
    if (kind == 0) {
        question_init(question, QUERY_METRICS, series[fm_random_next(&seed) % FM_COUNT(series)]);
        question->ask.start_ns = BASE_S * FM_NS_PER_S;
        question->ask.end_ns = (BASE_S + TRACES + 10) * FM_NS_PER_S;
        question->ask.series.step_ns = 10 * FM_NS_PER_S;
        return;
    }
    question_init(question, kind == 1 ? QUERY_TAG_VALUES : QUERY_SEARCH,
                  searches[fm_random_next(&seed) % FM_COUNT(searches)]);
    question->ask.field = (struct traceql_field){.scope = TRACEQL_SPAN, .name = FM_SLICE("key")};
    question->ask.limit = kind == 1 ? 0 : 1 + (uint32_t)(fm_random_next(&seed) % TRACES);
    if (fm_random_next(&seed) % 4)
        return;
    question->ask.start_ns = (BASE_S + fm_random_next(&seed) % TRACES) * FM_NS_PER_S;
    question->ask.end_ns = question->ask.start_ns + 20 * FM_NS_PER_S;
}

static void test_any_number_of_threads_says_the_same(void **state)
{
    struct world *world = *state;
    fill_at_random(world, 5);
    for (uint64_t seed = 1; seed <= 120; seed++) {
        struct question alone;
        char expected[2000];
        set_threads(world, 1, 0);
        random_question(&alone, seed);
        assert_ok(question_ask(world, &alone));
        (void)snprintf(expected, sizeof expected, "%.*s", (int)alone.ask.answer.len,
                       alone.ask.answer.len ? (const char *)alone.ask.answer.ptr : "");
        for (uint32_t threads = 2; threads <= THREADS_MAX; threads++) {
            struct question question;
            set_threads(world, threads, 1);
            for (unsigned pass = 0; pass < 3; pass++) { /* the third with what was kept */
                random_question(&question, seed);
                (void)question_ask(world, &question);
                assert_answer(&question, expected);
                assert_int_equal(question.stats.job_count, alone.stats.job_count);
                assert_int_equal(question.stats.jobs_done, question.stats.job_count);
                assert_int_equal(question.stats.block_count, alone.stats.block_count);
                question_fini(&question);
            }
        }
        question_fini(&alone);
    }
}

/* ---- what is read ---- */

static void send_blocks(struct world *world, uint32_t count, uint32_t traces)
{
    for (uint32_t trace = 1; trace <= count * traces; trace++) {
        send(world, trace, 1, "root");
        if (trace % traces == 0)
            flush(world);
    }
}

/* The newest block answers; with more threads nobody looks into another one meanwhile. */
static void test_no_block_too_many(void **state)
{
    struct world *world = *state;
    send_blocks(world, 4, 20);
    for (uint32_t threads = 1; threads <= THREADS_MAX; threads++) {
        struct question question;
        set_threads(world, threads, 1);
        question_init(&question, QUERY_SEARCH, "{ name = `root` }");
        question.ask.limit = 3;
        (void)question_ask(world, &question);
        assert_answer(&question, "80:1 79:1 78:1");
        assert_true(question.stats.inspected_traces <= 20);
        assert_int_equal(question.stats.jobs_done, 4);
        question_fini(&question);
    }
}

static uint64_t count_of(struct world *world, const char *name)
{
    struct fm_buf out;
    char text[100];
    fm_buf_init(&out, FM_MIB(1));
    query_put_metrics(world->engine, &out);
    fm_buf_put_u8(&out, 0);
    (void)snprintf(text, sizeof text, "\n%s ", name);
    const char *line = strstr((char *)out.ptr, text);
    assert_non_null(line);
    uint64_t count = strtoull(line + strlen(text), NULL, 10);
    fm_buf_fini(&out);
    return count;
}

/* The newest block has nothing, so several others are begun at once; the first of them answers. */
static void test_what_is_too_old_is_dropped(void **state)
{
    struct world *world = *state;
    uint64_t shares = 0, dropped = 0;
    for (uint32_t trace = 1; trace <= 60; trace++) {
        send(world, trace, 1, trace > 50 ? "root" : "rare");
        if (trace % 10 == 0)
            flush(world);
    }
    for (unsigned i = 0; i < 20; i++) {
        struct question question;
        set_threads(world, THREADS_MAX, 1);
        question_init(&question, QUERY_SEARCH, "{ name = `rare` }");
        question.ask.limit = 2;
        (void)question_ask(world, &question);
        assert_answer(&question, "50:1 49:1");
        assert_int_equal(question.stats.jobs_done, 6);
        question_fini(&question);
        shares += count_of(world, "fermata_query_shares_total");
        dropped += count_of(world, "fermata_query_shares_dropped_total");
    }
    assert_true(dropped > 0);
    assert_true(dropped < shares);
}

/* All of them are read once and no more. */
static void test_shares_are_disjoint(void **state)
{
    struct world *world = *state;
    send_blocks(world, 3, 50);
    for (uint32_t threads = 1; threads <= THREADS_MAX; threads++) {
        struct question question;
        set_threads(world, threads, 1);
        question_init(&question, QUERY_METRICS, "{} | count_over_time()");
        question.ask.start_ns = BASE_S * FM_NS_PER_S;
        question.ask.end_ns = (BASE_S + 200) * FM_NS_PER_S;
        question.ask.series.step_ns = 10 * FM_NS_PER_S;
        (void)question_ask(world, &question);
        assert_answer(&question, "1 lines, sum 150");
        assert_int_equal(question.stats.inspected_traces, 150);
        assert_int_equal(question.stats.inspected_spans, 150);
        question_fini(&question);
    }
}

/* ---- progress ---- */

static uint32_t jobs_said;

static void on_render_progress(struct query_ask *ask, const struct query_found *found,
                               struct fm_buf *out)
{
    assert_true(found->stats.jobs_done >= jobs_said);
    assert_true(found->stats.jobs_done <= found->stats.job_count);
    assert_true(!found->is_final || found->stats.jobs_done == found->stats.job_count);
    jobs_said = (uint32_t)found->stats.jobs_done;
    on_render(ask, found, out);
}

static void test_progress_is_of_whole_places(void **state)
{
    struct world *world = *state;
    send_blocks(world, 5, 10);
    for (uint32_t threads = 1; threads <= THREADS_MAX; threads++) {
        struct question question;
        set_threads(world, threads, 1);
        question_init(&question, QUERY_SEARCH, "{}");
        question.ask.limit = 45;
        question.ask.streams = true;
        question.ask.render = on_render_progress;
        jobs_said = 0;
        assert_ok(question_ask(world, &question));
        assert_true(question.part_count >= 1);
        assert_int_equal(question.stats.job_count, 5);
        assert_int_equal(jobs_said, 5);
        question_fini(&question);
    }
}

/* ---- ends ---- */

static void test_cancelled_while_shares_run(void **state)
{
    struct world *world = *state;
    send_blocks(world, 4, 12);
    set_threads(world, THREADS_MAX, 1);
    bool is_through = false;
    for (unsigned steps = 0; !is_through; steps++) { /* at every point of its life */
        struct question question, other;
        question_init(&question, QUERY_SEARCH, "{} | count() = 1");
        question_init(&other, QUERY_SEARCH, "{ span.key = `root` }");
        question.ask.limit = 40;
        other.ask.limit = 2;
        question_start(world, &question);
        question_start(world, &other);
        for (unsigned i = 0; i < steps && !question.done_count; i++)
            assert_true(sim_step(world->sim));
        is_through = question.done_count;
        if (!is_through) {
            query_ask_cancel(world->engine, &question.ask);
            question_wait(world, &question);
            assert_int_equal(question.rc, FM_ECANCELLED);
            assert_int_equal(question.ask.answer.len, 0);
        }
        question_wait(world, &other);
        assert_answer(&other, "48:1 47:1");
        question_fini(&question);
        question_fini(&other);
    }
}

static void test_every_allocation_of_shares_may_fail(void **state)
{
    struct world *world = *state;
    bool reached = true;
    send_blocks(world, 3, 12);
    set_threads(world, 3, 1);
    for (uint64_t nth = 1; reached; nth += 1 + nth / 50) {
        struct question question;
        question_init(&question, QUERY_SEARCH, "{ name = `root` }");
        question.ask.limit = 5;
        test_alloc_fail_at(nth);
        (void)question_ask(world, &question);
        reached = test_alloc_failed();
        test_alloc_disarm();
        if (question.rc == FM_OK)
            assert_answer(&question, "36:1 35:1 34:1 33:1 32:1");
        question_fini(&question);
    }
}

struct sealed {
    char path[600];
    uint64_t bytes;
};

static void on_sealed(void *self, struct store_block *block)
{
    struct sealed *sealed = self;
    (void)snprintf(sealed->path, sizeof sealed->path, "%s/data.parquet", block->path);
    sealed->bytes = block->meta.size_bytes;
}

static void list_traces(uint32_t newest, char text[2000])
{
    size_t len = 0;
    for (uint32_t trace = newest; trace; trace--)
        len += (size_t)snprintf(text + len, 2000 - len, trace > 1 ? "%u:1 " : "%u:1", trace);
}

/* Wherever the damage is, and whichever share meets it. */
static void test_a_damaged_share_costs_its_block(void **state)
{
    char whole[2000], left[2000];
    struct world *world = *state;
    struct sealed sealed;
    const struct store_observer observer = {.on_sealed = on_sealed, .self = &sealed};
    unsigned lost = 0;
    for (uint32_t trace = 1; trace <= 90; trace++) {
        send(world, trace, 1, trace % 4 ? "some" : "four");
        if (trace == 60)
            store_set_observer(world->store, &observer);
        if (trace % 30 == 0)
            flush(world);
    }
    list_traces(90, whole);
    list_traces(60, left);
    for (uint64_t bit = 8 * 8; bit < 8 * sealed.bytes; bit += 8 * 23) {
        struct question question;
        set_threads(world, 3, 1);
        question_init(&question, QUERY_SEARCH, "{ span.key != `none` }");
        question.ask.limit = 100;
        sim_disk_flip_bit(world->sim, sealed.path, bit);
        (void)question_ask(world, &question);
        sim_disk_flip_bit(world->sim, sealed.path, bit);
        uint64_t failed = count_of(world, "fermata_query_blocks_failed_total");
        assert_answer(&question, failed ? left : whole);
        assert_true(failed <= 1);
        lost += failed != 0;
        question_fini(&question);
    }
    assert_true(lost > 50);
}

/* What fits into the memory of one thread is answered, whatever the number of threads. */
static void test_little_memory_is_enough_for_one(void **state)
{
    struct world *world = *state;
    unsigned answered = 0;
    int last = FM_OK;
    send_blocks(world, 3, 120);
    for (size_t memory = FM_MIB(8); last == FM_OK; memory -= memory / 8) {
        for (uint32_t threads = 1; threads <= THREADS_MAX && last == FM_OK; threads++) {
            struct question question;
            struct query_options options = world->options;
            options.memory_max = memory;
            options.thread_count = threads;
            options.share_bytes_min = 1;
            world_set_options(world, &options);
            question_init(&question, QUERY_SEARCH, "{ span.key = `root` } | count() = 1");
            question.ask.limit = 2;
            int rc = question_ask(world, &question);
            if (rc == FM_OK)
                assert_answer(&question, "360:1 359:1");
            else if (threads == 1)
                last = rc;
            else
                fail_msg("%zu bytes are not enough for %u threads: %s", memory, threads,
                         question.ask.why.text);
            answered += rc == FM_OK;
            question_fini(&question);
        }
    }
    assert_true(last == FM_ELIMIT || last == FM_ENOMEM);
    assert_true(answered > THREADS_MAX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, paged_open, world_close)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_any_number_of_threads_says_the_same), TEST(test_no_block_too_many),
        TEST(test_what_is_too_old_is_dropped),          TEST(test_shares_are_disjoint),
        TEST(test_progress_is_of_whole_places),         TEST(test_cancelled_while_shares_run),
        TEST(test_every_allocation_of_shares_may_fail), TEST(test_a_damaged_share_costs_its_block),
        TEST(test_little_memory_is_enough_for_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
