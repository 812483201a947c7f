/* SPDX-License-Identifier: Apache-2.0 */
/* uplink - the way to the bucket as a budget: a rate, quotas of days and months, hours of the week.
 * Part of replicate.
 *
 * Counted are bytes of sockets in both directions, with handshakes, heads and TLS records, but
 * without the headers of TCP and IP; of a directory, the bytes of its files.
 *
 * Windows and quotas decide which block may begin; a block that has begun is sent to its end.  The
 * rate holds at any time.  Quotas are counted in a file that runs ahead of what is sent, so that a
 * crash makes them smaller and never larger.
 */
#ifndef FERMATA_UPLINK_H
#define FERMATA_UPLINK_H

#include "fermata/net.h"
#include "fermata/platform.h"

#define UPLOAD_LANES(X)                                                                            \
    X(EXPRESS, "express") /* always first */                                                       \
    X(RECALL, "recall")   /* asked for */                                                          \
    X(FRESH, "fresh")     /* the newest first */                                                   \
    X(BACKLOG, "backlog") /* the oldest first, with a guaranteed share */
enum upload_lane {
#define X(name, text) UPLOAD_##name,
    UPLOAD_LANES(X)
#undef X
        UPLOAD_LANE_COUNT
};
const char *upload_lane_text(enum upload_lane lane);

#define UPLINK_WINDOWS_MAX 32u
struct uplink_window {
    const char *name, *schedule; /* calendar.h */
    const char *timezone;        /* "local", "UTC", or a name as in /usr/share/zoneinfo */
    uint64_t rate;               /* while it is open; 0: the uplink's own */
    uint32_t lanes;              /* bits by enum upload_lane */
};
struct uplink_options {
    uint64_t rate, burst;                /* bytes a second; rate 0: unlimited */
    uint64_t daily_quota, monthly_quota; /* bytes; 0: unlimited */
    uint32_t month_begins;               /* on this day, 1 to 28 */
    const char *timezone;                /* of days and months */
    bool express_exempt; /* from rate and windows; its bytes count in the quotas, which let it be */
    const char *state_file;
    /* A lane that no window names is always open, any other while one that names it is. */
    const struct uplink_window *windows;
    uint32_t window_count;
};
struct uplink;
/* Start-up: reads files.  FM_ECONFIG, FM_ENOMEM. */
FM_MUST int uplink_new(struct uplink **ret_uplink, struct platform *platform,
                       const struct uplink_options *options, struct fm_why *why);
struct uplink *uplink_free(struct uplink *uplink); /* after uplink_close, or it was never used */

struct uplink_status {
    uint64_t rate, burst; /* at this moment */
    int64_t balance;      /* bytes that may go at once; below 0: already gone */
    uint64_t daily_quota, daily_used, monthly_quota, monthly_used;
    uint32_t open_lanes;        /* bits */
    int64_t next_change_unix_s; /* of a window; INT64_MAX: none */
    char window[64];            /* the open one that rules the rate, or "" */
    uint64_t throttled_ns;
    uint64_t wire_bytes[UPLOAD_LANE_COUNT];
};
void uplink_get_status(struct uplink *uplink, struct uplink_status *ret_status);

/* ---- for who sends; on the loop ---- */

/* Called on a fresh stack when what was refused may be admitted now. */
void uplink_set_wake(struct uplink *uplink, void (*wake)(void *self), void *self);
/* Whether so many bytes may begin now; if not, wake comes, or uplink_recheck_ns has passed. */
bool uplink_admits(struct uplink *uplink, enum upload_lane lane, uint64_t bytes);
uint64_t uplink_recheck_ns(struct uplink *uplink);

struct uplink_pass { /* one sender; the caller's */
    struct net_pacer pacer;
    struct fm_link link;
    struct uplink *uplink; /* NULL: not under way */
    enum upload_lane lane;
    uint64_t credit;   /* granted, not yet moved */
    uint64_t reserved; /* of the quotas */
    bool is_waiting;
};
/* bytes: what it expects to send. */
void uplink_pass_begin(struct uplink_pass *pass, struct uplink *uplink, enum upload_lane lane,
                       uint64_t bytes);
void uplink_pass_end(struct uplink_pass *pass); /* also when it was ended */
/* For senders without a socket: until debts are paid; 0: send. */
uint64_t uplink_pass_wait_ns(struct uplink_pass *pass);
/* Writes the counters down; done is called later. */
void uplink_close(struct uplink *uplink, void (*done)(void *self), void *self);

#endif
