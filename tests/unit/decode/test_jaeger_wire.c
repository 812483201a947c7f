/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams and messages as they come: known bytes, shapes that are legal but rare, hostile ones.
 */
#include "../../support/test.h"

#include "jaeger_sample.h"
#include "otlp_text.h"
#include "vectors.h"

#include "fermata/decode.h"
#include "fermata/jaeger.h"

#define SCRATCH_MAX FM_MIB(1)

/* Encoded by Apache Thrift 0.17 for Python and by protoc.  Process svc, hostname=h1; one span with
 * a reference to its parent, error=true, d=1.5, n=-3 and a log; in protobuf without d and n. */
#define VECTOR_COMPACT                                                                             \
    "82810009656d697442617463681c1c1803737663191c1808686f73746e616d651500180268310000191c"         \
    "16909cb0d080c181820216001603160018026f70191c150016909cb0d080c18182021600160a00150216"         \
    "8080f2818389850616b817193c18056572726f7215043100180164150227000000000000f83f0018016e"         \
    "1506460500191c16e887f28183898506191c18056576656e741500180265310000000000"

#define VECTOR_BINARY                                                                              \
    "8001000400000009656d69744261746368000000000c00010c00010b0001000000037376630f00020c00"         \
    "0000010b000100000008686f73746e616d65080002000000000b000300000002683100000f00020c0000"         \
    "00010a000101020304050607080a000200000000000000000a0003fffffffffffffffe0a000400000000"         \
    "000000000b0005000000026f700f00060c00000001080001000000000a000201020304050607080a0003"         \
    "00000000000000000a0004000000000000000500080007000000010a000800060a24181e40000a000900"         \
    "000000000005dc0f000a0c000000030b0001000000056572726f720800020000000202000501000b0001"         \
    "0000000164080002000000010400043ff8000000000000000b0001000000016e080002000000030a0006"         \
    "fffffffffffffffd000f000b0c000000010a000100060a24181e41f40f00020c000000010b0001000000"         \
    "056576656e74080002000000000b00030000000265310000000000"

#define VECTOR_BODY                                                                                \
    "0c00010b0001000000037376630f00020c000000010b000100000008686f73746e616d65080002000000"         \
    "000b000300000002683100000f00020c000000010a000101020304050607080a00020000000000000000"         \
    "0a0003fffffffffffffffe0a000400000000000000000b0005000000026f700f00060c00000001080001"         \
    "000000000a000201020304050607080a000300000000000000000a000400000000000000050008000700"         \
    "0000010a000800060a24181e40000a000900000000000005dc0f000a0c000000030b0001000000056572"         \
    "726f720800020000000202000501000b00010000000164080002000000010400043ff800000000000000"         \
    "0b0001000000016e080002000000030a0006fffffffffffffffd000f000b0c000000010a000100060a24"         \
    "181e41f40f00020c000000010b0001000000056576656e74080002000000000b00030000000265310000"         \
    "0000"

#define VECTOR_PB                                                                                  \
    "0a8f010a760a10000000000000000001020304050607081208fffffffffffffffe1a026f70221c0a1000"         \
    "00000000000000010203040506070812080000000000000005280132060880e2cfaa063a0410e0c65b42"         \
    "0b0a056572726f72100120014a190a0a0880e2cfaa0610a0c21e120b0a056576656e741a02653112150a"         \
    "03737663120e0a08686f73746e616d651a026831"

#define VECTOR_IDS "00000000000000000102030405060708:fffffffffffffffe parent=0000000000000005"
#define VECTOR_TEXT(attributes)                                                                    \
    "resource{ service.name=\"svc\" host.name=\"h1\"} scopes span{" VECTOR_IDS                     \
    " op 1700000000000000000+1500000" attributes " event{1700000000000500000 e1} error flags=1}"

enum kind { DATAGRAM, COMPACT_BODY, BINARY_BODY, REQUEST };

struct outcome {
    struct fm_arena scratch;
    struct fm_buf target;
    struct jaeger_client_stats stats;
    struct fm_why why;
};

