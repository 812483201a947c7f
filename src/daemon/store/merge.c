/* SPDX-License-Identifier: Apache-2.0 */
/* merge - small neighbours become one block: a quiet node makes 96 blocks a day for each tenant,
 * and every one of them costs a query a footer and the file system inodes.
 *
 *   IDLE --> BUILDING --> RETIRING --> IDLE
 *                `-----------------------^   nothing came of it
 *
 * Suspended in BUILDING (resumed by merge_on_built) and RETIRING (merge_on_retired).  Both jobs run
 * on the IDLE lane; between two of them nine times as long passes as the first one took.
 *
 * MERGE-1  Sources follow each other without a gap, are in the same state, were sealed in the same
 *          quarter of a day, and nobody holds any of them.  A block that waits for its decision or
 *          its upload is held, or about to be; so only settled blocks are joined, unless there is
 *          nobody at all who uploads.
 * MERGE-2  No cursor stands inside what becomes one: nothing is passed on twice.
 * MERGE-3  The block covers exactly what its sources covered, so whichever of them a crash leaves
 *          behind is redundant, and start-up removes it (blocks.c).
 * MERGE-4  The block does not go before the meta.json of every source has gone for good: else a
 *          source could come back to life after it.  Its files stay as long as somebody reads them.
 * MERGE-5  Retention counts from its youngest source; account, decision and marker are the sums.
 */
#include "internal.h"

#include <stdio.h>

static const struct fm_sm_rule merge_rules[] = {
    [MERGE_IDLE] = {"idle", FM_TO(MERGE_BUILDING)},
    [MERGE_BUILDING] = {"building", FM_TO(MERGE_IDLE) | FM_TO(MERGE_RETIRING)},
    [MERGE_RETIRING] = {"retiring", FM_TO(MERGE_IDLE)},
};

#define MERGE_FAN      8u                       /* sources of one level, as long as more may come */
#define MERGE_CLASS_NS (6 * 3600 * FM_NS_PER_S) /* within the hours that an account tells apart */
#define MERGE_REST     9u                       /* times the work */
#define MERGE_RETRY_NS (60 * FM_NS_PER_S)

static void merge_on_built(struct pf_job *job);
static void merge_on_retired(struct pf_job *job);

void merge_init(struct store *store)
{
    store->merge = (struct merge){.sm = {merge_rules, MERGE_IDLE}, .store = store};
}

void merge_fini(struct store *store)
{
    struct merge *merge = &store->merge;
    for (size_t i = 0; i < merge->count; i++) { /* what is in no list of blocks */
        if (merge->sources[i]->is_doomed)
            block_entry_free(store, merge->sources[i]);
    }
    if (merge->entry && (!merge->entry->tenant || merge->entry->is_doomed))
        block_entry_free(store, merge->entry);
    merge->count = 0;
    merge->entry = NULL;
}

/* ---- which ---- */

/* Sources have one kind; 0: it is not to be merged. */
static unsigned merge_kind(const struct store *store, const struct block_entry *entry)
{
    enum store_verdict verdict = entry->decided.verdict;
    if (outbox_ahead_spans(entry))
        return 0; /* a sum would not say which group they wait for */
    if (block_entry_is_settled(entry))
        return 1 + (unsigned)verdict * 2 + entry->is_uploaded;
    return verdict == STORE_UNDECIDED && !store->observer.on_sealed ? 1 : 0;
}

static uint64_t merge_class(const struct store *store, uint64_t steady_ns)
{
    uint64_t eighth_ns = store->options.retention_ns / 8;
    return steady_ns / FM_MAX(FM_MIN(eighth_ns, MERGE_CLASS_NS), FM_NS_PER_S);
}

static bool merge_is_free(const struct store *store, const struct block_entry *entry)
{
    return entry->refs == 1 && !entry->is_unmergeable && merge_kind(store, entry) &&
           entry->block.meta.size_bytes < store->options.merge_bytes_max &&
           clock_block_age_ns(store, entry) >= store->options.block_age_ns;
}

struct merge_run { /* candidates: blocks [first, first + count) of the tenant */
    size_t first, count;
    uint64_t bytes, spans;
    bool same_level;
};

