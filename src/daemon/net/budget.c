/* SPDX-License-Identifier: Apache-2.0 */
/* The account of what peers make us hold.
 *
 * A taker first adds to its party, then tries to add to the total while both rules hold.  So each
 * of two threads of one party sees the other's bytes, at worst also those of one that will fail:
 * they are refused too early rather than both let through.
 */
#include "fermata/net_budget.h"

uint32_t net_budget_party(uint64_t hash)
{
    const uint32_t first = NET_BUDGET_STRANGERS + 1;
    return first + (uint32_t)(hash % (NET_BUDGET_PARTIES - first));
}

uint64_t net_budget_share_max(const struct net_budget *budget)
{
    const uint64_t parts = NET_BUDGET_SHARE_RATIO + 1;
    uint64_t share = budget->bytes_max;
    if (metric_get(&budget->is_shared)) /* no product: a limit may be near UINT64_MAX */
        share -= share / parts + (share % parts != 0);
    return budget->parent ? FM_MIN(share, net_budget_share_max(budget->parent)) : share;
}

/* Notes who comes.  Strangers are no reason to keep room: anybody can be one. */
static bool budget_is_shared(struct net_budget *budget, uint32_t party)
{
    uint64_t sole = NET_BUDGET_NOBODY;

    if (party == NET_BUDGET_STRANGERS || metric_get(&budget->is_shared))
        return true;
    if (atomic_compare_exchange_strong_explicit(&budget->sole_party, &sole, party,
                                                memory_order_relaxed, memory_order_relaxed) ||
        sole == party)
        return false;
    metric_set(&budget->is_shared, 1);
    return true;
}

static bool budget_has_share(uint64_t held, uint64_t free)
{
    return free >= held / NET_BUDGET_SHARE_RATIO + (held % NET_BUDGET_SHARE_RATIO != 0);
}

static void budget_note_peak(struct net_budget *budget, uint64_t used)
{
    uint64_t peak = metric_get(&budget->bytes_peak);
    while (used > peak &&
           !atomic_compare_exchange_weak_explicit(&budget->bytes_peak, &peak, used,
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

/* Acquire and release on bytes_used: who sees a total also sees the parties that make it up. */
static bool budget_take_room(struct net_budget *budget, uint32_t party, uint64_t bytes)
{
    bool is_shared = party != NET_BUDGET_NOBODY && budget_is_shared(budget, party);
    uint64_t used = atomic_load_explicit(&budget->bytes_used, memory_order_acquire);
    do {
        if (bytes > budget->bytes_max || used > budget->bytes_max - bytes)
            return false;
        if (is_shared && !budget_has_share(metric_get(&budget->party_bytes[party]),
                                           budget->bytes_max - used - bytes)) {
            metric_add(&budget->share_refusals_total, 1);
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&budget->bytes_used, &used, used + bytes,
                                                    memory_order_acq_rel, memory_order_acquire));
    budget_note_peak(budget, used + bytes);
    return true;
}

static void budget_give_own(struct net_budget *budget, uint32_t party, uint64_t bytes)
{
    uint64_t used = atomic_fetch_sub_explicit(&budget->bytes_used, bytes, memory_order_acq_rel);
    FM_ASSERT(used >= bytes);
    if (party == NET_BUDGET_NOBODY)
        return;
    used = atomic_fetch_sub_explicit(&budget->party_bytes[party], bytes, memory_order_relaxed);
    FM_ASSERT(used >= bytes);
}

static bool budget_take_own(struct net_budget *budget, uint32_t party, uint64_t bytes)
{
    if (bytes > budget->bytes_max)
        return false;
    if (party != NET_BUDGET_NOBODY)
        metric_add(&budget->party_bytes[party], bytes);
    if (budget_take_room(budget, party, bytes))
        return true;
    if (party != NET_BUDGET_NOBODY)
        atomic_fetch_sub_explicit(&budget->party_bytes[party], bytes, memory_order_relaxed);
    return false;
}

bool net_budget_take_for(struct net_budget *budget, uint32_t party, uint64_t bytes)
{
    FM_ASSERT(party < NET_BUDGET_PARTIES);
    if (budget_take_own(budget, party, bytes)) {
        if (!budget->parent || net_budget_take_for(budget->parent, party, bytes))
            return true;
        budget_give_own(budget, party, bytes);
    }
    metric_add(&budget->refusals_total, 1);
    return false;
}

void net_budget_give_for(struct net_budget *budget, uint32_t party, uint64_t bytes)
{
    FM_ASSERT(party < NET_BUDGET_PARTIES);
    if (budget->parent)
        net_budget_give_for(budget->parent, party, bytes);
    budget_give_own(budget, party, bytes);
}

bool net_budget_take(struct net_budget *budget, uint64_t bytes)
{
    return net_budget_take_for(budget, NET_BUDGET_NOBODY, bytes);
}

void net_budget_give(struct net_budget *budget, uint64_t bytes)
{
    net_budget_give_for(budget, NET_BUDGET_NOBODY, bytes);
}
