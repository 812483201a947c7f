/* SPDX-License-Identifier: Apache-2.0 */
/* keep - housekeeping on the DISK lane: everything that touches directories beside the two paths
 * of the data.  One job at a time works off what has gathered.
 *
 *   IDLE --> RUNNING --> IDLE
 *
 * Suspended in RUNNING (resumed by keep_on_done).  Order within a job: upload markers, deletions
 * (they make room), old segments, tombstones, the disk's free space, fresh segments.
 *
 * KEEP-1  A block is deleted meta.json first, so that no moment shows half a block.
 * KEEP-2  Its local.json stays until the log holds no record that the block covered: else a
 *         restart would build the block again.
 */
#include "gone.h"
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

static const struct fm_sm_rule keep_rules[] = {
    [KEEP_IDLE] = {"idle", FM_TO(KEEP_RUNNING)},
    [KEEP_RUNNING] = {"running", FM_TO(KEEP_IDLE)},
};

#define KEEP_MAKE_RETRY_NS (5 * FM_NS_PER_S)
#define KEEP_QUARANTINE_NS (3600 * FM_NS_PER_S)

static void keep_on_done(struct pf_job *job);
static void keep_on_timer(struct pf_timer *timer);

void keep_init(struct store *store)
{
    struct keep *keep = &store->keep;
    *keep = (struct keep){
        .sm = {keep_rules, KEEP_IDLE},
        .job = {.work = keep_work, .done = keep_on_done, .lane = PF_LANE_DISK},
        .timer = {.fire = keep_on_timer},
        .store = store,
        .quarantine_wanted_max = UINT64_MAX,
        .quarantine_is_due = true,
    };
    struct fm_link *lists[] = {&keep->markers,          &keep->markers_taken, &keep->markers_over,
                               &keep->doomed,           &keep->doomed_taken,  &keep->tombstones,
                               &keep->tombstones_taken, &keep->going,         &keep->made,
                               &keep->aheads_taken};
    for (size_t i = 0; i < FM_COUNT(lists); i++)
        fm_list_init(lists[i]);
}

static void keep_take_all(struct fm_link *target, struct fm_link *source)
{
    while (!fm_list_empty(source)) {
        struct fm_link *link = source->next;
        fm_list_remove(link);
        fm_list_append(target, link);
    }
}

void keep_fini(struct store *store)
{
    struct keep *keep = &store->keep;
    struct fm_link *tombstones[] = {&keep->tombstones, &keep->tombstones_taken};
    struct fm_link *markers[] = {&keep->markers, &keep->markers_taken, &keep->markers_over};
    for (size_t i = 0; i < FM_COUNT(tombstones); i++) {
        while (!fm_list_empty(tombstones[i])) {
            struct fm_link *link = tombstones[i]->next;
            fm_list_remove(link);
            free(FM_CONTAINER(link, struct tombstone, link));
        }
    }
    for (size_t i = 0; i < FM_COUNT(markers); i++) {
        while (!fm_list_empty(markers[i])) {
            struct fm_link *link = markers[i]->next;
            fm_list_remove(link);
            free(FM_CONTAINER(link, struct marker, link));
        }
    }
}

int keep_add_tombstone(struct store *store, const char *path, uint64_t last_lsn)
{
    struct tombstone *tombstone = calloc(1, sizeof *tombstone);
    if (!tombstone)
        return FM_ENOMEM;
    tombstone->last_lsn = last_lsn;
    (void)snprintf(tombstone->path, sizeof tombstone->path, "%s", path);
    fm_list_append(&store->keep.tombstones, &tombstone->link);
    return FM_OK;
}

/* ---- the job ---- */

static void keep_do_markers(struct keep *keep)
{
    char path[STORE_PATH_BYTES], text[64];
    for (struct fm_link *link = keep->markers_taken.next; link != &keep->markers_taken;
         link = link->next) {
        struct marker *marker = FM_CONTAINER(link, struct marker, link);
        int len = snprintf(path, sizeof path, "%s/uploaded", marker->entry->block.path);
        FM_ASSERT(len > 0 && (size_t)len < sizeof path);
        marker_print(marker->entry, pf_wall_ns(keep->store->platform), text, sizeof text);
        marker->rc = pf_replace_file(keep->store->platform, path, fm_slice_text(text), NULL);
    }
}

