/* SPDX-License-Identifier: Apache-2.0 */
/* How long to wait after a failure: full jitter, so that a fleet does not come back as one. */
#include "internal.h"

#include "fermata/units.h"

#define BASE_NS      (500 * FM_NS_PER_MS)
#define CAP_NS       (60 * FM_NS_PER_S)
#define SLOW_BASE_NS (30 * FM_NS_PER_S)
#define SLOW_CAP_NS  (300 * FM_NS_PER_S)

/* Whether only a person or new credentials can mend it. */
static bool backoff_is_slow(enum s3_outcome outcome)
{
    return outcome == S3_AUTH || outcome == S3_NO_BUCKET || outcome == S3_REDIRECT ||
           outcome == S3_UNSUPPORTED || outcome == S3_REFUSED || outcome == S3_EXISTS;
}

uint64_t s3_backoff_ns(enum s3_outcome outcome, uint32_t attempt, uint32_t retry_after_s,
                       uint64_t cap_ns, uint64_t random)
{
    bool slow = backoff_is_slow(outcome);
    uint64_t cap = slow ? SLOW_CAP_NS : CAP_NS;
    if (cap_ns)
        cap = FM_MIN(cap, cap_ns);
    uint64_t base = slow ? SLOW_BASE_NS : BASE_NS;
    uint64_t span = attempt < 20 ? FM_MIN(cap, base << attempt) : cap;
    uint64_t delay = slow ? span / 2 + random % (span / 2 + 1) : random % (span + 1);
    uint64_t floor = FM_MIN((uint64_t)retry_after_s * FM_NS_PER_S, cap);
    /* Jitter stays above the floor as well: Retry-After is told to everybody at once. */
    return delay < floor ? floor + random % (floor / 4 + 1) : delay;
}
