/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to blocks after they were sealed: retention by class and under a clock that jumps,
 * quota and inodes, merges, scrubbing, quarantine.  Crashes at every point: tests/sim/sim_store.c.
 */
#include "world.h"

#include "fermata/store_decide.h"
#include "fermata/store_ledger.h"
#include "fermata/wal.h"

#define HOUR_NS      (3600 * FM_NS_PER_S)
#define TEN_YEARS_NS (3650 * 24 * HOUR_NS)

static void on_sealed(void *self, struct store_block *block)
{
    struct fixture *f = self;
    f->sealed = block;
    f->sealed_count++;
}

static void fixture_open(struct fixture *f)
{
    struct fm_why why = {""};
    if (store_open(&f->store, sim_platform(f->sim), &f->options, &why) < 0)
        fail_msg("open: %s", why.text);
    f->sealed_count = 0;
}

static void fixture_watch(struct fixture *f)
{
    struct store_observer observer = {.on_sealed = on_sealed, .self = f};
    store_set_observer(f->store, &observer);
}

static void fixture_crash(struct fixture *f)
{
    sim_crash(f->sim, false);
    f->store = store_abandon(f->store);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_ok(sim_new(&f->sim, 11));
    log_setup((enum log_level)0, false, NULL);
    f->options = (struct store_options){
        .data_dir = DATA_DIR,
        .node = {9},
        .segment_bytes = FM_KIB(16),
        .pending_bytes_max = FM_KIB(256),
        .head_bytes_max = FM_MIB(1),
        .block = block_options_default,
        .block_age_ns = 60 * FM_NS_PER_S,
        .block_bytes = FM_MIB(64),
        .retention_ns = HOUR_NS,
        .retention_sampled_out_ns = HOUR_NS,
    };
    f->options.block.codec = CODEC_SNAPPY;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->store)
        fixture_close(f);
    sim_free(f->sim);
    free(f);
    return 0;
}

static struct store_status status_of(const struct fixture *f)
{
    struct store_status status;
    store_get_status(f->store, &status);
    return status;
}

static uint64_t metric_of(const struct fixture *f, const char *line)
{
    struct fm_buf text;
    fm_buf_init(&text, FM_MIB(1));
    store_put_metrics(f->store, &text);
    store_put_dropped(f->store, &text);
    fm_buf_put_u8(&text, 0);
    assert_false(text.failed);
    char pattern[128];
    int len = snprintf(pattern, sizeof pattern, "\n%s ", line);
    const char *found = strstr((const char *)text.ptr, pattern);
    if (!found)
        fail_msg("no metric %s", line);
    uint64_t value = strtoull(found + len, NULL, 10);
    fm_buf_fini(&text);
    return value;
}

static void on_stored(void *self, int rc)
{
    *(int *)self = rc;
}

/* One span, one block. */
static void seal(struct fixture *f, uint32_t trace)
{
    send_sized(f, TENANT, trace, 20);
    sim_run(f->sim, FM_NS_PER_S);
    assert_ok(flush(f));
}

static void upload(struct fixture *f, struct store_block *block)
{
    int rc = FM_NONE;
    store_block_uploaded(f->store, block, on_stored, &rc);
    while (rc == FM_NONE && sim_step(f->sim)) {
    }
    assert_ok(rc);
}

static size_t spans_of(struct fixture *f, uint32_t number)
{
    struct trace_id id = trace_of(number);
    struct store_read_stats stats = {0};
    struct store_snapshot *snapshot;
    struct trace *trace;
    struct fm_why why;
    assert_ok(store_snapshot_new(f->store, fm_slice_text(TENANT), &snapshot));
    assert_ok(trace_new(&trace, &id, FM_MIB(64)));
    assert_ok(store_find_trace(snapshot, &id, trace, &stats, &why));
    assert_ok(trace_finish(trace));
    assert_int_equal(stats.blocks_failed, 0);
    size_t count = trace_span_count(trace);
    trace_free(trace);
    store_snapshot_free(snapshot);
    return count;
}

