/* SPDX-License-Identifier: Apache-2.0 */
/* One record and one segment header: round trips, every prefix, every flipped bit. */
#include "../../support/test.h"

#include "fermata/wal.h"

static const struct wal_segment segment = {
    .node = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
    .salt = UINT64_C(0x0123456789abcdef),
    .epoch = 7,
    .sequence = 42,
    .base_lsn = 8192,
    .created_unix_ns = UINT64_C(1763690000000000000),
    .is_used = true,
};

static struct wal_record record_with(uint64_t lsn, const char *tenant)
{
    return (struct wal_record){
        .lsn = lsn,
        .type = WAL_SPANS,
        .span_count = 3,
        .batch_id = {0xaa, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xbb},
        .received_unix_ns = UINT64_C(1763690001000000000),
        .tenant = fm_slice_text(tenant),
    };
}

static void test_segment_round_trip(void **state)
{
    (void)state;
    uint8_t header[WAL_HEADER_BYTES];
    wal_segment_encode(&segment, header);
    struct wal_segment got;
    assert_ok(wal_segment_decode(header, &got));
    assert_memory_equal(got.node, segment.node, 16);
    assert_int_equal(got.salt, segment.salt);
    assert_int_equal(got.epoch, segment.epoch);
    assert_int_equal(got.sequence, segment.sequence);
    assert_int_equal(got.base_lsn, segment.base_lsn);
    assert_int_equal(got.created_unix_ns, segment.created_unix_ns);
    assert_true(got.is_used);
    assert_false(got.is_recycled);
    memset(header, 0, sizeof header);
    assert_int_equal(wal_segment_decode(header, &got), FM_NONE);
    header[100] = 1;
    assert_int_equal(wal_segment_decode(header, &got), FM_ECORRUPT);
}

/* The bytes that docs/formats/wal.md promises. */
static void test_segment_bytes(void **state)
{
    (void)state;
    uint8_t header[WAL_HEADER_BYTES];
    wal_segment_encode(&segment, header);
    struct fm_buf want = test_hex("464d57414c310000 01000000 01000000"
                                  "0102030405060708090a0b0c0d0e0f10 07000000 00000000"
                                  "2a00000000000000 0020000000000000 efcdab8967452301");
    assert_memory_equal(header, want.ptr, want.len);
    assert_memory_equal(header + 2048, header, 76);
    fm_buf_fini(&want);
}

