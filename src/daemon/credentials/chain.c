/* SPDX-License-Identifier: Apache-2.0 */
/* One walk along the sources:
 *
 *   files --> environment --> shared file --> web identity --> container --> instance --> none
 *
 * With `auth` it begins and ends at one of them (static: at the first two).  A source that is not
 * set up says chain_next; one that is set up ends the walk, with keys or without.
 *
 * The sources here are files, read in a job, and the environment.  remote.c has those that are
 * asked.
 */
#include "internal.h"

#include <stdio.h>

const char *chain_source_text(enum chain_source source)
{
    static const char *const texts[CHAIN_SOURCE_COUNT] = {
        [CHAIN_FILES] = "files",
        [CHAIN_ENVIRONMENT] = "environment",
        [CHAIN_SHARED_FILE] = "shared_file",
        [CHAIN_WEB_IDENTITY] = "web_identity",
        [CHAIN_CONTAINER] = "container",
        [CHAIN_IMDS] = "imds",
    };
    return texts[source];
}

const char *chain_variable(const struct chain *chain, const char *name)
{
    const char *(*environment)(const char *) = chain->credentials->environment;
    const char *value = environment ? environment(name) : NULL;
    return value && value[0] ? value : NULL;
}

/* ---- jobs ---- */

static void chain_on_job(struct pf_job *job)
{
    struct chain *chain = FM_CONTAINER(job, struct chain, job);
    if (chain->is_cancelled)
        chain_end(chain, fm_fail(&chain->why, FM_ECANCELLED, "cancelled"));
    else
        chain->after_read(chain);
}

static void chain_work(struct pf_job *job)
{
    struct chain *chain = FM_CONTAINER(job, struct chain, job);
    chain->job_rc = chain->read(chain);
}

void chain_run_job(struct chain *chain, int (*read)(struct chain *chain),
                   void (*after)(struct chain *chain))
{
    chain->read = read;
    chain->after_read = after;
    chain->job = (struct pf_job){.work = chain_work, .done = chain_on_job, .lane = PF_LANE_DISK};
    pf_job_submit(chain->credentials->platform, &chain->job);
}

/* In a job.  The buffer has its size from the start, so that no copy is left behind. */
static int chain_read_file(struct chain *chain, const char *path, size_t bytes_max,
                           struct fm_buf *text)
{
    fm_buf_init(text, bytes_max);
    if (!fm_buf_room(text, bytes_max))
        return FM_ENOMEM;
    return pf_read_file(chain->credentials->platform, path, text, &chain->why);
}

static void chain_fini_file(struct fm_buf *text)
{
    if (text->ptr)
        explicit_bzero(text->ptr, text->cap);
    fm_buf_fini(text);
}

int chain_read_token(struct chain *chain, const char *path)
{
    struct fm_buf text;
    int rc = chain_read_file(chain, path, CHAIN_TOKEN_MAX, &text);
    while (rc == FM_OK && text.len && text.ptr[text.len - 1] <= ' ')
        text.len--;
    if (rc == FM_OK && (text.len == 0 || memchr(text.ptr, '\0', text.len)))
        rc = fm_fail(&chain->why, FM_EMALFORMED, "%s holds no token", path);
    if (rc == FM_OK) {
        memcpy(chain->token, text.ptr, text.len);
        chain->token[text.len] = '\0';
    }
    chain_fini_file(&text);
    return rc;
}

/* ---- files of the configuration ---- */

static int chain_read_files(struct chain *chain)
{
    const struct credentials *credentials = chain->credentials;
    struct fm_buf texts[3];
    struct fm_slice slices[3] = {{0}};
    int rc = FM_OK;
    for (size_t i = 0; i < FM_COUNT(texts); i++)
        fm_buf_init(&texts[i], S3_SESSION_TOKEN_MAX);
    for (size_t i = 0; i < FM_COUNT(texts) && rc == FM_OK; i++) {
        if (!credentials->files[i])
            continue;
        rc = chain_read_file(chain, credentials->files[i], S3_SESSION_TOKEN_MAX, &texts[i]);
        slices[i] = fm_buf_slice(&texts[i]);
        if (rc == FM_OK && texts[i].len == 0)
            rc = fm_fail(&chain->why, FM_EMALFORMED, "%s is empty", credentials->files[i]);
    }
    if (rc == FM_OK)
        rc = s3_keys_set(&chain->keys, slices[0], slices[1], slices[2], &chain->why);
    for (size_t i = 0; i < FM_COUNT(texts); i++)
        chain_fini_file(&texts[i]);
    return rc;
}

