/* SPDX-License-Identifier: Apache-2.0 */
/* tenants - which tenant a request belongs to, and how much it may send.
 *
 * The name comes from the identity if the overrides file maps it, else from X-Scope-OrgID, else it
 * is the default.  Each tenant has two token buckets, bytes and spans; an empty one is an answer
 * (429 or UNAVAILABLE with a hint), never a wait.  The overrides file is re-read when it changes;
 * a broken one leaves the last good one in force and is reported.
 *
 * File: an ini of [tenant NAME] sections, docs/formats/overrides.md.  On the loop's thread, except
 * tenants_admit, which any thread may call.
 */
#ifndef FERMATA_TENANTS_H
#define FERMATA_TENANTS_H

#include "fermata/model.h"
#include "fermata/net_auth.h"
#include "fermata/platform.h"
#include "fermata/telemetry.h"

struct tenants_rates { /* 0: unlimited */
    uint64_t bytes_per_s, bytes_burst;
    uint64_t spans_per_s, spans_burst;
};
struct tenants_options {
    const char *default_tenant;
    const char *overrides_file;  /* "": none */
    struct tenants_rates rates;  /* of tenants that the file does not name */
    uint32_t active_max;         /* names at once besides those of the file; one more is refused */
    uint64_t reload_interval_ns; /* how often the file is looked at */
};
struct tenants;
FM_MUST int tenants_new(struct tenants **ret_tenants, struct platform *platform,
                        const struct tenants_options *options, struct fm_why *why);
void tenants_stop(struct tenants *tenants);            /* looks at the file no more */
struct tenants *tenants_free(struct tenants *tenants); /* stopped, and the loop has ended */
void tenants_reload(struct tenants *tenants);          /* now, whether it changed or not */

/* header: X-Scope-OrgID, or ptr NULL.  FM_EMALFORMED: not a valid name; FM_EDENIED: the identity
 * belongs to another tenant.  The name is copied into ret_name. */
FM_MUST int tenants_resolve(const struct tenants *tenants, const struct net_identity *identity,
                            struct fm_slice header, char ret_name[TENANT_LEN_MAX + 1],
                            struct fm_why *why);
/* The same for a request: the identity and the header out of its view.  Two headers: FM_EMALFORMED.
 */
struct net_request_view;
FM_MUST int tenants_resolve_request(const struct tenants *tenants,
                                    const struct net_request_view *view,
                                    char ret_name[TENANT_LEN_MAX + 1], struct fm_why *why);
/* Whose share of the memory budget (net_budget.h) bytes of a tenant are; the second one is
 * net_server_options.party, self is the tenants. */
uint32_t tenants_party(const struct tenants *tenants, struct fm_slice name);
uint32_t tenants_party_of_request(void *tenants, const struct net_request_view *view);
/* Takes what a request holds from the tenant's buckets, all or nothing.  FM_OK; FM_EUNAVAILABLE:
 * over its rate, come back after *ret_retry_ms; FM_ELIMIT: more than a burst, or a tenant too many:
 * time does not help. */
FM_MUST int tenants_admit(struct tenants *tenants, struct fm_slice name, uint64_t bytes,
                          uint64_t spans, uint32_t *ret_retry_ms, struct fm_why *why);
void tenants_put_metrics(const struct tenants *tenants, struct fm_buf *out);

#endif
