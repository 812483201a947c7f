/* SPDX-License-Identifier: Apache-2.0 */
/* store_cursor - reads everything that is stored, tenant by tenant and in order, for those who pass
 * it on: records of the log as long as they are there, then the blocks that hold them.  Part of
 * store.
 *
 * A cursor pins nothing between two reads but the one block it stands in, and lets go of that when
 * the store wants it gone.  So a reader that stands still costs no disk and holds up nobody; what
 * retention or the quota takes away before it was read is counted as expired.
 *
 * So that nothing is read twice, the store ends a block where a cursor stands in what it is made
 * of. All calls on the loop's thread.
 */
#ifndef FERMATA_STORE_CURSOR_H
#define FERMATA_STORE_CURSOR_H

#include "fermata/store.h"

/* How far a reader is with one tenant; plain data, to be kept on disk. */
struct store_place {
    uint64_t lsn;      /* all records up to here */
    uint8_t block[16]; /* and of this block, if not zeros, */
    uint64_t row;      /* so many traces */
};

struct store_cursor;
struct store_cursor_options {
    uint64_t begin_lsn; /* of tenants without a place; UINT64_MAX: behind all that is there now */
    /* Only what leaves the node: not the log, of blocks only those that are decided (or uploaded),
     * and of these only the rows that are kept (store_decide.h). */
    bool decided_only;
    /* There may be more to read; from within the store: to be noted, not acted upon. */
    void (*on_more)(void *self);
    void *self;
};
/* Closed before the store.  With begin_lsn UINT64_MAX store_cursor_begin says what it became. */
FM_MUST int store_cursor_open(struct store_cursor **ret_cursor, struct store *store,
                              const struct store_cursor_options *options);
struct store_cursor *store_cursor_close(struct store_cursor *cursor); /* no read is under way */
uint64_t store_cursor_begin(const struct store_cursor *cursor);

/* Tenants are numbered from 0 and keep their number. */
size_t store_cursor_tenant_count(struct store_cursor *cursor);
const char *store_cursor_tenant(const struct store_cursor *cursor, size_t tenant);
struct store_place store_cursor_place(const struct store_cursor *cursor, size_t tenant);
/* From disk, at start; a tenant that has no data is none of the cursor's business. */
void store_cursor_restore(struct store_cursor *cursor, const char *tenant,
                          const struct store_place *place);
/* What lies before place was passed on: the end of the tenant's oldest read that was not yet. */
void store_cursor_advance(struct store_cursor *cursor, size_t tenant,
                          const struct store_place *place);
/* This place, or a later one, will be found again after a crash. */
void store_cursor_saved(struct store_cursor *cursor, size_t tenant, uint64_t lsn);

/* What a tenant has behind its place, as far as it may be read. */
struct store_pending {
    uint64_t spans, records; /* a block: one record */
    uint64_t log_bytes;      /* uncompressed */
    uint64_t block_bytes;    /* as they lie on disk */
    uint64_t oldest_unix_ns; /* of the data; 0: there is none */
};
/* Looks no further than until one of the limits is reached. */
void store_cursor_look(const struct store_cursor *cursor, size_t tenant, uint64_t spans_max,
                       uint64_t bytes_max, struct store_pending *ret_pending);
/* The same behind what was read. */
void store_cursor_look_ahead(const struct store_cursor *cursor, size_t tenant, uint64_t spans_max,
                             uint64_t bytes_max, struct store_pending *ret_pending);
/* Spans that were deleted before they were passed on, and spans that could not be read. */
uint64_t store_cursor_expired_spans(const struct store_cursor *cursor);
uint64_t store_cursor_lost_spans(const struct store_cursor *cursor);
/* Spans that were passed over because they do not leave. */
uint64_t store_cursor_sampled_out_spans(const struct store_cursor *cursor);

#define STORE_CURSOR_READS_MAX 16 /* read and neither passed on nor given up, of all tenants */

/* Owned by the caller, in use until done; one at a time per cursor.  The next one goes on behind it
 * without waiting for what was read to be passed on. */
struct store_cursor_read {
    size_t tenant;
    uint64_t spans_max, bytes_max; /* ends in front of what would exceed them, but takes one */
    struct fm_buf *otlp;           /* canonical OTLP is appended, in a job */
    /* FM_OK; FM_NONE: nothing was there; FM_ENOMEM, FM_EIO: nothing was read, try again later. */
    void (*done)(struct store_cursor_read *read, int rc);
    void *self;

    uint64_t span_count;
    uint64_t newest_unix_ns; /* when the last of it was received; of a block: when sealed */
    struct store_place end;  /* to advance to, when it was passed on */
    struct fm_why why;
};
void store_cursor_read(struct store_cursor *cursor, struct store_cursor_read *read);
/* Nothing will be read for a while: lets go of what reading on would have spared.  Not while a read
 * is under way. */
void store_cursor_rest(struct store_cursor *cursor);
/* What was read last of the tenant is given up, and read again. */
void store_cursor_rewind(struct store_cursor *cursor, size_t tenant);

#endif
