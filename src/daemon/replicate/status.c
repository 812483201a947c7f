/* SPDX-License-Identifier: Apache-2.0 */
/* What the replicator says about itself. */
#include "internal.h"

#include <stdio.h>

#include "fermata/units.h"

static uint64_t replicator_oldest_unix_ns(const struct replicator *replicator)
{
    uint64_t oldest = UINT64_MAX;
    const struct fm_link *first = replicator->waiting.next;
    if (first != &replicator->waiting)
        oldest = FM_CONTAINER((struct fm_link *)(uintptr_t)first, struct pending, link)
                     ->block->sealed_unix_ns;
    for (size_t i = 0; i < UPLOADS_MAX; i++)
        if (replicator->uploads[i].pending)
            oldest = FM_MIN(oldest, replicator->uploads[i].pending->block->sealed_unix_ns);
    return oldest == UINT64_MAX ? 0 : oldest;
}

/* Blocks whose name the bucket has given to something else: they wait for a person. */
static uint64_t replicator_taken_blocks(const struct replicator *replicator)
{
    uint64_t count = 0;
    const struct fm_link *head = &replicator->waiting;
    for (struct fm_link *link = head->next; link != head; link = link->next)
        count += FM_CONTAINER(link, struct pending, link)->is_taken;
    return count;
}

void replicator_get_status(const struct replicator *replicator, struct replicator_status *ret)
{
    *ret = (struct replicator_status){
        .pending_blocks = replicator->pending_blocks,
        .pending_bytes = replicator->pending_bytes,
        .pending_spans = replicator->pending_spans,
        .uploaded_blocks = metric_get(&replicator->counters.blocks),
        .uploaded_bytes = metric_get(&replicator->counters.bytes),
        .uploading_blocks = replicator->active,
        .failures_total = metric_get(&replicator->counters.failures),
        .oldest_pending_unix_ns = replicator_oldest_unix_ns(replicator),
    };
    replicator->bucket->ops->describe(replicator->bucket, ret->destination,
                                      sizeof ret->destination);
    uint64_t taken = replicator_taken_blocks(replicator);
    if (replicator->problem[0])
        (void)snprintf(ret->problem, sizeof ret->problem, "%s", replicator->problem);
    else if (taken)
        (void)snprintf(ret->problem, sizeof ret->problem,
                       "the bucket holds different blocks under the names of %llu of ours",
                       (unsigned long long)taken);
}

void replicator_put_metrics(const struct replicator *replicator, struct fm_buf *out)
{
    const struct replicator_counters *counters = &replicator->counters;
    uint64_t oldest_ns = replicator_oldest_unix_ns(replicator);
    uint64_t now_ns = pf_wall_ns(replicator->platform);
    uint64_t lag_ns = oldest_ns && now_ns > oldest_ns ? now_ns - oldest_ns : 0;

    metric_gauge(out, "fermata_upload_pending_blocks", "Sealed blocks that the bucket lacks.",
                 replicator->pending_blocks);
    metric_gauge(out, "fermata_upload_pending_bytes", "Bytes of these blocks.",
                 replicator->pending_bytes);
    metric_gauge(out, "fermata_upload_pending_spans", "Spans of these blocks.",
                 replicator->pending_spans);
    metric_gauge(out, "fermata_upload_active_blocks", "Uploads at this moment.",
                 replicator->active);
    metric_gauge(out, "fermata_upload_conflicting_blocks",
                 "Blocks whose name on the bucket belongs to different content.",
                 replicator_taken_blocks(replicator));
    metric_family(out, "fermata_upload_lag_seconds", "gauge", "Age of the oldest of these blocks.");
    metric_line_double(out, "fermata_upload_lag_seconds", NULL, (double)lag_ns / FM_NS_PER_S);

    metric_family(out, "fermata_upload_requests_total", "counter",
                  "Answers of the bucket by what they mean.");
    for (unsigned i = 0; i < OUTCOME_COUNT; i++) {
        char label[64];
        (void)snprintf(label, sizeof label, "outcome=\"%s\"", s3_outcome_text((enum s3_outcome)i));
        metric_line(out, "fermata_upload_requests_total", label,
                    metric_get(&counters->requests[i]));
    }
    metric_counter(out, "fermata_upload_bytes_total", "Bytes of uploaded objects.",
                   &counters->bytes);
    metric_counter(out, "fermata_upload_blocks_total", "Blocks found or made whole on the bucket.",
                   &counters->blocks);
    metric_counter(out, "fermata_upload_failures_total",
                   "Attempts on a block that will be repeated.", &counters->failures);
    metric_counter(out, "fermata_upload_gone_blocks_total",
                   "Blocks that vanished from the local disk before the bucket had them.",
                   &counters->gone);
    replicator->bucket->ops->put_metrics(replicator->bucket, out);
}
