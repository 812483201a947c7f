/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers come from one walk without a stack: children are linked in the order of the file. */
#include "nested.h"

#include <stdlib.h>

void nested_init(struct nested *nested)
{
    *nested = (struct nested){0};
}

void nested_fini(struct nested *nested)
{
    free(fm_take(nested->spans));
    free(fm_take(nested->slots));
    *nested = (struct nested){0};
}

int nested_reserve(struct nested *nested, uint32_t span_count)
{
    uint32_t slot_count = 16;
    while (slot_count < (uint64_t)span_count * 2 && slot_count < UINT32_C(1) << 31)
        slot_count *= 2;
    if (span_count > nested->span_cap) {
        uint32_t cap = FM_MAX(span_count, nested->span_cap * 2);
        void *spans = realloc(nested->spans, (size_t)cap * sizeof *nested->spans);
        if (!spans)
            return FM_ENOMEM;
        nested->spans = spans;
        nested->span_cap = cap;
        free(fm_take(nested->slots));
        uint32_t table = slot_count;
        while (table < (uint64_t)cap * 2 && table < UINT32_C(1) << 31)
            table *= 2;
        nested->slots = malloc((size_t)table * sizeof *nested->slots);
        if (!nested->slots) {
            nested->span_cap = 0;
            return FM_ENOMEM;
        }
    }
    /* Small traces use a small corner of the table, so that emptying it is cheap. */
    nested->slot_count = slot_count;
    memset(nested->slots, 0, (size_t)slot_count * sizeof *nested->slots);
    nested->span_count = span_count;
    return FM_OK;
}

static uint32_t nested_slot(const struct nested *nested, uint64_t id)
{
    uint64_t mixed = (id ^ id >> 29) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(mixed >> 32) & (nested->slot_count - 1);
}

/* Index + 1 of the first span with this id, 0 if there is none. */
static uint32_t nested_find(const struct nested *nested, uint64_t id)
{
    uint32_t slot = nested_slot(nested, id);
    while (nested->slots[slot] && nested->spans[nested->slots[slot] - 1].id != id)
        slot = (slot + 1) & (nested->slot_count - 1);
    return nested->slots[slot];
}

uint32_t nested_enter(struct nested *nested, uint32_t index)
{
    struct nested_span *spans = nested->spans;
    uint32_t slot = nested_slot(nested, spans[index].id);
    spans[index].same_next = 0;
    spans[index].same_last = index;
    while (nested->slots[slot]) {
        uint32_t first = nested->slots[slot] - 1;
        if (spans[first].id == spans[index].id) {
            spans[spans[first].same_last].same_next = index + 1;
            spans[first].same_last = index;
            return first;
        }
        slot = (slot + 1) & (nested->slot_count - 1);
    }
    nested->slots[slot] = index + 1;
    return index;
}

static bool nested_is_countable(const struct nested *nested)
{
    bool has_root = false;
    for (uint32_t i = 0; i < nested->span_count; i++) {
        const struct nested_span *span = &nested->spans[i];
        has_root |= span->is_root;
        if (span->same_next && nested->spans[span->same_next - 1].same_next)
            return false;
    }
    return has_root;
}

/* Two spans may share an id (a client's and its server's span, Zipkin style): the child of such a
 * pair belongs to the server span, a server span itself to the client span. */
static uint32_t nested_parent_of(const struct nested *nested, const struct nested_span *child)
{
    uint32_t first = nested_find(nested, child->parent);
    if (!first || !nested->spans[first - 1].same_next)
        return first;
    uint32_t second = nested->spans[first - 1].same_next;
    uint8_t wanted = child->kind == NESTED_KIND_SERVER ? NESTED_KIND_CLIENT : NESTED_KIND_SERVER;
    if (nested->spans[first - 1].kind == wanted)
        return first;
    return nested->spans[second - 1].kind == wanted ? second : 0;
}

static void nested_link_children(struct nested *nested)
{
    struct nested_span *spans = nested->spans;
    for (uint32_t i = 0; i < nested->span_count; i++) {
        if (spans[i].is_root)
            continue;
        uint32_t parent = nested_parent_of(nested, &spans[i]);
        spans[i].parent_index = parent;
        if (!parent)
            continue;
        struct nested_span *owner = &spans[parent - 1];
        if (owner->child_last)
            spans[owner->child_last - 1].sibling_next = i + 1;
        else
            owner->child_first = i + 1;
        owner->child_last = i + 1;
    }
}

/* Depth first without a stack: the way up is parent_index. */
static int32_t nested_number_tree(struct nested *nested, uint32_t root, int32_t counter)
{
    struct nested_span *spans = nested->spans;
    uint32_t at = root;
    spans[at].left = counter++;
    spans[at].parent_left = -1;
    for (;;) {
        if (spans[at].child_first) {
            uint32_t child = spans[at].child_first - 1;
            spans[child].left = counter++;
            spans[child].parent_left = spans[at].left;
            at = child;
            continue;
        }
        for (;;) {
            spans[at].right = counter++;
            if (at == root)
                return counter;
            uint32_t parent = spans[at].parent_index - 1;
            if (spans[at].sibling_next) {
                at = spans[at].sibling_next - 1;
                spans[at].left = counter++;
                spans[at].parent_left = spans[parent].left;
                break;
            }
            at = parent;
        }
    }
}

bool nested_number(struct nested *nested)
{
    for (uint32_t i = 0; i < nested->span_count; i++) {
        struct nested_span *span = &nested->spans[i];
        span->left = span->right = span->parent_left = 0;
        span->child_first = span->child_last = span->sibling_next = span->parent_index = 0;
    }
    if (!nested_is_countable(nested))
        return false;
    nested_link_children(nested);
    int32_t counter = 1;
    for (uint32_t i = 0; i < nested->span_count; i++)
        if (nested->spans[i].is_root)
            counter = nested_number_tree(nested, i, counter);
    return true;
}
