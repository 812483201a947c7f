/* SPDX-License-Identifier: Apache-2.0 */
/* The files of users and tokens, and the users of this host behind a unix socket, made into tables.
 *
 * Tokens are kept as SHA-256: what is compared has one length, and a core file shows none. */
#include "auth.h"

#include <pwd.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "fermata/units.h"
#include "password.h"
#include "tls.h"

#define AUTH_FILE_BYTES_MAX FM_MIB(1)
#define AUTH_SET_BYTES_MAX  FM_MIB(8)
#define AUTH_NSS_BYTES      FM_KIB(16)

static struct auth_set *auth_set_free(struct auth_set *set)
{
    if (!set)
        return NULL;
    fm_arena_fini(&set->arena);
    free(set->good);
    free(set->bad);
    explicit_bzero(set, sizeof *set);
    free(set);
    return NULL;
}
FM_DEFINE_AUTO(auth_set)

struct auth_set *auth_set_ref(struct auth_set *set)
{
    set->ref_count++;
    return set;
}

struct auth_set *auth_set_unref(struct auth_set *set)
{
    if (set && --set->ref_count == 0)
        auth_set_free(set);
    return NULL;
}

static const char *auth_set_text(struct auth_set *set, struct fm_slice text)
{
    char *copy = fm_arena_alloc(&set->arena, text.len + 1);
    if (copy) {
        memcpy(copy, text.ptr, text.len);
        copy[text.len] = 0;
    }
    return copy;
}

/* ---- files ---- */

static void warn_if_readable(const char *listener, const char *path)
{
    struct stat status;
    if (stat(path, &status) == 0 && (status.st_mode & S_IROTH))
        log_warn("net.secret.readable", "listener=%s file=\"%s\" mode=%04o", listener, path,
                 (unsigned)status.st_mode & 07777u);
}

static bool auth_set_has_user(const struct auth_set *set, struct fm_slice name)
{
    for (size_t i = 0; i < set->user_count; i++) {
        if (fm_slice_equal_text(name, set->users[i].name))
            return true;
    }
    return false;
}

static int auth_set_add(struct auth_set *set, const struct auth_file *file,
                        const struct auth_entry *entry, struct fm_why *why)
{
    const char *name = auth_set_text(set, entry->name);

    if (file->kind == AUTH_TOKENS) {
        struct auth_token *token = &set->tokens[set->token_count++];
        token->name = name;
        tls_sha256(&entry->secret, 1, token->digest);
        return FM_OK;
    }
    if (auth_set_has_user(set, entry->name))
        return fm_fail(why, FM_ECONFIG, "%.200s:%u: a second line of the same user", file->path,
                       file->line);
    struct auth_user *user = &set->users[set->user_count++];
    *user = (struct auth_user){name, auth_set_text(set, entry->secret)};
    if (user->hash && !password_hash_is_known(user->hash))
        return fm_fail(why, FM_ECONFIG, "%.200s:%u: not a hash that this system's crypt knows",
                       file->path, file->line);
    return FM_OK;
}

static int auth_set_parse(struct auth_set *set, enum auth_file_kind kind, const char *path,
                          struct fm_slice text, struct fm_why *why)
{
    struct auth_file file = {.kind = kind, .path = path, .rest = text}, counting = file;
    struct auth_entry entry;
    size_t count = 0;
    int rc;

    while ((rc = auth_file_next(&counting, &entry, why)) == FM_OK)
        count++;
    if (rc < 0)
        return rc;
    if (!count || count > AUTH_ENTRIES_MAX)
        return fm_fail(why, FM_ECONFIG, "%.200s: %s", path,
                       count ? "more than 10000 entries" : "nobody is in it");
    if (kind == AUTH_HTPASSWD)
        set->users = fm_arena_zalloc(&set->arena, count * sizeof *set->users);
    else
        set->tokens = fm_arena_zalloc(&set->arena, count * sizeof *set->tokens);
    while (!fm_arena_failed(&set->arena) && (rc = auth_file_next(&file, &entry, why)) == FM_OK) {
        rc = auth_set_add(set, &file, &entry, why);
        if (rc < 0)
            return rc;
    }
    return fm_arena_failed(&set->arena) ? FM_ENOMEM : FM_OK;
}

static int auth_set_load(struct auth_set *set, struct platform *platform, enum auth_file_kind kind,
                         const char *listener, const char *path, struct fm_why *why)
{
    struct fm_buf text;

    fm_buf_init(&text, AUTH_FILE_BYTES_MAX);
    int rc = pf_read_file(platform, path, &text, why);
    if (rc == FM_ENOTFOUND || rc == FM_EDENIED || rc == FM_ELIMIT)
        rc = FM_ECONFIG;
    if (rc == FM_OK)
        rc = auth_set_parse(set, kind, path, fm_buf_slice(&text), why);
    if (text.ptr)
        explicit_bzero(text.ptr, text.cap);
    fm_buf_fini(&text);
    if (rc < 0)
        return fm_wrap(why, rc, kind == AUTH_HTPASSWD ? "htpasswd_file" : "bearer_tokens_file");
    warn_if_readable(listener, path);
    return FM_OK;
}

