/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of store share: the objects and who owns them.
 *
 *   open.c     start-up: lock, blocks, log, first segment; close
 *   replay.c   the log's records back into the head
 *   segment.c  files of the log: names, making, recycling
 *   log.c      group commit: appends -> records -> disk -> done
 *   head.c     tenants and the index over records that are not in a block yet
 *   cover.c    which LSNs of a tenant are in blocks
 *   ledger.c   what became of every span (store_ledger.h)
 *   why.c      the story of a trace (store_why.h);  story.c  told;  gone.c  filters of blocks that
 *              are deleted
 *   cut.c      records -> block (machine);  build.c  the job behind it
 *   build_files.c  rows -> a block's files, verified
 *   outbox.c   blocks made to leave (store_outbox.h);  outgoing.c  the job that makes
 *              them; outbox.h  what these share
 *   ahead.c    what left ahead of its block, remembered
 *   decide.c   which traces of a block leave, where not all do (store_decide.h)
 *   blocks.c   the list of blocks, references
 *   retain.c   retention and quota
 *   scrub.c    blocks are read again, now and then;  mend.c  and made again from the log
 *   merge.c    small neighbours become one (machine);  merge_build.c  the jobs behind it
 *   clock.c    ages that no jump of the wall clock changes
 *   quarantine.c  what could not be used
 *   keep.c     housekeeping jobs: markers, deletions, recycling, fresh segments
 *   read.c     snapshots and traces by id
 *   cursor.c   everything in order, for those who pass it on
 *   status.c   status and metrics
 *
 * Everything here belongs to the loop's thread except what a job was handed: a job owns its plan
 * until its done() ran.  Reference counts are plain numbers because only the loop changes them.
 */
#ifndef STORE_INTERNAL_H
#define STORE_INTERNAL_H

#include "fermata/bytes.h"
#include "fermata/hash.h"
#include "fermata/store.h"
#include "fermata/store_decide.h"
#include "fermata/units.h"
#include "fermata/wal.h"

#define STORE_PATH_BYTES 1024u
#define STORE_TENANT_MAX 4096u /* names are chosen by peers */
#define STORE_SPARES     1u    /* segments kept ready beside the active one */
#define STORE_RUN_BYTES                                                                            \
    FM_KIB(64) /* small appends of one tenant become one record; LZ4 is                            \
                * a quarter faster where positions have 16 bits */
#define STORE_UNSYNCED_MAX  FM_MIB(8)
#define STORE_RETRY_NS      (30 * FM_NS_PER_S)
#define STORE_KEEP_NS       (10 * FM_NS_PER_S)
#define STORE_STALL_NS      (10 * FM_NS_PER_S)
#define STORE_READ_ATTEMPTS 3u /* at start, of what may be an error that passes */

/* ---- segment.c ---- */

enum segment_state { SEG_READY, SEG_ACTIVE, SEG_CLOSED, SEG_GOING };

struct segment {         /* one file of the log */
    struct fm_link link; /* store->segments by base LSN, store->spares, or a job's list */
    struct fm_sm sm;
    struct wal_segment header;
    uint32_t name_epoch; /* of the file's name; after a crash while recycling not the header's */
    uint64_t name_sequence;
    uint64_t file_bytes;
    uint64_t end_offset;    /* behind the last record; the writer's while it runs */
    uint32_t record_count;  /* records in the head */
    uint32_t pins;          /* snapshots and cuts that may read it */
    bool is_suspect;        /* a write or sync failed, or bytes were unreadable: never recycled */
    bool has_unread;        /* damage was found in it: kept in quarantine/ when its time is over */
    bool header_is_written; /* with is_used */
    struct pf_file *file;   /* owned; open while ready or active */
};

/* ---- head.c ---- */

struct head_record { /* in a chunk; followed by its trace keys */
    uint64_t lsn;
    struct segment *segment;
    uint64_t start_ns, end_ns;
    uint64_t received_unix_ns;
    uint32_t offset; /* in the segment's file */
    uint32_t size;   /* on disk */
    uint32_t span_count;
    uint32_t payload_bytes;
    uint32_t key_count;
    bool is_dead; /* start-up only: a later copy of the same batch was found */
    uint64_t keys[];
};

/* Records back to back.  Only appended to behind `used`, so that a reader who remembers how far it
 * was filled needs no lock; what must change is changed in a copy while others hold it. */
