/* SPDX-License-Identifier: Apache-2.0 */
/* timers - binary heap, earliest first. */
#include "timers.h"

#include <stdlib.h>

enum { TIMERS_CAPACITY_FIRST = 256 };

int pf_timers_init(struct pf_timers *timers)
{
    *timers = (struct pf_timers){.heap = calloc(TIMERS_CAPACITY_FIRST, sizeof *timers->heap),
                                 .capacity = TIMERS_CAPACITY_FIRST};
    return timers->heap ? FM_OK : FM_ENOMEM;
}

void pf_timers_fini(struct pf_timers *timers)
{
    free(timers->heap);
    *timers = (struct pf_timers){0};
}

static bool pf_due_is_before(const struct pf_due *a, const struct pf_due *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

static void pf_timers_put(struct pf_timers *timers, size_t at, struct pf_due due)
{
    timers->heap[at] = due;
    due.timer->body = (void *)(uintptr_t)(at + 1);
}

static void pf_timers_sift(struct pf_timers *timers, size_t at, struct pf_due due)
{
    struct pf_due *heap = timers->heap;

    for (size_t parent; at; at = parent) {
        parent = (at - 1) / 2;
        if (!pf_due_is_before(&due, &heap[parent]))
            break;
        pf_timers_put(timers, at, heap[parent]);
    }
    for (size_t child; (child = 2 * at + 1) < timers->count; at = child) {
        if (child + 1 < timers->count && pf_due_is_before(&heap[child + 1], &heap[child]))
            child++;
        if (!pf_due_is_before(&heap[child], &due))
            break;
        pf_timers_put(timers, at, heap[child]);
    }
    pf_timers_put(timers, at, due);
}

void pf_timers_start(struct pf_timers *timers, struct pf_timer *timer, uint64_t due_ns,
                     uint64_t order)
{
    size_t at = (size_t)(uintptr_t)timer->body;

    if (!at) {
        if (timers->count == timers->capacity) {
            size_t capacity = 2 * timers->capacity;
            struct pf_due *heap = realloc(timers->heap, capacity * sizeof *heap);
            FM_ASSERT(heap);
            timers->heap = heap;
            timers->capacity = capacity;
        }
        at = ++timers->count;
    }
    FM_ASSERT(at <= timers->count);
    pf_timers_sift(timers, at - 1, (struct pf_due){due_ns, order, timer});
}

void pf_timers_stop(struct pf_timers *timers, struct pf_timer *timer)
{
    size_t at = (size_t)(uintptr_t)timer->body;

    if (!at)
        return;
    FM_ASSERT(at <= timers->count && timers->heap[at - 1].timer == timer);
    timer->body = NULL;
    struct pf_due last = timers->heap[--timers->count];
    if (last.timer != timer)
        pf_timers_sift(timers, at - 1, last);
}

void pf_timers_clear(struct pf_timers *timers)
{
    timers->count = 0;
}
