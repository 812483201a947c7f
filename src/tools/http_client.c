/* SPDX-License-Identifier: Apache-2.0 */
/* A blocking GET: the daemon's own HTTP client on a loop of its own that ends with the answer. */
#include "http_client.h"

#include <signal.h>
#include <stdio.h>

#include "fermata/net.h"
#include "fermata/units.h"
#include "fermata/uv.h"

#define CLIENT_ANSWER_MAX FM_MIB(256)
#define CLIENT_CONNECT_NS (5 * FM_NS_PER_S)
#define CLIENT_STALL_NS   (60 * FM_NS_PER_S)

struct client_url {
    char host[254], authority[300], target[2048];
    uint16_t port;
    bool tls;
};

struct client_get {
    struct platform *platform;
    struct net_client *client;
    struct net_call call;
    struct pf_timer ending;
    struct http_answer answer;
    int rc;
};

void http_answer_fini(struct http_answer *answer)
{
    fm_buf_fini(&answer->body);
}

static int client_parse_url(const char *text, const char *target, struct client_url *url,
                            struct fm_why *why)
{
    struct net_endpoint endpoint;
    const char *given = text;

    url->tls = strncmp(text, "https://", 8) == 0;
    if (url->tls)
        text += 8;
    else if (strncmp(text, "http://", 7) == 0)
        text += 7;
    size_t len = strcspn(text, "/");
    size_t path_len = strlen(text + len);
    while (path_len && text[len + path_len - 1] == '/')
        path_len--;
    if (len >= sizeof url->authority || path_len + strlen(target) >= sizeof url->target)
        return fm_fail(why, FM_EUSAGE, "%s: the URL is too long", given);
    (void)snprintf(url->authority, sizeof url->authority, "%.*s", (int)len, text);
    (void)snprintf(url->target, sizeof url->target, "%.*s%s", (int)path_len, text + len, target);

    const char *bracket = strrchr(url->authority, ']');
    bool has_port = strchr(bracket ? bracket : url->authority, ':') != NULL;
    char with_port[320];
    (void)snprintf(with_port, sizeof with_port, "%s%s", url->authority,
                   has_port   ? ""
                   : url->tls ? ":443"
                              : ":80");
    if (!len || net_endpoint_parse(with_port, &endpoint, NULL) < 0 || endpoint.is_unix)
        return fm_fail(why, FM_EUSAGE, "%s: accepted is http://host:port", given);
    (void)snprintf(url->host, sizeof url->host, "%s", endpoint.host);
    url->port = endpoint.port;
    return FM_OK;
}

static void client_on_ending(struct pf_timer *timer)
{
    struct client_get *get = FM_CONTAINER(timer, struct client_get, ending);

    get->client = net_client_free(get->client);
    uv_platform_stop(get->platform);
}

static void client_on_done(struct net_call *call, int rc)
{
    struct client_get *get = call->self;

    get->rc = rc;
    if (rc == FM_OK) {
        get->answer.status = call->status;
        fm_buf_put_slice(&get->answer.body, call->response_body);
        if (get->answer.body.failed)
            get->rc = fm_fail(&call->why, FM_ENOMEM, "no memory for the answer");
    }
    pf_timer_start(get->platform, &get->ending, 0); /* the client is busy with us here */
}

static int client_run(struct client_get *get, const struct client_url *url, struct fm_why *why)
{
    const struct net_client_options options = {
        .host = url->host,
        .port = url->port,
        .tls = url->tls,
        .connect_timeout_ns = CLIENT_CONNECT_NS,
        .stall_timeout_ns = CLIENT_STALL_NS,
    };

    int rc = net_client_new(&get->client, get->platform, &options, why);
    if (rc < 0) {
        uv_platform_stop(get->platform);
        uv_platform_run(get->platform);
        return rc;
    }
    net_call_start(get->client, &get->call);
    uv_platform_run(get->platform);
    if (get->rc < 0)
        return fm_fail(why, get->rc, "%s",
                       get->call.why.text[0] ? get->call.why.text : fm_rc_text(get->rc));
    return FM_OK;
}

int http_client_get(const char *url_text, const char *target, const struct http_header *headers,
                    size_t header_count, struct http_answer *ret_answer, struct fm_why *why)
{
    struct client_url url;
    struct client_get get = {
        .call = {.method = "GET",
                 .headers = headers,
                 .header_count = header_count,
                 .response_bytes_max = CLIENT_ANSWER_MAX,
                 .done = client_on_done,
                 .self = &get},
        .ending = {.fire = client_on_ending},
    };

    int rc = client_parse_url(url_text, target, &url, why);
    if (rc < 0)
        return rc;
    get.call.host = fm_slice_text(url.authority);
    get.call.target = fm_slice_text(url.target);
    fm_buf_init(&get.answer.body, CLIENT_ANSWER_MAX);
    (void)signal(SIGPIPE, SIG_IGN);
    rc = uv_platform_new(&get.platform, 1, 1);
    if (rc < 0)
        return fm_fail(why, rc, "cannot make a loop");
    rc = client_run(&get, &url, why);
    uv_platform_free(get.platform);
    (void)signal(SIGPIPE, SIG_DFL); /* what we print may go to a pipe that closes: be quiet then */
    if (rc < 0) {
        http_answer_fini(&get.answer);
        return rc;
    }
    *ret_answer = get.answer;
    return FM_OK;
}
