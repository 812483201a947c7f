/* SPDX-License-Identifier: Apache-2.0 */
/* host - who may read by way of a browser on this host.  Part of api. */
#ifndef FERMATA_API_HOST_H
#define FERMATA_API_HOST_H

#include "api.h"

/* A page in a browser on this host can point a name of its own at loopback and then read what it
 * likes (DNS rebinding); the name stays in Host.  So a request from this host must name an address,
 * localhost or a name without a dot, which no stranger can own, or come with an identity. */
bool host_may_read(const struct net_request_view *view);

#endif
