/* SPDX-License-Identifier: Apache-2.0 */
/* tests/golden/trace: NAME.json is what Tempo 3.0.3 answered for a trace, NAME.otlp the same trace
 * encoded independently, resources and spans in reverse. */
#include "../../support/test.h"

#include "fermata/model.h"
#include "fermata/pb.h"

static struct trace_id id_of(const char *text)
{
    struct trace_id id;
    assert_ok(trace_id_parse(fm_slice_text(text), &id, NULL));
    return id;
}

static struct trace *trace_of(const char *id_text, struct fm_slice otlp)
{
    struct trace *trace;
    struct trace_id id = id_of(id_text);
    assert_ok(trace_new(&trace, &id, FM_MIB(4)));
    assert_ok(trace_add(trace, otlp));
    assert_ok(trace_finish(trace));
    return trace;
}

static void assert_render(const struct trace *trace, enum trace_format format, uint64_t inspected,
                          struct fm_slice expected)
{
    struct fm_buf buf;
    fm_buf_init(&buf, FM_MIB(4));
    trace_render(trace, format, inspected, &buf);
    assert_false(buf.failed);
    assert_int_equal(buf.len, expected.len);
    if (buf.len)
        assert_memory_equal(buf.ptr, expected.ptr, buf.len);
    fm_buf_fini(&buf);
}

static void test_trace_ids(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } rows[] = {
        {"xyz", "trace IDs can only contain hex characters: invalid character 'x' at position 1"},
        {"12G4", "trace IDs can only contain hex characters: invalid character 'G' at position 3"},
        {"1\n",
         "trace IDs can only contain hex characters: invalid character '\\x0a' at position 2"},
        {"000000000000000000000000000000001", "trace IDs can't be larger than 128 bits"},
        {"", "trace IDs can't be empty"},
    };
    struct trace_id id;
    struct fm_why why;
    char text[33];

    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        assert_int_equal(trace_id_parse(fm_slice_text(rows[i].text), &id, &why), FM_EMALFORMED);
        assert_string_equal(why.text, rows[i].error);
    }
    id = id_of("1234567890aBcDeF");
    trace_id_print(&id, text);
    assert_string_equal(text, "00000000000000001234567890abcdef");
    id = id_of("f");
    trace_id_print(&id, text);
    assert_string_equal(text, "0000000000000000000000000000000f");
}

static void test_tenants(void **state)
{
    (void)state;
    char longest[TENANT_LEN_MAX + 2];
    memset(longest, 'a', sizeof longest);
    assert_true(tenant_is_valid(FM_SLICE(TENANT_DEFAULT)));
    assert_true(tenant_is_valid(FM_SLICE("aZ09!_.*'()-")));
    assert_true(tenant_is_valid(FM_SLICE("...")));
    assert_true(tenant_is_valid(fm_slice(longest, TENANT_LEN_MAX)));
    assert_false(tenant_is_valid(fm_slice(longest, TENANT_LEN_MAX + 1)));
    static const char *const bad[] = {"", ".", "..", "a/b", "a b", "a|b", "\xc3\xa9", "a\\"};
    for (size_t i = 0; i < FM_COUNT(bad); i++)
        assert_false(tenant_is_valid(fm_slice_text(bad[i])));
    assert_false(tenant_is_valid(FM_SLICE("a\0b")));
}

