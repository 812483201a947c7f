/* SPDX-License-Identifier: Apache-2.0 */
/* exports - all exporters: life, numbers. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

int exports_new(struct exports **ret_exports, struct platform *platform, struct store *store)
{
    struct exports *exports = calloc(1, sizeof *exports);
    if (!exports)
        return FM_ENOMEM;
    exports->platform = platform;
    exports->store = store;
    *ret_exports = exports;
    return FM_OK;
}

void exports_set_rest(struct exports *exports, void (*on_rest)(void))
{
    exports->on_rest = on_rest;
}

static int exports_check(const struct exports *exports, const struct exporter_options *options,
                         size_t upstream_count, struct fm_why *why)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";
    size_t len = strlen(options->name);
    if (!len || len > EXPORT_NAME_MAX || strspn(options->name, allowed) != len)
        return fm_fail(why, FM_ECONFIG, "exporter \"%.40s\": a name has 1 to %d of a-z 0-9 _ -",
                       options->name, EXPORT_NAME_MAX);
    if (exports->count == EXPORTS_MAX)
        return fm_fail(why, FM_ECONFIG, "more than %d exporters", EXPORTS_MAX);
    if (!upstream_count || upstream_count > EXPORT_UPSTREAMS_MAX)
        return fm_fail(why, FM_ECONFIG, "exporter %s: 1 to %d endpoints", options->name,
                       EXPORT_UPSTREAMS_MAX);
    if (!options->requests_max || options->requests_max > EXPORT_REQUESTS_MAX)
        return fm_fail(why, FM_ECONFIG, "exporter %s: 1 to %d requests at a time", options->name,
                       EXPORT_REQUESTS_MAX);
    if (!options->batch_spans_max || !options->batch_bytes_max)
        return fm_fail(why, FM_ECONFIG, "exporter %s: a batch has room for a span", options->name);
    return FM_OK;
}

int exports_add(struct exports *exports, const struct exporter_options *options,
                struct upstream *const *upstreams, size_t count, struct fm_why *why)
{
    struct exporter *exporter = NULL;
    int rc = exports_check(exports, options, count, why);
    if (rc == FM_OK)
        rc = exporter_new(&exporter, exports, options, why);
    if (rc < 0) {
        for (size_t i = 0; i < count; i++)
            upstreams[i]->ops->free(upstreams[i]);
        return rc;
    }
    for (size_t i = 0; i < count; i++)
        exporter->upstreams[i].upstream = upstreams[i];
    exporter->upstream_count = (uint32_t)count;
    exports->exporters[exports->count++] = exporter;
    exporter_start(exporter);
    return FM_OK;
}

static struct exporter *exports_find(const struct exports *exports, const char *name)
{
    for (size_t i = 0; i < exports->count; i++) {
        if (strcmp(exports->exporters[i]->name, name) == 0)
            return exports->exporters[i];
    }
    return NULL;
}

int exports_change(struct exports *exports, const struct exporter_options *options,
                   const struct upstream_options *upstreams, size_t count, struct fm_why *why)
{
    struct exporter *exporter = exports_find(exports, options->name);
    if (!exporter)
        return FM_NONE;
    for (size_t i = 0; count == exporter->upstream_count && i < count; i++) {
        struct upstream *upstream = exporter->upstreams[i].upstream;
        struct upstream_options own = upstreams[i];
        own.protocol = exporter->options.protocol;
        int rc = upstream->ops->change ? upstream->ops->change(upstream, &own, why) : FM_OK;
        if (rc < 0)
            return fm_wrap(why, rc, "exporter %s", exporter->name);
    }
    exporter_change(exporter, options);
    return FM_OK;
}

/* ---- close ---- */

static void exports_on_timer(struct pf_timer *timer)
{
    struct exports *exports = FM_CONTAINER(timer, struct exports, timer);
    void (*done)(void *self) = exports->done;
    void *self = exports->self;
    for (size_t i = 0; i < exports->count; i++)
        exporter_free(exports->exporters[i], false);
    free(exports);
    done(self);
}

void exports_on_closed(struct exports *exports)
{
    exports->closed_count++;
    if (exports->is_closing && exports->closed_count == exports->count)
        pf_timer_start(exports->platform, &exports->timer, 0); /* not from inside a step */
}

