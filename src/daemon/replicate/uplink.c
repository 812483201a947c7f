/* SPDX-License-Identifier: Apache-2.0 */
/* uplink - who may begin, and who may send the next piece.
 *
 * A pass is granted pieces of a tenth of a second's bytes, paid for at once; what goes over the
 * wire beyond that (heads, TLS, answers) is taken from the bucket when it has gone.  While a pass
 * of the express lane waits for its piece, nobody else is granted any.
 */
#include "uplink.h"

#include <stdlib.h>

#include "fermata/units.h"

#define UPLINK_PIECES_PER_S 10u
#define UPLINK_PIECE_MIN    FM_KIB(4)
#define UPLINK_PIECE_MAX    FM_KIB(256)
#define UPLINK_WAIT_MIN_NS  (5 * FM_NS_PER_MS)
#define UPLINK_WAIT_MAX_NS  FM_NS_PER_S        /* rates change with windows */
#define UPLINK_RECHECK_NS   (60 * FM_NS_PER_S) /* clocks are set */

struct uplink {
    struct platform *platform;
    struct uplink_options options;
    struct pace_bucket bucket;
    struct windows windows;
    struct quota quota;
    struct fm_link passes; /* under way */
    uint32_t waiting;      /* of them */
    uint64_t throttled_since_ns, throttled_ns;
    uint64_t wire_bytes[UPLOAD_LANE_COUNT];
    struct pf_timer wake_timer;
    void (*wake)(void *self);
    void *wake_self;
    void (*closed)(void *self);
    void *closed_self;
};

const char *upload_lane_text(enum upload_lane lane)
{
    static const char *const texts[] = {
#define X(name, text) text,
        UPLOAD_LANES(X)
#undef X
    };
    FM_ASSERT(lane < UPLOAD_LANE_COUNT);
    return texts[lane];
}

/* ---- what holds now ---- */

static void uplink_look(struct uplink *uplink)
{
    int64_t unix_s = (int64_t)(pf_wall_ns(uplink->platform) / FM_NS_PER_S);
    if (!windows_look(&uplink->windows, unix_s))
        return;
    const struct window *ruler = uplink->windows.ruler;
    uint64_t rate = ruler ? ruler->rate : uplink->options.rate;
    pace_bucket_set_rate(&uplink->bucket, rate, pf_now_ns(uplink->platform));
}

static bool uplink_is_exempt(const struct uplink *uplink, enum upload_lane lane)
{
    return lane == UPLOAD_EXPRESS && uplink->options.express_exempt;
}

static bool uplink_is_paced(const struct uplink *uplink, enum upload_lane lane)
{
    return uplink->bucket.rate && !uplink_is_exempt(uplink, lane);
}

bool uplink_admits(struct uplink *uplink, enum upload_lane lane, uint64_t bytes)
{
    if (uplink_is_exempt(uplink, lane))
        return true;
    uplink_look(uplink);
    return (uplink->windows.open_lanes >> lane & 1) && quota_admits(&uplink->quota, bytes);
}

uint64_t uplink_recheck_ns(struct uplink *uplink)
{
    uint64_t wall_ns = pf_wall_ns(uplink->platform), wait_ns = UPLINK_RECHECK_NS;
    uplink_look(uplink);
    int64_t until_s = uplink->windows.until_s;
    if (until_s < INT32_MAX * INT64_C(2)) {
        uint64_t until_ns = (uint64_t)until_s * FM_NS_PER_S;
        wait_ns = FM_MIN(wait_ns, until_ns > wall_ns ? until_ns - wall_ns : 0);
    }
    return FM_MAX(wait_ns, UPLINK_WAIT_MIN_NS);
}

/* ---- passes ---- */

static void uplink_set_waiting(struct uplink_pass *pass, bool is_waiting)
{
    struct uplink *uplink = pass->uplink;
    uint64_t now_ns = pf_now_ns(uplink->platform);
    if (pass->is_waiting == is_waiting)
        return;
    pass->is_waiting = is_waiting;
    if (is_waiting && uplink->waiting++ == 0)
        uplink->throttled_since_ns = now_ns;
    else if (!is_waiting && --uplink->waiting == 0)
        uplink->throttled_ns += now_ns - uplink->throttled_since_ns;
}

