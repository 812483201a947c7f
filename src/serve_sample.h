/* SPDX-License-Identifier: Apache-2.0 */
/* serve_sample - tail sampling, from the daemon's configuration. */
#ifndef FERMATA_SERVE_SAMPLE_H
#define FERMATA_SERVE_SAMPLE_H

#include "fermata/api.h"
#include "fermata/config.h"
#include "fermata/sampler.h"

/* Stands between the store and next, and is the store's observer when this returns.  Without
 * policies it carries out what was decided before. */
FM_MUST int serve_sampler_open(struct sampler **ret_sampler, struct platform *platform,
                               struct store *store, const struct config *config,
                               const struct store_observer *next, struct fm_why *why);
/* For the status; sampler may be NULL. */
bool serve_sampling_status(const struct sampler *sampler, struct api_sampling *ret_row);
bool serve_policy_at(const struct sampler *sampler, size_t index, struct api_policy *ret_row);

#endif
