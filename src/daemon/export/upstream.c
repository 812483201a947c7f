/* SPDX-License-Identifier: Apache-2.0 */
/* upstream - one OTLP endpoint: a connection that is kept, and one request at a time on it.
 *
 *   IDLE --> LOADING --> CONNECTING --> TALKING --> IDLE          any but IDLE --> ENDING --> IDLE
 *     \-------------------------------->^
 *
 * LOADING reads headers_file, in a job.  ENDING: what came of the request is known, and is told
 * from the top of the loop, since whoever hears it sends the next one or frees us.
 *
 * A connection that was kept may have been closed by the other side while nobody looked: if it
 * breaks before a byte of an answer, the request starts over once on a new one.
 */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "fermata/h1.h"
#include "fermata/h2_client.h"
#include "fermata/net_stream.h"

#define UPSTREAM_PIECE_BYTES  FM_KIB(256)
#define UPSTREAM_RESPONSE_MAX FM_MIB(1) /* the rest of a longer answer is dropped */
#define UPSTREAM_FILE_MAX     FM_KIB(64)
#define UPSTREAM_OWN_HEADERS  6
#define UPSTREAM_HEADER_COUNT (UPSTREAM_OWN_HEADERS + UPSTREAM_HEADERS_MAX)

enum upstream_state {
    UPSTREAM_IDLE,
    UPSTREAM_LOADING,
    UPSTREAM_CONNECTING,
    UPSTREAM_TALKING,
    UPSTREAM_ENDING
};
static const struct fm_sm_rule upstream_rules[] = {
    [UPSTREAM_IDLE] = {"idle", FM_TO(UPSTREAM_LOADING) | FM_TO(UPSTREAM_CONNECTING) |
                                   FM_TO(UPSTREAM_TALKING) | FM_TO(UPSTREAM_ENDING)},
    [UPSTREAM_LOADING] = {"loading", FM_TO(UPSTREAM_CONNECTING) | FM_TO(UPSTREAM_ENDING)},
    [UPSTREAM_CONNECTING] = {"connecting", FM_TO(UPSTREAM_TALKING) | FM_TO(UPSTREAM_ENDING)},
    [UPSTREAM_TALKING] = {"talking", FM_TO(UPSTREAM_ENDING) | FM_TO(UPSTREAM_LOADING) |
                                         FM_TO(UPSTREAM_CONNECTING)},
    [UPSTREAM_ENDING] = {"ending", FM_TO(UPSTREAM_IDLE)},
};

struct otlp_upstream {
    struct upstream base;
    struct platform *platform; /* borrowed */
    struct fm_sm sm;
    enum export_protocol protocol;
    struct upstream_url url;
    uint64_t timeout_ns;
    char *headers_file;         /* owned; NULL: none */
    struct net_stream_tls *tls; /* owned; NULL: plain */
    /* the connection */
    struct net_stream *stream; /* owned; NULL: none */
    bool is_open, is_writing, is_disconnecting;
    struct h1 *h1;        /* owned, as h2 */
    struct h2_client *h2; /* one of them, while open */
    struct fm_buf output;
    /* the file's headers */
    struct pf_job job;
    bool is_loading;
    int job_rc;
    struct fm_buf file;
    struct http_header file_headers[UPSTREAM_HEADERS_MAX];
    size_t file_header_count;
    /* the request */
    struct export_request *request; /* borrowed; NULL: none */
    struct http_header headers[UPSTREAM_HEADER_COUNT];
    size_t header_count;
    size_t sent; /* of the body, HTTP/1 */
    struct h2_call call;
    struct fm_buf response;
    bool is_reused, is_repeated, got_bytes, is_answered, close_after;
    uint64_t moved_ns;
    struct pf_timer watch, end;
};

static void upstream_connect(struct otlp_upstream *up);
static void upstream_begin(struct otlp_upstream *up);

static struct otlp_upstream *otlp_of(struct upstream *upstream)
{
    return FM_CONTAINER(upstream, struct otlp_upstream, base);
}

static void upstream_touch(struct otlp_upstream *up)
{
    up->moved_ns = pf_now_ns(up->platform);
}

/* ---- the end of a request ---- */

