/* SPDX-License-Identifier: Apache-2.0 */
#include "../../support/test.h"

#include "fermata/thrift.h"

/* Everything the writer can put, as read back below. */
static void thrift_put_sample(struct fm_buf *buf)
{
    struct thrift_writer writer;
    thrift_writer_init(&writer, buf);
    thrift_put_struct_begin(&writer);
    thrift_put_i32(&writer, 1, -1);
    thrift_put_i64(&writer, 2, INT64_MIN);
    thrift_put_i16(&writer, 20, -300);
    thrift_put_bool(&writer, 21, true);
    thrift_put_bool(&writer, 300, false);
    thrift_put_binary(&writer, 301, FM_SLICE("name"));
    thrift_put_list(&writer, 302, THRIFT_I32, 20);
    for (int32_t i = 0; i < 20; i++)
        thrift_put_element_i32(&writer, i * i);
    thrift_put_list(&writer, 303, THRIFT_STRUCT, 2);
    for (int i = 0; i < 2; i++) {
        thrift_put_struct_begin(&writer);
        thrift_put_i32(&writer, 1, i);
        thrift_put_struct_end(&writer);
    }
    thrift_put_struct_field(&writer, 304);
    thrift_put_list(&writer, 1, THRIFT_BINARY, 1);
    thrift_put_element_binary(&writer, FM_SLICE("x"));
    thrift_put_struct_end(&writer);
    thrift_put_i32(&writer, 5, 7); /* a lower id again: written in full */
    thrift_put_struct_end(&writer);
    assert_false(buf->failed);
}

static void thrift_expect_int(struct thrift_reader *reader, int16_t id, uint8_t type, int64_t value)
{
    struct thrift_field field;
    int64_t got;
    assert_ok(thrift_field_next(reader, &field));
    assert_int_equal(field.id, id);
    assert_int_equal(field.type, type);
    assert_ok(thrift_int(reader, &got));
    assert_true(got == value);
}

/* Ids take nine or ten bytes, times seven or eight: read in front of more, and at the very end. */
static void test_varints_of_every_length(void **state)
{
    (void)state;
    for (unsigned shift = 0; shift < 64; shift++) {
        const uint64_t values[] = {UINT64_C(1) << shift, (UINT64_C(1) << shift) - 1,
                                   UINT64_MAX >> shift, UINT64_C(0x9e3779b97f4a7c15) >> shift};
        for (size_t i = 0; i < FM_COUNT(values); i++) {
            uint8_t bytes[2 * THRIFT_VARINT_MAX];
            size_t len = 0;
            for (uint64_t rest = values[i]; len == 0 || rest; rest >>= 7)
                bytes[len++] = (uint8_t)((rest & 127) | (rest > 127 ? 128 : 0));
            for (size_t more = 0; more <= THRIFT_VARINT_MAX; more += THRIFT_VARINT_MAX) {
                struct thrift_reader reader;
                int64_t got;
                memset(bytes + len, 0xff, more);
                uint8_t *exact = test_exact_copy(fm_slice(bytes, len + more));
                thrift_reader_init(&reader, fm_slice(exact, len + more));
                assert_ok(thrift_int(&reader, &got));
                assert_true(got == thrift_from_zigzag(values[i]));
                assert_int_equal(reader.rest.len, more);
                thrift_reader_init(&reader, fm_slice(exact, len - 1));
                assert_int_equal(thrift_int(&reader, &got), FM_EMALFORMED);
                free(exact);
            }
        }
    }
}

static void test_varints_that_are_too_long(void **state)
{
    (void)state;
    static const char *const hex[] = {"ffffffffffffffffff02", "ffffffffffffffffff7f0000",
                                      "ffffffffffffffffffff0000", "808080808080808080808000"};
    for (size_t i = 0; i < FM_COUNT(hex); i++) {
        struct fm_buf input = test_hex(hex[i]);
        struct thrift_reader reader;
        int64_t got;
        thrift_reader_init(&reader, fm_buf_slice(&input));
        assert_int_equal(thrift_int(&reader, &got), FM_EMALFORMED);
        fm_buf_fini(&input);
    }
}

