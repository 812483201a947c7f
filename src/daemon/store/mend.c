/* SPDX-License-Identifier: Apache-2.0 */
/* mend - a block that the disk has damaged, and that has not left, is made again from the log, as
 * long as the log holds all of its records.
 *
 * MEND-1  What is made is the same block: its id follows from range and records (BUILD-1), its
 *         spans are as many.  Else nothing is changed.
 * MEND-2  The damaged one goes to quarantine/ only when the new one is verified; a crash in between
 *         leaves its records in no block, and they are cut again.
 */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

struct mend_record {
    uint8_t batch_id[16];
    struct head_record record;
};

struct mend_scan { /* of one segment */
    struct mend *mend;
    struct segment *segment;
    struct fm_buf *found; /* struct mend_record, by LSN */
};

/* ---- the job ---- */

static int mend_on_record(void *self, const struct wal_segment *segment, uint64_t offset,
                          const struct wal_record *record)
{
    const struct mend_scan *scan = self;
    const struct store_block *block = &scan->mend->entry->block;
    (void)segment;
    if (scan->mend->cut.is_cancelled)
        return FM_ECANCELLED;
    if (record->type != WAL_SPANS || record->lsn < block->first_lsn ||
        record->lsn > block->last_lsn || !fm_slice_equal_text(record->tenant, block->meta.tenant))
        return FM_OK;
    struct mend_record found = {
        .record =
            {
                .lsn = record->lsn,
                .segment = scan->segment,
                .received_unix_ns = record->received_unix_ns,
                .offset = (uint32_t)offset,
                .size = (uint32_t)record->stored_crc_bytes,
                .span_count = record->span_count,
                .payload_bytes = record->payload_bytes,
            },
    };
    memcpy(found.batch_id, record->batch_id, sizeof found.batch_id);
    fm_buf_put(scan->found, &found, sizeof found);
    return scan->found->failed ? FM_ENOMEM : FM_OK;
}

static int mend_on_hole(void *self, uint64_t offset, uint64_t len)
{
    (void)self;
    (void)offset;
    (void)len;
    return FM_OK; /* what is missing is missing in the sum */
}

static int mend_scan_segment(struct mend *mend, struct segment *segment, struct fm_buf *found)
{
    struct mend_scan scan = {mend, segment, found};
    const struct wal_visitor visitor = {&scan, mend_on_record, mend_on_hole};
    struct store *store = mend->cut.store;
    struct wal_replay_result result;
    struct pf_source file;
    struct fm_source source;
    char path[STORE_PATH_BYTES];
    segment_path(store, segment, path);
    int rc = pf_source_open(&file, store->platform, path, &source, &mend->cut.why);
    if (rc < 0)
        return rc;
    rc = wal_replay(source, &visitor, &result, &mend->cut.why);
    pf_source_close(&file);
    return rc == FM_NONE || rc == FM_ECORRUPT ? FM_OK : rc;
}

/* Of a batch that was written twice the later copy counts; true: the record does. */
static bool mend_counts(const struct mend_record *records, size_t count, size_t index)
{
    for (size_t i = index + 1; i < count; i++)
        if (memcmp(records[i].batch_id, records[index].batch_id, sizeof records->batch_id) == 0)
            return false;
    return true;
}

static int mend_take(struct mend *mend, const struct mend_record *records, size_t count)
{
    uint64_t each = head_record_bytes(0), spans = 0;
    struct head_chunk *chunk = calloc(1, sizeof *chunk + count * each);
    mend->part.chunk = chunk;
    if (!chunk)
        return FM_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        struct head_record *record = (struct head_record *)(void *)(chunk->data + i * each);
        memcpy(record, &records[i].record, sizeof *record);
        record->is_dead = !mend_counts(records, count, i);
        spans += record->is_dead ? 0 : record->span_count;
    }
    mend->part.end = (uint32_t)(count * each);
    mend->cut.view.parts = &mend->part;
    mend->cut.view.part_count = 1;
    uint64_t want = ledger_account_spans(&mend->entry->block.account);
    if (!count || spans != want)
        return fm_fail(&mend->cut.why, FM_ENOTFOUND, "the log has %llu of its %llu spans",
                       (unsigned long long)spans, (unsigned long long)want);
    return FM_OK;
}

