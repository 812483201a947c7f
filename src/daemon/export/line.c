/* SPDX-License-Identifier: Apache-2.0 */
/* line - a connection to an upstream that is kept, and one request at a time on it.
 *
 *   IDLE --> LOADING --> CONNECTING --> TALKING --> IDLE          any but IDLE --> ENDING --> IDLE
 *     \-------------------------------->^
 *
 * LOADING reads the files that are read for every connection, in a job.  ENDING: what came of the
 * request is known, and is told from the top of the loop, since whoever hears it sends the next one
 * or frees us.
 *
 * A connection that was kept may have been closed by the other side while nobody looked: if it
 * breaks before a byte of an answer, the request starts over once on a new one.  One that was made
 * with other settings than those of now serves no further request.
 */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "fermata/h1.h"
#include "fermata/h2_client.h"
#include "fermata/net_stream.h"

#define LINE_PIECE_BYTES          FM_KIB(256)
#define LINE_RESPONSE_MAX         FM_MIB(1) /* the rest of a longer answer is dropped */
#define LINE_PROXY_AUTHENTICATION 407
#define LINE_FILE_MAX             FM_KIB(64)
#define LINE_OWN_HEADERS          7
#define LINE_HEADER_COUNT         (LINE_OWN_HEADERS + UPSTREAM_HEADERS_MAX)

enum line_state { LINE_IDLE, LINE_LOADING, LINE_CONNECTING, LINE_TALKING, LINE_ENDING };
static const struct fm_sm_rule line_rules[] = {
    [LINE_IDLE] = {"idle", FM_TO(LINE_LOADING) | FM_TO(LINE_CONNECTING) | FM_TO(LINE_TALKING) |
                               FM_TO(LINE_ENDING)},
    [LINE_LOADING] = {"loading", FM_TO(LINE_CONNECTING) | FM_TO(LINE_ENDING)},
    [LINE_CONNECTING] = {"connecting", FM_TO(LINE_TALKING) | FM_TO(LINE_ENDING)},
    [LINE_TALKING] = {"talking", FM_TO(LINE_ENDING) | FM_TO(LINE_LOADING) | FM_TO(LINE_CONNECTING)},
    [LINE_ENDING] = {"ending", FM_TO(LINE_IDLE)},
};

struct line {
    struct platform *platform; /* borrowed */
    struct fm_sm sm;
    struct upstream_site *site; /* a reference: of the connection, and of the request */
    /* the connection */
    struct net_stream *stream; /* owned; NULL: none */
    bool is_open, is_writing, is_disconnecting;
    struct h1 *h1;        /* owned, as h2 */
    struct h2_client *h2; /* one of them, while open */
    struct fm_buf output;
    /* what is read for it */
    struct pf_job job;
    bool is_loading;
    int job_rc;
    struct fm_buf file;
    struct http_header file_headers[UPSTREAM_HEADERS_MAX];
    size_t file_header_count;
    struct net_proxy proxy;
    char proxy_authorization[NET_PROXY_CREDENTIALS_MAX + 8];
    /* the request */
    struct export_request *request; /* borrowed; NULL: none */
    struct http_header headers[LINE_HEADER_COUNT];
    size_t header_count;
    size_t sent; /* of the body, HTTP/1 */
    struct h2_call call;
    struct fm_buf response;
    bool is_reused, is_repeated, got_bytes, is_answered, close_after;
    uint64_t moved_ns;
    struct pf_timer watch, end;
};

static void line_connect(struct line *line);
static void line_begin(struct line *line);

static void line_touch(struct line *line)
{
    line->moved_ns = pf_now_ns(line->platform);
}

/* ---- the end of a request ---- */

static void line_disconnect(struct line *line)
{
    line->is_disconnecting = true; /* calls that end with the session are no news */
    line->stream = net_stream_free(line->stream);
    line->h1 = h1_free(line->h1);
    line->h2 = h2_client_free(line->h2);
    line->is_open = line->is_writing = line->close_after = line->is_disconnecting = false;
    fm_buf_reset(&line->output);
}

