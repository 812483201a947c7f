/* SPDX-License-Identifier: Apache-2.0 */
/* status: asks a running daemon how it is, and says so in a few lines. */
#include <inttypes.h>
#include <stdio.h>

#include "fermata/json.h"
#include "fermata/units.h"
#include "http_client.h"
#include "options.h"
#include "terminal.h"

#define STATUS_URL        "http://127.0.0.1:3200"
#define STATUS_FIELDS_MAX 512

/* The answer, flat: "wal.bytes" and its value.  Arrays count their members: "receivers.0.name". */
struct status_fields {
    struct fm_arena arena;
    size_t count;
    struct status_field {
        const char *path;
        enum json_kind kind;
        struct fm_slice text;
    } rows[STATUS_FIELDS_MAX];
};

struct status_walk {
    char path[256];
    size_t ends[JSON_DEPTH_MAX + 1]; /* length of path at each level */
    unsigned members[JSON_DEPTH_MAX + 1];
    bool is_array[JSON_DEPTH_MAX + 1];
    unsigned depth;
};

/* Names the value that comes next: a key, or its number in an array. */
static void status_name(struct status_walk *walk, struct fm_slice name)
{
    size_t at = walk->ends[walk->depth];
    int len = snprintf(walk->path + at, sizeof walk->path - at, "%s%.*s", at ? "." : "",
                       (int)FM_MIN(name.len, (size_t)100), (const char *)name.ptr);
    if (len < 0 || at + (size_t)len >= sizeof walk->path)
        walk->path[at] = '\0';
}

static void status_name_member(struct status_walk *walk)
{
    char number[16];

    if (!walk->is_array[walk->depth])
        return;
    int len = snprintf(number, sizeof number, "%u", walk->members[walk->depth]++);
    status_name(walk, fm_slice(number, (size_t)FM_MAX(len, 0)));
}

static void status_keep(struct status_fields *fields, const struct status_walk *walk,
                        const struct json_token *token)
{
    if (fields->count == STATUS_FIELDS_MAX)
        return;
    struct status_field *row = &fields->rows[fields->count];
    row->path = fm_arena_dup(&fields->arena, walk->path, strlen(walk->path) + 1);
    row->kind = token->kind;
    row->text = token->text;
    if (row->path)
        fields->count++;
}

static int status_flatten(struct status_fields *fields, struct fm_slice json)
{
    struct status_walk walk = {0};
    struct json_reader reader;
    struct json_token token;
    int rc;

    json_reader_init(&reader, json, &fields->arena);
    while ((rc = json_next(&reader, &token)) == FM_OK) {
        bool begins = token.kind == JSON_OBJECT_BEGIN || token.kind == JSON_ARRAY_BEGIN;
        if (token.kind == JSON_KEY) {
            status_name(&walk, token.text);
        } else if (token.kind == JSON_OBJECT_END || token.kind == JSON_ARRAY_END) {
            walk.depth--;
        } else if (begins) {
            status_name_member(&walk);
            walk.depth++;
            walk.ends[walk.depth] = walk.depth > 1 ? strlen(walk.path) : 0;
            walk.members[walk.depth] = 0;
            walk.is_array[walk.depth] = token.kind == JSON_ARRAY_BEGIN;
        } else {
            status_name_member(&walk);
            status_keep(fields, &walk, &token);
        }
    }
    return rc == FM_END ? FM_OK : FM_EMALFORMED;
}

static const struct status_field *status_find(const struct status_fields *fields, const char *path)
{
    for (size_t i = 0; i < fields->count; i++) {
        if (strcmp(fields->rows[i].path, path) == 0)
            return &fields->rows[i];
    }
    return NULL;
}

static uint64_t status_number(const struct status_fields *fields, const char *path)
{
    const struct status_field *row = status_find(fields, path);
    struct json_token token = {row ? row->kind : JSON_NULL, row ? row->text : (struct fm_slice){0}};
    uint64_t value = 0;

    return row && json_u64(&token, &value) == FM_OK ? value : 0;
}

static struct fm_slice status_text(const struct status_fields *fields, const char *path)
{
    const struct status_field *row = status_find(fields, path);
    return row && row->kind == JSON_STRING ? row->text : (struct fm_slice){0};
}

static bool status_is_true(const struct status_fields *fields, const char *path)
{
    const struct status_field *row = status_find(fields, path);
    return row && row->kind == JSON_TRUE;
}

