/* SPDX-License-Identifier: Apache-2.0 */
/* store_why - the story of one trace on this node: received when and where, in which records and
 * blocks it is, whether it was to leave and when it left, or why it is not there any more.  Part of
 * store.
 *
 * Read from the files below data_dir, so that it works beside a running daemon as well as on the
 * disk of a dead one.  Blocks, from any thread.
 */
#ifndef FERMATA_STORE_WHY_H
#define FERMATA_STORE_WHY_H

#include "fermata/model.h"
#include "fermata/platform.h"

struct store_why {
    struct platform *platform;
    const char *data_dir, *tenant;
    struct trace_id id;
    bool json; /* else text for people */
};
/* FM_OK: there is something to tell; FM_NONE: nothing of it was ever seen here, as far as anybody
 * remembers; answer says so, too.  FM_ENOTFOUND: no such data_dir. */
FM_MUST int store_why_tell(const struct store_why *question, struct fm_buf *answer,
                           struct fm_why *why);

#endif