static void chain_after_files(struct chain *chain)
{
    chain_end(chain, chain->job_rc);
}

static void chain_try_files(struct chain *chain)
{
    if (chain->credentials->files[0])
        chain_run_job(chain, chain_read_files, chain_after_files);
    else
        chain_next(chain);
}

/* ---- environment ---- */

static void chain_try_environment(struct chain *chain)
{
    const char *access_key = chain_variable(chain, "AWS_ACCESS_KEY_ID");
    const char *secret_key = chain_variable(chain, "AWS_SECRET_ACCESS_KEY");
    const char *token = chain_variable(chain, "AWS_SESSION_TOKEN");
    if (!access_key && !secret_key) {
        chain_next(chain);
        return;
    }
    chain_end(chain, s3_keys_set(&chain->keys, fm_slice_text(access_key ? access_key : ""),
                                 fm_slice_text(secret_key ? secret_key : ""),
                                 fm_slice_text(token ? token : ""), &chain->why));
}

/* ---- the shared file ---- */

static bool chain_shared_path(const struct chain *chain, char path[CHAIN_PATH_MAX])
{
    const char *named = chain->credentials->shared_file;
    const char *home = chain_variable(chain, "HOME");
    if (!named)
        named = chain_variable(chain, "AWS_SHARED_CREDENTIALS_FILE");
    int len = -1;
    if (named)
        len = snprintf(path, CHAIN_PATH_MAX, "%s", named);
    else if (home)
        len = snprintf(path, CHAIN_PATH_MAX, "%s/.aws/credentials", home);
    return len > 0 && len < CHAIN_PATH_MAX;
}

static bool chain_shared_is_named(const struct chain *chain)
{
    const struct credentials *credentials = chain->credentials;
    return credentials->auth == CREDENTIALS_SHARED_FILE || credentials->shared_file ||
           chain_variable(chain, "AWS_SHARED_CREDENTIALS_FILE");
}

static int chain_read_shared(struct chain *chain)
{
    char path[CHAIN_PATH_MAX];
    const char *profile = chain->credentials->profile;
    struct fm_buf text;
    if (!profile)
        profile = chain_variable(chain, "AWS_PROFILE");
    if (!profile)
        profile = "default";
    if (!chain_shared_path(chain, path))
        return FM_NONE;
    int rc = chain_read_file(chain, path, CHAIN_FILE_MAX, &text);
    if (rc == FM_OK)
        rc = s3_keys_read_profile(fm_buf_slice(&text), profile, &chain->keys, &chain->why);
    else if (!chain_shared_is_named(chain))
        rc = FM_NONE; /* nobody promised that there is one, or that we may read it */
    if (rc == FM_NONE)
        (void)fm_fail(&chain->why, FM_ENOTFOUND, "%s has no keys for [%s]", path, profile);
    chain_fini_file(&text);
    return rc;
}

static void chain_after_shared(struct chain *chain)
{
    if (chain->job_rc == FM_NONE)
        chain_next(chain);
    else
        chain_end(chain, chain->job_rc);
}

static void chain_try_shared(struct chain *chain)
{
    char path[CHAIN_PATH_MAX];
    if (chain_shared_path(chain, path))
        chain_run_job(chain, chain_read_shared, chain_after_shared);
    else
        chain_next(chain);
}

/* ---- the walk ---- */

struct chain_range {
    enum chain_source first, last;
};
static struct chain_range chain_range_of(enum credentials_auth auth)
{
    switch (auth) {
    case CREDENTIALS_STATIC:
        return (struct chain_range){CHAIN_FILES, CHAIN_ENVIRONMENT};
    case CREDENTIALS_SHARED_FILE:
        return (struct chain_range){CHAIN_SHARED_FILE, CHAIN_SHARED_FILE};
    case CREDENTIALS_WEB_IDENTITY:
        return (struct chain_range){CHAIN_WEB_IDENTITY, CHAIN_WEB_IDENTITY};
    case CREDENTIALS_CONTAINER:
        return (struct chain_range){CHAIN_CONTAINER, CHAIN_CONTAINER};
    case CREDENTIALS_IMDS:
        return (struct chain_range){CHAIN_IMDS, CHAIN_IMDS};
    default:
        return (struct chain_range){CHAIN_FILES, CHAIN_IMDS};
    }
}

