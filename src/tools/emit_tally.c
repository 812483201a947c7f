/* SPDX-License-Identifier: Apache-2.0 */
/* What came of the load: counts, latencies, and the ledger of what was promised to be stored. */
#include "emit.h"

#include <stdio.h>

#include "fermata/json.h"
#include "fermata/pb.h"
#include "fermata/units.h"
#include "fermata/linux.h"

/* Values below 64 have their own step, larger ones share a step with 1.6 % of their size. */
static size_t tally_step(uint64_t ns)
{
    if (ns < EMIT_LATENCY_STEPS)
        return (size_t)ns;
    unsigned shift = 57 - (unsigned)__builtin_clzll(ns); /* leaves 64..127 */
    return (size_t)(shift * EMIT_LATENCY_STEPS + (ns >> shift));
}

static uint64_t tally_value(size_t step)
{
    if (step < EMIT_LATENCY_STEPS)
        return step;
    unsigned shift = (unsigned)(step / EMIT_LATENCY_STEPS) - 1;
    return (uint64_t)(EMIT_LATENCY_STEPS + step % EMIT_LATENCY_STEPS) << shift;
}

void emit_tally_latency(struct emit_tally *tally, uint64_t ns)
{
    size_t step = FM_MIN(tally_step(ns), FM_COUNT(tally->latencies) - 1);

    tally->latencies[step]++;
    tally->latency_max_ns = FM_MAX(tally->latency_max_ns, ns);
}

uint64_t emit_tally_percentile(const struct emit_tally *tally, double share)
{
    uint64_t total = 0, seen = 0;

    for (size_t i = 0; i < FM_COUNT(tally->latencies); i++)
        total += tally->latencies[i];
    for (size_t i = 0; total && i < FM_COUNT(tally->latencies); i++) {
        seen += tally->latencies[i];
        if ((double)seen >= share * (double)total)
            return FM_MIN(tally_value(i), tally->latency_max_ns);
    }
    return 0;
}

static double tally_seconds(uint64_t ns)
{
    return (double)ns / (double)FM_NS_PER_S;
}

static uint64_t tally_spans(const struct emit_tally *tally)
{
    return tally->is_datagram ? tally->sent_spans : tally->acked_spans;
}

static double tally_rate(const struct emit_tally *tally)
{
    return tally->elapsed_ns ? (double)tally_spans(tally) / tally_seconds(tally->elapsed_ns) : 0;
}

/* CPU time of this process per million spans: what the sender itself costs. */
static double tally_sender_cost(const struct emit_tally *tally)
{
    uint64_t spans = tally_spans(tally);
    return spans ? tally_seconds(tally->cpu_ns) * 1e6 / (double)spans : 0;
}

static double tally_ms(const struct emit_tally *tally, double share)
{
    return (double)emit_tally_percentile(tally, share) / (double)FM_NS_PER_MS;
}

static void tally_print_sent(const struct emit_tally *tally, struct fm_buf *out)
{
    fm_buf_puts(out, "sent       ");
    fm_bytes_print_short(out, tally->sent_bytes);
    fm_buf_printf(out, ", sender's CPU %.3f s per million spans\n", tally_sender_cost(tally));
    if (tally->last_error[0])
        fm_buf_printf(out, "last error %s\n", tally->last_error);
}

static void tally_print_datagrams(const struct emit_tally *tally, struct fm_buf *out)
{
    fm_buf_printf(out,
                  "sent       %llu spans in %llu datagrams, %.2f s, %.0f spans/s; nobody "
                  "acknowledges datagrams\n",
                  (unsigned long long)tally->sent_spans, (unsigned long long)tally->datagrams,
                  tally_seconds(tally->elapsed_ns), tally_rate(tally));
    if (tally->failed_spans || tally->unknown_spans)
        fm_buf_printf(out, "refused    %llu datagrams (%llu spans), %llu spans not sent\n",
                      (unsigned long long)tally->failed_requests,
                      (unsigned long long)tally->failed_spans,
                      (unsigned long long)tally->unknown_spans);
    tally_print_sent(tally, out);
}

void emit_tally_print(const struct emit_tally *tally, struct fm_buf *out)
{
    if (tally->is_datagram) {
        tally_print_datagrams(tally, out);
        return;
    }
    fm_buf_printf(out, "acked      %llu spans in %llu requests, %.2f s, %.0f spans/s\n",
                  (unsigned long long)tally->acked_spans, (unsigned long long)tally->acked_requests,
                  tally_seconds(tally->elapsed_ns), tally_rate(tally));
    fm_buf_printf(
        out,
        "refused    %llu spans rejected, %llu requests (%llu spans) failed, "
        "%llu spans without an answer\n",
        (unsigned long long)tally->rejected_spans, (unsigned long long)tally->failed_requests,
        (unsigned long long)tally->failed_spans, (unsigned long long)tally->unknown_spans);
    fm_buf_printf(out, "retries    %llu, connections %llu, of which %llu failed\n",
                  (unsigned long long)tally->retries, (unsigned long long)tally->connections,
                  (unsigned long long)tally->connection_errors);
    fm_buf_printf(out, "latency    p50 %.2f ms, p99 %.2f ms, max %.2f ms\n", tally_ms(tally, 0.5),
                  tally_ms(tally, 0.99), (double)tally->latency_max_ns / (double)FM_NS_PER_MS);
    tally_print_sent(tally, out);
}