static void status_put_bytes(struct fm_buf *out, const char *before, uint64_t bytes)
{
    fm_buf_puts(out, before);
    fm_bytes_print_short(out, bytes);
}

static void status_put_problem(const struct status_fields *fields, const char *path,
                               const struct terminal *terminal, struct fm_buf *out)
{
    struct fm_slice problem = status_text(fields, path);

    if (!problem.len)
        return;
    fm_buf_puts(out, "  ");
    terminal_put(terminal, out, STYLE_RED, "problem");
    fm_buf_puts(out, "    ");
    terminal_put_text(out, problem, 0);
    fm_buf_puts(out, "\n");
}

static void status_put_receivers(const struct status_fields *fields, struct fm_buf *out)
{
    char path[64];

    for (unsigned i = 0; i < 64; i++) {
        (void)snprintf(path, sizeof path, "receivers.%u.name", i);
        struct fm_slice name = status_text(fields, path);
        if (!name.len)
            return;
        fm_buf_puts(out, i ? "              " : "  receivers   ");
        terminal_put_text(out, name, 22);
        (void)snprintf(path, sizeof path, "receivers.%u.endpoint", i);
        struct fm_slice endpoint = status_text(fields, path);
        (void)snprintf(path, sizeof path, "receivers.%u.accepted_spans", i);
        bool has_spans = status_find(fields, path) != NULL;
        terminal_put_text(out, endpoint, has_spans ? 22 : 0);
        if (has_spans) {
            fm_buf_printf(out, " %" PRIu64 " spans accepted", status_number(fields, path));
            (void)snprintf(path, sizeof path, "receivers.%u.refused_spans", i);
            fm_buf_printf(out, ", %" PRIu64 " refused", status_number(fields, path));
        }
        fm_buf_puts(out, "\n");
    }
}

static void status_put_store(const struct status_fields *fields, const struct terminal *terminal,
                             struct fm_buf *out)
{
    fm_buf_printf(out, "  head        %" PRIu64 " spans in %" PRIu64 " records",
                  status_number(fields, "head.spans"), status_number(fields, "head.records"));
    status_put_bytes(out, ", log ", status_number(fields, "wal.bytes"));
    fm_buf_printf(out,
                  "\n  blocks      %" PRIu64 ", %" PRIu64 " of them uploaded, %" PRIu64 " spans",
                  status_number(fields, "blocks.sealed"), status_number(fields, "blocks.uploaded"),
                  status_number(fields, "blocks.spans"));
    status_put_bytes(out, ", ", status_number(fields, "blocks.bytes"));
    status_put_bytes(out, "\n  storage     ", status_number(fields, "storage.used_bytes"));
    if (status_number(fields, "storage.quota_bytes"))
        status_put_bytes(out, " of ", status_number(fields, "storage.quota_bytes"));
    status_put_bytes(out, " used, ", status_number(fields, "storage.free_bytes"));
    fm_buf_puts(out, " free\n");
    status_put_problem(fields, "storage.problem", terminal, out);
}

static void status_put_duration(struct fm_buf *out, uint64_t seconds)
{
    uint64_t unit = seconds >= 86400 ? 3600 : seconds >= 3600 ? 60 : 1;
    fm_duration_print(out, seconds / unit * unit * FM_NS_PER_S);
}

/* Those in which something waits, and those that are closed. */
static void status_put_lanes(const struct status_fields *fields, struct fm_buf *out)
{
    char path[64];

    for (unsigned i = 0; i < 8; i++) {
        (void)snprintf(path, sizeof path, "upload.lanes.%u.name", i);
        struct fm_slice name = status_text(fields, path);
        (void)snprintf(path, sizeof path, "upload.lanes.%u.open", i);
        bool is_open = status_is_true(fields, path);
        (void)snprintf(path, sizeof path, "upload.lanes.%u.blocks", i);
        uint64_t blocks = status_number(fields, path);
        if (!name.len || (!blocks && is_open))
            continue;
        fm_buf_puts(out, "    ");
        terminal_put_text(out, name, 9);
        fm_buf_printf(out, " %" PRIu64 " blocks", blocks);
        (void)snprintf(path, sizeof path, "upload.lanes.%u.bytes", i);
        status_put_bytes(out, ", ", status_number(fields, path));
        (void)snprintf(path, sizeof path, "upload.lanes.%u.lag_s", i);
        if (blocks) {
            fm_buf_puts(out, ", since ");
            status_put_duration(out, status_number(fields, path));
        }
        fm_buf_puts(out, is_open ? "\n" : ", closed\n");
    }
}

