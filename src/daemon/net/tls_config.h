/* SPDX-License-Identifier: Apache-2.0 */
/* What the files on mbedtls share; nobody else sees its headers. */
#ifndef NET_TLS_CONFIG_H
#define NET_TLS_CONFIG_H

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/pk.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ticket.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>

#include "tls.h"

#if !defined(MBEDTLS_THREADING_C)
#error "mbedtls is built without locks; handshakes share its random numbers between threads"
#endif

/* In a verify result: the certificate is good, but its names are not. */
#define TLS_FLAG_NAME ((uint32_t)MBEDTLS_X509_BADCERT_OTHER)

struct tls_config {
    unsigned ref_count;
    bool is_client;
    mbedtls_ssl_config ssl;
    mbedtls_ssl_ticket_context tickets;
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    mbedtls_x509_crt chain; /* ours */
    mbedtls_pk_context key;
    mbedtls_x509_crt authorities; /* whom we believe */
    char *allowed_names;          /* owned; NULL: all whom they signed */
};

int tls_fail(struct fm_why *why, int rc, const char *what, int failure);

/* Its first DNS name or URI, else its CN; empty: it has none, or not one that may be a name. */
void tls_cert_name(const mbedtls_x509_crt *cert, char ret_name[NET_IDENTITY_NAME_MAX + 1]);
/* One of its names is on the list (NULL: whatever it is called). */
bool tls_cert_is_allowed(const mbedtls_x509_crt *cert, const char *allowed_names);

#endif
