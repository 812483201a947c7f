/* SPDX-License-Identifier: Apache-2.0 */
/* api - the routes of the query port. */
#include "routes.h"

#include <stdlib.h>

int api_new(struct api **ret_api, struct platform *platform, const struct api_options *options)
{
    struct api *api = calloc(1, sizeof *api);
    if (!api)
        return FM_ENOMEM;
    api->platform = platform;
    api->options = *options;
    api->start_ns = pf_now_ns(platform);
    struct fm_why why;
    if (options->endpoint && net_endpoint_parse(options->endpoint, &api->endpoint, &why) < 0) {
        free(api);
        return FM_ECONFIG;
    }
    *ret_api = api;
    return FM_OK;
}

struct api *api_free(struct api *api)
{
    free(api);
    return NULL;
}

uint64_t api_unix_ns(const struct api *api)
{
    return pf_wall_ns(api->platform);
}

void api_set_ready(struct api *api, bool ready)
{
    api->ready = ready;
}

void api_answer(struct net_request *request, int status, const char *content_type,
                struct fm_slice body)
{
    const struct http_header headers[] = {
        {FM_SLICE("content-type"), fm_slice_text(content_type)},
        {FM_SLICE("vary"), FM_SLICE("Accept-Encoding")},
        {FM_SLICE("x-content-type-options"), FM_SLICE("nosniff")},
    };
    struct net_response response = {
        .status = status, .headers = headers, .header_count = FM_COUNT(headers), .body = body};
    net_respond(request, &response);
}

void api_answer_text(struct net_request *request, int status, const char *text)
{
    api_answer(request, status, "text/plain; charset=utf-8", fm_slice_text(text));
}

bool api_resolve_tenant(const struct api *api, struct net_request *request,
                        char tenant[TENANT_LEN_MAX + 1])
{
    struct fm_why why;
    int rc = tenants_resolve_request(api->options.tenants, net_request_view(request), tenant, &why);
    if (rc == FM_OK)
        return true;
    api_answer_text(request, rc == FM_EDENIED ? 403 : 400, why.text);
    return false;
}

void api_ready(struct api *api, struct net_request *request, struct fm_slice wild)
{
    (void)wild;
    if (api->ready)
        api_answer_text(request, 200, "ready\n");
    else
        api_answer_text(request, 503, "starting or stopping\n");
}

void api_echo(struct api *api, struct net_request *request, struct fm_slice wild)
{
    (void)api, (void)wild;
    api_answer_text(request, 200, "echo");
}

void api_buildinfo(struct api *api, struct net_request *request, struct fm_slice wild)
{
    (void)api, (void)wild;
    api_answer(request, 200, "application/json",
               FM_SLICE("{\"version\":\"" FERMATA_VERSION "\",\"revision\":\"\",\"branch\":\"\","
                        "\"buildUser\":\"\",\"buildDate\":\"\",\"goVersion\":\"\"}"));
}

/* "host", "host:port", "[v6]:port" without the port. */
static struct fm_slice host_name(struct fm_slice host)
{
    size_t len = host.len;
    while (len && host.ptr[len - 1] >= '0' && host.ptr[len - 1] <= '9')
        len--;
    return len && host.ptr[len - 1] == ':' ? fm_slice(host.ptr, len - 1) : host;
}

static bool host_is_address(struct fm_slice host)
{
    if (host.len && host.ptr[0] == '[')
        return true;
    for (size_t i = 0; i < host.len; i++) {
        if (host.ptr[i] != '.' && (host.ptr[i] < '0' || host.ptr[i] > '9'))
            return false;
    }
    return true;
}

/* A page in a browser on this host can point a name of its own at loopback and then read what it
 * likes (DNS rebinding); the name stays in Host.  Addresses cannot be pointed anywhere. */
static bool host_is_allowed(const struct api *api, const struct net_request_view *view)
{
    struct fm_slice host;
    if (!api->endpoint.is_loopback || api->endpoint.is_unix ||
        http_header_find(view->headers, view->header_count, "host", &host) != FM_OK)
        return true;
    host = host_name(host);
    return host_is_address(host) || fm_slice_equal_nocase(host, "localhost") ||
           fm_slice_equal_nocase(host, api->endpoint.host);
}

void api_on_request(void *self, struct net_request *request)
{
    struct api *api = self;
    const struct net_request_view *view = net_request_view(request);
    struct fm_slice wild;
    int status;
    metric_add(&api->requests_total, 1);

    bool is_allowed = host_is_allowed(api, view);
    if (rpc_is_asked(view)) {
        if (is_allowed)
            rpc_on_request(api, request);
        else
            rpc_refuse(request, GRPC_PERMISSION_DENIED, "host not allowed");
        return;
    }
    if (!is_allowed) {
        api_answer_text(request, 403, "host not allowed\n");
        return;
    }
    api_handler *handle =
        route_find(fm_slice_text(api->options.prefix), view->method, view->path, &wild, &status);
    if (handle)
        handle(api, request, wild);
    else
        api_answer_text(request, status,
                        status == 405 ? "405 method not allowed" : "404 page not found\n");
}
