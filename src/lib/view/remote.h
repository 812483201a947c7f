/* SPDX-License-Identifier: Apache-2.0 */
/* remote - where a span was and whom it spoke to, by its attributes.  Private to view. */
#ifndef FERMATA_VIEW_REMOTE_H
#define FERMATA_VIEW_REMOTE_H

#include "walk.h"

struct view_endpoint {
    struct fm_slice service, ip;
    uint16_t port; /* 0: unknown */
};
/* service: buffer for a service.name that is no text. */
void view_endpoints_find(const struct view_cursor *cursor, struct fm_buf *service,
                         struct view_endpoint *ret_local, struct view_endpoint *ret_remote);
/* The name of the other side alone; empty: unknown. */
struct fm_slice view_remote_service(const struct view_span *span);
/* Attributes that an endpoint says whole, so that they need not be tags as well. */
bool view_endpoint_says(const struct view_attribute *attribute);

#endif
