/* SPDX-License-Identifier: Apache-2.0 */
/* cloud_access - what requests are allowed by.
 *
 *   want -> read the file (job) -> keys and signatures: done
 *                 |                tokens: ask the endpoint -> done
 *                 +---- once: the endpoint's clock is not ours, sign again
 *
 * A token is asked for again five minutes before it ends, by whoever needs it next; that one waits,
 * all others go on with the old one, and so does everybody while a fetch fails and the old one
 * lives.  A secret that was refused is no longer offered.  Nobody waits longer than the deadline.
 */
#include "bucket_cloud.h"

#include <stdlib.h>

#include "fermata/bytes.h"
#include "fermata/units.h"

#define AHEAD_S        300
#define AHEAD_JITTER_S 60
#define GUARD_S        10 /* a token that ends on its way is of no use */
#define LATE_S         30 /* between attempts while the old one lives */
#define DEADLINE_NS    (30 * FM_NS_PER_S)
#define STORAGE_SCOPE  "https://www.googleapis.com/auth/devstorage.read_write"

static void access_read(struct cloud_access *access);
static void access_ask(struct cloud_access *access);

/* ---- buffers ---- */

static void access_wipe(struct fm_buf *text)
{
    if (text->ptr)
        explicit_bzero(text->ptr, text->cap);
    fm_buf_reset(text);
}

static void access_wipe_body(struct cloud_access *access)
{
    if (access->body.len)
        explicit_bzero((void *)(uintptr_t)access->body.ptr, access->body.len);
    access->body = (struct fm_slice){0};
}

static bool access_is_token(const struct cloud_access *access)
{
    return access->auth != CLOUD_AUTH_SHARED_KEY && access->auth != CLOUD_AUTH_SAS;
}

/* ---- the end of a fetch ---- */

static bool access_is_wanted(const struct cloud_access *access)
{
    for (const struct fm_link *link = access->waiters.next; link != &access->waiters;
         link = link->next)
        if (!FM_CONTAINER(link, struct cloud_transfer, wait_link)->cancelled)
            return true;
    return false;
}

static void access_end(struct cloud_access *access, enum s3_outcome outcome)
{
    uint64_t now_ns = pf_now_ns(access->platform);
    access_wipe(&access->file);
    access_wipe(&access->fresh);
    access_wipe_body(access);
    access->fetching = false;
    if (outcome != S3_DONE && access_is_wanted(access))
        metric_add(&access->failed, 1);
    if (outcome != S3_DONE && access_is_wanted(access) && access->has_secret &&
        now_ns < access->expires_ns) {
        log_warn("upload.token", "why=\"%s\"", access->why.text);
        access->late_ns = now_ns + LATE_S * FM_NS_PER_S +
                          pf_random_u64(access->platform) % (LATE_S * FM_NS_PER_S);
        outcome = S3_DONE;
    }
    struct fm_link waiters;
    fm_list_init(&waiters);
    while (!fm_list_empty(&access->waiters)) {
        struct fm_link *link = access->waiters.next;
        fm_list_remove(link);
        fm_list_append(&waiters, link);
    }
    while (!fm_list_empty(&waiters)) {
        struct fm_link *link = waiters.next;
        fm_list_remove(link);
        cloud_exchange_on_access(FM_CONTAINER(link, struct cloud_transfer, wait_link), outcome);
    }
}

/* lifetime_s 0: for good. */
static void access_set(struct cloud_access *access, struct fm_slice secret, uint64_t lifetime_s)
{
    uint64_t now_ns = pf_now_ns(access->platform);
    access_wipe(&access->secret);
    fm_buf_put_slice(&access->secret, secret);
    if (access->secret.failed) {
        access->has_secret = false;
        (void)fm_fail(&access->why, FM_ENOMEM, "no memory for a token");
        access_end(access, S3_TRANSIENT);
        return;
    }
    access->has_secret = true;
    access->serial++;
    access->late_ns = 0;
    access->expires_ns = access->refresh_ns = UINT64_MAX;
    if (lifetime_s) {
        uint64_t ahead_s = AHEAD_S + pf_random_u64(access->platform) % AHEAD_JITTER_S;
        ahead_s = FM_MIN(ahead_s, lifetime_s / 2);
        access->refresh_ns = now_ns + (lifetime_s - ahead_s) * FM_NS_PER_S;
        access->expires_ns =
            now_ns + lifetime_s * FM_NS_PER_S - FM_MIN(GUARD_S, lifetime_s / 4) * FM_NS_PER_S;
    }
    metric_add(&access->fetched, 1);
    access_end(access, S3_DONE);
}

