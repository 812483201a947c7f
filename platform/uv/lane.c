/* SPDX-License-Identifier: Apache-2.0 */
/* lane - threads that take jobs from a queue. */
#include "lane.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fermata/linux.h"

int uv_outlet_init(struct uv_outlet *outlet, void (*wake)(struct uv_outlet *outlet))
{
    fm_list_init(&outlet->finished);
    outlet->wake = wake;
    return pthread_mutex_init(&outlet->lock, NULL) ? FM_ENOMEM : FM_OK;
}

void uv_outlet_fini(struct uv_outlet *outlet)
{
    FM_ASSERT(fm_list_empty(&outlet->finished));
    pthread_mutex_destroy(&outlet->lock);
}

void uv_outlet_take(struct uv_outlet *outlet, struct fm_link *list)
{
    pthread_mutex_lock(&outlet->lock);
    if (!fm_list_empty(&outlet->finished)) {
        *list = outlet->finished;
        list->next->prev = list->prev->next = list;
        fm_list_init(&outlet->finished);
    }
    pthread_mutex_unlock(&outlet->lock);
}

static void uv_outlet_put(struct uv_outlet *outlet, struct pf_job *job)
{
    pthread_mutex_lock(&outlet->lock);
    bool was_empty = fm_list_empty(&outlet->finished);
    fm_list_append(&outlet->finished, &job->link);
    pthread_mutex_unlock(&outlet->lock);
    if (was_empty) /* else the loop was woken already and has not come yet */
        outlet->wake(outlet);
}

/* Waits for the next job, last is through or NULL; NULL: the lane stops and nothing is left. */
static struct pf_job *uv_lane_next(struct uv_lane *lane, const struct pf_job *last)
{
    struct pf_job *job = NULL;

    pthread_mutex_lock(&lane->lock);
    lane->running_count -= last != NULL;
    while ((fm_list_empty(&lane->queue) || lane->running_count >= lane->width) && !lane->stopping)
        pthread_cond_wait(&lane->filled, &lane->lock);
    if (!fm_list_empty(&lane->queue)) {
        job = FM_CONTAINER(lane->queue.next, struct pf_job, link);
        fm_list_remove(&job->link);
        lane->running_count++;
    }
    pthread_mutex_unlock(&lane->lock);
    return job;
}

static void *uv_lane_thread(void *self)
{
    struct uv_lane *lane = self;
    struct pf_job *job = NULL;

    if (lane->niceness)
        (void)!nice(lane->niceness); /* of this thread alone, on Linux; it works without, too */
    if (lane->niceness == LANE_IDLE_NICENESS)
        linux_yield_disk();
    while ((job = uv_lane_next(lane, job))) { /* which by then is somebody else's */
        job->work(job);
        uv_outlet_put(lane->outlet, job);
    }
    return NULL;
}

static int uv_lane_start_thread(struct uv_lane *lane, const char *name)
{
    unsigned index = lane->thread_count;
    char text[16]; /* the kernel's limit */

    if (pthread_create(&lane->threads[index], NULL, uv_lane_thread, lane))
        return FM_EUNAVAILABLE;
    lane->thread_count++;
    if (index)
        snprintf(text, sizeof text, "%.11s-%u", name, index % 1000);
    else
        snprintf(text, sizeof text, "%.15s", name);
    (void)pthread_setname_np(lane->threads[index], text); /* for people only */
    return FM_OK;
}

int uv_lane_init(struct uv_lane *lane, struct uv_outlet *outlet, const char *name,
                 unsigned thread_count, int niceness)
{
    sigset_t all, before;
    int rc = FM_OK;

    *lane = (struct uv_lane){.outlet = outlet, .niceness = niceness, .width = UINT_MAX};
    fm_list_init(&lane->queue);
    if (pthread_mutex_init(&lane->lock, NULL))
        return FM_ENOMEM;
    if (pthread_cond_init(&lane->filled, NULL)) {
        pthread_mutex_destroy(&lane->lock);
        return FM_ENOMEM;
    }
    lane->ready = true;
    lane->threads = calloc(thread_count, sizeof *lane->threads);
    if (!lane->threads)
        return FM_ENOMEM;
    sigfillset(&all); /* inherited: signals belong to the loop's thread */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (rc == FM_OK && lane->thread_count < thread_count)
        rc = uv_lane_start_thread(lane, name);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

void uv_lane_submit(struct uv_lane *lane, struct pf_job *job)
{
    pthread_mutex_lock(&lane->lock);
    fm_list_append(&lane->queue, &job->link);
    pthread_mutex_unlock(&lane->lock);
    pthread_cond_signal(&lane->filled);
}

void uv_lane_set_width(struct uv_lane *lane, unsigned width)
{
    pthread_mutex_lock(&lane->lock);
    bool is_wider = width > lane->width;
    lane->width = width;
    pthread_mutex_unlock(&lane->lock);
    if (is_wider)
        pthread_cond_broadcast(&lane->filled);
}

void uv_lane_fini(struct uv_lane *lane)
{
    if (!lane->ready)
        return;
    pthread_mutex_lock(&lane->lock);
    lane->stopping = true;
    pthread_mutex_unlock(&lane->lock);
    pthread_cond_broadcast(&lane->filled);
    for (unsigned i = 0; i < lane->thread_count; i++)
        pthread_join(lane->threads[i], NULL);
    free(lane->threads);
    pthread_cond_destroy(&lane->filled);
    pthread_mutex_destroy(&lane->lock);
    *lane = (struct uv_lane){0};
}
