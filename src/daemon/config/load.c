/* SPDX-License-Identifier: Apache-2.0 */
/* From all sources to one struct config: defaults, file, conf.d, environment, settings. */
#include "internal.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#define CONFIG_DROP_INS_MAX 256

/* "RECEIVER__OTLP_GRPC__ENDPOINT" to "receiver.otlp_grpc" and "endpoint". */
static bool load_split_variable(const char *name, size_t len, char *text, size_t size,
                                struct fm_slice *ret_section, struct fm_slice *ret_key)
{
    size_t used = 0, key_at = 0;

    for (size_t i = 0; i < len; i++) {
        if (used + 1 >= size)
            return false;
        char byte = name[i];
        if (byte == '_' && i + 1 < len && name[i + 1] == '_') {
            text[used++] = '.';
            key_at = used;
            i++;
        } else {
            text[used++] = byte >= 'A' && byte <= 'Z' ? (char)(byte - 'A' + 'a') : byte;
        }
    }
    if (!key_at)
        return false;
    *ret_section = fm_slice(text, key_at - 1);
    *ret_key = fm_slice(text + key_at, used - key_at);
    return true;
}

static void load_assign(struct config_loader *loader, const struct ini_place *place,
                        struct fm_slice section, struct fm_slice name, struct fm_slice value)
{
    struct config_slot slot;

    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] < 0x20 || value.ptr[i] == 0x7f) {
            config_complain(loader, place, NULL, "control character 0x%02x", value.ptr[i]);
            return;
        }
    }
    if (!config_section_open(loader, section, place))
        return;
    if (config_slot_find(loader, section, name, &slot))
        config_set(loader, &slot, value, place);
    else
        config_unknown_key(loader, place, section, name);
}

void config_read_environment(struct config_loader *loader, const char *const *environment)
{
    static const char prefix[] = "FERMATA__";
    char text[128];
    struct fm_slice section, key;

    loader->pass++;
    for (; environment && *environment; environment++) {
        const char *equals = strchr(*environment, '=');
        if (!equals || strncmp(*environment, prefix, sizeof prefix - 1) != 0)
            continue;
        const char *name =
            fm_arena_dup(&loader->config->arena, *environment, (size_t)(equals - *environment) + 1);
        if (!name)
            return;
        ((char *)(uintptr_t)name)[equals - *environment] = '\0';
        struct ini_place place = {.name = name};
        const char *inner = *environment + sizeof prefix - 1;
        if (!load_split_variable(inner, (size_t)(equals - inner), text, sizeof text, &section,
                                 &key))
            config_complain(loader, &place, "write FERMATA__SECTION__KEY", "no such setting");
        else
            load_assign(loader, &place, section, key, fm_slice_text(equals + 1));
    }
}

void config_read_setting(struct config_loader *loader, const char *setting)
{
    const char *equals = strchr(setting, '='), *dot = NULL;
    struct ini_place place = {.name = "--set"};

    for (const char *at = setting; equals && at < equals; at++) {
        if (*at == '.')
            dot = at;
    }
    if (!dot) {
        config_complain(loader, &place, "write --set section.key=value", "not a setting: \"%s\"",
                        setting);
        return;
    }
    load_assign(loader, &place, fm_slice(setting, (size_t)(dot - setting)),
                fm_slice(dot + 1, (size_t)(equals - dot) - 1), fm_slice_text(equals + 1));
}

/* Reads one file into the arena, so that messages can quote it to the end. */
static void load_file(struct config_loader *loader, const char *path)
{
    struct ini_place place = {.name = path};
    FILE *file = fopen(path, "re");

    if (!file) {
        config_complain(loader, &place, NULL, "cannot open the file: %m");
        return;
    }
    struct fm_buf text;
    fm_buf_init(&text, CONFIG_FILE_MAX + 1);
    uint8_t piece[4096];
    size_t got;
    while ((got = fread(piece, 1, sizeof piece, file)) > 0 && !text.failed)
        fm_buf_put(&text, piece, got);
    if (ferror(file))
        config_complain(loader, &place, NULL, "cannot read the file: %m");
    else if (text.failed || text.len > CONFIG_FILE_MAX)
        config_complain(loader, &place, NULL, "the file is larger than 1 MiB");
    else
        config_read_text(loader, path, fm_slice_dup(&loader->config->arena, fm_buf_slice(&text)));
    fm_buf_fini(&text);
    fclose(file);
}