struct head_chunk {
    uint32_t refs;
    uint32_t used, capacity; /* bytes of data */
    _Alignas(8) uint8_t data[];
};

struct head_part { /* of a chunk: bytes [begin, end) */
    struct head_chunk *chunk;
    uint32_t begin, end;
};

struct lsn_range {
    uint64_t first, last; /* both included */
};

struct tenant {
    char name[TENANT_LEN_MAX + 1];
    struct head_part *parts; /* owned; oldest first */
    size_t part_first, part_count, part_capacity;
    uint64_t record_count, span_count;
    uint64_t log_bytes;           /* of its records */
    uint64_t memory_bytes;        /* of its chunks */
    uint64_t oldest_ns;           /* monotonic; when the oldest record came, at the earliest */
    uint64_t first_lsn, last_lsn; /* of the head, if record_count */
    struct lsn_range *covered;    /* owned; sorted, disjoint, not adjacent */
    size_t covered_count, covered_capacity;
    struct block_entry **blocks; /* owned array; by first LSN */
    size_t block_count, block_capacity;
    uint64_t group_number, group_bytes; /* what the log chose of it last, and for which group */
    uint32_t head_reads;                /* of cursors: it is not cut meanwhile */
    uint32_t cut_failures;              /* in a row */
    uint64_t cut_after_ns;              /* not before */
};

/* ---- blocks.c ---- */

struct block_open; /* read.c */

enum store_end {                    /* why a block goes; what its spans count as from then on */
                 STORE_END_SETTLED, /* what had to leave has left: uploaded, or sampled out */
                 STORE_END_EXPIRED, /* too old, and had not left */
                 STORE_END_DROPPED, /* for lack of space, and had not left */
                 STORE_END_MERGED,  /* its spans are in another block of this store */
                 STORE_END_CORRUPT, /* unreadable, and had not left */
};

struct block_ahead { /* what a group of the outbox took ahead of a block */
    uint8_t name[16];
    uint64_t spans;
    struct outbox_group *group; /* borrowed; NULL: not looked for yet */
};

struct block_entry {
    struct store_block block;
    struct fm_link link;        /* store->blocks by last LSN, or a list of doomed ones */
    struct store *store;        /* borrowed */
    struct tenant *tenant;      /* borrowed */
    struct outbox_group *group; /* borrowed; of an outgoing block, which is in its list */
    uint32_t refs;              /* one is the list's */
    uint64_t disk_bytes;
    uint64_t sealed_steady_ns; /* clock.c */
    bool has_steady_time;      /* else it is wall time, of an older version */
    bool is_uploaded;
    bool is_merging;     /* a merge holds it: it does not go meanwhile */
    bool is_unmergeable; /* too large, or damaged */
    bool is_bad;         /* it has to go (scrub.c) */
    bool is_replaced;    /* doomed, but its files are another entry's */
    uint32_t mend_attempts;
    struct store_decided decided;
    struct block_ahead *ahead; /* owned; of the decision, as long as these groups are there */
    uint32_t ahead_count;
    struct outbox_group *part; /* borrowed; the group that was made of what leaves of it, or NULL */
    bool is_doomed;            /* out of the list; the files go when the last reference goes */
    enum store_end end;        /* with is_doomed */
    struct book_entry *closing;          /* borrowed; with is_doomed: its last account */
    struct block_id left_as;             /* the block it is uploaded as; zeros: itself */
    _Atomic(struct block_open *) opened; /* owned; set by any reader, cleared only without refs */
    _Atomic uint64_t used_count;         /* store->open_clock when last read */
};

/* ---- log.c ---- */

enum log_state { LOG_IDLE, LOG_WRITING, LOG_FAILED, LOG_CLOSING, LOG_CLOSED };

static inline struct fm_slice append_payload(const struct store_append *append)
{
    FM_ASSERT(append->payload_skip <= append->payload.len);
    if (!append->payload.len)
        return (struct fm_slice){0};
    return fm_slice(append->payload.ptr + append->payload_skip,
                    append->payload.len - append->payload_skip);
}

struct log_item {
    struct store_append *append; /* borrowed until done */
    struct tenant *tenant;
    bool is_chosen; /* for the next group */
};

struct log_group {          /* appends that are acknowledged together */
    struct log_item *items; /* owned */
    size_t count, capacity;
    uint64_t *keys; /* owned; of all items in order */
    size_t key_count, key_capacity;
    uint64_t bytes;
};

