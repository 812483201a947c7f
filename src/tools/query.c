/* SPDX-License-Identifier: Apache-2.0 */
/* query: one trace, a search, names, values or metrics, from a running daemon, from the directory
 * of a dead node, or from a bucket. */
#include "query.h"

#include <stdio.h>

#include "fermata/json.h"
#include "fermata/pb.h"
#include "fermata/units.h"
#include "node_files.h"
#include "otlp_json.h"
#include "waterfall.h"

#define QUERY_URL       "http://127.0.0.1:3200"
#define QUERY_TRACE_MAX FM_MIB(256)

int query_fail(const struct query_request *request, int rc, const char *text)
{
    int exit = rc == FM_EUSAGE                          ? EXIT_WRONG_USAGE
               : rc == FM_ENOTFOUND                     ? EXIT_NOT_FOUND
               : rc == FM_EMALFORMED || rc == FM_ELIMIT ? EXIT_NEGATIVE
                                                        : EXIT_IO;
    return exit == EXIT_IO && request->is_quiet ? exit
                                                : options_fail(request->options, exit, "%s", text);
}

static int query_not_found(const struct query_request *request)
{
    char text[33];

    trace_id_print(&request->id, text);
    return options_fail(request->options, EXIT_NOT_FOUND, "trace %s is not here", text);
}

static int query_show(const struct query_request *request, struct trace *trace, bool is_partial)
{
    struct terminal terminal = terminal_of(1);
    struct fm_buf out;

    int rc = trace_finish(trace);
    if (rc < 0)
        return query_fail(request, rc, fm_rc_text(rc));
    if (trace_span_count(trace) == 0)
        return query_not_found(request);
    fm_buf_init(&out, QUERY_TRACE_MAX);
    if (request->json) {
        struct fm_buf otlp;
        fm_buf_init(&otlp, QUERY_TRACE_MAX);
        trace_put_otlp(trace, &otlp);
        rc = otlp_json_put(fm_buf_slice(&otlp), &out);
        fm_buf_puts(&out, "\n");
        fm_buf_fini(&otlp);
    } else {
        rc = waterfall_put(trace, &request->id, &terminal, &out);
    }
    terminal_flush(&out);
    fm_buf_fini(&out);
    if (is_partial || trace_is_partial(trace))
        fputs("fermata query: the trace is larger than the limit; this is a part of it\n", stderr);
    return rc < 0 ? query_fail(request, rc, fm_rc_text(rc)) : EXIT_DONE;
}

/* ---- from a daemon ---- */

int query_get(const struct query_request *request, const char *target, const char *accept,
              struct http_answer *answer)
{
    const struct http_header headers[] = {
        {FM_SLICE("accept"), fm_slice_text(accept)},
        {FM_SLICE("x-scope-orgid"), fm_slice_text(request->tenant ? request->tenant : "")},
    };
    struct fm_why why;

    int rc = http_client_get(request->url, target, headers, request->tenant ? 2 : 1, answer, &why);
    if (rc == FM_EUSAGE)
        return options_fail(request->options, EXIT_WRONG_USAGE, "%s", why.text);
    if (rc < 0)
        return request->is_quiet ? EXIT_NOT_RUNNING
                                 : options_fail(request->options, EXIT_NOT_RUNNING,
                                                "nobody answers at %s: %s", request->url, why.text);
    if (answer->status == 200)
        return EXIT_DONE;
    int exit = answer->status == 404                            ? EXIT_NOT_FOUND
               : answer->status == 429 || answer->status == 503 ? EXIT_TEMPORARY
                                                                : EXIT_NEGATIVE;
    if (exit == EXIT_TEMPORARY && request->is_quiet) {
        http_answer_fini(answer);
        return exit;
    }
    size_t len = answer->body.len;
    while (len && answer->body.ptr[len - 1] == '\n')
        len--;
    if (answer->status == 400) /* the words of the API are for people */
        (void)options_fail(request->options, exit, "%.*s", (int)FM_MIN(len, (size_t)2000),
                           len ? (const char *)answer->body.ptr : "");
    else
        (void)options_fail(request->options, exit, "HTTP %d: %.*s", answer->status,
                           (int)FM_MIN(len, (size_t)300),
                           len ? (const char *)answer->body.ptr : "");
    http_answer_fini(answer);
    return exit;
}

