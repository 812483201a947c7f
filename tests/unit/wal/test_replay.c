/* SPDX-License-Identifier: Apache-2.0 */
/* Replay: damage of any kind costs the records it touched and no other. */
#include "../../support/test.h"

#include "fermata/wal.h"

#define RECORDS 24u

struct log { /* a segment in memory and where its records lie */
    struct wal_segment segment;
    struct fm_buf bytes;
    uint64_t offsets[RECORDS + 2];
    uint32_t count;
};

struct seen {
    const struct log *log;
    uint32_t count;
    bool records[RECORDS];
    uint64_t holes, hole_bytes;
    int answer;
};

static int seen_record(void *self, const struct wal_segment *segment, uint64_t offset,
                       const struct wal_record *record)
{
    struct seen *seen = self;
    assert_int_equal(record->lsn, segment->base_lsn + offset - WAL_HEADER_BYTES);
    uint32_t index = record->span_count;
    assert_true(index < RECORDS);
    assert_false(seen->records[index]);
    assert_int_equal(seen->log->offsets[index], offset);
    struct fm_buf payload;
    fm_buf_init(&payload, FM_MIB(80));
    assert_ok(wal_record_payload(record, &payload));
    for (size_t i = 0; i < payload.len; i++)
        assert_int_equal(payload.ptr[i], (uint8_t)(index * 7 + i % 251));
    fm_buf_fini(&payload);
    seen->records[index] = true;
    seen->count++;
    return seen->answer;
}

static int seen_hole(void *self, uint64_t offset, uint64_t len)
{
    struct seen *seen = self;
    assert_true(offset >= WAL_HEADER_BYTES && len >= 8);
    seen->holes++;
    seen->hole_bytes += len;
    return FM_OK;
}

static void log_put(struct log *log, uint8_t type, size_t payload_len)
{
    uint8_t *payload = malloc(payload_len + 1);
    assert_non_null(payload);
    for (size_t i = 0; i < payload_len; i++)
        payload[i] = (uint8_t)(log->count * 7 + i % 251);
    struct wal_record record = {
        .lsn = log->segment.base_lsn + log->bytes.len - WAL_HEADER_BYTES,
        .type = type,
        .span_count = log->count,
        .batch_id = {(uint8_t)log->count},
        .tenant = type == WAL_SEAL ? FM_SLICE("") : FM_SLICE("tenant"),
    };
    uint64_t size;
    log->offsets[log->count] = log->bytes.len;
    assert_ok(wal_record_encode(&log->segment, &record, fm_slice(payload, payload_len), NULL,
                                &log->bytes, &size));
    log->count += type == WAL_SPANS;
    free(payload);
}

static struct log log_make(uint32_t count, size_t scale, size_t spare)
{
    struct log log = {
        .segment = {.salt = 99, .epoch = 1, .sequence = 1, .base_lsn = 40960, .is_used = true}};
    uint8_t header[WAL_HEADER_BYTES];
    fm_buf_init(&log.bytes, FM_MIB(128));
    wal_segment_encode(&log.segment, header);
    fm_buf_put(&log.bytes, header, sizeof header);
    for (uint32_t i = 0; i < count; i++)
        log_put(&log, WAL_SPANS, i * scale + i % 3);
    log.offsets[count] = log.bytes.len;
    fm_buf_put_zeros(&log.bytes, spare);
    return log;
}

static struct wal_replay_result log_replay(const struct log *log, struct fm_slice bytes,
                                           struct seen *seen)
{
    *seen = (struct seen){.log = log};
    struct wal_visitor visitor = {seen, seen_record, seen_hole};
    struct wal_replay_result result;
    assert_ok(wal_replay(fm_source_memory(&bytes), &visitor, &result, NULL));
    assert_int_equal(result.record_count, seen->count);
    assert_int_equal(result.hole_count, seen->holes);
    assert_int_equal(result.hole_bytes, seen->hole_bytes);
    return result;
}

static void test_replay_whole(void **state)
{
    (void)state;
    struct seen seen;
    struct log log = log_make(RECORDS, 13, 5000);
    struct wal_replay_result result = log_replay(&log, fm_buf_slice(&log.bytes), &seen);
    assert_int_equal(seen.count, RECORDS);
    assert_int_equal(result.end_offset, log.offsets[RECORDS]);
    assert_int_equal(result.end_lsn, 40960 + log.offsets[RECORDS] - WAL_HEADER_BYTES);
    assert_int_equal(result.tail_bytes, 0);
    assert_false(result.sealed);
    fm_buf_fini(&log.bytes);

    log = log_make(RECORDS, 13, 0);
    log_put(&log, WAL_SEAL, 0);
    fm_buf_put_zeros(&log.bytes, 100);
    fm_buf_puts(&log.bytes, "bytes behind a seal are nobody's");
    result = log_replay(&log, fm_buf_slice(&log.bytes), &seen);
    assert_true(result.sealed);
    assert_int_equal(seen.count, RECORDS);
    fm_buf_fini(&log.bytes);
}

