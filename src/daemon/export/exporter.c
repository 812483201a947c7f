/* SPDX-License-Identifier: Apache-2.0 */
/* exporter - what is stored to one upstream, or one of several: reads batches one after the other,
 * lets so many of them fly at a time, and moves its place in the order of reading.
 *
 * EXP-1  The place moves when every span of a batch, and of those of its tenant that were read
 *        before it, was acknowledged, refused for good, or given up, and is written after that.
 * EXP-2  Nothing is read ahead of a batch until one was acknowledged since the last failure.
 * EXP-3  While the upstream is down, one batch is held in memory and what was sent of others in
 *        part; the rest is read again.
 */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

#define EXPORTER_REST_FAILURES 4u                   /* in a row */
#define EXPORTER_LOOK_NS       (100 * FM_NS_PER_MS) /* something is there but cannot be read yet */

static void exporter_start_timer(struct exporter *exporter, uint64_t delay_ns)
{
    pf_timer_stop(exporter->exports->platform, &exporter->timer);
    pf_timer_start(exporter->exports->platform, &exporter->timer, delay_ns);
}

/* ---- flights ---- */

static struct flight *exporter_free_flight(struct exporter *exporter)
{
    for (uint32_t i = 0; i < exporter->options.requests_max; i++) {
        if (exporter->flights[i].sm.state == FLIGHT_FREE)
            return &exporter->flights[i];
    }
    return NULL;
}

static bool exporter_has_flight(const struct exporter *exporter)
{
    for (uint32_t i = 0; i < exporter->options.requests_max; i++) {
        if (exporter->flights[i].sm.state != FLIGHT_FREE)
            return true;
    }
    return false;
}

/* EXP-2. */
static bool exporter_may_read(const struct exporter *exporter)
{
    return !exporter->is_closing && !exporter->is_reading &&
           (exporter->is_flowing || !exporter_has_flight(exporter));
}

/* Whether no other one of its tenant was read before it, or none after it. */
static bool flight_is_end(const struct flight *flight, bool is_first)
{
    const struct exporter *exporter = flight->exporter;
    for (uint32_t i = 0; i < exporter->options.requests_max; i++) {
        const struct flight *other = &exporter->flights[i];
        if (other != flight && other->sm.state != FLIGHT_FREE &&
            other->batch.tenant == flight->batch.tenant &&
            (other->number < flight->number) == is_first)
            return false;
    }
    return true;
}

static void exporter_advance(struct exporter *exporter, struct flight *flight)
{
    struct batch *batch = &flight->batch;
    store_cursor_advance(exporter->cursor, batch->tenant, &batch->end);
    exporter_note_advance(exporter, batch->otlp.len);
    batch_reset(batch);
    fm_sm_move(&flight->sm, FLIGHT_FREE);
}

/* EXP-1. */
static void exporter_settle(struct exporter *exporter)
{
    for (uint32_t i = 0; i < exporter->options.requests_max; i++) {
        struct flight *flight = &exporter->flights[i];
        if (flight->sm.state != FLIGHT_DONE || !flight_is_end(flight, true))
            continue;
        exporter_advance(exporter, flight);
        i = UINT32_MAX; /* the next one of the tenant may be done as well */
    }
}

static struct flight *exporter_newest_waiting(struct exporter *exporter)
{
    struct flight *newest = NULL;
    uint64_t oldest = UINT64_MAX;
    for (uint32_t i = 0; i < exporter->options.requests_max; i++) {
        struct flight *flight = &exporter->flights[i];
        if (flight->sm.state == FLIGHT_FREE)
            continue;
        oldest = FM_MIN(oldest, flight->number);
        if (flight->sm.state == FLIGHT_WAITING && !flight->batch.done_spans &&
            flight_is_end(flight, false) && (!newest || flight->number > newest->number))
            newest = flight;
    }
    return newest && newest->number > oldest ? newest : NULL;
}

/* EXP-3: it may be days, and a block is 20 MiB to read. */
static void exporter_rest(struct exporter *exporter)
{
    struct flight *flight;
    if (exporter->is_reading)
        return;
    while ((flight = exporter_newest_waiting(exporter))) {
        store_cursor_rewind(exporter->cursor, flight->batch.tenant);
        pf_timer_stop(exporter->exports->platform, &flight->timer);
        fm_sm_move(&flight->sm, FLIGHT_FREE);
    }
    store_cursor_rest(exporter->cursor);
    exporter->encoder = codec_encoder_free(exporter->encoder);
    for (uint32_t i = 0; i < exporter->options.requests_max; i++)
        flight_rest(&exporter->flights[i]);
    if (exporter->exports->on_rest && !exporter->is_resting)
        exporter->exports->on_rest();
    exporter->is_resting = true;
}

