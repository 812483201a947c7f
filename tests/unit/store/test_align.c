/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks end where an hour of wall time ends, some minutes past by node. */
#include "world.h"

#define HOUR_NS   (3600 * FM_NS_PER_S)
#define MINUTE_NS (60 * FM_NS_PER_S)
#define SPANS_MAX 4000

struct align {
    struct fixture f;
    uint64_t received_ns[SPANS_MAX]; /* by number, from 0 */
    uint32_t sealed_spans;
    uint32_t block_count;
    uint64_t shift_ns, longest_ns;
    bool is_timely; /* blocks are there soon after their hour */
};

/* The spans of a block are those behind the block before. */
static void align_on_sealed(void *self, struct store_block *block)
{
    struct align *align = self;
    uint32_t first = align->sealed_spans, last = first + (uint32_t)block->span_count - 1;
    assert_true(last < align->f.span_count);
    uint64_t begin_ns = align->received_ns[first], end_ns = align->received_ns[last];
    assert_true((begin_ns - align->shift_ns) / HOUR_NS == (end_ns - align->shift_ns) / HOUR_NS);
    uint64_t hour_ns = (begin_ns - align->shift_ns) / HOUR_NS * HOUR_NS + align->shift_ns;
    assert_true(!align->is_timely ||
                pf_wall_ns(sim_platform(align->f.sim)) < hour_ns + HOUR_NS + 10 * FM_NS_PER_S);
    align->longest_ns = FM_MAX(align->longest_ns, end_ns - begin_ns);
    align->sealed_spans = last + 1;
    align->block_count++;
}

static void align_open(struct align *align)
{
    struct fixture *f = &align->f;
    assert_ok(store_open(&f->store, sim_platform(f->sim), &f->options, NULL));
    const struct store_observer observer = {.on_sealed = align_on_sealed, .self = align};
    store_set_observer(f->store, &observer);
}

static void align_begin(struct align *align, uint64_t seed, uint64_t node)
{
    memset(align, 0, sizeof *align);
    struct fixture *f = &align->f;
    assert_ok(sim_new(&f->sim, seed));
    sim_wall_set(f->sim, UINT64_C(1795269600) * FM_NS_PER_S); /* 2026-11-21 14:00 */
    f->options = (struct store_options){
        .data_dir = DATA_DIR,
        .sync = STORE_SYNC_GROUP,
        .segment_bytes = FM_MIB(1),
        .compress = true,
        .pending_bytes_max = FM_MIB(1),
        .head_bytes_max = FM_MIB(8),
        .block = block_options_default,
        .block_age_ns = 15 * MINUTE_NS,
        .block_align_ns = HOUR_NS,
        .block_bytes = FM_MIB(64),
    };
    f->options.block.codec = CODEC_SNAPPY;
    fm_store_be64(f->options.node, node);
    align->shift_ns = node % (5 * MINUTE_NS + 1);
    assert_ok(pf_make_path(sim_platform(f->sim), DATA_DIR, NULL));
    align_open(align);
}

static void align_send(struct align *align)
{
    assert_true(align->f.span_count < SPANS_MAX);
    align->received_ns[align->f.span_count] = pf_wall_ns(sim_platform(align->f.sim));
    send_sized(&align->f, TENANT, align->f.span_count, 20);
}

static void align_end(struct align *align)
{
    store_set_observer(align->f.store, &(struct store_observer){0});
    fixture_close(&align->f);
    sim_free(align->f.sim);
}

static void test_no_block_holds_two_hours(void **state)
{
    (void)state;
    static struct align align;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        align_begin(&align, seed, seed * UINT64_C(0x9e3779b97f4a7c15));
        align.is_timely = true;
        uint64_t pause_s = seed % 2 ? 20 : 300; /* a busy node, and one that is nearly idle */
        while (pf_wall_ns(sim_platform(align.f.sim)) < UINT64_C(1795291200) * FM_NS_PER_S) {
            align_send(&align);
            sim_run(align.f.sim, (1 + sim_random(align.f.sim) % pause_s) * FM_NS_PER_S);
        }
        assert_ok(flush(&align.f));
        assert_int_equal(align.sealed_spans, align.f.span_count);
        assert_true(align.block_count >= 6 * 4 - 2 && align.block_count <= 6 * 5 + 3);
        assert_true(align.longest_ns <= 15 * MINUTE_NS + MINUTE_NS);
        /* What has come into being in these six hours is what comes. */
        struct store_status status;
        store_get_status(align.f.store, &status);
        uint64_t growth = store_growth(align.f.store), whole = status.blocks_bytes / (6 * 3600);
        assert_true(growth != UINT64_MAX && growth >= whole * 8 / 10 && growth <= whole * 12 / 10);
        align_end(&align);
    }
}

/* The clock is set, or the power was off at the boundary: the log holds both hours, no block does.
 */
static void run_missed(bool with_restart)
{
    static struct align align;
    align_begin(&align, 3, 7 * MINUTE_NS);
    assert_true(align.shift_ns > MINUTE_NS && align.shift_ns < 3 * MINUTE_NS);
    sim_run(align.f.sim, 58 * MINUTE_NS);
    for (int i = 0; i < 10; i++)
        align_send(&align);
    sim_run(align.f.sim, FM_NS_PER_S);
    assert_int_equal(align.f.answered, 10);
    if (with_restart)
        fixture_close(&align.f);
    sim_wall_set(align.f.sim, pf_wall_ns(sim_platform(align.f.sim)) + 6 * MINUTE_NS);
    if (with_restart)
        align_open(&align);
    for (int i = 0; i < 10; i++)
        align_send(&align);
    for (int i = 0; align.f.answered < 20 && i < 1000; i++)
        (void)sim_step(align.f.sim);
    assert_int_equal(align.f.answered, 20);
    assert_ok(flush(&align.f));
    assert_int_equal(align.sealed_spans, 20);
    assert_int_equal(align.block_count, 2);
    align_end(&align);
}

static void test_a_boundary_that_was_missed(void **state)
{
    (void)state;
    run_missed(false);
    run_missed(true);
}

static void test_without_boundaries(void **state)
{
    (void)state;
    static struct align align;
    align_begin(&align, 4, 0);
    align.f.options.block_align_ns = 0;
    fixture_close(&align.f);
    align_open(&align);
    align.shift_ns = 30 * MINUTE_NS; /* what follows holds no boundary by that */
    sim_run(align.f.sim, 55 * MINUTE_NS);
    align_send(&align);
    sim_run(align.f.sim, 10 * MINUTE_NS);
    align_send(&align);
    assert_int_equal(align.block_count, 0);
    sim_run(align.f.sim, 6 * MINUTE_NS);
    assert_int_equal(align.block_count, 1);
    assert_int_equal(align.sealed_spans, 2);
    align_end(&align);
}

int main(void)
{
    log_setup((enum log_level)0, false, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_block_holds_two_hours),
        cmocka_unit_test(test_a_boundary_that_was_missed),
        cmocka_unit_test(test_without_boundaries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