/* The API's JSON as it came, unless there is no span in it. */
static int query_print_json(const struct query_request *request, const struct http_answer *answer)
{
    struct json_reader reader;
    struct json_token token;
    struct fm_arena scratch;
    bool found = false;

    fm_arena_init(&scratch, QUERY_TRACE_MAX);
    json_reader_init(&reader, fm_buf_slice(&answer->body), &scratch);
    while (!found && json_next(&reader, &token) == FM_OK)
        found = token.kind == JSON_KEY && fm_slice_equal_text(token.text, "spanId");
    fm_arena_fini(&scratch);
    if (!found)
        return query_not_found(request);
    (void)fwrite(answer->body.ptr, 1, answer->body.len, stdout);
    if (answer->body.ptr[answer->body.len - 1] != '\n')
        putchar('\n');
    return EXIT_DONE;
}

/* TraceByIDResponse: trace (1) with resource spans (1), status (3): 1 is partial. */
static int query_add_answer(struct trace *trace, struct fm_slice answer, bool *ret_is_partial)
{
    struct pb_field field;
    int rc;

    *ret_is_partial = false;
    while ((rc = pb_next(&answer, &field)) == FM_OK) {
        if (field.number == 1 && field.type == PB_BYTES)
            rc = trace_add(trace, field.bytes);
        else if (field.number == 3 && field.type == PB_VARINT)
            *ret_is_partial = field.value == 1;
        if (rc < 0 && rc != FM_ELIMIT)
            return rc;
    }
    return rc == FM_END ? FM_OK : rc;
}

static int query_daemon(const struct query_request *request)
{
    FM_AUTO(trace) trace = NULL;
    struct http_answer answer;
    bool is_partial = false;

    char id[33], target[80];
    trace_id_print(&request->id, id);
    (void)snprintf(target, sizeof target, "/api/v2/traces/%s", id);
    int exit = query_get(request, target,
                         request->json ? "application/json" : "application/protobuf", &answer);
    if (exit != EXIT_DONE)
        return exit;
    if (request->json) {
        exit = query_print_json(request, &answer);
        http_answer_fini(&answer);
        return exit;
    }
    int rc = trace_new(&trace, &request->id, QUERY_TRACE_MAX);
    if (rc == FM_OK)
        rc = query_add_answer(trace, fm_buf_slice(&answer.body), &is_partial);
    http_answer_fini(&answer);
    if (rc < 0)
        return options_fail(request->options, EXIT_IO, "the answer cannot be read: %s",
                            fm_rc_text(rc));
    return query_show(request, trace, is_partial);
}

/* ---- from files ---- */

static int query_node(const struct query_request *request)
{
    FM_AUTO(trace) trace = NULL;
    struct fm_why why = {""};
    uint64_t damaged = 0;

    int rc = trace_new(&trace, &request->id, QUERY_TRACE_MAX);
    if (rc == FM_OK)
        rc = node_files_find(request->data_dir, request->tenant ? request->tenant : TENANT_DEFAULT,
                             &request->id, trace, &damaged, &why);
    if (rc < 0)
        return query_fail(request, rc, why.text[0] ? why.text : fm_rc_text(rc));
    if (damaged)
        fprintf(stderr, "fermata query: %llu files could not be read; the last: %s\n",
                (unsigned long long)damaged, why.text);
    return query_show(request, trace, false);
}

/* What the API would answer. */
static int query_show_answer(const struct query_request *request, struct trace *trace,
                             uint64_t inspected_bytes)
{
    struct fm_buf out;

    int rc = trace_finish(trace);
    if (rc < 0)
        return query_fail(request, rc, fm_rc_text(rc));
    if (trace_span_count(trace) == 0)
        return query_not_found(request);
    fm_buf_init(&out, 4 * QUERY_TRACE_MAX);
    trace_render(trace, TRACE_V2_JSON, inspected_bytes, &out);
    fm_buf_puts(&out, "\n");
    terminal_flush(&out);
    fm_buf_fini(&out);
    return EXIT_DONE;
}

