/* SPDX-License-Identifier: Apache-2.0 */
/* What a block costs: CPU to add, to finish, to verify, to find a trace; bytes a span, memory.
 *
 * bench_block [spans [page spans [zstd level [directory to write the block to]]]] */
#include "../../src/tools/corpus.h"

#include "fermata/block.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#define BENCH_NOW UINT64_C(1795219972000000000)

static double bench_cpu_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void bench_die(const char *what, int rc, const struct fm_why *why)
{
    fprintf(stderr, "%s: %s (%s)\n", what, fm_rc_text(rc), why ? why->text : "");
    exit(1);
}

static void bench_write(const char *directory, const char *name, struct fm_slice bytes)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes.ptr, 1, bytes.len, file) != bytes.len)
        bench_die(path, FM_EIO, NULL);
    fclose(file);
}

static int bench_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void bench_find(const struct corpus *corpus, struct fm_slice data,
                       const struct block_meta *meta)
{
    enum { FINDS = 300 };
    struct fm_source source = fm_source_memory(&data);
    struct fm_why why = {{0}};
    FM_AUTO(block) block = NULL;
    double before = bench_cpu_s();
    int rc = block_open(&block, source, meta, &why);
    if (rc < 0)
        bench_die("block_open", rc, &why);
    printf("open %.2f ms, holds %.0f KiB\n", (bench_cpu_s() - before) * 1e3,
           (double)block_memory(block) / 1024);
    double taken[FINDS], misses = 0;
    uint64_t inspected_sum = 0;
    uint32_t found = 0;
    struct fm_buf otlp;
    fm_buf_init(&otlp, FM_MIB(64));
    for (uint32_t i = 0; i < FINDS; i++) {
        struct trace_id id =
            corpus_trace_id(corpus, corpus_trace_count(corpus) * (2 * i + 1) / (2 * FINDS));
        uint64_t inspected = 0;
        fm_buf_reset(&otlp);
        before = bench_cpu_s();
        rc = block_find_trace(block, &id, &otlp, &inspected, &why);
        taken[found] = bench_cpu_s() - before;
        if (rc < 0)
            bench_die("block_find_trace", rc, &why);
        if (rc == FM_OK) {
            found++;
            inspected_sum += inspected;
        }
        id.bytes[3] ^= 0x55;
        before = bench_cpu_s();
        if (block_find_trace(block, &id, &otlp, NULL, &why) != FM_NONE)
            bench_die("a trace that is not there", FM_EIO, &why);
        misses += bench_cpu_s() - before;
    }
    qsort(taken, found, sizeof *taken, bench_compare);
    printf("find %u traces: p50 %.2f ms, p99 %.2f ms, %.0f KiB read each; miss %.3f ms\n", found,
           taken[found / 2] * 1e3, taken[found * 99 / 100] * 1e3,
           (double)inspected_sum / found / 1024, misses / FINDS * 1e3);
    fm_buf_fini(&otlp);
}

static void bench_verify(struct fm_slice data, const struct block_meta *meta,
                         const struct fm_buf *blooms, double spans)
{
    struct fm_why why = {{0}};
    struct block_census census;
    struct fm_slice shards[BLOCK_BLOOM_SHARD_MAX];
    size_t size = blooms->len / meta->bloom_shard_count;
    for (uint32_t i = 0; i < meta->bloom_shard_count; i++)
        shards[i] = fm_slice(blooms->ptr + i * size, size);
    double before = bench_cpu_s();
    int rc = block_verify(fm_source_memory(&data), meta, shards, &census, &why);
    if (rc < 0)
        bench_die("block_verify", rc, &why);
    printf("verify %.3f CPU-s/M; %llu traces, %llu spans, %.2f attributes a span\n",
           (bench_cpu_s() - before) / spans * 1e6, (unsigned long long)census.trace_count,
           (unsigned long long)census.span_count, (double)census.attribute_count / spans);
}

static void bench_files(const char *directory, struct fm_slice file, const struct fm_buf *blooms,
                        const struct block_meta *meta)
{
    struct fm_buf text;
    fm_buf_init(&text, FM_MIB(1));
    block_meta_render(meta, &text);
    bench_write(directory, "data.parquet", file);
    bench_write(directory, "bloom-0", fm_buf_slice(blooms));
    bench_write(directory, "meta.json", fm_buf_slice(&text));
    fm_buf_fini(&text);
}

