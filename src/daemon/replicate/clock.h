/* SPDX-License-Identifier: Apache-2.0 */
/* clock - the bucket's time and ours: requests are signed with its time, as far as it can be
 * believed, and a node whose clock was never set sends nothing. */
#ifndef FERMATA_REPLICATE_CLOCK_H
#define FERMATA_REPLICATE_CLOCK_H

#include "fermata/platform.h"
#include "fermata/telemetry.h"

struct bucket_clock {
    struct platform *platform;
    int64_t offset_s;   /* the server's clock minus ours, as requests are signed */
    int64_t measured_s; /* the same, by the last answer that had a date */
};

int64_t bucket_clock_now_s(const struct bucket_clock *clock);
/* FM_EUNAVAILABLE: it was never set, and why says so. */
FM_MUST int bucket_clock_check(const struct bucket_clock *clock, struct fm_why *why);
/* Of every answer that has a date: a server that takes what we sign need not take it tomorrow. */
void bucket_clock_measure(struct bucket_clock *clock, int64_t date_unix_s);
/* Of an answer that says the time is wrong.  false: it cannot be believed. */
bool bucket_clock_adopt(struct bucket_clock *clock, int64_t date_unix_s);
/* Of a refusal that need not be about the time.  true: it is minutes off, and is used now. */
bool bucket_clock_explains(struct bucket_clock *clock, int64_t date_unix_s);
void bucket_clock_put_metrics(const struct bucket_clock *clock, struct fm_buf *out);

#endif
