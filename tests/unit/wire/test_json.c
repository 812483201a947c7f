/* SPDX-License-Identifier: Apache-2.0 */
#include "../../support/test.h"

#include <math.h>

#include "fermata/json.h"

/* Reads document to its end and prints every token in one line of text. */
static int json_outline(struct fm_slice document, struct fm_buf *line)
{
    static const char marks[] = "{}[]:\"#tfn";
    struct fm_arena scratch;
    struct json_reader reader;
    struct json_token token;
    int rc;

    fm_arena_init(&scratch, FM_MIB(4));
    json_reader_init(&reader, document, &scratch);
    while ((rc = json_next(&reader, &token)) == FM_OK) {
        fm_buf_put_u8(line, (uint8_t)marks[token.kind]);
        fm_buf_put_slice(line, token.text);
    }
    assert_true(reader.position <= document.len);
    if (rc < 0 && rc != FM_ENOMEM)
        assert_non_null(reader.error);
    if (rc == FM_END)
        assert_int_equal(json_next(&reader, &token), FM_END);
    fm_arena_fini(&scratch);
    return rc;
}

static void assert_outline(struct fm_slice document, const char *expected)
{
    struct fm_buf line;
    fm_buf_init(&line, FM_MIB(1));
    uint8_t *copy = test_exact_copy(document);
    assert_int_equal(json_outline(fm_slice(copy, document.len), &line), FM_END);
    fm_buf_put_u8(&line, 0);
    assert_string_equal((char *)line.ptr, expected);
    free(copy);
    fm_buf_fini(&line);
}

static void test_tokens(void **state)
{
    (void)state;
    assert_outline(FM_SLICE("{}"), "{}");
    assert_outline(FM_SLICE(" [ ] "), "[]");
    assert_outline(FM_SLICE("\xef\xbb\xbf"
                            "7"),
                   "#7");
    assert_outline(FM_SLICE("{\"a\":[1,-0.5e+3,true,false,null,\"x\"],\"b\":{\"c\":{}}}"),
                   "{:a[#1#-0.5e+3tfn\"x]:b{:c{}}}");
    assert_outline(FM_SLICE("\t[\n0 ,\r0.0, 1E5 , \"\" ]"), "[#0#0.0#1E5\"]");
    assert_outline(FM_SLICE("\"0123456789abcdef\\\"\\\\\\/\\b\\f\\n\\r\\t\""),
                   "\"0123456789abcdef\"\\/\b\f\n\r\t");
}

/* Texts of every length, near the end of the document and far from it, plain or with something
 * else at any place. */
static void test_texts_of_every_length(void **state)
{
    static const struct {
        const char *written, *read;
    } odd[] = {{"x", "x"}, {"\\n", "\n"}, {"\xc3\xa9", "\xc3\xa9"}, {"\xff", "\xef\xbf\xbd"}};
    char text[80], document[400], expected[400];
    (void)state;
    for (int len = 1; len < 70; len++) {
        for (int at = 0; at < len; at += len < 36 ? 1 : 7) {
            for (size_t i = 0; i < FM_COUNT(odd); i++) {
                memset(text, 'a', sizeof text);
                (void)snprintf(document, sizeof document, "{\"%.*s%s%.*s\":\"%.*s%s%.*s\"%*s}", at,
                               text, odd[i].written, len - at - 1, text, at, text, odd[i].written,
                               len - at - 1, text, len % 3 * 20, "");
                (void)snprintf(expected, sizeof expected, "{:%.*s%s%.*s\"%.*s%s%.*s}", at, text,
                               odd[i].read, len - at - 1, text, at, text, odd[i].read, len - at - 1,
                               text);
                assert_outline(fm_slice_text(document), expected);
            }
        }
    }
}

