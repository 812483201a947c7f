/* SPDX-License-Identifier: Apache-2.0 */
/* One GET: signed, sent, understood; sent again after a pause if that can help.
 *
 * What needs no pause is mended once each: another clock, another region, fresh credentials.  A
 * bucket that does not answer at all several times in a row is given up for the question. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fermata/net.h"
#include "internal.h"

#define GET_ATTEMPTS_MAX   4u
#define GET_BACKOFF_CAP_NS (4 * FM_NS_PER_S)
#define GET_TIMEOUTS_MAX   6u /* of these a request may last that moves, but hardly */
#define GET_LOST_MAX       3u
#define GET_PAUSE_US       50000u
#define CLOCK_TRUST_S      INT64_C(86400)

enum get_repair { GET_CLOCK = 1, GET_REGION = 2, GET_CREDENTIALS = 4 };

/* ---- sending ---- */

static int get_sign(struct bucket_get *get, struct bucket_reader *reader,
                    struct s3_request *ret_request)
{
    struct s3_credentials credentials;
    struct s3_endpoint endpoint;
    struct fm_slice texts[3] = {{0}};

    fm_arena_reset(&get->arena);
    pf_lock(&reader->lock);
    endpoint = reader->endpoint;
    int64_t now_s = (int64_t)(pf_wall_ns(reader->platform) / FM_NS_PER_S) + reader->clock_offset_s;
    bool is_signed = reader->credentials || reader->files[0] || reader->texts[0];
    for (size_t i = 0; i < FM_COUNT(texts); i++)
        texts[i] =
            fm_slice_dup(&get->arena, fm_slice_text(reader->texts[i] ? reader->texts[i] : ""));
    pf_unlock(&reader->lock);
    credentials = (struct s3_credentials){texts[0], texts[1], texts[2]};
    if (reader->credentials &&
        !credentials_copy(reader->credentials, &get->arena, &credentials, &get->generation))
        return FM_ECONFIG; /* none yet, or they expired and there are no others */
    s3_endpoint_host(&endpoint, get->host);
    get->fetch.connect_host = get->host;
    get->fetch.connect_port = endpoint.port;
    get->fetch.tls = strcmp(endpoint.scheme, "https") == 0;
    return s3_request_build(&endpoint, is_signed ? &credentials : NULL, &get->call, now_s,
                            &get->arena, ret_request);
}

static int get_send(struct bucket_get *get, struct bucket_reader *reader,
                    struct bucket_budget *budget)
{
    struct s3_request request = {0};
    uint64_t now_ns = pf_now_ns(reader->platform);

    if (budget->bytes_max && metric_get(&budget->bytes) >= budget->bytes_max)
        return fm_fail(&get->why, FM_ELIMIT, "more of the bucket than one question may read");
    if (atomic_load(&budget->lost_count) >= GET_LOST_MAX)
        return fm_fail(&get->why, FM_EUNAVAILABLE, "the bucket does not answer");
    int rc = get_sign(get, reader, &request);
    if (rc < 0)
        return fm_fail(&get->why, rc == FM_ECONFIG ? FM_EDENIED : rc,
                       "the request cannot be signed: %s",
                       rc == FM_ECONFIG ? "no usable credentials" : fm_rc_text(rc));
    for (uint32_t i = 0; i < request.header_count; i++)
        get->headers[i] =
            (struct http_header){fm_slice_text(request.headers[i].name), request.headers[i].value};
    uint64_t last_ns = now_ns + GET_TIMEOUTS_MAX * reader->timeout_ns;
    get->fetch.method = request.method;
    get->fetch.host = request.host;
    get->fetch.target = request.target;
    get->fetch.headers = get->headers;
    get->fetch.header_count = request.header_count;
    get->fetch.response_bytes_max = FM_MAX(get->bytes_max + 1, FM_KIB(64));
    get->fetch.deadline_ns = budget->deadline_ns ? FM_MIN(budget->deadline_ns, last_ns) : last_ns;
    get->fetch.cancelled = budget->cancelled;
    metric_add(&reader->requests, 1);
    metric_add(&budget->requests, 1);
    return net_fetch_start(reader->fetcher, &get->fetch);
}