static void test_segment_one_copy_is_enough(void **state)
{
    (void)state;
    uint8_t header[WAL_HEADER_BYTES];
    struct wal_segment got;
    for (unsigned sector = 0; sector < WAL_HEADER_BYTES; sector += 512) {
        wal_segment_encode(&segment, header);
        memset(header + sector, 0, 512);
        assert_ok(wal_segment_decode(header, &got));
        assert_int_equal(got.sequence, 42);
    }
    for (unsigned bit = 0; bit < WAL_HEADER_BYTES * 8; bit++) {
        wal_segment_encode(&segment, header);
        header[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_ok(wal_segment_decode(header, &got));
        assert_int_equal(got.salt, segment.salt);
    }
}

static void test_segment_used_copy_wins(void **state)
{
    (void)state;
    uint8_t used[WAL_HEADER_BYTES], ready[WAL_HEADER_BYTES];
    struct wal_segment other = segment, got;
    other.is_used = false;
    other.base_lsn = 0;
    wal_segment_encode(&segment, used);
    wal_segment_encode(&other, ready);
    memcpy(ready + 2048, used + 2048, 512);
    assert_ok(wal_segment_decode(ready, &got));
    assert_true(got.is_used);
    assert_int_equal(got.base_lsn, segment.base_lsn);
    wal_segment_encode(&other, ready);
    memcpy(used + 2048, ready + 2048, 512);
    assert_ok(wal_segment_decode(used, &got));
    assert_true(got.is_used);
}

static void test_segment_of_a_later_version(void **state)
{
    (void)state;
    uint8_t header[WAL_HEADER_BYTES];
    struct wal_segment got;
    wal_segment_encode(&segment, header);
    header[8] = 2;
    fm_store_le32(header + 72, fm_crc32c(0, fm_slice(header, 72)));
    memset(header + 2048, 0, 512);
    assert_int_equal(wal_segment_decode(header, &got), FM_EUNSUPPORTED);
}

static void encode_and_check(struct fm_slice payload, struct codec_encoder *encoder)
{
    struct fm_buf buf, back;
    fm_buf_init(&buf, FM_MIB(80));
    fm_buf_init(&back, FM_MIB(80));
    struct wal_record record = record_with(8192, "single-tenant"), got;
    uint64_t size = 0, got_size = 0;
    assert_ok(wal_record_encode(&segment, &record, payload, encoder, &buf, &size));
    assert_int_equal(size, buf.len);
    assert_int_equal(size % 8, 0);
    assert_ok(wal_record_decode(&segment, 8192, fm_buf_slice(&buf), &got, &got_size));
    assert_int_equal(got_size, size);
    assert_int_equal(got.stored_crc_bytes, size);
    assert_int_equal(got.span_count, 3);
    assert_int_equal(got.type, WAL_SPANS);
    assert_int_equal(got.received_unix_ns, record.received_unix_ns);
    assert_memory_equal(got.batch_id, record.batch_id, 16);
    assert_true(fm_slice_equal_text(got.tenant, "single-tenant"));
    assert_int_equal(got.payload_bytes, payload.len);
    assert_ok(wal_record_payload(&got, &back));
    assert_true(fm_slice_equal(fm_buf_slice(&back), payload));
    /* At another place, or in another life of the file, it is not a record. */
    assert_int_equal(wal_record_decode(&segment, 8200, fm_buf_slice(&buf), &got, &got_size),
                     FM_ECORRUPT);
    struct wal_segment other = segment;
    other.salt++;
    assert_int_equal(wal_record_decode(&other, 8192, fm_buf_slice(&buf), &got, &got_size),
                     FM_ECORRUPT);
    wal_record_place(&other, 16384, buf.ptr);
    assert_ok(wal_record_decode(&other, 16384, fm_buf_slice(&buf), &got, &got_size));
    fm_buf_fini(&buf);
    fm_buf_fini(&back);
}

static void test_record_round_trip(void **state)
{
    (void)state;
    FM_AUTO(codec_encoder) encoder = NULL;
    assert_ok(codec_encoder_new(&encoder, CODEC_LZ4, 0));
    uint64_t seed = 1;
    static uint8_t payload[70000];
    for (size_t len = 0; len < sizeof payload; len = len * 3 + 1) {
        for (size_t i = 0; i < len; i++)
            payload[i] = (uint8_t)("abcabcab"[i % 8] ^ (i % 97 == 0));
        encode_and_check(fm_slice(payload, len), encoder);
        encode_and_check(fm_slice(payload, len), NULL);
        for (size_t i = 0; i < len; i++)
            payload[i] = (uint8_t)fm_random_next(&seed);
        encode_and_check(fm_slice(payload, len), encoder);
    }
}

static void test_record_limits(void **state)
{
    (void)state;
    static uint8_t name[WAL_TENANT_MAX + 1];
    struct fm_buf buf;
    fm_buf_init(&buf, 4096);
    struct wal_record record = record_with(8192, "t");
    uint64_t size;
    struct fm_slice huge = {name, WAL_PAYLOAD_MAX + 1};
    assert_int_equal(wal_record_encode(&segment, &record, huge, NULL, &buf, &size), FM_ELIMIT);
    record.tenant = fm_slice(name, sizeof name);
    assert_int_equal(wal_record_encode(&segment, &record, FM_SLICE("x"), NULL, &buf, &size),
                     FM_ELIMIT);
    record.tenant = FM_SLICE("t");
    uint8_t big[5000] = {0};
    fm_buf_puts(&buf, "kept");
    assert_int_equal(
        wal_record_encode(&segment, &record, fm_slice(big, sizeof big), NULL, &buf, &size),
        FM_ENOMEM);
    assert_true(fm_slice_equal_text(fm_buf_slice(&buf), "kept"));
    assert_ok(wal_record_encode(&segment, &record, FM_SLICE("x"), NULL, &buf, &size));
    fm_buf_fini(&buf);
}

static void record_prefix(void *self, struct fm_slice bytes)
{
    (void)self;
    struct wal_record got;
    uint64_t size = 0;
    assert_int_equal(wal_record_decode(&segment, 8192, bytes, &got, &size), FM_MORE);
    assert_true(size > bytes.len);
}

static void record_flip(void *self, struct fm_slice bytes)
{
    (void)self;
    struct wal_record got;
    uint64_t size = 0;
    int rc = wal_record_decode(&segment, 8192, bytes, &got, &size);
    assert_true(rc == FM_ECORRUPT || rc == FM_MORE);
}

static void test_record_damage(void **state)
{
    (void)state;
    struct fm_buf buf;
    fm_buf_init(&buf, 4096);
    struct wal_record record = record_with(8192, "ten");
    uint64_t size;
    /* 56 + 3 + 69 = 128: no padding, so that every bit counts. */
    static const char payload[] =
        "0123456789012345678901234567890123456789012345678901234567890123456-8";
    assert_int_equal(sizeof payload - 1, 69);
    assert_ok(wal_record_encode(&segment, &record, FM_SLICE(payload), NULL, &buf, &size));
    assert_int_equal(size, 128);
    test_each_prefix(fm_buf_slice(&buf), record_prefix, NULL);
    test_each_bit_flip(fm_buf_slice(&buf), record_flip, NULL);
    fm_buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_segment_round_trip),
        cmocka_unit_test(test_segment_bytes),
        cmocka_unit_test(test_segment_one_copy_is_enough),
        cmocka_unit_test(test_segment_used_copy_wins),
        cmocka_unit_test(test_segment_of_a_later_version),
        cmocka_unit_test(test_record_round_trip),
        cmocka_unit_test(test_record_limits),
        cmocka_unit_test(test_record_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
