/* SPDX-License-Identifier: Apache-2.0 */
/* TLS on mbedtls, 2.28 and 3.6 from one source; TLS 1.2 is the least either may agree on.
 *
 * mbedtls reads from and writes to two memory buffers; an empty one is "want read".  It takes at
 * most one record per write, so writing loops. */
#include "tls.h"

#include <stdlib.h>

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/pk.h>
#include <mbedtls/ssl.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>
#if MBEDTLS_VERSION_MAJOR >= 3
#include <psa/crypto.h>
#endif

#define TLS_SYSTEM_BUNDLE   "/etc/ssl/certs/ca-certificates.crt"
#define TLS_INPUT_BYTES_MAX FM_MIB(1)

struct tls_config {
    unsigned ref_count;
    bool is_client;
    mbedtls_ssl_config ssl;
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    mbedtls_x509_crt chain; /* ours */
    mbedtls_pk_context key;
    mbedtls_x509_crt authorities; /* whom we believe */
};

struct tls {
    struct tls_config *config; /* shared */
    mbedtls_ssl_context ssl;
    struct fm_buf input; /* ciphertext from input_used on */
    size_t input_used;
    struct fm_buf output;
};

/* ---- configuration ---- */

static int tls_fail(struct fm_why *why, int rc, const char *what, int failure)
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
    mbedtls_x509_crt_free(&config->chain);
    mbedtls_x509_crt_free(&config->authorities);
    mbedtls_pk_free(&config->key);
    mbedtls_ctr_drbg_free(&config->random);
    mbedtls_entropy_free(&config->entropy);
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

int tls_config_new_server(struct tls_config **ret_config, const char *cert_file,
                          const char *key_file, const char *client_ca_file, struct fm_why *why)
{
    FM_AUTO(tls_config) config = calloc(1, sizeof *config);

    if (!config)
        return FM_ENOMEM;
    int rc = tls_config_seed(config, why);
    if (rc == FM_OK)
        rc = tls_config_set_up(config, false, why);
    if (rc == FM_OK)
        rc = tls_config_load_identity(config, cert_file, key_file, why);
    if (rc == FM_OK && client_ca_file && client_ca_file[0]) {
        rc = tls_config_load_authorities(config, client_ca_file, false, why);
        mbedtls_ssl_conf_ca_chain(&config->ssl, &config->authorities, NULL);
        mbedtls_ssl_conf_authmode(&config->ssl, MBEDTLS_SSL_VERIFY_REQUIRED);
    }
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

/* ---- connection ---- */

static int tls_on_send(void *self, const unsigned char *bytes, size_t len)
{
    struct tls *tls = self;
    fm_buf_put(&tls->output, bytes, len);
    return tls->output.failed ? MBEDTLS_ERR_SSL_ALLOC_FAILED : (int)len;
}

static int tls_on_receive(void *self, unsigned char *target, size_t len)
{
    struct tls *tls = self;
    size_t take = FM_MIN(len, tls->input.len - tls->input_used);

    if (!take)
        return MBEDTLS_ERR_SSL_WANT_READ;
    memcpy(target, tls->input.ptr + tls->input_used, take);
    tls->input_used += take;
    if (tls->input_used == tls->input.len) {
        fm_buf_reset(&tls->input);
        tls->input_used = 0;
    }
    return (int)take;
}

int tls_new(struct tls **ret_tls, struct tls_config *config, const char *server_name)
{
    struct tls *tls = calloc(1, sizeof *tls);

    if (!tls)
        return FM_ENOMEM;
    tls->config = tls_config_ref(config);
    mbedtls_ssl_init(&tls->ssl);
    fm_buf_init(&tls->input, TLS_INPUT_BYTES_MAX);
    fm_buf_init(&tls->output, SIZE_MAX / 4);
    int failure = mbedtls_ssl_setup(&tls->ssl, &config->ssl);
    if (!failure && config->is_client)
        failure = mbedtls_ssl_set_hostname(&tls->ssl, server_name);
    if (failure) {
        tls_free(tls);
        return FM_ENOMEM;
    }
    mbedtls_ssl_set_bio(&tls->ssl, tls, tls_on_send, tls_on_receive, NULL);
    *ret_tls = tls;
    return FM_OK;
}

struct tls *tls_free(struct tls *tls)
{
    if (!tls)
        return NULL;
    mbedtls_ssl_free(&tls->ssl);
    fm_buf_fini(&tls->input);
    fm_buf_fini(&tls->output);
    tls_config_unref(tls->config);
    free(tls);
    return NULL;
}

int tls_feed(struct tls *tls, struct fm_slice ciphertext)
{
    if (tls->input_used) {
        fm_buf_consume(&tls->input, tls->input_used);
        tls->input_used = 0;
    }
    fm_buf_put_slice(&tls->input, ciphertext);
    return tls->input.failed ? FM_ENOMEM : FM_OK;
}

static bool tls_was_denied(struct tls *tls, int failure)
{
    if (failure == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED)
        return true;
#ifdef MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE
    if (failure == MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE)
        return true;
#endif
    uint32_t flags = mbedtls_ssl_get_verify_result(&tls->ssl);
    return flags != 0 && flags != UINT32_MAX; /* all ones: it was not looked at */
}

int tls_handshake(struct tls *tls, struct fm_why *why)
{
    char text[200];
    int failure = mbedtls_ssl_handshake(&tls->ssl);

    if (failure == 0)
        return FM_OK;
    if (failure == MBEDTLS_ERR_SSL_WANT_READ || failure == MBEDTLS_ERR_SSL_WANT_WRITE)
        return FM_MORE;
    if (!tls_was_denied(tls, failure))
        return tls_fail(why, FM_EMALFORMED, "TLS handshake", failure);
    uint32_t flags = mbedtls_ssl_get_verify_result(&tls->ssl);
    if (mbedtls_x509_crt_verify_info(text, sizeof text, "", flags) <= 0)
        return tls_fail(why, FM_EDENIED, "TLS handshake", failure);
    for (char *end = text; *end; end++) {
        if (*end == '\n')
            *end = end[1] ? ' ' : 0;
    }
    return fm_fail(why, FM_EDENIED, "certificate not accepted: %s", text);
}

int tls_read(struct tls *tls, void *target, size_t len, size_t *ret_len)
{
    int got;

    do {
        got = mbedtls_ssl_read(&tls->ssl, target, len);
#ifdef MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET
    } while (got == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET);
#else
    } while (false);
#endif
    if (got > 0) {
        *ret_len = (size_t)got;
        return FM_OK;
    }
    switch (got) {
    case MBEDTLS_ERR_SSL_WANT_READ:
    case MBEDTLS_ERR_SSL_WANT_WRITE:
        return FM_MORE;
    case 0:
    case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
        return FM_END;
    default:
        return FM_EMALFORMED;
    }
}

int tls_write(struct tls *tls, struct fm_slice plain)
{
    while (plain.len) {
        int taken = mbedtls_ssl_write(&tls->ssl, plain.ptr, plain.len);
        if (taken <= 0)
            return FM_EIO;
        plain = fm_slice(plain.ptr + taken, plain.len - (size_t)taken);
    }
    return FM_OK;
}

void tls_say_goodbye(struct tls *tls)
{
    (void)mbedtls_ssl_close_notify(&tls->ssl); /* a courtesy; the socket closes either way */
}

struct fm_buf *tls_output(struct tls *tls)
{
    return &tls->output;
}

bool tls_is_h2(const struct tls *tls)
{
    const char *protocol = mbedtls_ssl_get_alpn_protocol(&tls->ssl);
    return protocol && strcmp(protocol, "h2") == 0;
}
