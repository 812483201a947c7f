/* SPDX-License-Identifier: Apache-2.0 */
/* net - listeners, connections, TLS, the HTTP server and the HTTP client, on libuv.
 *
 * Everything here belongs to the loop's thread.  One server listens on one endpoint and speaks
 * HTTP/1.1 and HTTP/2 (prior knowledge or ALPN) on it, told apart by the preface.
 */
#ifndef FERMATA_NET_H
#define FERMATA_NET_H

#include "fermata/http.h"
#include "fermata/net_auth.h"
#include "fermata/net_budget.h"
#include "fermata/platform.h"
#include "fermata/telemetry.h"

/* ---- server ---- */

struct net_request; /* one exchange; lives until it was answered or the peer is gone */
struct net_request_view {
    struct fm_slice method;
    struct fm_slice path;  /* decoded */
    struct fm_slice query; /* raw */
    const struct http_header *headers;
    size_t header_count;
    struct fm_slice body; /* complete */
    bool is_h2;
    bool is_loopback;                    /* the peer is on this host */
    uint64_t received_ns;                /* monotonic: the head's arrival */
    const struct net_identity *identity; /* who asks; never NULL */
};
const struct net_request_view *net_request_view(const struct net_request *request); /* borrowed */
/* Takes the body away (the bytes stay charged to the budget until net_request is answered). */
struct fm_buf net_request_take_body(struct net_request *request);
void *net_request_user(const struct net_request *request);
/* on_gone: the peer went away before the answer; answer is then ignored but must still be given. */
void net_request_set_user(struct net_request *request, void *user,
                          void (*on_gone)(struct net_request *request));

struct net_response {
    int status;
    const struct http_header *headers; /* content-type and friends; length and date are added */
    size_t header_count;
    struct fm_slice body;               /* copied */
    const struct http_header *trailers; /* HTTP/2 only (gRPC) */
    size_t trailer_count;
    bool close; /* close the connection afterwards */
};
/* Exactly once per request, from the loop's thread, at any later time. */
void net_respond(struct net_request *request, const struct net_response *response);

/* The same in parts, on HTTP/2: begin (of the response only status and headers are looked at), any
 * number of parts, end, which is the answer that is owed.  on_gone may come until then. */
void net_respond_begin(struct net_request *request, const struct net_response *response);
void net_respond_part(struct net_request *request, struct fm_slice bytes); /* copied */
size_t net_respond_unsent(const struct net_request *request);              /* of the parts so far */
void net_respond_end(struct net_request *request, const struct http_header *trailers, size_t count);

/* What is turned away before a handler sees it, by reason: connections and requests. */
#define NET_REFUSALS(X)                                                                            \
    X(CONNECTIONS, "connections")   /* connection_max */                                           \
    X(PER_IP, "connections_per_ip") /* connection_per_ip_max */                                    \
    X(HANDSHAKES, "handshakes")     /* too many are under way */                                   \
    X(TLS, "tls")                   /* a handshake failed, or a certificate was not accepted */    \
    X(UNIX_USER, "unix_user")       /* not one of unix_allowed_users */                            \
    X(AUTH, "auth")                 /* no right password or token */                               \
    X(AUTH_BUSY, "auth_busy")       /* passwords to check in a queue that is full */               \
    X(MEMORY, "memory")             /* the budget */                                               \
    X(SIZE, "size")                 /* of a body */                                                \
    X(HEAD, "head")                 /* size of a head or a target, or a target that is no path */  \
    X(PROTOCOL, "protocol")         /* broken HTTP or TLS records */                               \
    X(FLOOD, "flood")               /* resets, PINGs and other frames that only cost */            \
    X(TIMEOUT, "timeout")           /* heads, bodies and answers that do not move */
enum net_refusal_reason {
#define X(name, text) NET_REFUSED_##name,
    NET_REFUSALS(X)
#undef X
        NET_REFUSED_COUNT
};
const char *net_refusal_text(enum net_refusal_reason reason);

