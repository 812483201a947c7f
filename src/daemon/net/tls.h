/* SPDX-License-Identifier: Apache-2.0 */
/* tls - TLS over memory: ciphertext in, ciphertext out, plain text between; no sockets.
 *
 * tls_feed takes what came from the socket, tls_output is what must go there.  A configuration is
 * immutable and shared by its connections, so a reload never disturbs an open one.  Handshakes of
 * one configuration run one at a time; any thread may do it. */
#ifndef NET_TLS_H
#define NET_TLS_H

#include "fermata/base.h"
#include "fermata/net_auth.h"

struct tls_config;
struct tls_server_options {
    const char *cert_file, *key_file; /* chain and key, PEM */
    const char *client_ca_file;       /* NULL or "": nobody is asked for a certificate */
    const char *client_allowed_names; /* NULL or "": all whom the authorities signed */
    bool only_13;                     /* FM_ECONFIG if this mbedtls has no TLS 1.3 */
};
FM_MUST int tls_config_new_server(struct tls_config **ret_config,
                                  const struct tls_server_options *options, struct fm_why *why);
/* Client: ca_file NULL or "": the system's bundle. */
FM_MUST int tls_config_new_client(struct tls_config **ret_config, const char *ca_file,
                                  struct fm_why *why);
/* For a client, before its first connection: a certificate of our own (NULL or "": none), and
 * HTTP/2 instead of HTTP/1.1 as what we want to speak. */
FM_MUST int tls_config_offer(struct tls_config *config, const char *cert_file, const char *key_file,
                             bool h2, struct fm_why *why);
struct tls_config *tls_config_ref(struct tls_config *config);
struct tls_config *tls_config_unref(struct tls_config *config);

struct tls;
/* server_name: clients only, the name the certificate must carry. */
FM_MUST int tls_new(struct tls **ret_tls, struct tls_config *config, const char *server_name);
struct tls *tls_free(struct tls *tls);
FM_MUST int tls_feed(struct tls *tls, struct fm_slice ciphertext); /* copied */
/* FM_OK: done; FM_MORE: feed; FM_EDENIED: a certificate was not accepted; FM_EMALFORMED. */
FM_MUST int tls_handshake(struct tls *tls, struct fm_why *why);
/* FM_OK: ret_len bytes; FM_MORE: feed; FM_END: the peer said goodbye; FM_EMALFORMED. */
FM_MUST int tls_read(struct tls *tls, void *target, size_t len, size_t *ret_len);
FM_MUST int tls_write(struct tls *tls, struct fm_slice plain); /* all of it, to the output */
void tls_say_goodbye(struct tls *tls);
struct fm_buf *tls_output(struct tls *tls); /* borrowed; the caller empties it */
bool tls_is_h2(const struct tls *tls);      /* what ALPN agreed on */
/* The name of the peer's certificate; empty: it has none that may be a name.  FM_NONE: it gave no
 * certificate. */
FM_MUST int tls_peer_name(const struct tls *tls, char ret_name[NET_IDENTITY_NAME_MAX + 1]);

/* SHA-256 of parts, one after the other. */
void tls_sha256(const struct fm_slice *parts, size_t count, uint8_t ret_digest[32]);

#endif
