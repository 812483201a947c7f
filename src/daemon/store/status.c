/* SPDX-License-Identifier: Apache-2.0 */
/* status - numbers about the store for people and for Prometheus. */
#include <stdio.h>

#include "fermata/store_outbox.h"
#include "internal.h"

static void status_count_log(const struct store *store, struct store_status *status)
{
    const struct fm_link *lists[] = {&store->segments, &store->spares, &store->keep.going};
    /* While housekeeping runs, the last list is in its hands. */
    size_t count = FM_COUNT(lists) - (store->keep.sm.state == KEEP_RUNNING);
    status->wal_segments = store->log.handed_count;
    status->wal_bytes = store->log.handed_count * store->options.segment_bytes;
    for (size_t i = 0; i < count; i++) {
        for (struct fm_link *link = lists[i]->next; link != lists[i]; link = link->next) {
            status->wal_bytes += FM_CONTAINER(link, struct segment, link)->file_bytes;
            status->wal_segments++;
        }
    }
}

void store_get_status(const struct store *store, struct store_status *ret_status)
{
    struct store_status status = {
        .head_memory_bytes = store->head_memory_bytes,
        .blocks_quarantined = metric_get(&store->metrics.blocks_quarantined),
        .blocks_bytes = blocks_bytes(store),
        .quota_bytes = store_quota_bytes(store),
        .free_bytes = store->space.free_bytes,
        .replay_records = metric_get(&store->metrics.replay_records),
        .replay_holes = metric_get(&store->metrics.replay_holes),
        .replay_ns = metric_get(&store->metrics.replay_ns),
        .is_read_only = store->is_full || store->log.sm.state == LOG_FAILED,
    };
    status_count_log(store, &status);
    for (size_t i = 0; i < store->tenant_count; i++) {
        status.head_records += store->tenants[i]->record_count;
        status.head_spans += store->tenants[i]->span_count;
    }
    for (struct fm_link *link = store->blocks.next; link != &store->blocks; link = link->next) {
        const struct block_entry *entry = FM_CONTAINER(link, struct block_entry, link);
        status.blocks_sealed++;
        status.blocks_uploaded += block_entry_is_settled(entry); /* or nothing of it leaves */
        status.block_spans += entry->block.span_count;
    }
    status.used_bytes =
        status.blocks_bytes + status.wal_bytes + store->outbox.bytes + store->keep.quarantine_bytes;
    memcpy(status.problem, store->problem, sizeof status.problem);
    *ret_status = status;
}

struct status_line { /* one label value of a family */
    const char *labels;
    const metric *value;
};

static void status_put_family(struct fm_buf *out, const char *name, const char *help,
                              const struct status_line *lines, size_t count)
{
    metric_family(out, name, "counter", help);
    for (size_t i = 0; i < count; i++)
        metric_line(out, name, lines[i].labels, metric_get(lines[i].value));
}

static void status_put_log(const struct store *store, const struct store_status *status,
                           struct fm_buf *out)
{
    const struct store_metrics *metrics = &store->metrics;
    const struct status_line refused[] = {
        {"reason=\"pending\"", &metrics->refused_pending},
        {"reason=\"space\"", &metrics->refused_space},
        {"reason=\"disk\"", &metrics->refused_disk},
        {"reason=\"other\"", &metrics->refused_other},
    };
    metric_gauge(out, "fermata_wal_bytes", "Bytes of the log's files.", status->wal_bytes);
    metric_gauge(out, "fermata_wal_segments", "Files of the log.", status->wal_segments);
    metric_histogram_put(out, "fermata_wal_sync_seconds", "Duration of the log's syncs.",
                         &metrics->sync_seconds);
    metric_counter(out, "fermata_wal_written_bytes_total", "Bytes written to the log.",
                   &metrics->written_bytes);
    metric_counter(out, "fermata_wal_sync_failures_total", "Failed syncs of the log.",
                   &metrics->sync_failures);
    metric_counter(out, "fermata_wal_groups_total", "Groups of appends written together.",
                   &metrics->group_count);
    metric_counter(out, "fermata_wal_records_total", "Records written.", &metrics->record_count);
    metric_counter(out, "fermata_store_appended_spans_total", "Spans stored and acknowledged.",
                   &metrics->appended_spans);
    metric_counter(out, "fermata_store_appended_bytes_total", "Bytes of OTLP stored.",
                   &metrics->appended_bytes);
    status_put_family(out, "fermata_store_refused_spans_total",
                      "Spans refused in a retryable way, by reason.", refused, FM_COUNT(refused));
    metric_gauge(out, "fermata_store_read_only", "1 while appends are refused.",
                 status->is_read_only);
}