static void upstream_disconnect(struct otlp_upstream *up)
{
    up->is_disconnecting = true; /* calls that end with the session are no news */
    up->stream = net_stream_free(up->stream);
    up->h1 = h1_free(up->h1);
    up->h2 = h2_client_free(up->h2);
    up->is_open = up->is_writing = up->close_after = up->is_disconnecting = false;
    fm_buf_reset(&up->output);
}

static void upstream_end(struct otlp_upstream *up)
{
    if (up->sm.state == UPSTREAM_ENDING)
        return;
    pf_timer_stop(up->platform, &up->watch);
    fm_sm_move(&up->sm, UPSTREAM_ENDING);
    pf_timer_start(up->platform, &up->end, 0);
}

static void upstream_on_end_timer(struct pf_timer *timer)
{
    struct otlp_upstream *up = FM_CONTAINER(timer, struct otlp_upstream, end);
    if (up->is_loading)
        return; /* comes back with the job */
    struct export_request *request = fm_take(up->request);
    fm_sm_move(&up->sm, UPSTREAM_IDLE);
    request->done(request); /* may send, or free us */
}

static void upstream_fail(struct otlp_upstream *up, enum export_outcome outcome, const char *text)
{
    up->request->outcome = outcome;
    (void)fm_fail(&up->request->why, FM_EIO, "%s: %s", up->url.authority, text);
    upstream_disconnect(up);
    upstream_end(up);
}

static void upstream_on_watch(struct pf_timer *timer)
{
    struct otlp_upstream *up = FM_CONTAINER(timer, struct otlp_upstream, watch);
    uint64_t still_ns = pf_now_ns(up->platform) - up->moved_ns;
    if (still_ns < up->timeout_ns)
        pf_timer_start(up->platform, timer, up->timeout_ns - still_ns);
    else
        upstream_fail(up, EXPORT_TIMEOUT, up->is_open ? "no byte moved in time" : "no connection");
}

/* The connection is gone; perhaps it was before we began. */
static void upstream_broken(struct otlp_upstream *up, const char *text)
{
    bool is_stale =
        up->sm.state == UPSTREAM_TALKING && up->is_reused && !up->got_bytes && !up->is_repeated;
    if (up->sm.state == UPSTREAM_IDLE || up->sm.state == UPSTREAM_ENDING) {
        upstream_disconnect(up);
    } else if (is_stale) {
        upstream_disconnect(up);
        up->is_repeated = true;
        upstream_connect(up);
    } else {
        upstream_fail(up, EXPORT_UNREACHABLE, text);
    }
}

/* ---- answers ---- */

static void upstream_take_h1(struct otlp_upstream *up)
{
    const struct h1_head *head = h1_head(up->h1);
    struct fm_slice retry_after = {0};
    if (http_header_find(head->headers, head->header_count, "retry-after", &retry_after) != FM_OK)
        retry_after = fm_slice(NULL, 0);
    upstream_answer_http(up->request, head->status, retry_after, pf_wall_ns(up->platform),
                         fm_buf_slice(&up->response));
    up->is_answered = true;
    up->close_after = !head->keep_alive || up->sent < up->request->body.len || up->is_writing;
}

/* False: what came is no answer to anything. */
static bool upstream_feed_h1(struct otlp_upstream *up, struct fm_slice data)
{
    for (;;) {
        enum h1_event event;
        struct fm_slice piece;
        size_t used;
        int rc = h1_feed(up->h1, data, &used, &event, &piece);
        if (rc < 0)
            return false;
        data = fm_slice(data.ptr + used, data.len - used);
        if (rc == FM_MORE)
            return true;
        if (up->sm.state != UPSTREAM_TALKING || up->is_answered)
            return false;
        if (event == H1_HEAD)
            fm_buf_reset(&up->response);
        else if (event == H1_BODY && up->response.len + piece.len <= UPSTREAM_RESPONSE_MAX)
            fm_buf_put_slice(&up->response, piece);
        else if (event == H1_DONE && h1_head(up->h1)->status >= 200)
            upstream_take_h1(up);
    }
}