static int mend_collect(struct mend *mend)
{
    struct fm_buf found;
    int rc = FM_OK;
    fm_buf_init(&found, UINT32_MAX / 4);
    for (size_t i = 0; rc == FM_OK && i < mend->cut.view.segment_count; i++)
        rc = mend_scan_segment(mend, mend->cut.view.segments[i], &found);
    if (rc == FM_OK)
        rc = mend_take(mend, (const struct mend_record *)(const void *)found.ptr,
                       found.len / sizeof(struct mend_record));
    fm_buf_fini(&found);
    return rc;
}

static void mend_work(struct pf_job *job)
{
    struct mend *mend = FM_CONTAINER(job, struct mend, cut.job);
    mend->cut.why.text[0] = '\0';
    mend->cut.rc = mend_collect(mend);
    if (mend->cut.rc == FM_OK)
        cut_work(job);
}

/* ---- on the loop ---- */

/* What holds the damaged one goes on with it, and lets go of it some time. */
static void mend_replace(struct store *store, struct block_entry *old, struct block_entry *made)
{
    metric_add(&store->metrics.scrub_rebuilt, 1);
    log_info("scrub.rebuilt", "tenant=%s path=%s spans=%llu", old->block.meta.tenant,
             made->block.path, (unsigned long long)made->block.span_count);
    blocks_replace(store, old, made);
    if (store->observer.on_sealed)
        store->observer.on_sealed(store->observer.self, &made->block);
}

static void mend_on_made(struct pf_job *job)
{
    struct store *store = FM_CONTAINER(job, struct store, mend.cut.job);
    struct mend *mend = &store->mend;
    struct block_entry *entry = fm_take(mend->entry);
    struct block_entry *made = fm_take(mend->cut.entry);
    mend->cut.view.part_count = 0;
    mend->cut.view.parts = NULL;
    head_view_fini(store, &mend->cut.view);
    free(fm_take(mend->part.chunk));
    entry->is_merging = false;
    mend->is_running = false;
    if (made) {
        mend_replace(store, entry, made);
    } else if (mend->cut.rc != FM_ECANCELLED) {
        bool is_trouble =
            mend->cut.rc == FM_EIO || mend->cut.rc == FM_ENOMEM || mend->cut.rc == FM_ENOSPACE;
        entry->mend_attempts = is_trouble ? entry->mend_attempts + 1 : MEND_ATTEMPTS_MAX;
        log_warn("scrub.not_rebuilt", "path=%s why=\"%s\"", entry->block.path,
                 mend->cut.why.text[0] ? mend->cut.why.text : fm_rc_text(mend->cut.rc));
    }
    block_entry_unref(entry);
    scrub_look(store);
    store_finish_close(store);
}

bool mend_start(struct store *store, struct block_entry *entry)
{
    struct mend *mend = &store->mend;
    if (mend->is_running || store->is_closing || entry->mend_attempts >= MEND_ATTEMPTS_MAX)
        return mend->is_running && entry->mend_attempts < MEND_ATTEMPTS_MAX;
    *mend = (struct mend){
        .cut =
            {
                .job = {.work = mend_work, .done = mend_on_made, .lane = PF_LANE_IDLE},
                .store = store,
                .tenant = entry->tenant,
                .first_lsn = entry->block.first_lsn,
                .limit_lsn = entry->block.last_lsn,
                .replaces = entry,
            },
        .entry = entry,
    };
    if (head_view_pin(store, &mend->cut.view) < 0)
        return true; /* at the next look */
    block_entry_ref(entry);
    entry->is_merging = true;
    mend->is_running = true;
    pf_job_submit(store->platform, &mend->cut.job);
    return true;
}

void mend_fini(struct store *store)
{
    struct mend *mend = &store->mend;
    free(fm_take(mend->part.chunk));
    free(fm_take(mend->cut.view.segments));
    if (mend->cut.entry)
        mend->cut.entry = block_entry_free(store, mend->cut.entry);
}