static void test_unicode(void **state)
{
    (void)state;
    assert_outline(FM_SLICE("\"\\u0041\\u00e9\\u20AC\\ud83d\\ude00\""),
                   "\"A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    assert_outline(
        FM_SLICE("[\"\\ud800\",\"\\udc00x\",\"\\ud800\\u0041\",\"\\ud83d\\ud83d\\ude00\"]"),
        "[\"\xef\xbf\xbd\"\xef\xbf\xbdx\"\xef\xbf\xbd"
        "A\"\xef\xbf\xbd\xf0\x9f\x98\x80]");
    assert_outline(FM_SLICE("[\"a\xff"
                            "b\",\"\\n\xe2\x82\",\"long enough \xc3\xa9 text\"]"),
                   "[\"a\xef\xbf\xbd"
                   "b\"\n\xef\xbf\xbd\"long enough \xc3\xa9 text]");
    struct fm_buf line;
    fm_buf_init(&line, 100);
    assert_int_equal(json_outline(FM_SLICE("\"a\\u0000b\""), &line), FM_END);
    assert_true(fm_slice_equal(fm_buf_slice(&line), FM_SLICE("\"a\0b")));
    fm_buf_fini(&line);
}

static void test_what_the_grammar_refuses(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "",
        " ",
        "{",
        "[",
        "}",
        "]",
        "[1,]",
        "{\"a\":1,}",
        "{,}",
        "[,1]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\" 1}",
        "{a:1}",
        "{1:2}",
        "[1 2]",
        "[1}",
        "{\"a\":1]",
        "nul",
        "True",
        "tru",
        "\"abc",
        "\"\\",
        "\"\\u12",
        "\"\\u12g4\"",
        "\"\\x\"",
        "\"\n\"",
        "\"a\tb........\"",
        "01",
        "-",
        "-01",
        "1.",
        ".5",
        "1e",
        "1e+",
        "+1",
        "0x10",
        "NaN",
        "1 1",
        "{} {}",
        "[]]",
        "\"a\"b",
        "'a'",
        "{\"a\":1 \"b\":2}",
        "{\"a\"::1}",
        "[1,,2]",
        "\xff",
        "//c\n1",
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct fm_buf line;
        fm_buf_init(&line, FM_KIB(4));
        uint8_t *copy = test_exact_copy(fm_slice_text(rows[i]));
        assert_int_equal(json_outline(fm_slice(copy, strlen(rows[i])), &line), FM_EMALFORMED);
        free(copy);
        fm_buf_fini(&line);
    }
}

static void test_depth_is_limited(void **state)
{
    (void)state;
    uint8_t document[2 * JSON_DEPTH_MAX + 2];
    struct fm_buf line;

    fm_buf_init(&line, FM_KIB(4));
    memset(document, '[', JSON_DEPTH_MAX + 1);
    memset(document + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
    assert_int_equal(json_outline(fm_slice(document, sizeof document), &line), FM_ELIMIT);
    assert_int_equal(json_outline(fm_slice(document + 1, sizeof document - 2), &line), FM_END);
    fm_buf_fini(&line);
}

static void test_skip_needs_no_memory(void **state)
{
    (void)state;
    struct fm_slice document =
        FM_SLICE("{\"skip\":{\"a\":[1,{\"b\":\"\\n\\n\\n\xff\"}],\"c\":\"\\t\"},\"keep\":1}");
    struct fm_arena scratch;
    struct json_reader reader;
    struct json_token token;

    fm_arena_init(&scratch, 0);
    json_reader_init(&reader, document, &scratch);
    assert_ok(json_next(&reader, &token));
    assert_ok(json_next(&reader, &token));
    assert_true(fm_slice_equal_text(token.text, "skip"));
    assert_ok(json_next(&reader, &token));
    assert_ok(json_skip(&reader, &token));
    assert_ok(json_next(&reader, &token));
    assert_true(token.kind == JSON_KEY && fm_slice_equal_text(token.text, "keep"));
    assert_ok(json_next(&reader, &token));
    assert_ok(json_skip(&reader, &token));
    assert_ok(json_next(&reader, &token));
    assert_int_equal(token.kind, JSON_OBJECT_END);
    assert_int_equal(json_next(&reader, &token), FM_END);
    fm_arena_fini(&scratch);
}

static void test_integers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int u64_rc, i64_rc;
        uint64_t value;
    } rows[] = {
        {"0", FM_OK, FM_OK, 0},
        {"-0", FM_OK, FM_OK, 0},
        {"18446744073709551615", FM_OK, FM_EMALFORMED, UINT64_MAX},
        {"18446744073709551616", FM_EMALFORMED, FM_EMALFORMED, 0},
        {"9223372036854775807", FM_OK, FM_OK, INT64_MAX},
        {"-9223372036854775808", FM_EMALFORMED, FM_OK, (uint64_t)INT64_MIN},
        {"-9223372036854775809", FM_EMALFORMED, FM_EMALFORMED, 0},
        {"1.5447e18", FM_OK, FM_OK, UINT64_C(1544700000000000000)},
        {"1.5e3", FM_OK, FM_OK, 1500},
        {"1500e-2", FM_OK, FM_OK, 15},
        {"1500e-3", FM_EMALFORMED, FM_EMALFORMED, 0},
        {"1.0", FM_OK, FM_OK, 1},
        {"0.000e999999999999999999999", FM_OK, FM_OK, 0},
        {"0e-99999999999", FM_OK, FM_OK, 0},
        {"1e400", FM_EMALFORMED, FM_EMALFORMED, 0},
        {"1e-1", FM_EMALFORMED, FM_EMALFORMED, 0},
        {"abc", FM_EMALFORMED, FM_EMALFORMED, 0},
        {"", FM_EMALFORMED, FM_EMALFORMED, 0},
        {"-", FM_EMALFORMED, FM_EMALFORMED, 0},
        {"1 ", FM_EMALFORMED, FM_EMALFORMED, 0},
        {"1.", FM_EMALFORMED, FM_EMALFORMED, 0},
        {"1e", FM_EMALFORMED, FM_EMALFORMED, 0},
        {"1ex", FM_EMALFORMED, FM_EMALFORMED, 0},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct json_token token = {JSON_STRING, fm_slice_text(rows[i].text)};
        uint64_t u64 = 0;
        int64_t i64 = 0;
        assert_int_equal(json_u64(&token, &u64), rows[i].u64_rc);
        assert_int_equal(json_i64(&token, &i64), rows[i].i64_rc);
        if (rows[i].u64_rc == FM_OK)
            assert_true(u64 == rows[i].value);
        if (rows[i].i64_rc == FM_OK)
            assert_true((uint64_t)i64 == rows[i].value);
    }
    struct json_token token = {.kind = JSON_TRUE};
    uint64_t value;
    assert_int_equal(json_u64(&token, &value), FM_EMALFORMED);
}

