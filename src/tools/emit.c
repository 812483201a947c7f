/* SPDX-License-Identifier: Apache-2.0 */
/* emit: sends realistic traces and measures the answers. */
#include "emit.h"

#include <stdio.h>
#include <stdlib.h>

#include "fermata/units.h"
#include "options.h"
#include "terminal.h"

static const char *const emit_protocols[] = {"otlp_http", "otlp_grpc", "otlp_http_json", NULL};

static const char emit_examples[] =
    "  fermata emit --total 10000\n"
    "  fermata emit --protocol otlp_grpc --connections 4 --rate 50000 --duration 30s\n"
    "  fermata emit --total 1000000 --prepare --json\n"
    "  fermata emit --total 200000 --seed 7 --write-corpus /tmp/corpus\n"
    "  fermata emit --corpus /tmp/corpus --ledger /tmp/acked --ledger-sync\n";

/* Takes "http://host:port/path", "host:port" or "unix:PATH" apart. */
static int emit_parse_endpoint(struct emit_plan *plan, struct fm_why *why)
{
    static const char *const defaults[] = {
        [EMIT_OTLP_HTTP] = "127.0.0.1:4318",
        [EMIT_OTLP_GRPC] = "127.0.0.1:4317",
        [EMIT_OTLP_HTTP_JSON] = "127.0.0.1:4318",
    };
    const char *text = plan->endpoint ? plan->endpoint : defaults[plan->protocol];
    char host[300];

    plan->endpoint = text;
    if (strncmp(text, "https:", 6) == 0)
        return fm_fail(why, FM_EUSAGE, "emit speaks no TLS: give it a plain endpoint");
    if (strncmp(text, "http://", 7) == 0)
        text += 7;
    const char *slash = strncmp(text, "unix:", 5) == 0 ? NULL : strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    if (len >= sizeof host || (slash && strlen(slash) >= sizeof plan->path))
        return fm_fail(why, FM_EUSAGE, "the endpoint is too long");
    (void)snprintf(host, sizeof host, "%.*s", (int)len, text);
    (void)snprintf(plan->path, sizeof plan->path, "%s", slash && slash[1] ? slash : "/v1/traces");
    return net_endpoint_parse(host, &plan->target, why);
}

static int emit_check_plan(struct emit_plan *plan, const char *start, struct fm_why *why)
{
    if (plan->batch_spans < 1 || plan->batch_spans > 100000)
        return fm_fail(why, FM_EUSAGE, "--batch: accepted is 1 to 100000");
    if (plan->connection_count < 1 || plan->connection_count > 10000)
        return fm_fail(why, FM_EUSAGE, "--connections: accepted is 1 to 10000");
    if (plan->stream_count < 1 || plan->stream_count > 1000)
        return fm_fail(why, FM_EUSAGE, "--streams: accepted is 1 to 1000");
    if ((plan->prepare || plan->write_corpus_file) && !plan->corpus_file && !plan->total)
        return fm_fail(why, FM_EUSAGE, "a prepared corpus needs --total");
    if (plan->ledger_sync && !plan->ledger_file)
        return fm_fail(why, FM_EUSAGE, "--ledger-sync needs --ledger");
    if (start && fm_rfc3339_parse(fm_slice_text(start), &plan->start_ns) < 0)
        return fm_fail(why, FM_EUSAGE, "--start: accepted is 2026-01-31T12:00:00Z");
    if (!plan->total && !plan->duration_ns && !plan->corpus_file)
        plan->duration_ns = 10 * FM_NS_PER_S;
    return emit_parse_endpoint(plan, why);
}

static int emit_verdict(const struct emit_run *run, const struct options *options)
{
    const struct emit_tally *tally = &run->tally;

    if (!tally->connections)
        return options_fail(options, EXIT_NO_SERVICE, "nobody answers at %s%s%s",
                            run->plan->endpoint, tally->last_error[0] ? ": " : "",
                            tally->last_error);
    return tally->rejected_spans || tally->failed_spans || tally->unknown_spans ? EXIT_NEGATIVE
                                                                                : EXIT_DONE;
}

static int emit_report(const struct emit_run *run, const struct options *options)
{
    struct fm_buf out;

    fm_buf_init(&out, FM_MIB(1));
    if (run->plan->json)
        emit_tally_print_json(&run->tally, &out);
    else if (run->tally.connections)
        emit_tally_print(&run->tally, &out);
    terminal_flush(&out);
    fm_buf_fini(&out);
    return emit_verdict(run, options);
}

