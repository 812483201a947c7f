/* SPDX-License-Identifier: Apache-2.0 */
/* retain - which blocks go, and when appends are refused.
 *
 * By age, in steady time (clock.c): what was uploaded, what was sampled out, and, only if somebody
 * asks for it, what has not left yet.  A block that holds several kinds goes when the last of them
 * may go.
 *
 * For lack of space, in this order: blocks that are settled, oldest first; what lies in
 * quarantine/; then appends are refused; and, only with on_full = drop_oldest, the oldest blocks
 * that have not left.  Files of the log never go.
 */
#include "internal.h"

#include <stdio.h>

uint64_t blocks_bytes(const struct store *store)
{
    uint64_t bytes = 0;
    for (struct fm_link *link = store->blocks.next; link != &store->blocks; link = link->next)
        bytes += FM_CONTAINER(link, struct block_entry, link)->disk_bytes;
    return bytes;
}

/* ---- by age ---- */

/* UINT64_MAX: for ever. */
static uint64_t retain_age_max_ns(const struct store *store, const struct block_entry *entry)
{
    const struct store_options *options = &store->options;
    enum store_verdict verdict = entry->decided.verdict;
    uint64_t sampled_ns = options->retention_sampled_out_ns, age_ns = 0;
    if (!block_entry_is_settled(entry))
        return options->retention_unuploaded_ns ? options->retention_unuploaded_ns : UINT64_MAX;
    if (verdict != STORE_NOTHING)
        age_ns = options->retention_ns;
    if (verdict == STORE_NOTHING || verdict == STORE_PART)
        age_ns = FM_MAX(age_ns, sampled_ns);
    return age_ns;
}

uint64_t retain_lost_spans(const struct block_entry *entry)
{
    const struct store_decided *decided = &entry->decided;
    if (block_entry_is_settled(entry))
        return 0;
    if (decided->verdict == STORE_PART)
        return decided->kept_spans - FM_MIN(decided->ahead_spans, decided->kept_spans);
    return entry->block.span_count;
}

bool retain_release(struct store *store, struct block_entry *entry)
{
    cursors_let_go(store, entry);
    if (entry->refs > 1 && !block_entry_is_settled(entry) && store->observer.on_dropped)
        store->observer.on_dropped(store->observer.self, &entry->block);
    return entry->refs == 1;
}

static void retain_report(const struct block_entry *entry, const char *why)
{
    const struct store_block *block = &entry->block;
    struct fm_buf range;
    fm_buf_init(&range, 128);
    fm_rfc3339_print(&range, block->meta.start_ns);
    fm_buf_puts(&range, " to ");
    fm_rfc3339_print(&range, block->meta.end_ns);
    log_error("store.block_dropped", "tenant=%s path=%s range=\"%.*s\" spans=%llu why=\"%s\"",
              block->meta.tenant, block->path, (int)range.len, (const char *)range.ptr,
              (unsigned long long)retain_lost_spans(entry), why);
    fm_buf_fini(&range);
}

static void retain_by_age(struct store *store)
{
    for (struct fm_link *link = store->blocks.next, *next; link != &store->blocks; link = next) {
        next = link->next;
        struct block_entry *entry = FM_CONTAINER(link, struct block_entry, link);
        if (entry->is_merging || clock_block_age_ns(store, entry) < retain_age_max_ns(store, entry))
            continue;
        if (block_entry_is_settled(entry) && outbox_ahead_spans(entry)) {
            continue; /* its account has to wait for what went ahead */
        } else if (block_entry_is_settled(entry)) {
            metric_add(&store->metrics.blocks_expired, 1);
            blocks_doom(store, entry, STORE_END_SETTLED);
        } else if (retain_release(store, entry)) {
            retain_report(entry, "older than retention_unuploaded");
            metric_add(&store->metrics.blocks_dropped, 1);
            metric_add(&store->metrics.dropped_spans_age, retain_lost_spans(entry));
            blocks_doom(store, entry, STORE_END_EXPIRED);
        }
    }
}

/* ---- for lack of space ---- */

uint64_t store_used_bytes(const struct store *store)
{
    const struct fm_link *lists[] = {&store->segments, &store->spares, &store->keep.going};
    uint64_t bytes = blocks_bytes(store) + store->outbox.bytes + store->keep.quarantine_bytes;
    bytes += store->log.handed_count * store->options.segment_bytes;
    for (size_t i = 0; i < FM_COUNT(lists); i++) {
        for (struct fm_link *link = lists[i]->next; link != lists[i]; link = link->next)
            bytes += FM_CONTAINER(link, struct segment, link)->file_bytes;
    }
    return bytes;
}