static void outcome_init(struct outcome *outcome)
{
    *outcome = (struct outcome){.stats = {.sequence = 77}};
    fm_arena_init(&outcome->scratch, SCRATCH_MAX);
    fm_buf_init(&outcome->target, FM_MIB(1));
}

static void outcome_fini(struct outcome *outcome)
{
    fm_arena_fini(&outcome->scratch);
    fm_buf_fini(&outcome->target);
}

static int outcome_decode(struct outcome *outcome, enum kind kind, struct fm_slice input)
{
    if (kind == DATAGRAM)
        return jaeger_datagram_decode(input, &outcome->scratch, &outcome->target, &outcome->stats,
                                      &outcome->why);
    if (kind == REQUEST)
        return jaeger_pb_decode(input, &outcome->scratch, &outcome->target, &outcome->why);
    return jaeger_thrift_decode(input,
                                kind == COMPACT_BODY ? THRIFT_COMPACT : THRIFT_BINARY_PROTOCOL,
                                &outcome->scratch, &outcome->target, &outcome->why);
}

static void outcome_expect(const struct outcome *outcome, const char *expected)
{
    struct fm_buf text = otlp_text(fm_buf_slice(&outcome->target));
    assert_string_equal((const char *)text.ptr, expected);
    fm_buf_fini(&text);
}

/* Hex, decoded; expected is text, or NULL for a failure with rc, which must leave no trace. */
static void wire_expect(enum kind kind, const char *hex, int rc, const char *expected)
{
    struct outcome outcome;
    struct fm_buf input = vector_bytes(hex);
    uint8_t *exact = test_exact_copy(fm_buf_slice(&input));
    outcome_init(&outcome);
    fm_buf_puts(&outcome.target, "kept");
    assert_int_equal(outcome_decode(&outcome, kind, fm_slice(exact, input.len)), rc);
    assert_false(outcome.target.failed);
    assert_memory_equal(outcome.target.ptr, "kept", 4);
    if (rc < 0) {
        assert_int_equal(outcome.target.len, 4);
        assert_true(outcome.why.text[0] && outcome.stats.sequence == 77);
    } else {
        fm_buf_consume(&outcome.target, 4);
        outcome_expect(&outcome, expected);
    }
    outcome_fini(&outcome);
    free(exact);
    fm_buf_fini(&input);
}

/* ---- known bytes ---- */

static void test_vectors(void **state)
{
    (void)state;
    wire_expect(DATAGRAM, VECTOR_COMPACT, FM_OK, VECTOR_TEXT(" d=1.5f n=-3")); /* J1, J3 */
    wire_expect(DATAGRAM, VECTOR_BINARY, FM_OK, VECTOR_TEXT(" d=1.5f n=-3"));  /* J2, J3 */
    wire_expect(BINARY_BODY, VECTOR_BODY, FM_OK, VECTOR_TEXT(" d=1.5f n=-3"));
    wire_expect(REQUEST, VECTOR_PB, FM_OK, VECTOR_TEXT("")); /* J18 */
}

