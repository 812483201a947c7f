/* SPDX-License-Identifier: Apache-2.0 */
/* Accounts by tenant and hour, of a block, and local.json. */
#include "../../support/test.h"

#include "fermata/ledger.h"

#define HOUR(n) ((n)*LEDGER_HOUR_NS + 5)

static struct ledger_row row_with(uint32_t hour, enum ledger_column column, uint64_t spans)
{
    struct ledger_row row = {.hour = hour};
    row.spans[column] = spans;
    return row;
}

static void add(struct ledger *ledger, const char *tenant, uint32_t hour, uint64_t spans)
{
    struct ledger_row row = row_with(hour, LEDGER_UPLOADED, spans);
    assert_ok(ledger_add(ledger, fm_slice_text(tenant), &row));
}

static uint64_t stored_of(const struct ledger *ledger)
{
    struct ledger_row total;
    ledger_total(ledger, &total);
    return ledger_stored(&total);
}

static void test_rows_are_sorted_and_joined(void **state)
{
    (void)state;
    struct ledger ledger;
    static const uint32_t hours[] = {7, 3, 9, 3, 1, 7};
    ledger_init(&ledger);
    for (size_t i = 0; i < FM_COUNT(hours); i++) {
        add(&ledger, "b", hours[i], 10);
        add(&ledger, i % 2 ? "c" : "a", hours[i], 1);
    }
    assert_int_equal(ledger.count, 3);
    assert_string_equal(ledger.tenants[0]->name, "a");
    assert_string_equal(ledger.tenants[2]->name, "c");
    const struct ledger_tenant *b = ledger.tenants[1];
    assert_int_equal(b->count, 4);
    for (size_t i = 1; i < b->count; i++)
        assert_true(b->rows[i - 1].hour < b->rows[i].hour);
    assert_int_equal(b->rows[1].spans[LEDGER_UPLOADED], 20);
    assert_int_equal(stored_of(&ledger), 66);
    ledger_fini(&ledger);
}

static void test_fold_keeps_sums(void **state)
{
    (void)state;
    struct ledger ledger;
    ledger_init(&ledger);
    for (uint32_t hour = 1; hour <= 50; hour++) {
        add(&ledger, "a", hour, hour);
        add(&ledger, "b", hour, 1);
    }
    add(&ledger, "c", 50, 5);
    uint64_t before = stored_of(&ledger);
    assert_int_equal(ledger_first_hour(ledger.tenants[0]), 0);
    ledger_fold(&ledger, 10, 1000);
    assert_int_equal(ledger.row_count, 21);
    assert_int_equal(ledger.tenants[0]->rows[0].hour, 0);
    assert_int_equal(ledger_first_hour(ledger.tenants[0]), 42);
    assert_int_equal(ledger_first_hour(ledger.tenants[2]), 0);
    assert_int_equal(stored_of(&ledger), before);
    ledger_fold(&ledger, 10, 5); /* fewer than that: fewer hours for all */
    assert_true(ledger.row_count <= 5);
    ledger_fold(&ledger, 10, 1); /* but one row each */
    assert_int_equal(ledger.row_count, 3);
    assert_int_equal(stored_of(&ledger), before);
    ledger_fini(&ledger);
}

static void test_memory_runs_out(void **state)
{
    (void)state;
    for (uint64_t nth = 1;; nth++) {
        struct ledger ledger, sum;
        int rc = FM_OK;
        ledger_init(&ledger);
        ledger_init(&sum);
        test_alloc_fail_at(nth);
        for (uint32_t i = 0; rc == FM_OK && i < 40; i++) {
            struct ledger_row row = row_with(i % 7, LEDGER_EXPIRED, 1);
            char tenant[2] = {(char)('a' + i % 11), '\0'};
            rc = ledger_add(&ledger, fm_slice_text(tenant), &row);
        }
        if (rc == FM_OK)
            rc = ledger_add_all(&sum, &ledger);
        bool failed = test_alloc_failed();
        test_alloc_disarm();
        assert_int_equal(rc, failed ? FM_ENOMEM : FM_OK);
        ledger_fini(&ledger);
        ledger_fini(&sum);
        if (!failed)
            break;
    }
}

static void test_json(void **state)
{
    (void)state;
    struct ledger_row row = row_with(1, LEDGER_UPLOADED, 3);
    struct json_writer json;
    struct fm_buf text;
    row.spans[LEDGER_PENDING_LOG] = 4;
    row.spans[LEDGER_NO_SPACE] = 5;
    row.spans[LEDGER_FILTERED] = 6;
    fm_buf_init(&text, FM_KIB(4));
    json_writer_init(&json, &text);
    json_object_begin(&json);
    ledger_put_json(&row, &json);
    json_object_end(&json);
    fm_buf_put_u8(&text, 0);
    const char *json_text = (const char *)text.ptr;
    assert_string_equal(
        json_text, "{\"received\":18,\"stored\":12,\"uploaded\":3,\"sampled_out\":0,\"expired\":0,"
                   "\"pending\":{\"log\":4,\"deciding\":0,\"express\":0,\"fresh\":0,\"backlog\":0},"
                   "\"dropped\":{\"duplicate\":0,\"unreadable\":0,\"no_space\":5},"
                   "\"rejected\":{\"invalid_trace_id\":0,\"invalid_span_id\":0,\"unavailable\":0,"
                   "\"too_large\":0,\"rate_limited\":0,\"tenant_limit\":0,\"filtered\":6,"
                   "\"head_sampling\":0}}");
    fm_buf_reset(&text);
    ledger_put_hour(490534, &text);
    fm_buf_put_u8(&text, 0);
    assert_string_equal((const char *)text.ptr, "2025-12-16T22:00:00Z");
    fm_buf_fini(&text);
}

