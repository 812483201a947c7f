/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of net share: the server, its connections and their exchanges. */
#ifndef NET_INTERNAL_H
#define NET_INTERNAL_H

#include <uv.h>

#include "auth.h"
#include "fermata/h1.h"
#include "fermata/h2.h"
#include "fermata/net.h"
#include "fermata/uv.h"
#include "peers.h"
#include "tls.h"

#define NET_SCRATCH_BYTES        FM_KIB(64)  /* one read from a socket */
#define NET_OUTPUT_BYTES_MAX     FM_KIB(256) /* unsent answers before we stop reading the peer */
#define NET_DISCARD_BYTES_MAX    FM_MIB(1) /* a refused body that is read to keep the connection */
#define NET_DISCARD_H2_BYTES_MAX FM_KIB(64)
#define NET_BODY_HINT_MAX        FM_KIB(512)
#define NET_SECOND_NS            UINT64_C(1000000000)
#define NET_RATE_BYTES_PER_S     1024u /* slowest body, after the grace */
#define NET_RATE_GRACE_NS        (10 * NET_SECOND_NS)
#define NET_ANSWER_TIMEOUTS      10u /* HTTP/2: body timeouts for a whole answer */
#define NET_LINGER_NS            (2 * NET_SECOND_NS)
#define NET_HANDSHAKE_NS         (10 * NET_SECOND_NS)
#define NET_HANDSHAKES_MAX       64u
#define NET_HANDSHAKES_PER_PEER  32u
#define NET_ANSWERS_BYTES_MAX    FM_MIB(1) /* HTTP/2: unsent answers before more requests begin */
#define NET_RETIRE_NS            NET_SECOND_NS /* between the two words of a GOAWAY */
#define NET_SPARE_REQUESTS_MAX   64u

union net_socket {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
};

/* ---- exchanges ---- */

enum net_refusal { /* why the handler will not see a request */
                   REFUSED_NOT,
                   REFUSED_BUDGET,
                   REFUSED_SIZE,
                   REFUSED_TARGET,
                   REFUSED_AUTH,
                   REFUSED_AUTH_BUSY,
};

struct net_request {
    struct net_request_view view;
    struct conn *conn;        /* borrowed; outlives the request */
    struct h2_stream *stream; /* HTTP/2: borrowed; NULL when it is gone */
    struct fm_link link;      /* conn->requests or server->spare_requests */
    struct fm_link waiting;   /* a password check's waiters */
    struct net_identity identity;
    struct fm_arena arena; /* the decoded path; HTTP/2: the head */
    struct fm_buf body;
    uint64_t charged_bytes; /* of the budget: the head, and the body until party is known */
    uint64_t party_bytes;   /* of the budget, as party */
    uint32_t party;
    uint64_t body_started_ns, answered_ns;
    uint64_t body_bytes;     /* received */
    uint64_t expected_bytes; /* announced; 0: unknown */
    enum net_refusal refusal;
    bool is_grpc;
    bool judging;   /* waits for a verdict; nothing is done for it until then */
    bool ended;     /* HTTP/2: all of it arrived */
    bool has_head;  /* the head arrived, the answer is not given */
    bool complete;  /* waits for delivery */
    bool delivered; /* the handler has it */
    bool begun;     /* HTTP/2: the answer's head is on its way */
    bool answered;
    bool gone; /* on_gone was due */
    void *user;
    void (*on_gone)(struct net_request *request);
};

void request_init(struct net_request *request, struct conn *conn);
/* Ready for the next exchange; gives the budget back. */
void request_reset(struct net_request *request);
void request_release_body(struct net_request *request);
void request_fini(struct net_request *request);
/* Its body comes slower than the limits allow. */
bool request_is_slow(const struct net_request *request, uint64_t now_ns);
/* Until it is answered; false: the budget has not as much. */
bool request_charge(struct net_request *request, uint64_t bytes);
/* Charges and makes room for len more bytes of the body; false: it is refused now. */
bool request_room(struct net_request *request, uint64_t len);
void request_expect(struct net_request *request, uint64_t length); /* the announced length */
void request_refuse(struct net_request *request, enum net_refusal refusal);
void request_append(struct net_request *request, struct fm_slice data);
int request_set_target(struct net_request *request, struct fm_slice method, struct fm_slice target);
/* Gives it to the server's handler, or answers a refusal. */
void request_deliver(struct net_request *request);
void request_set_gone(struct net_request *request);
#define REFUSAL_HEADERS_MAX 4u
/* headers: what the answer borrows, where it is not constant. */
struct net_response request_refusal(const struct net_request *request,
                                    struct http_header headers[static REFUSAL_HEADERS_MAX]);
void request_count_refusal(const struct net_request *request);
/* Asks who it is from; true: go on, maybe with a refusal; false: request_on_verdict comes. */
bool request_judge(struct net_request *request);
void request_wait(struct net_request *request, struct fm_link *waiters);
void request_stop_waiting(struct net_request *request);
void request_on_verdict(struct net_request *request, enum auth_verdict verdict);

/* ---- connections ---- */

enum conn_state {
    CONN_HANDSHAKE,
    CONN_SNIFF,
    CONN_H1,
    CONN_H2,
    CONN_LINGER,
    CONN_CLOSING,
    CONN_CLOSED,
};

struct handshake { /* one step of it at a time, on a thread */
    uv_work_t work;
    struct conn *conn; /* borrowed; lives while conn->shaking */
    int rc;
    struct fm_why why;
};

struct conn {
    union net_socket socket;
    struct net_server *server; /* borrowed */
    struct fm_link link;       /* server->conns */
    struct fm_link ready;      /* server->ready */
    struct fm_link handshake;  /* server->handshakes */
    struct fm_sm state;
    struct tls *tls;         /* owned; NULL: plain; while shaking the thread's alone */
    struct handshake *shake; /* owned; NULL: plain, or over */
    struct peer *peer;       /* of server->peers; NULL: on this host */
    struct net_identity identity;
    struct h1 *h1; /* owned */
    struct h2 *h2; /* owned */

