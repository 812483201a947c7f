/* SPDX-License-Identifier: Apache-2.0 */
/* One small HTTP exchange on a connection of its own, two seconds from the first thought to the
 * last byte. */
#include "internal.h"

#include <stdio.h>

#include "fermata/units.h"

static void ask_end(struct ask *ask)
{
    struct net_client *client = fm_take(ask->client);
    pf_timer_stop(ask->platform, &ask->timer);
    ask->done(ask); /* looks at the answer, which is the connection's; may start the next one */
    (void)net_client_free(client);
}

static void ask_on_call(struct net_call *call, int rc)
{
    struct ask *ask = call->self;
    struct fm_slice date;
    ask->rc = rc;
    if (ask->is_late)
        ask->rc = fm_fail(&ask->why, FM_ETIMEOUT, "%s: no answer in %llu s", ask->host,
                          (unsigned long long)(ASK_DEADLINE_NS / FM_NS_PER_S));
    else if (rc < 0)
        (void)fm_fail(&ask->why, rc, "%s", call->why.text[0] ? call->why.text : fm_rc_text(rc));
    if (ask->rc == FM_OK) {
        ask->status = call->status;
        ask->answer = call->response_body;
        if (http_header_find(call->response_headers, call->response_header_count, "date", &date) !=
                FM_OK ||
            fm_http_date_parse(date, &ask->date_unix_s) != FM_OK)
            ask->date_unix_s = 0;
    }
    ask_end(ask);
}

static void ask_on_timer(struct pf_timer *timer)
{
    struct ask *ask = FM_CONTAINER(timer, struct ask, timer);
    pf_timer_stop(ask->platform, timer);
    if (ask->rc < 0) { /* there is not even a client */
        ask_end(ask);
        return;
    }
    ask->is_late = true;
    ask->client = net_client_free(ask->client); /* ends the call, and the call ends us */
}

void ask_cancel(struct ask *ask)
{
    if (ask->client)
        ask->client = net_client_free(ask->client);
}

void ask_wipe_answer(struct ask *ask)
{
    if (ask->answer.len) /* the connection's own buffer, which is about to be freed */
        explicit_bzero((void *)(uintptr_t)ask->answer.ptr, ask->answer.len);
    ask->answer = (struct fm_slice){0};
}

static void ask_put_host(struct ask *ask)
{
    bool is_v6 = strchr(ask->url.host, ':');
    int len = snprintf(ask->host, sizeof ask->host, "%s%s%s", is_v6 ? "[" : "", ask->url.host,
                       is_v6 ? "]" : "");
    if (ask->url.port != (ask->url.is_https ? 443 : 80))
        (void)snprintf(ask->host + len, sizeof ask->host - (size_t)len, ":%u", ask->url.port);
}

void ask_start(struct ask *ask)
{
    const struct net_client_options options = {
        .host = ask->url.host,
        .port = ask->url.port,
        .tls = ask->url.is_https,
        .tls_ca_file = ask->tls_ca_file,
        .proxy = ask->proxy,
        .proxy_auth_file = ask->proxy_auth_file,
        .connect_timeout_ns = ASK_DEADLINE_NS,
        .stall_timeout_ns = ASK_DEADLINE_NS,
    };
    ask_put_host(ask);
    ask->timer = (struct pf_timer){.fire = ask_on_timer};
    ask->is_late = false;
    ask->answer = (struct fm_slice){0};
    ask->date_unix_s = 0;
    ask->why.text[0] = '\0';
    ask->client = NULL;
    ask->rc = net_client_new(&ask->client, ask->platform, &options, &ask->why);
    pf_timer_start(ask->platform, &ask->timer, ask->rc < 0 ? 0 : ASK_DEADLINE_NS);
    if (ask->rc < 0)
        return;
    ask->call = (struct net_call){
        .method = ask->method,
        .host = fm_slice_text(ask->host),
        .target = fm_slice_text(ask->url.target),
        .headers = ask->headers,
        .header_count = ask->header_count,
        .body = fm_source_memory(&ask->body),
        .body_length = ask->body.len,
        .response_bytes_max = ASK_ANSWER_MAX,
        .done = ask_on_call,
        .self = ask,
    };
    net_call_start(ask->client, &ask->call);
}
