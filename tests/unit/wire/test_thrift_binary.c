/* SPDX-License-Identifier: Apache-2.0 */
/* What the two encodings have in common, and the binary one byte by byte. */
#include "../../support/test.h"

#include "fermata/thrift.h"

static const enum thrift_encoding encodings[] = {THRIFT_COMPACT, THRIFT_BINARY_PROTOCOL};

static void thrift_put_sample(struct fm_buf *buf, enum thrift_encoding encoding)
{
    struct thrift_writer writer;
    thrift_writer_init_as(&writer, encoding, buf);
    thrift_put_message(&writer, THRIFT_ONEWAY, "call");
    thrift_put_struct_begin(&writer);
    thrift_put_i16(&writer, 1, -300);
    thrift_put_i32(&writer, 2, INT32_MIN);
    thrift_put_i64(&writer, 3, INT64_MIN);
    thrift_put_double(&writer, 4, -1.5);
    thrift_put_bool(&writer, 5, true);
    thrift_put_bool(&writer, 6, false);
    thrift_put_binary(&writer, 7, FM_SLICE("text"));
    thrift_put_list(&writer, 8, THRIFT_I32, 20);
    for (int32_t i = 0; i < 20; i++)
        thrift_put_element_i32(&writer, -i);
    thrift_put_struct_field(&writer, 300);
    thrift_put_list(&writer, 1, THRIFT_BINARY, 1);
    thrift_put_element_binary(&writer, FM_SLICE(""));
    thrift_put_struct_end(&writer);
    thrift_put_i32(&writer, 301, 7);
    thrift_put_struct_end(&writer);
    assert_false(buf->failed);
}

static void thrift_expect_field(struct thrift_reader *reader, int16_t id, uint8_t type)
{
    struct thrift_field field;
    assert_ok(thrift_field_next(reader, &field));
    assert_int_equal(field.id, id);
    assert_int_equal(field.type, type);
}

static void thrift_expect_int(struct thrift_reader *reader, int16_t id, uint8_t type, int64_t value)
{
    int64_t got;
    thrift_expect_field(reader, id, type);
    assert_ok(thrift_int(reader, &got));
    assert_true(got == value);
}

static void thrift_expect_list(struct thrift_reader *reader, int16_t id, uint8_t type,
                               uint32_t count)
{
    uint8_t got_type;
    uint32_t got_count;
    thrift_expect_field(reader, id, THRIFT_LIST);
    assert_ok(thrift_list_begin(reader, &got_type, &got_count));
    assert_int_equal(got_type, type);
    assert_int_equal(got_count, count);
}

static void test_both_mirror_the_writer(void **state)
{
    (void)state;
    for (size_t e = 0; e < FM_COUNT(encodings); e++) {
        struct fm_buf buf;
        struct thrift_reader reader;
        struct thrift_field field;
        struct fm_slice text;
        enum thrift_message_type type;
        double number;
        fm_buf_init(&buf, 4096);
        thrift_put_sample(&buf, encodings[e]);
        thrift_reader_init_as(&reader, encodings[e], fm_buf_slice(&buf));
        assert_ok(thrift_message_begin(&reader, &text, &type));
        assert_true(fm_slice_equal_text(text, "call"));
        assert_int_equal(type, THRIFT_ONEWAY);
        assert_ok(thrift_struct_begin(&reader));
        thrift_expect_int(&reader, 1, THRIFT_I16, -300);
        thrift_expect_int(&reader, 2, THRIFT_I32, INT32_MIN);
        thrift_expect_int(&reader, 3, THRIFT_I64, INT64_MIN);
        thrift_expect_field(&reader, 4, THRIFT_DOUBLE);
        assert_ok(thrift_double(&reader, &number));
        assert_true(number == -1.5);
        thrift_expect_field(&reader, 5, THRIFT_TRUE);
        thrift_expect_field(&reader, 6, THRIFT_FALSE);
        thrift_expect_field(&reader, 7, THRIFT_BINARY);
        assert_ok(thrift_binary(&reader, &text));
        assert_true(fm_slice_equal_text(text, "text"));
        thrift_expect_list(&reader, 8, THRIFT_I32, 20);
        for (int64_t i = 0, value; i < 20; i++) {
            assert_ok(thrift_int(&reader, &value));
            assert_int_equal(value, -i);
        }
        thrift_expect_field(&reader, 300, THRIFT_STRUCT);
        assert_ok(thrift_struct_begin(&reader));
        thrift_expect_list(&reader, 1, THRIFT_BINARY, 1);
        assert_ok(thrift_binary(&reader, &text));
        assert_int_equal(text.len, 0);
        assert_int_equal(thrift_field_next(&reader, &field), FM_END);
        thrift_expect_int(&reader, 301, THRIFT_I32, 7);
        assert_int_equal(thrift_field_next(&reader, &field), FM_END);
        assert_int_equal(reader.rest.len, 0);
        assert_int_equal(reader.depth, 0);
        fm_buf_fini(&buf);
    }
}

