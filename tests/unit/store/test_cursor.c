/* SPDX-License-Identifier: Apache-2.0 */
/* A cursor over the store, in the simulated world: log and blocks, places, what is deleted before
 * it was read.  The long runs, with crashes, are in tests/sim/sim_export.c. */
#include "world.h"

static void fixture_open(struct fixture *f)
{
    struct fm_why why = {""};
    int rc = store_open(&f->store, sim_platform(f->sim), &f->options, &why);
    if (rc < 0)
        fail_msg("open: %s", why.text);
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
    f->cursor = store_cursor_close(f->cursor);
    if (f->store)
        fixture_close(f);
    sim_free(f->sim);
    free(f);
    return 0;
}

/* ---- a cursor ---- */

static void open_cursor(struct fixture *f, uint64_t begin_lsn)
{
    const struct store_cursor_options options = {.begin_lsn = begin_lsn};
    assert_ok(store_cursor_open(&f->cursor, f->store, &options));
}

static void read_done(struct store_cursor_read *read, int rc)
{
    struct fixture *f = read->self;
    f->is_read = true;
    f->read_rc = rc;
}

/* Reads once; the number of spans. */
static uint64_t read_ahead(struct fixture *f, size_t tenant, uint64_t spans_max,
                           struct store_place *ret_end)
{
    struct fm_buf otlp;
    struct store_cursor_read read = {.tenant = tenant,
                                     .spans_max = spans_max,
                                     .bytes_max = FM_MIB(1),
                                     .otlp = &otlp,
                                     .done = read_done,
                                     .self = f};
    fm_buf_init(&otlp, FM_MIB(8));
    f->is_read = false;
    store_cursor_read(f->cursor, &read);
    assert_false(f->is_read);
    while (!f->is_read && sim_step(f->sim)) {
    }
    assert_true(f->is_read);
    fm_buf_fini(&otlp);
    *ret_end = read.end;
    return f->read_rc == FM_OK ? read.span_count : 0;
}

/* And passes it on. */
static uint64_t read_some(struct fixture *f, size_t tenant, uint64_t spans_max)
{
    struct store_place end;
    uint64_t span_count = read_ahead(f, tenant, spans_max, &end);
    if (f->read_rc == FM_OK)
        store_cursor_advance(f->cursor, tenant, &end);
    return span_count;
}

static uint64_t pending_ahead(struct fixture *f, size_t tenant)
{
    struct store_pending look;
    store_cursor_look_ahead(f->cursor, tenant, UINT64_MAX, UINT64_MAX, &look);
    return look.spans;
}

static uint64_t pending(struct fixture *f, size_t tenant)
{
    struct store_pending look;
    store_cursor_look(f->cursor, tenant, UINT64_MAX, UINT64_MAX, &look);
    assert_int_equal(look.spans != 0, look.oldest_unix_ns != 0);
    return look.spans;
}

static void send_some(struct fixture *f, const char *tenant, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        send_sized(f, tenant, 100 + i, 20);
        while (f->answered < f->span_count && sim_step(f->sim)) { /* a record each */
        }
    }
}

static void test_log_then_blocks(void **state)
{
    struct fixture *f = *state;
    open_cursor(f, 0);
    assert_int_equal(store_cursor_tenant_count(f->cursor), 0);
    send_some(f, TENANT, 10);
    assert_int_equal(store_cursor_tenant_count(f->cursor), 1);
    assert_string_equal(store_cursor_tenant(f->cursor, 0), TENANT);
    assert_int_equal(pending(f, 0), 10);
    assert_int_equal(read_some(f, 0, 4), 4); /* from the log */
    assert_int_equal(pending(f, 0), 6);
    assert_ok(flush(f));
    struct store_status status;
    store_get_status(f->store, &status);
    assert_int_equal(status.blocks_sealed, 2); /* one ends where the cursor stands */
    assert_int_equal(pending(f, 0), 6);
    assert_int_equal(read_some(f, 0, 2), 2); /* from the second block, in three times */
    assert_int_equal(pending(f, 0), 4);
    struct store_place place = store_cursor_place(f->cursor, 0);
    assert_int_equal(place.row, 2);
    assert_int_equal(read_some(f, 0, 3), 3);
    send_some(f, TENANT, 3);
    assert_int_equal(read_some(f, 0, 100), 1);
    assert_int_equal(store_cursor_place(f->cursor, 0).row, 0);
    assert_int_equal(read_some(f, 0, 100), 3);
    assert_int_equal(read_some(f, 0, 100), 0);
    assert_int_equal(f->read_rc, FM_NONE);
    assert_int_equal(pending(f, 0), 0);
}

/* What was read and not passed on: given up from its end, passed on from its beginning, and a block
 * ends at each of its ends. */
