/* SPDX-License-Identifier: Apache-2.0 */
/* Sections with names of their own: their kinds as data, their instances, and their print. */
#include <stdio.h>

#include "internal.h"

#define NAME_LEN_MAX 63u

/* ---- the kinds ---- */

#define X(type, key, field, value, help) {CONFIG_##type, PREFIX, key, value, help, OFFSET(field)},
#define PREFIX                           "exporter.otlp"
#define OFFSET(field)                    offsetof(struct config_exporter_otlp, field)
static const struct config_key named_EXPORTER_OTLP_keys[] = {CONFIG_EXPORTER_OTLP_KEYS(X)};
#undef PREFIX
#undef OFFSET
#define PREFIX        "processor.attributes"
#define OFFSET(field) offsetof(struct config_processor_attributes, field)
static const struct config_key named_PROCESSOR_ATTRIBUTES_keys[] = {
    CONFIG_PROCESSOR_ATTRIBUTES_KEYS(X)};
#undef PREFIX
#undef OFFSET
#define PREFIX        "processor.filter"
#define OFFSET(field) offsetof(struct config_processor_filter, field)
static const struct config_key named_PROCESSOR_FILTER_keys[] = {CONFIG_PROCESSOR_FILTER_KEYS(X)};
#undef PREFIX
#undef OFFSET
#define PREFIX        "processor.redaction"
#define OFFSET(field) offsetof(struct config_processor_redaction, field)
static const struct config_key named_PROCESSOR_REDACTION_keys[] = {
    CONFIG_PROCESSOR_REDACTION_KEYS(X)};
#undef PREFIX
#undef OFFSET
#define PREFIX        "processor.rename"
#define OFFSET(field) offsetof(struct config_processor_rename, field)
static const struct config_key named_PROCESSOR_RENAME_keys[] = {CONFIG_PROCESSOR_RENAME_KEYS(X)};
#undef PREFIX
#undef OFFSET
#define PREFIX        "sampling.policy"
#define OFFSET(field) offsetof(struct config_sampling_policy, field)
static const struct config_key named_SAMPLING_POLICY_keys[] = {CONFIG_SAMPLING_POLICY_KEYS(X)};
#undef PREFIX
#undef OFFSET
#define PREFIX        "upload.window"
#define OFFSET(field) offsetof(struct config_upload_window, field)
static const struct config_key named_UPLOAD_WINDOW_keys[] = {CONFIG_UPLOAD_WINDOW_KEYS(X)};
#undef PREFIX
#undef OFFSET
#undef X

const struct config_kind_row config_kind_rows[CONFIG_KIND_COUNT] = {
#define X(index, field, prefix)                                                                    \
    {prefix, named_##index##_keys, FM_COUNT(named_##index##_keys), sizeof(struct config_##field)},
    CONFIG_KINDS(X)
#undef X
};

/* Splits "processor.filter.healthz"; NULL: no such kind. */
static const struct config_kind_row *named_kind(struct fm_slice section, struct fm_slice *ret_name)
{
    for (size_t i = 0; i < CONFIG_KIND_COUNT; i++) {
        const struct config_kind_row *kind = &config_kind_rows[i];
        size_t len = strlen(kind->prefix);
        if (section.len < len || memcmp(section.ptr, kind->prefix, len) != 0 ||
            (section.len > len && section.ptr[len] != '.'))
            continue;
        *ret_name = section.len > len ? fm_slice(section.ptr + len + 1, section.len - len - 1)
                                      : (struct fm_slice){0};
        return kind;
    }
    return NULL;
}

static bool named_is_name(struct fm_slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        uint8_t byte = name.ptr[i];
        if (!(byte >= 'a' && byte <= 'z') && !(byte >= '0' && byte <= '9') && byte != '_' &&
            byte != '-')
            return false;
    }
    return name.len >= 1 && name.len <= NAME_LEN_MAX;
}

/* ---- instances ---- */

static struct config_instance *named_find(const struct config_loader *loader,
                                          struct fm_slice section)
{
    struct config_instance *instance = loader->first;

    while (instance && !fm_slice_equal_text(section, instance->named.section))
        instance = instance->next;
    return instance;
}

/* NULL: no memory, which the arena remembers. */
static struct config_instance *named_new(struct config_loader *loader,
                                         const struct config_kind_row *kind,
                                         struct fm_slice section, const struct ini_place *place)
{
    struct fm_arena *arena = &loader->config->arena;
    struct config_instance *instance = fm_arena_zalloc(arena, sizeof *instance);
    char *text = fm_arena_zalloc(arena, section.len + 1);
    void *fields = fm_arena_zalloc(arena, kind->size);
    struct ini_place *places = fm_arena_zalloc(arena, kind->key_count * sizeof *places);
    unsigned *set_in = fm_arena_zalloc(arena, kind->key_count * sizeof *set_in);