struct folder_sweep { /* unlinks what is in a block's directory, but local.json */
    struct platform *platform;
    const char *folder;
};

static int folder_sweep_visit(void *self, const char *name, bool is_directory)
{
    const struct folder_sweep *sweep = self;
    char path[STORE_PATH_BYTES];
    if (is_directory || strcmp(name, "local.json") == 0)
        return FM_OK;
    int len = snprintf(path, sizeof path, "%s/%s", sweep->folder, name);
    if (len < 0 || (size_t)len >= sizeof path)
        return FM_OK;
    return sweep->platform->ops->unlink(sweep->platform, path, NULL);
}

/* KEEP-1.  entry: NULL of a tombstone. */
static int keep_empty_block(struct keep *keep, const char *folder, const struct block_entry *entry)
{
    struct platform *platform = keep->store->platform;
    struct folder_sweep sweep = {platform, folder};
    int rc = block_retire(platform, folder);
    if (rc == FM_OK && entry)
        gone_take(keep->store, entry);
    if (rc == FM_OK)
        rc = platform->ops->list(platform, folder, folder_sweep_visit, &sweep, NULL);
    return rc == FM_ENOTFOUND ? FM_OK : rc; /* somebody was faster */
}

static void keep_do_doomed(struct keep *keep)
{
    for (struct fm_link *link = keep->doomed_taken.next, *next; link != &keep->doomed_taken;
         link = next) {
        next = link->next;
        struct block_entry *entry = FM_CONTAINER(link, struct block_entry, link);
        if (entry->closing && !entry->closing->is_written && keep->store->book.plan_rc < 0)
            continue; /* LEDGER-1 */
        if (entry->end == STORE_END_CORRUPT) {
            int rc = store_quarantine(keep->store, entry->block.path, "damaged");
            if (rc == FM_OK || rc == FM_ENOTFOUND) {
                entry->closing->is_final = true;
                block_entry_free(keep->store, entry); /* the ledger covers its records */
            }
            continue;
        }
        if (keep_empty_block(keep, entry->block.path, entry) < 0)
            continue; /* stays for the next job */
        struct tombstone *tombstone = calloc(1, sizeof *tombstone);
        if (!tombstone)
            continue;
        tombstone->last_lsn = entry->block.last_lsn;
        memcpy(tombstone->path, entry->block.path, sizeof tombstone->path);
        fm_list_append(&keep->tombstones_taken, &tombstone->link);
        if (entry->closing)
            entry->closing->is_final = true;
        block_entry_free(keep->store, entry);
    }
}

/* Into its next life, or away.  FM_OK: the file is dealt with. */
static int keep_do_segment(struct keep *keep, struct segment *segment)
{
    struct store *store = keep->store;
    char path[STORE_PATH_BYTES];
    segment_path(store, segment, path);
    if (segment->has_unread)
        return store_quarantine(store, path, "parts of it could not be read");
    if (keep->wanted && !segment->is_suspect &&
        segment->file_bytes == store->options.segment_bytes) {
        int rc = segment_recycle(store, segment, keep->log_begin_lsn, NULL);
        if (rc == FM_OK) {
            keep->wanted--;
            fm_list_remove(&segment->link);
            fm_list_append(&keep->made, &segment->link);
            return FM_NONE;
        }
        segment_path(store, segment, path); /* it may have its new name already */
    }
    int rc = store->platform->ops->unlink(store->platform, path, NULL);
    return rc == FM_ENOTFOUND ? FM_OK : rc;
}

/* ret: the oldest LSN that files of the log may still hold. */
static uint64_t keep_do_segments(struct keep *keep)
{
    struct store *store = keep->store;
    uint64_t begin_lsn = keep->log_begin_lsn;
    bool changed = false;
    char folder[STORE_PATH_BYTES];
    for (struct fm_link *link = keep->going.next, *next; link != &keep->going; link = next) {
        next = link->next;
        struct segment *segment = FM_CONTAINER(link, struct segment, link);
        uint64_t base_lsn = segment->header.base_lsn;
        int rc = keep_do_segment(keep, segment);
        changed |= rc == FM_OK;
        if (rc < 0)
            begin_lsn = FM_MIN(begin_lsn, base_lsn);
        else if (rc == FM_OK)
            segment_free(store, segment);
    }
    store_path(store, folder, "wal");
    if (changed && store->platform->ops->sync_dir(store->platform, folder, NULL) < 0)
        return 0; /* they may come back: no tombstone may go */
    return begin_lsn;
}

