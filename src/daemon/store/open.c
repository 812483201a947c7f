/* SPDX-License-Identifier: Apache-2.0 */
/* open - start-up and end of the store.
 *
 * Start: lock, directories, blocks (they say what is covered), log (what they do not cover), one
 * segment made ready.  A disk without space or a read-only one stops none of this: the store then
 * opens read-only and says why.
 * End: the log writes what waits, seals and syncs; running jobs finish; then everything is freed.
 */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

#define STORE_DATA_DIR_MAX 255u /* so that a block's directory fits store_block.path */

void store_path(const struct store *store, char path[STORE_PATH_BYTES], const char *format, ...)
{
    int len = snprintf(path, STORE_PATH_BYTES, "%s/", store->data_dir);
    va_list args;
    va_start(args, format);
    int more = vsnprintf(path + len, STORE_PATH_BYTES - (size_t)len, format, args);
    va_end(args);
    FM_ASSERT(more >= 0 && (size_t)(len + more) < STORE_PATH_BYTES);
}

void store_set_problem(struct store *store, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(store->problem, sizeof store->problem, format, args);
    va_end(args);
}

/* ---- open ---- */

/* A crash leaves half-built blocks; they are built again from the log. */
static void store_clear_temporary(struct store *store)
{
    char path[STORE_PATH_BYTES];
    struct fm_why why = {""};
    store_path(store, path, "blocks/.tmp");
    if (pf_remove_tree(store->platform, path, &why) < 0)
        log_warn("store.temporary_stays", "path=%s why=\"%s\"", path, why.text);
}

static int store_open_directories(struct store *store, struct fm_why *why)
{
    static const char *const names[] = {"wal", "blocks"};
    char path[STORE_PATH_BYTES];
    int rc = pf_make_path(store->platform, store->data_dir, why);
    if (rc < 0)
        return rc;
    store_path(store, path, "LOCK");
    rc = store->platform->ops->lock(store->platform, path, why);
    for (size_t i = 0; rc == FM_OK && i < FM_COUNT(names); i++) {
        store_path(store, path, "%s", names[i]);
        rc = pf_make_path(store->platform, path, why);
    }
    return rc;
}

/* One segment must be ready before the first append; an idle old one is the cheapest. */
static int store_ready_segment(struct store *store, struct fm_why *why)
{
    uint64_t floor_lsn = store->log.writer.next_lsn;
    struct segment *segment;
    segment_retire_idle(store);
    for (struct fm_link *link = store->keep.going.next; link != &store->keep.going;
         link = link->next) {
        segment = FM_CONTAINER(link, struct segment, link);
        if (segment->file_bytes != store->options.segment_bytes || segment->is_suspect ||
            segment->has_unread || segment_recycle(store, segment, floor_lsn, NULL) < 0)
            continue;
        fm_list_remove(link);
        fm_sm_move(&segment->sm, SEG_READY);
        fm_list_append(&store->spares, link);
        return FM_OK;
    }
    int rc = segment_make(store, store->options.segment_bytes, floor_lsn, &segment, why);
    if (rc == FM_OK)
        fm_list_append(&store->spares, &segment->link);
    return rc;
}

static int store_check_options(const struct store_options *options, struct fm_why *why)
{
    size_t len = strlen(options->data_dir);
    if (len == 0 || len > STORE_DATA_DIR_MAX)
        return fm_fail(why, FM_ECONFIG, "data directory: 1 to %u bytes", STORE_DATA_DIR_MAX);
    if (options->segment_bytes < 2 * WAL_HEADER_BYTES || options->segment_bytes % 4096 ||
        options->segment_bytes > UINT32_MAX / 2)
        return fm_fail(why, FM_ECONFIG, "segment size: a multiple of 4 KiB from 8 KiB to 2 GiB");
    if (options->sync == STORE_SYNC_INTERVAL && options->sync_interval_ns == 0)
        return fm_fail(why, FM_ECONFIG, "sync interval must not be 0");
    return FM_OK;
}

static void store_free_segments(struct store *store, struct fm_link *list)
{
    while (!fm_list_empty(list))
        segment_free(store, FM_CONTAINER(list->next, struct segment, link));
}

static void store_free_blocks(struct store *store, struct fm_link *list)
{
    while (!fm_list_empty(list))
        block_entry_free(store, FM_CONTAINER(list->next, struct block_entry, link));
}

static struct store *store_free(struct store *store)
{
    if (!store)
        return NULL;
    store->is_closing = true; /* nothing starts any more */
    cursors_abandon(store);
    decides_abandon(store);
    snapshots_abandon(store);
    cut_fini(store);
    outbox_fini(store);
    merge_fini(store);
    scrub_fini(store);
    mend_fini(store);
    ahead_fini(store);
    keep_fini(store);
    book_fini(store);
    log_fini(store);
    store_free_blocks(store, &store->blocks);
    store_free_blocks(store, &store->keep.doomed);
    store_free_blocks(store, &store->keep.doomed_taken);
    for (size_t i = 0; i < store->tenant_count; i++)
        tenant_free(store, store->tenants[i]);
    free(store->tenants);
    store_free_segments(store, &store->segments);
    store_free_segments(store, &store->spares);
    store_free_segments(store, &store->keep.going);
    store_free_segments(store, &store->keep.made);
    store_free_segments(store, &store->log.writer.used);
    free(store->data_dir);
    free(store);
    return NULL;
}