void exporter_on_answer(struct exporter *exporter, uint32_t upstream)
{
    if (exporter->upstreams[upstream].failures >= EXPORTER_REST_FAILURES)
        exporter_rest(exporter);
    else if (exporter->is_flowing)
        exporter->is_resting = false;
    for (uint32_t i = 0; i < exporter->options.requests_max; i++)
        flight_on_answer(&exporter->flights[i], upstream);
}

/* ---- reading ---- */

/* The tenant whose batch is due, or SIZE_MAX; *ret_wait_ns: until one is, UINT64_MAX: never. */
static size_t exporter_pick(struct exporter *exporter, uint64_t *ret_wait_ns)
{
    const struct exporter_options *options = &exporter->options;
    uint64_t wall_ns = pf_wall_ns(exporter->exports->platform);
    size_t count = store_cursor_tenant_count(exporter->cursor);
    *ret_wait_ns = UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        size_t tenant = (exporter->next_tenant + i) % count;
        struct store_pending pending;
        store_cursor_look_ahead(exporter->cursor, tenant, exporter->spans_max,
                                options->batch_bytes_max, &pending);
        if (!pending.records)
            continue;
        /* What is dated in the future came before the clock was set back: it is not waited for. */
        uint64_t age_ns = pending.oldest_unix_ns > wall_ns ? options->batch_timeout_ns
                                                           : wall_ns - pending.oldest_unix_ns;
        if (pending.spans >= exporter->spans_max || age_ns >= options->batch_timeout_ns ||
            pending.log_bytes + pending.block_bytes >= options->batch_bytes_max)
            return tenant;
        *ret_wait_ns = FM_MIN(*ret_wait_ns, options->batch_timeout_ns - age_ns);
    }
    return SIZE_MAX;
}

static void exporter_on_read(struct store_cursor_read *read, int rc);

static void exporter_look(struct exporter *exporter)
{
    uint64_t wait_ns;
    struct flight *flight = exporter_free_flight(exporter);
    if (!flight || !exporter_may_read(exporter))
        return;
    size_t tenant = exporter_pick(exporter, &wait_ns);
    if (tenant == SIZE_MAX) {
        if (wait_ns != UINT64_MAX)
            exporter_start_timer(exporter, wait_ns);
        for (uint32_t i = 1; i < exporter->options.requests_max; i++)
            flight_rest(&exporter->flights[i]); /* one is enough for what comes */
        return;
    }
    exporter->next_tenant = tenant + 1;
    batch_reset(&flight->batch);
    flight->batch.tenant = tenant;
    flight->number = ++exporter->read_count;
    flight->read = (struct store_cursor_read){
        .tenant = tenant,
        .spans_max = exporter->spans_max,
        .bytes_max = exporter->options.batch_bytes_max,
        .otlp = &flight->batch.otlp,
        .done = exporter_on_read,
        .self = flight,
    };
    exporter->is_reading = true;
    fm_sm_move(&flight->sm, FLIGHT_READING);
    store_cursor_read(exporter->cursor, &flight->read);
}

static void exporter_on_timer(struct pf_timer *timer)
{
    struct exporter *exporter = FM_CONTAINER(timer, struct exporter, timer);
    exporter->is_due = false;
    exporter_look(exporter);
}

void exporter_note_more(struct exporter *exporter)
{
    if (exporter->is_due || !exporter_may_read(exporter))
        return;
    exporter->is_due = true;
    exporter_start_timer(exporter, 0);
}

static void exporter_read_failed(struct exporter *exporter, const struct flight *flight, int rc)
{
    if (rc < 0) {
        exporter->read_failures++;
        log_warn("export.read_failed", "exporter=%s why=\"%s\"", exporter->name,
                 flight->read.why.text[0] ? flight->read.why.text : fm_rc_text(rc));
    }
    exporter->is_due = rc < 0; /* no news makes a disk better */
    exporter_start_timer(exporter, EXPORTER_LOOK_NS << FM_MIN(exporter->read_failures, 8u));
}

static void exporter_on_read(struct store_cursor_read *read, int rc)
{
    struct flight *flight = read->self;
    struct exporter *exporter = flight->exporter;
    struct batch *batch = &flight->batch;
    exporter->is_reading = false;
    if (exporter->is_closing) {
        flight_land(flight);
        return;
    }
    if (rc != FM_OK) {
        fm_sm_move(&flight->sm, FLIGHT_FREE);
        exporter_read_failed(exporter, flight, rc);
        return;
    }
    exporter->read_failures = 0;
    batch->span_count = read->span_count;
    batch->end = read->end;
    batch->newest_unix_ns = read->newest_unix_ns;
    if (read->span_count) {
        flight_begin(flight);
        exporter_look(exporter);
        return;
    }
    fm_sm_move(&flight->sm, FLIGHT_DONE); /* nothing in it could be read, or nothing was in it */
    exporter_on_flight(exporter);
}

