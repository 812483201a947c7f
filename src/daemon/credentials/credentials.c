/* SPDX-License-Identifier: Apache-2.0 */
/* What is in force, who waits for it, and when it is renewed.
 *
 * Every minute is a tick: files are read again, keys that end within five minutes are asked for
 * again, a report of another thread is heard.  After a failure the pauses are short at first and
 * grow to a minute; what is in force stays so until it expires.
 */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "fermata/units.h"

#define TICK_NS      (60 * FM_NS_PER_S)
#define AHEAD_NS     (300 * FM_NS_PER_S)
#define JITTER_NS    (60 * FM_NS_PER_S)
#define RENEW_MIN_NS (60 * FM_NS_PER_S) /* between two looks that refusals ask for */
#define RETRY_MIN_NS (200 * FM_NS_PER_MS)

static void credentials_on_chain(struct chain *chain);

/* ---- what is in force ---- */

static bool credentials_are_good(const struct credentials *credentials)
{
    return credentials->has_keys &&
           (!credentials->expires_ns || pf_now_ns(credentials->platform) < credentials->expires_ns);
}

bool credentials_get(const struct credentials *credentials, struct s3_credentials *ret_credentials,
                     uint64_t *ret_generation)
{
    if (!credentials_are_good(credentials))
        return false;
    *ret_credentials = s3_keys_borrow(&credentials->keys);
    *ret_generation = credentials->generation;
    return true;
}

bool credentials_copy(struct credentials *credentials, struct fm_arena *arena,
                      struct s3_credentials *ret_credentials, uint64_t *ret_generation)
{
    pf_lock(&credentials->lock);
    bool good = credentials_are_good(credentials);
    if (good) {
        struct s3_credentials keys = s3_keys_borrow(&credentials->keys);
        *ret_credentials = (struct s3_credentials){fm_slice_dup(arena, keys.access_key),
                                                   fm_slice_dup(arena, keys.secret_key),
                                                   fm_slice_dup(arena, keys.session_token)};
        *ret_generation = credentials->generation;
    }
    pf_unlock(&credentials->lock);
    return good;
}

bool credentials_report(struct credentials *credentials, uint64_t generation)
{
    pf_lock(&credentials->lock);
    bool differs = credentials->generation != generation;
    pf_unlock(&credentials->lock);
    if (!differs)
        atomic_store(&credentials->is_reported, true);
    return differs;
}

static bool credentials_is_near(const struct credentials *credentials)
{
    return credentials->chain.source <= CHAIN_SHARED_FILE; /* costs nobody anything to look */
}

/* ---- looking ---- */

static void credentials_look(struct credentials *credentials)
{
    if (!credentials->chain.running)
        chain_start(credentials, credentials_on_chain);
}

/* A tick, or sooner if keys have to be renewed before that. */
static uint64_t credentials_pause_ns(const struct credentials *credentials, uint64_t now_ns)
{
    if (!credentials->renew_ns || credentials->renew_ns >= now_ns + TICK_NS)
        return TICK_NS;
    return credentials->renew_ns - FM_MIN(now_ns, credentials->renew_ns);
}

static void credentials_plan(struct credentials *credentials, uint64_t delay_ns)
{
    pf_timer_stop(credentials->platform, &credentials->timer);
    pf_timer_start(credentials->platform, &credentials->timer, delay_ns);
}

/* When keys are good for as long as these, they are asked for again then. */
static uint64_t credentials_renewal_ns(const struct credentials *credentials, uint64_t life_ns)
{
    uint64_t jitter_ns = pf_random_u64(credentials->platform) % JITTER_NS;
    return life_ns > 2 * (AHEAD_NS + JITTER_NS) ? life_ns - AHEAD_NS - jitter_ns : life_ns / 2;
}

static bool keys_equal(const struct s3_keys *a, const struct s3_keys *b)
{
    return strcmp(a->access_key, b->access_key) == 0 && strcmp(a->secret_key, b->secret_key) == 0 &&
           strcmp(a->session_token, b->session_token) == 0;
}

static void credentials_take(struct credentials *credentials, uint64_t life_ns)
{
    struct chain *chain = &credentials->chain;
    bool differs = !credentials->has_keys || !keys_equal(&credentials->keys, &chain->keys);
    uint64_t now_ns = pf_now_ns(credentials->platform);
    pf_lock(&credentials->lock);
    if (differs) {
        credentials->keys = chain->keys;
        credentials->generation++;
    }
    credentials->has_keys = true;
    credentials->expires_ns = life_ns ? now_ns + life_ns : 0;
    pf_unlock(&credentials->lock);
    if (differs)
        log_info("credentials.found", "source=%s expires_in_s=%llu",
                 chain_source_text(chain->source), (unsigned long long)(life_ns / FM_NS_PER_S));
    credentials->source = chain->source;
    credentials->renew_ns = life_ns ? now_ns + credentials_renewal_ns(credentials, life_ns) : 0;
    credentials->failures = 0;
    metric_add(&credentials->looks_ok, 1);
}

