/* SPDX-License-Identifier: Apache-2.0 */
/* emit: sends realistic traces and measures the answers. */
#include "emit.h"

#include <stdio.h>
#include <stdlib.h>

#include "fermata/linux.h"
#include "fermata/units.h"
#include "jaeger_encode.h"
#include "terminal.h"

#define EMIT_DATAGRAM_RATE 20000 /* nobody's answers set the pace, so somebody has to */
#define EMIT_PACKET_BYTES  16384
#define EMIT_SECRET_MAX    FM_KIB(4)
#define EMIT_PROTOCOL_HELP                                                                         \
    "otlp_http (default), otlp_grpc, otlp_http_json,\n"                                            \
    "                             jaeger_compact, jaeger_binary (datagrams), jaeger_http,\n"       \
    "                             jaeger_grpc, zipkin_json, zipkin_proto, zipkin_v1_json,\n"       \
    "                             zipkin_thrift"

static const struct options emit_options = {.verb = "emit"}; /* for what goes wrong */

static const char emit_examples[] =
    "  fermata emit --total 10000\n"
    "  fermata emit --protocol otlp_grpc --connections 4 --rate 50000 --duration 30s\n"
    "  fermata emit --protocol jaeger_compact --rate 20000 --duration 30s\n"
    "  fermata emit --total 1000000 --prepare --json\n"
    "  fermata emit --endpoint https://localhost:4318 --tls-ca ca.pem --user-file ./user\n"
    "  fermata emit --total 200000 --seed 7 --write-corpus /tmp/corpus\n"
    "  fermata emit --corpus /tmp/corpus --ledger /tmp/acked --ledger-sync\n";

/* Takes "http://host:port/path", "host:port" or "unix:PATH" apart. */
static int emit_parse_endpoint(struct emit_plan *plan, struct fm_why *why)
{
    const char *text = plan->endpoint ? plan->endpoint : plan->protocol->endpoint;
    char host[300];

    plan->endpoint = text;
    plan->tls |= strncmp(text, "https://", 8) == 0;
    if (strncmp(text, "http://", 7) == 0 || strncmp(text, "https://", 8) == 0)
        text = strstr(text, "//") + 2;
    const char *slash = strncmp(text, "unix:", 5) == 0 ? NULL : strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    if (len >= sizeof host || (slash && strlen(slash) >= sizeof plan->path))
        return fm_fail(why, FM_EUSAGE, "the endpoint is too long");
    (void)snprintf(host, sizeof host, "%.*s", (int)len, text);
    (void)snprintf(plan->path, sizeof plan->path, "%s",
                   slash && slash[1] ? slash : plan->protocol->path);
    int rc = net_endpoint_parse(host, &plan->target, why);
    if (rc == FM_OK && plan->protocol->transport == EMIT_DATAGRAM &&
        (plan->target.is_unix || plan->tls))
        return fm_fail(why, FM_EUSAGE, "datagrams go to host:port, without TLS");
    return rc;
}

/* ---- headers ---- */

static int emit_add_header(struct emit_plan *plan, struct fm_arena *texts, const char *text,
                           struct fm_why *why)
{
    const char *colon = strchr(text, ':');
    size_t len = strlen(text);

    if (!colon || colon == text || strpbrk(text, "\r\n"))
        return fm_fail(why, FM_EUSAGE, "--header: accepted is \"Name: value\"");
    if (plan->headers.count == OPTION_LIST_MAX)
        return fm_fail(why, FM_EUSAGE, "too many headers");
    char *copy = fm_arena_dup(texts, text, len + 1);
    if (!copy)
        return fm_fail(why, FM_ENOMEM, "out of memory");
    for (char *name = copy; *name != ':'; name++) { /* HTTP/2 wants lower case */
        if (*name >= 'A' && *name <= 'Z')
            *name = (char)(*name - 'A' + 'a');
    }
    plan->headers.items[plan->headers.count++] = copy;
    return FM_OK;
}

/* The first line of a file that holds a secret. */
static int emit_read_secret(const char *path, struct fm_buf *secret, struct fm_why *why)
{
    int rc = pf_read_file(linux_platform(), path, secret, why);
    if (rc < 0)
        return rc;
    const uint8_t *end = secret->len ? memchr(secret->ptr, '\n', secret->len) : NULL;
    if (end)
        secret->len = (size_t)(end - secret->ptr);
    while (secret->len && secret->ptr[secret->len - 1] <= ' ')
        secret->len--;
    return secret->len ? FM_OK : fm_fail(why, FM_EUSAGE, "%s: its first line is empty", path);
}