/* ---- files ---- */

static int access_random(void *self, unsigned char *target, size_t len)
{
    struct platform *platform = self;
    platform->ops->random(platform, target, len);
    return 0;
}

static int access_make_assertion(struct cloud_access *access, struct fm_slice text)
{
    struct fm_arena arena;
    struct cloud_account account = {0};
    fm_arena_init(&arena, FM_KIB(64));
    int rc = cloud_account_read(text, &arena, &account, &access->why);
    if (rc == FM_OK)
        rc = cloud_url_parse(account.token_uri, &access->ask_url, &access->why);
    if (rc == FM_OK)
        rc = cloud_assertion_put(&account, STORAGE_SCOPE, access->now_s, access_random,
                                 access->platform, &access->fresh, &access->why);
    cloud_account_wipe(&account);
    fm_arena_fini(&arena);
    return rc < 0 ? fm_wrap(&access->why, rc, "%s", access->secret_file) : FM_OK;
}

static int access_make_key(struct cloud_access *access, struct fm_slice text)
{
    size_t len = 0;
    uint8_t *room = fm_buf_room(&access->fresh, text.len);
    if (!room)
        return FM_ENOMEM;
    if (fm_base64_decode(room, &len, text) != FM_OK || len == 0)
        return fm_fail(&access->why, FM_ECONFIG, "%s is not an account's key in base64",
                       access->secret_file);
    access->fresh.len += len;
    return FM_OK;
}

static struct fm_slice access_trim(struct fm_slice text)
{
    while (text.len && text.ptr[text.len - 1] <= ' ')
        text.len--;
    while (text.len && text.ptr[0] <= ' ')
        text = fm_slice(text.ptr + 1, text.len - 1);
    return text;
}

static int access_read_file(struct cloud_access *access)
{
    int rc = pf_read_file(access->platform, access->secret_file, &access->file, &access->why);
    if (rc < 0)
        return rc;
    struct fm_slice text = access_trim(fm_buf_slice(&access->file));
    if (text.len == 0)
        return fm_fail(&access->why, FM_ECONFIG, "%s is empty", access->secret_file);
    switch (access->auth) {
    case CLOUD_AUTH_SHARED_KEY:
        return access_make_key(access, text);
    case CLOUD_AUTH_SERVICE_ACCOUNT:
        return access_make_assertion(access, text);
    case CLOUD_AUTH_SAS:
        if (text.ptr[0] == '?')
            text = fm_slice(text.ptr + 1, text.len - 1);
        break;
    default:
        break;
    }
    fm_buf_put_slice(&access->fresh, text);
    return access->fresh.failed ? FM_ENOMEM : FM_OK;
}

static void access_read_work(struct pf_job *job)
{
    struct cloud_access *access = FM_CONTAINER(job, struct cloud_access, job);
    access_wipe(&access->file);
    access_wipe(&access->fresh);
    access->job_rc = access_read_file(access);
}

static void access_on_read(struct pf_job *job)
{
    struct cloud_access *access = FM_CONTAINER(job, struct cloud_access, job);
    if (!access_is_wanted(access))
        access_end(access, S3_TRANSIENT);
    else if (access->job_rc == FM_ENOMEM)
        access_end(access, S3_TRANSIENT);
    else if (access->job_rc < 0)
        access_end(access, S3_AUTH);
    else if (access_is_token(access))
        access_ask(access);
    else
        access_set(access, fm_buf_slice(&access->fresh), 0);
}

static void access_read(struct cloud_access *access)
{
    access->why.text[0] = '\0';
    if (!access->secret_file) {
        access_ask(access);
        return;
    }
    access->now_s = bucket_clock_now_s(access->clock);
    access->job =
        (struct pf_job){.work = access_read_work, .done = access_on_read, .lane = PF_LANE_DISK};
    pf_job_submit(access->platform, &access->job);
}