static void test_replay_stops_when_told(void **state)
{
    (void)state;
    struct log log = log_make(4, 13, 100);
    struct seen seen = {.log = &log, .answer = FM_ECANCELLED};
    struct wal_visitor visitor = {&seen, seen_record, seen_hole};
    struct wal_replay_result result;
    struct fm_slice bytes = fm_buf_slice(&log.bytes);
    assert_int_equal(wal_replay(fm_source_memory(&bytes), &visitor, &result, NULL), FM_ECANCELLED);
    assert_int_equal(seen.count, 1);
    fm_buf_fini(&log.bytes);
}

static void test_replay_of_no_records(void **state)
{
    (void)state;
    struct log log = log_make(0, 0, 4096);
    struct seen seen = {.log = &log};
    struct wal_visitor visitor = {&seen, seen_record, seen_hole};
    struct wal_replay_result result;
    struct fm_slice bytes = fm_buf_slice(&log.bytes);
    log_replay(&log, bytes, &seen);
    log.segment.is_used = false;
    wal_segment_encode(&log.segment, log.bytes.ptr);
    assert_int_equal(wal_replay(fm_source_memory(&bytes), &visitor, &result, NULL), FM_NONE);
    assert_int_equal(result.segment.base_lsn, 40960);
    memset(log.bytes.ptr, 0, log.bytes.len);
    assert_int_equal(wal_replay(fm_source_memory(&bytes), &visitor, &result, NULL), FM_NONE);
    log.bytes.ptr[log.bytes.len - 1] = 1;
    assert_int_equal(wal_replay(fm_source_memory(&bytes), &visitor, &result, NULL), FM_ECORRUPT);
    bytes.len = 0;
    assert_int_equal(wal_replay(fm_source_memory(&bytes), &visitor, &result, NULL), FM_NONE);
    fm_buf_fini(&log.bytes);
}

static void replay_prefix(void *self, struct fm_slice bytes)
{
    const struct log *log = self;
    struct seen seen = {.log = log};
    if (bytes.len < WAL_HEADER_BYTES) {
        struct wal_visitor visitor = {&seen, seen_record, seen_hole};
        struct wal_replay_result result;
        int rc = wal_replay(fm_source_memory(&bytes), &visitor, &result, NULL);
        assert_int_equal(rc, bytes.len ? FM_ECORRUPT : FM_NONE);
        return;
    }
    log_replay(log, bytes, &seen);
    uint32_t whole = 0;
    while (whole < log->count && log->offsets[whole + 1] <= bytes.len)
        whole++;
    assert_int_equal(seen.count, whole);
    assert_int_equal(seen.holes, 0);
}

static void test_replay_truncated_anywhere(void **state)
{
    (void)state;
    struct log log = log_make(8, 17, 0);
    test_each_prefix(fm_buf_slice(&log.bytes), replay_prefix, &log);
    fm_buf_fini(&log.bytes);
}

static void replay_flip(void *self, struct fm_slice bytes)
{
    const struct log *log = self;
    struct seen seen;
    log_replay(log, bytes, &seen);
    assert_true(seen.count + 1 >= log->count);
}

static void test_replay_any_bit_costs_one_record(void **state)
{
    (void)state;
    struct log log = log_make(8, 17, 64);
    test_each_bit_flip(fm_buf_slice(&log.bytes), replay_flip, &log);
    fm_buf_fini(&log.bytes);
}

/* Records that a damaged range [begin, end) touches. */
static uint32_t log_touched(const struct log *log, uint64_t begin, uint64_t end)
{
    uint32_t touched = 0;
    for (uint32_t i = 0; i < log->count; i++)
        touched += log->offsets[i] < end && log->offsets[i + 1] > begin;
    return touched;
}

static void test_replay_lost_and_swapped_sectors(void **state)
{
    (void)state;
    struct log log = log_make(RECORDS, 97, 512);
    struct seen seen;
    log.bytes.len &= ~(size_t)511;
    uint8_t *copy = test_exact_copy(fm_buf_slice(&log.bytes));
    for (size_t at = WAL_HEADER_BYTES; at + 512 <= log.bytes.len; at += 512) {
        memset(copy + at, 0, 512);
        log_replay(&log, fm_slice(copy, log.bytes.len), &seen);
        assert_int_equal(seen.count + log_touched(&log, at, at + 512), log.count);
        memset(copy + at, 0xff, 512);
        log_replay(&log, fm_slice(copy, log.bytes.len), &seen);
        assert_int_equal(seen.count + log_touched(&log, at, at + 512), log.count);
        if (at + 1024 <= log.bytes.len) {
            memcpy(copy + at, log.bytes.ptr + at + 512, 512);
            memcpy(copy + at + 512, log.bytes.ptr + at, 512);
            log_replay(&log, fm_slice(copy, log.bytes.len), &seen);
            assert_int_equal(seen.count + log_touched(&log, at, at + 1024), log.count);
            memcpy(copy + at, log.bytes.ptr + at, 1024);
        }
        memcpy(copy + at, log.bytes.ptr + at, 512);
    }
    free(copy);
    fm_buf_fini(&log.bytes);
}

