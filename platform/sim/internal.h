/* SPDX-License-Identifier: Apache-2.0 */
/* internal - the parts of the simulated world.
 *
 *   world.c   events: virtual time, timers, lanes of jobs; chance; the trace
 *   files.c   the ops on open files: handles, faults, the operation counter
 *   names.c   the ops on paths: the tree, directories
 *   inode.c   one file: what a reader sees, what is durable, what lies between
 *   disk.c    the tree's changes: pending, synced, or chosen at a power cut
 *
 * The simulated hardware's own memory comes from sim_alloc, which a test's failing malloc does not
 * reach: allocation failures are for the program under test.
 */
#ifndef PLATFORM_SIM_INTERNAL_H
#define PLATFORM_SIM_INTERNAL_H

#include "fermata/hash.h"
#include "fermata/sim.h"
#include "timers.h"

enum { SECTOR_BYTES = 512, BLOCK_BYTES = 4096, NAME_BYTES_MAX = 255 };

void *sim_alloc(size_t size); /* zeroed; large sizes cost nothing until they are touched */
void sim_release(void *ptr, size_t size);
/* Grows an array of elements to hold one more, doubling. */
void *sim_grow(void *array, size_t count, size_t *capacity, size_t element_size);

/* ---- one file or directory ---- */

struct sim_image { /* zeros up to capacity behind size */
    uint8_t *ptr;  /* owned */
    uint64_t size, capacity;
};
enum sim_write_kind { SIM_DATA, SIM_EXTEND, SIM_TRUNCATE };
struct sim_write { /* since the last sync */
    enum sim_write_kind kind;
    uint64_t offset, len; /* SIM_EXTEND: len is the new size */
    size_t data_at;       /* in pending_bytes */
};
struct sim_entry {
    char *name; /* owned */
    struct sim_inode *inode;
};
struct sim_map {               /* names of a directory, sorted */
    struct sim_entry *entries; /* owned */
    size_t count, capacity;
};
struct sim_inode {
    struct fm_link link; /* disk->inodes, in order of creation */
    struct sim_disk *disk;
    unsigned ref_count; /* live and durable names, pending changes, handles, root */
    unsigned live_link_count, handle_count;
    uint64_t charged_bytes; /* of the disk's capacity */
    uint64_t allocated_bytes;
    bool is_directory, is_locked;

    struct sim_image live, durable;
    struct sim_write *writes; /* owned */
    size_t write_count, write_capacity;
    struct sim_image pending_bytes;
    uint64_t differ_from, differ_to; /* outside of it live equals durable; empty: from >= to */
    bool has_lost;                   /* a sync failed: live holds bytes that no sync will write */

    struct sim_inode *parent; /* directory: borrowed, live */
    struct sim_map live_names, durable_names;
};
struct sim_inode *sim_inode_new(struct sim_disk *disk, bool is_directory); /* no references */
void sim_inode_ref(struct sim_inode *inode);
void sim_inode_unref(struct sim_inode *inode);
void sim_inode_free(struct sim_inode *inode);   /* whatever its references */
void sim_inode_charge(struct sim_inode *inode); /* after links, handles or size changed */
/* How many of len bytes at offset fit on the disk. */
uint64_t sim_inode_fitting(const struct sim_inode *inode, uint64_t offset, uint64_t len);
void sim_inode_write(struct sim_inode *inode, uint64_t offset, const struct fm_slice *slices,
                     size_t count, uint64_t len);
void sim_inode_extend(struct sim_inode *inode, uint64_t size);
void sim_inode_truncate(struct sim_inode *inode);
void sim_inode_sync(struct sim_inode *inode);
void sim_inode_lose(struct sim_inode *inode); /* a sync that failed */
enum sim_survival { SIM_NOTHING, SIM_ANYTHING, SIM_EVERYTHING };
void sim_inode_crash(struct sim_inode *inode, enum sim_survival survival);

struct sim_inode *sim_map_get(const struct sim_map *map, struct fm_slice name);
/* Sets or, with NULL, removes; keeps the references. */
void sim_map_set(struct sim_map *map, struct fm_slice name, struct sim_inode *inode);
void sim_map_clear(struct sim_map *map);

/* ---- the disk ---- */

struct sim_slot { /* one name of one directory becomes inode, or nothing */
    struct sim_inode *directory;
    char *name; /* owned */
    size_t name_len;
    struct sim_inode *inode;
};
struct sim_change { /* an atomic change of names, not yet durable */
    struct sim_slot slots[2];
    unsigned slot_count;
    bool chosen;
};
struct sim_disk {
    struct sim *sim;
    struct fm_link inodes;
    struct sim_inode *root;
    struct sim_change *changes; /* owned; in order */
    size_t change_count, change_capacity;
    uint64_t used_bytes, capacity_bytes; /* capacity 0: unlimited */
};
struct sim_place {               /* where a path leads */
    struct sim_inode *directory; /* that holds the last component; NULL: the root itself */
    struct fm_slice name;
    struct sim_inode *inode; /* NULL: absent */
};
void sim_disk_init(struct sim_disk *disk, struct sim *sim);
void sim_disk_fini(struct sim_disk *disk);
/* FM_OK, FM_ENOTFOUND: a directory on the way is missing; FM_EIO: it is a file. */
int sim_disk_find(struct sim_disk *disk, const char *path, struct sim_place *ret_place);
/* Both change what a reader sees at once and what is durable later. */
void sim_disk_link(struct sim_disk *disk, const struct sim_place *place, struct sim_inode *inode);
void sim_disk_move(struct sim_disk *disk, const struct sim_place *from, const struct sim_place *to);
void sim_disk_sync_names(struct sim_disk *disk, struct sim_inode *directory);
void sim_disk_crash(struct sim_disk *disk);