/* ---- retention ---- */

static void decide_nothing(struct fixture *f, struct store_block *block, const char *policy)
{
    struct store_decision *decision;
    int rc = FM_NONE;
    assert_ok(store_decision_new(&decision, block->meta.trace_count));
    decision->span_count = block->span_count;
    decision->policy_count = 1;
    (void)snprintf(decision->policies[0].name, sizeof decision->policies[0].name, "%s", policy);
    decision->policy_of = calloc(block->meta.trace_count + 1, 1);
    assert_non_null(decision->policy_of);
    store_decision_conclude(decision);
    store_block_decide(f->store, block, decision, on_stored, &rc);
    while (rc == FM_NONE && sim_step(f->sim)) {
    }
    assert_ok(rc);
    store_decision_free(decision);
}

static void test_each_class_has_its_time(void **state)
{
    struct fixture *f = *state;
    f->options.retention_sampled_out_ns = 2 * HOUR_NS;
    f->options.retention_unuploaded_ns = 4 * HOUR_NS;
    fixture_open(f);
    fixture_watch(f);
    seal(f, 1);
    upload(f, f->sealed);
    seal(f, 2);
    decide_nothing(f, f->sealed, "default");
    seal(f, 3);
    assert_int_equal(status_of(f).blocks_sealed, 3);
    sim_run(f->sim, HOUR_NS + 60 * FM_NS_PER_S);
    assert_int_equal(spans_of(f, 1), 0);
    assert_int_equal(spans_of(f, 2), 1);
    sim_run(f->sim, HOUR_NS);
    assert_int_equal(spans_of(f, 2), 0);
    assert_int_equal(spans_of(f, 3), 1);
    assert_int_equal(metric_of(f, "fermata_spans_dropped_total{stage=\"storage\",reason=\"age\"}"),
                     0);
    sim_run(f->sim, 2 * HOUR_NS);
    assert_int_equal(spans_of(f, 3), 0);
    assert_int_equal(metric_of(f, "fermata_spans_dropped_total{stage=\"storage\",reason=\"age\"}"),
                     1);
}

static void test_without_a_limit_what_waits_stays(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    fixture_watch(f);
    seal(f, 1);
    sim_run(f->sim, 1000 * HOUR_NS);
    assert_int_equal(spans_of(f, 1), 1);
}

static void test_a_clock_that_jumps_deletes_nothing(void **state)
{
    struct fixture *f = *state;
    uint64_t wall_ns = pf_wall_ns(sim_platform(f->sim));
    fixture_open(f);
    fixture_watch(f);
    seal(f, 1);
    upload(f, f->sealed);
    sim_run(f->sim, HOUR_NS / 2);
    sim_wall_set(f->sim, wall_ns + TEN_YEARS_NS);
    sim_run(f->sim, 60 * FM_NS_PER_S);
    assert_int_equal(metric_of(f, "fermata_clock_jumps_total"), 1);
    fixture_close(f); /* and a restart with the wrong clock */
    fixture_open(f);
    sim_run(f->sim, 60 * FM_NS_PER_S);
    assert_int_equal(spans_of(f, 1), 1);
    sim_wall_set(f->sim, wall_ns + HOUR_NS); /* it is set right */
    sim_run(f->sim, 60 * FM_NS_PER_S);
    assert_int_equal(spans_of(f, 1), 1);
    sim_run(f->sim, HOUR_NS / 2);
    assert_int_equal(spans_of(f, 1), 0);
}

static void test_a_clock_set_back_keeps_nothing_for_ever(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    fixture_watch(f);
    seal(f, 1);
    upload(f, f->sealed);
    sim_wall_set(f->sim, 1000 * FM_NS_PER_S); /* 1970 */
    sim_run(f->sim, HOUR_NS / 2);
    assert_int_equal(spans_of(f, 1), 1);
    fixture_close(f);
    fixture_open(f);
    sim_run(f->sim, HOUR_NS + 60 * FM_NS_PER_S);
    assert_int_equal(spans_of(f, 1), 0);
}

