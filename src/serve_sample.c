/* SPDX-License-Identifier: Apache-2.0 */
#include "serve_sample.h"

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
    const struct store_observer observer = {
        .on_sealed = sampler_on_sealed, .on_dropped = sampler_on_dropped, .self = *ret_sampler};
    store_set_observer(store, &observer);
    return FM_OK;
}
