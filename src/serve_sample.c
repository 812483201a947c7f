/* SPDX-License-Identifier: Apache-2.0 */
#include "serve_sample.h"

#include <stdio.h>

#include "fermata/config_named.h"

static int serve_sample_rules(struct sampler_options *options, const struct config *config,
                              struct fm_why *why)
{
    if (!config->sampling_tail_enabled)
        return FM_OK;
    int rc = config_sample_rules_new(&options->rules, config, false, why);
    if (rc == FM_OK)
        rc = config_sample_rules_new(&options->urgent_rules, config, true, why);
    if (rc < 0)
        options->rules = sample_rules_free(options->rules);
    return rc;
}

int serve_sampler_open(struct sampler **ret_sampler, struct platform *platform, struct store *store,
                       const struct config *config, const struct store_observer *next,
                       struct fm_why *why)
{
    struct sampler_options options = {
        .decision_wait_ns = config->sampling_tail_wait,
        .urgent_interval_ns = config->sampling_tail_express_interval,
        .verdict_bytes_max = (size_t)config->sampling_tail_verdict_memory,
        .memory_max = (size_t)config->sampling_tail_memory,
        .next = *next,
    };
    int rc = serve_sample_rules(&options, config, why);
    if (rc == FM_OK)
        rc = sampler_new(ret_sampler, platform, store, &options, why);
    if (rc < 0)
        return rc;
    const struct store_observer observer = {.on_sealed = sampler_on_sealed,
                                            .on_dropped = sampler_on_dropped,
                                            .lane_of = sampler_lane_of,
                                            .self = *ret_sampler};
    store_set_observer(store, &observer);
    return FM_OK;
}

/* A sampler without policies carries out what was decided before: nothing to tell. */
bool serve_sampling_status(const struct sampler *sampler, struct api_sampling *ret_row)
{
    struct sampler_policy first;
    struct sampler_status status;
    if (!sampler || !sampler_policy_at(sampler, 0, &first))
        return false;
    sampler_get_status(sampler, &status);
    *ret_row = (struct api_sampling){
        .kept_spans = status.kept_spans,
        .ahead_spans = status.ahead_spans,
        .sampled_out_spans = status.dropped_spans,
        .deciding_spans = status.undecided_spans,
        .deciding_blocks = status.undecided_blocks,
        .unbuilt_blocks = status.unbuilt_blocks,
    };
    (void)snprintf(ret_row->problem, sizeof ret_row->problem, "%s", status.problem);
    return true;
}

bool serve_policy_at(const struct sampler *sampler, size_t index, struct api_policy *ret_row)
{
    struct sampler_policy policy;
    if (!sampler || !sampler_policy_at(sampler, index, &policy))
        return false;
    *ret_row = (struct api_policy){policy.name, policy.kept_spans, policy.dropped_spans};
    return true;
}