static void line_end(struct line *line)
{
    if (line->sm.state == LINE_ENDING)
        return;
    pf_timer_stop(line->platform, &line->watch);
    fm_sm_move(&line->sm, LINE_ENDING);
    pf_timer_start(line->platform, &line->end, 0);
}

static void line_on_end_timer(struct pf_timer *timer)
{
    struct line *line = FM_CONTAINER(timer, struct line, end);
    if (line->is_loading)
        return; /* comes back with the job */
    struct export_request *request = fm_take(line->request);
    fm_sm_move(&line->sm, LINE_IDLE);
    request->done(request); /* may send, or free us */
}

static void line_fail(struct line *line, enum export_outcome outcome, const char *text)
{
    line->request->outcome = outcome;
    (void)fm_fail(&line->request->why, FM_EIO, "%s: %s", line->site->url.authority, text);
    line_disconnect(line);
    line_end(line);
}

static void line_on_watch(struct pf_timer *timer)
{
    struct line *line = FM_CONTAINER(timer, struct line, watch);
    uint64_t still_ns = pf_now_ns(line->platform) - line->moved_ns;
    if (still_ns < line->site->timeout_ns)
        pf_timer_start(line->platform, timer, line->site->timeout_ns - still_ns);
    else
        line_fail(line, EXPORT_TIMEOUT, line->is_open ? "no byte moved in time" : "no connection");
}

/* The connection is gone; perhaps it was before we began. */
static void line_broken(struct line *line, const char *text)
{
    bool is_stale =
        line->sm.state == LINE_TALKING && line->is_reused && !line->got_bytes && !line->is_repeated;
    if (line->sm.state == LINE_IDLE || line->sm.state == LINE_ENDING) {
        line_disconnect(line);
    } else if (is_stale) {
        line_disconnect(line);
        line->is_repeated = true;
        line_connect(line);
    } else {
        line_fail(line, EXPORT_UNREACHABLE, text);
    }
}

/* ---- answers ---- */

/* HTTP in the clear is the proxy's to read: it is asked for the whole URL. */
static bool line_asks_proxy(const struct line *line)
{
    const struct upstream_site *site = line->site;
    return site->has_proxy && !site->url.is_tls && site->protocol == EXPORT_HTTP;
}

static void line_take_h1(struct line *line)
{
    const struct h1_head *head = h1_head(line->h1);
    struct fm_slice retry_after = {0};
    if (http_header_find(head->headers, head->header_count, "retry-after", &retry_after) != FM_OK)
        retry_after = fm_slice(NULL, 0);
    upstream_answer_http(line->request, head->status, retry_after, pf_wall_ns(line->platform),
                         fm_buf_slice(&line->response));
    if (line_asks_proxy(line) && head->status == LINE_PROXY_AUTHENTICATION)
        line->request->outcome = EXPORT_UNREACHABLE; /* of the way there, not of the data */
    line->is_answered = true;
    line->close_after =
        !head->keep_alive || line->sent < line->request->body.len || line->is_writing;
}

/* False: what came is no answer to anything. */
static bool line_feed_h1(struct line *line, struct fm_slice data)
{
    for (;;) {
        enum h1_event event;
        struct fm_slice piece;
        size_t used;
        int rc = h1_feed(line->h1, data, &used, &event, &piece);
        if (rc < 0)
            return false;
        data = fm_slice(data.ptr + used, data.len - used);
        if (rc == FM_MORE)
            return true;
        if (line->sm.state != LINE_TALKING || line->is_answered)
            return false;
        if (event == H1_HEAD)
            fm_buf_reset(&line->response);
        else if (event == H1_BODY && line->response.len + piece.len <= LINE_RESPONSE_MAX)
            fm_buf_put_slice(&line->response, piece);
        else if (event == H1_DONE && h1_head(line->h1)->status >= 200)
            line_take_h1(line);
    }
}

