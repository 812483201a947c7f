/* SPDX-License-Identifier: Apache-2.0 */
/* status - numbers about the sampler for people and for Prometheus. */
#include <stdio.h>

#include "internal.h"

const char *sampler_count_name(const struct sampler *sampler, size_t index)
{
    static const char *const reasons[] = {
        [SAMPLER_DEFAULT] = "default",
        [SAMPLER_LATE] = "late",
        [SAMPLER_UNREADABLE] = "unreadable",
        [SAMPLER_AHEAD] = "express",
    };
    size_t rule_count = sample_rule_count(sampler->rules);
    return index < rule_count ? sample_rule_name(sampler->rules, index)
                              : reasons[index - rule_count];
}

static void status_count(struct sampler_status *status, const struct sampling *sampling)
{
    if (store_block_decided(sampling->block)->verdict != STORE_UNDECIDED)
        return; /* it is being recalled */
    status->undecided_blocks++;
    status->undecided_spans += sampling->block->span_count;
}

void sampler_get_status(const struct sampler *sampler, struct sampler_status *ret_status)
{
    struct sampler_status status = {
        .unbuilt_blocks = sampler->built != NULL,
        .decided_blocks = metric_get(&sampler->decided_blocks),
        .kept_spans = metric_get(&sampler->kept_spans),
        .dropped_spans = metric_get(&sampler->dropped_spans),
        .ahead_spans = metric_get(&sampler->ahead_spans),
        .verdicts = sampler->memory_stats.traces,
        .verdicts_room = sampler->memory_stats.room,
        .verdicts_forgotten = sampler->memory_stats.forgotten,
        .failures_total = metric_get(&sampler->failures),
    };
    for (const struct fm_link *link = sampler->waiting.next; link != &sampler->waiting;
         link = link->next)
        status_count(&status, FM_CONTAINER(link, struct sampling, link));
    if (sampler->active)
        status_count(&status, sampler->active);
    for (const struct fm_link *link = sampler->unbuilt.next; link != &sampler->unbuilt;
         link = link->next)
        status.unbuilt_blocks++;
    memcpy(status.problem, sampler->problem, sizeof status.problem);
    *ret_status = status;
}

bool sampler_policy_at(const struct sampler *sampler, size_t index,
                       struct sampler_policy *ret_policy)
{
    if (index >= sampler->count_count)
        return false;
    *ret_policy = (struct sampler_policy){
        .name = sampler_count_name(sampler, index),
        .kept_spans = metric_get(&sampler->counts[index].kept),
        .dropped_spans = metric_get(&sampler->counts[index].dropped),
    };
    return true;
}

static void status_put_spans(const struct sampler *sampler, struct fm_buf *out)
{
    const char *name = "fermata_sampled_spans_total";
    char labels[STORE_POLICY_NAME_MAX + 64];
    metric_family(out, name, "counter", "Spans in decided blocks, by what decided.");
    for (size_t i = 0; i < sampler->count_count; i++) {
        const char *policy = sampler_count_name(sampler, i);
        (void)snprintf(labels, sizeof labels, "policy=\"%s\",decision=\"keep\"", policy);
        metric_line(out, name, labels, metric_get(&sampler->counts[i].kept));
        (void)snprintf(labels, sizeof labels, "policy=\"%s\",decision=\"drop\"", policy);
        metric_line(out, name, labels, metric_get(&sampler->counts[i].dropped));
    }
}

void sampler_put_metrics(const struct sampler *sampler, struct fm_buf *out)
{
    struct sampler_status status;
    if (!sampler || !sampler->rules)
        return;
    sampler_get_status(sampler, &status);
    status_put_spans(sampler, out);
    metric_gauge(out, "fermata_sample_undecided_blocks", "Sealed blocks that wait to be judged.",
                 status.undecided_blocks);
    metric_gauge(out, "fermata_sample_undecided_spans", "Spans in blocks that wait to be judged.",
                 status.undecided_spans);
    metric_gauge(out, "fermata_sample_unbuilt_blocks",
                 "Judged blocks of which what leaves is not made yet.", status.unbuilt_blocks);
    metric_counter(out, "fermata_sample_blocks_total", "Blocks judged.", &sampler->decided_blocks);
    metric_counter(out, "fermata_sample_joined_traces_total",
                   "Traces judged together with their parts in later blocks or in the log.",
                   &sampler->joined_traces);
    metric_counter(out, "fermata_sample_lost_traces_total",
                   "Kept traces that could not be read, and did not leave.", &sampler->lost_traces);
    metric_counter(out, "fermata_sample_ahead_spans_total",
                   "Kept spans that left ahead of their block.", &sampler->ahead_spans);
    metric_counter(out, "fermata_sample_express_traces_total",
                   "Traces that left ahead of their blocks.", &sampler->urgent_traces);
    metric_counter(out, "fermata_sample_express_spans_total",
                   "Spans that left ahead of their blocks.", &sampler->urgent_spans);
    metric_counter(out, "fermata_sample_failures_total",
                   "Attempts to judge a block, or to make what leaves of it, that failed.",
                   &sampler->failures);
    metric_gauge(out, "fermata_sample_verdicts", "Traces whose verdict is remembered.",
                 status.verdicts);
    metric_gauge(out, "fermata_sample_verdicts_room", "Traces that can be remembered.",
                 status.verdicts_room);
    metric_gauge(out, "fermata_sample_verdicts_forgotten", "Verdicts forgotten since the start.",
                 status.verdicts_forgotten);
    metric_histogram_put(out, "fermata_sample_judge_seconds", "Duration of judging a block.",
                         &sampler->judge_seconds);
}