/* ---- the endpoint ---- */

static void access_describe(struct cloud_access *access, const struct cloud_token *token, int rc)
{
    const struct net_call *call = &access->call;
    if (access->is_late)
        (void)fm_fail(&access->why, FM_ETIMEOUT, "the token's endpoint %s did not answer in time",
                      access->ask_url.host);
    else if (rc < 0)
        (void)fm_fail(&access->why, rc, "the token's endpoint: %s",
                      call->why.text[0] ? call->why.text : fm_rc_text(rc));
    else
        (void)fm_fail(&access->why, FM_EIO, "the token's endpoint %s: HTTP %d%s%s%s%s",
                      access->ask_url.host, call->status, token->code[0] ? " " : "", token->code,
                      token->message[0] ? ": " : "", token->message);
}

/* An assertion of the wrong hour looks like a wrong key; keys of machines have no clock. */
static bool access_repair(struct cloud_access *access, const struct cloud_token *token)
{
    if (access->auth != CLOUD_AUTH_SERVICE_ACCOUNT || token->outcome != S3_AUTH ||
        access->repaired_clock)
        return false;
    access->repaired_clock = true;
    return bucket_clock_explains(access->clock, token->date_unix_s);
}

static void access_on_answer(struct net_call *call, int rc)
{
    struct cloud_access *access = call->self;
    struct cloud_headers headers = {.count = 0};
    struct cloud_token token;
    pf_timer_stop(access->platform, &access->deadline);
    if (rc == FM_OK)
        cloud_headers_read(call, &headers);
    const struct s3_response_view view = {
        .status = rc == FM_OK ? call->status : 0,
        .headers = headers.rows,
        .header_count = headers.count,
        .body = rc == FM_OK ? call->response_body : (struct fm_slice){0},
    };
    access_wipe_body(access);
    fm_arena_reset(&access->arena);
    cloud_token_read(&view, &access->arena, &token);
    if (rc == FM_EDENIED)
        token.outcome = S3_AUTH; /* the server's certificate: a person must look */
    access->retry_after_s = token.retry_after_s;
    if (token.outcome == S3_DONE)
        access_wipe(&access->fresh);
    if (token.outcome == S3_DONE)
        fm_buf_put_slice(&access->fresh, token.token);
    access->client = net_client_free(access->client); /* and its copy of the answer */
    if (token.outcome == S3_DONE && !access->fresh.failed) {
        access_set(access, fm_buf_slice(&access->fresh), token.lifetime_s);
        return;
    }
    access_describe(access, &token, rc);
    if (access_repair(access, &token) && access_is_wanted(access))
        access_read(access);
    else
        access_end(access, token.outcome == S3_DONE ? S3_TRANSIENT : token.outcome);
}

static void access_on_deadline(struct pf_timer *timer)
{
    struct cloud_access *access = FM_CONTAINER(timer, struct cloud_access, deadline);
    pf_timer_stop(access->platform, timer);
    access->is_late = true;
    (void)net_client_free(fm_take(access->client)); /* ends the call */
}

static int access_connect(struct cloud_access *access)
{
    const struct net_client_options options = {
        .host = access->ask_url.host,
        .port = access->ask_url.port,
        .tls = strcmp(access->ask_url.scheme, "https") == 0,
        .tls_ca_file = access->tls_ca_file,
        .interface = access->interface,
        .proxy = access->proxy,
        .proxy_auth_file = access->proxy_auth_file,
        .connect_timeout_ns = FM_MIN(access->timeout_ns, DEADLINE_NS / 3),
        .stall_timeout_ns = FM_MIN(access->timeout_ns, DEADLINE_NS),
    };
    return net_client_new(&access->client, access->platform, &options, &access->why);
}

