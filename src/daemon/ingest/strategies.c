/* SPDX-License-Identifier: Apache-2.0 */
/* strategies - what remotely sampled clients are told, from a file that is looked at again.
 *
 * The file is read every ten seconds, in a job, and parsed when its bytes have changed.  One that
 * cannot be read or parsed leaves the last good one in force, said once in the log and as long as
 * it lasts by a metric.  Without a file everything is sampled: a client that gets no answer falls
 * back to one trace in a thousand, which looks like lost data.
 */
#include "ingest.h"

#include <stdlib.h>

#include "fermata/hash.h"

#define STRATEGIES_LOOK_NS    UINT64_C(10000000000)
#define STRATEGIES_ANSWER_MAX FM_MIB(4)
#define STRATEGIES_QUERY_MAX  FM_KIB(32)

struct strategies {
    struct ingest *ingest;    /* borrowed */
    struct sampling *current; /* owned */
    const char *file;         /* borrowed; "": none */
    struct pf_timer timer;
    struct pf_job job;
    bool is_busy, is_wanted, is_stopped; /* a job runs; another look after it; never again */
    bool has_seen;
    uint64_t seen_hash; /* of the bytes looked at last, good or bad */
    int seen_rc;        /* of that look */

    struct sampling *fresh; /* of the job, owned: NULL: unchanged or bad */
    uint64_t fresh_hash;
    int fresh_rc;
    struct fm_why why;

    metric requests_total, failures_total, is_good;
};

static void strategies_on_timer(struct pf_timer *timer);

/* Reads and, if the bytes are new, parses.  From a job, or at the start. */
static void strategies_look(struct strategies *strategies)
{
    struct fm_buf content;
    fm_buf_init(&content, SAMPLING_FILE_BYTES_MAX);
    strategies->why.text[0] = '\0';
    int rc =
        pf_read_file(strategies->ingest->platform, strategies->file, &content, &strategies->why);
    strategies->fresh_hash = rc == FM_OK ? fm_hash64(fm_buf_slice(&content), 0) : 0;
    bool is_known = strategies->has_seen && rc == FM_OK && strategies->seen_rc != FM_ENOMEM &&
                    strategies->fresh_hash == strategies->seen_hash;
    if (is_known)
        rc = strategies->seen_rc;
    else if (rc == FM_OK)
        rc = sampling_new(&strategies->fresh, fm_buf_slice(&content), &strategies->why);
    strategies->fresh_rc = rc;
    fm_buf_fini(&content);
}

static void strategies_take(struct strategies *strategies)
{
    int rc = strategies->fresh_rc;
    bool is_news = !strategies->has_seen || strategies->seen_rc != rc ||
                   strategies->seen_hash != strategies->fresh_hash;
    strategies->has_seen = true;
    strategies->seen_hash = strategies->fresh_hash;
    strategies->seen_rc = rc;
    metric_set(&strategies->is_good, rc == FM_OK);
    if (strategies->fresh) {
        (void)sampling_free(strategies->current);
        strategies->current = fm_take(strategies->fresh);
        log_info("sampling.loaded", "file=\"%s\" services=%zu", strategies->file,
                 sampling_service_count(strategies->current));
    } else if (rc < 0 && is_news) {
        metric_add(&strategies->failures_total, 1);
        log_error("sampling.refused", "file=\"%s\" why=\"%s\"", strategies->file,
                  strategies->why.text);
    }
}

static void strategies_job_work(struct pf_job *job)
{
    strategies_look(FM_CONTAINER(job, struct strategies, job));
}

static void strategies_wait(struct strategies *strategies)
{
    if (!strategies->is_stopped)
        pf_timer_start(strategies->ingest->platform, &strategies->timer, STRATEGIES_LOOK_NS);
}

static void strategies_job_done(struct pf_job *job)
{
    struct strategies *strategies = FM_CONTAINER(job, struct strategies, job);
    strategies->is_busy = false;
    strategies_take(strategies);
    if (strategies->is_wanted && !strategies->is_stopped)
        strategies_reload(strategies);
    else
        strategies_wait(strategies);
}

