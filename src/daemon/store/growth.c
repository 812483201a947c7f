/* SPDX-License-Identifier: Apache-2.0 */
/* growth - how fast blocks come into being, told from those that are there. */
#include "internal.h"

#include "fermata/units.h"

#define GROWTH_BLOCKS_MAX  256u
#define GROWTH_SPAN_MIN_NS (60 * FM_NS_PER_S)
#define GROWTH_SPAN_MAX_NS (86400 * FM_NS_PER_S)

uint64_t store_growth(const struct store *store)
{
    uint64_t wall_ns = pf_wall_ns(store->platform), oldest_ns = wall_ns;
    uint64_t bytes = 0, oldest_bytes = 0;
    uint32_t count = 0;
    for (const struct fm_link *link = store->blocks.prev;
         link != &store->blocks && count < GROWTH_BLOCKS_MAX; link = link->prev) {
        const struct block_entry *entry =
            FM_CONTAINER((struct fm_link *)(uintptr_t)link, struct block_entry, link);
        uint64_t sealed_ns = entry->block.sealed_unix_ns;
        if (sealed_ns > wall_ns || wall_ns - sealed_ns > GROWTH_SPAN_MAX_NS)
            continue;
        count++;
        bytes += entry->disk_bytes;
        if (sealed_ns < oldest_ns) {
            oldest_ns = sealed_ns;
            oldest_bytes = entry->disk_bytes; /* came before the time that is looked at */
        }
    }
    if (count < 2 || wall_ns - oldest_ns < GROWTH_SPAN_MIN_NS)
        return UINT64_MAX;
    unsigned __int128 scaled = (unsigned __int128)(bytes - oldest_bytes) * FM_NS_PER_S;
    return (uint64_t)(scaled / (wall_ns - oldest_ns));
}