static void credentials_fail(struct credentials *credentials)
{
    struct chain *chain = &credentials->chain;
    credentials->why = chain->why;
    if (credentials->failures == 0)
        log_warn("credentials.failed", "in_force=%s why=\"%s\"",
                 credentials_are_good(credentials) ? "true" : "false", chain->why.text);
    credentials->failures = FM_MIN(credentials->failures + 1, 1000);
    metric_add(&credentials->looks_failed, 1);
}

/* How long the keys are good for, by the clock of who gave them; 0: for ever. */
static int chain_life(struct chain *chain, uint64_t *ret_ns)
{
    struct platform *platform = chain->credentials->platform;
    int64_t now_s = chain->answer_unix_s;
    *ret_ns = 0;
    if (chain->rc < 0 || !chain->keys.expires_unix_s)
        return chain->rc;
    if (!now_s)
        now_s = (int64_t)(pf_wall_ns(platform) / FM_NS_PER_S);
    if (chain->keys.expires_unix_s <= now_s)
        return fm_fail(&chain->why, FM_EDENIED, "%s: the keys have expired already",
                       chain_source_text(chain->source));
    int64_t life_s = FM_MIN(chain->keys.expires_unix_s - now_s, INT64_C(86400) * 3660);
    *ret_ns = (uint64_t)life_s * FM_NS_PER_S;
    return FM_OK;
}

static void credentials_destroy(struct credentials *credentials)
{
    s3_keys_wipe(&credentials->keys);
    s3_keys_wipe(&credentials->chain.keys);
    for (size_t i = 0; i < FM_COUNT(credentials->files); i++)
        free(credentials->files[i]);
    free(credentials->shared_file);
    free(credentials->profile);
    free(credentials->region);
    free(credentials->tls_ca_file);
    free(credentials->proxy);
    free(credentials->proxy_auth_file);
    free(credentials->sts_endpoint);
    free(credentials->imds_endpoint);
    free(credentials);
}

static void credentials_on_chain(struct chain *chain)
{
    struct credentials *credentials = chain->credentials;
    uint64_t life_ns;
    if (credentials->is_stopped)
        return;
    credentials->rc = chain_life(chain, &life_ns);
    if (credentials->rc == FM_OK)
        credentials_take(credentials, life_ns);
    else
        credentials_fail(credentials);
    s3_keys_wipe(&chain->keys);
    uint64_t delay_ns = credentials_pause_ns(credentials, pf_now_ns(credentials->platform));
    if (credentials->failures)
        delay_ns = RETRY_MIN_NS + s3_backoff_ns(S3_TRANSIENT, credentials->failures - 1, 0, 0,
                                                pf_random_u64(credentials->platform));
    credentials_plan(credentials, delay_ns);
    pf_timer_stop(credentials->platform, &credentials->flush);
    pf_timer_start(credentials->platform, &credentials->flush, 0);
}

static void credentials_on_tick(struct pf_timer *timer)
{
    struct credentials *credentials = FM_CONTAINER(timer, struct credentials, timer);
    uint64_t now_ns = pf_now_ns(credentials->platform);
    bool is_due = credentials->renew_ns && now_ns >= credentials->renew_ns;
    /* The end of the look plans anew. */
    credentials_plan(credentials, is_due ? TICK_NS : credentials_pause_ns(credentials, now_ns));
    if (atomic_exchange(&credentials->is_reported, false) || credentials->failures || is_due ||
        credentials_is_near(credentials))
        credentials_look(credentials);
}

/* ---- waiting ---- */

static void credentials_on_flush(struct pf_timer *timer)
{
    struct credentials *credentials = FM_CONTAINER(timer, struct credentials, flush);
    struct fm_link over;
    bool good = credentials_are_good(credentials);
    pf_timer_stop(credentials->platform, timer);
    if (!good && credentials->chain.running)
        return; /* its end comes here again */
    fm_list_init(&over);
    while (!fm_list_empty(&credentials->waits)) { /* who comes now waits for the next end */
        struct fm_link *link = credentials->waits.next;
        fm_list_remove(link);
        fm_list_append(&over, link);
    }
    struct fm_why why = credentials->why;
    if (!good && credentials->rc == FM_OK)
        (void)fm_fail(&why, FM_EDENIED, "the keys have expired");
    int rc = good ? FM_OK : FM_EDENIED;
    while (!fm_list_empty(&over)) {
        struct credentials_wait *wait = FM_CONTAINER(over.next, struct credentials_wait, link);
        fm_list_remove(&wait->link);
        wait->rc = rc;
        if (!good)
            wait->why = why;
        wait->done(wait);
    }
}

static void credentials_queue(struct credentials *credentials, struct credentials_wait *wait)
{
    fm_list_init(&wait->link);
    fm_list_append(&credentials->waits, &wait->link);
    if (credentials->chain.running)
        return; /* its end ends the wait */
    pf_timer_stop(credentials->platform, &credentials->flush);
    pf_timer_start(credentials->platform, &credentials->flush, 0);
}

