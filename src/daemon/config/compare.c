/* SPDX-License-Identifier: Apache-2.0 */
/* compare - which settings differ between two configurations. */
#include "internal.h"

struct comparison {
    config_on_change *on_change;
    void *self;
    struct fm_buf a, b; /* values, printed */
};

static void compare_value(struct comparison *comparison, const struct config_key *key,
                          const char *section, const void *a, const void *b)
{
    fm_buf_reset(&comparison->a);
    fm_buf_reset(&comparison->b);
    config_value_print(key, (const char *)a + key->offset, &comparison->a);
    config_value_print(key, (const char *)b + key->offset, &comparison->b);
    if (!fm_slice_equal(fm_buf_slice(&comparison->a), fm_buf_slice(&comparison->b)))
        comparison->on_change(comparison->self, section, key->key);
}

static const struct config_named *compare_find(const struct config *config, const char *section)
{
    const struct config_named *named = config->named;
    while (named && strcmp(named->section, section) != 0)
        named = named->next;
    return named;
}

void config_compare(const struct config *a, const struct config *b, config_on_change *on_change,
                    void *self)
{
    struct comparison comparison = {.on_change = on_change, .self = self};
    fm_buf_init(&comparison.a, CONFIG_TEXT_MAX);
    fm_buf_init(&comparison.b, CONFIG_TEXT_MAX);
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++)
        compare_value(&comparison, &config_keys[i], config_keys[i].section, a, b);
    for (const struct config_named *named = a->named; named; named = named->next) {
        const struct config_kind_row *kind = &config_kind_rows[named->kind];
        const struct config_named *other = compare_find(b, named->section);
        if (!other)
            on_change(self, named->section, NULL);
        for (size_t i = 0; other && i < kind->key_count; i++)
            compare_value(&comparison, &kind->keys[i], named->section, named->fields,
                          other->fields);
    }
    for (const struct config_named *named = b->named; named; named = named->next) {
        if (!compare_find(a, named->section))
            on_change(self, named->section, NULL);
    }
    fm_buf_fini(&comparison.a);
    fm_buf_fini(&comparison.b);
}
