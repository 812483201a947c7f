/* SPDX-License-Identifier: Apache-2.0 */
/* CPU cost of the decoders per million spans, on generated requests of 512 spans with about 480
 * bytes and 50 fields each.  Usage: bench_decode [rounds]. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../../src/tools/jaeger_encode.h"
#include "../../src/tools/zipkin_encode.h"
#include "fermata/bytes.h"
#include "fermata/decode.h"
#include "fermata/hash.h"
#include "fermata/jaeger.h"
#include "fermata/json.h"
#include "fermata/model.h"
#include "fermata/pb.h"
#include "fermata/zipkin.h"

#define BENCH_SPANS  512
#define BENCH_ROUNDS 400

static double bench_cpu_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The attributes of every span; text NULL: the integer. */
static const struct {
    const char *key;
    const char *text;
    uint64_t integer;
} bench_attributes[] = {
    {"http.request.method", "GET", 0},
    {"url.full", "http://frontend:8080/api/products/66VCHSJNUP", 0},
    {"http.response.status_code", NULL, 200},
    {"network.peer.address", "10.42.0.17", 0},
    {"network.peer.port", NULL, 47123},
    {"user_agent.original", "python-requests/2.31", 0},
    {"server.address", "frontend", 0},
    {"thread.id", NULL, 117},
    {"thread.name", "http-nio-8080-exec-7", 0},
    {"code.function.name", "shop.ProductCatalog.get", 0},
};

static void bench_attribute(struct fm_buf *buf, uint32_t number, const char *key, const char *text,
                            uint64_t integer)
{
    size_t pair = pb_begin(buf, number);
    pb_put_text(buf, 1, key);
    size_t value = pb_begin(buf, 2);
    if (text)
        pb_put_text(buf, 1, text);
    else
        pb_put_u64(buf, 3, integer);
    pb_end(buf, value);
    pb_end(buf, pair);
}

struct bench_span {
    uint8_t trace_id[16], span_id[8], parent_id[8];
    uint64_t start_ns, end_ns;
};

static struct bench_span bench_span_make(uint64_t *seed, uint64_t index)
{
    struct bench_span span = {.start_ns = UINT64_C(1795221125000000000) + index * 1000};
    fm_store_le64(span.trace_id, 0x1234567890abcdef);
    fm_store_le64(span.trace_id + 8, index / 8 + 1);
    fm_store_le64(span.span_id, fm_random_next(seed) | 1);
    fm_store_le64(span.parent_id, fm_random_next(seed) | 1);
    span.end_ns = span.start_ns + fm_random_next(seed) % 1000000;
    return span;
}

static void bench_put_pb(struct fm_buf *buf, const struct bench_span *span)
{
    size_t mark = pb_begin(buf, 2);
    pb_put_bytes(buf, 1, fm_slice(span->trace_id, 16));
    pb_put_bytes(buf, 2, fm_slice(span->span_id, 8));
    pb_put_bytes(buf, 4, fm_slice(span->parent_id, 8));
    pb_put_text(buf, 5, "GET /api/products/{id}");
    pb_put_u64(buf, 6, 2);
    pb_put_fixed64(buf, 7, span->start_ns);
    pb_put_fixed64(buf, 8, span->end_ns);
    for (size_t i = 0; i < FM_COUNT(bench_attributes); i++)
        bench_attribute(buf, 9, bench_attributes[i].key, bench_attributes[i].text,
                        bench_attributes[i].integer);
    pb_end(buf, pb_begin(buf, 15));
    pb_put_fixed32(buf, 16, 0x101);
    pb_end(buf, mark);
}

/* long_text: an attribute of the scope that is too long, or NULL. */
static void bench_request_pb(struct fm_buf *buf, const char *long_text)
{
    uint64_t seed = 42;
    size_t resource_spans = pb_begin(buf, 1);
    size_t resource = pb_begin(buf, 1);
    bench_attribute(buf, 1, "service.name", "frontend", 0);
    bench_attribute(buf, 1, "telemetry.sdk.language", "python", 0);
    pb_end(buf, resource);
    size_t scope_spans = pb_begin(buf, 2);
    size_t scope = pb_begin(buf, 1);
    pb_put_text(buf, 1, "opentelemetry.instrumentation.requests");
    if (long_text)
        bench_attribute(buf, 3, "long", long_text, 0);
    pb_end(buf, scope);
    for (uint64_t i = 0; i < BENCH_SPANS; i++) {
        struct bench_span span = bench_span_make(&seed, i);
        bench_put_pb(buf, &span);
    }
    pb_end(buf, scope_spans);
    pb_end(buf, resource_spans);
}

