/* SPDX-License-Identifier: Apache-2.0 */
/* lock - for what the loop and jobs share.  Part of platform.
 *
 * Held for moments, never while waiting for a disk or a peer.  Who finds it taken sleeps, since its
 * holder may have less of the processor. */
#ifndef FERMATA_LOCK_H
#define FERMATA_LOCK_H

#include <pthread.h>

struct pf_lock {
    pthread_mutex_t mutex;
};
#define PF_LOCK_INIT ((struct pf_lock){PTHREAD_MUTEX_INITIALIZER})
static inline void pf_lock(struct pf_lock *lock)
{
    (void)pthread_mutex_lock(&lock->mutex);
}
static inline void pf_unlock(struct pf_lock *lock)
{
    (void)pthread_mutex_unlock(&lock->mutex);
}

#endif