static int load_is_drop_in(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    return entry->d_name[0] != '.' && len > 4 && strcmp(entry->d_name + len - 4, ".ini") == 0;
}

static int load_byte_order(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void load_drop_ins(struct config_loader *loader, const char *file)
{
    const char *slash = strrchr(file, '/');
    char folder[512], path[1024];
    struct dirent **entries;

    int len =
        snprintf(folder, sizeof folder, "%.*sconf.d", slash ? (int)(slash + 1 - file) : 0, file);
    if (len < 0 || (size_t)len >= sizeof folder)
        return; /* the main file's name was as long, and was opened or complained about */
    int count = scandir(folder, &entries, load_is_drop_in, load_byte_order);
    for (int i = 0; i < count; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        const char *kept = fm_arena_dup(&loader->config->arena, path, strlen(path) + 1);
        if (kept && i < CONFIG_DROP_INS_MAX)
            load_file(loader, kept);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

static int load_begin(struct config **ret_config, struct config_loader *loader,
                      struct fm_buf *messages)
{
    FM_AUTO(config) config = calloc(1, sizeof *config);

    if (!config)
        return FM_ENOMEM;
    fm_arena_init(&config->arena, CONFIG_TEXT_MAX);
    *loader = (struct config_loader){.config = config, .complaints = {.out = messages}, .pass = 1};
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
        const struct config_key *key = &config_keys[i];
        int rc = config_value_parse(key, fm_slice_text(key->value), &config->arena,
                                    (char *)config + key->offset);
        FM_ASSERT(rc != FM_EMALFORMED); /* the table's own defaults */
        if (rc < 0)
            return rc;
    }
    *ret_config = fm_take(config);
    return FM_OK;
}

static int load_end(struct config_loader *loader)
{
    if (!loader->complaints.count && !fm_arena_failed(&loader->config->arena))
        config_check(loader);
    ini_put_rest(&loader->complaints);
    if (fm_arena_failed(&loader->config->arena) || loader->no_memory)
        return FM_ENOMEM;
    loader->config->named = loader->first ? &loader->first->named : NULL;
    return loader->complaints.count ? FM_ECONFIG : FM_OK;
}

int config_load(struct config **ret_config, const char *file, const char *const *settings,
                size_t setting_count, const char *const *environment, struct fm_buf *messages)
{
    FM_AUTO(config) config = NULL;
    struct config_loader loader;

    int rc = load_begin(&config, &loader, messages);
    if (rc < 0)
        return rc;
    if (file) {
        load_file(&loader, file);
        load_drop_ins(&loader, file);
    }
    config_read_environment(&loader, environment);
    for (size_t i = 0; i < setting_count; i++) {
        loader.pass++;
        config_read_setting(&loader, settings[i]);
    }
    rc = load_end(&loader);
    if (rc < 0)
        return rc;
    *ret_config = fm_take(config);
    return FM_OK;
}

int config_load_text(struct config **ret_config, const char *name, struct fm_slice text,
                     struct fm_buf *messages)
{
    FM_AUTO(config) config = NULL;
    struct config_loader loader;

    int rc = load_begin(&config, &loader, messages);
    if (rc < 0)
        return rc;
    config_read_text(&loader, name, text);
    rc = load_end(&loader);
    if (rc < 0)
        return rc;
    *ret_config = fm_take(config);
    return FM_OK;
}

struct config *config_free(struct config *config)
{
    if (config) {
        fm_arena_fini(&config->arena);
        free(config);
    }
    return NULL;
}
