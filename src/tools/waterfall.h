/* SPDX-License-Identifier: Apache-2.0 */
/* waterfall - a trace as a tree of bars for a terminal. */
#ifndef TOOLS_WATERFALL_H
#define TOOLS_WATERFALL_H

#include "fermata/model.h"
#include "terminal.h"

/* trace: finished.  FM_ENOMEM. */
FM_MUST int waterfall_put(const struct trace *trace, const struct trace_id *id,
                          const struct terminal *terminal, struct fm_buf *out);
void waterfall_put_duration(struct fm_buf *out, uint64_t ns); /* "812 ms", at most 9 columns */

#endif