static void test_tempos_own_answers(void **state)
{
    (void)state;
    static const struct {
        const char *id;
        uint64_t inspected;
        const char *tail; /* of what was recorded without metrics */
    } rows[] = {
        {"0af7651916cd43dd8448eb211c80319c", 31850, ""},
        {"1825bc5430beb45f683514f2ceb81f9d", 0, ",\"metrics\":{}"},
        {"0bbb259911ce5dd2b45ed1f03139d32c", 0, ",\"metrics\":{}"},
        {"00000000000000001c80317fa3b1799d", 0, ",\"metrics\":{}"},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        char path[200];
        (void)snprintf(path, sizeof path, "golden/trace/%s.json", rows[i].id);
        struct fm_buf json = test_read_file(path);
        (void)snprintf(path, sizeof path, "golden/trace/%s.otlp", rows[i].id);
        struct fm_buf otlp = test_read_file(path);
        json.len -= 2; /* "}\n" */
        json.bytes_max = FM_MIB(1);
        fm_buf_puts(&json, rows[i].tail);
        fm_buf_puts(&json, "}");
        struct trace *trace = trace_of(rows[i].id, fm_buf_slice(&otlp));
        assert_render(trace, TRACE_V2_JSON, rows[i].inspected, fm_buf_slice(&json));
        trace_free(trace);
        fm_buf_fini(&json);
        fm_buf_fini(&otlp);
    }
}

/* The recorded protobuf answer: resource, scope and status present, the latter two empty. */
#define TICK_SPAN                                                                                  \
    "0a1000000000000000001234567890abcdef12081111111111111111"                                     \
    "2a047469636b"                                                                                 \
    "3900e4ec321be8e918"                                                                           \
    "4100fef2321be8e918"                                                                           \
    "4a170a046e6f7465120f0a0d66617374202271756f74656422"
#define TICK_RESOURCE "0a190a170a0c736572766963652e6e616d6512070a056261746368"

