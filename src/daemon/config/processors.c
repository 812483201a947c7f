/* SPDX-License-Identifier: Apache-2.0 */
/* From [resource] and [processor.KIND.NAME] to rules, and what is wrong with them. */
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

#define PROCESSORS_PREFIX_LEN 10 /* of "processor." */

struct processors {                    /* on their way to be compiled */
    struct process_rule *rules;        /* owned */
    const struct config_named **named; /* owned; by rule, NULL: the resource's */
    size_t count;
    struct process_pair *pairs; /* owned */
    size_t pair_count;
};

static void processors_fini(struct processors *processors)
{
    free(processors->rules);
    free(processors->named);
    free(processors->pairs);
}

/* A setting that is empty is one that is not made. */
static const char *processors_text(const char *text)
{
    return *text ? text : NULL;
}

static struct process_rule processors_attributes(const struct config_processor_attributes *from)
{
    const char *value = processors_text(from->value);

    if (*from->from_environment)
        value = getenv(from->from_environment);
    return (struct process_rule){
        .kind = PROCESS_ATTRIBUTES,
        .match = {from->match_service, from->match_name, from->match_kind, from->match_status,
                  from->match_duration, from->match_attribute},
        .attributes = {.action = (enum process_action)from->action,
                       .on = (enum process_place)from->on,
                       .type = (enum process_type)from->type,
                       .key = from->key,
                       .new_key = from->new_key,
                       .value = value,
                       .from_attribute = from->from_attribute},
    };
}

static struct process_rule processors_filter(const struct config_processor_filter *from)
{
    return (struct process_rule){
        .kind = PROCESS_FILTER,
        .match = {from->match_service, from->match_name, from->match_kind, from->match_status,
                  from->match_duration, from->match_attribute},
        .filter = {.keep = from->action == 1},
    };
}

static struct process_rule processors_redaction(const struct config_processor_redaction *from)
{
    return (struct process_rule){
        .kind = PROCESS_REDACTION,
        .redaction = {.keys = from->keys,
                      .ignored_keys = from->ignored_keys,
                      .presets = from->presets,
                      .patterns = from->patterns,
                      .mode = (enum process_mode)from->mode,
                      .mask = from->mask,
                      .names = from->names},
    };
}

static struct process_rule processors_rename(const struct config_processor_rename *from)
{
    return (struct process_rule){
        .kind = PROCESS_RENAME,
        .match = {from->match_service, from->match_name, from->match_kind, from->match_status,
                  from->match_duration, from->match_attribute},
        .rename = {.template = from->template},
    };
}

/* False: another kind of section. */
static bool processors_convert(const struct config_named *named, struct process_rule *ret_rule)
{
    switch (named->kind) {
    case CONFIG_KIND_PROCESSOR_ATTRIBUTES:
        *ret_rule = processors_attributes(named->processor_attributes);
        break;
    case CONFIG_KIND_PROCESSOR_FILTER:
        *ret_rule = processors_filter(named->processor_filter);
        break;
    case CONFIG_KIND_PROCESSOR_REDACTION:
        *ret_rule = processors_redaction(named->processor_redaction);
        break;
    case CONFIG_KIND_PROCESSOR_RENAME:
        *ret_rule = processors_rename(named->processor_rename);
        break;
    default:
        return false;
    }
    ret_rule->name = named->section + PROCESSORS_PREFIX_LEN;
    return true;
}

/* "key=value", a line each; *ret_bad is a line that is none. */
static size_t processors_pairs(const char *lines, struct process_pair *pairs,
                               struct fm_slice *ret_bad)
{
    struct fm_slice rest = fm_slice_text(lines);
    size_t count = 0;

    while (rest.len) {
        const uint8_t *end = memchr(rest.ptr, '\n', rest.len);
        struct fm_slice line = fm_slice(rest.ptr, end ? (size_t)(end - rest.ptr) : rest.len);
        rest = fm_slice(rest.ptr + line.len + (end != NULL), rest.len - line.len - (end != NULL));
        const uint8_t *equals = line.len ? memchr(line.ptr, '=', line.len) : NULL;
        if (!line.len)
            continue;
        if (!equals || equals == line.ptr) {
            *ret_bad = line;
            continue;
        }
        struct fm_slice key = fm_slice(line.ptr, (size_t)(equals - line.ptr));
        struct fm_slice value = fm_slice(equals + 1, line.len - key.len - 1);
        while (key.len > 1 && key.ptr[key.len - 1] == ' ')
            key.len--;
        while (value.len && value.ptr[0] == ' ')
            value = fm_slice(value.ptr + 1, value.len - 1);
        if (pairs)
            pairs[count] = (struct process_pair){key, value};
        count++;
    }
    return count;
}

static int processors_gather(const struct config_named *named, const char *attributes,
                             const struct process_pair *facts, size_t fact_count,
                             struct processors *ret_processors)
{
    struct processors *p = ret_processors;
    struct fm_slice bad = {0};
    size_t own = processors_pairs(attributes, NULL, &bad);

