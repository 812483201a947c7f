/* SPDX-License-Identifier: Apache-2.0 */
/* search --follow: the same question again and again, each time about the last few minutes, and of
 * the answers the traces that were not there before; until it is interrupted.  A daemon that does
 * not answer is asked again, from where it stopped. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fermata/hash.h"
#include "fermata/json.h"
#include "fermata/linux.h"
#include "fermata/units.h"
#include "query.h"
#include "terminal.h"

#define FOLLOW_BACK_NS      (300 * FM_NS_PER_S) /* spans come late */
#define FOLLOW_AHEAD_NS     (60 * FM_NS_PER_S)  /* and from clocks that are ahead */
#define FOLLOW_LIMIT        1000u
#define FOLLOW_SLOTS        65536u /* of ids that were seen; a power of two */
#define FOLLOW_INTERVAL_NS  (2 * FM_NS_PER_S)
#define FOLLOW_INTERVAL_MIN (FM_NS_PER_S / 10)

struct follow_trace {
    struct fm_slice json, id;
    uint64_t end_ns;
};

struct follow {
    struct query_request request; /* its window moves */
    struct bucket_reader *reader; /* owned; NULL: no S3 */
    uint64_t from_ns;             /* nothing older is of interest */
    uint64_t asked_ns;            /* when it was last answered */
    /* Hashes of ids: two generations, so that the older half can be forgotten. */
    uint64_t *seen[2]; /* owned */
    size_t seen_count;
    struct follow_trace *traces; /* owned; of one answer */
    size_t count, capacity;
    bool is_lost;
};

static volatile sig_atomic_t follow_prints, follow_ends;

static void follow_on_signal(int number)
{
    (void)number;
    if (!follow_prints)
        _exit(EXIT_DONE);
    follow_ends = 1; /* behind the line */
}

/* ---- what was seen ---- */

static bool seen_find(const uint64_t *slots, uint64_t hash, size_t *ret_at)
{
    size_t at = hash & (FOLLOW_SLOTS - 1);
    while (slots[at] && slots[at] != hash)
        at = (at + 1) & (FOLLOW_SLOTS - 1);
    *ret_at = at;
    return slots[at] == hash;
}

/* Whether it was not seen before; from now on it was. */
static bool follow_is_new(struct follow *follow, struct fm_slice id)
{
    uint64_t hash = fm_hash64(id, 1) | 1;
    size_t at, older;
    if (seen_find(follow->seen[0], hash, &at))
        return false;
    bool is_old = seen_find(follow->seen[1], hash, &older);
    if (follow->seen_count == FOLLOW_SLOTS / 2) {
        uint64_t *emptied = follow->seen[1];
        follow->seen[1] = follow->seen[0];
        follow->seen[0] = emptied;
        memset(emptied, 0, FOLLOW_SLOTS * sizeof *emptied);
        follow->seen_count = 0;
        (void)seen_find(follow->seen[0], hash, &at);
    }
    follow->seen[0][at] = hash;
    follow->seen_count++;
    return !is_old;
}

/* ---- an answer ---- */

static int follow_add(struct follow *follow, const struct follow_trace *trace)
{
    if (follow->count == follow->capacity) {
        size_t capacity = follow->capacity ? 2 * follow->capacity : 256;
        struct follow_trace *grown = realloc(follow->traces, capacity * sizeof *grown);
        if (!grown)
            return FM_ENOMEM;
        follow->traces = grown;
        follow->capacity = capacity;
    }
    follow->traces[follow->count++] = *trace;
    return FM_OK;
}

/* Behind the trace's begin. */
static int follow_read_trace(struct json_reader *reader, struct follow_trace *trace)
{
    struct json_token token;
    uint64_t start_ns = 0, duration_ms = 0;
    int rc;
    while ((rc = json_next(reader, &token)) == FM_OK && token.kind == JSON_KEY) {
        struct fm_slice key = token.text;
        rc = json_next(reader, &token);
        if (rc == FM_OK && fm_slice_equal_text(key, "traceID"))
            trace->id = token.text;
        else if (rc == FM_OK && fm_slice_equal_text(key, "startTimeUnixNano"))
            rc = json_u64(&token, &start_ns);
        else if (rc == FM_OK && fm_slice_equal_text(key, "durationMs"))
            rc = json_u64(&token, &duration_ms);
        else if (rc == FM_OK)
            rc = json_skip(reader, &token);
        if (rc != FM_OK)
            break;
    }
    trace->end_ns = start_ns + (duration_ms + 1) * FM_NS_PER_MS;
    return rc == FM_OK ? FM_OK : rc < 0 ? rc : FM_EMALFORMED;
}

/* The API knows whole seconds: what ended before we began is not of interest. */
static int follow_read_traces(struct follow *follow, struct fm_slice json,
                              struct json_reader *reader)
{
    struct json_token token;
    int rc;
    while ((rc = json_next(reader, &token)) == FM_OK && token.kind == JSON_OBJECT_BEGIN) {
        size_t begin = reader->position - 1;
        struct follow_trace trace = {0};
        rc = follow_read_trace(reader, &trace);
        trace.json = fm_slice(json.ptr + begin, reader->position - begin);
        if (rc == FM_OK && trace.end_ns >= follow->from_ns)
            rc = follow_add(follow, &trace);
        if (rc < 0)
            return rc;
    }
    return rc == FM_OK ? FM_OK : rc < 0 ? rc : FM_EMALFORMED;
}

