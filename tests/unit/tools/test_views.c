/* SPDX-License-Identifier: Apache-2.0 */
/* What the verbs show of a trace: OTLP/JSON and the waterfall; and what emit counts. */
#include "../../support/test.h"

#include <unistd.h>

#include "../../../src/tools/emit.h"
#include "../../../src/tools/otlp_json.h"
#include "../../../src/tools/waterfall.h"
#include "fermata/decode.h"
#include "fermata/pb.h"

struct made_span {
    const char *id, *parent, *name; /* ids: 16 hex digits */
    uint64_t start_ms, end_ms;
    unsigned status;
};

static const char trace_hex[] = "0af7651916cd43dd8448eb211c80319c";

static void put_hex(struct fm_buf *otlp, uint32_t number, const char *hex)
{
    struct fm_buf bytes = test_hex(hex);
    pb_put_bytes(otlp, number, fm_buf_slice(&bytes));
    fm_buf_fini(&bytes);
}

static void put_span(struct fm_buf *otlp, const struct made_span *span)
{
    size_t mark = pb_begin(otlp, 2);
    put_hex(otlp, 1, trace_hex);
    put_hex(otlp, 2, span->id);
    if (span->parent)
        put_hex(otlp, 4, span->parent);
    pb_put_text(otlp, 5, span->name);
    pb_put_u64(otlp, 6, 2);
    pb_put_fixed64(otlp, 7, UINT64_C(1700000000000000000) + span->start_ms * 1000000);
    pb_put_fixed64(otlp, 8, UINT64_C(1700000000000000000) + span->end_ms * 1000000);
    if (span->status) {
        size_t status = pb_begin(otlp, 15);
        pb_put_u64(otlp, 3, span->status);
        pb_end(otlp, status);
    }
    pb_end(otlp, mark);
}

static void put_attribute(struct fm_buf *otlp, const char *key, const char *value)
{
    size_t attribute = pb_begin(otlp, 1);
    pb_put_text(otlp, 1, key);
    size_t any = pb_begin(otlp, 2);
    pb_put_text(otlp, 1, value);
    pb_end(otlp, any);
    pb_end(otlp, attribute);
}

static struct fm_buf make_otlp(const struct made_span *spans, size_t count)
{
    struct fm_buf otlp;
    fm_buf_init(&otlp, FM_MIB(1));
    size_t resource_spans = pb_begin(&otlp, 1);
    size_t resource = pb_begin(&otlp, 1);
    put_attribute(&otlp, "service.name", "shop");
    pb_end(&otlp, resource);
    size_t scope_spans = pb_begin(&otlp, 2);
    for (size_t i = 0; i < count; i++)
        put_span(&otlp, &spans[i]);
    pb_end(&otlp, scope_spans);
    pb_end(&otlp, resource_spans);
    return otlp;
}

static const struct made_span one_span[] = {{"0000000000000001", NULL, "GET", 0, 10, 2}};

static void test_json_of_a_span(void **state)
{
    (void)state;
    struct fm_buf otlp = make_otlp(one_span, 1), json;
    fm_buf_init(&json, FM_MIB(1));
    assert_ok(otlp_json_put(fm_buf_slice(&otlp), &json));
    fm_buf_put_u8(&json, 0);
    assert_string_equal(
        (char *)json.ptr,
        "{\"resourceSpans\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":"
        "{\"stringValue\":\"shop\"}}]},\"scopeSpans\":[{\"spans\":[{\"traceId\":"
        "\"0af7651916cd43dd8448eb211c80319c\",\"spanId\":\"0000000000000001\",\"name\":\"GET\","
        "\"kind\":2,\"startTimeUnixNano\":\"1700000000000000000\",\"endTimeUnixNano\":"
        "\"1700000000010000000\",\"status\":{\"code\":2}}]}]}]}");
    fm_buf_fini(&otlp);
    fm_buf_fini(&json);
}