static void test_writer_bytes(void **state)
{
    (void)state;
    static const char *const expected[] = {
        "82 81 00 04 63616c6c 14 d704 15 ffffffff0f 16 ffffffffffffffffff01 17 000000000000f8bf"
        "11 12 18 04 74657874 19 f5 14 00 01 03 05 07 09 0b 0d 0f 11 13 15 17 19 1b 1d 1f 21 23 25"
        "0c d804 19 18 00 00 15 0e 00",
        "80010004 00000004 63616c6c 00000000 060001 fed4 080002 80000000 0a0003 8000000000000000"
        "040004 bff8000000000000 020005 01 020006 00 0b0007 00000004 74657874 0f0008 08 00000014"
        "00000000 ffffffff fffffffe fffffffd fffffffc fffffffb fffffffa fffffff9 fffffff8 fffffff7"
        "fffffff6 fffffff5 fffffff4 fffffff3 fffffff2 fffffff1 fffffff0 ffffffef ffffffee ffffffed"
        "0c012c 0f0001 0b 00000001 00000000 00 08012d 00000007 00"};
    for (size_t e = 0; e < FM_COUNT(encodings); e++) {
        struct fm_buf buf, bytes = test_hex(expected[e]);
        fm_buf_init(&buf, 4096);
        thrift_put_sample(&buf, encodings[e]);
        assert_int_equal(buf.len, bytes.len);
        assert_memory_equal(buf.ptr, bytes.ptr, bytes.len);
        fm_buf_fini(&buf);
        fm_buf_fini(&bytes);
    }
}

static int thrift_skip_all(enum thrift_encoding encoding, struct fm_slice input, bool *ret_is_whole)
{
    struct thrift_reader reader;
    thrift_reader_init_as(&reader, encoding, input);
    int rc = thrift_skip(&reader, THRIFT_STRUCT);
    *ret_is_whole = reader.rest.len == 0 && reader.depth == 0;
    return rc;
}

static void test_known_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        int rc;
    } rows[] = {
        {"00", FM_OK},
        {"", FM_EMALFORMED},
        {"020001 02 00", FM_OK}, /* a boolean that is not 0 is true */
        {"030001 80 060002 0001 080003 00000001 0a0004 0000000000000001 00", FM_OK},
        {"040001 3ff0000000000000 0b0002 00000001 61 00", FM_OK},
        {"0f0001 02 00000002 01 00 0e0002 03 00000001 07 00", FM_OK}, /* booleans; a set */
        {"0d0001 0b 08 00000001 00000001 61 00000001 00", FM_OK},     /* map */
        {"0d0001 00 00 00000000 0f0002 00 00000000 00", FM_OK},       /* empty ones */
        {"0f0001 0f 00000001 06 00000001 0001 00", FM_OK},            /* list of lists */
        {"0d0001 0a 0c 00000001 0000000000000001 080001 00000001 00 00", FM_OK},
        {"010001 00", FM_EMALFORMED}, /* types there are not */
        {"050001 00", FM_EMALFORMED},
        {"070001 00", FM_EMALFORMED},
        {"090001 00", FM_EMALFORMED},
        {"100001 00", FM_EMALFORMED},
        {"ff0001 00", FM_EMALFORMED},
        {"0b0001 ffffffff 00", FM_EMALFORMED}, /* negative length */
        {"0b0001 00000002 61", FM_EMALFORMED},
        {"0f0001 08 80000000 00", FM_EMALFORMED},
        {"0f0001 08 00000002 00000001 00000000 00", FM_OK},
        {"0f0001 08 00000003 00000001 00000000 00", FM_EMALFORMED}, /* cannot fit */
        {"0f0001 0c 7fffffff 00 00", FM_EMALFORMED},
        {"0f0001 00 00000001 00 00", FM_EMALFORMED},
        {"0d0001 0b 00 00000001 00000001 61 00", FM_EMALFORMED},
        {"0d0001 08 08 7fffffff 00", FM_EMALFORMED},
        {"0a0001 00000000000000", FM_EMALFORMED},
        {"06 00", FM_EMALFORMED},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct fm_buf buf = test_hex(rows[i].hex);
        uint8_t *exact = test_exact_copy(fm_buf_slice(&buf));
        bool is_whole;
        int rc = thrift_skip_all(THRIFT_BINARY_PROTOCOL, fm_slice(exact, buf.len), &is_whole);
        assert_int_equal(rc, rows[i].rc);
        assert_true(rc < 0 || is_whole);
        free(exact);
        fm_buf_fini(&buf);
    }
}

