/* SPDX-License-Identifier: Apache-2.0 */
/* sampling - strategies of remotely sampled clients: a file in, answers out.  Part of decode.
 *
 * The file is the JSON that Jaeger's collectors read; the answers are what Jaeger's clients and
 * OpenTelemetry's jaeger_remote samplers ask for.  docs/formats/sampling.md.
 */
#ifndef FERMATA_SAMPLING_H
#define FERMATA_SAMPLING_H

#include "fermata/base.h"

#define SAMPLING_FILE_BYTES_MAX FM_MIB(1)

struct sampling; /* immutable */
/* json NULL or empty: sample everything.  FM_EMALFORMED, why "... at byte N"; FM_ELIMIT: too many
 * strategies; FM_ENOMEM. */
FM_MUST int sampling_new(struct sampling **ret_sampling, struct fm_slice json, struct fm_why *why);
struct sampling *sampling_free(struct sampling *sampling);
FM_DEFINE_AUTO(sampling)
size_t sampling_service_count(const struct sampling *sampling);

/* The answer for one service.  enum_is_text: strategyType as "PROBABILISTIC" (path /sampling) or as
 * 0 (path /). */
void sampling_put_json(const struct sampling *sampling, struct fm_slice service, bool enum_is_text,
                       struct fm_buf *target);
/* jaeger.api_v2.SamplingStrategyResponse. */
void sampling_put_pb(const struct sampling *sampling, struct fm_slice service,
                     struct fm_buf *target);
/* serviceName of jaeger.api_v2.SamplingStrategyParameters, borrowed; FM_EMALFORMED. */
FM_MUST int sampling_read_request(struct fm_slice request, struct fm_slice *ret_service);

#endif
