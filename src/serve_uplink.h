/* SPDX-License-Identifier: Apache-2.0 */
/* The limits of what goes to the bucket, as the configuration sets them. */
#ifndef FERMATA_SERVE_UPLINK_H
#define FERMATA_SERVE_UPLINK_H

#include "fermata/config.h"
#include "fermata/uplink.h"

FM_MUST int serve_uplink_make(struct uplink **ret_uplink, struct platform *platform,
                              const struct config *config, struct fm_why *why);

#endif
