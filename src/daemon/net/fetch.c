/* SPDX-License-Identifier: Apache-2.0 */
/* Fetching: a line of requests, a thread with a loop, a connection for each request at work.
 *
 *   WAITING (in the line) --> RUNNING (has a connection) --> ENDED        WAITING --> ENDED
 *
 * The lock guards the line, the states and the flags.  A task lives from net_fetch_start to
 * net_fetch_wait; the loop does not look at one that has ended.  Who waits looks at the deadline
 * and the caller's flag itself, ten times a second, and calls the task off; since the loop never
 * blocks, the end of one that was called off is a matter of a turn. */
#include "fermata/net_fetch.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "fermata/net.h"
#include "internal.h"

#define FETCH_LOOK_NS     (NET_SECOND_NS / 10)
#define FETCH_CLIENTS_MAX 16u

enum fetch_state { FETCH_WAITING, FETCH_RUNNING, FETCH_ENDED };

static const struct fm_sm_rule fetch_rules[] = {
    [FETCH_WAITING] = {"waiting", FM_TO(FETCH_RUNNING) | FM_TO(FETCH_ENDED)},
    [FETCH_RUNNING] = {"running", FM_TO(FETCH_ENDED)},
    [FETCH_ENDED] = {"ended", 0},
};

struct fetch_slot { /* a connection; the loop's */
    struct net_fetcher *fetcher;
    struct net_client *client; /* owned; NULL: none was needed yet */
    char host[254];            /* where it leads */
    uint16_t port;
    bool tls;
    struct fetch_task *task; /* at work; NULL: free */
};

struct fetch_task {
    struct fm_sm state;
    struct fm_link link;     /* of the line */
    struct net_fetch *fetch; /* the caller's */
    struct fetch_slot *slot;
    struct net_call call;
    bool is_called_off;
    int rc;
    uv_cond_t ended;
};

struct net_fetcher {
    struct platform *platform; /* owned; its loop is the thread's */
    uv_thread_t thread;
    uv_async_t wake;
    uv_mutex_t lock;
    struct fm_link line; /* of tasks that wait */
    bool is_stopping;
    char *tls_ca_file; /* owned */
    uint64_t connect_timeout_ns, stall_timeout_ns;
    struct fetch_slot slots[FETCH_CLIENTS_MAX];
    uint32_t slot_count;
};

/* ---- the loop's side ---- */

static void fetch_end(struct fetch_task *task, int rc)
{
    fm_sm_move(&task->state, FETCH_ENDED);
    task->rc = rc;
    uv_cond_signal(&task->ended);
}

static int fetch_copy_answer(struct net_fetch *fetch, const struct net_call *call)
{
    size_t count = FM_MIN(call->response_header_count, (size_t)NET_FETCH_HEADERS_MAX);
    fetch->status = call->status;
    fm_buf_put_slice(&fetch->body, call->response_body);
    for (size_t i = 0; i < count; i++) {
        fm_buf_put_slice(&fetch->header_text, call->response_headers[i].name);
        fm_buf_put_slice(&fetch->header_text, call->response_headers[i].value);
    }
    if (fetch->body.failed || fetch->header_text.failed)
        return FM_ENOMEM;
    const uint8_t *at = fetch->header_text.ptr; /* does not move any more */
    for (size_t i = 0; i < count; i++) {
        size_t name_len = call->response_headers[i].name.len;
        size_t value_len = call->response_headers[i].value.len;
        fetch->response_headers[i] =
            (struct http_header){fm_slice(at, name_len), fm_slice(at + name_len, value_len)};
        at += name_len + value_len;
    }
    fetch->response_header_count = count;
    return FM_OK;
}

static void fetch_on_done(struct net_call *call, int rc)
{
    struct fetch_task *task = call->self;
    struct fetch_slot *slot = task->slot;
    struct net_fetcher *fetcher = slot->fetcher;
    if (rc == FM_OK)
        rc = fetch_copy_answer(task->fetch, call);
    else
        task->fetch->why = call->why;
    slot->task = NULL;
    uv_mutex_lock(&fetcher->lock);
    fetch_end(task, rc);
    uv_mutex_unlock(&fetcher->lock);
    uv_async_send(&fetcher->wake); /* the connection is busy with us here */
}

static int slot_connect(struct fetch_slot *slot, struct net_fetch *fetch)
{
    struct net_fetcher *fetcher = slot->fetcher;
    const struct net_client_options options = {
        .host = fetch->connect_host,
        .port = fetch->connect_port,
        .tls = fetch->tls,
        .tls_ca_file = fetcher->tls_ca_file,
        .connect_timeout_ns = fetcher->connect_timeout_ns,
        .stall_timeout_ns = fetcher->stall_timeout_ns,
    };
    if (slot->client && slot->port == fetch->connect_port && slot->tls == fetch->tls &&
        strcmp(slot->host, fetch->connect_host) == 0)
        return FM_OK;
    slot->client = net_client_free(slot->client);
    (void)snprintf(slot->host, sizeof slot->host, "%s", fetch->connect_host);
    slot->port = fetch->connect_port;
    slot->tls = fetch->tls;
    return net_client_new(&slot->client, fetcher->platform, &options, &fetch->why);
}

