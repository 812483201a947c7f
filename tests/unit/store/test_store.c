/* SPDX-License-Identifier: Apache-2.0 */
/* The store in the simulated world, one behaviour at a time: acknowledgement, restart, snapshots,
 * blocks, failures of the disk, quota, damage.  The long runs are in tests/sim/sim_store.c. */
#include "world.h"

static void send(struct fixture *f, uint32_t trace)
{
    send_sized(f, TENANT, trace, 20);
}

static size_t count_spans(struct fixture *f, const char *tenant, uint32_t number,
                          struct store_read_stats *stats)
{
    struct trace_id id = trace_of(number);
    struct store_snapshot *snapshot;
    struct trace *trace;
    struct fm_why why;
    assert_ok(store_snapshot_new(f->store, fm_slice_text(tenant), &snapshot));
    assert_ok(trace_new(&trace, &id, FM_MIB(64)));
    *stats = (struct store_read_stats){0};
    assert_ok(store_find_trace(snapshot, &id, trace, stats, &why));
    assert_ok(trace_finish(trace));
    size_t count = trace_span_count(trace);
    trace_free(trace);
    store_snapshot_free(snapshot);
    return count;
}

static size_t spans_of(struct fixture *f, uint32_t trace)
{
    struct store_read_stats stats;
    return count_spans(f, TENANT, trace, &stats);
}

static void on_sealed(void *self, struct store_block *block)
{
    struct fixture *f = self;
    f->sealed = block;
    f->sealed_count++;
}

static void fixture_open(struct fixture *f)
{
    struct fm_why why = {""};
    struct store_observer observer = {.on_sealed = on_sealed, .self = f};
    int rc = store_open(&f->store, sim_platform(f->sim), &f->options, &why);
    if (rc < 0)
        fail_msg("open: %s", why.text);
    f->sealed_count = 0;
    store_set_observer(f->store, &observer);
}

static void fixture_crash(struct fixture *f, bool keep_cache)
{
    sim_crash(f->sim, keep_cache);
    f->store = store_abandon(f->store);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_ok(sim_new(&f->sim, 7));
    log_setup((enum log_level)0, false, NULL);
    f->options = (struct store_options){
        .data_dir = DATA_DIR,
        .node = {9},
        .segment_bytes = FM_KIB(64),
        .compress = true,
        .pending_bytes_max = FM_KIB(256),
        .head_bytes_max = FM_MIB(1),
        .block = block_options_default,
        .block_age_ns = 3600 * FM_NS_PER_S,
        .block_bytes = FM_MIB(64),
        .retention_ns = 3600 * FM_NS_PER_S,
        .sync_interval_ns = 200 * FM_NS_PER_MS,
    };
    fixture_open(f);
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

static void run(struct fixture *f, uint64_t ns)
{
    sim_run(f->sim, ns);
}

/* ---- tests ---- */

static void test_append_is_answered_later_and_found(void **state)
{
    struct fixture *f = *state;
    send(f, 1);
    assert_int_equal(f->answered, 0);
    run(f, FM_NS_PER_S);
    assert_int_equal(f->answered, 1);
    assert_ok(f->rc);
    assert_int_equal(spans_of(f, 1), 1);
    assert_int_equal(spans_of(f, 2), 0);
    struct store_read_stats stats;
    assert_int_equal(count_spans(f, "other", 1, &stats), 0);
}

static void test_acknowledged_survives_power_cut(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < 20; i++)
        send(f, i % 5);
    run(f, FM_NS_PER_S);
    assert_int_equal(f->answered, 20);
    fixture_crash(f, false);
    fixture_open(f);
    for (uint32_t i = 0; i < 5; i++)
        assert_int_equal(spans_of(f, i), 4);
    struct store_status status;
    store_get_status(f->store, &status);
    assert_int_equal(status.head_spans, 20);
    assert_int_equal(status.replay_holes, 0);
}

static void test_small_appends_share_a_record(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < 50; i++)
        send(f, i);
    run(f, FM_NS_PER_S);
    struct store_status status;
    store_get_status(f->store, &status);
    assert_int_equal(status.head_spans, 50);
    assert_true(status.head_records <= 2);
    assert_int_equal(spans_of(f, 49), 1);
}

