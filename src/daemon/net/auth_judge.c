/* SPDX-License-Identifier: Apache-2.0 */
/* Verdicts on requests.
 *
 * A password costs tens of milliseconds to hash, on purpose.  So it is hashed on a thread, one at a
 * time, and both results are remembered by a salted digest of name and password: the second request
 * costs one SHA-256.  Whoever fails often waits: strangers may not keep the thread busy.  Requests
 * with a credential that is being hashed join its check. */
#include <stdio.h>
#include <stdlib.h>

#include "auth.h"
#include "internal.h"
#include "password.h"

#define AUTH_GOOD_NS   (600 * NET_SECOND_NS)
#define AUTH_BAD_NS    (60 * NET_SECOND_NS)
#define AUTH_QUEUE_MAX 16u

struct auth_check {
    uv_work_t work;
    struct fm_link link;       /* desk->queue */
    struct fm_link waiters;    /* requests, by their waiting */
    struct net_server *server; /* borrowed; lives while is_hashing */
    struct auth_set *set;      /* shared */
    uint8_t digest[AUTH_DIGEST_BYTES];
    const struct auth_user *user; /* of the set */
    bool is_known;                /* else somebody's hash is taken, for the time it takes */
    bool matches;
    char password[AUTH_CREDENTIAL_BYTES_MAX + 1];
};

/* ---- memory ---- */

static bool digest_equal(const uint8_t a[AUTH_DIGEST_BYTES], const uint8_t b[AUTH_DIGEST_BYTES])
{
    uint8_t difference = 0;

    for (size_t i = 0; i < AUTH_DIGEST_BYTES; i++)
        difference |= a[i] ^ b[i];
    return difference == 0;
}

static bool memory_has(const struct auth_memory *memory, const uint8_t digest[AUTH_DIGEST_BYTES],
                       uint64_t now_ns)
{
    for (unsigned i = 0; i < AUTH_MEMORY_ENTRIES; i++) {
        if (memory->entries[i].until_ns > now_ns && digest_equal(memory->entries[i].digest, digest))
            return true;
    }
    return false;
}

static void memory_keep(struct auth_memory *memory, const uint8_t digest[AUTH_DIGEST_BYTES],
                        uint64_t until_ns)
{
    unsigned i = memory->next++ % AUTH_MEMORY_ENTRIES;
    memcpy(memory->entries[i].digest, digest, AUTH_DIGEST_BYTES);
    memory->entries[i].until_ns = until_ns;
}

/* ---- hashing ---- */

static void desk_start(struct net_server *server);

void auth_desk_init(struct auth_desk *desk)
{
    *desk = (struct auth_desk){0};
    fm_list_init(&desk->queue);
}

static void check_free(struct auth_check *check)
{
    fm_list_remove(&check->link);
    auth_set_unref(check->set);
    explicit_bzero(check->password, sizeof check->password);
    free(check);
}

void auth_desk_fini(struct auth_desk *desk)
{
    FM_ASSERT(!desk->is_hashing);
    while (!fm_list_empty(&desk->queue)) {
        struct auth_check *check = FM_CONTAINER(desk->queue.next, struct auth_check, link);
        FM_ASSERT(fm_list_empty(&check->waiters));
        check_free(check);
    }
}

static void grant(struct net_request *request, enum net_identity_kind kind, const char *name)
{
    request->identity.kind = kind;
    (void)snprintf(request->identity.name, sizeof request->identity.name, "%s", name);
    request->view.identity = &request->identity;
}

static void log_denied(struct net_request *request, const char *what)
{
    char peer[64];
    conn_peer_text(request->conn, peer);
    log_info("net.auth.refused", "listener=%s peer=%s why=\"%s\"",
             request->conn->server->options.name, peer, what);
}

static void check_tell(struct auth_check *check)
{
    struct net_server *server = check->server;
    uint64_t now_ns = pf_now_ns(server->platform);
    bool good = check->matches && check->is_known;
    bool first = true;

    if (good)
        memory_keep(check->set->good, check->digest, now_ns + AUTH_GOOD_NS);
    else
        memory_keep(check->set->bad, check->digest, now_ns + AUTH_BAD_NS);
    while (!fm_list_empty(&check->waiters)) {
        struct net_request *request =
            FM_CONTAINER(check->waiters.next, struct net_request, waiting);
        request_stop_waiting(request);
        if (good)
            grant(request, NET_USER, check->user->name);
        else if (first && request->conn->peer)
            peer_note_failure(request->conn->peer, now_ns);
        if (!good && first)
            log_denied(request, "wrong user or password");
        first = false;
        request_on_verdict(request, good ? AUTH_GRANTED : AUTH_DENIED);
    }
}

static void check_on_work(uv_work_t *work)
{
    struct auth_check *check = FM_CONTAINER(work, struct auth_check, work);
    check->matches = password_matches(check->password, check->user->hash);
}

static void check_on_done(uv_work_t *work, int status)
{
    (void)status; /* nobody cancels it */
    struct auth_check *check = FM_CONTAINER(work, struct auth_check, work);
    struct net_server *server = check->server;

    server->desk.is_hashing = false;
    server->desk.queue_count--;
    fm_list_remove(&check->link); /* nobody may join it any more */
    check_tell(check);
    check_free(check);
    desk_start(server);
    net_server_maybe_closed(server);
}

