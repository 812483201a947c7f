/* SPDX-License-Identifier: Apache-2.0 */
/* telemetry - what the daemon says about itself: log lines and Prometheus text.
 *
 * One log line is one event: a dotted name that never changes, then key=value fields.  Lines go to
 * stderr with a journald priority (or plain on a terminal).  Thread-safe.  At most 10 lines a
 * second per event name; what was left out is counted in the next line.
 */
#ifndef FERMATA_TELEMETRY_H
#define FERMATA_TELEMETRY_H

#include <stdatomic.h>

#include "fermata/base.h"
#include "fermata/platform.h"

enum log_level { LOG_LEVEL_ERROR = 3, LOG_LEVEL_WARN = 4, LOG_LEVEL_INFO = 6, LOG_LEVEL_DEBUG = 7 };

FM_MUST int log_level_parse(struct fm_slice text, enum log_level *ret_level);
/* format: "logfmt" or "json"; clock may be NULL (then no rate limit). */
void log_setup(enum log_level level, bool json, struct platform *clock);
void log_write(enum log_level level, const char *event, const char *format, ...) FM_PRINTF(3, 4);
#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* Counters and gauges are plain atomics inside the objects that count. */
typedef _Atomic uint64_t metric;
static inline void metric_add(metric *value, uint64_t n)
{
    atomic_fetch_add_explicit(value, n, memory_order_relaxed);
}
static inline void metric_set(metric *value, uint64_t n)
{
    atomic_store_explicit(value, n, memory_order_relaxed);
}
static inline uint64_t metric_get(const metric *value)
{
    return atomic_load_explicit((metric *)(uintptr_t)value, memory_order_relaxed);
}

/* Latency histogram: 1-2-5 buckets from 10 us to 10 s, plus sum and count. */
#define METRIC_BUCKETS 19
struct metric_histogram {
    metric buckets[METRIC_BUCKETS + 1];
    metric sum_ns;
};
void metric_observe(struct metric_histogram *histogram, uint64_t ns);

/* Prometheus text format 0.0.4.  family once per name, then one line per label set; labels is the
 * inside of the braces ("state=\"sealed\"") or NULL.  Label values come from enums only. */
void metric_family(struct fm_buf *out, const char *name, const char *type, const char *help);
void metric_line(struct fm_buf *out, const char *name, const char *labels, uint64_t value);
void metric_line_double(struct fm_buf *out, const char *name, const char *labels, double value);
/* Family and lines of a counter or gauge without labels. */
void metric_counter(struct fm_buf *out, const char *name, const char *help, const metric *value);
void metric_gauge(struct fm_buf *out, const char *name, const char *help, uint64_t value);
void metric_histogram_put(struct fm_buf *out, const char *name, const char *help,
                          const struct metric_histogram *histogram); /* seconds */

#endif