static bool uplink_must_yield(const struct uplink_pass *pass)
{
    const struct fm_link *head = &pass->uplink->passes;
    if (pass->lane == UPLOAD_EXPRESS)
        return false;
    for (struct fm_link *link = head->next; link != head; link = link->next) {
        const struct uplink_pass *other = FM_CONTAINER(link, struct uplink_pass, link);
        if (other->is_waiting && other->lane == UPLOAD_EXPRESS)
            return true;
    }
    return false;
}

static size_t uplink_piece(const struct uplink *uplink, size_t want)
{
    uint64_t piece = FM_MAX(uplink->bucket.rate / UPLINK_PIECES_PER_S, UPLINK_PIECE_MIN);
    piece = FM_MIN(piece, FM_MIN(uplink->bucket.burst, UPLINK_PIECE_MAX));
    return (size_t)FM_MIN(piece, want);
}

static size_t uplink_grant(struct net_pacer *pacer, size_t want, uint64_t *ret_wait_ns)
{
    struct uplink_pass *pass = FM_CONTAINER(pacer, struct uplink_pass, pacer);
    struct uplink *uplink = pass->uplink;
    uint64_t now_ns = pf_now_ns(uplink->platform);
    uplink_look(uplink);
    if (!uplink_is_paced(uplink, pass->lane)) {
        uplink_set_waiting(pass, false);
        return want;
    }
    size_t piece = uplink_piece(uplink, want);
    uint64_t wait_ns = pace_bucket_wait_ns(&uplink->bucket, piece, now_ns);
    if (!wait_ns && uplink_must_yield(pass))
        wait_ns = FM_NS_PER_S / UPLINK_PIECES_PER_S;
    uplink_set_waiting(pass, wait_ns != 0);
    if (wait_ns) {
        *ret_wait_ns = FM_MAX(FM_MIN(wait_ns, UPLINK_WAIT_MAX_NS), UPLINK_WAIT_MIN_NS);
        return 0;
    }
    pace_bucket_take(&uplink->bucket, piece, now_ns);
    pass->credit += piece;
    return piece;
}

static void uplink_moved(struct net_pacer *pacer, uint64_t bytes)
{
    struct uplink_pass *pass = FM_CONTAINER(pacer, struct uplink_pass, pacer);
    struct uplink *uplink = pass->uplink;
    uint64_t paid = FM_MIN(pass->credit, bytes);
    uint64_t foreseen = FM_MIN(pass->reserved, bytes);
    pass->credit -= paid;
    if (uplink_is_paced(uplink, pass->lane))
        pace_bucket_take(&uplink->bucket, bytes - paid, pf_now_ns(uplink->platform));
    pass->reserved -= foreseen;
    uplink->quota.reserved -= foreseen;
    quota_use(&uplink->quota, bytes);
    uplink->wire_bytes[pass->lane] += bytes;
}

void uplink_pass_begin(struct uplink_pass *pass, struct uplink *uplink, enum upload_lane lane,
                       uint64_t bytes)
{
    *pass = (struct uplink_pass){
        .pacer = {.grant = uplink_grant, .moved = uplink_moved}, .uplink = uplink, .lane = lane};
    if (!uplink_is_exempt(uplink, lane))
        pass->reserved = bytes;
    uplink->quota.reserved += pass->reserved;
    fm_list_append(&uplink->passes, &pass->link);
}

void uplink_pass_end(struct uplink_pass *pass)
{
    struct uplink *uplink = pass->uplink;
    if (!uplink)
        return;
    uplink_set_waiting(pass, false);
    if (pass->credit)
        pace_bucket_give(&uplink->bucket, pass->credit, pf_now_ns(uplink->platform));
    uplink->quota.reserved -= pass->reserved;
    fm_list_remove(&pass->link);
    pass->uplink = NULL;
}

uint64_t uplink_pass_wait_ns(struct uplink_pass *pass)
{
    struct uplink *uplink = pass->uplink;
    uint64_t wait_ns = 0;
    uplink_look(uplink);
    if (uplink_is_paced(uplink, pass->lane))
        wait_ns = pace_bucket_wait_ns(&uplink->bucket, 0, pf_now_ns(uplink->platform));
    uplink_set_waiting(pass, wait_ns != 0);
    return wait_ns ? FM_MAX(FM_MIN(wait_ns, UPLINK_WAIT_MAX_NS), UPLINK_WAIT_MIN_NS) : 0;
}

