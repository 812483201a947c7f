/* SPDX-License-Identifier: Apache-2.0 */
/* llm - the form for language models, against what Tempo 3.0.3 answered. */
#include "../../support/test.h"

#include "../../../src/daemon/api/llm.h"
#include "fermata/pb.h"

/* {"batch": [tick]} as a TraceByIDResponse, recorded from Tempo. */
static const char tick_hex[] =
    "0a72 0a70 0a19 0a17 0a0c 736572766963652e6e616d65 1207 0a05 6261746368"
    "1253 0a00 124f 0a10 0000000000000000 1234567890abcdef 1208 1111111111111111"
    "2a04 7469636b 39 00daafe3fcb8e918 41 3ff4b5e3fcb8e918"
    "4a17 0a04 6e6f7465 120f 0a0d 66617374202271756f74656422 7a00"
    "1204 08eaf801";

static void test_trace(void **state)
{
    struct fm_buf answer = test_hex(tick_hex), out;
    uint64_t start_ns = UINT64_C(1795221130000000000);
    (void)state;

    /* The times, which the recording does not spell out. */
    uint8_t *at = memmem(answer.ptr, answer.len, "tick\x39", 5);
    assert_non_null(at);
    fm_store_le64(at + 5, start_ns);
    fm_store_le64(at + 14, start_ns + 399872);
    fm_buf_init(&out, FM_KIB(64));
    assert_ok(llm_put_trace(fm_buf_slice(&answer), &out));
    fm_buf_put_u8(&out, 0);
    assert_string_equal(
        (const char *)out.ptr,
        "{\"trace\":{\"traceId\":\"00000000000000001234567890abcdef\",\"services\":[{"
        "\"serviceName\":\"batch\",\"scopes\":[{\"spans\":[{\"spanId\":\"1111111111111111\","
        "\"name\":\"tick\",\"startTimeUnixNano\":\"1795221130000000000\","
        "\"endTimeUnixNano\":\"1795221130000399872\",\"durationMs\":0.399872,\"attributes\":{"
        "\"note\":\"fast \\\"quoted\\\"\"},\"status\":{\"code\":\"STATUS_CODE_UNSET\","
        "\"message\":\"\"}}]}]}]},\"metrics\":{\"inspectedBytes\":31850}}");
    fm_buf_fini(&out);
    fm_buf_fini(&answer);
}

static void trace_body(void *self, struct fm_slice input)
{
    struct fm_buf out;
    (void)self;
    fm_buf_init(&out, FM_KIB(64));
    int rc = llm_put_trace(input, &out);
    assert_true(rc == FM_OK || rc == FM_EMALFORMED || rc == FM_ELIMIT);
    fm_buf_fini(&out);
}

static void test_cut_and_flipped(void **state)
{
    struct fm_buf answer = test_hex(tick_hex);
    (void)state;
    test_each_prefix(fm_buf_slice(&answer), trace_body, NULL);
    test_each_bit_flip(fm_buf_slice(&answer), trace_body, NULL);
    fm_buf_fini(&answer);
}

static void test_deep_values_end(void **state)
{
    struct fm_buf value, answer, out;
    (void)state;
    fm_buf_init(&value, FM_KIB(64));
    fm_buf_init(&answer, FM_KIB(64));
    fm_buf_init(&out, FM_KIB(64));
    pb_put_text(&value, 1, "x");
    for (unsigned i = 0; i < 1000; i++) {
        struct fm_buf outer;
        fm_buf_init(&outer, FM_KIB(64));
        size_t array = pb_begin(&outer, 5);
        pb_put_bytes(&outer, 1, fm_buf_slice(&value));
        pb_end(&outer, array);
        fm_buf_fini(&value);
        value = outer;
    }
    size_t trace = pb_begin(&answer, 1), resource = pb_begin(&answer, 1);
    size_t scope = pb_begin(&answer, 2), span = pb_begin(&answer, 2);
    size_t attribute = pb_begin(&answer, 9);
    pb_put_text(&answer, 1, "deep");
    pb_put_bytes(&answer, 2, fm_buf_slice(&value));
    pb_end(&answer, attribute);
    pb_end(&answer, span);
    pb_end(&answer, scope);
    pb_end(&answer, resource);
    pb_end(&answer, trace);
    assert_ok(llm_put_trace(fm_buf_slice(&answer), &out));
    assert_non_null(memmem(out.ptr, out.len, "[[null]]", 8));
    fm_buf_fini(&value);
    fm_buf_fini(&answer);
    fm_buf_fini(&out);
}

static void test_values(void **state)
{
    const struct traceql_value values[] = {
        {.type = TRACEQL_STRING, .text = FM_SLICE("a")},
        {.type = TRACEQL_INT, .integer = 5},
        {.type = TRACEQL_STRING, .text = FM_SLICE("b")},
    };
    const struct answer_stats stats = {.inspected_bytes = 7, .job_count = 1, .jobs_done = 1};
    struct fm_buf out;
    (void)state;
    fm_buf_init(&out, FM_KIB(4));
    llm_put_values(values, FM_COUNT(values), &stats, &out);
    fm_buf_put_u8(&out, 0);
    assert_string_equal((const char *)out.ptr,
                        "{\"tagValues\":{\"int\":[\"5\"],\"string\":[\"a\",\"b\"]},\"metrics\":{"
                        "\"inspectedBytes\":7,\"totalJobs\":1,\"completedJobs\":1}}");
    fm_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trace),
        cmocka_unit_test(test_cut_and_flipped),
        cmocka_unit_test(test_deep_values_end),
        cmocka_unit_test(test_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