static int follow_read(struct follow *follow, struct fm_slice json, struct fm_arena *scratch)
{
    struct json_reader reader;
    struct json_token token;
    follow->count = 0;
    json_reader_init(&reader, json, scratch);
    int rc = json_next(&reader, &token);
    while (rc == FM_OK && (rc = json_next(&reader, &token)) == FM_OK && token.kind == JSON_KEY) {
        bool is_traces = fm_slice_equal_text(token.text, "traces");
        rc = json_next(&reader, &token);
        if (rc == FM_OK && is_traces && token.kind == JSON_ARRAY_BEGIN)
            rc = follow_read_traces(follow, json, &reader);
        else if (rc == FM_OK)
            rc = json_skip(&reader, &token);
    }
    return rc >= 0 ? FM_OK : rc;
}

static int follow_print_one(const struct follow *follow, const struct follow_trace *trace)
{
    struct fm_buf line;
    int rc = FM_OK;
    fm_buf_init(&line, QUERY_ANSWER_MAX);
    if (follow->request.json) {
        for (size_t i = 0; i < trace->json.len; i++) {
            uint8_t c = trace->json.ptr[i];
            fm_buf_put_u8(&line, c == '\n' || c == '\r' ? ' ' : c); /* outside strings only */
        }
        fm_buf_puts(&line, "\n");
    } else {
        rc = query_view_trace(trace->json, &line);
    }
    terminal_flush(&line);
    (void)fflush(stdout);
    fm_buf_fini(&line);
    return rc;
}

/* Oldest first: an answer's are newest first. */
static int follow_print(struct follow *follow, struct fm_slice json)
{
    struct fm_arena scratch;
    fm_arena_init(&scratch, QUERY_ANSWER_MAX);
    int rc = follow_read(follow, json, &scratch);
    if (rc == FM_OK && follow->count >= follow->request.limit)
        fputs("fermata query: more traces at once than --limit; older ones are left out\n", stderr);
    follow_prints = 1;
    for (size_t i = follow->count; i-- && rc == FM_OK && !follow_ends;) {
        if (follow_is_new(follow, follow->traces[i].id))
            rc = follow_print_one(follow, &follow->traces[i]);
    }
    follow_prints = 0;
    fm_arena_fini(&scratch);
    return rc;
}

/* ---- asking ---- */

static void follow_set_window(struct follow *follow)
{
    uint64_t now_ns = pf_wall_ns(linux_platform());
    uint64_t last_ns = follow->asked_ns ? follow->asked_ns : now_ns;
    follow->request.start_ns = FM_MAX(follow->from_ns, last_ns - FOLLOW_BACK_NS);
    follow->request.end_ns = now_ns + FOLLOW_AHEAD_NS;
}

/* EXIT_DONE: go on. */
static int follow_look(struct follow *follow)
{
    uint64_t now_ns = pf_wall_ns(linux_platform());
    struct fm_buf json;
    bool was_lost = follow->is_lost;

    follow_set_window(follow);
    follow->request.is_quiet = was_lost;
    fm_buf_init(&json, QUERY_ANSWER_MAX);
    int exit = query_ask_json(&follow->request, ASK_SEARCH, follow->reader, &json);
    follow->is_lost = exit == EXIT_NOT_RUNNING || exit == EXIT_TEMPORARY || exit == EXIT_IO;
    if (follow->is_lost && !was_lost)
        fputs("fermata query: trying again\n", stderr);
    if (exit == EXIT_DONE) {
        follow->asked_ns = now_ns;
        if (was_lost)
            fputs("fermata query: answered again\n", stderr);
        if (follow_print(follow, fm_buf_slice(&json)) < 0)
            exit = query_fail(&follow->request, FM_EIO, "the answer cannot be read");
    }
    fm_buf_fini(&json);
    return follow->is_lost ? EXIT_DONE : exit;
}

static int follow_run(struct follow *follow)
{
    int exit = EXIT_DONE;
    (void)signal(SIGINT, follow_on_signal);
    (void)signal(SIGTERM, follow_on_signal);
    while (exit == EXIT_DONE && !follow_ends) {
        exit = follow_look(follow);
        if (exit == EXIT_DONE && !follow_ends)
            (void)usleep((useconds_t)(follow->request.interval_ns / FM_NS_PER_US));
    }
    return exit;
}

int query_follow(const struct query_request *request)
{
    struct follow follow = {.request = *request};
    struct fm_why why = {""};

    if (request->end_ns)
        return options_fail(request->options, EXIT_WRONG_USAGE, "--follow has no --end");
    follow.from_ns = request->start_ns ? request->start_ns : pf_wall_ns(linux_platform());
    if (!follow.request.limit)
        follow.request.limit = FOLLOW_LIMIT;
    if (!follow.request.interval_ns)
        follow.request.interval_ns = FOLLOW_INTERVAL_NS;
    follow.request.interval_ns = FM_MAX(follow.request.interval_ns, FOLLOW_INTERVAL_MIN);
    int rc = query_bucket_open(&follow.request, &follow.reader, &why);
    if (rc < 0)
        return query_fail(request, rc, why.text[0] ? why.text : fm_rc_text(rc));
    for (size_t i = 0; i < 2; i++)
        follow.seen[i] = calloc(FOLLOW_SLOTS, sizeof *follow.seen[i]);
    int exit = follow.seen[0] && follow.seen[1] ? follow_run(&follow)
                                                : query_fail(request, FM_ENOMEM, "out of memory");
    free(follow.seen[0]);
    free(follow.seen[1]);
    free(follow.traces);
    follow.reader = bucket_reader_free(follow.reader);
    return exit;
}
