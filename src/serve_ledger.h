/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger's manifests, from the daemon's configuration. */
#ifndef FERMATA_SERVE_LEDGER_H
#define FERMATA_SERVE_LEDGER_H

#include "fermata/config.h"
#include "fermata/credentials.h"
#include "fermata/manifest.h"

/* NULL: there is no bucket, or nobody wants them. */
FM_MUST int serve_manifest_open(struct manifest **ret_manifest, struct platform *platform,
                                const struct store *store, const struct config *config,
                                struct credentials *credentials, const uint8_t node[16],
                                struct fm_why *why);

#endif
