/* SPDX-License-Identifier: Apache-2.0 */
/* The token bucket. */
#include "fermata/pace.h"

#define PACE_NS_PER_S   UINT64_C(1000000000)
#define PACE_AMOUNT_MAX (INT64_MAX / 4) /* of burst and debt: sums stay in range */

static int64_t pace_amount(uint64_t bytes)
{
    return (int64_t)FM_MIN(bytes, (uint64_t)PACE_AMOUNT_MAX);
}

void pace_bucket_init(struct pace_bucket *bucket, uint64_t rate, uint64_t burst, uint64_t now_ns)
{
    *bucket = (struct pace_bucket){
        .rate = rate, .burst = burst, .balance = pace_amount(burst), .at_ns = now_ns};
}

int64_t pace_bucket_balance(struct pace_bucket *bucket, uint64_t now_ns)
{
    if (now_ns > bucket->at_ns) {
        unsigned __int128 sum =
            (unsigned __int128)(now_ns - bucket->at_ns) * bucket->rate + bucket->rest;
        unsigned __int128 gained = sum / PACE_NS_PER_S;
        int64_t full = pace_amount(bucket->burst);
        int64_t missing = full - FM_MIN(bucket->balance, full);
        bucket->at_ns = now_ns;
        bucket->rest = (uint64_t)(sum % PACE_NS_PER_S);
        if (gained >= (unsigned __int128)missing) {
            bucket->balance += missing;
            bucket->rest = 0;
        } else {
            bucket->balance += (int64_t)gained;
        }
    }
    return bucket->balance;
}

void pace_bucket_set_rate(struct pace_bucket *bucket, uint64_t rate, uint64_t now_ns)
{
    (void)pace_bucket_balance(bucket, now_ns);
    bucket->rate = rate;
}

void pace_bucket_take(struct pace_bucket *bucket, uint64_t bytes, uint64_t now_ns)
{
    int64_t balance = pace_bucket_balance(bucket, now_ns) - pace_amount(bytes);
    bucket->balance = FM_MAX(balance, -PACE_AMOUNT_MAX);
}

void pace_bucket_give(struct pace_bucket *bucket, uint64_t bytes, uint64_t now_ns)
{
    int64_t balance = pace_bucket_balance(bucket, now_ns) + pace_amount(bytes);
    bucket->balance = FM_MIN(balance, pace_amount(bucket->burst));
}

uint64_t pace_bucket_wait_ns(struct pace_bucket *bucket, uint64_t bytes, uint64_t now_ns)
{
    int64_t missing = pace_amount(FM_MIN(bytes, bucket->burst));
    missing -= pace_bucket_balance(bucket, now_ns);
    if (missing <= 0 || !bucket->rate)
        return 0;
    unsigned __int128 needed = (unsigned __int128)missing * PACE_NS_PER_S - bucket->rest;
    unsigned __int128 wait_ns = (needed + bucket->rate - 1) / bucket->rate;
    return (uint64_t)FM_MIN(wait_ns, (unsigned __int128)INT64_MAX);
}
