/* SPDX-License-Identifier: Apache-2.0 */
/* Which traces leave: by policy, by halves, late, after a restart, and of blocks that are damaged.
 * The long runs, with crashes at any moment, are in tests/sim/sim_sample.c. */
#include "world.h"

#include "fermata/store_ledger.h"

static const struct sample_rule errors[] = {
    {.kind = SAMPLE_STATUS_CODE, .name = "errors", .status_codes = "error"}};
static const struct sample_rule slow[] = {
    {.kind = SAMPLE_LATENCY, .name = "slow", .threshold_ns = 2 * FM_NS_PER_S}};

static void settle(struct world *world)
{
    sim_run(world->sim, WAIT_NS + 30 * FM_NS_PER_S);
}

static struct sampler_status status_of(const struct world *world)
{
    struct sampler_status status;
    sampler_get_status(world->sampler, &status);
    return status;
}

static void test_part_leaves(void **state)
{
    struct world *world = world_new(errors, 1, "0");
    (void)state;
    for (uint32_t trace = 1; trace <= 20; trace++) {
        send(world, trace, false);
        send(world, trace, trace % 5 == 0);
    }
    flush(world);
    sim_run(world->sim, WAIT_NS / 2);
    assert_int_equal(world->block_count, 0); /* it waits */
    assert_int_equal(status_of(world).undecided_blocks, 1);
    assert_int_equal(status_of(world).undecided_spans, 40);
    settle(world);
    assert_int_equal(world->outgoing_count, 1);
    for (uint32_t trace = 1; trace <= 20; trace++)
        assert_int_equal(left_spans(world, trace), trace % 5 ? 0 : 2);
    assert_int_equal(status_of(world).undecided_blocks, 0);
    assert_int_equal(status_of(world).unbuilt_blocks, 0);
    assert_int_equal(status_of(world).kept_spans, 8);
    assert_int_equal(status_of(world).dropped_spans, 32);
    struct store_status store;
    store_get_status(world->store, &store);
    assert_int_equal(store.blocks_sealed, 1); /* all of it stays here */
    assert_int_equal(store.block_spans, 40);
    assert_int_equal(store.blocks_uploaded, 1);
    world_free(world);
}

static void test_whole_and_nothing(void **state)
{
    struct world *world = world_new(errors, 1, "0");
    (void)state;
    send(world, 1, true);
    flush(world);
    send(world, 2, false);
    flush(world);
    settle(world);
    assert_int_equal(world->block_count, 1); /* the first one, as it is */
    assert_int_equal(world->outgoing_count, 0);
    assert_int_equal(left_spans(world, 1), 1);
    assert_int_equal(left_spans(world, 2), 0);
    struct store_status store;
    store_get_status(world->store, &store);
    assert_int_equal(store.blocks_uploaded, store.blocks_sealed);
    world_free(world);
}

/* The error comes in a later block; the first block is judged with it. */
static void test_parts_in_later_blocks(void **state)
{
    struct world *world = world_new(errors, 1, "0");
    (void)state;
    for (uint32_t trace = 1; trace <= 6; trace++)
        send(world, trace, false);
    flush(world);
    send(world, 2, true);
    flush(world);
    settle(world);
    assert_int_equal(left_spans(world, 2), 2);
    for (uint32_t trace = 1; trace <= 6; trace++)
        assert_int_equal(left_spans(world, trace), trace == 2 ? 2 : 0);
    world_free(world);
}

/* The rest of the trace is in no block yet. */
static void test_parts_in_the_head(void **state)
{
    struct world *world = world_new(slow, 1, "0");
    (void)state;
    for (uint32_t trace = 1; trace <= 6; trace++)
        send(world, trace, false);
    flush(world);
    send_span(world, &(struct sent_span){3, "late", false, 5 * FM_NS_PER_S});
    settle(world);
    assert_int_equal(left_spans(world, 3), 1);
    flush(world);
    settle(world);
    assert_int_equal(left_spans(world, 3), 2);
    assert_int_equal(left_spans(world, 1), 0);
    world_free(world);
}

static void test_late_spans_follow(void **state)
{
    struct world *world = world_new(errors, 1, "0");
    (void)state;
    send(world, 1, true);
    send(world, 2, false);
    flush(world);
    settle(world);
    world_restart(world); /* the verdicts are remembered */
    send(world, 1, false);
    send(world, 2, true);
    flush(world);
    settle(world);
    assert_int_equal(left_spans(world, 1), 2);
    assert_int_equal(left_spans(world, 2), 0);
    world_free(world);
}

