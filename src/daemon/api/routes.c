/* SPDX-License-Identifier: Apache-2.0 */
/* The routes of the query port, and how one is found. */
#include "routes.h"

static void api_trace_v1(struct api *api, struct net_request *request, struct fm_slice wild)
{
    api_trace_by_id(api, request, wild, false);
}

static void api_trace_v2(struct api *api, struct net_request *request, struct fm_slice wild)
{
    api_trace_by_id(api, request, wild, true);
}

/* clang-format off */
static const struct api_route routes[] = {
    {"GET",  API_ROOT,   "/ready",                api_ready},
    {"GET",  API_ROOT,   "/metrics",              api_metrics},
    {"GET",  API_ROOT,   "/status",               api_status},
    {"POST", API_ROOT,   "/flush",                api_flush},
    {"GET",  API_ROOT,   "/why/*",                api_why},

    /* Tempo */
    {"GET",  API_PREFIX, "/api/echo",             api_echo},
    {"GET",  API_PREFIX, "/api/status/buildinfo", api_buildinfo},
    {"GET",  API_PREFIX, "/api/search",           api_search},
    {"GET",  API_PREFIX, "/api/search/tags",      api_tags},
    {"GET",  API_PREFIX, "/api/v2/search/tags",   api_tags_v2},
    {"GET",  API_PREFIX, "/api/search/tag/*/values",    api_values},
    {"GET",  API_PREFIX, "/api/v2/search/tag/*/values", api_values_v2},
    {"GET",  API_PREFIX, "/api/metrics/query_range",    api_query_range},
    {"GET",  API_PREFIX, "/api/metrics/query",    api_query_instant},
    {"GET",  API_PREFIX, "/api/v2/traces/*",      api_trace_v2},
    {"GET",  API_PREFIX, "/api/traces/*",         api_trace_v1},
};
/* clang-format on */

static bool slice_begins(struct fm_slice text, struct fm_slice start)
{
    return text.len >= start.len && fm_slice_equal(fm_slice(text.ptr, start.len), start);
}

static struct fm_slice slice_skip(struct fm_slice text, size_t len)
{
    return fm_slice(text.ptr + len, text.len - len);
}

bool route_matches(const char *pattern, struct fm_slice path, struct fm_slice *ret_wild)
{
    const char *star = strchr(pattern, '*');
    if (!star) {
        *ret_wild = FM_SLICE("");
        return fm_slice_equal_text(path, pattern);
    }
    struct fm_slice front = fm_slice(pattern, (size_t)(star - pattern));
    struct fm_slice back = fm_slice_text(star + 1);
    if (path.len <= front.len + back.len || !slice_begins(path, front) ||
        !slice_begins(slice_skip(path, path.len - back.len), back))
        return false;
    *ret_wild = fm_slice(path.ptr + front.len, path.len - front.len - back.len);
    return true;
}

api_handler *route_find(struct fm_slice prefix, struct fm_slice method, struct fm_slice path,
                        struct fm_slice *ret_wild, int *ret_status)
{
    bool has_prefix = slice_begins(path, prefix);
    struct fm_slice below = has_prefix ? slice_skip(path, prefix.len) : path;
    struct fm_slice wanted = fm_slice_equal_text(method, "HEAD") ? FM_SLICE("GET") : method;
    int status = 404;

    for (size_t i = 0; i < FM_COUNT(routes); i++) {
        const struct api_route *route = &routes[i];
        if (route->place == API_PREFIX && !has_prefix)
            continue;
        if (!route_matches(route->pattern, route->place == API_PREFIX ? below : path, ret_wild))
            continue;
        if (fm_slice_equal_text(wanted, route->method))
            return route->handle;
        status = 405;
    }
    *ret_status = status;
    return NULL;
}
