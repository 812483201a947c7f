/* SPDX-License-Identifier: Apache-2.0 */
/* Version 2 in protobuf: known bytes, shapes that are legal but rare, hostile ones; and that the
 * same spans in JSON say the same. */
#include "../../support/test.h"

#include "vectors.h"
#include "zipkin_sample.h"

/* Encoded by protoc: every field but parent and debug. */
#define VECTOR_LIST                                                                                \
    "0a6d0a105b8efff798038103d269b633813fc60c1a08eee19b7ec3c1b17420022a05676574202f3100401e18"     \
    "240a060038dc0b420e0a0373766312047f00000120903f4a050a03636c69520d09f4411e18240a0600120265"     \
    "315a120a0b687474702e6d6574686f6412034745546801"

static void pb_expect_refused(const char *hex, uint32_t refused, const char *expected)
{
    struct fm_buf input = vector_bytes(hex);
    sample_expect_bytes(SAMPLE_PB, fm_buf_slice(&input), refused, expected);
    fm_buf_fini(&input);
}

static void pb_expect(const char *hex, const char *expected)
{
    pb_expect_refused(hex, 0, expected);
}

static void pb_expect_failure(const char *hex, const char *why)
{
    struct fm_buf input = vector_bytes(hex);
    sample_expect_failure(SAMPLE_PB, fm_buf_slice(&input), FM_EMALFORMED, why);
    fm_buf_fini(&input);
}

#define IDS                      "0000000000000000000000000000000a:000000000000000b"
#define HEX_HEAD                 "0a(000000000000000a) 1a(000000000000000b) 31 0100000000000000"
#define HEX(fields)              "0a(" HEX_HEAD fields ")"
#define EXPECT(fields, expected) pb_expect(HEX(fields), "resource{} scopes span{" IDS expected "}")

static void test_vector(void **state)
{
    (void)state;
    pb_expect(VECTOR_LIST, /* Z3 */
              "resource{ service.name=\"svc\"} scopes"
              " span{5b8efff798038103d269b633813fc60c:eee19b7ec3c1b174 get / kind=2"
              " 1700000000000000000+1500000 http.method=\"GET\" net.host.ip=\"127.0.0.1\""
              " net.host.port=8080 peer.service=\"cli\" zipkin.shared=true"
              " event{1700000000000500000 e1}}");
}

static void test_fields(void **state)
{
    (void)state;
    pb_expect("", "");
    EXPECT("", " 1000+0");
    EXPECT("12(000000000000000c)", " parent=000000000000000c 1000+0");
    EXPECT("12(000000000000000b)", " 1000+0");
    EXPECT("12(0000000000000000)", " 1000+0");
    EXPECT("12(0c)", " 1000+0");
    EXPECT("2001", " kind=3 1000+0");
    EXPECT("2002", " kind=2 1000+0");
    EXPECT("2003", " kind=4 1000+0");
    EXPECT("2004", " kind=5 1000+0");
    EXPECT("2005", " 1000+0");
    EXPECT("20ffffffffffffffffff01", " 1000+0");
    EXPECT("2000", " 1000+0");
    EXPECT("3807", " 1000+7000");
    EXPECT("38ffffffffffffffffff01", " 1000+-1001"); /* no wrap-around */
    EXPECT("6001 6801", " 1000+0 zipkin.shared=true");
    EXPECT("6801 6800", " 1000+0");
    pb_expect("0a(0a(000000000000000a) 1a(000000000000000b) 3805)",
              "resource{} scopes span{" IDS
              " 0+5000 otel.zipkin.absentField.startTime=true}"); /* Z22 */
    /* unknown fields, and known ones of another wire type */
    pb_expect("0801 9a06(61) 9b06 0801 9c06" HEX(
                  "9a06(61) 2a(78) 2805 22(61) 3001 3a(61) 4001 4801 5001 5801 62(61) 6a(61) 7801"),
              "resource{} scopes span{" IDS " x 1000+0}");
    EXPECT("2a(61) 2a(62)", " b 1000+0"); /* the last one counts */
}

