/* SPDX-License-Identifier: Apache-2.0 */
/* Decisions about blocks: the file, what it does to a block, and cursors that read what leaves. */
#include "world.h"

#include "fermata/store_decide.h"
#include "fermata/store_read.h"

/* ---- the file ---- */

static struct store_decision *decision_of(uint64_t row_count, uint64_t step)
{
    struct store_decision *decision;
    assert_ok(store_decision_new(&decision, row_count));
    decision->span_count = 3 * row_count;
    decision->facts.unix_ns = 77;
    for (uint64_t row = 0; step && row < row_count; row += step) {
        store_row_set(decision->kept, row);
        decision->facts.kept_traces++;
        decision->facts.kept_spans += 3;
        if (row % 2) {
            store_row_set(decision->ahead, row);
            decision->facts.ahead_traces++;
            decision->facts.ahead_spans += 3;
        }
    }
    decision->policy_count = 2;
    for (uint32_t i = 0; i < 2; i++) {
        (void)snprintf(decision->policies[i].name, sizeof decision->policies[i].name, "policy-%u",
                       i);
        decision->policies[i].kept_spans = i;
        decision->policies[i].dropped_traces = 40 + i;
    }
    if (step == 7) { /* with who decided, and the groups that took what went ahead */
        const uint8_t names[2][16] = {{1}, {2}};
        for (unsigned i = 0; i < 3; i++)
            assert_ok(store_decision_add_group(decision, names[i % 2], 4));
        decision->policy_of = malloc(row_count);
        assert_non_null(decision->policy_of);
        for (uint64_t row = 0; row < row_count; row++)
            decision->policy_of[row] = row % 3 < 2 ? (uint8_t)(row % 3) : STORE_POLICY_BEYOND;
    }
    store_decision_conclude(decision);
    return decision;
}

static void check_same(const struct store_decision *a, const struct store_decision *b)
{
    size_t bytes = (size_t)((a->row_count + 7) / 8);
    assert_memory_equal(&a->facts, &b->facts, sizeof a->facts);
    assert_int_equal(a->row_count, b->row_count);
    assert_int_equal(a->span_count, b->span_count);
    assert_int_equal(a->policy_count, b->policy_count);
    assert_memory_equal(a->policies, b->policies, a->policy_count * sizeof a->policies[0]);
    assert_int_equal(a->group_count, b->group_count);
    if (a->group_count)
        assert_memory_equal(a->groups, b->groups, a->group_count * sizeof a->groups[0]);
    assert_int_equal(a->policy_of != NULL, b->policy_of != NULL);
    if (a->policy_of)
        assert_memory_equal(a->policy_of, b->policy_of, a->row_count);
    assert_int_equal(a->kept != NULL, b->kept != NULL);
    if (!a->kept)
        return;
    assert_memory_equal(a->kept, b->kept, bytes);
    assert_memory_equal(a->ahead, b->ahead, bytes);
}

static void test_round_trip(void **state)
{
    static const struct {
        uint64_t rows, step;
        enum store_verdict verdict;
    } rows[] = {
        {0, 0, STORE_NOTHING}, {1, 0, STORE_NOTHING}, {1, 1, STORE_WHOLE},   {2, 1, STORE_PART},
        {9, 2, STORE_PART},    {64, 3, STORE_PART},   {1000, 7, STORE_PART},
    };
    (void)state;
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        FM_AUTO(store_decision) decision = decision_of(rows[i].rows, rows[i].step);
        FM_AUTO(store_decision) parsed = NULL;
        struct fm_buf file;
        struct fm_why why;
        assert_int_equal(decision->facts.verdict, rows[i].verdict);
        fm_buf_init(&file, FM_MIB(1));
        store_decision_render(decision, &file);
        assert_ok(store_decision_parse(fm_buf_slice(&file), &parsed, &why));
        check_same(decision, parsed);
        for (size_t len = 0; len < file.len; len++) { /* cut short, one bit turned round */
            FM_AUTO(store_decision) other = NULL;
            assert_int_equal(store_decision_parse(fm_slice(file.ptr, len), &other, &why),
                             FM_ECORRUPT);
            file.ptr[len] ^= (uint8_t)(1u << len % 8);
            assert_int_equal(store_decision_parse(fm_buf_slice(&file), &other, &why), FM_ECORRUPT);
            file.ptr[len] ^= (uint8_t)(1u << len % 8);
        }
        fm_buf_fini(&file);
    }
}

/* The sum is right and the content is not: counts that the rows do not bear out. */
static void check_lie_of(uint64_t step, size_t offset, uint64_t value)
{
    FM_AUTO(store_decision) decision = decision_of(64, step);
    FM_AUTO(store_decision) parsed = NULL;
    struct fm_buf file;
    struct fm_why why;
    fm_buf_init(&file, FM_MIB(1));
    store_decision_render(decision, &file);
    fm_store_le64(file.ptr + offset, value);
    fm_store_le32(file.ptr + file.len - 4, fm_crc32c(0, fm_slice(file.ptr, file.len - 4)));
    if (store_decision_parse(fm_buf_slice(&file), &parsed, &why) != FM_ECORRUPT)
        fail_msg("offset %zu, value %llu passes", offset, (unsigned long long)value);
    fm_buf_fini(&file);
}