static void test_flush_moves_the_head_into_a_block(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < 30; i++)
        send(f, i % 3);
    run(f, FM_NS_PER_S);
    assert_ok(flush(f));
    assert_int_equal(f->sealed_count, 1);
    assert_int_equal(f->sealed->span_count, 30);
    assert_int_equal(f->sealed->meta.trace_count, 3);
    struct store_status status;
    store_get_status(f->store, &status);
    assert_int_equal(status.head_records, 0);
    assert_int_equal(status.head_memory_bytes, 0);
    assert_int_equal(status.blocks_sealed, 1);
    struct store_read_stats stats;
    assert_int_equal(count_spans(f, TENANT, 1, &stats), 10);
    assert_int_equal(stats.blocks_opened, 1);
    assert_int_equal(count_spans(f, TENANT, 77, &stats), 0);
    assert_int_equal(stats.blocks_opened, 0);
    assert_int_equal(stats.inspected_bytes, 0); /* its bloom was kept */
    char path[512];
    memcpy(path, f->sealed->path, sizeof path);
    fixture_crash(f, false);
    fixture_open(f);
    assert_int_equal(f->sealed_count, 1);
    assert_string_equal(f->sealed->path, path);
    assert_int_equal(spans_of(f, 1), 10);
    store_get_status(f->store, &status);
    assert_int_equal(status.replay_records, 0);
    assert_ok(flush(f)); /* nothing to do is done, too */
}

static void test_snapshot_outlives_the_cut(void **state)
{
    struct fixture *f = *state;
    struct store_snapshot *snapshot;
    for (uint32_t i = 0; i < 10; i++)
        send(f, 1);
    run(f, FM_NS_PER_S);
    assert_ok(store_snapshot_new(f->store, FM_SLICE(TENANT), &snapshot));
    assert_ok(flush(f));
    for (uint32_t i = 0; i < 40; i++) /* enough to want the old segment again */
        send_sized(f, TENANT, 2, 6000);
    run(f, 60 * FM_NS_PER_S);
    struct trace_id id = trace_of(1);
    struct store_read_stats stats = {0};
    struct trace *trace;
    assert_ok(trace_new(&trace, &id, FM_MIB(4)));
    assert_ok(store_find_trace(snapshot, &id, trace, &stats, NULL));
    assert_ok(trace_finish(trace));
    assert_int_equal(trace_span_count(trace), 10);
    assert_int_equal(stats.blocks_failed, 0);
    trace_free(trace);
    store_snapshot_free(snapshot);
}

static void test_cut_by_age_and_by_size(void **state)
{
    struct fixture *f = *state;
    fixture_close(f);
    f->options.block_age_ns = 10 * FM_NS_PER_S;
    f->options.block_bytes = FM_KIB(64);
    fixture_open(f);
    send(f, 1);
    run(f, 9 * FM_NS_PER_S);
    assert_int_equal(f->sealed_count, 0);
    run(f, 3 * FM_NS_PER_S);
    assert_int_equal(f->sealed_count, 1);
    for (uint32_t i = 0; i < 20; i++)
        send_sized(f, TENANT, 2, 6000);
    run(f, 2 * FM_NS_PER_S);
    assert_true(f->sealed_count > 1);
}

static void test_pending_is_bounded(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < 100; i++)
        send_sized(f, TENANT, 1, 6000);
    assert_int_equal(f->answered, 0);
    run(f, 10 * FM_NS_PER_S);
    assert_int_equal(f->answered, 100);
    size_t found = spans_of(f, 1);
    assert_true(found >= 40 && found < 60);
    send(f, 3);
    run(f, FM_NS_PER_S);
    assert_ok(f->rc);
}

/* What waits when somebody else comes is not written first, only a share of it. */
static void test_a_flood_is_felt_by_its_tenant(void **state)
{
    struct fixture *f = *state;
    struct store_read_stats stats;
    fixture_close(f);
    f->options.pending_bytes_max = FM_MIB(16);
    fixture_open(f);
    send(f, 1000);
    send_sized(f, "quiet", 2000, 20);
    run(f, FM_NS_PER_S);
    f->answered = 0;
    for (uint32_t i = 0; i < 100; i++)
        send_sized(f, TENANT, i, 20000);
    send_sized(f, "quiet", 2001, 20);
    while (!count_spans(f, "quiet", 2001, &stats))
        assert_true(sim_step(f->sim));
    assert_true(f->answered < 20);
    run(f, 10 * FM_NS_PER_S);
    assert_int_equal(f->answered, 101);
    for (uint32_t i = 0; i < 100; i++)
        send_sized(f, i % 2 ? TENANT : "quiet", i, 20000);
    fixture_close(f); /* writes all that waits */
    assert_int_equal(f->answered, 201);
    assert_ok(f->rc);
    fixture_open(f);
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(spans_of(f, i), 1 + i % 2);
        assert_int_equal(count_spans(f, "quiet", i, &stats), 1 - i % 2);
    }
}

