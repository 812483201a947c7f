/* SPDX-License-Identifier: Apache-2.0 */
/* What the replicator says about itself. */
#include "internal.h"

#include <stdio.h>

#include "fermata/units.h"

#define STATUS_UNKNOWN UINT64_MAX

/* ---- what waits ---- */

struct status_look {
    const struct replicator *replicator;
    uint64_t wall_ns;
    struct replicator_lane lanes[UPLOAD_LANE_COUNT];
    uint64_t taken_blocks; /* their name on the bucket is something else's */
    uint64_t local_bytes;  /* of blocks that are not only made to leave */
};

static void status_count(struct status_look *look, const struct store_block *block,
                         enum upload_lane index)
{
    struct replicator_lane *lane = &look->lanes[index];
    if (!lane->blocks++ || block->sealed_unix_ns < lane->oldest_unix_ns)
        lane->oldest_unix_ns = block->sealed_unix_ns;
    lane->bytes += block->meta.size_bytes;
    lane->spans += block->span_count;
    if (!block->is_outgoing)
        look->local_bytes += block->meta.size_bytes;
}

static void status_visit(void *self, struct pending *pending)
{
    struct status_look *look = self;
    look->taken_blocks += pending->is_taken;
    status_count(look, pending->block, lanes_of(look->replicator, pending->block, look->wall_ns));
}

static void status_look(const struct replicator *replicator, struct status_look *look)
{
    *look =
        (struct status_look){.replicator = replicator, .wall_ns = pf_wall_ns(replicator->platform)};
    lanes_each(&replicator->lanes, status_visit, look);
    for (size_t i = 0; i < UPLOADS_MAX; i++)
        if (replicator->uploads[i].pending)
            status_count(look, replicator->uploads[i].pending->block, replicator->uploads[i].lane);
}

/* ---- forecasts ---- */

static uint64_t status_drain_s(const struct replicator *replicator, uint64_t bytes_per_s)
{
    if (!replicator->pending_bytes)
        return 0;
    if (bytes_per_s == STATUS_UNKNOWN || !bytes_per_s)
        return STATUS_UNKNOWN;
    return replicator->pending_bytes / bytes_per_s + 1;
}

/* Room on the disk, and what uploaded blocks hold of it, over what comes. */
static uint64_t status_offline_s(const struct replicator *replicator, uint64_t local_bytes,
                                 uint64_t growth_bytes_per_s)
{
    struct store_status store;
    if (growth_bytes_per_s == STATUS_UNKNOWN || !growth_bytes_per_s)
        return STATUS_UNKNOWN;
    store_get_status(replicator->store, &store);
    uint64_t room = store.free_bytes - FM_MIN(store.free_bytes, replicator->options.free_bytes_min);
    if (store.quota_bytes)
        room = FM_MIN(room, store.quota_bytes - FM_MIN(store.quota_bytes, store.used_bytes));
    room += store.blocks_bytes - FM_MIN(store.blocks_bytes, local_bytes);
    return room / growth_bytes_per_s;
}

static void status_forecast(const struct replicator *replicator, const struct status_look *look,
                            struct replicator_status *ret)
{
    uint64_t now_ns = pf_now_ns(replicator->platform);
    ret->upload_bytes_per_s = rates_upload(&replicator->rates, now_ns);
    if (ret->uplink.rate && ret->upload_bytes_per_s != STATUS_UNKNOWN)
        ret->upload_bytes_per_s = FM_MIN(ret->upload_bytes_per_s, ret->uplink.rate);
    ret->growth_bytes_per_s = store_growth(replicator->store);
    ret->drain_s = status_drain_s(replicator, ret->upload_bytes_per_s);
    ret->offline_budget_s =
        status_offline_s(replicator, look->local_bytes, ret->growth_bytes_per_s);
}

/* ---- status ---- */

static void status_fill(const struct replicator *replicator, const struct status_look *look,
                        struct replicator_status *ret)
{
    *ret = (struct replicator_status){
        .pending_blocks = replicator->pending_blocks,
        .pending_bytes = replicator->pending_bytes,
        .pending_spans = replicator->pending_spans,
        .uploaded_blocks = metric_get(&replicator->counters.blocks),
        .uploaded_bytes = metric_get(&replicator->counters.bytes),
        .uploading_blocks = replicator->active,
        .failures_total = metric_get(&replicator->counters.failures),
    };
    for (unsigned i = 0; i < UPLOAD_LANE_COUNT; i++) {
        ret->lanes[i] = look->lanes[i];
        uint64_t oldest_ns = look->lanes[i].oldest_unix_ns;
        if (oldest_ns && (!ret->oldest_pending_unix_ns || oldest_ns < ret->oldest_pending_unix_ns))
            ret->oldest_pending_unix_ns = oldest_ns;
    }
    uplink_get_status(replicator->uplink, &ret->uplink);
    status_forecast(replicator, look, ret);
}

void replicator_get_status(const struct replicator *replicator, struct replicator_status *ret)
{
    struct status_look look;
    status_look(replicator, &look);
    status_fill(replicator, &look, ret);
    replicator->bucket->ops->describe(replicator->bucket, ret->destination,
                                      sizeof ret->destination);
    if (replicator->problem[0])
        (void)snprintf(ret->problem, sizeof ret->problem, "%s", replicator->problem);
    else if (look.taken_blocks)
        (void)snprintf(ret->problem, sizeof ret->problem,
                       "the bucket holds different blocks under the names of %llu of ours",
                       (unsigned long long)look.taken_blocks);
}