static void bench_put_json(struct json_writer *writer, const struct bench_span *span)
{
    json_object_begin(writer);
    json_key(writer, "traceId");
    json_hex(writer, fm_slice(span->trace_id, 16));
    json_key(writer, "spanId");
    json_hex(writer, fm_slice(span->span_id, 8));
    json_key(writer, "parentSpanId");
    json_hex(writer, fm_slice(span->parent_id, 8));
    json_key(writer, "name");
    json_text(writer, "GET /api/products/{id}");
    json_key(writer, "kind");
    json_uint(writer, 2);
    json_key(writer, "startTimeUnixNano");
    json_uint_text(writer, span->start_ns);
    json_key(writer, "endTimeUnixNano");
    json_uint_text(writer, span->end_ns);
    json_key(writer, "attributes");
    json_array_begin(writer);
    for (size_t i = 0; i < FM_COUNT(bench_attributes); i++) {
        json_object_begin(writer);
        json_key(writer, "key");
        json_text(writer, bench_attributes[i].key);
        json_key(writer, "value");
        json_object_begin(writer);
        json_key(writer, bench_attributes[i].text ? "stringValue" : "intValue");
        if (bench_attributes[i].text)
            json_text(writer, bench_attributes[i].text);
        else
            json_uint(writer, bench_attributes[i].integer);
        json_object_end(writer);
        json_object_end(writer);
    }
    json_array_end(writer);
    json_key(writer, "status");
    json_object_begin(writer);
    json_object_end(writer);
    json_object_end(writer);
}

