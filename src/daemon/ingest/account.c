/* SPDX-License-Identifier: Apache-2.0 */
/* What was received and not stored, for the store's ledger: by tenant and reason. */
#include "ingest.h"

#include "fermata/store_ledger.h"

/* The ledger's columns follow the reasons. */
#define REASON_COLUMN(reason) (LEDGER_FIRST_REJECTED + (int)INGEST_REASON_##reason)
_Static_assert(REASON_COLUMN(BAD_TRACE_ID) == LEDGER_BAD_TRACE_ID, "columns follow reasons");
_Static_assert(REASON_COLUMN(BAD_SPAN_ID) == LEDGER_BAD_SPAN_ID, "columns follow reasons");
_Static_assert(REASON_COLUMN(UNAVAILABLE) == LEDGER_UNAVAILABLE, "columns follow reasons");
_Static_assert(REASON_COLUMN(TOO_LARGE) == LEDGER_TOO_LARGE, "columns follow reasons");
_Static_assert(REASON_COLUMN(RATE_LIMITED) == LEDGER_RATE_LIMITED, "columns follow reasons");
_Static_assert(REASON_COLUMN(TENANT_LIMIT) == LEDGER_TENANT_LIMIT, "columns follow reasons");
_Static_assert(LEDGER_TENANT_LIMIT - LEDGER_FIRST_REJECTED + 1 == INGEST_REASON_COUNT,
               "a reason has no column");
_Static_assert((int)INGEST_RECEIVER_COUNT <= (int)LEDGER_RECEIVERS_MAX, "a receiver has no bit");

void account_refused(struct ingest *ingest, const char *tenant, enum ingest_reason reason,
                     uint64_t spans)
{
    store_ledger_reject(ingest->store, fm_slice_text(tenant),
                        (enum ledger_column)(LEDGER_FIRST_REJECTED + (int)reason), spans);
}

void account_dropped(struct ingest *ingest, const char *tenant, uint64_t sampled, uint64_t dropped)
{
    struct fm_slice name = fm_slice_text(tenant);
    store_ledger_reject(ingest->store, name, LEDGER_HEAD_SAMPLING, sampled);
    store_ledger_reject(ingest->store, name, LEDGER_FILTERED, dropped - FM_MIN(sampled, dropped));
}

void account_accepted(const struct intake *intake)
{
    uint64_t sampled = 0;
    for (size_t i = 0; i < SAMPLE_HEAD_REASON_COUNT; i++)
        sampled += intake->sampled.dropped[i];
    for (size_t i = 0; i < DECODE_REASON_COUNT; i++)
        account_refused(intake->ingest, intake->tenant, (enum ingest_reason)i,
                        intake->facts.refused[i]);
    account_dropped(intake->ingest, intake->tenant, sampled, intake->dropped_count);
}