static void test_protobuf_answers(void **state)
{
    (void)state;
    struct fm_buf otlp = test_hex("0a6c" TICK_RESOURCE "124f"
                                  "124d" TICK_SPAN);
    struct fm_buf v2 = test_hex("0a720a70" TICK_RESOURCE "12530a00124f" TICK_SPAN "7a00"
                                "120408eaf801");
    struct trace *trace = trace_of("1234567890abcdef", fm_buf_slice(&otlp));

    assert_render(trace, TRACE_V2_PROTOBUF, 31850, fm_buf_slice(&v2));
    assert_render(trace, TRACE_V1_PROTOBUF, 31850, fm_slice(v2.ptr + 2, 0x72));
    struct fm_buf back;
    fm_buf_init(&back, 1000);
    trace_put_otlp(trace, &back);
    assert_true(fm_slice_equal(fm_buf_slice(&back), fm_buf_slice(&otlp)));
    fm_buf_fini(&back);
    assert_render(
        trace, TRACE_V1_JSON, 0,
        FM_SLICE(
            "{\"batches\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":{"
            "\"stringValue\":\"batch\"}}]},\"scopeSpans\":[{\"scope\":{},\"spans\":[{"
            "\"traceId\":\"AAAAAAAAAAASNFZ4kKvN7w==\",\"spanId\":\"ERERERERERE=\",\"name\":"
            "\"tick\","
            "\"startTimeUnixNano\":\"1795221130000000000\",\"endTimeUnixNano\":"
            "\"1795221130000399872\","
            "\"attributes\":[{\"key\":\"note\",\"value\":{\"stringValue\":\"fast "
            "\\\"quoted\\\"\"}}],"
            "\"status\":{}}]}]}]}"));
    assert_true(fm_slice_equal_text(trace_span_at(trace, 0)->service, "batch"));
    assert_true(fm_slice_equal_text(trace_span_at(trace, 0)->name, "tick"));
    trace_free(trace);
    fm_buf_fini(&otlp);
    fm_buf_fini(&v2);
}

static void test_nothing_found(void **state)
{
    (void)state;
    struct fm_buf otlp = test_hex("0a6c" TICK_RESOURCE "124f"
                                  "124d" TICK_SPAN);
    struct trace *trace = trace_of("abc", fm_buf_slice(&otlp));
    assert_int_equal(trace_span_count(trace), 0);
    assert_render(trace, TRACE_V2_JSON, 100, FM_SLICE("{\"trace\":{},\"metrics\":{}}"));
    assert_render(trace, TRACE_V2_PROTOBUF, 100, FM_SLICE("\x0a\0\x12\0"));
    assert_render(trace, TRACE_V1_JSON, 100, FM_SLICE("{}"));
    trace_free(trace);
    fm_buf_fini(&otlp);
}

/* Spans given by number; resource "r", scope "s" as hex of their one name-like string. */
static void put_span(struct fm_buf *buf, const char *resource, const char *scope, uint8_t span_id,
                     uint32_t kind, uint64_t start_ns)
{
    uint8_t id[16] = {[15] = 1}, span_bytes[8] = {[7] = span_id};
    size_t resource_spans = pb_begin(buf, 1);
    size_t part = pb_begin(buf, 1), pair = pb_begin(buf, 1);
    pb_put_text(buf, 1, "service.name");
    size_t value = pb_begin(buf, 2);
    pb_put_text(buf, 1, resource);
    pb_end(buf, value);
    pb_end(buf, pair);
    pb_end(buf, part);
    size_t scope_spans = pb_begin(buf, 2);
    part = pb_begin(buf, 1);
    pb_put_text(buf, 1, scope);
    pb_end(buf, part);
    size_t span = pb_begin(buf, 2);
    pb_put_bytes(buf, 1, fm_slice(id, 16));
    pb_put_bytes(buf, 2, fm_slice(span_bytes, 8));
    pb_put_u64(buf, 6, kind);
    pb_put_fixed64(buf, 7, start_ns);
    pb_end(buf, span);
    pb_end(buf, scope_spans);
    pb_end(buf, resource_spans);
}

static size_t count_of(struct fm_slice message, uint32_t number)
{
    struct pb_field field;
    size_t count = 0;
    while (pb_next(&message, &field) == FM_OK)
        count += field.number == number;
    return count;
}

static void test_pieces_become_one_trace(void **state)
{
    (void)state;
    struct fm_buf pieces[6], out[2];
    struct trace_id id = id_of("1");

    for (int i = 0; i < 6; i++)
        fm_buf_init(&pieces[i], 10000);
    put_span(&pieces[0], "web", "a", 1, 2, 50);
    put_span(&pieces[1], "db", "a", 2, 2, 10);
    put_span(&pieces[2], "web", "b", 3, 1, 40);
    put_span(&pieces[3], "web", "a", 4, 1, 30);
    put_span(&pieces[4], "web", "a", 1, 2, 50); /* a duplicate */
    put_span(&pieces[5], "db", "a", 1, 3, 60);  /* the other half of a shared span */
    for (int turn = 0; turn < 2; turn++) {
        struct trace *trace;
        struct pb_field field;
        assert_ok(trace_new(&trace, &id, FM_MIB(1)));
        for (int i = 0; i < 6; i++)
            assert_ok(trace_add(trace, fm_buf_slice(&pieces[turn ? 5 - i : i])));
        assert_ok(trace_finish(trace));
        assert_int_equal(trace_span_count(trace), 5);
        static const uint64_t starts[] = {10, 30, 40, 50, 60};
        for (size_t i = 0; i < 5; i++)
            assert_int_equal(trace_span_at(trace, i)->start_ns, starts[i]);
        fm_buf_init(&out[turn], 10000);
        trace_put_otlp(trace, &out[turn]);
        struct fm_slice rest = fm_buf_slice(&out[turn]);
        assert_int_equal(count_of(rest, 1), 2);
        assert_ok(pb_next(&rest, &field)); /* db starts first */
        assert_int_equal(count_of(field.bytes, 2), 1);
        assert_ok(pb_next(&rest, &field));
        assert_int_equal(count_of(field.bytes, 2), 2);
        trace_free(trace);
    }
    assert_true(fm_slice_equal(fm_buf_slice(&out[0]), fm_buf_slice(&out[1])));
    for (int i = 0; i < 6; i++)
        fm_buf_fini(&pieces[i]);
    fm_buf_fini(&out[0]);
    fm_buf_fini(&out[1]);
}

static void test_too_large_is_partial(void **state)
{
    (void)state;
    struct trace_id id = id_of("1");
    struct trace *trace;
    struct fm_buf piece, buf;
    int rc = FM_OK;

    fm_buf_init(&piece, 10000);
    fm_buf_init(&buf, FM_MIB(1));
    assert_ok(trace_new(&trace, &id, 20000));
    for (unsigned i = 1; i < 256 && rc == FM_OK; i++) {
        fm_buf_reset(&piece);
        put_span(&piece, "web", "a", (uint8_t)i, i, i);
        rc = trace_add(trace, fm_buf_slice(&piece));
    }
    assert_int_equal(rc, FM_ELIMIT);
    assert_true(trace_is_partial(trace));
    assert_int_equal(trace_add(trace, fm_buf_slice(&piece)), FM_ELIMIT);
    assert_ok(trace_finish(trace));
    assert_true(trace_span_count(trace) > 20);
    trace_render(trace, TRACE_V2_JSON, 7, &buf);
    fm_buf_put_u8(&buf, 0);
    assert_non_null(strstr((char *)buf.ptr,
                           "\"metrics\":{\"inspectedBytes\":\"7\"},\"status\":\"PARTIAL\","
                           "\"message\":\"Trace exceeds maximum size of 20000 bytes, "
                           "a partial trace is returned\"}"));
    fm_buf_fini(&piece);
    fm_buf_fini(&buf);
    trace_free(trace);
}

static void trace_body(void *self, struct fm_slice input)
{
    struct trace_id id = id_of(self);
    struct trace *trace;
    struct fm_buf buf;

    fm_buf_init(&buf, FM_MIB(1));
    assert_ok(trace_new(&trace, &id, FM_MIB(1)));
    int rc = trace_add(trace, input);
    assert_true(rc == FM_OK || rc == FM_EMALFORMED);
    assert_ok(trace_finish(trace));
    trace_render(trace, TRACE_V2_JSON, 0, &buf);
    trace_put_otlp(trace, &buf);
    assert_false(buf.failed);
    fm_buf_fini(&buf);
    trace_free(trace);
}

static void test_hostile_input(void **state)
{
    (void)state;
    static char name[] = "1825bc5430beb45f683514f2ceb81f9d";
    char path[200];
    (void)snprintf(path, sizeof path, "golden/trace/%s.otlp", name);
    struct fm_buf otlp = test_read_file(path);
    test_each_prefix(fm_buf_slice(&otlp), trace_body, name);
    test_each_bit_flip(fm_buf_slice(&otlp), trace_body, name);
    fm_buf_fini(&otlp);
}

static void test_allocation_failures(void **state)
{
    (void)state;
    struct trace_id id = id_of("1");
    struct fm_buf piece;

    fm_buf_init(&piece, 10000);
    put_span(&piece, "web", "a", 1, 2, 50);
    for (uint64_t nth = 1;; nth++) {
        struct trace *trace = NULL;
        test_alloc_fail_at(nth);
        int rc = trace_new(&trace, &id, FM_MIB(1));
        if (rc == FM_OK)
            rc = trace_add(trace, fm_buf_slice(&piece));
        if (rc == FM_OK)
            rc = trace_finish(trace);
        bool reached = test_alloc_failed();
        test_alloc_disarm();
        assert_int_equal(rc, reached ? FM_ENOMEM : FM_OK);
        if (trace) {
            assert_ok(trace_finish(trace));
            assert_false(trace_is_partial(trace));
        }
        trace_free(trace);
        if (!reached)
            break;
    }
    fm_buf_fini(&piece);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trace_ids),
        cmocka_unit_test(test_tenants),
        cmocka_unit_test(test_tempos_own_answers),
        cmocka_unit_test(test_protobuf_answers),
        cmocka_unit_test(test_nothing_found),
        cmocka_unit_test(test_pieces_become_one_trace),
        cmocka_unit_test(test_too_large_is_partial),
        cmocka_unit_test(test_hostile_input),
        cmocka_unit_test(test_allocation_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