void bucket_get_start(struct bucket_get *get, struct bucket_reader *reader,
                      struct bucket_budget *budget)
{
    get->call = (struct s3_call){
        .verb = get->query ? S3_LIST : S3_GET,
        .object = {.key = fm_slice_text(get->key),
                   .etag = fm_slice_text(get->etag ? get->etag : "")},
        .query = fm_slice_text(get->query ? get->query : ""),
    };
    if (get->len) {
        get->call.range_first = get->first;
        get->call.range_last = get->first + get->len - 1;
    }
    get->attempt = 0;
    get->repairs = 0;
    get->why.text[0] = '\0';
    get->ret_etag[0] = '\0';
    get->fetch = (struct net_fetch){0};
    fm_buf_init(&get->body, get->bytes_max);
    fm_arena_init(&get->arena, FM_KIB(128));
    get->rc = get_send(get, reader, budget);
}

void bucket_get_fini(struct bucket_get *get)
{
    fm_buf_fini(&get->body);
    fm_arena_fini(&get->arena);
}

/* ---- understanding ---- */

static void get_read_answer(struct bucket_get *get, int rc, struct s3_answer *answer)
{
    const struct net_fetch *fetch = &get->fetch;
    struct s3_header headers[NET_FETCH_HEADERS_MAX];
    char names[NET_FETCH_HEADERS_MAX][32]; /* those that matter are short */
    struct s3_response_view view = {.request_sent_whole = true, .headers = headers};

    for (size_t i = 0; rc == FM_OK && i < fetch->response_header_count; i++) {
        struct fm_slice name = fetch->response_headers[i].name;
        if (name.len >= sizeof names[0])
            continue;
        char *copy = names[view.header_count];
        memcpy(copy, name.ptr, name.len);
        copy[name.len] = '\0';
        headers[view.header_count++] = (struct s3_header){copy, fetch->response_headers[i].value};
    }
    if (rc == FM_OK) {
        view.status = fetch->status;
        view.body = fm_slice(fetch->body.ptr, FM_MIN(fetch->body.len, FM_KIB(64)));
    }
    s3_answer_read(&get->call, &view, answer);
}

/* The object, or the piece of it that was asked for, and nothing else. */
static int get_check_body(struct bucket_get *get, const struct s3_answer *answer)
{
    const struct fm_buf *body = &get->fetch.body;
    if (get->etag && get->etag[0] && answer->etag[0] && strcmp(get->etag, answer->etag) != 0)
        return fm_fail(&get->why, FM_ECORRUPT, "%s: it was replaced", get->key);
    if (get->len && get->fetch.status != 206 && !(get->first == 0 && body->len == get->len))
        return fm_fail(&get->why, FM_EUNSUPPORTED, "%s: the server does not know ranges", get->key);
    if (get->len && body->len != get->len)
        return fm_fail(&get->why, FM_ECORRUPT, "%s: it ends early", get->key);
    if (body->len > get->bytes_max)
        return fm_fail(&get->why, FM_ELIMIT, "%s: it is larger than %zu bytes", get->key,
                       get->bytes_max);
    size_t len = strlen(answer->etag);
    if (len < sizeof get->ret_etag)
        memcpy(get->ret_etag, answer->etag, len + 1);
    return FM_OK;
}

static bool get_repair_clock(struct bucket_reader *reader, const struct s3_answer *answer)
{
    int64_t now_s = (int64_t)(pf_wall_ns(reader->platform) / FM_NS_PER_S);
    int64_t offset_s = answer->date_unix_s - now_s;
    if (!answer->date_unix_s || llabs(offset_s) > CLOCK_TRUST_S)
        return false;
    pf_lock(&reader->lock);
    reader->clock_offset_s = offset_s;
    pf_unlock(&reader->lock);
    return true;
}

