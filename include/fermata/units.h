/* SPDX-License-Identifier: Apache-2.0 */
/* units - durations, byte sizes and civil time as people and protocols write them.  Part of base.
 * No clock is read here: time comes in as nanoseconds since the Unix epoch. */
#ifndef FERMATA_UNITS_H
#define FERMATA_UNITS_H

#include "fermata/base.h"

#define FM_NS_PER_US UINT64_C(1000)
#define FM_NS_PER_MS UINT64_C(1000000)
#define FM_NS_PER_S  UINT64_C(1000000000)

/* "250ms", "1s", "15m", "1h30m", "72h", "3d"; a bare 0 is allowed. */
FM_MUST int fm_duration_parse(struct fm_slice text, uint64_t *ret_ns);
void fm_duration_print(struct fm_buf *buf, uint64_t ns); /* "1h30m", "250ms", "0s" */
/* "4096", "64KiB", "16MiB", "1GiB", also kB MB GB (powers of 1000) and B. */
FM_MUST int fm_bytes_parse(struct fm_slice text, uint64_t *ret_bytes);
void fm_bytes_print(struct fm_buf *buf, uint64_t bytes); /* exact: the largest unit that divides */
void fm_bytes_print_short(struct fm_buf *buf, uint64_t bytes); /* for people: "4.1 MiB" */

/* Bytes a second: "512kbit", "2Mbit", "1Gbit" (of 1000), or bytes as above, also with "/s". */
FM_MUST int fm_rate_parse(struct fm_slice text, uint64_t *ret_bytes_per_s);
void fm_rate_print(struct fm_buf *buf, uint64_t bytes_per_s);

/* Civil date and time, UTC, proleptic Gregorian. */
struct fm_civil {
    int32_t year;
    uint8_t month; /* 1-12 */
    uint8_t day;   /* 1-31 */
    uint8_t hour, minute, second;
    uint32_t nanosecond;
};
struct fm_civil fm_civil_from_unix(int64_t unix_s, uint32_t nanosecond);
int64_t fm_civil_to_unix(const struct fm_civil *civil);

/* RFC 3339: printed with 'Z', with a fraction only if needed; parsed with any offset. */
void fm_rfc3339_print(struct fm_buf *buf, uint64_t unix_ns);
FM_MUST int fm_rfc3339_parse(struct fm_slice text, uint64_t *ret_unix_ns);
/* IMF-fixdate of RFC 9110 ("Sun, 06 Nov 1994 08:49:37 GMT"). */
FM_MUST int fm_http_date_parse(struct fm_slice text, int64_t *ret_unix_s);

/* Decimal, whole slice, overflow refused. */
FM_MUST int fm_u64_parse(struct fm_slice text, uint64_t *ret_value);

#endif