static void access_ask(struct cloud_access *access)
{
    struct s3_request request;
    if (access->auth != CLOUD_AUTH_SERVICE_ACCOUNT)
        access->ask_url = access->token_url;
    const struct cloud_token_ask ask = {
        .auth = access->auth,
        .url = &access->ask_url,
        .tenant_id = access->tenant_id,
        .client_id = access->client_id,
        .assertion = fm_buf_slice(&access->fresh),
    };
    fm_arena_reset(&access->arena);
    int rc = cloud_token_request(&ask, &access->arena, &request, &access->body);
    if (rc == FM_OK)
        rc = access_connect(access);
    if (rc < 0) {
        (void)fm_wrap(&access->why, rc, "a token cannot be asked for");
        access_end(access, S3_TRANSIENT);
        return;
    }
    for (uint32_t i = 0; i < request.header_count; i++)
        access->headers[i] =
            (struct http_header){fm_slice_text(request.headers[i].name), request.headers[i].value};
    access->is_late = false;
    access->call = (struct net_call){
        .method = request.method,
        .host = request.host,
        .target = request.target,
        .headers = access->headers,
        .header_count = request.header_count,
        .body = fm_source_memory(&access->body),
        .body_length = access->body.len,
        .response_bytes_max = CLOUD_ANSWER_BYTES_MAX,
        .done = access_on_answer,
        .self = access,
    };
    access->deadline.fire = access_on_deadline;
    pf_timer_start(access->platform, &access->deadline, DEADLINE_NS);
    net_call_start(access->client, &access->call);
}

/* ---- for transfers ---- */

bool cloud_access_want(struct cloud_access *access, struct cloud_transfer *transfer)
{
    uint64_t now_ns = pf_now_ns(access->platform);
    bool is_good = access->has_secret && now_ns < access->expires_ns;
    if (access->auth == CLOUD_AUTH_NONE || (is_good && now_ns < access->refresh_ns))
        return true;
    if (is_good && (access->fetching || now_ns < access->late_ns))
        return true;
    fm_list_append(&access->waiters, &transfer->wait_link);
    if (!access->fetching) {
        access->fetching = true;
        access->repaired_clock = false;
        access->retry_after_s = 0;
        access_read(access);
    }
    return false;
}

struct cloud_secret cloud_access_secret(const struct cloud_access *access)
{
    static const enum cloud_secret_kind kinds[] = {
        [CLOUD_AUTH_NONE] = CLOUD_ANONYMOUS,  [CLOUD_AUTH_SHARED_KEY] = CLOUD_SHARED_KEY,
        [CLOUD_AUTH_SAS] = CLOUD_SAS,         [CLOUD_AUTH_WORKLOAD] = CLOUD_BEARER,
        [CLOUD_AUTH_MANAGED] = CLOUD_BEARER,  [CLOUD_AUTH_SERVICE_ACCOUNT] = CLOUD_BEARER,
        [CLOUD_AUTH_METADATA] = CLOUD_BEARER,
    };
    return (struct cloud_secret){kinds[access->auth], fm_buf_slice(&access->secret)};
}

void cloud_access_refused(struct cloud_access *access, uint64_t serial)
{
    if (serial == access->serial)
        access->has_secret = false;
}

void cloud_access_cancel(struct cloud_access *access)
{
    if (!access_is_wanted(access) && access->client)
        (void)net_client_free(fm_take(access->client));
}

void cloud_access_put_metrics(const struct cloud_access *access, struct fm_buf *out)
{
    static const char *const labels[] = {
        [CLOUD_AUTH_SHARED_KEY] = "source=\"shared_key\"",
        [CLOUD_AUTH_SAS] = "source=\"sas\"",
        [CLOUD_AUTH_WORKLOAD] = "source=\"workload_identity\"",
        [CLOUD_AUTH_MANAGED] = "source=\"managed_identity\"",
        [CLOUD_AUTH_SERVICE_ACCOUNT] = "source=\"service_account\"",
        [CLOUD_AUTH_METADATA] = "source=\"metadata\"",
    };
    uint64_t now_ns = pf_now_ns(access->platform);
    if (access->auth == CLOUD_AUTH_NONE)
        return;
    metric_family(out, "fermata_credentials_looks_total", "counter",
                  "Times that the keys of the bucket were looked for.");
    metric_line(out, "fermata_credentials_looks_total", "outcome=\"found\"",
                metric_get(&access->fetched));
    metric_line(out, "fermata_credentials_looks_total", "outcome=\"failed\"",
                metric_get(&access->failed));
    metric_family(out, "fermata_credentials_in_force", "gauge",
                  "1: there are keys that have not expired; by where they are from.");
    metric_line(out, "fermata_credentials_in_force", labels[access->auth],
                access->has_secret && now_ns < access->expires_ns);
    if (!access->has_secret || access->expires_ns == UINT64_MAX)
        return;
    metric_family(out, "fermata_credentials_expiry_seconds", "gauge",
                  "How long the keys are still good for.");
    metric_line_double(out, "fermata_credentials_expiry_seconds", NULL,
                       (double)(access->expires_ns - FM_MIN(now_ns, access->expires_ns)) /
                           (double)FM_NS_PER_S);
}

