/* SPDX-License-Identifier: Apache-2.0 */
/* CPU cost of processors per million spans, on requests of 512 spans with ten attributes each: the
 * scan of three that match nothing, one matching upsert, and redaction by all presets.
 * Usage: bench_process [rounds]. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "fermata/decode.h"
#include "fermata/pb.h"
#include "fermata/process.h"

#define BENCH_SPANS  512
#define BENCH_ROUNDS 400

static double bench_cpu_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void bench_attribute(struct fm_buf *buf, uint32_t number, const char *key, const char *text)
{
    size_t pair = pb_begin(buf, number);
    pb_put_text(buf, 1, key);
    size_t value = pb_begin(buf, 2);
    pb_put_text(buf, 1, text);
    pb_end(buf, value);
    pb_end(buf, pair);
}

static void bench_span(struct fm_buf *buf, uint64_t index)
{
    static const char *const attributes[][2] = {
        {"http.request.method", "GET"},
        {"url.full", "http://frontend:8080/api/products/66VCHSJNUP"},
        {"http.response.status_code", "200"},
        {"network.peer.address", "frontend-7"},
        {"network.peer.port", "47123"},
        {"user_agent.original", "python-requests/2.31"},
        {"server.address", "frontend"},
        {"http.route", "/api/products/{id}"},
        {"thread.name", "http-nio-8080-exec-7"},
        {"code.function.name", "shop.ProductCatalog.get"},
    };
    uint8_t id[16] = {1};
    size_t mark = pb_begin(buf, 2);
    fm_store_le64(id + 8, index / 8 + 1);
    pb_put_bytes(buf, 1, fm_slice(id, 16));
    fm_store_le64(id, index + 1);
    pb_put_bytes(buf, 2, fm_slice(id, 8));
    pb_put_text(buf, 5, "GET /api/products/{id}");
    pb_put_u64(buf, 6, 2);
    pb_put_fixed64(buf, 7, UINT64_C(1795221125000000000) + index);
    pb_put_fixed64(buf, 8, UINT64_C(1795221125005000000) + index);
    for (size_t i = 0; i < FM_COUNT(attributes); i++)
        bench_attribute(buf, 9, attributes[i][0], attributes[i][1]);
    pb_end(buf, mark);
}

static void bench_request(struct fm_buf *buf)
{
    size_t rs = pb_begin(buf, 1), mark = pb_begin(buf, 1);
    bench_attribute(buf, 1, "service.name", "shop");
    bench_attribute(buf, 1, "host.name", "node-1");
    pb_end(buf, mark);
    mark = pb_begin(buf, 2);
    for (uint64_t i = 0; i < BENCH_SPANS; i++)
        bench_span(buf, i);
    pb_end(buf, mark);
    pb_end(buf, rs);
}

static void bench_row(const char *name, const struct process_rule *rules, size_t count,
                      struct fm_slice request, unsigned rounds)
{
    struct process_fault fault;
    struct process_state *state;
    struct process *process;
    struct fm_buf target;
    int rc = process_new(&process, rules, count, &fault);
    FM_ASSERT(rc == FM_OK);
    rc = process_state_new(&state, process);
    FM_ASSERT(rc == FM_OK);
    fm_buf_init(&target, FM_MIB(16));
    double before = bench_cpu_s();
    for (unsigned i = 0; i < rounds; i++) {
        fm_buf_reset(&target);
        rc = process_run(state, request, &target);
        FM_ASSERT(rc >= 0);
    }
    double cpu_s = bench_cpu_s() - before;
    printf("%-28s %-10s %8.3f s CPU per million spans  %8.0f MB/s\n", name,
           rc == FM_NONE ? "unchanged" : "rewritten", cpu_s * 1e6 / rounds / BENCH_SPANS,
           (double)request.len * rounds / cpu_s / 1e6);
    fm_buf_fini(&target);
    process_state_free(state);
    process_free(process);
}

int main(int argc, char **argv)
{
    static const struct process_rule nothing[] = {
        {.kind = PROCESS_FILTER, .name = "a", .match = {.name = "=~ GET /health.*"}},
        {.kind = PROCESS_ATTRIBUTES,
         .name = "b",
         .attributes = {.action = PROCESS_DELETE, .key = "user.password"}},
        {.kind = PROCESS_FILTER,
         .name = "c",
         .match = {.attribute = "http.target = /metrics", .status = "error"}},
    };
    static const struct process_rule upsert = {
        .kind = PROCESS_ATTRIBUTES,
        .name = "u",
        .attributes = {.action = PROCESS_UPSERT, .key = "team", .value = "payments"}};
    static const struct process_rule resource = {
        .kind = PROCESS_ATTRIBUTES,
        .name = "r",
        .attributes = {
            .action = PROCESS_UPSERT, .on = PROCESS_ON_RESOURCE, .key = "site", .value = "north"}};
    static const struct process_rule redaction = {
        .kind = PROCESS_REDACTION,
        .name = "p",
        .redaction = {.keys = "*password* *.token",
                      .presets = "email card address token",
                      .mask = "****",
                      .names = true}};
    unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : BENCH_ROUNDS;
    struct fm_buf request;
    struct decode_facts facts;

    fm_buf_init(&request, FM_MIB(4));
    bench_request(&request);
    decode_facts_init(&facts);
    double before = bench_cpu_s();
    for (unsigned i = 0; i < rounds; i++) {
        int rc = otlp_pb_check(fm_buf_slice(&request), &decode_limits_default, &facts, NULL);
        FM_ASSERT(rc == FM_OK && !facts.rewrite);
    }
    printf("%-39s %8.3f s CPU per million spans\n", "the check alone, to compare",
           (bench_cpu_s() - before) * 1e6 / rounds / BENCH_SPANS);
    bench_row("three that match nothing", nothing, 3, fm_buf_slice(&request), rounds);
    bench_row("upsert on every span", &upsert, 1, fm_buf_slice(&request), rounds);
    bench_row("upsert on the resource", &resource, 1, fm_buf_slice(&request), rounds);
    bench_row("redaction, nothing found", &redaction, 1, fm_buf_slice(&request), rounds);
    decode_facts_fini(&facts);
    fm_buf_fini(&request);
    return 0;
}
