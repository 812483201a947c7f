/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks go to Azure or Google: settings, and what the platform put into the environment. */
#ifndef FERMATA_SERVE_CLOUD_H
#define FERMATA_SERVE_CLOUD_H

#include "fermata/config.h"
#include "fermata/replicate.h"

FM_MUST int serve_cloud_make(struct bucket **ret_bucket, struct platform *platform,
                             const struct config *config, struct fm_why *why);

#endif
