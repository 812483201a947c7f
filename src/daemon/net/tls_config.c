/* SPDX-License-Identifier: Apache-2.0 */
/* What connections of one listener, or of one client, have in common: keys, authorities, taste.
 * TLS 1.2 is the least either side may agree on. */
#include "tls_config.h"

#include <stdlib.h>

#include <mbedtls/error.h>
#if MBEDTLS_VERSION_MAJOR >= 3
#include <psa/crypto.h>
#endif

#define TLS_SYSTEM_BUNDLE  "/etc/ssl/certs/ca-certificates.crt"
#define TLS_TICKET_SECONDS 3600

int tls_fail(struct fm_why *why, int rc, const char *what, int failure)
{
    char text[128];
    mbedtls_strerror(failure, text, sizeof text);
    return fm_fail(why, rc, "%s: %s", what, text);
}

static struct tls_config *tls_config_free(struct tls_config *config)
{
    if (!config)
        return NULL;
    mbedtls_ssl_config_free(&config->ssl);
    mbedtls_ssl_ticket_free(&config->tickets);
    mbedtls_x509_crt_free(&config->chain);
    mbedtls_x509_crt_free(&config->authorities);
    mbedtls_pk_free(&config->key);
    mbedtls_ctr_drbg_free(&config->random);
    mbedtls_entropy_free(&config->entropy);
    free(config->allowed_names);
    free(config);
    return NULL;
}
FM_DEFINE_AUTO(tls_config)

struct tls_config *tls_config_ref(struct tls_config *config)
{
    config->ref_count++;
    return config;
}

struct tls_config *tls_config_unref(struct tls_config *config)
{
    if (config && --config->ref_count == 0)
        tls_config_free(config);
    return NULL;
}

static int tls_config_seed(struct tls_config *config, struct fm_why *why)
{
    mbedtls_ssl_config_init(&config->ssl);
    mbedtls_ssl_ticket_init(&config->tickets);
    mbedtls_x509_crt_init(&config->chain);
    mbedtls_x509_crt_init(&config->authorities);
    mbedtls_pk_init(&config->key);
    mbedtls_ctr_drbg_init(&config->random);
    mbedtls_entropy_init(&config->entropy);
    config->ref_count = 1;
#if MBEDTLS_VERSION_MAJOR >= 3
    if (psa_crypto_init() != PSA_SUCCESS) /* may be called again and again */
        return fm_fail(why, FM_EUNAVAILABLE, "TLS: no cryptography");
#endif
    int failure = mbedtls_ctr_drbg_seed(&config->random, mbedtls_entropy_func, &config->entropy,
                                        (const unsigned char *)"fermata", 7);
    return failure ? tls_fail(why, FM_EUNAVAILABLE, "TLS: seed", failure) : FM_OK;
}

static int tls_config_load_authorities(struct tls_config *config, const char *file,
                                       bool some_may_fail, struct fm_why *why)
{
    int failure = mbedtls_x509_crt_parse_file(&config->authorities, file);
    if (failure < 0)
        return tls_fail(why, FM_ECONFIG, file, failure);
    if (failure > 0 && !some_may_fail)
        return fm_fail(why, FM_ECONFIG, "%s: %d certificates cannot be read", file, failure);
    return FM_OK;
}

static int tls_config_load_identity(struct tls_config *config, const char *cert_file,
                                    const char *key_file, struct fm_why *why)
{
    int failure = mbedtls_x509_crt_parse_file(&config->chain, cert_file);
    if (failure > 0)
        return fm_fail(why, FM_ECONFIG, "%s: %d certificates cannot be read", cert_file, failure);
    if (failure < 0)
        return tls_fail(why, FM_ECONFIG, cert_file, failure);
#if MBEDTLS_VERSION_MAJOR >= 3
    failure = mbedtls_pk_parse_keyfile(&config->key, key_file, NULL, mbedtls_ctr_drbg_random,
                                       &config->random);
    if (failure)
        return tls_fail(why, FM_ECONFIG, key_file, failure);
    failure = mbedtls_pk_check_pair(&config->chain.pk, &config->key, mbedtls_ctr_drbg_random,
                                    &config->random);
#else
    failure = mbedtls_pk_parse_keyfile(&config->key, key_file, NULL);
    if (failure)
        return tls_fail(why, FM_ECONFIG, key_file, failure);
    failure = mbedtls_pk_check_pair(&config->chain.pk, &config->key);
#endif
    if (failure)
        return fm_fail(why, FM_ECONFIG, "%s does not belong to %s", key_file, cert_file);
    failure = mbedtls_ssl_conf_own_cert(&config->ssl, &config->chain, &config->key);
    return failure ? tls_fail(why, FM_ECONFIG, cert_file, failure) : FM_OK;
}