/* ---- the world ---- */

enum { SIM_THREADS_MAX = 4, SIM_LANE_COUNT = PF_LANE_COUNT };
struct sim_thread { /* of a lane; the event is the moment at which the job's work happens */
    struct pf_timer event;
    struct sim_lane *lane;
    struct pf_job *job; /* NULL: idle */
};
struct sim_lane {
    struct sim *sim;
    struct fm_link queue;
    struct sim_thread threads[SIM_THREADS_MAX];
    unsigned thread_count, width;
};
struct sim_fault_plan {
    uint32_t per_million;
    bool persistent;
    uint64_t countdown; /* 0: none planned; 1: the next one */
};
struct sim {
    struct platform platform;
    uint64_t world_state, program_state, test_state; /* of three generators */
    uint64_t now_ns;
    int64_t wall_offset_ns;
    uint64_t suspended_ns; /* so far */
    struct pf_timers timers;
    struct sim_lane lanes[SIM_LANE_COUNT];
    struct pf_timer outlet;  /* fires for the first of finished */
    struct fm_link finished; /* jobs in the order in which they finished */
    bool is_stepping;
    uint64_t trace_hash;

    struct sim_disk disk;
    struct fm_link files; /* handles, also those of crashed processes */
    uint64_t operation_count;
    uint64_t crash_countdown; /* 0: off */
    bool is_cut;              /* no power: nothing works until sim_crash */
    struct sim_fault_plan faults[SIM_FAULT_COUNT];
};
extern const struct platform_ops sim_ops;

static inline struct sim *sim_of(struct platform *platform)
{
    return FM_CONTAINER(platform, struct sim, platform);
}
uint64_t sim_chance(struct sim *sim, uint64_t below); /* the world's decisions: 0 .. below-1 */
void sim_trace(struct sim *sim, uint64_t event, uint64_t detail);
enum sim_event { /* and every enum sim_operation, from 16 on */
                 SIM_EVENT_TIMER = 1,
                 SIM_EVENT_CRASH,
                 SIM_EVENT_FAULT,
};
enum sim_operation {
    SIM_OPEN = 16,
    SIM_WRITE,
    SIM_READ,
    SIM_SYNC,
    SIM_ALLOCATE,
    SIM_MAKE_DIR,
    SIM_RENAME,
    SIM_UNLINK,
    SIM_REMOVE_DIR,
    SIM_SYNC_DIR,
    SIM_LIST,
    SIM_LOCK,
    SIM_LINK,
};
/* Counts an operation that changes the disk or makes it durable; the power may fail before it. */
FM_MUST int sim_begin(struct sim *sim, enum sim_operation operation, const char *path,
                      struct fm_why *why);
/* Like sim_begin for one that only looks: not counted. */
FM_MUST int sim_look(struct sim *sim, enum sim_operation operation, const char *path,
                     struct fm_why *why);
bool sim_fault_strikes(struct sim *sim, enum sim_fault fault);
void sim_files_crash(struct sim *sim);
void sim_files_fini(struct sim *sim);

/* files.c */
int sim_open(struct platform *platform, const char *path, unsigned flags, struct pf_file **ret_file,
             struct fm_why *why);
int sim_close(struct pf_file *file);
int sim_write(struct pf_file *file, uint64_t offset, const struct fm_slice *slices, size_t count,
              struct fm_why *why);
int sim_read(struct pf_file *file, uint64_t offset, void *target, size_t len, size_t *ret_len,
             struct fm_why *why);
int sim_sync(struct pf_file *file, struct fm_why *why);
int sim_size(struct pf_file *file, uint64_t *ret_size);
int sim_allocate(struct pf_file *file, uint64_t size, struct fm_why *why);
int sim_advise_gone(struct pf_file *file);
/* names.c */
int sim_make_dir(struct platform *platform, const char *path, struct fm_why *why);
int sim_rename(struct platform *platform, const char *from, const char *to, struct fm_why *why);
int sim_link(struct platform *platform, const char *from, const char *to, struct fm_why *why);
int sim_unlink(struct platform *platform, const char *path, struct fm_why *why);
int sim_remove_dir(struct platform *platform, const char *path, struct fm_why *why);
int sim_sync_dir(struct platform *platform, const char *path, struct fm_why *why);
int sim_list(struct platform *platform, const char *path, pf_list_visit *visit, void *self,
             struct fm_why *why);
int sim_space(struct platform *platform, const char *path, struct pf_space *ret_space);
int sim_lock(struct platform *platform, const char *path, struct fm_why *why);

#endif