void strategies_reload(struct strategies *strategies)
{
    if (!strategies->file[0] || strategies->is_stopped)
        return;
    pf_timer_stop(strategies->ingest->platform, &strategies->timer);
    strategies->is_wanted = strategies->is_busy;
    if (strategies->is_busy)
        return;
    strategies->is_busy = true;
    strategies->job = (struct pf_job){
        .work = strategies_job_work, .done = strategies_job_done, .lane = PF_LANE_DISK};
    pf_job_submit(strategies->ingest->platform, &strategies->job);
}

static void strategies_on_timer(struct pf_timer *timer)
{
    strategies_reload(FM_CONTAINER(timer, struct strategies, timer));
}

int strategies_new(struct strategies **ret_strategies, struct ingest *ingest)
{
    const char *file = ingest->options.sampling_strategies_file;
    struct strategies *strategies = calloc(1, sizeof *strategies);
    if (!strategies)
        return FM_ENOMEM;
    strategies->ingest = ingest;
    strategies->file = file ? file : "";
    strategies->timer.fire = strategies_on_timer;
    metric_set(&strategies->is_good, 1);
    int rc = sampling_new(&strategies->current, (struct fm_slice){0}, &strategies->why);
    if (rc < 0) {
        free(strategies);
        return rc;
    }
    if (strategies->file[0]) {
        strategies_look(strategies);
        strategies_take(strategies);
        strategies_wait(strategies);
    }
    *ret_strategies = strategies;
    return FM_OK;
}

void strategies_stop(struct strategies *strategies)
{
    strategies->is_stopped = true;
    pf_timer_stop(strategies->ingest->platform, &strategies->timer);
}

struct strategies *strategies_free(struct strategies *strategies)
{
    if (!strategies)
        return NULL;
    strategies_stop(strategies);
    (void)sampling_free(strategies->fresh);
    (void)sampling_free(strategies->current);
    free(strategies);
    return NULL;
}

const struct sampling *strategies_now(struct strategies *strategies)
{
    metric_add(&strategies->requests_total, 1);
    return strategies->current;
}

void strategies_put_metrics(const struct strategies *strategies, struct fm_buf *out)
{
    metric_counter(out, "fermata_sampling_requests_total", "Answers about sampling strategies.",
                   &strategies->requests_total);
    metric_counter(out, "fermata_sampling_file_failures_total",
                   "Contents of the strategies file that were not taken.",
                   &strategies->failures_total);
    metric_gauge(out, "fermata_sampling_file_good",
                 "0 while the strategies file cannot be read or parsed.",
                 metric_get(&strategies->is_good));
}

/* ---- HTTP ---- */

static unsigned query_count(struct fm_slice query, struct fm_slice name)
{
    unsigned count = 0;
    while (query.len) {
        size_t len = 0;
        while (len < query.len && query.ptr[len] != '&')
            len++;
        bool is_named = len >= name.len && fm_slice_equal(fm_slice(query.ptr, name.len), name) &&
                        (len == name.len || query.ptr[name.len] == '=');
        count += is_named;
        len += len < query.len; /* the separator */
        query = fm_slice(query.ptr + len, query.len - len);
    }
    return count;
}

void strategies_answer_http(struct ingest *ingest, struct net_request *request, bool enum_is_text)
{
    const struct net_request_view *view = net_request_view(request);
    struct fm_arena arena;
    struct fm_slice service = {0};
    struct fm_buf json;
    if (!view_is_get(view)) {
        answer_http_bad_method(ingest, INGEST_JAEGER_HTTP, request, "GET");
        return;
    }
    fm_arena_init(&arena, STRATEGIES_QUERY_MAX);
    fm_buf_init(&json, STRATEGIES_ANSWER_MAX);
    if (query_count(view->query, FM_SLICE("service")) != 1 ||
        http_query_find(view->query, "service", &arena, &service) != FM_OK || !service.len) {
        answer_http_text(ingest, INGEST_JAEGER_HTTP, request, 400,
                         "'service' parameter must be provided once\n");
    } else {
        sampling_put_json(strategies_now(ingest->strategies), service, enum_is_text, &json);
        if (json.failed)
            answer_http_text(ingest, INGEST_JAEGER_HTTP, request, 500, "out of memory\n");
        else
            answer_http_json(request, fm_buf_slice(&json));
    }
    fm_buf_fini(&json);
    fm_arena_fini(&arena);
}
