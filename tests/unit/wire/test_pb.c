/* SPDX-License-Identifier: Apache-2.0 */
#include "../../support/test.h"

#include "fermata/pb.h"

static int pb_count(struct fm_slice rest, size_t *ret_count)
{
    struct pb_field field;
    size_t count = 0;
    int rc;

    while ((rc = pb_next(&rest, &field)) == FM_OK) {
        assert_true(field.number >= 1 && field.number < UINT32_C(1) << 29);
        count++;
    }
    *ret_count = count;
    return rc;
}

static void test_what_is_refused_and_what_is_not(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        int rc;
        size_t count;
    } rows[] = {
        {"", FM_END, 0},
        {"0a00", FM_END, 1},
        {"0a05", FM_EMALFORMED, 0},
        {"0affffffffffffffffff01", FM_EMALFORMED, 0},
        {"08", FM_EMALFORMED, 0},
        {"0801", FM_END, 1},
        {"00", FM_EMALFORMED, 0},
        {"9a060161", FM_END, 1},
        {"9b0608019c06", FM_END, 1},
        {"9b06", FM_EMALFORMED, 0},
        {"9b0608019406", FM_EMALFORMED, 0},
        {"9c06", FM_EMALFORMED, 0},
        {"ffffffffffffffffffff01", FM_EMALFORMED, 0},
        {"08ffffffffffffffffff01", FM_END, 1},
        {"08ffffffffffffffffff02", FM_EMALFORMED, 0},
        {"0880808080808080808000", FM_END, 1},
        {"08808080808080808080800001", FM_EMALFORMED, 0},
        {"8a8080808000"
         "00",
         FM_END, 1},                 /* tag in more bytes than it needs */
        {"faffffff0f00", FM_END, 1}, /* the largest field number */
        {"8280808010"
         "00",
         FM_EMALFORMED, 0}, /* one more */
        {"0e", FM_EMALFORMED, 0},
        {"0f", FM_EMALFORMED, 0},
        {"09000000000000f03f", FM_END, 1},
        {"09000000000000f0", FM_EMALFORMED, 0},
        {"0d00000000", FM_END, 1},
        {"0d000000", FM_EMALFORMED, 0},
        {"0b0b0c0c", FM_END, 1},
        {"0b130c14", FM_EMALFORMED, 0},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct fm_buf bytes = test_hex(rows[i].hex);
        uint8_t *copy = test_exact_copy(fm_buf_slice(&bytes));
        size_t count;
        assert_int_equal(pb_count(fm_slice(copy, bytes.len), &count), rows[i].rc);
        assert_int_equal(count, rows[i].count);
        free(copy);
        fm_buf_fini(&bytes);
    }
}

static void test_groups_nest_32_deep(void **state)
{
    (void)state;
    uint8_t bytes[80];
    struct fm_slice rest;
    struct pb_field field;

    for (size_t depth = 32; depth <= 33; depth++) {
        memset(bytes, 0x0b, depth);
        memset(bytes + depth, 0x0c, depth);
        rest = fm_slice(bytes, 2 * depth);
        assert_int_equal(pb_next(&rest, &field), depth == 32 ? FM_OK : FM_EMALFORMED);
    }
}

static void test_writer_and_reader_agree(void **state)
{
    (void)state;
    struct fm_buf buf;
    struct pb_field field;

    fm_buf_init(&buf, 1 << 20);
    for (unsigned shift = 0; shift < 64; shift++) {
        uint64_t value = (UINT64_C(1) << shift) | (shift % 3);
        fm_buf_reset(&buf);
        pb_put_u64(&buf, 1 + shift * 1000, value);
        pb_put_fixed64(&buf, 2, value);
        pb_put_fixed32(&buf, 3, (uint32_t)value);
        struct fm_slice rest = fm_buf_slice(&buf);
        assert_ok(pb_next(&rest, &field));
        assert_int_equal(field.number, 1 + shift * 1000);
        assert_true(field.value == value && field.type == PB_VARINT);
        assert_ok(pb_next(&rest, &field));
        assert_true(field.value == value && field.type == PB_FIXED64);
        assert_int_equal(field.raw.len, 9);
        assert_ok(pb_next(&rest, &field));
        assert_true(field.value == (uint32_t)value && field.type == PB_FIXED32);
        assert_int_equal(pb_next(&rest, &field), FM_END);
        fm_buf_reset(&buf);
        pb_put_varint(&buf, value);
        assert_int_equal(buf.len, pb_varint_size(value));
    }
    fm_buf_fini(&buf);
}

static void test_nested_lengths_are_minimal(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 127, 128, 300, 16383, 16384, 70000};
    for (size_t i = 0; i < FM_COUNT(sizes); i++) {
        struct fm_buf buf;
        struct pb_field field;
        fm_buf_init(&buf, 1 << 20);
        size_t outer = pb_begin(&buf, 1);
        size_t inner = pb_begin(&buf, 20);
        fm_buf_put_zeros(&buf, sizes[i]);
        pb_end(&buf, inner);
        pb_end(&buf, outer);
        size_t inner_len = 2 + pb_varint_size(sizes[i]) + sizes[i];
        assert_int_equal(buf.len, 1 + pb_varint_size(inner_len) + inner_len);
        struct fm_slice rest = fm_buf_slice(&buf);
        assert_ok(pb_next(&rest, &field));
        rest = field.bytes;
        assert_ok(pb_next(&rest, &field));
        assert_int_equal(field.bytes.len, sizes[i]);
        assert_int_equal(field.number, 20);
        fm_buf_fini(&buf);
    }
}

static void test_writer_failure_sticks(void **state)
{
    (void)state;
    struct fm_buf buf;

    for (size_t max = 0; max < 140; max++) {
        fm_buf_init(&buf, max);
        size_t mark = pb_begin(&buf, 1);
        for (int i = 0; i < 128; i++)
            fm_buf_put_u8(&buf, 0);
        pb_end(&buf, mark);
        assert_int_equal(buf.failed, max < 131);
        fm_buf_fini(&buf);
    }
}

static void pb_body(void *self, struct fm_slice input)
{
    (void)self;
    size_t count;
    (void)pb_count(input, &count);
}

static void test_hostile_input(void **state)
{
    (void)state;
    struct fm_buf bytes = test_hex("0a0568656c6c6f 10ffffffffffffffffff01 1900112233445566 77"
                                   "2500112233 9b060801 a306a406 9c06 fa3f02ffff");
    test_each_prefix(fm_buf_slice(&bytes), pb_body, NULL);
    test_each_bit_flip(fm_buf_slice(&bytes), pb_body, NULL);
    fm_buf_fini(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_refused_and_what_is_not),
        cmocka_unit_test(test_groups_nest_32_deep),
        cmocka_unit_test(test_writer_and_reader_agree),
        cmocka_unit_test(test_nested_lengths_are_minimal),
        cmocka_unit_test(test_writer_failure_sticks),
        cmocka_unit_test(test_hostile_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
