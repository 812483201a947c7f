/* SPDX-License-Identifier: Apache-2.0 */
/* Our snappy against libsnappy, both ways, over random and structured data of many sizes. */
#include "../../support/test.h"

#include "fermata/codec.h"

#include <snappy-c.h>

enum shape { RANDOM, FEW_SYMBOLS, REPEATS, RECORDS, ZEROS, SHAPES };

static void snappy_fill(uint8_t *target, size_t len, enum shape shape, uint64_t *seed)
{
    static const char record[] = "service.name=checkout http.status_code=200 span.kind=server ";
    for (size_t i = 0; i < len;) {
        uint64_t random = fm_random_next(seed);
        if (shape == RANDOM) {
            target[i++] = (uint8_t)random;
        } else if (shape == FEW_SYMBOLS) {
            target[i++] = (uint8_t)(random % 3);
        } else if (shape == ZEROS) {
            target[i++] = 0;
        } else if (shape == REPEATS && i > 4) {
            size_t offset = 1 + random % FM_MIN(i, 70000u), n = 1 + (random >> 32) % 90;
            for (; n && i < len; n--, i++)
                target[i] = target[i - offset];
            if (i < len && random >> 63)
                target[i++] = (uint8_t)(random >> 40);
        } else {
            size_t n = FM_MIN(len - i, sizeof record - 1);
            memcpy(target + i, record, n);
            i += n;
            if (i < len)
                target[i++] = (uint8_t)(random >> 8);
        }
    }
}

/* Ours -> theirs, theirs -> ours, ours -> ours. */
static void snappy_check(struct codec_encoder *encoder, struct fm_slice plain)
{
    struct fm_buf ours, back;
    size_t len;
    fm_buf_init(&ours, FM_MIB(64));
    assert_ok(codec_encode(encoder, plain, &ours, &len));
    assert_int_equal(len, ours.len);
    assert_true(len <= codec_bound(CODEC_SNAPPY, plain.len));
    uint8_t *target = malloc(plain.len + 1);
    size_t target_len = plain.len + 1;
    assert_int_equal(
        snappy_uncompress((const char *)ours.ptr, ours.len, (char *)target, &target_len),
        SNAPPY_OK);
    assert_int_equal(target_len, plain.len);
    assert_memory_equal(target, plain.ptr, plain.len);

    uint8_t *exact = test_exact_copy(fm_buf_slice(&ours));
    uint8_t *plain_exact = test_exact_copy(fm_slice(target, plain.len));
    memset(plain_exact, 0xee, plain.len);
    assert_ok(codec_decode(CODEC_SNAPPY, fm_slice(exact, ours.len), plain_exact, plain.len));
    assert_memory_equal(plain_exact, plain.ptr, plain.len);
    free(exact);

    size_t theirs_len = snappy_max_compressed_length(plain.len);
    char *theirs = malloc(theirs_len);
    assert_int_equal(snappy_compress((const char *)plain.ptr, plain.len, theirs, &theirs_len),
                     SNAPPY_OK);
    fm_buf_init(&back, plain.len);
    assert_ok(codec_inflate(CODEC_SNAPPY, fm_slice(theirs, theirs_len), &back));
    assert_int_equal(back.len, plain.len);
    assert_memory_equal(back.ptr ? back.ptr : target, plain.ptr, plain.len);
    free(theirs);
    free(target);
    free(plain_exact);
    fm_buf_fini(&ours);
    fm_buf_fini(&back);
}

static void test_agrees_with_libsnappy(void **state)
{
    (void)state;
    FM_AUTO(codec_encoder) encoder = NULL;
    assert_ok(codec_encoder_new(&encoder, CODEC_SNAPPY, 0));
    uint64_t seed = 20261121;
    for (int shape = 0; shape < SHAPES; shape++) {
        for (size_t len = 0; len < 300000; len += 1 + len / 3) {
            uint8_t *plain = malloc(len + 1);
            snappy_fill(plain, len, (enum shape)shape, &seed);
            snappy_check(encoder, fm_slice(plain, len));
            free(plain);
        }
    }
    for (int round = 0; round < 2000; round++) {
        uint8_t plain[512];
        size_t len = fm_random_next(&seed) % sizeof plain;
        snappy_fill(plain, len, (enum shape)(round % SHAPES), &seed);
        snappy_check(encoder, fm_slice(plain, len));
    }
}

