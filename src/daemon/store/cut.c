/* SPDX-License-Identifier: Apache-2.0 */
/* cut - decides when a tenant's head becomes a block, and follows the job that builds it.
 *
 *   IDLE --> BUILDING --> IDLE
 *
 * Suspended in BUILDING (resumed by cut_on_built).  One build at a time.  Reasons, in no order,
 * since the tenant with the oldest record goes first: somebody flushes; the oldest record is
 * block_age old; block_bytes of log wait; the head's memory or the log grows too large.
 * With block_align_ns no block holds what came before and after a boundary of wall time: it is cut
 * there, and if that was missed, the block ends there.  Each node has boundaries of its own, so
 * that a fleet does not upload in the same second. A failure changes nothing: the records stay in
 * head and log, and the cut comes again later.
 */
#include "internal.h"

#include <stdlib.h>

static const struct fm_sm_rule cut_rules[] = {
    [CUT_IDLE] = {"idle", FM_TO(CUT_BUILDING)},
    [CUT_BUILDING] = {"building", FM_TO(CUT_IDLE)},
};

#define CUT_BACKOFF_MIN_NS FM_NS_PER_S
#define CUT_BACKOFF_MAX_NS (300 * FM_NS_PER_S)
#define CUT_SHIFT_PART     12u /* of the distance of boundaries: nodes spread over 5 min an hour */
#define CUT_LOG_BYTES_MAX  (UINT64_C(1) << 30) /* of log that slow tenants may hold */

static void cut_on_built(struct pf_job *job);
static void cut_on_timer(struct pf_timer *timer);
static void flush_on_timer(struct pf_timer *timer);

void cut_init(struct store *store)
{
    store->cut = (struct cut){
        .sm = {cut_rules, CUT_IDLE},
        .job = {.work = cut_work, .done = cut_on_built, .lane = PF_LANE_WORK},
        .timer = {.fire = cut_on_timer},
        .store = store,
    };
    fm_list_init(&store->flushes);
    fm_list_init(&store->flushes_over);
    store->flush_timer.fire = flush_on_timer;
}

void cut_fini(struct store *store)
{
    struct fm_link *lists[] = {&store->flushes, &store->flushes_over};
    head_view_fini(store, &store->cut.view);
    store->cut.entry = block_entry_free(store, store->cut.entry);
    for (size_t i = 0; i < FM_COUNT(lists); i++) {
        while (!fm_list_empty(lists[i])) {
            struct fm_link *link = lists[i]->next;
            fm_list_remove(link);
            free(FM_CONTAINER(link, struct flush, link));
        }
    }
}

/* ---- when ---- */

static uint64_t cut_flush_lsn(const struct store *store)
{
    uint64_t lsn = 0;
    for (struct fm_link *link = store->flushes.next; link != &store->flushes; link = link->next)
        lsn = FM_MAX(lsn, FM_CONTAINER(link, struct flush, link)->lsn);
    return lsn;
}

static uint64_t cut_log_max(const struct store *store)
{
    uint64_t quarter = store_quota_bytes(store) / 4;
    return quarter ? FM_MIN(quarter, CUT_LOG_BYTES_MAX) : CUT_LOG_BYTES_MAX;
}

static uint64_t cut_log_bytes(const struct store *store)
{
    uint64_t bytes = 0;
    for (struct fm_link *link = store->segments.next; link != &store->segments; link = link->next)
        bytes += FM_CONTAINER(link, struct segment, link)->file_bytes;
    return bytes;
}

/* The first boundary of wall time behind wall_ns. */
static uint64_t cut_boundary_ns(const struct store *store, uint64_t wall_ns)
{
    uint64_t align_ns = store->options.block_align_ns;
    uint64_t shift_ns = fm_load_be64(store->options.node) % (align_ns / CUT_SHIFT_PART + 1);
    return wall_ns < shift_ns ? shift_ns
                              : (wall_ns - shift_ns) / align_ns * align_ns + align_ns + shift_ns;
}