static void line_on_call(struct h2_call *call, int rc)
{
    struct line *line = call->self;
    if (line->is_disconnecting || !line->request)
        return;
    if (rc < 0 && call->grpc_status < 0) {
        line->is_answered = true;
        line->request->outcome = EXPORT_UNREACHABLE;
        (void)fm_fail(&line->request->why, rc, "%s: the stream was reset",
                      line->site->url.authority);
        line->close_after = rc != FM_EUNAVAILABLE;
        return;
    }
    const struct upstream_answer_grpc answer = {
        .http_status = call->status,
        .grpc_status = call->grpc_status,
        .message = fm_slice_text(call->grpc_message),
        .details = fm_slice_text(call->grpc_details),
        .body = fm_buf_slice(&call->response),
    };
    upstream_answer_grpc(line->request, &answer);
    if (line->request->outcome == EXPORT_BUSY && !line->request->retry_after_ns)
        line->request->retry_after_ns = call->retry_after_s * FM_NS_PER_S;
    line->is_answered = true;
}

static void line_settle(struct line *line)
{
    if (line->sm.state != LINE_TALKING || !line->is_answered)
        return;
    if (line->close_after)
        line_disconnect(line);
    line_end(line);
}

/* ---- sending ---- */

static void line_pump_h1(struct line *line)
{
    const struct fm_slice body = line->request->body;
    size_t len = FM_MIN(body.len - line->sent, LINE_PIECE_BYTES);
    const struct fm_slice slices[] = {fm_buf_slice(&line->output),
                                      fm_slice(body.ptr + line->sent, len)};
    bool has_head = line->output.len != 0;
    if (!has_head && !len)
        return;
    line->sent += len;
    line->is_writing = true;
    net_stream_write(line->stream, has_head ? slices : slices + 1, has_head ? 2 : 1);
}

/* False: the session is over. */
static bool line_pump_h2(struct line *line)
{
    int rc = h2_client_drain(line->h2, LINE_PIECE_BYTES, &line->output);
    if (rc < 0 && !line->output.len)
        return false;
    if (!line->output.len)
        return true;
    struct fm_slice slice = fm_buf_slice(&line->output);
    line->is_writing = true;
    net_stream_write(line->stream, &slice, 1);
    return true;
}

static void line_pump(struct line *line)
{
    if (!line->is_open || line->is_writing)
        return;
    if (line->h2) {
        if (!line_pump_h2(line) && !line->is_answered)
            line_broken(line, "the server closes the connection");
    } else if (line->sm.state == LINE_TALKING && !line->is_answered) {
        line_pump_h1(line);
    }
}

static void line_add_header(struct line *line, const char *name, const char *value)
{
    line->headers[line->header_count++] =
        (struct http_header){fm_slice_text(name), fm_slice_text(value)};
}

static void line_make_headers(struct line *line)
{
    const struct export_request *request = line->request;
    bool is_grpc = line->site->protocol == EXPORT_GRPC;
    line->header_count = 0;
    line_add_header(line, "content-type", is_grpc ? "application/grpc" : "application/x-protobuf");
    line_add_header(line, "user-agent", "fermata/" FERMATA_VERSION);
    if (is_grpc)
        line_add_header(line, "te", "trailers");
    if (request->codec != CODEC_NONE)
        line_add_header(line, is_grpc ? "grpc-encoding" : "content-encoding",
                        codec_name(request->codec));
    if (request->tenant)
        line_add_header(line, "x-scope-orgid", request->tenant);
    if (line_asks_proxy(line) && line->proxy.credentials[0]) {
        (void)snprintf(line->proxy_authorization, sizeof line->proxy_authorization, "Basic %s",
                       line->proxy.credentials);
        line_add_header(line, "proxy-authorization", line->proxy_authorization);
    }
    for (size_t i = 0; i < line->file_header_count; i++) {
        if (request->tenant && fm_slice_equal_text(line->file_headers[i].name, "x-scope-orgid"))
            continue;
        line->headers[line->header_count++] = line->file_headers[i];
    }
}

