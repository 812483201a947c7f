/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of export share.
 *
 *   exporter.c  reads batches, lets them fly, moves the place in order
 *   flight.c    one batch: encode, send, wait, try again
 *   batch.c     parts of a batch, and the job that cuts and compresses them
 *   slice.c     OTLP cut between spans
 *   answer.c    what an upstream's answer means
 *   place.c     the place on disk;  save.c  writing and reading it
 *   upstream.c  an endpoint and its settings;  url.c, headers.c  what these say
 *   line.c      a connection: OTLP over HTTP/1.1 and gRPC
 *   exports.c   all exporters: life, metrics
 */
#ifndef EXPORT_INTERNAL_H
#define EXPORT_INTERNAL_H

#include "fermata/bytes.h"
#include "fermata/export.h"
#include "fermata/http.h"
#include "fermata/model.h"
#include "fermata/net_stream.h"
#include "fermata/store_cursor.h"
#include "fermata/units.h"

/* ---- slice.c: pure ---- */

/* Calls keep for every span in order; appends canonical OTLP of those it says yes to, with their
 * resources and scopes.  FM_EMALFORMED; FM_ENOMEM. */
struct slice_span {
    uint64_t index;
    struct fm_slice trace_id; /* as it stands there */
};
typedef bool slice_keep(void *self, const struct slice_span *span);
FM_MUST int slice_otlp(struct fm_slice otlp, slice_keep *keep, void *self, struct fm_buf *target);

/* ---- answer.c: pure ---- */

void upstream_answer_http(struct export_request *request, int status, struct fm_slice retry_after,
                          uint64_t wall_ns, struct fm_slice body);
struct upstream_answer_grpc {
    int http_status, grpc_status;     /* -1: none */
    struct fm_slice message, details; /* as sent: percent-encoded, base64 */
    struct fm_slice body;
};
void upstream_answer_grpc(struct export_request *request,
                          const struct upstream_answer_grpc *answer);

/* Full jitter: anything up to initial * 2^(failures - 1), at most max. */
uint64_t export_backoff_ns(unsigned failures, uint64_t initial_ns, uint64_t max_ns,
                           uint64_t random);

/* ---- place.c ---- */

struct place_line {
    char tenant[TENANT_LEN_MAX + 1];
    struct store_place place;
};
struct places { /* the file */
    uint64_t begin_lsn;
    struct place_line *lines; /* owned */
    size_t count;
};
void places_render(const struct places *places, struct fm_buf *buf);
FM_MUST int places_parse(struct fm_slice text, struct places *ret_places, struct fm_why *why);
void places_fini(struct places *places);

/* ---- batch.c ---- */

/* Spans of the batch that go to one upstream: those that each of the rules gives to its owner. */
struct share_rule {
    uint32_t mask; /* of the upstreams there were to choose from */
    uint32_t owner;
};
struct share {
    struct share_rule rules[EXPORT_UPSTREAMS_MAX];
    size_t rule_count;
};
/* The upstream of mask that a trace belongs to; the same whatever else is in mask, as long as it is
 * in it. */
uint32_t share_owner(struct fm_slice trace_id, uint32_t mask);

struct batch {
    struct fm_buf otlp; /* behind room for gRPC's prefix */
    uint64_t span_count;
    size_t tenant;
    struct store_place end;
    uint64_t newest_unix_ns;
    uint64_t failed_ns; /* when it failed first; 0: never */
    struct share shares[EXPORT_UPSTREAMS_MAX * EXPORT_UPSTREAMS_MAX];
    size_t share_count;  /* the last one is sent first */
    uint64_t part_first; /* spans of the last share that are done with */
    uint64_t part_max;   /* spans in one request */
    uint64_t done_spans; /* in all shares */
};
void batch_init(struct batch *batch);
void batch_fini(struct batch *batch);
void batch_reset(struct batch *batch);

