/* SPDX-License-Identifier: Apache-2.0 */
/* rates - how fast blocks go, as far as has been seen. */
#include "internal.h"

#include "fermata/units.h"

#define RATES_BUSY_MIN_NS (100 * FM_NS_PER_MS)
#define RATES_BUSY_MAX_NS (600 * FM_NS_PER_S) /* then the past counts half */

static uint64_t rates_divide(uint64_t bytes, uint64_t ns)
{
    return (uint64_t)((unsigned __int128)bytes * FM_NS_PER_S / FM_MAX(ns, 1));
}

void rates_on_active(struct rates *rates, uint32_t active, uint64_t now_ns)
{
    if (rates->busy_since_ns) {
        rates->busy_ns += now_ns - rates->busy_since_ns;
        rates->busy_since_ns = 0;
    }
    if (active)
        rates->busy_since_ns = FM_MAX(now_ns, 1);
    if (rates->busy_ns > RATES_BUSY_MAX_NS) {
        rates->busy_ns /= 2;
        rates->busy_bytes /= 2;
    }
}

void rates_on_uploaded(struct rates *rates, uint64_t bytes)
{
    rates->busy_bytes += bytes;
}

uint64_t rates_upload(const struct rates *rates, uint64_t now_ns)
{
    uint64_t busy_ns = rates->busy_ns;
    if (rates->busy_since_ns)
        busy_ns += now_ns - rates->busy_since_ns;
    if (!rates->busy_bytes || busy_ns < RATES_BUSY_MIN_NS)
        return UINT64_MAX;
    return rates_divide(rates->busy_bytes, busy_ns);
}
