/* SPDX-License-Identifier: Apache-2.0 */
/* Where blocks go: the bucket that the configuration names. */
#ifndef FERMATA_SERVE_UPLOAD_H
#define FERMATA_SERVE_UPLOAD_H

#include "fermata/config.h"
#include "fermata/credentials.h"
#include "fermata/replicate.h"

/* Each caller gets a handle of its own: the replicator, and whoever has other objects to put.
 * credentials are those of serve_credentials.h; they outlive the bucket. */
FM_MUST int serve_bucket_make(struct bucket **ret_bucket, struct platform *platform,
                              const struct config *config, struct credentials *credentials,
                              struct fm_why *why);

#endif