/* ---- making one ---- */

static int access_set_url(struct cloud_access *access, const char *url, struct fm_why *why)
{
    static const char *const own[] = {
        [CLOUD_AUTH_WORKLOAD] = "https://login.microsoftonline.com",
        [CLOUD_AUTH_MANAGED] = "http://169.254.169.254",
        [CLOUD_AUTH_METADATA] = "http://metadata.google.internal",
    };
    if ((!url || !url[0]) && (size_t)access->auth < FM_COUNT(own))
        url = own[access->auth];
    if (!url || !url[0])
        return FM_OK; /* keys and signatures; a service account's is in its file */
    return cloud_url_parse(fm_slice_text(url), &access->token_url, why);
}

int cloud_access_init(struct cloud_access *access, struct platform *platform,
                      const struct bucket_cloud_options *options, struct bucket_clock *clock,
                      struct fm_why *why)
{
    bool ok = true;
    access->platform = platform;
    access->auth = options->auth;
    access->timeout_ns = options->timeout_ns;
    access->clock = clock;
    fm_list_init(&access->waiters);
    fm_buf_init(&access->secret, CLOUD_SECRET_BYTES_MAX);
    fm_buf_init(&access->file, CLOUD_SECRET_BYTES_MAX);
    fm_buf_init(&access->fresh, CLOUD_SECRET_BYTES_MAX);
    fm_arena_init(&access->arena, FM_KIB(128));
    access->secret_file = cloud_text_copy(options->secret_file, &ok);
    access->tenant_id = cloud_text_copy(options->tenant_id, &ok);
    access->client_id = cloud_text_copy(options->client_id, &ok);
    access->tls_ca_file = cloud_text_copy(options->tls_ca_file, &ok);
    /* What is on this machine or beside it is not reached through the uplink. */
    if (access->auth == CLOUD_AUTH_WORKLOAD || access->auth == CLOUD_AUTH_SERVICE_ACCOUNT) {
        access->interface = cloud_text_copy(options->interface, &ok);
        access->proxy = cloud_text_copy(options->proxy, &ok);
        access->proxy_auth_file = cloud_text_copy(options->proxy_auth_file, &ok);
    }
    if (!ok)
        return fm_fail(why, FM_ENOMEM, "no memory for the bucket");
    bool needs_file = access->auth == CLOUD_AUTH_SHARED_KEY || access->auth == CLOUD_AUTH_SAS ||
                      access->auth == CLOUD_AUTH_WORKLOAD ||
                      access->auth == CLOUD_AUTH_SERVICE_ACCOUNT;
    if (needs_file != (access->secret_file != NULL))
        return fm_fail(why, FM_ECONFIG,
                       needs_file ? "the file with the secret is not named"
                                  : "there is a secret's file and no use for it");
    if (access->auth == CLOUD_AUTH_WORKLOAD && (!access->tenant_id || !access->client_id))
        return fm_fail(why, FM_ECONFIG, "workload identity needs tenant_id and client_id");
    return access_set_url(access, options->token_url, why);
}

static void access_fini_buf(struct fm_buf *text)
{
    access_wipe(text);
    fm_buf_fini(text);
}

void cloud_access_fini(struct cloud_access *access)
{
    FM_ASSERT(!access->fetching);
    access_fini_buf(&access->secret);
    access_fini_buf(&access->file);
    access_fini_buf(&access->fresh);
    fm_arena_fini(&access->arena);
    free(access->secret_file);
    free(access->tenant_id);
    free(access->client_id);
    free(access->tls_ca_file);
    free(access->interface);
    free(access->proxy);
    free(access->proxy_auth_file);
}
