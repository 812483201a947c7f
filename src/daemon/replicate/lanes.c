/* SPDX-License-Identifier: Apache-2.0 */
/* lanes - which block goes next.
 *
 *   express   always first, with a slot of its own, so that no long upload is in its way
 *   recall    oldest first        \
 *   fresh     newest first         > by deficit round robin over their bytes
 *   backlog   oldest first        /
 *
 * Backlog is what was sealed a while ago, or waited while the endpoint was in trouble.  It has its
 * share of the bytes; recall and fresh divide the rest.  Whoever waits alone gets everything.  In
 * the list of normal blocks, which is by age, backlog is in front and fresh is behind it.
 */
#include "internal.h"

#include "fermata/units.h"

#define LANES_WIRE_EXTRA FM_KIB(16) /* handshake, heads and answers of one block */

static struct pending *pending_of(const struct fm_link *link)
{
    return FM_CONTAINER((struct fm_link *)(uintptr_t)link, struct pending, link);
}

static bool pending_is_before(const struct store_block *a, const struct store_block *b)
{
    if (a->sealed_unix_ns != b->sealed_unix_ns)
        return a->sealed_unix_ns < b->sealed_unix_ns;
    return a->first_lsn < b->first_lsn;
}

void lanes_init(struct lanes *lanes)
{
    *lanes = (struct lanes){0};
    for (size_t i = 0; i < LANES_LIST_COUNT; i++)
        fm_list_init(&lanes->lists[i]);
}

static enum lanes_list lanes_list_of(const struct store_block *block)
{
    switch (block->lane) {
    case STORE_LANE_EXPRESS:
        return LANES_EXPRESS;
    case STORE_LANE_RECALL:
        return LANES_RECALL;
    case STORE_LANE_NORMAL:
    case STORE_LANE_COUNT:
        break;
    }
    return LANES_NORMAL;
}

void lanes_queue(struct lanes *lanes, struct pending *pending)
{
    /* Nearly always the newest: walk from the end. */
    struct fm_link *list = &lanes->lists[lanes_list_of(pending->block)];
    struct fm_link *after = list->prev;
    while (after != list && pending_is_before(pending->block, pending_of(after)->block))
        after = after->prev;
    fm_list_append(after->next, &pending->link); /* before the next one */
}

void lanes_each(const struct lanes *lanes, void (*visit)(void *self, struct pending *pending),
                void *self)
{
    for (size_t i = 0; i < LANES_LIST_COUNT; i++) {
        const struct fm_link *list = &lanes->lists[i];
        for (struct fm_link *link = list->next, *next; link != list; link = next) {
            next = link->next;
            visit(self, pending_of(link));
        }
    }
}

bool lanes_are_empty(const struct lanes *lanes)
{
    for (size_t i = 0; i < LANES_LIST_COUNT; i++)
        if (lanes->lists[i].next != &lanes->lists[i])
            return false;
    return true;
}

enum upload_lane lanes_of(const struct replicator *replicator, const struct store_block *block,
                          uint64_t wall_ns)
{
    uint64_t sealed_ns = block->sealed_unix_ns;
    switch (lanes_list_of(block)) {
    case LANES_EXPRESS:
        return UPLOAD_EXPRESS;
    case LANES_RECALL:
        return UPLOAD_RECALL;
    case LANES_NORMAL:
    case LANES_LIST_COUNT:
        break;
    }
    bool is_old = wall_ns > sealed_ns && wall_ns - sealed_ns >= replicator->options.backlog_age_ns;
    return is_old || block->is_stale ? UPLOAD_BACKLOG : UPLOAD_FRESH;
}

uint64_t lanes_wire_bytes(const struct store_block *block)
{
    return block->meta.size_bytes + block->meta.size_bytes / 64 + LANES_WIRE_EXTRA;
}

/* ---- picking ---- */

