/* SPDX-License-Identifier: Apache-2.0 */
/* A bucket in memory with the manners of a bad day: it stalls, throttles, fails before and after
 * the commit, commits what it was thought to have lost, and answers conditional writes with 412 and
 * 409. It loses nothing that it committed.  It outlives the simulated process. */
#ifndef TESTS_SUPPORT_SIM_BUCKET_H
#define TESTS_SUPPORT_SIM_BUCKET_H

#include "fermata/replicate.h"

struct sim_bucket_faults { /* per million requests each */
    uint32_t fail_before;  /* transient, slow down, auth, no bucket, refused: nothing happened */
    uint32_t fail_after;   /* committed, and the answer lost or a 500 */
    uint32_t commit_late;  /* the answer lost, the commit up to a minute later */
    uint32_t conflict;     /* 409 of a conditional write */
    uint32_t stall;        /* the answer takes minutes */
};
struct sim_bucket_object {
    char key[512];
    struct fm_buf content;
    uint64_t commits; /* how often this key was written */
    uint64_t changes; /* how often a write changed its content */
};
#define SIM_BUCKET_OBJECTS_MAX 4096

struct sim_bucket;
/* random: the test's seeded chance.  A new process after a crash calls sim_bucket_attach again. */
struct sim_bucket *sim_bucket_new(uint64_t (*random)(void *self), void *random_self);
struct sim_bucket *sim_bucket_free(struct sim_bucket *bucket);
struct bucket *sim_bucket_attach(struct sim_bucket *bucket, struct platform *platform);
/* The process died: requests that were under way happen or do not, by chance. */
void sim_bucket_crash(struct sim_bucket *bucket);
void sim_bucket_set_faults(struct sim_bucket *bucket, const struct sim_bucket_faults *faults);
/* outcome of everything from now on (an outage), S3_DONE: works. */
void sim_bucket_set_outage(struct sim_bucket *bucket, enum s3_outcome outcome);
/* Bodies take their time from now on: so many bytes a second each, in pieces that the request's
 * pacer grants; on_wire hears of each. */
void sim_bucket_set_wire(struct sim_bucket *bucket, uint64_t bytes_per_s,
                         void (*on_wire)(void *self, const char *key, uint64_t bytes), void *self);
/* Called right after a key was written, the object as it is now. */
void sim_bucket_on_commit(struct sim_bucket *bucket,
                          void (*on_commit)(void *self, const struct sim_bucket_object *object),
                          void *self);
const struct sim_bucket_object *sim_bucket_find(const struct sim_bucket *bucket, const char *key);
void sim_bucket_place(struct sim_bucket *bucket, const char *key, struct fm_slice content);
size_t sim_bucket_count(const struct sim_bucket *bucket);
const struct sim_bucket_object *sim_bucket_at(const struct sim_bucket *bucket, size_t index);
uint64_t sim_bucket_requests(const struct sim_bucket *bucket);

#endif
