/* SPDX-License-Identifier: Apache-2.0 */
/* Version 1 in Thrift: known bytes, shapes that are legal but rare, hostile ones.  What its
 * annotations mean: test_zipkin_v1.c. */
#include "../../support/test.h"

#include "zipkin_sample.h"

/* Encoded by Apache Thrift 0.17 for Python: sr and ss of web, http.path=/a. */
#define VECTOR_LIST                                                                                \
    "0c000000010a000100000000000000010b0003000000036765740a000400000000000000020a000500000000"     \
    "000000010f00060c000000020a000100060a24181e40000b00020000000273720c00030800017f0000010600"     \
    "021f900b00030000000377656200000a000100060a24181e43e80b00020000000273730c00030800017f0000"     \
    "010600021f900b00030000000377656200000f00080c000000010b000100000009687474702e706174680b00"     \
    "02000000022f61080003000000060c00040800017f0000010600021f900b0003000000037765620000020009"     \
    "000a000a00060a24181e40000a000b00000000000003e800"
#define VECTOR_TEXT                                                                                \
    "resource{ service.name=\"web\"} scopes"                                                       \
    " span{00000000000000000000000000000001:0000000000000002 parent=0000000000000001 get kind=2"   \
    " 1700000000000000000+1000000 http.path=\"/a\" net.host.ip=\"127.0.0.1\" net.host.port=8080}"

static void wire_expect_refused(enum sample_encoding encoding, const char *hex, uint32_t refused,
                                const char *expected)
{
    struct fm_buf input = test_hex(hex);
    sample_expect_bytes(encoding, fm_buf_slice(&input), refused, expected);
    fm_buf_fini(&input);
}

static void wire_expect_failure(enum sample_encoding encoding, const char *hex, const char *why)
{
    struct fm_buf input = test_hex(hex);
    sample_expect_failure(encoding, fm_buf_slice(&input), FM_EMALFORMED, why);
    fm_buf_fini(&input);
}

/* Trace 10, span 11, time 1. */
#define HEAD         "0a0001 000000000000000a 0a0004 000000000000000b 0a000a 0000000000000001"
#define SPAN(more)   HEAD more "00"
#define BINARY(more) "0c 00000001" SPAN(more)
#define IDS          "0000000000000000000000000000000a:000000000000000b"
#define EXPECT(more, expected)                                                                     \
    wire_expect_refused(SAMPLE_BINARY, BINARY(more), 0, "resource{} scopes span{" IDS expected "}")

static void test_vector(void **state)
{
    (void)state;
    wire_expect_refused(SAMPLE_BINARY, VECTOR_LIST, 0, VECTOR_TEXT); /* Z27 */
    struct fm_buf input = test_hex(VECTOR_LIST);
    input.ptr[0] = 0x0b; /* Z28: some senders say that it is a list of strings */
    sample_expect_bytes(SAMPLE_BINARY, fm_buf_slice(&input), 0, VECTOR_TEXT);
    fm_buf_put_u8(&input, 0xff); /* what follows is nobody's business */
    sample_expect_bytes(SAMPLE_BINARY, fm_buf_slice(&input), 0, VECTOR_TEXT);
    fm_buf_fini(&input);
}

static void test_lists(void **state)
{
    (void)state;
    wire_expect_refused(SAMPLE_BINARY, "", 0, "");
    wire_expect_refused(SAMPLE_COMPACT, "", 0, "");
    wire_expect_refused(SAMPLE_BINARY, "0c 00000000", 0, "");
    wire_expect_refused(SAMPLE_COMPACT, "0c", 0, "");
    wire_expect_refused(SAMPLE_COMPACT, "2c 16 14 36 16 66 02 00 16 14 36 16 66 02 00", 0,
                        "resource{} scopes span{" IDS " 1000+0} span{" IDS " 1000+0}");
    wire_expect_failure(SAMPLE_BINARY, "0c", "not a Thrift list of spans: broken at byte 1");
    wire_expect_failure(SAMPLE_BINARY, "01 00000001 00", NULL);
    wire_expect_failure(SAMPLE_BINARY, "7b7d", NULL);
    wire_expect_failure(SAMPLE_COMPACT, "1c", NULL);
    wire_expect_failure(SAMPLE_COMPACT, "1c 16", NULL);
}

