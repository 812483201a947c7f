/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger of a store in the simulated world: what becomes of spans is known before and after
 * every crash.  Long runs: tests/sim/sim_store.c. */
#include "world.h"

#include "fermata/store_ledger.h"

#define KEEP_NS (12 * FM_NS_PER_S) /* housekeeping has run */
#define MANY    700u               /* tenants: their sums outgrow the file */

static void on_sealed(void *self, struct store_block *block)
{
    struct fixture *f = self;
    f->sealed = block;
    f->sealed_count++;
}

static bool fixture_try_open(struct fixture *f)
{
    struct fm_why why = {""};
    struct store_observer observer = {.on_sealed = on_sealed, .self = f};
    if (store_open(&f->store, sim_platform(f->sim), &f->options, &why) < 0) {
        f->store = NULL;
        return false;
    }
    f->sealed_count = 0;
    store_set_observer(f->store, &observer);
    return true;
}

struct sending { /* an append that a crash may leave unanswered */
    struct store_append append;
    struct fixture *f;
    uint64_t key;
    struct fm_link link;
};
static struct fm_link sendings = {&sendings, &sendings};

static void sending_free(struct sending *sending)
{
    fm_list_remove(&sending->link);
    fm_buf_fini(&sending->append.payload);
    free(sending);
}

static void on_sent(struct store_append *append, int rc)
{
    struct sending *sending = FM_CONTAINER(append, struct sending, append);
    sending->f->answered += rc == FM_OK;
    sending_free(sending);
}

static void fixture_crash(struct fixture *f)
{
    sim_crash(f->sim, false);
    f->store = store_abandon(f->store);
    while (!fm_list_empty(&sendings))
        sending_free(FM_CONTAINER(sendings.next, struct sending, link));
}

static struct fixture *fixture_new(void)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_ok(sim_new(&f->sim, 11));
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
        .retention_ns = FM_NS_PER_S,
    };
    return f;
}

static void fixture_free(struct fixture *f)
{
    if (f->store)
        fixture_close(f);
    sim_free(f->sim);
    free(f);
}

static int setup(void **state)
{
    struct fixture *f = fixture_new();
    assert_true(fixture_try_open(f));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture_free(*state);
    return 0;
}

static struct ledger_row total_of(const struct fixture *f)
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

static void assert_columns(const struct fixture *f, const uint64_t want[LEDGER_COLUMN_COUNT])
{
    struct ledger_row total = total_of(f);
    for (size_t i = 0; i < LEDGER_COLUMN_COUNT; i++) {
        if (total.spans[i] != want[i])
            fail_msg("%s %s: %llu, not %llu", ledger_column_texts[i].state,
                     ledger_column_texts[i].value, (unsigned long long)total.spans[i],
                     (unsigned long long)want[i]);
    }
}

static void send(struct fixture *f, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct sending *sending = calloc(1, sizeof *sending);
        struct trace_id id = trace_of(i + 1);
        assert_non_null(sending);
        sending->f = f;
        sending->key = trace_id_key(id.bytes);
        sending->append = (struct store_append){
            .tenant = FM_SLICE(TENANT),
            .span_count = 1,
            .trace_keys = &sending->key,
            .trace_key_count = 1,
            .received_unix_ns = pf_wall_ns(sim_platform(f->sim)),
            .done = on_sent,
        };
        fm_list_append(&sendings, &sending->link);
        fm_buf_init(&sending->append.payload, FM_MIB(1));
        put_span(&sending->append.payload, &id, ++f->span_count, 20);
        store_append(f->store, &sending->append);
    }
    sim_run(f->sim, FM_NS_PER_S);
}

static void on_uploaded(void *self, int rc)
{
    struct fixture *f = self;
    f->rc = rc;
}

static void upload(struct fixture *f)
{
    store_block_uploaded(f->store, f->sealed, on_uploaded, f);
    sim_run(f->sim, FM_NS_PER_S / 2);
}

static void reopen(struct fixture *f)
{
    fixture_crash(f);
    assert_true(fixture_try_open(f));
}

static void test_from_the_log_to_its_end(void **state)
{
    struct fixture *f = *state;
    uint64_t want[LEDGER_COLUMN_COUNT] = {0};
    assert_columns(f, want);
    send(f, 4);
    want[LEDGER_PENDING_LOG] = 4;
    assert_columns(f, want);
    reopen(f);
    assert_columns(f, want);
    assert_ok(flush(f));
    want[LEDGER_PENDING_LOG] = 0;
    want[LEDGER_PENDING_FRESH] = 4;
    assert_columns(f, want);
    reopen(f);
    assert_columns(f, want);
    upload(f);
    want[LEDGER_PENDING_FRESH] = 0;
    want[LEDGER_UPLOADED] = 4;
    assert_columns(f, want);
    reopen(f);
    assert_columns(f, want);
    sim_run(f->sim, KEEP_NS); /* deleted */
    struct store_status status;
    store_get_status(f->store, &status);
    assert_int_equal(status.blocks_sealed, 0);
    assert_columns(f, want);
    reopen(f);
    assert_columns(f, want);
}

