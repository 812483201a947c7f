/* SPDX-License-Identifier: Apache-2.0 */
/* recall - asks all nodes of a bucket for traces that stayed on them, and shows what they say.
 *
 *   put the request -> put recall/latest -> ( list the answers -> get each -> show -> wait ) ...
 *
 * Suspended in every call of the bucket and in the wait between two looks. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fermata/config.h"
#include "fermata/linux.h"
#include "fermata/recall.h"
#include "fermata/tools.h"
#include "fermata/units.h"
#include "fermata/uv.h"
#include "options.h"
#include "terminal.h"

#define RECALL_LOOK_NS    (2 * FM_NS_PER_S)
#define RECALL_NODES_MAX  100000u
#define RECALL_LIST_BYTES FM_KIB(128)

enum recall_step {
    STEP_REQUEST,
    STEP_LATEST,
    STEP_LIST,
    STEP_ANSWER,
    STEP_WAIT,
    STEP_END,
};

struct recall_tool {
    const struct options *options;
    struct platform *platform;
    struct bucket *bucket;
    struct terminal terminal;
    enum recall_step step;
    struct recall_request request;
    struct bucket_request call;
    char key[256], after[64];
    struct fm_buf text, names;
    struct fm_slice text_slice;
    size_t name_at;
    struct pf_timer timer;
    uint64_t deadline_ns; /* of looking; 0: none */
    bool looks, signalled;
    char (*seen)[33]; /* owned; nodes whose last word was shown */
    uint32_t seen_count, node_count, open_count;
    uint64_t traces, spans;
    int exit;
};

static void tool_step(struct recall_tool *tool);

static void tool_end(struct recall_tool *tool, int exit)
{
    tool->exit = exit;
    tool->step = STEP_END;
    pf_timer_stop(tool->platform, &tool->timer);
    uv_platform_stop(tool->platform);
}

/* ---- the bucket ---- */

static void tool_on_call(struct bucket_request *call)
{
    tool_step(call->self);
}

static void tool_begin(struct recall_tool *tool, enum recall_step step, size_t body_max)
{
    tool->step = step;
    fm_buf_fini(&tool->call.body);
    tool->call = (struct bucket_request){
        .key = tool->key,
        .is_control = true,
        .want_body = true,
        .body_max = body_max,
        .list_after = tool->after,
        .done = tool_on_call,
        .self = tool,
    };
}

static void tool_put(struct recall_tool *tool, enum recall_step step)
{
    tool_begin(tool, step, 0);
    tool->text_slice = fm_buf_slice(&tool->text);
    tool->call.source = fm_source_memory(&tool->text_slice);
    tool->bucket->ops->put(tool->bucket, &tool->call);
}

static void tool_put_request(struct recall_tool *tool)
{
    fm_buf_reset(&tool->text);
    recall_request_render(&tool->request, &tool->text);
    (void)snprintf(tool->key, sizeof tool->key, "recall/requests/%s", tool->request.id);
    tool_put(tool, STEP_REQUEST);
}

static void tool_put_latest(struct recall_tool *tool)
{
    fm_buf_reset(&tool->text);
    fm_buf_printf(&tool->text, "%s\n", tool->request.id);
    (void)snprintf(tool->key, sizeof tool->key, "recall/latest");
    tool_put(tool, STEP_LATEST);
}

static void tool_list(struct recall_tool *tool)
{
    (void)snprintf(tool->key, sizeof tool->key, "recall/answers/%s/", tool->request.id);
    tool_begin(tool, STEP_LIST, RECALL_LIST_BYTES);
    tool->bucket->ops->list(tool->bucket, &tool->call);
}

/* ---- what nodes say ---- */

static bool tool_has_seen(const struct recall_tool *tool, const char *node)
{
    for (uint32_t i = 0; i < tool->seen_count; i++)
        if (strcmp(tool->seen[i], node) == 0)
            return true;
    return false;
}

static void tool_show(struct recall_tool *tool, const struct recall_answer *answer)
{
    static const enum terminal_style styles[] = {
        [RECALL_SEARCHING] = STYLE_DIM,
        [RECALL_UPLOADING] = STYLE_CYAN,
        [RECALL_DONE] = STYLE_GREEN,
        [RECALL_FAILED] = STYLE_RED,
    };
    struct fm_buf line;
    fm_buf_init(&line, FM_KIB(16));
    terminal_put_text(&line, fm_slice_text(answer->host[0] ? answer->host : answer->node), 24);
    fm_buf_puts(&line, "  ");
    terminal_put(&tool->terminal, &line, styles[answer->state], recall_state_name(answer->state));
    fm_buf_printf(&line, "  %" PRIu64 " traces, %" PRIu64 " spans, ", answer->traces,
                  answer->spans);
    fm_bytes_print_short(&line, answer->bytes);
    if (answer->is_partial)
        fm_buf_puts(&line, ", cut off by a limit");
    if (answer->why[0]) {
        fm_buf_puts(&line, "  ");
        terminal_put_text(&line, fm_slice_text(answer->why), 0);
    }
    fm_buf_puts(&line, "\n");
    terminal_flush(&line);
    fm_buf_fini(&line);
}