static void chain_try(struct chain *chain)
{
    static void (*const tries[CHAIN_SOURCE_COUNT])(struct chain * chain) = {
        [CHAIN_FILES] = chain_try_files,         [CHAIN_ENVIRONMENT] = chain_try_environment,
        [CHAIN_SHARED_FILE] = chain_try_shared,  [CHAIN_WEB_IDENTITY] = chain_ask_sts,
        [CHAIN_CONTAINER] = chain_ask_container, [CHAIN_IMDS] = chain_ask_instance,
    };
    tries[chain->source](chain);
}

void chain_next(struct chain *chain)
{
    enum chain_source last = chain_range_of(chain->credentials->auth).last;
    if (chain->source < last) {
        chain->source++;
        chain_try(chain);
        return;
    }
    if (!chain->why.text[0])
        (void)fm_fail(&chain->why, FM_ENOTFOUND, "no source of keys is set up");
    chain_end(chain, FM_ENOTFOUND);
}

void chain_end(struct chain *chain, int rc)
{
    chain->rc = rc;
    if (rc < 0 && !chain->why.text[0])
        (void)fm_fail(&chain->why, rc, "%s", fm_rc_text(rc));
    if (rc < 0 && rc != FM_ECANCELLED)
        (void)fm_wrap(&chain->why, rc, "%s", chain_source_text(chain->source));
    explicit_bzero(chain->token, sizeof chain->token);
    chain_fini_file(&chain->form);
    chain->running = false;
    chain->done(chain); /* on a timer of its own: see credentials.c */
}

void chain_start(struct credentials *credentials, void (*done)(struct chain *chain))
{
    struct chain *chain = &credentials->chain;
    FM_ASSERT(!chain->running);
    chain->credentials = credentials;
    chain->done = done;
    chain->running = true;
    chain->is_cancelled = chain->asking = false;
    chain->why.text[0] = chain->role[0] = '\0';
    chain->answer_unix_s = 0;
    chain->step = 0;
    chain->source = chain_range_of(credentials->auth).first;
    s3_keys_wipe(&chain->keys);
    fm_buf_init(&chain->form, FM_KIB(72));
    chain_try(chain);
}

void chain_cancel(struct chain *chain)
{
    chain->is_cancelled = true;
    if (chain->asking)
        ask_cancel(&chain->ask);
}

int chain_check(const struct credentials *credentials, struct fm_why *why)
{
    const struct chain view = {.credentials = (struct credentials *)(uintptr_t)credentials};
    bool has_web = chain_variable(&view, "AWS_WEB_IDENTITY_TOKEN_FILE");
    bool has_container = chain_variable(&view, "AWS_CONTAINER_CREDENTIALS_FULL_URI") ||
                         chain_variable(&view, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    if (!credentials->files[0] != !credentials->files[1])
        return fm_fail(why, FM_ECONFIG,
                       "[upload.s3] needs both access_key_file and secret_key_file, or neither");
    if (credentials->auth == CREDENTIALS_STATIC && !credentials->files[0] &&
        !chain_variable(&view, "AWS_ACCESS_KEY_ID"))
        return fm_fail(why, FM_ECONFIG,
                       "[upload.s3] auth = static needs access_key_file and "
                       "secret_key_file, or AWS_ACCESS_KEY_ID");
    if (credentials->auth == CREDENTIALS_WEB_IDENTITY && !has_web)
        return fm_fail(why, FM_ECONFIG,
                       "[upload.s3] auth = web_identity needs AWS_WEB_IDENTITY_TOKEN_FILE");
    if (credentials->auth == CREDENTIALS_CONTAINER && !has_container)
        return fm_fail(why, FM_ECONFIG,
                       "[upload.s3] auth = container needs "
                       "AWS_CONTAINER_CREDENTIALS_FULL_URI or _RELATIVE_URI");
    return FM_OK;
}
