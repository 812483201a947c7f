/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of what left ahead of its block: the file, and how long it stays.  What they are for:
 * tests/unit/sampler; with crashes at any moment: tests/sim/sim_sample.c. */
#include "world.h"

#include "fermata/store_decide.h"
#include "fermata/store_outbox.h"

/* ---- the file ---- */

static void list_render(size_t count, struct fm_buf *file)
{
    struct store_ahead_trace traces[100];
    const struct store_ahead ahead = {
        .first_lsn = 7, .last_lsn = 9000, .traces = traces, .trace_count = count};
    for (size_t i = 0; i < count; i++)
        traces[i] = (struct store_ahead_trace){i * 0x123456789abcdef, i % 5 ? i : UINT64_MAX};
    fm_buf_init(file, FM_MIB(1));
    store_ahead_render(&ahead, file);
    assert_false(file->failed);
}

static void test_round_trip(void **state)
{
    (void)state;
    for (size_t count = 0; count < 100; count += 11) {
        struct store_ahead parsed;
        struct fm_buf file;
        list_render(count, &file);
        assert_true(file.len == 36 + 16 * count);
        assert_ok(store_ahead_parse(fm_buf_slice(&file), &parsed));
        assert_true(parsed.first_lsn == 7 && parsed.last_lsn == 9000);
        assert_true(parsed.trace_count == count);
        for (size_t i = 0; i < count; i++) {
            assert_true(parsed.traces[i].key == i * 0x123456789abcdef);
            assert_true(parsed.traces[i].span_count == (i % 5 ? i : UINT64_MAX));
        }
        free(parsed.traces);
        for (size_t len = 0; len < file.len; len++) { /* cut short, one bit turned round */
            assert_int_equal(store_ahead_parse(fm_slice(file.ptr, len), &parsed), FM_ECORRUPT);
            file.ptr[len] ^= (uint8_t)(1u << len % 8);
            assert_int_equal(store_ahead_parse(fm_buf_slice(&file), &parsed), FM_ECORRUPT);
            file.ptr[len] ^= (uint8_t)(1u << len % 8);
        }
        fm_buf_fini(&file);
    }
}

/* The sum is right and the content is not. */
static void check_lie(size_t offset, uint64_t value)
{
    struct store_ahead parsed;
    struct fm_buf file;
    list_render(9, &file);
    fm_store_le64(file.ptr + offset, value);
    fm_store_le32(file.ptr + file.len - 4, fm_crc32c(0, fm_slice(file.ptr, file.len - 4)));
    assert_int_equal(store_ahead_parse(fm_buf_slice(&file), &parsed), FM_ECORRUPT);
    fm_buf_fini(&file);
}

static void test_lies(void **state)
{
    (void)state;
    check_lie(0, 1);    /* magic */
    check_lie(8, 9001); /* it ends before it begins */
    check_lie(24, 8);   /* traces */
    check_lie(24, 10);
    check_lie(24, UINT64_MAX);
    check_lie(24, UINT64_C(1) << 60);
}

static void test_no_memory(void **state)
{
    struct store_ahead parsed;
    struct fm_buf file;
    (void)state;
    list_render(9, &file);
    test_alloc_fail_at(1);
    int rc = store_ahead_parse(fm_buf_slice(&file), &parsed);
    test_alloc_fail_at(0);
    assert_int_equal(rc, FM_ENOMEM);
    fm_buf_fini(&file);
}

/* ---- how long it stays ---- */

struct making { /* of a group */
    struct store_outgoing outgoing;
    struct store_ahead ahead;
    struct store_ahead_trace trace;
    uint32_t number;
    bool is_over, was_put;
    int rc;
};

static int making_next(void *self, struct fm_buf *otlp, struct fm_why *why)
{
    struct making *making = self;
    struct trace_id id = trace_of(making->number);
    (void)why;
    if (making->was_put)
        return FM_END;
    put_span(otlp, &id, making->number, 20);
    making->was_put = true;
    return FM_OK;
}

static void making_done(struct store_outgoing *outgoing, int rc)
{
    struct making *making = FM_CONTAINER(outgoing, struct making, outgoing);
    making->rc = rc;
    making->is_over = true;
}

static void make_group(struct fixture *f, uint32_t number, uint64_t last_lsn)
{
    struct trace_id id = trace_of(number);
    struct making making = {
        .ahead = {.last_lsn = last_lsn, .traces = &making.trace, .trace_count = 1},
        .trace = {trace_id_key(id.bytes), 1},
        .number = number,
    };
    making.outgoing = (struct store_outgoing){
        .tenant = FM_SLICE(TENANT),
        .lane = STORE_LANE_EXPRESS,
        .name = {(uint8_t)number},
        .next = making_next,
        .ahead = &making.ahead,
        .done = making_done,
        .self = &making,
    };
    store_outgoing_build(f->store, &making.outgoing);
    while (!making.is_over)
        assert_true(sim_step(f->sim));
    assert_ok(making.rc);
}

static void on_stored(void *self, int rc)
{
    (void)self;
    assert_ok(rc);
}

