/* SPDX-License-Identifier: Apache-2.0 */
/* The codecs behind their common face: bounds, several members, junk, cuts, missing memory. */
#include "../../support/test.h"

#include "fermata/codec.h"

static const enum codec all[] = {CODEC_NONE, CODEC_GZIP,   CODEC_DEFLATE,
                                 CODEC_ZSTD, CODEC_SNAPPY, CODEC_LZ4};

static struct fm_buf codec_packed(enum codec codec, struct fm_slice plain)
{
    FM_AUTO(codec_encoder) encoder = NULL;
    struct fm_buf packed;
    size_t len;
    fm_buf_init(&packed, FM_MIB(64));
    assert_ok(codec_encoder_new(&encoder, codec, 1));
    assert_int_equal(codec_encoder_codec(encoder), codec);
    assert_ok(codec_encode(encoder, plain, &packed, &len));
    assert_true(len <= codec_bound(codec, plain.len));
    return packed;
}

static struct fm_buf codec_sample(size_t len)
{
    struct fm_buf plain;
    uint64_t seed = len;
    fm_buf_init(&plain, FM_MIB(64));
    while (plain.len < len)
        fm_buf_printf(&plain, "span %llu of trace %zu; ",
                      (unsigned long long)(fm_random_next(&seed) % 1000), plain.len / 512);
    plain.len = len;
    return plain;
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum codec codec;
    } rows[] = {
        {"", CODEC_NONE},     {"identity", CODEC_NONE}, {"gzip", CODEC_GZIP},
        {"GZip", CODEC_GZIP}, {"x-gzip", CODEC_GZIP},   {"deflate", CODEC_DEFLATE},
        {"zstd", CODEC_ZSTD}, {"snappy", CODEC_SNAPPY},
    };
    enum codec codec;
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        assert_ok(codec_from_name(fm_slice_text(rows[i].name), &codec));
        assert_int_equal(codec, rows[i].codec);
    }
    assert_int_equal(codec_from_name(FM_SLICE("br"), &codec), FM_NONE);
    assert_int_equal(codec_from_name(FM_SLICE("lz4"), &codec), FM_NONE);
    assert_string_equal(codec_name(CODEC_ZSTD), "zstd");
}

static void test_crc32_check_value(void **state)
{
    (void)state;
    assert_int_equal(codec_crc32(0, FM_SLICE("123456789")), 0xcbf43926);
    assert_int_equal(codec_crc32(codec_crc32(0, FM_SLICE("1234")), FM_SLICE("56789")), 0xcbf43926);
    assert_int_equal(codec_crc32(0, fm_slice(NULL, 0)), 0);
}

/* Every length around those that the folding works on, at every place in a word. */
static void test_crc32_of_every_length(void **state)
{
    (void)state;
    uint8_t bytes[700];
    uint64_t seed = 77;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(fm_random_next(&seed) >> 56);
    for (size_t at = 0; at < 9; at++) {
        uint32_t slow = ~0u;
        for (size_t len = 0; at + len < sizeof bytes; len++) {
            struct fm_slice whole = fm_slice(bytes + at, len),
                            tail = fm_slice(bytes + at + len / 3, len - len / 3);
            assert_int_equal(codec_crc32(0, whole), ~slow);
            uint32_t head = codec_crc32(0, fm_slice(bytes + at, len / 3));
            assert_int_equal(codec_crc32(head, tail), ~slow);
            slow ^= bytes[at + len];
            for (int bit = 0; bit < 8; bit++)
                slow = slow >> 1 ^ (slow & 1 ? 0xedb88320u : 0);
        }
    }
}

static void test_zstd_first_frame(void **state)
{
    (void)state;
    struct fm_buf first = codec_sample(3000), packed;
    FM_AUTO(codec_encoder) encoder = NULL;
    size_t len, frame_len, plain_len;
    fm_buf_init(&packed, FM_MIB(1));
    assert_ok(codec_encoder_new(&encoder, CODEC_ZSTD, 1));
    assert_ok(codec_encode(encoder, fm_buf_slice(&first), &packed, &len));
    size_t first_len = packed.len;
    assert_ok(codec_encode(encoder, FM_SLICE("and the rest"), &packed, &len));
    assert_ok(codec_zstd_frame(fm_buf_slice(&packed), &frame_len, &plain_len));
    assert_int_equal(frame_len, first_len);
    assert_int_equal(plain_len, first.len);
    assert_int_equal(codec_zstd_frame(fm_slice(packed.ptr, first_len - 1), &frame_len, &plain_len),
                     FM_NONE);
    assert_int_equal(codec_zstd_frame(fm_slice(NULL, 0), &frame_len, &plain_len), FM_NONE);
    assert_int_equal(codec_zstd_frame(FM_SLICE("no frame"), &frame_len, &plain_len), FM_NONE);
    fm_buf_fini(&first);
    fm_buf_fini(&packed);
}