/* The one that the lane would send next, or NULL. */
static struct pending *lanes_first(const struct replicator *replicator, enum upload_lane lane,
                                   uint64_t now_ns, uint64_t wall_ns)
{
    static const enum lanes_list lists[UPLOAD_LANE_COUNT] = {
        [UPLOAD_EXPRESS] = LANES_EXPRESS,
        [UPLOAD_RECALL] = LANES_RECALL,
        [UPLOAD_FRESH] = LANES_NORMAL,
        [UPLOAD_BACKLOG] = LANES_NORMAL,
    };
    const struct fm_link *list = &replicator->lanes.lists[lists[lane]];
    bool is_fresh = lane == UPLOAD_FRESH;
    for (const struct fm_link *link = is_fresh ? list->prev : list->next; link != list;
         link = is_fresh ? link->prev : link->next) {
        struct pending *pending = pending_of(link);
        if (lanes_of(replicator, pending->block, wall_ns) != lane)
            break; /* from here on it is the other one's */
        if (pending->ready_ns <= now_ns)
            return pending;
    }
    return NULL;
}

/* The same if the uplink lets it go. */
static struct pending *lanes_candidate(struct replicator *replicator, enum upload_lane lane,
                                       uint64_t now_ns, uint64_t wall_ns)
{
    struct pending *pending = lanes_first(replicator, lane, now_ns, wall_ns);
    if (!pending || uplink_admits(replicator->uplink, lane, lanes_wire_bytes(pending->block)))
        return pending;
    replicator->lanes.is_held = true;
    return NULL;
}

static void lanes_weigh(const struct replicator *replicator, struct pace_party *parties)
{
    uint32_t percent = FM_MAX(FM_MIN(replicator->options.backlog_percent, 99), 1);
    uint32_t others =
        (parties[UPLOAD_RECALL].bytes != 0) + (uint32_t)(parties[UPLOAD_FRESH].bytes != 0);
    parties[UPLOAD_BACKLOG].weight = percent * FM_MAX(others, 1);
    parties[UPLOAD_RECALL].weight = parties[UPLOAD_FRESH].weight = 100 - percent;
}

static struct pending *lanes_pick_shared(struct replicator *replicator, uint64_t now_ns,
                                         uint64_t wall_ns, enum upload_lane *ret_lane)
{
    struct pending *candidates[UPLOAD_LANE_COUNT] = {NULL};
    struct pace_party parties[UPLOAD_LANE_COUNT] = {{0, 0}};
    for (unsigned lane = UPLOAD_RECALL; lane < UPLOAD_LANE_COUNT; lane++) {
        candidates[lane] = lanes_candidate(replicator, (enum upload_lane)lane, now_ns, wall_ns);
        if (candidates[lane])
            parties[lane].bytes = FM_MAX(candidates[lane]->block->meta.size_bytes, 1);
    }
    lanes_weigh(replicator, parties);
    int lane = pace_shares_pick(&replicator->lanes.shares, parties, UPLOAD_LANE_COUNT);
    if (lane < 0)
        return NULL;
    *ret_lane = (enum upload_lane)lane;
    return candidates[lane];
}

struct pending *lanes_pick(struct replicator *replicator, uint64_t now_ns,
                           enum upload_lane *ret_lane)
{
    uint64_t wall_ns = pf_wall_ns(replicator->platform);
    uint32_t express = replicator->lanes.active[UPLOAD_EXPRESS];
    uint32_t others = replicator->active - express;
    /* In trouble one upload at a time tries; else there is one slot more than the limit, so that
     * neither the express lane nor the others can take them all. */
    bool is_troubled = replicator->failures_in_row != 0;
    uint32_t limit = is_troubled ? 1 : replicator->limit;
    if (replicator->active >= limit + !is_troubled)
        return NULL;
    struct pending *pending =
        express < limit ? lanes_candidate(replicator, UPLOAD_EXPRESS, now_ns, wall_ns) : NULL;
    *ret_lane = UPLOAD_EXPRESS;
    if (!pending && others < limit)
        pending = lanes_pick_shared(replicator, now_ns, wall_ns, ret_lane);
    if (pending)
        fm_list_remove(&pending->link);
    return pending;
}