/* ---- the account of a block ---- */

static void test_account_hours(void **state)
{
    (void)state;
    struct ledger_account account = {0};
    for (uint32_t i = 0; i < LEDGER_HOURS_MAX; i++) {
        uint32_t hour = i % 2 ? 100 - i : 100 + i;
        assert_true(ledger_account_has_room(&account, HOUR(hour)));
        ledger_account_add(&account, HOUR(hour), 10, 1);
        ledger_account_add(&account, HOUR(hour) + 1, 1, 0);
    }
    assert_int_equal(account.hour_count, LEDGER_HOURS_MAX);
    for (uint32_t i = 1; i < account.hour_count; i++)
        assert_true(account.hours[i - 1].hour < account.hours[i].hour);
    assert_int_equal(account.first_unix_ns, HOUR(93));
    assert_int_equal(account.last_unix_ns, HOUR(106) + 1);
    assert_false(ledger_account_has_room(&account, HOUR(500)));
    assert_true(ledger_account_has_room(&account, HOUR(100)));
    uint64_t before = ledger_account_spans(&account);
    assert_int_equal(before, 11 * LEDGER_HOURS_MAX);
    ledger_account_add(&account, HOUR(500), 7, 0); /* no room: to its neighbour */
    ledger_account_add(&account, HOUR(1), 8, 0);
    ledger_account_add(&account, HOUR(101), 9, 0);
    assert_int_equal(account.hour_count, LEDGER_HOURS_MAX);
    assert_int_equal(ledger_account_spans(&account), before + 24);
}

static void test_account_rows_add_up(void **state)
{
    (void)state;
    uint64_t chance = 7;
    for (unsigned round = 0; round < 5000; round++) {
        struct ledger_account account = {0};
        struct ledger_row rows[LEDGER_HOURS_MAX], sum = {0};
        for (unsigned i = 0; i < 1 + round % LEDGER_HOURS_MAX; i++)
            ledger_account_add(&account, HOUR(50 + i), fm_random_next(&chance) % 1000,
                               fm_random_next(&chance) % 3);
        uint64_t spans = ledger_account_spans(&account);
        account.duplicates = spans ? fm_random_next(&chance) % (spans + 1) : 0;
        struct ledger_split split = {.span_count = spans - account.duplicates,
                                     .column = LEDGER_PENDING_FRESH};
        split.kept = split.span_count ? fm_random_next(&chance) % (split.span_count + 1) : 0;
        split.ahead = split.kept ? fm_random_next(&chance) % (split.kept + 1) : 0;
        split.ahead_waiting = fm_random_next(&chance) % (split.ahead + 1);
        size_t count = ledger_account_rows(&account, &split, rows);
        assert_int_equal(count, account.hour_count);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(rows[i].hour, account.hours[i].hour);
            assert_int_equal(ledger_stored(&rows[i]),
                             account.hours[i].spans + account.hours[i].unreadable);
            ledger_row_add(&sum, &rows[i]);
        }
        assert_int_equal(sum.spans[LEDGER_DUPLICATE], account.duplicates);
        assert_int_equal(sum.spans[LEDGER_SAMPLED_OUT], split.span_count - split.kept);
        assert_int_equal(sum.spans[LEDGER_UPLOADED], split.ahead - split.ahead_waiting);
        assert_int_equal(sum.spans[LEDGER_PENDING_EXPRESS], split.ahead_waiting);
        assert_int_equal(ledger_pending(&sum), split.kept - split.ahead + split.ahead_waiting);
        assert_int_equal(sum.spans[LEDGER_PENDING_FRESH], split.kept - split.ahead);
    }
}

static void test_accounts_join(void **state)
{
    (void)state;
    struct ledger_account one = {.receivers = 1}, two = {.receivers = 4, .duplicates = 2};
    ledger_account_add(&one, HOUR(10), 5, 0);
    ledger_account_add(&two, HOUR(9), 3, 1);
    ledger_account_add(&two, HOUR(10), 4, 0);
    ledger_account_join(&one, &two);
    assert_int_equal(one.hour_count, 2);
    assert_int_equal(one.hours[1].spans, 9);
    assert_int_equal(one.hours[0].unreadable, 1);
    assert_int_equal(one.duplicates, 2);
    assert_int_equal(one.receivers, 5);
    assert_int_equal(one.first_unix_ns, HOUR(9));
    assert_int_equal(one.last_unix_ns, HOUR(10));
}

