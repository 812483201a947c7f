/* SPDX-License-Identifier: Apache-2.0 */
/* The processors between check and log.  Requests are decoded on the loop or on the one thread of
 * their lane; each of the two has a state of its own. */
#include "ingest.h"

#include <stdio.h>
#include <stdlib.h>

struct processing_counters { /* of one processor */
    metric seen, changed, dropped, redacted;
};
struct processing {
    unsigned refs;
    const struct process *process;   /* borrowed, or owned as well: */
    struct process *owned;           /* NULL: not ours */
    struct process_state *states[2]; /* owned; of the loop, of jobs */
    struct processing_counters *counters;
};

static void processing_free(struct processing *processing)
{
    for (size_t i = 0; i < FM_COUNT(processing->states); i++)
        process_state_free(processing->states[i]);
    (void)process_free(processing->owned);
    free(processing->counters);
    free(processing);
}

int processing_new(struct processing **ret_processing, const struct process *process)
{
    struct processing *processing = calloc(1, sizeof *processing);
    int rc = FM_OK;

    if (!processing)
        return FM_ENOMEM;
    processing->refs = 1;
    processing->process = process;
    processing->counters = calloc(process_rule_count(process) + 1, sizeof *processing->counters);
    if (!processing->counters)
        rc = FM_ENOMEM;
    for (size_t i = 0; rc == FM_OK && i < FM_COUNT(processing->states); i++)
        rc = process_state_new(&processing->states[i], process);
    if (rc < 0) {
        processing_free(processing);
        return rc;
    }
    *ret_processing = processing;
    return FM_OK;
}

/* The counters go on under the same name. */
static void processing_move_counts(struct processing *from, struct processing *to)
{
    for (size_t i = 0; to && i < process_rule_count(from->process); i++) {
        struct processing_counters *counters = &from->counters[i];
        const char *name = process_rule_name(from->process, i);
        for (size_t k = 0; k < process_rule_count(to->process); k++) {
            if (strcmp(name, process_rule_name(to->process, k)) != 0)
                continue;
            metric_add(&to->counters[k].seen, metric_get(&counters->seen));
            metric_add(&to->counters[k].changed, metric_get(&counters->changed));
            metric_add(&to->counters[k].dropped, metric_get(&counters->dropped));
            metric_add(&to->counters[k].redacted, metric_get(&counters->redacted));
            *counters = (struct processing_counters){0};
        }
    }
}

struct processing *processing_ref(struct processing *processing)
{
    if (processing)
        processing->refs++;
    return processing;
}

void processing_unref(struct ingest *ingest, struct processing *processing)
{
    if (!processing || --processing->refs)
        return;
    processing_move_counts(processing, ingest->processing);
    processing_free(processing);
}

int ingest_set_process(struct ingest *ingest, struct process *process)
{
    struct processing *fresh = NULL, *old = ingest->processing;
    int rc = process ? processing_new(&fresh, process) : FM_OK;
    if (rc < 0) {
        (void)process_free(process);
        return rc;
    }
    if (fresh)
        fresh->owned = process;
    if (old)
        processing_move_counts(old, fresh);
    ingest->processing = fresh;
    processing_unref(ingest, old);
    for (struct fm_link *link = ingest->idle.next; link != &ingest->idle; link = link->next)
        free(fm_take(FM_CONTAINER(link, struct intake, link)->tallies)); /* as many as before */
    return FM_OK;
}

size_t processing_tally_bytes(const struct processing *processing)
{
    return process_rule_count(processing->process) * sizeof(struct process_tally);
}

int processing_run(struct processing *processing, bool in_job, struct fm_slice otlp,
                   struct fm_buf *target, struct process_tally *tallies)
{
    struct process_state *state = processing->states[in_job];

    int rc = process_run(state, otlp, target);
    if (rc >= 0)
        memcpy(tallies, process_tallies(state), processing_tally_bytes(processing));
    return rc;
}