static int store_new(struct store **ret_store, struct platform *platform,
                     const struct store_options *options)
{
    struct store *store = calloc(1, sizeof *store);
    if (!store)
        return FM_ENOMEM;
    store->platform = platform;
    store->options = *options;
    fm_list_init(&store->segments);
    fm_list_init(&store->spares);
    fm_list_init(&store->blocks);
    fm_list_init(&store->cursors);
    fm_list_init(&store->decides);
    fm_list_init(&store->aheads);
    fm_list_init(&store->snapshots);
    log_init(store);
    cut_init(store);
    outbox_init(store);
    book_init(store);
    merge_init(store);
    scrub_init(store);
    keep_init(store);
    store->data_dir = strdup(options->data_dir);
    store->options.data_dir = store->data_dir;
    if (!store->data_dir) {
        store_free(store);
        return FM_ENOMEM;
    }
    *ret_store = store;
    return FM_OK;
}

static int store_load(struct store *store, struct fm_why *why)
{
    int rc = store_open_directories(store, why);
    if (rc < 0)
        return rc;
    store_clear_temporary(store);
    clock_open(store);
    rc = book_load(store, why);
    if (rc == FM_OK)
        rc = blocks_load(store, why);
    if (rc < 0)
        return rc;
    clock_follow_blocks(store);
    scrub_open(store);
    rc = outbox_load(store, why);
    if (rc == FM_OK)
        rc = book_settle(store);
    if (rc == FM_OK)
        rc = store_replay(store, why);
    if (rc == FM_OK)
        rc = ahead_open(store);
    return rc < 0 ? rc : book_begin(store);
}

int store_open(struct store **ret_store, struct platform *platform,
               const struct store_options *options, struct fm_why *why)
{
    struct store *store;
    int rc = store_check_options(options, why);
    if (rc < 0)
        return rc;
    rc = store_new(&store, platform, options);
    if (rc < 0)
        return fm_fail(why, rc, "no memory for the store");
    rc = store_load(store, why);
    if (rc < 0) {
        store_free(store);
        return fm_wrap(why, rc, "data directory %s", options->data_dir);
    }
    store->log.writer.rc = store_ready_segment(store, &store->log.writer.why);
    if (store->log.writer.rc < 0)
        log_fail(store);
    log_info("store.open", "epoch=%u records=%llu holes=%llu replay_ms=%llu", store->epoch,
             (unsigned long long)metric_get(&store->metrics.replay_records),
             (unsigned long long)metric_get(&store->metrics.replay_holes),
             (unsigned long long)(metric_get(&store->metrics.replay_ns) / FM_NS_PER_MS));
    pf_timer_start(platform, &store->keep.timer, 0);
    cut_soon(store); /* not before cursors had a chance to say where they stand */
    *ret_store = store;
    return FM_OK;
}

void store_set_gone(struct store *store, void (*on_gone)(void *self, const struct block_id *id),
                    void *self)
{
    store->on_gone = on_gone;
    store->gone_self = self;
}

void store_set_observer(struct store *store, const struct store_observer *observer)
{
    store->observer = *observer;
    if (!observer->on_sealed)
        return;
    for (struct fm_link *link = store->blocks.next; link != &store->blocks; link = link->next)
        observer->on_sealed(observer->self, &FM_CONTAINER(link, struct block_entry, link)->block);
    outbox_announce(store);
}

struct store *store_abandon(struct store *store)
{
    return store_free(store);
}

/* ---- close ---- */

void store_close(struct store *store, void (*done)(void *self), void *self)
{
    FM_ASSERT(!store->is_closing);
    store->is_closing = true;
    store->close_done = done;
    store->close_self = self;
    pf_timer_stop(store->platform, &store->keep.timer);
    cut_close(store);
    cut_step(store);
    outbox_close(store);
    merge_close(store);
    scrub_close(store);
    log_close(store);
    if (!store->log.refuse_timer_runs) { /* never done from within the call */
        store->log.refuse_timer_runs = true;
        pf_timer_start(store->platform, &store->log.refuse_timer, 0);
    }
}

/* Called at the end of every machine's step; frees the store when all stand still. */
void store_finish_close(struct store *store)
{
    if (!store->is_closing || store->log.sm.state != LOG_CLOSED ||
        store->cut.sm.state != CUT_IDLE || store->keep.sm.state != KEEP_IDLE ||
        store->merge.sm.state != MERGE_IDLE || store->scrub.sm.state != SCRUB_IDLE ||
        store->mend.is_running || store->outbox.sm.state != OUTBOX_IDLE ||
        !fm_list_empty(&store->outbox.cancelled) || store->log.refuse_timer_runs ||
        store->flush_timer_runs || !fm_list_empty(&store->decides) || store->is_closed)
        return;
    store->is_closed = true; /* once */
    while (!fm_list_empty(&store->keep.markers)) {
        struct marker *marker = FM_CONTAINER(store->keep.markers.next, struct marker, link);
        fm_list_remove(&marker->link);
        marker->done(marker->self, FM_ECLOSED);
        free(marker);
    }
    FM_ASSERT(store->snapshot_count == 0 && fm_list_empty(&store->cursors)); /* went before */
    void (*done)(void *self) = store->close_done;
    void *self = store->close_self;
    pf_timer_stop(store->platform, &store->log.refuse_timer);
    pf_timer_stop(store->platform, &store->log.turn_timer);
    pf_timer_stop(store->platform, &store->log.sync_timer);
    pf_timer_stop(store->platform, &store->log.probe_timer);
    pf_timer_stop(store->platform, &store->cut.timer);
    pf_timer_stop(store->platform, &store->outbox.timer);
    pf_timer_stop(store->platform, &store->flush_timer);
    pf_timer_stop(store->platform, &store->keep.timer);
    book_save(store);
    store_free(store);
    if (done)
        done(self);
}
