/* SPDX-License-Identifier: Apache-2.0 */
#include "../../support/test.h"

#include "fermata/decode.h"
#include "fermata/pb.h"
#include "vectors.h"

/* check, and if need be rewrite; what comes out must check clean.  Returns the canonical bytes. */
static struct fm_buf canonical(struct fm_slice request, const struct decode_limits *limits,
                               struct decode_facts *facts)
{
    struct fm_buf target;
    uint8_t *copy = test_exact_copy(request);

    fm_buf_init(&target, FM_MIB(64));
    request.ptr = copy;
    decode_facts_init(facts);
    assert_ok(otlp_pb_check(request, limits, facts, NULL));
    assert_int_equal(facts->rewrite, facts->mended_count || facts->refused_count);
    if (facts->rewrite) {
        struct decode_facts again;
        assert_ok(otlp_pb_rewrite(request, limits, &target));
        decode_facts_init(&again);
        assert_ok(otlp_pb_check(fm_buf_slice(&target), limits, &again, NULL));
        assert_false(again.rewrite);
        assert_int_equal(again.span_count, facts->span_count);
        assert_true(again.start_min_ns == facts->start_min_ns);
        assert_true(again.end_max_ns == facts->end_max_ns);
        decode_facts_fini(&again);
    } else {
        fm_buf_put_slice(&target, request);
    }
    free(copy);
    return target;
}

/* hex of a request, hex of what is stored (NULL: the same bytes), and the counts. */
struct otlp_row {
    const char *hex;
    const char *stored;
    unsigned spans, refused, mended;
};

static void assert_row(const struct otlp_row *row, const struct decode_limits *limits)
{
    struct fm_buf request = vector_bytes(row->hex);
    struct fm_buf stored = vector_bytes(row->stored ? row->stored : row->hex);
    struct decode_facts facts;
    struct fm_buf got = canonical(fm_buf_slice(&request), limits, &facts);

    assert_int_equal(facts.span_count, row->spans);
    assert_int_equal(facts.refused_count, row->refused);
    assert_int_equal(facts.mended_count, row->mended);
    assert_int_equal(got.len, stored.len);
    if (got.len)
        assert_memory_equal(got.ptr, stored.ptr, got.len);
    decode_facts_fini(&facts);
    fm_buf_fini(&request);
    fm_buf_fini(&stored);
    fm_buf_fini(&got);
}

#define NO_SPAN_ID "0a10 000102030405060708090a0b0c0d0e0f"
#define ID         NO_SPAN_ID "1208 0102030405060708"

/* A request with one ResourceSpans, one ScopeSpans and one span. */
static struct fm_buf wrap_span(const char *span)
{
    char text[1000];
    (void)snprintf(text, sizeof text, "0a(12(12(%s)))", span);
    return vector_bytes(text);
}

/* span: hex of the span sent; stored: hex of the span stored, NULL: the same, "-": refused. */
static void assert_span(const char *span, const char *stored, unsigned mended,
                        const struct decode_limits *limits)
{
    struct fm_buf request = wrap_span(span);
    struct decode_facts facts;
    struct fm_buf got = canonical(fm_buf_slice(&request), limits, &facts), expected;

    if (stored && strcmp(stored, "-") == 0) {
        assert_int_equal(facts.refused_count, 1);
        assert_int_equal(got.len, 0);
    } else {
        expected = wrap_span(stored ? stored : span);
        assert_int_equal(facts.span_count, 1);
        assert_int_equal(got.len, expected.len);
        assert_memory_equal(got.ptr, expected.ptr, got.len);
        fm_buf_fini(&expected);
    }
    assert_int_equal(facts.mended_count, mended);
    decode_facts_fini(&facts);
    fm_buf_fini(&request);
    fm_buf_fini(&got);
}

static void test_whole_requests(void **state)
{
    (void)state;
    static const struct otlp_row rows[] = {
        {VECTOR_A1, NULL, 1, 0, 0},
        {VECTOR_A2, NULL, 1, 0, 0},
        {"", NULL, 0, 0, 0},
        {"0a00", NULL, 0, 0, 0},
        {"0a02 1200", NULL, 0, 0, 0},
        {"0a04 1202 1200", "", 0, 1, 0},
        {"0801", NULL, 0, 0, 0},
        {"9a06 0161", NULL, 0, 0, 0},
        {"9b06 0801 9c06", NULL, 0, 0, 0},
        {"0a02 0801", NULL, 0, 0, 0}, /* field 1 of ResourceSpans as a varint */
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++)
        assert_row(&rows[i], &decode_limits_default);
}