struct log_entry { /* one record made of a run of appends */
    struct tenant *tenant;
    struct segment *segment;
    size_t at; /* in kept */
    uint64_t size, offset, lsn;
    uint64_t published_lsn; /* 0: not in the head yet */
    uint64_t start_ns, end_ns, received_unix_ns;
    size_t key_first;
    uint32_t key_count, span_count, payload_bytes, append_count;
};

struct log_writer { /* the WAL lane's job; its own between submit and done */
    struct pf_job job;
    struct store *store;
    struct log_group *group;
    struct codec_encoder *encoder; /* owned, NULL without compression */
    struct fm_buf joined;          /* payloads of a run */
    struct fm_buf kept;            /* encoded records that no sync has covered yet */
    struct log_entry *entries;     /* owned; of kept */
    size_t entry_count, entry_capacity;
    size_t entry_first_new;                  /* this job's own */
    struct segment *active;                  /* in store->segments or used */
    struct segment *fresh[STORE_SPARES + 1]; /* handed over, owned */
    size_t fresh_count;
    struct fm_link used; /* segments put to use by this job, in order */
    uint64_t next_lsn;
    uint64_t batch_salt, batch_count;
    bool wants_sync, wants_close;
    bool must_rewrite; /* kept is in no trustworthy segment */
    uint8_t header[WAL_HEADER_BYTES];
    struct fm_buf seal;
    /* results */
    int rc;
    bool is_disk_failure;
    bool is_synced;
    struct fm_why why;
};

struct log {
    struct fm_sm sm;
    struct log_group groups[3]; /* filling, being written, being answered */
    struct log_group *filling, *writing, *answering;
    struct fm_link refused; /* store_append.link: answered on the next turn */
    struct pf_timer refuse_timer, turn_timer, sync_timer, probe_timer;
    bool refuse_timer_runs, turn_timer_runs, sync_timer_runs;
    bool wants_sync; /* at the next job */
    struct log_writer writer;
    uint64_t pending_bytes;
    uint64_t submitted_ns;
    const struct tenant *last_tenant; /* who appended last; to compare, not to look at */
    uint64_t mixed_ns;                /* when it last changed; 0: never */
    uint64_t group_number;
    unsigned handed_count; /* ready segments in the writer's hands */
    uint64_t durable_lsn;  /* records below it may be cut */
    uint64_t last_lsn;     /* of the newest record in the head */
};

/* ---- cut.c, build.c ---- */

/* What a reader holds of one tenant's head. */
struct head_view {
    struct head_part *parts; /* owned */
    size_t part_count;
    struct segment **segments; /* owned array; pinned */
    size_t segment_count;
};

enum cut_state { CUT_IDLE, CUT_BUILDING };

struct cut {
    struct fm_sm sm;
    struct pf_job job;
    struct pf_timer timer;
    struct store *store;
    struct tenant *tenant;
    struct head_view view;
    uint64_t first_lsn; /* of the range that the block will cover */
    uint64_t limit_lsn; /* no record above it */
    uint64_t started_ns;
    uint32_t failures;    /* of this tenant before */
    uint64_t timer_at_ns; /* 0: the timer does not run */
    _Atomic bool is_cancelled;
    /* results */
    int rc;
    struct fm_why why;
    struct block_entry *entry; /* owned; NULL: nothing was left to put in a block */
    uint64_t last_lsn;
    bool is_partial; /* the view held more than went into the block */
    bool is_limited; /* it ends where a cursor stands, or at a boundary */
    bool is_aligned; /* at a boundary */
    uint64_t lost_records, lost_spans;
    struct ledger_account account; /* of all records up to last_lsn */
    uint64_t build_ns;
    const struct block_entry *replaces; /* borrowed; NULL, or the same block, damaged (mend.c) */
};

/* ---- mend.c ---- */

#define MEND_ATTEMPTS_MAX 8u
struct mend {
    struct cut cut;            /* a build without its machine; the job is here */
    struct block_entry *entry; /* with a reference; the damaged one */
    struct head_part part;     /* owned; of the records that were found */
    bool is_running;
};

struct flush { /* a caller of store_flush */
    struct fm_link link;
    uint64_t lsn; /* all records up to here */
    void (*done)(void *self, int rc);
    void *self;
    int rc;
};

/* ---- outbox.c ---- */

enum outbox_state { OUTBOX_IDLE, OUTBOX_BUILDING, OUTBOX_REMOVING };

struct outbox_group; /* outbox.h */
struct store_outgoing;