static void test_heads(void **state)
{
    (void)state;
    /* J4: a call is as good as a oneway one; J5: any sequence; old heads without a version */
#define BODY_COMPACT "1c 1c 18 01 73 00 19 1c 16 14 26 16 00 00 00" /* s; low 10, span 11 */
#define BODY_TEXT                                                                                  \
    "resource{ service.name=\"s\"} scopes"                                                         \
    " span{0000000000000000000000000000000a:000000000000000b 0+0}"
#define BODY_BINARY                                                                                \
    "0c0001 0c0001 0b0001 00000001 73 00 0f0002 0c 00000001"                                       \
    " 0a0001 000000000000000a 0a0003 000000000000000b 00 00 00"
    wire_expect(DATAGRAM, "8221 00 09 656d69744261746368" BODY_COMPACT, FM_OK, BODY_TEXT);
    wire_expect(DATAGRAM, "8281 ffffffff0f 09 656d69744261746368" BODY_COMPACT, FM_OK, BODY_TEXT);
    wire_expect(DATAGRAM, "80010001 00000009 656d69744261746368 12345678" BODY_BINARY, FM_OK,
                BODY_TEXT);
    wire_expect(DATAGRAM, "00000009 656d69744261746368 04 12345678" BODY_BINARY, FM_OK, BODY_TEXT);
    /* a reply, a version that nobody has, another method (J6), nothing at all */
    wire_expect(DATAGRAM, "8241 00 09 656d69744261746368" BODY_COMPACT, FM_EMALFORMED, NULL);
    wire_expect(DATAGRAM, "8222 00 09 656d69744261746368" BODY_COMPACT, FM_EMALFORMED, NULL);
    wire_expect(DATAGRAM, "80020001 00000009 656d69744261746368 00000000" BODY_BINARY,
                FM_EMALFORMED, NULL);
    wire_expect(DATAGRAM, "80010002 00000009 656d69744261746368 00000000" BODY_BINARY,
                FM_EMALFORMED, NULL);
    wire_expect(DATAGRAM, "8281 00 09 656d69744261746369" BODY_COMPACT, FM_EUNSUPPORTED, NULL);
    wire_expect(DATAGRAM, "", FM_EMALFORMED, NULL);
    wire_expect(DATAGRAM, "8281 00 09 656d69744261746368 00", FM_EMALFORMED, NULL);
    wire_expect(DATAGRAM, "8281 00 09 656d69744261746368 15 02 00", FM_EMALFORMED, NULL);
}

/* J5: spans of Zipkin's version 1 are zipkin.c's to translate. */
static void test_zipkin_call(void **state)
{
    (void)state;
    struct outcome outcome;
    struct decode_facts facts;
    struct fm_buf input = test_hex("8281 00 0f 656d69745a69706b696e4261746368"
                                   "19 1c 16 02 28 03 676574 16 04 00 00");
    decode_facts_init(&facts);
    outcome_init(&outcome);
    assert_ok(outcome_decode(&outcome, DATAGRAM, fm_buf_slice(&input)));
    assert_false(outcome.stats.is_present);
    assert_int_equal(outcome.stats.sequence, -1);
    assert_ok(otlp_pb_check(fm_buf_slice(&outcome.target), &decode_limits_default, &facts, NULL));
    assert_int_equal(facts.span_count, 1);
    decode_facts_fini(&facts);
    outcome_fini(&outcome);
    fm_buf_fini(&input);
}

/* ---- legal but rare ---- */