/* The part of a batch that is next, as it goes over the wire. */
struct encoding {
    struct pf_job job;
    enum export_protocol protocol;
    enum codec codec;
    const struct batch *batch;     /* borrowed */
    struct codec_encoder *encoder; /* owned; of codec, or NULL; between jobs the exporter has it */
    struct fm_buf sliced, encoded;
    int rc;
    struct fm_slice body;
    uint64_t span_count; /* of this part */
    bool is_last;        /* of the share */
};
void encoding_init(struct encoding *encoding);
void encoding_fini(struct encoding *encoding);
void encoding_work(struct pf_job *job);

/* ---- flight.c ---- */

enum flight_state {
    FLIGHT_FREE,
    FLIGHT_READING,
    FLIGHT_ENCODING,
    FLIGHT_SENDING,
    FLIGHT_WAITING,
    FLIGHT_DONE
};
struct flight {
    struct exporter *exporter; /* borrowed */
    struct fm_sm sm;
    uint64_t number;  /* in the order of reading */
    uint32_t current; /* the upstream that the request goes to */
    struct store_cursor_read read;
    struct batch batch;
    struct encoding encoding;
    struct export_request request;
    uint64_t sent_ns;
    struct pf_timer timer; /* WAITING: try again */
};
void flight_init(struct flight *flight, struct exporter *exporter);
void flight_fini(struct flight *flight);
void flight_begin(struct flight *flight); /* its batch was read, and is not empty */
/* The upstream answered a request, of this flight or another. */
void flight_on_answer(struct flight *flight, uint32_t upstream);
void flight_rest(struct flight *flight); /* lets go of memory that is not needed for a while */
/* While the exporter closes. */
void flight_cancel(struct flight *flight);
void flight_land(struct flight *flight); /* what it waited for is over; nothing comes of it */
bool flight_is_busy(const struct flight *flight);

/* ---- exporter.c ---- */

/* Spans that will never arrive, by reason. */
#define EXPORTER_DROPS(X)                                                                          \
    X(REJECTED, "rejected")     /* by the upstream, in an answer that took the rest */             \
    X(REFUSED, "refused")       /* by the upstream, for good */                                    \
    X(TOO_LARGE, "too_large")   /* a single span */                                                \
    X(GAVE_UP, "gave_up")       /* retry_max_elapsed_time */                                       \
    X(EXPIRED, "expired")       /* deleted before they were sent */                                \
    X(UNREADABLE, "unreadable") /* damaged on disk */
enum exporter_drop {
#define X(name, text) EXPORTER_DROP_##name,
    EXPORTER_DROPS(X)
#undef X
        EXPORTER_DROP_COUNT
};

struct exporter_upstream {
    struct upstream *upstream; /* owned */
    uint32_t request_count;    /* under way */
    unsigned failures;         /* in a row */
    uint64_t failed_ns, down_until_ns;
};

struct exporter {
    struct exports *exports; /* borrowed */
    char name[EXPORT_NAME_MAX + 1];
    char *tenant; /* owned; or NULL */
    struct exporter_options options;
    struct store_cursor *cursor; /* owned */
    struct exporter_upstream upstreams[EXPORT_UPSTREAMS_MAX];
    uint32_t upstream_count;
    enum codec codec;
    struct codec_encoder *encoder; /* owned; NULL: in use, or not made */
    struct flight *flights;        /* owned; options.requests_max */
    uint64_t read_count;
    bool is_reading, is_flowing, is_resting;
    struct pf_timer timer; /* look again */
    bool is_due;           /* the timer is set for at once */
    bool is_closing, is_closed;
    size_t next_tenant; /* whose turn it is */
    unsigned read_failures;
    uint64_t
        spans_max; /* in one request: less than asked for, while the upstream finds it too much */
    uint64_t warned_ns; /* of a refusal; 0: never */
    char problem[256];
    /* saving */
    struct pf_job save_job;
    struct pf_timer save_timer;
    struct fm_buf save_text;
    struct places saving;
    char *path; /* owned */
    bool is_saving, save_timer_runs, is_dirty;
    uint64_t unsaved_bytes;
    int save_rc;
    struct fm_why save_why;
    /* counters */
    metric sent_spans, sent_bytes, sent_batches, saves, save_failures;
    metric attempts[EXPORT_OUTCOME_COUNT];
    metric dropped_spans[EXPORTER_DROP_COUNT];
};