static int emit_carry_out(const struct emit_plan *plan, const struct options *options)
{
    FM_AUTO(emit_source) source = NULL;
    struct fm_why why;

    int rc = emit_source_new(&source, plan, &why);
    if (rc < 0)
        return options_fail(options, rc == FM_ECORRUPT ? EXIT_DAMAGED : EXIT_IO, "%s", why.text);
    if (plan->write_corpus_file) {
        rc = emit_source_write(source, plan->write_corpus_file, &why);
        if (rc < 0)
            return options_fail(options, EXIT_IO, "%s", why.text);
        printf("%s: %llu bytes\n", plan->write_corpus_file,
               (unsigned long long)emit_source_bytes(source));
        return EXIT_DONE;
    }
    struct emit_run *run = calloc(1, sizeof *run); /* its histogram is large for a stack */
    if (!run)
        return options_fail(options, EXIT_IO, "out of memory");
    rc = emit_run(run, plan, source);
    int exit =
        rc < 0 ? options_fail(options, EXIT_IO, "%s", run->why.text) : emit_report(run, options);
    free(run);
    return exit;
}

int tool_emit(int argc, char **argv)
{
    struct emit_plan plan = {
        .connection_count = 1, .stream_count = 1, .batch_spans = 512, .seed = 1};
    const char *start = NULL;
    const struct option rows[] = {
        {"protocol", OPTION_CHOICE, &plan.protocol, "NAME",
         "otlp_http (default), otlp_grpc, otlp_http_json", emit_protocols},
        {"endpoint", OPTION_TEXT, &plan.endpoint, "ENDPOINT",
         "host:port, URL or unix:PATH; default 127.0.0.1:4318 or :4317", NULL},
        {"connections", OPTION_UINT, &plan.connection_count, "N", "at once; default 1", NULL},
        {"streams", OPTION_UINT, &plan.stream_count, "N",
         "requests at once per connection, gRPC only; default 1", NULL},
        {"rate", OPTION_UINT, &plan.rate, "SPANS", "per second; default 0: as fast as acked", NULL},
        {"total", OPTION_UINT, &plan.total, "SPANS", "stop after so many, in whole requests", NULL},
        {"duration", OPTION_DURATION, &plan.duration_ns, "TIME",
         "stop after this time; default 10s without --total", NULL},
        {"batch", OPTION_UINT, &plan.batch_spans, "SPANS", "per request; default 512", NULL},
        {"seed", OPTION_UINT, &plan.seed, "N", "same seed, same traces; default 1", NULL},
        {"start", OPTION_TEXT, &start, "TIME", "of the spans' own time, RFC 3339; default now",
         NULL},
        {"tenant", OPTION_TEXT, &plan.tenant, "NAME", "X-Scope-OrgID", NULL},
        {"give-up", OPTION_DURATION, &plan.give_up_ns, "TIME",
         "stop after this time without an answer; default 60s, at once if nobody ever answered",
         NULL},
        {"ledger", OPTION_TEXT, &plan.ledger_file, "FILE", "append the ids of acked spans", NULL},
        {"ledger-sync", OPTION_FLAG, &plan.ledger_sync, NULL, "fdatasync it after each ack", NULL},
        {"prepare", OPTION_FLAG, &plan.prepare, NULL,
         "make up all requests before the clock starts", NULL},
        {"corpus", OPTION_TEXT, &plan.corpus_file, "FILE", "send the requests of a file", NULL},
        {"write-corpus", OPTION_TEXT, &plan.write_corpus_file, "FILE",
         "write such a file and send nothing", NULL},
        {"json", OPTION_FLAG, &plan.json, NULL, "print the report as JSON", NULL},
    };
    const struct options options = {
        .verb = "emit",
        .synopsis = "[OPTIONS]",
        .summary = "Sends realistic traces over OTLP and reports what was acknowledged, how fast.",
        .examples = emit_examples,
        .rows = rows,
        .row_count = FM_COUNT(rows),
    };
    struct fm_why why;
    int exit;

    if (!options_parse(&options, argc, argv, NULL, &exit))
        return exit;
    if (emit_check_plan(&plan, start, &why) < 0)
        return options_fail(&options, EXIT_WRONG_USAGE, "%s", why.text);
    return emit_carry_out(&plan, &options);
}