/* token: "authorization: Bearer TOKEN"; else the file's "user:password" as Basic. */
static int emit_add_secret(struct emit_plan *plan, struct fm_arena *texts, const char *path,
                           bool is_token, struct fm_why *why)
{
    struct fm_buf secret, header;

    fm_buf_init(&secret, EMIT_SECRET_MAX);
    fm_buf_init(&header, 2 * EMIT_SECRET_MAX);
    int rc = emit_read_secret(path, &secret, why);
    if (rc == FM_OK) {
        fm_buf_puts(&header, is_token ? "authorization: Bearer " : "authorization: Basic ");
        if (is_token)
            fm_buf_put_slice(&header, fm_buf_slice(&secret));
        else
            fm_base64_encode(&header, fm_buf_slice(&secret));
        fm_buf_put_u8(&header, 0);
        rc = header.failed ? fm_fail(why, FM_ENOMEM, "out of memory")
                           : emit_add_header(plan, texts, (const char *)header.ptr, why);
    }
    fm_buf_fini(&secret);
    fm_buf_fini(&header);
    return rc;
}

struct emit_words { /* of the command line, before they are checked */
    unsigned protocol;
    const char *start, *token_file, *user_file;
    struct option_list headers;
};

static int emit_take_headers(struct emit_plan *plan, const struct emit_words *words,
                             struct fm_arena *texts, struct fm_why *why)
{
    int rc = FM_OK;

    for (size_t i = 0; rc == FM_OK && i < words->headers.count; i++)
        rc = emit_add_header(plan, texts, words->headers.items[i], why);
    if (rc == FM_OK && words->token_file)
        rc = emit_add_secret(plan, texts, words->token_file, true, why);
    if (rc == FM_OK && words->user_file)
        rc = emit_add_secret(plan, texts, words->user_file, false, why);
    return rc;
}

/* ---- the plan ---- */

static int emit_check_numbers(const struct emit_plan *plan, struct fm_why *why)
{
    if (plan->batch_spans < 1 || plan->batch_spans > 100000)
        return fm_fail(why, FM_EUSAGE, "--batch: accepted is 1 to 100000");
    if (plan->connection_count < 1 || plan->connection_count > 10000)
        return fm_fail(why, FM_EUSAGE, "--connections: accepted is 1 to 10000");
    if (plan->stream_count < 1 || plan->stream_count > 1000)
        return fm_fail(why, FM_EUSAGE, "--streams: accepted is 1 to 1000");
    if (plan->packet_bytes < 512 || plan->packet_bytes > JAEGER_DATAGRAM_BYTES_MAX)
        return fm_fail(why, FM_EUSAGE, "--packet: accepted is 512 to 65000");
    return FM_OK;
}