struct outbox {
    struct fm_sm sm;
    struct pf_job job;
    struct pf_timer timer;
    bool timer_runs;
    struct store *store;
    struct fm_link groups;            /* struct outbox_group, oldest first */
    struct fm_link wanted, cancelled; /* struct store_outgoing */
    struct store_outgoing *building;  /* borrowed */
    struct outbox_group *made;        /* owned; what is being built */
    struct outbox_group *going;       /* owned; what is being removed */
    uint64_t bytes;                   /* of all groups */
    _Atomic bool is_cancelled;
    int rc;
    struct fm_why why;
};

/* ---- ledger.c ---- */

struct book_entry { /* of the ledger's file, or about to be */
    struct fm_link link;
    struct ledger_entry entry;
    bool is_written; /* synced */
    bool is_planned; /* for the write under way */
    bool is_final;   /* nothing is left that speaks for itself; keep's job says so of a block */
    bool is_aside;   /* start-up only: a block that went to quarantine */
};

struct book {
    struct ledger sums;     /* of what needs no entry of its own any more */
    struct ledger rejected; /* not written yet */
    struct ledger came;     /* all that was stored: what the rest must add up to */
    bool came_is_short;     /* for want of memory */
    struct fm_link entries; /* struct book_entry */
    bool is_unsure;         /* a block may be there that could not be read: nothing is summed up */
    bool must_rewrite;
    uint64_t file_bytes, base_bytes, room_bytes; /* the job's while it runs, as the plan */
    struct fm_buf plan;
    bool plan_is_whole;
    uint64_t plan_base_bytes;
    int plan_rc;
};

/* ---- merge.c ---- */

enum merge_state { MERGE_IDLE, MERGE_BUILDING, MERGE_RETIRING };
#define MERGE_SOURCES_MAX 64u

struct merge {
    struct fm_sm sm;
    struct pf_job job;
    struct store *store;
    struct tenant *tenant;
    struct block_entry *sources[MERGE_SOURCES_MAX]; /* with references; by LSN */
    size_t count, count_max;                        /* next time so many at most; 0: any */
    unsigned kind;
    uint64_t next_ns; /* monotonic; not before */
    bool is_retiring; /* in RETIRING: the job runs */
    _Atomic bool is_cancelled;
    /* results */
    int rc;
    struct fm_why why;
    struct block_entry *entry; /* owned; then in the list, and with a reference */
    size_t fit_count;          /* sources before the one that failed */
    uint64_t work_ns;
};

/* ---- scrub.c ---- */

enum scrub_state { SCRUB_IDLE, SCRUB_READING };

struct scrub {
    struct fm_sm sm;
    struct pf_job job;
    struct store *store;
    uint64_t began_ns; /* the round, in steady time; 0: there was none yet */
    uint64_t lsn;      /* blocks up to here were read in it */
    uint64_t bad_count;
    struct block_entry *entry; /* with a reference; being read */
    _Atomic bool is_cancelled;
    /* the job's */
    int rc;
    struct fm_why why;
    uint64_t started_ns, bytes;
};

/* ---- keep.c ---- */

enum keep_state { KEEP_IDLE, KEEP_RUNNING };

struct marker { /* a caller of store_block_uploaded */
    struct fm_link link;
    struct block_entry *entry; /* holds a reference */
    void (*done)(void *self, int rc);
    void *self;
    int rc;
};

struct tombstone { /* a deleted block whose coverage the log still needs */
    struct fm_link link;
    uint64_t last_lsn;
    char path[512];
};

struct keep {
    struct fm_sm sm;
    struct pf_job job;
    struct pf_timer timer;
    struct store *store;
    struct fm_link markers, markers_taken, markers_over; /* struct marker */
    struct fm_link doomed, doomed_taken;                 /* struct block_entry without references */
    struct fm_link tombstones, tombstones_taken;         /* struct tombstone */
    struct fm_link going;                                /* struct segment: to recycle or unlink */
    struct fm_link made;                                 /* results: struct segment */
    struct fm_link aheads_taken;                         /* struct ahead_list: to unlink */
    uint64_t log_begin_lsn;
    uint64_t make_after_ns; /* after a failure: not before */
    bool wants_probe;       /* at the next job */
    bool is_due;            /* run at the next chance */
    /* the job's plan and results */
    unsigned wanted; /* fresh segments to make */
    bool with_probe;
    int segment_rc, probe_rc;
    struct fm_why why;
    struct pf_space space;
    bool has_space;
    uint64_t quarantine_bytes;        /* as found last */
    uint64_t quarantine_wanted_max;   /* of it; UINT64_MAX: its own quota */
    uint64_t quarantine_checked_ns;   /* monotonic */
    _Atomic bool quarantine_is_due;   /* something was put there */
    bool with_quarantine, with_clock; /* of the job's plan */
    uint64_t quarantine_bytes_max, quarantine_found_bytes;
};

