/* SPDX-License-Identifier: Apache-2.0 */
/* Which handler a method and a path have.  Part of api.
 *
 * A route is one line of a table in routes.c: method, where it stands, pattern, handler.  A pattern
 * may hold one '*', which stands for one byte or more, '/' included: "/api/search/tag/X/values"
 * with * for X gets X, percent-decoded, as wild; a pattern without it gets an empty wild.
 * The first route that matches path and method is taken, so that the longer pattern goes first.
 * GET routes answer HEAD as well; a path that has routes, but none for the method, is a 405. */
#ifndef FERMATA_API_ROUTES_H
#define FERMATA_API_ROUTES_H

#include "api.h"

typedef void api_handler(struct api *api, struct net_request *request, struct fm_slice wild);

enum api_place {
    API_ROOT,   /* the path is what the peer sent */
    API_PREFIX, /* the path stands below http_api_prefix */
};
struct api_route {
    const char *method;
    enum api_place place;
    const char *pattern;
    api_handler *handle;
};

/* Whether path fits pattern; wild gets what '*' stands for. */
bool route_matches(const char *pattern, struct fm_slice path, struct fm_slice *ret_wild);
/* The handler of a method and a path, or NULL: ret_status is 404 or 405. */
api_handler *route_find(struct fm_slice prefix, struct fm_slice method, struct fm_slice path,
                        struct fm_slice *ret_wild, int *ret_status);

#endif
