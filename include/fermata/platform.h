/* SPDX-License-Identifier: Apache-2.0 */
/* platform - everything that is not a function of its arguments: disk, clock, chance, timers, jobs.
 *
 * One header, two bodies that pass one contract test (tests/unit/platform): platform/linux + uv for
 * production, platform/sim for tests (virtual time, seeded order, a disk that loses and tears what
 * was not synced).  The daemon's store, replicate and query touch the world only through here.
 *
 * Disk calls block; they are made at start-up and from jobs, never on the loop while it serves.
 * They are thread-safe per file.  Timers and job submission belong to the loop's thread.
 */
#ifndef FERMATA_PLATFORM_H
#define FERMATA_PLATFORM_H

#include "fermata/base.h"
#include "fermata/bytes.h"

struct platform; /* a body; begins with its ops */
struct pf_file;

enum pf_open_flags {
    PF_READ = 0,
    PF_WRITE = 1,     /* read and write */
    PF_CREATE = 2,    /* create if absent */
    PF_EXCLUSIVE = 4, /* with CREATE: FM_EEXISTS if present */
    PF_TRUNCATE = 8,
};

struct pf_space {
    uint64_t total_bytes, free_bytes; /* free: to us, without root's reserve */
    uint64_t free_inodes;
};

enum pf_lane {               /* jobs of one lane begin in order; lanes do not wait for each other */
               PF_LANE_WAL,  /* one thread: the log's writer */
               PF_LANE_WORK, /* block building and verification: worker_count threads */
               PF_LANE_DISK, /* one thread: directory bucket, scrubbing, unlinking */
               PF_LANE_DECODE, /* one thread: requests too dear for the loop */
               PF_LANE_QUERY,  /* query_count threads: reads for clients */
               PF_LANE_EXPORT, /* one thread: what is sent on to other collectors */
               PF_LANE_IDLE,   /* one thread, lowest priority: merging and checking blocks */
               PF_LANE_COUNT
};
struct pf_job { /* owned by the caller, embedded; in use until done was called */
    void (*work)(struct pf_job *job); /* on a thread of the lane */
    void (*done)(struct pf_job *job); /* on the loop's thread, in the order of finishing */
    enum pf_lane lane;
    struct fm_link link; /* the body's */
};
struct pf_timer { /* owned by the caller, zero-initialised; stop before it is freed */
    void (*fire)(struct pf_timer *timer);
    void *body; /* the body's; NULL: not running */
};

typedef int pf_list_visit(void *self, const char *name, bool is_directory);

struct platform_ops {
    uint64_t (*now_ns)(struct platform *);  /* monotonic */
    uint64_t (*boot_ns)(struct platform *); /* monotonic, and goes on while suspended: for ages */
    uint64_t (*wall_ns)(struct platform *); /* since the Unix epoch */
    void (*random)(struct platform *, void *target, size_t len);
    void (*pause)(struct platform *, uint64_t delay_ns); /* on a lane's thread, never the loop's */

    int (*open)(struct platform *, const char *path, unsigned flags, struct pf_file **ret_file,
                struct fm_why *why);
    int (*close)(struct pf_file *);
    int (*write)(struct pf_file *, uint64_t offset, const struct fm_slice *slices, size_t count,
                 struct fm_why *why); /* all or failure; after failure any part may be written */
    int (*read)(struct pf_file *, uint64_t offset, void *target, size_t len, size_t *ret_len,
                struct fm_why *why);                   /* fewer only at the end of the file */
    int (*sync)(struct pf_file *, struct fm_why *why); /* fdatasync; after failure: never again */
    int (*size)(struct pf_file *, uint64_t *ret_size);
    /* Space and size, zeros; never shrinks. */
    int (*allocate)(struct pf_file *, uint64_t size, struct fm_why *why);
    int (*advise_gone)(struct pf_file *); /* drop from the page cache; best effort */

