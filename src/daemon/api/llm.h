/* SPDX-License-Identifier: Apache-2.0 */
/* The answers for language models: Accept: application/vnd.grafana.llm.  Part of api.
 *
 * Ids in hex, attributes as plain objects: fewer words for the same facts. */
#ifndef FERMATA_API_LLM_H
#define FERMATA_API_LLM_H

#include "fermata/answer.h"

#define LLM_MEDIA_TYPE "application/vnd.grafana.llm+json"

/* answer: a TraceByIDResponse as trace_render writes it.  FM_EMALFORMED if it is none. */
FM_MUST int llm_put_trace(struct fm_slice answer, struct fm_buf *out);
void llm_put_values(const struct traceql_value *values, uint32_t count,
                    const struct answer_stats *stats, struct fm_buf *out);

#endif