static void test_what_is_malformed(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "0a05",
        "0affffffffffffffffff01",
        "08",
        "00",
        "9b06",
        "ffffffffffffffffffff01",
        "08ffffffffffffffffff02",
        "0a01",
        "0a02120a",
        "0a04 1202 12 01",
        "0a03 120100",
        "0a06 1204 1202 0a01",
        "0a08 1206 1204 4a02 0a05",
        "0a08 1206 1204 39 000000",
        "0f",
        "0c",
        "0a0a 1208 1206 4a04 1202 1880",
        "0a09 1207 1205 4a03 1201 21",
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct fm_buf request = vector_bytes(rows[i]);
        struct decode_facts facts;
        struct fm_why why;
        decode_facts_init(&facts);
        assert_int_equal(
            otlp_pb_check(fm_buf_slice(&request), &decode_limits_default, &facts, &why),
            FM_EMALFORMED);
        decode_facts_fini(&facts);
        fm_buf_fini(&request);
    }
}

static void test_ids(void **state)
{
    (void)state;
    struct decode_limits limits = decode_limits_default;
    assert_span(ID, NULL, 0, &limits);
    assert_span("", "-", 0, &limits);
    assert_span(NO_SPAN_ID, "-", 0, &limits);
    assert_span(NO_SPAN_ID "1207 01020304050607", "-", 0, &limits);
    assert_span(NO_SPAN_ID "1208 0000000000000000", "-", 0, &limits);
    assert_span("0a10 00000000000000000000000000000000 1208 0102030405060708", "-", 0, &limits);
    assert_span("0a08 0102030405060708 1208 0102030405060708", "-", 0, &limits);
    assert_span("0801 1208 0102030405060708", "-", 0, &limits); /* wrong wire type */
    assert_span(ID "2208 0102030405060709", NULL, 0, &limits);
    assert_span(ID "2200", NULL, 0, &limits);
    assert_span(ID "2208 0000000000000000 3002", ID "3002", 1, &limits);
    assert_span(ID "2203 010203 3002", ID "3002", 1, &limits);
    /* refused spans take what is wrong inside of them along */
    assert_span(NO_SPAN_ID "2203 010203", "-", 0, &limits);
    /* tags in more bytes than they need */
    assert_span("8a0010 000102030405060708090a0b0c0d0e0f 920008 0102030405060708", NULL, 0,
                &limits);
}

static void test_links(void **state)
{
    (void)state;
    struct decode_limits limits = decode_limits_default;
    assert_span(ID "6a1c" ID, NULL, 0, &limits);
    assert_span(ID "6a00", ID "7001", 1, &limits);
    assert_span(ID "6a12" NO_SPAN_ID "6a1c" ID, ID "6a1c" ID "7001", 1, &limits);
    assert_span(ID "7005 6a00 6a00", ID "7007", 2, &limits);
    assert_span(ID "70ffffffff0f 6a00", ID "70ffffffff0f", 1, &limits);
}

static void test_attribute_forms(void **state)
{
    (void)state;
    struct decode_limits limits = decode_limits_default;
    static const char *const kept[] = {
        "4a()",
        "4a(0a016b)",
        "4a(0a016b 12())",
        "4a(0a016b 12(0a0176))",
        "4a(0a016b 12(1000))",
        "4a(0a016b 12(187f))",
        "4a(0a016b 12(188001))",
        "4a(0a016b 12(21000000000000f83f))",
        "4a(0a016b 12(18ffffffffffffffffff01))",
        "4a(0a016b 12(3a()))",
        "4a(0a016b 12(2a()))",
        "4a(0a016b 12(32()))",
        "4a(12(0a0176) 0a016b)", /* value before key */
        "4a(1801 0a016b 12())",  /* key_strindex */
        "4a(0a016b 12(4005))",   /* string_value_strindex */
        "4a(0a016b 12(2a(0a(0a0178) 0a() 0a(32()))))",
        "4a(0a016b 12(32(0a(0a016e 12(2a(0a(1807)))))))",
        "4a(0a016b 12(980601))",      /* unknown field in AnyValue */
        "4a(0a016b 12(0801 0a0176))", /* known number, other type */
        "4a8000",                     /* a length in more bytes than it needs */
        "5a(1a())",
        "5a(09 0100000000000000 1202 6576 1a(0a016b) 2001)",
        "6a(" ID "22(0a016b) 3503000000 2801 1a0161)",
        "7a(1201 62 1802)",
        "7a(1807)",
        "3063",
        "8501 ffffffff",
        "50ffffffff0f",
        "39ffffffffffffffff 41 0000000000000000",
    };
    for (size_t i = 0; i < FM_COUNT(kept); i++) {
        char text[300];
        (void)snprintf(text, sizeof text, "%s%s", ID, kept[i]);
        assert_span(text, NULL, 0, &limits);
    }
}

