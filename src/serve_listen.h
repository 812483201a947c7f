/* SPDX-License-Identifier: Apache-2.0 */
/* serve_listen - the daemon's open ports: opened and closed together, reloaded, shown. */
#ifndef FERMATA_SERVE_LISTEN_H
#define FERMATA_SERVE_LISTEN_H

#include "fermata/api.h"
#include "fermata/api_ui.h"
#include "fermata/config.h"
#include "fermata/ingest.h"

#define LISTENERS_ENDPOINT_MAX 160

enum listeners_socket { LISTENERS_COMPACT, LISTENERS_BINARY, LISTENERS_SOCKET_COUNT };

/* What the ports are for.  Everything borrowed. */
struct listeners_owner {
    const struct config *config;
    struct platform *platform;
    struct ingest *ingest;
    struct api *api;
    struct net_budget *budget;
    struct tenants *tenants;
};
struct listeners {
    struct listeners_owner owner;
    struct net_server *servers[CONFIG_LISTENER_COUNT];
    struct net_udp *sockets[LISTENERS_SOCKET_COUNT];
    /* With the port that the kernel chose if it was to choose one. */
    char server_endpoints[CONFIG_LISTENER_COUNT][LISTENERS_ENDPOINT_MAX];
    char socket_endpoints[LISTENERS_SOCKET_COUNT][LISTENERS_ENDPOINT_MAX];
    unsigned open_count; /* not yet closed */
    void (*closed)(void *self);
    void *closed_self;
};
/* Opens all that are enabled.  After a failure what is open stays so until listeners_close.
 * FM_EUNAVAILABLE: an address is in use; why says how to change or to disable it. */
FM_MUST int listeners_open(struct listeners *listeners, const struct listeners_owner *owner,
                           struct fm_why *why);
/* closed is called last, never from within the call unless nothing was open. */
void listeners_close(struct listeners *listeners, uint64_t grace_ns, void (*closed)(void *self),
                     void *self);
/* Certificates, users and tokens. */
void listeners_reload(struct listeners *listeners);
void listeners_put_metrics(const struct listeners *listeners, struct fm_buf *out);
/* api_options.listener_at. */
bool listeners_at(const struct listeners *listeners, size_t index, struct api_listener *ret_row);

#endif