/* ---- clock.c ---- */

struct store_clock {
    uint64_t base_steady_ns, base_boot_ns; /* belong together; fixed at start */
    uint64_t boot_ns, now_ns, wall_ns;     /* at the last tick */
    uint64_t saved_ns;                     /* steady time in the file */
    uint64_t saving_ns;                    /* the job's result; 0: none */
    bool must_save;
};

/* ---- the store ---- */

struct store_metrics {
    metric written_bytes, sync_failures, sync_count, group_count, record_count;
    metric appended_spans, appended_bytes;
    metric refused_pending, refused_head, refused_space, refused_disk, refused_other;
    metric blocks_sealed, blocks_uploaded, blocks_quarantined, blocks_expired, blocks_dropped;
    metric block_spans, block_failures;
    metric dropped_spans, dropped_spans_age, dropped_spans_corrupt; /* quota, age, damage */
    metric clock_jumps, quarantine_removed;
    metric merges, merged_blocks, merge_failures;
    metric scrub_blocks, scrub_bytes, scrub_bad, scrub_unreadable, scrub_rebuilt;
    metric lost_records, lost_spans; /* unreadable when a block was built */
    metric replay_records, replay_spans, replay_duplicates, replay_holes, replay_hole_bytes;
    metric replay_segments_bad, replay_ns;
    metric open_hits, open_misses;
    struct metric_histogram sync_seconds, build_seconds;
};

struct store {
    struct platform *platform; /* borrowed */
    struct store_options options;
    char *data_dir; /* owned */
    struct store_observer observer;
    void (*on_gone)(void *self, const struct block_id *id);
    void *gone_self;
    struct log log;
    struct cut cut;
    struct outbox outbox;
    struct book book;
    struct keep keep;
    struct merge merge;
    struct scrub scrub;
    struct mend mend;
    struct store_clock clock;
    struct fm_link segments; /* used ones, by base LSN */
    struct fm_link spares;
    _Atomic uint64_t next_sequence;
    uint32_t epoch;
    uint64_t log_floor_lsn;  /* no record of the log lay below it when this process began */
    struct tenant **tenants; /* owned, sorted by name */
    size_t tenant_count, tenant_capacity;
    uint64_t head_memory_bytes;
    struct fm_link blocks;  /* struct block_entry, oldest seal first */
    struct fm_link cursors; /* struct store_cursor */
    struct fm_link decides; /* struct decide: under way */
    struct fm_link aheads;  /* struct ahead_list: of groups that have left */
    struct fm_link flushes; /* struct flush */
    struct fm_link flushes_over;
    struct pf_timer flush_timer; /* answers flushes_over */
    bool flush_timer_runs;
    _Atomic uint64_t open_clock, open_bytes, open_count; /* of opened blocks */
    struct fm_link snapshots;                            /* struct store_snapshot */
    uint64_t snapshot_count;
    struct pf_space space;
    bool is_full; /* quota or free space */
    bool is_closing;
    bool is_closed;
    void (*close_done)(void *self);
    void *close_self;
    char problem[256];
    struct store_metrics metrics;
};

/* open.c */
FM_PRINTF(3, 4)
void store_path(const struct store *store, char path[STORE_PATH_BYTES], const char *format, ...);
void store_finish_close(struct store *store); /* when the last machine stands still */
void store_set_problem(struct store *store, const char *format, ...) FM_PRINTF(2, 3);

/* quarantine.c */
/* Moves a file or directory out of the way; never deletes.  Any thread. */
int store_quarantine(struct store *store, const char *path, const char *reason);
/* Keeps bytes that cannot be used where they lie. */
void store_quarantine_bytes(struct store *store, const char *name, struct fm_slice bytes);
void quarantine_keep(struct store *store); /* within its bounds; a part of the keep job */
void quarantine_trim(struct store *store); /* there is no space left */

