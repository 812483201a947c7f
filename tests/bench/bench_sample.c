/* SPDX-License-Identifier: Apache-2.0 */
/* What tail sampling costs: CPU to judge sealed blocks, and to make what leaves of them.
 *
 * bench_sample [spans]
 *
 * A store on the simulated platform, so that a disk is memory and nothing waits: the blocks are
 * built, then time passes until they are due, and what the process spends from there is measured.
 * Once with nobody to go on to (judging alone), once with outgoing groups. */
#include "../../src/tools/corpus.h"

#include "fermata/sampler.h"
#include "fermata/sim.h"
#include "fermata/store_outbox.h"
#include "fermata/units.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define AGE_NS  (24 * 3600 * FM_NS_PER_S)
#define WAIT_NS (1200 * FM_NS_PER_S)

struct bench {
    struct sim *sim;
    struct store *store;
    struct sampler *sampler;
    struct corpus *corpus;
    uint64_t appended, answered;
    bool is_flushed, is_closed;
    uint64_t left_spans;
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

/* ---- spans in ---- */

struct sent {
    struct store_append append;
    struct bench *bench;
};

static void on_stored(struct store_append *append, int rc)
{
    struct sent *sent = FM_CONTAINER(append, struct sent, append);
    if (rc < 0)
        bench_die("append", rc, NULL);
    sent->bench->answered++;
    free(sent);
}

static void bench_append(struct bench *bench)
{
    struct sent *sent = calloc(1, sizeof *sent);
    uint64_t before = corpus_span_count(bench->corpus), now_ns;
    if (!sent)
        bench_die("append", FM_ENOMEM, NULL);
    now_ns = pf_wall_ns(sim_platform(bench->sim));
    sent->bench = bench;
    sent->append = (struct store_append){
        .tenant = FM_SLICE(TENANT_DEFAULT),
        .start_min_ns = now_ns,
        .end_max_ns = now_ns + FM_NS_PER_S,
        .received_unix_ns = now_ns,
        .done = on_stored,
    };
    fm_buf_init(&sent->append.payload, FM_MIB(16));
    int rc = corpus_next(bench->corpus, now_ns, &sent->append.payload);
    if (rc < 0)
        bench_die("corpus", rc, NULL);
    sent->append.span_count = (uint32_t)(corpus_span_count(bench->corpus) - before);
    store_append(bench->store, &sent->append);
    bench->appended++;
    while (bench->answered < bench->appended && sim_step(bench->sim)) {
    }
}

static void on_flushed(void *self, int rc)
{
    struct bench *bench = self;
    if (rc < 0)
        bench_die("flush", rc, NULL);
    bench->is_flushed = true;
}

/* ---- who takes what leaves ---- */

static void on_uploaded(void *self, int rc)
{
    (void)self;
    if (rc < 0)
        bench_die("marker", rc, NULL);
}

static void bench_on_sealed(void *self, struct store_block *block)
{
    struct bench *bench = self;
    if (store_block_is_uploaded(bench->store, block))
        return;
    bench->left_spans += block->span_count;
    store_block_uploaded(bench->store, block, on_uploaded, bench);
}

/* ---- life ---- */

static void bench_open(struct bench *bench, const struct sample_rule *rules, size_t count,
                       bool leaves)
{
    struct fm_why why = {""};
    struct sample_fault fault;
    const struct store_options options = {
        .data_dir = "/data",
        .segment_bytes = FM_MIB(16),
        .compress = true,
        .pending_bytes_max = FM_MIB(64),
        .head_bytes_max = FM_MIB(16),
        .block = block_options_default,
        .block_age_ns = AGE_NS,
        .block_bytes = FM_MIB(64),
        .retention_ns = 2 * AGE_NS,
        .retention_sampled_out_ns = 2 * AGE_NS,
    };
    struct sampler_options sampling = {
        .decision_wait_ns = WAIT_NS,
        .verdict_bytes_max = FM_MIB(8),
        .memory_max = FM_MIB(32),
    };
    if (leaves)
        sampling.next = (struct store_observer){.on_sealed = bench_on_sealed, .self = bench};
    struct platform *platform = sim_platform(bench->sim);
    int rc = store_open(&bench->store, platform, &options, &why);
    if (rc == FM_OK)
        rc = sample_rules_new(&sampling.rules, rules, count, "0.05", &fault);
    if (rc == FM_OK)
        rc = sampler_new(&bench->sampler, platform, bench->store, &sampling, &why);
    if (rc < 0)
        bench_die("open", rc, &why);
    const struct store_observer observer = {
        .on_sealed = sampler_on_sealed, .on_dropped = sampler_on_dropped, .self = bench->sampler};
    store_set_observer(bench->store, &observer);
}

static void on_closed(void *self)
{
    ((struct bench *)self)->is_closed = true;
}

static void bench_close(struct bench *bench)
{
    const struct store_observer nobody = {0};
    bench->is_closed = false;
    sampler_close(bench->sampler, on_closed, bench);
    while (!bench->is_closed && sim_step(bench->sim)) {
    }
    store_set_observer(bench->store, &nobody);
    bench->is_closed = false;
    store_close(bench->store, on_closed, bench);
    while (!bench->is_closed && sim_step(bench->sim)) {
    }
}

static void bench_run(uint64_t wanted, const struct sample_rule *rules, size_t count, bool leaves)
{
    const struct corpus_options corpus = {
        .seed = 42, .spans_per_request = 512, .spans_per_s = 5000};
    struct bench bench = {0};
    struct sampler_status status;
    int rc = sim_new(&bench.sim, 1);
    if (rc == FM_OK)
        rc = corpus_new(&bench.corpus, &corpus);
    if (rc < 0)
        bench_die("new", rc, NULL);
    bench_open(&bench, rules, count, leaves);
    while (corpus_span_count(bench.corpus) < wanted)
        bench_append(&bench);
    store_flush(bench.store, on_flushed, &bench);
    while (!bench.is_flushed && sim_step(bench.sim)) {
    }
    sampler_get_status(bench.sampler, &status);
    double spans = (double)status.undecided_spans, before = bench_cpu_s();
    uint64_t blocks = status.undecided_blocks;
    (void)sim_run(bench.sim, WAIT_NS + 60 * FM_NS_PER_S);
    double cpu_s = bench_cpu_s() - before;
    sampler_get_status(bench.sampler, &status);
    if (status.undecided_blocks || status.unbuilt_blocks)
        bench_die("not all is decided", FM_EIO, NULL);
    printf("%zu policies, %s: %.3f CPU-s/M; %.0f spans in %llu blocks, %.1f %% kept\n", count,
           leaves ? "judged and made" : "judged", cpu_s / spans * 1e6, spans,
           (unsigned long long)blocks, 100 * (double)status.kept_spans / spans);
    bench_close(&bench);
    corpus_free(bench.corpus);
    sim_free(bench.sim);
}

int main(int argc, char **argv)
{
    uint64_t wanted = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    static const struct sample_rule rules[] = {
        {.kind = SAMPLE_STATUS_CODE, .name = "errors", .status_codes = "error"},
        {.kind = SAMPLE_LATENCY, .name = "slow", .threshold_ns = 2 * FM_NS_PER_S},
        {.kind = SAMPLE_STRING_ATTRIBUTE,
         .name = "checkout",
         .key = "service.name",
         .values = "checkout"},
        {.kind = SAMPLE_TRACEQL,
         .name = "server-errors",
         .query = "{ span.http.status_code >= 500 }"},
    };
    log_setup((enum log_level)0, false, NULL);
    bench_run(wanted, rules, 2, false);
    bench_run(wanted, rules, FM_COUNT(rules), false);
    bench_run(wanted, rules, 2, true);
    return 0;
}
