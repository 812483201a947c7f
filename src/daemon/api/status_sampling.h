/* SPDX-License-Identifier: Apache-2.0 */
/* What /status says about tail sampling; nothing if there is none. */
#ifndef API_STATUS_SAMPLING_H
#define API_STATUS_SAMPLING_H

#include "api.h"
#include "fermata/json.h"

void status_put_sampling_json(const struct api *api, struct json_writer *json); /* a member */
void status_put_sampling_text(const struct api *api, struct fm_buf *out);

#endif