static void test_doubles_survive(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } rows[] = {
        {0, "0"},
        {-0.0, "-0"},
        {0.75, "0.75"},
        {-1.5, "-1.5"},
        {1e20, "100000000000000000000"},
        {1e21, "1e+21"},
        {1e-6, "0.000001"},
        {1e-7, "1e-7"},
        {1.5e-9, "1.5e-9"},
        {100, "100"},
        {0.1, "0.1"},
        {0.1 + 0.2, "0.30000000000000004"},
        {5e-324, "5e-324"},
        {123456.789, "123456.789"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {1e23, "1e+23"},
        {0.00123, "0.00123"},
        {9007199254740993.0, "9007199254740992"},
        {2.2250738585072014e-308, "2.2250738585072014e-308"},
        {(double)NAN, "\"NaN\""},
        {(double)INFINITY, "\"Infinity\""},
        {-(double)INFINITY, "\"-Infinity\""},
    };
    struct fm_buf buf;
    struct json_writer writer;
    fm_buf_init(&buf, 1000);
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        fm_buf_reset(&buf);
        json_writer_init(&writer, &buf);
        json_number(&writer, rows[i].value);
        assert_true(fm_slice_equal_text(fm_buf_slice(&buf), rows[i].text));
        bool quoted = buf.ptr[0] == '"';
        struct json_token token = {quoted ? JSON_STRING : JSON_NUMBER,
                                   fm_slice(buf.ptr + quoted, buf.len - 2 * quoted)};
        double back;
        assert_ok(json_double(&token, &back));
        assert_true(isnan(back) ? isnan(rows[i].value) : back == rows[i].value);
    }
    uint64_t seed = 7;
    for (int i = 0; i < 20000; i++) {
        union {
            uint64_t bits;
            double value;
        } random = {fm_random_next(&seed)};
        if (!isfinite(random.value))
            continue;
        fm_buf_reset(&buf);
        json_writer_init(&writer, &buf);
        json_number(&writer, random.value);
        struct json_token token = {JSON_NUMBER, fm_buf_slice(&buf)};
        double back;
        assert_ok(json_double(&token, &back));
        assert_true(back == random.value);
    }
    static const char *const bad[] = {"1e400", "0x10", "inf", "nan", "", "1_0", " 1", "-"};
    for (size_t i = 0; i < FM_COUNT(bad); i++) {
        struct json_token token = {JSON_STRING, fm_slice_text(bad[i])};
        double back;
        assert_int_equal(json_double(&token, &back), FM_EMALFORMED);
    }
    fm_buf_fini(&buf);
}