static void tool_count(struct recall_tool *tool, const struct recall_answer *answer)
{
    bool is_over = answer->state == RECALL_DONE || answer->state == RECALL_FAILED;
    if (!is_over) {
        tool->open_count++;
        return;
    }
    tool_show(tool, answer);
    tool->traces += answer->traces;
    tool->spans += answer->spans;
    if (tool->seen_count < RECALL_NODES_MAX)
        memcpy(tool->seen[tool->seen_count++], answer->node, sizeof tool->seen[0]);
}

static void tool_sum_up(struct recall_tool *tool)
{
    printf("%s: %u nodes answered, %" PRIu64 " traces, %" PRIu64 " spans uploaded",
           tool->request.id, tool->seen_count, tool->traces, tool->spans);
    if (tool->open_count)
        printf("; %u nodes are at it", tool->open_count);
    putchar('\n');
    tool_end(tool, tool->seen_count ? EXIT_DONE : EXIT_NEGATIVE);
}

/* All names of this look were read. */
static void tool_on_looked(struct recall_tool *tool)
{
    uint64_t now_ns = pf_now_ns(tool->platform);
    if (!tool->looks || tool->signalled || now_ns >= tool->deadline_ns) {
        tool_sum_up(tool);
        return;
    }
    tool->step = STEP_WAIT;
    pf_timer_start(tool->platform, &tool->timer, RECALL_LOOK_NS);
}

/* The next node that has not said its last word. */
static void tool_next(struct recall_tool *tool)
{
    while (tool->name_at < tool->names.len) {
        const uint8_t *line = tool->names.ptr + tool->name_at;
        const uint8_t *end = memchr(line, '\n', tool->names.len - tool->name_at);
        size_t len = end ? (size_t)(end - line) : tool->names.len - tool->name_at;
        char node[33];
        tool->name_at += len + 1;
        if (len >= sizeof node)
            continue;
        memcpy(node, line, len);
        node[len] = '\0';
        memcpy(tool->after, node, len + 1);
        tool->node_count++;
        if (tool_has_seen(tool, node))
            continue;
        (void)snprintf(tool->key, sizeof tool->key, "recall/answers/%s/%s", tool->request.id, node);
        tool_begin(tool, STEP_ANSWER, FM_KIB(16));
        tool->bucket->ops->get(tool->bucket, &tool->call);
        return;
    }
    if (tool->node_count % 1000 == 0 && tool->node_count) {
        tool_list(tool); /* there may be more */
        return;
    }
    tool_on_looked(tool);
}

static void tool_look(struct recall_tool *tool)
{
    tool->after[0] = '\0';
    tool->node_count = tool->open_count = 0;
    tool_list(tool);
}

static void tool_on_answer(struct recall_tool *tool)
{
    struct recall_answer answer;
    if (tool->call.outcome == S3_DONE &&
        recall_answer_parse(fm_buf_slice(&tool->call.body), &answer) == FM_OK)
        tool_count(tool, &answer);
    tool_next(tool);
}

static void tool_on_list(struct recall_tool *tool)
{
    fm_buf_fini(&tool->names);
    tool->names = tool->call.body;
    tool->call.body = (struct fm_buf){0};
    tool->name_at = 0;
    tool_next(tool);
}

static void tool_on_asked(struct recall_tool *tool)
{
    printf("%s: asked for\n", tool->request.id);
    (void)fflush(stdout);
    if (!tool->looks) {
        tool_end(tool, EXIT_DONE);
        return;
    }
    tool_look(tool);
}

static void tool_step(struct recall_tool *tool)
{
    bool is_call = tool->step != STEP_WAIT && tool->step != STEP_END;
    bool is_fine = tool->call.outcome == S3_DONE || tool->step == STEP_ANSWER;
    if (is_call && !is_fine) {
        int exit = options_fail(tool->options, EXIT_NO_SERVICE, "%s: %s (%s)", tool->key,
                                tool->call.why.text, s3_outcome_text(tool->call.outcome));
        tool_end(tool, exit);
        return;
    }
    switch (tool->step) {
    case STEP_REQUEST:
        tool_put_latest(tool);
        break;
    case STEP_LATEST:
        tool_on_asked(tool);
        break;
    case STEP_LIST:
        tool_on_list(tool);
        break;
    case STEP_ANSWER:
        tool_on_answer(tool);
        break;
    case STEP_WAIT:
        tool_look(tool);
        break;
    case STEP_END:
        break;
    }
}