static void test_maps(void **state)
{
    (void)state;
    static const char *const rows[] = {"1b 02 56 01 02 03 04 00",
                                       "0d0001 08 0a 00000002 ffffffff 0000000000000001"
                                       " fffffffe 0000000000000002 00"};
    for (size_t e = 0; e < FM_COUNT(encodings); e++) {
        struct fm_buf buf = test_hex(rows[e]);
        struct thrift_reader reader;
        struct thrift_field field;
        uint8_t key_type, value_type;
        uint32_t count;
        thrift_reader_init_as(&reader, encodings[e], fm_buf_slice(&buf));
        assert_ok(thrift_struct_begin(&reader));
        thrift_expect_field(&reader, 1, THRIFT_MAP);
        assert_ok(thrift_map_begin(&reader, &key_type, &value_type, &count));
        assert_int_equal(key_type, THRIFT_I32);
        assert_int_equal(value_type, THRIFT_I64);
        assert_int_equal(count, 2);
        for (int64_t i = 1, key, value; i <= 2; i++) {
            assert_ok(thrift_int_as(&reader, key_type, &key));
            assert_ok(thrift_int_as(&reader, value_type, &value));
            assert_int_equal(key, -i);
            assert_int_equal(value, i);
        }
        assert_int_equal(thrift_field_next(&reader, &field), FM_END);
        fm_buf_fini(&buf);
    }
    static const char *const empty[] = {"00", "0b 0c 00000000"};
    for (size_t e = 0; e < FM_COUNT(encodings); e++) {
        struct fm_buf buf = test_hex(empty[e]);
        struct thrift_reader reader;
        uint8_t types[2];
        uint32_t count;
        thrift_reader_init_as(&reader, encodings[e], fm_buf_slice(&buf));
        assert_ok(thrift_map_begin(&reader, &types[0], &types[1], &count));
        assert_true(types[0] == THRIFT_STOP && types[1] == THRIFT_STOP && count == 0);
        fm_buf_fini(&buf);
    }
}

static void test_messages(void **state)
{
    (void)state;
    static const struct {
        enum thrift_encoding encoding;
        const char *hex;
        int rc; /* or the type */
    } rows[] = {
        {THRIFT_COMPACT, "82 21 00 01 61", THRIFT_CALL},
        {THRIFT_COMPACT, "82 41 8001 01 61", THRIFT_REPLY},
        {THRIFT_COMPACT, "82 61 00 01 61", THRIFT_EXCEPTION},
        {THRIFT_COMPACT, "82 81 00 01 61", THRIFT_ONEWAY},
        {THRIFT_COMPACT, "82 01 00 01 61", FM_EMALFORMED},
        {THRIFT_COMPACT, "82 a1 00 01 61", FM_EMALFORMED},
        {THRIFT_COMPACT, "82 22 00 01 61", FM_EMALFORMED},
        {THRIFT_COMPACT, "83 21 00 01 61", FM_EMALFORMED},
        {THRIFT_COMPACT, "82 21 00 02 61", FM_EMALFORMED},
        {THRIFT_COMPACT, "82", FM_EMALFORMED},
        {THRIFT_BINARY_PROTOCOL, "80010001 00000001 61 00000000", THRIFT_CALL},
        {THRIFT_BINARY_PROTOCOL, "80010004 00000001 61 ffffffff", THRIFT_ONEWAY},
        {THRIFT_BINARY_PROTOCOL, "00000001 61 02 00000000", THRIFT_REPLY},
        {THRIFT_BINARY_PROTOCOL, "80010000 00000001 61 00000000", FM_EMALFORMED},
        {THRIFT_BINARY_PROTOCOL, "80010005 00000001 61 00000000", FM_EMALFORMED},
        {THRIFT_BINARY_PROTOCOL, "80020001 00000001 61 00000000", FM_EMALFORMED},
        {THRIFT_BINARY_PROTOCOL, "80010001 00000001 61 000000", FM_EMALFORMED},
        {THRIFT_BINARY_PROTOCOL, "80010001 ffffffff 61 00000000", FM_EMALFORMED},
        {THRIFT_BINARY_PROTOCOL, "00000001 61 02 000000", FM_EMALFORMED},
        {THRIFT_BINARY_PROTOCOL, "00000001 61", FM_EMALFORMED},
        {THRIFT_BINARY_PROTOCOL, "", FM_EMALFORMED},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct fm_buf buf = test_hex(rows[i].hex);
        uint8_t *exact = test_exact_copy(fm_buf_slice(&buf));
        struct thrift_reader reader;
        struct fm_slice name;
        enum thrift_message_type type;
        thrift_reader_init_as(&reader, rows[i].encoding, fm_slice(exact, buf.len));
        int rc = thrift_message_begin(&reader, &name, &type);
        assert_int_equal(rc == FM_OK ? (int)type : rc, rows[i].rc);
        assert_true(rc < 0 || (fm_slice_equal_text(name, "a") && reader.rest.len == 0));
        free(exact);
        fm_buf_fini(&buf);
    }
}

