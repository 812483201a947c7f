/* SPDX-License-Identifier: Apache-2.0 */
/* api_ui - the query APIs of Jaeger's and Zipkin's user interfaces, on ports of their own.  Part of
 * api; docs/formats/ui.md. */
#ifndef FERMATA_API_UI_H
#define FERMATA_API_UI_H

#include "fermata/api.h"

/* net_server_options.on_request, self is the struct api.  Jaeger's port also answers Zipkin's
 * paths, which are others. */
void api_on_jaeger(void *api, struct net_request *request);
void api_on_zipkin(void *api, struct net_request *request);
/* Whether a request that came to a port which also takes spans is one that reads: it is for
 * api_on_zipkin. */
bool api_is_zipkin_read(const struct net_request_view *view);

#endif
