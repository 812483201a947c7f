/* SPDX-License-Identifier: Apache-2.0 */
/* A cursor over the store, in the simulated world: log and blocks, places, what is deleted before
 * it was read.  The long runs, with crashes, are in tests/sim/sim_export.c. */
#include "../../support/test.h"

#include "fermata/model.h"
#include "fermata/pb.h"
#include "fermata/sim.h"
#include "fermata/store_cursor.h"
#include "fermata/units.h"

#define DATA_DIR "/data"
#define TENANT   "single-tenant"

struct request {
    struct store_append append;
    uint64_t key;
    uint32_t *answered; /* counts */
    int *rc;            /* the last answer */
};

struct fixture {
    struct sim *sim;
    struct store *store;
    struct store_options options;
    uint32_t answered;
    int rc;
    uint32_t span_count; /* sent, numbered from 1 */
    struct store_cursor *cursor;
    int read_rc;
    bool is_read;
    int flush_rc;
    bool is_flushed, is_closed;
};

static struct trace_id trace_of(uint32_t number)
{
    struct trace_id id;
    uint64_t state = number;
    fm_store_be64(id.bytes, fm_random_next(&state));
    fm_store_be64(id.bytes + 8, fm_random_next(&state));
    return id;
}

static void put_span(struct fm_buf *buf, const struct trace_id *id, uint32_t number, size_t ballast)
{
    static char name[70000];
    uint8_t span_id[8];
    uint64_t state = number;
    fm_store_be64(span_id, number);
    for (size_t i = 0; i < ballast; i++)
        name[i] = (char)('a' + fm_random_next(&state) % 26);
    size_t resource_spans = pb_begin(buf, 1);
    size_t scope_spans = pb_begin(buf, 2);
    size_t span = pb_begin(buf, 2);
    pb_put_bytes(buf, 1, fm_slice(id->bytes, 16));
    pb_put_bytes(buf, 2, fm_slice(span_id, 8));
    pb_put_bytes(buf, 5, fm_slice(name, ballast));
    pb_put_fixed64(buf, 7, UINT64_C(1763690000000000000) + number);
    pb_put_fixed64(buf, 8, UINT64_C(1763690000000000000) + number + 1000);
    pb_end(buf, span);
    pb_end(buf, scope_spans);
    pb_end(buf, resource_spans);
}

static void request_done(struct store_append *append, int rc)
{
    struct request *request = FM_CONTAINER(append, struct request, append);
    ++*request->answered;
    *request->rc = rc;
    assert_null(append->payload.ptr);
    free(request);
}

/* One span of trace `trace`; its span id is its number. */
static void send_sized(struct fixture *f, const char *tenant, uint32_t trace, size_t ballast)
{
    struct request *request = calloc(1, sizeof *request);
    assert_non_null(request);
    struct trace_id id = trace_of(trace);
    request->key = trace_id_key(id.bytes);
    request->answered = &f->answered;
    request->rc = &f->rc;
    request->append = (struct store_append){
        .tenant = fm_slice_text(tenant),
        .span_count = 1,
        .trace_keys = &request->key,
        .trace_key_count = 1,
        .received_unix_ns = pf_wall_ns(sim_platform(f->sim)),
        .done = request_done,
    };
    fm_buf_init(&request->append.payload, FM_MIB(1));
    put_span(&request->append.payload, &id, ++f->span_count, ballast);
    store_append(f->store, &request->append);
}

static void on_flushed(void *self, int rc)
{
    struct fixture *f = self;
    f->flush_rc = rc;
    f->is_flushed = true;
}

static int flush(struct fixture *f)
{
    f->is_flushed = false;
    store_flush(f->store, on_flushed, f);
    assert_false(f->is_flushed);
    while (!f->is_flushed && sim_step(f->sim)) {
    }
    assert_true(f->is_flushed);
    return f->flush_rc;
}

static void on_closed(void *self)
{
    ((struct fixture *)self)->is_closed = true;
}

static void fixture_open(struct fixture *f)
{
    struct fm_why why = {""};
    int rc = store_open(&f->store, sim_platform(f->sim), &f->options, &why);
    if (rc < 0)
        fail_msg("open: %s", why.text);
}

static void fixture_close(struct fixture *f)
{
    f->is_closed = false;
    store_close(f->store, on_closed, f);
    assert_false(f->is_closed);
    while (!f->is_closed && sim_step(f->sim)) {
    }
    assert_true(f->is_closed);
    f->store = NULL;
    sim_crash(f->sim, true); /* the process ends: its lock goes */
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

/* Reads once and passes it on; the number of spans. */
static uint64_t read_some(struct fixture *f, size_t tenant, uint64_t spans_max)
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
    if (f->read_rc != FM_OK)
        return 0;
    store_cursor_advance(f->cursor, tenant, &read.end);
    return read.span_count;
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
    assert_true(status.wal_segments <= 4);
    uint64_t count = 0;
    for (uint64_t some; (some = read_some(f, 0, 5));)
        count += some;
    assert_int_equal(count, 48);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_log_then_blocks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_place_is_found_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tenants_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expired, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log_is_not_held, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