void processing_count(struct processing *processing, const struct process_tally *tallies,
                      uint64_t span_count)
{
    uint64_t seen = span_count;

    for (size_t i = 0; i < process_rule_count(processing->process); i++) {
        struct processing_counters *counters = &processing->counters[i];
        metric_add(&counters->seen, seen);
        metric_add(&counters->changed, tallies[i].changed);
        metric_add(&counters->dropped, tallies[i].dropped);
        metric_add(&counters->redacted, tallies[i].redacted);
        seen -= tallies[i].dropped;
    }
}

int processing_run_now(struct processing *processing, struct fm_slice otlp, uint64_t span_count,
                       struct fm_buf *target)
{
    int rc = process_run(processing->states[0], otlp, target);
    if (rc >= 0)
        processing_count(processing, process_tallies(processing->states[0]), span_count);
    return rc;
}

/* ---- an intake ---- */

static int intake_process_into(struct intake *intake, struct fm_slice otlp, struct fm_buf *target)
{
    uint64_t limit = intake->ingest->options.decompressed_bytes_max;
    uint64_t room = FM_MIN(limit, otlp.len + otlp.len / 4 + FM_KIB(16));
    for (;;) {
        int rc = intake_charge(intake, room);
        if (rc < 0)
            return rc;
        fm_buf_init(target, room);
        rc = processing_run(intake->processing, intake->in_job, otlp, target, intake->tallies);
        if (rc >= 0) {
            intake_give_back(intake, room - FM_MIN(room, (uint64_t)target->cap));
            return rc;
        }
        fm_buf_fini(target);
        intake_give_back(intake, room);
        if (rc == FM_ELIMIT && room == limit)
            return fm_fail(&intake->why, rc, "the request is too large for the processors");
        if (rc != FM_ELIMIT)
            return fm_fail(&intake->why, rc, "processing the request: %s", fm_rc_text(rc));
        room = FM_MIN(limit, room * 4);
    }
}

int intake_process(struct intake *intake)
{
    struct processing *processing = intake->processing;
    struct fm_buf target;

    if (!intake->tallies)
        intake->tallies = malloc(processing_tally_bytes(processing));
    if (!intake->tallies)
        return FM_ENOMEM;
    int rc = intake_process_into(intake, intake_input(intake), &target);
    if (rc < 0)
        return rc;
    intake->is_processed = true;
    if (rc == FM_NONE) {
        fm_buf_fini(&target);
        return FM_OK;
    }
    return intake_take_result(intake, &target);
}

void intake_count_processed(struct intake *intake)
{
    uint64_t span_count = (uint64_t)intake->facts.span_count + intake->dropped_count;
    for (size_t i = 0; i < SAMPLE_HEAD_REASON_COUNT; i++)
        span_count -= intake->sampled.dropped[i];
    if (intake->is_processed)
        processing_count(intake->processing, intake->tallies, span_count);
}

/* ---- metrics ---- */

static void put_counter(const struct processing *processing, struct fm_buf *out, const char *name,
                        const char *help, size_t offset)
{
    char labels[160];

    metric_family(out, name, "counter", help);
    for (size_t i = 0; i < process_rule_count(processing->process); i++) {
        const metric *count =
            (const metric *)(const void *)((const char *)&processing->counters[i] + offset);
        (void)snprintf(labels, sizeof labels, "processor=\"%s\"",
                       process_rule_name(processing->process, i));
        metric_line(out, name, labels, metric_get(count));
    }
}

void processing_put_dropped(const struct processing *processing, struct fm_buf *out)
{
    char labels[160];

    for (size_t i = 0; i < process_rule_count(processing->process); i++) {
        (void)snprintf(labels, sizeof labels, "stage=\"process\",reason=\"%s\"",
                       process_rule_name(processing->process, i));
        metric_line(out, "fermata_spans_dropped_total", labels,
                    metric_get(&processing->counters[i].dropped));
    }
}

void processing_put_metrics(const struct processing *processing, struct fm_buf *out)
{
    put_counter(processing, out, "fermata_processor_spans_total", "Spans that came to a processor.",
                offsetof(struct processing_counters, seen));
    put_counter(processing, out, "fermata_processor_changed_total",
                "Spans, resources and scopes that a processor changed.",
                offsetof(struct processing_counters, changed));
    put_counter(processing, out, "fermata_processor_redacted_values_total",
                "Values and names that a processor redacted.",
                offsetof(struct processing_counters, redacted));
}
