/* SPDX-License-Identifier: Apache-2.0 */
/* serve_bucket - the daemon's bucket as a source for queries, as the configuration describes it. */
#ifndef FERMATA_SERVE_BUCKET_H
#define FERMATA_SERVE_BUCKET_H

#include "fermata/bucket_read.h"
#include "fermata/config.h"
#include "fermata/credentials.h"

/* Threads that read for queries, here or there. */
unsigned serve_query_threads(const struct config *config);
/* *ret_reader is NULL if queries are about the node alone.  FM_ECONFIG, FM_ENOMEM, FM_EIO. */
FM_MUST int serve_bucket_new(struct bucket_reader **ret_reader, struct platform *platform,
                             const struct config *config, struct credentials *credentials,
                             struct fm_why *why);

#endif
