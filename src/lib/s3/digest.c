/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256, MD5 and HMAC by mbedtls: its only home in lib.
 * 2.28 (Debian 12) marks the calls that return a result with _ret, 3.x dropped the others.
 */
#include "internal.h"

#include <stdlib.h>

#include <mbedtls/md.h>
#include <mbedtls/md5.h>
#include <mbedtls/sha256.h>
#include <mbedtls/version.h>

#if MBEDTLS_VERSION_MAJOR < 3
#define mbedtls_sha256        mbedtls_sha256_ret
#define mbedtls_sha256_starts mbedtls_sha256_starts_ret
#define mbedtls_sha256_update mbedtls_sha256_update_ret
#define mbedtls_sha256_finish mbedtls_sha256_finish_ret
#define mbedtls_md5_starts    mbedtls_md5_starts_ret
#define mbedtls_md5_update    mbedtls_md5_update_ret
#define mbedtls_md5_finish    mbedtls_md5_finish_ret
#endif

struct s3_digest {
    mbedtls_sha256_context sha256;
    mbedtls_md5_context md5;
};

/* In software these calls cannot fail; a build whose hardware can is not one we run on. */
static void digest_ok(int rc)
{
    FM_ASSERT(rc == 0);
}

int s3_digest_new(struct s3_digest **ret_digest)
{
    struct s3_digest *digest = calloc(1, sizeof *digest);
    if (!digest)
        return FM_ENOMEM;
    mbedtls_sha256_init(&digest->sha256);
    mbedtls_md5_init(&digest->md5);
    digest_ok(mbedtls_sha256_starts(&digest->sha256, 0));
    digest_ok(mbedtls_md5_starts(&digest->md5));
    *ret_digest = digest;
    return FM_OK;
}

struct s3_digest *s3_digest_free(struct s3_digest *digest)
{
    if (!digest)
        return NULL;
    mbedtls_sha256_free(&digest->sha256);
    mbedtls_md5_free(&digest->md5);
    free(digest);
    return NULL;
}

void s3_digest_update(struct s3_digest *digest, struct fm_slice bytes)
{
    digest_ok(mbedtls_sha256_update(&digest->sha256, bytes.ptr, bytes.len));
    digest_ok(mbedtls_md5_update(&digest->md5, bytes.ptr, bytes.len));
}

void s3_digest_finish(struct s3_digest *digest, uint8_t ret_sha256[32], uint8_t ret_md5[16])
{
    digest_ok(mbedtls_sha256_finish(&digest->sha256, ret_sha256));
    digest_ok(mbedtls_md5_finish(&digest->md5, ret_md5));
}

void s3_sha256(struct fm_slice bytes, uint8_t ret_sha256[32])
{
    digest_ok(mbedtls_sha256(bytes.ptr, bytes.len, ret_sha256, 0));
}

void s3_hmac_sha256(struct fm_slice key, struct fm_slice message, uint8_t ret_mac[32])
{
    const mbedtls_md_info_t *info = mbedtls_md_info_from_type(MBEDTLS_MD_SHA256);
    FM_ASSERT(info != NULL);
    digest_ok(mbedtls_md_hmac(info, key.ptr, key.len, message.ptr, message.len, ret_mac));
}