static void test_time_goes_on_while_suspended_and_while_off(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    fixture_watch(f);
    seal(f, 1);
    upload(f, f->sealed);
    sim_suspend(f->sim, 2 * HOUR_NS);
    sim_run(f->sim, 60 * FM_NS_PER_S);
    assert_int_equal(spans_of(f, 1), 0);
    assert_int_equal(metric_of(f, "fermata_clock_jumps_total"), 0);
    seal(f, 2);
    upload(f, f->sealed);
    fixture_close(f);
    sim_wall_set(f->sim, pf_wall_ns(sim_platform(f->sim)) + 2 * HOUR_NS);
    fixture_open(f);
    sim_run(f->sim, 60 * FM_NS_PER_S);
    assert_int_equal(spans_of(f, 2), 0);
}

/* ---- space ---- */

static void test_quota_as_a_share_of_the_file_system(void **state)
{
    struct fixture *f = *state;
    sim_disk_capacity(f->sim, FM_MIB(1));
    f->options.quota_percent = 50;
    fixture_open(f);
    sim_run(f->sim, FM_NS_PER_S);
    assert_int_equal(status_of(f).quota_bytes / 100 * 100, FM_MIB(1) / 100 * 50 / 100 * 100);
    fixture_close(f);
    f->options.quota_bytes = FM_KIB(300);
    fixture_open(f);
    sim_run(f->sim, FM_NS_PER_S);
    assert_int_equal(status_of(f).quota_bytes, FM_KIB(300));
}

static void test_too_few_inodes(void **state)
{
    struct fixture *f = *state;
    f->options.free_inodes_min = 1000001; /* the simulated disk has a million */
    fixture_open(f);
    fixture_watch(f);
    sim_run(f->sim, 20 * FM_NS_PER_S);
    assert_true(status_of(f).is_read_only);
    assert_non_null(strstr(status_of(f).problem, "inodes"));
}

static void test_settled_blocks_go_before_others(void **state)
{
    struct fixture *f = *state;
    f->options.on_full = STORE_DROP_OLDEST;
    fixture_open(f);
    fixture_watch(f);
    seal(f, 1);
    seal(f, 2);
    upload(f, f->sealed);
    fixture_close(f);
    fixture_open(f);
    sim_run(f->sim, 20 * FM_NS_PER_S);
    uint64_t log_bytes = status_of(f).wal_bytes, blocks_bytes = status_of(f).blocks_bytes;
    fixture_close(f);
    f->options.quota_bytes = log_bytes + blocks_bytes * 3 / 4;
    fixture_open(f);
    fixture_watch(f);
    sim_run(f->sim, 20 * FM_NS_PER_S);
    assert_int_equal(spans_of(f, 1), 1);
    assert_int_equal(spans_of(f, 2), 0);
    assert_int_equal(
        metric_of(f, "fermata_spans_dropped_total{stage=\"storage\",reason=\"quota\"}"), 0);
    fixture_close(f);
    f->options.quota_bytes = log_bytes + blocks_bytes / 4;
    fixture_open(f);
    fixture_watch(f);
    sim_run(f->sim, 20 * FM_NS_PER_S);
    assert_int_equal(spans_of(f, 1), 0);
    assert_int_equal(
        metric_of(f, "fermata_spans_dropped_total{stage=\"storage\",reason=\"quota\"}"), 1);
}

/* ---- merge ---- */

static void test_small_neighbours_become_one(void **state)
{
    struct fixture *f = *state;
    f->options.merge_bytes_max = FM_MIB(1);
    f->options.retention_ns = 100 * HOUR_NS;
    fixture_open(f); /* nobody uploads */
    for (uint32_t i = 0; i < 8; i++)
        seal(f, i / 2); /* traces of two blocks */
    assert_int_equal(status_of(f).blocks_sealed, 8);
    struct store_snapshot *before;
    assert_ok(store_snapshot_new(f->store, fm_slice_text(TENANT), &before));
    store_snapshot_free(before);
    sim_run(f->sim, 120 * FM_NS_PER_S);
    struct store_status status = status_of(f);
    assert_int_equal(status.blocks_sealed, 1);
    assert_int_equal(status.block_spans, 8);
    assert_int_equal(metric_of(f, "fermata_merged_blocks_total"), 8);
    for (unsigned restart = 0; restart < 2; restart++) {
        for (uint32_t i = 0; i < 4; i++)
            assert_int_equal(spans_of(f, i), 2);
        fixture_close(f);
        fixture_open(f);
    }
    assert_int_equal(status_of(f).blocks_sealed, 1);
}

