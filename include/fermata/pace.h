/* SPDX-License-Identifier: Apache-2.0 */
/* pace - how much may go out, and whose turn it is: a token bucket, and shares by deficit.
 *
 * Pure: time comes in, in nanoseconds of a clock that does not go back.
 */
#ifndef FERMATA_PACE_H
#define FERMATA_PACE_H

#include "fermata/base.h"

/* ---- a token bucket: in any t seconds at most burst + rate * t bytes are taken ----
 *
 * What was not known before it was sent is taken afterwards: then the balance is a debt, and
 * nothing more is granted until it is paid. */
struct pace_bucket {
    uint64_t rate;  /* bytes a second; 0: unlimited */
    uint64_t burst; /* most that gathers */
    int64_t balance;
    uint64_t at_ns; /* as of */
    uint64_t rest;  /* of a byte, in 10^-9 */
};
void pace_bucket_init(struct pace_bucket *bucket, uint64_t rate, uint64_t burst, uint64_t now_ns);
void pace_bucket_set_rate(struct pace_bucket *bucket, uint64_t rate, uint64_t now_ns);
int64_t pace_bucket_balance(struct pace_bucket *bucket, uint64_t now_ns);
void pace_bucket_take(struct pace_bucket *bucket, uint64_t bytes, uint64_t now_ns);
void pace_bucket_give(struct pace_bucket *bucket, uint64_t bytes, uint64_t now_ns); /* back */
/* Until the balance is that high (at most burst); 0: it is. */
uint64_t pace_bucket_wait_ns(struct pace_bucket *bucket, uint64_t bytes, uint64_t now_ns);

/* ---- deficit round robin: over time each waiting party gets its weight's share of the bytes ----
 */

#define PACE_PARTIES_MAX 8u
struct pace_party {
    uint32_t weight; /* above 0 where something waits */
    uint64_t bytes;  /* of what it would send next; 0: nothing waits */
};
struct pace_shares {
    uint64_t deficits[PACE_PARTIES_MAX]; /* bytes that a party may still send in its turn */
    uint32_t turn;
};
/* The party that sends next, charged with its bytes; -1: nothing waits. */
int pace_shares_pick(struct pace_shares *shares, const struct pace_party *parties, uint32_t count);

#endif
