/* SPDX-License-Identifier: Apache-2.0 */
/* auth - who may use a listener: what was loaded from its files, and verdicts on requests.
 *
 * A set is what one reading of the files gave; a reload makes another one and old checks finish
 * with the old.  All of it belongs to the loop's thread but the hashing of passwords. */
#ifndef NET_AUTH_H
#define NET_AUTH_H

#include <uv.h>

#include "auth_parse.h"
#include "fermata/net.h"

#define AUTH_DIGEST_BYTES 32u

struct auth_user {
    const char *name, *hash;
};
struct auth_token {
    const char *name;
    uint8_t digest[AUTH_DIGEST_BYTES];
};
struct auth_peer { /* a user of this host */
    uint32_t uid;
    const char *name;
};

/* What is known about credentials that were hashed before. */
#define AUTH_MEMORY_ENTRIES 256u
struct auth_memory {
    struct {
        uint8_t digest[AUTH_DIGEST_BYTES]; /* salted, of name and password */
        uint64_t until_ns;                 /* 0: empty */
    } entries[AUTH_MEMORY_ENTRIES];
    unsigned next;
};

struct auth_set {
    unsigned ref_count;
    struct fm_arena arena; /* owns the texts and tables */
    struct auth_user *users;
    struct auth_token *tokens;
    struct auth_peer *peers;
    size_t user_count, token_count, peer_count;
    bool wants_user, wants_token, wants_peer;
    uint8_t salt[AUTH_DIGEST_BYTES];
    struct auth_memory *good, *bad; /* owned; with users only */
};
/* FM_ECONFIG: why names the key, the file and the line. */
FM_MUST int auth_set_new(struct auth_set **ret_set, struct platform *platform,
                         const struct net_server_options *options, struct fm_why *why);
struct auth_set *auth_set_ref(struct auth_set *set);
struct auth_set *auth_set_unref(struct auth_set *set);
/* The name of a user of this host who may connect; NULL: nobody of the list. */
const char *auth_set_peer(const struct auth_set *set, uint32_t uid);

enum auth_verdict {
    AUTH_GRANTED,
    AUTH_DENIED,
    AUTH_WAITS, /* the request is on a check's list; auth_on_verdict will be called */
    AUTH_BUSY,  /* too much hashing is under way, or too many failures of this peer */
};
struct net_request;
/* Fills the request's identity if it is granted something. */
enum auth_verdict auth_judge(struct net_request *request);

/* Passwords that are being hashed for one server: one at a time, a few in the queue. */
struct auth_desk {
    struct fm_link queue; /* of struct auth_check; the first is being hashed */
    unsigned queue_count;
    bool is_hashing;
};
void auth_desk_init(struct auth_desk *desk);
/* Drops what waits; not while is_hashing. */
void auth_desk_fini(struct auth_desk *desk);

#endif