/* Everything but the certificates. */
static int tls_config_set_up(struct tls_config *config, bool is_client, struct fm_why *why)
{
    static const char *server_protocols[] = {"h2", "http/1.1", NULL};
    static const char *client_protocols[] = {"http/1.1", NULL};

    config->is_client = is_client;
    int failure = mbedtls_ssl_config_defaults(
        &config->ssl, is_client ? MBEDTLS_SSL_IS_CLIENT : MBEDTLS_SSL_IS_SERVER,
        MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
    if (!failure)
        failure = mbedtls_ssl_conf_alpn_protocols(&config->ssl,
                                                  is_client ? client_protocols : server_protocols);
    if (failure)
        return tls_fail(why, FM_ENOMEM, "TLS", failure);
#if MBEDTLS_VERSION_MAJOR >= 3
    mbedtls_ssl_conf_min_tls_version(&config->ssl, MBEDTLS_SSL_VERSION_TLS1_2);
#else
    mbedtls_ssl_conf_min_version(&config->ssl, MBEDTLS_SSL_MAJOR_VERSION_3,
                                 MBEDTLS_SSL_MINOR_VERSION_3);
#endif
    mbedtls_ssl_conf_rng(&config->ssl, mbedtls_ctr_drbg_random, &config->random);
    mbedtls_ssl_conf_authmode(&config->ssl,
                              is_client ? MBEDTLS_SSL_VERIFY_REQUIRED : MBEDTLS_SSL_VERIFY_NONE);
    return FM_OK;
}

/* What a server prefers.  Without AES in wide registers mbedtls does ChaCha20 half again as fast as
 * AES-GCM, and P-256 is its cheapest curve; P-521, first by default, costs three times as much. */
static void tls_config_prefer(struct tls_config *config)
{
    static const int suites[] = {
#if MBEDTLS_VERSION_MAJOR >= 3
        MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256,
        MBEDTLS_TLS1_3_AES_128_GCM_SHA256,
        MBEDTLS_TLS1_3_AES_256_GCM_SHA384,
#endif
        MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        0,
    };
#if MBEDTLS_VERSION_MAJOR >= 3
    static const uint16_t groups[] = {
        MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1, MBEDTLS_SSL_IANA_TLS_GROUP_X25519,
        MBEDTLS_SSL_IANA_TLS_GROUP_SECP384R1, MBEDTLS_SSL_IANA_TLS_GROUP_SECP521R1,
        MBEDTLS_SSL_IANA_TLS_GROUP_NONE,
    };
    mbedtls_ssl_conf_groups(&config->ssl, groups);
#else
    static const mbedtls_ecp_group_id curves[] = {
        MBEDTLS_ECP_DP_SECP256R1, MBEDTLS_ECP_DP_CURVE25519, MBEDTLS_ECP_DP_SECP384R1,
        MBEDTLS_ECP_DP_SECP521R1, MBEDTLS_ECP_DP_NONE,
    };
    mbedtls_ssl_conf_curves(&config->ssl, curves);
#endif
    mbedtls_ssl_conf_ciphersuites(&config->ssl, suites);
}

static int tls_config_demand_13(struct tls_config *config, struct fm_why *why)
{
#if MBEDTLS_VERSION_MAJOR >= 3 && defined(MBEDTLS_SSL_PROTO_TLS1_3)
    (void)why;
    mbedtls_ssl_conf_min_tls_version(&config->ssl, MBEDTLS_SSL_VERSION_TLS1_3);
    return FM_OK;
#else
    (void)config;
    return fm_fail(why, FM_ECONFIG,
                   "tls_min_version = 1.3: the TLS library of this system, mbedtls %s, knows only "
                   "TLS 1.2; write 1.2, or use Debian 13",
                   MBEDTLS_VERSION_STRING);
#endif
}

/* Whoever comes back soon saves the key exchange's signature.  Not with client certificates: TLS
 * 1.3 tickets of mbedtls do not carry them, and a name would be lost. */
static int tls_config_give_tickets(struct tls_config *config, struct fm_why *why)
{
    int failure = mbedtls_ssl_ticket_setup(&config->tickets, mbedtls_ctr_drbg_random,
                                           &config->random, MBEDTLS_CIPHER_AES_256_GCM,
                                           TLS_TICKET_SECONDS); /* keys are changed as often */
    if (failure)
        return tls_fail(why, FM_ENOMEM, "TLS tickets", failure);
    mbedtls_ssl_conf_session_tickets_cb(&config->ssl, mbedtls_ssl_ticket_write,
                                        mbedtls_ssl_ticket_parse, &config->tickets);
    return FM_OK;
}

/* Names are part of whether a certificate is accepted, so that the handshake itself fails. */
static int tls_on_verify(void *self, mbedtls_x509_crt *cert, int depth, uint32_t *flags)
{
    const struct tls_config *config = self;

    if (depth == 0 && !tls_cert_is_allowed(cert, config->allowed_names))
        *flags |= TLS_FLAG_NAME;
    return 0;
}

static int tls_config_ask_clients(struct tls_config *config,
                                  const struct tls_server_options *options, struct fm_why *why)
{
    int rc = tls_config_load_authorities(config, options->client_ca_file, false, why);
    if (rc < 0)
        return fm_wrap(why, rc, "tls_client_ca_file");
    if (options->client_allowed_names && options->client_allowed_names[0]) {
        config->allowed_names = strdup(options->client_allowed_names);
        if (!config->allowed_names)
            return FM_ENOMEM;
    }
    mbedtls_ssl_conf_ca_chain(&config->ssl, &config->authorities, NULL);
    mbedtls_ssl_conf_authmode(&config->ssl, MBEDTLS_SSL_VERIFY_REQUIRED);
    mbedtls_ssl_conf_verify(&config->ssl, tls_on_verify, config);
    return FM_OK;
}

int tls_config_new_server(struct tls_config **ret_config, const struct tls_server_options *options,
                          struct fm_why *why)
{
    FM_AUTO(tls_config) config = calloc(1, sizeof *config);
    bool asks = options->client_ca_file && options->client_ca_file[0];

    if (!config)
        return FM_ENOMEM;
    int rc = tls_config_seed(config, why);
    if (rc == FM_OK)
        rc = tls_config_set_up(config, false, why);
    if (rc == FM_OK)
        tls_config_prefer(config);
    if (rc == FM_OK && options->only_13)
        rc = tls_config_demand_13(config, why);
    if (rc == FM_OK)
        rc = tls_config_load_identity(config, options->cert_file, options->key_file, why);
    if (rc == FM_OK)
        rc = asks ? tls_config_ask_clients(config, options, why)
                  : tls_config_give_tickets(config, why);
    if (rc < 0)
        return rc;

    *ret_config = fm_take(config);
    return FM_OK;
}

int tls_config_new_client(struct tls_config **ret_config, const char *ca_file, struct fm_why *why)
{
    FM_AUTO(tls_config) config = calloc(1, sizeof *config);
    bool is_system = !ca_file || !ca_file[0];

    if (!config)
        return FM_ENOMEM;
    int rc = tls_config_seed(config, why);
    if (rc == FM_OK)
        rc = tls_config_set_up(config, true, why);
    if (rc == FM_OK)
        rc = tls_config_load_authorities(config, is_system ? TLS_SYSTEM_BUNDLE : ca_file, is_system,
                                         why);
    if (rc < 0)
        return rc;
    mbedtls_ssl_conf_ca_chain(&config->ssl, &config->authorities, NULL);

    *ret_config = fm_take(config);
    return FM_OK;
}

int tls_config_offer(struct tls_config *config, const char *cert_file, const char *key_file,
                     bool h2, struct fm_why *why)
{
    static const char *h2_protocols[] = {"h2", NULL};

    int failure = h2 ? mbedtls_ssl_conf_alpn_protocols(&config->ssl, h2_protocols) : 0;
    if (failure)
        return tls_fail(why, FM_ENOMEM, "TLS", failure);
    if (!cert_file || !cert_file[0])
        return FM_OK;
    return tls_config_load_identity(config, cert_file, key_file ? key_file : "", why);
}
