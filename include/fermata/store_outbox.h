/* SPDX-License-Identifier: Apache-2.0 */
/* store_outbox - blocks that are made only to leave the node: the kept part of a sampled block,
 * what cannot wait, what somebody asked for.  Part of store.
 *
 * A group is what one build makes: one block, or several where it is large.  It appears whole or
 * not at all, survives restarts, and goes when the bucket has all of its blocks; then its sources,
 * local blocks whose way out this was, count as uploaded.
 *
 * Layout: outbox/<tenant>/<group>/group.json and .../<block id>/{data.parquet,bloom-N,meta.json}.
 * All calls on the loop's thread; the blocks are announced to the store's observer like others.
 */
#ifndef FERMATA_STORE_OUTBOX_H
#define FERMATA_STORE_OUTBOX_H

#include "fermata/store.h"

#define STORE_SOURCES_MAX 64u

/* Which traces a group takes ahead of their blocks: all spans that the log had of them. */
struct store_ahead_trace {
    uint64_t key;        /* trace_id_key */
    uint64_t span_count; /* UINT64_MAX: not known; their blocks send them again */
};
struct store_ahead {
    uint8_t name[16];             /* of the group */
    uint64_t first_lsn, last_lsn; /* of the log then */
    struct store_ahead_trace *traces;
    size_t trace_count;
};
/* The file without the name; docs/formats/decision.md.  FM_ECORRUPT, FM_ENOMEM.  traces: to be
 * freed. */
void store_ahead_render(const struct store_ahead *ahead, struct fm_buf *buf);
FM_MUST int store_ahead_parse(struct fm_slice file, struct store_ahead *ret_ahead);
/* Reads those that still matter, also of groups that have left; for start-up. */
typedef void store_visit_ahead(void *self, const char *tenant, const struct store_ahead *ahead);
void store_ahead_each(struct store *store, store_visit_ahead *visit, void *self);

struct store_outgoing {     /* owned by the caller, in use until done */
    struct fm_slice tenant; /* valid until done; one that the store knows */
    enum store_lane lane;
    uint8_t name[16]; /* of the group; the same name again is the same group */
    /* Whose way out this is; referenced by the caller until done. */
    struct store_block *const *sources;
    size_t source_count;
    /* From a job, not the loop: appends at least one trace, or piece of one, as canonical OTLP to
     * otlp, which is empty.  FM_OK; FM_END: that was all; failures end the build.  Pieces of a
     * trace follow each other, or the trace may end up in two blocks of the group. */
    int (*next)(void *self, struct fm_buf *otlp, struct fm_why *why);
    const struct store_ahead *ahead; /* NULL, or to be remembered; filled when next is at its end */
    /* FM_OK: it is on disk for good and was announced, or next had nothing: span_count is 0 and
     * there is no group; the sources are left as they are.  FM_EEXISTS: that group is there
     * already.  Failures: nothing was made, try again later. */
    void (*done)(struct store_outgoing *outgoing, int rc);
    void *self;

    uint64_t trace_count, span_count, byte_count; /* results */
    uint32_t block_count;
    struct fm_why why;
    struct fm_link link; /* the store's */
};
/* Builds wait for each other, and for a cut under way: there is memory for one at a time.  Those
 * that are not express wait also while much that was made has not left yet. */
void store_outgoing_build(struct store *store, struct store_outgoing *outgoing);
/* Ends it soon: done is called with FM_ECANCELLED, unless it was over. */
void store_outgoing_cancel(struct store *store, struct store_outgoing *outgoing);
bool store_outgoing_exists(const struct store *store, struct fm_slice tenant,
                           const uint8_t name[16]);

const char *store_lane_name(enum store_lane lane); /* "normal", "express", "recall" */

struct store_outbox_status { /* what has not left yet, by lane */
    uint64_t groups[STORE_LANE_COUNT], blocks[STORE_LANE_COUNT];
    uint64_t spans[STORE_LANE_COUNT], bytes[STORE_LANE_COUNT];
};
void store_outbox_get_status(const struct store *store, struct store_outbox_status *ret_status);

#endif