static void test_reading_ahead(void **state)
{
    struct fixture *f = *state;
    struct store_place ends[4];
    struct store_status status;
    open_cursor(f, 0);
    send_some(f, TENANT, 12);
    assert_int_equal(store_cursor_tenant_count(f->cursor), 1);
    assert_int_equal(read_ahead(f, 0, 4, &ends[0]), 4);
    assert_int_equal(read_ahead(f, 0, 3, &ends[1]), 3);
    assert_int_equal(read_ahead(f, 0, 2, &ends[2]), 2);
    assert_int_equal(pending(f, 0), 12);
    assert_int_equal(pending_ahead(f, 0), 3);
    store_cursor_rewind(f->cursor, 0);
    assert_int_equal(pending_ahead(f, 0), 5);
    assert_int_equal(read_ahead(f, 0, 2, &ends[3]), 2);
    assert_int_equal(ends[3].lsn, ends[2].lsn);
    assert_ok(flush(f));
    store_get_status(f->store, &status);
    assert_int_equal(status.blocks_sealed, 4);
    for (size_t i = 0; i < 2; i++) {
        store_cursor_advance(f->cursor, 0, &ends[i]);
        assert_int_equal(store_cursor_place(f->cursor, 0).lsn, ends[i].lsn);
        assert_int_equal(pending_ahead(f, 0), 3);
    }
    assert_int_equal(pending(f, 0), 5);
    store_cursor_advance(f->cursor, 0, &ends[2]);
    assert_int_equal(read_ahead(f, 0, 1, &ends[0]), 1); /* within a block */
    assert_int_equal(read_ahead(f, 0, 1, &ends[1]), 1);
    assert_int_equal(ends[0].row, 1);
    assert_int_equal(ends[1].row, 2);
    store_cursor_rewind(f->cursor, 0);
    store_cursor_rewind(f->cursor, 0);
    assert_int_equal(pending_ahead(f, 0), 3);
    assert_int_equal(read_some(f, 0, 100), 3);
    assert_int_equal(pending(f, 0), 0);
}

static void test_place_is_found_again(void **state)
{
    struct fixture *f = *state;
    open_cursor(f, 0);
    send_some(f, TENANT, 10);
    assert_ok(flush(f));
    assert_int_equal(read_some(f, 0, 3), 3);
    struct store_place place = store_cursor_place(f->cursor, 0);
    f->cursor = store_cursor_close(f->cursor);
    fixture_close(f);
    fixture_open(f);
    open_cursor(f, UINT64_MAX);
    assert_int_equal(store_cursor_tenant_count(f->cursor), 1);
    assert_int_equal(pending(f, 0), 0); /* begins behind all there is */
    store_cursor_restore(f->cursor, "nobody", &place);
    store_cursor_restore(f->cursor, TENANT, &place);
    assert_int_equal(pending(f, 0), 7);
    assert_int_equal(read_some(f, 0, 100), 7);
    assert_int_equal(pending(f, 0), 0);
}

static void test_tenants_apart(void **state)
{
    struct fixture *f = *state;
    open_cursor(f, 0);
    send_some(f, "b", 2);
    assert_int_equal(store_cursor_tenant_count(f->cursor), 1);
    send_some(f, "a", 3);
    send_some(f, "b", 2);
    assert_int_equal(store_cursor_tenant_count(f->cursor), 2);
    assert_string_equal(store_cursor_tenant(f->cursor, 0), "b");
    assert_int_equal(read_some(f, 1, 100), 3);
    assert_int_equal(read_some(f, 0, 100), 4);
}

static void on_uploaded(void *self, int rc)
{
    (void)self;
    assert_ok(rc);
}

static void on_sealed(void *self, struct store_block *block)
{
    struct fixture *f = self;
    store_block_uploaded(f->store, block, on_uploaded, NULL);
}

/* The block goes although the cursor stands in it, and what it had left is counted. */
static void test_expired(void **state)
{
    struct fixture *f = *state;
    const struct store_observer observer = {.on_sealed = on_sealed, .self = f};
    open_cursor(f, 0);
    send_some(f, TENANT, 10);
    assert_ok(flush(f));
    assert_int_equal(read_some(f, 0, 4), 4);
    store_set_observer(f->store, &observer);
    sim_run(f->sim, 3700 * FM_NS_PER_S);
    struct store_status status;
    store_get_status(f->store, &status);
    assert_int_equal(status.blocks_sealed, 0);
    assert_int_equal(store_cursor_expired_spans(f->cursor), 6);
    assert_int_equal(pending(f, 0), 0);
    assert_int_equal(read_some(f, 0, 100), 0);
    send_some(f, TENANT, 2);
    assert_int_equal(read_some(f, 0, 100), 2);
}

/* Nothing is pinned: segments are used again while a cursor is behind. */
static void test_log_is_not_held(void **state)
{
    struct fixture *f = *state;
    struct store_status status;
    open_cursor(f, 0);
    for (unsigned round = 0; round < 6; round++) {
        for (uint32_t i = 0; i < 8; i++)
            send_sized(f, TENANT, 1000 * round + i, 20000);
        assert_ok(flush(f));
        sim_run(f->sim, 60 * FM_NS_PER_S);
    }
    store_get_status(f->store, &status);
    assert_true(status.wal_segments <= 6); /* those of one round; 15 were filled */
    uint64_t count = 0;
    for (uint64_t some; (some = read_some(f, 0, 5));)
        count += some;
    assert_int_equal(count, 48);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_log_then_blocks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reading_ahead, setup, teardown),
        cmocka_unit_test_setup_teardown(test_place_is_found_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tenants_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expired, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log_is_not_held, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
