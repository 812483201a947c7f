/* SPDX-License-Identifier: Apache-2.0 */
/* Rules for listeners.
 *
 * One that others than this host can reach needs TLS and somebody to ask who they are, or the words
 * that waive it; nobody shall open one by accident.  What a listener asks for must be askable:
 * no passwords in clear text, no names without certificates. */
#include <stdio.h>

#include "fermata/units.h"
#include "internal.h"

#define CHECK_SOCKET_PATH_MAX 107u
#define CHECK_MODE_DIGITS     4u

static const struct ini_place *check_place(struct config_loader *loader, const char *section,
                                           const char *key)
{
    const struct config_key *found = config_key_find(fm_slice_text(section), fm_slice_text(key));
    FM_ASSERT(found);
    return &loader->places[found - config_keys];
}

/* ---- endpoints ---- */

/* Splits "host:port", "[v6]:port", ":port"; false if it is none of them. */
static bool check_split_endpoint(const char *text, struct fm_slice *ret_host, uint64_t *ret_port)
{
    const char *colon = strrchr(text, ':');

    if (!colon || fm_u64_parse(fm_slice_text(colon + 1), ret_port) < 0 || *ret_port > 65535)
        return false;
    struct fm_slice host = fm_slice(text, (size_t)(colon - text));
    bool is_bracketed = host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
    if (is_bracketed)
        host = fm_slice(host.ptr + 1, host.len - 2);
    else if (host.len && memchr(host.ptr, ':', host.len))
        return false; /* an IPv6 address wants its brackets */
    if (host.len > 253 || (host.len && memchr(host.ptr, ' ', host.len)))
        return false;
    *ret_host = host;
    return true;
}

/* Dotted quad that begins with 127, ::1, or the name localhost. */
static bool check_is_loopback(struct fm_slice host)
{
    unsigned dots = 0;

    if (fm_slice_equal_text(host, "::1") || fm_slice_equal_nocase(host, "localhost"))
        return true;
    if (host.len < 7 || memcmp(host.ptr, "127.", 4) != 0)
        return false;
    for (size_t i = 0; i < host.len; i++) {
        dots += host.ptr[i] == '.';
        if (host.ptr[i] != '.' && (host.ptr[i] < '0' || host.ptr[i] > '9'))
            return false;
    }
    return dots == 3;
}

static bool check_is_unix(const char *endpoint)
{
    return strncmp(endpoint, "unix:", 5) == 0;
}

/* ---- what belongs together ---- */

static void check_tls(struct config_loader *loader, const struct config_listener *l)
{
    const char *section = l->section;

    if (!*l->tls_cert_file != !*l->tls_key_file)
        config_complain(
            loader,
            check_place(loader, section, *l->tls_cert_file ? "tls_cert_file" : "tls_key_file"),
            *l->tls_cert_file ? "add tls_key_file" : "add tls_cert_file",
            "[%s] has only one of tls_cert_file and tls_key_file", section);
    if (*l->tls_client_ca_file && !*l->tls_cert_file && !*l->tls_key_file)
        config_complain(loader, check_place(loader, section, "tls_client_ca_file"),
                        "add tls_cert_file and tls_key_file",
                        "[%s] asks for client certificates without TLS", section);
    if (*l->tls_client_allowed_names && !*l->tls_client_ca_file)
        config_complain(loader, check_place(loader, section, "tls_client_allowed_names"),
                        "add tls_client_ca_file",
                        "[%s] has tls_client_allowed_names and asks for no certificates", section);
}

/* auth = none beside a file of users is one of two mistakes; better to ask which. */
static void check_none(struct config_loader *loader, const struct config_listener *l)
{
    const struct {
        const char *key, *value;
    } rows[] = {
        {"tls_client_ca_file", l->tls_client_ca_file},
        {"htpasswd_file", l->htpasswd_file},
        {"bearer_tokens_file", l->bearer_tokens_file},
    };
    char cure[80];

    for (size_t i = 0; i < FM_COUNT(rows) && l->auth == CONFIG_AUTH_NONE; i++) {
        if (!*rows[i].value)
            continue;
        (void)snprintf(cure, sizeof cure, "take away one of auth and %s", rows[i].key);
        config_complain(loader, check_place(loader, l->section, "auth"), cure,
                        "[%s] has both auth = none and %s", l->section, rows[i].key);
    }
}

static bool check_is_mode(const char *text)
{
    size_t len = strlen(text);
    return len > 0 && len <= CHECK_MODE_DIGITS && strspn(text, "01234567") == len &&
           (len < CHECK_MODE_DIGITS || text[0] == '0');
}

static void check_unix(struct config_loader *loader, const struct config_listener *l)
{
    size_t len = strlen(l->endpoint + 5);

    if (len == 0 || len > CHECK_SOCKET_PATH_MAX)
        config_complain(loader, check_place(loader, l->section, "endpoint"),
                        "accepted: unix:PATH with at most 107 characters",
                        "bad socket path in [%s]", l->section);
    if (!check_is_mode(l->unix_mode))
        config_complain(loader, check_place(loader, l->section, "unix_mode"),
                        "accepted: an octal number, 0600 to 0777", "bad unix_mode in [%s]",
                        l->section);
}

/* ---- who can reach it ---- */

