/* SPDX-License-Identifier: Apache-2.0 */
/* fermata.ini and its drop-ins: what ini_text reads, by the table of settings. */
#include "internal.h"

static bool reader_on_section(void *self, struct fm_slice name, const struct ini_place *place)
{
    if (config_section_exists(name))
        return true;
    config_unknown_section(self, place, name);
    return false;
}

static enum ini_kind reader_kind(void *self, struct fm_slice section, struct fm_slice name)
{
    const struct config_key *key = config_key_find(section, name);

    (void)self;
    if (!key)
        return INI_UNKNOWN;
    return key->type == CONFIG_LIST ? INI_LIST : INI_VALUE;
}

static void reader_on_setting(void *self, const struct ini_setting *setting)
{
    struct config_loader *loader = self;
    const struct config_key *key = config_key_find(setting->section, setting->key);

    if (!key) {
        config_unknown_key(loader, &setting->key_place, setting->section, setting->key);
        return;
    }
    size_t index = (size_t)(key - config_keys);
    if (setting->continues)
        config_append(loader, key, setting->value, &setting->value_place);
    else if (loader->set_in[index] == loader->pass)
        config_complain(loader, &setting->key_place, NULL, "\"%s\" was given on line %u already",
                        key->key, loader->places[index].line);
    else
        config_set(loader, key, setting->value, &setting->value_place);
}

void config_read_text(struct config_loader *loader, const char *name, struct fm_slice text)
{
    static const struct ini_visitor visitor = {.section_example = "[fermata]",
                                               .on_section = reader_on_section,
                                               .kind = reader_kind,
                                               .on_setting = reader_on_setting};

    loader->pass++;
    ini_text_read(name, text, &visitor, loader, &loader->complaints);
}
