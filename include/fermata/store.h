/* SPDX-License-Identifier: Apache-2.0 */
/* store - the node's memory: log, head, cut, blocks on disk, quota.
 *
 * Knows neither who feeds it nor who drains it: ingest appends, query and replicate take snapshots.
 * All calls on the loop's thread unless said otherwise.
 *
 *   append -> log (group commit) -> head -> cut (job) -> verify -> block -> on_sealed
 *
 * Layout below data_dir: docs/formats/wal.md (wal/), docs/formats/block.md (blocks/).
 */
#ifndef FERMATA_STORE_H
#define FERMATA_STORE_H

#include "fermata/block.h"
#include "fermata/ledger.h"
#include "fermata/model.h"
#include "fermata/platform.h"
#include "fermata/telemetry.h"

enum store_sync { STORE_SYNC_GROUP, STORE_SYNC_INTERVAL, STORE_SYNC_NONE };
enum store_on_full { STORE_REJECT, STORE_DROP_OLDEST };

struct store_options {
    const char *data_dir;
    uint8_t node[16];
    enum store_sync sync;
    uint64_t sync_interval_ns;  /* STORE_SYNC_INTERVAL */
    uint64_t segment_bytes;     /* 16 MiB */
    bool compress;              /* lz4 records */
    uint64_t pending_bytes_max; /* appended, not yet durable; above it: FM_EUNAVAILABLE */
    uint64_t head_bytes_max;    /* index of the head */
    struct block_options block;
    uint64_t block_age_ns;    /* cut when the oldest record is this old */
    uint64_t block_align_ns;  /* cut where wall time, shifted by node, is a multiple; 0: anywhere */
    uint64_t block_bytes;     /* cut when this much compressed log waits, per tenant */
    uint64_t quota_bytes;     /* all of data_dir; 0: unlimited */
    unsigned quota_percent;   /* of the file system, but at most quota_bytes; 0: quota_bytes */
    uint64_t free_bytes_min;  /* of the file system */
    uint64_t free_inodes_min; /* the same */
    uint64_t retention_ns;    /* of uploaded blocks */
    uint64_t retention_sampled_out_ns;
    uint64_t retention_unuploaded_ns; /* of what has not left; 0: as long as there is space */
    uint64_t quarantine_bytes;        /* 0: as long as there is space */
    uint64_t quarantine_age_ns;       /* 0: for ever */
    uint64_t merge_bytes_max;         /* of a block made of neighbours; 0: none is made */
    uint64_t scrub_interval_ns, scrub_bytes_per_s; /* 0: never; 0: as fast as the disk is */
    uint64_t future_tolerance_ns;                  /* of span times in a block's range; 0: any */
    enum store_on_full on_full;
};

enum store_lane { STORE_LANE_NORMAL, STORE_LANE_EXPRESS, STORE_LANE_RECALL, STORE_LANE_COUNT };

struct store;
struct store_block { /* a sealed block; immutable but for is_stale, counted */
    struct block_meta meta;
    char path[512];               /* directory */
    uint64_t first_lsn, last_lsn; /* zeros if it is outgoing */
    uint64_t span_count;
    uint64_t sealed_unix_ns;
    struct ledger_account account; /* when its spans were received; not of outgoing ones */
    bool is_outgoing; /* only made to leave (store_outbox.h): no snapshot and no cursor shows it */
    bool is_stale;    /* noted by whoever uploads it: it waited while there was trouble */
    enum store_lane lane;
};
struct store_observer { /* what others want to know; both on the loop */
    /* Also, from within store_set_observer, for blocks found at start. */
    void (*on_sealed)(void *self, struct store_block *block);
    void *self;
    /* NULL, or: with on_full = drop_oldest this block, not uploaded, has to go: let go of it, now
     * or as soon as possible.  It goes when nobody holds it any more. */
    void (*on_dropped)(void *self, struct store_block *block);
    /* NULL (always LEDGER_PENDING_FRESH), or: in which column the ledger has what of this block has
     * to leave and has not left. */
    enum ledger_column (*lane_of)(void *self, const struct store_block *block);
};

