/* SPDX-License-Identifier: Apache-2.0 */
/* tenants - names for requests, and admission by their rates.
 *
 * Named are the tenants of the overrides file and the default one: they are always in the table and
 * their names are labels of metrics.  All others are in it while they are used; they leave after an
 * hour in which nothing came, once their buckets are full and remembering them means nothing.
 */
#include <sched.h>
#include <stdlib.h>

#include "fermata/hash.h"
#include "fermata/net.h"
#include "fermata/units.h"
#include "internal.h"

#define TENANT_IDLE_NS    (3600 * FM_NS_PER_S)
#define TENANT_RECHECK_NS (10 * FM_NS_PER_S) /* of one that is idle, but not full yet */

void tenants_lock(struct tenants *tenants)
{
    while (atomic_flag_test_and_set_explicit(&tenants->lock, memory_order_acquire))
        (void)sched_yield(); /* its holder may wait for this processor */
}

void tenants_unlock(struct tenants *tenants)
{
    atomic_flag_clear_explicit(&tenants->lock, memory_order_release);
}

/* ---- names ---- */

static int header_check(struct fm_slice header, struct fm_why *why)
{
    if (tenant_is_valid(header))
        return FM_OK;
    if (header.len && memchr(header.ptr, '|', header.len))
        return fm_fail(why, FM_EMALFORMED,
                       "X-Scope-OrgID names several tenants; one request is for one tenant");
    return fm_fail(why, FM_EMALFORMED, "X-Scope-OrgID is not a valid tenant name");
}

/* The tenant of an identity that has some: the one asked for, or the only one, or the default. */
static int resolve_granted(const struct tenants *tenants, const struct overrides_grant *grants,
                           uint32_t count, struct fm_slice header, struct fm_slice *ret_name,
                           struct fm_why *why)
{
    struct fm_slice wanted = header.ptr ? header : fm_slice_text(tenants->options.default_tenant);

    for (uint32_t i = 0; i < count; i++) {
        if (count > 1 || header.ptr) {
            if (!fm_slice_equal_text(wanted, grants[i].tenant->name))
                continue;
        }
        *ret_name = fm_slice_text(grants[i].tenant->name);
        return FM_OK;
    }
    if (header.ptr)
        return fm_fail(why, FM_EDENIED, "this identity belongs to another tenant");
    return fm_fail(why, FM_EMALFORMED,
                   "this identity belongs to several tenants; X-Scope-OrgID must say which");
}

static int resolve_open(const struct tenants *tenants, struct fm_slice header,
                        struct fm_slice *ret_name, struct fm_why *why)
{
    struct fm_slice wanted = header.ptr ? header : fm_slice_text(tenants->options.default_tenant);
    const struct overrides *overrides = tenants->overrides;

    if (overrides->require_identity)
        return fm_fail(why, FM_EDENIED, "this identity belongs to no tenant");
    if (overrides_is_closed(overrides, fm_hash64(wanted, tenants->seed), wanted))
        return fm_fail(why, FM_EDENIED, "the tenant belongs to other identities");
    *ret_name = wanted;
    return FM_OK;
}

static int resolve(const struct tenants *tenants, const struct net_identity *identity,
                   struct fm_slice header, struct fm_slice *ret_name, struct fm_why *why)
{
    const struct overrides_grant *grants;
    int rc = header.ptr ? header_check(header, why) : FM_OK;
    if (rc < 0)
        return rc;
    uint32_t count = overrides_find(tenants->overrides, identity, &grants);
    return count ? resolve_granted(tenants, grants, count, header, ret_name, why)
                 : resolve_open(tenants, header, ret_name, why);
}

int tenants_resolve(const struct tenants *tenants, const struct net_identity *identity,
                    struct fm_slice header, char ret_name[TENANT_LEN_MAX + 1], struct fm_why *why)
{
    struct fm_slice name = {0};
    int rc = resolve(tenants, identity, header, &name, why);
    if (rc == FM_EDENIED)
        metric_add(&tenants->counters->denied, 1);
    if (rc < 0)
        return rc;
    memcpy(ret_name, name.ptr, name.len);
    ret_name[name.len] = '\0';
    return FM_OK;
}

