/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks that are only made to leave: a group is there whole or not at all, its sources count as
 * uploaded when all of it has left, and no crash leaves anything in between. */
#include "world.h"

#include "../../../src/daemon/store/outbox.h"

#define TRACES 40u

struct maker { /* one call of store_outgoing_build */
    struct store_outgoing outgoing;
    struct store_block *source; /* NULL: none */
    uint32_t first, next, count;
    size_t ballast;
    int fail_at; /* of next(); 0: never */
    int rc;
    bool is_done;
};

struct outside { /* who hears of blocks */
    struct fixture f;
    struct store_block *sealed[64];
    size_t sealed_count;
    struct store_block *outgoing[64];
    size_t outgoing_count;
};

static void on_sealed(void *self, struct store_block *block)
{
    struct outside *o = self;
    if (block->is_outgoing)
        o->outgoing[o->outgoing_count++] = block;
    else
        o->sealed[o->sealed_count++] = block;
}

static void outside_open(struct outside *o)
{
    const struct store_observer observer = {.on_sealed = on_sealed, .self = o};
    struct fm_why why = {""};
    int rc = store_open(&o->f.store, sim_platform(o->f.sim), &o->f.options, &why);
    if (rc < 0)
        fail_msg("open: %s", why.text);
    o->sealed_count = o->outgoing_count = 0;
    store_set_observer(o->f.store, &observer);
}

static void outside_crash(struct outside *o)
{
    sim_crash(o->f.sim, false);
    o->f.store = store_abandon(o->f.store);
}

static int setup(void **state)
{
    struct outside *o = calloc(1, sizeof *o);
    assert_non_null(o);
    assert_ok(sim_new(&o->f.sim, 11));
    log_setup((enum log_level)0, false, NULL);
    o->f.options = (struct store_options){
        .data_dir = DATA_DIR,
        .node = {9},
        .segment_bytes = FM_KIB(256),
        .compress = true,
        .pending_bytes_max = FM_MIB(1),
        .head_bytes_max = FM_MIB(1),
        .block = block_options_default,
        .block_age_ns = 3600 * FM_NS_PER_S,
        .block_bytes = FM_MIB(64),
        .retention_ns = 3600 * FM_NS_PER_S,
        .sync_interval_ns = 200 * FM_NS_PER_MS,
    };
    outside_open(o);
    *state = o;
    return 0;
}

static int teardown(void **state)
{
    struct outside *o = *state;
    if (o->f.store)
        fixture_close(&o->f);
    sim_free(o->f.sim);
    free(o);
    return 0;
}

static void seal(struct outside *o)
{
    for (uint32_t i = 1; i <= TRACES; i++)
        send_sized(&o->f, TENANT, i, 20);
    sim_run(o->f.sim, FM_NS_PER_S); /* a flush is about what is stored */
    assert_ok(flush(&o->f));
    assert_int_equal(o->sealed_count, 1);
}

static int maker_next(void *self, struct fm_buf *otlp, struct fm_why *why)
{
    struct maker *maker = self;
    if (maker->fail_at && (int)maker->next == maker->fail_at)
        return fm_fail(why, FM_EIO, "the source cannot be read");
    if (maker->next == maker->count)
        return FM_END;
    uint32_t number = maker->first + maker->next++;
    struct trace_id id = trace_of(number);
    put_span(otlp, &id, number, maker->ballast);
    return FM_OK;
}

static void maker_done(struct store_outgoing *outgoing, int rc)
{
    struct maker *maker = FM_CONTAINER(outgoing, struct maker, outgoing);
    maker->rc = rc;
    maker->is_done = true;
}

static void maker_start(struct outside *o, struct maker *maker)
{
    maker->is_done = false;
    maker->next = 0;
    maker->outgoing = (struct store_outgoing){
        .tenant = FM_SLICE(TENANT),
        .lane = maker->outgoing.lane,
        .name = {7, 1},
        .sources = &maker->source,
        .source_count = maker->source ? 1 : 0,
        .next = maker_next,
        .done = maker_done,
        .self = maker,
    };
    store_outgoing_build(o->f.store, &maker->outgoing);
    assert_false(maker->is_done);
}

static int make(struct outside *o, struct maker *maker)
{
    maker_start(o, maker);
    while (!maker->is_done && sim_step(o->f.sim)) {
    }
    return maker->is_done ? maker->rc : FM_EIO;
}

static void on_uploaded(void *self, int rc)
{
    if (rc == FM_OK)
        ++*(unsigned *)self;
}

/* Everything in the outbox has reached the bucket. */
static void leave(struct outside *o, size_t count)
{
    unsigned marked = 0;
    for (size_t i = 0; i < count; i++)
        store_block_uploaded(o->f.store, o->outgoing[i], on_uploaded, &marked);
    sim_run(o->f.sim, FM_NS_PER_S);
    if (!sim_crashed(o->f.sim))
        assert_int_equal(marked, count);
}

