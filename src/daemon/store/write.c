/* SPDX-License-Identifier: Apache-2.0 */
/* write - the log's writer, on the WAL lane: one group of appends becomes records on disk.
 *
 *   encode all -> place each in a segment -> write run by run -> sync
 *
 * Rules:
 * WRITE-1  The bytes stay in `kept` until a sync that came after them succeeded.
 * WRITE-2  After any failed write or sync the segment is suspect: it is closed, never written or
 *          synced again, and everything in `kept` is placed again, once, in fresh segments, with
 *          the same batch ids.  Replay takes the last copy it finds.
 * WRITE-3  LSNs that were placed are used up, whether or not the write succeeded.
 * WRITE-4  A segment that is left behind in order ends with a SEAL record and is synced first.
 */
#include "internal.h"

#include <stdlib.h>

struct writer_run { /* bytes of kept that lie one behind the other in the active segment */
    size_t at;
    uint64_t bytes;
};

/* ---- encode ---- */

static struct log_entry *writer_new_entry(struct log_writer *writer)
{
    if (writer->entry_count == writer->entry_capacity) {
        size_t capacity = writer->entry_capacity ? writer->entry_capacity * 2 : 16;
        struct log_entry *grown = realloc(writer->entries, capacity * sizeof *grown);
        if (!grown)
            return NULL;
        writer->entries = grown;
        writer->entry_capacity = capacity;
    }
    struct log_entry *entry = &writer->entries[writer->entry_count++];
    *entry = (struct log_entry){.start_ns = UINT64_MAX};
    return entry;
}

/* How many appends from index on become one record: small ones of one tenant, up to a size. */
static size_t writer_run_length(const struct log_group *group, size_t index)
{
    const struct log_item *first = &group->items[index];
    size_t bytes = append_payload(first->append).len, count = 1;
    while (index + count < group->count) {
        const struct log_item *item = &group->items[index + count];
        bytes += append_payload(item->append).len;
        if (item->tenant != first->tenant || bytes > STORE_RUN_BYTES)
            break;
        count++;
    }
    return count;
}

/* Canonical OTLP joined with canonical OTLP is canonical OTLP. */
static int writer_join(struct log_writer *writer, size_t index, size_t count,
                       struct fm_slice *ret_payload)
{
    const struct log_item *items = &writer->group->items[index];
    if (count == 1) {
        *ret_payload = append_payload(items->append);
        return FM_OK;
    }
    fm_buf_reset(&writer->joined);
    for (size_t i = 0; i < count; i++)
        fm_buf_put_slice(&writer->joined, append_payload(items[i].append));
    if (writer->joined.failed)
        return FM_ENOMEM;
    *ret_payload = fm_buf_slice(&writer->joined);
    return FM_OK;
}

static int writer_encode_run(struct log_writer *writer, size_t index, size_t count,
                             size_t key_first)
{
    struct fm_slice payload;
    uint8_t receivers = 0;
    struct log_entry *entry = writer_new_entry(writer);
    int rc = entry ? writer_join(writer, index, count, &payload) : FM_ENOMEM;
    if (rc < 0)
        return rc;
    entry->at = writer->kept.len;
    entry->tenant = writer->group->items[index].tenant;
    entry->received_unix_ns = writer->group->items[index].append->received_unix_ns;
    entry->key_first = key_first;
    entry->append_count = (uint32_t)count;
    entry->payload_bytes = (uint32_t)payload.len;
    for (size_t i = 0; i < count; i++) {
        const struct store_append *append = writer->group->items[index + i].append;
        entry->key_count += append->trace_key_count;
        entry->span_count += append->span_count;
        receivers |= append->receivers;
        entry->start_ns = FM_MIN(entry->start_ns, append->start_min_ns);
        entry->end_ns = FM_MAX(entry->end_ns, append->end_max_ns);
    }
    struct wal_record record = {
        .type = WAL_SPANS,
        .span_count = entry->span_count,
        .received_unix_ns = entry->received_unix_ns,
        .tenant = fm_slice_text(entry->tenant->name),
    };
    fm_store_le64(record.batch_id, writer->batch_salt);
    fm_store_le64(record.batch_id + 8, ++writer->batch_count);
    record.batch_id[WAL_BATCH_RECEIVERS] = receivers;
    return wal_record_encode(NULL, &record, payload, writer->encoder, &writer->kept, &entry->size);
}

