/* SPDX-License-Identifier: Apache-2.0 */
/* calendar - when a window is open: schedules in the words of systemd.time(7), and time zones.
 *
 * A schedule is one or more lines; it is open while one of them is.  A line is up to three words in
 * this order, each of which may be missing:
 *
 *   weekdays   Mon..Fri   Sat,Sun   Fri..Mon
 *   date       *-*-*   2026-12-24..26   *-1,7-1   12-24   *-*-1/7   *-*~1 (the last day)
 *   time       22:00..06:00             a range of time, the end excluded; one that goes over
 *                                       midnight belongs to the day on which it begins
 *              01:00..05:00,13:00..14:00:  several
 *              01..05:*   00/2:00..29   every minute whose hour and minute match
 *
 * Without a time it is the whole day.  No clock is read here, and no libc time zone: seconds since
 * the Unix epoch come in, and the zone is what a TZif file (RFC 9636) or a POSIX rule says.
 */
#ifndef FERMATA_CALENDAR_H
#define FERMATA_CALENDAR_H

#include "fermata/base.h"

#define CALENDAR_LINES_MAX    16u
#define CALENDAR_NEVER        INT64_MAX
#define CALENDAR_HORIZON_DAYS 4000 /* a change further ahead is never */

struct calendar_zone; /* NULL: UTC */
/* Content of a file of /usr/share/zoneinfo, or /etc/localtime.  FM_EMALFORMED, FM_EUNSUPPORTED
 * (counts leap seconds), FM_ENOMEM. */
FM_MUST int calendar_zone_new(struct calendar_zone **ret_zone, struct fm_slice tzif,
                              struct fm_why *why);
/* "CET-1CEST,M3.5.0,M10.5.0/3" */
FM_MUST int calendar_zone_new_rule(struct calendar_zone **ret_zone, struct fm_slice rule,
                                   struct fm_why *why);
struct calendar_zone *calendar_zone_free(struct calendar_zone *zone);
FM_DEFINE_AUTO(calendar_zone)
/* Local time minus UTC. */
int32_t calendar_zone_offset_s(const struct calendar_zone *zone, int64_t unix_s);

struct calendar;
/* Lines are separated by line feeds.  FM_EMALFORMED, FM_ELIMIT (more than CALENDAR_LINES_MAX). */
FM_MUST int calendar_new(struct calendar **ret_calendar, struct fm_slice text, struct fm_why *why);
struct calendar *calendar_free(struct calendar *calendar);
FM_DEFINE_AUTO(calendar)
bool calendar_is_open(const struct calendar *calendar, const struct calendar_zone *zone,
                      int64_t unix_s);
/* The first second behind unix_s at which it opens or closes; CALENDAR_NEVER. */
int64_t calendar_next_change(const struct calendar *calendar, const struct calendar_zone *zone,
                             int64_t unix_s);

#endif
