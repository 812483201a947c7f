/* SPDX-License-Identifier: Apache-2.0 */
/* Deficit round robin (Shreedhar and Varghese, 1995): in its turn a party gains a quantum by its
 * weight and sends as long as what it has gained covers what it sends.  Rounds in which nobody
 * could send are taken in one step, so that the quantum may be small and a block large. */
#include "fermata/pace.h"

#define PACE_QUANTUM UINT64_C(1024) /* for each unit of weight */

static uint64_t pace_quantum(const struct pace_party *party)
{
    return PACE_QUANTUM * FM_MAX(party->weight, 1u);
}

/* Rounds until somebody can send. */
static uint64_t pace_rounds(const struct pace_shares *shares, const struct pace_party *parties,
                            uint32_t count)
{
    uint64_t rounds = UINT64_MAX;
    for (uint32_t i = 0; i < count; i++) {
        if (!parties[i].bytes)
            continue;
        uint64_t missing = parties[i].bytes - FM_MIN(shares->deficits[i], parties[i].bytes);
        uint64_t quantum = pace_quantum(&parties[i]);
        rounds = FM_MIN(rounds, missing / quantum + (missing % quantum != 0));
    }
    return rounds;
}

int pace_shares_pick(struct pace_shares *shares, const struct pace_party *parties, uint32_t count)
{
    FM_ASSERT(count && count <= PACE_PARTIES_MAX);
    for (uint32_t i = 0; i < count; i++)
        if (!parties[i].bytes)
            shares->deficits[i] = 0; /* who has nothing to send saves nothing up */
    uint64_t rounds = pace_rounds(shares, parties, count);
    if (rounds == UINT64_MAX)
        return -1;
    for (uint32_t i = 0; rounds && i < count; i++)
        if (parties[i].bytes)
            shares->deficits[i] += rounds * pace_quantum(&parties[i]);
    for (uint32_t step = 0; step < count; step++) {
        uint32_t i = (shares->turn + step) % count;
        if (!parties[i].bytes || shares->deficits[i] < parties[i].bytes)
            continue;
        shares->deficits[i] -= parties[i].bytes;
        shares->turn = i; /* its turn lasts while it can pay */
        return (int)i;
    }
    fm_panic("somebody can send", __FILE__, __LINE__);
}