/* Uploads what is express at once. */
static void on_sealed(void *self, struct store_block *block)
{
    struct fixture *f = self;
    if (!block->is_outgoing)
        f->sealed = block;
    else if (!store_block_is_uploaded(f->store, block))
        store_block_uploaded(f->store, block, on_stored, f);
}

static void fixture_open(struct fixture *f)
{
    struct fm_why why = {""};
    const struct store_observer observer = {.on_sealed = on_sealed, .self = f};
    if (store_open(&f->store, sim_platform(f->sim), &f->options, &why) < 0)
        fail_msg("open: %s", why.text);
    store_set_observer(f->store, &observer);
}

static void count_list(void *self, const char *tenant, const struct store_ahead *ahead)
{
    struct trace_id id = trace_of(ahead->name[0]);
    assert_string_equal(tenant, TENANT);
    assert_true(ahead->trace_count == 1);
    assert_true(ahead->traces[0].key == trace_id_key(id.bytes));
    ++*(unsigned *)self;
}

static unsigned lists_of(struct fixture *f)
{
    unsigned count = 0;
    store_ahead_each(f->store, count_list, &count);
    return count;
}

static void reopen(struct fixture *f)
{
    sim_crash(f->sim, false);
    f->store = store_abandon(f->store);
    fixture_open(f);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_ok(sim_new(&f->sim, 3));
    log_setup((enum log_level)0, false, NULL);
    f->options = (struct store_options){
        .data_dir = DATA_DIR,
        .node = {9},
        .segment_bytes = FM_KIB(64),
        .pending_bytes_max = FM_KIB(256),
        .head_bytes_max = FM_MIB(1),
        .block = block_options_default,
        .block_age_ns = 3600 * FM_NS_PER_S,
        .block_bytes = FM_MIB(64),
        .retention_ns = 24 * 3600 * FM_NS_PER_S,
    };
    fixture_open(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    fixture_close(f);
    sim_free(f->sim);
    free(f);
    return 0;
}

static void decide(struct fixture *f, struct store_block *block)
{
    struct store_decision *decision;
    assert_ok(store_decision_new(&decision, block->meta.trace_count));
    decision->span_count = block->span_count;
    store_decision_conclude(decision);
    store_block_decide(f->store, block, decision, on_stored, f);
    sim_run(f->sim, FM_NS_PER_S);
    store_decision_free(decision);
}

static void test_stays_until_all_is_decided(void **state)
{
    struct fixture *f = *state;
    send_sized(f, TENANT, 1, 20);
    sim_run(f->sim, FM_NS_PER_S);
    make_group(f, 1, 5000); /* behind the record, before the end of the log */
    sim_run(f->sim, 60 * FM_NS_PER_S);
    struct store_outbox_status outbox;
    store_outbox_get_status(f->store, &outbox);
    assert_true(outbox.groups[STORE_LANE_EXPRESS] == 0); /* it has left */
    assert_int_equal(lists_of(f), 1);
    assert_ok(flush(f));
    sim_run(f->sim, 60 * FM_NS_PER_S);
    assert_int_equal(lists_of(f), 1);
    decide(f, f->sealed);
    sim_run(f->sim, 60 * FM_NS_PER_S);
    assert_int_equal(lists_of(f), 0);
    reopen(f);
    assert_int_equal(lists_of(f), 0);
}

/* What the log has lost may be told anew under the same numbers. */
static void test_void_beyond_the_log(void **state)
{
    struct fixture *f = *state;
    send_sized(f, TENANT, 1, 20);
    sim_run(f->sim, FM_NS_PER_S);
    make_group(f, 1, UINT64_C(1) << 40);
    sim_run(f->sim, 60 * FM_NS_PER_S);
    assert_int_equal(lists_of(f), 1);
    reopen(f);
    assert_int_equal(lists_of(f), 0);
    reopen(f);
    assert_int_equal(lists_of(f), 0);
}

static void test_damaged_and_foreign_files(void **state)
{
    struct fixture *f = *state;
    struct platform *platform = sim_platform(f->sim);
    static const char *const names[] = {"0000000000000001-00000000000000000000000000000001",
                                        "0000000000000001", "x", ".part"};
    send_sized(f, TENANT, 1, 20);
    sim_run(f->sim, FM_NS_PER_S);
    assert_ok(pf_make_path(platform, DATA_DIR "/ahead/" TENANT, NULL));
    for (size_t i = 0; i < FM_COUNT(names); i++) {
        char path[256];
        (void)snprintf(path, sizeof path, DATA_DIR "/ahead/" TENANT "/%s", names[i]);
        assert_ok(pf_replace_file(platform, path, FM_SLICE("nothing"), NULL));
    }
    reopen(f);
    assert_int_equal(lists_of(f), 0);
    sim_run(f->sim, 60 * FM_NS_PER_S);
    assert_int_equal(lists_of(f), 0);
}

#define AHEAD_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),    cmocka_unit_test(test_lies),
        cmocka_unit_test(test_no_memory),     AHEAD_TEST(test_stays_until_all_is_decided),
        AHEAD_TEST(test_void_beyond_the_log), AHEAD_TEST(test_damaged_and_foreign_files),
    };
    return cmocka_run_group_tests_name("store_ahead", tests, NULL, NULL);
}
