/* SPDX-License-Identifier: Apache-2.0 */
#include "clock.h"

#include <stdlib.h>

#include "fermata/units.h"

#define CLOCK_TRUST_S INT64_C(86400) /* a server that is further away than that is wrong itself */
#define CLOCK_DRIFT_S INT64_C(120)   /* servers refuse what is fifteen minutes off */
#define CLOCK_SKEW_S  INT64_C(300)   /* less is not what a refusal is about */
#define CLOCK_SET_S   INT64_C(1704067200) /* 2024-01-01, when there was no fermata yet */

static int64_t clock_wall_s(const struct bucket_clock *clock)
{
    return (int64_t)(pf_wall_ns(clock->platform) / FM_NS_PER_S);
}

int64_t bucket_clock_now_s(const struct bucket_clock *clock)
{
    return clock_wall_s(clock) + clock->offset_s;
}

static bool clock_is_set(const struct bucket_clock *clock)
{
    return clock_wall_s(clock) >= CLOCK_SET_S;
}

int bucket_clock_check(const struct bucket_clock *clock, struct fm_why *why)
{
    if (clock_is_set(clock))
        return FM_OK;
    struct fm_buf text;
    fm_buf_init(&text, 64);
    fm_rfc3339_print(&text, (uint64_t)clock_wall_s(clock) * FM_NS_PER_S);
    int rc =
        fm_fail(why, FM_EUNAVAILABLE, "this node's clock was never set, it says %.*s: uploads wait",
                (int)text.len, (const char *)text.ptr);
    fm_buf_fini(&text);
    return rc;
}

static void clock_set(struct bucket_clock *clock, int64_t offset_s)
{
    log_warn("upload.clock",
             "offset_s=%lld was_s=%lld why=\"the bucket's clock differs from ours\"",
             (long long)offset_s, (long long)clock->offset_s);
    clock->offset_s = offset_s;
}

void bucket_clock_measure(struct bucket_clock *clock, int64_t date_unix_s)
{
    if (!date_unix_s)
        return;
    clock->measured_s = date_unix_s - clock_wall_s(clock);
    bool believable = llabs(clock->measured_s) <= CLOCK_TRUST_S;
    if (believable && llabs(clock->measured_s - clock->offset_s) > CLOCK_DRIFT_S)
        clock_set(clock, clock->measured_s);
}

bool bucket_clock_adopt(struct bucket_clock *clock, int64_t date_unix_s)
{
    int64_t offset_s = date_unix_s - clock_wall_s(clock);
    if (!date_unix_s || llabs(offset_s) > CLOCK_TRUST_S)
        return false;
    clock->measured_s = offset_s;
    if (offset_s != clock->offset_s)
        clock_set(clock, offset_s);
    return true;
}

bool bucket_clock_explains(struct bucket_clock *clock, int64_t date_unix_s)
{
    int64_t offset_s = date_unix_s - clock_wall_s(clock);
    return llabs(offset_s - clock->offset_s) > CLOCK_SKEW_S &&
           bucket_clock_adopt(clock, date_unix_s);
}

void bucket_clock_put_metrics(const struct bucket_clock *clock, struct fm_buf *out)
{
    metric_family(out, "fermata_clock_offset_seconds", "gauge",
                  "The bucket's clock minus ours, by its last answer.");
    metric_line_double(out, "fermata_clock_offset_seconds", NULL, (double)clock->measured_s);
    metric_gauge(out, "fermata_clock_unset", "1: this node's clock was never set, uploads wait.",
                 !clock_is_set(clock));
}