static void test_what_is_given_twice(void **state)
{
    (void)state;
    struct decode_limits limits = decode_limits_default;
    /* a oneof: the last counts; equal messages are merged */
    assert_span(ID "4a(0a016b 12(0a0176 1807))", ID "4a(0a016b 12(1807))", 1, &limits);
    assert_span(ID "4a(0a016b 12(2a(0a(1801)) 2a(0a(1802))))",
                ID "4a(0a016b 12(2a(0a(1801) 0a(1802))))", 1, &limits);
    assert_span(ID "4a(0a016b 12(2a(0a(1801)) 1000 2a(0a(1802))))",
                ID "4a(0a016b 12(2a(0a(1802))))", 1, &limits);
    assert_span(ID "4a(0a016b 12(32(0a(0a0161)) 980601 32(0a(0a0162))))",
                ID "4a(0a016b 12(980601 32(0a(0a0161) 0a(0a0162))))", 1, &limits);
    /* value twice: merged, so the later member counts */
    assert_span(ID "4a(0a016b 12(0a0176) 12(1807))", ID "4a(0a016b 12(1807))", 1, &limits);
    assert_span(ID "4a(0a016b 0a016c)", ID "4a(0a016c)", 1, &limits);
    /* deep inside */
    assert_span(ID "4a(0a016b 12(32(0a(0a016e 12(0a0176 1807)))))",
                ID "4a(0a016b 12(32(0a(0a016e 12(1807)))))", 1, &limits);
    assert_span(ID "5a(12016b 1201 6c)", ID "5a(1201 6c)", 1, &limits);
    assert_span(ID "7a() 7a()", ID "7a()", 1, &limits);
    assert_span(ID "7a(1801) 7a(120141)", ID "7a(1801 120141)", 1, &limits);
    assert_span(ID "7a(1801) 7a(1802)", ID "7a(1802)", 1, &limits);
    assert_span("0a00" ID, ID, 1, &limits);
    assert_span(ID "3001 3002", ID "3002", 1, &limits);
}

static void test_limits_on_attributes(void **state)
{
    (void)state;
    struct decode_limits limits = decode_limits_default;
    limits.attribute_bytes_max = 4;
    assert_span(ID "4a(0a0161 12(0a056162636465))", ID "4a(0a0161 12(0a0461626364))", 1, &limits);
    /* the cut falls into "e with acute", and into a run of continuation bytes */
    assert_span(ID "4a(0a0161 12(0a05616263c3a9))", ID "4a(0a0161 12(0a03616263))", 1, &limits);
    assert_span(ID "4a(0a0161 12(0a058080808080))", ID "4a(0a0161 12(0a0480808080))", 1, &limits);
    assert_span(ID "4a(0a056162636465)", ID "4a(0a0461626364)", 1, &limits);
    assert_span(ID "5a(1a(0a056162636465))", ID "5a(1a(0a0461626364))", 1, &limits);
    /* inside of values nothing is cut, and bytes are not text */
    assert_span(ID "4a(0a0161 12(2a(0a(0a056162636465))))", NULL, 0, &limits);
    assert_span(ID "4a(0a0161 12(3a056162636465))", NULL, 0, &limits);
    limits.attribute_count_max = 2;
    assert_span(ID "4a() 4a()", NULL, 0, &limits);
    assert_span(ID "4a() 4a() 4a() 5003", ID "4a() 4a() 5004", 1, &limits);
    assert_span(ID "4a() 4a() 4a() 4a()", ID "4a() 4a() 5002", 2, &limits);
    assert_span(ID "50ffffffff0f 4a() 4a() 4a()", ID "4a() 4a() 50ffffffff0f", 1, &limits);
    assert_span(ID "5a(1a() 1a() 1a() 1201 62)", ID "5a(1a() 1a() 120162 2001)", 1, &limits);
    assert_span(ID "6a(" ID "22() 22() 22())", ID "6a(" ID "22() 22() 2801)", 1, &limits);
}

