/* SPDX-License-Identifier: Apache-2.0 */
/* sim - the simulated world: one seed, one run, bit for bit the same every time.
 *
 * Time moves only when nothing else can happen.  Jobs run whole, at a seeded later moment, in
 * seeded order between lanes.  The disk keeps, beside what a reader sees, what would survive a
 * power cut: synced bytes, and of the unsynced writes and directory operations any seeded subset,
 * writes torn at 512-byte sectors.
 */
#ifndef FERMATA_SIM_H
#define FERMATA_SIM_H

#include "fermata/platform.h"

struct sim;
FM_MUST int sim_new(struct sim **ret_sim, uint64_t seed);
struct sim *sim_free(struct sim *sim);
struct platform *sim_platform(struct sim *sim);
uint64_t sim_random(struct sim *sim); /* the test's own decisions, part of the seed */

/* Runs what is due up to now + duration, then it is that time; FM_NONE: nothing is left at all. */
int sim_run(struct sim *sim, uint64_t duration_ns);
/* Runs one event; false: none pending. */
bool sim_step(struct sim *sim);

/* Power cut: forgets timers, jobs, open files and locks; the disk becomes one of the states it
 * could have been in.  kill -9 (keep_cache) loses nothing that was written.  Between events only.
 * Timers must still be valid memory; open files may be closed afterwards, or are freed with sim.
 * A new name needs sync_dir of its directory to be durable, whatever else was synced. */
void sim_crash(struct sim *sim, bool keep_cache);
/* Cuts the power right before the nth disk operation from now (0: off): it and all later ones
 * return FM_EIO, sim_step returns false, sim_crashed() true, until sim_crash. */
void sim_crash_at(struct sim *sim, uint64_t nth_operation);
bool sim_crashed(const struct sim *sim);
/* Disk operations so far: those that change something or make it durable, not those that look. */
uint64_t sim_operation_count(const struct sim *sim);

enum sim_fault {
    SIM_WRITE_EIO,
    SIM_WRITE_ENOSPC, /* the first half of the bytes is written */
    SIM_SYNC_EIO,     /* content stays readable, never becomes durable by a later sync; of a
                       * directory: its changes stay pending */
    SIM_READ_EIO,
    SIM_OPEN_EIO,
    SIM_RENAME_EIO,
    SIM_ALLOCATE_ENOSPC,
    SIM_FAULT_COUNT
};
/* Each matching operation fails with probability per_million / 1e6. */
void sim_fault_rate(struct sim *sim, enum sim_fault fault, uint32_t per_million);
/* The nth matching operation from now fails (1: the next), once; or from then on (persistent). */
void sim_fault_at(struct sim *sim, enum sim_fault fault, uint64_t nth, bool persistent);
void sim_disk_capacity(struct sim *sim, uint64_t bytes);                 /* 0: unlimited */
void sim_disk_flip_bit(struct sim *sim, const char *path, uint64_t bit); /* durable rot */
void sim_wall_set(struct sim *sim, uint64_t unix_ns);
void sim_suspend(struct sim *sim, uint64_t duration_ns); /* the wall clock goes on */
uint64_t sim_trace_hash(const struct sim *sim); /* of all events: equal seeds, equal hashes */

#endif