static void status_put_quota(const struct status_fields *fields, const char *used_path,
                             const char *quota_path, const char *period, struct fm_buf *out)
{
    uint64_t quota = status_number(fields, quota_path);
    if (!quota)
        return;
    status_put_bytes(out, ", ", status_number(fields, used_path));
    status_put_bytes(out, " of ", quota);
    fm_buf_printf(out, " used %s", period);
}

static void status_put_uplink(const struct status_fields *fields, struct fm_buf *out)
{
    uint64_t rate = status_number(fields, "upload.uplink.rate_bytes_per_s");
    struct fm_slice window = status_text(fields, "upload.uplink.window");
    struct fm_slice change = status_text(fields, "upload.uplink.next_change");

    if (!rate && !change.len && !status_number(fields, "upload.uplink.daily_quota_bytes") &&
        !status_number(fields, "upload.uplink.monthly_quota_bytes"))
        return;
    fm_buf_puts(out, "  uplink      ");
    if (rate) {
        fm_rate_print(out, rate);
        fm_buf_puts(out, "/s");
    } else {
        fm_buf_puts(out, "no rate");
    }
    if (window.len) {
        fm_buf_puts(out, " in window ");
        terminal_put_text(out, window, 0);
    }
    status_put_quota(fields, "upload.uplink.daily_used_bytes", "upload.uplink.daily_quota_bytes",
                     "today", out);
    status_put_quota(fields, "upload.uplink.monthly_used_bytes",
                     "upload.uplink.monthly_quota_bytes", "this month", out);
    if (change.len) {
        fm_buf_puts(out, ", windows change at ");
        terminal_put_text(out, change, 0);
    }
    fm_buf_puts(out, "\n");
}

static void status_put_forecast(const struct status_fields *fields, struct fm_buf *out)
{
    const struct status_field *offline = status_find(fields, "upload.offline_budget_s");
    uint64_t drain_s = status_number(fields, "upload.drain_s");

    if (drain_s) {
        fm_buf_puts(out, "  drained     in ");
        status_put_duration(out, drain_s);
        fm_buf_puts(out, " of sending");
        status_put_bytes(out, " at ", status_number(fields, "upload.upload_bytes_per_s"));
        fm_buf_puts(out, "/s\n");
    }
    if (offline && offline->kind == JSON_NUMBER) {
        fm_buf_puts(out, "  offline     room for ");
        status_put_duration(out, status_number(fields, "upload.offline_budget_s"));
        status_put_bytes(out, " at ", status_number(fields, "upload.growth_bytes_per_s"));
        fm_buf_puts(out, "/s of blocks\n");
    }
}

static void status_put_upload(const struct status_fields *fields, const struct terminal *terminal,
                              struct fm_buf *out)
{
    struct fm_slice destination = status_text(fields, "upload.destination");

    if (!destination.len) {
        fm_buf_puts(out, "  bucket      none: data stays on this node\n");
        return;
    }
    fm_buf_puts(out, "  bucket      ");
    terminal_put_text(out, destination, 0);
    fm_buf_printf(out, ", %" PRIu64 " blocks sent, %" PRIu64 " waiting",
                  status_number(fields, "upload.uploaded_blocks"),
                  status_number(fields, "upload.pending_blocks"));
    status_put_bytes(out, " (", status_number(fields, "upload.pending_bytes"));
    fm_buf_printf(out, "), %" PRIu64 " failures\n", status_number(fields, "upload.failures"));
    status_put_lanes(fields, out);
    status_put_uplink(fields, out);
    status_put_forecast(fields, out);
    status_put_problem(fields, "upload.problem", terminal, out);
}