static void bench_request_json(struct fm_buf *buf)
{
    struct json_writer writer;
    uint64_t seed = 42;

    json_writer_init(&writer, buf);
    fm_buf_puts(buf, "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":");
    json_array_begin(&writer);
    for (uint64_t i = 0; i < BENCH_SPANS; i++) {
        struct bench_span span = bench_span_make(&seed, i);
        bench_put_json(&writer, &span);
    }
    json_array_end(&writer);
    fm_buf_puts(buf, "}]}]}");
}

static void bench_report(const char *name, double cpu_s, int rounds, size_t bytes)
{
    double spans = (double)rounds * BENCH_SPANS;
    printf("%-16s %7.3f CPU-s per million spans  %8.1f MB/s\n", name, cpu_s / spans * 1e6,
           (double)bytes * rounds / cpu_s / 1e6);
}

static void bench_check(struct fm_slice request, int rounds)
{
    struct decode_facts facts;
    decode_facts_init(&facts);
    double start = bench_cpu_s();
    for (int i = 0; i < rounds; i++) {
        if (otlp_pb_check(request, &decode_limits_default, &facts, NULL) < 0 || facts.rewrite ||
            facts.span_count != BENCH_SPANS)
            abort();
    }
    bench_report("otlp_pb_check", bench_cpu_s() - start, rounds, request.len);
    decode_facts_fini(&facts);
}

static void bench_rewrite(struct fm_slice request, int rounds)
{
    struct fm_buf target;
    fm_buf_init(&target, FM_MIB(16));
    double start = bench_cpu_s();
    for (int i = 0; i < rounds; i++) {
        fm_buf_reset(&target);
        if (otlp_pb_rewrite(request, &decode_limits_default, &target) < 0 ||
            target.len >= request.len)
            abort();
    }
    bench_report("otlp_pb_rewrite", bench_cpu_s() - start, rounds, request.len);
    fm_buf_fini(&target);
}

static void bench_json(struct fm_slice document, int rounds)
{
    struct fm_buf target;
    fm_buf_init(&target, FM_MIB(16));
    double start = bench_cpu_s();
    for (int i = 0; i < rounds; i++) {
        fm_buf_reset(&target);
        if (otlp_json_decode(document, &target, NULL) < 0)
            abort();
    }
    bench_report("otlp_json_decode", bench_cpu_s() - start, rounds, document.len);
    fm_buf_fini(&target);
}

/* A whole request as one trace, put together and rendered. */
static void bench_trace(struct fm_slice request, int rounds)
{
    struct trace_id id = {{0}};
    struct fm_buf target;

    fm_store_le64(id.bytes, 0x1234567890abcdef);
    fm_store_le64(id.bytes + 8, 1);
    fm_buf_init(&target, FM_MIB(16));
    double start = bench_cpu_s();
    for (int i = 0; i < rounds; i++) {
        struct trace *trace;
        fm_buf_reset(&target);
        if (trace_new(&trace, &id, FM_MIB(8)) < 0 || trace_add(trace, request) < 0 ||
            trace_finish(trace) < 0 || trace_span_count(trace) != 8)
            abort();
        trace_render(trace, TRACE_V2_JSON, 1, &target);
        trace_free(trace);
    }
    bench_report("trace of 8 spans", bench_cpu_s() - start, rounds, request.len);
    fm_buf_fini(&target);
}

/* ---- other forms of the same request ---- */

static int bench_put_thrift(struct fm_slice otlp, struct fm_buf *body)
{
    return jaeger_put_thrift(otlp, THRIFT_BINARY_PROTOCOL, body);
}

static int bench_put_datagrams(struct fm_slice otlp, struct fm_buf *body)
{
    return jaeger_put_datagrams(otlp, THRIFT_COMPACT, FM_KIB(16), body);
}

static int bench_take_datagrams(struct fm_slice body, struct fm_arena *scratch,
                                struct fm_buf *target, struct fm_why *why)
{
    struct jaeger_client_stats stats;
    int rc = FM_OK;

    while (rc == FM_OK && body.len) {
        uint32_t len = fm_load_le32(body.ptr);
        body =
            fm_slice(body.ptr + JAEGER_DATAGRAM_HEAD_BYTES, body.len - JAEGER_DATAGRAM_HEAD_BYTES);
        rc = jaeger_datagram_decode(fm_slice(body.ptr, len), scratch, target, &stats, why);
        body = fm_slice(body.ptr + len, body.len - len);
    }
    return rc;
}

static int bench_take_thrift(struct fm_slice body, struct fm_arena *scratch, struct fm_buf *target,
                             struct fm_why *why)
{
    return jaeger_thrift_decode(body, THRIFT_BINARY_PROTOCOL, scratch, target, why);
}

static int bench_take_zipkin_thrift(struct fm_slice body, struct fm_arena *scratch,
                                    struct fm_buf *target, struct fm_why *why)
{
    return zipkin_thrift_decode(body, THRIFT_BINARY_PROTOCOL, scratch, target, why);
}

static const struct {
    const char *name;
    int (*put)(struct fm_slice otlp, struct fm_buf *body);
    int (*take)(struct fm_slice body, struct fm_arena *scratch, struct fm_buf *target,
                struct fm_why *why);
} bench_forms[] = {
    {"jaeger_compact", bench_put_datagrams, bench_take_datagrams},
    {"jaeger_http", bench_put_thrift, bench_take_thrift},
    {"jaeger_grpc", jaeger_put_pb, jaeger_pb_decode},
    {"zipkin_json", zipkin_put_json, zipkin_json_decode},
    {"zipkin_proto", zipkin_put_pb, zipkin_pb_decode},
    {"zipkin_v1_json", zipkin_put_v1_json, zipkin_json_decode},
    {"zipkin_thrift", zipkin_put_v1_thrift, bench_take_zipkin_thrift},
};

/* From the form to OTLP, without the check that follows. */
static void bench_form(size_t form, struct fm_slice otlp, int rounds)
{
    struct fm_buf body, target;
    struct fm_arena scratch;
    struct fm_why why;

    fm_buf_init(&body, FM_MIB(16));
    fm_buf_init(&target, FM_MIB(16));
    fm_arena_init(&scratch, FM_MIB(64));
    if (bench_forms[form].put(otlp, &body) < 0)
        abort();
    double start = bench_cpu_s();
    for (int i = 0; i < rounds; i++) {
        fm_buf_reset(&target);
        if (bench_forms[form].take(fm_buf_slice(&body), &scratch, &target, &why) < 0)
            abort();
    }
    bench_report(bench_forms[form].name, bench_cpu_s() - start, rounds, body.len);
    fm_arena_fini(&scratch);
    fm_buf_fini(&target);
    fm_buf_fini(&body);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : BENCH_ROUNDS;
    struct fm_buf request;
    char text[3000];

    fm_buf_init(&request, FM_MIB(16));
    bench_request_pb(&request, NULL);
    printf("protobuf: %zu bytes a span\n", request.len / BENCH_SPANS);
    bench_check(fm_buf_slice(&request), 5 * rounds);
    bench_trace(fm_buf_slice(&request), rounds);
    for (size_t i = 0; i < FM_COUNT(bench_forms); i++)
        bench_form(i, fm_buf_slice(&request), rounds);
    fm_buf_reset(&request);
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    bench_request_pb(&request, text);
    bench_rewrite(fm_buf_slice(&request), rounds);
    fm_buf_reset(&request);
    bench_request_json(&request);
    printf("JSON: %zu bytes a span\n", request.len / BENCH_SPANS);
    bench_json(fm_buf_slice(&request), rounds);
    fm_buf_fini(&request);
    return 0;
}