static void test_a_snapshot_outlives_a_merge(void **state)
{
    struct fixture *f = *state;
    struct trace_id id = trace_of(3);
    struct store_read_stats stats = {0};
    struct store_snapshot *snapshot;
    struct trace *trace;
    struct fm_why why;
    f->options.merge_bytes_max = FM_MIB(1);
    f->options.retention_ns = 100 * HOUR_NS;
    fixture_open(f);
    for (uint32_t i = 0; i < 9; i++)
        seal(f, i);
    for (unsigned i = 0; i < 1000 && !metric_of(f, "fermata_merges_total"); i++)
        sim_run(f->sim, FM_NS_PER_S / 10);
    assert_int_equal(metric_of(f, "fermata_merges_total"), 1);
    fixture_close(f);
    fixture_open(f);
    /* A merge needs blocks that nobody holds: these are read while they are merged. */
    for (uint32_t i = 10; i < 18; i++)
        seal(f, i);
    assert_ok(store_snapshot_new(f->store, fm_slice_text(TENANT), &snapshot));
    sim_run(f->sim, 200 * FM_NS_PER_S);
    assert_int_equal(metric_of(f, "fermata_merges_total"), 0);
    assert_ok(trace_new(&trace, &id, FM_MIB(64)));
    assert_ok(store_find_trace(snapshot, &id, trace, &stats, &why));
    assert_ok(trace_finish(trace));
    assert_int_equal(trace_span_count(trace), 1);
    trace_free(trace);
    store_snapshot_free(snapshot);
    sim_run(f->sim, 200 * FM_NS_PER_S);
    assert_int_equal(metric_of(f, "fermata_merges_total"), 1);
}

static int count_uploaded_lines(void *self, const char *name, bool is_directory)
{
    struct fixture *f = self;
    char path[600];
    struct fm_buf text;
    fm_buf_init(&text, FM_KIB(64));
    (void)snprintf(path, sizeof path, DATA_DIR "/blocks/" TENANT "/%s/uploaded", name);
    if (is_directory && pf_read_file(sim_platform(f->sim), path, &text, NULL) == FM_OK) {
        for (size_t i = 0; i < text.len; i++)
            f->rc += text.ptr[i] == '\n';
    }
    fm_buf_fini(&text);
    return FM_OK;
}

static int uploaded_lines(struct fixture *f)
{
    struct platform *platform = sim_platform(f->sim);
    f->rc = 0;
    assert_ok(
        platform->ops->list(platform, DATA_DIR "/blocks/" TENANT, count_uploaded_lines, f, NULL));
    return f->rc;
}

/* With somebody who uploads, only what is settled is joined, and it stays settled. */
static void test_only_settled_blocks_are_merged(void **state)
{
    struct fixture *f = *state;
    f->options.merge_bytes_max = FM_MIB(1);
    f->options.retention_ns = 100 * HOUR_NS;
    fixture_open(f);
    fixture_watch(f);
    for (uint32_t i = 0; i < 8; i++) {
        seal(f, i);
        upload(f, f->sealed);
    }
    for (uint32_t i = 8; i < 16; i++)
        seal(f, i);
    sim_run(f->sim, 200 * FM_NS_PER_S);
    assert_int_equal(status_of(f).blocks_sealed, 9);
    assert_int_equal(status_of(f).blocks_uploaded, 1);
    assert_int_equal(f->sealed_count, 16); /* what is uploaded is not announced */
    fixture_close(f);
    fixture_open(f);
    assert_int_equal(status_of(f).blocks_uploaded, 1);
    assert_int_equal(uploaded_lines(f), 8); /* it says when, and as which blocks */
}

