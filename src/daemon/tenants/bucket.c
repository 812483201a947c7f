/* SPDX-License-Identifier: Apache-2.0 */
/* A token bucket in whole numbers: over any time t it gives at most burst + rate * t, and after a
 * pause that fills it exactly burst.  Parts of tokens are kept, so that nothing is lost to rounding
 * however often it is asked. */
#include "fermata/units.h"
#include "internal.h"

void bucket_init(struct bucket *bucket, uint64_t rate_per_s, uint64_t burst, uint64_t now_ns)
{
    *bucket = (struct bucket){.rate_per_s = FM_MIN(rate_per_s, BUCKET_RATE_MAX),
                              .burst = FM_MIN(burst, BUCKET_BURST_MAX),
                              .level = FM_MIN(burst, BUCKET_BURST_MAX),
                              .filled_ns = now_ns};
}

void bucket_fill(struct bucket *bucket, uint64_t now_ns)
{
    uint64_t rate = bucket->rate_per_s;

    if (now_ns <= bucket->filled_ns) /* another thread's clock was read later */
        return;
    uint64_t elapsed_ns = now_ns - bucket->filled_ns;
    bucket->filled_ns = now_ns;
    if (!rate)
        return;
    uint64_t missing = bucket->burst - bucket->level, seconds = elapsed_ns / FM_NS_PER_S;
    if (seconds > missing / rate) {
        bucket->level = bucket->burst;
        bucket->part = 0;
        return;
    }
    uint64_t parts = rate * (elapsed_ns % FM_NS_PER_S) + bucket->part;
    uint64_t tokens = rate * seconds + parts / FM_NS_PER_S;
    bucket->part = parts % FM_NS_PER_S;
    if (tokens >= missing) {
        bucket->level = bucket->burst;
        bucket->part = 0;
    } else {
        bucket->level += tokens;
    }
}

void bucket_set(struct bucket *bucket, uint64_t rate_per_s, uint64_t burst, uint64_t now_ns)
{
    bool was_unlimited = !bucket->rate_per_s;

    burst = FM_MIN(burst, BUCKET_BURST_MAX);
    bucket_fill(bucket, now_ns);
    bucket->rate_per_s = FM_MIN(rate_per_s, BUCKET_RATE_MAX);
    bucket->level = was_unlimited ? burst : FM_MIN(bucket->level, burst);
    bucket->burst = burst;
}

bool bucket_is_full(const struct bucket *bucket)
{
    return !bucket->rate_per_s || bucket->level == bucket->burst;
}

uint64_t bucket_wait_ns(const struct bucket *bucket, uint64_t tokens)
{
    uint64_t rate = bucket->rate_per_s;

    if (!rate)
        return 0;
    if (tokens > bucket->burst)
        return UINT64_MAX;
    if (tokens <= bucket->level)
        return 0;
    uint64_t missing = tokens - bucket->level;
    uint64_t seconds = missing / rate, parts = missing % rate * FM_NS_PER_S;
    if (seconds >= UINT64_MAX / FM_NS_PER_S - 1)
        return UINT64_MAX - 1; /* it fills, in centuries */
    uint64_t wait_ns = seconds * FM_NS_PER_S + parts / rate + (parts % rate != 0);
    return wait_ns - bucket->part / rate; /* part is less than a token, so 1 at least is left */
}

void bucket_take(struct bucket *bucket, uint64_t tokens)
{
    if (!bucket->rate_per_s)
        return;
    FM_ASSERT(tokens <= bucket->level);
    bucket->level -= tokens;
}