static void test_replay_of_a_recycled_segment(void **state)
{
    (void)state;
    struct log log = log_make(RECORDS, 50, 512);
    struct seen seen;
    /* A new life: its header, and three records over the old ones. */
    struct log fresh = log_make(3, 50, 0);
    fresh.bytes.len = WAL_HEADER_BYTES;
    fresh.count = 0;
    fresh.segment.salt = 100;
    fresh.segment.base_lsn = 409600;
    fresh.segment.is_recycled = true;
    wal_segment_encode(&fresh.segment, fresh.bytes.ptr);
    for (uint32_t i = 0; i < 3; i++)
        log_put(&fresh, WAL_SPANS, i * 50 + i % 3);
    fresh.offsets[3] = fresh.bytes.len;
    memcpy(log.bytes.ptr, fresh.bytes.ptr, fresh.bytes.len);
    struct wal_replay_result result = log_replay(&fresh, fm_buf_slice(&log.bytes), &seen);
    assert_int_equal(seen.count, 3);
    assert_int_equal(seen.holes, 0);
    assert_int_equal(result.tail_bytes, 0);
    /* The third torn in its middle: that is a tail, and known as one. */
    log.bytes.ptr[fresh.offsets[2] + 100] ^= 1;
    result = log_replay(&fresh, fm_buf_slice(&log.bytes), &seen);
    assert_int_equal(seen.count, 2);
    assert_true(result.tail_bytes > 0);
    fm_buf_fini(&log.bytes);
    fm_buf_fini(&fresh.bytes);
}

static void test_replay_of_large_records(void **state)
{
    (void)state;
    struct log log = log_make(3, 3 << 20, 1 << 20);
    struct seen seen;
    log_replay(&log, fm_buf_slice(&log.bytes), &seen);
    assert_int_equal(seen.count, 3);
    log.bytes.ptr[log.offsets[1] + 1000] ^= 1;
    struct wal_replay_result result = log_replay(&log, fm_buf_slice(&log.bytes), &seen);
    assert_int_equal(seen.count, 2);
    assert_int_equal(result.hole_bytes, log.offsets[2] - log.offsets[1]);
    fm_buf_fini(&log.bytes);
}

struct bad_source { /* fails at one page */
    struct fm_slice bytes;
    uint64_t page;
};

static int bad_source_read_at(void *self, uint64_t offset, void *target, size_t len)
{
    struct bad_source *bad = self;
    if (offset < bad->page + 4096 && offset + len > bad->page)
        return FM_EIO;
    memcpy(target, bad->bytes.ptr + offset, len);
    return FM_OK;
}

static void test_replay_around_an_unreadable_page(void **state)
{
    (void)state;
    struct log log = log_make(RECORDS, 400, 4096);
    struct seen seen = {.log = &log};
    struct bad_source bad = {fm_buf_slice(&log.bytes), 0};
    struct fm_source source = {bad_source_read_at, &bad, log.bytes.len};
    struct wal_visitor visitor = {&seen, seen_record, seen_hole};
    struct wal_replay_result result;
    assert_int_equal(wal_replay(source, &visitor, &result, NULL), FM_EIO);
    for (bad.page = 4096; bad.page + 4096 <= log.bytes.len; bad.page += 4096) {
        seen = (struct seen){.log = &log};
        assert_ok(wal_replay(source, &visitor, &result, NULL));
        assert_int_equal(seen.count + log_touched(&log, bad.page, bad.page + 4096), log.count);
        assert_true(result.unreadable_bytes >= 4096);
    }
    fm_buf_fini(&log.bytes);
}

static int count_record(void *self, const struct wal_segment *segment, uint64_t offset,
                        const struct wal_record *record)
{
    (void)segment;
    (void)offset;
    (void)record;
    ++*(uint32_t *)self;
    return FM_OK;
}

static void test_replay_without_memory(void **state)
{
    (void)state;
    struct log log = log_make(3, 1 << 20, 1 << 20);
    struct fm_slice bytes = fm_buf_slice(&log.bytes);
    int rc = FM_ENOMEM;
    for (uint64_t nth = 1; rc != FM_OK; nth++) {
        uint32_t count = 0;
        struct wal_visitor visitor = {&count, count_record, NULL};
        struct wal_replay_result result;
        test_alloc_fail_at(nth);
        rc = wal_replay(fm_source_memory(&bytes), &visitor, &result, NULL);
        assert_true(rc == FM_OK ? !test_alloc_failed() : rc == FM_ENOMEM);
        test_alloc_disarm();
        assert_true(nth < 10);
    }
    fm_buf_fini(&log.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replay_whole),
        cmocka_unit_test(test_replay_stops_when_told),
        cmocka_unit_test(test_replay_of_no_records),
        cmocka_unit_test(test_replay_truncated_anywhere),
        cmocka_unit_test(test_replay_any_bit_costs_one_record),
        cmocka_unit_test(test_replay_lost_and_swapped_sectors),
        cmocka_unit_test(test_replay_of_a_recycled_segment),
        cmocka_unit_test(test_replay_of_large_records),
        cmocka_unit_test(test_replay_around_an_unreadable_page),
        cmocka_unit_test(test_replay_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
