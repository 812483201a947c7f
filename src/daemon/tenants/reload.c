/* SPDX-License-Identifier: Apache-2.0 */
/* The life of tenants: start, the overrides file read again in a job, stop, and the metrics.
 *
 * A file that cannot be read or has errors leaves the last good one in force: said in the log once
 * for each content, and by a metric as long as it lasts.
 */
#include <stdio.h>
#include <stdlib.h>

#include "fermata/hash.h"
#include "fermata/units.h"
#include "internal.h"

#define TENANTS_ACTIVE_MAX 65536u
#define TENANTS_LABELS_MAX (TENANT_LEN_MAX + 64)
#define BURST_SECONDS      2 /* where the configuration gives none */
#define MESSAGES_MAX       FM_KIB(64)

/* ---- reading ---- */

/* Why is one line of text: the first complaint. */
static int look_fail(int rc, const struct fm_buf *messages, struct fm_why *why)
{
    const uint8_t *end = messages->len ? memchr(messages->ptr, '\n', messages->len) : NULL;
    if (rc != FM_ECONFIG || !end)
        return fm_fail(why, rc, "overrides: %s", fm_rc_text(rc));
    return fm_fail(why, rc, "%.*s", (int)(end - messages->ptr), (const char *)messages->ptr);
}

/* On a job's thread, or at the start. */
static void tenants_look(struct tenants *tenants)
{
    struct fm_buf content, messages;
    fm_buf_init(&content, OVERRIDES_FILE_MAX);
    fm_buf_init(&messages, MESSAGES_MAX);
    tenants->why.text[0] = '\0';
    int rc = FM_OK;
    if (tenants->options.overrides_file[0])
        rc = pf_read_file(tenants->platform, tenants->options.overrides_file, &content,
                          &tenants->why);
    tenants->fresh_hash = rc == FM_OK ? fm_hash64(fm_buf_slice(&content), 1) : 0;
    if (rc == FM_OK && !tenants->is_forced && tenants->fresh_hash == tenants->seen_hash) {
        rc = FM_NONE;
    } else if (rc == FM_OK) {
        rc = overrides_new(&tenants->fresh, &tenants->options, fm_buf_slice(&content),
                           tenants->seed, pf_now_ns(tenants->platform), &messages);
        if (rc < 0)
            rc = look_fail(rc, &messages, &tenants->why);
    }
    tenants->fresh_rc = rc;
    fm_buf_fini(&messages);
    fm_buf_fini(&content);
}

/* ---- taking ---- */

static void tenant_inherit(struct tenant *tenant, const struct tenant *old, uint64_t now_ns)
{
    tenant->bytes = old->bytes;
    tenant->spans = old->spans;
    tenant->used_ns = old->used_ns;
    if (old->is_named)
        tenant->counters = old->counters;
    bucket_set(&tenant->bytes, tenant->rates.bytes_per_s, tenant->rates.bytes_burst, now_ns);
    bucket_set(&tenant->spans, tenant->rates.spans_per_s, tenant->rates.spans_burst, now_ns);
}

/* What the old table knew goes over into the fresh one.  Under the lock. */
static void table_move(struct tenants *tenants, struct overrides *fresh, uint64_t now_ns)
{
    struct tenant_index *index = &tenants->overrides->index;

    for (uint32_t i = 0; i < index->head_count; i++) {
        for (struct tenant *next, *old = index->heads[i]; old; old = next) {
            next = old->next;
            struct tenant *named = index_find(&fresh->index, old->hash, fm_slice_text(old->name));
            if (named)
                tenant_inherit(named, old, now_ns);
            if (old->is_named) /* its memory is the old file's */
                continue;
            if (named) {
                old->next = tenants->free;
                tenants->free = old;
                tenants->active_count--;
            } else {
                index_add(&fresh->index, old);
            }
        }
        index->heads[i] = NULL;
    }
}

static void tenants_use(struct tenants *tenants, struct overrides *fresh)
{
    struct overrides *old = tenants->overrides;
    uint64_t now_ns = pf_now_ns(tenants->platform);

    tenants_lock(tenants);
    if (old)
        table_move(tenants, fresh, now_ns);
    tenants->overrides = fresh;
    tenants_unlock(tenants);
    (void)overrides_free(old);
}

