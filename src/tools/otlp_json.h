/* SPDX-License-Identifier: Apache-2.0 */
/* otlp_json - canonical OTLP bytes as OTLP/JSON: ids in hex, 64-bit numbers quoted, enums as
 * numbers. */
#ifndef TOOLS_OTLP_JSON_H
#define TOOLS_OTLP_JSON_H

#include "fermata/base.h"

/* Appends one JSON object.  FM_EMALFORMED: not OTLP; FM_ELIMIT: values nest too deep; FM_ENOMEM. */
FM_MUST int otlp_json_put(struct fm_slice otlp, struct fm_buf *json);

#endif