static void upstream_on_call(struct h2_call *call, int rc)
{
    struct otlp_upstream *up = call->self;
    if (up->is_disconnecting || !up->request)
        return;
    if (rc < 0 && call->grpc_status < 0) {
        up->is_answered = true;
        up->request->outcome = EXPORT_UNREACHABLE;
        (void)fm_fail(&up->request->why, rc, "%s: the stream was reset", up->url.authority);
        up->close_after = rc != FM_EUNAVAILABLE;
        return;
    }
    const struct upstream_answer_grpc answer = {
        .http_status = call->status,
        .grpc_status = call->grpc_status,
        .message = fm_slice_text(call->grpc_message),
        .details = fm_slice_text(call->grpc_details),
        .body = fm_buf_slice(&call->response),
    };
    upstream_answer_grpc(up->request, &answer);
    if (up->request->outcome == EXPORT_BUSY && !up->request->retry_after_ns)
        up->request->retry_after_ns = call->retry_after_s * FM_NS_PER_S;
    up->is_answered = true;
}

static void upstream_settle(struct otlp_upstream *up)
{
    if (up->sm.state != UPSTREAM_TALKING || !up->is_answered)
        return;
    if (up->close_after)
        upstream_disconnect(up);
    upstream_end(up);
}

/* ---- sending ---- */

static void upstream_pump_h1(struct otlp_upstream *up)
{
    const struct fm_slice body = up->request->body;
    size_t len = FM_MIN(body.len - up->sent, UPSTREAM_PIECE_BYTES);
    const struct fm_slice slices[] = {fm_buf_slice(&up->output),
                                      fm_slice(body.ptr + up->sent, len)};
    bool has_head = up->output.len != 0;
    if (!has_head && !len)
        return;
    up->sent += len;
    up->is_writing = true;
    net_stream_write(up->stream, has_head ? slices : slices + 1, has_head ? 2 : 1);
}

/* False: the session is over. */
static bool upstream_pump_h2(struct otlp_upstream *up)
{
    int rc = h2_client_drain(up->h2, UPSTREAM_PIECE_BYTES, &up->output);
    if (rc < 0 && !up->output.len)
        return false;
    if (!up->output.len)
        return true;
    struct fm_slice slice = fm_buf_slice(&up->output);
    up->is_writing = true;
    net_stream_write(up->stream, &slice, 1);
    return true;
}

static void upstream_pump(struct otlp_upstream *up)
{
    if (!up->is_open || up->is_writing)
        return;
    if (up->h2) {
        if (!upstream_pump_h2(up) && !up->is_answered)
            upstream_broken(up, "the server closes the connection");
    } else if (up->sm.state == UPSTREAM_TALKING && !up->is_answered) {
        upstream_pump_h1(up);
    }
}

static void upstream_add_header(struct otlp_upstream *up, const char *name, const char *value)
{
    up->headers[up->header_count++] =
        (struct http_header){fm_slice_text(name), fm_slice_text(value)};
}

static void upstream_make_headers(struct otlp_upstream *up)
{
    const struct export_request *request = up->request;
    bool is_grpc = up->protocol == EXPORT_GRPC;
    up->header_count = 0;
    upstream_add_header(up, "content-type",
                        is_grpc ? "application/grpc" : "application/x-protobuf");
    upstream_add_header(up, "user-agent", "fermata/" FERMATA_VERSION);
    if (is_grpc)
        upstream_add_header(up, "te", "trailers");
    if (request->codec != CODEC_NONE)
        upstream_add_header(up, is_grpc ? "grpc-encoding" : "content-encoding",
                            codec_name(request->codec));
    if (request->tenant)
        upstream_add_header(up, "x-scope-orgid", request->tenant);
    for (size_t i = 0; i < up->file_header_count; i++) {
        if (request->tenant && fm_slice_equal_text(up->file_headers[i].name, "x-scope-orgid"))
            continue;
        up->headers[up->header_count++] = up->file_headers[i];
    }
}

static bool upstream_start_h2(struct otlp_upstream *up)
{
    up->call.authority = fm_slice_text(up->url.authority);
    up->call.path = fm_slice_text(up->url.path);
    up->call.is_https = up->url.is_tls;
    up->call.headers = up->headers;
    up->call.header_count = up->header_count;
    up->call.body = up->request->body;
    up->call.done = upstream_on_call;
    up->call.self = up;
    return h2_client_start(up->h2, &up->call) == FM_OK;
}

