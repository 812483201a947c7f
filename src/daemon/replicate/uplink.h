/* SPDX-License-Identifier: Apache-2.0 */
/* What the uplink's files share: uplink.c (rate, windows, passes), quota.c (days and months),
 * window.c (schedules and zones). */
#ifndef FERMATA_REPLICATE_UPLINK_H
#define FERMATA_REPLICATE_UPLINK_H

#include "fermata/calendar.h"
#include "fermata/pace.h"
#include "fermata/telemetry.h"
#include "fermata/uplink.h"

/* ---- window.c ---- */

struct window {
    char name[64];
    struct calendar *calendar;  /* owned */
    struct calendar_zone *zone; /* owned */
    uint64_t rate;
    uint32_t lanes;
};
struct windows {
    struct window rows[UPLINK_WINDOWS_MAX];
    uint32_t count;
    uint32_t named_lanes; /* by any window */
    /* What holds in [from_s, until_s). */
    int64_t from_s, until_s;
    uint32_t open_lanes;
    const struct window *ruler; /* of the rate; NULL: none */
};
/* *ret_zone NULL: UTC.  FM_ECONFIG: there is no such zone. */
FM_MUST int window_zone_new(struct calendar_zone **ret_zone, struct platform *platform,
                            const char *name, struct fm_why *why);
FM_MUST int windows_init(struct windows *windows, struct platform *platform,
                         const struct uplink_options *options, struct fm_why *why);
void windows_fini(struct windows *windows);
/* Brings the lower four fields up to date; true: they have changed. */
bool windows_look(struct windows *windows, int64_t unix_s);

/* ---- quota.c ---- */

struct quota_period {
    uint64_t limit; /* 0: none */
    int64_t number; /* of the day or month */
    uint64_t used;
    uint64_t written; /* the file says this much is used */
};
struct quota {
    struct platform *platform;
    struct calendar_zone *zone; /* owned */
    uint32_t month_begins;
    struct quota_period day, month;
    uint64_t reserved; /* by passes */
    char path[512];    /* "": not kept */
    struct pf_job job;
    bool is_saving, saving_failed, is_exact; /* is_exact: the last save, without running ahead */
    int64_t saved_day, saved_month;          /* numbers in the text being saved */
    uint64_t saved_day_used, saved_month_used;
    struct fm_buf text;
    int job_rc;
    struct fm_why job_why;
    void (*saved)(void *self); /* after each save */
    void *self;
};
FM_MUST int quota_init(struct quota *quota, struct platform *platform,
                       const struct uplink_options *options, struct fm_why *why);
void quota_fini(struct quota *quota);
/* Whether so many bytes fit and the file knows of them; asks for a save if it does not. */
bool quota_admits(struct quota *quota, uint64_t bytes);
void quota_use(struct quota *quota, uint64_t bytes);
void quota_look(struct quota *quota); /* a new day or month? */
void quota_save_last(struct quota *quota);
bool quota_is_on(const struct quota *quota);

#endif