/* KEEP-2. */
static void keep_do_tombstones(struct keep *keep, uint64_t begin_lsn)
{
    for (struct fm_link *link = keep->tombstones_taken.next, *next; link != &keep->tombstones_taken;
         link = next) {
        next = link->next;
        struct tombstone *tombstone = FM_CONTAINER(link, struct tombstone, link);
        if (tombstone->last_lsn >= begin_lsn || keep_empty_block(keep, tombstone->path, NULL) < 0 ||
            pf_remove_tree(keep->store->platform, tombstone->path, NULL) < 0)
            continue;
        fm_list_remove(link);
        free(tombstone);
    }
}

static void keep_do_probe(struct keep *keep)
{
    struct platform *platform = keep->store->platform;
    struct pf_file *file;
    char path[STORE_PATH_BYTES], folder[STORE_PATH_BYTES];
    store_path(keep->store, folder, "wal");
    store_path(keep->store, path, "wal/.probe");
    keep->probe_rc = pf_open(platform, path, PF_WRITE | PF_CREATE | PF_TRUNCATE, &file, &keep->why);
    if (keep->probe_rc < 0)
        return;
    keep->probe_rc = pf_write(file, platform, 0, FM_SLICE("probe"), &keep->why);
    if (keep->probe_rc == FM_OK)
        keep->probe_rc = platform->ops->sync(file, &keep->why);
    pf_close(platform, file);
    int rc = platform->ops->unlink(platform, path, &keep->why);
    if (keep->probe_rc == FM_OK)
        keep->probe_rc = rc == FM_OK ? platform->ops->sync_dir(platform, folder, &keep->why) : rc;
}

void keep_work(struct pf_job *job)
{
    struct keep *keep = FM_CONTAINER(job, struct keep, job);
    struct store *store = keep->store;
    keep->why.text[0] = 0;
    keep->segment_rc = keep->probe_rc = FM_OK;
    keep_do_markers(keep);
    book_work(store);
    keep_do_doomed(keep);
    keep_do_tombstones(keep, keep_do_segments(keep));
    ahead_work(store);
    if (keep->with_quarantine) {
        quarantine_keep(store);
        gone_trim(store);
    }
    if (keep->with_clock)
        clock_save(store);
    keep->has_space =
        store->platform->ops->space(store->platform, store->data_dir, &keep->space) == FM_OK;
    if (keep->with_probe)
        keep_do_probe(keep);
    while (keep->wanted && keep->segment_rc == FM_OK && keep->probe_rc == FM_OK) {
        struct segment *segment;
        keep->segment_rc = segment_make(store, store->options.segment_bytes, keep->log_begin_lsn,
                                        &segment, &keep->why);
        if (keep->segment_rc < 0)
            break;
        fm_list_append(&keep->made, &segment->link);
        keep->wanted--;
    }
}

/* ---- on the loop ---- */

static unsigned keep_wanted(const struct store *store)
{
    unsigned have = store->log.handed_count;
    for (struct fm_link *link = store->spares.next; link != &store->spares; link = link->next)
        have++;
    return have < STORE_SPARES ? STORE_SPARES - have : 0;
}

/* What is looked at now and then. */
static void keep_plan_rest(struct store *store, uint64_t now_ns)
{
    struct keep *keep = &store->keep;
    keep->with_clock = store->clock.must_save;
    store->clock.must_save = false;
    keep->with_quarantine = atomic_exchange(&keep->quarantine_is_due, false) ||
                            now_ns - keep->quarantine_checked_ns >= KEEP_QUARANTINE_NS;
    if (!keep->with_quarantine)
        return;
    keep->quarantine_checked_ns = now_ns;
    keep->quarantine_bytes_max = keep->quarantine_wanted_max;
    if (store->options.quarantine_bytes)
        keep->quarantine_bytes_max =
            FM_MIN(keep->quarantine_bytes_max, store->options.quarantine_bytes);
    keep->quarantine_wanted_max = UINT64_MAX;
}