static bool merge_run_takes(struct store *store, const struct tenant *tenant,
                            const struct merge_run *run, const struct block_entry *next)
{
    const struct block_entry *begin = tenant->blocks[run->first], *last = next;
    if (!merge_is_free(store, next) || run->count == MERGE_SOURCES_MAX ||
        run->bytes + next->block.meta.size_bytes > store->options.merge_bytes_max ||
        cursors_stand_in(store, tenant, begin->block.first_lsn, next->block.last_lsn))
        return false; /* MERGE-2 */
    if (run->count)
        last = tenant->blocks[run->first + run->count - 1];
    return last == next || (last->block.last_lsn + 1 == next->block.first_lsn &&
                            merge_kind(store, begin) == merge_kind(store, next) &&
                            merge_class(store, begin->sealed_steady_ns) ==
                                merge_class(store, next->sealed_steady_ns));
}

static struct merge_run merge_run_at(struct store *store, const struct tenant *tenant, size_t first,
                                     bool same_level)
{
    struct merge_run run = {.first = first};
    for (size_t i = first; i < tenant->block_count; i++) {
        const struct block_entry *entry = tenant->blocks[i];
        if (!merge_run_takes(store, tenant, &run, entry) ||
            (same_level && entry->block.meta.compaction_level !=
                               tenant->blocks[first]->block.meta.compaction_level))
            break;
        run.count++;
        run.bytes += entry->block.meta.size_bytes;
    }
    return run;
}

/* Enough of one level, or all that is left of a time that is over. */
static bool merge_is_worth_it(struct store *store, const struct tenant *tenant, size_t first,
                              struct merge_run *ret_run)
{
    const struct block_entry *entry = tenant->blocks[first];
    bool is_over =
        merge_class(store, entry->sealed_steady_ns) != merge_class(store, clock_steady_ns(store));
    *ret_run = merge_run_at(store, tenant, first, !is_over);
    return ret_run->count >= (is_over ? 2 : MERGE_FAN);
}

static bool merge_pick(struct store *store)
{
    struct merge *merge = &store->merge;
    for (size_t t = 0; t < store->tenant_count; t++) {
        struct tenant *tenant = store->tenants[t];
        for (size_t i = 0; i + 1 < tenant->block_count; i++) {
            struct merge_run run;
            if (!merge_is_worth_it(store, tenant, i, &run))
                continue;
            merge->tenant = tenant;
            merge->count = run.count;
            if (merge->count_max)
                merge->count = FM_MIN(merge->count, merge->count_max);
            memcpy(merge->sources, &tenant->blocks[run.first],
                   merge->count * sizeof merge->sources[0]);
            return true;
        }
    }
    return false;
}

/* ---- how ---- */

static void merge_release(struct merge *merge)
{
    for (size_t i = 0; i < merge->count; i++) {
        merge->sources[i]->is_merging = false;
        block_entry_unref(merge->sources[i]);
    }
    merge->count = 0;
}

static void merge_submit(struct store *store, void (*work)(struct pf_job *job),
                         void (*done)(struct pf_job *job))
{
    store->merge.job = (struct pf_job){.work = work, .done = done, .lane = PF_LANE_IDLE};
    pf_job_submit(store->platform, &store->merge.job);
}

static void merge_start_retiring(struct store *store)
{
    store->merge.is_retiring = true;
    merge_submit(store, merge_retire, merge_on_retired);
}

void merge_look(struct store *store)
{
    struct merge *merge = &store->merge;
    if (merge->sm.state == MERGE_RETIRING && !merge->is_retiring && !store->is_closing)
        merge_start_retiring(store);
    if (merge->sm.state != MERGE_IDLE || store->is_closing || !store->options.merge_bytes_max ||
        store->is_full || store->log.sm.state == LOG_FAILED ||
        pf_now_ns(store->platform) < merge->next_ns || !merge_pick(store))
        return;
    for (size_t i = 0; i < merge->count; i++) {
        merge->sources[i]->is_merging = true;
        block_entry_ref(merge->sources[i]);
    }
    merge->kind = merge_kind(store, merge->sources[0]);
    merge->count_max = 0;
    fm_sm_move(&merge->sm, MERGE_BUILDING);
    merge_submit(store, merge_work, merge_on_built);
}