/* Monotonic time from which the tenant should be cut by age or at a boundary. */
static uint64_t cut_due_ns(const struct store *store, const struct tenant *tenant)
{
    uint64_t due = tenant->oldest_ns + store->options.block_age_ns;
    if (store->options.block_align_ns) {
        uint64_t now_ns = pf_now_ns(store->platform), wall_ns = pf_wall_ns(store->platform);
        uint64_t age_ns = now_ns - FM_MIN(tenant->oldest_ns, now_ns);
        wall_ns -= FM_MIN(age_ns, wall_ns);
        due = FM_MIN(due, tenant->oldest_ns + (cut_boundary_ns(store, wall_ns) - wall_ns));
    }
    return FM_MAX(due, tenant->cut_after_ns);
}

/* The last record before the boundary that follows the first one. */
static uint64_t cut_align(const struct store *store, const struct tenant *tenant,
                          uint64_t limit_lsn)
{
    uint64_t boundary_ns = 0;
    if (!store->options.block_align_ns)
        return limit_lsn;
    for (size_t i = 0; i < tenant->part_count; i++) {
        const struct head_part *part = &tenant->parts[tenant->part_first + i];
        uint32_t position = part->begin;
        for (const struct head_record *record; (record = head_part_next(part, &position));) {
            if (!boundary_ns)
                boundary_ns = cut_boundary_ns(store, record->received_unix_ns);
            if (pf_wall_ns(store->platform) < boundary_ns)
                return limit_lsn; /* nothing came behind it yet */
            if (record->received_unix_ns >= boundary_ns)
                return FM_MIN(limit_lsn, record->lsn - 1);
        }
    }
    return limit_lsn;
}

static bool cut_is_due(const struct store *store, const struct tenant *tenant, uint64_t flush_lsn,
                       bool is_pressed, uint64_t now_ns)
{
    if (tenant->record_count == 0 || tenant->first_lsn >= store->log.durable_lsn)
        return false;
    if (tenant->head_reads)
        return false; /* comes back when the cursor has read */
    if (tenant->first_lsn <= flush_lsn)
        return true;
    if (now_ns < tenant->cut_after_ns)
        return false;
    return is_pressed || tenant->log_bytes >= store->options.block_bytes ||
           now_ns >= cut_due_ns(store, tenant);
}

/* The tenant to cut now, or NULL; *ret_next_ns: when to look again if nothing else happens. */
static struct tenant *cut_pick(const struct store *store, uint64_t *ret_next_ns)
{
    uint64_t now_ns = pf_now_ns(store->platform), flush_lsn = cut_flush_lsn(store);
    bool is_pressed = store->head_memory_bytes > store->options.head_bytes_max / 4 * 3 ||
                      cut_log_bytes(store) > cut_log_max(store);
    struct tenant *found = NULL;
    *ret_next_ns = UINT64_MAX;
    for (size_t i = 0; i < store->tenant_count; i++) {
        struct tenant *tenant = store->tenants[i];
        /* What is not durable yet waits for log_on_written, not for a time. */
        if (tenant->record_count && tenant->first_lsn < store->log.durable_lsn &&
            !tenant->head_reads)
            *ret_next_ns = FM_MIN(*ret_next_ns, cut_due_ns(store, tenant));
        if (cut_is_due(store, tenant, flush_lsn, is_pressed, now_ns) &&
            (!found || tenant->first_lsn < found->first_lsn))
            found = tenant;
    }
    return found;
}

static void cut_set_timer(struct store *store, uint64_t at_ns)
{
    struct cut *cut = &store->cut;
    if (at_ns == UINT64_MAX || (cut->timer_at_ns && cut->timer_at_ns <= at_ns))
        return; /* an early call looks and sets it again */
    uint64_t now_ns = pf_now_ns(store->platform);
    cut->timer_at_ns = at_ns;
    pf_timer_stop(store->platform, &cut->timer);
    pf_timer_start(store->platform, &cut->timer, at_ns > now_ns ? at_ns - now_ns : 0);
}

static void cut_on_timer(struct pf_timer *timer)
{
    struct store *store = FM_CONTAINER(timer, struct store, cut.timer);
    store->cut.timer_at_ns = 0;
    cut_step(store);
}

void cut_soon(struct store *store)
{
    cut_set_timer(store, pf_now_ns(store->platform));
}