static void test_reader_mirrors_writer(void **state)
{
    (void)state;
    struct fm_buf buf;
    fm_buf_init(&buf, 4096);
    thrift_put_sample(&buf);
    struct thrift_reader reader;
    struct thrift_field field;
    struct fm_slice bytes;
    uint8_t type;
    uint32_t count;
    thrift_reader_init(&reader, fm_buf_slice(&buf));
    assert_ok(thrift_struct_begin(&reader));
    thrift_expect_int(&reader, 1, THRIFT_I32, -1);
    thrift_expect_int(&reader, 2, THRIFT_I64, INT64_MIN);
    thrift_expect_int(&reader, 20, THRIFT_I16, -300);
    assert_ok(thrift_field_next(&reader, &field));
    assert_int_equal(field.type, THRIFT_TRUE);
    assert_ok(thrift_field_next(&reader, &field));
    assert_int_equal(field.type, THRIFT_FALSE);
    assert_int_equal(field.id, 300);
    assert_ok(thrift_field_next(&reader, &field));
    assert_ok(thrift_binary(&reader, &bytes));
    assert_true(fm_slice_equal_text(bytes, "name"));
    assert_ok(thrift_field_next(&reader, &field));
    assert_ok(thrift_list_begin(&reader, &type, &count));
    assert_int_equal(count, 20);
    for (int64_t i = 0, value; i < 20; i++) {
        assert_ok(thrift_int(&reader, &value));
        assert_int_equal(value, i * i);
    }
    assert_ok(thrift_field_next(&reader, &field));
    assert_ok(thrift_skip(&reader, field.type));
    assert_ok(thrift_field_next(&reader, &field));
    assert_int_equal(field.id, 304);
    assert_ok(thrift_skip(&reader, field.type));
    thrift_expect_int(&reader, 5, THRIFT_I32, 7);
    assert_int_equal(thrift_field_next(&reader, &field), FM_END);
    assert_int_equal(reader.rest.len, 0);
    assert_int_equal(reader.depth, 0);
    fm_buf_fini(&buf);
}

static int thrift_skip_all(struct fm_slice input)
{
    struct thrift_reader reader;
    thrift_reader_init(&reader, input);
    return thrift_skip(&reader, THRIFT_STRUCT);
}

static void thrift_refuse(void *self, struct fm_slice input)
{
    (void)self;
    assert_int_equal(thrift_skip_all(input), FM_EMALFORMED);
}

static void thrift_skip_any(void *self, struct fm_slice input)
{
    (void)self;
    int rc = thrift_skip_all(input); /* must not crash */
    assert_true(rc <= 0);
}

static void test_cut_and_flipped(void **state)
{
    (void)state;
    struct fm_buf buf;
    fm_buf_init(&buf, 4096);
    thrift_put_sample(&buf);
    assert_ok(thrift_skip_all(fm_buf_slice(&buf)));
    test_each_prefix(fm_buf_slice(&buf), thrift_refuse, NULL);
    test_each_bit_flip(fm_buf_slice(&buf), thrift_skip_any, NULL);
    fm_buf_fini(&buf);
}

static void test_known_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        int rc;
    } rows[] = {
        {"00", FM_OK},
        {"15 02 00", FM_OK},                           /* field 1, i32 1 */
        {"05 02 02 00", FM_OK},                        /* the same with its id in full */
        {"17 000000000000f03f 00", FM_OK},             /* double */
        {"19 21 01 02 00", FM_OK},                     /* list of two booleans */
        {"1b 00 00", FM_OK},                           /* empty map: no types */
        {"1b 01 85 01 61 02 00", FM_OK},               /* map of binary to i32 */
        {"19 f5 ffffffff0f 00", FM_EMALFORMED},        /* list of 4 G elements */
        {"19 37 00", FM_EMALFORMED},                   /* three doubles cannot fit */
        {"1b ffffffff0f 55 00", FM_EMALFORMED},        /* map of 4 G pairs */
        {"18 ffffffff0f 61 00", FM_EMALFORMED},        /* binary longer than the input */
        {"16 ffffffffffffffffff7f 00", FM_EMALFORMED}, /* varint of 70 bits */
        {"16 ffffffffffffffffff01 00", FM_OK},
        {"1d 00", FM_EMALFORMED},       /* no such type */
        {"19 10 00 00", FM_EMALFORMED}, /* list of stops */
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct fm_buf buf = test_hex(rows[i].hex);
        uint8_t *exact = test_exact_copy(fm_buf_slice(&buf));
        assert_int_equal(thrift_skip_all(fm_slice(exact, buf.len)), rows[i].rc);
        free(exact);
        fm_buf_fini(&buf);
    }
}

static void test_depth_is_limited(void **state)
{
    (void)state;
    uint8_t structs[1000], lists[1000];
    memset(structs, 0x1c, sizeof structs);
    memset(lists, 0x19, sizeof lists);
    assert_int_equal(thrift_skip_all(fm_slice(structs, sizeof structs)), FM_ELIMIT);
    assert_int_equal(thrift_skip_all(fm_slice(lists, sizeof lists)), FM_ELIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_varints_of_every_length),
        cmocka_unit_test(test_varints_that_are_too_long),
        cmocka_unit_test(test_reader_mirrors_writer),
        cmocka_unit_test(test_cut_and_flipped),
        cmocka_unit_test(test_known_bytes),
        cmocka_unit_test(test_depth_is_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
