/* SPDX-License-Identifier: Apache-2.0 */
/* store_read - everything a snapshot holds, for questions that look at many traces: the records of
 * the head, one by one, and the blocks, opened.  Part of store.
 *
 * Facts cost nothing; what says "reads" blocks.  All on any thread, also several at once. */
#ifndef FERMATA_STORE_READ_H
#define FERMATA_STORE_READ_H

#include "fermata/store.h"

struct store_record { /* of the head; borrowed for the snapshot's life */
    uint64_t start_ns, end_ns;
    uint32_t span_count, payload_bytes;
    const uint64_t *trace_keys; /* trace_id_key of the traces that have spans in it */
    uint32_t trace_key_count;
    uint64_t lsn; /* its place in the log */
};
/* On the loop; numbers change as tenants come. */
size_t store_tenant_count(const struct store *store);
const char *store_tenant_name(const struct store *store, size_t index);

/* Records in the order they came; a non-zero result of visit ends it and is returned. */
typedef int store_visit_record(void *self, const struct store_record *record);
FM_MUST int store_snapshot_records(const struct store_snapshot *snapshot, store_visit_record *visit,
                                   void *self);

/* Reads those that wants says yes to (NULL: all) from the log; visit gets canonical OTLP.  A record
 * that cannot be read is counted and left out. */
struct store_head_reading {
    bool (*wants)(void *self, const struct store_record *record);
    int (*visit)(void *self, const struct store_record *record, struct fm_slice otlp);
    void *self;
};
FM_MUST int store_snapshot_read_head(const struct store_snapshot *snapshot,
                                     const struct store_head_reading *reading, uint64_t *ret_failed,
                                     struct fm_why *why);

size_t store_snapshot_block_count(const struct store_snapshot *snapshot);
const struct store_block *store_snapshot_block(const struct store_snapshot *snapshot, size_t index);

struct store_opened {
    const struct block *block;
    struct store_block_file *own; /* the store's */
};
/* Reads the block's footer, or finds it already open.  Only so many stay open between questions. */
FM_MUST int store_opened_init(struct store_opened *opened, const struct store_snapshot *snapshot,
                              size_t index, struct fm_why *why);
void store_opened_fini(struct store_opened *opened, const struct store_snapshot *snapshot);

#endif
