/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers, times and durations as Tempo's API takes them, which is how Go's library reads and
 * prints them, refusals included: people search the web for these texts.  Part of api. */
#ifndef FERMATA_API_GO_TEXT_H
#define FERMATA_API_GO_TEXT_H

#include "fermata/base.h"

/* Decimal, up to max.  FM_EMALFORMED: why is
 * `strconv.ParseUint: parsing "x": invalid syntax` or `...: value out of range`. */
FM_MUST int go_uint_parse(struct fm_slice text, uint64_t max, uint64_t *ret_value,
                          struct fm_why *why);
/* With a sign: `strconv.ParseInt: ...`. */
FM_MUST int go_int_parse(struct fm_slice text, int64_t max, int64_t *ret_value, struct fm_why *why);
/* "1.5e3": FM_EMALFORMED if it is not a finite number. */
FM_MUST int go_float_parse(struct fm_slice text, double *ret_value);

/* "1h30m", "-1.5s", "250ms", "1us": `time: unknown unit "d" in duration "1d"` and the like. */
FM_MUST int go_duration_parse(struct fm_slice text, int64_t *ret_ns, struct fm_why *why);
/* "168h0m0s", "6ms", "1.5s", "0s"; returns text. */
#define GO_DURATION_TEXT_MAX 40
const char *go_duration_print(int64_t ns, char text[GO_DURATION_TEXT_MAX]);
/* Prometheus' form: "90m", "1d12h", units y w d h m s ms, each at most once, in this order. */
FM_MUST int prometheus_duration_parse(struct fm_slice text, uint64_t *ret_ns, struct fm_why *why);

/* Seconds, fractional seconds, nanoseconds (more than ten digits), RFC 3339. */
FM_MUST int timestamp_parse(struct fm_slice text, int64_t *ret_unix_ns, struct fm_why *why);
/* Seconds as a number, or a duration: `cannot parse "x" to a valid duration`. */
FM_MUST int step_parse(struct fm_slice text, int64_t *ret_ns, struct fm_why *why);

#endif