static void keep_plan(struct store *store)
{
    struct keep *keep = &store->keep;
    uint64_t now_ns = pf_now_ns(store->platform);
    segment_retire_idle(store);
    keep->with_probe = keep->wants_probe;
    keep->wants_probe = false;
    keep->wanted = keep->with_probe || now_ns >= keep->make_after_ns ? keep_wanted(store) : 0;
    keep_plan_rest(store, now_ns);
    /* Fresh files promise not to begin below it; tombstones below it may go. */
    keep->log_begin_lsn = FM_MIN(store_log_begin(store), store->log.durable_lsn);
    keep_take_all(&keep->markers_taken, &keep->markers);
    keep_take_all(&keep->doomed_taken, &keep->doomed);
    keep_take_all(&keep->tombstones_taken, &keep->tombstones);
    book_plan(store, keep->log_begin_lsn);
    ahead_plan(store);
    keep->is_due = false;
}

void keep_step(struct store *store)
{
    struct keep *keep = &store->keep;
    switch ((enum keep_state)keep->sm.state) {
    case KEEP_IDLE: {
        bool can_make = keep_wanted(store) && pf_now_ns(store->platform) >= keep->make_after_ns;
        if (store->is_closing || !(keep->is_due || can_make))
            break;
        keep_plan(store);
        fm_sm_move(&keep->sm, KEEP_RUNNING);
        pf_job_submit(store->platform, &keep->job);
        break;
    }
    case KEEP_RUNNING:
        break; /* resumed by keep_on_done */
    }
}

void keep_now(struct store *store)
{
    store->keep.is_due = true;
    keep_step(store);
}

static void keep_on_timer(struct pf_timer *timer)
{
    struct store *store = FM_CONTAINER(timer, struct store, keep.timer);
    pf_timer_start(store->platform, timer, STORE_KEEP_NS);
    clock_tick(store);
    merge_look(store);
    scrub_look(store);
    keep_now(store);
}

static void keep_answer_markers(struct store *store)
{
    struct keep *keep = &store->keep;
    while (!fm_list_empty(&keep->markers_over)) {
        struct marker *marker = FM_CONTAINER(keep->markers_over.next, struct marker, link);
        fm_list_remove(&marker->link);
        if (marker->rc == FM_OK && !marker->entry->is_uploaded) {
            marker->entry->is_uploaded = true;
            metric_add(&store->metrics.blocks_uploaded, 1);
        }
        block_entry_unref(marker->entry);
        marker->done(marker->self, marker->rc);
        free(marker);
    }
}

static void keep_on_done(struct pf_job *job)
{
    struct store *store = FM_CONTAINER(job, struct store, keep.job);
    struct keep *keep = &store->keep;
    while (!fm_list_empty(&keep->made)) {
        struct segment *segment = FM_CONTAINER(keep->made.next, struct segment, link);
        fm_list_remove(&segment->link);
        if (segment->sm.state == SEG_GOING)
            fm_sm_move(&segment->sm, SEG_READY);
        fm_list_append(&store->spares, &segment->link);
    }
    keep_take_all(&keep->markers_over, &keep->markers_taken); /* the next job may start below */
    keep_take_all(&keep->tombstones, &keep->tombstones_taken);
    keep_take_all(&keep->doomed, &keep->doomed_taken);
    book_done(store);
    if (keep->has_space)
        store->space = keep->space;
    if (keep->with_quarantine)
        keep->quarantine_bytes = keep->quarantine_found_bytes;
    if (store->clock.saving_ns) {
        store->clock.saved_ns = store->clock.saving_ns;
        store->clock.saving_ns = 0;
    }
    if (keep->segment_rc < 0) {
        keep->make_after_ns = pf_now_ns(store->platform) + KEEP_MAKE_RETRY_NS;
        log_warn("wal.segment_not_ready", "why=\"%s\"", keep->why.text);
    }
    fm_sm_move(&keep->sm, KEEP_IDLE);
    if (keep->with_probe && keep->probe_rc == FM_OK && keep->segment_rc == FM_OK)
        log_recover(store);
    blocks_retain(store);
    keep_step(store);
    keep_answer_markers(store);
    store_finish_close(store);
}

void store_block_uploaded(struct store *store, struct store_block *block,
                          void (*done)(void *self, int rc), void *self)
{
    struct marker *marker = calloc(1, sizeof *marker);
    FM_ASSERT(marker); /* a few bytes, and no other way to answer */
    marker->entry = block_entry_of(block);
    marker->done = done;
    marker->self = self;
    block_entry_ref(marker->entry);
    fm_list_append(&store->keep.markers, &marker->link);
    keep_now(store);
}
