/* SPDX-License-Identifier: Apache-2.0 */
#include "../../support/test.h"

#include "fermata/hash.h"

static void test_crc32c_check_values(void **state)
{
    (void)state;
    assert_int_equal(fm_crc32c(0, FM_SLICE("123456789")), 0xe3069283);
    uint8_t zeros[32] = {0};
    assert_int_equal(fm_crc32c(0, fm_slice(zeros, 32)), 0x8a9136aa);
    uint32_t part = fm_crc32c(0, FM_SLICE("1234"));
    assert_int_equal(fm_crc32c(part, FM_SLICE("56789")), 0xe3069283);
}

static void test_base64_round_trip(void **state)
{
    (void)state;
    for (size_t len = 0; len < 64; len++) {
        uint8_t bytes[64], back[64];
        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)(i * 37 + len);
        struct fm_buf text;
        fm_buf_init(&text, 1024);
        fm_base64_encode(&text, fm_slice(bytes, len));
        size_t got = 99;
        assert_ok(fm_base64_decode(back, &got, fm_buf_slice(&text)));
        assert_int_equal(got, len);
        assert_memory_equal(back, bytes, len);
        while (text.len && text.ptr[text.len - 1] == '=')
            text.len--;
        assert_ok(fm_base64_decode(back, &got, fm_buf_slice(&text)));
        assert_int_equal(got, len);
        fm_buf_fini(&text);
    }
    uint8_t target[8];
    size_t len;
    assert_int_equal(fm_base64_decode(target, &len, FM_SLICE("A")), FM_EMALFORMED);
    assert_int_equal(fm_base64_decode(target, &len, FM_SLICE("A*==")), FM_EMALFORMED);
    assert_int_equal(fm_base64_decode(target, &len, FM_SLICE("AA=")), FM_EMALFORMED);
}

static void test_utf8_repair_replaces_maximal_parts(void **state)
{
    (void)state;
    static const struct {
        const char *input, *output;
    } rows[] = {
        {"plain", "plain"},
        {"\xc3\xa9t\xc3\xa9", "\xc3\xa9t\xc3\xa9"},
        {"a\xff"
         "b",
         "a\xef\xbf\xbd"
         "b"},
        {"\xe2\x82", "\xef\xbf\xbd"},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
        {"\xf0\x9f\x98x", "\xef\xbf\xbdx"},
        {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct fm_buf out;
        fm_buf_init(&out, 1024);
        fm_utf8_repair(&out, fm_slice_text(rows[i].input));
        assert_true(fm_slice_equal_text(fm_buf_slice(&out), rows[i].output));
        fm_buf_fini(&out);
    }
}

static void test_arena_respects_its_limit(void **state)
{
    (void)state;
    struct fm_arena arena;
    fm_arena_init(&arena, 10000);
    assert_non_null(fm_arena_alloc(&arena, 4000));
    assert_non_null(fm_arena_alloc(&arena, 4000));
    assert_null(fm_arena_alloc(&arena, 4000));
    assert_true(fm_arena_failed(&arena));
    fm_arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc32c_check_values),
        cmocka_unit_test(test_base64_round_trip),
        cmocka_unit_test(test_utf8_repair_replaces_maximal_parts),
        cmocka_unit_test(test_arena_respects_its_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
