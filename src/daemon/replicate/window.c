/* SPDX-License-Identifier: Apache-2.0 */
/* window - the hours in which lanes are open. */
#include "uplink.h"

#include <stdio.h>

#include "fermata/units.h"

#define ZONE_BYTES_MAX FM_KIB(128)
#define ZONE_DIRECTORY "/usr/share/zoneinfo"
#define ZONE_LOCAL     "/etc/localtime"

static bool zone_name_is_safe(const char *name)
{
    return name[0] && name[0] != '/' && strlen(name) < 128 && !strstr(name, "..");
}

int window_zone_new(struct calendar_zone **ret_zone, struct platform *platform, const char *name,
                    struct fm_why *why)
{
    char path[192] = ZONE_LOCAL;
    bool is_local = !name || !name[0] || strcmp(name, "local") == 0;
    struct fm_buf content;
    if (!is_local && strcmp(name, "UTC") == 0) {
        *ret_zone = NULL;
        return FM_OK;
    }
    if (!is_local && !zone_name_is_safe(name))
        return fm_fail(why, FM_ECONFIG, "\"%s\" is no name of a time zone", name);
    if (!is_local)
        (void)snprintf(path, sizeof path, "%s/%s", ZONE_DIRECTORY, name);
    fm_buf_init(&content, ZONE_BYTES_MAX);
    int rc = pf_read_file(platform, path, &content, why);
    if (rc == FM_OK)
        rc = calendar_zone_new(ret_zone, fm_buf_slice(&content), why);
    fm_buf_fini(&content);
    if (rc == FM_ENOTFOUND && is_local) { /* as libc has it */
        *ret_zone = NULL;
        return FM_OK;
    }
    if (rc < 0 && rc != FM_ENOMEM)
        return fm_fail(why, FM_ECONFIG, "time zone \"%s\": %s cannot be used", name, path);
    return rc;
}

static int window_init(struct window *window, struct platform *platform,
                       const struct uplink_window *options, struct fm_why *why)
{
    (void)snprintf(window->name, sizeof window->name, "%s", options->name);
    window->rate = options->rate;
    window->lanes = options->lanes;
    int rc = calendar_new(&window->calendar, fm_slice_text(options->schedule), why);
    if (rc == FM_OK)
        rc = window_zone_new(&window->zone, platform, options->timezone, why);
    return rc < 0 ? fm_wrap(why, rc == FM_ENOMEM ? rc : FM_ECONFIG, "[upload.window.%s]",
                            options->name)
                  : FM_OK;
}

int windows_init(struct windows *windows, struct platform *platform,
                 const struct uplink_options *options, struct fm_why *why)
{
    *windows = (struct windows){.from_s = INT64_MAX};
    if (options->window_count > UPLINK_WINDOWS_MAX)
        return fm_fail(why, FM_ECONFIG, "more than %u windows", UPLINK_WINDOWS_MAX);
    for (uint32_t i = 0; i < options->window_count; i++) {
        windows->count++; /* also a half-made one is freed */
        int rc = window_init(&windows->rows[i], platform, &options->windows[i], why);
        if (rc < 0)
            return rc;
        windows->named_lanes |= windows->rows[i].lanes;
    }
    return FM_OK;
}

void windows_fini(struct windows *windows)
{
    for (uint32_t i = 0; i < windows->count; i++) {
        windows->rows[i].calendar = calendar_free(windows->rows[i].calendar);
        windows->rows[i].zone = calendar_zone_free(windows->rows[i].zone);
    }
    windows->count = 0;
}

bool windows_look(struct windows *windows, int64_t unix_s)
{
    const uint32_t all = (1u << UPLOAD_LANE_COUNT) - 1;
    uint32_t open_lanes = all & ~windows->named_lanes;
    const struct window *ruler = NULL;
    if (unix_s >= windows->from_s && unix_s < windows->until_s)
        return false; /* the clock may have been set back, too */
    windows->from_s = unix_s;
    windows->until_s = CALENDAR_NEVER;
    for (uint32_t i = 0; i < windows->count; i++) {
        const struct window *window = &windows->rows[i];
        int64_t change_s = calendar_next_change(window->calendar, window->zone, unix_s);
        windows->until_s = FM_MIN(windows->until_s, change_s);
        if (!calendar_is_open(window->calendar, window->zone, unix_s))
            continue;
        open_lanes |= window->lanes;
        if (window->rate && (!ruler || window->rate > ruler->rate))
            ruler = window;
    }
    bool has_changed = open_lanes != windows->open_lanes || ruler != windows->ruler;
    windows->open_lanes = open_lanes;
    windows->ruler = ruler;
    return has_changed;
}