static void check_open(struct config_loader *loader, const struct config_listener *l)
{
    const struct ini_place *place = check_place(loader, l->section, "endpoint");
    char cure[200];

    if (l->auth == CONFIG_AUTH_NONE)
        return;
    if (!*l->tls_client_ca_file && !*l->htpasswd_file && !*l->bearer_tokens_file) {
        (void)snprintf(cure, sizeof cure,
                       "set tls_client_ca_file, htpasswd_file or bearer_tokens_file in [%s], or "
                       "write auth = none there to allow everybody",
                       l->section);
        config_complain(loader, place, cure,
                        "others can reach \"%s\" and [%s] asks nobody who they are", l->endpoint,
                        l->section);
    } else if (!*l->tls_cert_file && !*l->tls_key_file && !*l->tls_client_ca_file) {
        (void)snprintf(cure, sizeof cure, "set tls_cert_file and tls_key_file in [%s]", l->section);
        config_complain(loader, place, cure,
                        "others can reach \"%s\" and [%s] has no TLS; with %s alone, secrets cross "
                        "the network in the clear",
                        l->endpoint, l->section,
                        *l->htpasswd_file ? "htpasswd_file" : "bearer_tokens_file");
    }
}

static void check_listener(struct config_loader *loader, const struct config_listener *l)
{
    struct fm_slice host;
    uint64_t port;

    check_tls(loader, l);
    check_none(loader, l);
    if (!l->enabled)
        return;
    if (check_is_unix(l->endpoint)) {
        check_unix(loader, l);
        return;
    }
    if (*l->unix_allowed_users)
        config_complain(loader, check_place(loader, l->section, "unix_allowed_users"),
                        "use endpoint = unix:PATH, or take unix_allowed_users away",
                        "[%s] has unix_allowed_users and no unix socket", l->section);
    if (!check_split_endpoint(l->endpoint, &host, &port)) {
        config_complain(loader, check_place(loader, l->section, "endpoint"),
                        "accepted: 127.0.0.1:4317, [::1]:4317, host:port, unix:PATH",
                        "bad endpoint \"%s\" in [%s]", l->endpoint, l->section);
        return;
    }
    if (!check_is_loopback(host))
        check_open(loader, l);
}

/* ---- datagrams ---- */

struct check_datagrams {
    const char *section, *endpoint;
    bool enabled;
    enum config_auth auth;
};

static void check_datagrams(struct config_loader *loader, const struct check_datagrams *receiver)
{
    const struct ini_place *place = check_place(loader, receiver->section, "endpoint");
    struct fm_slice host;
    uint64_t port;
    char cure[120];

    if (!receiver->enabled)
        return;
    if (check_is_unix(receiver->endpoint) ||
        !check_split_endpoint(receiver->endpoint, &host, &port)) {
        config_complain(loader, place, "accepted: 127.0.0.1:6831, [::1]:6831, host:port",
                        "bad endpoint \"%s\" in [%s]", receiver->endpoint, receiver->section);
        return;
    }
    if (check_is_loopback(host) || receiver->auth == CONFIG_AUTH_NONE)
        return;
    (void)snprintf(cure, sizeof cure, "write auth = none in [%s] to allow everybody",
                   receiver->section);
    config_complain(loader, place, cure,
                    "others can reach \"%s\" of [%s], and datagrams do not say who sent them",
                    receiver->endpoint, receiver->section);
}

/* ---- all of them ---- */

/* Two of one kind cannot have one endpoint; the kernel chooses different ports for two ":0". */
static void check_same(struct config_loader *loader, const char *section, const char *endpoint,
                       const char *other_section, const char *other_endpoint)
{
    size_t len = strlen(endpoint);

    if (strcmp(endpoint, other_endpoint) != 0 || (len > 2 && strcmp(endpoint + len - 2, ":0") == 0))
        return;
    config_complain(loader, check_place(loader, section, "endpoint"), NULL,
                    "[%s] and [%s] have the same endpoint \"%s\"", other_section, section,
                    endpoint);
}

void config_check_listeners(struct config_loader *loader)
{
    const struct config *config = loader->config;
    const struct check_datagrams datagrams[] = {
        {"receiver.jaeger_thrift_compact", config->jaeger_compact_endpoint,
         config->jaeger_compact_enabled, (enum config_auth)config->jaeger_compact_auth},
        {"receiver.jaeger_thrift_binary", config->jaeger_binary_endpoint,
         config->jaeger_binary_enabled, (enum config_auth)config->jaeger_binary_auth},
    };

    for (unsigned i = 0; i < CONFIG_LISTENER_COUNT; i++) {
        struct config_listener listener = config_listener(config, i);
        check_listener(loader, &listener);
        for (unsigned j = 0; j < i && listener.enabled; j++) {
            struct config_listener other = config_listener(config, j);
            if (other.enabled)
                check_same(loader, listener.section, listener.endpoint, other.section,
                           other.endpoint);
        }
    }
    for (size_t i = 0; i < FM_COUNT(datagrams); i++)
        check_datagrams(loader, &datagrams[i]);
    if (datagrams[0].enabled && datagrams[1].enabled)
        check_same(loader, datagrams[1].section, datagrams[1].endpoint, datagrams[0].section,
                   datagrams[0].endpoint);
}