static void test_rare_thrift(void **state)
{
    (void)state;
    /* the process behind the spans; unknown fields and wrong types between them */
    wire_expect(COMPACT_BODY, "29 1c 16 14 26 16 00 0c 02 18 01 73 00 00", FM_OK, BODY_TEXT);
    wire_expect(COMPACT_BODY, "1c 18 01 73 00 19 1c 16 14 26 16 88 01 78 00 6b 01 85 01 61 02 00",
                FM_OK, BODY_TEXT);
    wire_expect(COMPACT_BODY, "1c 15 02 00 19 1c 16 14 26 16 00 00", FM_OK,
                "resource{} scopes span{0000000000000000000000000000000a:000000000000000b 0+0}");
    /* field 2 as something else before the process, as spans behind it */
    wire_expect(COMPACT_BODY, "25 00 0c 02 18 01 73 00 19 1c 16 14 26 16 00 00", FM_OK, BODY_TEXT);
    /* a list that is not one of structs */
    wire_expect(COMPACT_BODY, "1c 18 01 73 00 19 25 02 04 00", FM_OK, "");
    wire_expect(COMPACT_BODY, "1c 18 01 73 00 00", FM_OK, "");
    /* bytes behind it are nobody's business */
    wire_expect(COMPACT_BODY, "1c 18 01 73 00 00 ff", FM_OK, "");
    /* without a process anything could be a batch */
    wire_expect(COMPACT_BODY, "00", FM_EMALFORMED, NULL);
    wire_expect(COMPACT_BODY, "29 1c 16 14 26 16 00 00", FM_EMALFORMED, NULL);
    wire_expect(BINARY_BODY, "00", FM_EMALFORMED, NULL);
    wire_expect(BINARY_BODY, "", FM_EMALFORMED, NULL);
    /* tags in an unusual order, in full and with wrong types */
#define TAGGED(tag) "1c 18 01 73 00 19 1c 16 14 26 16 79 1c" tag "00 00 00"
#define TAGGED_TEXT(text)                                                                          \
    "resource{ service.name=\"s\"} scopes"                                                         \
    " span{0000000000000000000000000000000a:000000000000000b 0+0" text "}"
    wire_expect(COMPACT_BODY, TAGGED("38 01 76 05 04 00 08 02 01 6b"), FM_OK,
                TAGGED_TEXT(" k=\"v\""));
    wire_expect(COMPACT_BODY, TAGGED("18 01 6b 15 06 41 18 01 78"), FM_OK,
                TAGGED_TEXT(" k=0")); /* a bool where the long belongs */
    wire_expect(COMPACT_BODY, TAGGED("18 01 6b"), FM_OK, TAGGED_TEXT(" k=\"\""));
    wire_expect(COMPACT_BODY, TAGGED(""), FM_OK, TAGGED_TEXT("=\"\""));
    wire_expect(COMPACT_BODY, TAGGED("18 01 6b 15 04"), FM_OK, TAGGED_TEXT(" k=false"));
    wire_expect(COMPACT_BODY, TAGGED("18 01 6b 15 02"), FM_OK, TAGGED_TEXT(" k=0f"));
    wire_expect(COMPACT_BODY, TAGGED("18 01 6b 15 08"), FM_OK, TAGGED_TEXT(" k=0x"));
    wire_expect(COMPACT_BODY, TAGGED("18 01 6b 15 06 46 ffffffffffffffffff01"), FM_OK,
                TAGGED_TEXT(" k=-9223372036854775808"));
}