void emit_tally_print_json(const struct emit_tally *tally, struct fm_buf *out)
{
    const struct {
        const char *key;
        uint64_t value;
    } counts[] = {
        {"sent_spans", tally->sent_spans},
        {"datagrams", tally->datagrams},
        {"acked_spans", tally->acked_spans},
        {"rejected_spans", tally->rejected_spans},
        {"failed_spans", tally->failed_spans},
        {"unknown_spans", tally->unknown_spans},
        {"acked_requests", tally->acked_requests},
        {"failed_requests", tally->failed_requests},
        {"retries", tally->retries},
        {"connections", tally->connections},
        {"connection_errors", tally->connection_errors},
        {"sent_bytes", tally->sent_bytes},
    };
    const struct {
        const char *key;
        double value;
    } measures[] = {
        {"seconds", tally_seconds(tally->elapsed_ns)},
        {"spans_per_second", tally_rate(tally)},
        {"sender_cpu_seconds", tally_seconds(tally->cpu_ns)},
        {"latency_p50_ms", tally_ms(tally, 0.5)},
        {"latency_p99_ms", tally_ms(tally, 0.99)},
        {"latency_max_ms", (double)tally->latency_max_ns / (double)FM_NS_PER_MS},
    };
    struct json_writer writer;

    json_writer_init(&writer, out);
    json_object_begin(&writer);
    json_key(&writer, "schema");
    json_uint(&writer, 1);
    for (size_t i = 0; i < FM_COUNT(counts); i++) {
        json_key(&writer, counts[i].key);
        json_uint(&writer, counts[i].value);
    }
    for (size_t i = 0; i < FM_COUNT(measures); i++) {
        json_key(&writer, measures[i].key);
        json_number(&writer, measures[i].value);
    }
    json_key(&writer, "last_error");
    json_text(&writer, tally->last_error);
    json_object_end(&writer);
    fm_buf_puts(out, "\n");
}

/* ---- ledger ---- */

int emit_ledger_open(struct emit_ledger *ledger, const struct emit_plan *plan, struct fm_why *why)
{
    *ledger = (struct emit_ledger){.platform = linux_platform(), .sync = plan->ledger_sync};
    fm_buf_init(&ledger->lines, FM_MIB(64));
    if (!plan->ledger_file)
        return FM_OK;
    int rc = pf_open(ledger->platform, plan->ledger_file, PF_WRITE | PF_CREATE, &ledger->file, why);
    if (rc < 0)
        return rc;
    return ledger->platform->ops->size(ledger->file, &ledger->offset); /* appends */
}

void emit_ledger_close(struct emit_ledger *ledger)
{
    if (ledger->file)
        ledger->file = pf_close(ledger->platform, ledger->file);
    fm_buf_fini(&ledger->lines);
}

static void ledger_put_span(struct fm_buf *lines, struct fm_slice span)
{
    struct pb_field field;
    char line[50];
    unsigned have = 0;

    line[32] = ' ';
    line[49] = '\n';
    while (have != 3 && pb_next(&span, &field) == FM_OK) {
        if (field.number == 1 && field.bytes.len == 16 && field.type == PB_BYTES) {
            fm_hex_encode(line, field.bytes);
            have |= 1;
        } else if (field.number == 2 && field.bytes.len == 8 && field.type == PB_BYTES) {
            fm_hex_encode(line + 33, field.bytes);
            have |= 2;
        }
    }
    if (have == 3)
        fm_buf_put(lines, line, sizeof line);
}

/* request 1 resource_spans, 2 scope_spans, 2 spans: the path to every span. */
static void ledger_walk(struct fm_buf *lines, struct fm_slice message, unsigned level)
{
    static const uint32_t path[] = {1, 2, 2};
    struct pb_field field;

    while (pb_next(&message, &field) == FM_OK) {
        if (field.number != path[level] || field.type != PB_BYTES)
            continue;
        if (level + 1 == FM_COUNT(path))
            ledger_put_span(lines, field.bytes);
        else
            ledger_walk(lines, field.bytes, level + 1);
    }
}

int emit_ledger_add(struct emit_ledger *ledger, struct fm_slice otlp, struct fm_why *why)
{
    if (!ledger->file)
        return FM_OK;
    fm_buf_reset(&ledger->lines);
    ledger_walk(&ledger->lines, otlp, 0);
    if (ledger->lines.failed)
        return fm_fail(why, FM_ENOMEM, "no memory for the ledger");
    struct fm_slice lines = fm_buf_slice(&ledger->lines);
    int rc = ledger->platform->ops->write(ledger->file, ledger->offset, &lines, 1, why);
    if (rc < 0)
        return rc;
    ledger->offset += lines.len;
    return ledger->sync ? ledger->platform->ops->sync(ledger->file, why) : FM_OK;
}