/* ---- local.json ---- */

static struct local_facts facts_of(const char *json, int want)
{
    struct local_facts facts = {0};
    struct fm_why why = {""};
    assert_int_equal(local_parse(fm_slice_text(json), &facts, &why), want);
    return facts;
}

#define LOCAL_OLD                                                                                  \
    "{\"version\":1,\"node\":\"000102030405060708090a0b0c0d0e0f\",\"firstLsn\":8,\"lastLsn\":16,"  \
    "\"records\":2,\"spans\":3,\"sealedUnixNano\":1763690000000000000"

static void test_local_of_older_versions(void **state)
{
    (void)state;
    struct local_facts facts = facts_of(LOCAL_OLD "}\n", FM_OK);
    assert_int_equal(facts.account.hour_count, 1);
    assert_int_equal(facts.account.hours[0].hour, 1763690000 / 3600);
    assert_int_equal(facts.account.hours[0].spans, 3);
    assert_int_equal(facts.account.first_unix_ns, 0);
    /* What does not add up counts as not there. */
    facts = facts_of(LOCAL_OLD ",\"hours\":[[5,9,0]],\"duplicates\":5}", FM_OK);
    assert_int_equal(facts.account.hours[0].spans, 3);
    facts = facts_of(LOCAL_OLD ",\"hours\":[[5,9,2],[6,1,0]],\"duplicates\":7}", FM_OK);
    assert_int_equal(facts.account.hour_count, 2);
    assert_int_equal(facts.account.hours[0].unreadable, 2);
    static const char *const wrong[] = {
        ",\"hours\":[[5,9]]}",
        ",\"hours\":[[6,1,0],[5,9,0]]}",
        ",\"hours\":[5]}",
        ",\"hours\":5}",
        ",\"hours\":[[4294967295,3,0]]}",
        ",\"duplicates\":\"x\"}",
        ",\"receivers\":[]}",
        ",\"receivedUnixNano\":[1,2,3]}",
        ",\"receivedUnixNano\":1}",
        ",\"hours\":[[1,1,0],[2,1,0],[3,1,0],[4,1,0],[5,1,0],[6,1,0],[7,1,0],[8,1,0],[9,1,0]]}",
    };
    for (size_t i = 0; i < FM_COUNT(wrong); i++) {
        char json[512];
        struct local_facts none;
        (void)snprintf(json, sizeof json, LOCAL_OLD "%s", wrong[i]);
        assert_true(local_parse(fm_slice_text(json), &none, NULL) < 0);
    }
}

static void parse_prefix(void *self, struct fm_slice json)
{
    struct local_facts facts;
    const struct fm_slice *whole = self;
    assert_true(json.len + 1 == whole->len || local_parse(json, &facts, NULL) < 0);
}

static void parse_flipped(void *self, struct fm_slice json)
{
    struct local_facts facts;
    (void)self;
    if (local_parse(json, &facts, NULL) == FM_OK)
        assert_true(facts.account.hour_count <= LEDGER_HOURS_MAX);
}

static void test_local_round_trip(void **state)
{
    (void)state;
    struct local_facts facts = {.node = {1, 2},
                                .first_lsn = 8,
                                .last_lsn = 4096,
                                .record_count = 3,
                                .span_count = 9,
                                .sealed_unix_ns = 77,
                                .sealed_steady_ns = 78};
    struct fm_buf text;
    ledger_account_add(&facts.account, HOUR(3), 4, 0);
    ledger_account_add(&facts.account, HOUR(4), 7, 2);
    facts.account.duplicates = 2;
    facts.account.receivers = 0x42;
    fm_buf_init(&text, FM_KIB(4));
    local_render(&facts, &text);
    struct local_facts got;
    assert_ok(local_parse(fm_buf_slice(&text), &got, NULL));
    assert_int_equal(got.account.hour_count, 2);
    assert_memory_equal(got.account.hours, facts.account.hours, 2 * sizeof got.account.hours[0]);
    assert_int_equal(got.account.duplicates, 2);
    assert_int_equal(got.account.receivers, 0x42);
    assert_int_equal(got.account.first_unix_ns, HOUR(3));
    assert_int_equal(got.account.last_unix_ns, HOUR(4));
    assert_int_equal(got.sealed_steady_ns, 78);
    struct fm_slice whole = fm_buf_slice(&text);
    test_each_prefix(whole, parse_prefix, &whole);
    test_each_bit_flip(whole, parse_flipped, NULL);
    fm_buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_are_sorted_and_joined),
        cmocka_unit_test(test_fold_keeps_sums),
        cmocka_unit_test(test_memory_runs_out),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_account_hours),
        cmocka_unit_test(test_account_rows_add_up),
        cmocka_unit_test(test_accounts_join),
        cmocka_unit_test(test_local_of_older_versions),
        cmocka_unit_test(test_local_round_trip),
    };
    return cmocka_run_group_tests_name("ledger", tests, NULL, NULL);
}