static int query_bucket(const struct query_request *request)
{
    FM_AUTO(bucket_reader) reader = NULL;
    FM_AUTO(trace) trace = NULL;
    struct query_files files;
    struct fm_why why = {""};

    int rc = query_bucket_open(request, &reader, &why);
    if (rc == FM_OK)
        rc = trace_new(&trace, &request->id, QUERY_TRACE_MAX);
    if (rc == FM_OK)
        rc = query_files_open(&files, request, reader, &why);
    if (rc < 0)
        return query_fail(request, rc, why.text[0] ? why.text : fm_rc_text(rc));
    rc = query_files_find(&files, &request->id, trace, &why);
    query_files_complain(&files);
    query_files_close(&files);
    if (rc < 0)
        return query_fail(request, rc, why.text[0] ? why.text : fm_rc_text(rc));
    return request->json ? query_show_answer(request, trace, files.stats.inspected_bytes)
                         : query_show(request, trace, false);
}

static int query_trace(struct query_request *request)
{
    struct fm_why why;

    if (trace_id_parse(fm_slice_text(request->text), &request->id, &why) < 0)
        return options_fail(request->options, EXIT_WRONG_USAGE,
                            "%s: accepted is 1 to 32 hex digits", request->text);
    if (request->bucket)
        return query_bucket(request);
    return request->data_dir ? query_node(request) : query_daemon(request);
}

/* ---- the verb ---- */

static int query_check(struct query_request *request)
{
    const struct options *options = request->options;
    const char *bad = NULL;

    if (request->tenant && !tenant_is_valid(fm_slice_text(request->tenant)))
        return options_fail(options, EXIT_WRONG_USAGE, "%s: no tenant's name", request->tenant);
    if (request->bucket && strncmp(request->bucket, "dir:", 4) != 0 &&
        strncmp(request->bucket, "s3://", 5) != 0)
        return options_fail(options, EXIT_WRONG_USAGE,
                            "--bucket %s: accepted is dir:PATH or s3://BUCKET/PREFIX",
                            request->bucket);
    if (request->bucket && request->data_dir)
        return options_fail(options, EXIT_WRONG_USAGE, "--bucket or --data-dir, not both");
    if (request->start_text && !option_time(request->start_text, &request->start_ns))
        bad = request->start_text;
    if (request->end_text && !option_time(request->end_text, &request->end_ns))
        bad = request->end_text;
    if (bad)
        return options_fail(options, EXIT_WRONG_USAGE,
                            "%s: accepted are Unix seconds and 2026-01-02T03:04:05Z", bad);
    if (!request->start_ns != !request->end_ns && !request->follow)
        return options_fail(options, EXIT_WRONG_USAGE, "--start and --end, or neither");
    if (request->limit > UINT32_MAX || request->spss > UINT32_MAX)
        return options_fail(options, EXIT_WRONG_USAGE, "--limit or --spss is too large");
    return EXIT_DONE;
}

static int query_run(struct query_request *request, const char *const *words)
{
    static const char *const kinds[] = {
        [ASK_SEARCH] = "search",
        [ASK_TAG_NAMES] = "tags",
        [ASK_TAG_VALUES] = "values",
        [ASK_METRICS] = "metrics",
    };
    int exit = query_check(request);

    if (exit != EXIT_DONE)
        return exit;
    request->text = words[1] ? words[1] : "";
    request->filter = words[2] ? words[2] : "";
    bool is_trace = strcmp(words[0], "trace") == 0;
    if (words[2] && strcmp(words[0], "values") != 0)
        return options_fail(request->options, EXIT_WRONG_USAGE, "one word too many: %s", words[2]);
    if (!words[1] &&
        (is_trace || strcmp(words[0], "values") == 0 || strcmp(words[0], "metrics") == 0))
        return options_fail(request->options, EXIT_WRONG_USAGE, "something is missing: %s",
                            request->options->synopsis);
    if (request->follow && strcmp(words[0], "search") != 0)
        return options_fail(request->options, EXIT_WRONG_USAGE, "--follow is of search");
    if (request->follow)
        return query_follow(request);
    if (is_trace)
        return query_trace(request);
    for (unsigned i = 0; i < FM_COUNT(kinds); i++) {
        if (strcmp(words[0], kinds[i]) == 0)
            return query_ask(request, i);
    }
    return options_fail(request->options, EXIT_WRONG_USAGE,
                        "%s: accepted is search, trace, tags, values, metrics", words[0]);
}

