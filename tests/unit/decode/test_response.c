/* SPDX-License-Identifier: Apache-2.0 */
#include "../../support/test.h"

#include "fermata/decode.h"
#include "vectors.h"

static void assert_hex(struct fm_buf *got, const char *hex)
{
    struct fm_buf expected = vector_bytes(hex);
    assert_false(got->failed);
    assert_int_equal(got->len, expected.len);
    if (got->len)
        assert_memory_equal(got->ptr, expected.ptr, got->len);
    fm_buf_fini(&expected);
    fm_buf_reset(got);
}

static void assert_text(struct fm_buf *got, const char *text)
{
    assert_true(fm_slice_equal_text(fm_buf_slice(got), text));
    fm_buf_reset(got);
}

static void test_partial_success(void **state)
{
    (void)state;
    struct fm_buf buf;
    fm_buf_init(&buf, 1000);
    otlp_response_pb(0, NULL, &buf);
    assert_hex(&buf, "");
    otlp_response_pb(0, "", &buf);
    assert_hex(&buf, "");
    otlp_response_pb(3, "3 spans dropped", &buf);
    assert_hex(&buf, "0a130803120f33207370616e732064726f70706564");
    otlp_response_pb(0, "warning", &buf);
    assert_hex(&buf, "0a(12077761726e696e67)");
    otlp_response_json(0, NULL, &buf);
    assert_text(&buf, "{}");
    otlp_response_json(3, "3 spans dropped", &buf);
    assert_text(&buf, "{\"partialSuccess\":{\"rejectedSpans\":\"3\","
                      "\"errorMessage\":\"3 spans dropped\"}}");
    fm_buf_fini(&buf);
}

#define RETRY_INFO_URL                                                                             \
    "0a28747970652e676f6f676c65617069732e636f6d2f676f6f676c652e7270632e5265747279496e666f"

static void test_status(void **state)
{
    (void)state;
    struct fm_buf buf;
    fm_buf_init(&buf, 1000);
    rpc_status_pb(14, "queue full", 1000, &buf);
    assert_hex(&buf, "080e120a71756575652066756c6c1a(" RETRY_INFO_URL "12040a020801)");
    rpc_status_pb(8, "queue full", 5000, &buf);
    assert_hex(&buf, "0808120a71756575652066756c6c1a(" RETRY_INFO_URL "12040a020805)");
    rpc_status_pb(14, NULL, 250, &buf);
    assert_hex(&buf, "080e1a(" RETRY_INFO_URL "12(0a(1080e59a77)))");
    rpc_status_pb(3, "bad", 0, &buf);
    assert_hex(&buf, "08031203626164");
    rpc_status_pb(14, "x", UINT32_MAX, &buf);
    assert_false(buf.failed);
    fm_buf_reset(&buf);
    rpc_status_json(3, "a \"quoted\" word", &buf);
    assert_text(&buf, "{\"code\":3,\"message\":\"a \\\"quoted\\\" word\"}");
    fm_buf_fini(&buf);
}

static void test_a_full_buffer_fails(void **state)
{
    (void)state;
    struct fm_buf buf;
    fm_buf_init(&buf, 20);
    rpc_status_pb(14, "queue full", 1000, &buf);
    assert_true(buf.failed);
    fm_buf_fini(&buf);
}

static void test_message_for_people(void **state)
{
    (void)state;
    struct decode_facts facts = {.refused_count = 1, .refused = {[DECODE_BAD_TRACE_ID] = 1}};
    char text[100], small[10];
    decode_facts_message(&facts, text, sizeof text);
    assert_string_equal(text, "1 span refused: invalid_trace_id 1");
    facts.refused[DECODE_BAD_SPAN_ID] = 2;
    facts.refused_count = 3;
    decode_facts_message(&facts, text, sizeof text);
    assert_string_equal(text, "3 spans refused: invalid_trace_id 1, invalid_span_id 2");
    decode_facts_message(&facts, small, sizeof small);
    assert_string_equal(small, "3 spans r");
    assert_string_equal(decode_reason_text(DECODE_BAD_SPAN_ID), "invalid_span_id");
    assert_string_equal(decode_reason_text(DECODE_REASON_COUNT), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_partial_success),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_a_full_buffer_fails),
        cmocka_unit_test(test_message_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
