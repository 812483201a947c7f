/* SPDX-License-Identifier: Apache-2.0 */
/* serve_detect - the daemon's processors, with what it found out about where it runs. */
#ifndef FERMATA_SERVE_DETECT_H
#define FERMATA_SERVE_DETECT_H

#include "fermata/config_named.h"
#include "fermata/platform.h"
#include "fermata/process_facts.h"

/* Before the loop runs; waits for [resource] detect_timeout at most. */
void serve_detect(struct process_facts *ret_facts, struct platform *platform,
                  const struct config *config);

#endif
