/* SPDX-License-Identifier: Apache-2.0 */
/* What client.c (the call) and link.c (the socket) know of each other. */
#ifndef NET_CLIENT_H
#define NET_CLIENT_H

#include <net/if.h>

#include "internal.h"
#include "tunnel.h"

enum client_state { /* up to HANDSHAKE the connect timeout counts, then the stall timeout */
                    CLIENT_IDLE,
                    CLIENT_RESOLVING,
                    CLIENT_CONNECTING,
                    CLIENT_TUNNEL,
                    CLIENT_HANDSHAKE,
                    CLIENT_WAITING,
                    CLIENT_SENDING,
                    CLIENT_RECEIVING,
                    CLIENT_STOPPING,
};

/* A socket; closed it lives until libuv has let go of it, without its client. */
struct link {
    union net_socket socket;
    struct net_client *client; /* borrowed; NULL when closed */
    uv_connect_t connect;
    struct tls *tls;      /* owned; NULL: plain */
    struct h1 *h1;        /* owned */
    unsigned write_count; /* in flight */
    size_t queued_bytes;  /* as last looked at */
    uint8_t scratch[FM_KIB(16)];
    uint8_t plain_scratch[FM_KIB(16)];
};

struct client_lookup { /* owned by libuv while it runs; an abandoned one frees itself */
    uv_getaddrinfo_t request;
    struct net_client *client; /* borrowed; NULL: abandoned */
};

struct net_client {
    struct platform *platform;   /* borrowed */
    uv_loop_t *loop;             /* borrowed */
    char *host, *server_name;    /* owned */
    char interface[IF_NAMESIZE]; /* "": any */
    uint16_t port;
    struct tls_config *tls; /* shared; NULL: plain */
    struct tunnel tunnel;
    uint64_t connect_timeout_ns, stall_timeout_ns;
    struct http_limits limits;

    struct fm_sm state;
    struct net_call *call; /* borrowed; NULL: IDLE */
    struct link *link;     /* owned; the open connection */
    int rc;                /* outcome, in STOPPING */
    bool freed;            /* by its owner */
    bool on_stack;         /* net_call_start is running */
    bool reused;           /* the connection served a call before */
    bool repeated;         /* this is the second attempt */
    bool start_over;       /* in STOPPING: another attempt follows */
    bool got_bytes, got_head;
    bool keep; /* the connection may serve another call */

    struct client_lookup *lookup; /* the running one */
    struct addrinfo *addresses;   /* owned */
    struct addrinfo *next_address;

    struct fm_buf head;     /* request */
    struct fm_buf response; /* body */
    struct h1 *answered;    /* owned; of a closed link, while the call shows its headers */
    struct pf_job job;
    bool reading; /* job is in use, and piece with it */
    int job_rc;
    uint8_t *piece;   /* owned */
    size_t piece_len; /* being read or sent */
    size_t granted;   /* by the call's pacer, of the next piece */
    uint64_t body_read;
    uint64_t sending_ns;

    struct pf_timer watch; /* connect and stall timeouts */
    struct pf_timer pace;  /* rate; the wait for "continue" */
    struct pf_timer defer; /* outcomes known inside a call of the owner */
    bool pacing;
    uint64_t moved_ns; /* last progress */
};

void client_stop(struct net_client *client, int rc);
void client_begin(struct net_client *client);
void client_on_connected(struct net_client *client, int failure);
void client_on_tunnel_bytes(struct net_client *client, struct fm_slice input);
void client_on_written(struct net_client *client);
void client_on_input(struct net_client *client, struct fm_slice input);
void client_on_link_end(struct net_client *client, int rc, const char *detail);

/* Sets *ret_link and begins to connect. */
FM_MUST int link_open(struct link **ret_link, struct net_client *client,
                      const struct sockaddr *address);
void link_close(struct link *link);                              /* and takes it from its client */
FM_MUST int link_send(struct link *link, struct fm_slice plain); /* plain stays until written */
/* Below TLS. */
FM_MUST int link_send_plain(struct link *link, struct fm_slice bytes);
bool link_is_writing(const struct link *link);
bool link_has_moved(struct link *link); /* bytes went out since the last question */
void link_on_handshake_bytes(struct link *link);

#endif
