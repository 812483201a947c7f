/* SPDX-License-Identifier: Apache-2.0 */
/* credentials - the keys of S3, from where the node has them, always fresh ones.
 *
 * The chain, first that is set up wins: files of the configuration, environment, shared credentials
 * file, web identity (STS), container, instance (IMDSv2).  A source that is set up and fails ends
 * the chain: the next one's keys would be somebody else's.
 *
 * Everything but the two functions marked so belongs to the loop's thread; nothing waits there.
 * Keys that expire are renewed five minutes ahead; until the new ones are there the old ones stay
 * in use.
 */
#ifndef FERMATA_CREDENTIALS_H
#define FERMATA_CREDENTIALS_H

#include "fermata/platform.h"
#include "fermata/s3.h"
#include "fermata/telemetry.h"

enum credentials_auth { /* in the order of the configuration's words */
                        CREDENTIALS_AUTO,
                        CREDENTIALS_STATIC, /* files, or the environment */
                        CREDENTIALS_SHARED_FILE,
                        CREDENTIALS_WEB_IDENTITY,
                        CREDENTIALS_CONTAINER,
                        CREDENTIALS_IMDS,
                        CREDENTIALS_NONE, /* of the configuration only: requests are not signed */
};
struct credentials_options { /* NULL is "" everywhere */
    enum credentials_auth auth;
    const char *access_key_file, *secret_key_file, *session_token_file;
    const char *shared_file, *profile;        /* "": as the environment has it, or the usual ones */
    const char *region;                       /* whose token service is asked */
    const char *tls_ca_file;                  /* of the token service and of https:// containers */
    const char *proxy, *proxy_auth_file;      /* HTTP, to the token service */
    const char *sts_endpoint, *imds_endpoint; /* URLs; "": as the environment has it, or AWS's */
    const char *(*environment)(const char *name); /* NULL: nothing is set */
};
struct credentials;
/* Begins to look at once.  FM_ECONFIG: auth asks for a source that is not set up. */
FM_MUST int credentials_new(struct credentials **ret_credentials, struct platform *platform,
                            const struct credentials_options *options, struct fm_why *why);
/* Nobody waits any more.  What is under way ends before the loop does; then it may be freed. */
void credentials_stop(struct credentials *credentials);
struct credentials *credentials_free(struct credentials *credentials);

/* Borrowed until the loop goes on.  false: there are none, or they have expired. */
bool credentials_get(const struct credentials *credentials, struct s3_credentials *ret_credentials,
                     uint64_t *ret_generation);

struct credentials_wait { /* owned by the caller, in use until done */
    struct fm_link link;
    void (*done)(struct credentials_wait *wait); /* never from within start or renew */
    void *self;
    int rc; /* FM_OK: credentials_get has some; else why says what is wrong */
    struct fm_why why;
};
/* Done as soon as there are some, or as it is known that there are none for now. */
void credentials_wait_start(struct credentials *credentials, struct credentials_wait *wait);
void credentials_wait_stop(struct credentials_wait *wait); /* done is not called; also if it was */
/* The bucket refused those of this generation.  false: they were looked for a moment ago, there is
 * nothing to wait for. */
bool credentials_renew(struct credentials *credentials, uint64_t generation,
                       struct credentials_wait *wait);

/* Any thread: a copy in the arena, and that those of a generation were refused; true: there are
 * others by now. */
bool credentials_copy(struct credentials *credentials, struct fm_arena *arena,
                      struct s3_credentials *ret_credentials, uint64_t *ret_generation);
bool credentials_report(struct credentials *credentials, uint64_t generation);

void credentials_put_metrics(const struct credentials *credentials, struct fm_buf *out);

#endif