static int emit_check_plan(struct emit_plan *plan, const struct emit_words *words,
                           struct fm_arena *texts, struct fm_why *why)
{
    plan->protocol = &emit_protocols[words->protocol];
    int rc = emit_check_numbers(plan, why);
    if (rc < 0)
        return rc;
    if ((plan->prepare || plan->write_corpus_file) && !plan->corpus_file && !plan->total)
        return fm_fail(why, FM_EUSAGE, "a prepared corpus needs --total");
    if (!plan->tls_cert_file != !plan->tls_key_file)
        return fm_fail(why, FM_EUSAGE, "--tls-cert and --tls-key need each other");
    plan->tls |= plan->tls_ca_file || plan->tls_cert_file || plan->tls_server_name;
    if (plan->ledger_sync && !plan->ledger_file)
        return fm_fail(why, FM_EUSAGE, "--ledger-sync needs --ledger");
    if (words->start && fm_rfc3339_parse(fm_slice_text(words->start), &plan->start_ns) < 0)
        return fm_fail(why, FM_EUSAGE, "--start: accepted is 2026-01-31T12:00:00Z");
    if (!plan->total && !plan->duration_ns && !plan->corpus_file)
        plan->duration_ns = 10 * FM_NS_PER_S;
    if (plan->protocol->transport == EMIT_DATAGRAM && !plan->rate)
        plan->rate = EMIT_DATAGRAM_RATE;
    rc = emit_take_headers(plan, words, texts, why);
    if (rc < 0)
        return rc;
    if (plan->protocol->transport == EMIT_DATAGRAM && (plan->tenant || plan->headers.count))
        return fm_fail(why, FM_EUSAGE, "datagrams carry no headers");
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

static bool emit_parse(struct emit_plan *plan, struct emit_words *words, int argc, char **argv,
                       int *ret_exit)
{
    const char *names[EMIT_PROTOCOL_MAX + 1] = {0};
    const struct option rows[] = {
        {"protocol", OPTION_CHOICE, &words->protocol, "NAME", EMIT_PROTOCOL_HELP, names},
        {"endpoint", OPTION_TEXT, &plan->endpoint, "ENDPOINT",
         "host:port, URL or unix:PATH; default: the protocol's port on 127.0.0.1", NULL},
        {"connections", OPTION_UINT, &plan->connection_count, "N", "at once; default 1", NULL},
        {"streams", OPTION_UINT, &plan->stream_count, "N",
         "requests at once per connection, gRPC only; default 1", NULL},
        {"rate", OPTION_UINT, &plan->rate, "SPANS",
         "per second; default 0: as fast as acked, 20000 for datagrams", NULL},
        {"total", OPTION_UINT, &plan->total, "SPANS", "stop after so many, in whole requests",
         NULL},
        {"duration", OPTION_DURATION, &plan->duration_ns, "TIME",
         "stop after this time; default 10s without --total", NULL},
        {"batch", OPTION_UINT, &plan->batch_spans, "SPANS", "per request; default 512", NULL},
        {"packet", OPTION_UINT, &plan->packet_bytes, "BYTES",
         "of a datagram at most; default 16384, up to 65000", NULL},
        {"seed", OPTION_UINT, &plan->seed, "N", "same seed, same traces; default 1", NULL},
        {"start", OPTION_TEXT, &words->start, "TIME",
         "of the spans' own time, RFC 3339; default now", NULL},
        {"tenant", OPTION_TEXT, &plan->tenant, "NAME", "X-Scope-OrgID", NULL},
        {"header", OPTION_MANY, &words->headers, "NAME:VALUE", "of every request", NULL},
        {"token-file", OPTION_TEXT, &words->token_file, "FILE",
         "first line: the token of Authorization: Bearer", NULL},
        {"user-file", OPTION_TEXT, &words->user_file, "FILE",
         "first line: user:password for Authorization: Basic", NULL},
        {"tls", OPTION_FLAG, &plan->tls, NULL, "as an endpoint https://... and --tls-... do, too",
         NULL},
        {"tls-ca", OPTION_TEXT, &plan->tls_ca_file, "FILE",
         "PEM, whom to trust; default: the system's store", NULL},
        {"tls-cert", OPTION_TEXT, &plan->tls_cert_file, "FILE", "PEM, our own certificate", NULL},
        {"tls-key", OPTION_TEXT, &plan->tls_key_file, "FILE", "PEM, its key", NULL},
        {"tls-server-name", OPTION_TEXT, &plan->tls_server_name, "NAME",
         "that the server's certificate must carry; default: the endpoint's host", NULL},
        {"give-up", OPTION_DURATION, &plan->give_up_ns, "TIME",
         "stop after this time without an answer; default 60s, at once if nobody ever answered",
         NULL},
        {"ledger", OPTION_TEXT, &plan->ledger_file, "FILE",
         "append the ids of acked spans; of sent ones for datagrams", NULL},
        {"ledger-sync", OPTION_FLAG, &plan->ledger_sync, NULL, "fdatasync it after each ack", NULL},
        {"prepare", OPTION_FLAG, &plan->prepare, NULL,
         "make up all requests before the clock starts", NULL},
        {"corpus", OPTION_TEXT, &plan->corpus_file, "FILE", "send the requests of a file", NULL},
        {"write-corpus", OPTION_TEXT, &plan->write_corpus_file, "FILE",
         "write such a file and send nothing", NULL},
        {"json", OPTION_FLAG, &plan->json, NULL, "print the report as JSON", NULL},
    };
    const struct options options = {
        .verb = emit_options.verb,
        .synopsis = "[OPTIONS]",
        .summary =
            "Sends realistic traces over any protocol, reports what was acknowledged, how fast.",
        .examples = emit_examples,
        .rows = rows,
        .row_count = FM_COUNT(rows),
    };

    FM_ASSERT(emit_protocol_count <= EMIT_PROTOCOL_MAX);
    for (size_t i = 0; i < emit_protocol_count; i++)
        names[i] = emit_protocols[i].name;
    return options_parse(&options, argc, argv, NULL, ret_exit);
}

int tool_emit(int argc, char **argv)
{
    struct emit_words words = {0};
    struct emit_plan plan = {.connection_count = 1,
                             .stream_count = 1,
                             .batch_spans = 512,
                             .seed = 1,
                             .packet_bytes = EMIT_PACKET_BYTES};
    struct fm_arena texts;
    struct fm_why why;
    int exit;

    if (!emit_parse(&plan, &words, argc, argv, &exit))
        return exit;
    fm_arena_init(&texts, FM_MIB(1));
    exit = emit_check_plan(&plan, &words, &texts, &why) < 0
               ? options_fail(&emit_options, EXIT_WRONG_USAGE, "%s", why.text)
               : emit_carry_out(&plan, &emit_options);
    fm_arena_fini(&texts);
    return exit;
}