static int writer_encode(struct log_writer *writer)
{
    const struct log_group *group = writer->group;
    size_t kept_before = writer->kept.len, key_first = 0;
    for (size_t i = 0, count; i < group->count; i += count) {
        count = writer_run_length(group, i);
        int rc = writer_encode_run(writer, i, count, key_first);
        if (rc < 0) {
            writer->entry_count = writer->entry_first_new;
            writer->kept.len = kept_before;
            return rc;
        }
        key_first += writer->entries[writer->entry_count - 1].key_count;
    }
    return FM_OK;
}

/* ---- place and write ---- */

static int writer_sync(struct log_writer *writer)
{
    struct store *store = writer->store;
    uint64_t begin_ns = pf_now_ns(store->platform);
    int rc = store->platform->ops->sync(writer->active->file, &writer->why);
    metric_observe(&store->metrics.sync_seconds, pf_now_ns(store->platform) - begin_ns);
    metric_add(&store->metrics.sync_count, 1);
    if (rc < 0)
        metric_add(&store->metrics.sync_failures, 1);
    return rc;
}

/* The next segment: one of those made ready, or, for want of it or of its size, a new one. */
static int writer_use_segment(struct log_writer *writer, uint64_t record_bytes)
{
    struct store *store = writer->store;
    uint64_t least = WAL_HEADER_BYTES + record_bytes + WAL_SEAL_BYTES;
    struct segment *segment = NULL;
    if (writer->fresh_count && writer->fresh[writer->fresh_count - 1]->file_bytes >= least) {
        segment = writer->fresh[--writer->fresh_count];
    } else {
        uint64_t bytes = FM_MAX(store->options.segment_bytes, (least + 4095) & ~UINT64_C(4095));
        int rc = segment_make(store, bytes, writer->next_lsn, &segment, &writer->why);
        if (rc < 0)
            return rc;
    }
    segment->header.base_lsn = writer->next_lsn;
    segment->header.is_used = true;
    segment->header_is_written = false;
    fm_list_append(&writer->used, &segment->link);
    writer->active = segment;
    return FM_OK;
}

static int writer_make_seal(struct log_writer *writer)
{
    struct wal_record record = {.type = WAL_SEAL, .lsn = writer->next_lsn};
    uint64_t size;
    fm_buf_reset(&writer->seal);
    int rc = wal_record_encode(&writer->active->header, &record, fm_slice("", 0), NULL,
                               &writer->seal, &size);
    if (rc < 0)
        return rc;
    writer->next_lsn += size;
    return FM_OK;
}

/* One call of the disk: header if the segment is new, run, seal if it is left. */
static int writer_flush(struct log_writer *writer, struct writer_run *run, bool with_seal)
{
    struct segment *active = writer->active;
    struct fm_slice slices[3];
    size_t count = 0;
    uint64_t offset = active->end_offset, bytes = 0;
    if (!active->header_is_written) {
        wal_segment_encode(&active->header, writer->header);
        slices[count++] = fm_slice(writer->header, sizeof writer->header);
        offset = 0;
    }
    if (run->bytes)
        slices[count++] = fm_slice(writer->kept.ptr + run->at, (size_t)run->bytes);
    if (with_seal) {
        int rc = writer_make_seal(writer);
        if (rc < 0)
            return rc;
        slices[count++] = fm_buf_slice(&writer->seal);
    }
    for (size_t i = 0; i < count; i++)
        bytes += slices[i].len;
    if (bytes == 0)
        return FM_OK;
    int rc = writer->store->platform->ops->write(active->file, offset, slices, count, &writer->why);
    if (rc < 0)
        return rc;
    active->header_is_written = true;
    active->end_offset = offset + bytes;
    metric_add(&writer->store->metrics.written_bytes, bytes);
    run->bytes = 0;
    return FM_OK;
}