static void check_lie(size_t offset, uint64_t value)
{
    check_lie_of(3, offset, value);
}

static void test_lies(void **state)
{
    (void)state;
    check_lie(0, 1);           /* magic */
    check_lie(8, 4);           /* verdict */
    check_lie(8, STORE_WHOLE); /* one that the counts do not say */
    check_lie(16, 63);         /* rows */
    check_lie(16, UINT64_MAX);
    check_lie(24, 1);  /* fewer spans than are kept */
    check_lie(32, 21); /* kept traces */
    check_lie(48, 23); /* more ahead than kept */
    check_lie(72, UINT64_MAX);
    check_lie(72, 1);
    check_lie(80, 1);                            /* groups */
    check_lie(88, 1);                            /* who decided */
    size_t rows = 96 + 2 * (1 + 8 + 32) + 2 * 8; /* behind policies and bits: two groups */
    check_lie_of(7, 80, 1);
    check_lie_of(7, 80, 3);
    check_lie_of(7, 80, UINT64_MAX);
    check_lie_of(7, 88, 2);
    check_lie_of(7, rows + 16, 1000);                   /* more spans than went ahead */
    check_lie_of(7, rows + 24, 1);                      /* a group twice: */
    check_lie_of(7, rows + 2 * 24, 0x0303030303030303); /* a policy that is not there */
}

static void test_no_memory(void **state)
{
    FM_AUTO(store_decision) decision = decision_of(64, 3);
    struct fm_buf file;
    struct fm_why why;
    bool failed = true;
    (void)state;
    fm_buf_init(&file, FM_MIB(1));
    store_decision_render(decision, &file);
    for (uint64_t nth = 1; failed; nth++) {
        FM_AUTO(store_decision) parsed = NULL;
        test_alloc_fail_at(nth);
        int rc = store_decision_parse(fm_buf_slice(&file), &parsed, &why);
        failed = test_alloc_failed();
        test_alloc_disarm();
        assert_int_equal(rc, failed ? FM_ENOMEM : FM_OK);
    }
    fm_buf_fini(&file);
}

/* ---- a store ---- */

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
        .retention_ns = 3600 * FM_NS_PER_S,
        .retention_sampled_out_ns = 3600 * FM_NS_PER_S,
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

static void seal(struct fixture *f, uint32_t first_trace, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        send_sized(f, TENANT, first_trace + i, 20);
    while (f->answered < f->span_count && sim_step(f->sim)) {
    }
    assert_ok(flush(f));
}

struct block_list {
    struct store_block *blocks[8];
    size_t count;
};

static void on_sealed(void *self, struct store_block *block)
{
    struct block_list *list = self;
    assert_true(list->count < FM_COUNT(list->blocks));
    list->blocks[list->count++] = block;
}

static struct store_block *block_at(struct fixture *f, size_t index)
{
    struct block_list list = {.count = 0};
    const struct store_observer observer = {.on_sealed = on_sealed, .self = &list};
    const struct store_observer nobody = {0};
    store_set_observer(f->store, &observer);
    store_set_observer(f->store, &nobody);
    assert_true(index < list.count);
    return list.blocks[index];
}

struct decided {
    bool is_done;
    int rc;
};

static void on_decided(void *self, int rc)
{
    *(struct decided *)self = (struct decided){true, rc};
}

static void decide(struct fixture *f, struct store_block *block, uint64_t step)
{
    FM_AUTO(store_decision) decision = NULL;
    struct decided decided = {0};
    assert_ok(store_decision_new(&decision, block->meta.trace_count));
    decision->span_count = block->span_count;
    for (uint64_t row = 0; step && row < decision->row_count; row += step) {
        store_row_set(decision->kept, row);
        decision->facts.kept_traces++;
        decision->facts.kept_spans++;
    }
    store_decision_conclude(decision);
    store_block_decide(f->store, block, decision, on_decided, &decided);
    assert_false(decided.is_done);
    while (!decided.is_done && sim_step(f->sim)) {
    }
    assert_ok(decided.rc);
}

