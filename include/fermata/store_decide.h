/* SPDX-License-Identifier: Apache-2.0 */
/* store_decide - which traces of a local block leave the node, where not all of them do.  Part of
 * store, which does not know how that is found out; it remembers it in a file beside the block.
 *
 * Nothing is deleted by a decision: what does not leave stays until retention or the quota takes
 * its block.  Once made, a decision stands.
 */
#ifndef FERMATA_STORE_DECIDE_H
#define FERMATA_STORE_DECIDE_H

#include "fermata/store.h"

enum store_verdict {
    STORE_UNDECIDED,
    STORE_WHOLE,   /* the block leaves as it is */
    STORE_NOTHING, /* it is settled: nobody waits for its upload */
    STORE_PART,    /* an outgoing group is made of the rows that are kept and did not go ahead */
};
struct store_decided { /* in traces and spans; of a block that is UNDECIDED zeros */
    enum store_verdict verdict;
    uint64_t kept_traces, kept_spans;
    uint64_t ahead_traces, ahead_spans; /* of these: left before, all of what is here */
    uint64_t unix_ns;                   /* when it was decided */
};

#define STORE_POLICIES_MAX    260u
#define STORE_POLICY_NAME_MAX 63u
struct store_policy_count { /* why traces were kept or not */
    char name[STORE_POLICY_NAME_MAX + 1];
    uint64_t kept_traces, kept_spans, dropped_traces, dropped_spans;
};
#define STORE_POLICY_BEYOND    UINT8_MAX /* one that has no number in a byte */
#define STORE_AHEAD_GROUPS_MAX 1024u
struct store_ahead_group { /* of the outbox: what it took ahead of a block */
    uint8_t name[16];
    uint64_t spans;
};
struct store_decision {
    struct store_decided facts;
    uint64_t row_count, span_count; /* of the block; a row is a trace, as in block_traces.h */
    uint8_t *kept, *ahead;          /* owned; PART: bits of rows, (row_count + 7) / 8 bytes each */
    uint8_t *policy_of; /* owned, or NULL; by row: which of the policies, as far as it fits */
    struct store_ahead_group *groups; /* owned; with ahead */
    uint32_t group_count;
    uint32_t policy_count;
    struct store_policy_count policies[STORE_POLICIES_MAX];
};
static inline bool store_row_has(const uint8_t *bits, uint64_t row)
{
    return bits[row / 8] >> row % 8 & 1;
}
static inline void store_row_set(uint8_t *bits, uint64_t row)
{
    bits[row / 8] |= (uint8_t)(1u << row % 8);
}
/* Adds to what a group took ahead; groups beyond the limit are left out: counted as uploaded. */
FM_MUST int store_decision_add_group(struct store_decision *decision, const uint8_t name[16],
                                     uint64_t spans);
/* With empty rows and verdict PART.  Free it with store_decision_free(). */
FM_MUST int store_decision_new(struct store_decision **ret_decision, uint64_t row_count);
struct store_decision *store_decision_free(struct store_decision *decision);
FM_DEFINE_AUTO(store_decision)
/* Sets the verdict, as its facts demand; rows that are not needed go. */
void store_decision_conclude(struct store_decision *decision);
/* The file; docs/formats/decision.md. */
void store_decision_render(const struct store_decision *decision, struct fm_buf *buf);
FM_MUST int store_decision_parse(struct fm_slice file, struct store_decision **ret_decision,
                                 struct fm_why *why);

/* On the loop; a decision that was concluded, copied.  done, never from within the call: FM_OK: it
 * is on disk for good and everybody sees it; failures: it is as before, try again later.  One at a
 * time for a block, which was not decided before. */
void store_block_decide(struct store *store, struct store_block *block,
                        const struct store_decision *decision, void (*done)(void *self, int rc),
                        void *self);
const struct store_decided *store_block_decided(const struct store_block *block);
/* It need not be uploaded (any more). */
bool store_block_is_settled(const struct store_block *block);
/* From a job: the whole of it.  FM_ENOTFOUND: it is undecided. */
FM_MUST int store_block_read_decision(struct platform *platform, const struct store_block *block,
                                      struct store_decision **ret_decision, struct fm_why *why);

#endif
