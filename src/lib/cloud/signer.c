/* SPDX-License-Identifier: Apache-2.0 */
/* HMAC-SHA256 and RS256 by mbedtls.  2.28 (Debian 12) parses a key without random numbers and signs
 * into a buffer whose size it is not told; 3.x wants both.
 */
#include "internal.h"

#include <mbedtls/md.h>
#include <mbedtls/pk.h>
#include <mbedtls/version.h>

#define SIGNATURE_MAX 1024 /* RSA of 8192 bits */
#define KEY_BITS_MIN  2048

void cloud_hmac_sha256(struct fm_slice key, struct fm_slice message, uint8_t ret_mac[32])
{
    const mbedtls_md_info_t *info = mbedtls_md_info_from_type(MBEDTLS_MD_SHA256);
    FM_ASSERT(info != NULL);
    /* In software this cannot fail; a build whose hardware can is not one we run on. */
    int rc = mbedtls_md_hmac(info, key.ptr, key.len, message.ptr, message.len, ret_mac);
    FM_ASSERT(rc == 0);
}

/* PEM is text: the length that mbedtls wants counts the NUL behind it. */
static int signer_parse(mbedtls_pk_context *key, struct fm_slice pem, cloud_random *random,
                        void *random_self)
{
#if MBEDTLS_VERSION_MAJOR < 3
    (void)random;
    (void)random_self;
    return mbedtls_pk_parse_key(key, pem.ptr, pem.len + 1, NULL, 0);
#else
    return mbedtls_pk_parse_key(key, pem.ptr, pem.len + 1, NULL, 0, random, random_self);
#endif
}

static int signer_sign(mbedtls_pk_context *key, const uint8_t hash[32], cloud_random *random,
                       void *random_self, uint8_t signature[SIGNATURE_MAX], size_t *ret_len)
{
#if MBEDTLS_VERSION_MAJOR < 3
    return mbedtls_pk_sign(key, MBEDTLS_MD_SHA256, hash, 32, signature, ret_len, random,
                           random_self);
#else
    return mbedtls_pk_sign(key, MBEDTLS_MD_SHA256, hash, 32, signature, SIGNATURE_MAX, ret_len,
                           random, random_self);
#endif
}

int cloud_rs256_sign(struct fm_slice key_pem, struct fm_slice message, cloud_random *random,
                     void *random_self, struct fm_buf *signature, struct fm_why *why)
{
    uint8_t hash[32], bytes[SIGNATURE_MAX];
    size_t len = 0;
    mbedtls_pk_context key;
    s3_sha256(message, hash);
    mbedtls_pk_init(&key);
    int rc = FM_OK;
    int failed = signer_parse(&key, key_pem, random, random_self);
    if (failed == MBEDTLS_ERR_PK_ALLOC_FAILED)
        rc = FM_ENOMEM;
    else if (failed)
        rc = fm_fail(why, FM_ECONFIG, "the private key cannot be read (-0x%04x)", -failed);
    else if (!mbedtls_pk_can_do(&key, MBEDTLS_PK_RSA) ||
             mbedtls_pk_get_bitlen(&key) < KEY_BITS_MIN ||
             mbedtls_pk_get_bitlen(&key) > 8 * SIGNATURE_MAX)
        rc = fm_fail(why, FM_ECONFIG, "the private key is not RSA of at least %d bits",
                     KEY_BITS_MIN);
    if (rc == FM_OK) {
        failed = signer_sign(&key, hash, random, random_self, bytes, &len);
        if (failed)
            rc = fm_fail(why, FM_EUNAVAILABLE, "signing failed (-0x%04x)", -failed);
    }
    mbedtls_pk_free(&key);
    if (rc < 0)
        return rc;
    fm_buf_put(signature, bytes, len);
    return signature->failed ? FM_ENOMEM : FM_OK;
}