    struct fm_buf backlog; /* read but not yet parsed: pipelined requests, half a preface */
    struct fm_buf out;     /* to be sent, before TLS */
    struct fm_buf writing; /* in flight */
    uv_write_t write;
    uv_shutdown_t shutdown;
    bool is_loopback, reading, write_in_flight, running;
    bool peer_ended;        /* end of file was read */
    bool close_after_flush; /* the last answer is in out */
    bool input_unread;      /* more may come that nobody reads: linger */
    bool ending;            /* no further requests, please */
    bool counts_as_handshake;
    bool shaking;  /* a step is under way */
    bool retiring; /* of age: the peer was told */

    struct net_request *request; /* HTTP/1: owned; the one exchange */
    struct fm_link requests;     /* HTTP/2: all attached */
    unsigned complete_count;     /* HTTP/2: requests waiting for delivery */
    unsigned unanswered_count;   /* given to the handler, not answered */
    unsigned judging_count;      /* requests that wait for a verdict */
    size_t body_hint;            /* HTTP/2: size of the last body without a length */

    uint64_t active_ns; /* the last byte, or the last answer */
    uint64_t head_ns;   /* a head is not complete since then; 0: none */
    uint64_t accepted_ns, linger_ns;
    uint64_t retire_ns; /* when it is too old; 0: never */
    uint64_t write_started_ns, heads_refused;
    uint64_t stalled_ns; /* since when write_queue_bytes has not changed */
    size_t write_queue_bytes, backlog_charged;
};

void conn_accept(struct net_server *server);
/* Everything that may have become possible: parse, deliver, write, read on. */
void conn_run(struct conn *conn);
/* Later in this turn of the loop; many answers leave in one write. */
void conn_wake(struct conn *conn);
void conn_close(struct conn *conn);    /* now, whatever its state */
void conn_shutdown(struct conn *conn); /* when its requests are answered */
void conn_check_time(struct conn *conn, uint64_t now_ns);
void conn_maybe_free(struct conn *conn); /* closed and nothing unanswered */
bool conn_is_open(const struct conn *conn);
void conn_shake(struct conn *conn); /* a step of its handshake, on a thread */
void conn_leave_handshake(struct conn *conn);
void conn_begin_protocol(struct conn *conn, bool is_h2); /* after the handshake */
void conn_count_refusal(struct conn *conn, enum net_refusal_reason reason);
void conn_peer_text(const struct conn *conn, char text[64]); /* for logs */

/* Parse plain bytes; what is not used stays with the caller. */
void conn_h1_input(struct conn *conn, struct fm_slice input, size_t *ret_used);
void conn_h1_respond(struct net_request *request, const struct net_response *response);
void conn_h1_timeout(struct conn *conn);       /* 408 and close */
bool conn_h1_is_busy(const struct conn *conn); /* a request is complete and not answered */
bool conn_h1_is_idle(const struct conn *conn); /* no request has begun */
int conn_h2_start(struct conn *conn);
void conn_h2_input(struct conn *conn, struct fm_slice input);
void conn_h2_deliver(struct conn *conn);
void conn_h2_respond(struct net_request *request, const struct net_response *response);
void conn_h2_respond_begin(struct net_request *request, const struct net_response *response);
void conn_h2_respond_end(struct net_request *request, const struct http_header *trailers,
                         size_t count);
void conn_h2_check_time(struct conn *conn, uint64_t now_ns);
/* The verdict is there; on to its body. */
void conn_h1_go_on(struct net_request *request);
void conn_h2_go_on(struct net_request *request);

/* ---- server ---- */

struct net_server {
    struct platform *platform;         /* borrowed */
    uv_loop_t *loop;                   /* borrowed */
    struct net_server_options options; /* its texts are copies, owned */
    struct net_server_metrics metrics;
    struct net_endpoint endpoint;
    struct tls_config *tls; /* shared; NULL: plain */
    struct auth_set *auth;  /* shared */
    struct auth_desk desk;
    struct peers peers; /* other hosts */
    union net_socket socket;
    uv_idle_t idle; /* runs while something is ready */
    unsigned handle_count;
    struct fm_link conns;
    struct fm_link ready;      /* connections to run in this turn */
    struct fm_link handshakes; /* connections with handshake work */
    struct fm_link spare_requests;
    unsigned conn_count, handshake_count, spare_request_count;
    struct pf_timer sweep; /* looks at every connection's deadlines */
    uint64_t sweep_ns;
    bool sweeping, closing;
    bool shaking;       /* one handshake at a time, so that the configuration has one user */
    bool accept_missed; /* no memory for a connection: try again at the next sweep */
    struct pf_timer grace;
    void (*closed)(void *self);
    void *closed_self;
    uint8_t *scratch;       /* owned; socket reads */
    uint8_t *plain_scratch; /* owned; TLS output */
    char date[40];          /* of the second date_s */
    uint64_t date_s;
};

void net_server_wake(struct net_server *server);  /* something is on ready */
void net_server_shake(struct net_server *server); /* something is on handshakes */
void net_server_maybe_closed(struct net_server *server);
void net_server_on_conn_freed(struct net_server *server);
void net_server_start_sweep(struct net_server *server);
void net_server_close_handles(struct net_server *server);
struct fm_slice net_server_date(struct net_server *server);
/* An initialised request for conn; NULL: no memory. */
struct net_request *net_server_spare_request(struct net_server *server, struct conn *conn);
void net_server_keep_request(struct net_server *server, struct net_request *request);

#endif
