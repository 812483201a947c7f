/* SPDX-License-Identifier: Apache-2.0 */
/* node_files - a node's data directory, read without its daemon. */
#ifndef TOOLS_NODE_FILES_H
#define TOOLS_NODE_FILES_H

#include "fermata/model.h"

/* Adds the trace's spans from blocks/TENANT and from the log to trace (unfinished).
 * Files that cannot be read are counted in *damaged, the last one's why is kept; FM_ENOTFOUND: no
 * such directory. */
FM_MUST int node_files_find(const char *data_dir, const char *tenant, const struct trace_id *id,
                            struct trace *trace, uint64_t *damaged, struct fm_why *why);

#endif