static void test_expired(void **state)
{
    struct fixture *f = *state;
    uint64_t want[LEDGER_COLUMN_COUNT] = {[LEDGER_EXPIRED] = 3};
    fixture_close(f);
    f->options.retention_unuploaded_ns = FM_NS_PER_S;
    assert_true(fixture_try_open(f));
    send(f, 3);
    assert_ok(flush(f));
    sim_run(f->sim, KEEP_NS);
    assert_columns(f, want);
    reopen(f);
    assert_columns(f, want);
}

static void test_rejected(void **state)
{
    struct fixture *f = *state;
    uint64_t want[LEDGER_COLUMN_COUNT] = {[LEDGER_TOO_LARGE] = 7, [LEDGER_FILTERED] = 2};
    store_ledger_reject(f->store, FM_SLICE("a"), LEDGER_TOO_LARGE, 7);
    store_ledger_reject(f->store, FM_SLICE("b"), LEDGER_FILTERED, 2);
    store_ledger_reject(f->store, FM_SLICE("b"), LEDGER_FILTERED, 0);
    assert_columns(f, want);
    sim_run(f->sim, KEEP_NS);
    reopen(f);
    assert_columns(f, want);
    store_ledger_reject(f->store, FM_SLICE("../x"), LEDGER_UNAVAILABLE, 1); /* no tenant's */
    want[LEDGER_UNAVAILABLE] = 1;
    fixture_close(f);
    assert_true(fixture_try_open(f));
    assert_columns(f, want);
    store_ledger_reject(f->store, FM_SLICE("a"), LEDGER_TOO_LARGE, 100);
    reopen(f); /* not saved: neither received nor rejected */
    assert_columns(f, want);
}

static int count_kept(void *self, const char *name, bool is_directory)
{
    (void)is_directory;
    *(unsigned *)self += strstr(name, "ledger") != NULL;
    return FM_OK;
}

/* Damage costs what it hits, and what is left goes on. */
static void test_damaged_file(void **state)
{
    struct fixture *f = *state;
    struct platform *platform = sim_platform(f->sim);
    struct pf_file *file;
    uint64_t want[LEDGER_COLUMN_COUNT] = {[LEDGER_TOO_LARGE] = 5};
    sim_run(f->sim, KEEP_NS);
    store_ledger_reject(f->store, FM_SLICE("a"), LEDGER_TOO_LARGE, 7);
    sim_run(f->sim, KEEP_NS);
    store_ledger_reject(f->store, FM_SLICE("b"), LEDGER_TOO_LARGE, 5);
    fixture_close(f);
    assert_ok(pf_open(platform, DATA_DIR "/ledger", PF_WRITE, &file, NULL));
    struct fm_slice junk = FM_SLICE("X");
    assert_ok(platform->ops->write(file, LEDGER_FILE_HEADER_BYTES + 20, &junk, 1, NULL));
    assert_ok(platform->ops->sync(file, NULL));
    pf_close(platform, file);
    assert_true(fixture_try_open(f));
    assert_columns(f, want);
    unsigned kept = 0;
    assert_ok(platform->ops->list(platform, DATA_DIR "/quarantine", count_kept, &kept, NULL));
    assert_int_equal(kept, 1);
    sim_run(f->sim, KEEP_NS);
    reopen(f);
    assert_columns(f, want);
    fixture_close(f);
    struct fm_slice zeros = FM_SLICE("\0\0\0\0\0\0\0\0");
    assert_ok(pf_open(platform, DATA_DIR "/ledger", PF_WRITE, &file, NULL));
    assert_ok(platform->ops->write(file, 0, &zeros, 1, NULL));
    assert_ok(platform->ops->sync(file, NULL));
    pf_close(platform, file);
    assert_true(fixture_try_open(f)); /* set aside whole; a new one begins */
    want[LEDGER_TOO_LARGE] = 0;
    assert_columns(f, want);
}

/* ---- every crash point ---- */

static void reject_many(struct fixture *f, uint64_t *total)
{
    for (unsigned i = 0; i < MANY; i++) {
        char tenant[32];
        (void)snprintf(tenant, sizeof tenant, "tenant-with-a-long-name-%u", i);
        store_ledger_reject(f->store, fm_slice_text(tenant), LEDGER_RATE_LIMITED, 1);
    }
    *total += MANY;
}

/* Blocks come and go, and the file is written anew in between. */
static void scenario(struct fixture *f, uint64_t *rejected)
{
    for (unsigned round = 0; round < 3 && !sim_crashed(f->sim); round++) {
        send(f, 3);
        if (sim_crashed(f->sim))
            return;
        f->is_flushed = false;
        store_flush(f->store, on_flushed, f);
        sim_run(f->sim, FM_NS_PER_S);
        if (sim_crashed(f->sim) || !f->is_flushed)
            return;
        upload(f);
        if (sim_crashed(f->sim))
            return;
        reject_many(f, rejected);
        sim_run(f->sim, KEEP_NS);
    }
}