static bool line_start_h2(struct line *line)
{
    line->call.authority = fm_slice_text(line->site->url.authority);
    line->call.path = fm_slice_text(line->site->url.path);
    line->call.is_https = line->site->url.is_tls;
    line->call.headers = line->headers;
    line->call.header_count = line->header_count;
    line->call.body = line->request->body;
    line->call.done = line_on_call;
    line->call.self = line;
    return h2_client_start(line->h2, &line->call) == FM_OK;
}

/* The connection is open: the request goes out. */
static void line_begin(struct line *line)
{
    fm_sm_move(&line->sm, LINE_TALKING);
    line->sent = 0;
    line->got_bytes = line->is_answered = false;
    line_touch(line);
    line_make_headers(line);
    if (line->h2 && !line_start_h2(line)) {
        line_broken(line, "the server closes the connection");
        return;
    }
    if (line->h1)
        h1_put_request(
            &line->output, "POST",
            fm_slice_text(line_asks_proxy(line) ? line->site->absolute : line->site->url.path),
            fm_slice_text(line->site->url.authority), line->headers, line->header_count,
            line->request->body.len);
    line_pump(line);
    line_settle(line);
}

/* ---- the connection ---- */

static void line_on_open(void *self)
{
    struct line *line = self;
    int rc = line->site->protocol == EXPORT_GRPC
                 ? h2_client_new(&line->h2)
                 : h1_new(&line->h1, H1_RESPONSES, &http_limits_default);
    if (rc < 0) {
        line_broken(line, fm_rc_text(rc));
        return;
    }
    line->is_open = true;
    line_begin(line);
}

static void line_on_data(void *self, struct fm_slice data)
{
    struct line *line = self;
    line->got_bytes = true;
    line_touch(line);
    bool is_good = line->h1 ? line_feed_h1(line, data) : h2_client_feed(line->h2, data) == FM_OK;
    if (!is_good && !line->is_answered) {
        line_broken(line, "the answer violates its protocol");
        return;
    }
    if (!is_good)
        line->close_after = true;
    line_pump(line);
    line_settle(line);
}

static void line_on_written(void *self)
{
    struct line *line = self;
    line->is_writing = false;
    fm_buf_reset(&line->output);
    line_touch(line);
    line_pump(line);
    line_settle(line);
}

static void line_on_end(void *self, int rc, const char *text)
{
    struct line *line = self;
    (void)rc;
    if (line->h1 && line->sm.state == LINE_TALKING && !line->is_answered && line->got_bytes &&
        h1_feed_end(line->h1) == FM_OK) {
        line_take_h1(line); /* an answer that ends with its connection */
        line->close_after = true;
        line_settle(line);
        return;
    }
    line_broken(line, text);
}

static const struct net_stream_events line_events = {
    .on_open = line_on_open,
    .on_data = line_on_data,
    .on_written = line_on_written,
    .on_end = line_on_end,
};

static void line_open_stream(struct line *line)
{
    struct upstream_site *site = line->site;
    bool is_direct = !site->has_proxy || line_asks_proxy(line);
    const struct net_endpoint *to =
        line_asks_proxy(line) ? &line->proxy.endpoint : &site->url.endpoint;
    fm_sm_move(&line->sm, LINE_CONNECTING);
    int rc = net_stream_open_through(&line->stream, line->platform, is_direct ? NULL : &line->proxy,
                                     to, site->tls, &line_events, line);
    if (rc < 0)
        line_fail(line, EXPORT_UNREACHABLE, fm_rc_text(rc));
}

static void line_work(struct pf_job *job)
{
    struct line *line = FM_CONTAINER(job, struct line, job);
    const struct upstream_site *site = line->site;
    struct fm_why *why = &line->request->why;
    fm_buf_reset(&line->file);
    line->job_rc = FM_OK;
    line->file_header_count = 0;
    if (site->headers_file)
        line->job_rc = pf_read_file(line->platform, site->headers_file, &line->file, why);
    if (line->job_rc == FM_OK && site->headers_file)
        line->job_rc = upstream_headers_parse(line->file.ptr, line->file.len, line->file_headers,
                                              &line->file_header_count, why);
    if (line->job_rc == FM_OK && site->proxy_auth_file)
        line->job_rc = net_proxy_load(&line->proxy, line->platform, site->proxy_auth_file, why);
}