/* A chain of nested arrays: depth values, the innermost with a bool in it. */
static struct fm_buf nested_span(size_t depth, bool empty_at_64)
{
    struct fm_buf value, outer;
    fm_buf_init(&value, FM_MIB(1));
    size_t levels = empty_at_64 ? FM_MIN(depth, 65) : depth;
    if (levels == depth)
        pb_put_u64(&value, 2, 1);
    for (size_t i = 1; i < levels; i++) {
        fm_buf_init(&outer, FM_MIB(1));
        size_t array = pb_begin(&outer, 5);
        pb_put_bytes(&outer, 1, fm_buf_slice(&value));
        pb_end(&outer, array);
        fm_buf_fini(&value);
        value = outer;
    }
    struct fm_buf span = vector_bytes(ID);
    span.bytes_max = FM_MIB(1);
    size_t pair = pb_begin(&span, 9);
    pb_put_bytes(&span, 2, fm_buf_slice(&value));
    pb_end(&span, pair);
    fm_buf_fini(&value);
    return span;
}

static void test_nesting(void **state)
{
    (void)state;
    static const size_t depths[] = {1, 63, 64, 65, 66, 10000};
    for (size_t i = 0; i < FM_COUNT(depths); i++) {
        struct fm_buf spans[2], requests[2], got;
        struct decode_facts facts;
        for (int j = 0; j < 2; j++) {
            spans[j] = nested_span(depths[i], j);
            fm_buf_init(&requests[j], FM_MIB(1));
            size_t resource_spans = pb_begin(&requests[j], 1);
            size_t scope_spans = pb_begin(&requests[j], 2);
            pb_put_bytes(&requests[j], 2, fm_buf_slice(&spans[j]));
            pb_end(&requests[j], scope_spans);
            pb_end(&requests[j], resource_spans);
        }
        got = canonical(fm_buf_slice(&requests[0]), &decode_limits_default, &facts);
        assert_int_equal(facts.mended_count, depths[i] > 64);
        if (depths[i] != 65)
            assert_true(fm_slice_equal(fm_buf_slice(&got), fm_buf_slice(&requests[1])));
        decode_facts_fini(&facts);
        fm_buf_fini(&got);
        for (int j = 0; j < 2; j++) {
            fm_buf_fini(&spans[j]);
            fm_buf_fini(&requests[j]);
        }
    }
}

/* Values given twice at each of 60 levels: what is held joined at a time has a limit. */
static void test_nested_merging_is_bounded(void **state)
{
    (void)state;
    struct fm_buf value, outer, text, got;
    struct decode_facts facts;

    fm_buf_init(&text, FM_MIB(1));
    fm_buf_put_zeros(&text, 10000);
    fm_buf_init(&value, FM_MIB(1));
    pb_put_bytes(&value, 1, fm_buf_slice(&text));
    for (size_t i = 0; i < 60; i++) {
        fm_buf_init(&outer, FM_MIB(1));
        size_t list = pb_begin(&outer, 6), pair = pb_begin(&outer, 1);
        pb_put_bytes(&outer, 2, fm_buf_slice(&value));
        pb_put_bytes(&outer, 2, FM_SLICE("\x78\x01")); /* an unknown field */
        pb_end(&outer, pair);
        pb_end(&outer, list);
        fm_buf_fini(&value);
        value = outer;
    }
    struct fm_buf request = vector_bytes("");
    size_t resource_spans = pb_begin(&request, 1), scope_spans = pb_begin(&request, 2);
    struct fm_buf span = vector_bytes(ID);
    size_t pair = pb_begin(&span, 9);
    pb_put_bytes(&span, 2, fm_buf_slice(&value));
    pb_end(&span, pair);
    pb_put_bytes(&request, 2, fm_buf_slice(&span));
    pb_end(&request, scope_spans);
    pb_end(&request, resource_spans);
    got = canonical(fm_buf_slice(&request), &decode_limits_default, &facts);
    assert_int_equal(facts.mended_count, 60);
    assert_true(got.len < 1000); /* the text is beyond the limit */
    decode_facts_fini(&facts);
    fm_buf_fini(&text);
    fm_buf_fini(&value);
    fm_buf_fini(&span);
    fm_buf_fini(&request);
    fm_buf_fini(&got);
}