static void test_rare_pb(void **state)
{
    (void)state;
#define PB_IDS          "0a(0000000000000000000000000000000a) 12(000000000000000b)"
#define PB_SPAN(fields) "0a(0a(" PB_IDS fields "))"
#define PB_TEXT(text)                                                                              \
    "resource{} scopes span{0000000000000000000000000000000a:000000000000000b" text "}"
    wire_expect(REQUEST, "", FM_OK, "");
    wire_expect(REQUEST, "0a(12(0a(73)))", FM_OK, "");
    wire_expect(REQUEST, PB_SPAN(""), FM_OK, PB_TEXT(" 0+0"));
    /* J20: 8 bytes; J21: another length is refused later on */
    wire_expect(REQUEST, "0a(0a(0a(000000000000000a) 12(000000000000000b)))", FM_OK,
                PB_TEXT(" 0+0"));
    wire_expect(REQUEST, "0a(0a(0a(000000000a) 12(00000b)))", FM_OK,
                "resource{} scopes span{000000000a:00000b 0+0}");
    wire_expect(REQUEST, "0a(0a(18 01 28 01))", FM_OK, "resource{} scopes span{: 0+0 flags=1}");
    wire_expect(REQUEST, "0a(0a() 0a(0a() 12()))", FM_OK, ""); /* blank */
    /* times: seconds and nanoseconds of either sign */
#define MINUS_ONE "ffffffffffffffffff01"
    wire_expect(REQUEST, PB_SPAN("32(0801 1003)"), FM_OK, PB_TEXT(" 1000000003+0"));
    wire_expect(REQUEST, PB_SPAN("32(0802 10" MINUS_ONE ")"), FM_OK, PB_TEXT(" 1999999999+0"));
    wire_expect(REQUEST, PB_SPAN("3a(0801) 3a(10" MINUS_ONE ")"), FM_OK,
                PB_TEXT(" 0+999999999")); /* merged */
    wire_expect(REQUEST, PB_SPAN("3a(08" MINUS_ONE "1005)"), FM_OK, PB_TEXT(" 0+0"));
    wire_expect(REQUEST, PB_SPAN("3a(08" MINUS_ONE "10 8094ebdc03)"), FM_OK, PB_TEXT(" 0+0"));
    wire_expect(REQUEST, PB_SPAN("3a(08" MINUS_ONE "10 8194ebdc03)"), FM_OK, PB_TEXT(" 0+1"));
    wire_expect(REQUEST, PB_SPAN("32(08 ffffffffffffffff7f)"), FM_OK,
                PB_TEXT(" 18446744073709551615+0"));
    /* unknown fields and known ones of another wire type */
    wire_expect(REQUEST, "0801 9a06(61) 9b06 0801 9c06" PB_SPAN("2a(61) 4001 72(61) 52()"), FM_OK,
                PB_TEXT(" 0+0"));
    /* a process and a batch given twice are merged; so is a batch without a process */
    wire_expect(REQUEST, "0a(12(0a(73))) 0a(12(12(0a(61) 1002 2803)) 0a(" PB_IDS "))", FM_OK,
                "resource{ service.name=\"s\" a=3} scopes"
                " span{0000000000000000000000000000000a:000000000000000b 0+0}");
    wire_expect(REQUEST, PB_SPAN("52(0a(73)) 52(12(0a(61) 1002 2803))"), FM_OK,
                "resource{ service.name=\"s\" a=3} scopes"
                " span{0000000000000000000000000000000a:000000000000000b 0+0}");
    /* values are chosen by type, whatever else there is; absent ones are zero */
    wire_expect(REQUEST, PB_SPAN("42(0a(6b) 1001 1a(76) 2805 2001)"), FM_OK,
                PB_TEXT(" 0+0 k=true"));
    wire_expect(REQUEST, PB_SPAN("42(0a(6b) 2805)"), FM_OK, PB_TEXT(" 0+0 k=\"\""));
    wire_expect(REQUEST, PB_SPAN("42(0a(6b) 1003)"), FM_OK, PB_TEXT(" 0+0 k=0f"));
    wire_expect(REQUEST, PB_SPAN("42(0a(6b) 1004)"), FM_OK, PB_TEXT(" 0+0 k=0x"));
    wire_expect(REQUEST, PB_SPAN("42(0a(6b) 10" MINUS_ONE ")"), FM_OK,
                PB_TEXT(" 0+0 k=\"<Unknown Jaeger TagType \"-1\">\""));
    wire_expect(REQUEST, PB_SPAN("42(8a00(6b) 4801 6a(61) 9b069c06 0801 9000 02 2807)"), FM_OK,
                PB_TEXT(" 0+0 k=7")); /* long heads, unknown fields, a wrong wire type */
    wire_expect(REQUEST, PB_SPAN("42(0a(6b) 1003 31 000000000000f83f)"), FM_OK,
                PB_TEXT(" 0+0 k=1.5f"));
    /* broken inside, at each level */
    wire_expect(REQUEST, "0a", FM_EMALFORMED, NULL);
    wire_expect(REQUEST, "0a(0a)", FM_EMALFORMED, NULL);
    wire_expect(REQUEST, "0a(12(0a05))", FM_OK, ""); /* nobody looks at it */
    wire_expect(REQUEST, "0a(12(0a05) 0a(" PB_IDS "))", FM_EMALFORMED, NULL);
    static const char *const fields[] = {
        "42(00)", "42(8a)", "42(10)", "42(31 00)",  "42(0a05)", "22(0a)",    "32(08)",
        "3a(08)", "42(0a)", "4a(0a)", "4a(12(0a))", "52(0a)",   "52(12(0a))"};
    for (size_t i = 0; i < FM_COUNT(fields); i++) {
        char hex[200];
        (void)snprintf(hex, sizeof hex, "0a(0a(" PB_IDS "%s))", fields[i]);
        wire_expect(REQUEST, hex, FM_EMALFORMED, NULL);
    }
}