/* clock.c */
/* "1 NUMBER NUMBER\n", below 2^63: the files clock and scrub. */
FM_MUST int store_parse_numbers(struct fm_slice text, uint64_t values[3]);
void clock_open(struct store *store);
void clock_follow_blocks(struct store *store);       /* after they were loaded */
uint64_t clock_steady_ns(const struct store *store); /* any thread */
uint64_t clock_block_age_ns(const struct store *store, const struct block_entry *entry);
void clock_tick(struct store *store); /* every STORE_KEEP_NS */
void clock_save(struct store *store); /* in a job */

/* replay.c */
FM_MUST int store_replay(struct store *store, struct fm_why *why);

/* segment.c */
extern const struct fm_sm_rule segment_rules[];
FM_MUST int segment_new(struct segment **ret_segment, const struct wal_segment *header);
struct segment *segment_free(struct store *store, struct segment *segment);
void segment_path(const struct store *store, const struct segment *segment,
                  char path[STORE_PATH_BYTES]);
/* Makes a file of at least file_bytes ready for use: allocated, header, synced, also its name. */
FM_MUST int segment_make(struct store *store, uint64_t file_bytes, uint64_t floor_lsn,
                         struct segment **ret_segment, struct fm_why *why);
/* The same out of a file that nobody needs any more.  On failure it stays as it is. */
FM_MUST int segment_recycle(struct store *store, struct segment *segment, uint64_t floor_lsn,
                            struct fm_why *why);
void segment_release(struct store *store, struct segment *segment); /* a record or pin is gone */
void segment_retire_idle(struct store *store);       /* hands what nobody needs to keep */
uint64_t store_log_begin(const struct store *store); /* base LSN of the oldest segment */

/* log.c */
void log_init(struct store *store);
FM_MUST int log_start(struct store *store, uint64_t next_lsn);
void log_fini(struct store *store);
void log_step(struct store *store);
void log_close(struct store *store);
void log_sync_now(struct store *store);
void log_recover(struct store *store); /* the disk takes files again */
void log_fail(struct store *store);

/* write.c, on the WAL lane */
void log_writer_work(struct pf_job *job);

/* head.c */
int tenant_find(struct store *store, struct fm_slice name, struct tenant **ret_tenant);
FM_MUST int tenant_get(struct store *store, struct fm_slice name, struct tenant **ret_tenant);
struct tenant *tenant_free(struct store *store, struct tenant *tenant);
/* FM_ENOMEM: the record stays out, and its clients must not be told that it is stored. */
FM_MUST int head_append(struct store *store, struct tenant *tenant,
                        const struct head_record *record, const uint64_t *keys);
void head_drop(struct store *store, struct tenant *tenant, uint64_t last_lsn);
FM_MUST int head_move(struct store *store, struct tenant *tenant, uint64_t lsn,
                      const struct head_record *place);
/* Walks a part: *position begins at part->begin; NULL behind the last record. */
const struct head_record *head_part_next(const struct head_part *part, uint32_t *position);
/* Start-up only. */
FM_MUST int head_find(struct tenant *tenant, uint64_t lsn, struct head_record **ret_record);
FM_MUST int head_view_new(struct store *store, const struct tenant *tenant,
                          struct head_view *ret_view);
FM_MUST int head_view_pin(struct store *store, struct head_view *view); /* no records */
void head_view_fini(struct store *store, struct head_view *view);
uint64_t head_record_bytes(uint32_t key_count);

/* cover.c */
FM_MUST int cover_reserve(struct tenant *tenant); /* so that the next cover_add cannot fail */
FM_MUST int cover_add(struct tenant *tenant, uint64_t first, uint64_t last);
bool cover_has(const struct tenant *tenant, uint64_t lsn);
/* The uncovered stretch around lsn; the log holds nothing below floor. */
struct lsn_range cover_gap(const struct tenant *tenant, uint64_t lsn, uint64_t floor);

/* ledger.c */
void book_init(struct store *store);
void book_fini(struct store *store);
/* At start, in this order: the file; blocks are loaded; entries without a block; replay; sums. */
FM_MUST int book_load(struct store *store, struct fm_why *why);
FM_MUST int book_settle(struct store *store);
FM_MUST int book_begin(struct store *store);
void book_lose_record(struct store *store, const struct wal_record *record); /* unusable */
/* A block that goes to quarantine; its records may still be in the log. */
void book_set_aside(struct store *store, const struct tenant *tenant,
                    const struct block_entry *block);
