/* SPDX-License-Identifier: Apache-2.0 */
/* What finding traces in a block costs: time, bytes read, memory; cold and prepared.  Times are
 * CPU times of the process, which a busy machine blurs less.
 *
 * bench_find directory [finds]; directory: of a block, as bench_block or a daemon writes it */
#include "fermata/block.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct bench_ids {
    struct trace_id *ids;
    uint64_t *hashes; /* of the bytes that iteration gives, which finding must give too */
    size_t count, capacity;
};

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

static int bench_read_at(void *self, uint64_t offset, void *target, size_t len)
{
    const int *file = self;
    return pread(*file, target, len, (off_t)offset) == (ssize_t)len ? FM_OK : FM_EIO;
}

static int bench_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static uint64_t bench_hash(struct fm_slice bytes)
{
    uint64_t hash = bytes.len;
    for (size_t i = 0; i < bytes.len; i++)
        hash = (hash ^ bytes.ptr[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static int bench_visit(void *self, const struct trace_id *id, struct fm_slice otlp)
{
    struct bench_ids *ids = self;
    if (ids->count == ids->capacity)
        return FM_ELIMIT;
    ids->ids[ids->count] = *id;
    ids->hashes[ids->count++] = bench_hash(otlp);
    return FM_OK;
}

static void bench_run(const char *name, const struct block *block, const struct bench_ids *ids,
                      size_t find_count)
{
    struct fm_why why = {{0}};
    struct fm_buf otlp;
    double *taken = malloc(find_count * sizeof *taken);
    uint64_t random = 42, read_bytes = 0;
    fm_buf_init(&otlp, FM_MIB(64));
    double sum = 0;
    for (size_t i = 0; i < find_count; i++) {
        uint64_t inspected = 0;
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        size_t which = (size_t)((random >> 33) % ids->count);
        fm_buf_reset(&otlp);
        double before = bench_cpu_s();
        int rc = block_find_trace(block, &ids->ids[which], &otlp, &inspected, &why);
        sum += taken[i] = bench_cpu_s() - before;
        if (rc != FM_OK || bench_hash(fm_buf_slice(&otlp)) != ids->hashes[which])
            bench_die("find", rc, &why);
        read_bytes += inspected;
    }
    double count = (double)find_count;
    qsort(taken, find_count, sizeof *taken, bench_compare);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("%-10s p50 %6.3f ms, p99 %6.3f ms, max %6.3f ms, mean %.3f ms, %.0f KiB read each; "
           "block holds %.0f KiB, peak RSS %ld MiB\n",
           name, taken[find_count / 2] * 1e3, taken[find_count * 99 / 100] * 1e3,
           taken[find_count - 1] * 1e3, sum / count * 1e3, (double)read_bytes / count / 1024,
           (double)block_memory(block) / 1024, usage.ru_maxrss / 1024);
    fm_buf_fini(&otlp);
    free(taken);
}

static void bench_meta(const char *directory, struct block_meta *meta)
{
    char path[512], text[65536];
    (void)snprintf(path, sizeof path, "%s/meta.json", directory);
    FILE *file = fopen(path, "rb");
    size_t len = file ? fread(text, 1, sizeof text, file) : 0;
    if (file)
        fclose(file);
    struct fm_why why = {{0}};
    int rc = block_meta_parse(fm_slice(text, len), meta, &why);
    if (rc < 0)
        bench_die(path, rc, &why);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        bench_die("bench_find directory [finds]", FM_EUSAGE, NULL);
    size_t find_count = argc > 2 ? strtoul(argv[2], NULL, 10) : 1000;
    struct block_meta meta;
    struct fm_why why = {{0}};
    struct stat info;
    char path[512];
    bench_meta(argv[1], &meta);
    (void)snprintf(path, sizeof path, "%s/data.parquet", argv[1]);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &info) != 0 || find_count == 0)
        bench_die(path, FM_EIO, NULL);
    struct fm_source source = {bench_read_at, &file, (uint64_t)info.st_size};
    FM_AUTO(block) block = NULL;
    int rc = block_open(&block, source, &meta, &why);
    if (rc < 0)
        bench_die("open", rc, &why);
    struct bench_ids ids = {.capacity = (size_t)meta.trace_count};
    ids.ids = calloc(ids.capacity, sizeof *ids.ids);
    ids.hashes = calloc(ids.capacity, sizeof *ids.hashes);
    rc = block_each_trace(block, bench_visit, &ids, &why);
    if (rc < 0)
        bench_die("each", rc, &why);
    bench_run("cold", block, &ids, find_count / 10 + 1);
    double before = bench_cpu_s();
    block_prepare(block, FM_MIB(64));
    printf("prepared in %.2f ms\n", (bench_cpu_s() - before) * 1e3);
    bench_run("prepared", block, &ids, find_count);
    close(file);
    free(ids.ids);
    free(ids.hashes);
    return 0;
}