/* The reader of a call goes on behind the list. */
static void test_read(void **state)
{
    (void)state;
    struct fm_buf input = test_hex("1c 16 14 36 16 66 02 00 15 0e 00"), target;
    struct fm_arena scratch;
    struct thrift_reader reader;
    struct thrift_field field;
    int64_t number;
    fm_buf_init(&target, FM_MIB(1));
    fm_arena_init(&scratch, SAMPLE_SCRATCH_MAX);
    thrift_reader_init(&reader, fm_buf_slice(&input));
    assert_ok(zipkin_thrift_read(&reader, &scratch, &target, NULL));
    assert_ok(thrift_struct_begin(&reader));
    assert_ok(thrift_field_next(&reader, &field));
    assert_ok(thrift_int(&reader, &number));
    assert_true(field.id == 1 && number == 7);
    fm_arena_fini(&scratch);
    fm_buf_fini(&target);
    fm_buf_fini(&input);
}

static void test_fields(void **state)
{
    (void)state;
    EXPECT("", " 1000+0");
    EXPECT("0a000b 0000000000000007", " 1000+7000");
    EXPECT("0a000b fffffffffffffff9", " 1000+0"); /* negative */
    EXPECT("0a000a ffffffffffffffff", " 0+0 otel.zipkin.absentField.startTime=true");
    EXPECT("08000b 00000007", " 1000+7000"); /* of another width */
    EXPECT("0a0005 000000000000000c", " parent=000000000000000c 1000+0");
    EXPECT("0a0005 000000000000000b", " 1000+0");
    EXPECT("0a0005 0000000000000000", " 1000+0");
    EXPECT("0b0003 00000001 78", " x 1000+0");
    EXPECT("020009 01", " 1000+0");
    /* unknown fields, and known ones of another type */
    EXPECT("0a0063 0000000000000007 0c0064 0b0001 00000000 00 0d0065 0b0b 00000000", " 1000+0");
    EXPECT("080003 00000007 0b0001 00000001 78 0b0004 00000001 78 0b0006 00000001 78 0f0008 0b "
           "00000001 00000001 78"
           " 0f0006 08 00000001 00000007 04000a 0000000000000000",
           " 1000+0");
    wire_expect_refused(SAMPLE_BINARY, BINARY("0a000c 0000000000000001"), 0,
                        "resource{} scopes"
                        " span{0000000000000001000000000000000a:000000000000000b 1000+0}");
    wire_expect_refused(SAMPLE_BINARY,
                        "0c 00000001 0a000c ffffffffffffffff 0a0004 fffffffffffffffe"
                        " 0a000a 0000000000000001 00",
                        0,
                        "resource{} scopes"
                        " span{ffffffffffffffff0000000000000000:fffffffffffffffe 1000+0}");
}

static void test_bad_ids(void **state)
{
    (void)state;
    wire_expect_refused(SAMPLE_BINARY, "0c 00000003 00 0a0004 000000000000000b 00" SPAN(""), 2,
                        "resource{} scopes span{" IDS " 1000+0} resource{} scopes span{} span{}");
    wire_expect_refused(
        SAMPLE_BINARY, "0c 00000002 0a0001 000000000000000a 0a0004 0000000000000000 00" SPAN(""), 1,
        "resource{} scopes span{" IDS " 1000+0} resource{} scopes"
        " span{00000000000000000000000000000001}");
}

#define NOTE(fields)        "0f0006 0c 00000001" fields "00"
#define NOTE_TIME           "0a0001 0000000000000002"
#define EXPECT_NOTE(fields) EXPECT(NOTE(fields), " 1000+0")

static void test_annotations(void **state)
{
    (void)state;
    EXPECT(NOTE(NOTE_TIME "0b0002 00000001 61"), " 1000+0 event{2000 a}");
    EXPECT(NOTE("0b0002 00000001 61" NOTE_TIME "080004 00000007"), " 1000+0 event{2000 a}");
    EXPECT_NOTE("");
    EXPECT_NOTE(NOTE_TIME);
    EXPECT_NOTE(NOTE_TIME "0b0002 00000000");
    EXPECT_NOTE("0b0002 00000001 61");
    EXPECT_NOTE("0b0002 00000001 61 0a0001 ffffffffffffffff");
    EXPECT(NOTE(NOTE_TIME "0b0002 00000001 61 0c0003 00"), " 1000+0 event{2000 a}");
    EXPECT(NOTE(NOTE_TIME "0b0002 00000001 61 080003 00000001"), " 1000+0 event{2000 a}");
}

#define HOST(fields) NOTE(NOTE_TIME "0b0002 00000001 61 0c0003" fields "00")