static void test_decisions_are_merged(void **state)
{
    struct fixture *f = *state;
    FM_AUTO(store_decision) decision = NULL;
    struct fm_why why;
    unsigned odd = 0;
    f->options.merge_bytes_max = FM_MIB(1);
    f->options.retention_ns = f->options.retention_sampled_out_ns = 100 * HOUR_NS;
    fixture_open(f);
    fixture_watch(f);
    for (uint32_t i = 0; i < 8; i++) {
        seal(f, i);
        decide_nothing(f, f->sealed, i % 2 ? "odd" : "even");
    }
    sim_run(f->sim, 200 * FM_NS_PER_S);
    assert_int_equal(status_of(f).blocks_sealed, 1);
    assert_int_equal(status_of(f).blocks_uploaded, 1); /* or nothing of it leaves */
    fixture_close(f);
    fixture_open(f);
    fixture_watch(f);
    assert_int_equal(store_block_decided(f->sealed)->verdict, STORE_NOTHING);
    assert_ok(store_block_read_decision(sim_platform(f->sim), f->sealed, &decision, &why));
    assert_true(decision->row_count == 8 && decision->policy_of);
    for (uint64_t row = 0; row < decision->row_count; row++) {
        assert_in_range(decision->policy_of[row], 0, decision->policy_count - 1);
        odd += strcmp(decision->policies[decision->policy_of[row]].name, "odd") == 0;
    }
    assert_int_equal(odd, 4);
}

/* Behind the fourth of sixteen blocks: none that it has read is joined with one that it has not,
 * and the fifth, in which its saved place could be, with nothing. */
static void test_no_cursor_stands_inside(void **state)
{
    struct fixture *f = *state;
    struct store_cursor_options options = {.begin_lsn = 0};
    uint64_t lsn = 0;
    f->options.merge_bytes_max = FM_MIB(1);
    f->options.retention_ns = 100 * HOUR_NS;
    fixture_open(f);
    for (uint32_t i = 0; i < 4; i++)
        seal(f, i);
    fixture_watch(f); /* to learn where the fourth ends */
    lsn = f->sealed->last_lsn;
    fixture_close(f);
    fixture_open(f);
    assert_ok(store_cursor_open(&f->cursor, f->store, &options));
    struct store_place place = {.lsn = lsn};
    store_cursor_restore(f->cursor, TENANT, &place);
    for (uint32_t i = 4; i < 16; i++)
        seal(f, i);
    sim_run(f->sim, 400 * FM_NS_PER_S);
    assert_int_equal(metric_of(f, "fermata_merged_blocks_total"), 8); /* the fan */
    sim_run(f->sim, 13 * HOUR_NS); /* their time is over: all that may be is joined */
    uint64_t sealed = status_of(f).blocks_sealed;
    place.lsn = UINT64_MAX - 1; /* it goes on, to the end */
    store_cursor_advance(f->cursor, 0, &place);
    store_cursor_saved(f->cursor, 0, place.lsn);
    sim_run(f->sim, HOUR_NS);
    uint64_t sealed_at_last = status_of(f).blocks_sealed;
    f->cursor = store_cursor_close(f->cursor);
    assert_int_equal(sealed, 3);
    assert_int_equal(sealed_at_last, 1);
}

/* ---- scrub ---- */

static void rot(struct fixture *f, const struct store_block *block)
{
    char path[600];
    (void)snprintf(path, sizeof path, "%s/data.parquet", block->path);
    for (uint64_t byte = 50; byte < 500; byte += 50) /* one of them in the body of a page */
        sim_disk_flip_bit(f->sim, path, byte * 8);
}