void credentials_wait_start(struct credentials *credentials, struct credentials_wait *wait)
{
    if (!credentials_are_good(credentials) &&
        (!credentials->failures || credentials_is_near(credentials)))
        credentials_look(credentials);
    credentials_queue(credentials, wait);
}

void credentials_wait_stop(struct credentials_wait *wait)
{
    if (wait->link.next)
        fm_list_remove(&wait->link);
}

bool credentials_renew(struct credentials *credentials, uint64_t generation,
                       struct credentials_wait *wait)
{
    uint64_t now_ns = pf_now_ns(credentials->platform);
    if (generation == credentials->generation && !credentials->chain.running) {
        if (!credentials_is_near(credentials) && credentials->was_renewed &&
            now_ns - credentials->renewed_ns < RENEW_MIN_NS)
            return false;
        credentials->was_renewed = true;
        credentials->renewed_ns = now_ns;
        credentials_look(credentials);
    }
    credentials_queue(credentials, wait);
    return true;
}

/* ---- life ---- */

/* A copy of text, NULL for NULL and ""; clears *ok without memory. */
static char *text_copy(const char *text, bool *ok)
{
    char *copy = text && text[0] ? strdup(text) : NULL;
    if (text && text[0] && !copy)
        *ok = false;
    return copy;
}

static int credentials_set(struct credentials *credentials,
                           const struct credentials_options *options, struct fm_why *why)
{
    bool ok = true;
    credentials->auth = options->auth;
    credentials->files[0] = text_copy(options->access_key_file, &ok);
    credentials->files[1] = text_copy(options->secret_key_file, &ok);
    credentials->files[2] = text_copy(options->session_token_file, &ok);
    credentials->shared_file = text_copy(options->shared_file, &ok);
    credentials->profile = text_copy(options->profile, &ok);
    credentials->region = text_copy(options->region, &ok);
    credentials->tls_ca_file = text_copy(options->tls_ca_file, &ok);
    credentials->proxy = text_copy(options->proxy, &ok);
    credentials->proxy_auth_file = text_copy(options->proxy_auth_file, &ok);
    credentials->sts_endpoint = text_copy(options->sts_endpoint, &ok);
    credentials->imds_endpoint = text_copy(options->imds_endpoint, &ok);
    credentials->environment = options->environment;
    return ok ? chain_check(credentials, why)
              : fm_fail(why, FM_ENOMEM, "no memory for the credentials");
}

int credentials_new(struct credentials **ret_credentials, struct platform *platform,
                    const struct credentials_options *options, struct fm_why *why)
{
    FM_ASSERT(options->auth != CREDENTIALS_NONE);
    struct credentials *credentials = calloc(1, sizeof *credentials);
    if (!credentials)
        return fm_fail(why, FM_ENOMEM, "no memory for the credentials");
    credentials->platform = platform;
    credentials->timer.fire = credentials_on_tick;
    credentials->flush.fire = credentials_on_flush;
    fm_list_init(&credentials->waits);
    credentials->lock = PF_LOCK_INIT;
    int rc = credentials_set(credentials, options, why);
    if (rc < 0) {
        credentials_destroy(credentials);
        return rc;
    }
    credentials_look(credentials);
    *ret_credentials = credentials;
    return FM_OK;
}

void credentials_stop(struct credentials *credentials)
{
    FM_ASSERT(fm_list_empty(&credentials->waits));
    pf_timer_stop(credentials->platform, &credentials->timer);
    pf_timer_stop(credentials->platform, &credentials->flush);
    credentials->is_stopped = true;
    if (credentials->chain.running)
        chain_cancel(&credentials->chain);
}

struct credentials *credentials_free(struct credentials *credentials)
{
    if (!credentials)
        return NULL;
    FM_ASSERT(credentials->is_stopped && !credentials->chain.running);
    credentials_destroy(credentials);
    return NULL;
}

void credentials_put_metrics(const struct credentials *credentials, struct fm_buf *out)
{
    char labels[64];
    metric_family(out, "fermata_credentials_looks_total", "counter",
                  "Times that the keys of the bucket were looked for.");
    metric_line(out, "fermata_credentials_looks_total", "outcome=\"found\"",
                metric_get(&credentials->looks_ok));
    metric_line(out, "fermata_credentials_looks_total", "outcome=\"failed\"",
                metric_get(&credentials->looks_failed));
    metric_family(out, "fermata_credentials_in_force", "gauge",
                  "1: there are keys that have not expired; by where they are from.");
    (void)snprintf(labels, sizeof labels, "source=\"%s\"", chain_source_text(credentials->source));
    metric_line(out, "fermata_credentials_in_force", labels, credentials_are_good(credentials));
    if (!credentials->expires_ns)
        return;
    uint64_t now_ns = pf_now_ns(credentials->platform);
    metric_family(out, "fermata_credentials_expiry_seconds", "gauge",
                  "How long the keys are still good for.");
    metric_line_double(out, "fermata_credentials_expiry_seconds", NULL,
                       (double)(credentials->expires_ns - FM_MIN(now_ns, credentials->expires_ns)) /
                           (double)FM_NS_PER_S);
}