static void test_record_larger_than_a_segment(void **state)
{
    struct fixture *f = *state;
    send(f, 1);
    run(f, FM_NS_PER_S);
    send_sized(f, TENANT, 2, 69000);
    send(f, 3);
    send_sized(f, TENANT, 2, 69000);
    run(f, FM_NS_PER_S);
    assert_int_equal(f->answered, 4);
    fixture_crash(f, false);
    fixture_open(f);
    assert_int_equal(spans_of(f, 1), 1);
    assert_int_equal(spans_of(f, 2), 2);
    assert_int_equal(spans_of(f, 3), 1);
    assert_ok(flush(f));
    assert_int_equal(spans_of(f, 2), 2);
}

/* One failing sync delays the acknowledgement; it does not lose it. */
static void test_one_failed_sync(void **state)
{
    struct fixture *f = *state;
    for (uint64_t nth = 1; nth < 12; nth++) {
        sim_fault_at(f->sim, SIM_SYNC_EIO, nth, false);
        for (uint32_t i = 0; i < 5; i++) {
            send(f, (uint32_t)nth);
            run(f, 300 * FM_NS_PER_MS);
        }
        run(f, 60 * FM_NS_PER_S);
        sim_fault_at(f->sim, SIM_SYNC_EIO, 0, false);
    }
    uint32_t expected = 55;
    assert_int_equal(f->answered, expected);
    assert_ok(f->rc);
    fixture_crash(f, false);
    fixture_open(f);
    for (uint32_t i = 1; i < 12; i++)
        assert_int_equal(spans_of(f, i), 5);
    struct store_status status;
    store_get_status(f->store, &status);
    assert_int_equal(status.head_spans, 55);
}

static void test_failing_disk_and_recovery(void **state)
{
    struct fixture *f = *state;
    send(f, 1);
    run(f, FM_NS_PER_S);
    sim_fault_at(f->sim, SIM_SYNC_EIO, 1, true);
    send(f, 2);
    run(f, FM_NS_PER_S);
    assert_int_equal(f->answered, 2);
    assert_int_equal(f->rc, FM_EIO);
    struct store_status status;
    store_get_status(f->store, &status);
    assert_true(status.is_read_only);
    assert_true(strlen(status.problem) > 0);
    send(f, 3);
    run(f, FM_NS_PER_S);
    assert_int_equal(f->rc, FM_EIO);
    assert_int_equal(spans_of(f, 1), 1); /* reading goes on */
    sim_fault_at(f->sim, SIM_SYNC_EIO, 0, false);
    run(f, 90 * FM_NS_PER_S);
    store_get_status(f->store, &status);
    assert_false(status.is_read_only);
    send(f, 4);
    run(f, FM_NS_PER_S);
    assert_ok(f->rc);
    fixture_crash(f, false);
    fixture_open(f);
    assert_int_equal(spans_of(f, 1), 1);
    assert_int_equal(spans_of(f, 4), 1);
}

static void test_full_disk(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < 8; i++)
        send(f, 1);
    run(f, FM_NS_PER_S);
    sim_disk_capacity(f->sim, FM_KIB(128));
    for (uint32_t i = 0; i < 40; i++)
        send_sized(f, TENANT, 2, 6000);
    run(f, 20 * FM_NS_PER_S);
    assert_int_equal(f->answered, 48);
    assert_int_equal(f->rc, FM_ENOSPACE);
    fixture_crash(f, true);
    fixture_open(f); /* with a full disk */
    assert_int_equal(spans_of(f, 1), 8);
    size_t before = spans_of(f, 2);
    sim_disk_capacity(f->sim, 0);
    run(f, 120 * FM_NS_PER_S);
    send(f, 2);
    run(f, FM_NS_PER_S);
    assert_ok(f->rc);
    assert_int_equal(spans_of(f, 2), before + 1);
}

