/* SPDX-License-Identifier: Apache-2.0 */
/* query trace ID: one trace, from a running daemon or from the directory of a dead node. */
#include <stdio.h>

#include "fermata/json.h"
#include "fermata/pb.h"
#include "http_client.h"
#include "node_files.h"
#include "options.h"
#include "otlp_json.h"
#include "waterfall.h"

#define QUERY_URL       "http://127.0.0.1:3200"
#define QUERY_TRACE_MAX FM_MIB(256)

struct query_request {
    const struct options *options;
    const char *url, *tenant, *data_dir;
    bool json;
    struct trace_id id;
};

static int query_fail(const struct query_request *request, int rc, const char *text)
{
    int exit = rc == FM_EUSAGE ? EXIT_WRONG_USAGE : rc == FM_ENOTFOUND ? EXIT_NOT_FOUND : EXIT_IO;
    return options_fail(request->options, exit, "%s", text);
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

static int query_get(const struct query_request *request, const char *accept,
                     struct http_answer *answer)
{
    const struct http_header headers[] = {
        {FM_SLICE("accept"), fm_slice_text(accept)},
        {FM_SLICE("x-scope-orgid"), fm_slice_text(request->tenant ? request->tenant : "")},
    };
    char id[33], target[80];
    struct fm_why why;

    trace_id_print(&request->id, id);
    (void)snprintf(target, sizeof target, "/api/v2/traces/%s", id);
    int rc = http_client_get(request->url, target, headers, request->tenant ? 2 : 1, answer, &why);
    if (rc == FM_EUSAGE)
        return options_fail(request->options, EXIT_WRONG_USAGE, "%s", why.text);
    if (rc < 0)
        return options_fail(request->options, EXIT_NOT_RUNNING, "nobody answers at %s: %s",
                            request->url, why.text);
    if (answer->status == 200)
        return EXIT_DONE;
    int exit = answer->status == 404                            ? query_not_found(request)
               : answer->status == 429 || answer->status == 503 ? EXIT_TEMPORARY
                                                                : EXIT_NEGATIVE;
    if (answer->status != 404)
        (void)options_fail(request->options, exit, "HTTP %d: %.*s", answer->status,
                           (int)FM_MIN(answer->body.len, (size_t)300),
                           answer->body.ptr ? (const char *)answer->body.ptr : "");
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

    int exit =
        query_get(request, request->json ? "application/json" : "application/protobuf", &answer);
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

static int query_files(const struct query_request *request)
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

int tool_query(int argc, char **argv)
{
    struct query_request request = {.url = QUERY_URL};
    const struct option rows[] = {
        {"url", OPTION_TEXT, &request.url, "URL", "of the query port; default " QUERY_URL, NULL},
        {"data-dir", OPTION_TEXT, &request.data_dir, "DIR",
         "read a node's files instead; its daemon need not run", NULL},
        {"tenant", OPTION_TEXT, &request.tenant, "NAME", "default " TENANT_DEFAULT, NULL},
        {"json", OPTION_FLAG, &request.json, NULL, "print JSON instead of bars", NULL},
    };
    const struct options options = {
        .verb = "query",
        .synopsis = "trace ID [--url URL | --data-dir DIR] [--tenant NAME] [--json]",
        .summary = "Shows one trace as a waterfall.  Exit: 0 found, 4 not found, 3 no answer.",
        .examples = "  fermata query trace 6f1c9a4be0a14c0e8a6b2c7d11f09e52\n"
                    "  fermata query trace 6f1c9a4be0a14c0e8a6b2c7d11f09e52 --json | jq .\n"
                    "  fermata query trace 6f1c9a4be0a14c0e8a6b2c7d11f09e52 --data-dir /mnt/old\n",
        .rows = rows,
        .row_count = FM_COUNT(rows),
        .word_min = 2,
        .word_max = 2,
    };
    const char *words[2];
    struct fm_why why;
    int exit;

    if (!options_parse(&options, argc, argv, words, &exit))
        return exit;
    request.options = &options;
    if (strcmp(words[0], "trace") != 0)
        return options_fail(&options, EXIT_WRONG_USAGE, "%s: accepted is trace", words[0]);
    if (trace_id_parse(fm_slice_text(words[1]), &request.id, &why) < 0)
        return options_fail(&options, EXIT_WRONG_USAGE, "%s: accepted is 1 to 32 hex digits",
                            words[1]);
    if (request.tenant && !tenant_is_valid(fm_slice_text(request.tenant)))
        return options_fail(&options, EXIT_WRONG_USAGE, "%s: no tenant's name", request.tenant);
    return request.data_dir ? query_files(&request) : query_daemon(&request);
}