/* FM_OK: *ret_header is the one header, or ptr NULL. */
static int request_header(const struct net_request_view *view, struct fm_slice *ret_header,
                          struct fm_why *why)
{
    struct fm_slice header = {0};

    for (size_t i = 0; i < view->header_count; i++) {
        if (!fm_slice_equal_nocase(view->headers[i].name, "x-scope-orgid"))
            continue;
        if (header.ptr)
            return fm_fail(why, FM_EMALFORMED, "X-Scope-OrgID is given twice");
        header = view->headers[i].value;
        if (!header.ptr)
            header = FM_SLICE(""); /* given, and empty */
    }
    *ret_header = header;
    return FM_OK;
}

int tenants_resolve_request(const struct tenants *tenants, const struct net_request_view *view,
                            char ret_name[TENANT_LEN_MAX + 1], struct fm_why *why)
{
    struct fm_slice header;
    int rc = request_header(view, &header, why);
    if (rc < 0)
        return rc;
    return tenants_resolve(tenants, view->identity, header, ret_name, why);
}

uint32_t tenants_party(const struct tenants *tenants, struct fm_slice name)
{
    return net_budget_party(fm_hash64(name, tenants->seed));
}

uint32_t tenants_party_of_request(void *self, const struct net_request_view *view)
{
    const struct tenants *tenants = self;
    struct fm_slice header, name;

    if (request_header(view, &header, NULL) < 0 ||
        resolve(tenants, view->identity, header, &name, NULL) < 0)
        return NET_BUDGET_STRANGERS;
    return tenants_party(tenants, name);
}

/* ---- the table; under the lock ---- */

static bool tenant_can_leave(struct tenant *tenant, uint64_t now_ns)
{
    if (tenant->is_named || now_ns < tenant->used_ns + TENANT_IDLE_NS)
        return false;
    bucket_fill(&tenant->bytes, now_ns);
    bucket_fill(&tenant->spans, now_ns);
    return bucket_is_full(&tenant->bytes) && bucket_is_full(&tenant->spans);
}

static void table_sweep(struct tenants *tenants, uint64_t now_ns)
{
    struct tenant_index *index = &tenants->overrides->index;

    if (now_ns < tenants->leave_ns)
        return;
    tenants->leave_ns = now_ns + TENANT_IDLE_NS;
    for (uint32_t i = 0; i < index->head_count; i++) {
        for (struct tenant *next, *tenant = index->heads[i]; tenant; tenant = next) {
            next = tenant->next;
            if (tenant_can_leave(tenant, now_ns)) {
                index_remove(index, tenant);
                tenant->next = tenants->free;
                tenants->free = tenant;
                tenants->active_count--;
            } else if (!tenant->is_named) {
                uint64_t leave_ns =
                    FM_MAX(tenant->used_ns + TENANT_IDLE_NS, now_ns + TENANT_RECHECK_NS);
                tenants->leave_ns = FM_MIN(tenants->leave_ns, leave_ns);
            }
        }
    }
}

/* NULL: the table is full. */
static struct tenant *table_enter(struct tenants *tenants, uint64_t hash, struct fm_slice name,
                                  uint64_t now_ns)
{
    const struct tenants_rates *rates = &tenants->options.rates;

    table_sweep(tenants, now_ns);
    struct tenant *tenant = tenants->free;
    if (!tenant)
        return NULL;
    tenants->free = tenant->next;
    tenants->active_count++;
    *tenant = (struct tenant){.hash = hash};
    memcpy(tenant->name, name.ptr, name.len);
    bucket_init(&tenant->bytes, rates->bytes_per_s, rates->bytes_burst, now_ns);
    bucket_init(&tenant->spans, rates->spans_per_s, rates->spans_burst, now_ns);
    index_add(&tenants->overrides->index, tenant);
    return tenant;
}

/* ---- admission ---- */

struct admission {
    bool has_place; /* in the table */
    bool is_limited;
    enum tenant_limit limit;
    uint64_t wait_ns, rate_per_s, burst;
};