static void test_undecided_blocks_are_found_again(void **state)
{
    struct world *world = world_new(errors, 1, "0");
    (void)state;
    send(world, 1, true);
    send(world, 2, false);
    flush(world);
    world_restart(world);
    assert_int_equal(status_of(world).undecided_blocks, 1);
    settle(world);
    assert_int_equal(left_spans(world, 1), 1);
    assert_int_equal(left_spans(world, 2), 0);
    world_free(world);
}

/* Decided, made, not uploaded: after a crash it leaves once, and the decision stands. */
static void test_crash_behind_the_decision(void **state)
{
    struct world *world = world_new(errors, 1, "0");
    (void)state;
    send(world, 1, true);
    send(world, 2, false);
    flush(world);
    world->holds_uploads = true;
    settle(world);
    assert_int_equal(world->held_count, 1);
    world_crash(world);
    world->holds_uploads = false;
    world_upload_held(world);
    settle(world);
    assert_int_equal(world->block_count, 1);
    assert_int_equal(left_spans(world, 1), 1);
    assert_int_equal(left_spans(world, 2), 0);
    world_free(world);
}

/* Without policies: what was decided before is carried out, what was not leaves whole. */
static void test_switched_off(void **state)
{
    struct world *world = world_new(errors, 1, "0");
    (void)state;
    send(world, 1, true);
    send(world, 2, false);
    flush(world);
    world->holds_uploads = true;
    settle(world);
    send(world, 3, false);
    flush(world);
    world_close(world);
    world->holds_uploads = false;
    world->probability = NULL;
    world_open(world);
    settle(world);
    assert_int_equal(left_spans(world, 1), 1);
    assert_int_equal(left_spans(world, 2), 0);
    assert_int_equal(left_spans(world, 3), 1);
    world_free(world);
}

static void test_damaged_block_leaves_whole(void **state)
{
    struct world *world = world_new(errors, 1, "0");
    struct pf_file *file;
    struct platform *platform = sim_platform(world->sim);
    struct fm_why why;
    char path[600];
    uint8_t zeros[64] = {0};
    const struct fm_slice slice = {zeros, sizeof zeros};
    (void)state;
    for (uint32_t trace = 1; trace <= 50; trace++)
        send(world, trace, false);
    world->holds_uploads = true;
    flush(world);
    struct store_snapshot *snapshot;
    assert_ok(store_snapshot_new(world->store, FM_SLICE(TENANT), &snapshot));
    const struct store_block *block = store_snapshot_block(snapshot, 0);
    (void)snprintf(path, sizeof path, "%s/data.parquet", block->path);
    assert_ok(pf_open(platform, path, PF_WRITE, &file, &why));
    for (uint64_t at = 4; at + 600 < block->meta.size_bytes; at += 64)
        assert_ok(platform->ops->write(file, at, &slice, 1, &why));
    pf_close(platform, file);
    store_snapshot_free(snapshot);
    settle(world);
    assert_int_equal(world->held_count, 1);
    assert_false(world->held[0]->is_outgoing);
    assert_int_equal(store_block_decided(world->held[0])->verdict, STORE_WHOLE);
    world_free(world);
}

/* ---- what leaves ahead ---- */

static struct world *urgent_world_new(void)
{
    struct world *world = world_new(errors, 1, "0");
    world->has_urgent = true;
    world_restart(world);
    return world;
}

static void test_urgent_leaves_at_once(void **state)
{
    struct world *world = urgent_world_new();
    (void)state;
    send(world, 1, false);
    send(world, 2, false);
    send(world, 1, true);
    sim_run(world->sim, URGENT_NS + FM_NS_PER_S);
    assert_int_equal(world->express_count, 1);
    assert_int_equal(left_spans(world, 1), 2); /* with all spans so far */
    assert_int_equal(left_spans(world, 2), 0);
    sim_run(world->sim, 3 * URGENT_NS);
    assert_int_equal(world->express_count, 1); /* once */
    flush(world);
    settle(world);
    assert_int_equal(world->block_count, 1); /* the block has no more of it */
    struct store_status store;
    store_get_status(world->store, &store);
    assert_int_equal(store.blocks_uploaded, 1);
    assert_int_equal(status_of(world).ahead_spans, 2);
    assert_int_equal(status_of(world).kept_spans, 2);
    world_free(world);
}

