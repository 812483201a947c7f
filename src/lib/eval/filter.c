/* SPDX-License-Identifier: Apache-2.0 */
/* Filters: a tree of tests narrows a mask, cheapest first, and stops when nothing is left, so that
 * later columns are never read. */
#include "internal.h"

#include <stdlib.h>

/* ---- events and links ---- */

static int filter_some(struct eval_run *run, const struct eval_node *node, uint8_t *mask,
                       struct fm_why *why)
{
    const struct frame *frame = &run->frame;
    const uint8_t *wanted;
    uint32_t spans = frame->count[FRAME_SPAN];
    int rc = run_wanted(run, mask, &wanted);
    if (rc)
        return rc == FM_NONE ? FM_OK : rc;
    uint32_t count = frame->count[node->ref.domain];
    const uint32_t *starts =
        node->ref.domain == FRAME_EVENT ? frame->span_events : frame->span_links;
    if (!count || !starts) {
        memset(mask, 0, spans);
        return FM_OK;
    }
    uint8_t *bytes = run_alloc(run, count, 1);
    if (!bytes)
        return run->rc;
    memset(bytes, 1, count);
    for (uint32_t i = 0; i < node->child_count && !rc; i++)
        rc = test_run_some(run, node->children[i], wanted, bytes, why);
    for (uint32_t i = 0; i < spans && !rc; i++) {
        uint8_t any = 0;
        for (uint32_t k = starts[i]; mask[i] && k < starts[i + 1]; k++)
            any |= bytes[k];
        mask[i] &= any;
    }
    return rc;
}

/* ---- walks ---- */

static int filter_walk_place(struct eval_run *run, const struct eval_node *node,
                             struct eval_place place, bool *ret_holds, struct fm_why *why)
{
    struct traceql_value value;
    int rc = walk_value(run, node->walk, place, &value, why);
    if (!rc)
        *ret_holds = value.type == TRACEQL_BOOL && value.flag != node->flag;
    return rc;
}

/* True if it is for one of the span's events, or links if it speaks of these only. */
static int filter_walk_span(struct eval_run *run, const struct eval_node *node, uint32_t span,
                            bool *ret_holds, struct fm_why *why)
{
    const struct frame *frame = &run->frame;
    const uint32_t *starts = node->has_events ? frame->span_events : frame->span_links;
    struct eval_place place = {span, EVAL_NONE, EVAL_NONE};
    if (!node->has_events && !node->has_links)
        return filter_walk_place(run, node, place, ret_holds, why);
    bool holds = false;
    int rc = FM_OK;
    for (uint32_t k = starts ? starts[span] : 0; starts && k < starts[span + 1]; k++) {
        if (node->has_events)
            place.event = k;
        else
            place.link = k;
        rc = filter_walk_place(run, node, place, &holds, why);
        if (rc || holds)
            break;
    }
    *ret_holds = holds;
    return rc;
}

static int filter_walk(struct eval_run *run, const struct eval_node *node, uint8_t *mask,
                       struct fm_why *why)
{
    const uint8_t *wanted;
    int rc = run_wanted(run, mask, &wanted);
    if (rc)
        return rc == FM_NONE ? FM_OK : rc;
    rc = walk_load(run, node->walk, wanted, why);
    for (uint32_t i = 0; i < run->frame.count[FRAME_SPAN] && !rc; i++) {
        bool holds = false;
        if (!mask[i])
            continue;
        rc = filter_walk_span(run, node, i, &holds, why);
        mask[i] = holds;
    }
    return rc;
}

/* ---- connectives ---- */

static int filter_or(struct eval_run *run, const struct eval_node *node, uint8_t *mask,
                     struct fm_why *why)
{
    uint32_t count = run->frame.count[FRAME_SPAN];
    uint8_t *all = run_mask_take(run), *one = run_mask_take(run);
    if (!all || !one)
        return run->rc;
    memset(all, 0, count);
    int rc = FM_OK;
    for (uint32_t i = 0; i < node->child_count && !rc; i++) {
        for (uint32_t k = 0; k < count; k++) /* what is true already is not asked again */
            one[k] = mask[k] & (uint8_t)(all[k] ^ 1);
        rc = filter_run(run, node->children[i], one, why);
        for (uint32_t k = 0; k < count; k++)
            all[k] |= one[k];
    }
    memcpy(mask, all, count);
    run_mask_give(run, all);
    run_mask_give(run, one);
    return rc;
}

int filter_run(struct eval_run *run, const struct eval_node *node, uint8_t *mask,
               struct fm_why *why)
{
    int rc = FM_OK;
    switch (node->kind) {
    case EVAL_CONSTANT:
        if (!node->flag)
            memset(mask, 0, run->frame.count[FRAME_SPAN]);
        return FM_OK;
    case EVAL_AND:
        for (uint32_t i = 0; i < node->child_count && !rc && run_any(run, mask); i++)
            rc = filter_run(run, node->children[i], mask, why);
        return rc;
    case EVAL_OR:
        return filter_or(run, node, mask, why);
    case EVAL_TEST:
        return test_run(run, node, mask, why);
    case EVAL_SOME:
        return filter_some(run, node, mask, why);
    case EVAL_WALK:
        return filter_walk(run, node, mask, why);
    }
    return rc;
}