static bool get_repair_region(struct bucket_reader *reader, const struct s3_answer *answer)
{
    pf_lock(&reader->lock);
    struct s3_endpoint before = reader->endpoint;
    int rc = s3_endpoint_set_region(&reader->endpoint, fm_slice_text(answer->region));
    bool differs = rc == FM_OK && strcmp(before.region, reader->endpoint.region) != 0;
    pf_unlock(&reader->lock);
    return differs;
}

/* Whether the same request is worth sending again at once. */
static bool get_repair(struct bucket_get *get, struct bucket_reader *reader,
                       const struct s3_answer *answer)
{
    unsigned repair = answer->outcome == S3_CLOCK      ? GET_CLOCK
                      : answer->outcome == S3_REDIRECT ? GET_REGION
                      : answer->outcome == S3_AUTH     ? GET_CREDENTIALS
                                                       : 0;
    struct fm_why why;
    if (!repair || get->repairs & repair)
        return false;
    get->repairs |= repair;
    if (repair == GET_CLOCK)
        return get_repair_clock(reader, answer);
    if (repair == GET_REGION)
        return get_repair_region(reader, answer);
    if (reader->credentials)
        return credentials_report(reader->credentials, get->generation);
    return bucket_reader_refresh(reader, &why) == FM_OK;
}

static bool get_is_worth_retrying(const struct bucket_get *get, enum s3_outcome outcome)
{
    return get->attempt + 1 < GET_ATTEMPTS_MAX &&
           (outcome == S3_TRANSIENT || outcome == S3_SLOW_DOWN || outcome == S3_AMBIGUOUS ||
            outcome == S3_CONFLICT);
}

static int get_fail(struct bucket_get *get, const struct s3_answer *answer, int net_rc)
{
    const char *name = get->query ? "listing" : get->key;
    int rc = FM_EIO;
    if (net_rc < 0)
        return fm_fail(&get->why, net_rc == FM_EDENIED ? FM_EDENIED : FM_EUNAVAILABLE, "%s: %s",
                       name, get->fetch.why.text[0] ? get->fetch.why.text : fm_rc_text(net_rc));
    if (get->fetch.status == 412)
        return fm_fail(&get->why, FM_ECORRUPT, "%s: it was replaced", name);
    if (get->fetch.status == 416)
        return fm_fail(&get->why, FM_ECORRUPT, "%s: it ends early", name);
    if (answer->outcome == S3_ABSENT || answer->outcome == S3_NO_BUCKET)
        rc = FM_ENOTFOUND;
    else if (answer->outcome == S3_AUTH || answer->outcome == S3_CLOCK)
        rc = FM_EDENIED;
    else if (answer->outcome == S3_TRANSIENT || answer->outcome == S3_SLOW_DOWN)
        rc = FM_EUNAVAILABLE;
    return fm_fail(&get->why, rc, "%s: HTTP %d%s%s%s%s", name, get->fetch.status,
                   answer->code[0] ? " " : "", answer->code, answer->message[0] ? ": " : "",
                   answer->message);
}

/* ---- waiting ---- */

static int budget_look(const struct bucket_reader *reader, const struct bucket_budget *budget)
{
    if (budget->cancelled && atomic_load(budget->cancelled))
        return FM_ECANCELLED;
    return budget->deadline_ns && pf_now_ns(reader->platform) >= budget->deadline_ns ? FM_ETIMEOUT
                                                                                     : FM_OK;
}

static int get_pause(struct bucket_get *get, struct bucket_reader *reader,
                     const struct bucket_budget *budget, const struct s3_answer *answer)
{
    uint64_t delay_ns = s3_backoff_ns(answer->outcome, get->attempt, answer->retry_after_s,
                                      GET_BACKOFF_CAP_NS, pf_random_u64(reader->platform));
    uint64_t end_ns = pf_now_ns(reader->platform) + delay_ns;
    for (;;) {
        int rc = budget_look(reader, budget);
        uint64_t now_ns = pf_now_ns(reader->platform);
        if (rc < 0)
            return fm_fail(&get->why, rc, "%s", fm_rc_text(rc));
        if (now_ns >= end_ns)
            return FM_OK;
        (void)usleep((useconds_t)FM_MIN((end_ns - now_ns) / 1000 + 1, GET_PAUSE_US));
    }
}