static void test_interval_sync(void **state)
{
    struct fixture *f = *state;
    fixture_close(f);
    f->options.sync = STORE_SYNC_INTERVAL;
    fixture_open(f);
    send(f, 1);
    run(f, FM_NS_PER_S); /* written and synced */
    sim_fault_at(f->sim, SIM_SYNC_EIO, 1, false);
    send(f, 2);
    run(f, 60 * FM_NS_PER_S); /* the sync fails, the record moves */
    assert_int_equal(f->answered, 2);
    assert_int_equal(spans_of(f, 2), 1);
    fixture_crash(f, false);
    fixture_open(f);
    assert_int_equal(spans_of(f, 1), 1);
    assert_int_equal(spans_of(f, 2), 1);
    sim_fault_at(f->sim, SIM_SYNC_EIO, 1, false);
    send(f, 3);
    run(f, 60 * FM_NS_PER_S);
    assert_ok(flush(f));
    fixture_crash(f, true);
    fixture_open(f); /* the block covers both copies */
    struct store_status status;
    store_get_status(f->store, &status);
    assert_int_equal(status.head_spans, 0);
    assert_int_equal(spans_of(f, 3), 1);
}

static void seal_one(struct fixture *f, uint32_t trace)
{
    for (uint32_t i = 0; i < 20; i++)
        send_sized(f, TENANT, trace, 3000);
    run(f, FM_NS_PER_S);
    assert_ok(flush(f));
}

static void on_uploaded(void *self, int rc)
{
    struct fixture *f = self;
    assert_ok(rc);
    f->flush_rc = 99;
}

static void upload(struct fixture *f)
{
    f->flush_rc = 0;
    store_block_uploaded(f->store, f->sealed, on_uploaded, f);
    assert_int_equal(f->flush_rc, 0);
    run(f, FM_NS_PER_S);
    assert_int_equal(f->flush_rc, 99);
}

static void test_uploaded_is_remembered_and_expires(void **state)
{
    struct fixture *f = *state;
    seal_one(f, 1);
    upload(f);
    assert_true(store_block_is_uploaded(f->store, f->sealed));
    fixture_crash(f, false);
    f->options.retention_ns = 1000 * FM_NS_PER_S;
    fixture_open(f);
    assert_int_equal(f->sealed_count, 1);
    assert_true(store_block_is_uploaded(f->store, f->sealed));
    send(f, 2); /* pins a segment of the log: the coverage must outlive the block */
    run(f, 1100 * FM_NS_PER_S);
    assert_int_equal(spans_of(f, 1), 0);
    fixture_crash(f, false);
    fixture_open(f);
    assert_int_equal(f->sealed_count, 0);
    struct store_status status;
    store_get_status(f->store, &status);
    assert_int_equal(status.head_spans, 1);
    assert_int_equal(spans_of(f, 2), 1);
}

static void test_quota_rejects(void **state)
{
    struct fixture *f = *state;
    fixture_close(f);
    f->options.quota_bytes = FM_KIB(300);
    fixture_open(f);
    for (uint32_t i = 1; i < 8; i++) {
        seal_one(f, i);
        run(f, 15 * FM_NS_PER_S);
    }
    struct store_status status;
    store_get_status(f->store, &status);
    assert_true(status.is_read_only);
    assert_int_equal(f->rc, FM_ENOSPACE);
    assert_int_equal(spans_of(f, 1), 20); /* what was promised stays */
    upload(f);
    run(f, 30 * FM_NS_PER_S);
    send(f, 9);
    run(f, FM_NS_PER_S);
    assert_ok(f->rc);
}

static void test_quota_drops_oldest_if_told(void **state)
{
    struct fixture *f = *state;
    fixture_close(f);
    f->options.quota_bytes = FM_KIB(300);
    f->options.on_full = STORE_DROP_OLDEST;
    fixture_open(f);
    for (uint32_t i = 1; i < 8; i++) {
        seal_one(f, i);
        run(f, 15 * FM_NS_PER_S);
    }
    assert_ok(f->rc);
    assert_int_equal(spans_of(f, 1), 0);
    assert_int_equal(spans_of(f, 7), 20);
    struct fm_buf text;
    fm_buf_init(&text, FM_MIB(1));
    store_put_metrics(f->store, &text);
    fm_buf_put_u8(&text, 0);
    assert_non_null(strstr((char *)text.ptr, "fermata_blocks_total{state=\"dropped\"}"));
    assert_null(strstr((char *)text.ptr, "fermata_store_dropped_spans_total 0\n"));
    fm_buf_fini(&text);
}

