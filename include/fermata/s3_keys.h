/* SPDX-License-Identifier: Apache-2.0 */
/* s3_keys - keys of S3 as others hand them out: lines of a shared file, XML of a token service,
 * JSON of an instance or a container.  Part of s3.
 *
 * Sources: the AWS CLI's and SDKs' descriptions of credential files and providers; the STS API
 * (AssumeRoleWithWebIdentity); the EC2 and ECS guides.
 */
#ifndef FERMATA_S3_KEYS_H
#define FERMATA_S3_KEYS_H

#include "fermata/s3.h"

#define S3_ACCESS_KEY_MAX    256
#define S3_SECRET_KEY_MAX    512
#define S3_SESSION_TOKEN_MAX FM_KIB(8)

struct s3_keys { /* one block without pointers, so that it can be wiped as a whole */
    char access_key[S3_ACCESS_KEY_MAX + 1];
    char secret_key[S3_SECRET_KEY_MAX + 1];
    char session_token[S3_SESSION_TOKEN_MAX + 1]; /* "": none */
    int64_t expires_unix_s;                       /* 0: never, or not said */
};
void s3_keys_wipe(struct s3_keys *keys);
struct s3_credentials s3_keys_borrow(const struct s3_keys *keys);
/* Three texts, blanks around them ignored; session_token may be empty.  FM_EMALFORMED: one is
 * empty, too long, or cannot stand in a header. */
FM_MUST int s3_keys_set(struct s3_keys *keys, struct fm_slice access_key,
                        struct fm_slice secret_key, struct fm_slice session_token,
                        struct fm_why *why);

/* A shared credentials file: [profile], then lines of key = value.  FM_NONE: no such profile, or it
 * has no keys; FM_EMALFORMED: half of them. */
FM_MUST int s3_keys_read_profile(struct fm_slice text, const char *profile,
                                 struct s3_keys *ret_keys, struct fm_why *why);
/* The JSON of an instance's role and of a container's.  FM_EDENIED: it says why there are none. */
FM_MUST int s3_keys_read_json(struct fm_slice text, struct s3_keys *ret_keys, struct fm_why *why);
/* AssumeRoleWithWebIdentity: the form that is sent, and its answer.  FM_EDENIED as above. */
void s3_sts_put_form(struct fm_buf *form, struct fm_slice role, struct fm_slice session,
                     struct fm_slice token);
FM_MUST int s3_keys_read_sts(struct fm_slice text, struct s3_keys *ret_keys, struct fm_why *why);

/* "http://host[:port]/path?query"; the target keeps its query. */
struct s3_url {
    bool is_https;
    char host[254]; /* without brackets */
    uint16_t port;
    char target[1024]; /* from the slash on; "/" without one */
};
FM_MUST int s3_url_parse(struct fm_slice text, struct s3_url *ret_url, struct fm_why *why);

#endif
