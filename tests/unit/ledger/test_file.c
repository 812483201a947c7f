/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger's file: round trips, torn tails, damage, and that damage costs only what it hits. */
#include "../../support/test.h"

#include "fermata/ledger.h"

#define ENTRIES 6u

static struct ledger_entry entry_of(unsigned number)
{
    struct ledger_entry entry = {
        .kind = (enum ledger_kind)(1 + number % 4),
        .covers = number % 2,
        .id = {(uint8_t)number, 0xaa},
        .first_lsn = number * 100,
        .last_lsn = number * 100 + 99,
        .unix_ns = 1763690000000000000 + number,
        .row_count = number % (LEDGER_HOURS_MAX + 1),
    };
    (void)snprintf(entry.tenant, sizeof entry.tenant, "tenant-%u", number % 3);
    for (uint32_t i = 0; i < entry.row_count; i++) {
        entry.rows[i].hour = 490000 + i;
        entry.rows[i].spans[(number + i) % LEDGER_COLUMN_COUNT] = number * 1000 + i + 1;
        entry.rows[i].spans[LEDGER_UPLOADED] += UINT64_C(1) << 40;
    }
    return entry;
}

static void assert_same(const struct ledger_entry *got, const struct ledger_entry *want)
{
    assert_int_equal(got->kind, want->kind);
    assert_int_equal(got->covers, want->covers);
    assert_string_equal(got->tenant, want->tenant);
    assert_memory_equal(got->id, want->id, sizeof got->id);
    assert_int_equal(got->first_lsn, want->first_lsn);
    assert_int_equal(got->last_lsn, want->last_lsn);
    assert_int_equal(got->unix_ns, want->unix_ns);
    assert_int_equal(got->row_count, want->row_count);
    for (uint32_t i = 0; i < got->row_count; i++) {
        assert_int_equal(got->rows[i].hour, want->rows[i].hour);
        assert_memory_equal(got->rows[i].spans, want->rows[i].spans, sizeof got->rows[i].spans);
    }
}

static struct fm_buf file_of(size_t *ends)
{
    struct fm_buf file;
    fm_buf_init(&file, FM_MIB(1));
    ledger_file_begin(&file);
    for (unsigned i = 0; i < ENTRIES; i++) {
        struct ledger_entry entry = entry_of(i);
        ledger_entry_put(&entry, &file);
        ends[i] = file.len;
    }
    assert_false(file.failed);
    return file;
}

static void test_round_trip(void **state)
{
    (void)state;
    size_t ends[ENTRIES];
    struct fm_buf file = file_of(ends);
    struct ledger_reader reader;
    struct ledger_entry got;
    fm_buf_put_zeros(&file, 5000); /* room that was made ready */
    assert_ok(ledger_reader_init(&reader, fm_buf_slice(&file)));
    for (unsigned i = 0; i < ENTRIES; i++) {
        struct ledger_entry want = entry_of(i);
        assert_ok(ledger_reader_next(&reader, &got));
        assert_same(&got, &want);
        assert_int_equal(reader.end, ends[i]);
    }
    assert_int_equal(ledger_reader_next(&reader, &got), FM_END);
    assert_int_equal(reader.damaged_bytes, 0);
    assert_int_equal(reader.torn_bytes, 0);
    fm_buf_fini(&file);
}

/* The bytes that docs/formats/ledger.md promises. */
static void test_bytes(void **state)
{
    (void)state;
    struct ledger_entry entry = {.kind = LEDGER_BLOCK,
                                 .covers = true,
                                 .tenant = "a",
                                 .id = {1, 2, 3},
                                 .first_lsn = 8,
                                 .last_lsn = 16,
                                 .unix_ns = 0x0102,
                                 .row_count = 1};
    entry.rows[0].hour = 0x0a0b;
    entry.rows[0].spans[LEDGER_EXPIRED] = 5;
    struct fm_buf file;
    fm_buf_init(&file, FM_KIB(4));
    ledger_file_begin(&file);
    ledger_entry_put(&entry, &file);
    struct fm_buf want =
        test_hex("464d4c4544475231 01000000 00000000 4e545259 58000000 00000000 02 01 0100"
                 "01020300000000000000000000000000 0800000000000000 1000000000000000"
                 "0201000000000000 01000000 61 0b0a0000 01000000 02000000 0500000000000000"
                 "00000000000000");
    assert_int_equal(file.len, want.len);
    memcpy(want.ptr + 24, file.ptr + 24, 4); /* the checksum */
    assert_memory_equal(file.ptr, want.ptr, want.len);
    uint32_t crc = fm_crc32c(0, fm_slice(file.ptr + 20, 4));
    crc = fm_crc32c(crc, fm_slice(file.ptr + 28, file.len - 28));
    assert_int_equal(fm_load_le32(file.ptr + 24), crc);
    fm_buf_fini(&want);
    fm_buf_fini(&file);
}