static void bench_inspect(struct fm_slice file, const struct block_meta *meta)
{
    struct fm_buf text;
    struct fm_why why = {{0}};
    fm_buf_init(&text, FM_MIB(1));
    int rc = block_inspect(fm_source_memory(&file), meta, &text, &why);
    if (rc < 0)
        bench_die("inspect", rc, &why);
    fwrite(text.ptr, 1, text.len, stdout);
    fm_buf_fini(&text);
}

/* Feeds wanted spans; CPU seconds spent in the builder. */
static double bench_add(struct block_builder *builder, struct corpus *corpus, uint64_t wanted)
{
    struct fm_why why = {{0}};
    struct fm_buf request;
    double add_s = 0, raw = 0;
    int rc = FM_OK;
    fm_buf_init(&request, FM_MIB(64));
    while (rc == FM_OK && corpus_span_count(corpus) < wanted) {
        fm_buf_reset(&request);
        rc = corpus_next(corpus, BENCH_NOW, &request);
        raw += (double)request.len;
        double before = bench_cpu_s();
        if (rc == FM_OK)
            rc = block_builder_add(builder, fm_buf_slice(&request), &why);
        add_s += bench_cpu_s() - before;
    }
    if (rc < 0)
        bench_die("add", rc, &why);
    fm_buf_fini(&request);
    double spans = (double)block_builder_span_count(builder);
    printf("%.0f spans, %llu traces begun, raw %.1f B/span\n", spans,
           (unsigned long long)corpus_trace_count(corpus), raw / spans);
    printf("add %.3f CPU-s/M, builder %.1f B/span\n", add_s / spans * 1e6,
           (double)block_builder_memory(builder) / spans);
    return add_s;
}

int main(int argc, char **argv)
{
    uint64_t wanted = argc > 1 ? strtoull(argv[1], NULL, 10) : 250000;
    struct block_options options = block_options_default;
    struct corpus_options corpus_options = {
        .seed = 42, .spans_per_request = 512, .spans_per_s = 5000};
    if (argc > 2)
        options.page_span_target = (uint32_t)strtoul(argv[2], NULL, 10);
    if (argc > 3)
        options.codec_level = (int8_t)atoi(argv[3]);
    options.memory_max = FM_MIB(2048);
    struct fm_why why = {{0}};
    FM_AUTO(corpus) corpus = NULL;
    FM_AUTO(block_builder) builder = NULL;
    int rc = corpus_new(&corpus, &corpus_options);
    if (rc == FM_OK)
        rc = block_builder_new(&builder, &options);
    if (rc < 0)
        bench_die("new", rc, NULL);
    struct fm_buf data, blooms;
    fm_buf_init(&data, FM_MIB(1024));
    fm_buf_init(&blooms, FM_MIB(64));
    double add_s = bench_add(builder, corpus, wanted);
    double spans = (double)block_builder_span_count(builder);
    struct block_meta meta = {.tenant = TENANT_DEFAULT};
    struct block_census census;
    memset(meta.id.bytes, 0x35, sizeof meta.id.bytes);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    long rss_before = usage.ru_maxrss;
    double before = bench_cpu_s();
    rc = block_builder_finish(builder, fm_sink_buf(&data), &blooms, &meta, &census, &why);
    if (rc < 0)
        bench_die("finish", rc, &why);
    double finish_s = bench_cpu_s() - before;
    getrusage(RUSAGE_SELF, &usage);
    printf("finish %.3f CPU-s/M (sum %.3f), data %.2f B/span, footer %u B, bloom %zu B\n",
           finish_s / spans * 1e6, (add_s + finish_s) / spans * 1e6, (double)data.len / spans,
           meta.footer_bytes, blooms.len);
    printf("peak RSS grew %.1f B/span while finishing (the file in memory included)\n",
           (double)(usage.ru_maxrss - rss_before) * 1024 / spans);
    builder = block_builder_free(builder);
    bench_verify(fm_buf_slice(&data), &meta, &blooms, spans);
    bench_find(corpus, fm_buf_slice(&data), &meta);
    bench_inspect(fm_buf_slice(&data), &meta);
    if (argc > 4)
        bench_files(argv[4], fm_buf_slice(&data), &blooms, &meta);
    fm_buf_fini(&data);
    fm_buf_fini(&blooms);
    return 0;
}