static void test_a_round_reads_every_block(void **state)
{
    struct fixture *f = *state;
    f->options.scrub_interval_ns = HOUR_NS;
    f->options.scrub_bytes_per_s = FM_MIB(2);
    f->options.retention_ns = 100 * HOUR_NS;
    fixture_open(f);
    sim_run(f->sim, 60 * FM_NS_PER_S);
    for (uint32_t i = 0; i < 3; i++)
        seal(f, i);
    sim_run(f->sim, HOUR_NS / 2);
    assert_int_equal(metric_of(f, "fermata_scrub_blocks_total"), 0); /* verified when built */
    sim_run(f->sim, HOUR_NS);
    assert_int_equal(metric_of(f, "fermata_scrub_blocks_total"), 3);
    assert_true(metric_of(f, "fermata_scrub_bytes_total") > 1000);
    fixture_close(f); /* a restart begins no new round */
    fixture_open(f);
    sim_run(f->sim, 60 * FM_NS_PER_S);
    assert_int_equal(metric_of(f, "fermata_scrub_blocks_total"), 0);
    assert_int_equal(metric_of(f, "fermata_scrub_bad_blocks_total"), 0);
}

static int rot_segment(void *self, const char *name, bool is_directory)
{
    struct fixture *f = self;
    char path[600];
    (void)snprintf(path, sizeof path, DATA_DIR "/wal/%s", name);
    for (uint64_t byte = 40; !is_directory && byte < 4000; byte += 40)
        sim_disk_flip_bit(f->sim, path, (WAL_HEADER_BYTES + byte) * 8);
    return FM_OK;
}

static void rot_log(struct fixture *f)
{
    struct platform *platform = sim_platform(f->sim);
    assert_ok(platform->ops->list(platform, DATA_DIR "/wal", rot_segment, f, NULL));
}

static struct ledger_row account_of(const struct fixture *f)
{
    struct ledger ledger;
    struct ledger_row total;
    struct fm_why why = {""};
    if (!store_ledger_check(f->store, &why))
        fail_msg("%s", why.text);
    assert_ok(store_ledger_read(f->store, &ledger));
    ledger_total(&ledger, &total);
    ledger_fini(&ledger);
    return total;
}

/* The log still has its records: it is the same block again, and is announced again. */
static void test_a_rotten_block_is_made_again(void **state)
{
    struct fixture *f = *state;
    f->options.scrub_interval_ns = HOUR_NS;
    f->options.retention_ns = 100 * HOUR_NS;
    fixture_open(f);
    fixture_watch(f);
    seal(f, 1);
    struct block_id id = f->sealed->meta.id;
    uint64_t sealed_unix_ns = f->sealed->sealed_unix_ns;
    rot(f, f->sealed);
    seal(f, 2);
    uint32_t announced = f->sealed_count;
    sim_run(f->sim, 3 * HOUR_NS);
    assert_int_equal(metric_of(f, "fermata_scrub_bad_blocks_total"), 1);
    assert_int_equal(metric_of(f, "fermata_scrub_rebuilt_blocks_total"), 1);
    assert_int_equal(f->sealed_count, announced + 1);
    assert_memory_equal(&f->sealed->meta.id, &id, sizeof id);
    assert_true(f->sealed->sealed_unix_ns == sealed_unix_ns);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(status_of(f).blocks_sealed, 2);
        assert_int_equal(status_of(f).head_spans, 0);
        assert_int_equal(spans_of(f, 1), 1);
        assert_int_equal(account_of(f).spans[LEDGER_PENDING_FRESH], 2);
        assert_int_equal(account_of(f).spans[LEDGER_UNREADABLE], 0);
        assert_true(metric_of(f, "fermata_quarantine_bytes") > 1000); /* the damaged one */
        fixture_close(f);
        fixture_open(f);
        sim_run(f->sim, 60 * FM_NS_PER_S);
    }
    sim_run(f->sim, 2 * HOUR_NS);
    assert_int_equal(metric_of(f, "fermata_scrub_bad_blocks_total"), 0);
}

/* At whatever operation the power goes: the block, or its records, are there.  A start lets go of
 * the log's older files: what was not found before it cannot be made again, and is accounted for.
 */