/* Every kind of value comes back the same through the daemon's own reader of OTLP/JSON. */
static void test_json_round_trip(void **state)
{
    (void)state;
    /* request > resource spans > resource > attributes with one value of each kind */
    struct fm_buf otlp, json, back, json_again;
    fm_buf_init(&otlp, FM_MIB(1));
    fm_buf_init(&json, FM_MIB(1));
    fm_buf_init(&back, FM_MIB(1));
    fm_buf_init(&json_again, FM_MIB(1));
    size_t resource_spans = pb_begin(&otlp, 1), resource = pb_begin(&otlp, 1);
    static const char *const values[] = {
        "0a00",                   /* "" */
        "0a05c3a922085c",         /* quotes and control characters */
        "1001",                   /* true */
        "18ffffffffffffffffff01", /* -1 */
        "210000000000000440",     /* 2.5 */
        "2a060a02100110"
        "01", /* [true], with a field nobody knows */
        "320b0a090a016b12040a0276"
        "76",         /* {"k": "vv"} */
        "3a03010203", /* bytes */
    };
    for (size_t i = 0; i < FM_COUNT(values); i++) {
        size_t attribute = pb_begin(&otlp, 1);
        pb_put_text(&otlp, 1, "key");
        put_hex(&otlp, 2, values[i]);
        pb_end(&otlp, attribute);
    }
    pb_end(&otlp, resource);
    pb_end(&otlp, resource_spans);
    struct fm_why why;
    assert_ok(otlp_json_put(fm_buf_slice(&otlp), &json));
    assert_ok(otlp_json_decode(fm_buf_slice(&json), &back, &why));
    assert_ok(otlp_json_put(fm_buf_slice(&back), &json_again));
    assert_true(fm_slice_equal(fm_buf_slice(&json), fm_buf_slice(&json_again)));
    fm_buf_fini(&otlp);
    fm_buf_fini(&json);
    fm_buf_fini(&back);
    fm_buf_fini(&json_again);
}

static void json_must_not_crash(void *self, struct fm_slice otlp)
{
    (void)self;
    struct fm_buf json;
    fm_buf_init(&json, FM_MIB(1));
    int rc = otlp_json_put(otlp, &json);
    assert_true(rc == FM_OK || rc == FM_EMALFORMED || rc == FM_ELIMIT);
    fm_buf_fini(&json);
}

static void test_json_of_damaged_bytes(void **state)
{
    (void)state;
    struct fm_buf otlp = make_otlp(one_span, 1);
    test_each_prefix(fm_buf_slice(&otlp), json_must_not_crash, NULL);
    test_each_bit_flip(fm_buf_slice(&otlp), json_must_not_crash, NULL);
    fm_buf_fini(&otlp);
}

/* Values nested 5,000 deep must not exhaust the stack. */
static void test_json_depth_is_limited(void **state)
{
    (void)state;
    struct fm_buf value, outer;
    fm_buf_init(&value, FM_MIB(64));
    fm_buf_init(&outer, FM_MIB(64));
    for (int i = 0; i < 5000; i++) {
        fm_buf_reset(&outer);
        pb_put_tag(&outer, 5, PB_BYTES);
        pb_put_varint(&outer, 1 + pb_varint_size(value.len) + value.len);
        pb_put_bytes(&outer, 1, fm_buf_slice(&value));
        struct fm_buf swap = value;
        value = outer;
        outer = swap;
    }
    static const uint32_t path[] = {2, 1, 1, 1}; /* value, attribute, resource, resource spans */
    for (size_t i = 0; i < FM_COUNT(path); i++) {
        fm_buf_reset(&outer);
        pb_put_bytes(&outer, path[i], fm_buf_slice(&value));
        struct fm_buf swap = value;
        value = outer;
        outer = swap;
    }
    struct fm_buf json;
    fm_buf_init(&json, FM_MIB(1));
    assert_int_equal(otlp_json_put(fm_buf_slice(&value), &json), FM_ELIMIT);
    fm_buf_fini(&json);
    fm_buf_fini(&value);
    fm_buf_fini(&outer);
}