static void test_ids(void **state)
{
    (void)state;
    pb_expect("0a(0a(5b8efff798038103d269b633813fc60c) 1a(000000000000000b) 31 0100000000000000)",
              "resource{} scopes span{5b8efff798038103d269b633813fc60c:000000000000000b 1000+0}");
    static const char *const bad[] = {
        "0a(0a(000000000000000a))",
        "0a(0a(000000000000000a) 1a(0000000000000000))",
        "0a(0a(000000000000000a) 1a(0b))",
        "0a(0a(000000000000000a) 1a(00000000000000000b))",
        "0a(1a(000000000000000b))",
        "0a(0a(0000000000000000) 1a(000000000000000b))",
        "0a(0a(00000000000000000000000000000000) 1a(000000000000000b))",
        "0a(0a(0a) 1a(000000000000000b))",
        "0a(0a(0000000000000000000000000000000a0a) 1a(000000000000000b))",
        "0a()",
    };
    for (size_t i = 0; i < FM_COUNT(bad); i++) {
        char hex[300];
        (void)snprintf(hex, sizeof hex, "%s " HEX(""), bad[i]);
        pb_expect_refused(hex, 1,
                          i < 4 ? "resource{} scopes span{" IDS " 1000+0} resource{} scopes"
                                  " span{00000000000000000000000000000001}"
                                : "resource{} scopes span{" IDS " 1000+0} resource{} scopes"
                                  " span{}");
    }
}

static void test_endpoints(void **state)
{
    (void)state;
    EXPECT("42()", " 1000+0");
    EXPECT("42(12(00000000) 1a(00000000000000000000000000000000) 2000)", " 1000+0");
    EXPECT("4a(12(7f000001) 1a(20010db8000000000000000000000001) 2050)",
           " 1000+0 net.peer.ip=\"2001:db8::1\" net.peer.port=80");
    EXPECT("4a(1a(00000000000000000000ffff0a000009))", " 1000+0 net.peer.ip=\"10.0.0.9\"");
    EXPECT("4a(12(00000000000000000000ffff0a000009))", " 1000+0 net.peer.ip=\"10.0.0.9\"");
    EXPECT("4a(12(0a0000) 1a(0a000009))", " 1000+0 net.peer.ip=\"10.0.0.9\"");
    EXPECT("4a(12(ffffffff) 20ffff03)",
           " 1000+0 net.peer.ip=\"255.255.255.255\" net.peer.port=65535");
    EXPECT("4a(0a(64) 208080 04)", " 1000+0 peer.service=\"d\"");                /* 65536 */
    EXPECT("4a(20ffffffffffffffffff01)", " 1000+0");                             /* -1 */
    EXPECT("4a(0a(61)) 4a(2001)", " 1000+0 peer.service=\"a\" net.peer.port=1"); /* merged */
    EXPECT("4a(0805 1005 2201 61)", " 1000+0");
}

static void test_annotations_and_tags(void **state)
{
    (void)state;
    EXPECT("52(09 0200000000000000 12(61)) 52(12(62) 09 0300000000000000)",
           " 1000+0 event{2000 a} event{3000 b}");
    EXPECT("52() 52(09 0200000000000000) 52(12(62)) 52(09 0000000000000000 12(63))", " 1000+0");
    EXPECT("5a(0a(6b) 12(76)) 5a(12(77) 0a(6c)) 5a(0a(6d)) 5a(12(78)) 5a()",
           " 1000+0 k=\"v\" l=\"w\" m=\"\" =\"x\"");
    EXPECT("5a(0a(6b) 12(76)) 5a(0a(6b) 12(77))", " 1000+0 k=\"w\"");
    EXPECT("5a(0a(6b) 12(ff))", " 1000+0 k=\"\xff\""); /* invalid UTF-8 is kept */
}

static void test_malformed(void **state)
{
    (void)state;
    static const char *const inputs[] = {
        "0a",
        "0a05",
        "0a(0a)",
        "0a(00)",
        "00",
        "0a(8a)",
        "0a(42(0a05))",
        "0a(4a(20))",
        "0a(52(09 00))",
        "0a(5a(0a))",
        "0a(0a01)",
        "9b06",
        "0a(9b06)",
        "ffffffffffffffffffff01",
        "0affffffffffffffffff01",
    };
    for (size_t i = 0; i < FM_COUNT(inputs); i++)
        pb_expect_failure(inputs[i], NULL);
    pb_expect_failure(HEX("") "0a05", "not a zipkin.proto3.ListOfSpans: broken at byte 31");
}

/* ---- both encodings ---- */

#define SVC ENDPOINT("svc", "127.0.0.1", NULL, 8080)