static void test_decoder_is_reusable(void **state)
{
    (void)state;
    struct fm_buf plain = codec_sample(5000);
    uint8_t target[5000];
    for (size_t c = 0; c < FM_COUNT(all); c++) {
        FM_AUTO(codec_decoder) decoder = NULL;
        struct fm_buf packed = codec_packed(all[c], fm_buf_slice(&plain));
        assert_ok(codec_decoder_new(&decoder, all[c]));
        for (int round = 0; round < 3; round++) {
            struct fm_slice cut = fm_slice(packed.ptr, packed.len - 1);
            memset(target, 0, sizeof target);
            assert_ok(codec_decoder_decode(decoder, fm_buf_slice(&packed), target, 5000));
            assert_memory_equal(target, plain.ptr, 5000);
            assert_int_equal(codec_decoder_decode(decoder, cut, target, 5000), FM_ECORRUPT);
        }
        fm_buf_fini(&packed);
    }
    fm_buf_fini(&plain);
}

static void test_round_trip_all(void **state)
{
    (void)state;
    for (size_t len = 0; len < 400000; len = len * 3 + 1) {
        struct fm_buf plain = codec_sample(len);
        uint8_t *target = malloc(len + 1);
        for (size_t c = 0; c < FM_COUNT(all); c++) {
            struct fm_buf packed = codec_packed(all[c], fm_buf_slice(&plain));
            assert_ok(codec_decode(all[c], fm_buf_slice(&packed), target, len));
            assert_memory_equal(target, plain.ptr, len);
            assert_int_equal(codec_decode(all[c], fm_buf_slice(&packed), target, len + 1),
                             FM_ECORRUPT);
            if (len)
                assert_int_equal(codec_decode(all[c], fm_buf_slice(&packed), target, len - 1),
                                 FM_ECORRUPT);
            fm_buf_fini(&packed);
        }
        free(target);
        fm_buf_fini(&plain);
    }
}

static void test_inflate_respects_the_limit_exactly(void **state)
{
    (void)state;
    struct fm_buf plain = codec_sample(100000);
    for (size_t c = 0; c < FM_COUNT(all) - 1; c++) {
        struct fm_buf packed = codec_packed(all[c], fm_buf_slice(&plain)), target;
        fm_buf_init(&target, plain.len + 4);
        fm_buf_puts(&target, "head");
        assert_ok(codec_inflate(all[c], fm_buf_slice(&packed), &target));
        assert_int_equal(target.len, plain.len + 4);
        assert_memory_equal(target.ptr + 4, plain.ptr, plain.len);
        fm_buf_fini(&target);

        fm_buf_init(&target, plain.len + 3);
        fm_buf_puts(&target, "head");
        assert_int_equal(codec_inflate(all[c], fm_buf_slice(&packed), &target), FM_ELIMIT);
        assert_int_equal(target.len, 4);
        fm_buf_fini(&target);
        fm_buf_fini(&packed);
    }
    struct fm_buf target;
    fm_buf_init(&target, 100);
    assert_int_equal(codec_inflate(CODEC_LZ4, FM_SLICE("\0"), &target), FM_EUNSUPPORTED);
    fm_buf_fini(&target);
    fm_buf_fini(&plain);
}

static void test_members_and_junk(void **state)
{
    (void)state;
    static const enum codec streams[] = {CODEC_GZIP, CODEC_ZSTD, CODEC_DEFLATE};
    struct fm_buf plain = codec_sample(5000);
    for (size_t c = 0; c < FM_COUNT(streams); c++) {
        struct fm_buf packed = codec_packed(streams[c], fm_buf_slice(&plain)), target;
        size_t one = packed.len;
        bool several = streams[c] != CODEC_DEFLATE;
        uint8_t *copy = test_exact_copy(fm_slice(packed.ptr, one));
        fm_buf_put(&packed, copy, one);
        fm_buf_init(&target, FM_MIB(1));
        int rc = codec_inflate(streams[c], fm_buf_slice(&packed), &target);
        assert_int_equal(rc, several ? FM_OK : FM_EMALFORMED);
        assert_int_equal(target.len, several ? 10000 : 0);
        packed.len = one;
        fm_buf_puts(&packed, "junk");
        assert_int_equal(codec_inflate(streams[c], fm_buf_slice(&packed), &target), FM_EMALFORMED);
        assert_int_equal(codec_inflate(streams[c], fm_slice(NULL, 0), &target), FM_EMALFORMED);
        free(copy);
        fm_buf_fini(&target);
        fm_buf_fini(&packed);
    }
    fm_buf_fini(&plain);
}