/* What a client lost comes with its batches. */
static void test_stats(void **state)
{
    (void)state;
    static const char *const rows[] = {
        /* sequence, queue, too large, failed; then the process */
        "8281 00 09 656d69744261746368 1c 1c 18 01 73 00 19 0c 16 0e 1c 16 02 16 04 16 06 00 00 00",
        "8281 00 09 656d69744261746368 1c 1c 18 01 73 00 19 0c 16 0e 1c 16 01 16 01 16 01 00 00 00",
        "8281 00 09 656d69744261746368 1c 1c 18 01 73 19 1c 18 02 6970 15 00 18 01 31 00 00 00 00",
        "8281 00 09 656d69744261746368 1c 1c 18 01 74 00 00 00",
        "8281 00 09 656d69744261746368 1c 1c 18 01 73 19 1c"
        " 18 0b 636c69656e742d75756964 15 00 18 01 75 00 00 00 00",
        "8281 00 09 656d69744261746368 1c 1c 18 01 74 19 1c"
        " 18 0b 636c69656e742d75756964 15 00 18 01 75 00 00 00 00",
        "8281 00 09 656d69744261746368 1c 1c 18 01 73 19 1c 18 02 6970 15 06 46 02 00 00 00 00",
    };
    struct jaeger_client_stats stats[FM_COUNT(rows)];
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct outcome outcome;
        struct fm_buf input = test_hex(rows[i]);
        outcome_init(&outcome);
        assert_ok(outcome_decode(&outcome, DATAGRAM, fm_buf_slice(&input)));
        stats[i] = outcome.stats;
        assert_int_equal(outcome.target.len, 0);
        outcome_fini(&outcome);
        fm_buf_fini(&input);
    }
    assert_true(stats[0].is_present && stats[1].is_present && !stats[2].is_present);
    assert_int_equal(stats[0].sequence, 7);
    assert_int_equal(stats[0].queue_dropped, 1);
    assert_int_equal(stats[0].too_large_dropped, 2);
    assert_int_equal(stats[0].failed, 3);
    assert_int_equal(stats[1].queue_dropped, 0); /* negative */
    assert_int_equal(stats[2].sequence, -1);
    assert_true(stats[0].client_key == stats[1].client_key);
    assert_true(stats[4].client_key == stats[5].client_key); /* the uuid decides */
    for (size_t i = 1; i < 4; i++)
        for (size_t k = i + 1; k < FM_COUNT(rows); k++)
            assert_true(k == 5 || stats[i].client_key != stats[k].client_key);
}

/* J9: as much as a datagram can carry. */
static void test_full_datagram(void **state)
{
    (void)state;
    enum { COUNT = 315 };
    static char text[180];
    static struct sample_span spans[COUNT];
    static struct sample_tag tag = TAG_TEXT("k", text);
    struct sample_batch batch = {.service = "s", .spans = {spans, COUNT}};
    struct outcome outcome;
    struct decode_facts facts;
    struct fm_buf input = test_hex("8281 00 09 656d69744261746368 1c");
    memset(text, 'x', sizeof text - 1);
    for (uint64_t i = 0; i < COUNT; i++)
        spans[i] = (struct sample_span){.low = i / 7 + 1, .span_id = i + 1, .tags = {&tag, 1}};
    sample_thrift(&input, THRIFT_COMPACT, &batch);
    fm_buf_put_u8(&input, 0);
    assert_in_range(input.len, 65000, 65507);
    outcome_init(&outcome);
    decode_facts_init(&facts);
    assert_ok(outcome_decode(&outcome, DATAGRAM, fm_buf_slice(&input)));
    assert_ok(otlp_pb_check(fm_buf_slice(&outcome.target), &decode_limits_default, &facts, NULL));
    assert_int_equal(facts.span_count, COUNT);
    assert_int_equal(facts.refused_count + facts.mended_count, 0);
    decode_facts_fini(&facts);
    outcome_fini(&outcome);
    fm_buf_fini(&input);
}

/* ---- hostile ---- */