    *p = (struct processors){.pair_count = own + fact_count};
    p->rules = calloc(CONFIG_NAMED_MAX + 1, sizeof *p->rules);
    p->named = calloc(CONFIG_NAMED_MAX + 1, sizeof *p->named);
    p->pairs = calloc(p->pair_count + 1, sizeof *p->pairs);
    if (!p->rules || !p->named || !p->pairs) {
        processors_fini(p);
        return FM_ENOMEM;
    }
    (void)processors_pairs(attributes, p->pairs, &bad);
    if (fact_count)
        memcpy(p->pairs + own, facts, fact_count * sizeof *facts);
    if (p->pair_count)
        p->rules[p->count++] = (struct process_rule){
            .kind = PROCESS_RESOURCE, .name = "resource", .resource = {p->pairs, p->pair_count}};
    for (; named; named = named->next) {
        p->named[p->count] = named;
        p->count += processors_convert(named, &p->rules[p->count]);
    }
    return FM_OK;
}

int config_process_new(struct process **ret_process, const struct config *config,
                       const struct process_pair *facts, size_t fact_count, struct fm_why *why)
{
    struct processors processors;
    struct process_fault fault;

    int rc = processors_gather(config->named, config->resource_attributes, facts, fact_count,
                               &processors);
    if (rc < 0)
        return rc;
    if (!processors.count) {
        *ret_process = NULL;
    } else {
        rc = process_new(ret_process, processors.rules, processors.count, &fault);
        if (rc < 0)
            rc = fm_fail(why, rc, "%s: %s", processors.rules[fault.rule].name, fault.why.text);
    }
    processors_fini(&processors);
    return rc;
}

/* ---- checking ---- */

static const struct config_instance *processors_instance(const struct config_loader *loader,
                                                         const struct config_named *named)
{
    const struct config_instance *instance = loader->first;

    while (instance && &instance->named != named)
        instance = instance->next;
    return instance;
}

static void processors_check_sources(struct config_loader *loader)
{
    for (const struct config_instance *i = loader->first; i; i = i->next) {
        const struct config_processor_attributes *a = i->named.processor_attributes;
        if (i->named.kind != CONFIG_KIND_PROCESSOR_ATTRIBUTES)
            continue;
        unsigned count = !!*a->value + !!*a->from_attribute + !!*a->from_environment;
        bool takes_value = a->action <= PROCESS_UPSERT;
        const char *key = *a->from_environment ? "from_environment"
                          : *a->from_attribute ? "from_attribute"
                                               : "value";
        if (count > 1)
            config_complain(loader, config_named_place(i, key), "take all but one of them away",
                            "[%s] has more than one of value, from_attribute, from_environment",
                            i->named.section);
        else if (takes_value && !count)
            config_complain(loader, config_named_place(i, "action"),
                            "set value, from_attribute or from_environment",
                            "[%s] says nothing of what to put there", i->named.section);
        else if (!takes_value && count)
            config_complain(loader, config_named_place(i, key), "take it away",
                            "[%s] has an action that takes no value", i->named.section);
    }
}

static void processors_check_resource(struct config_loader *loader)
{
    static const char *const words[] = {"env",       "host", "os",   "systemd",
                                        "container", "k8s",  "cloud"};
    const struct config *config = loader->config;
    const char *at = config->resource_detectors;
    struct fm_slice bad = {0};

    (void)processors_pairs(config->resource_attributes, NULL, &bad);
    if (bad.len)
        config_complain(loader, &loader->places[CONFIG_INDEX_resource_attributes],
                        "accepted: key=value, one a line", "not an attribute: \"%.*s\"",
                        (int)FM_MIN(bad.len, (size_t)80), (const char *)bad.ptr);
    while (*at) {
        size_t len = strcspn(at, " ,"), i = 0;
        while (i < FM_COUNT(words) && (strlen(words[i]) != len || memcmp(words[i], at, len) != 0))
            i++;
        if (len && i == FM_COUNT(words))
            config_complain(loader, &loader->places[CONFIG_INDEX_resource_detectors],
                            "accepted: env, host, os, systemd, container, k8s, cloud",
                            "no detector \"%.*s\"", (int)FM_MIN(len, (size_t)80), at);
        at += len + (at[len] != '\0');
    }
}

void config_check_processors(struct config_loader *loader)
{
    struct processors processors;
    struct process *process = NULL;
    struct process_fault fault;
    char cure[200];

    unsigned before = loader->complaints.count;
    processors_check_resource(loader);
    processors_check_sources(loader);
    if (loader->complaints.count != before)
        return;
    int rc = processors_gather(loader->first ? &loader->first->named : NULL,
                               loader->config->resource_attributes, NULL, 0, &processors);
    loader->no_memory = rc < 0;
    if (rc < 0)
        return;
    if (processors.count)
        rc = process_new(&process, processors.rules, processors.count, &fault);
    loader->no_memory = rc == FM_ENOMEM;
    const struct config_instance *instance =
        rc == FM_ECONFIG ? processors_instance(loader, processors.named[fault.rule]) : NULL;
    if (instance) {
        (void)snprintf(cure, sizeof cure, "accepted: %s", fault.accepted ? fault.accepted : "");
        config_complain(loader, config_named_place(instance, fault.key),
                        fault.accepted ? cure : NULL, "[%s] %s: %s", instance->named.section,
                        fault.key ? fault.key : "", fault.why.text);
    }
    process_free(process);
    processors_fini(&processors);
}
