/* SPDX-License-Identifier: Apache-2.0 */
/* serve_export - the daemon's exporters, from its configuration. */
#ifndef FERMATA_SERVE_EXPORT_H
#define FERMATA_SERVE_EXPORT_H

#include "fermata/config_named.h"
#include "fermata/export.h"

/* Opens every [exporter.otlp.NAME] that is enabled.  Stops at the first that cannot be; those
 * before it are in *ret_exports, also on failure, and have to be closed. */
FM_MUST int serve_exports_open(struct exports **ret_exports, struct platform *platform,
                               struct store *store, const struct config *config,
                               struct fm_why *why);
/* What may change while it runs; what goes wrong is logged, and leaves its exporter as it was. */
void serve_exports_reload(struct exports *exports, const struct config *config);
/* Whether a key of [exporter.otlp.NAME] may.  Of endpoint only the places, not their number. */
bool serve_exports_may_change(const struct config *old, const struct config *config,
                              const char *section, const char *key);

#endif