/* ---- the end ---- */

static void exporter_finish(struct exporter *exporter)
{
    if (!exporter->is_closed)
        pf_timer_stop(exporter->exports->platform, &exporter->timer);
    exporter->is_closed = true;
    if (!exporter_save_now(exporter))
        exports_on_closed(exporter->exports);
}

void exporter_on_saved(struct exporter *exporter)
{
    if (!exporter->is_closed)
        return;
    if (exporter->save_rc < 0)
        exporter->is_dirty = false; /* the disk does not take it; it is sent again */
    exporter_finish(exporter);
}

void exporter_on_flight(struct exporter *exporter)
{
    if (!exporter->is_closing) {
        exporter_settle(exporter);
        if (!exporter->is_due)
            exporter_look(exporter);
        return;
    }
    for (uint32_t i = 0; i < exporter->options.requests_max; i++) {
        if (flight_is_busy(&exporter->flights[i]))
            return;
    }
    if (!exporter->is_closed)
        exporter_finish(exporter);
}

/* ---- life ---- */

int exporter_new(struct exporter **ret_exporter, struct exports *exports,
                 const struct exporter_options *options, struct fm_why *why)
{
    struct exporter *exporter = calloc(1, sizeof *exporter);
    if (!exporter)
        return fm_fail(why, FM_ENOMEM, "no memory for an exporter");
    exporter->exports = exports;
    exporter->options = *options;
    (void)snprintf(exporter->name, sizeof exporter->name, "%s", options->name);
    exporter->timer.fire = exporter_on_timer;
    exporter->codec = options->codec;
    exporter->spans_max = options->batch_spans_max;
    exporter_save_init(exporter);
    int rc = FM_OK;
    exporter->flights = calloc(options->requests_max, sizeof *exporter->flights);
    if (!exporter->flights || (options->tenant && !(exporter->tenant = strdup(options->tenant))))
        rc = fm_fail(why, FM_ENOMEM, "no memory for an exporter");
    for (uint32_t i = 0; exporter->flights && i < options->requests_max; i++)
        flight_init(&exporter->flights[i], exporter);
    if (rc == FM_OK)
        rc = exporter_load(exporter, why);
    if (rc < 0) {
        exporter_free(exporter, false);
        return fm_wrap(why, rc, "exporter %s", options->name);
    }
    *ret_exporter = exporter;
    return FM_OK;
}

void exporter_start(struct exporter *exporter)
{
    exporter_note_more(exporter);
}

void exporter_change(struct exporter *exporter, const struct exporter_options *options)
{
    struct exporter_options *own = &exporter->options;
    if (own->codec != options->codec)
        exporter->codec = options->codec;
    own->codec = options->codec;
    own->balance = options->balance;
    own->batch_spans_max = exporter->spans_max = options->batch_spans_max;
    own->batch_bytes_max = options->batch_bytes_max;
    own->batch_timeout_ns = options->batch_timeout_ns;
    own->retry_initial_ns = options->retry_initial_ns;
    own->retry_max_ns = options->retry_max_ns;
    own->retry_elapsed_ns = options->retry_elapsed_ns;
}

void exporter_close(struct exporter *exporter)
{
    exporter->is_closing = true;
    if (exporter->save_timer_runs)
        pf_timer_stop(exporter->exports->platform, &exporter->save_timer);
    exporter->save_timer_runs = false;
    for (uint32_t i = 0; i < exporter->options.requests_max; i++)
        flight_cancel(&exporter->flights[i]);
    exporter_on_flight(exporter); /* perhaps there is none */
}

struct exporter *exporter_free(struct exporter *exporter, bool is_abandoned)
{
    if (!exporter)
        return NULL;
    for (uint32_t i = 0; i < exporter->upstream_count; i++)
        exporter->upstreams[i].upstream->ops->free(exporter->upstreams[i].upstream);
    if (!is_abandoned)
        store_cursor_close(exporter->cursor);
    for (uint32_t i = 0; exporter->flights && i < exporter->options.requests_max; i++)
        flight_fini(&exporter->flights[i]);
    codec_encoder_free(exporter->encoder);
    places_fini(&exporter->saving);
    fm_buf_fini(&exporter->save_text);
    free(exporter->flights);
    free(exporter->path);
    free(exporter->tenant);
    free(exporter);
    return NULL;
}
