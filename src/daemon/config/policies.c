/* SPDX-License-Identifier: Apache-2.0 */
/* From [sampling.tail] and [sampling.policy.NAME] to rules, and what is wrong with them and with
 * [sampling.head]. */
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

#include "fermata/sample_head.h"
#include "fermata/units.h"

#define POLICY_PRIORITY_EXPRESS 1u

struct policies {                      /* on their way to be compiled */
    struct sample_rule *rules;         /* owned */
    const struct config_named **named; /* owned; by rule */
    size_t count;
};

static void policies_fini(struct policies *policies)
{
    free(policies->rules);
    free(policies->named);
}

static struct sample_rule policies_convert(const struct config_named *named)
{
    const struct config_sampling_policy *from = named->sampling_policy;

    return (struct sample_rule){
        .kind = (enum sample_kind)from->type,
        .name = named->name,
        .express = from->priority == POLICY_PRIORITY_EXPRESS,
        .invert = from->invert_match,
        .regex = from->regex,
        .status_codes = from->status_codes,
        .threshold_ns = from->threshold,
        .upper_threshold_ns = from->upper_threshold,
        .key = from->key,
        .values = from->values,
        .min_value = from->min_value,
        .max_value = from->max_value,
        .min_spans = from->min_spans,
        .max_spans = from->max_spans,
        .query = from->query,
        .probability = from->probability,
        .spans_per_second = from->spans_per_second,
        .sub_policies = from->sub_policies,
        .rate_allocation = from->rate_allocation,
    };
}

static int policies_gather(const struct config_named *named, struct policies *ret_policies)
{
    struct policies *p = ret_policies;

    *p = (struct policies){0};
    p->rules = calloc(CONFIG_NAMED_MAX, sizeof *p->rules);
    p->named = calloc(CONFIG_NAMED_MAX, sizeof *p->named);
    if (!p->rules || !p->named) {
        policies_fini(p);
        return FM_ENOMEM;
    }
    for (; named; named = named->next) {
        if (named->kind != CONFIG_KIND_SAMPLING_POLICY)
            continue;
        p->named[p->count] = named;
        p->rules[p->count++] = policies_convert(named);
    }
    return FM_OK;
}

/* Whether words, with blanks between them, have the name. */
static bool policies_has_word(const char *words, const char *name)
{
    size_t len = strlen(name);

    for (const char *at = words; (at = strstr(at, name)); at++) {
        if ((at == words || at[-1] == ' ') && (at[len] == ' ' || !at[len]))
            return true;
    }
    return false;
}

static bool policies_is_part(const struct policies *policies, const char *name)
{
    for (size_t i = 0; i < policies->count; i++) {
        if (policies_has_word(policies->rules[i].sub_policies, name))
            return true;
    }
    return false;
}

/* Leaves those that are urgent or drop, and what they are made of; FM_NONE: nothing is urgent. */
static int policies_keep_express(struct policies *policies)
{
    bool kept[CONFIG_NAMED_MAX] = {0}, changed = true, any = false;
    size_t count = 0;

    for (size_t i = 0; i < policies->count; i++) {
        const struct sample_rule *rule = &policies->rules[i];
        bool is_urgent = rule->express && !policies_is_part(policies, rule->name);
        any |= is_urgent;
        kept[i] = is_urgent || rule->kind == SAMPLE_DROP;
    }
    while (changed) {
        changed = false;
        for (size_t i = 0; i < policies->count; i++) {
            for (size_t k = 0; kept[i] && k < policies->count; k++) {
                if (!kept[k] &&
                    policies_has_word(policies->rules[i].sub_policies, policies->rules[k].name))
                    kept[k] = changed = true;
            }
        }
    }
    for (size_t i = 0; i < policies->count; i++) {
        if (kept[i])
            policies->rules[count++] = policies->rules[i];
    }
    policies->count = count;
    return any ? FM_OK : FM_NONE;
}

int config_sample_rules_new(struct sample_rules **ret_rules, const struct config *config,
                            bool only_express, struct fm_why *why)
{
    struct policies policies;
    struct sample_fault fault;

    int rc = policies_gather(config->named, &policies);
    if (rc < 0)
        return rc;
    if (only_express && policies_keep_express(&policies) == FM_NONE) {
        *ret_rules = NULL;
    } else {
        rc = sample_rules_new(ret_rules, policies.rules, policies.count,
                              only_express ? "0" : config->sampling_tail_probability, &fault);
        if (rc < 0)
            rc = fm_fail(why, rc, "policy %s: %s",
                         fault.rule == SAMPLE_NO_RULE ? "of all" : policies.rules[fault.rule].name,
                         fault.why.text);
    }
    policies_fini(&policies);
    return rc;
}

