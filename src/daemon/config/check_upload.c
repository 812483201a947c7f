/* SPDX-License-Identifier: Apache-2.0 */
/* [upload.window.NAME] and [upload.bandwidth]: what a range of numbers does not say. */
#include <net/if.h>

#include "fermata/calendar.h"
#include "fermata/units.h"
#include "internal.h"

uint32_t config_upload_lanes(const char *words)
{
    static const char *const names[] = {"express", "recall", "normal", "backlog"};
    uint32_t lanes = 0;
    while (*words) {
        size_t len = strcspn(words, " ,"), i = 0;
        while (len && i < FM_COUNT(names) &&
               (strlen(names[i]) != len || memcmp(names[i], words, len) != 0))
            i++;
        if (len && i == FM_COUNT(names))
            return 0;
        if (len)
            lanes |= 1u << i;
        words += len + (words[len] != '\0');
    }
    return lanes;
}

static void check_window(struct config_loader *loader, const struct config_instance *instance)
{
    const struct config_upload_window *window = instance->named.upload_window;
    FM_AUTO(calendar) calendar = NULL;
    struct fm_why why = {""};
    int rc = calendar_new(&calendar, fm_slice_text(window->schedule), &why);
    if (rc == FM_ENOMEM)
        loader->no_memory = true;
    else if (rc < 0)
        config_complain(loader, config_named_place(instance, "schedule"),
                        "accepted: Mon..Fri 22:00..06:00, *-*-* 01:00..05:00, Sat,Sun", "[%s]: %s",
                        instance->named.section, why.text);
    if (!config_upload_lanes(window->applies_to))
        config_complain(loader, config_named_place(instance, "applies_to"),
                        "accepted: any of normal, backlog, recall, express",
                        "[%s] applies to \"%s\"", instance->named.section, window->applies_to);
}

/* A quota that no block fits in would be used up by the first one, day by day. */
static void check_quota(struct config_loader *loader, unsigned index, const char *key,
                        uint64_t bytes)
{
    if (bytes && bytes < 2 * loader->config->max_block_bytes)
        config_complain(loader, &loader->places[index], "raise it or lower max_block_bytes",
                        "\"%s\" in [upload.bandwidth] is less than two blocks of max_block_bytes",
                        key);
}

void config_check_upload_windows(struct config_loader *loader)
{
    const struct config *config = loader->config;
    unsigned count = 0;
    for (struct config_instance *instance = loader->first; instance; instance = instance->next) {
        if (instance->named.kind != CONFIG_KIND_UPLOAD_WINDOW)
            continue;
        check_window(loader, instance);
        if (++count == CONFIG_UPLOAD_WINDOWS_MAX + 1)
            config_complain(loader, &instance->place, "take some of them away",
                            "more than %u windows", CONFIG_UPLOAD_WINDOWS_MAX);
    }
    check_quota(loader, CONFIG_INDEX_upload_daily_quota, "daily_quota", config->upload_daily_quota);
    check_quota(loader, CONFIG_INDEX_upload_monthly_quota, "monthly_quota",
                config->upload_monthly_quota);
    if (strlen(config->upload_interface) >= IF_NAMESIZE || strchr(config->upload_interface, '/'))
        config_complain(loader, &loader->places[CONFIG_INDEX_upload_interface],
                        "accepted: a name as `ip link` shows it", "bad interface in [upload]");
}