static void tenant_judge(struct tenant *tenant, uint64_t bytes, uint64_t spans, uint64_t now_ns,
                         struct admission *admission)
{
    bucket_fill(&tenant->bytes, now_ns);
    bucket_fill(&tenant->spans, now_ns);
    tenant->used_ns = now_ns;
    uint64_t bytes_wait_ns = bucket_wait_ns(&tenant->bytes, bytes);
    uint64_t spans_wait_ns = bucket_wait_ns(&tenant->spans, spans);
    if (!bytes_wait_ns && !spans_wait_ns) {
        bucket_take(&tenant->bytes, bytes);
        bucket_take(&tenant->spans, spans);
        return;
    }
    bool is_bytes = bytes_wait_ns >= spans_wait_ns;
    const struct bucket *bucket = is_bytes ? &tenant->bytes : &tenant->spans;
    admission->is_limited = true;
    admission->limit = is_bytes ? TENANT_LIMIT_BYTES : TENANT_LIMIT_SPANS;
    admission->wait_ns = FM_MAX(bytes_wait_ns, spans_wait_ns);
    admission->rate_per_s = bucket->rate_per_s;
    admission->burst = bucket->burst;
    if (admission->wait_ns == UINT64_MAX)
        admission->limit = TENANT_LIMIT_BURST;
}

static void tenant_count(struct tenants *tenants, struct tenant *tenant, uint64_t bytes,
                         uint64_t spans, const struct admission *admission)
{
    struct tenants_counters *others = tenants->counters;
    if (admission->is_limited) {
        metric_add(tenant->is_named ? &tenant->counters.limited[admission->limit]
                                    : &others->limited_other[admission->limit],
                   1);
        return;
    }
    metric_add(tenant->is_named ? &tenant->counters.admitted_bytes : &others->admitted_other_bytes,
               bytes);
    metric_add(tenant->is_named ? &tenant->counters.admitted_spans : &others->admitted_other_spans,
               spans);
}

static int admission_answer(const struct admission *admission, struct fm_slice name,
                            uint32_t *ret_retry_ms, struct fm_why *why)
{
    const char *text = admission->limit == TENANT_LIMIT_SPANS ? "spans" : "bytes";
    int len = (int)name.len;
    const char *ptr = (const char *)name.ptr;

    if (!admission->has_place)
        return fm_fail(why, FM_ELIMIT, "too many tenants at once");
    if (!admission->is_limited)
        return FM_OK;
    if (admission->limit == TENANT_LIMIT_BURST)
        return fm_fail(why, FM_ELIMIT,
                       "the request is larger than what tenant %.*s may send at "
                       "once, %llu",
                       len, ptr, (unsigned long long)admission->burst);
    uint64_t wait_ms = admission->wait_ns / FM_NS_PER_MS + (admission->wait_ns % FM_NS_PER_MS != 0);
    *ret_retry_ms = (uint32_t)FM_MIN(wait_ms, (uint64_t)UINT32_MAX);
    return fm_fail(why, FM_EUNAVAILABLE, "tenant %.*s is over its rate of %llu %s a second", len,
                   ptr, (unsigned long long)admission->rate_per_s, text);
}

int tenants_admit(struct tenants *tenants, struct fm_slice name, uint64_t bytes, uint64_t spans,
                  uint32_t *ret_retry_ms, struct fm_why *why)
{
    struct admission admission = {0};
    uint64_t hash = fm_hash64(name, tenants->seed);
    uint64_t now_ns = pf_now_ns(tenants->platform);

    FM_ASSERT(name.len && name.len <= TENANT_LEN_MAX);
    tenants_lock(tenants);
    struct tenant *tenant = index_find(&tenants->overrides->index, hash, name);
    if (!tenant)
        tenant = table_enter(tenants, hash, name, now_ns);
    if (tenant) {
        admission.has_place = true;
        tenant_judge(tenant, bytes, spans, now_ns, &admission);
        tenant_count(tenants, tenant, bytes, spans, &admission);
    }
    tenants_unlock(tenants);
    if (!tenant)
        metric_add(&tenants->counters->refused_names, 1);
    return admission_answer(&admission, name, ret_retry_ms, why);
}