struct sample_head_options config_sample_head(const struct config *config)
{
    struct sample_head_options options = {
        .spans_per_second_max = config->sampling_head_rate,
        .fail_closed = config->sampling_head_fail_closed,
    };
    int rc = sample_probability_parse(fm_slice_text(config->sampling_head_probability),
                                      &options.threshold);
    FM_ASSERT(rc == FM_OK); /* checked */
    return options;
}

/* ---- checking ---- */

static void policies_complain(struct config_loader *loader, const struct policies *policies,
                              const struct sample_fault *fault)
{
    const struct config_instance *instance = loader->first;
    char cure[200];

    (void)snprintf(cure, sizeof cure, "accepted: %s", fault->accepted ? fault->accepted : "");
    if (fault->rule == SAMPLE_NO_RULE) {
        config_complain(loader, &loader->places[CONFIG_INDEX_sampling_tail_probability],
                        fault->accepted ? cure : NULL,
                        "bad default_probability in [sampling.tail]");
        return;
    }
    while (instance && &instance->named != policies->named[fault->rule])
        instance = instance->next;
    if (instance)
        config_complain(loader, config_named_place(instance, fault->key),
                        fault->accepted ? cure : NULL, "[%s] %s: %s", instance->named.section,
                        fault->key ? fault->key : "", fault->why.text);
}

static void policies_check_range(struct config_loader *loader, unsigned index, bool is_good,
                                 const char *cure, const char *what)
{
    if (!is_good)
        config_complain(loader, &loader->places[index], cure, "bad %s", what);
}

static void policies_check_settings(struct config_loader *loader)
{
    const struct config *config = loader->config;
    const uint64_t day_ns = 86400 * FM_NS_PER_S;
    uint64_t threshold;

    policies_check_range(loader, CONFIG_INDEX_sampling_head_probability,
                         sample_probability_parse(fm_slice_text(config->sampling_head_probability),
                                                  &threshold) == FM_OK,
                         "accepted: 0 to 1, or 0% to 100%", "probability in [sampling.head]");
    policies_check_range(loader, CONFIG_INDEX_sampling_tail_wait,
                         config->sampling_tail_wait <= 7 * day_ns, "accepted: 0s to 168h",
                         "decision_wait in [sampling.tail]");
    policies_check_range(loader, CONFIG_INDEX_sampling_tail_express_interval,
                         config->sampling_tail_express_interval >= FM_NS_PER_S &&
                             config->sampling_tail_express_interval <= day_ns,
                         "accepted: 1s to 24h", "express_interval in [sampling.tail]");
    policies_check_range(loader, CONFIG_INDEX_sampling_tail_verdict_memory,
                         config->sampling_tail_verdict_memory >= FM_KIB(4) &&
                             config->sampling_tail_verdict_memory <= FM_MIB(1024),
                         "accepted: 4KiB to 1GiB", "verdict_memory in [sampling.tail]");
    policies_check_range(loader, CONFIG_INDEX_sampling_tail_memory,
                         config->sampling_tail_memory >= FM_MIB(1) &&
                             config->sampling_tail_memory <= FM_MIB(65536),
                         "accepted: 1MiB to 64GiB", "memory_limit in [sampling.tail]");
}

void config_check_sampling(struct config_loader *loader)
{
    struct policies policies;
    struct sample_rules *rules = NULL;
    struct sample_fault fault;

    policies_check_settings(loader);
    int rc = policies_gather(loader->first ? &loader->first->named : NULL, &policies);
    loader->no_memory |= rc < 0;
    if (rc < 0)
        return;
    rc = sample_rules_new(&rules, policies.rules, policies.count,
                          loader->config->sampling_tail_probability, &fault);
    loader->no_memory |= rc == FM_ENOMEM;
    if (rc == FM_ECONFIG)
        policies_complain(loader, &policies, &fault);
    sample_rules_free(rules);
    policies_fini(&policies);
}