static void tenants_take(struct tenants *tenants)
{
    struct tenants_counters *counters = tenants->counters;
    int rc = tenants->fresh_rc;
    bool is_news = tenants->is_forced || tenants->seen_hash != tenants->fresh_hash;

    tenants->seen_hash = tenants->fresh_hash ^ (rc == FM_ENOMEM); /* then it is tried again */
    if (rc == FM_NONE)
        return;
    metric_set(&counters->reload_good, rc == FM_OK);
    if (rc == FM_OK) {
        tenants_use(tenants, fm_take(tenants->fresh));
        metric_set(&counters->reload_unix_s, pf_wall_ns(tenants->platform) / FM_NS_PER_S);
        if (tenants->options.overrides_file[0])
            log_info("tenants.overrides", "result=taken file=\"%s\" tenants=%u identities=%u",
                     tenants->options.overrides_file, tenants->overrides->tenant_count,
                     tenants->overrides->grant_count);
    } else if (is_news) {
        metric_add(&counters->reload_failures, 1);
        log_error("tenants.overrides", "result=refused file=\"%s\" why=\"%s\"",
                  tenants->options.overrides_file, tenants->why.text);
    }
}

/* ---- again and again ---- */

static void tenants_job_work(struct pf_job *job)
{
    tenants_look(FM_CONTAINER(job, struct tenants, job));
}

static void tenants_begin(struct tenants *tenants, bool is_forced);

static void tenants_job_done(struct pf_job *job)
{
    struct tenants *tenants = FM_CONTAINER(job, struct tenants, job);
    bool is_wanted = tenants->is_wanted;

    tenants->is_busy = tenants->is_wanted = false;
    tenants_take(tenants);
    if (tenants->is_stopped)
        return;
    if (is_wanted)
        tenants_begin(tenants, true);
    else
        pf_timer_start(tenants->platform, &tenants->timer, tenants->options.reload_interval_ns);
}

static void tenants_begin(struct tenants *tenants, bool is_forced)
{
    pf_timer_stop(tenants->platform, &tenants->timer);
    tenants->is_busy = true;
    tenants->is_forced = is_forced;
    tenants->job =
        (struct pf_job){.work = tenants_job_work, .done = tenants_job_done, .lane = PF_LANE_DISK};
    pf_job_submit(tenants->platform, &tenants->job);
}

static void tenants_on_timer(struct pf_timer *timer)
{
    tenants_begin(FM_CONTAINER(timer, struct tenants, timer), false);
}

void tenants_reload(struct tenants *tenants)
{
    if (!tenants->options.overrides_file[0] || tenants->is_stopped)
        return;
    if (tenants->is_busy)
        tenants->is_wanted = true;
    else
        tenants_begin(tenants, true);
}

/* ---- life ---- */

static int text_copy(const char **text)
{
    char *copy = malloc(strlen(*text) + 1);
    if (!copy)
        return FM_ENOMEM;
    strcpy(copy, *text);
    *text = copy;
    return FM_OK;
}

static int tenants_init(struct tenants *tenants, const struct tenants_options *options)
{
    const char *default_tenant = options->default_tenant;
    const char *file = options->overrides_file ? options->overrides_file : "";

    if (text_copy(&default_tenant) < 0)
        return FM_ENOMEM;
    tenants->options.default_tenant = default_tenant;
    if (text_copy(&file) < 0)
        return FM_ENOMEM;
    tenants->options.overrides_file = file;
    struct tenants_rates *rates = &tenants->options.rates;
    *rates = options->rates;
    if (!rates->bytes_burst)
        rates->bytes_burst = BURST_SECONDS * FM_MIN(rates->bytes_per_s, BUCKET_RATE_MAX);
    if (!rates->spans_burst)
        rates->spans_burst = BURST_SECONDS * FM_MIN(rates->spans_per_s, BUCKET_RATE_MAX);
    tenants->options.reload_interval_ns = options->reload_interval_ns;
    tenants->options.active_max = FM_MIN(FM_MAX(options->active_max, 1u), TENANTS_ACTIVE_MAX);
    tenants->pool = calloc(tenants->options.active_max, sizeof *tenants->pool);
    tenants->counters = calloc(1, sizeof *tenants->counters);
    if (!tenants->pool || !tenants->counters)
        return FM_ENOMEM;
    for (uint32_t i = tenants->options.active_max; i-- > 0;) {
        tenants->pool[i].next = tenants->free;
        tenants->free = &tenants->pool[i];
    }
    return FM_OK;
}