static void line_on_loaded(struct pf_job *job)
{
    struct line *line = FM_CONTAINER(job, struct line, job);
    line->is_loading = false;
    if (line->sm.state == LINE_ENDING) {
        pf_timer_start(line->platform, &line->end, 0);
        return;
    }
    if (line->job_rc < 0) { /* without what it asks for it would be refused, for good */
        struct fm_why why = line->request->why;
        line_fail(line, EXPORT_UNREACHABLE, why.text);
        return;
    }
    line_open_stream(line);
}

static void line_connect(struct line *line)
{
    const struct upstream_site *site = line->site;
    line->is_reused = false;
    line->proxy = site->proxy;
    line->file_header_count = 0;
    line_touch(line);
    if (!site->headers_file && !site->proxy_auth_file) {
        line_open_stream(line);
        return;
    }
    fm_sm_move(&line->sm, LINE_LOADING);
    line->is_loading = true;
    line->job = (struct pf_job){.work = line_work, .done = line_on_loaded, .lane = PF_LANE_DISK};
    pf_job_submit(line->platform, &line->job);
}

/* ---- what the upstream sees ---- */

bool line_is_free(const struct line *line)
{
    return !line->request;
}

const struct export_request *line_request(const struct line *line)
{
    return line->sm.state == LINE_ENDING ? NULL : line->request;
}

/* Nothing of what was there is good for the settings of now. */
static void line_take_site(struct line *line, struct upstream_site *site)
{
    if (line->site == site)
        return;
    if (line->stream)
        line_disconnect(line);
    upstream_site_unref(line->site);
    line->site = upstream_site_ref(site);
}

void line_send(struct line *line, struct upstream_site *site, struct export_request *request)
{
    FM_ASSERT(!line->request);
    line_take_site(line, site);
    line->request = request;
    line->is_repeated = line->is_answered = false;
    request->status = 0;
    request->retry_after_ns = request->rejected_spans = 0;
    request->why.text[0] = '\0';
    line_touch(line);
    pf_timer_start(line->platform, &line->watch, site->timeout_ns);
    if (line->stream && (!line->is_open || (line->h2 && h2_client_is_closing(line->h2)) ||
                         (line->h1 && line->is_writing)))
        line_disconnect(line);
    line->is_reused = line->stream != NULL;
    if (line->stream)
        line_begin(line);
    else
        line_connect(line);
}

void line_cancel(struct line *line)
{
    if (line->request && line->sm.state != LINE_ENDING)
        line_fail(line, EXPORT_CANCELLED, "cancelled");
}

int line_new(struct line **ret_line, struct platform *platform)
{
    struct line *line = calloc(1, sizeof *line);
    if (!line)
        return FM_ENOMEM;
    line->platform = platform;
    line->sm = (struct fm_sm){line_rules, LINE_IDLE};
    line->watch.fire = line_on_watch;
    line->end.fire = line_on_end_timer;
    fm_buf_init(&line->output, FM_MIB(8));
    fm_buf_init(&line->file, LINE_FILE_MAX);
    fm_buf_init(&line->response, LINE_RESPONSE_MAX);
    fm_buf_init(&line->call.response, H2_CLIENT_RESPONSE_MAX);
    *ret_line = line;
    return FM_OK;
}

struct line *line_free(struct line *line)
{
    if (!line)
        return NULL;
    FM_ASSERT(!line->request && !line->is_loading);
    line_disconnect(line);
    pf_timer_stop(line->platform, &line->watch);
    pf_timer_stop(line->platform, &line->end);
    upstream_site_unref(line->site);
    fm_buf_fini(&line->output);
    fm_buf_fini(&line->file);
    fm_buf_fini(&line->response);
    fm_buf_fini(&line->call.response);
    free(line);
    return NULL;
}