static void read_prefix(void *self, struct fm_slice bytes)
{
    const size_t *ends = self;
    struct ledger_reader reader;
    struct ledger_entry got;
    unsigned whole = 0, found = 0;
    if (bytes.len < LEDGER_FILE_HEADER_BYTES) {
        assert_int_equal(ledger_reader_init(&reader, bytes), FM_ECORRUPT);
        return;
    }
    while (whole < ENTRIES && ends[whole] <= bytes.len)
        whole++;
    assert_ok(ledger_reader_init(&reader, bytes));
    while (ledger_reader_next(&reader, &got) == FM_OK)
        found++;
    assert_int_equal(found, whole);
    size_t end = whole ? ends[whole - 1] : LEDGER_FILE_HEADER_BYTES;
    assert_int_equal(reader.end, end);
    assert_int_equal(reader.torn_bytes, bytes.len - end);
}

static void test_torn_tail(void **state)
{
    (void)state;
    size_t ends[ENTRIES];
    struct fm_buf file = file_of(ends);
    test_each_prefix(fm_buf_slice(&file), read_prefix, ends);
    fm_buf_fini(&file);
}

/* One entry is gone; all others are read as they were. */
static void read_flipped(void *self, struct fm_slice bytes)
{
    struct ledger_reader reader;
    struct ledger_entry got;
    unsigned found = 0;
    (void)self;
    if (ledger_reader_init(&reader, bytes) < 0)
        return; /* in the header */
    for (unsigned i = 0; ledger_reader_next(&reader, &got) == FM_OK; i++, found++) {
        struct ledger_entry want = entry_of(i);
        if (got.unix_ns != want.unix_ns)
            want = entry_of(++i);
        assert_same(&got, &want);
    }
    assert_true(found >= ENTRIES - 1);
    assert_true(found == ENTRIES || reader.damaged_bytes || reader.torn_bytes);
}

static void test_bit_flips(void **state)
{
    (void)state;
    size_t ends[ENTRIES];
    struct fm_buf file = file_of(ends);
    test_each_bit_flip(fm_buf_slice(&file), read_flipped, NULL);
    fm_buf_fini(&file);
}

static void test_foreign_files(void **state)
{
    (void)state;
    struct ledger_reader reader;
    struct fm_buf file;
    fm_buf_init(&file, FM_KIB(4));
    ledger_file_begin(&file);
    file.ptr[8] = 2;
    assert_int_equal(ledger_reader_init(&reader, fm_buf_slice(&file)), FM_EUNSUPPORTED);
    file.ptr[0] = 'X';
    assert_int_equal(ledger_reader_init(&reader, fm_buf_slice(&file)), FM_ECORRUPT);
    fm_buf_fini(&file);
}

static void test_sums(void **state)
{
    (void)state;
    struct ledger ledger, again;
    struct ledger_reader reader;
    struct ledger_entry entry;
    struct ledger_row before, after;
    struct fm_buf file;
    ledger_init(&ledger);
    ledger_init(&again);
    fm_buf_init(&file, FM_MIB(1));
    for (uint32_t i = 0; i < 100; i++) {
        struct ledger_row row = {.hour = 1 + i % 37};
        row.spans[i % LEDGER_COLUMN_COUNT] = i + 1;
        assert_ok(ledger_add(&ledger, fm_slice_text(i % 3 ? "a" : "b"), &row));
    }
    ledger_file_begin(&file);
    ledger_sums_put(&ledger, 9, &file);
    assert_ok(ledger_reader_init(&reader, fm_buf_slice(&file)));
    while (ledger_reader_next(&reader, &entry) == FM_OK) {
        assert_int_equal(entry.kind, LEDGER_SUM);
        for (uint32_t i = 0; i < entry.row_count; i++)
            assert_ok(ledger_add(&again, fm_slice_text(entry.tenant), &entry.rows[i]));
    }
    ledger_total(&ledger, &before);
    ledger_total(&again, &after);
    assert_memory_equal(before.spans, after.spans, sizeof before.spans);
    assert_int_equal(again.row_count, ledger.row_count);
    ledger_fini(&ledger);
    ledger_fini(&again);
    fm_buf_fini(&file);
}

static void test_what_replaces_what(void **state)
{
    (void)state;
    struct ledger_entry one = {.kind = LEDGER_BLOCK, .tenant = "a", .id = {1}}, two = one;
    two.first_lsn = 5;
    assert_true(ledger_entry_is_same(&one, &two));
    two.id[0] = 2;
    assert_false(ledger_entry_is_same(&one, &two));
    one.kind = two.kind = LEDGER_RECORD;
    assert_false(ledger_entry_is_same(&one, &two));
    one.first_lsn = 5;
    assert_true(ledger_entry_is_same(&one, &two));
    two.tenant[0] = 'b';
    assert_false(ledger_entry_is_same(&one, &two));
    one.kind = two.kind = LEDGER_SUM;
    two = one;
    assert_false(ledger_entry_is_same(&one, &two));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),         cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_torn_tail),          cmocka_unit_test(test_bit_flips),
        cmocka_unit_test(test_foreign_files),      cmocka_unit_test(test_sums),
        cmocka_unit_test(test_what_replaces_what),
    };
    return cmocka_run_group_tests_name("ledger_file", tests, NULL, NULL);
}