static void tool_on_timer(struct pf_timer *timer)
{
    tool_step(FM_CONTAINER(timer, struct recall_tool, timer));
}

static void tool_on_signal(void *self, int number)
{
    struct recall_tool *tool = self;
    (void)number;
    tool->signalled = true;
    if (tool->step == STEP_WAIT) {
        pf_timer_stop(tool->platform, &tool->timer);
        tool_sum_up(tool);
    }
}

/* ---- the command line ---- */

struct recall_arguments {
    const char *config_file, *tenant, *query, *start, *end, *status;
    struct option_list settings;
    uint64_t since_ns, wait_ns, expires_ns, limit;
    bool no_wait;
};

static int tool_fill_range(const struct recall_arguments *arguments, struct recall_tool *tool)
{
    struct recall_request *request = &tool->request;
    uint64_t now_ns = pf_wall_ns(tool->platform);
    request->end_ns = now_ns;
    request->start_ns = now_ns - FM_MIN(arguments->since_ns, now_ns);
    if (arguments->start && !option_time(arguments->start, &request->start_ns))
        return options_fail(tool->options, EXIT_WRONG_USAGE, "--start %s is no time",
                            arguments->start);
    if (arguments->end && !option_time(arguments->end, &request->end_ns))
        return options_fail(tool->options, EXIT_WRONG_USAGE, "--end %s is no time", arguments->end);
    if (request->start_ns >= request->end_ns)
        return options_fail(tool->options, EXIT_WRONG_USAGE, "the range is empty");
    return EXIT_DONE;
}

static int tool_fill_ids(struct recall_tool *tool, const char *const *words, size_t count)
{
    struct recall_request *request = &tool->request;
    struct fm_why why = {""};
    request->ids = calloc(count, sizeof *request->ids);
    for (size_t i = 0; i < count && request->ids; i++) {
        if (trace_id_parse(fm_slice_text(words[i]), &request->ids[i], &why) < 0)
            return options_fail(tool->options, EXIT_WRONG_USAGE, "%s: %s", words[i], why.text);
        request->id_count++;
    }
    return request->ids ? EXIT_DONE : EXIT_IO;
}

static int tool_fill_request(const struct recall_arguments *arguments, struct recall_tool *tool,
                             const struct config *config, const char *const *words, size_t count)
{
    struct recall_request *request = &tool->request;
    uint64_t now_ns = pf_wall_ns(tool->platform);
    const char *tenant = arguments->tenant ? arguments->tenant : config->upload_tenant;
    if (!tenant_is_valid(fm_slice_text(tenant)))
        return options_fail(tool->options, EXIT_WRONG_USAGE, "%s is no tenant", tenant);
    if (!arguments->query == !count)
        return options_fail(tool->options, EXIT_WRONG_USAGE, "give trace ids, or --query");
    (void)snprintf(request->tenant, sizeof request->tenant, "%s", tenant);
    /* Sorts by time, and two that ask in the same millisecond differ. */
    (void)snprintf(request->id, sizeof request->id, "%013" PRIu64 "-%08x", now_ns / FM_NS_PER_MS,
                   (unsigned)pf_random_u64(tool->platform));
    request->expires_unix_ns = now_ns + arguments->expires_ns;
    request->limit = (uint32_t)FM_MIN(arguments->limit, RECALL_TRACES_MAX);
    if (count)
        return tool_fill_ids(tool, words, count);
    if (strlen(arguments->query) > RECALL_QUERY_MAX)
        return options_fail(tool->options, EXIT_WRONG_USAGE, "the query is too long");
    request->query = strdup(arguments->query);
    return request->query ? tool_fill_range(arguments, tool) : EXIT_IO;
}

static int tool_run(struct recall_tool *tool, const struct recall_arguments *arguments)
{
    tool->terminal = terminal_of(STDOUT_FILENO);
    tool->looks = !arguments->no_wait;
    tool->deadline_ns = pf_now_ns(tool->platform) + (arguments->status ? 0 : arguments->wait_ns);
    tool->timer.fire = tool_on_timer;
    tool->seen = calloc(RECALL_NODES_MAX, sizeof *tool->seen);
    if (!tool->seen)
        return EXIT_IO;
    fm_buf_init(&tool->text, RECALL_BYTES_MAX);
    (void)!uv_platform_on_signal(tool->platform, SIGINT, tool_on_signal, tool);
    if (arguments->status)
        tool_look(tool);
    else
        tool_put_request(tool);
    uv_platform_run(tool->platform);
    free(tool->seen);
    fm_buf_fini(&tool->text);
    fm_buf_fini(&tool->names);
    fm_buf_fini(&tool->call.body);
    return tool->exit;
}