/* Opens or creates data_dir, replays the log, lists the blocks; blocks the thread (start-up).
 * Unreadable data is quarantined, counted and reported, never fatal and never deleted.
 * FM_EEXISTS: another process holds data_dir. */
FM_MUST int store_open(struct store **ret_store, struct platform *platform,
                       const struct store_options *options, struct fm_why *why);
void store_set_observer(struct store *store, const struct store_observer *observer);
/* NULL, or: retention or quota took this block out of the list.  On the loop. */
void store_set_gone(struct store *store, void (*on_gone)(void *self, const struct block_id *id),
                    void *self);

struct store_append {       /* owned by the caller, in use until done */
    struct fm_slice tenant; /* valid until done */
    struct fm_buf payload;  /* canonical OTLP; taken over by the store */
    size_t payload_skip;    /* bytes in front of it that are not part of it */
    bool keeps_payload;     /* refused: the payload is the caller's again, to be appended later */
    uint32_t span_count;
    const uint64_t *trace_keys; /* copied during the call */
    uint32_t trace_key_count;
    uint64_t start_min_ns, end_max_ns;
    uint64_t received_unix_ns;
    uint8_t receivers; /* bits by number (ledger_receiver_text); 0: not known */
    /* FM_OK: as durable as sync says.  FM_ENOSPACE, FM_EUNAVAILABLE, FM_EIO: not stored, the
     * client may try again. */
    void (*done)(struct store_append *append, int rc); /* later, never from within the call */
    struct fm_link link;                               /* the store's, as is rc */
    int rc;
};
void store_append(struct store *store, struct store_append *append);

/* Cuts every tenant's head now; done when the blocks are sealed (or FM_E*). */
void store_flush(struct store *store, void (*done)(void *self, int rc), void *self);
/* Drains the log to disk, finishes jobs, closes.  Nothing is cut: the log keeps it. */
void store_close(struct store *store, void (*done)(void *self), void *self);
/* After a simulated crash, when the platform has forgotten timers and jobs: frees the memory,
 * touches no file, answers nobody. */
struct store *store_abandon(struct store *store);

/* ---- reading; snapshots are immutable and counted, used from any thread ---- */

struct store_snapshot;
FM_MUST int store_snapshot_new(struct store *store, struct fm_slice tenant,
                               struct store_snapshot **ret_snapshot);
struct store_snapshot *store_snapshot_free(struct store_snapshot *snapshot); /* on the loop */
/* Adds the trace's spans from head and blocks to trace (unfinished).  Blocking: from a job. */
struct store_read_stats {
    uint64_t inspected_bytes;
    uint32_t blocks_considered, blocks_opened, blocks_failed;
};
FM_MUST int store_find_trace(struct store_snapshot *snapshot, const struct trace_id *id,
                             struct trace *trace, struct store_read_stats *stats,
                             struct fm_why *why);

/* ---- for replicate ---- */

void store_block_ref(struct store_block *block);
void store_block_unref(struct store *store, struct store_block *block); /* on the loop */
/* Remembers (durably, from a job; not before done) that the bucket has the block whole. */
void store_block_uploaded(struct store *store, struct store_block *block,
                          void (*done)(void *self, int rc), void *self);
bool store_block_is_uploaded(const struct store *store, const struct store_block *block);

struct store_status {
    uint64_t wal_bytes, wal_segments, head_spans, head_records, head_memory_bytes;
    uint64_t blocks_sealed, blocks_uploaded, blocks_quarantined, blocks_bytes, block_spans;
    uint64_t used_bytes, quota_bytes, free_bytes;
    uint64_t replay_records, replay_holes, replay_ns;
    bool is_read_only; /* the disk failed or is full: appends are refused */
    char problem[256]; /* why, or "" */
};
void store_get_status(const struct store *store, struct store_status *ret_status);
/* Bytes of local blocks that come into being in a second; UINT64_MAX: not known yet. */
uint64_t store_growth(const struct store *store);
void store_put_metrics(const struct store *store, struct fm_buf *out);
void store_put_dropped(const struct store *store, struct fm_buf *out); /* lines of a family */

#endif