/* J8: counts are held against the bytes that are there, before anything is allocated. */
static void test_hostile_counts(void **state)
{
    (void)state;
    wire_expect(DATAGRAM, "8281 00 09 656d69744261746368 1c 1c 18 01 73 00 19 fc ffffffff07",
                FM_EMALFORMED, NULL);
    wire_expect(COMPACT_BODY, "1c 18 01 73 19 fc ffffffff0f 00 00 00", FM_EMALFORMED, NULL);
    wire_expect(COMPACT_BODY, "1c 18 01 73 00 19 1c 16 02 86 fc ffffffff07", FM_EMALFORMED, NULL);
    wire_expect(COMPACT_BODY, "1c 18 01 73 00 19 1c 16 02 b9 fc ffffffff07", FM_EMALFORMED, NULL);
    wire_expect(COMPACT_BODY, "1c 18 ffffffff07 00 00", FM_EMALFORMED, NULL);
    wire_expect(BINARY_BODY, "0c0001 0b0001 00000001 73 00 0f0002 0c 7fffffff 00 00 00",
                FM_EMALFORMED, NULL);
    wire_expect(BINARY_BODY, "0c0001 0b0001 00000001 73 00 0f0002 0c ffffffff 00 00 00",
                FM_EMALFORMED, NULL);
    wire_expect(BINARY_BODY, "0c0001 0b0001 7fffffff 73 00 00", FM_EMALFORMED, NULL);
    wire_expect(BINARY_BODY, "0c0001 0b0001 ffffffff 73 00 00", FM_EMALFORMED, NULL);
}

/* X3: 1 byte that becomes as much as it can, many times. */
static void test_memory(void **state)
{
    (void)state;
    enum { COUNT = 60000 };
    static const char *const heads[] = {
        "1c 18 01 73 19 fc e0d403",                      /* process tags */
        "1c 18 01 73 00 19 fc e0d403",                   /* spans */
        "1c 18 01 73 00 19 1c 16 02 a9 fc e0d403",       /* tags */
        "1c 18 01 73 00 19 1c 16 02 59 fc e0d403",       /* references */
        "1c 18 01 73 00 19 1c 16 02 b9 fc e0d403",       /* logs */
        "1c 18 01 73 00 19 1c 16 02 b9 1c 29 fc e0d403", /* tags of one log */
    };
    for (size_t i = 0; i < FM_COUNT(heads); i++) {
        struct outcome outcome;
        struct fm_buf input = test_hex(heads[i]);
        fm_buf_put_zeros(&input, COUNT + 10);
        outcome_init(&outcome);
        outcome.scratch.bytes_max = outcome.target.bytes_max = 40 * input.len;
        assert_ok(outcome_decode(&outcome, COMPACT_BODY, fm_buf_slice(&input)));
        assert_true(outcome.scratch.used_bytes + outcome.target.len <= 45 * input.len);
        outcome_fini(&outcome);
        fm_buf_fini(&input);
    }
}

/* Memory that ends is FM_ELIMIT, and the next batch goes well. */
static void test_limits(void **state)
{
    (void)state;
    struct outcome outcome;
    struct fm_buf input = test_hex(VECTOR_BODY);
    outcome_init(&outcome);
    for (size_t limit = 0; limit < 150; limit += 10) {
        outcome.target.bytes_max = limit;
        assert_int_equal(outcome_decode(&outcome, BINARY_BODY, fm_buf_slice(&input)), FM_ELIMIT);
        assert_int_equal(outcome.target.len, 0);
        assert_false(outcome.target.failed);
    }
    outcome.target.bytes_max = FM_MIB(1);
    fm_arena_fini(&outcome.scratch);
    fm_arena_init(&outcome.scratch, 100);
    assert_int_equal(outcome_decode(&outcome, BINARY_BODY, fm_buf_slice(&input)), FM_ELIMIT);
    outcome.scratch.bytes_max = SCRATCH_MAX;
    assert_ok(outcome_decode(&outcome, BINARY_BODY, fm_buf_slice(&input)));
    outcome_expect(&outcome, VECTOR_TEXT(" d=1.5f n=-3"));
    static const uint8_t huge[1];
    assert_int_equal(outcome_decode(&outcome, BINARY_BODY, fm_slice(huge, FM_MIB(500))), FM_ELIMIT);
    assert_int_equal(outcome_decode(&outcome, REQUEST, fm_slice(huge, FM_MIB(500))), FM_ELIMIT);
    outcome_fini(&outcome);
    fm_buf_fini(&input);
}