/* Box drawing as ASCII, so that a test shows columns. */
static struct fm_buf in_ascii(struct fm_slice text)
{
    static const struct {
        const char *glyph;
        char ascii;
    } glyphs[] = {{"\xe2\x94\x9c", '['},
                  {"\xe2\x94\x80", '-'},
                  {"\xe2\x94\xa4", ']'},
                  {"\xe2\x94\x82", '|'},
                  {"\xe2\x9c\x96", 'x'}};
    struct fm_buf out;
    fm_buf_init(&out, FM_MIB(1));
    for (size_t i = 0; i < text.len;) {
        size_t g = 0;
        while (g < FM_COUNT(glyphs) &&
               (text.len - i < 3 || memcmp(text.ptr + i, glyphs[g].glyph, 3) != 0))
            g++;
        fm_buf_put_u8(&out, g < FM_COUNT(glyphs) ? (uint8_t)glyphs[g].ascii : text.ptr[i]);
        i += g < FM_COUNT(glyphs) ? 3 : 1;
    }
    fm_buf_put_u8(&out, 0);
    return out;
}

static void check_waterfall(const struct made_span *spans, size_t count, const char *wanted)
{
    const struct terminal terminal = {.width = 80};
    struct fm_buf otlp = make_otlp(spans, count), out;
    struct trace_id id;
    FM_AUTO(trace) trace = NULL;
    fm_buf_init(&out, FM_MIB(1));
    assert_ok(trace_id_parse(fm_slice_text(trace_hex), &id, NULL));
    assert_ok(trace_new(&trace, &id, FM_MIB(1)));
    assert_ok(trace_add(trace, fm_buf_slice(&otlp)));
    assert_ok(trace_finish(trace));
    assert_ok(waterfall_put(trace, &id, &terminal, &out));
    struct fm_buf plain = in_ascii(fm_buf_slice(&out));
    assert_string_equal((char *)plain.ptr, wanted);
    fm_buf_fini(&plain);
    fm_buf_fini(&out);
    fm_buf_fini(&otlp);
}

#define HEAD "trace 0af7651916cd43dd8448eb211c80319c  2023-11-14T22:13:20Z  "

static void test_waterfall_of_a_tree(void **state)
{
    (void)state;
    static const struct made_span spans[] = {
        {"0000000000000001", NULL, "GET /", 0, 100, 0},
        {"0000000000000003", "0000000000000002", "SELECT", 20, 50, 2},
        {"0000000000000002", "0000000000000001", "auth", 10, 60, 0},
        {"0000000000000004", "0000000000000001", "render", 60, 90, 0},
    };
    check_waterfall(spans, FM_COUNT(spans),
                    HEAD
                    "4 spans, 1 service, 100 ms\n"
                    "shop     GET /             0 ns [---------------------------]    100 ms\n"
                    "shop      auth          10.0 ms   [-------------]               50.0 ms\n"
                    "shop       SELECT       20.0 ms      [--------]                 30.0 ms "
                    "x error\n"
                    "shop      render        60.0 ms                  [-------]      30.0 ms\n");
}

static void test_waterfall_shows_what_hangs_on_nothing(void **state)
{
    (void)state;
    static const struct made_span orphan[] = {
        {"0000000000000001", "00000000000000ff", "orphan", 0, 0, 0},
    };
    check_waterfall(orphan, FM_COUNT(orphan),
                    HEAD "1 span, 1 service, 0 ns\n"
                         "shop     orphan            0 ns |                                  0 ns"
                         " (parent missing)\n");
    static const struct made_span circle[] = {
        {"0000000000000001", "0000000000000002", "a", 0, 1, 0},
        {"0000000000000002", "0000000000000001", "b", 0, 1, 0},
        {"0000000000000003", "0000000000000003", "c", 0, 1, 0},
    };
    struct fm_buf otlp = make_otlp(circle, FM_COUNT(circle)), out;
    const struct terminal terminal = {.width = 80};
    struct trace_id id;
    FM_AUTO(trace) trace = NULL;
    fm_buf_init(&out, FM_MIB(1));
    assert_ok(trace_id_parse(fm_slice_text(trace_hex), &id, NULL));
    assert_ok(trace_new(&trace, &id, FM_MIB(1)));
    assert_ok(trace_add(trace, fm_buf_slice(&otlp)));
    assert_ok(trace_finish(trace));
    assert_ok(waterfall_put(trace, &id, &terminal, &out));
    unsigned lines = 0;
    for (size_t i = 0; i < out.len; i++)
        lines += out.ptr[i] == '\n';
    assert_int_equal(lines, 1 + 3); /* each once */
    fm_buf_fini(&out);
    fm_buf_fini(&otlp);
}