static uint64_t waiting(const struct outside *o, enum store_lane lane)
{
    struct store_outbox_status status;
    store_outbox_get_status(o->f.store, &status);
    return status.groups[lane];
}

/* ---- tests ---- */

static void test_a_group_leaves_and_its_source_is_marked(void **state)
{
    struct outside *o = *state;
    struct store_outbox_status status;
    seal(o);
    struct maker maker = {.source = o->sealed[0], .first = 3, .count = 5, .ballast = 20};
    assert_ok(make(o, &maker));
    assert_int_equal(maker.outgoing.trace_count, 5);
    assert_int_equal(maker.outgoing.span_count, 5);
    assert_int_equal(o->outgoing_count, 1);
    assert_int_equal(o->outgoing[0]->span_count, 5);
    assert_int_equal(o->outgoing[0]->meta.trace_count, 5);
    assert_int_equal(o->outgoing[0]->sealed_unix_ns, o->sealed[0]->sealed_unix_ns);
    store_outbox_get_status(o->f.store, &status);
    assert_int_equal(status.spans[STORE_LANE_NORMAL], 5);
    assert_true(store_outgoing_exists(o->f.store, FM_SLICE(TENANT), maker.outgoing.name));
    assert_false(store_block_is_uploaded(o->f.store, o->sealed[0]));
    assert_int_equal(make(o, &maker), FM_EEXISTS);
    leave(o, 1);
    assert_true(store_block_is_uploaded(o->f.store, o->sealed[0]));
    assert_int_equal(waiting(o, STORE_LANE_NORMAL), 0);
    outside_crash(o);
    outside_open(o);
    assert_int_equal(o->outgoing_count, 0);
    assert_true(store_block_is_uploaded(o->f.store, o->sealed[0]));
}

static void test_it_survives_a_restart(void **state)
{
    struct outside *o = *state;
    seal(o);
    struct maker maker = {.outgoing = {.lane = STORE_LANE_RECALL}, .first = 3, .count = 5};
    assert_ok(make(o, &maker));
    struct block_id id = o->outgoing[0]->meta.id;
    outside_crash(o);
    outside_open(o);
    assert_int_equal(o->outgoing_count, 1);
    assert_int_equal(o->outgoing[0]->lane, STORE_LANE_RECALL);
    assert_memory_equal(&o->outgoing[0]->meta.id, &id, sizeof id);
    leave(o, 1);
    assert_int_equal(waiting(o, STORE_LANE_RECALL), 0);
    assert_false(store_block_is_uploaded(o->f.store, o->sealed[0])); /* it was no source */
}

static void test_nothing_makes_no_group(void **state)
{
    struct outside *o = *state;
    seal(o);
    struct maker maker = {.source = o->sealed[0]};
    assert_ok(make(o, &maker));
    assert_int_equal(maker.outgoing.span_count, 0);
    assert_int_equal(o->outgoing_count, 0);
    assert_false(store_block_is_uploaded(o->f.store, o->sealed[0]));
}

static void test_a_large_group_has_several_blocks(void **state)
{
    struct outside *o = *state;
    o->f.options.block_bytes = FM_KIB(64);
    outside_crash(o);
    outside_open(o);
    seal(o);
    struct maker maker = {.source = o->sealed[0], .first = 1, .count = 20, .ballast = 40000};
    assert_ok(make(o, &maker));
    assert_true(o->outgoing_count > 2);
    assert_int_equal(o->outgoing_count, maker.outgoing.block_count);
    assert_int_equal(maker.outgoing.trace_count, 20);
    leave(o, o->outgoing_count - 1);
    assert_false(store_block_is_uploaded(o->f.store, o->sealed[0]));
    assert_int_equal(waiting(o, STORE_LANE_NORMAL), 1);
    o->outgoing[0] = o->outgoing[o->outgoing_count - 1];
    leave(o, 1);
    assert_true(store_block_is_uploaded(o->f.store, o->sealed[0]));
    assert_int_equal(waiting(o, STORE_LANE_NORMAL), 0);
}

static void test_failures_leave_nothing(void **state)
{
    struct outside *o = *state;
    seal(o);
    struct maker maker = {.source = o->sealed[0], .first = 1, .count = 5, .fail_at = 3};
    assert_int_equal(make(o, &maker), FM_EIO);
    assert_int_equal(o->outgoing_count, 0);
    maker.fail_at = 0;
    assert_ok(make(o, &maker));
}