static void test_compresses_about_as_well_as_libsnappy(void **state)
{
    (void)state;
    FM_AUTO(codec_encoder) encoder = NULL;
    assert_ok(codec_encoder_new(&encoder, CODEC_SNAPPY, 0));
    uint64_t seed = 7;
    uint8_t *plain = malloc(FM_MIB(1));
    for (int shape = 0; shape < SHAPES; shape++) {
        struct fm_buf ours;
        size_t len, theirs_len = snappy_max_compressed_length(FM_MIB(1));
        char *theirs = malloc(theirs_len);
        fm_buf_init(&ours, FM_MIB(4));
        snappy_fill(plain, FM_MIB(1), (enum shape)shape, &seed);
        assert_ok(codec_encode(encoder, fm_slice(plain, FM_MIB(1)), &ours, &len));
        assert_int_equal(snappy_compress((const char *)plain, FM_MIB(1), theirs, &theirs_len),
                         SNAPPY_OK);
        assert_true(len <= theirs_len + theirs_len / 10);
        free(theirs);
        fm_buf_fini(&ours);
    }
    free(plain);
}

static void test_decodes_every_element_form(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        const char *text; /* NULL: malformed */
    } rows[] = {
        {"00", ""},
        {"03 08 616263", "abc"},
        {"03 f0 02 616263", "abc"},               /* literal, one length byte */
        {"03 f4 0200 616263", "abc"},             /* two */
        {"03 f8 020000 616263", "abc"},           /* three */
        {"03 fc 02000000 616263", "abc"},         /* four */
        {"09 08 616263 09 03", "abcabcabc"},      /* copy, 11-bit offset: 6 bytes */
        {"08 08 616263 12 0300", "abcabcab"},     /* copy, 16-bit offset: 5 bytes */
        {"08 08 616263 13 03000000", "abcabcab"}, /* copy, 32-bit offset */
        {"05 00 61 0d 01", NULL},                 /* longer than declared */
        {"08 08 616263 12 0400", NULL},           /* offset before the start */
        {"08 08 616263 12 0000", NULL},           /* offset 0 */
        {"04 08 616263", NULL},                   /* shorter than declared */
        {"03 08 6162", NULL},                     /* cut literal */
        {"08 08 616263 12 03", NULL},             /* cut copy */
        {"03 fc ffffffff 616263", NULL},          /* length overflows */
        {"ffffffffff7f", NULL},
        {"ffffffff0f 00 61", NULL}, /* 4 GiB declared by two bytes */
        {"", NULL},
        {"80", NULL},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct fm_buf input = test_hex(rows[i].hex), output;
        uint8_t *exact = test_exact_copy(fm_buf_slice(&input));
        fm_buf_init(&output, 4096);
        int rc = codec_inflate(CODEC_SNAPPY, fm_slice(exact, input.len), &output);
        if (rows[i].text) {
            assert_int_equal(rc, FM_OK);
            assert_true(fm_slice_equal_text(fm_buf_slice(&output), rows[i].text));
        } else {
            assert_int_equal(rc, FM_EMALFORMED);
        }
        free(exact);
        fm_buf_fini(&input);
        fm_buf_fini(&output);
    }
}

static void snappy_decode_any(void *self, struct fm_slice input)
{
    uint8_t *target = malloc(*(size_t *)self);
    int rc = codec_decode(CODEC_SNAPPY, input, target, *(size_t *)self); /* must not crash */
    assert_true(rc <= 0);
    free(target);
}

static void snappy_refuse(void *self, struct fm_slice input)
{
    uint8_t *target = malloc(*(size_t *)self);
    assert_int_equal(codec_decode(CODEC_SNAPPY, input, target, *(size_t *)self), FM_ECORRUPT);
    free(target);
}

static void test_cut_and_flipped_blocks(void **state)
{
    (void)state;
    FM_AUTO(codec_encoder) encoder = NULL;
    assert_ok(codec_encoder_new(&encoder, CODEC_SNAPPY, 0));
    uint64_t seed = 3;
    uint8_t plain[1500];
    size_t plain_len = sizeof plain;
    for (int shape = 0; shape < SHAPES; shape++) {
        struct fm_buf packed;
        size_t len;
        snappy_fill(plain, sizeof plain, (enum shape)shape, &seed);
        fm_buf_init(&packed, FM_MIB(1));
        assert_ok(codec_encode(encoder, fm_slice(plain, sizeof plain), &packed, &len));
        test_each_prefix(fm_buf_slice(&packed), snappy_refuse, &plain_len);
        test_each_bit_flip(fm_buf_slice(&packed), snappy_decode_any, &plain_len);
        fm_buf_fini(&packed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agrees_with_libsnappy),
        cmocka_unit_test(test_compresses_about_as_well_as_libsnappy),
        cmocka_unit_test(test_decodes_every_element_form),
        cmocka_unit_test(test_cut_and_flipped_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