/* ---- how ---- */

static void cut_failed(struct store *store, struct tenant *tenant, int rc, const char *why)
{
    uint32_t shift = FM_MIN(tenant->cut_failures, 20u);
    uint64_t wait_ns = FM_MIN(CUT_BACKOFF_MIN_NS << shift, CUT_BACKOFF_MAX_NS);
    tenant->cut_failures++;
    tenant->cut_after_ns = pf_now_ns(store->platform) + wait_ns;
    metric_add(&store->metrics.block_failures, 1);
    log_error("block.build_failed", "tenant=%s attempt=%u why=\"%s\" log keeps the spans",
              tenant->name, tenant->cut_failures, why[0] ? why : fm_rc_text(rc));
    flush_fail(store, rc);
}

static int cut_start(struct store *store, struct tenant *tenant)
{
    struct cut *cut = &store->cut;
    int rc = cover_reserve(tenant);
    if (rc == FM_OK)
        rc = blocks_reserve(tenant);
    if (rc == FM_OK)
        rc = head_view_new(store, tenant, &cut->view);
    if (rc < 0)
        return rc;
    struct lsn_range gap = cover_gap(tenant, tenant->first_lsn, store->log_floor_lsn);
    cut->tenant = tenant;
    cut->first_lsn = gap.first;
    uint64_t whole_lsn = FM_MIN(gap.last, store->log.durable_lsn - 1);
    uint64_t aligned_lsn = cut_align(store, tenant, whole_lsn);
    cut->is_aligned = aligned_lsn < whole_lsn;
    cut->limit_lsn = cursors_limit(store, tenant, aligned_lsn);
    cut->is_limited = cut->limit_lsn < whole_lsn;
    cut->started_ns = pf_now_ns(store->platform);
    cut->failures = tenant->cut_failures;
    pf_job_submit(store->platform, &cut->job);
    return FM_OK;
}

/* What a cursor has not passed on yet is as old as it is, not as old as what was sealed. */
static void cut_date_rest(struct store *store, struct tenant *tenant)
{
    if (!tenant->record_count)
        return;
    const struct head_part *part = &tenant->parts[tenant->part_first];
    uint32_t position = part->begin;
    const struct head_record *record = head_part_next(part, &position);
    uint64_t now_ns = pf_now_ns(store->platform), wall_ns = pf_wall_ns(store->platform);
    uint64_t age_ns = wall_ns - FM_MIN(record->received_unix_ns, wall_ns);
    uint64_t oldest_ns = now_ns - FM_MIN(age_ns, now_ns);
    tenant->oldest_ns = store->cut.is_aligned ? oldest_ns : FM_MAX(tenant->oldest_ns, oldest_ns);
}

static void cut_seal(struct store *store)
{
    struct cut *cut = &store->cut;
    struct tenant *tenant = cut->tenant;
    struct block_entry *entry = fm_take(cut->entry);
    tenant->cut_failures = 0;
    tenant->cut_after_ns = 0;
    if (!cut->is_partial)
        tenant->oldest_ns = cut->started_ns; /* of what came while the block was built */
    metric_add(&store->metrics.lost_records, cut->lost_records);
    metric_add(&store->metrics.lost_spans, cut->lost_spans);
    if (entry) {
        int rc = cover_add(tenant, entry->block.first_lsn, entry->block.last_lsn);
        FM_ASSERT(rc == FM_OK); /* reserved */
        rc = blocks_add(store, tenant, entry);
        FM_ASSERT(rc == FM_OK);
        metric_add(&store->metrics.blocks_sealed, 1);
        metric_add(&store->metrics.block_spans, entry->block.span_count);
        metric_observe(&store->metrics.build_seconds, cut->build_ns);
    } else if (cut->lost_spans) {
        struct lsn_range range = {cut->first_lsn, cut->last_lsn};
        int rc = book_lose(store, tenant, range, &cut->account);
        FM_ASSERT(rc == FM_OK); /* reserved */
    }
    head_drop(store, tenant, cut->last_lsn);
    if (cut->is_limited)
        cut_date_rest(store, tenant);
    keep_now(store);
    if (entry && store->observer.on_sealed)
        store->observer.on_sealed(store->observer.self, &entry->block);
}

