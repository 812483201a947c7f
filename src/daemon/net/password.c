/* SPDX-License-Identifier: Apache-2.0 */
/* Passwords by libcrypt: what the system's own logins use, kept up to date with the system. */
#include "password.h"

#include <crypt.h>
#include <stdlib.h>

bool password_hash_is_known(const char *hash)
{
    return crypt_checksalt(hash) == CRYPT_SALT_OK;
}

static bool equal_in_constant_time(const char *a, const char *b, size_t len)
{
    unsigned char difference = 0;

    for (size_t i = 0; i < len; i++)
        difference |= (unsigned char)(a[i] ^ b[i]);
    return difference == 0;
}

bool password_matches(const char *password, const char *hash)
{
    struct crypt_data *data = calloc(1, sizeof *data); /* 32 KiB: not for a stack */
    size_t len = strlen(hash);

    if (!data)
        return false;
    const char *made = crypt_r(password, hash, data); /* failure is text that begins with '*' */
    bool same =
        made && made[0] != '*' && strlen(made) == len && equal_in_constant_time(made, hash, len);
    explicit_bzero(data, sizeof *data);
    free(data);
    return same;
}
