/* SPDX-License-Identifier: Apache-2.0 */
/* zipkin - Zipkin's query API.  Part of api. */
#ifndef FERMATA_API_ZIPKIN_H
#define FERMATA_API_ZIPKIN_H

#include "api.h"

/* Answers a request that api_is_zipkin_read and that may read. */
void zipkin_begin(struct api *api, struct net_request *request);

#endif