static void test_every_crash_point(void **state)
{
    struct fixture *f = fixture_new();
    uint64_t rejected = 0;
    (void)state;
    assert_true(fixture_try_open(f));
    scenario(f, &rejected);
    struct ledger_row total = total_of(f);
    assert_int_equal(total.spans[LEDGER_UPLOADED], 9);
    assert_int_equal(total.spans[LEDGER_RATE_LIMITED], rejected);
    uint64_t operations = sim_operation_count(f->sim);
    fixture_free(f);
    for (uint64_t nth = 1; nth <= operations; nth += 1 + nth % 3) {
        f = fixture_new();
        rejected = 0;
        sim_crash_at(f->sim, nth);
        if (fixture_try_open(f))
            scenario(f, &rejected);
        uint32_t answered = f->answered, sent = f->span_count;
        fixture_crash(f);
        for (uint64_t again = 3; again < 30; again += 9) { /* and while it recovers */
            sim_crash_at(f->sim, again);
            if (fixture_try_open(f))
                sim_run(f->sim, KEEP_NS);
            fixture_crash(f);
        }
        assert_true(fixture_try_open(f));
        total = total_of(f);
        uint64_t stored = ledger_stored(&total);
        if (stored < answered || stored > sent || ledger_rejected(&total) > rejected)
            fail_msg("crash at %llu: %llu stored of %u, %u answered; %llu rejected of %llu",
                     (unsigned long long)nth, (unsigned long long)stored, sent, answered,
                     (unsigned long long)ledger_rejected(&total), (unsigned long long)rejected);
        sim_run(f->sim, KEEP_NS);
        struct ledger_row later = total_of(f);
        assert_int_equal(ledger_stored(&later), stored);
        fixture_free(f);
    }
}

/* ---- what must not happen too early ---- */

static void faults(struct fixture *f, enum sim_fault fault, bool on)
{
    sim_fault_rate(f->sim, fault, on ? 1000000 : 0);
}

/* Records that could not be read when their block was made are lost, and stay so when the disk
 * comes to its senses: as long as the log holds them, their entry says that they are dealt with. */
static void test_lost_records_stay_lost(void **state)
{
    struct fixture *f = *state;
    uint64_t want[LEDGER_COLUMN_COUNT] = {[LEDGER_UNREADABLE] = 3}, rejected = 0;
    send(f, 3);
    for (unsigned i = 0; i < 100 && !total_of(f).spans[LEDGER_UNREADABLE]; i++) {
        faults(f, SIM_READ_EIO, true);
        store_flush(f->store, on_flushed, f);
        sim_run(f->sim, 5 * KEEP_NS);
        faults(f, SIM_READ_EIO, false);
    }
    assert_columns(f, want);
    for (unsigned i = 0; i < 3;
         i++) { /* the file is written anew, with whatever may be summed up */
        reject_many(f, &rejected);
        sim_run(f->sim, KEEP_NS);
    }
    want[LEDGER_RATE_LIMITED] = rejected;
    assert_columns(f, want);
    reopen(f);
    assert_columns(f, want);
    assert_ok(flush(f));
    assert_columns(f, want);
}

/* While the last account of a block cannot be written the block stays. */
static void test_no_deletion_without_an_entry(void **state)
{
    struct fixture *f = *state;
    uint64_t want[LEDGER_COLUMN_COUNT] = {[LEDGER_UPLOADED] = 4};
    sim_run(f->sim, KEEP_NS);
    send(f, 4);
    assert_ok(flush(f));
    upload(f);
    assert_columns(f, want);
    faults(f, SIM_WRITE_EIO, true);
    sim_run(f->sim, 5 * KEEP_NS);
    assert_columns(f, want);
    struct store_status status;
    store_get_status(f->store, &status);
    assert_int_equal(status.blocks_sealed, 0); /* it is out of the list, and could have gone */
    faults(f, SIM_WRITE_EIO, false);
    reopen(f);
    assert_columns(f, want);
    sim_run(f->sim, 3 * KEEP_NS);
    reopen(f);
    assert_columns(f, want);
}

#define LEDGER_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEDGER_TEST(test_from_the_log_to_its_end),
        LEDGER_TEST(test_expired),
        LEDGER_TEST(test_rejected),
        LEDGER_TEST(test_damaged_file),
        LEDGER_TEST(test_lost_records_stay_lost),
        LEDGER_TEST(test_no_deletion_without_an_entry),
        cmocka_unit_test(test_every_crash_point),
    };
    return cmocka_run_group_tests_name("store_ledger", tests, NULL, NULL);
}
