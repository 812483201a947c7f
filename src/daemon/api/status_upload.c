/* SPDX-License-Identifier: Apache-2.0 */
/* What /status says about uploads: what waits in which lane, what lets it go, how long it takes. */
#include "status_upload.h"

#include <inttypes.h>

#include "fermata/units.h"

static void put_number(struct json_writer *json, const char *key, uint64_t value)
{
    json_key(json, key);
    json_uint(json, value);
}

/* null: not known yet */
static void put_forecast(struct json_writer *json, const char *key, uint64_t value)
{
    json_key(json, key);
    if (value == UINT64_MAX)
        json_null(json);
    else
        json_uint(json, value);
}

static bool status_lane_is_open(const struct replicator_status *upload, unsigned lane)
{
    return upload->uplink.open_lanes >> lane & 1;
}

static void status_put_lanes_json(const struct replicator_status *upload, uint64_t wall_ns,
                                  struct json_writer *json)
{
    json_key(json, "lanes");
    json_array_begin(json);
    for (unsigned i = 0; i < UPLOAD_LANE_COUNT; i++) {
        const struct replicator_lane *lane = &upload->lanes[i];
        uint64_t oldest_ns = lane->oldest_unix_ns;
        bool has_lag = oldest_ns && wall_ns > oldest_ns;
        json_object_begin(json);
        json_key(json, "name");
        json_text(json, upload_lane_text((enum upload_lane)i));
        json_key(json, "open");
        json_bool(json, status_lane_is_open(upload, i));
        put_number(json, "blocks", lane->blocks);
        put_number(json, "bytes", lane->bytes);
        put_number(json, "spans", lane->spans);
        put_number(json, "lag_s", has_lag ? (wall_ns - oldest_ns) / FM_NS_PER_S : 0);
        put_number(json, "wire_bytes", upload->uplink.wire_bytes[i]);
        json_object_end(json);
    }
    json_array_end(json);
}

static void status_put_uplink_json(const struct uplink_status *uplink, struct json_writer *json)
{
    struct fm_buf time;
    json_key(json, "uplink");
    json_object_begin(json);
    put_number(json, "rate_bytes_per_s", uplink->rate);
    put_number(json, "burst_bytes", uplink->burst);
    put_number(json, "daily_quota_bytes", uplink->daily_quota);
    put_number(json, "daily_used_bytes", uplink->daily_used);
    put_number(json, "monthly_quota_bytes", uplink->monthly_quota);
    put_number(json, "monthly_used_bytes", uplink->monthly_used);
    put_number(json, "throttled_s", uplink->throttled_ns / FM_NS_PER_S);
    json_key(json, "window");
    json_text(json, uplink->window);
    fm_buf_init(&time, 64);
    if (uplink->next_change_unix_s < INT32_MAX * INT64_C(2))
        fm_rfc3339_print(&time, (uint64_t)uplink->next_change_unix_s * FM_NS_PER_S);
    fm_buf_put_u8(&time, '\0');
    json_key(json, "next_change");
    json_text(json, time.failed ? "" : (const char *)time.ptr);
    fm_buf_fini(&time);
    json_object_end(json);
}

void status_upload_put_json(const struct replicator_status *upload, uint64_t wall_ns,
                            struct json_writer *json)
{
    json_object_begin(json);
    json_key(json, "destination");
    json_text(json, upload->destination);
    put_number(json, "pending_blocks", upload->pending_blocks);
    put_number(json, "pending_bytes", upload->pending_bytes);
    put_number(json, "pending_spans", upload->pending_spans);
    put_number(json, "uploaded_blocks", upload->uploaded_blocks);
    put_number(json, "uploaded_bytes", upload->uploaded_bytes);
    put_number(json, "failures", upload->failures_total);
    put_forecast(json, "upload_bytes_per_s", upload->upload_bytes_per_s);
    put_forecast(json, "growth_bytes_per_s", upload->growth_bytes_per_s);
    put_forecast(json, "drain_s", upload->drain_s);
    put_forecast(json, "offline_budget_s", upload->offline_budget_s);
    status_put_lanes_json(upload, wall_ns, json);
    status_put_uplink_json(&upload->uplink, json);
    json_key(json, "problem");
    json_text(json, upload->problem);
    json_object_end(json);
}

/* ---- text ---- */

static void put_bytes(struct fm_buf *out, const char *label, uint64_t bytes)
{
    fm_buf_puts(out, label);
    fm_bytes_print_short(out, bytes);
}

static void status_put_limits_text(const struct replicator_status *upload, struct fm_buf *out)
{
    const struct uplink_status *uplink = &upload->uplink;
    if (uplink->rate) {
        fm_buf_puts(out, "  uplink   at most ");
        fm_rate_print(out, uplink->rate);
        fm_buf_printf(out, "/s%s%s\n", uplink->window[0] ? ", window " : "", uplink->window);
    }
    if (uplink->daily_quota) {
        put_bytes(out, "  quota    ", uplink->daily_used);
        put_bytes(out, " of ", uplink->daily_quota);
        fm_buf_puts(out, " used today\n");
    }
    if (uplink->monthly_quota) {
        put_bytes(out, "  quota    ", uplink->monthly_used);
        put_bytes(out, " of ", uplink->monthly_quota);
        fm_buf_puts(out, " used this month\n");
    }
    if (upload->drain_s && upload->drain_s != UINT64_MAX)
        fm_buf_printf(out, "  drain    %" PRIu64 " s of sending\n", upload->drain_s);
    if (upload->offline_budget_s != UINT64_MAX)
        fm_buf_printf(out, "  offline  room for %" PRIu64 " h\n", upload->offline_budget_s / 3600);
}

void status_upload_put_text(const struct replicator_status *upload, struct fm_buf *out)
{
    fm_buf_printf(out, "  upload   %s: %" PRIu64 " blocks done, %" PRIu64 " waiting",
                  upload->destination, upload->uploaded_blocks, upload->pending_blocks);
    put_bytes(out, " (", upload->pending_bytes);
    fm_buf_puts(out, ")\n");
    for (unsigned i = 0; i < UPLOAD_LANE_COUNT; i++) {
        if (!upload->lanes[i].blocks && status_lane_is_open(upload, i))
            continue;
        fm_buf_printf(out, "  lane     %s: %" PRIu64 " blocks%s\n",
                      upload_lane_text((enum upload_lane)i), upload->lanes[i].blocks,
                      status_lane_is_open(upload, i) ? "" : ", closed now");
    }
    status_put_limits_text(upload, out);
    if (upload->problem[0])
        fm_buf_printf(out, "  problem  %s\n", upload->problem);
}
