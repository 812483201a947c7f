/* SPDX-License-Identifier: Apache-2.0 */
/* internal - how errno becomes a result; errno goes no further than this folder. */
#ifndef PLATFORM_LINUX_INTERNAL_H
#define PLATFORM_LINUX_INTERNAL_H

#include "fermata/platform.h"

int linux_rc(int error);
/* Fails with the result and the text of error: "write /path: No space left on device". */
int linux_fail(struct fm_why *why, int error, const char *verb, const char *path);

void linux_fill_files(struct platform_ops *ops);
void linux_fill_directories(struct platform_ops *ops);

#endif