static void test_envelopes(void **state)
{
    (void)state;
    static const struct otlp_row rows[] = {
        /* legacy field 1000 alone becomes field 2; beside field 2 it goes */
        {"0a(c23e(12(" ID ")))", "0a(12(12(" ID ")))", 1, 0, 1},
        {"0a(c23e(12(" ID ")) 12(12(" ID "3002)))", "0a(12(12(" ID "3002)))", 1, 0, 1},
        {"0a(c23e(ff) 12(12(" ID ")))", "0a(12(12(" ID ")))", 1, 0, 1},
        /* resource twice: merged and in front; so with scope; schema_url: the last */
        {"0a(0a(1001) 12(12(" ID ")) 0a(0a() 1002 1a0165))",
         "0a(0a(0a() 1a0165 1002) 12(12(" ID ")))", 1, 0, 1},
        {"0a(12(0a(0a0161) 12(" ID ") 0a(0a0162) 1a0175 1a0176))",
         "0a(12(0a(0a0162) 12(" ID ") 1a0176))", 1, 0, 1},
        /* bad spans go, with the envelopes that held nothing else; unknown fields stay */
        {"0a(12(12() 12(" ID ")) 12(12()) 12() 9a060161) 0a(12(12()))",
         "0a(12(12(" ID ")) 9a060161)", 1, 3, 0},
        {"0a() 0a(12()) 0a(0a(1001) 12(12(" ID "2200)))", NULL, 1, 0, 0},
        /* entity_refs and scope attributes */
        {"0a(0a(0a(0a016b) 1a(1201 61)) 12(0a(0a016c 1a(0a0161 12(1000)) 2002) 12(" ID ")) 1a0175)",
         NULL, 1, 0, 0},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++)
        assert_row(&rows[i], &decode_limits_default);
}

static void test_span_count_is_limited(void **state)
{
    (void)state;
    struct decode_limits limits = decode_limits_default;
    struct decode_facts facts;
    struct fm_buf request = vector_bytes("0a(12(12() 12() 12()))");
    struct fm_why why;

    decode_facts_init(&facts);
    limits.span_count_max = 3;
    assert_ok(otlp_pb_check(fm_buf_slice(&request), &limits, &facts, &why));
    assert_int_equal(facts.refused[DECODE_BAD_TRACE_ID], 3);
    limits.span_count_max = 2;
    assert_int_equal(otlp_pb_check(fm_buf_slice(&request), &limits, &facts, &why), FM_ELIMIT);
    assert_string_equal(why.text, "more than 2 spans in one request");
    decode_facts_fini(&facts);
    fm_buf_fini(&request);
}

static const char *const trace_ids[] = {
    "0a10 000102030405060708090a0b0c0d0e0f",
    "0a10 100102030405060708090a0b0c0d0e0f",
    "0a10 00000000000000000000000000000001",
};

/* Two times three traces, interleaved, and a refused span whose times must not count. */
static struct fm_buf six_spans(void)
{
    char text[2000];
    int len = snprintf(text, sizeof text, "0a(12(12(%s 390100000000000000)", trace_ids[0]);
    for (int i = 0; i < 6; i++)
        len += snprintf(text + len, sizeof text - (size_t)len,
                        "12(%s 12080000000000000001 39%02x00000000000000 41%02x00000000000000)",
                        trace_ids[i % 3], 0x20 + i, i == 2 ? 0x90 : 0x10);
    (void)snprintf(text + len, sizeof text - (size_t)len, "))");
    return vector_bytes(text);
}

static void test_facts(void **state)
{
    (void)state;
    struct fm_buf request = six_spans();
    struct decode_facts facts;

    decode_facts_init(&facts);
    for (int turn = 0; turn < 2; turn++) {
        assert_ok(otlp_pb_check(fm_buf_slice(&request), &decode_limits_default, &facts, NULL));
        assert_int_equal(facts.span_count, 6);
        assert_int_equal(facts.refused_count, 1);
        assert_int_equal(facts.refused[DECODE_BAD_SPAN_ID], 1);
        assert_int_equal(facts.start_min_ns, 0x20);
        assert_int_equal(facts.end_max_ns, 0x90);
        assert_int_equal(facts.trace_key_count, 3);
        for (unsigned i = 0; i < 3; i++) {
            struct fm_buf id = vector_bytes(trace_ids[i]);
            assert_true(facts.trace_keys[i] == trace_id_key(id.ptr + 2));
            fm_buf_fini(&id);
        }
    }
    decode_facts_fini(&facts);
    fm_buf_fini(&request);
}