/* ---- metrics ---- */

static const char *status_label(char label[48], enum upload_lane lane)
{
    (void)snprintf(label, 48, "lane=\"%s\"", upload_lane_text(lane));
    return label;
}

static void status_put_lanes(const struct replicator_status *status, uint64_t wall_ns,
                             struct fm_buf *out)
{
    static const struct {
        const char *name, *type, *help;
    } families[] = {
        {"fermata_upload_backlog_blocks", "gauge", "Sealed blocks that the bucket lacks, by lane."},
        {"fermata_upload_backlog_bytes", "gauge", "Bytes of these blocks."},
        {"fermata_upload_backlog_spans", "gauge", "Spans of these blocks."},
        {"fermata_upload_lane_open", "gauge", "0 while no window lets the lane upload."},
        {"fermata_upload_wire_bytes_total", "counter", "Bytes over the uplink, both directions."},
    };
    char label[48];
    for (size_t family = 0; family < FM_COUNT(families); family++) {
        metric_family(out, families[family].name, families[family].type, families[family].help);
        for (unsigned i = 0; i < UPLOAD_LANE_COUNT; i++) {
            const struct replicator_lane *lane = &status->lanes[i];
            const uint64_t values[] = {lane->blocks, lane->bytes, lane->spans,
                                       status->uplink.open_lanes >> i & 1,
                                       status->uplink.wire_bytes[i]};
            metric_line(out, families[family].name, status_label(label, (enum upload_lane)i),
                        values[family]);
        }
    }
    metric_family(out, "fermata_upload_lag_seconds", "gauge", "Age of the oldest of these blocks.");
    for (unsigned i = 0; i < UPLOAD_LANE_COUNT; i++) {
        uint64_t oldest_ns = status->lanes[i].oldest_unix_ns;
        uint64_t lag_ns = oldest_ns && wall_ns > oldest_ns ? wall_ns - oldest_ns : 0;
        metric_line_double(out, "fermata_upload_lag_seconds",
                           status_label(label, (enum upload_lane)i), (double)lag_ns / FM_NS_PER_S);
    }
}

static void status_put_quotas(const struct uplink_status *uplink, struct fm_buf *out)
{
    if (!uplink->daily_quota && !uplink->monthly_quota)
        return;
    metric_family(out, "fermata_upload_quota_bytes", "gauge", "Allowed in this day and month.");
    if (uplink->daily_quota)
        metric_line(out, "fermata_upload_quota_bytes", "period=\"day\"", uplink->daily_quota);
    if (uplink->monthly_quota)
        metric_line(out, "fermata_upload_quota_bytes", "period=\"month\"", uplink->monthly_quota);
    metric_family(out, "fermata_upload_quota_used_bytes", "gauge", "Used of it.");
    if (uplink->daily_quota)
        metric_line(out, "fermata_upload_quota_used_bytes", "period=\"day\"", uplink->daily_used);
    if (uplink->monthly_quota)
        metric_line(out, "fermata_upload_quota_used_bytes", "period=\"month\"",
                    uplink->monthly_used);
}

static void status_put_forecasts(const struct replicator_status *status, struct fm_buf *out)
{
    metric_gauge(out, "fermata_upload_rate_limit_bytes", "A second, at this moment; 0: none.",
                 status->uplink.rate);
    metric_family(out, "fermata_upload_throttled_seconds_total", "counter",
                  "Time in which an upload waited because of the rate.");
    metric_line_double(out, "fermata_upload_throttled_seconds_total", NULL,
                       (double)status->uplink.throttled_ns / FM_NS_PER_S);
    if (status->drain_s != STATUS_UNKNOWN)
        metric_gauge(out, "fermata_upload_drain_seconds",
                     "Of sending, until nothing waits, as fast as it has gone so far.",
                     status->drain_s);
    if (status->offline_budget_s != STATUS_UNKNOWN)
        metric_gauge(out, "fermata_offline_budget_seconds",
                     "Until the room on disk is used if nothing can be uploaded.",
                     status->offline_budget_s);
}

static void status_put_counters(const struct replicator *replicator, struct fm_buf *out)
{
    const struct replicator_counters *counters = &replicator->counters;
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
}

void replicator_put_metrics(const struct replicator *replicator, struct fm_buf *out)
{
    struct replicator_status status;
    struct status_look look;
    status_look(replicator, &look);
    status_fill(replicator, &look, &status);
    metric_gauge(out, "fermata_upload_pending_blocks", "Sealed blocks that the bucket lacks.",
                 status.pending_blocks);
    metric_gauge(out, "fermata_upload_pending_bytes", "Bytes of these blocks.",
                 status.pending_bytes);
    metric_gauge(out, "fermata_upload_pending_spans", "Spans of these blocks.",
                 status.pending_spans);
    metric_gauge(out, "fermata_upload_active_blocks", "Uploads at this moment.",
                 status.uploading_blocks);
    metric_gauge(out, "fermata_upload_conflicting_blocks",
                 "Blocks whose name on the bucket belongs to different content.",
                 look.taken_blocks);
    status_put_lanes(&status, look.wall_ns, out);
    status_put_forecasts(&status, out);
    status_put_quotas(&status.uplink, out);
    status_put_counters(replicator, out);
    replicator->bucket->ops->put_metrics(replicator->bucket, out);
}