FM_MUST int exporter_new(struct exporter **ret_exporter, struct exports *exports,
                         const struct exporter_options *options, struct fm_why *why);
/* Its upstreams are there; may begin. */
void exporter_start(struct exporter *exporter);
void exporter_change(struct exporter *exporter, const struct exporter_options *options);
void exporter_close(struct exporter *exporter); /* exports_on_closed follows, later */
struct exporter *exporter_free(struct exporter *exporter, bool is_abandoned);

/* ---- save.c ---- */

void exporter_save_init(struct exporter *exporter);
FM_MUST int exporter_load(struct exporter *exporter, struct fm_why *why);
void exporter_note_advance(struct exporter *exporter, uint64_t bytes); /* to be written, soon */
/* False: nothing is to be written and nobody writes. */
bool exporter_save_now(struct exporter *exporter);
/* exporter.c */
void exporter_on_saved(struct exporter *exporter);
void exporter_on_flight(struct exporter *exporter); /* one is done, or free */
void exporter_on_answer(struct exporter *exporter, uint32_t upstream);
void exporter_note_more(struct exporter *exporter); /* there may be more to send */

/* ---- exports.c ---- */

#define EXPORTS_MAX 32
struct exports {
    struct platform *platform;               /* borrowed */
    struct store *store;                     /* borrowed */
    struct exporter *exporters[EXPORTS_MAX]; /* owned */
    size_t count, closed_count;
    void (*on_rest)(void); /* or NULL */
    void (*done)(void *self);
    void *self;
    struct pf_timer timer; /* closing */
    bool is_closing;
};
void exports_on_closed(struct exports *exports);

/* ---- upstream.c, line.c, url.c, headers.c ---- */

struct upstream_url {
    struct net_endpoint endpoint;
    char authority[300]; /* Host, :authority */
    char path[1024];     /* target */
    bool is_tls;
};
FM_MUST int upstream_url_parse(const char *text, enum export_protocol protocol,
                               struct upstream_url *ret_url, struct fm_why *why);

#define UPSTREAM_HEADERS_MAX 8 /* of the file */
/* "Name: value" lines; blank ones and those that begin with # are skipped.  Slices into text, which
 * is changed: names become lower case. */
FM_MUST int upstream_headers_parse(uint8_t *text, size_t len,
                                   struct http_header headers[UPSTREAM_HEADERS_MAX],
                                   size_t *ret_count, struct fm_why *why);

struct upstream_site { /* settings of an upstream; immutable, counted, on the loop's thread */
    unsigned refs;
    enum export_protocol protocol;
    struct upstream_url url;
    uint64_t timeout_ns;
    char *headers_file, *proxy_auth_file; /* owned; NULL: none */
    struct net_stream_tls *tls;           /* owned; NULL: plain */
    bool has_proxy;
    struct net_proxy proxy;
    char absolute[1400]; /* the URL, as a proxy is asked for it */
};
struct upstream_site *upstream_site_ref(struct upstream_site *site);
void upstream_site_unref(struct upstream_site *site);

struct line;
FM_MUST int line_new(struct line **ret_line, struct platform *platform);
struct line *line_free(struct line *line); /* no request is in use */
bool line_is_free(const struct line *line);
const struct export_request *line_request(const struct line *line); /* that waits for an answer */
void line_send(struct line *line, struct upstream_site *site, struct export_request *request);
void line_cancel(struct line *line);

#endif