static void test_decision_stands(void **state)
{
    struct fixture *f = *state;
    FM_AUTO(store_decision) decision = NULL;
    struct fm_why why;
    seal(f, 100, 10);
    struct store_block *block = block_at(f, 0);
    assert_int_equal(store_block_decided(block)->verdict, STORE_UNDECIDED);
    assert_int_equal(store_block_read_decision(sim_platform(f->sim), block, &decision, &why),
                     FM_ENOTFOUND);
    decide(f, block, 3);
    assert_int_equal(store_block_decided(block)->verdict, STORE_PART);
    assert_false(store_block_is_settled(block));
    fixture_close(f);
    fixture_open(f);
    block = block_at(f, 0);
    assert_int_equal(store_block_decided(block)->verdict, STORE_PART);
    assert_int_equal(store_block_decided(block)->kept_spans, 4);
    assert_ok(store_block_read_decision(sim_platform(f->sim), block, &decision, &why));
    assert_true(store_row_has(decision->kept, 9));
    assert_false(store_row_has(decision->kept, 1));
}

static void test_nothing_is_settled(void **state)
{
    struct fixture *f = *state;
    seal(f, 100, 5);
    struct store_block *block = block_at(f, 0);
    decide(f, block, 0);
    assert_true(store_block_is_settled(block));
    assert_false(store_block_is_uploaded(f->store, block));
}

static void test_damaged_is_undecided(void **state)
{
    struct fixture *f = *state;
    struct pf_file *file;
    struct platform *platform = sim_platform(f->sim);
    struct fm_why why;
    char path[600];
    const struct fm_slice other = FM_SLICE("no decision");
    seal(f, 100, 10);
    struct store_block *block = block_at(f, 0);
    decide(f, block, 3);
    (void)snprintf(path, sizeof path, "%s/decision", block->path);
    assert_ok(pf_open(platform, path, PF_WRITE, &file, &why));
    assert_ok(platform->ops->write(file, 8, &other, 1, &why));
    pf_close(platform, file);
    fixture_close(f);
    fixture_open(f);
    block = block_at(f, 0);
    assert_int_equal(store_block_decided(block)->verdict, STORE_UNDECIDED);
    decide(f, block, 1);
    assert_int_equal(store_block_decided(block)->verdict, STORE_WHOLE);
}

/* ---- cursors ---- */

static void read_done(struct store_cursor_read *read, int rc)
{
    struct fixture *f = read->self;
    f->is_read = true;
    f->read_rc = rc;
}

static uint64_t read_some(struct fixture *f, uint64_t spans_max)
{
    struct fm_buf otlp;
    struct store_cursor_read read = {.spans_max = spans_max,
                                     .bytes_max = FM_MIB(1),
                                     .otlp = &otlp,
                                     .done = read_done,
                                     .self = f};
    fm_buf_init(&otlp, FM_MIB(8));
    f->is_read = false;
    store_cursor_read(f->cursor, &read);
    while (!f->is_read && sim_step(f->sim)) {
    }
    fm_buf_fini(&otlp);
    if (f->read_rc != FM_OK)
        return 0;
    store_cursor_advance(f->cursor, 0, &read.end);
    return read.span_count;
}

static uint64_t pending(struct fixture *f)
{
    struct store_pending look;
    store_cursor_look(f->cursor, 0, UINT64_MAX, UINT64_MAX, &look);
    assert_int_equal(look.spans != 0, look.oldest_unix_ns != 0);
    return look.spans;
}

static void test_cursor_reads_what_is_kept(void **state)
{
    struct fixture *f = *state;
    const struct store_cursor_options options = {.decided_only = true};
    assert_ok(store_cursor_open(&f->cursor, f->store, &options));
    seal(f, 100, 10);
    seal(f, 200, 10);
    seal(f, 300, 10);
    send_sized(f, TENANT, 400, 20); /* in the log */
    while (f->answered < f->span_count && sim_step(f->sim)) {
    }
    assert_int_equal(store_cursor_tenant_count(f->cursor), 1);
    assert_int_equal(pending(f), 0);
    assert_int_equal(read_some(f, 100), 0);
    assert_int_equal(f->read_rc, FM_NONE);
    decide(f, block_at(f, 1), 1); /* whole, but not its turn */
    assert_int_equal(pending(f), 0);
    decide(f, block_at(f, 0), 3);
    assert_int_equal(pending(f), 14);
    assert_int_equal(read_some(f, 3), 3);
    assert_in_range(pending(f), 10, 14); /* by the share of rows */
    assert_int_equal(read_some(f, 3), 1);
    assert_int_equal(pending(f), 10);
    assert_int_equal(store_cursor_sampled_out_spans(f->cursor), 6);
    decide(f, block_at(f, 2), 0);
    assert_int_equal(pending(f), 10);
    assert_int_equal(read_some(f, 100), 10);
    assert_int_equal(pending(f), 0);
    assert_int_equal(read_some(f, 100), 0); /* passed over */
    assert_ok(f->read_rc);
    assert_int_equal(store_cursor_sampled_out_spans(f->cursor), 16);
    assert_int_equal(read_some(f, 100), 0); /* never the log */
    assert_int_equal(f->read_rc, FM_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_lies),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test_setup_teardown(test_decision_stands, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_is_settled, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged_is_undecided, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cursor_reads_what_is_kept, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