static void cut_on_built(struct pf_job *job)
{
    struct store *store = FM_CONTAINER(job, struct store, cut.job);
    struct cut *cut = &store->cut;
    head_view_fini(store, &cut->view);
    fm_sm_move(&cut->sm, CUT_IDLE);
    if (cut->rc == FM_OK)
        cut_seal(store);
    else if (cut->rc != FM_ECANCELLED)
        cut_failed(store, cut->tenant, cut->rc, cut->why.text);
    cut_step(store);
    outbox_look(store);
    cursors_wake(store);
    store_finish_close(store);
}

/* Callers whose records are all in blocks now. */
static void flush_check(struct store *store)
{
    uint64_t oldest = UINT64_MAX;
    for (size_t i = 0; i < store->tenant_count; i++) {
        if (store->tenants[i]->record_count)
            oldest = FM_MIN(oldest, store->tenants[i]->first_lsn);
    }
    for (struct fm_link *link = store->flushes.next, *next; link != &store->flushes; link = next) {
        next = link->next;
        struct flush *flush = FM_CONTAINER(link, struct flush, link);
        if (oldest <= flush->lsn)
            continue;
        fm_list_remove(link);
        fm_list_append(&store->flushes_over, link);
    }
    if (!fm_list_empty(&store->flushes_over) && !store->flush_timer_runs) {
        store->flush_timer_runs = true;
        pf_timer_start(store->platform, &store->flush_timer, 0);
    }
}

void cut_step(struct store *store)
{
    struct cut *cut = &store->cut;
    switch ((enum cut_state)cut->sm.state) {
    case CUT_IDLE: {
        if (store->is_closing || store->outbox.sm.state == OUTBOX_BUILDING)
            break; /* outbox_on_built comes back */
        uint64_t next_ns;
        struct tenant *tenant = cut_pick(store, &next_ns);
        if (tenant) {
            int rc = cut_start(store, tenant);
            if (rc == FM_OK)
                fm_sm_move(&cut->sm, CUT_BUILDING);
            else
                cut_failed(store, tenant, rc, "");
        } else {
            cut_set_timer(store, next_ns);
        }
        break;
    }
    case CUT_BUILDING:
        break; /* resumed by cut_on_built */
    }
    flush_check(store);
}

void cut_close(struct store *store)
{
    store->cut.is_cancelled = true;
    pf_timer_stop(store->platform, &store->cut.timer);
    flush_fail(store, FM_ECLOSED);
}

/* ---- flush ---- */

void store_flush(struct store *store, void (*done)(void *self, int rc), void *self)
{
    struct flush *flush = calloc(1, sizeof *flush);
    FM_ASSERT(flush); /* a few bytes, and no other way to answer */
    flush->done = done;
    flush->self = self;
    flush->lsn = store->log.last_lsn;
    fm_list_append(&store->flushes, &flush->link);
    if (store->is_closing)
        flush_fail(store, FM_ECLOSED);
    if (flush->lsn >= store->log.durable_lsn)
        log_sync_now(store); /* what is not durable cannot be cut; log_on_written comes back */
    cut_step(store);
}

void flush_fail(struct store *store, int rc)
{
    while (!fm_list_empty(&store->flushes)) {
        struct flush *flush = FM_CONTAINER(store->flushes.next, struct flush, link);
        flush->rc = rc;
        fm_list_remove(&flush->link);
        fm_list_append(&store->flushes_over, &flush->link);
    }
}

static void flush_on_timer(struct pf_timer *timer)
{
    struct store *store = FM_CONTAINER(timer, struct store, flush_timer);
    store->flush_timer_runs = false;
    struct fm_link taken = store->flushes_over;
    if (fm_list_empty(&store->flushes_over))
        return;
    taken.next->prev = taken.prev->next = &taken;
    fm_list_init(&store->flushes_over);
    while (!fm_list_empty(&taken)) {
        struct flush *flush = FM_CONTAINER(taken.next, struct flush, link);
        fm_list_remove(&flush->link);
        flush->done(flush->self, flush->rc);
        free(flush);
    }
    store_finish_close(store);
}