static void test_cancelled_and_closed(void **state)
{
    struct outside *o = *state;
    seal(o);
    struct maker maker = {.source = o->sealed[0], .first = 1, .count = 5};
    maker_start(o, &maker);
    store_outgoing_cancel(o->f.store, &maker.outgoing);
    sim_run(o->f.sim, FM_NS_PER_S);
    assert_true(maker.is_done);
    assert_int_equal(maker.rc, FM_ECANCELLED);
    assert_ok(make(o, &maker));
    maker_start(o, &maker);
    fixture_close(&o->f);
    assert_true(maker.is_done);
    assert_int_equal(maker.rc, FM_ECLOSED);
    outside_open(o);
    assert_int_equal(o->outgoing_count, 1);
}

static struct outside *outside_new(void)
{
    void *state;
    assert_int_equal(setup(&state), 0);
    return state;
}

static void outside_free(struct outside *o)
{
    void *state = o;
    assert_int_equal(teardown(&state), 0);
}

/* Dies at every operation of the disk until the group is made. */
static void test_a_crash_in_the_build(void **state)
{
    struct outside *o = *state;
    unsigned whole = 0, absent = 0;
    seal(o);
    for (uint64_t nth = 1; !whole; nth++) {
        struct maker maker = {.source = o->sealed[0], .first = 1, .count = 5, .ballast = 20};
        sim_crash_at(o->f.sim, nth);
        (void)make(o, &maker);
        outside_crash(o);
        outside_open(o);
        assert_int_equal(o->sealed_count, 1);
        assert_false(store_block_is_uploaded(o->f.store, o->sealed[0]));
        assert_int_equal(o->outgoing_count, waiting(o, STORE_LANE_NORMAL));
        whole += o->outgoing_count != 0;
        absent += o->outgoing_count == 0;
    }
    assert_int_equal(o->outgoing[0]->span_count, 5);
    assert_true(absent > 20);
}

/* And at every one while it leaves: it can always be finished. */
static void test_a_crash_while_it_leaves(void **state)
{
    unsigned crashes = 0;
    bool is_over = false;
    (void)state;
    for (uint64_t nth = 1; !is_over; nth++) {
        struct outside *o = outside_new();
        seal(o);
        struct maker maker = {.source = o->sealed[0], .first = 1, .count = 5, .ballast = 20};
        assert_ok(make(o, &maker));
        sim_crash_at(o->f.sim, nth);
        leave(o, 1);
        is_over = !sim_crashed(o->f.sim);
        crashes += !is_over;
        outside_crash(o);
        outside_open(o);
        sim_run(o->f.sim, FM_NS_PER_S);
        bool is_uploaded = store_block_is_uploaded(o->f.store, o->sealed[0]);
        assert_true(is_uploaded || o->outgoing_count); /* here, or known to have left */
        if (waiting(o, STORE_LANE_NORMAL))
            leave(o, 1);
        assert_true(store_block_is_uploaded(o->f.store, o->sealed[0]));
        assert_int_equal(waiting(o, STORE_LANE_NORMAL), 0);
        outside_free(o);
    }
    assert_true(crashes > 5);
}

static void test_group_file(void **state)
{
    static const char text[] = "{\"version\":1,\"lane\":\"express\",\"blocks\":2,"
                               "\"sealedUnixNano\":17,\"sources\":"
                               "[\"00000000-0000-8000-8000-000000000001\"],\"more\":{}}";
    struct outbox_group group = {0};
    uint32_t block_count;
    (void)state;
    assert_ok(outbox_group_parse(FM_SLICE(text), &group, &block_count, NULL));
    assert_int_equal(group.lane, STORE_LANE_EXPRESS);
    assert_int_equal(group.sealed_unix_ns, 17);
    assert_int_equal(group.source_count, 1);
    assert_int_equal(block_count, 2);
    free(group.sources);
    for (size_t len = 0; len < sizeof text - 1; len++) {
        group = (struct outbox_group){0};
        assert_true(outbox_group_parse(fm_slice(text, len), &group, &block_count, NULL) < 0);
        free(group.sources);
    }
    for (size_t bit = 0; bit < (sizeof text - 1) * 8; bit++) {
        char flipped[sizeof text];
        memcpy(flipped, text, sizeof text);
        flipped[bit / 8] ^= (char)(1u << bit % 8);
        group = (struct outbox_group){0};
        (void)!outbox_group_parse(FM_SLICE(flipped), &group, &block_count, NULL);
        assert_true(group.source_count <= STORE_SOURCES_MAX);
        free(group.sources);
    }
}

#define OUTBOX_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OUTBOX_TEST(test_a_group_leaves_and_its_source_is_marked),
        OUTBOX_TEST(test_it_survives_a_restart),
        OUTBOX_TEST(test_nothing_makes_no_group),
        OUTBOX_TEST(test_a_large_group_has_several_blocks),
        OUTBOX_TEST(test_failures_leave_nothing),
        OUTBOX_TEST(test_cancelled_and_closed),
        OUTBOX_TEST(test_a_crash_in_the_build),
        cmocka_unit_test(test_a_crash_while_it_leaves),
        cmocka_unit_test(test_group_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
