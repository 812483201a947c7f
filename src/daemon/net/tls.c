/* SPDX-License-Identifier: Apache-2.0 */
/* TLS on mbedtls, 2.28 and 3.6 from one source: one connection over two memory buffers.
 *
 * An empty input buffer is "want read".  mbedtls takes at most one record per write, so writing
 * loops. */
#include "tls.h"

#include <stdlib.h>

#include <mbedtls/sha256.h>

#include "tls_config.h"

#define TLS_INPUT_BYTES_MAX FM_MIB(1)

struct tls {
    struct tls_config *config; /* shared */
    mbedtls_ssl_context ssl;
    struct fm_buf input; /* ciphertext from input_used on */
    size_t input_used;
    struct fm_buf output;
};

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
    if (flags == UINT32_MAX || flags & MBEDTLS_X509_BADCERT_SKIP_VERIFY) /* nobody looked at one */
        return false;
    return flags != 0;
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
    if (flags != UINT32_MAX && (flags & TLS_FLAG_NAME))
        return fm_fail(why, FM_EDENIED,
                       "certificate not accepted: none of its names is in "
                       "tls_client_allowed_names");
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

int tls_peer_name(const struct tls *tls, char ret_name[NET_IDENTITY_NAME_MAX + 1])
{
    const mbedtls_x509_crt *cert = mbedtls_ssl_get_peer_cert(&tls->ssl);
    if (!cert)
        return FM_NONE;
    tls_cert_name(cert, ret_name);
    return FM_OK;
}

#if MBEDTLS_VERSION_MAJOR < 3
#define mbedtls_sha256_starts mbedtls_sha256_starts_ret
#define mbedtls_sha256_update mbedtls_sha256_update_ret
#define mbedtls_sha256_finish mbedtls_sha256_finish_ret
#endif

void tls_sha256(const struct fm_slice *parts, size_t count, uint8_t ret_digest[32])
{
    mbedtls_sha256_context context;

    mbedtls_sha256_init(&context);
    int failure = mbedtls_sha256_starts(&context, 0);
    for (size_t i = 0; i < count && !failure; i++)
        failure = mbedtls_sha256_update(&context, parts[i].ptr, parts[i].len);
    if (!failure)
        failure = mbedtls_sha256_finish(&context, ret_digest);
    FM_ASSERT(!failure); /* in software it cannot */
    mbedtls_sha256_free(&context);
}
