/* SPDX-License-Identifier: Apache-2.0 */
/* sampler - tail sampling over disk: of every sealed block it is decided, a while later, which of
 * its traces leave the node.  All of them stay on it.
 *
 * Stands between the store and whoever uploads: blocks whose traces all leave go on as they are, of
 * others an outgoing group is made (store_outbox.h), and of some nothing goes on.  Traces that have
 * parts in later blocks or in the head are judged as a whole; spans that come after their trace was
 * judged follow it.  The decision lies beside the block (store_decide.h): what it let happen is not
 * decided again.
 *
 * On the loop's thread.
 */
#ifndef FERMATA_SAMPLER_H
#define FERMATA_SAMPLER_H

#include "fermata/platform.h"
#include "fermata/sample.h"
#include "fermata/store.h"
#include "fermata/telemetry.h"

struct sampler_options {
    /* Taken.  NULL: nothing is decided any more, what was decided before is carried out. */
    struct sample_rules *rules;
    /* Taken.  What is asked of fresh traces, whose spans so far leave at once if it keeps them;
     * NULL: nothing. */
    struct sample_rules *urgent_rules;
    uint64_t decision_wait_ns;   /* from a block's sealing */
    uint64_t urgent_interval_ns; /* between two looks at what is fresh */
    size_t verdict_bytes_max;    /* of verdicts that late spans follow */
    size_t memory_max;           /* of one look at a block */
    /* Whom blocks go on to; on_sealed NULL: to nobody, and no outgoing groups are made. */
    struct store_observer next;
};
struct sampler;
/* Takes the rules also on failure.  Blocks come to it when it is the store's observer. */
FM_MUST int sampler_new(struct sampler **ret_sampler, struct platform *platform,
                        struct store *store, const struct sampler_options *options,
                        struct fm_why *why);
void sampler_on_sealed(void *sampler, struct store_block *block); /* for store_observer */
void sampler_on_dropped(void *sampler, struct store_block *block);
enum ledger_column sampler_lane_of(void *sampler, const struct store_block *block);
/* Stops within the current step; what was not decided is found again.  Before whom it goes on to
 * and before the store; done is called last. */
void sampler_close(struct sampler *sampler, void (*done)(void *self), void *self);
/* For simulations: the process died; frees memory, touches nothing else. */
struct sampler *sampler_abandon(struct sampler *sampler);

struct sampler_status {
    uint64_t undecided_blocks, undecided_spans; /* sealed, not judged yet */
    uint64_t unbuilt_blocks;                    /* decided; what leaves of them is not made yet */
    uint64_t decided_blocks, kept_spans, dropped_spans, ahead_spans; /* since start */
    uint64_t verdicts, verdicts_room, verdicts_forgotten;
    uint64_t failures_total;
    char problem[256]; /* the last failure while nothing has succeeded since, or "" */
};
void sampler_get_status(const struct sampler *sampler, struct sampler_status *ret_status);
struct sampler_policy { /* since start */
    const char *name;   /* of a rule, or of what decides beside them: "default", "late", ... */
    uint64_t kept_spans, dropped_spans;
};
/* false: there is none of that index; and without rules none at all. */
bool sampler_policy_at(const struct sampler *sampler, size_t index,
                       struct sampler_policy *ret_policy);
void sampler_put_metrics(const struct sampler *sampler, struct fm_buf *out);

#endif