static int tool_open(struct recall_tool *tool, const struct recall_arguments *arguments,
                     const struct tool_buckets *buckets, const char *const *words, size_t count)
{
    FM_AUTO(config) config = NULL;
    struct fm_buf messages;
    struct fm_why why = {""};
    void *owner = NULL;
    fm_buf_init(&messages, FM_MIB(1));
    int rc = config_load(&config, arguments->config_file, arguments->settings.items,
                         arguments->settings.count, (const char *const *)environ, &messages);
    if (messages.len)
        (void)fwrite(messages.ptr, 1, messages.len, stderr);
    fm_buf_fini(&messages);
    if (rc < 0)
        return EXIT_CONFIGURATION;
    if (uv_platform_new(&tool->platform, 1, 1) < 0)
        return EXIT_IO;
    int exit = EXIT_DONE;
    if (arguments->status && !recall_id_is_valid(fm_slice_text(arguments->status)))
        exit = options_fail(tool->options, EXIT_WRONG_USAGE, "%s is no request", arguments->status);
    else if (arguments->status)
        (void)snprintf(tool->request.id, sizeof tool->request.id, "%s", arguments->status);
    else
        exit = tool_fill_request(arguments, tool, config, words, count);
    if (exit == EXIT_DONE) {
        rc = buckets->open(&tool->bucket, tool->platform, config, &owner, &why);
        exit = rc < 0 ? options_fail(tool->options, EXIT_CONFIGURATION, "%s", why.text)
                      : tool_run(tool, arguments);
    }
    if (tool->bucket)
        tool->bucket = tool->bucket->ops->free(tool->bucket);
    buckets->close(owner);
    tool->platform = uv_platform_free(tool->platform);
    free(tool->request.query);
    free(tool->request.ids);
    return exit;
}

int tool_recall(int argc, char **argv, const struct tool_buckets *buckets)
{
    static struct recall_tool tool; /* one per process; large */
    struct recall_arguments arguments = {
        .since_ns = 3600 * FM_NS_PER_S,
        .wait_ns = 600 * FM_NS_PER_S,
        .expires_ns = 7 * 86400 * FM_NS_PER_S,
    };
    const struct option rows[] = {
        {"config", OPTION_TEXT, &arguments.config_file, "FILE", "where the bucket is", NULL},
        {"set", OPTION_MANY, &arguments.settings, "section.key=value", "changes it", NULL},
        {"tenant", OPTION_TEXT, &arguments.tenant, "TENANT", "default: upload.tenant", NULL},
        {"query", OPTION_TEXT, &arguments.query, "TRACEQL", "instead of ids", NULL},
        {"since", OPTION_DURATION, &arguments.since_ns, "DURATION", "of a query; default 1h", NULL},
        {"start", OPTION_TEXT, &arguments.start, "TIME", "of a query, instead", NULL},
        {"end", OPTION_TEXT, &arguments.end, "TIME", "default: now", NULL},
        {"limit", OPTION_UINT, &arguments.limit, "N", "traces of each node", NULL},
        {"expires", OPTION_DURATION, &arguments.expires_ns, "DURATION",
         "nodes that come later leave it alone; default 7d", NULL},
        {"wait", OPTION_DURATION, &arguments.wait_ns, "DURATION",
         "shows answers that long; default 10m", NULL},
        {"no-wait", OPTION_FLAG, &arguments.no_wait, NULL, "asks and ends", NULL},
        {"status", OPTION_TEXT, &arguments.status, "REQUEST", "what was answered so far", NULL},
    };
    const struct options options = {
        .verb = "recall",
        .synopsis = "[OPTIONS] [TRACE_ID]...",
        .summary = "Asks all nodes of a bucket to upload traces that stayed on them.",
        .examples = "  fermata recall 4bf92f3577b34da6a3ce929d0e0e4736\n"
                    "  fermata recall --query '{ resource.service.name = \"cart\" }' --since 6h\n",
        .rows = rows,
        .row_count = FM_COUNT(rows),
        .word_max = 256,
    };
    const char *words[256];
    size_t count = 0;
    int exit;
    memset(words, 0, sizeof words);
    if (!options_parse(&options, argc, argv, words, &exit))
        return exit;
    while (count < FM_COUNT(words) && words[count])
        count++;
    tool.options = &options;
    return tool_open(&tool, &arguments, buckets, words, count);
}