static void test_latencies(void **state)
{
    (void)state;
    struct emit_tally *tally = calloc(1, sizeof *tally);
    assert_non_null(tally);
    assert_int_equal(emit_tally_percentile(tally, 0.5), 0);
    for (uint64_t i = 1; i <= 1000; i++)
        emit_tally_latency(tally, i * 1000000);
    uint64_t half = emit_tally_percentile(tally, 0.5), most = emit_tally_percentile(tally, 0.99);
    assert_in_range(half, 490000000, 500000000);
    assert_in_range(most, 970000000, 990000000);
    assert_int_equal(emit_tally_percentile(tally, 1), emit_tally_percentile(tally, 0.9999));
    assert_int_equal(tally->latency_max_ns, 1000000000);
    emit_tally_latency(tally, UINT64_MAX);
    emit_tally_latency(tally, 0);
    assert_int_equal(emit_tally_percentile(tally, 0.00001), 0);
    free(tally);
}

static void test_ledger(void **state)
{
    (void)state;
    char path[] = "/tmp/test_ledger.XXXXXX", text[256] = "";
    const struct emit_plan plan = {.ledger_file = path, .ledger_sync = true};
    struct fm_buf otlp = make_otlp(one_span, 1);
    struct emit_ledger ledger;
    struct fm_why why;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    for (int i = 0; i < 2; i++) { /* the second time appends */
        assert_ok(emit_ledger_open(&ledger, &plan, &why));
        assert_ok(emit_ledger_add(&ledger, fm_buf_slice(&otlp), &why));
        emit_ledger_close(&ledger);
    }
    assert_int_equal(read(fd, text, sizeof text - 1), 100);
    assert_string_equal(text, "0af7651916cd43dd8448eb211c80319c 0000000000000001\n"
                              "0af7651916cd43dd8448eb211c80319c 0000000000000001\n");
    close(fd);
    unlink(path);
    fm_buf_fini(&otlp);
}

static void test_answers(void **state)
{
    (void)state;
    struct emit_answer answer;
    emit_answer_http(&answer, false, 200, 0, FM_SLICE(""));
    assert_int_equal(answer.rc, FM_OK);
    emit_answer_http(&answer, false, 200, 0, FM_SLICE("\x0a\x08\x08\x07\x12\x04oops"));
    assert_int_equal(answer.rc, FM_OK);
    assert_int_equal(answer.rejected_spans, 7);
    assert_string_equal(answer.text, "partial success: oops");
    emit_answer_http(&answer, true, 200, 0,
                     FM_SLICE("{\"partialSuccess\":{\"rejectedSpans\":\"3\",\"errorMessage\":"
                              "\"why\"}}"));
    assert_int_equal(answer.rejected_spans, 3);
    emit_answer_http(&answer, false, 503, 2, FM_SLICE(""));
    assert_true(fm_rc_retryable(answer.rc));
    assert_int_equal(answer.pause_ns, 2000000000);
    emit_answer_http(&answer, false, 400, 0, FM_SLICE(""));
    assert_true(answer.rc < 0 && !fm_rc_retryable(answer.rc));

    struct h2_call call = {.status = 200, .grpc_status = 14};
    emit_answer_grpc(&answer, &call);
    assert_true(fm_rc_retryable(answer.rc));
    call.grpc_status = 3;
    emit_answer_grpc(&answer, &call);
    assert_true(answer.rc < 0 && !fm_rc_retryable(answer.rc));
    call.grpc_status = -1;
    emit_answer_grpc(&answer, &call);
    assert_true(answer.rc < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_of_a_span),
        cmocka_unit_test(test_json_round_trip),
        cmocka_unit_test(test_json_of_damaged_bytes),
        cmocka_unit_test(test_json_depth_is_limited),
        cmocka_unit_test(test_waterfall_of_a_tree),
        cmocka_unit_test(test_waterfall_shows_what_hangs_on_nothing),
        cmocka_unit_test(test_latencies),
        cmocka_unit_test(test_ledger),
        cmocka_unit_test(test_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