/* The connection is open: the request goes out. */
static void upstream_begin(struct otlp_upstream *up)
{
    fm_sm_move(&up->sm, UPSTREAM_TALKING);
    up->sent = 0;
    up->got_bytes = up->is_answered = false;
    upstream_touch(up);
    upstream_make_headers(up);
    if (up->h2 && !upstream_start_h2(up)) {
        upstream_broken(up, "the server closes the connection");
        return;
    }
    if (up->h1)
        h1_put_request(&up->output, "POST", fm_slice_text(up->url.path),
                       fm_slice_text(up->url.authority), up->headers, up->header_count,
                       up->request->body.len);
    upstream_pump(up);
    upstream_settle(up);
}

/* ---- the connection ---- */

static void upstream_on_open(void *self)
{
    struct otlp_upstream *up = self;
    int rc = up->protocol == EXPORT_GRPC ? h2_client_new(&up->h2)
                                         : h1_new(&up->h1, H1_RESPONSES, &http_limits_default);
    if (rc < 0) {
        upstream_broken(up, fm_rc_text(rc));
        return;
    }
    up->is_open = true;
    upstream_begin(up);
}

static void upstream_on_data(void *self, struct fm_slice data)
{
    struct otlp_upstream *up = self;
    up->got_bytes = true;
    upstream_touch(up);
    bool is_good = up->h1 ? upstream_feed_h1(up, data) : h2_client_feed(up->h2, data) == FM_OK;
    if (!is_good && !up->is_answered) {
        upstream_broken(up, "the answer violates its protocol");
        return;
    }
    if (!is_good)
        up->close_after = true;
    upstream_pump(up);
    upstream_settle(up);
}

static void upstream_on_written(void *self)
{
    struct otlp_upstream *up = self;
    up->is_writing = false;
    fm_buf_reset(&up->output);
    upstream_touch(up);
    upstream_pump(up);
    upstream_settle(up);
}

static void upstream_on_end(void *self, int rc, const char *text)
{
    struct otlp_upstream *up = self;
    (void)rc;
    if (up->h1 && up->sm.state == UPSTREAM_TALKING && !up->is_answered && up->got_bytes &&
        h1_feed_end(up->h1) == FM_OK) {
        upstream_take_h1(up); /* an answer that ends with its connection */
        up->close_after = true;
        upstream_settle(up);
        return;
    }
    upstream_broken(up, text);
}

static const struct net_stream_events upstream_events = {
    .on_open = upstream_on_open,
    .on_data = upstream_on_data,
    .on_written = upstream_on_written,
    .on_end = upstream_on_end,
};

static void upstream_open_stream(struct otlp_upstream *up)
{
    fm_sm_move(&up->sm, UPSTREAM_CONNECTING);
    int rc = net_stream_open_tls(&up->stream, up->platform, &up->url.endpoint, up->tls,
                                 &upstream_events, up);
    if (rc < 0)
        upstream_fail(up, EXPORT_UNREACHABLE, fm_rc_text(rc));
}

static void upstream_work(struct pf_job *job)
{
    struct otlp_upstream *up = FM_CONTAINER(job, struct otlp_upstream, job);
    fm_buf_reset(&up->file);
    up->job_rc = pf_read_file(up->platform, up->headers_file, &up->file, &up->request->why);
    if (up->job_rc == FM_OK)
        up->job_rc = upstream_headers_parse(up->file.ptr, up->file.len, up->file_headers,
                                            &up->file_header_count, &up->request->why);
}

static void upstream_on_loaded(struct pf_job *job)
{
    struct otlp_upstream *up = FM_CONTAINER(job, struct otlp_upstream, job);
    up->is_loading = false;
    if (up->sm.state == UPSTREAM_ENDING) {
        pf_timer_start(up->platform, &up->end, 0);
        return;
    }
    if (up->job_rc < 0) { /* without what it asks for it would be refused, for good */
        struct fm_why why = up->request->why;
        upstream_fail(up, EXPORT_UNREACHABLE, why.text);
        return;
    }
    upstream_open_stream(up);
}

static void upstream_connect(struct otlp_upstream *up)
{
    up->is_reused = false;
    upstream_touch(up);
    if (!up->headers_file) {
        upstream_open_stream(up);
        return;
    }
    fm_sm_move(&up->sm, UPSTREAM_LOADING);
    up->is_loading = true;
    up->job =
        (struct pf_job){.work = upstream_work, .done = upstream_on_loaded, .lane = PF_LANE_DISK};
    pf_job_submit(up->platform, &up->job);
}

