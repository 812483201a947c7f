/* SPDX-License-Identifier: Apache-2.0 */
/* fermata.ini and its drop-ins: what ini_text reads, by the table of settings. */
#include "internal.h"

static bool reader_on_section(void *self, struct fm_slice name, const struct ini_place *place)
{
    return config_section_open(self, name, place);
}

static enum ini_kind reader_kind(void *self, struct fm_slice section, struct fm_slice name)
{
    struct config_slot slot;

    if (!config_slot_find(self, section, name, &slot))
        return INI_UNKNOWN;
    return slot.key->type == CONFIG_LIST || slot.key->type == CONFIG_LINES ? INI_LIST : INI_VALUE;
}

static void reader_on_setting(void *self, const struct ini_setting *setting)
{
    struct config_loader *loader = self;
    struct config_slot slot;

    if (!config_slot_find(loader, setting->section, setting->key, &slot)) {
        config_unknown_key(loader, &setting->key_place, setting->section, setting->key);
        return;
    }
    bool is_again = *slot.set_in == loader->pass;
    if (setting->continues || (is_again && slot.key->type == CONFIG_LINES))
        config_append(loader, &slot, setting->value, &setting->value_place);
    else if (is_again)
        config_complain(loader, &setting->key_place, NULL, "\"%s\" was given on line %u already",
                        slot.key->key, slot.place->line);
    else
        config_set(loader, &slot, setting->value, &setting->value_place);
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