/* While it was built a cursor may have come to stand inside, or a source may have gone. */
static bool merge_still_holds(struct store *store)
{
    const struct merge *merge = &store->merge;
    for (size_t i = 0; i < merge->count; i++) {
        if (merge->sources[i]->is_doomed || merge_kind(store, merge->sources[i]) != merge->kind)
            return false;
    }
    return !cursors_stand_in(store, merge->tenant, merge->entry->block.first_lsn,
                             merge->entry->block.last_lsn) &&
           blocks_reserve(merge->tenant) == FM_OK;
}

/* It was published and is not wanted: like a block that goes, but it never came. */
static void merge_take_back(struct store *store)
{
    struct block_entry *entry = fm_take(store->merge.entry);
    entry->is_doomed = true;
    entry->end = STORE_END_MERGED;
    block_entry_unref(entry);
}

static void merge_failed(struct store *store)
{
    struct merge *merge = &store->merge;
    merge->next_ns = pf_now_ns(store->platform) + MERGE_RETRY_NS;
    if (merge->rc == FM_ELIMIT && merge->fit_count >= 2)
        merge->count_max = merge->fit_count; /* so many again */
    else if (merge->rc == FM_ELIMIT || merge->rc == FM_ECORRUPT || merge->rc == FM_EUNSUPPORTED)
        merge->sources[FM_MIN(merge->fit_count, merge->count - 1)]->is_unmergeable = true;
    if (merge->rc == FM_ECANCELLED || merge->rc == FM_ELIMIT)
        return;
    metric_add(&store->metrics.merge_failures, 1);
    log_warn("block.merge_failed", "tenant=%s blocks=%zu why=\"%s\"", merge->tenant->name,
             merge->count, merge->why.text[0] ? merge->why.text : fm_rc_text(merge->rc));
}

static void merge_replace(struct store *store)
{
    struct merge *merge = &store->merge;
    struct block_entry *entry = merge->entry;
    int rc = blocks_add(store, merge->tenant, entry);
    FM_ASSERT(rc == FM_OK); /* reserved */
    block_entry_ref(entry); /* MERGE-4 */
    for (size_t i = 0; i < merge->count; i++)
        blocks_doom(store, merge->sources[i], STORE_END_MERGED);
    metric_add(&store->metrics.merges, 1);
    metric_add(&store->metrics.merged_blocks, merge->count);
    log_info("block.merged", "tenant=%s blocks=%zu spans=%llu bytes=%llu path=%s",
             merge->tenant->name, merge->count, (unsigned long long)entry->block.span_count,
             (unsigned long long)entry->disk_bytes, entry->block.path);
}

static void merge_on_built(struct pf_job *job)
{
    struct store *store = FM_CONTAINER(job, struct store, merge.job);
    struct merge *merge = &store->merge;
    merge->next_ns = pf_now_ns(store->platform) + MERGE_REST * merge->work_ns;
    if (merge->rc < 0)
        merge_failed(store);
    if (merge->entry && !merge_still_holds(store))
        merge_take_back(store);
    if (merge->entry) {
        merge_replace(store);
        fm_sm_move(&merge->sm, MERGE_RETIRING);
        merge_start_retiring(store);
        return;
    }
    fm_sm_move(&merge->sm, MERGE_IDLE);
    merge_release(merge);
    store_finish_close(store);
}

/* keep.c removes what is left of the sources. */
static void merge_finish(struct store *store)
{
    struct merge *merge = &store->merge;
    struct block_entry *entry = fm_take(merge->entry);
    fm_sm_move(&merge->sm, MERGE_IDLE);
    merge_release(merge);
    if (!entry->is_doomed && !block_entry_is_settled(entry) && store->observer.on_sealed)
        store->observer.on_sealed(store->observer.self, &entry->block);
    block_entry_unref(entry);
}

static void merge_on_retired(struct pf_job *job)
{
    struct store *store = FM_CONTAINER(job, struct store, merge.job);
    store->merge.is_retiring = false;
    if (store->merge.rc == FM_OK || store->is_closing)
        merge_finish(store); /* closing, keep.c removes nothing; start-up does */
    store_finish_close(store);
}

void merge_close(struct store *store)
{
    struct merge *merge = &store->merge;
    merge->is_cancelled = true;
    if (merge->sm.state == MERGE_RETIRING && !merge->is_retiring)
        merge_finish(store);
}