static void test_hosts(void **state)
{
    (void)state;
    EXPECT(HOST("080001 0a000001 060002 0050"),
           " 1000+0 net.host.ip=\"10.0.0.1\" net.host.port=80 event{2000 a}");
    EXPECT(HOST("080001 ffffffff 060002 ffff"), /* ports have no sign */
           " 1000+0 net.host.ip=\"255.255.255.255\" net.host.port=65535 event{2000 a}");
    EXPECT(HOST("080001 00000000 060002 0000 0b0003 00000000"), " 1000+0 event{2000 a}");
    EXPECT(HOST("080001 0a000001 0b0004 00000010 20010db8000000000000000000000001"),
           " 1000+0 net.host.ip=\"2001:db8::1\" event{2000 a}");
    EXPECT(HOST("0b0004 00000010 00000000000000000000ffff0a000001"),
           " 1000+0 net.host.ip=\"10.0.0.1\" event{2000 a}");
    EXPECT(HOST("0b0004 00000004 0a000001"), " 1000+0 event{2000 a}"); /* not an IPv6 address */
    EXPECT(HOST("0b0001 00000001 61 0b0002 00000001 61 080003 00000001 080004 00000001"),
           " 1000+0 event{2000 a}");
}

#define VALUE(type, len, bytes)                                                                    \
    "0f0008 0c 00000001 0b0001 00000001 6e 0b0002" len bytes "080003" type "00"

static void test_values(void **state)
{
    (void)state;
    EXPECT(VALUE("00000000", "00000001", "01"), " 1000+0 n=true");
    EXPECT(VALUE("00000000", "00000001", "00"), " 1000+0 n=false");
    EXPECT(VALUE("00000001", "00000003", "00ff10"), " 1000+0 n=\"AP8Q\"");
    EXPECT(VALUE("00000001", "00000001", "00"), " 1000+0 n=\"AA==\"");
    EXPECT(VALUE("00000001", "00000000", ""), " 1000+0 n=\"\"");
    EXPECT(VALUE("00000002", "00000002", "ffff"), " 1000+0 n=-1"); /* Z31 */
    EXPECT(VALUE("00000003", "00000004", "80000000"), " 1000+0 n=-2147483648");
    EXPECT(VALUE("00000004", "00000008", "7fffffffffffffff"), " 1000+0 n=9223372036854775807");
    EXPECT(VALUE("00000005", "00000008", "3ff8000000000000"), " 1000+0 n=1.5f");
    EXPECT(VALUE("00000006", "00000002", "6869"), " 1000+0 n=\"hi\"");
    EXPECT(VALUE("00000007", "00000002", "6869"), " 1000+0 n=\"hi\""); /* a type nobody has */
    EXPECT(VALUE("ffffffff", "00000002", "6869"), " 1000+0 n=\"hi\"");
    /* not as wide as the type says: the bytes */
    EXPECT(VALUE("00000000", "00000002", "0101"), " 1000+0 n=\"AQE=\"");
    EXPECT(VALUE("00000002", "00000004", "0000ffff"), " 1000+0 n=\"AAD//w==\"");
    EXPECT(VALUE("00000004", "00000000", ""), " 1000+0 n=\"\"");
    /* no type is text; no key is nothing */
    EXPECT("0f0008 0c 00000001 0b0001 00000001 6e 0b0002 00000001 61 00", " 1000+0 n=\"a\"");
    EXPECT("0f0008 0c 00000001 0b0001 00000001 6e 00", " 1000+0 n=\"\"");
    EXPECT("0f0008 0c 00000002 00 0b0002 00000001 61 00", " 1000+0");
}

/* ---- hostile ---- */

/* Counts and lengths are held against the bytes that are there, before anything is allocated. */
static void test_hostile_counts(void **state)
{
    (void)state;
    static const char *const binary[] = {
        "0c 7fffffff 00 00",
        "0c ffffffff 00 00",
        "0c 00000003 00 00",
        BINARY("0f0006 0c 7fffffff 00"),
        BINARY("0f0008 0c 7fffffff 00"),
        BINARY("0f0063 0b 7fffffff 00"),
        BINARY("0b0003 7fffffff 00"),
        BINARY("0b0003 ffffffff 00"),
        BINARY("0d0063 0b0b 7fffffff 00"),
    };
    static const char *const compact[] = {
        "fc ffffffff07 00 00",       "fc ffffffff0f 00 00",    "1c 16 14 36 16 2c fc ffffffff07",
        "1c 16 14 29 fc ffffffff07", "1c 38 ffffffff07 00 00",
    };
    for (size_t i = 0; i < FM_COUNT(binary); i++)
        wire_expect_failure(SAMPLE_BINARY, binary[i], NULL);
    for (size_t i = 0; i < FM_COUNT(compact); i++)
        wire_expect_failure(SAMPLE_COMPACT, compact[i], NULL);
}