static void test_made_again_at_every_crash_point(void **state)
{
    struct fixture *f = *state;
    f->options.scrub_interval_ns = HOUR_NS;
    f->options.retention_ns = 100 * HOUR_NS;
    uint64_t found = 0;
    for (uint64_t nth = 1; nth < 200; nth++) {
        fixture_open(f);
        fixture_watch(f);
        seal(f, (uint32_t)nth);
        rot(f, f->sealed);
        while (!metric_of(f, "fermata_scrub_bad_blocks_total"))
            assert_true(sim_step(f->sim));
        sim_crash_at(f->sim, nth);
        while (!metric_of(f, "fermata_scrub_rebuilt_blocks_total") && sim_step(f->sim)) {
        }
        bool was_crash = sim_crashed(f->sim);
        fixture_crash(f);
        fixture_open(f);
        sim_run(f->sim, 2 * HOUR_NS);
        struct ledger_row total = account_of(f);
        assert_int_equal(ledger_stored(&total), nth);
        assert_int_equal(ledger_pending(&total) + total.spans[LEDGER_UNREADABLE], nth);
        found += spans_of(f, (uint32_t)nth);
        assert_int_equal(ledger_pending(&total), found);
        fixture_close(f);
        if (!was_crash) { /* it was done before */
            assert_true(found > 1);
            return;
        }
    }
    fail_msg("there is no end to it");
}

static void test_a_rotten_block_is_set_aside(void **state)
{
    struct fixture *f = *state;
    f->options.scrub_interval_ns = HOUR_NS;
    f->options.retention_ns = 100 * HOUR_NS;
    f->options.quarantine_age_ns = 24 * HOUR_NS;
    fixture_open(f);
    fixture_watch(f);
    seal(f, 1);
    struct store_block *first = f->sealed;
    seal(f, 2);
    rot(f, first);
    rot_log(f);
    sim_run(f->sim, 3 * HOUR_NS);
    assert_int_equal(metric_of(f, "fermata_scrub_rebuilt_blocks_total"), 0);
    assert_int_equal(account_of(f).spans[LEDGER_UNREADABLE], 1);
    assert_int_equal(status_of(f).blocks_sealed, 1);
    assert_int_equal(spans_of(f, 1), 0);
    assert_int_equal(spans_of(f, 2), 1);
    assert_int_equal(metric_of(f, "fermata_scrub_bad_blocks_total"), 1);
    assert_int_equal(
        metric_of(f, "fermata_spans_dropped_total{stage=\"storage\",reason=\"corrupt\"}"), 1);
    assert_true(metric_of(f, "fermata_quarantine_bytes") > 1000);
    fixture_close(f);
    fixture_open(f); /* its records are not taken up again */
    fixture_watch(f);
    assert_int_equal(status_of(f).head_spans, 0);
    sim_run(f->sim, 26 * HOUR_NS);
    assert_int_equal(metric_of(f, "fermata_quarantine_bytes"), 0); /* too old */
    assert_true(metric_of(f, "fermata_quarantine_removed_total") > 0);
}

static void test_a_rotten_block_that_was_uploaded_goes(void **state)
{
    struct fixture *f = *state;
    f->options.scrub_interval_ns = HOUR_NS;
    f->options.retention_ns = 100 * HOUR_NS;
    fixture_open(f);
    fixture_watch(f);
    seal(f, 1);
    upload(f, f->sealed);
    rot(f, f->sealed);
    sim_run(f->sim, 3 * HOUR_NS);
    assert_int_equal(status_of(f).blocks_sealed, 0);
    assert_int_equal(
        metric_of(f, "fermata_spans_dropped_total{stage=\"storage\",reason=\"corrupt\"}"), 0);
    assert_int_equal(metric_of(f, "fermata_quarantine_bytes"), 0);
}