/* FM_MORE: it is under way again. */
static int get_settle(struct bucket_get *get, struct bucket_reader *reader,
                      struct bucket_budget *budget, int net_rc)
{
    struct s3_answer answer;
    int rc = budget_look(reader, budget);
    if (net_rc < 0 && rc < 0)
        return fm_fail(&get->why, rc, "%s", fm_rc_text(rc));
    if (net_rc == FM_ENOMEM)
        return FM_ENOMEM;
    get_read_answer(get, net_rc, &answer);
    metric_add(&reader->bytes, get->fetch.body.len);
    metric_add(&budget->bytes, get->fetch.body.len);
    if (net_rc == FM_OK)
        atomic_store(&budget->lost_count, 0);
    if (net_rc == FM_OK && answer.outcome == S3_DONE)
        return get_check_body(get, &answer);
    if (net_rc != FM_EDENIED && get_is_worth_retrying(get, answer.outcome)) {
        rc = get_pause(get, reader, budget, &answer);
        get->attempt += net_rc == FM_ETIMEOUT ? 2 : 1; /* that took long enough */
    } else if (net_rc < 0 || !get_repair(get, reader, &answer)) {
        if (net_rc < 0)
            atomic_fetch_add(&budget->lost_count, 1);
        return get_fail(get, &answer, net_rc);
    }
    if (rc < 0)
        return rc;
    metric_add(&reader->retries, 1);
    net_fetch_fini(&get->fetch);
    rc = get_send(get, reader, budget);
    return rc < 0 ? rc : FM_MORE;
}

int bucket_get_end(struct bucket_get *get, struct bucket_reader *reader,
                   struct bucket_budget *budget)
{
    uint64_t begin_ns = pf_now_ns(reader->platform);
    int rc = get->rc < 0 ? get->rc : FM_MORE;
    while (rc == FM_MORE)
        rc = get_settle(get, reader, budget, net_fetch_wait(reader->fetcher, &get->fetch));
    if (rc == FM_OK) {
        get->body = get->fetch.body; /* taken over */
        fm_buf_init(&get->fetch.body, 0);
        metric_observe(&reader->seconds, pf_now_ns(reader->platform) - begin_ns);
    } else if (rc != FM_ENOTFOUND) {
        metric_add(rc == FM_EDENIED ? &reader->refused : &reader->failures, 1);
    }
    net_fetch_fini(&get->fetch);
    return rc;
}

/* ---- whole objects ---- */

static int get_whole_of_dir(struct bucket_reader *reader, const char *key, size_t bytes_max,
                            struct fm_buf *body, struct fm_why *why)
{
    char path[1200];
    (void)snprintf(path, sizeof path, "%s/%s", reader->dir, key);
    body->bytes_max = bytes_max;
    return pf_read_file(reader->platform, path, body, why);
}

int bucket_get_whole(struct bucket_reader *reader, const char *key, size_t bytes_max,
                     struct bucket_budget *budget, struct fm_buf *body, struct fm_why *why)
{
    if (reader->dir)
        return get_whole_of_dir(reader, key, bytes_max, body, why);
    struct bucket_get *get = calloc(1, sizeof *get);
    if (!get)
        return FM_ENOMEM;
    get->key = key;
    get->bytes_max = bytes_max;
    bucket_get_start(get, reader, budget);
    int rc = bucket_get_end(get, reader, budget);
    if (rc == FM_OK)
        fm_buf_put_slice(body, fm_buf_slice(&get->body));
    else if (why)
        *why = get->why;
    bucket_get_fini(get);
    free(get);
    return rc == FM_OK && body->failed ? FM_ENOMEM : rc;
}