/* ---- waking ---- */

static void uplink_on_timer(struct pf_timer *timer)
{
    struct uplink *uplink = FM_CONTAINER(timer, struct uplink, wake_timer);
    void (*closed)(void *self) = uplink->closed;
    pf_timer_stop(uplink->platform, timer);
    if (closed)
        closed(uplink->closed_self); /* may free us */
    else if (uplink->wake)
        uplink->wake(uplink->wake_self);
}

static void uplink_start_timer(struct uplink *uplink)
{
    pf_timer_stop(uplink->platform, &uplink->wake_timer);
    pf_timer_start(uplink->platform, &uplink->wake_timer, 0);
}

static void uplink_on_saved(void *self)
{
    struct uplink *uplink = self;
    if (uplink->closed && !uplink->quota.is_exact) {
        uplink->quota.is_exact = true;
        quota_save_last(&uplink->quota);
    } else {
        uplink_start_timer(uplink);
    }
}

void uplink_set_wake(struct uplink *uplink, void (*wake)(void *self), void *self)
{
    uplink->wake = wake;
    uplink->wake_self = self;
}

void uplink_get_status(struct uplink *uplink, struct uplink_status *ret_status)
{
    uint64_t now_ns = pf_now_ns(uplink->platform);
    uplink_look(uplink);
    if (quota_is_on(&uplink->quota))
        quota_look(&uplink->quota);
    *ret_status = (struct uplink_status){
        .rate = uplink->bucket.rate,
        .burst = uplink->bucket.burst,
        .balance = pace_bucket_balance(&uplink->bucket, now_ns),
        .daily_quota = uplink->quota.day.limit,
        .daily_used = uplink->quota.day.used,
        .monthly_quota = uplink->quota.month.limit,
        .monthly_used = uplink->quota.month.used,
        .open_lanes = uplink->windows.open_lanes,
        .next_change_unix_s = uplink->windows.until_s,
        .throttled_ns = uplink->throttled_ns,
    };
    if (uplink->options.express_exempt)
        ret_status->open_lanes |= 1u << UPLOAD_EXPRESS;
    if (uplink->waiting)
        ret_status->throttled_ns += now_ns - uplink->throttled_since_ns;
    if (uplink->windows.ruler)
        memcpy(ret_status->window, uplink->windows.ruler->name, sizeof ret_status->window);
    memcpy(ret_status->wire_bytes, uplink->wire_bytes, sizeof uplink->wire_bytes);
}

/* ---- life ---- */

int uplink_new(struct uplink **ret_uplink, struct platform *platform,
               const struct uplink_options *options, struct fm_why *why)
{
    struct uplink *uplink = calloc(1, sizeof *uplink);
    if (!uplink)
        return FM_ENOMEM;
    uplink->platform = platform;
    uplink->options = *options;
    uplink->wake_timer.fire = uplink_on_timer;
    fm_list_init(&uplink->passes);
    pace_bucket_init(&uplink->bucket, options->rate, FM_MAX(options->burst, UPLINK_PIECE_MIN),
                     pf_now_ns(platform));
    int rc = windows_init(&uplink->windows, platform, options, why);
    if (rc == FM_OK)
        rc = quota_init(&uplink->quota, platform, options, why);
    if (rc < 0) {
        uplink_free(uplink);
        return rc;
    }
    uplink->quota.saved = uplink_on_saved;
    uplink->quota.self = uplink;
    uplink->options.windows = NULL; /* the caller's */
    uplink->options.state_file = uplink->options.timezone = NULL;
    uplink_look(uplink);
    *ret_uplink = uplink;
    return FM_OK;
}

void uplink_close(struct uplink *uplink, void (*done)(void *self), void *self)
{
    uplink->closed = done;
    uplink->closed_self = self;
    if (!quota_is_on(&uplink->quota) || !uplink->quota.path[0])
        uplink_start_timer(uplink);
    else if (!uplink->quota.is_saving)
        uplink_on_saved(uplink); /* writes what was used exactly */
}

struct uplink *uplink_free(struct uplink *uplink)
{
    if (!uplink)
        return NULL;
    windows_fini(&uplink->windows);
    quota_fini(&uplink->quota);
    free(uplink);
    return NULL;
}