    int (*make_dir)(struct platform *, const char *path, struct fm_why *why); /* FM_EEXISTS */
    int (*rename)(struct platform *, const char *from, const char *to, struct fm_why *why);
    /* A second name of a file.  FM_EEXISTS; FM_EUNSUPPORTED: not here, or not across to there. */
    int (*link)(struct platform *, const char *from, const char *to, struct fm_why *why);
    int (*unlink)(struct platform *, const char *path, struct fm_why *why);
    int (*remove_dir)(struct platform *, const char *path, struct fm_why *why); /* empty */
    int (*sync_dir)(struct platform *, const char *path, struct fm_why *why);
    int (*list)(struct platform *, const char *path, pf_list_visit *visit, void *self,
                struct fm_why *why); /* by name; a visitor's non-zero ends and is returned */
    int (*space)(struct platform *, const char *path, struct pf_space *ret_space);
    /* Makes and locks a file until the process ends.  FM_EEXISTS: held, also by ourselves. */
    int (*lock)(struct platform *, const char *path, struct fm_why *why);

    void (*timer_start)(struct platform *, struct pf_timer *, uint64_t delay_ns); /* one shot */
    void (*timer_stop)(struct platform *, struct pf_timer *); /* also when not running */
    void (*job_submit)(struct platform *, struct pf_job *);
    void (*lane_width)(struct platform *, enum pf_lane lane, unsigned width);
};
struct platform {
    const struct platform_ops *ops;
};

static inline uint64_t pf_now_ns(struct platform *platform)
{
    return platform->ops->now_ns(platform);
}
static inline uint64_t pf_boot_ns(struct platform *platform)
{
    return platform->ops->boot_ns(platform);
}
static inline uint64_t pf_wall_ns(struct platform *platform)
{
    return platform->ops->wall_ns(platform);
}
static inline uint64_t pf_random_u64(struct platform *platform)
{
    uint64_t value;
    platform->ops->random(platform, &value, sizeof value);
    return value;
}
static inline void pf_timer_start(struct platform *platform, struct pf_timer *timer,
                                  uint64_t delay_ns)
{
    platform->ops->timer_start(platform, timer, delay_ns);
}
static inline void pf_timer_stop(struct platform *platform, struct pf_timer *timer)
{
    platform->ops->timer_stop(platform, timer);
}
static inline void pf_job_submit(struct platform *platform, struct pf_job *job)
{
    platform->ops->job_submit(platform, job);
}
/* From now on at most width (1 or more) jobs of the lane begin beside each other. */
static inline void pf_lane_width(struct platform *platform, enum pf_lane lane, unsigned width)
{
    platform->ops->lane_width(platform, lane, width);
}

/* ---- composed from the ops, the same for every body (platform/files.c) ---- */

FM_MUST int pf_open(struct platform *platform, const char *path, unsigned flags,
                    struct pf_file **ret_file, struct fm_why *why);
/* Closes and forgets; an error of close is of no use to anyone. NULL is fine; returns NULL. */
struct pf_file *pf_close(struct platform *platform, struct pf_file *file);
/* A file as source; the file must outlive it.  read_at: FM_EIO, or FM_ECORRUPT beyond the end. */
struct pf_source {
    struct platform *platform;
    struct pf_file *file;
};
FM_MUST int pf_source_open(struct pf_source *self, struct platform *platform, const char *path,
                           struct fm_source *ret_source, struct fm_why *why);
void pf_source_close(struct pf_source *self);
/* The whole file, at most bytes_max (else FM_ELIMIT), appended to buf. */
FM_MUST int pf_read_file(struct platform *platform, const char *path, struct fm_buf *buf,
                         struct fm_why *why);
/* temporary + fsync + rename + directory fsync: the file is old or new, never half. */
FM_MUST int pf_replace_file(struct platform *platform, const char *path, struct fm_slice content,
                            struct fm_why *why);
/* mkdir -p with every new directory synced into its parent. */
FM_MUST int pf_make_path(struct platform *platform, const char *path, struct fm_why *why);
/* Removes a directory and what is in it, two levels deep at most; absent is FM_OK. */
FM_MUST int pf_remove_tree(struct platform *platform, const char *path, struct fm_why *why);

#endif
