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
    const struct process *process;   /* borrowed */
    struct process_state *states[2]; /* owned; of the loop, of jobs */
    struct processing_counters *counters;
};

int processing_new(struct processing **ret_processing, const struct process *process)
{
    struct processing *processing = calloc(1, sizeof *processing);
    int rc = FM_OK;

    if (!processing)
        return FM_ENOMEM;
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

struct processing *processing_free(struct processing *processing)
{
    if (!processing)
        return NULL;
    for (size_t i = 0; i < FM_COUNT(processing->states); i++)
        process_state_free(processing->states[i]);
    free(processing->counters);
    free(processing);
    return NULL;
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
        rc = processing_run(intake->ingest->processing, intake->in_job, otlp, target,
                            intake->tallies);
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
    struct processing *processing = intake->ingest->processing;
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
        processing_count(intake->ingest->processing, intake->tallies, span_count);
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
