/* SPDX-License-Identifier: Apache-2.0 */
/* uv - production's loop: linux's disk and clock plus libuv's timers and own job threads. */
#ifndef FERMATA_UV_H
#define FERMATA_UV_H

#include "fermata/platform.h"

struct uv_loop_s;

/* Makes the loop and the lanes' threads: so many for PF_LANE_WORK and PF_LANE_QUERY. */
FM_MUST int uv_platform_new(struct platform **ret_platform, unsigned worker_count,
                            unsigned query_count);
/* Runs until uv_platform_stop was called and nothing is left; jobs in flight are finished. */
void uv_platform_run(struct platform *platform);
void uv_platform_stop(struct platform *platform);
/* Joins the threads, closes the loop.  All timers are stopped and all jobs done by now. */
struct platform *uv_platform_free(struct platform *platform);

struct uv_loop_s *uv_platform_loop(struct platform *platform); /* for src/daemon/net only */

/* Signals on the loop. */
FM_MUST int uv_platform_on_signal(struct platform *platform, int number,
                                  void (*callback)(void *self, int number), void *self);

#endif
