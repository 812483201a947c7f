/* SPDX-License-Identifier: Apache-2.0 */
/* [upload.bandwidth] and [upload.window.NAME] become the uplink. */
#include "serve_uplink.h"

#include <stdio.h>

#include "fermata/config_named.h"

int serve_uplink_make(struct uplink **ret_uplink, struct platform *platform,
                      const struct config *config, struct fm_why *why)
{
    struct uplink_window windows[UPLINK_WINDOWS_MAX];
    char state_file[512];
    (void)snprintf(state_file, sizeof state_file, "%s/upload-quota", config->data_dir);
    struct uplink_options options = {
        .rate = config->upload_rate,
        .burst = config->upload_burst,
        .daily_quota = config->upload_daily_quota,
        .monthly_quota = config->upload_monthly_quota,
        .month_begins = (uint32_t)config->upload_month_begins,
        .timezone = config->upload_timezone,
        .express_exempt = config->upload_express_exempt,
        .state_file = state_file,
        .windows = windows,
    };
    for (const struct config_named *named = config->named; named; named = named->next) {
        if (named->kind != CONFIG_KIND_UPLOAD_WINDOW)
            continue;
        const struct config_upload_window *window = named->upload_window;
        FM_ASSERT(options.window_count < UPLINK_WINDOWS_MAX); /* the configuration is checked */
        windows[options.window_count++] = (struct uplink_window){
            .name = named->name,
            .schedule = window->schedule,
            .timezone = window->timezone,
            .rate = window->rate,
            .lanes = config_upload_lanes(window->applies_to), /* in the order of the enum */
        };
    }
    return uplink_new(ret_uplink, platform, &options, why);
}