static void slot_start(struct fetch_slot *slot, struct fetch_task *task)
{
    struct net_fetch *fetch = task->fetch;
    int rc = slot_connect(slot, fetch);
    if (rc < 0) {
        uv_mutex_lock(&slot->fetcher->lock);
        fetch_end(task, rc);
        uv_mutex_unlock(&slot->fetcher->lock);
        return;
    }
    slot->task = task;
    task->slot = slot;
    task->call = (struct net_call){
        .method = fetch->method,
        .host = fetch->host,
        .target = fetch->target,
        .headers = fetch->headers,
        .header_count = fetch->header_count,
        .response_bytes_max = fetch->response_bytes_max,
        .done = fetch_on_done,
        .self = task,
    };
    net_call_start(slot->client, &task->call);
}

/* A free connection, best one that leads to the same place; NULL: all are at work. */
static struct fetch_slot *fetcher_free_slot(struct net_fetcher *fetcher, const char *host)
{
    struct fetch_slot *found = NULL;
    for (uint32_t i = 0; i < fetcher->slot_count; i++) {
        struct fetch_slot *slot = &fetcher->slots[i];
        if (slot->task)
            continue;
        if (slot->client && strcmp(slot->host, host) == 0)
            return slot;
        if (!found || (found->client && !slot->client))
            found = slot;
    }
    return found;
}

/* The next of the line that can begin, out of it; NULL: none. */
static struct fetch_task *fetcher_next(struct net_fetcher *fetcher, struct fetch_slot **ret_slot)
{
    struct fetch_task *task = NULL;
    uv_mutex_lock(&fetcher->lock);
    if (!fm_list_empty(&fetcher->line)) {
        task = FM_CONTAINER(fetcher->line.next, struct fetch_task, link);
        *ret_slot = fetcher_free_slot(fetcher, task->fetch->connect_host);
        if (*ret_slot) {
            fm_list_remove(&task->link);
            fm_sm_move(&task->state, FETCH_RUNNING);
        } else {
            task = NULL;
        }
    }
    uv_mutex_unlock(&fetcher->lock);
    return task;
}

static void fetcher_stop(struct net_fetcher *fetcher)
{
    if (uv_is_closing((uv_handle_t *)&fetcher->wake))
        return;
    for (uint32_t i = 0; i < fetcher->slot_count; i++)
        fetcher->slots[i].client = net_client_free(fetcher->slots[i].client);
    uv_close((uv_handle_t *)&fetcher->wake, NULL);
    uv_platform_stop(fetcher->platform);
}

static void fetcher_on_wake(uv_async_t *wake)
{
    struct net_fetcher *fetcher = FM_CONTAINER(wake, struct net_fetcher, wake);
    struct fetch_slot *slot;
    struct fetch_task *task;
    for (uint32_t i = 0; i < fetcher->slot_count; i++) {
        slot = &fetcher->slots[i];
        uv_mutex_lock(&fetcher->lock);
        bool ends = slot->task && slot->task->is_called_off;
        uv_mutex_unlock(&fetcher->lock);
        if (ends) /* ends the call, and the call's end the task */
            slot->client = net_client_free(slot->client);
    }
    while ((task = fetcher_next(fetcher, &slot)))
        slot_start(slot, task);
    uv_mutex_lock(&fetcher->lock);
    bool is_stopping = fetcher->is_stopping;
    uv_mutex_unlock(&fetcher->lock);
    if (is_stopping)
        fetcher_stop(fetcher);
}

static void fetcher_thread(void *self)
{
    struct net_fetcher *fetcher = self;
    uv_platform_run(fetcher->platform);
}

/* ---- life ---- */

static int fetcher_start(struct net_fetcher *fetcher)
{
    sigset_t all, before;
    int rc = uv_platform_new(&fetcher->platform, 1, 1);
    if (rc < 0)
        return rc;
    if (uv_async_init(uv_platform_loop(fetcher->platform), &fetcher->wake, fetcher_on_wake)) {
        fetcher->platform = uv_platform_free(fetcher->platform);
        return FM_EUNAVAILABLE;
    }
    sigfillset(&all); /* signals belong to the thread that made us */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = uv_thread_create(&fetcher->thread, fetcher_thread, fetcher);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!failure)
        return FM_OK;
    uv_close((uv_handle_t *)&fetcher->wake, NULL);
    uv_platform_stop(fetcher->platform);
    uv_platform_run(fetcher->platform);
    fetcher->platform = uv_platform_free(fetcher->platform);
    return FM_EUNAVAILABLE;
}