/* ---- what the exporter sees ---- */

static void upstream_otlp_send(struct upstream *upstream, struct export_request *request)
{
    struct otlp_upstream *up = otlp_of(upstream);
    FM_ASSERT(!up->request);
    up->request = request;
    up->is_repeated = up->is_answered = false;
    request->status = 0;
    request->retry_after_ns = request->rejected_spans = 0;
    request->why.text[0] = '\0';
    upstream_touch(up);
    pf_timer_start(up->platform, &up->watch, up->timeout_ns);
    if (up->stream &&
        (!up->is_open || (up->h2 && h2_client_is_closing(up->h2)) || (up->h1 && up->is_writing)))
        upstream_disconnect(up);
    up->is_reused = up->stream != NULL;
    if (up->stream)
        upstream_begin(up);
    else
        upstream_connect(up);
}

static void upstream_otlp_cancel(struct upstream *upstream)
{
    struct otlp_upstream *up = otlp_of(upstream);
    if (!up->request || up->sm.state == UPSTREAM_ENDING)
        return;
    upstream_fail(up, EXPORT_CANCELLED, "cancelled");
}

static struct upstream *upstream_otlp_free(struct upstream *upstream)
{
    struct otlp_upstream *up = otlp_of(upstream);
    FM_ASSERT(!up->request && !up->is_loading);
    upstream_disconnect(up);
    pf_timer_stop(up->platform, &up->watch);
    pf_timer_stop(up->platform, &up->end);
    net_stream_tls_free(up->tls);
    fm_buf_fini(&up->output);
    fm_buf_fini(&up->file);
    fm_buf_fini(&up->response);
    fm_buf_fini(&up->call.response);
    free(up->headers_file);
    free(up);
    return NULL;
}

static const struct upstream_ops upstream_otlp_ops = {
    .send = upstream_otlp_send, .cancel = upstream_otlp_cancel, .free = upstream_otlp_free};

static int upstream_make_tls(struct otlp_upstream *up, const struct upstream_options *options,
                             struct fm_why *why)
{
    const char *name = options->tls_server_name;
    const struct net_stream_tls_options tls = {
        .ca_file = options->tls_ca_file,
        .cert_file = options->tls_cert_file,
        .key_file = options->tls_key_file,
        .server_name = name && name[0] ? name : up->url.endpoint.host,
        .h2 = up->protocol == EXPORT_GRPC,
    };
    return up->url.is_tls ? net_stream_tls_new(&up->tls, &tls, why) : FM_OK;
}

int upstream_otlp_new(struct upstream **ret_upstream, struct platform *platform,
                      const struct upstream_options *options, struct fm_why *why)
{
    struct otlp_upstream *up = calloc(1, sizeof *up);
    if (!up)
        return fm_fail(why, FM_ENOMEM, "no memory for an upstream");
    up->base.ops = &upstream_otlp_ops;
    up->platform = platform;
    up->sm = (struct fm_sm){upstream_rules, UPSTREAM_IDLE};
    up->protocol = options->protocol;
    up->timeout_ns = options->timeout_ns;
    up->watch.fire = upstream_on_watch;
    up->end.fire = upstream_on_end_timer;
    fm_buf_init(&up->output, FM_MIB(8));
    fm_buf_init(&up->file, UPSTREAM_FILE_MAX);
    fm_buf_init(&up->response, UPSTREAM_RESPONSE_MAX);
    fm_buf_init(&up->call.response, H2_CLIENT_RESPONSE_MAX);
    int rc = upstream_url_parse(options->endpoint, options->protocol, &up->url, why);
    if (rc == FM_OK)
        rc = upstream_make_tls(up, options, why);
    if (rc == FM_OK && options->headers_file && options->headers_file[0] &&
        !(up->headers_file = strdup(options->headers_file)))
        rc = fm_fail(why, FM_ENOMEM, "no memory for an upstream");
    if (rc < 0) {
        upstream_otlp_free(&up->base);
        return fm_wrap(why, rc, "endpoint %.200s", options->endpoint);
    }
    *ret_upstream = &up->base;
    return FM_OK;
}
