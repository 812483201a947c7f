/* SPDX-License-Identifier: Apache-2.0 */
/* The table of config.h as data: look-up, and its print as an ini file. */
#include "internal.h"

const struct config_key config_keys[CONFIG_KEY_COUNT] = {
#define X(type, section, key, field, value, help)                                                  \
    {CONFIG_##type, section, key, value, help, offsetof(struct config, field)},
    CONFIG_KEYS(X)
#undef X
};

struct config_listener config_listener(const struct config *config, enum config_listener_index i)
{
    switch (i) {
#define X(index, text, section_text, field)                                                        \
    case CONFIG_LISTENER_##index:                                                                  \
        return (struct config_listener){                                                           \
            .name = text,                                                                          \
            .section = section_text,                                                               \
            .enabled = config->field##_enabled,                                                    \
            .endpoint = config->field##_endpoint,                                                  \
            .tls_cert_file = config->field##_tls_cert_file,                                        \
            .tls_key_file = config->field##_tls_key_file,                                          \
            .tls_client_ca_file = config->field##_tls_client_ca_file,                              \
            .tls_client_allowed_names = config->field##_tls_client_allowed_names,                  \
            .tls_min_version = (enum config_tls_version)config->field##_tls_min_version,           \
            .auth = (enum config_auth)config->field##_auth,                                        \
            .htpasswd_file = config->field##_htpasswd_file,                                        \
            .bearer_tokens_file = config->field##_bearer_tokens_file,                              \
            .unix_mode = config->field##_unix_mode,                                                \
            .unix_allowed_users = config->field##_unix_allowed_users,                              \
        };
        CONFIG_LISTENERS(X)
#undef X
    case CONFIG_LISTENER_COUNT:
        break;
    }
    fm_panic("listener index", __FILE__, __LINE__);
}

const struct config_key *config_key_find(struct fm_slice section, struct fm_slice key)
{
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
        if (fm_slice_equal_text(section, config_keys[i].section) &&
            fm_slice_equal_text(key, config_keys[i].key))
            return &config_keys[i];
    }
    return NULL;
}

bool config_section_exists(struct fm_slice section)
{
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
        if (fm_slice_equal_text(section, config_keys[i].section))
            return true;
    }
    return false;
}

const char *config_accepted(enum config_type type)
{
    switch (type) {
    case CONFIG_BOOL:
        return "true or false";
    case CONFIG_UINT:
        return "a whole number, 0 or more";
    case CONFIG_BYTES:
        return "a number of bytes, bare or with kB, MB, GB, KiB, MiB, GiB: 16MiB";
    case CONFIG_DURATION:
        return "a time with its unit, ms, s, m, h or d: 250ms, 15m, 1h30m";
    case CONFIG_RATE:
        return "bits or bytes a second: 512kbit, 2Mbit, 64KiB; 0: unlimited";
    case CONFIG_PERCENT:
        return "a share from 0% to 100%";
    case CONFIG_CHOICE:
    case CONFIG_TEXT:
    case CONFIG_LIST:
    case CONFIG_LINES:
        break;
    }
    return "any text";
}

/* True if row i is the first of its section. */
static bool table_begins_section(size_t i)
{
    return i == 0 || strcmp(config_keys[i].section, config_keys[i - 1].section) != 0;
}

void config_put_help(const struct config_key *key, struct fm_buf *out)
{
    const char *const *choices = config_choices(key->section, key->key);

    if (*key->help)
        fm_buf_printf(out, "# %s\n", key->help);
    else if (choices) {
        for (size_t i = 0; choices[i]; i++)
            fm_buf_printf(out, i ? ", %s" : "# %s", choices[i]);
        fm_buf_puts(out, "\n");
    }
}

/* One line, or one for each of LINES, so that none is taken for another setting. */
void config_put_setting(const struct config_key *key, const void *field, struct fm_buf *out)
{
    const char *text = key->type == CONFIG_LINES ? *(const char *const *)field : "";

    do {
        const char *end = strchrnul(text, '\n');
        fm_buf_printf(out, "%s = ", key->key);
        if (key->type == CONFIG_LINES)
            fm_buf_put(out, text, (size_t)(end - text));
        else
            config_value_print(key, field, out);
        if (out->len && out->ptr[out->len - 1] == ' ')
            out->len--; /* an empty value leaves no blank at the line's end */
        fm_buf_puts(out, "\n");
        text = *end ? end + 1 : end;
    } while (*text);
}

void config_put_defaults(struct fm_buf *out)
{
    fm_buf_puts(out,
                "# fermata.ini - every setting with its default.  Take away the ; in front of a\n"
                "# setting to change it, then run: fermata check\n"
                "#\n"
                "# Bytes: 4096, 64KiB, 16MiB, 1GiB.  Times: 250ms, 10s, 15m, 72h, 3d.\n"
                "# A line holds at most 198 characters; indented lines continue a list.\n"
                "# Later wins: this file, conf.d/*.ini beside it in byte order, the environment\n"
                "# (FERMATA__SECTION__KEY, dots as double underscores), then --set.\n");
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
        const struct config_key *key = &config_keys[i];
        if (table_begins_section(i))
            fm_buf_printf(out, "\n[%s]\n", key->section);
        config_put_help(key, out);
        fm_buf_printf(out, ";%s =%s%s\n", key->key, *key->value ? " " : "", key->value);
    }
    config_named_put_defaults(out);
}

void config_put_effective(const struct config *config, struct fm_buf *out)
{
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
        const struct config_key *key = &config_keys[i];
        if (table_begins_section(i))
            fm_buf_printf(out, "%s[%s]\n", i ? "\n" : "", key->section);
        config_put_setting(key, (const char *)config + key->offset, out);
    }
    config_named_put_effective(config, out);
}
