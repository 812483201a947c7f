/* SPDX-License-Identifier: Apache-2.0 */
/* serve_detect - the daemon's processors, with what it found out about where it runs. */
#ifndef FERMATA_SERVE_DETECT_H
#define FERMATA_SERVE_DETECT_H

#include "fermata/config_named.h"
#include "fermata/platform.h"

/* Before the loop runs; waits for [resource] detect_timeout at most.  *ret_process is NULL if there
 * is nothing to do.  FM_ECONFIG, FM_ENOMEM. */
FM_MUST int serve_process_new(struct process **ret_process, struct platform *platform,
                              const struct config *config, struct fm_why *why);

#endif