void exports_close(struct exports *exports, void (*done)(void *self), void *self)
{
    FM_ASSERT(!exports->is_closing);
    exports->is_closing = true;
    exports->done = done;
    exports->self = self;
    exports->timer.fire = exports_on_timer;
    for (size_t i = 0; i < exports->count; i++)
        exporter_close(exports->exporters[i]);
    if (!exports->count)
        pf_timer_start(exports->platform, &exports->timer, 0);
}

struct exports *exports_abandon(struct exports *exports)
{
    if (!exports)
        return NULL;
    for (size_t i = 0; i < exports->count; i++)
        exporter_free(exports->exporters[i], true);
    free(exports);
    return NULL;
}

/* ---- numbers ---- */

static uint64_t exporter_dropped(const struct exporter *exporter, enum exporter_drop reason)
{
    uint64_t spans = metric_get(&exporter->dropped_spans[reason]);
    if (reason == EXPORTER_DROP_EXPIRED)
        spans += store_cursor_expired_spans(exporter->cursor);
    if (reason == EXPORTER_DROP_UNREADABLE)
        spans += store_cursor_lost_spans(exporter->cursor);
    return spans;
}

static void exporter_lag(const struct exporter *exporter, struct exporter_status *status)
{
    uint64_t wall_ns = pf_wall_ns(exporter->exports->platform), oldest_ns = wall_ns;
    size_t count = store_cursor_tenant_count(exporter->cursor);
    for (size_t i = 0; i < count; i++) {
        struct store_pending pending;
        store_cursor_look(exporter->cursor, i, UINT64_MAX, UINT64_MAX, &pending);
        status->lag_spans += pending.spans;
        status->lag_bytes += pending.log_bytes + pending.block_bytes;
        if (pending.records)
            oldest_ns = FM_MIN(oldest_ns, pending.oldest_unix_ns);
    }
    status->lag_ns = wall_ns - oldest_ns;
}

bool exports_status(const struct exports *exports, size_t index, struct exporter_status *ret_status)
{
    if (!exports || index >= exports->count)
        return false;
    const struct exporter *exporter = exports->exporters[index];
    struct exporter_status status = {
        .sent_spans = metric_get(&exporter->sent_spans),
        .sent_bytes = metric_get(&exporter->sent_bytes),
        .sent_batches = metric_get(&exporter->sent_batches),
        .sampled_out_spans = store_cursor_sampled_out_spans(exporter->cursor),
    };
    for (unsigned i = 0; i < EXPORTER_DROP_COUNT; i++)
        status.dropped_spans += exporter_dropped(exporter, i);
    memcpy(status.name, exporter->name, sizeof status.name);
    memcpy(status.problem, exporter->problem, sizeof status.problem);
    exporter_lag(exporter, &status);
    *ret_status = status;
    return true;
}

struct exports_label { /* inside of the braces */
    char text[128];
};

static struct exports_label exports_label(const struct exporter *exporter, const char *name,
                                          const char *value)
{
    struct exports_label label;
    if (name)
        (void)snprintf(label.text, sizeof label.text, "exporter=\"%s\",%s=\"%s\"", exporter->name,
                       name, value);
    else
        (void)snprintf(label.text, sizeof label.text, "exporter=\"%s\"", exporter->name);
    return label;
}

static void exports_put_counters(const struct exports *exports, struct fm_buf *out)
{
    const struct {
        const char *name, *help;
        size_t offset;
    } families[] = {
        {"fermata_exporter_sent_spans_total", "Spans that an upstream took.",
         offsetof(struct exporter, sent_spans)},
        {"fermata_exporter_sent_bytes_total", "Bytes of requests that an upstream took.",
         offsetof(struct exporter, sent_bytes)},
        {"fermata_exporter_sent_batches_total", "Requests that an upstream took.",
         offsetof(struct exporter, sent_batches)},
        {"fermata_exporter_place_failures_total", "Failed writes of an exporter's place.",
         offsetof(struct exporter, save_failures)},
    };
    for (size_t i = 0; i < FM_COUNT(families); i++) {
        metric_family(out, families[i].name, "counter", families[i].help);
        for (size_t k = 0; k < exports->count; k++) {
            const struct exporter *exporter = exports->exporters[k];
            const metric *value =
                (const metric *)(const void *)((const char *)exporter + families[i].offset);
            metric_line(out, families[i].name, exports_label(exporter, NULL, NULL).text,
                        metric_get(value));
        }
    }
}

