/* SPDX-License-Identifier: Apache-2.0 */
/* tls - TLS over memory: ciphertext in, ciphertext out, plain text between; no sockets.
 *
 * tls_feed takes what came from the socket, tls_output is what must go there.  A configuration is
 * immutable and shared by its connections, so a reload never disturbs an open one. */
#ifndef NET_TLS_H
#define NET_TLS_H

#include "fermata/base.h"

struct tls_config;
/* Server: certificate chain and key as PEM files; client_ca_file NULL or "": nobody is asked. */
FM_MUST int tls_config_new_server(struct tls_config **ret_config, const char *cert_file,
                                  const char *key_file, const char *client_ca_file,
                                  struct fm_why *why);
/* Client: ca_file NULL or "": the system's bundle. */
FM_MUST int tls_config_new_client(struct tls_config **ret_config, const char *ca_file,
                                  struct fm_why *why);
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

#endif
