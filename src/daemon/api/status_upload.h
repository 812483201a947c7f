/* SPDX-License-Identifier: Apache-2.0 */
/* What /status says about uploads. */
#ifndef API_STATUS_UPLOAD_H
#define API_STATUS_UPLOAD_H

#include "fermata/json.h"
#include "fermata/replicate.h"

void status_upload_put_json(const struct replicator_status *upload, uint64_t wall_ns,
                            struct json_writer *json); /* the value of "upload" */
void status_upload_put_text(const struct replicator_status *upload, struct fm_buf *out);

#endif