static void exports_put_reasons(const struct exports *exports, struct fm_buf *out)
{
    const char *failures = "fermata_exporter_failures_total";
    metric_family(out, failures, "counter", "Requests that were not taken, by reason.");
    for (size_t k = 0; k < exports->count; k++) {
        for (unsigned i = EXPORT_SENT + 1; i < EXPORT_OUTCOME_COUNT; i++)
            metric_line(out, failures,
                        exports_label(exports->exporters[k], "reason", export_outcome_text(i)).text,
                        metric_get(&exports->exporters[k]->attempts[i]));
    }
}

static void exports_put_sampled_out(const struct exports *exports, struct fm_buf *out)
{
    const char *name = "fermata_exporter_sampled_out_spans_total";
    metric_family(out, name, "counter",
                  "Spans passed over because tail sampling did not keep them.");
    for (size_t i = 0; i < exports->count; i++)
        metric_line(out, name, exports_label(exports->exporters[i], NULL, NULL).text,
                    store_cursor_sampled_out_spans(exports->exporters[i]->cursor));
}

static void exports_put_lag(const struct exports *exports, struct fm_buf *out)
{
    struct exporter_status all[EXPORTS_MAX];
    for (size_t i = 0; i < exports->count; i++)
        (void)exports_status(exports, i, &all[i]);
    metric_family(out, "fermata_exporter_lag_spans", "gauge", "Spans that wait to be sent.");
    for (size_t i = 0; i < exports->count; i++)
        metric_line(out, "fermata_exporter_lag_spans",
                    exports_label(exports->exporters[i], NULL, NULL).text, all[i].lag_spans);
    metric_family(out, "fermata_exporter_lag_bytes", "gauge",
                  "Bytes that wait to be sent: OTLP in the log, blocks as they are on disk.");
    for (size_t i = 0; i < exports->count; i++)
        metric_line(out, "fermata_exporter_lag_bytes",
                    exports_label(exports->exporters[i], NULL, NULL).text, all[i].lag_bytes);
    metric_family(out, "fermata_exporter_lag_seconds", "gauge",
                  "Age of the oldest span that waits to be sent.");
    for (size_t i = 0; i < exports->count; i++)
        metric_line_double(out, "fermata_exporter_lag_seconds",
                           exports_label(exports->exporters[i], NULL, NULL).text,
                           (double)all[i].lag_ns / (double)FM_NS_PER_S);
    metric_family(out, "fermata_exporter_up", "gauge", "0 while nothing succeeds.");
    for (size_t i = 0; i < exports->count; i++)
        metric_line(out, "fermata_exporter_up",
                    exports_label(exports->exporters[i], NULL, NULL).text, !all[i].problem[0]);
}

void exports_put_metrics(const struct exports *exports, struct fm_buf *out)
{
    if (!exports || !exports->count)
        return;
    exports_put_counters(exports, out);
    exports_put_reasons(exports, out);
    exports_put_sampled_out(exports, out);
    exports_put_lag(exports, out);
}

void exports_put_dropped(const struct exports *exports, struct fm_buf *out)
{
    static const char *const reasons[] = {
#define X(name, text) [EXPORTER_DROP_##name] = text,
        EXPORTER_DROPS(X)
#undef X
    };
    char labels[160];
    for (size_t k = 0; exports && k < exports->count; k++) {
        const struct exporter *exporter = exports->exporters[k];
        for (unsigned i = 0; i < EXPORTER_DROP_COUNT; i++) {
            (void)snprintf(labels, sizeof labels, "stage=\"export\",reason=\"%s\",exporter=\"%s\"",
                           reasons[i], exporter->name);
            metric_line(out, "fermata_spans_dropped_total", labels, exporter_dropped(exporter, i));
        }
    }
}