/* Checks for nobody, whose connections have gone, are dropped unhashed. */
static void desk_start(struct net_server *server)
{
    struct auth_desk *desk = &server->desk;

    while (!desk->is_hashing && !fm_list_empty(&desk->queue)) {
        struct auth_check *check = FM_CONTAINER(desk->queue.next, struct auth_check, link);
        if (fm_list_empty(&check->waiters)) {
            desk->queue_count--;
            check_free(check);
            continue;
        }
        desk->is_hashing = true;
        int failure = uv_queue_work(server->loop, &check->work, check_on_work, check_on_done);
        FM_ASSERT(failure == 0); /* the only failure is to give no function */
    }
}

static struct auth_check *desk_find(struct auth_desk *desk, const struct auth_set *set,
                                    const uint8_t digest[AUTH_DIGEST_BYTES])
{
    for (struct fm_link *link = desk->queue.next; link != &desk->queue; link = link->next) {
        struct auth_check *check = FM_CONTAINER(link, struct auth_check, link);
        if (check->set == set && digest_equal(check->digest, digest))
            return check;
    }
    return NULL;
}

static const struct auth_user *set_find_user(const struct auth_set *set, struct fm_slice name)
{
    for (size_t i = 0; i < set->user_count; i++) {
        if (fm_slice_equal_text(name, set->users[i].name))
            return &set->users[i];
    }
    return NULL;
}

static struct auth_check *desk_add(struct net_server *server,
                                   const struct auth_credential *credential,
                                   const uint8_t digest[AUTH_DIGEST_BYTES])
{
    struct auth_desk *desk = &server->desk;
    struct auth_check *check = desk->queue_count < AUTH_QUEUE_MAX ? calloc(1, sizeof *check) : NULL;

    if (!check)
        return NULL;
    check->server = server;
    check->set = auth_set_ref(server->auth);
    memcpy(check->digest, digest, AUTH_DIGEST_BYTES);
    check->user = set_find_user(check->set, credential->name);
    check->is_known = check->user != NULL;
    if (!check->user)
        check->user = &check->set->users[0];
    memcpy(check->password, credential->secret.ptr, credential->secret.len);
    fm_list_init(&check->waiters);
    fm_list_append(&desk->queue, &check->link);
    desk->queue_count++;
    return check;
}

/* ---- verdicts ---- */

static enum auth_verdict judge_basic(struct net_request *request,
                                     const struct auth_credential *credential)
{
    struct net_server *server = request->conn->server;
    const struct auth_set *set = server->auth;
    const struct fm_slice parts[] = {fm_slice(set->salt, sizeof set->salt), credential->name,
                                     FM_SLICE(":"), credential->secret};
    uint64_t now_ns = pf_now_ns(server->platform);
    uint8_t digest[AUTH_DIGEST_BYTES];

    tls_sha256(parts, FM_COUNT(parts), digest);
    if (memory_has(set->good, digest, now_ns)) {
        grant(request, NET_USER, set_find_user(set, credential->name)->name);
        return AUTH_GRANTED;
    }
    if (memory_has(set->bad, digest, now_ns)) {
        log_denied(request, "wrong user or password, again");
        return AUTH_DENIED;
    }
    struct auth_check *check = desk_find(&server->desk, set, digest);
    if (!check && request->conn->peer && peer_fails_often(request->conn->peer, now_ns))
        return AUTH_BUSY;
    if (!check)
        check = desk_add(server, credential, digest);
    if (!check)
        return AUTH_BUSY;
    request_wait(request, &check->waiters);
    desk_start(server);
    return AUTH_WAITS;
}

static enum auth_verdict judge_bearer(struct net_request *request, struct fm_slice token)
{
    const struct auth_set *set = request->conn->server->auth;
    uint8_t digest[AUTH_DIGEST_BYTES];
    const char *name = NULL;

    tls_sha256(&token, 1, digest);
    for (size_t i = 0; i < set->token_count; i++) { /* all of them, found or not */
        if (digest_equal(set->tokens[i].digest, digest))
            name = set->tokens[i].name;
    }
    if (!name) {
        log_denied(request, "unknown token");
        return AUTH_DENIED;
    }
    grant(request, NET_TOKEN, name);
    return AUTH_GRANTED;
}

/* The one Authorization header; two of them are none. */
static int find_credential(const struct net_request *request,
                           struct auth_credential *ret_credential)
{
    struct fm_slice value = {0};
    unsigned count = 0;

    for (size_t i = 0; i < request->view.header_count; i++) {
        if (!fm_slice_equal_text(request->view.headers[i].name, "authorization"))
            continue;
        value = request->view.headers[i].value;
        count++;
    }
    return count == 1 ? auth_parse_header(value, ret_credential) : FM_EMALFORMED;
}

enum auth_verdict auth_judge(struct net_request *request)
{
    const struct auth_set *set = request->conn->server->auth;
    struct auth_credential credential;
    enum auth_verdict verdict = AUTH_DENIED;

    if (!set->wants_user && !set->wants_token)
        return AUTH_GRANTED; /* the connection's identity is all there is */
    credential.scheme = AUTH_SCHEME_NONE;
    if (find_credential(request, &credential) < 0)
        log_denied(request, "no usable Authorization header");
    else if (credential.scheme == AUTH_SCHEME_BASIC && set->wants_user)
        verdict = judge_basic(request, &credential);
    else if (credential.scheme == AUTH_SCHEME_BEARER && set->wants_token)
        verdict = judge_bearer(request, credential.secret);
    else
        log_denied(request, "the scheme is not asked for here");
    explicit_bzero(credential.bytes, sizeof credential.bytes);
    return verdict;
}