static void test_writer(void **state)
{
    (void)state;
    struct fm_buf buf;
    struct json_writer writer;

    fm_buf_init(&buf, 10000);
    json_writer_init(&writer, &buf);
    json_object_begin(&writer);
    json_key(&writer, "a");
    json_array_begin(&writer);
    json_int(&writer, INT64_MIN);
    json_uint(&writer, UINT64_MAX);
    json_int_text(&writer, -3);
    json_uint_text(&writer, 0);
    json_bool(&writer, true);
    json_null(&writer);
    json_object_begin(&writer);
    json_object_end(&writer);
    json_array_end(&writer);
    json_key(&writer, "q\"");
    json_string(&writer, FM_SLICE("\x01\n\"\\\xff/<\xc3\xa9\0"));
    json_key(&writer, "b");
    json_base64(&writer, FM_SLICE("\0\xff"));
    json_key(&writer, "h");
    json_hex(&writer, FM_SLICE("\0\xff"));
    json_key(&writer, "r");
    json_raw(&writer, FM_SLICE("[1]"));
    json_object_end(&writer);
    assert_false(buf.failed);
    fm_buf_put_u8(&buf, 0);
    assert_string_equal((char *)buf.ptr,
                        "{\"a\":[-9223372036854775808,18446744073709551615,\"-3\",\"0\",true,null,"
                        "{}],\"q\\\"\":\"\\u0001\\n\\\"\\\\\xef\xbf\xbd/<\xc3\xa9\\u0000\","
                        "\"b\":\"AP8=\",\"h\":\"00ff\",\"r\":[1]}");
    fm_buf_reset(&buf);
    json_writer_init(&writer, &buf);
    for (int i = 0; i < JSON_WRITER_DEPTH_MAX; i++)
        json_array_begin(&writer);
    assert_false(buf.failed);
    json_array_begin(&writer);
    assert_true(buf.failed);
    fm_buf_fini(&buf);
}

static void json_body(void *self, struct fm_slice input)
{
    struct fm_buf line;
    fm_buf_init(&line, FM_KIB(64));
    int rc = json_outline(input, &line);
    if (self) /* every proper prefix of an object is incomplete */
        assert_int_equal(rc, FM_EMALFORMED);
    fm_buf_fini(&line);
}

static const char json_sample[] =
    "{\"resourceSpans\":[{\"resource\":{\"attributes\":[{\"key\":\"k\\u00e9\xc3\xa9\",\"value\":"
    "{\"intValue\":\"-3\"}}]},\"x\":[true,false,null,-1.5e+9,\"\\ud83d\\ude00\\n\"]}]}";

static void test_prefixes_and_bit_flips(void **state)
{
    (void)state;
    int complete = 1;
    test_each_prefix(fm_slice_text(json_sample), json_body, &complete);
    test_each_bit_flip(fm_slice_text(json_sample), json_body, NULL);
}

static void test_allocation_failures(void **state)
{
    (void)state;
    static const char document[] = "[\"a\\nb\",\"\xff\",\"\\u00e9\xff\"]";
    for (uint64_t nth = 1;; nth++) {
        struct fm_arena scratch;
        struct json_reader reader;
        struct json_token token;
        int rc;
        fm_arena_init(&scratch, FM_KIB(64));
        json_reader_init(&reader, fm_slice_text(document), &scratch);
        test_alloc_fail_at(nth);
        while ((rc = json_next(&reader, &token)) == FM_OK)
            ;
        bool reached = test_alloc_failed();
        test_alloc_disarm();
        assert_int_equal(rc, reached ? FM_ENOMEM : FM_END);
        fm_arena_fini(&scratch);
        if (!reached)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_texts_of_every_length),
        cmocka_unit_test(test_unicode),
        cmocka_unit_test(test_what_the_grammar_refuses),
        cmocka_unit_test(test_depth_is_limited),
        cmocka_unit_test(test_skip_needs_no_memory),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_doubles_survive),
        cmocka_unit_test(test_writer),
        cmocka_unit_test(test_prefixes_and_bit_flips),
        cmocka_unit_test(test_allocation_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