/* ---- users of this host ---- */

/* A name, or a number whose name is looked up; the number is its name if there is none. */
static int auth_set_add_peer(struct auth_set *set, struct fm_slice word, struct fm_why *why)
{
    struct auth_peer *peer = &set->peers[set->peer_count];
    struct passwd entry, *found = NULL;
    char *scratch = malloc(AUTH_NSS_BYTES);
    uint64_t number;
    int rc = FM_OK;

    peer->name = auth_set_text(set, word);
    if (!scratch || !peer->name) {
        free(scratch);
        return FM_ENOMEM;
    }
    bool is_number = fm_u64_parse(word, &number) == FM_OK && number < UINT32_MAX;
    if (is_number)
        (void)getpwuid_r((uid_t)number, &entry, scratch, AUTH_NSS_BYTES, &found);
    else
        (void)getpwnam_r(peer->name, &entry, scratch, AUTH_NSS_BYTES, &found);
    if (!is_number && !found)
        rc = fm_fail(why, FM_ECONFIG, "unix_allowed_users: this host has no user \"%.100s\"",
                     peer->name);
    else
        peer->uid = is_number ? (uint32_t)number : (uint32_t)entry.pw_uid;
    if (found && is_number && auth_name_is_good(fm_slice_text(entry.pw_name)))
        peer->name = auth_set_text(set, fm_slice_text(entry.pw_name));
    free(scratch);
    set->peer_count++;
    return rc;
}

static int auth_set_load_peers(struct auth_set *set, const char *list, struct fm_why *why)
{
    struct fm_slice rest = fm_slice_text(list), word;
    size_t count = 0;

    while (auth_word_next(&rest, &word) == FM_OK)
        count++;
    if (!count)
        return FM_OK;
    set->wants_peer = true;
    set->peers = fm_arena_zalloc(&set->arena, count * sizeof *set->peers);
    if (!set->peers)
        return FM_ENOMEM;
    rest = fm_slice_text(list);
    while (auth_word_next(&rest, &word) == FM_OK) {
        if (!auth_name_is_good(word))
            return fm_fail(why, FM_ECONFIG, "unix_allowed_users: a name is too long or strange");
        int rc = auth_set_add_peer(set, word, why);
        if (rc < 0)
            return rc;
    }
    return FM_OK;
}

const char *auth_set_peer(const struct auth_set *set, uint32_t uid)
{
    for (size_t i = 0; i < set->peer_count; i++) {
        if (set->peers[i].uid == uid)
            return set->peers[i].name;
    }
    return NULL;
}

/* ---- the set ---- */

static bool is_given(const char *text)
{
    return text && text[0];
}

int auth_set_new(struct auth_set **ret_set, struct platform *platform,
                 const struct net_server_options *options, struct fm_why *why)
{
    FM_AUTO(auth_set) set = calloc(1, sizeof *set);
    int rc = FM_OK;

    if (!set)
        return FM_ENOMEM;
    set->ref_count = 1;
    fm_arena_init(&set->arena, AUTH_SET_BYTES_MAX);
    set->wants_user = is_given(options->htpasswd_file);
    set->wants_token = is_given(options->bearer_tokens_file);
    platform->ops->random(platform, set->salt, sizeof set->salt);
    if (set->wants_user) {
        set->good = calloc(1, sizeof *set->good);
        set->bad = calloc(1, sizeof *set->bad);
        if (!set->good || !set->bad)
            return FM_ENOMEM;
        rc =
            auth_set_load(set, platform, AUTH_HTPASSWD, options->name, options->htpasswd_file, why);
    }
    if (rc == FM_OK && set->wants_token)
        rc = auth_set_load(set, platform, AUTH_TOKENS, options->name, options->bearer_tokens_file,
                           why);
    if (rc == FM_OK && is_given(options->unix_allowed_users))
        rc = auth_set_load_peers(set, options->unix_allowed_users, why);
    if (rc == FM_OK && is_given(options->tls_key_file))
        warn_if_readable(options->name, options->tls_key_file);
    if (rc < 0)
        return rc;

    *ret_set = fm_take(set);
    return FM_OK;
}

const char *net_identity_kind_text(enum net_identity_kind kind)
{
    static const char *const texts[] = {
        [NET_ANONYMOUS] = "anonymous", [NET_CERTIFICATE] = "cert", [NET_USER] = "user",
        [NET_TOKEN] = "token",         [NET_PEER] = "peer",
    };
    return texts[kind];
}