/* WRITE-4. */
static int writer_leave_segment(struct log_writer *writer, struct writer_run *run)
{
    int rc = writer_flush(writer, run, true);
    if (rc == FM_OK && writer->store->options.sync != STORE_SYNC_NONE)
        rc = writer_sync(writer);
    if (rc < 0)
        return rc;
    writer->active->file = pf_close(writer->store->platform, writer->active->file);
    writer->active = NULL;
    return FM_OK;
}

static bool writer_fits(const struct log_writer *writer, const struct writer_run *run,
                        uint64_t size)
{
    const struct segment *active = writer->active;
    return active->end_offset + run->bytes + size + WAL_SEAL_BYTES <= active->file_bytes;
}

static int writer_put(struct log_writer *writer, size_t first)
{
    struct writer_run run = {0};
    for (size_t i = first; i < writer->entry_count; i++) {
        struct log_entry *entry = &writer->entries[i];
        int rc = FM_OK;
        if (writer->active && !writer_fits(writer, &run, entry->size))
            rc = writer_leave_segment(writer, &run);
        if (rc == FM_OK && !writer->active)
            rc = writer_use_segment(writer, entry->size);
        if (rc < 0)
            return rc;
        if (run.bytes == 0)
            run.at = entry->at;
        entry->segment = writer->active;
        entry->offset = writer->active->end_offset + run.bytes;
        entry->lsn = writer->next_lsn;
        wal_record_place(&writer->active->header, entry->lsn, writer->kept.ptr + entry->at);
        writer->next_lsn += entry->size;
        run.bytes += entry->size;
    }
    return writer->active ? writer_flush(writer, &run, false) : FM_OK;
}

/* WRITE-2. */
static void writer_abandon(struct log_writer *writer)
{
    writer->must_rewrite = true;
    if (!writer->active)
        return;
    writer->active->is_suspect = true;
    writer->active->file = pf_close(writer->store->platform, writer->active->file);
    writer->active = NULL;
}

static bool writer_must_sync(const struct log_writer *writer)
{
    switch (writer->store->options.sync) {
    case STORE_SYNC_GROUP:
        return true;
    case STORE_SYNC_INTERVAL:
        return writer->wants_sync || writer->kept.len >= STORE_UNSYNCED_MAX;
    case STORE_SYNC_NONE:
        break;
    }
    return false;
}

static int writer_attempt(struct log_writer *writer)
{
    struct writer_run none = {0};
    int rc = writer_put(writer, writer->must_rewrite ? 0 : writer->entry_first_new);
    if (rc < 0)
        return rc;
    writer->is_synced = writer->store->options.sync == STORE_SYNC_NONE;
    if (writer->active && writer->wants_close) {
        rc = writer_leave_segment(writer, &none);
        writer->is_synced = rc == FM_OK;
    } else if (writer->active && writer_must_sync(writer)) {
        rc = writer_sync(writer);
        writer->is_synced = rc == FM_OK;
    }
    return rc;
}

void log_writer_work(struct pf_job *job)
{
    struct log_writer *writer = FM_CONTAINER(job, struct log_writer, job);
    writer->is_disk_failure = false;
    writer->is_synced = false;
    writer->why.text[0] = 0;
    writer->entry_first_new = writer->entry_count;
    size_t kept_before = writer->kept.len;
    writer->rc = writer_encode(writer);
    if (writer->rc < 0)
        return;
    writer->rc = writer_attempt(writer);
    if (writer->rc < 0) {
        writer_abandon(writer);
        writer->rc = writer_attempt(writer);
    }
    if (writer->rc == FM_OK) {
        writer->must_rewrite = false;
        return;
    }
    writer_abandon(writer);
    writer->is_disk_failure = true;
    writer->is_synced = false;
    writer->entry_count = writer->entry_first_new;
    writer->kept.len = kept_before;
}
