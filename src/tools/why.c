/* SPDX-License-Identifier: Apache-2.0 */
/* why: what became of one trace on a node: asked of a running daemon, or of a dead node's files. */
#include <stdio.h>

#include "fermata/bytes.h"
#include "fermata/linux.h"
#include "fermata/store_why.h"
#include "http_client.h"
#include "options.h"
#include "terminal.h"

#define WHY_URL       "http://127.0.0.1:3200"
#define WHY_BYTES_MAX FM_MIB(4)

struct why_request {
    const struct options *options; /* for messages */
    const char *url, *data_dir, *tenant;
    struct trace_id id;
    bool json;
};

static int why_ask_files(const struct why_request *request, struct fm_buf *out)
{
    const struct store_why question = {
        .platform = linux_platform(),
        .data_dir = request->data_dir,
        .tenant = request->tenant ? request->tenant : TENANT_DEFAULT,
        .id = request->id,
        .json = request->json,
    };
    struct fm_why why = {""};
    int rc = store_why_tell(&question, out, &why);
    if (rc == FM_ENOTFOUND)
        return options_fail(request->options, EXIT_NOT_FOUND, "%s: nothing is there",
                            request->data_dir);
    if (rc < 0)
        return options_fail(request->options, EXIT_IO, "%s", why.text);
    return rc == FM_NONE ? EXIT_NOT_FOUND : EXIT_DONE;
}

static int why_ask_daemon(const struct why_request *request, struct fm_buf *out)
{
    char target[96], hex[33] = "";
    struct http_header headers[1];
    struct http_answer answer;
    struct fm_why why = {""};
    fm_hex_encode(hex, fm_slice(request->id.bytes, sizeof request->id.bytes));
    (void)snprintf(target, sizeof target, "/why/%s%s", hex, request->json ? "?format=json" : "");
    headers[0] = (struct http_header){FM_SLICE("x-scope-orgid"),
                                      fm_slice_text(request->tenant ? request->tenant : "")};
    int rc = http_client_get(request->url, target, headers, request->tenant != NULL, &answer, &why);
    if (rc < 0)
        return options_fail(request->options, rc == FM_EUSAGE ? EXIT_WRONG_USAGE : EXIT_NOT_RUNNING,
                            "nobody answers at %s: %s", request->url, why.text);
    int exit = EXIT_DONE;
    struct fm_slice text = fm_buf_slice(&answer.body);
    bool is_ours = text.len > 5 && (memcmp(text.ptr, "trace", 5) == 0 || text.ptr[0] == '{');
    if ((answer.status != 200 && answer.status != 404) || !is_ours)
        exit = options_fail(request->options, EXIT_NOT_RUNNING, "HTTP %d: %.*s", answer.status,
                            (int)FM_MIN(text.len, (size_t)200), (const char *)text.ptr);
    else
        fm_buf_put_slice(out, text);
    if (exit == EXIT_DONE && answer.status == 404)
        exit = EXIT_NOT_FOUND;
    http_answer_fini(&answer);
    return exit;
}

static int why_run(struct why_request *request, const char *word)
{
    struct fm_why why = {""};
    struct fm_buf out;
    if (trace_id_parse(fm_slice_text(word), &request->id, &why) < 0)
        return options_fail(request->options, EXIT_WRONG_USAGE, "%s", why.text);
    if (request->tenant && !tenant_is_valid(fm_slice_text(request->tenant)))
        return options_fail(request->options, EXIT_WRONG_USAGE, "%s: no name of a tenant",
                            request->tenant);
    fm_buf_init(&out, WHY_BYTES_MAX);
    int exit = request->data_dir ? why_ask_files(request, &out) : why_ask_daemon(request, &out);
    terminal_flush(&out);
    fm_buf_fini(&out);
    return exit;
}

int tool_why(int argc, char **argv)
{
    struct why_request request = {.url = WHY_URL};
    const struct option rows[] = {
        {"url", OPTION_TEXT, &request.url, "URL", "of the query port; default " WHY_URL, NULL},
        {"data-dir", OPTION_TEXT, &request.data_dir, "DIR", "read a node's files, without a daemon",
         NULL},
        {"tenant", OPTION_TEXT, &request.tenant, "NAME", "default " TENANT_DEFAULT, NULL},
        {"json", OPTION_FLAG, &request.json, NULL, "for programs", NULL},
    };
    const struct options options = {
        .verb = "why",
        .synopsis = "TRACE_ID [--tenant NAME] [--data-dir DIR | --url URL] [--json]",
        .summary = "Tells what became of a trace on this node: received when and where, in which\n"
                   "record or block it is, what sampling decided, when and as which block it was\n"
                   "uploaded, or why it is not there.  Exit 4: never seen, as far as is known.",
        .examples = "  fermata why 6f1c9a4be0a14c0e8a6b2c7d11f09e52\n"
                    "  fermata why 6f1c9a4be0a14c0e8a6b2c7d11f09e52 --data-dir /mnt/old\n",
        .rows = rows,
        .row_count = FM_COUNT(rows),
        .word_min = 1,
        .word_max = 1,
    };
    const char *words[1];
    int exit;
    if (!options_parse(&options, argc, argv, words, &exit))
        return exit;
    request.options = &options;
    return why_run(&request, words[0]);
}
