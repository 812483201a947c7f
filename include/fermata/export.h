/* SPDX-License-Identifier: Apache-2.0 */
/* export - what is stored, passed on to other collectors over OTLP; any number of exporters.
 *
 * An exporter is a cursor over the log and, where the log has moved on, over the blocks
 * (store_cursor.h): nothing is copied, nothing waits for it, and an upstream that was dead for days
 * gets everything that retention left.  Its place is kept in data_dir/export/NAME and written after
 * the upstream has acknowledged: a crash sends again what was acknowledged since, at most.
 *
 * On the loop's thread.
 */
#ifndef FERMATA_EXPORT_H
#define FERMATA_EXPORT_H

#include "fermata/codec.h"
#include "fermata/platform.h"
#include "fermata/store.h"
#include "fermata/telemetry.h"

#define EXPORT_NAME_MAX      63 /* [a-z0-9_-]: a label, a file, a part of a section's name */
#define EXPORT_UPSTREAMS_MAX 8
#define EXPORT_REQUESTS_MAX  8 /* at a time, of one exporter */
#define EXPORT_GRPC_PREFIX   5 /* bytes in front of a message */

enum export_protocol { EXPORT_GRPC, EXPORT_HTTP };

/* ---- upstream: one endpoint, several requests at a time; two bodies: OTLP, the simulator's ----
 */

/* Why an attempt did not end well, as label and as outcome. */
#define EXPORT_OUTCOMES(X)                                                                         \
    X(SENT, "sent")                                                                                \
    X(UNREACHABLE, "unreachable") /* no connection, or it broke: try again */                      \
    X(TIMEOUT, "timeout")         /* no byte moved: try again */                                   \
    X(BUSY, "busy")               /* it says so: try again */                                      \
    X(REFUSED, "refused")         /* for good */                                                   \
    X(TOO_LARGE, "too_large")     /* try less at once */                                           \
    X(NO_CODEC, "no_codec")       /* it cannot read this compression */                            \
    X(CANCELLED, "cancelled")
enum export_outcome {
#define X(name, text) EXPORT_##name,
    EXPORT_OUTCOMES(X)
#undef X
        EXPORT_OUTCOME_COUNT
};
const char *export_outcome_text(enum export_outcome outcome);

struct upstream;
struct upstream_options;
struct export_request { /* owned by the caller, in use until done, which is never called from within
                         * send or cancel */
    struct fm_slice body; /* encoded; for gRPC a message with its prefix */
    enum codec codec;
    const char *tenant; /* NULL: no header */
    void (*done)(struct export_request *request);
    void *self;

    enum export_outcome outcome;
    int status;              /* of HTTP or gRPC; 0: there was none, or gRPC's OK */
    uint64_t retry_after_ns; /* asked for; 0: nothing */
    uint64_t rejected_spans; /* SENT: so many of them not */
    struct fm_why why;       /* also of rejected spans */
};
struct upstream_ops {
    void (*send)(struct upstream *upstream, struct export_request *request);
    void (*cancel)(struct upstream *upstream, struct export_request *request); /* done is called */
    /* From the next request on; on failure all is as it was.  NULL: there is nothing to change. */
    int (*change)(struct upstream *upstream, const struct upstream_options *options,
                  struct fm_why *why);
    struct upstream *(*free)(struct upstream *upstream); /* no request is in use */
};
struct upstream {
    const struct upstream_ops *ops;
};

struct upstream_options {
    const char *endpoint; /* http:// or https:// URL, host:port, or unix:PATH */
    enum export_protocol protocol;
    uint32_t requests_max; /* at a time, each on a connection of its own */
    uint64_t timeout_ns;   /* without progress */
    const char *proxy;     /* host:port of an HTTP proxy; not for unix:PATH; NULL or "": none */
    /* Files: NULL or "" is none.  The first two are read again for every connection: lines of
     * "Name: value", and USER:PASSWORD for the proxy. */
    const char *headers_file, *proxy_auth_file;
    const char *tls_ca_file, *tls_cert_file, *tls_key_file, *tls_server_name;
};
FM_MUST int upstream_otlp_new(struct upstream **ret_upstream, struct platform *platform,
                              const struct upstream_options *options, struct fm_why *why);

/* ---- exporters ---- */

enum export_balance { EXPORT_FAILOVER, EXPORT_BY_TRACE };
struct exporter_options {
    const char *name;
    enum export_protocol protocol;
    enum codec codec; /* NONE, GZIP or ZSTD; the next weaker one if the upstream cannot read it */
    enum export_balance balance;
    const char *tenant;    /* of requests; NULL: the data's own; "": no header */
    uint32_t requests_max; /* 1 to EXPORT_REQUESTS_MAX; 1: batch after batch */
    uint64_t batch_spans_max, batch_bytes_max, batch_timeout_ns;
    uint64_t retry_initial_ns, retry_max_ns, retry_elapsed_ns; /* elapsed 0: never gives up */
    bool from_oldest;     /* a new one begins with all that is there, not with what comes */
    bool sampled_only;    /* what tail sampling keeps, once it has decided; else all, at once */
    const char *data_dir; /* its place is in export/NAME below */
};
struct exports; /* all of them */
FM_MUST int exports_new(struct exports **ret_exports, struct platform *platform,
                        struct store *store);
/* Takes the upstreams, also on failure.  Reads the place from disk; blocks (start-up). */
FM_MUST int exports_add(struct exports *exports, const struct exporter_options *options,
                        struct upstream *const *upstreams, size_t count, struct fm_why *why);
/* on_rest: an exporter let go of what reading on would have spared; its upstream may be away for
 * days, and freed memory could go back to the system. */
void exports_set_rest(struct exports *exports, void (*on_rest)(void));
/* Other settings for the exporter of that name and its upstreams, from the next request on.  Its
 * name, protocol, tenant, requests_max, from_oldest and sampled_only stay as they are, and its
 * upstreams if they are not count.  FM_NONE: there is none of that name; on failure all is as it
 * was. */
FM_MUST int exports_change(struct exports *exports, const struct exporter_options *options,
                           const struct upstream_options *upstreams, size_t count,
                           struct fm_why *why);
/* Stops what is under way, writes the places; done is called last. */
void exports_close(struct exports *exports, void (*done)(void *self), void *self);
/* For simulations: the process died; frees memory, upstreams too, touches nothing else. */
struct exports *exports_abandon(struct exports *exports);

struct exporter_status {
    char name[EXPORT_NAME_MAX + 1];
    uint64_t sent_spans, sent_bytes, sent_batches; /* bytes as on the wire, without headers */
    uint64_t dropped_spans, lag_bytes, lag_spans, lag_ns;
    uint64_t sampled_out_spans; /* passed over: tail sampling did not keep them */
    char problem[256];          /* the last failure while nothing has succeeded since, or "" */
};
/* False: there is none of that index. */
bool exports_status(const struct exports *exports, size_t index,
                    struct exporter_status *ret_status);
void exports_put_metrics(const struct exports *exports, struct fm_buf *out);
/* Lines of fermata_spans_dropped_total{stage="export"}, without the family. */
void exports_put_dropped(const struct exports *exports, struct fm_buf *out);

#endif