    if (!instance || !text || !fields || !places || !set_in)
        return NULL;
    memcpy(text, section.ptr, section.len);
    for (size_t i = 0; i < kind->key_count; i++) {
        const struct config_key *key = &kind->keys[i];
        int rc =
            config_value_parse(key, fm_slice_text(key->value), arena, (char *)fields + key->offset);
        FM_ASSERT(rc != FM_EMALFORMED); /* the table's own defaults */
        if (rc < 0)
            return NULL;
    }
    *instance = (struct config_instance){
        .named = {.kind = (enum config_kind)(kind - config_kind_rows),
                  .section = text,
                  .name = text + strlen(kind->prefix) + 1,
                  .fields = fields},
        .fields = fields,
        .place = *place,
        .places = places,
        .set_in = set_in,
    };
    return instance;
}

static void named_link(struct config_loader *loader, struct config_instance *instance)
{
    if (loader->last) {
        loader->last->next = instance;
        loader->last->named.next = &instance->named;
    } else {
        loader->first = instance;
    }
    loader->last = instance;
    loader->instance_count++;
}

bool config_section_open(struct config_loader *loader, struct fm_slice section,
                         const struct ini_place *place)
{
    struct fm_slice name;
    char cure[160];

    if (config_section_exists(section) || named_find(loader, section))
        return true;
    const struct config_kind_row *kind = named_kind(section, &name);
    if (!kind) {
        config_unknown_section(loader, place, section);
        return false;
    }
    if (!named_is_name(name)) {
        (void)snprintf(cure, sizeof cure, "write [%s.NAME], NAME being 1 to %u of a-z 0-9 _ -",
                       kind->prefix, NAME_LEN_MAX);
        config_complain(loader, place, cure, "[%.*s] %s", (int)section.len,
                        (const char *)section.ptr,
                        name.len ? "has a bad name" : "needs a name of its own");
        return false;
    }
    if (loader->instance_count == CONFIG_NAMED_MAX) {
        config_complain(loader, place, "take some of them away", "more than %u sections with names",
                        CONFIG_NAMED_MAX);
        return false;
    }
    struct config_instance *instance = named_new(loader, kind, section, place);
    if (!instance)
        return false; /* the arena failed; the loader looks at it at the end */
    named_link(loader, instance);
    return true;
}

bool config_slot_find(struct config_loader *loader, struct fm_slice section, struct fm_slice key,
                      struct config_slot *ret_slot)
{
    const struct config_key *found = config_key_find(section, key);
    struct config_instance *instance = found ? NULL : named_find(loader, section);

    if (found) {
        size_t index = (size_t)(found - config_keys);
        *ret_slot =
            (struct config_slot){found, found->section, (char *)loader->config + found->offset,
                                 &loader->places[index], &loader->set_in[index]};
        return true;
    }
    const struct config_kind_row *kind = instance ? &config_kind_rows[instance->named.kind] : NULL;
    for (size_t i = 0; kind && i < kind->key_count; i++) {
        if (!fm_slice_equal_text(key, kind->keys[i].key))
            continue;
        *ret_slot = (struct config_slot){&kind->keys[i], instance->named.section,
                                         (char *)instance->fields + kind->keys[i].offset,
                                         &instance->places[i], &instance->set_in[i]};
        return true;
    }
    return false;
}

const struct ini_place *config_named_place(const struct config_instance *instance, const char *key)
{
    const struct config_kind_row *kind = &config_kind_rows[instance->named.kind];

    for (size_t i = 0; key && i < kind->key_count; i++) {
        if (strcmp(key, kind->keys[i].key) == 0 && instance->places[i].name)
            return &instance->places[i];
    }
    return &instance->place;
}

/* ---- print ---- */

void config_named_put_defaults(struct fm_buf *out)
{
    fm_buf_puts(out,
                "\n# Any number of these, each with a NAME of its own.  Processors work in the\n"
                "# order in which they stand there.\n");
    for (size_t i = 0; i < CONFIG_KIND_COUNT; i++) {
        const struct config_kind_row *kind = &config_kind_rows[i];
        fm_buf_printf(out, "\n#[%s.NAME]\n", kind->prefix);
        for (size_t k = 0; k < kind->key_count; k++) {
            const struct config_key *key = &kind->keys[k];
            config_put_help(key, out);
            fm_buf_printf(out, "#%s =%s%s\n", key->key, *key->value ? " " : "", key->value);
        }
    }
}

void config_named_put_effective(const struct config *config, struct fm_buf *out)
{
    for (const struct config_named *named = config->named; named; named = named->next) {
        const struct config_kind_row *kind = &config_kind_rows[named->kind];
        fm_buf_printf(out, "\n[%s]\n", named->section);
        for (size_t i = 0; i < kind->key_count; i++)
            config_put_setting(&kind->keys[i], (const char *)named->fields + kind->keys[i].offset,
                               out);
    }
}
