/* SPDX-License-Identifier: Apache-2.0 */
/* Nested set numbers of a trace, as blocks have them: depth first from each root, one counter that
 * starts at 1, children in the order of the spans; what hangs on no root has 0. */
#include "rows.h"

#define ROWS_KIND_SERVER 2
#define ROWS_KIND_CLIENT 3

struct rows_node {                 /* indexes + 1; 0: none */
    uint32_t same_next, same_last; /* spans with this id; the last one is kept at the first */
    uint32_t child_first, child_last, sibling_next, parent;
};

void rows_nested_fini(struct rows_nested *nested, struct rows_pool *pool)
{
    rows_release(pool, fm_take(nested->nodes), nested->node_cap * sizeof *nested->nodes);
    rows_release(pool, fm_take(nested->slots), nested->slot_cap * sizeof *nested->slots);
    *nested = (struct rows_nested){0};
}

static int rows_nested_reserve(struct rows_nested *nested, struct rows_pool *pool, uint32_t count)
{
    uint32_t slot_count = 16;
    while (slot_count < (uint64_t)count * 2 && slot_count < UINT32_C(1) << 31)
        slot_count *= 2;
    if (count > nested->node_cap || slot_count > nested->slot_cap) {
        rows_nested_fini(nested, pool);
        nested->nodes = rows_realloc(pool, NULL, 0, count * sizeof *nested->nodes);
        if (!nested->nodes)
            return pool->rc;
        nested->node_cap = count;
        nested->slots = rows_realloc(pool, NULL, 0, slot_count * sizeof *nested->slots);
        if (!nested->slots)
            return pool->rc;
        nested->slot_cap = slot_count;
    }
    /* Small traces use a small corner of the table, so that emptying it is cheap. */
    nested->slot_count = slot_count;
    memset(nested->slots, 0, slot_count * sizeof *nested->slots);
    memset(nested->nodes, 0, count * sizeof *nested->nodes);
    return FM_OK;
}

static uint32_t rows_nested_slot(const struct rows_nested *nested, uint64_t id)
{
    uint64_t mixed = (id ^ id >> 29) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(mixed >> 32) & (nested->slot_count - 1);
}

int rows_nested_unique(struct rows_nested *nested, struct rows_pool *pool,
                       const struct rows_span *spans, uint32_t *order, uint32_t *count)
{
    uint32_t kept = 0;
    int rc = *count > 1 ? rows_nested_reserve(nested, pool, *count) : FM_NONE;
    if (rc != FM_OK)
        return rc == FM_NONE ? FM_OK : rc;
    for (uint32_t i = 0; i < *count; i++) {
        const struct rows_span *span = &spans[order[i]];
        uint32_t slot = rows_nested_slot(nested, span->id), known;
        bool repeats = false;
        while ((known = nested->slots[slot]) && !repeats) {
            const struct rows_span *other = &spans[order[known - 1]];
            repeats = other->id == span->id && other->kind == span->kind;
            slot = (slot + 1) & (nested->slot_count - 1);
        }
        if (repeats)
            continue;
        order[kept] = order[i];
        nested->slots[slot] = ++kept;
    }
    *count = kept;
    return FM_OK;
}

/* Index + 1 of the first span with this id. */
static uint32_t rows_nested_find(const struct rows_nested *nested, const struct rows_span *spans,
                                 uint64_t id)
{
    uint32_t slot = rows_nested_slot(nested, id);
    while (nested->slots[slot] && spans[nested->slots[slot] - 1].id != id)
        slot = (slot + 1) & (nested->slot_count - 1);
    return nested->slots[slot];
}

/* False: there is no root, or an id three times, so that nothing can be numbered. */
static bool rows_nested_enter(struct rows_nested *nested, const struct rows_span *spans,
                              uint32_t count)
{
    bool has_root = false;
    for (uint32_t i = 0; i < count; i++) {
        has_root |= !spans[i].parent;
        uint32_t first = rows_nested_find(nested, spans, spans[i].id);
        if (!first) {
            uint32_t slot = rows_nested_slot(nested, spans[i].id);
            while (nested->slots[slot])
                slot = (slot + 1) & (nested->slot_count - 1);
            nested->slots[slot] = i + 1;
        } else if (nested->nodes[first - 1].same_next) {
            return false;
        } else {
            nested->nodes[first - 1].same_next = i + 1;
        }
    }
    return has_root;
}

/* Two spans may share an id (a client's and its server's span, Zipkin style): the child of such a
 * pair belongs to the server span, a server span itself to the client span. */
static uint32_t rows_nested_parent(const struct rows_nested *nested, const struct rows_span *spans,
                                   const struct rows_span *child)
{
    uint32_t first = rows_nested_find(nested, spans, child->parent);
    if (!first || !nested->nodes[first - 1].same_next)
        return first;
    uint32_t second = nested->nodes[first - 1].same_next;
    int32_t wanted = child->kind == ROWS_KIND_SERVER ? ROWS_KIND_CLIENT : ROWS_KIND_SERVER;
    if (spans[first - 1].kind == wanted)
        return first;
    return spans[second - 1].kind == wanted ? second : 0;
}

static void rows_nested_link(struct rows_nested *nested, struct rows_span *spans, uint32_t count)
{
    struct rows_node *nodes = nested->nodes;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t parent = spans[i].parent ? rows_nested_parent(nested, spans, &spans[i]) : 0;
        nodes[i].parent = parent;
        if (!parent)
            continue;
        struct rows_node *owner = &nodes[parent - 1];
        if (owner->child_last)
            nodes[owner->child_last - 1].sibling_next = i + 1;
        else
            owner->child_first = i + 1;
        owner->child_last = i + 1;
    }
}

/* Depth first without a stack: the way up is parent. */
static int32_t rows_nested_tree(const struct rows_nested *nested, struct rows_span *spans,
                                uint32_t root, int32_t counter)
{
    const struct rows_node *nodes = nested->nodes;
    uint32_t at = root;
    spans[at].left = counter++;
    spans[at].parent_left = -1;
    for (;;) {
        uint32_t next = nodes[at].child_first, parent = at + 1;
        while (!next) {
            at = parent - 1;
            spans[at].right = counter++;
            if (at == root)
                return counter;
            next = nodes[at].sibling_next;
            parent = nodes[at].parent;
        }
        spans[next - 1].left = counter++;
        spans[next - 1].parent_left = spans[parent - 1].left;
        spans[parent - 1].child_count++; /* of the numbered only: a block says no more */
        at = next - 1;
    }
}

int rows_nested_number(struct rows_nested *nested, struct rows_pool *pool, struct rows_span *spans,
                       uint32_t count)
{
    int rc = rows_nested_reserve(nested, pool, count);
    if (rc < 0 || !rows_nested_enter(nested, spans, count))
        return rc;
    rows_nested_link(nested, spans, count);
    int32_t counter = 1;
    for (uint32_t i = 0; i < count; i++)
        if (!spans[i].parent)
            counter = rows_nested_tree(nested, spans, i, counter);
    return FM_OK;
}