uint64_t store_quota_bytes(const struct store *store)
{
    const struct store_options *options = &store->options;
    if (!options->quota_percent || !store->keep.has_space)
        return options->quota_bytes;
    uint64_t quota_bytes = store->space.total_bytes / 100 * FM_MIN(options->quota_percent, 100u);
    return options->quota_bytes ? FM_MIN(quota_bytes, options->quota_bytes) : quota_bytes;
}

enum retain_lack { RETAIN_ENOUGH, RETAIN_QUOTA, RETAIN_SPACE, RETAIN_INODES };

struct retain_freed { /* by this round; the disk shows it later */
    uint64_t bytes, inodes;
};

static enum retain_lack retain_lacks(const struct store *store, const struct retain_freed *freed)
{
    const struct store_options *options = &store->options;
    uint64_t quota_bytes = store_quota_bytes(store);
    if (quota_bytes && store_used_bytes(store) > quota_bytes)
        return RETAIN_QUOTA;
    if (!store->keep.has_space)
        return RETAIN_ENOUGH;
    if (options->free_bytes_min && store->space.free_bytes + freed->bytes < options->free_bytes_min)
        return RETAIN_SPACE;
    if (options->free_inodes_min && store->space.free_inodes < UINT64_MAX - freed->inodes &&
        store->space.free_inodes + freed->inodes < options->free_inodes_min)
        return RETAIN_INODES;
    return RETAIN_ENOUGH;
}

/* The oldest settled block that nobody reads. */
static struct block_entry *retain_victim_settled(struct store *store)
{
    for (struct fm_link *link = store->blocks.next; link != &store->blocks; link = link->next) {
        struct block_entry *entry = FM_CONTAINER(link, struct block_entry, link);
        if (!block_entry_is_settled(entry))
            continue;
        cursors_let_go(store, entry);
        if (entry->refs == 1)
            return entry;
    }
    return NULL;
}

/* The oldest block that has not left.  While an upload of it is under way the next one is looked
 * at. */
static struct block_entry *retain_victim_waiting(struct store *store)
{
    for (struct fm_link *link = store->blocks.next; link != &store->blocks; link = link->next) {
        struct block_entry *entry = FM_CONTAINER(link, struct block_entry, link);
        if (!block_entry_is_settled(entry) && retain_release(store, entry))
            return entry;
    }
    return NULL;
}

static void retain_set_full(struct store *store, enum retain_lack lack)
{
    bool is_full = lack != RETAIN_ENOUGH;
    if (is_full == store->is_full)
        return;
    store->is_full = is_full;
    if (!is_full && store->log.sm.state != LOG_FAILED)
        store_set_problem(store, "%s", "");
    if (!is_full) {
        log_info("store.space_found", "appends are taken again");
        return;
    }
    if (lack == RETAIN_QUOTA)
        store_set_problem(store, "quota reached: %llu of %llu bytes used",
                          (unsigned long long)store_used_bytes(store),
                          (unsigned long long)store_quota_bytes(store));
    else if (lack == RETAIN_SPACE)
        store_set_problem(store, "disk nearly full: %llu bytes free, %llu must stay",
                          (unsigned long long)store->space.free_bytes,
                          (unsigned long long)store->options.free_bytes_min);
    else
        store_set_problem(store, "disk nearly full: %llu inodes free, %llu must stay",
                          (unsigned long long)store->space.free_inodes,
                          (unsigned long long)store->options.free_inodes_min);
    log_error("store.full", "appends are refused why=\"%s\"", store->problem);
}

/* One block less.  false: there is none that may go. */
static bool retain_make_room(struct store *store, struct retain_freed *freed)
{
    struct block_entry *victim = retain_victim_settled(store);
    enum store_end end = STORE_END_SETTLED;
    if (victim) {
        metric_add(&store->metrics.blocks_expired, 1);
    } else if (store->keep.quarantine_bytes) {
        quarantine_trim(store); /* the next job does; then we look again */
        return false;
    } else if (store->options.on_full == STORE_DROP_OLDEST &&
               (victim = retain_victim_waiting(store))) {
        end = STORE_END_DROPPED;
        metric_add(&store->metrics.blocks_dropped, 1);
        metric_add(&store->metrics.dropped_spans, retain_lost_spans(victim));
        retain_report(victim, "not uploaded; no space left");
    } else {
        return false;
    }
    freed->bytes += victim->disk_bytes;
    freed->inodes += victim->block.meta.bloom_shard_count + 3;
    blocks_doom(store, victim, end);
    return true;
}

void blocks_retain(struct store *store)
{
    struct retain_freed freed = {0};
    enum retain_lack lack;
    retain_by_age(store);
    while ((lack = retain_lacks(store, &freed)) != RETAIN_ENOUGH) {
        if (!retain_make_room(store, &freed))
            break;
    }
    retain_set_full(store, lack);
}