static void status_put_exporters(const struct status_fields *fields,
                                 const struct terminal *terminal, struct fm_buf *out)
{
    static const char *const names[] = {"sent_spans", "lag_spans", "lag_bytes", "lag_s",
                                        "dropped_spans"};
    uint64_t numbers[FM_COUNT(names)];
    char path[64];

    for (unsigned i = 0;; i++) {
        (void)snprintf(path, sizeof path, "exporters.%u.name", i);
        struct fm_slice name = status_text(fields, path);
        if (!name.len)
            return;
        for (size_t k = 0; k < FM_COUNT(names); k++) {
            (void)snprintf(path, sizeof path, "exporters.%u.%s", i, names[k]);
            numbers[k] = status_number(fields, path);
        }
        fm_buf_puts(out, "  export      ");
        terminal_put_text(out, name, 0);
        fm_buf_printf(out, ": %" PRIu64 " spans sent, %" PRIu64 " waiting", numbers[0], numbers[1]);
        status_put_bytes(out, " (", numbers[2]);
        fm_buf_puts(out, ", since ");
        fm_duration_print(out, numbers[3] * FM_NS_PER_S);
        fm_buf_printf(out, "), %" PRIu64 " dropped\n", numbers[4]);
        (void)snprintf(path, sizeof path, "exporters.%u.problem", i);
        status_put_problem(fields, path, terminal, out);
    }
}

/* Of the members of an object of numbers. */
static uint64_t status_sum(const struct status_fields *fields, const char *parent)
{
    size_t len = strlen(parent);
    uint64_t sum = 0;

    for (size_t i = 0; i < fields->count; i++) {
        const char *path = fields->rows[i].path;
        if (strncmp(path, parent, len) == 0 && path[len] == '.')
            sum += status_number(fields, path);
    }
    return sum;
}

static void status_put_ledger(const struct status_fields *fields, const struct terminal *terminal,
                              struct fm_buf *out)
{
    const struct status_field *balanced = status_find(fields, "ledger.balanced");

    if (!balanced)
        return; /* a daemon of an older version */
    fm_buf_printf(
        out, "  ledger      %" PRIu64 " received = %" PRIu64 " stored + %" PRIu64 " rejected\n",
        status_number(fields, "ledger.received"), status_number(fields, "ledger.stored"),
        status_sum(fields, "ledger.rejected"));
    fm_buf_printf(
        out,
        "              %" PRIu64 " stored = %" PRIu64 " uploaded + %" PRIu64
        " sampled out + %" PRIu64 " expired + %" PRIu64 " pending + %" PRIu64 " dropped\n",
        status_number(fields, "ledger.stored"), status_number(fields, "ledger.uploaded"),
        status_number(fields, "ledger.sampled_out"), status_number(fields, "ledger.expired"),
        status_sum(fields, "ledger.pending"), status_sum(fields, "ledger.dropped"));
    if (balanced->kind == JSON_TRUE)
        return;
    fm_buf_puts(out, "  ");
    terminal_put(terminal, out, STYLE_RED, "problem");
    fm_buf_puts(out, "    the ledger does not add up\n");
}

/* Where what is pending waits. */
static void status_put_pending(const struct status_fields *fields, struct fm_buf *out)
{
    static const char *const lanes[] = {"log", "deciding", "express", "fresh", "backlog"};
    const char *before = "              pending: ";
    char path[64];
    for (size_t i = 0; i < FM_COUNT(lanes); i++) {
        (void)snprintf(path, sizeof path, "ledger.pending.%s", lanes[i]);
        uint64_t spans = status_number(fields, path);
        if (!spans)
            continue;
        fm_buf_printf(out, "%s%" PRIu64 " %s", before, spans, lanes[i]);
        before = ", ";
    }
    if (before[0] == ',')
        fm_buf_puts(out, "\n");
}

static void status_put_sampling(const struct status_fields *fields, const struct terminal *terminal,
                                struct fm_buf *out)
{
    char path[64];
    if (!status_find(fields, "sampling.kept_spans"))
        return;
    fm_buf_printf(out,
                  "  sampling    %" PRIu64 " spans kept, %" PRIu64 " sampled out, %" PRIu64
                  " in %" PRIu64 " blocks wait for a decision\n",
                  status_number(fields, "sampling.kept_spans"),
                  status_number(fields, "sampling.sampled_out_spans"),
                  status_number(fields, "sampling.deciding_spans"),
                  status_number(fields, "sampling.deciding_blocks"));
    for (unsigned i = 0;; i++) {
        (void)snprintf(path, sizeof path, "sampling.policies.%u.name", i);
        struct fm_slice name = status_text(fields, path);
        if (!name.len)
            break;
        (void)snprintf(path, sizeof path, "sampling.policies.%u.kept_spans", i);
        uint64_t kept = status_number(fields, path);
        (void)snprintf(path, sizeof path, "sampling.policies.%u.sampled_out_spans", i);
        uint64_t sampled_out = status_number(fields, path);
        if (!kept && !sampled_out)
            continue;
        fm_buf_puts(out, "              ");
        terminal_put_text(out, name, 0);
        fm_buf_printf(out, ": %" PRIu64 " kept, %" PRIu64 " sampled out\n", kept, sampled_out);
    }
    status_put_problem(fields, "sampling.problem", terminal, out);
}