static void status_put_blocks(const struct store *store, const struct store_status *status,
                              struct fm_buf *out)
{
    const struct store_metrics *metrics = &store->metrics;
    const struct status_line blocks[] = {
        {"state=\"sealed\"", &metrics->blocks_sealed},
        {"state=\"uploaded\"", &metrics->blocks_uploaded},
        {"state=\"quarantined\"", &metrics->blocks_quarantined},
        {"state=\"expired\"", &metrics->blocks_expired},
        {"state=\"dropped\"", &metrics->blocks_dropped},
    };
    metric_gauge(out, "fermata_head_spans", "Spans that are in no block yet.", status->head_spans);
    metric_gauge(out, "fermata_head_records", "Records that are in no block yet.",
                 status->head_records);
    metric_gauge(out, "fermata_head_memory_bytes", "Memory of the head's index.",
                 status->head_memory_bytes);
    status_put_family(out, "fermata_blocks_total", "Blocks that came to a state.", blocks,
                      FM_COUNT(blocks));
    metric_gauge(out, "fermata_blocks", "Blocks on disk.", status->blocks_sealed);
    metric_gauge(out, "fermata_blocks_waiting", "Blocks on disk that are not uploaded.",
                 status->blocks_sealed - status->blocks_uploaded);
    metric_gauge(out, "fermata_blocks_bytes", "Bytes of the blocks on disk.", status->blocks_bytes);
    metric_counter(out, "fermata_block_spans_total", "Spans put into blocks.",
                   &metrics->block_spans);
    metric_counter(out, "fermata_block_failures_total", "Failed attempts to build a block.",
                   &metrics->block_failures);
    metric_histogram_put(out, "fermata_block_build_seconds", "Duration of block builds.",
                         &metrics->build_seconds);
    metric_counter(out, "fermata_store_dropped_spans_total", "Spans deleted to make room.",
                   &metrics->dropped_spans);
    metric_counter(out, "fermata_store_lost_spans_total", "Spans that damage made unreadable.",
                   &metrics->lost_spans);
    metric_counter(out, "fermata_store_lost_records_total", "Records that damage made unreadable.",
                   &metrics->lost_records);
}

static void status_put_upkeep(const struct store *store, struct fm_buf *out)
{
    const struct store_metrics *metrics = &store->metrics;
    metric_gauge(out, "fermata_store_quota_bytes", "Quota of log and blocks; 0: none.",
                 store_quota_bytes(store));
    metric_gauge(out, "fermata_store_free_inodes", "Free inodes of the file system.",
                 store->space.free_inodes);
    metric_counter(out, "fermata_merges_total", "Merges of small blocks.", &metrics->merges);
    metric_counter(out, "fermata_merged_blocks_total", "Blocks that became part of another.",
                   &metrics->merged_blocks);
    metric_counter(out, "fermata_merge_failures_total", "Merges that failed.",
                   &metrics->merge_failures);
    metric_counter(out, "fermata_scrub_blocks_total", "Blocks that were read again.",
                   &metrics->scrub_blocks);
    metric_counter(out, "fermata_scrub_bytes_total", "Bytes read for that.", &metrics->scrub_bytes);
    metric_counter(out, "fermata_scrub_bad_blocks_total", "Blocks found damaged.",
                   &metrics->scrub_bad);
    metric_counter(out, "fermata_scrub_rebuilt_blocks_total", "Of these: made again from the log.",
                   &metrics->scrub_rebuilt);
    metric_counter(out, "fermata_scrub_unreadable_total", "Readings that the disk refused.",
                   &metrics->scrub_unreadable);
    metric_gauge(out, "fermata_quarantine_bytes", "Bytes in quarantine.",
                 store->keep.quarantine_bytes);
    metric_counter(out, "fermata_quarantine_removed_total", "What was removed from there.",
                   &metrics->quarantine_removed);
    metric_counter(out, "fermata_clock_jumps_total", "Jumps of the wall clock by over 2 seconds.",
                   &metrics->clock_jumps);
}