int net_fetcher_new(struct net_fetcher **ret_fetcher, const struct net_fetcher_options *options,
                    struct fm_why *why)
{
    struct net_fetcher *fetcher = calloc(1, sizeof *fetcher);
    if (!fetcher)
        return FM_ENOMEM;
    fm_list_init(&fetcher->line);
    fetcher->connect_timeout_ns = options->connect_timeout_ns;
    fetcher->stall_timeout_ns = options->stall_timeout_ns;
    fetcher->slot_count = FM_MIN(FM_MAX(options->connection_max, 1u), FETCH_CLIENTS_MAX);
    for (uint32_t i = 0; i < fetcher->slot_count; i++)
        fetcher->slots[i].fetcher = fetcher;
    fetcher->tls_ca_file = strdup(options->tls_ca_file ? options->tls_ca_file : "");
    if (!fetcher->tls_ca_file || uv_mutex_init(&fetcher->lock)) {
        free(fetcher->tls_ca_file);
        free(fetcher);
        return FM_ENOMEM;
    }
    int rc = fetcher_start(fetcher);
    if (rc < 0) {
        uv_mutex_destroy(&fetcher->lock);
        free(fetcher->tls_ca_file);
        free(fetcher);
        return fm_fail(why, rc, "no thread for requests");
    }
    *ret_fetcher = fetcher;
    return FM_OK;
}

struct net_fetcher *net_fetcher_free(struct net_fetcher *fetcher)
{
    if (!fetcher)
        return NULL;
    uv_mutex_lock(&fetcher->lock);
    FM_ASSERT(fm_list_empty(&fetcher->line));
    fetcher->is_stopping = true;
    uv_mutex_unlock(&fetcher->lock);
    uv_async_send(&fetcher->wake);
    uv_thread_join(&fetcher->thread);
    uv_platform_free(fetcher->platform);
    uv_mutex_destroy(&fetcher->lock);
    free(fetcher->tls_ca_file);
    free(fetcher);
    return NULL;
}

/* ---- who asks ---- */

int net_fetch_start(struct net_fetcher *fetcher, struct net_fetch *fetch)
{
    struct fetch_task *task = calloc(1, sizeof *task);
    if (!task)
        return FM_ENOMEM;
    if (uv_cond_init(&task->ended)) {
        free(task);
        return FM_ENOMEM;
    }
    fm_buf_init(&fetch->body, fetch->response_bytes_max);
    fm_buf_init(&fetch->header_text, FM_KIB(128));
    fetch->status = 0;
    fetch->response_header_count = 0;
    fetch->why.text[0] = '\0';
    fetch->task = task;
    task->state = (struct fm_sm){fetch_rules, FETCH_WAITING};
    task->fetch = fetch;
    fm_list_init(&task->link);
    uv_mutex_lock(&fetcher->lock);
    fm_list_append(&fetcher->line, &task->link);
    uv_mutex_unlock(&fetcher->lock);
    uv_async_send(&fetcher->wake);
    return FM_OK;
}

/* FM_OK: go on waiting. */
static int fetch_look(const struct net_fetch *fetch)
{
    if (fetch->cancelled && atomic_load(fetch->cancelled))
        return FM_ECANCELLED;
    return fetch->deadline_ns && uv_hrtime() >= fetch->deadline_ns ? FM_ETIMEOUT : FM_OK;
}

int net_fetch_wait(struct net_fetcher *fetcher, struct net_fetch *fetch)
{
    struct fetch_task *task = fm_take(fetch->task);
    int called_off = FM_OK;

    uv_mutex_lock(&fetcher->lock);
    while (task->state.state != FETCH_ENDED) {
        if (called_off == FM_OK)
            called_off = fetch_look(fetch);
        if (called_off < 0 && task->state.state == FETCH_WAITING) {
            fm_list_remove(&task->link);
            fetch_end(task, called_off);
            break;
        }
        if (called_off < 0 && !task->is_called_off) {
            task->is_called_off = true;
            uv_async_send(&fetcher->wake);
        }
        (void)uv_cond_timedwait(&task->ended, &fetcher->lock, FETCH_LOOK_NS);
    }
    uv_mutex_unlock(&fetcher->lock);
    int rc = task->rc < 0 && called_off < 0 ? called_off : task->rc;
    if (rc == called_off && rc < 0)
        (void)fm_fail(&fetch->why, rc, "%s", fm_rc_text(rc));
    uv_cond_destroy(&task->ended);
    free(task);
    return rc;
}

void net_fetch_fini(struct net_fetch *fetch)
{
    fm_buf_fini(&fetch->body);
    fm_buf_fini(&fetch->header_text);
}