static void test_differential(void **state)
{
    (void)state;
    sample_expect(
        SPANS({.trace_high = 0x5b8efff798038103,
               .trace_low = 0xd269b633813fc60c,
               .id = 0xeee19b7ec3c1b174,
               .parent_id = 0xeee19b7ec3c1b173,
               .name = "get /",
               .kind = "SERVER",
               .timestamp_us = 1700000000000000,
               .duration_us = 1500,
               .local = SVC,
               .remote = ENDPOINT("cli", NULL, "2001:db8:0:0:1::5", 51234),
               NOTES({1700000000000500, "e1", NULL}, {1700000000000600, "a|{\"x\":1}|2", NULL}),
               TAGS(TAG("http.method", "GET"), TAG("error", "boom"), TAG("host.name", "h"),
                    TAG("otel.scope.name", "lib"), TAG("w3c.tracestate", "a=1")),
               .is_shared = true}),
        false,
        "resource{ service.name=\"svc\" host.name=\"h\"} scopes scope{lib}"
        " span{5b8efff798038103d269b633813fc60c:eee19b7ec3c1b174 state=a=1 parent=eee19b7ec3c1b173"
        " get / kind=2 1700000000000000000+1500000 http.method=\"GET\" error=\"boom\""
        " net.host.ip=\"127.0.0.1\" net.host.port=8080 peer.service=\"cli\""
        " net.peer.ip=\"2001:db8::1:0:0:5\" net.peer.port=51234 zipkin.shared=true"
        " event{1700000000000500000 e1} event{1700000000000600000 a x=1 dropped=2} "
        "error=\"boom\"}");
    sample_expect(
        SPANS({.trace_low = 10, .id = 11, .kind = "CLIENT", .timestamp_us = 1, .local = SVC},
              {.trace_low = 10, .id = 11, .remote = SVC},
              {.trace_low = 10, .id = 11, .timestamp_us = 1, .local = SVC, TAGS(TAG("a", ""))}),
        false,
        "resource{ service.name=\"svc\"} scopes"
        " span{" IDS " kind=3 1000+0 net.host.ip=\"127.0.0.1\" net.host.port=8080}"
        " span{" IDS " 1000+0 a=\"\" net.host.ip=\"127.0.0.1\" net.host.port=8080}"
        " resource{} scopes span{" IDS " 0+0 peer.service=\"svc\" net.peer.ip=\"127.0.0.1\""
        " net.peer.port=8080 otel.zipkin.absentField.startTime=true}");
}

/* ---- hostile ---- */

static void test_cut_and_flipped(void **state)
{
    (void)state;
    struct fm_buf input = vector_bytes(VECTOR_LIST HEX("4a(1a(20010db8000000000000000000000001))"));
    sample_cut_and_flip(SAMPLE_PB, fm_buf_slice(&input));
    sample_fail_each(SAMPLE_PB, fm_buf_slice(&input));
    fm_buf_fini(&input);
}

/* X3: few bytes that become as much as they can, many times. */
static void test_memory(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    static const char *const units[] = {
        "0a()",
        HEX(""),
        HEX("5a(0a(61))"),
        HEX("42(0a(61))"),
        HEX("4a(1a(20010db8000000000000000000000001))"),
        HEX("52(09 0200000000000000 12(61))"),
    };
    static const char *const fields[] = {"5a()", "5a(0a(61))", "52(09 0200000000000000 12(61))",
                                         "52()", "4a(12(7f000001))"};
    for (size_t i = 0; i < FM_COUNT(units) + FM_COUNT(fields); i++) {
        bool is_unit = i < FM_COUNT(units);
        struct fm_buf one = vector_bytes(is_unit ? units[i] : fields[i - FM_COUNT(units)]);
        struct fm_buf head = vector_bytes(HEX_HEAD), input;
        fm_buf_init(&input, FM_MIB(4));
        size_t mark = is_unit ? 0 : pb_begin(&input, 1);
        if (!is_unit)
            fm_buf_put_slice(&input, fm_buf_slice(&head));
        for (int k = 0; k < COUNT; k++)
            fm_buf_put_slice(&input, fm_buf_slice(&one));
        if (!is_unit)
            pb_end(&input, mark);
        sample_expect_frugal(SAMPLE_PB, fm_buf_slice(&input));
        fm_buf_fini(&input);
        fm_buf_fini(&head);
        fm_buf_fini(&one);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vector),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_endpoints),
        cmocka_unit_test(test_annotations_and_tags),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_differential),
        cmocka_unit_test(test_cut_and_flipped),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