struct first_segment {
    char path[300];
};

static int first_segment_visit(void *self, const char *name, bool is_directory)
{
    struct first_segment *first = self;
    (void)is_directory;
    (void)snprintf(first->path, sizeof first->path, DATA_DIR "/wal/%.100s", name);
    return strstr(name, "-000000000001.seg") ? FM_END : FM_OK;
}

static int segment_is_kept(void *self, const char *name, bool is_directory)
{
    *(bool *)self |= !is_directory && strcmp(name + 10, "-00000001-000000000001.seg") == 0;
    return FM_OK;
}

static void test_damage_costs_one_record(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < 10; i++) {
        send(f, i);
        run(f, FM_NS_PER_S);
    }
    fixture_crash(f, false);
    struct first_segment first;
    struct platform *platform = sim_platform(f->sim);
    (void)platform->ops->list(platform, DATA_DIR "/wal", first_segment_visit, &first, NULL);
    sim_disk_flip_bit(f->sim, first.path, (4096 + 400) * 8);
    fixture_open(f);
    size_t found = 0;
    for (uint32_t i = 0; i < 10; i++)
        found += spans_of(f, i);
    assert_int_equal(found, 9);
    struct store_status status;
    store_get_status(f->store, &status);
    assert_int_equal(status.replay_holes, 1);
    fixture_crash(f, false);
    for (uint64_t bit = 0; bit < 2; bit++) /* both copies of the header */
        sim_disk_flip_bit(f->sim, first.path, (bit * 2048 + 20) * 8);
    fixture_open(f);
    assert_int_equal(spans_of(f, 9), 0);
    send(f, 20);
    run(f, FM_NS_PER_S);
    assert_ok(f->rc);
    bool is_kept = false;
    assert_ok(
        platform->ops->list(platform, DATA_DIR "/quarantine", segment_is_kept, &is_kept, NULL));
    assert_true(is_kept);
}

static void test_damaged_block_is_skipped(void **state)
{
    struct fixture *f = *state;
    seal_one(f, 1);
    struct store_block *first = f->sealed;
    seal_one(f, 1);
    assert_ptr_not_equal(first, f->sealed);
    char path[600];
    (void)snprintf(path, sizeof path, "%s/data.parquet", first->path);
    fixture_crash(f, false);
    for (uint64_t byte = 100; byte < 4000; byte += 10)
        sim_disk_flip_bit(f->sim, path, byte * 8);
    fixture_open(f);
    struct store_read_stats stats;
    assert_int_equal(count_spans(f, TENANT, 1, &stats), 20);
    assert_int_equal(stats.blocks_failed, 1);
}

static void test_foreign_files_are_ignored(void **state)
{
    struct fixture *f = *state;
    struct platform *platform = sim_platform(f->sim);
    seal_one(f, 1);
    fixture_crash(f, false);
    assert_ok(pf_replace_file(platform, DATA_DIR "/wal/notes.txt", FM_SLICE("x"), NULL));
    assert_ok(
        pf_replace_file(platform, DATA_DIR "/wal/0000000g-000000000001.seg", FM_SLICE("x"), NULL));
    assert_ok(pf_replace_file(platform, DATA_DIR "/blocks/README", FM_SLICE("x"), NULL));
    assert_ok(pf_make_path(platform, DATA_DIR "/blocks/" TENANT "/not-a-block", NULL));
    assert_ok(pf_make_path(platform, DATA_DIR "/blocks/bad tenant", NULL));
    assert_ok(
        pf_replace_file(platform, DATA_DIR "/wal/00000001-0000000000ff.seg", FM_SLICE(""), NULL));
    fixture_open(f);
    assert_int_equal(f->sealed_count, 1);
    assert_int_equal(spans_of(f, 1), 20);
    struct fm_buf text;
    fm_buf_init(&text, 16);
    assert_ok(pf_read_file(platform, DATA_DIR "/wal/notes.txt", &text, NULL));
    fm_buf_fini(&text);
}

static void test_half_a_block_goes_to_quarantine(void **state)
{
    struct fixture *f = *state;
    struct platform *platform = sim_platform(f->sim);
    char path[600];
    seal_one(f, 1);
    (void)snprintf(path, sizeof path, "%s/local.json", f->sealed->path);
    fixture_crash(f, false);
    assert_ok(pf_replace_file(platform, path, FM_SLICE("{\"version\":1}"), NULL));
    fixture_open(f);
    struct store_status status;
    store_get_status(f->store, &status);
    assert_int_equal(status.blocks_quarantined, 1);
    assert_int_equal(status.blocks_sealed, 0);
}

