/* SPDX-License-Identifier: Apache-2.0 */
/* Prometheus text exposition, version 0.0.4. */
#include "fermata/telemetry.h"

#include <inttypes.h>

static const uint64_t bucket_limits_ns[METRIC_BUCKETS] = {
    10000,     20000,      50000,      100000,     200000,      500000,    1000000,
    2000000,   5000000,    10000000,   20000000,   50000000,    100000000, 200000000,
    500000000, 1000000000, 2000000000, 5000000000, 10000000000,
};

void metric_observe(struct metric_histogram *histogram, uint64_t ns)
{
    size_t bucket = 0;
    while (bucket < METRIC_BUCKETS && ns > bucket_limits_ns[bucket])
        bucket++;
    metric_add(&histogram->buckets[bucket], 1);
    metric_add(&histogram->sum_ns, ns);
}

void metric_family(struct fm_buf *out, const char *name, const char *type, const char *help)
{
    fm_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metric_line(struct fm_buf *out, const char *name, const char *labels, uint64_t value)
{
    if (labels)
        fm_buf_printf(out, "%s{%s} %" PRIu64 "\n", name, labels, value);
    else
        fm_buf_printf(out, "%s %" PRIu64 "\n", name, value);
}

void metric_line_double(struct fm_buf *out, const char *name, const char *labels, double value)
{
    if (labels)
        fm_buf_printf(out, "%s{%s} %.9g\n", name, labels, value);
    else
        fm_buf_printf(out, "%s %.9g\n", name, value);
}

void metric_counter(struct fm_buf *out, const char *name, const char *help, const metric *value)
{
    metric_family(out, name, "counter", help);
    metric_line(out, name, NULL, metric_get(value));
}

void metric_gauge(struct fm_buf *out, const char *name, const char *help, uint64_t value)
{
    metric_family(out, name, "gauge", help);
    metric_line(out, name, NULL, value);
}

void metric_histogram_put(struct fm_buf *out, const char *name, const char *help,
                          const struct metric_histogram *histogram)
{
    metric_family(out, name, "histogram", help);
    uint64_t count = 0;
    for (size_t i = 0; i < METRIC_BUCKETS; i++) {
        count += metric_get(&histogram->buckets[i]);
        fm_buf_printf(out, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name,
                      (double)bucket_limits_ns[i] / 1e9, count);
    }
    count += metric_get(&histogram->buckets[METRIC_BUCKETS]);
    fm_buf_printf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, count);
    fm_buf_printf(out, "%s_sum %.9g\n", name, (double)metric_get(&histogram->sum_ns) / 1e9);
    fm_buf_printf(out, "%s_count %" PRIu64 "\n", name, count);
}