/* Spans that come after the look leave with their block, and the block's row leaves whole. */
static void test_urgent_and_more(void **state)
{
    struct world *world = urgent_world_new();
    (void)state;
    send(world, 1, true);
    sim_run(world->sim, URGENT_NS + FM_NS_PER_S);
    assert_int_equal(left_spans(world, 1), 1);
    send(world, 1, false);
    flush(world);
    send(world, 1, false);
    flush(world);
    settle(world);
    assert_int_equal(left_spans(world, 1), 1 + 2 + 1);
    assert_int_equal(status_of(world).ahead_spans, 0);
    world_free(world);
}

/* Its spans in a sealed block, undecided, leave with those in the log. */
static void test_urgent_over_blocks(void **state)
{
    struct world *world = urgent_world_new();
    (void)state;
    send(world, 1, false);
    flush(world);
    send(world, 1, true);
    sim_run(world->sim, URGENT_NS + FM_NS_PER_S);
    assert_int_equal(left_spans(world, 1), 2);
    flush(world);
    settle(world);
    assert_int_equal(left_spans(world, 1), 2);
    assert_int_equal(status_of(world).ahead_spans, 2);
    world_free(world);
}

/* What has left ahead is remembered, wherever the process dies. */
static void test_urgent_and_a_crash(void **state)
{
    (void)state;
    for (unsigned when = 0; when < 4; when++) {
        struct world *world = urgent_world_new();
        send(world, 1, true);
        send(world, 2, false);
        sim_run(world->sim, URGENT_NS + FM_NS_PER_S);
        assert_int_equal(left_spans(world, 1), 1);
        if (when == 0 || when == 3)
            world_crash(world);
        sim_run(world->sim, 2 * URGENT_NS);
        assert_int_equal(world->express_count, 1);
        flush(world);
        if (when == 1 || when == 3)
            world_crash(world);
        settle(world);
        if (when == 2)
            world_crash(world);
        settle(world);
        assert_int_equal(left_spans(world, 1), 1);
        assert_int_equal(left_spans(world, 2), 0);
        assert_int_equal(world->express_count, 1);
        struct store_status store;
        store_get_status(world->store, &store);
        assert_int_equal(store.blocks_uploaded, 1);
        world_free(world);
    }
}

/* Late spans of such a trace are kept after a restart, too, and leave with their block. */
static void test_urgent_crash_and_more(void **state)
{
    struct world *world = urgent_world_new();
    (void)state;
    send(world, 1, true);
    sim_run(world->sim, URGENT_NS + FM_NS_PER_S);
    flush(world);
    settle(world);
    send(world, 1, false);
    world_crash(world);
    sim_run(world->sim, 2 * URGENT_NS);
    assert_int_equal(world->express_count, 1);
    flush(world);
    settle(world);
    assert_int_equal(left_spans(world, 1), 2);
    world_free(world);
}

/* One of its blocks is decided, the other one not cut yet: what is known of the first does not make
 * the second leave once more. */
static void test_urgent_crash_between_its_blocks(void **state)
{
    struct world *world = urgent_world_new();
    (void)state;
    send(world, 1, false);
    flush(world);
    send(world, 1, true);
    sim_run(world->sim, URGENT_NS + FM_NS_PER_S);
    assert_int_equal(left_spans(world, 1), 2);
    settle(world); /* the first is decided */
    world_crash(world);
    settle(world);
    flush(world);
    settle(world);
    assert_int_equal(left_spans(world, 1), 2);
    assert_int_equal(status_of(world).ahead_spans, 1);
    world_free(world);
}

static int count_name(void *self, const char *name, bool is_directory)
{
    (void)name;
    *(unsigned *)self += !is_directory;
    return FM_OK;
}

static unsigned ahead_files(const struct world *world)
{
    struct platform *platform = sim_platform(world->sim);
    unsigned count = 0;
    int rc = platform->ops->list(platform, "/data/ahead/" TENANT, count_name, &count, NULL);
    assert_true(rc == FM_OK || rc == FM_ENOTFOUND);
    return count;
}