static const struct {
    enum kind kind;
    const char *hex;
} wire_samples[] = {
    {DATAGRAM, VECTOR_COMPACT},
    {DATAGRAM, VECTOR_BINARY},
    {BINARY_BODY, VECTOR_BODY},
    {REQUEST, VECTOR_PB},
    {REQUEST, "0a(0a(" PB_IDS "42(0a(6f74656c2e73636f70652e6e616d65)1a(78)))"
              "0a(" PB_IDS ")0a(" PB_IDS "52(0a(74)))12(0a(73)))"},
};

static void test_no_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < FM_COUNT(wire_samples); i++) {
        struct fm_buf input = vector_bytes(wire_samples[i].hex);
        bool is_done = false;
        for (uint64_t nth = 1; !is_done; nth++) {
            struct outcome outcome;
            outcome_init(&outcome);
            test_alloc_fail_at(nth);
            int rc = outcome_decode(&outcome, wire_samples[i].kind, fm_buf_slice(&input));
            is_done = !test_alloc_failed();
            test_alloc_disarm();
            assert_int_equal(rc, is_done ? FM_OK : FM_ENOMEM);
            assert_int_equal(outcome.target.len != 0, is_done);
            outcome_fini(&outcome);
        }
        fm_buf_fini(&input);
    }
}

struct hostile {
    enum kind kind;
    struct outcome outcome;
    struct decode_facts facts;
};

/* Whatever comes out of it is OTLP; what fails leaves no trace. */
static int hostile_decode(struct hostile *hostile, struct fm_slice input)
{
    fm_buf_reset(&hostile->outcome.target);
    int rc = outcome_decode(&hostile->outcome, hostile->kind, input);
    if (rc == FM_OK)
        assert_ok(otlp_pb_check(fm_buf_slice(&hostile->outcome.target), &decode_limits_default,
                                &hostile->facts, NULL));
    else
        assert_true(rc < 0 && hostile->outcome.target.len == 0);
    return rc;
}

/* J7: Thrift says where it ends; in protobuf a prefix can be whole. */
static void hostile_prefix(void *self, struct fm_slice input)
{
    struct hostile *hostile = self;
    int rc = hostile_decode(hostile, input);
    if (hostile->kind == DATAGRAM)
        assert_int_equal(rc, FM_EMALFORMED);
}

static void hostile_flip(void *self, struct fm_slice input)
{
    (void)hostile_decode(self, input);
}

static void test_cut_and_flipped(void **state)
{
    (void)state;
    for (size_t i = 0; i < FM_COUNT(wire_samples); i++) {
        struct hostile hostile = {.kind = wire_samples[i].kind};
        struct fm_buf input = vector_bytes(wire_samples[i].hex);
        outcome_init(&hostile.outcome);
        decode_facts_init(&hostile.facts);
        /* the last byte of a datagram ends the arguments and is not needed */
        test_each_prefix(fm_slice(input.ptr, input.len - (hostile.kind == DATAGRAM)),
                         hostile_prefix, &hostile);
        test_each_bit_flip(fm_buf_slice(&input), hostile_flip, &hostile);
        decode_facts_fini(&hostile.facts);
        outcome_fini(&hostile.outcome);
        fm_buf_fini(&input);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),       cmocka_unit_test(test_heads),
        cmocka_unit_test(test_zipkin_call),   cmocka_unit_test(test_rare_thrift),
        cmocka_unit_test(test_rare_pb),       cmocka_unit_test(test_stats),
        cmocka_unit_test(test_full_datagram), cmocka_unit_test(test_hostile_counts),
        cmocka_unit_test(test_memory),        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_no_memory),     cmocka_unit_test(test_cut_and_flipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