void store_put_dropped(const struct store *store, struct fm_buf *out)
{
    const struct store_metrics *metrics = &store->metrics;
    const struct status_line lines[] = {
        {"stage=\"storage\",reason=\"quota\"", &metrics->dropped_spans},
        {"stage=\"storage\",reason=\"age\"", &metrics->dropped_spans_age},
        {"stage=\"storage\",reason=\"corrupt\"", &metrics->dropped_spans_corrupt},
    };
    for (size_t i = 0; i < FM_COUNT(lines); i++)
        metric_line(out, "fermata_spans_dropped_total", lines[i].labels,
                    metric_get(lines[i].value));
}

static void status_put_lanes(struct fm_buf *out, const char *name, const char *help,
                             const uint64_t values[STORE_LANE_COUNT])
{
    metric_family(out, name, "gauge", help);
    for (unsigned i = 0; i < STORE_LANE_COUNT; i++) {
        char label[64];
        (void)snprintf(label, sizeof label, "lane=\"%s\"", store_lane_name((enum store_lane)i));
        metric_line(out, name, label, values[i]);
    }
}

static void status_put_outbox(const struct store *store, struct fm_buf *out)
{
    struct store_outbox_status status;
    store_outbox_get_status(store, &status);
    status_put_lanes(out, "fermata_outbox_blocks", "Blocks made to leave that have not.",
                     status.blocks);
    status_put_lanes(out, "fermata_outbox_spans", "Their spans.", status.spans);
    status_put_lanes(out, "fermata_outbox_bytes", "Their bytes.", status.bytes);
}

void store_put_metrics(const struct store *store, struct fm_buf *out)
{
    const struct store_metrics *metrics = &store->metrics;
    struct store_status status;
    store_get_status(store, &status);
    status_put_log(store, &status, out);
    status_put_blocks(store, &status, out);
    status_put_outbox(store, out);
    status_put_upkeep(store, out);
    metric_counter(out, "fermata_replay_records_total", "Records found at start.",
                   &metrics->replay_records);
    metric_counter(out, "fermata_replay_duplicates_total", "Batches found twice at start.",
                   &metrics->replay_duplicates);
    metric_counter(out, "fermata_replay_holes_total", "Damaged stretches found at start.",
                   &metrics->replay_holes);
    metric_counter(out, "fermata_replay_hole_bytes_total", "Bytes in damaged stretches.",
                   &metrics->replay_hole_bytes);
    metric_counter(out, "fermata_replay_segments_bad_total", "Log files that could not be read.",
                   &metrics->replay_segments_bad);
    metric_family(out, "fermata_replay_seconds", "gauge", "Duration of the replay at start.");
    metric_line_double(out, "fermata_replay_seconds", NULL,
                       (double)metric_get(&metrics->replay_ns) / (double)FM_NS_PER_S);
    metric_gauge(out, "fermata_store_used_bytes", "Bytes of log and blocks.", status.used_bytes);
    metric_gauge(out, "fermata_store_free_bytes", "Free bytes of the file system.",
                 status.free_bytes);
}
