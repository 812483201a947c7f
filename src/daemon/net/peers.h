/* SPDX-License-Identifier: Apache-2.0 */
/* peers - other hosts with connections here: how many each has, and how often it failed. */
#ifndef NET_PEERS_H
#define NET_PEERS_H

#include <sys/socket.h>

#include "fermata/bytes.h"

#define PEERS_BUCKETS 256u

struct peer {
    struct fm_link link;  /* bucket */
    struct fm_link quiet; /* peers->quiet: no connection, but failures to remember */
    uint8_t address[16];
    unsigned conn_count, handshake_count;
    unsigned failure_count; /* of passwords; one is forgiven every few seconds */
    uint64_t failure_ns;
};
struct peers {
    struct fm_link buckets[PEERS_BUCKETS];
    struct fm_link quiet; /* oldest first */
    unsigned quiet_count;
    uint64_t seed;
};
void peers_init(struct peers *peers, uint64_t seed);
void peers_fini(struct peers *peers);
/* One more connection of that host (IPv6: of that /64).  NULL: no memory. */
struct peer *peers_join(struct peers *peers, const struct sockaddr_storage *address);
void peers_leave(struct peers *peers, struct peer *peer, uint64_t now_ns);

void peer_note_failure(struct peer *peer, uint64_t now_ns);
bool peer_fails_often(struct peer *peer, uint64_t now_ns);

#endif