void book_note(struct store *store, const struct tenant *tenant, uint64_t received_unix_ns,
               uint64_t spans);                                  /* stored */
void book_close(struct store *store, struct block_entry *block); /* it is doomed, for block->end */
/* A cut found nothing that could be read; cover_reserve() was called. */
FM_MUST int book_lose(struct store *store, struct tenant *tenant, struct lsn_range range,
                      const struct ledger_account *account);
/* Keep's: on the loop, in the job, on the loop.  plan_rc says whether it was written. */
void book_plan(struct store *store, uint64_t log_begin_lsn);
void book_work(struct store *store);
void book_done(struct store *store);
void book_save(struct store *store); /* all three, when nothing runs any more */

/* cut.c */
void cut_init(struct store *store);
void cut_fini(struct store *store);
void cut_step(struct store *store);
void cut_soon(struct store *store); /* on the loop's next turn */
void cut_close(struct store *store);
void flush_fail(struct store *store, int rc);

/* build.c, on the WORK lane */
void cut_work(struct pf_job *job);

/* build_files.c, in a job: a block's files, in a folder of blocks/.tmp until they are published */
struct making {
    struct store *store;
    struct block_meta *meta;       /* borrowed; id and tenant are set, the rest follows */
    char folder[STORE_PATH_BYTES]; /* "": nothing was begun */
    struct block_census census;    /* of the build */
    struct fm_buf blooms;
    uint64_t disk_bytes;
    bool is_rejected; /* by a check: to be kept in quarantine */
};
/* The first of a block: what is too large alone gets more memory, since it must go somewhere.
 * *builder, NULL or of before, is replaced. */
FM_MUST int making_add_first(struct block_builder **builder, struct block_options *options,
                             struct fm_slice otlp, struct fm_why *why);
void making_init(struct making *making, struct store *store);
void making_fini(struct making *making);
FM_MUST int making_begin(struct making *making, struct block_meta *meta, struct fm_why *why);
/* data.parquet, blooms, meta.json; synced, but not the folder. */
FM_MUST int making_write(struct making *making, struct block_builder *builder, struct fm_why *why);
FM_MUST int making_write_file(struct making *making, const char *name, struct fm_slice content,
                              struct fm_why *why);
int making_reject(struct making *making, struct fm_why *why, const char *what, uint64_t want,
                  uint64_t got);
/* Reads everything back: what the disk holds, not what memory believes. */
FM_MUST int making_verify(struct making *making, struct fm_why *why);
/* Renames the folder to path, and syncs both ends. */
FM_MUST int making_publish(struct making *making, const char *path, struct fm_why *why);
void making_discard(struct making *making, const struct fm_why *why); /* after a failure */

/* record.c: any thread */
struct record_reader { /* reads records one after another, keeps the file of the last one open */
    struct store *store;
    const struct segment *segment;
    struct pf_file *file;
    struct fm_buf disk, payload;
    uint8_t batch_id[16]; /* of the last record */
};
void record_reader_init(struct record_reader *reader, struct store *store);
void record_reader_fini(struct record_reader *reader);
/* The record's payload, valid until the next call.  FM_ECORRUPT: not what was written. */
/* The payload behind what target holds; on failure target is as it was. */
FM_MUST int record_reader_append(struct record_reader *reader, const struct head_record *record,
                                 struct fm_buf *target, struct fm_why *why);
FM_MUST int record_reader_read(struct record_reader *reader, const struct head_record *record,
                               struct fm_slice *ret_payload, struct fm_why *why);

/* blocks.c */
FM_MUST int block_entry_new(struct store *store, struct block_entry **ret_entry);
struct block_entry *block_entry_free(struct store *store, struct block_entry *entry);
FM_MUST int blocks_reserve(struct tenant *tenant); /* so that the next blocks_add cannot fail */
FM_MUST int blocks_add(struct store *store, struct tenant *tenant, struct block_entry *entry);
FM_MUST int blocks_load(struct store *store, struct fm_why *why);
/* For good: start-up takes it for a deleted one.  Those who have it open go on. */
FM_MUST int block_retire(struct platform *platform, const char *path);
/* Out of the list; the files go when nobody reads them any more. */
void blocks_doom(struct store *store, struct block_entry *entry, enum store_end end);
/* The same block in its place: made has its files. */
void blocks_replace(struct store *store, struct block_entry *entry, struct block_entry *made);
void block_entry_ref(struct block_entry *entry);
void block_entry_unref(struct block_entry *entry);

