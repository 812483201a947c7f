/* SPDX-License-Identifier: Apache-2.0 */
/* ledger - the store's ledger as part of the status.  Part of api. */
#ifndef FERMATA_API_LEDGER_H
#define FERMATA_API_LEDGER_H

#include "api.h"
#include "fermata/json.h"
#include "fermata/store_ledger.h"

void status_put_ledger_json(const struct api *api, struct json_writer *json); /* a member */
void status_put_ledger_text(const struct api *api, struct fm_buf *out);

#endif
