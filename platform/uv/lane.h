/* SPDX-License-Identifier: Apache-2.0 */
/* lane - a queue of jobs with threads of its own, so that no kind of work can starve another.
 *
 * libuv's pool is not used: one slow fsync or resolver call there would hold up everything else.
 * A job is in exactly one place: a lane's queue, a thread, the outlet, or back with its owner.
 */
#ifndef PLATFORM_UV_LANE_H
#define PLATFORM_UV_LANE_H

#include <pthread.h>

#include "fermata/platform.h"

/* Where finished jobs wait for the loop, in the order in which they finished. */
struct uv_outlet {
    pthread_mutex_t lock; /* guards finished; taken alone, never together with a lane's */
    struct fm_link finished;
    void (*wake)(struct uv_outlet *outlet); /* called on the lane's thread, without the lock */
};
FM_MUST int uv_outlet_init(struct uv_outlet *outlet, void (*wake)(struct uv_outlet *outlet));
void uv_outlet_fini(struct uv_outlet *outlet);
/* Moves all finished jobs to the empty list. */
void uv_outlet_take(struct uv_outlet *outlet, struct fm_link *list);

#define LANE_IDLE_NICENESS 19 /* its disk accesses come last, too */

struct uv_lane {
    pthread_mutex_t lock; /* guards all to stopping */
    pthread_cond_t filled;
    struct fm_link queue;
    unsigned running_count, width; /* jobs at work, and how many may be */
    bool stopping;
    bool ready; /* lock and filled exist */
    struct uv_outlet *outlet;
    pthread_t *threads; /* owned */
    unsigned thread_count;
    int niceness; /* added to the process's */
};
/* name: of the threads, at most 11 characters.  After a failure uv_lane_fini is still due. */
FM_MUST int uv_lane_init(struct uv_lane *lane, struct uv_outlet *outlet, const char *name,
                         unsigned thread_count, int niceness);
void uv_lane_submit(struct uv_lane *lane, struct pf_job *job);
void uv_lane_set_width(struct uv_lane *lane, unsigned width);
void uv_lane_fini(struct uv_lane *lane); /* joins; the queue is empty by now */

#endif
