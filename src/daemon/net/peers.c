/* SPDX-License-Identifier: Apache-2.0 */
/* Other hosts, in a hash table.  Those without a connection stay only while they have failures to
 * be remembered, and not more than a few hundred of them. */
#include "peers.h"

#include <netinet/in.h>
#include <stdlib.h>

#include "fermata/hash.h"

#define PEERS_QUIET_MAX     512u
#define PEER_FAILURES_MAX   10u
#define PEER_FORGIVENESS_NS UINT64_C(6000000000) /* ten a minute */

void peers_init(struct peers *peers, uint64_t seed)
{
    *peers = (struct peers){.seed = seed};
    fm_list_init(&peers->quiet);
    for (size_t i = 0; i < PEERS_BUCKETS; i++)
        fm_list_init(&peers->buckets[i]);
}

static void peer_free(struct peers *peers, struct peer *peer)
{
    if (!fm_list_empty(&peer->quiet))
        peers->quiet_count--;
    fm_list_remove(&peer->quiet);
    fm_list_remove(&peer->link);
    free(peer);
}

void peers_fini(struct peers *peers)
{
    for (size_t i = 0; i < PEERS_BUCKETS; i++) {
        while (!fm_list_empty(&peers->buckets[i]))
            peer_free(peers, FM_CONTAINER(peers->buckets[i].next, struct peer, link));
    }
}

/* An IPv4 address in its mapped form; of an IPv6 address the half that the network gives out. */
static void peer_address(const struct sockaddr_storage *address, uint8_t ret_address[16])
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

    memset(ret_address, 0, 16);
    if (address->ss_family == AF_INET) {
        memcpy(ret_address, mapped, sizeof mapped);
        memcpy(ret_address + 12, &((const struct sockaddr_in *)address)->sin_addr, 4);
        return;
    }
    const struct in6_addr *v6 = &((const struct sockaddr_in6 *)address)->sin6_addr;
    memcpy(ret_address, v6, memcmp(v6, mapped, sizeof mapped) == 0 ? 16 : 8);
}

struct peer *peers_join(struct peers *peers, const struct sockaddr_storage *address)
{
    uint8_t key[16];

    peer_address(address, key);
    uint64_t hash = fm_hash64(fm_slice(key, sizeof key), peers->seed);
    struct fm_link *bucket = &peers->buckets[hash % PEERS_BUCKETS];
    for (struct fm_link *link = bucket->next; link != bucket; link = link->next) {
        struct peer *peer = FM_CONTAINER(link, struct peer, link);
        if (memcmp(peer->address, key, sizeof key) != 0)
            continue;
        if (!fm_list_empty(&peer->quiet))
            peers->quiet_count--;
        fm_list_remove(&peer->quiet);
        peer->conn_count++;
        return peer;
    }
    struct peer *peer = calloc(1, sizeof *peer);
    if (!peer)
        return NULL;
    memcpy(peer->address, key, sizeof key);
    peer->conn_count = 1;
    fm_list_init(&peer->quiet);
    fm_list_append(bucket, &peer->link);
    return peer;
}

static void peer_forgive(struct peer *peer, uint64_t now_ns)
{
    uint64_t count = (now_ns - peer->failure_ns) / PEER_FORGIVENESS_NS;

    peer->failure_count -= (unsigned)FM_MIN(count, (uint64_t)peer->failure_count);
    peer->failure_ns += count * PEER_FORGIVENESS_NS;
}

void peers_leave(struct peers *peers, struct peer *peer, uint64_t now_ns)
{
    FM_ASSERT(peer->conn_count);
    if (--peer->conn_count)
        return;
    peer_forgive(peer, now_ns);
    if (!peer->failure_count) {
        peer_free(peers, peer);
        return;
    }
    fm_list_append(&peers->quiet, &peer->quiet);
    if (++peers->quiet_count > PEERS_QUIET_MAX)
        peer_free(peers, FM_CONTAINER(peers->quiet.next, struct peer, quiet));
}

void peer_note_failure(struct peer *peer, uint64_t now_ns)
{
    peer_forgive(peer, now_ns);
    if (!peer->failure_count)
        peer->failure_ns = now_ns;
    peer->failure_count++;
}

bool peer_fails_often(struct peer *peer, uint64_t now_ns)
{
    peer_forgive(peer, now_ns);
    return peer->failure_count >= PEER_FAILURES_MAX;
}