static void test_deep(void **state)
{
    (void)state;
    struct fm_buf input = test_hex("0c 00000001" HEAD);
    for (int i = 0; i < 100; i++)
        fm_buf_put(&input, "\x0c\0\x63", 3);
    fm_buf_put_zeros(&input, 101);
    sample_expect_failure(SAMPLE_BINARY, fm_buf_slice(&input), FM_EMALFORMED,
                          "not a Thrift list of spans: nested too deeply at byte 134");
    fm_buf_fini(&input);
}

#define EVERYTHING                                                                                 \
    BINARY(HOST("080001 0a000001 060002 0050 0b0003 00000001 73")                                  \
               VALUE("00000001", "00000003", "00ff10") "0a0063 0000000000000007")

static void test_cut_and_flipped(void **state)
{
    (void)state;
    static const char *const inputs[] = {VECTOR_LIST, EVERYTHING};
    for (size_t i = 0; i < FM_COUNT(inputs); i++) {
        struct fm_buf input = test_hex(inputs[i]);
        sample_cut_and_flip(SAMPLE_BINARY, fm_buf_slice(&input));
        sample_fail_each(SAMPLE_BINARY, fm_buf_slice(&input));
        fm_buf_fini(&input);
    }
    const struct sample_span span = {
        .trace_low = 10,
        .id = 11,
        .name = "n",
        .notes = LIST(struct sample_note, {1, "cs", ENDPOINT("a", "10.0.0.1", "::1", 80)},
                      {2, "sr", ENDPOINT("b", NULL, NULL, 0)}),
        .tags = LIST(struct sample_tag, TAG("k", "v")),
    };
    struct fm_buf input = sample_encode(SAMPLE_COMPACT, (struct sample_list){&span, 1}, true);
    sample_cut_and_flip(SAMPLE_COMPACT, fm_buf_slice(&input));
    sample_fail_each(SAMPLE_COMPACT, fm_buf_slice(&input));
    fm_buf_fini(&input);
}

/* X3: few bytes that become as much as they can, many times: 40 times as much memory is enough,
 * or all of it is refused. */
static void test_memory(void **state)
{
    (void)state;
    enum { COUNT = 30000 };
    static const struct {
        const char *head, *unit;
    } rows[] = {
        {"fc b0ea01", "00"},                                           /* spans of nothing */
        {"fc b0ea01", "16 02 36 02 00"},                               /* and of ids */
        {"1c 16 02 36 02 29 fc b0ea01", "16 02 18 01 61 00"},          /* annotations */
        {"1c 16 02 36 02 49 fc b0ea01", "18 01 61 00"},                /* tags */
        {"1c 16 02 36 02 49 fc b0ea01", "18 01 61 3c 24 02 00 00"},    /* with a host */
        {"1c 16 02 36 02 49 fc b0ea01", "18 01 61 18 01 62 15 02 00"}, /* of bytes */
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct fm_buf input = test_hex(rows[i].head), unit = test_hex(rows[i].unit), target;
        struct fm_arena scratch;
        for (int k = 0; k < COUNT; k++)
            fm_buf_put_slice(&input, fm_buf_slice(&unit));
        fm_buf_put_u8(&input, 0);
        fm_buf_init(&target, 40 * input.len);
        fm_arena_init(&scratch, 40 * input.len);
        int rc =
            zipkin_thrift_decode(fm_buf_slice(&input), THRIFT_COMPACT, &scratch, &target, NULL);
        assert_true(rc == FM_OK || (rc == FM_ELIMIT && target.len == 0));
        scratch.bytes_max = target.bytes_max = 100 * input.len;
        assert_ok(
            zipkin_thrift_decode(fm_buf_slice(&input), THRIFT_COMPACT, &scratch, &target, NULL));
        fm_arena_fini(&scratch);
        fm_buf_fini(&target);
        fm_buf_fini(&unit);
        fm_buf_fini(&input);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vector),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_bad_ids),
        cmocka_unit_test(test_annotations),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_hostile_counts),
        cmocka_unit_test(test_deep),
        cmocka_unit_test(test_cut_and_flipped),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