static void test_quarantine_keeps_to_its_quota(void **state)
{
    struct fixture *f = *state;
    f->options.scrub_interval_ns = HOUR_NS;
    f->options.quarantine_bytes = FM_KIB(48);
    fixture_open(f);
    fixture_watch(f);
    for (uint32_t i = 0; i < 6; i++) {
        seal(f, i);
        rot(f, f->sealed);
        sim_run(f->sim, 2 * HOUR_NS);
        assert_int_equal(metric_of(f, "fermata_scrub_bad_blocks_total"), i + 1);
        assert_true(metric_of(f, "fermata_quarantine_bytes") <= FM_KIB(48));
    }
    assert_true(metric_of(f, "fermata_quarantine_removed_total") > 0);
    assert_true(metric_of(f, "fermata_quarantine_bytes") > 0);
}

/* ---- the two small files ---- */

static void test_damaged_notes_cost_nothing(void **state)
{
    static const char *const texts[] = {"",
                                        "1",
                                        "1 2",
                                        "1 2 3",
                                        "2 3 4\n",
                                        "1  3\n",
                                        "1 -3 4\n",
                                        "1 18446744073709551615 4\n",
                                        "1 99999999999999999999999999 4\n",
                                        "1 4 18446744073709551615\n"};
    struct fixture *f = *state;
    struct platform *platform = sim_platform(f->sim);
    f->options.scrub_interval_ns = HOUR_NS;
    f->options.retention_ns = 100 * HOUR_NS;
    fixture_open(f);
    fixture_watch(f);
    seal(f, 1);
    upload(f, f->sealed);
    for (size_t i = 0; i < FM_COUNT(texts); i++) {
        fixture_close(f);
        assert_ok(pf_replace_file(platform, DATA_DIR "/clock", fm_slice_text(texts[i]), NULL));
        assert_ok(pf_replace_file(platform, DATA_DIR "/scrub", fm_slice_text(texts[i]), NULL));
        fixture_open(f);
        sim_run(f->sim, 60 * FM_NS_PER_S);
        assert_int_equal(metric_of(f, "fermata_scrub_blocks_total"), 1); /* a new round */
        assert_int_equal(spans_of(f, 1), 1);
    }
    fixture_close(f);
    for (unsigned bit = 0; bit < 16 * 8; bit++) { /* and every bit of what is written */
        sim_disk_flip_bit(f->sim, DATA_DIR "/clock", bit);
        sim_disk_flip_bit(f->sim, DATA_DIR "/scrub", bit);
        fixture_open(f);
        assert_int_equal(spans_of(f, 1), 1);
        fixture_close(f);
    }
}

/* ---- absurd times ---- */

static void test_absurd_times_do_not_stretch_a_block(void **state)
{
    struct fixture *f = *state;
    f->options.future_tolerance_ns = 24 * HOUR_NS;
    fixture_open(f);
    fixture_watch(f);
    /* Spans of world.h are of November 2025; the machine believes that it is 1990. */
    sim_wall_set(f->sim, UINT64_C(631152000) * FM_NS_PER_S);
    seal(f, 1);
    uint64_t wall_ns = pf_wall_ns(sim_platform(f->sim));
    assert_true(f->sealed->meta.end_ns < wall_ns + 24 * HOUR_NS);
    assert_true(f->sealed->meta.start_ns > wall_ns - 24 * HOUR_NS);
    assert_int_equal(spans_of(f, 1), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_class_has_its_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_a_limit_what_waits_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_clock_that_jumps_deletes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_clock_set_back_keeps_nothing_for_ever, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_time_goes_on_while_suspended_and_while_off, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_quota_as_a_share_of_the_file_system, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_few_inodes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_settled_blocks_go_before_others, setup, teardown),
        cmocka_unit_test_setup_teardown(test_small_neighbours_become_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_snapshot_outlives_a_merge, setup, teardown),
        cmocka_unit_test_setup_teardown(test_only_settled_blocks_are_merged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_decisions_are_merged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_cursor_stands_inside, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_round_reads_every_block, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_rotten_block_is_made_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_made_again_at_every_crash_point, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_rotten_block_is_set_aside, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_rotten_block_that_was_uploaded_goes, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_quarantine_keeps_to_its_quota, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged_notes_cost_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_absurd_times_do_not_stretch_a_block, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
