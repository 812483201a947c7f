/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of credentials share.
 *
 *   credentials.c  what is in force, who waits for it, when it is renewed
 *   chain.c        one walk along the sources, and those that are files
 *   remote.c       those that are asked: token service, container, instance
 *   ask.c          one small HTTP exchange with a deadline
 */
#ifndef CREDENTIALS_INTERNAL_H
#define CREDENTIALS_INTERNAL_H

#include <stdatomic.h>

#include "fermata/credentials.h"
#include "fermata/lock.h"
#include "fermata/net.h"
#include "fermata/s3_keys.h"
#include "fermata/units.h"

#define ASK_DEADLINE_NS (2 * FM_NS_PER_S)
#define ASK_ANSWER_MAX  FM_KIB(64)
#define ASK_HEADER_MAX  4
#define CHAIN_FILE_MAX  FM_KIB(256) /* a shared file; tokens and keys are far below */
#define CHAIN_TOKEN_MAX FM_KIB(20)
#define CHAIN_PATH_MAX  512

struct ask { /* the caller's, in use until done */
    struct platform *platform;
    const char *tls_ca_file, *proxy, *proxy_auth_file;
    struct s3_url url;
    const char *method;
    struct http_header headers[ASK_HEADER_MAX]; /* values stay until done */
    size_t header_count;
    struct fm_slice body; /* stays until done */
    void (*done)(struct ask *ask);

    int rc; /* FM_OK: status, and body until done is back */
    struct fm_why why;
    int status;
    struct fm_slice answer;
    int64_t date_unix_s; /* 0: not said */

    struct net_client *client;
    struct net_call call;
    struct pf_timer timer;
    char host[272]; /* the header */
    bool is_late;
};
void ask_start(struct ask *ask);
void ask_cancel(struct ask *ask); /* done comes, as always */
/* Overwrites what the connection kept of the answer. */
void ask_wipe_answer(struct ask *ask);

enum chain_source { /* in order */
                    CHAIN_FILES,
                    CHAIN_ENVIRONMENT,
                    CHAIN_SHARED_FILE,
                    CHAIN_WEB_IDENTITY,
                    CHAIN_CONTAINER,
                    CHAIN_IMDS,
                    CHAIN_SOURCE_COUNT,
};
const char *chain_source_text(enum chain_source source);

struct chain { /* one walk */
    struct credentials *credentials;
    enum chain_source source;
    void (*done)(struct chain *chain);
    bool running, is_cancelled;

    int rc; /* FM_OK: keys */
    struct fm_why why;
    struct s3_keys keys;
    int64_t answer_unix_s; /* what the source's clock said; 0: it said nothing */

    struct pf_job job;
    int (*read)(struct chain *chain); /* in the job */
    void (*after_read)(struct chain *chain);
    int job_rc;
    struct ask ask;
    bool asking;
    uint32_t step;                              /* of the instance */
    char token[CHAIN_TOKEN_MAX + 1], role[256]; /* what was learnt on the way */
    struct fm_buf form;
};

struct credentials {
    struct platform *platform;
    enum credentials_auth auth;
    char *files[3]; /* owned, as all texts here; NULL: "" */
    char *shared_file, *profile, *region, *tls_ca_file, *proxy, *proxy_auth_file;
    char *sts_endpoint, *imds_endpoint;
    const char *(*environment)(const char *name);

    struct chain chain;
    struct pf_timer timer; /* the next look */
    struct pf_timer flush; /* waits that are over */
    bool is_stopped;
    struct fm_link waits;
    uint32_t failures;   /* in a row */
    uint64_t renewed_ns; /* the last look that somebody asked for */
    bool was_renewed;
    int rc; /* of the last look */
    struct fm_why why;
    uint64_t renew_ns; /* monotonic; 0: not by itself */
    enum chain_source source;

    struct pf_lock lock; /* of what follows; the loop reads without it, and only it writes */
    struct s3_keys keys;
    bool has_keys;
    uint64_t expires_ns; /* monotonic; 0: never */
    uint64_t generation;
    _Atomic bool is_reported;

    metric looks_ok, looks_failed;
};

/* chain.c */
FM_MUST int chain_check(const struct credentials *credentials, struct fm_why *why);
void chain_start(struct credentials *credentials, void (*done)(struct chain *chain));
void chain_cancel(struct chain *chain);
/* For remote.c: this source has none, it fails, or it has some; and a job in between. */
void chain_next(struct chain *chain);
void chain_end(struct chain *chain, int rc);
void chain_run_job(struct chain *chain, int (*read)(struct chain *chain),
                   void (*after)(struct chain *chain));
int chain_read_token(struct chain *chain, const char *path);
const char *chain_variable(const struct chain *chain, const char *name); /* NULL: not set, or "" */

/* remote.c: each begins, or says chain_next. */
void chain_ask_sts(struct chain *chain);
void chain_ask_container(struct chain *chain);
void chain_ask_instance(struct chain *chain);

#endif