static void test_depth_is_limited(void **state)
{
    (void)state;
    struct fm_buf structs, lists;
    bool is_whole;
    fm_buf_init(&structs, FM_KIB(64));
    fm_buf_init(&lists, FM_KIB(64));
    fm_buf_put(&lists, "\x0f\x00\x01", 3);
    for (int i = 0; i < 1000; i++) {
        fm_buf_put(&structs, "\x0c\x00\x01", 3);
        fm_buf_put(&lists, "\x0f\x00\x00\x00\x01", 5);
    }
    assert_int_equal(thrift_skip_all(THRIFT_BINARY_PROTOCOL, fm_buf_slice(&structs), &is_whole),
                     FM_ELIMIT);
    assert_int_equal(thrift_skip_all(THRIFT_BINARY_PROTOCOL, fm_buf_slice(&lists), &is_whole),
                     FM_ELIMIT);
    fm_buf_fini(&structs);
    fm_buf_fini(&lists);
}

static void thrift_refuse(void *self, struct fm_slice input)
{
    struct thrift_reader reader;
    struct fm_slice name;
    enum thrift_message_type type;
    thrift_reader_init_as(&reader, *(enum thrift_encoding *)self, input);
    int rc = thrift_message_begin(&reader, &name, &type);
    assert_int_equal(rc < 0 ? rc : thrift_skip(&reader, THRIFT_STRUCT), FM_EMALFORMED);
}

static void thrift_survive(void *self, struct fm_slice input)
{
    struct thrift_reader reader;
    struct fm_slice name;
    enum thrift_message_type type;
    thrift_reader_init_as(&reader, *(enum thrift_encoding *)self, input);
    if (thrift_message_begin(&reader, &name, &type) == FM_OK)
        assert_true(thrift_skip(&reader, THRIFT_STRUCT) <= 0);
}

static void test_cut_and_flipped(void **state)
{
    (void)state;
    for (size_t e = 0; e < FM_COUNT(encodings); e++) {
        enum thrift_encoding encoding = encodings[e];
        struct fm_buf buf;
        fm_buf_init(&buf, 4096);
        thrift_put_sample(&buf, encoding);
        test_each_prefix(fm_buf_slice(&buf), thrift_refuse, &encoding);
        test_each_bit_flip(fm_buf_slice(&buf), thrift_survive, &encoding);
        fm_buf_fini(&buf);
    }
}

/* The compact varint carries 64 bits whatever the type; the binary one must be announced. */
static void test_int_needs_a_type(void **state)
{
    (void)state;
    struct thrift_reader reader;
    int64_t value = 5;
    thrift_reader_init_as(&reader, THRIFT_BINARY_PROTOCOL, FM_SLICE("\0\0\0\0\0\0\0\1"));
    assert_int_equal(thrift_int(&reader, &value), FM_EMALFORMED);
    assert_int_equal(value, 5);
    assert_ok(thrift_int_as(&reader, THRIFT_I64, &value));
    assert_int_equal(value, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_mirror_the_writer),
        cmocka_unit_test(test_writer_bytes),
        cmocka_unit_test(test_known_bytes),
        cmocka_unit_test(test_maps),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_depth_is_limited),
        cmocka_unit_test(test_cut_and_flipped),
        cmocka_unit_test(test_int_needs_a_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