/* A frame header that asks for a 16 MiB window (descriptor 0x00, window byte 0x70), one empty raw
 * block behind it. */
static void test_zstd_window_is_limited(void **state)
{
    (void)state;
    struct fm_buf target;
    fm_buf_init(&target, FM_MIB(64));
    struct fm_buf large = test_hex("28b52ffd 00 70 010000");
    struct fm_buf allowed = test_hex("28b52ffd 00 68 010000");
    assert_int_equal(codec_inflate(CODEC_ZSTD, fm_buf_slice(&large), &target), FM_ELIMIT);
    assert_ok(codec_inflate(CODEC_ZSTD, fm_buf_slice(&allowed), &target));
    assert_int_equal(target.len, 0);
    fm_buf_fini(&large);
    fm_buf_fini(&allowed);
    fm_buf_fini(&target);
}

static void codec_refuse_prefix(void *self, struct fm_slice input)
{
    struct fm_buf target;
    fm_buf_init(&target, FM_MIB(1));
    assert_true(codec_inflate(*(enum codec *)self, input, &target) < 0);
    assert_int_equal(target.len, 0);
    fm_buf_fini(&target);
}

static void codec_inflate_any(void *self, struct fm_slice input)
{
    struct fm_buf target;
    fm_buf_init(&target, 20000);
    int rc = codec_inflate(*(enum codec *)self, input, &target); /* must not crash */
    assert_true(rc <= 0);
    assert_true(target.len <= 20000);
    fm_buf_fini(&target);
}

static void test_cut_and_flipped(void **state)
{
    (void)state;
    struct fm_buf plain = codec_sample(3000);
    for (size_t c = 1; c < FM_COUNT(all) - 1; c++) {
        struct fm_buf packed = codec_packed(all[c], fm_buf_slice(&plain));
        enum codec codec = all[c];
        test_each_prefix(fm_buf_slice(&packed), codec_refuse_prefix, &codec);
        test_each_bit_flip(fm_buf_slice(&packed), codec_inflate_any, &codec);
        fm_buf_fini(&packed);
    }
    fm_buf_fini(&plain);
}

/* Packs and inflates with the nth allocation failing; FM_ENOMEM or success, nothing else. */
static int codec_with_failure(enum codec codec, struct fm_slice plain, uint64_t nth)
{
    struct fm_buf packed, back;
    struct codec_encoder *encoder = NULL;
    size_t len;
    fm_buf_init(&packed, FM_MIB(1));
    fm_buf_init(&back, FM_MIB(1));
    test_alloc_fail_at(nth);
    int rc = codec_encoder_new(&encoder, codec, 1);
    if (rc == FM_OK)
        rc = codec_encode(encoder, plain, &packed, &len);
    if (rc == FM_OK && codec != CODEC_LZ4)
        rc = codec_inflate(codec, fm_buf_slice(&packed), &back);
    test_alloc_disarm();
    codec_encoder_free(encoder);
    fm_buf_fini(&packed);
    fm_buf_fini(&back);
    return rc;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    struct fm_buf plain = codec_sample(3000);
    for (size_t c = 0; c < FM_COUNT(all); c++) {
        for (uint64_t nth = 1; nth < 50; nth++) {
            int rc = codec_with_failure(all[c], fm_buf_slice(&plain), nth);
            if (!test_alloc_failed()) {
                assert_int_equal(rc, FM_OK);
                break;
            }
            assert_int_equal(rc, FM_ENOMEM);
        }
    }
    fm_buf_fini(&plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_crc32_check_value),
        cmocka_unit_test(test_crc32_of_every_length),
        cmocka_unit_test(test_zstd_first_frame),
        cmocka_unit_test(test_decoder_is_reusable),
        cmocka_unit_test(test_round_trip_all),
        cmocka_unit_test(test_inflate_respects_the_limit_exactly),
        cmocka_unit_test(test_members_and_junk),
        cmocka_unit_test(test_zstd_window_is_limited),
        cmocka_unit_test(test_cut_and_flipped),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