/* The list of a group that has left stays until the last block it is about is decided. */
static void test_urgent_list_goes(void **state)
{
    struct world *world = urgent_world_new();
    (void)state;
    send(world, 1, true);
    sim_run(world->sim, URGENT_NS + FM_NS_PER_S);
    sim_run(world->sim, URGENT_NS);
    assert_int_equal(ahead_files(world), 1);
    flush(world);
    sim_run(world->sim, URGENT_NS);
    assert_int_equal(ahead_files(world), 1);
    settle(world);
    sim_run(world->sim, 3 * URGENT_NS);
    assert_int_equal(ahead_files(world), 0);
    world_free(world);
}

static struct ledger_row account_of(const struct world *world)
{
    struct ledger ledger;
    struct ledger_row total;
    struct fm_why why = {""};
    if (!store_ledger_check(world->store, &why))
        fail_msg("%s", why.text);
    assert_ok(store_ledger_read(world->store, &ledger));
    ledger_total(&ledger, &total);
    ledger_fini(&ledger);
    return total;
}

/* In the log, undecided, decided and ahead: nothing of it on the bucket; then it is. */
static void test_urgent_in_the_ledger(void **state)
{
    struct world *world = urgent_world_new();
    (void)state;
    world->holds_uploads = true;
    send(world, 1, true);
    send(world, 2, false);
    sim_run(world->sim, URGENT_NS + FM_NS_PER_S);
    assert_int_equal(account_of(world).spans[LEDGER_PENDING_LOG], 2);
    flush(world);
    assert_int_equal(account_of(world).spans[LEDGER_PENDING_DECIDING], 2);
    settle(world);
    for (unsigned i = 0; i < 2; i++) { /* before and after a restart */
        struct ledger_row total = account_of(world);
        assert_int_equal(total.spans[LEDGER_PENDING_EXPRESS], 1);
        assert_int_equal(total.spans[LEDGER_SAMPLED_OUT], 1);
        assert_int_equal(total.spans[LEDGER_UPLOADED], 0);
        if (i == 0)
            world_crash(world);
    }
    settle(world);
    world_upload_held(world);
    settle(world);
    for (unsigned i = 0; i < 2; i++) {
        struct ledger_row total = account_of(world);
        assert_int_equal(total.spans[LEDGER_UPLOADED], 1);
        assert_int_equal(ledger_pending(&total), 0);
        if (i == 0)
            world_crash(world);
    }
    world_free(world);
}

static void test_metrics(void **state)
{
    struct world *world = world_new(errors, 1, "0");
    struct fm_buf text;
    (void)state;
    send(world, 1, true);
    send(world, 2, false);
    flush(world);
    settle(world);
    fm_buf_init(&text, FM_MIB(1));
    sampler_put_metrics(world->sampler, &text);
    fm_buf_put_u8(&text, 0);
    const char *const lines[] = {
        "fermata_sampled_spans_total{policy=\"errors\",decision=\"keep\"} 1\n",
        "fermata_sampled_spans_total{policy=\"default\",decision=\"drop\"} 1\n",
        "fermata_sample_undecided_blocks 0\n",
        "fermata_sample_verdicts 2\n",
    };
    for (size_t i = 0; i < FM_COUNT(lines); i++) {
        if (!strstr((const char *)text.ptr, lines[i]))
            fail_msg("%s is not in\n%s", lines[i], (const char *)text.ptr);
    }
    fm_buf_fini(&text);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_part_leaves),
        cmocka_unit_test(test_whole_and_nothing),
        cmocka_unit_test(test_parts_in_later_blocks),
        cmocka_unit_test(test_parts_in_the_head),
        cmocka_unit_test(test_late_spans_follow),
        cmocka_unit_test(test_undecided_blocks_are_found_again),
        cmocka_unit_test(test_crash_behind_the_decision),
        cmocka_unit_test(test_switched_off),
        cmocka_unit_test(test_damaged_block_leaves_whole),
        cmocka_unit_test(test_urgent_leaves_at_once),
        cmocka_unit_test(test_urgent_and_more),
        cmocka_unit_test(test_urgent_over_blocks),
        cmocka_unit_test(test_urgent_and_a_crash),
        cmocka_unit_test(test_urgent_crash_and_more),
        cmocka_unit_test(test_urgent_crash_between_its_blocks),
        cmocka_unit_test(test_urgent_list_goes),
        cmocka_unit_test(test_urgent_in_the_ledger),
        cmocka_unit_test(test_metrics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