struct net_server_metrics {
    metric connections_total, connections_open, requests_total, requests_refused_total;
    metric protocol_errors_total, tls_failures_total, bytes_received_total, bytes_sent_total;
    metric connections_aged_total; /* told to go because of connection_age_ns */
    metric refused_total[NET_REFUSED_COUNT];
};
struct net_server_options {
    const char *name;     /* for logs: "otlp_grpc" */
    const char *endpoint; /* "127.0.0.1:4317", "[::1]:4317", "unix:/run/fermata/x.sock" */
    /* Files and lists: NULL or "" is none.  What they mean: net_auth.h. */
    const char *tls_cert_file, *tls_key_file, *tls_client_ca_file;
    const char *tls_client_allowed_names; /* blank separated */
    bool tls_13_only;
    const char *htpasswd_file, *bearer_tokens_file;
    const char *unix_mode, *unix_allowed_users; /* octal; blank separated */
    struct http_limits limits;
    uint32_t connection_max;
    uint32_t connection_per_ip_max; /* of other hosts; 0: unlimited */
    uint64_t connection_age_ns;     /* then GOAWAY or Connection: close; 0: unlimited */
    uint64_t head_timeout_ns, body_timeout_ns, idle_timeout_ns;
    struct net_budget *budget; /* borrowed */
    /* Whose share of the budget a request's body is, asked when its head is known and its identity
     * judged.  NULL: nobody's. */
    uint32_t (*party)(void *party_self, const struct net_request_view *view);
    void *party_self;
    bool says_status; /* its own refusals carry a google.rpc.Status, as OTLP/HTTP has it */
    /* Called when a request is complete. */
    void (*on_request)(void *self, struct net_request *request);
    void *self;
};
struct net_server;
/* Binds and listens.  FM_EUNAVAILABLE: the address is in use; why names it. */
FM_MUST int net_server_open(struct net_server **ret_server, struct platform *platform,
                            const struct net_server_options *options, struct fm_why *why);
/* The port in use (for endpoint ":0" in tests). */
uint16_t net_server_port(const struct net_server *server);
const struct net_server_metrics *net_server_metrics(const struct net_server *server);
/* Stops accepting; lets requests in flight be answered (HTTP/2: GOAWAY) for grace_ns, then closes
 * everything; closed is called last, after which the server is gone. */
void net_server_close(struct net_server *server, uint64_t grace_ns, void (*closed)(void *self),
                      void *self);
/* Re-reads certificates, keys, users and tokens; old connections stay.  On failure what was in use
 * stays in use. */
FM_MUST int net_server_reload(struct net_server *server, struct fm_why *why);

/* ---- client: one connection at a time per net_client, kept alive between calls ---- */

/* Who says when a call's body may go out, and hears what went over the wire.  On the loop. */
struct net_pacer {
    /* How many of want bytes may be sent now; 0: ask again in *ret_wait_ns. */
    size_t (*grant)(struct net_pacer *pacer, size_t want, uint64_t *ret_wait_ns);
    /* Bytes of the socket in either direction: handshakes, heads and TLS records as well. */
    void (*moved)(struct net_pacer *pacer, uint64_t bytes);
};

struct net_client_options {
    const char *host;
    uint16_t port;
    bool tls;
    const char *tls_ca_file;     /* NULL or "": the system's store */
    const char *tls_server_name; /* NULL: host */
    const char *interface;       /* NULL or "": any; else only through this one */
    const char *proxy;           /* NULL or "": none; else an HTTP proxy's host:port */
    const char *proxy_auth_file; /* USER:PASSWORD for it, read at once; NULL or "": none */
    uint64_t connect_timeout_ns;
    uint64_t stall_timeout_ns; /* no byte moved in either direction */
};
struct net_client;
FM_MUST int net_client_new(struct net_client **ret_client, struct platform *platform,
                           const struct net_client_options *options, struct fm_why *why);
/* Cancels the call in flight (its done is called with FM_ECANCELLED), closes, frees later. */
struct net_client *net_client_free(struct net_client *client);

struct net_call { /* owned by the caller, in use from net_call_start until done */
    const char *method;
    struct fm_slice host, target; /* Host header and request target */
    const struct http_header *headers;
    size_t header_count;
    struct fm_source body; /* read in pieces on PF_LANE_DISK; size 0: no body */
    uint64_t body_offset, body_length;
    bool expect_continue;      /* and read early refusals while sending */
    uint64_t rate_bytes_per_s; /* 0: unlimited */
    struct net_pacer *pacer;   /* NULL: none; stays until done */
    size_t response_bytes_max; /* the rest is dropped */
    /* rc FM_OK: status and headers are complete.  FM_ETIMEOUT, FM_EIO, FM_ECLOSED, FM_EMALFORMED,
     * FM_EUNAVAILABLE (connect, name lookup), FM_EDENIED (certificate), FM_ECANCELLED. */
    void (*done)(struct net_call *call, int rc);
    void *self;

    /* Filled by the client, valid during done. */
    int status;
    const struct http_header *response_headers;
    size_t response_header_count;
    struct fm_slice response_body;
    uint64_t body_sent; /* bytes of the body handed to the kernel */
    struct fm_why why;
};
void net_call_start(struct net_client *client, struct net_call *call);

/* "host:port", "[v6]:port", ":port", "unix:PATH". */
struct net_endpoint {
    char host[254]; /* or the path of a unix socket */
    uint16_t port;
    bool is_unix;
    bool is_loopback;
};
FM_MUST int net_endpoint_parse(const char *text, struct net_endpoint *ret_endpoint,
                               struct fm_why *why);

#endif