static bool status_is_healthy(const struct status_fields *fields)
{
    return status_is_true(fields, "ready") && !status_is_true(fields, "storage.read_only");
}

static void status_print(const struct status_fields *fields, struct fm_buf *out)
{
    struct terminal terminal = terminal_of(1);
    bool is_ready = status_is_true(fields, "ready"), is_healthy = status_is_healthy(fields);

    fm_buf_puts(out, "fermata ");
    terminal_put_text(out, status_text(fields, "version"), 0);
    fm_buf_puts(out, ", up ");
    fm_duration_print(out, status_number(fields, "uptime_s") * FM_NS_PER_S);
    fm_buf_puts(out, ", ");
    terminal_put(&terminal, out, is_healthy ? STYLE_GREEN : STYLE_RED,
                 is_healthy ? "healthy"
                 : is_ready ? "degraded"
                            : "not ready");
    fm_buf_puts(out, "\n");
    status_put_receivers(fields, out);
    fm_buf_printf(out, "  spans       %" PRIu64 " accepted, %" PRIu64 " refused\n",
                  status_number(fields, "spans.accepted"), status_number(fields, "spans.refused"));
    status_put_ledger(fields, &terminal, out);
    status_put_pending(fields, out);
    status_put_sampling(fields, &terminal, out);
    status_put_store(fields, &terminal, out);
    status_put_upload(fields, &terminal, out);
    status_put_exporters(fields, &terminal, out);
    status_put_bytes(out, "  memory      ", status_number(fields, "memory.rss_bytes"));
    fm_buf_puts(out, "\n");
}

static int status_show(const struct options *options, const struct http_answer *answer, bool json)
{
    struct status_fields fields = {.count = 0};
    struct fm_buf out;
    int exit;

    fm_arena_init(&fields.arena, FM_MIB(4));
    fm_buf_init(&out, FM_MIB(4));
    if (answer->status != 200 || status_flatten(&fields, fm_buf_slice(&answer->body)) < 0) {
        exit = options_fail(options, EXIT_NOT_RUNNING, "what answers there is no fermata (HTTP %d)",
                            answer->status);
    } else {
        if (json)
            fm_buf_put_slice(&out, fm_buf_slice(&answer->body));
        else
            status_print(&fields, &out);
        exit = status_is_healthy(&fields) ? EXIT_DONE : EXIT_NEGATIVE;
    }
    terminal_flush(&out);
    fm_buf_fini(&out);
    fm_arena_fini(&fields.arena);
    return exit;
}

int tool_status(int argc, char **argv)
{
    const char *url = STATUS_URL;
    bool json = false;
    const struct option rows[] = {
        {"url", OPTION_TEXT, &url, "URL", "of the query port; default " STATUS_URL, NULL},
        {"json", OPTION_FLAG, &json, NULL, "print what the daemon answers", NULL},
    };
    const struct options options = {
        .verb = "status",
        .synopsis = "[--url URL] [--json]",
        .summary = "Asks a running daemon how it is.  Exit: 0 healthy, 1 degraded, 3 no answer.",
        .examples = "  fermata status\n"
                    "  fermata status --url http://edge-7:3200 --json\n",
        .rows = rows,
        .row_count = FM_COUNT(rows),
    };
    struct http_answer answer;
    struct fm_why why;
    int exit;

    if (!options_parse(&options, argc, argv, NULL, &exit))
        return exit;
    int rc = http_client_get(url, "/status?format=json", NULL, 0, &answer, &why);
    if (rc < 0)
        return options_fail(&options, rc == FM_EUSAGE ? EXIT_WRONG_USAGE : EXIT_NOT_RUNNING,
                            "nobody answers at %s: %s", url, why.text);
    exit = status_show(&options, &answer, json);
    http_answer_fini(&answer);
    return exit;
}