int tenants_new(struct tenants **ret_tenants, struct platform *platform,
                const struct tenants_options *options, struct fm_why *why)
{
    if (!tenant_is_valid(fm_slice_text(options->default_tenant)))
        return fm_fail(why, FM_ECONFIG, "\"%s\" is not a tenant's name", options->default_tenant);
    struct tenants *tenants = calloc(1, sizeof *tenants);
    if (!tenants)
        return fm_fail(why, FM_ENOMEM, "tenants: out of memory");
    tenants->platform = platform;
    tenants->timer.fire = tenants_on_timer;
    tenants->seed = pf_random_u64(platform);
    atomic_flag_clear(&tenants->lock);
    int rc = tenants_init(tenants, options);
    if (rc < 0) {
        (void)tenants_free(tenants);
        return fm_fail(why, rc, "tenants: out of memory");
    }
    tenants->is_forced = true;
    tenants_look(tenants);
    rc = tenants->fresh_rc;
    if (rc < 0) {
        (void)fm_fail(why, rc, "%s", tenants->why.text);
        (void)tenants_free(tenants);
        return rc;
    }
    tenants_take(tenants);
    if (tenants->options.overrides_file[0])
        pf_timer_start(platform, &tenants->timer, tenants->options.reload_interval_ns);
    *ret_tenants = tenants;
    return FM_OK;
}

void tenants_stop(struct tenants *tenants)
{
    tenants->is_stopped = true;
    pf_timer_stop(tenants->platform, &tenants->timer);
}

struct tenants *tenants_free(struct tenants *tenants)
{
    if (!tenants)
        return NULL;
    tenants_stop(tenants);
    FM_ASSERT(!tenants->is_busy);
    (void)overrides_free(tenants->fresh);
    (void)overrides_free(tenants->overrides);
    free(tenants->pool);
    free(tenants->counters);
    free((char *)(uintptr_t)tenants->options.default_tenant);
    free((char *)(uintptr_t)tenants->options.overrides_file);
    free(tenants);
    return NULL;
}

/* ---- metrics ---- */

static const char *const limit_names[TENANT_LIMIT_COUNT] = {
#define X(name, text) text,
    TENANT_LIMITS(X)
#undef X
};
static const char others[] = "<other>"; /* nobody can be called that */

static void put_limited(struct fm_buf *out, const char *name, const char *tenant,
                        const metric limited[TENANT_LIMIT_COUNT])
{
    char labels[TENANTS_LABELS_MAX];
    for (size_t i = 0; i < TENANT_LIMIT_COUNT; i++) {
        (void)snprintf(labels, sizeof labels, "tenant=\"%s\",reason=\"%s\"", tenant,
                       limit_names[i]);
        metric_line(out, name, labels, metric_get(&limited[i]));
    }
}

static void put_admitted(struct fm_buf *out, const char *name, const char *tenant, uint64_t value)
{
    char labels[TENANTS_LABELS_MAX];
    (void)snprintf(labels, sizeof labels, "tenant=\"%s\"", tenant);
    metric_line(out, name, labels, value);
}

static void put_tenants(const struct tenants *tenants, struct fm_buf *out)
{
    const struct tenants_counters *counters = tenants->counters;
    const struct tenant *named = tenants->overrides->tenants;
    uint32_t count = tenants->overrides->tenant_count;
    const char *name = "fermata_tenant_limited_total";
    metric_family(out, name, "counter", "Requests over a tenant's rates.");
    for (uint32_t i = 0; i < count; i++)
        put_limited(out, name, named[i].name, named[i].counters.limited);
    put_limited(out, name, others, counters->limited_other);
    name = "fermata_tenant_admitted_bytes_total";
    metric_family(out, name, "counter", "Bytes of OTLP within a tenant's rates.");
    for (uint32_t i = 0; i < count; i++)
        put_admitted(out, name, named[i].name, metric_get(&named[i].counters.admitted_bytes));
    put_admitted(out, name, others, metric_get(&counters->admitted_other_bytes));
    name = "fermata_tenant_admitted_spans_total";
    metric_family(out, name, "counter", "Spans within a tenant's rates.");
    for (uint32_t i = 0; i < count; i++)
        put_admitted(out, name, named[i].name, metric_get(&named[i].counters.admitted_spans));
    put_admitted(out, name, others, metric_get(&counters->admitted_other_spans));
}

void tenants_put_metrics(const struct tenants *tenants, struct fm_buf *out)
{
    const struct tenants_counters *counters = tenants->counters;
    put_tenants(tenants, out);
    metric_counter(out, "fermata_tenant_denied_total",
                   "Requests of identities for tenants that are not theirs.", &counters->denied);
    metric_counter(out, "fermata_tenant_names_refused_total",
                   "Requests of one tenant too many (tenants.max_active).",
                   &counters->refused_names);
    metric_gauge(out, "fermata_tenants_overrides_last_reload_successful",
                 "0 while the overrides file cannot be read or has errors.",
                 metric_get(&counters->reload_good));
    metric_gauge(out, "fermata_tenants_overrides_last_reload_success_timestamp_seconds",
                 "When the overrides were taken last.", metric_get(&counters->reload_unix_s));
    metric_counter(out, "fermata_tenants_overrides_failures_total",
                   "Contents of the overrides file that were not taken.",
                   &counters->reload_failures);
}