static void test_many_traces(void **state)
{
    (void)state;
    struct fm_buf request;
    struct decode_facts facts;
    uint8_t id[16] = {1};

    fm_buf_init(&request, FM_MIB(1));
    size_t resource_spans = pb_begin(&request, 1), scope_spans = pb_begin(&request, 2);
    for (uint64_t i = 1; i <= 1000; i++) {
        size_t span = pb_begin(&request, 2);
        fm_store_be64(id + 8, i);
        pb_put_bytes(&request, 1, fm_slice(id, 16));
        pb_put_bytes(&request, 2, fm_slice(id + 8, 8));
        pb_end(&request, span);
    }
    pb_end(&request, scope_spans);
    pb_end(&request, resource_spans);
    for (uint64_t nth = 1;; nth++) {
        decode_facts_init(&facts);
        test_alloc_fail_at(nth);
        int rc = otlp_pb_check(fm_buf_slice(&request), &decode_limits_default, &facts, NULL);
        bool reached = test_alloc_failed();
        test_alloc_disarm();
        assert_int_equal(rc, reached ? FM_ENOMEM : FM_OK);
        if (!reached)
            assert_int_equal(facts.trace_key_count, 1000);
        decode_facts_fini(&facts);
        if (!reached)
            break;
    }
    fm_buf_fini(&request);
}

static void test_rewrite_without_memory(void **state)
{
    (void)state;
    struct fm_buf request = vector_bytes(
        "0a(0a(1001) 12(12(" ID "4a(0a016b 12(2a(0a(1801)) 2a(0a(1802))) 12(1000)) 7a() 7a(1801)))"
        "0a(1002))");
    for (uint64_t nth = 1;; nth++) {
        struct fm_buf target;
        fm_buf_init(&target, FM_MIB(1));
        test_alloc_fail_at(nth);
        int rc = otlp_pb_rewrite(fm_buf_slice(&request), &decode_limits_default, &target);
        bool reached = test_alloc_failed();
        test_alloc_disarm();
        assert_int_equal(rc, reached ? FM_ENOMEM : FM_OK);
        fm_buf_fini(&target);
        if (!reached)
            break;
    }
    fm_buf_fini(&request);
}

/* self: not NULL if nothing but the empty request may pass. */
static void check_body(void *self, struct fm_slice input)
{
    struct decode_facts facts;
    struct fm_buf target;

    fm_buf_init(&target, input.len);
    decode_facts_init(&facts);
    int rc = otlp_pb_check(input, &decode_limits_default, &facts, NULL);
    if (self)
        assert_int_equal(rc, input.len ? FM_EMALFORMED : FM_OK);
    if (rc == FM_OK && facts.rewrite)
        assert_ok(otlp_pb_rewrite(input, &decode_limits_default, &target));
    decode_facts_fini(&facts);
    fm_buf_fini(&target);
}

static void test_hostile_input(void **state)
{
    (void)state;
    static const char *const vectors[] = {VECTOR_A1, VECTOR_A2};
    int strict;
    for (size_t i = 0; i < FM_COUNT(vectors); i++) {
        struct fm_buf request = vector_bytes(vectors[i]);
        test_each_prefix(fm_buf_slice(&request), check_body, &strict);
        test_each_bit_flip(fm_buf_slice(&request), check_body, NULL);
        fm_buf_fini(&request);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_requests),
        cmocka_unit_test(test_what_is_malformed),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_links),
        cmocka_unit_test(test_attribute_forms),
        cmocka_unit_test(test_what_is_given_twice),
        cmocka_unit_test(test_limits_on_attributes),
        cmocka_unit_test(test_nesting),
        cmocka_unit_test(test_nested_merging_is_bounded),
        cmocka_unit_test(test_envelopes),
        cmocka_unit_test(test_span_count_is_limited),
        cmocka_unit_test(test_facts),
        cmocka_unit_test(test_many_traces),
        cmocka_unit_test(test_rewrite_without_memory),
        cmocka_unit_test(test_hostile_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