static void test_close_answers_everybody(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < 10; i++)
        send(f, 1);
    f->is_flushed = false;
    store_flush(f->store, on_flushed, f);
    fixture_close(f);
    assert_int_equal(f->answered, 10);
    assert_ok(f->rc);
    assert_true(f->is_flushed);
    fixture_open(f);
    assert_int_equal(spans_of(f, 1), 10);
}

/* Want of memory refuses, delays or degrades; it never loses what was acknowledged. */
static void test_every_allocation_may_fail(void **state)
{
    struct fixture *f = *state;
    bool reached = true;
    uint32_t stored = 0;
    for (uint64_t nth = 1; reached && nth < 3000; nth += 1 + nth / 16) {
        send(f, 1);
        run(f, FM_NS_PER_S);
        assert_ok(f->rc);
        stored++;
        uint32_t before = f->answered;
        struct request *request = calloc(1, sizeof *request);
        assert_non_null(request);
        struct trace_id id = trace_of(1);
        request->key = trace_id_key(id.bytes);
        request->answered = &f->answered;
        request->rc = &f->rc;
        request->append = (struct store_append){
            .tenant = FM_SLICE(TENANT),
            .span_count = 1,
            .trace_keys = &request->key,
            .trace_key_count = 1,
            .done = request_done,
        };
        fm_buf_init(&request->append.payload, FM_MIB(1));
        put_span(&request->append.payload, &id, ++f->span_count, 100);
        f->is_flushed = false;
        store_flush(f->store, on_flushed, f); /* the build is hit as well */
        test_alloc_fail_at(nth);
        store_append(f->store, &request->append);
        run(f, 20 * FM_NS_PER_S);
        reached = test_alloc_failed();
        test_alloc_disarm();
        assert_int_equal(f->answered, before + 1);
        assert_true(f->rc == FM_OK || fm_rc_retryable(f->rc));
        stored += f->rc == FM_OK;
        (void)flush(f);
    }
    run(f, 400 * FM_NS_PER_S);
    assert_ok(flush(f));
    assert_int_equal(spans_of(f, 1), stored);
    fixture_crash(f, false);
    fixture_open(f);
    assert_true(spans_of(f, 1) >= stored);
}

static void test_second_process_is_refused(void **state)
{
    struct fixture *f = *state;
    struct store *second;
    struct fm_why why;
    assert_int_equal(store_open(&second, sim_platform(f->sim), &f->options, &why), FM_EEXISTS);
}

static void test_restarts_do_not_grow_the_log(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < 20; i++) {
        fixture_crash(f, i % 2);
        fixture_open(f);
    }
    run(f, 30 * FM_NS_PER_S);
    struct store_status status;
    store_get_status(f->store, &status);
    assert_true(status.wal_segments <= 2);
}

int main(void)
{
#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_append_is_answered_later_and_found),
        STORE_TEST(test_acknowledged_survives_power_cut),
        STORE_TEST(test_small_appends_share_a_record),
        STORE_TEST(test_flush_moves_the_head_into_a_block),
        STORE_TEST(test_snapshot_outlives_the_cut),
        STORE_TEST(test_cut_by_age_and_by_size),
        STORE_TEST(test_pending_is_bounded),
        STORE_TEST(test_a_flood_is_felt_by_its_tenant),
        STORE_TEST(test_record_larger_than_a_segment),
        STORE_TEST(test_one_failed_sync),
        STORE_TEST(test_failing_disk_and_recovery),
        STORE_TEST(test_full_disk),
        STORE_TEST(test_interval_sync),
        STORE_TEST(test_uploaded_is_remembered_and_expires),
        STORE_TEST(test_quota_rejects),
        STORE_TEST(test_quota_drops_oldest_if_told),
        STORE_TEST(test_damage_costs_one_record),
        STORE_TEST(test_damaged_block_is_skipped),
        STORE_TEST(test_foreign_files_are_ignored),
        STORE_TEST(test_half_a_block_goes_to_quarantine),
        STORE_TEST(test_close_answers_everybody),
        STORE_TEST(test_every_allocation_may_fail),
        STORE_TEST(test_second_process_is_refused),
        STORE_TEST(test_restarts_do_not_grow_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
