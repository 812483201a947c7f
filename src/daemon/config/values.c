/* SPDX-License-Identifier: Apache-2.0 */
/* Text to fields of struct config and back. */
#include "internal.h"

#include <stdio.h>

#include "fermata/units.h"

static int value_parse_bool(struct fm_slice text, bool *ret_value)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"true", true},   {"yes", true}, {"on", true},
                 {"false", false}, {"no", false}, {"off", false}};

    for (size_t i = 0; i < FM_COUNT(words); i++) {
        if (fm_slice_equal_text(text, words[i].word))
            return *ret_value = words[i].value, FM_OK;
    }
    return FM_EMALFORMED;
}

static int value_parse_choice(const struct config_key *key, struct fm_slice text,
                              unsigned *ret_value)
{
    const char *const *words = config_choices(key->section, key->key);

    FM_ASSERT(words);
    for (unsigned i = 0; words[i]; i++) {
        if (fm_slice_equal_text(text, words[i]))
            return *ret_value = i, FM_OK;
    }
    return FM_EMALFORMED;
}

/* "30%", or the bare number. */
static int value_parse_percent(struct fm_slice text, uint64_t *ret_value)
{
    uint64_t value;

    if (text.len && text.ptr[text.len - 1] == '%')
        text.len--;
    if (fm_u64_parse(text, &value) < 0 || value > 100)
        return FM_EMALFORMED;
    *ret_value = value;
    return FM_OK;
}

static int value_parse_text(struct fm_slice text, struct fm_arena *arena, const char **ret_value)
{
    char *copy = fm_arena_alloc(arena, text.len + 1);

    if (!copy)
        return FM_ENOMEM;
    if (text.len)
        memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    *ret_value = copy;
    return FM_OK;
}

int config_value_parse(const struct config_key *key, struct fm_slice text, struct fm_arena *arena,
                       void *field)
{
    switch (key->type) {
    case CONFIG_TEXT:
    case CONFIG_LIST:
    case CONFIG_LINES:
        return value_parse_text(text, arena, field);
    case CONFIG_BOOL:
        return value_parse_bool(text, field);
    case CONFIG_UINT:
        return fm_u64_parse(text, field);
    case CONFIG_BYTES:
        return fm_bytes_parse(text, field);
    case CONFIG_DURATION:
        return fm_duration_parse(text, field);
    case CONFIG_RATE:
        return fm_rate_parse(text, field);
    case CONFIG_PERCENT:
        return value_parse_percent(text, field);
    case CONFIG_CHOICE:
        break;
    }
    return value_parse_choice(key, text, field);
}

void config_value_print(const struct config_key *key, const void *field, struct fm_buf *out)
{
    switch (key->type) {
    case CONFIG_TEXT:
    case CONFIG_LIST:
    case CONFIG_LINES:
        fm_buf_puts(out, *(const char *const *)field);
        return;
    case CONFIG_BOOL:
        fm_buf_puts(out, *(const bool *)field ? "true" : "false");
        return;
    case CONFIG_UINT:
        fm_buf_printf(out, "%llu", (unsigned long long)*(const uint64_t *)field);
        return;
    case CONFIG_BYTES:
        fm_bytes_print(out, *(const uint64_t *)field);
        return;
    case CONFIG_DURATION:
        fm_duration_print(out, *(const uint64_t *)field);
        return;
    case CONFIG_RATE:
        fm_rate_print(out, *(const uint64_t *)field);
        return;
    case CONFIG_PERCENT:
        fm_buf_printf(out, "%llu%%", (unsigned long long)*(const uint64_t *)field);
        return;
    case CONFIG_CHOICE:
        break;
    }
    fm_buf_puts(out, config_choices(key->section, key->key)[*(const unsigned *)field]);
}

static void config_bad_value(struct config_loader *loader, const struct config_slot *slot,
                             struct fm_slice value, const struct ini_place *place)
{
    const struct config_key *key = slot->key;
    char cure[200];

    if (key->type == CONFIG_CHOICE) {
        const char *const *words = config_choices(key->section, key->key);
        int len = snprintf(cure, sizeof cure, "accepted: ");
        for (size_t i = 0; words[i] && len > 0 && (size_t)len < sizeof cure; i++)
            len += snprintf(cure + len, sizeof cure - (size_t)len, i ? ", %s" : "%s", words[i]);
    } else {
        (void)snprintf(cure, sizeof cure, "accepted: %s", config_accepted(key->type));
    }
    config_complain(loader, place, cure, "bad value \"%.*s\" for \"%s\" in [%s]", (int)value.len,
                    (const char *)value.ptr, key->key, slot->section);
}

void config_set(struct config_loader *loader, const struct config_slot *slot, struct fm_slice value,
                const struct ini_place *place)
{
    int rc = config_value_parse(slot->key, value, &loader->config->arena, slot->field);

    if (rc == FM_EMALFORMED) {
        config_bad_value(loader, slot, value, place);
        return;
    }
    *slot->place = *place;
    *slot->set_in = loader->pass;
}

void config_append(struct config_loader *loader, const struct config_slot *slot,
                   struct fm_slice value, const struct ini_place *place)
{
    const char *have = *(const char **)slot->field;
    size_t have_len = strlen(have);
    char *joined = fm_arena_alloc(&loader->config->arena, have_len + value.len + 1);

    if (!joined)
        return; /* the arena stays failed; the loader looks at it at the end */
    if (have_len) {
        memcpy(joined, have, have_len);
        joined[have_len++] = slot->key->type == CONFIG_LINES ? '\n' : ' ';
    }
    memcpy(joined + have_len, value.ptr, value.len);
    config_set(loader, slot, fm_slice(joined, have_len + value.len), place);
}