/* merge.c, and merge_build.c on the IDLE lane */
void merge_init(struct store *store);
void merge_fini(struct store *store);
void merge_look(struct store *store); /* every STORE_KEEP_NS */
void merge_close(struct store *store);
void merge_work(struct pf_job *job);
void merge_retire(struct pf_job *job);

/* scrub.c */
void scrub_init(struct store *store);
void scrub_fini(struct store *store);
void scrub_open(struct store *store);
void scrub_look(struct store *store); /* every STORE_KEEP_NS */
void scrub_close(struct store *store);

/* mend.c: false: it cannot be made again. */
bool mend_start(struct store *store, struct block_entry *entry);
void mend_fini(struct store *store);

/* retain.c */
void blocks_retain(struct store *store); /* retention and quota: dooms blocks, sets is_full */
/* Whoever waits to upload the block is asked to let go.  false: somebody holds it still. */
bool retain_release(struct store *store, struct block_entry *entry);
/* Spans that have not left and should have. */
uint64_t retain_lost_spans(const struct block_entry *entry);
uint64_t blocks_bytes(const struct store *store);
uint64_t store_used_bytes(const struct store *store);
uint64_t store_quota_bytes(const struct store *store); /* 0: none */

/* outbox.c */
void outbox_init(struct store *store);
void outbox_fini(struct store *store);
FM_MUST int outbox_load(struct store *store, struct fm_why *why);
void outbox_announce(struct store *store); /* to the observer */
void outbox_look(struct store *store);     /* on the loop's next turn: something has changed */
void outbox_close(struct store *store);
/* Of the group made of entry, a block that the bucket does not have yet; NULL: there is none. */
const struct store_block *outbox_part_of(const struct block_entry *entry);
/* Spans of entry that went ahead in groups which the bucket does not have yet. */
uint64_t outbox_ahead_spans(const struct block_entry *entry);
/* What a decision says of groups; without memory what waits would count as uploaded. */
FM_MUST int outbox_take_ahead(struct block_ahead **ret_ahead, uint32_t *ret_count,
                              const struct store_decision *decision);
void outbox_find_ahead(struct store *store, struct block_entry *entry);

/* ahead.c */
FM_MUST int ahead_open(struct store *store); /* after the replay */
void ahead_fini(struct store *store);
void ahead_plan(struct store *store); /* keep's, on the loop; then in the job */
void ahead_work(struct store *store);

/* decide.c */
void decide_load(struct store *store, struct block_entry *entry);
void decides_abandon(struct store *store);

/* keep.c */
void keep_init(struct store *store);
void keep_fini(struct store *store);
void keep_step(struct store *store);
void keep_now(struct store *store); /* something to do came up */
void keep_work(struct pf_job *job);
FM_MUST int keep_add_tombstone(struct store *store, const char *path, uint64_t last_lsn);

/* read.c */
struct block_open *block_open_free(struct store *store, struct block_open *open);
void block_open_evict(struct store *store);
void snapshots_abandon(struct store *store);

/* cursor.c */
void cursors_wake(struct store *store); /* there may be more to read */
/* How far a block of the tenant may reach: not over a place where a cursor stands in its head. */
uint64_t cursors_limit(struct store *store, const struct tenant *tenant, uint64_t limit_lsn);
void cursors_let_go(struct store *store, struct block_entry *entry); /* of the reference, soon */
/* Whether one has passed on a part of what lies in this range, or would look for it there. */
bool cursors_stand_in(struct store *store, const struct tenant *tenant, uint64_t first_lsn,
                      uint64_t last_lsn);
void cursors_on_doom(struct store *store, struct block_entry *entry);
void cursors_abandon(struct store *store);

/* For what may fail without consequence; the caller says why. */
static inline void store_ignore(int rc)
{
    (void)rc;
}
static inline struct block_entry *block_entry_of(const struct store_block *block)
{
    return FM_CONTAINER((struct store_block *)(uintptr_t)block, struct block_entry, block);
}
/* Nobody waits for its upload. */
static inline bool block_entry_is_settled(const struct block_entry *entry)
{
    return entry->is_uploaded || entry->decided.verdict == STORE_NOTHING;
}
static inline int pf_write(struct pf_file *file, struct platform *platform, uint64_t offset,
                           struct fm_slice slice, struct fm_why *why)
{
    return platform->ops->write(file, offset, &slice, 1, why);
}

#endif
