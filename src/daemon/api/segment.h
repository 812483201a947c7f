/* SPDX-License-Identifier: Apache-2.0 */
/* An answer of gRPC in messages that clients take.  Part of api. */
#ifndef FERMATA_API_SEGMENT_H
#define FERMATA_API_SEGMENT_H

#include "fermata/base.h"

#define SEGMENT_BYTES_MAX                                                                          \
    FM_MIB(2) /* clients refuse messages above 4 MiB unless told otherwise                         \
               */

/* Appends message to out as gRPC frames of about bytes_max at most: entries of field 1, which is
 * what may be many in every answer, are spread over as many messages as it takes, and all other
 * fields are repeated in each.  One entry that is larger has a message of its own. */
void segment_put(struct fm_slice message, size_t bytes_max, struct fm_buf *out);

#endif
