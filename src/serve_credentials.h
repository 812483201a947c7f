/* SPDX-License-Identifier: Apache-2.0 */
/* serve_credentials - the keys of the daemon's bucket, as the configuration and the environment
 * have them; shared by those who write there and those who read. */
#ifndef FERMATA_SERVE_CREDENTIALS_H
#define FERMATA_SERVE_CREDENTIALS_H

#include "fermata/config.h"
#include "fermata/credentials.h"

/* *ret_credentials is NULL where nothing is signed: no S3, or auth = none.  FM_ECONFIG, FM_ENOMEM.
 */
FM_MUST int serve_credentials_new(struct credentials **ret_credentials, struct platform *platform,
                                  const struct config *config, struct fm_why *why);

#endif
