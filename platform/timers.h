/* SPDX-License-Identifier: Apache-2.0 */
/* timers - a heap of running timers, the same for both bodies: order is theirs, memory is one
 * array.
 *
 * A timer's body pointer is its place in the heap plus one; NULL: not running.  So starting and
 * stopping allocate nothing (but for the array's growth) and a forgotten timer cannot leak.
 */
#ifndef PLATFORM_TIMERS_H
#define PLATFORM_TIMERS_H

#include "fermata/platform.h"

struct pf_due {
    uint64_t due_ns;
    uint64_t order; /* between equals */
    struct pf_timer *timer;
};
struct pf_timers {
    struct pf_due *heap; /* owned */
    size_t count, capacity;
};

FM_MUST int pf_timers_init(struct pf_timers *timers);
void pf_timers_fini(struct pf_timers *timers);
/* Starts, or moves a running one.  Panics without memory: a lost deadline is worse. */
void pf_timers_start(struct pf_timers *timers, struct pf_timer *timer, uint64_t due_ns,
                     uint64_t order);
void pf_timers_stop(struct pf_timers *timers, struct pf_timer *timer);
void pf_timers_clear(struct pf_timers *timers); /* forgets all without touching them */
static inline const struct pf_due *pf_timers_first(const struct pf_timers *timers)
{
    return timers->count ? timers->heap : NULL;
}

#endif
