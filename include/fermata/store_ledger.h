/* SPDX-License-Identifier: Apache-2.0 */
/* store_ledger - what became of every span that came to this node.  Part of store.
 *
 * Derived, not counted: what is in the log, in blocks and what is known of them is the account of
 * the spans that are here; of blocks that are gone, and of what was refused, the file `ledger`
 * below data_dir keeps it.  All calls on the loop's thread.
 */
#ifndef FERMATA_STORE_LEDGER_H
#define FERMATA_STORE_LEDGER_H

#include "fermata/ledger.h"
#include "fermata/store.h"

/* As it is now; to be freed with ledger_fini().  Walks the head and the list of blocks. */
FM_MUST int store_ledger_read(const struct store *store, struct ledger *ret_ledger);
/* Whether what is derived is what came in, tenant by tenant, hour by hour; why says where not. */
bool store_ledger_check(const struct store *store, struct fm_why *why);
/* Spans that were not stored; column: from LEDGER_FIRST_REJECTED on.  Saved every few seconds and
 * when the store closes; what a crash takes is missing among the received as well. */
void store_ledger_reject(struct store *store, struct fm_slice tenant, enum ledger_column column,
                         uint64_t spans);
void store_ledger_put_metrics(const struct store *store, struct fm_buf *out);
/* Lines of fermata_spans_dropped_total{stage="log"}, without the family. */
void store_ledger_put_dropped(const struct store *store, struct fm_buf *out);

#endif
