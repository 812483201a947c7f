/* SPDX-License-Identifier: Apache-2.0 */
/* net_budget - the memory that peers make us hold, as one account.  Part of net.
 *
 * Bytes are taken before they are allocated; no room is an answer (503), never a wait.  Two rules:
 *
 *   room   what is held never exceeds bytes_max; a child takes from its parent too.
 *   share  what one party holds, when it takes, is at most four times what it then leaves free.
 *
 * A party is a tenant.  While there is but one, it may have all.  From the second one's first
 * request on the share counts: one alone gets four fifths; two that want all get about four ninths
 * each, n of them 4/(4n+1), as requests come and go; and there is always something left for one
 * more, who gets four fifths of it at once.  The rule has no steps, so nothing can flap.
 *
 * Taking and giving are atomic, from any thread.  The first rule holds exactly; the second one up
 * to what other threads take and give at the same instant.
 */
#ifndef FERMATA_NET_BUDGET_H
#define FERMATA_NET_BUDGET_H

#include "fermata/base.h"
#include "fermata/telemetry.h"

#define NET_BUDGET_PARTIES     256u /* names share one by their hash, which makes them one party */
#define NET_BUDGET_SHARE_RATIO 4u

struct net_budget { /* zeros but for bytes_max and what else is known */
    uint64_t bytes_max;
    struct net_budget *parent; /* borrowed; NULL: none */
    metric bytes_used;
    metric bytes_peak;
    metric refusals_total;
    metric share_refusals_total; /* of these: the party had its share */
    metric party_bytes[NET_BUDGET_PARTIES];
    metric sole_party; /* the only one that ever took; NET_BUDGET_NOBODY: none has */
    metric is_shared;  /* there was another one */
};

/* Of nobody in particular: only the first rule holds for it. */
bool net_budget_take(struct net_budget *budget, uint64_t bytes);
void net_budget_give(struct net_budget *budget, uint64_t bytes);

enum { NET_BUDGET_NOBODY, NET_BUDGET_STRANGERS }; /* strangers: who has no valid tenant, together */
/* hash: of the tenant's name, with a seed, so that nobody can choose whom to share with. */
uint32_t net_budget_party(uint64_t hash);
bool net_budget_take_for(struct net_budget *budget, uint32_t party, uint64_t bytes);
void net_budget_give_for(struct net_budget *budget, uint32_t party, uint64_t bytes);
/* What a party can hold at most, when nobody else holds anything: coming again for more never
 * helps. */
uint64_t net_budget_share_max(const struct net_budget *budget);

#endif