int tool_query(int argc, char **argv)
{
    struct query_request request = {.url = QUERY_URL};
    const struct option rows[] = {
        {"endpoint", OPTION_TEXT, &request.url, "URL", "of the query port; default " QUERY_URL,
         NULL},
        {"url", OPTION_TEXT, &request.url, "URL", "the same", NULL},
        {"data-dir", OPTION_TEXT, &request.data_dir, "DIR",
         "read a node's files instead; its daemon need not run", NULL},
        {"bucket", OPTION_TEXT, &request.bucket, "BUCKET",
         "read the blocks of a bucket instead: dir:PATH or s3://BUCKET/PREFIX", NULL},
        {"config", OPTION_TEXT, &request.config_file, "FILE",
         "for s3://: its [upload.s3]; AWS_ACCESS_KEY_ID and the like win", NULL},
        {"tenant", OPTION_TEXT, &request.tenant, "NAME", "default " TENANT_DEFAULT, NULL},
        {"start", OPTION_TEXT, &request.start_text, "TIME",
         "Unix seconds or RFC 3339; with --end; default: all there is", NULL},
        {"end", OPTION_TEXT, &request.end_text, "TIME", "likewise", NULL},
        {"limit", OPTION_UINT, &request.limit, "N", "traces (default 20), names or values", NULL},
        {"spss", OPTION_UINT, &request.spss, "N", "spans of a trace that search shows; default 3",
         NULL},
        {"scope", OPTION_TEXT, &request.scope, "SCOPE", "tags of span, resource, ...", NULL},
        {"step", OPTION_DURATION, &request.step_ns, "TIME", "between samples; default by the range",
         NULL},
        {"instant", OPTION_FLAG, &request.instant, NULL, "one sample for the whole range", NULL},
        {"follow", OPTION_FLAG, &request.follow, NULL,
         "search: go on, and print traces as they come; with --json one a line", NULL},
        {"interval", OPTION_DURATION, &request.interval_ns, "TIME",
         "between two looks of --follow; default 2s", NULL},
        {"json", OPTION_FLAG, &request.json, NULL, "print what the API answers", NULL},
    };
    const struct options options = {
        .verb = "query",
        .synopsis = "search [TRACEQL] | trace ID | tags [TRACEQL] | values FIELD [TRACEQL] | "
                    "metrics TRACEQL [OPTIONS]",
        .summary =
            "Asks a node, its files or a bucket.  Exit: 0 answered, 1 the question is wrong, "
            "4 no such trace, 3 no answer.",
        .examples = "  fermata query search '{ status = error && duration > 100ms }' --limit 5\n"
                    "  fermata query trace 6f1c9a4be0a14c0e8a6b2c7d11f09e52\n"
                    "  fermata query trace 6f1c9a4be0a14c0e8a6b2c7d11f09e52 --data-dir /mnt/old\n"
                    "  fermata query values resource.service.name --bucket dir:/mnt/bucket\n"
                    "  fermata query search '{}' --bucket s3://traces/edge --start 1767323045 "
                    "--end 1767326645\n"
                    "  fermata query search '{ status = error }' --follow --json | jq .traceID\n"
                    "  fermata query metrics '{} | rate() by (name)' --step 30s --json | jq .\n",
        .rows = rows,
        .row_count = FM_COUNT(rows),
        .word_min = 1,
        .word_max = 3,
    };
    const char *words[3] = {NULL};
    int exit;

    if (!options_parse(&options, argc, argv, words, &exit))
        return exit;
    request.options = &options;
    return query_run(&request, words);
}
